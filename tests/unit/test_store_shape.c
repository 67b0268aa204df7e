// Records that change their shape while they are written: indexes and new forms beside the serving, put in
// force at once, settled in steps; cut short by kill -9 at every step.
#include "store/shape.h"
#include "store_fixture.h"
#include <signal.h>
#include <sys/wait.h>

#define OLD                                                                                                  \
    "[{\"name\":\"pair\",\"schema\":{\"a\":1},\"indexes\":[{\"name\":\"by_old\",\"fields\":[\"old\"]}]},"    \
    "{\"name\":\"other\",\"indexes\":[]}]"
// Only an index comes, one goes, and one is declared otherwise under the same name.
#define INDEXED                                                                                              \
    "[{\"name\":\"pair\",\"schema\":{\"a\":1},\"indexes\":[{\"name\":\"by_old\",\"fields\":[\"old\",\"n\"]}" \
    ","                                                                                                      \
    "{\"name\":\"by_n\",\"fields\":[\"n\"]}]},{\"name\":\"other\",\"indexes\":[]}]"
#define TURNED                                                                                               \
    "[{\"name\":\"pair\",\"version\":2,\"schema\":{\"b\":1},\"indexes\":[{\"name\":\"by_new\",\"fields\":["  \
    "\"new\"]}]},{\"name\":\"other\",\"indexes\":[]}]"
#define UNIQUE                                                                                               \
    "[{\"name\":\"pair\",\"schema\":{\"a\":1},\"indexes\":[{\"name\":\"by_old\",\"fields\":[\"old\"],"       \
    "\"unique\":true}]},{\"name\":\"other\",\"indexes\":[]}]"

static uint64_t seed;
static unsigned dice(unsigned sides) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed % sides);
}

static struct hm_types *parse(const char *json) {
    struct hm_types *types = NULL;
    struct hm_error err = {0};
    if (!hm_types_parse(S(json), &types, &err)) fail_msg("types: %s", err.message);
    return types;
}

static void begin(struct fx *f, const char *json, const char *turned) {
    struct hm_types *types = parse(json);
    struct hm_buf names = {0}, todo = {0};
    if (turned) hm_packed_add(&names, S(turned));
    if (!hm_shape_begin(f->store, types, hm_buf_view(&names), &todo, &f->err))
        fail_msg("begin: %s", f->err.message);
    hm_buf_free(&todo);
    hm_buf_free(&names);
    hm_types_unref(types);
}

// With a call that writes a record of its own, if one is given.
static bool force(struct fx *f, const char *json, const char *id) {
    struct hm_types *types = parse(json);
    struct hm_write *w = NULL;
    struct hm_intent in = fx_intent("other", id ? id : "x", "{}");
    struct hm_commit call = fx_call(f, &in, 1);
    call.turn = hm_store_turn(f->store);
    f->err = (struct hm_error){0};
    assert_true(hm_write_begin(f->store, &w, &f->err));
    if (id) assert_true(hm_write_apply(w, &call, &f->err));
    bool ok = hm_write_force(w, types, &f->err);
    if (ok)
        ok = hm_write_commit(w, NULL, NULL, &f->err);
    else
        hm_write_abort(w);
    hm_types_unref(types);
    return ok;
}

static enum hm_code write_as(struct fx *f, uint64_t turn, const char *id, const char *data) {
    struct hm_intent in = fx_intent("pair", id, data);
    struct hm_commit call = fx_call(f, &in, 1);
    call.turn = turn;
    enum hm_code code = fx_run(f, &call);
    f->err = call.error;
    return code;
}

