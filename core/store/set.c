// Backup sets of one institution: a folder with the newest keyring and one folder a backup (copy.c), none of
// which holds a key. Any thread; one at a time in a set, also among processes (a lock on the set's folder).
//
//   SET/keyring            "hamroh keyring 1\n", entries (keyring.c), BLAKE2b-256 of all before
//   SET/<backup>/data.mdb  and MANIFEST
//
// What holds: keys come into a set's keyring and go from it only as destroyed; a key destroyed anywhere stays
// destroyed. So every backup of the set opens with the set's keyring, also when a restored copy of the
// institution goes on writing into the same set. Where the sets are is remembered in the institution's folder
// (file `sets`) before the first key goes there, so that destroying a key can reach them all.
//
// Overwriting is a promise of the file system: one that writes elsewhere (btrfs, ZFS, snapshots) and a disk
// that does (flash) keep the old bytes until they use them again. README.md says what an administrator does
// about it.
#include "base/log.h"
#include "store/internal.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEYRING_MAX ((size_t)4 << 30)
#define SETS_MAX ((size_t)1 << 20)
static const char first_line[] = "hamroh keyring 1\n";

bool hm_backup_name_valid(struct hm_str name) {
    if (name.len < 1 || name.len > 64 || name.ptr[0] == '.' || hm_str_eq(name, HM_LIT("keyring")))
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
                    c == '_' || c == '-';
        if (!fine) return false;
    }
    return true;
}

// ---- files that must leave nothing behind
// --------------------------------------------------------------------------------

static int sync_folder_of(const char *path) {
    char *folder = hm_strdup(path), *slash = strrchr(folder, '/');
    if (slash) *slash = 0;
    struct hm_error err;
    int rc = hm_sync_dir(slash ? folder : ".", &err) ? 0 : EIO;
    free(folder);
    return rc;
}

static char *old_of(const char *path) {
    struct hm_buf old = {0};
    hm_buf_printf(&old, "%s.old", path);
    return old.data;
}

// Until the exchange has happened, `old` is only another name of the file in force. And what is in force must
// stay so after a loss of power before the one it replaced is gone.
int hm_swap_finish(const char *path) {
    struct stat now, before;
    char *old = old_of(path);
    int rc = lstat(old, &before) == 0 ? 0 : errno;
    if (rc)
        rc = rc == ENOENT || rc == ENOTDIR ? 0 : rc;
    else if (lstat(path, &now) == 0 && now.st_dev == before.st_dev && now.st_ino == before.st_ino)
        rc = unlink(old) == 0 ? 0 : errno;
    else if ((rc = sync_folder_of(path)) == 0)
        rc = hm_wipe_file(old);
    free(old);
    return rc;
}

// The old file keeps a name until it has been overwritten, so that after a crash it is found again. Where
// there are no links (vfat), what a crash leaves has no name and lies in free blocks.
int hm_swap_file(const char *fresh, const char *path) {
    char *old = old_of(path);
    int fd = -1, rc = hm_swap_finish(path);
    if (!rc && (fd = open(path, O_WRONLY | O_CLOEXEC)) < 0 && errno != ENOENT) rc = errno;
    if (!rc && fd >= 0 && link(path, old) != 0 && errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS)
        rc = errno;
    if (!rc && rename(fresh, path) != 0) {
        rc = errno;
        unlink(old); // what it names is still in force
    }
    if (!rc) rc = sync_folder_of(path);
    if (!rc && fd >= 0) rc = hm_overwrite(fd);
    if (!rc && unlink(old) != 0 && errno != ENOENT) rc = errno;
    if (fd >= 0) close(fd);
    free(old);
    return rc;
}

// ---- the keyring of a set
// --------------------------------------------------------------------------------------------------

static bool damaged(const char *path, struct hm_error *err) {
    return hm_fail(err, HM_PARAMS, "%s is damaged or no keyring; every set of the institution has one", path);
}

bool hm_set_keyring(const char *set, struct hm_buf *entries, struct hm_error *err) {
    struct hm_buf file = {0};
    uint8_t hash[HM_HASH];
    char *path = hm_path(set, "keyring");
    size_t line = sizeof first_line - 1;
    bool ok = hm_read_file(path, KEYRING_MAX, &file, err);
    if (ok && (file.len < line + HM_HASH || memcmp(file.data, first_line, line) != 0))
        ok = damaged(path, err);
    if (ok) {
        size_t len = file.len - HM_HASH;
        crypto_generichash(hash, HM_HASH, (const uint8_t *)file.data, len, NULL, 0);
        if (memcmp(hash, file.data + len, HM_HASH) != 0) ok = damaged(path, err);
        if (ok) hm_buf_add(entries, file.data + line, len - line);
    }
    hm_buf_free(&file);
    free(path);
    return ok;
}

struct entry {
    struct hm_str key, value;
    bool there;
};

static void entry_next(struct hm_reader *in, struct entry *out) {
    out->there = hm_keyring_entry_next(in, &out->key, &out->value);
}

