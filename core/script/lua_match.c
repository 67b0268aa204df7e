// match: a declared rule, people as {id=, data=, free=}, and the exact assignment of core/match. The rule is
// compiled to columns (columns.h) once a call; memory that C holds meanwhile hangs on a userdata of Lua, so
// that an error in between loses nothing.
#include "match/match.h"
#include "script/host.h"
#include "script/lua_columns.h"
#include "script/lua_json.h"
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>

#define KEEP_BEST 200 // edges a mentee, when there are more mentors than that
#define FLOOR_EDGES_MAX                                                                                      \
    300000 // the worst pair is made as good as can be up to this size: it costs about a dozen solutions

static const char work_meta[] = "hamroh.match";

struct edge {
    int32_t mentor, points;
};
struct work {
    struct hm_columns c;
    int32_t *points, *seats, *priority;
    uint8_t *why;
    int64_t *row;
    struct edge *edges; // best first within a mentee
    size_t edge_count, edge_cap;
    int32_t *fits;      // mentors who may be paired with the mentee
    uint8_t *objection; // the commonest `must` against the others (1 …), HM_WHY_SELF, 0 none
    int32_t *fixed;     // mentor given beforehand, or -1
    int32_t *edge_mentor, *edge_points; // for the solver
    int64_t *solver_row;
    struct hm_match_solution solution;
    bool solved, pruned;
};

static int work_free(lua_State *L) {
    struct work *w = lua_touserdata(L, 1);
    hm_columns_free(&w->c);
    free(w->points);
    free(w->seats);
    free(w->priority);
    free(w->why);
    free(w->row);
    free(w->edges);
    free(w->fits);
    free(w->objection);
    free(w->fixed);
    free(w->edge_mentor);
    free(w->edge_points);
    free(w->solver_row);
    if (w->solved) hm_match_free(&w->solution);
    *w = (struct work){0};
    return 0;
}

static struct work *push_work(lua_State *L) {
    struct work *w = lua_newuserdatauv(L, sizeof *w, 0);
    *w = (struct work){0};
    if (luaL_newmetatable(L, work_meta)) {
        lua_pushcfunction(L, work_free);
        lua_setfield(L, -2, "__gc");
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
    }
    lua_setmetatable(L, -2);
    return w;
}
static const char *text_of(lua_State *L, int table, const char *name) {
    const char *s = lua_getfield(L, table, name) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    lua_pop(L, 1); // the declaration holds it
    return s;
}

// Rule and two lists at 1, 2, 3. Leaves the work on the top.
static struct work *compile(lua_State *L) {
    struct work *w = push_work(L);
    hm_columns_read(L, &w->c);
    w->points = hm_alloc_array((size_t)w->c.mentors, sizeof *w->points);
    w->why = hm_alloc_array((size_t)w->c.mentors, 1);
    return w;
}

// ---- one pair ----------------------------------------------------------------------------------

// Pushes the word of the `must` that is against a pair.
static void push_why(lua_State *L, uint8_t why) {
    if (why == HM_WHY_SELF || why == 0) {
        lua_pushstring(L, why ? "self" : "nobody");
        return;
    }
    lua_getfield(L, 1, "must");
    lua_rawgeti(L, -1, why);
    lua_getfield(L, -1, "must");
    lua_replace(L, -3);
    lua_pop(L, 1);
}

static void push_parts(lua_State *L, const struct work *w, int32_t mentee, int32_t mentor) {
    int32_t parts[HM_CRITERIA_MAX];
    hm_columns_parts(&w->c, mentee, mentor, parts);
    lua_createtable(L, (int)w->c.prefer_count, 0);
    hm_lua_mark_array(L, -1);
    for (unsigned k = 0; k < w->c.prefer_count; k++) {
        lua_pushinteger(L, parts[k]);
        lua_rawseti(L, -2, (lua_Integer)k + 1);
    }
}

