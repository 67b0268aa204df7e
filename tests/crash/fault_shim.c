// Faults for the tests of tests/crash, loaded with LD_PRELOAD into a server: what the disk and the clock say
// is decided by a file of 64 bytes (named by HAMROH_FAULTS) that is mapped here and written by the test while
// the server runs. Built without sanitizers, asks the kernel directly, and does nothing without the file.
//
//   0  i32  errno of fsync, fdatasync and msync, or 0
//   4  i32  errno of a pwrite of less than a page (LMDB's heads; a 0-terminated name in a lock file), or 0
//   8  i64  milliseconds added to the wall clock
//  16  u32  how often a sync succeeded, 20 u32 how often one failed here, 24 u32 how often a head did
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct faults {
    _Atomic int32_t sync_errno, head_errno;
    _Atomic int64_t clock_ms;
    _Atomic uint32_t synced, sync_failed, head_failed;
};
static struct faults *faults;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("HAMROH_FAULTS");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *p = mmap(NULL, 64, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (p != MAP_FAILED) faults = p;
}

static int sync_fails(void) {
    int32_t e = faults ? atomic_load(&faults->sync_errno) : 0;
    if (faults) atomic_fetch_add(e ? &faults->sync_failed : &faults->synced, 1u);
    if (e) errno = e;
    return e != 0;
}

int fsync(int fd) {
    return sync_fails() ? -1 : (int)syscall(SYS_fsync, fd);
}
int fdatasync(int fd) {
    return sync_fails() ? -1 : (int)syscall(SYS_fdatasync, fd);
}
int msync(void *at, size_t len, int flags) {
    return sync_fails() ? -1 : (int)syscall(SYS_msync, at, len, flags);
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at) {
    int32_t e = faults && len < 512 ? atomic_load(&faults->head_errno) : 0;
    if (!e) return syscall(SYS_pwrite64, fd, bytes, len, at);
    atomic_fetch_add(&faults->head_failed, 1u);
    errno = e;
    return -1;
}
ssize_t pwrite64(int fd, const void *bytes, size_t len, off_t at) __attribute__((alias("pwrite")));

static void move(int64_t *s, int64_t *ns) {
    int64_t ms = faults ? atomic_load(&faults->clock_ms) : 0;
    *s += ms / 1000;
    *ns += ms % 1000 * 1000000;
    if (*ns < 0) *ns += 1000000000, *s -= 1;
    if (*ns >= 1000000000) *ns -= 1000000000, *s += 1;
}

int clock_gettime(clockid_t clock, struct timespec *t) {
    int rc = (int)syscall(SYS_clock_gettime, clock, t);
    if (rc == 0 && clock == CLOCK_REALTIME) move(&t->tv_sec, &t->tv_nsec);
    return rc;
}
time_t time(time_t *out) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (out) *out = t.tv_sec;
    return t.tv_sec;
}
int gettimeofday(struct timeval *restrict t, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    t->tv_sec = now.tv_sec;
    t->tv_usec = now.tv_nsec / 1000;
    return 0;
}
