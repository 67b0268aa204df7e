// Plugins that fail on live calls. A version that came into force within the setting plugin_return_window_ms
// is fresh: when so many calls (plugin_return_failures) have failed by its fault, and they are so many in a
// hundred (plugin_return_ratio) of the calls of the methods in which it failed, the server goes back to the
// version before, once. One that is no longer fresh is only marked, and the administrators are told once.
//
// What counts: errors of the plugin itself, limits and the deadline, by the plugin and version that the error
// names. A call that was refused (rights, params, conflict) is a call like any other. What always holds: no
// plugin is counted that the catalogue does not have in this version. Loop thread.
#include "base/clock.h"
#include "base/log.h"
#include "engine/plugin.h"
#include "script/frames.h"

#include <stdio.h>
#include <stdlib.h>

#define METHODS_MAX 256      // counted of one plugin
#define WATCHED_MAX 64       // not fresh, of one institution
#define OLD_WINDOW_MS 600000 // where nothing is taken back

struct counted {
    UT_hash_handle hh;
    char method[129];
    uint64_t calls, failures;
};

struct watched {
    struct watched *next;
    struct plugin_name name;
    char version[13], record[HM_ID_MAX + 1];
    bool fresh;       // may be taken back
    bool due;         // is to be taken back, as soon as nothing else is tried
    bool marked;      // keeps failing, and was told of
    int64_t since_ms; // of its coming into force, or of its first failure within the window
    struct counted *methods;
    char reason[240];
};

static const struct hm_settings *settings_of(const struct institution *inst) {
    return &inst->engine->settings;
}

static void forget_calls(struct watched *w) {
    struct counted *c, *next;
    HASH_ITER(hh, w->methods, c, next) {
        HASH_DEL(w->methods, c);
        free(c);
    }
}

static void drop(struct watched **link) {
    struct watched *w = *link;
    *link = w->next;
    forget_calls(w);
    free(w);
}

void hm_fresh_close(struct institution *inst) {
    while (inst->watched_plugins)
        drop(&inst->watched_plugins);
}

static struct watched *add(struct institution *inst, const struct plugin_name *name, const char *version) {
    struct watched *w = hm_alloc(sizeof *w);
    w->name = *name;
    snprintf(w->version, sizeof w->version, "%.12s", version);
    w->since_ms = hm_now_ms();
    w->next = inst->watched_plugins;
    inst->watched_plugins = w;
    return w;
}

static void forget(struct institution *inst, const struct plugin_name *name) {
    for (struct watched **link = &inst->watched_plugins; *link;)
        if (strcmp((*link)->name.key, name->key) == 0)
            drop(link);
        else
            link = &(*link)->next;
}

// ---- what is fresh ------------------------------------------------------------------------------------

void hm_fresh_deployed(struct institution *inst, const struct change *change) {
    forget(inst, &change->name);
    if (!change->fresh || change->remove || !settings_of(inst)->plugin_return_window_ms) return;
    struct watched *w = add(inst, &change->name, change->hash);
    w->fresh = true;
    snprintf(w->record, sizeof w->record, "%s", change->version);
}

// A server that was started anew goes on watching.
static bool take_pointer(void *arg, const struct hm_record *record, struct hm_json data) {
    struct institution *inst = arg;
    struct plugin_name name;
    struct hm_json value;
    bool fresh = false;
    char active[HM_ID_MAX + 1];
    (void)record;
    if (hm_json_get(data, "fresh", &value)) hm_json_bool(value, &fresh);
    int64_t since_ms = hm_json_number(data, "time");
    if (!fresh || hm_now_ms() - since_ms > settings_of(inst)->plugin_return_window_ms) return true;
    if (!hm_plugin_name_of(data, &name) || !hm_json_get_text(data, "active", active, sizeof active))
        return true;
    struct watched *w = add(inst, &name, "");
    w->fresh = true;
    w->since_ms = since_ms;
    snprintf(w->record, sizeof w->record, "%s", active);
    return true;
}

void hm_fresh_open(struct institution *inst) {
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_json data;
    char hash[65];
    if (!hm_read_begin(inst->store, &read, NULL)) return;
    hm_plugin_each(read, inst->store, take_pointer, inst);
    for (struct watched *w = inst->watched_plugins; w; w = w->next)
        if (hm_read_data(read, "plugin_version", hm_str_of(w->record), &record, &data) &&
            hm_json_get_text(data, "hash", hash, sizeof hash))
            snprintf(w->version, sizeof w->version, "%.12s", hash);
    hm_read_end(read);
}

static bool is_fresh(const struct institution *inst, const struct watched *w) {
    return w->fresh && hm_now_ms() - w->since_ms <= settings_of(inst)->plugin_return_window_ms;
}

const char *hm_fresh_state(const struct institution *inst, const char *kind, const char *id,
                           const char *version12) {
    for (const struct watched *w = inst->watched_plugins; w; w = w->next) {
        if (strcmp(w->name.kind, kind) != 0 || strcmp(w->name.id, id) != 0 ||
            strcmp(w->version, version12) != 0)
            continue;
        if (w->marked) return "failing";
        if (is_fresh(inst, w)) return "fresh";
    }
    return NULL;
}

