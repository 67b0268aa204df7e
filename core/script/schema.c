// Checking values against declared shapes. Worker thread. What always holds: the walk stops at HM_JSON_DEPTH,
// so that a table inside itself ends as a fault, and tables are read and written raw, so that no metamethod
// of a plugin runs here.
#include "script/schema.h"
#include "base/id.h"
#include "base/json.h"
#include "script/lua_json.h"
#include <lauxlib.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct run {
    lua_State *L;
    struct hm_faults *faults;
    bool sealed;
    unsigned depth;
};

// The path of the value in hand: a fixed text that grows and is cut back.
struct where {
    char text[160];
    size_t len;
};

static void enter(struct where *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void enter(struct where *w, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int more = vsnprintf(w->text + w->len, sizeof w->text - w->len, format, args);
    va_end(args);
    if (more > 0) w->len += (size_t)more;
    if (w->len >= sizeof w->text) w->len = sizeof w->text - 1;
}
static void leave(struct where *w, size_t len) {
    w->len = len;
    w->text[len] = '\0';
}

static void fault(struct run *r, const struct where *w, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void fault(struct run *r, const struct where *w, const char *format, ...) {
    struct hm_faults *all = r->faults;
    if (all->count < HM_FAULTS_MAX) {
        struct hm_fault *f = &all->list[all->count];
        f->kind = HM_FAULT_VALUE;
        va_list args;
        snprintf(f->path, sizeof f->path, "%s", w->text);
        va_start(args, format);
        vsnprintf(f->message, sizeof f->message, format, args);
        va_end(args);
    }
    all->count++;
}

// Of the fault told last.
static void fault_is(struct run *r, enum hm_fault_kind kind) {
    if (r->faults->count && r->faults->count <= HM_FAULTS_MAX)
        r->faults->list[r->faults->count - 1].kind = kind;
}

static const char *kind_of(lua_State *L, int schema) {
    lua_pushliteral(L, "schema");
    const char *kind = lua_rawget(L, schema) == LUA_TSTRING ? lua_tostring(L, -1) : "any";
    lua_pop(L, 1); // the schema table holds it
    return kind;
}
static bool flag(lua_State *L, int schema, const char *name) {
    lua_pushstring(L, name);
    lua_rawget(L, schema);
    bool on = lua_toboolean(L, -1) != 0;
    lua_pop(L, 1);
    return on;
}
static bool number_of(lua_State *L, int schema, const char *name, double *out) {
    lua_pushstring(L, name);
    bool there = lua_rawget(L, schema) == LUA_TNUMBER;
    *out = there ? lua_tonumber(L, -1) : 0;
    lua_pop(L, 1);
    return there;
}
// Pushes the member; false (nothing pushed) when it is no table.
static bool push_table(lua_State *L, int schema, const char *name) {
    lua_pushstring(L, name);
    if (lua_rawget(L, schema) == LUA_TTABLE) return true;
    lua_pop(L, 1);
    return false;
}

static void check_bounds(struct run *r, const struct where *w, int schema, double value, const char *what) {
    double bound;
    if (number_of(r->L, schema, "min", &bound) && value < bound)
        fault(r, w, "must be at least %g%s", bound, what);
    if (number_of(r->L, schema, "max", &bound) && value > bound)
        fault(r, w, "must be at most %g%s", bound, what);
}

static size_t characters(struct hm_str s) {
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += ((unsigned char)s.ptr[i] & 0xc0u) != 0x80u;
    return n;
}

// ---- one kind each: the value is at index `v` and may be replaced there ------------------------

static void check_text(struct run *r, struct where *w, int schema, int v) {
    struct hm_str s;
    double max;
    if (lua_type(r->L, v) != LUA_TSTRING) {
        fault(r, w, "must be text");
        return;
    }
    s.ptr = lua_tolstring(r->L, v, &s.len);
    if (!hm_utf8_valid(s)) {
        fault(r, w, "must be UTF-8");
        return;
    }
    size_t n = characters(s);
    if (number_of(r->L, schema, "max_length", &max) && (double)n > max)
        fault(r, w, "must have at most %g characters", max);
    check_bounds(r, w, schema, (double)n, " characters long");
}

static void check_integer(struct run *r, struct where *w, int schema, int v) {
    lua_State *L = r->L;
    int whole = 0;
    lua_Integer i = lua_type(L, v) == LUA_TNUMBER ? lua_tointegerx(L, v, &whole) : 0;
    if (!whole) {
        fault(r, w, "must be a whole number");
        return;
    }
    lua_pushinteger(L, i);
    lua_replace(L, v);
    check_bounds(r, w, schema, (double)i, "");
}

static void check_number(struct run *r, struct where *w, int schema, int v) {
    double n = lua_type(r->L, v) == LUA_TNUMBER ? lua_tonumber(r->L, v) : NAN;
    if (!isfinite(n)) {
        fault(r, w, "must be a number");
        return;
    }
    check_bounds(r, w, schema, n, "");
}

static void check_boolean(struct run *r, struct where *w, int schema, int v) {
    (void)schema;
    if (!lua_isboolean(r->L, v)) fault(r, w, "must be true or false");
}

static void check_choice(struct run *r, struct where *w, int schema, int v) {
    lua_State *L = r->L;
    char allowed[160] = "";
    if (!push_table(L, schema, "values")) return;
    int values = lua_gettop(L);
    lua_Integer n = (lua_Integer)lua_rawlen(L, values);
    bool found = false;
    for (lua_Integer i = 1; i <= n && !found; i++) {
        lua_rawgeti(L, values, i);
        found = lua_rawequal(L, -1, v) != 0;
        size_t len = strlen(allowed);
        if (lua_type(L, -1) == LUA_TSTRING)
            snprintf(allowed + len, sizeof allowed - len, "%s\"%s\"", len ? ", " : "", lua_tostring(L, -1));
        if (lua_isinteger(L, -1))
            snprintf(allowed + len, sizeof allowed - len, "%s%lld", len ? ", " : "",
                     (long long)lua_tointeger(L, -1));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    if (!found) fault(r, w, "must be one of %s", allowed);
}

static void check_date(struct run *r, struct where *w, int schema, int v) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    size_t len = 0;
    const char *s = lua_type(r->L, v) == LUA_TSTRING ? lua_tolstring(r->L, v, &len) : "";
    int year = 0, month = 0, day = 0, end = 0;
    (void)schema;
    bool ok = len == 10 && s[4] == '-' && s[7] == '-' && strspn(s, "0123456789-") == 10 &&
              sscanf(s, "%4d-%2d-%2d%n", &year, &month, &day, &end) == 3 && end == 10 && month >= 1 &&
              month <= 12 && day >= 1;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (!ok || day > days[month - 1] + (month == 2 && leap)) fault(r, w, "must be a date such as 2026-09-01");
}

static void check_time(struct run *r, struct where *w, int schema, int v) {
    unsigned before = r->faults->count;
    check_integer(r, w, schema, v);
    if (r->faults->count != before && r->faults->count <= HM_FAULTS_MAX)
        snprintf(r->faults->list[before].message, sizeof r->faults->list[before].message,
                 "must be a moment in milliseconds since 1970");
}

static void check_ref(struct run *r, struct where *w, int schema, int v) {
    struct hm_str s = {0};
    (void)schema;
    if (lua_type(r->L, v) == LUA_TSTRING) s.ptr = lua_tolstring(r->L, v, &s.len);
    if (!s.ptr || !hm_id_valid(s)) fault(r, w, "must be the id of a record");
}

static void check_any(struct run *r, struct where *w, int schema, int v) {
    (void)r, (void)w, (void)schema, (void)v;
}

static void check_value(struct run *r, struct where *w, int schema, int v);

static void check_list(struct run *r, struct where *w, int schema, int v) {
    lua_State *L = r->L;
    if (!lua_istable(L, v)) {
        fault(r, w, "must be a list");
        return;
    }
    lua_Integer n = (lua_Integer)lua_rawlen(L, v);
    lua_pushnil(L);
    while (lua_next(L, v)) {
        lua_pop(L, 1);
        if (lua_isinteger(L, -1) && lua_tointeger(L, -1) >= 1 && lua_tointeger(L, -1) <= n) continue;
        lua_pop(L, 1);
        fault(r, w, "must be a list, without names");
        return;
    }
    if (n == 0 && !lua_getmetatable(L, v)) {
        hm_lua_mark_array(L, v); // so that it is written as []
    } else if (n == 0) {
        lua_pop(L, 1);
    }
    check_bounds(r, w, schema, (double)n, n == 1 ? " element long" : " elements long");
    if (!push_table(L, schema, "of")) return;
    int of = lua_gettop(L);
    size_t len = w->len;
    for (lua_Integer i = 1; i <= n && r->faults->count < HM_FAULTS_MAX; i++) {
        enter(w, "[%lld]", (long long)i - 1);
        lua_rawgeti(L, v, i);
        check_value(r, w, of, lua_gettop(L));
        lua_rawseti(L, v, i);
        leave(w, len);
    }
    lua_pop(L, 1);
}

static void check_map(struct run *r, struct where *w, int schema, int v) {
    lua_State *L = r->L;
    if (!lua_istable(L, v) || lua_rawlen(L, v) > 0) {
        fault(r, w, "must be an object");
        return;
    }
    bool typed = push_table(L, schema, "of");
    int of = lua_gettop(L);
    size_t len = w->len;
    double count = 0;
    lua_pushnil(L);
    while (lua_next(L, v)) {
        count++;
        if (lua_type(L, -2) != LUA_TSTRING) {
            fault(r, w, "must have names that are text");
            lua_pop(L, 2);
            break;
        }
        if (typed) {
            enter(w, len ? ".%s" : "%s", lua_tostring(L, -2));
            check_value(r, w, of, lua_gettop(L));
            leave(w, len);
            lua_pushvalue(L, -2);
            lua_insert(L, -2);
            lua_rawset(L, v); // an existing name: allowed during a walk
        } else {
            lua_pop(L, 1);
        }
    }
    if (typed) lua_pop(L, 1);
    check_bounds(r, w, schema, count, " members");
}

static void check_translated(struct run *r, struct where *w, int schema, int v) {
    lua_State *L = r->L;
    bool any = false;
    if (lua_type(L, v) == LUA_TSTRING) {
        check_text(r, w, schema, v);
        return;
    }
    if (!lua_istable(L, v) || lua_rawlen(L, v) > 0) {
        fault(r, w, "must be text, or an object of texts by language");
        return;
    }
    size_t len = w->len;
    lua_pushnil(L);
    while (lua_next(L, v)) {
        enter(w, len ? ".%s" : "%s", lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?");
        check_text(r, w, schema, lua_gettop(L));
        leave(w, len);
        any = true;
        lua_pop(L, 1);
    }
    if (!any) fault(r, w, "must have a text in at least one language");
}

static void check_fields(struct run *r, struct where *w, int fields, int v, bool open);

static void check_object(struct run *r, struct where *w, int schema, int v) {
    lua_State *L = r->L;
    if (!lua_istable(L, v) || lua_rawlen(L, v) > 0) {
        fault(r, w, "must be an object");
        return;
    }
    bool open = flag(L, schema, "open");
    if (!push_table(L, schema, "fields")) return;
    check_fields(r, w, lua_gettop(L), v, open);
    lua_pop(L, 1);
}

static const struct {
    const char *kind;
    void (*check)(struct run *r, struct where *w, int schema, int v);
    const char *json; // JSON Schema type
} kinds[] = {
    {"text", check_text, "\"type\":\"string\""},
    {"integer", check_integer, "\"type\":\"integer\""},
    {"number", check_number, "\"type\":\"number\""},
    {"boolean", check_boolean, "\"type\":\"boolean\""},
    {"choice", check_choice, ""},
    {"list", check_list, "\"type\":\"array\""},
    {"object", check_object, "\"type\":\"object\""},
    {"map", check_map, "\"type\":\"object\""},
    {"date", check_date, "\"type\":\"string\",\"format\":\"date\""},
    {"time", check_time, "\"type\":\"integer\",\"description\":\"milliseconds since 1970 UTC\""},
    {"ref", check_ref, "\"type\":\"string\",\"maxLength\":128"},
    {"translated", check_translated,
     "\"type\":[\"string\",\"object\"],\"additionalProperties\":{\"type\":\"string\"}"},
    {"any", check_any, ""},
};

static size_t kind_index(const char *kind) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].kind, kind) == 0) return i;
    return sizeof kinds / sizeof *kinds - 1;
}

