// Reactions of plugins to what was committed. Loop thread.
//
// Each plugin with `on` has a lane. A lane looks for what concerns its plugin in the change log, gives it to
// a worker as a call of the system, and commits with what the reaction writes how far it has come (the hidden
// record "reacted"). What always holds: a plugin's reactions run one after the other, in the order of the
// log; what one wrote and that it ran are one transaction, so its effects are there exactly once, whatever
// dies when, and a reaction without effects runs at least once; a lane waits for its own failures only. What
// fails again and again is set aside, as a record too, and the lane goes on. A reaction to a reaction to a …
// ends at DEPTH_MAX: how deep a change is, its method in the log says ("$react", "$react/2", …).
#include "base/clock.h"
#include "base/log.h"
#include "engine/internal.h"
#include "store/shape.h"

#include <stdio.h>
#include <stdlib.h>

#define DEPTH_MAX 5u
#define LOOKED_MAX 5000u // entries of the log a turn of the loop
#define TOGETHER_MAX 16u // changes for one call
#define TOGETHER_BYTES (1u << 20)
#define UNWRITTEN_MAX 10000u // changes of no concern after which a lane's place is written down
#define ASIDE_MAX 200u       // of one plugin; more are told in the log only
#define TRIES_MAX 8u
#define RETRY_MS 1000u
#define RETRY_MAX_US 60000000u

struct lane {
    UT_hash_handle hh;
    struct institution *institution;
    char key[HM_PLUGIN_KEY]; // "kind/id"
    bool present;            // the plugin declares reactions
    uint64_t wanted;         // from this change on there may be something; 0: nothing is known of
    uint64_t written;        // as far as its record says
    struct call *call;       // under way, of the changes from..to
    uint64_t from, to;
    unsigned count;      // of them, that concern it
    uint64_t alone_till; // after a failure they are given one by one, up to this one
    unsigned tries;
    uint64_t not_before_us;
    bool busy;      // a commit of its own is under way
    unsigned aside; // set aside
};

static const char *action_name(enum hm_action action) {
    return action == HM_CREATED ? "created" : action == HM_UPDATED ? "updated" : "deleted";
}

static void plugin_members(struct hm_buf *b, const char *key) {
    const char *slash = strchr(key, '/');
    hm_json_member_str(b, "kind", (struct hm_str){key, (size_t)(slash - key)});
    hm_json_member_str(b, "plugin", hm_str_of(slash + 1));
}

// ---- failures, of timers, too --------------------------------------------------------------------------

uint64_t hm_retry_us(const struct hm_engine *engine, unsigned tries) {
    uint64_t first = engine->settings.reaction_retry_ms ? engine->settings.reaction_retry_ms : RETRY_MS;
    uint64_t wait = first * 1000u << (tries < 16 ? tries : 16);
    return wait < RETRY_MAX_US ? wait : RETRY_MAX_US;
}

bool hm_failure_own(const struct hm_answer *answer) {
    return answer->code != HM_UNAVAILABLE && answer->code != HM_TOO_MANY;
}

void hm_failure_members(struct hm_buf *out, const struct hm_answer *answer) {
    static const char *const told[] = {"version", "file", "line"};
    struct hm_json data, value;
    hm_json_member_int(out, "code", answer->code);
    if (!answer->data.len || !hm_json_parse(answer->data, &data, NULL)) return;
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        if (hm_json_get(data, told[i], &value)) hm_json_member_raw(out, told[i], value.raw);
}

static unsigned tries_max(const struct hm_engine *engine) {
    return engine->settings.reaction_tries ? engine->settings.reaction_tries : TRIES_MAX;
}

// ---- its records ---------------------------------------------------------------------------------------
// "kind/id": {"kind","plugin","seq"}; "kind/id/seq": what was set aside, {"kind","plugin","seq","event","id",
// "time","tries","code",…}

