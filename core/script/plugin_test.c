// Tests that come with plugins: tests = {["a sentence"] = function(t) … end}. They run in the same sandbox as
// live calls, over a store in which nothing is but what the test itself writes. Worker thread, before the
// worker says that it is ready.
#include "script/host.h"
#include "script/lua_json.h"
#include <lauxlib.h>
#include <math.h>
#include <stdio.h>

#define TEST_MS 2000
#define TEST_BYTES (128u << 20)
#define TEST_NOW INT64_C(1788235200000) // 2026-09-01 09:00 in Tashkent, a Tuesday

// ---- equality that looks inside ----------------------------------------------------------------

static bool deep_equal(lua_State *L, int a, int b, unsigned depth) {
    a = lua_absindex(L, a);
    b = lua_absindex(L, b);
    if (lua_type(L, a) == LUA_TNUMBER && lua_type(L, b) == LUA_TNUMBER)
        return lua_compare(L, a, b, LUA_OPEQ) || fabs(lua_tonumber(L, a) - lua_tonumber(L, b)) < 1e-9;
    if (!lua_istable(L, a) || !lua_istable(L, b) || depth > 40) return lua_rawequal(L, a, b) != 0;
    luaL_checkstack(L, 8, NULL);
    size_t in_a = 0, in_b = 0;
    for (lua_pushnil(L); lua_next(L, b); lua_pop(L, 1))
        in_b++;
    lua_pushnil(L);
    while (lua_next(L, a)) {
        in_a++;
        lua_pushvalue(L, -2);
        lua_rawget(L, b);
        bool same = deep_equal(L, -2, -1, depth + 1);
        lua_pop(L, 2);
        if (same) continue;
        lua_pop(L, 1);
        return false;
    }
    return in_a == in_b;
}

static const char *shown(lua_State *L, int index, unsigned scratch) {
    struct hm_buf *out = hm_scratch(hm_host_of(L), scratch);
    if (!hm_lua_to_json_opt(L, index, true, 2000, out, NULL))
        hm_buf_text(out, lua_typename(L, lua_type(L, index)));
    return out->data;
}

static int t_equal(lua_State *L) {
    lua_settop(L, 4);
    if (deep_equal(L, 2, 3, 0)) return 0;
    const char *what = luaL_optstring(L, 4, NULL);
    lua_settop(L, 3);
    return luaL_error(L, "%s%s%s is not %s", what ? what : "", what ? ": " : "", shown(L, 2, 0),
                      shown(L, 3, 1));
}

static int t_ok(lua_State *L) {
    if (lua_toboolean(L, 2)) return 0;
    return luaL_error(L, "%s", luaL_optstring(L, 3, "is not so"));
}

// The value that was raised; with a second argument its reason, message or code must hold that.
static int t_fails(lua_State *L) {
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 3);
    lua_pushvalue(L, 2);
    if (hm_sandbox_pcall(L, 0, 0) == LUA_OK) return luaL_error(L, "does not fail");
    if (!lua_isnil(L, 3)) {
        const char *text = lua_istable(L, 4)               ? shown(L, 4, 0)
                           : lua_type(L, 4) == LUA_TSTRING ? lua_tostring(L, 4)
                                                           : "";
        lua_pushvalue(L, 3);
        const char *want = lua_tostring(L, -1);
        if (!want || !strstr(text, want)) return luaL_error(L, "fails otherwise: %s", text);
    }
    lua_settop(L, 4);
    return 1;
}

// ---- being somebody ----------------------------------------------------------------------------

static void add_membership(void *arg, struct hm_str type, struct hm_str id) {
    struct hm_buf *out = arg, name = {0};
    hm_buf_str(&name, type);
    hm_buf_char(&name, ':');
    hm_buf_str(&name, id);
    hm_buf_char(out, ',');
    hm_json_put_str(out, hm_buf_view(&name));
    hm_buf_free(&name);
}

static struct hm_str text_field(lua_State *L, int table, const char *name) {
    struct hm_str s = {0};
    if (lua_istable(L, table) && lua_getfield(L, table, name) == LUA_TSTRING)
        s.ptr = lua_tolstring(L, -1, &s.len);
    if (lua_istable(L, table)) lua_pop(L, 1); // the table holds it
    return s;
}

