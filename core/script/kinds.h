// The constructors of plugins/lib/kinds/*.lua as the editor shows them. They are written in Lua; a test holds
// these rows to them.
#pragma once
#include "script/host.h"

// need: "value" for a row that is a table and not a function.
struct hm_constructors {
    const char *kind; // "service"; the file is lib/kinds/<kind>.lua
    const char *doc;
    const struct hm_lua_fn *rows;
};
extern const struct hm_constructors hm_constructor_groups[]; // ended by kind NULL
