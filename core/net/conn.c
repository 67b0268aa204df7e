// What a WebSocket connection does with its messages: calls go to the engine, feed.open and feed.close are
// answered here, and everything that goes out is queued as frames. Loop thread only. A connection may be gone
// when its answer comes: the rpc peer then swallows it, and the caller, which is refcounted, has no
// connection any more.
#include "net/inside.h"
#include <assert.h>
#include <stdlib.h>

#define OUT_PAUSE (1u << 20) // bytes waiting after which no more is read from the client

void hm_conn_send(struct hm_conn *conn, struct hm_out *out) {
    if (conn->closing) return;
    hm_queue_push(&conn->out, out);
    conn->net->counts.messages_out++;
    if (conn->out.bytes > OUT_PAUSE && !conn->paused) {
        conn->paused = true;
        lws_rx_flow_control(conn->wsi, 0);
    }
    hm_ws_dirty(conn);
}

// ---- feed ---------------------------------------------------------------------------------------

static struct hm_store *feed_store(void *arg, const char *institution) {
    return hm_engine_store(((struct hm_net *)arg)->engine, institution);
}

static uint64_t feed_told(void *arg, const char *institution) {
    return hm_engine_told(((struct hm_net *)arg)->engine, institution);
}

static void feed_deliver(void *owner, struct hm_out *frame) {
    hm_conn_send(owner, frame);
}

static void feed_drop(void *owner) {
    hm_queue_drop_feed(&((struct hm_conn *)owner)->out);
}

static void feed_closed(void *owner) {
    struct hm_conn *conn = owner;
    conn->sub = NULL;
    hm_presence_leave(conn->present);
    conn->present = NULL;
}

const struct hm_feed_ops hm_conn_feed_ops = {feed_store, feed_told,   feed_deliver,
                                             feed_drop,  feed_closed, NULL};

static void answer_error(hm_answer_fn answer, void *arg, const struct hm_error *err) {
    answer(arg, &(struct hm_answer){.code = err->code, .message = hm_str_of(err->message)});
}

// Behind the answer to the call that opened the feed, and not sooner: others may be answered before it.
static void feed_start(void *owner, const void *arg) {
    struct hm_conn *conn = owner;
    if (conn->sub && conn->opened_by == arg) hm_sub_start(conn->sub);
}

static void feed_open(struct hm_conn *conn, struct hm_str params, hm_answer_fn answer, void *arg) {
    struct hm_error err = {0};
    struct hm_json value = {0};
    struct hm_buf result = {0}, errors = {0}, data = {0};
    struct hm_sub *sub = NULL;
    hm_people_sync(conn);
    if (!conn->session || conn->session->ended) {
        hm_fail(&err, HM_UNAUTHENTICATED,
                "sign in before opening the feed (session.login or session.resume)");
        answer_error(answer, arg, &err);
        return;
    }
    hm_sub_close(conn->sub); // opening again begins again
    if (params.len) hm_json_parse(params, &value, NULL);
    if (!hm_feed_open(conn->net->feed, conn->session, conn, value, &result, &sub, &errors, &err)) {
        if (errors.len) hm_buf_printf(&data, "{\"errors\":[%s]}", errors.data);
        answer(arg, &(struct hm_answer){.code = err.code,
                                        .message = errors.len ? HM_LIT("") : hm_str_of(err.message),
                                        .data = hm_buf_view(&data)});
    } else {
        conn->sub = sub;
        conn->opened_by = arg;
        hm_rpc_after(arg, feed_start);
        conn->present = hm_presence_join(conn->net->presence, conn->session);
        answer(arg, &(struct hm_answer){.result = hm_buf_view(&result)});
    }
    hm_buf_free(&result);
    hm_buf_free(&errors);
    hm_buf_free(&data);
}

static void feed_close(struct hm_conn *conn, hm_answer_fn answer, void *arg) {
    hm_sub_close(conn->sub);
    answer(arg, &(struct hm_answer){.result = HM_LIT("{}")});
}

// ---- presence -----------------------------------------------------------------------------------

static void presence_frame(struct hm_conn *conn, void *arg) {
    if (conn->sub) hm_sub_notice(conn->sub, arg);
}

static void presence_tell(void *arg, const char *institution, struct hm_str person, struct hm_out *frame) {
    hm_people_each(((struct hm_net *)arg)->people, institution, person, NULL, presence_frame, frame);
}

const struct hm_presence_ops hm_conn_presence_ops = {feed_store, presence_tell, NULL};

static void presence_list(struct hm_conn *conn, struct hm_str params, hm_answer_fn answer, void *arg) {
    struct hm_json value = {0};
    struct hm_buf result = {0}, errors = {0}, data = {0};
    struct hm_error err = {0};
    hm_people_sync(conn);
    if (params.len) hm_json_parse(params, &value, NULL);
    if (!conn->session || conn->session->ended) {
        hm_fail(&err, HM_UNAUTHENTICATED, "sign in first (session.login or session.resume)");
        answer_error(answer, arg, &err);
    } else if (!hm_feed_params_none(value, &errors)) {
        hm_buf_printf(&data, "{\"errors\":[%s]}", errors.data);
        answer(arg, &(struct hm_answer){.code = HM_PARAMS, .data = hm_buf_view(&data)});
    } else {
        hm_presence_list(conn->net->presence, conn->session, &result);
        answer(arg, &(struct hm_answer){.result = hm_buf_view(&result)});
    }
    hm_buf_free(&result);
    hm_buf_free(&errors);
    hm_buf_free(&data);
}

// ---- signing in ---------------------------------------------------------------------------------

