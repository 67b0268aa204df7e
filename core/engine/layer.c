// The cluster's layer of plugins, which lies between what is shipped and what is an institution's own. It is
// stored in the institution `cluster`; each institution remembers which versions of it it runs with (record
// `plugin_base`), and goes from these to the newest by a trial of its own: routing, not force.
//
// What always holds: an institution serves with the layer that its record names, also after a restart, until
// a worker has loaded the newer one under the institution's own plugins, passed their tests and found the
// stored records fitting. What was refused is tried again when either side has changed. Loop thread.
#include "base/clock.h"
#include "base/log.h"
#include "engine/plugin.h"

#include <stdlib.h>
#include <utlist.h>

#define AT_ONCE 2u // institutions that try a layer at the same time
#define SPREAD_US 60000000u

struct layer {
    unsigned refs;
    char *sources; // JSON array of {"kind","id","source","note"}
    char *pins;    // JSON object: "kind/id" -> version, in the order of the keys
    bool confirm;  // was deployed although records do not fit
};

struct spread { // a deploy that waits until all have followed
    struct spread *next;
    uint64_t until_us;
    void (*done)(void *arg, struct hm_str institutions);
    void *arg;
};

struct layer *hm_layer_ref(struct layer *layer) {
    if (layer) layer->refs++;
    return layer;
}

void hm_layer_unref(struct layer *layer) {
    if (!layer || --layer->refs > 0) return;
    free(layer->sources);
    free(layer->pins);
    free(layer);
}

struct hm_str hm_layer_sources(const struct layer *layer) {
    return hm_str_of(layer ? layer->sources : NULL);
}

static const char *pins_of(const struct layer *layer) {
    return layer ? layer->pins : "{}";
}

static bool same(const struct layer *a, const struct layer *b) {
    return strcmp(pins_of(a), pins_of(b)) == 0;
}

static bool is_cluster(const struct institution *inst) {
    return strcmp(inst->id, CLUSTER) == 0;
}

// ---- making one ---------------------------------------------------------------------------------------

struct building {
    struct hm_read *read; // of the cluster's store
    struct hm_buf sources, pins;
};

static void add(struct building *b, const struct plugin_name *name, const char *version) {
    struct hm_buf source = {0};
    if (hm_plugin_source(b->read, name->key, version, &source) &&
        b->sources.len + source.len < PLUGIN_LAYER_MAX) {
        if (b->sources.len > 1) hm_buf_char(&b->sources, ',');
        hm_buf_char(&b->sources, '{');
        hm_json_member_str(&b->sources, "kind", hm_str_of(name->kind));
        hm_json_member_str(&b->sources, "id", hm_str_of(name->id));
        hm_json_member_str(&b->sources, "source", hm_buf_view(&source));
        hm_buf_char(&b->sources, '}');
        hm_json_member_str(&b->pins, name->key, hm_str_of(version));
    }
    hm_buf_free(&source);
}

static bool add_active(void *arg, const struct hm_record *record, struct hm_json data) {
    struct plugin_name name;
    char version[HM_ID_MAX + 1];
    (void)record;
    if (hm_plugin_name_of(data, &name) && hm_json_get_text(data, "active", version, sizeof version) &&
        version[0])
        add(arg, &name, version);
    return true;
}

// pins NULL: what is in force in the cluster. NULL when there is nothing in it.
static struct layer *build(struct hm_engine *engine, const struct hm_json *pins) {
    struct institution *cluster = hm_inst_find(engine, CLUSTER);
    struct building b = {0};
    struct layer *layer = NULL;
    if (!cluster || !hm_read_begin(cluster->store, &b.read, NULL)) return NULL;
    hm_buf_char(&b.sources, '[');
    hm_buf_char(&b.pins, '{');
    if (pins) {
        struct hm_json_iter it = hm_json_iter(*pins);
        struct hm_json key, value;
        while (hm_json_next(&it, &key, &value)) {
            struct plugin_name name;
            char text[PLUGIN_KEY_MAX], version[HM_ID_MAX + 1];
            if (!hm_json_text(key, text, sizeof text) || !hm_json_text(value, version, sizeof version))
                continue;
            char *slash = strchr(text, '/');
            if (!slash) continue;
            *slash = '\0';
            if (hm_plugin_name(&name, text, slash + 1)) add(&b, &name, version);
        }
    } else {
        hm_plugin_each(b.read, cluster->store, add_active, &b);
    }
    hm_read_end(b.read);
    hm_buf_char(&b.sources, ']');
    hm_buf_char(&b.pins, '}');
    if (b.pins.len > 2) {
        layer = hm_alloc(sizeof *layer);
        *layer = (struct layer){1, b.sources.data, b.pins.data, false};
    } else {
        hm_buf_free(&b.sources);
        hm_buf_free(&b.pins);
    }
    return layer;
}

