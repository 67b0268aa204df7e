// plugin.try and plugin.replay: a call that runs in a worker of its own, with the source in question laid
// over what is in force, on the institution's real data and without effect. Loop thread. What always holds:
// nothing that such a worker says is committed but the audit of what it opened; it sees what whoever it runs
// as may see, and opens of that only what whoever asked may see, too; its worker ends with it.
#include "base/clock.h"
#include "engine/tapes.h"
#include "script/frames.h"

#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#define SOURCE_MAX (1u << 20)
#define AT_ONCE 2u // of one institution
#define LONG_CPU_MS 60000u
#define LONG_DEADLINE_MS 90000u

struct trying {
    struct trying *prev, *next;
    struct institution *institution;
    struct call *call; // that asked
    struct trial *trial;
    struct call *inner; // that runs
    struct hm_principals *asker;
    char kind[HM_NAME_MAX + 1], id[HM_NAME_MAX + 1], method[129], person[HM_ID_MAX + 1];
    struct hm_buf params, source;
    bool has_source, is_replay;
    struct taped taped;
};

static void trying_free(struct trying *t) {
    struct author *author = hm_author_of(t->institution);
    DL_DELETE(author->trying, t);
    author->trying_count--;
    hm_principals_unref(t->asker);
    hm_buf_free(&t->params);
    hm_buf_free(&t->source);
    hm_taped_close(&t->taped);
    free(t);
}

bool hm_trying_sees(const struct call *call, struct hm_str audience) {
    return hm_access_meets(call->trying->asker, audience);
}

// ---- its end ------------------------------------------------------------------------------------------

// Errors of a source that does not load, as plugin.check tells them.
static void fail_errors(struct call *call, const struct trying *t, struct hm_str errors) {
    struct hm_buf data = {0}, name = {0};
    struct hm_json_iter it = hm_json_iter((struct hm_json){HM_JSON_ARRAY, errors});
    struct hm_json first, value;
    static const char *const members[] = {"file", "line", "message"};
    hm_buf_printf(&name, "%s/%s", t->kind, t->id);
    hm_buf_char(&data, '{');
    hm_json_member_str(&data, "plugin", hm_buf_view(&name));
    if (hm_json_next(&it, NULL, &first))
        for (size_t i = 0; i < 3; i++)
            if (hm_json_get(first, members[i], &value)) hm_json_member_raw(&data, members[i], value.raw);
    hm_json_member_raw(&data, "errors", errors);
    hm_buf_char(&data, '}');
    hm_call_done(call, HM_PLUGIN, HM_LIT(""), HM_LIT("the plugin does not load"), hm_buf_view(&data));
    hm_buf_free(&name);
    hm_buf_free(&data);
}

// Ends the trial; the call is the caller's to answer.
static struct call *finish(struct trying *t) {
    struct call *call = t->call;
    t->trial->busy = 0;
    hm_trial_end(t->trial);
    return call;
}

static void on_refused(struct trial *trial, struct hm_str errors) {
    struct trying *t = trial->arg;
    struct call *call = finish(t);
    if (call->engine->closing)
        hm_call_fail(call, HM_UNAVAILABLE, "the server is shutting down");
    else
        fail_errors(call, t, errors);
    trying_free(t);
}

void hm_trying_closes(struct institution *inst) {
    struct trying *t, *next;
    if (!inst->author) return;
    DL_FOREACH_SAFE(inst->author->trying, t, next) {
        if (!t->inner) t->trial->refused(t->trial, HM_LIT("[]")); // else its worker's end answers it
    }
}

static void put_head(const struct trying *t, struct hm_buf *out) {
    struct hm_json entry, value;
    hm_buf_char(out, '{');
    hm_json_member_str(out, "kind", hm_str_of(t->kind));
    hm_json_member_str(out, "id", hm_str_of(t->id));
    if (hm_cat_plugin(t->trial->catalogue, t->kind, t->id, &entry) && hm_json_get(entry, "version", &value))
        hm_json_member_raw(out, "version", value.raw);
    hm_json_member_str(out, "method", hm_str_of(t->method));
    if (t->person[0]) hm_json_member_str(out, "person", hm_str_of(t->person));
}

