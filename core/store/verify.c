// Reads everything and believes nothing: the chain of the change log, every record against the entry that
// wrote it, every index and member key against the records, both ways. On a snapshot, any thread; the map
// cannot grow meanwhile.
#include "store/internal.h"
#include <sodium.h>
#include <stdlib.h>

struct verify {
    struct hm_store *store;
    struct hm_read *read;
    struct hm_types *types;
    struct hm_error *err;
    uint64_t idx_expected, mem_expected;
    struct hm_buf beside; // packed: beginnings of keys in idx that no index in force has, see shape.c
    struct hm_str turned;
};

#define fault(v, ...) hm_fail((v)->err, HM_INTERNAL, __VA_ARGS__)

static bool lookup(struct verify *v, MDB_dbi dbi, struct hm_str key, struct hm_str *out) {
    MDB_val k = hm_val(key), value;
    if (mdb_get(v->read->txn, dbi, &k, &value) != 0) return false;
    if (out) *out = hm_val_str(value);
    return true;
}

static bool check_chain(struct verify *v, uint64_t *checked) {
    MDB_cursor *cursor = NULL;
    MDB_val k, value;
    uint8_t hash[HM_HASH] = {0}, next[HM_HASH], expected[8];
    uint64_t seq = 0;
    struct hm_entry e;
    struct hm_str head;
    bool ok = true;
    int rc = mdb_cursor_open(v->read->txn, v->store->log, &cursor);
    if (!rc) rc = mdb_cursor_get(cursor, &k, &value, MDB_FIRST);
    for (; ok && !rc; rc = mdb_cursor_get(cursor, &k, &value, MDB_NEXT)) {
        unsigned long long at = ++seq;
        hm_log_key(seq, expected);
        struct hm_str bytes = hm_val_str(value);
        if (k.mv_size != 8 || memcmp(k.mv_data, expected, 8) != 0) {
            ok = fault(v, "change %llu is missing from the change log", at);
        } else if (bytes.len < HM_HASH) {
            ok = fault(v, "change %llu is cut short", at);
        } else {
            struct hm_str entry = {bytes.ptr, bytes.len - HM_HASH};
            hm_chain(hash, entry, next);
            if (memcmp(next, bytes.ptr + entry.len, HM_HASH) != 0) {
                ok = fault(
                    v, "change %llu is not what was written: its hash does not follow from the one before",
                    at);
            } else if (!hm_entry_decode(entry, &e) || e.change.seq != seq || e.change.commit > seq) {
                ok = fault(v, "change %llu cannot be read", at);
            }
            memcpy(hash, next, HM_HASH);
        }
        if (ok) *checked = seq;
    }
    if (cursor) mdb_cursor_close(cursor);
    if (ok && rc != MDB_NOTFOUND) return hm_mdb_fail(v->err, rc, v->store->dir, "read the change log");
    if (!ok) return false;
    if (!hm_meta_get(v->store, v->read->txn, "head", &head) || head.len != 8 + HM_HASH)
        return fault(v, "the head of the change log is missing");
    struct hm_reader in = hm_reader_of(head);
    if (hm_get_u64(&in) != seq || memcmp(head.ptr + 8, hash, HM_HASH) != 0)
        return fault(v, "the change log does not end where it was said to end (change %llu)",
                     (unsigned long long)seq);
    return true;
}

// ---- meta and keys
// ---------------------------------------------------------------------------------------------------

static bool check_meta_entry(struct verify *v, struct hm_str name, struct hm_str value) {
    static const char *const old[] = {"format", "epoch", "types", "indexes",
                                      "keyring"}; // perhaps without a sum
    struct hm_buf other = {0};
    struct hm_str found;
    uint8_t sum[HM_HASH];
    bool ok = true;
    // The chain tells of the head, and the turn was looked at before opening (pages.c).
    if (hm_str_eq(name, HM_LIT("head")) || hm_str_eq(name, HM_LIT("turn"))) return true;
    if (hm_str_starts(name, HM_LIT("sum:"))) {
        ok = lookup(v, v->store->meta, (struct hm_str){name.ptr + 4, name.len - 4}, NULL);
    } else {
        hm_buf_text(&other, "sum:");
        hm_buf_str(&other, name);
        crypto_generichash(sum, sizeof sum, (const uint8_t *)value.ptr, value.len, NULL, 0);
        ok = lookup(v, v->store->meta, hm_buf_view(&other), &found);
        if (ok) {
            ok = hm_str_eq(found, (struct hm_str){(const char *)sum, sizeof sum});
        } else {
            for (size_t i = 0; i < sizeof old / sizeof *old && !ok; i++)
                ok = hm_str_eq(name, hm_str_of(old[i]));
        }
        hm_buf_free(&other);
    }
    return ok || fault(v, "what the store keeps about itself is not what was written");
}

