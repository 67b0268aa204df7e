// Opens and closes the net, and passes on what the engine tells it. Loop thread only.
#include "base/log.h"
#include "net/inside.h"
#include <stdlib.h>

// ---- what the engine tells ----------------------------------------------------------------------

static void on_change(void *arg, const char *institution, const struct hm_change *change) {
    struct hm_net *net = arg;
    hm_feed_change(net->feed, institution, change);
    hm_presence_change(net->presence, institution, change);
}

static void reindex(struct hm_conn *conn, void *arg) {
    (void)arg;
    if (conn->sub) hm_sub_reindex(conn->sub);
}

static void on_principals(void *arg, struct hm_session *session, struct hm_principals *old) {
    struct hm_net *net = arg;
    (void)old;
    hm_people_each(net->people, session->institution, (struct hm_str){0}, session, reindex, NULL);
    hm_presence_update(net->presence, session);
}

static void send_to(struct hm_conn *conn, void *arg) {
    hm_conn_send(conn, arg);
}

static struct hm_out *notice_new(const char *method, struct hm_str params) {
    struct hm_buf text = {0};
    hm_rpc_put_notice(&text, method, params);
    struct hm_out *out = hm_out_new(hm_buf_view(&text));
    hm_buf_free(&text);
    return out;
}

static void on_notice(void *arg, const char *institution, struct hm_str person, struct hm_session *session,
                      const char *method, struct hm_str params) {
    struct hm_net *net = arg;
    struct hm_out *out = notice_new(method, params);
    hm_people_each(net->people, institution, person, session, send_to, out);
    hm_out_unref(out);
}

static void on_tell(void *arg, struct hm_caller *caller, const char *method, struct hm_str params) {
    struct hm_out *out = notice_new(method, params);
    (void)arg;
    if (caller->net) hm_conn_send(caller->net, out);
    hm_out_unref(out);
}

static void sign_out(struct hm_conn *conn, void *arg) {
    struct hm_session *session = conn->session;
    hm_conn_send(conn, arg);
    if (conn->caller->session == session) {
        conn->caller->session = NULL;
        hm_session_unref(session);
    }
    hm_people_sync(conn);
}

static void on_ended(void *arg, struct hm_session *session, const char *reason) {
    struct hm_net *net = arg;
    struct hm_buf params = {0};
    hm_buf_char(&params, '{');
    hm_json_member_str(&params, "reason", hm_str_of(reason));
    hm_buf_char(&params, '}');
    struct hm_out *out = notice_new("session.ended", hm_buf_view(&params));
    hm_session_ref(session); // the last connection's reference may be the last of all
    hm_people_each(net->people, session->institution, (struct hm_str){0}, session, sign_out, out);
    hm_session_unref(session);
    hm_out_unref(out);
    hm_buf_free(&params);
}

// ---- opening and closing ------------------------------------------------------------------------

bool hm_net_open(struct hm_engine *engine, struct ev_loop *loop, const char *data_dir, bool control_only,
                 const struct hm_sockets *sockets, struct hm_net **out, struct hm_error *err) {
    struct hm_net *net = hm_alloc(sizeof *net);
    bool ok = false;
    net->engine = engine;
    net->loop = loop;
    net->settings = hm_engine_settings(engine);
    net->people = hm_people_new();
    net->sockets_by_place = hm_tally_new();
    net->conns_by_place = hm_tally_new();
    net->conns_by_account = hm_tally_new();
    hm_networks_read(net->settings->trusted_proxy, &net->proxies);
    struct hm_feed_ops ops = hm_conn_feed_ops;
    ops.arg = net;
    net->feed = hm_feed_new(loop, &ops,
                            &(struct hm_feed_limits){.queue_max = net->settings->feed_queue,
                                                     .bytes_max = (size_t)net->settings->feed_bytes,
                                                     .replay_max = net->settings->feed_replay});
    struct hm_presence_ops presence = hm_conn_presence_ops;
    presence.arg = net;
    net->presence = hm_presence_new(loop, &presence, net->settings->presence_grace_ms);
    net->files = hm_files_new(net->settings->web_dir);
    hm_engine_listen(engine,
                     &(struct hm_listener){on_change, on_principals, on_notice, on_ended, net, on_tell});
    net->control = hm_control_new(net, data_dir, err);
    if (!net->control) goto out;
    if (!control_only && sockets && sockets->count) net->listening = hm_listen_new(net, sockets);
    if (net->settings->tls_certificate[0] && !control_only &&
        !hm_tls_open(loop, net->settings->tls_certificate, net->settings->tls_key, &net->tls, err))
        goto out;
    if (!control_only && !hm_ws_open(net, err)) goto out;
    ok = true;
out:
    if (!ok) {
        hm_net_close(net);
        net = NULL;
    }
    *out = net;
    return ok;
}

unsigned hm_net_port(const struct hm_net *net) {
    return net->port;
}

bool hm_net_reload(struct hm_net *net, struct hm_error *err) {
    if (!net) return true;
    hm_ws_limits(net);
    return !net->tls || hm_tls_reload(net->tls, err);
}

void hm_net_close(struct hm_net *net) {
    if (!net) return;
    net->closing = true;
    hm_engine_listen(net->engine, &(struct hm_listener){0});
    hm_drain_free(net->drain);
    hm_listen_free(net->listening);
    hm_control_free(net->control);
    hm_ws_close(net);
    hm_tls_free(net->tls);
    hm_feed_free(net->feed);
    hm_presence_free(net->presence);
    hm_people_free(net->people);
    hm_tally_free(net->sockets_by_place);
    hm_tally_free(net->conns_by_place);
    hm_tally_free(net->conns_by_account);
    hm_files_free(net->files);
    free(net);
}
