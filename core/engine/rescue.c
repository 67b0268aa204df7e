// When plugins of an upper layer no longer load (after the shipped ones were replaced, mostly), the
// institution serves without them, and says so: in the log, to its administrators, in plugin.list. What
// always holds: only plugins that a worker named, or all of the upper layers when it named none, are left
// out; each round leaves out more, so it ends; a start of the server tries all of them anew. Loop thread.
#include "base/log.h"
#include "engine/plugin.h"

#include <stdlib.h>

#define ERRORS_OF_ONE 20

static bool same_plugin(struct hm_json item, const char *kind, const char *id, const char *layer) {
    char text[HM_NAME_MAX + 1];
    return hm_json_get_text(item, "kind", text, sizeof text) && strcmp(text, kind) == 0 &&
           hm_json_get_text(item, "id", text, sizeof text) && strcmp(text, id) == 0 &&
           (!layer || (hm_json_get_text(item, "layer", text, sizeof text) && strcmp(text, layer) == 0));
}

static bool find(struct hm_str list, const char *kind, const char *id, const char *layer,
                 struct hm_json *out) {
    struct hm_json all;
    if (!list.len || !hm_json_parse(list, &all, NULL)) return false;
    struct hm_json_iter it = hm_json_iter(all);
    while (hm_json_next(&it, NULL, out))
        if (same_plugin(*out, kind, id, layer)) return true;
    return false;
}

bool hm_rescue_find(const struct institution *inst, const char *kind, const char *id, struct hm_json *out) {
    return find(hm_buf_view(&inst->without), kind, id, NULL, out);
}

// Copies the entries of a list that keep() wants.
static void filter(struct hm_str list, bool (*keep)(void *arg, struct hm_json item), void *arg,
                   struct hm_buf *out) {
    struct hm_json all, item;
    if (!list.len || !hm_json_parse(list, &all, NULL)) return;
    struct hm_json_iter it = hm_json_iter(all);
    while (hm_json_next(&it, NULL, &item)) {
        if (!keep(arg, item)) continue;
        hm_buf_char(out, out->len ? ',' : '[');
        hm_buf_str(out, item.raw);
    }
    if (out->len) hm_buf_char(out, ']');
}

static bool is_own(void *arg, struct hm_json item) {
    char layer[16];
    (void)arg;
    return hm_json_get_text(item, "layer", layer, sizeof layer) && strcmp(layer, "institution") == 0;
}

void hm_rescue_own(const struct institution *inst, struct hm_buf *out) {
    filter(hm_buf_view(&inst->without), is_own, NULL, out);
}

static bool is_another(void *arg, struct hm_json item) {
    const struct plugin_name *name = arg;
    return !same_plugin(item, name->kind, name->id, NULL);
}

void hm_rescue_mended(struct institution *inst, const struct plugin_name *name) {
    struct hm_buf left = {0};
    struct plugin_name copy = *name;
    filter(hm_buf_view(&inst->without), is_another, &copy, &left);
    hm_buf_free(&inst->without);
    inst->without = left;
}

// ---- what is to blame ---------------------------------------------------------------------------------

static void leave_out(struct institution *inst, const char *kind, const char *id, const char *layer,
                      struct hm_json errors) {
    struct hm_json_iter it = hm_json_iter(errors);
    struct hm_json item;
    struct hm_buf *out = &inst->without;
    int told = 0;
    if (out->len)
        out->data[out->len - 1] = ',';
    else
        hm_buf_char(out, '[');
    hm_buf_char(out, '{');
    hm_json_member_str(out, "kind", hm_str_of(kind));
    hm_json_member_str(out, "id", hm_str_of(id));
    hm_json_member_str(out, "layer", hm_str_of(layer));
    hm_json_key(out, "errors");
    hm_buf_char(out, '[');
    while (told < ERRORS_OF_ONE && hm_json_next(&it, NULL, &item)) {
        if (!same_plugin(item, kind, id, layer)) continue;
        if (told++) hm_buf_char(out, ',');
        hm_buf_str(out, item.raw);
    }
    hm_buf_text(out, "]}]");
}

// True when it was not left out before.
static bool blame(struct institution *inst, struct hm_json error, struct hm_json all) {
    char kind[HM_NAME_MAX + 1], id[HM_NAME_MAX + 1], layer[16];
    struct hm_json known;
    if (!hm_json_get_text(error, "kind", kind, sizeof kind) ||
        !hm_json_get_text(error, "id", id, sizeof id) ||
        !hm_json_get_text(error, "layer", layer, sizeof layer) || strcmp(layer, "shipped") == 0)
        return false;
    if (!hm_plugin_kind_of(kind) || !hm_name_valid(hm_str_of(id))) return false;
    if (find(hm_buf_view(&inst->without), kind, id, layer, &known)) return false;
    leave_out(inst, kind, id, layer, all);
    return true;
}

