// The one writer: what method calls read and intend, checked against everything committed since and applied
// in a batch with one fsync. Commit thread only.
//
// A call is planned completely before the first byte of it is written (plan.c), so a refused call leaves
// nothing behind. What it read still holds at its place in the batch: each record seen has the version seen,
// and no key appeared in or went from a range seen. So the batch is a serial order.
#include "store/write.h"
#include "store/shape.h"
#include <assert.h>
#include <stdlib.h>

bool hm_write_begin(struct hm_store *store, struct hm_write **out, struct hm_error *err) {
    *out = NULL;
    if (store->read_only) return hm_fail(err, HM_INTERNAL, "%s is open read-only", store->dir);
    assert(!store->write);
    if (!hm_store_sound(store, err)) return false;
    hm_store_grow_ahead(store);
    struct hm_write *w = hm_alloc(sizeof *w);
    int rc = mdb_txn_begin(store->env, NULL, 0, &w->txn);
    if (rc) {
        free(w);
        return hm_mdb_fail(err, rc, store->dir, "begin to write");
    }
    w->store = store;
    w->types = hm_store_types(store);
    hm_buf_str(&w->turned, hm_turned(store, w->txn)); // its page may change below
    w->seq = store->seq;
    memcpy(w->hash, store->hash, HM_HASH);
    store->write = w;
    *out = w;
    return true;
}

// Forgets the batch; the transaction has ended already or is ended here.
static void end_write(struct hm_write *w) {
    if (w->txn) mdb_txn_abort(w->txn);
    w->store->write = NULL;
    hm_new_keys_free(w->new_keys);
    hm_types_unref(w->types);
    hm_types_unref(w->forced);
    hm_buf_free(&w->turned);
    hm_buf_free(&w->entries);
    hm_buf_free(&w->arena);
    hm_buf_free(&w->scratch);
    hm_buf_free(&w->sealed);
    free(w->plans);
    free(w->ops);
    free(w);
}

void hm_write_abort(struct hm_write *write) {
    if (!write) return;
    hm_touched_abort(&write->store->touched);
    end_write(write);
}

// ---- what the call read
// ------------------------------------------------------------------------------------------------

bool hm_write_record(struct hm_write *w, struct hm_str type, struct hm_str id, struct hm_record *out,
                     bool *found, struct hm_error *err) {
    MDB_val v;
    *found = false;
    hm_buf_clear(&w->scratch);
    hm_record_key(type, id, &w->scratch);
    if (w->scratch.len > HM_KEY_MAX) return true;
    MDB_val k = hm_val(hm_buf_view(&w->scratch));
    int rc = mdb_get(w->txn, w->store->rec, &k, &v);
    if (rc == MDB_NOTFOUND) return true;
    if (rc) return hm_mdb_fail(err, rc, w->store->dir, "read");
    if (!hm_record_decode(hm_val_str(v), out))
        return hm_fail(err, HM_INTERNAL, "%s: a damaged record of type %.*s", w->store->dir, (int)type.len,
                       type.ptr);
    hm_turned_find(w->store, w->txn, hm_buf_view(&w->turned), hm_val_str(k), out);
    *found = true;
    return true;
}

static bool refuse(struct hm_commit *call, enum hm_code code, const char *message) {
    call->code = code;
    hm_fail(&call->error, code, "%s", message);
    return true;
}

// The core's types are never rebuilt by a catalogue.
static bool of_core(const struct hm_write *w, struct hm_str key) {
    const char *end = key.len ? memchr(key.ptr, 0, key.len) : NULL;
    const struct hm_type *type =
        end ? hm_types_find(w->types, (struct hm_str){key.ptr, (size_t)(end - key.ptr)}) : NULL;
    return type && type->core;
}

