// Reading records without Lua: access, pages, counts, sealed fields and their audit.
#include "engine_fixture.h"

static void put_notes(struct house *h, int count) {
    char params[64];
    for (int i = 0; i < count; i++) {
        snprintf(params, sizeof params, "{\"id\":\"n%03d\"}", i);
        assert_ok(ask(h, h->control, "put", params));
    }
}

static void cursor_of(char *out, size_t cap) {
    struct hm_json value;
    assert_true(hm_json_parse(hm_str_of(last_reply.result), &value, NULL));
    if (!hm_json_get_text(value, "cursor", out, cap)) out[0] = 0;
}

static size_t items(void) {
    struct hm_json value, list;
    assert_true(hm_json_parse(hm_str_of(last_reply.result), &value, NULL));
    assert_true(hm_json_get(value, "items", &list));
    return hm_json_count(list);
}

static void pages_follow_each_other_without_gap_or_repeat(void **state) {
    struct house *h = *state;
    char cursor[512], params[700];
    put_notes(h, 25);
    assert_ok(ask(h, h->control, "record.list", "{\"type\":\"note\",\"limit\":10}"));
    assert_int_equal(items(), 10);
    assert_has(last_reply.result, "\"epoch\":\"");
    assert_has(last_reply.result, "n009");
    cursor_of(cursor, sizeof cursor);
    snprintf(params, sizeof params, "{\"type\":\"note\",\"limit\":10,\"cursor\":\"%s\"}", cursor);
    assert_ok(ask(h, h->control, "record.list", params));
    assert_int_equal(items(), 10);
    assert_false(has(last_reply.result, "\"n009\""));
    assert_has(last_reply.result, "\"n010\"");
    cursor_of(cursor, sizeof cursor);
    snprintf(params, sizeof params, "{\"type\":\"note\",\"limit\":10,\"cursor\":\"%s\"}", cursor);
    assert_ok(ask(h, h->control, "record.list", params));
    assert_int_equal(items(), 5);
    assert_has(last_reply.result, "\"cursor\":null");
    assert_ok(ask(h, h->control, "record.list", "{\"type\":\"note\",\"limit\":3,\"order\":\"desc\"}"));
    assert_has(last_reply.result, "\"n024\"");
    cursor_of(cursor, sizeof cursor);
    snprintf(params, sizeof params, "{\"type\":\"note\",\"limit\":3,\"order\":\"desc\",\"cursor\":\"%s\"}",
             cursor);
    assert_ok(ask(h, h->control, "record.list", params));
    assert_has(last_reply.result, "\"n021\"");
    assert_ok(ask(h, h->control, "record.count", "{\"type\":\"note\"}"));
    assert_has(last_reply.result, "\"count\":25");
}

static void an_index_is_read_by_equality_and_range(void **state) {
    struct house *h = *state;
    put_notes(h, 3);
    assert_ok(ask(h, h->control, "set", "{\"id\":\"n001\"}"));
    assert_ok(ask(h, h->control, "record.list", "{\"type\":\"note\",\"index\":\"by_n\",\"equals\":[7]}"));
    assert_int_equal(items(), 1);
    assert_ok(ask(h, h->control, "record.list", "{\"type\":\"note\",\"index\":\"by_n\",\"equals\":7}"));
    assert_int_equal(items(), 1);
    assert_ok(
        ask(h, h->control, "record.count", "{\"type\":\"note\",\"index\":\"by_n\",\"from\":0,\"to\":7}"));
    assert_has(last_reply.result, "\"count\":2");
}

static void what_makes_no_sense_is_refused(void **state) {
    struct house *h = *state;
    put_notes(h, 1);
    assert_int_equal(ask(h, h->control, "record.list", "{\"type\":\"nothing\"}"), HM_PARAMS);
    assert_int_equal(ask(h, h->control, "record.list", "{\"type\":\"note\",\"index\":\"nothing\"}"),
                     HM_PARAMS);
    assert_int_equal(ask(h, h->control, "record.list", "{\"type\":\"note\",\"limit\":0}"), HM_PARAMS);
    assert_int_equal(ask(h, h->control, "record.list", "{\"type\":\"note\",\"cursor\":\"!!\"}"), HM_PARAMS);
    assert_int_equal(ask(h, h->control, "record.list", "{\"type\":\"note\",\"cursor\":\"YWNjb3VudAAA\"}"),
                     HM_PARAMS);
    assert_int_equal(ask(h, h->control, "record.list", "{\"type\":\"note\",\"order\":\"up\"}"), HM_PARAMS);
}