static void put_place(struct commit_item *item, const struct lane *lane, uint64_t seq) {
    struct hm_buf data = {0};
    hm_buf_char(&data, '{');
    plugin_members(&data, lane->key);
    hm_json_member_int(&data, "seq", (int64_t)seq);
    hm_buf_char(&data, '}');
    hm_item_put(item, "reacted", hm_str_of(lane->key), HM_ANY_VERSION, hm_buf_view(&data), "");
    hm_buf_free(&data);
}

static void aside_id(char out[HM_ID_MAX + 32], const char *key, uint64_t seq) {
    snprintf(out, HM_ID_MAX + 32, "%s/%llu", key, (unsigned long long)seq);
}

static bool read_place(struct institution *inst, const char *key, uint64_t *seq) {
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_json data;
    bool found = false;
    if (!hm_read_begin(inst->store, &read, NULL)) return false;
    found = hm_read_data(read, "reacted", hm_str_of(key), &record, &data);
    if (found) *seq = (uint64_t)hm_json_number(data, "seq");
    hm_read_end(read);
    return found;
}

struct counting {
    const char *key;
    unsigned count;
};

static bool count_one(void *arg, const struct hm_record *record, struct hm_json data) {
    struct counting *c = arg;
    size_t len = strlen(c->key);
    (void)data;
    c->count +=
        record->id.len > len && memcmp(record->id.ptr, c->key, len) == 0 && record->id.ptr[len] == '/';
    return true;
}

static unsigned count_aside(struct institution *inst, const char *key) {
    struct counting c = {.key = key};
    struct hm_read *read = NULL;
    if (!hm_read_begin(inst->store, &read, NULL)) return 0;
    struct hm_types *types = hm_store_types(inst->store);
    hm_read_each(read, types, "reacted", NULL, HM_LIT(""), false, count_one, &c);
    hm_types_unref(types);
    hm_read_end(read);
    return c.count;
}

// ---- which lanes there are -----------------------------------------------------------------------------

static struct lane *lane_of(struct institution *inst, const char *key) {
    struct lane *lane = NULL;
    HASH_FIND_STR(inst->lanes, key, lane);
    if (lane) return lane;
    lane = hm_alloc(sizeof *lane);
    lane->institution = inst;
    snprintf(lane->key, sizeof lane->key, "%s", key);
    HASH_ADD_STR(inst->lanes, key, lane);
    return lane;
}

static void log_lane(enum hm_level level, const char *event, const struct lane *lane, uint64_t from,
                     uint64_t to) {
    hm_log(level, event, "\"institution\":\"%s\",\"plugin\":\"%s\",\"from\":%llu,\"to\":%llu",
           lane->institution->id, lane->key, (unsigned long long)from, (unsigned long long)to);
}

// It reacts from now on; or goes on where it was.
static void lane_begin(struct lane *lane, struct commit_item *item) {
    struct institution *inst = lane->institution;
    uint64_t seq = 0;
    lane->present = true;
    lane->tries = 0;
    if (!read_place(inst, lane->key, &seq)) {
        seq = inst->told;
        put_place(item, lane, seq);
    } else if (seq > inst->told) {
        log_lane(HM_ERROR, "reaction.log_shorter", lane, inst->told, seq);
        seq = inst->told;
    }
    lane->written = seq;
    lane->aside = count_aside(inst, lane->key);
    lane->wanted = seq < inst->told ? seq + 1 : 0;
}

void hm_react_catalogue(struct institution *inst) {
    struct commit_item *item = hm_item_new(inst, "", "react");
    struct lane *lane, *next;
    const struct cat_event *event, *next_event;
    HASH_ITER(hh, inst->catalogue->events, event, next_event) {
        for (size_t i = 0; i < event->plugin_count; i++) {
            lane = lane_of(inst, event->plugins[i]);
            if (!lane->present) lane_begin(lane, item);
            lane->not_before_us = 0; // another version may have mended it
        }
    }
    HASH_ITER(hh, inst->lanes, lane, next) {
        bool declared = false;
        HASH_ITER(hh, inst->catalogue->events, event, next_event) {
            declared = declared || hm_event_has(event, lane->key);
        }
        if (declared || !lane->present) continue;
        lane->present = false; // should it react again, then from that time on
        lane->wanted = 0;
        hm_item_remove(item, "reacted", hm_str_of(lane->key), HM_ANY_VERSION);
    }
    inst->reaction_due = true;
    if (item->intent_count)
        hm_item_submit(item, hm_item_ignored);
    else
        hm_item_free(item);
}

