// Keys, indexes and ranges: order, equality, cursors, new declarations.
#include "store_fixture.h"

#define TYPES                                                                                                \
    "[{\"name\":\"thing\",\"indexes\":[{\"name\":\"by_v\",\"fields\":[\"v\"]},{\"name\":\"by_ab\","          \
    "\"fields\":[\"a.x\",\"b\"]},"                                                                           \
    "{\"name\":\"tags\",\"fields\":[\"tags\"],\"multi\":true},{\"name\":\"by_u\",\"fields\":[\"u\",\"w\"],"  \
    "\"unique\":true},"                                                                                      \
    "{\"name\":\"by_who\",\"fields\":[\"@by\",\"@created\"]}]}]"

static void put(struct fx *f, const char *id, const char *data) {
    if (fx_put(f, "thing", id, data) != HM_OK) fail_msg("put %s: %s", id, f->err.message);
}

static void values_of_all_kinds_are_in_order_both_ways(void **state) {
    (void)state;
    struct fx f;
    fx_new(&f, TYPES, 0);
    // In ascending order; ids are such that they do not give the order.
    const char *values[] = {"null",
                            "false",
                            "true",
                            "-1e999",
                            "-9007199254740993",
                            "-2.5",
                            "-1",
                            "0",
                            "0.25",
                            "1",
                            "10",
                            "1e300",
                            "\"\"",
                            "\"\\u0000\"",
                            "\"\\u0000a\"",
                            "\"\\u0001\"",
                            "\"10\"",
                            "\"A\"",
                            "\"a\"",
                            "\"a\\u0000\"",
                            "\"a\\u0000b\"",
                            "\"ab\"",
                            "\"b\"",
                            "\"oʻ\"",
                            "\"ya\"",
                            "\"ё\"",
                            "\"қ\"",
                            "\"😀\""};
    size_t n = sizeof values / sizeof *values;
    char data[128], id[8], up[512] = "", down[512] = "";
    for (size_t i = 0; i < n; i++) {
        snprintf(id, sizeof id, "%c%zu", 'a' + (char)((i * 7) % 26), i);
        snprintf(data, sizeof data, "{\"v\":%s}", values[i]);
        put(&f, id, data);
        strcat(strcat(up, id), " ");
        memmove(down + strlen(id) + 1, down, strlen(down) + 1);
        memcpy(down, id, strlen(id));
        down[strlen(id)] = ' ';
    }
    assert_string_equal(fx_scan(&f, "thing", "by_v", "[]", NULL, NULL, false), up);
    assert_string_equal(fx_scan(&f, "thing", "by_v", NULL, NULL, NULL, true), down);
    // Each value finds itself alone, as equality and as a range up to the next.
    for (size_t i = 0; i < n; i++) {
        snprintf(id, sizeof id, "%c%zu ", 'a' + (char)((i * 7) % 26), i);
        snprintf(data, sizeof data, "[%s]", values[i]);
        assert_string_equal(fx_scan(&f, "thing", "by_v", data, NULL, NULL, false), id);
        assert_string_equal(fx_scan(&f, "thing", "by_v", values[i], NULL, NULL, true), id);
        if (i + 1 < n)
            assert_string_equal(fx_scan(&f, "thing", "by_v", "[]", values[i], values[i + 1], false), id);
    }
    assert_string_equal(fx_scan(&f, "thing", "by_v", "[]", "\"b\"", "\"a\"", false), "");
    fx_verify(&f);
    fx_free(&f);
}

static void whole_numbers_and_fractions_share_one_order(void **state) {
    (void)state;
    struct fx f;
    fx_new(&f, TYPES, 0);
    put(&f, "one", "{\"v\":1}");
    put(&f, "one-too", "{\"v\":1.0}");
    put(&f, "minus-zero", "{\"v\":-0.0}");
    assert_string_equal(fx_scan(&f, "thing", "by_v", "[1]", NULL, NULL, false), "one one-too ");
    assert_string_equal(fx_scan(&f, "thing", "by_v", "[0]", NULL, NULL, false), "minus-zero ");
    assert_string_equal(fx_scan(&f, "thing", "by_v", "[]", "0.5", "1.5", false), "one one-too ");
    fx_free(&f);
}

