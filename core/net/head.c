// Heads: what that of a request may be, and what that of every response has. Loop thread only. What always
// holds: a request that two readers could take for two different ones (two lengths, a length and chunks, two
// hosts) is refused, and every response forbids frames, foreign scripts and guessing of types.
#include "net/inside.h"
#include <ctype.h>
#include <string.h>
#include <strings.h>

// ---- requests -----------------------------------------------------------------------------------

static size_t known_bytes(struct lws *wsi) {
    size_t sum = 0;
    for (int token = 0; token < WSI_TOKEN_COUNT; token++)
        sum += (size_t)lws_hdr_total_length(wsi, (enum lws_token_indexes)token);
    return sum;
}

static bool repeated(struct lws *wsi, enum lws_token_indexes token) {
    return lws_hdr_fragment_length(wsi, token, 1) > 0;
}

static bool version_known(struct lws *wsi, bool *old) {
    char text[16];
    if (lws_hdr_copy(wsi, text, sizeof text, WSI_TOKEN_HTTP) <= 0) return false;
    *old = strcmp(text, "HTTP/1.0") == 0;
    return *old || strcmp(text, "HTTP/1.1") == 0;
}

static bool digits_only(struct lws *wsi, enum lws_token_indexes token) {
    char text[20];
    if (lws_hdr_copy(wsi, text, sizeof text, token) <= 0) return false;
    return text[strspn(text, "0123456789")] == '\0';
}

struct hm_refused hm_head_check(struct lws *wsi) {
    bool old = false;
    bool length = lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) > 0;
    if (known_bytes(wsi) > HM_HEAD_MAX)
        return (struct hm_refused){431, "the head of the request is too large\n"};
    if (!version_known(wsi, &old)) return (struct hm_refused){505, "HTTP/1.1 is spoken here\n"};
    if (repeated(wsi, WSI_TOKEN_HOST) || (!old && lws_hdr_total_length(wsi, WSI_TOKEN_HOST) <= 0))
        return (struct hm_refused){400, "one Host header is needed\n"};
    if (repeated(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) ||
        (length && !digits_only(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH)))
        return (struct hm_refused){400, "Content-Length must be one number\n"};
    if (lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING) > 0)
        return length ? (struct hm_refused){400, "either Content-Length or Transfer-Encoding\n"}
                      : (struct hm_refused){411, "chunks are not taken; Content-Length is needed\n"};
    return (struct hm_refused){0};
}

// "https://host:port" against "host:port", without regard to case. Behind our own TLS, a page that came
// without it is another origin; behind a proxy only the proxy knows.
static bool origin_is(const char *origin, const char *host, bool tls) {
    const char *at = strstr(origin, "://");
    if (!at || strcasecmp(at + 3, host) != 0) return false;
    return tls ? strncasecmp(origin, "https:", 6) == 0 : strncasecmp(origin, "http", 4) == 0;
}

bool hm_head_same_origin(const struct hm_net *net, struct lws *wsi) {
    char origin[300], host[300];
    int n = lws_hdr_copy(wsi, origin, sizeof origin, WSI_TOKEN_ORIGIN);
    if (n == 0) return true;
    if (n < 0) return false;
    if (hm_origins_have(net->settings->allowed_origins, origin)) return true;
    return lws_hdr_copy(wsi, host, sizeof host, WSI_TOKEN_HOST) > 0 && origin_is(origin, host, net->tls);
}

// ---- responses ----------------------------------------------------------------------------------

static const char *reason_of(unsigned status) {
    static const struct {
        unsigned status;
        const char *text;
    } reasons[] = {
        {200, "OK"},
        {204, "No Content"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {411, "Length Required"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].status == status) return reasons[i].text;
    return "Error";
}

#define POLICY                                                                                               \
    "; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// Name with colon, value. Rows of libwebsockets' own kind, so that what it answers by itself has them, too.
// HSTS is the first and left out without TLS.
#define ROW(next, name, value)                                                                               \
    { next, NULL, name, value }
static const struct lws_protocol_vhost_options fixed[] = {
    ROW(&fixed[1], "Strict-Transport-Security:", "max-age=31536000"),
    ROW(&fixed[2], "X-Content-Type-Options:", "nosniff"),
    ROW(&fixed[3], "X-Frame-Options:", "DENY"),
    ROW(&fixed[4], "Referrer-Policy:", "no-referrer"),
    ROW(&fixed[5], "Permissions-Policy:", "camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
    ROW(&fixed[6], "Cross-Origin-Opener-Policy:", "same-origin"),
    ROW(&fixed[7], "Cross-Origin-Resource-Policy:", "same-origin"),
    ROW(NULL, "Connection:", "close"),
};
static const struct lws_protocol_vhost_options with_policy[] = {
    ROW(&fixed[1], "Content-Security-Policy:", "default-src 'none'; frame-ancestors 'none'"),
    ROW(&fixed[0], "Content-Security-Policy:", "default-src 'none'; frame-ancestors 'none'"),
};

const struct lws_protocol_vhost_options *hm_head_options(bool tls) {
    return &with_policy[tls];
}

// A Host header goes into the policy only when it looks like one: older browsers do not take 'self' for a
// WebSocket.
static void put_sockets(struct hm_buf *out, struct lws *wsi) {
    char host[128];
    if (lws_hdr_copy(wsi, host, sizeof host, WSI_TOKEN_HOST) <= 0) return;
    if (host[strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:-[]")]) return;
    if (!lws_is_ssl(wsi)) hm_buf_printf(out, " ws://%s", host);
    hm_buf_printf(out, " wss://%s", host);
}

void hm_head_put(struct hm_buf *out, struct lws *wsi, unsigned status, const char *type, size_t len,
                 const char *more) {
    hm_buf_printf(out, "HTTP/1.1 %u %s\r\n", status, reason_of(status));
    if (status != 204 && status != 304)
        hm_buf_printf(out, "Content-Type: %s\r\nContent-Length: %zu\r\n", type, len);
    hm_buf_text(out, "Content-Security-Policy: default-src 'self'; connect-src 'self'");
    put_sockets(out, wsi);
    hm_buf_text(out, POLICY "\r\n");
    for (const struct lws_protocol_vhost_options *row = &fixed[!lws_is_ssl(wsi)]; row; row = row->next)
        hm_buf_printf(out, "%s %s\r\n", row->name, row->value);
    hm_buf_text(out, more);
    hm_buf_text(out, "\r\n");
}
