// What goes out to WebSocket clients: one encoding of a text with its frame header in front, shared by
// however many connections send it, and the queue each connection has of them. Loop thread only.
#pragma once
#include "base/buf.h"

// A whole unmasked WebSocket text frame. Immutable after it was made; refcounted.
struct hm_out {
    unsigned refs;
    bool feed;    // goes when the feed it was queued for is closed, and is counted by hm_out_feed_bytes
    uint64_t seq; // of a feed event, else 0
    size_t head;  // bytes of frame header
    size_t len;   // bytes of text after it
    char frame[];
};
struct hm_out *hm_out_new(struct hm_str text);
struct hm_out *hm_out_new_for_feed(struct hm_str text, uint64_t seq);
size_t hm_out_feed_bytes(void); // of all frames for feeds that there are, each once however many wait for it
struct hm_out *hm_out_ref(struct hm_out *out);
void hm_out_unref(struct hm_out *out);
static inline struct hm_str hm_out_text(const struct hm_out *out) {
    return (struct hm_str){out->frame + out->head, out->len};
}

#define HM_QUEUE_FEW 2
struct hm_queue { // a ring; empty when zeroed, and holds no memory while there are few
    struct hm_out *few[HM_QUEUE_FEW];
    struct hm_out **items; // when there were more
    size_t first, count, cap;
    size_t bytes;
};
void hm_queue_push(struct hm_queue *queue, struct hm_out *out); // takes a reference of its own
struct hm_out *hm_queue_first(const struct hm_queue *queue);    // borrowed; NULL when empty
struct hm_out *hm_queue_pop(struct hm_queue *queue); // the caller owns the queue's reference; NULL when empty
size_t hm_queue_drop_feed(struct hm_queue *queue);   // removes what is for the feed; how many
void hm_queue_clear(struct hm_queue *queue);

struct hm_sending {
    size_t bytes; // sent
    bool blocked; // the socket took less than was offered
    bool broken;
    struct hm_out *cut; // the frame of which only cut_at bytes went, or NULL; the caller owns its reference
    size_t cut_at;
};
// One system call: sends what is first in the queue, up to `most` bytes or so, from where it lies. `left` is
// told of each frame that has left the queue, the one that was cut too.
void hm_queue_send(struct hm_queue *queue, int fd, size_t most,
                   void (*left)(void *arg, const struct hm_out *out), void *arg, struct hm_sending *sending);