static void leading_fields_bind_and_the_next_one_ranges(void **state) {
    (void)state;
    struct fx f;
    fx_new(&f, TYPES, 0);
    put(&f, "1", "{\"a\":{\"x\":\"m\"},\"b\":1}");
    put(&f, "2", "{\"a\":{\"x\":\"m\"},\"b\":2}");
    put(&f, "3", "{\"a\":{\"x\":\"m\"},\"b\":3}");
    put(&f, "4", "{\"a\":{\"x\":\"mm\"},\"b\":0}");
    put(&f, "5", "{\"a\":{\"x\":\"m\\u0000\"},\"b\":0}");
    put(&f, "6", "{\"b\":2}");
    assert_string_equal(fx_scan(&f, "thing", "by_ab", "[\"m\"]", NULL, NULL, false), "1 2 3 ");
    assert_string_equal(fx_scan(&f, "thing", "by_ab", "[\"m\",2]", NULL, NULL, false), "2 ");
    assert_string_equal(fx_scan(&f, "thing", "by_ab", "[\"m\"]", "2", NULL, true), "3 2 ");
    assert_string_equal(fx_scan(&f, "thing", "by_ab", "[\"m\"]", NULL, "3", true), "2 1 ");
    assert_string_equal(fx_scan(&f, "thing", "by_ab", "[null]", NULL, NULL, false), "6 "); // missing is null
    assert_string_equal(fx_scan(&f, "thing", NULL, NULL, "\"2\"", "\"5\"", true), "4 3 2 ");
    struct hm_types *types = hm_store_types(f.store);
    const struct hm_type *t = hm_types_find(types, S("thing"));
    struct hm_range r;
    assert_false(hm_range_make(t, hm_type_index(t, S("by_ab")), fx_json("[1,2,3]"), fx_json(NULL),
                               fx_json(NULL), &r, &f.err));
    assert_int_equal(f.err.code, HM_PARAMS);
    assert_false(hm_range_make(t, hm_type_index(t, S("by_v")), fx_json("[1]"), fx_json("2"), fx_json(NULL),
                               &r, &f.err));
    assert_false(hm_range_make(t, NULL, fx_json("[1]"), fx_json(NULL), fx_json(NULL), &r, &f.err));
    assert_false(hm_range_make(t, NULL, fx_json(NULL), fx_json("2"), fx_json(NULL), &r, &f.err));
    hm_types_unref(types);
    fx_free(&f);
}

static void long_texts_are_told_apart_by_their_end(void **state) {
    (void)state;
    struct fx f;
    char text[600], data[700], equals[700];
    fx_new(&f, TYPES, 0);
    memset(text, 'x', sizeof text);
    text[500] = 0;
    snprintf(data, sizeof data, "{\"v\":\"%s1\",\"u\":\"%s\",\"w\":\"%s\",\"a\":{\"x\":\"%s\"}}", text, "",
             "", "");
    put(&f, "one", data);
    snprintf(data, sizeof data, "{\"v\":\"%s2\"}", text);
    put(&f, "two", data);
    text[100] = 0;
    snprintf(data, sizeof data, "{\"v\":\"%s\"}", text);
    put(&f, "short", data);
    snprintf(equals, sizeof equals, "[\"%s\"]", text);
    assert_string_equal(fx_scan(&f, "thing", "by_v", equals, NULL, NULL, false), "short ");
    text[100] = 'x';
    snprintf(equals, sizeof equals, "[\"%s2\"]", text);
    assert_string_equal(fx_scan(&f, "thing", "by_v", equals, NULL, NULL, false), "two ");
    assert_string_equal(fx_scan(&f, "thing", "by_v", "[]", "\"xy\"", NULL, false), "");
    fx_verify(&f);
    fx_free(&f);
}

static void keys_of_the_longest_names_and_values_fit_lmdb(void **state) {
    (void)state;
    struct fx f;
    char name[65], types[600], id[129], data[5000], value[1100];
    memset(name, 'n', 64);
    name[64] = 0;
    snprintf(types, sizeof types,
             "[{\"name\":\"%s\",\"indexes\":[{\"name\":\"%s\",\"fields\":[\"a\",\"b\",\"c\",\"d\"],"
             "\"unique\":true}]}]",
             name, name);
    fx_new(&f, types, 0);
    memset(id, 'i', 128);
    id[128] = 0;
    size_t len = 0;
    for (int i = 0; i < 170; i++)
        len += (size_t)snprintf(value + len, sizeof value - len, "\\u0000");
    snprintf(data, sizeof data, "{\"a\":\"%s\",\"b\":\"%s\",\"c\":\"%s\",\"d\":\"%s\"}", value, value, value,
             value);
    assert_int_equal(fx_put(&f, name, id, data), HM_OK);
    id[127] = 'j';
    assert_int_equal(fx_put(&f, name, id, data), HM_CONFLICT);
    data[strlen(data) - 3] = '1';
    assert_int_equal(fx_put(&f, name, id, data), HM_OK);
    fx_verify(&f);
    fx_free(&f);
}

