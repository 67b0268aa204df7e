// Old records in the form that the plugins declare now: "$shape", a question of the server's. Worker thread,
// inside of a protected call. What always holds: a record that is not given back fits as it is, or stays as
// it is because what it lacks cannot be made up; everything that would be lost is counted; nothing is written
// here.
#include "script/host.h"
#include "script/lua_json.h"
#include <lauxlib.h>
#include <stdio.h>

#define LOOKED_MAX 300         // records a step
#define BYTES_MAX (512u << 10) // of new data a step
#define ROUNDS_MAX 16          // of taking away what does not fit
#define ITEM_SCRATCH 4

struct looking {
    lua_State *L;
    struct hm_host *host;
    const struct hm_type *type;
    int declared, module; // on the stack: the record's declaration, lib.upgrade
    int counts, examples; // what is lost: "what field" -> records, -> id of one of them
    int own;              // of the record at hand: the same keys, so that each counts once
    bool dry, keep;       // keep: nobody was asked, so nothing is taken away but by a declared step
    struct hm_buf *out;
    unsigned looked, items;
    char last[HM_ID_MAX + 1];
};

static bool in_brackets(const char *from, const char *at) {
    while (at > from && at[-1] >= '0' && at[-1] <= '9')
        at--;
    return at > from && at[-1] == '[';
}

// what: dropped_field, dropped_sealed, narrowed, missing.
static void count(struct looking *l, const char *what, const char *field, struct hm_str id) {
    lua_State *L = l->L;
    char key[256];
    size_t len = (size_t)snprintf(key, sizeof key, "%s ", what);
    for (const char *c = field; *c && len + 1 < sizeof key; c++) // one place of a list is like another
        if (!(*c >= '0' && *c <= '9' && in_brackets(field, c))) key[len++] = *c;
    key[len] = '\0';
    if (lua_getfield(L, l->own, key) != LUA_TNIL) {
        lua_pop(L, 1);
        return;
    }
    lua_pushboolean(L, 1);
    lua_setfield(L, l->own, key);
    lua_getfield(L, l->counts, key);
    lua_Integer n = lua_tointeger(L, -1);
    lua_pushinteger(L, n + 1);
    lua_setfield(L, l->counts, key);
    if (!n) {
        hm_push_str(L, id);
        lua_setfield(L, l->examples, key);
    }
    lua_pop(L, 2);
}

static bool is_mark(lua_State *L, int value) {
    if (!lua_istable(L, value)) return false;
    bool on = lua_getfield(L, value, "sealed") == LUA_TBOOLEAN && lua_toboolean(L, -1);
    lua_pop(L, 1);
    return on;
}

// upgrade.NAME with n arguments, which are on the stack.
static void call_module(struct looking *l, const char *name, int n, int results) {
    lua_getfield(l->L, l->module, name);
    lua_insert(l->L, -n - 1);
    lua_call(l->L, n, results);
}

// Runs the steps from the record's version on; data (at the top) is replaced. True when there were any.
static bool upgraded(struct looking *l, const struct hm_record *r) {
    lua_State *L = l->L;
    int data = lua_gettop(L);
    if (r->form >= l->type->form) return false;
    lua_newtable(L);
    int lost = lua_gettop(L);
    lua_pushvalue(L, l->declared);
    lua_pushinteger(L, r->form);
    lua_pushvalue(L, data);
    lua_pushvalue(L, lost);
    call_module(l, "run", 4, 2);
    bool ran = lua_toboolean(L, -1) != 0;
    lua_pop(L, 1);
    lua_replace(L, data);
    lua_pushnil(L);
    while (lua_next(L, lost)) {
        count(l, is_mark(L, lua_gettop(L)) ? "dropped_sealed" : "dropped_field", lua_tostring(L, -2), r->id);
        lua_pop(L, 1);
    }
    lua_settop(L, data);
    return ran;
}