// {sealed=true} and nothing else.
static bool is_sealed_mark(lua_State *L, int v) {
    if (!lua_istable(L, v)) return false;
    lua_pushliteral(L, "sealed");
    bool marked = lua_rawget(L, v) == LUA_TBOOLEAN && lua_toboolean(L, -1);
    lua_pop(L, 1);
    return marked;
}

static void check_value(struct run *r, struct where *w, int schema, int v) {
    luaL_checkstack(r->L, 12, "nested too deep");
    if (++r->depth > HM_JSON_DEPTH) {
        fault(r, w, "nested too deep, or a table inside itself");
    } else if (!(r->sealed && is_sealed_mark(r->L, v))) {
        kinds[kind_index(kind_of(r->L, schema))].check(r, w, schema, v);
    }
    r->depth--;
}

// ---- objects -----------------------------------------------------------------------------------

// Edit distance, for names of up to 32 bytes: "did you mean".
static unsigned distance(const char *a, const char *b) {
    size_t n = strlen(a), m = strlen(b);
    unsigned row[33];
    if (n > 32 || m > 32) return 99;
    for (size_t j = 0; j <= m; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++) {
        unsigned corner = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            unsigned above = row[j], best = corner + (a[i - 1] != b[j - 1]);
            if (above + 1 < best) best = above + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            corner = above;
            row[j] = best;
        }
    }
    return row[m];
}

