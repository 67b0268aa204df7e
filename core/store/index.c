// New declarations: idx is brought in line with them in the transaction that puts them in force. Commit
// thread, between batches.
//
// meta "indexes" says what idx holds, one line an index, those of the core's types included: what differs is
// dropped or built, so a new version of the program that declares other indexes finds its own at the next
// start. Here all of it is one transaction; for a store that serves see shape.c.
#include "store/internal.h"
#include <assert.h>
#include <stdlib.h>

void hm_index_line(const struct hm_type *type, const struct hm_index *index, struct hm_buf *out) {
    hm_buf_printf(out, "%s\t%s\t", type->name, index->name);
    for (unsigned i = 0; i < sizeof index->tag; i++)
        hm_buf_printf(out, "%02x", index->tag[i]);
    hm_buf_printf(out, "\t%c%c", index->unique ? 'u' : '-', index->multi ? 'm' : '-');
    for (unsigned i = 0; i < index->field_count; i++) {
        hm_buf_char(out, '\t');
        hm_json_put_str(out, hm_str_of(index->fields[i])); // a path may hold any character, a line feed too
    }
    hm_buf_char(out, '\n');
}

void hm_index_lines(const struct hm_types *types, struct hm_buf *out) {
    for (size_t t = 0; t < hm_types_count(types); t++)
        for (unsigned i = 0; i < hm_types_at(types, t)->index_count; i++)
            hm_index_line(hm_types_at(types, t), &hm_types_at(types, t)->indexes[i], out);
}

bool hm_next_line(struct hm_str *rest, struct hm_str *line) {
    if (!rest->len) return false;
    const char *end = memchr(rest->ptr, '\n', rest->len);
    size_t len = end ? (size_t)(end - rest->ptr) + 1 : rest->len;
    *line = (struct hm_str){rest->ptr, len};
    *rest = (struct hm_str){rest->ptr + len, rest->len - len};
    return true;
}

bool hm_has_line(struct hm_str text, struct hm_str wanted) {
    struct hm_str line;
    while (hm_next_line(&text, &line))
        if (hm_str_eq(line, wanted)) return true;
    return false;
}

static unsigned nibble(char c) {
    return c >= 'a' ? (unsigned)(c - 'a') + 10 : (unsigned)(c - '0');
}

// A line of a store from before indexes had tags has its kind (two characters) where the tag is now.
bool hm_line_prefix(struct hm_str line, struct hm_buf *out) {
    const char *end = line.ptr + line.len, *first = memchr(line.ptr, '\t', line.len);
    const char *second = first ? memchr(first + 1, '\t', (size_t)(end - first - 1)) : NULL;
    const char *third = second ? memchr(second + 1, '\t', (size_t)(end - second - 1)) : NULL;
    if (!third) return false;
    hm_buf_add(out, line.ptr, (size_t)(first - line.ptr));
    hm_buf_char(out, '\0');
    hm_buf_add(out, first + 1, (size_t)(second - first - 1));
    hm_buf_char(out, '\0');
    if (third - second - 1 == 2 * HM_INDEX_TAG)
        for (const char *c = second + 1; c < third; c += 2)
            hm_buf_char(out, (char)(uint8_t)(nibble(c[0]) << 4 | nibble(c[1])));
    return true;
}

