// One change of a layer of plugins, of one plugin or of many: a worker of its own loads what would be in
// force and runs the tests of what is new, the stored records are looked at, then versions and pointers are
// committed together, then that worker serves. What always holds: whatever goes wrong before that commit, the
// old versions go on serving and are what the store says; after it, a server that dies starts with the new
// ones. Loop thread.
#include "base/clock.h"
#include "base/code.h"
#include "base/log.h"
#include "engine/plugin.h"

#include <stdio.h>
#include <stdlib.h>

struct deploy *hm_deploy_new(struct institution *inst, struct call *call, enum purpose purpose) {
    struct deploy *d = hm_alloc(sizeof *d);
    d->institution = inst;
    d->call = call;
    d->purpose = purpose;
    d->method = call ? call->method : "";
    snprintf(d->by, sizeof d->by, "%s", call ? call->by : "");
    return d;
}

void hm_deploy_free(struct deploy *d) {
    for (size_t i = 0; i < d->count; i++)
        hm_buf_free(&d->changes[i].source);
    free(d->changes);
    hm_buf_free(&d->note);
    free(d);
}

struct change *hm_deploy_add(struct deploy *d, struct hm_read *read, const struct plugin_name *name) {
    struct hm_record record;
    struct hm_json data;
    if (d->count == d->cap) {
        d->cap = d->cap ? d->cap * 2 : 4;
        d->changes = hm_realloc(d->changes, d->cap * sizeof *d->changes);
    }
    struct change *c = &d->changes[d->count++];
    *c = (struct change){.name = *name};
    if (hm_read_data(read, "plugin", hm_str_of(name->key), &record, &data)) {
        c->pointer = record.version;
        hm_json_get_text(data, "active", c->active, sizeof c->active);
    }
    return c;
}

// ---- texts --------------------------------------------------------------------------------------------

static void candidates_json(const struct deploy *d, struct hm_buf *out) {
    struct hm_str watched = hm_watch_candidates(d->institution);
    hm_buf_char(out, '[');
    for (size_t i = 0; i < d->count; i++) {
        const struct change *c = &d->changes[i];
        if (i) hm_buf_char(out, ',');
        hm_buf_char(out, '{');
        hm_json_member_str(out, "kind", hm_str_of(c->name.kind));
        hm_json_member_str(out, "id", hm_str_of(c->name.id));
        if (c->remove)
            hm_json_member_raw(out, "remove", HM_LIT("true"));
        else
            hm_json_member_str(out, "source", hm_buf_view(&c->source));
        hm_json_member_str(out, "note", hm_buf_view(&d->note));
        hm_buf_char(out, '}');
    }
    if (watched.len > 2) {
        if (d->count) hm_buf_char(out, ',');
        hm_buf_add(out, watched.ptr + 1, watched.len - 2);
    }
    hm_buf_char(out, ']');
}

static void version_json(const struct deploy *d, const struct change *c, int64_t now_ms, struct hm_buf *out) {
    hm_buf_char(out, '{');
    hm_json_member_str(out, "plugin", hm_str_of(c->name.key));
    hm_json_member_str(out, "kind", hm_str_of(c->name.kind));
    hm_json_member_str(out, "id", hm_str_of(c->name.id));
    hm_json_member_str(out, "source", hm_buf_view(&c->source));
    hm_json_member_str(out, "hash", hm_str_of(c->hash));
    hm_json_member_str(out, "note", hm_buf_view(&d->note));
    hm_json_member_str(out, "by", hm_str_of(d->by));
    hm_json_member_int(out, "time", now_ms);
    hm_json_member_str(out, "state", HM_LIT("good"));
    hm_json_member_str(out, "replaces", hm_str_of(c->active));
    hm_buf_char(out, '}');
}

static void pointer_json(const struct deploy *d, const struct change *c, int64_t now_ms, struct hm_buf *out) {
    hm_buf_char(out, '{');
    hm_json_member_str(out, "kind", hm_str_of(c->name.kind));
    hm_json_member_str(out, "id", hm_str_of(c->name.id));
    hm_json_member_str(out, "active", hm_str_of(c->version));
    hm_json_member_raw(out, "fresh", c->fresh ? HM_LIT("true") : HM_LIT("false"));
    hm_json_member_str(out, "by", hm_str_of(d->by));
    hm_json_member_int(out, "time", now_ms);
    hm_buf_char(out, '}');
}

