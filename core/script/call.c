// Running one call: the caller and their rights, params against their schema, the method, and errors as they
// will be told. What always holds: everything that touches plugin code runs under one protected call with
// limits armed, and host->trouble is filled before the state is looked at again.
#include "base/cron.h"
#include "script/frames.h"
#include "script/host.h"
#include "script/lua_json.h"
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

// ---- errors ------------------------------------------------------------------------------------

struct hm_buf *hm_scratch(struct hm_host *host, unsigned which) {
    struct hm_buf *b = &host->scratch[which];
    if (b->cap > 4u << 20) hm_buf_free(b);
    hm_buf_clear(b);
    hm_buf_reserve(b, 64);
    return b;
}

void hm_check_in_call(lua_State *L, const char *what) {
    if (!hm_host_of(L)->open)
        luaL_error(L, "%s: not while the plugin is being loaded; call it in a function of the declaration",
                   what);
}

struct hm_str hm_check_str(lua_State *L, int index) {
    struct hm_str s;
    s.ptr = luaL_checklstring(L, index, &s.len);
    return s;
}

void hm_push_str(lua_State *L, struct hm_str s) {
    lua_pushlstring(L, s.ptr ? s.ptr : "", s.len);
}

// What we wrote ourselves need not be parsed to be known.
struct hm_json hm_check_json(lua_State *L, int index, unsigned which, const char *what) {
    struct hm_buf *b = hm_scratch(hm_host_of(L), which);
    struct hm_error err = {0};
    if (!hm_lua_to_json_opt(L, index, false, 8u << 20, b, &err)) luaL_error(L, "%s: %s", what, err.message);
    return (struct hm_json){hm_json_kind_of(b->data[0]), hm_buf_view(b)};
}

// Errors of the protocol are tables {code=, message=, data=} with this metatable, so that a plugin may look
// at one that it caught.
static int error_tostring(lua_State *L) {
    lua_settop(L, 1);
    if (lua_istable(L, 1)) lua_getfield(L, 1, "message");
    return 1;
}

static void push_error_meta(lua_State *L) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &hm_reg_error) == LUA_TTABLE) return;
    lua_pop(L, 1);
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, error_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &hm_reg_error);
}

_Noreturn void hm_raise(lua_State *L, enum hm_code code, const char *message, int data) {
    if (data) data = lua_absindex(L, data);
    luaL_checkstack(L, 6, NULL);
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, code);
    lua_setfield(L, -2, "code");
    lua_pushstring(L, message ? message : hm_code_message(code));
    lua_setfield(L, -2, "message");
    if (data) {
        lua_pushvalue(L, data);
        lua_setfield(L, -2, "data");
    }
    push_error_meta(L);
    lua_setmetatable(L, -2);
    lua_error(L);
    abort(); // lua_error does not come back
}

_Noreturn void hm_raise_error(lua_State *L, const struct hm_error *err) {
    lua_createtable(L, 0, 1);
    lua_pushstring(L, err->message);
    lua_setfield(L, -2, err->code == HM_CONFLICT ? "reason" : err->code == HM_TOO_LARGE ? "limit" : "detail");
    hm_raise(L, err->code, NULL, -1);
}

_Noreturn void hm_raise_faults(lua_State *L, const struct hm_faults *faults) {
    lua_createtable(L, 0, 1);
    hm_faults_push(L, faults);
    lua_setfield(L, -2, "errors");
    hm_raise(L, HM_PARAMS, NULL, -1);
}

static bool is_protocol_error(lua_State *L, int index) {
    if (!lua_istable(L, index) || !lua_getmetatable(L, index)) return false;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &hm_reg_error);
    bool is = lua_rawequal(L, -1, -2) != 0;
    lua_pop(L, 2);
    return is;
}

// The checks of declarations are not where the fault is: the plugin that called them is.
static bool is_checker(const char *file) {
    return strncmp(file, "lib/kinds/", 10) == 0 || strcmp(file, "lib/declare.lua") == 0;
}

// Notes the first place in Lua code, while the stack still stands. The error value stays as it is.
int hm_traceback(lua_State *L) {
    struct hm_host *host = hm_host_of(L);
    lua_Debug ar;
    for (int level = 0; lua_getstack(L, level, &ar); level++) {
        if (!lua_getinfo(L, "Sl", &ar) || ar.currentline <= 0 || is_checker(ar.short_src)) continue;
        snprintf(host->trouble.file, sizeof host->trouble.file, "%s", ar.short_src);
        host->trouble.line = ar.currentline;
        break;
    }
    return 1;
}

