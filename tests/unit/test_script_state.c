// No state between calls: whatever a plugin would keep from one call for the next is found, with the place,
// and the next call sees what was loaded. And the limit of the clock on the wall.
#include "script/host.h"
#include "script_fixture.h"
#include <lauxlib.h>
#include <time.h>

static void has(const char *text, const char *part) {
    if (!strstr(text, part)) fail_msg("\"%s\" is not in: %s", part, text);
}

// ---- tables ------------------------------------------------------------------------------------

static const char keeper[] =
    "local people = require 'lib.people'\n"
    "local one = { n = 0 }\n"
    "local empty, list, nested = {}, { 1, 2, 3 }, { deep = { deeper = { n = 0 } } }\n"
    "local Class = {} Class.__index = Class\n"
    "local object = setmetatable({ n = 0 }, Class)\n"
    "local walk = ('a b c'):gmatch('%a')\n"
    "local function factory() local kept = { n = 0 } return function() kept.n = kept.n + 1 return kept.n end "
    "end\n"
    "local made = factory()\n"
    "local K = {}\n"
    "function K.member() one.n = one.n + 1\n"
    "  return one.n end\n"
    "function K.new_member() one.more = 1 end\n"
    "function K.no_more() one.n = nil end\n"
    "function K.empty() empty[1] = 1 end\n"
    "function K.empty_name() empty.name = {} end\n"
    "function K.append() list[#list + 1] = 4 end\n"
    "function K.in_place() list[1] = 9 end\n"
    "function K.deeper() nested.deep.deeper.n = 1 end\n"
    "function K.insert() table.insert(list, 4) end\n"
    "function K.remove() table.remove(list) end\n"
    "function K.sort() table.sort(list, function(a, b) return a > b end) end\n"
    "function K.move() table.move({ 7, 8, 9, 10 }, 1, 4, 1, list) end\n"
    "function K.object() object.n = 1 end\n"
    "function K.class() getmetatable(object).n = 1 end\n"
    "function K.meta() setmetatable(one, { __index = { more = 1 } }) end\n"
    "function K.meta_of_empty() setmetatable(empty, Class) end\n"
    "function K.made() return made() end\n"
    "function K.argument() local function put(t) t.x = 1 end put(empty) end\n"
    "function K.library() string.rep = nil end\n"
    "function K.library_more() table.mine = {} end\n"
    "function K.host() store.kept = 1 end\n"
    "function K.environment() text = 1 end\n"
    "function K.module() people.kept = {} end\n"
    "function K.declaration() plugins.get('service', 'keeper').title = 'x' end\n"
    "function K.listed() plugins.all('service')[1].kept = 1 end\n"
    "function K.functions() K.member = nil end\n"
    "function K.iterator() return walk() end\n"
    "function K.caught() pcall(function() one.n = one.n + 1 end) return 'swallowed' end\n"
    "function K.closed() local m = setmetatable({}, {}) getmetatable(m).__close = function() end "
    "local c <close> = m one.n = 1 return 'swallowed' end\n"
    "function K.same_again() one.n = 0 end\n" // also what changes nothing: it is the write that is found
    "local G = {}\n"
    "function G.fresh() local t = { n = 0 } t.n = t.n + 1 t[1] = 1 table.insert(t, 2) setmetatable(t, Class) "
    "return t.n end\n"
    "function G.object() local o = setmetatable({}, Class) o.n = 1 return o.n end\n"
    "function G.reads() local n = 0 for _, v in ipairs(list) do n = n + v end for _ in pairs(one) do n = n + "
    "1 "
    "end return n + #list + nested.deep.deeper.n end\n"
    "function G.copy() local t = table.move(list, 1, #list, 1, {}) table.sort(t) return table.concat(t) end\n"
    "function G.counts() local n = 0 local function up() n = n + 1 end up() up() return n end\n"
    "function G.params(p) p.more = 1 p.what = nil return p.more end\n"
    "function G.lists() local all = plugins.all('service') all[1] = nil return #all end\n"
    "function G.state() return one.n .. #list .. nested.deep.deeper.n .. tostring(empty[1]) .. "
    "tostring(one.more) "
    ".. tostring(getmetatable(one)) .. tostring(object.n) .. type(string.rep) .. type(text) end\n"
    "return service { id = 'keeper', methods = {\n"
    "  ['k.run'] = { access = 'public', open_params = true, run = function(ctx, p) return K[p.what](p) end "
    "},\n"
    "  ['g.run'] = { access = 'public', open_params = true, run = function(ctx, p) return G[p.what](p) end } "
    "} }\n";

