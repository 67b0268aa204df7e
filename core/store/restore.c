// Laying a backup as the folder of an institution: every byte is checked before the folder appears under its
// name, with the keyring of the set, a new epoch, and a note of whose keys were destroyed since. Any thread;
// nobody uses the new folder yet.
#include "base/clock.h"
#include "base/id.h"
#include "store/internal.h"
#include <dirent.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

// ---- which backup
// ----------------------------------------------------------------------------------------------------------

static bool newest(const char *set, char name[65], struct hm_error *err) {
    int64_t best = INT64_MIN;
    DIR *folder = opendir(set);
    if (!folder) return hm_fail(err, HM_NOT_FOUND, "%s: %s", set, strerror(errno));
    name[0] = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        struct hm_manifest m;
        struct hm_str found = hm_str_of(entry->d_name);
        if (!hm_backup_name_valid(found)) continue;
        char *path = hm_path(set, entry->d_name);
        // Of two of one time, the same one whatever order the folder is read in.
        if (hm_manifest_read(path, &m, NULL) &&
            (m.made_ms > best || (m.made_ms == best && strcmp(entry->d_name, name) > 0))) {
            best = m.made_ms;
            memcpy(name, found.ptr, found.len + 1); // a valid name has 64 bytes at most
        }
        free(path);
    }
    closedir(folder);
    return name[0] || hm_fail(err, HM_NOT_FOUND, "there is no whole backup in %s", set);
}

// ---- laying it
// -------------------------------------------------------------------------------------------------------------

struct laying {
    struct hm_restore *r;
    struct hm_error *err;
    char *backup, *partial, *data, *whole; // whole: the copy that is replayed
    struct hm_manifest manifest;
    char epoch[37];
};

static void remove_file(const char *dir, const char *name) {
    char *path = hm_path(dir, name);
    unlink(path);
    free(path);
}

static void remove_partial(struct laying *l) {
    char *keyring = hm_path(l->partial, "keyring"), *keys = hm_path(keyring, "data.mdb");
    const char *const folders[] = {l->data, l->whole, keyring};
    hm_wipe_file(keys);
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        remove_file(folders[i], "data.mdb");
        remove_file(folders[i], "lock.mdb");
        rmdir(folders[i]);
    }
    remove_file(l->partial, "erasing");
    rmdir(l->partial);
    free(keyring);
    free(keys);
}

// The copy, checked against its manifest and given its epoch.
static bool lay_data(struct laying *l, const char *to) {
    struct hm_sum sum;
    struct hm_head head;
    uint8_t keyring[16];
    char *source = hm_path(l->backup, "data.mdb"), *target = hm_path(to, "data.mdb");
    bool ok = hm_make_dir(to, l->err) && hm_sum_file(source, target, &sum, l->err);
    if (ok && (sum.bytes != l->manifest.data.bytes || memcmp(sum.hash, l->manifest.data.hash, HM_HASH) != 0))
        ok = hm_fail(l->err, HM_PARAMS,
                     "%s is not the file that its manifest names: damaged or changed; take another "
                     "backup of the set",
                     source);
    ok = ok && hm_head_read(to, l->epoch, &head, keyring, l->err);
    if (ok && (head.seq != l->manifest.head.seq || memcmp(head.hash, l->manifest.head.hash, HM_HASH) != 0 ||
               memcmp(keyring, l->manifest.keyring, sizeof keyring) != 0))
        ok = hm_fail(l->err, HM_PARAMS, "%s: the change log of the copy does not end as its manifest says",
                     l->backup);
    ok = ok && hm_sync_dir(to, l->err);
    free(source);
    free(target);
    return ok;
}

static bool lay_until(struct laying *l, bool *nothing) {
    struct hm_restore *r = l->r;
    struct hm_cut cut;
    *nothing = false;
    if (r->until_ms > l->manifest.made_ms)
        return hm_fail(l->err, HM_PARAMS, "%s was made before that time: take a newer backup", l->backup);
    if (!lay_data(l, l->whole) || !hm_cut_find(l->whole, r->until_seq, r->until_ms, &cut, l->err))
        return false;
    r->seq = cut.seq;
    r->time_ms = cut.time_ms;
    r->next_time_ms = cut.next_ms;
    *nothing = cut.seq == 0;
    if (*nothing) return true;
    if (!hm_replay(l->whole, l->data, cut.seq, l->err)) return false;
    remove_file(l->whole, "data.mdb");
    rmdir(l->whole);
    return true;
}