void hm_trouble_clear(struct hm_host *host) {
    hm_buf_clear(&host->trouble.data);
    host->trouble.code = HM_OK;
    host->trouble.message[0] = host->trouble.file[0] = '\0';
    host->trouble.line = 0;
    host->trouble.plugin = -1;
}

// "services/pair.lua:12: what" -> the place, and what.
static void take_text(struct hm_trouble *t, const char *text) {
    const char *colon = strstr(text, ".lua:");
    char *end;
    if (colon && colon - text < 120) {
        long line = strtol(colon + 5, &end, 10);
        if (end > colon + 5 && *end == ':' && line > 0 && line < 10000000 &&
            !memchr(text, ' ', (size_t)(colon - text))) {
            snprintf(t->file, sizeof t->file, "%.*s", (int)(colon + 4 - text), text);
            t->line = (int)line;
            text = end + 1 + (end[1] == ' ');
        }
    }
    snprintf(t->message, sizeof t->message, "%s", text);
}

static void data_open(struct hm_trouble *t) {
    hm_buf_clear(&t->data);
    hm_buf_char(&t->data, '{');
}

// Who made it, and where: closes the object.
static void data_place(struct hm_host *host, bool with_message) {
    struct hm_trouble *t = &host->trouble;
    int plugin = host->box.plugin;
    for (size_t i = 0; i < host->loaded_count; i++) // the file tells better than the method
        if (host->loaded[i].active && t->file[0] && strcmp(host->loaded[i].source->file, t->file) == 0)
            plugin = (int)i;
    t->plugin = plugin;
    if (plugin >= 0 && (size_t)plugin < host->loaded_count) {
        char version[13];
        snprintf(version, sizeof version, "%.12s", host->loaded[plugin].source->hash);
        hm_json_member_str(&t->data, "plugin", hm_str_of(host->loaded[plugin].id));
        hm_json_member_str(&t->data, "version", hm_str_of(version));
        if (!t->file[0]) snprintf(t->file, sizeof t->file, "%s", host->loaded[plugin].source->file);
    }
    hm_json_member_str(&t->data, "file", hm_str_of(t->file));
    hm_json_member_int(&t->data, "line", t->line);
    if (with_message) hm_json_member_str(&t->data, "message", hm_str_of(t->message));
    hm_buf_char(&t->data, '}');
}

// "the limit of N ms of computing was exceeded", with the limit and its size for programs.
static void tell_limit(struct hm_trouble *t, enum hm_code code, const char *limit, const char *member,
                       uint64_t size, const char *of) {
    t->code = code;
    snprintf(t->message, sizeof t->message, "the limit of %llu %s was exceeded", (unsigned long long)size,
             of);
    hm_json_member_str(&t->data, "limit", hm_str_of(limit));
    hm_json_member_int(&t->data, member, (int64_t)size);
}

static void take_stop(struct hm_host *host) {
    struct hm_trouble *t = &host->trouble;
    struct hm_sandbox *box = &host->box;
    const char *file = box->stop ? box->file : box->memory_file;
    if (file[0]) {
        snprintf(t->file, sizeof t->file, "%s", file);
        t->line = box->stop ? box->line : box->memory_line;
    }
    data_open(t);
    switch ((enum hm_stop)box->stop) {
    case HM_STOP_CPU:
        tell_limit(t, HM_DEADLINE, "cpu", "limit_ms", box->cpu_ms, "ms of computing");
        break;
    case HM_STOP_WALL:
        tell_limit(t, HM_DEADLINE, "time", "limit_ms", box->wall_ms, "ms, waiting included,");
        break;
    case HM_STOP_NONE:
        tell_limit(t, HM_TOO_LARGE, "memory", "limit_bytes", box->memory_bytes, "bytes of memory");
        break;
    case HM_STOP_LOG:
        tell_limit(t, HM_TOO_LARGE, "log_lines", "limit_lines", host->limits.log_lines, "log lines a call");
        break;
    case HM_STOP_OUTPUT:
        tell_limit(t, HM_TOO_LARGE, "output", "limit_bytes", host->limits.output_bytes, "bytes of result");
        break;
    case HM_STOP_STATE:
        t->code = HM_PLUGIN;
        snprintf(t->message, sizeof t->message,
                 "a table that was made when the plugin was loaded was changed, here or just before: nothing "
                 "stays from one call to the next; make the table inside of the function, or keep what is in "
                 "it in the store");
    }
    data_place(host, t->code == HM_PLUGIN);
}

