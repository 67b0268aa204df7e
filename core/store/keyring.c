// The keys of persons. Each is wrapped (XChaCha20-Poly1305) by the institution's key, and that by the
// server's key file; wrapped they lie in the environment keyring/. Any thread: one mutex around everything
// here.
//
//   i         -> 01, 16 bytes id, nonce, wrapped institution key
//   p person  -> 01, nonce, wrapped key; or 02 and zeros of the same length: destroyed; 03 and zeros:
//   destroyed
//                and nowhere in this file any more
//
// A destroyed key must be gone from the file too, see wipe_file. Entries, as other rooms of files see them,
// know 01 and 02 only: what is left in a file says nothing of another one.
#include "base/log.h"
#include "store/internal.h"
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>
#include <uthash.h>

#define NONCE crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG crypto_aead_xchacha20poly1305_ietf_ABYTES
#define WRAPPED (NONCE + 32 + TAG)
#define KEY_RECORD (1 + WRAPPED)
#define MAP_FIRST ((size_t)4 << 20)
#define PIECE 8
#define WIPE_CHUNK (1 << 20)
_Static_assert(WRAPPED % PIECE == 0, "a wrapped key is wiped in whole pieces");
enum { KEY_HERE = 1, KEY_DESTROYED = 2, KEY_WIPED = 3 };

struct hm_keyring {
    pthread_mutex_t lock;
    MDB_env *env;
    MDB_dbi dbi;
    char *dir;
    uint8_t *institution; // 32 bytes in guarded memory
};
struct new_key {
    UT_hash_handle hh;
    uint8_t key[32];
    size_t len;
    char person[HM_ID_MAX];
};
struct hm_new_keys {
    struct new_key *by_person;
};

static void wrap(const uint8_t key[32], struct hm_str about, const uint8_t with[32], uint8_t out[WRAPPED]) {
    randombytes_buf(out, NONCE);
    crypto_aead_xchacha20poly1305_ietf_encrypt(out + NONCE, NULL, key, 32, (const uint8_t *)about.ptr,
                                               about.len, NULL, out, with);
}

static bool unwrap(const uint8_t in[WRAPPED], struct hm_str about, const uint8_t with[32], uint8_t key[32]) {
    return crypto_aead_xchacha20poly1305_ietf_decrypt(key, NULL, NULL, in + NONCE, 32 + TAG,
                                                      (const uint8_t *)about.ptr, about.len, in, with) == 0;
}

static struct hm_str person_key(struct hm_str person, char out[1 + HM_ID_MAX]) {
    out[0] = 'p';
    memcpy(out + 1, person.ptr, person.len);
    return (struct hm_str){out, 1 + person.len};
}

// ---- opening
// --------------------------------------------------------------------------------------------------------

static int open_environment(struct hm_keyring *k) {
    MDB_envinfo info;
    MDB_txn *txn = NULL;
    int rc = mdb_env_create(&k->env);
    if (!rc) rc = mdb_env_open(k->env, k->dir, MDB_NOTLS, 0600);
    if (!rc) rc = mdb_env_info(k->env, &info);
    if (!rc && info.me_mapsize < MAP_FIRST) rc = mdb_env_set_mapsize(k->env, MAP_FIRST);
    if (!rc) rc = mdb_txn_begin(k->env, NULL, MDB_RDONLY, &txn);
    if (!rc) rc = mdb_dbi_open(txn, NULL, 0, &k->dbi);
    if (txn) mdb_txn_abort(txn);
    if (rc && k->env) {
        mdb_env_close(k->env);
        k->env = NULL;
    }
    return rc;
}

static int reopen(struct hm_keyring *k) {
    if (k->env) mdb_env_close(k->env);
    k->env = NULL;
    return open_environment(k);
}

static bool make_institution_key(struct hm_keyring *k, MDB_txn *txn, const uint8_t master[32],
                                 struct hm_error *err) {
    uint8_t value[1 + 16 + WRAPPED] = {KEY_HERE};
    randombytes_buf(value + 1, 16);
    randombytes_buf(k->institution, 32);
    wrap(k->institution, HM_LIT("i"), master, value + 17);
    MDB_val key = hm_val(HM_LIT("i")), val = {sizeof value, value};
    int rc = mdb_put(txn, k->dbi, &key, &val, MDB_NOOVERWRITE);
    return !rc || hm_mdb_fail(err, rc, k->dir, "write");
}

