// A call's transaction. Worker thread only. What always holds: every entry of a call's own writes stands once
// in each ordered list that has been made for its type, under the keys that hm_index_keys gives for it, and
// whatever was looked at in the store is covered by a point or a range of the read set.
#include "script/tx.h"
#include "base/arena.h"
#include "base/id.h"
#include "base/wire.h"
#include <assert.h>
#include <stdlib.h>
// The hash tables live in the arena of the transaction, too, and go with it: nothing is ever deleted from
// them.
#define uthash_malloc(size) hm_arena_take(&tx->arena, (size))
#define uthash_free(p, size) ((void)(p))
#include <uthash.h>

// A record this call wrote.
struct entry {
    const char *key; // type \0 id
    size_t key_len;
    const struct hm_type *type;
    bool removed, in_store;
    bool past;             // laid there by hm_tx_past_record, and not written by the call
    struct hm_record then; // what was laid there (type.len 0: nothing)
    uint64_t version;      // in the store, 0 when not there
    uint64_t first;        // when it was laid over the store (tx->clock)
    struct hm_record record;
    UT_hash_handle hh;
};
// The call's own writes of one type in the order of one index.
struct item {
    struct hm_str key; // owned
    struct entry *entry;
    uint64_t made;
    bool stale; // while its record is being replaced
};
struct order {
    const struct hm_type *type;
    const struct hm_index *index;
    struct item *items;
    size_t count, cap;
    struct hm_buf old; // packed keys, while a record is being replaced
    struct order *next;
};
struct point {
    const char *key;
    size_t key_len, type_len;
    uint64_t version;
    UT_hash_handle hh;
};
struct seen_type {
    char name[HM_NAME_MAX + 1];
    unsigned points, ranges;
    bool whole;
    UT_hash_handle hh;
};
struct seen_range {
    struct seen_type *type;
    enum hm_space space;
    struct hm_buf low, high; // high empty: nothing was looked at yet
};
struct hm_tx_scan {
    struct hm_tx *tx;
    struct hm_tx_scan *next, **link;
    struct hm_range range;
    const struct hm_type *type;
    const struct hm_index *index;
    bool descending, points, loaded, base_ended;
    struct hm_scan *base;
    struct hm_record base_record;
    struct hm_buf last; // key of the last one given
    bool started;
    size_t seen; // its range in the read set
    uint64_t began;
};
struct hm_tx {
    struct hm_store *store;
    const struct hm_types *types;
    struct hm_read *read;
    struct entry *entries;
    struct order *orders;
    struct point *points;
    struct seen_type *seen_types;
    struct seen_range *ranges;
    size_t range_count, range_cap;
    struct hm_tx_scan *scans;
    uint64_t clock, serial;
    size_t bytes, bytes_max;
    size_t writes;
    struct hm_buf key, keys; // for a moment
    struct hm_arena arena;   // entries, points, types and their hash tables
};

struct hm_tx *hm_tx_new(void) {
    return hm_alloc(sizeof(struct hm_tx));
}

void hm_tx_free(struct hm_tx *tx) {
    if (!tx) return;
    hm_tx_end(tx);
    hm_buf_free(&tx->key);
    hm_buf_free(&tx->keys);
    hm_arena_free(&tx->arena);
    free(tx->ranges);
    free(tx);
}

bool hm_tx_begin(struct hm_tx *tx, struct hm_store *store, const struct hm_types *types, size_t bytes_max,
                 struct hm_error *err) {
    hm_tx_end(tx);
    tx->store = store;
    tx->types = types;
    tx->bytes_max = bytes_max;
    return !store || hm_read_begin(store, &tx->read, err);
}

void hm_tx_end(struct hm_tx *tx) {
    while (tx->scans)
        hm_tx_scan_end(tx->scans);
    if (tx->read) hm_read_end(tx->read);
    tx->read = NULL;
    tx->entries = NULL;
    tx->points = NULL;
    tx->seen_types = NULL;
    hm_arena_reset(&tx->arena);
    while (tx->orders) {
        struct order *o = tx->orders;
        tx->orders = o->next;
        for (size_t i = 0; i < o->count; i++)
            free((char *)o->items[i].key.ptr);
        free(o->items);
        hm_buf_free(&o->old);
        free(o);
    }
    for (size_t i = 0; i < tx->range_count; i++) {
        hm_buf_free(&tx->ranges[i].low);
        hm_buf_free(&tx->ranges[i].high);
    }
    tx->range_count = 0;
    tx->clock = 0;
    tx->serial++;
    tx->bytes = tx->writes = 0;
    tx->store = NULL;
    tx->types = NULL;
}

