// JSON and Lua values. One state, one thread at a time. What always holds: while a buffer is being filled no
// function of Lua is called that could raise; what is decoded goes through a buffer of the thread that is
// used again, so that an error of Lua in the middle loses nothing.
#include "script/lua_json.h"
#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char array_key = 'a';
static char null_value = 'n';

void hm_lua_json_open(lua_State *L) {
    lua_newtable(L);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable"); // getmetatable says false, setmetatable refuses
    lua_rawsetp(L, LUA_REGISTRYINDEX, &array_key);
}

void hm_lua_push_null(lua_State *L) {
    lua_pushlightuserdata(L, &null_value);
}

bool hm_lua_is_null(lua_State *L, int index) {
    return lua_islightuserdata(L, index) && lua_touserdata(L, index) == &null_value;
}

void hm_lua_mark_array(lua_State *L, int index) {
    index = lua_absindex(L, index);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key);
    lua_setmetatable(L, index);
}

bool hm_lua_is_array_marked(lua_State *L, int index) {
    if (!lua_getmetatable(L, index)) return false;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key);
    bool marked = lua_rawequal(L, -1, -2) != 0;
    lua_pop(L, 2);
    return marked;
}

// ---- JSON to Lua -------------------------------------------------------------------------------

struct decoder {
    const char *at, *end;
};

static void skip_space(struct decoder *d) {
    while (d->at < d->end && (*d->at == ' ' || *d->at == '\n' || *d->at == '\r' || *d->at == '\t'))
        d->at++;
}

// The text is checked, so a closing quote is always found.
static void push_string(lua_State *L, struct decoder *d) {
    static _Thread_local struct hm_buf decoded;
    const char *from = d->at + 1, *to = from;
    bool plain = true;
    while (to < d->end && *to != '"') {
        if (*to == '\\') {
            plain = false;
            to++;
        }
        to++;
    }
    struct hm_json value = {HM_JSON_STRING, {d->at, (size_t)(to + 1 - d->at)}};
    d->at = to + 1;
    if (plain) {
        lua_pushlstring(L, from, (size_t)(to - from));
        return;
    }
    if (decoded.cap > 1u << 20) hm_buf_free(&decoded);
    hm_buf_clear(&decoded);
    hm_json_string(value, &decoded);
    lua_pushlstring(L, decoded.data ? decoded.data : "", decoded.len);
}

static void push_number(lua_State *L, struct decoder *d) {
    const char *from = d->at;
    bool whole = true;
    while (d->at < d->end && strchr("+-0123456789.eE", *d->at)) {
        if (*d->at == '.' || *d->at == 'e' || *d->at == 'E') whole = false;
        d->at++;
    }
    struct hm_json value = {HM_JSON_NUMBER, {from, (size_t)(d->at - from)}};
    int64_t i;
    double f;
    if (whole && hm_json_int(value, &i)) {
        lua_pushinteger(L, (lua_Integer)i);
    } else if (hm_json_double(value, &f)) {
        lua_pushnumber(L, f);
    } else {
        lua_pushnumber(L, from[0] == '-' ? -HUGE_VAL : HUGE_VAL); // out of range: shown as what it is
    }
}

static void push_value(lua_State *L, struct decoder *d, bool in_array);

static void push_array(lua_State *L, struct decoder *d) {
    lua_Integer n = 0;
    lua_newtable(L);
    hm_lua_mark_array(L, -1);
    d->at++;
    for (skip_space(d); d->at < d->end && *d->at != ']'; skip_space(d)) {
        push_value(L, d, true);
        lua_rawseti(L, -2, ++n);
        skip_space(d);
        if (d->at < d->end && *d->at == ',') d->at++;
    }
    d->at++;
}

static void push_object(lua_State *L, struct decoder *d) {
    lua_newtable(L);
    d->at++;
    for (skip_space(d); d->at < d->end && *d->at != '}'; skip_space(d)) {
        push_string(L, d);
        skip_space(d);
        d->at++; // the colon
        push_value(L, d, false);
        lua_pushvalue(L, -2);
        bool again = lua_rawget(L, -4) != LUA_TNIL; // of a name that comes twice the first counts
        lua_pop(L, 1);
        if (again) {
            lua_pop(L, 2);
        } else {
            lua_rawset(L, -3); // nil leaves it absent
        }
        skip_space(d);
        if (d->at < d->end && *d->at == ',') d->at++;
    }
    d->at++;
}

static void push_value(lua_State *L, struct decoder *d, bool in_array) {
    skip_space(d);
    luaL_checkstack(L, 8, "JSON too deep");
    switch (d->at < d->end ? *d->at : 'n') {
    case '{':
        push_object(L, d);
        return;
    case '[':
        push_array(L, d);
        return;
    case '"':
        push_string(L, d);
        return;
    case 't':
        d->at += 4;
        lua_pushboolean(L, 1);
        return;
    case 'f':
        d->at += 5;
        lua_pushboolean(L, 0);
        return;
    case 'n':
        d->at += 4;
        if (in_array) {
            hm_lua_push_null(L);
        } else {
            lua_pushnil(L);
        }
        return;
    default:
        push_number(L, d);
    }
}

