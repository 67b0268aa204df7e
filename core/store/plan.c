// From intents to the exact keys and bytes to write, with every check, before anything is written. Intents
// come from a worker and are read as if an enemy had sent them. Commit thread only.
#include "store/write.h"
#include <stdlib.h>

// A refusal ends the planning of the call, not the batch.
#define refuse(call, why, ...) ((call)->code = (why), hm_fail(&(call)->error, (why), __VA_ARGS__))

struct planning {
    struct hm_write *write;
    struct hm_commit *call;
    struct hm_error *err; // of the database; untouched by refusals
    bool failed;          // the database failed
};

static struct hm_str view(const struct hm_write *w, struct hm_span span) {
    return (struct hm_str){w->arena.data + span.at, span.len};
}

static struct hm_span store_bytes(struct hm_write *w, struct hm_str bytes) {
    struct hm_span span = {w->arena.len, bytes.len};
    hm_buf_str(&w->arena, bytes);
    return span;
}

// ---- checks of form
// -----------------------------------------------------------------------------------------------------

static bool principal_valid(struct hm_str p) {
    if (p.len < 1 || p.len > HM_PRINCIPAL_MAX || !hm_utf8_valid(p)) return false;
    for (size_t i = 0; i < p.len; i++)
        if ((uint8_t)p.ptr[i] < 0x20 || p.ptr[i] == 0x7f) return false;
    return true;
}

static bool packed_valid(struct hm_str packed, size_t max) {
    struct hm_str item;
    size_t count = 0;
    while (hm_packed_next(&packed, &item))
        if (!principal_valid(item) || ++count > max) return false;
    return packed.len == 0;
}

static bool type_writable(struct hm_commit *call, const struct hm_type *type, struct hm_str name) {
    if (!type)
        return refuse(call, HM_PARAMS, "no record type \"%.*s\"", (int)(name.len > 64 ? 64 : name.len),
                      name.ptr);
    if (type->core && !call->from_core && strcmp(type->name, "invitation") != 0)
        return refuse(call, HM_FORBIDDEN, "records of type %s are written by the core only", type->name);
    return true;
}

static bool form_valid(struct hm_commit *call, const struct hm_intent *in, const struct hm_type *type,
                       struct hm_json *data) {
    struct hm_error why = {0};
    if (!hm_id_valid(in->id)) return refuse(call, HM_PARAMS, "%s: not a valid record id", type->name);
    if (in->remove) return true;
    if (in->data.len > HM_DATA_MAX)
        return refuse(call, HM_TOO_LARGE, "%s: data has %zu bytes, %u are allowed", type->name, in->data.len,
                      HM_DATA_MAX);
    if (!hm_json_parse(in->data, data, &why))
        return refuse(call, HM_PARAMS, "%s: data: %s", type->name, why.message);
    if (data->kind != HM_JSON_OBJECT) return refuse(call, HM_PARAMS, "%s: data is not an object", type->name);
    if (!packed_valid(in->audience, HM_AUDIENCE_MAX))
        return refuse(call, HM_PARAMS,
                      "%s: audience must be up to %d texts of 1 to %d bytes without control characters",
                      type->name, HM_AUDIENCE_MAX, HM_PRINCIPAL_MAX);
    if (!packed_valid(in->members, HM_MEMBERS_MAX))
        return refuse(call, HM_PARAMS,
                      "%s: members must be up to %d texts of 1 to %d bytes without control characters",
                      type->name, HM_MEMBERS_MAX, HM_PRINCIPAL_MAX);
    return true;
}

static int by_record(const void *a, const void *b) {
    const struct hm_intent *x = *(const struct hm_intent *const *)a, *y = *(const struct hm_intent *const *)b;
    int order = hm_str_cmp(x->type, y->type);
    return order ? order : hm_str_cmp(x->id, y->id);
}

