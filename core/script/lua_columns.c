// From people and a rule as Lua has them to columns (columns.h). Raises when something is not as it must be;
// what has been allocated hangs on the columns, which the caller frees.
#include "script/lua_columns.h"
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>

// ---- people into columns -----------------------------------------------------------------------

// Pushes data[path] of person i in the list at `people` ("mentoring.capacity" goes inside); nil when it is
// not there.
void hm_person_value(lua_State *L, int people, int32_t i, const char *path) {
    lua_rawgeti(L, people, (lua_Integer)i + 1);
    lua_pushliteral(L, "data");
    lua_rawget(L, -2);
    lua_remove(L, -2);
    while (lua_istable(L, -1)) {
        size_t len = strcspn(path, ".");
        lua_pushlstring(L, path, len);
        lua_rawget(L, -2);
        lua_remove(L, -2);
        if (!path[len]) return;
        path += len + 1;
    }
    lua_pop(L, 1);
    lua_pushnil(L);
}

// Number of the value on the top in the table of codes at `codes`: a new one when it was not met. Pops it.
static int32_t code_of(lua_State *L, int codes) {
    if (lua_isnil(L, -1) || (lua_type(L, -1) == LUA_TNUMBER && isnan(lua_tonumber(L, -1)))) {
        lua_pop(L, 1);
        return -1;
    }
    lua_pushvalue(L, -1);
    if (lua_rawget(L, codes) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_Integer n =
            lua_rawgeti(L, codes, 0) == LUA_TNUMBER ? lua_tointeger(L, -1) : 0; // 0: how many there are
        lua_pop(L, 1);
        lua_pushinteger(L, n + 1);
        lua_rawseti(L, codes, 0);
        lua_pushinteger(L, n);
        lua_pushvalue(L, -2);
        lua_pushvalue(L, -2);
        lua_rawset(L, codes);
    }
    int32_t code = (int32_t)lua_tointeger(L, -1);
    lua_pop(L, 2);
    return code;
}

static lua_Integer codes_count(lua_State *L, int codes) {
    lua_Integer n = lua_rawgeti(L, codes, 0) == LUA_TNUMBER ? lua_tointeger(L, -1) : 0;
    lua_pop(L, 1);
    return n;
}

// Whole numbers would meet the count at 0: they are told apart as text.
static void push_code_key(lua_State *L) {
    if (lua_type(L, -1) == LUA_TNUMBER) lua_tolstring(L, -1, NULL);
}

static void fill_numbers(lua_State *L, struct hm_column *c, int people, int32_t n, const char *path) {
    c->number = hm_alloc_array((size_t)n, sizeof *c->number);
    for (int32_t i = 0; i < n; i++) {
        hm_person_value(L, people, i, path);
        c->number[i] = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : (double)NAN;
        lua_pop(L, 1);
    }
}

static void fill_codes(lua_State *L, struct hm_column *c, int people, int32_t n, const char *path,
                       int codes) {
    c->code = hm_alloc_array((size_t)n, sizeof *c->code);
    for (int32_t i = 0; i < n; i++) {
        hm_person_value(L, people, i, path);
        if (lua_istable(L, -1)) luaL_error(L, "match: %s: a list where one value is asked for", path);
        push_code_key(L);
        c->code[i] = code_of(L, codes);
    }
}

// First the codes of all, since the width of a set is known only then.
static void collect_codes(lua_State *L, int people, int32_t n, const char *path, int codes) {
    for (int32_t i = 0; i < n; i++) {
        hm_person_value(L, people, i, path);
        lua_Integer len = lua_istable(L, -1) ? (lua_Integer)lua_rawlen(L, -1) : 0;
        for (lua_Integer k = 1; k <= len; k++) {
            lua_rawgeti(L, -1, k);
            push_code_key(L);
            code_of(L, codes);
        }
        lua_pop(L, 1);
    }
}