static void hidden_types_are_not_there_for_anybody(void **state) {
    struct house *h = *state;
    char params[256];
    account(h, "adm", "p1", "[\"administrator\"]");
    struct hm_caller *c = sign_in(h, "adm");
    assert_int_equal(ask(h, c, "record.list", "{\"type\":\"account\"}"), HM_PARAMS);
    assert_int_equal(ask(h, c, "record.list", "{\"type\":\"session\"}"), HM_PARAMS);
    snprintf(params, sizeof params, "{\"type\":\"account\",\"id\":\"%s\"}", c->session->account);
    assert_int_equal(ask(h, c, "record.get", params), HM_NOT_FOUND);
    hm_caller_unref(c);
}

static void a_record_is_given_to_its_audience_only(void **state) {
    struct house *h = *state;
    account(h, "ann", "p1", "[]");
    account(h, "bob", "p2", "[]");
    struct hm_caller *ann = sign_in(h, "ann"), *bob = sign_in(h, "bob");
    assert_ok(ask(h, ann, "put", "{\"id\":\"mine\",\"audience\":\"person:p1\"}"));
    assert_ok(ask(h, ann, "record.get", "{\"type\":\"note\",\"id\":\"mine\"}"));
    assert_int_equal(ask(h, bob, "record.get", "{\"type\":\"note\",\"id\":\"mine\"}"), HM_NOT_FOUND);
    assert_int_equal(ask(h, h->control, "record.get", "{\"type\":\"note\",\"id\":\"mine\"}"), HM_NOT_FOUND);
    assert_ok(ask(h, bob, "record.list", "{\"type\":\"note\"}"));
    assert_int_equal(items(), 0);
    assert_ok(ask(h, bob, "record.count", "{\"type\":\"note\"}"));
    assert_has(last_reply.result, "\"count\":0");
    hm_caller_unref(ann);
    hm_caller_unref(bob);
}

static void sealed_fields_open_for_readers_and_leave_an_audit(void **state) {
    struct house *h = *state;
    account(h, "ann", "p1", "[]");
    account(h, "bob", "p2", "[]");
    struct hm_caller *ann = sign_in(h, "ann"), *bob = sign_in(h, "bob");
    assert_ok(ask(h, ann, "own", "{\"id\":\"s\"}"));
    assert_ok(ask(h, ann, "record.list", "{\"type\":\"secret\"}"));
    assert_has(last_reply.result, "{\"sealed\":true}");
    assert_ok(ask(h, h->control, "audit.list", "{}"));
    assert_int_equal(items(), 0);
    assert_ok(ask(h, ann, "record.get", "{\"type\":\"secret\",\"id\":\"s\",\"why\":\"to see it\"}"));
    assert_has(last_reply.result, "\"answers\":[1,2,3]");
    struct hm_json whole;
    assert_true(hm_json_parse(hm_str_of(last_reply.result), &whole, NULL));
    assert_int_equal(ask(h, bob, "record.get", "{\"type\":\"secret\",\"id\":\"s\"}"), HM_NOT_FOUND);
    assert_ok(ask(h, h->control, "audit.list", "{\"whose\":\"p1\"}"));
    assert_int_equal(items(), 1);
    assert_has(last_reply.result, "\"why\":\"to see it\"");
    assert_int_equal(ask(h, bob, "audit.list", "{}"), HM_FORBIDDEN);
    hm_caller_unref(ann);
    hm_caller_unref(bob);
}