// What is in either; a mark of destruction wins. Both have the same id.
static bool merge(struct hm_str ours, struct hm_str theirs, struct hm_buf *out, const char *set,
                  struct hm_error *err) {
    struct hm_reader a = hm_reader_of(ours), b = hm_reader_of(theirs);
    struct entry x, y;
    struct hm_str person;
    entry_next(&a, &x);
    entry_next(&b, &y);
    while (x.there || y.there) {
        int order = !x.there ? 1 : !y.there ? -1 : hm_str_cmp(x.key, y.key);
        const struct entry *taken = order <= 0 ? &x : &y;
        if (order == 0 && hm_keyring_entry_destroyed(y.key, y.value, &person)) taken = &y;
        if (order == 0 && taken == &x && !hm_str_eq(x.value, y.value) &&
            !hm_keyring_entry_destroyed(x.key, x.value, &person))
            return hm_fail(err, HM_CONFLICT,
                           "%s has another key for the same person, from another copy of this institution; "
                           "name another folder",
                           set);
        hm_put_str(out, taken->key);
        hm_put_str(out, taken->value);
        if (order <= 0) entry_next(&a, &x);
        if (order >= 0) entry_next(&b, &y);
    }
    return true;
}

// Under its own name from the beginning: a temporary one would be found by nobody after a crash.
static bool write_fresh(const char *path, struct hm_str entries, struct hm_error *err) {
    struct hm_buf file = {0};
    uint8_t hash[HM_HASH];
    hm_buf_reserve(&file, entries.len + 64);
    hm_buf_text(&file, first_line);
    hm_buf_str(&file, entries);
    crypto_generichash(hash, HM_HASH, (const uint8_t *)file.data, file.len, NULL, 0);
    hm_buf_add(&file, hash, HM_HASH);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int rc = fd < 0 ? errno : hm_write_all(fd, hm_buf_view(&file));
    if (!rc && fsync(fd) != 0) rc = errno;
    if (fd >= 0) close(fd);
    if (rc) hm_wipe_file(path);
    hm_buf_free(&file);
    return !rc || hm_mdb_fail(err, rc, path, "write");
}

// The set's folder is locked. Ours are read behind the lock: whoever comes later writes what is newer.
static bool refresh(struct hm_store *store, const char *set, bool only_known, struct hm_error *err) {
    struct hm_buf ours = {0}, theirs = {0}, merged = {0};
    struct hm_error why = {0};
    uint8_t id[16], other[16];
    char *path = hm_path(set, "keyring"), *fresh = hm_path(set, "keyring.new");
    bool ok = true;
    int rc = hm_swap_finish(path);
    if (!rc) rc = hm_wipe_file(fresh);
    if (rc) {
        ok = hm_mdb_fail(err, rc, set, "take away an old keyring");
        goto out;
    }
    bool there = hm_set_keyring(set, &theirs, &why);
    if (!there && why.code == HM_NOT_FOUND && only_known) goto out;
    if (!there && why.code != HM_NOT_FOUND &&
        why.code != HM_PARAMS) { // cannot be read now: not to be replaced
        if (err) *err = why;
        ok = false;
        goto out;
    }
    if (!there && why.code == HM_PARAMS)
        hm_log(HM_WARN, "backup.keyring_damaged", "\"note\":\"the keyring of a backup set is written anew\"");
    ok = hm_keyring_entries(store->keyring, &ours, err);
    if (ok && there && hm_keyring_entry_id(hm_buf_view(&ours), id) &&
        hm_keyring_entry_id(hm_buf_view(&theirs), other) && memcmp(id, other, 16) != 0)
        ok = hm_fail(err, HM_CONFLICT, "%s holds backups of another institution; name another folder", set);
    ok = ok && merge(hm_buf_view(&ours), hm_buf_view(&theirs), &merged, set, err);
    if (ok && there && hm_str_eq(hm_buf_view(&merged), hm_buf_view(&theirs))) goto out; // nothing new
    ok = ok && write_fresh(fresh, hm_buf_view(&merged), err);
    if (ok && (rc = hm_swap_file(fresh, path)) != 0) ok = hm_mdb_fail(err, rc, set, "replace the keyring");
out:
    hm_buf_free(&ours);
    hm_buf_free(&theirs);
    hm_buf_free(&merged);
    free(path);
    free(fresh);
    return ok;
}

