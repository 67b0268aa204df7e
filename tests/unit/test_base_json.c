// The JSON scanner against the rules of RFC 8259: what must be accepted, what must be refused, and what
// values mean.
#include "base/json.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define BYTES(text)                                                                                          \
    { text, sizeof(text) - 1 }

// Copies the text to memory of exactly its size, so that the address sanitizer sees a read past the end.
static bool accepts(struct hm_str text) {
    char *exact = malloc(text.len ? text.len : 1);
    assert_non_null(exact);
    if (text.len) memcpy(exact, text.ptr, text.len);
    struct hm_json value;
    struct hm_error err = {0};
    bool ok = hm_json_parse((struct hm_str){exact, text.len}, &value, &err);
    if (!ok) assert_int_equal(err.code, HM_PARSE);
    free(exact);
    return ok;
}

// RFC 8259 sections 2 to 8; the cases follow the naming of the public JSON parsing test suite (y_ and n_).
static const struct hm_str accepted[] = {
    BYTES("[]"),
    BYTES("{}"),
    BYTES(" [ ] "),
    BYTES("\t\r\n {} \n"),
    BYTES("null"),
    BYTES("true"),
    BYTES("false"),
    BYTES("\"\""),
    BYTES("0"),
    BYTES("-0"),
    BYTES("-0.0"),
    BYTES("12.5e-3"),
    BYTES("1E400"),
    BYTES("1e+1"),
    BYTES("20e1"),
    BYTES("0e+1"),
    BYTES("-1"),
    BYTES("123456789012345678901234567890"),
    BYTES("0."
          "00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
          "001"),
    BYTES("[1,2,[3,{\"a\":[]}],{}]"),
    BYTES("{\"\":0}"),
    BYTES("{\"a\":1,\"a\":2}"),
    BYTES("{\"a\\u0000b\":1}"),
    BYTES("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\uABCD\\uabcd\""),
    BYTES("\"\\ud83d\\ude00\""),
    BYTES("\"\\ud800\""),
    BYTES("\"\\udc00\\ud800\""),
    BYTES("\"\\ud800\\u0041\""),
    BYTES("\"\x7f\""),
    BYTES("\"\xc2\x80\""),
    BYTES("\"\xed\x9f\xbf\""),
    BYTES("\"\xee\x80\x80\""),
    BYTES("\"\xef\xbf\xbf\""),
    BYTES("\"\xf4\x8f\xbf\xbf\""),
    BYTES("\"\xf0\x90\x80\x80\""),
    BYTES("\"\xe2\x80\xa8\xe2\x80\xa9\""),
    BYTES("[\"12345678\\\"9\"]"),
    BYTES("\"1234567890123456\xd2\xb3\xd0\xb0\""),
};
static const struct hm_str refused[] = {
    BYTES(""),
    BYTES(" "),
    BYTES("["),
    BYTES("]"),
    BYTES("{"),
    BYTES("}"),
    BYTES("[}"),
    BYTES("{]"),
    BYTES("[1,]"),
    BYTES("[,1]"),
    BYTES("[1,,2]"),
    BYTES("[1 2]"),
    BYTES("[1"),
    BYTES("[1,"),
    BYTES("[]]"),
    BYTES("[] []"),
    BYTES("1 2"),
    BYTES("{\"a\"}"),
    BYTES("{\"a\":}"),
    BYTES("{\"a\" 1}"),
    BYTES("{\"a\":1,}"),
    BYTES("{,}"),
    BYTES("{1:1}"),
    BYTES("{a:1}"),
    BYTES("{'a':1}"),
    BYTES("{\"a\":1 \"b\":2}"),
    BYTES("{\"a\":1"),
    BYTES("{\"a\""),
    BYTES("{\"a\":"),
    BYTES("nul"),
    BYTES("nulll"),
    BYTES("tru"),
    BYTES("True"),
    BYTES("NaN"),
    BYTES("Infinity"),
    BYTES("-Infinity"),
    BYTES("undefined"),
    BYTES("01"),
    BYTES("-01"),
    BYTES("+1"),
    BYTES(".5"),
    BYTES("-.5"),
    BYTES("1."),
    BYTES("1.e1"),
    BYTES("1e"),
    BYTES("1e+"),
    BYTES("1e1.5"),
    BYTES("-"),
    BYTES("--1"),
    BYTES("0x10"),
    BYTES("1_000"),
    BYTES("1 000"),
    BYTES("\""),
    BYTES("\"a"),
    BYTES("\"\\"),
    BYTES("\"\\\""),
    BYTES("\"\\x41\""),
    BYTES("\"\\u\""),
    BYTES("\"\\u12\""),
    BYTES("\"\\u123g\""),
    BYTES("\"\\U0041\""),
    BYTES("\"\\\0\""),
    BYTES("\"\t\""),
    BYTES("\"\n\""),
    BYTES("\"\0\""),
    BYTES("\"12345678\x1f\""),
    BYTES("'a'"),
    BYTES("// c\n1"),
    BYTES("[1]/**/"),
    BYTES("[1]\0"),
    BYTES("\xef\xbb\xbf{}"),
    BYTES("\xc2\xa0[]"),
    BYTES("[\x0c]"),
    BYTES("\"\x80\""),
    BYTES("\"\xc0\xaf\""),
    BYTES("\"\xc1\xbf\""),
    BYTES("\"\xc2\""),
    BYTES("\"\xe0\x80\xaf\""),
    BYTES("\"\xe2\x82\""),
    BYTES("\"\xed\xa0\x80\""),
    BYTES("\"\xf0\x80\x80\xaf\""),
    BYTES("\"\xf4\x90\x80\x80\""),
    BYTES("\"\xf5\x80\x80\x80\""),
    BYTES("\"\xff\""),
    BYTES("\"12345678\xc2"),
    BYTES("\"\xf0\x9f\x98"),
};

