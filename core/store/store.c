// Opening an institution's environment, its map, its meta database, its types in force.
//
// The server opens both environments for writing; a worker opens data/ only, read-only. A worker that has
// opened needs no system calls afterwards to read except those of memory and locks: the first transaction,
// which takes a lock on the lock file, is made here, and the map follows growth with munmap and mmap of the
// descriptor it has.
#include "base/log.h"
#include "store/internal.h"
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define FORMAT "hamroh 1"
#define MAP_DEFAULT ((size_t)64 << 20)
#define MAP_MAX_DEFAULT ((size_t)64 << 30)
#define READERS_DEFAULT 512
#define DATABASES 6
#define WORKER_READS 2
#define ROOM_MIN ((unsigned long long)1 << 20) // as much as LMDB writes at once

// LMDB calls a short write EIO, too, and on a full disk the first write that fails is mostly a short one.
static bool no_room(const char *dir) {
    struct statvfs s;
    return statvfs(dir, &s) == 0 && s.f_bavail * (unsigned long long)s.f_frsize < ROOM_MIN;
}

bool hm_mdb_fail_at(struct hm_error *err, int rc, const char *dir, const char *what, const char *file,
                    int line) {
    if (rc == EIO && no_room(dir)) rc = ENOSPC;
    switch (rc) {
    case MDB_MAP_FULL:
        hm_fail_at(err, HM_TOO_LARGE, file, line, "map full: %s in %s", what, dir);
        return hm_fail_cause(err, HM_CAUSE_MAP_FULL);
    case ENOSPC:
    case EDQUOT:
        hm_fail_at(err, HM_UNAVAILABLE, file, line, "the disk that holds %s is full (%s)", dir, what);
        return hm_fail_cause(err, HM_CAUSE_DISK_FULL);
    case EIO:
    case EROFS:
    case MDB_PANIC:
        return hm_fail_at(err, HM_UNAVAILABLE, file, line, "the disk that holds %s fails (%s: %s)", dir, what,
                          mdb_strerror(rc));
    case MDB_READERS_FULL:
        return hm_fail_at(err, HM_UNAVAILABLE, file, line, "all reader slots of %s are taken (%s)", dir,
                          what);
    case ENOENT:
    case EACCES:
    case EAGAIN:
    case EMFILE:
    case ENOMEM:
        return hm_fail_at(err, HM_UNAVAILABLE, file, line, "%s in %s: %s", what, dir, mdb_strerror(rc));
    default:
        return hm_fail_at(err, HM_INTERNAL, file, line, "%s in %s: %s", what, dir, mdb_strerror(rc));
    }
}

char *hm_path(const char *dir, const char *name) {
    struct hm_buf path = {0};
    hm_buf_printf(&path, "%s/%s", dir, name);
    return path.data;
}

bool hm_sync_dir(const char *path, struct hm_error *err) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    int rc = errno;
    if (fd >= 0) close(fd);
    return ok || hm_mdb_fail(err, rc, path, "sync");
}

bool hm_make_dir(const char *path, struct hm_error *err) {
    if (mkdir(path, 0700) == 0 || errno == EEXIST) return true;
    return hm_mdb_fail(err, errno, path, "mkdir");
}

bool hm_meta_get(struct hm_store *store, MDB_txn *txn, const char *name, struct hm_str *out) {
    MDB_val key = hm_val(hm_str_of(name)), value;
    if (mdb_get(txn, store->meta, &key, &value) != 0) return false;
    *out = hm_val_str(value);
    return true;
}

static int put_meta(struct hm_store *store, MDB_txn *txn, const char *name, struct hm_str value) {
    MDB_val key = hm_val(hm_str_of(name)), val = hm_val(value);
    return mdb_put(txn, store->meta, &key, &val, 0);
}

int hm_meta_turn(struct hm_store *store, MDB_txn *txn) {
    uint64_t turn = mdb_txn_id(txn);
    return put_meta(store, txn, "turn", (struct hm_str){(char *)&turn, sizeof turn});
}