static bool sees(const struct trying *t, struct hm_json audience) {
    struct hm_buf packed = {0}, name = {0};
    struct hm_json_iter it = hm_json_iter(audience);
    struct hm_json item;
    while (hm_json_next(&it, NULL, &item)) {
        hm_buf_clear(&name);
        if (hm_json_string(item, &name)) hm_packed_add(&packed, hm_buf_view(&name));
    }
    bool may = hm_access_meets(t->asker, hm_buf_view(&packed));
    hm_buf_free(&packed);
    hm_buf_free(&name);
    return may;
}

// The changes, those without their data that whoever asked may not see themselves.
static void put_changes(const struct trying *t, struct hm_json changes, struct hm_buf *out) {
    struct hm_json_iter it = hm_json_iter(changes);
    struct hm_json item, value;
    static const char *const shown[] = {"action", "type", "id"};
    hm_json_key(out, "changes");
    hm_buf_char(out, '[');
    while (hm_json_next(&it, NULL, &item)) {
        if (out->data[out->len - 1] != '[') hm_buf_char(out, ',');
        bool may = (!hm_json_get(item, "audience", &value) || sees(t, value)) &&
                   (!hm_json_get(item, "audience_before", &value) || sees(t, value));
        if (may) {
            hm_buf_str(out, item.raw);
            continue;
        }
        hm_buf_char(out, '{');
        for (size_t i = 0; i < 3; i++)
            if (hm_json_get(item, shown[i], &value)) hm_json_member_raw(out, shown[i], value.raw);
        hm_json_member_raw(out, "hidden", HM_LIT("true"));
        hm_buf_char(out, '}');
    }
    hm_buf_char(out, ']');
}

static void put_answer(const struct trying *t, struct hm_json answer, struct hm_buf *out) {
    struct hm_json_iter it = hm_json_iter(answer);
    struct hm_json key, value;
    while (hm_json_next(&it, &key, &value)) {
        if (hm_json_key_is(key, HM_LIT("intents"))) continue; // for the comparison: seals are open in it
        bool tells = hm_json_key_is(key, HM_LIT("result")) || hm_json_key_is(key, HM_LIT("logs"));
        if (t->is_replay && t->taped.sealed && tells) continue;
        if (hm_json_key_is(key, HM_LIT("changes"))) {
            put_changes(t, value, out);
            continue;
        }
        hm_buf_char(out, ',');
        hm_buf_str(out, key.raw);
        hm_buf_char(out, ':');
        hm_buf_str(out, value.raw);
    }
}

// Code and data; the sentence of an error depends on who is told.
static void error_core(struct hm_json error, struct hm_buf *out) {
    struct hm_json data = {0};
    hm_json_get(error, "data", &data);
    hm_tape_error_json((enum hm_code)hm_json_number(error, "code"), data.raw, out);
}

static bool sees_intents(const struct trying *t, struct hm_json intents) {
    struct hm_json_iter it = hm_json_iter(intents);
    struct hm_json item, audience;
    while (hm_json_next(&it, NULL, &item))
        if (!hm_json_get(item, "audience", &audience) || !sees(t, audience)) return false;
    return true;
}

static unsigned put_part(const struct trying *t, const char *name, struct hm_json was, struct hm_json is,
                         struct hm_buf *out) {
    struct hm_buf places = {0};
    bool hidden = t->taped.sealed;
    if (strcmp(name, "intents") == 0) hidden = hidden || !sees_intents(t, was) || !sees_intents(t, is);
    unsigned n = hm_json_differences(was, is, hidden, 50, &places);
    hm_json_key(out, name);
    hm_buf_printf(out, "{\"count\":%u,\"places\":[%s]}", n, places.len ? places.data : "");
    hm_buf_free(&places);
    return n;
}

