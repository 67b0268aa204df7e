// What is in force, its versions, its sources, and what differs between them: plugin.list, get, history,
// diff, export. Loop thread. The institution's own layer is read from its store; what lies below is known to
// the workers, of which one is asked.
#include "engine/plugin_read.h"
#include "base/diff.h"
#include "engine/plugin.h"
#include "engine/reshape.h"

#include <stdio.h>
#include <stdlib.h>

static bool read_of(struct call *call, struct hm_read **read) {
    struct hm_error err = {0};
    if (hm_read_begin(call->institution->store, read, &err)) return true;
    hm_call_fail_error(call, &err);
    return false;
}

// ---- plugin.list --------------------------------------------------------------------------------------

// {…, "active", "state"?, "errors"?}: what a worker says of a plugin, and what the server knows.
static void put_listed(struct institution *inst, struct hm_read *read, struct hm_json item,
                       struct hm_buf *out) {
    struct plugin_name name;
    char active[HM_ID_MAX + 1], version[65] = "";
    struct hm_json broken, errors;
    if (!hm_plugin_name_of(item, &name)) return;
    hm_json_get_text(item, "version", version, sizeof version);
    const char *state = hm_fresh_state(inst, name.kind, name.id, version);
    hm_plugin_active(read, name.key, active);
    if (out->data[out->len - 1] != '[') hm_buf_char(out, ',');
    hm_buf_add(out, item.raw.ptr, item.raw.len - 1);
    hm_json_key(out, "active");
    if (active[0])
        hm_json_put_str(out, hm_str_of(active));
    else
        hm_buf_text(out, "null");
    if (hm_rescue_find(inst, name.kind, name.id, &broken)) { // this one serves instead of it
        state = "broken";
        if (hm_json_get(broken, "errors", &errors)) hm_json_member_raw(out, "errors", errors.raw);
    }
    hm_json_member_str(out, "state", hm_str_of(state ? state : "good"));
    hm_buf_char(out, '}');
}

// Those that were left out, and below which there is none that would stand for them.
static void put_broken(struct institution *inst, struct hm_read *read, struct hm_buf *out) {
    struct hm_json all, item, there;
    if (!inst->without.len || !hm_json_parse(hm_buf_view(&inst->without), &all, NULL)) return;
    struct hm_json_iter it = hm_json_iter(all);
    while (hm_json_next(&it, NULL, &item)) {
        struct plugin_name name;
        char active[HM_ID_MAX + 1];
        if (!hm_plugin_name_of(item, &name) || hm_cat_plugin(inst->catalogue, name.kind, name.id, &there))
            continue;
        hm_plugin_active(read, name.key, active);
        if (out->data[out->len - 1] != '[') hm_buf_char(out, ',');
        hm_buf_add(out, item.raw.ptr, item.raw.len - 1);
        hm_json_member_str(out, "active", hm_str_of(active));
        hm_json_member_str(out, "state", HM_LIT("broken"));
        hm_buf_char(out, '}');
    }
}

void hm_plugin_list(struct call *call) {
    struct institution *inst = call->institution;
    struct hm_read *read = NULL;
    struct hm_json list, item;
    struct hm_buf out = {0};
    if (hm_call_needs_catalogue(call) || !read_of(call, &read)) return;
    hm_buf_text(&out, "{\"items\":[");
    if (inst->catalogue && hm_json_get(inst->catalogue->root, "plugins", &list)) {
        struct hm_json_iter it = hm_json_iter(list);
        while (hm_json_next(&it, NULL, &item))
            put_listed(inst, read, item, &out);
    }
    put_broken(inst, read, &out);
    hm_buf_char(&out, ']');
    if (inst->refusal.len) hm_json_member_raw(&out, "refused", hm_buf_view(&inst->refusal));
    if (inst->layer_errors.len) hm_json_member_raw(&out, "behind", hm_buf_view(&inst->layer_errors));
    hm_reshape_json(inst, &out);
    hm_reshape_kept(inst, read, &out);
    hm_buf_char(&out, '}');
    hm_read_end(read);
    hm_call_ok(call, hm_buf_view(&out));
    hm_buf_free(&out);
}

// ---- plugin.history -----------------------------------------------------------------------------------

struct history {
    struct hm_buf out;
    char active[HM_ID_MAX + 1];
    unsigned count;
};