static void fault_unknown(struct run *r, struct where *w, int fields, const char *name) {
    lua_State *L = r->L;
    char closest[64] = "";
    unsigned best = 3; // two slips of the hand, not more
    lua_pushnil(L);
    while (lua_next(L, fields)) {
        const char *known = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        unsigned d = distance(name, known);
        if (d < best || (d == best && d < 3 && strcmp(known, closest) < 0)) {
            best = d;
            snprintf(closest, sizeof closest, "%s", known);
        }
        lua_pop(L, 1);
    }
    if (closest[0]) {
        fault(r, w, "is not known here; did you mean \"%s\"?", closest);
    } else {
        fault(r, w, "is not known here");
    }
    fault_is(r, HM_FAULT_UNKNOWN);
}

// Every level a fresh copy, so that nobody changes a declaration through the value it gave.
static void push_copy(lua_State *L, int index, unsigned depth) {
    index = lua_absindex(L, index);
    if (!lua_istable(L, index) || depth > HM_JSON_DEPTH) {
        lua_pushvalue(L, index);
        return;
    }
    luaL_checkstack(L, 8, "nested too deep");
    lua_newtable(L);
    if (hm_lua_is_array_marked(L, index)) hm_lua_mark_array(L, -1);
    lua_pushnil(L);
    while (lua_next(L, index)) {
        lua_pushvalue(L, -2);
        push_copy(L, -2, depth + 1);
        lua_rawset(L, -5);
        lua_pop(L, 1);
    }
}