// For a recorded call: how what it came to now differs from then.
static void put_comparison(const struct trying *t, struct hm_json now, struct hm_buf *out) {
    static const char *const parts[] = {"result", "error", "intents"};
    static const char *const shown[] = {"time", "version", "failed"};
    struct hm_json then = {0}, value, was, is;
    const struct hm_json none = {HM_JSON_NULL, HM_LIT("null")}, empty = {HM_JSON_ARRAY, HM_LIT("[]")};
    struct hm_buf core = {0};
    unsigned count = 0;
    hm_json_get(t->taped.root, "outcome", &then);
    hm_json_key(out, "differences");
    hm_buf_char(out, '{');
    for (size_t i = 0; i < 3; i++) {
        if (!hm_json_get(then, parts[i], &was)) was = i == 2 ? empty : none;
        if (!hm_json_get(now, parts[i], &is)) is = i == 2 ? empty : none;
        if (i == 1 && is.kind == HM_JSON_OBJECT) {
            error_core(is, &core);
            is.raw = hm_buf_view(&core);
        }
        count += put_part(t, parts[i], was, is, out);
    }
    hm_buf_char(out, '}');
    hm_json_member_raw(out, "equal", count ? HM_LIT("false") : HM_LIT("true"));
    hm_json_member_raw(out, "sealed", t->taped.sealed ? HM_LIT("true") : HM_LIT("false"));
    hm_json_key(out, "recorded");
    hm_buf_char(out, '{');
    for (size_t i = 0; i < 3; i++)
        if (hm_json_get(t->taped.root, shown[i], &value)) hm_json_member_raw(out, shown[i], value.raw);
    hm_buf_char(out, '}');
    hm_buf_free(&core);
}

static void on_answered(void *arg, const struct hm_answer *answer) {
    struct trying *t = arg;
    struct hm_buf out = {0};
    struct hm_json result;
    t->inner = NULL;
    if (answer->code || !hm_json_parse(answer->result, &result, NULL)) {
        struct call *call = finish(t);
        hm_call_done(call, answer->code ? answer->code : HM_INTERNAL, HM_LIT(""), answer->message,
                     answer->data);
        trying_free(t);
        return;
    }
    put_head(t, &out);
    if (t->is_replay) put_comparison(t, result, &out);
    put_answer(t, result, &out);
    hm_buf_char(&out, '}');
    struct call *call = finish(t);
    hm_call_ok(call, hm_buf_view(&out));
    hm_buf_free(&out);
    trying_free(t);
}

static void audited(struct commit_item *item) {
    struct call *inner = item->call;
    hm_call_free_audits(inner);
    if (item->ok && item->commit.code == HM_OK)
        hm_call_ok(inner, item->result);
    else
        hm_call_fail_item(inner, item);
}

void hm_trying_result(struct call *inner, const struct parsed_result *result) {
    struct trying *t = inner->trying;
    struct hm_buf text = {0}, intents = {0};
    if (t->is_replay) { // errors have no intents
        hm_intents_json(result, &intents);
        hm_json_with((struct hm_json){HM_JSON_OBJECT, result->result}, "intents", hm_buf_view(&intents),
                     &text);
    } else {
        hm_buf_str(&text, result->result);
    }
    if (inner->audits) { // what was opened is told only when it is written down that it was
        struct commit_item *item = hm_item_new(inner->institution, inner->by, t->call->method);
        item->call = inner;
        item->result = hm_item_keep(item, hm_buf_view(&text));
        hm_item_audits(item, inner);
        hm_item_submit(item, audited);
    } else {
        hm_call_ok(inner, hm_buf_view(&text));
    }
    hm_buf_free(&text);
    hm_buf_free(&intents);
}

// ---- its call -----------------------------------------------------------------------------------------

