// The declarations the store goes by: a sorted table, made once from a worker's catalogue and never changed.
// Any thread.
#include "store/types.h"
#include "base/id.h"
#include "store/internal.h"
#include <assert.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>

struct hm_types {
    atomic_uint refs;
    char *json;
    size_t json_len;
    size_t count;
    struct hm_type *types; // sorted by name
};

// What the core keeps of its own, in the form of a catalogue so that there is one way to declare a type.
static const char core_json[] =
    "[{\"name\":\"account\",\"hidden\":true,\"indexes\":[{\"name\":\"login\",\"fields\":[\"login\"],"
    "\"unique\":true},"
    "{\"name\":\"person\",\"fields\":[\"person\"]}]},"
    "{\"name\":\"session\",\"hidden\":true,\"indexes\":[{\"name\":\"person\",\"fields\":[\"person\"]},"
    "{\"name\":\"account\",\"fields\":[\"account\"]}]},"
    "{\"name\":\"factor\",\"hidden\":true,\"indexes\":[{\"name\":\"person\",\"fields\":[\"person\"]}]},"
    "{\"name\":\"sign_in\",\"hidden\":true,\"indexes\":[{\"name\":\"person\",\"fields\":[\"person\"]},"
    "{\"name\":\"account\",\"fields\":[\"account\",\"time\"]},{\"name\":\"time\",\"fields\":[\"time\"]}]},"
    "{\"name\":\"invitation\",\"hidden\":true,\"indexes\":[{\"name\":\"person\",\"fields\":[\"person\"]}]},"
    "{\"name\":\"idem\",\"hidden\":true,\"indexes\":[{\"name\":\"expires\",\"fields\":[\"expires\"]}]},"
    "{\"name\":\"notification\",\"indexes\":[{\"name\":\"person\",\"fields\":[\"person\",\"created\"]},"
    "{\"name\":\"unread\",\"fields\":[\"person\",\"unread\",\"created\"]},"
    "{\"name\":\"expires\",\"fields\":[\"expires\"]}]},"
    "{\"name\":\"contact\",\"about\":\"person\",\"sealed\":[\"address\"],\"indexes\":["
    "{\"name\":\"person\",\"fields\":[\"person\"]},"
    "{\"name\":\"start\",\"fields\":[\"start\"],\"unique\":true}]},"
    "{\"name\":\"webhook\",\"hidden\":true},"
    "{\"name\":\"outgoing\",\"hidden\":true,\"indexes\":[{\"name\":\"queue\",\"fields\":[\"state\",\"to\","
    "\"due\"]},"
    "{\"name\":\"contact\",\"fields\":[\"contact\",\"since\"]},"
    "{\"name\":\"person\",\"fields\":[\"person\",\"since\"]},"
    "{\"name\":\"expires\",\"fields\":[\"expires\"]}]},"
    "{\"name\":\"recording\",\"hidden\":true,\"indexes\":[{\"name\":\"expires\",\"fields\":[\"expires\"]}]},"
    "{\"name\":\"job\"},"
    "{\"name\":\"reacted\",\"hidden\":true},"
    "{\"name\":\"timer\",\"hidden\":true},"
    "{\"name\":\"award\",\"indexes\":[{\"name\":\"person\",\"fields\":[\"person\",\"given\"]},"
    "{\"name\":\"kind\",\"fields\":[\"kind\",\"given\"]}]},"
    "{\"name\":\"plugin\"},"
    "{\"name\":\"plugin_version\",\"indexes\":[{\"name\":\"plugin\",\"fields\":[\"plugin\"]}]},"
    "{\"name\":\"plugin_base\",\"hidden\":true},"
    "{\"name\":\"audit\",\"indexes\":[{\"name\":\"whose\",\"fields\":[\"whose\"]}]},"
    "{\"name\":\"institution\"}]";

static bool flag(struct hm_json object, const char *name) {
    struct hm_json v;
    bool on = false;
    return hm_json_get(object, name, &v) && hm_json_bool(v, &on) && on;
}

static bool field_valid(const char *field) {
    if (field[0] == '@')
        return strcmp(field, "@by") == 0 || strcmp(field, "@created") == 0 || strcmp(field, "@updated") == 0;
    return field[0] && hm_utf8_valid(hm_str_of(field));
}

// Text element of an array into a fixed buffer.
static bool text_of(struct hm_json v, char *out, size_t cap) {
    struct hm_buf text = {0};
    bool ok = hm_json_string(v, &text) && text.len < cap && (!text.len || !memchr(text.data, 0, text.len));
    if (ok && text.len) memcpy(out, text.data, text.len);
    if (ok) out[text.len] = 0;
    hm_buf_free(&text);
    return ok;
}

