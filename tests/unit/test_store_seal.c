// Sealed fields and the keyring: what is encrypted, who can open it, and what a destroyed key leaves
// (nothing).
#include "base/buf.h"
#include "store_fixture.h"

#define TYPES                                                                                                \
    "[{\"name\":\"result\",\"about\":\"person\",\"sealed\":[\"answers\",\"note\"],"                          \
    "\"indexes\":[{\"name\":\"by_person\",\"fields\":[\"person\"],\"unique\":true}]}]"

static void read_all(const char *path, struct hm_buf *out) {
    struct hm_error err = {0};
    hm_buf_clear(out);
    if (!hm_read_file(path, (size_t)1 << 30, out, &err)) fail_msg("%s", err.message);
}

static bool file_has(struct fx *f, const char *part, const char *bytes, size_t len) {
    struct hm_buf file = {0};
    char path[160];
    snprintf(path, sizeof path, "%s/%s/data.mdb", f->dir, part);
    read_all(path, &file);
    bool found = memmem(file.data, file.len, bytes, len) != NULL;
    hm_buf_free(&file);
    return found;
}

static enum hm_code unseal(struct fx *f, const char *id, const char *field, struct hm_buf *out) {
    struct hm_read *r;
    struct hm_record rec;
    enum hm_code code = HM_OK;
    hm_buf_clear(out);
    assert_true(hm_read_begin(f->store, &r, &f->err));
    assert_true(hm_read_get(r, S("result"), S(id), &rec, &f->err));
    if (!hm_unseal(f->store, &rec, S(field), out, &f->err)) code = f->err.code;
    hm_read_end(r);
    return code;
}

static void check_data(struct fx *f, const char *id, const char *expected) {
    struct hm_read *r;
    struct hm_record rec;
    assert_true(hm_read_begin(f->store, &r, &f->err));
    assert_true(hm_read_get(r, S("result"), S(id), &rec, &f->err));
    if (!hm_str_eq(rec.data, S(expected))) fail_msg("data is %.*s", (int)rec.data.len, rec.data.ptr);
    hm_read_end(r);
}

static void a_sealed_field_is_nowhere_in_clear_and_opens_again(void **state) {
    (void)state;
    struct fx f;
    struct hm_buf out = {0};
    fx_new(&f, TYPES, 0);
    assert_int_equal(fx_put(&f, "result", "1",
                            "{\"person\":\"p1\",\"answers\":{\"q1\":\"very secret "
                            "words\"},\"note\":\"another secret\",\"n\":1}"),
                     HM_OK);
    check_data(&f, "1",
               "{\"person\":\"p1\",\"answers\":{\"sealed\":true},\"note\":{\"sealed\":true},\"n\":1}");
    assert_int_equal(unseal(&f, "1", "answers", &out), HM_OK);
    assert_string_equal(out.data, "{\"q1\":\"very secret words\"}");
    assert_int_equal(unseal(&f, "1", "note", &out), HM_OK);
    assert_string_equal(out.data, "\"another secret\"");
    assert_int_equal(unseal(&f, "1", "n", &out), HM_NOT_FOUND);
    assert_false(file_has(&f, "data", "very secret", 11));
    assert_false(file_has(&f, "data", "another secret", 14));
    assert_true(file_has(&f, "data", "\"n\":1", 5));
    hm_store_close(f.store); // the keyring lasts
    fx_open(&f, 0);
    assert_int_equal(unseal(&f, "1", "answers", &out), HM_OK);
    fx_verify(&f);
    hm_buf_free(&out);
    fx_free(&f);
}

static void the_mark_keeps_a_sealed_value_and_a_new_value_replaces_it(void **state) {
    (void)state;
    struct fx f;
    struct hm_buf out = {0};
    fx_new(&f, TYPES, 0);
    fx_put(&f, "result", "1", "{\"person\":\"p1\",\"answers\":1,\"note\":\"a\"}");
    assert_int_equal(
        fx_put(&f, "result", "1", "{\"person\":\"p1\",\"answers\":{\"sealed\":true},\"note\":\"b\"}"), HM_OK);
    assert_int_equal(unseal(&f, "1", "answers", &out), HM_OK);
    assert_string_equal(out.data, "1");
    assert_int_equal(unseal(&f, "1", "note", &out), HM_OK);
    assert_string_equal(out.data, "\"b\"");
    // The mark alone, where there is nothing to keep, or where it would change whom it is about.
    assert_int_equal(fx_put(&f, "result", "2", "{\"person\":\"p2\",\"answers\":{\"sealed\":true}}"),
                     HM_PARAMS);
    assert_int_equal(fx_put(&f, "result", "1", "{\"person\":\"p3\",\"answers\":{\"sealed\":true}}"),
                     HM_PARAMS);
    // Left out: gone. Null stays null.
    assert_int_equal(fx_put(&f, "result", "1", "{\"person\":\"p1\",\"answers\":null}"), HM_OK);
    check_data(&f, "1", "{\"person\":\"p1\",\"answers\":null}");
    assert_int_equal(unseal(&f, "1", "note", &out), HM_NOT_FOUND);
    // Nobody it is about.
    assert_int_equal(fx_put(&f, "result", "2", "{\"answers\":1}"), HM_PARAMS);
    assert_int_equal(fx_put(&f, "result", "2", "{\"person\":7,\"answers\":1}"), HM_PARAMS);
    fx_verify(&f);
    hm_buf_free(&out);
    fx_free(&f);
}

