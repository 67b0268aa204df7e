// What plugins try, and what stops them: the caller gets a clean error in time, and the worker (with a new
// state) serves on.
#include "base/arena.h"
#include "base/csv.h"
#include "script/host.h"
#include "script_fixture.h"
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>

static const char hostile[] =
    "local H = {}\n"
    "function H.loop() while true do end end\n"
    "function H.goto_loop() ::a:: goto a end\n"
    "function H.loop_in_pcall() while true do pcall(function() while true do end end) end end\n"
    "function H.loop_behind_pcall() pcall(function() while true do end end) while true do end end\n"
    "function H.deep_pcalls() local function f() while true do pcall(f) end end f() end\n"
    "function H.error_table() local e = setmetatable({}, { __tostring = function() while true do end end }) "
    "error(e) end\n"
    "function H.index_loop() local t = setmetatable({}, { __index = function(t, k) return t[k + 1] end }) "
    "return t[1] end\n"
    "function H.pairs_loop() for k in pairs(setmetatable({}, { __pairs = function() return function() return "
    "1 end end })) do end end\n"
    "function H.walk_loop() while true do for r in store.each('note') do end end end\n"
    "function H.count_loop() while true do store.count('note') end end\n"
    "function H.memory() local t = {} for i = 1, 1e9 do t[i] = { i, i } end end\n"
    "function H.memory_in_pcall() while true do pcall(function() local t = {} for i = 1, 1e9 do t[i] = { i, "
    "i } end end) end end\n"
    "function H.sizes() for size = 48, 432, 32 do local t = {} for i = 1, 16e6 // size do t[i] = "
    "('x'):rep(size)"
    " end end return 'all' end\n"
    "function H.doubling() local s = 'x' while true do s = s .. s end end\n"
    "function H.unpacked() return select('#', table.unpack({}, 1, 1e8)) end\n"
    "function H.rep() return ('x'):rep(1 << 60) end\n"
    "function H.rep_none() return (''):rep(1 << 60) end\n"
    "function H.recursion() local function f() return 1 + f() end return f() end\n"
    "function H.gsub_recursion() local function f(s) return (s:gsub('.', f)) end return f('abc') end\n"
    "function H.gc() setmetatable({}, { __gc = function() while true do end end }) end\n"
    "function H.close() setmetatable({}, { __close = function() while true do end end }) end\n"
    "function H.close_later() local m = setmetatable({}, {}) getmetatable(m).__close = function() while true "
    "do end end local x <close> = m while true do end end\n"
    "function H.strings() getmetatable('').__index = {} end\n"
    "function H.array_meta() getmetatable(store.array {}).__index = {} end\n"
    "function H.insert_lying() table.insert(setmetatable({}, { __len = function() return 1 << 50 end }), 1, "
    "1) end\n"
    "function H.move() table.move({}, 1, 1 << 50, 2) end\n"
    "function H.concat() return table.concat(setmetatable({}, { __index = function() return 'x' end, __len = "
    "function() return 1 << 50 end })) end\n"
    "function H.sort_big() local t = {} for i = 1, 300000 do t[i] = 0 end table.sort(t) end\n"
    "function H.long_pattern() return (('a'):rep(300000)):find('.-b') end\n"
    "function H.lazy_pattern() return (('a'):rep(3000)):find('.-.-.-.-b') end\n"
    "function H.optional_pattern() return (('a'):rep(32)):find(('a?'):rep(32) .. ('a'):rep(33)) end\n"
    "function H.balanced_pattern() return (('('):rep(200000)):find('%b()') end\n"
    "function H.each_pattern() for w in (('('):rep(200000)):gmatch('%b()') do end end\n"
    "function H.replaced_pattern() return (('a'):rep(100000)):gsub('.-b', '') end\n"
    "function H.caught_patterns() while true do pcall(string.find, ('a'):rep(3000), '.-.-.-.-b') end end\n"
    "function H.xpcall() return xpcall(function() while true do end end, function() while true do end end) "
    "end\n"
    "function H.collect() return collectgarbage('count') end\n"
    "function H.insert_border() local t = {} for k = 61, 0, -1 do t[1 << k] = 1 end table.insert(t, 1, 0) "
    "end\n"
    "function H.remove_border() local t = {} for k = 61, 0, -1 do t[1 << k] = 1 end table.remove(t, 1) end\n"
    "function H.concat_border() local t = {} for k = 61, 0, -1 do t[1 << k] = 'x' end return table.concat(t) "
    "end\n"
    "function H.unpack_border() local t = {} for k = 61, 0, -1 do t[1 << k] = 1 end return table.unpack(t) "
    "end\n"
    "function H.sort_texts() local t, s = {}, ('x'):rep(4 << 20) for i = 1, 250000 do t[i] = s end "
    "table.sort(t) end\n"
    "function H.sort_disorder() local t = {} for i = 1, 250000 do t[i] = i end table.sort(t, function(a, b) "
    "return true end) end\n"
    "function H.address() return ('%p'):format({}) end\n"
    "function H.insert_key() table.insert({}, 1 << 60, 1) end\n"
    "function H.codes() return utf8.char(1 << 40) end\n"
    "function H.wide() return ('%999999d'):format(1) end\n"
    "function H.many_args() return string.char(table.unpack({}, 1, 1 << 40)) end\n"
    "function H.close_loop() local c <close> = setmetatable({}, {}) error(setmetatable({}, { __index = "
    "function() while true do end end })) end\n"
    "function H.sort_catch() while true do pcall(table.sort, { 2, 1, 3 }, function() while true do end end) "
    "end end\n"
    "function H.gsub_catch() return (('x'):rep(9)):gsub('x', function() pcall(function() while true do end "
    "end) return 'y' end) end\n"
    "function H.index_catch() local t = setmetatable({}, { __index = function() pcall(function() while true "
    "do end end) return 1 end }) return t.a end\n"
    "function H.log_catch() for i = 1, 10 do pcall(log.info, 'x') end return 'swallowed' end\n"
    "function H.deep_calls() local function r(...) pcall(function(...) local function q(...) local t = {} "
    "return q(...), 1 end q('x') end) return r(...), 1 end r(nil) end\n"
    "function H.output() return ('x'):rep(2 << 20) end\n"
    "function H.load() return load('return 1')() end\n"
    "function H.io() return io.open('/etc/passwd') end\n"
    "function H.os() return os.time() end\n"
    "function H.debug() return debug.getregistry() end\n"
    "function H.coroutine() return coroutine.wrap(function() while true do end end)() end\n"
    "function H.package() return require('package') end\n"
    "function H.kinds() return require('lib.kinds.service') end\n"
    "function H.dump() return string.dump(print) end\n"
    "function H.global() leaked = 1 end\n"
    "function H.env() _ENV.leaked = 1 end\n"
    "function H.env_meta() return getmetatable(_ENV).__index end\n"
    "function H.result_cycle() local t = {} t.t = t return t end\n"
    "function H.result_function() return { f = print_nothing } end\n"
    "function H.result_nan() return { a = { 0 / 0 } } end\n"
    "function H.result_bytes() return '\\xff' end\n"
    "function H.result_mixed() return { 1, 2, x = 3 } end\n"
    "function H.writes() local s = ('x'):rep(500000) for i = 1, 1000 do store.put('note', { id = 'n' .. i, "
    "data = { s = s } }) end end\n"
    "function H.refused_writes() local s = ('x'):rep(500000) local kept, refused = 0, 0 for i = 1, 2000 do "
    "if pcall(store.put, 'note', { id = 'n' .. i, data = { s = s } }) then kept = kept + 1 else refused = "
    "refused + 1 end end local n = 0 for r in store.each('note') do if r.id ~= 'a' then n = n + 1 end end "
    "return { same = n == kept, refused = refused > 0 and kept > 0 } end\n"
    "function H.walk_of_another() local f, s, v, w = store.each('note') return getmetatable(w).__close end\n"
    "function H.good() return 'good' end\n"
    "function H.caught_limit() local ok, why = pcall(function() while true do end end) return { ok = ok } "
    "end\n"
    "return service { id = 'hostile', records = { note = { key = 'natural', fields = { s = text {} } } }, "
    "methods = { ['h.run'] = { access = 'public', writes = true,\n"
    "  run = function(ctx, p) return H[p.what]() end } } }\n";

