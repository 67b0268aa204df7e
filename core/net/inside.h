// What the files of this room share: the net itself, connections, and who is signed in where. Loop thread
// only.
#pragma once
#include "net/door.h"
#include "net/feed.h"
#include "net/net.h"
#include "net/out.h"
#include "net/presence.h"
#include "net/rpc.h"
#include "net/tls.h"
#include <libwebsockets.h>

struct hm_conn;
struct hm_people;
struct hm_files;
struct hm_control;

// Why somebody was not let in, and whom we stopped waiting for; metrics.c has their names.
enum hm_refusal {
    HM_REFUSED_ORIGIN,
    HM_REFUSED_FULL,    // connections_max, or no file descriptors left
    HM_REFUSED_ADDRESS, // connections_per_address
    HM_REFUSED_ACCOUNT, // connections_per_account
    HM_REFUSED_UPGRADE, // to anything but our WebSocket
    HM_REFUSED_REQUEST, // no proper HTTP, or more of it than is taken
    HM_REFUSED_FRAME,   // no proper WebSocket message
    HM_REFUSALS,
};
enum hm_lateness {
    HM_LATE_HEAD,    // TLS handshake and head of a request
    HM_LATE_MESSAGE, // body of a request, rest of a WebSocket message
    HM_LATE_SEND,    // takes nothing of what is sent
    HM_LATE_SILENT,  // not even an answer to a ping
    HM_LATE_SIGN_IN, // nobody signs in
    HM_LATES,
};

struct hm_net_counts {
    uint64_t opened, messages_in, messages_out, bytes_out, http, slow_closed, too_large;
    uint64_t refused[HM_REFUSALS], late[HM_LATES];
};

struct hm_net {
    struct hm_engine *engine;
    struct ev_loop *loop;
    const struct hm_settings *settings; // the engine's
    bool closing;
    // drain.c
    bool draining;      // no new connection, no new request; what is under way is answered
    unsigned answering; // HTTP requests that are being answered
    struct hm_drain *drain;
    // listen.c
    struct hm_listen *listening; // on sockets that were handed over; NULL: libwebsockets listens
    // ws.c
    struct lws_context *lws;
    struct lws_vhost *vhost;
    unsigned port;
    unsigned sockets, sockets_max; // of every kind, the listening one too
    struct ev_prepare flush;       // sends what a turn of the loop has queued
    struct ev_timer sweep;         // pings and time limits
    unsigned sweeps;
    lws_sorted_usec_list_t tick;
    struct hm_tls *tls; // NULL: none
    struct hm_networks proxies;
    struct hm_tally *sockets_by_place, *conns_by_place, *conns_by_account;
    struct hm_sock *guests; // sockets that are no open WebSocket
    struct hm_conn *conns, *dirty;
    unsigned conn_count;
    size_t partial_bytes; // of messages and bodies that are not complete yet, over all connections
    struct hm_net_counts counts;
    struct hm_people *people;
    struct hm_feed *feed;
    struct hm_presence *presence;
    struct hm_files *files;
    struct hm_control *control;
};

// What an lws socket points to (lws_set_opaque_user_data). HEAD: the TLS handshake and the head of the
// request; BODY: of a POST; WORK: it is being answered; SEND: the answer goes out; OPEN: a WebSocket.
enum hm_phase { HM_PHASE_HEAD, HM_PHASE_BODY, HM_PHASE_WORK, HM_PHASE_SEND, HM_PHASE_OPEN };
struct hm_sock {
    struct hm_net *net;
    struct lws *wsi;
    enum hm_phase phase;
    bool hung_up; // by us
    bool closing; // by libwebsockets
    int64_t since_ms;
    struct hm_count *place;      // of the peer, when it is counted
    struct hm_conn *conn;        // when OPEN
    struct hm_http *http;        // when a request is under way
    struct hm_sock *next, *prev; // guests
};

struct hm_client { // whom a request is from, a trusted proxy seen through
    char address[64];
    bool loopback; // this machine itself
};

#define HM_OUT_CLOSE (64u << 20) // bytes waiting for a client after which its connection is given up

// A WebSocket connection.
struct hm_conn {
    struct hm_net *net;
    struct lws *wsi;
    struct hm_sock *sock;
    struct hm_count *place, *account; // what it counts for
    struct hm_caller *caller;         // owned
    struct hm_rpc_peer *peer;         // owned
    struct hm_buf in;                 // fragments of a message so far
    int fd; // of wsi; -1: encrypted, so that only libwebsockets can write to it; 0: not asked yet
    struct hm_queue out;
    struct hm_sub *sub;         // owned; its feed
    const void *opened_by;      // the call that opened it; only compared
    struct hm_present *present; // whom its feed shows as online
    int64_t heard_ms;           // last bytes from the client
    int64_t asked_ms;           // last whole message from the client
    int64_t partial_ms;         // when the incomplete message began; 0: there is none
    int64_t closing_ms;         // when it began to close
    int64_t moved_ms; // when the client last took something while more was waiting; 0: nothing waits
    uint64_t acked;   // bytes it had taken then
    bool closing;     // nothing may be written any more
    bool ping, paused, is_dirty;
    struct hm_conn *next, *prev; // all
    struct hm_conn *next_dirty;
    // people.c
    struct hm_session *session; // as last seen in caller->session; owned reference
    struct hm_conn *session_next, *session_prev;
    struct person *person;
    struct hm_conn *person_next, *person_prev;
};

// ---- conn.c: what a connection does, whatever carries it ----------------------------------------
struct hm_conn *hm_conn_new(struct hm_net *net, struct lws *wsi, const struct hm_client *client);
void hm_conn_free(struct hm_conn *conn);
void hm_conn_send(struct hm_conn *conn, struct hm_out *out); // queues; takes a reference of its own
extern const struct hm_feed_ops hm_conn_feed_ops;            // arg: struct hm_net *
extern const struct hm_presence_ops hm_conn_presence_ops;    // arg: struct hm_net *

