// person.erase where it can be cut short: the intention is on disk before anything is destroyed, and the next
// start ends what the last one began. What exports and erasing do to a school's data is in
// tests/protocol/person_data.test.mjs.
#include "engine_fixture.h"

static char *journal(struct house *h) {
    struct hm_buf path = {0}, text = {0};
    struct hm_error err = {0};
    hm_buf_printf(&path, "%s/institutions/i/erasing", h->dir);
    if (!hm_read_file(path.data, 1u << 20, &text, &err)) hm_buf_text(&text, "");
    hm_buf_free(&path);
    return text.data ? text.data : hm_strdup("");
}

static bool in_journal(struct house *h, const char *text) {
    char *all = journal(h);
    bool found = strstr(all, text) != NULL;
    free(all);
    return found;
}

static void until_journal_is_empty(struct house *h) {
    for (int i = 0; i < 3000; i++) { // 30 s at most
        char *all = journal(h);
        bool empty = !all[0];
        free(all);
        if (empty) return;
        spin(h, NULL, 0.01);
    }
    fail_msg("the erasing is not ended");
}

static void an_erasing_cut_short_by_the_end_of_the_server_is_ended_by_the_next(void **state) {
    struct house *h = *state;
    struct reply reply;
    account(h, "ann", "p1", "[\"student\"]");
    account(h, "ben", "p2", "[\"student\"]");
    call_as(h, h->control, "person.erase", "{\"person\":\"p1\",\"reason\":\"asked\"}", &reply);
    assert_false(reply.there);
    assert_true(in_journal(h, "{\"person\":\"p1\"")); // the loop has not run yet
    house_close(h);
    assert_true(reply.there);
    assert_int_equal(reply.code, HM_UNAVAILABLE);
    assert_true(in_journal(h, "{\"person\":\"p1\""));
    reply_free(&reply);
    house_open(h);
    until_journal_is_empty(h);
    assert_ok(ask(h, h->control, "account.list", "{}"));
    assert_false(has(last_reply.result, "\"p1\""));
    assert_has(last_reply.result, "\"p2\"");
    assert_ok(ask(h, h->control, "audit.list", "{\"whose\":\"p1\"}"));
    assert_has(last_reply.result, "erase: asked");
    assert_ok(ask(h, h->control, "person.erase",
                  "{\"person\":\"p1\",\"reason\":\"again\"}")); // the audit knows them
    assert_ok(ask(h, h->control, "audit.list", "{\"whose\":\"p1\"}"));
    assert_has(last_reply.result, "erase: again");
}

static void a_sign_in_while_somebody_is_erased_leaves_nothing(void **state) {
    struct house *h = *state;
    struct reply late, wrong;
    account(h, "ann", "p1", "[]"); // at full cost
    struct hm_caller *a = stranger();
    call_as(h, a, "session.login", "{\"institution\":\"i\",\"login\":\"ann\",\"password\":\"" PASSWORD "\"}",
            &late);
    call_as(h, a, "session.login", "{\"institution\":\"i\",\"login\":\"ann\",\"password\":\"wrong\"}",
            &wrong);
    assert_ok(ask(h, h->control, "person.erase", "{\"person\":\"p1\",\"reason\":\"asked\"}"));
    await(h, &late);
    await(h, &wrong);
    assert_int_equal(late.code, HM_UNAUTHENTICATED);
    spin(h, NULL, 0.3);
    assert_null(a->session);
    assert_int_equal(records(h, "session"), 0);
    assert_int_equal(records(h, "sign_in"), 0);
    reply_free(&late);
    reply_free(&wrong);
    hm_caller_unref(a);
}

static void nobody_erases_themselves_or_somebody_who_is_not_there(void **state) {
    struct house *h = *state;
    account(h, "adm", "p1", "[\"administrator\"]");
    struct hm_caller *adm = sign_in(h, "adm");
    assert_int_equal(ask(h, adm, "person.erase", "{\"person\":\"p1\",\"reason\":\"x\"}"), HM_CONFLICT);
    assert_has(last_reply.data, "self");
    assert_int_equal(ask(h, adm, "person.erase", "{\"person\":\"p9\",\"reason\":\"x\"}"), HM_NOT_FOUND);
    assert_int_equal(ask(h, adm, "person.erase", "{\"person\":\"p9\",\"reason\":\"\"}"), HM_PARAMS);
    char *all = journal(h);
    assert_string_equal(all, "");
    free(all);
    hm_caller_unref(adm);
}

static void two_exports_at_once_are_enough(void **state) {
    struct house *h = *state;
    struct reply replies[3];
    account(h, "ann", "p1", "[\"student\"]");
    struct hm_caller *ann = sign_in(h, "ann");
    for (int i = 0; i < 3; i++)
        call_as(h, ann, "person.export", "{}", &replies[i]);
    assert_true(replies[2].there);
    assert_int_equal(replies[2].code, HM_TOO_MANY);
    for (int i = 0; i < 3; i++) {
        await(h, &replies[i]);
        if (i < 2) assert_int_equal(replies[i].code, HM_OK);
        reply_free(&replies[i]);
    }
    assert_ok(ask(h, ann, "person.export", "{}"));
    hm_caller_unref(ann);
}

int main(int argc, char **argv) {
    FAKE_WORKER_MAIN(argc, argv);
#define TEST(name) cmocka_unit_test_setup_teardown(name, house_setup, house_teardown)
    const struct CMUnitTest tests[] = {
        TEST(an_erasing_cut_short_by_the_end_of_the_server_is_ended_by_the_next),
        TEST(a_sign_in_while_somebody_is_erased_leaves_nothing),
        TEST(nobody_erases_themselves_or_somebody_who_is_not_there),
        TEST(two_exports_at_once_are_enough),
    };
    return cmocka_run_group_tests_name("engine person", tests, NULL, NULL);
}
