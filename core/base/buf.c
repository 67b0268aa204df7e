// Memory, slices, growing buffers, whole files. Any thread, as long as a buffer is used by one at a time. A
// buffer's text is always terminated one byte past its length, so that it may be handed to functions that
// want a C string.
#include "base/buf.h"
#include "base/error.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ZEROS 65536u

static _Noreturn void out_of_memory(size_t size) {
    fprintf(stderr, "hamroh: out of memory (%zu bytes asked for)\n", size);
    abort();
}

void *hm_alloc(size_t size) {
    return hm_alloc_array(1, size);
}

void *hm_alloc_array(size_t count, size_t size) {
    if (count == 0 || size == 0) count = size = 1;
    void *p = calloc(count, size); // checks the product for overflow
    if (!p) out_of_memory(size);
    return p;
}

void *hm_realloc(void *old, size_t size) {
    void *p = realloc(old, size ? size : 1);
    if (!p) out_of_memory(size);
    return p;
}

char *hm_strdup(const char *text) {
    return text ? hm_str_dup(hm_str_of(text)) : NULL;
}

char *hm_str_dup(struct hm_str s) {
    char *copy = hm_realloc(NULL, s.len + 1);
    if (s.len) memcpy(copy, s.ptr, s.len);
    copy[s.len] = '\0';
    return copy;
}

int hm_str_cmp(struct hm_str a, struct hm_str b) {
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common ? memcmp(a.ptr, b.ptr, common) : 0;
    if (order) return order;
    return a.len < b.len ? -1 : a.len > b.len;
}

void hm_buf_free(struct hm_buf *b) {
    free(b->data);
    *b = (struct hm_buf){0};
}

void hm_buf_clear(struct hm_buf *b) {
    b->len = 0;
    if (b->data) b->data[0] = '\0';
}

void hm_buf_reserve(struct hm_buf *b, size_t more) {
    if (more >= SIZE_MAX / 2 - b->len) out_of_memory(more);
    size_t need = b->len + more + 1;
    if (need <= b->cap) return;
    size_t cap = b->cap < 32 ? 64 : b->cap + b->cap / 2;
    if (cap < need) cap = need;
    b->data = hm_realloc(b->data, cap);
    b->cap = cap;
    b->data[b->len] = '\0';
}

void hm_buf_add(struct hm_buf *b, const void *bytes, size_t len) {
    hm_buf_reserve(b, len);
    if (len) memcpy(b->data + b->len, bytes, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void hm_buf_str(struct hm_buf *b, struct hm_str s) {
    hm_buf_add(b, s.ptr, s.len);
}

void hm_buf_text(struct hm_buf *b, const char *text) {
    hm_buf_add(b, text, strlen(text));
}

void hm_buf_char(struct hm_buf *b, char c) {
    if (b->len + 2 > b->cap) hm_buf_reserve(b, 1);
    b->data[b->len++] = c;
    b->data[b->len] = '\0';
}

void hm_buf_printf(struct hm_buf *b, const char *format, ...) {
    hm_buf_reserve(b, 64);
    for (;;) {
        size_t room = b->cap - b->len;
        va_list args;
        va_start(args, format);
        int len = vsnprintf(b->data + b->len, room, format, args);
        va_end(args);
        assert(len >= 0);
        if ((size_t)len < room) {
            b->len += (size_t)len;
            return;
        }
        hm_buf_reserve(b, (size_t)len);
    }
}

void hm_buf_drop(struct hm_buf *b, size_t count) {
    assert(count <= b->len);
    if (!count) return;
    memmove(b->data, b->data + count, b->len - count + 1);
    b->len -= count;
}

bool hm_read_file(const char *path, size_t max, struct hm_buf *b, struct hm_error *err) {
    bool ok = false;
    size_t start = b->len;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        hm_fail(err, errno == ENOENT ? HM_NOT_FOUND : HM_UNAVAILABLE, "%s: %s", path, strerror(errno));
        goto out;
    }
    for (;;) {
        hm_buf_reserve(b, 65536);
        ssize_t got = read(fd, b->data + b->len, b->cap - b->len - 1);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            hm_fail(err, HM_UNAVAILABLE, "%s: %s", path, strerror(errno));
            goto out;
        }
        if (got == 0) break;
        b->len += (size_t)got;
        b->data[b->len] = '\0';
        if (b->len - start > max) {
            hm_fail(err, HM_TOO_LARGE, "%s is larger than %zu bytes", path, max);
            goto out;
        }
    }
    ok = true;
out:
    if (fd >= 0) close(fd);
    if (!ok && b->data) {
        b->len = start;
        b->data[start] = '\0';
    }
    return ok;
}