static bool check_meta(struct verify *v) {
    MDB_cursor *cursor = NULL;
    MDB_val k, value;
    bool ok = true;
    int rc = mdb_cursor_open(v->read->txn, v->store->meta, &cursor);
    if (!rc) rc = mdb_cursor_get(cursor, &k, &value, MDB_FIRST);
    for (; ok && !rc; rc = mdb_cursor_get(cursor, &k, &value, MDB_NEXT))
        ok = check_meta_entry(v, hm_val_str(k), hm_val_str(value));
    if (cursor) mdb_cursor_close(cursor);
    return ok && (rc == MDB_NOTFOUND || hm_mdb_fail(v->err, rc, v->store->dir, "read"));
}

// Each sealed field opens, or its person's key was destroyed.
static bool check_sealed(struct verify *v, const struct hm_record *r) {
    struct hm_reader in = hm_reader_of(r->sealed);
    struct hm_buf clear = {0};
    bool ok = true;
    while (ok && v->store->keyring && !in.bad && in.at < in.end) {
        struct hm_str field = hm_get_str(&in);
        struct hm_error why = {0};
        hm_get_str(&in);
        if (in.bad || hm_unseal(v->store, r, field, &clear, &why)) {
            ok = !in.bad;
        } else { // NOT_FOUND: its type is not declared any more
            ok = why.code == HM_NOT_FOUND || (why.code == HM_UNAVAILABLE && why.cause != HM_CAUSE_NO_KEY);
        }
    }
    if (clear.data) sodium_memzero(clear.data, clear.cap);
    hm_buf_free(&clear);
    return ok || fault(v,
                       "a sealed field of a record of type %.*s does not open: its person's key is missing "
                       "or another",
                       (int)r->type.len, r->type.ptr);
}

static bool check_index_keys(struct verify *v, const struct hm_type *type, const struct hm_record *r) {
    struct hm_buf keys = {0};
    bool ok = true;
    for (unsigned i = 0; i < type->index_count && ok; i++) {
        struct hm_str rest, key, value;
        hm_buf_clear(&keys);
        ok = hm_index_keys(type, &type->indexes[i], r, &keys, v->err);
        rest = hm_buf_view(&keys);
        while (ok && hm_packed_next(&rest, &key)) {
            v->idx_expected++;
            if (!lookup(v, v->store->idx, key, &value) || value.len)
                ok = fault(v, "index %s of type %s lacks an entry of the record written by change %llu",
                           type->indexes[i].name, type->name, (unsigned long long)r->version);
        }
    }
    hm_buf_free(&keys);
    return ok;
}

static int by_text(const void *a, const void *b) {
    return hm_str_cmp(*(const struct hm_str *)a, *(const struct hm_str *)b);
}

static bool check_members(struct verify *v, const struct hm_record *r) {
    struct hm_str rest = r->members, item, value, list[HM_MEMBERS_MAX];
    struct hm_buf key = {0};
    size_t count = 0;
    bool ok = true;
    while (count < HM_MEMBERS_MAX && hm_packed_next(&rest, &item))
        list[count++] = item;
    qsort(list, count, sizeof *list, by_text);
    for (size_t i = 0; i < count && ok; i++) {
        if (i && hm_str_eq(list[i], list[i - 1])) continue;
        hm_buf_clear(&key);
        hm_member_key(list[i], r->type, r->id, &key);
        v->mem_expected++;
        if (!lookup(v, v->store->mem, hm_buf_view(&key), &value) || value.len)
            ok = fault(
                v,
                "a member of the record of type %.*s written by change %llu is missing from the member index",
                (int)r->type.len, r->type.ptr, (unsigned long long)r->version);
    }
    hm_buf_free(&key);
    return ok && (rest.len == 0 || fault(v, "a record of type %.*s has an unreadable list of members",
                                         (int)r->type.len, r->type.ptr));
}

