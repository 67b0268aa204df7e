// Backup sets: one keyring for all backups of a set, and what destroying a key leaves in any file there is
// (nothing), for somebody who has the server's key file and every copy.
#include "store_fixture.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sodium.h>
#include <sys/stat.h>

#define TYPES "[{\"name\":\"result\",\"about\":\"person\",\"sealed\":[\"answers\"]}]"
#define WRAPPED (24 + 32 + 16)

static const char *set_of(struct fx *f, const char *name) {
    static char paths[4][160];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", f->root, name);
    return path;
}

static void backup(struct fx *f, const char *set, const char *name) {
    if (!hm_store_backup(f->store, set_of(f, set), name, &f->err)) fail_msg("%s", f->err.message);
}

// One record a person, fifty a commit.
static void put(struct fx *f, int from, int to) {
    while (from < to) {
        char ids[50][16], data[50][96];
        struct hm_intent in[50];
        size_t count = 0;
        for (; count < 50 && from < to; count++, from++) {
            snprintf(ids[count], sizeof ids[0], "r%d", from);
            snprintf(data[count], sizeof data[0], "{\"person\":\"person-%03d\",\"answers\":\"secret-%d\"}",
                     from, from);
            in[count] = fx_intent("result", ids[count], data[count]);
        }
        struct hm_commit call = fx_call(f, in, count);
        assert_int_equal(fx_run(f, &call), HM_OK);
    }
}

// Another name for a file: what is taken away without being overwritten stays to be found under it.
static void witness(struct fx *f, const char *path) {
    static int count;
    char name[200];
    snprintf(name, sizeof name, "%s/witness%d", f->root, count++);
    assert_int_equal(link(path, name), 0);
}

static enum hm_code unseal(struct fx *f, int i, struct hm_buf *out) {
    struct hm_read *r;
    struct hm_record rec;
    enum hm_code code = HM_OK;
    char id[32];
    hm_buf_clear(out);
    snprintf(id, sizeof id, "r%d", i);
    assert_true(hm_read_begin(f->store, &r, &f->err));
    assert_true(hm_read_get(r, S("result"), S(id), &rec, &f->err));
    if (!hm_unseal(f->store, &rec, S("answers"), out, &f->err)) code = f->err.code;
    hm_read_end(r);
    return code;
}

static void restored(struct fx *f, const char *set, const char *name, struct fx *g, struct hm_restore *r) {
    static int count;
    *g = *f;
    snprintf(g->dir, sizeof g->dir, "%s/again%d", f->root, count++);
    *r = (struct hm_restore){.set = set_of(f, set), .name = name, .to = g->dir};
    if (!hm_store_restore(r, &f->err)) fail_msg("%s", f->err.message);
    fx_open(g, 0);
}

static void destroy(struct fx *f, const char *person, unsigned expected_sets) {
    unsigned refreshed = 0;
    struct hm_buf missing = {0};
    if (!hm_keyring_destroy(f->store, S(person), &f->err)) fail_msg("%s", f->err.message);
    if (!hm_store_refresh_sets(f->store, &refreshed, &missing, &f->err)) fail_msg("%s", f->err.message);
    assert_int_equal(missing.len, 0);
    assert_int_equal(refreshed, expected_sets);
}

// ---- looking for bytes in everything under a folder
// --------------------------------------------------------------------

static struct {
    const char *bytes; // any 8 of them, in 8-byte pieces, are too many
    size_t len;
    unsigned found, files;
    const uint8_t *institution, *ciphertext, *binding; // see try_every_key
    size_t ciphertext_len, binding_len;
    const char *about;
    unsigned keys_unwrapped, opened;
} look;

static void try_key(const uint8_t key[32]) {
    uint8_t clear[256];
    assert_true(look.ciphertext_len <= sizeof clear);
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(clear, NULL, NULL, look.ciphertext + 24,
                                                   look.ciphertext_len - 24, look.binding, look.binding_len,
                                                   look.ciphertext, key) == 0)
        look.opened++;
}

