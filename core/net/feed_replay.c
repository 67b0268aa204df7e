// What clients missed, from the change log. Loop thread only. Those of one institution that have something to
// read go through the log together: a pass begins at the one that is furthest behind and takes up all others
// on its way, so that a thousand clients that come back after a restart cost one reading, one encoding per
// change, and each only what is for it. What always holds:
//  - A pass is done in slices, one per turn of the loop, each with a snapshot of its own, so that it neither
//  keeps the loop from others nor old pages in the store. Institutions take turns.
//  - It never overruns a client: who has half a queue waiting is parked where it is, and joins this pass or
//  the next when it has taken some.
//  - While what waits for clients takes most of the memory it may take, nothing is read.
//  - The contents of a record are sent only to who may see it now: what was taken back, deleted or moved out
//  of sight since is told as deleted.
#include "base/log.h"
#include "net/feed_inside.h"
#include <assert.h>

#define SLICE_ENTRIES 500       // read from the log in one slice
#define SLICE_EVENTS 2000       // queued in one slice
#define SLICE_BYTES (4u << 20)  // of records read in one slice
#define SLICE_HOUSES 4          // institutions that have a slice in one turn of the loop
#define TIGHT_BYTES (64u << 10) // what may wait for one client when memory is short
#define SHORT_S 0.01            // then the log is read on when clients have had time to take something
#define STUCK_S 1.              // who took nothing for so long stands in the others' way

// ---- lists --------------------------------------------------------------------------------------

static struct hm_sub **list_of(struct hm_sub *sub) {
    return sub->stand == AHEAD ? &sub->house->ahead : sub->stand == BEHIND ? &sub->house->behind : NULL;
}

static bool replays(enum stand stand) {
    return stand == AHEAD || stand == BEHIND || stand == PARKED;
}

static void stand_as(struct hm_sub *sub, enum stand stand) {
    struct hm_feed_counts *counts = &sub->feed->counts;
    struct hm_sub **list = list_of(sub);
    if (list) {
        *(sub->prev ? &sub->prev->next : list) = sub->next;
        if (sub->next) sub->next->prev = sub->prev;
        sub->prev = sub->next = NULL;
    }
    counts->replaying += (uint64_t)replays(stand) - (uint64_t)replays(sub->stand);
    sub->stand = stand;
    if ((list = list_of(sub))) {
        sub->next = *list;
        if (*list) (*list)->prev = sub;
        *list = sub;
    }
}

static void queue_house(struct hm_feed *feed, struct house *house) {
    if (house->queued) return;
    house->queued = true;
    house->next = NULL;
    if (feed->last)
        feed->last->next = house;
    else
        feed->first = house;
    feed->last = house;
    if (!ev_is_active(&feed->turn)) {
        ev_timer_set(&feed->turn, 0., 0.);
        ev_timer_start(feed->loop, &feed->turn);
    }
}

void hm_replay_forget(struct hm_feed *feed, struct house *house) {
    if (!house->queued) return;
    struct house **at = &feed->first, *before = NULL;
    while (*at != house) {
        before = *at;
        at = &(*at)->next;
    }
    *at = house->next;
    if (feed->last == house) feed->last = before;
    house->queued = false;
}

// ---- where a subscription stands ----------------------------------------------------------------

static bool short_of_memory(const struct hm_feed *feed) {
    return hm_out_feed_bytes() > feed->bytes_max - feed->bytes_max / 4;
}

// Half of its queue is kept for what is committed meanwhile. When memory is short, slow ones get less.
static bool may_go(const struct hm_sub *sub) {
    const struct hm_feed *feed = sub->feed;
    size_t bytes = hm_out_feed_bytes() > feed->bytes_max / 2 ? TIGHT_BYTES : QUEUE_BYTES / 2;
    return sub->waiting < (feed->queue_max + 1) / 2 && sub->waiting_bytes < bytes;
}

// Joins the pass under way when that has not come past it, else waits for the next.
static void join(struct hm_sub *sub) {
    struct house *house = sub->house;
    stand_as(sub, house->ahead && sub->from >= house->at ? AHEAD : BEHIND);
    queue_house(sub->feed, house);
}

void hm_replay_begin(struct hm_sub *sub) {
    if (sub->from >= sub->feed->ops.told(sub->feed->ops.arg, sub->house->name))
        stand_as(sub, LIVE);
    else
        join(sub);
}

void hm_replay_park(struct hm_sub *sub, uint64_t from) {
    sub->from = from;
    stand_as(sub, PARKED);
}

void hm_replay_sent(struct hm_sub *sub) {
    if (sub->stand == PARKED && may_go(sub)) join(sub);
}

void hm_replay_leave(struct hm_sub *sub) {
    stand_as(sub, NEW);
}

// ---- a slice ------------------------------------------------------------------------------------