static void take_protocol_error(struct hm_host *host, int at) {
    lua_State *L = host->box.L;
    struct hm_trouble *t = &host->trouble;
    struct hm_error err = {0};
    lua_pushliteral(L, "code");
    lua_rawget(L, at);
    lua_Integer code = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
    lua_pushliteral(L, "message");
    if (lua_rawget(L, at) == LUA_TSTRING) snprintf(t->message, sizeof t->message, "%s", lua_tostring(L, -1));
    // The codes that a plugin's word may stand for; whatever else it made of the table is an error of the
    // plugin.
    static const enum hm_code allowed[] = {HM_METHOD,      HM_PARAMS,   HM_UNAUTHENTICATED, HM_FORBIDDEN,
                                           HM_NOT_FOUND,   HM_CONFLICT, HM_TOO_MANY,        HM_TOO_LARGE,
                                           HM_UNAVAILABLE, HM_INTERNAL};
    t->code = HM_PLUGIN;
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
        if ((lua_Integer)allowed[i] == code) t->code = allowed[i];
    hm_buf_clear(&t->data);
    lua_pushliteral(L, "data");
    if (lua_rawget(L, at) == LUA_TTABLE && !hm_lua_to_json_opt(L, -1, false, 64u << 10, &t->data, &err))
        hm_buf_clear(&t->data);
    lua_pop(L, 3);
    if (t->code == HM_PLUGIN) {
        data_open(t);
        data_place(host, true);
    } else if (t->code == HM_TOO_LARGE && t->data.len > 2) { // a limit says whose it was
        t->data.len--;
        data_place(host, false);
    }
}

void hm_trouble_take(struct hm_host *host, int status) {
    lua_State *L = host->box.L;
    struct hm_trouble *t = &host->trouble;
    int at = lua_gettop(L);
    if (status == LUA_ERRMEM && !host->box.stop) host->box.memory_up = true;
    if (host->box.stop || host->box.memory_up) {
        host->box.cap = SIZE_MAX;
        take_stop(host);
    } else if (is_protocol_error(L, at)) {
        take_protocol_error(host, at);
    } else {
        t->code = HM_PLUGIN;
        if (lua_type(L, at) == LUA_TSTRING) {
            take_text(t, lua_tostring(L, at));
        } else {
            // Never asked for its text: that might be a function that does not end.
            snprintf(t->message, sizeof t->message, "an error value of type %s",
                     lua_typename(L, lua_type(L, at)));
        }
        data_open(t);
        data_place(host, true);
    }
    lua_settop(L, at - 1);
}

// ---- who is calling ----------------------------------------------------------------------------

void hm_who_read(struct hm_who *who, struct hm_json caller) {
    struct hm_json_iter it = hm_json_iter(caller);
    struct hm_json key, value;
    hm_who_free(who);
    who->caller = caller;
    snprintf(who->locale, sizeof who->locale, "uz");
    while (hm_json_next(&it, &key, &value)) {
        if (hm_json_key_is(key, HM_LIT("person"))) {
            if (!hm_json_text(value, who->person, sizeof who->person)) who->person[0] = '\0';
        } else if (hm_json_key_is(key, HM_LIT("login"))) {
            if (!hm_json_text(value, who->login, sizeof who->login)) who->login[0] = '\0';
        } else if (hm_json_key_is(key, HM_LIT("locale"))) {
            if (!hm_json_text(value, who->locale, sizeof who->locale))
                snprintf(who->locale, sizeof who->locale, "uz");
        } else if (hm_json_key_is(key, HM_LIT("roles"))) {
            who->roles = value;
        } else if (hm_json_key_is(key, HM_LIT("admin"))) {
            if (!hm_json_bool(value, &who->admin)) who->admin = false;
        } else if (hm_json_key_is(key, HM_LIT("local"))) {
            if (!hm_json_bool(value, &who->local)) who->local = false;
        }
    }
}

