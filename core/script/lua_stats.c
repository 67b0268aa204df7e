// stats: honest numbers about few people (core/stats). A value that cannot be computed is absent, and
// `why_not` says why.
#include "script/host.h"
#include "stats/stats.h"
#include <lauxlib.h>
#include <math.h>

#define VALUES_MAX 1000000

// The list of numbers at index as an array that Lua owns (it is pushed).
static double *check_numbers(lua_State *L, int index, size_t *n, const char *what) {
    luaL_checktype(L, index, LUA_TTABLE);
    *n = lua_rawlen(L, index);
    if (*n > VALUES_MAX) luaL_error(L, "%s: more than %d values", what, VALUES_MAX);
    double *out = lua_newuserdatauv(L, (*n + 1) * sizeof *out, 0);
    for (size_t i = 0; i < *n; i++) {
        if (lua_rawgeti(L, index, (lua_Integer)i + 1) != LUA_TNUMBER || !isfinite(lua_tonumber(L, -1)))
            luaL_error(L, "%s: element %d is not a number", what, (int)i + 1);
        out[i] = lua_tonumber(L, -1);
        lua_pop(L, 1);
    }
    return out;
}

// Sets table.name, or says in table.why_not why it is not there. The table is on the top.
static void set_value(lua_State *L, const char *name, struct hm_value v) {
    if (!v.why_not) {
        lua_pushnumber(L, v.value);
        lua_setfield(L, -2, name);
        return;
    }
    if (lua_getfield(L, -1, "why_not") != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_setfield(L, -3, "why_not");
    }
    lua_pushstring(L, v.why_not);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
}

static void push_described(lua_State *L, struct hm_described d) {
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, (lua_Integer)d.n);
    lua_setfield(L, -2, "n");
    set_value(L, "mean", d.mean);
    set_value(L, "sd", d.sd);
}

static void set_interval(lua_State *L, bool has, struct hm_interval interval) {
    if (!has) return;
    lua_pushnumber(L, interval.low);
    lua_setfield(L, -2, "low");
    lua_pushnumber(L, interval.high);
    lua_setfield(L, -2, "high");
}

static int stats_describe(lua_State *L) {
    size_t n;
    lua_settop(L, 1);
    double *x = check_numbers(L, 1, &n, "stats.describe");
    push_described(L, hm_stats_describe(x, n));
    return 1;
}

static int stats_paired(lua_State *L) {
    size_t n, m;
    lua_settop(L, 2);
    double *before = check_numbers(L, 1, &n, "stats.paired: before"),
           *after = check_numbers(L, 2, &m, "stats.paired: after");
    if (n != m)
        return luaL_error(L, "stats.paired: %d before and %d after: not the same people", (int)n, (int)m);
    struct hm_paired p = hm_stats_paired(before, after, n);
    lua_createtable(L, 0, 9);
    lua_pushinteger(L, (lua_Integer)n);
    lua_setfield(L, -2, "n");
    push_described(L, p.before);
    lua_setfield(L, -2, "before");
    push_described(L, p.after);
    lua_setfield(L, -2, "after");
    push_described(L, p.change);
    set_interval(L, p.has_interval, p.interval);
    lua_setfield(L, -2, "change");
    set_value(L, "t", p.t);
    set_value(L, "p", p.p);
    set_value(L, "d_av", p.d_av);
    set_value(L, "d_z", p.d_z);
    return 1;
}

static int stats_welch(lua_State *L) {
    size_t n, m;
    lua_settop(L, 2);
    double *a = check_numbers(L, 1, &n, "stats.welch: a"), *b = check_numbers(L, 2, &m, "stats.welch: b");
    struct hm_welch w = hm_stats_welch(a, n, b, m);
    lua_createtable(L, 0, 10);
    push_described(L, w.a);
    lua_setfield(L, -2, "a");
    push_described(L, w.b);
    lua_setfield(L, -2, "b");
    set_value(L, "mean", w.difference);
    set_interval(L, w.has_interval, w.interval);
    set_value(L, "t", w.t);
    set_value(L, "df", w.df);
    set_value(L, "p", w.p);
    set_value(L, "g", w.g);
    return 1;
}

static int value_or_reason(lua_State *L, struct hm_value v) {
    if (!v.why_not) {
        lua_pushnumber(L, v.value);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, v.why_not);
    return 2;
}

static int stats_alpha(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    size_t n = lua_rawlen(L, 1), k = 0;
    lua_settop(L, 1);
    if (n && lua_rawgeti(L, 1, 1) == LUA_TTABLE) k = lua_rawlen(L, -1);
    lua_settop(L, 1);
    if (k && n > VALUES_MAX / k) return luaL_error(L, "stats.alpha: more than %d answers", VALUES_MAX);
    double *all = lua_newuserdatauv(L, (n * k + 1) * sizeof *all, 0);
    for (size_t i = 0; i < n; i++) {
        size_t len;
        lua_rawgeti(L, 1, (lua_Integer)i + 1);
        double *row = check_numbers(L, 3, &len, "stats.alpha");
        if (len != k)
            return luaL_error(L, "stats.alpha: person %d has %d answers, the first has %d", (int)i + 1,
                              (int)len, (int)k);
        for (size_t j = 0; j < k; j++)
            all[i * k + j] = row[j];
        lua_settop(L, 2);
    }
    return value_or_reason(L, hm_stats_alpha(all, n, k));
}

static int stats_reliable_change(lua_State *L) {
    return value_or_reason(L, hm_stats_reliable_change(luaL_checknumber(L, 1), luaL_checknumber(L, 2),
                                                       luaL_checknumber(L, 3), luaL_checknumber(L, 4)));
}

static const struct hm_lua_fn stats_fns[] = {
    {"describe", "values: number[] -> {n: integer, mean: number?, sd: number?, why_not: table?}",
     "Mean and spread (n - 1).", stats_describe, NULL},
    {"paired",
     "before: number[], after: number[] -> {n: integer, before: table, after: table, change: table, t: "
     "number?, p: number?, d_av: "
     "number?, d_z: number?, why_not: table?}",
     "The same people twice, in the same order: mean and sd of both, the change with its 95 % interval "
     "(change.low, change.high), and "
     "effect sizes.",
     stats_paired, NULL},
    {"welch",
     "a: number[], b: number[] -> {a: table, b: table, mean: number?, low: number?, high: number?, t: "
     "number?, df: number?, p: "
     "number?, g: number?, why_not: table?}",
     "Two groups: how much the mean of the first is above that of the second, with its 95 % interval, and "
     "Hedges' g. For changes, give "
     "the changes of each.",
     stats_welch, NULL},
    {"alpha", "answers: number[][] -> number?, string?",
     "Cronbach's alpha of people by items, complete answers only; or nil and why.", stats_alpha, NULL},
    {"reliable_change", "before: number, after: number, sd: number, reliability: number -> number?, string?",
     "The change in units of its error; beyond 1.96 it is more than chance. Or nil and why.",
     stats_reliable_change, NULL},
    {0}};
const struct hm_lua_module hm_module_stats = {"stats", "Numbers about few people.", stats_fns, false};
