// Declared shapes of data: a schema is a Lua table {schema="text", required=true, max=200, …} as
// plugins/lib/kinds/schema.lua makes it. Here values are checked against it, and it becomes JSON Schema for
// the catalogue.
//
// Kinds: text (min, max = characters), integer, number (min, max), boolean, choice (values), list (of, min,
// max = elements), object (fields, open), map (of, max), date ("2026-09-01"), time (whole milliseconds since
// 1970), ref (to = record type: an id), translated (text, or {uz=…, ru=…}), any.
#pragma once
#include "base/buf.h"
#include <lua.h>

#define HM_FAULTS_MAX 32

enum hm_fault_kind { HM_FAULT_VALUE, HM_FAULT_UNKNOWN, HM_FAULT_MISSING };
struct hm_fault {
    enum hm_fault_kind kind;
    char path[160];
    char message[240];
};
// What was found wrong, all of it, in the order of the paths.
struct hm_faults {
    struct hm_fault list[HM_FAULTS_MAX];
    unsigned count; // may be more than the list holds
};
// Checks the value at `value` against the object fields in the table at `fields` (name -> schema). Fills in
// defaults and turns 3.0 into 3 where an integer is asked for: the table is changed. open: names that are not
// declared are let be. lenient: for record data that comes from the store, {sealed=true} stands for any
// value. Raises on lack of memory only.
struct hm_schema_options {
    const char *prefix; // of the paths, or ""
    bool open, sealed;
    bool patch; // what is not given stays away, at any depth: no defaults, and nothing inside of a value is
                // required
};
bool hm_schema_check(lua_State *L, int fields, int value, const struct hm_schema_options *options,
                     struct hm_faults *faults);
// Pushes {{path=,message=},…}.
void hm_faults_push(lua_State *L, const struct hm_faults *faults);
// Appends JSON Schema (draft 2020-12) of the schema at index, or of an object with the fields at index. out
// must belong to somebody who outlives an error of Lua.
void hm_schema_json(lua_State *L, int schema, struct hm_buf *out);
void hm_schema_fields_json(lua_State *L, int fields, bool open, struct hm_buf *out);
// Pushes the list of the names (text) in the table at index, sorted: what is made from declarations is always
// the same text.
void hm_push_names(lua_State *L, int table);
