// What an institution's workers can do, as they say in READY: methods, reactions, record types, plugins.
// Parsed once, immutable, refcounted, loop thread only. It comes from a worker, so every name in it is
// checked before it is believed.
#include "base/code.h"
#include "engine/internal.h"

#include <stdio.h>
#include <stdlib.h>

#define METHODS_MAX 4096
#define METHOD_NAME_MAX 128

static bool method_name_valid(const char *name) {
    if (name[0] < 'a' || name[0] > 'z') return false;
    for (const char *p = name; *p; p++) {
        bool fits =
            (*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || *p == '.' || *p == '_' || *p == '-';
        if (!fits) return false;
    }
    return true;
}

static bool is_true(struct hm_json value) {
    bool on = false;
    return hm_json_bool(value, &on) && on;
}

static bool access_of(struct hm_json word, struct cat_method *out) {
    static const struct {
        const char *word;
        enum access access;
    } known[] = {{"public", ACCESS_PUBLIC}, {"signed_in", ACCESS_SIGNED_IN}, {"role", ACCESS_ROLES}};
    char text[16];
    if (!hm_json_text(word, text, sizeof text)) return false;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(known[i].word, text) != 0) continue;
        out->access = known[i].access;
        return true;
    }
    return false;
}

static bool roles_fit(const struct cat_method *m) {
    struct hm_json role;
    if (m->access != ACCESS_ROLES) return true;
    if (m->roles.kind != HM_JSON_ARRAY) return false;
    struct hm_json_iter it = hm_json_iter(m->roles);
    while (hm_json_next(&it, NULL, &role))
        if (role.kind != HM_JSON_STRING) return false;
    return true;
}

// Which service declares it, in which version. Methods come by name, so that those of a service mostly stand
// together: it is looked up once.
static void name_owner(const struct catalogue *cat, struct cat_method *m, const struct cat_method **last) {
    struct hm_json service;
    if (*last && strcmp((*last)->plugin, m->plugin) == 0)
        memcpy(m->version, (*last)->version, sizeof m->version);
    else if (m->plugin[0] && hm_cat_plugin(cat, "service", m->plugin, &service))
        hm_json_get_text(service, "version", m->version, sizeof m->version);
    *last = m;
}

// Reads a method's members in one walk: the loop waits for this at each start of a worker.
static bool parse_method(struct hm_json item, struct cat_method *m, struct hm_error *err) {
    struct hm_json_iter it = hm_json_iter(item);
    struct hm_json key, value;
    bool named = false, access = false, done_said = false;
    while (hm_json_next(&it, &key, &value)) {
        if (hm_json_key_is(key, HM_LIT("name")))
            named = hm_json_text(value, m->name, METHOD_NAME_MAX) && method_name_valid(m->name);
        else if (hm_json_key_is(key, HM_LIT("plugin")))
            (void)hm_json_text(value, m->plugin, sizeof m->plugin);
        else if (hm_json_key_is(key, HM_LIT("access")))
            access = access_of(value, m);
        else if (hm_json_key_is(key, HM_LIT("roles")))
            m->roles = value;
        else if (hm_json_key_is(key, HM_LIT("job")))
            m->job = is_true(value);
        else if (hm_json_key_is(key, HM_LIT("writes")))
            m->writes = is_true(value);
        else if (hm_json_key_is(key, HM_LIT("done")))
            done_said = true, m->done = is_true(value);
    }
    if (!done_said) m->done = true; // a worker that does not say is asked
    if (!named) return hm_fail(err, HM_PARAMS, "a method has no valid name of its own");
    if (!access) return hm_fail(err, HM_PARAMS, "method %s: unknown access", m->name);
    return roles_fit(m) || hm_fail(err, HM_PARAMS, "method %s: its roles are no list of texts", m->name);
}

static bool parse_methods(struct catalogue *cat, struct hm_error *err) {
    struct hm_json list, item;
    const struct cat_method *last = NULL;
    if (!hm_json_get(cat->root, "methods", &list)) return true;
    if (list.kind != HM_JSON_ARRAY) return hm_fail(err, HM_PARAMS, "methods must be an array");
    struct hm_json_iter it = hm_json_iter(list);
    while (hm_json_next(&it, NULL, &item)) {
        struct cat_method *m = hm_alloc(sizeof *m), *before = NULL;
        bool ok = parse_method(item, m, err);
        if (ok) HASH_FIND_STR(cat->methods, m->name, before);
        if (before || HASH_COUNT(cat->methods) >= METHODS_MAX)
            ok = hm_fail(err, HM_PARAMS, "a method has no valid name of its own");
        if (!ok) {
            free(m);
            return false;
        }
        name_owner(cat, m, &last);
        HASH_ADD_STR(cat->methods, name, m);
    }
    return true;
}

static bool parse_reactions(struct catalogue *cat, struct hm_error *err) {
    struct hm_json list, item;
    if (!hm_json_get(cat->root, "reactions", &list)) return true;
    if (list.kind != HM_JSON_ARRAY) return hm_fail(err, HM_PARAMS, "reactions must be an array");
    struct hm_json_iter it = hm_json_iter(list);
    for (unsigned n = 0; n < METHODS_MAX && hm_json_next(&it, NULL, &item); n++) {
        char name[129], plugin[HM_NAME_MAX + 1], kind[HM_NAME_MAX + 1] = "service";
        struct cat_event *e = NULL;
        if (!hm_json_get_text(item, "event", name, sizeof name) ||
            !hm_json_get_text(item, "plugin", plugin, sizeof plugin) || !hm_name_valid(hm_str_of(plugin)))
            return hm_fail(err, HM_PARAMS, "a reaction has no event or plugin");
        hm_json_get_text(item, "kind", kind, sizeof kind);
        HASH_FIND_STR(cat->events, name, e);
        if (!e) {
            e = hm_alloc(sizeof *e);
            snprintf(e->name, sizeof e->name, "%s", name);
            HASH_ADD_STR(cat->events, name, e);
        }
        e->plugins = hm_realloc(e->plugins, (e->plugin_count + 1) * sizeof *e->plugins);
        snprintf(e->plugins[e->plugin_count++], sizeof *e->plugins, "%s/%s", kind, plugin);
    }
    return true;
}

