// Line differences: what comes out gives the new text from the old one, and no shorter script would.
#include "base/diff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define LINES_MAX 40

struct sample {
    char text[LINES_MAX * 3 + 1];
    int line[LINES_MAX], count;
};

static void fill(struct sample *s, unsigned *seed, int letters) {
    s->count = rand_r(seed) % LINES_MAX;
    s->text[0] = '\0';
    for (int i = 0; i < s->count; i++) {
        s->line[i] = rand_r(seed) % letters;
        sprintf(s->text + 2 * i, "%c\n", 'a' + s->line[i]);
    }
}

// The fewest lines deleted and inserted, the slow way.
static int fewest(const struct sample *a, const struct sample *b) {
    static int best[LINES_MAX + 1][LINES_MAX + 1];
    for (int i = 0; i <= a->count; i++)
        for (int k = 0; k <= b->count; k++) {
            if (!i || !k) {
                best[i][k] = i + k;
                continue;
            }
            int less = best[i - 1][k] < best[i][k - 1] ? best[i - 1][k] : best[i][k - 1];
            best[i][k] = a->line[i - 1] == b->line[k - 1] ? best[i - 1][k - 1] : less + 1;
        }
    return best[a->count][b->count];
}

static void the_script_is_right_and_the_shortest(void **state) {
    unsigned seed = (unsigned)time(NULL);
    (void)state;
    print_message("seed %u\n", seed);
    for (int round = 0; round < 3000; round++) {
        struct sample a, b;
        struct hm_diff diff;
        struct hm_buf made = {0};
        int letters = 1 + round % 6, changes = 0, at = 0;
        fill(&a, &seed, letters);
        fill(&b, &seed, letters);
        hm_diff_make(hm_str_of(a.text), hm_str_of(b.text), &diff);
        for (size_t i = 0; i < diff.hunk_count; i++) {
            const struct hm_diff_hunk *h = &diff.hunks[i];
            int from = (int)h->from - (h->from_count ? 1 : 0);
            for (; at < from; at++) // what stands between the hunks stays
                hm_buf_printf(&made, "%c\n", 'a' + a.line[at]);
            for (size_t k = 0; k < h->count; k++) {
                const struct hm_diff_line *line = &diff.lines[h->first + k];
                if (line->op != '+') assert_int_equal(line->text.ptr[0], 'a' + a.line[at++]);
                if (line->op != '-') hm_buf_printf(&made, "%.*s\n", (int)line->text.len, line->text.ptr);
                changes += line->op != ' ';
            }
        }
        for (; at < a.count; at++)
            hm_buf_printf(&made, "%c\n", 'a' + a.line[at]);
        assert_string_equal(made.len ? made.data : "", b.text);
        assert_int_equal(changes, fewest(&a, &b));
        hm_buf_free(&made);
        hm_diff_free(&diff);
    }
}

static void hunks_are_written_as_by_diff_u(void **state) {
    static const char before[] = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n",
                      after[] = "1\n2\n3\n4\nfive\n6\n7\n8\n9\n10\n11\n";
    struct hm_diff diff;
    struct hm_buf out = {0};
    (void)state;
    hm_diff_make(hm_str_of(before), hm_str_of(after), &diff);
    hm_diff_unified(&diff, &out);
    assert_string_equal(out.data,
                        "@@ -2,11 +2,10 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n 9\n 10\n 11\n-12\n");
    hm_diff_free(&diff);
    hm_buf_clear(&out);
    hm_diff_make(HM_LIT(""), HM_LIT("a\n"), &diff);
    hm_diff_unified(&diff, &out);
    assert_string_equal(out.data, "@@ -0,0 +1,1 @@\n+a\n");
    hm_diff_free(&diff);
    hm_buf_free(&out);
}

static void texts_that_have_nothing_in_common_end_soon(void **state) {
    struct hm_buf a = {0}, b = {0};
    struct hm_diff diff;
    (void)state;
    for (int i = 0; i < 20000; i++) {
        hm_buf_printf(&a, "a%d\n", i);
        hm_buf_printf(&b, "b%d\n", i);
    }
    hm_diff_make(hm_buf_view(&a), hm_buf_view(&b), &diff);
    assert_int_equal(diff.hunk_count, 1);
    assert_int_equal(diff.line_count, 40000);
    hm_diff_free(&diff);
    hm_buf_free(&a);
    hm_buf_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_script_is_right_and_the_shortest),
        cmocka_unit_test(hunks_are_written_as_by_diff_u),
        cmocka_unit_test(texts_that_have_nothing_in_common_end_soon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
