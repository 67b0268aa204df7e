// Deploying, checking, rolling back, watching; and jobs.
#include "engine_fixture.h"

#include <sys/stat.h>

static void write_text(const char *dir, const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_true(hm_write_file(path, hm_str_of(text), 0600, NULL));
}

static void deploy(struct house *h, const char *method, const char *source) {
    char params[256];
    snprintf(params, sizeof params,
             "{\"kind\":\"service\",\"id\":\"fake\",\"source\":\"%s\",\"note\":\"a note\"}", source);
    ask(h, h->control, method, params);
}

static void a_good_version_serves_from_its_deploy_on(void **state) {
    struct house *h = *state;
    assert_int_equal(ask(h, h->control, "v2", "{}"), HM_METHOD);
    deploy(h, "plugin.deploy", "return v2");
    assert_ok(last_reply.code);
    assert_has(last_reply.result, "\"version\":\"");
    assert_ok(ask(h, h->control, "v2", "{}"));
    assert_ok(ask(h, h->control, "plugin.get", "{\"kind\":\"service\",\"id\":\"fake\"}"));
    assert_has(last_reply.result, "\"source\":\"return v2\"");
    assert_ok(ask(h, h->control, "plugin.history", "{\"kind\":\"service\",\"id\":\"fake\"}"));
    assert_has(last_reply.result, "\"active\":true");
    assert_has(last_reply.result, "\"note\":\"a note\"");
    assert_ok(ask(h, h->control, "plugin.list", "{}"));
    assert_has(last_reply.result, "\"kind\":\"service\"");
    house_close(h);
    house_open(h);
    assert_ok(ask(h, h->control, "v2", "{}"));
}

static void a_bad_version_changes_nothing_and_says_where(void **state) {
    struct house *h = *state;
    assert_ok(ask(h, h->control, "echo", "{}"));
    deploy(h, "plugin.deploy", "bad");
    assert_int_equal(last_reply.code, HM_PLUGIN);
    assert_has(last_reply.data, "\"errors\":[{\"plugin\":\"service/fake\",\"file\":\"fake.lua\",\"line\":7");
    deploy(h, "plugin.deploy", "crash");
    assert_int_equal(last_reply.code, HM_PLUGIN);
    assert_has(last_reply.data, "the worker died");
    assert_ok(ask(h, h->control, "echo", "{}"));
    assert_ok(ask(h, h->control, "plugin.history", "{\"kind\":\"service\",\"id\":\"fake\"}"));
    assert_string_equal(last_reply.result, "{\"items\":[]}");
}

static void a_source_must_be_the_plugin_it_is_given_as(void **state) {
    struct house *h = *state;
    assert_int_equal(
        ask(h, h->control, "plugin.deploy", "{\"kind\":\"service\",\"id\":\"other\",\"source\":\"v2\"}"),
        HM_PLUGIN);
    assert_int_equal(
        ask(h, h->control, "plugin.deploy", "{\"kind\":\"service\",\"id\":\"../x\",\"source\":\"v2\"}"),
        HM_PARAMS);
    assert_int_equal(ask(h, h->control, "v2", "{}"), HM_METHOD);
}

static void a_check_has_no_effect(void **state) {
    struct house *h = *state;
    deploy(h, "plugin.check", "v2");
    assert_ok(last_reply.code);
    assert_has(last_reply.result, "\"ok\":true");
    assert_int_equal(ask(h, h->control, "v2", "{}"), HM_METHOD);
    deploy(h, "plugin.check", "bad");
    assert_int_equal(last_reply.code, HM_PLUGIN);
}

static void a_rollback_goes_back_one_version_and_then_to_what_is_shipped(void **state) {
    struct house *h = *state;
    deploy(h, "plugin.deploy", "first v2");
    assert_ok(last_reply.code);
    deploy(h, "plugin.deploy", "second");
    assert_ok(last_reply.code);
    assert_int_equal(ask(h, h->control, "v2", "{}"), HM_METHOD);
    assert_ok(ask(h, h->control, "plugin.rollback", "{\"kind\":\"service\",\"id\":\"fake\"}"));
    assert_ok(ask(h, h->control, "v2", "{}"));
    assert_ok(ask(h, h->control, "plugin.rollback", "{\"kind\":\"service\",\"id\":\"fake\"}"));
    assert_has(last_reply.result, "\"version\":null");
    assert_int_equal(ask(h, h->control, "v2", "{}"), HM_METHOD);
    assert_ok(ask(h, h->control, "plugin.get", "{\"kind\":\"service\",\"id\":\"fake\"}"));
    assert_has(last_reply.result, "shipped");
    assert_int_equal(ask(h, h->control, "plugin.rollback", "{\"kind\":\"service\",\"id\":\"fake\"}"),
                     HM_NOT_FOUND);
}

