// A call from its worker's word to its answer: results, errors, unsealing, and what became of its commit.
// What always holds: each call is answered exactly once and freed; a value that came out of a seal leaves,
// in a result or in an error, only after its audit record is durable; where a plugin failed is told to
// administrators only.
#include "base/clock.h"
#include "base/log.h"
#include "base/wire.h"
#include "engine/author.h"
#include "engine/internal.h"
#include "engine/plugin.h"
#include "script/frames.h"

#include <stdlib.h>

#define AUDITS_MAX 10000u
#define NOTED_MAX 200u // audits of a call up to which a second run looks for what it noted before
#define WHY_MAX 500u
#define MESSAGE_MAX 4096u

// ---- endings ------------------------------------------------------------------------------------------

static enum outcome outcome_of(enum hm_code code) {
    switch (code) {
    case HM_OK:
        return OUTCOME_OK;
    case HM_CONFLICT:
        return OUTCOME_CONFLICT;
    case HM_TOO_MANY:
    case HM_UNAVAILABLE:
        return OUTCOME_BUSY;
    case HM_INTERNAL:
    case HM_PLUGIN:
    case HM_DEADLINE:
        return OUTCOME_FAILED;
    default:
        return OUTCOME_REFUSED;
    }
}

void hm_call_free_audits(struct call *call) {
    while (call->audits) {
        struct audit *a = call->audits;
        call->audits = a->next;
        free(a->type);
        free(a->id);
        free(a->field);
        free(a->why);
        free(a->whose);
        free(a);
    }
    call->audit_count = call->audits_kept = 0;
}

static void call_free(struct call *call) {
    ev_timer_stop(call->engine->loop, &call->delay);
    hm_call_list(call, NULL, false);
    hm_call_leave_lane(call);
    hm_idem_end(call);
    call->engine->open_calls--;
    hm_call_free_audits(call);
    hm_tape_drop(call);
    hm_principals_unref(call->principals);
    hm_session_unref(call->session);
    hm_caller_unref(call->caller);
    free(call->caller_json);
    if (call->core) explicit_bzero(call->params_text, strlen(call->params_text)); // it may hold a password
    free(call->params_text);
    free(call->method);
    free(call);
}

struct told { // an error, as the caller will get it
    enum hm_code code;
    struct hm_str message, data;
};

static void error_committed(struct commit_item *item) {
    struct told *told = item->arg;
    hm_call_free_audits(item->call);
    if (!item->ok || item->commit.code != HM_OK)
        hm_call_fail_item(item->call, item);
    else
        hm_call_done(item->call, told->code, HM_LIT(""), told->message, told->data);
}

// A call that fails has opened what it opened: that is written down before the error, which may tell of it.
static void fail_audited(struct call *call, struct told told) {
    struct commit_item *item = hm_item_new(call->institution, call->by, call->method);
    struct told *kept = hm_item_own(item, hm_alloc(sizeof *kept));
    *kept = (struct told){told.code, hm_item_keep(item, told.message), hm_item_keep(item, told.data)};
    hm_call_list(call, NULL, false);
    item->call = call;
    item->arg = kept;
    hm_item_audits(item, call);
    hm_item_submit(item, error_committed);
}

// A line for each call, when asked for: the method as it is declared (a name that nobody declared may be
// anything), never params.
static void log_call(const struct call *call, enum hm_code code, uint64_t us) {
    const struct institution *inst = call->institution;
    bool known =
        call->core || (inst && inst->catalogue && hm_cat_method(inst->catalogue, hm_str_of(call->method)));
    struct hm_buf version = {0};
    hm_buf_char(&version, ' ');
    if (known && !call->core) hm_fresh_named(call, &version);
    hm_log(HM_DEBUG, "call", "\"institution\":\"%s\",\"method\":\"%s\",\"code\":%d,\"us\":%llu%s",
           inst ? inst->id : "", known ? call->method : "", (int)code, (unsigned long long)us,
           version.len > 1 ? version.data : "");
    hm_buf_free(&version);
}

