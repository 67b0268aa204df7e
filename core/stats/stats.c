// The formulas, as cited in the header. Sums are taken about the mean, in two passes, so that large values
// lose nothing.
#include "stats/stats.h"
#include <math.h>

static struct hm_value some(double value) {
    return (struct hm_value){value, NULL};
}
static struct hm_value none(const char *why) {
    return (struct hm_value){0, why};
}

static double mean_of(const double *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    return sum / (double)n;
}

static double variance_of(const double *x, size_t n, double mean) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (x[i] - mean) * (x[i] - mean);
    return sum / (double)(n - 1);
}

struct hm_described hm_stats_describe(const double *x, size_t n) {
    struct hm_described out = {.n = n, .mean = none("nobody"), .sd = none("n < 2")};
    if (n) out.mean = some(mean_of(x, n));
    if (n > 1) out.sd = some(sqrt(variance_of(x, n, out.mean.value)));
    return out;
}

// Hedges' correction; at one degree of freedom it would make every effect 0, so there is none.
static bool has_hedges(double df) {
    return df > 1;
}
static double hedges(double df) {
    return 1 - 3 / (4 * df - 1);
}

// A spread that is only rounding: values of size `scale` are known to about 1e-16 of it.
static bool flat(double sd, double scale) {
    return !(sd > 1e-12 * scale);
}

static double largest(const double *x, size_t n) {
    double out = 0;
    for (size_t i = 0; i < n; i++)
        if (fabs(x[i]) > out) out = fabs(x[i]);
    return out;
}

// Spread of the changes without keeping them.
static struct hm_described changes(const double *before, const double *after, size_t n) {
    struct hm_described out = {.n = n, .mean = none("nobody"), .sd = none("n < 2")};
    double sum = 0, square = 0;
    if (!n) return out;
    for (size_t i = 0; i < n; i++)
        sum += after[i] - before[i];
    double mean = sum / (double)n;
    out.mean = some(mean);
    if (n < 2) return out;
    for (size_t i = 0; i < n; i++)
        square += (after[i] - before[i] - mean) * (after[i] - before[i] - mean);
    out.sd = some(sqrt(square / (double)(n - 1)));
    return out;
}

struct hm_paired hm_stats_paired(const double *before, const double *after, size_t n) {
    struct hm_paired out = {.before = hm_stats_describe(before, n),
                            .after = hm_stats_describe(after, n),
                            .change = changes(before, after, n),
                            .t = none("n < 2"),
                            .p = none("n < 2"),
                            .d_av = none("n < 2"),
                            .d_z = none("n < 2")};
    if (n < 2) return out;
    double df = (double)(n - 1), mean = out.change.mean.value, se = out.change.sd.value / sqrt((double)n);
    double half = hm_t_quantile(0.975, df) * se;
    out.interval = (struct hm_interval){mean - half, mean + half};
    out.has_interval = true;
    double scale = fmax(largest(before, n), largest(after, n));
    if (!flat(out.change.sd.value, scale)) {
        out.t = some(mean / se);
        out.p = some(2 * hm_t_cdf(-fabs(mean / se), df));
        out.d_z = has_hedges(df) ? some(hedges(df) * mean / out.change.sd.value) : none("n < 3");
    } else {
        out.t = out.p = out.d_z = none("everybody changed by the same");
    }
    double s1 = out.before.sd.value, s2 = out.after.sd.value, average = sqrt((s1 * s1 + s2 * s2) / 2);
    if (flat(average, scale))
        out.d_av = none("no variance");
    else
        out.d_av = has_hedges(df) ? some(hedges(df) * mean / average) : none("n < 3");
    return out;
}

struct hm_welch hm_stats_welch(const double *a, size_t na, const double *b, size_t nb) {
    struct hm_welch out = {.a = hm_stats_describe(a, na),
                           .b = hm_stats_describe(b, nb),
                           .difference = none("nobody"),
                           .t = none("n < 2"),
                           .df = none("n < 2"),
                           .p = none("n < 2"),
                           .g = none("n < 2")};
    if (!na || !nb) return out;
    double difference = out.a.mean.value - out.b.mean.value;
    out.difference = some(difference);
    if (na < 2 || nb < 2) return out;
    double n1 = (double)na, n2 = (double)nb, s1 = out.a.sd.value, s2 = out.b.sd.value;
    double v1 = s1 * s1 / n1, v2 = s2 * s2 / n2, se = sqrt(v1 + v2);
    if (flat(se, fmax(largest(a, na), largest(b, nb)))) {
        out.t = out.df = out.p = out.g = none("no variance");
        return out;
    }
    double df = (v1 + v2) * (v1 + v2) / (v1 * v1 / (n1 - 1) + v2 * v2 / (n2 - 1));
    double half = hm_t_quantile(0.975, df) * se;
    out.df = some(df);
    out.t = some(difference / se);
    out.p = some(2 * hm_t_cdf(-fabs(difference / se), df));
    out.interval = (struct hm_interval){difference - half, difference + half};
    out.has_interval = true;
    double pooled = sqrt(((n1 - 1) * s1 * s1 + (n2 - 1) * s2 * s2) / (n1 + n2 - 2));
    out.g = some(hedges(n1 + n2 - 2) * difference / pooled);
    return out;
}