uint64_t hm_tx_serial(const struct hm_tx *tx) {
    return tx->serial;
}

uint64_t hm_tx_snapshot(const struct hm_tx *tx) {
    return tx->read ? hm_read_seq(tx->read) : 0;
}

size_t hm_tx_writes(const struct hm_tx *tx) {
    return tx->writes;
}

// ---- the read set ------------------------------------------------------------------------------

static struct seen_type *seen_type_of(struct hm_tx *tx, struct hm_str name) {
    struct seen_type *t;
    HASH_FIND(hh, tx->seen_types, name.ptr, name.len, t);
    if (t || name.len > HM_NAME_MAX) return t;
    t = hm_arena_zeroed(&tx->arena, sizeof *t);
    memcpy(t->name, name.ptr, name.len);
    HASH_ADD(hh, tx->seen_types, name, name.len, t);
    return t;
}

static void see_point(struct hm_tx *tx, struct hm_str type, struct hm_str id, uint64_t version) {
    struct point *p;
    struct seen_type *t = seen_type_of(tx, type);
    if (!tx->store || !t || t->whole) return;
    hm_buf_clear(&tx->key);
    hm_record_key(type, id, &tx->key);
    HASH_FIND(hh, tx->points, tx->key.data, tx->key.len, p);
    if (p) return;
    if (++t->points > HM_POINTS_MAX) {
        t->whole = true;
        return;
    }
    p = hm_arena_zeroed(&tx->arena, sizeof *p);
    p->key = hm_arena_str(&tx->arena, hm_buf_view(&tx->key)).ptr;
    p->key_len = tx->key.len;
    p->type_len = type.len;
    p->version = version;
    HASH_ADD_KEYPTR(hh, tx->points, p->key, p->key_len, p);
    tx->bytes += sizeof *p + p->key_len;
}

static size_t see_range(struct hm_tx *tx, struct hm_str type, const struct hm_index *index) {
    if (tx->range_count == tx->range_cap) {
        tx->range_cap = tx->range_cap ? tx->range_cap * 2 : 16;
        tx->ranges = hm_realloc(tx->ranges, tx->range_cap * sizeof *tx->ranges);
    }
    struct seen_range *r = &tx->ranges[tx->range_count];
    *r = (struct seen_range){.type = seen_type_of(tx, type), .space = index ? HM_SPACE_IDX : HM_SPACE_REC};
    if (r->type && ++r->type->ranges > HM_POINTS_MAX) r->type->whole = true;
    return tx->range_count++;
}

// The walk came to this key (NULL: to its end). The range grows with it, so that what was never looked at
// does not count.
static void see_up_to(struct hm_tx_scan *s, const struct hm_str *key) {
    struct seen_range *r = &s->tx->ranges[s->seen];
    struct hm_str low = s->range.low, high = s->range.high;
    if (key && s->descending) {
        low = *key;
    } else if (key) {
        hm_buf_clear(&r->high);
        hm_buf_str(&r->high, *key);
        hm_buf_char(&r->high, '\0'); // the smallest key behind it
        high = (struct hm_str){0};
    }
    if (high.len) {
        hm_buf_clear(&r->high);
        hm_buf_str(&r->high, high);
    }
    hm_buf_clear(&r->low);
    hm_buf_str(&r->low, low);
}

// ---- the call's own writes ---------------------------------------------------------------------

static struct entry *entry_of(struct hm_tx *tx, struct hm_str type, struct hm_str id) {
    struct entry *e;
    if (!tx->entries) return NULL;
    hm_buf_clear(&tx->key);
    hm_record_key(type, id, &tx->key);
    HASH_FIND(hh, tx->entries, tx->key.data, tx->key.len, e);
    return e;
}

// First item that is not before key.
static size_t item_at(const struct order *o, struct hm_str key) {
    size_t from = 0, to = o->count;
    while (from < to) {
        size_t mid = from + (to - from) / 2;
        if (hm_str_cmp(o->items[mid].key, key) < 0) {
            from = mid + 1;
        } else {
            to = mid;
        }
    }
    return from;
}