static void count_call(const struct call *call, enum hm_code code) {
    struct counters *n = &call->engine->counters;
    n->calls[outcome_of(code)]++;
    n->refused_rate += code == HM_TOO_MANY;
    n->refused_size += code == HM_TOO_LARGE;
    if (!call->caller) return; // a job's or a reaction's
    uint64_t us = hm_mono_us() - call->began_us;
    hm_times_add(&n->call_time, us);
    if (hm_log_on(HM_DEBUG)) log_call(call, code, us);
}

void hm_call_done(struct call *call, enum hm_code code, struct hm_str result, struct hm_str message,
                  struct hm_str data) {
    if (code && call->audits) {
        fail_audited(call, (struct told){code, message, data});
        return;
    }
    struct hm_answer answer = {code, result, message, data, call->snapshot};
    if (code && !message.len) answer.message = hm_str_of(hm_code_message(code));
    count_call(call, code);
    // Whoever is told may make the next call at once: this one is in no list by then.
    hm_call_list(call, NULL, false);
    call->answer(call->arg, &answer);
    hm_tape_end(call, &answer);
    call_free(call);
}

void hm_answer_ignored(void *arg, const struct hm_answer *answer) {
    (void)arg, (void)answer;
}

void hm_call_ok(struct call *call, struct hm_str result) {
    hm_call_done(call, HM_OK, result, HM_LIT(""), HM_LIT(""));
}

void hm_call_fail(struct call *call, enum hm_code code, const char *message) {
    hm_call_done(call, code, HM_LIT(""), hm_str_of(message), HM_LIT(""));
}

// What the rooms below say of files and of the store names folders: that is for the log, and for who looks
// after the server.
static struct hm_str told_of(const struct call *call, const struct hm_error *err) {
    bool below = err->file && (strstr(err->file, "core/store/") || strstr(err->file, "core/base/"));
    bool closed = err->code == HM_UNAVAILABLE || err->cause == HM_CAUSE_MAP_FULL;
    if (!below || !closed) return hm_str_of(err->message);
    struct hm_buf members = {0};
    hm_json_put_str(&members, hm_str_of(err->message));
    hm_log(HM_ERROR, "call.unavailable", "\"file\":\"%s\",\"line\":%d,\"message\":%s", err->file, err->line,
           members.data);
    hm_buf_free(&members);
    if (call->admin) return hm_str_of(err->message);
    return HM_LIT("the data cannot be used at this moment; the server's log says why");
}

void hm_call_fail_error(struct call *call, const struct hm_error *err) {
    struct hm_buf data = {0};
    if (err->code == HM_INTERNAL) {
        char incident[37];
        hm_uuid7(hm_now_ms(), incident);
        hm_log(HM_ERROR, "call.internal", "\"incident\":\"%s\",\"file\":\"%s\",\"line\":%d", incident,
               err->file ? err->file : "", err->line);
        hm_buf_printf(&data, "{\"incident\":\"%s\"}", incident);
        hm_call_done(call, HM_INTERNAL, HM_LIT(""), HM_LIT(""), hm_buf_view(&data));
    } else if (err->code == HM_PARAMS) {
        hm_call_param(call, "", err->message);
    } else if (err->code == HM_TOO_MANY) {
        hm_call_wait(call, 1);
    } else {
        hm_call_done(call, err->code, HM_LIT(""), told_of(call, err), HM_LIT(""));
    }
    hm_buf_free(&data);
}

void hm_call_reason(struct call *call, enum hm_code code, const char *member, const char *value) {
    struct hm_buf data = {0};
    hm_buf_char(&data, '{');
    hm_json_member_str(&data, member, hm_str_of(value));
    hm_buf_char(&data, '}');
    hm_call_done(call, code, HM_LIT(""), HM_LIT(""), hm_buf_view(&data));
    hm_buf_free(&data);
}

void hm_call_wait(struct call *call, unsigned seconds) {
    struct hm_buf data = {0};
    hm_buf_printf(&data, "{\"retry_after\":%u}", seconds);
    hm_call_done(call, HM_TOO_MANY, HM_LIT(""), HM_LIT(""), hm_buf_view(&data));
    hm_buf_free(&data);
}

