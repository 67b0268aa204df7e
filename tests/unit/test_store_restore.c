// Restoring to a point in time: the state is built from the change log alone and must be, byte for byte, what
// the store was then. HAMROH_SEED=N repeats a history.
#include "base/clock.h"
#include "store_fixture.h"
#include <sys/stat.h>
#include <time.h>

#define TYPES                                                                                                \
    "[{\"name\":\"note\",\"about\":\"person\",\"sealed\":[\"secret\"],\"indexes\":[{\"name\":\"by_n\","      \
    "\"fields\":[\"n\"]},{\"name\":\"tags\",\"fields\":[\"tags\"],\"multi\":true},"                          \
    "{\"name\":\"by_time\",\"fields\":[\"@created\",\"@by\"]}]},"                                            \
    "{\"name\":\"slot\",\"indexes\":[{\"name\":\"place\",\"fields\":[\"place\"],\"unique\":true}]}]"
#define START 1700000000000
#define POINTS 12

// ---- a random history
// --------------------------------------------------------------------------------------------------

static uint64_t random_state;

static unsigned pick(unsigned below) { // xorshift64*
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (unsigned)((random_state * 2685821657736338717u) >> 33) % below;
}

static void seed_it(void) {
    const char *given = getenv("HAMROH_SEED");
    random_state = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL) * 1000003u;
    if (!random_state) random_state = 1;
    print_message("HAMROH_SEED=%llu repeats this\n", (unsigned long long)random_state);
}

static struct hm_str members_of(struct hm_buf *out) {
    char name[32];
    hm_buf_clear(out);
    for (unsigned i = pick(4); i; i--) {
        snprintf(name, sizeof name, "person:%u", pick(5));
        hm_packed_add(out, S(name));
    }
    return hm_buf_view(out);
}

struct drawn {
    struct hm_buf audience, members;
    char id[16], data[256];
};

static struct hm_intent draw(struct drawn *d) {
    bool slot = pick(4) == 0;
    snprintf(d->id, sizeof d->id, slot ? "s%u" : "n%u", pick(30));
    if (slot)
        snprintf(d->data, sizeof d->data, "{\"place\":%u,\"text\":\"%u\"}", pick(60), pick(1000));
    else
        snprintf(d->data, sizeof d->data,
                 "{\"n\":%u,\"tags\":[\"t%u\",\"t%u\"],\"person\":\"p%u\",\"secret\":\"words %u\"}", pick(9),
                 pick(5), pick(5), pick(6), pick(1000));
    struct hm_intent in = fx_intent(slot ? "slot" : "note", d->id, pick(5) ? d->data : NULL);
    if (!in.remove) {
        in.audience = members_of(&d->audience);
        in.members = members_of(&d->members);
    }
    return in;
}

// One call of one to three changes at a time that never goes back.
static void one_call(struct fx *f, int64_t now_ms) {
    struct drawn drawn[3] = {0};
    struct hm_intent intents[3];
    unsigned count = 1 + pick(3);
    char by[8];
    for (unsigned i = 0; i < count; i++)
        intents[i] = draw(&drawn[i]);
    struct hm_commit call = fx_call(f, intents, count);
    snprintf(by, sizeof by, "p%u", pick(6));
    call.by = S(by);
    call.now_ms = now_ms;
    fx_run(f, &call); // refused now and then: a record twice, a place taken
    for (unsigned i = 0; i < count; i++) {
        hm_buf_free(&drawn[i].audience);
        hm_buf_free(&drawn[i].members);
    }
}

// ---- what a store is, as bytes
// -----------------------------------------------------------------------------------------

static void dump_database(MDB_txn *txn, MDB_dbi dbi, struct hm_buf *out) {
    MDB_cursor *cursor;
    MDB_val k, v;
    assert_int_equal(mdb_cursor_open(txn, dbi, &cursor), 0);
    for (int rc = mdb_cursor_get(cursor, &k, &v, MDB_FIRST); !rc;
         rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
        hm_put_str(out, hm_val_str(k));
        hm_put_str(out, hm_val_str(v));
    }
    mdb_cursor_close(cursor);
}

static void dump(struct fx *f, struct hm_buf *out) {
    static const char *const meta[] = {"format", "head", "keyring", "types", "indexes"};
    struct hm_read *r;
    struct hm_str value;
    assert_true(hm_read_begin(f->store, &r, &f->err));
    const MDB_dbi all[] = {f->store->rec, f->store->idx, f->store->mem, f->store->log};
    for (size_t i = 0; i < 4; i++) {
        dump_database(r->txn, all[i], out);
        hm_buf_text(out, "----");
    }
    for (size_t i = 0; i < sizeof meta / sizeof *meta; i++) {
        assert_true(hm_meta_get(f->store, r->txn, meta[i], &value));
        hm_put_str(out, value);
    }
    hm_read_end(r);
}

