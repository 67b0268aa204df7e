// award: what somebody has earned, so that it can be counted. Records of the core's type "award", which
// nothing but these functions writes; the server looks once more at who lets them be written. What always
// holds: for a person, a kind and its evidence there is one award, however often it is given (its id is made
// of the three).
#include "base/code.h"
#include "script/host.h"
#include "script/lua_json.h"
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>

#define EVIDENCE_MAX 20
#define TYPE "award"

static void require_staff(lua_State *L) {
    static const char *const may[] = {"coordinator", "coach", "administrator"};
    struct hm_host *host = hm_host_of(L);
    for (size_t i = 0; i < sizeof may / sizeof *may; i++)
        if (hm_who_has_role(&host->call.who, hm_str_of(may[i]))) return;
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "coordinator, coach or administrator");
    lua_setfield(L, -2, "need");
    hm_raise(L, HM_FORBIDDEN, NULL, -1);
}

static void check_writing(lua_State *L, const char *what) {
    if (!hm_host_of(L)->call.may_write)
        luaL_error(
            L, "%s: this method may not write: it does not declare writes=true, or is the long part of a job",
            what);
    require_staff(L);
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// The list at index as "type:id" texts on the stack, sorted; gives how many.
static int push_evidence(lua_State *L, int index, const char *out[EVIDENCE_MAX]) {
    lua_Integer n = lua_istable(L, index) ? (lua_Integer)lua_rawlen(L, index) : 0;
    if (n < 1 || n > EVIDENCE_MAX)
        luaL_error(L, "award.give: evidence: a list of 1 to %d records {type=, id=}", EVIDENCE_MAX);
    luaL_checkstack(L, EVIDENCE_MAX + 8, NULL);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, index, i);
        if (!lua_istable(L, -1) || lua_getfield(L, -1, "type") != LUA_TSTRING ||
            lua_getfield(L, -2, "id") != LUA_TSTRING)
            luaL_error(L, "award.give: evidence[%d]: must be a record, or its {type=, id=}", (int)i);
        struct hm_str type = hm_check_str(L, -2), id = hm_check_str(L, -1);
        if (!hm_name_valid(type) || !hm_id_valid(id))
            luaL_error(L, "award.give: evidence[%d]: '%s:%s' cannot be a record", (int)i, type.ptr, id.ptr);
        out[i - 1] = lua_pushfstring(L, "%s:%s", type.ptr, id.ptr);
        lua_replace(L, -4);
        lua_pop(L, 2);
    }
    qsort(out, (size_t)n, sizeof *out, by_text);
    return (int)n;
}

