// text: how people write. Linear in what it is given; long texts are welcome here, where patterns are not.
#include "base/csv.h"
#include "base/text.h"
#include "script/host.h"
#include "script/lua_json.h"
#include <lauxlib.h>
#include <stdio.h>

static int text_fold(lua_State *L) {
    struct hm_str s = hm_check_str(L, 1);
    struct hm_buf *out = hm_scratch(hm_host_of(L), 0);
    hm_fold(s, out);
    hm_push_str(L, hm_buf_view(out));
    return 1;
}

static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

// White space of people who copy from tables and documents: also U+00A0 and U+FEFF.
static struct hm_str trimmed(struct hm_str s) {
    for (;;) {
        if (s.len && is_space(s.ptr[0])) {
            s.ptr++, s.len--;
        } else if (s.len >= 2 && memcmp(s.ptr, "\xc2\xa0", 2) == 0) {
            s.ptr += 2, s.len -= 2;
        } else if (s.len >= 3 && memcmp(s.ptr, "\xef\xbb\xbf", 3) == 0) {
            s.ptr += 3, s.len -= 3;
        } else {
            break;
        }
    }
    for (;;) {
        if (s.len && is_space(s.ptr[s.len - 1])) {
            s.len--;
        } else if (s.len >= 2 && memcmp(s.ptr + s.len - 2, "\xc2\xa0", 2) == 0) {
            s.len -= 2;
        } else {
            return s;
        }
    }
}

static int text_trim(lua_State *L) {
    hm_push_str(L, trimmed(hm_check_str(L, 1)));
    return 1;
}

static int text_split(lua_State *L) {
    struct hm_str s = hm_check_str(L, 1), sep = hm_check_str(L, 2);
    lua_Integer n = 0;
    luaL_argcheck(L, sep.len > 0, 2, "empty");
    lua_newtable(L);
    hm_lua_mark_array(L, -1);
    if (!s.len) return 1;
    for (;;) {
        const char *at = memmem(s.ptr, s.len, sep.ptr, sep.len);
        lua_pushlstring(L, s.ptr, at ? (size_t)(at - s.ptr) : s.len);
        lua_rawseti(L, -2, ++n);
        if (!at) return 1;
        s.len -= (size_t)(at - s.ptr) + sep.len;
        s.ptr = at + sep.len;
    }
}