static void has(const char *text, const char *part) {
    if (!strstr(text, part)) fail_msg("\"%s\" is not in: %s", part, text);
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void each_is_stopped_and_the_worker_serves_on(void **state) {
    (void)state;
    static const struct {
        const char *what;
        enum hm_code code;
        const char *says;
    } rows[] = {
        {"loop", HM_DEADLINE, "{\"limit\":\"cpu\",\"limit_ms\":200,\"plugin\":\"hostile\",\"version\":\""},
        {"loop", HM_DEADLINE, "\"file\":\"services/hostile.lua\",\"line\":2}"},
        {"goto_loop", HM_DEADLINE, "\"line\":3}"},
        {"loop_in_pcall", HM_DEADLINE, "\"line\":4}"},
        {"loop_behind_pcall", HM_DEADLINE, "limit_ms"},
        {"deep_pcalls", HM_DEADLINE, "limit_ms"},
        {"caught_limit", HM_DEADLINE, "limit_ms"},
        {"error_table", HM_PLUGIN, "an error value of type table"},
        {"index_loop", HM_PLUGIN, "stack overflow"},
        {"pairs_loop", HM_DEADLINE, "limit_ms"},
        {"walk_loop", HM_DEADLINE, "limit_ms"},
        {"count_loop", HM_DEADLINE, "limit_ms"},
        {"memory", HM_TOO_LARGE, "\"limit\":\"memory\""},
        {"memory", HM_TOO_LARGE, "\"file\":\"services/hostile.lua\",\"line\":12}"},
        {"memory_in_pcall", HM_TOO_LARGE, "\"limit\":\"memory\""},
        {"doubling", HM_TOO_LARGE, "\"limit_bytes\":67108864"},
        {"unpacked", HM_PLUGIN, "too many results to unpack"},
        {"rep", HM_PLUGIN, "string.rep: the result would be longer"},
        {"rep_none", HM_PLUGIN, "string.rep: too many times"},
        {"recursion", HM_TOO_LARGE, "\"limit\":\"memory\""},
        {"gsub_recursion", HM_PLUGIN, "C stack overflow"},
        {"gc", HM_PLUGIN, "__gc is not offered"},
        {"close", HM_PLUGIN, "__close is not offered"},
        {"close_later", HM_DEADLINE, "limit_ms"},
        {"strings", HM_PLUGIN, "index a boolean value"},
        {"array_meta", HM_PLUGIN, "index a boolean value"},
        {"insert_lying", HM_PLUGIN, "plain tables"},
        {"move", HM_PLUGIN, "table.move: more than"},
        {"concat", HM_PLUGIN, "plain tables"},
        {"sort_big", HM_PLUGIN, "table.sort: more than"},
        {"long_pattern", HM_PLUGIN, "the limit of 10000000 steps of a pattern was exceeded"},
        {"long_pattern", HM_PLUGIN, "\"file\":\"services/hostile.lua\",\"line\":30,"},
        {"lazy_pattern", HM_PLUGIN, "the limit of 10000000 steps of a pattern was exceeded"},
        {"optional_pattern", HM_PLUGIN, "the limit of 10000000 steps of a pattern was exceeded"},
        {"balanced_pattern", HM_PLUGIN, "the limit of 10000000 steps of a pattern was exceeded"},
        {"each_pattern", HM_PLUGIN, "the limit of 10000000 steps of a pattern was exceeded"},
        {"replaced_pattern", HM_PLUGIN, "the limit of 10000000 steps of a pattern was exceeded"},
        {"caught_patterns", HM_DEADLINE, "\"limit\":\"cpu\""},
        {"xpcall", HM_PLUGIN, "the name 'xpcall' is not known here"},
        {"collect", HM_PLUGIN, "the name 'collectgarbage' is not known here"},
        {"insert_border", HM_PLUGIN, "table.insert: would move more than"},
        {"remove_border", HM_PLUGIN, "table.remove: would move more than"},
        {"concat_border", HM_PLUGIN, "invalid value (nil) at index 3"},
        {"unpack_border", HM_PLUGIN, "too many results to unpack"},
        {"sort_texts", HM_DEADLINE, "\"limit\":\"cpu\""},
        {"sort_disorder", HM_PLUGIN, "invalid order function"},
        {"address", HM_PLUGIN, "'%p' is not offered"},
        {"insert_key", HM_PLUGIN, "position out of bounds"},
        {"codes", HM_PLUGIN, "value out of range"},
        {"wide", HM_PLUGIN, "invalid conversion"},
        {"many_args", HM_PLUGIN, "too many results to unpack"},
        {"close_loop", HM_PLUGIN, ""},
        {"sort_catch", HM_DEADLINE, "\"limit\":\"cpu\""},
        {"gsub_catch", HM_DEADLINE, "\"limit\":\"cpu\""},
        {"index_catch", HM_DEADLINE, "\"limit\":\"cpu\""},
        {"deep_calls", HM_DEADLINE, "\"limit\":\"cpu\""},
        {"log_catch", HM_TOO_LARGE,
         "{\"limit\":\"log_lines\",\"limit_lines\":3,\"plugin\":\"hostile\",\"version\":\""},
        {"output", HM_TOO_LARGE,
         "{\"limit\":\"output\",\"limit_bytes\":1048576,\"plugin\":\"hostile\",\"version\":\""},
        {"load", HM_PLUGIN, "the name 'load' is not known here"},
        {"io", HM_PLUGIN, "the name 'io' is not known here"},
        {"os", HM_PLUGIN, "the name 'os' is not known here"},
        {"debug", HM_PLUGIN, "the name 'debug' is not known here"},
        {"coroutine", HM_PLUGIN, "the name 'coroutine' is not known here"},
        {"package", HM_PLUGIN, "there is no shared module 'package'"},
        {"kinds", HM_PLUGIN, "there is no shared module"},
        {"dump", HM_PLUGIN, "not known here"},
        {"global", HM_PLUGIN, "'leaked' would be a global"},
        {"env", HM_PLUGIN, "'leaked' would be a global"},
        {"env_meta", HM_PLUGIN, "index a boolean value"},
        {"result_cycle", HM_PLUGIN, "a table inside itself"},
        {"result_function", HM_PLUGIN, "not known here"},
        {"result_nan", HM_PLUGIN, "a[0]: not a number"},
        {"result_bytes", HM_PLUGIN, "not UTF-8"},
        {"result_mixed", HM_PLUGIN, "a list with names"},
        {"writes", HM_TOO_LARGE, "own writes"},
        {"walk_of_another", HM_PLUGIN, "index a boolean value"},
    };
    struct sw w;
    sw_prepare(&w, "[{\"name\":\"note\",\"key\":\"natural\",\"indexes\":[]}]");
    sw_write_file(&w, "services/hostile.lua", hostile);
    fx_put(&w.f, "note", "a", "{}");
    if (!sw_start(&w, "")) fail_msg("refused: %s", w.data);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char params[100];
        snprintf(params, sizeof params, "{\"what\":\"%s\"}", rows[i].what);
        double before = seconds();
        // Under a sanitizer everything is slow: where the time is not the point there is enough of it.
        sw_post(&w, "h.run", params, "{}", rows[i].code == HM_DEADLINE ? 200 : 6000, 0);
        if (!sw_answer(&w)) fail_msg("%s: the worker is gone", rows[i].what);
        if (w.ok) fail_msg("%s gives %s", rows[i].what, w.result);
        if (seconds() - before > 8) fail_msg("%s took %g s", rows[i].what, seconds() - before);
        if (w.code != rows[i].code) fail_msg("%s: %d %s", rows[i].what, w.code, w.data);
        has(w.data, rows[i].says);
        sw_gives(&w, "h.run", "{\"what\":\"good\"}", "\"good\"");
    }
    sw_free(&w);
}

