// See metric.h. Whole numbers are written whole: a counter beyond 2^53 would lose its last digits as a
// double.
#include "base/metric.h"
#include "base/json.h"

static const uint64_t bounds_us[HM_TIME_BUCKETS] = {250,   500,    1000,   2500,   5000,    10000,   25000,
                                                    50000, 100000, 250000, 500000, 1000000, 2500000, 5000000};

void hm_times_add(struct hm_times *times, uint64_t us) {
    size_t i = 0;
    while (i < HM_TIME_BUCKETS && us > bounds_us[i])
        i++;
    if (i < HM_TIME_BUCKETS) times->bucket[i]++;
    times->count++;
    times->sum_us += us;
}

void hm_metric_head(struct hm_buf *out, const char *name, enum hm_metric_type type, const char *help) {
    static const char *const types[] = {"counter", "gauge", "histogram"};
    hm_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, types[type]);
}

static void put_name(struct hm_buf *out, const char *name, const char *label, const char *value) {
    hm_buf_text(out, name);
    if (label) {
        hm_buf_printf(out, "{%s=\"", label);
        for (; *value; value++) {
            if (*value == '\\' || *value == '"') hm_buf_char(out, '\\');
            hm_buf_text(out, *value == '\n' ? "\\n" : (char[]){*value, 0});
        }
        hm_buf_text(out, "\"}");
    }
    hm_buf_char(out, ' ');
}

void hm_metric_count(struct hm_buf *out, const char *name, const char *label, const char *label_value,
                     uint64_t value) {
    put_name(out, name, label, label_value);
    hm_buf_printf(out, "%llu\n", (unsigned long long)value);
}

void hm_metric_real(struct hm_buf *out, const char *name, const char *label, const char *label_value,
                    double value) {
    put_name(out, name, label, label_value);
    hm_json_put_double(out, value);
    hm_buf_char(out, '\n');
}

void hm_metric_one(struct hm_buf *out, const char *name, enum hm_metric_type type, const char *help,
                   double value) {
    hm_metric_head(out, name, type, help);
    hm_metric_real(out, name, NULL, NULL, value);
}

void hm_metric_times(struct hm_buf *out, const char *name, const char *help, const struct hm_times *times) {
    uint64_t below = 0;
    hm_metric_head(out, name, HM_HISTOGRAM, help);
    for (size_t i = 0; i < HM_TIME_BUCKETS; i++) {
        below += times->bucket[i];
        hm_buf_printf(out, "%s_bucket{le=\"%g\"} %llu\n", name, (double)bounds_us[i] / 1e6,
                      (unsigned long long)below);
    }
    hm_buf_printf(out, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %.6f\n%s_count %llu\n", name,
                  (unsigned long long)times->count, name, (double)times->sum_us / 1e6, name,
                  (unsigned long long)times->count);
}
