// Writing: what a record becomes, what is refused, what conflicts, what a batch leaves.
#include "store_fixture.h"

#define TYPES                                                                                                \
    "[{\"name\":\"duty\",\"indexes\":[{\"name\":\"on_call\",\"fields\":[\"on_call\"]},"                      \
    "{\"name\":\"name\",\"fields\":[\"name\"],\"unique\":true}]},{\"name\":\"pair\"}]"

static struct hm_str packed(struct hm_buf *b, const char *const *names) {
    for (; names && *names; names++)
        hm_packed_add(b, S(*names));
    return hm_buf_view(b);
}

static struct hm_seen point(const char *type, const char *id, uint64_t version) {
    return (struct hm_seen){.type = S(type), .id = S(id), .version = version};
}

static struct hm_seen seen_range(const struct hm_range *r) {
    return (struct hm_seen){.space = r->index ? HM_SPACE_IDX : HM_SPACE_REC, .low = r->low, .high = r->high};
}

static enum hm_code run_with(struct fx *f, struct hm_commit call, const struct hm_seen *seen, size_t n) {
    call.seen = seen;
    call.seen_count = n;
    return fx_run(f, &call);
}

static void a_record_is_stored_as_the_envelope_that_is_sent(void **state) {
    (void)state;
    struct fx f;
    struct hm_buf audience = {0}, members = {0};
    fx_new(&f, TYPES, 0);
    struct hm_intent in = fx_intent("pair", "a\"b", "{\"x\": [1, 2]}");
    in.audience = packed(&audience, (const char *const[]){"pair:a", "role:coach", NULL});
    in.members = packed(&members, (const char *const[]){"person:1", "person:2", NULL});
    struct hm_commit call = fx_call(&f, &in, 1);
    assert_int_equal(fx_run(&f, &call), HM_OK);
    assert_int_equal(call.first_seq, 1);
    assert_int_equal(call.last_seq, 1);
    in.data = S("{\"x\":3}");
    call = fx_call(&f, &in, 1);
    call.by = S("");
    call.now_ms = 1700000000001;
    assert_int_equal(fx_run(&f, &call), HM_OK);
    struct hm_read *r;
    struct hm_record rec;
    assert_true(hm_read_begin(f.store, &r, &f.err));
    assert_true(hm_read_get(r, S("pair"), S("a\"b"), &rec, &f.err));
    const char *expected = "{\"type\":\"pair\",\"id\":\"a\\\"b\",\"version\":2,\"created\":1700000000000,"
                           "\"updated\":1700000000001,\"by\":null,\"audience\":[\"pair:a\",\"role:coach\"],"
                           "\"members\":[\"person:1\",\"person:2\"],\"data\":{\"x\":3}}";
    assert_true(hm_str_eq(rec.json, S(expected)));
    assert_true(hm_str_eq(rec.data, S("{\"x\":3}")));
    assert_true(hm_str_eq(rec.type, S("pair")) && hm_str_eq(rec.id, S("a\"b")) && rec.by.len == 0);
    assert_int_equal(rec.version, 2);
    assert_int_equal(rec.created_ms, 1700000000000);
    assert_int_equal(rec.updated_ms, 1700000000001);
    assert_true(hm_str_eq(rec.audience, in.audience) && hm_str_eq(rec.members, in.members));
    assert_false(hm_read_get(r, S("pair"), S("none"), &rec, &f.err));
    assert_int_equal(f.err.code, HM_NOT_FOUND);
    hm_read_end(r);
    fx_verify(&f);
    hm_buf_free(&audience);
    hm_buf_free(&members);
    fx_free(&f);
}