// As whom it runs. False: the call has been answered.
static bool take_part(struct trying *t, struct call *inner) {
    struct call *call = t->call;
    struct hm_error err = {0};
    struct hm_buf json = {0};
    snprintf(inner->by, sizeof inner->by, "%s", call->by);
    if (!t->person[0]) {
        hm_call_describe(call);
        inner->caller_json = hm_strdup(call->caller_json);
        inner->principals = hm_principals_ref(call->principals);
        inner->admin = call->admin;
        return true;
    }
    if (!hm_pose(t->institution, t->person, &json, &inner->principals, &err)) {
        hm_buf_free(&json);
        hm_call_fail_error(call, &err);
        return false;
    }
    inner->caller_json = json.data;
    inner->admin = true; // who is answered in the end
    struct hm_buf why = {0};
    hm_buf_printf(&why, "%s as this person: %s", call->method, t->method);
    hm_call_audit(inner, HM_LIT("person"), hm_str_of(t->person), HM_LIT(""), hm_buf_view(&why),
                  hm_str_of(t->person));
    hm_buf_free(&why);
    return true;
}

static bool read_seed(struct hm_json root, uint8_t seed[32]) {
    char text[65] = "";
    unsigned byte;
    if (!hm_json_get_text(root, "seed", text, sizeof text) || strlen(text) != 64) return false;
    for (size_t i = 0; i < 32; i++) {
        if (sscanf(text + 2 * i, "%2x", &byte) != 1) return false;
        seed[i] = (uint8_t)byte;
    }
    return true;
}

// The part of whoever called then, with the numbers and the time of then.
static bool take_recorded_part(struct trying *t, struct call *inner) {
    struct call *call = t->call;
    struct hm_json root = t->taped.root, caller, list, item;
    struct hm_buf packed = {0}, name = {0}, why = {0};
    char person[HM_ID_MAX + 1] = "";
    if (!hm_json_get(root, "caller", &caller) || !read_seed(root, inner->seed)) {
        hm_call_fail(call, HM_NOT_FOUND, "the recording cannot be read");
        return false;
    }
    snprintf(inner->by, sizeof inner->by, "%s", call->by);
    inner->caller_json = hm_str_dup(caller.raw);
    if (hm_json_get(caller, "principals", &list)) {
        struct hm_json_iter it = hm_json_iter(list);
        while (hm_json_next(&it, NULL, &item)) {
            hm_buf_clear(&name);
            if (hm_json_string(item, &name)) hm_packed_add(&packed, hm_buf_view(&name));
        }
    }
    inner->principals = hm_principals_of_packed(hm_buf_view(&packed));
    inner->admin = true;
    inner->sent_ms = hm_json_number(root, "time");
    inner->past = (uint64_t)hm_json_number(root, "seq");
    inner->flags = (uint8_t)((unsigned)hm_json_number(root, "flags") | HM_CALL_DRY | HM_CALL_PAST);
    hm_json_get_text(caller, "person", person, sizeof person);
    hm_buf_printf(&why, "%s: %s", call->method, t->method);
    hm_call_audit(inner, HM_LIT("recording"), hm_str_of(t->taped.id), HM_LIT(""), hm_buf_view(&why),
                  hm_str_of(person));
    hm_buf_free(&packed);
    hm_buf_free(&name);
    hm_buf_free(&why);
    return true;
}