void hm_call_param(struct call *call, const char *path, const char *message) {
    struct hm_buf data = {0};
    hm_buf_text(&data, "{\"errors\":[{");
    hm_json_member_str(&data, "path", hm_str_of(path));
    hm_json_member_str(&data, "message", hm_str_of(message));
    hm_buf_text(&data, "}]}");
    hm_call_done(call, HM_PARAMS, HM_LIT(""), HM_LIT(""), hm_buf_view(&data));
    hm_buf_free(&data);
}

// ---- commits ------------------------------------------------------------------------------------------

void hm_call_not_written(struct call *call, const struct hm_error *err) {
    const char *reason = err->cause == HM_CAUSE_DISK_FULL   ? "disk_full"
                         : err->cause == HM_CAUSE_MAP_LIMIT ? "map_max"
                         : err->cause == HM_CAUSE_DOUBT     ? "doubt"
                                                            : NULL;
    struct hm_buf data = {0};
    if (reason) {
        hm_buf_char(&data, '{');
        hm_json_member_str(&data, "reason", hm_str_of(reason));
        hm_buf_char(&data, '}');
    }
    hm_call_done(call, HM_UNAVAILABLE, HM_LIT(""), told_of(call, err), hm_buf_view(&data));
    hm_buf_free(&data);
}

void hm_call_fail_item(struct call *call, const struct commit_item *item) {
    if (!item->ok)
        hm_call_not_written(call, &item->error);
    else if (item->commit.code == HM_CONFLICT)
        hm_call_reason(call, HM_CONFLICT, "reason", item->commit.duplicate ? "exists" : "busy");
    else
        hm_call_fail_error(call, &item->commit.error);
}

void hm_call_committed(struct commit_item *item) {
    struct call *call = item->call;
    struct counters *n = &call->engine->counters;
    bool conflict = item->ok && item->commit.code == HM_CONFLICT;
    n->conflicts += conflict;
    if (item->ok && item->commit.code == HM_OK) {
        hm_call_ok(call, item->result);
    } else if (!conflict || call->core) {
        hm_call_fail_item(call, item);
    } else if (item->commit.duplicate && ++call->duplicates < 2) {
        // Run once more: the method may now see what is there, and say it better than we can.
        n->duplicates++;
        hm_call_again(call);
    } else if (!item->commit.duplicate && ++call->conflicts <= RERUNS_MAX) {
        n->reruns++;
        hm_call_again(call);
    } else {
        n->given_up += !item->commit.duplicate;
        hm_call_fail_item(call, item);
    }
}

// Rights are read by the server, when a call is sent to its worker, or by hm_call_still: they are part of
// what the call read.
void hm_item_saw_caller(struct commit_item *item, const struct call *call) {
    struct hm_buf low = {0}, high = {0};
    if (!call->known) return;
    hm_item_saw_record(item, "account", call->session->account, call->known);
    hm_item_saw_record(item, "session", call->session->token_hash, call->known); // revoked, it is gone
    if (call->session->person[0] && !call->core) {                               // core methods go by roles
        hm_buf_printf(&low, "person:%s", call->session->person);
        hm_buf_str(&high, hm_buf_view(&low));
        hm_buf_char(&low, '\0');
        hm_buf_char(&high, '\1'); // behind every record they are a member of
        hm_item_saw(item, HM_SPACE_MEM, hm_buf_view(&low), hm_buf_view(&high), call->known);
    }
    hm_buf_free(&low);
    hm_buf_free(&high);
}

void hm_item_finish_call(struct commit_item *item, struct call *call, struct hm_str result,
                         void (*done)(struct commit_item *item)) {
    item->call = call;
    item->result = hm_item_keep(item, result);
    hm_item_saw_caller(item, call);
    hm_item_audits(item, call);
    hm_idem_put(item, call, item->result);
    hm_item_submit(item, done);
}

// ---- results ------------------------------------------------------------------------------------------