static void what_a_worker_sends_is_checked(void **state) {
    (void)state;
    struct fx f;
    char long_id[130], long_name[202];
    memset(long_id, 'x', sizeof long_id);
    memset(long_name, 'x', sizeof long_name);
    long_id[129] = long_name[201] = 0;
    fx_new(&f, TYPES, 0);
    assert_int_equal(fx_put(&f, "nothing", "1", "{}"), HM_PARAMS);
    assert_int_equal(fx_put(&f, "account", "1", "{}"), HM_FORBIDDEN);
    assert_int_equal(fx_put(&f, "session", "1", NULL), HM_FORBIDDEN);
    assert_int_equal(fx_put(&f, "invitation", "1", "{}"), HM_OK);
    assert_int_equal(fx_put(&f, "duty", "", "{}"), HM_PARAMS);
    assert_int_equal(fx_put(&f, "duty", long_id, "{}"), HM_PARAMS);
    assert_int_equal(fx_put(&f, "duty", "a\nb", "{}"), HM_PARAMS);
    assert_int_equal(fx_put(&f, "duty", "1", "[]"), HM_PARAMS);
    assert_int_equal(fx_put(&f, "duty", "1", "{\"a\":}"), HM_PARAMS);
    assert_int_equal(fx_put(&f, "duty", "1", "{} x"), HM_PARAMS);
    assert_int_equal(fx_put(&f, "duty", "1", ""), HM_PARAMS);
    assert_int_equal(fx_put(&f, "duty", "1", "{\"a\":\"\xff\"}"), HM_PARAMS);
    const char *bad[] = {"", "a\tb", "\x7f", "\xc3(", long_name};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        for (int where = 0; where < 2; where++) {
            struct hm_buf list = {0};
            struct hm_intent in = fx_intent("duty", "1", "{}");
            hm_packed_add(&list, S("person:1"));
            hm_packed_add(&list, S(bad[i]));
            if (where) {
                in.members = hm_buf_view(&list);
            } else {
                in.audience = hm_buf_view(&list);
            }
            struct hm_commit call = fx_call(&f, &in, 1);
            assert_int_equal(fx_run(&f, &call), HM_PARAMS);
            hm_buf_free(&list);
        }
    }
    struct hm_intent cut = fx_intent("duty", "1", "{}");
    cut.audience = (struct hm_str){"\x05\0pub", 5};
    struct hm_commit call = fx_call(&f, &cut, 1);
    assert_int_equal(fx_run(&f, &call), HM_PARAMS);
    struct hm_intent twice[] = {fx_intent("duty", "1", "{}"), fx_intent("pair", "1", "{}"),
                                fx_intent("duty", "1", NULL)};
    call = fx_call(&f, twice, 3);
    assert_int_equal(fx_run(&f, &call), HM_PARAMS);
    struct hm_buf big = {0};
    hm_buf_text(&big, "{\"a\":\"");
    hm_buf_reserve(&big, HM_DATA_MAX);
    memset(big.data + big.len, 'x', HM_DATA_MAX - 8);
    big.len += HM_DATA_MAX - 8;
    hm_buf_text(&big, "\"}");
    assert_int_equal(big.len, HM_DATA_MAX);
    assert_int_equal(fx_put(&f, "duty", "big", big.data), HM_OK);
    big.data[big.len - 2] = 'x';
    hm_buf_text(&big, "\"}");
    big.data[big.len - 3] = '"';
    big.data[big.len - 2] = ' ';
    assert_int_equal(fx_put(&f, "duty", "big2", big.data), HM_TOO_LARGE);
    hm_buf_free(&big);
    assert_int_equal(fx_seq(&f), 2);
    call = fx_call(&f, &(struct hm_intent){.type = S("account"), .id = S("1"), .data = S("{}")}, 1);
    call.from_core = true;
    assert_int_equal(fx_run(&f, &call), HM_OK);
    fx_verify(&f);
    fx_free(&f);
}