// What was given back in one size is of no use in another: it is kept, and counts.
static void filling_one_size_after_the_other_meets_the_limit(void **state) {
    (void)state;
    struct sw w;
    if (!HM_POOLED) skip();
    sw_prepare(&w, "[{\"name\":\"note\",\"key\":\"natural\",\"indexes\":[]}]");
    sw_write_file(&w, "services/hostile.lua", hostile);
    if (!sw_start(&w, "")) fail_msg("refused: %s", w.data);
    sw_post(&w, "h.run", "{\"what\":\"sizes\"}", "{}", 20000, 0);
    if (!sw_answer(&w)) fail();
    if (w.ok) fail_msg("gives %s", w.result);
    assert_int_equal(w.code, HM_TOO_LARGE);
    has(w.data, "\"limit\":\"memory\"");
    sw_gives(&w, "h.run", "{\"what\":\"good\"}", "\"good\"");
    sw_free(&w);
}

static void a_refused_write_is_not_kept(void **state) {
    (void)state;
    struct sw w;
    sw_prepare(&w, "[{\"name\":\"note\",\"key\":\"natural\",\"indexes\":[]}]");
    sw_write_file(&w, "services/hostile.lua", hostile);
    if (!sw_start(&w, "")) fail_msg("refused: %s", w.data);
    sw_post(&w, "h.run", "{\"what\":\"refused_writes\"}", "{}", 6000, 0);
    if (!sw_answer(&w) || !w.ok) fail_msg("%d %s", w.code, w.data);
    has(w.result, "\"same\":true");
    has(w.result, "\"refused\":true");
    sw_free(&w);
}

