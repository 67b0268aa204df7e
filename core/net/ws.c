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
#include "net/inside.h"
#include <ctype.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define GATHER (64u << 10)       // bytes of small frames put into one send
#define FLUSH_MOST (1u << 20)    // bytes sent to one connection before the others have their turn
#define PARTIAL_ALL (256u << 20) // bytes of incomplete messages, all connections together
#define PING_AFTER_MS 45000      // silence after which the client is asked whether it is there
#define DEAD_AFTER_MS 100000     // silence after which it is not
#define PARTIAL_MS 60000         // longest time for one message to arrive
#define STRANGER_MS (30 * 60000) // idle time of a connection on which nobody is signed in
#define GOODBYE_MS 5000          // time for the client to answer our close
#define SWEEP_S 5.
#define SOCKETS_SPARE 256 // for HTTP, beside connections_max
#define FILES_SPARE 24    // descriptors kept for what is not a client

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
    else if (conn->paused) {
        conn->paused = false;
        lws_rx_flow_control(conn->wsi, 1);
    }
    return true;
}

void hm_ws_dirty(struct hm_conn *conn) {
    if (conn->is_dirty) return;
    conn->is_dirty = true;
    conn->next_dirty = conn->net->dirty;
    conn->net->dirty = conn;
}

// Ends it without goodbye and (unless libwebsockets still has something to send) frees it. Never from within
// a callback of libwebsockets.
static void give_up(struct hm_conn *conn) {
    hm_sub_close(conn->sub);
    hm_queue_clear(&conn->out);
    if (!conn->closing) conn->closing_ms = (int64_t)(hm_mono_us() / 1000);
    conn->closing = true;
    lws_set_timeout(conn->wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_SYNC);
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
    conn->closing = true;
    conn->closing_ms = (int64_t)(hm_mono_us() / 1000);
    if (conn->paused) lws_rx_flow_control(conn->wsi, 1);
    conn->paused = false;
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

static int on_message(struct hm_conn *conn, struct hm_str text) {
    conn->asked_ms = conn->heard_ms;
    conn->net->counts.messages_in++;
    if (!hm_rpc_take(conn->peer, text))
        return close_with(conn, LWS_CLOSE_STATUS_INVALID_PAYLOAD, "text must be UTF-8");
    return 0;
}

static int on_receive(struct hm_conn *conn, void *in, size_t len) {
    struct hm_net *net = conn->net;
    size_t more = lws_remaining_packet_payload(conn->wsi);
    conn->heard_ms = (int64_t)(hm_mono_us() / 1000);
    if (conn->closing) return 0;
    if (lws_frame_is_binary(conn->wsi))
        return close_with(conn, LWS_CLOSE_STATUS_UNACCEPTABLE_OPCODE, "text frames only");
    if (conn->in.len + len + more > net->settings->message_bytes) {
        net->counts.too_large++;
        return close_with(conn, LWS_CLOSE_STATUS_MESSAGE_TOO_LARGE, "message too large");
    }
    if (net->partial_bytes + len > PARTIAL_ALL) return close_with(conn, 1013, "try again later");
    bool final = lws_is_final_fragment(conn->wsi);
    if (final && !conn->in.len) return on_message(conn, (struct hm_str){in, len});
    if (!conn->in.len) conn->partial_ms = conn->heard_ms;
    hm_buf_add(&conn->in, in, len);
    net->partial_bytes += len;
    if (!final) return 0;
    struct hm_buf whole = conn->in;
    conn->in = (struct hm_buf){0};
    net->partial_bytes -= whole.len;
    int result = on_message(conn, hm_buf_view(&whole));
    hm_buf_free(&whole);
    return result;
}

// ---- upgrade ------------------------------------------------------------------------------------

// "https://host:port" against "host:port", without regard to case.
static bool origin_is(const char *origin, const char *host) {
    const char *at = strstr(origin, "://");
    return at && strcasecmp(at + 3, host) == 0;
}

bool hm_ws_same_origin(struct lws *wsi) {
    char origin[300], host[300];
    int n = lws_hdr_copy(wsi, origin, sizeof origin, WSI_TOKEN_ORIGIN);
    if (n == 0) return true;
    return n > 0 && lws_hdr_copy(wsi, host, sizeof host, WSI_TOKEN_HOST) > 0 && origin_is(origin, host);
}

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

static int on_upgrade(struct hm_net *net, struct lws *wsi) {
    char text[64];
    if (lws_hdr_copy(wsi, text, sizeof text, WSI_TOKEN_UPGRADE) <= 0)
        return -1; // the headers are gone: it was refused already
    if (strcasecmp(text, "websocket") != 0)
        return hm_http_refuse(wsi, 403, "only an upgrade to websocket is possible here\n");
    if (lws_hdr_copy(wsi, text, sizeof text, WSI_TOKEN_GET_URI) <= 0 || strcmp(text, "/rpc") != 0)
        return hm_http_refuse(wsi, 404, "the WebSocket is at /rpc\n");
    if (lws_hdr_copy(wsi, text, sizeof text, WSI_TOKEN_VERSION) <= 0 || strcmp(text, "13") != 0)
        return hm_http_refuse(wsi, 426, "Sec-WebSocket-Version must be 13\n");
    if (!offers_jsonrpc(wsi)) return hm_http_refuse(wsi, 400, "the subprotocol here is jsonrpc, or none\n");
    if (!hm_ws_same_origin(wsi)) {
        net->counts.refused++;
        return hm_http_refuse(wsi, 403, "pages of another origin may not connect\n");
    }
    if (net->closing || net->draining || net->conn_count >= net->settings->connections_max) {
        net->counts.refused++;
        return hm_http_refuse(wsi, 503, "too many connections; try again later\n");
    }
    return 0;
}

static int on_established(struct hm_net *net, struct lws *wsi) {
    char address[64] = "";
    lws_get_peer_simple(wsi, address, sizeof address);
    struct hm_conn *conn = hm_conn_new(net, wsi, address);
    conn->heard_ms = conn->asked_ms = (int64_t)(hm_mono_us() / 1000);
    lws_set_opaque_user_data(wsi, conn);
    return 0;
}

static void on_closed(struct lws *wsi, struct hm_conn *conn) {
    lws_set_opaque_user_data(wsi, NULL);
    hm_conn_free(conn);
}

static struct hm_conn *conn_of(struct lws *wsi) {
    struct hm_conn *conn = lws_get_opaque_user_data(wsi);
    return conn && conn->kind == HM_KIND_CONN ? conn : NULL;
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
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE: {
        bool answers = conn->closing; // it answers our own close: then that is all
        hm_sub_close(conn->sub);
        conn->closing = true;
        conn->closing_ms = (int64_t)(hm_mono_us() / 1000);
        return answers ? -1 : 0;
    }
    case LWS_CALLBACK_CLOSED:
    case LWS_CALLBACK_WSI_DESTROY:
        on_closed(conn->wsi, conn);
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
static bool admit(struct hm_net *net, int fd) {
    if (!net->draining && net->sockets < net->settings->connections_max + SOCKETS_SPARE && !few_left(fd))
        return true;
    net->counts.refused++;
    return false;
}

void hm_ws_adopt(struct hm_net *net, int fd) {
    if (net->vhost && admit(net, fd))
        lws_adopt_socket_vhost(net->vhost, fd); // closes it when it cannot
    else
        close(fd);
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len) {
    struct hm_net *net = lws_context_user(lws_get_context(wsi));
    struct hm_conn *conn;
    (void)user;
    switch (reason) {
    case LWS_CALLBACK_WSI_CREATE:
        net->sockets++;
        return 0;
    case LWS_CALLBACK_FILTER_NETWORK_CONNECTION:
        return admit(net, (int)(intptr_t)in) ? 0 : 1;
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
        return on_upgrade(net, wsi);
    case LWS_CALLBACK_ESTABLISHED:
        return on_established(net, wsi);
    case LWS_CALLBACK_RAW_ADOPT: // a CONNECT request
    case LWS_CALLBACK_RAW_RX:
        return -1;
    case LWS_CALLBACK_WSI_DESTROY:
        net->sockets--;
        break;
    default:
        break;
    }
    if ((conn = conn_of(wsi))) return ws_callback(conn, reason, in, len);
    return hm_http_callback(net, wsi, reason, in, len);
}

// ---- time ---------------------------------------------------------------------------------------

static void on_tick(lws_sorted_usec_list_t *tick) {
    struct hm_net *net = lws_container_of(tick, struct hm_net, tick);
    lws_sul_schedule(net->lws, 0, &net->tick, on_tick, LWS_US_PER_SEC);
}

static void on_sweep(struct ev_loop *loop, struct ev_timer *timer, int events) {
    struct hm_net *net = timer->data;
    struct hm_conn *next;
    int64_t now = (int64_t)(hm_mono_us() / 1000);
    (void)loop;
    (void)events;
    for (struct hm_conn *conn = net->conns; conn; conn = next) {
        next = conn->next;
        int64_t silent = now - conn->heard_ms;
        bool late = conn->in.len && now - conn->partial_ms > PARTIAL_MS;
        if (silent > DEAD_AFTER_MS || late || (conn->closing && now - conn->closing_ms > GOODBYE_MS)) {
            give_up(conn);
        } else if (conn->closing) {
            continue;
        } else if (!conn->session && now - conn->asked_ms > STRANGER_MS) {
            if (close_with(conn, LWS_CLOSE_STATUS_NORMAL, "idle") < 0) give_up(conn);
        } else if (silent > PING_AFTER_MS) {
            conn->ping = true;
            lws_callback_on_writable(conn->wsi);
        }
    }
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

static const struct lws_protocols protocols[] = {
    {.name = "jsonrpc", .callback = callback, .rx_buffer_size = 512, .tx_packet_size = 1u << 20},
    {0},
};

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
        .protocols = protocols,
        .options = LWS_SERVER_OPTION_LIBEV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
                   LWS_SERVER_OPTION_FAIL_UPON_UNABLE_TO_BIND | (v6 ? 0 : LWS_SERVER_OPTION_DISABLE_IPV6),
        .foreign_loops = loops,
        .alpn = "http/1.1",
        .user = net,
        .gid = -1,
        .uid = -1,
        .timeout_secs = 20,
        .keepalive_timeout = 60,
        .retry_and_idle_policy = &no_keepalive,
        .server_string = "hamroh",
    };
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
    ev_timer_init(&net->sweep, on_sweep, SWEEP_S, SWEEP_S);
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
