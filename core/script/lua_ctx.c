// ctx: who asks, what they may, the time and the random numbers of the call; accounts; log. Every function
// answers from the host's own call, never from the fields of the table that a plugin holds.
#include "base/code.h"
#include "base/log.h"
#include "script/frames.h"
#include "script/host.h"
#include "script/lua_json.h"
#include <lauxlib.h>
#include <math.h>
#include <stdio.h>

static void add_ctx_methods(lua_State *L, int table) {
    for (const struct hm_lua_fn *f = hm_module_ctx.fns; f->name; f++)
        if (f->fn) {
            lua_pushcfunction(L, f->fn);
            lua_setfield(L, table, f->name);
        }
}

// What few methods ask for is made when it is: roles, principals.
static int ctx_more(lua_State *L) {
    struct hm_host *host = hm_host_of(L);
    const struct hm_who *who = &host->call.who;
    struct hm_json list = {0};
    const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
    if (strcmp(name, "principals") == 0)
        hm_json_get(who->caller, "principals", &list);
    else if (strcmp(name, "roles") == 0)
        list = who->roles;
    else
        return 0;
    if (list.raw.len) {
        hm_lua_push_json(L, list);
    } else {
        lua_newtable(L);
        hm_lua_mark_array(L, -1);
    }
    hm_ctx_push(L);
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
    return 1;
}

// The metatable is made once a state; the table once a call.
void hm_ctx_make(struct hm_host *host) {
    lua_State *L = host->box.L;
    const struct hm_call *c = &host->call;
    lua_createtable(L, 0, 8);
    int ctx = lua_gettop(L);
    if (c->who.person[0]) {
        lua_pushstring(L, c->who.person);
        lua_setfield(L, ctx, "person");
    }
    lua_pushstring(L, c->who.login);
    lua_setfield(L, ctx, "login");
    lua_pushstring(L, host->institution);
    lua_setfield(L, ctx, "institution");
    lua_pushinteger(L, (lua_Integer)c->now_ms);
    lua_setfield(L, ctx, "now");
    lua_pushstring(L, c->who.locale[0] ? c->who.locale : "uz");
    lua_setfield(L, ctx, "locale");
    lua_pushboolean(L, c->who.admin || c->who.local);
    lua_setfield(L, ctx, "admin");
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &hm_reg_ctx) != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_createtable(L, 0, 2);
        lua_newtable(L);
        add_ctx_methods(L, lua_gettop(L));
        lua_createtable(L, 0, 1);
        lua_pushcfunction(L, ctx_more);
        lua_setfield(L, -2, "__index");
        lua_setmetatable(L, -2);
        lua_setfield(L, -2, "__index");
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &hm_reg_ctx);
    }
    lua_setmetatable(L, ctx);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &hm_reg_ctx_now);
}

void hm_ctx_push(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &hm_reg_ctx_now);
}

// ---- rights ------------------------------------------------------------------------------------

static int ctx_has_role(lua_State *L) {
    struct hm_host *host = hm_host_of(L);
    bool has = false;
    for (int i = 2; i <= lua_gettop(L) && !has; i++)
        has = hm_who_has_role(&host->call.who, hm_check_str(L, i));
    lua_pushboolean(L, has);
    return 1;
}

static int ctx_is(lua_State *L) {
    struct hm_host *host = hm_host_of(L);
    bool is = false;
    for (int i = 2; i <= lua_gettop(L) && !is; i++)
        is = hm_who_is(&host->call.who, hm_check_str(L, i));
    lua_pushboolean(L, is);
    return 1;
}

static int ctx_require(lua_State *L) {
    struct hm_host *host = hm_host_of(L);
    int n = lua_gettop(L);
    bool may = host->call.who.local; // the control socket: whoever holds the data folder
    for (int i = 2; i <= n && !may; i++)
        may = hm_who_is(&host->call.who, hm_check_str(L, i));
    if (may) return 0;
    lua_createtable(L, 0, 1);
    lua_newtable(L);
    for (int i = 2; i <= n; i++) {
        lua_pushvalue(L, i);
        lua_rawseti(L, -2, i - 1);
    }
    hm_lua_mark_array(L, -1);
    lua_setfield(L, -2, "need");
    const struct hm_who *who = &host->call.who;
    hm_raise(L, who->person[0] || who->login[0] ? HM_FORBIDDEN : HM_UNAUTHENTICATED, NULL, -1);
}

