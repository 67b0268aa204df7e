// JSON and Lua values, there and back.
#include "script/lua_json.h"
#include <lauxlib.h>
#include <lualib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static lua_State *open_state(void) {
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    hm_lua_json_open(L);
    return L;
}

static void push(lua_State *L, const char *text) {
    struct hm_json value;
    struct hm_error err = {0};
    if (!hm_json_parse(hm_str_of(text), &value, &err)) fail_msg("%s: %s", text, err.message);
    hm_lua_push_json(L, value);
}

static void there_and_back(const char *text, const char *expected) {
    lua_State *L = open_state();
    struct hm_buf out = {0};
    struct hm_error err = {0};
    push(L, text);
    if (!hm_lua_to_json(L, -1, &out, &err)) fail_msg("%s: %s", text, err.message);
    assert_string_equal(out.data, expected);
    assert_int_equal(lua_gettop(L), 1);
    hm_buf_free(&out);
    lua_close(L);
}

static void values_come_back_as_they_were(void **state) {
    (void)state;
    there_and_back("[]", "[]");
    there_and_back("{}", "{}");
    there_and_back("[[],{},[1]]", "[[],{},[1]]");
    there_and_back(" { \"b\" : [ 1 , 2 ] , \"a\" : true } ", "{\"a\":true,\"b\":[1,2]}");
    there_and_back("[1,-1,9223372036854775807,-9223372036854775808,1.5,0]",
                   "[1,-1,9223372036854775807,-9223372036854775808,1.5,0]");
    there_and_back("\"a\\u00e9\\n\\\"\\ud83d\\ude00\"", "\"aé\\n\\\"😀\"");
    there_and_back("[null,1,null]", "[null,1,null]");
    there_and_back("{\"a\":null,\"b\":1}", "{\"b\":1}");
    there_and_back("{\"a\":1,\"a\":2}", "{\"a\":1}");
    there_and_back("false", "false");
    there_and_back("null", "null");
}

static void whole_numbers_stay_whole(void **state) {
    (void)state;
    lua_State *L = open_state();
    push(L, "[1,1.0,1e2]");
    lua_rawgeti(L, 1, 1);
    assert_true(lua_isinteger(L, -1));
    lua_rawgeti(L, 1, 2);
    assert_false(lua_isinteger(L, -1));
    lua_close(L);
}

static void gives(const char *code, const char *expected) {
    lua_State *L = open_state();
    struct hm_buf out = {0};
    struct hm_error err = {0};
    if (luaL_dostring(L, code)) fail_msg("%s", lua_tostring(L, -1));
    if (!hm_lua_to_json(L, -1, &out, &err)) fail_msg("%s: %s", code, err.message);
    assert_string_equal(out.data, expected);
    hm_buf_free(&out);
    lua_close(L);
}

static void fails(const char *code, const char *says) {
    lua_State *L = open_state();
    struct hm_buf out = {0};
    struct hm_error err = {0};
    hm_buf_text(&out, "before");
    if (luaL_dostring(L, code)) fail_msg("%s", lua_tostring(L, -1));
    int top = lua_gettop(L);
    if (hm_lua_to_json(L, -1, &out, &err)) fail_msg("%s gives %s", code, out.data);
    assert_string_equal(err.message, says);
    assert_string_equal(out.data, "before");
    assert_int_equal(lua_gettop(L), top);
    hm_buf_free(&out);
    lua_close(L);
}

static void tables_become_lists_or_objects(void **state) {
    (void)state;
    gives("return {}", "{}");
    gives("return { 1, 'two', { 3 } }", "[1,\"two\",[3]]");
    gives("return { z = 1, a = 2, m = { y = 1, b = 2 }, [2026] = 3 }",
          "{\"2026\":3,\"a\":2,\"m\":{\"b\":2,\"y\":1},\"z\":1}");
    gives("local t = {} for i = 1, 100 do t['k' .. i % 10 .. i] = i end local n = 0 for _ in pairs(t) do n = "
          "n + 1 end return n",
          "100");
    gives("return { 3.0, 0.1, 1e300 }", "[3,0.1,1e+300]");
    gives("return setmetatable({ a = 1 }, { __index = function() error('never') end, __pairs = error, __len "
          "= error })",
          "{\"a\":1}");
}

static void the_same_value_is_always_the_same_text(void **state) {
    (void)state;
    const char *code = "local t = {} for i = 1, 60 do t['name' .. i] = { b = i, a = i } end return t";
    char *first = NULL;
    for (int i = 0; i < 8; i++) { // another state has another order inside
        lua_State *L = open_state();
        struct hm_buf out = {0};
        assert_int_equal(luaL_dostring(L, code), 0);
        assert_true(hm_lua_to_json(L, -1, &out, NULL));
        if (!first) first = strdup(out.data);
        assert_string_equal(out.data, first);
        hm_buf_free(&out);
        lua_close(L);
    }
    free(first);
}

