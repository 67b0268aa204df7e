// Times of a crontab, against a slow reading of the same rules that looks at every minute.
#include "base/cron.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
// behind the others, which it needs
#include <cmocka.h>

static int64_t at(int year, int month, int day, int hour, int minute) {
    struct tm tm = {
        .tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day, .tm_hour = hour, .tm_min = minute};
    return timegm(&tm) / 60;
}

static struct hm_cron cron(const char *text) {
    struct hm_cron out;
    struct hm_error err = {0};
    if (!hm_cron_parse(hm_str_of(text), &out, &err)) fail_msg("%s: %s", text, err.message);
    return out;
}

static void comes(const char *text, int64_t after, int64_t expected) {
    struct hm_cron c = cron(text);
    if (hm_cron_next(&c, after) != expected)
        fail_msg("%s: %lld and not %lld", text, (long long)hm_cron_next(&c, after), (long long)expected);
    assert_true(hm_cron_last(&c, expected) == expected);
    assert_true(hm_cron_last(&c, expected - 1) <= after);
}

static void the_next_time_is_found(void **state) {
    (void)state;
    int64_t monday = at(2026, 8, 31, 9, 30);
    comes("0 8 * * *", monday, at(2026, 9, 1, 8, 0));
    comes("*/15 * * * *", monday, at(2026, 8, 31, 9, 45));
    comes("30 9 * * *", monday, at(2026, 9, 1, 9, 30)); // behind the moment, not at it
    comes("0 8 * * mon-fri", at(2026, 9, 4, 8, 0), at(2026, 9, 7, 8, 0));
    comes("0 8 * * FRI-SUN", at(2026, 9, 4, 8, 0), at(2026, 9, 5, 8, 0));
    comes("0 8 * * 7", monday, at(2026, 9, 6, 8, 0));
    comes("5,35 7-9/2 * jan,jul 1", monday, at(2027, 1, 4, 7, 5));
    comes("0 0 29 2 *", monday, at(2028, 2, 29, 0, 0));
    comes("59 23 31 12 *", monday, at(2026, 12, 31, 23, 59));
    comes("0 0 29 2 *", at(2096, 2, 29, 0, 0), at(2104, 2, 29, 0, 0));
}

static void either_day_fits_when_both_are_restricted(void **state) {
    (void)state;
    comes("0 0 13 * fri", at(2026, 9, 1, 0, 0), at(2026, 9, 4, 0, 0));
    comes("0 0 13 * fri", at(2026, 9, 11, 0, 0), at(2026, 9, 13, 0, 0));
    comes("0 0 13 * *", at(2026, 9, 1, 0, 0), at(2026, 9, 13, 0, 0));
    comes("0 0 * * fri", at(2026, 9, 4, 0, 0), at(2026, 9, 11, 0, 0));
}

static void what_is_wrong_is_named(void **state) {
    (void)state;
    static const char *const wrong[][2] = {
        {"", "this has 0"},
        {"0 8 * *", "this has 4"},
        {"0 8 * * * *", "this has 6"},
        {"60 8 * * *", "minute \"60\""},
        {"0 24 * * *", "hour \"24\""},
        {"0 8 0 * *", "day of the month \"0\""},
        {"0 8 * 13 *", "month \"13\""},
        {"0 8 * * 8", "day of the week \"8\""},
        {"0 8 * * monday", "separated by commas"},
        {"0 8 * foo *", "English names"},
        {"0 9-8 * * *", "ends before it begins"},
        {"*/0 * * * *", "a step is a number"},
        {"5/2 * * * *", "a step belongs"},
        {"1, * * * *", "minute \"1,\""},
        {"1,,2 * * * *", "minute \"1,,2\""},
        {"-1 * * * *", "minute \"-1\""},
        {"0 0 30 2 *", "never comes"},
        {"0 0 31 4,6 *", "never comes"},
        {"99999999999 * * * *", "minute"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct hm_cron c;
        struct hm_error err = {0};
        assert_false(hm_cron_parse(hm_str_of(wrong[i][0]), &c, &err));
        assert_int_equal(err.code, HM_PARAMS);
        if (!strstr(err.message, wrong[i][1])) fail_msg("%s: %s", wrong[i][0], err.message);
    }
}

// The same rules, minute by minute, with the library's calendar.
static bool fits(const struct hm_cron *c, int64_t minute) {
    time_t seconds = (time_t)(minute * 60);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    bool day = c->days >> tm.tm_mday & 1u, weekday = c->weekdays >> tm.tm_wday & 1u;
    bool date = c->any_day ? weekday : c->any_weekday ? day : day || weekday;
    return (c->minutes >> tm.tm_min & 1u) && (c->hours >> tm.tm_hour & 1u) &&
           (c->months >> (tm.tm_mon + 1) & 1u) && date;
}

static void it_is_what_looking_at_every_minute_finds(void **state) {
    (void)state;
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    srand(seed);
    for (int i = 0; i < 300; i++) {
        char text[80];
        snprintf(text, sizeof text, "%d-59/%d %d,%d %s %s %s", rand() % 60, 1 + rand() % 50, rand() % 24,
                 rand() % 24,
                 rand() % 2   ? "*"
                 : rand() % 2 ? "1-7"
                              : "15",
                 rand() % 3 ? "*" : "*/5", rand() % 2 ? "*" : "tue,sat");
        struct hm_cron c = cron(text);
        int64_t from = at(1965 + rand() % 100, 1 + rand() % 12, 1 + rand() % 28, rand() % 24, rand() % 60);
        int64_t next = hm_cron_next(&c, from);
        for (int64_t m = from + 1; m < next; m++)
            if (fits(&c, m)) fail_msg("%s: seed %u: %lld is passed over", text, seed, (long long)m);
        assert_true(fits(&c, next));
        assert_true(hm_cron_last(&c, next) == next);
        int64_t last = hm_cron_last(&c, next - 1);
        assert_true(last <= from && fits(&c, last));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_time_is_found),
        cmocka_unit_test(either_day_fits_when_both_are_restricted),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(it_is_what_looking_at_every_minute_finds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