// The record must be what the change of its version wrote, byte by byte.
static bool check_origin(struct verify *v, const struct hm_record *r) {
    uint8_t key[8];
    struct hm_str value;
    struct hm_entry e;
    hm_log_key(r->version, key);
    if (!lookup(v, v->store->log, (struct hm_str){(const char *)key, 8}, &value) || value.len < HM_HASH ||
        !hm_entry_decode((struct hm_str){value.ptr, value.len - HM_HASH}, &e) ||
        e.change.action == HM_DELETED || !hm_str_eq(e.change.type, r->type) ||
        !hm_str_eq(e.change.id, r->id) || !hm_str_eq(e.change.json, r->json) ||
        !hm_str_eq(e.change.audience, r->audience) || !hm_str_eq(e.members, r->members) ||
        !hm_str_eq(e.sealed, r->sealed) || e.form != r->form)
        return fault(v, "a record of type %.*s is not as change %llu wrote it", (int)r->type.len, r->type.ptr,
                     (unsigned long long)r->version);
    return true;
}

// The fields before the envelope must be those that it was made of.
static bool check_head(struct verify *v, const struct hm_record *r) {
    struct hm_buf again = {0};
    size_t at;
    hm_envelope(r, &again, &at);
    bool same = hm_str_eq(hm_buf_view(&again), r->json);
    hm_buf_free(&again);
    return same || fault(v, "the head of a record of type %.*s is not as change %llu wrote it",
                         (int)r->type.len, r->type.ptr, (unsigned long long)r->version);
}

static bool check_record(struct verify *v, struct hm_str key, struct hm_str value) {
    struct hm_record r;
    struct hm_json json, data;
    struct hm_buf expected = {0};
    const char *zero = memchr(key.ptr, 0, key.len);
    int type_len = zero ? (int)(zero - key.ptr) : 0;
    if (!hm_record_decode(value, &r))
        return fault(v, "a record of type %.*s cannot be read", type_len, key.ptr);
    hm_record_key(r.type, r.id, &expected);
    bool same = hm_str_eq(key, hm_buf_view(&expected)) && r.id.len <= HM_ID_MAX;
    hm_buf_free(&expected);
    if (!same) return fault(v, "a record of type %.*s lies under another key", type_len, key.ptr);
    if (!hm_json_parse(r.json, &json, NULL) || !hm_json_get(json, "data", &data) ||
        data.kind != HM_JSON_OBJECT || data.raw.ptr != r.data.ptr || data.raw.len != r.data.len)
        return fault(v, "a record of type %.*s holds no valid JSON", type_len, key.ptr);
    if (!check_head(v, &r) || !check_origin(v, &r) || !check_sealed(v, &r)) return false;
    const struct hm_type *type = hm_types_find(v->types, r.type);
    if (!check_members(v, &r)) return false;
    hm_turned_find(v->store, v->read->txn, v->turned, key, &r);
    return !type || check_index_keys(v, type, &r);
}

// A form that is prepared belongs to a record as it is now, or that was written since is marked.
static bool check_next(struct verify *v) {
    MDB_cursor *cursor = NULL;
    MDB_val k, value;
    struct hm_str stored, going;
    bool ok = true;
    // Of what was given up the records may have changed since.
    if (!v->store->has_next || (hm_meta_get(v->store, v->read->txn, "going", &going) && !v->turned.len))
        return true;
    int rc = mdb_cursor_open(v->read->txn, v->store->next, &cursor);
    if (!rc) rc = mdb_cursor_get(cursor, &k, &value, MDB_FIRST);
    for (; ok && !rc; rc = mdb_cursor_get(cursor, &k, &value, MDB_NEXT)) {
        struct hm_record made, now;
        if (!value.mv_size) continue;
        ok = hm_record_decode(hm_val_str(value), &made) && lookup(v, v->store->rec, hm_val_str(k), &stored) &&
             hm_record_decode(stored, &now) && now.version == made.version && hm_str_eq(now.id, made.id);
        if (!ok) fault(v, "a record's coming form is not of the record as it is");
    }
    if (cursor) mdb_cursor_close(cursor);
    return ok && (rc == MDB_NOTFOUND || hm_mdb_fail(v->err, rc, v->store->dir, "read"));
}

static bool is_beside(const struct verify *v, struct hm_str key) {
    struct hm_str rest = hm_buf_view(&v->beside), prefix;
    while (hm_packed_next(&rest, &prefix))
        if (hm_str_starts(key, prefix)) return true;
    return false;
}