static void a_multi_index_has_an_entry_for_each_different_element(void **state) {
    (void)state;
    struct fx f;
    fx_new(&f, TYPES, 0);
    put(&f, "1", "{\"tags\":[\"b\",\"a\",\"b\",null,3]}");
    put(&f, "2", "{\"tags\":[\"a\"]}");
    put(&f, "3", "{\"tags\":[]}");
    put(&f, "4", "{}");
    assert_string_equal(fx_scan(&f, "thing", "tags", "[\"a\"]", NULL, NULL, false), "1 2 ");
    assert_string_equal(fx_scan(&f, "thing", "tags", "[\"b\"]", NULL, NULL, false), "1 ");
    assert_string_equal(fx_scan(&f, "thing", "tags", "[]", NULL, NULL, false), "1 1 2 1 ");
    put(&f, "1", "{\"tags\":[\"c\",\"a\"]}");
    assert_string_equal(fx_scan(&f, "thing", "tags", "[]", NULL, NULL, false), "1 2 1 ");
    fx_verify(&f);
    struct hm_buf many = {0};
    hm_buf_text(&many, "{\"tags\":[0");
    for (int i = 1; i < 1001; i++)
        hm_buf_printf(&many, ",%d", i);
    hm_buf_text(&many, "]}");
    assert_int_equal(fx_put(&f, "thing", "5", many.data), HM_TOO_LARGE);
    hm_buf_free(&many);
    fx_free(&f);
}

static void a_unique_index_refuses_a_second_record_but_not_missing_values(void **state) {
    (void)state;
    struct fx f;
    fx_new(&f, TYPES, 0);
    put(&f, "1", "{\"u\":\"secret\",\"w\":1}");
    struct hm_intent in = fx_intent("thing", "2", "{\"u\":\"secret\",\"w\":1}");
    struct hm_commit call = fx_call(&f, &in, 1);
    assert_int_equal(fx_run(&f, &call), HM_CONFLICT);
    assert_true(call.duplicate);
    assert_non_null(strstr(call.error.message, "thing"));
    assert_non_null(strstr(call.error.message, "by_u"));
    assert_null(strstr(call.error.message, "secret"));
    put(&f, "2", "{\"u\":\"secret\"}");
    put(&f, "3", "{\"u\":\"secret\"}"); // w is missing: nothing to be unique
    put(&f, "1", "{\"u\":\"secret\",\"w\":1,\"again\":true}");
    // Two records change places in one call.
    put(&f, "3", "{\"u\":\"other\",\"w\":1}");
    struct hm_intent swap[] = {fx_intent("thing", "1", "{\"u\":\"other\",\"w\":1}"),
                               fx_intent("thing", "3", "{\"u\":\"secret\",\"w\":1}")};
    call = fx_call(&f, swap, 2);
    assert_int_equal(fx_run(&f, &call), HM_OK);
    // Two new ones with one value in one call.
    struct hm_intent twins[] = {fx_intent("thing", "8", "{\"u\":\"t\",\"w\":1}"),
                                fx_intent("thing", "9", "{\"u\":\"t\",\"w\":1.0}")};
    call = fx_call(&f, twins, 2);
    assert_int_equal(fx_run(&f, &call), HM_CONFLICT);
    // Freed by a deletion in the same call.
    struct hm_intent hand_over[] = {fx_intent("thing", "1", NULL),
                                    fx_intent("thing", "7", "{\"u\":\"other\",\"w\":1}")};
    call = fx_call(&f, hand_over, 2);
    assert_int_equal(fx_run(&f, &call), HM_OK);
    assert_string_equal(fx_scan(&f, "thing", NULL, NULL, NULL, NULL, false), "2 3 7 ");
    fx_verify(&f);
    fx_free(&f);
}