// An invitation carries rights: a worker may give no more than the caller has.
static bool invitations_allowed(const struct call *call, const struct parsed_result *r) {
    if (call->admin) return true;
    bool coordinator = call->session && hm_session_has_role(call->session, HM_LIT("coordinator"));
    for (size_t i = 0; i < r->intent_count; i++) {
        const struct hm_intent *intent = &r->intents[i];
        struct hm_json data, roles, role;
        if (!hm_str_eq(intent->type, HM_LIT("invitation"))) continue;
        if (!coordinator) return false;
        if (intent->remove || !hm_json_parse(intent->data, &data, NULL) ||
            !hm_json_get(data, "roles", &roles))
            continue;
        struct hm_json_iter it = hm_json_iter(roles);
        while (hm_json_next(&it, NULL, &role))
            if (!hm_str_eq(role.raw, HM_LIT("\"student\""))) return false;
    }
    return true;
}

// An award counts: who has it given must be of the staff, or it is a reaction or timer that gives it.
static bool awards_allowed(const struct call *call, const struct parsed_result *r) {
    static const char *const may[] = {"coordinator", "coach"};
    bool any = false, has = call->admin;
    for (size_t i = 0; i < r->intent_count && !any; i++)
        any = hm_str_eq(r->intents[i].type, HM_LIT("award"));
    for (size_t i = 0; i < sizeof may / sizeof *may && !has; i++)
        has = call->session && hm_session_has_role(call->session, hm_str_of(may[i]));
    return !any || has;
}

static void rebase(struct hm_str *s, struct hm_str from, const char *to) {
    if (s->len) s->ptr = to + (s->ptr - from.ptr);
}

// The item takes the arrays, and a copy of the payload that they point into.
static struct commit_item *item_of(struct call *call, struct hm_str payload, struct parsed_result *r) {
    struct commit_item *item = hm_item_new(call->institution, call->by, call->method);
    struct hm_str kept = hm_item_keep(item, payload);
    item->call = call;
    item->commit.snapshot = r->snapshot;
    item->commit.turn = call->turn;
    item->commit.from_core = false; // the store checks once more what a plugin may write
    item->seen = r->seen;
    item->intents = r->intents;
    item->intent_count = item->intent_cap = r->intent_count;
    item->commit.seen = r->seen;
    item->commit.seen_count = r->seen_count;
    rebase(&r->result, payload, kept.ptr);
    item->result = r->result;
    for (size_t i = 0; i < r->seen_count; i++) {
        struct hm_seen *s = &r->seen[i];
        rebase(&s->type, payload, kept.ptr);
        rebase(&s->id, payload, kept.ptr);
        rebase(&s->low, payload, kept.ptr);
        rebase(&s->high, payload, kept.ptr);
    }
    for (size_t i = 0; i < r->intent_count; i++) {
        struct hm_intent *n = &r->intents[i];
        rebase(&n->type, payload, kept.ptr);
        rebase(&n->id, payload, kept.ptr);
        rebase(&n->data, payload, kept.ptr);
        rebase(&n->audience, payload, kept.ptr);
        rebase(&n->members, payload, kept.ptr);
    }
    return item;
}

static void commit_result(struct call *call, struct hm_str payload, struct parsed_result *r, size_t told) {
    struct hm_error err = {0};
    bool wrote = r->intent_count > 0;
    struct commit_item *item = item_of(call, payload, r);
    size_t before = item->intent_count;
    hm_notify_take(item, told);
    hm_item_saw_caller(item, call);
    hm_item_audits(item, call);
    if (wrote) hm_idem_put(item, call, item->result);
    if (call->extend && !call->extend(call, item, item->result, &err)) {
        hm_item_free(item);
        hm_call_fail_error(call, &err);
        return;
    }
    // What was added is ours; what the worker sent has been checked by hm_frame_result.
    if (item->intent_count > before) item->commit.from_core = true;
    hm_item_submit(item, hm_call_committed);
}

// True: answered, because somebody has ended its session since it came. A job goes on: its owner may come
// back to it.
static bool revoked(struct call *call) {
    if (!call->session || !call->session->revoked || call->job) return false;
    hm_call_fail(call, HM_UNAUTHENTICATED, "the session has ended");
    return true;
}

