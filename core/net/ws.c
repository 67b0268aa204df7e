// libwebsockets on the engine's loop: the listening socket, WebSocket connections, what is read and what is
// written. Loop thread only. What always holds: frames leave only from flush(), at the end of a turn of the
// loop or in a writable callback, and only while libwebsockets itself has nothing left over to send, so its
// control frames never fall into the middle of one of ours, nor ours into one of those.
//
// libwebsockets 4.1.6, as found by reading it:
//  - An Upgrade other than websocket or h2c is answered by it and the headers may be freed before
//  CONFIRM_UPGRADE comes
//    (CVE-2025-11677): so `in` is never looked at there, only lws_hdr_copy, and -1 is given. h2c is refused
//    there too.
//  - On libev its timers are armed only by its idle watcher and never moved forward: a timeout of 5 s may
//  come as late as
//    the longest one armed. A tick of one second of our own (on its own timer list) bounds that.
//  - Its keepalive puts every connection into one sorted list on every pong: O(connections). Ours is a sweep.
//  - A send is cut to tx_packet_size or else rx_buffer_size, and the rest is copied: so tx_packet_size is
//  set.
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "net/inside.h"
#include <ctype.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define GATHER (64u << 10)         // bytes of small frames put into one send
#define FLUSH_MOST (1u << 20)      // bytes sent to one connection before the others have their turn
#define PARTIAL_ALL (256u << 20)   // bytes of incomplete messages and bodies, all connections together
#define STRANGER_BYTES (64u << 10) // of a message from somebody who has not signed in
#define GOODBYE_MS 5000            // time for the client to answer our close
#define SWEEP_MOST_S 1.            // between looks at guests; at WebSockets every fifth time
#define SWEEP_LEAST_S 0.02
#define SWEEP_CONNS 5
#define HEAD_BYTES 16384 // a request's head in libwebsockets, all it says counted; head.c has a smaller limit
#define TLS_RECORD                                                                                           \
    (16u << 10) // so that one read takes all of a record and none waits where epoll does not see it
#define EXTENSIONS_MAX 200 // bytes of that list; none is used
#define FILES_SPARE 24     // of them kept free even when there are few: see few_left
#define FILES_ELSE 256     // file descriptors for everything but sockets
#define SOCKETS_SPARE 256  // for HTTP, beside connections_max

// ---- writing ------------------------------------------------------------------------------------

static void has_left(void *arg, const struct hm_out *out) {
    struct hm_conn *conn = arg;
    if (out->feed && conn->sub) hm_sub_sent(conn->sub, out);
}

// Through libwebsockets, for what must be encrypted. Small frames are put together, so that a burst of
// answers costs one system call; a large one goes out as it is. LWS_WRITE_HTTP makes libwebsockets send bytes
// as they are: the frames already have their headers.
static bool send_through(struct hm_conn *conn, size_t *sent) {
    static char together[GATHER];
    struct hm_out *out = hm_queue_first(&conn->out), *large = NULL;
    size_t len = out->head + out->len;
    char *bytes = out->frame;
    if (len <= GATHER) {
        bytes = together;
        len = 0;
        while ((out = hm_queue_first(&conn->out)) && len + out->head + out->len <= GATHER) {
            memcpy(together + len, out->frame, out->head + out->len);
            len += out->head + out->len;
            hm_queue_pop(&conn->out);
            has_left(conn, out);
            hm_out_unref(out);
        }
    } else {
        large = hm_queue_pop(&conn->out);
        has_left(conn, large);
    }
    int n = lws_write(conn->wsi, (unsigned char *)bytes, len, LWS_WRITE_HTTP);
    hm_out_unref(large);
    *sent += len;
    return n >= 0;
}

