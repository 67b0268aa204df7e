// Reading times of a crontab, and finding the next one. Source: POSIX.1-2017, crontab, "INPUT FILES": five
// fields; an element is "*", a number or a range of two; elements in a list are separated by commas; when
// both day of month and day of week are restricted, a day that fits either of them fits. Names and steps are
// what every cron since Vixie's has besides. What always holds: a parsed cron has a bit in every field, and
// comes at least once in eight years (29 February around 2100).
#include "base/cron.h"
#include <string.h>

#define DAYS_LOOKED (8 * 366 + 2)
#define MINUTES_A_DAY 1440

struct field {
    const char *name;
    unsigned low, high;
    const char *names; // three letters each, for low, low + 1, …
};
static const struct field fields[5] = {
    {"minute", 0, 59, NULL},
    {"hour", 0, 23, NULL},
    {"day of the month", 1, 31, NULL},
    {"month", 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec"},
    {"day of the week", 0, 7, "sunmontuewedthufrisat"}, // 7 is Sunday, too
};

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool wrong(const struct field *f, struct hm_str text, const char *what, struct hm_error *err) {
    int len = (int)(text.len < 40 ? text.len : 40);
    return hm_fail(err, HM_PARAMS, "%s \"%.*s\": %s", f->name, len, text.ptr ? text.ptr : "", what);
}

// A number or a name at *at, which moves behind it.
static bool take_value(const struct field *f, struct hm_str text, size_t *at, unsigned *out) {
    size_t from = *at;
    unsigned value = 0;
    while (*at < text.len && is_digit(text.ptr[*at]) && *at - from < 4)
        value = value * 10 + (unsigned)(text.ptr[(*at)++] - '0');
    if (*at > from) {
        *out = value;
        return value >= f->low && value <= f->high;
    }
    if (!f->names || text.len - from < 3) return false;
    for (unsigned i = 0; f->names[i * 3]; i++) {
        const char *name = f->names + (size_t)i * 3, *given = text.ptr + from;
        if (lower(given[0]) != name[0] || lower(given[1]) != name[1] || lower(given[2]) != name[2]) continue;
        *at = from + 3;
        *out = f->low + i;
        return true;
    }
    return false;
}

static bool take_step(struct hm_str text, size_t *at, unsigned *out) {
    unsigned value = 0;
    size_t from = ++*at;
    while (*at < text.len && is_digit(text.ptr[*at]) && *at - from < 4)
        value = value * 10 + (unsigned)(text.ptr[(*at)++] - '0');
    *out = value;
    return *at > from && value >= 1 && value <= 1000;
}

// One element of a list: "*", "5", "mon-fri", each with "/step".
static bool take_element(const struct field *f, struct hm_str text, size_t *at, uint64_t *bits,
                         struct hm_error *err) {
    unsigned low = f->low, high = f->high, step = 1;
    bool star = *at < text.len && text.ptr[*at] == '*';
    if (star) {
        ++*at;
    } else {
        if (!take_value(f, text, at, &low))
            return hm_fail(err, HM_PARAMS, "%s \"%.*s\": must be \"*\" or values from %u to %u%s", f->name,
                           (int)(text.len < 40 ? text.len : 40), text.ptr, f->low, f->high,
                           f->names ? " or their English names of three letters" : "");
        high = low;
        if (*at < text.len && text.ptr[*at] == '-') {
            ++*at;
            if (!take_value(f, text, at, &high)) return wrong(f, text, "the end of a range is no value", err);
            if (f->high == 7 && high == 0 && low > 0) high = 7; // "fri-sun"
            if (high < low) return wrong(f, text, "a range ends before it begins", err);
        } else if (*at < text.len && text.ptr[*at] == '/') {
            return wrong(f, text, "a step belongs to \"*\" or to a range", err);
        }
    }
    if (*at < text.len && text.ptr[*at] == '/' && !take_step(text, at, &step))
        return wrong(f, text, "a step is a number from 1", err);
    for (unsigned v = low; v <= high; v += step)
        *bits |= UINT64_C(1) << v;
    return true;
}

static bool take_field(const struct field *f, struct hm_str text, uint64_t *bits, struct hm_error *err) {
    size_t at = 0;
    *bits = 0;
    for (;;) {
        if (!take_element(f, text, &at, bits, err)) return false;
        if (at == text.len) return true;
        if (text.ptr[at] != ',') return wrong(f, text, "values are separated by commas", err);
        at++;
    }
}

bool hm_cron_parse(struct hm_str text, struct hm_cron *out, struct hm_error *err) {
    struct hm_str parts[5] = {{0}};
    uint64_t bits[5];
    size_t count = 0;
    if (text.len > HM_CRON_MAX) return hm_fail(err, HM_PARAMS, "a time may have %d characters", HM_CRON_MAX);
    for (size_t i = 0; i < text.len;) {
        size_t from = i;
        while (i < text.len && text.ptr[i] != ' ' && text.ptr[i] != '\t')
            i++;
        if (i > from && count < 5) parts[count] = (struct hm_str){text.ptr + from, i - from};
        count += i > from;
        while (i < text.len && (text.ptr[i] == ' ' || text.ptr[i] == '\t'))
            i++;
    }
    if (count != 5)
        return hm_fail(err, HM_PARAMS,
                       "a time has five fields, such as \"0 8 * * mon-fri\" (minute, hour, day of the month, "
                       "month, day of the week); this has %zu",
                       count);
    for (size_t i = 0; i < 5; i++)
        if (!take_field(&fields[i], parts[i], &bits[i], err)) return false;
    if (bits[4] & 0x80u) bits[4] |= 1u;
    *out = (struct hm_cron){.minutes = bits[0],
                            .hours = (uint32_t)bits[1],
                            .days = (uint32_t)bits[2],
                            .months = (uint32_t)bits[3],
                            .weekdays = (uint32_t)(bits[4] & 0x7fu),
                            .any_day = parts[2].ptr[0] == '*' && parts[2].len == 1,
                            .any_weekday = parts[4].ptr[0] == '*' && parts[4].len == 1};
    if (hm_cron_next(out, 0) == INT64_MIN)
        return hm_fail(err, HM_PARAMS, "\"%.*s\" never comes: no such month has such a day", (int)text.len,
                       text.ptr);
    return true;
}

// ---- days ---------------------------------------------------------------------------------------------

static int64_t floor_div(int64_t a, int64_t b) {
    return a / b - (a % b != 0 && (a % b < 0));
}

// Month and day of a day since 1970 (Howard Hinnant, "chrono-compatible low-level date algorithms").
static void civil(int64_t days, unsigned *month, unsigned *day) {
    int64_t z = days + 719468, era = floor_div(z, 146097);
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    *day = (unsigned)(doy - (153 * mp + 2) / 5 + 1);
    *month = (unsigned)(mp < 10 ? mp + 3 : mp - 9);
}

static bool day_fits(const struct hm_cron *c, int64_t days) {
    unsigned month, day, weekday = (unsigned)(((days + 4) % 7 + 7) % 7); // 1970-01-01 was a Thursday
    civil(days, &month, &day);
    if (!(c->months >> month & 1u)) return false;
    bool by_day = c->days >> day & 1u, by_weekday = c->weekdays >> weekday & 1u;
    if (c->any_day) return by_weekday;
    if (c->any_weekday) return by_day;
    return by_day || by_weekday;
}

static bool minute_fits(const struct hm_cron *c, int64_t of_day) {
    return (c->hours >> (of_day / 60) & 1u) && (c->minutes >> (of_day % 60) & 1u);
}

int64_t hm_cron_next(const struct hm_cron *cron, int64_t minute) {
    int64_t day = floor_div(minute + 1, MINUTES_A_DAY), from = minute + 1 - day * MINUTES_A_DAY;
    for (int64_t i = 0; i < DAYS_LOOKED; i++, from = 0) {
        if (!day_fits(cron, day + i)) continue;
        for (int64_t m = from; m < MINUTES_A_DAY; m++)
            if (minute_fits(cron, m)) return (day + i) * MINUTES_A_DAY + m;
    }
    return INT64_MIN;
}

int64_t hm_cron_last(const struct hm_cron *cron, int64_t minute) {
    int64_t day = floor_div(minute, MINUTES_A_DAY), from = minute - day * MINUTES_A_DAY;
    for (int64_t i = 0; i < DAYS_LOOKED; i++, from = MINUTES_A_DAY - 1) {
        if (!day_fits(cron, day - i)) continue;
        for (int64_t m = from; m >= 0; m--)
            if (minute_fits(cron, m)) return (day - i) * MINUTES_A_DAY + m;
    }
    return INT64_MIN;
}
