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

static bool flag(struct hm_json object, const char *name) {
    struct hm_json value;
    bool on = false;
    return hm_json_get(object, name, &value) && hm_json_bool(value, &on) && on;
}

static bool parse_access(struct hm_json json, struct cat_method *out, struct hm_error *err) {
    char access[16];
    struct hm_json role;
    if (!hm_json_get_text(json, "access", access, sizeof access))
        return hm_fail(err, HM_PARAMS, "method %s says nothing about access", out->name);
    if (strcmp(access, "public") == 0)
        out->access = ACCESS_PUBLIC;
    else if (strcmp(access, "signed_in") == 0)
        out->access = ACCESS_SIGNED_IN;
    else if (strcmp(access, "role") == 0)
        out->access = ACCESS_ROLES;
    else
        return hm_fail(err, HM_PARAMS, "method %s: unknown access", out->name);
    if (out->access != ACCESS_ROLES) return true;
    if (!hm_json_get(json, "roles", &out->roles) || out->roles.kind != HM_JSON_ARRAY)
        return hm_fail(err, HM_PARAMS, "method %s: roles are missing", out->name);
    struct hm_json_iter it = hm_json_iter(out->roles);
    while (hm_json_next(&it, NULL, &role))
        if (role.kind != HM_JSON_STRING)
            return hm_fail(err, HM_PARAMS, "method %s: a role is no text", out->name);
    return true;
}

// Which service declares it, in which version. Methods come by name, so that those of a service mostly stand
// together: it is looked up once.
static void name_owner(const struct catalogue *cat, struct hm_json item, struct cat_method *m,
                       const struct cat_method **last) {
    struct hm_json service;
    if (!hm_json_get_text(item, "plugin", m->plugin, sizeof m->plugin)) return;
    if (*last && strcmp((*last)->plugin, m->plugin) == 0)
        memcpy(m->version, (*last)->version, sizeof m->version);
    else if (hm_cat_plugin(cat, "service", m->plugin, &service))
        hm_json_get_text(service, "version", m->version, sizeof m->version);
    *last = m;
}

static bool parse_methods(struct catalogue *cat, struct hm_error *err) {
    struct hm_json list, item, said;
    const struct cat_method *last = NULL;
    if (!hm_json_get(cat->root, "methods", &list)) return true;
    if (list.kind != HM_JSON_ARRAY) return hm_fail(err, HM_PARAMS, "methods must be an array");
    struct hm_json_iter it = hm_json_iter(list);
    while (hm_json_next(&it, NULL, &item)) {
        struct cat_method *m = hm_alloc(sizeof *m), *before = NULL;
        bool named = hm_json_get_text(item, "name", m->name, METHOD_NAME_MAX) && method_name_valid(m->name);
        if (named) HASH_FIND_STR(cat->methods, m->name, before);
        bool fits = named && !before && HASH_COUNT(cat->methods) < METHODS_MAX;
        if (!fits) hm_fail(err, HM_PARAMS, "a method has no valid name of its own");
        if (!fits || !parse_access(item, m, err)) {
            free(m);
            return false;
        }
        name_owner(cat, item, m, &last);
        m->job = flag(item, "job");
        m->writes = flag(item, "writes");
        m->done =
            !hm_json_get(item, "done", &said) || flag(item, "done"); // a worker that does not say is asked
        HASH_ADD_STR(cat->methods, name, m);
    }
    return true;
}

static bool parse_reactions(struct catalogue *cat, struct hm_error *err) {
    struct hm_json list, item;
    if (!hm_json_get(cat->root, "reactions", &list)) return true;
    if (list.kind != HM_JSON_ARRAY) return hm_fail(err, HM_PARAMS, "reactions must be an array");
    struct hm_json_iter it = hm_json_iter(list);
    while (hm_json_next(&it, NULL, &item)) {
        struct cat_event *e = hm_alloc(sizeof *e), *before = NULL;
        if (!hm_json_get_text(item, "event", e->name, sizeof e->name)) {
            free(e);
            return hm_fail(err, HM_PARAMS, "a reaction has no event");
        }
        HASH_FIND_STR(cat->events, e->name, before);
        if (before || HASH_COUNT(cat->events) >= METHODS_MAX)
            free(e); // several plugins may react to the same event
        else
            HASH_ADD_STR(cat->events, name, e);
    }
    return true;
}

