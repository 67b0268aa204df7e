// Backups: both environments copied while serving, with a manifest written last, so that a copy without a
// manifest is none. Restoring checks every byte before the new folder appears under its name. Any thread but
// one that has an hm_write open; the map cannot grow during a copy.
#include "store/internal.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CHUNK (1u << 18)
static const char first_line[] = "hamroh backup 1";
static const char *const parts[] = {"data", "keyring"};
#define PARTS 2
#define ROOM ((size_t)1 << 20)

struct head { // what meta says about the end of the change log
    char epoch[37];
    uint64_t seq;
    uint8_t hash[HM_HASH];
};
struct sum {
    uint64_t bytes;
    uint8_t hash[HM_HASH];
};

static void put_hex(struct hm_buf *out, const uint8_t *bytes, size_t len) {
    for (size_t i = 0; i < len; i++)
        hm_buf_printf(out, "%02x", bytes[i]);
}

static int write_all(int fd, const uint8_t *bytes, size_t len) {
    while (len) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return n < 0 ? errno : EIO;
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

// Sums up a file and, when to is not NULL, copies it there and to disk.
static bool sum_file(const char *from, const char *to, struct sum *out, struct hm_error *err) {
    crypto_generichash_state state;
    uint8_t *bytes = hm_alloc(CHUNK);
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
        crypto_generichash_update(&state, bytes, (size_t)n);
        out->bytes += (uint64_t)n;
        if (to) rc = write_all(out_fd, bytes, (size_t)n);
    }
    crypto_generichash_final(&state, out->hash, HM_HASH);
    if (!rc && to && fsync(out_fd) != 0) rc = errno;
    if (out_fd >= 0) close(out_fd);
    if (fd >= 0) close(fd);
    free(bytes);
    return !rc || hm_mdb_fail(err, rc, to ? to : from, to ? "copy" : "read");
}

static char *part_file(const char *dir, const char *part) {
    struct hm_buf path = {0};
    hm_buf_printf(&path, "%s/%s/data.mdb", dir, part);
    return path.data;
}

// A copy made of a full map has no page left for its new epoch.
static int make_room(MDB_env *env) {
    MDB_envinfo info;
    int rc = mdb_env_info(env, &info);
    return rc ? rc : mdb_env_set_mapsize(env, info.me_mapsize + ROOM);
}

// Opens data/ of a copy; nobody else has it open. new_epoch: give it one.
static bool read_head(const char *dir, const char *new_epoch, struct head *out, struct hm_error *err) {
    MDB_env *env = NULL;
    MDB_txn *txn = NULL;
    struct hm_store s = {.dir = (char *)dir};
    struct hm_str value;
    bool ok = false;
    char *path = hm_path(dir, "data");
    unsigned flags = new_epoch ? 0 : MDB_RDONLY;
    int rc = mdb_env_create(&env);
    if (!rc) rc = mdb_env_set_maxdbs(env, 1);
    if (!rc) rc = mdb_env_open(env, path, MDB_NOLOCK | MDB_NOTLS | flags, 0600);
    if (!rc && new_epoch) rc = make_room(env);
    if (!rc) rc = mdb_txn_begin(env, NULL, flags, &txn);
    if (!rc) rc = mdb_dbi_open(txn, "meta", 0, &s.meta);
    if (!rc && new_epoch) rc = hm_meta_put(&s, txn, "epoch", hm_str_of(new_epoch));
    if (rc) {
        hm_mdb_fail(err, rc, path, "open the copy");
        goto out;
    }
    memset(out, 0, sizeof *out);
    ok = hm_meta_get(&s, txn, "epoch", &value) && value.len == 36;
    if (ok) memcpy(out->epoch, value.ptr, 36);
    ok = ok && hm_meta_get(&s, txn, "head", &value) && value.len == 8 + HM_HASH;
    if (!ok) {
        hm_fail(err, HM_INTERNAL, "%s: the copy has no head of a change log", path);
        goto out;
    }
    struct hm_reader in = hm_reader_of(value);
    out->seq = hm_get_u64(&in);
    memcpy(out->hash, value.ptr + 8, HM_HASH);
    if (new_epoch) {
        rc = mdb_txn_commit(txn);
        txn = NULL;
        if (rc) ok = hm_mdb_fail(err, rc, path, "give the copy an epoch");
    }
out:
    if (txn) mdb_txn_abort(txn);
    if (env) mdb_env_close(env);
    free(path);
    return ok;
}

