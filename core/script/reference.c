// The API as people and editors read it: plugins/reference.md, and JSON for completion (plugin.api), from the
// same rows as plugins/meta. Data only: no state of Lua is needed, any thread.
#include "script/host.h"
#include "script/kinds.h"
#include <stdio.h>

static const struct hm_lua_fn record_fields[] = {
    {"type", "string", "its type"},
    {"id", "string", "its id, unique in the type"},
    {"version", "integer", "the change that last wrote it; 0: made in this call"},
    {"created", "integer", "when it was made"},
    {"updated", "integer", "when it was last written"},
    {"by", "string?", "person who wrote it last"},
    {"audience", "string[]", "principals who may read it"},
    {"members", "string[]", "principals who hold the principal type:id"},
    {"data", "table", "its fields; sealed ones are {sealed=true}"},
    {0}};

static const struct hm_lua_fn change_fields[] = {
    {"seq", "integer", "its place in the change log"},
    {"time", "integer", "when it was made"},
    {"by", "string?", "person who made it; none: the system"},
    {"method", "string", "method that made it; \"$react\" and \"$every\" are those of reactions and timers"},
    {"action", "string", "created, updated or deleted"},
    {"type", "string", "type of the record"},
    {"id", "string", "its id"},
    {"record", "Record?", "the record behind the change; none when it was deleted"},
    {"before", "Record?",
     "the record before it; none when it was created, when its person was erased, or when an older Hamroh "
     "made the "
     "change"},
    {0}};

const struct hm_lua_type hm_lua_types[] = {
    {"Record", "A record as store gives it: a fresh table each time.", record_fields},
    {"Change", "A change as reactions get it. Its records are as they were then, not as they are now.",
     change_fields},
    {0}};

// ---- reference.md ----------------------------------------------------------------------------------------

// In a table a bar would begin the next cell.
static void put_cell(struct hm_buf *out, const char *text) {
    for (; *text; text++) {
        if (*text == '|') hm_buf_char(out, '\\');
        hm_buf_char(out, *text);
    }
}

// "person:<id>" is no tag.
static void put_prose(struct hm_buf *out, const char *text) {
    for (; *text; text++) {
        if (*text == '<')
            hm_buf_text(out, "&lt;");
        else
            hm_buf_char(out, *text);
    }
}

static void put_row(struct hm_buf *out, const char *prefix, const struct hm_lua_fn *f, bool value) {
    if (value)
        hm_buf_printf(out, "### `%s%s`: `%s`\n\n", prefix, f->name, f->signature);
    else
        hm_buf_printf(out, "### `%s%s`\n\n`%s`\n\n", prefix, f->name,
                      f->signature[0] == ' ' ? f->signature + 1
                      : f->signature[0]      ? f->signature
                                             : "()");
    put_prose(out, f->doc);
    hm_buf_text(out, "\n\n");
    if (f->need && strcmp(f->need, "value") != 0) hm_buf_printf(out, "Needs the right: %s.\n\n", f->need);
    if (f->errors) hm_buf_printf(out, "Errors: %s.\n\n", f->errors);
}

static bool is_value(const struct hm_lua_fn *f) {
    return f->need && strcmp(f->need, "value") == 0;
}

static void put_modules(struct hm_buf *out) {
    for (size_t i = 0; hm_modules[i]; i++) {
        const struct hm_lua_module *m = hm_modules[i];
        char prefix[48];
        hm_buf_printf(out, "## %s\n\n%s\n\n", m->name[0] ? m->name : "By themselves", m->doc);
        snprintf(prefix, sizeof prefix, "%s%s", m->name, m->name[0] ? m->method ? ":" : "." : "");
        for (const struct hm_lua_fn *f = m->fns; f->name; f++) {
            if (!f->fn && m->method) prefix[strlen(prefix) - 1] = '.';
            put_row(out, prefix, f, !f->fn);
            if (m->method) prefix[strlen(prefix) - 1] = ':';
        }
    }
}

static void put_types(struct hm_buf *out) {
    for (const struct hm_lua_type *t = hm_lua_types; t->name; t++) {
        hm_buf_printf(out, "## %s\n\n%s\n\n| field | type | |\n|---|---|---|\n", t->name, t->doc);
        for (const struct hm_lua_fn *f = t->fields; f->name; f++) {
            hm_buf_printf(out, "| `%s` | `", f->name);
            put_cell(out, f->signature);
            hm_buf_text(out, "` | ");
            put_cell(out, f->doc);
            hm_buf_text(out, " |\n");
        }
        hm_buf_char(out, '\n');
    }
}

