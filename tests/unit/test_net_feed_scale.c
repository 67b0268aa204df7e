// The feed with many clients: what they share, what they cost, what bounds them, and that each gets exactly
// what is for it.
#include "feed_fixture.h"

// ---- at scale ---------------------------------------------------------------------------------------

#define MANY 300

static void each_person(struct world *world, struct owner *owners[MANY], const char *prefix) {
    for (int i = 0; i < MANY; i++) {
        char person[20], principal[40];
        snprintf(person, sizeof person, "p%d", i);
        snprintf(principal, sizeof principal, "%s%d", prefix, i);
        owners[i] = owner_new(world, person, principal);
        open_feed(owners[i], "{}");
    }
}

static void free_all(struct owner *owners[MANY]) {
    for (int i = 0; i < MANY; i++)
        owner_free(owners[i]);
}

static void one_encoding_serves_some_hundred_clients(void **state) {
    struct world *world = *state;
    struct owner *owners[MANY];
    each_person(world, owners, "pair:");
    commit(world, "note", "a", "institution");
    tell(world);
    assert_int_equal(counts(world)->encodings, 1);
    assert_int_equal(counts(world)->delivered, MANY);
    for (int i = 1; i < MANY; i++)
        assert_ptr_equal(hm_queue_first(&owners[i]->queue), hm_queue_first(&owners[0]->queue));
    assert_int_equal(hm_queue_first(&owners[0]->queue)->refs, MANY);
    free_all(owners);
    assert_int_equal(hm_out_feed_bytes(), 0);
}

static void a_change_costs_only_those_who_may_see_it(void **state) {
    struct world *world = *state;
    struct owner *owners[MANY];
    each_person(world, owners, "pair:");
    commit(world, "note", "a", "pair:7");
    commit_more(world, "note", "b", "pair:8 pair:9 role:nobody", "", "{}");
    tell(world);
    assert_int_equal(counts(world)->checks, 3);
    assert_int_equal(counts(world)->delivered, 3);
    free_all(owners);
}

// A restart breaks every connection: all come back with nearly the same place, at once.
static void those_who_come_back_together_read_the_log_together(void **state) {
    struct world *world = *state;
    struct owner *owners[MANY];
    char pair[20];
    each_person(world, owners, "pair:");
    uint64_t start = world->told;
    for (int i = 0; i < 2 * MANY; i++) {
        snprintf(pair, sizeof pair, "pair:%d", i % MANY);
        commit(world, "note", i % 20 ? pair : "all", i % 20 ? pair : "institution");
    }
    for (int i = 0; i < MANY; i++)
        hm_sub_close(owners[i]->sub);
    tell(world);
    for (int i = 0; i < MANY; i++)
        assert_true(open_after(owners[i], start + (uint64_t)(i % 50)));
    const struct hm_feed_counts before = *counts(world);
    assert_int_equal(before.replaying, MANY);
    for (int i = 0; i < 20 && counts(world)->replaying; i++) {
        uint64_t read = counts(world)->replayed;
        turn(world);
        assert_in_range(counts(world)->replayed - read, 0, 500); // the loop is not kept for longer
        for (int k = 0; k < MANY; k++)
            take(owners[k], SIZE_MAX);
    }
    assert_int_equal(counts(world)->replaying, 0);
    assert_in_range(counts(world)->passes, 1, 3);
    assert_in_range(counts(world)->replayed, 2 * MANY, 3 * 2 * MANY); // and not MANY times as much
    assert_in_range(counts(world)->encodings, 1, 3 * 2 * MANY);
    for (int i = 1; i < MANY; i++) {
        unsigned seen = 0;
        for (size_t k = 0; k < owners[i]->seen.len; k++)
            seen += owners[i]->seen.data[k] == ' ';
        // 30 for all and 2 for its pair, less those before it broke off
        assert_in_range(seen, 2 * MANY / 20 - 3, 2 * MANY / 20 + 2);
        assert_in_range(owners[i]->last, start + 2 * MANY - 19, start + 2 * MANY);
    }
    free_all(owners);
}