static size_t place_of(struct hm_str text) {
    uint64_t hash = text.len, word;
    for (size_t at = 0; at + sizeof word <= text.len; at += sizeof word) {
        memcpy(&word, text.ptr + at, sizeof word);
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 29;
    }
    return hash % HM_CALLERS;
}

bool hm_who_recall(struct hm_host *host, struct hm_str text, struct hm_who *who, struct hm_error *err) {
    struct hm_known *known = &host->known[place_of(text)];
    hm_who_free(who);
    if (!known->text || !hm_str_eq((struct hm_str){known->text, known->len}, text)) {
        struct hm_json caller;
        hm_who_free(&known->who);
        free(known->text);
        known->text = hm_str_dup(text);
        known->len = text.len;
        if (!hm_json_parse((struct hm_str){known->text, known->len}, &caller, err)) {
            free(known->text);
            known->text = NULL;
            return false;
        }
        hm_who_read(&known->who, caller);
        hm_who_principals(&known->who);
    }
    *who = known->who;
    hm_principals_ref(who->principals);
    return true;
}

void hm_who_forget(struct hm_host *host) {
    for (size_t i = 0; i < HM_CALLERS; i++) {
        hm_who_free(&host->known[i].who);
        free(host->known[i].text);
        host->known[i].text = NULL;
    }
}

void hm_who_free(struct hm_who *who) {
    hm_principals_unref(who->principals);
    *who = (struct hm_who){0};
}

static bool json_text_is(struct hm_json v, struct hm_str text) {
    return v.kind == HM_JSON_STRING && v.raw.len == text.len + 2 &&
           memcmp(v.raw.ptr + 1, text.ptr, text.len) == 0;
}

bool hm_who_has_role(const struct hm_who *who, struct hm_str role) {
    struct hm_json item;
    struct hm_json_iter it = hm_json_iter(who->roles);
    if ((who->admin || who->local) && hm_str_eq(role, HM_LIT("administrator"))) return true;
    while (who->roles.raw.len && hm_json_next(&it, NULL, &item))
        if (json_text_is(item, role)) return true;
    return false;
}

struct hm_principals *hm_who_principals(struct hm_who *who) {
    if (who->principals) return who->principals;
    struct hm_json list, item;
    struct hm_buf text = {0};
    size_t count = 0, most = hm_json_get(who->caller, "principals", &list) ? hm_json_count(list) : 0;
    struct hm_str *names = hm_alloc_array(most ? most : 1, sizeof *names);
    size_t *ends = hm_alloc_array(most ? most : 1, sizeof *ends);
    if (most) {
        struct hm_json_iter it = hm_json_iter(list);
        while (count < most && hm_json_next(&it, NULL, &item))
            if (hm_json_string(item, &text)) ends[count++] = text.len;
    }
    for (size_t i = 0, from = 0; i < count; from = ends[i++])
        names[i] = (struct hm_str){text.data + from, ends[i] - from};
    who->principals = hm_principals_new(names, count);
    free(names);
    free(ends);
    hm_buf_free(&text);
    return who->principals;
}

bool hm_who_is(struct hm_who *who, struct hm_str name) {
    if (!memchr(name.ptr, ':', name.len) && hm_who_has_role(who, name)) return true;
    return hm_principals_has(hm_who_principals(who), name);
}

// ---- methods -----------------------------------------------------------------------------------

static void check_access(lua_State *L, struct hm_who *who, int method) {
    lua_getfield(L, method, "access");
    int access = lua_gettop(L);
    const char *word = lua_type(L, access) == LUA_TSTRING ? lua_tostring(L, access) : "";
    bool signed_in = who->person[0] || who->login[0] || who->local || who->admin;
    if (strcmp(word, "public") == 0) {
        lua_pop(L, 1);
        return;
    }
    if (!signed_in) hm_raise(L, HM_UNAUTHENTICATED, NULL, 0);
    if (strcmp(word, "signed_in") != 0 && !who->local) {
        bool may = false;
        lua_Integer n = lua_istable(L, access) ? (lua_Integer)lua_rawlen(L, access) : 0;
        for (lua_Integer i = 1; i <= n && !may; i++) {
            lua_rawgeti(L, access, i);
            may = lua_type(L, -1) == LUA_TSTRING && hm_who_has_role(who, hm_str_of(lua_tostring(L, -1)));
            lua_pop(L, 1);
        }
        if (!may) {
            lua_createtable(L, 0, 1);
            lua_pushvalue(L, access);
            lua_setfield(L, -2, "need");
            hm_raise(L, HM_FORBIDDEN, NULL, -1);
        }
    }
    lua_pop(L, 1);
}