static bool load_institution_key(struct hm_keyring *k, MDB_txn *txn, const uint8_t master[32],
                                 const uint8_t *expected, uint8_t id[16], struct hm_error *err) {
    MDB_val key = hm_val(HM_LIT("i")), val;
    int rc = mdb_get(txn, k->dbi, &key, &val);
    if (rc == MDB_NOTFOUND) {
        if (expected)
            return hm_fail(err, HM_UNAVAILABLE,
                           "%s is empty, but there are sealed records: restore the keyring", k->dir);
        if (!make_institution_key(k, txn, master, err)) return false;
        rc = mdb_get(txn, k->dbi, &key, &val);
    }
    if (rc) return hm_mdb_fail(err, rc, k->dir, "read");
    const uint8_t *bytes = val.mv_data;
    if (val.mv_size != 1 + 16 + WRAPPED || bytes[0] != KEY_HERE)
        return hm_fail(err, HM_UNAVAILABLE, "%s is damaged: the institution's key cannot be read", k->dir);
    memcpy(id, bytes + 1, 16);
    if (expected && memcmp(expected, id, 16) != 0)
        return hm_fail(err, HM_UNAVAILABLE, "%s is the keyring of another institution", k->dir);
    if (!unwrap(bytes + 17, HM_LIT("i"), master, k->institution))
        return hm_fail(err, HM_UNAVAILABLE, "the server's key file does not open %s", k->dir);
    return true;
}

bool hm_keyring_open(const char *dir, const uint8_t master[32], const uint8_t *expected, uint8_t id[16],
                     struct hm_keyring **out, struct hm_error *err) {
    bool ok = false;
    MDB_txn *txn = NULL;
    struct hm_keyring *k = hm_alloc(sizeof *k);
    *out = NULL;
    pthread_mutex_init(&k->lock, NULL);
    k->dir = hm_strdup(dir);
    k->institution = sodium_malloc(32);
    if (!k->institution) {
        hm_fail(err, HM_UNAVAILABLE, "no guarded memory for a key");
        goto out;
    }
    int rc = open_environment(k);
    if (!rc) rc = mdb_txn_begin(k->env, NULL, 0, &txn);
    if (rc) {
        hm_mdb_fail(err, rc, dir, "open");
        goto out;
    }
    if (!load_institution_key(k, txn, master, expected, id, err)) goto out;
    rc = mdb_txn_commit(txn);
    txn = NULL;
    ok = rc == 0 ? hm_sync_dir(dir, err) : hm_mdb_fail(err, rc, dir, "open");
out:
    if (txn) mdb_txn_abort(txn);
    if (ok) {
        *out = k;
    } else {
        hm_keyring_close(k);
    }
    return ok;
}

void hm_keyring_close(struct hm_keyring *k) {
    if (!k) return;
    if (k->env) mdb_env_close(k->env);
    sodium_free(k->institution);
    pthread_mutex_destroy(&k->lock);
    free(k->dir);
    free(k);
}

// ---- keys of persons
// --------------------------------------------------------------------------------------------------

static bool stored_key(struct hm_keyring *k, struct hm_str person, uint8_t key[32], struct hm_error *err) {
    char name[1 + HM_ID_MAX];
    struct hm_str about = person_key(person, name);
    MDB_txn *txn = NULL;
    MDB_val mk = hm_val(about), val;
    bool ok = false;
    int rc = k->env ? mdb_txn_begin(k->env, NULL, MDB_RDONLY, &txn) : EIO;
    if (!rc) rc = mdb_get(txn, k->dbi, &mk, &val);
    if (rc == MDB_NOTFOUND) {
        hm_fail(err, HM_NOT_FOUND, "no key of this person");
    } else if (rc) {
        hm_mdb_fail(err, rc, k->dir, "read");
    } else {
        const uint8_t *bytes = val.mv_data;
        if (val.mv_size == KEY_RECORD && (bytes[0] == KEY_DESTROYED || bytes[0] == KEY_WIPED)) {
            hm_fail(err, HM_UNAVAILABLE, "the key of this person was destroyed");
            hm_fail_cause(err, HM_CAUSE_ERASED);
        } else if (val.mv_size != KEY_RECORD || !unwrap(bytes + 1, about, k->institution, key)) {
            hm_fail(err, HM_INTERNAL, "%s: the key of a person is damaged", k->dir);
        } else {
            ok = true;
        }
    }
    if (txn) mdb_txn_abort(txn);
    return ok;
}

