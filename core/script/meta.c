// The API as the editor knows it: plugins/meta/*.lua with LuaLS annotations, written from the tables that
// registration uses. A signature is "name: type, name: type -> type"; names and types are LuaLS's own, so
// that this file only takes them apart.
#include "script/host.h"
#include "script/kinds.h"
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

// Length of the text up to the first of the characters in `stops` that is not inside brackets.
static size_t up_to(const char *text, const char *stops) {
    int depth = 0;
    size_t i = 0;
    for (; text[i]; i++) {
        if (depth == 0 && strchr(stops, text[i])) return i;
        if (strchr("{([", text[i])) depth++;
        if (strchr("})]", text[i])) depth--;
    }
    return i;
}

// The part behind " -> ", or NULL; *len is that of the part before it.
static const char *result_of(const char *signature, size_t *len) {
    for (size_t at = 0;;) {
        at += up_to(signature + at, "-");
        if (!signature[at]) {
            *len = at;
            return NULL;
        }
        if (signature[at + 1] == '>') {
            *len = at;
            return signature + at + 2 + (signature[at + 2] == ' ');
        }
        at++;
    }
}

static void put_doc(struct hm_buf *out, const char *doc, const char *need, const char *errors) {
    hm_buf_printf(out, "--- %s\n", doc);
    if (need) hm_buf_printf(out, "--- Needs the right: %s.\n", need);
    if (errors) hm_buf_printf(out, "--- Errors: %s.\n", errors);
}

// The annotations of a function and its header; `prefix` is "store." or "Ctx:".
static void put_function(struct hm_buf *out, const char *prefix, const char *name, const char *signature,
                         const char *doc, const char *need, const char *errors) {
    struct hm_buf names = {0};
    size_t len;
    const char *result = result_of(signature, &len);
    put_doc(out, doc, need, errors);
    for (const char *at = signature, *end = signature + len; at < end;) {
        while (at < end && (*at == ' ' || *at == ','))
            at++;
        if (at >= end) break;
        size_t part = up_to(at, ",");
        if (at + part > end) part = (size_t)(end - at);
        size_t colon = up_to(at, ":");
        const char *type = at + colon + 1;
        while (*type == ' ')
            type++;
        size_t type_len = (size_t)(at + part - type);
        while (type_len && type[type_len - 1] == ' ')
            type_len--;
        bool dots = strncmp(at, "...", 3) == 0;
        bool optional = type_len && type[type_len - 1] == '?';
        hm_buf_printf(out, "---@param %.*s%s %.*s\n", (int)colon, at, optional && !dots ? "?" : "",
                      (int)(type_len - optional), type);
        if (names.len) hm_buf_text(&names, ", ");
        hm_buf_add(&names, at, colon);
        at += part;
    }
    if (result) hm_buf_printf(out, "---@return %s\n", result);
    hm_buf_printf(out, "function %s%s(%s) end\n\n", prefix, name, names.data ? names.data : "");
    hm_buf_free(&names);
}

// Is the name that of a module and of a constructor? Then it is one table that can be called.
static bool is_module_name(const char *name, bool and_shape) {
    bool module = false, shape = false;
    for (size_t i = 0; hm_modules[i]; i++)
        module = module || strcmp(hm_modules[i]->name, name) == 0;
    for (const struct hm_lua_fn *f = hm_constructor_groups[0].rows; f->name; f++)
        shape = shape || strcmp(f->name, name) == 0;
    return module && (shape || !and_shape);
}

static void put_module(struct hm_buf *out, const struct hm_lua_module *m) {
    char title[40], prefix[48];
    snprintf(title, sizeof title, "%s", m->name);
    if (m->method && title[0] >= 'a') title[0] = (char)(title[0] - 'a' + 'A');
    hm_buf_printf(out, "---@meta\n-- Written by `hamroh worker --meta`; not by hand.\n\n--- %s\n", m->doc);
    if (m->name[0]) {
        hm_buf_printf(out, "---@class %s\n", title);
        for (const struct hm_lua_fn *f = m->fns; f->name; f++)
            if (!f->fn)
                hm_buf_printf(out, "---@field %s %s %s\n", f->name,
                              strcmp(f->signature, "ctx") == 0 ? "Ctx" : f->signature, f->doc);
        if (is_module_name(m->name, true)) hm_buf_text(out, "---@overload fun(options?: table): table\n");
        hm_buf_printf(out, "%s%s = {}\n\n", m->method ? "local " : "", title);
    } else {
        hm_buf_char(out, '\n');
    }
    snprintf(prefix, sizeof prefix, "%s%s", title, m->name[0] ? m->method ? ":" : "." : "");
    for (const struct hm_lua_fn *f = m->fns; f->name; f++)
        if (f->fn) put_function(out, prefix, f->name, f->signature, f->doc, f->need, f->errors);
    if (m->method) hm_buf_printf(out, "return %s\n", title);
}

static void put_types(struct hm_buf *out) {
    hm_buf_text(out, "---@meta\n-- Written by `hamroh worker --meta`; not by hand.\n");
    for (const struct hm_lua_type *t = hm_lua_types; t->name; t++) {
        hm_buf_printf(out, "\n--- %s\n---@class %s\n", t->doc, t->name);
        for (const struct hm_lua_fn *f = t->fields; f->name; f++)
            hm_buf_printf(out, "---@field %s %s %s\n", f->name, f->signature, f->doc);
    }
}

static bool write_text(const char *dir, const char *name, const struct hm_buf *text, struct hm_error *err) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s.lua", dir, name);
    return hm_write_file(path, hm_buf_view(text), 0644, err);
}

static bool write_kinds(const char *dir, struct hm_error *err) {
    struct hm_buf out = {0};
    bool ok = true;
    for (size_t i = 0; hm_constructor_groups[i].kind && ok; i++) {
        const struct hm_constructors *g = &hm_constructor_groups[i];
        hm_buf_clear(&out);
        hm_buf_printf(&out, "---@meta\n-- Written by `hamroh worker --meta`; not by hand.\n\n-- %s\n\n",
                      g->doc);
        for (const struct hm_lua_fn *f = g->rows; f->name; f++) {
            if (is_module_name(f->name, false)) continue;
            if (f->need && strcmp(f->need, "value") == 0) {
                put_doc(&out, f->doc, NULL, NULL);
                hm_buf_printf(&out, "---@type %s\n%s = nil\n\n", f->signature, f->name);
            } else {
                put_function(&out, "", f->name, f->signature, f->doc, NULL, f->errors);
            }
        }
        ok = write_text(dir, g->kind, &out, err);
    }
    hm_buf_free(&out);
    return ok;
}

bool hm_meta_write(const char *dir, struct hm_error *err) {
    struct hm_buf out = {0};
    bool ok =
        mkdir(dir, 0755) == 0 || errno == EEXIST || hm_fail(err, HM_UNAVAILABLE, "%s: error %d", dir, errno);
    for (size_t i = 0; hm_modules[i] && ok; i++) {
        hm_buf_clear(&out);
        put_module(&out, hm_modules[i]);
        ok = write_text(dir, hm_modules[i]->name[0] ? hm_modules[i]->name : "base", &out, err);
    }
    hm_buf_clear(&out);
    put_types(&out);
    ok = ok && write_text(dir, "record", &out, err) && write_kinds(dir, err);
    hm_buf_free(&out);
    return ok;
}
