// People and rules of Lua as columns; for lua_match.c.
#pragma once
#include "script/columns.h"
#include <lua.h>

#define HM_PEOPLE_MAX 200000
#define HM_COLUMN_POINTS_MAX 10000

// Rule, mentees and mentors at 1, 2 and 3: {id=, data=} each. c must be empty and be freed by its owner, also
// after an error.
void hm_columns_read(lua_State *L, struct hm_columns *c);
// Pushes data[path] of person i (from 0) in the list at `people`; "mentoring.capacity" goes inside; nil when
// it is not there.
void hm_person_value(lua_State *L, int people, int32_t i, const char *path);
