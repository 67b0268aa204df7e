// Calls through workers: answers, rights, conflicts, deadlines, hostile workers, group commit, idem.
#include "engine/internal.h"
#include "engine_fixture.h"

static void a_call_reaches_a_worker_and_its_result_the_caller(void **state) {
    struct house *h = *state;
    assert_ok(ask(h, h->control, "echo", "{\"a\":1}"));
    assert_has(last_reply.result, "\"params\":{\"a\":1}");
    assert_has(last_reply.result, "\"admin\":true");
    assert_true(hm_engine_ready(h->engine));
}

static void a_stranger_may_call_public_methods_only(void **state) {
    struct house *h = *state;
    struct hm_caller *c = stranger();
    assert_ok(ask(h, c, "hello", "{\"institution\":\"i\"}"));
    assert_has(last_reply.result, "\"admin\":false");
    assert_int_equal(ask(h, c, "echo", "{\"institution\":\"i\"}"), HM_UNAUTHENTICATED);
    assert_int_equal(ask(h, c, "echo", "{}"), HM_UNAUTHENTICATED);
    assert_int_equal(ask(h, c, "record.list", "{\"type\":\"note\"}"), HM_UNAUTHENTICATED);
    assert_int_equal(ask(h, c, "account.list", "{}"), HM_UNAUTHENTICATED);
    hm_caller_unref(c);
}

static void a_role_is_asked_for_and_named_when_it_is_missing(void **state) {
    struct house *h = *state;
    account(h, "ann", "p1", "[\"student\"]");
    account(h, "cor", "p2", "[\"coordinator\"]");
    struct hm_caller *ann = sign_in(h, "ann"), *cor = sign_in(h, "cor");
    assert_int_equal(ask(h, ann, "staff", "{}"), HM_FORBIDDEN);
    assert_string_equal(last_reply.data, "{\"need\":\"coordinator\"}");
    assert_ok(ask(h, cor, "staff", "{}"));
    assert_has(last_reply.result, "\"person\":\"p2\"");
    assert_has(last_reply.result, "\"login\":\"cor\"");
    assert_has(last_reply.result, "role:coordinator");
    assert_int_equal(ask(h, ann, "account.list", "{}"), HM_FORBIDDEN);
    hm_caller_unref(ann);
    hm_caller_unref(cor);
}

static void an_unknown_method_is_said_to_be_unknown(void **state) {
    struct house *h = *state;
    assert_int_equal(ask(h, h->control, "nothing.here", "{}"), HM_METHOD);
    assert_int_equal(ask(h, h->control, "$react", "{}"), HM_METHOD);
    assert_int_equal(ask(h, h->control, "feed.open", "{}"), HM_METHOD);
}

static void params_of_core_methods_are_checked_all_at_once(void **state) {
    struct house *h = *state;
    assert_int_equal(ask(h, h->control, "record.get", "{\"type\":5,\"wrong\":1}"), HM_PARAMS);
    assert_has(last_reply.data, "\"path\":\"type\"");
    assert_has(last_reply.data, "\"path\":\"id\"");
    assert_has(last_reply.data, "\"path\":\"wrong\"");
    assert_int_equal(ask(h, h->control, "record.get", "[1]"), HM_PARAMS);
}

static void a_write_is_answered_before_its_change_is_told(void **state) {
    struct house *h = *state;
    hm_buf_clear(&h->heard.changes);
    assert_ok(ask(h, h->control, "put", "{\"id\":\"a\"}"));
    assert_string_equal(last_reply.result, "{\"put\":\"a\"}");
    spin(h, NULL, 0.05);
    assert_has(h->heard.changes.data, "created note/a;");
    assert_int_equal(hm_engine_told(h->engine, "i"), h->heard.last_seq);
    assert_ok(ask(h, h->control, "record.get", "{\"type\":\"note\",\"id\":\"a\"}"));
    assert_has(last_reply.result, "\"data\":{\"n\":0}");
}

static void a_duplicate_is_a_conflict_that_says_exists(void **state) {
    struct house *h = *state;
    assert_ok(ask(h, h->control, "put", "{\"id\":\"a\",\"mail\":\"m\"}"));
    assert_int_equal(ask(h, h->control, "put", "{\"id\":\"a\"}"), HM_CONFLICT);
    assert_string_equal(last_reply.data, "{\"reason\":\"exists\"}");
    assert_int_equal(ask(h, h->control, "put", "{\"id\":\"b\",\"mail\":\"m\"}"), HM_CONFLICT);
    assert_string_equal(last_reply.data, "{\"reason\":\"exists\"}");
}

