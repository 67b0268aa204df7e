// Starts a program as systemd starts a service of Type=notify, and prints what the program tells it, a line a
// message ("READY=1|STATUS=…"), so that a test without systemd can read it.
//
//   as_systemd [--socket PORT] [--watchdog USEC] PROGRAM ARGS…
//
// --socket: a listening socket on 127.0.0.1:PORT (0: any) is made here, handed over as descriptor 3, and kept
// open: when the program ends it is started once more with the same socket, as socket activation does. The
// first lines are "socket PORT" and "pid PID". SIGTERM and SIGHUP are passed on; after SIGTERM no further
// start.
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static _Noreturn void fail(const char *what) {
    perror(what);
    exit(125);
}

static int tell_socket(char name[64]) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    snprintf(name, 64, "@hamroh-test-%ld", (long)getpid());
    memcpy(address.sun_path + 1, name + 1, strlen(name) - 1);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) != 0) fail("notify socket");
    return fd;
}

static int listening_socket(unsigned long port) {
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) != 0 || listen(fd, 128) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0)
        fail("listening socket");
    printf("socket %d\n", ntohs(address.sin_port));
    return fd;
}

static pid_t start(char **argv, int listening, const char *tell, const char *watchdog) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid < 0) fail("fork");
    if (pid > 0) return pid;
    char own[24];
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    snprintf(own, sizeof own, "%ld", (long)getpid());
    setenv("NOTIFY_SOCKET", tell, 1);
    if (watchdog) {
        setenv("WATCHDOG_USEC", watchdog, 1);
        setenv("WATCHDOG_PID", own, 1);
    }
    if (listening >= 0) {
        setenv("LISTEN_FDS", "1", 1);
        setenv("LISTEN_PID", own, 1);
        if (dup2(listening, 3) < 0) _exit(125);
    }
    execv(argv[0], argv);
    _exit(125);
}

static void print_told(int tell) {
    char text[2048];
    ssize_t len;
    while ((len = recv(tell, text, sizeof text - 1, MSG_DONTWAIT)) > 0) {
        for (ssize_t i = 0; i < len; i++)
            if (text[i] == '\n') text[i] = '|';
        printf("%.*s\n", (int)len, text);
    }
    fflush(stdout);
}

int main(int argc, char **argv) {
    const char *watchdog = NULL;
    int at = 1, listening = -1, status = 0;
    char tell_name[64];
    for (; at + 1 < argc && strncmp(argv[at], "--", 2) == 0; at += 2) {
        if (strcmp(argv[at], "--watchdog") == 0) watchdog = argv[at + 1];
        if (strcmp(argv[at], "--socket") == 0) listening = listening_socket(strtoul(argv[at + 1], NULL, 10));
    }
    if (at >= argc) return 125;
    if (listening == 3) listening = dup(listening);
    int tell = tell_socket(tell_name);
    sigset_t mine;
    sigemptyset(&mine);
    sigaddset(&mine, SIGTERM);
    sigaddset(&mine, SIGHUP);
    sigaddset(&mine, SIGCHLD);
    sigprocmask(SIG_BLOCK, &mine, NULL);
    int signals = signalfd(-1, &mine, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals < 0) fail("signalfd");
    int starts = listening >= 0 ? 2 : 1;
    while (starts-- > 0) {
        pid_t pid = start(argv + at, listening, tell_name, watchdog), ended = 0;
        printf("pid %ld\n", (long)pid);
        fflush(stdout);
        while (!ended) {
            struct pollfd ready[2] = {{.fd = tell, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
            struct signalfd_siginfo info;
            if (poll(ready, 2, -1) < 0 && errno != EINTR) fail("poll");
            while (read(signals, &info, sizeof info) == (ssize_t)sizeof info) {
                if (info.ssi_signo != SIGCHLD) kill(pid, (int)info.ssi_signo);
                if (info.ssi_signo == SIGTERM) starts = 0;
            }
            print_told(tell);
            ended = waitpid(pid, &status, WNOHANG) == pid;
        }
        print_told(tell);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