static bool parse_plugins(struct catalogue *cat, struct hm_error *err) {
    struct hm_json list, item;
    if (!hm_json_get(cat->root, "plugins", &list)) return true;
    if (list.kind != HM_JSON_ARRAY) return hm_fail(err, HM_PARAMS, "plugins must be an array");
    struct hm_json_iter it = hm_json_iter(list);
    while (hm_json_next(&it, NULL, &item)) {
        char kind[HM_NAME_MAX + 1], id[HM_NAME_MAX + 1];
        struct cat_plugin *p = hm_alloc(sizeof *p), *before = NULL;
        p->entry = item;
        bool named =
            hm_json_get_text(item, "kind", kind, sizeof kind) && hm_json_get_text(item, "id", id, sizeof id);
        if (named) {
            snprintf(p->key, sizeof p->key, "%s/%s", kind, id);
            HASH_FIND_STR(cat->plugins, p->key, before);
        }
        if (named && !before) {
            HASH_ADD_STR(cat->plugins, key, p);
            continue;
        }
        free(p);
        if (!named) return hm_fail(err, HM_PARAMS, "a plugin has no kind or id");
    }
    return true;
}

static bool share_types(struct catalogue *cat, const struct catalogue *like, struct hm_error *err) {
    struct hm_json types;
    if (!hm_json_get(cat->root, "types", &types)) types = (struct hm_json){HM_JSON_ARRAY, HM_LIT("[]")};
    if (!like || !hm_str_eq(hm_types_json(like->types), types.raw))
        return hm_types_parse(types.raw, &cat->types, err);
    cat->types = hm_types_ref(like->types);
    return true;
}

bool hm_cat_parse_like(struct hm_str json, const struct catalogue *like, struct catalogue **out,
                       struct hm_error *err) {
    struct catalogue *cat = hm_alloc(sizeof *cat);
    bool ok = false;
    cat->refs = 1;
    cat->json = hm_str_dup(json);
    if (!hm_json_parse((struct hm_str){cat->json, json.len}, &cat->root, err)) goto out;
    if (cat->root.kind != HM_JSON_OBJECT) {
        hm_fail(err, HM_PARAMS, "the catalogue is no object");
        goto out;
    }
    hm_secret_hash(json, cat->hash);
    if (!parse_plugins(cat, err) || !parse_methods(cat, err) || !parse_reactions(cat, err)) goto out;
    if (!share_types(cat, like, err)) goto out;
    *out = cat;
    ok = true;
out:
    if (!ok) hm_cat_unref(cat);
    return ok;
}

bool hm_cat_parse(struct hm_str json, struct catalogue **out, struct hm_error *err) {
    return hm_cat_parse_like(json, NULL, out, err);
}

struct catalogue *hm_cat_ref(struct catalogue *cat) {
    if (cat) cat->refs++;
    return cat;
}

void hm_cat_unref(struct catalogue *cat) {
    if (!cat || --cat->refs > 0) return;
    struct cat_method *m, *next_m;
    struct cat_event *e, *next_e;
    struct cat_plugin *p, *next_p;
    HASH_ITER(hh, cat->plugins, p, next_p) {
        HASH_DEL(cat->plugins, p);
        free(p);
    }
    HASH_ITER(hh, cat->methods, m, next_m) {
        HASH_DEL(cat->methods, m);
        free(m);
    }
    HASH_ITER(hh, cat->events, e, next_e) {
        HASH_DEL(cat->events, e);
        free(e->plugins);
        free(e);
    }
    hm_types_unref(cat->types);
    hm_buf_free(&cat->openrpc);
    free(cat->json);
    free(cat);
}

const struct cat_method *hm_cat_method(const struct catalogue *cat, struct hm_str name) {
    struct cat_method *m = NULL;
    if (cat && name.len && name.len < METHOD_NAME_MAX)
        HASH_FIND(hh, cat->methods, name.ptr, (unsigned)name.len, m);
    return m;
}

const struct cat_event *hm_cat_event(const struct catalogue *cat, struct hm_str type, enum hm_action action) {
    static const char *const names[] = {
        [HM_CREATED] = "created", [HM_UPDATED] = "updated", [HM_DELETED] = "deleted"};
    struct cat_event *e = NULL;
    char event[128];
    if (!cat || !cat->events || type.len > HM_NAME_MAX) return NULL;
    int len = snprintf(event, sizeof event, "%.*s.%s", (int)type.len, type.ptr, names[action]);
    HASH_FIND(hh, cat->events, event, (unsigned)len, e);
    return e;
}

bool hm_event_has(const struct cat_event *event, const char *plugin) {
    for (size_t i = 0; event && i < event->plugin_count; i++)
        if (strcmp(event->plugins[i], plugin) == 0) return true;
    return false;
}

bool hm_cat_plugin(const struct catalogue *cat, const char *kind, const char *id, struct hm_json *out) {
    char key[2 * HM_NAME_MAX + 2];
    struct cat_plugin *p = NULL;
    if (!cat) return false;
    snprintf(key, sizeof key, "%.64s/%.64s", kind, id);
    HASH_FIND_STR(cat->plugins, key, p);
    if (p) *out = p->entry;
    return p != NULL;
}
