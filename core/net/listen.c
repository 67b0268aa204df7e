// Listening sockets that somebody else opened: the service manager's, handed over at start (socket
// activation). libwebsockets 4.1.6 can only listen on sockets of its own, so connections are accepted here
// and given to it. Loop thread only. What always holds: once stopped, nothing is accepted, and whoever
// connects waits in the queue of the socket, which the service manager keeps, for the next server.
#include "base/log.h"
#include "net/inside.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPT_TURN 64 // connections taken in one turn of the loop
#define FULL_S 0.2     // rest when there are no descriptors left, since the socket stays readable

struct hm_listen {
    struct hm_net *net;
    struct ev_io accepting[HM_SOCKETS_MAX];
    struct ev_timer full;
    unsigned count;
    bool stopped;
};

static void set_running(struct hm_listen *listening, bool run) {
    for (unsigned i = 0; i < listening->count; i++) {
        if (run)
            ev_io_start(listening->net->loop, &listening->accepting[i]);
        else
            ev_io_stop(listening->net->loop, &listening->accepting[i]);
    }
}

static void on_full(struct ev_loop *loop, struct ev_timer *timer, int events) {
    struct hm_listen *listening = timer->data;
    (void)loop, (void)events;
    if (!listening->stopped) set_running(listening, true);
}

static void rest(struct hm_listen *listening) {
    hm_log(HM_WARN, "net.no_descriptors", "\"sockets\":%u", listening->net->sockets);
    set_running(listening, false);
    ev_timer_set(&listening->full, FULL_S, 0.);
    ev_timer_start(listening->net->loop, &listening->full);
}

static void on_accept(struct ev_loop *loop, struct ev_io *io, int events) {
    struct hm_listen *listening = io->data;
    (void)loop, (void)events;
    for (int i = 0; i < ACCEPT_TURN; i++) {
        int fd = accept4(io->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) rest(listening);
            if (errno != EINTR && errno != ECONNABORTED) return;
        } else {
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1},
                       sizeof(int)); // as libwebsockets does to its own
            hm_ws_adopt(listening->net, fd);
        }
    }
}

struct hm_listen *hm_listen_new(struct hm_net *net, const struct hm_sockets *sockets) {
    struct hm_listen *listening = hm_alloc(sizeof *listening);
    listening->net = net;
    listening->count = sockets->count;
    ev_timer_init(&listening->full, on_full, 0., 0.);
    listening->full.data = listening;
    for (unsigned i = 0; i < sockets->count; i++) {
        int fd = sockets->fd[i];
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
        ev_io_init(&listening->accepting[i], on_accept, fd, EV_READ);
        listening->accepting[i].data = listening;
    }
    set_running(listening, true);
    return listening;
}

unsigned hm_listen_port(const struct hm_listen *listening) {
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    if (getsockname(listening->accepting[0].fd, (struct sockaddr *)&address, &size) != 0) return 0;
    if (address.ss_family == AF_INET6) return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    return address.ss_family == AF_INET ? ntohs(((struct sockaddr_in *)&address)->sin_port) : 0;
}

void hm_listen_stop(struct hm_listen *listening) {
    if (!listening) return;
    listening->stopped = true;
    ev_timer_stop(listening->net->loop, &listening->full);
    set_running(listening, false);
}

void hm_listen_free(struct hm_listen *listening) {
    if (!listening) return;
    hm_listen_stop(listening);
    for (unsigned i = 0; i < listening->count; i++)
        close(listening->accepting[i].fd);
    free(listening);
}
