// Plugins as versions in the store: plugin.*. Loop thread. A deploy tries the source in a worker of its
// own (trial.c), then commits the version and the pointer to it in one transaction, then that worker
// serves. What always holds: whatever goes wrong before that commit, the old version goes on serving and
// is what the store says.
#include "base/clock.h"
#include "base/code.h"
#include "engine/author.h"

#include <stdio.h>
#include <stdlib.h>

#define SOURCE_MAX (1u << 20)
#define KEY_MAX (HM_NAME_MAX + 1 + HM_ID_MAX + 1)

enum purpose { CHECK, DEPLOY, ROLLBACK, REMOVE };

struct deploy {
    struct call *call;
    struct trial *trial;
    enum purpose purpose;
    char kind[HM_NAME_MAX + 1], id[HM_NAME_MAX + 1];
    char key[KEY_MAX]; // "kind/id"
    char version[37];  // record id of the version that becomes active
    char hash[65];
    struct hm_buf source, note;
    uint64_t pointer;          // version of the plugin record, 0 when there is none
    struct hm_buf old_pointer; // its data, to put it back (REMOVE)
};

static void deploy_free(struct deploy *d) {
    hm_buf_free(&d->source);
    hm_buf_free(&d->note);
    hm_buf_free(&d->old_pointer);
    free(d);
}

// "service" for "service" or "services", or NULL.
static const char *kind_of(const char *text) {
    static const char *const kinds[][2] = {{"service", "services"},
                                           {"matcher", "matchers"},
                                           {"activity", "activities"},
                                           {"questionnaire", "questionnaires"},
                                           {"report", "reports"}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(text, kinds[i][0]) == 0 || strcmp(text, kinds[i][1]) == 0) return kinds[i][0];
    return NULL;
}

static void kind_arg(const struct call *call, char out[HM_NAME_MAX + 1]) {
    char text[HM_NAME_MAX + 1];
    hm_arg_text(call, "kind", text, sizeof text);
    const char *kind = kind_of(text);
    snprintf(out, HM_NAME_MAX + 1, "%s", kind ? kind : "");
}

// ---- texts --------------------------------------------------------------------------------------------

static void candidates_json(const struct deploy *d, struct hm_buf *out) {
    struct hm_str watched = hm_watch_candidates(d->call->institution);
    hm_buf_char(out, '[');
    if (d->purpose != REMOVE) {
        hm_buf_char(out, '{');
        hm_json_member_str(out, "kind", hm_str_of(d->kind));
        hm_json_member_str(out, "id", hm_str_of(d->id));
        hm_json_member_str(out, "source", hm_buf_view(&d->source));
        hm_json_member_str(out, "note", hm_buf_view(&d->note));
        hm_buf_char(out, '}');
    }
    if (watched.len > 2) {
        if (d->purpose != REMOVE) hm_buf_char(out, ',');
        hm_buf_add(out, watched.ptr + 1, watched.len - 2);
    }
    hm_buf_char(out, ']');
}

static void version_json(const struct deploy *d, int64_t now_ms, struct hm_buf *out) {
    hm_buf_char(out, '{');
    hm_json_member_str(out, "plugin", hm_str_of(d->key));
    hm_json_member_str(out, "kind", hm_str_of(d->kind));
    hm_json_member_str(out, "id", hm_str_of(d->id));
    hm_json_member_str(out, "source", hm_buf_view(&d->source));
    hm_json_member_str(out, "hash", hm_str_of(d->hash));
    hm_json_member_str(out, "note", hm_buf_view(&d->note));
    hm_json_member_str(out, "by", hm_str_of(d->call->by));
    hm_json_member_int(out, "time", now_ms);
    hm_json_member_str(out, "state", HM_LIT("good"));
    hm_buf_char(out, '}');
}

static void pointer_json(const struct deploy *d, int64_t now_ms, struct hm_buf *out) {
    hm_buf_char(out, '{');
    hm_json_member_str(out, "kind", hm_str_of(d->kind));
    hm_json_member_str(out, "id", hm_str_of(d->id));
    hm_json_member_str(out, "active", hm_str_of(d->version));
    hm_json_member_str(out, "by", hm_str_of(d->call->by));
    hm_json_member_int(out, "time", now_ms);
    hm_buf_char(out, '}');
}

