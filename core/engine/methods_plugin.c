// Plugins as versions in the store: what plugin.* takes and checks before anything is tried. Loop thread. How
// a change comes into force is deploy.c; what is read only, plugin_read.c.
#include "base/clock.h"
#include "base/code.h"
#include "base/log.h"
#include "engine/plugin.h"
#include "engine/plugin_read.h"

#include <stdio.h>
#include <stdlib.h>

#define NOTE_MAX 2000
#define ITEMS_MAX 1000 // of an import

// ---- what the files about plugins share ---------------------------------------------------------------

const char *hm_plugin_kind_of(const char *text) {
    static const char *const kinds[][2] = {{"service", "services"},
                                           {"matcher", "matchers"},
                                           {"activity", "activities"},
                                           {"questionnaire", "questionnaires"},
                                           {"report", "reports"}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(text, kinds[i][0]) == 0 || strcmp(text, kinds[i][1]) == 0) return kinds[i][0];
    return NULL;
}

bool hm_plugin_name(struct plugin_name *out, const char *kind, const char *id) {
    const char *known = hm_plugin_kind_of(kind);
    *out = (struct plugin_name){0};
    if (!known || !hm_name_valid(hm_str_of(id)) || strlen(id) >= sizeof out->id) return false;
    snprintf(out->kind, sizeof out->kind, "%s", known);
    snprintf(out->id, sizeof out->id, "%s", id);
    snprintf(out->key, sizeof out->key, "%s/%s", out->kind, out->id);
    return true;
}

bool hm_plugin_name_of(struct hm_json object, struct plugin_name *out) {
    char kind[HM_NAME_MAX + 1], id[HM_NAME_MAX + 1];
    return hm_json_get_text(object, "kind", kind, sizeof kind) &&
           hm_json_get_text(object, "id", id, sizeof id) && hm_plugin_name(out, kind, id);
}

bool hm_plugin_named(struct call *call, struct plugin_name *out) {
    char kind[HM_NAME_MAX + 1], id[HM_NAME_MAX + 1];
    hm_arg_text(call, "kind", kind, sizeof kind);
    hm_arg_text(call, "id", id, sizeof id);
    if (hm_plugin_name(out, kind, id)) return true;
    if (!hm_plugin_kind_of(kind))
        hm_call_param(call, "kind", "is no kind of plugin");
    else
        hm_call_param(call, "id", "must begin with a letter and hold a-z, 0-9, _ . - only, 64 at most");
    return false;
}

void hm_plugin_active(struct hm_read *read, const char *key, char out[HM_ID_MAX + 1]) {
    struct hm_record record;
    struct hm_json data;
    out[0] = '\0';
    if (hm_read_data(read, "plugin", hm_str_of(key), &record, &data))
        hm_json_get_text(data, "active", out, HM_ID_MAX + 1);
}

bool hm_plugin_each(struct hm_read *read, struct hm_store *store,
                    bool (*fn)(void *arg, const struct hm_record *record, struct hm_json data), void *arg) {
    struct hm_types *types = hm_store_types(store);
    bool ok = hm_read_each(read, types, "plugin", NULL, HM_LIT(""), false, fn, arg);
    hm_types_unref(types);
    return ok;
}

bool hm_plugin_source(struct hm_read *read, const char *key, const char *version, struct hm_buf *source) {
    struct hm_record record;
    struct hm_json data, value;
    char belongs[PLUGIN_KEY_MAX];
    return hm_read_data(read, "plugin_version", hm_str_of(version), &record, &data) &&
           hm_json_get_text(data, "plugin", belongs, sizeof belongs) && strcmp(belongs, key) == 0 &&
           hm_json_get(data, "source", &value) && hm_json_string(value, source);
}

void hm_plugin_notice(struct institution *inst, const char *method, struct hm_str params) {
    struct live *live, *next;
    if (inst->engine->closing) return;
    HASH_ITER(hh, inst->sessions, live, next) {
        struct hm_session *session = live->session;
        if (live->ended || session->limited || !session->admin) continue;
        hm_engine_notice(inst->engine, inst->id, HM_LIT(""), session, method, params);
    }
}