static int count_beside(struct verify *v, size_t *count) {
    struct hm_str rest = hm_buf_view(&v->beside), prefix;
    MDB_cursor *cursor = NULL;
    MDB_val k, value;
    int rc = mdb_cursor_open(v->read->txn, v->store->idx, &cursor);
    while (!rc && hm_packed_next(&rest, &prefix)) {
        k = hm_val(prefix);
        rc = mdb_cursor_get(cursor, &k, &value, MDB_SET_RANGE);
        for (; !rc && hm_str_starts(hm_val_str(k), prefix); ++*count)
            rc = mdb_cursor_get(cursor, &k, &value, MDB_NEXT);
        if (rc == MDB_NOTFOUND) rc = 0;
    }
    if (cursor) mdb_cursor_close(cursor);
    return rc;
}

// More keys than the records have: find the first that no record has.
static bool find_stray_index_key(struct verify *v) {
    MDB_cursor *cursor = NULL;
    MDB_val k, value;
    struct hm_buf keys = {0}, name = {0};
    bool ok = true;
    int rc = mdb_cursor_open(v->read->txn, v->store->idx, &cursor);
    if (!rc) rc = mdb_cursor_get(cursor, &k, &value, MDB_FIRST);
    for (; ok && !rc; rc = mdb_cursor_get(cursor, &k, &value, MDB_NEXT)) {
        struct hm_str key = hm_val_str(k), item, rest;
        struct hm_record r;
        if (is_beside(v, key)) continue;
        hm_buf_clear(&name);
        hm_buf_clear(&keys);
        hm_buf_str(&name, key);
        size_t type_len = name.data ? strlen(name.data) : 0; // up to the zero byte behind the type
        const char *index_name = type_len < key.len ? name.data + type_len + 1 : "";
        const struct hm_type *type = hm_types_find(v->types, (struct hm_str){key.ptr, type_len});
        const struct hm_index *index = type ? hm_type_index(type, hm_str_of(index_name)) : NULL;
        bool found = false;
        if (index && hm_read_get(v->read, hm_str_of(type->name), hm_index_key_id(key), &r, NULL) &&
            hm_index_keys(type, index, &r, &keys, NULL)) {
            rest = hm_buf_view(&keys);
            while (!found && hm_packed_next(&rest, &item))
                found = hm_str_eq(item, key);
        }
        if (!found)
            ok = fault(v, "index %s of type %s has an entry that no record has", index_name, name.data);
    }
    if (cursor) mdb_cursor_close(cursor);
    hm_buf_free(&keys);
    hm_buf_free(&name);
    return ok && fault(v, "the indexes have a different number of entries than the records");
}

static bool check_records(struct verify *v) {
    MDB_cursor *cursor = NULL;
    MDB_val k, value;
    MDB_stat idx, mem;
    size_t beside = 0;
    bool ok = true;
    int rc = mdb_cursor_open(v->read->txn, v->store->rec, &cursor);
    if (!rc) rc = mdb_cursor_get(cursor, &k, &value, MDB_FIRST);
    for (; ok && !rc; rc = mdb_cursor_get(cursor, &k, &value, MDB_NEXT))
        ok = check_record(v, hm_val_str(k), hm_val_str(value));
    if (cursor) mdb_cursor_close(cursor);
    if (!ok) return false;
    if (rc == MDB_NOTFOUND) rc = mdb_stat(v->read->txn, v->store->idx, &idx);
    if (!rc) rc = mdb_stat(v->read->txn, v->store->mem, &mem);
    if (!rc) rc = count_beside(v, &beside);
    if (rc) return hm_mdb_fail(v->err, rc, v->store->dir, "read");
    if (idx.ms_entries != v->idx_expected + beside) return find_stray_index_key(v);
    if (mem.ms_entries != v->mem_expected)
        return fault(v, "the member index has an entry that no record has");
    return true;
}

bool hm_store_verify(struct hm_store *store, uint64_t *checked, struct hm_error *err) {
    struct verify v = {.store = store, .err = err};
    uint64_t count = 0;
    if (!hm_read_begin(store, &v.read, err)) return false;
    v.types = hm_store_types(store);
    v.turned = hm_turned(store, v.read->txn);
    bool ok = check_meta(&v) && hm_shape_beside(store, v.read->txn, &v.beside, err) &&
              (!store->keyring || hm_keyring_verify(store->keyring, err)) && check_chain(&v, &count) &&
              check_records(&v) && check_next(&v);
    hm_buf_free(&v.beside);
    hm_types_unref(v.types);
    hm_read_end(v.read);
    if (checked) *checked = count;
    return ok;
}