// The languages somebody who reads the first can read, too.
static int text_pick(lua_State *L) {
    static const char *const order[] = {"uz", "uz-Cyrl", "ru", "en"};
    if (lua_type(L, 1) == LUA_TSTRING || lua_isnoneornil(L, 1)) {
        lua_settop(L, 1);
        return 1;
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    const char *locale = luaL_optstring(L, 2, "uz");
    if (lua_getfield(L, 1, locale) == LUA_TSTRING) return 1;
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        if (lua_getfield(L, 1, order[i]) == LUA_TSTRING) return 1;
    lua_pushnil(L);
    return 1;
}

// Days of a month, by the Gregorian calendar.
static int days_in(int year, int month) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

static int text_match_date(lua_State *L) {
    struct hm_str s = trimmed(hm_check_str(L, 1));
    char text[32], out[48];
    int a, b, c, end = 0, year = 0, month = 0, day = 0;
    snprintf(text, sizeof text, "%.*s", (int)(s.len < 31 ? s.len : 31), s.ptr ? s.ptr : "");
    if (s.len < 31 && sscanf(text, "%4d-%2d-%2d%n", &a, &b, &c, &end) == 3 && (size_t)end == s.len) {
        year = a, month = b, day = c;
    } else if (s.len < 31 &&
               (sscanf(text, "%2d.%2d.%4d%n", &a, &b, &c, &end) == 3 ||
                sscanf(text, "%2d/%2d/%4d%n", &a, &b, &c, &end) == 3) &&
               (size_t)end == s.len) {
        year = c, month = b, day = a;
    }
    if (year < 1900 || year > 2199 || month < 1 || month > 12 || day < 1 || day > days_in(year, month)) {
        lua_pushnil(L);
        return 1;
    }
    snprintf(out, sizeof out, "%04d-%02d-%02d", year, month, day);
    lua_pushstring(L, out);
    return 1;
}

// ---- CSV ---------------------------------------------------------------------------------------
// The rows are written to a buffer of the host as JSON while the parser runs, since a row handler must not
// raise; then they become tables.

static bool csv_row(void *arg, const struct hm_csv_row *row) {
    struct hm_buf *out = arg;
    if (out->len > 1) hm_buf_char(out, ',');
    hm_buf_printf(out, "{\"line\":%zu,\"cells\":[", row->line);
    for (size_t i = 0; i < row->count; i++) {
        if (i) hm_buf_char(out, ',');
        hm_json_put_str(out, row->cells[i]);
    }
    hm_buf_text(out, "]}");
    return true;
}

static int text_csv(lua_State *L) {
    struct hm_host *host = hm_host_of(L);
    struct hm_str bytes = hm_check_str(L, 1);
    struct hm_buf *utf8 = hm_scratch(host, 0), *rows = hm_scratch(host, 1);
    struct hm_error err = {0};
    const char *used = NULL;
    char separator = 0;
    if (lua_istable(L, 2) && lua_getfield(L, 2, "separator") == LUA_TSTRING) {
        struct hm_str s = hm_check_str(L, -1);
        luaL_argcheck(L, s.len == 1, 2, "separator: one character");
        separator = s.ptr[0];
    }
    hm_buf_char(rows, '[');
    if (!hm_csv_to_utf8(bytes, utf8, &used, &err) ||
        !hm_csv_parse(hm_buf_view(utf8), separator, csv_row, rows, &err)) {
        lua_createtable(L, 0, 1);
        lua_createtable(L, 1, 0);
        lua_createtable(L, 0, 2);
        lua_pushliteral(L, "csv");
        lua_setfield(L, -2, "path");
        lua_pushstring(L, err.message);
        lua_setfield(L, -2, "message");
        lua_rawseti(L, -2, 1);
        lua_setfield(L, -2, "errors");
        hm_raise(L, HM_PARAMS, NULL, -1);
    }
    hm_buf_char(rows, ']');
    lua_createtable(L, 0, 2);
    hm_lua_push_json(L, (struct hm_json){HM_JSON_ARRAY, hm_buf_view(rows)});
    lua_setfield(L, -2, "rows");
    lua_pushstring(L, used ? used : "UTF-8");
    lua_setfield(L, -2, "encoding");
    return 1;
}

static int text_length(lua_State *L) {
    struct hm_str s = hm_check_str(L, 1);
    lua_Integer n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += ((unsigned char)s.ptr[i] & 0xc0u) != 0x80u;
    lua_pushinteger(L, n);
    return 1;
}

// ---- as it should have been written ------------------------------------------------------------

// Length of an apostrophe of any kind at the beginning, 0 when there is none.
static size_t apostrophe(struct hm_str s) {
    static const char *const kinds[] = {
        "'", "`", "\xc2\xb4", "\xca\xbb", "\xca\xbc", "\xe2\x80\x98", "\xe2\x80\x99"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t len = strlen(kinds[i]);
        if (s.len >= len && memcmp(s.ptr, kinds[i], len) == 0) return len;
    }
    return 0;
}

// Single spaces, none at the ends; oʻ and gʻ with the letter U+02BB, an apostrophe between letters with
// U+02BC.
static int text_tidy(lua_State *L) {
    struct hm_str s = trimmed(hm_check_str(L, 1));
    struct hm_buf *out = hm_scratch(hm_host_of(L), 0);
    char before = 0;
    for (size_t i = 0; i < s.len;) {
        struct hm_str rest = {s.ptr + i, s.len - i};
        size_t mark = apostrophe(rest);
        bool space = is_space(s.ptr[i]);
        bool letter = (before >= 'a' && before <= 'z') || (before >= 'A' && before <= 'Z');
        if (space) {
            if (before != ' ') hm_buf_char(out, ' ');
            before = ' ';
            i++;
        } else if (mark && letter) {
            hm_buf_text(out, strchr("oOgG", before) ? "\xca\xbb" : "\xca\xbc");
            before = '\'';
            i += mark;
        } else {
            before = s.ptr[i];
            hm_buf_char(out, s.ptr[i++]);
        }
    }
    hm_push_str(L, hm_buf_view(out));
    return 1;
}

static int text_cut(lua_State *L) {
    struct hm_str s = hm_check_str(L, 1);
    lua_Integer most = luaL_checkinteger(L, 2), n = 0;
    size_t end = 0, kept = 0;
    luaL_argcheck(L, most >= 1, 2, "at least 1");
    for (; end < s.len; end++) {
        if (((unsigned char)s.ptr[end] & 0xc0u) == 0x80u) continue;
        if (n == most - 1) kept = end;
        if (n++ == most) break;
    }
    if (end == s.len) {
        lua_settop(L, 1);
        return 1;
    }
    lua_pushlstring(L, s.ptr, kept);
    lua_pushliteral(L, "\xe2\x80\xa6");
    lua_concat(L, 2);
    return 1;
}

// "a, b and c"
static int text_join(lua_State *L) {
    static const char *const words[][2] = {
        {"uz", " va "}, {"uz-Cyrl", " ва "}, {"ru", " и "}, {"en", " and "}};
    const char *locale = luaL_optstring(L, 2, "uz"), *last = words[0][1];
    luaL_checktype(L, 1, LUA_TTABLE);
    struct hm_buf *out = hm_scratch(hm_host_of(L), 0);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i][0], locale) == 0) last = words[i][1];
    lua_Integer n = (lua_Integer)lua_rawlen(L, 1);
    for (lua_Integer i = 1; i <= n; i++) {
        if (i > 1) hm_buf_text(out, i == n ? last : ", ");
        if (lua_rawgeti(L, 1, i) != LUA_TSTRING)
            return luaL_error(L, "text.join: element %d is no text", (int)i);
        hm_buf_str(out, hm_check_str(L, -1));
        lua_pop(L, 1);
    }
    hm_push_str(L, hm_buf_view(out));
    return 1;
}

