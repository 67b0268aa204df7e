// The raw limits beside delivery and idle connections: a bare epoll loop. Whatever one connection sends is
// sent on to all the others by a plain send loop. Each connection has the least that a server needs for it: a
// little state and room for a small message. Prints its port.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROOM 256

struct peer {
    int fd;
    unsigned char room[ROOM];
};
static struct peer **peers;
static size_t count, cap;

static void on_accept(int poll_fd, int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), one = 1;
    if (fd < 0) return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (count == cap) {
        cap = cap ? cap * 2 : 64;
        peers = realloc(peers, cap * sizeof *peers);
    }
    struct peer *peer = calloc(1, sizeof *peer);
    if (!peers || !peer) exit(1);
    peer->fd = fd;
    memset(peer->room, 1, sizeof peer->room); // touched, so that it counts
    peers[count++] = peer;
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = peer};
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &e);
}

static void on_readable(struct peer *from) {
    char bytes[65536];
    ssize_t n = recv(from->fd, bytes, sizeof bytes, 0);
    for (size_t i = 0; i < count; i++) {
        if (n > 0 && peers[i] != from && send(peers[i]->fd, bytes, (size_t)n, MSG_NOSIGNAL) < 0) continue;
        if (n <= 0 && peers[i] == from) peers[i] = peers[--count];
    }
    if (n > 0) return;
    close(from->fd);
    free(from);
}

int main(void) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (bind(listener, (struct sockaddr *)&a, sizeof a) || listen(listener, 1024) ||
        getsockname(listener, (struct sockaddr *)&a, &len))
        return 1;
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL}, events[256];
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &e);
    printf("port %d\n", ntohs(a.sin_port));
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(poll_fd, events, 256, -1);
        for (int i = 0; i < n; i++) {
            if (!events[i].data.ptr)
                on_accept(poll_fd, listener);
            else
                on_readable(events[i].data.ptr);
        }
    }
}