static bool no_record_twice(struct hm_commit *call) {
    if (call->intent_count < 2) return true;
    const struct hm_intent **sorted = hm_alloc_array(call->intent_count, sizeof *sorted);
    bool ok = true;
    for (size_t i = 0; i < call->intent_count; i++)
        sorted[i] = &call->intents[i];
    qsort(sorted, call->intent_count, sizeof *sorted, by_record);
    for (size_t i = 1; i < call->intent_count && ok; i++)
        if (by_record(&sorted[i - 1], &sorted[i]) == 0)
            ok = refuse(call, HM_PARAMS, "one call changes a record of type %.*s twice",
                        (int)(sorted[i]->type.len > 64 ? 64 : sorted[i]->type.len), sorted[i]->type.ptr);
    free(sorted);
    return ok;
}

// Whether the record is where the intent wants it. A record that was like this already when the method ran is
// no race: running again would end the same.
static bool expectation_met(struct hm_commit *call, const struct hm_intent *in, const struct hm_type *type,
                            const struct hm_record *old) {
    uint64_t version = old ? old->version : 0;
    if (in->expect == HM_ANY_VERSION || in->expect == version) return true;
    call->duplicate = version <= call->snapshot || call->snapshot == 0;
    if (in->expect == 0)
        return refuse(call, HM_CONFLICT, "a record of type %s with this id exists already", type->name);
    return refuse(call, HM_CONFLICT, "a record of type %s is not at the expected version", type->name);
}

// ---- keys that come and go
// ------------------------------------------------------------------------------------------------

static struct hm_key_op *new_op(struct hm_write *w) {
    if (w->op_count == w->op_cap) {
        w->op_cap = w->op_cap ? w->op_cap * 2 : 64;
        w->ops = hm_realloc(w->ops, w->op_cap * sizeof *w->ops);
    }
    struct hm_key_op *op = &w->ops[w->op_count++];
    memset(op, 0, sizeof *op);
    return op;
}

static void add_op(struct hm_write *w, bool add, struct hm_str key, const struct hm_key_op *model) {
    struct hm_span span = store_bytes(w, key);
    struct hm_key_op *op = new_op(w);
    *op = *model;
    op->add = add;
    op->key = span;
}

// Two sorted packed lists: what is only in the first goes, what is only in the second comes.
void hm_write_diff(struct hm_write *w, struct hm_str before, struct hm_str after,
                   const struct hm_key_op *model) {
    struct hm_str a, b;
    bool has_a = hm_packed_next(&before, &a), has_b = hm_packed_next(&after, &b);
    while (has_a || has_b) {
        int order = !has_a ? 1 : !has_b ? -1 : hm_str_cmp(a, b);
        if (order < 0) add_op(w, false, a, model);
        if (order > 0) add_op(w, true, b, model);
        if (order <= 0) has_a = hm_packed_next(&before, &a);
        if (order >= 0) has_b = hm_packed_next(&after, &b);
    }
}

static bool plan_indexes(struct hm_write *w, struct hm_commit *call, const struct hm_type *type,
                         const struct hm_record *old, const struct hm_record *now) {
    struct hm_buf before = {0}, after = {0};
    struct hm_error why = {0};
    bool ok = true, null_before = false, null_after = false;
    for (unsigned i = 0; i < type->index_count && ok; i++) {
        const struct hm_index *index = &type->indexes[i];
        hm_buf_clear(&before);
        hm_buf_clear(&after);
        if (old) ok = hm_index_keys_of(type, index, old, &before, &null_before, &why);
        if (ok && now) ok = hm_index_keys_of(type, index, now, &after, &null_after, &why);
        if (!ok) refuse(call, why.code, "%s", why.message);
        struct hm_key_op model = {.space = HM_SPACE_IDX,
                                  .type = type,
                                  .index = index->unique && !null_after ? index : NULL,
                                  .id_len = now ? now->id.len : old->id.len};
        if (ok) hm_write_diff(w, hm_buf_view(&before), hm_buf_view(&after), &model);
    }
    hm_buf_free(&before);
    hm_buf_free(&after);
    return ok;
}

static int by_text(const void *a, const void *b) {
    return hm_str_cmp(*(const struct hm_str *)a, *(const struct hm_str *)b);
}

