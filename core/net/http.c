// HTTP/1.1: static files, POST /rpc, health, metrics and the catalogue. Loop thread only. What always holds:
// a connection serves one request, is answered once, from its own buffers, in writable callbacks, and then
// closes; a POST whose call is still running has its answer swallowed when the client goes away.
//
// Why one request: what follows a request in the same packet is kept by libwebsockets 4.1.6 in a list, and a
// POST that it reads from there gets its own head as body and then loops for ever in lws_http_action, or is
// freed twice when a callback ends it. With one request a connection nothing is ever read from that list. The
// web client is a handful of files.
#include "base/log.h"
#include "net/inside.h"
#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/socket.h>

#define CHUNK (64u << 10) // bytes of a body sent in one writable callback
#define BUSY "too much is being sent here; try again later\n"
#define NO_STORE "Cache-Control: no-store\r\n"

struct hm_http {
    struct hm_net *net;
    struct lws *wsi;
    struct hm_sock *sock;
    struct hm_caller *caller;
    struct hm_rpc_peer *peer;   // POST /rpc
    struct hm_buf in;           // body of the request, until it is complete; in net->partial_bytes
    struct hm_buf out;          // head and body of the response, the head alone of a file
    struct hm_file_entry *file; // held until it was sent
    struct hm_str rest;         // what comes behind `out`: its body
    size_t sent;
    bool bad_token, called, answered, dropped;
    bool counted; // in net->answering
};

static void answering(struct hm_http *http) {
    if (!http->counted) http->net->answering++;
    http->counted = true;
}

// ---- responses ----------------------------------------------------------------------------------

static bool head_only(struct lws *wsi) {
    return lws_hdr_total_length(wsi, WSI_TOKEN_HEAD_URI) > 0;
}

static int respond(struct hm_http *http, unsigned status, const char *type, struct hm_str body,
                   const char *more) {
    assert(!http->answered);
    http->answered = true;
    answering(http);
    hm_buf_reserve(&http->out, (http->file ? 0 : body.len) + 1024);
    hm_head_put(&http->out, http->wsi, status, type, body.len, more);
    if (head_only(http->wsi)) body.len = 0;
    if (http->file)
        http->rest = body;
    else
        hm_buf_str(&http->out, body);
    hm_sock_phase(http->sock, HM_PHASE_SEND);
    lws_set_timeout(http->wsi, NO_PENDING_TIMEOUT, 0); // ours is by chunk
    lws_callback_on_writable(http->wsi);
    return 0;
}

static int respond_text(struct hm_http *http, unsigned status, const char *text) {
    return respond(http, status, "text/plain; charset=utf-8", hm_str_of(text), NO_STORE);
}

static const char *headers_of_refusal(unsigned status) {
    switch (status) {
    case 405:
        return NO_STORE "Allow: GET, HEAD\r\n";
    case 415:
        return NO_STORE "Accept-Encoding: identity\r\n";
    case 426:
        return NO_STORE "Sec-WebSocket-Version: 13\r\n";
    case 429:
    case 503:
        return NO_STORE "Retry-After: 30\r\n";
    default:
        return NO_STORE;
    }
}

int hm_http_refuse(struct lws *wsi, unsigned status, const char *text) {
    struct hm_buf out = {0};
    hm_head_put(&out, wsi, status, "text/plain; charset=utf-8", strlen(text), headers_of_refusal(status));
    if (!head_only(wsi)) hm_buf_text(&out, text);
    lws_write(wsi, (unsigned char *)out.data, out.len, LWS_WRITE_HTTP_HEADERS);
    hm_buf_free(&out);
    hm_sock_phase(hm_sock_of(wsi), HM_PHASE_SEND);
    return -1;
}

static int refuse_request(struct hm_http *http, unsigned status, const char *text) {
    http->net->counts.refused[HM_REFUSED_REQUEST]++;
    return hm_http_refuse(http->wsi, status, text);
}

