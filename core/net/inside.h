// What the files of this room share: the net itself, connections, and who is signed in where. Loop thread
// only.
#pragma once
#include "net/feed.h"
#include "net/net.h"
#include "net/out.h"
#include "net/presence.h"
#include "net/rpc.h"
#include <libwebsockets.h>

struct hm_conn;
struct hm_people;
struct hm_files;
struct hm_control;

struct hm_net_counts {
    uint64_t opened, refused, messages_in, messages_out, bytes_out, http, slow_closed, too_large;
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
    unsigned sockets;        // of every kind, the listening one too
    struct ev_prepare flush; // sends what a turn of the loop has queued
    struct ev_timer sweep;   // pings and time limits
    lws_sorted_usec_list_t tick;
    struct hm_conn *conns, *dirty;
    unsigned conn_count;
    size_t partial_bytes; // of messages that are not complete yet, over all connections
    struct hm_net_counts counts;
    struct hm_people *people;
    struct hm_feed *feed;
    struct hm_presence *presence;
    struct hm_files *files;
    struct hm_control *control;
};

// What an lws socket points to (lws_set_opaque_user_data), as first member.
enum hm_kind { HM_KIND_CONN = 1, HM_KIND_HTTP };

#define HM_OUT_CLOSE (64u << 20) // bytes waiting for a client after which its connection is given up

// A WebSocket connection.
struct hm_conn {
    enum hm_kind kind;
    struct hm_net *net;
    struct lws *wsi;
    struct hm_caller *caller; // owned
    struct hm_rpc_peer *peer; // owned
    struct hm_buf in;         // fragments of a message so far
    int fd; // of wsi; -1: encrypted, so that only libwebsockets can write to it; 0: not asked yet
    struct hm_queue out;
    struct hm_sub *sub;         // owned; its feed
    struct hm_present *present; // whom its feed shows as online
    int64_t heard_ms;           // last bytes from the client
    int64_t asked_ms;           // last whole message from the client
    int64_t partial_ms;         // when the incomplete message began
    int64_t closing_ms;         // when it began to close
    bool closing;               // nothing may be written any more
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
struct hm_conn *hm_conn_new(struct hm_net *net, struct lws *wsi, const char *address);
void hm_conn_free(struct hm_conn *conn);
void hm_conn_send(struct hm_conn *conn, struct hm_out *out); // queues; takes a reference of its own
extern const struct hm_feed_ops hm_conn_feed_ops;            // arg: struct hm_net *
extern const struct hm_presence_ops hm_conn_presence_ops;    // arg: struct hm_net *
bool hm_address_is_loopback(const char *address);

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
void hm_ws_dirty(struct hm_conn *conn);       // something was queued
void hm_ws_adopt(struct hm_net *net, int fd); // takes a connection that was accepted elsewhere, or closes it
// Says goodbye to those to whom everything has been sent (patient: and from whom everything has been read);
// how many connections are left.
unsigned hm_ws_say_goodbye(struct hm_net *net, bool patient);
// Loopback and Host are what they seem to be only for the direct peer.
bool hm_ws_same_origin(struct lws *wsi); // no Origin header, or one of the host that was asked

// ---- http.c -------------------------------------------------------------------------------------
int hm_http_callback(struct hm_net *net, struct lws *wsi, enum lws_callback_reasons reason, void *in,
                     size_t len);
int hm_http_refuse(struct lws *wsi, unsigned status,
                   const char *text); // writes a whole response; gives -1: hang up

// ---- files.c ------------------------------------------------------------------------------------
struct hm_file { // borrowed until the next hm_files_get
    const char *type;
    char etag[40];
    bool immutable, gzip;
    struct hm_str body;
};
struct hm_files *hm_files_new(const char *dir);
void hm_files_free(struct hm_files *files);
// path as in the request, beginning with '/'. False: no such file (or not one that may be given out).
bool hm_files_get(struct hm_files *files, struct hm_str path, bool gzip_accepted, struct hm_file *out);

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