// Whose records must be erased once more: the backup may be older than the destruction of their key.
static bool note_destroyed(struct laying *l, struct hm_str entries) {
    struct hm_reader in = hm_reader_of(entries);
    struct hm_str key, value, person;
    struct hm_buf lines = {0};
    char *path = hm_path(l->partial, "erasing"), audit[37];
    bool ok = true;
    while (hm_keyring_entry_next(&in, &key, &value)) {
        if (!hm_keyring_entry_destroyed(key, value, &person)) continue;
        l->r->destroyed++;
        hm_buf_text(&lines, "{\"person\":");
        hm_json_put_str(&lines, person);
        hm_uuid7(hm_now_ms(), audit);
        hm_json_member_str(&lines, "audit", hm_str_of(audit));
        hm_buf_text(&lines, "}\n");
    }
    if (lines.len) ok = hm_write_file(path, hm_buf_view(&lines), 0600, l->err);
    hm_buf_free(&lines);
    free(path);
    return ok;
}

static bool lay_keyring(struct laying *l) {
    struct hm_buf entries = {0};
    uint8_t id[16];
    char *to = hm_path(l->partial, "keyring");
    int lock = hm_set_lock(l->r->set, LOCK_SH, l->err); // a backup may be replacing it
    bool ok = lock >= 0 && hm_set_keyring(l->r->set, &entries, l->err);
    if (lock >= 0) close(lock);
    if (ok &&
        (!hm_keyring_entry_id(hm_buf_view(&entries), id) || memcmp(id, l->manifest.keyring, sizeof id) != 0))
        ok = hm_fail(l->err, HM_PARAMS, "%s/keyring is not the keyring of this institution", l->r->set);
    ok = ok && hm_keyring_lay(to, hm_buf_view(&entries), l->err) && note_destroyed(l, hm_buf_view(&entries));
    hm_buf_free(&entries);
    free(to);
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

static bool lay(struct laying *l, bool *nothing) {
    struct hm_restore *r = l->r;
    uint8_t random[10];
    randombytes_buf(random, sizeof random);
    hm_uuid7_from((int64_t)time(NULL) * 1000, random, l->epoch);
    r->seq = l->manifest.head.seq;
    *nothing = false;
    if (r->until_seq || r->until_ms) {
        if (!lay_until(l, nothing) || *nothing) return *nothing;
    } else if (!lay_data(l, l->data)) {
        return false;
    }
    if (!lay_keyring(l) || !hm_sync_dir(l->partial, l->err)) return false;
    if (rename(l->partial, r->to) != 0) return hm_mdb_fail(l->err, errno, r->to, "put the copy in its place");
    return sync_parent(r->to, l->err);
}

bool hm_store_restore(struct hm_restore *r, struct hm_error *err) {
    struct laying l = {.r = r, .err = err};
    struct hm_buf partial = {0};
    struct stat st;
    bool ok = false, nothing = false;
    r->seq = 0;
    r->time_ms = r->next_time_ms = 0;
    r->destroyed = 0;
    if (sodium_init() < 0) return hm_fail(err, HM_INTERNAL, "libsodium does not start");
    if (lstat(r->to, &st) == 0) return hm_fail(err, HM_PARAMS, "%s exists already", r->to);
    if (r->name && !hm_backup_name_valid(hm_str_of(r->name)))
        return hm_fail(err, HM_PARAMS, "not the name of a backup (a folder in %s)", r->set);
    if (r->name)
        snprintf(r->taken, sizeof r->taken, "%s", r->name);
    else if (!newest(r->set, r->taken, err))
        return false;
    hm_buf_printf(&partial, "%s.partial", r->to);
    l.partial = partial.data;
    l.backup = hm_path(r->set, r->taken);
    l.data = hm_path(l.partial, "data");
    l.whole = hm_path(l.partial, "whole");
    if (!hm_manifest_read(l.backup, &l.manifest, err)) goto out;
    if (mkdir(l.partial, 0700) != 0) {
        hm_mdb_fail(err, errno, l.partial, "make the folder");
        goto out;
    }
    ok = lay(&l, &nothing);
    if (!ok || nothing) remove_partial(&l);
out:
    free(l.backup);
    free(l.data);
    free(l.whole);
    hm_buf_free(&partial);
    return ok;
}