static void every_text_of_the_grammar_is_accepted(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof accepted / sizeof accepted[0]; i++)
        if (!accepts(accepted[i])) fail_msg("refused: %.*s", (int)accepted[i].len, accepted[i].ptr);
}

static void everything_else_is_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        if (accepts(refused[i])) fail_msg("accepted: %.*s", (int)refused[i].len, refused[i].ptr);
}

static void nesting_is_accepted_to_the_limit_and_not_past_it(void **state) {
    (void)state;
    for (int object = 0; object < 2; object++) {
        for (int depth = HM_JSON_DEPTH; depth <= HM_JSON_DEPTH + 1; depth++) {
            struct hm_buf b = {0};
            for (int i = 0; i < depth; i++)
                hm_buf_text(&b, object ? "{\"a\":" : "[");
            hm_buf_text(&b, "1");
            for (int i = 0; i < depth; i++)
                hm_buf_char(&b, object ? '}' : ']');
            assert_int_equal(accepts(hm_buf_view(&b)), depth == HM_JSON_DEPTH);
            hm_buf_free(&b);
        }
    }
}

static void the_error_names_the_byte(void **state) {
    (void)state;
    struct hm_json value;
    struct hm_error err = {0};
    assert_false(hm_json_parse(HM_LIT("{\"a\": tru}"), &value, &err));
    assert_string_equal(err.message, "not valid JSON: unexpected character at byte 6");
    assert_false(hm_json_parse(HM_LIT("[1,"), &value, &err));
    assert_string_equal(err.message, "not valid JSON: it ends too early at byte 3");
    assert_false(hm_json_parse(HM_LIT("{} x"), &value, &err));
    assert_string_equal(err.message, "not valid JSON: something follows the value at byte 3");
}

static struct hm_json parse(const char *text) {
    struct hm_json value = {0};
    struct hm_error err = {0};
    if (!hm_json_parse(hm_str_of(text), &value, &err)) fail_msg("%s: %s", text, err.message);
    return value;
}

