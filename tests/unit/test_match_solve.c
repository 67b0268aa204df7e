// The assignment against every assignment there is: small instances, all of them enumerated by the test.
#include "match/match.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define MENTEES 6
#define MENTORS 4
#define EDGES 48

struct instance {
    int32_t seats[MENTORS];
    int64_t row[MENTEES + 1];
    int32_t mentor[EDGES], points[EDGES], priority[MENTEES];
    struct hm_match_problem p;
};

static uint64_t dice;
static int32_t roll(int32_t sides) { // 0 … sides - 1
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return (int32_t)((dice >> 11) % (uint64_t)sides);
}

static int32_t some_points(int32_t habit) {
    static const int32_t few[] = {0, 1, 5000, HM_MATCH_POINTS_MAX};
    if (habit == 0) return few[roll(4)];
    if (habit == 1) return roll(3); // ties everywhere
    return roll(HM_MATCH_POINTS_MAX + 1);
}

// An edge may come twice, a mentee may have none, a mentor may have no places.
static void make(struct instance *in) {
    int32_t habit = roll(3), density = roll(4), priorities = roll(4);
    int64_t edges = 0;
    in->p = (struct hm_match_problem){.mentees = roll(MENTEES + 1),
                                      .mentors = roll(MENTORS + 1),
                                      .seats = in->seats,
                                      .row = in->row,
                                      .mentor = in->mentor,
                                      .points = in->points,
                                      .priority = priorities ? in->priority : NULL};
    for (int32_t j = 0; j < in->p.mentors; j++)
        in->seats[j] = roll(4);
    in->row[0] = 0;
    for (int32_t i = 0; i < in->p.mentees; i++) {
        in->priority[i] = priorities == 1 ? roll(2) * HM_MATCH_PRIORITY_MAX : roll(priorities + 1);
        for (int32_t j = 0; j < 2 * in->p.mentors; j++) {
            if (roll(4) > density) continue;
            in->mentor[edges] = roll(in->p.mentors);
            in->points[edges++] = some_points(habit);
        }
        in->row[i + 1] = edges;
    }
}

struct worth {
    int32_t matched;
    int64_t priority, points;
};

static bool better(struct worth a, struct worth b) {
    if (a.matched != b.matched) return a.matched > b.matched;
    if (a.priority != b.priority) return a.priority > b.priority;
    return a.points > b.points;
}

static void enumerate(const struct instance *in, int32_t mentee, int32_t *left, struct worth so_far,
                      struct worth *best) {
    if (mentee == in->p.mentees) {
        if (better(so_far, *best)) *best = so_far;
        return;
    }
    enumerate(in, mentee + 1, left, so_far, best);
    for (int64_t e = in->row[mentee]; e < in->row[mentee + 1]; e++) {
        int32_t j = in->mentor[e];
        if (!left[j]) continue;
        struct worth with = so_far;
        with.matched++;
        with.priority += in->p.priority ? in->priority[mentee] : 0;
        with.points += in->points[e];
        left[j]--;
        enumerate(in, mentee + 1, left, with, best);
        left[j]++;
    }
}

// What a solution is worth, counted from its pairs alone; fails when a pair may not be.
static struct worth worth_of(const struct instance *in, const struct hm_match_solution *s) {
    struct worth out = {0};
    int32_t left[MENTORS];
    memcpy(left, in->seats, sizeof left);
    for (int32_t i = 0; i < in->p.mentees; i++) {
        int32_t j = s->mentor[i], most = -1;
        if (j == -1) continue;
        assert_true(j >= 0 && j < in->p.mentors);
        assert_true(left[j]-- > 0);
        for (int64_t e = in->row[i]; e < in->row[i + 1]; e++)
            if (in->mentor[e] == j && in->points[e] > most) most = in->points[e];
        assert_true(most >= 0); // such a pair may be made
        out.matched++;
        out.priority += in->p.priority ? in->priority[i] : 0;
        out.points += most;
    }
    return out;
}