// The member keys of a record as a sorted packed list without doubles.
static void member_keys(const struct hm_record *r, struct hm_buf *out) {
    struct hm_str rest = r->members, item;
    size_t count = 0, n = 0;
    while (hm_packed_next(&rest, &item))
        count++;
    if (!count) return;
    struct hm_str *sorted = hm_alloc_array(count, sizeof *sorted);
    struct hm_buf key = {0};
    rest = r->members;
    while (hm_packed_next(&rest, &item))
        sorted[n++] = item;
    qsort(sorted, count, sizeof *sorted, by_text);
    for (size_t i = 0; i < count; i++) {
        if (i && hm_str_eq(sorted[i], sorted[i - 1])) continue;
        hm_buf_clear(&key);
        hm_member_key(sorted[i], r->type, r->id, &key);
        hm_packed_add(out, hm_buf_view(&key));
    }
    hm_buf_free(&key);
    free(sorted);
}

static void plan_members(struct hm_write *w, const struct hm_record *old, const struct hm_record *now) {
    struct hm_buf before = {0}, after = {0};
    if (old && now && hm_str_eq(old->members, now->members)) return;
    if (old) member_keys(old, &before);
    if (now) member_keys(now, &after);
    // A principal cannot hold a zero byte, so lists sorted by principal are sorted by key unless one
    // principal is the beginning of another, and then too: the zero byte behind it is the smallest.
    hm_write_diff(w, hm_buf_view(&before), hm_buf_view(&after), &(struct hm_key_op){.space = HM_SPACE_MEM});
    hm_buf_free(&before);
    hm_buf_free(&after);
}

// ---- one intent
// -----------------------------------------------------------------------------------------------------------

static bool listed(struct hm_str packed, struct hm_str item) {
    struct hm_str one;
    while (hm_packed_next(&packed, &one))
        if (hm_str_eq(one, item)) return true;
    return false;
}

// Who may have seen the record before and may not any more: its former audience, and, where its members see
// it as such, those who are members no longer, since they have lost the principal by which they saw it.
static void lost_sight(const struct hm_record *old, const struct hm_record *now, struct hm_buf *out) {
    struct hm_buf own = {0};
    struct hm_str were = old->members, are = now ? now->members : (struct hm_str){0}, rest = are, member,
                  next;
    if (now && !hm_str_eq(old->audience, now->audience)) hm_buf_str(out, old->audience);
    if (!were.len || hm_str_eq(were, are)) return;
    hm_buf_str(&own, old->type);
    hm_buf_char(&own, ':');
    hm_buf_str(&own, old->id);
    if (listed(old->audience, hm_buf_view(&own))) {
        while (hm_packed_next(&were, &member)) {
            struct hm_str before = rest; // mostly both lists go on with the same member
            if (hm_packed_next(&rest, &next) && hm_str_eq(next, member)) continue;
            rest = before;
            if (!listed(are, member)) hm_packed_add(out, member);
        }
    }
    hm_buf_free(&own);
}

static void plan_entry(struct hm_write *w, struct hm_commit *call, struct hm_plan *plan,
                       const struct hm_record *old, const struct hm_record *now) {
    const struct hm_record *r = now ? now : old;
    struct hm_entry e = {.change = {.seq = plan->seq,
                                    .commit = w->seq + 1,
                                    .time_ms = call->now_ms,
                                    .by = call->by,
                                    .method = call->method,
                                    .action = !now  ? HM_DELETED
                                              : old ? HM_UPDATED
                                                    : HM_CREATED,
                                    .type = r->type,
                                    .id = r->id,
                                    .audience = r->audience}};
    if (now) {
        e.change.json = now->json;
        e.members = now->members;
        e.sealed = now->sealed;
        e.form = now->form;
    }
    struct hm_buf lost = {0};
    if (old) lost_sight(old, now, &lost);
    e.change.lost = hm_buf_view(&lost);
    hm_buf_clear(&w->scratch);
    hm_entry_encode(&e, &w->scratch);
    plan->entry = store_bytes(w, hm_buf_view(&w->scratch));
    hm_buf_free(&lost);
}

