// An open batch, shared by write.c and plan.c only. Commit thread.
#pragma once
#include "store/internal.h"

struct hm_span { // a part of hm_write.arena, which moves as it grows
    size_t at, len;
};
#define HM_SPACE_NEXT ((enum hm_space)3) // keys of `next`, see shape.c; nobody reads ranges of it

struct hm_plan { // what one intent will do to its record
    bool remove;
    uint64_t seq;
    struct hm_span key, value, entry; // record key, stored record, log entry
};
struct hm_key_op { // one index or member key that comes or goes
    enum hm_space space;
    bool add;
    const struct hm_type *type;
    const struct hm_index *index;  // the unique index it must be alone in, or NULL
    const struct hm_index *coming; // the same of one that is prepared: a fault is its own, not the call's
    struct hm_span key;
    size_t id_len;
};
struct hm_write {
    struct hm_store *store;
    MDB_txn *txn;
    struct hm_types *types; // own reference
    struct hm_new_keys *new_keys;
    uint64_t seq; // last change of the batch
    uint8_t hash[HM_HASH];
    bool broken;             // the transaction failed: only abort
    struct hm_buf turned;    // see hm_turned
    struct hm_types *forced; // own reference: in force once the batch is committed
    int64_t settle_ms;       // see hm_write_settle
    bool settled;            // the last of it is in this batch
    bool turns;              // and what records or indexes look like has changed
    struct hm_buf entries;   // log entries of the batch, each with its length, to be told after the commit
    // the call being applied
    struct hm_buf arena, scratch, sealed;
    struct hm_plan *plans;
    size_t plan_count, plan_cap;
    struct hm_key_op *ops;
    size_t op_count, op_cap;
};
// The record as it stands in the batch; borrowed until the next write.
bool hm_write_record(struct hm_write *w, struct hm_str type, struct hm_str id, struct hm_record *out,
                     bool *found, struct hm_error *err);
// Checks every intent and fills plans and ops; a refusal is in call->code. False for a failure of the
// database.
int hm_write_plan(struct hm_write *w, const struct hm_plan *p);
void hm_write_diff(struct hm_write *w, struct hm_str before, struct hm_str after,
                   const struct hm_key_op *model);
bool hm_plan_call(struct hm_write *w, struct hm_commit *call, struct hm_error *err);