void hm_plugin_audit(struct commit_item *item, const char *key, const char *why) {
    struct hm_buf data = {0};
    char id[37];
    hm_uuid7(item->commit.now_ms, id);
    hm_buf_char(&data, '{');
    hm_json_member_str(&data, "who", HM_LIT("system"));
    hm_json_member_str(&data, "whose", HM_LIT(""));
    hm_json_member_str(&data, "type", HM_LIT("plugin"));
    hm_json_member_str(&data, "id", hm_str_of(key));
    hm_json_member_str(&data, "field", HM_LIT(""));
    hm_json_member_str(&data, "why", hm_str_of(why));
    hm_json_member_int(&data, "time", item->commit.now_ms);
    hm_buf_char(&data, '}');
    hm_item_put(item, "audit", hm_str_of(id), 0, hm_buf_view(&data), "role:administrator");
    hm_buf_free(&data);
}

const char *hm_plugin_own_layer(const struct institution *inst) {
    return strcmp(inst->id, CLUSTER) == 0 ? "cluster" : "institution";
}

// ---- plugin.deploy, plugin.check ----------------------------------------------------------------------

// An expected version that is no longer in force: somebody else has changed it meanwhile.
static bool as_expected(struct call *call, const struct change *c) {
    struct hm_json expects;
    char text[HM_ID_MAX + 1] = "";
    if (!hm_json_get(call->params, "expects", &expects)) return true;
    if (expects.kind != HM_JSON_NULL && !hm_json_text(expects, text, sizeof text)) text[0] = '?';
    if (strcmp(text, c->active) == 0) return true;
    struct hm_buf data = {0};
    hm_buf_char(&data, '{');
    hm_json_member_str(&data, "reason", HM_LIT("changed"));
    hm_json_member_str(&data, "active", hm_str_of(c->active));
    hm_buf_char(&data, '}');
    hm_call_done(call, HM_CONFLICT, HM_LIT(""), HM_LIT("another version has come into force meanwhile"),
                 hm_buf_view(&data));
    hm_buf_free(&data);
    return false;
}

static bool source_fits(struct call *call, struct deploy *d, const struct change *c) {
    if (c->source.len <= PLUGIN_SOURCE_MAX && d->note.len <= NOTE_MAX) return true;
    hm_call_param(call, d->note.len > NOTE_MAX ? "note" : "source", "is too long");
    return false;
}

static void source_of(struct change *c) {
    hm_secret_hash(hm_buf_view(&c->source), c->hash);
    hm_uuid7(hm_now_ms(), c->version);
    c->fresh = true;
}

// Opens what a change begins with; NULL: the call has been answered.
static struct deploy *begin(struct call *call, enum purpose purpose, struct hm_read **read) {
    struct hm_error err = {0};
    if (!hm_read_begin(call->institution->store, read, &err)) {
        hm_call_fail_error(call, &err);
        return NULL;
    }
    struct deploy *d = hm_deploy_new(call->institution, call, purpose);
    d->confirm = hm_arg_bool(call, "confirm", false);
    hm_arg_buf(call, "note", &d->note);
    return d;
}

static void deploy_or_check(struct call *call, enum purpose purpose) {
    struct plugin_name name;
    struct hm_read *read = NULL;
    if (!hm_plugin_named(call, &name)) return;
    struct deploy *d = begin(call, purpose, &read);
    if (!d) return;
    struct change *c = hm_deploy_add(d, read, &name);
    hm_read_end(read);
    hm_arg_buf(call, "source", &c->source);
    if (!source_fits(call, d, c) || !as_expected(call, c)) {
        hm_deploy_free(d);
        return;
    }
    source_of(c);
    if (purpose == PURPOSE_CHECK) c->version[0] = '\0';
    hm_deploy_start(d);
}

static void plugin_deploy(struct call *call) {
    deploy_or_check(call, PURPOSE_DEPLOY);
}

static void plugin_check(struct call *call) {
    deploy_or_check(call, PURPOSE_CHECK);
}

// ---- plugin.rollback ----------------------------------------------------------------------------------

struct older {
    const char *active;
    char version[HM_ID_MAX + 1];
    bool passed; // the active one has been seen
};

