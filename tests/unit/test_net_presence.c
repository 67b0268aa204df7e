// Presence with crowds: what it costs, where it stops, and that nothing is left behind. What clients see of
// it is tests/protocol/presence.test.mjs.
#include "feed_fixture.h"
#include "net/presence.h"

#define MANY 300

struct crowd {
    struct world *world;
    struct hm_presence *presence;
    struct hm_session *sessions[MANY];
    struct hm_present *present[MANY];
    unsigned told;
};

static void tell_person(void *arg, const char *institution, struct hm_str person, struct hm_out *frame) {
    (void)institution, (void)person, (void)frame;
    ((struct crowd *)arg)->told++;
}

static struct hm_store *crowd_store(void *arg, const char *institution) {
    (void)institution;
    return ((struct crowd *)arg)->world->store;
}

static void give_principals(struct hm_session *s, const char *more, int count) {
    struct hm_str *names = hm_alloc_array((size_t)count + 1, sizeof *names);
    char(*texts)[40] = hm_alloc_array((size_t)count + 1, sizeof *texts);
    snprintf(texts[count], sizeof texts[count], "person:%.20s", s->person);
    for (int i = 0; i < count; i++)
        snprintf(texts[i], sizeof texts[i], more, i);
    for (int i = 0; i <= count; i++)
        names[i] = hm_str_of(texts[i]);
    hm_principals_unref(s->principals);
    s->principals = hm_principals_new(names, (size_t)count + 1);
    free(names);
    free(texts);
}

static struct crowd *crowd_new(struct world *world, const char *principals, int count) {
    struct crowd *crowd = hm_alloc(sizeof *crowd);
    crowd->world = world;
    struct hm_presence_ops ops = {crowd_store, tell_person, crowd};
    crowd->presence = hm_presence_new(world->loop, &ops, 0);
    for (int i = 0; i < MANY; i++) {
        struct hm_session *s = crowd->sessions[i] = hm_alloc(sizeof *s);
        s->refs = 1;
        snprintf(s->institution, sizeof s->institution, "home");
        snprintf(s->person, sizeof s->person, "p%d", i);
        give_principals(s, principals, count);
    }
    return crowd;
}

static void come(struct crowd *crowd, int i) {
    crowd->present[i] = hm_presence_join(crowd->presence, crowd->sessions[i]);
    assert_non_null(crowd->present[i]);
}

static void all_go(struct crowd *crowd) {
    for (int i = 0; i < MANY; i++) {
        hm_presence_leave(crowd->present[i]);
        crowd->present[i] = NULL;
    }
    for (int i = 0; i < 1000 && hm_presence_counts(crowd->presence)->online; i++)
        turn(crowd->world);
    assert_int_equal(hm_presence_counts(crowd->presence)->online, 0);
}

static void crowd_free(struct crowd *crowd) {
    hm_presence_free(crowd->presence);
    for (int i = 0; i < MANY; i++)
        hm_session_unref(crowd->sessions[i]);
    free(crowd);
}

static size_t listed(struct crowd *crowd, int i) {
    struct hm_buf out = {0};
    struct hm_json value, online;
    hm_presence_list(crowd->presence, crowd->sessions[i], &out);
    assert_true(hm_json_parse(hm_buf_view(&out), &value, NULL));
    assert_true(hm_json_get(value, "online", &online));
    size_t count = hm_json_count(online);
    hm_buf_free(&out);
    return count;
}

static void commit_team(struct world *world, const char *id, int members) {
    struct hm_buf names = {0};
    for (int i = 0; i < members; i++)
        hm_buf_printf(&names, "person:p%d ", i);
    commit_more(world, "team", id, "institution", names.data ? names.data : "", "{}");
    hm_buf_free(&names);
}

static bool tell_presence(void *arg, const struct hm_change *change) {
    struct crowd *crowd = arg;
    crowd->world->told = change->seq;
    hm_presence_change(crowd->presence, "home", change);
    return true;
}

static void tell_changes(struct crowd *crowd) {
    struct hm_read *read = NULL;
    assert_true(hm_read_begin(crowd->world->store, &read, NULL));
    assert_true(hm_log_read(read, crowd->world->told, tell_presence, crowd, NULL));
    hm_read_end(read);
}

