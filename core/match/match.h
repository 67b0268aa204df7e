// Who helps whom: assignment of mentees to mentors with places. Pure functions: no I/O, no Lua, no globals;
// any thread.
//
// The order of what counts: as many mentees as possible get a mentor; then those with the higher priority;
// then the sum of points. Everything is in whole numbers, so that the result is the same everywhere.
#pragma once
#include "base/buf.h"
#include "base/error.h"

#define HM_MATCH_POINTS_MAX 10000
#define HM_MATCH_PRIORITY_MAX 1000

// The pairs that may be made, row by row (compressed sparse rows), as in the instance files of tests/bench.
struct hm_match_problem {
    int32_t mentees, mentors;
    const int32_t *seats;    // [mentors], 0 and more
    const int64_t *row;      // [mentees + 1]: edges of mentee i are row[i] … row[i + 1] - 1
    const int32_t *mentor;   // [row[mentees]]
    const int32_t *points;   // [row[mentees]], 0 … HM_MATCH_POINTS_MAX
    const int32_t *priority; // [mentees], 0 … HM_MATCH_PRIORITY_MAX, or NULL: all the same
};
struct hm_match_solution {
    int32_t *mentor; // [mentees], -1 = nobody. Owned; hm_match_free
    int32_t matched;
    int64_t total;  // points of all pairs
    bool certified; // optimality was checked on every edge in exact integers
};
// Exact, by shortest augmenting paths, one mentee after the other (Jonker and Volgenant 1987, with several
// places a mentor and a private place of last resort for every mentee, so that unequal sides need no special
// case). Time: mentees × edges at worst, mostly far less. HM_PARAMS names what is wrong with a problem;
// HM_TOO_LARGE when the weights would not fit 63 bits.
bool hm_match_solve(const struct hm_match_problem *problem, struct hm_match_solution *out,
                    struct hm_error *err);
void hm_match_free(struct hm_match_solution *solution);