// The rule's own function pair(mentee, mentor, points) -> points, text: false = not to be paired. Rule at 1;
// people at 2 and 3.
static bool ask_pair(lua_State *L, int32_t mentee, int32_t mentor, int32_t *points) {
    if (lua_getfield(L, 1, "pair") != LUA_TFUNCTION) {
        lua_pop(L, 1);
        return true;
    }
    lua_rawgeti(L, 2, (lua_Integer)mentee + 1);
    lua_getfield(L, -1, "data");
    lua_remove(L, -2);
    lua_rawgeti(L, 3, (lua_Integer)mentor + 1);
    lua_getfield(L, -1, "data");
    lua_remove(L, -2);
    lua_pushinteger(L, *points);
    lua_call(L, 3, 1);
    bool may = !lua_isboolean(L, -1) || lua_toboolean(L, -1);
    if (lua_type(L, -1) == LUA_TNUMBER) {
        double v = floor(lua_tonumber(L, -1));
        *points = v < 0 ? 0 : v > HM_MATCH_POINTS_MAX ? HM_MATCH_POINTS_MAX : (int32_t)v;
    }
    lua_pop(L, 1);
    return may;
}

static int match_judge(lua_State *L) {
    lua_settop(L, 3);
    for (int i = 2; i <= 3; i++) { // one of each, as lists
        luaL_checktype(L, i, LUA_TTABLE);
        lua_createtable(L, 1, 0);
        lua_pushvalue(L, i);
        lua_rawseti(L, -2, 1);
        lua_replace(L, i);
    }
    struct work *w = compile(L);
    hm_columns_row(&w->c, 0, w->points, w->why);
    bool may = !w->why[0];
    int32_t points = w->points[0];
    lua_createtable(L, 0, 4);
    if (!may) {
        push_why(L, w->why[0]);
        lua_setfield(L, -2, "why");
        lua_newtable(L);
        hm_lua_mark_array(L, -1);
    } else if (!ask_pair(L, 0, 0, &points)) {
        may = false;
        points = 0;
        lua_pushliteral(L, "pair");
        lua_setfield(L, -2, "why");
        lua_newtable(L);
        hm_lua_mark_array(L, -1);
    } else {
        push_parts(L, w, 0, 0);
    }
    lua_setfield(L, -2, "parts");
    lua_pushboolean(L, may);
    lua_setfield(L, -2, "may");
    lua_pushinteger(L, points);
    lua_setfield(L, -2, "points");
    return 1;
}

// ---- all pairs ---------------------------------------------------------------------------------

static int best_first(const void *a, const void *b) {
    const struct edge *x = a, *y = b;
    if (x->points != y->points) return x->points > y->points ? -1 : 1;
    return (x->mentor > y->mentor) - (x->mentor < y->mentor);
}

static void reserve_edges(struct work *w, size_t more) {
    if (w->edge_count + more <= w->edge_cap) return;
    w->edge_cap = (w->edge_count + more) * 2;
    w->edges = hm_realloc(w->edges, w->edge_cap * sizeof *w->edges);
}

// Which `must` stands most often against the mentors; the first of equals.
static uint8_t commonest(const struct work *w) {
    uint32_t counts[256] = {0};
    uint8_t most = 0;
    for (int32_t j = 0; j < w->c.mentors; j++)
        if (w->why[j] && w->why[j] != HM_WHY_SELF) counts[w->why[j]]++;
    for (unsigned k = 1; k <= w->c.must_count; k++)
        if (counts[k] > counts[most]) most = (uint8_t)k;
    return most;
}

// Fills edges, fits and objections: the best `keep` mentors of each mentee.
static void score_all(lua_State *L, struct work *w, int32_t keep) {
    bool ask = lua_getfield(L, 1, "pair") == LUA_TFUNCTION;
    lua_pop(L, 1);
    size_t n = (size_t)w->c.mentees;
    w->row = hm_alloc_array(n + 1, sizeof *w->row);
    w->fits = hm_alloc_array(n, sizeof *w->fits);
    w->objection = hm_alloc_array(n, 1);
    for (int32_t i = 0; i < w->c.mentees; i++) {
        hm_sandbox_check(L);
        w->row[i] = (int64_t)w->edge_count;
        hm_columns_row(&w->c, i, w->points, w->why);
        w->objection[i] = commonest(w);
        reserve_edges(w, (size_t)w->c.mentors);
        struct edge *mine = w->edges + w->edge_count;
        int32_t count = 0;
        for (int32_t j = 0; j < w->c.mentors; j++)
            if (!w->why[j]) mine[count++] = (struct edge){j, w->points[j]};
        w->fits[i] = count;
        qsort(mine, (size_t)count, sizeof *mine, best_first);
        if (count > keep) {
            count = keep;
            w->pruned = true;
        }
        if (ask) { // the rule's function sees the short list only
            int32_t kept = 0;
            for (int32_t k = 0; k < count; k++) {
                struct edge e = mine[k];
                if (ask_pair(L, i, e.mentor, &e.points)) mine[kept++] = e;
            }
            count = kept;
            qsort(mine, (size_t)count, sizeof *mine, best_first);
        }
        w->edge_count += (size_t)count;
    }
    w->row[n] = (int64_t)w->edge_count;
}

