// Starts a program as systemd starts a service of Type=notify, and prints what the program tells it, a line a
// message ("READY=1|STATUS=…"), so that a test without systemd can read it.
//
//   as_systemd [--socket PORT] [--watchdog USEC] [--allow FILE] PROGRAM ARGS…
//
// --socket: a listening socket on 127.0.0.1:PORT (0: any) is made here, handed over as descriptor 3, and kept
// open: when the program ends it is started once more with the same socket, as socket activation does. The
// first lines are "socket PORT" and "pid PID". SIGTERM and SIGHUP are passed on; after SIGTERM no further
// start.
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
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

static void add(scmp_filter_ctx filter, const char *name) {
    static const struct {
        const char *name;
        unsigned family;
    } families[] = {
        {"AF_UNIX", AF_UNIX}, {"AF_INET", AF_INET}, {"AF_INET6", AF_INET6}, {"AF_NETLINK", AF_NETLINK}};
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (strcmp(name, families[i].name) == 0)
            seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                             SCMP_A0(SCMP_CMP_EQ, families[i].family, 0));
    int number = seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR || number == SCMP_SYS(socket)) return;
    if (number == SCMP_SYS(mmap))
        seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), number, 1,
                         SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC | PROT_WRITE, PROT_EXEC | PROT_WRITE));
    else
        seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
}

// mmap needs one filter for what is allowed and another for what is refused of it.
static void confine(const char *file) {
    char name[80];
    FILE *list = fopen(file, "re");
    scmp_filter_ctx allow = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    scmp_filter_ctx deny = seccomp_init(SCMP_ACT_ALLOW);
    if (!list || !allow || !deny || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) _exit(124);
    while (fscanf(list, "%79s", name) == 1)
        add(strcmp(name, "mmap") == 0 ? deny : allow, name);
    seccomp_rule_add(allow, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 0);
    seccomp_rule_add(deny, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(mprotect), 1,
                     SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC));
    if (seccomp_load(deny) != 0 || seccomp_load(allow) != 0) _exit(124);
    fclose(list);
}

static pid_t start(char **argv, int listening, const char *tell, const char *watchdog, const char *allow) {
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
    if (allow) confine(allow);
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
    const char *watchdog = NULL, *allow = NULL;
    int at = 1, listening = -1, status = 0;
    char tell_name[64];
    for (; at + 1 < argc && strncmp(argv[at], "--", 2) == 0; at += 2) {
        if (strcmp(argv[at], "--watchdog") == 0) watchdog = argv[at + 1];
        if (strcmp(argv[at], "--allow") == 0) allow = argv[at + 1];
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
        pid_t pid = start(argv + at, listening, tell_name, watchdog, allow), ended = 0;
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