// The languages in which a text for people is missing.
static int text_missing(lua_State *L) {
    static const char *const order[] = {"uz", "uz-Cyrl", "ru", "en"};
    lua_Integer n = 0;
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_newtable(L);
    hm_lua_mark_array(L, -1);
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        lua_pushstring(L, order[i]);
        if (lua_rawget(L, 1) != LUA_TSTRING) {
            lua_pushstring(L, order[i]);
            lua_rawseti(L, -3, ++n);
        }
        lua_pop(L, 1);
    }
    return 1;
}

static const struct hm_lua_fn text_fns[] = {
    {"fold", "text: string -> string",
     "For comparing: small letters, one kind of apostrophe, single spaces. \"OʻKTAM\" and \"o'ktam\" become "
     "the same.",
     text_fold, NULL},
    {"trim", "text: string -> string", "Without white space at both ends.", text_trim, NULL},
    {"split", "text: string, separator: string -> string[]",
     "The parts between separators; nothing for an empty text.", text_split, NULL},
    {"tidy", "text: string -> string",
     "As it should be written: single spaces, oʻ and gʻ (o' and g' become them), ʼ for other apostrophes "
     "between "
     "letters.",
     text_tidy},
    {"cut", "text: string, characters: integer -> string",
     "At most so many characters; what was cut ends in \"…\".", text_cut},
    {"join", "list: string[], locale: string? -> string", "\"a, b and c\", in this language.", text_join},
    {"missing", "translated: table -> string[]", "The languages that it lacks, of uz, uz-Cyrl, ru, en.",
     text_missing},
    {"length", "text: string -> integer", "How many characters.", text_length, NULL},
    {"pick", "translated: table|string|nil, locale: string? -> string?",
     "The text in this language, or in the next best.", text_pick, NULL},
    {"match_date", "text: string -> string?",
     "\"01.09.2026\", \"1/9/2026\" or \"2026-09-01\" as \"2026-09-01\"; nil when it is no date.",
     text_match_date, NULL},
    {"csv",
     "bytes: string, options: {separator: string?}? -> {rows: {line: integer, cells: string[]}[], encoding: "
     "string}",
     "Reads a table as spreadsheet programs write it; separator and encoding are found out.", text_csv, NULL},
    {0}};
const struct hm_lua_module hm_module_text = {"text",
                                             "Text as people write it. (text{…} is also the schema of a "
                                             "text.) Sentences with arguments, numbers and plurals "
                                             "are made by require \"lib.say\".",
                                             text_fns, false};