// In one process: what a worker does behind each call.
static void a_state_is_made_anew_after_many_calls(void **state) {
    (void)state;
    struct hm_error err = {0};
    struct hm_host *host = hm_alloc(sizeof *host);
    host->limits = (struct hm_limits){.cpu_ms = 2000, .memory_bytes = 64u << 20, .output_bytes = 1u << 20};
    assert_true(hm_sandbox_start(&err));
    if (!hm_sources_read_shipped(&host->sources, HAMROH_SOURCE_DIR "/plugins", &err))
        fail_msg("%s", err.message);
    if (!hm_host_load(host)) fail_msg("%s", host->problems.data);
    host->calls = HM_CALLS_OF_STATE - 1;
    assert_true(hm_host_renew(host));
    assert_int_equal(host->calls, HM_CALLS_OF_STATE - 1);
    host->calls++;
    assert_true(hm_host_renew(host));
    assert_int_equal(host->calls, 0);
    hm_host_free(host);
}

// Whatever a worker does that no limit of its own ends (here it is made to stand still), it is ended from
// outside, and holds nothing.
static void a_worker_that_does_not_answer_is_ended_from_outside(void **state) {
    (void)state;
    struct sw w;
    int status;
    sw_prepare(&w, NULL);
    sw_write_file(&w, "services/a.lua", "return service { id = 'a' }");
    assert_true(sw_start(&w, ""));
    assert_int_equal(kill(w.pid, SIGSTOP), 0);
    assert_int_equal(waitpid(w.pid, &status, WUNTRACED), w.pid);
    sw_post(&w, "a.any", "{}", "{}", 100, 0);
    assert_int_equal(kill(w.pid, SIGKILL), 0);
    assert_false(sw_answer(&w));
    status = sw_stop(&w);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    sw_free(&w);
}

