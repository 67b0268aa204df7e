// Recording calls: what is armed, and what is kept of a call while it runs. Loop thread. What always holds:
// nothing is recorded that nobody armed; a recording changes nothing of the call, whose answer has gone out
// before it is written; it is bounded in number and size, and expires.
//
// A recording is what was told to the worker (method, params, caller, time, seed), the number of the change
// that the snapshot ended with, and what came of it. Nothing that was read is in it: the change log has it
// (script/past.c). So sealed fields that the call opened are not in it either; those it wrote are.
#include "base/clock.h"
#include "engine/author.h"
#include "engine/tapes.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#define TAPE_BYTES (700u << 10) // of a recording: in its box it must fit into a record
#define MINUTES 60
#define MINUTES_MAX 1440
#define CALLS_MAX 50

struct tape {
    char kind[HM_NAME_MAX + 1], plugin[HM_NAME_MAX + 1], owner[HM_NAME_MAX + 1];
    unsigned forgotten; // author_tapes.forgotten when it began
    bool failures_only, sealed, too_large;
    struct hm_buf intents, error;
};

// ---- arming -------------------------------------------------------------------------------------------

static struct author_tapes *tapes_of(struct institution *inst) {
    struct author *author = hm_author_of(inst);
    if (!author->tapes) author->tapes = hm_alloc(sizeof *author->tapes);
    return author->tapes;
}

static struct arm *arm_of(struct author_tapes *tapes, const char *kind, const char *plugin) {
    for (unsigned i = 0; i < ARMS_MAX; i++) {
        struct arm *arm = &tapes->arms[i];
        if (arm->left && strcmp(arm->kind, kind) == 0 && strcmp(arm->plugin, plugin) == 0) return arm;
    }
    return NULL;
}

static struct arm *free_arm(struct author_tapes *tapes) {
    for (unsigned i = 0; i < ARMS_MAX; i++)
        if (!tapes->arms[i].left || tapes->arms[i].until_ms < hm_now_ms()) return &tapes->arms[i];
    return NULL;
}

static unsigned armed_calls(const struct author_tapes *tapes) {
    unsigned sum = 0;
    for (unsigned i = 0; i < ARMS_MAX; i++)
        if (tapes->arms[i].until_ms >= hm_now_ms()) sum += tapes->arms[i].left;
    return sum;
}

static void answer_armed(struct call *call, const struct arm *arm, int64_t calls) {
    struct hm_buf result = {0}, why = {0};
    char key[2 * HM_NAME_MAX + 2];
    snprintf(key, sizeof key, "%s/%s", arm->kind, arm->plugin);
    hm_buf_char(&result, '{');
    hm_json_member_str(&result, "kind", hm_str_of(arm->kind));
    hm_json_member_str(&result, "id", hm_str_of(arm->plugin));
    hm_json_member_int(&result, "calls", calls);
    hm_json_member_int(&result, "until", arm->until_ms);
    hm_json_member_raw(&result, "failures", arm->failures_only ? HM_LIT("true") : HM_LIT("false"));
    hm_buf_char(&result, '}');
    hm_buf_printf(&why, "plugin.record: %lld calls", (long long)calls);
    hm_call_audit(call, HM_LIT("plugin"), hm_str_of(key), HM_LIT(""), hm_buf_view(&why), HM_LIT(""));
    struct commit_item *item = hm_item_new(call->institution, call->by, call->method);
    hm_item_finish_call(item, call, hm_buf_view(&result), hm_call_committed);
    hm_buf_free(&result);
    hm_buf_free(&why);
}

void hm_tape_arm(struct call *call) {
    struct institution *inst = call->institution;
    struct author_tapes *tapes = tapes_of(inst);
    struct hm_json entry;
    struct hm_error err = {0};
    char word[129], plugin[HM_NAME_MAX + 1];
    int64_t calls = hm_arg_int(call, "calls", 1), minutes = hm_arg_int(call, "minutes", MINUTES);
    if (hm_call_needs_catalogue(call)) return;
    hm_arg_text(call, "kind", word, sizeof word);
    hm_arg_text(call, "id", plugin, sizeof plugin);
    const char *kind = hm_kind_name(word);
    if (calls < 0 || calls > CALLS_MAX) {
        hm_call_param(call, "calls", "must be from 1 to 50, or 0 to record no more");
    } else if (minutes < 1 || minutes > MINUTES_MAX) {
        hm_call_param(call, "minutes", "must be from 1 to 1440");
    } else if (!inst->catalogue || !hm_cat_plugin(inst->catalogue, kind, plugin, &entry)) {
        hm_call_fail(call, HM_NOT_FOUND, "there is no such plugin in force");
    } else if (calls && armed_calls(tapes) + hm_recordings_count(inst) + (unsigned)calls > RECORDINGS_MAX) {
        hm_call_reason(call, HM_CONFLICT, "reason", "too_many_recordings");
    } else if (calls && !hm_tape_key(inst, true, &err)) {
        hm_call_fail_error(call, &err);
    } else {
        struct arm *arm = arm_of(tapes, kind, plugin), none = {0};
        if (!arm && calls) arm = free_arm(tapes);
        if (!arm && calls) {
            hm_call_reason(call, HM_CONFLICT, "reason", "too_many_armed");
            return;
        }
        if (!arm) arm = &none;
        *arm = (struct arm){.left = (unsigned)calls,
                            .until_ms = hm_now_ms() + minutes * 60000,
                            .failures_only = hm_arg_bool(call, "failures", false)};
        snprintf(arm->kind, sizeof arm->kind, "%s", kind);
        snprintf(arm->plugin, sizeof arm->plugin, "%s", plugin);
        answer_armed(call, arm, calls);
    }
}

