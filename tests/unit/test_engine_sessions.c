// Signing in and out, invitations, and the principals of sessions in use.
#include "engine_fixture.h"

static void login(struct house *h, struct hm_caller *c, const char *name, const char *password) {
    char params[512];
    snprintf(params, sizeof params, "{\"institution\":\"i\",\"login\":\"%s\",\"password\":\"%s\"}", name,
             password);
    ask(h, c, "session.login", params);
}

static void text_of(const char *json, const char *name, char *out, size_t cap) {
    struct hm_json value;
    assert_true(hm_json_parse(hm_str_of(json), &value, NULL));
    assert_true(hm_json_get_text(value, name, out, cap));
}

static void a_sign_in_gives_a_token_and_who_one_is(void **state) {
    struct house *h = *state;
    account(h, "Ann", "p1", "[\"student\"]");
    struct hm_caller *c = stranger();
    login(h, c, "ANN", PASSWORD);
    assert_int_equal(last_reply.code, HM_OK);
    assert_has(last_reply.result, "\"token\":\"i.");
    assert_has(last_reply.result, "\"person\":\"p1\"");
    assert_has(last_reply.result, "\"roles\":[\"student\"]");
    assert_has(last_reply.result, "\"person:p1\"");
    assert_has(last_reply.result, "\"institution\":\"i\"");
    assert_non_null(c->session);
    hm_caller_unref(c);
}

static void unknown_login_and_wrong_password_look_the_same(void **state) {
    struct house *h = *state;
    account(h, "ann", "p1", "[]");
    struct hm_caller *c = stranger();
    char first[256];
    login(h, c, "ann", "wrong password");
    assert_int_equal(last_reply.code, HM_UNAUTHENTICATED);
    snprintf(first, sizeof first, "%s|%s", last_reply.message, last_reply.data);
    login(h, c, "nobody", "wrong password");
    char second[256];
    snprintf(second, sizeof second, "%s|%s", last_reply.message, last_reply.data);
    assert_string_equal(first, second);
    assert_int_equal(
        ask(h, c, "session.login", "{\"institution\":\"none\",\"login\":\"ann\",\"password\":\"x\"}"),
        HM_UNAUTHENTICATED);
    snprintf(second, sizeof second, "%s|%s", last_reply.message, last_reply.data);
    assert_string_equal(first, second);
    hm_caller_unref(c);
}

static void guessing_is_slowed(void **state) {
    struct house *h = *state;
    account(h, "ann", "p1", "[]");
    struct hm_caller *c = stranger();
    for (int i = 0; i < 6; i++) {
        login(h, c, "ann", "wrong password");
        assert_int_equal(last_reply.code, HM_UNAUTHENTICATED);
    }
    login(h, c, "ann", PASSWORD);
    assert_int_equal(last_reply.code, HM_TOO_MANY);
    assert_has(last_reply.data, "retry_after");
    hm_caller_unref(c);
}

static void demo_accounts_sign_in_from_this_machine_only(void **state) {
    struct house *h = *state;
    struct hm_caller *c = stranger();
    assert_ok(ask(h, h->control, "account.create",
                  "{\"login\":\"demo\",\"password\":\"" PASSWORD "\",\"demo\":true}"));
    c->loopback = false;
    login(h, c, "demo", PASSWORD);
    assert_int_equal(last_reply.code, HM_FORBIDDEN);
    c->loopback = true;
    login(h, c, "demo", PASSWORD);
    assert_int_equal(last_reply.code, HM_OK);
    hm_caller_unref(c);
}