bool hm_call_result(struct call *call, struct hm_str payload) {
    struct parsed_result r;
    size_t told = 0; // notifications and events in it
    struct hm_types *types = hm_store_types(call->institution->store);
    bool ok = hm_frame_result(payload, types, &r);
    hm_types_unref(types);
    if (!ok) return false;
    call->snapshot = r.snapshot;
    if (call->trying) { // nothing of it is ever committed
        hm_trying_result(call, &r);
        free(r.seen);
        free(r.intents);
        return true;
    }
    hm_tape_result(call, &r);
    if (!invitations_allowed(call, &r) || !awards_allowed(call, &r) || !hm_notify_honest(&r, &told)) {
        free(r.seen);
        free(r.intents);
        return false;
    }
    if (revoked(call) || (!(call->flags & HM_CALL_DRY) && !hm_notify_allowed(call, told))) {
        free(r.seen);
        free(r.intents);
        return true;
    }
    bool effect = r.intent_count && !(call->flags & HM_CALL_DRY);
    hm_fresh_answered(call);
    uint64_t most = call->engine->settings.output_bytes;
    if (!call->job && !call->pinned && most &&
        r.result.len > most) { // the host says so itself, unless it is no longer our host
        struct hm_buf data = {0};
        free(r.seen);
        free(r.intents);
        hm_buf_printf(&data, "{\"limit\":%llu}", (unsigned long long)most);
        hm_call_done(call, HM_TOO_LARGE, HM_LIT(""), HM_LIT("the result is too large"), hm_buf_view(&data));
        hm_buf_free(&data);
    } else if ((call->flags & HM_CALL_JOB_RUN) && effect) {
        free(r.seen);
        free(r.intents);
        hm_call_fail(call, HM_PLUGIN, "the long part of a job may not write");
    } else if (effect || call->audits || (call->extend && !call->extend_if_wrote)) {
        commit_result(call, payload, &r, effect ? told : 0);
    } else {
        free(r.seen);
        free(r.intents);
        hm_call_ok(call, r.result);
    }
    return true;
}

// ---- errors -------------------------------------------------------------------------------------------

static bool code_known(int32_t code) {
    switch (code) {
    case HM_METHOD:
    case HM_PARAMS:
    case HM_INTERNAL:
    case HM_UNAUTHENTICATED:
    case HM_FORBIDDEN:
    case HM_NOT_FOUND:
    case HM_CONFLICT:
    case HM_TOO_MANY:
    case HM_PLUGIN:
    case HM_DEADLINE:
    case HM_TOO_LARGE:
    case HM_UNAVAILABLE:
        return true;
    default:
        return false;
    }
}

// Only administrators learn where a plugin failed; everybody learns which.
static void redact(struct hm_json data, bool message, struct hm_buf *out) {
    struct hm_json_iter it = hm_json_iter(data);
    struct hm_json key, value;
    hm_buf_char(out, '{');
    while (hm_json_next(&it, &key, &value)) {
        bool where = hm_json_key_is(key, HM_LIT("file")) || hm_json_key_is(key, HM_LIT("line")) ||
                     (!message && hm_json_key_is(key, HM_LIT("message")));
        if (where) continue;
        if (out->data[out->len - 1] != '{') hm_buf_char(out, ',');
        hm_buf_str(out, key.raw);
        hm_buf_char(out, ':');
        hm_buf_str(out, value.raw);
    }
    hm_buf_char(out, '}');
}

static bool of_plugin(enum hm_code code) {
    return code == HM_PLUGIN || code == HM_INTERNAL || code == HM_DEADLINE || code == HM_TOO_LARGE;
}

