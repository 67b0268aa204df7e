// Every accepted socket from accept to close: whose it is, what it is waited for, and how long that may take.
// Loop thread only. What always holds: a socket that is not an open WebSocket is a guest, stands in the list
// of guests, and is hung up when its phase lasts longer than the settings allow, whatever libwebsockets
// thinks; a WebSocket's own limits are in ws.c.
#include "base/clock.h"
#include "net/inside.h"
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

// ---- limits at the door -------------------------------------------------------------------------

// Counted by address? Not what comes through a proxy of ours, which stands for everybody, nor this machine's
// own programs unless asked for.
static bool counted(const struct hm_net *net, const char *address) {
    if (!*address || hm_networks_have(&net->proxies, address)) return false;
    return net->settings->limit_loopback || !hm_address_is_loopback(address);
}

// Room beyond the WebSockets for plain requests, so that somebody at the limit still gets an answer.
static unsigned sockets_of_address(const struct hm_net *net) {
    unsigned most = net->settings->connections_per_address;
    return most + (most / 4 > 16 ? most / 4 : 16);
}

bool hm_sock_let_in(struct hm_net *net, const struct sockaddr_storage *peer) {
    char address[64], place[64];
    hm_address_text(peer, address);
    if (net->sockets >= net->sockets_max) {
        net->counts.refused[HM_REFUSED_FULL]++;
        return false;
    }
    if (!counted(net, address)) return true;
    hm_place_of(address, place);
    if (hm_tally_of(net->sockets_by_place, place) < sockets_of_address(net)) return true;
    net->counts.refused[HM_REFUSED_ADDRESS]++;
    return false;
}

bool hm_sock_place_full(const struct hm_net *net, const struct hm_client *client) {
    char place[64];
    if (!counted(net, client->address)) return false;
    hm_place_of(client->address, place);
    return hm_tally_of(net->conns_by_place, place) >= net->settings->connections_per_address;
}

struct hm_count *hm_sock_place_enter(struct hm_net *net, const struct hm_client *client) {
    char place[64];
    if (!counted(net, client->address)) return NULL;
    hm_place_of(client->address, place);
    return hm_tally_up(net->conns_by_place, place);
}

// ---- who it is ----------------------------------------------------------------------------------

static void peer_of(struct lws *wsi, char out[64]) {
    struct sockaddr_storage peer = {0};
    socklen_t len = sizeof peer;
    out[0] = '\0';
    if (getpeername(lws_get_socket_fd(wsi), (struct sockaddr *)&peer, &len) == 0) hm_address_text(&peer, out);
}

static bool forwarded(struct lws *wsi) {
    return lws_hdr_total_length(wsi, WSI_TOKEN_X_FORWARDED_FOR) > 0 ||
           lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_X_REAL_IP) > 0 ||
           lws_hdr_custom_length(wsi, "forwarded:", 10) > 0;
}

bool hm_sock_client(const struct hm_net *net, struct lws *wsi, struct hm_client *out) {
    char list[HM_HEAD_MAX + 1];
    peer_of(wsi, out->address);
    // What a proxy brings is not from this machine, even if the proxy is and nobody has named it.
    out->loopback = hm_address_is_loopback(out->address) && !forwarded(wsi);
    if (!hm_networks_have(&net->proxies, out->address)) return true;
    int len = lws_hdr_copy(wsi, list, sizeof list, WSI_TOKEN_X_FORWARDED_FOR);
    if (len > 0) hm_forwarded_client(&net->proxies, list, out->address);
    return len >= 0;
}

// ---- from accept to close -----------------------------------------------------------------------

static int64_t now_ms(void) {
    return (int64_t)(hm_mono_us() / 1000);
}

static void unlist(struct hm_sock *sock) {
    if (sock->phase == HM_PHASE_OPEN) return;
    if (sock->prev)
        sock->prev->next = sock->next;
    else
        sock->net->guests = sock->next;
    if (sock->next) sock->next->prev = sock->prev;
    sock->next = sock->prev = NULL;
}