// A finalizer that is put into a metatable later is none: Lua has not been told. It does not run when the
// state is closed, either.
static void a_finalizer_that_comes_later_never_runs(void **state) {
    (void)state;
    struct sw w;
    sw_prepare(&w, NULL);
    sw_write_file(
        &w, "services/a.lua",
        "return service { id = 'a', methods = { ['a.gc'] = { access = 'public', run = function()\n"
        "  for i = 1, 1000 do local m = setmetatable({}, {}) getmetatable(m).__gc = function() while "
        "true do end end end\n"
        "  local garbage for i = 1, 200000 do garbage = { i } end return 'done' end } } }");
    assert_true(sw_start(&w, ""));
    assert_true(sw_call_as(&w, "a.gc", "{}", "{}", 0));
    assert_int_equal(sw_stop(&w), 0);
    sw_free(&w);
}

static void what_would_take_long_in_c_is_bounded(void **state) {
    (void)state;
    struct sw w;
    sw_prepare(&w, NULL);
    sw_write_file(
        &w, "services/a.lua",
        "local T = {}\n"
        "function T.plain() local s = ('a'):rep(1 << 21) return s:find(('a'):rep(1 << 20) .. 'b', 1, true) "
        "== "
        "nil end\n"
        "function T.lines() local n = 0 for line in (('x,y\\n'):rep(1 << 17)):gmatch('[^\\n]+') do n = n + 1 "
        "end "
        "return n end\n"
        "function T.swap() return ((('ab'):rep(1 << 17)):gsub('(a)(b)', '%2%1')):sub(1, 4) end\n"
        "function T.shown() return ('%s %s %d %q'):format({}, nil, 3, 'x') .. tostring(print_none) end\n"
        "return service { id = 'a', methods = { ['a.run'] = { access = 'public', run = function(ctx, p) "
        "return "
        "T[p.what]() end } } }");
    if (!sw_start(&w, "")) fail_msg("refused: %s", w.data);
    static const char *const rows[][2] = {{"plain", "true"}, {"lines", "131072"}, {"swap", "\"baba\""}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char params[60];
        snprintf(params, sizeof params, "{\"what\":\"%s\"}", rows[i][0]);
        sw_post(&w, "a.run", params, "{}", 6000, 0);
        if (!sw_answer(&w) || !w.ok) fail_msg("%s: %d %s", rows[i][0], w.code, w.data);
        assert_string_equal(w.result, rows[i][1]);
    }
    sw_free(&w);
}