// Past libwebsockets, from where the frames lie: no copy for each client, many frames a call. What is left of
// a frame that was cut is given to libwebsockets, which keeps a copy of it and sends that before anything
// else: so a client that does not read costs the rest of one frame there.
static bool send_straight(struct hm_conn *conn, size_t *sent, bool *blocked) {
    struct hm_sending sending;
    hm_queue_send(&conn->out, conn->fd, GATHER, has_left, conn, &sending);
    *sent += sending.bytes;
    *blocked = sending.blocked;
    if (!sending.cut) return !sending.broken;
    struct hm_out *cut = sending.cut;
    size_t rest = cut->head + cut->len - sending.cut_at;
    int n = lws_write(conn->wsi, (unsigned char *)cut->frame + sending.cut_at, rest, LWS_WRITE_HTTP);
    hm_out_unref(cut);
    *sent += rest;
    return n >= 0;
}

// What libwebsockets has read and not given out, or OpenSSL has decrypted, is seen by no poll and served only
// after some event of libwebsockets' own: so one is asked for.
static void resume(struct hm_conn *conn) {
    conn->paused = false;
    lws_rx_flow_control(conn->wsi, 1);
    lws_callback_on_writable(conn->wsi);
}

// False when the connection is broken.
static bool flush(struct hm_conn *conn) {
    size_t sent = 0;
    bool ok = true, blocked = false;
    if (!conn->fd) conn->fd = lws_is_ssl(conn->wsi) ? -1 : lws_get_socket_fd(conn->wsi);
    while (ok && !blocked && !conn->closing && conn->out.count && sent < FLUSH_MOST &&
           !lws_partial_buffered(conn->wsi))
        ok = conn->fd < 0 ? send_through(conn, &sent) : send_straight(conn, &sent, &blocked);
    conn->net->counts.bytes_out += sent;
    if (!ok) return false;
    if (conn->out.count && !conn->closing)
        lws_callback_on_writable(conn->wsi);
    else if (conn->paused)
        resume(conn);
    return true;
}

void hm_ws_dirty(struct hm_conn *conn) {
    if (conn->is_dirty) return;
    conn->is_dirty = true;
    conn->next_dirty = conn->net->dirty;
    conn->net->dirty = conn;
}

static void forget_partial(struct hm_conn *conn) {
    conn->net->partial_bytes -= conn->in.len;
    hm_buf_free(&conn->in);
    conn->partial_ms = 0;
}

// Ends it without goodbye; it is freed now or in the next turn of the loop. Never from within a callback of
// libwebsockets.
static void give_up(struct hm_conn *conn) {
    hm_sub_close(conn->sub);
    hm_queue_clear(&conn->out);
    if (!conn->closing) conn->closing_ms = (int64_t)(hm_mono_us() / 1000);
    conn->closing = true;
    hm_sock_hang_up(conn->sock);
}

static void flush_all(struct hm_net *net) {
    while (net->dirty) {
        struct hm_conn *conn = net->dirty;
        net->dirty = conn->next_dirty;
        conn->is_dirty = false;
        if (!flush(conn)) {
            give_up(conn);
        } else if (conn->out.bytes > HM_OUT_CLOSE) {
            net->counts.slow_closed++;
            give_up(conn);
        }
    }
}

static void on_flush(struct ev_loop *loop, struct ev_prepare *prepare, int events) {
    (void)loop;
    (void)events;
    flush_all(prepare->data);
}

// Says goodbye and from then on only waits for the client to do so. Not left to libwebsockets: when the
// client is still sending, it hangs up before the client has seen the code.
static int close_with(struct hm_conn *conn, unsigned code, const char *why) {
    unsigned char frame[4 + 123] = {0x88, 0, (unsigned char)(code >> 8), (unsigned char)(code & 0xff)};
    size_t len = strnlen(why, 123);
    frame[1] = (unsigned char)(2 + len);
    memcpy(frame + 4, why, len);
    hm_sub_close(conn->sub);
    hm_queue_clear(&conn->out);
    forget_partial(conn);
    conn->closing = true;
    conn->closing_ms = (int64_t)(hm_mono_us() / 1000);
    if (conn->paused) resume(conn);
    return lws_write(conn->wsi, frame, 4 + len, LWS_WRITE_HTTP) < 0 ? -1 : 0;
}