static int on_writable(struct hm_http *http) {
    if (!http->answered) return 0;
    bool head = http->sent < http->out.len;
    size_t all = http->out.len + http->rest.len, left = (head ? http->out.len : all) - http->sent;
    size_t now = left < CHUNK ? left : CHUNK;
    if (now) {
        const char *from = head ? http->out.data + http->sent : http->rest.ptr + (http->sent - http->out.len);
        if (lws_write(http->wsi, (unsigned char *)from, now, LWS_WRITE_HTTP) < 0) return -1;
        http->sent += now;
        http->net->counts.bytes_out += now;
        hm_sock_phase(http->sock, HM_PHASE_SEND); // once more the time for a chunk
    }
    if (http->sent == all && !lws_partial_buffered(http->wsi)) return -1; // done: it closes
    lws_callback_on_writable(http->wsi);
    return 0;
}

// ---- POST /rpc ----------------------------------------------------------------------------------

static void call(void *owner, struct hm_json request, struct hm_str method, struct hm_str params,
                 hm_answer_fn answer, void *arg) {
    struct hm_http *http = owner;
    (void)request;
    if (hm_str_eq(method, HM_LIT("feed.open")) || hm_str_eq(method, HM_LIT("feed.close")))
        answer(arg, &(struct hm_answer){.code = HM_METHOD});
    else
        hm_engine_call(http->net->engine, http->caller, method, params, answer, arg);
}

static void reply(void *owner, struct hm_str text) {
    struct hm_http *http = owner;
    if (text.len)
        respond(http, 200, "application/json", text, NO_STORE);
    else
        respond(http, 204, "", (struct hm_str){0}, NO_STORE);
}

static const struct hm_rpc_ops rpc_ops = {call, reply};

static void respond_rpc_error(struct hm_http *http, unsigned status, enum hm_code code, const char *more) {
    struct hm_buf text = {0};
    hm_rpc_put_error(&text, (struct hm_str){0}, &(struct hm_answer){.code = code});
    respond(http, status, "application/json", hm_buf_view(&text), more);
    hm_buf_free(&text);
}

// Reads the token now, since the headers may be gone when the body is complete.
static void find_session(struct hm_http *http) {
    char header[HM_TOKEN_MAX + 16];
    int n = lws_hdr_copy(http->wsi, header, sizeof header, WSI_TOKEN_HTTP_AUTHORIZATION);
    if (n == 0) return;
    if (n > 7 && strncasecmp(header, "Bearer ", 7) == 0) {
        const char *token = header + 7 + strspn(header + 7, " ");
        http->caller->session = hm_engine_session(http->net->engine, hm_str_of(token));
    }
    http->bad_token = !http->caller->session;
}

static bool encoded(struct lws *wsi) {
    char text[16];
    int n = lws_hdr_copy(wsi, text, sizeof text, WSI_TOKEN_HTTP_CONTENT_ENCODING);
    return n != 0 && strcasecmp(text, "identity") != 0;
}

static int start_post(struct hm_http *http) {
    char length[24];
    struct hm_client client;
    if (!hm_head_same_origin(http->net, http->wsi)) {
        http->net->counts.refused[HM_REFUSED_ORIGIN]++;
        return hm_http_refuse(http->wsi, 403, "pages of another origin may not call\n");
    }
    if (encoded(http->wsi)) // a few bytes of it could be any number of them
        return refuse_request(http, 415, "a body is taken as it is, without Content-Encoding\n");
    if (lws_hdr_copy(http->wsi, length, sizeof length, WSI_TOKEN_HTTP_CONTENT_LENGTH) <= 0)
        return refuse_request(http, 411, "Content-Length is needed\n");
    if (!hm_sock_client(http->net, http->wsi, &client)) return refuse_request(http, 400, HM_FORWARDED_LONG);
    http->caller = hm_caller_new();
    snprintf(http->caller->address, sizeof http->caller->address, "%s", client.address);
    http->caller->loopback = client.loopback;
    find_session(http);
    if (strtoull(length, NULL, 10) > hm_message_most(http->net, http->caller->session)) {
        http->net->counts.too_large++;
        return refuse_request(http, 413, "the request is too large\n");
    }
    hm_sock_phase(http->sock, HM_PHASE_BODY);
    return 0;
}

static void forget_body(struct hm_http *http) {
    http->net->partial_bytes -= http->in.len;
    hm_buf_free(&http->in);
}

size_t hm_http_partial(const struct hm_http *http) {
    return http->in.len;
}

void hm_http_drop(struct hm_http *http) {
    forget_body(http);
    http->dropped = true;
    refuse_request(http, 503, BUSY);
    shutdown(lws_get_socket_fd(http->wsi), SHUT_RDWR); // libwebsockets sees the end in its own turn
}