struct hm_value hm_stats_alpha(const double *answers, size_t n, size_t k) {
    if (k < 2) return none("fewer than 2 items");
    if (n < 3) return none("fewer than 3 people");
    double items = 0, sum_mean = 0, total = 0;
    for (size_t j = 0; j < k; j++) {
        double mean = 0, square = 0;
        for (size_t i = 0; i < n; i++)
            mean += answers[i * k + j];
        mean /= (double)n;
        for (size_t i = 0; i < n; i++)
            square += (answers[i * k + j] - mean) * (answers[i * k + j] - mean);
        items += square / (double)(n - 1);
        sum_mean += mean;
    }
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (size_t j = 0; j < k; j++)
            sum += answers[i * k + j];
        total += (sum - sum_mean) * (sum - sum_mean);
    }
    total /= (double)(n - 1);
    if (flat(sqrt(total), (double)k * largest(answers, n * k))) return none("no variance");
    return some((double)k / (double)(k - 1) * (1 - items / total));
}

struct hm_value hm_stats_reliable_change(double before, double after, double sd, double reliability) {
    if (!(reliability >= 0 && reliability < 1)) return none("the reliability is not within 0 and 1");
    if (!(sd > 0)) return none("no variance");
    double sem = sd * sqrt(1 - reliability);
    return some((after - before) / sqrt(2 * sem * sem));
}

// ---- Student's t
// -----------------------------------------------------------------------------------------------------------

// Continued fraction of the incomplete beta function, by Lentz's method.
static double beta_fraction(double a, double b, double x) {
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    if (fabs(d) < tiny) d = tiny;
    d = 1 / d;
    double h = d;
    for (int m = 1; m <= 10000; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        d = 1 + even * d;
        c = 1 + even / c;
        if (fabs(d) < tiny) d = tiny;
        if (fabs(c) < tiny) c = tiny;
        d = 1 / d;
        h *= d * c;
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1 + odd * d;
        c = 1 + odd / c;
        if (fabs(d) < tiny) d = tiny;
        if (fabs(c) < tiny) c = tiny;
        d = 1 / d;
        h *= d * c;
        if (fabs(d * c - 1) < 1e-16) break;
    }
    return h;
}

// lgamma() writes a global; its reentrant form is not in C17.
static double ln_gamma(double x) {
    int sign;
    return lgamma_r(x, &sign);
}

static double incomplete_beta(double a, double b, double x) {
    if (x <= 0) return 0;
    if (x >= 1) return 1;
    double front = exp(ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * log(x) + b * log1p(-x));
    if (x < (a + 1) / (a + b + 2)) return front * beta_fraction(a, b, x) / a;
    return 1 - front * beta_fraction(b, a, 1 - x) / b;
}

double hm_t_cdf(double t, double df) {
    // Near 0 the tail is a small difference of large numbers, so the middle is computed instead.
    double half = t * t < df ? 0.5 - 0.5 * incomplete_beta(0.5, df / 2, t * t / (df + t * t))
                             : 0.5 * incomplete_beta(df / 2, 0.5, df / (df + t * t));
    return t < 0 ? half : 1 - half;
}

double hm_t_quantile(double p, double df) {
    if (p == 0.5) return 0;
    if (p > 0.5) return -hm_t_quantile(1 - p, df);
    double low = -1, high = 0;
    while (hm_t_cdf(low, df) > p && low > -1e150)
        low *= 2;
    for (int i = 0; i < 200 && high - low > 1e-15 * -low; i++) {
        double middle = (low + high) / 2;
        if (hm_t_cdf(middle, df) < p)
            low = middle;
        else
            high = middle;
    }
    return (low + high) / 2;
}