void hm_layer_refresh(struct hm_engine *engine, bool confirm) {
    struct layer *before = engine->layer;
    engine->layer = build(engine, NULL);
    if (engine->layer) engine->layer->confirm = confirm;
    hm_layer_unref(before);
}

// ---- which one an institution has ---------------------------------------------------------------------

// An institution that is new has nothing of its own yet that could be in the way.
void hm_layer_open(struct institution *inst) {
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_json data, pins;
    if (is_cluster(inst) || !hm_read_begin(inst->store, &read, NULL)) return;
    if (hm_read_data(read, "plugin_base", HM_LIT(CLUSTER), &record, &data)) {
        if (hm_json_get(data, "versions", &pins)) inst->layer = build(inst->engine, &pins);
    } else if (hm_read_seq(read) == 0) {
        inst->layer = hm_layer_ref(inst->engine->layer);
    }
    hm_read_end(read);
}

void hm_layer_taken(struct institution *inst, struct layer *layer) {
    struct layer *before = inst->layer;
    struct hm_buf without = {0};
    inst->layer = hm_layer_ref(layer == inst->engine->layer ? inst->engine->layer : layer);
    hm_layer_unref(before);
    hm_layer_unref(inst->layer_refused);
    inst->layer_refused = NULL;
    hm_buf_clear(&inst->layer_errors);
    hm_rescue_own(inst, &without);
    hm_buf_free(&inst->without);
    inst->without = without;
}

void hm_layer_retry(struct institution *inst) {
    hm_layer_unref(inst->layer_refused);
    inst->layer_refused = NULL;
    hm_buf_clear(&inst->layer_errors);
    hm_inst_touch(inst);
}

static void put_base(struct commit_item *item, const struct layer *layer) {
    struct hm_buf data = {0};
    hm_buf_char(&data, '{');
    hm_json_member_raw(&data, "versions", hm_str_of(pins_of(layer)));
    hm_json_member_int(&data, "time", item->commit.now_ms);
    hm_buf_char(&data, '}');
    hm_item_put(item, "plugin_base", HM_LIT(CLUSTER), HM_ANY_VERSION, hm_buf_view(&data), "");
    hm_buf_free(&data);
}

void hm_layer_remember(struct institution *inst) {
    if (is_cluster(inst) || inst->told || !inst->layer) return;
    struct commit_item *item = hm_item_new(inst, "", "plugin.follow");
    put_base(item, inst->layer);
    hm_item_submit(item, hm_item_ignored);
}

// ---- following ----------------------------------------------------------------------------------------

static bool settled(const struct institution *inst) {
    const struct layer *wanted = inst->engine->layer;
    if (is_cluster(inst) || same(inst->layer, wanted)) return true;
    return inst->layer_errors.len && same(inst->layer_refused, wanted);
}

static void report(const struct hm_engine *engine, struct hm_buf *out) {
    struct institution *inst, *next;
    struct hm_buf kept = {0}, pending = {0};
    hm_buf_text(out, "{\"followed\":[");
    HASH_ITER(hh, engine->institutions, inst, next) {
        if (is_cluster(inst)) continue;
        if (same(inst->layer, engine->layer)) {
            if (out->data[out->len - 1] != '[') hm_buf_char(out, ',');
            hm_json_put_str(out, hm_str_of(inst->id));
        } else if (settled(inst)) {
            hm_buf_text(&kept, kept.len ? ",{" : "{");
            hm_json_member_str(&kept, "institution", hm_str_of(inst->id));
            hm_json_member_raw(&kept, "errors", hm_buf_view(&inst->layer_errors));
            hm_buf_char(&kept, '}');
        } else {
            if (pending.len) hm_buf_char(&pending, ',');
            hm_json_put_str(&pending, hm_str_of(inst->id));
        }
    }
    hm_buf_text(out, "],\"kept\":[");
    hm_buf_str(out, hm_buf_view(&kept));
    hm_buf_text(out, "],\"pending\":[");
    hm_buf_str(out, hm_buf_view(&pending));
    hm_buf_text(out, "]}");
    hm_buf_free(&kept);
    hm_buf_free(&pending);
}

