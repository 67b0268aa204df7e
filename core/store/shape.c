// Records that change their shape beside the serving: see shape.h. Commit thread, but where it says
// otherwise.
//
//   meta "coming"  what is prepared: JSON of its types, names of those that are turned. Gone with the force
//   or
//                  the drop; found at an opening, it was left by a server that died, and is dropped.
//   meta "turned"  packed names: what `next` has of these types is in force, and still to be written into rec
//   meta "going"   lines of indexes (see index.c) whose keys are to go, "~": so is all of `next`
//   next           type \0 id -> a record in its new form, encoded as in rec, of the same version;
//                  01 type \0 id -> empty: written since it was looked at
//
// What always holds: of a type that is prepared, each record up to where the preparation has come has either
// exactly the keys and the form that its present version gives, or stands among the 01. A type's keys do not
// meet those in force, because the tag of an index tells of all that its type declares.
#include "store/shape.h"
#include "store/coming.h"
#include "store/write.h"
#include <assert.h>
#include <sodium.h>
#include <stdlib.h>

// ---- reading
// ---------------------------------------------------------------------------------------------------------

struct hm_str hm_turned(struct hm_store *store, MDB_txn *txn) {
    struct hm_str out = {0};
    if (!store->has_next || !hm_meta_get(store, txn, "turned", &out)) out.len = 0;
    return out;
}

bool hm_listed(struct hm_str packed, struct hm_str name) {
    struct hm_str one;
    while (hm_packed_next(&packed, &one))
        if (hm_str_eq(one, name)) return true;
    return false;
}

static struct hm_str type_of_key(struct hm_str key) {
    const char *zero = key.len ? memchr(key.ptr, 0, key.len) : NULL;
    return (struct hm_str){key.ptr, zero ? (size_t)(zero - key.ptr) : key.len};
}

bool hm_turned_find(struct hm_store *store, MDB_txn *txn, struct hm_str turned, struct hm_str key,
                    struct hm_record *out) {
    struct hm_record now;
    MDB_val k = hm_val(key), v;
    if (!turned.len || !hm_listed(turned, type_of_key(key))) return false;
    if (mdb_get(txn, store->next, &k, &v) != 0 || !hm_record_decode(hm_val_str(v), &now)) return false;
    *out = now;
    return true;
}

struct hm_shape_rest hm_shape_rest(struct hm_store *store) {
    struct hm_shape_rest rest = {0};
    struct hm_read *read = NULL;
    struct hm_str value;
    if (!hm_read_begin(store, &read, NULL)) return rest;
    rest.settle = hm_turned(store, read->txn).len > 0;
    rest.tidy = hm_meta_get(store, read->txn, "going", &value) && value.len;
    hm_read_end(read);
    return rest;
}

bool hm_shape_stale(struct hm_store *store, size_t most, struct hm_buf *out, struct hm_error *err) {
    struct hm_read *read = NULL;
    MDB_cursor *cursor = NULL;
    MDB_val k = {0}, v;
    if (!hm_read_begin(store, &read, err)) return false;
    int rc = mdb_cursor_open(read->txn, store->next, &cursor);
    if (!rc) rc = mdb_cursor_get(cursor, &k, &v, MDB_FIRST);
    for (; !rc && most && *(const char *)k.mv_data == STALE; most--) {
        struct hm_str key = {(const char *)k.mv_data + 1, k.mv_size - 1}, type = type_of_key(key);
        hm_packed_add(out, type);
        hm_packed_add(out, (struct hm_str){key.ptr + type.len + 1, key.len - type.len - 1});
        rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
    }
    if (cursor) mdb_cursor_close(cursor);
    hm_read_end(read);
    return !rc || rc == MDB_NOTFOUND || hm_mdb_fail(err, rc, store->dir, "read");
}

bool hm_shape_each_type(struct hm_read *read, void (*fn)(void *arg, struct hm_str type), void *arg,
                        struct hm_error *err) {
    struct hm_buf behind = {0};
    MDB_cursor *cursor = NULL;
    MDB_val k = {0}, v;
    int rc = mdb_cursor_open(read->txn, read->store->rec, &cursor);
    if (!rc) rc = mdb_cursor_get(cursor, &k, &v, MDB_FIRST);
    while (!rc) {
        struct hm_str type = type_of_key(hm_val_str(k));
        fn(arg, type);
        hm_buf_clear(&behind);
        hm_buf_str(&behind, type);
        hm_buf_char(&behind, '\1'); // the smallest key behind all of the type
        k = hm_val(hm_buf_view(&behind));
        rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
    }
    if (cursor) mdb_cursor_close(cursor);
    hm_buf_free(&behind);
    return rc == MDB_NOTFOUND || hm_mdb_fail(err, rc, read->store->dir, "read");
}

