// What is being prepared beside what is in force: shared by shape.c, which prepares it, and turn.c, which
// puts it in force. Commit thread.
#pragma once
#include "store/internal.h"

#define STALE '\1' // before the names of all types

struct coming_type {
    const struct hm_type *type;
    bool fresh[HM_INDEXES_MAX]; // these indexes are built
    bool turned, built;
};
struct hm_coming {
    struct hm_types *types;
    struct coming_type *list;
    size_t count;
    bool broken; // a unique index does not hold for what was written since
    struct hm_error why;
};

int hm_meta_drop(struct hm_store *store, MDB_txn *txn, const char *name); // with the sum beside it
// A copy: the page of the value may change.
void hm_meta_copy(struct hm_store *store, MDB_txn *txn, const char *name, struct hm_buf *out);
