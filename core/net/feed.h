// The feed: who is told of which change. An index from principal to subscriptions, so that a change costs
// only those who may see it; one encoding per change however many receive it; replay from the change log
// after a reconnect. Knows no transport: frames are handed to the owner of a subscription. Loop thread only.
#pragma once
#include "auth/auth.h"
#include "net/out.h"
#include "store/store.h"
#include <ev.h>

struct hm_feed;
struct hm_sub;
struct hm_feed_ops {
    struct hm_store *(*store)(void *arg, const char *institution); // borrowed; NULL when unknown
    uint64_t (*told)(void *arg, const char *institution);          // last seq given to hm_feed_change
    // Queue a frame. For an event (frame->seq != 0) the owner calls hm_sub_sent when it has left the queue.
    void (*deliver)(void *owner, struct hm_out *frame);
    void (*drop)(void *owner);   // remove the events still queued
    void (*closed)(void *owner); // the subscription is about to be freed
    void *arg;                   // of store and told
};
struct hm_feed_counts {
    uint64_t subscriptions, changes, delivered, replayed, resyncs;
};
// queue_max: events that may wait for one client.
struct hm_feed *hm_feed_new(struct ev_loop *loop, const struct hm_feed_ops *ops, unsigned queue_max);
void hm_feed_free(struct hm_feed *feed); // every subscription must have been closed
const struct hm_feed_counts *hm_feed_counts(const struct hm_feed *feed);

// params: {after?: {epoch, seq}, types?: [name]}. On success the result {epoch, seq, recovered} is appended
// and the subscription lives; the owner must first send the result and then call hm_sub_start, which begins
// the replay.
bool hm_feed_open(struct hm_feed *feed, struct hm_session *session, void *owner, struct hm_json params,
                  struct hm_buf *result, struct hm_sub **out, struct hm_error *err);
void hm_sub_start(struct hm_sub *sub); // nothing when it has started already
void hm_sub_sent(struct hm_sub *sub, const struct hm_out *frame);
void hm_sub_close(struct hm_sub *sub); // drops its queued events

void hm_feed_change(struct hm_feed *feed, const char *institution, const struct hm_change *change);
void hm_sub_reindex(struct hm_sub *sub); // the session's principals were replaced