void hm_sock_new(struct hm_net *net, struct lws *wsi) {
    char address[64], place[64];
    struct hm_sock *sock = hm_alloc(sizeof *sock);
    sock->net = net;
    sock->wsi = wsi;
    sock->since_ms = now_ms();
    sock->next = net->guests;
    if (net->guests) net->guests->prev = sock;
    net->guests = sock;
    peer_of(wsi, address);
    if (counted(net, address)) {
        hm_place_of(address, place);
        sock->place = hm_tally_up(net->sockets_by_place, place);
    }
    lws_set_opaque_user_data(wsi, sock);
}

struct hm_sock *hm_sock_of(struct lws *wsi) {
    return lws_get_opaque_user_data(wsi);
}

void hm_sock_phase(struct hm_sock *sock, enum hm_phase phase) {
    if (phase == HM_PHASE_OPEN) unlist(sock);
    sock->phase = phase;
    sock->since_ms = now_ms();
}

static struct tcp_info info_of(const struct hm_sock *sock) {
    struct tcp_info info = {0};
    socklen_t len = sizeof info;
    getsockopt(lws_get_socket_fd(sock->wsi), IPPROTO_TCP, TCP_INFO, &info, &len); // zeros when it fails
    return info;
}

uint64_t hm_sock_acked(const struct hm_sock *sock) {
    return info_of(sock).tcpi_bytes_acked;
}

// Before a request was heard of: what came was no HTTP, or too much for libwebsockets. Not counted: who only
// connected, or was hung up on by us.
void hm_sock_closing(struct hm_sock *sock) {
    sock->closing = true;
    if (sock->phase == HM_PHASE_HEAD && !sock->hung_up && info_of(sock).tcpi_bytes_received)
        sock->net->counts.refused[HM_REFUSED_REQUEST]++;
}

void hm_sock_free(struct hm_sock *sock) {
    if (!sock) return;
    // An upgrade that libwebsockets refuses by itself is not told as closing; nor is a broken TLS handshake.
    if (sock->phase == HM_PHASE_HEAD && !sock->hung_up && !sock->closing && !sock->net->tls)
        sock->net->counts.refused[HM_REFUSED_UPGRADE]++;
    unlist(sock);
    lws_set_opaque_user_data(sock->wsi, NULL);
    hm_tally_down(sock->net->sockets_by_place, sock->place);
    free(sock);
}

// ---- time ---------------------------------------------------------------------------------------

// Not by lws_set_timeout alone: with bytes left over to send, libwebsockets only begins to wait, and asked
// again it forgets the time limit of that. After the shutdown sending fails, which it takes for the end.
void hm_sock_hang_up(struct hm_sock *sock) {
    sock->hung_up = true;
    shutdown(lws_get_socket_fd(sock->wsi), SHUT_RDWR);
    lws_set_timeout(sock->wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_SYNC);
}

static bool late(const struct hm_sock *sock, int64_t now, enum hm_lateness *which) {
    const struct hm_settings *s = sock->net->settings;
    int64_t lasted = now - sock->since_ms;
    switch (sock->phase) {
    case HM_PHASE_HEAD:
        *which = HM_LATE_HEAD;
        return lasted > s->header_timeout_ms;
    case HM_PHASE_BODY:
        *which = HM_LATE_MESSAGE;
        return lasted > s->message_timeout_ms;
    case HM_PHASE_SEND:
        *which = HM_LATE_SEND;
        return lasted > s->send_timeout_ms;
    case HM_PHASE_WORK: // the engine's limits end it
    case HM_PHASE_OPEN:
        break;
    }
    return false;
}

void hm_sock_sweep(struct hm_net *net) {
    struct hm_sock *next;
    enum hm_lateness which;
    int64_t now = now_ms();
    for (struct hm_sock *sock = net->guests; sock; sock = next) {
        next = sock->next;
        if (!late(sock, now, &which)) continue;
        if (!sock->hung_up) net->counts.late[which]++;
        hm_sock_hang_up(sock);
    }
}
