// The walls around a worker. What is left when plugins begin to run: memory, the clock, the timer, the socket to the server, the
// log on descriptor 2, and the map of the institution's own environment. What always holds: after hm_confine no file can be
// opened, no process or thread made, no page made executable, and any other system call ends the process at once.
//
// Sanitizers need more: the address sanitizer looks for leaks at the end with a thread and ptrace, and reads /proc. Builds with
// one (known at compile time) get those calls, keep their limits of address space and descriptors, and stay dumpable.
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
    // The library looks for a zone file when a time is first written out, as the log does; there is nothing to open later.
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
    if (getrlimit((__rlimit_resource_t)what, &now) == 0 && now.rlim_max != RLIM_INFINITY && now.rlim_max < value) r = (struct rlimit){now.rlim_max, now.rlim_max};
    return setrlimit((__rlimit_resource_t)what, &r) == 0;
}

static bool set_limits(struct hm_error *err) {
    bool ok = limit(RLIMIT_CORE, 0);
    if (!SANITIZED) {
        // Address space: the map of the environment may grow to its largest (64 GiB). What is private is bounded more tightly.
        ok = ok && limit(RLIMIT_AS, (rlim_t)160 << 30) && limit(RLIMIT_DATA, (rlim_t)4 << 30);
        ok = ok && limit(RLIMIT_NOFILE, 0) && limit(RLIMIT_NPROC, 0);
    }
    return ok || hm_fail(err, HM_INTERNAL, "cannot set limits: error %d", errno);
}

static bool allow(scmp_filter_ctx filter, const int *calls, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0) != 0) return false;
    return true;
}

static bool set_filter(struct hm_error *err) {
    // read and write: the log; LMDB reads through its map. close, getpid: an orderly end of the environment. time and
    // gettimeofday where there is no vDSO. sysinfo: qsort of glibc asks for the size of memory. timer_settime: the limit of time; rt_sigreturn: back from its signal.
    static const int calls[] = {SCMP_SYS(read),          SCMP_SYS(write),        SCMP_SYS(sendmsg),      SCMP_SYS(recvmsg),
                                SCMP_SYS(futex),         SCMP_SYS(munmap),       SCMP_SYS(mremap),       SCMP_SYS(brk),
                                SCMP_SYS(madvise),       SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday), SCMP_SYS(time),
                                SCMP_SYS(exit),          SCMP_SYS(exit_group),   SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigprocmask),
                                SCMP_SYS(timer_settime), SCMP_SYS(restart_syscall), SCMP_SYS(close),     SCMP_SYS(getpid),
                                SCMP_SYS(sysinfo)};
    static const int sanitizer_calls[] = {
        SCMP_SYS(sigaltstack), SCMP_SYS(sched_yield), SCMP_SYS(gettid),     SCMP_SYS(tgkill),  SCMP_SYS(rt_sigaction),
        SCMP_SYS(openat),      SCMP_SYS(readlink),    SCMP_SYS(newfstatat), SCMP_SYS(fstat),   SCMP_SYS(lseek),
        SCMP_SYS(clone),       SCMP_SYS(clone3),      SCMP_SYS(wait4),      SCMP_SYS(prctl),   SCMP_SYS(ptrace),
        SCMP_SYS(kill),        SCMP_SYS(getdents64),  SCMP_SYS(getppid),    SCMP_SYS(pipe),    SCMP_SYS(mmap),
        SCMP_SYS(mprotect),    SCMP_SYS(getrandom),   SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(writev),
        SCMP_SYS(process_vm_readv), SCMP_SYS(getrlimit), SCMP_SYS(prlimit64), SCMP_SYS(sched_getaffinity), SCMP_SYS(pipe2),
        SCMP_SYS(nanosleep),   SCMP_SYS(clock_nanosleep), SCMP_SYS(access), SCMP_SYS(getuid), SCMP_SYS(dup), SCMP_SYS(fcntl),
        SCMP_SYS(uname),       SCMP_SYS(execve),     SCMP_SYS(dup2),    SCMP_SYS(ioctl)};
    bool ok = false;
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!filter) return hm_fail(err, HM_INTERNAL, "cannot make a seccomp filter");
    ok = allow(filter, calls, sizeof calls / sizeof *calls);
    if (SANITIZED) {
        ok = ok && allow(filter, sanitizer_calls, sizeof sanitizer_calls / sizeof *sanitizer_calls);
    } else {
        ok = ok && seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)) == 0;
        ok = ok && seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)) == 0;
    }
    ok = ok && seccomp_load(filter) == 0;
    seccomp_release(filter);
    return ok || hm_fail(err, HM_INTERNAL, "the kernel refuses the seccomp filter: error %d", errno);
}

bool hm_confine(struct hm_error *err) {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return hm_fail(err, HM_INTERNAL, "no_new_privs: error %d", errno);
    if (!SANITIZED) prctl(PR_SET_DUMPABLE, 0);
    return set_limits(err) && set_filter(err);
}