static void spreads_end(struct hm_engine *engine, bool all) {
    struct hm_buf out = {0};
    uint64_t now_us = hm_mono_us();
    bool over = true;
    struct institution *inst, *next;
    if (!engine->spreads) return;
    all = all || engine->draining; // nobody follows any more: the next start does
    HASH_ITER(hh, engine->institutions, inst, next) {
        over = over && settled(inst);
    }
    report(engine, &out);
    struct spread **link = &engine->spreads;
    while (*link) {
        struct spread *s = *link;
        if (!all && !over && now_us < s->until_us) {
            link = &s->next;
            continue;
        }
        *link = s->next;
        s->done(s->arg, hm_buf_view(&out));
        free(s);
    }
    hm_buf_free(&out);
}

void hm_layer_spread(struct hm_engine *engine, void (*done)(void *arg, struct hm_str institutions),
                     void *arg) {
    struct spread *s = hm_alloc(sizeof *s);
    struct institution *inst, *next;
    *s = (struct spread){engine->spreads, hm_mono_us() + SPREAD_US, done, arg};
    engine->spreads = s;
    HASH_ITER(hh, engine->institutions, inst, next) {
        hm_layer_tick(inst);
    }
    spreads_end(engine, false);
}

void hm_layer_close(struct hm_engine *engine) {
    spreads_end(engine, true);
}

static void over(struct institution *inst) {
    struct hm_engine *engine = inst->engine;
    struct institution *other, *next;
    engine->following--;
    if (engine->closing) return;
    HASH_ITER(hh, engine->institutions, other, next) {
        hm_layer_tick(other);
    }
    spreads_end(engine, false);
}

// Whether this is the first time; then it is kept in mind. The record stands for what the institution has.
static bool first_refusal(struct institution *inst, const char *pins, struct commit_item *item) {
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_json data = {HM_JSON_OBJECT, HM_LIT("{}")}, refused;
    struct hm_buf changed = {0}, whole = {0}, quoted = {0};
    if (!hm_read_begin(inst->store, &read, NULL)) return false;
    bool known = hm_read_data(read, "plugin_base", HM_LIT(CLUSTER), &record, &data);
    hm_json_put_str(&quoted, hm_str_of(pins));
    bool first = !hm_json_get(data, "refused", &refused) || !hm_str_eq(refused.raw, hm_buf_view(&quoted));
    if (first) {
        hm_json_with(data, "versions", hm_str_of(pins_of(inst->layer)), &changed);
        hm_json_with((struct hm_json){HM_JSON_OBJECT, hm_buf_view(&changed)}, "refused", hm_buf_view(&quoted),
                     &whole);
        hm_item_put(item, "plugin_base", HM_LIT(CLUSTER), known ? record.version : 0, hm_buf_view(&whole),
                    "");
    }
    hm_read_end(read);
    hm_buf_free(&changed);
    hm_buf_free(&whole);
    hm_buf_free(&quoted);
    return first;
}

static void tell_refusal(struct institution *inst, const char *pins, struct hm_str errors) {
    struct hm_buf params = {0};
    struct commit_item *item = hm_item_new(inst, "", "plugin.follow");
    if (!first_refusal(inst, pins, item)) {
        hm_item_free(item);
        return;
    }
    hm_plugin_audit(item, "cluster",
                    "the cluster's plugins were not taken over: they do not go with this institution's own");
    hm_item_submit(item, hm_item_ignored);
    hm_buf_char(&params, '{');
    hm_json_member_raw(&params, "errors", errors);
    hm_buf_char(&params, '}');
    hm_plugin_notice(inst, "plugin.kept", hm_buf_view(&params));
    hm_buf_free(&params);
}

// The institution goes on as it is, and its administrators are told, once.
static void refuse(struct trial *trial, struct hm_str errors) {
    struct institution *inst = trial->institution;
    if (!inst->engine->closing) {
        hm_layer_unref(inst->layer_refused);
        inst->layer_refused = hm_layer_ref(trial->layer);
        hm_buf_clear(&inst->layer_errors);
        hm_buf_str(&inst->layer_errors, errors);
        hm_log(HM_WARN, "plugin.layer_kept", "\"institution\":\"%s\"", inst->id);
        tell_refusal(inst, pins_of(trial->layer), errors);
    }
    hm_trial_end(trial);
    over(inst);
}