static int ctx_can_see(lua_State *L) {
    struct hm_host *host = hm_host_of(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_getfield(L, 2, "audience");
    struct hm_str audience = hm_check_packed(L, -1, 0, "audience");
    lua_pushboolean(L, hm_access_meets(hm_who_principals(&host->call.who), audience));
    return 1;
}

// ---- refusing ----------------------------------------------------------------------------------

static int ctx_refuse(lua_State *L) {
    luaL_checkstring(L, 2);
    lua_newtable(L);
    int data = lua_gettop(L);
    if (lua_istable(L, 3)) {
        lua_pushnil(L);
        while (lua_next(L, 3)) {
            lua_pushvalue(L, -2);
            lua_insert(L, -2);
            lua_rawset(L, data);
        }
    }
    lua_pushvalue(L, 2);
    lua_setfield(L, data, "reason");
    hm_raise(L, HM_CONFLICT, NULL, data);
}

static int ctx_not_found(lua_State *L) {
    hm_raise(L, HM_NOT_FOUND, NULL, 0);
}

static int ctx_invalid(lua_State *L) {
    struct hm_host *host = hm_host_of(L);
    struct hm_fault *f = &host->faults.list[0];
    snprintf(f->path, sizeof f->path, "%s", luaL_checkstring(L, 2));
    snprintf(f->message, sizeof f->message, "%s", luaL_optstring(L, 3, "is not valid"));
    host->faults.count = 1;
    hm_raise_faults(L, &host->faults);
}

// ---- what is repeatable ------------------------------------------------------------------------

static int ctx_random(lua_State *L) {
    struct hm_host *host = hm_host_of(L);
    if (lua_isnoneornil(L, 2)) {
        lua_pushnumber(L, hm_random_unit(&host->call.random));
        return 1;
    }
    lua_Integer n = luaL_checkinteger(L, 2);
    luaL_argcheck(L, n >= 1, 2, "at least 1");
    lua_pushinteger(L, 1 + (lua_Integer)hm_random_below(&host->call.random, (uint64_t)n));
    return 1;
}

static int ctx_uuid(lua_State *L) {
    struct hm_host *host = hm_host_of(L);
    uint8_t bytes[10];
    char id[37];
    hm_random_bytes(&host->call.random, bytes, sizeof bytes);
    hm_uuid7_from(host->call.now_ms, bytes, id);
    lua_pushstring(L, id);
    return 1;
}

static int ctx_progress(lua_State *L) {
    struct hm_host *host = hm_host_of(L);
    double part = luaL_checknumber(L, 2);
    struct hm_str note = lua_isnoneornil(L, 3) ? (struct hm_str){0} : hm_check_str(L, 3);
    struct hm_error err = {0};
    if (!host->channel || host->call.testing) return 0;
    struct hm_buf *out = hm_channel_begin(host->channel, HM_F_PROGRESS, host->call.number);
    hm_put_f64(out, part >= 0 && part <= 1 ? part : part > 1 ? 1.0 : 0.0);
    hm_put_str(out, note);
    hm_channel_end(host->channel);
    if (!hm_channel_flush(host->channel, &err)) hm_raise_error(L, &err);
    return 0;
}

static int ctx_call(lua_State *L) {
    struct hm_host *host = hm_host_of(L);
    const char *name = luaL_checkstring(L, 2);
    lua_settop(L, 3);
    if (lua_isnil(L, 3)) {
        lua_newtable(L);
        lua_replace(L, 3);
    }
    // Through JSON: the method gets what a client could send, and a table of its own.
    hm_lua_push_json(L, hm_check_json(L, 3, 1, "params"));
    lua_replace(L, 3);
    hm_call_method(L, name, !host->call.who.local);
    return 1;
}

static const struct hm_lua_fn ctx_fns[] = {
    {"person", "string?", "Id of the caller's person, when they have one.", NULL, NULL},
    {"login", "string?", "Login of the caller's account.", NULL, NULL},
    {"roles", "string[]", "Roles of the caller's account.", NULL, NULL},
    {"principals", "string[]",
     "All that the caller is: person:<id>, role:<name>, memberships such as pair:<id>.", NULL, NULL},
    {"institution", "string", "Id of the institution.", NULL, NULL},
    {"now", "integer", "The time of the call, in milliseconds since 1970 UTC. The only clock there is.", NULL,
     NULL},
    {"locale", "string", "Language the caller reads: uz, uz-Cyrl, ru, en.", NULL, NULL},
    {"admin", "boolean", "The caller is an administrator.", NULL, NULL},
    {"has_role", "...: string -> boolean", "Does the caller's account have any of these roles?", ctx_has_role,
     NULL},
    {"require", "...: string",
     "Goes on only when the caller has one of these roles, or is one of these principals (\"pair:<id>\", "
     "\"person:<id>\"). Else: forbidden, with what is needed.",
     ctx_require, NULL, "forbidden, with `need`; unauthenticated when nobody is signed in"},
    {"is", "...: string -> boolean",
     "Has the caller one of these roles, or are they one of these principals? What ctx:require asks, as an "
     "answer.",
     ctx_is, NULL},
    {"can_see", "record: Record -> boolean", "Does the record's audience include the caller?", ctx_can_see,
     NULL},
    {"refuse", "reason: string, data: table?",
     "Ends the call with a conflict: a reason that programs know, and more in data.", ctx_refuse, NULL,
     "conflict, with `reason` and data"},
    {"not_found", "", "Ends the call: there is no such thing, or the caller may not see it.", ctx_not_found,
     NULL, "not found"},
    {"invalid", "path: string, message: string", "Ends the call: this parameter is wrong.", ctx_invalid, NULL,
     "wrong params, with this path"},
    {"random", "n: integer? -> number",
     "A number in [0, 1), or a whole one from 1 to n; the same again when the call is repeated.", ctx_random,
     NULL},
    {"uuid", " -> string", "A new id for a record.", ctx_uuid, NULL},
    {"progress", "part: number, note: string?", "Tells how far a job is, from 0 to 1.", ctx_progress, NULL},
    {"call", "method: string, params: table? -> any",
     "Another method, in the same transaction and as the same caller.", ctx_call, NULL,
     "those of that method, which asks for its rights, too"},
    {0}};
const struct hm_lua_module hm_module_ctx = {"ctx", "Who asks, what they may, and the time of the call.",
                                            ctx_fns, true};

// ---- accounts ----------------------------------------------------------------------------------

static void check_roles(lua_State *L, int roles) {
    static const char *const known[] = {"administrator", "coordinator", "psychologist", "coach", "student"};
    struct hm_host *host = hm_host_of(L);
    lua_Integer n = (lua_Integer)lua_rawlen(L, roles);
    if (n < 1) luaL_error(L, "accounts.invite: roles: at least one");
    for (lua_Integer i = 1; i <= n; i++) {
        bool found = false;
        lua_rawgeti(L, roles, i);
        struct hm_str role = hm_check_str(L, -1);
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            found = found || hm_str_eq(role, hm_str_of(known[k]));
        if (!found) luaL_error(L, "accounts.invite: there is no role '%s'", role.ptr);
        bool more = !hm_str_eq(role, HM_LIT("student"));
        if (more && !hm_who_has_role(&host->call.who, HM_LIT("administrator"))) {
            lua_createtable(L, 0, 1);
            lua_pushliteral(L, "administrator");
            lua_setfield(L, -2, "need");
            hm_raise(L, HM_FORBIDDEN, NULL, -1);
        }
        lua_pop(L, 1);
    }
}

static int accounts_invite(lua_State *L) {
    struct hm_host *host = hm_host_of(L);
    struct hm_error err = {0};
    uint8_t bytes[10];
    char code[20], hash[65];
    luaL_checktype(L, 1, LUA_TTABLE);
    hm_check_in_call(L, "accounts.invite");
    lua_settop(L, 1);
    if (!hm_who_has_role(&host->call.who, HM_LIT("coordinator")) &&
        !hm_who_has_role(&host->call.who, HM_LIT("administrator"))) {
        lua_createtable(L, 0, 1);
        lua_pushliteral(L, "coordinator");
        lua_setfield(L, -2, "need");
        hm_raise(L, HM_FORBIDDEN, NULL, -1);
    }
    if (!host->call.may_write)
        return luaL_error(L, "accounts.invite: this method does not declare writes=true");
    if (lua_getfield(L, 1, "roles") != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushliteral(L, "student");
        lua_rawseti(L, -2, 1);
    }
    check_roles(L, 2);
    lua_getfield(L, 1, "days");
    double days = luaL_optnumber(L, -1, 14);
    luaL_argcheck(L, days > 0 && days <= 366, 1, "days: from 0 to 366");
    lua_getfield(L, 1, "person");
    luaL_checkstring(L, -1);
    lua_getfield(L, 1, "name");
    lua_createtable(L, 0, 4);
    lua_pushvalue(L, 4);
    lua_setfield(L, -2, "person");
    lua_pushvalue(L, 2);
    lua_setfield(L, -2, "roles");
    lua_pushvalue(L, 5);
    lua_setfield(L, -2, "name");
    lua_pushinteger(L, (lua_Integer)((double)host->call.now_ms + days * 86400000.0));
    lua_setfield(L, -2, "expires");
    hm_random_bytes(&host->call.random, bytes, sizeof bytes);
    hm_code_format(bytes, code);
    if (!hm_code_hash(hm_str_of(code), hash)) return luaL_error(L, "accounts.invite: no code could be made");
    struct hm_json data = hm_check_json(L, 6, 0, "accounts.invite");
    struct hm_write_args args = {.type = HM_LIT("invitation"),
                                 .id = hm_str_of(hash),
                                 .data = data.raw,
                                 .create = true,
                                 .by = hm_str_of(host->call.who.person),
                                 .now_ms = host->call.now_ms};
    if (!hm_tx_put(host->tx, &args, &err)) hm_raise_error(L, &err);
    lua_pushstring(L, code);
    return 1;
}

static int accounts_exists(lua_State *L) {
    struct hm_host *host = hm_host_of(L);
    struct hm_error err = {0};
    struct hm_tx_scan *scan = NULL;
    struct hm_view view;
    hm_check_str(L, 1);
    hm_check_in_call(L, "accounts.exists");
    lua_settop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, 1);
    lua_rawseti(L, 2, 1);
    struct hm_tx_range range = {.type = hm_types_find(host->types, HM_LIT("account"))};
    range.index = hm_type_index(range.type, HM_LIT("person"));
    range.equals = hm_check_json(L, 2, 0, "accounts.exists");
    if (!hm_tx_scan_begin(host->tx, &range, &scan, &err)) hm_raise_error(L, &err);
    bool found = hm_tx_scan_next(scan, &view);
    hm_tx_scan_end(scan);
    lua_pushboolean(L, found);
    return 1;
}

