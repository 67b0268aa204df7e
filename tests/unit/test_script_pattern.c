// Patterns: the same as Lua's own, which is in the same process, on thousands of random patterns and texts;
// and an end to those that would take for ever. HM_SEED=N repeats a run, HM_ROUNDS=N makes a longer one.
#include "script/pattern.h"
#include "script/sandbox.h"
#include <lauxlib.h>
#include <lualib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
// cmocka wants what is above
#include <cmocka.h>

static uint64_t rng;
static unsigned below(unsigned n) {
    rng = rng * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)((rng >> 33) % n);
}

// A text of pieces: most of what a pattern is made of, and what is wrong with some.
struct text {
    char bytes[400];
    size_t len;
};
static void add(struct text *t, const char *bytes, size_t len) {
    if (t->len + len > sizeof t->bytes) return;
    memcpy(t->bytes + t->len, bytes, len);
    t->len += len;
}

static const char letters[] = "aabbcx.-%()[]^$ 0\n\xc3\xa9\0";

static void random_text(struct text *t, unsigned most) {
    t->len = 0;
    for (unsigned n = below(most + 1); n; n--) {
        char c = letters[below(sizeof letters)]; // the zero byte, too
        add(t, &c, 1);
    }
}

static void add_item(struct text *t) {
    static const char *const items[] = {
        "a",     "b",   "c",    ".",    "%a",   "%d",    "%s",          "%w", "%A",   "%p",
        "%l",    "%u",  "%x",   "%g",   "%c",   "%z",    "%%",          "%.", "[ab]", "[^a]",
        "[a-c]", "[]]", "[^]]", "[%a]", "[%]]", "[a-]",  "[%a-z]",      "[",  "[a",   "[^",
        "%",     "[]",  "\xc3", "]",    "[-a]", "[%-x]", "[\xc3-\xff]", "^",  "$"};
    if (below(30) == 0) {
        add(t, "\0", 1);
        return;
    }
    const char *item = items[below(below(8) ? 26 : sizeof items / sizeof *items)];
    add(t, item, strlen(item));
}

static void random_pattern(struct text *t) {
    static const char *const parts[] = {"(",   ")",      "()",     "%1", "%2",     "%0", "%b()", "%bab",
                                        "%ba", "%f[%w]", "%f[^a]", "%f", "%f[%z]", "%b", "(",    ")"};
    unsigned repeated = 0, open = 0;
    t->len = 0;
    if (below(6) == 0) add(t, "^", 1);
    for (unsigned n = below(8); n; n--) {
        if (below(4) == 0) {
            const char *part = parts[below(sizeof parts / sizeof *parts)];
            if (strcmp(part, ")") == 0 && !open && below(10)) continue;
            open += strcmp(part, "(") == 0;
            if (strcmp(part, ")") == 0 && open) open--;
            add(t, part, strlen(part));
            continue;
        }
        add_item(t);
        if (below(3) == 0 && repeated++ < 4) add(t, &"*+-?"[below(4)], 1);
    }
    while (open && below(12)) {
        add(t, ")", 1);
        open--;
    }
    if (below(6) == 0) add(t, "$", 1);
}

static void random_replacement(struct text *t) {
    static const char *const parts[] = {"%0", "%1", "%2", "%%", "x", "yy", "%", "%9", "%a", "", "\n"};
    t->len = 0;
    for (unsigned n = below(4); n; n--) {
        const char *part = parts[below(below(6) ? 6 : sizeof parts / sizeof *parts)];
        add(t, part, strlen(part));
    }
}

// ---- both beside each other --------------------------------------------------------------------