static void fill_sets(lua_State *L, struct hm_column *c, int people, int32_t n, const char *path, int codes) {
    c->words = (unsigned)((codes_count(L, codes) + 63) / 64);
    if (!c->words) c->words = 1;
    c->bits = hm_alloc_array((size_t)n * c->words + 1, sizeof *c->bits);
    c->count = hm_alloc_array((size_t)n, sizeof *c->count);
    for (int32_t i = 0; i < n; i++) {
        hm_person_value(L, people, i, path);
        lua_Integer len = lua_istable(L, -1) ? (lua_Integer)lua_rawlen(L, -1) : 0;
        for (lua_Integer k = 1; k <= len; k++) {
            lua_rawgeti(L, -1, k);
            push_code_key(L);
            int32_t code = code_of(L, codes);
            if (code >= 0) c->bits[(size_t)i * c->words + (size_t)code / 64] |= UINT64_C(1) << (code % 64);
            c->count[i]++;
        }
        lua_pop(L, 1);
    }
}

static void fill_hours(lua_State *L, struct hm_column *c, int people, int32_t n, const char *path) {
    c->words = 3;
    c->bits = hm_alloc_array((size_t)n * 3 + 1, sizeof *c->bits);
    c->count = hm_alloc_array((size_t)n, sizeof *c->count);
    for (int32_t i = 0; i < n; i++) {
        hm_person_value(L, people, i, path);
        lua_Integer len = lua_istable(L, -1) ? (lua_Integer)lua_rawlen(L, -1) : 0;
        for (lua_Integer k = 1; k <= len; k++) {
            lua_rawgeti(L, -1, k);
            lua_Integer h = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : -1;
            if (h < 0 || h > 167) luaL_error(L, "match: %s: not an hour of the week", path);
            c->bits[(size_t)i * 3 + (size_t)h / 64] |= UINT64_C(1) << (h % 64);
            c->count[i]++;
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    }
}

// ---- the rule ----------------------------------------------------------------------------------

static const char *text_of(lua_State *L, int table, const char *name) {
    const char *s = lua_getfield(L, table, name) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    lua_pop(L, 1); // the declaration holds it
    return s;
}
static double number_of(lua_State *L, int table, const char *name, double otherwise) {
    double v = lua_getfield(L, table, name) == LUA_TNUMBER ? lua_tonumber(L, -1) : otherwise;
    lua_pop(L, 1);
    return v;
}

struct sides {
    int mentees, mentors, ids; // stack: lists of people, and a table id -> index of mentor
    int32_t n, m;
};

static int compare_apart(const void *a, const void *b) {
    const struct hm_apart *x = a, *y = b;
    if (x->mentee != y->mentee) return x->mentee < y->mentee ? -1 : 1;
    return (x->mentor > y->mentor) - (x->mentor < y->mentor);
}

// For each id in the list data[path] of the people at `from` that the table `ids` knows (0-based index), one
// pair.
static void add_apart(lua_State *L, struct hm_columns *c, int from, int32_t n, const char *path, int ids,
                      bool from_mentee, size_t *cap) {
    for (int32_t i = 0; i < n; i++) {
        hm_person_value(L, from, i, path);
        lua_Integer len = lua_istable(L, -1) ? (lua_Integer)lua_rawlen(L, -1) : 0;
        for (lua_Integer k = 1; k <= len; k++) {
            lua_rawgeti(L, -1, k);
            if (lua_rawget(L, ids) == LUA_TNUMBER) {
                int32_t other = (int32_t)lua_tointeger(L, -1);
                if (c->apart_count == *cap) {
                    *cap = *cap ? *cap * 2 : 64;
                    c->apart = hm_realloc(c->apart, *cap * sizeof *c->apart);
                }
                c->apart[c->apart_count++] =
                    from_mentee ? (struct hm_apart){i, other} : (struct hm_apart){other, i};
            }
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    }
}

static void fill_apart(lua_State *L, struct hm_columns *c, const struct sides *s, const char *path) {
    size_t cap = c->apart_count;
    add_apart(L, c, s->mentees, s->n, path, s->ids, true, &cap);
    add_apart(L, c, s->mentors, s->m, path, s->ids + 1, false, &cap);
    if (c->apart_count) qsort(c->apart, c->apart_count, sizeof *c->apart, compare_apart);
}

static void fill_both(lua_State *L, struct hm_criterion *k, const struct sides *s, const char *mentee_path,
                      const char *mentor_path, char form) {
    lua_newtable(L); // codes, of both sides together
    int codes = lua_gettop(L);
    switch (form) {
    case 's':
        collect_codes(L, s->mentees, s->n, mentee_path, codes);
        collect_codes(L, s->mentors, s->m, mentor_path, codes);
        fill_sets(L, &k->mentee, s->mentees, s->n, mentee_path, codes);
        fill_sets(L, &k->mentor, s->mentors, s->m, mentor_path, codes);
        break;
    case 'h':
        fill_hours(L, &k->mentee, s->mentees, s->n, mentee_path);
        fill_hours(L, &k->mentor, s->mentors, s->m, mentor_path);
        break;
    case 'n':
        fill_numbers(L, &k->mentee, s->mentees, s->n, mentee_path);
        fill_numbers(L, &k->mentor, s->mentors, s->m, mentor_path);
        break;
    default:
        fill_codes(L, &k->mentee, s->mentees, s->n, mentee_path, codes);
        fill_codes(L, &k->mentor, s->mentors, s->m, mentor_path, codes);
    }
    lua_settop(L, codes - 1);
}

static void fill_wishes(lua_State *L, struct hm_criterion *k, const struct sides *s, const char *path) {
    lua_newtable(L);
    int codes = lua_gettop(L);
    lua_pushliteral(L, "any"); // 0
    code_of(L, codes);
    lua_pushliteral(L, "same"); // 1
    code_of(L, codes);
    fill_codes(L, &k->mentee_wish, s->mentees, s->n, path, codes);
    fill_codes(L, &k->mentor_wish, s->mentors, s->m, path, codes);
    lua_settop(L, codes - 1);
}

static const struct {
    const char *word;
    enum hm_criterion_op op;
    char form; // s set, h hours, n number, c code
    int full_at;
} words[] = {
    {"share", HM_MUST_SHARE, 's', 1},     {"respects", HM_MUST_RESPECT, 'c', 1},
    {"overlap", HM_MUST_OVERLAP, 'h', 1}, {"not_in", HM_MUST_NOT_IN, 'a', 1},
    {"equal_to", HM_MUST_EQUAL, 'c', 1},  {"complement", HM_PREFER_COMMON, 's', 1},
    {"shared", HM_PREFER_COMMON, 's', 1}, {"near", HM_PREFER_NEAR, 'n', 1},
    {"equal", HM_PREFER_EQUAL, 'c', 1},   {"weekend", HM_PREFER_WEEKEND, 'h', 4},
    {"higher", HM_PREFER_HIGHER, 'n', 1}, {"gap", HM_PREFER_GAP, 'n', 1},
};

// The criterion at `one` (a table {must|prefer=, field=, …}).
static void compile_one(lua_State *L, struct hm_columns *c, const struct sides *s, int one, const char *kind,
                        struct hm_criterion *k) {
    const char *word = text_of(L, one, kind), *field = text_of(L, one, "field"),
               *other = text_of(L, one, "other");
    size_t i = 0, count = sizeof words / sizeof *words;
    while (word && i < count && strcmp(words[i].word, word) != 0)
        i++;
    if (!word || i == count || !field) luaL_error(L, "match: the rule has a criterion that is not known");
    double points = number_of(L, one, "points", 0);
    k->op = words[i].op;
    k->points = points >= 0 && points <= HM_COLUMN_POINTS_MAX ? (int32_t)points : 0;
    k->full_at = (int32_t)fmin(fmax(number_of(L, one, "full_at", words[i].full_at), 1), 1000);
    k->hours = (int32_t)number_of(L, one, "hours", 1);
    k->within = fmax(number_of(L, one, "within", number_of(L, one, "full_at", 1)),
                     k->op == HM_PREFER_NEAR ? 0 : 1e-6);
    if (words[i].form == 'a') {
        fill_apart(L, c, s, field);
    } else if (k->op == HM_MUST_RESPECT) {
        fill_both(L, k, s, "gender", "gender", 'c');
        fill_wishes(L, k, s, field);
    } else {
        fill_both(L, k, s, other ? other : field, field,
                  words[i].form); // complement: the mentor's strengths, the mentee's needs
    }
}

static unsigned compile_list(lua_State *L, struct hm_columns *c, const struct sides *s, int rule,
                             const char *kind, struct hm_criterion *out) {
    if (lua_getfield(L, rule, kind) != LUA_TTABLE) {
        lua_pop(L, 1);
        return 0;
    }
    int list = lua_gettop(L);
    lua_Integer n = (lua_Integer)lua_rawlen(L, list);
    if (n > HM_CRITERIA_MAX) luaL_error(L, "match: %s: more than %d criteria", kind, HM_CRITERIA_MAX);
    for (lua_Integer i = 1; i <= n; i++) {
        if (lua_rawgeti(L, list, i) != LUA_TTABLE)
            luaL_error(L, "match: %s[%d] is not a criterion", kind, (int)i);
        compile_one(L, c, s, lua_gettop(L), kind, &out[i - 1]);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return (unsigned)n;
}

// Pushes a table id -> index (from 0) of the people in the list.
static void push_ids(lua_State *L, int people, int32_t n) {
    lua_newtable(L);
    for (int32_t i = 0; i < n; i++) {
        if (lua_rawgeti(L, people, (lua_Integer)i + 1) != LUA_TTABLE)
            luaL_error(L, "match: person %d is not a table", (int)i + 1);
        lua_pushliteral(L, "id");
        if (lua_rawget(L, -2) == LUA_TSTRING) {
            lua_pushinteger(L, i);
            lua_rawset(L, -4);
            lua_pop(L, 1);
        } else {
            lua_pop(L, 2);
        }
    }
}

static int32_t check_people(lua_State *L, int index) {
    luaL_checktype(L, index, LUA_TTABLE);
    lua_Unsigned n = lua_rawlen(L, index);
    if (n > HM_PEOPLE_MAX) luaL_error(L, "match: more than %d people", HM_PEOPLE_MAX);
    return (int32_t)n;
}

void hm_columns_read(lua_State *L, struct hm_columns *c) {
    struct sides s = {.mentees = 2, .mentors = 3};
    luaL_checktype(L, 1, LUA_TTABLE);
    s.n = check_people(L, 2);
    s.m = check_people(L, 3);
    luaL_checkstack(L, 24, NULL);
    int top = lua_gettop(L);
    c->mentees = s.n;
    c->mentors = s.m;
    push_ids(L, 3, s.m);
    push_ids(L, 2, s.n);
    s.ids = top + 1; // mentors by id; behind it mentees by id
    c->same = hm_alloc_array((size_t)s.n, sizeof *c->same);
    for (int32_t i = 0; i < s.n; i++) {
        lua_rawgeti(L, 2, (lua_Integer)i + 1);
        lua_pushliteral(L, "id");
        lua_rawget(L, -2);
        bool known = !lua_isnil(L, -1) && lua_rawget(L, s.ids) == LUA_TNUMBER;
        c->same[i] = known ? (int32_t)lua_tointeger(L, -1) : -1;
        lua_pop(L, 2);
    }
    c->must_count = compile_list(L, c, &s, 1, "must", c->must);
    c->prefer_count = compile_list(L, c, &s, 1, "prefer", c->prefer);
    lua_settop(L, top);
}