static void the_envelope_can_be_indexed(void **state) {
    (void)state;
    struct fx f;
    fx_new(&f, TYPES, 0);
    const char *who[] = {"p2", "p1", ""};
    for (int i = 0; i < 6; i++) {
        char id[2] = {(char)('a' + i), 0};
        struct hm_intent in = fx_intent("thing", id, "{}");
        struct hm_commit call = fx_call(&f, &in, 1);
        call.by = S(who[i % 3]);
        call.now_ms = 1000 - i;
        assert_int_equal(fx_run(&f, &call), HM_OK);
    }
    assert_string_equal(fx_scan(&f, "thing", "by_who", "[\"p1\"]", NULL, NULL, false), "e b ");
    assert_string_equal(fx_scan(&f, "thing", "by_who", "[\"p2\"]", "998", NULL, false), "a ");
    assert_string_equal(fx_scan(&f, "thing", "by_who", "[null]", NULL, NULL, true), "c f ");
    fx_verify(&f);
    fx_free(&f);
}

static void a_scan_continues_behind_its_cursor(void **state) {
    (void)state;
    for (int descending = 0; descending < 2; descending++) {
        struct fx f;
        fx_new(&f, TYPES, 0);
        for (int i = 0; i < 20; i++) {
            char id[16], data[32];
            snprintf(id, sizeof id, "id%02d", i);
            snprintf(data, sizeof data, "{\"v\":%d}", i / 3);
            put(&f, id, data);
        }
        struct hm_range range;
        char cursor[HM_KEY_MAX], found[512] = "";
        size_t cursor_len = 0;
        fx_range(&f, "thing", "by_v", "[]", "1", "5", &range);
        for (;;) { // pages of two
            struct hm_read *r;
            struct hm_scan *s;
            struct hm_record rec;
            int n = 0;
            assert_true(hm_read_begin(f.store, &r, &f.err));
            assert_true(
                hm_scan_begin(r, &range, descending, (struct hm_str){cursor, cursor_len}, &s, &f.err));
            while (n < 2 && hm_scan_next(s, &rec)) {
                n++;
                snprintf(found + strlen(found), sizeof found - strlen(found), "%.*s ", (int)rec.id.len,
                         rec.id.ptr);
                cursor_len = hm_scan_key(s).len;
                memcpy(cursor, hm_scan_key(s).ptr, cursor_len);
            }
            hm_scan_end(s);
            hm_read_end(r);
            if (n < 2) break;
            // What the cursor stands on may be gone when the next page is asked for.
            if (strlen(found) == 20)
                assert_int_equal(fx_put(&f, "thing", descending ? "id11" : "id06", NULL), HM_OK);
        }
        assert_string_equal(found, descending
                                       ? "id14 id13 id12 id11 id10 id09 id08 id07 id06 id05 id04 id03 "
                                       : "id03 id04 id05 id06 id07 id08 id09 id10 id11 id12 id13 id14 ");
        // A cursor from outside the range gives nothing that is not in it.
        struct hm_read *r;
        struct hm_scan *s;
        struct hm_record rec;
        const char *outside[] = {"a", "zzz", "thing"};
        for (size_t i = 0; i < 3; i++) {
            assert_true(hm_read_begin(f.store, &r, &f.err));
            assert_true(hm_scan_begin(r, &range, descending, S(outside[i]), &s, &f.err));
            int n = 0;
            while (hm_scan_next(s, &rec))
                n++;
            assert_true(n == 0 || n == 11);
            hm_scan_end(s);
            hm_read_end(r);
        }
        hm_range_free(&range);
        fx_free(&f);
    }
}

static void set_types(struct fx *f, const char *json, enum hm_code expected) {
    struct hm_types *types = NULL;
    struct hm_error err = {0};
    if (!hm_types_parse(S(json), &types, &err)) fail_msg("%s", err.message);
    bool ok = hm_store_set_types(f->store, types, &err);
    if (ok != (expected == HM_OK) || (!ok && err.code != expected))
        fail_msg("set_types: %d %s", err.code, err.message);
    hm_types_unref(types);
}