// What a worker does: every record of the old form gets `new` instead of `old`. Made on a snapshot of now.
struct made {
    struct hm_shape_item items[64];
    struct hm_buf texts[64];
    char ids[64][HM_ID_MAX + 1];
    size_t count;
};
static void upgrade(struct made *m, const struct hm_record *r) {
    struct hm_json data = {HM_JSON_OBJECT, r->data}, old, n;
    if (!hm_json_get(data, "old", &old)) return; // fits as it is
    struct hm_buf *text = &m->texts[m->count];
    hm_buf_printf(text, "{\"new\":%.*s", (int)old.raw.len, old.raw.ptr);
    if (hm_json_get(data, "n", &n)) hm_buf_printf(text, ",\"n\":%.*s", (int)n.raw.len, n.raw.ptr);
    hm_buf_char(text, '}');
    snprintf(m->ids[m->count], sizeof m->ids[0], "%.*s", (int)r->id.len, r->id.ptr);
    m->items[m->count] = (struct hm_shape_item){S(m->ids[m->count]), hm_buf_view(text)};
    m->count++;
}
static void made_free(struct made *m) {
    for (size_t i = 0; i < m->count; i++)
        hm_buf_free(&m->texts[i]);
}

// Looks at up to `most` records behind `after`; meanwhile() runs between the look and the step. False at the
// end.
static bool look_and_put(struct fx *f, char after[HM_ID_MAX + 1], unsigned most,
                         void (*meanwhile)(struct fx *f)) {
    struct made m = {0};
    struct hm_range range;
    struct hm_read *r = NULL;
    struct hm_scan *s = NULL;
    struct hm_record rec;
    struct hm_buf key = {0};
    char upto[HM_ID_MAX + 1] = "";
    unsigned looked = 0;
    bool more = false;
    fx_range(f, "pair", NULL, NULL, NULL, NULL, &range);
    assert_true(hm_read_begin(f->store, &r, &f->err));
    if (after[0]) hm_record_key(S("pair"), S(after), &key);
    assert_true(hm_scan_begin(r, &range, false, hm_buf_view(&key), &s, &f->err));
    while (!more && hm_scan_next(s, &rec)) {
        upgrade(&m, &rec);
        snprintf(upto, sizeof upto, "%.*s", (int)rec.id.len, rec.id.ptr);
        more = ++looked == most;
    }
    struct hm_shape_step step = {.type = S("pair"),
                                 .snapshot = hm_read_seq(r),
                                 .after = S(after),
                                 .upto = more ? S(upto) : S(""),
                                 .items = m.items,
                                 .count = m.count};
    hm_scan_end(s);
    hm_read_end(r);
    if (meanwhile) meanwhile(f);
    if (!hm_shape_put(f->store, &step, &f->err)) fail_msg("put: %s", f->err.message);
    memcpy(after, upto, sizeof upto);
    hm_buf_free(&key);
    hm_range_free(&range);
    made_free(&m);
    return more;
}

// What was written since is looked at again; false when there was nothing.
static bool look_again(struct fx *f, void (*meanwhile)(struct fx *f)) {
    struct hm_buf stale = {0}, ids = {0};
    struct hm_str rest, type, id;
    struct made m = {0};
    struct hm_read *r = NULL;
    struct hm_record rec;
    assert_true(hm_shape_stale(f->store, 32, &stale, &f->err));
    assert_true(hm_read_begin(f->store, &r, &f->err));
    rest = hm_buf_view(&stale);
    while (hm_packed_next(&rest, &type) && hm_packed_next(&rest, &id)) {
        assert_true(hm_str_eq(type, S("pair")));
        hm_packed_add(&ids, id);
        if (hm_read_get(r, type, id, &rec, NULL)) upgrade(&m, &rec);
    }
    struct hm_shape_step step = {.type = S("pair"),
                                 .snapshot = hm_read_seq(r),
                                 .listed = true,
                                 .ids = hm_buf_view(&ids),
                                 .items = m.items,
                                 .count = m.count};
    hm_read_end(r);
    bool any = ids.len > 0;
    if (any && meanwhile) meanwhile(f);
    if (any && !hm_shape_put(f->store, &step, &f->err)) fail_msg("put: %s", f->err.message);
    made_free(&m);
    hm_buf_free(&stale);
    hm_buf_free(&ids);
    return any;
}

