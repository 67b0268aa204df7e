// calendar: free hours of the week (0 = Monday 00:00 … 167, in the institution's zone) and moments
// (milliseconds since 1970 UTC). The zone is a fixed offset: Uzbekistan has no summer time. Pure functions of
// their arguments and the zone.
#include "base/cron.h"
#include "script/host.h"
#include "script/lua_json.h"
#include <lauxlib.h>
#include <stdio.h>

#define HOUR_MS INT64_C(3600000)
#define DAY_MS (24 * HOUR_MS)
#define MOMENT_MAX (INT64_C(1) << 46) // year 4199

static int64_t zone_ms(lua_State *L) {
    return (int64_t)hm_host_of(L)->zone_minutes * 60000;
}

// Day number (1970-01-01 = 0) to civil date and back; Howard Hinnant's "days_from_civil" and its inverse.
static void civil_of(int64_t days, int *year, int *month, int *day) {
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t doe = days - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    *day = (int)(doy - (153 * mp + 2) / 5 + 1);
    *month = (int)(mp < 10 ? mp + 3 : mp - 9);
    *year = (int)(yoe + era * 400 + (*month <= 2));
}
static int64_t days_of(int64_t year, int64_t month, int64_t day) {
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t yoe = year - era * 400;
    int64_t doy = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 719468;
}

static int64_t floor_div(int64_t a, int64_t b) {
    return a / b - (a % b != 0 && (a % b < 0) != (b < 0));
}

// 0 = Monday.
static int weekday_of(int64_t days) {
    return (int)(((days + 3) % 7 + 7) % 7);
}

static int64_t check_ms(lua_State *L, int index) {
    lua_Integer ms = luaL_checkinteger(L, index);
    luaL_argcheck(L, ms > -MOMENT_MAX && ms < MOMENT_MAX, index, "not a moment");
    return ms;
}

// List of hours of the week into a set.
static void check_hours(lua_State *L, int index, bool hours[168], const char *what) {
    index = lua_absindex(L, index);
    memset(hours, 0, 168 * sizeof *hours);
    if (lua_isnil(L, index)) return;
    if (!lua_istable(L, index)) luaL_error(L, "%s: must be a list of hours of the week", what);
    lua_Integer n = (lua_Integer)lua_rawlen(L, index);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, index, i);
        lua_Integer h = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : -1;
        if (h < 0 || h > 167)
            luaL_error(L, "%s: element %d is not an hour of the week (0 to 167)", what, (int)i);
        hours[h] = true;
        lua_pop(L, 1);
    }
}

static int calendar_overlap(lua_State *L) {
    bool a[168], b[168];
    lua_Integer n = 0;
    lua_settop(L, 2);
    check_hours(L, 1, a, "a");
    check_hours(L, 2, b, "b");
    for (int h = 0; h < 168; h++)
        n += a[h] && b[h];
    lua_pushinteger(L, n);
    return 1;
}

static int calendar_weekend(lua_State *L) {
    bool hours[168];
    lua_Integer n = 0;
    lua_settop(L, 1);
    check_hours(L, 1, hours, "hours");
    lua_newtable(L);
    hm_lua_mark_array(L, -1);
    for (int h = 5 * 24; h < 168; h++)
        if (hours[h]) {
            lua_pushinteger(L, h);
            lua_rawseti(L, -2, ++n);
        }
    return 1;
}

static void set_int(lua_State *L, const char *name, int64_t value) {
    lua_pushinteger(L, (lua_Integer)value);
    lua_setfield(L, -2, name);
}

static int calendar_local_time(lua_State *L) {
    int64_t ms = check_ms(L, 1) + zone_ms(L), days = floor_div(ms, DAY_MS), rest = ms - days * DAY_MS;
    int year, month, day;
    civil_of(days, &year, &month, &day);
    lua_createtable(L, 0, 8);
    set_int(L, "year", year);
    set_int(L, "month", month);
    set_int(L, "day", day);
    set_int(L, "hour", rest / HOUR_MS);
    set_int(L, "minute", rest % HOUR_MS / 60000);
    set_int(L, "weekday", weekday_of(days) + 1);
    set_int(L, "hour_of_week", weekday_of(days) * 24 + rest / HOUR_MS);
    return 1;
}