// The one before the one in force that was not itself taken back.
static bool take_older(void *arg, const struct hm_record *record, struct hm_json data) {
    struct older *o = arg;
    struct hm_json state;
    bool bad = hm_json_get(data, "state", &state) && hm_str_eq(state.raw, HM_LIT("\"returned\""));
    if (o->passed && !bad) {
        snprintf(o->version, sizeof o->version, "%.*s", (int)record->id.len, record->id.ptr);
        return false;
    }
    o->passed = o->passed || hm_str_eq(record->id, hm_str_of(o->active));
    return true;
}

// Which version to go back to, and its source. False: no such version.
static bool find_version(struct call *call, struct change *c, struct hm_read *read) {
    struct hm_store *store = call->institution->store;
    char wanted[HM_ID_MAX + 1];
    if (!hm_arg_text(call, "version", wanted, sizeof wanted)) {
        struct older o = {.active = c->active};
        struct hm_types *types = hm_store_types(store);
        hm_read_each(read, types, "plugin_version", "plugin", hm_str_of(c->name.key), true, take_older, &o);
        hm_types_unref(types);
        snprintf(wanted, sizeof wanted, "%s", o.version);
    } else if (strcmp(wanted, "shipped") == 0 || strcmp(wanted, "below") == 0) {
        wanted[0] = '\0';
    }
    c->remove = !wanted[0];
    c->stored = true;
    memcpy(c->version, wanted, sizeof c->version);
    if (c->remove) return true;
    if (!hm_plugin_source(read, c->name.key, wanted, &c->source)) return false;
    hm_secret_hash(hm_buf_view(&c->source), c->hash);
    return true;
}

static void plugin_rollback(struct call *call) {
    struct plugin_name name;
    struct hm_read *read = NULL;
    if (!hm_plugin_named(call, &name)) return;
    struct deploy *d = begin(call, PURPOSE_ROLLBACK, &read);
    if (!d) return;
    struct change *c = hm_deploy_add(d, read, &name);
    bool found = find_version(call, c, read);
    hm_read_end(read);
    if (!found)
        hm_call_fail(call, HM_NOT_FOUND, "no such version of this plugin");
    else if (c->remove && !c->pointer)
        hm_call_fail(call, HM_NOT_FOUND, "this plugin is not overridden here");
    else {
        hm_deploy_start(d);
        return;
    }
    hm_deploy_free(d);
}

// ---- plugin.import ------------------------------------------------------------------------------------

static bool item_fault(struct call *call, size_t i, const char *member, const char *message) {
    char path[64];
    snprintf(path, sizeof path, "items[%zu].%s", i, member);
    hm_call_param(call, path, message);
    return false;
}

static bool take_item(struct call *call, struct deploy *d, struct hm_read *read, struct hm_json item,
                      size_t i) {
    struct plugin_name name;
    struct hm_json source;
    char hash[65] = "";
    struct hm_record record;
    struct hm_json data;
    if (!hm_plugin_name_of(item, &name)) return item_fault(call, i, "kind", "kind and id must name a plugin");
    if (!hm_json_get(item, "source", &source) || source.kind != HM_JSON_STRING)
        return item_fault(call, i, "source", "must be a text");
    for (size_t k = 0; k < d->count; k++)
        if (strcmp(d->changes[k].name.key, name.key) == 0) return item_fault(call, i, "id", "comes twice");
    struct change *c = hm_deploy_add(d, read, &name);
    hm_json_string(source, &c->source);
    if (c->source.len > PLUGIN_SOURCE_MAX) return item_fault(call, i, "source", "is too long");
    source_of(c);
    if (c->active[0] && hm_read_data(read, "plugin_version", hm_str_of(c->active), &record, &data))
        hm_json_get_text(data, "hash", hash, sizeof hash);
    c->stored = strcmp(hash, c->hash) == 0; // as it is: taken out of the list once all have been seen
    return true;
}

struct removing {
    struct deploy *d;
    struct hm_read *read;
};