static bool plan_put(struct hm_write *w, struct hm_commit *call, const struct hm_intent *in,
                     const struct hm_type *type, struct hm_json data, const struct hm_record *old,
                     struct hm_plan *plan) {
    struct hm_buf sealed_data = {0}, json = {0};
    struct hm_error why = {0};
    size_t data_at = 0;
    bool ok = true;
    struct hm_record now = {.type = in->type,
                            .id = in->id,
                            .version = plan->seq,
                            .form = type->form,
                            .created_ms = old ? old->created_ms : call->now_ms,
                            .updated_ms = call->now_ms,
                            .by = call->by,
                            .audience = in->audience,
                            .members = in->members,
                            .data = data.raw};
    if (type->sealed_count) {
        hm_buf_clear(&w->sealed);
        ok =
            hm_seal(w->store->keyring, &w->new_keys, type, in->id, data, old, &sealed_data, &w->sealed, &why);
        if (!ok) {
            refuse(call, why.code, "%s", why.message);
            goto out;
        }
        now.data = hm_buf_view(&sealed_data);
        now.sealed = hm_buf_view(&w->sealed);
    }
    hm_envelope(&now, &json, &data_at);
    now.json = hm_buf_view(&json);
    now.data = (struct hm_str){json.data + data_at, now.data.len};
    hm_buf_clear(&w->scratch);
    hm_record_encode(&now, &w->scratch);
    plan->value = store_bytes(w, hm_buf_view(&w->scratch));
    plan_entry(w, call, plan, old, &now);
    ok = plan_indexes(w, call, type, old, &now);
    if (ok) plan_members(w, old, &now);
    if (ok) hm_coming_plan(w, old, &now);
out:
    hm_buf_free(&sealed_data);
    hm_buf_free(&json);
    return ok;
}

static bool plan_intent(struct planning *p, const struct hm_intent *in) {
    struct hm_write *w = p->write;
    struct hm_commit *call = p->call;
    const struct hm_type *type = hm_types_find(w->types, in->type);
    struct hm_json data = {0};
    struct hm_record record, *old = NULL;
    bool found;
    if (!type_writable(call, type, in->type) || !form_valid(call, in, type, &data)) return false;
    if (!hm_write_record(w, in->type, in->id, &record, &found, p->err)) {
        p->failed = true;
        return false;
    }
    if (found) old = &record;
    if (!expectation_met(call, in, type, old)) return false;
    if (in->remove && !old) return true; // gone already, and any version would have done
    if (w->plan_count == w->plan_cap) {
        w->plan_cap = w->plan_cap ? w->plan_cap * 2 : 16;
        w->plans = hm_realloc(w->plans, w->plan_cap * sizeof *w->plans);
    }
    struct hm_plan plan = {.remove = in->remove, .seq = w->seq + 1 + w->plan_count};
    hm_buf_clear(&w->scratch);
    hm_record_key(in->type, in->id, &w->scratch);
    plan.key = store_bytes(w, hm_buf_view(&w->scratch));
    if (in->remove) {
        plan_entry(w, call, &plan, old, NULL);
        if (!plan_indexes(w, call, type, old, NULL)) return false;
        plan_members(w, old, NULL);
        hm_coming_plan(w, old, NULL);
    } else if (!plan_put(w, call, in, type, data, old, &plan)) {
        return false;
    }
    w->plans[w->plan_count++] = plan;
    return true;
}

// ---- unique indexes, over the whole call
// ------------------------------------------------------------------------------------

struct unique_key {
    struct hm_str key;
    const struct hm_key_op *op;
};

static int by_key(const void *a, const void *b) {
    return hm_str_cmp(((const struct unique_key *)a)->key, ((const struct unique_key *)b)->key);
}