// Is name (at the top) given in v? If not, its default or a fault. The stack is left as it was.
static void check_field(struct run *r, struct where *w, int schema, int v, const char *name) {
    lua_State *L = r->L;
    size_t len = w->len;
    enter(w, len ? ".%s" : "%s", name);
    lua_pushstring(L, name);
    int t = lua_rawget(L, v);
    if (t == LUA_TNIL || hm_lua_is_null(L, -1)) {
        lua_pushliteral(L, "default");
        bool has_default = lua_rawget(L, schema) != LUA_TNIL;
        if (t != LUA_TNIL || has_default) {
            lua_pushstring(L, name);
            push_copy(L, -2, 0);
            lua_rawset(L, v); // the default, or nil in place of null
        }
        lua_pop(L, 1);
        bool missing = !has_default && flag(L, schema, "required");
        if (missing) fault(r, w, "is required");
        if (missing) fault_is(r, HM_FAULT_MISSING);
    } else {
        int at = lua_gettop(L);
        check_value(r, w, schema, at);
        lua_pushstring(L, name);
        lua_pushvalue(L, at);
        lua_rawset(L, v);
    }
    lua_pop(L, 1);
    leave(w, len);
}

static void check_fields(struct run *r, struct where *w, int fields, int v, bool open) {
    lua_State *L = r->L;
    luaL_checkstack(L, 12, "nested too deep");
    lua_pushnil(L);
    while (lua_next(L, fields)) {
        if (lua_type(L, -2) == LUA_TSTRING && lua_istable(L, -1))
            check_field(r, w, lua_gettop(L), v, lua_tostring(L, -2));
        lua_pop(L, 1);
    }
    if (open) return;
    size_t len = w->len;
    lua_pushnil(L);
    while (lua_next(L, v)) {
        lua_pop(L, 1);
        if (lua_type(L, -1) != LUA_TSTRING) {
            fault(r, w, "must be an object, not a list");
            lua_pop(L, 1);
            return;
        }
        lua_pushvalue(L, -1);
        bool known = lua_rawget(L, fields) == LUA_TTABLE;
        lua_pop(L, 1);
        if (known) continue;
        enter(w, len ? ".%s" : "%s", lua_tostring(L, -1));
        fault_unknown(r, w, fields, lua_tostring(L, -1));
        leave(w, len);
    }
}

