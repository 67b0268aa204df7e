// Snapshots, look-ups and scans. Any thread; a snapshot belongs to the thread that began it until it ends it.
//
// A transaction that ended stays in a pool with its slot in the lock table, so that the next one costs a
// renew. While a read is open it holds map_lock shared: the map does not move under the slices it gave out.
#include "base/log.h"
#include "store/internal.h"
#include <stdlib.h>
#include <time.h>

#define REMAP_WAIT_S 1

// By the clock that nobody sets. ThreadSanitizer of gcc 12 does not know that call.
static int lock_within(pthread_rwlock_t *lock, time_t seconds) {
#ifdef __SANITIZE_THREAD__
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += seconds;
    return pthread_rwlock_timedwrlock(lock, &until);
#else
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += seconds;
    return pthread_rwlock_clockwrlock(lock, CLOCK_MONOTONIC, &until);
#endif
}

// The map was grown by the server: follow it, when no read of this process is open.
static bool follow_map(struct hm_store *store, struct hm_error *err) {
    if (lock_within(&store->map_lock, REMAP_WAIT_S) != 0)
        return hm_fail(err, HM_UNAVAILABLE,
                       "%s: the map has grown and another read keeps this process from following",
                       store->dir);
    int rc = mdb_env_set_mapsize(store->env, 0);
    pthread_rwlock_unlock(&store->map_lock);
    return !rc || hm_mdb_fail(err, rc, store->dir, "follow the map");
}

static int begin_or_renew(struct hm_store *store, struct hm_read *read) {
    if (read->txn) return mdb_txn_renew(read->txn);
    return mdb_txn_begin(store->env, NULL, MDB_RDONLY, &read->txn);
}

static void to_pool(struct hm_store *store, struct hm_read *read) {
    if (!read->txn) {
        free(read);
        return;
    }
    pthread_mutex_lock(&store->pool_lock);
    read->next = store->pool;
    store->pool = read;
    pthread_mutex_unlock(&store->pool_lock);
}

static struct hm_read *from_pool(struct hm_store *store) {
    pthread_mutex_lock(&store->pool_lock);
    struct hm_read *read = store->pool;
    if (read) store->pool = read->next;
    pthread_mutex_unlock(&store->pool_lock);
    if (!read) {
        read = hm_alloc(sizeof *read);
        read->store = store;
    }
    return read;
}

bool hm_read_begin(struct hm_store *store, struct hm_read **out, struct hm_error *err) {
    struct hm_read *read = from_pool(store);
    int rc = 0;
    *out = NULL;
    for (int attempt = 0; attempt < 4; attempt++) {
        pthread_rwlock_rdlock(&store->map_lock);
        rc = begin_or_renew(store, read);
        if (!rc) {
            read->seq_known = read->turned_known = false;
            *out = read;
            return true;
        }
        pthread_rwlock_unlock(&store->map_lock);
        if (rc == MDB_MAP_RESIZED) {
            if (!follow_map(store, err)) break;
        } else if (rc == MDB_READERS_FULL && !store->read_only) {
            hm_store_clear_readers(store);
        } else {
            break;
        }
    }
    to_pool(store, read);
    return rc == MDB_MAP_RESIZED ? false : hm_mdb_fail(err, rc, store->dir, "begin to read");
}

void hm_read_end(struct hm_read *read) {
    if (!read) return;
    struct hm_store *store = read->store;
    mdb_txn_reset(read->txn);
    pthread_rwlock_unlock(&store->map_lock);
    to_pool(store, read);
}

uint64_t hm_read_seq(const struct hm_read *read) {
    struct hm_read *r = (struct hm_read *)read; // looked up once: many reads never ask
    struct hm_str head;
    if (!r->seq_known) {
        r->seq = 0;
        if (hm_meta_get(r->store, r->txn, "head", &head)) {
            struct hm_reader in = hm_reader_of(head);
            r->seq = hm_get_u64(&in);
        }
        r->seq_known = true;
    }
    return r->seq;
}

// Looked up once: it is the same as long as the read lasts.
static struct hm_str turned_of(struct hm_read *read) {
    if (!read->turned_known) read->turned = hm_turned(read->store, read->txn);
    read->turned_known = true;
    return read->turned;
}

static bool get_by_key(struct hm_read *read, struct hm_str key, struct hm_record *out, int *rc) {
    MDB_val k = hm_val(key), v;
    *rc = mdb_get(read->txn, read->store->rec, &k, &v);
    if (*rc || !hm_record_decode(hm_val_str(v), out)) return false;
    hm_turned_find(read->store, read->txn, turned_of(read), key, out);
    return true;
}