// Calls fn for each key under which the record stands in this order.
static void each_key(struct hm_tx *tx, const struct order *o, const struct entry *e,
                     void (*fn)(struct hm_tx *tx, struct order *o, struct hm_str key, struct entry *e)) {
    if (!o->index) {
        fn(tx, (struct order *)o, (struct hm_str){e->key, e->key_len}, (struct entry *)e);
        return;
    }
    hm_buf_clear(&tx->keys);
    if (!hm_index_keys(o->type, o->index, &e->record, &tx->keys, NULL))
        return; // refused at commit, with its reason
    struct hm_str rest = hm_buf_view(&tx->keys), key;
    while (hm_packed_next(&rest, &key))
        fn(tx, (struct order *)o, key, (struct entry *)e);
}

static void item_add(struct hm_tx *tx, struct order *o, struct hm_str key, struct entry *e) {
    size_t at = item_at(o, key);
    if (at < o->count && hm_str_eq(o->items[at].key, key)) { // as before: it keeps its age
        o->items[at].stale = false;
        return;
    }
    if (o->count == o->cap) {
        o->cap = o->cap ? o->cap * 2 : 16;
        o->items = hm_realloc(o->items, o->cap * sizeof *o->items);
    }
    memmove(o->items + at + 1, o->items + at, (o->count - at) * sizeof *o->items);
    o->items[at] = (struct item){{hm_str_dup(key), key.len}, e, tx->clock, false};
    o->count++;
    tx->bytes += key.len + sizeof *o->items;
}

static void item_mark(struct hm_tx *tx, struct order *o, struct hm_str key, struct entry *e) {
    size_t at = item_at(o, key);
    (void)tx;
    if (at == o->count || o->items[at].entry != e || !hm_str_eq(o->items[at].key, key)) return;
    o->items[at].stale = true;
    hm_packed_add(&o->old, key);
}

static void items_drop_stale(struct order *o) {
    struct hm_str rest = hm_buf_view(&o->old), key;
    while (hm_packed_next(&rest, &key)) {
        size_t at = item_at(o, key);
        if (at == o->count || !o->items[at].stale || !hm_str_eq(o->items[at].key, key)) continue;
        free((char *)o->items[at].key.ptr);
        memmove(o->items + at, o->items + at + 1, (o->count - at - 1) * sizeof *o->items);
        o->count--;
    }
    hm_buf_clear(&o->old);
}

static struct order *order_of(struct hm_tx *tx, const struct hm_type *type, const struct hm_index *index) {
    for (struct order *o = tx->orders; o; o = o->next)
        if (o->type == type && o->index == index) return o;
    struct order *o = hm_alloc(sizeof *o);
    *o = (struct order){.type = type, .index = index, .next = tx->orders};
    tx->orders = o;
    struct entry *e, *next;
    HASH_ITER(hh, tx->entries, e, next) {
        if (e->type == type && !e->removed) each_key(tx, o, e, item_add);
    }
    // Made now, but as old as the records: a walk that asks for this order must see what was written before
    // it.
    for (size_t i = 0; i < o->count; i++)
        o->items[i].made = o->items[i].entry->first;
    return o;
}

// Before a record is changed its places are marked; afterwards it gets its new ones, and what is still marked
// goes.
static void orders_mark(struct hm_tx *tx, const struct entry *e) {
    for (struct order *o = tx->orders; o; o = o->next)
        if (o->type == e->type) each_key(tx, o, e, item_mark);
}
static void orders_place(struct hm_tx *tx, const struct entry *e) {
    for (struct order *o = tx->orders; o; o = o->next) {
        if (o->type != e->type) continue;
        if (!e->removed) each_key(tx, o, e, item_add);
        items_drop_stale(o);
    }
}

// Asked before anything is changed: a script may catch the error, and what was refused must not be kept.
static bool too_much(struct hm_tx *tx, size_t more, struct hm_error *err) {
    if (tx->bytes <= tx->bytes_max && more <= tx->bytes_max - tx->bytes) return false;
    hm_fail(err, HM_TOO_LARGE, "the call's own writes have more than %zu bytes", tx->bytes_max);
    return true;
}