// ---- what concerns a lane ------------------------------------------------------------------------------

static unsigned depth_of(struct hm_str method) {
    static const struct hm_str word = {"$react", 6};
    if (method.len < word.len || memcmp(method.ptr, word.ptr, word.len) != 0) return 0;
    if (method.len == word.len) return 1;
    return method.len == word.len + 2 && method.ptr[word.len] == '/'
               ? (unsigned)(method.ptr[word.len + 1] - '0')
               : DEPTH_MAX;
}

static bool hidden(const struct hm_types *types, struct hm_str name) {
    const struct hm_type *type = hm_types_find(types, name);
    return type && type->hidden;
}

void hm_react_changes(struct institution *inst, const struct hm_change *changes, size_t count) {
    if (!inst->catalogue || !inst->catalogue->events) return;
    for (size_t i = 0; i < count; i++) {
        const struct cat_event *event = hm_cat_event(inst->catalogue, changes[i].type, changes[i].action);
        for (size_t k = 0; event && k < event->plugin_count; k++) {
            struct lane *lane = NULL;
            HASH_FIND_STR(inst->lanes, event->plugins[k], lane);
            if (!lane || !lane->present) continue;
            if (!lane->wanted) lane->wanted = changes[i].seq;
            inst->reaction_due = true;
        }
    }
}

// The record before, from the log, which has every version. Erasing somebody is no occasion to hand on their
// name once more.
static void put_change(struct hm_read *read, const struct hm_change *c, struct hm_buf *b) {
    struct hm_change before = {0};
    bool told = c->previous && !hm_str_eq(c->method, HM_LIT("person.erase")) &&
                hm_log_get(read, c->previous, &before) && before.json.len;
    hm_buf_char(b, '{');
    hm_json_member_int(b, "seq", (int64_t)c->seq);
    hm_json_member_int(b, "time", c->time_ms);
    hm_json_member_str(b, "by", c->by);
    hm_json_member_str(b, "method", c->method);
    hm_json_member_str(b, "action", hm_str_of(action_name(c->action)));
    hm_json_member_str(b, "type", c->type);
    hm_json_member_str(b, "id", c->id);
    hm_json_member_raw(b, "record", c->json.len ? c->json : HM_LIT("null"));
    hm_json_member_raw(b, "before", told ? before.json : HM_LIT("null"));
    hm_buf_char(b, '}');
}

struct look {
    struct lane *lane;
    struct hm_read *read;
    struct hm_types *types;
    struct hm_buf params;
    unsigned looked, count, depth;
    uint64_t first, last, looked_to;
    bool too_deep;
};

static bool look_one(void *arg, const struct hm_change *c) {
    struct look *l = arg;
    struct lane *lane = l->lane;
    struct institution *inst = lane->institution;
    if (c->seq > inst->told) return false; // its own answer and the feed come first
    const struct cat_event *event = hm_cat_event(inst->catalogue, c->type, c->action);
    bool upgraded = hm_str_eq(c->method, HM_LIT(HM_UPGRADE)); // nothing has happened to it
    if (!upgraded && event && hm_event_has(event, lane->key) && !hidden(l->types, c->type)) {
        unsigned depth = depth_of(c->method);
        if (depth >= DEPTH_MAX) {
            inst->engine->counters.reactions_dropped++;
            log_lane(HM_ERROR, "reaction.too_deep", lane, c->seq, c->seq);
        } else {
            if (l->count) hm_buf_char(&l->params, ',');
            put_change(l->read, c, &l->params);
            if (!l->count) l->first = c->seq;
            if (depth > l->depth) l->depth = depth;
            l->last = c->seq;
            l->count++;
        }
    }
    l->looked_to = c->seq;
    bool alone = c->seq <= lane->alone_till;
    return ++l->looked < LOOKED_MAX && l->params.len < TOGETHER_BYTES &&
           l->count < (alone ? 1 : TOGETHER_MAX);
}