static int on_body(struct hm_http *http, const void *in, size_t len) {
    if (!http->caller || http->called || http->dropped) return -1;
    if (http->in.len + len > hm_message_most(http->net, http->caller->session)) return -1;
    hm_buf_add(&http->in, in, len);
    http->net->partial_bytes += len;
    return hm_ws_room(http->net, http->sock) ? 0 : refuse_request(http, 503, BUSY);
}

static int on_body_complete(struct hm_http *http) {
    if (!http->caller || http->called || http->dropped) return -1; // something came behind the body
    http->called = true;
    answering(http);
    http->net->counts.messages_in++;
    hm_sock_phase(http->sock, HM_PHASE_WORK);
    if (http->bad_token) {
        respond_rpc_error(http, 401, HM_UNAUTHENTICATED, NO_STORE "WWW-Authenticate: Bearer\r\n");
        return 0;
    }
    http->peer = hm_rpc_peer_new(&rpc_ops, http);
    if (!hm_rpc_take(http->peer, hm_buf_view(&http->in))) respond_rpc_error(http, 200, HM_PARSE, NO_STORE);
    forget_body(http);
    return 0;
}

// ---- GET ----------------------------------------------------------------------------------------

static int get_healthz(struct hm_http *http) {
    return respond_text(http, 200, "ok\n");
}

static int get_readyz(struct hm_http *http) {
    struct hm_buf text = {0};
    bool ready = !http->net->closing && hm_engine_ready(http->net->engine);
    hm_buf_text(&text, ready ? "ready\n" : "not ready\n");
    hm_engine_amiss(http->net->engine, &text);
    int result = respond_text(http, ready ? 200 : 503, text.data);
    hm_buf_free(&text);
    return result;
}

static bool bears_metrics_token(struct hm_http *http) {
    char header[sizeof http->net->settings->metrics_token + 16] = "";
    const char *token = http->net->settings->metrics_token;
    size_t len = strlen(token);
    if (lws_hdr_copy(http->wsi, header, sizeof header, WSI_TOKEN_HTTP_AUTHORIZATION) <= 7) return false;
    return strncasecmp(header, "Bearer ", 7) == 0 && strlen(header + 7) == len &&
           sodium_memcmp(header + 7, token, len) == 0;
}

// With a token, everybody needs it. Without one, only who is on this machine and did not come through a proxy
// that is.
static bool may_read_metrics(struct hm_http *http) {
    struct hm_client client;
    if (http->net->settings->metrics_token[0]) return bears_metrics_token(http);
    return hm_sock_client(http->net, http->wsi, &client) && client.loopback;
}

static int get_metrics(struct hm_http *http) {
    if (!may_read_metrics(http)) return respond_text(http, 404, "not found\n");
    struct hm_buf text = {0};
    hm_metrics(http->net, &text);
    respond(http, 200, "text/plain; version=0.0.4; charset=utf-8", hm_buf_view(&text), NO_STORE);
    hm_buf_free(&text);
    return 0;
}

static int get_openrpc(struct hm_http *http) {
    char value[100];
    struct hm_buf text = {0};
    const char *institution = lws_get_urlarg_by_name(http->wsi, "institution=", value, sizeof value);
    hm_engine_openrpc(http->net->engine, institution && *institution ? institution : NULL, &text);
    respond(http, 200, "application/json", hm_buf_view(&text), NO_STORE);
    hm_buf_free(&text);
    return 0;
}

static int get_rpc(struct hm_http *http) {
    return respond(http, 405, "text/plain; charset=utf-8", HM_LIT("POST here, or upgrade to a WebSocket\n"),
                   NO_STORE "Allow: POST\r\n");
}

static const struct {
    const char *path;
    int (*get)(struct hm_http *http);
} pages[] = {{"/healthz", get_healthz},
             {"/readyz", get_readyz},
             {"/metrics", get_metrics},
             {"/openrpc.json", get_openrpc},
             {"/rpc", get_rpc}};

static bool accepts_gzip(struct lws *wsi) {
    char text[200];
    return lws_hdr_copy(wsi, text, sizeof text, WSI_TOKEN_HTTP_ACCEPT_ENCODING) > 0 && strstr(text, "gzip") &&
           !strstr(text, "gzip;q=0");
}

