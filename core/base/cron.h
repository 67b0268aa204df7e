// Times of a crontab: "minute hour day month weekday", as POSIX describes them for crontab, with names
// ("mon", "jan") and steps ("*/15", "10-40/5") besides. Pure functions, any thread.
#pragma once
#include "base/buf.h"
#include "base/error.h"

#define HM_CRON_MAX 200 // longest text

struct hm_cron { // a bit for each value that fits
    uint64_t minutes;
    uint32_t hours, days, months, weekdays; // day 1 is bit 1; Sunday is bit 0
    bool any_day, any_weekday;              // the field is "*": then the other one alone decides
};
// HM_PARAMS, naming the field and what is wrong with it; also for a date that never comes (30 February).
bool hm_cron_parse(struct hm_str text, struct hm_cron *out, struct hm_error *err);
// Minutes since 1970 on the clock of the wall. The first that fits behind `minute`, and the last that fits at
// or before it. INT64_MIN when there is none within eight years (which hm_cron_parse has ruled out).
int64_t hm_cron_next(const struct hm_cron *cron, int64_t minute);
int64_t hm_cron_last(const struct hm_cron *cron, int64_t minute);