static void refuse_message(struct trial *trial, const char *message) {
    struct hm_buf errors = {0};
    hm_buf_text(&errors, "[{");
    hm_json_member_str(&errors, "message", hm_str_of(message));
    hm_buf_text(&errors, "}]");
    refuse(trial, hm_buf_view(&errors));
    hm_buf_free(&errors);
}

static void on_written(struct commit_item *item) {
    struct trial *trial = item->arg;
    struct institution *inst = trial->institution;
    trial->busy--;
    if (item->ok && item->commit.code == HM_OK) {
        hm_log(HM_INFO, "plugin.layer_taken", "\"institution\":\"%s\"", inst->id);
        hm_trial_adopt(trial);
        over(inst);
    } else {
        refuse_message(trial, item->ok ? item->commit.error.message : item->error.message);
    }
}

static void refuse_lossy(struct trial *trial) {
    struct hm_buf errors = {0};
    hm_buf_text(&errors, "[{");
    hm_json_member_str(&errors, "message", HM_LIT("stored records would lose something"));
    hm_json_member_raw(&errors, "changes", hm_buf_view(&trial->changes));
    hm_buf_text(&errors, "}]");
    refuse(trial, hm_buf_view(&errors));
    hm_buf_free(&errors);
}

static void on_typed(struct trial *trial, bool ok, const struct hm_error *err) {
    if (!ok && err && err->code == HM_CONFLICT && hm_trial_lossy(trial)) {
        refuse_lossy(trial);
        return;
    }
    if (!ok || !trial->proc) {
        refuse_message(trial, !ok && err ? err->message : "the worker died");
        return;
    }
    struct commit_item *item = hm_item_new(trial->institution, "", "plugin.follow");
    hm_trial_force(trial, item);
    put_base(item, trial->layer);
    item->arg = trial;
    trial->busy++;
    hm_item_submit(item, on_written);
}

static void on_ready(struct trial *trial) {
    trial->confirm = trial->layer && trial->layer->confirm;
    hm_trial_types(trial);
}

// [{"kind","id"}] of the plugins in which two layers differ.
static void put_differing(const struct layer *a, const struct layer *b, struct hm_buf *out) {
    struct hm_json mine, others, key, value, other;
    if (!hm_json_parse(hm_str_of(pins_of(a)), &mine, NULL) ||
        !hm_json_parse(hm_str_of(pins_of(b)), &others, NULL))
        return;
    struct hm_json_iter it = hm_json_iter(mine);
    while (hm_json_next(&it, &key, &value)) {
        struct plugin_name name;
        char text[PLUGIN_KEY_MAX];
        if (!hm_json_text(key, text, sizeof text)) continue;
        if (hm_json_get(others, text, &other) && hm_str_eq(other.raw, value.raw)) continue;
        char *slash = strchr(text, '/');
        if (!slash) continue;
        *slash = '\0';
        if (!hm_plugin_name(&name, text, slash + 1)) continue;
        if (out->data[out->len - 1] != '[') hm_buf_char(out, ',');
        hm_buf_char(out, '{');
        hm_json_member_str(out, "kind", hm_str_of(name.kind));
        hm_json_member_str(out, "id", hm_str_of(name.id));
        hm_buf_char(out, '}');
    }
}

static void follow(struct institution *inst) {
    struct hm_engine *engine = inst->engine;
    struct hm_buf tests = {0};
    struct hm_error err = {0};
    hm_buf_char(&tests, '[');
    put_differing(engine->layer, inst->layer, &tests);
    put_differing(inst->layer, engine->layer, &tests);
    hm_buf_char(&tests, ']');
    struct trial *trial = hm_trial_start_on(inst, engine->layer, hm_buf_view(&tests), &err);
    hm_buf_free(&tests);
    if (!trial) return; // later
    engine->following++;
    trial->ready = on_ready;
    trial->typed = on_typed;
    trial->refused = refuse;
}

void hm_layer_tick(struct institution *inst) {
    struct hm_engine *engine = inst->engine;
    if (engine->draining) return;
    if (is_cluster(inst)) spreads_end(engine, false);
    if (settled(inst) || inst->trial || !inst->catalogue || engine->following >= AT_ONCE) return;
    follow(inst);
}
