// Frames and their way out: the queue, and sending straight from it to a socket that takes what it likes.
#include "net/out.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct hm_out *frame(size_t len, bool feed) {
    static unsigned char next;
    struct hm_buf text = {0};
    hm_buf_reserve(&text, len + 1);
    for (size_t i = 0; i < len; i++)
        hm_buf_char(&text, (char)(next += 7));
    struct hm_out *out = feed ? hm_out_new_for_feed(hm_buf_view(&text), 1) : hm_out_new(hm_buf_view(&text));
    hm_buf_free(&text);
    return out;
}

static void frames_have_the_header_that_their_length_needs(void **state) {
    (void)state;
    static const size_t lengths[] = {0, 1, 125, 126, 65535, 65536, 1u << 20};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct hm_out *out = frame(lengths[i], false);
        const unsigned char *h = (const unsigned char *)out->frame;
        uint64_t len = h[1];
        size_t more = h[1] == 126 ? 2 : h[1] == 127 ? 8 : 0;
        if (more) len = 0;
        for (size_t k = 0; k < more; k++)
            len = len << 8 | h[2 + k];
        assert_int_equal(h[0], 0x81);
        assert_int_equal(out->head, 2 + more);
        assert_int_equal(len, lengths[i]);
        hm_out_unref(out);
    }
}

static void a_queue_keeps_order_and_drops_only_the_feed(void **state) {
    (void)state;
    srand(7);
    struct hm_queue queue = {0};
    struct hm_out *model[400];
    size_t first = 0, end = 0;
    for (int step = 0; step < 20000; step++) {
        if (rand() % 2 && end < 300 + first) {
            struct hm_out *out = frame((size_t)(rand() % 50), rand() % 2);
            hm_queue_push(&queue, out);
            model[end++ % 400] = out; // its first reference
        } else if (rand() % 50 == 0) {
            size_t kept = first, dropped = hm_queue_drop_feed(&queue);
            for (size_t i = first; i < end; i++) {
                struct hm_out *out = model[i % 400];
                if (out->feed)
                    hm_out_unref(out), dropped--;
                else
                    model[kept++ % 400] = out;
            }
            end = kept;
            assert_int_equal(dropped, 0);
        } else {
            struct hm_out *out = hm_queue_pop(&queue);
            assert_ptr_equal(out, first < end ? model[first % 400] : NULL);
            if (!out) continue;
            hm_out_unref(out);
            hm_out_unref(model[first++ % 400]);
        }
        assert_int_equal(queue.count, end - first);
        assert_ptr_equal(hm_queue_first(&queue), first < end ? model[first % 400] : NULL);
        size_t bytes = 0;
        for (size_t i = first; i < end; i++)
            bytes += model[i % 400]->head + model[i % 400]->len;
        assert_int_equal(queue.bytes, bytes);
        if (!queue.count) assert_null(queue.items); // an idle client holds no memory
    }
    hm_queue_clear(&queue);
    while (first < end)
        hm_out_unref(model[first++ % 400]);
    assert_int_equal(hm_out_feed_bytes(), 0);
}

struct stream {
    struct hm_buf sent, got;
    size_t left;
};

static void left(void *arg, const struct hm_out *out) {
    (void)out;
    ((struct stream *)arg)->left++;
}

static void receive(int fd, size_t most, struct hm_buf *got) {
    char bytes[8192];
    ssize_t n = recv(fd, bytes, most < sizeof bytes ? most : sizeof bytes, MSG_DONTWAIT);
    if (n > 0) hm_buf_add(got, bytes, (size_t)n);
}

// The rest of a cut frame goes before anything else, as libwebsockets does it.
static void finish(int to, int from, struct hm_sending *sending, struct stream *s) {
    const char *at = sending->cut->frame + sending->cut_at;
    size_t rest = sending->cut->head + sending->cut->len - sending->cut_at;
    while (rest) {
        ssize_t n = send(to, at, rest, MSG_DONTWAIT);
        if (n > 0) at += n, rest -= (size_t)n;
        receive(from, 4096, &s->got);
    }
    hm_out_unref(sending->cut);
}

static void what_is_sent_arrives_whole_and_in_order_however_little_the_socket_takes(void **state) {
    (void)state;
    int ends[2], small = 4096;
    struct stream s = {0};
    struct hm_queue queue = {0};
    size_t frames = 0, cuts = 0;
    srand(11);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    for (int step = 0; step < 3000 || queue.count; step++) {
        struct hm_sending sending;
        for (int n = step < 3000 ? rand() % 4 * (rand() % 40 ? 1 : 60) : 0; n > 0; n--) {
            struct hm_out *out = frame((size_t)(rand() % (rand() % 20 ? 300 : 30000)), rand() % 2);
            hm_buf_add(&s.sent, out->frame, out->head + out->len);
            hm_queue_push(&queue, out);
            hm_out_unref(out);
            frames++;
        }
        size_t before = queue.bytes;
        hm_queue_send(&queue, ends[0], 1u << 16, left, &s, &sending);
        assert_false(sending.broken);
        size_t rest = sending.cut ? sending.cut->head + sending.cut->len - sending.cut_at : 0;
        assert_int_equal(before, queue.bytes + sending.bytes + rest);
        if (sending.cut) {
            assert_true(sending.blocked);
            cuts++;
            finish(ends[0], ends[1], &sending, &s);
        }
        receive(ends[1], (size_t)(rand() % 6000) + 1, &s.got);
    }
    while (s.got.len < s.sent.len)
        receive(ends[1], 8192, &s.got);
    assert_int_equal(s.got.len, s.sent.len);
    assert_memory_equal(s.got.data, s.sent.data, s.sent.len);
    assert_int_equal(s.left, frames);
    assert_in_range(cuts, 1, frames);
    close(ends[0]);
    close(ends[1]);
    hm_buf_free(&s.sent);
    hm_buf_free(&s.got);
}

static void a_broken_connection_is_said_and_keeps_the_queue(void **state) {
    (void)state;
    int ends[2];
    struct stream s = {0};
    struct hm_queue queue = {0};
    struct hm_sending sending;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    close(ends[1]);
    struct hm_out *out = frame(10, false);
    hm_queue_push(&queue, out);
    hm_out_unref(out);
    hm_queue_send(&queue, ends[0], 1000, left, &s, &sending);
    assert_true(sending.broken);
    assert_int_equal(queue.count, 1);
    hm_queue_clear(&queue);
    close(ends[0]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_have_the_header_that_their_length_needs),
        cmocka_unit_test(a_queue_keeps_order_and_drops_only_the_feed),
        cmocka_unit_test(what_is_sent_arrives_whole_and_in_order_however_little_the_socket_takes),
        cmocka_unit_test(a_broken_connection_is_said_and_keeps_the_queue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