// What is refused before it runs.
static void hostile_sources_are_refused(void **state) {
    (void)state;
    struct hm_buf deep = {0};
    hm_buf_text(&deep, "return service { id = 'a', x = ");
    for (int i = 0; i < 100000; i++)
        hm_buf_char(&deep, '(');
    const struct {
        const char *source, *says;
    } rows[] = {
        {deep.data, "overflow"},
        {"\x1bLua\x54", "attempt to load a binary chunk"},
        {"while true do end", "ms of computing was exceeded"},
        {"local t = {} for i = 1, 1e9 do t[i] = { i } end", "bytes of memory was exceeded"},
        {"return service { id = 'a', x = setmetatable({}, { __gc = function() end }) }",
         "__gc is not offered"},
        {"store.get('note', 'a')", "store: not while the plugin is being loaded"},
        {"for r in store.each('note') do end", "store: not while the plugin is being loaded"},
        {"accounts.exists('a')", "accounts.exists: not while the plugin is being loaded"},
        {"accounts.invite { person = 'a' }", "accounts.invite: not while the plugin is being loaded"},
        {"log.info('a')", "log: not while the plugin is being loaded"},
        {"string.rep = nil; return service { id = 'b' }", "kept as 'a'"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sw w;
        struct hm_buf init = {0};
        sw_prepare(&w, NULL);
        hm_buf_text(&init, "\"candidates\":[{\"kind\":\"service\",\"id\":\"a\",\"source\":");
        hm_json_put_str(&init, S(rows[i].source));
        hm_buf_text(&init, "}]");
        if (sw_start(&w, init.data)) fail_msg("row %zu is taken", i);
        has(w.data, rows[i].says);
        int status = sw_stop(&w);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 2);
        sw_free(&w);
        hm_buf_free(&init);
    }
    hm_buf_free(&deep);
}