static struct entry *entry_new(struct hm_tx *tx, const struct hm_type *type, struct hm_str id,
                               const struct hm_record *stored) {
    struct entry *e = hm_arena_zeroed(&tx->arena, sizeof *e);
    hm_buf_clear(&tx->key);
    hm_record_key(hm_str_of(type->name), id, &tx->key);
    e->key = hm_arena_str(&tx->arena, hm_buf_view(&tx->key)).ptr;
    e->key_len = tx->key.len;
    e->type = type;
    e->in_store = stored != NULL;
    e->version = stored ? stored->version : 0;
    e->first = ++tx->clock;
    e->record.type = (struct hm_str){e->key, strlen(type->name)};
    e->record.id = (struct hm_str){e->key + e->record.type.len + 1, id.len};
    e->record.version = e->version;
    e->record.created_ms = stored ? stored->created_ms : 0;
    e->removed = true; // until it is filled
    HASH_ADD_KEYPTR(hh, tx->entries, e->key, e->key_len, e);
    tx->bytes += sizeof *e + e->key_len;
    return e;
}

// Looks in the store and notes that it did. False with HM_NOT_FOUND when absent.
static bool look(struct hm_tx *tx, struct hm_str type, struct hm_str id, struct hm_record *out,
                 struct hm_error *err) {
    if (!tx->read) return hm_fail(err, HM_NOT_FOUND, "no such record");
    struct hm_error why = {0};
    bool found = hm_read_get(tx->read, type, id, out, &why);
    if (found || why.code == HM_NOT_FOUND) see_point(tx, type, id, found ? out->version : 0);
    if (!found && err) *err = why;
    return found;
}

bool hm_tx_get(struct hm_tx *tx, struct hm_str type, struct hm_str id, struct hm_view *out,
               struct hm_error *err) {
    struct entry *e = entry_of(tx, type, id);
    if (e) {
        if (e->removed) return hm_fail(err, HM_NOT_FOUND, "no such record");
        *out = (struct hm_view){e->record, !e->past};
        return true;
    }
    *out = (struct hm_view){0};
    return look(tx, type, id, &out->record, err);
}

// What a put takes of the arena, at least a little even when it is empty.
static size_t size_of(const struct hm_write_args *args) {
    return 64 + args->data.len + args->audience.len + args->members.len + args->by.len;
}

bool hm_tx_put(struct hm_tx *tx, const struct hm_write_args *args, struct hm_error *err) {
    const struct hm_type *type = hm_types_find(tx->types, args->type);
    if (!type) return hm_fail(err, HM_PARAMS, "no record type %.*s", (int)args->type.len, args->type.ptr);
    struct entry *e = entry_of(tx, args->type, args->id);
    size_t size = size_of(args);
    if (too_much(tx, size + (e ? 0 : sizeof *e + args->type.len + args->id.len), err)) return false;
    if (!e) {
        struct hm_record stored;
        struct hm_error why = {0};
        bool found = look(tx, args->type, args->id, &stored, &why);
        if (!found && why.code != HM_NOT_FOUND) {
            if (err) *err = why;
            return false;
        }
        if (found && args->create) return hm_fail(err, HM_CONFLICT, "exists");
        e = entry_new(tx, type, args->id, found ? &stored : NULL);
    } else if (!e->removed) {
        if (args->create) return hm_fail(err, HM_CONFLICT, "exists");
        orders_mark(tx, e);
    }
    tx->clock++;
    tx->writes++;
    tx->bytes += size;
    e->past = false;
    if (e->removed && !e->in_store) e->record.created_ms = args->now_ms;
    if (!e->record.created_ms) e->record.created_ms = args->now_ms;
    e->removed = false;
    e->record.updated_ms = args->now_ms;
    // What was written before stays in the arena until the end of the call: tx->bytes counts it.
    e->record.data = hm_arena_str(&tx->arena, args->data);
    e->record.audience = hm_arena_str(&tx->arena, args->audience);
    e->record.members = hm_arena_str(&tx->arena, args->members);
    e->record.by = hm_arena_str(&tx->arena, args->by);
    orders_place(tx, e);
    return true;
}