static bool write_all(int fd, struct hm_str bytes) {
    while (bytes.len) {
        ssize_t put = write(fd, bytes.ptr, bytes.len);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return false;
        bytes.ptr += put;
        bytes.len -= (size_t)put;
    }
    return true;
}

// A rename is durable only once the folder that holds the name is.
static bool sync_folder_of(const char *path) {
    char *folder = hm_strdup(path);
    char *slash = strrchr(folder, '/');
    if (slash == folder)
        folder[1] = '\0';
    else if (slash)
        *slash = '\0';
    int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    int saved = errno;
    if (fd >= 0) close(fd);
    free(folder);
    errno = saved;
    return ok;
}

int hm_overwrite(int fd) {
    static const char zeros[ZEROS];
    struct stat st;
    if (fstat(fd, &st) != 0) return errno;
    for (off_t at = 0; at < st.st_size;) {
        size_t part = st.st_size - at < (off_t)ZEROS ? (size_t)(st.st_size - at) : ZEROS;
        ssize_t n = pwrite(fd, zeros, part, at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return n < 0 ? errno : EIO;
        at += n;
    }
    return fdatasync(fd) == 0 ? 0 : errno;
}

int hm_wipe_file(const char *path) {
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return errno == ENOENT || errno == ENOTDIR ? 0 : errno;
    int rc = hm_overwrite(fd);
    close(fd);
    if (!rc && unlink(path) != 0) rc = errno;
    return rc;
}

static bool write_under(int fd, const char *temporary, const char *path, struct hm_str bytes, unsigned mode) {
    return write_all(fd, bytes) && fchmod(fd, (mode_t)mode) == 0 && fsync(fd) == 0 &&
           rename(temporary, path) == 0;
}

bool hm_write_file(const char *path, struct hm_str bytes, unsigned mode, struct hm_error *err) {
    struct hm_buf temporary = {0};
    hm_buf_printf(&temporary, "%s.XXXXXX", path);
    int fd = mkostemp(temporary.data, O_CLOEXEC); // 0600 until the mode is set
    bool placed = fd >= 0 && write_under(fd, temporary.data, path, bytes, mode);
    bool ok = placed && sync_folder_of(path);
    if (!ok) hm_fail(err, HM_UNAVAILABLE, "%s cannot be written: %s", path, strerror(errno));
    if (fd >= 0) close(fd);
    if (fd >= 0 && !placed) unlink(temporary.data);
    hm_buf_free(&temporary);
    return ok;
}

bool hm_secret_finish(const char *path, struct hm_error *err) {
    struct hm_buf temporary = {0};
    hm_buf_printf(&temporary, "%s.new", path);
    int rc = hm_wipe_file(temporary.data);
    if (rc) hm_fail(err, HM_UNAVAILABLE, "%s cannot be wiped: %s", temporary.data, strerror(rc));
    hm_buf_free(&temporary);
    return rc == 0;
}

bool hm_write_secret(const char *path, struct hm_str bytes, struct hm_error *err) {
    struct hm_buf temporary = {0};
    if (!hm_secret_finish(path, err)) return false;
    hm_buf_printf(&temporary, "%s.new", path);
    int fd = open(temporary.data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool placed = fd >= 0 && write_under(fd, temporary.data, path, bytes, 0600);
    bool ok = placed && sync_folder_of(path);
    if (!ok) hm_fail(err, HM_UNAVAILABLE, "%s cannot be written: %s", path, strerror(errno));
    if (fd >= 0) close(fd);
    if (fd >= 0 && !placed) hm_wipe_file(temporary.data);
    hm_buf_free(&temporary);
    return ok;
}
