// A store whose files were damaged: cut off, or with flipped bits. What must hold for each of thousands:
// opening and verifying end with an answer (no crash, under AddressSanitizer), and when they find nothing,
// all that can be read is what was written. HAMROH_SEED repeats a run, HAMROH_ROUNDS sets how many.
#include "store_fixture.h"
#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <time.h>

static const char types[] =
    "[{\"name\":\"duty\",\"key\":\"natural\",\"indexes\":[{\"name\":\"by_n\",\"fields\":[\"n\"]},{\"name\":"
    "\"by_mail\",\"fields\":[\"mail\"],\"unique\":true}]},"
    "{\"name\":\"diary\",\"key\":\"natural\",\"about\":\"person\",\"sealed\":[\"text\"]}]";

static uint64_t state; // SplitMix64
static uint64_t next_random(void) {
    uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static unsigned number_of(const char *name, unsigned otherwise) {
    const char *text = getenv(name);
    return text ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

static void fill(struct fx *f) {
    char id[32], data[200];
    struct hm_buf big = {0};
    for (int i = 0; i < 150; i++) {
        snprintf(id, sizeof id, "d%03d", i);
        snprintf(data, sizeof data, "{\"n\":%d,\"mail\":\"m%d@example.org\",\"text\":\"duty number %d\"}",
                 i % 7, i, i);
        assert_int_equal(fx_put(f, "duty", id, data), HM_OK);
    }
    for (int i = 0; i < 150; i += 3) {
        snprintf(id, sizeof id, "d%03d", i);
        assert_int_equal(fx_put(f, "duty", id, i % 2 ? NULL : "{\"n\":99}"), HM_OK);
    }
    for (int i = 0; i < 20; i++) {
        snprintf(id, sizeof id, "s%d", i);
        snprintf(data, sizeof data, "{\"person\":\"p%d\",\"text\":\"what nobody else may read %d\"}", i % 6,
                 i);
        assert_int_equal(fx_put(f, "diary", id, data), HM_OK);
    }
    hm_buf_text(&big, "{\"n\":5,\"text\":\"");
    for (int i = 0; i < 3000; i++)
        hm_buf_text(&big, "long ");
    hm_buf_text(&big, "\"}");
    assert_int_equal(fx_put(f, "duty", "big", big.data), HM_OK); // in pages of its own
    hm_buf_free(&big);
    assert_true(hm_keyring_destroy(f->store, S("p3"), &f->err));
}

// What is sealed, opened; or that it does not open.
static void content_sealed(struct hm_store *s, struct hm_str value, crypto_generichash_state *hash) {
    struct hm_record r;
    struct hm_buf clear = {0};
    if (!hm_record_decode(value, &r) || !r.sealed.len) return;
    if (!hm_unseal(s, &r, S("text"), &clear, NULL)) hm_buf_text(&clear, "closed");
    crypto_generichash_update(hash, (const uint8_t *)clear.data, clear.len);
    hm_buf_free(&clear);
}

// Everything that can be read, but what only a new transaction changes.
static void content(struct hm_store *s, uint8_t sum[HM_HASH]) {
    crypto_generichash_state hash;
    struct hm_read *read = NULL;
    struct hm_error err = {0};
    const MDB_dbi all[] = {s->rec, s->idx, s->mem, s->log, s->meta};
    crypto_generichash_init(&hash, NULL, 0, HM_HASH);
    if (!hm_read_begin(s, &read, &err)) fail_msg("%s", err.message);
    for (size_t i = 0; i < 5; i++) {
        MDB_cursor *cursor = NULL;
        MDB_val k, v;
        assert_int_equal(mdb_cursor_open(read->txn, all[i], &cursor), 0);
        for (int rc = mdb_cursor_get(cursor, &k, &v, MDB_FIRST); !rc;
             rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
            if (all[i] == s->meta && hm_str_eq(hm_val_str(k), S("turn"))) continue;
            crypto_generichash_update(&hash, k.mv_data, k.mv_size);
            crypto_generichash_update(&hash, v.mv_data, v.mv_size);
            MDB_val by_key; // each is found by its key, too
            assert_int_equal(mdb_get(read->txn, all[i], &k, &by_key), 0);
            assert_ptr_equal(by_key.mv_data, v.mv_data);
            if (all[i] == s->rec) content_sealed(s, hm_val_str(v), &hash);
        }
        mdb_cursor_close(cursor);
    }
    hm_read_end(read);
    crypto_generichash_final(&hash, sum, HM_HASH);
}

struct file {
    char path[128];
    struct hm_buf bytes; // as they were
};

static void file_read(struct file *file, const char *dir, const char *name) {
    snprintf(file->path, sizeof file->path, "%s/%s", dir, name);
    assert_true(hm_read_file(file->path, 64u << 20, &file->bytes, NULL));
}

static void file_put(const struct file *file, const char *bytes, size_t len) {
    int fd = open(file->path, O_WRONLY | O_TRUNC | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
    close(fd);
}

struct world {
    struct fx f;
    struct file data, keys;
    uint8_t sum[HM_HASH];
};

static int setup(void **st) {
    struct world *w = hm_alloc(sizeof *w);
    // In memory where there is such a place: thousands of openings ask thousands of times for a sync.
    fx_folder(&w->f);
    char other[64] = "/dev/shm/hamroh-store-XXXXXX";
    if (mkdtemp(other)) {
        assert_int_equal(rmdir(w->f.root), 0);
        snprintf(w->f.root, sizeof w->f.root, "%s", other);
        snprintf(w->f.dir, sizeof w->f.dir, "%s/school", other);
    }
    fx_open(&w->f, 1 << 20);
    fx_declare(&w->f, types);
    fill(&w->f);
    fx_verify(&w->f);
    content(w->f.store, w->sum);
    hm_store_close(w->f.store);
    w->f.store = NULL;
    file_read(&w->data, w->f.dir, "data/data.mdb");
    file_read(&w->keys, w->f.dir, "keyring/data.mdb");
    state = number_of("HAMROH_SEED", (unsigned)time(NULL));
    print_message("HAMROH_SEED=%llu\n", (unsigned long long)state);
    *st = w;
    return 0;
}

static int teardown(void **st) {
    struct world *w = *st;
    hm_buf_free(&w->data.bytes);
    hm_buf_free(&w->keys.bytes);
    fx_free(&w->f);
    free(w);
    return 0;
}

// Opens and verifies what lies there. True when nothing was found, and then all is as it was.
static bool survives(struct world *w, bool look_at_all) {
    struct hm_store_options o = {.map_bytes = 1 << 20, .master_key = w->f.key, .look_at_all = look_at_all};
    struct hm_store *s = NULL;
    uint8_t sum[HM_HASH];
    w->f.err = (struct hm_error){0};
    bool ok = hm_store_open(w->f.dir, &o, &s, &w->f.err) && hm_store_verify(s, NULL, &w->f.err);
    if (ok) {
        content(s, sum);
        assert_memory_equal(sum, w->sum, HM_HASH);
    } else {
        assert_true(w->f.err.message[0]);
    }
    hm_store_close(s);
    return ok;
}

static void restore(struct world *w) {
    file_put(&w->data, w->data.bytes.data, w->data.bytes.len);
    file_put(&w->keys, w->keys.bytes.data, w->keys.bytes.len);
}

static unsigned flip(struct world *w, const struct file *file, size_t below, unsigned rounds) {
    unsigned found = 0;
    struct hm_buf bytes = {0};
    for (unsigned round = 0; round < rounds; round++) {
        hm_buf_clear(&bytes);
        hm_buf_str(&bytes, hm_buf_view(&file->bytes));
        size_t len = below && below < bytes.len ? below : bytes.len;
        for (uint64_t i = 1 + next_random() % 3; i; i--) {
            uint64_t at = next_random() % (len * 8);
            bytes.data[at / 8] = (char)(bytes.data[at / 8] ^ 1 << at % 8);
        }
        restore(w);
        file_put(file, bytes.data, bytes.len);
        found += !survives(w, true);
    }
    hm_buf_free(&bytes);
    restore(w);
    return found;
}

static void flipped_bits_are_found_or_change_nothing(void **st) {
    struct world *w = *st;
    unsigned rounds = number_of("HAMROH_ROUNDS", 600), found = flip(w, &w->data, 0, rounds);
    print_message("data: %u of %u found\n", found, rounds);
    assert_true(found > rounds / 3);
    assert_true(survives(w, true));
}

static void flipped_bits_in_the_heads_are_found_or_change_nothing(void **st) {
    struct world *w = *st;
    unsigned rounds = number_of("HAMROH_ROUNDS", 600);
    unsigned found = 0;
    struct hm_buf bytes = {0};
    // Of both heads: what LMDB's own page head and what follows it say.
    for (unsigned round = 0; round < rounds; round++) {
        hm_buf_clear(&bytes);
        hm_buf_str(&bytes, hm_buf_view(&w->data.bytes));
        uint64_t at = (next_random() % 2 * 4096) * 8 + next_random() % (160 * 8);
        bytes.data[at / 8] = (char)(bytes.data[at / 8] ^ 1 << at % 8);
        restore(w);
        file_put(&w->data, bytes.data, bytes.len);
        found += !survives(w, true);
    }
    print_message("heads: %u of %u found\n", found, rounds);
    assert_true(found > 0);
    hm_buf_free(&bytes);
    restore(w);
    assert_true(survives(w, true));
}

static void flipped_bits_of_the_keyring_are_found_or_change_nothing(void **st) {
    struct world *w = *st;
    unsigned rounds = number_of("HAMROH_ROUNDS", 600) / 2, found = flip(w, &w->keys, 0, rounds);
    print_message("keyring: %u of %u found\n", found, rounds);
    assert_true(found > 0);
    assert_true(survives(w, true));
}

static void a_file_cut_off_anywhere_is_found(void **st) {
    struct world *w = *st;
    unsigned rounds = number_of("HAMROH_ROUNDS", 600) / 4;
    for (unsigned round = 0; round < rounds; round++) {
        const struct file *file = round % 4 ? &w->data : &w->keys;
        size_t len = (size_t)(next_random() % file->bytes.len);
        if (round % 3 == 0) len -= len % 4096;
        restore(w);
        file_put(file, file->bytes.data, len);
        // Only pages that were free may be lost without a word.
        survives(w, round % 2);
    }
    static const size_t few[] = {0, 1, 100, 4095, 4096, 8191, 8192, 12288};
    for (size_t i = 0; i < sizeof few / sizeof *few; i++) {
        restore(w);
        file_put(&w->data, w->data.bytes.data, few[i]);
        assert_false(survives(w, false));
        restore(w);
        file_put(&w->keys, w->keys.bytes.data, few[i] < 12288 ? few[i] : 0);
        assert_false(survives(w, false));
    }
    restore(w);
    assert_int_equal(unlink(w->data.path), 0);
    assert_false(survives(w, false));
    assert_non_null(strstr(w->f.err.message, "restore it from a backup"));
    restore(w);
    assert_int_equal(unlink(w->keys.path), 0);
    assert_false(survives(w, false));
    restore(w);
    assert_true(survives(w, false));
}

// Else an older head, taken for the newest, would lose what was acknowledged last, and everything would hold.
static void an_older_head_is_not_taken_for_the_newest(void **st) {
    struct world *w = *st;
    struct hm_buf bytes = {0};
    uint64_t txn[2];
    hm_buf_str(&bytes, hm_buf_view(&w->data.bytes));
    for (size_t i = 0; i < 2; i++)
        memcpy(&txn[i], bytes.data + i * 4096 + 16 + 128, 8);
    size_t older = txn[0] < txn[1] ? 0 : 1;
    assert_int_equal(txn[older] + 1, txn[!older]);
    for (uint64_t more = 2; more <= 1u << 20; more <<= 1) {
        uint64_t now = txn[older] + more;
        memcpy(bytes.data + older * 4096 + 16 + 128, &now, 8);
        file_put(&w->data, bytes.data, bytes.len);
        assert_false(survives(w, true));
    }
    hm_buf_free(&bytes);
    restore(w);
}

// A page with the record d075 that is no root: the records fill several.
static size_t leaf_of_records(const struct hm_buf *bytes) {
    const char *at = memmem(bytes->data, bytes->len, "duty number 75", 14);
    for (; at; at = memmem(at + 1, (size_t)(bytes->data + bytes->len - at - 1), "duty number 75", 14)) {
        size_t page = (size_t)(at - bytes->data) / 4096;
        const uint8_t *p = (const uint8_t *)bytes->data + page * 4096;
        uint64_t number = page;
        // In use, of two that may hold it: a flip there is found.
        if (memcmp(p, &number, 8) != 0 || p[10] != 2) continue;
        return page;
    }
    fail_msg("no such page");
    return 0;
}

static void after_a_bad_end_every_page_of_a_large_file_is_looked_at(void **st) {
    struct world *w = *st;
    char marker[128];
    struct stat s;
    snprintf(marker, sizeof marker, "%s/in_use", w->f.dir);
    assert_int_not_equal(stat(marker, &s), 0); // it was closed in order
    fx_open(&w->f, 1 << 20);
    assert_int_equal(stat(marker, &s), 0);
    hm_store_close(w->f.store);
    w->f.store = NULL;
    assert_int_not_equal(stat(marker, &s), 0);
    // A leaf that nothing leads to but its tree, in a file that is too large to be looked at whole each time.
    struct hm_buf bytes = {0};
    hm_buf_str(&bytes, hm_buf_view(&w->data.bytes));
    size_t page = leaf_of_records(&bytes);
    bytes.data[page * 4096 + 13] ^= 0x20;
    file_put(&w->data, bytes.data, bytes.len);
    hm_buf_free(&bytes);
    assert_int_equal(truncate(w->data.path, HM_PAGES_ALWAYS + 4096), 0);
    assert_true(hm_pages_check(w->data.path, false, &w->f.err));
    assert_false(hm_pages_check(w->data.path, true, &w->f.err));
    int fd = open(marker, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    close(fd);
    struct hm_store_options o = {.map_bytes = 1 << 20, .master_key = w->f.key};
    assert_false(hm_store_open(w->f.dir, &o, &w->f.store, &w->f.err));
    assert_non_null(strstr(w->f.err.message, "restore it from a backup"));
    restore(w);
    fx_open(&w->f, 1 << 20);
    hm_store_close(w->f.store);
    w->f.store = NULL;
    assert_int_not_equal(stat(marker, &s), 0);
}

static void the_lock_table_has_all_its_blocks(void **st) {
    struct world *w = *st;
    char path[128];
    struct stat s;
    fx_open(&w->f, 1 << 20);
    snprintf(path, sizeof path, "%s/data/lock.mdb", w->f.dir);
    assert_int_equal(stat(path, &s), 0);
    assert_true(s.st_size > 512 * 64);
    assert_true((int64_t)s.st_blocks * 512 >= s.st_size);
    hm_store_close(w->f.store);
    w->f.store = NULL;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flipped_bits_are_found_or_change_nothing),
        cmocka_unit_test(flipped_bits_in_the_heads_are_found_or_change_nothing),
        cmocka_unit_test(flipped_bits_of_the_keyring_are_found_or_change_nothing),
        cmocka_unit_test(a_file_cut_off_anywhere_is_found),
        cmocka_unit_test(an_older_head_is_not_taken_for_the_newest),
        cmocka_unit_test(after_a_bad_end_every_page_of_a_large_file_is_looked_at),
        cmocka_unit_test(the_lock_table_has_all_its_blocks),
    };
    return cmocka_run_group_tests_name("store damage", tests, setup, teardown);
}