static bool take_missing(void *arg, const struct hm_record *record, struct hm_json data) {
    struct removing *r = arg;
    struct plugin_name name;
    (void)record;
    if (!hm_plugin_name_of(data, &name)) return true;
    for (size_t i = 0; i < r->d->count; i++)
        if (strcmp(r->d->changes[i].name.key, name.key) == 0) return true;
    hm_deploy_add(r->d, r->read, &name)->remove = true;
    return true;
}

static void drop_unchanged(struct deploy *d) {
    size_t kept = 0;
    for (size_t i = 0; i < d->count; i++) {
        if (d->changes[i].stored) {
            hm_buf_free(&d->changes[i].source);
            d->unchanged++;
        } else {
            d->changes[kept++] = d->changes[i];
        }
    }
    d->count = kept;
}

static bool take_items(struct call *call, struct deploy *d, struct hm_read *read) {
    struct hm_json items = {0}, item;
    size_t i = 0, bytes = 0;
    hm_json_get(call->params, "items", &items);
    struct hm_json_iter it = hm_json_iter(items);
    while (hm_json_next(&it, NULL, &item)) {
        if (i >= ITEMS_MAX) {
            hm_call_param(call, "items", "are too many: 1,000 at most");
            return false;
        }
        if (!take_item(call, d, read, item, i++)) return false;
        bytes += d->changes[d->count - 1].source.len;
    }
    if (bytes > PLUGIN_LAYER_MAX) {
        hm_call_param(call, "items", "are too large: 16 MiB at most");
        return false;
    }
    if (d->note.len > NOTE_MAX) {
        hm_call_param(call, "note", "is too long");
        return false;
    }
    return true;
}

static void plugin_import(struct call *call) {
    struct hm_read *read = NULL;
    struct deploy *d = begin(call, PURPOSE_IMPORT, &read);
    if (!d) return;
    bool ok = take_items(call, d, read);
    if (ok && hm_arg_bool(call, "remove", false)) {
        struct removing r = {d, read};
        hm_plugin_each(read, call->institution->store, take_missing, &r);
    }
    hm_read_end(read);
    if (!ok) {
        hm_deploy_free(d);
        return;
    }
    drop_unchanged(d);
    if (d->count) {
        hm_deploy_start(d);
        return;
    }
    struct hm_buf result = {0};
    hm_buf_printf(&result, "{\"ok\":true,\"changed\":[],\"removed\":[],\"unchanged\":%u}", d->unchanged);
    hm_deploy_free(d);
    hm_idem_finish(call, hm_buf_view(&result));
    hm_buf_free(&result);
}

static const struct core_method rows[] = {
    {"plugin.list", ACCESS_ADMIN, "", "The plugins in force, and what was refused.", hm_plugin_list},
    {"plugin.get", ACCESS_ADMIN, "kind:text! id:text! version:text layer:text",
     "A plugin's source: in force, of a version, or of a layer.", hm_plugin_get},
    {"plugin.history", ACCESS_ADMIN, "kind:text! id:text!", "The versions of a plugin, the newest first.",
     hm_plugin_history},
    {"plugin.diff", ACCESS_ADMIN, "kind:text! id:text! from:text to:text source:long",
     "What differs between two versions, layers (\"shipped\", \"cluster\") or a source, line by line.",
     hm_plugin_diff},
    {"plugin.check", ACCESS_ADMIN, "kind:text! id:text! source:long! note:long confirm:bool",
     "Loads a source and runs its tests, without effect.", plugin_check},
    {"plugin.deploy", ACCESS_ADMIN, "kind:text! id:text! source:long! note:long expects:text confirm:bool",
     "Puts a source in force when it loads, its tests pass and the stored records fit.", plugin_deploy},
    {"plugin.rollback", ACCESS_ADMIN, "kind:text! id:text! version:text confirm:bool",
     "Goes back to an earlier version, or to what is shipped.", plugin_rollback},
    {"plugin.export", ACCESS_ADMIN, "", "The sources of the institution's own layer.", hm_plugin_export},
    {"plugin.import", ACCESS_ADMIN, "items:array! note:long remove:bool confirm:bool",
     "Puts many sources in force, all together or none; remove: what is not among them goes back to the "
     "layer "
     "below.",
     plugin_import},
};
const struct core_table hm_methods_plugin = {rows, sizeof rows / sizeof *rows};