// Sets call->code to HM_CONFLICT when something read has changed; false for a failure of the database.
static bool check_seen(struct hm_write *w, struct hm_commit *call, struct hm_error *err) {
    for (size_t i = 0; i < call->seen_count; i++) {
        const struct hm_seen *s = &call->seen[i];
        if (s->high.len) {
            uint64_t since = s->version ? s->version : call->snapshot;
            bool rebuilt = s->space == HM_SPACE_IDX && since <= w->store->types_seq &&
                           w->seq > w->store->types_seq && !of_core(w, s->low);
            if (!rebuilt && !hm_touched_since(&w->store->touched, since, s->space, s->low, s->high)) continue;
            return refuse(call, HM_CONFLICT, "a range that was read has changed");
        }
        struct hm_record now;
        bool found;
        if (!hm_write_record(w, s->type, s->id, &now, &found, err)) return false;
        if ((found ? now.version : 0) != s->version)
            return refuse(call, HM_CONFLICT, "a record that was read has changed");
    }
    return true;
}

// A call that ran before the types changed made its records as they were then, and the ranges it read may be
// of indexes that nobody keeps up any more. Always true.
static bool check_turn(struct hm_write *w, struct hm_commit *call) {
    bool plugins = !call->from_core;
    if (call->turn == hm_store_turn(w->store)) return true;
    for (size_t i = 0; i < call->intent_count && !plugins; i++) {
        const struct hm_type *type = hm_types_find(w->types, call->intents[i].type);
        plugins = !type || !type->core;
    }
    if (plugins) return refuse(call, HM_CONFLICT, "what records look like has changed since the call ran");
    return true;
}

// ---- writing a planned call
// ---------------------------------------------------------------------------------------------

static struct hm_str in_arena(const struct hm_write *w, struct hm_span span) {
    return (struct hm_str){w->arena.data + span.at, span.len};
}

static int write_entry(struct hm_write *w, const struct hm_plan *p) {
    uint8_t key[8], next[HM_HASH];
    struct hm_str entry = in_arena(w, p->entry);
    hm_log_key(p->seq, key);
    hm_chain(w->hash, entry, next);
    MDB_val k = {sizeof key, key}, v = {entry.len + HM_HASH, NULL};
    int rc = mdb_put(w->txn, w->store->log, &k, &v, MDB_APPEND | MDB_RESERVE);
    if (rc) return rc;
    memcpy(v.mv_data, entry.ptr, entry.len);
    memcpy((char *)v.mv_data + entry.len, next, HM_HASH);
    memcpy(w->hash, next, HM_HASH);
    w->seq = p->seq;
    hm_put_str(&w->entries, entry);
    return 0;
}

int hm_write_plan(struct hm_write *w, const struct hm_plan *p) {
    struct hm_str key = in_arena(w, p->key);
    MDB_val k = hm_val(key), v = hm_val(in_arena(w, p->value));
    int rc = p->remove ? mdb_del(w->txn, w->store->rec, &k, NULL) : mdb_put(w->txn, w->store->rec, &k, &v, 0);
    return rc ? rc : write_entry(w, p);
}

static int write_op(struct hm_write *w, const struct hm_key_op *op) {
    MDB_dbi dbi = op->space == HM_SPACE_IDX    ? w->store->idx
                  : op->space == HM_SPACE_NEXT ? w->store->next
                                               : w->store->mem;
    MDB_val k = hm_val(in_arena(w, op->key)), v = {0, (void *)""};
    if (op->add && op->coming) {
        int rc = hm_coming_unique(w, op->coming, op->type->name, in_arena(w, op->key), op->id_len);
        if (rc) return rc;
    }
    if (op->add) return mdb_put(w->txn, dbi, &k, &v, 0);
    int rc = mdb_del(w->txn, dbi, &k, NULL);
    return rc == MDB_NOTFOUND ? 0 : rc; // an index that lacks it already is for hm_store_verify to tell
}

