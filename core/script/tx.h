// What one call reads and means to write: a snapshot of the store, the call's own writes laid over it, and
// the read set from which the server decides whether the call may be committed. Knows nothing of Lua.
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include "store/store.h"

#define HM_POINTS_MAX 2000 // of one type; beyond it the whole type counts as read

struct hm_tx;
struct hm_tx_scan;

// store NULL: nothing is there but the call's own writes (tests of plugins). types: borrowed until the end.
struct hm_tx *hm_tx_new(void);
void hm_tx_free(struct hm_tx *tx);
bool hm_tx_begin(struct hm_tx *tx, struct hm_store *store, const struct hm_types *types, size_t bytes_max,
                 struct hm_error *err);
void hm_tx_end(struct hm_tx *tx); // ends scans and snapshot, forgets everything; harmless when none is open
uint64_t hm_tx_serial(
    const struct hm_tx *tx); // another after every end: what a script kept of an ended one is not used again
uint64_t hm_tx_snapshot(const struct hm_tx *tx);
size_t hm_tx_writes(const struct hm_tx *tx); // records the call means to change

// What is visible: record borrowed until the next write or the end. data has sealed fields in clear only when
// this call wrote them itself (own = true); else they are {"sealed":true}. version is that of the stored
// record (0: made in this call).
struct hm_view {
    struct hm_record record;
    bool own;
};
// HM_NOT_FOUND when absent.
bool hm_tx_get(struct hm_tx *tx, struct hm_str type, struct hm_str id, struct hm_view *out,
               struct hm_error *err);
// Creates or replaces. data is JSON; audience and members packed. HM_CONFLICT: `create` and it is there
// already.
struct hm_write_args {
    struct hm_str type, id, data, audience, members, by;
    int64_t now_ms;
    bool create;
};
bool hm_tx_put(struct hm_tx *tx, const struct hm_write_args *args, struct hm_error *err);
bool hm_tx_delete(struct hm_tx *tx, struct hm_str type, struct hm_str id,
                  struct hm_error *err); // HM_NOT_FOUND

// Principals "type:id" of the call's own records that the person is a member of (for tests, where there is
// nothing else).
void hm_tx_memberships(struct hm_tx *tx, const char *person,
                       void (*fn)(void *arg, struct hm_str type, struct hm_str id), void *arg);

// Walks an index (NULL: the type by id) with the call's own writes in their places. A record that is written
// while the walk goes on is met where it stood when the walk began, or not at all when it has left that
// place: a walk always comes to an end. points: what is found is read, not only counted.
struct hm_tx_range {
    const struct hm_type *type;
    const struct hm_index *index;
    struct hm_json equals, from, to; // raw.len 0: none
    bool descending, points;
    struct hm_str
        after; // database key to go on behind (hm_tx_scan_key), or empty; HM_PARAMS outside of the range
};
bool hm_tx_scan_begin(struct hm_tx *tx, const struct hm_tx_range *range, struct hm_tx_scan **out,
                      struct hm_error *err);
bool hm_tx_scan_next(struct hm_tx_scan *scan, struct hm_view *out); // false at the end
struct hm_str hm_tx_scan_key(const struct hm_tx_scan *scan);        // of the last one given
void hm_tx_scan_end(struct hm_tx_scan *scan);                       // also done by hm_tx_end

// Appends "u32 n × seen, u32 n × intent" of HM_F_RESULT.
void hm_tx_write_result(struct hm_tx *tx, bool with_intents, struct hm_buf *out);
// The intents as a JSON array, for a try: [{"action","type","id","before","after","audience",
// "audience_before"}, …], `most` of them at most; gives how many there are. Sealed fields are
// {"sealed":true}. Who is told what of it the server decides, by the audiences.
size_t hm_tx_changes_json(struct hm_tx *tx, size_t most, struct hm_buf *out);
// From now on the call sees the store as it was after change `seq` (past.c). Right behind hm_tx_begin.
bool hm_tx_back_to(struct hm_tx *tx, uint64_t seq, struct hm_error *err);
bool hm_tx_go_back(struct hm_tx *tx, struct hm_read *read, const struct hm_types *types, uint64_t seq,
                   struct hm_error *err);
// A record as it stood then; there: false when it did not. Copied.
void hm_tx_past_record(struct hm_tx *tx, const struct hm_record *record, bool there);