int hm_meta_put(struct hm_store *store, MDB_txn *txn, const char *name, struct hm_str value) {
    char sum_name[80];
    uint8_t sum[HM_HASH];
    snprintf(sum_name, sizeof sum_name, "sum:%s", name);
    crypto_generichash(sum, sizeof sum, (const uint8_t *)value.ptr, value.len, NULL, 0);
    int rc = put_meta(store, txn, name, value);
    if (!rc && strcmp(name, "head") != 0)
        rc = put_meta(store, txn, sum_name, (struct hm_str){(char *)sum, HM_HASH});
    return rc ? rc : hm_meta_turn(store, txn);
}

// ---- doubt
// ----------------------------------------------------------------------------------------------------------

bool hm_store_in_doubt(const struct hm_store *store) {
    return atomic_load(&store->doubt);
}

bool hm_store_sound(struct hm_store *store, struct hm_error *err) {
    if (!hm_store_in_doubt(store)) return true;
    hm_fail(err, HM_UNAVAILABLE, "%s: a commit failed; nothing is written until the server starts anew",
            store->dir);
    return hm_fail_cause(err, HM_CAUSE_DOUBT);
}

// LMDB writes pages nobody refers to yet, syncs them, and then the head that refers to them. When there is no
// room, the pages of the next transaction are all written anew, so that it depends on nothing that was lost.
// Any other failure, above all of a sync, leaves open what the disk holds and what the page cache only
// believes.
static bool harmless(const struct hm_store *store, int rc) {
    switch (rc) {
    case 0:
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
    case MDB_BAD_TXN:
    case ENOMEM:
    case ENOSPC:
    case EDQUOT:
        return true;
    default:
        return rc == EIO && no_room(store->dir);
    }
}

// After the write of a head has failed, for whatever reason, LMDB begins nothing more.
static bool is_fatal(MDB_env *env) {
    MDB_txn *txn = NULL;
    int rc = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);
    if (!rc) mdb_txn_abort(txn);
    return rc == MDB_PANIC;
}

int hm_commit_txn(struct hm_store *store, MDB_txn *txn) {
    int rc = mdb_txn_commit(txn);
    if (!harmless(store, rc) || (rc && is_fatal(store->env))) atomic_store(&store->doubt, true);
    return rc;
}

// ---- opening
// --------------------------------------------------------------------------------------------------------

int hm_databases_open(struct hm_store *store, MDB_txn *txn) {
    struct {
        const char *name;
        MDB_dbi *dbi;
    } const all[DATABASES] = {{"rec", &store->rec}, {"idx", &store->idx},   {"mem", &store->mem},
                              {"log", &store->log}, {"meta", &store->meta}, {"next", &store->next}};
    for (size_t i = 0; i < DATABASES; i++) {
        int rc = mdb_dbi_open(txn, all[i].name, store->read_only ? 0 : MDB_CREATE, all[i].dbi);
        bool newer = all[i].dbi == &store->next; // a copy made by an older program has none
        if (newer) store->has_next = !rc;
        if (rc && !(newer && rc == MDB_NOTFOUND && store->read_only)) return rc;
    }
    return 0;
}