static void settle(struct fx *f, size_t most) {
    struct hm_write *w = NULL;
    assert_true(hm_write_begin(f->store, &w, &f->err));
    if (!hm_write_settle(w, most, 1800000000000, &f->err)) fail_msg("settle: %s", f->err.message);
    if (!hm_write_commit(w, NULL, NULL, &f->err)) fail_msg("settle: %s", f->err.message);
}

static void finish(struct fx *f) {
    for (int i = 0; i < 1000 && hm_shape_rest(f->store).settle; i++) {
        settle(f, 7);
        fx_verify(f);
    }
    for (int i = 0; i < 1000 && hm_shape_rest(f->store).tidy; i++) {
        assert_true(hm_shape_tidy(f->store, 5, &f->err));
        fx_verify(f);
    }
    assert_false(hm_shape_rest(f->store).settle || hm_shape_rest(f->store).tidy);
}

static size_t entries(struct fx *f, MDB_dbi dbi) {
    struct hm_read *r = NULL;
    MDB_stat stat;
    assert_true(hm_read_begin(f->store, &r, &f->err));
    assert_int_equal(mdb_stat(r->txn, dbi, &stat), 0);
    hm_read_end(r);
    return stat.ms_entries;
}

// The data of every record, in the order of ids.
static char *all_data(struct fx *f) {
    struct hm_range range;
    struct hm_read *r = NULL;
    struct hm_scan *s = NULL;
    struct hm_record rec;
    struct hm_buf out = {0};
    fx_range(f, "pair", NULL, NULL, NULL, NULL, &range);
    assert_true(hm_read_begin(f->store, &r, &f->err));
    assert_true(hm_scan_begin(r, &range, false, (struct hm_str){0}, &s, &f->err));
    hm_buf_char(&out, ' ');
    while (hm_scan_next(s, &rec))
        hm_buf_printf(&out, "%.*s%.*s ", (int)rec.id.len, rec.id.ptr, (int)rec.data.len, rec.data.ptr);
    hm_scan_end(s);
    hm_read_end(r);
    hm_range_free(&range);
    return out.data;
}

// ---- a model: what the records must be
// ---------------------------------------------------------------------------------

#define RECORDS 24
static int model[RECORDS]; // value, -1: there is none
static uint64_t as_turn;
static const char *as_field = "old";

static void model_write(struct fx *f) {
    unsigned i = dice(RECORDS);
    char id[8], data[64];
    snprintf(id, sizeof id, "r%02u", i);
    bool remove = model[i] >= 0 && dice(4) == 0;
    int value = (int)dice(9);
    snprintf(data, sizeof data, "{\"%s\":%d,\"n\":%u}", as_field, value, i);
    if (write_as(f, as_turn, id, remove ? NULL : data) != HM_OK) fail_msg("write: %s", f->err.message);
    model[i] = remove ? -1 : value;
}

static void model_writes(struct fx *f) {
    for (unsigned n = dice(4); n; n--)
        model_write(f);
}

static void model_new(struct fx *f) {
    as_turn = hm_store_turn(f->store);
    as_field = "old";
    for (int i = 0; i < RECORDS; i++)
        model[i] = -1;
    for (int i = 0; i < 40; i++)
        model_write(f);
}

static void check_data(struct fx *f, const char *field) {
    struct hm_buf want = {0};
    hm_buf_char(&want, ' ');
    for (int i = 0; i < RECORDS; i++)
        if (model[i] >= 0) hm_buf_printf(&want, "r%02d{\"%s\":%d,\"n\":%d} ", i, field, model[i], i);
    char *have = all_data(f);
    assert_string_equal(have, want.data);
    free(have);
    hm_buf_free(&want);
}