static void result_json(const struct deploy *d, struct hm_buf *out) {
    struct hm_json entry;
    hm_buf_char(out, '{');
    hm_json_member_raw(out, "ok", HM_LIT("true"));
    hm_json_member_str(out, "kind", hm_str_of(d->kind));
    hm_json_member_str(out, "id", hm_str_of(d->id));
    if (d->hash[0]) hm_json_member_str(out, "hash", hm_str_of(d->hash));
    if (d->purpose != CHECK) {
        hm_json_key(out, "version");
        if (d->version[0])
            hm_json_put_str(out, hm_str_of(d->version));
        else
            hm_buf_text(out, "null");
    }
    if (d->trial && hm_cat_plugin(d->trial->catalogue, d->kind, d->id, &entry))
        hm_json_member_raw(out, "plugin", entry.raw);
    if (d->purpose == CHECK && d->trial) {
        hm_json_key(out, "warnings");
        hm_plugin_warnings(d->trial, d->kind, d->id, out);
    }
    hm_buf_char(out, '}');
}

// ---- what comes of a trial ----------------------------------------------------------------------------

static void put_back(struct deploy *d) {
    if (d->purpose != REMOVE || !d->old_pointer.len) return;
    struct commit_item *item = hm_item_new(d->call->institution, d->call->by, "plugin.rollback");
    hm_item_put(item, "plugin", hm_str_of(d->key), HM_ANY_VERSION, hm_buf_view(&d->old_pointer),
                "role:administrator");
    hm_item_submit(item, hm_item_ignored);
}

static void fail_errors(struct call *call, const char *kind, const char *id, struct hm_str errors) {
    struct hm_buf data = {0};
    struct hm_json_iter it = hm_json_iter((struct hm_json){HM_JSON_ARRAY, errors});
    struct hm_json first, value;
    hm_buf_char(&data, '{');
    hm_buf_text(&data, "\"plugin\":");
    char name[KEY_MAX];
    snprintf(name, sizeof name, "%s/%s", kind, id);
    hm_json_put_str(&data, hm_str_of(name));
    // The first error also in the place where errors of running plugins have theirs.
    static const char *const members[] = {"file", "line", "message"};
    if (hm_json_next(&it, NULL, &first))
        for (size_t i = 0; i < 3; i++)
            if (hm_json_get(first, members[i], &value)) hm_json_member_raw(&data, members[i], value.raw);
    hm_json_member_raw(&data, "errors", errors);
    hm_buf_char(&data, '}');
    hm_call_done(call, HM_PLUGIN, HM_LIT(""), HM_LIT("the plugin was refused"), hm_buf_view(&data));
    hm_buf_free(&data);
}

static void on_refused(struct trial *trial, struct hm_str errors) {
    struct deploy *d = trial->arg;
    struct call *call = d->call;
    put_back(d);
    hm_trial_end(trial);
    if (call->engine->closing)
        hm_call_fail(call, HM_UNAVAILABLE, "the server is shutting down");
    else
        fail_errors(call, d->kind, d->id, errors);
    deploy_free(d);
}

static void finish(struct deploy *d, bool adopt) {
    struct hm_buf result = {0};
    struct call *call = d->call;
    result_json(d, &result);
    if (adopt)
        hm_trial_adopt(d->trial);
    else
        hm_trial_end(d->trial);
    if (d->purpose == REMOVE)
        hm_idem_finish(call, hm_buf_view(&result));
    else
        hm_call_ok(call, hm_buf_view(&result));
    hm_buf_free(&result);
    deploy_free(d);
}

static void on_committed(struct commit_item *item) {
    struct deploy *d = item->arg;
    d->trial->busy--;
    if (item->ok && item->commit.code == HM_OK) {
        finish(d, true);
        return;
    }
    struct call *call = d->call;
    hm_trial_end(d->trial);
    deploy_free(d);
    hm_call_fail_item(call, item);
}