static void a_token_resumes_the_session_also_after_a_restart(void **state) {
    struct house *h = *state;
    char token[200], params[256];
    account(h, "ann", "p1", "[]");
    struct hm_caller *c = sign_in(h, "ann"), *d = stranger();
    text_of(last_reply.result, "token", token, sizeof token);
    snprintf(params, sizeof params, "{\"token\":\"%s\"}", token);
    assert_ok(ask(h, d, "session.resume", params));
    assert_ptr_equal(c->session, d->session); // one sign-in, shared
    hm_caller_unref(c);
    hm_caller_unref(d);
    house_close(h);
    house_open(h);
    d = stranger();
    assert_ok(ask(h, d, "session.resume", params));
    assert_ok(ask(h, d, "session.list", "{}"));
    assert_has(last_reply.result, "\"current\":true");
    assert_false(has(last_reply.result, token));
    struct hm_session *bearer = hm_engine_session(h->engine, hm_str_of(token));
    assert_ptr_equal(bearer, d->session);
    hm_session_unref(bearer);
    token[10] ^= 1;
    assert_null(hm_engine_session(h->engine, hm_str_of(token)));
    hm_caller_unref(d);
}

static void logging_out_ends_the_session_everywhere(void **state) {
    struct house *h = *state;
    char token[200], params[256];
    account(h, "ann", "p1", "[]");
    struct hm_caller *c = sign_in(h, "ann"), *d = stranger();
    text_of(last_reply.result, "token", token, sizeof token);
    snprintf(params, sizeof params, "{\"token\":\"%s\"}", token);
    assert_ok(ask(h, d, "session.resume", params));
    assert_ok(ask(h, c, "session.logout", "{}"));
    assert_null(c->session);
    assert_string_equal(h->heard.ended.data, "ann logout;");
    assert_int_equal(ask(h, d, "session.list", "{}"), HM_UNAUTHENTICATED);
    assert_int_equal(ask(h, d, "session.resume", params), HM_UNAUTHENTICATED);
    hm_caller_unref(c);
    hm_caller_unref(d);
}

static void a_session_can_be_revoked_by_its_owner_and_not_by_others(void **state) {
    struct house *h = *state;
    char params[256], name[HM_SESSION_NAME];
    account(h, "ann", "p1", "[]");
    account(h, "bob", "p2", "[\"administrator\"]");
    struct hm_caller *a = sign_in(h, "ann"), *b = sign_in(h, "ann"), *bob = sign_in(h, "bob");
    snprintf(params, sizeof params, "{\"id\":\"%s\"}", b->session->token_hash);
    assert_int_equal(ask(h, a, "session.revoke", params), HM_NOT_FOUND);
    hm_session_name(b->session->token_hash, name);
    snprintf(params, sizeof params, "{\"id\":\"%s\"}", name);
    assert_int_equal(ask(h, bob, "session.revoke", params), HM_NOT_FOUND);
    assert_ok(ask(h, a, "session.revoke", params));
    spin(h, NULL, 0.05);
    assert_string_equal(h->heard.ended.data, "ann revoked;");
    assert_int_equal(ask(h, b, "session.list", "{}"), HM_UNAUTHENTICATED);
    assert_ok(ask(h, a, "session.list", "{}"));
    hm_caller_unref(a);
    hm_caller_unref(b);
    hm_caller_unref(bob);
}

static void changing_the_password_ends_the_other_sessions(void **state) {
    struct house *h = *state;
    account(h, "ann", "p1", "[]");
    struct hm_caller *a = sign_in(h, "ann"), *b = sign_in(h, "ann"), *c = stranger();
    assert_int_equal(
        ask(h, a, "session.change_password", "{\"old\":\"wrong one here\",\"new\":\"another password\"}"),
        HM_PARAMS);
    assert_int_equal(ask(h, a, "session.change_password", "{\"old\":\"" PASSWORD "\",\"new\":\"short\"}"),
                     HM_PARAMS);
    assert_has(last_reply.data, "\"path\":\"new\"");
    assert_ok(
        ask(h, a, "session.change_password", "{\"old\":\"" PASSWORD "\",\"new\":\"another password\"}"));
    spin(h, NULL, 0.05);
    assert_int_equal(ask(h, b, "session.list", "{}"), HM_UNAUTHENTICATED);
    assert_ok(ask(h, a, "session.list", "{}"));
    login(h, c, "ann", PASSWORD);
    assert_int_equal(last_reply.code, HM_UNAUTHENTICATED);
    login(h, c, "ann", "another password");
    assert_int_equal(last_reply.code, HM_OK);
    hm_caller_unref(a);
    hm_caller_unref(b);
    hm_caller_unref(c);
}