// The log may have been cut, or the store replaced: what is no longer there cannot be reacted to.
static void skip_missing(struct lane *lane, struct hm_read *read) {
    uint64_t first = hm_log_first(read);
    if (!first || first <= lane->wanted) return;
    log_lane(HM_ERROR, "reaction.log_cut", lane, lane->wanted, first - 1);
    lane->institution->engine->counters.reactions_dropped++;
    lane->wanted = first;
}

// ---- running -------------------------------------------------------------------------------------------

static void went_on(struct lane *lane, uint64_t to) {
    struct institution *inst = lane->institution;
    if (to < lane->written) to = lane->written; // it was begun before the plugin went and came back
    lane->tries = 0;
    lane->not_before_us = 0;
    lane->wanted = to < inst->told ? to + 1 : 0;
    inst->reaction_due = true;
    hm_inst_touch(inst);
}

static void set_aside(struct commit_item *item) {
    struct lane *lane = item->arg;
    lane->busy = false;
    if (item->ok && item->commit.code == HM_OK) {
        lane->aside += item->intent_count > 1;
        lane->written = lane->to;
        went_on(lane, lane->to);
    } else {
        lane->not_before_us = hm_mono_us() + hm_retry_us(lane->institution->engine, 0);
    }
}

static void give_up(struct lane *lane, const struct hm_answer *answer) {
    struct institution *inst = lane->institution;
    struct commit_item *item = hm_item_new(inst, "", "react");
    struct hm_read *read = NULL;
    struct hm_change c;
    char id[HM_ID_MAX + 32];
    inst->engine->counters.reactions_set_aside++;
    log_lane(HM_ERROR, "reaction.set_aside", lane, lane->from, lane->from);
    put_place(item, lane, lane->to);
    if (lane->aside < ASIDE_MAX && hm_read_begin(inst->store, &read, NULL)) {
        struct hm_buf data = {0};
        hm_buf_char(&data, '{');
        plugin_members(&data, lane->key);
        hm_json_member_int(&data, "seq", (int64_t)lane->from);
        if (hm_log_get(read, lane->from, &c)) {
            char event[HM_NAME_MAX + 20];
            snprintf(event, sizeof event, "%.*s.%s", (int)c.type.len, c.type.ptr, action_name(c.action));
            hm_json_member_str(&data, "event", hm_str_of(event));
            hm_json_member_str(&data, "id", c.id);
        }
        hm_json_member_int(&data, "time", item->commit.now_ms);
        hm_json_member_int(&data, "tries", lane->tries);
        hm_failure_members(&data, answer);
        hm_buf_char(&data, '}');
        aside_id(id, lane->key, lane->from);
        hm_item_put(item, "reacted", hm_str_of(id), HM_ANY_VERSION, hm_buf_view(&data), "");
        hm_buf_free(&data);
        hm_read_end(read);
    }
    lane->busy = true;
    item->arg = lane;
    hm_item_submit(item, set_aside);
}

static void failed(struct lane *lane, const struct hm_answer *answer) {
    struct hm_engine *engine = lane->institution->engine;
    if (!hm_failure_own(answer)) {
        lane->not_before_us = hm_mono_us() + hm_retry_us(engine, 0);
        return;
    }
    if (lane->count > 1) { // one of them: which, their own turns show
        lane->alone_till = lane->to;
        lane->institution->reaction_due = true;
        return;
    }
    engine->counters.reaction_failures++;
    lane->tries++;
    hm_log(HM_WARN, "reaction.failed",
           "\"institution\":\"%s\",\"plugin\":\"%s\",\"seq\":%llu,\"code\":%d,\"tries\":%u",
           lane->institution->id, lane->key, (unsigned long long)lane->from, (int)answer->code, lane->tries);
    if (lane->tries >= tries_max(engine))
        give_up(lane, answer);
    else
        lane->not_before_us = hm_mono_us() + hm_retry_us(engine, lane->tries - 1);
}

