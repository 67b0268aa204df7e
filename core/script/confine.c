// The walls around a worker. What is left when plugins begin to run: memory, the clock, the timer, the socket
// to the server, the log on descriptor 2, and the map of the institution's own environment. What always
// holds: after hm_confine no file can be opened, no process or thread made, no page made executable, and any
// other system call ends the process at once.
//
// Sanitizers need more: the address sanitizer looks for leaks at the end with a thread and ptrace, and reads
// /proc. Builds with one (known at compile time) have a list of calls that are refused in place of the list
// of those that are allowed, keep their limits of address space and descriptors, and stay dumpable. Such a
// build is for tests only.
#include "script/host.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

bool hm_confine_begin(int keep_fd, bool keep_output, struct hm_error *err) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    // The library looks for a zone file when a time is first written out, as the log does; there is nothing
    // to open later.
    setenv("TZ", "UTC0", 1);
    tzset();
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0) return hm_fail(err, HM_INTERNAL, "/dev/null: error %d", errno);
    bool ok = dup2(null, 0) >= 0 && (keep_output || dup2(null, 1) >= 0);
    if (keep_fd < 3) {
        ok = ok && close_range(3, ~0u, 0) == 0;
    } else {
        if (keep_fd > 3) ok = ok && close_range(3, (unsigned)keep_fd - 1, 0) == 0;
        ok = ok && close_range((unsigned)keep_fd + 1, ~0u, 0) == 0;
    }
    return ok || hm_fail(err, HM_INTERNAL, "cannot close descriptors: error %d", errno);
}

static bool limit(int what, rlim_t value) {
    struct rlimit r = {value, value}, now;
    // A hard limit that is lower already stays.
    if (getrlimit((__rlimit_resource_t)what, &now) == 0 && now.rlim_max != RLIM_INFINITY &&
        now.rlim_max < value)
        r = (struct rlimit){now.rlim_max, now.rlim_max};
    return setrlimit((__rlimit_resource_t)what, &r) == 0;
}

static bool set_limits(struct hm_error *err) {
    bool ok = limit(RLIMIT_CORE, 0);
    if (!SANITIZED) {
        // Address space: the map of the environment may grow to its largest (64 GiB). What is private is
        // bounded more tightly.
        ok = ok && limit(RLIMIT_AS, (rlim_t)160 << 30) && limit(RLIMIT_DATA, (rlim_t)4 << 30);
        ok = ok && limit(RLIMIT_NOFILE, 0) && limit(RLIMIT_NPROC, 0);
    }
    return ok || hm_fail(err, HM_INTERNAL, "cannot set limits: error %d", errno);
}

static bool add(scmp_filter_ctx filter, uint32_t action, const int *calls, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (seccomp_rule_add(filter, action, calls[i], 0) != 0) return false;
    return true;
}

// What a plugin's code can make Lua and LMDB ask of the kernel. read and write: the log; LMDB reads through
// its map. close, getpid: an orderly end of the environment. time and gettimeofday where there is no vDSO.
// sysinfo: qsort of glibc asks for the size of memory. timer_settime: the limit of time; rt_sigreturn: back
// from its signal.
static bool allow_what_is_needed(scmp_filter_ctx filter) {
    static const int calls[] = {SCMP_SYS(read),           SCMP_SYS(write),         SCMP_SYS(sendmsg),
                                SCMP_SYS(recvmsg),        SCMP_SYS(futex),         SCMP_SYS(munmap),
                                SCMP_SYS(mremap),         SCMP_SYS(brk),           SCMP_SYS(madvise),
                                SCMP_SYS(clock_gettime),  SCMP_SYS(gettimeofday),  SCMP_SYS(time),
                                SCMP_SYS(exit),           SCMP_SYS(exit_group),    SCMP_SYS(rt_sigreturn),
                                SCMP_SYS(rt_sigprocmask), SCMP_SYS(timer_settime), SCMP_SYS(restart_syscall),
                                SCMP_SYS(close),          SCMP_SYS(getpid),        SCMP_SYS(sysinfo)};
    static const struct scmp_arg_cmp not_executable = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
    static const struct scmp_arg_cmp fault =
        SCMP_A0(SCMP_CMP_EQ, SIGSEGV, 0); // to die of one that is not ours
    return add(filter, SCMP_ACT_ALLOW, calls, sizeof calls / sizeof *calls) &&
           seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(rt_sigaction), 1, &fault) == 0 &&
           seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, &not_executable) == 0 &&
           seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, &not_executable) == 0;
}

// For builds with a sanitizer, whose run-time makes calls of its own (a thread that stops the others, /proc,
// ptrace): only what has no place in a worker at all.
static bool refuse_what_is_not(scmp_filter_ctx filter) {
    static const int calls[] = {
        SCMP_SYS(socket),  SCMP_SYS(connect),  SCMP_SYS(bind),      SCMP_SYS(listen),   SCMP_SYS(accept),
        SCMP_SYS(accept4), SCMP_SYS(execve),   SCMP_SYS(execveat),  SCMP_SYS(unlink),   SCMP_SYS(unlinkat),
        SCMP_SYS(rename),  SCMP_SYS(renameat), SCMP_SYS(renameat2), SCMP_SYS(mkdir),    SCMP_SYS(mkdirat),
        SCMP_SYS(symlink), SCMP_SYS(linkat),   SCMP_SYS(truncate),  SCMP_SYS(ftruncate)};
    return add(filter, SCMP_ACT_KILL_PROCESS, calls, sizeof calls / sizeof *calls);
}

static bool set_filter(struct hm_error *err) {
    scmp_filter_ctx filter = seccomp_init(SANITIZED ? SCMP_ACT_ALLOW : SCMP_ACT_KILL_PROCESS);
    if (!filter) return hm_fail(err, HM_INTERNAL, "cannot make a seccomp filter");
    bool ok = SANITIZED ? refuse_what_is_not(filter) : allow_what_is_needed(filter);
    ok = ok && seccomp_load(filter) == 0;
    seccomp_release(filter);
    return ok || hm_fail(err, HM_INTERNAL, "the kernel refuses the seccomp filter: error %d", errno);
}

bool hm_confine(struct hm_error *err) {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return hm_fail(err, HM_INTERNAL, "no_new_privs: error %d", errno);
    if (!SANITIZED) prctl(PR_SET_DUMPABLE, 0);
    return set_limits(err) && set_filter(err);
}