static void a_walk_gives_raw_spans_in_order(void **state) {
    (void)state;
    struct hm_json key, value;
    struct hm_json_iter it =
        hm_json_iter(parse(" { \"a\" : [1, {\"b\":\"]\\\"}\"}] ,\"c\":-1.5e3\n, \"d\":null } "));
    assert_true(hm_json_next(&it, &key, &value));
    assert_true(hm_str_eq(key.raw, HM_LIT("\"a\"")));
    assert_int_equal(value.kind, HM_JSON_ARRAY);
    assert_true(hm_str_eq(value.raw, HM_LIT("[1, {\"b\":\"]\\\"}\"}]")));
    assert_true(hm_json_next(&it, &key, &value));
    assert_true(hm_str_eq(value.raw, HM_LIT("-1.5e3")));
    assert_true(hm_json_next(&it, NULL, &value));
    assert_int_equal(value.kind, HM_JSON_NULL);
    assert_false(hm_json_next(&it, &key, &value));
    assert_false(hm_json_next(&it, &key, &value));
    it = hm_json_iter(parse("[ ]"));
    assert_false(hm_json_next(&it, NULL, &value));
    it = hm_json_iter(parse("\"text\""));
    assert_false(hm_json_next(&it, NULL, &value));
    it = hm_json_iter((struct hm_json){0});
    assert_false(hm_json_next(&it, NULL, &value));
}

static void members_are_found_by_name_through_escapes_and_the_first_wins(void **state) {
    (void)state;
    struct hm_json object = parse(
                       "{\"na\\u006de\":1,\"name\":2,\"\\ud83d\\ude00\":3,\"m\":{\"capacity\":4},\"\":5}"),
                   value;
    int64_t n = 0;
    assert_true(hm_json_get(object, "name", &value) && hm_json_int(value, &n));
    assert_int_equal(n, 1);
    assert_true(hm_json_get(object, "\xf0\x9f\x98\x80", &value) && hm_json_int(value, &n));
    assert_int_equal(n, 3);
    assert_true(hm_json_path(object, "m.capacity", &value) && hm_json_int(value, &n));
    assert_int_equal(n, 4);
    assert_true(hm_json_get(object, "", &value));
    assert_false(hm_json_get(object, "nam", &value));
    assert_false(hm_json_get(object, "names", &value));
    assert_false(hm_json_path(object, "m.capacity.x", &value));
    assert_false(hm_json_path(object, "m.x", &value));
    assert_false(hm_json_get(parse("[\"name\",1]"), "name", &value));
}

static void strings_decode_and_lone_surrogates_become_replacement_characters(void **state) {
    (void)state;
    static const struct {
        const char *json;
        struct hm_str text;
    } table[] = {
        {"\"plain\"", BYTES("plain")},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", BYTES("\"\\/\b\f\n\r\t")},
        {"\"\\u0041\\u00e9\\u20ac\"", BYTES("A\xc3\xa9\xe2\x82\xac")},
        {"\"\\ud83d\\ude00!\"", BYTES("\xf0\x9f\x98\x80!")},
        {"\"\\ud800\"", BYTES("\xef\xbf\xbd")},
        {"\"\\ud800\\u0041\"", BYTES("\xef\xbf\xbd"
                                     "A")},
        {"\"\\udc00\\ud800x\"", BYTES("\xef\xbf\xbd\xef\xbf\xbdx")},
        {"\"\\ud83d\\ud83d\\ude00\"", BYTES("\xef\xbf\xbd\xf0\x9f\x98\x80")},
        {"\"a\\u0000b\"", BYTES("a\0b")},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct hm_buf out = {0};
        assert_true(hm_json_string(parse(table[i].json), &out));
        assert_true(hm_str_eq(hm_buf_view(&out), table[i].text));
        hm_buf_free(&out);
    }
    struct hm_buf out = {0};
    assert_false(hm_json_string(parse("1"), &out));
    hm_buf_free(&out);
}