static void on_typed(struct trial *trial, bool ok, const struct hm_error *err) {
    struct deploy *d = trial->arg;
    struct call *call = d->call;
    struct hm_buf text = {0};
    if (!ok && err && err->cause != HM_CAUSE_OTHER) { // no fault of the plugin
        struct hm_error why = *err;
        put_back(d);
        hm_trial_end(trial);
        deploy_free(d);
        hm_call_not_written(call, &why);
        return;
    }
    if (!ok || !trial->proc) {
        struct hm_buf errors = {0};
        hm_buf_text(&errors, "[{");
        hm_json_member_str(&errors, "plugin", hm_str_of(d->id));
        hm_json_member_str(&errors, "message", hm_str_of(!ok && err ? err->message : "the worker died"));
        hm_buf_text(&errors, "}]");
        on_refused(trial, hm_buf_view(&errors));
        hm_buf_free(&errors);
        return;
    }
    if (d->purpose == REMOVE) { // committed before
        finish(d, true);
        return;
    }
    if (!hm_call_still(call)) {
        hm_trial_end(trial);
        deploy_free(d);
        return;
    }
    struct commit_item *item = hm_item_new(call->institution, call->by, call->method);
    hm_item_saw_caller(item, call);
    if (d->purpose == DEPLOY) {
        version_json(d, item->commit.now_ms, &text);
        hm_item_put(item, "plugin_version", hm_str_of(d->version), 0, hm_buf_view(&text),
                    "role:administrator");
        hm_buf_clear(&text);
    }
    pointer_json(d, item->commit.now_ms, &text);
    hm_item_put(item, "plugin", hm_str_of(d->key), d->pointer, hm_buf_view(&text), "role:administrator");
    item->arg = d;
    trial->busy++;
    hm_buf_clear(&text);
    result_json(d, &text);
    hm_idem_put(item, call, hm_buf_view(&text));
    hm_item_submit(item, on_committed);
    hm_buf_free(&text);
}

// A candidate must be what it says it is: else a deploy of "a" could put "b" in force.
static bool declares_itself(const struct deploy *d) {
    struct hm_json entry;
    return d->purpose == REMOVE || hm_cat_plugin(d->trial->catalogue, d->kind, d->id, &entry);
}

static void on_ready(struct trial *trial) {
    struct deploy *d = trial->arg;
    if (!declares_itself(d)) {
        on_refused(trial,
                   HM_LIT("[{\"message\":\"the source does not declare the plugin it was given as\"}]"));
    } else if (d->purpose == CHECK) {
        finish(d, false);
    } else if (d->purpose != REMOVE && !hm_call_still(d->call)) {
        hm_trial_end(trial);
        deploy_free(d);
    } else {
        hm_trial_types(trial);
    }
}

static void start_trial(struct deploy *d) {
    struct call *call = d->call;
    struct hm_buf candidates = {0};
    struct hm_error err = {0};
    candidates_json(d, &candidates);
    d->trial = hm_trial_start(call->institution, hm_buf_view(&candidates), &err);
    hm_buf_free(&candidates);
    if (d->trial) {
        d->trial->arg = d;
        d->trial->ready = on_ready;
        d->trial->typed = on_typed;
        d->trial->refused = on_refused;
        return;
    }
    put_back(d);
    if (err.code == HM_CONFLICT)
        hm_call_reason(call, HM_CONFLICT, "reason", "deploying");
    else
        hm_call_fail_error(call, &err);
    deploy_free(d);
}

// ---- plugin.deploy, plugin.check ----------------------------------------------------------------------

// NULL: the call has been answered.
static struct deploy *deploy_new(struct call *call, enum purpose purpose) {
    struct deploy *d = hm_alloc(sizeof *d);
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_json data;
    struct hm_error err = {0};
    d->call = call;
    d->purpose = purpose;
    kind_arg(call, d->kind);
    hm_arg_text(call, "id", d->id, sizeof d->id);
    hm_arg_buf(call, "source", &d->source);
    hm_arg_buf(call, "note", &d->note);
    snprintf(d->key, sizeof d->key, "%s/%s", d->kind, d->id);
    if (!d->kind[0]) {
        hm_call_param(call, "kind", "is no kind of plugin");
    } else if (!hm_name_valid(hm_str_of(d->id))) {
        hm_call_param(call, "id", "must begin with a letter and hold a-z, 0-9, _ . - only, 64 at most");
    } else if (d->source.len > SOURCE_MAX || d->note.len > 2000) {
        hm_call_param(call, d->note.len > 2000 ? "note" : "source", "is too long");
    } else if (!hm_read_begin(call->institution->store, &read, &err)) {
        hm_call_fail_error(call, &err);
    } else {
        if (hm_read_data(read, "plugin", hm_str_of(d->key), &record, &data)) {
            d->pointer = record.version;
            hm_buf_str(&d->old_pointer, record.data);
        }
        hm_read_end(read);
        return d;
    }
    deploy_free(d);
    return NULL;
}