bool hm_tx_delete(struct hm_tx *tx, struct hm_str type_name, struct hm_str id, struct hm_error *err) {
    const struct hm_type *type = hm_types_find(tx->types, type_name);
    if (!type) return hm_fail(err, HM_PARAMS, "no record type %.*s", (int)type_name.len, type_name.ptr);
    struct entry *e = entry_of(tx, type_name, id);
    if (e && e->removed) return hm_fail(err, HM_NOT_FOUND, "no such record");
    if (!e) {
        struct hm_record stored;
        if (too_much(tx, sizeof *e + type_name.len + id.len, err)) return false;
        if (!look(tx, type_name, id, &stored, err)) return false;
        e = entry_new(tx, type, id, &stored);
    } else {
        orders_mark(tx, e);
    }
    tx->clock++;
    tx->writes++;
    e->removed = true;
    e->past = false;
    orders_place(tx, e);
    return true;
}

void hm_tx_memberships(struct hm_tx *tx, const char *person,
                       void (*fn)(void *arg, struct hm_str type, struct hm_str id), void *arg) {
    for (struct entry *e = tx->entries; e; e = e->hh.next) {
        struct hm_str rest = e->record.members, item;
        while (!e->removed && hm_packed_next(&rest, &item))
            if (item.len > 7 && memcmp(item.ptr, "person:", 7) == 0 && strlen(person) == item.len - 7 &&
                memcmp(item.ptr + 7, person, item.len - 7) == 0)
                fn(arg, e->record.type, e->record.id);
    }
}

// ---- walks -------------------------------------------------------------------------------------

static bool go_on_behind(struct hm_tx_scan *s, struct hm_str after, struct hm_error *err) {
    if (!after.len) return true;
    if (hm_str_cmp(after, s->range.low) < 0 || hm_str_cmp(after, s->range.high) >= 0)
        return hm_fail(err, HM_PARAMS, "the cursor is none of this list");
    hm_buf_str(&s->last, after);
    s->started = true;
    return true;
}

struct hm_str hm_tx_scan_key(const struct hm_tx_scan *scan) {
    return hm_buf_view(&scan->last);
}

bool hm_tx_scan_begin(struct hm_tx *tx, const struct hm_tx_range *range, struct hm_tx_scan **out,
                      struct hm_error *err) {
    struct hm_tx_scan *s = hm_alloc(sizeof *s);
    *out = NULL;
    s->type = range->type;
    s->index = range->index;
    s->descending = range->descending;
    s->points = range->points;
    s->began = tx->clock;
    if (!hm_range_make(range->type, range->index, range->equals, range->from, range->to, &s->range, err) ||
        !go_on_behind(s, range->after, err) ||
        (tx->read && !hm_scan_begin(tx->read, &s->range, s->descending, range->after, &s->base, err))) {
        hm_buf_free(&s->last);
        hm_range_free(&s->range);
        free(s);
        return false;
    }
    s->base_ended = !s->base;
    s->tx = tx;
    s->seen = see_range(tx, hm_str_of(range->type->name), range->index);
    s->next = tx->scans;
    s->link = &tx->scans;
    if (s->next) s->next->link = &s->next;
    tx->scans = s;
    *out = s;
    return true;
}

void hm_tx_scan_end(struct hm_tx_scan *scan) {
    if (!scan) return;
    *scan->link = scan->next;
    if (scan->next) scan->next->link = scan->link;
    hm_scan_end(scan->base);
    hm_range_free(&scan->range);
    hm_buf_free(&scan->last);
    free(scan);
}

// Puts the next record of the store, if there is one, into base_record.
static void load_base(struct hm_tx_scan *s) {
    while (!s->loaded && !s->base_ended) {
        if (!hm_scan_next(s->base, &s->base_record)) {
            s->base_ended = true;
            see_up_to(s, NULL);
            return;
        }
        struct hm_str key = hm_scan_key(s->base);
        see_up_to(s, &key);
        struct entry *e = entry_of(s->tx, s->base_record.type, s->base_record.id);
        // Laid over before the walk began: it stands among the own writes. Written since: here is still its
        // place.
        if (e && (e->first <= s->began || e->removed)) continue;
        s->loaded = true;
    }
}