// `raced`: who has it came after the call's snapshot, so the method could not see it and may do something
// else when it runs again.
static bool duplicate(struct hm_commit *call, const struct hm_key_op *op, bool raced) {
    call->duplicate = !raced;
    return refuse(call, HM_CONFLICT, "another record has this value of the unique index %s of type %s",
                  op->index->name, op->type->name);
}

enum taken { FREE, TAKEN, RACED };

// Is there an entry in the database with this beginning that the call does not itself remove?
static int taken(struct planning *p, MDB_cursor *cursor, const struct unique_key *wanted,
                 const struct unique_key *removed, size_t removed_count, enum taken *out) {
    struct hm_str prefix = wanted->key;
    struct hm_record record;
    bool found;
    MDB_val k = hm_val(prefix), v;
    *out = FREE;
    int rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
    while (!rc && hm_str_starts(hm_val_str(k), prefix)) {
        struct hm_str key = hm_val_str(k), id = {key.ptr + prefix.len, key.len - prefix.len};
        if (!removed_count ||
            !bsearch(&(struct unique_key){key, NULL}, removed, removed_count, sizeof *removed, by_key)) {
            if (!hm_write_record(p->write, hm_str_of(wanted->op->type->name), id, &record, &found, p->err)) {
                p->failed = true;
                return 0;
            }
            bool since = found && p->call->snapshot && record.version > p->call->snapshot;
            *out = since ? RACED : TAKEN;
            return 0;
        }
        rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static bool unique_holds(struct planning *p) {
    struct hm_write *w = p->write;
    struct unique_key *added = NULL, *removed = NULL;
    MDB_cursor *cursor = NULL;
    size_t adds = 0, removes = 0;
    enum taken is = FREE;
    bool ok = true;
    int rc = 0;
    for (size_t i = 0; i < w->op_count; i++)
        adds += w->ops[i].index && w->ops[i].add;
    if (!adds) return true;
    added = hm_alloc_array(w->op_count, sizeof *added);
    removed = hm_alloc_array(w->op_count, sizeof *removed);
    adds = 0;
    for (size_t i = 0; i < w->op_count; i++) {
        const struct hm_key_op *op = &w->ops[i];
        struct hm_str key = view(w, op->key);
        if (op->space != HM_SPACE_IDX) continue;
        if (!op->add) {
            removed[removes++] = (struct unique_key){key, op};
        } else if (op->index) {
            added[adds++] = (struct unique_key){{key.ptr, key.len - op->id_len}, op};
        }
    }
    qsort(added, adds, sizeof *added, by_key);
    qsort(removed, removes, sizeof *removed, by_key);
    rc = mdb_cursor_open(w->txn, w->store->idx, &cursor);
    for (size_t i = 0; i < adds && ok && !rc; i++) {
        if (i && hm_str_eq(added[i].key, added[i - 1].key)) {
            ok = duplicate(p->call, added[i].op, false);
        } else {
            rc = taken(p, cursor, &added[i], removed, removes, &is);
            if (!rc && is != FREE) ok = duplicate(p->call, added[i].op, is == RACED);
            ok = ok && !p->failed;
        }
    }
    if (rc) {
        hm_mdb_fail(p->err, rc, w->store->dir, "read an index");
        p->failed = true;
    }
    if (cursor) mdb_cursor_close(cursor);
    free(added);
    free(removed);
    return ok && !rc;
}

bool hm_plan_call(struct hm_write *w, struct hm_commit *call, struct hm_error *err) {
    struct planning p = {.write = w, .call = call, .err = err};
    if (!call->intent_count) return true;
    if (call->by.len > HM_ID_MAX || call->method.len > 256 || !hm_utf8_valid(call->by) ||
        !hm_utf8_valid(call->method)) {
        refuse(call, HM_PARAMS, "by, method: not texts of at most %d and 256 bytes", HM_ID_MAX);
        return true;
    }
    bool ok = no_record_twice(call);
    for (size_t i = 0; i < call->intent_count && ok; i++)
        ok = plan_intent(&p, &call->intents[i]);
    if (ok) unique_holds(&p);
    return !p.failed;
}