static void deploy_or_check(struct call *call, enum purpose purpose) {
    struct deploy *d = deploy_new(call, purpose);
    if (!d) return;
    hm_secret_hash(hm_buf_view(&d->source), d->hash);
    if (purpose == DEPLOY) hm_uuid7(hm_now_ms(), d->version);
    start_trial(d);
}

static void plugin_deploy(struct call *call) {
    deploy_or_check(call, DEPLOY);
}

static void plugin_check(struct call *call) {
    deploy_or_check(call, CHECK);
}

// ---- plugin.rollback ----------------------------------------------------------------------------------

struct older {
    const char *active;
    char version[37];
    bool passed; // the active one has been seen
};

static bool take_older(void *arg, const struct hm_record *record, struct hm_json data) {
    struct older *o = arg;
    (void)data;
    if (o->passed) {
        snprintf(o->version, sizeof o->version, "%.*s", (int)record->id.len, record->id.ptr);
        return false;
    }
    o->passed = hm_str_eq(record->id, hm_str_of(o->active));
    return true;
}

// Which version to go back to, and its source. version "" afterwards: back to what is shipped.
static bool find_version(struct deploy *d, struct hm_error *err) {
    struct institution *inst = d->call->institution;
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_json data;
    char active[129] = "", belongs[KEY_MAX] = "";
    bool ok = true;
    hm_json_get_text((struct hm_json){HM_JSON_OBJECT, hm_buf_view(&d->old_pointer)}, "active", active,
                     sizeof active);
    if (!hm_read_begin(inst->store, &read, err)) return false;
    if (!hm_arg_text(d->call, "version", d->version, sizeof d->version)) {
        struct older o = {.active = active};
        struct hm_types *types = hm_store_types(inst->store);
        hm_read_each(read, types, "plugin_version", "plugin", hm_str_of(d->key), true, take_older, &o);
        hm_types_unref(types);
        snprintf(d->version, sizeof d->version, "%s", o.version);
    }
    if (d->version[0]) {
        ok = hm_read_data(read, "plugin_version", hm_str_of(d->version), &record, &data) &&
             hm_json_get_text(data, "plugin", belongs, sizeof belongs) && strcmp(belongs, d->key) == 0;
        struct hm_json source;
        ok = ok && hm_json_get(data, "source", &source) && hm_json_string(source, &d->source);
        if (!ok) hm_fail(err, HM_NOT_FOUND, "no such version of this plugin");
    }
    hm_read_end(read);
    return ok;
}

static void removed(struct commit_item *item) {
    struct deploy *d = item->arg;
    if (item->ok && item->commit.code == HM_OK) {
        start_trial(d);
        return;
    }
    struct call *call = d->call;
    deploy_free(d);
    hm_call_fail_item(call, item);
}

static void plugin_rollback(struct call *call) {
    struct hm_error err = {0};
    struct deploy *d = deploy_new(call, ROLLBACK);
    if (!d) return;
    if (!d->pointer && !hm_json_get(call->params, "version", &(struct hm_json){0})) {
        hm_call_fail(call, HM_NOT_FOUND, "this plugin is not overridden here");
        deploy_free(d);
    } else if (!find_version(d, &err)) {
        hm_call_fail_error(call, &err);
        deploy_free(d);
    } else if (d->version[0]) {
        hm_secret_hash(hm_buf_view(&d->source), d->hash);
        start_trial(d);
    } else {
        d->purpose = REMOVE;
        struct commit_item *item = hm_item_new(call->institution, call->by, call->method);
        hm_item_remove(item, "plugin", hm_str_of(d->key), d->pointer);
        item->arg = d;
        hm_item_submit(item, removed);
    }
}