static int write_call(struct hm_write *w, struct hm_commit *call) {
    int rc = 0;
    for (size_t i = 0; i < w->plan_count && !rc; i++)
        rc = hm_write_plan(w, &w->plans[i]);
    // What goes first: values of a coming unique index may change hands within the call.
    for (size_t i = 0; i < w->op_count && !rc; i++)
        if (!w->ops[i].add) rc = write_op(w, &w->ops[i]);
    for (size_t i = 0; i < w->op_count && !rc; i++)
        if (w->ops[i].add) rc = write_op(w, &w->ops[i]);
    if (rc) return rc;
    struct hm_touched *t = &w->store->touched;
    for (size_t i = 0; i < w->plan_count; i++)
        hm_touched_add(t, HM_SPACE_REC, in_arena(w, w->plans[i].key));
    for (size_t i = 0; i < w->op_count; i++)
        if (w->ops[i].space != HM_SPACE_NEXT) hm_touched_add(t, w->ops[i].space, in_arena(w, w->ops[i].key));
    hm_touched_end_call(t);
    if (w->plan_count) {
        call->first_seq = w->plans[0].seq;
        call->last_seq = w->plans[w->plan_count - 1].seq;
    }
    return 0;
}

bool hm_write_apply(struct hm_write *write, struct hm_commit *call, struct hm_error *err) {
    call->code = HM_OK;
    call->duplicate = false;
    memset(&call->error, 0, sizeof call->error);
    call->first_seq = call->last_seq = 0;
    write->plan_count = write->op_count = 0;
    hm_buf_clear(&write->arena);
    if (write->broken) return hm_fail(err, HM_INTERNAL, "%s: the batch is broken already", write->store->dir);
    bool ok = check_turn(write, call);
    if (call->code == HM_OK) ok = check_seen(write, call, err);
    if (ok && call->code == HM_OK) ok = hm_plan_call(write, call, err);
    if (ok && call->code == HM_OK) {
        int rc = write_call(write, call);
        if (rc) ok = hm_mdb_fail(err, rc, write->store->dir, "write");
    }
    if (!ok) write->broken = true;
    return ok;
}

// ---- the end of a batch
// -----------------------------------------------------------------------------------------------

static void tell(struct hm_write *w, void (*fn)(void *arg, const struct hm_change *change), void *arg) {
    struct hm_reader in = hm_reader_of(hm_buf_view(&w->entries));
    while (fn && in.at < in.end) {
        struct hm_entry e;
        bool ok = hm_entry_decode(hm_get_str(&in), &e);
        assert(ok);
        if (!ok) return;
        hm_change_hide(w->types, &e.change);
        fn(arg, &e.change);
    }
}

bool hm_write_commit(struct hm_write *write, void (*fn)(void *arg, const struct hm_change *change), void *arg,
                     struct hm_error *err) {
    struct hm_write *w = write;
    struct hm_store *store = w->store;
    bool ok = !w->broken || hm_fail(err, HM_INTERNAL, "%s: a broken batch cannot be committed", store->dir);
    struct hm_buf head = {0};
    if (!ok || (w->seq == store->seq && !w->forced && !w->settled)) { // nothing was written
        hm_write_abort(w);
        return ok;
    }
    // A key must be on disk before what is sealed with it.
    struct hm_error why = {0};
    ok = hm_keyring_store(store->keyring, w->new_keys, &why);
    if (!ok) {
        if (why.cause != HM_CAUSE_DISK_FULL) atomic_store(&store->doubt, true);
        if (err) *err = why;
    } else {
        hm_put_u64(&head, w->seq);
        hm_buf_add(&head, w->hash, HM_HASH);
        int rc = hm_meta_put(store, w->txn, "head", hm_buf_view(&head));
        if (!rc) {
            rc = hm_commit_txn(store, w->txn);
            w->txn = NULL; // ended, whatever came of it
        }
        if (rc) ok = hm_mdb_fail(err, rc, store->dir, "commit");
    }
    if (!ok && hm_store_in_doubt(store)) hm_fail_cause(err, HM_CAUSE_DOUBT);
    if (ok) {
        bool wrote = w->seq != store->seq;
        store->seq = w->seq;
        memcpy(store->hash, w->hash, HM_HASH);
        if (wrote) hm_touched_commit(&store->touched, w->seq);
        hm_write_forced(w);
        tell(w, fn, arg);
        end_write(w);
    } else {
        hm_write_abort(w);
    }
    hm_buf_free(&head);
    return ok;
}