static void on_ready(struct trial *trial) {
    struct trying *t = trial->arg;
    struct call *call = t->call;
    struct hm_json entry;
    const struct hm_settings *s = &call->engine->settings;
    if (!hm_cat_plugin(trial->catalogue, t->kind, t->id, &entry)) {
        if (t->has_source) {
            on_refused(trial,
                       HM_LIT("[{\"message\":\"the source does not declare the plugin it was given as\"}]"));
            return;
        }
        hm_call_fail(finish(t), HM_NOT_FOUND, "there is no such plugin in force");
        trying_free(t);
        return;
    }
    const struct cat_method *method = hm_cat_method(trial->catalogue, hm_str_of(t->method));
    if (!method) {
        hm_call_param(finish(t), "method", "no plugin declares this method");
        trying_free(t);
        return;
    }
    if (!hm_call_still(call)) {
        finish(t);
        trying_free(t);
        return;
    }
    struct call *inner = hm_call_new(call->engine, t->institution, call->caller, hm_str_of(t->method),
                                     hm_buf_view(&t->params), on_answered, t);
    hm_engine_random(call->engine, inner->seed, sizeof inner->seed);
    inner->trying = t;
    inner->flags = HM_CALL_DRY;
    bool lasts = method->job || strcmp(t->kind, "matcher") == 0 || strcmp(t->kind, "report") == 0;
    if (lasts) {
        inner->cpu_ms = s->job_cpu_ms < LONG_CPU_MS ? s->job_cpu_ms : LONG_CPU_MS;
        inner->memory_bytes = s->job_memory_bytes;
        trial->proc->deadline_ms =
            s->job_deadline_ms < LONG_DEADLINE_MS ? s->job_deadline_ms : LONG_DEADLINE_MS;
    }
    if (t->is_replay ? !take_recorded_part(t, inner) : !take_part(t, inner)) {
        inner->trying = NULL; // the one that asked has been answered
        inner->answer = hm_answer_ignored;
        hm_call_free_audits(inner);
        hm_call_fail(inner, HM_NOT_FOUND, "");
        finish(t);
        trying_free(t);
        return;
    }
    t->inner = inner;
    trial->busy = 1; // should its worker end now, the end of the call says so
    trial->proc->state = PROC_READY;
    hm_proc_call(trial->proc, inner);
}

// ---- its beginning ------------------------------------------------------------------------------------

static void candidates_json(const struct trying *t, struct hm_buf *out) {
    struct hm_str watched = hm_watch_candidates(t->institution);
    hm_buf_char(out, '[');
    if (watched.len > 2) hm_buf_add(out, watched.ptr + 1, watched.len - 2);
    if (t->has_source) {
        if (watched.len > 2) hm_buf_char(out, ',');
        hm_buf_char(out, '{');
        hm_json_member_str(out, "kind", hm_str_of(t->kind));
        hm_json_member_str(out, "id", hm_str_of(t->id));
        hm_json_member_str(out, "source", hm_buf_view(&t->source));
        hm_json_member_str(out, "note", HM_LIT(""));
        hm_buf_char(out, '}');
    }
    hm_buf_char(out, ']');
}

// NULL: the call has been answered.
static struct trying *trying_new(struct call *call) {
    struct author *author = hm_author_of(call->institution);
    if (author->trying_count >= AT_ONCE) {
        hm_call_wait(call, 2);
        return NULL;
    }
    struct trying *t = hm_alloc(sizeof *t);
    t->institution = call->institution;
    t->call = call;
    t->asker = hm_principals_ref(call->principals);
    t->has_source = hm_arg_buf(call, "source", &t->source);
    DL_APPEND(author->trying, t);
    author->trying_count++;
    if (t->source.len <= SOURCE_MAX) return t;
    hm_call_param(call, "source", "is too long");
    trying_free(t);
    return NULL;
}

static void begin(struct trying *t) {
    struct hm_buf candidates = {0};
    struct hm_error err = {0};
    candidates_json(t, &candidates);
    t->trial = hm_trial_aside(t->institution, hm_buf_view(&candidates), &err);
    hm_buf_free(&candidates);
    if (!t->trial) {
        hm_call_fail_error(t->call, &err);
        trying_free(t);
        return;
    }
    t->trial->arg = t;
    t->trial->ready = on_ready;
    t->trial->refused = on_refused;
}

// A member of the params, given on under this name.
static void pass_on(const struct call *call, const char *from, const char *as, struct hm_buf *out) {
    struct hm_json value;
    if (hm_json_get(call->params, from, &value)) hm_json_member_raw(out, as, value.raw);
}