// Whatever in the file unwraps with the institution's key as this person's, or is itself a key, is tried.
static void try_every_key(const struct hm_buf *file) {
    uint8_t key[32];
    for (size_t at = 0; at + WRAPPED <= file->len; at++) {
        const uint8_t *w = (const uint8_t *)file->data + at;
        if (crypto_aead_xchacha20poly1305_ietf_decrypt(key, NULL, NULL, w + 24, 48,
                                                       (const uint8_t *)look.about, strlen(look.about), w,
                                                       look.institution) == 0) {
            look.keys_unwrapped++;
            try_key(key);
        }
    }
}

static int look_at(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
    struct hm_buf file = {0};
    struct hm_error err = {0};
    (void)ftw;
    if (flag != FTW_F || !S_ISREG(st->st_mode)) return 0;
    look.files++;
    assert_true(hm_read_file(path, (size_t)1 << 30, &file, &err));
    for (size_t piece = 0; piece + 8 <= look.len && file.len; piece += 8)
        if (memmem(file.data, file.len, look.bytes + piece, 8)) look.found++;
    // The databases of records hold no keys, and are large: their bytes were looked for above.
    if (look.institution && !strstr(path, "data/data.mdb") && file.len < (1u << 20)) try_every_key(&file);
    hm_buf_free(&file);
    return 0;
}

static unsigned pieces_found(struct fx *f, const void *bytes, size_t len) {
    look.bytes = bytes;
    look.len = len;
    look.found = look.files = 0;
    assert_int_equal(nftw(f->root, look_at, 16, FTW_PHYS), 0);
    assert_true(look.files > 3);
    return look.found;
}

static void wrapped_key(struct fx *f, const char *person, char out[WRAPPED]) {
    struct hm_buf entries = {0};
    struct hm_str key, value;
    bool found = false;
    assert_true(hm_keyring_entries(f->store->keyring, &entries, &f->err));
    struct hm_reader in = hm_reader_of(hm_buf_view(&entries));
    while (hm_keyring_entry_next(&in, &key, &value)) {
        if (key.len != strlen(person) + 1 || key.ptr[0] != 'p' ||
            memcmp(key.ptr + 1, person, key.len - 1) != 0)
            continue;
        assert_int_equal(value.len, 1 + WRAPPED);
        memcpy(out, value.ptr + 1, WRAPPED);
        found = true;
    }
    assert_true(found);
    hm_buf_free(&entries);
}

static void institution_key(struct fx *f, uint8_t out[32]) { // as anybody with the key file gets it
    struct hm_buf entries = {0};
    struct hm_str key, value;
    assert_true(hm_keyring_entries(f->store->keyring, &entries, &f->err));
    struct hm_reader in = hm_reader_of(hm_buf_view(&entries));
    assert_true(hm_keyring_entry_next(&in, &key, &value));
    assert_int_equal(value.len, 17 + WRAPPED);
    const uint8_t *w = (const uint8_t *)value.ptr + 17;
    assert_int_equal(crypto_aead_xchacha20poly1305_ietf_decrypt(out, NULL, NULL, w + 24, 48,
                                                                (const uint8_t *)"i", 1, w, f->key),
                     0);
    hm_buf_free(&entries);
}

// ---- the tests
// -------------------------------------------------------------------------------------------------------------

static void no_backup_holds_a_key_and_the_newest_keyring_opens_all_of_them(void **state) {
    (void)state;
    struct fx f, g;
    struct hm_restore r;
    struct hm_buf out = {0};
    char wrapped[WRAPPED];
    fx_new(&f, TYPES, 0);
    put(&f, 0, 20);
    backup(&f, "set", "one");
    put(&f, 20, 40);
    backup(&f, "set", "two");
    wrapped_key(&f, "person-003", wrapped);
    // In the store's keyring and in the set's, nine pieces each, and nowhere else.
    assert_int_equal(pieces_found(&f, wrapped, WRAPPED), 18);
    for (int i = 0; i < 2; i++) {
        restored(&f, "set", i ? "two" : "one", &g, &r);
        for (int n = 0; n < (i ? 40 : 20); n++)
            assert_int_equal(unseal(&g, n, &out), HM_OK);
        assert_int_equal(r.destroyed, 0);
        hm_store_close(g.store);
    }
    hm_buf_free(&out);
    fx_free(&f);
}