// Pushes the caller's JSON for {person=, roles=, login=, locale=}; nil: an administrator without a person.
static struct hm_json push_caller(lua_State *L, int who) {
    struct hm_host *host = hm_host_of(L);
    struct hm_buf *out = hm_scratch(host, 5);
    struct hm_json caller = {0};
    struct hm_str person = text_field(L, who, "person"), login = text_field(L, who, "login"),
                  locale = text_field(L, who, "locale");
    char terminated[HM_ID_MAX + 1];
    snprintf(terminated, sizeof terminated, "%.*s", (int)(person.len < HM_ID_MAX ? person.len : HM_ID_MAX),
             person.ptr ? person.ptr : "");
    hm_buf_char(out, '{');
    if (person.len) hm_json_member_str(out, "person", person);
    if (!lua_istable(L, who) || login.len || !person.len)
        hm_json_member_str(out, "login", login.len ? login : HM_LIT("tester"));
    hm_json_member_str(out, "locale", locale.len ? locale : HM_LIT("uz"));
    hm_json_member_str(out, "method_by", person);
    bool admin = !lua_istable(L, who);
    if (lua_istable(L, who)) {
        lua_getfield(L, who, "roles");
    } else {
        lua_newtable(L);
        lua_pushliteral(L, "administrator");
        lua_rawseti(L, -2, 1);
    }
    if (!lua_istable(L, -1)) {
        lua_pop(L, 1);
        lua_newtable(L);
    }
    int roles = lua_gettop(L);
    lua_Integer n = (lua_Integer)lua_rawlen(L, roles);
    struct hm_buf *principals = hm_scratch(host, 4);
    hm_buf_text(principals, "[\"public\",\"institution\"");
    if (person.len) hm_buf_printf(principals, ",\"person:%s\"", terminated);
    hm_json_key(out, "roles");
    hm_buf_char(out, '[');
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, roles, i);
        struct hm_str role = hm_check_str(L, -1);
        admin = admin || hm_str_eq(role, HM_LIT("administrator"));
        if (i > 1) hm_buf_char(out, ',');
        hm_json_put_str(out, role);
        hm_buf_printf(principals, ",\"role:%s\"", role.ptr);
        lua_pop(L, 1);
    }
    hm_buf_char(out, ']');
    if (person.len) hm_tx_memberships(host->tx, terminated, add_membership, principals);
    hm_buf_char(principals, ']');
    hm_json_member_raw(out, "principals", hm_buf_view(principals));
    hm_json_member_raw(out, "admin", admin ? HM_LIT("true") : HM_LIT("false"));
    hm_buf_char(out, '}');
    lua_settop(L, roles - 1);
    hm_push_str(L, hm_buf_view(out)); // stays on the stack while it is used
    struct hm_str text = hm_check_str(L, -1);
    struct hm_error err = {0};
    if (!hm_json_parse(text, &caller, &err)) luaL_error(L, "who: %s", err.message);
    return caller;
}

// t:call(method, params, who): as a client would, from access to the form of the result.
static int t_call(lua_State *L) {
    struct hm_host *host = hm_host_of(L);
    const char *name = luaL_checkstring(L, 2);
    lua_settop(L, 4);
    struct hm_json caller = push_caller(L, 4); // at 5, where it stays while it is used
    if (lua_isnil(L, 3)) {
        lua_newtable(L);
    } else {
        hm_lua_push_json(L, hm_check_json(L, 3, 1, "params"));
    }
    struct hm_who outer = host->call.who;
    bool may_write = host->call.may_write;
    host->call.who = (struct hm_who){0};
    hm_who_read(&host->call.who, caller);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &hm_reg_methods);
    if (lua_getfield(L, -1, name) == LUA_TTABLE) {
        lua_getfield(L, -1, "writes");
        lua_getfield(L, -2, "job");
        host->call.may_write = lua_toboolean(L, -1) || lua_toboolean(L, -2);
    }
    lua_settop(L, 6);
    hm_ctx_push(L); // at 7: the test's own
    lua_pushcfunction(L, hm_test_inner);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 6);
    int status = lua_pcall(L, 2, 1, 0); // what is caught here is raised again below
    hm_who_free(&host->call.who);
    host->call.who = outer;
    host->call.may_write = may_write;
    lua_pushvalue(L, 7);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &hm_reg_ctx_now);
    if (status != LUA_OK) {
        if (status == LUA_ERRMEM) host->box.memory_up = true;
        return lua_error(L);
    }
    hm_lua_push_json(L, hm_check_json(L, 8, 1, "result"));
    return 1;
}