static void an_invitation_is_accepted_once(void **state) {
    struct house *h = *state;
    char params[512];
    struct hm_caller *c = stranger(), *d = stranger();
    snprintf(params, sizeof params,
             "{\"institution\":\"cluster\",\"code\":\"%s\",\"login\":\"root\",\"password\":\"long enough "
             "password\"}",
             h->code);
    assert_ok(ask(h, c, "session.accept", params));
    assert_has(last_reply.result, "\"roles\":[\"administrator\"]");
    assert_has(last_reply.result, "\"person\":null");
    assert_true(c->session->admin);
    assert_ok(ask(h, c, "institution.create", "{\"id\":\"j\",\"title\":\"J\",\"zone_minutes\":60}"));
    assert_has(last_reply.result, "\"code\":\"");
    assert_int_equal(ask(h, c, "institution.create", "{\"id\":\"j\",\"title\":\"J\"}"), HM_CONFLICT);
    assert_int_equal(ask(h, d, "session.accept", params), HM_NOT_FOUND);
    hm_caller_unref(c);
    hm_caller_unref(d);
}

static void an_administrator_of_an_institution_makes_no_institutions(void **state) {
    struct house *h = *state;
    account(h, "adm", "p1", "[\"administrator\"]");
    struct hm_caller *c = sign_in(h, "adm");
    assert_int_equal(ask(h, c, "institution.create", "{\"id\":\"j\",\"title\":\"J\"}"), HM_FORBIDDEN);
    assert_ok(ask(h, c, "account.list", "{}"));
    assert_has(last_reply.result, "\"login\":\"adm\"");
    assert_false(has(last_reply.result, "argon2"));
    assert_int_equal(ask(h, c, "account.create",
                         "{\"login\":\"x\",\"password_hash\":\"$argon2id$v=19$m=8,t=1,p=1$YWJj$YWJj\"}"),
                     HM_FORBIDDEN);
    hm_caller_unref(c);
}

static void a_login_and_a_person_have_one_account(void **state) {
    struct house *h = *state;
    account(h, "ann", "p1", "[]");
    assert_int_equal(
        ask(h, h->control, "account.create", "{\"login\":\" Ann \",\"password\":\"long enough\"}"),
        HM_CONFLICT);
    assert_string_equal(last_reply.data, "{\"reason\":\"exists\"}");
    assert_int_equal(ask(h, h->control, "account.create",
                         "{\"login\":\"b\",\"password\":\"long enough\",\"person\":\"p1\"}"),
                     HM_CONFLICT);
    assert_int_equal(ask(h, h->control, "account.create",
                         "{\"login\":\"b\",\"password\":\"long enough\",\"roles\":[\"king\"]}"),
                     HM_PARAMS);
}

static void roles_change_sessions_in_use_at_once(void **state) {
    struct house *h = *state;
    char params[256];
    account(h, "ann", "p1", "[]");
    struct hm_caller *c = sign_in(h, "ann");
    snprintf(params, sizeof params, "{\"account\":\"%s\",\"roles\":[\"coordinator\"]}", c->session->account);
    assert_int_equal(ask(h, c, "staff", "{}"), HM_FORBIDDEN);
    assert_ok(ask(h, h->control, "account.set_roles", params));
    spin(h, NULL, 0.05);
    assert_int_equal(h->heard.principals, 1);
    assert_ok(ask(h, c, "staff", "{}"));
    snprintf(params, sizeof params, "{\"account\":\"%s\",\"state\":\"closed\"}", c->session->account);
    assert_ok(ask(h, h->control, "account.set_state", params));
    spin(h, NULL, 0.05);
    assert_string_equal(h->heard.ended.data, "ann revoked;");
    assert_int_equal(ask(h, c, "staff", "{}"), HM_UNAUTHENTICATED);
    hm_caller_unref(c);
}

