// The feed over a real store: who is told what, and that replay and live events join without gap or
// repetition.
#include "feed_fixture.h"

// ---- tests ------------------------------------------------------------------------------------------

static void a_change_reaches_those_it_is_for_and_nobody_else(void **state) {
    struct world *world = *state;
    struct owner *lead = owner_new(world, "p1", "role:coordinator"),
                 *student = owner_new(world, "p2", "role:student");
    open_feed(lead, "{}");
    open_feed(student, "{}");
    commit(world, "note", "a", "role:coordinator");
    commit(world, "note", "b", "institution");
    commit(world, "note", "c", "person:p9");
    tell(world);
    assert_int_equal(lead->queue.count, 2);
    assert_int_equal(student->queue.count, 1);
    owner_free(lead);
    owner_free(student);
}

static void all_receivers_share_one_encoding_and_two_shared_principals_give_one_event(void **state) {
    struct world *world = *state;
    struct owner *one = owner_new(world, "p1", "role:student"), *two = owner_new(world, "p2", "role:student");
    struct hm_buf audience = {0};
    open_feed(one, "{}");
    open_feed(two, "{}");
    pack(&audience, "institution");
    pack(&audience, "role:student");
    struct hm_change change = {.seq = ++world->told,
                               .action = HM_CREATED,
                               .type = HM_LIT("note"),
                               .id = HM_LIT("x"),
                               .audience = hm_buf_view(&audience),
                               .json = HM_LIT("{}")};
    hm_feed_change(world->feed, "home", &change);
    assert_int_equal(one->queue.count, 1);
    assert_int_equal(two->queue.count, 1);
    assert_ptr_equal(hm_queue_first(&one->queue), hm_queue_first(&two->queue));
    hm_buf_free(&audience);
    owner_free(one);
    owner_free(two);
}

static void who_loses_sight_of_a_record_is_told_that_it_is_gone(void **state) {
    struct world *world = *state;
    struct owner *student = owner_new(world, "p2", "role:student");
    commit(world, "note", "a", "role:student");
    tell(world);
    open_feed(student, "{}");
    commit(world, "note", "a", "role:coordinator");
    commit(world, "note", "a", "role:student");
    commit(world, "note", "a", NULL);
    tell(world);
    take(student, 10);
    char expected[80];
    unsigned long long seq = world->told;
    snprintf(expected, sizeof expected, "%llu:deleted %llu:updated %llu:deleted ", seq - 2, seq - 1, seq);
    assert_string_equal(student->seen.data, expected);
    owner_free(student);
}

static void hidden_types_never_come_whatever_their_audience(void **state) {
    struct world *world = *state;
    struct owner *anyone = owner_new(world, "p1", "role:administrator");
    struct hm_buf audience = {0};
    uint64_t before = world->told;
    open_feed(anyone, "{}");
    pack(&audience, "institution");
    struct hm_change change = {.seq = before + 1,
                               .action = HM_CREATED,
                               .type = HM_LIT("session"),
                               .id = HM_LIT("0123"),
                               .audience = hm_buf_view(&audience),
                               .json = HM_LIT("{}")};
    hm_feed_change(world->feed, "home", &change);
    assert_int_equal(anyone->queue.count, 0);
    hm_buf_free(&audience);
    commit(world, "session", "0123", "institution");
    tell(world);
    assert_true(open_after(anyone, before));
    assert_int_equal(anyone->queue.count, 0);
    owner_free(anyone);
}

static void new_principals_count_from_the_next_change_on(void **state) {
    struct world *world = *state;
    struct owner *mentee = owner_new(world, "p1", "role:student");
    open_feed(mentee, "{}");
    commit(world, "note", "a", "pair:1");
    tell(world);
    struct hm_str names[] = {HM_LIT("pair:1"), HM_LIT("person:p1")};
    struct hm_principals *old = mentee->session->principals;
    mentee->session->principals = hm_principals_new(names, 2);
    hm_sub_reindex(mentee->sub);
    hm_principals_unref(old);
    commit(world, "note", "b", "pair:1");
    commit(world, "note", "c", "institution"); // no longer one of the principals
    tell(world);
    assert_int_equal(mentee->queue.count, 1);
    owner_free(mentee);
}

static void what_was_committed_and_not_yet_told_comes_once(void **state) {
    struct world *world = *state;
    struct owner *one = owner_new(world, "p1", "role:student");
    uint64_t start = world->told;
    commit(world, "note", "a", "institution");
    tell(world);
    commit(world, "note", "b", "institution"); // a list read now has it, the listener has not
    assert_true(open_after(one, start + 2));
    tell(world);
    assert_int_equal(one->queue.count, 0);
    commit(world, "note", "c", "institution");
    tell(world);
    assert_int_equal(one->queue.count, 1);
    hm_sub_close(one->sub);
    assert_false(open_after(one, committed(world) + 1)); // nobody has seen that
    owner_free(one);
}