static void new_declarations_rebuild_what_changed(void **state) {
    (void)state;
    struct fx f;
    fx_new(&f,
           "[{\"name\":\"thing\",\"indexes\":[{\"name\":\"i\",\"fields\":[\"v\"]},{\"name\":\"gone\","
           "\"fields\":[\"v\"]}]}]",
           0);
    put(&f, "1", "{\"v\":1,\"w\":\"b\",\"same\":0}");
    put(&f, "2", "{\"v\":2,\"w\":\"a\",\"same\":0}");
    assert_string_equal(fx_scan(&f, "thing", "i", "[]", NULL, NULL, false), "1 2 ");
    set_types(&f, "[{\"name\":\"thing\",\"indexes\":[{\"name\":\"i\",\"fields\":[\"w\"],\"unique\":true}]}]",
              HM_OK);
    assert_string_equal(fx_scan(&f, "thing", "i", "[]", NULL, NULL, false), "2 1 ");
    fx_verify(&f);
    assert_int_equal(fx_put(&f, "thing", "3", "{\"w\":\"a\"}"), HM_CONFLICT);
    // A unique index that the records break: nothing changes.
    set_types(&f,
              "[{\"name\":\"thing\",\"indexes\":[{\"name\":\"i\",\"fields\":[\"same\"],\"unique\":true}]}]",
              HM_CONFLICT);
    assert_string_equal(fx_scan(&f, "thing", "i", "[]", NULL, NULL, false), "2 1 ");
    fx_verify(&f);
    // They last, and so does a type that is no longer declared: its records stay, its indexes go.
    set_types(&f, "[{\"name\":\"other\"}]", HM_OK);
    fx_verify(&f);
    assert_int_equal(fx_put(&f, "thing", "3", "{}"), HM_PARAMS);
    hm_store_close(f.store);
    fx_open(&f, 0);
    struct hm_types *types = hm_store_types(f.store);
    assert_non_null(hm_types_find(types, S("other")));
    assert_null(hm_types_find(types, S("thing")));
    hm_types_unref(types);
    assert_int_equal(fx_version(&f, "thing", "2"), 2);
    fx_free(&f);
}

static void rebuilding_grows_a_full_map(void **state) {
    (void)state;
    struct fx f;
    fx_new(&f, "[{\"name\":\"thing\"}]", 1 << 20);
    for (int batch = 0; batch < 40; batch++) {
        struct hm_intent in[50];
        static char ids[50][32], texts[50][400];
        for (int i = 0; i < 50; i++) {
            snprintf(ids[i], sizeof ids[i], "%d-%d", batch, i);
            snprintf(texts[i], sizeof texts[i], "{\"a\":\"%0150d\",\"b\":\"%0150d\"}", batch * 50 + i, i);
            in[i] = fx_intent("thing", ids[i], texts[i]);
        }
        struct hm_commit call = fx_call(&f, in, 50);
        assert_int_equal(fx_run(&f, &call), HM_OK);
    }
    struct hm_store_stats before, after;
    assert_true(hm_store_stats(f.store, &before, &f.err));
    struct hm_buf json = {0};
    hm_buf_text(&json, "[{\"name\":\"thing\",\"indexes\":[");
    for (int i = 0; i < 12; i++)
        hm_buf_printf(&json, "%s{\"name\":\"i%d\",\"fields\":[\"a\",\"b\"],\"unique\":true}", i ? "," : "",
                      i);
    hm_buf_text(&json, "]}]");
    set_types(&f, json.data, HM_OK);
    assert_true(hm_store_stats(f.store, &after, &f.err));
    assert_true(after.map_bytes > before.map_bytes);
    assert_int_equal(after.entries, 2000);
    fx_verify(&f);
    hm_buf_free(&json);
    fx_free(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_all_kinds_are_in_order_both_ways),
        cmocka_unit_test(whole_numbers_and_fractions_share_one_order),
        cmocka_unit_test(leading_fields_bind_and_the_next_one_ranges),
        cmocka_unit_test(long_texts_are_told_apart_by_their_end),
        cmocka_unit_test(keys_of_the_longest_names_and_values_fit_lmdb),
        cmocka_unit_test(a_multi_index_has_an_entry_for_each_different_element),
        cmocka_unit_test(a_unique_index_refuses_a_second_record_but_not_missing_values),
        cmocka_unit_test(the_envelope_can_be_indexed),
        cmocka_unit_test(a_scan_continues_behind_its_cursor),
        cmocka_unit_test(new_declarations_rebuild_what_changed),
        cmocka_unit_test(rebuilding_grows_a_full_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
