// Any bytes from a client, through libwebsockets and our use of it: what comes back is at most one HTTP
// answer with its headers, or an upgrade and whole frames, and every socket is closed when the client has
// gone. The engine is a stub that answers at once, later, or after the connection is closed.
// The first byte says how: bits 0-1 when calls are answered, 2-4 size of the pieces, 5-6 what stands before
// the bytes (nothing, an upgrade, the head of a POST), 7 a client that does not read until the end.
#include "base/log.h"
#include "cmd/settings.h"
#include "net/inside.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { AT_ONCE, LATER, LATER_AFTER_CLOSE, MIXED };
#define WAITING_MAX 20000
#define TURNS_MAX 2000 // of the loop, after which a socket that is still open is a bug

static struct waiting {
    hm_answer_fn answer;
    void *arg;
    struct hm_caller *caller;
    char kind;
} waiting[WAITING_MAX];
static size_t waiting_count;
static int mode;
static char *large; // a result that does not fit into a socket

// ---- the engine ---------------------------------------------------------------------------------

static struct hm_session *session_new(void) {
    struct hm_session *session = hm_session_new();
    snprintf(session->institution, sizeof session->institution, "fuzz");
    snprintf(session->account, sizeof session->account, "account");
    snprintf(session->person, sizeof session->person, "person");
    return session;
}

static void answer_one(struct waiting w) {
    if (w.kind == 'r' || w.kind == 'l') {
        if (!w.caller->session) w.caller->session = session_new();
        w.answer(w.arg, &(struct hm_answer){.result = HM_LIT("{\"token\":\"fuzz.token\"}")});
    } else if (w.kind == 'd') {
        w.answer(w.arg, &(struct hm_answer){.result = hm_str_of(large)});
    } else if (w.kind == 'x') {
        w.answer(w.arg, &(struct hm_answer){.code = HM_CONFLICT, .data = HM_LIT("{\"reason\":\"full\"}")});
    } else {
        w.answer(w.arg, &(struct hm_answer){.result = HM_LIT("{\"a\":[1,2]}")});
    }
    hm_caller_unref(w.caller);
}

static void answer_all(void) {
    while (waiting_count)
        answer_one(waiting[--waiting_count]);
}

void hm_engine_call(struct hm_engine *engine, struct hm_caller *caller, struct hm_str method,
                    struct hm_str params, hm_answer_fn answer, void *arg) {
    struct hm_json value;
    (void)engine;
    if (!hm_utf8_valid(method) || (params.len && !hm_json_parse(params, &value, NULL))) abort();
    // session.resume, session.logout, rpc.discover …: one letter tells them from each other
    struct waiting w = {answer, arg, hm_caller_ref(caller), method.len > 8 ? method.ptr[8] : 'a'};
    if (method.len > 3 && method.ptr[3] == '.') w.kind = method.ptr[4];
    bool now = mode == AT_ONCE || (mode == MIXED && waiting_count % 2);
    if (now || waiting_count == WAITING_MAX)
        answer_one(w);
    else
        waiting[waiting_count++] = w;
}

struct hm_session *hm_engine_session(struct hm_engine *engine, struct hm_str token) {
    (void)engine;
    return token.len > 4 ? session_new() : NULL;
}

bool hm_engine_ready(const struct hm_engine *engine) {
    (void)engine;
    return true;
}

void hm_engine_amiss(const struct hm_engine *engine, struct hm_buf *out) {
    (void)engine, (void)out;
}

void hm_engine_listen(struct hm_engine *engine, const struct hm_listener *listener) {
    (void)engine, (void)listener;
}

const struct hm_settings *hm_engine_settings(const struct hm_engine *engine) {
    (void)engine;
    return NULL; // only asked for by hm_net_open
}

void hm_engine_drain(struct hm_engine *engine, void (*drained)(void *arg), void *arg) {
    (void)engine, (void)drained, (void)arg;
}

void hm_engine_metrics(struct hm_engine *engine, struct hm_buf *out) {
    (void)engine;
    (void)out;
}

void hm_engine_openrpc(struct hm_engine *engine, const char *institution, struct hm_buf *out) {
    (void)engine;
    hm_json_put_str(out, hm_str_of(institution ? institution : ""));
}

struct hm_store *hm_engine_store(struct hm_engine *engine, const char *institution) {
    (void)engine;
    (void)institution;
    return NULL;
}

uint64_t hm_engine_told(struct hm_engine *engine, const char *institution) {
    (void)engine;
    (void)institution;
    return 0;
}

struct hm_caller *hm_caller_new(void) {
    struct hm_caller *caller = hm_alloc(sizeof *caller);
    caller->refs = 1;
    return caller;
}

struct hm_caller *hm_caller_ref(struct hm_caller *caller) {
    caller->refs++;
    return caller;
}

void hm_caller_unref(struct hm_caller *caller) {
    if (--caller->refs) return;
    if (caller->session) hm_session_unref(caller->session);
    free(caller);
}

// ---- the net ------------------------------------------------------------------------------------

static struct hm_net net;
static struct hm_settings settings;
static unsigned sockets_at_rest;