static void long_replays_in_other_institutions_do_not_keep_a_short_one_waiting(void **state) {
    struct world *world = *state;
    struct owner *slow[6], *quick[2];
    uint64_t start = world->told;
    for (int i = 0; i < 4000; i++)
        commit(world, "note", i == 3990 ? "a" : "b", i == 3990 ? "pair:2" : "pair:9");
    tell(world);
    for (int i = 0; i < 2; i++) {
        quick[i] = owner_new(world, "p2", "pair:2");
        snprintf(quick[i]->session->institution, sizeof quick[i]->session->institution, "here%d", i);
    }
    assert_true(open_after(quick[0], world->told - 100));
    for (int i = 0; i < 6; i++) {
        slow[i] = owner_new(world, "p1", "pair:1");
        snprintf(slow[i]->session->institution, sizeof slow[i]->session->institution, "away%d", i);
        assert_true(open_after(slow[i], start));
    }
    assert_true(open_after(quick[1], world->told - 100));
    for (int i = 0; i < 4; i++)
        turn(world);
    for (int i = 0; i < 2; i++)
        assert_int_equal(quick[i]->queue.count, 1);
    assert_int_equal(counts(world)->replaying, 6); // the others are still at it
    for (int i = 0; i < 6; i++)
        owner_free(slow[i]);
    for (int i = 0; i < 2; i++)
        owner_free(quick[i]);
}

static void when_memory_is_short_who_takes_something_now_and_then_is_not_the_first_to_go(void **state) {
    struct world *world = *state;
    struct owner *steady = owner_new(world, "p", "pair:0"), *stuck[10];
    char *body = hm_alloc(10100), pair[20];
    strcpy(body, "{\"text\":\"");
    memset(body + 9, 'x', 10000);
    strcpy(body + 10009, "\"}");
    open_feed(steady, "{}");
    for (int i = 0; i < 10; i++) {
        snprintf(pair, sizeof pair, "pair:%d", i + 1);
        stuck[i] = owner_new(world, "p", pair);
        open_feed(stuck[i], "{}");
    }
    for (int i = 0; i < 5; i++)
        commit_more(world, "note", "pair:0", "pair:0", "", body); // waits before anything of the others
    for (int i = 0; i < 150; i++) {
        snprintf(pair, sizeof pair, "pair:%d", i % 10 + 1);
        commit_more(world, "note", "pair:0", "pair:0", "", body);
        commit_more(world, "note", pair, pair, "", body);
        tell(world);
        take(steady, 1);
        turn(world);
    }
    assert_int_equal(steady->resyncs, 0);
    assert_in_range(counts(world)->resyncs, 1, 10);
    free(body);
    owner_free(steady);
    for (int i = 0; i < 10; i++)
        owner_free(stuck[i]);
}

// Everybody is stuck and each waits for something of their own, so that nothing is shared.
static void what_waits_for_all_clients_together_is_bounded(void **state) {
    struct world *world = *state;
    struct owner *owners[MANY];
    char *body = hm_alloc(10100), pair[20];
    each_person(world, owners, "pair:");
    uint64_t start = world->told, events = 0;
    strcpy(body, "{\"text\":\"");
    memset(body + 9, 'x', 10000);
    strcpy(body + 10009, "\"}");
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < MANY; i++, events++) {
            snprintf(pair, sizeof pair, "pair:%d", i);
            commit_more(world, "note", pair, pair, "", body);
            tell(world);
            turn(world);
            take(owners[0], SIZE_MAX); // one that keeps up is not disturbed
            assert_in_range(hm_out_feed_bytes(), 0, BYTES_MAX);
        }
    assert_int_equal(owners[0]->resyncs, 0);
    assert_non_null(owners[0]->sub);
    assert_in_range(counts(world)->resyncs, MANY / 2, 3 * MANY);
    uint64_t seen = 3;
    for (int i = 1; i < MANY; i++) { // later they come back, and nothing is lost or doubled
        hm_sub_close(owners[i]->sub);
        hm_queue_clear(&owners[i]->queue);
        assert_true(open_after(owners[i], owners[i]->last ? owners[i]->last : start));
    }
    for (int k = 0; k < 30000 && counts(world)->replaying; k++) {
        usleep(500);
        turn(world);
        assert_in_range(hm_out_feed_bytes(), 0, BYTES_MAX);
        for (int i = 1; i < MANY; i++)
            take(owners[i], 1);
    }
    for (int i = 1; i < MANY; i++) {
        take(owners[i], SIZE_MAX);
        for (size_t k = 0; k < owners[i]->seen.len; k++)
            seen += owners[i]->seen.data[k] == ' ';
    }
    assert_int_equal(seen, events);
    free(body);
    free_all(owners);
}