static void a_method_opens_a_seal_for_readers_only_and_with_an_audit(void **state) {
    struct house *h = *state;
    account(h, "ann", "p1", "[]");
    account(h, "bob", "p2", "[]");
    struct hm_caller *ann = sign_in(h, "ann"), *bob = sign_in(h, "bob");
    assert_ok(ask(h, ann, "own", "{\"id\":\"s\"}"));
    assert_ok(ask(h, ann, "open", "{\"id\":\"s\"}"));
    assert_string_equal(last_reply.result, "{\"ok\":true,\"value\":[1,2,3]}");
    assert_ok(ask(h, bob, "open", "{\"id\":\"s\"}"));
    assert_has(last_reply.result, "\"ok\":false");
    assert_ok(ask(h, h->control, "audit.list", "{}"));
    assert_int_equal(items(), 1);
    assert_has(last_reply.result, "the test wants it");
    hm_caller_unref(ann);
    hm_caller_unref(bob);
}

static void a_backup_is_made_while_serving(void **state) {
    struct house *h = *state;
    account(h, "adm", "p1", "[\"administrator\"]");
    struct hm_caller *c = sign_in(h, "adm");
    put_notes(h, 3);
    assert_int_equal(ask(h, c, "backup.create", "{\"to\":\"/tmp/somewhere\"}"), HM_PARAMS);
    assert_int_equal(ask(h, c, "backup.create", "{\"name\":\"../monday\"}"), HM_PARAMS);
    assert_ok(ask(h, c, "backup.create", "{\"name\":\"monday\"}"));
    assert_has(last_reply.result, "/backups/i/monday");
    assert_int_equal(ask(h, c, "backup.create", "{\"name\":\"monday\"}"), HM_CONFLICT);
    assert_ok(ask(h, c, "backup.create", "{}"));
    assert_ok(ask(h, c, "backup.create", "{}")); // in the same second, perhaps
    hm_caller_unref(c);
}

static void backups_are_listed_the_newest_first(void **state) {
    struct house *h = *state;
    char params[64];
    hm_clock_manual(1800000000000); // the last test: it stays so
    account(h, "adm", "p1", "[\"administrator\"]");
    account(h, "ann", "p2", "[\"coordinator\"]");
    struct hm_caller *c = sign_in(h, "adm"), *ann = sign_in(h, "ann");
    assert_int_equal(ask(h, ann, "backup.list", "{}"), HM_FORBIDDEN);
    assert_ok(ask(h, c, "backup.list", "{}"));
    assert_string_equal(last_reply.result, "{\"items\":[]}");
    for (int i = 0; i < 22; i++) { // two more than are listed, and the names do not tell their order
        snprintf(params, sizeof params, "{\"name\":\"n%d\"}", i * 7 % 22);
        assert_ok(ask(h, c, "backup.create", params));
        assert_ok(ask(h, h->control, "clock.advance", "{\"ms\":60000}"));
    }
    assert_ok(ask(h, c, "backup.list", "{}"));
    assert_int_equal(items(), 20);
    const char *r = last_reply.result, *at = r;
    for (int i = 21; i > 1; i--) {
        snprintf(params, sizeof params, "/i\",\"name\":\"n%d\",\"made\":", i * 7 % 22);
        const char *next = strstr(r, params);
        assert_non_null(next);
        assert_true(next > at);
        at = next;
    }
    assert_false(has(r, "\"bytes\":0"));
    hm_caller_unref(c);
    hm_caller_unref(ann);
}

int main(int argc, char **argv) {
    FAKE_WORKER_MAIN(argc, argv);
#define TEST(name) cmocka_unit_test_setup_teardown(name, house_setup, house_teardown)
    const struct CMUnitTest tests[] = {
        TEST(pages_follow_each_other_without_gap_or_repeat),
        TEST(an_index_is_read_by_equality_and_range),
        TEST(what_makes_no_sense_is_refused),
        TEST(hidden_types_are_not_there_for_anybody),
        TEST(a_record_is_given_to_its_audience_only),
        TEST(sealed_fields_open_for_readers_and_leave_an_audit),
        TEST(a_method_opens_a_seal_for_readers_only_and_with_an_audit),
        TEST(a_backup_is_made_while_serving),
        TEST(backups_are_listed_the_newest_first),
    };
    return cmocka_run_group_tests_name("engine records", tests, NULL, NULL);
}