static void no_assignment_is_better_on_small_instances(void **state) {
    (void)state;
    dice = 20260901;
    for (int n = 0; n < 20000; n++) {
        struct instance in = {0};
        struct hm_match_solution s = {0};
        struct hm_error err = {0};
        make(&in);
        if (!hm_match_solve(&in.p, &s, &err)) fail_msg("instance %d: %s", n, err.message);
        int32_t left[MENTORS];
        struct worth best = {0};
        memcpy(left, in.seats, sizeof left);
        enumerate(&in, 0, left, (struct worth){0}, &best);
        struct worth got = worth_of(&in, &s);
        if (better(best, got))
            fail_msg("instance %d: %d pairs, priority %lld, points %lld; there is %d, %lld, %lld", n,
                     got.matched, (long long)got.priority, (long long)got.points, best.matched,
                     (long long)best.priority, (long long)best.points);
        assert_false(better(got, best)); // the enumeration missed nothing
        assert_int_equal(s.matched, got.matched);
        assert_int_equal(s.total, got.points);
        assert_true(s.certified);
        hm_match_free(&s);
    }
}

static void more_pairs_count_before_priority_and_priority_before_points(void **state) {
    (void)state;
    struct hm_match_solution s;
    // One place; the second mentee has no points and the higher priority.
    static const int32_t seats[] = {1}, mentor[] = {0, 0}, points[] = {10000, 0}, priority[] = {0, 1};
    static const int64_t row[] = {0, 1, 2};
    struct hm_match_problem p = {2, 1, seats, row, mentor, points, priority};
    assert_true(hm_match_solve(&p, &s, NULL));
    assert_int_equal(s.mentor[0], -1);
    assert_int_equal(s.mentor[1], 0);
    hm_match_free(&s);
    p.priority = NULL;
    assert_true(hm_match_solve(&p, &s, NULL));
    assert_int_equal(s.mentor[0], 0);
    assert_int_equal(s.mentor[1], -1);
    hm_match_free(&s);
    // Two ordinary mentees, each with a mentor of their own, go before one with the highest priority in the
    // place of one of them: all three get nothing more than two places.
    static const int32_t seats2[] = {1, 1}, mentor2[] = {0, 1, 0, 1}, points2[] = {0, 0, 0, 0},
                         priority2[] = {0, 0, HM_MATCH_PRIORITY_MAX};
    static const int64_t row2[] = {0, 1, 2, 4};
    p = (struct hm_match_problem){3, 2, seats2, row2, mentor2, points2, priority2};
    assert_true(hm_match_solve(&p, &s, NULL));
    assert_int_equal(s.matched, 2);
    assert_true(s.mentor[2] >= 0);
    assert_true(s.certified);
    hm_match_free(&s);
}

static void the_better_of_two_equal_edges_counts(void **state) {
    (void)state;
    static const int32_t seats[] = {2}, mentor[] = {0, 0, 0}, points[] = {3, 9, 4};
    static const int64_t row[] = {0, 3};
    struct hm_match_problem p = {1, 1, seats, row, mentor, points, NULL};
    struct hm_match_solution s;
    assert_true(hm_match_solve(&p, &s, NULL));
    assert_int_equal(s.total, 9);
    assert_true(s.certified);
    hm_match_free(&s);
}

static void nobody_on_one_side_is_no_error(void **state) {
    (void)state;
    static const int64_t row[] = {0, 0, 0};
    static const int32_t seats[] = {1, 0};
    struct hm_match_solution s;
    struct hm_match_problem p = {.row = row, .seats = seats};
    assert_true(hm_match_solve(&p, &s, NULL));
    assert_int_equal(s.matched, 0);
    assert_true(s.certified);
    hm_match_free(&s);
    p.mentees = 2;
    assert_true(hm_match_solve(&p, &s, NULL));
    assert_int_equal(s.mentor[0], -1);
    assert_int_equal(s.mentor[1], -1);
    hm_match_free(&s);
    p.mentors = 2;
    assert_true(hm_match_solve(&p, &s, NULL));
    assert_int_equal(s.matched, 0);
    assert_int_equal(s.total, 0);
    assert_true(s.certified);
    hm_match_free(&s);
}

