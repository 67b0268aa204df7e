// The subscription index and the replay. Loop thread only. What always holds:
//  - A subscription is either live (every change with seq > from was or will be offered by hm_feed_change) or
//  replaying
//    (all up to `from` was offered; the rest is read from the log). It becomes live in the very turn in which
//    `from` reaches what has been told to hm_feed_change, so nothing is missed and nothing comes twice: a
//    replaying subscription needs no copy of the live events, since they are in the log before they are told.
//  - Every slot of a subscription names its seat in a bucket and the other way round, so that leaving costs
//  nothing.
#include "net/feed.h"
#include "base/json.h"
#include "base/log.h"
#include "net/feed_event.h"
#include "net/rpc.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

#define SLICE_EVENTS 500 // log entries read for one subscription in one turn of the loop
#define SLICE_SUBS 4     // subscriptions that replay in one turn
#define TYPES_MAX 64
#define QUEUE_BYTES (8u << 20) // the same limit as queue_max, for large records

struct seat {
    struct hm_sub *sub;
    size_t slot;
};
struct bucket { // all subscriptions that hold one principal
    UT_hash_handle hh;
    struct seat *seats;
    size_t count, cap;
    char name[]; // not terminated
};
struct slot {
    struct bucket *bucket;
    size_t seat;
};
struct house { // one institution
    UT_hash_handle hh;
    struct bucket *buckets;
    size_t subs;
    char name[65];
};

struct hm_sub {
    struct hm_feed *feed;
    struct house *house;
    void *owner;
    struct hm_session *session;
    struct hm_principals *principals;
    struct slot *slots;
    size_t slot_count;
    char (*types)[65]; // empty: all
    size_t type_count;
    uint64_t from;                 // offered up to here
    uint64_t sent;                 // last event that left the owner's queue
    size_t waiting, waiting_bytes; // events in the owner's queue
    bool started, live, queued;
    struct hm_sub *next; // in the list of replaying ones (queued), or of overrun ones
};

struct hm_feed {
    struct ev_loop *loop;
    struct hm_feed_ops ops;
    size_t queue_max;
    struct house *houses;
    struct ev_timer turn;
    struct hm_sub *first, *last; // replaying, in turn
    struct hm_feed_counts counts;
};

// ---- the index ----------------------------------------------------------------------------------

static struct bucket *bucket_of(struct house *house, struct hm_str name, bool make) {
    struct bucket *bucket = NULL;
    HASH_FIND(hh, house->buckets, name.ptr, (unsigned)name.len, bucket);
    if (bucket || !make) return bucket;
    bucket = hm_alloc(sizeof *bucket + name.len);
    memcpy(bucket->name, name.ptr, name.len);
    HASH_ADD_KEYPTR(hh, house->buckets, bucket->name, (unsigned)name.len, bucket);
    return bucket;
}

static void sit(struct hm_sub *sub, size_t slot, struct hm_str name) {
    struct bucket *bucket = bucket_of(sub->house, name, true);
    if (bucket->count == bucket->cap) {
        bucket->cap = bucket->cap ? bucket->cap * 2 : 2;
        bucket->seats = hm_realloc(bucket->seats, bucket->cap * sizeof *bucket->seats);
    }
    sub->slots[slot] = (struct slot){bucket, bucket->count};
    bucket->seats[bucket->count++] = (struct seat){sub, slot};
}

static void stand_up(struct hm_sub *sub) {
    for (size_t i = 0; i < sub->slot_count; i++) {
        struct bucket *bucket = sub->slots[i].bucket;
        size_t seat = sub->slots[i].seat;
        struct seat last = bucket->seats[--bucket->count];
        bucket->seats[seat] = last;
        last.sub->slots[last.slot].seat = seat;
        if (bucket->count == 0) {
            HASH_DEL(sub->house->buckets, bucket);
            free(bucket->seats);
            free(bucket);
        }
    }
    free(sub->slots);
    sub->slots = NULL;
    sub->slot_count = 0;
}

static void sit_down(struct hm_sub *sub) {
    sub->slot_count = hm_principals_count(sub->principals);
    sub->slots = hm_alloc_array(sub->slot_count ? sub->slot_count : 1, sizeof *sub->slots);
    for (size_t i = 0; i < sub->slot_count; i++)
        sit(sub, i, hm_principals_at(sub->principals, i));
}

void hm_sub_reindex(struct hm_sub *sub) {
    stand_up(sub);
    hm_principals_unref(sub->principals);
    sub->principals = hm_principals_ref(sub->session->principals);
    sit_down(sub);
}

