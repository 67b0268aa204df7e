// JSON-RPC 2.0 as its specification has it. Loop thread only. What always holds: each text that was taken is
// replied to exactly once (perhaps with nothing to send), after its last call was answered; a call keeps the
// peer and its message alive, so answers may come after the connection has gone.
#include "net/rpc.h"
#include <assert.h>
#include <stdlib.h>

struct hm_rpc_peer {
    unsigned refs;
    const struct hm_rpc_ops *ops;
    void *owner; // NULL once closed
};

struct call {
    struct message *message;
    bool silent;       // a notification
    char *id;          // JSON text as it came; NULL means null
    struct hm_buf out; // the response, kept until the whole batch has its answers
    void (*after)(void *owner, const void *arg);
};

struct message { // one incoming text
    struct hm_rpc_peer *peer;
    size_t waiting; // calls not yet answered, and one while they are still being started
    bool batch;
    size_t count;
    struct call calls[];
};

struct hm_rpc_peer *hm_rpc_peer_new(const struct hm_rpc_ops *ops, void *owner) {
    struct hm_rpc_peer *peer = hm_alloc(sizeof *peer);
    *peer = (struct hm_rpc_peer){.refs = 1, .ops = ops, .owner = owner};
    return peer;
}

static void peer_unref(struct hm_rpc_peer *peer) {
    assert(peer->refs > 0);
    if (--peer->refs == 0) free(peer);
}

void hm_rpc_peer_close(struct hm_rpc_peer *peer) {
    if (!peer) return;
    peer->owner = NULL;
    peer_unref(peer);
}

// ---- writing ------------------------------------------------------------------------------------

static void put_head(struct hm_buf *out) {
    hm_buf_text(out, "{\"jsonrpc\":\"2.0\"");
}

static void put_id(struct hm_buf *out, struct hm_str id) {
    hm_buf_text(out, ",\"id\":");
    hm_buf_str(out, id.len ? id : HM_LIT("null"));
    hm_buf_char(out, '}');
}

// What the specification itself says is wrong with an envelope or a name needs no explanation, and its
// examples have none.
static bool explains_itself(enum hm_code code) {
    return code == HM_PARSE || code == HM_REQUEST || code == HM_METHOD;
}

// `message` is the protocol's text for the code; the sentence that helps goes into data.message.
static void put_data(struct hm_buf *out, const struct hm_answer *answer) {
    struct hm_json data = {0}, had;
    bool object = answer->data.len && hm_json_parse(answer->data, &data, NULL) && data.kind == HM_JSON_OBJECT;
    bool detail = answer->message.len && !explains_itself(answer->code) &&
                  !hm_str_eq(answer->message, hm_str_of(hm_code_message(answer->code))) &&
                  !(object && hm_json_get(data, "message", &had));
    if (!detail) {
        if (object && hm_json_count(data)) hm_json_member_raw(out, "data", data.raw);
        return;
    }
    hm_json_key(out, "data");
    hm_buf_char(out, '{');
    hm_json_member_str(out, "message", answer->message);
    if (object && hm_json_count(data)) {
        hm_buf_char(out, ',');
        hm_buf_add(out, data.raw.ptr + 1, data.raw.len - 1); // its members and its closing brace
    } else {
        hm_buf_char(out, '}');
    }
}

void hm_rpc_put_error(struct hm_buf *out, struct hm_str id, const struct hm_answer *answer) {
    put_head(out);
    hm_buf_text(out, ",\"error\":{");
    hm_json_member_int(out, "code", answer->code);
    hm_json_member_str(out, "message", hm_str_of(hm_code_message(answer->code)));
    put_data(out, answer);
    hm_buf_char(out, '}');
    put_id(out, id);
}

static void put_response(struct hm_buf *out, struct hm_str id, const struct hm_answer *answer) {
    if (answer->code) {
        hm_rpc_put_error(out, id, answer);
        return;
    }
    hm_buf_reserve(out, answer->result.len + id.len + 48);
    put_head(out);
    hm_buf_text(out, ",\"result\":");
    hm_buf_str(out, answer->result.len ? answer->result : HM_LIT("null"));
    put_id(out, id);
}

void hm_rpc_put_notice(struct hm_buf *out, const char *method, struct hm_str params) {
    put_head(out);
    hm_json_member_str(out, "method", hm_str_of(method));
    hm_json_member_raw(out, "params", params.len ? params : HM_LIT("{}"));
    hm_buf_char(out, '}');
}

// ---- answers ------------------------------------------------------------------------------------

static void reply(struct hm_rpc_peer *peer, struct hm_str text) {
    if (peer->owner) peer->ops->reply(peer->owner, text);
}

static void message_end(struct message *message) {
    struct hm_buf out = {0};
    if (message->batch) {
        for (size_t i = 0; i < message->count; i++) {
            if (!message->calls[i].out.len) continue;
            hm_buf_char(&out, out.len ? ',' : '[');
            hm_buf_str(&out, hm_buf_view(&message->calls[i].out));
        }
        if (out.len) hm_buf_char(&out, ']');
        reply(message->peer, hm_buf_view(&out));
    } else {
        reply(message->peer, hm_buf_view(&message->calls[0].out));
    }
    hm_buf_free(&out);
    for (size_t i = 0; i < message->count; i++) {
        struct call *call = &message->calls[i];
        if (call->after && message->peer->owner) call->after(message->peer->owner, call);
        hm_buf_free(&message->calls[i].out);
        free(message->calls[i].id);
    }
    peer_unref(message->peer);
    free(message);
}