static void after_destroying_a_key_no_copy_made_before_opens_even_with_every_key_that_is_left(void **state) {
    (void)state;
    struct fx f, g;
    struct hm_restore r;
    struct hm_buf out = {0}, binding = {0}, cipher = {0};
    struct hm_read *read;
    struct hm_record rec;
    struct hm_str text;
    char wrapped[WRAPPED];
    uint8_t key[32], institution[32];
    fx_new(&f, TYPES, 0);
    put(&f, 0, 30);
    backup(&f, "set", "one");
    put(&f, 30, 60);
    backup(&f, "set", "two");
    backup(&f, "other", "three");
    wrapped_key(&f, "person-007", wrapped);
    institution_key(&f, institution);
    assert_true(hm_keyring_key(f.store->keyring, S("person-007"), NULL, key, &f.err));
    assert_true(hm_read_begin(f.store, &read, &f.err));
    assert_true(hm_read_get(read, S("result"), S("r7"), &rec, &f.err));
    assert_true(hm_sealed_find(rec.sealed, S("answers"), &text));
    hm_buf_str(&cipher, text);
    hm_read_end(read);
    hm_buf_add(&binding, "result\0r7\0answers", 17);
    look.institution = institution;
    look.about = "pperson-007";
    look.ciphertext = (const uint8_t *)cipher.data;
    look.ciphertext_len = cipher.len;
    look.binding = (const uint8_t *)binding.data;
    look.binding_len = binding.len;
    witness(&f, set_of(&f, "set/keyring"));
    witness(&f, set_of(&f, "other/keyring"));
    // The search finds what there is to find before: twice in the sets' files, once in the keyring.
    assert_int_equal(pieces_found(&f, wrapped, WRAPPED), 5 * 9);
    assert_true(look.keys_unwrapped >= 5);
    assert_true(look.opened >= 5);
    destroy(&f, "person-007", 2);
    for (int closed = 0; closed < 2; closed++) {
        look.keys_unwrapped = look.opened = 0;
        assert_int_equal(pieces_found(&f, wrapped, WRAPPED), 0);
        assert_int_equal(look.keys_unwrapped, 0);
        assert_int_equal(look.opened, 0);
        assert_int_equal(pieces_found(&f, key, 32), 0);
        assert_int_equal(pieces_found(&f, "secret-7", 8), 0);
        if (!closed) hm_store_close(f.store);
    }
    fx_open(&f, 0);
    // Every backup there is, with the newest keyring and the key file.
    static const char *const all[][2] = {{"set", "one"}, {"set", "two"}, {"other", "three"}};
    for (size_t i = 0; i < 3; i++) {
        restored(&f, all[i][0], all[i][1], &g, &r);
        assert_int_equal(unseal(&g, 7, &out), HM_UNAVAILABLE);
        assert_int_equal(unseal(&g, 8, &out), HM_OK);
        assert_string_equal(out.data, "\"secret-8\"");
        assert_int_equal(r.destroyed, 1);
        char path[160];
        snprintf(path, sizeof path, "%s/erasing", g.dir);
        hm_buf_clear(&out);
        assert_true(hm_read_file(path, 4096, &out, &f.err));
        static const char line[] = "{\"person\":\"person-007\",\"audit\":\""; // and the id of its entry there
        assert_int_equal(out.len, strlen(line) + 36 + strlen("\"}\n"));
        assert_memory_equal(out.data, line, strlen(line));
        assert_string_equal(out.data + out.len - 3, "\"}\n");
        hm_store_close(g.store);
    }
    assert_int_equal(pieces_found(&f, wrapped, WRAPPED), 0);
    memset(&look, 0, sizeof look);
    hm_buf_free(&out);
    hm_buf_free(&binding);
    hm_buf_free(&cipher);
    fx_free(&f);
}

