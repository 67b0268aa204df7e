// Principals, audiences, and declarations of types.
#include "store_fixture.h"

static void audience(struct hm_buf *b, const char *const *names) {
    hm_buf_clear(b);
    for (; *names; names++)
        hm_packed_add(b, S(*names));
}

static void a_session_meets_an_audience_when_they_share_a_principal(void **state) {
    (void)state;
    const struct hm_str names[] = {S("person:7"), S("role:coach"), S("institution"), S("role:coach")};
    struct hm_principals *p = hm_principals_new(names, 4);
    struct hm_buf b = {0};
    assert_int_equal(hm_principals_count(p), 4); // with public, without the double
    audience(&b, (const char *const[]){"role:coordinator", "person:7", NULL});
    assert_true(hm_access_meets(p, hm_buf_view(&b)));
    audience(&b, (const char *const[]){"role:coordinator", "person:70", "person:", "pair:1", NULL});
    assert_false(hm_access_meets(p, hm_buf_view(&b)));
    audience(&b, (const char *const[]){NULL});
    assert_false(hm_access_meets(p, hm_buf_view(&b)));
    struct hm_buf json = {0};
    hm_principals_json(p, &json);
    assert_string_equal(json.data, "[\"institution\",\"person:7\",\"public\",\"role:coach\"]");
    assert_true(hm_str_eq(hm_principals_at(p, 0), S("institution")));
    hm_principals_unref(hm_principals_ref(p));
    hm_principals_unref(p);
    hm_buf_free(&json);
    hm_buf_free(&b);
}

static void a_stranger_meets_only_what_is_public(void **state) {
    (void)state;
    struct hm_buf b = {0};
    audience(&b, (const char *const[]){"institution", "public", NULL});
    assert_true(hm_access_meets(NULL, hm_buf_view(&b)));
    audience(&b, (const char *const[]){"institution", NULL});
    assert_false(hm_access_meets(NULL, hm_buf_view(&b)));
    hm_buf_free(&b);
}

static void a_damaged_audience_lets_nobody_past_its_damage(void **state) {
    (void)state;
    const char bytes[] = {9, 0, 'p', 'u', 'b', 'l', 'i', 'c'};
    for (size_t len = 0; len <= sizeof bytes; len++)
        assert_false(hm_access_meets(NULL, (struct hm_str){bytes, len}));
}

static void refused(const char *json, const char *because) {
    struct hm_types *types = NULL;
    struct hm_error err = {0};
    if (hm_types_parse(S(json), &types, &err)) fail_msg("accepted: %s", json);
    assert_null(types);
    if (!strstr(err.message, because)) fail_msg("\"%s\" does not say \"%s\"", err.message, because);
}

static void a_catalogue_of_types_is_read(void **state) {
    (void)state;
    const char *json =
        "[{\"name\":\"pair\",\"key\":\"uuid\",\"about\":\"mentee.id\",\"sealed\":[\"note\"],\"schema\":{},"
        "\"indexes\":[{\"name\":\"by_mentor\",\"fields\":[\"mentor\",\"@created\"],\"unique\":true},"
        "{\"name\":\"tags\",\"fields\":[\"tags\"],\"multi\":true}]},{\"name\":\"a\"}]";
    struct hm_types *types = NULL;
    struct hm_error err = {0};
    assert_true(hm_types_parse(S(json), &types, &err));
    const struct hm_type *pair = hm_types_find(types, S("pair"));
    assert_non_null(pair);
    assert_string_equal(pair->about, "mentee.id");
    assert_int_equal(pair->sealed_count, 1);
    assert_false(pair->core || pair->hidden);
    const struct hm_index *index = hm_type_index(pair, S("by_mentor"));
    assert_true(index && index->unique && !index->multi && index->field_count == 2);
    assert_string_equal(index->fields[1], "@created");
    assert_true(hm_type_index(pair, S("tags"))->multi);
    assert_null(hm_type_index(pair, S("tag")));
    const struct hm_type *session = hm_types_find(types, S("session"));
    assert_true(session && session->core && session->hidden);
    assert_false(hm_types_find(types, S("job"))->hidden);
    assert_null(hm_types_find(types, S("pai")));
    assert_true(hm_str_eq(hm_types_json(types), S(json)));
    hm_types_unref(types);
}

static void a_wrong_declaration_is_refused_with_its_reason(void **state) {
    (void)state;
    refused("{}", "not an array");
    refused("[", "");
    refused("[{\"name\":\"Pair\"}]", "valid name");
    refused("[{}]", "valid name");
    refused("[{\"name\":\"session\"}]", "core");
    refused("[{\"name\":\"a\"},{\"name\":\"a\"}]", "twice");
    refused("[{\"name\":\"a\",\"sealed\":[\"x\"]}]", "about");
    refused("[{\"name\":\"a\",\"about\":\"x\",\"sealed\":[\"x\"]}]", "cannot be sealed");
    refused("[{\"name\":\"a\",\"about\":5}]", "about");
    refused("[{\"name\":\"a\",\"indexes\":[{\"name\":\"i\",\"fields\":[]}]}]", "1 to 4 fields");
    refused("[{\"name\":\"a\",\"indexes\":[{\"name\":\"i\",\"fields\":[\"a\",\"b\",\"c\",\"d\",\"e\"]}]}]",
            "1 to 4 fields");
    refused("[{\"name\":\"a\",\"indexes\":[{\"name\":\"i\",\"fields\":[\"a\",\"b\"],\"multi\":true}]}]",
            "one field");
    refused("[{\"name\":\"a\",\"indexes\":[{\"name\":\"i\",\"fields\":[\"@id\"]}]}]", "not a path");
    refused("[{\"name\":\"a\",\"indexes\":[{\"name\":\"i\",\"fields\":[\"x\\u0000\"]}]}]", "not a path");
    refused("[{\"name\":\"a\",\"indexes\":[{\"name\":\"i\",\"fields\":[\"x\"]},{\"name\":\"i\",\"fields\":["
            "\"y\"]}]}]",
            "twice");
    refused("[{\"name\":\"a\",\"about\":\"p\",\"sealed\":[\"x\"],\"indexes\":[{\"name\":\"i\",\"fields\":["
            "\"x.y\"]}]}]",
            "sealed");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_meets_an_audience_when_they_share_a_principal),
        cmocka_unit_test(a_stranger_meets_only_what_is_public),
        cmocka_unit_test(a_damaged_audience_lets_nobody_past_its_damage),
        cmocka_unit_test(a_catalogue_of_types_is_read),
        cmocka_unit_test(a_wrong_declaration_is_refused_with_its_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