bool hm_read_get(struct hm_read *read, struct hm_str type, struct hm_str id, struct hm_record *out,
                 struct hm_error *err) {
    char key[HM_NAME_MAX + 1 + HM_ID_MAX];
    int rc;
    if (type.len > HM_NAME_MAX || id.len > HM_ID_MAX || !type.len || !id.len)
        return hm_fail(err, HM_NOT_FOUND, "no such record");
    memcpy(key, type.ptr, type.len);
    key[type.len] = 0;
    memcpy(key + type.len + 1, id.ptr, id.len);
    if (get_by_key(read, (struct hm_str){key, type.len + 1 + id.len}, out, &rc)) return true;
    if (rc == MDB_NOTFOUND) return hm_fail(err, HM_NOT_FOUND, "no such record");
    if (rc) return hm_mdb_fail(err, rc, read->store->dir, "read");
    return hm_fail(err, HM_INTERNAL, "%s: a damaged record of type %.*s", read->store->dir, (int)type.len,
                   type.ptr);
}

// ---- scans
// ----------------------------------------------------------------------------------------------------------

struct hm_scan {
    struct hm_read *read;
    MDB_cursor *cursor;
    bool by_index, descending, ended;
    bool placed;             // the cursor stands on the next entry already
    struct hm_str low, high; // in keys
    struct hm_str at;        // database key of the last one
    struct hm_buf keys, record_key;
    size_t type_len;
};

// Puts the cursor on the first entry of the walk.
static int place(struct hm_scan *s, struct hm_str after, MDB_val *k) {
    MDB_val v;
    int rc;
    if (s->descending) {
        struct hm_str from = after.len && hm_str_cmp(after, s->high) < 0 ? after : s->high;
        *k = hm_val(from);
        rc = mdb_cursor_get(s->cursor, k, &v, MDB_SET_RANGE);
        if (rc == MDB_NOTFOUND) return mdb_cursor_get(s->cursor, k, &v, MDB_LAST);
        return rc ? rc : mdb_cursor_get(s->cursor, k, &v, MDB_PREV);
    }
    bool behind = after.len && hm_str_cmp(after, s->low) >= 0;
    struct hm_str from = behind ? after : s->low;
    *k = hm_val(from);
    rc = mdb_cursor_get(s->cursor, k, &v, MDB_SET_RANGE);
    if (!rc && behind && hm_str_eq(hm_val_str(*k), after)) rc = mdb_cursor_get(s->cursor, k, &v, MDB_NEXT);
    return rc;
}

bool hm_scan_begin(struct hm_read *read, const struct hm_range *range, bool descending,
                   struct hm_str after_key, struct hm_scan **out, struct hm_error *err) {
    *out = NULL;
    if (after_key.len > HM_KEY_MAX)
        return hm_fail(err, HM_PARAMS, "cursor: longer than %d bytes", HM_KEY_MAX);
    struct hm_scan *s = hm_alloc(sizeof *s);
    s->read = read;
    s->by_index = range->index != NULL;
    s->descending = descending;
    s->type_len = range->type.len;
    hm_buf_reserve(&s->keys, range->low.len + range->high.len);
    hm_buf_str(&s->keys, range->low);
    hm_buf_str(&s->keys, range->high);
    s->low = (struct hm_str){s->keys.data, range->low.len};
    s->high = (struct hm_str){s->keys.data + range->low.len, range->high.len};
    hm_buf_str(&s->record_key, range->type);
    hm_buf_char(&s->record_key, '\0');
    int rc = mdb_cursor_open(read->txn, s->by_index ? read->store->idx : read->store->rec, &s->cursor);
    MDB_val k = {0};
    if (!rc && hm_str_cmp(s->low, s->high) >= 0) {
        s->ended = true;
    } else if (!rc) {
        rc = place(s, after_key, &k);
        if (rc == MDB_NOTFOUND) {
            s->ended = true;
            rc = 0;
        }
        s->placed = true;
        s->at = hm_val_str(k);
    }
    if (rc) {
        hm_scan_end(s);
        return hm_mdb_fail(err, rc, read->store->dir, "scan");
    }
    *out = s;
    return true;
}

static bool step(struct hm_scan *s) {
    MDB_val k, v;
    if (!s->placed) {
        if (mdb_cursor_get(s->cursor, &k, &v, s->descending ? MDB_PREV : MDB_NEXT) != 0) return false;
        s->at = hm_val_str(k);
    }
    s->placed = false;
    return s->descending ? hm_str_cmp(s->at, s->low) >= 0 : hm_str_cmp(s->at, s->high) < 0;
}

static bool load(struct hm_scan *s, struct hm_record *out) {
    int rc;
    if (s->by_index) {
        s->record_key.len = s->type_len + 1;
        hm_buf_str(&s->record_key, hm_index_key_id(s->at));
        return get_by_key(s->read, hm_buf_view(&s->record_key), out, &rc);
    }
    return get_by_key(s->read, s->at, out, &rc);
}

bool hm_scan_next(struct hm_scan *scan, struct hm_record *out) {
    while (!scan->ended && step(scan)) {
        if (load(scan, out)) return true;
        // What cannot be read is left out, but not in silence.
        hm_log(HM_ERROR, "store.damaged", "\"dir\":\"%s\",\"type\":\"%.*s\"", scan->read->store->dir,
               (int)scan->type_len, scan->record_key.data);
    }
    scan->ended = true;
    return false;
}

struct hm_str hm_scan_key(const struct hm_scan *scan) {
    return scan->at;
}