static int on_writable(struct hm_conn *conn) {
    if (conn->closing) return 0;
    if (conn->ping && !lws_partial_buffered(conn->wsi)) {
        unsigned char ping[LWS_PRE + 1] = {0};
        ping[LWS_PRE] = 'h'; // with a payload, since the answer to an empty ping is not reported
        conn->ping = false;
        if (lws_write(conn->wsi, ping + LWS_PRE, 1, LWS_WRITE_PING) < 0) return -1;
    }
    return flush(conn) ? 0 : -1;
}

// ---- reading ------------------------------------------------------------------------------------

static int refuse_frame(struct hm_conn *conn, unsigned code, const char *why) {
    conn->net->counts.refused[HM_REFUSED_FRAME]++;
    return close_with(conn, code, why);
}

size_t hm_message_most(const struct hm_net *net, const struct hm_session *session) {
    size_t most = net->settings->message_bytes;
    return session || most < STRANGER_BYTES ? most : STRANGER_BYTES;
}

// The connection that holds most of what is not complete.
static struct hm_sock *holds_most(const struct hm_net *net) {
    struct hm_sock *found = NULL;
    size_t most = 0;
    for (struct hm_conn *conn = net->conns; conn; conn = conn->next) {
        if (conn->in.len <= most) continue;
        most = conn->in.len;
        found = conn->sock;
    }
    for (struct hm_sock *sock = net->guests; sock; sock = sock->next) {
        if (!sock->http || hm_http_partial(sock->http) <= most) continue;
        most = hm_http_partial(sock->http);
        found = sock;
    }
    return found;
}

// Who holds most goes, since who happens to send next is most likely somebody else.
bool hm_ws_room(struct hm_net *net, const struct hm_sock *self) {
    while (net->partial_bytes > PARTIAL_ALL) {
        struct hm_sock *sock = holds_most(net);
        if (!sock || sock == self) return false;
        if (sock->conn)
            refuse_frame(sock->conn, 1013, "try again later"); // when that fails, the sweep ends it
        else
            hm_http_drop(sock->http);
    }
    return true;
}

static int on_message(struct hm_conn *conn, struct hm_str text) {
    conn->asked_ms = conn->heard_ms;
    conn->net->counts.messages_in++;
    if (!hm_rpc_take(conn->peer, text))
        return refuse_frame(conn, LWS_CLOSE_STATUS_INVALID_PAYLOAD, "text must be UTF-8");
    return 0;
}

static int on_receive(struct hm_conn *conn, void *in, size_t len) {
    struct hm_net *net = conn->net;
    size_t more = lws_remaining_packet_payload(conn->wsi);
    conn->heard_ms = (int64_t)(hm_mono_us() / 1000);
    if (conn->closing) return 0;
    if (lws_frame_is_binary(conn->wsi))
        return refuse_frame(conn, LWS_CLOSE_STATUS_UNACCEPTABLE_OPCODE, "text frames only");
    if (conn->in.len + len + more > hm_message_most(net, conn->session)) {
        net->counts.too_large++;
        return refuse_frame(conn, LWS_CLOSE_STATUS_MESSAGE_TOO_LARGE, "message too large");
    }
    bool final = lws_is_final_fragment(conn->wsi);
    if (final && !conn->partial_ms) return on_message(conn, (struct hm_str){in, len});
    if (!conn->partial_ms) conn->partial_ms = conn->heard_ms;
    hm_buf_add(&conn->in, in, len);
    net->partial_bytes += len;
    if (!final) return hm_ws_room(net, conn->sock) ? 0 : refuse_frame(conn, 1013, "try again later");
    struct hm_buf whole = conn->in;
    conn->in = (struct hm_buf){0};
    conn->partial_ms = 0;
    net->partial_bytes -= whole.len;
    int result = on_message(conn, hm_buf_view(&whole));
    hm_buf_free(&whole);
    return result;
}

// ---- upgrade ------------------------------------------------------------------------------------

// A client that asks for subprotocols must ask for ours among them, since it would not take a connection
// without.
static bool offers_jsonrpc(struct lws *wsi) {
    char list[128], *rest = list, *name;
    int n = lws_hdr_copy(wsi, list, sizeof list, WSI_TOKEN_PROTOCOL);
    if (n <= 0) return n == 0;
    while ((name = strsep(&rest, ", ")))
        if (strcmp(name, "jsonrpc") == 0) return true;
    return false;
}