// Checks the params (on the top) by the method's declaration; `idem` belongs to the server and is taken out.
static void check_params(lua_State *L, int method) {
    struct hm_host *host = hm_host_of(L);
    int value = lua_gettop(L);
    lua_getfield(L, method, "params");
    if (lua_istable(L, -1)) {
        lua_pushnil(L);
        if (lua_istable(L, value)) lua_setfield(L, value, "idem");
        lua_settop(L, value + 1);
        lua_getfield(L, method, "open_params");
        lua_getfield(L, method, "patch");
        struct hm_schema_options options = {"", lua_toboolean(L, -2) != 0, false, lua_toboolean(L, -1) != 0};
        if (!hm_schema_check(L, value + 1, value, &options, &host->faults)) hm_raise_faults(L, &host->faults);
    }
    lua_settop(L, value);
}

// Puts the method's declaration on the stack, or raises.
static void push_method(lua_State *L, const char *name, int *plugin) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &hm_reg_methods);
    if (lua_getfield(L, -1, name) != LUA_TTABLE) {
        lua_createtable(L, 0, 1);
        lua_pushstring(L, name);
        lua_setfield(L, -2, "method");
        hm_raise(L, HM_METHOD, NULL, -1);
    }
    lua_rawgetp(L, LUA_REGISTRYINDEX, &hm_reg_owners);
    lua_getfield(L, -1, name);
    *plugin = (int)lua_tointeger(L, -1);
    lua_pop(L, 2);
    lua_remove(L, -2);
}

void hm_call_method(lua_State *L, const char *name, bool access) {
    struct hm_host *host = hm_host_of(L);
    int params = lua_gettop(L), before = host->box.plugin, plugin;
    luaL_checkstack(L, 16, NULL);
    if (++host->box.depth > HM_CALL_DEPTH) luaL_error(L, "%s: methods that call methods, too deep", name);
    push_method(L, name, &plugin);
    int method = lua_gettop(L);
    if (access) check_access(L, &host->call.who, method);
    host->box.plugin = plugin;
    lua_pushvalue(L, params);
    check_params(L, method);
    lua_getfield(L, method, "run");
    hm_ctx_push(L);
    lua_pushvalue(L, method + 1);
    lua_call(L, 2, 1);
    lua_getfield(L, method, "job");
    if (host->box.depth > 1 && lua_toboolean(L, -1)) { // inside of another call a job is its two parts in one
        lua_pop(L, 1);
        if (lua_getfield(L, method, "done") == LUA_TFUNCTION) {
            hm_ctx_push(L);
            lua_pushvalue(L, method + 1);
            lua_pushvalue(L, -4);
            lua_call(L, 3, 1);
        } else {
            lua_pop(L, 1);
        }
    } else {
        lua_pop(L, 1);
    }
    lua_replace(L, params);
    lua_settop(L, params);
    host->box.plugin = before;
    host->box.depth--;
}

// ---- the host's own methods --------------------------------------------------------------------

// Pushes decl[field][name] of the active plugin of this kind ("": any) and id, nil when it has none.
static void push_declared(lua_State *L, struct hm_json params, const char *field, const char *name) {
    struct hm_host *host = hm_host_of(L);
    char kind[16] = "", plugin[HM_NAME_MAX + 1];
    hm_json_get_text(params, "kind", kind, sizeof kind);
    if (!hm_json_get_text(params, "plugin", plugin, sizeof plugin)) luaL_error(L, "no plugin is named");
    for (size_t i = 0; i < host->loaded_count; i++) {
        const struct hm_loaded *p = &host->loaded[i];
        if (!p->active || strcmp(p->id, plugin) != 0 || (kind[0] && strcmp(kind, p->source->kind) != 0))
            continue;
        int top = lua_gettop(L);
        lua_rawgetp(L, LUA_REGISTRYINDEX, &hm_reg_decls);
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        if (lua_getfield(L, -1, field) == LUA_TTABLE && lua_getfield(L, -1, name) != LUA_TNIL) {
            host->box.plugin = (int)i;
            lua_replace(L, top + 1);
            lua_settop(L, top + 1);
            return;
        }
        lua_settop(L, top);
    }
    lua_pushnil(L);
}

