// Honest numbers about few people. Pure functions: no I/O, no Lua, no globals; any thread. A value that
// cannot be computed is not available, with a reason, and never 0.
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct hm_value {
    double value;
    const char *why_not; // NULL: value holds; else a static reason such as "n < 2" or "no variance"
};
struct hm_interval {
    double low, high;
};
struct hm_described {
    size_t n;
    struct hm_value mean, sd; // sd with n - 1
};
struct hm_described hm_stats_describe(const double *x, size_t n);

// The same people twice.
struct hm_paired {
    struct hm_described before, after, change;
    struct hm_value t, p; // paired t test, two-sided
    struct hm_interval
        interval; // 95 % of the mean change, valid when t or at least change.sd is available and n >= 2
    bool has_interval;
    struct hm_value d_av,
        d_z; // by the mean of both spreads (headline), by the spread of the changes; both with Hedges'
             // correction 1 - 3/(4 df - 1) (Hedges 1981; names after Lakens 2013)
};
struct hm_paired hm_stats_paired(const double *before, const double *after, size_t n);

// Two groups (Welch 1947); for changes, give the changes of each.
struct hm_welch {
    struct hm_described a, b;
    struct hm_value difference, t, df, p, g; // g: Hedges' g with the pooled spread
    struct hm_interval interval;             // 95 % of the difference
    bool has_interval;
};
struct hm_welch hm_stats_welch(const double *a, size_t na, const double *b, size_t nb);

// Cronbach's alpha of n people (rows) by k items, complete answers only (Cronbach 1951).
struct hm_value hm_stats_alpha(const double *answers, size_t n, size_t k);
// Reliable change (Jacobson and Truax 1991): (after - before) / sqrt(2 SEM^2), SEM = sd sqrt(1 -
// reliability).
struct hm_value hm_stats_reliable_change(double before, double after, double sd, double reliability);

// Student's t: probability of a value below t, and its inverse (0 < p < 1, df > 0). By the regularised
// incomplete beta function (continued fraction, Abramowitz and Stegun 26.5.8), accurate to about 1e-12.
double hm_t_cdf(double t, double df);
double hm_t_quantile(double p, double df);
