// What the files of the feed share: subscriptions, the index of principals, and where each subscription
// stands. Loop thread only.
#pragma once
#include "net/feed.h"
#include "net/feed_event.h"
#include <uthash.h>

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

// NEW: not begun. LIVE: told by hm_feed_change. The others read the log: AHEAD are served by the pass of
// their institution, BEHIND wait for the next one, PARKED wait for their client to take what is queued.
enum stand { NEW, LIVE, AHEAD, BEHIND, PARKED, STANDS };

struct house { // one institution
    UT_hash_handle hh;
    struct bucket *buckets;
    size_t subs;          // and one for each that holds it otherwise
    struct hm_sub *ahead; // lists
    struct hm_sub *behind;
    uint64_t at;        // the pass has read the log up to here
    bool queued;        // for a slice
    struct house *next; // in that queue
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
    char (*types)[HM_FEED_TYPE]; // empty: all
    size_t type_count;
    char (*about)[HM_FEED_PRINCIPAL]; // empty: all
    size_t about_count;
    // LIVE: offered up to here. AHEAD: where it boarded or the last that was for it; all up to house->at was
    // offered. BEHIND, PARKED: offered up to here.
    uint64_t from;
    uint64_t sent;                 // last event that left the owner's queue
    size_t waiting, waiting_bytes; // frames in the owner's queue
    unsigned moved;  // turn of the loop in which the client last took something or had nothing waiting
    double moved_at; // the same by the loop's clock
    enum stand stand;
    struct hm_sub *prev, *next; // in house->ahead or behind
    struct hm_sub *waiting_prev,
        *waiting_next;      // those with something waiting; who took something last is last
    struct hm_sub *overrun; // list during one change
};

struct hm_feed {
    struct ev_loop *loop;
    struct hm_feed_ops ops;
    size_t queue_max, bytes_max;
    uint64_t replay_max;
    struct house *houses;
    struct hm_sub *waiting_first, *waiting_last;
    struct ev_timer turn;
    struct house *first, *last; // with subscriptions that replay, in turn
    struct hm_feed_counts counts;
};

// ---- feed.c -------------------------------------------------------------------------------------
// Calls fn for every subscription that sits on a principal of the list; it may come twice.
void hm_feed_each(struct house *house, struct hm_str audience, struct hm_event *event,
                  void (*fn)(struct hm_sub *sub, struct hm_event *event, void *arg), void *arg);
struct hm_out *hm_sub_frame(struct hm_sub *sub, struct hm_event *event); // NULL: not for it
bool hm_sub_full(const struct hm_sub *sub);
void hm_sub_give(struct hm_sub *sub, struct hm_out *frame);
void hm_sub_resync(struct hm_sub *sub);  // tells the client to ask again and frees it
void hm_feed_trim(struct hm_feed *feed); // keeps to bytes_max; may free any subscription
void hm_house_release(struct hm_feed *feed, struct house *house);

// ---- feed_replay.c ------------------------------------------------------------------------------
void hm_replay_begin(struct hm_sub *sub); // NEW
void hm_replay_park(struct hm_sub *sub, uint64_t from);
void hm_replay_sent(struct hm_sub *sub); // its client took something
void hm_replay_leave(struct hm_sub *sub);
void hm_replay_forget(struct hm_feed *feed, struct house *house);
void hm_replay_turn(struct ev_loop *loop, struct ev_timer *timer, int events);

// ---- feed_params.c ------------------------------------------------------------------------------
struct hm_feed_after {
    bool given;
    char epoch[65];
    uint64_t seq;
};
// Fills the subscription's filters; false with every fault in errors: {"path","message"}, separated by
// commas.
bool hm_feed_params(struct hm_sub *sub, struct hm_json params, struct hm_feed_after *after,
                    struct hm_buf *errors);