static void sixty_four_in_an_audience_and_a_thousand_members_are_the_most(void **state) {
    (void)state;
    struct fx f;
    fx_new(&f, TYPES, 0);
    for (int members = 0; members < 2; members++) {
        struct hm_buf list = {0};
        int max = members ? 1000 : 64;
        struct hm_intent in = fx_intent("pair", "1", "{}");
        for (int i = 0; i <= max; i++) {
            char name[32];
            snprintf(name, sizeof name, "person:%d", i);
            if (i == max) { // one too many only in the second try
                *(members ? &in.members : &in.audience) = hm_buf_view(&list);
                struct hm_commit call = fx_call(&f, &in, 1);
                assert_int_equal(fx_run(&f, &call), HM_OK);
            }
            hm_packed_add(&list, S(name));
        }
        *(members ? &in.members : &in.audience) = hm_buf_view(&list);
        struct hm_commit call = fx_call(&f, &in, 1);
        assert_int_equal(fx_run(&f, &call), HM_PARAMS);
        hm_buf_free(&list);
    }
    fx_verify(&f);
    fx_free(&f);
}

static void the_expected_version_must_be_there(void **state) {
    (void)state;
    struct fx f;
    fx_new(&f, TYPES, 0);
    struct hm_intent in = fx_intent("duty", "1", "{}");
    in.expect = 0;
    struct hm_commit call = fx_call(&f, &in, 1);
    assert_int_equal(fx_run(&f, &call), HM_OK);
    struct hm_commit late = fx_call(&f, &in, 1); // knows of the record: running again would end the same
    assert_int_equal(fx_run(&f, &late), HM_CONFLICT);
    assert_true(late.duplicate);
    call.snapshot = 0;
    in.expect = 1;
    call = fx_call(&f, &in, 1);
    assert_int_equal(fx_run(&f, &call), HM_OK); // version 1 → 2
    call.snapshot = 1;
    assert_int_equal(fx_run(&f, &call), HM_CONFLICT); // a race
    assert_false(call.duplicate);
    in.remove = true;
    in.expect = 7;
    call = fx_call(&f, &in, 1);
    assert_int_equal(fx_run(&f, &call), HM_CONFLICT);
    in.expect = 2;
    assert_int_equal(fx_run(&f, &call), HM_OK);
    assert_int_equal(fx_put(&f, "duty", "1", NULL), HM_OK); // gone already: nothing to do
    assert_int_equal(fx_seq(&f), 3);
    fx_verify(&f);
    fx_free(&f);
}

static void a_lost_update_is_a_conflict(void **state) {
    (void)state;
    struct fx f;
    fx_new(&f, TYPES, 0);
    fx_put(&f, "duty", "1", "{\"n\":1}");
    struct hm_intent in = fx_intent("duty", "1", "{\"n\":2}");
    struct hm_seen seen = point("duty", "1", 1);
    struct hm_commit a = fx_call(&f, &in, 1), b = a; // both read version 1
    assert_int_equal(run_with(&f, a, &seen, 1), HM_OK);
    assert_int_equal(run_with(&f, b, &seen, 1), HM_CONFLICT);
    assert_int_equal(fx_version(&f, "duty", "1"), 2);
    fx_free(&f);
}

static void write_skew_is_a_conflict(void **state) {
    (void)state;
    struct fx f;
    fx_new(&f, TYPES, 0);
    // Two are on call; each may leave if the other stays. Both read both, each writes itself.
    fx_put(&f, "duty", "ann", "{\"on_call\":true}");
    fx_put(&f, "duty", "bob", "{\"on_call\":true}");
    struct hm_seen seen[] = {point("duty", "ann", 1), point("duty", "bob", 2)};
    struct hm_intent ann = fx_intent("duty", "ann", "{\"on_call\":false}");
    struct hm_intent bob = fx_intent("duty", "bob", "{\"on_call\":false}");
    struct hm_commit a = fx_call(&f, &ann, 1), b = fx_call(&f, &bob, 1);
    assert_int_equal(run_with(&f, a, seen, 2), HM_OK);
    assert_int_equal(run_with(&f, b, seen, 2), HM_CONFLICT);
    assert_string_equal(fx_scan(&f, "duty", "on_call", "[true]", NULL, NULL, false), "bob ");
    fx_free(&f);
}