static struct house *house_of(struct hm_feed *feed, const char *name, bool make) {
    struct house *house = NULL;
    HASH_FIND_STR(feed->houses, name, house);
    if (house || !make) return house;
    house = hm_alloc(sizeof *house);
    snprintf(house->name, sizeof house->name, "%s", name);
    HASH_ADD_STR(feed->houses, name, house);
    return house;
}

// ---- delivery -----------------------------------------------------------------------------------

static bool wants(const struct hm_sub *sub, struct hm_str type) {
    if (!sub->type_count) return true;
    for (size_t i = 0; i < sub->type_count; i++)
        if (hm_str_eq(type, hm_str_of(sub->types[i]))) return true;
    return false;
}

static bool hidden(struct hm_types *types, struct hm_str name) {
    const struct hm_type *type = types ? hm_types_find(types, name) : NULL;
    return type && type->hidden;
}

// False when the client has too much waiting: then nothing was queued.
static bool offer(struct hm_sub *sub, struct hm_event *event) {
    sub->from = event->change->seq;
    if (!wants(sub, event->change->type)) return true;
    struct hm_out *frame = hm_event_for(event, sub->principals);
    if (!frame) return true;
    if (sub->waiting >= sub->feed->queue_max || sub->waiting_bytes > QUEUE_BYTES) return false;
    sub->waiting++;
    sub->waiting_bytes += frame->len;
    sub->feed->counts.delivered++;
    sub->feed->ops.deliver(sub->owner, frame);
    return true;
}

// The client is told from where to ask again; what waited for it is dropped, so it costs no more memory.
static void resync(struct hm_sub *sub) {
    struct hm_feed *feed = sub->feed;
    struct hm_store *store = feed->ops.store(feed->ops.arg, sub->house->name);
    struct hm_buf params = {0}, text = {0};
    hm_buf_char(&params, '{');
    hm_json_member_str(&params, "epoch", store ? hm_str_of(hm_store_epoch(store)) : HM_LIT(""));
    hm_json_member_int(&params, "seq", (int64_t)sub->sent);
    hm_buf_char(&params, '}');
    hm_rpc_put_notice(&text, "feed.resync", hm_buf_view(&params));
    struct hm_out *frame = hm_out_new(hm_buf_view(&text), 0);
    void *owner = sub->owner;
    feed->counts.resyncs++;
    hm_sub_close(sub); // drops the events first, so that the notice is not behind them
    feed->ops.deliver(owner, frame);
    hm_out_unref(frame);
    hm_buf_free(&text);
    hm_buf_free(&params);
}

// `from` is moved by the first look at a change, so two shared principals give one event.
static void consider(struct hm_sub *sub, struct hm_event *event, struct hm_sub **overrun) {
    if (!sub->live || event->change->seq <= sub->from || offer(sub, event)) return;
    sub->next = *overrun; // closed after the walk, since closing changes the buckets that are walked
    *overrun = sub;
}

static void offer_to(struct house *house, struct hm_str audience, struct hm_event *event,
                     struct hm_sub **overrun) {
    struct hm_str principal;
    while (hm_packed_next(&audience, &principal)) {
        struct bucket *bucket = bucket_of(house, principal, false);
        for (size_t i = 0; bucket && i < bucket->count; i++)
            consider(bucket->seats[i].sub, event, overrun);
    }
}

void hm_feed_change(struct hm_feed *feed, const char *institution, const struct hm_change *change) {
    feed->counts.changes++;
    struct house *house = house_of(feed, institution, false);
    if (!house) return;
    struct hm_store *store = feed->ops.store(feed->ops.arg, institution);
    struct hm_types *types = store ? hm_store_types(store) : NULL;
    bool secret = hidden(types, change->type);
    hm_types_unref(types);
    if (secret) return;
    struct hm_event event = {.change = change};
    struct hm_sub *overrun = NULL;
    offer_to(house, change->audience, &event, &overrun);
    offer_to(house, change->lost, &event, &overrun);
    while (overrun) {
        struct hm_sub *next = overrun->next;
        overrun->next = NULL;
        resync(overrun);
        overrun = next;
    }
    hm_event_free(&event);
}

// ---- replay -------------------------------------------------------------------------------------

static void replay_later(struct hm_sub *sub) {
    struct hm_feed *feed = sub->feed;
    assert(!sub->queued && !sub->live);
    sub->queued = true;
    sub->next = NULL;
    if (feed->last)
        feed->last->next = sub;
    else
        feed->first = sub;
    feed->last = sub;
    if (!ev_is_active(&feed->turn)) ev_timer_start(feed->loop, &feed->turn);
}

