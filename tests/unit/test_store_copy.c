// Verifying, backing up, restoring.
#include "store_fixture.h"
#include <fcntl.h>
#include <sys/stat.h>

#define TYPES                                                                                                \
    "[{\"name\":\"note\",\"about\":\"person\",\"sealed\":[\"secret\"],\"indexes\":[{\"name\":\"by_n\","      \
    "\"fields\":[\"n\"]},"                                                                                   \
    "{\"name\":\"tags\",\"fields\":[\"tags\"],\"multi\":true}]}]"

static void fill(struct fx *f, int count) {
    char id[16], data[200];
    for (int i = 0; i < count; i++) {
        snprintf(id, sizeof id, "n%d", i);
        snprintf(
            data, sizeof data,
            "{\"n\":%d,\"tags\":[\"a\",\"t%d\"],\"person\":\"p%d\",\"secret\":\"s%d\",\"text\":\"text-%d\"}",
            i % 7, i, i % 5, i, i);
        struct hm_intent in = fx_intent("note", id, data);
        in.members = (struct hm_str){"\x08\0person:1", 10};
        struct hm_commit call = fx_call(f, &in, 1);
        assert_int_equal(fx_run(f, &call), HM_OK);
        if (i % 9 == 0) assert_int_equal(fx_put(f, "note", id, NULL), HM_OK);
    }
}

// Turns one bit in every place of the data file where the bytes stand, from the given place of them on.
static void flip(struct fx *f, const char *bytes, size_t offset) {
    char path[160];
    struct hm_buf file = {0};
    int count = 0;
    snprintf(path, sizeof path, "%s/data/data.mdb", f->dir);
    assert_true(hm_read_file(path, (size_t)1 << 30, &file, &f->err));
    int fd = open(path, O_WRONLY);
    for (char *at = file.data; (at = memmem(at, (size_t)(file.data + file.len - at), bytes, strlen(bytes)));
         at++, count++) {
        char wrong = (char)(at[offset] ^ 1);
        assert_int_equal(pwrite(fd, &wrong, 1, at - file.data + (off_t)offset), 1);
    }
    assert_true(count > 0);
    close(fd);
    hm_buf_free(&file);
}

static void verify_fails(struct fx *f, const char *because) {
    uint64_t checked = 0;
    assert_false(hm_store_verify(f->store, &checked, &f->err));
    if (!strstr(f->err.message, because)) fail_msg("\"%s\" does not say \"%s\"", f->err.message, because);
}

static void one_flipped_bit_is_found(void **state) {
    (void)state;
    struct fx f;
    fx_new(&f, TYPES, 0);
    fill(&f, 30);
    fx_verify(&f);
    hm_store_close(f.store);
    flip(&f, "text-17", 3); // in the record and in the log alike
    fx_open(&f, 0);
    verify_fails(&f, "hash");
    assert_non_null(strstr(f.err.message, "change 20")); // 17 records and two deletions before it
    fx_free(&f);
}

// Changes the database behind the store's back.
static void tamper(struct fx *f, MDB_dbi dbi, struct hm_str key, const struct hm_str *value) {
    MDB_txn *txn;
    MDB_val k = hm_val(key);
    assert_int_equal(mdb_txn_begin(f->store->env, NULL, 0, &txn), 0);
    if (value) {
        MDB_val v = hm_val(*value);
        assert_int_equal(mdb_put(txn, dbi, &k, &v, 0), 0);
    } else {
        assert_int_equal(mdb_del(txn, dbi, &k, NULL), 0);
    }
    assert_int_equal(hm_meta_put(f->store, txn, "epoch", S(f->store->epoch)), 0); // and the turn
    assert_int_equal(mdb_txn_commit(txn), 0);
}