static int match_score(lua_State *L) {
    lua_settop(L, 4);
    lua_Integer best = 5;
    if (lua_istable(L, 4)) {
        lua_getfield(L, 4, "best");
        best = luaL_optinteger(L, -1, 5);
        luaL_argcheck(L, best >= 1 && best <= 1000, 4, "best: from 1 to 1000");
    }
    lua_settop(L, 3);
    struct work *w = compile(L);
    score_all(L, w, (int32_t)best);
    lua_createtable(L, w->c.mentees, 0);
    hm_lua_mark_array(L, -1);
    for (int32_t i = 0; i < w->c.mentees; i++) {
        lua_newtable(L);
        hm_lua_mark_array(L, -1);
        for (int64_t e = w->row[i]; e < w->row[i + 1]; e++) {
            lua_createtable(L, 0, 3);
            lua_pushinteger(L, w->edges[e].mentor + 1);
            lua_setfield(L, -2, "mentor");
            lua_pushinteger(L, w->edges[e].points);
            lua_setfield(L, -2, "points");
            push_parts(L, w, i, w->edges[e].mentor);
            lua_setfield(L, -2, "parts");
            lua_rawseti(L, -2, (lua_Integer)(e - w->row[i]) + 1);
        }
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

// ---- the solution ------------------------------------------------------------------------------

static void read_seats(lua_State *L, struct work *w) {
    w->seats = hm_alloc_array((size_t)w->c.mentors, sizeof *w->seats);
    for (int32_t j = 0; j < w->c.mentors; j++) {
        lua_rawgeti(L, 3, (lua_Integer)j + 1);
        lua_getfield(L, -1, "free");
        double free_places = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : 1;
        w->seats[j] = free_places > 0 ? (int32_t)fmin(free_places, 1000000) : 0;
        lua_pop(L, 2);
    }
}

// mentee = { priority = "waited_terms" }
static void read_priorities(lua_State *L, struct work *w) {
    w->priority = hm_alloc_array((size_t)w->c.mentees, sizeof *w->priority);
    const char *path = NULL;
    if (lua_getfield(L, 1, "mentee") == LUA_TTABLE) path = text_of(L, lua_gettop(L), "priority");
    lua_pop(L, 1);
    for (int32_t i = 0; path && i < w->c.mentees; i++) {
        hm_person_value(L, 2, i, path);
        double v = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : 0;
        w->priority[i] = v > 0 ? (int32_t)fmin(v, HM_MATCH_PRIORITY_MAX) : 0;
        lua_pop(L, 1);
    }
}

// options.fixed = {{mentee, mentor}, …}: pairs that stand already; they take a place each.
static void read_fixed(lua_State *L, struct work *w, int options) {
    w->fixed = hm_alloc_array((size_t)w->c.mentees, sizeof *w->fixed);
    for (int32_t i = 0; i < w->c.mentees; i++)
        w->fixed[i] = -1;
    if (!lua_istable(L, options)) return;
    lua_getfield(L, options, "fixed");
    lua_Integer n = lua_istable(L, -1) ? (lua_Integer)lua_rawlen(L, -1) : 0;
    for (lua_Integer k = 1; k <= n; k++) {
        lua_Integer i = 0, j = 0;
        if (lua_rawgeti(L, -1, k) == LUA_TTABLE) {
            lua_rawgeti(L, -1, 1);
            lua_rawgeti(L, -2, 2);
            i = lua_tointeger(L, -2);
            j = lua_tointeger(L, -1);
            lua_pop(L, 2);
        }
        lua_pop(L, 1);
        if (i < 1 || i > w->c.mentees || j < 1 || j > w->c.mentors || w->fixed[i - 1] >= 0)
            luaL_error(L, "match.assign: fixed[%d] must be {mentee, mentor}, each mentee once", (int)k);
        if (w->seats[j - 1] < 1)
            luaL_error(L, "match.assign: fixed[%d]: the mentor has no place left", (int)k);
        w->seats[j - 1]--;
        w->fixed[i - 1] = (int32_t)j - 1;
    }
    lua_pop(L, 1);
}

// Solves with the edges that have at least `floor` points. Replaces w->solution only when `keep`; gives the
// number matched.
static bool solve_with(struct work *w, int32_t floor_points, bool keep, int32_t *matched,
                       struct hm_error *err) {
    size_t n = (size_t)w->c.mentees, at = 0;
    if (!w->edge_mentor) {
        w->edge_mentor = hm_alloc_array(w->edge_count + 1, sizeof *w->edge_mentor);
        w->edge_points = hm_alloc_array(w->edge_count + 1, sizeof *w->edge_points);
        w->solver_row = hm_alloc_array(n + 1, sizeof *w->solver_row);
    }
    for (size_t i = 0; i < n; i++) {
        w->solver_row[i] = (int64_t)at;
        for (int64_t e = w->row[i]; e < w->row[i + 1] && w->fixed[i] < 0; e++) {
            if (w->edges[e].points < floor_points) break; // best first
            w->edge_mentor[at] = w->edges[e].mentor;
            w->edge_points[at++] = w->edges[e].points;
        }
    }
    w->solver_row[n] = (int64_t)at;
    struct hm_match_problem problem = {.mentees = w->c.mentees,
                                       .mentors = w->c.mentors,
                                       .seats = w->seats,
                                       .row = w->solver_row,
                                       .mentor = w->edge_mentor,
                                       .points = w->edge_points,
                                       .priority = w->priority};
    struct hm_match_solution solution = {0};
    if (!hm_match_solve(&problem, &solution, err)) return false;
    *matched = solution.matched;
    if (keep) {
        if (w->solved) hm_match_free(&w->solution);
        w->solution = solution;
        w->solved = true;
    } else {
        hm_match_free(&solution);
    }
    return true;
}

// The highest floor for the worst pair that leaves nobody more without a mentor, by bisection.
static int32_t find_floor(lua_State *L, struct work *w, int32_t matched, struct hm_error *err) {
    int32_t low = 0, high = HM_MATCH_POINTS_MAX, got;
    while (low < high) {
        int32_t mid = low + (high - low + 1) / 2;
        hm_sandbox_check(L);
        if (!solve_with(w, mid, false, &got, err)) hm_raise_error(L, err);
        if (got == matched) {
            low = mid;
        } else {
            high = mid - 1;
        }
    }
    return low;
}

static int compare_int(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static int32_t points_of(const struct work *w, int32_t mentee, int32_t mentor) {
    for (int64_t e = w->row[mentee]; e < w->row[mentee + 1]; e++)
        if (w->edges[e].mentor == mentor) return w->edges[e].points;
    return 0; // given beforehand, though the rule would not make it
}

static void set_int(lua_State *L, const char *name, int64_t v) {
    lua_pushinteger(L, (lua_Integer)v);
    lua_setfield(L, -2, name);
}

static void push_unmatched(lua_State *L, const struct work *w, int32_t i) {
    lua_createtable(L, 0, 3);
    set_int(L, "mentee", (int64_t)i + 1);
    set_int(L, "fits", w->fits[i]);
    if (w->c.mentors == 0) {
        lua_pushliteral(L, "no_mentors");
    } else if (w->fits[i] > 0) {
        lua_pushliteral(L, "full");
    } else {
        push_why(L, w->objection[i]);
    }
    lua_setfield(L, -2, "why");
}

static void push_solution(lua_State *L, struct work *w, int32_t floor_points) {
    lua_Integer made = 0, left = 0;
    int64_t total = 0;
    int32_t *all = lua_newuserdatauv(L, ((size_t)w->c.mentees + 1) * sizeof *all, 0);
    lua_createtable(L, 0, 9);
    int out = lua_gettop(L);
    lua_newtable(L);
    hm_lua_mark_array(L, -1);
    lua_newtable(L);
    hm_lua_mark_array(L, -1);
    for (int32_t i = 0; i < w->c.mentees; i++) {
        int32_t mentor = w->fixed[i] >= 0 ? w->fixed[i] : w->solution.mentor[i];
        if (mentor < 0) {
            push_unmatched(L, w, i);
            lua_rawseti(L, out + 2, ++left);
            continue;
        }
        int32_t points = points_of(w, i, mentor);
        all[made] = points;
        total += points;
        lua_createtable(L, 0, 3);
        set_int(L, "mentee", (int64_t)i + 1);
        set_int(L, "mentor", (int64_t)mentor + 1);
        set_int(L, "points", points);
        lua_rawseti(L, out + 1, ++made);
    }
    lua_setfield(L, out, "unmatched");
    lua_setfield(L, out, "pairs");
    if (made) {
        qsort(all, (size_t)made, sizeof *all, compare_int);
        set_int(L, "worst", all[0]);
        set_int(L, "median", all[made / 2]);
    }
    set_int(L, "matched", (int64_t)made);
    set_int(L, "total", total);
    set_int(L, "floor", floor_points);
    lua_pushboolean(L, w->solution.certified && !w->pruned);
    lua_setfield(L, out, "certified");
    lua_pushboolean(L, w->pruned);
    lua_setfield(L, out, "pruned");
}

static int match_assign(lua_State *L) {
    struct hm_error err = {0};
    int32_t matched = 0, floor_points = 0;
    lua_settop(L, 4);
    lua_getfield(L, 1, "fairness");
    const char *floor_word = lua_istable(L, -1) ? text_of(L, lua_gettop(L), "floor") : NULL;
    lua_settop(L, 4);
    struct work *w = compile(L);
    read_seats(L, w);
    read_priorities(L, w);
    read_fixed(L, w, 4);
    score_all(L, w, KEEP_BEST);
    hm_sandbox_check(L);
    if (!solve_with(w, 0, true, &matched, &err)) hm_raise_error(L, &err);
    if (floor_word && strcmp(floor_word, "highest") == 0 && matched > 0 && w->edge_count <= FLOOR_EDGES_MAX) {
        floor_points = find_floor(L, w, matched, &err);
        if (!solve_with(w, floor_points, true, &matched, &err)) hm_raise_error(L, &err);
    }
    push_solution(L, w, floor_points);
    return 1;
}

// ---- the bare problem --------------------------------------------------------------------------

// Element `name` of every row at index as whole numbers into out[count]; `otherwise` when there is no such
// list.
static void read_ints(lua_State *L, const char *name, int32_t *out, size_t count, int32_t otherwise,
                      int32_t most) {
    bool there = lua_getfield(L, 1, name) == LUA_TTABLE;
    if (there && lua_rawlen(L, -1) != count)
        luaL_error(L, "match.solve: %s must have %d elements", name, (int)count);
    for (size_t i = 0; i < count; i++) {
        out[i] = otherwise;
        if (!there) continue;
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        lua_Integer v = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : -1;
        if (v < 0) luaL_error(L, "match.solve: %s[%d] must be a whole number, 0 or more", name, (int)i + 1);
        out[i] = v < most ? (int32_t)v : most;
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

// rows[i] = {{mentor, points}, …} at `rows`, into the solver's form.
static void read_rows(lua_State *L, struct work *w, int rows, size_t n, int32_t mentors) {
    w->solver_row = hm_alloc_array(n + 1, sizeof *w->solver_row);
    for (size_t i = 0; i < n; i++) {
        w->solver_row[i] = (int64_t)w->edge_count;
        if (lua_rawgeti(L, rows, (lua_Integer)i + 1) != LUA_TTABLE)
            luaL_error(L, "match.solve: rows[%d] must be a list", (int)i + 1);
        lua_Integer len = (lua_Integer)lua_rawlen(L, -1);
        if (w->edge_count + (size_t)len > w->edge_cap) {
            w->edge_cap = (w->edge_count + (size_t)len) * 2;
            w->edge_mentor = hm_realloc(w->edge_mentor, w->edge_cap * sizeof *w->edge_mentor);
            w->edge_points = hm_realloc(w->edge_points, w->edge_cap * sizeof *w->edge_points);
        }
        for (lua_Integer k = 1; k <= len; k++) {
            if (lua_rawgeti(L, -1, k) != LUA_TTABLE)
                luaL_error(L, "match.solve: rows[%d][%d] must be {mentor, points}", (int)i + 1, (int)k);
            lua_rawgeti(L, -1, 1);
            lua_rawgeti(L, -2, 2);
            lua_Integer j = lua_isinteger(L, -2) ? lua_tointeger(L, -2) : 0,
                        points = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : -1;
            if (j < 1 || j > mentors || points < 0 || points > HM_MATCH_POINTS_MAX)
                luaL_error(
                    L, "match.solve: rows[%d][%d] must be {mentor, points}, whole numbers in their bounds",
                    (int)i + 1, (int)k);
            w->edge_mentor[w->edge_count] = (int32_t)j - 1;
            w->edge_points[w->edge_count++] = (int32_t)points;
            lua_pop(L, 3);
        }
        lua_pop(L, 1);
        hm_sandbox_check(L);
    }
    w->solver_row[n] = (int64_t)w->edge_count;
}

static int match_solve(lua_State *L) {
    struct hm_error err = {0};
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    if (lua_getfield(L, 1, "rows") != LUA_TTABLE) return luaL_error(L, "match.solve: rows must be a list");
    if (lua_getfield(L, 1, "seats") != LUA_TTABLE) return luaL_error(L, "match.solve: seats must be a list");
    lua_Unsigned n = lua_rawlen(L, 2), m = lua_rawlen(L, 3);
    if (n > HM_PEOPLE_MAX || m > HM_PEOPLE_MAX)
        return luaL_error(L, "match.solve: more than %d people", HM_PEOPLE_MAX);
    struct work *w = push_work(L);
    w->seats = hm_alloc_array(m, sizeof *w->seats);
    w->priority = hm_alloc_array(n, sizeof *w->priority);
    read_ints(L, "seats", w->seats, m, 0, INT32_MAX / 2);
    read_ints(L, "priority", w->priority, n, 0, HM_MATCH_PRIORITY_MAX);
    read_rows(L, w, 2, n, (int32_t)m);
    if (!w->edge_mentor) { // the solver asks for arrays, though nothing is in them
        w->edge_mentor = hm_alloc_array(1, sizeof *w->edge_mentor);
        w->edge_points = hm_alloc_array(1, sizeof *w->edge_points);
    }
    struct hm_match_problem problem = {.mentees = (int32_t)n,
                                       .mentors = (int32_t)m,
                                       .seats = w->seats,
                                       .row = w->solver_row,
                                       .mentor = w->edge_mentor,
                                       .points = w->edge_points,
                                       .priority = w->priority};
    if (!hm_match_solve(&problem, &w->solution, &err)) hm_raise_error(L, &err);
    w->solved = true;
    lua_createtable(L, (int)n, 3);
    for (size_t i = 0; i < n; i++) {
        lua_pushinteger(L, w->solution.mentor[i] + 1);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    set_int(L, "matched", w->solution.matched);
    set_int(L, "total", w->solution.total);
    lua_pushboolean(L, w->solution.certified);
    lua_setfield(L, -2, "certified");
    return 1;
}

static const struct hm_lua_fn match_fns[] = {
    {"judge",
     "rule: table, mentee: Person, mentor: Person -> {may: boolean, why: string?, points: integer, parts: "
     "integer[]}",
     "One pair by a rule: may it be, what is against it (the name of a `must`, \"self\" or \"pair\"), and "
     "the points of each criterion of "
     "`prefer`. A person is {id=, data=}; what is not known excludes nobody and earns nothing.",
     match_judge, NULL},
    {"score",
     "rule: table, mentees: Person[], mentors: Person[], options: {best: integer?}? -> {mentor: integer, "
     "points: integer, parts: "
     "integer[]}[][]",
     "For each mentee the best mentors (5 unless said), as places in the list; places that are taken are not "
     "looked at.",
     match_score, NULL},
    {"solve", "problem: {rows: integer[][][], seats: integer[], priority: integer[]?} -> table",
     "The bare assignment: rows[i] lists {mentor, points} for mentee i, seats[j] the places of mentor j. "
     "Gives a list with the mentor of "
     "each mentee (0: nobody), and in it matched, total, certified.",
     match_solve, NULL},
    {"assign",
     "rule: table, mentees: Person[], mentors: Person[], options: {fixed: integer[][]?}? -> {pairs: {mentee: "
     "integer, mentor: integer, "
     "points: integer}[], unmatched: {mentee: integer, why: string, fits: integer}[], matched: integer, "
     "total: integer, worst: "
     "integer?, median: integer?, floor: integer, certified: boolean, pruned: boolean}",
     "The best pairs for all: first as many as can be, then who waits longest (the rule's priority), then "
     "the highest worst pair (fairness "
     "floor = \"highest\"), then the points. A mentor has `free` places, 1 unless said. certified: proved to "
     "be the best. Of each mentee the 200 best mentors are looked at; where there were more, pruned is true, "
     "certified is false, and with many equal scores fewer may be matched than could be (match.solve has no "
     "such limit).",
     match_assign, NULL},
    {0}};
const struct hm_lua_module hm_module_match = {"match", "Pairs by a declared rule.", match_fns, false};