static void more_at_once_than_a_queue_holds_does_not_trouble_a_client_that_keeps_up(void **state) {
    struct world *world = *state;
    struct owner *one = owner_new(world, "p1", "role:student");
    uint64_t start = world->told;
    open_feed(one, "{}");
    for (int i = 0; i < 5 * QUEUE_MAX; i++)
        commit(world, "note", "a", "institution");
    tell(world);
    assert_in_range(one->queue.count, 1, QUEUE_MAX);
    for (int i = 0; i < 100 && one->last < world->told; i++) {
        take(one, SIZE_MAX);
        turn(world);
    }
    assert_int_equal(one->resyncs, 0);
    assert_int_equal(one->last, start + 5 * QUEUE_MAX);
    owner_free(one);
}

// ---- who may see it now ---------------------------------------------------------------------------------

static void assert_seen(struct owner *owner, const char *format, ...) {
    char expected[400];
    va_list args;
    va_start(args, format);
    vsnprintf(expected, sizeof expected, format, args);
    va_end(args);
    take(owner, SIZE_MAX);
    assert_string_equal(owner->seen.data ? owner->seen.data : "", expected);
    hm_buf_clear(&owner->seen);
}

static void what_was_taken_back_meanwhile_is_not_shown_to_who_returns(void **state) {
    struct world *world = *state;
    struct owner *student = owner_new(world, "p2", "role:student"),
                 *lead = owner_new(world, "p1", "role:coordinator");
    unsigned long long start = world->told;
    commit(world, "note", "a", "institution");
    commit(world, "note", "a", "role:coordinator"); // moved out of the students' sight
    commit(world, "note", "b", "institution");
    commit(world, "note", "b", NULL);
    commit(world, "note", "c", "institution");
    tell(world);
    assert_true(open_after(student, start));
    assert_true(open_after(lead, start));
    turn(world);
    assert_seen(student, "%llu:deleted %llu:deleted %llu:deleted %llu:deleted %llu:created ", start + 1,
                start + 2, start + 3, start + 4, start + 5);
    assert_seen(lead, "%llu:created %llu:updated %llu:deleted %llu:deleted %llu:created ", start + 1,
                start + 2, start + 3, start + 4, start + 5);
    owner_free(student);
    owner_free(lead);
}

// As the engine does it, principals follow the commit before its changes are told.
static void who_ceases_to_be_a_member_is_told_that_the_record_is_gone(void **state) {
    struct world *world = *state;
    struct owner *stays = owner_new(world, "p1", "person:p1"), *goes = owner_new(world, "p2", "person:p2"),
                 *away = owner_new(world, "p2", "person:p2");
    set_principals(stays, "person:p1", "team:t");
    set_principals(goes, "person:p2", "team:t");
    commit_more(world, "team", "t", "team:t role:coordinator", "person:p1 person:p2", "{}");
    tell(world);
    unsigned long long start = world->told;
    open_feed(stays, "{}");
    open_feed(goes, "{}");
    commit_more(world, "team", "t", "team:t role:coordinator", "person:p1", "{}");
    set_principals(goes, "person:p2", "public");
    tell(world);
    commit_more(world, "team", "t", "team:t role:coordinator", "person:p1 person:p3", "{}");
    tell(world);
    commit_more(world, "team", "t", NULL, "", "{}");
    set_principals(stays, "person:p1", "public");
    tell(world);
    assert_seen(goes, "%llu:deleted ", start + 1);
    assert_seen(stays, "%llu:updated %llu:updated %llu:deleted ", start + 1, start + 2, start + 3);
    assert_true(open_after(away, start));
    turn(world);
    assert_seen(away, "%llu:deleted ", start + 1);
    owner_free(stays);
    owner_free(goes);
    owner_free(away);
}

