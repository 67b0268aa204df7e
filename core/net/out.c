// Frames and queues of frames. Loop thread only. A frame never changes after hm_out_new, so it may stand in
// any number of queues; a server's frames are not masked (RFC 6455, 5.1), so the same bytes are right for
// every client.
#include "net/out.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>

static size_t frame_head(char head[10], size_t len) {
    head[0] = (char)(unsigned char)0x81; // final, text
    if (len < 126) {
        head[1] = (char)len;
        return 2;
    }
    size_t bytes = len < 65536 ? 2 : 8;
    head[1] = bytes == 2 ? 126 : 127;
    for (size_t i = 0; i < bytes; i++)
        head[2 + i] = (char)(unsigned char)((uint64_t)len >> (8 * (bytes - 1 - i)));
    return 2 + bytes;
}

static size_t feed_bytes;

size_t hm_out_feed_bytes(void) {
    return feed_bytes;
}

static size_t memory_of(const struct hm_out *out) {
    return sizeof *out + out->head + out->len;
}

struct hm_out *hm_out_new(struct hm_str text) {
    char head[10];
    size_t head_len = frame_head(head, text.len);
    // hm_realloc, since hm_alloc would clear a mebibyte that is written over at once.
    struct hm_out *out = hm_realloc(NULL, sizeof *out + head_len + text.len);
    *out = (struct hm_out){.refs = 1, .head = head_len, .len = text.len};
    memcpy(out->frame, head, head_len);
    if (text.len) memcpy(out->frame + head_len, text.ptr, text.len);
    return out;
}

struct hm_out *hm_out_new_for_feed(struct hm_str text, uint64_t seq) {
    struct hm_out *out = hm_out_new(text);
    out->feed = true;
    out->seq = seq;
    feed_bytes += memory_of(out);
    return out;
}

struct hm_out *hm_out_ref(struct hm_out *out) {
    out->refs++;
    return out;
}

void hm_out_unref(struct hm_out *out) {
    if (!out) return;
    assert(out->refs > 0);
    if (--out->refs) return;
    if (out->feed) feed_bytes -= memory_of(out);
    free(out);
}

static struct hm_out **ring(struct hm_queue *queue) {
    return queue->items ? queue->items : queue->few;
}

static size_t room(const struct hm_queue *queue) {
    return queue->items ? queue->cap : HM_QUEUE_FEW;
}

static struct hm_out **at(struct hm_queue *queue, size_t i) {
    return &ring(queue)[(queue->first + i) % room(queue)];
}

static void grow(struct hm_queue *queue) {
    size_t cap = room(queue) * 2;
    struct hm_out **items = hm_alloc_array(cap, sizeof *items);
    for (size_t i = 0; i < queue->count; i++)
        items[i] = *at(queue, i);
    free(queue->items);
    queue->items = items;
    queue->first = 0;
    queue->cap = cap;
}

static void release_if_empty(struct hm_queue *queue) {
    if (queue->count) return;
    assert(queue->bytes == 0);
    free(queue->items);
    *queue = (struct hm_queue){0};
}

void hm_queue_push(struct hm_queue *queue, struct hm_out *out) {
    if (queue->count == room(queue)) grow(queue);
    *at(queue, queue->count++) = hm_out_ref(out);
    queue->bytes += out->head + out->len;
}

struct hm_out *hm_queue_first(const struct hm_queue *queue) {
    if (!queue->count) return NULL;
    return queue->items ? queue->items[queue->first] : queue->few[queue->first];
}

struct hm_out *hm_queue_pop(struct hm_queue *queue) {
    if (!queue->count) return NULL;
    struct hm_out *out = *at(queue, 0);
    queue->first = (queue->first + 1) % room(queue);
    queue->count--;
    queue->bytes -= out->head + out->len;
    release_if_empty(queue);
    return out;
}

size_t hm_queue_drop_feed(struct hm_queue *queue) {
    size_t kept = 0, dropped = 0;
    for (size_t i = 0; i < queue->count; i++) {
        struct hm_out *out = *at(queue, i);
        if (out->feed) {
            queue->bytes -= out->head + out->len;
            hm_out_unref(out);
            dropped++;
        } else {
            *at(queue, kept++) = out;
        }
    }
    queue->count = kept;
    release_if_empty(queue);
    return dropped;
}

void hm_queue_clear(struct hm_queue *queue) {
    struct hm_out *out;
    while ((out = hm_queue_pop(queue)))
        hm_out_unref(out);
}

// ---- sending ------------------------------------------------------------------------------------

#define PARTS_MAX 64

static ssize_t offer(int fd, struct iovec *parts, size_t count) {
    ssize_t n;
    do {
        if (count == 1)
            n = send(fd, parts[0].iov_base, parts[0].iov_len, MSG_NOSIGNAL | MSG_DONTWAIT);
        else
            n = sendmsg(fd, &(struct msghdr){.msg_iov = parts, .msg_iovlen = count},
                        MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    return n;
}

void hm_queue_send(struct hm_queue *queue, int fd, size_t most,
                   void (*left)(void *arg, const struct hm_out *out), void *arg, struct hm_sending *sending) {
    struct iovec parts[PARTS_MAX];
    size_t count = 0, offered = 0;
    *sending = (struct hm_sending){0};
    for (; count < queue->count && count < PARTS_MAX && offered < most; count++) {
        struct hm_out *out = *at(queue, count);
        parts[count] = (struct iovec){out->frame, out->head + out->len};
        offered += parts[count].iov_len;
    }
    ssize_t n = count ? offer(fd, parts, count) : 0;
    if (n < 0) {
        sending->blocked = errno == EAGAIN || errno == EWOULDBLOCK;
        sending->broken = !sending->blocked;
        return;
    }
    sending->bytes = (size_t)n;
    sending->blocked = (size_t)n < offered;
    for (size_t i = 0, rest = (size_t)n; i < count && rest; i++) {
        struct hm_out *out = hm_queue_pop(queue);
        left(arg, out);
        if (rest < parts[i].iov_len) {
            sending->cut = out;
            sending->cut_at = rest;
            break;
        }
        rest -= parts[i].iov_len;
        hm_out_unref(out);
    }
}