static const char untouched[] = "\"030nilnilnil0functiontable\"";

static void what_a_call_would_keep_ends_it(void **state) {
    (void)state;
    static const char *const rows[] = {
        "member",   "new_member",   "no_more", "empty",         "empty_name", "append",
        "in_place", "deeper",       "insert",  "remove",        "sort",       "move",
        "object",   "class",        "meta",    "meta_of_empty", "made",       "argument",
        "library",  "library_more", "host",    "environment",   "module",     "declaration",
        "listed",   "functions",    "caught",  "closed",        "same_again"};
    struct sw w;
    sw_prepare(&w, NULL);
    sw_write_file(&w, "services/keeper.lua", keeper);
    if (!sw_start(&w, "")) fail_msg("refused: %s", w.data);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char params[60];
        snprintf(params, sizeof params, "{\"what\":\"%s\"}", rows[i]);
        if (sw_call_as(&w, "k.run", params, "{}", 0)) fail_msg("%s gives %s", rows[i], w.result);
        if (w.code != HM_PLUGIN) fail_msg("%s: %d %s", rows[i], w.code, w.data);
        has(w.data, "\"plugin\":\"keeper\",\"version\":\"");
        has(w.data, "\"message\":\"a table that was made when the plugin was loaded was changed");
        has(w.data, "\"file\":\"services/keeper.lua\",\"line\":");
        sw_gives(&w, "g.run", "{\"what\":\"state\"}", untouched);
    }
    sw_fails(&w, "k.run", "{\"what\":\"iterator\"}", HM_PLUGIN, "this iterator belongs to an earlier call");
    sw_fails(&w, "k.run", "{\"what\":\"member\"}", HM_PLUGIN, "\"line\":11"); // where it goes on
    sw_free(&w);
}

static void what_a_call_makes_for_itself_it_may_change(void **state) {
    (void)state;
    static const char *const rows[][2] = {{"fresh", "1"},      {"object", "1"}, {"reads", "10"},
                                          {"copy", "\"123\""}, {"counts", "2"}, {"params", "1"},
                                          {"lists", "0"}};
    struct sw w;
    sw_prepare(&w, NULL);
    sw_write_file(&w, "services/keeper.lua", keeper);
    if (!sw_start(&w, "")) fail_msg("refused: %s", w.data);
    for (int turn = 0; turn < 300; turn++) // the collector of garbage goes its rounds, too
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            char params[60];
            snprintf(params, sizeof params, "{\"what\":\"%s\"}", rows[i][0]);
            sw_gives(&w, "g.run", params, rows[i][1]);
        }
    sw_gives(&w, "g.run", "{\"what\":\"state\"}", untouched);
    sw_free(&w);
}

// ---- variables ---------------------------------------------------------------------------------

struct variable_row {
    const char *source;
    int line;         // 0: it is taken
    const char *name; // of the variable
};