static void replay_forget(struct hm_sub *sub) {
    struct hm_feed *feed = sub->feed;
    if (!sub->queued) return;
    struct hm_sub **at = &feed->first, *before = NULL;
    while (*at != sub) {
        before = *at;
        at = &(*at)->next;
    }
    *at = sub->next;
    if (feed->last == sub) feed->last = before;
    sub->queued = false;
    sub->next = NULL;
}

// A replay never overruns a client: it waits until half of the queue is free again.
static bool replay_may_go(const struct hm_sub *sub) {
    return sub->waiting < (sub->feed->queue_max + 1) / 2 && sub->waiting_bytes < QUEUE_BYTES / 2;
}

struct slice {
    struct hm_sub *sub;
    struct hm_types *types;
    uint64_t told;
    unsigned count;
    bool enough; // stopped by the budget or the queue
};

static bool replay_one(void *arg, const struct hm_change *change) {
    struct slice *slice = arg;
    struct hm_sub *sub = slice->sub;
    if (change->seq > slice->told) return false;
    struct hm_event event = {.change = change};
    bool fits = true;
    if (hidden(slice->types, change->type))
        sub->from = change->seq;
    else
        fits = offer(sub, &event);
    assert(fits);
    (void)fits;
    hm_event_free(&event);
    sub->feed->counts.replayed++;
    slice->enough = ++slice->count >= SLICE_EVENTS || !replay_may_go(sub);
    return !slice->enough;
}

// One slice. Afterwards the subscription is live, in the list for its next turn, waiting for its client to
// take some events (hm_sub_sent), or closed.
static void replay(struct hm_sub *sub) {
    struct hm_feed *feed = sub->feed;
    struct hm_store *store = feed->ops.store(feed->ops.arg, sub->house->name);
    struct hm_read *read = NULL;
    struct hm_error err = {0};
    struct slice slice = {.sub = sub, .told = feed->ops.told(feed->ops.arg, sub->house->name)};
    bool ok = true;
    if (sub->from < slice.told) {
        ok = store && hm_read_begin(store, &read, &err);
        slice.types = ok ? hm_store_types(store) : NULL;
        ok = ok && hm_log_read(read, sub->from, replay_one, &slice, &err);
        hm_types_unref(slice.types);
        if (read) hm_read_end(read);
    }
    if (!ok) {
        hm_log(HM_WARN, "feed.replay_failed", "\"institution\":\"%s\",\"code\":%d", sub->house->name,
               (int)err.code);
        resync(sub);
    } else if (!slice.enough) {
        sub->live = true;
        if (sub->from < slice.told) sub->from = slice.told;
    } else if (replay_may_go(sub)) {
        replay_later(sub);
    }
}

static void on_turn(struct ev_loop *loop, struct ev_timer *timer, int events) {
    struct hm_feed *feed = timer->data;
    (void)events;
    for (int i = 0; i < SLICE_SUBS && feed->first; i++) {
        struct hm_sub *sub = feed->first;
        replay_forget(sub);
        replay(sub);
    }
    if (feed->first && !ev_is_active(timer)) {
        ev_timer_set(timer, 0., 0.);
        ev_timer_start(loop, timer);
    }
}

void hm_sub_sent(struct hm_sub *sub, const struct hm_out *frame) {
    assert(sub->waiting > 0 && sub->waiting_bytes >= frame->len);
    sub->waiting--;
    sub->waiting_bytes -= frame->len;
    sub->sent = frame->seq;
    if (sub->started && !sub->live && !sub->queued && replay_may_go(sub)) replay_later(sub);
}

void hm_sub_start(struct hm_sub *sub) {
    if (sub->started) return;
    sub->started = true;
    // Usually little is to be replayed: then it is done at once, behind the answer that was just queued.
    if (sub->feed->first)
        replay_later(sub);
    else
        replay(sub);
}

// ---- opening and closing ------------------------------------------------------------------------

static bool read_types(struct hm_sub *sub, struct hm_json list, struct hm_error *err) {
    size_t count = hm_json_count(list);
    if (list.kind != HM_JSON_ARRAY || count > TYPES_MAX)
        return hm_fail(err, HM_PARAMS, "types must be an array of at most %d record types", TYPES_MAX);
    sub->types = hm_alloc_array(count ? count : 1, sizeof *sub->types);
    struct hm_json_iter it = hm_json_iter(list);
    struct hm_json value;
    struct hm_buf name = {0};
    bool ok = true;
    while (ok && hm_json_next(&it, NULL, &value)) {
        hm_buf_clear(&name);
        ok = hm_json_string(value, &name) && name.len < sizeof sub->types[0];
        if (ok) memcpy(sub->types[sub->type_count++], name.data ? name.data : "", name.len);
    }
    hm_buf_free(&name);
    return ok || hm_fail(err, HM_PARAMS, "types must hold names of record types");
}