// The same for the institution's administrators, with what was wrong; unless it may tell what was sealed.
static void keep_plugin_error(const struct call *call, enum hm_code code, struct hm_json data,
                              struct plugin_line line) {
    struct hm_buf text = {0};
    struct hm_json value;
    if (call->audits) {
        hm_buf_text(&text, "(not shown: the call has opened a sealed field)");
    } else if (hm_json_get(data, "message", &value)) {
        hm_json_string(value, &text);
    } else {
        hm_buf_text(&text, hm_code_message(code));
        if (hm_json_get(data, "limit_ms", &value))
            hm_buf_printf(&text, " (limit of %.*s ms)", (int)value.raw.len, value.raw.ptr);
        else if (hm_json_get(data, "limit", &value))
            hm_buf_printf(&text, " (limit: %.*s)", (int)(value.raw.len < 100 ? value.raw.len : 100),
                          value.raw.ptr);
    }
    line.level = HM_ERROR;
    line.method = hm_str_of(call->method);
    line.kind = hm_str_of(hm_plugin_kind_of_file(line.file));
    char kind[HM_NAME_MAX + 1] = "";
    if (!line.kind.len && hm_cat_kind(call->institution->catalogue, line.id, line.version, kind))
        line.kind = hm_str_of(kind); // it failed in a shared module
    line.text = hm_buf_view(&text);
    hm_plugin_line(call->institution, &line);
    hm_buf_free(&text);
}

static void log_plugin_error(const struct call *call, enum hm_code code, struct hm_json data) {
    char plugin[129] = "", version[65] = "", file[129] = "";
    int64_t line = 0;
    struct hm_json value;
    struct hm_buf members = {0};
    hm_json_get_text(data, "plugin", plugin, sizeof plugin);
    hm_json_get_text(data, "version", version, sizeof version);
    hm_json_get_text(data, "file", file, sizeof file);
    if (hm_json_get(data, "line", &value)) hm_json_int(value, &line);
    hm_buf_char(&members, '{');
    hm_json_member_str(&members, "institution", hm_str_of(call->institution->id));
    hm_json_member_str(&members, "method", hm_str_of(call->method));
    hm_json_member_str(&members, "plugin", hm_str_of(plugin));
    hm_json_member_str(&members, "version", hm_str_of(version));
    hm_json_member_str(&members, "file", hm_str_of(file));
    hm_json_member_int(&members, "line", line);
    hm_log(HM_WARN, "plugin.error", "%s", members.data + 1);
    hm_buf_free(&members);
    keep_plugin_error(
        call, code, data,
        (struct plugin_line){
            .id = hm_str_of(plugin), .version = hm_str_of(version), .file = hm_str_of(file), .line = line});
}

bool hm_call_error(struct call *call, struct hm_str payload) {
    struct hm_reader r = hm_reader_of(payload);
    int32_t code = (int32_t)hm_get_u32(&r);
    struct hm_str message = hm_get_str(&r), text = hm_get_str(&r);
    struct hm_json data = {0};
    struct hm_buf shown = {0};
    if (r.at != r.end) call->snapshot = hm_get_u64(&r);
    if (r.bad || r.at != r.end || !code_known(code)) return false;
    if (text.len && !hm_json_parse(text, &data, NULL)) return false;
    if (data.kind != HM_JSON_OBJECT) data.raw.len = 0; // a plugin may raise anything
    if (message.len > MESSAGE_MAX) message.len = MESSAGE_MAX;
    struct told told = {(enum hm_code)code, message, data.raw};
    hm_tape_error(call, told.code, data.raw);
    if (of_plugin(told.code)) {
        log_plugin_error(call, told.code, data);
        hm_fresh_failed(call, told.code, data.raw);
    } else {
        hm_fresh_answered(call);
    }
    if (of_plugin(told.code) && !call->admin) {
        bool inside =
            told.code == HM_PLUGIN || told.code == HM_INTERNAL; // the message tells of the source, too
        redact(data, !inside, &shown);
        told.data = hm_buf_view(&shown);
        if (inside) told.message = HM_LIT("");
    }
    hm_call_done(call, told.code, HM_LIT(""), told.message, told.data);
    hm_buf_free(&shown);
    return true;
}

// ---- unsealing ----------------------------------------------------------------------------------------

// The same once more: a call that runs again, after a conflict, opens what it had opened.
static bool noted(const struct call *call, struct hm_str type, struct hm_str id, struct hm_str field,
                  struct hm_str why) {
    if (!(call->conflicts || call->duplicates || call->deaths || call->moved)) return false;
    if (call->audits_kept > NOTED_MAX) return false;
    for (const struct audit *a = call->audits; a; a = a->next)
        if (hm_str_eq(id, hm_str_of(a->id)) && hm_str_eq(field, hm_str_of(a->field)) &&
            hm_str_eq(type, hm_str_of(a->type)) && hm_str_eq(why, hm_str_of(a->why)))
            return true;
    return false;
}