size_t hm_shape_count(struct hm_read *read, struct hm_str type, size_t most) {
    struct hm_buf prefix = {0};
    MDB_cursor *cursor = NULL;
    MDB_val k, v;
    size_t count = 0;
    hm_record_key(type, (struct hm_str){0}, &prefix);
    k = hm_val(hm_buf_view(&prefix));
    int rc = mdb_cursor_open(read->txn, read->store->rec, &cursor);
    if (!rc) rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
    for (; !rc && count < most && hm_str_starts(hm_val_str(k), hm_buf_view(&prefix)); count++)
        rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
    if (cursor) mdb_cursor_close(cursor);
    hm_buf_free(&prefix);
    return count;
}

// ---- a transaction of its own
// ------------------------------------------------------------------------------------------

struct work {
    struct hm_store *store;
    MDB_txn *txn;
    struct hm_new_keys *new_keys;
    void *arg;
};

static bool once(struct hm_store *store, bool (*fn)(struct work *w, struct hm_error *err), void *arg,
                 struct hm_error *err) {
    struct work w = {.store = store, .arg = arg};
    if (!hm_store_sound(store, err)) return false;
    int rc = mdb_txn_begin(store->env, NULL, 0, &w.txn);
    bool ok = rc ? hm_mdb_fail(err, rc, store->dir, "begin to write") : fn(&w, err);
    if (ok) rc = hm_meta_turn(store, w.txn);
    if (ok && rc) ok = hm_mdb_fail(err, rc, store->dir, "write");
    // A key must be on disk before what is sealed with it.
    ok = ok && (!w.new_keys || hm_keyring_store(store->keyring, w.new_keys, err));
    if (ok) {
        rc = hm_commit_txn(store, w.txn);
        ok = !rc || hm_mdb_fail(err, rc, store->dir, "commit");
        if (!ok && hm_store_in_doubt(store)) hm_fail_cause(err, HM_CAUSE_DOUBT);
    } else if (w.txn) {
        mdb_txn_abort(w.txn);
    }
    hm_new_keys_free(w.new_keys);
    return ok;
}

static bool in_txn(struct hm_store *store, bool (*fn)(struct work *w, struct hm_error *err), void *arg,
                   struct hm_error *err) {
    struct hm_error why = {0};
    if (store->read_only) return hm_fail(err, HM_INTERNAL, "%s is open read-only", store->dir);
    assert(!store->write);
    while (!once(store, fn, arg, &why)) {
        if (why.cause == HM_CAUSE_MAP_FULL && hm_store_grow(store, &why)) {
            why = (struct hm_error){0};
            continue;
        }
        if (err) *err = why;
        return false;
    }
    return true;
}

static bool meta_put(struct work *w, const char *name, struct hm_str value, struct hm_error *err) {
    int rc = hm_meta_put(w->store, w->txn, name, value);
    return !rc || hm_mdb_fail(err, rc, w->store->dir, "write");
}