static bool parse_index(const struct hm_type *type, struct hm_json json, struct hm_index *out,
                        struct hm_error *err) {
    struct hm_json fields, item;
    if (!hm_json_get_text(json, "name", out->name, sizeof out->name) || !hm_name_valid(hm_str_of(out->name)))
        return hm_fail(err, HM_PARAMS, "type %s: an index has no valid name", type->name);
    for (unsigned i = 0; i < type->index_count; i++)
        if (strcmp(type->indexes[i].name, out->name) == 0)
            return hm_fail(err, HM_PARAMS, "type %s: index %s is declared twice", type->name, out->name);
    out->unique = flag(json, "unique");
    out->multi = flag(json, "multi");
    if (!hm_json_get(json, "fields", &fields) || fields.kind != HM_JSON_ARRAY) fields.raw.len = 0;
    size_t count = fields.raw.len ? hm_json_count(fields) : 0;
    if (count < 1 || count > HM_INDEX_FIELDS_MAX)
        return hm_fail(err, HM_PARAMS, "type %s: index %s must have 1 to %d fields", type->name, out->name,
                       HM_INDEX_FIELDS_MAX);
    if (out->multi && count != 1)
        return hm_fail(err, HM_PARAMS, "type %s: index %s is multi and must have one field", type->name,
                       out->name);
    struct hm_json_iter it = hm_json_iter(fields);
    while (hm_json_next(&it, NULL, &item)) {
        char *field = out->fields[out->field_count++];
        if (!text_of(item, field, sizeof out->fields[0]) || !field_valid(field) ||
            (out->multi && field[0] == '@'))
            return hm_fail(err, HM_PARAMS, "type %s: index %s: field %u is not a path in the data",
                           type->name, out->name, out->field_count);
        for (unsigned i = 0; i < type->sealed_count; i++) {
            size_t len = strlen(type->sealed[i]);
            if (strncmp(field, type->sealed[i], len) == 0 && (field[len] == 0 || field[len] == '.'))
                return hm_fail(err, HM_PARAMS, "type %s: index %s: the sealed field %s cannot be indexed",
                               type->name, out->name, field);
        }
    }
    return true;
}

static bool parse_sealed(struct hm_json json, struct hm_type *out, struct hm_error *err) {
    struct hm_json list, item;
    if (!hm_json_get(json, "sealed", &list)) return true;
    struct hm_json_iter it = hm_json_iter(list);
    while (hm_json_next(&it, NULL, &item)) {
        if (out->sealed_count == sizeof out->sealed / sizeof *out->sealed)
            return hm_fail(err, HM_PARAMS, "type %s: more than %zu sealed fields", out->name,
                           sizeof out->sealed / sizeof *out->sealed);
        char *field = out->sealed[out->sealed_count++];
        if (!text_of(item, field, sizeof out->sealed[0]) || !field_valid(field) || field[0] == '@')
            return hm_fail(err, HM_PARAMS, "type %s: sealed: not a field name", out->name);
        if (strcmp(field, out->about) == 0)
            return hm_fail(err, HM_PARAMS, "type %s: the field %s names the person and cannot be sealed",
                           out->name, field);
    }
    if (out->sealed_count && !out->about[0])
        return hm_fail(err, HM_PARAMS, "type %s: sealed fields need `about`, the field that names the person",
                       out->name);
    return true;
}

// What an index is told by: changed records have other keys even where the index is declared as before.
static void tag_indexes(struct hm_type *type) {
    for (unsigned i = 0; i < type->index_count; i++) {
        struct hm_index *index = &type->indexes[i];
        struct hm_buf text = {0};
        uint8_t hash[16];
        hm_buf_add(&text, (const char *)type->shape, sizeof type->shape);
        hm_buf_printf(&text, "%c%c", index->unique ? 'u' : '-', index->multi ? 'm' : '-');
        for (unsigned k = 0; k < index->field_count; k++)
            hm_buf_add(&text, index->fields[k], strlen(index->fields[k]) + 1);
        crypto_generichash(hash, sizeof hash, (const uint8_t *)text.data, text.len, NULL, 0);
        memcpy(index->tag, hash, sizeof index->tag);
        hm_buf_free(&text);
    }
}

static void put_shape(struct hm_json json, struct hm_type *out) {
    static const char *const members[] = {"schema", "sealed", "about", "key"};
    struct hm_buf text = {0};
    struct hm_json value;
    hm_buf_printf(&text, "%u", out->form);
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        hm_buf_char(&text, '\n');
        if (hm_json_get(json, members[i], &value)) hm_buf_str(&text, value.raw);
    }
    crypto_generichash(out->shape, sizeof out->shape, (const uint8_t *)text.data, text.len, NULL, 0);
    hm_buf_free(&text);
}

static bool parse_form(struct hm_json json, struct hm_type *out, struct hm_error *err) {
    struct hm_json value;
    int64_t form = 1;
    if (hm_json_get(json, "version", &value) &&
        (!hm_json_int(value, &form) || form < 1 || form > HM_FORM_MAX))
        return hm_fail(err, HM_PARAMS, "type %s: version must be a whole number from 1 to %d", out->name,
                       HM_FORM_MAX);
    out->form = (unsigned)form;
    return true;
}