static void counters_raised_by_many_at_once_lose_no_update(void **state) {
    struct house *h = *state;
    enum { MANY = 100 };
    static struct reply replies[MANY];
    for (int i = 0; i < MANY; i++)
        call_as(h, h->control, "bump", "{\"id\":\"count\"}", &replies[i]);
    int good = 0;
    for (int i = 0; i < MANY; i++) {
        await(h, &replies[i]);
        good += replies[i].code == HM_OK;
        if (replies[i].code) assert_int_equal(replies[i].code, HM_CONFLICT);
        reply_free(&replies[i]);
    }
    assert_true(good >= MANY / 2);
    char expected[64];
    snprintf(expected, sizeof expected, "\"data\":{\"n\":%d}", good);
    assert_ok(ask(h, h->control, "record.get", "{\"type\":\"note\",\"id\":\"count\"}"));
    assert_has(last_reply.result, expected);
}

static void a_call_that_conflicts_always_is_given_up_after_eight_reruns(void **state) {
    struct house *h = *state;
    struct hm_buf text = {0};
    assert_int_equal(ask(h, h->control, "stale", "{}"), HM_CONFLICT);
    assert_string_equal(last_reply.data, "{\"reason\":\"busy\"}");
    hm_engine_metrics(h->engine, &text);
    assert_has(text.data, "\nhamroh_conflicts_total 9\n");
    assert_has(text.data, "\nhamroh_conflict_reruns_total 8\n");
    assert_has(text.data, "\nhamroh_conflicts_given_up_total 1\n");
    assert_has(text.data, "\nhamroh_exclusive_turns_total 4\n");
    assert_ok(ask(h, h->control, "put", "{\"id\":\"a\"}")); // and nobody waits for it
    hm_buf_free(&text);
}

static void many_writes_share_a_commit(void **state) {
    struct house *h = *state;
    enum { MANY = 200 };
    static struct reply replies[MANY];
    char params[64];
    struct hm_buf text = {0};
    assert_ok(ask(h, h->control, "echo", "{}"));
    for (int i = 0; i < MANY; i++) {
        snprintf(params, sizeof params, "{\"id\":\"m%d\"}", i);
        call_as(h, h->control, "put", params, &replies[i]);
    }
    for (int i = 0; i < MANY; i++) {
        await(h, &replies[i]);
        assert_int_equal(replies[i].code, HM_OK);
        reply_free(&replies[i]);
    }
    hm_engine_metrics(h->engine, &text);
    const char *at = strstr(text.data, "\nhamroh_commits_total ");
    assert_non_null(at);
    assert_true(strtol(at + 22, NULL, 10) < MANY);
    hm_buf_free(&text);
}

static void a_call_past_the_hard_deadline_is_killed_and_the_others_run_again(void **state) {
    struct house *h = *state;
    struct reply loop, after[5];
    assert_ok(ask(h, h->control, "echo", "{}"));
    call_as(h, h->control, "loop", "{}", &loop);
    for (int i = 0; i < 5; i++)
        call_as(h, h->control, "echo", "{\"x\":1}", &after[i]);
    await(h, &loop);
    assert_int_equal(loop.code, HM_DEADLINE);
    assert_string_equal(loop.data, "{\"limit_ms\":700}");
    for (int i = 0; i < 5; i++) {
        await(h, &after[i]);
        assert_int_equal(after[i].code, HM_OK);
        reply_free(&after[i]);
    }
    reply_free(&loop);
}

static void a_call_that_ends_two_workers_is_given_up_and_its_neighbours_are_not(void **state) {
    struct house *h = *state;
    struct reply die, after;
    call_as(h, h->control, "die", "{}", &die);
    call_as(h, h->control, "echo", "{}", &after);
    await(h, &die);
    await(h, &after);
    assert_int_equal(die.code, HM_PLUGIN);
    assert_int_equal(after.code, HM_OK);
    reply_free(&die);
    reply_free(&after);
}

static void nonsense_from_a_worker_ends_it(void **state) {
    struct house *h = *state;
    static const char *const methods[] = {"garbage", "evil", "flood"};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        assert_int_equal(ask(h, h->control, methods[i], "{}"), HM_PLUGIN);
        assert_ok(ask(h, h->control, "echo", "{}"));
    }
    struct hm_buf text = {0};
    hm_engine_metrics(h->engine, &text);
    assert_has(text.data, "hamroh_worker_bad_frames_total 6");
    hm_buf_free(&text);
    assert_ok(ask(h, h->control, "account.list", "{}"));
    assert_false(has(last_reply.result, "evil"));
}

