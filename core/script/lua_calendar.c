// calendar: free hours of the week (0 = Monday 00:00 … 167, in the institution's zone) and moments
// (milliseconds since 1970 UTC). The zone is a fixed offset: Uzbekistan has no summer time. Pure functions of
// their arguments and the zone.
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
    {0}};
const struct hm_lua_module hm_module_calendar = {
    "calendar", "Free hours and moments, in the institution's zone.", calendar_fns, false};