static void check_index(struct fx *f, const char *index) {
    struct hm_buf want = {0};
    hm_buf_text(&want, "");
    hm_buf_reserve(&want, 1);
    want.data[0] = 0;
    for (int v = 0; v < 9; v++)
        for (int i = 0; i < RECORDS; i++)
            if (model[i] == v) hm_buf_printf(&want, "r%02d ", i);
    assert_string_equal(fx_scan(f, "pair", index, "[]", NULL, NULL, false), want.data);
    hm_buf_free(&want);
}

// ---- tests
// --------------------------------------------------------------------------------------------------------------

static void an_index_is_built_in_steps_while_records_are_written(void **state) {
    (void)state;
    for (int round = 0; round < 4; round++) {
        struct fx f;
        char after[HM_ID_MAX + 1] = "";
        bool more = true;
        fx_new(&f, OLD, 0);
        model_new(&f);
        begin(&f, INDEXED, NULL);
        while (more) {
            unsigned count = 1 + dice(5);
            if (!hm_shape_build(f.store, S("pair"), after, &count, &more, &f.err))
                fail_msg("%s", f.err.message);
            model_writes(&f);
            fx_verify(&f);
            check_index(&f, "by_old"); // what is in force is right all the time
            check_data(&f, "old");
        }
        model_writes(&f);
        if (!force(&f, INDEXED, NULL)) fail_msg("force: %s", f.err.message);
        as_turn = hm_store_turn(f.store);
        fx_verify(&f);
        check_index(&f, "by_old");
        model_writes(&f);
        finish(&f);
        check_index(&f, "by_old");
        check_data(&f, "old");
        int n = 0;
        for (int i = 0; i < RECORDS; i++)
            n += model[i] >= 0;
        assert_int_equal(entries(&f, f.store->idx), n * 2); // nothing of the former index is left
        fx_free(&f);
    }
}

static void records_turn_all_at_once_and_are_settled_in_steps(void **state) {
    (void)state;
    for (int round = 0; round < 4; round++) {
        struct fx f;
        char after[HM_ID_MAX + 1] = "";
        struct hm_read *before = NULL;
        struct hm_record rec;
        fx_new(&f, OLD, 0);
        model_new(&f);
        write_as(&f, as_turn, "r00", "{\"old\":3,\"n\":0}");
        model[0] = 3;
        begin(&f, TURNED, "pair");
        while (look_and_put(&f, after, 1 + dice(5), model_writes)) {
            model_writes(&f);
            fx_verify(&f);
            check_index(&f, "by_old");
            check_data(&f, "old");
        }
        for (int again = 0; look_again(&f, again < 5 ? model_writes : NULL); again++)
            fx_verify(&f);
        if (model[0] < 0) {
            write_as(&f, as_turn, "r00", "{\"old\":3,\"n\":0}");
            model[0] = 3;
            look_again(&f, NULL);
        }
        assert_true(hm_read_begin(f.store, &before, &f.err));
        if (!force(&f, TURNED, "deploy")) fail_msg("force: %s", f.err.message);
        // A snapshot from before shows the old form, from now on the new one is there, of all.
        assert_true(hm_read_get(before, S("pair"), S("r00"), &rec, &f.err));
        assert_non_null(memmem(rec.data.ptr, rec.data.len, "\"old\"", 5));
        hm_read_end(before);
        check_data(&f, "new");
        check_index(&f, "by_new");
        fx_verify(&f);
        as_turn = hm_store_turn(f.store);
        as_field = "new";
        while (hm_shape_rest(f.store).settle) {
            model_writes(&f);
            settle(&f, 1 + dice(5));
            fx_verify(&f);
            check_data(&f, "new");
            check_index(&f, "by_new");
        }
        finish(&f);
        check_data(&f, "new");
        assert_int_equal(entries(&f, f.store->next), 0);
        fx_free(&f);
    }
}

