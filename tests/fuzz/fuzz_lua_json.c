// JSON to Lua and back: what parses becomes a value, the value becomes JSON again, and that text comes back
// as itself.
#include "script/lua_json.h"
#include <lauxlib.h>
#include <stdlib.h>

static bool round(lua_State *L, struct hm_str text, struct hm_buf *out) {
    struct hm_json value;
    struct hm_error err = {0};
    if (!hm_json_parse(text, &value, &err)) return false;
    lua_settop(L, 0);
    hm_lua_push_json(L, value);
    bool ok = hm_lua_to_json(L, 1, out, &err);
    if (lua_gettop(L) != 1) abort();
    return ok; // false: a number out of range became infinity
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static lua_State *L;
    struct hm_buf first = {0}, second = {0};
    if (!L) {
        L = luaL_newstate();
        hm_lua_json_open(L);
    }
    if (round(L, (struct hm_str){(const char *)data, size}, &first)) {
        // Of the same name twice the first counts, nulls in objects go: from here on nothing may change.
        if (!round(L, hm_buf_view(&first), &second) || !hm_str_eq(hm_buf_view(&first), hm_buf_view(&second)))
            abort();
    }
    lua_settop(L, 0);
    hm_buf_free(&first);
    hm_buf_free(&second);
    return 0;
}