bool hm_reference_write(const char *file, struct hm_error *err) {
    struct hm_buf out = {0};
    hm_buf_text(
        &out,
        "# What a plugin may call\n\nWritten by `hamroh worker --meta`, from the rows beside the C code; not "
        "by "
        "hand. Signatures are `name: type, … -> result`; a `?` behind a type: may be left out, or may be "
        "nil. Moments are milliseconds since 1970 UTC, everywhere.\n\n");
    put_modules(&out);
    put_types(&out);
    for (size_t i = 0; hm_constructor_groups[i].kind; i++) {
        const struct hm_constructors *g = &hm_constructor_groups[i];
        hm_buf_printf(&out, "## Constructors: %s\n\n%s\n\n", g->kind, g->doc);
        for (const struct hm_lua_fn *f = g->rows; f->name; f++)
            put_row(&out, "", f, is_value(f));
    }
    while (out.len > 1 && out.data[out.len - 2] == '\n')
        out.len--;
    bool ok = hm_write_file(file, hm_buf_view(&out), 0644, err);
    hm_buf_free(&out);
    return ok;
}

// ---- plugin.api
// --------------------------------------------------------------------------------------------

static void put_function(struct hm_buf *out, const struct hm_lua_fn *f, bool value) {
    hm_buf_char(out, '{');
    hm_json_member_str(out, "name", hm_str_of(f->name));
    hm_json_member_str(out, value ? "type" : "signature", hm_str_of(f->signature));
    hm_json_member_str(out, "doc", hm_str_of(f->doc));
    if (f->need && !is_value(f)) hm_json_member_str(out, "need", hm_str_of(f->need));
    if (f->errors) hm_json_member_str(out, "errors", hm_str_of(f->errors));
    hm_buf_char(out, '}');
}

// {"functions":[…],"fields":[…]} members of rows: what can be called, and what has a value.
static void put_rows(struct hm_buf *out, const struct hm_lua_fn *rows, bool constructors) {
    for (int values = 0; values < 2; values++) {
        bool first = true;
        hm_json_key(out, values ? "fields" : "functions");
        hm_buf_char(out, '[');
        for (const struct hm_lua_fn *f = rows; f->name; f++) {
            bool value = constructors ? is_value(f) : !f->fn;
            if (value != (values == 1)) continue;
            if (!first) hm_buf_char(out, ',');
            first = false;
            put_function(out, f, value);
        }
        hm_buf_char(out, ']');
    }
}

void hm_api_json(struct hm_buf *out) {
    hm_buf_text(out, "{\"modules\":[");
    for (size_t i = 0; hm_modules[i]; i++) {
        hm_buf_text(out, i ? ",{" : "{");
        hm_json_member_str(out, "name", hm_str_of(hm_modules[i]->name));
        hm_json_member_str(out, "doc", hm_str_of(hm_modules[i]->doc));
        hm_json_member_raw(out, "method", hm_modules[i]->method ? HM_LIT("true") : HM_LIT("false"));
        put_rows(out, hm_modules[i]->fns, false);
        hm_buf_char(out, '}');
    }
    hm_buf_text(out, "],\"constructors\":[");
    for (size_t i = 0; hm_constructor_groups[i].kind; i++) {
        hm_buf_text(out, i ? ",{" : "{");
        hm_json_member_str(out, "kind", hm_str_of(hm_constructor_groups[i].kind));
        hm_json_member_str(out, "doc", hm_str_of(hm_constructor_groups[i].doc));
        put_rows(out, hm_constructor_groups[i].rows, true);
        hm_buf_char(out, '}');
    }
    hm_buf_text(out, "],\"types\":[");
    for (const struct hm_lua_type *t = hm_lua_types; t->name; t++) {
        hm_buf_text(out, t == hm_lua_types ? "{" : ",{");
        hm_json_member_str(out, "name", hm_str_of(t->name));
        hm_json_member_str(out, "doc", hm_str_of(t->doc));
        put_rows(out, t->fields, false);
        hm_buf_char(out, '}');
    }
    hm_buf_text(out, "]}");
}
