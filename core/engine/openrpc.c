// The OpenRPC document: made from the core's method table and from what an institution's plugins declare.
// Loop thread.
#include "engine/internal.h"

#include <stdlib.h>

static bool required(struct hm_json schema, struct hm_json name) {
    struct hm_json list, item;
    if (!hm_json_get(schema, "required", &list)) return false;
    struct hm_json_iter it = hm_json_iter(list);
    while (hm_json_next(&it, NULL, &item))
        if (hm_str_eq(item.raw, name.raw)) return true;
    return false;
}

// OpenRPC wants a list of content descriptors where a JSON schema has properties.
static void put_params(struct hm_buf *b, struct hm_json schema) {
    struct hm_json properties, name, property;
    bool first = true;
    hm_json_key(b, "params");
    hm_buf_char(b, '[');
    if (hm_json_get(schema, "properties", &properties)) {
        struct hm_json_iter it = hm_json_iter(properties);
        while (hm_json_next(&it, &name, &property)) {
            if (!first) hm_buf_char(b, ',');
            first = false;
            hm_buf_char(b, '{');
            hm_json_member_raw(b, "name", name.raw);
            hm_json_member_raw(b, "required", required(schema, name) ? HM_LIT("true") : HM_LIT("false"));
            hm_json_member_raw(b, "schema", property.raw);
            hm_buf_char(b, '}');
        }
    }
    hm_buf_char(b, ']');
    hm_json_member_str(b, "paramStructure", HM_LIT("by-name"));
}

static void put_result(struct hm_buf *b, struct hm_str schema) {
    hm_json_key(b, "result");
    hm_buf_text(b, "{\"name\":\"result\"");
    hm_json_member_raw(b, "schema", schema.len ? schema : HM_LIT("{}"));
    hm_buf_char(b, '}');
}

static void put_core(struct hm_buf *b, const struct core_method *method) {
    static const char *const access[] = {[ACCESS_PUBLIC] = "public",
                                         [ACCESS_SIGNED_IN] = "signed_in",
                                         [ACCESS_ROLES] = "role",
                                         [ACCESS_ADMIN] = "role",
                                         [ACCESS_CLUSTER] = "cluster"};
    struct hm_buf schema = {0};
    struct hm_json parsed;
    hm_params_schema(method->params, &schema);
    hm_buf_char(b, '{');
    hm_json_member_str(b, "name", hm_str_of(method->name));
    hm_json_member_str(b, "summary", hm_str_of(method->summary));
    if (hm_json_parse(hm_buf_view(&schema), &parsed, NULL)) put_params(b, parsed);
    put_result(b, HM_LIT(""));
    hm_json_member_str(b, "x-access", hm_str_of(access[method->access]));
    if (method->access == ACCESS_ADMIN) hm_json_member_raw(b, "x-roles", HM_LIT("[\"administrator\"]"));
    hm_buf_char(b, '}');
    hm_buf_free(&schema);
}

static void put_declared(struct hm_buf *b, struct hm_json method) {
    static const char *const copied[][2] = {{"name", "name"},       {"plugin", "x-plugin"},
                                            {"access", "x-access"}, {"roles", "x-roles"},
                                            {"job", "x-job"},       {"writes", "x-writes"}};
    struct hm_json value, text;
    hm_buf_char(b, '{');
    for (size_t i = 0; i < sizeof copied / sizeof *copied; i++)
        if (hm_json_get(method, copied[i][0], &value)) hm_json_member_raw(b, copied[i][1], value.raw);
    if (hm_json_get(method, "summary", &value)) {
        bool by_language = value.kind == HM_JSON_OBJECT && hm_json_get(value, "en", &text);
        if (by_language || value.kind == HM_JSON_STRING)
            hm_json_member_raw(b, "summary", by_language ? text.raw : value.raw);
        if (value.kind == HM_JSON_OBJECT) hm_json_member_raw(b, "x-summary", value.raw);
    }
    if (!hm_json_get(method, "params", &value)) value = (struct hm_json){HM_JSON_OBJECT, HM_LIT("{}")};
    put_params(b, value);
    put_result(b, hm_json_get(method, "result", &value) ? value.raw : HM_LIT(""));
    hm_buf_char(b, '}');
}

// Types with their schemas, so that clients can make their own types of records.
static void put_types(struct hm_buf *b, struct hm_json types) {
    struct hm_json item, name, schema;
    bool first = true;
    hm_json_key(b, "components");
    hm_buf_text(b, "{\"schemas\":{");
    struct hm_json_iter it = hm_json_iter(types);
    while (hm_json_next(&it, NULL, &item)) {
        if (!hm_json_get(item, "name", &name) || name.kind != HM_JSON_STRING) continue;
        if (!first) hm_buf_char(b, ',');
        first = false;
        hm_buf_str(b, name.raw);
        hm_buf_char(b, ':');
        hm_buf_str(b, hm_json_get(item, "schema", &schema) ? schema.raw : HM_LIT("{}"));
    }
    hm_buf_text(b, "}}");
}

// What is true of every method and so stands at none.
#define ABOUT                                                                                                \
    "Any params may carry idem, a text of 1 to 64 bytes: the same key from the same person gives within 7 "  \
    "days the answer that was given, and does nothing twice. Errors are not kept. conflict (-32004) has "    \
    "data.reason: busy (what was read kept changing), exists, idem_reused (the key was used for another "    \
    "call), idem_done (it was done; its answer is not kept), or a reason of the method."

static void build(const struct hm_engine *engine, const struct catalogue *cat, struct hm_buf *out) {
    struct hm_json list, item;
    hm_buf_text(out, "{\"openrpc\":\"1.2.6\",\"info\":{\"title\":\"Hamroh\"");
    hm_json_member_str(out, "version", hm_str_of(HAMROH_VERSION));
    hm_json_member_str(out, "description", HM_LIT(ABOUT));
    hm_buf_text(out, "},\"methods\":[");
    for (size_t i = 0; i < engine->method_count; i++) {
        if (i) hm_buf_char(out, ',');
        put_core(out, engine->methods[i]);
    }
    if (cat && hm_json_get(cat->root, "methods", &list)) {
        struct hm_json_iter it = hm_json_iter(list);
        while (hm_json_next(&it, NULL, &item)) {
            hm_buf_char(out, ',');
            put_declared(out, item);
        }
    }
    hm_buf_char(out, ']');
    if (cat && hm_json_get(cat->root, "types", &list)) put_types(out, list);
    hm_buf_char(out, '}');
}

// Strangers may ask for it as often as they like, so it is made once for each catalogue.
void hm_engine_openrpc(struct hm_engine *engine, const char *institution, struct hm_buf *out) {
    struct institution *inst = institution ? hm_inst_find(engine, institution) : NULL;
    struct catalogue *cat = inst ? inst->catalogue : NULL;
    struct hm_buf *kept = cat ? &cat->openrpc : &engine->openrpc;
    if (!kept->len) build(engine, cat, kept);
    hm_buf_str(out, hm_buf_view(kept));
}