// One call read a range and writes; before it commits, `change` happens.
static enum hm_code after_change(struct fx *f, const char *index, const char *equals, const char *id,
                                 const char *data) {
    struct hm_range range;
    fx_range(f, "duty", index, equals, NULL, NULL, &range);
    struct hm_seen seen = seen_range(&range);
    struct hm_intent in = fx_intent("pair", "result", "{}");
    struct hm_commit call = fx_call(f, &in, 1);
    assert_int_equal(fx_put(f, "duty", id, data), HM_OK);
    enum hm_code code = run_with(f, call, &seen, 1);
    hm_range_free(&range);
    return code;
}

static void a_phantom_in_a_range_is_a_conflict(void **state) {
    (void)state;
    struct fx f;
    fx_new(&f, TYPES, 0);
    assert_int_equal(after_change(&f, "on_call", "[true]", "new", "{\"on_call\":true}"), HM_CONFLICT);
    assert_int_equal(after_change(&f, "on_call", "[true]", "other", "{\"on_call\":false}"), HM_OK);
    assert_int_equal(after_change(&f, "on_call", "[true]", "other", "{\"on_call\":true}"),
                     HM_CONFLICT); // moves in
    assert_int_equal(after_change(&f, "on_call", "[true]", "other", "{\"on_call\":0}"),
                     HM_CONFLICT);                                                     // moves out
    assert_int_equal(after_change(&f, "on_call", "[true]", "new", NULL), HM_CONFLICT); // is deleted
    assert_int_equal(after_change(&f, "on_call", "[]", "third", "{}"), HM_CONFLICT);
    assert_int_equal(after_change(&f, NULL, NULL, "fourth", "{}"), HM_CONFLICT); // the whole type
    assert_int_equal(after_change(&f, NULL, NULL, "fourth", NULL), HM_CONFLICT);
    fx_free(&f);
}

static void a_membership_that_came_is_a_conflict_for_who_read_them(void **state) {
    (void)state;
    struct fx f;
    struct hm_buf members = {0};
    fx_new(&f, TYPES, 0);
    struct hm_seen seen = {.space = HM_SPACE_MEM, .low = {"person:1\0", 9}, .high = {"person:1\1", 9}};
    struct hm_intent in = fx_intent("pair", "result", "{}"), pair = fx_intent("pair", "1", "{}");
    for (int i = 0; i < 2; i++) {
        struct hm_commit call = fx_call(&f, &in, 1);
        hm_buf_clear(&members);
        hm_packed_add(&members, S(i ? "person:1" : "person:11"));
        pair.members = hm_buf_view(&members);
        struct hm_commit other = fx_call(&f, &pair, 1);
        assert_int_equal(fx_run(&f, &other), HM_OK);
        assert_int_equal(run_with(&f, call, &seen, 1), i ? HM_CONFLICT : HM_OK);
    }
    fx_verify(&f);
    hm_buf_free(&members);
    fx_free(&f);
}

static void deleted_and_made_again_is_a_conflict(void **state) {
    (void)state;
    struct fx f;
    fx_new(&f, TYPES, 0);
    fx_put(&f, "duty", "1", "{}");
    struct hm_seen seen = point("duty", "1", 1), absent = point("duty", "2", 0);
    struct hm_intent in = fx_intent("pair", "1", "{}");
    struct hm_commit call = fx_call(&f, &in, 1);
    fx_put(&f, "duty", "1", NULL);
    fx_put(&f, "duty", "1", "{}");
    assert_int_equal(run_with(&f, call, &seen, 1), HM_CONFLICT);
    assert_int_equal(run_with(&f, call, &absent, 1), HM_OK);
    fx_put(&f, "duty", "2", "{}");
    assert_int_equal(run_with(&f, call, &absent, 1), HM_CONFLICT);
    fx_free(&f);
}

