// Clears away what has expired: records of type idem, invitation, session, notification and outgoing. Loop
// thread; what is removed goes through the commit thread as anything else does, by the system. What always
// holds: a turn looks at a bounded number of records of one kind, at most one commit of an institution is
// under way for it, and a record that changed meanwhile stays (it is removed at the version that was looked
// at).
//
// Answers kept under idem keys are many: they are found by their index, and only what has expired is looked
// at. The others are few and are walked through; a session may also end because nobody used it.
#include "engine/internal.h"

#include <stdlib.h>

#define EVERY_MS 60000  // between the beginnings of two rounds, by the clock that expires things
#define LOOKED_MAX 2000 // records a turn
#define REMOVED_MAX 256 // of them
#define UNUSED_MS (10 * 60 * 1000)

static int64_t number(struct hm_json data, const char *name, int64_t otherwise) {
    struct hm_json value;
    int64_t out = otherwise;
    if (hm_json_get(data, name, &value)) hm_json_int(value, &out);
    return out;
}

static bool over(struct hm_json data, int64_t now_ms) {
    return number(data, "expires", INT64_MAX) <= now_ms;
}

static bool idem_over(struct institution *inst, struct hm_str id, struct hm_json data, int64_t now_ms) {
    return over(data, now_ms) && !hm_idem_busy(inst, id);
}

static bool invitation_over(struct institution *inst, struct hm_str id, struct hm_json data, int64_t now_ms) {
    (void)inst, (void)id;
    return over(data, now_ms);
}

// One in use ends by itself (live.c). When it was last used is written down only now and then.
static bool session_over(struct institution *inst, struct hm_str id, struct hm_json data, int64_t now_ms) {
    struct live *live;
    HASH_FIND(hh, inst->sessions, id.ptr, (unsigned)id.len, live);
    if (live) return false;
    int64_t idle_ms = number(data, "idle_ms", 0);
    return over(data, now_ms) || (idle_ms > 0 && now_ms - number(data, "seen", now_ms) > idle_ms + UNUSED_MS);
}

static const struct {
    const char *type, *index; // index: of `expires`, or NULL
    bool (*over)(struct institution *inst, struct hm_str id, struct hm_json data, int64_t now_ms);
} kinds[] = {
    {"idem", "expires", idem_over},           {"invitation", NULL, invitation_over},
    {"session", NULL, session_over},          {"notification", "expires", invitation_over},
    {"outgoing", "expires", invitation_over},
};
#define KINDS (sizeof kinds / sizeof *kinds)

static void removed(struct commit_item *item) {
    struct institution *inst = item->institution;
    inst->expiry.busy = false;
    if (item->ok && item->commit.code == HM_OK) inst->engine->counters.expired += item->intent_count;
}

// Walks on from where the last turn was. True: this kind is done.
static bool walk(struct institution *inst, struct hm_scan *scan, int64_t now_ms, struct commit_item *item) {
    struct expiry *e = &inst->expiry;
    struct hm_record record;
    for (unsigned looked = 0; looked < LOOKED_MAX && item->intent_count < REMOVED_MAX; looked++) {
        if (!hm_scan_next(scan, &record)) return true;
        struct hm_str key = hm_scan_key(scan);
        memcpy(e->after, key.ptr, key.len);
        e->after_len = key.len;
        struct hm_json data = {HM_JSON_OBJECT, record.data};
        if (kinds[e->kind].over(inst, record.id, data, now_ms))
            hm_item_remove(item, kinds[e->kind].type, record.id, record.version);
    }
    return false;
}

static bool look(struct institution *inst, int64_t now_ms, struct commit_item *item) {
    struct expiry *e = &inst->expiry;
    struct hm_types *types = hm_store_types(inst->store);
    const struct hm_type *type = hm_types_find(types, hm_str_of(kinds[e->kind].type));
    const struct hm_index *index =
        kinds[e->kind].index ? hm_type_index(type, hm_str_of(kinds[e->kind].index)) : NULL;
    struct hm_range range = {0};
    struct hm_read *read = NULL;
    struct hm_scan *scan = NULL;
    struct hm_buf to = {0};
    bool done = true; // what cannot be read is tried again in the next round
    if (index) hm_json_put_int(&to, now_ms + 1);
    if (hm_range_make(type, index, (struct hm_json){0}, (struct hm_json){0},
                      (struct hm_json){HM_JSON_NUMBER, hm_buf_view(&to)}, &range, NULL) &&
        hm_read_begin(inst->store, &read, NULL) &&
        hm_scan_begin(read, &range, false, (struct hm_str){e->after, e->after_len}, &scan, NULL))
        done = walk(inst, scan, now_ms, item);
    hm_scan_end(scan);
    hm_read_end(read);
    hm_range_free(&range);
    hm_buf_free(&to);
    hm_types_unref(types);
    return done;
}

void hm_expire_tick(struct institution *inst, int64_t now_ms) {
    struct expiry *e = &inst->expiry;
    int64_t since = now_ms - e->began_ms;
    if (e->busy || (e->resting && since >= 0 && since < EVERY_MS)) return;
    if (e->resting || !e->began_ms) e->began_ms = now_ms;
    e->resting = false;
    struct commit_item *item = hm_item_new(inst, "", "expire");
    if (look(inst, now_ms, item)) {
        e->after_len = 0;
        e->kind = (e->kind + 1) % KINDS;
        e->resting = e->kind == 0;
    }
    if (item->intent_count) {
        e->busy = true;
        hm_item_submit(item, removed);
    } else {
        hm_item_free(item);
    }
}
