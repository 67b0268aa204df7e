// Making backups: data/ copied while serving, with a manifest written last, so that a copy without a manifest
// is none; then the set's keyring replaced by the present one (set.c). Any thread but one that has an
// hm_write open; the map cannot grow during a copy.
//
// MANIFEST is a text: what the copy holds, the sum of its file, and the sum of the manifest itself.
#include "base/clock.h"
#include "store/internal.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK (1u << 18)
#define ROOM ((size_t)1 << 20)
static const char first_line[] = "hamroh backup 2";

// ---- files
// -----------------------------------------------------------------------------------------------------------------

static void put_hex(struct hm_buf *out, const uint8_t *bytes, size_t len) {
    for (size_t i = 0; i < len; i++)
        hm_buf_printf(out, "%02x", bytes[i]);
}

int hm_write_all(int fd, struct hm_str bytes) {
    while (bytes.len) {
        ssize_t n = write(fd, bytes.ptr, bytes.len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return n < 0 ? errno : EIO;
        bytes.ptr += n;
        bytes.len -= (size_t)n;
    }
    return 0;
}

bool hm_sum_file(const char *from, const char *to, struct hm_sum *out, struct hm_error *err) {
    crypto_generichash_state state;
    char *bytes = hm_alloc(CHUNK);
    int out_fd = -1, rc = 0;
    int fd = open(from, O_RDONLY | O_CLOEXEC);
    if (fd < 0) rc = errno;
    if (!rc && to && (out_fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0) rc = errno;
    crypto_generichash_init(&state, NULL, 0, HM_HASH);
    out->bytes = 0;
    while (!rc) {
        ssize_t n = read(fd, bytes, CHUNK);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) rc = errno;
        if (n <= 0) break;
        crypto_generichash_update(&state, (const uint8_t *)bytes, (size_t)n);
        out->bytes += (uint64_t)n;
        if (to) rc = hm_write_all(out_fd, (struct hm_str){bytes, (size_t)n});
    }
    crypto_generichash_final(&state, out->hash, HM_HASH);
    if (!rc && to && fsync(out_fd) != 0) rc = errno;
    if (out_fd >= 0) close(out_fd);
    if (fd >= 0) close(fd);
    free(bytes);
    return !rc || hm_mdb_fail(err, rc, to ? to : from, to ? "copy" : "read");
}

static bool sync_file(const char *path, struct hm_error *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 || fsync(fd) != 0 ? errno : 0;
    if (fd >= 0) close(fd);
    return !rc || hm_mdb_fail(err, rc, path, "sync");
}

// ---- what a copy holds
// -----------------------------------------------------------------------------------------------------

// A copy made of a full map has no page left for its new epoch.
static int make_room(MDB_env *env) {
    MDB_envinfo info;
    int rc = mdb_env_info(env, &info);
    return rc ? rc : mdb_env_set_mapsize(env, info.me_mapsize + ROOM);
}

static bool take_head(struct hm_store *s, MDB_txn *txn, struct hm_head *out, uint8_t keyring[16]) {
    struct hm_str value;
    memset(out, 0, sizeof *out);
    if (!hm_meta_get(s, txn, "epoch", &value) || value.len != 36) return false;
    memcpy(out->epoch, value.ptr, 36);
    if (keyring) {
        if (!hm_meta_get(s, txn, "keyring", &value) || value.len != 16) return false;
        memcpy(keyring, value.ptr, 16);
    }
    if (!hm_meta_get(s, txn, "head", &value) || value.len != 8 + HM_HASH) return false;
    struct hm_reader in = hm_reader_of(value);
    out->seq = hm_get_u64(&in);
    memcpy(out->hash, value.ptr + 8, HM_HASH);
    return true;
}

bool hm_head_read(const char *dir, const char *new_epoch, struct hm_head *out, uint8_t keyring[16],
                  struct hm_error *err) {
    MDB_env *env = NULL;
    MDB_txn *txn = NULL;
    struct hm_store s = {.dir = (char *)dir};
    bool ok = false;
    unsigned flags = new_epoch ? 0 : MDB_RDONLY;
    int rc = mdb_env_create(&env);
    if (!rc) rc = mdb_env_set_maxdbs(env, 1);
    if (!rc) rc = mdb_env_open(env, dir, MDB_NOLOCK | MDB_NOTLS | flags, 0600);
    if (!rc && new_epoch) rc = make_room(env);
    if (!rc) rc = mdb_txn_begin(env, NULL, flags, &txn);
    if (!rc) rc = mdb_dbi_open(txn, "meta", 0, &s.meta);
    if (!rc && new_epoch) rc = hm_meta_put(&s, txn, "epoch", hm_str_of(new_epoch));
    if (rc) {
        hm_mdb_fail(err, rc, dir, "open the copy");
        goto out;
    }
    ok = take_head(&s, txn, out, keyring) ||
         hm_fail(err, HM_INTERNAL, "%s: the copy has no head of a change log", dir);
    if (ok && new_epoch) {
        rc = mdb_txn_commit(txn);
        txn = NULL;
        if (rc) ok = hm_mdb_fail(err, rc, dir, "give the copy an epoch");
    }
out:
    if (txn) mdb_txn_abort(txn);
    if (env) mdb_env_close(env);
    return ok;
}

// ---- the manifest
// ----------------------------------------------------------------------------------------------------------

static void manifest_sum(struct hm_str text, struct hm_buf *out) {
    uint8_t hash[HM_HASH];
    crypto_generichash(hash, HM_HASH, (const uint8_t *)text.ptr, text.len, NULL, 0);
    hm_buf_text(out, "sum ");
    put_hex(out, hash, HM_HASH);
    hm_buf_char(out, '\n');
}

static bool write_manifest(const char *dir, int64_t made_ms, struct hm_error *err) {
    struct hm_manifest m = {.made_ms = made_ms};
    struct hm_buf text = {0}, sum = {0};
    char *path = hm_path(dir, "MANIFEST"), *file = hm_path(dir, "data.mdb");
    bool ok = hm_head_read(dir, NULL, &m.head, m.keyring, err) && sync_file(file, err) &&
              hm_sync_dir(dir, err) && hm_sum_file(file, NULL, &m.data, err);
    if (ok) {
        hm_buf_printf(&text, "%s\nepoch %s\nseq %" PRIu64 "\nhash ", first_line, m.head.epoch, m.head.seq);
        put_hex(&text, m.head.hash, HM_HASH);
        hm_buf_printf(&text, "\nmade %" PRId64 "\nkeyring ", m.made_ms);
        put_hex(&text, m.keyring, sizeof m.keyring);
        hm_buf_printf(&text, "\nfile data.mdb %" PRIu64 " ", m.data.bytes);
        put_hex(&text, m.data.hash, HM_HASH);
        hm_buf_char(&text, '\n');
        manifest_sum(hm_buf_view(&text), &sum);
        hm_buf_str(&text, hm_buf_view(&sum));
        ok = hm_write_file(path, hm_buf_view(&text), 0600, err);
    }
    free(path);
    free(file);
    hm_buf_free(&text);
    hm_buf_free(&sum);
    return ok;
}

static bool hex_to(const char *text, uint8_t *out, size_t len) {
    size_t got = 0;
    return strlen(text) == 2 * len && sodium_hex2bin(out, len, text, 2 * len, NULL, &got, NULL) == 0 &&
           got == len;
}

static bool sum_holds(struct hm_str text) {
    struct hm_buf sum = {0};
    size_t line = 4 + 2 * HM_HASH + 1;
    if (text.len <= line) return false;
    manifest_sum((struct hm_str){text.ptr, text.len - line}, &sum);
    bool ok = hm_str_eq(hm_buf_view(&sum), (struct hm_str){text.ptr + text.len - line, line});
    hm_buf_free(&sum);
    return ok;
}

bool hm_manifest_read(const char *backup, struct hm_manifest *out, struct hm_error *err) {
    struct hm_buf text = {0};
    char hash[65], keyring[33], sum[65];
    char *path = hm_path(backup, "MANIFEST");
    bool ok = hm_read_file(path, 4096, &text, err);
    memset(out, 0, sizeof *out);
    if (ok) {
        int n = sscanf(text.data,
                       "hamroh backup 2\nepoch %36[0-9a-f-]\nseq %" SCNu64 "\nhash %64[0-9a-f]\nmade %" SCNd64
                       "\nkeyring %32[0-9a-f]\nfile data.mdb %" SCNu64 " %64[0-9a-f]\n",
                       out->head.epoch, &out->head.seq, hash, &out->made_ms, keyring, &out->data.bytes, sum);
        ok = n == 7 && sum_holds(hm_buf_view(&text)) && hex_to(hash, out->head.hash, HM_HASH) &&
             hex_to(keyring, out->keyring, sizeof out->keyring) && hex_to(sum, out->data.hash, HM_HASH);
        if (!ok) hm_fail(err, HM_PARAMS, "%s is not the manifest of a backup, or is damaged", path);
    }
    hm_buf_free(&text);
    free(path);
    return ok;
}

// ---- backup
// -------------------------------------------------------------------------------------------------------------

static bool copy_data(struct hm_store *store, const char *dir, struct hm_error *err) {
    pthread_rwlock_rdlock(&store->map_lock);
    int rc = mdb_env_copy2(store->env, dir, 0);
    pthread_rwlock_unlock(&store->map_lock);
    return !rc || hm_mdb_fail(err, rc, dir, "copy");
}

static void remove_copy(const char *dir) {
    static const char *const files[] = {"data.mdb", "MANIFEST"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *file = hm_path(dir, files[i]);
        unlink(file);
        free(file);
    }
    rmdir(dir);
}

// A backup that was cut short: a folder ".NAME" that holds nothing but what a copy is made of, and that
// nobody has locked.
static void remove_cut_short(int set, const char *name) {
    int fd = openat(set, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *folder = fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0 ? NULL : fdopendir(fd);
    bool ours = folder != NULL;
    for (struct dirent *e; ours && (e = readdir(folder));)
        ours = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
               strcmp(e->d_name, "data.mdb") == 0 || strncmp(e->d_name, "MANIFEST", 8) == 0;
    if (ours) {
        rewinddir(folder);
        for (struct dirent *e; (e = readdir(folder));)
            unlinkat(fd, e->d_name, 0); // "." and ".." are folders
        unlinkat(set, name, AT_REMOVEDIR);
    }
    if (folder)
        closedir(folder);
    else if (fd >= 0)
        close(fd);
}

// Makes the folder of the copy, locked for as long as the descriptor is open, and takes away what earlier
// ones left; -1: failed.
static int begin_copy(const char *set, const char *partial, struct hm_error *err) {
    int fd = -1, lock = hm_set_lock(set, LOCK_EX, err);
    DIR *folder = lock < 0 ? NULL : opendir(set);
    for (struct dirent *e; folder && (e = readdir(folder));)
        if (e->d_name[0] == '.' && hm_backup_name_valid(hm_str_of(e->d_name + 1)))
            remove_cut_short(dirfd(folder), e->d_name);
    if (folder) closedir(folder);
    if (lock < 0) return -1;
    if (mkdir(partial, 0700) != 0) {
        hm_mdb_fail(err, errno, partial, "make the folder of the backup");
    } else if ((fd = open(partial, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 ||
               flock(fd, LOCK_EX | LOCK_NB) != 0) {
        hm_mdb_fail(err, errno, partial, "lock the folder of the backup");
        if (fd >= 0) close(fd);
        fd = -1;
        rmdir(partial);
    }
    close(lock);
    return fd;
}

// Under another name until all of it is there.
static bool make_copy(struct hm_store *store, const char *set, const char *name, struct hm_error *err) {
    struct hm_buf partial = {0};
    struct stat st;
    // Before the snapshot: a restore up to a time that the backup claims to cover must find all of it.
    int64_t made_ms = hm_now_ms();
    char *dir = hm_path(set, name);
    bool made = false, ok = false;
    int lock = -1;
    hm_buf_printf(&partial, "%s/.%s", set, name);
    if (lstat(dir, &st) == 0) {
        hm_fail(err, HM_CONFLICT, "%s exists already", dir);
        goto out;
    }
    if ((lock = begin_copy(set, partial.data, err)) < 0) goto out;
    made = true;
    if (!copy_data(store, partial.data, err) || !write_manifest(partial.data, made_ms, err) ||
        !hm_sync_dir(partial.data, err))
        goto out;
    // Behind the data and before the copy has its name: the set has every key that the data needs.
    if (!hm_set_refresh(store, set, false, err)) goto out;
    if (rename(partial.data, dir) != 0) {
        hm_mdb_fail(err, errno, dir, "put the backup in its place");
        goto out;
    }
    made = false;
    ok = hm_sync_dir(set, err);
out:
    if (made) remove_copy(partial.data);
    if (lock >= 0) close(lock);
    hm_buf_free(&partial);
    free(dir);
    return ok;
}

bool hm_store_backup(struct hm_store *store, const char *set, const char *name, struct hm_error *err) {
    if (store->read_only) return hm_fail(err, HM_INTERNAL, "%s is open read-only", store->dir);
    if (!hm_backup_name_valid(hm_str_of(name)))
        return hm_fail(err, HM_PARAMS, "a backup's name holds A-Z a-z 0-9 . _ - only, 64 at most");
    // Remembered before there is a key in it.
    return hm_make_dir(set, err) && hm_set_remember(store, set, err) && make_copy(store, set, name, err);
}