int hm_meta_drop(struct hm_store *store, MDB_txn *txn, const char *name) {
    char sum[80];
    MDB_val k = hm_val(hm_str_of(name));
    int rc = mdb_del(txn, store->meta, &k, NULL);
    snprintf(sum, sizeof sum, "sum:%s", name);
    k = hm_val(hm_str_of(sum));
    if (!rc) rc = mdb_del(txn, store->meta, &k, NULL);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

void hm_meta_copy(struct hm_store *store, MDB_txn *txn, const char *name, struct hm_buf *out) {
    struct hm_str value;
    if (hm_meta_get(store, txn, name, &value)) hm_buf_str(out, value); // its page may change
}

// ---- beginning
// -------------------------------------------------------------------------------------------------------

void hm_coming_free(struct hm_store *store) {
    struct hm_coming *c = store->coming;
    if (!c) return;
    store->coming = NULL;
    hm_types_unref(c->types);
    free(c->list);
    free(c);
}

// Those of its indexes that are not in force, in line form too.
static bool take_fresh(const struct hm_type *type, struct hm_str in_force, struct coming_type *out,
                       struct hm_buf *lines) {
    struct hm_buf line = {0};
    bool any = false;
    for (unsigned i = 0; i < type->index_count; i++) {
        hm_buf_clear(&line);
        hm_index_line(type, &type->indexes[i], &line);
        bool fresh = !hm_has_line(in_force, hm_buf_view(&line));
        any = any || fresh;
        if (out) out->fresh[i] = fresh;
        if (fresh && lines) hm_buf_str(lines, hm_buf_view(&line));
    }
    hm_buf_free(&line);
    return any;
}

struct beginning {
    struct hm_coming *coming;
    struct hm_str turned;
};

static int any_record(struct hm_store *store, MDB_txn *txn, const char *type, bool *any) {
    struct hm_buf prefix = {0};
    MDB_cursor *cursor = NULL;
    MDB_val k, v;
    hm_record_key(hm_str_of(type), (struct hm_str){0}, &prefix);
    k = hm_val(hm_buf_view(&prefix));
    int rc = mdb_cursor_open(txn, store->rec, &cursor);
    if (!rc) rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
    *any = !rc && hm_str_starts(hm_val_str(k), hm_buf_view(&prefix));
    if (cursor) mdb_cursor_close(cursor);
    hm_buf_free(&prefix);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static bool begin(struct work *w, struct hm_error *err) {
    const struct beginning *b = w->arg;
    struct hm_coming *c = b->coming;
    struct hm_buf before = {0}, note = {0};
    struct hm_str value;
    if (hm_turned(w->store, w->txn).len || (hm_meta_get(w->store, w->txn, "going", &value) && value.len))
        return hm_fail(err, HM_CONFLICT, "an earlier change of records is still going on");
    hm_meta_copy(w->store, w->txn, "indexes", &before);
    c->count = 0;
    for (size_t t = 0; t < hm_types_count(c->types); t++) {
        const struct hm_type *type = hm_types_at(c->types, t);
        struct coming_type *one = &c->list[c->count];
        *one = (struct coming_type){.type = type, .turned = hm_listed(b->turned, hm_str_of(type->name))};
        if (!take_fresh(type, hm_buf_view(&before), one, NULL) && !one->turned) continue;
        bool any = true;
        int rc = any_record(w->store, w->txn, type->name, &any);
        if (rc) hm_buf_free(&before);
        if (rc) return hm_mdb_fail(err, rc, w->store->dir, "read");
        one->built = !any;
        c->count++;
    }
    hm_put_str(&note, hm_types_json(c->types));
    hm_put_str(&note, b->turned);
    bool ok = meta_put(w, "coming", hm_buf_view(&note), err);
    hm_buf_free(&before);
    hm_buf_free(&note);
    return ok;
}

bool hm_shape_begin(struct hm_store *store, struct hm_types *coming, struct hm_str turned,
                    struct hm_buf *todo, struct hm_error *err) {
    if (store->coming) return hm_fail(err, HM_CONFLICT, "another change of records is being prepared");
    struct hm_coming *c = hm_alloc(sizeof *c);
    struct beginning b = {c, turned};
    c->types = hm_types_ref(coming);
    c->list = hm_alloc_array(hm_types_count(coming) + 1, sizeof *c->list);
    bool ok = in_txn(store, begin, &b, err);
    store->coming = c;
    for (size_t i = 0; ok && i < c->count; i++)
        if (!c->list[i].built) hm_packed_add(todo, hm_str_of(c->list[i].type->name));
    if (!ok) hm_coming_free(store);
    return ok;
}

// ---- giving up, and what is left
// ---------------------------------------------------------------------------------------

// What `coming` built is to go, at leisure.
static bool give_up(struct hm_store *store, MDB_txn *txn, const struct hm_types *types,
                    struct hm_error *err) {
    struct hm_buf before = {0}, going = {0};
    hm_meta_copy(store, txn, "indexes", &before);
    hm_meta_copy(store, txn, "going", &going);
    for (size_t t = 0; t < hm_types_count(types); t++)
        take_fresh(hm_types_at(types, t), hm_buf_view(&before), NULL, &going);
    if (!hm_turned(store, txn).len) hm_buf_text(&going, "~\n");
    int rc = hm_meta_put(store, txn, "going", hm_buf_view(&going));
    if (!rc) rc = hm_meta_drop(store, txn, "coming");
    hm_buf_free(&before);
    hm_buf_free(&going);
    return !rc || hm_mdb_fail(err, rc, store->dir, "write");
}

static bool drop_coming(struct work *w, struct hm_error *err) {
    return give_up(w->store, w->txn, w->store->coming->types, err);
}

bool hm_shape_drop(struct hm_store *store, struct hm_error *err) {
    if (!store->coming) return true;
    if (!in_txn(store, drop_coming, NULL, err)) return false;
    hm_coming_free(store);
    return true;
}

// Of meta "coming"; NULL: there is none, or it cannot be read.
static struct hm_types *coming_of(struct hm_store *store, MDB_txn *txn) {
    struct hm_types *types = NULL;
    struct hm_str note;
    if (!hm_meta_get(store, txn, "coming", &note)) return NULL;
    struct hm_reader in = hm_reader_of(note);
    struct hm_str json = hm_get_str(&in);
    return !in.bad && hm_types_parse(json, &types, NULL) ? types : NULL;
}

bool hm_shape_recover(struct hm_store *store, MDB_txn *txn, struct hm_error *err) {
    struct hm_types *types = coming_of(store, txn);
    bool ok = !types || give_up(store, txn, types, err);
    hm_types_unref(types);
    return ok;
}

static bool tidy(struct work *w, struct hm_error *err) {
    struct hm_buf going = {0}, prefix = {0};
    size_t left = *(const size_t *)w->arg;
    struct hm_str rest, line;
    int rc = 0;
    hm_meta_copy(w->store, w->txn, "going", &going);
    rest = hm_buf_view(&going);
    while (!rc && left) {
        struct hm_str behind = rest;
        if (!hm_next_line(&behind, &line)) break;
        hm_buf_clear(&prefix);
        if (hm_str_eq(line, HM_LIT("~\n")))
            rc = hm_drop_keys(w->txn, w->store->next, (struct hm_str){0}, &left);
        else if (hm_line_prefix(line, &prefix))
            rc = hm_drop_keys(w->txn, w->store->idx, hm_buf_view(&prefix), &left);
        if (left) rest = behind;
    }
    if (!rc)
        rc =
            rest.len ? hm_meta_put(w->store, w->txn, "going", rest) : hm_meta_drop(w->store, w->txn, "going");
    hm_buf_free(&going);
    hm_buf_free(&prefix);
    return !rc || hm_mdb_fail(err, rc, w->store->dir, "write");
}

bool hm_shape_tidy(struct hm_store *store, size_t most, struct hm_error *err) {
    return in_txn(store, tidy, &most, err);
}

static void add_prefixes(struct hm_str lines, struct hm_buf *out) {
    struct hm_buf prefix = {0};
    struct hm_str line;
    while (hm_next_line(&lines, &line)) {
        hm_buf_clear(&prefix);
        if (hm_line_prefix(line, &prefix)) hm_packed_add(out, hm_buf_view(&prefix));
    }
    hm_buf_free(&prefix);
}

bool hm_shape_beside(struct hm_store *store, MDB_txn *txn, struct hm_buf *out, struct hm_error *err) {
    struct hm_buf lines = {0};
    struct hm_str in_force = {0}, value;
    bool known = hm_meta_get(store, txn, "coming", &value);
    struct hm_types *types = coming_of(store, txn);
    if (known && !types)
        return hm_fail(err, HM_INTERNAL, "%s: what is being prepared cannot be read", store->dir);
    if (!hm_meta_get(store, txn, "indexes", &in_force)) in_force.len = 0;
    for (size_t t = 0; types && t < hm_types_count(types); t++)
        take_fresh(hm_types_at(types, t), in_force, NULL, &lines);
    add_prefixes(hm_buf_view(&lines), out);
    if (hm_meta_get(store, txn, "going", &value)) add_prefixes(value, out);
    hm_buf_free(&lines);
    hm_types_unref(types);
    return true;
}

// ---- one record
// ---------------------------------------------------------------------------------------------------------

static struct coming_type *coming_find(struct hm_store *store, struct hm_str name) {
    struct hm_coming *c = store->coming;
    for (size_t i = 0; c && i < c->count; i++)
        if (hm_str_eq(hm_str_of(c->list[i].type->name), name)) return &c->list[i];
    return NULL;
}

static void stale_key(struct hm_str key, struct hm_buf *out) {
    hm_buf_char(out, STALE);
    hm_buf_str(out, key);
}

static bool is_mark(struct hm_json v) {
    struct hm_json flag;
    bool on = false;
    return v.kind == HM_JSON_OBJECT && hm_json_count(v) == 1 && hm_json_get(v, "sealed", &flag) &&
           hm_json_bool(flag, &on) && on;
}

static bool seals(const struct hm_type *type, struct hm_str field) {
    for (unsigned i = 0; i < type->sealed_count; i++)
        if (hm_str_eq(hm_str_of(type->sealed[i]), field)) return true;
    return false;
}

// Does something stand in clear that is now sealed?
static bool to_seal(const struct hm_type *type, struct hm_json data) {
    struct hm_json v;
    for (unsigned i = 0; i < type->sealed_count; i++)
        if (hm_json_get(data, type->sealed[i], &v) && v.kind != HM_JSON_NULL && !is_mark(v)) return true;
    return false;
}

// A mark that nothing seals any more would be all that is left of the value.
static bool keeps_seals(const struct hm_type *type, const struct hm_record *old, struct hm_json data,
                        struct hm_error *err) {
    struct hm_reader in = hm_reader_of(old->sealed);
    char name[HM_NAME_MAX + 1];
    struct hm_json v;
    while (!in.bad && in.at < in.end) {
        struct hm_str field = hm_get_str(&in);
        hm_get_str(&in);
        if (in.bad || seals(type, field) || field.len >= sizeof name) continue;
        memcpy(name, field.ptr, field.len);
        name[field.len] = 0;
        if (hm_json_get(data, name, &v) && is_mark(v))
            return hm_fail(err, HM_PARAMS,
                           "%s %.*s: the field %s is sealed and cannot be opened by a change of "
                           "its type; it can only be dropped",
                           type->name, (int)old->id.len, old->id.ptr, name);
    }
    return true;
}

static void without_clear(const struct hm_type *type, struct hm_json data, struct hm_buf *out) {
    struct hm_json_iter it = hm_json_iter(data);
    struct hm_json key, value;
    hm_buf_char(out, '{');
    while (hm_json_next(&it, &key, &value)) {
        bool goes = false;
        for (unsigned i = 0; i < type->sealed_count; i++)
            goes = goes || (hm_json_key_is(key, hm_str_of(type->sealed[i])) && !is_mark(value));
        if (goes) continue;
        if (out->data[out->len - 1] != '{') hm_buf_char(out, ',');
        hm_buf_str(out, key.raw);
        hm_buf_char(out, ':');
        hm_buf_str(out, value.raw);
    }
    hm_buf_char(out, '}');
}

// The record with other data, encoded.
static bool new_form(struct work *w, const struct hm_type *type, const struct hm_record *old,
                     struct hm_json data, struct hm_buf *out, struct hm_error *err) {
    struct hm_buf clear = {0}, sealed = {0}, json = {0}, rest = {0};
    struct hm_record now = *old;
    struct hm_error why = {0};
    size_t at = 0;
    bool ok = keeps_seals(type, old, data, err);
    if (ok && type->sealed_count) {
        ok = hm_seal(w->store->keyring, &w->new_keys, type, old->id, data, old, &clear, &sealed, &why);
        // Whose key was destroyed has nothing that could be sealed: what is still there in clear goes, too.
        if (!ok && why.cause == HM_CAUSE_ERASED) {
            hm_buf_clear(&clear);
            hm_buf_clear(&sealed);
            without_clear(type, data, &rest);
            data.raw = hm_buf_view(&rest);
            ok = hm_seal(w->store->keyring, &w->new_keys, type, old->id, data, old, &clear, &sealed, &why);
        }
        if (!ok && err) {
            *err = why;
            snprintf(err->message, sizeof err->message, "%s %.*s: %.200s", type->name, (int)old->id.len,
                     old->id.ptr, why.message);
        }
    }
    if (ok) {
        now.form = type->form;
        now.data = type->sealed_count ? hm_buf_view(&clear) : data.raw;
        now.sealed = hm_buf_view(&sealed);
        hm_envelope(&now, &json, &at);
        now.json = hm_buf_view(&json);
        now.data = (struct hm_str){json.data + at, now.data.len};
        hm_record_encode(&now, out);
    }
    hm_buf_free(&rest);
    hm_buf_free(&clear);
    hm_buf_free(&sealed);
    hm_buf_free(&json);
    return ok;
}

// Keys, and the new form when there is one, of a record that was looked at.
static bool take_record(struct work *w, struct coming_type *ct, struct hm_str key, const struct hm_record *r,
                        const struct hm_shape_item *item, struct hm_error *err) {
    struct hm_json data = {HM_JSON_OBJECT, r->data};
    struct hm_record now = *r;
    struct hm_buf bytes = {0};
    bool ok = true, other = item || (ct->turned && to_seal(ct->type, data));
    int rc = 0;
    if (item) ok = hm_json_parse(item->data, &data, err) && data.kind == HM_JSON_OBJECT;
    if (ok && other && data.raw.len > HM_DATA_MAX)
        ok = hm_fail(err, HM_TOO_LARGE, "%s %.*s: its new form has %zu bytes, %u are allowed", ct->type->name,
                     (int)r->id.len, r->id.ptr, data.raw.len, HM_DATA_MAX);
    if (ok && other)
        ok = new_form(w, ct->type, r, data, &bytes, err) && hm_record_decode(hm_buf_view(&bytes), &now);
    if (ok && other) {
        MDB_val k = hm_val(key), v = hm_val(hm_buf_view(&bytes));
        rc = mdb_put(w->txn, w->store->next, &k, &v, 0);
    }
    for (unsigned i = 0; i < ct->type->index_count && ok && !rc; i++)
        if (ct->fresh[i]) ok = hm_index_put(w->store, w->txn, ct->type, &ct->type->indexes[i], &now, err);
    hm_buf_free(&bytes);
    return ok && (!rc || hm_mdb_fail(err, rc, w->store->dir, "write"));
}

static int set_stale(struct work *w, struct hm_str key, bool on) {
    struct hm_buf mark = {0};
    stale_key(key, &mark);
    MDB_val k = hm_val(hm_buf_view(&mark)), v = {0, (void *)""};
    int rc = on ? mdb_put(w->txn, w->store->next, &k, &v, 0) : mdb_del(w->txn, w->store->next, &k, NULL);
    hm_buf_free(&mark);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

// ---- indexes only
// -------------------------------------------------------------------------------------------------------

struct building {
    struct coming_type *ct;
    char *after;
    unsigned *count;
    bool *more;
};

static bool build_step(struct work *w, struct hm_error *err) {
    const struct building *b = w->arg;
    struct hm_buf prefix = {0}, from = {0};
    MDB_cursor *cursor = NULL;
    MDB_val k, v;
    struct hm_record r;
    unsigned done = 0, most = *b->count;
    char last[HM_ID_MAX + 1] = "";
    bool ok = true, inside = true;
    hm_record_key(hm_str_of(b->ct->type->name), (struct hm_str){0}, &prefix);
    hm_record_key(hm_str_of(b->ct->type->name), hm_str_of(b->after), &from);
    k = hm_val(hm_buf_view(&from));
    int rc = mdb_cursor_open(w->txn, w->store->rec, &cursor);
    if (!rc) rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
    if (!rc && b->after[0] && hm_str_eq(hm_val_str(k), hm_buf_view(&from)))
        rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
    for (; ok && !rc; rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
        inside = hm_str_starts(hm_val_str(k), hm_buf_view(&prefix));
        if (!inside || done == most) break;
        ok = hm_record_decode(hm_val_str(v), &r) ||
             hm_fail(err, HM_INTERNAL, "%s: a damaged record of type %s", w->store->dir, b->ct->type->name);
        ok = ok && take_record(w, b->ct, hm_val_str(k), &r, NULL, err);
        if (ok) snprintf(last, sizeof last, "%.*s", (int)r.id.len, r.id.ptr);
        done++;
    }
    if (cursor) mdb_cursor_close(cursor);
    hm_buf_free(&prefix);
    hm_buf_free(&from);
    if (ok && rc && rc != MDB_NOTFOUND) ok = hm_mdb_fail(err, rc, w->store->dir, "build an index");
    if (!ok) return false;
    *b->more = !rc && inside;
    *b->count = done;
    if (done) memcpy(b->after, last, sizeof last);
    return true;
}

bool hm_shape_build(struct hm_store *store, struct hm_str type, char after[HM_ID_MAX + 1], unsigned *count,
                    bool *more, struct hm_error *err) {
    struct coming_type *ct = coming_find(store, type);
    struct building b = {ct, after, count, more};
    if (!ct || ct->turned) return hm_fail(err, HM_INTERNAL, "no indexes of that type are being built");
    if (!in_txn(store, build_step, &b, err)) return false;
    ct->built = !*more;
    return true;
}

// ---- records somebody has looked at
// ------------------------------------------------------------------------------------

static int item_by_id(const void *key, const void *item) {
    return hm_str_cmp(*(const struct hm_str *)key, ((const struct hm_shape_item *)item)->id);
}

static bool step_one(struct work *w, const struct hm_shape_step *s, struct coming_type *ct, struct hm_str key,
                     struct hm_str value, struct hm_error *err) {
    struct hm_record r;
    if (!hm_record_decode(value, &r))
        return hm_fail(err, HM_INTERNAL, "%s: a damaged record of type %s", w->store->dir, ct->type->name);
    const struct hm_shape_item *item =
        s->count ? bsearch(&r.id, s->items, s->count, sizeof *s->items, item_by_id) : NULL;
    bool seen = r.version <= s->snapshot;
    if (seen && !take_record(w, ct, key, &r, item, err)) return false;
    int rc = set_stale(w, key, !seen);
    return !rc || hm_mdb_fail(err, rc, w->store->dir, "write");
}

static bool step_listed(struct work *w, const struct hm_shape_step *s, struct coming_type *ct,
                        struct hm_error *err) {
    struct hm_str rest = s->ids, id;
    struct hm_buf key = {0};
    bool ok = true;
    while (ok && hm_packed_next(&rest, &id)) {
        hm_buf_clear(&key);
        hm_record_key(s->type, id, &key);
        MDB_val k = hm_val(hm_buf_view(&key)), v;
        int rc = mdb_get(w->txn, w->store->rec, &k, &v);
        if (rc == MDB_NOTFOUND)
            rc = set_stale(w, hm_buf_view(&key), false);
        else if (!rc)
            ok = step_one(w, s, ct, hm_buf_view(&key), hm_val_str(v), err);
        if (ok && rc) ok = hm_mdb_fail(err, rc, w->store->dir, "read");
    }
    hm_buf_free(&key);
    return ok;
}

static bool step_range(struct work *w, const struct hm_shape_step *s, struct coming_type *ct,
                       struct hm_error *err) {
    struct hm_buf low = {0}, high = {0};
    MDB_cursor *cursor = NULL;
    MDB_val k, v;
    bool ok = true;
    hm_record_key(s->type, s->after, &low);
    hm_record_key(s->type, s->upto, &high);
    k = hm_val(hm_buf_view(&low));
    int rc = mdb_cursor_open(w->txn, w->store->rec, &cursor);
    if (!rc) rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
    for (; ok && !rc; rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
        struct hm_str key = hm_val_str(k);
        if (s->after.len && hm_str_eq(key, hm_buf_view(&low))) continue;
        if (s->upto.len ? hm_str_cmp(key, hm_buf_view(&high)) > 0 : !hm_str_starts(key, hm_buf_view(&high)))
            break;
        ok = step_one(w, s, ct, key, hm_val_str(v), err);
    }
    if (cursor) mdb_cursor_close(cursor);
    hm_buf_free(&low);
    hm_buf_free(&high);
    return ok && (!rc || rc == MDB_NOTFOUND || hm_mdb_fail(err, rc, w->store->dir, "read"));
}

static bool put_step(struct work *w, struct hm_error *err) {
    const struct hm_shape_step *s = w->arg;
    struct coming_type *ct = coming_find(w->store, s->type);
    return s->listed ? step_listed(w, s, ct, err) : step_range(w, s, ct, err);
}

bool hm_shape_put(struct hm_store *store, const struct hm_shape_step *step, struct hm_error *err) {
    struct coming_type *ct = coming_find(store, step->type);
    if (!ct || !ct->turned) return hm_fail(err, HM_INTERNAL, "no records of that type are being changed");
    if (!in_txn(store, put_step, (void *)step, err)) return false;
    if (!step->listed && !step->upto.len) ct->built = true;
    return true;
}

// ---- writes meanwhile
// ---------------------------------------------------------------------------------------------------

static void next_op(struct hm_write *w, bool add, struct hm_str key) {
    struct hm_buf packed = {0};
    struct hm_key_op model = {.space = HM_SPACE_NEXT};
    hm_packed_add(&packed, key);
    if (add)
        hm_write_diff(w, (struct hm_str){0}, hm_buf_view(&packed), &model);
    else
        hm_write_diff(w, hm_buf_view(&packed), (struct hm_str){0}, &model);
    hm_buf_free(&packed);
}

static void broken(struct hm_store *store, const struct hm_error *why) {
    if (store->coming->broken) return;
    store->coming->broken = true;
    store->coming->why = *why;
}

// Keys of the fresh indexes go and come as the record changes.
static void keys_ops(struct hm_write *w, const struct coming_type *ct, const struct hm_record *old,
                     const struct hm_record *now) {
    struct hm_buf before = {0}, after = {0};
    for (unsigned i = 0; i < ct->type->index_count; i++) {
        const struct hm_index *index = &ct->type->indexes[i];
        struct hm_error why = {0};
        bool null = false, unbound = false, ok = true;
        if (!ct->fresh[i]) continue;
        hm_buf_clear(&before);
        hm_buf_clear(&after);
        if (old) ok = hm_index_keys_of(ct->type, index, old, &before, &null, &why);
        if (ok && now) ok = hm_index_keys_of(ct->type, index, now, &after, &unbound, &why);
        if (!ok) broken(w->store, &why);
        struct hm_key_op model = {.space = HM_SPACE_IDX,
                                  .type = ct->type,
                                  .coming = index->unique && !unbound ? index : NULL,
                                  .id_len = now ? now->id.len : old->id.len};
        if (ok) hm_write_diff(w, hm_buf_view(&before), hm_buf_view(&after), &model);
    }
    hm_buf_free(&before);
    hm_buf_free(&after);
}

void hm_coming_plan(struct hm_write *w, const struct hm_record *old, const struct hm_record *now) {
    const struct hm_record *r = now ? now : old;
    struct coming_type *ct = coming_find(w->store, r->type);
    struct hm_buf key = {0}, mark = {0};
    hm_record_key(r->type, r->id, &key);
    if (hm_listed(hm_buf_view(&w->turned), r->type)) { // what is written now is in the new form
        next_op(w, false, hm_buf_view(&key));
    } else if (ct && !ct->turned) {
        keys_ops(w, ct, old, now);
    } else if (ct) { // what was made of it is of no use any more
        MDB_val k = hm_val(hm_buf_view(&key)), v;
        struct hm_record made;
        bool has = mdb_get(w->txn, w->store->next, &k, &v) == 0 && hm_record_decode(hm_val_str(v), &made);
        if (old) keys_ops(w, ct, has ? &made : old, NULL);
        next_op(w, false, hm_buf_view(&key));
        stale_key(hm_buf_view(&key), &mark);
        next_op(w, now != NULL, hm_buf_view(&mark));
    }
    hm_buf_free(&key);
    hm_buf_free(&mark);
}

int hm_coming_unique(struct hm_write *w, const struct hm_index *index, const char *type, struct hm_str key,
                     size_t id_len) {
    struct hm_str prefix = {key.ptr, key.len - id_len};
    MDB_cursor *cursor = NULL;
    MDB_val k = hm_val(prefix), v;
    int rc = mdb_cursor_open(w->txn, w->store->idx, &cursor);
    if (!rc) rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
    if (!rc && hm_str_starts(hm_val_str(k), prefix) && !hm_str_eq(hm_val_str(k), key)) {
        struct hm_str there = hm_val_str(k);
        struct hm_error why = {0};
        hm_fail(&why, HM_CONFLICT,
                "the unique index %s of type %s does not hold: %.*s and %.*s have the same value",
                index->name, type, (int)(there.len - prefix.len), there.ptr + prefix.len, (int)id_len,
                key.ptr + prefix.len);
        broken(w->store, &why);
    }
    if (cursor) mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}