static void change_json(const struct deploy *d, const struct change *c, struct hm_buf *out) {
    struct hm_json entry;
    hm_json_member_str(out, "kind", hm_str_of(c->name.kind));
    hm_json_member_str(out, "id", hm_str_of(c->name.id));
    if (c->hash[0]) hm_json_member_str(out, "hash", hm_str_of(c->hash));
    if (d->purpose != PURPOSE_CHECK) {
        hm_json_key(out, "version");
        if (c->version[0])
            hm_json_put_str(out, hm_str_of(c->version));
        else
            hm_buf_text(out, "null");
    }
    if (d->trial && d->purpose != PURPOSE_IMPORT &&
        hm_cat_plugin(d->trial->catalogue, c->name.kind, c->name.id, &entry))
        hm_json_member_raw(out, "plugin", entry.raw);
}

static void list_json(const struct deploy *d, bool removed, struct hm_buf *out) {
    hm_json_key(out, removed ? "removed" : "changed");
    hm_buf_char(out, '[');
    for (size_t i = 0; i < d->count; i++) {
        if (d->changes[i].remove != removed) continue;
        if (out->data[out->len - 1] != '[') hm_buf_char(out, ',');
        hm_buf_char(out, '{');
        change_json(d, &d->changes[i], out);
        hm_buf_char(out, '}');
    }
    hm_buf_char(out, ']');
}

static void result_json(const struct deploy *d, struct hm_str institutions, struct hm_buf *out) {
    hm_buf_char(out, '{');
    hm_json_member_raw(out, "ok", HM_LIT("true"));
    if (d->purpose == PURPOSE_IMPORT) {
        list_json(d, false, out);
        list_json(d, true, out);
        hm_json_member_int(out, "unchanged", d->unchanged);
    } else {
        change_json(d, &d->changes[0], out);
    }
    if (d->trial && (hm_trial_lossy(d->trial) || d->purpose == PURPOSE_CHECK))
        hm_json_member_raw(out, "changes",
                           d->trial->changes.len ? hm_buf_view(&d->trial->changes) : HM_LIT("[]"));
    if (institutions.len) hm_json_member_raw(out, "institutions", institutions);
    hm_buf_char(out, '}');
}

// ---- endings ------------------------------------------------------------------------------------------

static void end(struct deploy *d, bool done) {
    if (d->returned) d->returned(d->institution, &d->changes[0].name, done);
    hm_deploy_free(d);
}

static void fail(struct deploy *d, const struct hm_error *err) {
    struct call *call = d->call;
    struct hm_error why = *err;
    if (d->trial) hm_trial_end(d->trial);
    end(d, false);
    if (!call) return;
    if (why.cause != HM_CAUSE_OTHER)
        hm_call_not_written(call, &why);
    else if (why.code == HM_CONFLICT)
        hm_call_reason(call, HM_CONFLICT, "reason", "deploying");
    else
        hm_call_fail_error(call, &why);
}

static void fail_errors(struct call *call, const struct plugin_name *name, struct hm_str errors) {
    struct hm_buf data = {0};
    struct hm_json_iter it = hm_json_iter((struct hm_json){HM_JSON_ARRAY, errors});
    struct hm_json first, value;
    hm_buf_char(&data, '{');
    hm_json_member_str(&data, "plugin", hm_str_of(name->key));
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
    struct plugin_name name = {0};
    if (d->count) name = d->changes[0].name;
    bool closing = d->institution->engine->closing;
    struct hm_buf kept = {0};
    hm_buf_str(&kept, errors);
    hm_trial_end(trial);
    end(d, false);
    if (call && closing)
        hm_call_fail(call, HM_UNAVAILABLE, "the server is shutting down");
    else if (call)
        fail_errors(call, &name, hm_buf_view(&kept));
    hm_buf_free(&kept);
}

static void refuse(struct trial *trial, const char *message) {
    struct deploy *d = trial->arg;
    struct hm_buf errors = {0};
    hm_buf_text(&errors, "[{");
    hm_json_member_str(&errors, "plugin", hm_str_of(d->count ? d->changes[0].name.id : ""));
    hm_json_member_str(&errors, "message", hm_str_of(message));
    hm_buf_text(&errors, "}]");
    on_refused(trial, hm_buf_view(&errors));
    hm_buf_free(&errors);
}

