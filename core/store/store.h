// One institution's LMDB environment: records, indexes, members, change log, sealed fields with a key per
// person.
//
// Named databases: rec   type \0 id                                   -> stored record (see record below)
//                  idx   type \0 index \0 tag encoded values \0\0 id  -> empty (order-preserving values)
//                  mem   principal("person:<id>") \0 type \0 id       -> empty (who is a member of what)
//                  log   u64 big endian seq                           -> one change, chained by BLAKE2b
//                  meta  name                                         -> last seq, last hash, epoch, types, …
//                  next  as rec                                       -> its coming form (see shape.h)
// and beside it a second environment `keyring/` (wrapped person keys), apart so that a backup keeps only its
// newest copy.
//
// Threads: one process has the environment open once. Any thread may read; hm_write is used by one thread at
// a time (the commit thread). Worker processes open it read-only and never fork with it. Every change has a
// seq of its own (1, 2, …); changes of one method call share `commit`, the seq of the first. A record's
// version is the seq that last wrote it.
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include "base/json.h"
#include "store/access.h"
#include "store/types.h"

struct hm_store;
struct hm_store_options {
    size_t map_bytes;          // initial map size, 0 = 64 MiB; grows by doubling while running
    size_t map_max;            // 0 = 64 GiB
    unsigned max_readers;      // 0 = 512
    bool read_only;            // a worker: data only, no keyring, no key
    bool look_at_all;          // at every page before opening; else only of small files and after a bad end
    const uint8_t *master_key; // 32 bytes from the server's key file; NULL when read_only
};
// dir: the institution's folder; holds data/ and keyring/. Created when missing unless read_only.
bool hm_store_open(const char *dir, const struct hm_store_options *options, struct hm_store **out,
                   struct hm_error *err);
void hm_store_close(struct hm_store *store);
// True after a commit that failed for another reason than a full disk or map: what the disk holds is not
// known (a second fsync would say yes to what the first one lost), so nothing is written until the store is
// opened anew. Reads go on, as long as LMDB gives snapshots: what they show was durable before. Any thread.
bool hm_store_in_doubt(const struct hm_store *store);
// A random id made with the environment (36 characters); a restored copy gets a new one: feeds resume only
// within an epoch.
const char *hm_store_epoch(const struct hm_store *store);
// The types now in force (new reference). Before any catalogue was stored: the core's only.
struct hm_types *hm_store_types(struct hm_store *store);
// Clears slots of dead readers in the lock table (after a worker ended), so that they pin no pages. Returns
// how many.
int hm_store_clear_readers(struct hm_store *store);
struct hm_store_stats {
    uint64_t map_bytes, used_bytes, entries, last_seq;
    unsigned readers;
};
bool hm_store_stats(struct hm_store *store, struct hm_store_stats *out, struct hm_error *err);
struct hm_store_readers {
    uint64_t last_txn, oldest_txn; // equal when nobody reads an older snapshot than the newest
    unsigned reading;              // snapshots held at this moment
};
bool hm_store_readers(struct hm_store *store, struct hm_store_readers *out);

// ---- records
// ----------------------------------------------------------------------------------------------------
struct hm_record { // all borrowed from the map until the read ends
    struct hm_str type, id;
    uint64_t version;
    uint32_t form; // version of the type's declaration that its data was written by
    int64_t created_ms, updated_ms;
    struct hm_str by;       // person id or "" (system)
    struct hm_str audience; // packed list, see access.h
    struct hm_str members;  // packed list
    struct hm_str
        json; // the whole envelope as JSON, ready to be sent; sealed fields are {"sealed":true} in it
    struct hm_str data;   // the data object inside json
    struct hm_str sealed; // packed: field name, ciphertext, repeated; empty when nothing is sealed
};

// ---- reading
// ----------------------------------------------------------------------------------------------------
struct hm_read; // a snapshot. Short in the server; a worker holds one per request. Ends on the thread that
                // began it.
bool hm_read_begin(struct hm_store *store, struct hm_read **out,
                   struct hm_error *err);         // follows map growth by itself
void hm_read_end(struct hm_read *read);           // reusable inside: begin after end costs a renew
uint64_t hm_read_seq(const struct hm_read *read); // last change contained in the snapshot
// HM_NOT_FOUND when absent.
bool hm_read_get(struct hm_read *read, struct hm_str type, struct hm_str id, struct hm_record *out,
                 struct hm_error *err);

// A range of an index (or, with index NULL, of a type's records in id order).
struct hm_range {
    struct hm_str type;
    const struct hm_index *index;
    struct hm_str low, high; // encoded database keys: low inclusive, high exclusive; made by hm_range_*
    struct hm_buf keys;      // owns them; hm_range_free
};
// values: JSON array of the leading field values that must be equal ([] for none); from/to: JSON value for
// the next field (inclusive/exclusive), raw.len 0 = open.
bool hm_range_make(const struct hm_type *type, const struct hm_index *index, struct hm_json equals,
                   struct hm_json from, struct hm_json to, struct hm_range *out, struct hm_error *err);