// ---- backup
// -------------------------------------------------------------------------------------------------------------

static bool copy_environments(struct hm_store *store, const char *dir, struct hm_error *err) {
    char *data = hm_path(dir, "data"), *keyring = hm_path(dir, "keyring");
    bool ok = hm_make_dir(data, err) && hm_make_dir(keyring, err);
    if (ok) {
        pthread_rwlock_rdlock(&store->map_lock);
        int rc = mdb_env_copy2(store->env, data, 0);
        pthread_rwlock_unlock(&store->map_lock);
        if (rc) ok = hm_mdb_fail(err, rc, data, "copy");
    }
    // Behind the data, so that it has every key the data needs.
    ok = ok && hm_keyring_copy(store->keyring, keyring, err);
    free(data);
    free(keyring);
    return ok;
}

static bool sync_file(const char *path, struct hm_error *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 || fsync(fd) != 0 ? errno : 0;
    if (fd >= 0) close(fd);
    return !rc || hm_mdb_fail(err, rc, path, "sync");
}

static bool write_manifest(const char *dir, struct hm_error *err) {
    struct head head;
    struct sum sum;
    struct hm_buf text = {0};
    char *manifest = hm_path(dir, "MANIFEST");
    bool ok = read_head(dir, NULL, &head, err);
    if (ok) {
        hm_buf_printf(&text, "%s\nepoch %s\nseq %" PRIu64 "\nhash ", first_line, head.epoch, head.seq);
        put_hex(&text, head.hash, HM_HASH);
        hm_buf_char(&text, '\n');
    }
    for (size_t i = 0; i < PARTS && ok; i++) {
        char *file = part_file(dir, parts[i]), *folder = hm_path(dir, parts[i]);
        ok = sync_file(file, err) && hm_sync_dir(folder, err) && sum_file(file, NULL, &sum, err);
        if (ok) {
            hm_buf_printf(&text, "file %s/data.mdb %" PRIu64 " ", parts[i], sum.bytes);
            put_hex(&text, sum.hash, HM_HASH);
            hm_buf_char(&text, '\n');
        }
        free(file);
        free(folder);
    }
    ok = ok && hm_write_file(manifest, hm_buf_view(&text), 0600, err);
    free(manifest);
    hm_buf_free(&text);
    return ok;
}

// Takes away what a failed backup or restore has made.
static void remove_copy(const char *dir) {
    for (size_t i = 0; i < PARTS; i++) {
        char *file = part_file(dir, parts[i]), *folder = hm_path(dir, parts[i]);
        unlink(file);
        rmdir(folder);
        free(file);
        free(folder);
    }
    rmdir(dir);
}

bool hm_store_backup(struct hm_store *store, const char *dir, struct hm_error *err) {
    if (store->read_only) return hm_fail(err, HM_INTERNAL, "%s is open read-only", store->dir);
    if (mkdir(dir, 0700) != 0) return hm_mdb_fail(err, errno, dir, "make the folder of the backup");
    bool ok = copy_environments(store, dir, err) && write_manifest(dir, err) && hm_sync_dir(dir, err);
    if (!ok) remove_copy(dir);
    return ok;
}

// ---- restore
// ------------------------------------------------------------------------------------------------------------

struct manifest {
    struct head head;
    struct sum sums[PARTS];
};

static bool hex_to(const char *text, uint8_t out[HM_HASH]) {
    size_t len = 0;
    const char *end = NULL;
    return strlen(text) == 2 * HM_HASH &&
           sodium_hex2bin(out, HM_HASH, text, 2 * HM_HASH, NULL, &len, &end) == 0 && len == HM_HASH;
}