static void no_spelling_of_a_field_gets_past_the_seal(void **state) {
    (void)state;
    struct fx f;
    struct hm_buf out = {0};
    fx_new(&f, TYPES, 0);
    assert_int_equal(
        fx_put(
            &f, "result", "1",
            "{ \"person\" : \"p1\", \"\\u0061nswers\":\"hidden-a\" , \"answers\":\"hidden-b\",\"note\":null,"
            "\"note\":\"hidden-c\"}"),
        HM_OK);
    check_data(&f, "1", "{\"person\":\"p1\",\"\\u0061nswers\":{\"sealed\":true},\"note\":null}");
    assert_int_equal(unseal(&f, "1", "answers", &out), HM_OK);
    assert_string_equal(out.data, "\"hidden-a\"");
    assert_false(file_has(&f, "data", "hidden-", 7));
    hm_buf_free(&out);
    fx_free(&f);
}

static void a_ciphertext_does_not_open_elsewhere(void **state) {
    (void)state;
    struct fx f;
    struct hm_buf out = {0};
    struct hm_read *r;
    struct hm_record one, two;
    fx_new(&f, TYPES, 0);
    fx_put(&f, "result", "1", "{\"person\":\"p1\",\"answers\":1,\"note\":\"x\"}");
    fx_put(&f, "result", "2", "{\"person\":\"p2\",\"answers\":2}");
    assert_true(hm_read_begin(f.store, &r, &f.err));
    assert_true(hm_read_get(r, S("result"), S("1"), &one, &f.err));
    assert_true(hm_read_get(r, S("result"), S("2"), &two, &f.err));
    struct hm_record moved = one;
    moved.id = two.id; // another record
    assert_false(hm_unseal(f.store, &moved, S("answers"), &out, &f.err));
    moved = one;
    moved.data = two.data; // another person
    assert_false(hm_unseal(f.store, &moved, S("answers"), &out, &f.err));
    struct hm_str cipher;
    struct hm_buf swapped = {0};
    assert_true(hm_sealed_find(one.sealed, S("note"), &cipher)); // another field
    hm_put_str(&swapped, S("answers"));
    hm_put_str(&swapped, cipher);
    moved = one;
    moved.sealed = hm_buf_view(&swapped);
    assert_false(hm_unseal(f.store, &moved, S("answers"), &out, &f.err));
    assert_int_equal(out.len, 0);
    hm_read_end(r);
    hm_buf_free(&swapped);
    hm_buf_free(&out);
    fx_free(&f);
}