// ---- filters ------------------------------------------------------------------------------------------

static void about_narrows_to_audiences_with_a_principal_and_never_widens(void **state) {
    struct world *world = *state;
    struct owner *lead = owner_new(world, "p1", "role:coordinator"),
                 *student = owner_new(world, "p2", "role:student");
    unsigned long long start = world->told;
    open_feed(lead, "{\"about\":[\"pair:1\",\"pair:2\"]}");
    open_feed(student, "{\"about\":[\"pair:1\"]}");
    commit_more(world, "note", "a", "pair:1 role:coordinator", "", "{}");
    commit_more(world, "note", "b", "pair:3 role:coordinator", "", "{}");
    commit_more(world, "note", "c", "institution", "", "{}");
    commit_more(world, "note", "d", "pair:2", "", "{}"); // not even the coordinator may see it
    tell(world);
    assert_int_equal(counts(world)->checks, 3);
    assert_seen(lead, "%llu:created ", start + 1);
    assert_seen(student, "");
    hm_sub_close(lead->sub);
    lead->last = 0;
    open_feed(lead, "{\"about\":[\"pair:1\"],\"types\":[\"note\"],\"after\":{\"epoch\":\"%s\",\"seq\":%llu}}",
              hm_store_epoch(world->store), start);
    turn(world);
    assert_seen(lead, "%llu:created ", start + 1);
    owner_free(lead);
    owner_free(student);
}

static void filters_that_make_no_sense_are_refused_and_every_fault_is_named(void **state) {
    struct world *world = *state;
    struct owner *one = owner_new(world, "p1", "role:student");
    static const char *const wrong[] = {
        "[]",
        "{\"types\":\"note\"}",
        "{\"types\":[]}",
        "{\"types\":[\"Note\"]}",
        "{\"types\":[1]}",
        "{\"types\":[\"a\",\"\"]}",
        "{\"about\":[\"pair:\"]}",
        "{\"about\":[\":x\"]}",
        "{\"about\":{}}",
        "{\"after\":5}",
        "{\"after\":{\"epoch\":\"x\"}}",
        "{\"after\":{\"seq\":1}}",
        "{\"after\":{\"epoch\":\"x\",\"seq\":-1}}",
        "{\"after\":{\"epoch\":\"x\",\"seq\":1.5}}",
        "{\"typo\":[\"note\"]}",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct hm_buf result = {0}, errors = {0}, text = {0};
        struct hm_error err = {0};
        struct hm_json value;
        hm_buf_text(&text, wrong[i]);
        assert_true(hm_json_parse(hm_buf_view(&text), &value, NULL));
        assert_false(hm_feed_open(world->feed, one->session, one, value, &result, &one->sub, &errors, &err));
        assert_int_equal(err.code, HM_PARAMS);
        hm_buf_clear(&text);
        hm_buf_printf(&text, "[%s]", errors.data);
        assert_true(hm_json_parse(hm_buf_view(&text), &value, NULL));
        assert_int_equal(hm_json_count(value), 1);
        hm_buf_free(&result);
        hm_buf_free(&errors);
        hm_buf_free(&text);
    }
    struct hm_buf result = {0}, errors = {0};
    struct hm_error err = {0};
    struct hm_json value;
    assert_true(hm_json_parse(HM_LIT("{\"types\":1,\"about\":2,\"after\":{},\"x\":3}"), &value, NULL));
    assert_false(hm_feed_open(world->feed, one->session, one, value, &result, &one->sub, &errors, &err));
    for (const char *name = "types\0about\0after.epoch\0after.seq\0x\0"; *name; name += strlen(name) + 1) {
        char path[40];
        snprintf(path, sizeof path, "\"path\":\"%s\"", name);
        assert_non_null(strstr(errors.data, path));
    }
    hm_buf_free(&result);
    hm_buf_free(&errors);
    owner_free(one);
}