void hm_range_free(struct hm_range *range);
// Database keys as ranges hold them, for a worker that lays its own writes over what it reads. Of the record,
// type, id, by, created_ms, updated_ms and data (checked JSON) are looked at. hm_index_keys appends a packed
// list (see access.h), sorted, no key twice: one key, or for a `multi` index one for each element.
// HM_TOO_LARGE past 1,000 elements.
void hm_record_key(struct hm_str type, struct hm_str id, struct hm_buf *out);
bool hm_index_keys(const struct hm_type *type, const struct hm_index *index, const struct hm_record *record,
                   struct hm_buf *out, struct hm_error *err);

// A scan gives one record for each entry: twice the same one if two elements of a `multi` index lie in the
// range. Strings longer than 100 bytes (43 to 100 with several fields or long names) are found by equality
// exactly, but from and to look only at that beginning of them.
struct hm_scan; // must end before its read
bool hm_scan_begin(struct hm_read *read, const struct hm_range *range, bool descending,
                   struct hm_str after_key, struct hm_scan **out,
                   struct hm_error *err); // after_key: continue behind this database key, or empty
bool hm_scan_next(struct hm_scan *scan, struct hm_record *out); // false at the end
struct hm_str
hm_scan_key(const struct hm_scan *scan); // database key of the last one: the cursor to continue from
void hm_scan_end(struct hm_scan *scan);

// Every record of every type, in the order of type and id, behind after_key (a database key, see
// hm_record_key; or empty); fn returns false to stop. For the few things that must look at everything.
bool hm_read_every(struct hm_read *read, struct hm_str after_key,
                   bool (*fn)(void *arg, const struct hm_record *record), void *arg, struct hm_error *err);

// Principals "type:id" of the records a person (an id, without "person:") is a member of, in order; fn
// returns false to stop.
bool hm_read_memberships(struct hm_read *read, struct hm_str person,
                         bool (*fn)(void *arg, struct hm_str principal), void *arg, struct hm_error *err);

// ---- change log
// -------------------------------------------------------------------------------------------------
enum hm_action { HM_CREATED = 1, HM_UPDATED, HM_DELETED };
struct hm_change { // borrowed until the read ends, or during the callback
    uint64_t seq, commit;
    int64_t time_ms;
    struct hm_str by, method;
    enum hm_action action;
    struct hm_str type, id;
    struct hm_str audience; // who may see the record after the change (for a deletion: before it)
    struct hm_str lost; // audience before an update, when it differed, and who ceased to be a member: who is
                        // not in `audience` is told "deleted"
    struct hm_str json; // envelope as sent; empty for a deletion
};
// Changes with seq > after, oldest first; fn returns false to stop. seq gaps do not exist.
bool hm_log_read(struct hm_read *read, uint64_t after, bool (*fn)(void *arg, const struct hm_change *change),
                 void *arg, struct hm_error *err);
// Recomputes the whole chain and checks every record and index entry against the type declarations; the first
// fault is named in err. `checked` counts log entries.
bool hm_store_verify(struct hm_store *store, uint64_t *checked, struct hm_error *err);

// ---- writing (commit thread only)
// --------------------------------------------------------------------------------- What a method read, and
// what it intends: the form in which workers send it (script/frames.h) after it has been parsed.
enum hm_space { HM_SPACE_REC, HM_SPACE_IDX, HM_SPACE_MEM };
struct hm_seen { // range when `high.len`, read on the call's snapshot or, if not 0, on that of seq `version`;
                 // else a point: record `type,id` was seen with `version` (0 = absent)
    struct hm_str type, id;
    uint64_t version;
    enum hm_space space;
    struct hm_str low, high; // database keys
};
#define HM_ANY_VERSION UINT64_MAX
struct hm_intent {
    bool remove;
    struct hm_str type, id;
    uint64_t expect;    // version that must be there (0: must not exist), or HM_ANY_VERSION
    struct hm_str data; // JSON object, sealed fields in clear; or {"sealed":true} in place of a field to keep
                        // it as it is
    struct hm_str audience, members; // packed lists
};
struct hm_commit {     // one method call
    uint64_t snapshot; // hm_read_seq of the snapshot it ran on
    const struct hm_seen *seen;
    size_t seen_count;
    const struct hm_intent *intents;
    size_t intent_count;
    struct hm_str by, method;
    int64_t now_ms;
    uint64_t turn;  // of the types it ran under, see hm_store_turn
    bool from_core; // the engine's own call; otherwise only types that are not core, and "invitation", may be
                    // written
    // results, filled by hm_write_apply:
    enum hm_code code; // HM_OK; HM_CONFLICT = run again; HM_PARAMS etc. = refused, see error
    bool duplicate;    // the conflict is a unique index or an unmet `expect`, and was there to be seen on the
                       // snapshot: no race, the method would end the same again
    struct hm_error error;
    uint64_t first_seq, last_seq;
};
struct hm_write;
bool hm_write_begin(struct hm_store *store, struct hm_write **out, struct hm_error *err);
// Validates one call against everything committed since its snapshot and, if it holds, applies it. True when
// the batch can go on (whatever call->code says); false when the transaction is broken (full map, I/O):
// abort, and hm_store_grow if err->cause is HM_CAUSE_MAP_FULL, then apply the whole batch again. Nothing of a
// refused call is left in the batch.
bool hm_write_apply(struct hm_write *write, struct hm_commit *call, struct hm_error *err);
// Commits with one fsync. Only after true may anybody be told. fn (may be NULL) gets every change of the
// batch, in order. The write is gone afterwards, whether true or false. After false, by err->cause:
// HM_CAUSE_MAP_FULL: nothing is stored; hm_store_grow and once more. HM_CAUSE_DISK_FULL: nothing is stored;
// the next may go through. HM_CAUSE_DOUBT: whether it is stored is known when the store has been opened anew.
bool hm_write_commit(struct hm_write *write, void (*fn)(void *arg, const struct hm_change *change), void *arg,
                     struct hm_error *err);
