// Verifying, backing up, restoring whole. Sets and their keyrings: test_store_set.c; points in time:
// test_store_restore.c.
#include "base/clock.h"
#include "store_fixture.h"
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/file.h>
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

static bool restore(struct fx *f, const char *set, const char *name, const char *to) {
    struct hm_restore r = {.set = set, .to = to, .name = name};
    return hm_store_restore(&r, &f->err);
}

static void a_backup_restores_to_the_same_records_under_a_new_epoch(void **state) {
    (void)state;
    struct fx f, g;
    char set[128], epoch[40];
    struct hm_buf out = {0};
    struct hm_read *r;
    struct hm_record rec;
    fx_new(&f, TYPES, 0);
    fill(&f, 50);
    uint64_t seq = fx_seq(&f);
    snprintf(set, sizeof set, "%s/set", f.root);
    if (!hm_store_backup(f.store, set, "monday", &f.err)) fail_msg("%s", f.err.message);
    assert_false(hm_store_backup(f.store, set, "monday", &f.err)); // never over another one
    assert_int_equal(f.err.code, HM_CONFLICT);
    assert_false(hm_store_backup(f.store, set, "../monday", &f.err));
    assert_false(hm_store_backup(f.store, set, "keyring", &f.err));
    fill(&f, 3); // what comes after is not in it
    snprintf(epoch, sizeof epoch, "%s", hm_store_epoch(f.store));
    g = f;
    snprintf(g.dir, sizeof g.dir, "%s/again", f.root);
    if (!restore(&f, set, "monday", g.dir)) fail_msg("%s", f.err.message);
    assert_false(restore(&f, set, "monday", g.dir));
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

static void the_newest_whole_backup_is_taken_when_none_is_named(void **state) {
    (void)state;
    struct fx f;
    char set[128], to[128], path[160];
    uint64_t seqs[3];
    fx_new(&f, TYPES, 0);
    snprintf(set, sizeof set, "%s/set", f.root);
    snprintf(to, sizeof to, "%s/again", f.root);
    assert_false(restore(&f, set, NULL, to));
    hm_clock_manual(1700000000000);
    static const char *const names[] = {"zebra", "ant", "middle"};
    for (int i = 0; i < 3; i++) {
        fill(&f, 5);
        seqs[i] = fx_seq(&f);
        hm_clock_advance(1000);
        assert_true(hm_store_backup(f.store, set, names[i], &f.err));
    }
    struct hm_restore r = {.set = set, .to = to};
    assert_true(hm_store_restore(&r, &f.err));
    assert_string_equal(r.taken, "middle");
    assert_int_equal(r.seq, seqs[2]);
    snprintf(path, sizeof path, "%s/middle/MANIFEST", set); // a copy without a manifest is none
    assert_int_equal(unlink(path), 0);
    snprintf(to, sizeof to, "%s/before", f.root);
    assert_true(hm_store_restore(&r, &f.err));
    assert_string_equal(r.taken, "ant");
    assert_int_equal(r.seq, seqs[1]);
    fx_free(&f);
}

static void a_damaged_backup_is_not_restored(void **state) {
    (void)state;
    struct fx f;
    char set[128], to[128], path[160];
    struct stat st;
    fx_new(&f, TYPES, 0);
    fill(&f, 20);
    snprintf(set, sizeof set, "%s/set", f.root);
    snprintf(to, sizeof to, "%s/again", f.root);
    assert_true(hm_store_backup(f.store, set, "one", &f.err));
    const char *const files[] = {"one/data.mdb", "keyring", "one/MANIFEST"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", set, files[i]);
        int fd = open(path, O_RDWR);
        assert_true(fd >= 0 && fstat(fd, &st) == 0);
        // The manifest in every byte; the others here and there.
        for (off_t at = 0; at < st.st_size; at += i == 2 ? 1 : st.st_size / 7) {
            char byte;
            assert_int_equal(pread(fd, &byte, 1, at), 1);
            byte = (char)(byte ^ 4);
            assert_int_equal(pwrite(fd, &byte, 1, at), 1);
            if (restore(&f, set, "one", to))
                fail_msg("%s with byte %ld changed is restored", files[i], (long)at);
            assert_int_equal(f.err.code, HM_PARAMS);
            byte = (char)(byte ^ 4);
            assert_int_equal(pwrite(fd, &byte, 1, at), 1);
            assert_int_equal(access(to, F_OK), -1);
            char partial[160];
            snprintf(partial, sizeof partial, "%s.partial", to);
            assert_int_equal(access(partial, F_OK), -1);
        }
        assert_int_equal(ftruncate(fd, st.st_size - 1), 0);
        assert_false(restore(&f, set, "one", to));
        assert_int_equal(lseek(fd, 0, SEEK_END), st.st_size - 1);
        assert_int_equal(ftruncate(fd, st.st_size), 0); // the last byte of each is put back below
        char last = i == 2 ? '\n' : 0;
        if (i == 2) assert_int_equal(pwrite(fd, &last, 1, st.st_size - 1), 1);
        close(fd);
        if (i != 2) { // made anew
            char command[200];
            snprintf(command, sizeof command, "rm -rf '%s'", set);
            assert_int_equal(system(command), 0);
            assert_true(hm_store_backup(f.store, set, "one", &f.err));
        }
    }
    assert_true(restore(&f, set, "one", to));
    fx_free(&f);
}

struct writer {
    struct fx *f;
    atomic_bool stop;
};

static void *keep_writing(void *arg) {
    struct writer *w = arg;
    char id[16], data[128];
    for (int i = 0; !atomic_load(&w->stop); i++) {
        // Both records of a call change together, so a copy in the middle of one would show.
        snprintf(id, sizeof id, "x%d", i % 40);
        snprintf(data, sizeof data, "{\"n\":%d,\"person\":\"q%d\",\"secret\":%d}", i, i % 300, i);
        struct hm_intent in[2] = {fx_intent("note", id, data), fx_intent("note", "last", data)};
        struct hm_commit call = fx_call(w->f, in, 2);
        assert_int_equal(fx_run(w->f, &call), HM_OK);
    }
    return NULL;
}

static void backups_made_during_writes_are_consistent_and_open_with_the_set_s_keyring(void **state) {
    (void)state;
    struct fx f;
    char set[128], name[16];
    pthread_t thread;
    fx_new(&f, TYPES, 1u << 30);
    struct writer w = {.f = &f};
    snprintf(set, sizeof set, "%s/set", f.root);
    assert_int_equal(pthread_create(&thread, NULL, keep_writing, &w), 0);
    for (int i = 0; i < 5; i++) {
        struct hm_error err = {0};
        snprintf(name, sizeof name, "b%d", i);
        if (!hm_store_backup(f.store, set, name, &err)) fail_msg("%s", err.message);
    }
    atomic_store(&w.stop, true);
    pthread_join(thread, NULL);
    for (int i = 0; i < 5; i++) {
        struct fx g = f;
        struct hm_read *r;
        struct hm_record rec;
        struct hm_scan *scan;
        struct hm_range range;
        snprintf(name, sizeof name, "b%d", i);
        snprintf(g.dir, sizeof g.dir, "%s/again%d", f.root, i);
        if (!restore(&f, set, name, g.dir)) fail_msg("%s", f.err.message);
        fx_open(&g, 0);
        fx_verify(&g);
        fx_range(&g, "note", NULL, NULL, NULL, NULL, &range);
        assert_true(hm_read_begin(g.store, &r, &g.err));
        assert_int_equal(hm_read_seq(r) % 2, 0); // whole calls
        assert_true(hm_scan_begin(r, &range, false, (struct hm_str){0}, &scan, &g.err));
        while (hm_scan_next(scan, &rec)) {
            struct hm_buf out = {0};
            if (!hm_unseal(g.store, &rec, S("secret"), &out, &g.err)) fail_msg("%s", g.err.message);
            hm_buf_free(&out);
        }
        hm_scan_end(scan);
        hm_read_end(r);
        hm_range_free(&range);
        hm_store_close(g.store);
    }
    fx_free(&f);
}

struct copying {
    struct fx *f;
    const char *set;
    struct hm_error err;
    bool ok;
};

static void *copy_on(void *arg) {
    struct copying *c = arg;
    c->ok = hm_store_backup(c->f->store, c->set, "one", &c->err);
    return NULL;
}

// What is written between that time and the snapshot is in the copy, never the other way round.
static void a_backup_claims_no_time_after_its_snapshot(void **state) {
    (void)state;
    struct fx f;
    struct hm_manifest m;
    char set[128], partial[160], name[160];
    pthread_t thread;
    fx_new(&f, TYPES, 0);
    snprintf(set, sizeof set, "%s/set", f.root);
    snprintf(partial, sizeof partial, "%s/.one", set);
    snprintf(name, sizeof name, "%s/one", set);
    struct copying c = {.f = &f, .set = set};
    hm_clock_manual(hm_now_ms());
    pthread_rwlock_wrlock(&f.store->map_lock); // no snapshot is taken while this is held
    assert_int_equal(pthread_create(&thread, NULL, copy_on, &c), 0);
    while (access(partial, F_OK) != 0)
        usleep(1000);
    int64_t before_ms = hm_now_ms();
    hm_clock_advance(1000);
    pthread_rwlock_unlock(&f.store->map_lock);
    pthread_join(thread, NULL);
    if (!c.ok) fail_msg("%s", c.err.message);
    assert_true(hm_manifest_read(name, &m, &f.err));
    assert_true(m.made_ms <= before_ms);
    fx_free(&f);
}

static void half_a_backup(const char *set, const char *name, const char *file) {
    char path[200];
    struct hm_error err;
    snprintf(path, sizeof path, "%s/%s", set, name);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/%s/data.mdb", set, name);
    assert_true(hm_write_file(path, S("half"), 0600, &err));
    snprintf(path, sizeof path, "%s/%s/%s", set, name, file);
    assert_true(hm_write_file(path, S("half"), 0600, &err));
}

static void backups_that_were_cut_short_are_taken_away_by_the_next(void **state) {
    (void)state;
    struct fx f;
    char set[128], path[200];
    fx_new(&f, TYPES, 0);
    snprintf(set, sizeof set, "%s/set", f.root);
    assert_int_equal(mkdir(set, 0700), 0);
    half_a_backup(set, ".cut", "MANIFEST.a1b2c3");
    half_a_backup(set, ".foreign", "photo.jpg");
    half_a_backup(set, ".running", "MANIFEST");
    snprintf(path, sizeof path, "%s/.running", set);
    int fd = open(path, O_RDONLY | O_DIRECTORY);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_true(hm_store_backup(f.store, set, "one", &f.err));
    assert_int_equal(access(path, F_OK), 0);
    assert_false(hm_store_backup(f.store, set, "running", &f.err));
    assert_int_equal(access(path, F_OK), 0);
    snprintf(path, sizeof path, "%s/.cut", set);
    assert_int_equal(access(path, F_OK), -1);
    snprintf(path, sizeof path, "%s/.foreign/data.mdb", set);
    assert_int_equal(access(path, F_OK), 0);
    close(fd);
    assert_true(hm_store_backup(f.store, set, "running", &f.err));
    fx_free(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_flipped_bit_is_found),
        cmocka_unit_test(every_disagreement_is_found),
        cmocka_unit_test(a_backup_restores_to_the_same_records_under_a_new_epoch),
        cmocka_unit_test(the_newest_whole_backup_is_taken_when_none_is_named),
        cmocka_unit_test(a_damaged_backup_is_not_restored),
        cmocka_unit_test(backups_made_during_writes_are_consistent_and_open_with_the_set_s_keyring),
        cmocka_unit_test(a_backup_claims_no_time_after_its_snapshot),
        cmocka_unit_test(backups_that_were_cut_short_are_taken_away_by_the_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
