// Starting a worker's process with posix_spawn: between its vfork and exec runs only the C library's own
// careful code, so neither LMDB nor a lock of ours is ever used in a forked copy. Everything the server
// opens is close-on-exec, and what a library forgot is closed by closefrom. Processes are named by pidfd,
// which cannot come to mean another process.
//
// Each worker is a session of its own. Linux divides processors among sessions first (autogroup, where it is
// on and no control group says otherwise), so a worker that computes without end takes its share and no more,
// also from the kernel's own threads that finish our writes: in one session with the server it could delay
// them by hundreds of milliseconds (measured on 6.18, tests/bench, fairness). Nice counts within a session,
// so the session's own is set, too.
#include "engine/spawn.h"
#include "base/buf.h"
#include "script/frames.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

// A worker needs no variable of the server's; these help a developer (sanitizers) and keep dates sane.
static bool env_passed(const char *entry) {
    static const char *const names[] = {
        "PATH=", "LANG=", "TZ=", "ASAN_OPTIONS=", "UBSAN_OPTIONS=", "TSAN_OPTIONS=", "LSAN_OPTIONS="};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strncmp(entry, names[i], strlen(names[i])) == 0) return true;
    return false;
}

static char **env_make(void) {
    size_t count = 0, kept = 0;
    while (environ && environ[count])
        count++;
    char **env = hm_alloc_array(count + 1, sizeof *env);
    for (size_t i = 0; i < count; i++)
        if (env_passed(environ[i])) env[kept++] = environ[i];
    return env;
}

static bool attributes(posix_spawnattr_t *attr, posix_spawn_file_actions_t *actions, int child_fd) {
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    return posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                              POSIX_SPAWN_SETSID) == 0 &&
           posix_spawnattr_setsigmask(attr, &none) == 0 && posix_spawnattr_setsigdefault(attr, &all) == 0 &&
           posix_spawn_file_actions_adddup2(actions, child_fd, HM_WORKER_FD) == 0 &&
           posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0) == 0 &&
           posix_spawn_file_actions_adddup2(actions, 2, 1) == 0 &&
           posix_spawn_file_actions_addclosefrom_np(actions, HM_WORKER_FD + 1) == 0;
}

bool hm_spawn(const char *exe, const char *dir, int niceness, pid_t *pid, int *fd, int *pidfd,
              struct hm_error *err) {
    int pair[2] = {-1, -1};
    char **env = env_make();
    char *argv[] = {(char *)"hamroh", (char *)"worker", (char *)dir, NULL};
    posix_spawnattr_t attr;
    posix_spawn_file_actions_t actions;
    bool ok = false;
    *fd = *pidfd = -1;
    posix_spawnattr_init(&attr);
    posix_spawn_file_actions_init(&actions);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        hm_fail(err, HM_UNAVAILABLE, "no socket for a worker: %s", strerror(errno));
        goto out;
    }
    // Large enough that a batch of calls goes in one write.
    for (int i = 0; i < 2; i++)
        setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &(int){1 << 20}, sizeof(int));
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    int failed =
        attributes(&attr, &actions, pair[1]) ? posix_spawn(pid, exe, &actions, &attr, argv, env) : ENOMEM;
    if (failed) {
        hm_fail(err, HM_UNAVAILABLE, "cannot start a worker: %s", strerror(failed));
        goto out;
    }
    *pidfd = pidfd_open(*pid, 0);
    if (*pidfd < 0) { // the process sees the end of its socket below and ends by itself
        hm_fail(err, HM_UNAVAILABLE, "cannot watch a worker: %s", strerror(errno));
        goto out;
    }
    hm_spawn_nice(*pid, niceness);
    *fd = pair[0];
    pair[0] = -1;
    ok = true;
out:
    if (pair[0] >= 0) close(pair[0]);
    if (pair[1] >= 0) close(pair[1]);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    free(env);
    return ok;
}

// To be less nice again takes a right: then what is not taken back is not given either.
static bool may_undo(int niceness) {
    struct rlimit limit;
    return geteuid() == 0 || (getrlimit(RLIMIT_NICE, &limit) == 0 && (int)limit.rlim_cur >= 20 - niceness);
}

void hm_spawn_nice(pid_t pid, int niceness) {
    char path[40], text[8];
    int now = getpriority(PRIO_PROCESS, (id_t)pid);
    if (now == 0 || may_undo(now < niceness ? now : niceness)) setpriority(PRIO_PROCESS, (id_t)pid, niceness);
    snprintf(path, sizeof path, "/proc/%d/autogroup", (int)pid);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    int len = snprintf(text, sizeof text, "%d", niceness);
    // Refused where there are no such groups, or when others were set a moment ago: nothing depends on it.
    if (fd >= 0 && write(fd, text, (size_t)len) < 0) errno = 0;
    if (fd >= 0) close(fd);
}

void hm_spawn_kill(int pidfd) {
    if (pidfd >= 0) pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
}

void hm_spawn_hold(int pidfd, bool hold) {
    if (pidfd >= 0) pidfd_send_signal(pidfd, hold ? SIGSTOP : SIGCONT, NULL, 0);
}

bool hm_spawn_reap(int pidfd, bool wait, int *signal_or_exit) {
    siginfo_t info = {0};
    int rc;
    do {
        rc = waitid((idtype_t)P_PIDFD, (id_t)pidfd, &info, WEXITED | (wait ? 0 : WNOHANG));
    } while (rc != 0 && errno == EINTR);
    if (rc != 0) { // ECHILD: the loop's own child watcher was faster
        *signal_or_exit = -1;
        return true;
    }
    if (info.si_pid == 0) return false;
    *signal_or_exit = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
    return true;
}