static void a_set_that_cannot_be_reached_is_named_and_caught_up_by_the_next_backup_into_it(void **state) {
    (void)state;
    struct fx f;
    char command[400], wrapped[WRAPPED];
    unsigned refreshed = 0;
    struct hm_buf missing = {0};
    struct hm_str rest, item;
    fx_new(&f, TYPES, 0);
    put(&f, 0, 10);
    backup(&f, "set", "one");
    backup(&f, "disk", "one");
    wrapped_key(&f, "person-002", wrapped);
    snprintf(command, sizeof command, "mv '%s' '%s'", set_of(&f, "disk"), set_of(&f, "unplugged"));
    assert_int_equal(system(command), 0);
    assert_true(hm_keyring_destroy(f.store, S("person-002"), &f.err));
    assert_true(hm_store_refresh_sets(f.store, &refreshed, &missing, &f.err));
    assert_int_equal(refreshed, 1);
    rest = hm_buf_view(&missing);
    assert_true(hm_packed_next(&rest, &item));
    assert_true(hm_str_eq(item, S(set_of(&f, "disk"))));
    assert_int_equal(rest.len, 0);
    assert_int_equal(pieces_found(&f, wrapped, WRAPPED), 9);
    snprintf(command, sizeof command, "mv '%s' '%s'", set_of(&f, "unplugged"), set_of(&f, "disk"));
    assert_int_equal(system(command), 0);
    backup(&f, "disk", "two");
    assert_int_equal(pieces_found(&f, wrapped, WRAPPED), 0);
    // One that is gone for good is forgotten.
    snprintf(command, sizeof command, "rm -r '%s'", set_of(&f, "disk"));
    assert_int_equal(system(command), 0);
    assert_true(hm_store_forget_set(f.store, set_of(&f, "disk"), &f.err));
    destroy(&f, "person-003", 1);
    hm_buf_free(&missing);
    fx_free(&f);
}

// Puts the mark for every 25th person into the keyring's database, as destructions do that are cut short
// before they wipe. The pages of before are then free and as they were, too many to be used again by a commit
// or two.
static void marks_only(struct fx *f) {
    char path[160], name[64], mark[1 + WRAPPED] = {2};
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    snprintf(path, sizeof path, "%s/keyring", f->dir);
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_open(env, path, MDB_NOTLS, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, NULL, 0, &dbi), 0);
    for (int i = 0; i < 300; i += 25) {
        snprintf(name, sizeof name, "pperson-%03d", i);
        MDB_val k = {strlen(name), name}, v = {sizeof mark, mark};
        assert_int_equal(mdb_put(txn, dbi, &k, &v, 0), 0);
    }
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

