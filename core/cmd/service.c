// See service.h. What always holds: a service manager that is not there, or does not listen, changes nothing.
#include "cmd/service.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FIRST_FD 3 // SD_LISTEN_FDS_START

static int socket_fd = -1;
static struct sockaddr_un manager;
static socklen_t manager_size;
static unsigned long long watchdog_us, handed_over;

// A number of a variable that is meant for this process (its companion, if there is one, holds our pid).
static unsigned long long number_for_us(const char *name, const char *pid_name) {
    const char *text = getenv(name), *pid = getenv(pid_name);
    char *end = NULL;
    if (!text || (pid && strtol(pid, NULL, 10) != (long)getpid())) return 0;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    return errno || end == text || *end ? 0 : number;
}

// "/run/…" or, in the abstract space, "@…".
static void open_socket(const char *path) {
    size_t len = path ? strlen(path) : 0;
    if (len < 2 || len >= sizeof manager.sun_path || (path[0] != '/' && path[0] != '@')) return;
    manager.sun_family = AF_UNIX;
    memcpy(manager.sun_path, path, len);
    if (path[0] == '@') manager.sun_path[0] = '\0';
    manager_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    socket_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

void hm_service_begin(void) {
    static const char *const names[] = {"NOTIFY_SOCKET",  "LISTEN_PID",    "LISTEN_FDS",
                                        "LISTEN_FDNAMES", "WATCHDOG_USEC", "WATCHDOG_PID"};
    open_socket(getenv("NOTIFY_SOCKET"));
    watchdog_us = number_for_us("WATCHDOG_USEC", "WATCHDOG_PID");
    if (getenv("LISTEN_PID")) handed_over = number_for_us("LISTEN_FDS", "LISTEN_PID");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
}

bool hm_service_tell(const char *format, ...) {
    if (socket_fd < 0) return false;
    char text[512];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (len < 0) return false;
    size_t size = (size_t)len < sizeof text ? (size_t)len : sizeof text - 1;
    // Not waited for: a manager that does not read must not stop the server.
    return sendto(socket_fd, text, size, MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&manager,
                  manager_size) == (ssize_t)size;
}

// Only of IP: whoever comes over another has no address, so all would be one at the door and at sign-in.
static bool listens(int fd) {
    int is = 0, type = 0, domain = 0;
    socklen_t size = sizeof(int);
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is, &size) == 0 && is &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM &&
           getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
           (domain == AF_INET || domain == AF_INET6);
}

bool hm_service_sockets(struct hm_sockets *out, struct hm_error *err) {
    *out = (struct hm_sockets){0};
    if (handed_over > HM_SOCKETS_MAX)
        return hm_fail(err, HM_UNAVAILABLE, "%llu sockets were handed over; at most %d can be served",
                       handed_over, HM_SOCKETS_MAX);
    for (unsigned i = 0; i < handed_over; i++) {
        int fd = FIRST_FD + (int)i;
        if (!listens(fd))
            return hm_fail(
                err, HM_UNAVAILABLE,
                "descriptor %d that was handed over is no listening TCP socket (ListenStream= with an "
                "address and a port, and Accept=no)",
                fd);
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        out->fd[out->count++] = fd;
    }
    return true;
}

uint64_t hm_service_watchdog_us(void) {
    return watchdog_us;
}
