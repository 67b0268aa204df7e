// Reactions of plugins to what was committed. One at a time and in the order of the change log, each as a
// call of the system. They are remembered in memory only: what was committed but not reacted to when the
// server ends is lost (README). What always holds: a reaction to a reaction to a … ends at DEPTH_MAX, so
// that two plugins cannot call each other for ever.
#include "base/log.h"
#include "engine/internal.h"
#include "store/shape.h"

#include <stdlib.h>
#include <utlist.h>

#define DEPTH_MAX 5u
#define WAITING_MAX 10000u

struct reaction {
    struct reaction *prev, *next;
    char *params;
    unsigned depth;
};

static const char *action_name(enum hm_action action) {
    return action == HM_CREATED ? "created" : action == HM_UPDATED ? "updated" : "deleted";
}

static void change_json(const struct hm_change *c, struct hm_buf *b) {
    hm_buf_text(b, "{\"change\":{");
    hm_json_member_int(b, "seq", (int64_t)c->seq);
    hm_json_member_int(b, "time", c->time_ms);
    hm_json_member_str(b, "by", c->by);
    hm_json_member_str(b, "method", c->method);
    hm_json_member_str(b, "action", hm_str_of(action_name(c->action)));
    hm_json_member_str(b, "type", c->type);
    hm_json_member_str(b, "id", c->id);
    hm_json_member_raw(b, "record", c->json.len ? c->json : HM_LIT("null"));
    hm_buf_text(b, "}}");
}

static unsigned depth_of(const struct commit_item *items, uint64_t seq) {
    for (; items; items = items->next)
        if (items->ok && items->commit.code == HM_OK && seq >= items->commit.first_seq &&
            seq <= items->commit.last_seq)
            return items->depth;
    return 0;
}

static bool hidden(struct institution *inst, struct hm_str name) {
    struct hm_types *types = hm_store_types(inst->store);
    const struct hm_type *type = hm_types_find(types, name);
    bool is = type && type->hidden;
    hm_types_unref(types);
    return is;
}

void hm_react_changes(struct institution *inst, const struct commit_item *items,
                      const struct hm_change *changes, size_t count) {
    if (!inst->catalogue || !inst->catalogue->events) return;
    for (size_t i = 0; i < count; i++) {
        const struct hm_change *c = &changes[i];
        if (hm_str_eq(c->method, HM_LIT(HM_UPGRADE))) continue; // nothing has happened to it
        if (!hm_cat_reacts(inst->catalogue, c->type, c->action) || hidden(inst, c->type)) continue;
        unsigned depth = depth_of(items, c->seq);
        if (depth >= DEPTH_MAX || inst->reaction_count >= WAITING_MAX) {
            inst->engine->counters.reactions_dropped++;
            hm_log(HM_ERROR, "reaction.dropped", "\"institution\":\"%s\",\"seq\":%llu,\"depth\":%u", inst->id,
                   (unsigned long long)c->seq, depth);
            continue;
        }
        struct reaction *r = hm_alloc(sizeof *r);
        struct hm_buf params = {0};
        change_json(c, &params);
        r->params = params.data;
        r->depth = depth + 1;
        DL_APPEND(inst->reactions, r);
        inst->reaction_count++;
    }
    hm_inst_touch(inst);
}

static void reacted(void *arg, const struct hm_answer *answer) {
    struct institution *inst = arg;
    inst->reacting = NULL;
    if (answer->code && !inst->engine->closing)
        hm_log(HM_ERROR, "reaction.failed", "\"institution\":\"%s\",\"code\":%d", inst->id,
               (int)answer->code);
    hm_inst_touch(inst);
}

void hm_react_next(struct institution *inst) {
    struct reaction *r = inst->reactions;
    if (!r || inst->reacting || inst->engine->draining) return;
    DL_DELETE(inst->reactions, r);
    inst->reaction_count--;
    struct call *call =
        hm_call_new(inst->engine, inst, NULL, HM_LIT("$react"), hm_str_of(r->params), reacted, inst);
    call->depth = r->depth;
    free(r->params);
    free(r);
    hm_call_system(call);
    inst->reacting = call;
    hm_call_enqueue(call, false);
}

void hm_react_close(struct institution *inst) {
    while (inst->reactions) {
        struct reaction *r = inst->reactions;
        DL_DELETE(inst->reactions, r);
        free(r->params);
        free(r);
    }
    inst->reaction_count = 0;
}
