// An open batch, shared by write.c and plan.c only. Commit thread.
#pragma once
#include "store/internal.h"

struct hm_span { // a part of hm_write.arena, which moves as it grows
    size_t at, len;
};
struct hm_plan { // what one intent will do to its record
    bool remove;
    uint64_t seq;
    struct hm_span key, value, entry; // record key, stored record, log entry
};
struct hm_key_op { // one index or member key that comes or goes
    enum hm_space space;
    bool add;
    const struct hm_type *type;
    const struct hm_index *index; // the unique index it must be alone in, or NULL
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
    bool broken;           // the transaction failed: only abort
    struct hm_buf entries; // log entries of the batch, each with its length, to be told after the commit
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
bool hm_plan_call(struct hm_write *w, struct hm_commit *call, struct hm_error *err);