bool hm_keyring_key(struct hm_keyring *k, struct hm_str person, struct hm_new_keys **new_keys,
                    uint8_t key[32], struct hm_error *err) {
    struct hm_error why = {0};
    struct new_key *made = NULL;
    if (!hm_id_valid(person))
        return hm_fail(err, HM_PARAMS, "the person that sealed fields are about is not a valid id");
    pthread_mutex_lock(&k->lock);
    bool ok = stored_key(k, person, key, &why);
    pthread_mutex_unlock(&k->lock);
    if (ok) return true;
    if (why.code != HM_NOT_FOUND || !new_keys) {
        if (err) *err = why;
        return false;
    }
    if (!*new_keys) *new_keys = hm_alloc(sizeof **new_keys);
    HASH_FIND(hh, (*new_keys)->by_person, person.ptr, person.len, made);
    if (!made) {
        made = hm_alloc(sizeof *made);
        made->len = person.len;
        memcpy(made->person, person.ptr, person.len);
        randombytes_buf(made->key, sizeof made->key);
        HASH_ADD(hh, (*new_keys)->by_person, person, made->len, made);
    }
    memcpy(key, made->key, 32);
    return true;
}

void hm_new_keys_free(struct hm_new_keys *keys) {
    struct new_key *key, *next;
    if (!keys) return;
    HASH_ITER(hh, keys->by_person, key, next) {
        HASH_DEL(keys->by_person, key);
        sodium_memzero(key->key, sizeof key->key);
        free(key);
    }
    free(keys);
}

static int put_new_keys(struct hm_keyring *k, MDB_txn *txn, struct hm_new_keys *keys) {
    char name[1 + HM_ID_MAX];
    uint8_t value[KEY_RECORD] = {KEY_HERE};
    for (struct new_key *key = keys->by_person; key; key = key->hh.next) {
        struct hm_str about = person_key((struct hm_str){key->person, key->len}, name);
        wrap(key->key, about, k->institution, value + 1);
        MDB_val mk = hm_val(about), val = {sizeof value, value};
        // Already there can only be the mark of a destruction since the key was made: it stays, the data
        // stays sealed.
        int rc = mdb_put(txn, k->dbi, &mk, &val, MDB_NOOVERWRITE);
        if (rc && rc != MDB_KEYEXIST) return rc;
    }
    return 0;
}

static int grow(struct hm_keyring *k) {
    MDB_envinfo info;
    int rc = mdb_env_info(k->env, &info);
    return rc ? rc : mdb_env_set_mapsize(k->env, info.me_mapsize * 2);
}

// Runs one write transaction, growing the map as needed. k->lock is held, so no other transaction is open.
static int write_keys(struct hm_keyring *k, int (*fn)(struct hm_keyring *k, MDB_txn *txn, void *arg),
                      void *arg) {
    for (;;) {
        MDB_txn *txn = NULL;
        int rc = k->env ? mdb_txn_begin(k->env, NULL, 0, &txn) : EIO; // EIO: it could not be opened again
        if (!rc) rc = fn(k, txn, arg);
        if (rc) {
            if (txn) mdb_txn_abort(txn);
        } else {
            rc = mdb_txn_commit(txn);
        }
        if (rc != MDB_MAP_FULL) return rc;
        if ((rc = grow(k)) != 0) return rc;
    }
}

static int put_new_keys_void(struct hm_keyring *k, MDB_txn *txn, void *keys) {
    return put_new_keys(k, txn, keys);
}

bool hm_keyring_store(struct hm_keyring *k, struct hm_new_keys *keys, struct hm_error *err) {
    if (!keys || !keys->by_person) return true;
    pthread_mutex_lock(&k->lock);
    int rc = write_keys(k, put_new_keys_void, keys);
    pthread_mutex_unlock(&k->lock);
    return !rc || hm_mdb_fail(err, rc, k->dir, "write");
}

