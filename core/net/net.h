// The server's ears and mouth: HTTP, WebSocket (libwebsockets on libev), JSON-RPC 2.0, the feed, static
// files, health and metrics, and the control socket for commands on the same machine. Loop thread only.
#pragma once
#include "engine/engine.h"

struct hm_net;
#define HM_SOCKETS_MAX 8
struct hm_sockets { // listening sockets that the service manager handed over (socket activation)
    int fd[HM_SOCKETS_MAX];
    unsigned count;
};
// Listens on settings.listen, or on `sockets` when there are any (theirs from then on); skipped when
// control_only. And on DATA/control.sock (mode 0600).
bool hm_net_open(struct hm_engine *engine, struct ev_loop *loop, const char *data_dir, bool control_only,
                 const struct hm_sockets *sockets, struct hm_net **out, struct hm_error *err);
// Accepts nobody and lets what was asked be answered and sent; then says goodbye (1001) to every WebSocket
// and calls drained, once. There is no limit of time here.
void hm_net_drain(struct hm_net *net, void (*drained)(void *arg), void *arg);
// Reads the certificate again (SIGHUP); on any problem the one in use stays, the log says why, and *err (may
// be NULL) too. No connection is touched. Nothing to do without TLS, or with net NULL.
bool hm_net_reload(struct hm_net *net, struct hm_error *err);
unsigned hm_net_port(const struct hm_net *net); // the port really listened on (settings may say 0)
void hm_net_close(struct hm_net *net);          // closes connections with 1001