void hm_lua_push_json(lua_State *L, struct hm_json value) {
    struct decoder d = {value.raw.ptr, value.raw.ptr + value.raw.len};
    if (!value.raw.len) {
        lua_pushnil(L);
        return;
    }
    push_value(L, &d, false);
}

// ---- Lua to JSON -------------------------------------------------------------------------------

// Where we are, for errors: a chain on the C stack.
struct path {
    const struct path *up;
    struct hm_str name; // a member, or
    lua_Integer index;  // an element (from 0, as JSON counts)
};
struct encoder {
    lua_State *L;
    struct hm_buf *out;
    struct hm_error *err;
    size_t start, max;
    bool skip_code;
};

static size_t path_text(const struct path *p, char *text, size_t cap) {
    size_t len = p->up ? path_text(p->up, text, cap) : 0;
    if (!p->up || len + 1 >= cap) return len;
    int more = p->name.ptr
                   ? snprintf(text + len, cap - len, len ? ".%.*s" : "%.*s", (int)p->name.len, p->name.ptr)
                   : snprintf(text + len, cap - len, "[%lld]", (long long)p->index);
    if (more < 0) return len;
    len += (size_t)more;
    return len < cap ? len : cap - 1;
}

static bool fail(const struct encoder *e, const struct path *p, const char *what) {
    char where[200] = "";
    path_text(p, where, sizeof where);
    return hm_fail(e->err, HM_PARAMS, "%s: %s", where[0] ? where : "value", what);
}

static bool put_value(struct encoder *e, int index, const struct path *p, unsigned depth);

static bool is_code(lua_State *L, int index) {
    int t = lua_type(L, index);
    return t == LUA_TFUNCTION || t == LUA_TUSERDATA || t == LUA_TTHREAD ||
           (t == LUA_TLIGHTUSERDATA && !hm_lua_is_null(L, index));
}

static bool put_array(struct encoder *e, int index, const struct path *p, unsigned depth) {
    lua_State *L = e->L;
    lua_Unsigned n = lua_rawlen(L, index);
    lua_pushnil(L);
    while (lua_next(L, index)) { // nothing may be lost in silence: every key must be a place of the array
        lua_pop(L, 1);
        lua_Integer i = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
        if (i >= 1 && (lua_Unsigned)i <= n) continue;
        lua_pop(L, 1);
        return fail(e, p, "a list with names, or with holes, in it");
    }
    hm_buf_char(e->out, '[');
    for (lua_Unsigned i = 1; i <= n; i++) {
        struct path here = {p, {0}, (lua_Integer)i - 1};
        if (i > 1) hm_buf_char(e->out, ',');
        lua_rawgeti(L, index, (lua_Integer)i);
        bool ok;
        if (lua_isnil(L, -1) || (e->skip_code && is_code(L, -1))) {
            hm_buf_text(e->out, "null");
            ok = true;
        } else {
            ok = put_value(e, lua_gettop(L), &here, depth + 1);
        }
        lua_pop(L, 1);
        if (!ok) return false;
    }
    hm_buf_char(e->out, ']');
    return true;
}

// A member already written: where it stands in the text, and how long its name is, with the quotes.
struct member {
    const char *text; // while sorting
    size_t at, len, name_len;
};
struct members {
    struct member few[24];
    struct member *list; // few, or owned
    size_t count, cap;
};

static int by_name(const void *a, const void *b) {
    const struct member *x = a, *y = b;
    return hm_str_cmp((struct hm_str){x->text, x->name_len}, (struct hm_str){y->text, y->name_len});
}

// Puts the members, which stand in the order in which the table gave them, into the order of their names.
static void sort_members(struct hm_buf *out, size_t start, struct members *m) {
    size_t len = out->len - start;
    if (m->count < 2) return;
    char *copy = hm_alloc(len);
    memcpy(copy, out->data + start, len);
    for (size_t i = 0; i < m->count; i++)
        m->list[i].text = copy + (m->list[i].at - start);
    qsort(m->list, m->count, sizeof *m->list, by_name);
    out->len = start;
    for (size_t i = 0; i < m->count; i++) {
        if (i) hm_buf_char(out, ',');
        hm_buf_add(out, m->list[i].text, m->list[i].len);
    }
    free(copy);
}

static struct member *member_add(struct members *m) {
    if (m->count == m->cap) {
        struct member *more = hm_alloc_array(m->cap * 2, sizeof *more);
        memcpy(more, m->list, m->cap * sizeof *more);
        if (m->list != m->few) free(m->list);
        m->list = more;
        m->cap *= 2;
    }
    return &m->list[m->count++];
}