// ---- counting -----------------------------------------------------------------------------------------

static struct counted *counted_of(struct watched *w, const char *method) {
    struct counted *c = NULL;
    HASH_FIND_STR(w->methods, method, c);
    if (c || HASH_COUNT(w->methods) >= METHODS_MAX) return c;
    c = hm_alloc(sizeof *c);
    snprintf(c->method, sizeof c->method, "%s", method);
    HASH_ADD_STR(w->methods, method, c);
    return c;
}

// The cluster, when the institution runs with what is in force there now.
static struct institution *cluster_of(const struct institution *inst) {
    struct institution *cluster = hm_inst_find(inst->engine, CLUSTER);
    return cluster != inst && inst->layer && inst->layer == inst->engine->layer ? cluster : NULL;
}

static bool counts(const struct call *call) {
    if (call->core || !call->institution || (call->flags & HM_CALL_DRY)) return false;
    return call->method[0] != '$' || strcmp(call->method, "$react") == 0 ||
           strcmp(call->method, "$every") == 0;
}

static void count(struct institution *inst, const char *method) {
    for (struct watched *w = inst ? inst->watched_plugins : NULL; w; w = w->next) {
        struct counted *c = counted_of(w, method);
        if (c) c->calls++;
    }
}

void hm_fresh_answered(const struct call *call) {
    if (!counts(call)) return;
    struct institution *inst = call->institution, *cluster = cluster_of(inst);
    if (inst->watched_plugins) count(inst, call->method);
    if (cluster && cluster->watched_plugins) count(cluster, call->method);
}

// How many of the calls of methods in which it failed have failed.
static void sum(const struct watched *w, uint64_t *failures, uint64_t *calls) {
    const struct counted *c;
    *failures = *calls = 0;
    for (c = w->methods; c; c = c->hh.next) {
        if (!c->failures) continue;
        *failures += c->failures;
        *calls += c->calls;
    }
}

static void mark(struct institution *inst, struct watched *w) {
    struct hm_buf params = {0};
    w->marked = true;
    inst->engine->counters.plugins_failing++;
    hm_log(HM_ERROR, "plugin.failing", "\"institution\":\"%s\",\"plugin\":\"%s\",\"version\":\"%s\"",
           inst->id, w->name.key, w->version);
    hm_buf_char(&params, '{');
    hm_json_member_str(&params, "kind", hm_str_of(w->name.kind));
    hm_json_member_str(&params, "id", hm_str_of(w->name.id));
    hm_json_member_str(&params, "version", hm_str_of(w->version));
    hm_json_member_str(&params, "reason", hm_str_of(w->reason));
    hm_buf_char(&params, '}');
    hm_plugin_notice(inst, "plugin.failing", hm_buf_view(&params));
    hm_buf_free(&params);
}

static void judge(struct institution *inst, struct watched *w, struct hm_json data) {
    const struct hm_settings *s = settings_of(inst);
    uint64_t failures, calls;
    char file[129] = "";
    sum(w, &failures, &calls);
    if (failures < s->plugin_return_failures || failures * 100 < calls * s->plugin_return_ratio) return;
    hm_json_get_text(data, "file", file, sizeof file);
    snprintf(w->reason, sizeof w->reason, "%llu of %llu calls failed%s%s%s%.0lld",
             (unsigned long long)failures, (unsigned long long)calls, file[0] ? ", the last in " : "", file,
             file[0] ? ":" : "", (long long)hm_json_number(data, "line"));
    if (is_fresh(inst, w) && !w->due) {
        w->due = true;
        hm_fresh_tick(inst);
    } else if (!w->fresh && !w->marked) {
        mark(inst, w);
    }
}

static void failed_in(struct institution *inst, struct watched *w, const char *method, struct hm_json data) {
    struct counted *c = counted_of(w, method);
    if (c) c->failures++;
    judge(inst, w, data);
}

// Those that have been in force for longer are counted from their first failure, in windows.
static struct watched *old_one(struct institution *inst, const struct plugin_name *name, const char *version,
                               const char *method) {
    unsigned known = 0;
    for (struct watched *w = inst->watched_plugins; w; w = w->next)
        known += !w->fresh;
    struct counted *c = NULL;
    if (known >= WATCHED_MAX) return NULL;
    struct watched *w = add(inst, name, version);
    c = counted_of(w, method);
    if (c) c->calls++; // the call at hand
    return w;
}

static struct watched *find(struct institution *inst, const char *id, const char *version) {
    for (struct watched *w = inst ? inst->watched_plugins : NULL; w; w = w->next)
        if (strcmp(w->name.id, id) == 0 && strcmp(w->version, version) == 0) return w;
    return NULL;
}

