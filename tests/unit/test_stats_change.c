// Numbers about few people: against values computed elsewhere (shared/data, when it is there), against
// published tables, and what must hold whatever the data are.
#include "base/csv.h"
#include "base/json.h"
#include "stats/stats.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void near_(double got, double want, double within, const char *what, int line) {
    if (!(fabs(got - want) <= within)) fail_msg("line %d: %s is %.12g, not %.12g", line, what, got, want);
}
#define assert_near(got, want, within) near_(got, want, within, #got, __LINE__)
#define assert_there(v) assert_null((v).why_not)
#define assert_not_available(v, why)                                                                         \
    do {                                                                                                     \
        assert_non_null((v).why_not);                                                                        \
        assert_string_equal((v).why_not, why);                                                               \
    } while (0)

// ---- Student's t --------------------------------------------------------------------------------------

static void quantiles_of_t_are_those_of_the_tables(void **state) {
    (void)state;
    static const struct {
        double p, df, t, within;
    } table[] = {
        {0.975, 1, 12.7062, 5e-5},    {0.975, 2, 4.302653, 5e-7},   {0.975, 5, 2.570582, 5e-7},
        {0.975, 10, 2.228139, 5e-7},  {0.975, 30, 2.042272, 5e-7},  {0.975, 120, 1.979930, 5e-7},
        {0.95, 1, 6.313752, 5e-7},    {0.95, 10, 1.812461, 5e-7},   {0.995, 5, 4.032143, 5e-7},
        {0.9995, 20, 3.849516, 5e-7}, {0.975, 1e7, 1.959964, 1e-6}, // the normal distribution
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        assert_near(hm_t_quantile(table[i].p, table[i].df), table[i].t, table[i].within);
        assert_near(hm_t_quantile(1 - table[i].p, table[i].df), -table[i].t, table[i].within);
    }
    assert_near(hm_t_quantile(0.5, 3), 0, 0);
}

static void the_distribution_and_its_inverse_agree(void **state) {
    (void)state;
    static const double p[] = {1e-6, 0.001, 0.025, 0.3, 0.5, 0.6, 0.975, 0.9999}, df[] = {1, 1.5, 4, 29, 400};
    for (size_t i = 0; i < sizeof p / sizeof *p; i++)
        for (size_t j = 0; j < sizeof df / sizeof *df; j++)
            assert_near(hm_t_cdf(hm_t_quantile(p[i], df[j]), df[j]), p[i], 1e-10);
    for (double t = -4; t <= 4; t += 0.25) {
        // Closed forms for one and two degrees of freedom.
        assert_near(hm_t_cdf(t, 1), 0.5 + atan(t) / acos(-1), 1e-12);
        assert_near(hm_t_cdf(t, 2), 0.5 + t / (2 * sqrt(2 + t * t)), 1e-12);
    }
}

// ---- what holds for any data --------------------------------------------------------------------------

static const double before[] = {3, 5, 4, 8, 6, 7, 2, 9}, after[] = {5, 6, 4, 9, 9, 7, 5, 8};
#define N (sizeof before / sizeof *before)

static void a_small_example_is_what_paper_and_pencil_give(void **state) {
    (void)state;
    static const double x[] = {2, 4, 4, 4, 5, 5, 7, 9}; // mean 5, squares about it 32
    struct hm_described d = hm_stats_describe(x, 8);
    assert_near(d.mean.value, 5, 1e-15);
    assert_near(d.sd.value, sqrt(32.0 / 7), 1e-15);
    struct hm_paired r = hm_stats_paired(before, after, N);
    // Changes 2 1 0 1 3 0 3 -1: sum 9, squares 25, about the mean 25 - 81/8 = 14.875.
    double sd = sqrt(14.875 / 7), se = sd / sqrt(8);
    assert_near(r.change.mean.value, 9.0 / 8, 1e-15);
    assert_near(r.change.sd.value, sd, 1e-14);
    assert_near(r.t.value, 9.0 / 8 / se, 1e-13);
    assert_true(r.has_interval);
    assert_near(r.interval.low, 9.0 / 8 - 2.3646242510 * se, 1e-9);
    assert_near(r.interval.high, 9.0 / 8 + 2.3646242510 * se, 1e-9);
    assert_near(r.d_z.value, (1 - 3.0 / 27) * 9 / 8 / sd, 1e-13);
}