static void what_only_touches_other_records_does_not_conflict(void **state) {
    (void)state;
    struct fx f;
    fx_new(&f, TYPES, 0);
    fx_put(&f, "duty", "1", "{\"on_call\":1}");
    struct hm_range range;
    fx_range(&f, "duty", "on_call", "[1]", NULL, NULL, &range);
    struct hm_seen seen[] = {seen_range(&range), point("duty", "1", 1)};
    struct hm_intent in = fx_intent("pair", "result", "{}");
    struct hm_commit call = fx_call(&f, &in, 1);
    for (int i = 0; i < 300; i++) {
        char id[16], data[40];
        snprintf(id, sizeof id, "x%d", i);
        snprintf(data, sizeof data, "{\"on_call\":%d.5}", i);
        fx_put(&f, "duty", id, data);
    }
    assert_int_equal(run_with(&f, call, seen, 2), HM_OK);
    hm_range_free(&range);
    fx_free(&f);
}

static void keep_change(void *arg, const struct hm_change *c) {
    struct hm_buf *out = arg;
    hm_buf_printf(out, "%llu/%llu %d %.*s; ", (unsigned long long)c->seq, (unsigned long long)c->commit,
                  (int)c->action, (int)c->id.len, c->id.ptr);
}

static void a_refused_call_leaves_nothing_in_its_batch(void **state) {
    (void)state;
    struct fx f;
    struct hm_write *w;
    struct hm_buf told = {0};
    fx_new(&f, TYPES, 0);
    fx_put(&f, "duty", "taken", "{\"name\":\"x\"}");
    struct hm_intent first[] = {fx_intent("duty", "a", "{\"name\":\"a\"}"),
                                fx_intent("duty", "b", "{\"name\":\"b\"}")};
    struct hm_intent bad[] = {fx_intent("duty", "c", "{\"name\":\"c\"}"), fx_intent("duty", "taken", NULL),
                              fx_intent("duty", "d", "{\"name\":\"a\"}")}; // "a" is taken within the batch
    struct hm_intent last[] = {fx_intent("duty", "e", "{\"name\":\"c\"}")};
    struct hm_seen stale = point("duty", "a", 0);
    struct hm_commit calls[] = {fx_call(&f, first, 2), fx_call(&f, bad, 3), fx_call(&f, last, 1),
                                fx_call(&f, last, 0)};
    calls[3].seen = &stale; // read that "a" is absent: no longer so, in the same batch
    calls[3].seen_count = 1;
    assert_true(hm_write_begin(f.store, &w, &f.err));
    for (int i = 0; i < 4; i++)
        assert_true(hm_write_apply(w, &calls[i], &f.err));
    assert_int_equal(calls[0].code, HM_OK);
    assert_int_equal(calls[1].code, HM_CONFLICT);
    assert_false(calls[1].duplicate); // its method could not see that "a" is taken
    assert_int_equal(calls[2].code, HM_OK);
    assert_int_equal(calls[3].code, HM_CONFLICT);
    assert_false(calls[3].duplicate);
    assert_true(hm_write_commit(w, keep_change, &told, &f.err));
    assert_string_equal(told.data, "2/2 1 a; 3/2 1 b; 4/4 1 e; ");
    assert_int_equal(calls[2].first_seq, 4);
    assert_string_equal(fx_scan(&f, "duty", NULL, NULL, NULL, NULL, false), "a b e taken ");
    fx_verify(&f);
    hm_buf_free(&told);
    fx_free(&f);
}