static void an_invitation_gives_no_more_than_the_caller_has(void **state) {
    struct house *h = *state;
    account(h, "cor", "p2", "[\"coordinator\"]");
    account(h, "ann", "p1", "[]");
    struct hm_caller *cor = sign_in(h, "cor"), *ann = sign_in(h, "ann");
    assert_int_equal(ask(h, cor, "invite", "{\"roles\":[\"administrator\"]}"), HM_PLUGIN);
    assert_int_equal(ask(h, ann, "invite", "{\"roles\":[]}"), HM_PLUGIN);
    assert_ok(ask(h, cor, "invite", "{\"roles\":[\"student\"]}"));
    hm_caller_unref(cor);
    hm_caller_unref(ann);
}

static void an_award_is_written_for_staff_only(void **state) {
    struct house *h = *state;
    account(h, "coach", "p2", "[\"coach\"]");
    account(h, "ann", "p1", "[\"student\"]");
    struct hm_caller *coach = sign_in(h, "coach"), *ann = sign_in(h, "ann");
    assert_int_equal(ask(h, ann, "award", "{}"), HM_PLUGIN);
    assert_ok(ask(h, coach, "award", "{}"));
    assert_ok(ask(h, h->control, "award", "{}"));
    hm_caller_unref(coach);
    hm_caller_unref(ann);
}

#define IN_ALL "{\"uz\":\"a\",\"uz-Cyrl\":\"b\",\"ru\":\"c\",\"en\":\"d\"}"