void hm_scan_end(struct hm_scan *scan) {
    if (!scan) return;
    if (scan->cursor) mdb_cursor_close(scan->cursor);
    hm_buf_free(&scan->keys);
    hm_buf_free(&scan->record_key);
    free(scan);
}

bool hm_read_every(struct hm_read *read, struct hm_str after_key,
                   bool (*fn)(void *arg, const struct hm_record *record), void *arg, struct hm_error *err) {
    MDB_cursor *cursor = NULL;
    MDB_val k = hm_val(after_key), v;
    struct hm_record record;
    bool ok = true;
    int rc = mdb_cursor_open(read->txn, read->store->rec, &cursor);
    if (!rc) rc = mdb_cursor_get(cursor, &k, &v, after_key.len ? MDB_SET_RANGE : MDB_FIRST);
    if (!rc && after_key.len && hm_str_eq(hm_val_str(k), after_key))
        rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
    for (; ok && !rc; rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
        ok = hm_record_decode(hm_val_str(v), &record) ||
             hm_fail(err, HM_INTERNAL, "%s: a damaged record; run hamroh verify", read->store->dir);
        if (ok) hm_turned_find(read->store, read->txn, turned_of(read), hm_val_str(k), &record);
        if (ok && !fn(arg, &record)) break;
    }
    if (cursor) mdb_cursor_close(cursor);
    return ok && (!rc || rc == MDB_NOTFOUND || hm_mdb_fail(err, rc, read->store->dir, "read"));
}

// ---- memberships, log
// -------------------------------------------------------------------------------------------------

bool hm_read_memberships(struct hm_read *read, struct hm_str person,
                         bool (*fn)(void *arg, struct hm_str principal), void *arg, struct hm_error *err) {
    struct hm_buf prefix = {0}, principal = {0};
    MDB_cursor *cursor = NULL;
    MDB_val k, v;
    hm_buf_text(&prefix, "person:");
    hm_buf_str(&prefix, person);
    hm_buf_char(&prefix, '\0');
    struct hm_str start = hm_buf_view(&prefix);
    int rc = mdb_cursor_open(read->txn, read->store->mem, &cursor);
    if (rc) goto out;
    k = hm_val(start);
    rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
    while (!rc && hm_str_starts(hm_val_str(k), start)) {
        struct hm_str key = hm_val_str(k);
        hm_buf_clear(&principal);
        hm_buf_add(&principal, key.ptr + start.len, key.len - start.len);
        char *zero = memchr(principal.data, 0, principal.len);
        if (zero) *zero = ':';
        if (!fn(arg, hm_buf_view(&principal))) break;
        rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
    }
out:
    if (cursor) mdb_cursor_close(cursor);
    hm_buf_free(&prefix);
    hm_buf_free(&principal);
    return rc == 0 || rc == MDB_NOTFOUND || hm_mdb_fail(err, rc, read->store->dir, "read members");
}

bool hm_log_read(struct hm_read *read, uint64_t after, bool (*fn)(void *arg, const struct hm_change *change),
                 void *arg, struct hm_error *err) {
    struct hm_store *store = read->store;
    MDB_cursor *cursor = NULL;
    MDB_val k, v;
    bool ok = true;
    if (after == UINT64_MAX) return true;
    uint8_t start[8];
    hm_log_key(after + 1, start);
    struct hm_types *types = hm_store_types(store);
    int rc = mdb_cursor_open(read->txn, store->log, &cursor);
    k = (MDB_val){sizeof start, start};
    if (!rc) rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
    while (!rc) {
        struct hm_entry e;
        struct hm_str value = hm_val_str(v);
        if (value.len < HM_HASH || !hm_entry_decode((struct hm_str){value.ptr, value.len - HM_HASH}, &e)) {
            ok = hm_fail(err, HM_INTERNAL, "%s: a damaged entry of the change log", store->dir);
            break;
        }
        hm_change_hide(types, &e.change);
        if (!fn(arg, &e.change)) break;
        rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
    }
    if (cursor) mdb_cursor_close(cursor);
    hm_types_unref(types);
    if (rc && rc != MDB_NOTFOUND) ok = hm_mdb_fail(err, rc, store->dir, "read the change log");
    return ok;
}

bool hm_log_get(struct hm_read *read, uint64_t seq, struct hm_change *out) {
    uint8_t key[8];
    struct hm_entry e;
    hm_log_key(seq, key);
    MDB_val k = {sizeof key, key}, v;
    if (mdb_get(read->txn, read->store->log, &k, &v)) return false;
    struct hm_str value = hm_val_str(v);
    if (value.len < HM_HASH || !hm_entry_decode((struct hm_str){value.ptr, value.len - HM_HASH}, &e))
        return false;
    struct hm_types *types = hm_store_types(read->store);
    hm_change_hide(types, &e.change);
    hm_types_unref(types);
    *out = e.change;
    return true;
}

static bool take_first(void *arg, const struct hm_change *change) {
    *(uint64_t *)arg = change->seq;
    return false;
}

uint64_t hm_log_first(struct hm_read *read) {
    uint64_t first = 0;
    hm_log_read(read, 0, take_first, &first, NULL);
    return first;
}