static const char script[] =
    "local theirs, find, match, gmatch, gsub = ...\n"
    "local function same(a, b)\n"
    "  if a.n ~= b.n then return false end\n"
    "  for i = 1, a.n do if a[i] ~= b[i] or math.type(a[i]) ~= math.type(b[i]) then return false end end\n"
    "  return true\n"
    "end\n"
    "local function shown(t)\n"
    "  local out = {}\n"
    "  for i = 1, t.n do out[i] = type(t[i]) == 'string' and ('%q'):format(t[i]) or tostring(t[i]) end\n"
    "  return table.concat(out, ' ')\n"
    "end\n"
    "local function compare(what, a, b, ...)\n"
    "  local x, y = table.pack(pcall(a, ...)), table.pack(pcall(b, ...))\n"
    "  if not same(x, y) then\n"
    "    error(what .. ' of ' .. shown(table.pack(...)) .. '\\n  theirs ' .. shown(x) .. '\\n  ours   ' .. "
    "shown(y), 0)\n"
    "  end\n"
    "  return x[1]\n"
    "end\n"
    "local function all(gmatch)\n"
    "  return function(...)\n"
    "    local out = {}\n"
    "    for a, b, c in gmatch(...) do\n"
    "      out[#out + 1] = tostring(a) .. '|' .. tostring(b) .. '|' .. tostring(c)\n"
    "      if #out > 300 then break end\n"
    "    end\n"
    "    return table.concat(out, ';')\n"
    "  end\n"
    "end\n"
    "local map = { a = 'A', b = false, [''] = 'none', ab = 7, c = {} }\n"
    "local function fn(a, b) if a == 'a' then return nil end return (a or '') .. tostring(b) end\n"
    "return function(s, p, r, init, n)\n"
    "  local good = compare('match', theirs.match, match, s, p)\n"
    "  compare('find', theirs.find, find, s, p)\n"
    "  compare('find', theirs.find, find, s, p, init)\n"
    "  compare('find', theirs.find, find, s, p, init, true)\n"
    "  compare('match', theirs.match, match, s, p, init)\n"
    "  compare('gmatch', all(theirs.gmatch), all(gmatch), s, p)\n"
    "  compare('gmatch', all(theirs.gmatch), all(gmatch), s, p, init)\n"
    "  compare('gsub', theirs.gsub, gsub, s, p, r)\n"
    "  compare('gsub', theirs.gsub, gsub, s, p, r, n)\n"
    "  compare('gsub', theirs.gsub, gsub, s, p, map)\n"
    "  compare('gsub', theirs.gsub, gsub, s, p, fn)\n"
    "  return good and theirs.find(s, p) ~= nil, good\n"
    "end\n";

static struct hm_sandbox box;

// Leaves the comparing function at 1.
static void open_both(void) {
    struct hm_error err = {0};
    if (!hm_sandbox_open(&box, NULL, &err)) fail_msg("%s", err.message);
    lua_State *L = box.L;
    luaL_requiref(L, "_G", luaopen_base, 1);
    luaL_requiref(L, "table", luaopen_table, 1);
    luaL_requiref(L, "math", luaopen_math, 1);
    luaL_requiref(L, "string", luaopen_string, 1);
    lua_settop(L, 0);
    if (luaL_loadstring(L, script) != LUA_OK) fail_msg("%s", lua_tostring(L, -1));
    lua_getglobal(L, "string");
    lua_pushcfunction(L, hm_pattern_find);
    lua_pushcfunction(L, hm_pattern_match);
    lua_pushcfunction(L, hm_pattern_gmatch);
    lua_pushcfunction(L, hm_pattern_gsub);
    lua_call(L, 5, 1);
}