static bool take_version(void *arg, const struct hm_record *record, struct hm_json data) {
    static const char *const shown[] = {"kind", "id", "hash", "note", "by", "time", "state"};
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

void hm_plugin_history(struct call *call) {
    struct plugin_name name;
    struct history h = {0};
    struct hm_read *read = NULL;
    if (!hm_plugin_named(call, &name) || !read_of(call, &read)) return;
    hm_plugin_active(read, name.key, h.active);
    struct hm_types *types = hm_store_types(call->institution->store);
    hm_buf_text(&h.out, "{\"items\":[");
    hm_read_each(read, types, "plugin_version", "plugin", hm_str_of(name.key), true, take_version, &h);
    hm_buf_text(&h.out, "]}");
    hm_types_unref(types);
    hm_read_end(read);
    hm_call_ok(call, hm_buf_view(&h.out));
    hm_buf_free(&h.out);
}

// ---- asking a worker ----------------------------------------------------------------------------------

static void ask_worker(struct call *call, const struct plugin_name *name, hm_answer_fn answer, void *arg) {
    struct hm_buf params = {0};
    hm_buf_char(&params, '{');
    hm_json_member_str(&params, "kind", hm_str_of(name->kind));
    hm_json_member_str(&params, "id", hm_str_of(name->id));
    hm_buf_char(&params, '}');
    struct call *ask = hm_call_new(call->engine, call->institution, NULL, HM_LIT("$plugins"),
                                   hm_buf_view(&params), answer, arg);
    hm_call_system(ask);
    call->institution->wanted = true;
    hm_call_enqueue(ask, false);
    hm_buf_free(&params);
}

// The one entry of its answer.
static bool first_item(const struct hm_answer *answer, struct hm_json *out) {
    struct hm_json result, list;
    if (answer->code || !hm_json_parse(answer->result, &result, NULL) || !hm_json_get(result, "items", &list))
        return false;
    struct hm_json_iter it = hm_json_iter(list);
    return hm_json_next(&it, NULL, out);
}

static bool layer_of(struct hm_json item, const char *layer, struct hm_json *out) {
    struct hm_json layers;
    char text[16];
    if (!hm_json_get(item, "layers", &layers)) return false;
    struct hm_json_iter it = hm_json_iter(layers);
    while (hm_json_next(&it, NULL, out))
        if (hm_json_get_text(*out, "layer", text, sizeof text) && strcmp(text, layer) == 0) return true;
    return false;
}

static bool is_layer(const char *text) {
    return strcmp(text, "shipped") == 0 || strcmp(text, "cluster") == 0;
}

// ---- plugin.get ---------------------------------------------------------------------------------------

static bool put_stored(const struct institution *inst, struct hm_read *read, const struct plugin_name *name,
                       const char *version, struct hm_buf *out) {
    static const char *const shown[] = {"source", "hash", "note", "by", "time", "state"};
    struct hm_record record;
    struct hm_json data, value;
    char belongs[PLUGIN_KEY_MAX];
    bool found = version[0] && hm_read_data(read, "plugin_version", hm_str_of(version), &record, &data) &&
                 hm_json_get_text(data, "plugin", belongs, sizeof belongs) && strcmp(belongs, name->key) == 0;
    if (!found) return false;
    hm_buf_char(out, '{');
    hm_json_member_str(out, "kind", hm_str_of(name->kind));
    hm_json_member_str(out, "id", hm_str_of(name->id));
    hm_json_member_str(out, "version", hm_str_of(version));
    hm_json_member_str(out, "layer", hm_str_of(hm_plugin_own_layer(inst)));
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
        if (hm_json_get(data, shown[i], &value)) hm_json_member_raw(out, shown[i], value.raw);
    hm_buf_char(out, '}');
    return true;
}

static void below(void *arg, const struct hm_answer *answer) {
    struct call *call = arg;
    struct hm_json item, layer;
    char wanted[16];
    if (answer->code) {
        hm_call_done(call, answer->code, answer->result, answer->message, answer->data);
    } else if (!first_item(answer, &item)) {
        hm_call_fail(call, HM_NOT_FOUND, "no such plugin");
    } else if (!hm_arg_text(call, "layer", wanted, sizeof wanted)) {
        hm_call_ok(call, item.raw);
    } else if (!layer_of(item, wanted, &layer)) {
        hm_call_fail(call, HM_NOT_FOUND, "this layer does not have the plugin");
    } else {
        struct hm_buf out = {0};
        struct hm_json value;
        static const char *const shown[] = {"layer", "version", "hash", "source"};
        hm_buf_char(&out, '{');
        if (hm_json_get(item, "kind", &value)) hm_json_member_raw(&out, "kind", value.raw);
        if (hm_json_get(item, "id", &value)) hm_json_member_raw(&out, "id", value.raw);
        for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
            if (hm_json_get(layer, shown[i], &value)) hm_json_member_raw(&out, shown[i], value.raw);
        hm_buf_char(&out, '}');
        hm_call_ok(call, hm_buf_view(&out));
        hm_buf_free(&out);
    }
}

void hm_plugin_get(struct call *call) {
    struct plugin_name name;
    struct hm_read *read = NULL;
    struct hm_buf out = {0};
    char version[HM_ID_MAX + 1], layer[16];
    if (!hm_plugin_named(call, &name)) return;
    bool versioned = hm_arg_text(call, "version", version, sizeof version);
    bool layered = hm_arg_text(call, "layer", layer, sizeof layer);
    if (layered && !is_layer(layer) && strcmp(layer, "institution") != 0) {
        hm_call_param(call, "layer", "must be shipped, cluster or institution");
        return;
    }
    bool own = !layered || strcmp(layer, hm_plugin_own_layer(call->institution)) == 0;
    if (!read_of(call, &read)) return;
    if (!versioned) hm_plugin_active(read, name.key, version);
    bool found = own && put_stored(call->institution, read, &name, version, &out);
    hm_read_end(read);
    if (found)
        hm_call_ok(call, hm_buf_view(&out));
    else if (versioned || (layered && own))
        hm_call_fail(call, HM_NOT_FOUND, "no such version of this plugin");
    else
        ask_worker(call, &name, below, call);
    hm_buf_free(&out);
}

// ---- plugin.diff --------------------------------------------------------------------------------------

struct comparison {
    struct call *call;
    struct plugin_name name;
    char from[HM_ID_MAX + 1], to[HM_ID_MAX + 1]; // versions or layers; to "": the source that was given
    struct hm_buf old_text, new_text;
    bool need_old, need_new; // from a worker
};

static void comparison_free(struct comparison *c) {
    hm_buf_free(&c->old_text);
    hm_buf_free(&c->new_text);
    free(c);
}

static void put_line(const struct hm_diff_line *line, struct hm_buf *out) {
    if (out->data[out->len - 1] != '[') hm_buf_char(out, ',');
    hm_buf_printf(out, "{\"op\":\"%c\"", line->op);
    hm_json_member_str(out, "text", line->text);
    hm_buf_char(out, '}');
}

static void compare(struct comparison *c) {
    struct hm_diff diff;
    struct hm_buf out = {0};
    hm_diff_make(hm_buf_view(&c->old_text), hm_buf_view(&c->new_text), &diff);
    hm_buf_char(&out, '{');
    hm_json_member_str(&out, "from", hm_str_of(c->from));
    hm_json_member_str(&out, "to", hm_str_of(c->to[0] ? c->to : "source"));
    hm_json_key(&out, "hunks");
    hm_buf_char(&out, '[');
    for (size_t i = 0; i < diff.hunk_count; i++) {
        const struct hm_diff_hunk *h = &diff.hunks[i];
        if (i) hm_buf_char(&out, ',');
        hm_buf_printf(&out, "{\"from\":%zu,\"to\":%zu,\"from_count\":%zu,\"to_count\":%zu,\"lines\":[",
                      h->from, h->to, h->from_count, h->to_count);
        for (size_t k = 0; k < h->count; k++)
            put_line(&diff.lines[h->first + k], &out);
        hm_buf_text(&out, "]}");
    }
    hm_buf_text(&out, "]}");
    hm_diff_free(&diff);
    hm_call_ok(c->call, hm_buf_view(&out));
    hm_buf_free(&out);
    comparison_free(c);
}

// "" stands for whatever lies directly below the institution's own.
static bool source_in(struct hm_json item, const struct institution *inst, char which[HM_ID_MAX + 1],
                      struct hm_buf *out) {
    struct hm_json layer, source;
    if (!which[0]) {
        bool cluster = strcmp(inst->id, CLUSTER) != 0 && layer_of(item, "cluster", &layer);
        snprintf(which, HM_ID_MAX + 1, "%s", cluster ? "cluster" : "shipped");
    }
    return layer_of(item, which, &layer) && hm_json_get(layer, "source", &source) &&
           hm_json_string(source, out);
}

static void compare_below(void *arg, const struct hm_answer *answer) {
    struct comparison *c = arg;
    struct call *call = c->call;
    struct hm_json item;
    if (answer->code) {
        comparison_free(c);
        hm_call_done(call, answer->code, answer->result, answer->message, answer->data);
        return;
    }
    bool ok = first_item(answer, &item);
    // A plugin that is nobody else's is compared with nothing.
    if (c->need_old && ok) source_in(item, call->institution, c->from, &c->old_text);
    if (c->need_new && ok) ok = source_in(item, call->institution, c->to, &c->new_text);
    if (ok) {
        compare(c);
        return;
    }
    comparison_free(c);
    hm_call_fail(call, HM_NOT_FOUND, "no such plugin in this layer");
}

// False: there is no such version. *need: a worker has to be asked.
static bool side(struct hm_read *read, const struct comparison *c, const char *which, struct hm_buf *out,
                 bool *need) {
    *need = !which[0] || is_layer(which);
    return *need || hm_plugin_source(read, c->name.key, which, out);
}

void hm_plugin_diff(struct call *call) {
    struct plugin_name name;
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_json data;
    char active[HM_ID_MAX + 1];
    if (!hm_plugin_named(call, &name) || !read_of(call, &read)) return;
    struct comparison *c = hm_alloc(sizeof *c);
    c->call = call;
    c->name = name;
    hm_plugin_active(read, name.key, active);
    bool given = hm_arg_buf(call, "source", &c->new_text);
    bool to = hm_arg_text(call, "to", c->to, sizeof c->to),
         from = hm_arg_text(call, "from", c->from, sizeof c->from);
    if (!to && !given) memcpy(c->to, active, sizeof active);
    if (!from && given) memcpy(c->from, active, sizeof active);
    if (!from && !given && hm_read_data(read, "plugin_version", hm_str_of(c->to), &record, &data))
        hm_json_get_text(data, "replaces", c->from, sizeof c->from);
    bool ok = side(read, c, c->from, &c->old_text, &c->need_old) &&
              (given || side(read, c, c->to, &c->new_text, &c->need_new));
    hm_read_end(read);
    if (!ok) {
        comparison_free(c);
        hm_call_fail(call, HM_NOT_FOUND, "no such version of this plugin");
    } else if (c->need_old || c->need_new) {
        ask_worker(call, &name, compare_below, c);
    } else {
        compare(c);
    }
}

// ---- plugin.export ------------------------------------------------------------------------------------

struct exporting {
    struct hm_read *read;
    struct hm_buf out;
};

static bool export_one(void *arg, const struct hm_record *record, struct hm_json data) {
    static const char *const shown[] = {"source", "hash", "note", "by", "time"};
    struct exporting *e = arg;
    struct plugin_name name;
    struct hm_record version;
    struct hm_json kept, value;
    char active[HM_ID_MAX + 1];
    (void)record;
    if (!hm_plugin_name_of(data, &name) || !hm_json_get_text(data, "active", active, sizeof active) ||
        !active[0] || !hm_read_data(e->read, "plugin_version", hm_str_of(active), &version, &kept))
        return true;
    if (e->out.data[e->out.len - 1] != '[') hm_buf_char(&e->out, ',');
    hm_buf_char(&e->out, '{');
    hm_json_member_str(&e->out, "kind", hm_str_of(name.kind));
    hm_json_member_str(&e->out, "id", hm_str_of(name.id));
    hm_json_member_str(&e->out, "version", hm_str_of(active));
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
        if (hm_json_get(kept, shown[i], &value)) hm_json_member_raw(&e->out, shown[i], value.raw);
    hm_buf_char(&e->out, '}');
    return true;
}

void hm_plugin_export(struct call *call) {
    struct exporting e = {0};
    if (!read_of(call, &e.read)) return;
    hm_buf_text(&e.out, "{\"items\":[");
    hm_plugin_each(e.read, call->institution->store, export_one, &e);
    hm_buf_text(&e.out, "]}");
    hm_read_end(e.read);
    hm_call_ok(call, hm_buf_view(&e.out));
    hm_buf_free(&e.out);
}