static int by_path(const void *a, const void *b) {
    const struct hm_fault *x = a, *y = b;
    int order = strcmp(x->path, y->path);
    return order ? order : strcmp(x->message, y->message);
}

bool hm_schema_check(lua_State *L, int fields, int value, const struct hm_schema_options *options,
                     struct hm_faults *faults) {
    struct run r = {L, faults, options->sealed, 0};
    struct where w = {0};
    fields = lua_absindex(L, fields);
    value = lua_absindex(L, value);
    faults->count = 0;
    enter(&w, "%s", options->prefix);
    if (!lua_istable(L, value) || lua_rawlen(L, value) > 0) {
        fault(&r, &w, "must be an object");
    } else {
        check_fields(&r, &w, fields, value, options->open);
    }
    unsigned n = faults->count < HM_FAULTS_MAX ? faults->count : HM_FAULTS_MAX;
    qsort(faults->list, n, sizeof faults->list[0], by_path);
    return faults->count == 0;
}

void hm_faults_push(lua_State *L, const struct hm_faults *faults) {
    lua_newtable(L);
    for (unsigned i = 0; i < faults->count && i < HM_FAULTS_MAX; i++) {
        lua_createtable(L, 0, 2);
        lua_pushstring(L, faults->list[i].path);
        lua_setfield(L, -2, "path");
        lua_pushstring(L, faults->list[i].message);
        lua_setfield(L, -2, "message");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

// ---- JSON Schema -------------------------------------------------------------------------------

static void put_member(struct hm_buf *out, const char *name) {
    if (out->len && out->data[out->len - 1] != '{') hm_buf_char(out, ',');
    hm_json_put_str(out, hm_str_of(name));
    hm_buf_char(out, ':');
}

void hm_push_names(lua_State *L, int fields) {
    fields = lua_absindex(L, fields);
    lua_newtable(L);
    int list = lua_gettop(L);
    lua_Integer n = 0;
    lua_pushnil(L);
    while (lua_next(L, fields)) {
        lua_pop(L, 1);
        if (lua_type(L, -1) != LUA_TSTRING) continue;
        lua_Integer at = n++;
        for (; at > 0; at--) { // insertion: fields are few
            lua_rawgeti(L, list, at);
            bool before = strcmp(lua_tostring(L, -1), lua_tostring(L, -2)) < 0;
            if (before) {
                lua_pop(L, 1);
                break;
            }
            lua_rawseti(L, list, at + 1);
        }
        lua_pushvalue(L, -1);
        lua_rawseti(L, list, at + 1);
    }
}

static void fields_members(lua_State *L, int fields, bool open, struct hm_buf *out) {
    fields = lua_absindex(L, fields);
    luaL_checkstack(L, 12, "nested too deep");
    hm_push_names(L, fields);
    int names = lua_gettop(L);
    lua_Integer n = (lua_Integer)lua_rawlen(L, names);
    put_member(out, "properties");
    hm_buf_char(out, '{');
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, names, i);
        put_member(out, lua_tostring(L, -1));
        lua_rawget(L, fields);
        hm_schema_json(L, -1, out);
        lua_pop(L, 1);
    }
    hm_buf_char(out, '}');
    bool any = false;
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, names, i);
        const char *name = lua_tostring(L, -1);
        lua_pushvalue(L, -1);
        lua_rawget(L, fields);
        if (lua_istable(L, -1) && flag(L, lua_gettop(L), "required")) {
            if (!any) put_member(out, "required");
            hm_buf_char(out, any ? ',' : '[');
            hm_json_put_str(out, hm_str_of(name));
            any = true;
        }
        lua_pop(L, 2);
    }
    if (any) hm_buf_char(out, ']');
    if (!open) {
        put_member(out, "additionalProperties");
        hm_buf_text(out, "false");
    }
    lua_pop(L, 1);
}