static void an_aborted_batch_never_was(void **state) {
    (void)state;
    struct fx f;
    struct hm_write *w;
    struct hm_range range;
    fx_new(&f, TYPES, 0);
    fx_put(&f, "duty", "1", "{}");
    fx_range(&f, "duty", NULL, NULL, NULL, NULL, &range);
    struct hm_seen seen = seen_range(&range);
    struct hm_intent in = fx_intent("duty", "2", "{}");
    struct hm_commit reader = fx_call(&f, &in, 0), call = fx_call(&f, &in, 1);
    assert_true(hm_write_begin(f.store, &w, &f.err));
    assert_true(hm_write_apply(w, &call, &f.err));
    reader.seen = &seen;
    reader.seen_count = 1;
    assert_true(hm_write_apply(w, &reader, &f.err)); // a phantom of the batch that is still open
    assert_int_equal(reader.code, HM_CONFLICT);
    hm_write_abort(w);
    assert_int_equal(fx_seq(&f), 1);
    assert_int_equal(run_with(&f, reader, &seen, 1), HM_OK);
    assert_int_equal(fx_run(&f, &call), HM_OK);
    assert_int_equal(call.first_seq, 2);
    assert_int_equal(run_with(&f, reader, &seen, 1), HM_CONFLICT);
    fx_verify(&f);
    hm_range_free(&range);
    fx_free(&f);
}

static void a_snapshot_from_before_the_start_counts_as_changed_for_ranges_only(void **state) {
    (void)state;
    struct fx f;
    struct hm_range range;
    fx_new(&f, TYPES, 0);
    fx_put(&f, "duty", "1", "{}");
    struct hm_intent in = fx_intent("pair", "1", "{}");
    struct hm_commit old = fx_call(&f, &in, 1);
    fx_put(&f, "pair", "2", "{}");
    hm_store_close(f.store);
    fx_open(&f, 0);
    fx_range(&f, "duty", NULL, NULL, NULL, NULL, &range);
    struct hm_seen seen[] = {point("duty", "1", 1), seen_range(&range)};
    assert_int_equal(run_with(&f, old, seen, 2), HM_CONFLICT);
    assert_int_equal(run_with(&f, old, seen, 1), HM_OK);
    hm_range_free(&range);
    fx_free(&f);
}

static void ranges_of_an_index_rebuilt_since_count_as_changed(void **state) {
    (void)state;
    struct fx f;
    struct hm_range range;
    fx_new(&f, TYPES, 0);
    fx_put(&f, "duty", "1", "{\"on_call\":1}");
    fx_range(&f, "duty", "on_call", "[1]", NULL, NULL, &range);
    struct hm_seen seen = seen_range(&range);
    struct hm_intent in = fx_intent("pair", "1", "{}");
    struct hm_commit call = fx_call(&f, &in, 1);
    struct hm_types *types = NULL;
    assert_true(
        hm_types_parse(S("[{\"name\":\"duty\",\"indexes\":[{\"name\":\"on_call\",\"fields\":[\"other\"]}]},"
                         "{\"name\":\"pair\"}]"),
                       &types, &f.err));
    assert_true(hm_store_set_types(f.store, types, &f.err));
    hm_types_unref(types);
    assert_int_equal(run_with(&f, call, &seen, 1), HM_OK); // nothing written since: what was read holds
    assert_int_equal(run_with(&f, call, &seen, 1), HM_CONFLICT);
    call.snapshot = fx_seq(&f);
    assert_int_equal(run_with(&f, call, &seen, 1), HM_OK);
    hm_range_free(&range);
    fx_free(&f);
}

static bool keep_logged(void *arg, const struct hm_change *c) {
    struct hm_buf *out = arg;
    hm_buf_printf(out, "%llu %d %.*s/%.*s ", (unsigned long long)c->seq, (int)c->action, (int)c->type.len,
                  c->type.ptr, (int)c->id.len, c->id.ptr);
    hm_packed_json(c->audience, out);
    hm_packed_json(c->lost, out);
    hm_buf_printf(out, "%s; ", c->json.len ? "json" : "");
    return c->seq < 5;
}