static void who_was_away_for_too_long_must_reload(void **state) {
    struct world *world = *state;
    struct owner *one = owner_new(world, "p1", "role:student");
    uint64_t start = world->told;
    for (int i = 0; i < REPLAY_MAX + 1; i++)
        commit(world, "note", "a", "pair:9");
    tell(world);
    assert_false(open_after(one, start));
    turn(world);
    assert_int_equal(counts(world)->replayed, 0);
    assert_true(open_after(one, start + 1));
    assert_false(
        open_feed(one, "{\"after\":{\"epoch\":\"another\",\"seq\":%llu}}", (unsigned long long)world->told));
    commit(world, "note", "b", "institution");
    tell(world);
    assert_int_equal(one->queue.count, 1); // it goes on from now
    owner_free(one);
}

// ---- at random ------------------------------------------------------------------------------------------

#define CLIENTS 6

struct expectation {
    struct world *world;
    struct owner *owner;
    const char *type, *about; // NULL: all
    struct hm_buf seqs;
};

static bool expect_one(void *arg, const struct hm_change *change) {
    struct expectation *e = arg;
    struct hm_str name = hm_str_of(e->about), lists[] = {change->audience, change->lost}, item;
    bool about = !e->about;
    for (int i = 0; i < 2; i++)
        while (hm_packed_next(&lists[i], &item))
            about = about || hm_str_eq(item, name);
    const struct hm_principals *p = e->owner->session->principals;
    bool may = hm_access_meets(p, change->audience) || hm_access_meets(p, change->lost);
    if (about && may && (!e->type || hm_str_eq(change->type, hm_str_of(e->type))))
        hm_buf_printf(&e->seqs, "%llu ", (unsigned long long)change->seq);
    return true;
}

static void open_again(const struct expectation *e, uint64_t start) {
    char filters[100] = "";
    if (e->type) snprintf(filters, sizeof filters, ",\"types\":[\"%s\"]", e->type);
    if (e->about) snprintf(filters, sizeof filters, ",\"about\":[\"%s\"]", e->about);
    assert_true(open_feed(e->owner, "{\"after\":{\"epoch\":\"%s\",\"seq\":%llu}%s}",
                          hm_store_epoch(e->world->store),
                          (unsigned long long)(e->owner->last ? e->owner->last : start), filters));
}

static void random_commit(struct world *world) {
    static const char *const audiences[] = {
        "institution", "pair:1", "pair:2", "pair:1 role:coordinator", "role:coordinator", "person:p9", NULL};
    static const char *const types[] = {"note", "team"};
    static char *big;
    char id[4] = {(char)('a' + rand() % 5), 0};
    const char *audience = audiences[rand() % 7], *type = types[rand() % 2];
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_error err = {0};
    if (!big) {
        big = calloc(1, 60001);
        strcpy(big, "{\"a\":\"");
        memset(big + 6, 'y', 59990);
        strcpy(big + 59996, "\"}");
    }
    assert_true(hm_read_begin(world->store, &read, &err));
    bool there = hm_read_get(read, hm_str_of(type), hm_str_of(id), &record, &err);
    hm_read_end(read);
    if (!audience && !there) return;
    commit_more(world, type, id, audience, "", rand() % 30 ? "{\"a\":1}" : big);
}