static void reacted(void *arg, const struct hm_answer *answer) {
    struct lane *lane = arg;
    struct institution *inst = lane->institution;
    lane->call = NULL;
    if (inst->engine->closing || !lane->present) return;
    if (answer->code) {
        failed(lane, answer);
    } else {
        inst->engine->counters.reactions += lane->count;
        went_on(lane, lane->to);
    }
    hm_inst_touch(inst);
}

// With what the reactions wrote.
static bool extend_place(struct call *call, struct commit_item *item, struct hm_str result,
                         struct hm_error *err) {
    struct lane *lane = call->arg;
    char method[24];
    (void)result, (void)err;
    if (call->depth > 1) {
        snprintf(method, sizeof method, "$react/%u", call->depth);
        item->commit.method = hm_item_keep(item, hm_str_of(method));
    }
    if (lane->present) {
        put_place(item, lane, lane->to);
        lane->written = lane->to; // should it not be committed, it is written again soon enough
    }
    return true;
}

static struct call *react_call(struct institution *inst, const char *key, struct hm_str changes,
                               hm_answer_fn answer, void *arg) {
    struct hm_buf params = {0};
    hm_buf_char(&params, '{');
    plugin_members(&params, key);
    hm_buf_text(&params, ",\"changes\":[");
    hm_buf_str(&params, changes);
    hm_buf_text(&params, "]}");
    struct call *call =
        hm_call_new(inst->engine, inst, NULL, HM_LIT("$react"), hm_buf_view(&params), answer, arg);
    hm_buf_free(&params);
    hm_call_system(call);
    return call;
}

static void lane_next(struct lane *lane) {
    struct institution *inst = lane->institution;
    struct look l = {.lane = lane};
    if (!hm_read_begin(inst->store, &l.read, NULL)) return; // the next tick looks again
    l.types = hm_store_types(inst->store);
    skip_missing(lane, l.read);
    l.looked_to = lane->wanted - 1;
    bool ok = hm_log_read(l.read, lane->wanted - 1, look_one, &l, NULL);
    hm_types_unref(l.types);
    hm_read_end(l.read);
    if (l.count) {
        lane->from = l.first;
        lane->to = l.looked_to;
        lane->count = l.count;
        lane->call = react_call(inst, lane->key, hm_buf_view(&l.params), reacted, lane);
        lane->call->depth = l.depth + 1;
        lane->call->extend = extend_place;
        lane->call->extend_if_wrote = true;
        hm_call_enqueue(lane->call, false);
    } else if (ok) {
        went_on(lane, l.looked_to);
    }
    hm_buf_free(&l.params);
}

void hm_react_next(struct institution *inst) {
    struct lane *lane, *next;
    if (!inst->reaction_due || inst->engine->draining || inst->engine->closing || !inst->catalogue) return;
    inst->reaction_due = false;
    uint64_t now_us = hm_mono_us();
    HASH_ITER(hh, inst->lanes, lane, next) {
        bool may =
            lane->present && lane->wanted && !lane->call && !lane->busy && lane->not_before_us <= now_us;
        if (may) lane_next(lane);
    }
}

// How far an idle lane has come is written down now and then, so that a restart need not look at all again.
static void place_written(struct commit_item *item) {
    struct lane *lane = item->arg;
    lane->busy = false;
    lane->institution->reaction_due = true;
}

void hm_react_tick(struct institution *inst) {
    struct lane *lane, *next;
    HASH_ITER(hh, inst->lanes, lane, next) {
        if (!lane->present || lane->call || lane->busy) continue;
        if (lane->wanted) inst->reaction_due = true; // a waiting one may have waited long enough
        if (lane->wanted || inst->told - lane->written < UNWRITTEN_MAX || inst->engine->draining) continue;
        struct commit_item *item = hm_item_new(inst, "", "react");
        put_place(item, lane, inst->told);
        lane->written = inst->told;
        lane->busy = true;
        item->arg = lane;
        hm_item_submit(item, place_written);
    }
}