static void a_variable_that_would_keep_a_value_is_refused(void **state) {
    (void)state;
#define TAIL " return service { id = 'a', methods = { ['a.n'] = { access = 'public', run = "
    static const struct variable_row rows[] = {
        {"local n = 0\n" TAIL "function()\n n = n + 1 return n end } } }", 2, "n"},
        {"local n = 0\nlocal function up()\n n = n + 1 end\n" TAIL "function() up() return n end } } }", 2,
         "n"},
        {"local n = 0\nlocal t = { up = function() n = 1 end }\n" TAIL "function() t.up() end } } }", 2, "n"},
        {"local function factory() local n = 0\n return function() n = n + 1 return n end end\n"
         "local f = factory()\n" TAIL "function() return f() end } } }",
         2, "n"},
        {"local last\n" TAIL "function(ctx, p)\n local function inner()\n last = p end inner() end } } }", 2,
         "last"},
        {"local meta = {}\nlocal o = setmetatable({}, meta)\nlocal n\nfunction meta.__index() n = 1 "
         "end\n" TAIL "function() return o.x end } } }",
         4, "n"},
        {"" TAIL "function() _ENV = {} end } } }", 1, "_ENV"},
        // What is done while the file is loaded, or within a call, is done with when it is over.
        {"local n = 0\nlocal function next_id() n = n + 1 return 'a.' .. n end\nlocal id = next_id()\n" TAIL
         "function() return id end } } }",
         0, NULL},
        {"" TAIL "function() local n = 0 local function up() n = n + 1 return function() n = n + 1 end end "
         "up()() return n end } } }",
         0, NULL},
        {"local big = {} for i = 1, 300 do big[i] = i * 1.5 end local s = ('x'):rep(300)\n" TAIL
         "function(ctx, p, ...) local a, b = 1 << 40, 0x1p-3 for i = 1, 3 do a = a + i end return s end } } "
         "}",
         0, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sw w;
        char place[80], variable[80];
        sw_prepare(&w, NULL);
        sw_write_file(&w, "services/a.lua", rows[i].source);
        bool taken = sw_start(&w, "");
        if (taken != !rows[i].line) fail_msg("row %zu: %s", i, w.data);
        if (!taken) {
            snprintf(place, sizeof place, "\"plugin\":\"a\",\"file\":\"services/a.lua\",\"line\":%d,",
                     rows[i].line);
            snprintf(variable, sizeof variable, "changes '%s', a local variable outside of it", rows[i].name);
            has(w.data, place);
            has(w.data, variable);
            assert_null(strchr(strchr(w.data, '{') + 1, '{')); // once
            sw_stop(&w);
        }
        sw_free(&w);
    }
}

// What ships has none of it: all of it loads, and its own tests run within the seal.
static void a_candidates_tests_run_within_the_seal(void **state) {
    (void)state;
    struct sw w;
    sw_prepare(&w, NULL);
    assert_false(sw_start(
        &w,
        "\"run_tests\":true,\"candidates\":[{\"kind\":\"service\",\"id\":\"a\",\"source\":\"local t = {}\\n"
        "return service { id = 'a', tests = { ['it keeps'] = function() t.x = 1 end } }\"}]"));
    has(w.data, "test \\\"it keeps\\\": a table that was made when the plugin was loaded was changed");
    sw_stop(&w);
    sw_free(&w);
}

// ---- the wall's clock --------------------------------------------------------------------------

static int nap(lua_State *L) {
    struct timespec t = {0, 150000000};
    (void)L;
    while (nanosleep(&t, &t) != 0)
        ;
    return 0;
}

static void a_call_that_waits_meets_the_clock_on_the_wall(void **state) {
    (void)state;
#if defined(__SANITIZE_THREAD__)
    skip(); // there the time is looked up in place of the signal
#endif
    struct hm_error err = {0};
    struct hm_sandbox box;
    assert_true(hm_sandbox_start(&err));
    assert_true(hm_sandbox_open(&box, NULL, &err));
    assert_int_equal(luaL_loadbufferx(box.L, S("local nap, pcall = ...\n pcall(nap)\n while true do end").ptr,
                                      strlen("local nap, pcall = ...\n pcall(nap)\n while true do end"),
                                      "@nap.lua", "t"),
                     LUA_OK);
    lua_pushcfunction(box.L, nap);
    lua_newtable(box.L);
    hm_sandbox_library(box.L);
    lua_getfield(box.L, -1, "pcall");
    lua_remove(box.L, -2);
    hm_sandbox_arm(&box, 3000, 100, 0);
    assert_int_not_equal(lua_pcall(box.L, 2, 0, 0), LUA_OK);
    hm_sandbox_disarm(&box);
    assert_int_equal(box.stop, HM_STOP_WALL);
    assert_string_equal(box.file, "nap.lua");
    assert_int_equal(box.line, 3);
    assert_true(hm_sandbox_spent(&box));
    hm_sandbox_close(&box);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_a_call_would_keep_ends_it),
    cmocka_unit_test(what_a_call_makes_for_itself_it_may_change),
    cmocka_unit_test(a_variable_that_would_keep_a_value_is_refused),
    cmocka_unit_test(a_candidates_tests_run_within_the_seal),
    cmocka_unit_test(a_call_that_waits_meets_the_clock_on_the_wall),
};
SCRIPT_MAIN(tests)