// True: the call may no longer do it, and has been answered; d is gone.
static bool left(struct deploy *d) {
    if (!d->call || hm_call_still(d->call)) return false;
    hm_trial_end(d->trial);
    hm_deploy_free(d);
    return true;
}

static void answer(struct deploy *d, struct hm_str institutions) {
    struct hm_buf result = {0};
    struct call *call = d->call;
    result_json(d, institutions, &result); // while the catalogue is at hand
    if (d->trial) hm_trial_end(d->trial);
    end(d, true);
    if (call) hm_call_ok(call, hm_buf_view(&result));
    hm_buf_free(&result);
}

static void spread(void *arg, struct hm_str institutions) {
    answer(arg, institutions);
}

// What is in force is told to those who count failures, and to the institutions that lie over it.
static void adopt(struct deploy *d) {
    struct institution *inst = d->institution;
    bool cluster = strcmp(inst->id, CLUSTER) == 0;
    for (size_t i = 0; i < d->count; i++) {
        hm_rescue_mended(inst, &d->changes[i].name);
        hm_fresh_deployed(inst, &d->changes[i]);
    }
    struct trial *trial = d->trial;
    struct hm_buf result = {0};
    if (!cluster && d->call) result_json(d, HM_LIT(""), &result);
    d->trial = NULL;
    hm_trial_adopt(trial);
    hm_layer_retry(inst);
    if (cluster) {
        hm_layer_refresh(inst->engine, d->confirm);
        hm_layer_spread(inst->engine, spread, d);
        return;
    }
    struct call *call = d->call;
    end(d, true);
    if (call) hm_call_ok(call, hm_buf_view(&result));
    hm_buf_free(&result);
}

// ---- taken back by the server -------------------------------------------------------------------------

static void returned_json(const struct deploy *d, struct hm_buf *out) {
    const struct change *c = &d->changes[0];
    hm_buf_char(out, '{');
    hm_json_member_str(out, "kind", hm_str_of(c->name.kind));
    hm_json_member_str(out, "id", hm_str_of(c->name.id));
    hm_json_member_str(out, "from", hm_str_of(c->active));
    hm_json_key(out, "to");
    if (c->version[0])
        hm_json_put_str(out, hm_str_of(c->version));
    else
        hm_buf_text(out, "null");
    hm_json_member_str(out, "reason", hm_str_of(d->reason));
    hm_buf_char(out, '}');
}

static void put_returned(struct deploy *d, struct commit_item *item) {
    const struct change *c = &d->changes[0];
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_json data;
    struct hm_buf changed = {0}, why = {0};
    if (hm_read_begin(d->institution->store, &read, NULL)) {
        if (hm_read_data(read, "plugin_version", hm_str_of(c->active), &record, &data)) {
            hm_json_with(data, "state", HM_LIT("\"returned\""), &changed);
            hm_item_put(item, "plugin_version", hm_str_of(c->active), record.version, hm_buf_view(&changed),
                        "role:administrator");
        }
        hm_read_end(read);
    }
    hm_buf_printf(&why, "version %s was taken back: %s", c->active, d->reason);
    hm_plugin_audit(item, c->name.key, why.data);
    hm_buf_free(&changed);
    hm_buf_free(&why);
}

static void tell_returned(const struct deploy *d) {
    struct institution *inst = d->institution, *other, *next;
    const struct change *c = &d->changes[0];
    struct hm_buf params = {0};
    inst->engine->counters.plugins_returned++;
    hm_log(HM_ERROR, "plugin.returned",
           "\"institution\":\"%s\",\"plugin\":\"%s\",\"from\":\"%s\",\"to\":\"%s\"", inst->id, c->name.key,
           c->active, c->version);
    returned_json(d, &params);
    hm_plugin_notice(inst, "plugin.returned", hm_buf_view(&params));
    // What the cluster takes back was in force at the others', too.
    if (strcmp(inst->id, CLUSTER) == 0) {
        HASH_ITER(hh, inst->engine->institutions, other, next) {
            if (other != inst) hm_plugin_notice(other, "plugin.returned", hm_buf_view(&params));
        }
    }
    hm_buf_free(&params);
}

// ---- the steps ----------------------------------------------------------------------------------------