struct signing {
    struct hm_caller *caller; // owned reference
    hm_answer_fn answer;
    void *arg;
    bool fresh; // the sign-in was made by this call, so nobody else has it
};

static void ignore(void *arg, const struct hm_answer *answer) {
    (void)arg;
    (void)answer;
}

// Takes the session off the connection; a fresh one is ended, too, or each try would leave one behind.
static void turn_away(struct hm_conn *conn, bool fresh) {
    struct hm_caller *caller = hm_caller_new();
    caller->session = conn->caller->session;
    conn->caller->session = NULL;
    if (fresh)
        hm_engine_call(conn->net->engine, caller, HM_LIT("session.logout"), HM_LIT("{}"), ignore, NULL);
    hm_caller_unref(caller);
}

static bool account_full(const struct hm_conn *conn, const struct hm_session *session) {
    char key[HM_ACCOUNT_KEY_MAX], mine[HM_ACCOUNT_KEY_MAX] = "";
    if (conn->caller->loopback && !conn->net->settings->limit_loopback) return false;
    hm_account_key(session, key);
    if (conn->session) hm_account_key(conn->session, mine);
    unsigned others = hm_tally_of(conn->net->conns_by_account, key) - (strcmp(key, mine) == 0);
    return others >= conn->net->settings->connections_per_account;
}

static void signed_in(void *arg, const struct hm_answer *answer) {
    struct signing *s = arg;
    struct hm_conn *conn = s->caller->net;
    const struct hm_session *now = s->caller->session;
    if (conn && now && now != conn->session && !answer->code && account_full(conn, now)) {
        conn->net->counts.refused[HM_REFUSED_ACCOUNT]++;
        turn_away(conn, s->fresh);
        s->answer(s->arg, &(struct hm_answer){
                              .code = HM_TOO_MANY,
                              .message = HM_LIT("this account has too many connections; close one of them"),
                              .data = HM_LIT("{\"reason\":\"connections\",\"retry_after\":30}")});
    } else {
        s->answer(s->arg, answer);
    }
    hm_caller_unref(s->caller);
    free(s);
}

static bool begins_session(struct hm_str method) {
    return hm_str_eq(method, HM_LIT("session.login")) || hm_str_eq(method, HM_LIT("session.accept")) ||
           hm_str_eq(method, HM_LIT("session.resume"));
}

static void sign_in(struct hm_conn *conn, struct hm_str method, struct hm_str params, hm_answer_fn answer,
                    void *arg) {
    struct signing *s = hm_alloc(sizeof *s);
    *s = (struct signing){hm_caller_ref(conn->caller), answer, arg,
                          !hm_str_eq(method, HM_LIT("session.resume"))};
    hm_engine_call(conn->net->engine, conn->caller, method, params, signed_in, s);
}

// ---- calls --------------------------------------------------------------------------------------

static void call(void *owner, struct hm_json request, struct hm_str method, struct hm_str params,
                 hm_answer_fn answer, void *arg) {
    struct hm_conn *conn = owner;
    (void)request;
    if (hm_str_eq(method, HM_LIT("feed.open")))
        feed_open(conn, params, answer, arg);
    else if (hm_str_eq(method, HM_LIT("feed.close")))
        feed_close(conn, answer, arg);
    else if (hm_str_eq(method, HM_LIT("presence.list")))
        presence_list(conn, params, answer, arg);
    else if (begins_session(method))
        sign_in(conn, method, params, answer, arg);
    else
        hm_engine_call(conn->net->engine, conn->caller, method, params, answer, arg);
}

static void reply(void *owner, struct hm_str text) {
    struct hm_conn *conn = owner;
    hm_people_sync(conn); // the call may have signed somebody in or out
    if (text.len) {
        struct hm_out *out = hm_out_new(text);
        hm_conn_send(conn, out);
        hm_out_unref(out);
    }
}

static const struct hm_rpc_ops rpc_ops = {call, reply};

struct hm_conn *hm_conn_new(struct hm_net *net, struct lws *wsi, const struct hm_client *client) {
    struct hm_conn *conn = hm_alloc(sizeof *conn);
    conn->net = net;
    conn->wsi = wsi;
    conn->sock = hm_sock_of(wsi);
    conn->sock->conn = conn;
    conn->place = hm_sock_place_enter(net, client);
    conn->caller = hm_caller_new();
    snprintf(conn->caller->address, sizeof conn->caller->address, "%s", client->address);
    conn->caller->loopback = client->loopback;
    conn->caller->persistent = true;
    conn->caller->net = conn;
    conn->peer = hm_rpc_peer_new(&rpc_ops, conn);
    conn->next = net->conns;
    if (net->conns) net->conns->prev = conn;
    net->conns = conn;
    net->conn_count++;
    net->counts.opened++;
    return conn;
}

void hm_conn_free(struct hm_conn *conn) {
    if (!conn) return;
    struct hm_net *net = conn->net;
    conn->sock->conn = NULL;
    hm_sub_close(conn->sub);
    hm_people_leave(conn);
    hm_tally_down(net->conns_by_place, conn->place);
    hm_rpc_peer_close(conn->peer);
    conn->caller->net = NULL;
    hm_caller_unref(conn->caller);
    hm_queue_clear(&conn->out);
    net->partial_bytes -= conn->in.len;
    hm_buf_free(&conn->in);
    if (conn->is_dirty) {
        struct hm_conn **at = &net->dirty;
        while (*at != conn)
            at = &(*at)->next_dirty;
        *at = conn->next_dirty;
    }
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        net->conns = conn->next;
    if (conn->next) conn->next->prev = conn->prev;
    net->conn_count--;
    free(conn);
}