// The next of the call's own writes behind the last one given.
static const struct item *own_next(struct hm_tx_scan *s) {
    if (!s->tx->entries) return NULL;
    struct order *o = order_of(s->tx, s->type, s->index);
    struct hm_str last = hm_buf_view(&s->last);
    if (!s->descending) {
        size_t i = item_at(o, s->started && hm_str_cmp(last, s->range.low) >= 0 ? last : s->range.low);
        if (s->started && i < o->count && hm_str_eq(o->items[i].key, last)) i++;
        for (; i < o->count && hm_str_cmp(o->items[i].key, s->range.high) < 0; i++)
            if (o->items[i].made <= s->began) return &o->items[i];
        return NULL;
    }
    size_t i = item_at(o, s->started && hm_str_cmp(last, s->range.high) < 0 ? last : s->range.high);
    for (; i > 0 && hm_str_cmp(o->items[i - 1].key, s->range.low) >= 0; i--)
        if (o->items[i - 1].made <= s->began) return &o->items[i - 1];
    return NULL;
}

bool hm_tx_scan_next(struct hm_tx_scan *s, struct hm_view *out) {
    load_base(s);
    const struct item *own = own_next(s);
    bool base_first = s->loaded;
    if (s->loaded && own) {
        int order = hm_str_cmp(hm_scan_key(s->base), own->key);
        base_first = s->descending ? order > 0 : order < 0;
    }
    if (!base_first && !own) return false;
    struct hm_str key = base_first ? hm_scan_key(s->base) : own->key;
    hm_buf_clear(&s->last);
    hm_buf_str(&s->last, key);
    s->started = true;
    if (!base_first) {
        *out = (struct hm_view){own->entry->record, !own->entry->past};
        return true;
    }
    s->loaded = false;
    *out = (struct hm_view){s->base_record, false};
    if (s->points && s->index)
        see_point(s->tx, s->base_record.type, s->base_record.id, s->base_record.version);
    struct entry *e = entry_of(s->tx, s->base_record.type, s->base_record.id);
    if (e) *out = (struct hm_view){e->record, !e->past};
    return true;
}

// ---- what goes to the server -------------------------------------------------------------------

static void write_whole_type(const struct seen_type *t, struct hm_buf *out) {
    struct hm_str name = hm_str_of(t->name);
    hm_put_u8(out, HM_SPACE_REC);
    hm_put_u32(out, (uint32_t)name.len + 1);
    hm_buf_str(out, name);
    hm_buf_char(out, '\0');
    hm_put_u32(out, (uint32_t)name.len + 1);
    hm_buf_str(out, name);
    hm_buf_char(out, '\1'); // the smallest key behind all of the type
}

static void put_count_at(struct hm_buf *out, size_t at, uint32_t count) {
    for (int i = 0; i < 4; i++)
        out->data[at + (size_t)i] = (char)(uint8_t)(count >> (8 * i));
}

static void write_seen(struct hm_tx *tx, struct hm_buf *out) {
    size_t at = out->len;
    uint32_t count = 0;
    hm_put_u32(out, 0);
    if (tx->store) {
        for (struct seen_type *t = tx->seen_types; t; t = t->hh.next)
            if (t->whole) {
                write_whole_type(t, out);
                count++;
            }
        for (struct point *p = tx->points; p; p = p->hh.next) {
            struct seen_type *t = seen_type_of(tx, (struct hm_str){p->key, p->type_len});
            if (t && t->whole) continue;
            hm_put_u8(out, 0xff);
            hm_put_str(out, (struct hm_str){p->key, p->type_len});
            hm_put_str(out, (struct hm_str){p->key + p->type_len + 1, p->key_len - p->type_len - 1});
            hm_put_u64(out, p->version);
            count++;
        }
        for (size_t i = 0; i < tx->range_count; i++) {
            const struct seen_range *r = &tx->ranges[i];
            if (!r->high.len || (r->type && r->type->whole)) continue;
            hm_put_u8(out, (uint8_t)r->space);
            hm_put_str(out, hm_buf_view(&r->low));
            hm_put_str(out, hm_buf_view(&r->high));
            count++;
        }
    }
    put_count_at(out, at, count);
}

// Made and removed again in the same call: nothing to do, and nothing to tell.
static bool has_intent(const struct entry *e) {
    return !e->past && (!e->removed || e->in_store);
}

void hm_tx_write_result(struct hm_tx *tx, bool with_intents, struct hm_buf *out) {
    write_seen(tx, out);
    size_t at = out->len;
    uint32_t count = 0;
    hm_put_u32(out, 0);
    for (struct entry *e = tx->entries; e && with_intents;
         e = e->hh.next) { // in the order in which they were first written
        if (!has_intent(e)) continue;
        hm_put_u8(out, e->removed);
        hm_put_str(out, e->record.type);
        hm_put_str(out, e->record.id);
        hm_put_u64(out, e->version);
        hm_put_str(out, e->removed ? (struct hm_str){0} : e->record.data);
        hm_put_str(out, e->removed ? (struct hm_str){0} : e->record.audience);
        hm_put_str(out, e->removed ? (struct hm_str){0} : e->record.members);
        count++;
    }
    put_count_at(out, at, count);
}