static int calendar_date(lua_State *L) {
    char text[48];
    int year, month, day;
    civil_of(floor_div(check_ms(L, 1) + zone_ms(L), DAY_MS), &year, &month, &day);
    snprintf(text, sizeof text, "%04d-%02d-%02d", year, month, day);
    lua_pushstring(L, text);
    return 1;
}

static int calendar_at(lua_State *L) {
    lua_Integer year = luaL_checkinteger(L, 1), month = luaL_checkinteger(L, 2),
                day = luaL_checkinteger(L, 3);
    lua_Integer hour = luaL_optinteger(L, 4, 0), minute = luaL_optinteger(L, 5, 0);
    luaL_argcheck(L, year >= 1 && year <= 4000, 1, "not a year");
    luaL_argcheck(L, month >= 1 && month <= 12, 2, "not a month");
    luaL_argcheck(L, day >= 1 && day <= 31, 3, "not a day");
    luaL_argcheck(L, hour >= 0 && hour <= 24, 4, "not an hour");
    luaL_argcheck(L, minute >= 0 && minute <= 59, 5, "not a minute");
    lua_pushinteger(
        L, (lua_Integer)(days_of(year, month, day) * DAY_MS + hour * HOUR_MS + minute * 60000 - zone_ms(L)));
    return 1;
}

// ---- slots -------------------------------------------------------------------------------------

static lua_Integer option(lua_State *L, const char *name, lua_Integer otherwise, lua_Integer low,
                          lua_Integer high) {
    lua_getfield(L, 1, name);
    lua_Integer v = luaL_optinteger(L, -1, otherwise);
    if (v < low || v > high) luaL_error(L, "calendar.slots: %s: from %d to %d", name, (int)low, (int)high);
    lua_pop(L, 1);
    return v;
}

// Does [starts, ends) meet one of the busy times in the list at index?
static bool is_busy(lua_State *L, int index, int64_t starts, int64_t ends) {
    lua_Integer n = lua_istable(L, index) ? (lua_Integer)lua_rawlen(L, index) : 0;
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, index, i);
        if (!lua_istable(L, -1))
            luaL_error(L, "calendar.slots: busy: element %d is not {starts, ends}", (int)i);
        lua_rawgeti(L, -1, 1);
        lua_rawgeti(L, -2, 2);
        if (!lua_isnumber(L, -1) || !lua_isnumber(L, -2))
            luaL_error(L, "calendar.slots: busy: element %d is not {starts, ends}", (int)i);
        bool meets = (double)starts < lua_tonumber(L, -1) && (double)ends > lua_tonumber(L, -2);
        lua_pop(L, 3);
        if (meets) return true;
    }
    return false;
}