static void a_destruction_that_was_cut_short_is_ended_by_repeating_it(void **state) {
    (void)state;
    struct fx f;
    char wrapped[12][WRAPPED], another[WRAPPED], person[32], path[4][200], own[200];
    struct hm_buf old = {0}, out = {0};
    fx_new(&f, TYPES, 0);
    put(&f, 0, 300);
    backup(&f, "set", "one");
    for (int i = 0; i < 12; i++) {
        snprintf(person, sizeof person, "person-%03d", i * 25);
        wrapped_key(&f, person, wrapped[i]);
    }
    wrapped_key(&f, "person-101", another);
    // As a process leaves it that ended behind the mark, in the middle of replacing the set's keyring, and
    // once before in the middle of making its own anew.
    snprintf(path[0], sizeof path[0], "%s/keyring", set_of(&f, "set"));
    assert_true(hm_read_file(path[0], 1u << 20, &old, &f.err));
    snprintf(path[0], sizeof path[0], "%s/keyring.old", set_of(&f, "set"));
    snprintf(path[1], sizeof path[1], "%s/keyring.new", set_of(&f, "set"));
    snprintf(path[2], sizeof path[2], "%s/keyring.new", f.dir);
    assert_int_equal(mkdir(path[2], 0700), 0);
    snprintf(path[2], sizeof path[2], "%s/keyring.new/data.mdb", f.dir);
    snprintf(path[3], sizeof path[3], "%s/keyring/data.mdb.old", f.dir);
    for (int i = 0; i < 4; i++)
        assert_true(hm_write_file(path[i], hm_buf_view(&old), 0600, &f.err));
    hm_store_close(f.store);
    marks_only(&f);
    for (int i = 0; i < 4; i++)
        witness(&f, path[i]);
    witness(&f, set_of(&f, "set/keyring"));
    snprintf(own, sizeof own, "%s/keyring/data.mdb", f.dir);
    witness(&f, own);
    assert_true(pieces_found(&f, wrapped[4], WRAPPED) > 27); // in freed pages and everywhere else
    fx_open(&f, 0);
    destroy(&f, "person-101", 1); // which was not begun before, but is in all that was left over
    assert_int_equal(pieces_found(&f, another, WRAPPED), 0);
    destroy(&f, "person-100", 1);
    for (int i = 0; i < 12; i++)
        assert_int_equal(pieces_found(&f, wrapped[i], WRAPPED), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(access(path[i], F_OK), -1);
    put(&f, 300, 320); // the keyring made anew is used from then on
    hm_store_close(f.store);
    fx_open(&f, 0);
    for (int i = 0; i < 320; i++)
        assert_int_equal(unseal(&f, i, &out), i == 101 || (i < 300 && i % 25 == 0) ? HM_UNAVAILABLE : HM_OK);
    assert_int_equal(pieces_found(&f, wrapped[4], WRAPPED), 0);
    hm_buf_free(&old);
    hm_buf_free(&out);
    fx_free(&f);
}

// Between link and rename the old name and the one in force are one file.
static void a_keyring_whose_exchange_was_cut_short_before_it_happened_is_not_overwritten(void **state) {
    (void)state;
    struct fx f, g;
    struct hm_restore r;
    struct hm_buf out = {0};
    char own[200], old[220];
    fx_new(&f, TYPES, 0);
    put(&f, 0, 10);
    backup(&f, "set", "one");
    snprintf(own, sizeof own, "%s/keyring/data.mdb", f.dir);
    snprintf(old, sizeof old, "%s.old", own);
    assert_int_equal(link(own, old), 0);
    assert_int_equal(link(set_of(&f, "set/keyring"), set_of(&f, "set/keyring.old")), 0);
    destroy(&f, "person-003", 1);
    assert_int_equal(access(old, F_OK), -1);
    assert_int_equal(access(set_of(&f, "set/keyring.old"), F_OK), -1);
    restored(&f, "set", "one", &g, &r);
    hm_store_close(f.store);
    fx_open(&f, 0);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(unseal(&f, i, &out), i == 3 ? HM_UNAVAILABLE : HM_OK);
        assert_int_equal(unseal(&g, i, &out), i == 3 ? HM_UNAVAILABLE : HM_OK);
    }
    hm_store_close(g.store);
    hm_buf_free(&out);
    fx_free(&f);
}

// An exchange that fails leaves no second name for what is still in force.
static void an_exchange_that_fails_changes_nothing(void **state) {
    (void)state;
    struct fx f;
    struct hm_buf out = {0};
    char own[200], old[220];
    fx_new(&f, TYPES, 0);
    snprintf(own, sizeof own, "%s/file", f.root);
    snprintf(old, sizeof old, "%s/file.old", f.root);
    assert_true(hm_write_file(own, S("in force"), 0600, &f.err));
    assert_int_equal(hm_swap_file(set_of(&f, "not-there"), own), ENOENT);
    assert_int_equal(access(old, F_OK), -1);
    assert_true(hm_read_file(own, 100, &out, &f.err));
    assert_string_equal(out.data, "in force");
    hm_buf_free(&out);
    fx_free(&f);
}