// A list of words, separated by commas, has this one.
static bool has_word(struct lws *wsi, enum lws_token_indexes token, const char *word) {
    char list[128], *rest = list, *name;
    if (lws_hdr_copy(wsi, list, sizeof list, token) <= 0) return false;
    while ((name = strsep(&rest, ", \t")))
        if (strcasecmp(name, word) == 0) return true;
    return false;
}

// 16 bytes in base 64 (RFC 6455, 4.1).
static bool key_valid(struct lws *wsi) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char key[32];
    return lws_hdr_copy(wsi, key, sizeof key, WSI_TOKEN_KEY) == 24 && strspn(key, digits) == 22 &&
           strcmp(key + 22, "==") == 0;
}

// All that libwebsockets would look at itself is looked at here before: what it refuses after it has begun to
// change the connection is not answered, and was where CVE-2025-11677 lay.
static struct hm_refused upgrade_check(struct lws *wsi) {
    char text[64];
    struct hm_refused refused = hm_head_check(wsi);
    if (refused.status) return refused;
    if (lws_hdr_copy(wsi, text, sizeof text, WSI_TOKEN_UPGRADE) <= 0 || strcasecmp(text, "websocket") != 0)
        return (struct hm_refused){403, "only an upgrade to websocket is possible here\n"};
    if (lws_hdr_copy(wsi, text, sizeof text, WSI_TOKEN_GET_URI) <= 0 || strcmp(text, "/rpc") != 0)
        return (struct hm_refused){404, "the WebSocket is at GET /rpc\n"};
    if (lws_hdr_copy(wsi, text, sizeof text, WSI_TOKEN_HTTP) <= 0 || strcmp(text, "HTTP/1.1") != 0)
        return (struct hm_refused){505, "an upgrade is possible from HTTP/1.1 only\n"};
    if (!has_word(wsi, WSI_TOKEN_CONNECTION, "upgrade"))
        return (struct hm_refused){400, "Connection must say Upgrade\n"};
    if (lws_hdr_copy(wsi, text, sizeof text, WSI_TOKEN_VERSION) <= 0 || strcmp(text, "13") != 0)
        return (struct hm_refused){426, "Sec-WebSocket-Version must be 13\n"};
    if (!key_valid(wsi)) return (struct hm_refused){400, "Sec-WebSocket-Key must be 16 bytes in base 64\n"};
    if (lws_hdr_copy(wsi, text, sizeof text, WSI_TOKEN_HTTP_CONTENT_LENGTH) != 0 && strcmp(text, "0") != 0)
        return (struct hm_refused){400, "an upgrade has no body\n"};
    // libwebsockets copies that list into the buffer in which the answer is being made, over the answer.
    if (lws_hdr_total_length(wsi, WSI_TOKEN_EXTENSIONS) > EXTENSIONS_MAX)
        return (struct hm_refused){400, "Sec-WebSocket-Extensions is too long\n"};
    if (!offers_jsonrpc(wsi)) return (struct hm_refused){400, "the subprotocol here is jsonrpc, or none\n"};
    return (struct hm_refused){0};
}

static int refuse_upgrade(struct hm_net *net, struct lws *wsi, enum hm_refusal why, unsigned status,
                          const char *text) {
    net->counts.refused[why]++;
    return hm_http_refuse(wsi, status, text);
}

static int on_upgrade(struct hm_net *net, struct lws *wsi) {
    struct hm_client client;
    if (lws_hdr_total_length(wsi, WSI_TOKEN_UPGRADE) <= 0) { // the headers are gone: it was refused already
        net->counts.refused[HM_REFUSED_UPGRADE]++;
        return -1;
    }
    struct hm_refused refused = upgrade_check(wsi);
    if (refused.status) return refuse_upgrade(net, wsi, HM_REFUSED_UPGRADE, refused.status, refused.text);
    if (!hm_head_same_origin(net, wsi))
        return refuse_upgrade(net, wsi, HM_REFUSED_ORIGIN, 403, "pages of another origin may not connect\n");
    if (net->closing || net->draining || net->conn_count >= net->settings->connections_max)
        return refuse_upgrade(net, wsi, HM_REFUSED_FULL, 503, "too many connections; try again later\n");
    if (!hm_sock_client(net, wsi, &client))
        return refuse_upgrade(net, wsi, HM_REFUSED_UPGRADE, 400, HM_FORWARDED_LONG);
    if (hm_sock_place_full(net, &client))
        return refuse_upgrade(net, wsi, HM_REFUSED_ADDRESS, 429,
                              "too many connections from this address; try again later\n");
    return 0;
}