static bool parse_type(struct hm_json json, struct hm_type *out, struct hm_error *err) {
    struct hm_json about, list, item;
    if (!hm_json_get_text(json, "name", out->name, sizeof out->name) || !hm_name_valid(hm_str_of(out->name)))
        return hm_fail(err, HM_PARAMS, "a record type has no valid name");
    if (hm_json_get(json, "about", &about) && about.kind != HM_JSON_NULL &&
        (!text_of(about, out->about, sizeof out->about) || (out->about[0] && !field_valid(out->about)) ||
         out->about[0] == '@'))
        return hm_fail(err, HM_PARAMS, "type %s: about is not a path in the data", out->name);
    if (!parse_sealed(json, out, err) || !parse_form(json, out, err)) return false;
    put_shape(json, out);
    if (!hm_json_get(json, "indexes", &list)) return true;
    if (hm_json_count(list) > HM_INDEXES_MAX)
        return hm_fail(err, HM_PARAMS, "type %s: more than %d indexes", out->name, HM_INDEXES_MAX);
    struct hm_json_iter it = hm_json_iter(list);
    while (hm_json_next(&it, NULL, &item)) {
        if (!parse_index(out, item, &out->indexes[out->index_count], err)) return false;
        out->index_count++;
    }
    tag_indexes(out);
    return true;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct hm_type *)a)->name, ((const struct hm_type *)b)->name);
}

static bool parse_list(struct hm_json list, struct hm_types *types, bool core, struct hm_error *err) {
    struct hm_json item;
    struct hm_json_iter it = hm_json_iter(list);
    while (hm_json_next(&it, NULL, &item)) {
        struct hm_type *type = &types->types[types->count++];
        if (!parse_type(item, type, err)) return false;
        type->core = core;
        type->hidden = core && flag(item, "hidden");
    }
    return true;
}

bool hm_types_parse(struct hm_str json, struct hm_types **out, struct hm_error *err) {
    struct hm_json list, core;
    bool ok = false;
    struct hm_types *types = hm_alloc(sizeof *types);
    atomic_init(&types->refs, 1);
    *out = NULL;
    bool parsed = hm_json_parse(hm_str_of(core_json), &core, NULL);
    assert(parsed);
    (void)parsed;
    if (!hm_json_parse(json, &list, err)) goto out;
    if (list.kind != HM_JSON_ARRAY) {
        hm_fail(err, HM_PARAMS, "types: not an array");
        goto out;
    }
    size_t count = hm_json_count(list) + hm_json_count(core);
    if (count > HM_TYPES_MAX) {
        hm_fail(err, HM_PARAMS, "types: %zu declared, %d are allowed", count, HM_TYPES_MAX);
        goto out;
    }
    types->json = hm_str_dup(json);
    types->json_len = json.len;
    types->types = hm_alloc_array(count, sizeof *types->types);
    if (!parse_list(core, types, true, err) || !parse_list(list, types, false, err)) goto out;
    qsort(types->types, types->count, sizeof *types->types, by_name);
    for (size_t i = 1; i < types->count; i++) {
        const struct hm_type *a = &types->types[i - 1], *b = &types->types[i];
        if (strcmp(a->name, b->name) != 0) continue;
        hm_fail(err, HM_PARAMS, "type %s is declared %s", a->name,
                a->core || b->core ? "by the core already" : "twice");
        goto out;
    }
    *out = types;
    ok = true;
out:
    if (!ok) hm_types_unref(types);
    return ok;
}

struct hm_types *hm_types_core(void) {
    struct hm_types *types = NULL;
    bool ok = hm_types_parse(HM_LIT("[]"), &types, NULL);
    assert(ok);
    (void)ok;
    return types;
}

struct hm_types *hm_types_ref(struct hm_types *types) {
    if (types) atomic_fetch_add_explicit(&types->refs, 1, memory_order_relaxed);
    return types;
}

void hm_types_unref(struct hm_types *types) {
    if (!types || atomic_fetch_sub_explicit(&types->refs, 1, memory_order_acq_rel) != 1) return;
    free(types->types);
    free(types->json);
    free(types);
}

const struct hm_type *hm_types_find(const struct hm_types *types, struct hm_str name) {
    size_t from = 0, to = types->count;
    while (from < to) {
        size_t mid = from + (to - from) / 2;
        int order = hm_str_cmp(hm_str_of(types->types[mid].name), name);
        if (order == 0) return &types->types[mid];
        if (order < 0) {
            from = mid + 1;
        } else {
            to = mid;
        }
    }
    return NULL;
}

const struct hm_index *hm_type_index(const struct hm_type *type, struct hm_str name) {
    for (unsigned i = 0; i < type->index_count; i++)
        if (hm_str_eq(hm_str_of(type->indexes[i].name), name)) return &type->indexes[i];
    return NULL;
}

struct hm_str hm_types_json(const struct hm_types *types) {
    return (struct hm_str){types->json, types->json_len};
}

size_t hm_types_count(const struct hm_types *types) {
    return types->count;
}

const struct hm_type *hm_types_at(const struct hm_types *types, size_t i) {
    assert(i < types->count);
    return &types->types[i];
}