int hm_drop_keys(MDB_txn *txn, MDB_dbi dbi, struct hm_str prefix, size_t *left) {
    MDB_cursor *cursor = NULL;
    MDB_val k = hm_val(prefix), v;
    int rc = mdb_cursor_open(txn, dbi, &cursor);
    if (!rc) rc = mdb_cursor_get(cursor, &k, &v, prefix.len ? MDB_SET_RANGE : MDB_FIRST);
    while (!rc && *left && hm_str_starts(hm_val_str(k), prefix)) {
        rc = mdb_cursor_del(cursor, 0);
        k = hm_val(prefix);
        if (!rc) rc = mdb_cursor_get(cursor, &k, &v, prefix.len ? MDB_SET_RANGE : MDB_FIRST);
        --*left;
    }
    if (cursor) mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

// Removes every key of the index that a line describes.
static int drop(struct hm_store *store, MDB_txn *txn, struct hm_str line) {
    struct hm_buf prefix = {0};
    size_t left = SIZE_MAX;
    int rc = 0;
    if (hm_line_prefix(line, &prefix)) rc = hm_drop_keys(txn, store->idx, hm_buf_view(&prefix), &left);
    hm_buf_free(&prefix);
    return rc;
}

static bool taken_by(const struct hm_type *type, const struct hm_index *index, const struct hm_record *r,
                     struct hm_str other, struct hm_error *err) {
    return hm_fail(err, HM_CONFLICT,
                   "records of type %s that exist already break the unique index %s: %.*s and %.*s have the "
                   "same value",
                   type->name, index->name, (int)other.len, other.ptr, (int)r->id.len, r->id.ptr);
}

bool hm_index_put(struct hm_store *store, MDB_txn *txn, const struct hm_type *type,
                  const struct hm_index *index, const struct hm_record *r, struct hm_error *err) {
    struct hm_buf keys = {0};
    struct hm_str rest, key;
    MDB_cursor *cursor = NULL;
    bool null = false, ok = hm_index_keys_of(type, index, r, &keys, &null, err);
    int rc = ok ? mdb_cursor_open(txn, store->idx, &cursor) : 0;
    rest = hm_buf_view(&keys);
    while (ok && !rc && hm_packed_next(&rest, &key)) {
        struct hm_str prefix = {key.ptr, key.len - r->id.len};
        MDB_val k = hm_val(prefix), v = {0, (void *)""};
        if (index->unique && !null) rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
        while (index->unique && !null && ok && !rc && hm_str_starts(hm_val_str(k), prefix)) {
            struct hm_str there = hm_val_str(k), id = {there.ptr + prefix.len, there.len - prefix.len};
            ok = hm_str_eq(there, key) || taken_by(type, index, r, id, err);
            if (ok) rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
        }
        if (rc == MDB_NOTFOUND) rc = 0;
        k = hm_val(key);
        v = (MDB_val){0, (void *)""};
        if (ok && !rc) rc = mdb_put(txn, store->idx, &k, &v, 0);
    }
    if (cursor) mdb_cursor_close(cursor);
    hm_buf_free(&keys);
    return ok && (!rc || hm_mdb_fail(err, rc, store->dir, "build an index"));
}

static bool build(struct hm_store *store, MDB_txn *txn, const struct hm_type *type,
                  const struct hm_index *index, struct hm_error *err) {
    struct hm_str turned = hm_turned(store, txn);
    MDB_cursor *cursor = NULL;
    struct hm_buf prefix = {0};
    struct hm_record r;
    MDB_val k, v;
    bool ok = true;
    hm_record_key(hm_str_of(type->name), (struct hm_str){0}, &prefix);
    int rc = mdb_cursor_open(txn, store->rec, &cursor);
    k = hm_val(hm_buf_view(&prefix));
    if (!rc) rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
    while (ok && !rc && hm_str_starts(hm_val_str(k), hm_buf_view(&prefix))) {
        if (!hm_record_decode(hm_val_str(v), &r)) {
            ok = hm_fail(err, HM_INTERNAL, "%s: a damaged record of type %s", store->dir, type->name);
        } else {
            hm_turned_find(store, txn, turned, hm_val_str(k), &r);
            ok = hm_index_put(store, txn, type, index, &r, err);
        }
        rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
    }
    if (cursor) mdb_cursor_close(cursor);
    hm_buf_free(&prefix);
    return ok && (!rc || rc == MDB_NOTFOUND || hm_mdb_fail(err, rc, store->dir, "build an index"));
}

bool hm_indexes_rebuild(struct hm_store *store, MDB_txn *txn, struct hm_types *types, bool *changed,
                        struct hm_error *err) {
    struct hm_buf now = {0}, before = {0}, wanted = {0};
    struct hm_str stored = {0}, rest, line;
    bool ok = true;
    int rc = 0;
    if (hm_meta_get(store, txn, "indexes", &stored)) hm_buf_str(&before, stored); // its page changes below
    hm_index_lines(types, &now);
    *changed = !hm_str_eq(hm_buf_view(&before), hm_buf_view(&now));
    if (!*changed) goto out;
    rest = hm_buf_view(&before);
    while (!rc && hm_next_line(&rest, &line))
        if (!hm_has_line(hm_buf_view(&now), line)) rc = drop(store, txn, line);
    for (size_t t = 0; t < hm_types_count(types) && ok && !rc; t++) {
        const struct hm_type *type = hm_types_at(types, t);
        for (unsigned i = 0; i < type->index_count && ok; i++) {
            hm_buf_clear(&wanted);
            hm_index_line(type, &type->indexes[i], &wanted);
            if (!hm_has_line(hm_buf_view(&before), hm_buf_view(&wanted)))
                ok = build(store, txn, type, &type->indexes[i], err);
        }
    }
    if (ok && !rc) rc = hm_meta_put(store, txn, "indexes", hm_buf_view(&now));
out:
    hm_buf_free(&now);
    hm_buf_free(&before);
    hm_buf_free(&wanted);
    return ok && (!rc || hm_mdb_fail(err, rc, store->dir, "rebuild indexes"));
}

static bool try_types(struct hm_store *store, struct hm_types *types, bool *changed, struct hm_error *err) {
    MDB_txn *txn = NULL;
    bool ok = false;
    if (!hm_store_sound(store, err)) return false;
    int rc = mdb_txn_begin(store->env, NULL, 0, &txn);
    if (!rc) rc = hm_meta_put(store, txn, "types", hm_types_json(types));
    if (rc) {
        hm_mdb_fail(err, rc, store->dir, "store the types");
        goto out;
    }
    if (!hm_indexes_rebuild(store, txn, types, changed, err)) goto out;
    rc = hm_commit_txn(store, txn);
    txn = NULL;
    ok = !rc || hm_mdb_fail(err, rc, store->dir, "store the types");
    if (!ok && hm_store_in_doubt(store)) hm_fail_cause(err, HM_CAUSE_DOUBT);
out:
    if (txn) mdb_txn_abort(txn);
    return ok;
}

bool hm_store_set_types(struct hm_store *store, struct hm_types *types, struct hm_error *err) {
    struct hm_error why = {0};
    bool changed = false;
    if (store->read_only) return hm_fail(err, HM_INTERNAL, "%s is open read-only", store->dir);
    assert(!store->write);
    while (!try_types(store, types, &changed, &why)) {
        if (why.cause == HM_CAUSE_MAP_FULL && hm_store_grow(store, &why)) continue;
        if (err) *err = why;
        return false;
    }
    // Calls that ran before may hold ranges of keys that are made differently now: see check_seen in write.c.
    if (changed) store->types_seq = store->seq;
    pthread_mutex_lock(&store->types_lock);
    struct hm_types *old = store->types;
    store->types = hm_types_ref(types);
    pthread_mutex_unlock(&store->types_lock);
    hm_types_unref(old);
    return true;
}
