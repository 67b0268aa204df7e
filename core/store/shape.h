// Records that change their shape while they are served: the door for what core/engine/reshape.c does.
//
// What a new declaration needs, the keys of its indexes and the records in their new form, is laid beside
// what is in force, in steps; meanwhile every write keeps both right. hm_write_force then puts all of it in
// force in one transaction, and hm_write_settle writes the new forms into the records and the change log,
// again in steps; until then every read gives them already. So a snapshot shows a type's records all in the
// old form or all in the new. Commit thread, where nothing else is said; every function here is one
// transaction or part of an open hm_write, and grows the map by itself.
#pragma once
#include "base/id.h"
#include "store/store.h"

// Begins. turned (packed names): types whose records somebody looks at one by one, see hm_shape_put; of the
// others only indexes are built. HM_CONFLICT while something of an earlier change is still to be done. What
// was begun and not put in force before the server ended is given up by the next opening.
// todo (packed) gets the names of the types that have records to be looked at or put into indexes.
bool hm_shape_begin(struct hm_store *store, struct hm_types *coming, struct hm_str turned,
                    struct hm_buf *todo, struct hm_error *err);
// A type that is not turned, `count` records of it behind the id `after` (in out: where it came to); *more:
// false when it is done. HM_CONFLICT: two records would share a value of a unique index; both are named.
bool hm_shape_build(struct hm_store *store, struct hm_str type, char after[HM_ID_MAX + 1], unsigned *count,
                    bool *more, struct hm_error *err);
struct hm_shape_item { // a record in its new form
    struct hm_str id, data;
};
struct hm_shape_step {
    struct hm_str type;
    uint64_t snapshot; // that the records were looked at on; what was written since is looked at again
    bool listed;       // these `ids` (packed); else all behind `after` up to `upto`, or (empty) to the end
    struct hm_str ids, after, upto;
    const struct hm_shape_item *items; // in the order of the ids; whatever is not here stays as it is
    size_t count;
};
bool hm_shape_put(struct hm_store *store, const struct hm_shape_step *step, struct hm_error *err);
// Up to `most` records (packed: type, id by turns) that were written since they were looked at. Any thread.
bool hm_shape_stale(struct hm_store *store, size_t most, struct hm_buf *out, struct hm_error *err);
// Types that have records, in order; and how many a type has, counted up to `most`. Any thread.
bool hm_shape_each_type(struct hm_read *read, void (*fn)(void *arg, struct hm_str type), void *arg,
                        struct hm_error *err);
size_t hm_shape_count(struct hm_read *read, struct hm_str type, size_t most);

bool hm_shape_drop(struct hm_store *store, struct hm_error *err); // given up; harmless when there is nothing
// What is to be done after that, however it ended: settle (in writes), tidy (away with what is not needed).
struct hm_shape_rest {
    bool settle, tidy;
};
struct hm_shape_rest hm_shape_rest(struct hm_store *store); // any thread
bool hm_shape_tidy(struct hm_store *store, size_t most, struct hm_error *err);

// In an open write, behind the call that goes with it: puts the types in force. Without hm_shape_begin all
// that is to be built is built in this transaction. HM_CONFLICT: something was written since and must be
// looked at, or a unique index does not hold.
bool hm_write_force(struct hm_write *write, struct hm_types *types, struct hm_error *err);
// Writes up to `most` records in their new form, by those who wrote them last, as changes of the method
// "$upgrade", which no plugin can have.
#define HM_UPGRADE "$upgrade"
bool hm_write_settle(struct hm_write *write, size_t most, int64_t now_ms, struct hm_error *err);
// Goes up with each hm_write_force that changed what records or indexes look like. A call (hm_commit.turn)
// that changes records of plugins and ran under another one is a conflict: it runs again.
uint64_t hm_store_turn(const struct hm_store *store);