int hm_test_inner(lua_State *L) {
    hm_ctx_make(hm_host_of(L));
    hm_call_method(L, lua_tostring(L, 1), true);
    return 1;
}

static int t_at(lua_State *L) {
    struct hm_host *host = hm_host_of(L);
    host->call.now_ms = luaL_checkinteger(L, 2);
    hm_ctx_make(host);
    hm_ctx_push(L);
    lua_setfield(L, 1, "ctx");
    return 0;
}

static const struct hm_lua_fn t_fns[] = {
    {"ctx", "ctx", "A ctx as methods get it: an administrator, on 2026-09-01 at 09:00.", NULL, NULL},
    {"plugin", "table", "The declaration under test.", NULL, NULL},
    {"equal", "a: any, b: any, what: string?", "Both are the same, tables by what is in them.", t_equal,
     NULL},
    {"ok", "value: any, what: string?", "The value is true.", t_ok, NULL},
    {"fails", "fn: function, how: string? -> any",
     "The function raises an error (in which this text stands); gives the error.", t_fails, NULL},
    {"call",
     "method: string, params: table?, who: {person: string?, roles: string[]?, login: string?, locale: "
     "string?}? -> any",
     "Calls a method as this person; an administrator when nobody is named.", t_call, NULL},
    {"at", "ms: integer", "Sets the time.", t_at, NULL},
    {0}};
const struct hm_lua_module hm_module_t = {"t", "What the tests of a plugin get.", t_fns, true};

// ---- running -----------------------------------------------------------------------------------

static void push_t(lua_State *L, const struct hm_host *host, int plugin) {
    lua_newtable(L);
    int t = lua_gettop(L);
    for (const struct hm_lua_fn *f = t_fns; f->name; f++)
        if (f->fn) {
            lua_pushcfunction(L, f->fn);
            lua_setfield(L, t, f->name);
        }
    // What a kind adds for its own tests, such as t:never_pairs.
    lua_rawgetp(L, LUA_REGISTRYINDEX, &hm_reg_kinds);
    if (lua_getfield(L, -1, host->loaded[plugin].source->kind) == LUA_TTABLE &&
        lua_getfield(L, -1, "_tests") == LUA_TTABLE)
        for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
            lua_pushvalue(L, -2);
            lua_pushvalue(L, -2);
            lua_rawset(L, t);
        }
    lua_settop(L, t);
    hm_ctx_push(L);
    lua_setfield(L, t, "ctx");
    lua_rawgetp(L, LUA_REGISTRYINDEX, &hm_reg_decls);
    lua_rawgeti(L, -1, plugin + 1);
    lua_setfield(L, t, "plugin");
    lua_settop(L, t);
}

// (function, plugin) at 1 and 2.
static int run_one(lua_State *L) {
    struct hm_host *host = hm_host_of(L);
    hm_ctx_make(host);
    lua_pushvalue(L, 1);
    push_t(L, host, (int)lua_tointeger(L, 2));
    lua_call(L, 1, 0);
    return 0;
}

// Pushes the list {{name, function}, …} of a declaration's tests, in the order of their names (or as listed).
static int list_tests(lua_State *L) {
    lua_newtable(L);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &hm_reg_decls);
    lua_rawgeti(L, -1, lua_tointeger(L, 1) + 1);
    if (lua_getfield(L, -1, "tests") != LUA_TTABLE) {
        lua_settop(L, 2);
        return 1;
    }
    int tests = lua_gettop(L);
    lua_Integer n = 0;
    for (lua_Integer i = 1; lua_rawgeti(L, tests, i) != LUA_TNIL; i++) {
        lua_createtable(L, 2, 0);
        lua_pushfstring(L, "test %d", (int)i);
        lua_rawseti(L, -2, 1);
        lua_insert(L, -2);
        lua_rawseti(L, -2, 2);
        lua_rawseti(L, 2, ++n);
    }
    lua_settop(L, tests);
    hm_push_names(L, tests);
    lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_createtable(L, 2, 0);
        lua_rawgeti(L, tests + 1, i);
        lua_pushvalue(L, -1);
        lua_rawget(L, tests);
        lua_rawseti(L, -3, 2);
        lua_rawseti(L, -2, 1);
        lua_rawseti(L, 2, ++n);
    }
    lua_settop(L, 2);
    return 1;
}

