// Do stored records fit what a newly loaded plugin declares of their type? Walked in steps, so that no call
// is long and the server may stop in between; nothing of a record but the path of what does not fit is told.
// Worker thread, within a call.
#include "base/clock.h"
#include "script/host.h"
#include "script/lua_json.h"
#include <lauxlib.h>
#include <stdio.h>

#define STEP_US 100000u // of one call
#define STEP_RECORDS 5000
#define KINDS_MAX 8 // different faults that are told of a type

struct walk {
    struct hm_host *host;
    const struct hm_type *type;
    int record; // the declaration, on the stack
    uint64_t checked, misfits;
    struct {
        struct hm_fault fault;
        uint64_t count;
    } kinds[KINDS_MAX];
    unsigned kind_count;
};

// "steps[3].title" -> "steps[].title": the same fault of many records is one.
static void without_numbers(const char *path, char out[160]) {
    size_t n = 0;
    for (const char *p = path; *p && n < 159; p++) {
        out[n++] = *p;
        if (*p == '[')
            while (p[1] >= '0' && p[1] <= '9')
                p++;
    }
    out[n] = '\0';
}

static void note(struct walk *w, const struct hm_fault *fault) {
    char path[160];
    without_numbers(fault->path, path);
    for (unsigned i = 0; i < w->kind_count; i++)
        if (strcmp(w->kinds[i].fault.path, path) == 0 &&
            strcmp(w->kinds[i].fault.message, fault->message) == 0) {
            w->kinds[i].count++;
            return;
        }
    if (w->kind_count == KINDS_MAX) return;
    memcpy(w->kinds[w->kind_count].fault.path, path, sizeof path);
    memcpy(w->kinds[w->kind_count].fault.message, fault->message, sizeof fault->message);
    w->kinds[w->kind_count++].count = 1;
}

// The data of a record as a method would read it, on the top. Where a type declares how older records are
// read, this is the place to do it.
static void push_as_read(lua_State *L, const struct walk *w, struct hm_str data) {
    struct hm_json json = {HM_JSON_OBJECT, data};
    (void)w;
    hm_lua_push_json(L, json);
}

static void check_one(lua_State *L, struct walk *w, const struct hm_record *record) {
    int top = lua_gettop(L);
    push_as_read(L, w, record->data);
    lua_getfield(L, w->record, "fields");
    lua_getfield(L, w->record, "open");
    struct hm_schema_options options = {w->type->name, lua_toboolean(L, -1) != 0, w->type->sealed_count > 0};
    w->checked++;
    if (!hm_schema_check(L, top + 2, top + 1, &options, &w->host->faults)) {
        unsigned told = w->host->faults.count < HM_FAULTS_MAX ? w->host->faults.count : HM_FAULTS_MAX;
        w->misfits++;
        for (unsigned i = 0; i < told; i++)
            note(w, &w->host->faults.list[i]);
    }
    lua_settop(L, top);
}

static void put_walk(const struct walk *w, struct hm_str after, struct hm_buf *out) {
    hm_buf_char(out, '{');
    hm_json_member_int(out, "checked", (int64_t)w->checked);
    hm_json_member_int(out, "misfits", (int64_t)w->misfits);
    hm_json_key(out, "after");
    if (after.len)
        hm_json_put_str(out, after);
    else
        hm_buf_text(out, "null");
    hm_json_key(out, "faults");
    hm_buf_char(out, '[');
    for (unsigned i = 0; i < w->kind_count; i++) {
        hm_buf_text(out, i ? ",{" : "{");
        hm_json_member_str(out, "path", hm_str_of(w->kinds[i].fault.path));
        hm_json_member_str(out, "message", hm_str_of(w->kinds[i].fault.message));
        hm_json_member_int(out, "count", (int64_t)w->kinds[i].count);
        hm_buf_char(out, '}');
    }
    hm_buf_text(out, "]}");
}

// {"type","after"?: an id}. Ends the step behind the record whose id it gives as "after".
void hm_records_check(lua_State *L, struct hm_json params, struct hm_buf *out) {
    struct hm_host *host = hm_host_of(L);
    char name[HM_NAME_MAX + 1], after[HM_ID_MAX + 1] = "";
    struct walk w = {.host = host};
    struct hm_error err = {0};
    struct hm_tx_scan *scan = NULL;
    struct hm_view view;
    struct hm_buf from = {0};
    uint64_t began_us = hm_mono_us();
    bool more = false;
    if (!hm_json_get_text(params, "type", name, sizeof name) ||
        !(w.type = hm_types_find(host->types, hm_str_of(name))))
        luaL_error(L, "$records: no such type");
    hm_json_get_text(params, "after", after, sizeof after);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &hm_reg_records);
    if (lua_getfield(L, -1, name) != LUA_TTABLE) luaL_error(L, "$records: the core's types have no schema");
    w.record = lua_gettop(L);
    struct hm_tx_range range = {.type = w.type};
    if (after[0]) {
        hm_json_put_str(&from, hm_str_of(after));
        range.from = (struct hm_json){HM_JSON_STRING, hm_buf_view(&from)};
    }
    bool began = hm_tx_scan_begin(host->tx, &range, &scan, &err);
    hm_buf_free(&from);
    if (!began) hm_raise_error(L, &err);
    while (hm_tx_scan_next(scan, &view)) { // the scan belongs to the transaction: an error of Lua leaves none
        if (hm_str_eq(view.record.id, hm_str_of(after))) continue;
        check_one(L, &w, &view.record);
        snprintf(after, sizeof after, "%.*s", (int)view.record.id.len, view.record.id.ptr);
        more = w.checked >= STEP_RECORDS || hm_mono_us() - began_us > STEP_US;
        if (more) break;
    }
    hm_tx_scan_end(scan);
    put_walk(&w, more ? hm_str_of(after) : (struct hm_str){0}, out);
}
