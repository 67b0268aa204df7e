// Folding, CSV, codes, ids, wire fields, buffers, files, errors, clock.
#include "base/buf.h"
#include "base/clock.h"
#include "base/code.h"
#include "base/csv.h"
#include "base/error.h"
#include "base/id.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "base/wire.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define BYTES(text) ((struct hm_str){text, sizeof(text) - 1})

static void names_fold_in_every_script_we_meet(void **state) {
    (void)state;
    static const char *const table[][2] = {
        {"Karimova GULNORA", "karimova gulnora"},
        {"  two\t\n words\xc2\xa0\xe2\x80\x83here  ", "two words here"},
        {"ÀÖØÞ ÷×ß", "àöøþ ÷×ß"},
        {"ĀŽĲĽŇŸŒİı", "āžĳľňÿœiı"},
        {"ҲАКИМОВА ЎҒИЛОЙ ҚОДИР", "ҳакимова ўғилой қодир"},
        {"ЁЂЏ АЯ ёя", "ёђџ ая ёя"},
        {"ӀӁӐӾҐ", "ӏӂӑӿґ"},
        {"Oʻktam O‘ktam O’ktam Oʼktam O`ktam O'ktam", "o'ktam o'ktam o'ktam o'ktam o'ktam o'ktam"},
        {"", ""},
        {" \t ", ""},
        {"\xff"
         "A\xc0\x80",
         "\xef\xbf\xbd"
         "a\xef\xbf\xbd\xef\xbf\xbd"},
        {"€😀", "€😀"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct hm_buf b = {0};
        hm_buf_text(&b, "+");
        hm_fold(hm_str_of(table[i][0]), &b);
        assert_string_equal(b.data + 1, table[i][1]);
        struct hm_buf again = {0};
        hm_fold((struct hm_str){b.data + 1, b.len - 1}, &again);
        hm_buf_char(&again, '\0');
        assert_string_equal(again.data, table[i][1]); // folding twice changes nothing
        hm_buf_free(&b);
        hm_buf_free(&again);
    }
}

// Rows as "cell|cell/cell|cell", with the line number in front of each.
static bool join_row(void *arg, const struct hm_csv_row *row) {
    struct hm_buf *b = arg;
    hm_buf_printf(b, "%s%zu:", b->len ? "/" : "", row->line);
    for (size_t i = 0; i < row->count; i++)
        hm_buf_printf(b, "%s%.*s", i ? "|" : "", (int)row->cells[i].len, row->cells[i].ptr);
    return true;
}

static void csv_rows_are_read_as_spreadsheets_write_them(void **state) {
    (void)state;
    static const struct {
        const char *text;
        char separator;
        const char *rows;
    } table[] = {
        {"a;b\r\n1;2\r\n", 0, "1:a|b/2:1|2"},
        {"a,b\n1,2", 0, "1:a|b/2:1|2"},
        {"a\tb\n1\t2", 0, "1:a|b/2:1|2"},
        {"a\r1\r", 0, "1:a/2:1"},
        {"name, full;group\nX, Y;1", 0, "1:name, full|group/2:X, Y|1"},
        {"\"a,b,c\";d\n1;2", 0, "1:a,b,c|d/2:1|2"},
        {"a;b\n\n  \n\r\n1;2\n\n", 0, "1:a|b/5:1|2"},
        {"a;b\n\"x\"\"y\"\"\";\"\"\"\"\n\"\";", 0, "1:a|b/2:x\"y\"|\"/3:|"},
        {"a;b\n\"one\ntwo\r\nthree\";2\nlast;3", 0, "1:a|b/2:one\ntwo\r\nthree|2/5:last|3"},
        {"size\n5\" pipe\n", 0, "1:size/2:5\" pipe"},
        {"sep=,\na,b;c\n", 0, "2:a|b;c"},
        {"a;b\n1;2", ',', "1:a;b/2:1;2"},
        {"\xef\xbb\xbf"
         "a;b",
         0, "1:a|b"},
        {"one\ntwo", 0, "1:one/2:two"},
        {"", 0, ""},
        {";\n", 0, "1:|"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct hm_buf b = {0};
        struct hm_error err = {0};
        hm_buf_reserve(&b, 1);
        if (!hm_csv_parse(hm_str_of(table[i].text), table[i].separator, join_row, &b, &err))
            fail_msg("%s", err.message);
        assert_string_equal(b.data, table[i].rows);
        hm_buf_free(&b);
    }
}

static void csv_faults_name_their_line(void **state) {
    (void)state;
    struct hm_buf b = {0};
    struct hm_error err = {0};
    assert_false(hm_csv_parse(HM_LIT("a;b\n1;2\n\"never"), 0, join_row, &b, &err));
    assert_int_equal(err.code, HM_PARAMS);
    assert_string_equal(err.message, "line 3: a quote is opened and never closed");
    assert_false(hm_csv_parse(HM_LIT("a;b\n\"1\n2\"x;2"), 0, join_row, &b, &err));
    assert_string_equal(err.message, "line 3: something follows a closing quote");
    hm_buf_clear(&b);
    for (int i = 0; i < 1000; i++)
        hm_buf_char(&b, ';');
    struct hm_buf out = {0};
    assert_false(hm_csv_parse(hm_buf_view(&b), 0, join_row, &out, &err));
    b.len = 999;
    assert_true(hm_csv_parse(hm_buf_view(&b), 0, join_row, &out, &err));
    hm_buf_clear(&b);
    for (int i = 0; i < 65537; i++)
        hm_buf_char(&b, 'x');
    assert_false(hm_csv_parse(hm_buf_view(&b), 0, join_row, &out, &err));
    b.len = 65536;
    assert_true(hm_csv_parse(hm_buf_view(&b), 0, join_row, &out, &err));
    hm_buf_free(&b);
    hm_buf_free(&out);
}

static void encodings_are_recognised(void **state) {
    (void)state;
    static const struct {
        struct hm_str bytes;
        const char *used, *text;
    } table[] = {
        {{"\xd2\xf3\xf0\xe0\xe5\xe2", 6}, "CP1251", "Тураев"},
        {{"\xa1\xa2", 2}, "CP1251", "Ўў"},
        {{"\x80\xff\n\xb9", 4}, "CP1251", "Ђя\n№"},
        {{"\xff\xfe", 2}, "UTF-16LE", ""},
        {{"\xfe\xff\xd8\x3d\xde\x00\x20\xac", 8}, "UTF-16BE", "😀€"},
        {{"\xff\xfe\x47\x00\x3d\xd8\x00\xde", 8}, "UTF-16LE", "G😀"},
        {{"\xfe\xff\x04\x22\x04\x43", 6}, "UTF-16BE", "Ту"},
        {{"\xef\xbb\xbf\xd2\xb2", 5}, "UTF-8", "Ҳ"},
        {{"\xd2\xb2", 2}, "UTF-8", "Ҳ"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct hm_buf b = {0};
        struct hm_error err = {0};
        const char *used = NULL;
        if (!hm_csv_to_utf8(table[i].bytes, &b, &used, &err)) fail_msg("%s", err.message);
        assert_true(hm_str_eq(hm_buf_view(&b), hm_str_of(table[i].text)));
        assert_string_equal(used, table[i].used);
        hm_buf_free(&b);
    }
    struct hm_buf b = {0};
    struct hm_error err = {0};
    assert_false(hm_csv_to_utf8(BYTES("\xff\xfe\x47"), &b, NULL, &err));          // half a character
    assert_false(hm_csv_to_utf8(BYTES("\xff\xfe\x00\xd8x\x00"), &b, NULL, &err)); // half a surrogate pair
    assert_false(hm_csv_to_utf8(BYTES("\xff\xfe\x00\xd8"), &b, NULL, &err));      // the same at the end
    assert_false(hm_csv_to_utf8(BYTES("\xff\xfe\x00\xdcx\x00"), &b, NULL, &err)); // the other half
    assert_false(hm_csv_to_utf8(BYTES("a\n\x98\n"), &b, NULL, &err));             // no character of CP1251
    assert_string_equal(err.message,
                        "line 2: not text in the encoding CP1251; save the file as CSV in UTF-8");
    assert_false(hm_csv_to_utf8(BYTES("\xef\xbb\xbf\xff"), &b, NULL, &err));
    assert_false(hm_csv_to_utf8(BYTES("PK\x03\x04zip"), &b, NULL, &err)); // .xlsx
    assert_int_equal(b.len, 0);
    hm_buf_free(&b);
}

// The files of ../shared/data/csv-habits, read when they are there.
static void files_of_real_spreadsheets_read_alike(void **state) {
    (void)state;
    const char *shared = getenv("HAMROH_SHARED_DATA");
    static const char *const files[] = {"excel-semicolon-utf8bom.csv", "excel-unicode-text-utf16le.txt"};
    struct hm_buf rows[2] = {{0}, {0}};
    for (int i = 0; i < 2; i++) {
        struct hm_buf path = {0}, raw = {0}, text = {0};
        struct hm_error err = {0};
        hm_buf_printf(&path, "%s/csv-habits/%s", shared ? shared : HAMROH_SOURCE_DIR "/../shared/data",
                      files[i]);
        bool there = hm_read_file(path.data, 1 << 20, &raw, &err);
        if (there) {
            assert_true(hm_csv_to_utf8(hm_buf_view(&raw), &text, NULL, &err));
            assert_true(hm_csv_parse(hm_buf_view(&text), 0, join_row, &rows[i], &err));
        }
        hm_buf_free(&path);
        hm_buf_free(&raw);
        hm_buf_free(&text);
        if (!there) {
            print_message("shared data is not here: skipped\n");
            hm_buf_free(&rows[0]);
            skip();
        }
    }
    assert_string_equal(rows[0].data, rows[1].data);
    assert_non_null(strstr(rows[0].data, "Ҳакимова Ўғилой|ПЕД-24-01|1"));
    hm_buf_free(&rows[0]);
    hm_buf_free(&rows[1]);
}

static void the_uuid_of_rfc_9562_comes_out(void **state) {
    (void)state;
    // RFC 9562, appendix A.6: 2022-02-22 19:22:22 UTC, rand_a CC3, rand_b 18C4DC0C0C07398F.
    static const uint8_t random[10] = {0x0c, 0xc3, 0x18, 0xc4, 0xdc, 0x0c, 0x0c, 0x07, 0x39, 0x8f};
    char id[37];
    hm_uuid7_from(INT64_C(0x017F22E279B0), random, id);
    assert_string_equal(id, "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
    static const uint8_t ones[10] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
    hm_uuid7_from(0, ones, id);
    assert_string_equal(id, "00000000-0000-7fff-bfff-ffffffffffff");
}

#define IDS 5000
static void *make_ids(void *arg) {
    char(*ids)[37] = arg;
    for (int i = 0; i < IDS; i++)
        hm_uuid7(INT64_C(1700000000000) + (i > 10 ? -i : i / 3), ids[i]);
    return NULL;
}

static int compare_ids(const void *a, const void *b) {
    return strcmp(a, b);
}

static void ids_ascend_in_every_thread_and_never_repeat_even_when_time_goes_back(void **state) {
    (void)state;
    char(*ids)[37] = hm_alloc_array(4 * IDS, 37);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, make_ids, ids + i * IDS), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (int t = 0; t < 4; t++)
        for (int i = 1; i < IDS; i++)
            assert_true(strcmp(ids[t * IDS + i - 1], ids[t * IDS + i]) < 0);
    qsort(ids, 4 * IDS, 37, compare_ids);
    for (int i = 1; i < 4 * IDS; i++)
        assert_string_not_equal(ids[i - 1], ids[i]);
    assert_true(ids[0][14] == '7' && strchr("89ab", ids[0][19]));
    free(ids);
}

static void names_and_ids_are_checked(void **state) {
    (void)state;
    static const char *const good[] = {"a", "pair", "mini-ipip", "record.list", "a_1"};
    static const char *const bad[] = {
        "",     "A",   "1a", "-a",  ".a",
        "a..b", "a b", "ҳ",  "a/b", "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggggg"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(hm_name_valid(hm_str_of(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(hm_name_valid(hm_str_of(bad[i])));
    assert_true(hm_id_valid(HM_LIT("person:Ҳакимова 1")));
    assert_false(hm_id_valid(HM_LIT("")));
    assert_false(hm_id_valid(HM_LIT("a\nb")));
    assert_false(hm_id_valid(BYTES("a\0b")));
    assert_false(hm_id_valid(HM_LIT("\x7f")));
    assert_false(hm_id_valid(HM_LIT("\xc2\x85"))); // next line, a C1 control
    assert_true(hm_id_valid(HM_LIT("\xc2\xa0")));
    assert_false(hm_id_valid(HM_LIT("\xff")));
    char long_id[130];
    memset(long_id, 'x', sizeof long_id);
    assert_true(hm_id_valid((struct hm_str){long_id, 128}));
    assert_false(hm_id_valid((struct hm_str){long_id, 129}));
}

static void wire_fields_come_back_and_nothing_is_read_past_the_end(void **state) {
    (void)state;
    struct hm_buf b = {0};
    hm_put_u8(&b, 200);
    hm_put_u32(&b, 0x01020304);
    hm_put_u64(&b, UINT64_C(0xfffefdfcfbfaf9f8));
    hm_put_f64(&b, -0.1);
    hm_put_str(&b, HM_LIT("salom"));
    hm_put_str(&b, (struct hm_str){0});
    assert_memory_equal(b.data + 1, "\x04\x03\x02\x01", 4); // little endian
    for (size_t cut = 0; cut <= b.len; cut++) {
        char *exact = hm_alloc(cut ? cut : 1);
        if (cut) memcpy(exact, b.data, cut);
        struct hm_reader r = hm_reader_of((struct hm_str){exact, cut});
        uint8_t u8 = hm_get_u8(&r);
        uint32_t u32 = hm_get_u32(&r);
        uint64_t u64 = hm_get_u64(&r);
        double f = hm_get_f64(&r);
        struct hm_str s = hm_get_str(&r), empty = hm_get_str(&r);
        assert_int_equal(r.bad, cut < b.len);
        if (!r.bad) {
            assert_true(u8 == 200 && u32 == 0x01020304 && u64 == UINT64_C(0xfffefdfcfbfaf9f8) && f == -0.1);
            assert_true(hm_str_eq(s, HM_LIT("salom")) && empty.len == 0 && r.at == r.end);
        }
        assert_int_equal(hm_get_u64(&r), 0);
        assert_true(r.bad);
        free(exact);
    }
    struct hm_reader r = hm_reader_of(BYTES("\xff\xff\xff\xff"
                                            "abc"));
    assert_int_equal(hm_get_str(&r).len, 0);
    assert_true(r.bad);
    hm_buf_free(&b);
}

static void codes_are_read_however_they_are_typed(void **state) {
    (void)state;
    // Crockford's base 32 of 0x00..: values worked out by hand from the alphabet.
    static const uint8_t zero[10] = {0}, ones[10] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
    static const uint8_t step[10] = {0x00, 0x44, 0x32, 0x14, 0xc7,
                                     0x42, 0x54, 0xb6, 0x35, 0xcf}; // 0,1,2,…,15
    char code[20], a[65], b[65];
    hm_code_format(zero, code);
    assert_string_equal(code, "0000-0000-0000-0000");
    hm_code_format(ones, code);
    assert_string_equal(code, "ZZZZ-ZZZZ-ZZZZ-ZZZZ");
    hm_code_format(step, code);
    assert_string_equal(code, "0123-4567-89AB-CDEF");
    assert_true(hm_code_hash(HM_LIT("0123-4567-89AB-CDEF"), a));
    assert_true(hm_code_hash(HM_LIT(" o i2 3456 789abcdef\n"), b));
    assert_string_equal(a, b);
    assert_true(hm_code_hash(HM_LIT("OL23456789ABCDEF"), b));
    assert_string_equal(a, b);
    assert_false(hm_code_hash(HM_LIT("0123-4567-89AB-CDE"), b));
    assert_false(hm_code_hash(HM_LIT("0123-4567-89AB-CDEF0"), b));
    assert_false(hm_code_hash(HM_LIT("0123-4567-89AB-CDEU"), b));
    assert_false(hm_code_hash(BYTES("0123-4567-89AB-CDE\0"), b));
    // BLAKE2b-256 of "abc" (known value, RFC 7693 parameters with 32 bytes of output).
    hm_secret_hash(HM_LIT("abc"), a);
    assert_string_equal(a, "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
}

static void buffers_grow_stay_terminated_and_compare(void **state) {
    (void)state;
    struct hm_buf b = {0};
    for (int i = 0; i < 1000; i++)
        hm_buf_printf(&b, "%d,", i);
    assert_int_equal(b.len, strlen(b.data));
    hm_buf_drop(&b, 4);
    assert_memory_equal(b.data, "2,3,", 4);
    assert_int_equal(b.len, strlen(b.data));
    hm_buf_clear(&b);
    assert_string_equal(b.data, "");
    char big[5000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    hm_buf_printf(&b, "%s%s", big, "end");
    assert_int_equal(b.len, sizeof big - 1 + 3);
    hm_buf_free(&b);
    hm_buf_free(&b);
    assert_true(hm_str_cmp(HM_LIT("ab"), HM_LIT("abc")) < 0 && hm_str_cmp(HM_LIT("b"), HM_LIT("abc")) > 0);
    assert_true(hm_str_cmp((struct hm_str){0}, HM_LIT("")) == 0 && hm_str_eq((struct hm_str){0}, HM_LIT("")));
    assert_null(hm_strdup(NULL));
}

static void files_are_written_whole_with_their_mode_and_read_back(void **state) {
    (void)state;
    char dir[] = "/tmp/hamroh-test-XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct hm_buf path = {0}, back = {0};
    struct hm_error err = {0};
    hm_buf_printf(&path, "%s/file", dir);
    assert_true(hm_write_file(path.data, HM_LIT("first"), 0644, &err));
    assert_true(hm_write_file(path.data, HM_LIT("second"), 0600, &err));
    struct stat st;
    assert_int_equal(stat(path.data, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_true(hm_read_file(path.data, 6, &back, &err));
    assert_string_equal(back.data, "second");
    assert_false(hm_read_file(path.data, 5, &back, &err));
    assert_int_equal(err.code, HM_TOO_LARGE);
    assert_string_equal(back.data, "second");
    unlink(path.data);
    assert_false(hm_read_file(path.data, 5, &back, &err));
    assert_int_equal(err.code, HM_NOT_FOUND);
    hm_buf_text(&path, "/none/file");
    assert_false(hm_write_file(path.data, HM_LIT("x"), 0600, &err));
    assert_int_equal(rmdir(dir), 0); // nothing temporary is left behind
    hm_buf_free(&path);
    hm_buf_free(&back);
}

// What a crash in the middle of writing it leaves has a known name and is overwritten.
static void a_secret_has_one_temporary_name_and_what_is_left_under_it_is_wiped(void **state) {
    (void)state;
    char dir[] = "/tmp/hamroh-test-XXXXXX", path[64], left[64], witness[64];
    struct hm_buf back = {0};
    struct hm_error err = {0};
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/key", dir);
    snprintf(left, sizeof left, "%s/key.new", dir);
    snprintf(witness, sizeof witness, "%s/witness", dir);
    assert_true(hm_write_file(left, HM_LIT("secret"), 0600, &err));
    assert_int_equal(link(left, witness), 0);
    assert_true(hm_write_secret(path, HM_LIT("fresh"), &err));
    assert_int_equal(access(left, F_OK), -1);
    assert_true(hm_read_file(witness, 100, &back, &err));
    assert_memory_equal(back.data, "\0\0\0\0\0\0", 6);
    hm_buf_clear(&back);
    assert_true(hm_read_file(path, 100, &back, &err));
    assert_string_equal(back.data, "fresh");
    assert_true(hm_secret_finish(path, &err)); // nothing to do
    unlink(path);
    unlink(witness);
    assert_int_equal(rmdir(dir), 0);
    hm_buf_free(&back);
}

static void a_long_error_is_cut_at_a_character(void **state) {
    (void)state;
    struct hm_buf b = {0};
    struct hm_error err = {0};
    hm_buf_char(&b, 'x');
    for (int i = 0; i < 400; i++)
        hm_buf_text(&b, "ҳ");
    assert_false(hm_fail(&err, HM_PARAMS, "%s", b.data));
    assert_int_equal(err.code, HM_PARAMS);
    assert_true(hm_utf8_valid(hm_str_of(err.message)));
    assert_int_equal(strlen(err.message), 479);
    hm_buf_drop(&b, 1);
    assert_false(hm_fail(&err, HM_PARAMS, "%s", b.data));
    assert_int_equal(strlen(err.message), 478);
    assert_false(hm_fail(&err, HM_NOT_FOUND, "again: %.9s", err.message)); // its own message as an argument
    assert_non_null(strstr(err.message, "again: ҳ"));
    assert_false(hm_fail(NULL, HM_PARAMS, "nobody listens"));
    assert_string_equal(hm_code_message(HM_REQUEST), "Invalid Request");
    assert_string_equal(hm_code_message(HM_TOO_MANY), "too many requests");
    hm_buf_free(&b);
}

static void the_clock_does_not_go_back_by_a_small_step(void **state) {
    (void)state;
    assert_int_equal(hm_clock_after(1000, 1001), 1001);
    assert_int_equal(hm_clock_after(1000000, 999999), 1000000);
    assert_int_equal(hm_clock_after(1000000, 1000000 - 600000), 1000000); // ten minutes: stands still
    assert_int_equal(hm_clock_after(1000000, 1000000 - 600001), 399999);  // more: somebody set it
    assert_int_equal(hm_clock_after(1000, INT64_C(90000000000)), INT64_C(90000000000));
    int64_t before = hm_now_ms();
    assert_true(hm_now_ms() >= before);
}

static void the_manual_clock_stands_until_it_is_moved(void **state) {
    (void)state;
    int64_t real = hm_now_ms();
    assert_true(real > INT64_C(1700000000000));
    uint64_t mono = hm_mono_us();
    assert_false(hm_clock_is_manual());
    hm_clock_manual(1000);
    assert_true(hm_clock_is_manual());
    assert_int_equal(hm_now_ms(), 1000);
    hm_clock_advance(86400000);
    assert_int_equal(hm_now_ms(), 86401000);
    assert_true(hm_mono_us() >= mono);
}

static void a_log_line_is_json_whatever_was_to_be_said(void **state) {
    (void)state;
    int saved = dup(STDERR_FILENO), pipes[2];
    assert_int_equal(pipe(pipes), 0);
    dup2(pipes[1], STDERR_FILENO);
    char long_text[5000], quotes[3000];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    memset(quotes, '"', sizeof quotes - 1);
    quotes[sizeof quotes - 1] = '\0';
    hm_log(HM_DEBUG, "not.shown", "%s", "");
    hm_log(HM_WARN, "worker.killed", "\"ms\":%d", 5);
    hm_log(HM_ERROR, "long", "\"text\":\"%s\"", long_text);
    hm_log(HM_ERROR, "quoted", "\"dir\":\"%s\"", "/a \"b\"\n{\x01");
    hm_log(HM_ERROR, "quotes", "\"dir\":\"%s\"", quotes);
    assert_false(hm_log_on(HM_DEBUG));
    hm_log_level(HM_DEBUG);
    hm_log(HM_DEBUG, "shown", "%s", "");
    hm_log_level(HM_ERROR);
    hm_log(HM_WARN, "not.shown", "%s", "");
    hm_log_level(HM_INFO);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(pipes[1]);
    char out[16384];
    ssize_t len = read(pipes[0], out, sizeof out - 1);
    close(pipes[0]);
    assert_true(len > 0);
    out[len] = '\0';
    int lines = 0;
    for (char *line = strtok(out, "\n"); line; line = strtok(NULL, "\n"), lines++) {
        struct hm_json value, member;
        struct hm_error err = {0};
        assert_true(hm_json_parse(hm_str_of(line), &value, &err));
        assert_true(strlen(line) < 4096); // what a pipe takes whole
        static const char *const has[] = {"ms", "left_out_bytes", "text", "left_out_bytes", "event"};
        assert_true(lines < 5 && hm_json_get(value, has[lines], &member));
        assert_true(hm_json_get(value, "event", &member) && hm_json_get(value, "time", &member));
    }
    assert_int_equal(lines, 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_fold_in_every_script_we_meet),
        cmocka_unit_test(csv_rows_are_read_as_spreadsheets_write_them),
        cmocka_unit_test(csv_faults_name_their_line),
        cmocka_unit_test(encodings_are_recognised),
        cmocka_unit_test(files_of_real_spreadsheets_read_alike),
        cmocka_unit_test(the_uuid_of_rfc_9562_comes_out),
        cmocka_unit_test(ids_ascend_in_every_thread_and_never_repeat_even_when_time_goes_back),
        cmocka_unit_test(names_and_ids_are_checked),
        cmocka_unit_test(wire_fields_come_back_and_nothing_is_read_past_the_end),
        cmocka_unit_test(codes_are_read_however_they_are_typed),
        cmocka_unit_test(buffers_grow_stay_terminated_and_compare),
        cmocka_unit_test(a_secret_has_one_temporary_name_and_what_is_left_under_it_is_wiped),
        cmocka_unit_test(files_are_written_whole_with_their_mode_and_read_back),
        cmocka_unit_test(a_long_error_is_cut_at_a_character),
        cmocka_unit_test(the_clock_does_not_go_back_by_a_small_step),
        cmocka_unit_test(the_manual_clock_stands_until_it_is_moved),
        cmocka_unit_test(a_log_line_is_json_whatever_was_to_be_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