static void a_record_written_since_it_was_looked_at_keeps_the_types_from_coming_into_force(void **state) {
    (void)state;
    struct fx f;
    char after[HM_ID_MAX + 1] = "";
    fx_new(&f, OLD, 0);
    fx_put(&f, "pair", "a", "{\"old\":1}");
    begin(&f, TURNED, "pair");
    assert_false(look_and_put(&f, after, 10, NULL));
    fx_put(&f, "pair", "a", "{\"old\":2}");
    assert_false(force(&f, TURNED, NULL));
    assert_int_equal(f.err.code, HM_CONFLICT);
    assert_true(look_again(&f, NULL));
    assert_true(force(&f, TURNED, NULL));
    char *data = all_data(&f);
    assert_string_equal(data, " a{\"new\":2} ");
    free(data);
    fx_free(&f);
}

static void a_call_that_ran_under_the_types_of_before_runs_again(void **state) {
    (void)state;
    struct fx f;
    char after[HM_ID_MAX + 1] = "";
    fx_new(&f, OLD, 0);
    fx_put(&f, "pair", "a", "{\"old\":1}");
    begin(&f, TURNED, "pair");
    look_and_put(&f, after, 10, NULL);
    assert_true(force(&f, TURNED, NULL));
    assert_int_equal(write_as(&f, 0, "a", "{\"old\":5}"), HM_CONFLICT);
    assert_int_equal(write_as(&f, 0, "b", "{\"old\":5}"), HM_CONFLICT);
    assert_int_equal(write_as(&f, hm_store_turn(f.store), "b", "{\"new\":5}"), HM_OK);
    char *data = all_data(&f);
    assert_string_equal(data, " a{\"new\":1} b{\"new\":5} ");
    free(data);
    fx_free(&f);
}

static void a_unique_index_that_records_break_is_refused_and_names_two(void **state) {
    (void)state;
    struct fx f;
    char after[HM_ID_MAX + 1] = "";
    unsigned count = 10;
    bool more = true;
    fx_new(&f, OLD, 0);
    fx_put(&f, "pair", "anna", "{\"old\":1}");
    fx_put(&f, "pair", "olim", "{\"old\":1}");
    fx_put(&f, "pair", "null", "{}");
    fx_put(&f, "pair", "null2", "{}");
    begin(&f, UNIQUE, NULL);
    assert_false(hm_shape_build(f.store, S("pair"), after, &count, &more, &f.err));
    assert_int_equal(f.err.code, HM_CONFLICT);
    assert_non_null(strstr(f.err.message, "anna"));
    assert_non_null(strstr(f.err.message, "olim"));
    assert_true(hm_shape_drop(f.store, &f.err));
    finish(&f);
    assert_string_equal(fx_scan(&f, "pair", "by_old", "[1]", NULL, NULL, false), "anna olim ");
    fx_verify(&f);
    // Without them it is built, and values may change hands within a call meanwhile; but what is written then
    // and breaks it is found.
    fx_put(&f, "pair", "olim", "{\"old\":2}");
    begin(&f, UNIQUE, NULL);
    assert_true(hm_shape_build(f.store, S("pair"), after, &count, &more, &f.err));
    assert_false(more);
    struct hm_intent swap[] = {fx_intent("pair", "anna", "{\"old\":2}"),
                               fx_intent("pair", "olim", "{\"old\":1}")};
    struct hm_commit call = fx_call(&f, swap, 2);
    assert_int_equal(fx_run(&f, &call), HM_OK);
    assert_int_equal(fx_put(&f, "pair", "wali", "{\"old\":2}"), HM_OK);
    assert_false(force(&f, UNIQUE, NULL));
    assert_non_null(strstr(f.err.message, "anna"));
    assert_non_null(strstr(f.err.message, "wali"));
    assert_true(hm_shape_drop(f.store, &f.err));
    finish(&f);
    fx_put(&f, "pair", "wali", NULL);
    begin(&f, UNIQUE, NULL);
    after[0] = 0;
    count = 10;
    assert_true(hm_shape_build(f.store, S("pair"), after, &count, &more, &f.err));
    assert_int_equal(fx_run(&f, &call), HM_OK);
    swap[0] = fx_intent("pair", "anna", "{\"old\":1}");
    swap[1] = fx_intent("pair", "olim", "{\"old\":2}");
    call = fx_call(&f, swap, 2);
    assert_int_equal(fx_run(&f, &call), HM_OK);
    if (!force(&f, UNIQUE, NULL)) fail_msg("force: %s", f.err.message);
    struct hm_intent taken = fx_intent("pair", "x", "{\"old\":2}");
    call = fx_call(&f, &taken, 1);
    call.turn = hm_store_turn(f.store);
    assert_int_equal(fx_run(&f, &call), HM_CONFLICT);
    assert_true(call.duplicate);
    finish(&f);
    fx_free(&f);
}

