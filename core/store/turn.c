// What was prepared (shape.c) comes into force, in one transaction with whatever goes with it; afterwards
// records are written in their new form, in steps, each a change of the log. Commit thread.
#include "store/coming.h"
#include "store/shape.h"
#include "store/write.h"

uint64_t hm_store_turn(const struct hm_store *store) {
    return atomic_load(&store->turn);
}

// ---- in force
// ------------------------------------------------------------------------------------------------------------

static bool ready(struct hm_write *w, const struct hm_coming *c, struct hm_error *err) {
    MDB_cursor *cursor = NULL;
    MDB_val k = {0}, v;
    if (c->broken) {
        if (err) *err = c->why;
        return false;
    }
    for (size_t i = 0; i < c->count; i++)
        if (!c->list[i].built)
            return hm_fail(err, HM_INTERNAL, "type %s is not prepared to its end", c->list[i].type->name);
    int rc = mdb_cursor_open(w->txn, w->store->next, &cursor);
    if (!rc) rc = mdb_cursor_get(cursor, &k, &v, MDB_FIRST);
    bool stale = !rc && *(const char *)k.mv_data == STALE;
    if (cursor) mdb_cursor_close(cursor);
    if (stale) return hm_fail(err, HM_CONFLICT, "records were written since they were looked at");
    return !rc || rc == MDB_NOTFOUND || hm_mdb_fail(err, rc, w->store->dir, "read");
}

// Lines of indexes in force that are so no more are to go.
static int go(struct hm_write *w, struct hm_str before, struct hm_str now) {
    struct hm_buf going = {0};
    struct hm_str line;
    hm_meta_copy(w->store, w->txn, "going", &going);
    while (hm_next_line(&before, &line))
        if (!hm_has_line(now, line)) hm_buf_str(&going, line);
    int rc = going.len ? hm_meta_put(w->store, w->txn, "going", hm_buf_view(&going)) : 0;
    hm_buf_free(&going);
    return rc;
}

static int turn(struct hm_write *w, const struct hm_coming *c) {
    MDB_stat stat;
    int rc = mdb_stat(w->txn, w->store->next, &stat);
    hm_buf_clear(&w->turned);
    for (size_t i = 0; i < c->count && !rc && stat.ms_entries; i++)
        if (c->list[i].turned) hm_packed_add(&w->turned, hm_str_of(c->list[i].type->name));
    if (!rc && w->turned.len) rc = hm_meta_put(w->store, w->txn, "turned", hm_buf_view(&w->turned));
    return rc ? rc : hm_meta_drop(w->store, w->txn, "coming");
}

bool hm_write_force(struct hm_write *w, struct hm_types *types, struct hm_error *err) {
    struct hm_coming *c = w->store->coming;
    struct hm_buf before = {0}, now = {0};
    bool ok = true, changed = false;
    if (c && !hm_str_eq(hm_types_json(c->types), hm_types_json(types)))
        return hm_fail(err, HM_CONFLICT, "other types are being prepared");
    if (c && !ready(w, c, err)) return false;
    int rc = hm_meta_put(w->store, w->txn, "types", hm_types_json(types));
    if (!rc && !c) {
        ok = hm_indexes_rebuild(w->store, w->txn, types, &changed, err);
    } else if (!rc) {
        hm_meta_copy(w->store, w->txn, "indexes", &before);
        hm_index_lines(types, &now);
        changed = true;
        rc = go(w, hm_buf_view(&before), hm_buf_view(&now));
        if (!rc) rc = hm_meta_put(w->store, w->txn, "indexes", hm_buf_view(&now));
        if (!rc) rc = turn(w, c);
    }
    hm_buf_free(&before);
    hm_buf_free(&now);
    if (!ok || rc) {
        w->broken = true;
        return ok && hm_mdb_fail(err, rc, w->store->dir, "put the types in force");
    }
    // Calls that ran by types that are gone must find out by running again.
    for (size_t i = 0; i < hm_types_count(w->types) && !changed; i++)
        changed = !hm_types_find(types, hm_str_of(hm_types_at(w->types, i)->name));
    w->forced = hm_types_ref(types);
    w->turns = changed;
    return true;
}