static bool restore_until(struct fx *f, uint64_t seq, int64_t ms, struct fx *g, struct hm_restore *result) {
    static int count;
    static char set[128];
    snprintf(set, sizeof set, "%s/set", f->root);
    *g = *f;
    snprintf(g->dir, sizeof g->dir, "%s/again%d", f->root, count++);
    *result = (struct hm_restore){.set = set, .to = g->dir, .until_seq = seq, .until_ms = ms};
    return hm_store_restore(result, &f->err);
}

static void backup(struct fx *f, const char *name) {
    char set[128];
    snprintf(set, sizeof set, "%s/set", f->root);
    if (!hm_store_backup(f->store, set, name, &f->err)) fail_msg("%s", f->err.message);
}

static void every_point_of_a_random_history_comes_back_byte_for_byte(void **state) {
    (void)state;
    struct fx f, g;
    struct hm_restore result;
    struct {
        uint64_t seq;
        int64_t ms;
        struct hm_buf dump;
    } points[POINTS] = {0};
    seed_it();
    hm_clock_manual(START);
    fx_new(&f, TYPES, 0);
    int64_t now = START;
    for (int p = 0; p < POINTS; p++) {
        for (unsigned i = 1 + pick(60); i; i--)
            one_call(&f, now += 1 + pick(5000));
        points[p].seq = fx_seq(&f);
        points[p].ms = now;
        dump(&f, &points[p].dump);
    }
    hm_clock_advance(now - START + 1000);
    backup(&f, "all");
    for (int p = 0; p < POINTS; p++) {
        struct hm_buf got = {0};
        bool by_time = p % 3 == 2;
        if (!points[p].seq) continue;
        if (!restore_until(&f, by_time ? 0 : points[p].seq, by_time ? points[p].ms : 0, &g, &result))
            fail_msg("point %d: %s", p, f.err.message);
        assert_int_equal(result.seq, points[p].seq);
        fx_open(&g, 0);
        assert_string_not_equal(hm_store_epoch(g.store), hm_store_epoch(f.store));
        dump(&g, &got);
        if (!hm_str_eq(hm_buf_view(&got), hm_buf_view(&points[p].dump)))
            fail_msg("point %d (change %llu) came back different", p, (unsigned long long)points[p].seq);
        fx_verify(&g);
        for (int i = 0; i < 20; i++) // the chain goes on
            one_call(&g, now + i);
        fx_verify(&g);
        hm_store_close(g.store);
        hm_buf_free(&got);
        hm_buf_free(&points[p].dump);
    }
    fx_free(&f);
}

static void calls_are_restored_whole_or_not_at_all(void **state) {
    (void)state;
    struct fx f, g;
    struct hm_restore result;
    fx_new(&f, TYPES, 0);
    hm_clock_manual(START);
    for (int i = 0; i < 3; i++) { // calls of three changes, a minute apart
        struct hm_intent in[3] = {fx_intent("slot", "a", "{\"n\":1}"), fx_intent("slot", "b", "{\"n\":1}"),
                                  fx_intent("slot", "c", "{\"n\":1}")};
        struct hm_commit call = fx_call(&f, in, 3);
        call.now_ms = START + i * 60000;
        assert_int_equal(fx_run(&f, &call), HM_OK);
    }
    hm_clock_advance(600000);
    backup(&f, "all");
    static const struct {
        uint64_t seq;
        int64_t ms;
        uint64_t expected;
    } cases[] = {{9, 0, 9},
                 {8, 0, 6},
                 {7, 0, 6},
                 {6, 0, 6},
                 {4, 0, 3},
                 {0, START + 120000, 9},
                 {0, START + 119999, 6},
                 {0, START + 60000, 6},
                 {0, START, 3},
                 {0, START + 599999, 9}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (!restore_until(&f, cases[i].seq, cases[i].ms, &g, &result))
            fail_msg("case %zu: %s", i, f.err.message);
        assert_int_equal(result.seq, cases[i].expected);
        assert_int_equal(result.time_ms, START + (int64_t)(cases[i].expected / 3 - 1) * 60000);
        assert_int_equal(result.next_time_ms,
                         cases[i].expected == 9 ? 0 : START + (int64_t)cases[i].expected / 3 * 60000);
        fx_open(&g, 0);
        assert_int_equal(fx_seq(&g), cases[i].expected);
        fx_verify(&g);
        hm_store_close(g.store);
    }
    // Before anything: nothing is made, which is no failure.
    assert_true(restore_until(&f, 0, START - 1, &g, &result));
    assert_int_equal(result.seq, 0);
    assert_int_equal(access(g.dir, F_OK), -1);
    // Beyond what the backup knows.
    assert_false(restore_until(&f, 10, 0, &g, &result));
    assert_non_null(strstr(f.err.message, "newer backup"));
    assert_false(restore_until(&f, 0, START + 600001, &g, &result));
    assert_non_null(strstr(f.err.message, "newer backup"));
    assert_int_equal(access(g.dir, F_OK), -1);
    fx_free(&f);
}