static void what_json_has_not_is_an_error_with_its_path(void **state) {
    (void)state;
    fails("return { a = { b = { 1, 0/0 } } }", "a.b[1]: not a number (NaN)");
    fails("return { math.huge }", "[0]: infinity");
    fails("return { f = print }", "f: a function cannot be data");
    fails("return { 1, 2, x = 3 }", "value: a list with names, or with holes, in it");
    fails("return { a = { [1.5] = 1 } }", "a: a name that is neither text nor a whole number");
    fails("return { a = '\\xff' }", "a: text that is not UTF-8");
    fails("return { ['\\xff'] = 1 }", "value: a name that is not UTF-8");
    fails("return print", "value: a function cannot be data");
    lua_State *L = open_state();
    struct hm_buf out = {0};
    struct hm_error err = {0};
    assert_int_equal(luaL_dostring(L, "local t = {} t.t = t return t"), 0);
    assert_false(hm_lua_to_json(L, -1, &out, &err));
    assert_non_null(strstr(err.message, "a table inside itself"));
    assert_false(hm_lua_to_json_opt(L, -1, false, 100, &out, &err));
    assert_int_equal(err.code, HM_TOO_LARGE);
    hm_buf_free(&out);
    lua_close(L);
}

static void an_empty_list_is_marked_and_null_is_a_value(void **state) {
    (void)state;
    lua_State *L = open_state();
    struct hm_buf out = {0};
    lua_newtable(L);
    hm_lua_mark_array(L, 1);
    assert_true(hm_lua_is_array_marked(L, 1));
    assert_true(hm_lua_to_json(L, 1, &out, NULL));
    hm_lua_push_null(L);
    assert_true(hm_lua_is_null(L, 2));
    assert_true(hm_lua_to_json(L, 2, &out, NULL));
    assert_string_equal(out.data, "[]null");
    hm_buf_free(&out);
    lua_close(L);
}

static void code_may_be_left_out(void **state) {
    (void)state;
    lua_State *L = open_state();
    struct hm_buf out = {0};
    assert_int_equal(
        luaL_dostring(L, "return { a = 1, f = print, list = { print, 2 }, in_ = { g = print } }"), 0);
    assert_true(hm_lua_to_json_opt(L, -1, true, 1000, &out, NULL));
    assert_string_equal(out.data, "{\"a\":1,\"in_\":{},\"list\":[null,2]}");
    hm_buf_free(&out);
    lua_close(L);
}

// An allocator that refuses after so many times.
struct refusing {
    long left;
};
static void *refuse(void *ud, void *ptr, size_t old_size, size_t size) {
    struct refusing *r = ud;
    (void)old_size;
    if (!size) {
        free(ptr);
        return NULL;
    }
    if ((!ptr || size > old_size) && r->left-- <= 0) return ptr && size <= old_size ? ptr : NULL;
    return realloc(ptr, size);
}
static int decode(lua_State *L) {
    push(L, "{\"a\\n\":[1,2,{\"b\":\"x\\ty\"}],\"c\":\"plain\"}");
    return 1;
}
static int set_up(lua_State *L) {
    hm_lua_json_open(L);
    return 0;
}
static void lack_of_memory_at_any_place_is_only_an_error(void **state) {
    (void)state;
    bool worked = false;
    for (long n = 0; !worked && n < 500; n++) {
        struct refusing r = {100000};
        lua_State *L = lua_newstate(refuse, &r);
        lua_pushcfunction(L, set_up);
        assert_int_equal(lua_pcall(L, 0, 0, 0), LUA_OK);
        lua_pushcfunction(L, decode);
        r.left = n;
        int status = lua_pcall(L, 0, 1, 0);
        assert_true(status == LUA_OK || status == LUA_ERRMEM);
        worked = status == LUA_OK;
        r.left = 100000;
        lua_close(L);
    }
    assert_true(worked);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_back_as_they_were),
        cmocka_unit_test(whole_numbers_stay_whole),
        cmocka_unit_test(tables_become_lists_or_objects),
        cmocka_unit_test(the_same_value_is_always_the_same_text),
        cmocka_unit_test(what_json_has_not_is_an_error_with_its_path),
        cmocka_unit_test(an_empty_list_is_marked_and_null_is_a_value),
        cmocka_unit_test(code_may_be_left_out),
        cmocka_unit_test(lack_of_memory_at_any_place_is_only_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