static void moving_and_stretching_the_scale_changes_only_what_it_must(void **state) {
    (void)state;
    static const double shifts[] = {0, 17, -400, 1e6}, factors[] = {1, 0.05, 100};
    struct hm_paired plain = hm_stats_paired(before, after, N);
    struct hm_welch welch = hm_stats_welch(after, N, before, N - 2);
    for (size_t s = 0; s < 4; s++) {
        for (size_t f = 0; f < 3; f++) {
            double b[N], a[N], k = factors[f];
            for (size_t i = 0; i < N; i++)
                b[i] = before[i] * k + shifts[s], a[i] = after[i] * k + shifts[s];
            struct hm_paired r = hm_stats_paired(b, a, N);
            assert_near(r.change.mean.value / k, plain.change.mean.value, 1e-7);
            assert_near(r.change.sd.value / k, plain.change.sd.value, 1e-7);
            assert_near(r.t.value, plain.t.value, 1e-6);
            assert_near(r.p.value, plain.p.value, 1e-6);
            assert_near(r.d_av.value, plain.d_av.value, 1e-6);
            assert_near(r.d_z.value, plain.d_z.value, 1e-6);
            assert_near(r.interval.low / k, plain.interval.low, 1e-6);
            struct hm_welch w = hm_stats_welch(a, N, b, N - 2);
            assert_near(w.difference.value / k, welch.difference.value, 1e-6);
            assert_near(w.t.value, welch.t.value, 1e-6);
            assert_near(w.df.value, welch.df.value, 1e-6);
            assert_near(w.g.value, welch.g.value, 1e-6);
        }
    }
}

static void turning_the_question_round_turns_the_sign(void **state) {
    (void)state;
    struct hm_paired there = hm_stats_paired(before, after, N), back = hm_stats_paired(after, before, N);
    assert_near(back.change.mean.value, -there.change.mean.value, 1e-15);
    assert_near(back.t.value, -there.t.value, 1e-13);
    assert_near(back.p.value, there.p.value, 1e-13);
    assert_near(back.interval.low, -there.interval.high, 1e-13);
    assert_near(back.d_av.value, -there.d_av.value, 1e-13);
    struct hm_welch w = hm_stats_welch(after, N, before, N), v = hm_stats_welch(before, N, after, N);
    assert_near(v.difference.value, -w.difference.value, 1e-15);
    assert_near(v.g.value, -w.g.value, 1e-13);
    assert_near(v.p.value, w.p.value, 1e-13);
    assert_near(v.df.value, w.df.value, 1e-12);
}

// ---- what cannot be known -----------------------------------------------------------------------------

static void what_cannot_be_computed_says_why_and_is_not_zero(void **state) {
    (void)state;
    static const double same[] = {4, 4, 4, 4}, more[] = {6, 6, 6, 6}, up[] = {1, 2, 3, 4},
                        up2[] = {3, 4, 5, 6};
    assert_not_available(hm_stats_describe(NULL, 0).mean, "nobody");
    assert_not_available(hm_stats_describe(up, 1).sd, "n < 2");
    assert_there(hm_stats_describe(up, 1).mean);
    struct hm_paired r = hm_stats_paired(NULL, NULL, 0);
    assert_not_available(r.change.mean, "nobody");
    assert_not_available(r.t, "n < 2");
    assert_false(r.has_interval);
    r = hm_stats_paired(up, up2, 1);
    assert_near(r.change.mean.value, 2, 0);
    assert_not_available(r.d_av, "n < 2");
    assert_false(r.has_interval);
    r = hm_stats_paired(up, up2, 4); // different people, the same change
    assert_not_available(r.t, "everybody changed by the same");
    assert_not_available(r.p, "everybody changed by the same");
    assert_not_available(r.d_z, "everybody changed by the same");
    assert_there(r.d_av);
    r = hm_stats_paired(same, more, 4);
    assert_not_available(r.d_av, "no variance");
    r = hm_stats_paired(before, after, 2); // the correction would make it 0 whatever it is
    assert_not_available(r.d_z, "n < 3");
    assert_not_available(r.d_av, "n < 3");
    struct hm_welch w = hm_stats_welch(up, 4, NULL, 0);
    assert_not_available(w.difference, "nobody");
    w = hm_stats_welch(up, 4, up2, 1);
    assert_there(w.difference);
    assert_not_available(w.t, "n < 2");
    assert_false(w.has_interval);
    w = hm_stats_welch(same, 4, more, 4);
    assert_near(w.difference.value, -2, 0);
    assert_not_available(w.t, "no variance");
    assert_not_available(w.g, "no variance");
    assert_false(w.has_interval);
    assert_not_available(hm_stats_alpha(up, 4, 1), "fewer than 2 items");
    assert_not_available(hm_stats_alpha(up, 2, 2), "fewer than 3 people");
    assert_not_available(hm_stats_alpha(before, 1, 8), "fewer than 3 people");
    static const double flat[] = {1, 2, 1, 2, 1, 2};
    assert_not_available(hm_stats_alpha(flat, 3, 2), "no variance");
    assert_not_available(hm_stats_reliable_change(1, 2, 0, 0.8), "no variance");
    assert_not_available(hm_stats_reliable_change(1, 2, 1, 1), "the reliability is not within 0 and 1");
    assert_not_available(hm_stats_reliable_change(1, 2, 1, -0.1), "the reliability is not within 0 and 1");
    assert_not_available(hm_stats_reliable_change(1, 2, 1, NAN), "the reliability is not within 0 and 1");
}