// ---- plugin.list, history, get ------------------------------------------------------------------------

static void active_of(struct hm_read *read, const char *kind, const char *id, char out[129]) {
    struct hm_record record;
    struct hm_json data;
    char key[KEY_MAX];
    out[0] = 0;
    snprintf(key, sizeof key, "%s/%s", kind, id);
    if (hm_read_data(read, "plugin", hm_str_of(key), &record, &data))
        hm_json_get_text(data, "active", out, 129);
}

static void plugin_list(struct call *call) {
    struct institution *inst = call->institution;
    struct hm_read *read = NULL;
    struct hm_json list, item;
    struct hm_error err = {0};
    struct hm_buf out = {0};
    char kind[HM_NAME_MAX + 1], id[HM_NAME_MAX + 1], active[129];
    if (hm_call_needs_catalogue(call)) return;
    if (!hm_read_begin(inst->store, &read, &err)) {
        hm_call_fail_error(call, &err);
        return;
    }
    hm_buf_text(&out, "{\"items\":[");
    if (inst->catalogue && hm_json_get(inst->catalogue->root, "plugins", &list)) {
        struct hm_json_iter it = hm_json_iter(list);
        while (hm_json_next(&it, NULL, &item)) {
            if (!hm_json_get_text(item, "kind", kind, sizeof kind) ||
                !hm_json_get_text(item, "id", id, sizeof id))
                continue;
            struct hm_buf quoted = {0};
            active_of(read, kind, id, active);
            hm_json_put_str(&quoted, hm_str_of(active));
            if (out.data[out.len - 1] != '[') hm_buf_char(&out, ',');
            hm_json_with(item, "active", active[0] ? hm_buf_view(&quoted) : HM_LIT("null"), &out);
            hm_buf_free(&quoted);
        }
    }
    hm_buf_char(&out, ']');
    if (inst->refusal.len) hm_json_member_raw(&out, "refused", hm_buf_view(&inst->refusal));
    hm_buf_char(&out, '}');
    hm_read_end(read);
    hm_call_ok(call, hm_buf_view(&out));
    hm_buf_free(&out);
}

struct history {
    struct hm_buf out;
    char active[129];
    unsigned count;
};

static bool take_version(void *arg, const struct hm_record *record, struct hm_json data) {
    static const char *const shown[] = {"kind", "id", "hash", "note", "by", "time"};
    struct history *h = arg;
    struct hm_json value;
    if (h->count++) hm_buf_char(&h->out, ',');
    hm_buf_char(&h->out, '{');
    hm_json_member_str(&h->out, "version", record->id);
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
        if (hm_json_get(data, shown[i], &value)) hm_json_member_raw(&h->out, shown[i], value.raw);
    bool active = hm_str_eq(record->id, hm_str_of(h->active));
    hm_json_member_raw(&h->out, "active", active ? HM_LIT("true") : HM_LIT("false"));
    hm_buf_char(&h->out, '}');
    return h->count < 200;
}

static void plugin_history(struct call *call) {
    struct institution *inst = call->institution;
    struct history h = {0};
    struct hm_read *read = NULL;
    struct hm_error err = {0};
    char kind[HM_NAME_MAX + 1], id[HM_NAME_MAX + 1], key[KEY_MAX];
    kind_arg(call, kind);
    hm_arg_text(call, "id", id, sizeof id);
    snprintf(key, sizeof key, "%s/%s", kind, id);
    if (!hm_read_begin(inst->store, &read, &err)) {
        hm_call_fail_error(call, &err);
        return;
    }
    active_of(read, kind, id, h.active);
    struct hm_types *types = hm_store_types(inst->store);
    hm_buf_text(&h.out, "{\"items\":[");
    hm_read_each(read, types, "plugin_version", "plugin", hm_str_of(key), true, take_version, &h);
    hm_buf_text(&h.out, "]}");
    hm_types_unref(types);
    hm_read_end(read);
    hm_call_ok(call, hm_buf_view(&h.out));
    hm_buf_free(&h.out);
}

