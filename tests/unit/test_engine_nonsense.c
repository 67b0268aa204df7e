// A worker that says what no worker says. For each kind: the call is answered (with an error, or after
// running again), once; its neighbours get their own answers; the worker is ended; nothing it made up is
// stored.
#include "engine_fixture.h"

enum { NEIGHBOURS = 5 };

static uint64_t figure(struct house *h, const char *name) {
    struct hm_buf text = {0};
    hm_engine_metrics(h->engine, &text);
    const char *at = strstr(text.data, name);
    assert_non_null(at);
    uint64_t value = strtoull(at + strlen(name), NULL, 10);
    hm_buf_free(&text);
    return value;
}

// Gives what the call was answered with.
static enum hm_code say(struct house *h, const char *kind) {
    struct reply nonsense, after[NEIGHBOURS];
    char params[100];
    snprintf(params, sizeof params, "{\"kind\":\"%s\"}", kind);
    assert_ok(ask(h, h->control, "echo", "{}"));
    call_as(h, h->control, "nonsense", params, &nonsense);
    for (int i = 0; i < NEIGHBOURS; i++) {
        snprintf(params, sizeof params, "{\"neighbour\":%d}", i);
        call_as(h, h->control, "echo", params, &after[i]);
    }
    await(h, &nonsense);
    for (int i = 0; i < NEIGHBOURS; i++) {
        await(h, &after[i]);
        if (after[i].code) fail_msg("%s: a neighbour got %d %s", kind, (int)after[i].code, after[i].message);
        snprintf(params, sizeof params, "{\"neighbour\":%d}", i);
        assert_has(after[i].result, params);
        reply_free(&after[i]);
    }
    enum hm_code code = nonsense.code;
    reply_free(&nonsense);
    assert_int_equal(ask(h, h->control, "record.get", "{\"type\":\"note\",\"id\":\"forged\"}"), HM_NOT_FOUND);
    return code;
}

static void each_kind_of_nonsense_ends_the_worker_and_nothing_else(void **state) {
    struct house *h = *state;
    static const char *const kinds[] = {"random",       "endless",     "empty",    "too_large",
                                        "unknown_kind", "unknown_id",  "no_id",    "id_of_another",
                                        "ready_again",  "refused_now", "progress", "no_number",
                                        "unseal",       "code",        "trailing", "logs"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        uint64_t before = figure(h, "\nhamroh_worker_bad_frames_total ");
        enum hm_code code = say(h, kinds[i]);
        if (code != HM_PLUGIN) fail_msg("%s: answered with %d", kinds[i], (int)code);
        // Twice: it is tried once more, in another worker.
        assert_int_equal(figure(h, "\nhamroh_worker_bad_frames_total "), before + 2);
    }
}

static void a_worker_that_leaves_in_the_middle_of_a_frame_is_as_one_that_died(void **state) {
    assert_int_equal(say(*state, "half_and_gone"), HM_PLUGIN);
}

static void a_frame_without_end_and_a_stream_without_end_meet_the_deadline(void **state) {
    struct house *h = *state;
    assert_int_equal(say(h, "half"), HM_DEADLINE);
    assert_int_equal(say(h, "endless_progress"), HM_DEADLINE);
}

static void a_result_said_twice_counts_once(void **state) {
    struct house *h = *state;
    uint64_t before = figure(h, "\nhamroh_worker_bad_frames_total ");
    assert_int_equal(say(h, "twice"), HM_OK);
    assert_ok(ask(h, h->control, "record.get", "{\"type\":\"note\",\"id\":\"twice\"}"));
    assert_has(last_reply.result, "\"n\":1");
    assert_int_equal(figure(h, "\nhamroh_worker_bad_frames_total "), before + 1);
}

int main(int argc, char **argv) {
    FAKE_WORKER_MAIN(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_of_nonsense_ends_the_worker_and_nothing_else),
        cmocka_unit_test(a_worker_that_leaves_in_the_middle_of_a_frame_is_as_one_that_died),
        cmocka_unit_test(a_frame_without_end_and_a_stream_without_end_meet_the_deadline),
        cmocka_unit_test(a_result_said_twice_counts_once),
    };
    return cmocka_run_group_tests_name("engine nonsense", tests, house_setup, house_teardown);
}
