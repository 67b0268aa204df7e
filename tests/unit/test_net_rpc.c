// JSON-RPC without a network: the frames of the specification's section 7, and what must hold beyond them.
// The engine is a stub here, which may answer at once, later, or after the peer was closed.
#include "net/rpc.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct later {
    hm_answer_fn answer;
    void *arg;
};
struct world {
    struct hm_rpc_peer *peer;
    struct hm_buf out;
    unsigned replies, calls;
    struct later later[64];
    size_t later_count;
    bool wait;             // methods are answered by release()
    char last_params[200]; // of the last call
    const void *after;
    unsigned replies_before;
};

static double number(struct hm_json list, size_t at) {
    struct hm_json_iter it = hm_json_iter(list);
    struct hm_json value = {0};
    double d = 0;
    for (size_t i = 0; i <= at; i++)
        assert_true(hm_json_next(&it, NULL, &value));
    assert_true(hm_json_double(value, &d));
    return d;
}

static void subtract(struct hm_json params, struct hm_buf *result) {
    struct hm_json value;
    double a = 0, b = 0;
    if (params.kind == HM_JSON_ARRAY) {
        a = number(params, 0);
        b = number(params, 1);
    } else {
        assert_true(hm_json_get(params, "minuend", &value) && hm_json_double(value, &a));
        assert_true(hm_json_get(params, "subtrahend", &value) && hm_json_double(value, &b));
    }
    hm_json_put_double(result, a - b);
}

static void run(struct world *world, struct hm_str method, struct hm_str text, hm_answer_fn answer,
                void *arg) {
    struct hm_json params = {0};
    struct hm_buf result = {0};
    if (text.len) assert_true(hm_json_parse(text, &params, NULL));
    if (hm_str_eq(method, HM_LIT("subtract"))) {
        subtract(params, &result);
    } else if (hm_str_eq(method, HM_LIT("sum"))) {
        double total = 0;
        for (size_t i = 0; i < hm_json_count(params); i++)
            total += number(params, i);
        hm_json_put_double(&result, total);
    } else if (hm_str_eq(method, HM_LIT("get_data"))) {
        hm_buf_text(&result, "[\"hello\",5]");
    } else if (hm_str_eq(method, HM_LIT("full"))) {
        answer(arg, &(struct hm_answer){.code = HM_CONFLICT,
                                        .message = HM_LIT("no place is left"),
                                        .data = HM_LIT("{\"reason\":\"full\"}")});
        return;
    } else if (strncmp(method.ptr, "notify", 6) == 0 || hm_str_eq(method, HM_LIT("update"))) {
        hm_buf_text(&result, "null");
    } else {
        answer(arg, &(struct hm_answer){.code = HM_METHOD, .message = HM_LIT("there is no such method")});
        return;
    }
    (void)world;
    answer(arg, &(struct hm_answer){.result = hm_buf_view(&result)});
    hm_buf_free(&result);
}

static void call(void *owner, struct hm_json request, struct hm_str method, struct hm_str params,
                 hm_answer_fn answer, void *arg) {
    struct world *world = owner;
    assert_int_equal(request.kind, HM_JSON_OBJECT);
    world->calls++;
    snprintf(world->last_params, sizeof world->last_params, "%.*s", (int)params.len,
             params.len ? params.ptr : "");
    if (world->wait)
        world->later[world->later_count++] = (struct later){answer, arg};
    else
        run(world, method, params, answer, arg);
}

static void reply(void *owner, struct hm_str text) {
    struct world *world = owner;
    world->replies++;
    hm_buf_clear(&world->out);
    hm_buf_str(&world->out, text);
}

static const struct hm_rpc_ops ops = {call, reply};

static int set_up(void **state) {
    struct world *world = hm_alloc(sizeof *world);
    world->peer = hm_rpc_peer_new(&ops, world);
    *state = world;
    return 0;
}

static int tear_down(void **state) {
    struct world *world = *state;
    hm_rpc_peer_close(world->peer);
    hm_buf_free(&world->out);
    free(world);
    return 0;
}

static void expect(struct world *world, const char *in, const char *out) {
    unsigned before = world->replies;
    assert_true(hm_rpc_take(world->peer, hm_str_of(in)));
    assert_int_equal(world->replies, before + 1);
    assert_string_equal(world->out.len ? world->out.data : "", out);
}

#define RESULT(id, result) "{\"jsonrpc\":\"2.0\",\"result\":" result ",\"id\":" id "}"
#define ERROR(id, code, text)                                                                                \
    "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":" code ",\"message\":\"" text "\"},\"id\":" id "}"
#define INVALID ERROR("null", "-32600", "Invalid Request")

