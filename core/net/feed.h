// The feed: who is told of which change. An index from principal to subscriptions, so that a change costs
// only those who may see it; one encoding per change however many receive it; replay from the change log
// after a reconnect. Knows no transport: frames are handed to the owner of a subscription. Loop thread only.
#pragma once
#include "auth/auth.h"
#include "base/id.h"
#include "net/out.h"
#include "store/store.h"
#include <ev.h>

#define HM_FEED_TYPE (HM_NAME_MAX + 1)
#define HM_FEED_PRINCIPAL (HM_NAME_MAX + HM_ID_MAX + 2)

struct hm_feed;
struct hm_sub;
struct hm_feed_ops {
    struct hm_store *(*store)(void *arg, const char *institution); // borrowed; NULL when unknown
    uint64_t (*told)(void *arg, const char *institution);          // last seq given to hm_feed_change
    // Queue a frame. For one of the feed (frame->feed) the owner calls hm_sub_sent when it has left the
    // queue.
    void (*deliver)(void *owner, struct hm_out *frame);
    void (*drop)(void *owner);   // remove the frames of the feed that are still queued
    void (*closed)(void *owner); // the subscription is about to be freed
    void *arg;                   // of store and told
};
struct hm_feed_counts {
    uint64_t subscriptions, replaying, waiting; // now: open, reading the log, events queued
    uint64_t changes;                           // looked at
    uint64_t checks;                            // subscriptions looked at for them
    uint64_t encodings, delivered;              // frames made, frames queued
    uint64_t replayed;                          // entries read from the log
    uint64_t passes;                            // through the log
    uint64_t resyncs;
};
struct hm_feed_limits {
    unsigned queue_max;  // events that may wait for one client
    size_t bytes_max;    // of memory for what waits, over all clients; the slowest are told to ask again
    unsigned replay_max; // changes that are read back from the log; who was away for longer must reload
};
struct hm_feed *hm_feed_new(struct ev_loop *loop, const struct hm_feed_ops *ops,
                            const struct hm_feed_limits *limits);
void hm_feed_free(struct hm_feed *feed); // every subscription must have been closed
const struct hm_feed_counts *hm_feed_counts(const struct hm_feed *feed);

// params: {after?: {epoch, seq}, types?: [name], about?: [principal]}. types: only records of these types.
// about: only records whose audience names one of these principals, before or after the change. Neither shows
// more than the session may see. On success the result {epoch, seq, recovered} is appended and the
// subscription lives; the owner must first send the result and then call hm_sub_start, which begins the
// replay. HM_PARAMS: the faults are in errors, {"path","message"} separated by commas.
bool hm_feed_open(struct hm_feed *feed, struct hm_session *session, void *owner, struct hm_json params,
                  struct hm_buf *result, struct hm_sub **out, struct hm_buf *errors, struct hm_error *err);
// For a method that takes no params: false with every fault in errors, as above.
bool hm_feed_params_none(struct hm_json params, struct hm_buf *errors);
void hm_sub_start(struct hm_sub *sub); // nothing when it has started already
void hm_sub_sent(struct hm_sub *sub, const struct hm_out *frame);
void hm_sub_close(struct hm_sub *sub); // drops its queued events
// Queues a frame that is no change, made for the feed with seq 0; bounded like events (sub may be gone then).
// Nothing before hm_sub_start.
void hm_sub_notice(struct hm_sub *sub, struct hm_out *frame);

void hm_feed_change(struct hm_feed *feed, const char *institution, const struct hm_change *change);
void hm_sub_reindex(struct hm_sub *sub); // the session's principals were replaced
