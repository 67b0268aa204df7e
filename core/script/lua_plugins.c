// plugins: the declarations that are active, for services that run what others declare (questionnaires,
// matching rules).
#include "script/host.h"
#include "script/lua_json.h"
#include <lauxlib.h>

// Pushes the list of active declarations of the kind at index, nil when there is none.
static int push_kind(lua_State *L, int index) {
    const char *kind = hm_kind_of(luaL_checkstring(L, index));
    if (!kind) luaL_error(L, "there is no kind of plugin '%s'", lua_tostring(L, index));
    lua_rawgetp(L, LUA_REGISTRYINDEX, &hm_reg_active);
    int t = lua_getfield(L, -1, kind);
    lua_remove(L, -2);
    return t;
}

static int plugins_all(lua_State *L) {
    lua_settop(L, 1);
    lua_newtable(L);
    hm_lua_mark_array(L, -1);
    if (push_kind(L, 1) == LUA_TTABLE) {
        lua_Integer n = (lua_Integer)lua_rawlen(L, 3);
        for (lua_Integer i = 1; i <= n; i++) {
            lua_rawgeti(L, 3, i);
            lua_rawseti(L, 2, i);
        }
    }
    lua_settop(L, 2);
    return 1;
}

static int plugins_get(lua_State *L) {
    luaL_checkstring(L, 2);
    lua_settop(L, 2);
    if (push_kind(L, 1) != LUA_TTABLE) return 0;
    lua_Integer n = (lua_Integer)lua_rawlen(L, 3);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, 3, i);
        lua_getfield(L, -1, "id");
        if (lua_rawequal(L, -1, 2)) {
            lua_pop(L, 1);
            return 1;
        }
        lua_pop(L, 2);
    }
    lua_pushnil(L);
    return 1;
}

static const struct hm_lua_fn plugins_fns[] = {
    {"all", "kind: string -> table[]",
     "All active declarations of a kind: service, matcher, activity, questionnaire, report.", plugins_all,
     NULL},
    {"get", "kind: string, id: string -> table?", "One of them, or nil.", plugins_get, NULL},
    {0}};
const struct hm_lua_module hm_module_plugins = {"plugins", "What other plugins declare.", plugins_fns, false};