void hm_call_audit(struct call *call, struct hm_str type, struct hm_str id, struct hm_str field,
                   struct hm_str why, struct hm_str whose) {
    call->audit_count++;
    hm_tape_sealed(call);
    if (noted(call, type, id, field, why)) return;
    struct audit *a = hm_alloc(sizeof *a);
    *a = (struct audit){call->audits,      hm_str_dup(type), hm_str_dup(id),
                        hm_str_dup(field), hm_str_dup(why),  hm_str_dup(whose)};
    call->audits = a;
    call->audits_kept++;
}

void hm_record_about(const struct hm_type *type, const struct hm_record *record, struct hm_buf *out) {
    struct hm_json value, data = {HM_JSON_OBJECT, record->data};
    if (type->about[0] && hm_json_path(data, type->about, &value)) hm_json_string(value, out);
}

static bool sealed_field(const struct hm_type *type, struct hm_str field) {
    for (unsigned i = 0; i < type->sealed_count; i++)
        if (hm_str_eq(field, hm_str_of(type->sealed[i]))) return true;
    return false;
}

// Whoever may read the record may have it opened, by the server, which alone has the keys.
static bool unseal(struct call *call, const struct hm_type *type, struct hm_str id, struct hm_str field,
                   struct hm_str why, struct hm_buf *out, struct hm_error *err) {
    struct hm_store *store = call->institution->store;
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_buf whose = {0};
    bool ok = false;
    if (!hm_read_begin(store, &read, err)) return false;
    if (!hm_read_get(read, hm_str_of(type->name), id, &record, err)) goto out;
    if (!call->system && !hm_access_meets(call->principals, record.audience)) {
        hm_fail(err, HM_NOT_FOUND, "no such record"); // as if there were none
        goto out;
    }
    if (call->trying && !hm_trying_sees(call, record.audience)) {
        hm_fail(err, HM_FORBIDDEN, "whoever tries it may not open this sealed field");
        goto out;
    }
    if (!hm_unseal(store, &record, field, out, err)) goto out;
    hm_record_about(type, &record, &whose);
    hm_call_audit(call, hm_str_of(type->name), id, field, why, hm_buf_view(&whose));
    ok = true;
out:
    hm_buf_free(&whose);
    hm_read_end(read);
    return ok;
}

bool hm_call_unseal(struct call *call, struct hm_str payload) {
    struct hm_reader r = hm_reader_of(payload);
    struct hm_str name = hm_get_str(&r), id = hm_get_str(&r), field = hm_get_str(&r), why = hm_get_str(&r);
    struct hm_error err = {0};
    struct hm_buf value = {0}, answer = {0};
    if (r.bad || r.at != r.end) return false;
    if (why.len > WHY_MAX) why.len = WHY_MAX;
    struct hm_types *types = hm_store_types(call->institution->store);
    const struct hm_type *type = hm_types_find(types, name);
    bool ok = false;
    if (!type || type->hidden || !hm_id_valid(id) || !sealed_field(type, field))
        hm_fail(&err, HM_PARAMS, "no such sealed field");
    else if (call->audit_count >= AUDITS_MAX)
        hm_fail(&err, HM_TOO_LARGE, "one call may open %u sealed fields", AUDITS_MAX);
    else
        ok = unseal(call, type, id, field, why, &value, &err);
    hm_types_unref(types);
    hm_put_u8(&answer, ok ? HM_UNSEALED_OK : err.code == HM_NOT_FOUND ? HM_UNSEALED_ABSENT : HM_UNSEALED_NOT);
    hm_put_str(&answer, ok ? hm_buf_view(&value) : hm_str_of(err.message));
    hm_proc_send(call->proc, HM_F_UNSEALED, call->id, hm_buf_view(&answer));
    hm_buf_free(&value);
    hm_buf_free(&answer);
    return true;
}