static void the_log_tells_every_change_in_order_and_hides_secrets(void **state) {
    (void)state;
    struct fx f;
    struct hm_buf out = {0}, a = {0}, b = {0};
    fx_new(&f, TYPES, 0);
    struct hm_intent in = fx_intent("pair", "1", "{}");
    in.audience = packed(&a, (const char *const[]){"role:a", NULL});
    struct hm_commit call = fx_call(&f, &in, 1);
    assert_int_equal(fx_run(&f, &call), HM_OK);
    in.audience = packed(&b, (const char *const[]){"role:b", NULL});
    call = fx_call(&f, &in, 1);
    assert_int_equal(fx_run(&f, &call), HM_OK);
    struct hm_intent account = {
        .type = S("account"), .id = S("acc"), .data = S("{}"), .audience = in.audience};
    call = fx_call(&f, &account, 1);
    call.from_core = true;
    assert_int_equal(fx_run(&f, &call), HM_OK);
    fx_put(&f, "pair", "1", NULL);
    fx_put(&f, "pair", "2", "{}");
    fx_put(&f, "pair", "3", "{}");
    struct hm_read *r;
    assert_true(hm_read_begin(f.store, &r, &f.err));
    assert_true(hm_log_read(r, 1, keep_logged, &out, &f.err));
    hm_read_end(r);
    assert_string_equal(out.data, "2 2 pair/1 [\"role:b\"][\"role:a\"]json; 3 1 account/acc [][]json; "
                                  "4 3 pair/1 [\"role:b\"][]; 5 1 pair/2 [][]json; ");
    hm_buf_free(&out);
    hm_buf_free(&a);
    hm_buf_free(&b);
    fx_free(&f);
}

static bool keep_principal(void *arg, struct hm_str p) {
    hm_buf_str(arg, p);
    hm_buf_char(arg, ' ');
    return true;
}

static void memberships_follow_the_records(void **state) {
    (void)state;
    struct fx f;
    struct hm_buf m = {0}, out = {0};
    fx_new(&f, TYPES, 0);
    for (int step = 0; step < 3; step++) {
        const char *const lists[3][4] = {
            {"person:1", "person:2", "person:1", NULL}, {"person:2", "person:12", NULL}, {NULL}};
        struct hm_intent in = fx_intent("pair", "b", "{}"), other = fx_intent("duty", "a", "{}");
        hm_buf_clear(&m);
        in.members = packed(&m, lists[step]);
        struct hm_commit call = fx_call(&f, &in, 1);
        assert_int_equal(fx_run(&f, &call), HM_OK);
        other.members = (struct hm_str){"\x08\0person:2", 10};
        call = fx_call(&f, &other, 1);
        assert_int_equal(fx_run(&f, &call), HM_OK);
        for (int person = 1; person <= 2; person++) {
            struct hm_read *r;
            assert_true(hm_read_begin(f.store, &r, &f.err));
            assert_true(hm_read_memberships(r, S(person == 1 ? "1" : "2"), keep_principal, &out, &f.err));
            hm_buf_text(&out, "; ");
            hm_read_end(r);
        }
        fx_verify(&f);
    }
    assert_string_equal(out.data, "pair:b ; duty:a pair:b ; ; duty:a pair:b ; ; duty:a ; ");
    hm_buf_free(&m);
    hm_buf_free(&out);
    fx_free(&f);
}