// ---- is it to be recorded? ----------------------------------------------------------------------------

// The service that declares the method.
static bool owner_of(const struct catalogue *cat, const char *method, char out[HM_NAME_MAX + 1]) {
    struct hm_json list, item, name;
    if (!cat || !hm_json_get(cat->root, "methods", &list)) return false;
    struct hm_json_iter it = hm_json_iter(list);
    while (hm_json_next(&it, NULL, &item))
        if (hm_json_get(item, "name", &name) && hm_json_key_is(name, hm_str_of(method)))
            return hm_json_get_text(item, "plugin", out, HM_NAME_MAX + 1);
    return false;
}

// Does one of its params name the plugin, as match.run does its rule?
static bool names(struct hm_json params, const char *plugin) {
    struct hm_json_iter it = hm_json_iter(params);
    struct hm_json value;
    if (params.kind != HM_JSON_OBJECT) return false;
    while (hm_json_next(&it, &(struct hm_json){0}, &value))
        if (value.kind == HM_JSON_STRING && hm_json_key_is(value, hm_str_of(plugin))) return true;
    return false;
}

static bool concerns(const struct call *call, const struct arm *arm, const char *owner) {
    struct hm_json inner;
    if (!arm->left || arm->until_ms < hm_now_ms()) return false;
    if (strcmp(arm->kind, "service") == 0) return strcmp(arm->plugin, owner) == 0;
    return names(call->params, arm->plugin) ||
           (call->job && hm_json_get(call->params, "params", &inner) && names(inner, arm->plugin));
}

void hm_tape_begin(struct call *call) {
    struct author *author = call->institution->author;
    char owner[HM_NAME_MAX + 1] = "";
    if (!author || !author->tapes || call->tape || call->trying || call->method[0] == '$') return;
    if (!armed_calls(author->tapes) || !owner_of(call->institution->catalogue, call->method, owner)) return;
    for (unsigned i = 0; i < ARMS_MAX; i++) {
        struct arm *arm = &author->tapes->arms[i];
        if (!concerns(call, arm, owner)) continue;
        struct tape *tape = hm_alloc(sizeof *tape);
        snprintf(tape->kind, sizeof tape->kind, "%s", arm->kind);
        snprintf(tape->plugin, sizeof tape->plugin, "%s", arm->plugin);
        snprintf(tape->owner, sizeof tape->owner, "%s", owner);
        tape->failures_only = arm->failures_only;
        tape->forgotten = author->tapes->forgotten;
        if (!arm->failures_only) arm->left--;
        call->tape = tape;
        return;
    }
}

void hm_tape_drop(struct call *call) {
    struct tape *tape = call->tape;
    if (!tape) return;
    sodium_memzero(tape->intents.data, tape->intents.len);
    hm_buf_free(&tape->intents);
    hm_buf_free(&tape->error);
    free(tape);
    call->tape = NULL;
}

void hm_tape_sealed(struct call *call) {
    if (call->tape) call->tape->sealed = true;
}

void hm_tape_result(struct call *call, const struct parsed_result *result) {
    struct tape *tape = call->tape;
    size_t bytes = 0;
    if (!tape) return;
    hm_buf_clear(&tape->intents);
    for (size_t i = 0; i < result->intent_count; i++)
        bytes += result->intents[i].data.len + 100;
    tape->too_large = bytes > TAPE_BYTES;
    if (tape->too_large) return;
    struct hm_types *types = hm_store_types(call->institution->store);
    for (size_t i = 0; i < result->intent_count; i++) {
        const struct hm_type *type = hm_types_find(types, result->intents[i].type);
        tape->sealed = tape->sealed || (type && (type->sealed_count || type->hidden));
    }
    hm_types_unref(types);
    hm_intents_json(result, &tape->intents);
}

void hm_tape_error(struct call *call, enum hm_code code, struct hm_str data) {
    if (!call->tape) return;
    hm_buf_clear(&call->tape->error);
    hm_tape_error_json(code, data, &call->tape->error);
}

void hm_tape_error_json(enum hm_code code, struct hm_str data, struct hm_buf *out) {
    hm_buf_char(out, '{');
    hm_json_member_int(out, "code", code);
    hm_json_member_raw(out, "data", data.len ? data : HM_LIT("{}"));
    hm_buf_char(out, '}');
}