static bool parse_plugins(struct catalogue *cat, struct hm_error *err) {
    struct hm_json list, item;
    char text[129];
    if (!hm_json_get(cat->root, "plugins", &list)) return true;
    if (list.kind != HM_JSON_ARRAY) return hm_fail(err, HM_PARAMS, "plugins must be an array");
    struct hm_json_iter it = hm_json_iter(list);
    while (hm_json_next(&it, NULL, &item))
        if (!hm_json_get_text(item, "kind", text, sizeof text) ||
            !hm_json_get_text(item, "id", text, sizeof text))
            return hm_fail(err, HM_PARAMS, "a plugin has no kind or id");
    return true;
}

bool hm_cat_parse(struct hm_str json, struct catalogue **out, struct hm_error *err) {
    struct catalogue *cat = hm_alloc(sizeof *cat);
    struct hm_json types;
    bool ok = false;
    cat->refs = 1;
    cat->json = hm_str_dup(json);
    if (!hm_json_parse((struct hm_str){cat->json, json.len}, &cat->root, err)) goto out;
    if (cat->root.kind != HM_JSON_OBJECT) {
        hm_fail(err, HM_PARAMS, "the catalogue is no object");
        goto out;
    }
    hm_secret_hash(json, cat->hash);
    if (!parse_methods(cat, err) || !parse_reactions(cat, err) || !parse_plugins(cat, err)) goto out;
    if (!hm_json_get(cat->root, "types", &types)) types = (struct hm_json){HM_JSON_ARRAY, HM_LIT("[]")};
    if (!hm_types_parse(types.raw, &cat->types, err)) goto out;
    *out = cat;
    ok = true;
out:
    if (!ok) hm_cat_unref(cat);
    return ok;
}

struct catalogue *hm_cat_ref(struct catalogue *cat) {
    if (cat) cat->refs++;
    return cat;
}

void hm_cat_unref(struct catalogue *cat) {
    if (!cat || --cat->refs > 0) return;
    struct cat_method *m, *next_m;
    struct cat_event *e, *next_e;
    HASH_ITER(hh, cat->methods, m, next_m) {
        HASH_DEL(cat->methods, m);
        free(m);
    }
    HASH_ITER(hh, cat->events, e, next_e) {
        HASH_DEL(cat->events, e);
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

bool hm_cat_reacts(const struct catalogue *cat, struct hm_str type, enum hm_action action) {
    static const char *const names[] = {
        [HM_CREATED] = "created", [HM_UPDATED] = "updated", [HM_DELETED] = "deleted"};
    struct cat_event *e = NULL;
    char event[128];
    if (!cat || !cat->events || type.len > HM_NAME_MAX) return false;
    int len = snprintf(event, sizeof event, "%.*s.%s", (int)type.len, type.ptr, names[action]);
    HASH_FIND(hh, cat->events, event, (unsigned)len, e);
    return e != NULL;
}

bool hm_cat_plugin(const struct catalogue *cat, const char *kind, const char *id, struct hm_json *out) {
    struct hm_json list;
    char text[129];
    if (!cat || !hm_json_get(cat->root, "plugins", &list)) return false;
    struct hm_json_iter it = hm_json_iter(list);
    while (hm_json_next(&it, NULL, out)) {
        if (!hm_json_get_text(*out, "kind", text, sizeof text) || strcmp(text, kind) != 0) continue;
        if (hm_json_get_text(*out, "id", text, sizeof text) && strcmp(text, id) == 0) return true;
    }
    return false;
}
