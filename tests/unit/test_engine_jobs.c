// Jobs beside other calls: what they must not hold up, how many may wait, what is too large for them.
#include "engine/internal.h"
#include "engine_fixture.h"

static void job_params(char params[64]) { // for job.get, from what the last call answered
    struct hm_json value;
    char id[40];
    assert_true(hm_json_parse(hm_str_of(last_reply.result), &value, NULL));
    assert_true(hm_json_get_text(value, "job", id, sizeof id));
    snprintf(params, 64, "{\"id\":\"%s\"}", id);
}

static void until_has(struct house *h, const char *params, const char *part) {
    for (int i = 0; i < 400; i++) {
        assert_ok(ask(h, h->control, "job.get", params));
        if (has(last_reply.result, part)) return;
        spin(h, NULL, 0.05);
    }
    fail_msg("never %s: %s", part, last_reply.result);
}

// What a job does last may take minutes: were it given the turn in which nobody else commits, the whole
// institution would stand still for as long.
static void a_job_that_is_overtaken_holds_up_nobody(void **state) {
    struct house *h = *state;
    struct hm_buf text = {0};
    char params[64];
    assert_ok(ask(h, h->control, "job.behind", "{}"));
    job_params(params);
    until_has(h, params, "\"progress\":0.75"); // five conflicts behind it
    assert_ok(ask(h, h->control, "put", "{\"id\":\"go\"}"));
    until_has(h, params, "\"ended\"");
    assert_has(last_reply.result, "\"state\":\"done\"");
    assert_ok(ask(h, h->control, "record.get", "{\"type\":\"note\",\"id\":\"from-job\"}"));
    hm_engine_metrics(h->engine, &text);
    assert_has(text.data, "\nhamroh_exclusive_turns_total 0\n");
    hm_buf_free(&text);
}

static void closing_ends_a_job_in_its_last_part(void **state) {
    struct house *h = *state;
    char params[64];
    assert_ok(ask(h, h->control, "job.behind", "{}"));
    job_params(params);
    until_has(h, params, "\"progress\":0.75");
    house_close(h); // its call is answered to the job, which must still be there
    house_open(h);
    until_has(h, params, "\"state\":\"failed\"");
}

// No call of a job waits in a list of the institution today; were there one, its answer would name the job.
static void closing_answers_a_waiting_call_of_a_job_before_the_job_is_freed(void **state) {
    struct house *h = *state;
    struct institution *inst = hm_inst_find(h->engine, "i");
    struct proc *proc;
    char params[64];
    assert_ok(ask(h, h->control, "job.loop", "{}"));
    job_params(params);
    until_has(h, params, "\"state\":\"running\"");
    for (proc = inst->procs; proc && !proc->job; proc = proc->next)
        ;
    assert_non_null(proc);
    assert_non_null(proc->flight);
    proc->flight->proc = NULL;
    hm_call_list(proc->flight, &inst->contended, false);
    proc->flight_count--;
    house_close(h); // under AddressSanitizer: nothing freed is touched
    house_open(h);
    until_has(h, params, "\"state\":\"failed\"");
}

static void what_jobs_keep_of_somebody_goes_with_their_erasing(void **state) {
    struct house *h = *state;
    char ended[64], live[64];
    account(h, "ann", "p-ann", "[\"student\"]");
    assert_ok(ask(h, h->control, "job.echo", "{\"who\":[\"p-ann\"]}"));
    job_params(ended);
    until_has(h, ended, "\"result\":{\"who\":[\"p-ann\"]}");
    assert_ok(ask(h, h->control, "job.behind", "{\"who\":\"p-ann\"}"));
    job_params(live);
    until_has(h, live, "\"progress\":0.75");
    assert_has(last_reply.result, "p-ann");
    assert_ok(ask(h, h->control, "person.erase", "{\"person\":\"p-ann\",\"reason\":\"asked\"}"));
    assert_ok(ask(h, h->control, "job.get", ended));
    assert_has(last_reply.result, "\"params\":{}");
    assert_has(last_reply.result, "\"result\":{}");
    assert_ok(ask(h, h->control, "put", "{\"id\":\"go\"}"));
    until_has(h, live, "\"state\":\"done\"");
    assert_has(last_reply.result, "\"params\":{}");
}