// ---- people.c -----------------------------------------------------------------------------------
struct hm_people *hm_people_new(void);
void hm_people_free(struct hm_people *people);
// After any call: has the caller's session changed? Then the connection is listed under the new one, and its
// feed closed.
void hm_people_sync(struct hm_conn *conn);
void hm_people_leave(struct hm_conn *conn);
// Calls fn for each connection of the session, or of the person when session is NULL. fn may close or unlist
// its connection.
void hm_people_each(struct hm_people *people, const char *institution, struct hm_str person,
                    struct hm_session *session, void (*fn)(struct hm_conn *conn, void *arg), void *arg);

// ---- ws.c ---------------------------------------------------------------------------------------
bool hm_ws_open(struct hm_net *net, struct hm_error *err);
void hm_ws_close(struct hm_net *net);
void hm_ws_limits(struct hm_net *net);        // the settings may have changed
void hm_ws_dirty(struct hm_conn *conn);       // something was queued
void hm_ws_adopt(struct hm_net *net, int fd); // takes a connection that was accepted elsewhere, or closes it
size_t hm_message_most(const struct hm_net *net, const struct hm_session *session); // NULL: not signed in
// Ends connections until unfinished messages and bodies are within their limit. False: self must end, too.
bool hm_ws_room(struct hm_net *net, const struct hm_sock *self);
// Says goodbye to those to whom everything has been sent (patient: and from whom everything has been read);
// how many connections are left.
unsigned hm_ws_say_goodbye(struct hm_net *net, bool patient);

// ---- sock.c -------------------------------------------------------------------------------------
bool hm_sock_let_in(struct hm_net *net, const struct sockaddr_storage *peer); // at accept
void hm_sock_new(struct hm_net *net, struct lws *wsi);
void hm_sock_closing(struct hm_sock *sock); // libwebsockets is about to close it
void hm_sock_free(struct hm_sock *sock);
struct hm_sock *hm_sock_of(struct lws *wsi); // NULL before it is made and after it was freed
void hm_sock_phase(struct hm_sock *sock, enum hm_phase phase); // begins it, also again
void hm_sock_hang_up(struct hm_sock *sock);                    // never from within its callback
uint64_t hm_sock_acked(const struct hm_sock *sock);            // bytes the client has taken
void hm_sock_sweep(struct hm_net *net);
// While there are headers. False: it is not to be known, since its X-Forwarded-For is too long.
bool hm_sock_client(const struct hm_net *net, struct lws *wsi, struct hm_client *out);
bool hm_sock_place_full(const struct hm_net *net, const struct hm_client *client);
struct hm_count *hm_sock_place_enter(struct hm_net *net, const struct hm_client *client);

// ---- http.c -------------------------------------------------------------------------------------
int hm_http_callback(struct hm_sock *sock, enum lws_callback_reasons reason, void *in, size_t len);
size_t hm_http_partial(const struct hm_http *http); // bytes of a body that is not complete
void hm_http_drop(struct hm_http *http);            // gives up that request; for any callback but its own
int hm_http_refuse(struct lws *wsi, unsigned status,
                   const char *text); // writes a whole response; gives -1: hang up

// ---- head.c: what a request's head may be, and what every response's has ------------------------
#define HM_HEAD_MAX                                                                                          \
    8192 // bytes of the headers that we know; libwebsockets hangs up at twice of that, all counted
#define HM_FORWARDED_LONG "X-Forwarded-For is too long\n"
struct hm_refused { // 0: nothing wrong
    unsigned status;
    const char *text;
};
struct hm_refused hm_head_check(struct lws *wsi); // what must hold for every request
// No Origin header, or one of the host that was asked or of the settings.
bool hm_head_same_origin(const struct hm_net *net, struct lws *wsi);
// more: further header lines, each with its line end.
void hm_head_put(struct hm_buf *out, struct lws *wsi, unsigned status, const char *type, size_t len,
                 const char *more);
// The same for what libwebsockets answers by itself.
const struct lws_protocol_vhost_options *hm_head_options(bool tls);

// ---- files.c ------------------------------------------------------------------------------------
struct hm_file_entry;
struct hm_file { // borrowed until the next hm_files_get, or for as long as its entry is held
    struct hm_file_entry *entry;
    const char *type;
    char etag[40];
    bool immutable, gzip;
    struct hm_str body;
};
struct hm_files *hm_files_new(const char *dir);
void hm_files_free(struct hm_files *files);
// path as in the request, beginning with '/'. False: no such file (or not one that may be given out).
bool hm_files_get(struct hm_files *files, struct hm_str path, bool gzip_accepted, struct hm_file *out);
struct hm_file_entry *hm_file_ref(struct hm_file_entry *entry);
void hm_file_unref(struct hm_file_entry *entry); // NULL is fine

// ---- listen.c, drain.c --------------------------------------------------------------------------
struct hm_listen *hm_listen_new(struct hm_net *net,
                                const struct hm_sockets *sockets); // takes the descriptors
unsigned hm_listen_port(const struct hm_listen *listening);
void hm_listen_stop(struct hm_listen *listening); // who comes now waits for the next server
void hm_listen_free(struct hm_listen *listening);
void hm_drain_free(struct hm_drain *drain);

// ---- control.c, metrics.c -----------------------------------------------------------------------
struct hm_control *hm_control_new(struct hm_net *net, const char *data_dir, struct hm_error *err);
void hm_control_free(struct hm_control *control);
void hm_metrics(const struct hm_net *net, struct hm_buf *out);