static void text_members_fit_their_buffer_or_are_refused(void **state) {
    (void)state;
    struct hm_json o =
        parse("{\"a\":\"12345\",\"zero\":\"1\\u00002\",\"n\":1,\"e\":\"\",\"esc\":\"12\\u20ac\"}");
    char six[6], five[5], one[1];
    assert_true(hm_json_get_text(o, "a", six, sizeof six));
    assert_string_equal(six, "12345");
    assert_false(hm_json_get_text(o, "a", five, sizeof five));
    assert_false(hm_json_get_text(o, "esc", five, sizeof five));
    assert_true(hm_json_get_text(o, "esc", six, sizeof six));
    assert_false(hm_json_get_text(o, "zero", six, sizeof six));
    assert_false(hm_json_get_text(o, "n", six, sizeof six));
    assert_false(hm_json_get_text(o, "absent", six, sizeof six));
    assert_true(hm_json_get_text(o, "e", one, sizeof one));
}

static void integers_are_exact_or_refused(void **state) {
    (void)state;
    static const struct {
        const char *json;
        bool ok;
        int64_t n;
    } table[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"-0.0", true, 0},
        {"0e99999999999999999999", true, 0},
        {"1.0", true, 1},
        {"1e3", true, 1000},
        {"1.5e1", true, 15},
        {"1500e-2", true, 15},
        {"-1.50e1", true, -15},
        {"1.5", false, 0},
        {"1e-1", false, 0},
        {"9007199254740993", true, INT64_C(9007199254740993)},
        {"9223372036854775807", true, INT64_MAX},
        {"9223372036854775808", false, 0},
        {"-9223372036854775808", true, INT64_MIN},
        {"-9223372036854775809", false, 0},
        {"922337203685477580.7e1", true, INT64_MAX},
        {"1e19", false, 0},
        {"1e18", true, INT64_C(1000000000000000000)},
        {"100000000000000000000000e-5", true, INT64_C(1000000000000000000)},
        {"1e999999999999999999999", false, 0},
        {"1e-999999999999999999999", false, 0},
        {"18446744073709551617", false, 0},
        {"\"1\"", false, 0},
        {"true", false, 0},
        {"1.00000000000000000000000000000000000", true, 1},
        {"0.00000000000000000001e20", true, 1},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        int64_t n = -7;
        if (hm_json_int(parse(table[i].json), &n) != table[i].ok) fail_msg("%s", table[i].json);
        if (table[i].ok && n != table[i].n) fail_msg("%s gave %lld", table[i].json, (long long)n);
    }
}

static void doubles_read_exactly_and_overflow_is_refused(void **state) {
    (void)state;
    double v = 0;
    assert_true(hm_json_double(parse("0.1"), &v) && v == 0.1);
    assert_true(hm_json_double(parse("[1.7976931348623157e308]"), &v) == false);
    assert_true(hm_json_double(parse("1.7976931348623157e308"), &v) && v == 1.7976931348623157e308);
    assert_true(hm_json_double(parse("5e-324"), &v) && v == 5e-324);
    assert_true(hm_json_double(parse("1e-400"), &v) && v == 0);
    assert_false(hm_json_double(parse("1e309"), &v));
    // The decimal halfway case needs all of its digits to be rounded right; a longer text than any fixed
    // buffer.
    struct hm_buf b = {0};
    hm_buf_text(&b, "9007199254740993.");
    for (int i = 0; i < 300; i++)
        hm_buf_char(&b, '0');
    hm_buf_char(&b, '1');
    assert_true(hm_json_double(parse(b.data), &v) && v == 9007199254740994.0);
    hm_buf_free(&b);
}