// A top-level field that must be there and has no default is better wrong than gone.
static bool must_stay(struct looking *l, const char *path) {
    lua_State *L = l->L;
    int top = lua_gettop(L);
    bool stay = false;
    if (!strpbrk(path, ".[") && lua_getfield(L, l->declared, "fields") == LUA_TTABLE &&
        lua_getfield(L, -1, path) == LUA_TTABLE) {
        int field = lua_gettop(L);
        lua_getfield(L, field, "required");
        lua_getfield(L, field, "default");
        stay = lua_toboolean(L, -2) && lua_isnil(L, -1);
    }
    lua_settop(L, top);
    return stay;
}

static bool sealed_at(struct looking *l, int data, const char *path) {
    lua_getfield(l->L, data, path); // a sealed field is one of the first level
    bool sealed = is_mark(l->L, lua_gettop(l->L));
    lua_pop(l->L, 1);
    return sealed;
}

// Takes away what does not fit. True when anything went.
static bool fit(struct looking *l, const struct hm_record *r) {
    lua_State *L = l->L;
    int data = lua_gettop(L);
    bool any = false, again = true;
    if (lua_getfield(L, l->declared, "fields") != LUA_TTABLE) {
        lua_settop(L, data);
        return false;
    }
    int fields = lua_gettop(L);
    lua_getfield(L, l->declared, "open");
    struct hm_schema_options options = {"", lua_toboolean(L, -1) != 0, true};
    for (int round = 0; again && round < ROUNDS_MAX; round++) {
        struct hm_faults *faults = &l->host->faults;
        again = false;
        if (hm_schema_check(L, fields, data, &options, faults) || l->keep) break; // it has put in defaults
        unsigned n = faults->count < HM_FAULTS_MAX ? faults->count : HM_FAULTS_MAX;
        for (unsigned i = n; i > 0; i--) { // from behind: elements of lists move up
            const struct hm_fault *f = &faults->list[i - 1];
            bool unknown = f->kind == HM_FAULT_UNKNOWN, missing = f->kind == HM_FAULT_MISSING;
            bool seal = unknown && sealed_at(l, data, f->path);
            count(l,
                  missing   ? "missing"
                  : seal    ? "dropped_sealed"
                  : unknown ? "dropped_field"
                            : "narrowed",
                  f->path, r->id);
            if (missing || (!unknown && must_stay(l, f->path))) continue;
            lua_pushvalue(L, data);
            lua_pushstring(L, f->path);
            call_module(l, "remove", 2, 1);
            again = lua_toboolean(L, -1) || again;
            lua_pop(L, 1);
        }
        any = any || again;
    }
    lua_settop(L, data);
    return any;
}

static void put_item(struct looking *l, const struct hm_record *r) {
    struct hm_json data = hm_check_json(l->L, -1, ITEM_SCRATCH, l->type->name);
    if (l->items++) hm_buf_char(l->out, ',');
    hm_buf_char(l->out, '{');
    hm_json_member_str(l->out, "id", r->id);
    hm_json_member_raw(l->out, "data", data.raw);
    hm_buf_char(l->out, '}');
}

static void look_at(struct looking *l, const struct hm_record *r) {
    lua_State *L = l->L;
    int top = lua_gettop(L);
    hm_sandbox_check(L);
    lua_newtable(L);
    l->own = top + 1;
    hm_lua_push_json(L, (struct hm_json){HM_JSON_OBJECT, r->data});
    bool ran = upgraded(l, r), other = fit(l, r) || ran;
    if (other && !l->dry) put_item(l, r);
    snprintf(l->last, sizeof l->last, "%.*s", (int)r->id.len, r->id.ptr);
    l->looked++;
    lua_settop(L, top);
}

static bool full(const struct looking *l) {
    return l->looked >= LOOKED_MAX || l->out->len > BYTES_MAX;
}