static void members_of_one_record_see_each_other_and_are_told_once(void **state) {
    struct world *world = *state;
    commit_team(world, "t0", 10);
    commit_team(world, "t1", 10); // two in common are told once, too
    struct crowd *crowd = crowd_new(world, "team:t%d", 2);
    for (int i = 0; i < 10; i++)
        come(crowd, i);
    assert_int_equal(crowd->told, 10 * 9 / 2); // whoever was there when somebody came
    assert_int_equal(listed(crowd, 3), 9);
    for (int i = 0; i < 10; i++)
        come(crowd, i); // once more each
    assert_int_equal(crowd->told, 10 * 9 / 2);
    for (int i = 0; i < 10; i++)
        hm_presence_leave(crowd->present[i]);
    assert_int_equal(listed(crowd, 3), 9);
    all_go(crowd);
    assert_int_equal(listed(crowd, 3), 0);
    crowd_free(crowd);
}

static void a_crowd_that_comes_tells_nobody(void **state) {
    struct world *world = *state;
    commit_team(world, "t0", MANY);
    struct crowd *crowd = crowd_new(world, "team:t%d", 1);
    for (int i = 0; i < MANY; i++)
        come(crowd, i);
    assert_int_equal(crowd->told, 0);
    assert_int_equal(listed(crowd, 0), 0);
    all_go(crowd);
    assert_int_equal(crowd->told, 0);
    crowd_free(crowd);
}

// Sessions are renewed before the change that made them members is told.
static void a_crowd_made_in_one_commit_is_told_no_more_than_the_largest_group(void **state) {
    struct world *world = *state;
    commit_team(world, "t0", 2);
    struct crowd *crowd = crowd_new(world, "team:t%d", 0);
    for (int i = 0; i < MANY; i++) {
        if (i < 2) give_principals(crowd->sessions[i], "team:t%d", 1);
        come(crowd, i);
    }
    assert_int_equal(listed(crowd, 0), 1);
    tell_changes(crowd);
    commit_team(world, "t0", MANY);
    for (int i = 2; i < MANY; i++) {
        give_principals(crowd->sessions[i], "team:t%d", 1);
        hm_presence_update(crowd->presence, crowd->sessions[i]);
    }
    tell_changes(crowd);
    assert_in_range(crowd->told, 1, 2 * HM_PRESENCE_MEMBERS * HM_PRESENCE_MEMBERS);
    for (int i = 0; i < MANY; i += 50)
        assert_int_equal(listed(crowd, i), 0);
    commit_team(world, "t0", 2); // small again
    for (int i = 2; i < MANY; i++) {
        give_principals(crowd->sessions[i], "team:t%d", 0);
        hm_presence_update(crowd->presence, crowd->sessions[i]);
    }
    tell_changes(crowd);
    assert_int_equal(listed(crowd, 0), 1);
    assert_int_equal(listed(crowd, 2), 0);
    all_go(crowd);
    crowd_free(crowd);
}

static void of_somebody_with_very_many_records_the_first_count(void **state) {
    struct world *world = *state;
    struct crowd *crowd = crowd_new(world, "team:none", 0);
    char id[20], members[60], own[20];
    for (int i = 1; i < MANY; i++) { // p0 has a record with each of the others
        snprintf(id, sizeof id, "t%d", i);
        snprintf(members, sizeof members, "person:p0 person:p%d", i);
        snprintf(own, sizeof own, "team:t%d", i);
        commit_more(world, "team", id, "institution", members, "{}");
        give_principals(crowd->sessions[i], own, 1);
    }
    give_principals(crowd->sessions[0], "team:t%d", MANY);
    for (int i = 0; i < MANY; i++)
        come(crowd, i);
    assert_int_equal(crowd->told, HM_PRESENCE_RECORDS - 1); // team:t0 is nobody else's
    assert_int_equal(listed(crowd, 0), HM_PRESENCE_RECORDS - 1);
    all_go(crowd);
    crowd_free(crowd);
}

static void hiding_and_coming_out_in_turn_tells_once_in_a_grace_time(void **state) {
    struct world *world = *state;
    commit_team(world, "t0", 2);
    struct crowd *crowd = crowd_new(world, "team:t%d", 1);
    hm_presence_free(crowd->presence);
    struct hm_presence_ops ops = {crowd_store, tell_person, crowd};
    crowd->presence = hm_presence_new(world->loop, &ops, 600000);
    come(crowd, 0);
    come(crowd, 1);
    assert_int_equal(crowd->told, 1);
    for (int i = 0; i < 100; i++) {
        crowd->sessions[1]->invisible = i % 2 == 0;
        hm_presence_update(crowd->presence, crowd->sessions[1]);
        turn(world);
    }
    assert_int_equal(crowd->told, 2);
    assert_int_equal(listed(crowd, 0), 0);
    crowd_free(crowd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(members_of_one_record_see_each_other_and_are_told_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_crowd_that_comes_tells_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_crowd_made_in_one_commit_is_told_no_more_than_the_largest_group,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(of_somebody_with_very_many_records_the_first_count, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(hiding_and_coming_out_in_turn_tells_once_in_a_grace_time, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