static void so_many_jobs_may_wait_and_no_more(void **state) {
    struct house *h = *state;
    unsigned ann_has = 0, all = 0;
    char first[64];
    account(h, "ann", "p1", "[]");
    account(h, "bob", "p2", "[]");
    struct hm_caller *ann = sign_in(h, "ann"), *bob = sign_in(h, "bob");
    for (int i = 0; i < JOB_WORKERS_MAX; i++) { // no worker is left for those that follow
        assert_ok(ask(h, h->control, "job.loop", "{}"));
        job_params(first);
        until_has(h, first, "\"state\":\"running\"");
    }
    while (ann_has < 40 && ask(h, ann, "job.loop", "{}") == HM_OK)
        ann_has++;
    assert_int_equal(last_reply.code, HM_TOO_MANY);
    assert_string_equal(last_reply.data, "{\"retry_after\":10}");
    assert_int_equal(ann_has, 20);
    assert_ok(ask(h, bob, "job.loop", "{}"));
    job_params(first);
    for (all = ann_has + 1; all < 200 && ask(h, h->control, "job.loop", "{}") == HM_OK; all++)
        ;
    assert_int_equal(last_reply.code, HM_TOO_MANY);
    assert_int_equal(all, 100);
    assert_int_equal(ask(h, bob, "job.loop", "{}"), HM_TOO_MANY);
    assert_ok(ask(h, bob, "job.cancel", first)); // makes room
    assert_ok(ask(h, bob, "job.loop", "{}"));
    hm_caller_unref(ann);
    hm_caller_unref(bob);
}

// ---- what is too large --------------------------------------------------------------------------------

// {"x":"aaa..."} of so many bytes.
static enum hm_code ask_with(struct house *h, const char *method, size_t bytes) {
    char *params = hm_alloc(bytes + 1);
    memset(params, 'a', bytes);
    memcpy(params, "{\"x\":\"", 6);
    memcpy(params + bytes - 2, "\"}", 2);
    enum hm_code code = ask(h, h->control, method, params);
    free(params);
    return code;
}

static size_t caller_bytes(struct house *h) { // of what a worker is told of the control socket
    struct hm_json value, caller;
    assert_ok(ask(h, h->control, "echo", "{}"));
    assert_true(hm_json_parse(hm_str_of(last_reply.result), &value, NULL));
    assert_true(hm_json_get(value, "caller", &caller));
    return caller.raw.len;
}

static void params_that_do_not_go_into_a_frame_are_refused(void **state) {
    struct house *h = *state;
    size_t most = HM_FRAME_MAX - FRAME_REST - caller_bytes(h);
    assert_int_equal(ask_with(h, "slow", most + 1), HM_TOO_LARGE);
    assert_int_equal(ask_with(h, "job.add", most + 1), HM_TOO_LARGE);
    assert_int_equal(ask_with(h, "slow", HM_FRAME_MAX + 1), HM_TOO_LARGE);
}

static void a_job_whose_result_does_not_go_into_a_frame_with_its_params_fails(void **state) {
    struct house *h = *state;
    char params[64];
    assert_ok(ask_with(h, "job.add", HM_FRAME_MAX - FRAME_REST - caller_bytes(h)));
    job_params(params);
    until_has(h, params, "\"ended\"");
    assert_has(last_reply.result, "\"error\":{\"code\":-32008");
    assert_ok(ask(h, h->control, "echo", "{}"));
}

static int patient_setup(void **state) { // no job is to end by its deadline on a slow machine
    house_setup(state);
    struct house *h = *state;
    house_close(h);
    h->settings.job_deadline_ms = 20000;
    house_open(h);
    return 0;
}

int main(int argc, char **argv) {
    FAKE_WORKER_MAIN(argc, argv);
#define TEST(name) cmocka_unit_test_setup_teardown(name, patient_setup, house_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_job_that_is_overtaken_holds_up_nobody),
        TEST(closing_ends_a_job_in_its_last_part),
        TEST(closing_answers_a_waiting_call_of_a_job_before_the_job_is_freed),
        TEST(what_jobs_keep_of_somebody_goes_with_their_erasing),
        TEST(so_many_jobs_may_wait_and_no_more),
        TEST(params_that_do_not_go_into_a_frame_are_refused),
        TEST(a_job_whose_result_does_not_go_into_a_frame_with_its_params_fails),
    };
    return cmocka_run_group_tests_name("engine jobs", tests, NULL, NULL);
}
