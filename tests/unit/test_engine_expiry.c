// What has expired is cleared away by itself: answers kept under idem keys, invitations, sessions nobody
// uses. Time is moved by hand; only the loop is run.
#include "engine_fixture.h"

#define DAY INT64_C(86400000)

static unsigned count(struct house *h, const char *type) {
    struct hm_store *store = hm_engine_store(h->engine, "i");
    struct hm_types *types = hm_store_types(store);
    struct hm_range range = {0};
    struct hm_read *read = NULL;
    struct hm_scan *scan = NULL;
    struct hm_record record;
    unsigned n = 0;
    assert_true(hm_range_make(hm_types_find(types, hm_str_of(type)), NULL, (struct hm_json){0},
                              (struct hm_json){0}, (struct hm_json){0}, &range, NULL));
    assert_true(hm_read_begin(store, &read, NULL));
    assert_true(hm_scan_begin(read, &range, false, HM_LIT(""), &scan, NULL));
    while (hm_scan_next(scan, &record))
        n++;
    hm_scan_end(scan);
    hm_read_end(read);
    hm_range_free(&range);
    hm_types_unref(types);
    return n;
}

// Runs the loop until that many are left; the limit is for a machine that is busy.
static void wait_for(struct house *h, const char *type, unsigned left) {
    for (int i = 0; i < 300 && count(h, type) != left; i++)
        spin(h, NULL, 0.1);
    assert_int_equal(count(h, type), left);
}

static void put_many(struct house *h, struct hm_caller *who, const char *prefix, int many) {
    struct reply *replies = hm_alloc_array((size_t)many, sizeof *replies);
    char params[96];
    for (int i = 0; i < many; i++) {
        snprintf(params, sizeof params, "{\"id\":\"%s%d\",\"idem\":\"%s%d\"}", prefix, i, prefix, i);
        call_as(h, who, "put", params, &replies[i]);
    }
    for (int i = 0; i < many; i++) {
        await(h, &replies[i]);
        assert_int_equal(replies[i].code, HM_OK);
        reply_free(&replies[i]);
    }
    free(replies);
}

static uint64_t expired(struct house *h) {
    struct hm_buf text = {0};
    hm_engine_metrics(h->engine, &text);
    const char *at = strstr(text.data, "\nhamroh_expired_records_total ");
    assert_non_null(at);
    uint64_t n = strtoull(at + strlen("\nhamroh_expired_records_total "), NULL, 10);
    hm_buf_free(&text);
    return n;
}

static void kept_answers_go_after_seven_days_and_not_before(void **state) {
    struct house *h = *state;
    account(h, "ann", "p1", "[]");
    struct hm_caller *ann = sign_in(h, "ann");
    put_many(h, ann, "old", 700); // more than one turn takes away
    hm_clock_advance(3 * DAY);
    hm_caller_unref(ann); // a session is not used for so long
    ann = sign_in(h, "ann");
    put_many(h, ann, "new", 5);
    hm_clock_advance(4 * DAY - 1);
    spin(h, NULL, 0.5);
    assert_int_equal(count(h, "idem"), 705);
    uint64_t before = expired(h);
    hm_clock_advance(60001); // and the next round is due
    wait_for(h, "idem", 5);
    assert_in_range(expired(h) - before, 700, 702); // maybe with the sessions that were left
    hm_caller_unref(ann);
    ann = sign_in(h, "ann");
    assert_ok(ask(h, ann, "put", "{\"id\":\"new0\",\"idem\":\"new0\"}")); // still kept
    assert_int_equal(ask(h, ann, "put", "{\"id\":\"old0\",\"idem\":\"old0\"}"),
                     HM_CONFLICT); // done anew: exists
    assert_string_equal(last_reply.data, "{\"reason\":\"exists\"}");
    hm_caller_unref(ann);
}

static void invitations_go_when_they_have_expired(void **state) {
    struct house *h = *state;
    assert_int_equal(count(h, "invitation"), 1); // of the first administrator, for fourteen days
    assert_ok(ask(h, h->control, "invite", "{\"roles\":[\"student\"]}"));
    assert_int_equal(count(h, "invitation"), 2); // this one says nothing of an end
    hm_clock_advance(14 * DAY - 1000);
    spin(h, NULL, 0.5);
    assert_int_equal(count(h, "invitation"), 2);
    hm_clock_advance(61000);
    wait_for(h, "invitation", 1);
}

static void sessions_that_have_ended_or_that_nobody_used_go_and_others_stay(void **state) {
    struct house *h = *state;
    account(h, "ann", "p1", "[]");
    struct hm_caller *used = sign_in(h, "ann");
    hm_caller_unref(sign_in(h, "ann")); // nobody comes back for these two
    hm_caller_unref(sign_in(h, "ann"));
    assert_int_equal(count(h, "session"), 3);
    for (int hours = 0; hours < 11; hours++) {
        hm_clock_advance(DAY / 24);
        assert_ok(ask(h, used, "session.list", "{}"));
    }
    spin(h, NULL, 0.5);
    assert_int_equal(count(h, "session"), 3);
    for (int hours = 0; hours < 2; hours++) { // past twelve hours without use, and a little more
        hm_clock_advance(DAY / 24);
        assert_ok(ask(h, used, "session.list", "{}"));
    }
    house_close(h); // so that none of them is in use
    house_open(h);
    wait_for(h, "session", 1);
    hm_clock_advance(31 * DAY);
    wait_for(h, "session", 0);
    hm_caller_unref(used);
}

int main(int argc, char **argv) {
    FAKE_WORKER_MAIN(argc, argv);
    hm_clock_manual(INT64_C(1800000000000));
#define TEST(name) cmocka_unit_test_setup_teardown(name, house_setup, house_teardown)
    const struct CMUnitTest tests[] = {
        TEST(kept_answers_go_after_seven_days_and_not_before),
        TEST(invitations_go_when_they_have_expired),
        TEST(sessions_that_have_ended_or_that_nobody_used_go_and_others_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
