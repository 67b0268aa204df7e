// Memory, slices and growing buffers. Allocation failure ends the process with a message: the server's own
// memory is bounded by its limits, and what comes from outside is capped before anything is allocated.
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

void *hm_alloc(size_t size);                     // zeroed; owned by the caller, freed with free()
void *hm_realloc(void *old, size_t size);        // new part not zeroed
void *hm_alloc_array(size_t count, size_t size); // zeroed, overflow checked
char *hm_strdup(const char *text);               // NULL gives NULL

// A borrowed slice of bytes; not terminated, may hold zero bytes. ptr may be NULL when len is 0.
struct hm_str {
    const char *ptr;
    size_t len;
};
#define HM_LIT(text) ((struct hm_str){"" text, sizeof(text) - 1})
static inline struct hm_str hm_str_of(const char *text) {
    return (struct hm_str){text, text ? strlen(text) : 0};
}
static inline bool hm_str_eq(struct hm_str a, struct hm_str b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
int hm_str_cmp(struct hm_str a, struct hm_str b); // as memcmp, the shorter first when one is a prefix
char *hm_str_dup(struct hm_str s);                // terminated copy, owned by the caller

// A growing byte buffer. `(struct hm_buf){0}` is empty and valid; data is kept zero-terminated past len.
struct hm_buf {
    char *data;
    size_t len;
    size_t cap;
};
void hm_buf_free(struct hm_buf *b);  // frees and zeroes; safe on an empty one
void hm_buf_clear(struct hm_buf *b); // len = 0, keeps the memory
void hm_buf_reserve(struct hm_buf *b, size_t more);
void hm_buf_add(struct hm_buf *b, const void *bytes, size_t len);
void hm_buf_str(struct hm_buf *b, struct hm_str s);
void hm_buf_text(struct hm_buf *b, const char *text);
void hm_buf_char(struct hm_buf *b, char c);
void hm_buf_printf(struct hm_buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void hm_buf_drop(struct hm_buf *b, size_t count); // removes count bytes from the front
static inline struct hm_str hm_buf_view(const struct hm_buf *b) {
    return (struct hm_str){b->data, b->len};
}
// Whole file into b (appended), refused when larger than max.
struct hm_error;
bool hm_read_file(const char *path, size_t max, struct hm_buf *b, struct hm_error *err);
// Writes path atomically (temporary file beside it, fsync, rename, fsync of the folder) with the given mode.
bool hm_write_file(const char *path, struct hm_str bytes, unsigned mode, struct hm_error *err);
// The same for what must not lie about under a second name: the temporary one is PATH.new, and
// hm_secret_finish wipes what a crash left under it.
bool hm_write_secret(const char *path, struct hm_str bytes, struct hm_error *err);
bool hm_secret_finish(const char *path, struct hm_error *err);
// These give errno. The second overwrites a file, syncs it and takes it away; fine when there is none.
int hm_overwrite(int fd);
int hm_wipe_file(const char *path);