// All of a change, one durable step after the other; *left counts down, and at 0 the process is killed.
static void stepping(int *left) {
    if (*left >= 0 && (*left)-- == 0) kill(getpid(), SIGKILL);
}
static void whole_change(struct fx *f, int *left) {
    char after[HM_ID_MAX + 1] = "";
    while (hm_shape_rest(f->store).settle || hm_shape_rest(f->store).tidy) {
        if (hm_shape_rest(f->store).settle)
            settle(f, 5);
        else
            assert_true(hm_shape_tidy(f->store, 5, &f->err));
        stepping(left);
    }
    struct hm_types *types = hm_store_types(f->store), *wanted = parse(TURNED);
    bool done = hm_str_eq(hm_types_json(types), hm_types_json(wanted));
    hm_types_unref(types);
    hm_types_unref(wanted);
    if (!done) {
        begin(f, TURNED, "pair");
        stepping(left);
        while (look_and_put(f, after, 5, NULL))
            stepping(left);
        stepping(left);
        write_as(f, hm_store_turn(f->store), "r03", "{\"old\":7,\"n\":3}");
        stepping(left);
        while (look_again(f, NULL))
            stepping(left);
        if (!force(f, TURNED, "deploy")) fail_msg("force: %s", f->err.message);
        stepping(left);
        whole_change(f, left);
    }
}