static int on_established(struct hm_net *net, struct lws *wsi) {
    struct hm_client client;
    if (!hm_sock_client(net, wsi, &client)) return -1;
    struct hm_conn *conn = hm_conn_new(net, wsi, &client);
    conn->heard_ms = conn->asked_ms = (int64_t)(hm_mono_us() / 1000);
    hm_sock_phase(conn->sock, HM_PHASE_OPEN);
    return 0;
}

// What libwebsockets answers with the code that came, although RFC 6455 (7.4, 5.5.1) forbids it.
static bool close_valid(const unsigned char *payload, size_t len) {
    if (len == 1) return false;
    return len < 3 || hm_utf8_valid((struct hm_str){(const char *)payload + 2, len - 2});
}

static int on_peer_close(struct hm_conn *conn, const void *payload, size_t len) {
    if (conn->closing) return -1; // it answers our own close: then that is all
    if (!close_valid(payload, len)) {
        refuse_frame(conn, LWS_CLOSE_STATUS_PROTOCOL_ERR, "no proper close");
        return -1;
    }
    hm_sub_close(conn->sub);
    forget_partial(conn);
    conn->closing = true;
    conn->closing_ms = (int64_t)(hm_mono_us() / 1000);
    return 0;
}

static int ws_callback(struct hm_conn *conn, enum lws_callback_reasons reason, void *in, size_t len) {
    switch (reason) {
    case LWS_CALLBACK_RECEIVE:
        return on_receive(conn, in, len);
    case LWS_CALLBACK_RECEIVE_PONG:
        conn->heard_ms = (int64_t)(hm_mono_us() / 1000);
        return 0;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return on_writable(conn);
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        return on_peer_close(conn, in, len);
    case LWS_CALLBACK_CLOSED:
    case LWS_CALLBACK_WSI_DESTROY:
        hm_conn_free(conn);
        return 0;
    default:
        return 0;
    }
}

// Descriptors are given out from the lowest: one near the limit says that nearly all are taken. What is left
// is for workers and files, and above all for accept itself, which libwebsockets would try again without end:
// on a listening socket that cannot be accepted from, each turn of the loop begins at once.
static bool few_left(intptr_t fd) {
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 && (rlim_t)fd + FILES_SPARE >= limit.rlim_cur;
}

// Whether a connection that was just accepted may stay.
static bool admit(struct hm_net *net, int fd, const struct sockaddr_storage *peer) {
    if (!net->draining && !few_left(fd)) return hm_sock_let_in(net, peer);
    net->counts.refused[HM_REFUSED_FULL]++;
    return false;
}

void hm_ws_adopt(struct hm_net *net, int fd) {
    struct sockaddr_storage peer = {0};
    socklen_t len = sizeof peer;
    getpeername(fd, (struct sockaddr *)&peer, &len);
    if (net->vhost && admit(net, fd, &peer))
        lws_adopt_socket_vhost(net->vhost, fd); // closes it when it cannot
    else
        close(fd);
}