static int calendar_slots(lua_State *L) {
    bool a[168], b[168];
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_getfield(L, 1, "a");
    check_hours(L, 2, a, "a");
    if (lua_getfield(L, 1, "b") == LUA_TNIL) { // one side alone
        memcpy(b, a, sizeof b);
    } else {
        check_hours(L, 3, b, "b");
    }
    lua_getfield(L, 1, "from");
    int64_t from = check_ms(L, 4);
    lua_Integer days = option(L, "days", 14, 1, 366), minutes = option(L, "minutes", 60, 5, 1440);
    lua_Integer limit = option(L, "limit", 50, 1, 5000), found = 0;
    lua_getfield(L, 1, "busy");
    lua_newtable(L);
    hm_lua_mark_array(L, -1);
    // Slots begin on whole hours of the zone and need every hour that they touch.
    int64_t zone = zone_ms(L), local = from + zone;
    int64_t hour = floor_div(local + HOUR_MS - 1, HOUR_MS), last = hour + days * 24;
    int64_t span = ((int64_t)minutes + 59) / 60;
    for (; hour < last && found < limit; hour++) {
        bool free = true;
        int first = (int)(weekday_of(floor_div(hour, 24)) * 24 + (hour % 24 + 24) % 24);
        for (int64_t i = 0; i < span && free; i++)
            free = a[(first + i) % 168] && b[(first + i) % 168];
        int64_t starts = hour * HOUR_MS - zone;
        if (!free || is_busy(L, 5, starts, starts + (int64_t)minutes * 60000)) continue;
        lua_createtable(L, 0, 3);
        set_int(L, "starts", starts);
        set_int(L, "minutes", (int64_t)minutes);
        lua_pushboolean(L, first >= 5 * 24);
        lua_setfield(L, -2, "weekend");
        lua_rawseti(L, 6, ++found);
    }
    return 1;
}

// ---- dates -------------------------------------------------------------------------------------

// A moment's day in the zone, and what is left of it.
static int64_t local_day(lua_State *L, int index, int64_t *rest) {
    int64_t local = check_ms(L, index) + zone_ms(L), days = floor_div(local, DAY_MS);
    if (rest) *rest = local - days * DAY_MS;
    return days;
}

static int push_day(lua_State *L, int64_t days) {
    lua_pushinteger(L, (lua_Integer)(days * DAY_MS - zone_ms(L)));
    return 1;
}

static int calendar_day(lua_State *L) {
    return push_day(L, local_day(L, 1, NULL));
}

static int calendar_week(lua_State *L) {
    int64_t days = local_day(L, 1, NULL);
    return push_day(L, days - weekday_of(days));
}

static int calendar_month(lua_State *L) {
    int year, month, day;
    int64_t days = local_day(L, 1, NULL);
    civil_of(days, &year, &month, &day);
    return push_day(L, days - day + 1);
}

static int calendar_days_between(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)(local_day(L, 2, NULL) - local_day(L, 1, NULL)));
    return 1;
}

static int days_in(int64_t year, int month) {
    int64_t next = month == 12 ? days_of(year + 1, 1, 1) : days_of(year, month + 1, 1);
    return (int)(next - days_of(year, month, 1));
}

// Months first, on the day of the month that there is; then days; then what is not of the calendar.
static int calendar_add(lua_State *L) {
    static const char *const names[] = {"years", "months", "weeks", "days", "hours", "minutes"};
    int64_t amounts[6] = {0}, rest;
    int year, month, day;
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    for (lua_pushnil(L); lua_next(L, 2); lua_pop(L, 1)) {
        size_t i = 0;
        while (i < 6 && !(lua_type(L, -2) == LUA_TSTRING && strcmp(lua_tostring(L, -2), names[i]) == 0))
            i++;
        if (i == 6)
            luaL_error(L, "calendar.add: knows years, months, weeks, days, hours, minutes, and nothing else");
        lua_Integer n = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : INT64_MAX;
        if (n < -1000000 || n > 1000000) luaL_error(L, "calendar.add: %s: a whole number", names[i]);
        amounts[i] = n;
    }
    civil_of(local_day(L, 1, &rest), &year, &month, &day);
    int64_t months = (int64_t)year * 12 + month - 1 + amounts[0] * 12 + amounts[1];
    int64_t to_year = floor_div(months, 12);
    int to_month = (int)(months - to_year * 12) + 1, last = days_in(to_year, to_month);
    int64_t days = days_of(to_year, to_month, day < last ? day : last) + amounts[2] * 7 + amounts[3];
    int64_t ms = days * DAY_MS + rest + amounts[4] * HOUR_MS + amounts[5] * 60000 - zone_ms(L);
    if (ms <= -MOMENT_MAX || ms >= MOMENT_MAX) luaL_error(L, "calendar.add: farther than the calendar goes");
    lua_pushinteger(L, (lua_Integer)ms);
    return 1;
}