static void a_notification_is_for_its_receiver_whatever_a_worker_says(void **state) {
    struct house *h = *state;
    account(h, "ann", "p1", "[\"student\"]");
    account(h, "ben", "p2", "[\"student\"]");
    struct hm_caller *ann = sign_in(h, "ann"), *ben = sign_in(h, "ben");
    assert_ok(ask(h, h->control, "tell",
                  "{\"data\":{\"person\":\"p1\",\"key\":\"k\",\"text\":" IN_ALL
                  ",\"unread\":false,\"expires\":1,\"more\":2}}"));
    const char *get = "{\"type\":\"notification\",\"id\":\"n1\"}";
    assert_ok(ask(h, ann, "record.get", get));
    assert_has(last_reply.result, "\"unread\":true");
    assert_has(last_reply.result, "\"audience\":[\"person:p1\"]");
    assert_false(has(last_reply.result, "more"));
    assert_int_equal(ask(h, ben, "record.get", get), HM_NOT_FOUND);
    static const char *const wrong[] = {
        "{\"data\":{\"person\":\"p1\",\"key\":\"k\"}}",
        "{\"data\":{\"person\":\"p1\",\"key\":\"k\",\"text\":{\"uz\":\"a\"}}}",
        "{\"data\":{\"person\":\"p1\",\"key\":\"k\",\"text\":" IN_ALL ",\"safe\":1}}",
        "{\"data\":{\"person\":\"\",\"key\":\"k\",\"text\":" IN_ALL "}}",
        "{\"type\":\"outgoing\",\"data\":{\"to\":\"email\",\"contact\":\"c\",\"state\":\"waiting\"}}",
        "{\"type\":\"outgoing\",\"data\":{\"webhook\":\"w\",\"event\":\"e\",\"data\":[]}}",
        "{\"type\":\"contact\",\"data\":{\"person\":\"p1\",\"channel\":\"email\",\"address\":\"a@b.uz\"}}",
        "{\"type\":\"webhook\",\"data\":{\"url\":\"https://a.uz\"}}",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (ask(h, h->control, "tell", wrong[i]) != HM_PLUGIN) fail_msg("%s was taken", wrong[i]);
    hm_caller_unref(ann);
    hm_caller_unref(ben);
}

static void where_a_plugin_failed_is_told_to_administrators_only(void **state) {
    struct house *h = *state;
    account(h, "ann", "p1", "[\"student\"]");
    struct hm_caller *ann = sign_in(h, "ann");
    assert_int_equal(ask(h, ann, "fail", "{}"), HM_PLUGIN);
    assert_string_equal(last_reply.data, "{\"plugin\":\"service/fake\",\"version\":\"1\"}");
    assert_int_equal(ask(h, h->control, "fail", "{}"), HM_PLUGIN);
    assert_has(last_reply.data, "\"line\":3");
    assert_int_equal(ask(h, ann, "limit", "{}"), HM_DEADLINE);
    assert_string_equal(last_reply.data, "{\"limit_ms\":200,\"plugin\":\"fake\"}");
    hm_caller_unref(ann);
}

static void who_waited_for_an_answer_and_was_signed_out_does_not_get_it(void **state) {
    struct house *h = *state;
    account(h, "ann", "p1", "[]");
    struct hm_caller *ann = sign_in(h, "ann");
    struct hm_session *session = hm_session_ref(ann->session);
    struct reply one, two;
    call_as(h, ann, "put", "{\"id\":\"a\",\"idem\":\"k\"}", &one);
    call_as(h, ann, "put", "{\"id\":\"a\",\"idem\":\"k\"}", &two);
    await(h, &one);
    assert_int_equal(one.code, HM_OK);
    assert_false(two.there); // it is looked at before the loop sleeps
    hm_live_end(hm_live_of(session), "logout");
    await(h, &two);
    assert_int_equal(two.code, HM_UNAUTHENTICATED);
    reply_free(&one);
    reply_free(&two);
    hm_session_unref(session);
    hm_caller_unref(ann);
}

static void the_same_idem_key_gives_the_stored_answer(void **state) {
    struct house *h = *state;
    account(h, "ann", "p1", "[]");
    struct hm_caller *ann = sign_in(h, "ann");
    struct reply one, two;
    call_as(h, ann, "put", "{\"id\":\"a\",\"idem\":\"k\"}", &one);
    call_as(h, ann, "put", "{\"id\":\"a\",\"idem\":\"k\"}", &two);
    await(h, &one);
    await(h, &two);
    assert_int_equal(one.code, HM_OK);
    assert_int_equal(two.code, HM_OK);
    assert_string_equal(one.result, two.result);
    assert_ok(ask(h, ann, "put", "{\"id\":\"a\",\"idem\":\"k\"}"));
    assert_string_equal(last_reply.result, "{\"put\":\"a\"}");
    assert_int_equal(ask(h, ann, "set", "{\"id\":\"a\",\"idem\":\"k\"}"), HM_CONFLICT);
    assert_int_equal(ask(h, ann, "put", "{\"id\":\"a\",\"idem\":\"other\"}"), HM_CONFLICT);
    reply_free(&one);
    reply_free(&two);
    hm_caller_unref(ann);
}

static void a_full_queue_says_when_to_come_again(void **state) {
    struct house *h = *state;
    enum { MANY = 1200 };
    static struct reply replies[MANY];
    int refused = 0;
    for (int i = 0; i < MANY; i++)
        call_as(h, h->control, "echo", "{}", &replies[i]);
    for (int i = 0; i < MANY; i++) {
        await(h, &replies[i]);
        if (replies[i].code) {
            assert_int_equal(replies[i].code, HM_TOO_MANY);
            assert_string_equal(replies[i].data, "{\"retry_after\":1}");
            refused++;
        }
        reply_free(&replies[i]);
    }
    assert_int_equal(refused, MANY - 1000);
}

static void a_reaction_runs_after_the_change_it_reacts_to(void **state) {
    struct house *h = *state;
    hm_buf_clear(&h->heard.changes);
    assert_ok(ask(h, h->control, "put", "{\"id\":\"start\"}"));
    spin(h, NULL, 0.5);
    assert_has(h->heard.changes.data, "created note/start;created note/reacted;");
}

static void slow_calls_bring_a_second_worker(void **state) {
    struct house *h = *state;
    struct reply slow[3], quick;
    assert_ok(ask(h, h->control, "echo", "{}"));
    for (int i = 0; i < 3; i++)
        call_as(h, h->control, "slow", "{\"ms\":300}", &slow[i]);
    spin(h, NULL, 0.25);
    call_as(h, h->control, "echo", "{}", &quick);
    await(h, &quick);
    assert_false(slow[2].there); // it did not wait behind the slow ones
    for (int i = 0; i < 3; i++) {
        await(h, &slow[i]);
        reply_free(&slow[i]);
    }
    reply_free(&quick);
}

static void closing_answers_every_open_call(void **state) {
    struct house *h = *state;
    static struct reply replies[30];
    assert_ok(ask(h, h->control, "echo", "{}"));
    for (int i = 0; i < 30; i++)
        call_as(h, h->control, i % 3 ? "bump" : "loop", "{\"id\":\"x\"}", &replies[i]);
    spin(h, NULL, 0.02);
    house_close(h);
    for (int i = 0; i < 30; i++) {
        assert_true(replies[i].there);
        reply_free(&replies[i]);
    }
}

static void draining_lets_calls_end_and_refuses_new_ones(void **state) {
    struct house *h = *state;
    struct reply slow, late;
    call_as(h, h->control, "slow", "{\"ms\":200}", &slow);
    spin(h, NULL, 0.05);
    hm_engine_drain(h->engine, NULL, NULL);
    call_as(h, h->control, "echo", "{}", &late);
    assert_int_equal(late.code, HM_UNAVAILABLE);
    await(h, &slow);
    assert_int_equal(slow.code, HM_OK);
    reply_free(&slow);
    reply_free(&late);
}

static void set_true(void *arg) {
    *(bool *)arg = true;
}

static void draining_says_when_all_is_done(void **state) {
    struct house *h = *state;
    struct reply write;
    bool drained = false;
    call_as(h, h->control, "put", "{\"id\":\"last\"}", &write);
    hm_engine_drain(h->engine, set_true, &drained);
    assert_true(spin(h, &drained, 10));
    assert_true(write.there);
    assert_int_equal(write.code, HM_OK);
    reply_free(&write);
}

static void what_was_answered_is_there_after_a_restart(void **state) {
    struct house *h = *state;
    assert_ok(ask(h, h->control, "put", "{\"id\":\"kept\"}"));
    house_close(h);
    house_open(h);
    assert_ok(ask(h, h->control, "record.get", "{\"type\":\"note\",\"id\":\"kept\"}"));
    assert_ok(ask(h, h->control, "institution.list", "{}"));
    assert_string_equal(last_reply.result, "{\"items\":[{\"id\":\"i\",\"title\":{\"en\":\"I\"}}]}");
}

static void a_second_process_is_told_who_has_the_folder(void **state) {
    struct house *h = *state;
    struct hm_error err = {0};
    struct hm_engine *other;
    char pid[32];
    struct hm_engine_options options = {.data_dir = h->dir, .settings = &h->settings, .loop = h->loop};
    assert_false(hm_engine_open(&options, &other, &err));
    assert_int_equal(err.code, HM_UNAVAILABLE);
    snprintf(pid, sizeof pid, "%ld", (long)getpid());
    assert_has(err.message, pid);
}

static void discovery_describes_core_and_plugins(void **state) {
    struct house *h = *state;
    assert_ok(ask(h, h->control, "echo", "{}"));
    assert_ok(ask(h, h->control, "rpc.discover", "{}"));
    struct hm_json json;
    assert_true(hm_json_parse(hm_str_of(last_reply.result), &json, NULL));
    assert_has(last_reply.result, "\"name\":\"session.login\"");
    assert_has(last_reply.result, "\"name\":\"hello\"");
    assert_has(last_reply.result, "\"summary\":\"Says hello\"");
}

int main(int argc, char **argv) {
    FAKE_WORKER_MAIN(argc, argv);
#define TEST(name) cmocka_unit_test_setup_teardown(name, house_setup, house_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_call_reaches_a_worker_and_its_result_the_caller),
        TEST(a_stranger_may_call_public_methods_only),
        TEST(a_role_is_asked_for_and_named_when_it_is_missing),
        TEST(an_unknown_method_is_said_to_be_unknown),
        TEST(params_of_core_methods_are_checked_all_at_once),
        TEST(a_write_is_answered_before_its_change_is_told),
        TEST(a_duplicate_is_a_conflict_that_says_exists),
        TEST(counters_raised_by_many_at_once_lose_no_update),
        TEST(a_call_that_conflicts_always_is_given_up_after_eight_reruns),
        TEST(many_writes_share_a_commit),
        TEST(a_call_past_the_hard_deadline_is_killed_and_the_others_run_again),
        TEST(a_call_that_ends_two_workers_is_given_up_and_its_neighbours_are_not),
        TEST(nonsense_from_a_worker_ends_it),
        TEST(an_invitation_gives_no_more_than_the_caller_has),
        TEST(an_award_is_written_for_staff_only),
        TEST(a_notification_is_for_its_receiver_whatever_a_worker_says),
        TEST(where_a_plugin_failed_is_told_to_administrators_only),
        TEST(who_waited_for_an_answer_and_was_signed_out_does_not_get_it),
        TEST(the_same_idem_key_gives_the_stored_answer),
        TEST(a_full_queue_says_when_to_come_again),
        TEST(a_reaction_runs_after_the_change_it_reacts_to),
        TEST(slow_calls_bring_a_second_worker),
        TEST(closing_answers_every_open_call),
        TEST(draining_lets_calls_end_and_refuses_new_ones),
        TEST(draining_says_when_all_is_done),
        TEST(what_was_answered_is_there_after_a_restart),
        TEST(a_second_process_is_told_who_has_the_folder),
        TEST(discovery_describes_core_and_plugins),
    };
    return cmocka_run_group_tests_name("engine calls", tests, NULL, NULL);
}
