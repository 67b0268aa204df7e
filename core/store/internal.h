// What the files of this room share and nobody else includes (the fuzzer and the tests of this room may).
//
// Locks, always taken in this order: map_lock (shared by every read, exclusive while the map is moved), then
// pool_lock or types_lock, each held for a few instructions. The keyring has a mutex of its own, taken with
// nothing behind it.
#pragma once
#include "base/id.h"
#include "base/wire.h"
#include "store/store.h"
#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>

#define HM_KEY_MAX 511         // LMDB's limit as Debian builds it
#define HM_HASH 32             // BLAKE2b-256
#define HM_DATA_MAX (1u << 20) // a record's data
#define HM_MULTI_MAX 1000      // entries of one record in one multi index
#define HM_AUDIENCE_MAX 64
#define HM_MEMBERS_MAX 1000
#define HM_PRINCIPAL_MAX 200
#define HM_TOUCHED_ENTRIES (256u << 10)
#define HM_TOUCHED_BYTES (64u << 20)

static inline MDB_val hm_val(struct hm_str s) {
    return (MDB_val){s.len, (void *)s.ptr};
}
static inline struct hm_str hm_val_str(MDB_val v) {
    return (struct hm_str){v.mv_data, v.mv_size};
}
static inline bool hm_str_starts(struct hm_str s, struct hm_str prefix) {
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

// What LMDB or the system said, as an error for people: full map HM_TOO_LARGE, disk HM_UNAVAILABLE, else
// HM_INTERNAL.
#define hm_mdb_fail(err, rc, dir, what) hm_mdb_fail_at((err), (rc), (dir), (what), __FILE__, __LINE__)
bool hm_mdb_fail_at(struct hm_error *err, int rc, const char *dir, const char *what, const char *file,
                    int line);

// ---- keys (key.c)
// -------------------------------------------------------------------------------------------------
void hm_index_prefix(const struct hm_type *type, const struct hm_index *index,
                     struct hm_buf *out); // type \0 index \0
void hm_member_key(struct hm_str principal, struct hm_str type, struct hm_str id, struct hm_buf *out);
void hm_key_successor(struct hm_buf *key);        // the smallest key behind all that begin with it
struct hm_str hm_index_key_id(struct hm_str key); // the id at the end of an index or member key
// As hm_index_keys; *null tells that a field is missing or null, so that a unique index does not bind this
// record.
bool hm_index_keys_of(const struct hm_type *type, const struct hm_index *index,
                      const struct hm_record *record, struct hm_buf *out, bool *null, struct hm_error *err);

// ---- stored forms (record.c)
// -------------------------------------------------------------------------------------- Builds the envelope
// from the other fields and `data`, appends it to out; *data_at is where data begins in it.
void hm_envelope(const struct hm_record *r, struct hm_buf *out, size_t *data_at);
void hm_record_encode(const struct hm_record *r, struct hm_buf *out); // r->data must lie in r->json
bool hm_record_decode(struct hm_str bytes,
                      struct hm_record *out); // false: not a record; never reads past bytes
struct hm_entry {                             // a change as the log has it
    struct hm_change change;
    struct hm_str members, sealed;
    uint32_t form; // 0 and 1: 1
};
void hm_entry_encode(const struct hm_entry *e, struct hm_buf *out);
bool hm_entry_decode(struct hm_str bytes, struct hm_entry *out);
// next = BLAKE2b-256(previous || entry)
void hm_chain(const uint8_t previous[HM_HASH], struct hm_str entry, uint8_t next[HM_HASH]);
void hm_log_key(uint64_t seq, uint8_t key[8]);
void hm_change_hide(const struct hm_types *types,
                    struct hm_change *change); // nobody may see changes of hidden types
bool hm_sealed_find(struct hm_str sealed, struct hm_str field, struct hm_str *ciphertext);

// ---- touched keys (touched.c): commit thread
// ------------------------------------------------------------------------
struct hm_touch {
    const char *key;
    uint32_t len;
    uint32_t space;
};
struct hm_touched_batch {
    struct hm_touched_batch *older, *newer;
    uint64_t last; // seq of its last change
    size_t count, bytes;
    struct hm_touch keys[]; // sorted; their bytes follow
};
struct hm_touched_run {
    struct hm_touch *keys;
    size_t count;
};
struct hm_touched {
    struct hm_touched_batch *newest, *oldest;
    uint64_t floor;        // of snapshots before this one nothing is known
    size_t entries, bytes; // of the committed batches
    struct hm_touched_run
        runs[48]; // the open batch: sorted, each more than twice as long as the one behind it
    unsigned run_count;
    struct hm_touch *call; // the open call, unsorted
    size_t call_count, call_cap;
    struct hm_touched_chunk *chunks; // bytes of the open batch's keys
};
void hm_touched_init(struct hm_touched *t, uint64_t floor);
void hm_touched_free(struct hm_touched *t);
void hm_touched_add(struct hm_touched *t, enum hm_space space, struct hm_str key);
void hm_touched_end_call(struct hm_touched *t);
void hm_touched_commit(struct hm_touched *t, uint64_t last);
void hm_touched_abort(struct hm_touched *t);
// Was a key in [low, high) touched since the snapshot, or is that no longer known?
bool hm_touched_since(const struct hm_touched *t, uint64_t snapshot, enum hm_space space, struct hm_str low,
                      struct hm_str high);

// ---- keyring (keyring.c)
// --------------------------------------------------------------------------------------------
struct hm_keyring;
struct hm_new_keys; // keys made by an open batch, not yet stored
// Made when missing, unless `expected` (16 bytes, NULL = any) says that there was one.
bool hm_keyring_open(const char *dir, const uint8_t master[32], const uint8_t *expected, uint8_t id[16],
                     struct hm_keyring **out, struct hm_error *err);
void hm_keyring_close(struct hm_keyring *k);
// The person's key; when there is none, a new one if new_keys is not NULL, else HM_NOT_FOUND.
bool hm_keyring_key(struct hm_keyring *k, struct hm_str person, struct hm_new_keys **new_keys,
                    uint8_t key[32], struct hm_error *err);
bool hm_keyring_store(struct hm_keyring *k, struct hm_new_keys *keys,
                      struct hm_error *err); // durable when true
void hm_new_keys_free(struct hm_new_keys *keys);
// What the keyring holds, for copies of it: keys and values by turns, each as hm_put_str has it, sorted by
// key; the institution's key first. Appended.
bool hm_keyring_entries(struct hm_keyring *k, struct hm_buf *out, struct hm_error *err);
bool hm_keyring_entry_next(struct hm_reader *entries, struct hm_str *key, struct hm_str *value);
bool hm_keyring_entry_id(struct hm_str entries,
                         uint8_t id[16]); // of the keyring; false: these are no entries
// Whether it is the mark of a destroyed key, and whose.
bool hm_keyring_entry_destroyed(struct hm_str key, struct hm_str value, struct hm_str *person);
// Makes a keyring of entries in a new folder.
bool hm_keyring_lay(const char *dir, struct hm_str entries, struct hm_error *err);

// ---- backup sets (set.c)
// --------------------------------------------------------------------------------------------
// Puts the store's keyring in the place of the set's, see set.c. The set's folder must be there. only_known:
// a set without a keyring stays without.
bool hm_set_refresh(struct hm_store *store, const char *set, bool only_known, struct hm_error *err);
// Locks the set's folder (LOCK_EX, LOCK_SH), for as long as the descriptor is open; -1: failed.
int hm_set_lock(const char *set, int how, struct hm_error *err);
bool hm_set_remember(struct hm_store *store, const char *set, struct hm_error *err);
// The entries of the set's keyring, appended; HM_NOT_FOUND when it has none, HM_PARAMS when it is damaged.
bool hm_set_keyring(const char *set, struct hm_buf *entries, struct hm_error *err);
// These give errno.
int hm_write_all(int fd, struct hm_str bytes);
// Puts `fresh` in the place of `path` and overwrites what was there; after a crash hm_swap_finish ends it.
int hm_swap_file(const char *fresh, const char *path);
int hm_swap_finish(const char *path);
bool hm_backup_name_valid(struct hm_str name); // a folder in a set: 1 to 64 of A-Z a-z 0-9 . _ -, not ".…"

// ---- backups (copy.c)
// --------------------------------------------------------------------------------------------
struct hm_head { // the end of a change log
    char epoch[37];
    uint64_t seq;
    uint8_t hash[HM_HASH];
};
struct hm_sum { // of a file
    uint64_t bytes;
    uint8_t hash[HM_HASH];
};
struct hm_manifest {
    struct hm_head head;
    int64_t made_ms;
    uint8_t keyring[16];
    struct hm_sum data;
};
bool hm_manifest_read(const char *backup, struct hm_manifest *out, struct hm_error *err);
// Sums up a file and, when `to` is not NULL, copies it there and to disk.
bool hm_sum_file(const char *from, const char *to, struct hm_sum *out, struct hm_error *err);
// Reads the head of a data.mdb in `dir` that nobody else has open; new_epoch (or NULL): gives it that one.
// keyring (or NULL) gets the id of the keyring it belongs to.
bool hm_head_read(const char *dir, const char *new_epoch, struct hm_head *out, uint8_t keyring[16],
                  struct hm_error *err);
// Writes into `dir` (made here) a store that is what the one in `from` was after its change `seq`; the chain
// of the change log is checked on the way.
bool hm_replay(const char *from, const char *dir, uint64_t seq, struct hm_error *err);
// Where the log in `from` must be cut: the last whole call at or before a change, or a time.
struct hm_cut {
    uint64_t seq;    // of the last change that stays
    int64_t time_ms; // its time; 0 when none stays
    int64_t next_ms; // time of the first that goes, or 0
};
bool hm_cut_find(const char *from, uint64_t until_seq, int64_t until_ms, struct hm_cut *out,
                 struct hm_error *err);
bool hm_keyring_verify(struct hm_keyring *k, struct hm_error *err); // every key opens, or was destroyed
// Takes data apart: `out` gets it with the sealed fields replaced, `sealed` their ciphertexts. old: the
// record before, or NULL.
bool hm_seal(struct hm_keyring *k, struct hm_new_keys **new_keys, const struct hm_type *type,
             struct hm_str id, struct hm_json data, const struct hm_record *old, struct hm_buf *out,
             struct hm_buf *sealed, struct hm_error *err);

// ---- pages (pages.c)
// ------------------------------------------------------------------------------------------------ Looks at a
// file of LMDB's before LMDB does. `whole`: at every page; else at the heads and roots only, unless the file
// is small.
#define HM_PAGES_ALWAYS ((int64_t)16 << 20)
bool hm_pages_check(const char *file, bool whole, struct hm_error *err);

// ---- the store
// ------------------------------------------------------------------------------------------------------
struct hm_read {
    struct hm_store *store;
    struct hm_read *next; // in the pool
    MDB_txn *txn;
    bool seq_known;
    uint64_t seq;
    bool turned_known;
    struct hm_str turned; // see hm_turned
};
struct hm_store {
    char *dir;
    bool read_only;
    MDB_env *env;
    MDB_dbi rec, idx, mem, log, meta, next;
    bool has_next; // false: a copy made before there was one
    size_t map_max;
    char epoch[37];
    pthread_rwlock_t map_lock;
    pthread_mutex_t pool_lock;
    struct hm_read *pool; // reset transactions, each keeping its slot in the lock table
    pthread_mutex_t types_lock;
    struct hm_types *types;
    struct hm_keyring *keyring; // NULL when read_only
    pthread_mutex_t sets_lock;  // around the file that names the backup sets
    // the commit thread's
    uint64_t seq; // last committed change
    uint8_t hash[HM_HASH];
    struct hm_touched touched;
    struct hm_coming *coming; // types that are prepared beside those in force, or NULL (shape.c)
    _Atomic uint64_t turn;    // see hm_store_turn
    uint64_t types_seq;       // index ranges read up to here may be of an index that has been rebuilt since
    struct hm_write *write;   // the open one
    atomic_bool doubt;        // a commit failed: nothing is written any more
    bool opened;              // for writing
    bool marked;              // the marker was made by this opening
    char *marker; // a file that is there while the store is open, and after a bad end; NULL: read_only
};
// Commit thread, no write open: grows the map when less than a quarter of it is free and nobody reads.
void hm_store_grow_ahead(struct hm_store *store);
// Ends a write transaction. What a full disk or map does not explain puts the store in doubt.
int hm_commit_txn(struct hm_store *store, MDB_txn *txn);
// False, with HM_CAUSE_DOUBT, when the store is in doubt.
bool hm_store_sound(struct hm_store *store, struct hm_error *err);
bool hm_meta_get(struct hm_store *store, MDB_txn *txn, const char *name,
                 struct hm_str *out); // false when absent
// Every value but "head" gets a hash beside it ("sum:" and its name), since nothing else vouches for it, and
// "turn" gets the number of the transaction: were an older one taken for the newest, that would show.
int hm_meta_put(struct hm_store *store, MDB_txn *txn, const char *name, struct hm_str value);
int hm_meta_turn(struct hm_store *store, MDB_txn *txn); // for a transaction that puts nothing else here
struct hm_types *hm_types_core(void);                   // only the core's
// ---- changing shapes (index.c, shape.c); what is kept of them: see shape.c
// ---------------------------------------------------------------------------
// Packed names of the types whose records in `next` are in force; borrowed from the transaction.
struct hm_str hm_turned(struct hm_store *store, MDB_txn *txn);
// The form in force of the record with this key, when it is still to be written.
bool hm_turned_find(struct hm_store *store, MDB_txn *txn, struct hm_str turned, struct hm_str key,
                    struct hm_record *out);
bool hm_listed(struct hm_str packed, struct hm_str name);
struct hm_write;
// What a call's change of one record means for the types that are prepared. A refusal is none of the call's.
void hm_coming_plan(struct hm_write *w, const struct hm_record *old, const struct hm_record *now);
// A key of a coming unique index is about to be put: is it another's already?
int hm_coming_unique(struct hm_write *w, const struct hm_index *index, const char *type, struct hm_str key,
                     size_t id_len);
void hm_coming_free(struct hm_store *store);
// What an earlier server prepared and did not put in force is given up.
bool hm_shape_recover(struct hm_store *store, MDB_txn *txn, struct hm_error *err);
// Beginnings (packed) of keys in idx that are not, or no longer, of an index in force.
bool hm_shape_beside(struct hm_store *store, MDB_txn *txn, struct hm_buf *out, struct hm_error *err);
// Once the transaction that hm_write_force was part of is durable.
void hm_write_forced(struct hm_write *w);
// Lines that describe indexes, as meta "indexes" has them (index.c).
void hm_index_line(const struct hm_type *type, const struct hm_index *index, struct hm_buf *out);
void hm_index_lines(const struct hm_types *types, struct hm_buf *out);
bool hm_next_line(struct hm_str *rest, struct hm_str *line);
bool hm_has_line(struct hm_str text, struct hm_str wanted);
bool hm_line_prefix(struct hm_str line, struct hm_buf *out); // of the keys of the index it describes
// Removes keys with this beginning, no more than *left; *left says how many more might have gone.
int hm_drop_keys(MDB_txn *txn, MDB_dbi dbi, struct hm_str prefix, size_t *left);
// Puts the keys of one record; a unique index must have no other entry with the same values.
bool hm_index_put(struct hm_store *store, MDB_txn *txn, const struct hm_type *type,
                  const struct hm_index *index, const struct hm_record *r, struct hm_error *err);
// Brings idx in line with what `types` declares. `text` gets the description of the indexes now in force.
bool hm_indexes_rebuild(struct hm_store *store, MDB_txn *txn, struct hm_types *types, bool *changed,
                        struct hm_error *err);
int hm_databases_open(struct hm_store *store, MDB_txn *txn);
bool hm_make_dir(const char *path, struct hm_error *err); // 0700; fine when there
bool hm_sync_dir(const char *path, struct hm_error *err);
char *hm_path(const char *dir, const char *name); // dir/name, owned by the caller