static void touched_keys_are_found_whatever_the_sizes_of_calls_and_batches(void **state) {
    (void)state;
    struct hm_touched t;
    char key[16];
    uint64_t seq = 0, when[200] = {0};
    unsigned seed = 5;
    hm_touched_init(&t, 0);
    for (int batch = 0; batch < 120; batch++) {
        uint64_t before = seq;
        int in_batch[200] = {0};
        int calls = 1 + (int)(seed = seed * 1103515245u + 12345u) % 7 + 7;
        for (int c = 0; c < calls; c++, seq++) {
            for (unsigned n = (seed = seed * 1103515245u + 12345u) >> 16 & 7; n; n--) {
                int k = (int)((seed = seed * 1103515245u + 12345u) >> 16) % 200;
                snprintf(key, sizeof key, "k%03d", k);
                hm_touched_add(&t, HM_SPACE_IDX, S(key));
                in_batch[k] = 1;
            }
            hm_touched_end_call(&t);
        }
        bool keep = batch % 3 != 2;
        for (int k = 0; k < 200; k += 3) { // the open batch counts, and only what is in its space and range
            char next[16];
            snprintf(key, sizeof key, "k%03d", k);
            snprintf(next, sizeof next, "k%03d\1", k);
            assert_int_equal(hm_touched_since(&t, before, HM_SPACE_IDX, S(key), S(next)), in_batch[k]);
            assert_false(hm_touched_since(&t, 0, HM_SPACE_REC, S(key), S(next)));
        }
        if (!keep) {
            hm_touched_abort(&t);
            seq = before;
            continue;
        }
        hm_touched_commit(&t, seq);
        for (int k = 0; k < 200; k++)
            if (in_batch[k]) when[k] = seq;
        for (int k = 0; k < 200; k++) {
            uint64_t snapshot = seq - (seq > 40 ? 40 : seq) * (unsigned)(k % 5) / 4;
            // Snapshots lie between batches.
            for (const struct hm_touched_batch *b = t.newest; b; b = b->older)
                if (b->last <= snapshot || !b->older) {
                    snapshot = b->last <= snapshot ? b->last : 0;
                    break;
                }
            snprintf(key, sizeof key, "k%03d", k);
            char next[16];
            snprintf(next, sizeof next, "k%03d\1", k);
            assert_int_equal(hm_touched_since(&t, snapshot, HM_SPACE_IDX, S(key), S(next)),
                             when[k] > snapshot);
        }
    }
    // Past the bound the oldest is forgotten, and that is remembered.
    for (unsigned i = 0; i < HM_TOUCHED_ENTRIES + 10; i++) {
        snprintf(key, sizeof key, "%u", i);
        hm_touched_add(&t, HM_SPACE_MEM, S(key));
        if (i % 1000 == 0) {
            hm_touched_end_call(&t);
            hm_touched_commit(&t, ++seq);
        }
    }
    assert_true(t.entries <= HM_TOUCHED_ENTRIES);
    assert_true(t.floor > 0);
    assert_true(hm_touched_since(&t, 0, HM_SPACE_REC, S("x"), S("y")));
    assert_false(hm_touched_since(&t, seq, HM_SPACE_REC, S("x"), S("y")));
    hm_touched_free(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_is_stored_as_the_envelope_that_is_sent),
        cmocka_unit_test(what_a_worker_sends_is_checked),
        cmocka_unit_test(sixty_four_in_an_audience_and_a_thousand_members_are_the_most),
        cmocka_unit_test(the_expected_version_must_be_there),
        cmocka_unit_test(a_lost_update_is_a_conflict),
        cmocka_unit_test(write_skew_is_a_conflict),
        cmocka_unit_test(a_phantom_in_a_range_is_a_conflict),
        cmocka_unit_test(a_membership_that_came_is_a_conflict_for_who_read_them),
        cmocka_unit_test(deleted_and_made_again_is_a_conflict),
        cmocka_unit_test(what_only_touches_other_records_does_not_conflict),
        cmocka_unit_test(a_refused_call_leaves_nothing_in_its_batch),
        cmocka_unit_test(an_aborted_batch_never_was),
        cmocka_unit_test(a_snapshot_from_before_the_start_counts_as_changed_for_ranges_only),
        cmocka_unit_test(ranges_of_an_index_rebuilt_since_count_as_changed),
        cmocka_unit_test(the_log_tells_every_change_in_order_and_hides_secrets),
        cmocka_unit_test(memberships_follow_the_records),
        cmocka_unit_test(touched_keys_are_found_whatever_the_sizes_of_calls_and_batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