static void begin_test(struct hm_host *host) {
    static const uint8_t seed[32] = {1};
    struct hm_call *c = &host->call;
    static const char caller[] =
        "{\"login\":\"tester\",\"locale\":\"uz\",\"roles\":[\"administrator\"],\"principals\":[\"public\","
        "\"institution\",\"role:administrator\"],\"admin\":true}";
    struct hm_json json;
    hm_trouble_clear(host);
    hm_tx_begin(host->tx, NULL, host->types, TEST_BYTES, NULL);
    hm_random_seed(&c->random, seed);
    c->now_ms = TEST_NOW;
    c->testing = c->may_write = true;
    c->log_lines = 0;
    host->box.depth = 1;
    if (hm_json_parse(hm_str_of(caller), &json, NULL)) hm_who_read(&c->who, json);
}

// One test; false: it failed, and why was added to the problems.
static bool run_test(struct hm_host *host, int plugin, int list, lua_Integer i) {
    lua_State *L = host->box.L;
    const struct hm_loaded *p = &host->loaded[plugin];
    char name[300], title[160] = "?";
    begin_test(host);
    host->box.plugin = plugin;
    lua_pushcfunction(L, hm_traceback);
    int handler = lua_gettop(L);
    lua_pushcfunction(L, run_one);
    lua_rawgeti(L, list, i);
    lua_rawgeti(L, -1, 1);
    if (lua_type(L, -1) == LUA_TSTRING) snprintf(title, sizeof title, "%s", lua_tostring(L, -1));
    lua_pop(L, 1);
    lua_rawgeti(L, -1, 2);
    lua_remove(L, -2);
    lua_pushinteger(L, plugin);
    uint64_t began_us = hm_dry_cpu_us();
    hm_sandbox_arm(&host->box, TEST_MS, 0, TEST_BYTES);
    int status = lua_pcall(L, 2, 0, handler);
    hm_sandbox_disarm(&host->box);
    uint64_t took_us = hm_dry_cpu_us() - began_us;
    if (status != LUA_OK) {
        hm_trouble_take(host, status);
        snprintf(name, sizeof name, "test \"%s\": ", title);
        struct hm_buf message = {0};
        hm_buf_text(&message, name);
        hm_buf_text(&message, host->trouble.message);
        bool detail = host->trouble.code != HM_PLUGIN && host->trouble.data.len > 2;
        if (detail) hm_buf_printf(&message, " %.300s", host->trouble.data.data);
        hm_problem_of(host, p->source, p->id, host->trouble.file[0] ? host->trouble.file : p->source->file,
                      host->trouble.line, message.data);
        hm_buf_free(&message);
    }
    if (host->test_told)
        host->test_told(host->test_arg, p, title, took_us, status == LUA_OK ? "" : host->trouble.message);
    lua_settop(L, handler - 1);
    hm_tx_end(host->tx);
    hm_who_free(&host->call.who);
    host->call.testing = false;
    return status == LUA_OK;
}

bool hm_host_test(struct hm_host *host, bool all,
                  void (*told)(void *arg, const struct hm_loaded *plugin, unsigned passed, unsigned failed),
                  void *arg) {
    bool ok = true;
    for (size_t i = 0; i < host->loaded_count; i++) {
        unsigned passed = 0, failed = 0;
        if (!host->loaded[i].active || !(all || host->loaded[i].source->candidate)) continue;
        lua_State *L = host->box.L;
        lua_pushcfunction(L, list_tests);
        lua_pushinteger(L, (lua_Integer)i);
        if (lua_pcall(L, 1, 1, 0) != LUA_OK) return false;
        int list = lua_gettop(L);
        lua_Integer n = (lua_Integer)lua_rawlen(L, list);
        for (lua_Integer k = 1; k <= n; k++) {
            bool good = run_test(host, (int)i, list, k);
            passed += good;
            failed += !good;
            if (!hm_sandbox_spent(&host->box)) continue;
            // The state is no longer good: what is left is not run, and the plugin counts as failed.
            if (told) told(arg, &host->loaded[i], passed, failed);
            return false;
        }
        lua_settop(L, list - 1);
        if (told) told(arg, &host->loaded[i], passed, failed);
        ok = ok && !failed;
    }
    return ok;
}