// Runs a plugin's reactions to some changes, in their order: one transaction.
static void react(lua_State *L, struct hm_json params) {
    struct hm_json changes, change;
    char type[HM_NAME_MAX + 1], action[16], event[HM_NAME_MAX + 20];
    lua_Integer ran = 0;
    if (!hm_json_get(params, "changes", &changes) || changes.kind != HM_JSON_ARRAY)
        luaL_error(L, "$react: no changes");
    struct hm_json_iter it = hm_json_iter(changes);
    while (hm_json_next(&it, NULL, &change)) {
        int top = lua_gettop(L);
        if (!hm_json_get_text(change, "type", type, sizeof type) ||
            !hm_json_get_text(change, "action", action, sizeof action))
            luaL_error(L, "$react: a change without type or action");
        snprintf(event, sizeof event, "%s.%s", type, action);
        push_declared(L, params, "on", event);
        if (lua_isfunction(L, -1)) {
            hm_ctx_push(L);
            hm_lua_push_json(L, change);
            lua_call(L, 2, 0);
            ran++;
        }
        lua_settop(L, top);
    }
    lua_createtable(L, 0, 1);
    lua_pushinteger(L, ran);
    lua_setfield(L, -2, "ran");
}

// What is to be run at a time: fn(ctx, due), or the parts of a job, {run = fn(ctx, due), done = fn(ctx, due,
// result)}. `result`: what the long part gave, for the short one.
static void run_every(lua_State *L, struct hm_json params, const struct hm_json *result) {
    char cron[HM_CRON_MAX + 1];
    struct hm_json value;
    int64_t due = hm_host_of(L)->call.now_ms;
    if (!hm_json_get_text(params, "cron", cron, sizeof cron)) luaL_error(L, "$every: no cron");
    if (hm_json_get(params, "due", &value)) hm_json_int(value, &due);
    push_declared(L, params, "every", cron);
    if (lua_istable(L, -1)) {
        lua_getfield(L, -1, result ? "done" : "run");
        lua_remove(L, -2);
    }
    if (!lua_isfunction(L, -1)) luaL_error(L, "$every: nothing is declared for '%s'", cron);
    hm_ctx_push(L);
    lua_pushinteger(L, (lua_Integer)due);
    if (result) hm_lua_push_json(L, *result);
    lua_call(L, result ? 3 : 2, 1);
}

// The second part of a job: done(ctx, params, result).
static void job_done(lua_State *L, const char *name, struct hm_json both) {
    struct hm_host *host = hm_host_of(L);
    struct hm_json params = {0}, result = {0};
    hm_json_get(both, "params", &params);
    hm_json_get(both, "result", &result);
    if (strcmp(name, "$every") == 0) {
        run_every(L, params, &result);
        return;
    }
    push_method(L, name, &host->box.plugin);
    int method = lua_gettop(L);
    bool has_done = lua_getfield(L, method, "done") == LUA_TFUNCTION;
    if (has_done) {
        hm_ctx_push(L);
        hm_lua_push_json(L, params);
        check_params(L, method);
    }
    hm_lua_push_json(L, result);
    if (has_done) lua_call(L, 3, 1);
}

// Where the method's function begins, as the place of what is wrong with its result.
static void note_method(lua_State *L, const char *name) {
    struct hm_sandbox *box = hm_sandbox_of(L);
    lua_Debug ar;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &hm_reg_methods);
    if (lua_getfield(L, -1, name) != LUA_TTABLE || lua_getfield(L, -1, "run") != LUA_TFUNCTION) return;
    if (!lua_getinfo(L, ">S", &ar) || ar.linedefined < 0) return;
    snprintf(box->file, sizeof box->file, "%s", ar.short_src);
    box->line = ar.linedefined;
}

// ---- one call ----------------------------------------------------------------------------------