static void on_destroy(struct hm_net *net, struct hm_sock *sock) {
    net->sockets--;
    if (!sock) return;
    if (sock->conn) hm_conn_free(sock->conn);
    hm_http_callback(sock, LWS_CALLBACK_WSI_DESTROY, NULL, 0);
    hm_sock_free(sock);
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len) {
    struct hm_net *net = lws_context_user(lws_get_context(wsi));
    switch (reason) { // wsi is no real one in some of these
    case LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS:
        return hm_tls_prepare(net->tls, user) ? 0 : -1;
    case LWS_CALLBACK_FILTER_NETWORK_CONNECTION:
        return admit(net, (int)(intptr_t)in, &((const struct lws_filter_network_conn_args *)user)->cli_addr)
                   ? 0
                   : 1;
    case LWS_CALLBACK_WSI_CREATE:
        net->sockets++;
        return 0;
    case LWS_CALLBACK_SERVER_NEW_CLIENT_INSTANTIATED:
        hm_sock_new(net, wsi);
        return 0;
    case LWS_CALLBACK_WSI_DESTROY:
        on_destroy(net, hm_sock_of(wsi));
        return 0;
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
        return on_upgrade(net, wsi);
    case LWS_CALLBACK_ESTABLISHED:
        return on_established(net, wsi);
    case LWS_CALLBACK_RAW_ADOPT: // a CONNECT request
    case LWS_CALLBACK_RAW_RX:
        return -1;
    default:
        break;
    }
    struct hm_sock *sock = hm_sock_of(wsi);
    if (!sock) return 0;
    if (reason == LWS_CALLBACK_CLOSED_HTTP) hm_sock_closing(sock);
    return sock->conn ? ws_callback(sock->conn, reason, in, len) : hm_http_callback(sock, reason, in, len);
}

// ---- time ---------------------------------------------------------------------------------------

static void on_tick(lws_sorted_usec_list_t *tick) {
    struct hm_net *net = lws_container_of(tick, struct hm_net, tick);
    lws_sul_schedule(net->lws, 0, &net->tick, on_tick, LWS_US_PER_SEC);
}

// Whether the client has taken nothing for too long of what waits for it.
static bool stuck(struct hm_conn *conn, int64_t now) {
    if (!conn->out.count && !lws_partial_buffered(conn->wsi)) {
        conn->moved_ms = 0;
        return false;
    }
    uint64_t acked = hm_sock_acked(conn->sock);
    if (!conn->moved_ms || acked != conn->acked) {
        // Its answer to a ping may be behind what is not read from it now, but it is there.
        if (conn->moved_ms) conn->heard_ms = now;
        conn->moved_ms = now;
        conn->acked = acked;
    }
    return now - conn->moved_ms > conn->net->settings->send_timeout_ms;
}

static void give_up_late(struct hm_conn *conn, enum hm_lateness which) {
    if (!conn->closing) conn->net->counts.late[which]++;
    give_up(conn);
}

static void sweep_conn(struct hm_conn *conn, int64_t now) {
    const struct hm_settings *s = conn->net->settings;
    int64_t silent = now - conn->heard_ms;
    if (conn->closing && now - conn->closing_ms > GOODBYE_MS)
        give_up(conn);
    else if (stuck(conn, now))
        give_up_late(conn, HM_LATE_SEND);
    else if (silent > s->silence_timeout_ms)
        give_up_late(conn, HM_LATE_SILENT);
    else if (conn->partial_ms && now - conn->partial_ms > s->message_timeout_ms)
        give_up_late(conn, HM_LATE_MESSAGE);
    else if (conn->closing)
        return;
    else if (!conn->session && now - conn->asked_ms > s->stranger_timeout_ms) {
        conn->net->counts.late[HM_LATE_SIGN_IN]++;
        if (close_with(conn, LWS_CLOSE_STATUS_NORMAL, "idle") < 0) give_up(conn);
    } else if (silent > s->silence_timeout_ms * 9 / 20) {
        conn->ping = true;
        lws_callback_on_writable(conn->wsi);
    }
}

static void on_sweep(struct ev_loop *loop, struct ev_timer *timer, int events) {
    struct hm_net *net = timer->data;
    struct hm_conn *next;
    int64_t now = (int64_t)(hm_mono_us() / 1000);
    (void)loop;
    (void)events;
    hm_sock_sweep(net);
    if (++net->sweeps % SWEEP_CONNS) return;
    for (struct hm_conn *conn = net->conns; conn; conn = next) {
        next = conn->next;
        sweep_conn(conn, now);
    }
}