// Those behind an id. True when there may be more.
static bool look_behind(struct looking *l, struct hm_json after) {
    struct hm_tx_range range = {.type = l->type, .equals = {HM_JSON_ARRAY, HM_LIT("[]")}, .from = after};
    struct hm_tx_scan *scan = NULL;
    struct hm_error err = {0};
    struct hm_view view;
    bool more = false;
    if (!hm_tx_scan_begin(l->host->tx, &range, &scan, &err)) hm_raise_error(l->L, &err);
    while (!more && hm_tx_scan_next(scan, &view)) {
        if (after.raw.len && hm_json_key_is(after, view.record.id)) continue;
        look_at(l, &view.record);
        more = full(l);
    }
    hm_tx_scan_end(scan);
    return more;
}

static bool look_listed(struct looking *l, struct hm_json ids) {
    struct hm_json_iter it = hm_json_iter(ids);
    struct hm_json item;
    struct hm_view view;
    char id[HM_ID_MAX + 1];
    while (hm_json_next(&it, NULL, &item))
        if (hm_json_text(item, id, sizeof id) &&
            hm_tx_get(l->host->tx, hm_str_of(l->type->name), hm_str_of(id), &view, NULL))
            look_at(l, &view.record);
    return false;
}

static void put_changes(struct looking *l) {
    lua_State *L = l->L;
    hm_push_names(L, l->counts);
    int names = lua_gettop(L);
    lua_Integer n = (lua_Integer)lua_rawlen(L, names);
    hm_json_key(l->out, "changes");
    hm_buf_char(l->out, '[');
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, names, i);
        const char *key = lua_tostring(L, -1), *blank = strchr(key, ' ');
        lua_getfield(L, l->counts, key);
        lua_getfield(L, l->examples, key);
        if (i > 1) hm_buf_char(l->out, ',');
        hm_buf_char(l->out, '{');
        hm_json_member_str(l->out, "what", (struct hm_str){key, (size_t)(blank - key)});
        hm_json_member_str(l->out, "field", hm_str_of(blank + 1));
        hm_json_member_int(l->out, "records", lua_tointeger(L, -2));
        hm_json_member_str(l->out, "example", hm_check_str(L, -1));
        hm_buf_char(l->out, '}');
        lua_settop(L, names);
    }
    hm_buf_char(l->out, ']');
}

void hm_shape_look(lua_State *L, struct hm_json params, struct hm_buf *out) {
    struct looking l = {.L = L, .host = hm_host_of(L), .out = out};
    struct hm_json value, after = {0}, ids;
    char name[HM_NAME_MAX + 1];
    if (!hm_json_get_text(params, "type", name, sizeof name) ||
        !(l.type = hm_types_find(l.host->types, hm_str_of(name))) || l.type->core)
        luaL_error(L, "$shape: no such type");
    if (hm_json_get(params, "dry", &value)) hm_json_bool(value, &l.dry);
    if (hm_json_get(params, "keep", &value)) hm_json_bool(value, &l.keep);
    lua_settop(L, 0);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &hm_reg_records);
    l.declared = 2;
    if (lua_getfield(L, 1, name) != LUA_TTABLE) luaL_error(L, "$shape: %s is not declared", name);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &hm_reg_required);
    l.module = 4;
    if (lua_getfield(L, 3, "lib.upgrade") != LUA_TTABLE) luaL_error(L, "$shape: lib/upgrade.lua is missing");
    lua_newtable(L);
    l.counts = 5;
    lua_newtable(L);
    l.examples = 6;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &hm_reg_owners);
    lua_getfield(L, -1, name);
    l.host->box.plugin = (int)lua_tointeger(L, -1);
    lua_pop(L, 2);
    hm_buf_char(out, '{');
    hm_json_key(out, "items");
    hm_buf_char(out, '[');
    bool listed = hm_json_get(params, "ids", &ids);
    if (!hm_json_get(params, "after", &after)) after.raw.len = 0;
    bool more = listed ? look_listed(&l, ids) : look_behind(&l, after);
    hm_buf_char(out, ']');
    put_changes(&l);
    hm_json_member_int(out, "looked", l.looked);
    hm_json_member_str(out, "last", hm_str_of(l.last));
    hm_json_member_raw(out, "more", more ? HM_LIT("true") : HM_LIT("false"));
    hm_buf_char(out, '}');
}