// mdb_env_open may fail while another process opens or closes the same environment: a worker tries a little
// longer.
static int open_environment(struct hm_store *store, const char *path, const struct hm_store_options *o) {
    int rc = 0;
    for (int attempt = 0; attempt < (o->read_only ? 20 : 1); attempt++) {
        if (attempt) nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
        if ((rc = mdb_env_create(&store->env)) != 0) return rc;
        mdb_env_set_maxdbs(store->env, DATABASES);
        mdb_env_set_maxreaders(store->env, o->max_readers ? o->max_readers : READERS_DEFAULT);
        rc = mdb_env_open(store->env, path, MDB_NOTLS | (o->read_only ? (unsigned)MDB_RDONLY : 0u), 0600);
        if (!rc) break;
        mdb_env_close(store->env);
        store->env = NULL;
        if (rc == MDB_VERSION_MISMATCH || rc == EACCES) break;
    }
    if (rc || o->read_only) return rc;
    // The map has the size it was left with; the setting can only make it larger.
    MDB_envinfo info;
    size_t wanted = o->map_bytes ? o->map_bytes : MAP_DEFAULT;
    if ((rc = mdb_env_info(store->env, &info)) == 0 && info.me_mapsize < wanted)
        rc = mdb_env_set_mapsize(store->env, wanted);
    return rc;
}

// A page of the lock table that has no block yet would be asked for when a reader takes a slot in it, through
// the map: on a full disk that is SIGBUS. So all of it is there before anybody reads. Never while the
// environment is open here: closing any descriptor of the file ends LMDB's locks on it.
static bool reserve_locks(const char *data, struct hm_error *err) {
    char *path = hm_path(data, "lock.mdb");
    struct stat st;
    int fd = open(path, O_RDWR | O_CLOEXEC), rc = 0;
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0) rc = posix_fallocate(fd, 0, st.st_size);
    if (fd >= 0) close(fd);
    free(path);
    return !rc || hm_mdb_fail(err, rc, data, "reserve the lock table");
}

static bool open_locked(struct hm_store *store, const char *data, const struct hm_store_options *o,
                        struct hm_error *err) {
    char *path = hm_path(data, "lock.mdb");
    bool fresh = !store->read_only && access(path, F_OK) != 0;
    int rc = 0;
    free(path);
    if (!store->read_only && !fresh && !reserve_locks(data, err)) return false;
    rc = open_environment(store, data, o);
    if (!rc && fresh) { // the lock table has been made: once more, with all of it
        mdb_env_close(store->env);
        store->env = NULL;
        if (!reserve_locks(data, err)) return false;
        rc = open_environment(store, data, o);
    }
    return !rc || hm_mdb_fail(err, rc, data, "open");
}

static int64_t size_of(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 ? (int64_t)st.st_size : -1;
}

// After a failed sync the page cache may hold what the disk does not: then it is emptied, so that what is
// looked at is what is kept.
static bool from_disk(const char *path, struct hm_error *err) {
    int fd = open(path, O_RDWR | O_CLOEXEC);
    int rc = fd < 0 || fdatasync(fd) != 0 ? errno : 0;
    if (!rc) posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    if (fd >= 0) close(fd);
    return !rc || hm_mdb_fail(err, rc, path, "sync");
}

// Before LMDB believes them. LMDB would also make a new, empty database where one has gone.
static bool look_at_files(struct hm_store *store, const struct hm_store_options *o, struct hm_error *err) {
    char *data = hm_path(store->dir, "data/data.mdb"), *keyring = hm_path(store->dir, "keyring/data.mdb");
    bool bad_end = access(store->marker, F_OK) == 0, whole = o->look_at_all || bad_end;
    bool has_data = size_of(data) > 0, has_keys = size_of(keyring) > 0;
    bool ok =
        has_data || !has_keys ||
        hm_fail(err, HM_UNAVAILABLE,
                "%s is gone or empty, but its keyring is there; restore it from a backup (hamroh restore "
                "--help)",
                data);
    ok = ok && (!has_data || !bad_end || from_disk(data, err)) &&
         (!has_data || hm_pages_check(data, whole, err));
    ok = ok && (!has_keys || !bad_end || from_disk(keyring, err));
    ok = ok && (!has_keys || hm_pages_check(keyring, whole, err));
    free(data);
    free(keyring);
    return ok;
}

