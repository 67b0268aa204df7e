// Figures as Prometheus reads them (text exposition format 0.0.4), and histograms of times. A family is a
// head and then all its samples, in one row; labels are few and bounded, and never name a person. One thread
// at a time has a histogram or a buffer.
#pragma once
#include "base/buf.h"

#define HM_TIME_BUCKETS 14 // from a quarter of a millisecond to five seconds; what is beyond is in count only
struct hm_times {
    uint64_t bucket[HM_TIME_BUCKETS]; // each for itself, not cumulative
    uint64_t count, sum_us;
};
void hm_times_add(struct hm_times *times, uint64_t us);

enum hm_metric_type { HM_COUNTER, HM_GAUGE, HM_HISTOGRAM };
void hm_metric_head(struct hm_buf *out, const char *name, enum hm_metric_type type, const char *help);
// label NULL: none. The value of a label is escaped.
void hm_metric_count(struct hm_buf *out, const char *name, const char *label, const char *label_value,
                     uint64_t value);
void hm_metric_real(struct hm_buf *out, const char *name, const char *label, const char *label_value,
                    double value);
// A family of one: head and sample.
void hm_metric_one(struct hm_buf *out, const char *name, enum hm_metric_type type, const char *help,
                   double value);
void hm_metric_times(struct hm_buf *out, const char *name, const char *help, const struct hm_times *times);