static unsigned number_of(const char *name, unsigned otherwise) {
    const char *text = getenv(name);
    return text ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

static void random_patterns_give_what_lua_gives(void **state) {
    (void)state;
    unsigned seed = number_of("HM_SEED", (unsigned)time(NULL)), rounds = number_of("HM_ROUNDS", 20000);
    unsigned matched = 0, good = 0;
    print_message("seed %u, %u rounds\n", seed, rounds);
    rng = seed;
    open_both();
    lua_State *L = box.L;
    for (unsigned i = 0; i < rounds; i++) {
        struct text s, p, r;
        random_text(&s, 24);
        random_pattern(&p);
        random_replacement(&r);
        lua_pushvalue(L, 1);
        lua_pushlstring(L, s.bytes, s.len);
        lua_pushlstring(L, p.bytes, p.len);
        lua_pushlstring(L, r.bytes, r.len);
        lua_pushinteger(L, (lua_Integer)below(60) - 30);
        lua_pushinteger(L, (lua_Integer)below(6) - 1);
        if (lua_pcall(L, 5, 2, 0) != LUA_OK) fail_msg("seed %u, round %u: %s", seed, i, lua_tostring(L, -1));
        matched += lua_toboolean(L, -2) != 0;
        good += lua_toboolean(L, -1) != 0;
        lua_settop(L, 1);
    }
    print_message("%u of %u patterns were well formed, %u matched\n", good, rounds, matched);
    assert_true(good > rounds / 2 && matched > rounds / 8 && good < rounds); // it tries what it is for
    hm_sandbox_close(&box);
}

// What chance finds seldom: depth, many captures, arguments of other kinds, numbers as texts.
static void special_patterns_give_what_lua_gives(void **state) {
    (void)state;
    static const char rows[] =
        "local compare_all, theirs, ours = ...\n"
        "local function case(name, ...)\n"
        "  local a, b = table.pack(pcall(theirs[name], ...)), table.pack(pcall(ours[name], ...))\n"
        "  local function plain(v) return type(v) == 'string' and v:gsub(\"to '[%w.?]+' %(\", '(') or v end\n"
        "  for i = 1, math.max(a.n, b.n) do if plain(a[i]) ~= plain(b[i]) then\n"
        "    error(name .. ': theirs ' .. tostring(a[i]) .. ', ours ' .. tostring(b[i]), 0) end end\n"
        "end\n"
        "for n = 190, 210 do\n"
        "  case('find', ('a'):rep(n), ('a?'):rep(n))\n"
        "  case('find', ('a'):rep(n), ('a-'):rep(n) .. 'b?$')\n"
        "  case('find', ('a'):rep(n), ('a*'):rep(n))\n"
        "  case('find', ('a'):rep(n), ('b*'):rep(n) .. 'a')\n"
        "  case('gsub', 'x', ('()'):rep(n // 2) .. 'x', '')\n"
        "end\n"
        "for n = 28, 36 do\n"
        "  case('find', ('a'):rep(n), ('(a)'):rep(n))\n"
        "  case('match', ('a'):rep(n), ('()'):rep(n))\n"
        "  case('find', ('a'):rep(n), ('('):rep(n) .. 'a')\n"
        "end\n"
        "for _, init in ipairs { math.mininteger, math.maxinteger, 0, -1, 1, 4, 5, -5 } do\n"
        "  case('find', 'abc', '', init) case('find', 'abc', '', init, true) case('match', 'abc', '()', "
        "init)\n"
        "  case('find', 'abc', 'c', init) case('gsub', 'abc', '%w', '%0%0', init)\n"
        "end\n"
        "case('find', 123, 2) case('match', 1.5, '%.') case('gsub', 1.5, '%.', 7) case('gsub', 'a', 'a', "
        "2.5)\n"
        "case('gsub', 'abc', 'b', true) case('gsub', 'abc', 'b') case('gsub', 'abc') case('find', 'abc')\n"
        "case('find') case('find', {}, 'a') case('match', 'a', {}) case('find', 'a', 'a', 'x') "
        "case('gmatch', "
        "'a')\n"
        "case('gsub', 'abc', 'b', function() return {} end) case('gsub', 'abc', 'b', { b = {} })\n"
        "case('gsub', 'abc', '(b', '') case('gsub', 'abc', 'b', '%1') case('gsub', 'abc', 'b', '%2')\n"
        "case('gsub', 'abc', '()b', '<%1>') case('gsub', 'abc', '()b', { [2] = 'two' })\n"
        "case('gsub', 'hello world', '(o)(.)', '%2%1') case('gsub', 'abc', '', '-') case('gsub', 'abc', '^', "
        "'-')\n"
        "case('gsub', 'aXb', '%f[%u]', '|') case('find', 'a\\0b', '\\0') case('find', 'a\\0b', '[\\0-\\1]')\n"
        "case('find', 'THE (quick) fox', '%((%a+)%)') case('match', 'key = value', '^(%w+)%s*=%s*(%w+)$')\n"
        "case('gsub', 'x', 'x', function() error('mine', 0) end) case('find', 'abba', '(a)(b)%2%1')\n"
        "case('find', 'abc', '()%1') case('find', 'a', '(a') case('find', 'a', 'a)') case('find', 'a', "
        "'%1')\n"
        "case('find', ('a'):rep(3000), '.-b') case('find', ('ab'):rep(3000), '^(ab)*$') case('find', "
        "('a'):rep(70000) .. 'b', 'a-b')\n";
    open_both();
    lua_State *L = box.L;
    if (luaL_loadstring(L, rows) != LUA_OK) fail_msg("%s", lua_tostring(L, -1));
    lua_pushvalue(L, 1);
    lua_getglobal(L, "string");
    lua_createtable(L, 0, 4);
    static const luaL_Reg ours[] = {{"find", hm_pattern_find},
                                    {"match", hm_pattern_match},
                                    {"gmatch", hm_pattern_gmatch},
                                    {"gsub", hm_pattern_gsub},
                                    {NULL, NULL}};
    luaL_setfuncs(L, ours, 0);
    if (lua_pcall(L, 3, 0, 0) != LUA_OK) fail_msg("%s", lua_tostring(L, -1));
    hm_sandbox_close(&box);
}

static void a_pattern_that_would_not_end_meets_its_limit(void **state) {
    (void)state;
    static const char *const rows[] = {
        "find(('a'):rep(3000), '.-.-.-.-b')",
        "find(('a'):rep(32), ('a?'):rep(32) .. ('a'):rep(33))",
        "find(('('):rep(200000), '%b()')",
        "match(('a'):rep(100000), '.-.-b')",
        "gsub(('a'):rep(100000), '.-b', '')",
        "gsub(('('):rep(200000), '%b()', '')",
        "match(('ab'):rep(50000), '(.-)%1%1b')",
        "find(('a'):rep(200000), '(a*)*[' .. ('b'):rep(100000) .. ']')",
        "find(('a'):rep(100000), '%f[' .. ('b'):rep(100000) .. ']')",
        "for w in gmatch(('a'):rep(200000), 'a-b') do end",
    };
    struct hm_error err = {0};
    if (!hm_sandbox_open(&box, NULL, &err)) fail_msg("%s", err.message);
    lua_State *L = box.L;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char chunk[300];
        snprintf(chunk, sizeof chunk, "local find, match, gmatch, gsub = ... %s", rows[i]);
        if (luaL_loadstring(L, chunk) != LUA_OK) fail_msg("%s", lua_tostring(L, -1));
        lua_pushcfunction(L, hm_pattern_find);
        lua_pushcfunction(L, hm_pattern_match);
        lua_pushcfunction(L, hm_pattern_gmatch);
        lua_pushcfunction(L, hm_pattern_gsub);
        if (lua_pcall(L, 4, 0, 0) == LUA_OK) fail_msg("%s comes to an end", rows[i]);
        if (!strstr(lua_tostring(L, -1),
                    "the limit of 10000000 steps of a pattern was exceeded on a text of"))
            fail_msg("%s: %s", rows[i], lua_tostring(L, -1));
        lua_settop(L, 0);
    }
    hm_sandbox_close(&box);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(random_patterns_give_what_lua_gives),
    cmocka_unit_test(special_patterns_give_what_lua_gives),
    cmocka_unit_test(a_pattern_that_would_not_end_meets_its_limit),
};
int main(void) {
    return cmocka_run_group_tests(tests, NULL, NULL);
}