static int calendar_parse(lua_State *L) {
    const char *text = luaL_checkstring(L, 1);
    int year, month, day, hour = 0, minute = 0, end = 0;
    size_t len = strlen(text);
    bool date = len == 10 && sscanf(text, "%4d-%2d-%2d%n", &year, &month, &day, &end) == 3;
    bool time = !date && len == 16 &&
                sscanf(text, "%4d-%2d-%2d%*1[ T]%2d:%2d%n", &year, &month, &day, &hour, &minute, &end) == 5;
    bool good = (date || time) && (size_t)end == len && year >= 1 && month >= 1 && month <= 12 && day >= 1 &&
                day <= days_in(year, month) && hour >= 0 && hour <= 23 && minute >= 0 && minute <= 59;
    if (!good) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushinteger(
        L, (lua_Integer)(days_of(year, month, day) * DAY_MS + hour * HOUR_MS + minute * 60000 - zone_ms(L)));
    return 1;
}

struct names {
    const char *language, *months[12], *weekdays[7];
    const char *date; // day, month, year by their places: d, m, y
};
static const struct names languages[] = {
    {"uz",
     {"yanvar", "fevral", "mart", "aprel", "may", "iyun", "iyul", "avgust", "sentabr", "oktabr", "noyabr",
      "dekabr"},
     {"dushanba", "seshanba", "chorshanba", "payshanba", "juma", "shanba", "yakshanba"},
     "y-yil d-m"},
    {"uz-Cyrl",
     {"январь", "февраль", "март", "апрель", "май", "июнь", "июль", "август", "сентябрь", "октябрь", "ноябрь",
      "декабрь"},
     {"душанба", "сешанба", "чоршанба", "пайшанба", "жума", "шанба", "якшанба"},
     "y йил d m"},
    {"ru",
     {"января", "февраля", "марта", "апреля", "мая", "июня", "июля", "августа", "сентября", "октября",
      "ноября", "декабря"},
     {"понедельник", "вторник", "среда", "четверг", "пятница", "суббота", "воскресенье"},
     "d m y г."},
    {"en",
     {"January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
      "November", "December"},
     {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"},
     "d m y"},
};

static void put_date(struct hm_buf *out, const struct names *n, int64_t days) {
    int year, month, day;
    civil_of(days, &year, &month, &day);
    for (const char *c = n->date; *c; c++) {
        if (*c == 'd' && (c == n->date || c[-1] == ' '))
            hm_buf_printf(out, "%d", day);
        else if (*c == 'm' && (c[-1] == ' ' || c[-1] == '-'))
            hm_buf_text(out, n->months[month - 1]);
        else if (*c == 'y' && (c == n->date || c[-1] == ' '))
            hm_buf_printf(out, "%d", year);
        else
            hm_buf_char(out, *c);
    }
}

static int calendar_format(lua_State *L) {
    static const char *const forms[] = {"date", "time", "datetime", "weekday", "day", NULL};
    const char *locale = luaL_optstring(L, 2, "uz");
    int form = luaL_checkoption(L, 3, "date", forms);
    int64_t rest, days = local_day(L, 1, &rest);
    const struct names *n = &languages[0];
    struct hm_buf *out = hm_scratch(hm_host_of(L), 0);
    for (size_t i = 0; i < sizeof languages / sizeof *languages; i++)
        if (strcmp(languages[i].language, locale) == 0) n = &languages[i];
    if (form == 3 || form == 4) hm_buf_text(out, n->weekdays[weekday_of(days)]);
    if (form == 4) hm_buf_text(out, ", ");
    if (form != 1 && form != 3) put_date(out, n, days);
    if (form == 2) hm_buf_text(out, ", ");
    if (form == 1 || form == 2)
        hm_buf_printf(out, "%02d:%02d", (int)(rest / HOUR_MS), (int)(rest % HOUR_MS / 60000));
    hm_push_str(L, hm_buf_view(out));
    return 1;
}

static int calendar_next(lua_State *L) {
    struct hm_cron cron;
    struct hm_error err = {0};
    if (!hm_cron_parse(hm_check_str(L, 1), &cron, &err)) luaL_error(L, "calendar.next: %s", err.message);
    int64_t minute = hm_cron_next(&cron, floor_div(check_ms(L, 2) + zone_ms(L), 60000));
    lua_pushinteger(L, (lua_Integer)(minute * 60000 - zone_ms(L)));
    return 1;
}

static int calendar_common(lua_State *L) {
    bool a[168], b[168];
    lua_Integer n = 0;
    lua_settop(L, 2);
    check_hours(L, 1, a, "a");
    check_hours(L, 2, b, "b");
    lua_newtable(L);
    hm_lua_mark_array(L, -1);
    for (int h = 0; h < 168; h++)
        if (a[h] && b[h]) {
            lua_pushinteger(L, h);
            lua_rawseti(L, -2, ++n);
        }
    return 1;
}

static const struct hm_lua_fn calendar_fns[] = {
    {"slots",
     "options: {a: integer[], b: integer[]?, from: integer, days: integer?, minutes: integer?, busy: "
     "integer[][]?, limit: integer?} "
     "-> {starts: integer, minutes: integer, weekend: boolean}[]",
     "Times at which both have a free hour of the week, in order, without those that meet something in busy.",
     calendar_slots, NULL},
    {"overlap", "a: integer[], b: integer[] -> integer", "How many hours of the week both are free.",
     calendar_overlap, NULL},
    {"weekend", "hours: integer[] -> integer[]", "Those of Saturday and Sunday.", calendar_weekend, NULL},
    {"local_time",
     "ms: integer -> {year: integer, month: integer, day: integer, hour: integer, minute: integer, weekday: "
     "integer, hour_of_week: "
     "integer}",
     "A moment in the institution's zone; weekday 1 is Monday.", calendar_local_time, NULL},
    {"date", "ms: integer -> string", "Its date there, such as \"2026-09-01\".", calendar_date, NULL},
    {"at", "year: integer, month: integer, day: integer, hour: integer?, minute: integer? -> integer",
     "The moment of a date and time in the institution's zone.", calendar_at, NULL},
    {"common", "a: integer[], b: integer[] -> integer[]", "The hours of the week at which both are free.",
     calendar_common},
    {"parse", "text: string -> integer?",
     "The moment of \"2026-09-01\" (its beginning) or \"2026-09-01 14:30\" in the institution's zone; nil "
     "when it is "
     "none.",
     calendar_parse},
    {"day", "ms: integer -> integer", "The beginning of its day there.", calendar_day},
    {"week", "ms: integer -> integer", "The beginning of its week, Monday.", calendar_week},
    {"month", "ms: integer -> integer", "The beginning of its month.", calendar_month},
    {"days_between", "from: integer, to: integer -> integer",
     "How many midnights lie between: 0 for two moments of one day.", calendar_days_between},
    {"add",
     "ms: integer, amount: {years: integer?, months: integer?, weeks: integer?, days: integer?, hours: "
     "integer?, "
     "minutes: integer?} -> integer",
     "So much later (or earlier), at the same time of the day; a month after 31 January is the last of "
     "February.",
     calendar_add},
    {"format", "ms: integer, locale: string?, form: string? -> string",
     "As people write it in uz, uz-Cyrl, ru, en: \"date\" (1 September 2026), \"time\" (09:00), "
     "\"datetime\", "
     "\"weekday\", \"day\" (weekday and date).",
     calendar_format},
    {"next", "cron: string, after: integer -> integer",
     "The next moment of a time as in `every`, such as \"0 8 * * mon-fri\".", calendar_next},
    {0}};
const struct hm_lua_module hm_module_calendar = {
    "calendar", "Free hours and moments, in the institution's zone.", calendar_fns, false};
