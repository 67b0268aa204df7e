// What plugins try, and what stops them: the caller gets a clean error in time, and the worker (with a new
// state) serves on.
#include "base/arena.h"
#include "base/csv.h"
#include "script/host.h"
#include "script_fixture.h"
#include <sys/mman.h>
#include <sys/resource.h>
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
        {"loop", HM_DEADLINE, "\"limit_ms\":200,\"plugin\":\"hostile\""},
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
        {"long_pattern", HM_PLUGIN, "too long for patterns"},
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

static void a_state_is_made_anew_after_many_calls(void **state) {
    (void)state;
    struct sw w;
    sw_prepare(&w, NULL);
    sw_write_file(
        &w, "services/a.lua",
        "local kept = { n = 0 } return service { id = 'a', methods = { ['a.n'] = { access = 'public', run = "
        "function() kept.n = kept.n + 1 return kept.n end } } }");
    assert_true(sw_start(&w, ""));
    unsigned most = 0, last = 0;
    for (int i = 0; i < 5100; i++) {
        assert_true(sw_call_as(&w, "a.n", "{}", "{}", 0));
        last = (unsigned)atoi(w.result);
        if (last > most) most = last;
    }
    assert_int_equal(most, 5000);
    assert_int_equal(last, 100);
    sw_free(&w);
}

// A worker that hangs in C is ended from outside; here only that it can be, and that it holds nothing.
static void a_hang_in_c_is_ended_from_outside(void **state) {
    (void)state;
    struct sw w;
    int status;
    sw_prepare(&w, NULL);
    sw_write_file(
        &w, "services/a.lua",
        "return service { id = 'a', methods = { ['a.hang'] = { access = 'public', run = function() return "
        "(('a'):rep(3000)):find('.-.-.-.-b') end } } }");
    assert_true(sw_start(&w, ""));
    sw_post(&w, "a.hang", "{}", "{}", 100, 0);
    struct timespec wait = {0, 400000000};
    nanosleep(&wait, NULL);
    assert_int_equal(waitpid(w.pid, &status, WNOHANG), 0);
    assert_int_equal(kill(w.pid, SIGKILL), 0);
    assert_false(sw_answer(&w));
    status = sw_stop(&w);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
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

static int confined(void (*fn)(void)) {
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        struct hm_error err = {0};
        if (!hm_confine_begin(-1, true, &err) || !hm_confine(&err)) _exit(3);
        fn();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void what_is_outside_of_the_walls_ends_the_process(void **state) {
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    static void (*const refused[])(void) = {tries_a_socket, tries_a_program};
    (void)tries_a_file, (void)tries_a_child, (void)tries_code, (void)tries_to_kill;
#else
    static void (*const refused[])(void) = {tries_a_socket,  tries_a_file, tries_a_child,
                                            tries_a_program, tries_code,   tries_to_kill};
#endif
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        int status = confined(refused[i]);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
            fail_msg("number %zu: status %x", i, (unsigned)status);
    }
    assert_int_equal(confined(tries_memory), 0);
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
    cmocka_unit_test(a_hang_in_c_is_ended_from_outside),
    cmocka_unit_test(what_is_outside_of_the_walls_ends_the_process),
    cmocka_unit_test(tables_in_old_encodings_are_read_within_the_walls),
};
SCRIPT_MAIN(tests)