// A twentieth of the shortest time limit, so that each is kept within a quarter.
static double sweep_every(const struct hm_settings *s) {
    unsigned limits[] = {s->header_timeout_ms, s->message_timeout_ms, s->send_timeout_ms,
                         s->silence_timeout_ms, s->stranger_timeout_ms};
    double least = SWEEP_MOST_S;
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        if (limits[i] / 20000. < least) least = limits[i] / 20000.;
    return least > SWEEP_LEAST_S ? least : SWEEP_LEAST_S;
}

// ---- opening ------------------------------------------------------------------------------------

// What it says is mostly about requests that make no sense, which anybody can send: so only some of it is
// kept, and of a line only the name of the function it begins with, since the rest may quote the request.
static void on_lws_log(int level, const char *line) {
    static uint64_t second;
    static unsigned count;
    uint64_t now = hm_mono_us() / 1000000;
    count = now == second ? count + 1 : 0;
    second = now;
    if (count >= 5) return;
    size_t len = strspn(line, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"),
           cut = len < 60 ? len : 60;
    hm_log(level == LLL_ERR ? HM_WARN : HM_INFO, "lws", "\"in\":\"%.*s\"", line[len] == ':' ? (int)cut : 0,
           line);
}

// "127.0.0.1:8080", "[::1]:8080", ":8080"
static bool read_listen(const char *listen, char host[128], int *port, bool *v6, struct hm_error *err) {
    const char *colon = strrchr(listen, ':');
    char *end = NULL;
    long number = colon && isdigit((unsigned char)colon[1]) ? strtol(colon + 1, &end, 10) : -1;
    if (number < 0 || number > 65535 || *end)
        return hm_fail(err, HM_PARAMS, "listen must be ADDRESS:PORT such as 127.0.0.1:8080, not \"%.100s\"",
                       listen);
    size_t len = (size_t)(colon - listen);
    *v6 = len > 1 && listen[0] == '[' && listen[len - 1] == ']';
    if (*v6) {
        listen++;
        len -= 2;
    }
    if (len == 1 && *listen == '*') len = 0;
    if (len >= 128) return hm_fail(err, HM_PARAMS, "the address to listen on is too long");
    memcpy(host, listen, len);
    host[len] = '\0';
    *port = (int)number;
    return true;
}

// rx_buffer_size is the memory of a connection that is read at once. Over TLS it must hold a whole record:
// with the rest of one still in OpenSSL, libwebsockets reads on whatever flow control says, puts what it read
// back, and does so for ever (a client that asks much and reads nothing was enough).
static const struct lws_protocols plain_protocols[] = {
    {.name = "jsonrpc", .callback = callback, .rx_buffer_size = 512, .tx_packet_size = 1u << 20},
    {0},
};
static const struct lws_protocols tls_protocols[] = {
    {.name = "jsonrpc", .callback = callback, .rx_buffer_size = TLS_RECORD, .tx_packet_size = 1u << 20},
    {0},
};

// connections_max and some for plain requests, as far as there are file descriptors: out of them, accept
// fails again and again for the same client and the loop does nothing else.
static unsigned sockets_max(const struct hm_settings *s) {
    struct rlimit limit;
    unsigned wanted = s->connections_max + SOCKETS_SPARE;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= (rlim_t)wanted + FILES_ELSE) return wanted;
    unsigned there = limit.rlim_cur > 2 * FILES_ELSE ? (unsigned)limit.rlim_cur - FILES_ELSE : FILES_ELSE;
    hm_log(HM_WARN, "net.few_files",
           "\"connections_max\":%u,\"file_descriptors\":%llu,\"sockets\":%u,\"note\":\"raise ulimit -n "
           "(LimitNOFILE)\"",
           s->connections_max, (unsigned long long)limit.rlim_cur, there);
    return there;
}

void hm_ws_limits(struct hm_net *net) {
    net->sockets_max = sockets_max(net->settings);
}

// libwebsockets' own, which only stand behind ours.
static unsigned lws_timeout_s(const struct hm_settings *s) {
    unsigned most =
        s->header_timeout_ms > s->message_timeout_ms ? s->header_timeout_ms : s->message_timeout_ms;
    return most / 1000 + 10;
}