void hm_schema_fields_json(lua_State *L, int fields, bool open, struct hm_buf *out) {
    hm_buf_text(out, "{\"type\":\"object\"");
    fields_members(L, fields, open, out);
    hm_buf_char(out, '}');
}

static void bounds_json(lua_State *L, int schema, const char *kind, struct hm_buf *out) {
    static const struct {
        const char *kind, *option, *keyword;
    } rows[] = {
        {"text", "min", "minLength"},    {"text", "max", "maxLength"},  {"text", "max_length", "maxLength"},
        {"integer", "min", "minimum"},   {"integer", "max", "maximum"}, {"number", "min", "minimum"},
        {"number", "max", "maximum"},    {"list", "min", "minItems"},   {"list", "max", "maxItems"},
        {"map", "max", "maxProperties"}, {"time", "min", "minimum"},    {"time", "max", "maximum"},
    };
    double v;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].kind, kind) == 0 && number_of(L, schema, rows[i].option, &v)) {
            put_member(out, rows[i].keyword);
            hm_json_put_double(out, v);
        }
}

// A member of the schema as it stands, when it can be written as JSON.
static void copy_member(lua_State *L, int schema, const char *option, const char *keyword,
                        struct hm_buf *out) {
    lua_pushstring(L, option);
    if (lua_rawget(L, schema) != LUA_TNIL) {
        size_t len = out->len;
        put_member(out, keyword);
        if (!hm_lua_to_json(L, -1, out, NULL)) {
            out->len = len;
            out->data[len] = '\0';
        }
    }
    lua_pop(L, 1);
}

void hm_schema_json(lua_State *L, int schema, struct hm_buf *out) {
    schema = lua_absindex(L, schema);
    hm_buf_char(out, '{');
    if (!lua_istable(L, schema)) {
        hm_buf_char(out, '}');
        return;
    }
    luaL_checkstack(L, 12, "nested too deep");
    const char *kind = kind_of(L, schema);
    size_t k = kind_index(kind);
    hm_buf_text(out, kinds[k].json);
    bounds_json(L, schema, kind, out);
    copy_member(L, schema, "title", "title", out);
    copy_member(L, schema, "default", "default", out);
    if (strcmp(kind, "choice") == 0) copy_member(L, schema, "values", "enum", out);
    if (strcmp(kind, "ref") == 0) copy_member(L, schema, "to", "x-ref", out);
    if ((strcmp(kind, "list") == 0 || strcmp(kind, "map") == 0) && push_table(L, schema, "of")) {
        put_member(out, kind[0] == 'l' ? "items" : "additionalProperties");
        hm_schema_json(L, -1, out);
        lua_pop(L, 1);
    }
    if (strcmp(kind, "object") == 0 && push_table(L, schema, "fields")) {
        fields_members(L, -1, flag(L, schema, "open"), out);
        lua_pop(L, 1);
    }
    hm_buf_char(out, '}');
}