struct everything {
    struct institution *institution;
    struct hm_json errors;
    unsigned more;
};

static bool leave_stored(void *arg, const struct hm_record *record, struct hm_json data) {
    struct everything *e = arg;
    struct plugin_name name;
    struct hm_json known;
    const char *layer = hm_plugin_own_layer(e->institution);
    (void)record;
    if (!hm_plugin_name_of(data, &name)) return true;
    if (find(hm_buf_view(&e->institution->without), name.kind, name.id, layer, &known)) return true;
    leave_out(e->institution, name.kind, name.id, layer, e->errors);
    e->more++;
    return true;
}

// Nobody was named: then it is any of those that are not shipped.
static bool leave_everything(struct institution *inst, struct hm_json errors) {
    struct everything e = {inst, errors, 0};
    struct hm_read *read = NULL;
    struct hm_json base, item, known;
    if (hm_read_begin(inst->store, &read, NULL)) {
        hm_plugin_each(read, inst->store, leave_stored, &e);
        hm_read_end(read);
    }
    struct hm_str sources = hm_layer_sources(inst->layer);
    if (sources.len && hm_json_parse(sources, &base, NULL)) {
        struct hm_json_iter it = hm_json_iter(base);
        while (hm_json_next(&it, NULL, &item)) {
            struct plugin_name name;
            if (!hm_plugin_name_of(item, &name)) continue;
            if (find(hm_buf_view(&inst->without), name.kind, name.id, "cluster", &known)) continue;
            leave_out(inst, name.kind, name.id, "cluster", errors);
            e.more++;
        }
    }
    return e.more > 0;
}

bool hm_rescue(struct institution *inst, struct hm_str errors) {
    struct hm_json all, item;
    unsigned more = 0, shipped = 0;
    char layer[16];
    if (inst->watched.len > 2 || !hm_json_parse(errors, &all, NULL)) return false;
    struct hm_json_iter it = hm_json_iter(all);
    while (hm_json_next(&it, NULL, &item)) {
        more += blame(inst, item, all);
        shipped += hm_json_get_text(item, "layer", layer, sizeof layer) && strcmp(layer, "shipped") == 0;
    }
    inst->without_told = inst->without_told && !more;
    if (more) return true;
    return !shipped && leave_everything(inst, all);
}

// ---- saying so ----------------------------------------------------------------------------------------

static void mark_version(struct commit_item *item, const struct plugin_name *name) {
    struct institution *inst = item->institution;
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_json data, state;
    char active[HM_ID_MAX + 1];
    struct hm_buf changed = {0};
    if (!hm_read_begin(inst->store, &read, NULL)) return;
    hm_plugin_active(read, name->key, active);
    if (active[0] && hm_read_data(read, "plugin_version", hm_str_of(active), &record, &data) &&
        !(hm_json_get(data, "state", &state) && hm_str_eq(state.raw, HM_LIT("\"broken\"")))) {
        hm_json_with(data, "state", HM_LIT("\"broken\""), &changed);
        hm_item_put(item, "plugin_version", hm_str_of(active), record.version, hm_buf_view(&changed),
                    "role:administrator");
        hm_plugin_audit(item, name->key, "left out, since it no longer loads; plugin.list says why");
    }
    hm_read_end(read);
    hm_buf_free(&changed);
}

void hm_rescue_tell(struct institution *inst) {
    struct hm_json all, item;
    if (!inst->without.len || inst->without_told || !hm_json_parse(hm_buf_view(&inst->without), &all, NULL))
        return;
    inst->without_told = true;
    struct commit_item *commit = hm_item_new(inst, "", "plugin.broken");
    struct hm_json_iter it = hm_json_iter(all);
    while (hm_json_next(&it, NULL, &item)) {
        struct plugin_name name;
        char layer[16] = "";
        hm_json_get_text(item, "layer", layer, sizeof layer);
        if (!hm_plugin_name_of(item, &name)) continue;
        inst->engine->counters.plugins_broken++;
        hm_log(HM_ERROR, "plugin.broken", "\"institution\":\"%s\",\"plugin\":\"%s\",\"layer\":\"%s\"",
               inst->id, name.key, layer);
        hm_plugin_notice(inst, "plugin.broken", item.raw);
        if (strcmp(layer, hm_plugin_own_layer(inst)) == 0) mark_version(commit, &name);
    }
    if (commit->intent_count)
        hm_item_submit(commit, hm_item_ignored);
    else
        hm_item_free(commit);
}