// On a full disk it cannot be made; then a bad end goes unnoticed, which is better than not to open.
static void put_marker(struct hm_store *store) {
    int fd = open(store->marker, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    store->marked = fd >= 0; // not when it was left by a bad end
    if (fd >= 0) close(fd);
}

static bool load_head(struct hm_store *store, MDB_txn *txn, struct hm_error *err) {
    struct hm_str value = {0}, json = {0};
    if (!hm_meta_get(store, txn, "format", &value) || !hm_str_eq(value, HM_LIT(FORMAT)))
        return hm_fail(err, HM_UNAVAILABLE, "%s is not of the form \"%s\" that this program writes",
                       store->dir, FORMAT);
    if (!hm_meta_get(store, txn, "epoch", &value) || value.len != 36)
        return hm_fail(err, HM_INTERNAL, "%s: no epoch", store->dir);
    memcpy(store->epoch, value.ptr, 36);
    if (!hm_meta_get(store, txn, "head", &value) || value.len != 8 + HM_HASH)
        return hm_fail(err, HM_INTERNAL, "%s: no head of the change log", store->dir);
    struct hm_reader in = hm_reader_of(value);
    store->seq = hm_get_u64(&in);
    memcpy(store->hash, value.ptr + 8, HM_HASH);
    if (!hm_meta_get(store, txn, "types", &json)) json = HM_LIT("[]");
    return hm_types_parse(json, &store->types, err);
}

static int write_first_meta(struct hm_store *store, MDB_txn *txn) {
    struct hm_str have;
    char epoch[37];
    if (hm_meta_get(store, txn, "format", &have)) return 0;
    static const uint8_t head[8 + HM_HASH];
    uint8_t random[10];
    randombytes_buf(random, sizeof random);
    hm_uuid7_from((int64_t)time(NULL) * 1000, random, epoch);
    int rc = hm_meta_put(store, txn, "format", HM_LIT(FORMAT));
    if (!rc) rc = hm_meta_put(store, txn, "epoch", hm_str_of(epoch));
    if (!rc) rc = hm_meta_put(store, txn, "head", (struct hm_str){(const char *)head, sizeof head});
    return rc;
}

// The keyring must be the one the data was sealed with: data remembers its id.
static bool open_keyring(struct hm_store *store, MDB_txn *txn, const uint8_t master[32],
                         struct hm_error *err) {
    struct hm_str known = {0};
    uint8_t id[16];
    bool had = hm_meta_get(store, txn, "keyring", &known) && known.len == sizeof id;
    char *path = hm_path(store->dir, "keyring");
    bool ok = hm_make_dir(path, err) && hm_keyring_open(path, master, had ? (const uint8_t *)known.ptr : NULL,
                                                        id, &store->keyring, err);
    free(path);
    if (!ok || had) return ok;
    int rc = hm_meta_put(store, txn, "keyring", (struct hm_str){(const char *)id, sizeof id});
    return !rc || hm_mdb_fail(err, rc, store->dir, "write");
}

static bool open_for_writing(struct hm_store *store, const struct hm_store_options *o, struct hm_error *err) {
    MDB_txn *txn = NULL;
    bool ok = false, changed = false;
    int dead;
    mdb_reader_check(store->env, &dead);
    int rc = mdb_txn_begin(store->env, NULL, 0, &txn);
    if (!rc) rc = hm_databases_open(store, txn);
    if (!rc) rc = write_first_meta(store, txn);
    if (rc) {
        hm_mdb_fail(err, rc, store->dir, "open");
        goto out;
    }
    if (!load_head(store, txn, err) || !open_keyring(store, txn, o->master_key, err)) goto out;
    if (!hm_shape_recover(store, txn, err)) goto out;
    // Another version of the program may declare other indexes for the core's types.
    if (!hm_indexes_rebuild(store, txn, store->types, &changed, err)) goto out;
    rc = hm_commit_txn(store, txn);
    txn = NULL;
    if (rc) {
        hm_mdb_fail(err, rc, store->dir, "open");
        goto out;
    }
    hm_touched_init(&store->touched, store->seq);
    ok = true;
out:
    if (txn) mdb_txn_abort(txn);
    return ok;
}

// Indexes that are built anew may need a larger map.
static bool open_growing(struct hm_store *store, const struct hm_store_options *o, struct hm_error *err) {
    struct hm_error why = {0};
    while (!open_for_writing(store, o, &why)) {
        hm_keyring_close(store->keyring);
        hm_types_unref(store->types);
        store->keyring = NULL;
        store->types = NULL;
        if (why.cause == HM_CAUSE_MAP_FULL && hm_store_grow(store, &why)) continue;
        if (err) *err = why;
        return false;
    }
    return true;
}

static bool open_for_reading(struct hm_store *store, struct hm_error *err) {
    MDB_txn *txn = NULL;
    struct hm_read *reads[WORKER_READS] = {0};
    int rc = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);
    if (!rc) rc = hm_databases_open(store, txn);
    if (rc) {
        if (txn) mdb_txn_abort(txn);
        return hm_mdb_fail(err, rc, store->dir, "open");
    }
    bool ok = load_head(store, txn, err);
    mdb_txn_commit(txn); // keeps the database handles
    // Slots taken now are not asked for later: were a sibling killed while it held the lock of the table,
    // LMDB would look after the dead with a system call that a worker may not make.
    for (size_t i = 0; i < WORKER_READS && ok; i++)
        ok = hm_read_begin(store, &reads[i], err);
    for (size_t i = 0; i < WORKER_READS; i++)
        hm_read_end(reads[i]);
    return ok;
}