static void calls_under_way_end_on_the_old_worker(void **state) {
    struct house *h = *state;
    struct reply slow;
    assert_ok(ask(h, h->control, "echo", "{}"));
    call_as(h, h->control, "slow", "{\"ms\":400}", &slow);
    spin(h, NULL, 0.02);
    deploy(h, "plugin.deploy", "v2");
    assert_ok(last_reply.code);
    assert_ok(ask(h, h->control, "v2", "{}"));
    await(h, &slow);
    assert_int_equal(slow.code, HM_OK);
    reply_free(&slow);
}

static void one_deploy_at_a_time(void **state) {
    struct house *h = *state;
    struct reply one, two;
    static const char params[] = "{\"kind\":\"service\",\"id\":\"fake\",\"source\":\"v2\"}";
    call_as(h, h->control, "plugin.deploy", params, &one);
    call_as(h, h->control, "plugin.deploy", params, &two);
    await(h, &one);
    await(h, &two);
    assert_int_equal(one.code, HM_OK);
    assert_int_equal(two.code, HM_CONFLICT);
    assert_string_equal(two.data, "{\"reason\":\"deploying\"}");
    reply_free(&one);
    reply_free(&two);
}

// The first worker of an institution and a trial become ready in one turn of the loop, in either order.
static void a_deploy_right_after_the_institution_was_made_has_its_types(void **state) {
    struct house *h = *state;
    static const char *const slow[] = {"300 340", "340 300", "300 300"};
    for (int i = 0; i < 3; i++) {
        char params[128], name[16];
        struct reply deployed;
        write_text(h->dir, "slow", slow[i]);
        struct hm_caller *root = caller_new(true, "");
        snprintf(params, sizeof params, "{\"id\":\"new%d\",\"title\":{\"en\":\"New\"}}", i);
        assert_ok(ask(h, root, "institution.create", params));
        snprintf(name, sizeof name, "new%d", i);
        struct hm_caller *there = caller_new(true, name);
        call_as(h, there, "plugin.deploy", "{\"kind\":\"service\",\"id\":\"fake\",\"source\":\"v2\"}",
                &deployed);
        spin(h, NULL, 0.1); // both have been started
        fake_sleep(700);    // both have said that they are ready, and nobody has listened yet
        await(h, &deployed);
        assert_int_equal(deployed.code, HM_OK);
        for (int k = 0; k < 2; k++) {
            assert_ok(ask(h, there, "v2", "{}"));
            assert_ok(ask(h, there, "record.count", "{\"type\":\"extra\"}"));
            spin(h, NULL, 0.2);
        }
        reply_free(&deployed);
        hm_caller_unref(there);
        hm_caller_unref(root);
    }
}

// Whatever becomes of the trial, the first worker's turn comes.
static void a_deploy_that_fails_right_after_the_institution_was_made_leaves_it_working(void **state) {
    struct house *h = *state;
    struct reply deployed;
    write_text(h->dir, "slow", "340 300");
    struct hm_caller *root = caller_new(true, ""), *there = caller_new(true, "new");
    assert_ok(ask(h, root, "institution.create", "{\"id\":\"new\",\"title\":{\"en\":\"New\"}}"));
    call_as(h, there, "plugin.deploy", "{\"kind\":\"service\",\"id\":\"fake\",\"source\":\"bad v2\"}",
            &deployed);
    spin(h, NULL, 0.1);
    fake_sleep(700);
    await(h, &deployed);
    assert_int_equal(deployed.code, HM_PLUGIN);
    assert_ok(ask(h, there, "echo", "{}"));
    assert_ok(ask(h, there, "record.count", "{\"type\":\"note\"}"));
    reply_free(&deployed);
    hm_caller_unref(there);
    hm_caller_unref(root);
}