static void a_long_replay_is_done_in_slices_that_wait_for_the_client(void **state) {
    struct world *world = *state;
    struct owner *one = owner_new(world, "p1", "role:student"),
                 *other = owner_new(world, "p2", "role:student");
    uint64_t start = world->told;
    open_feed(other, "{\"types\":[\"nothing\"]}");
    for (int i = 0; i < 700; i++) {
        commit(world, "note", i % 7 ? "theirs" : "ours", i % 7 ? "person:p9" : "institution");
        if (i % 90 == 0) tell(world);
    }
    tell(world);
    assert_true(open_after(one, start));
    assert_int_equal(one->queue.count, 0); // the answer goes first
    turn(world);
    assert_in_range(one->queue.count, 1, QUEUE_MAX / 2);
    for (int i = 0; i < 300 && one->last < start + 694; i++) {
        turn(world);
        assert_in_range(one->queue.count, 0, QUEUE_MAX / 2);
        take(one, 3);
    }
    assert_int_equal(one->resyncs, 0);
    commit(world, "note", "live", "institution");
    turn(world);
    tell(world);
    take(one, 10);
    assert_int_equal(one->last, world->told);
    owner_free(one);
    owner_free(other);
}

static void a_client_that_does_not_read_is_told_to_resume_and_then_gets_the_rest(void **state) {
    struct world *world = *state;
    struct owner *one = owner_new(world, "p1", "role:student");
    open_feed(one, "{}");
    for (int i = 0; i < 10; i++)
        commit(world, "note", "a", "institution");
    tell(world);
    take(one, 4);
    turn(world);
    uint64_t last = one->last;
    for (int i = 0; i < QUEUE_MAX + 20; i++)
        commit(world, "note", "a", "institution");
    tell(world);
    assert_int_equal(one->resyncs, 1);
    assert_null(one->sub);
    assert_int_equal(one->queue.count, 1); // the notice alone: its events were dropped
    char expected[40];
    snprintf(expected, sizeof expected, "\"seq\":%llu", (unsigned long long)last);
    struct hm_str notice = hm_out_text(hm_queue_first(&one->queue));
    assert_non_null(memmem(notice.ptr, notice.len, expected, strlen(expected)));
    take(one, 1);
    assert_true(open_after(one, last));
    for (int i = 0; i < 200 && one->last < world->told; i++) {
        turn(world);
        take(one, 5);
    }
    assert_int_equal(one->last, world->told);
    owner_free(one);
}

// Commits, tells, turns of the loop, readings and broken connections in any order: the client's sequence is
// exactly the log's, each once and in order (`take` checks the order).
static void in_whatever_order_things_happen_nothing_is_missed_and_nothing_comes_twice(void **state) {
    struct world *world = *state;
    srand(20261);
    struct owner *one = owner_new(world, "p1", "role:student");
    uint64_t start = world->told;
    open_feed(one, "{}");
    unsigned events = 0;
    uint64_t last_for_us = start;
    for (int step = 0; step < 4000; step++) {
        switch (rand() % 8) {
        case 0:
        case 1:
            commit(world, "note", "a", "institution");
            last_for_us = committed(world);
            events++;
            break;
        case 2:
            commit(world, "note", "b", "person:p9");
            break;
        case 3:
            tell(world);
            break;
        case 4:
            turn(world);
            break;
        case 5:
        case 6:
            take(one, (size_t)(rand() % 6));
            break;
        default:
            if (rand() % 4) break;
            hm_sub_close(one->sub); // the connection breaks: what is queued is lost with it
            hm_queue_clear(&one->queue);
            if (rand() % 2) tell(world);
            assert_true(open_after(one, one->last ? one->last : start));
        }
        if (!one->sub) { // told to resume
            take(one, SIZE_MAX);
            assert_true(open_after(one, one->last ? one->last : start));
        }
    }
    tell(world);
    for (int i = 0; i < 1000 && one->last < last_for_us; i++) {
        turn(world);
        take(one, 10);
    }
    assert_int_equal(one->last, last_for_us);
    unsigned seen = 0;
    for (size_t i = 0; i < one->seen.len; i++)
        seen += one->seen.data[i] == ' ';
    assert_int_equal(seen, events);
    owner_free(one);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_change_reaches_those_it_is_for_and_nobody_else, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            all_receivers_share_one_encoding_and_two_shared_principals_give_one_event, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_loses_sight_of_a_record_is_told_that_it_is_gone, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(hidden_types_never_come_whatever_their_audience, set_up, tear_down),
        cmocka_unit_test_setup_teardown(new_principals_count_from_the_next_change_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_committed_and_not_yet_told_comes_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_long_replay_is_done_in_slices_that_wait_for_the_client, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_client_that_does_not_read_is_told_to_resume_and_then_gets_the_rest,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            in_whatever_order_things_happen_nothing_is_missed_and_nothing_comes_twice, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
