// JSON to Lua values and back. Used by the plugin host and by `hamroh run`; knows nothing of either.
//
// JSON to Lua: integers stay integers (1 is 1, 1.0 and 1e3 are floats); a null member of an object is absent,
// a null in an array is the null value; every array carries a marker, so that an empty one goes back as []
// and not as {}. Lua to JSON: a table with a raw length or the marker is an array, any other an object,
// written in the order of its names, so that the same value always gives the same text.
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include "base/json.h"
#include <lua.h>

// Once for a state, before anything else here. Raises on lack of memory only.
void hm_lua_json_open(lua_State *L);
// Pushes one checked value. Raises on lack of memory only; nothing is lost then.
void hm_lua_push_json(lua_State *L, struct hm_json value);
// Appends the value at index as JSON. Never raises and leaves the stack as it was. On failure out is as
// before, and err (HM_PARAMS, or HM_TOO_LARGE) names the path: functions and other non-values, NaN and
// infinity, text that is not UTF-8, cycles (as depth beyond HM_JSON_DEPTH), arrays with names in them. No
// metamethod is ever called.
bool hm_lua_to_json(lua_State *L, int index, struct hm_buf *out, struct hm_error *err);
// As above, but leaves members out that are functions or other non-values: declarations as data. Text longer
// than max: HM_TOO_LARGE.
bool hm_lua_to_json_opt(lua_State *L, int index, bool skip_code, size_t max, struct hm_buf *out,
                        struct hm_error *err);

void hm_lua_push_null(lua_State *L); // the null value (a light userdata)
bool hm_lua_is_null(lua_State *L, int index);
void hm_lua_mark_array(lua_State *L,
                       int index); // the table at index is an array; raises on lack of memory only
bool hm_lua_is_array_marked(lua_State *L, int index);