void hm_react_close(struct institution *inst) {
    struct lane *lane, *next;
    HASH_ITER(hh, inst->lanes, lane, next) {
        HASH_DEL(inst->lanes, lane);
        free(lane);
    }
}

uint64_t hm_react_waiting(const struct institution *inst) {
    const struct lane *lane, *next;
    uint64_t most = 0;
    HASH_ITER(hh, inst->lanes, lane, next) {
        if (lane->wanted && inst->told + 1 - lane->wanted > most) most = inst->told + 1 - lane->wanted;
    }
    return most;
}

unsigned hm_react_set_aside(const struct institution *inst) {
    const struct lane *lane, *next;
    unsigned count = 0;
    HASH_ITER(hh, inst->lanes, lane, next) {
        count += lane->aside;
    }
    return count;
}

// ---- plugin.reactions, react_again, react_drop ---------------------------------------------------------

struct listing {
    struct hm_buf *out;
    const char *key;
    bool first;
};

static bool list_one(void *arg, const struct hm_record *record, struct hm_json data) {
    struct listing *l = arg;
    size_t len = strlen(l->key);
    if (record->id.len <= len || memcmp(record->id.ptr, l->key, len) != 0 || record->id.ptr[len] != '/')
        return true;
    if (!l->first) hm_buf_char(l->out, ',');
    l->first = false;
    hm_buf_str(l->out, data.raw);
    return true;
}

static void put_lane(const struct lane *lane, struct hm_read *read, struct hm_types *types,
                     struct hm_buf *out) {
    const struct institution *inst = lane->institution;
    const struct cat_event *event, *next;
    bool first = true;
    hm_buf_char(out, '{');
    plugin_members(out, lane->key);
    hm_buf_text(out, ",\"events\":[");
    HASH_ITER(hh, inst->catalogue->events, event, next) {
        if (!hm_event_has(event, lane->key)) continue;
        if (!first) hm_buf_char(out, ',');
        first = false;
        hm_json_put_str(out, hm_str_of(event->name));
    }
    hm_buf_char(out, ']');
    hm_json_member_int(out, "seq", (int64_t)(lane->wanted ? lane->wanted - 1 : inst->told));
    hm_json_member_int(out, "behind", (int64_t)(lane->wanted ? inst->told + 1 - lane->wanted : 0));
    hm_json_member_int(out, "tries", lane->tries);
    hm_buf_text(out, ",\"set_aside\":[");
    struct listing l = {out, lane->key, true};
    hm_read_each(read, types, "reacted", NULL, HM_LIT(""), false, list_one, &l);
    hm_buf_text(out, "]}");
}

static void plugin_reactions(struct call *call) {
    struct institution *inst = call->institution;
    struct hm_read *read = NULL;
    struct hm_error err = {0};
    struct hm_buf out = {0};
    struct lane *lane, *next;
    bool first = true;
    if (hm_call_needs_catalogue(call)) return;
    if (!hm_read_begin(inst->store, &read, &err)) {
        hm_call_fail_error(call, &err);
        return;
    }
    struct hm_types *types = hm_store_types(inst->store);
    hm_buf_text(&out, "{\"items\":[");
    HASH_ITER(hh, inst->lanes, lane, next) {
        if (!lane->present && !lane->aside) continue;
        if (!first) hm_buf_char(&out, ',');
        first = false;
        put_lane(lane, read, types, &out);
    }
    hm_buf_text(&out, "]}");
    hm_types_unref(types);
    hm_read_end(read);
    hm_call_ok(call, hm_buf_view(&out));
    hm_buf_free(&out);
}