static void a_spread_that_is_only_rounding_is_none(void **state) {
    (void)state;
    double b[10], a[10];
    for (int i = 0; i < 10; i++)
        b[i] = 0.1 * i, a[i] = b[i] + 0.3; // not exactly the same change in binary
    struct hm_paired r = hm_stats_paired(b, a, 10);
    assert_not_available(r.t, "everybody changed by the same");
    assert_near(r.change.mean.value, 0.3, 1e-12);
}

// ---- against values computed elsewhere ----------------------------------------------------------------

struct reference {
    struct hm_buf text;
    struct hm_json root;
};

static void shared_path(struct hm_buf *path, const char *name) {
    const char *shared = getenv("HAMROH_SHARED_DATA");
    hm_buf_printf(path, "%s/%s", shared ? shared : HAMROH_SOURCE_DIR "/../shared/data", name);
}

static bool shared_file(const char *name, struct hm_buf *text) {
    struct hm_buf path = {0};
    shared_path(&path, name);
    bool there = hm_read_file(path.data, 4 << 20, text, NULL);
    if (!there) print_message("%s is not here: skipped\n", path.data);
    hm_buf_free(&path);
    return there;
}

static int reference_setup(void **state) {
    struct reference *ref = hm_alloc(sizeof *ref);
    struct hm_error err = {0};
    *state = ref;
    if (shared_file("reference.json", &ref->text) &&
        !hm_json_parse(hm_buf_view(&ref->text), &ref->root, &err))
        fail_msg("reference.json: %s", err.message);
    return 0;
}

static int reference_teardown(void **state) {
    struct reference *ref = *state;
    hm_buf_free(&ref->text);
    free(ref);
    return 0;
}

static struct hm_json at(const struct reference *ref, const char *format, const char *part,
                         const char *name) {
    char path[200];
    struct hm_json value;
    snprintf(path, sizeof path, format, part, name);
    if (!hm_json_path(ref->root, path, &value)) fail_msg("reference.json has no %s", path);
    return value;
}

static double want(const struct reference *ref, const char *part, const char *name) {
    double out;
    assert_true(hm_json_double(at(ref, "%s.%s", part, name), &out));
    return out;
}

// Columns of a CSV file as numbers; NAN where a cell is empty.
struct column {
    const char *name;
    size_t at;
    double x[3000];
};
struct columns {
    struct column *list;
    size_t count, rows;
    bool named;
};

static bool take_row(void *arg, const struct hm_csv_row *row) {
    struct columns *c = arg;
    for (size_t k = 0; k < c->count; k++) {
        struct column *column = &c->list[k];
        char text[32];
        if (!c->named) {
            for (column->at = 0; column->at < row->count; column->at++)
                if (hm_str_eq(row->cells[column->at], hm_str_of(column->name))) break;
            assert_true(column->at < row->count);
            continue;
        }
        struct hm_str cell = row->cells[column->at];
        snprintf(text, sizeof text, "%.*s", (int)cell.len, cell.ptr);
        assert_true(c->rows < 3000);
        column->x[c->rows] = cell.len && strcmp(text, "NA") != 0 ? strtod(text, NULL) : (double)NAN;
    }
    if (c->named) c->rows++;
    c->named = true;
    return true;
}