// The member whose name and value are the two topmost on the stack.
static bool put_member(struct encoder *e, const struct path *p, unsigned depth, struct members *all) {
    lua_State *L = e->L;
    char digits[32];
    struct hm_str name;
    if (lua_type(L, -2) == LUA_TSTRING) {
        name.ptr = lua_tolstring(L, -2, &name.len); // is a text already: nothing is made
    } else if (lua_isinteger(L, -2)) {
        name = (struct hm_str){
            digits, (size_t)snprintf(digits, sizeof digits, "%lld", (long long)lua_tointeger(L, -2))};
    } else {
        return fail(e, p, "a name that is neither text nor a whole number");
    }
    if (e->skip_code && is_code(L, -1)) return true;
    if (!hm_utf8_valid(name)) return fail(e, p, "a name that is not UTF-8");
    struct path here = {p, name, 0};
    if (all->count) hm_buf_char(e->out, ',');
    struct member m = {NULL, e->out->len, 0, 0};
    hm_json_put_str(e->out, name);
    m.name_len = e->out->len - m.at;
    hm_buf_char(e->out, ':');
    if (!put_value(e, lua_gettop(L), &here, depth + 1)) return false;
    m.len = e->out->len - m.at;
    *member_add(all) = m;
    return true;
}

static bool put_object(struct encoder *e, int index, const struct path *p, unsigned depth) {
    struct members m = {.cap = sizeof m.few / sizeof m.few[0]};
    m.list = m.few;
    hm_buf_char(e->out, '{');
    size_t start = e->out->len;
    bool ok = true;
    lua_pushnil(e->L);
    while (ok && lua_next(e->L, index)) {
        ok = put_member(e, p, depth, &m);
        lua_pop(e->L, ok ? 1 : 2);
    }
    if (ok) sort_members(e->out, start, &m);
    if (m.list != m.few) free(m.list);
    hm_buf_char(e->out, '}');
    return ok;
}

static bool put_number(struct encoder *e, int index, const struct path *p) {
    if (lua_isinteger(e->L, index)) {
        hm_json_put_int(e->out, (int64_t)lua_tointeger(e->L, index));
        return true;
    }
    double v = lua_tonumber(e->L, index);
    if (isnan(v)) return fail(e, p, "not a number (NaN)");
    if (isinf(v)) return fail(e, p, "infinity");
    hm_json_put_double(e->out, v);
    return true;
}

static bool put_value(struct encoder *e, int index, const struct path *p, unsigned depth) {
    lua_State *L = e->L;
    if (depth > HM_JSON_DEPTH) return fail(e, p, "nested too deep, or a table inside itself");
    if (e->out->len - e->start > e->max)
        return hm_fail(e->err, HM_TOO_LARGE, "longer than %zu bytes as JSON", e->max);
    if (!lua_checkstack(L, 6)) return fail(e, p, "nested too deep");
    switch (lua_type(L, index)) {
    case LUA_TNIL:
        hm_buf_text(e->out, "null");
        return true;
    case LUA_TBOOLEAN:
        hm_buf_text(e->out, lua_toboolean(L, index) ? "true" : "false");
        return true;
    case LUA_TNUMBER:
        return put_number(e, index, p);
    case LUA_TSTRING: {
        struct hm_str s;
        s.ptr = lua_tolstring(L, index, &s.len);
        if (!hm_utf8_valid(s)) return fail(e, p, "text that is not UTF-8");
        hm_json_put_str(e->out, s);
        return true;
    }
    case LUA_TTABLE:
        if (lua_rawlen(L, index) > 0 || hm_lua_is_array_marked(L, index))
            return put_array(e, index, p, depth);
        return put_object(e, index, p, depth);
    case LUA_TLIGHTUSERDATA:
        if (hm_lua_is_null(L, index)) {
            hm_buf_text(e->out, "null");
            return true;
        }
        return fail(e, p, "not a value that JSON has");
    case LUA_TFUNCTION:
        return fail(e, p, "a function cannot be data");
    default:
        return fail(e, p, "not a value that JSON has");
    }
}

bool hm_lua_to_json_opt(lua_State *L, int index, bool skip_code, size_t max, struct hm_buf *out,
                        struct hm_error *err) {
    struct encoder e = {L, out, err, out->len, max, skip_code};
    struct path root = {0};
    int top = lua_gettop(L);
    if (put_value(&e, lua_absindex(L, index), &root, 1)) {
        if (out->len - e.start <= max) return true;
        hm_fail(err, HM_TOO_LARGE, "longer than %zu bytes as JSON", max);
    }
    lua_settop(L, top);
    out->len = e.start;
    if (out->data) out->data[out->len] = '\0';
    return false;
}

bool hm_lua_to_json(lua_State *L, int index, struct hm_buf *out, struct hm_error *err) {
    return hm_lua_to_json_opt(L, index, false, SIZE_MAX, out, err);
}
