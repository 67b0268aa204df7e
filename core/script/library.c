// The safe library. What always holds: a plugin's functions come from the lists below and nowhere else, the
// globals of a state are empty, and no function here works longer in C than its arguments are large.
#include "script/pattern.h"
#include "script/sandbox.h"
#include <assert.h>
#include <lauxlib.h>
#include <lualib.h>

static const char library_key = 'l';

// ---- the safe library --------------------------------------------------------------------------
// Functions of Lua's own that are wrapped: the wrapper looks at the arguments and then goes on into the
// original, in the same frame. They are looked up once, when the first state is made.

static struct {
    lua_CFunction rep, format, insert, remove, move, concat, unpack, sort, setmetatable, tostring;
} original;

static int safe_pcall(lua_State *L) {
    luaL_checkany(L, 1);
    lua_pushboolean(L, 1);
    lua_insert(L, 1);
    if (hm_sandbox_pcall(L, lua_gettop(L) - 2, LUA_MULTRET) == LUA_OK) return lua_gettop(L);
    lua_pushboolean(L, 0);
    lua_replace(L, 1);
    return 2;
}

static int safe_setmetatable(lua_State *L) {
    static const char *const refused[] = {"__gc", "__close", "__mode"};
    luaL_checktype(L, 1, LUA_TTABLE);
    if (lua_istable(L, 2))
        for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
            lua_pushstring(L, refused[i]);
            if (lua_rawget(L, 2) != LUA_TNIL)
                return luaL_error(L, "setmetatable: %s is not offered", refused[i]);
            lua_pop(L, 1);
        }
    hm_sandbox_check_own(L, 1);
    return original.setmetatable(L);
}

static bool has_address(lua_State *L, int index) {
    int t = lua_type(L, index);
    return t == LUA_TTABLE || t == LUA_TFUNCTION || t == LUA_TUSERDATA || t == LUA_TLIGHTUSERDATA;
}

// Addresses say something about the process and change from run to run.
static int safe_tostring(lua_State *L) {
    if (has_address(L, 1) && luaL_getmetafield(L, 1, "__tostring") == LUA_TNIL) {
        lua_pushstring(L, luaL_typename(L, 1));
        return 1;
    }
    lua_settop(L, lua_isnone(L, 1) ? 0 : 1);
    return original.tostring(L);
}

// '%p' and '%s' of a table say addresses, too.
static int safe_format(lua_State *L) {
    size_t len;
    const char *p = luaL_checklstring(L, 1, &len), *end = p + len;
    int top = lua_gettop(L), arg = 1;
    while ((p = memchr(p, '%', (size_t)(end - p))) != NULL && ++p < end) {
        if (*p == '%') {
            p++;
            continue;
        }
        p += strspn(p, "-+ #0123456789.");
        if (*p == 'p')
            return luaL_error(L, "string.format: '%%p' is not offered: an address differs from run to run");
        if (++arg > top || *p != 's' || !has_address(L, arg)) continue;
        lua_pushcfunction(L, safe_tostring);
        lua_pushvalue(L, arg);
        lua_call(L, 1, 1);
        lua_replace(L, arg);
    }
    return original.format(L);
}

static int safe_rep(lua_State *L) {
    size_t len, separator = 0;
    luaL_checklstring(L, 1, &len);
    lua_Integer n = luaL_checkinteger(L, 2);
    luaL_optlstring(L, 3, "", &separator);
    if (n > 0 && len + separator > 0 && (lua_Unsigned)n > HM_REP_MAX / (len + separator))
        return luaL_error(L, "string.rep: the result would be longer than %d bytes", HM_REP_MAX);
    if (n > HM_REP_MAX) return luaL_error(L, "string.rep: too many times");
    return original.rep(L);
}

// Metamethods of a table could make these loop in C, where no hook comes.
static void check_plain(lua_State *L, int index) {
    luaL_checktype(L, index, LUA_TTABLE);
    if (!lua_getmetatable(L, index)) return;
    static const char *const events[] = {"__index", "__newindex", "__len"};
    for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
        lua_pushstring(L, events[i]);
        if (lua_rawget(L, -2) != LUA_TNIL)
            luaL_error(L, "the table functions take plain tables, not one with %s", events[i]);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}