bool hm_ws_open(struct hm_net *net, struct hm_error *err) {
    static const lws_retry_bo_t no_keepalive = {0};
    char host[128];
    int port = 0;
    bool v6 = false;
    if (!read_listen(net->settings->listen, host, &port, &v6, err)) return false;
    lws_set_log_level(LLL_ERR, on_lws_log);
    void *loops[1] = {net->loop};
    struct lws_context_creation_info info = {
        .port = net->listening ? CONTEXT_PORT_NO_LISTEN_SERVER : port,
        .iface = host[0] ? host : NULL,
        .protocols = net->tls ? tls_protocols : plain_protocols,
        .options =
            LWS_SERVER_OPTION_LIBEV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
            LWS_SERVER_OPTION_FAIL_UPON_UNABLE_TO_BIND | (v6 ? 0 : LWS_SERVER_OPTION_DISABLE_IPV6) |
            (net->tls ? LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_CREATE_VHOST_SSL_CTX : 0),
        .foreign_loops = loops,
        .alpn = "http/1.1",
        .user = net,
        .gid = -1,
        .uid = -1,
        .timeout_secs = lws_timeout_s(net->settings),
        .timeout_secs_ah_idle = lws_timeout_s(net->settings),
        .max_http_header_data = HEAD_BYTES,
        .pt_serv_buf_size = TLS_RECORD + 2 * LWS_PRE,
        .headers = hm_head_options(net->tls),
        .keepalive_timeout = 60,
        .retry_and_idle_policy = &no_keepalive,
        .server_string = "hamroh",
    };
    hm_ws_limits(net);
    net->lws = lws_create_context(&info);
    if (!net->lws)
        return hm_fail(
            err, HM_UNAVAILABLE,
            "libwebsockets could not start on libev; is the package libwebsockets-evlib-ev installed?");
    net->vhost = lws_create_vhost(net->lws, &info);
    if (!net->vhost) {
        hm_ws_close(net);
        return hm_fail(
            err, HM_UNAVAILABLE,
            "cannot listen on %s: the port is taken or the address is not of this machine; choose another "
            "with --listen",
            net->settings->listen);
    }
    net->port =
        net->listening ? hm_listen_port(net->listening) : (unsigned)lws_get_vhost_listen_port(net->vhost);
    ev_prepare_init(&net->flush, on_flush);
    ev_set_priority(&net->flush, EV_MINPRI); // after whatever else queues answers just before the loop waits
    net->flush.data = net;
    ev_prepare_start(net->loop, &net->flush);
    double every = sweep_every(net->settings);
    ev_timer_init(&net->sweep, on_sweep, every, every);
    net->sweep.data = net;
    ev_timer_start(net->loop, &net->sweep);
    on_tick(&net->tick);
    return true;
}

// Whether the client has sent something that was not read yet.
static bool unread(struct hm_conn *conn) {
    int bytes = 0;
    return ioctl(lws_get_socket_fd(conn->wsi), FIONREAD, &bytes) == 0 && bytes > 0;
}

unsigned hm_ws_say_goodbye(struct hm_net *net, bool patient) {
    struct hm_conn *next;
    flush_all(net);
    for (struct hm_conn *conn = net->conns; conn; conn = next) {
        next = conn->next;
        if (conn->closing || conn->out.count || lws_partial_buffered(conn->wsi)) continue;
        if (patient && unread(conn)) continue;
        if (close_with(conn, LWS_CLOSE_STATUS_GOINGAWAY, "the server is stopping") < 0) give_up(conn);
    }
    return net->conn_count;
}

void hm_ws_close(struct hm_net *net) {
    if (!net->lws) return;
    if (ev_is_active(&net->flush)) {
        flush_all(net);
        ev_prepare_stop(net->loop, &net->flush);
        ev_timer_stop(net->loop, &net->sweep);
    }
    for (struct hm_conn *conn = net->conns; conn; conn = conn->next)
        if (!conn->closing) close_with(conn, LWS_CLOSE_STATUS_GOINGAWAY, "the server is stopping");
    lws_sul_cancel(&net->tick);
    lws_context_destroy(net->lws);
    net->lws = NULL;
}
