// The subscription index and delivery. Loop thread only. What always holds:
//  - A subscription is either live (every change with seq > from was or will be offered by hm_feed_change) or
//  reads the log (feed_replay.c). It becomes live in the very turn in which its place in the log reaches what
//  has been told to hm_feed_change, so nothing is missed and nothing comes twice: a replaying subscription
//  needs no copy of the live events, since they are in the log before they are told.
//  - Every slot of a subscription names its seat in a bucket and the other way round, so that leaving costs
//  nothing.
//  - Buckets do not change while they are walked: who has too much waiting is closed afterwards.
#include "base/json.h"
#include "base/log.h"
#include "net/feed_inside.h"
#include "net/rpc.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

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

// Whoever asked for certain principals only is found by those: what may be seen is checked for each event.
static void sit_down(struct hm_sub *sub) {
    sub->slot_count = sub->about_count ? sub->about_count : hm_principals_count(sub->principals);
    sub->slots = hm_alloc_array(sub->slot_count ? sub->slot_count : 1, sizeof *sub->slots);
    for (size_t i = 0; i < sub->slot_count; i++)
        sit(sub, i, sub->about_count ? hm_str_of(sub->about[i]) : hm_principals_at(sub->principals, i));
}

void hm_sub_reindex(struct hm_sub *sub) {
    if (!sub->about_count) stand_up(sub);
    hm_principals_unref(sub->principals);
    sub->principals = hm_principals_ref(sub->session->principals);
    if (!sub->about_count) sit_down(sub);
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

void hm_house_release(struct hm_feed *feed, struct house *house) {
    if (--house->subs) return;
    hm_replay_forget(feed, house);
    HASH_DEL(feed->houses, house);
    free(house);
}

void hm_feed_each(struct house *house, struct hm_str audience, struct hm_event *event,
                  void (*fn)(struct hm_sub *sub, struct hm_event *event, void *arg), void *arg) {
    struct hm_str principal;
    while (hm_packed_next(&audience, &principal)) {
        struct bucket *bucket = bucket_of(house, principal, false);
        for (size_t i = 0; bucket && i < bucket->count; i++)
            fn(bucket->seats[i].sub, event, arg);
    }
}

// ---- what waits for clients ---------------------------------------------------------------------

static void waiting_remove(struct hm_sub *sub) {
    struct hm_feed *feed = sub->feed;
    *(sub->waiting_prev ? &sub->waiting_prev->waiting_next : &feed->waiting_first) = sub->waiting_next;
    *(sub->waiting_next ? &sub->waiting_next->waiting_prev : &feed->waiting_last) = sub->waiting_prev;
    sub->waiting_prev = sub->waiting_next = NULL;
}

static void waiting_append(struct hm_sub *sub) {
    struct hm_feed *feed = sub->feed;
    sub->waiting_prev = feed->waiting_last;
    sub->waiting_next = NULL;
    *(feed->waiting_last ? &feed->waiting_last->waiting_next : &feed->waiting_first) = sub;
    feed->waiting_last = sub;
}

static void moved(struct hm_sub *sub) {
    sub->moved = ev_iteration(sub->feed->loop);
    sub->moved_at = ev_now(sub->feed->loop);
}

bool hm_sub_full(const struct hm_sub *sub) {
    return sub->waiting >= sub->feed->queue_max || sub->waiting_bytes > QUEUE_BYTES;
}

void hm_sub_give(struct hm_sub *sub, struct hm_out *frame) {
    struct hm_feed *feed = sub->feed;
    if (!sub->waiting) {
        waiting_append(sub);
        moved(sub);
    }
    sub->waiting++;
    sub->waiting_bytes += frame->len;
    feed->counts.waiting++;
    feed->counts.delivered++;
    feed->ops.deliver(sub->owner, frame);
}

void hm_sub_sent(struct hm_sub *sub, const struct hm_out *frame) {
    assert(frame->feed && sub->waiting > 0 && sub->waiting_bytes >= frame->len);
    sub->waiting--;
    sub->waiting_bytes -= frame->len;
    sub->feed->counts.waiting--;
    moved(sub);
    if (frame->seq) sub->sent = frame->seq;
    waiting_remove(sub);
    if (sub->waiting) waiting_append(sub);
    hm_replay_sent(sub);
}

// The client is told from where to ask again; what waited for it is dropped, so it costs no more memory.
void hm_sub_resync(struct hm_sub *sub) {
    struct hm_feed *feed = sub->feed;
    struct hm_store *store = feed->ops.store(feed->ops.arg, sub->house->name);
    struct hm_buf params = {0}, text = {0};
    hm_buf_char(&params, '{');
    hm_json_member_str(&params, "epoch", store ? hm_str_of(hm_store_epoch(store)) : HM_LIT(""));
    hm_json_member_int(&params, "seq", (int64_t)sub->sent);
    hm_buf_char(&params, '}');
    hm_rpc_put_notice(&text, "feed.resync", hm_buf_view(&params));
    struct hm_out *frame = hm_out_new(hm_buf_view(&text));
    void *owner = sub->owner;
    feed->counts.resyncs++;
    hm_sub_close(sub); // drops the events first, so that the notice is not behind them
    feed->ops.deliver(owner, frame);
    hm_out_unref(frame);
    hm_buf_free(&text);
    hm_buf_free(&params);
}

// Who has taken nothing for longest goes first: a client that keeps up had its queue emptied a moment ago.
void hm_feed_trim(struct hm_feed *feed) {
    while (hm_out_feed_bytes() > feed->bytes_max && feed->waiting_first)
        hm_sub_resync(feed->waiting_first);
}

void hm_sub_notice(struct hm_sub *sub, struct hm_out *frame) {
    assert(frame->feed && !frame->seq);
    if (sub->stand == NEW) return; // its owner asks for all there is once it has the answer
    if (hm_sub_full(sub))
        hm_sub_resync(sub);
    else
        hm_sub_give(sub, frame);
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

struct hm_out *hm_sub_frame(struct hm_sub *sub, struct hm_event *event) {
    sub->feed->counts.checks++;
    return wants(sub, event->change->type) ? hm_event_for(event, sub->principals) : NULL;
}

// `from` is moved by the first look at a change, so two shared principals give one event. A client that kept
// up until this turn is not slow: more was committed at once than its queue holds, so it reads the log.
static void consider(struct hm_sub *sub, struct hm_event *event, void *arg) {
    struct hm_sub **overrun = arg;
    uint64_t seq = event->change->seq;
    if (sub->stand != LIVE || seq <= sub->from) return;
    sub->from = seq;
    struct hm_out *frame = hm_sub_frame(sub, event);
    if (!frame) return;
    if (!hm_sub_full(sub)) {
        hm_sub_give(sub, frame);
    } else if (sub->moved == ev_iteration(sub->feed->loop)) {
        hm_replay_park(sub, seq - 1);
    } else {
        sub->overrun = *overrun;
        *overrun = sub;
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
    hm_feed_each(house, change->audience, &event, consider, &overrun);
    hm_feed_each(house, change->lost, &event, consider, &overrun);
    while (overrun) {
        struct hm_sub *next = overrun->overrun;
        hm_sub_resync(overrun);
        overrun = next;
    }
    feed->counts.encodings += event.encodings;
    hm_event_free(&event);
    hm_feed_trim(feed);
}

// ---- opening and closing ------------------------------------------------------------------------

// Where the client stands; an epoch of another store, or a place too long ago, is answered with recovered =
// false.
static bool take_after(struct hm_sub *sub, struct hm_store *store, const struct hm_feed_after *after,
                       bool *recovered, struct hm_error *err) {
    *recovered = strcmp(after->epoch, hm_store_epoch(store)) == 0;
    // A list may have been read at a commit that has not been told yet: not the future, so the store is
    // asked.
    if (*recovered && after->seq > sub->from) {
        struct hm_read *read = NULL;
        if (!hm_read_begin(store, &read, err)) return false;
        *recovered = after->seq <= hm_read_seq(read);
        hm_read_end(read);
    } else if (*recovered) {
        *recovered = sub->from - after->seq <= sub->feed->replay_max;
    }
    if (*recovered) sub->from = after->seq;
    return true;
}

static void sub_free(struct hm_sub *sub) {
    hm_principals_unref(sub->principals);
    hm_session_unref(sub->session);
    free(sub->types);
    free(sub->about);
    free(sub);
}

static struct hm_sub *sub_new(struct hm_feed *feed, struct hm_session *session, void *owner) {
    struct hm_sub *sub = hm_alloc(sizeof *sub);
    sub->feed = feed;
    sub->owner = owner;
    sub->session = hm_session_ref(session);
    sub->principals = hm_principals_ref(session->principals);
    sub->from = feed->ops.told(feed->ops.arg, session->institution);
    return sub;
}

static void enter(struct hm_sub *sub) {
    sub->sent = sub->from;
    sub->house = house_of(sub->feed, sub->session->institution, true);
    sub->house->subs++;
    sub->feed->counts.subscriptions++;
    sit_down(sub);
}

bool hm_feed_open(struct hm_feed *feed, struct hm_session *session, void *owner, struct hm_json params,
                  struct hm_buf *result, struct hm_sub **out, struct hm_buf *errors, struct hm_error *err) {
    struct hm_store *store = feed->ops.store(feed->ops.arg, session->institution);
    if (!store)
        return hm_fail(err, HM_UNAVAILABLE, "the institution's data cannot be read now; try again later");
    struct hm_sub *sub = sub_new(feed, session, owner);
    struct hm_feed_after after = {0};
    bool recovered = true;
    if (!hm_feed_params(sub, params, &after, errors)) {
        sub_free(sub);
        return hm_fail(err, HM_PARAMS, "feed.open takes after, types and about");
    }
    if (after.given && !take_after(sub, store, &after, &recovered, err)) {
        sub_free(sub);
        return false;
    }
    enter(sub);
    hm_buf_char(result, '{');
    hm_json_member_str(result, "epoch", hm_str_of(hm_store_epoch(store)));
    hm_json_member_int(result, "seq", (int64_t)sub->from);
    hm_json_member_raw(result, "recovered", recovered ? HM_LIT("true") : HM_LIT("false"));
    hm_buf_char(result, '}');
    *out = sub;
    return true;
}

void hm_sub_start(struct hm_sub *sub) {
    if (sub->stand == NEW) hm_replay_begin(sub);
}

void hm_sub_close(struct hm_sub *sub) {
    if (!sub) return;
    struct hm_feed *feed = sub->feed;
    struct house *house = sub->house;
    hm_replay_leave(sub);
    stand_up(sub);
    if (sub->waiting) waiting_remove(sub);
    feed->counts.waiting -= sub->waiting;
    feed->ops.drop(sub->owner);
    feed->ops.closed(sub->owner);
    sub_free(sub);
    feed->counts.subscriptions--;
    hm_house_release(feed, house);
}

struct hm_feed *hm_feed_new(struct ev_loop *loop, const struct hm_feed_ops *ops,
                            const struct hm_feed_limits *limits) {
    struct hm_feed *feed = hm_alloc(sizeof *feed);
    feed->loop = loop;
    feed->ops = *ops;
    feed->queue_max = limits->queue_max ? limits->queue_max : 1;
    feed->bytes_max = limits->bytes_max;
    feed->replay_max = limits->replay_max;
    ev_timer_init(&feed->turn, hm_replay_turn, 0., 0.);
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