// How many elements behind place `arg` move when one comes or goes there. A table of sixty elements can say
// that it has 2^60.
static void check_moved(lua_State *L, int arg, const char *what) {
    lua_Unsigned n = lua_rawlen(L, 1);
    lua_Integer at = luaL_checkinteger(L, arg);
    if (n > HM_MOVE_MAX && (at < 1 || n - (lua_Unsigned)at > HM_MOVE_MAX))
        luaL_error(L, "%s: would move more than %d elements", what, HM_MOVE_MAX);
}
static int safe_insert(lua_State *L) {
    check_plain(L, 1);
    if (lua_gettop(L) == 3) check_moved(L, 2, "table.insert");
    return original.insert(L);
}
static int safe_remove(lua_State *L) {
    check_plain(L, 1);
    if (lua_gettop(L) > 1) check_moved(L, 2, "table.remove");
    return original.remove(L);
}
static int safe_concat(lua_State *L) {
    check_plain(L, 1);
    return original.concat(L);
}
static int safe_unpack(lua_State *L) {
    if (lua_istable(L, 1)) check_plain(L, 1);
    return original.unpack(L);
}

// As '<' does; for texts so long that comparing them takes more than sorting them.
static int less(lua_State *L) {
    hm_sandbox_check(L);
    lua_pushboolean(L, lua_compare(L, 1, 2, LUA_OPLT));
    return 1;
}

static int safe_sort(lua_State *L) {
    check_plain(L, 1);
    lua_Unsigned n = lua_rawlen(L, 1);
    if (n > HM_SORT_MAX) return luaL_error(L, "table.sort: more than %d elements", HM_SORT_MAX);
    if (!lua_isnoneornil(L, 2)) return original.sort(L);
    size_t longest = 0;
    for (lua_Unsigned i = 1; i <= n; i++) {
        if (lua_rawgeti(L, 1, (lua_Integer)i) == LUA_TSTRING && lua_rawlen(L, -1) > longest)
            longest = lua_rawlen(L, -1);
        lua_pop(L, 1);
    }
    if (longest > HM_SORT_TEXT) {
        lua_settop(L, 1);
        lua_pushcfunction(L, less);
    }
    return original.sort(L);
}
static int safe_move(lua_State *L) {
    check_plain(L, 1);
    lua_Integer from = luaL_checkinteger(L, 2), to = luaL_checkinteger(L, 3);
    if (lua_istable(L, 5)) check_plain(L, 5);
    if (to >= from && (lua_Unsigned)to - (lua_Unsigned)from >= HM_MOVE_MAX)
        return luaL_error(L, "table.move: more than %d elements", HM_MOVE_MAX);
    return original.move(L);
}

struct offered {
    const char *name;
    lua_CFunction safe;      // NULL: as Lua has it
    lua_CFunction *original; // where the wrapper finds it
};
static const struct offered base_list[] = {{"ipairs", NULL, NULL},
                                           {"pairs", NULL, NULL},
                                           {"next", NULL, NULL},
                                           {"select", NULL, NULL},
                                           {"tonumber", NULL, NULL},
                                           {"tostring", safe_tostring, &original.tostring},
                                           {"type", NULL, NULL},
                                           {"error", NULL, NULL},
                                           {"assert", NULL, NULL},
                                           {"rawget", NULL, NULL},
                                           {"rawequal", NULL, NULL},
                                           {"rawlen", NULL, NULL},
                                           {"pcall", safe_pcall, NULL},
                                           {"getmetatable", NULL, NULL},
                                           {"setmetatable", safe_setmetatable, &original.setmetatable},
                                           {NULL, NULL, NULL}};
static const struct offered string_list[] = {{"byte", NULL, NULL},
                                             {"char", NULL, NULL},
                                             {"format", safe_format, &original.format},
                                             {"len", NULL, NULL},
                                             {"lower", NULL, NULL},
                                             {"upper", NULL, NULL},
                                             {"reverse", NULL, NULL},
                                             {"sub", NULL, NULL},
                                             {"find", hm_pattern_find, NULL},
                                             {"match", hm_pattern_match, NULL},
                                             {"gmatch", hm_pattern_gmatch, NULL},
                                             {"gsub", hm_pattern_gsub, NULL},
                                             {"rep", safe_rep, &original.rep},
                                             {NULL, NULL, NULL}};