void hm_write_forced(struct hm_write *w) {
    struct hm_store *store = w->store;
    if (!w->forced) return;
    hm_coming_free(store);
    if (w->turns) atomic_fetch_add(&store->turn, 1);
    pthread_mutex_lock(&store->types_lock);
    struct hm_types *old = store->types;
    store->types = hm_types_ref(w->forced);
    pthread_mutex_unlock(&store->types_lock);
    hm_types_unref(old);
    hm_types_unref(w->types); // what is told now is told by the new ones
    w->types = hm_types_ref(w->forced);
}

// ---- settling
// ------------------------------------------------------------------------------------------------------------

static struct hm_span keep(struct hm_write *w, struct hm_str bytes) {
    struct hm_span span = {w->arena.len, bytes.len};
    hm_buf_str(&w->arena, bytes);
    return span;
}

// Who wrote it and when stays; it is another change of it only for the log.
static void settle_plan(struct hm_write *w, struct hm_str key, const struct hm_record *made,
                        struct hm_plan *plan) {
    struct hm_buf json = {0}, bytes = {0};
    struct hm_record now = *made;
    size_t at = 0;
    *plan = (struct hm_plan){.seq = w->seq + 1};
    now.version = plan->seq;
    hm_envelope(&now, &json, &at);
    now.json = hm_buf_view(&json);
    now.data = (struct hm_str){json.data + at, made->data.len};
    hm_record_encode(&now, &bytes);
    hm_buf_clear(&w->arena);
    plan->key = keep(w, key);
    plan->value = keep(w, hm_buf_view(&bytes));
    struct hm_entry e = {.change = {.seq = plan->seq,
                                    .commit = plan->seq,
                                    .time_ms = w->settle_ms,
                                    .by = now.by,
                                    .method = HM_LIT(HM_UPGRADE),
                                    .action = HM_UPDATED,
                                    .type = now.type,
                                    .id = now.id,
                                    .audience = now.audience,
                                    .json = now.json},
                         .members = now.members,
                         .sealed = now.sealed,
                         .form = now.form};
    hm_buf_clear(&bytes);
    hm_entry_encode(&e, &bytes);
    plan->entry = keep(w, hm_buf_view(&bytes));
    hm_buf_free(&json);
    hm_buf_free(&bytes);
}

static int settle_one(struct hm_write *w, MDB_val k, MDB_val v) {
    struct hm_buf key = {0};
    struct hm_record made, stored;
    struct hm_plan plan;
    hm_buf_str(&key, hm_val_str(k));
    bool fits = hm_record_decode(hm_val_str(v), &made);
    k = hm_val(hm_buf_view(&key));
    MDB_val old;
    int rc = mdb_get(w->txn, w->store->rec, &k, &old);
    fits = fits && !rc && hm_record_decode(hm_val_str(old), &stored) && stored.version == made.version;
    if (rc == MDB_NOTFOUND) rc = 0;
    if (!rc && fits) {
        settle_plan(w, hm_buf_view(&key), &made, &plan);
        rc = hm_write_plan(w, &plan);
        hm_touched_add(&w->store->touched, HM_SPACE_REC, hm_buf_view(&key));
        hm_touched_end_call(&w->store->touched);
    }
    if (!rc) rc = mdb_del(w->txn, w->store->next, &k, NULL);
    hm_buf_free(&key);
    return rc;
}

bool hm_write_settle(struct hm_write *w, size_t most, int64_t now_ms, struct hm_error *err) {
    MDB_cursor *cursor = NULL;
    MDB_val k = {0}, v;
    int rc = 0;
    if (!w->turned.len) return true;
    w->settle_ms = now_ms;
    for (; most && !rc; most--) {
        if ((rc = mdb_cursor_open(w->txn, w->store->next, &cursor)) != 0) break;
        rc = mdb_cursor_get(cursor, &k, &v, MDB_FIRST);
        mdb_cursor_close(cursor); // it would stand on a page that is written
        if (!rc) rc = settle_one(w, k, v);
    }
    if (rc == MDB_NOTFOUND) { // all of them are written
        hm_buf_clear(&w->turned);
        rc = hm_meta_drop(w->store, w->txn, "turned");
        w->settled = true;
    }
    if (!rc) return true;
    w->broken = true;
    return hm_mdb_fail(err, rc, w->store->dir, "write records in their new form");
}
