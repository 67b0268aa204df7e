// Frames to and from the server over a stream socket. Everything that was received is worked on before
// anything is waited for; everything that is to be sent goes out in one piece when the input is empty. Worker
// thread. The server is believed: it is the worker's parent; but a frame that cannot be one ends the worker
// all the same.
#include "base/clock.h"
#include "script/frames.h"
#include "script/host.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define OLD_US 1000 // an answer waits no longer than this for company

struct hm_channel {
    int fd;
    struct hm_buf in, out, frame; // frame: the one in hand, taken out of `in`
    size_t in_at;                 // start of what has not been looked at
    size_t out_frame;             // start of the frame being written
    uint64_t out_since_us;
};

struct hm_channel *hm_channel_new(int fd) {
    struct hm_channel *c = hm_alloc(sizeof *c);
    c->fd = fd;
    return c;
}

void hm_channel_free(struct hm_channel *c) {
    if (!c) return;
    hm_buf_free(&c->in);
    hm_buf_free(&c->out);
    hm_buf_free(&c->frame);
    free(c);
}

bool hm_channel_flush(struct hm_channel *c, struct hm_error *err) {
    size_t at = 0;
    while (at < c->out.len) {
        struct iovec part = {c->out.data + at, c->out.len - at};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
        ssize_t n = sendmsg(c->fd, &message, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return hm_fail(err, HM_UNAVAILABLE, "cannot write to the server: error %d", errno);
        at += (size_t)n;
    }
    if (c->out.cap > 4u << 20) hm_buf_free(&c->out);
    hm_buf_clear(&c->out);
    return true;
}

void hm_channel_flush_if_old(struct hm_channel *c) {
    if (c->out.len && hm_mono_us() - c->out_since_us > OLD_US)
        hm_channel_flush(c, NULL); // a failure shows again at once
}

struct hm_buf *hm_channel_begin(struct hm_channel *c, uint8_t kind, uint32_t call) {
    if (!c->out.len) c->out_since_us = hm_mono_us();
    c->out_frame = c->out.len;
    hm_put_u32(&c->out, 0);
    hm_put_u8(&c->out, kind);
    hm_put_u32(&c->out, call);
    return &c->out;
}

void hm_channel_end(struct hm_channel *c) {
    uint32_t len = (uint32_t)(c->out.len - c->out_frame - 4);
    for (int i = 0; i < 4; i++)
        c->out.data[c->out_frame + (size_t)i] = (char)(uint8_t)(len >> (8 * i));
}

// ---- reading -----------------------------------------------------------------------------------

// Length of the whole frame that begins at `at`, 0 when not all of it is here.
static size_t frame_at(const struct hm_channel *c, size_t at, struct hm_error *err) {
    if (c->in.len - at < 4) return 0;
    struct hm_reader r = {c->in.data + at, c->in.data + c->in.len, false};
    uint32_t len = hm_get_u32(&r);
    if (len < 5 || len > HM_FRAME_MAX) {
        hm_fail(err, HM_INTERNAL, "a frame of %u bytes", len);
        return 0;
    }
    return c->in.len - at - 4 >= len ? (size_t)len + 4 : 0;
}

static bool receive(struct hm_channel *c, struct hm_error *err) {
    if (!hm_channel_flush(c, err)) return false;
    if (c->in_at) hm_buf_drop(&c->in, c->in_at);
    c->in_at = 0;
    hm_buf_reserve(&c->in, 64u << 10);
    for (;;) {
        struct iovec part = {c->in.data + c->in.len, c->in.cap - c->in.len - 1};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
        ssize_t n = recvmsg(c->fd, &message, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return hm_fail(err, HM_UNAVAILABLE, "cannot read from the server: error %d", errno);
        if (n == 0) return hm_fail(err, HM_OK, "closed");
        c->in.len += (size_t)n;
        return true;
    }
}

// Takes the frame of `len` bytes at `at` out of the input.
static void take(struct hm_channel *c, size_t at, size_t len, struct hm_frame_in *out) {
    if (c->frame.cap > 4u << 20) hm_buf_free(&c->frame);
    hm_buf_clear(&c->frame);
    hm_buf_add(&c->frame, c->in.data + at + 4, len - 4);
    if (at == c->in_at) {
        c->in_at += len;
    } else {
        memmove(c->in.data + at, c->in.data + at + len, c->in.len - at - len);
        c->in.len -= len;
    }
    out->rest = hm_reader_of(hm_buf_view(&c->frame));
    out->kind = hm_get_u8(&out->rest);
    out->call = hm_get_u32(&out->rest);
}

bool hm_channel_next(struct hm_channel *c, struct hm_frame_in *out, struct hm_error *err) {
    err->code = HM_OK;
    for (;;) {
        size_t len = frame_at(c, c->in_at, err);
        if (err->code) return false;
        if (len) {
            take(c, c->in_at, len, out);
            return true;
        }
        if (!receive(c, err)) return false;
    }
}

// The frame in hand stays in hand for the caller's caller: its texts are borrowed from c->frame. So it is put
// aside here.
bool hm_channel_wait_for(struct hm_channel *c, uint8_t kind, uint32_t call, struct hm_frame_in *out,
                         struct hm_error *err) {
    struct hm_buf in_hand = c->frame;
    static struct hm_buf answer; // used again; one wait at a time
    bool ok = false;
    c->frame = answer;
    err->code = HM_OK;
    for (size_t at = c->in_at;;) {
        size_t len = frame_at(c, at, err);
        if (err->code) break;
        if (!len) {
            size_t looked_at = at - c->in_at; // receiving moves what is here to the front
            if (!receive(c, err)) break;
            at = looked_at;
            continue;
        }
        struct hm_reader r = {c->in.data + at + 4, c->in.data + at + len, false};
        uint8_t this_kind = hm_get_u8(&r);
        if (this_kind == kind && hm_get_u32(&r) == call) {
            take(c, at, len, out);
            ok = true;
            break;
        }
        at += len;
    }
    answer = c->frame;
    c->frame = in_hand;
    if (!ok && !err->code) hm_fail(err, HM_UNAVAILABLE, "the server is gone");
    return ok;
}