static int run_protected(lua_State *L) {
    struct hm_host *host = hm_host_of(L);
    const struct hm_call_args *args = lua_touserdata(L, 1);
    struct hm_json params;
    struct hm_error err = {0};
    char name[128];
    hm_ctx_make(host);
    snprintf(name, sizeof name, "%.*s", (int)(args->method.len < 127 ? args->method.len : 127),
             args->method.ptr);
    struct hm_str text = args->params.len ? args->params : HM_LIT("{}");
    if (!hm_json_parse(text, &params, &err)) hm_raise_error(L, &err);
    if (strcmp(name, "$react") == 0) {
        host->call.may_write = true;
        react(L, params);
    } else if (strcmp(name, "$every") == 0 && !(args->flags & HM_CALL_JOB_DONE)) {
        host->call.may_write = !(args->flags & HM_CALL_JOB_RUN);
        run_every(L, params, NULL);
    } else if (strcmp(name, "$plugins") == 0) {
        hm_catalogue_plugins(L, params, &host->out);
        return 0; // has written its answer itself
    } else if (strcmp(name, "$shape") == 0) {
        host->call.upgrading = true;
        hm_shape_look(L, params, &host->out);
        return 0;
    } else if (args->flags & HM_CALL_JOB_DONE) {
        host->call.may_write = true;
        job_done(L, name, params);
    } else {
        int plugin;
        push_method(L, name, &plugin);
        host->box.plugin = plugin;
        lua_getfield(L, -1, "writes");
        lua_getfield(L, -2, "job");
        bool job = lua_toboolean(L, -1), part = args->flags & HM_CALL_JOB_RUN;
        host->call.may_write = lua_toboolean(L, -2) && !job && !part;
        if (job && !part && host->call.dry) { // both parts in one, as inside of another call
            host->call.may_write = true;
            host->box.depth = 1;
        }
        lua_pop(L, 3);
        hm_lua_push_json(L, params);
        hm_call_method(L, name, true);
    }
    if (!hm_lua_to_json_opt(L, -1, false, host->limits.output_bytes, &host->out, &err)) {
        if (err.code != HM_TOO_LARGE) luaL_error(L, "the result of %s: %s", name, err.message);
        note_method(L, name);
        hm_sandbox_stop(L, HM_STOP_OUTPUT, false);
    }
    return 0;
}

static bool begin(struct hm_host *host, const struct hm_call_args *args) {
    struct hm_call *c = &host->call;
    struct hm_error err = {0};
    uint8_t seed[32] = {0};
    hm_trouble_clear(host);
    hm_buf_clear(&host->out);
    c->number = args->number;
    c->now_ms = args->now_ms;
    c->may_write = c->testing = c->upgrading = false;
    c->dry = args->flags & HM_CALL_DRY;
    c->log_lines = 0;
    host->box.depth = 0;
    host->box.plugin = -1;
    if (args->seed.len)
        memcpy(seed, args->seed.ptr, args->seed.len < sizeof seed ? args->seed.len : sizeof seed);
    hm_random_seed(&c->random, seed);
    hm_who_recall(host, args->caller.len ? args->caller : HM_LIT("{}"), &c->who, &err);
    // Own writes are held outside of Lua: they get as much again as Lua has.
    size_t bytes = args->limits.memory_bytes && args->limits.memory_bytes < SIZE_MAX
                       ? (size_t)args->limits.memory_bytes
                       : SIZE_MAX;
    if (!err.code && hm_tx_begin(host->tx, host->store, host->types, bytes, &err) && args->past)
        hm_tx_back_to(host->tx, args->past, &err);
    if (!err.code) return true;
    host->trouble.code = err.code;
    memcpy(host->trouble.message, err.message, sizeof err.message);
    return false;
}

bool hm_call_run(struct hm_host *host, const struct hm_call_args *args) {
    struct hm_limits before = host->limits;
    host->limits = args->limits;
    bool ok = begin(host, args);
    if (ok) {
        lua_State *L = host->box.L;
        host->calls++;
        lua_pushcfunction(L, hm_traceback);
        lua_pushcfunction(L, run_protected);
        lua_pushlightuserdata(L, (void *)args);
        hm_sandbox_arm(&host->box, args->limits.cpu_ms, args->limits.wall_ms, args->limits.memory_bytes);
        int status = lua_pcall(L, 1, 0, -3);
        hm_sandbox_disarm(&host->box);
        if (status == LUA_OK && host->box.stop != HM_STOP_STATE) {
            host->box.stop = HM_STOP_NONE; // time run out behind the last instruction: the answer is whole
        } else {
            ok = false;
            if (status == LUA_OK) lua_pushnil(L);
            hm_trouble_take(host, status);
        }
        lua_settop(L, 0);
    }
    host->limits = before;
    return ok;
}

void hm_call_end(struct hm_host *host) {
    hm_tx_end(host->tx);
    hm_who_free(&host->call.who);
}