// Where the client stands. False only for params that make no sense; an epoch of another store is answered
// with recovered = false.
static bool read_after(struct hm_sub *sub, struct hm_store *store, struct hm_json after, bool *recovered,
                       struct hm_error *err) {
    char epoch[65];
    struct hm_json value;
    int64_t seq = 0;
    if (!hm_json_get_text(after, "epoch", epoch, sizeof epoch))
        return hm_fail(err, HM_PARAMS, "after.epoch must be the text that a list or feed.open gave");
    if (!hm_json_get(after, "seq", &value) || !hm_json_int(value, &seq) || seq < 0)
        return hm_fail(err, HM_PARAMS, "after.seq must be a whole number from 0 on");
    if (strcmp(epoch, hm_store_epoch(store)) != 0) {
        *recovered = false;
        return true;
    }
    // A list may have been read at a commit that has not been told yet: not the future, so the store is
    // asked.
    if ((uint64_t)seq > sub->from) {
        struct hm_read *read = NULL;
        if (!hm_read_begin(store, &read, err)) return false;
        *recovered = (uint64_t)seq <= hm_read_seq(read);
        hm_read_end(read);
    }
    if (*recovered) sub->from = (uint64_t)seq;
    return true;
}

static void sub_free(struct hm_sub *sub) {
    hm_principals_unref(sub->principals);
    hm_session_unref(sub->session);
    free(sub->types);
    free(sub);
}

bool hm_feed_open(struct hm_feed *feed, struct hm_session *session, void *owner, struct hm_json params,
                  struct hm_buf *result, struct hm_sub **out, struct hm_error *err) {
    struct hm_store *store = feed->ops.store(feed->ops.arg, session->institution);
    if (!store)
        return hm_fail(err, HM_UNAVAILABLE, "the institution's data cannot be read now; try again later");
    struct hm_sub *sub = hm_alloc(sizeof *sub);
    struct hm_json value;
    bool recovered = true, ok = false;
    sub->feed = feed;
    sub->owner = owner;
    sub->session = hm_session_ref(session);
    sub->principals = hm_principals_ref(session->principals);
    sub->from = feed->ops.told(feed->ops.arg, session->institution);
    if (hm_json_get(params, "types", &value) && value.kind != HM_JSON_NULL && !read_types(sub, value, err))
        goto out;
    if (hm_json_get(params, "after", &value) && value.kind != HM_JSON_NULL &&
        !read_after(sub, store, value, &recovered, err))
        goto out;
    sub->sent = sub->from;
    hm_buf_char(result, '{');
    hm_json_member_str(result, "epoch", hm_str_of(hm_store_epoch(store)));
    hm_json_member_int(result, "seq", (int64_t)sub->from);
    hm_json_member_raw(result, "recovered", recovered ? HM_LIT("true") : HM_LIT("false"));
    hm_buf_char(result, '}');
    sub->house = house_of(feed, session->institution, true);
    sub->house->subs++;
    feed->counts.subscriptions++;
    sit_down(sub);
    *out = sub;
    ok = true;
out:
    if (!ok) sub_free(sub);
    return ok;
}

void hm_sub_close(struct hm_sub *sub) {
    if (!sub) return;
    struct hm_feed *feed = sub->feed;
    struct house *house = sub->house;
    replay_forget(sub);
    stand_up(sub);
    feed->ops.drop(sub->owner);
    feed->ops.closed(sub->owner);
    sub_free(sub);
    feed->counts.subscriptions--;
    if (--house->subs == 0) {
        HASH_DEL(feed->houses, house);
        free(house);
    }
}

struct hm_feed *hm_feed_new(struct ev_loop *loop, const struct hm_feed_ops *ops, unsigned queue_max) {
    struct hm_feed *feed = hm_alloc(sizeof *feed);
    feed->loop = loop;
    feed->ops = *ops;
    feed->queue_max = queue_max ? queue_max : 1;
    ev_timer_init(&feed->turn, on_turn, 0., 0.);
    feed->turn.data = feed;
    return feed;
}

void hm_feed_free(struct hm_feed *feed) {
    if (!feed) return;
    assert(!feed->houses);
    ev_timer_stop(feed->loop, &feed->turn);
    free(feed);
}

const struct hm_feed_counts *hm_feed_counts(const struct hm_feed *feed) {
    return &feed->counts;
}