static size_t read_columns(const char *file, struct column *list, size_t count) {
    struct hm_buf text = {0};
    struct hm_error err = {0};
    struct columns c = {.list = list, .count = count};
    if (!shared_file(file, &text)) return 0;
    if (!hm_csv_parse(hm_buf_view(&text), 0, take_row, &c, &err)) fail_msg("%s: %s", file, err.message);
    hm_buf_free(&text);
    return c.rows;
}

static struct column many[8]; // too much for a stack

static void marks_of_a_real_class_change_as_scipy_says(void **state) {
    struct reference *ref = *state;
    static const char *const parts[] = {"student_mat.G1_to_G2", "student_mat.G1_to_G3"};
    for (size_t i = 0; i < 3; i++)
        many[i].name = (const char *const[]){"G1", "G2", "G3"}[i];
    size_t n = ref->text.len ? read_columns("student-mat.csv", many, 3) : 0;
    if (!n) skip();
    assert_int_equal(n, 395);
    for (size_t i = 0; i < 2; i++) {
        const char *part = parts[i];
        struct hm_paired r = hm_stats_paired(many[0].x, many[1 + i].x, n);
        assert_near(r.before.mean.value, want(ref, part, "mean_pre"), 1e-9);
        assert_near(r.after.mean.value, want(ref, part, "mean_post"), 1e-9);
        assert_near(r.before.sd.value, want(ref, part, "sd_pre"), 1e-9);
        assert_near(r.after.sd.value, want(ref, part, "sd_post"), 1e-9);
        assert_near(r.change.mean.value, want(ref, part, "mean_diff"), 1e-9);
        assert_near(r.change.sd.value, want(ref, part, "sd_diff"), 1e-9);
        assert_near(r.t.value, want(ref, part, "t"), 1e-9);
        assert_near(r.p.value, want(ref, part, "p"), 1e-9);
        assert_near(r.d_z.value, want(ref, part, "g_z"), 1e-9);
        assert_near(r.d_av.value, want(ref, part, "g_av"), 1e-9);
        double bound[2];
        struct hm_json_iter it = hm_json_iter(at(ref, "%s.%s", part, "ci95_mean_diff"));
        struct hm_json value;
        for (int k = 0; k < 2; k++)
            assert_true(hm_json_next(&it, NULL, &value) && hm_json_double(value, &bound[k]));
        assert_near(r.interval.low, bound[0], 1e-9);
        assert_near(r.interval.high, bound[1], 1e-9);
    }
    double *table = hm_alloc_array(n * 3, sizeof *table);
    for (size_t i = 0; i < n * 3; i++)
        table[i] = many[i % 3].x[i / 3];
    double alpha;
    assert_true(hm_json_double(at(ref, "%s.%s", "student_mat", "alpha_G1_G2_G3"), &alpha));
    assert_near(hm_stats_alpha(table, n, 3).value, alpha, 1e-9);
    free(table);
    double sd = want(ref, "student_mat.rci_G1_to_G3_rel085", "sd_pre"), first;
    struct hm_json_iter it = hm_json_iter(at(ref, "%s.%s", "student_mat.rci_G1_to_G3_rel085", "rci_first5"));
    struct hm_json value;
    size_t seen = 0;
    for (; hm_json_next(&it, NULL, &value); seen++) {
        assert_true(hm_json_double(value, &first));
        assert_near(hm_stats_reliable_change(many[0].x[seen], many[2].x[seen], sd, 0.85).value, first, 1e-9);
    }
    assert_int_equal(seen, 5);
}

static void the_couple_of_jacobson_and_truax_changed_reliably(void **state) {
    struct reference *ref = *state;
    double rc = hm_stats_reliable_change(32.5, 47.5, 7.5, 0.88).value;
    assert_near(rc, 4.08, 0.005); // as printed in the paper
    if (!ref->text.len) skip();
    assert_near(rc, want(ref, "rci_worked_example", "RC"), 1e-9);
}