static void a_server_killed_at_any_step_goes_on_with_one_form_or_the_other(void **state) {
    (void)state;
    bool killed = true;
    int forms[2] = {0};
    for (int at = 0; killed; at++) {
        struct fx f;
        int status = 0, never = -1;
        fx_new(&f, OLD, 0);
        model_new(&f);
        hm_store_close(f.store);
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            fx_open(&f, 0);
            whole_change(&f, &at);
            _exit(0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        killed = WIFSIGNALED(status);
        if (!killed) assert_int_equal(WEXITSTATUS(status), 0);
        fx_open(&f, 0);
        fx_verify(&f);
        char *data = all_data(&f);
        bool old = strstr(data, "\"old\""), new = strstr(data, "\"new\"");
        if (old == new) fail_msg("killed at step %d: %s", at, data); // a mixture, or nothing
        forms[new]++;
        free(data);
        // What was prepared is dropped, what was in force is ended; then once more, to the end.
        // The records go on changing meanwhile, so that nothing that was left of it may be taken for good.
        as_turn = hm_store_turn(f.store);
        as_field = old ? "old" : "new";
        write_as(&f, as_turn, "r03", old ? "{\"old\":1,\"n\":3}" : "{\"new\":1,\"n\":3}");
        model[3] = 1;
        for (int i = 0; i < 20; i++)
            model_write(&f);
        if (old) assert_int_equal(fx_version(&f, "other", "deploy"), 0);
        if (new) assert_int_not_equal(fx_version(&f, "other", "deploy"), 0);
        whole_change(&f, &never);
        if (old) model[3] = 7; // written by whole_change
        check_data(&f, "new");
        check_index(&f, "by_new");
        assert_int_equal(entries(&f, f.store->next), 0);
        fx_verify(&f);
        fx_free(&f);
    }
    assert_true(forms[0] > 5 && forms[1] > 5);
}

#define CLEAR "[{\"name\":\"note\",\"about\":\"who\",\"sealed\":[\"s\"],\"indexes\":[]}]"
#define SEALED "[{\"name\":\"note\",\"version\":2,\"about\":\"who\",\"sealed\":[\"s\",\"t\"],\"indexes\":[]}]"
#define OPENED "[{\"name\":\"note\",\"version\":3,\"about\":\"who\",\"sealed\":[\"t\"],\"indexes\":[]}]"

static void a_field_that_becomes_sealed_is_sealed_in_what_is_there(void **state) {
    (void)state;
    struct fx f;
    struct hm_read *r = NULL;
    struct hm_record rec;
    struct hm_buf value = {0};
    struct hm_shape_step step = {.type = S("note"), .snapshot = UINT64_MAX};
    fx_new(&f, CLEAR, 0);
    fx_put(&f, "note", "a", "{\"who\":\"p7\",\"s\":\"first\",\"t\":\"in clear\"}");
    begin(&f, SEALED, "note");
    // Nobody says that the record changes: it is sealed all the same.
    if (!hm_shape_put(f.store, &step, &f.err)) fail_msg("%s", f.err.message);
    if (!force(&f, SEALED, NULL)) fail_msg("%s", f.err.message);
    for (int i = 0; i < 2; i++) { // before and after it is settled
        assert_true(hm_read_begin(f.store, &r, &f.err));
        assert_true(hm_read_get(r, S("note"), S("a"), &rec, &f.err));
        assert_null(memmem(rec.json.ptr, rec.json.len, "in clear", 8));
        assert_true(hm_unseal(f.store, &rec, S("t"), &value, &f.err));
        assert_true(hm_unseal(f.store, &rec, S("s"), &value, &f.err));
        assert_string_equal(value.data, "\"in clear\"\"first\"");
        hm_buf_clear(&value);
        hm_read_end(r);
        finish(&f);
    }
    // To open what is sealed is refused; to drop it is not.
    begin(&f, OPENED, "note");
    assert_true(hm_shape_put(f.store, &step, &f.err) || f.err.code); // as it is: its mark stays
    struct hm_shape_item kept = {S("a"),
                                 S("{\"who\":\"p7\",\"s\":{\"sealed\":true},\"t\":{\"sealed\":true}}")};
    step.items = &kept;
    step.count = 1;
    assert_false(hm_shape_put(f.store, &step, &f.err));
    assert_non_null(strstr(f.err.message, "can only be dropped"));
    struct hm_shape_item dropped = {S("a"), S("{\"who\":\"p7\",\"t\":{\"sealed\":true}}")};
    step.items = &dropped;
    assert_true(hm_shape_put(f.store, &step, &f.err));
    if (!force(&f, OPENED, NULL)) fail_msg("%s", f.err.message);
    finish(&f);
    assert_true(hm_read_begin(f.store, &r, &f.err));
    assert_true(hm_read_get(r, S("note"), S("a"), &rec, &f.err));
    assert_false(hm_unseal(f.store, &rec, S("s"), &value, NULL));
    assert_true(hm_unseal(f.store, &rec, S("t"), &value, &f.err));
    hm_read_end(r);
    hm_buf_free(&value);
    fx_verify(&f);
    fx_free(&f);
}

// The folder `data` of a copy, laid anew from the log up to seq.
static void replayed(struct fx *f, uint64_t seq, struct fx *out) {
    char command[512], from[128];
    memset(out, 0, sizeof *out);
    snprintf(out->root, sizeof out->root, "/tmp/hamroh-store-XXXXXX");
    assert_non_null(mkdtemp(out->root));
    snprintf(out->dir, sizeof out->dir, "%s/school", out->root);
    memcpy(out->key, f->key, sizeof out->key);
    snprintf(from, sizeof from, "%s/data", f->dir);
    snprintf(command, sizeof command, "mkdir -p '%s' && cp -r '%s/keyring' '%s/keyring'", out->dir, f->dir,
             out->dir);
    assert_int_equal(system(command), 0);
    char *to = hm_path(out->dir, "data");
    if (!hm_replay(from, to, seq, &f->err)) fail_msg("replay: %s", f->err.message);
    free(to);
    fx_open(out, 0);
}

static void the_log_rebuilds_what_was_upgraded(void **state) {
    (void)state;
    struct fx f, g;
    char after[HM_ID_MAX + 1] = "";
    struct hm_read *r = NULL;
    struct hm_record rec;
    fx_new(&f, OLD, 0);
    fx_put(&f, "pair", "a", "{\"old\":1}");
    fx_put(&f, "pair", "b", "{\"old\":2}");
    begin(&f, TURNED, "pair");
    look_and_put(&f, after, 10, NULL);
    assert_true(force(&f, TURNED, "deploy"));
    settle(&f, 1);
    uint64_t middle = fx_seq(&f);
    finish(&f);
    // Who wrote it and when stays as it was.
    assert_true(hm_read_begin(f.store, &r, &f.err));
    assert_true(hm_read_get(r, S("pair"), S("b"), &rec, &f.err));
    assert_true(hm_str_eq(rec.by, S("p1")));
    assert_int_equal(rec.updated_ms, 1700000000000);
    assert_int_equal(rec.form, 2);
    assert_true(rec.version > middle);
    hm_read_end(r);
    uint64_t last = fx_seq(&f);
    hm_store_close(f.store);
    replayed(&f, last, &g);
    fx_verify(&g);
    char *data = all_data(&g);
    assert_string_equal(data, " a{\"new\":1} b{\"new\":2} ");
    free(data);
    assert_true(hm_read_begin(g.store, &r, &g.err));
    assert_true(hm_read_get(r, S("pair"), S("b"), &rec, &g.err));
    assert_int_equal(rec.updated_ms, 1700000000000);
    hm_read_end(r);
    fx_free(&g);
    // Of the middle: one record in each form, each says which; no types are in force, so that all is looked
    // at.
    replayed(&f, middle, &g);
    fx_verify(&g);
    struct hm_types *types = hm_store_types(g.store);
    assert_null(hm_types_find(types, S("pair")));
    hm_types_unref(types);
    assert_true(hm_read_begin(g.store, &r, &g.err));
    assert_true(hm_read_get(r, S("pair"), S("a"), &rec, &g.err));
    assert_int_equal(rec.form, 2);
    assert_true(hm_read_get(r, S("pair"), S("b"), &rec, &g.err));
    assert_int_equal(rec.form, 1);
    hm_read_end(r);
    fx_free(&g);
    fx_open(&f, 0);
    fx_free(&f);
}

int main(void) {
    const char *given = getenv("HAMROH_SEED");
    seed = given ? strtoull(given, NULL, 10) : (uint64_t)getpid() * 7919 + 13;
    print_message("HAMROH_SEED=%llu repeats this\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_index_is_built_in_steps_while_records_are_written),
        cmocka_unit_test(records_turn_all_at_once_and_are_settled_in_steps),
        cmocka_unit_test(a_record_written_since_it_was_looked_at_keeps_the_types_from_coming_into_force),
        cmocka_unit_test(a_call_that_ran_under_the_types_of_before_runs_again),
        cmocka_unit_test(a_unique_index_that_records_break_is_refused_and_names_two),
        cmocka_unit_test(a_server_killed_at_any_step_goes_on_with_one_form_or_the_other),
        cmocka_unit_test(a_field_that_becomes_sealed_is_sealed_in_what_is_there),
        cmocka_unit_test(the_log_rebuilds_what_was_upgraded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