// Which method tries a plugin of this kind, and with what. False: the call has been answered.
static bool choose_method(struct trying *t) {
    struct call *call = t->call;
    struct hm_json params;
    if (hm_arg_text(call, "method", t->method, sizeof t->method) && t->method[0]) {
        bool given = hm_json_get(call->params, "params", &params);
        hm_buf_str(&t->params, given ? params.raw : HM_LIT("{}"));
        if (t->method[0] != '$' && !hm_core_find(call->engine, hm_str_of(t->method))) return true;
        hm_call_param(call, "method", "is no method of a plugin");
        return false;
    }
    hm_buf_char(&t->params, '{');
    if (strcmp(t->kind, "matcher") == 0) {
        snprintf(t->method, sizeof t->method, "match.preview");
        hm_json_member_str(&t->params, "rule", hm_str_of(t->id));
        pass_on(call, "programme", "programme", &t->params);
    } else if (strcmp(t->kind, "questionnaire") == 0) {
        snprintf(t->method, sizeof t->method, "questionnaire.preview");
        hm_json_member_str(&t->params, "questionnaire", hm_str_of(t->id));
        if (hm_json_get(call->params, "answers", &params))
            hm_json_member_raw(&t->params, "answers", params.raw);
        else
            hm_json_member_raw(&t->params, "answers", HM_LIT("{}"));
    } else if (strcmp(t->kind, "report") == 0) {
        snprintf(t->method, sizeof t->method, "report.run");
        hm_json_member_str(&t->params, "report", hm_str_of(t->id));
        pass_on(call, "params", "params", &t->params);
    } else {
        hm_call_param(call, "method", "say which method to try, and its params");
        return false;
    }
    hm_buf_char(&t->params, '}');
    return true;
}

static void plugin_try(struct call *call) {
    char kind[129];
    struct trying *t = trying_new(call);
    if (!t) return;
    hm_arg_text(call, "kind", kind, sizeof kind);
    snprintf(t->kind, sizeof t->kind, "%s", hm_kind_name(kind));
    hm_arg_text(call, "id", t->id, sizeof t->id);
    hm_arg_text(call, "person", t->person, sizeof t->person);
    if (!t->kind[0]) {
        hm_call_param(call, "kind", "is no kind of plugin");
    } else if (!hm_name_valid(hm_str_of(t->id))) {
        hm_call_param(call, "id", "must begin with a letter and hold a-z, 0-9, _ . - only, 64 at most");
    } else if (choose_method(t)) {
        begin(t);
        return;
    }
    trying_free(t);
}

static void plugin_replay(struct call *call) {
    struct hm_error err = {0};
    char id[129];
    struct trying *t = trying_new(call);
    struct hm_json params;
    if (!t) return;
    t->is_replay = true;
    hm_arg_text(call, "recording", id, sizeof id);
    if (!hm_taped_open(call->institution, id, &t->taped, &err)) {
        hm_call_fail_error(call, &err);
    } else if (t->taped.sealed && t->has_source) {
        // A source of one's own could tell what the call was given, or opened.
        hm_call_reason(call, HM_FORBIDDEN, "need", "a recording without sealed fields");
    } else {
        snprintf(t->kind, sizeof t->kind, "%s", t->taped.kind);
        snprintf(t->id, sizeof t->id, "%s", t->taped.plugin);
        hm_json_get_text(t->taped.root, "method", t->method, sizeof t->method);
        hm_buf_str(&t->params, hm_json_get(t->taped.root, "params", &params) ? params.raw : HM_LIT("{}"));
        begin(t);
        return;
    }
    trying_free(t);
}

static const struct core_method rows[] = {
    {"plugin.try", ACCESS_ADMIN,
     "kind:text! id:text! source:long method:text params:any person:text answers:object programme:text",
     "Runs a plugin on the institution's data without effect.", plugin_try},
    {"plugin.replay", ACCESS_ADMIN, "recording:text! source:long",
     "Runs a recorded call again, as the store was then, without effect.", plugin_replay},
};
const struct core_table hm_methods_plugin_try = {rows, sizeof rows / sizeof *rows};
