// Static files of the web client, kept in memory after their first use and looked at again when they change
// on disk. Loop thread only. What always holds: only plain names are looked up (letters, digits, '.', '_',
// '-', no leading dot in any part), so no path leads out of the folder.
#include "base/log.h"
#include "net/inside.h"
#include <ctype.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <uthash.h>

#define FILE_MAX (8u << 20)
#define FILES_MAX 256
#define PARTS_MAX 6

struct hm_file_entry { // nothing of it changes once it is loaded
    UT_hash_handle hh;
    unsigned refs; // one of the table, while it is in it
    struct timespec changed;
    off_t size;
    char etag[40];
    struct hm_buf body;
    char path[]; // on disk
};
struct hm_files {
    char *dir;
    struct hm_file_entry *entries;
};

static const struct {
    const char *ending, *type;
} types[] = {
    {".html", "text/html; charset=utf-8"},
    {".js", "text/javascript; charset=utf-8"},
    {".mjs", "text/javascript; charset=utf-8"},
    {".css", "text/css; charset=utf-8"},
    {".json", "application/json"},
    {".map", "application/json"},
    {".webmanifest", "application/manifest+json"},
    {".svg", "image/svg+xml"},
    {".png", "image/png"},
    {".ico", "image/x-icon"},
    {".webp", "image/webp"},
    {".woff2", "font/woff2"},
    {".ftl", "text/plain; charset=utf-8"},
    {".txt", "text/plain; charset=utf-8"},
};

static const char *type_of(struct hm_str path) {
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        size_t len = strlen(types[i].ending);
        if (path.len > len && memcmp(path.ptr + path.len - len, types[i].ending, len) == 0)
            return types[i].type;
    }
    return NULL; // nothing else belongs to a web client
}

static bool plain(struct hm_str path) {
    size_t parts = 0;
    if (!path.len || path.len > 200 || path.ptr[0] != '/') return false;
    for (size_t i = 0; i < path.len; i++) {
        char c = path.ptr[i], before = i ? path.ptr[i - 1] : 'a';
        if (c == '/' && (before == '/' || ++parts > PARTS_MAX)) return false;
        if (c == '.' && before == '/') return false;
        if (c != '/' && !isalnum((unsigned char)c) && c != '.' && c != '_' && c != '-') return false;
    }
    return path.ptr[path.len - 1] != '/';
}

// "app-3KQ7ZD2A.js" or "app.0a1b2c3d4e.css": the name changes with the contents.
static bool hashed(struct hm_str path) {
    const char *end = memrchr(path.ptr, '.', path.len);
    if (!end) return false;
    const char *at = end;
    bool digit = false;
    while (at > path.ptr && isalnum((unsigned char)at[-1])) {
        digit = digit || isdigit((unsigned char)at[-1]);
        at--;
    }
    return end - at >= 8 && digit && at > path.ptr && (at[-1] == '-' || at[-1] == '.');
}

struct hm_file_entry *hm_file_ref(struct hm_file_entry *entry) {
    entry->refs++;
    return entry;
}

void hm_file_unref(struct hm_file_entry *entry) {
    if (!entry || --entry->refs) return;
    hm_buf_free(&entry->body);
    free(entry);
}

static void forget(struct hm_files *files, struct hm_file_entry *entry) {
    HASH_DEL(files->entries, entry);
    hm_file_unref(entry);
}

static bool load(struct hm_file_entry *entry, const struct stat *st) {
    unsigned char hash[12];
    char hex[2 * sizeof hash + 1];
    if (!hm_read_file(entry->path, FILE_MAX, &entry->body, NULL)) return false;
    crypto_generichash(hash, sizeof hash, (const unsigned char *)entry->body.data, entry->body.len, NULL, 0);
    sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
    snprintf(entry->etag, sizeof entry->etag, "\"%s\"", hex);
    entry->changed = st->st_mtim;
    entry->size = st->st_size;
    return true;
}

static struct hm_file_entry *find(struct hm_files *files, const char *path) {
    struct hm_file_entry *entry = NULL;
    struct stat st;
    HASH_FIND_STR(files->entries, path, entry);
    bool there = stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= (off_t)FILE_MAX;
    if (entry && there && entry->size == st.st_size && entry->changed.tv_sec == st.st_mtim.tv_sec &&
        entry->changed.tv_nsec == st.st_mtim.tv_nsec)
        return entry;
    if (entry) forget(files, entry);
    if (!there) return NULL;
    if (HASH_COUNT(files->entries) >= FILES_MAX) forget(files, files->entries); // the oldest
    size_t len = strlen(path);
    entry = hm_alloc(sizeof *entry + len + 1);
    entry->refs = 1;
    memcpy(entry->path, path, len);
    HASH_ADD_KEYPTR(hh, files->entries, entry->path, len, entry);
    if (load(entry, &st)) return entry;
    forget(files, entry);
    return NULL;
}

struct hm_files *hm_files_new(const char *dir) {
    struct hm_files *files = hm_alloc(sizeof *files);
    files->dir = hm_strdup(dir);
    return files;
}

void hm_files_free(struct hm_files *files) {
    struct hm_file_entry *entry, *next;
    if (!files) return;
    HASH_ITER(hh, files->entries, entry, next) {
        forget(files, entry);
    }
    free(files->dir);
    free(files);
}

bool hm_files_get(struct hm_files *files, struct hm_str path, bool gzip_accepted, struct hm_file *out) {
    const char *type = files->dir && *files->dir && plain(path) ? type_of(path) : NULL;
    struct hm_buf on_disk = {0};
    if (!type) return false;
    hm_buf_printf(&on_disk, "%s%.*s.gz", files->dir, (int)path.len, path.ptr);
    struct hm_file_entry *entry = gzip_accepted ? find(files, on_disk.data) : NULL;
    bool gzip = entry != NULL;
    if (!entry) {
        on_disk.data[on_disk.len - 3] = '\0';
        entry = find(files, on_disk.data);
    }
    hm_buf_free(&on_disk);
    if (!entry) return false;
    *out = (struct hm_file){.entry = entry,
                            .type = type,
                            .immutable = hashed(path),
                            .gzip = gzip,
                            .body = hm_buf_view(&entry->body)};
    memcpy(out->etag, entry->etag, sizeof out->etag);
    return true;
}