// ---- runs without effect ------------------------------------------------------------------------

bool hm_tx_back_to(struct hm_tx *tx, uint64_t seq, struct hm_error *err) {
    if (!tx->read || seq == hm_read_seq(tx->read)) return true;
    bool ok = hm_tx_go_back(tx, tx->read, tx->types, seq, err);
    tx->bytes = 0; // what was is not the call's doing
    return ok;
}

void hm_tx_past_record(struct hm_tx *tx, const struct hm_record *record, bool there) {
    const struct hm_type *type = hm_types_find(tx->types, record->type);
    if (!type || entry_of(tx, record->type, record->id)) return;
    struct entry *e = entry_new(tx, type, record->id, there ? record : NULL);
    e->past = true;
    if (!there) return;
    e->removed = false;
    e->record.updated_ms = record->updated_ms;
    e->record.data = hm_arena_str(&tx->arena, record->data);
    e->record.audience = hm_arena_str(&tx->arena, record->audience);
    e->record.members = hm_arena_str(&tx->arena, record->members);
    e->record.by = hm_arena_str(&tx->arena, record->by);
    e->then = e->record;
    orders_place(tx, e);
}

// The data with its sealed fields closed.
static void put_closed(const struct hm_type *type, struct hm_str data, struct hm_buf *out) {
    struct hm_json_iter it = hm_json_iter((struct hm_json){HM_JSON_OBJECT, data});
    struct hm_json key, value;
    hm_buf_char(out, '{');
    while (hm_json_next(&it, &key, &value)) {
        bool sealed = false;
        for (unsigned i = 0; i < type->sealed_count; i++)
            sealed = sealed || hm_json_key_is(key, hm_str_of(type->sealed[i]));
        if (out->data[out->len - 1] != '{') hm_buf_char(out, ',');
        hm_buf_str(out, key.raw);
        hm_buf_char(out, ':');
        hm_buf_str(out, sealed ? HM_LIT("{\"sealed\":true}") : value.raw);
    }
    hm_buf_char(out, '}');
}

// What stood there before the call.
static bool stood(struct hm_tx *tx, const struct entry *e, struct hm_record *out) {
    if (!e->in_store) return false;
    *out = e->then;
    return e->then.type.len || (tx->read && hm_read_get(tx->read, e->record.type, e->record.id, out, NULL));
}

static void put_audience(const char *name, struct hm_str packed, struct hm_buf *out) {
    hm_json_key(out, name);
    hm_packed_json(packed, out);
}

static void put_change(struct hm_tx *tx, const struct entry *e, struct hm_buf *out) {
    struct hm_record before;
    bool was = stood(tx, e, &before), shown = !e->type->hidden;
    hm_buf_char(out, '{');
    hm_json_member_str(out, "action",
                       hm_str_of(e->removed    ? "deleted"
                                 : e->in_store ? "updated"
                                               : "created"));
    hm_json_member_str(out, "type", e->record.type);
    hm_json_member_str(out, "id", e->record.id);
    if (!shown) hm_json_member_raw(out, "hidden", HM_LIT("true"));
    if (shown && was) {
        hm_json_key(out, "before");
        put_closed(e->type, before.data, out);
    }
    if (shown && !e->removed) {
        hm_json_key(out, "after");
        put_closed(e->type, e->record.data, out);
    }
    if (shown && !e->removed) put_audience("audience", e->record.audience, out);
    if (shown && was) put_audience("audience_before", before.audience, out);
    hm_buf_char(out, '}');
}

size_t hm_tx_changes_json(struct hm_tx *tx, size_t most, struct hm_buf *out) {
    size_t count = 0;
    hm_buf_char(out, '[');
    for (struct entry *e = tx->entries; e; e = e->hh.next) {
        if (!has_intent(e) || count++ >= most) continue;
        if (out->data[out->len - 1] != '[') hm_buf_char(out, ',');
        put_change(tx, e, out);
    }
    hm_buf_char(out, ']');
    return count;
}