void hm_rpc_after(void *arg, void (*fn)(void *owner, const void *arg)) {
    ((struct call *)arg)->after = fn;
}

static void message_step(struct message *message) {
    assert(message->waiting > 0);
    if (--message->waiting == 0) message_end(message);
}

static void answered(void *arg, const struct hm_answer *answer) {
    struct call *call = arg;
    if (!call->silent && call->message->peer->owner) put_response(&call->out, hm_str_of(call->id), answer);
    message_step(call->message);
}

// ---- requests -----------------------------------------------------------------------------------

static void refuse(struct call *call, enum hm_code code) {
    call->silent = false;
    hm_rpc_put_error(&call->out, hm_str_of(call->id), &(struct hm_answer){.code = code});
}

struct envelope {
    struct hm_json id, method, params;
    bool version, has_id, has_params;
};

static struct envelope read_envelope(struct hm_json request) {
    struct envelope e = {0};
    struct hm_json key, value;
    bool seen_version = false;
    struct hm_json_iter it = hm_json_iter(request);
    while (hm_json_next(&it, &key, &value)) { // of members with one name the first counts
        if (!seen_version && hm_json_key_is(key, HM_LIT("jsonrpc"))) {
            seen_version = true;
            e.version = value.kind == HM_JSON_STRING && hm_str_eq(value.raw, HM_LIT("\"2.0\""));
        } else if (!e.has_id && hm_json_key_is(key, HM_LIT("id"))) {
            e.has_id = true;
            e.id = value;
        } else if (!e.method.raw.len && hm_json_key_is(key, HM_LIT("method"))) {
            e.method = value;
        } else if (!e.has_params && hm_json_key_is(key, HM_LIT("params"))) {
            e.has_params = true;
            e.params = value;
        }
    }
    return e;
}

static void start(struct call *call, struct hm_json request) {
    struct hm_rpc_peer *peer = call->message->peer;
    if (request.kind != HM_JSON_OBJECT) {
        refuse(call, HM_REQUEST);
        return;
    }
    struct envelope e = read_envelope(request);
    bool id_ok =
        e.has_id && (e.id.kind == HM_JSON_STRING || e.id.kind == HM_JSON_NUMBER || e.id.kind == HM_JSON_NULL);
    if (id_ok) call->id = hm_str_dup(e.id.raw);
    call->silent = !e.has_id;
    bool params_ok = !e.has_params || e.params.kind == HM_JSON_OBJECT || e.params.kind == HM_JSON_ARRAY;
    if (!e.version || e.method.kind != HM_JSON_STRING || !e.method.raw.len || (e.has_id && !id_ok) ||
        !params_ok) {
        refuse(call, HM_REQUEST);
        return;
    }
    struct hm_buf method = {0};
    if (!hm_json_string(e.method, &method)) {
        refuse(call, HM_REQUEST);
    } else {
        call->message->waiting++;
        peer->ops->call(peer->owner, request, hm_buf_view(&method),
                        e.has_params ? e.params.raw : (struct hm_str){0}, answered, call);
    }
    hm_buf_free(&method);
}

static struct message *message_new(struct hm_rpc_peer *peer, bool batch, size_t count) {
    struct message *message = hm_alloc(sizeof *message + count * sizeof message->calls[0]);
    peer->refs++;
    message->peer = peer;
    message->waiting = 1;
    message->batch = batch;
    message->count = count;
    for (size_t i = 0; i < count; i++)
        message->calls[i].message = message;
    return message;
}

static void reply_error(struct hm_rpc_peer *peer, const struct hm_answer *answer) {
    struct hm_buf out = {0};
    hm_rpc_put_error(&out, (struct hm_str){0}, answer);
    reply(peer, hm_buf_view(&out));
    hm_buf_free(&out);
}

bool hm_rpc_take(struct hm_rpc_peer *peer, struct hm_str text) {
    struct hm_json value;
    if (!hm_json_parse(text, &value, NULL)) {
        if (!hm_utf8_valid(text)) return false;
        reply_error(peer, &(struct hm_answer){.code = HM_PARSE});
        return true;
    }
    bool batch = value.kind == HM_JSON_ARRAY;
    size_t count = batch ? hm_json_count(value) : 1;
    if (count == 0) {
        reply_error(peer, &(struct hm_answer){.code = HM_REQUEST});
        return true;
    }
    if (count > HM_RPC_BATCH_MAX) {
        reply_error(peer, &(struct hm_answer){.code = HM_TOO_LARGE,
                                              .message = HM_LIT("a batch has at most 50 calls; send several"),
                                              .data = HM_LIT("{\"limit\":50}")});
        return true;
    }
    struct message *message = message_new(peer, batch, count);
    if (batch) {
        struct hm_json_iter it = hm_json_iter(value);
        struct hm_json element;
        // The peer may be closed by what a call does: then the rest is not started.
        for (size_t i = 0; peer->owner && hm_json_next(&it, NULL, &element); i++)
            start(&message->calls[i], element);
    } else {
        start(&message->calls[0], value);
    }
    message_step(message);
    return true;
}