static bool unchanged(struct lws *wsi, const char *etag) {
    char text[300];
    return lws_hdr_copy(wsi, text, sizeof text, WSI_TOKEN_HTTP_IF_NONE_MATCH) > 0 && strstr(text, etag);
}

static const char not_built[] =
    "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Hamroh</title>"
    "<p>Hamroh is running, but its web client has not been built. In the checkout run:</p>"
    "<pre>cd web &amp;&amp; npm ci &amp;&amp; npm run build</pre>"
    "<p>The interface for programs is at <code>/rpc</code>, its description at <a "
    "href=\"/openrpc.json\">/openrpc.json</a>.</p></html>\n";

static int get_file(struct hm_http *http, struct hm_str path) {
    bool root = hm_str_eq(path, HM_LIT("/"));
    struct hm_file file;
    if (!hm_files_get(http->net->files, root ? HM_LIT("/index.html") : path, accepts_gzip(http->wsi),
                      &file)) {
        if (root) return respond(http, 200, "text/html; charset=utf-8", hm_str_of(not_built), NO_STORE);
        return respond_text(http, 404, "not found\n");
    }
    char more[300];
    snprintf(more, sizeof more, "ETag: %s\r\nCache-Control: %s\r\nVary: Accept-Encoding\r\n%s", file.etag,
             file.immutable ? "public, max-age=31536000, immutable" : "no-cache",
             file.gzip ? "Content-Encoding: gzip\r\n" : "");
    if (unchanged(http->wsi, file.etag)) return respond(http, 304, "", (struct hm_str){0}, more);
    http->file = hm_file_ref(file.entry);
    return respond(http, 200, file.type, file.body, more);
}

static bool has_body(struct lws *wsi) {
    char length[24];
    int n = lws_hdr_copy(wsi, length, sizeof length, WSI_TOKEN_HTTP_CONTENT_LENGTH);
    return n != 0 && strtoull(length, NULL, 10) > 0;
}

static int on_request(struct hm_http *http, struct hm_str path) {
    bool read = lws_hdr_total_length(http->wsi, WSI_TOKEN_GET_URI) > 0 ||
                lws_hdr_total_length(http->wsi, WSI_TOKEN_HEAD_URI) > 0;
    struct hm_refused refused = hm_head_check(http->wsi);
    http->net->counts.http++;
    if (refused.status) return refuse_request(http, refused.status, refused.text);
    if (lws_hdr_total_length(http->wsi, WSI_TOKEN_POST_URI) > 0 && hm_str_eq(path, HM_LIT("/rpc")))
        return start_post(http);
    if (!read) return refuse_request(http, 405, "method not allowed\n");
    if (has_body(http->wsi)) return refuse_request(http, 400, "a body is not wanted here\n");
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
        if (hm_str_eq(path, hm_str_of(pages[i].path))) return pages[i].get(http);
    return get_file(http, path);
}

// ---- libwebsockets ------------------------------------------------------------------------------

static void http_free(struct hm_http *http) {
    if (!http) return;
    if (http->counted) http->net->answering--;
    http->sock->http = NULL;
    hm_rpc_peer_close(http->peer);
    if (http->caller) hm_caller_unref(http->caller);
    forget_body(http);
    hm_buf_free(&http->out);
    hm_file_unref(http->file);
    free(http);
}

static int begin(struct hm_sock *sock, const void *in, size_t len) {
    struct hm_http *http = hm_alloc(sizeof *http);
    http->net = sock->net;
    http->wsi = sock->wsi;
    http->sock = sock;
    sock->http = http;
    return on_request(http, (struct hm_str){in, len});
}

int hm_http_callback(struct hm_sock *sock, enum lws_callback_reasons reason, void *in, size_t len) {
    struct hm_http *http = sock->http;
    switch (reason) {
    case LWS_CALLBACK_HTTP:
        return http ? -1 : begin(sock, in, len);
    case LWS_CALLBACK_HTTP_BODY:
        return http ? on_body(http, in, len) : 0;
    case LWS_CALLBACK_HTTP_BODY_COMPLETION:
        return http ? on_body_complete(http) : 0;
    case LWS_CALLBACK_HTTP_WRITEABLE:
        return http ? on_writable(http) : 0;
    case LWS_CALLBACK_CLOSED_HTTP:
    case LWS_CALLBACK_WSI_DESTROY:
        http_free(http);
        return 0;
    default:
        return 0;
    }
}