// k->lock is held.
static int read_entries(struct hm_keyring *k, struct hm_buf *out) {
    MDB_txn *txn = NULL;
    MDB_cursor *cursor = NULL;
    MDB_val key, val;
    int rc = k->env ? mdb_txn_begin(k->env, NULL, MDB_RDONLY, &txn) : EIO;
    if (!rc) rc = mdb_cursor_open(txn, k->dbi, &cursor);
    if (!rc) rc = mdb_cursor_get(cursor, &key, &val, MDB_FIRST);
    for (; !rc; rc = mdb_cursor_get(cursor, &key, &val, MDB_NEXT)) {
        if (hm_str_eq(hm_val_str(key), HM_LIT("t"))) continue;
        hm_put_str(out, hm_val_str(key));
        hm_put_str(out, hm_val_str(val));
        char *value = out->data + out->len - val.mv_size;
        if (val.mv_size == KEY_RECORD && value[0] == KEY_WIPED) value[0] = KEY_DESTROYED;
    }
    if (cursor) mdb_cursor_close(cursor);
    if (txn) mdb_txn_abort(txn);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

// ---- destruction
// ------------------------------------------------------------------------------------------------------

static int put_state(struct hm_keyring *k, MDB_txn *txn, struct hm_str person, uint8_t state) {
    char name[1 + HM_ID_MAX];
    uint8_t value[KEY_RECORD] = {state}; // as long as a key: the page's old bytes are overwritten in place
    MDB_val mk = hm_val(person_key(person, name)), val = {sizeof value, value};
    return mdb_put(txn, k->dbi, &mk, &val, 0);
}

static int put_mark(struct hm_keyring *k, MDB_txn *txn, void *person) {
    return put_state(k, txn, *(struct hm_str *)person, KEY_DESTROYED);
}

static int put_wiped(struct hm_keyring *k, MDB_txn *txn, void *person) {
    return put_state(k, txn, *(struct hm_str *)person, KEY_WIPED);
}

// A second commit, so that no meta page leads to the pages before the destruction any more.
static int put_turn(struct hm_keyring *k, MDB_txn *txn, void *arg) {
    uint8_t random[8];
    (void)arg;
    randombytes_buf(random, sizeof random);
    MDB_val mk = hm_val(HM_LIT("t")), val = {sizeof random, random};
    return mdb_put(txn, k->dbi, &mk, &val, 0);
}

// *state: KEY_HERE (then out is the wrapped key), KEY_DESTROYED, or 0 when there is no entry.
static int wrapped_key(struct hm_keyring *k, struct hm_str person, uint8_t out[WRAPPED], int *state) {
    char name[1 + HM_ID_MAX];
    MDB_txn *txn = NULL;
    MDB_val mk = hm_val(person_key(person, name)), val;
    *state = 0;
    int rc = mdb_txn_begin(k->env, NULL, MDB_RDONLY, &txn);
    if (!rc) rc = mdb_get(txn, k->dbi, &mk, &val);
    if (!rc && val.mv_size == KEY_RECORD) {
        *state = *(const uint8_t *)val.mv_data;
        memcpy(out, (const uint8_t *)val.mv_data + 1, WRAPPED);
    }
    if (txn) mdb_txn_abort(txn);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

// Overwrites each 8-byte piece of the wrapped key found in bytes; true when there was one.
static bool wipe_pieces(uint8_t *bytes, size_t len, const uint8_t wrapped[WRAPPED]) {
    bool any = false;
    for (size_t piece = 0; piece < WRAPPED; piece += PIECE) {
        uint8_t *at = bytes, *end = bytes + len;
        while ((at = memmem(at, (size_t)(end - at), wrapped + piece, PIECE)) != NULL) {
            memset(at, 0, PIECE);
            any = true;
        }
    }
    return any;
}

// LMDB leaves what it freed, and the slack of its pages, as it was. Nothing that is in force holds these
// bytes any more (the mark stands in their place), so they may be overwritten wherever they are found in the
// file.
static int wipe_file(struct hm_keyring *k, const uint8_t wrapped[WRAPPED]) {
    int fd = -1, rc = mdb_env_get_fd(k->env, &fd);
    uint8_t *bytes = rc ? NULL : hm_alloc(WIPE_CHUNK);
    for (off_t at = 0; !rc;) {
        ssize_t n = pread(fd, bytes, WIPE_CHUNK, at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) rc = errno;
        if (n <= 0) break;
        if (wipe_pieces(bytes, (size_t)n, wrapped) && pwrite(fd, bytes, (size_t)n, at) != n)
            rc = errno ? errno : EIO;
        if (n <= PIECE) break;
        at += n - (PIECE - 1); // a piece may lie across two chunks
        if (n < WIPE_CHUNK) break;
    }
    if (!rc && fdatasync(fd) != 0) rc = errno;
    free(bytes);
    return rc;
}

// A keyring that was being made anew when the process ended, and the one before it: whoever is destroyed now
// may be in them.
static int remove_fresh(const struct hm_keyring *k, const char *fresh) {
    char *data = hm_path(fresh, "data.mdb"), *lock = hm_path(fresh, "lock.mdb");
    char *own = hm_path(k->dir, "data.mdb");
    int rc = hm_wipe_file(data);
    if (!rc) rc = hm_swap_finish(own);
    unlink(lock);
    rmdir(fresh);
    free(own);
    free(data);
    free(lock);
    return rc;
}

// The whole file anew, and the old one overwritten. Where a destruction was cut short between the mark and
// the wiping, nobody knows any more which bytes to look for.
static int make_anew(struct hm_keyring *k, const char *fresh) {
    struct hm_buf entries = {0};
    struct hm_error err = {0};
    char *from = hm_path(fresh, "data.mdb"), *to = hm_path(k->dir, "data.mdb");
    int rc = read_entries(k, &entries);
    if (!rc && !hm_keyring_lay(fresh, hm_buf_view(&entries), &err)) rc = EIO;
    if (!rc) {
        mdb_env_close(k->env);
        k->env = NULL;
        rc = hm_swap_file(from, to);
        int opened = open_environment(k);
        if (!rc) rc = opened;
    }
    hm_buf_free(&entries);
    free(from);
    free(to);
    return rc;
}

static int destroy(struct hm_keyring *k, struct hm_str person) {
    uint8_t wrapped[WRAPPED];
    struct hm_buf fresh = {0};
    int state = 0;
    hm_buf_printf(&fresh, "%s.new", k->dir);
    int rc = remove_fresh(k, fresh.data);
    if (!rc) rc = k->env ? 0 : reopen(k);
    if (!rc) rc = wrapped_key(k, person, wrapped, &state);
    if (rc || state == KEY_WIPED) goto out;
    // LMDB keeps page buffers for reuse, and what is left in them would come back to disk as slack: begin
    // with none.
    rc = reopen(k);
    if (!rc) rc = write_keys(k, put_mark, &person);
    if (!rc) rc = write_keys(k, put_turn, NULL);
    if (!rc && state == KEY_HERE) rc = wipe_file(k, wrapped);
    if (!rc && state != KEY_DESTROYED) rc = write_keys(k, put_wiped, &person);
    if (!rc && state == KEY_DESTROYED) {
        rc = make_anew(k, fresh.data);
        remove_fresh(k, fresh.data);
    }
out:
    sodium_memzero(wrapped, sizeof wrapped);
    hm_buf_free(&fresh);
    return rc;
}

bool hm_keyring_destroy(struct hm_store *store, struct hm_str person, struct hm_error *err) {
    struct hm_keyring *k = store->keyring;
    if (!k) return hm_fail(err, HM_INTERNAL, "a read-only store has no keyring");
    if (!hm_id_valid(person)) return hm_fail(err, HM_PARAMS, "not a person's id");
    pthread_mutex_lock(&k->lock);
    int rc = destroy(k, person);
    pthread_mutex_unlock(&k->lock);
    return !rc || hm_mdb_fail(err, rc, k->dir, "destroy a key");
}

// ---- copies
// -----------------------------------------------------------------------------------------------------------

// The file of LMDB is never copied: what it freed and the slack of its pages would go along.
bool hm_keyring_entries(struct hm_keyring *k, struct hm_buf *out, struct hm_error *err) {
    pthread_mutex_lock(&k->lock);
    int rc = read_entries(k, out);
    pthread_mutex_unlock(&k->lock);
    return !rc || hm_mdb_fail(err, rc, k->dir, "read the keyring");
}

bool hm_keyring_entry_next(struct hm_reader *entries, struct hm_str *key, struct hm_str *value) {
    if (entries->bad || entries->at == entries->end) return false;
    *key = hm_get_str(entries);
    *value = hm_get_str(entries);
    return !entries->bad;
}

bool hm_keyring_entry_id(struct hm_str entries, uint8_t id[16]) {
    struct hm_reader in = hm_reader_of(entries);
    struct hm_str key, value;
    if (!hm_keyring_entry_next(&in, &key, &value) || !hm_str_eq(key, HM_LIT("i")) ||
        value.len != 1 + 16 + WRAPPED)
        return false;
    memcpy(id, value.ptr + 1, 16);
    return true;
}

bool hm_keyring_entry_destroyed(struct hm_str key, struct hm_str value, struct hm_str *person) {
    if (key.len < 2 || key.ptr[0] != 'p' || value.len != KEY_RECORD || value.ptr[0] != KEY_DESTROYED)
        return false;
    *person = (struct hm_str){key.ptr + 1, key.len - 1};
    return true;
}

static int put_entries(struct hm_keyring *k, MDB_txn *txn, void *entries) {
    struct hm_reader in = hm_reader_of(*(struct hm_str *)entries);
    struct hm_str key, value;
    int rc = 0;
    while (!rc && hm_keyring_entry_next(&in, &key, &value)) {
        struct hm_str person;
        uint8_t wiped[KEY_RECORD] = {KEY_WIPED}; // a file laid fresh never held the key
        MDB_val mk = hm_val(key), val = hm_val(value);
        if (hm_keyring_entry_destroyed(key, value, &person)) val.mv_data = wiped;
        rc = mdb_put(txn, k->dbi, &mk, &val, MDB_APPEND); // sorted, no key twice: else MDB_KEYEXIST
    }
    return rc ? rc : in.bad ? EINVAL : 0;
}

bool hm_keyring_lay(const char *dir, struct hm_str entries, struct hm_error *err) {
    struct hm_keyring k = {.dir = (char *)dir};
    bool ok = hm_make_dir(dir, err);
    if (!ok) return false;
    int rc = open_environment(&k);
    if (!rc) rc = write_keys(&k, put_entries, &entries);
    if (k.env) mdb_env_close(k.env);
    return (!rc || hm_mdb_fail(err, rc, dir, "lay the keyring")) && hm_sync_dir(dir, err);
}

// ---- looking at all of it
// ---------------------------------------------------------------------------------------------

static bool key_whole(struct hm_keyring *k, struct hm_str name, struct hm_str value) {
    static const uint8_t zeros[WRAPPED];
    uint8_t key[32];
    if (name.len < 2 || name.ptr[0] != 'p') return true; // the institution's was opened with the keyring
    const uint8_t *bytes = (const uint8_t *)value.ptr;
    if (value.len != KEY_RECORD) return false;
    if (bytes[0] == KEY_DESTROYED || bytes[0] == KEY_WIPED) return memcmp(bytes + 1, zeros, WRAPPED) == 0;
    bool ok = bytes[0] == KEY_HERE && unwrap(bytes + 1, name, k->institution, key);
    sodium_memzero(key, sizeof key);
    return ok;
}

bool hm_keyring_verify(struct hm_keyring *k, struct hm_error *err) {
    MDB_txn *txn = NULL;
    MDB_cursor *cursor = NULL;
    MDB_val key, value;
    bool whole = true;
    pthread_mutex_lock(&k->lock);
    int rc = k->env ? mdb_txn_begin(k->env, NULL, MDB_RDONLY, &txn) : EIO;
    if (!rc) rc = mdb_cursor_open(txn, k->dbi, &cursor);
    if (!rc) rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    while (!rc && whole) {
        whole = key_whole(k, hm_val_str(key), hm_val_str(value));
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    if (cursor) mdb_cursor_close(cursor);
    if (txn) mdb_txn_abort(txn);
    pthread_mutex_unlock(&k->lock);
    if (!whole) return hm_fail(err, HM_INTERNAL, "%s: the key of a person is damaged", k->dir);
    return rc == MDB_NOTFOUND || hm_mdb_fail(err, rc, k->dir, "read");
}