static void every_disagreement_is_found(void **state) {
    (void)state;
    struct fx f;
    struct hm_buf keys = {0}, saved = {0};
    struct hm_str key, rest, empty = {"", 0};
    fx_new(&f, TYPES, 0);
    fill(&f, 12);
    struct hm_types *types = hm_store_types(f.store);
    const struct hm_type *type = hm_types_find(types, S("note"));
    struct hm_read *r;
    struct hm_record rec;
    assert_true(hm_read_begin(f.store, &r, &f.err));
    assert_true(hm_read_get(r, S("note"), S("n3"), &rec, &f.err));
    assert_true(hm_index_keys(type, hm_type_index(type, S("by_n")), &rec, &keys, &f.err));
    hm_record_encode(&rec, &saved);
    hm_read_end(r);
    hm_types_unref(types);
    rest = hm_buf_view(&keys);
    assert_true(hm_packed_next(&rest, &key));

    tamper(&f, f.store->idx, key, NULL);
    verify_fails(&f, "lacks an entry");
    tamper(&f, f.store->idx, key, &empty);
    fx_verify(&f);

    struct hm_str stray = {"note\0by_n\0\1\0\0n5", 15};
    tamper(&f, f.store->idx, stray, &empty);
    verify_fails(&f, "no record has");
    tamper(&f, f.store->idx, stray, NULL);

    struct hm_str member = {"person:1\0note\0n3", 16}, stranger = {"person:2\0note\0n3", 16};
    tamper(&f, f.store->mem, member, NULL);
    verify_fails(&f, "member");
    tamper(&f, f.store->mem, member, &empty);
    tamper(&f, f.store->mem, stranger, &empty);
    verify_fails(&f, "member");
    tamper(&f, f.store->mem, stranger, NULL);
    fx_verify(&f);

    struct hm_str n3 = {"note\0n3", 7}, whole = hm_buf_view(&saved), cut = {saved.data, saved.len - 1};
    tamper(&f, f.store->rec, n3, &cut);
    verify_fails(&f, "cannot be read");
    tamper(&f, f.store->rec, (struct hm_str){"note\0n99", 8}, &whole);
    tamper(&f, f.store->rec, n3, &whole);
    verify_fails(&f, "another key");
    tamper(&f, f.store->rec, (struct hm_str){"note\0n99", 8}, NULL);
    saved.data[saved.len - 4] ^= 1; // "text-3" becomes "text-2"
    whole = hm_buf_view(&saved);
    tamper(&f, f.store->rec, n3, &whole);
    verify_fails(&f, "is not as change");
    saved.data[saved.len - 4] ^= 1;
    tamper(&f, f.store->rec, n3, &whole);
    fx_verify(&f);

    uint8_t last[8];
    hm_log_key(fx_seq(&f), last);
    tamper(&f, f.store->log, (struct hm_str){(char *)last, 8}, NULL);
    verify_fails(&f, "does not end where");
    hm_buf_free(&keys);
    hm_buf_free(&saved);
    fx_free(&f);
}

static void a_backup_restores_to_the_same_records_under_a_new_epoch(void **state) {
    (void)state;
    struct fx f, g;
    char backup[128], epoch[40];
    struct hm_buf out = {0};
    struct hm_read *r;
    struct hm_record rec;
    fx_new(&f, TYPES, 0);
    fill(&f, 50);
    uint64_t seq = fx_seq(&f);
    snprintf(backup, sizeof backup, "%s/backup", f.root);
    if (!hm_store_backup(f.store, backup, &f.err)) fail_msg("%s", f.err.message);
    assert_false(hm_store_backup(f.store, backup, &f.err)); // never over another one
    fill(&f, 3);                                            // what comes after is not in it
    snprintf(epoch, sizeof epoch, "%s", hm_store_epoch(f.store));
    g = f;
    snprintf(g.dir, sizeof g.dir, "%s/again", f.root);
    if (!hm_store_restore(backup, g.dir, &f.err)) fail_msg("%s", f.err.message);
    assert_false(hm_store_restore(backup, g.dir, &f.err));
    fx_open(&g, 0);
    assert_int_equal(fx_seq(&g), seq);
    assert_int_equal(strlen(hm_store_epoch(g.store)), 36);
    assert_string_not_equal(hm_store_epoch(g.store), epoch);
    fx_verify(&g);
    assert_true(hm_read_begin(g.store, &r, &g.err));
    assert_true(hm_read_get(r, S("note"), S("n49"), &rec, &g.err));
    assert_true(hm_unseal(g.store, &rec, S("secret"), &out, &g.err));
    assert_string_equal(out.data, "\"s49\"");
    hm_read_end(r);
    fill(&g, 5); // and it can be written on
    fx_verify(&g);
    hm_store_close(g.store);
    hm_buf_free(&out);
    fx_free(&f);
}

static void a_damaged_backup_is_not_restored(void **state) {
    (void)state;
    struct fx f;
    char backup[128], to[128], path[160];
    struct stat st;
    fx_new(&f, TYPES, 0);
    fill(&f, 20);
    snprintf(backup, sizeof backup, "%s/backup", f.root);
    snprintf(to, sizeof to, "%s/again", f.root);
    assert_true(hm_store_backup(f.store, backup, &f.err));
    const char *const files[] = {"data/data.mdb", "keyring/data.mdb", "MANIFEST"};
    for (size_t i = 0; i < 3; i++) {
        char byte;
        snprintf(path, sizeof path, "%s/%s", backup, files[i]);
        int fd = open(path, O_RDWR);
        assert_true(fd >= 0);
        assert_int_equal(pread(fd, &byte, 1, 70), 1);
        byte = (char)(byte ^ 4);
        assert_int_equal(pwrite(fd, &byte, 1, 70), 1);
        assert_false(hm_store_restore(backup, to, &f.err));
        assert_int_equal(f.err.code, HM_PARAMS);
        byte = (char)(byte ^ 4);
        assert_int_equal(pwrite(fd, &byte, 1, 70), 1);
        close(fd);
        assert_int_equal(stat(to, &st), -1);
        snprintf(path, sizeof path, "%s.partial", to);
        assert_int_equal(stat(path, &st), -1);
    }
    assert_true(hm_store_restore(backup, to, &f.err));
    fx_free(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_flipped_bit_is_found),
        cmocka_unit_test(every_disagreement_is_found),
        cmocka_unit_test(a_backup_restores_to_the_same_records_under_a_new_epoch),
        cmocka_unit_test(a_damaged_backup_is_not_restored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