static void random_step(struct world *world, struct expectation *e, uint64_t start) {
    struct owner *owner = e->owner;
    switch (rand() % 12) {
    case 0:
        for (int n = rand() % 20 ? rand() % 4 : rand() % (3 * QUEUE_MAX); n > 0; n--)
            random_commit(world);
        break;
    case 1:
    case 2:
        tell(world);
        break;
    case 3:
    case 4:
        turn(world);
        break;
    case 5:
        if (rand() % 6) break;
        hm_sub_close(owner->sub); // the connection breaks: what is queued is lost with it
        hm_queue_clear(&owner->queue);
        break;
    default:
        take(owner, (size_t)(rand() % 8));
    }
    if (!owner->sub && rand() % 3 == 0) { // broken, or told to resume
        take(owner, SIZE_MAX);
        open_again(e, start);
    }
}

static void compare(struct expectation *e, uint64_t start) {
    struct world *world = e->world;
    struct hm_read *read = NULL;
    struct hm_buf seen = {0};
    take(e->owner, SIZE_MAX);
    assert_true(hm_read_begin(world->store, &read, NULL));
    assert_true(hm_log_read(read, start, expect_one, e, NULL));
    hm_read_end(read);
    for (const char *at = e->owner->seen.data; at && *at; at = strchr(at, ' ') + 1)
        hm_buf_printf(&seen, "%.*s ", (int)strcspn(at, ":"), at);
    assert_string_equal(seen.data ? seen.data : "", e->seqs.data ? e->seqs.data : "");
    hm_buf_free(&seen);
    hm_buf_free(&e->seqs);
}

// Many clients with their own filters, bursts, large records, short memory: what each got over all its
// connections is what the log has for it, each once and in order.
static void random_clients(struct world *world, unsigned seed) {
    static const char *const principals[CLIENTS] = {"role:coordinator", "role:coordinator", "pair:1",
                                                    "pair:1",           "pair:2",           "pair:3"};
    static const char *const abouts[CLIENTS] = {NULL, "pair:1", NULL, NULL, "institution", NULL};
    static const char *const types[CLIENTS] = {NULL, NULL, NULL, "note", NULL, NULL};
    struct expectation all[CLIENTS] = {0};
    uint64_t start = world->told;
    srand(seed);
    for (int i = 0; i < CLIENTS; i++) {
        all[i] = (struct expectation){world, owner_new(world, "p", principals[i]), types[i], abouts[i], {0}};
        open_again(&all[i], start);
    }
    for (int step = 0; step < 1500; step++)
        random_step(world, &all[rand() % CLIENTS], start);
    tell(world);
    for (int round = 0; round < 3000 && (round < 3 || counts(world)->replaying || counts(world)->waiting);
         round++) {
        if (round > 100) usleep(500);
        turn(world);
        for (int i = 0; i < CLIENTS; i++) {
            take(all[i].owner, 20);
            if (!all[i].owner->sub) open_again(&all[i], start);
        }
    }
    for (int i = 0; i < CLIENTS; i++) {
        compare(&all[i], start);
        owner_free(all[i].owner);
    }
    assert_int_equal(hm_out_feed_bytes(), 0);
}

static void many_clients_with_filters_each_get_exactly_theirs(void **state) {
    const char *given = getenv("HAMROH_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)getpid() * 2654435761u;
    for (unsigned i = 0; i < (given ? 1u : 40u); i++, seed++) {
        print_message("HAMROH_SEED=%u\n", seed);
        random_clients(*state, seed);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_encoding_serves_some_hundred_clients, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_change_costs_only_those_who_may_see_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(those_who_come_back_together_read_the_log_together, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(long_replays_in_other_institutions_do_not_keep_a_short_one_waiting,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            when_memory_is_short_who_takes_something_now_and_then_is_not_the_first_to_go, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_waits_for_all_clients_together_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            more_at_once_than_a_queue_holds_does_not_trouble_a_client_that_keeps_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_taken_back_meanwhile_is_not_shown_to_who_returns, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(who_ceases_to_be_a_member_is_told_that_the_record_is_gone, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(about_narrows_to_audiences_with_a_principal_and_never_widens, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(filters_that_make_no_sense_are_refused_and_every_fault_is_named,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_was_away_for_too_long_must_reload, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_clients_with_filters_each_get_exactly_theirs, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
