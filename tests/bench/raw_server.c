// The raw limits beside delivery, idle connections and start: a bare epoll loop. Whatever one connection
// sends is sent on to all the others by a plain send loop. Prints its port.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static int *peers;
static size_t count, cap;

static void on_accept(int poll_fd, int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), one = 1;
    if (fd < 0) return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &e);
    if (count == cap) {
        cap = cap ? cap * 2 : 64;
        peers = realloc(peers, cap * sizeof *peers);
        if (!peers) exit(1);
    }
    peers[count++] = fd;
}

static void on_readable(int fd) {
    char bytes[65536];
    ssize_t n = recv(fd, bytes, sizeof bytes, 0);
    if (n <= 0) {
        for (size_t i = 0; i < count; i++)
            if (peers[i] == fd) peers[i] = peers[--count];
        close(fd);
        return;
    }
    for (size_t i = 0; i < count; i++)
        if (peers[i] != fd && send(peers[i], bytes, (size_t)n, MSG_NOSIGNAL) < 0) continue;
}

int main(void) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (bind(listener, (struct sockaddr *)&a, sizeof a) || listen(listener, 1024) ||
        getsockname(listener, (struct sockaddr *)&a, &len))
        return 1;
    struct epoll_event e = {.events = EPOLLIN, .data.fd = listener}, events[256];
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &e);
    printf("port %d\n", ntohs(a.sin_port));
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(poll_fd, events, 256, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == listener)
                on_accept(poll_fd, listener);
            else
                on_readable(events[i].data.fd);
        }
    }
}