static bool stored_source(struct call *call, const char *kind, const char *id, struct hm_buf *out) {
    static const char *const shown[] = {"source", "hash", "note", "by", "time"};
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_json data, value;
    char version[129], belongs[KEY_MAX], key[KEY_MAX];
    snprintf(key, sizeof key, "%s/%s", kind, id);
    if (!hm_read_begin(call->institution->store, &read, NULL)) return false;
    if (!hm_arg_text(call, "version", version, sizeof version)) active_of(read, kind, id, version);
    bool found = version[0] && hm_read_data(read, "plugin_version", hm_str_of(version), &record, &data) &&
                 hm_json_get_text(data, "plugin", belongs, sizeof belongs) && strcmp(belongs, key) == 0;
    if (found) {
        hm_buf_char(out, '{');
        hm_json_member_str(out, "kind", hm_str_of(kind));
        hm_json_member_str(out, "id", hm_str_of(id));
        hm_json_member_str(out, "version", hm_str_of(version));
        hm_json_member_str(out, "layer", HM_LIT("institution"));
        for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
            if (hm_json_get(data, shown[i], &value)) hm_json_member_raw(out, shown[i], value.raw);
        hm_buf_char(out, '}');
    }
    hm_read_end(read);
    return found;
}

// The host's list, of which one was asked for.
static void shipped_source(void *arg, const struct hm_answer *answer) {
    struct call *call = arg;
    struct hm_json result, list, item;
    if (answer->code) {
        hm_call_done(call, answer->code, answer->result, answer->message, answer->data);
        return;
    }
    bool any = hm_json_parse(answer->result, &result, NULL) && hm_json_get(result, "items", &list);
    struct hm_json_iter it = hm_json_iter(any ? list : (struct hm_json){0});
    if (any && hm_json_next(&it, NULL, &item))
        hm_call_ok(call, item.raw);
    else
        hm_call_fail(call, HM_NOT_FOUND, "no such plugin");
}

// From the store, or from a worker, which has the shipped files open.
static void plugin_get(struct call *call) {
    struct hm_buf out = {0}, params = {0};
    char kind[HM_NAME_MAX + 1], id[HM_NAME_MAX + 1];
    kind_arg(call, kind);
    hm_arg_text(call, "id", id, sizeof id);
    if (stored_source(call, kind, id, &out)) {
        hm_call_ok(call, hm_buf_view(&out));
    } else if (hm_json_get(call->params, "version", &(struct hm_json){0})) {
        hm_call_fail(call, HM_NOT_FOUND, "no such version of this plugin");
    } else {
        hm_buf_char(&params, '{');
        hm_json_member_str(&params, "kind", hm_str_of(kind));
        hm_json_member_str(&params, "id", hm_str_of(id));
        hm_buf_char(&params, '}');
        struct call *ask = hm_call_new(call->engine, call->institution, NULL, HM_LIT("$plugins"),
                                       hm_buf_view(&params), shipped_source, call);
        hm_call_system(ask);
        call->institution->wanted = true;
        hm_call_enqueue(ask, false);
    }
    hm_buf_free(&params);
    hm_buf_free(&out);
}

static const struct core_method rows[] = {
    {"plugin.list", ACCESS_ADMIN, "", "The plugins in force, and what was refused.", plugin_list},
    {"plugin.get", ACCESS_ADMIN, "kind:text! id:text! version:text", "A plugin's source.", plugin_get},
    {"plugin.history", ACCESS_ADMIN, "kind:text! id:text!", "The versions of a plugin, the newest first.",
     plugin_history},
    {"plugin.check", ACCESS_ADMIN, "kind:text! id:text! source:long! note:long",
     "Loads a source and runs its tests, without effect.", plugin_check},
    {"plugin.deploy", ACCESS_ADMIN, "kind:text! id:text! source:long! note:long",
     "Puts a source in force when it loads and its tests pass.", plugin_deploy},
    {"plugin.rollback", ACCESS_ADMIN, "kind:text! id:text! version:text",
     "Goes back to an earlier version, or to what is shipped.", plugin_rollback},
};
const struct core_table hm_methods_plugin = {rows, sizeof rows / sizeof *rows};