static void a_change_log_that_was_tampered_with_is_not_replayed(void **state) {
    (void)state;
    struct fx f, g;
    struct hm_restore result;
    MDB_txn *txn;
    uint8_t key[8];
    struct hm_buf entry = {0};
    fx_new(&f, TYPES, 0);
    hm_clock_manual(START);
    for (int i = 0; i < 9; i++)
        assert_int_equal(fx_put(&f, "slot", "a", i % 2 ? "{\"text\":\"aaaa\"}" : "{\"text\":\"bbbb\"}"),
                         HM_OK);
    hm_log_key(4, key);
    MDB_val k = {sizeof key, key}, v;
    assert_int_equal(mdb_txn_begin(f.store->env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_get(txn, f.store->log, &k, &v), 0);
    hm_buf_add(&entry, v.mv_data, v.mv_size);
    char *at = memmem(entry.data, entry.len, "aaaa", 4);
    assert_non_null(at);
    at[2] = 'x';
    v = hm_val(hm_buf_view(&entry));
    assert_int_equal(mdb_put(txn, f.store->log, &k, &v, 0), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    backup(&f, "all"); // its sums are right, its history is not
    assert_true(restore_until(&f, 3, 0, &g, &result));
    assert_false(restore_until(&f, 5, 0, &g, &result));
    assert_non_null(strstr(f.err.message, "change 4"));
    assert_int_equal(access(g.dir, F_OK), -1);
    hm_buf_free(&entry);
    fx_free(&f);
}

static void an_index_declared_later_than_the_point_does_not_stand_in_its_way(void **state) {
    (void)state;
    struct fx f, g;
    struct hm_restore result;
    static const char loose[] = "[{\"name\":\"slot\"}]";
    static const char unique[] =
        "[{\"name\":\"slot\",\"indexes\":[{\"name\":\"place\",\"fields\":[\"place\"],\"unique\":true}]}]";
    fx_new(&f, loose, 0);
    assert_int_equal(fx_put(&f, "slot", "a", "{\"place\":1}"), HM_OK);
    assert_int_equal(fx_put(&f, "slot", "b", "{\"place\":1}"), HM_OK);
    assert_int_equal(fx_put(&f, "slot", "b", "{\"place\":2}"), HM_OK);
    fx_declare(&f, unique);
    backup(&f, "all");
    if (!restore_until(&f, 2, 0, &g, &result)) fail_msg("%s", f.err.message);
    fx_open(&g, 0);
    fx_verify(&g);
    assert_int_equal(fx_version(&g, "slot", "b"), 2);
    fx_declare(&g, loose); // as the server does with the plugins of then
    fx_verify(&g);
    hm_store_close(g.store);
    if (!restore_until(&f, 3, 0, &g, &result)) fail_msg("%s", f.err.message);
    fx_open(&g, 0);
    assert_string_equal(fx_scan(&g, "slot", "place", "[2]", NULL, NULL, false), "b ");
    hm_store_close(g.store);
    fx_free(&f);
}

static void a_history_larger_than_the_map_it_begins_with_is_replayed(void **state) {
    (void)state;
    struct fx f, g;
    struct hm_restore result;
    struct hm_buf data = {0}, before = {0}, after = {0};
    fx_new(&f, TYPES, 64u << 20);
    hm_clock_manual(START);
    hm_buf_text(&data, "{\"text\":\"");
    for (int i = 0; i < 9000; i++)
        hm_buf_char(&data, (char)('a' + i % 26));
    hm_buf_text(&data, "\"}");
    for (int i = 0; i < 60; i++) { // 27 MB of log in the end
        char ids[50][16];
        struct hm_intent in[50];
        for (int n = 0; n < 50; n++) {
            snprintf(ids[n], sizeof ids[n], "s%d", (i * 50 + n) % 800);
            in[n] = fx_intent("slot", ids[n], data.data);
        }
        struct hm_commit call = fx_call(&f, in, 50);
        assert_int_equal(fx_run(&f, &call), HM_OK);
    }
    dump(&f, &before);
    uint64_t seq = fx_seq(&f);
    assert_int_equal(fx_put(&f, "slot", "more", "{}"), HM_OK);
    backup(&f, "all");
    if (!restore_until(&f, seq, 0, &g, &result)) fail_msg("%s", f.err.message);
    fx_open(&g, 0);
    dump(&g, &after);
    assert_true(hm_str_eq(hm_buf_view(&before), hm_buf_view(&after)));
    fx_verify(&g);
    hm_store_close(g.store);
    hm_buf_free(&data);
    hm_buf_free(&before);
    hm_buf_free(&after);
    fx_free(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_point_of_a_random_history_comes_back_byte_for_byte),
        cmocka_unit_test(calls_are_restored_whole_or_not_at_all),
        cmocka_unit_test(a_change_log_that_was_tampered_with_is_not_replayed),
        cmocka_unit_test(an_index_declared_later_than_the_point_does_not_stand_in_its_way),
        cmocka_unit_test(a_history_larger_than_the_map_it_begins_with_is_replayed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