static const struct offered table_list[] = {{"insert", safe_insert, &original.insert},
                                            {"remove", safe_remove, &original.remove},
                                            {"concat", safe_concat, &original.concat},
                                            {"unpack", safe_unpack, &original.unpack},
                                            {"sort", safe_sort, &original.sort},
                                            {"move", safe_move, &original.move},
                                            {"pack", NULL, NULL},
                                            {NULL, NULL, NULL}};
static const struct offered math_list[] = {
    {"abs", NULL, NULL},        {"ceil", NULL, NULL}, {"floor", NULL, NULL}, {"fmod", NULL, NULL},
    {"modf", NULL, NULL},       {"exp", NULL, NULL},  {"log", NULL, NULL},   {"sqrt", NULL, NULL},
    {"sin", NULL, NULL},        {"cos", NULL, NULL},  {"tan", NULL, NULL},   {"asin", NULL, NULL},
    {"acos", NULL, NULL},       {"atan", NULL, NULL}, {"deg", NULL, NULL},   {"rad", NULL, NULL},
    {"max", NULL, NULL},        {"min", NULL, NULL},  {"ult", NULL, NULL},   {"type", NULL, NULL},
    {"tointeger", NULL, NULL},  {"pi", NULL, NULL},   {"huge", NULL, NULL},  {"maxinteger", NULL, NULL},
    {"mininteger", NULL, NULL}, {NULL, NULL, NULL}};
static const struct offered utf8_list[] = {
    {"char", NULL, NULL}, {"charpattern", NULL, NULL}, {"codepoint", NULL, NULL}, {"codes", NULL, NULL},
    {"len", NULL, NULL},  {"offset", NULL, NULL},      {NULL, NULL, NULL}};
static const struct {
    const char *name; // NULL: the names stand by themselves
    lua_CFunction open;
    const struct offered *list;
} libraries[] = {{NULL, luaopen_base, base_list},
                 {"string", luaopen_string, string_list},
                 {"table", luaopen_table, table_list},
                 {"math", luaopen_math, math_list},
                 {"utf8", luaopen_utf8, utf8_list}};

// Table at `from` (a library as Lua opens it) into the table at `to`, by the list.
static void copy_offered(lua_State *L, int from, int to, const struct offered *list) {
    for (const struct offered *o = list; o->name; o++) {
        lua_getfield(L, from, o->name);
        if (o->original && !*o->original) *o->original = lua_tocfunction(L, -1);
        if (o->safe) {
            lua_pop(L, 1);
            lua_pushcfunction(L, o->safe);
        }
        assert(!lua_isnil(L, -1));
        lua_setfield(L, to, o->name);
    }
}

static void copy_table(lua_State *L, int from, int to) {
    lua_pushnil(L);
    while (lua_next(L, from)) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, to);
    }
}

void hm_sandbox_library(lua_State *L) {
    int env = lua_gettop(L);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &library_key);
    int all = lua_gettop(L);
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        lua_rawgeti(L, all, (lua_Integer)i + 1);
        int from = lua_gettop(L);
        if (!libraries[i].name) {
            copy_table(L, from, env);
        } else {
            lua_newtable(L);
            copy_table(L, from, lua_gettop(L));
            lua_setfield(L, env, libraries[i].name);
        }
        lua_settop(L, all);
    }
    lua_settop(L, env);
}

// Runs protected: fills the registry and empties the globals.
int hm_library_open(lua_State *L) {
    lua_newtable(L);
    int all = lua_gettop(L);
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        lua_pushcfunction(L, libraries[i].open);
        lua_call(L, 0, 1);
        int from = lua_gettop(L);
        lua_newtable(L);
        copy_offered(L, from, lua_gettop(L), libraries[i].list);
        lua_rawseti(L, all, (lua_Integer)i + 1);
        lua_settop(L, all);
    }
    // ("x"):rep() goes through the safe functions, in a table that nobody can reach.
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1);
    lua_newtable(L);
    lua_rawgeti(L, all, 2);
    copy_table(L, lua_gettop(L), lua_gettop(L) - 1);
    lua_pop(L, 1);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_settop(L, all);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &library_key);
    lua_newtable(L);
    lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    return 0;
}