// Kind and id of the plugin that the catalogue has in this version.
static bool in_force(const struct institution *inst, const char *id, const char *version,
                     struct plugin_name *out) {
    struct hm_json list, item;
    char text[HM_NAME_MAX + 1];
    if (!inst->catalogue || !hm_json_get(inst->catalogue->root, "plugins", &list)) return false;
    struct hm_json_iter it = hm_json_iter(list);
    while (hm_json_next(&it, NULL, &item))
        if (hm_json_get_text(item, "version", text, sizeof text) && strcmp(text, version) == 0 &&
            hm_json_get_text(item, "id", text, sizeof text) && strcmp(text, id) == 0)
            return hm_plugin_name_of(item, out);
    return false;
}

void hm_fresh_failed(const struct call *call, enum hm_code code, struct hm_str text) {
    struct hm_json data = {HM_JSON_OBJECT, text};
    struct plugin_name name;
    char id[HM_NAME_MAX + 1] = "", version[13] = "";
    struct hm_json limit;
    if (!counts(call)) return;
    hm_fresh_answered(call);
    bool own = code == HM_PLUGIN || code == HM_DEADLINE ||
               (code == HM_TOO_LARGE && hm_json_get(data, "limit", &limit));
    if (!own || !text.len || !hm_json_get_text(data, "plugin", id, sizeof id) ||
        !hm_json_get_text(data, "version", version, sizeof version))
        return;
    struct institution *inst = call->institution, *cluster = cluster_of(inst);
    struct watched *w = find(inst, id, version);
    if (!w && (w = find(cluster, id, version))) inst = cluster;
    if (!w && in_force(inst, id, version, &name)) w = old_one(inst, &name, version, call->method);
    if (!w) return;
    if (w->fresh && !w->due && !is_fresh(inst, w)) { // it has proved itself: from here on as an old one
        w->fresh = false;
        forget_calls(w);
        w->since_ms = hm_now_ms();
        struct counted *c = counted_of(w, call->method);
        if (c) c->calls++; // the call at hand
    }
    failed_in(inst, w, call->method, data);
}

void hm_fresh_named(const struct call *call, struct hm_buf *out) {
    const struct institution *inst = call->institution;
    const struct cat_method *method = inst ? hm_cat_method(inst->catalogue, hm_str_of(call->method)) : NULL;
    if (!method || !method->plugin[0]) return;
    hm_json_member_str(out, "plugin", hm_str_of(method->plugin));
    if (method->version[0]) hm_json_member_str(out, "version", hm_str_of(method->version));
}

// ---- going back ---------------------------------------------------------------------------------------

static void returned(struct institution *inst, const struct plugin_name *name, bool done) {
    for (struct watched *w = inst->watched_plugins; w && !done; w = w->next)
        if (strcmp(w->name.key, name->key) == 0)
            w->fresh = w->due = false; // it cannot be helped: marked next
}

// The version before, as the record of this one says; "": the layer below. False: it cannot be known.
static bool go_back(struct institution *inst, struct watched *w) {
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_json data, older;
    char before[HM_ID_MAX + 1] = "", hash[65] = "";
    struct deploy *d = hm_deploy_new(inst, NULL, PURPOSE_RETURN);
    bool ok = hm_read_begin(inst->store, &read, NULL);
    struct change *c = ok ? hm_deploy_add(d, read, &w->name) : NULL;
    ok = ok && strcmp(c->active, w->record) == 0 &&
         hm_read_data(read, "plugin_version", hm_str_of(w->record), &record, &data);
    if (ok) hm_json_get_text(data, "replaces", before, sizeof before);
    if (ok && before[0]) {
        ok = hm_read_data(read, "plugin_version", hm_str_of(before), &record, &older) &&
             hm_plugin_source(read, w->name.key, before, &c->source);
        if (ok) {
            hm_json_get_text(older, "hash", hash, sizeof hash);
            snprintf(c->version, sizeof c->version, "%s", before);
            memcpy(c->hash, hash, sizeof hash);
            c->stored = true;
            // One that had not proved itself when it was replaced is still on trial.
            int64_t stood_ms = hm_json_number(data, "time") - hm_json_number(older, "time");
            c->fresh = stood_ms < settings_of(inst)->plugin_return_window_ms;
        }
    } else if (ok) {
        c->remove = true;
    }
    hm_read_end(read);
    if (!ok) {
        hm_deploy_free(d);
        return false;
    }
    memcpy(d->reason, w->reason, sizeof d->reason);
    d->method = "plugin.return";
    d->confirm = true; // what it wrote meanwhile is no reason to go on failing
    d->returned = returned;
    hm_deploy_start(d);
    return true;
}

void hm_fresh_tick(struct institution *inst) {
    int64_t now_ms = hm_now_ms(), window_ms = settings_of(inst)->plugin_return_window_ms;
    if (!window_ms) window_ms = OLD_WINDOW_MS;
    for (struct watched **link = &inst->watched_plugins; *link;) {
        struct watched *w = *link;
        if (w->due && !inst->trial && !inst->engine->draining) {
            if (!go_back(inst, w)) w->fresh = w->due = false;
            return; // the list may be another now
        }
        if (!w->due && now_ms - w->since_ms > window_ms) {
            if (!w->marked) { // the window of an old one is over, or a fresh one has proved itself
                drop(link);
                continue;
            }
            forget_calls(w);
            w->since_ms = now_ms;
        }
        link = &w->next;
    }
}