// The lane and the record that the params name; false: the call has been answered.
static bool named_aside(struct call *call, struct lane **lane, uint64_t *seq, char id[HM_ID_MAX + 32]) {
    char kind[HM_NAME_MAX + 1], plugin[HM_NAME_MAX + 1], key[HM_PLUGIN_KEY];
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_json data;
    bool found = false;
    if (hm_call_needs_catalogue(call)) return false;
    hm_arg_text(call, "kind", kind, sizeof kind);
    hm_arg_text(call, "id", plugin, sizeof plugin);
    *seq = (uint64_t)hm_arg_int(call, "seq", 0);
    snprintf(key, sizeof key, "%s/%s", kind, plugin);
    HASH_FIND_STR(call->institution->lanes, key, *lane);
    aside_id(id, key, *seq);
    if (*lane && hm_read_begin(call->institution->store, &read, NULL)) {
        found = hm_read_data(read, "reacted", hm_str_of(id), &record, &data);
        hm_read_end(read);
    }
    if (!found) hm_call_fail(call, HM_NOT_FOUND, "no such reaction is set aside");
    return found;
}

struct again {
    struct call *asker;
    struct lane *lane;
    char id[HM_ID_MAX + 32];
};

static bool extend_again(struct call *call, struct commit_item *item, struct hm_str result,
                         struct hm_error *err) {
    const struct again *a = call->arg;
    (void)result, (void)err;
    hm_item_remove(item, "reacted", hm_str_of(a->id), HM_ANY_VERSION);
    return true;
}

static void ran_again(void *arg, const struct hm_answer *answer) {
    struct again *a = arg;
    struct call *asker = a->asker;
    if (answer->code) {
        hm_call_done(asker, answer->code, HM_LIT(""), answer->message, answer->data);
    } else {
        if (a->lane->aside) a->lane->aside--;
        hm_idem_finish(asker, HM_LIT("{}"));
    }
    free(a);
}

static void react_again(struct call *call) {
    struct institution *inst = call->institution;
    struct hm_read *read = NULL;
    struct hm_change c;
    struct lane *lane;
    struct hm_buf change = {0};
    struct hm_error err = {0};
    uint64_t seq;
    char id[HM_ID_MAX + 32];
    if (!named_aside(call, &lane, &seq, id)) return;
    if (!hm_read_begin(inst->store, &read, &err)) {
        hm_call_fail_error(call, &err);
        return;
    }
    bool there = hm_log_get(read, seq, &c);
    if (there) put_change(read, &c, &change);
    unsigned depth = there ? depth_of(c.method) : 0;
    hm_read_end(read);
    if (!there) {
        hm_call_fail(call, HM_NOT_FOUND, "the change log no longer has this change");
        return;
    }
    struct again *a = hm_alloc(sizeof *a);
    a->asker = call;
    a->lane = lane;
    snprintf(a->id, sizeof a->id, "%s", id);
    struct call *ask = react_call(inst, lane->key, hm_buf_view(&change), ran_again, a);
    ask->depth = depth + 1;
    ask->extend = extend_again;
    hm_buf_free(&change);
    hm_call_enqueue(ask, false);
}

static void dropped(struct commit_item *item) {
    struct lane *lane = item->arg;
    if (item->ok && item->commit.code == HM_OK && lane->aside) lane->aside--;
    hm_call_committed(item);
}

static void react_drop(struct call *call) {
    struct lane *lane;
    uint64_t seq;
    char id[HM_ID_MAX + 32];
    if (!named_aside(call, &lane, &seq, id)) return;
    struct commit_item *item = hm_item_new(call->institution, call->by, call->method);
    hm_item_remove(item, "reacted", hm_str_of(id), HM_ANY_VERSION);
    item->arg = lane;
    hm_item_finish_call(item, call, HM_LIT("{}"), dropped);
}

static const struct core_method rows[] = {
    {"plugin.reactions", ACCESS_ADMIN, "",
     "Reactions of plugins: how far each has come in the change log, and which are set aside because they "
     "kept "
     "failing.",
     plugin_reactions},
    {"plugin.react_again", ACCESS_ADMIN, "kind:text! id:text! seq:int!",
     "Runs a reaction once more that was set aside.", react_again},
    {"plugin.react_drop", ACCESS_ADMIN, "kind:text! id:text! seq:int!",
     "Forgets a reaction that was set aside.", react_drop},
};
const struct core_table hm_methods_react = {rows, sizeof rows / sizeof *rows};
