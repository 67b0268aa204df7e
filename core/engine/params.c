// The params of core methods: each row of a method table says them in one text, from which they are checked,
// documented and turned into JSON schema. A row's text is "name:type" in a row, "!" after what must be there.
// Types:
//   text (a string of at most 128 bytes), long (a string of any length), int, bool, object, array, any.
// What always holds: every fault is reported at once, and `idem` is accepted everywhere.
#include "engine/internal.h"

#include <stdio.h>
#include <stdlib.h>

#define TEXT_MAX 128

struct param {
    struct hm_str name, type;
    bool required;
};

static bool row_next(const char **at, struct param *out) {
    const char *p = *at;
    while (*p == ' ')
        p++;
    if (!*p) return false;
    const char *colon = strchr(p, ':');
    size_t len = strcspn(p, " ");
    out->name = (struct hm_str){p, (size_t)(colon - p)};
    out->required = p[len - 1] == '!';
    out->type = (struct hm_str){colon + 1, (size_t)(p + len - colon - 1) - (out->required ? 1 : 0)};
    *at = p + len;
    return true;
}

static void fault(struct hm_buf *errors, struct hm_str path, const char *message) {
    hm_buf_text(errors, errors->len ? ",{" : "{");
    hm_json_member_str(errors, "path", path);
    hm_json_member_str(errors, "message", hm_str_of(message));
    hm_buf_char(errors, '}');
}

static const char *text_fault(struct hm_json value) {
    const char *wrong = NULL;
    struct hm_buf text = {0};
    if (value.raw.len > TEXT_MAX * 6 + 2 || !hm_json_string(value, &text) || text.len > TEXT_MAX)
        wrong = "is too long (128 bytes at most)";
    else if (text.len && memchr(text.data, 0, text.len))
        wrong = "must not hold a zero byte";
    hm_buf_free(&text);
    return wrong;
}

static const char *type_fault(struct hm_str type, struct hm_json value) {
    int64_t whole;
    if (hm_str_eq(type, HM_LIT("text")))
        return value.kind != HM_JSON_STRING ? "must be a text" : text_fault(value);
    if (hm_str_eq(type, HM_LIT("long"))) return value.kind != HM_JSON_STRING ? "must be a text" : NULL;
    if (hm_str_eq(type, HM_LIT("int"))) return hm_json_int(value, &whole) ? NULL : "must be a whole number";
    if (hm_str_eq(type, HM_LIT("bool")))
        return value.kind == HM_JSON_TRUE || value.kind == HM_JSON_FALSE ? NULL : "must be true or false";
    if (hm_str_eq(type, HM_LIT("object"))) return value.kind != HM_JSON_OBJECT ? "must be an object" : NULL;
    if (hm_str_eq(type, HM_LIT("array"))) return value.kind != HM_JSON_ARRAY ? "must be an array" : NULL;
    return NULL;
}

static bool member(struct hm_json params, struct hm_str name, struct hm_json *out) {
    struct hm_json_iter it = hm_json_iter(params);
    struct hm_json key;
    if (params.kind != HM_JSON_OBJECT) return false;
    while (hm_json_next(&it, &key, out))
        if (hm_json_key_is(key, name)) return true;
    return false;
}

static bool row_has(const char *row, struct hm_json key) {
    struct param param;
    while (row_next(&row, &param))
        if (hm_json_key_is(key, param.name)) return true;
    return hm_json_key_is(key, HM_LIT("idem"));
}

bool hm_params_check(const char *row, struct hm_json params, struct hm_buf *errors) {
    if (params.kind != HM_JSON_OBJECT) {
        fault(errors, HM_LIT(""), "params must be an object");
        return false;
    }
    struct param param;
    struct hm_json value, key;
    const char *at = row;
    while (row_next(&at, &param)) {
        bool there = member(params, param.name, &value) && value.kind != HM_JSON_NULL;
        const char *wrong = there ? type_fault(param.type, value) : param.required ? "is missing" : NULL;
        if (wrong) fault(errors, param.name, wrong);
    }
    struct hm_json_iter it = hm_json_iter(params);
    while (hm_json_next(&it, &key, &value)) {
        if (row_has(row, key)) continue;
        struct hm_buf name = {0};
        hm_json_string(key, &name);
        if (name.len > TEXT_MAX) name.len = TEXT_MAX;
        fault(errors, hm_buf_view(&name), "is not a parameter of this method");
        hm_buf_free(&name);
        if (errors->len > 4096) break;
    }
    return errors->len == 0;
}

