// Any bytes as a JSON-RPC message: whatever comes in, exactly one reply goes out (or none when it is not
// UTF-8), and it is empty or JSON. The first byte decides when calls are answered and whether the peer is
// closed in between.
#include "net/rpc.h"
#include <stdlib.h>

enum { AT_ONCE, LATER, LATER_AFTER_CLOSE, MODES };

struct waiting {
    hm_answer_fn answer;
    void *arg;
};
struct world {
    int mode;
    unsigned replies;
    struct waiting waiting[HM_RPC_BATCH_MAX];
    size_t count;
};

static void answer_one(struct waiting w, size_t i) {
    if (i % 3 == 2)
        w.answer(w.arg,
                 &(struct hm_answer){.code = HM_CONFLICT,
                                     .message = HM_LIT("a \"reason\""),
                                     .data = i % 2 ? HM_LIT("{\"reason\":\"full\"}") : (struct hm_str){0}});
    else
        w.answer(w.arg, &(struct hm_answer){.result = HM_LIT("{\"a\":[1,2]}")});
}

static void call(void *owner, struct hm_json request, struct hm_str method, struct hm_str params,
                 hm_answer_fn answer, void *arg) {
    struct world *world = owner;
    struct hm_json value;
    if (request.kind != HM_JSON_OBJECT || (params.len && !hm_json_parse(params, &value, NULL)) ||
        !hm_utf8_valid(method))
        abort();
    struct waiting w = {answer, arg};
    if (world->mode == AT_ONCE)
        answer_one(w, world->count++ % HM_RPC_BATCH_MAX);
    else
        world->waiting[world->count++] = w;
}

static void reply(void *owner, struct hm_str text) {
    struct world *world = owner;
    struct hm_json value;
    if (text.len && !hm_json_parse(text, &value, NULL)) abort();
    world->replies++;
}

static const struct hm_rpc_ops ops = {call, reply};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct world world = {.mode = size ? data[0] % MODES : AT_ONCE};
    struct hm_rpc_peer *peer = hm_rpc_peer_new(&ops, &world);
    // A copy of exactly its size, so that a read past the end is seen.
    size_t len = size ? size - 1 : 0;
    char *text = malloc(len ? len : 1);
    if (!text) abort();
    if (len) memcpy(text, data + 1, len);
    bool taken = hm_rpc_take(peer, (struct hm_str){text, len});
    free(text);
    if (world.mode == LATER_AFTER_CLOSE) {
        if (world.replies > 1) abort();
        hm_rpc_peer_close(peer);
    }
    if (world.mode != AT_ONCE)
        for (size_t i = world.count; i-- > 0;)
            answer_one(world.waiting[i], i);
    if (world.mode != LATER_AFTER_CLOSE) {
        if (world.replies != (taken ? 1u : 0u)) abort();
        hm_rpc_peer_close(peer);
    }
    return 0;
}