int hm_set_lock(const char *set, int how, struct hm_error *err) {
    int fd = open(set, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
    if (fd < 0) {
        hm_fail(err, HM_UNAVAILABLE, "%s: %s", set, strerror(errno));
        return -1;
    }
    while ((rc = flock(fd, how)) != 0 && errno == EINTR)
        continue;
    if (rc == 0) return fd;
    hm_mdb_fail(err, errno, set, "lock");
    close(fd);
    return -1;
}

bool hm_set_refresh(struct hm_store *store, const char *set, bool only_known, struct hm_error *err) {
    int fd = hm_set_lock(set, LOCK_EX, err);
    if (fd < 0) return false;
    bool ok = refresh(store, set, only_known, err);
    close(fd);
    return ok;
}

// ---- where the sets are
// ----------------------------------------------------------------------------------------------------

static bool read_sets(struct hm_store *store, struct hm_buf *out, struct hm_error *err) {
    struct hm_error why = {0};
    char *path = hm_path(store->dir, "sets");
    bool ok = hm_read_file(path, SETS_MAX, out, &why) || why.code == HM_NOT_FOUND;
    if (!ok && err) *err = why;
    free(path);
    return ok;
}

static bool next_set(struct hm_str *rest, struct hm_str *set) {
    while (rest->len) {
        const char *end = memchr(rest->ptr, '\n', rest->len);
        size_t len = end ? (size_t)(end - rest->ptr) : rest->len;
        *set = (struct hm_str){rest->ptr, len};
        *rest = (struct hm_str){rest->ptr + len + (end ? 1 : 0), rest->len - len - (end ? 1 : 0)};
        if (len) return true;
    }
    return false;
}

// Adds or takes out one line.
static bool change_sets(struct hm_store *store, const char *name, bool add, struct hm_error *err) {
    struct hm_buf have = {0}, now = {0};
    struct hm_str rest, set;
    char *path = hm_path(store->dir, "sets");
    bool found = false;
    pthread_mutex_lock(&store->sets_lock);
    bool ok = read_sets(store, &have, err);
    rest = hm_buf_view(&have);
    while (ok && next_set(&rest, &set)) {
        bool same = hm_str_eq(set, hm_str_of(name));
        found = found || same;
        if (same && !add) continue;
        hm_buf_str(&now, set);
        hm_buf_char(&now, '\n');
    }
    if (add) hm_buf_printf(&now, "%s\n", name);
    if (ok && found != add) ok = hm_write_file(path, hm_buf_view(&now), 0600, err);
    pthread_mutex_unlock(&store->sets_lock);
    hm_buf_free(&have);
    hm_buf_free(&now);
    free(path);
    return ok;
}

bool hm_set_remember(struct hm_store *store, const char *set, struct hm_error *err) {
    if (set[0] != '/' || strchr(set, '\n'))
        return hm_fail(err, HM_PARAMS, "a backup set must be a path from the root without line ends");
    return change_sets(store, set, true, err);
}

bool hm_store_forget_set(struct hm_store *store, const char *set, struct hm_error *err) {
    return change_sets(store, set, false, err);
}

// Calls fn for the path of every set that the store remembers; none is locked meanwhile.
static bool each_set(struct hm_store *store, void (*fn)(struct hm_store *store, const char *set, void *arg),
                     void *arg, struct hm_error *err) {
    struct hm_buf sets = {0};
    struct hm_str rest, set;
    pthread_mutex_lock(&store->sets_lock);
    bool ok = read_sets(store, &sets, err);
    pthread_mutex_unlock(&store->sets_lock);
    rest = hm_buf_view(&sets);
    while (ok && next_set(&rest, &set)) {
        char *path = hm_str_dup(set);
        fn(store, path, arg);
        free(path);
    }
    hm_buf_free(&sets);
    return ok;
}

struct refreshing {
    unsigned *refreshed;
    struct hm_buf *missing;
};

static void refresh_one(struct hm_store *store, const char *set, void *arg) {
    struct refreshing *r = arg;
    struct hm_error why = {0};
    if (hm_set_refresh(store, set, true, &why)) {
        (*r->refreshed)++;
    } else {
        hm_log(HM_WARN, "backup.set_missing", "\"code\":%d", (int)why.code);
        hm_packed_add(r->missing, hm_str_of(set));
    }
}

bool hm_store_refresh_sets(struct hm_store *store, unsigned *refreshed, struct hm_buf *missing,
                           struct hm_error *err) {
    return each_set(store, refresh_one, &(struct refreshing){refreshed, missing}, err);
}

struct listing {
    void (*fn)(void *arg, const struct hm_backup *backup);
    void *arg;
};

static void list_one(struct hm_store *store, const char *set, void *arg) {
    const struct listing *l = arg;
    DIR *folder = opendir(set);
    (void)store;
    if (!folder) return;
    for (struct dirent *entry; (entry = readdir(folder));) {
        struct hm_manifest m;
        if (!hm_backup_name_valid(hm_str_of(entry->d_name))) continue;
        char *path = hm_path(set, entry->d_name);
        if (hm_manifest_read(path, &m, NULL))
            l->fn(l->arg, &(struct hm_backup){set, entry->d_name, m.made_ms, m.data.bytes});
        free(path);
    }
    closedir(folder);
}

bool hm_store_each_backup(struct hm_store *store, void (*fn)(void *arg, const struct hm_backup *backup),
                          void *arg, struct hm_error *err) {
    return each_set(store, list_one, &(struct listing){fn, arg}, err);
}