static ino_t keyring_inode(struct fx *f) {
    struct stat st;
    char own[200];
    snprintf(own, sizeof own, "%s/keyring/data.mdb", f->dir);
    assert_int_equal(stat(own, &st), 0);
    return st.st_ino;
}

// A restored server erases once more everybody ever erased.
static void a_key_that_was_wiped_is_not_wiped_again(void **state) {
    (void)state;
    struct fx f, g;
    struct hm_restore r;
    fx_new(&f, TYPES, 0);
    put(&f, 0, 10);
    backup(&f, "set", "one");
    destroy(&f, "person-004", 1);
    ino_t first = keyring_inode(&f);
    destroy(&f, "person-004", 1);
    assert_true(keyring_inode(&f) == first);
    restored(&f, "set", "one", &g, &r);
    first = keyring_inode(&g);
    destroy(&g, "person-004", 0);
    assert_true(keyring_inode(&g) == first);
    fx_verify(&g);
    hm_store_close(g.store);
    fx_free(&f);
}

static void a_restored_copy_may_go_on_in_the_same_set_and_no_key_is_lost(void **state) {
    (void)state;
    struct fx f, g, h;
    struct hm_restore r;
    struct hm_buf out = {0};
    fx_new(&f, TYPES, 0);
    put(&f, 0, 10);
    backup(&f, "set", "one");
    restored(&f, "set", "one", &g, &r); // a trial of the restoring, say
    put(&f, 10, 20);
    put(&g, 20, 30);
    destroy(&g, "person-001", 0);
    destroy(&f, "person-002", 1);
    backup(&g, "set", "trial");
    backup(&f, "set", "two");
    static const struct {
        const char *name;
        int from, to;
    } expected[] = {{"one", 0, 10}, {"trial", 20, 30}, {"two", 10, 20}};
    for (size_t i = 0; i < 3; i++) {
        restored(&f, "set", expected[i].name, &h, &r);
        for (int n = expected[i].from; n < expected[i].to; n++)
            assert_int_equal(unseal(&h, n, &out), n == 1 || n == 2 ? HM_UNAVAILABLE : HM_OK);
        assert_int_equal(r.destroyed, 2);
        hm_store_close(h.store);
    }
    hm_store_close(g.store);
    // Another institution has no business in it, and changes nothing there.
    fx_folder(&g);
    fx_open(&g, 0);
    assert_false(hm_store_backup(g.store, set_of(&f, "set"), "alien", &g.err));
    assert_non_null(strstr(g.err.message, "another institution"));
    assert_int_equal(access(set_of(&f, "set/alien"), F_OK), -1);
    restored(&f, "set", "one", &h, &r);
    hm_store_close(h.store);
    fx_free(&g);
    hm_buf_free(&out);
    fx_free(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_backup_holds_a_key_and_the_newest_keyring_opens_all_of_them),
        cmocka_unit_test(after_destroying_a_key_no_copy_made_before_opens_even_with_every_key_that_is_left),
        cmocka_unit_test(a_set_that_cannot_be_reached_is_named_and_caught_up_by_the_next_backup_into_it),
        cmocka_unit_test(a_destruction_that_was_cut_short_is_ended_by_repeating_it),
        cmocka_unit_test(a_keyring_whose_exchange_was_cut_short_before_it_happened_is_not_overwritten),
        cmocka_unit_test(an_exchange_that_fails_changes_nothing),
        cmocka_unit_test(a_key_that_was_wiped_is_not_wiped_again),
        cmocka_unit_test(a_restored_copy_may_go_on_in_the_same_set_and_no_key_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