// The names are those that are allowed, in every library that Lua has; nothing of it leads elsewhere.
static void the_library_is_what_is_allowed(void **state) {
    (void)state;
    static const char *const none[] = {
        "_G",     "_VERSION", "collectgarbage", "dofile",  "load",     "loadfile", "loadstring", "print",
        "rawset", "warn",     "xpcall",         "io",      "os",       "package",  "debug",      "coroutine",
        "bit32",  "unpack",   "setfenv",        "getfenv", "newproxy", "module"};
    struct sw w;
    sw_prepare(&w, NULL);
    sw_write_file(
        &w, "services/a.lua",
        "local libs = { string = string, table = table, math = math, utf8 = utf8 }\n"
        "return service { id = 'a', methods = {\n"
        "  ['a.names'] = { access = 'public', params = { lib = text {} }, run = function(ctx, p) local out = "
        "{}\n"
        "    for name in pairs(libs[p.lib]) do out[#out + 1] = name end table.sort(out)\n"
        "    return table.concat(out, ' ') end },\n"
        "  ['a.has'] = { access = 'public', params = { name = text {} }, run = function(ctx, p) return "
        "rawget(_ENV, p.name) ~= nil end } } }");
    if (!sw_start(&w, "")) fail_msg("refused: %s", w.data);
    sw_gives(&w, "a.names", "{\"lib\":\"string\"}",
             "\"byte char find format gmatch gsub len lower match rep reverse sub upper\"");
    sw_gives(&w, "a.names", "{\"lib\":\"table\"}", "\"concat insert move pack remove sort unpack\"");
    sw_gives(&w, "a.names", "{\"lib\":\"utf8\"}", "\"char charpattern codepoint codes len offset\"");
    sw_gives(
        &w, "a.names", "{\"lib\":\"math\"}",
        "\"abs acos asin atan ceil cos deg exp floor fmod huge log max maxinteger min mininteger modf pi "
        "rad sin sqrt tan tointeger type ult\"");
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        char params[80];
        snprintf(params, sizeof params, "{\"name\":\"%s\"}", none[i]);
        sw_gives(&w, "a.has", params, "false");
    }
    sw_free(&w);
}

// ---- the walls ---------------------------------------------------------------------------------

static void tries_a_socket(void) {
    socket(AF_INET, SOCK_STREAM, 0);
}
static void tries_a_file(void) {
    if (open("/etc/passwd", O_RDONLY) < 0) return;
}
static void tries_a_child(void) {
    fork();
}
static void tries_a_program(void) {
    execl("/bin/true", "true", (char *)NULL);
}
static void tries_code(void) {
    if (mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
        MAP_FAILED)
        return;
}
static void tries_to_kill(void) {
    kill(getppid(), 0);
}
static void tries_a_thread(void) {
    static char stack[4096];
    syscall(SYS_clone, CLONE_VM | CLONE_THREAD | CLONE_SIGHAND, stack + sizeof stack, NULL, NULL, NULL);
}
static void tries_to_remove(void) {
    unlink("/tmp/hamroh-none");
}
static void tries_to_trace(void) {
    syscall(SYS_ptrace, 0, 0, 0, 0);
}
static void tries_more_limits(void) {
    struct rlimit more = {RLIM_INFINITY, RLIM_INFINITY};
    setrlimit(RLIMIT_NOFILE, &more);
}
static void tries_a_ring(void) {
    syscall(SYS_io_uring_setup, 1, NULL);
}
static void tries_to_make_code(void) {
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(p, 4096, PROT_READ | PROT_EXEC);
}
static void tries_a_name(void) {
    struct sockaddr_storage name;
    socklen_t len = sizeof name;
    getsockname(HM_WORKER_FD, (struct sockaddr *)&name, &len);
}