// Reads a scale's items, turns those that are keyed the other way (1 … 6), and gives complete rows.
static size_t bfi_rows(const struct reference *ref, const char *scale, double *complete, size_t *k) {
    struct hm_json_iter it = hm_json_iter(at(ref, "%s.%s.key", "bfi", scale));
    struct hm_json value;
    static char names[8][8];
    bool turned[8];
    size_t count = 0;
    for (*k = 0; hm_json_next(&it, NULL, &value); ++*k) {
        struct hm_buf name = {0};
        assert_true(*k < 8 && hm_json_string(value, &name));
        turned[*k] = name.data[0] == '-';
        snprintf(names[*k], sizeof names[*k], "%s", name.data + turned[*k]);
        many[*k].name = names[*k];
        hm_buf_free(&name);
    }
    size_t n = read_columns("bfi.csv", many, *k);
    for (size_t i = 0; i < n; i++) {
        bool whole = true;
        for (size_t j = 0; j < *k; j++) {
            if (turned[j]) many[j].x[i] = 7 - many[j].x[i];
            if (isnan(many[j].x[i])) whole = false;
        }
        for (size_t j = 0; whole && j < *k; j++)
            complete[count * *k + j] = many[j].x[i];
        count += whole;
    }
    return count;
}

static void reliabilities_of_five_scales_are_those_of_psych(void **state) {
    struct reference *ref = *state;
    static const char *const scales[] = {"Agreeableness", "Conscientiousness", "Extraversion", "Neuroticism",
                                         "Openness"};
    static double complete[3000 * 8];
    if (!ref->text.len) skip();
    for (size_t s = 0; s < 5; s++) {
        size_t k, n = bfi_rows(ref, scales[s], complete, &k);
        double alpha, people;
        if (!n) skip();
        assert_true(hm_json_double(at(ref, "bfi.%s.%s", scales[s], "n_complete"), &people));
        assert_near((double)n, people, 0);
        assert_true(hm_json_double(at(ref, "bfi.%s.listwise.%s", scales[s], "alpha_raw"), &alpha));
        assert_near(hm_stats_alpha(complete, n, k).value, alpha, 1e-9);
    }
}

static void two_groups_differ_as_scipy_says(void **state) {
    struct reference *ref = *state;
    static const char *const names[] = {"A1", "A2", "A3", "A4", "A5", "gender"};
    static double group[2][3000];
    const char *part = "bfi_agreeableness_female_minus_male";
    size_t count[2] = {0, 0};
    for (size_t i = 0; i < 6; i++)
        many[i].name = names[i];
    size_t n = ref->text.len ? read_columns("bfi.csv", many, 6) : 0;
    if (!n) skip();
    for (size_t i = 0; i < n; i++) { // the mean of the items that were answered
        double sum = 0, answered = 0;
        for (size_t j = 0; j < 5; j++) {
            double x = many[j].x[i];
            if (isnan(x)) continue;
            sum += j ? x : 7 - x;
            answered++;
        }
        int g = many[5].x[i] > 1.5 ? 0 : 1; // 2: women
        if (answered > 0) group[g][count[g]++] = sum / answered;
    }
    assert_near((double)count[0], want(ref, part, "n1"), 0);
    assert_near((double)count[1], want(ref, part, "n2"), 0);
    struct hm_welch w = hm_stats_welch(group[0], count[0], group[1], count[1]);
    assert_near(w.a.mean.value, want(ref, part, "mean1"), 1e-9);
    assert_near(w.b.mean.value, want(ref, part, "mean2"), 1e-9);
    assert_near(w.t.value, want(ref, part, "welch_t"), 1e-9);
    assert_near(w.p.value, want(ref, part, "welch_p"), 1e-9);
    assert_near(w.g.value, want(ref, part, "hedges_g"), 1e-9);
}

int main(void) {
#define WITH_REFERENCE(name) cmocka_unit_test_setup_teardown(name, reference_setup, reference_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_of_t_are_those_of_the_tables),
        cmocka_unit_test(the_distribution_and_its_inverse_agree),
        cmocka_unit_test(a_small_example_is_what_paper_and_pencil_give),
        cmocka_unit_test(moving_and_stretching_the_scale_changes_only_what_it_must),
        cmocka_unit_test(turning_the_question_round_turns_the_sign),
        cmocka_unit_test(what_cannot_be_computed_says_why_and_is_not_zero),
        cmocka_unit_test(a_spread_that_is_only_rounding_is_none),
        WITH_REFERENCE(marks_of_a_real_class_change_as_scipy_says),
        WITH_REFERENCE(the_couple_of_jacobson_and_truax_changed_reliably),
        WITH_REFERENCE(reliabilities_of_five_scales_are_those_of_psych),
        WITH_REFERENCE(two_groups_differ_as_scipy_says),
    };
    return cmocka_run_group_tests_name("stats: change", tests, NULL, NULL);
}