static void the_examples_of_the_specification_give_what_it_says(void **state) {
    static const char *const cases[][2] = {
        {"{\"jsonrpc\": \"2.0\", \"method\": \"subtract\", \"params\": [42, 23], \"id\": 1}",
         RESULT("1", "19")},
        {"{\"jsonrpc\": \"2.0\", \"method\": \"subtract\", \"params\": [23, 42], \"id\": 2}",
         RESULT("2", "-19")},
        {"{\"jsonrpc\": \"2.0\", \"method\": \"subtract\", \"params\": {\"subtrahend\": 23, \"minuend\": "
         "42}, \"id\": 3}",
         RESULT("3", "19")},
        {"{\"jsonrpc\": \"2.0\", \"method\": \"subtract\", \"params\": {\"minuend\": 42, \"subtrahend\": "
         "23}, \"id\": 4}",
         RESULT("4", "19")},
        {"{\"jsonrpc\": \"2.0\", \"method\": \"update\", \"params\": [1,2,3,4,5]}", ""},
        {"{\"jsonrpc\": \"2.0\", \"method\": \"foobar\"}", ""},
        {"{\"jsonrpc\": \"2.0\", \"method\": \"foobar\", \"id\": \"1\"}",
         ERROR("\"1\"", "-32601", "Method not found")},
        {"{\"jsonrpc\": \"2.0\", \"method\": \"foobar, \"params\": \"bar\", \"baz]",
         ERROR("null", "-32700", "Parse error")},
        {"{\"jsonrpc\": \"2.0\", \"method\": 1, \"params\": \"bar\"}", INVALID},
        {"[\n  {\"jsonrpc\": \"2.0\", \"method\": \"sum\", \"params\": [1,2,4], \"id\": \"1\"},\n  "
         "{\"jsonrpc\": \"2.0\", "
         "\"method\"\n]",
         ERROR("null", "-32700", "Parse error")},
        {"[]", INVALID},
        {"[1]", "[" INVALID "]"},
        {"[1,2,3]", "[" INVALID "," INVALID "," INVALID "]"},
        {"[{\"jsonrpc\": \"2.0\", \"method\": \"sum\", \"params\": [1,2,4], \"id\": \"1\"},"
         "{\"jsonrpc\": \"2.0\", \"method\": \"notify_hello\", \"params\": [7]},"
         "{\"jsonrpc\": \"2.0\", \"method\": \"subtract\", \"params\": [42,23], \"id\": \"2\"},{\"foo\": "
         "\"boo\"},"
         "{\"jsonrpc\": \"2.0\", \"method\": \"foo.get\", \"params\": {\"name\": \"myself\"}, \"id\": \"5\"},"
         "{\"jsonrpc\": \"2.0\", \"method\": \"get_data\", \"id\": \"9\"}]",
         "[" RESULT("\"1\"", "7") "," RESULT("\"2\"", "19") "," INVALID "," ERROR(
             "\"5\"", "-32601", "Method not found") "," RESULT("\"9\"", "[\"hello\",5]") "]"},
        {"[{\"jsonrpc\": \"2.0\", \"method\": \"notify_sum\", \"params\": [1,2,4]},{\"jsonrpc\": \"2.0\", "
         "\"method\": "
         "\"notify_hello\", \"params\": [7]}]",
         ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect(*state, cases[i][0], cases[i][1]);
}

static void an_id_comes_back_exactly_as_it_was_written(void **state) {
    static const char *const ids[] = {"0",
                                      "-7",
                                      "1.50",
                                      "1e3",
                                      "123456789012345678901234567890",
                                      "null",
                                      "\"\\u0041\\n\"",
                                      "\"\"",
                                      "\"o\xCA\xBBquvchi\""};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        char in[200], out[200];
        snprintf(in, sizeof in, "{\"id\":%s,\"method\":\"sum\",\"params\":[2],\"jsonrpc\":\"2.0\"}", ids[i]);
        snprintf(out, sizeof out, "{\"jsonrpc\":\"2.0\",\"result\":2,\"id\":%s}", ids[i]);
        expect(*state, in, out);
    }
}

static void an_envelope_that_is_wrong_is_an_invalid_request_with_the_id_it_has(void **state) {
    expect(*state, "{\"jsonrpc\":\"1.0\",\"method\":\"sum\",\"id\":4}",
           ERROR("4", "-32600", "Invalid Request"));
    expect(*state, "{\"method\":\"sum\",\"id\":4}", ERROR("4", "-32600", "Invalid Request"));
    expect(*state, "{\"jsonrpc\":\"2.0\",\"method\":\"sum\",\"params\":3,\"id\":4}",
           ERROR("4", "-32600", "Invalid Request"));
    expect(*state, "{\"jsonrpc\":\"2.0\",\"method\":\"sum\",\"params\":null,\"id\":4}",
           ERROR("4", "-32600", "Invalid Request"));
    expect(*state, "{\"jsonrpc\":\"2.0\",\"method\":\"sum\",\"id\":{}}", INVALID);
    expect(*state, "{\"jsonrpc\":\"2.0\",\"method\":\"sum\",\"id\":true}", INVALID);
    expect(*state, "7", INVALID);
    expect(*state, "", ERROR("null", "-32700", "Parse error"));
    assert_int_equal(((struct world *)*state)->calls, 0);
}

static void params_go_on_as_the_text_they_were(void **state) {
    struct world *world = *state;
    expect(world, "{\"jsonrpc\":\"2.0\",\"method\":\"sum\",\"params\": [ 1 , 2 ] ,\"id\":1}",
           RESULT("1", "3"));
    assert_string_equal(world->last_params, "[ 1 , 2 ]");
}

static void an_error_has_the_standard_message_and_the_detail_in_its_data(void **state) {
    expect(*state, "{\"jsonrpc\":\"2.0\",\"method\":\"full\",\"id\":1}",
           "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32004,\"message\":\"conflict\",\"data\":{\"message\":"
           "\"no place is left\",\"reason\":\"full\"}},\"id\":1}");
}

static void fifty_calls_are_a_batch_and_fifty_one_are_too_many(void **state) {
    struct world *world = *state;
    for (int n = 50; n <= 51; n++) {
        struct hm_buf in = {0};
        for (int i = 0; i < n; i++)
            hm_buf_printf(&in, "%s{\"jsonrpc\":\"2.0\",\"method\":\"sum\",\"params\":[%d],\"id\":%d}",
                          i ? "," : "[", i, i);
        hm_buf_char(&in, ']');
        assert_true(hm_rpc_take(world->peer, hm_buf_view(&in)));
        hm_buf_free(&in);
        assert_int_equal(world->calls, 50);
    }
    assert_non_null(strstr(world->out.data, "-32008"));
}

static void a_batch_is_answered_when_its_last_call_is(void **state) {
    struct world *world = *state;
    world->wait = true;
    assert_true(hm_rpc_take(world->peer, HM_LIT("[{\"jsonrpc\":\"2.0\",\"method\":\"a\",\"id\":1},"
                                                "{\"jsonrpc\":\"2.0\",\"method\":\"b\"},"
                                                "{\"jsonrpc\":\"2.0\",\"method\":\"c\",\"id\":3}]")));
    assert_int_equal(world->later_count, 3);
    const struct hm_answer answer = {.result = HM_LIT("true")};
    world->later[2].answer(world->later[2].arg, &answer);
    world->later[0].answer(world->later[0].arg, &answer);
    assert_int_equal(world->replies, 0);
    world->later[1].answer(world->later[1].arg, &answer);
    assert_int_equal(world->replies, 1);
    assert_string_equal(world->out.data, "[" RESULT("1", "true") "," RESULT("3", "true") "]");
}

static void after(void *owner, const void *arg) {
    struct world *world = owner;
    world->after = arg;
    world->replies_before = world->replies;
}

static void what_is_to_come_after_a_call_waits_for_the_reply_to_its_own_text(void **state) {
    struct world *world = *state;
    const struct hm_answer answer = {.result = HM_LIT("true")};
    world->wait = true;
    assert_true(hm_rpc_take(world->peer, HM_LIT("[{\"jsonrpc\":\"2.0\",\"method\":\"a\",\"id\":1},"
                                                "{\"jsonrpc\":\"2.0\",\"method\":\"b\",\"id\":2}]")));
    hm_rpc_after(world->later[0].arg, after);
    world->later[0].answer(world->later[0].arg, &answer);
    assert_true(hm_rpc_take(world->peer, HM_LIT("{\"jsonrpc\":\"2.0\",\"method\":\"c\",\"id\":3}")));
    world->later[2].answer(world->later[2].arg, &answer);
    assert_int_equal(world->replies, 1); // to another text
    assert_null(world->after);
    world->later[1].answer(world->later[1].arg, &answer);
    assert_ptr_equal(world->after, world->later[0].arg);
    assert_int_equal(world->replies_before, 2);
}

static void an_answer_after_the_peer_was_closed_is_swallowed(void **state) {
    struct world *world = *state;
    world->wait = true;
    assert_true(hm_rpc_take(world->peer, HM_LIT("{\"jsonrpc\":\"2.0\",\"method\":\"a\",\"id\":1}")));
    hm_rpc_peer_close(world->peer);
    world->peer = NULL;
    world->later[0].answer(world->later[0].arg, &(struct hm_answer){.result = HM_LIT("1")});
    assert_int_equal(world->replies, 0);
}

static void bytes_that_are_not_utf8_are_left_to_the_transport(void **state) {
    struct world *world = *state;
    assert_false(hm_rpc_take(world->peer, HM_LIT("{\"jsonrpc\":\"2.0\",\"method\":\"a\xff\",\"id\":1}")));
    assert_false(hm_rpc_take(world->peer, HM_LIT("\xc0\x80")));
    assert_int_equal(world->replies, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_examples_of_the_specification_give_what_it_says, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_id_comes_back_exactly_as_it_was_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_envelope_that_is_wrong_is_an_invalid_request_with_the_id_it_has,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(params_go_on_as_the_text_they_were, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_error_has_the_standard_message_and_the_detail_in_its_data, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(fifty_calls_are_a_batch_and_fifty_one_are_too_many, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_batch_is_answered_when_its_last_call_is, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_to_come_after_a_call_waits_for_the_reply_to_its_own_text,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_answer_after_the_peer_was_closed_is_swallowed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bytes_that_are_not_utf8_are_left_to_the_transport, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