void hm_write_abort(struct hm_write *write);
bool hm_store_grow(struct hm_store *store,
                   struct hm_error *err);              // doubles the map; waits for readers of this process
size_t hm_store_map_max(const struct hm_store *store); // as it was opened with
// Puts a new catalogue's types in force; indexes that changed are rebuilt in the same transaction, and
// nothing is written meanwhile. For a store that is not serving; else see shape.h.
bool hm_store_set_types(struct hm_store *store, struct hm_types *types, struct hm_error *err);

// ---- sealing
// ------------------------------------------------------------------------------------------------------
// Sealed fields are encrypted by hm_write_apply with XChaCha20-Poly1305 (fresh nonce; associated data: type,
// id, field) under the key of the person named by the type's `about` path, made on first use and wrapped by
// the institution's key. Opens one field of a record; the JSON text of the value is appended. HM_UNAVAILABLE
// when the person's key is destroyed.
bool hm_unseal(struct hm_store *store, const struct hm_record *record, struct hm_str field,
               struct hm_buf *out, struct hm_error *err);
// Destroys a person's key for good (durably) and remembers that it was destroyed. May be repeated. The
// keyrings of backup sets are the next step: hm_store_refresh_sets.
bool hm_keyring_destroy(struct hm_store *store, struct hm_str person, struct hm_error *err);

// ---- copies
// ------------------------------------------------------------------------------------------------------- A
// backup set of an institution is a folder: the newest keyring (file `keyring`), and one folder a backup with
// a copy of data/ and its MANIFEST (BLAKE2b of the file, last seq, chain hash). No backup holds a key of its
// own. See set.c. Any thread but one that has an hm_write open.
//
// A consistent copy while serving, as SET/name; SET (a path from the root) is made when missing, remembered,
// and gets the keyring as it is now. The map cannot grow meanwhile.
bool hm_store_backup(struct hm_store *store, const char *set, const char *name, struct hm_error *err);
// Brings the keyrings of all remembered sets up to date, so that a destroyed key is in none of them; durable
// when true. missing (packed list) gets the sets that could not be reached or written.
bool hm_store_refresh_sets(struct hm_store *store, unsigned *refreshed, struct hm_buf *missing,
                           struct hm_error *err);
bool hm_store_forget_set(struct hm_store *store, const char *set,
                         struct hm_error *err); // it is gone for good
struct hm_backup {                              // borrowed during the call
    const char *set, *name;
    int64_t made_ms;
    uint64_t bytes; // of its data; the keyring is the set's
};
// Every backup in the remembered sets that has a manifest, in no order. A set that cannot be read is passed
// over. The sums are not checked.
bool hm_store_each_backup(struct hm_store *store, void (*fn)(void *arg, const struct hm_backup *backup),
                          void *arg, struct hm_error *err);

struct hm_restore {
    const char *set, *to; // `to` must not exist
    const char *name;     // of the backup; NULL: the newest whole one
    uint64_t until_seq;   // 0: not asked for
    int64_t until_ms;     // 0: not asked for
    // results
    char taken[65]; // the backup
    uint64_t seq;   // last change in it; with `until` 0: there was nothing yet, nothing is made
    int64_t time_ms, next_time_ms; // of it, and of the first change left out; 0 when not known
    unsigned destroyed;            // persons whose key had been destroyed by the time of the set's keyring
};
// Checks the sums of a backup and lays it at `to` with the set's keyring and a new epoch. With `until` the
// state after that change or at that time (as the log tells times; whole calls only) is built from the change
// log, which goes on from there. `to` gets a file `erasing` with a line {"person":id} for each destroyed key:
// the records of those persons are as old as the backup.
bool hm_store_restore(struct hm_restore *restore, struct hm_error *err);