static void a_watched_folder_is_followed_and_a_broken_file_keeps_the_old(void **state) {
    struct house *h = *state;
    char dir[80], services[100];
    house_close(h);
    snprintf(dir, sizeof dir, "%s/watched", h->dir);
    snprintf(services, sizeof services, "%s/services", dir);
    mkdir(dir, 0700);
    mkdir(services, 0700);
    write_text(services, "fake.lua", "v2");
    snprintf(h->settings.watch_dir, sizeof h->settings.watch_dir, "%s", dir);
    house_open(h);
    spin(h, NULL, 1.5);
    assert_ok(ask(h, h->control, "v2", "{}"));
    write_text(services, "fake.lua", "bad v1");
    spin(h, NULL, 1);
    assert_ok(ask(h, h->control, "v2", "{}"));
    write_text(services, "fake.lua", "v1");
    spin(h, NULL, 1.5);
    assert_int_equal(ask(h, h->control, "v2", "{}"), HM_METHOD);
}

// ---- jobs ---------------------------------------------------------------------------------------------

static void start_job(struct house *h, struct hm_caller *who, const char *method, char params[64]) {
    struct hm_json value;
    char id[40];
    assert_ok(ask(h, who, method, "{\"x\":1}"));
    assert_true(hm_json_parse(hm_str_of(last_reply.result), &value, NULL));
    assert_true(hm_json_get_text(value, "job", id, sizeof id));
    snprintf(params, 64, "{\"id\":\"%s\"}", id);
}

static void until_state(struct house *h, struct hm_caller *who, const char *params, const char *state) {
    char part[40];
    snprintf(part, sizeof part, "\"state\":\"%s\"", state);
    for (int i = 0; i < 200; i++) {
        assert_ok(ask(h, who, "job.get", params));
        if (has(last_reply.result, part)) return;
        spin(h, NULL, 0.05);
    }
    fail_msg("never %s: %s", state, last_reply.result);
}

static void a_job_runs_and_its_result_is_in_its_record(void **state) {
    struct house *h = *state;
    char params[64];
    account(h, "ann", "p1", "[]");
    account(h, "bob", "p2", "[]");
    struct hm_caller *ann = sign_in(h, "ann"), *bob = sign_in(h, "bob");
    start_job(h, ann, "job.add", params);
    until_state(h, ann, params, "done");
    assert_has(last_reply.result, "\"result\":{\"sum\":3}");
    assert_has(last_reply.result, "\"progress\":1");
    assert_int_equal(ask(h, bob, "job.get", params), HM_NOT_FOUND);
    assert_int_equal(ask(h, bob, "job.cancel", params), HM_NOT_FOUND);
    assert_ok(ask(h, ann, "job.list", "{}"));
    assert_has(last_reply.result, "job.add");
    assert_ok(ask(h, ann, "record.get", "{\"type\":\"note\",\"id\":\"from-job\"}"));
    assert_has(h->heard.notices.data, "p1 job.progress {\"id\":");
    assert_has(h->heard.notices.data, "\"state\":\"done\"");
    // What its done part wrote and its end are one commit; a second job cannot create the same note again.
    start_job(h, ann, "job.add", params);
    until_state(h, ann, params, "failed");
    assert_has(last_reply.result, "\"reason\":\"exists\"");
    hm_caller_unref(ann);
    hm_caller_unref(bob);
}

// An account of its own, such as that of a coordinator, who is no person of the institution.
static void a_job_of_an_account_without_a_person_is_its_own(void **state) {
    struct house *h = *state;
    char params[64];
    account(h, "cora", "", "[\"coordinator\"]");
    account(h, "carl", "", "[\"coordinator\"]");
    struct hm_caller *cora = sign_in(h, "cora"), *again = sign_in(h, "cora"), *carl = sign_in(h, "carl");
    assert_string_equal(cora->session->person, "");
    start_job(h, cora, "job.add", params);
    until_state(h, cora, params, "done");
    assert_has(last_reply.result, "\"result\":{\"sum\":3}");
    assert_ok(ask(h, again, "job.get", params));
    assert_ok(ask(h, cora, "job.list", "{}"));
    assert_has(last_reply.result, "job.add");
    assert_int_equal(ask(h, carl, "job.get", params), HM_NOT_FOUND);
    assert_ok(ask(h, carl, "job.list", "{}"));
    assert_false(has(last_reply.result, "job.add"));
    int told = 0; // once in each session of the account, also when the one that began it has ended
    for (const char *p = h->heard.notices.data; p && (p = strstr(p, "\"state\":\"done\"")); p++)
        told++;
    assert_int_equal(told, 2);
    hm_buf_clear(&h->heard.notices);
    start_job(h, cora, "job.loop", params);
    until_state(h, cora, params, "running");
    assert_ok(ask(h, cora, "session.logout", "{}"));
    hm_buf_clear(&h->heard.notices);
    assert_ok(ask(h, again, "job.cancel", params));
    until_state(h, again, params, "cancelled");
    assert_has(h->heard.notices.data, "job.progress");
    hm_caller_unref(cora);
    hm_caller_unref(again);
    hm_caller_unref(carl);
}