bool hm_store_open(const char *dir, const struct hm_store_options *options, struct hm_store **out,
                   struct hm_error *err) {
    bool ok = false;
    char *data = hm_path(dir, "data");
    struct hm_store *store = hm_alloc(sizeof *store);
    *out = NULL;
    store->dir = hm_strdup(dir);
    store->read_only = options->read_only;
    store->map_max = options->map_max ? options->map_max : MAP_MAX_DEFAULT;
    pthread_rwlock_init(&store->map_lock, NULL);
    pthread_mutex_init(&store->pool_lock, NULL);
    pthread_mutex_init(&store->types_lock, NULL);
    pthread_mutex_init(&store->sets_lock, NULL);
    if (sodium_init() < 0) {
        hm_fail(err, HM_INTERNAL, "libsodium does not start");
        goto out;
    }
    if (!store->read_only) {
        if (!options->master_key) {
            hm_fail(err, HM_INTERNAL, "%s: no key given to open it with", dir);
            goto out;
        }
        if (!hm_make_dir(dir, err) || !hm_make_dir(data, err)) goto out;
        store->marker = hm_path(dir, "in_use");
        if (!look_at_files(store, options, err)) goto out;
    }
    if (!open_locked(store, data, options, err)) goto out;
    if (store->read_only) {
        ok = open_for_reading(store, err);
    } else {
        put_marker(store); // durable with the folder, before anything is written but what opening writes
        ok = open_growing(store, options, err) && hm_sync_dir(data, err) && hm_sync_dir(dir, err);
        store->opened = ok;
    }
out:
    free(data);
    if (ok) {
        *out = store;
    } else {
        hm_store_close(store);
    }
    return ok;
}

void hm_store_close(struct hm_store *store) {
    if (!store) return;
    hm_write_abort(store->write);
    while (store->pool) {
        struct hm_read *read = store->pool;
        store->pool = read->next;
        mdb_txn_abort(read->txn);
        free(read);
    }
    if (store->env) mdb_env_close(store->env);
    hm_keyring_close(store->keyring);
    if ((store->opened || store->marked) && !hm_store_in_doubt(store)) unlink(store->marker);
    free(store->marker);
    hm_touched_free(&store->touched);
    hm_coming_free(store);
    hm_types_unref(store->types);
    pthread_mutex_destroy(&store->types_lock);
    pthread_mutex_destroy(&store->sets_lock);
    pthread_mutex_destroy(&store->pool_lock);
    pthread_rwlock_destroy(&store->map_lock);
    free(store->dir);
    free(store);
}