// ---- its end ------------------------------------------------------------------------------------------

// Has the service a record type with sealed fields? Then a call of it that failed may have been given what
// it would have sealed.
static bool seals(const struct catalogue *cat, const char *service) {
    struct hm_json list, item, plugin, sealed;
    if (!cat || !hm_json_get(cat->root, "types", &list)) return true;
    struct hm_json_iter it = hm_json_iter(list);
    while (hm_json_next(&it, NULL, &item))
        if (hm_json_get(item, "plugin", &plugin) && hm_json_key_is(plugin, hm_str_of(service)) &&
            hm_json_get(item, "sealed", &sealed) && hm_json_count(sealed))
            return true;
    return false;
}

static bool failed(enum hm_code code) {
    return code == HM_PLUGIN || code == HM_INTERNAL || code == HM_DEADLINE || code == HM_TOO_LARGE;
}

static void put_seed(const struct call *call, struct hm_buf *out) {
    char hex[2 * sizeof call->seed + 1];
    sodium_bin2hex(hex, sizeof hex, call->seed, sizeof call->seed);
    hm_json_member_str(out, "seed", hm_str_of(hex));
}

static void put_version(const struct call *call, const struct tape *tape, struct hm_buf *out) {
    struct hm_json entry, value;
    if (hm_cat_plugin(call->institution->catalogue, tape->kind, tape->plugin, &entry) &&
        hm_json_get(entry, "version", &value))
        hm_json_member_raw(out, "version", value.raw);
}

static void recording_json(const struct call *call, const struct hm_answer *answer, struct hm_buf *out) {
    const struct tape *tape = call->tape;
    uint64_t seq = call->snapshot ? call->snapshot : call->institution->told;
    hm_buf_char(out, '{');
    hm_json_member_str(out, "kind", hm_str_of(tape->kind));
    hm_json_member_str(out, "id", hm_str_of(tape->plugin));
    put_version(call, tape, out);
    hm_json_member_str(out, "method", hm_str_of(call->method));
    hm_json_member_raw(out, "params", call->params.raw);
    hm_json_member_raw(out, "caller", hm_str_of(call->caller_json));
    put_seed(call, out);
    hm_json_member_int(out, "time", call->sent_ms);
    hm_json_member_int(out, "seq", (int64_t)seq);
    hm_json_member_int(out, "flags", call->flags);
    hm_json_member_raw(out, "failed", failed(answer->code) ? HM_LIT("true") : HM_LIT("false"));
    hm_json_member_raw(out, "sealed", tape->sealed ? HM_LIT("true") : HM_LIT("false"));
    hm_json_key(out, "outcome");
    hm_buf_char(out, '{');
    if (!answer->code) {
        hm_json_member_raw(out, "result", answer->result);
        hm_json_member_raw(out, "intents", tape->intents.len ? hm_buf_view(&tape->intents) : HM_LIT("[]"));
    } else if (tape->error.len) {
        hm_json_member_raw(out, "error", hm_buf_view(&tape->error));
    } else {
        hm_json_key(out, "error");
        hm_tape_error_json(answer->code, answer->data, out);
    }
    hm_buf_text(out, "}}");
}

// What the server answered by itself is no outcome of the plugin.
static bool worth_it(const struct call *call, const struct hm_answer *answer) {
    const struct tape *tape = call->tape;
    const struct author_tapes *tapes = tapes_of(call->institution);
    if (tape->forgotten != tapes->forgotten || call->engine->closing || !call->sent_ms) return false;
    if (answer->code == HM_UNAVAILABLE || answer->code == HM_TOO_MANY) return false;
    return !tape->failures_only || failed(answer->code);
}

void hm_tape_end(struct call *call, const struct hm_answer *answer) {
    struct tape *tape = call->tape;
    struct institution *inst = call->institution;
    struct hm_buf text = {0};
    if (!tape) return;
    if (worth_it(call, answer)) {
        if (answer->code && seals(inst->catalogue, tape->owner)) tape->sealed = true;
        if (tape->failures_only) { // it counts now that it has failed
            struct arm *arm = arm_of(tapes_of(inst), tape->kind, tape->plugin);
            if (arm)
                arm->left--;
            else
                tape->too_large = true; // others were first
        }
        if (!tape->too_large) recording_json(call, answer, &text);
        if (!tape->too_large && text.len <= TAPE_BYTES) {
            hm_recording_put(inst, hm_buf_view(&text));
        } else if (text.len) {
            hm_plugin_line(
                inst, &(struct plugin_line){.level = 2,
                                            .kind = hm_str_of(tape->kind),
                                            .id = hm_str_of(tape->plugin),
                                            .method = hm_str_of(call->method),
                                            .text = HM_LIT("not recorded: the call has more than 700 KiB")});
        }
        if (text.len) sodium_memzero(text.data, text.len);
        hm_buf_free(&text);
    }
    hm_tape_drop(call);
}