static const char *schema_type(struct hm_str type) {
    if (hm_str_eq(type, HM_LIT("text"))) return "{\"type\":\"string\",\"maxLength\":128}";
    if (hm_str_eq(type, HM_LIT("long"))) return "{\"type\":\"string\"}";
    if (hm_str_eq(type, HM_LIT("int"))) return "{\"type\":\"integer\"}";
    if (hm_str_eq(type, HM_LIT("bool"))) return "{\"type\":\"boolean\"}";
    if (hm_str_eq(type, HM_LIT("object"))) return "{\"type\":\"object\"}";
    if (hm_str_eq(type, HM_LIT("array"))) return "{\"type\":\"array\"}";
    return "{}";
}

void hm_params_schema(const char *row, struct hm_buf *out) {
    struct param param;
    const char *at = row;
    bool first = true;
    hm_buf_text(out, "{\"type\":\"object\",\"properties\":{");
    while (row_next(&at, &param)) {
        if (!first) hm_buf_char(out, ',');
        first = false;
        hm_json_put_str(out, param.name);
        hm_buf_char(out, ':');
        hm_buf_text(out, schema_type(param.type));
    }
    hm_buf_text(out, "},\"required\":[");
    at = row;
    first = true;
    while (row_next(&at, &param)) {
        if (!param.required) continue;
        if (!first) hm_buf_char(out, ',');
        first = false;
        hm_json_put_str(out, param.name);
    }
    hm_buf_text(out, "]}");
}

// ---- reading what has been checked --------------------------------------------------------------------

bool hm_arg_text(const struct call *call, const char *name, char *out, size_t cap) {
    out[0] = 0;
    return hm_json_get_text(call->params, name, out, cap);
}

bool hm_arg_buf(const struct call *call, const char *name, struct hm_buf *out) {
    struct hm_json value;
    return hm_json_get(call->params, name, &value) && hm_json_string(value, out);
}

int64_t hm_arg_int(const struct call *call, const char *name, int64_t otherwise) {
    struct hm_json value;
    int64_t whole;
    return hm_json_get(call->params, name, &value) && hm_json_int(value, &whole) ? whole : otherwise;
}

bool hm_arg_bool(const struct call *call, const char *name, bool otherwise) {
    struct hm_json value;
    bool flag;
    return hm_json_get(call->params, name, &value) && hm_json_bool(value, &flag) ? flag : otherwise;
}

// ---- the table of all rooms ---------------------------------------------------------------------------

static int by_name(const void *a, const void *b) {
    return strcmp((*(const struct core_method *const *)a)->name,
                  (*(const struct core_method *const *)b)->name);
}

void hm_core_sort(struct hm_engine *engine) {
    const struct core_table *const tables[] = {
        &hm_methods_session,  &hm_methods_signed_in,  &hm_methods_totp,       &hm_methods_account,
        &hm_methods_record,   &hm_methods_plugin,     &hm_methods_admin,      &hm_methods_job,
        &hm_methods_person,   &hm_methods_presence,   &hm_methods_react,      &hm_methods_timer,
        &hm_methods_api,      &hm_methods_notify,     &hm_methods_contact,    &hm_methods_webhook,
        &hm_methods_outgoing, &hm_methods_plugin_log, &hm_methods_plugin_try, &hm_methods_recording};
    size_t count = 0;
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        count += tables[i]->count;
    engine->methods = hm_alloc_array(count, sizeof *engine->methods);
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        for (size_t k = 0; k < tables[i]->count; k++)
            engine->methods[engine->method_count++] = &tables[i]->rows[k];
    qsort(engine->methods, count, sizeof *engine->methods, by_name);
}

const struct core_method *hm_core_find(const struct hm_engine *engine, struct hm_str name) {
    size_t low = 0, high = engine->method_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = hm_str_cmp(name, hm_str_of(engine->methods[middle]->name));
        if (order == 0) return engine->methods[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}