const char *hm_store_epoch(const struct hm_store *store) {
    return store->epoch;
}

struct hm_types *hm_store_types(struct hm_store *store) {
    pthread_mutex_lock(&store->types_lock);
    struct hm_types *types = hm_types_ref(store->types);
    pthread_mutex_unlock(&store->types_lock);
    return types;
}

int hm_store_clear_readers(struct hm_store *store) {
    int dead = 0;
    mdb_reader_check(store->env, &dead);
    return dead;
}

bool hm_store_stats(struct hm_store *store, struct hm_store_stats *out, struct hm_error *err) {
    struct hm_read *read = NULL;
    MDB_envinfo info;
    MDB_stat stat;
    if (!hm_read_begin(store, &read, err)) return false;
    int rc = mdb_env_info(store->env, &info);
    if (!rc) rc = mdb_stat(read->txn, store->rec, &stat);
    if (!rc) {
        *out = (struct hm_store_stats){.map_bytes = info.me_mapsize,
                                       .used_bytes = (info.me_last_pgno + 1) * stat.ms_psize,
                                       .entries = stat.ms_entries,
                                       .last_seq = hm_read_seq(read),
                                       .readers = info.me_numreaders};
    }
    hm_read_end(read);
    return !rc || hm_mdb_fail(err, rc, store->dir, "stat");
}

static size_t next_size(const struct hm_store *store, size_t now) {
    return now < store->map_max / 2 ? now * 2 : store->map_max;
}

size_t hm_store_map_max(const struct hm_store *store) {
    return store->map_max;
}

// During a copy the map cannot grow, and a batch that meets its end waits for the end of the copy. So a
// quarter of it is kept free. Only when nobody reads: there will be another write.
void hm_store_grow_ahead(struct hm_store *store) {
    MDB_envinfo info;
    MDB_stat stat;
    bool grown = false;
    size_t size = 0;
    if (mdb_env_info(store->env, &info) != 0 || mdb_env_stat(store->env, &stat) != 0) return;
    size_t used = (info.me_last_pgno + 1) * stat.ms_psize;
    if (used < info.me_mapsize / 4 * 3 || pthread_rwlock_trywrlock(&store->map_lock) != 0) return;
    size = next_size(store, info.me_mapsize);
    if (size > info.me_mapsize) grown = mdb_env_set_mapsize(store->env, size) == 0;
    pthread_rwlock_unlock(&store->map_lock);
    if (grown) hm_log(HM_INFO, "store.grown", "\"dir\":\"%s\",\"bytes\":%zu", store->dir, size);
}

bool hm_store_grow(struct hm_store *store, struct hm_error *err) {
    MDB_envinfo info;
    bool ok = true;
    if (store->write) return hm_fail(err, HM_INTERNAL, "%s: the map cannot grow during a write", store->dir);
    pthread_rwlock_wrlock(&store->map_lock);
    int rc = mdb_env_info(store->env, &info);
    size_t size = 0;
    if (!rc) {
        size = next_size(store, info.me_mapsize);
        if (size <= info.me_mapsize) {
            hm_fail(err, HM_TOO_LARGE, "%s: the map has reached its limit of %zu bytes (setting map_max)",
                    store->dir, store->map_max);
            ok = hm_fail_cause(err, HM_CAUSE_MAP_LIMIT);
        } else {
            rc = mdb_env_set_mapsize(store->env, size);
        }
    }
    pthread_rwlock_unlock(&store->map_lock);
    if (rc) ok = hm_mdb_fail(err, rc, store->dir, "grow the map");
    if (ok) hm_log(HM_INFO, "store.grown", "\"dir\":\"%s\",\"bytes\":%zu", store->dir, size);
    return ok;
}
