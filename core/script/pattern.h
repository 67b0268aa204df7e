// Lua's patterns (§6.4.1 of its manual) with a limit of steps: string.find, match, gmatch and gsub of our
// own, with the same results and the same errors as Lua 5.4's, for any pattern that Lua's get done with.
// tests/unit/test_script_pattern.c compares both.
#pragma once
#include <lua.h>

// Steps of one call of find, match or gsub, and of one turn of gmatch: characters looked at, more or less.
// An honest pattern takes a few for every character of the text; this many take some 50 ms.
#define HM_PATTERN_STEPS 10000000u

int hm_pattern_find(lua_State *L);
int hm_pattern_match(lua_State *L);
int hm_pattern_gmatch(lua_State *L);
int hm_pattern_gsub(lua_State *L);