static bool read_manifest(const char *dir, struct manifest *out, struct hm_error *err) {
    struct hm_buf text = {0};
    char hash[65], sums[PARTS][65];
    int end = 0;
    char *path = hm_path(dir, "MANIFEST");
    bool ok = hm_read_file(path, 4096, &text, err);
    if (ok) {
        int n = sscanf(text.data,
                       "hamroh backup 1\nepoch %36[0-9a-f-]\nseq %" SCNu64 "\nhash %64[0-9a-f]\n"
                       "file data/data.mdb %" SCNu64 " %64[0-9a-f]\nfile keyring/data.mdb %" SCNu64
                       " %64[0-9a-f]\n%n",
                       out->head.epoch, &out->head.seq, hash, &out->sums[0].bytes, sums[0],
                       &out->sums[1].bytes, sums[1], &end);
        ok = n == 7 && (size_t)end == text.len && hex_to(hash, out->head.hash) &&
             hex_to(sums[0], out->sums[0].hash) && hex_to(sums[1], out->sums[1].hash);
        if (!ok) hm_fail(err, HM_PARAMS, "%s is not the manifest of a backup", path);
    }
    hm_buf_free(&text);
    free(path);
    return ok;
}

static bool lay_part(const char *from, const char *to, size_t i, const struct sum *expected,
                     struct hm_error *err) {
    struct sum sum;
    char *source = part_file(from, parts[i]), *target = part_file(to, parts[i]),
         *folder = hm_path(to, parts[i]);
    bool ok = hm_make_dir(folder, err) && sum_file(source, target, &sum, err);
    if (ok && (sum.bytes != expected->bytes || memcmp(sum.hash, expected->hash, HM_HASH) != 0))
        ok =
            hm_fail(err, HM_PARAMS, "%s is not the file that the manifest names: damaged or changed", source);
    ok = ok && hm_sync_dir(folder, err);
    free(source);
    free(target);
    free(folder);
    return ok;
}

static bool sync_parent(const char *path, struct hm_error *err) {
    char *parent = hm_strdup(path);
    char *slash = strrchr(parent, '/');
    if (slash) *slash = 0;
    bool ok = hm_sync_dir(!slash ? "." : slash == parent ? "/" : parent, err);
    free(parent);
    return ok;
}

bool hm_store_restore(const char *from, const char *to, struct hm_error *err) {
    struct manifest manifest = {0};
    struct head head;
    struct stat st;
    struct hm_buf partial = {0};
    uint8_t random[10];
    char epoch[37];
    bool made = false, ok = false;
    if (sodium_init() < 0) return hm_fail(err, HM_INTERNAL, "libsodium does not start");
    hm_buf_printf(&partial, "%s.partial", to);
    if (lstat(to, &st) == 0) {
        hm_fail(err, HM_PARAMS, "%s exists already", to);
        goto out;
    }
    if (!read_manifest(from, &manifest, err)) goto out;
    if (mkdir(partial.data, 0700) != 0) {
        hm_mdb_fail(err, errno, partial.data, "make the folder");
        goto out;
    }
    made = true;
    for (size_t i = 0; i < PARTS; i++)
        if (!lay_part(from, partial.data, i, &manifest.sums[i], err)) goto out;
    randombytes_buf(random, sizeof random);
    hm_uuid7_from((int64_t)time(NULL) * 1000, random, epoch);
    if (!read_head(partial.data, epoch, &head, err)) goto out;
    if (head.seq != manifest.head.seq || memcmp(head.hash, manifest.head.hash, HM_HASH) != 0) {
        hm_fail(err, HM_PARAMS, "%s: the change log of the copy does not end as its manifest says", from);
        goto out;
    }
    if (!hm_sync_dir(partial.data, err)) goto out;
    if (rename(partial.data, to) != 0) {
        hm_mdb_fail(err, errno, to, "put the copy in its place");
        goto out;
    }
    made = false;
    ok = sync_parent(to, err);
out:
    if (made) remove_copy(partial.data);
    hm_buf_free(&partial);
    return ok;
}