static const struct hm_lua_fn accounts_fns[] = {
    {"invite", "invitation: {person: string, roles: string[]?, name: string?, days: number?} -> string",
     "A code with which this person makes an account; valid for 14 days unless said. Roles beyond student: "
     "administrators only.",
     accounts_invite, "coordinator", "forbidden, with `need`"},
    {"exists", "person: string -> boolean", "Has this person an account?", accounts_exists, NULL},
    {0}};
const struct hm_lua_module hm_module_accounts = {"accounts", "Accounts of persons.", accounts_fns, false};

// ---- log ---------------------------------------------------------------------------------------

void hm_log_line(struct hm_host *host, int level, struct hm_str text) {
    hm_check_in_call(host->box.L, "log");
    if (host->call.log_lines >= host->limits.log_lines) hm_sandbox_stop(host->box.L, HM_STOP_LOG, true);
    host->call.log_lines++;
    if (host->call.testing || !host->channel) return;
    int plugin = host->box.plugin;
    bool known = plugin >= 0 && (size_t)plugin < host->loaded_count;
    lua_Debug ar = {.currentline = 0};
    if (!lua_getstack(host->box.L, 1, &ar) || !lua_getinfo(host->box.L, "Sl", &ar) || ar.currentline < 0)
        ar.currentline = 0;
    if (host->call.dry) {
        hm_dry_log(host, level, text, ar.currentline ? ar.short_src : "", ar.currentline);
        return;
    }
    struct hm_buf *out = hm_channel_begin(host->channel, HM_F_LOG, host->call.number);
    hm_put_u8(out, (uint8_t)level);
    hm_put_str(out, hm_str_of(known ? host->loaded[plugin].id : ""));
    hm_put_str(out, known ? (struct hm_str){host->loaded[plugin].source->hash, 12} : (struct hm_str){0});
    hm_put_str(out, (struct hm_str){text.ptr, text.len < 1000 ? text.len : 1000});
    hm_put_str(out, hm_str_of(known ? host->loaded[plugin].source->kind : ""));
    hm_put_str(out, hm_str_of(ar.currentline ? ar.short_src : ""));
    hm_put_u32(out, (uint32_t)ar.currentline);
    hm_channel_end(host->channel);
}

static int log_info(lua_State *L) {
    hm_log_line(hm_host_of(L), HM_INFO, hm_check_str(L, 1));
    return 0;
}
static int log_warn(lua_State *L) {
    hm_log_line(hm_host_of(L), HM_WARN, hm_check_str(L, 1));
    return 0;
}

static const struct hm_lua_fn log_fns[] = {
    {"info", "text: string",
     "A line for the plugin's log. No personal data; 100 lines a call, one more ends it.", log_info, NULL},
    {"warn", "text: string", "The same, as a warning.", log_warn, NULL},
    {0}};
const struct hm_lua_module hm_module_log = {"log", "The plugin's log.", log_fns, false};