struct slice {
    struct hm_feed *feed;
    struct house *house;
    struct hm_read *read;
    uint64_t told;
    size_t entries, events, bytes;
    bool enough; // stopped before the end
};

// Who may see the record as it is now; nobody when it is gone.
static struct hm_str audience_now(struct hm_read *read, const struct hm_change *change) {
    struct hm_record record;
    struct hm_error err = {0};
    if (!hm_read_get(read, change->type, change->id, &record, &err)) return (struct hm_str){0};
    return record.audience;
}

static void consider(struct hm_sub *sub, struct hm_event *event, void *arg) {
    struct slice *slice = arg;
    uint64_t seq = event->change->seq;
    if (sub->stand != AHEAD || seq <= sub->from) return;
    if (!event->past && event->change->action != HM_DELETED) {
        event->past = true;
        event->now = audience_now(slice->read, event->change);
    }
    sub->from = seq;
    struct hm_out *frame = hm_sub_frame(sub, event);
    if (!frame) return;
    hm_sub_give(sub, frame);
    slice->events++;
    if (!may_go(sub)) hm_replay_park(sub, seq);
}

static bool read_one(void *arg, const struct hm_change *change) {
    struct slice *slice = arg;
    struct hm_event event = {.change = change};
    if (change->seq > slice->told) return false;
    // Hidden types have no audience in the log.
    hm_feed_each(slice->house, change->audience, &event, consider, slice);
    hm_feed_each(slice->house, change->lost, &event, consider, slice);
    slice->feed->counts.encodings += event.encodings;
    slice->feed->counts.replayed++;
    hm_event_free(&event);
    slice->house->at = change->seq;
    slice->bytes += change->json.len;
    slice->enough = ++slice->entries >= SLICE_ENTRIES || slice->events >= SLICE_EVENTS ||
                    slice->bytes >= SLICE_BYTES || !slice->house->ahead || short_of_memory(slice->feed);
    return !slice->enough;
}

static bool read_slice(struct slice *slice, struct hm_store *store, struct hm_error *err) {
    if (slice->house->at >= slice->told) return true;
    if (!store || !hm_read_begin(store, &slice->read, err)) return false;
    bool ok = hm_log_read(slice->read, slice->house->at, read_one, slice, err);
    hm_read_end(slice->read);
    return ok;
}

static void begin_pass(struct hm_feed *feed, struct house *house) {
    house->at = UINT64_MAX;
    feed->counts.passes++;
    while (house->behind) {
        struct hm_sub *sub = house->behind;
        if (sub->from < house->at) house->at = sub->from;
        stand_as(sub, AHEAD);
    }
}

// Everybody that the pass served has all that was told, and from now on is told with the others.
static void end_pass(struct house *house, uint64_t told) {
    while (house->ahead) {
        struct hm_sub *sub = house->ahead;
        if (sub->from < told) sub->from = told;
        stand_as(sub, LIVE);
    }
}

static void run(struct hm_feed *feed, struct house *house) {
    if (!house->ahead && house->behind) begin_pass(feed, house);
    if (!house->ahead) return;
    struct hm_error err = {0};
    struct slice slice = {.feed = feed, .house = house, .told = feed->ops.told(feed->ops.arg, house->name)};
    if (!read_slice(&slice, feed->ops.store(feed->ops.arg, house->name), &err)) {
        hm_log(HM_WARN, "feed.replay_failed", "\"institution\":\"%s\",\"code\":%d", house->name,
               (int)err.code);
        while (house->ahead)
            hm_sub_resync(house->ahead);
    } else if (!slice.enough) {
        end_pass(house, slice.told);
    }
    hm_feed_trim(feed);
}

void hm_replay_turn(struct ev_loop *loop, struct ev_timer *timer, int events) {
    struct hm_feed *feed = timer->data;
    struct house *houses[SLICE_HOUSES];
    size_t count = 0;
    (void)events;
    while (short_of_memory(feed) && feed->waiting_first &&
           ev_now(loop) - feed->waiting_first->moved_at > STUCK_S)
        hm_sub_resync(feed->waiting_first);
    while (!short_of_memory(feed) && count < SLICE_HOUSES && feed->first) {
        houses[count] = feed->first;
        houses[count]->subs++; // may lose all its subscriptions meanwhile
        hm_replay_forget(feed, houses[count++]);
    }
    for (size_t i = 0; i < count; i++) {
        run(feed, houses[i]);
        if (houses[i]->ahead || houses[i]->behind) queue_house(feed, houses[i]);
        hm_house_release(feed, houses[i]);
    }
    if (feed->first && !ev_is_active(timer)) {
        ev_timer_set(timer, short_of_memory(feed) ? SHORT_S : 0., 0.);
        ev_timer_start(loop, timer);
    }
}