static void on_committed(struct commit_item *item) {
    struct deploy *d = item->arg;
    d->trial->busy--;
    if (item->ok && item->commit.code == HM_OK) {
        if (d->purpose == PURPOSE_RETURN) tell_returned(d);
        adopt(d);
        return;
    }
    struct call *call = d->call;
    hm_trial_end(d->trial);
    end(d, false);
    if (call) hm_call_fail_item(call, item);
}

static void put_change(struct deploy *d, const struct change *c, struct commit_item *item) {
    struct hm_buf text = {0};
    if (c->remove) {
        if (c->pointer) hm_item_remove(item, "plugin", hm_str_of(c->name.key), c->pointer);
        return;
    }
    if (!c->stored) {
        version_json(d, c, item->commit.now_ms, &text);
        hm_item_put(item, "plugin_version", hm_str_of(c->version), 0, hm_buf_view(&text),
                    "role:administrator");
        hm_buf_clear(&text);
    }
    pointer_json(d, c, item->commit.now_ms, &text);
    hm_item_put(item, "plugin", hm_str_of(c->name.key), c->pointer, hm_buf_view(&text), "role:administrator");
    hm_buf_free(&text);
}

static void refuse_lossy(struct deploy *d) {
    struct hm_buf data = {0};
    struct call *call = d->call;
    hm_trial_lossy_json(d->trial, &data);
    hm_trial_end(d->trial);
    end(d, false);
    if (call)
        hm_call_done(
            call, HM_CONFLICT, HM_LIT(""),
            HM_LIT("stored records would lose something; confirm = true puts it in force all the same"),
            hm_buf_view(&data));
    hm_buf_free(&data);
}

static void on_typed(struct trial *trial, bool ok, const struct hm_error *err) {
    struct deploy *d = trial->arg;
    struct hm_buf result = {0};
    if (!ok && err && err->cause != HM_CAUSE_OTHER) { // no fault of the plugin
        fail(d, err);
        return;
    }
    if (!ok && err && err->code == HM_CONFLICT && hm_trial_lossy(trial)) {
        refuse_lossy(d);
        return;
    }
    if (!ok || !trial->proc) {
        refuse(trial, !ok && err ? err->message : "the worker died");
        return;
    }
    if (d->purpose == PURPOSE_CHECK) {
        answer(d, HM_LIT(""));
        return;
    }
    if (left(d)) return;
    struct commit_item *item = hm_item_new(d->institution, d->by, d->method);
    hm_trial_force(trial, item);
    if (d->call) hm_item_saw_caller(item, d->call);
    for (size_t i = 0; i < d->count; i++)
        put_change(d, &d->changes[i], item);
    if (d->purpose == PURPOSE_RETURN) put_returned(d, item);
    item->arg = d;
    trial->busy++;
    result_json(d, HM_LIT(""), &result);
    if (d->call) hm_idem_put(item, d->call, hm_buf_view(&result));
    hm_item_submit(item, on_committed);
    hm_buf_free(&result);
}

// A candidate must be what it says it is: else a deploy of "a" could put "b" in force.
static const struct change *not_itself(const struct deploy *d) {
    struct hm_json entry;
    char hash[65];
    for (size_t i = 0; i < d->count; i++) {
        const struct change *c = &d->changes[i];
        if (c->remove) continue;
        if (!hm_cat_plugin(d->trial->catalogue, c->name.kind, c->name.id, &entry)) return c;
        if (hm_json_get_text(entry, "hash", hash, sizeof hash) && strcmp(hash, c->hash) != 0 &&
            hm_watch_candidates(d->institution).len <= 2)
            return c;
    }
    return NULL;
}

static void on_ready(struct trial *trial) {
    struct deploy *d = trial->arg;
    const struct change *wrong = not_itself(d);
    if (wrong)
        refuse(trial, "the source does not declare the plugin it was given as");
    else if (!left(d)) {
        trial->look = d->purpose == PURPOSE_CHECK;
        trial->confirm = d->confirm;
        hm_trial_types(trial);
    }
}

void hm_deploy_start(struct deploy *d) {
    struct hm_buf candidates = {0};
    struct hm_error err = {0};
    candidates_json(d, &candidates);
    d->trial = hm_trial_start(d->institution, hm_buf_view(&candidates), &err);
    hm_buf_free(&candidates);
    if (!d->trial) {
        fail(d, &err);
        return;
    }
    d->trial->arg = d;
    d->trial->ready = on_ready;
    d->trial->typed = on_typed;
    d->trial->refused = on_refused;
}