static void memberships_come_and_go_before_the_change_is_told(void **state) {
    struct house *h = *state;
    account(h, "ann", "p1", "[]");
    account(h, "bob", "p2", "[]");
    struct hm_caller *c = sign_in(h, "ann"), *bob = sign_in(h, "bob");
    hm_buf_clear(&h->heard.changes);
    assert_ok(ask(h, bob, "put", "{\"id\":\"club\",\"member\":\"person:p1\",\"audience\":\"note:club\"}"));
    spin(h, NULL, 0.05);
    assert_has(h->heard.changes.data, "principals;created note/club;");
    assert_true(hm_principals_has(c->session->principals, HM_LIT("note:club")));
    assert_false(hm_principals_has(bob->session->principals, HM_LIT("note:club")));
    assert_ok(ask(h, c, "record.get", "{\"type\":\"note\",\"id\":\"club\"}"));
    assert_int_equal(ask(h, bob, "record.get", "{\"type\":\"note\",\"id\":\"club\"}"), HM_NOT_FOUND);
    hm_buf_clear(&h->heard.changes);
    assert_ok(ask(h, bob, "set", "{\"id\":\"club\"}"));
    spin(h, NULL, 0.05);
    assert_has(h->heard.changes.data, "principals;updated note/club;");
    assert_false(hm_principals_has(c->session->principals, HM_LIT("note:club")));
    hm_caller_unref(c);
    hm_caller_unref(bob);
}

static void a_core_method_also_answers_the_same_key_once(void **state) {
    struct house *h = *state;
    static const char params[] = "{\"login\":\"new\",\"password\":\"long enough\",\"idem\":\"k\"}";
    account(h, "adm", "p1", "[\"administrator\"]");
    struct hm_caller *c = sign_in(h, "adm");
    assert_ok(ask(h, c, "account.create", params));
    char *first = hm_strdup(last_reply.result);
    assert_ok(ask(h, c, "account.create", params));
    assert_string_equal(first, last_reply.result);
    free(first);
    hm_caller_unref(c);
}

static void a_session_expires_with_the_clock(void **state) {
    struct house *h = *state;
    account(h, "ann", "p1", "[]");
    struct hm_caller *c = sign_in(h, "ann");
    assert_int_equal(ask(h, h->control, "clock.advance", "{\"ms\":1000}"), HM_FORBIDDEN);
    hm_clock_manual(hm_now_ms());
    assert_ok(ask(h, h->control, "clock.advance", "{\"ms\":36000000}"));
    assert_ok(ask(h, c, "echo", "{}"));
    assert_ok(ask(h, h->control, "clock.advance", "{\"ms\":36000000}")); // 10 hours again: not idle for 12
    assert_ok(ask(h, c, "echo", "{}"));
    assert_ok(ask(h, h->control, "clock.advance", "{\"ms\":50000000}"));
    assert_int_equal(ask(h, c, "echo", "{}"), HM_UNAUTHENTICATED);
    assert_has(h->heard.ended.data, "ann expired;");
    hm_caller_unref(c);
}

int main(int argc, char **argv) {
    FAKE_WORKER_MAIN(argc, argv);
#define TEST(name) cmocka_unit_test_setup_teardown(name, house_setup, house_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_sign_in_gives_a_token_and_who_one_is),
        TEST(unknown_login_and_wrong_password_look_the_same),
        TEST(guessing_is_slowed),
        TEST(demo_accounts_sign_in_from_this_machine_only),
        TEST(a_token_resumes_the_session_also_after_a_restart),
        TEST(logging_out_ends_the_session_everywhere),
        TEST(a_session_can_be_revoked_by_its_owner_and_not_by_others),
        TEST(changing_the_password_ends_the_other_sessions),
        TEST(an_invitation_is_accepted_once),
        TEST(an_administrator_of_an_institution_makes_no_institutions),
        TEST(a_login_and_a_person_have_one_account),
        TEST(roles_change_sessions_in_use_at_once),
        TEST(memberships_come_and_go_before_the_change_is_told),
        TEST(a_core_method_also_answers_the_same_key_once),
        TEST(a_session_expires_with_the_clock), // last: the clock stands still from here
    };
    return cmocka_run_group_tests_name("engine sessions", tests, NULL, NULL);
}