static void a_destroyed_key_opens_nothing_and_is_gone_from_the_file(void **state) {
    (void)state;
    struct fx f;
    struct hm_buf out = {0}, file = {0};
    char path[160], id[32], data[128];
    fx_new(&f, TYPES, 0);
    for (int i = 0; i < 600; i++) { // several pages, split and rewritten many times
        snprintf(id, sizeof id, "r%d", i);
        snprintf(data, sizeof data, "{\"person\":\"person-%03d\",\"answers\":%d}", i * 7 % 600, i);
        assert_int_equal(fx_put(&f, "result", id, data), HM_OK);
    }
    snprintf(path, sizeof path, "%s/keyring/data.mdb", f.dir);
    read_all(path, &file);
    char *at = memmem(file.data, file.len, "pperson-007\1", 12);
    assert_non_null(at);
    char wrapped[72]; // nonce and wrapped key, behind the mark of a key
    memcpy(wrapped, at + 12, sizeof wrapped);
    assert_int_equal(unseal(&f, "r1", "answers", &out), HM_OK);
    assert_true(hm_keyring_destroy(f.store, S("person-007"), &f.err));
    assert_int_equal(unseal(&f, "r1", "answers", &out), HM_UNAVAILABLE);
    for (size_t piece = 0; piece < sizeof wrapped; piece += 8)
        assert_false(file_has(&f, "keyring", wrapped + piece, 8));
    for (int reopened = 0; reopened < 2; reopened++) {
        assert_int_equal(fx_put(&f, "result", "new", "{\"person\":\"person-007\",\"answers\":1}"),
                         HM_UNAVAILABLE);
        assert_int_equal(unseal(&f, "r1", "answers", &out), HM_UNAVAILABLE);
        for (int i = 0; i < 100; i++) { // nothing that LMDB still had in memory comes back with later writes
            snprintf(id, sizeof id, "later%d-%d", reopened, i);
            snprintf(data, sizeof data, "{\"person\":\"later-%d-%d\",\"answers\":%d}", reopened, i, i);
            assert_int_equal(fx_put(&f, "result", id, data), HM_OK);
        }
        for (size_t piece = 0; piece < sizeof wrapped; piece += 8)
            assert_false(file_has(&f, "keyring", wrapped + piece, 8));
        for (int i = 0; i < 600; i++) {
            if (i == 1) continue;
            snprintf(id, sizeof id, "r%d", i);
            assert_int_equal(unseal(&f, id, "answers", &out), HM_OK);
            assert_int_equal(atoi(out.data), i);
        }
        hm_store_close(f.store);
        fx_open(&f, 0);
    }
    // Destroying again, or somebody who never had a key, is fine, and lasts.
    assert_true(hm_keyring_destroy(f.store, S("person-007"), &f.err));
    assert_true(hm_keyring_destroy(f.store, S("nobody"), &f.err));
    assert_int_equal(fx_put(&f, "result", "new", "{\"person\":\"nobody\",\"answers\":1}"), HM_UNAVAILABLE);
    for (size_t piece = 0; piece < sizeof wrapped; piece += 8)
        assert_false(file_has(&f, "keyring", wrapped + piece, 8));
    fx_verify(&f);
    hm_buf_free(&out);
    hm_buf_free(&file);
    fx_free(&f);
}

static void a_key_destroyed_while_its_first_batch_is_open_stays_destroyed(void **state) {
    (void)state;
    struct fx f;
    struct hm_write *w;
    struct hm_buf out = {0};
    fx_new(&f, TYPES, 0);
    struct hm_intent in = fx_intent("result", "1", "{\"person\":\"p1\",\"answers\":1}");
    struct hm_commit call = fx_call(&f, &in, 1);
    assert_true(hm_write_begin(f.store, &w, &f.err));
    assert_true(hm_write_apply(w, &call, &f.err));
    assert_int_equal(call.code, HM_OK);
    assert_true(hm_keyring_destroy(f.store, S("p1"), &f.err));
    assert_true(hm_write_commit(w, NULL, NULL, &f.err));
    assert_int_equal(unseal(&f, "1", "answers", &out), HM_UNAVAILABLE);
    hm_buf_free(&out);
    fx_free(&f);
}

static void another_key_file_or_keyring_is_refused(void **state) {
    (void)state;
    struct fx f;
    char command[400];
    uint8_t other[32] = {1};
    struct hm_store *store = NULL;
    fx_new(&f, TYPES, 0);
    hm_store_close(f.store);
    struct hm_store_options o = {.master_key = other};
    assert_false(hm_store_open(f.dir, &o, &store, &f.err));
    assert_int_equal(f.err.code, HM_UNAVAILABLE);
    assert_non_null(strstr(f.err.message, "key file"));
    o.master_key = f.key;
    snprintf(command, sizeof command, "mv '%s/keyring' '%s/away'", f.dir, f.dir);
    assert_int_equal(system(command), 0);
    assert_false(hm_store_open(f.dir, &o, &store, &f.err));
    assert_non_null(strstr(f.err.message, "restore the keyring"));
    snprintf(command, sizeof command, "rm -r '%s/keyring' && mv '%s/away' '%s/keyring'", f.dir, f.dir, f.dir);
    assert_int_equal(system(command), 0);
    fx_open(&f, 0);
    fx_free(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sealed_field_is_nowhere_in_clear_and_opens_again),
        cmocka_unit_test(the_mark_keeps_a_sealed_value_and_a_new_value_replaces_it),
        cmocka_unit_test(no_spelling_of_a_field_gets_past_the_seal),
        cmocka_unit_test(a_ciphertext_does_not_open_elsewhere),
        cmocka_unit_test(a_destroyed_key_opens_nothing_and_is_gone_from_the_file),
        cmocka_unit_test(a_key_destroyed_while_its_first_batch_is_open_stays_destroyed),
        cmocka_unit_test(another_key_file_or_keyring_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