static void set_up(void) {
    struct hm_error err = {0};
    hm_log_level(HM_ERROR + 1);
    large = hm_alloc(200001);
    memset(large, '7', 200000);
    hm_settings_defaults(&settings);
    snprintf(settings.listen, sizeof settings.listen, "127.0.0.1:0");
    settings.message_bytes = 4096;
    settings.connections_per_account = 1;
    net.settings = &settings;
    net.loop = ev_loop_new(EVFLAG_AUTO);
    net.people = hm_people_new();
    net.sockets_by_place = hm_tally_new();
    net.conns_by_place = hm_tally_new();
    net.conns_by_account = hm_tally_new();
    struct hm_feed_ops ops = hm_conn_feed_ops;
    ops.arg = &net;
    net.feed =
        hm_feed_new(net.loop, &ops,
                    &(struct hm_feed_limits){.queue_max = 100, .bytes_max = 1u << 20, .replay_max = 1000});
    struct hm_presence_ops presence = hm_conn_presence_ops;
    presence.arg = &net;
    net.presence = hm_presence_new(net.loop, &presence, 0);
    net.files = hm_files_new("/nowhere");
    hm_networks_read("127.0.0.1", &net.proxies);
    if (!hm_ws_open(&net, &err)) {
        fprintf(stderr, "%s\n", err.message);
        abort();
    }
    sockets_at_rest = net.sockets;
}

static void turn(int times) {
    while (times-- > 0)
        ev_run(net.loop, EVRUN_NOWAIT);
}

// ---- the client ---------------------------------------------------------------------------------

static void take(int fd, struct hm_buf *out) {
    char part[65536];
    ssize_t n;
    while ((n = recv(fd, part, sizeof part, MSG_DONTWAIT)) > 0)
        hm_buf_add(out, part, (size_t)n);
}

static void give(int fd, const char *bytes, size_t len, size_t piece, bool reads, struct hm_buf *out) {
    for (size_t at = 0; at < len;) {
        size_t now = len - at < piece ? len - at : piece;
        ssize_t n = send(fd, bytes + at, now, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN) return;
        if (n < 0 && !reads) return; // it neither reads nor is read
        if (n > 0) at += (size_t)n;
        turn(1);
        if (reads) take(fd, out);
    }
}

// Of the frames only the last may be cut off.
static void check_frames(struct hm_str text) {
    const unsigned char *at = (const unsigned char *)text.ptr, *end = at + text.len;
    while (end - at >= 2) {
        unsigned opcode = at[0] & 15u;
        size_t len = at[1] & 127u, head = len == 126 ? 4 : len == 127 ? 10 : 2;
        if (!(at[0] & 0x80) || (at[0] & 0x70) || (at[1] & 0x80)) abort();
        if (opcode != 1 && opcode != 8 && opcode != 9 && opcode != 10) abort();
        if ((size_t)(end - at) < head) return;
        if (head > 2)
            for (size_t i = 2, n = len = 0; n < head - 2; i++, n++)
                len = len << 8 | at[i];
        if ((size_t)(end - at) - head < len) return;
        struct hm_str payload = {(const char *)at + head, len};
        struct hm_json value;
        if (opcode == 1 && !hm_json_parse(payload, &value, NULL)) abort();
        if (opcode != 1 && len > 125) abort();
        at += head + len;
    }
}

// One answer and no more, however many requests came.
static void check_answer(const struct hm_buf *out, size_t head) {
    const char *at = memmem(out->data, head, "ontent-", 7);
    size_t body = 0;
    while (at && strncasecmp(at, "ontent-length: ", 15) != 0)
        at = memmem(at + 1, (size_t)(out->data + head - at) - 1, "ontent-", 7);
    if (at) body = strtoul(at + 15, NULL, 10);
    if (out->len > head + body) abort();
    if (!memmem(out->data, head, "frame-ancestors 'none'", 22) || !memmem(out->data, head, "nosniff", 7))
        abort();
}

static void check(const struct hm_buf *out) {
    if (!out->len) return;
    const char *end = memmem(out->data, out->len, "\r\n\r\n", 4);
    if (strncmp(out->data, "HTTP/1.", 7) != 0) abort();
    if (!end) return;
    size_t head = (size_t)(end - out->data) + 4;
    if (strncmp(out->data + 9, "101", 3) == 0)
        check_frames((struct hm_str){out->data + head, out->len - head});
    else
        check_answer(out, head);
}

static void head_before(unsigned which, size_t len, struct hm_buf *text) {
    if (which == 1)
        hm_buf_text(text, "GET /rpc HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                          "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n");
    if (which == 2) hm_buf_printf(text, "POST /rpc HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const size_t pieces[8] = {SIZE_MAX, 1, 7, 64, 511, 512, 513, 4096};
    struct hm_buf text = {0}, out = {0};
    int pair[2], small = 4096;
    if (!net.loop) set_up();
    unsigned how = size ? data[0] : 0;
    bool reads = !(how & 0x80);
    mode = (int)(how & 3u);
    head_before(how >> 5 & 3u, size ? size - 1 : 0, &text);
    if (size > 1) hm_buf_add(&text, data + 1, size - 1);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) abort();
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    if (lws_adopt_socket_vhost(net.vhost, pair[0])) {
        give(pair[1], text.data, text.len, pieces[how >> 2 & 7u], reads, &out);
        turn(2);
        if (mode != LATER_AFTER_CLOSE) answer_all();
        for (size_t before = 0; turn(2), take(pair[1], &out), out.len != before;)
            before = out.len;
        check(&out);
    }
    close(pair[1]);
    for (int i = 0; net.sockets != sockets_at_rest; i++) {
        if (i == TURNS_MAX) abort();
        turn(1);
    }
    answer_all();
    if (net.conn_count || net.guests || net.partial_bytes) abort();
    hm_buf_free(&text);
    hm_buf_free(&out);
    return 0;
}