// What the limits refuse, the kernel says no to; the process goes on.
static void tries_what_is_limited(void) {
    void *p = mmap(NULL, (size_t)5 << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    if (p != MAP_FAILED) _exit(10);
    p = mmap(NULL, (size_t)200 << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p != MAP_FAILED) _exit(11);
}

// A descriptor that is sent does not arrive: none may be open beyond those that are.
static int handed = -1;
static void tries_to_be_handed_a_file(void) {
    char byte, space[CMSG_SPACE(sizeof(int))];
    struct iovec io = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &io, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    if (recvmsg(handed, &message, 0) != 1) _exit(12);
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    if (head && head->cmsg_len >= CMSG_LEN(sizeof(int))) _exit(13);
}
static void tries_memory(void) {
    free(malloc(100000000));
}

// Also where a sanitizer needs its files, none may be opened for an encoding.
static void decodes_tables(void) {
    static const struct hm_str texts[] = {HM_LIT("\xcf\xf0;\xb9\n"), HM_LIT("\xff\xfe;\x04\n\x00")};
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    struct rlimit none = {0, 0}; // elsewhere the walls have set it, and let nobody set it again
    if (setrlimit(RLIMIT_NOFILE, &none) != 0) _exit(4);
#endif
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct hm_buf out = {0};
        if (!hm_csv_to_utf8(texts[i], &out, NULL, NULL)) _exit(5);
        hm_buf_free(&out);
    }
}

static int confined_with(void (*fn)(void), int fd) {
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        struct hm_error err = {0};
        if (!hm_confine_begin(fd, true, &err) || !hm_confine(&err)) _exit(3);
        fn();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static int confined(void (*fn)(void)) {
    return confined_with(fn, -1);
}

static void what_is_outside_of_the_walls_ends_the_process(void **state) {
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    static void (*const refused[])(void) = {tries_a_socket, tries_a_program};
    (void)tries_a_file, (void)tries_a_child, (void)tries_code, (void)tries_to_kill, (void)tries_a_thread;
    (void)tries_to_remove, (void)tries_to_trace, (void)tries_more_limits, (void)tries_a_ring;
    (void)tries_to_make_code, (void)tries_a_name;
#else
    static void (*const refused[])(void) = {
        tries_a_socket, tries_a_file,       tries_a_child,   tries_a_program, tries_code,
        tries_to_kill,  tries_a_thread,     tries_to_remove, tries_to_trace,  tries_more_limits,
        tries_a_ring,   tries_to_make_code, tries_a_name};
#endif
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        int status = confined(refused[i]);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
            fail_msg("number %zu: status %x", i, (unsigned)status);
    }
    assert_int_equal(confined(tries_memory), 0);
}

static void what_is_beyond_the_limits_of_the_process_is_refused(void **state) {
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    (void)tries_what_is_limited, (void)tries_to_be_handed_a_file;
    skip();
#else
    int pair[2], given = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(confined(tries_what_is_limited), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {
        .head = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    struct iovec io = {"x", 1};
    struct msghdr message = {
        .msg_iov = &io, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    memcpy(CMSG_DATA(&control.head), &given, sizeof given);
    assert_int_equal(sendmsg(pair[0], &message, 0), 1);
    handed = pair[1];
    assert_int_equal(confined_with(tries_to_be_handed_a_file, handed), 0);
    close(pair[0]);
    close(pair[1]);
    close(given);
#endif
}

static void tables_in_old_encodings_are_read_within_the_walls(void **state) {
    (void)state;
    assert_int_equal(confined(decodes_tables), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(each_is_stopped_and_the_worker_serves_on),
    cmocka_unit_test(filling_one_size_after_the_other_meets_the_limit),
    cmocka_unit_test(a_refused_write_is_not_kept),
    cmocka_unit_test(a_state_is_made_anew_after_many_calls),
    cmocka_unit_test(a_worker_that_does_not_answer_is_ended_from_outside),
    cmocka_unit_test(a_finalizer_that_comes_later_never_runs),
    cmocka_unit_test(what_would_take_long_in_c_is_bounded),
    cmocka_unit_test(hostile_sources_are_refused),
    cmocka_unit_test(the_library_is_what_is_allowed),
    cmocka_unit_test(what_is_outside_of_the_walls_ends_the_process),
    cmocka_unit_test(what_is_beyond_the_limits_of_the_process_is_refused),
    cmocka_unit_test(tables_in_old_encodings_are_read_within_the_walls),
};
SCRIPT_MAIN(tests)