static void numbers_are_written_as_the_shortest_text_that_reads_back(void **state) {
    (void)state;
    static const struct {
        double v;
        const char *text;
    } table[] = {
        {3.0, "3"},
        {-3.0, "-3"},
        {0.0, "0"},
        {-0.0, "0"},
        {0.1, "0.1"},
        {0.1 + 0.2, "0.30000000000000004"},
        {1.0 / 3, "0.3333333333333333"},
        {2.675, "2.675"},
        {1e15, "1000000000000000"},
        {1e22, "1e+22"},
        {5e-324, "4.94065645841247e-324"},
        {NAN, "null"},
        {INFINITY, "null"},
        {9007199254740991.0, "9007199254740991"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct hm_buf b = {0};
        hm_json_put_double(&b, table[i].v);
        assert_string_equal(b.data, table[i].text);
        if (isfinite(table[i].v)) {
            double back = 1;
            assert_true(hm_json_double(parse(b.data), &back) && back == table[i].v);
        }
        hm_buf_free(&b);
    }
    struct hm_buf b = {0};
    hm_json_put_int(&b, INT64_MIN);
    hm_buf_char(&b, ' ');
    hm_json_put_int(&b, INT64_MAX);
    assert_string_equal(b.data, "-9223372036854775808 9223372036854775807");
    hm_buf_free(&b);
}

static void what_is_written_is_escaped_valid_and_reads_back(void **state) {
    (void)state;
    struct hm_buf b = {0}, back = {0};
    hm_json_put_str(&b, (struct hm_str)BYTES("a\"\\/\b\f\n\r\t\v\x01\x7f\0\xd2\xb3"));
    assert_string_equal(b.data, "\"a\\\"\\\\/\\b\\f\\n\\r\\t\\u000b\\u0001\x7f\\u0000\xd2\xb3\"");
    assert_true(hm_json_string(parse(b.data), &back));
    assert_true(hm_str_eq(hm_buf_view(&back), (struct hm_str)BYTES("a\"\\/\b\f\n\r\t\v\x01\x7f\0\xd2\xb3")));
    hm_buf_clear(&b);
    hm_json_put_str(&b, (struct hm_str)BYTES("x\xff\xc0\xafy\xed\xa0\x80\xe2\x82"));
    assert_true(hm_utf8_valid(hm_buf_view(&b)) && accepts(hm_buf_view(&b)));
    assert_string_equal(b.data, "\"x\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdy\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
                                "\xef\xbf\xbd\xef\xbf\xbd\"");
    hm_buf_free(&b);
    hm_buf_free(&back);
}

static void members_are_joined_with_commas(void **state) {
    (void)state;
    struct hm_buf b = {0};
    hm_buf_char(&b, '{');
    hm_json_member_str(&b, "a", HM_LIT("x"));
    hm_json_member_int(&b, "b", -5);
    hm_json_key(&b, "c");
    hm_buf_char(&b, '{');
    hm_json_member_raw(&b, "d", HM_LIT("[1]"));
    hm_buf_text(&b, "}}");
    assert_string_equal(b.data, "{\"a\":\"x\",\"b\":-5,\"c\":{\"d\":[1]}}");
    assert_int_equal(hm_json_count(parse(b.data)), 3);
    hm_buf_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_text_of_the_grammar_is_accepted),
        cmocka_unit_test(everything_else_is_refused),
        cmocka_unit_test(nesting_is_accepted_to_the_limit_and_not_past_it),
        cmocka_unit_test(the_error_names_the_byte),
        cmocka_unit_test(a_walk_gives_raw_spans_in_order),
        cmocka_unit_test(members_are_found_by_name_through_escapes_and_the_first_wins),
        cmocka_unit_test(strings_decode_and_lone_surrogates_become_replacement_characters),
        cmocka_unit_test(text_members_fit_their_buffer_or_are_refused),
        cmocka_unit_test(integers_are_exact_or_refused),
        cmocka_unit_test(doubles_read_exactly_and_overflow_is_refused),
        cmocka_unit_test(numbers_are_written_as_the_shortest_text_that_reads_back),
        cmocka_unit_test(what_is_written_is_escaped_valid_and_reads_back),
        cmocka_unit_test(members_are_joined_with_commas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