static void a_whole_school_is_certified_and_the_same_each_time(void **state) {
    (void)state;
    enum { PEOPLE = 400, HELPERS = 60, EACH = 20 };
    static int32_t seats[HELPERS], mentor[PEOPLE * EACH], points[PEOPLE * EACH], priority[PEOPLE];
    static int64_t row[PEOPLE + 1];
    dice = 7;
    for (int32_t j = 0; j < HELPERS; j++)
        seats[j] = roll(7);
    for (int32_t i = 0; i < PEOPLE; i++) {
        priority[i] = roll(5);
        row[i + 1] = (i + 1) * EACH;
        for (int64_t e = row[i]; e < row[i + 1]; e++) {
            mentor[e] = roll(HELPERS);
            points[e] = roll(HM_MATCH_POINTS_MAX + 1);
        }
    }
    struct hm_match_problem p = {PEOPLE, HELPERS, seats, row, mentor, points, priority};
    struct hm_match_solution one, two;
    assert_true(hm_match_solve(&p, &one, NULL));
    assert_true(hm_match_solve(&p, &two, NULL));
    assert_true(one.certified);
    assert_int_equal(one.total, two.total);
    assert_memory_equal(one.mentor, two.mentor, sizeof *one.mentor * PEOPLE);
    hm_match_free(&one);
    hm_match_free(&two);
}

static void refused(const struct hm_match_problem *p, enum hm_code code, const char *part) {
    struct hm_match_solution s = {0};
    struct hm_error err = {0};
    assert_false(hm_match_solve(p, &s, &err));
    assert_int_equal(err.code, code);
    if (!strstr(err.message, part)) fail_msg("\"%s\" is not in: %s", part, err.message);
    assert_null(s.mentor);
}

static void a_problem_that_is_none_is_refused_with_what_is_wrong(void **state) {
    (void)state;
    static const int32_t seats[] = {1, 1}, mentor[] = {0, 1}, points[] = {5, 5}, priority[] = {0, 0};
    static const int64_t row[] = {0, 1, 2};
    const struct hm_match_problem good = {2, 2, seats, row, mentor, points, priority};
    struct hm_match_solution s;
    assert_true(hm_match_solve(&good, &s, NULL));
    hm_match_free(&s);
    struct hm_match_problem p = good;
    p.mentees = -1;
    refused(&p, HM_PARAMS, "negative");
    p = good;
    p.mentors = -1;
    refused(&p, HM_PARAMS, "negative");
    p = good;
    p.seats = (const int32_t[]){1, -1};
    refused(&p, HM_PARAMS, "mentor 1 has a negative number of places");
    p.seats = (const int32_t[]){INT32_MAX, 1};
    refused(&p, HM_TOO_LARGE, "places");
    p = good;
    p.row = (const int64_t[]){0, 2, 1};
    refused(&p, HM_PARAMS, "not in order at mentee 1");
    p = good;
    p.mentor = (const int32_t[]){0, 2};
    refused(&p, HM_PARAMS, "mentee 1 has an edge to mentor 2");
    p.mentor = (const int32_t[]){-1, 0};
    refused(&p, HM_PARAMS, "mentee 0 has an edge to mentor -1");
    p = good;
    p.points = (const int32_t[]){5, HM_MATCH_POINTS_MAX + 1};
    refused(&p, HM_PARAMS, "10001 points");
    p.points = (const int32_t[]){-1, 0};
    refused(&p, HM_PARAMS, "-1 points");
    p = good;
    p.priority = (const int32_t[]){0, HM_MATCH_PRIORITY_MAX + 1};
    refused(&p, HM_PARAMS, "priority 1001 of mentee 1");
    p.priority = (const int32_t[]){-1, 0};
    refused(&p, HM_PARAMS, "priority -1 of mentee 0");
}

static void weights_that_would_not_fit_are_refused(void **state) {
    (void)state;
    enum { MANY = 400000 };
    int64_t *row = calloc(MANY + 1, sizeof *row);
    int32_t *priority = malloc(MANY * sizeof *priority);
    assert_true(row && priority);
    for (int i = 0; i < MANY; i++)
        priority[i] = HM_MATCH_PRIORITY_MAX;
    struct hm_match_problem p = {.mentees = MANY, .row = row, .priority = priority};
    refused(&p, HM_TOO_LARGE, "too many to weigh exactly");
    free(row);
    free(priority);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_assignment_is_better_on_small_instances),
        cmocka_unit_test(more_pairs_count_before_priority_and_priority_before_points),
        cmocka_unit_test(the_better_of_two_equal_edges_counts),
        cmocka_unit_test(nobody_on_one_side_is_no_error),
        cmocka_unit_test(a_whole_school_is_certified_and_the_same_each_time),
        cmocka_unit_test(a_problem_that_is_none_is_refused_with_what_is_wrong),
        cmocka_unit_test(weights_that_would_not_fit_are_refused),
    };
    return cmocka_run_group_tests_name("match: solve", tests, NULL, NULL);
}