// Options at 1: {person, kind, title, amount, unit, evidence}. The data is pushed, and its id made.
static void push_data(lua_State *L, char id[65]) {
    static const char *const known[] = {"person", "kind", "title", "amount", "unit", "evidence"};
    const char *evidence[EVIDENCE_MAX];
    struct hm_host *host = hm_host_of(L);
    for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) {
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof *known && lua_type(L, -2) == LUA_TSTRING; i++)
            found = found || strcmp(lua_tostring(L, -2), known[i]) == 0;
        if (!found)
            luaL_error(L, "award.give: knows person, kind, title, amount, unit, evidence, and nothing else");
    }
    lua_getfield(L, 1, "person");
    lua_getfield(L, 1, "kind");
    lua_getfield(L, 1, "title");
    lua_getfield(L, 1, "amount");
    lua_getfield(L, 1, "unit");
    lua_getfield(L, 1, "evidence"); // 2 to 7
    luaL_argcheck(L, lua_type(L, 2) == LUA_TSTRING && hm_id_valid(hm_check_str(L, 2)), 1,
                  "person: the id of a person");
    luaL_argcheck(L, lua_type(L, 3) == LUA_TSTRING && hm_name_valid(hm_check_str(L, 3)), 1,
                  "kind: a name of small letters, digits, '-', '_' and '.'");
    luaL_argcheck(L, lua_type(L, 4) == LUA_TSTRING || lua_istable(L, 4), 1,
                  "title: a text, or texts by language");
    luaL_argcheck(L, lua_isnil(L, 5) || (lua_type(L, 5) == LUA_TNUMBER && isfinite(lua_tonumber(L, 5))), 1,
                  "amount: a number");
    luaL_argcheck(L, lua_isnil(L, 6) || (lua_type(L, 6) == LUA_TSTRING && hm_check_str(L, 6).len <= 40), 1,
                  "unit: a text of up to 40 characters");
    int n = push_evidence(L, 7, evidence);
    struct hm_buf *key = hm_scratch(host, 1);
    hm_buf_printf(key, "%s\n%s", lua_tostring(L, 2), lua_tostring(L, 3));
    for (int i = 0; i < n; i++)
        hm_buf_printf(key, "\n%s", evidence[i]);
    hm_secret_hash(hm_buf_view(key), id);
    id[32] = '\0';
    lua_createtable(L, 0, 7);
    for (int i = 0; i < 5; i++) {
        lua_pushvalue(L, 2 + i);
        lua_setfield(L, -2, known[i]);
    }
    lua_createtable(L, n, 0);
    hm_lua_mark_array(L, -1);
    for (int i = 0; i < n; i++) {
        lua_pushstring(L, evidence[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "evidence");
    lua_pushinteger(L, (lua_Integer)host->call.now_ms);
    lua_setfield(L, -2, "given");
}

static int award_give(lua_State *L) {
    struct hm_host *host = hm_host_of(L);
    struct hm_error err = {0};
    struct hm_view view;
    char id[65];
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    check_writing(L, "award.give");
    push_data(L, id);
    bool there = hm_tx_get(host->tx, HM_LIT(TYPE), hm_str_of(id), &view, &err);
    if (!there && err.code != HM_NOT_FOUND) hm_raise_error(L, &err);
    if (!there) {
        struct hm_buf *audience = hm_scratch(host, 2);
        struct hm_json data = hm_check_json(L, -1, 0, TYPE);
        const char *own = lua_pushfstring(L, "person:%s", lua_tostring(L, 2));
        hm_packed_add(audience, hm_str_of(own));
        hm_packed_add(audience, HM_LIT("role:coordinator"));
        hm_packed_add(audience, HM_LIT("role:administrator"));
        struct hm_write_args args = {.type = HM_LIT(TYPE),
                                     .id = hm_str_of(id),
                                     .data = data.raw,
                                     .audience = hm_buf_view(audience),
                                     .create = true,
                                     .by = hm_str_of(host->call.who.person),
                                     .now_ms = host->call.now_ms};
        if (!hm_tx_put(host->tx, &args, &err) || !hm_tx_get(host->tx, args.type, args.id, &view, &err))
            hm_raise_error(L, &err);
    }
    hm_record_push(L, &view);
    lua_pushboolean(L, !there);
    return 2;
}

static int award_list(lua_State *L) {
    struct hm_host *host = hm_host_of(L);
    struct hm_error err = {0};
    struct hm_tx_scan *scan = NULL;
    struct hm_view view;
    lua_Integer n = 0;
    hm_check_str(L, 1);
    lua_settop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, 1);
    lua_rawseti(L, 2, 1);
    struct hm_tx_range range = {
        .type = hm_types_find(host->types, HM_LIT(TYPE)), .descending = true, .points = true};
    range.index = hm_type_index(range.type, HM_LIT("person"));
    range.equals = hm_check_json(L, 2, 0, "award.list");
    lua_newtable(L);
    hm_lua_mark_array(L, -1);
    if (!hm_tx_scan_begin(host->tx, &range, &scan, &err)) hm_raise_error(L, &err);
    while (hm_tx_scan_next(scan, &view)) { // should a limit end the call here, hm_tx_end closes the scan
        hm_record_push(L, &view);
        lua_rawseti(L, 3, ++n);
    }
    hm_tx_scan_end(scan);
    return 1;
}

static int award_revoke(lua_State *L) {
    struct hm_error err = {0};
    struct hm_str id = hm_check_str(L, 1);
    check_writing(L, "award.revoke");
    if (!hm_tx_delete(hm_host_of(L)->tx, HM_LIT(TYPE), id, &err)) hm_raise_error(L, &err);
    return 0;
}

#define STAFF "coordinator, coach or administrator; reactions and timers have it"
static const struct hm_lua_fn award_fns[] = {{"give",
                                              "award: {person: string, kind: string, title: table|string, "
                                              "amount: number?, unit: string?, evidence: {type: "
                                              "string, id: string}[]} -> Record, boolean",
                                              "Gives it once: for the same person, kind and evidence the "
                                              "award that is there already is returned, and false. "
                                              "evidence: the records that show it was earned, 1 to 20.",
                                              award_give, STAFF, "forbidden, with `need`"},
                                             {"list", "person: string -> Record[]",
                                              "What somebody has earned, the newest first. Its data: person, "
                                              "kind, title, amount, unit, evidence (\"type:id\"), "
                                              "given.",
                                              award_list, NULL, NULL},
                                             {"revoke", "id: string",
                                              "Takes it back; the change log remembers that it was there.",
                                              award_revoke, STAFF, "forbidden, with `need`; not found"},
                                             {0}};
const struct hm_lua_module hm_module_award = {"award", "What somebody has earned, each thing counted once.",
                                              award_fns, false};
