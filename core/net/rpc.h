// JSON-RPC 2.0: one incoming text (request, notification or batch) in, at most one text out. Knows no
// transport and no engine: both are given as functions, so that it can be tried and fuzzed alone. Loop thread
// only.
#pragma once
#include "base/json.h"
#include "engine/engine.h"

#define HM_RPC_BATCH_MAX 50

struct hm_rpc_ops {
    // Runs one method. request is the whole request object, params a JSON object or array (or empty); all are
    // borrowed during the call. answer is called exactly once, now or later, also after the peer was closed.
    void (*call)(void *owner, struct hm_json request, struct hm_str method, struct hm_str params,
                 hm_answer_fn answer, void *arg);
    // The one outcome of each text that hm_rpc_take took: what to send back, or nothing when len is 0.
    void (*reply)(void *owner, struct hm_str text);
};

// Where answers go, kept alive by the calls under way; a closed one swallows them.
struct hm_rpc_peer;
struct hm_rpc_peer *hm_rpc_peer_new(const struct hm_rpc_ops *ops, void *owner);
void hm_rpc_peer_close(
    struct hm_rpc_peer *peer); // owner is never used again; gives up the caller's reference
// False when the text is not UTF-8: then nothing was done and there will be no reply.
bool hm_rpc_take(struct hm_rpc_peer *peer, struct hm_str text);
// From within ops->call: fn is called once, right behind the reply to the text that the call came in, unless
// the peer was closed by then. arg is the answer's.
void hm_rpc_after(void *arg, void (*fn)(void *owner, const void *arg));
// Appends a whole error response; id is JSON text, empty means null.
void hm_rpc_put_error(struct hm_buf *out, struct hm_str id, const struct hm_answer *answer);
// Appends a notification to a client.
void hm_rpc_put_notice(struct hm_buf *out, const char *method, struct hm_str params);