static void progress_is_told_at_most_four_times_a_second(void **state) {
    struct house *h = *state;
    char params[64];
    account(h, "ann", "p1", "[]");
    struct hm_caller *ann = sign_in(h, "ann");
    start_job(h, ann, "job.long", params);
    until_state(h, ann, params, "done");
    int lines = 0;
    for (const char *p = h->heard.notices.data; (p = strchr(p, '\n')); p++)
        lines++;
    assert_true(lines >= 3 && lines <= 7); // ten were sent within 600 ms
    hm_caller_unref(ann);
}

static void a_job_can_be_cancelled(void **state) {
    struct house *h = *state;
    char params[64];
    start_job(h, h->control, "job.loop", params);
    until_state(h, h->control, params, "running");
    assert_ok(ask(h, h->control, "job.cancel", params));
    until_state(h, h->control, params, "cancelled");
    assert_int_equal(ask(h, h->control, "job.cancel", params), HM_NOT_FOUND);
    assert_ok(ask(h, h->control, "echo", "{}"));
}

static void interactive_calls_do_not_wait_for_jobs(void **state) {
    struct house *h = *state;
    char params[3][64];
    for (int i = 0; i < 3; i++)
        start_job(h, h->control, "job.loop", params[i]);
    until_state(h, h->control, params[1], "running");
    assert_ok(ask(h, h->control, "job.get", params[2]));
    assert_has(last_reply.result, "\"state\":\"queued\"");
    assert_ok(ask(h, h->control, "echo", "{}"));
}

static void jobs_found_running_after_a_restart_have_failed(void **state) {
    struct house *h = *state;
    char params[64];
    start_job(h, h->control, "job.loop", params);
    until_state(h, h->control, params, "running");
    house_close(h);
    house_open(h);
    until_state(h, h->control, params, "failed");
}

static void a_job_past_its_deadline_fails(void **state) {
    struct house *h = *state;
    char params[64];
    house_close(h);
    h->settings.job_deadline_ms = 500;
    house_open(h);
    start_job(h, h->control, "job.loop", params);
    until_state(h, h->control, params, "failed");
    assert_has(last_reply.result, "-32007");
}

int main(int argc, char **argv) {
    FAKE_WORKER_MAIN(argc, argv);
#define TEST(name) cmocka_unit_test_setup_teardown(name, house_setup, house_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_good_version_serves_from_its_deploy_on),
        TEST(a_bad_version_changes_nothing_and_says_where),
        TEST(a_source_must_be_the_plugin_it_is_given_as),
        TEST(a_check_has_no_effect),
        TEST(a_rollback_goes_back_one_version_and_then_to_what_is_shipped),
        TEST(calls_under_way_end_on_the_old_worker),
        TEST(one_deploy_at_a_time),
        TEST(a_deploy_right_after_the_institution_was_made_has_its_types),
        TEST(a_deploy_that_fails_right_after_the_institution_was_made_leaves_it_working),
        TEST(a_watched_folder_is_followed_and_a_broken_file_keeps_the_old),
        TEST(a_job_runs_and_its_result_is_in_its_record),
        TEST(a_job_of_an_account_without_a_person_is_its_own),
        TEST(progress_is_told_at_most_four_times_a_second),
        TEST(a_job_can_be_cancelled),
        TEST(interactive_calls_do_not_wait_for_jobs),
        TEST(jobs_found_running_after_a_restart_have_failed),
        TEST(a_job_past_its_deadline_fails),
    };
    return cmocka_run_group_tests_name("engine plugins and jobs", tests, NULL, NULL);
}
