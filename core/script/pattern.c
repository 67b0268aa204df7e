// Patterns. Worker thread. A match walks pattern and text with an explicit list of choices to come back to,
// so that no text and no pattern makes the C stack grow; every step is paid for, and when a call has paid
// for HM_PATTERN_STEPS it ends with an error. In between it looks whether the time of the whole call is up.
//
// What always holds: pattern and text are strings on the stack of Lua or upvalues while they are walked; no
// byte at or behind their end is looked at.
#include "script/pattern.h"
#include "script/sandbox.h"
#include <ctype.h>
#include <lauxlib.h>
#include <string.h>

#define CHOICES 200 // as deep as Lua's own goes before it says "pattern too complex"
#define CAPTURES 32 // as Lua has it
#define FUEL 4096   // steps between looks at the clock

#define OPEN (-1)     // a capture that has begun
#define POSITION (-2) // "()"

struct capture {
    const char *at;
    ptrdiff_t len; // or OPEN, POSITION
};

struct matcher {
    lua_State *L;
    const char *text, *text_end;
    const char *pattern, *pattern_end;
    size_t fuel, spent;
    int count; // of captures
    struct capture captures[CAPTURES];
};

// A place to go on from when what follows does not match.
enum { GREEDY, LAZY, OPTIONAL, OPENED, CLOSED };
struct choice {
    int kind;
    int capture;      // CLOSED: which
    const char *at;   // in the text
    const char *low;  // GREEDY: not before this
    const char *item; // LAZY: what is repeated,
    const char *item_end;
    const char *then; // where in the pattern it goes on
};

// ---- steps -------------------------------------------------------------------------------------

static void refuel(struct matcher *m, size_t cost) {
    m->spent += FUEL - m->fuel + cost;
    m->fuel = FUEL;
    hm_sandbox_check(m->L);
    if (m->spent > HM_PATTERN_STEPS)
        luaL_error(m->L,
                   "the limit of %d steps of a pattern was exceeded on a text of %d bytes: make it say more "
                   "exactly what it looks for (fewer of - and * in a row), or look at less of the text",
                   (int)HM_PATTERN_STEPS, (int)(m->text_end - m->text));
}

static inline void spend(struct matcher *m, size_t cost) {
    if (m->fuel > cost) {
        m->fuel -= cost;
    } else {
        refuel(m, cost);
    }
}

// ---- one item ----------------------------------------------------------------------------------

static bool in_class(int c, int name) {
    bool is;
    switch (tolower(name)) {
    case 'a':
        is = isalpha(c) != 0;
        break;
    case 'c':
        is = iscntrl(c) != 0;
        break;
    case 'd':
        is = isdigit(c) != 0;
        break;
    case 'g':
        is = isgraph(c) != 0;
        break;
    case 'l':
        is = islower(c) != 0;
        break;
    case 'p':
        is = ispunct(c) != 0;
        break;
    case 's':
        is = isspace(c) != 0;
        break;
    case 'u':
        is = isupper(c) != 0;
        break;
    case 'w':
        is = isalnum(c) != 0;
        break;
    case 'x':
        is = isxdigit(c) != 0;
        break;
    case 'z':
        is = c == 0;
        break; // of old
    default:
        return name == c;
    }
    return is != (isupper(name) != 0);
}

// set: at its '['; end: at its ']'.
static bool in_set(int c, const char *set, const char *end) {
    const unsigned char *p = (const unsigned char *)set + 1, *last = (const unsigned char *)end;
    bool inverted = p < last && *p == '^';
    for (p += inverted; p < last; p++) {
        if (*p == '%' && p + 1 < last) {
            if (in_class(c, *++p)) return !inverted;
        } else if (p + 2 < last && p[1] == '-') {
            if (p[0] <= c && c <= p[2]) return !inverted;
            p += 2;
        } else if (*p == c) {
            return !inverted;
        }
    }
    return inverted;
}

// Behind the single-character item that begins at p (before the end of the pattern).
static const char *item_end(struct matcher *m, const char *p) {
    const char *end = m->pattern_end, *from = p;
    if (*p == '%') {
        if (p + 1 == end) luaL_error(m->L, "malformed pattern (ends with '%%')");
        return p + 2;
    }
    if (*p != '[') return p + 1;
    p++;
    if (p < end && *p == '^') p++;
    do { // the first may be a ']'
        if (p == end) luaL_error(m->L, "malformed pattern (missing ']')");
        if (*p++ == '%' && p < end) p++;
    } while (p == end || *p != ']');
    spend(m, (size_t)(p - from) / 8);
    return p + 1;
}

// What it costs to try an item on a character.
static inline size_t cost_of(const char *item, const char *end) {
    return 1 + (size_t)(end - item) / 8;
}

static inline bool fits(const struct matcher *m, const char *s, const char *item, const char *end) {
    if (s == m->text_end) return false;
    int c = (unsigned char)*s;
    switch (*item) {
    case '.':
        return true;
    case '%':
        return in_class(c, (unsigned char)item[1]);
    case '[':
        return in_set(c, item, end - 1);
    default:
        return (unsigned char)*item == c;
    }
}

// %bxy at p + 2: behind what is balanced, or NULL.
static const char *balanced(struct matcher *m, const char *s, const char *p) {
    if (m->pattern_end - p < 2) luaL_error(m->L, "malformed pattern (missing arguments to '%%b')");
    if (s == m->text_end || *s != p[0]) return NULL;
    for (size_t depth = 1; ++s < m->text_end;) {
        spend(m, 1);
        if (*s == p[1]) {
            if (--depth == 0) return s + 1;
        } else if (*s == p[0]) {
            depth++;
        }
    }
    return NULL;
}

static bool at_frontier(struct matcher *m, const char *s, const char *set, const char *end) {
    int before = s == m->text ? 0 : (unsigned char)s[-1], here = s == m->text_end ? 0 : (unsigned char)*s;
    spend(m, (size_t)(end - set) / 4);
    return !in_set(before, set, end - 1) && in_set(here, set, end - 1);
}

// What capture `digit` holds, again: behind it, or NULL.
static const char *again(struct matcher *m, const char *s, int digit) {
    int i = digit - '1';
    if (i < 0 || i >= m->count || m->captures[i].len == OPEN)
        luaL_error(m->L, "invalid capture index %%%d", i + 1);
    size_t len = (size_t)m->captures[i].len; // a position is longer than any text
    if ((size_t)(m->text_end - s) < len) return NULL;
    spend(m, len / 32);
    return memcmp(m->captures[i].at, s, len) == 0 ? s + len : NULL;
}

static int last_open(struct matcher *m) {
    for (int i = m->count - 1; i >= 0; i--)
        if (m->captures[i].len == OPEN) return i;
    return luaL_error(m->L, "invalid pattern capture");
}

// ---- matching ----------------------------------------------------------------------------------

struct walk {
    const char *s, *p;
    int depth;
    struct choice choices[CHOICES];
};

// A new choice, of which the caller fills in what its kind needs.
static inline struct choice *choose(struct matcher *m, struct walk *w, int kind) {
    if (w->depth == CHOICES - 1) luaL_error(m->L, "pattern too complex");
    struct choice *c = &w->choices[w->depth++];
    c->kind = kind;
    return c;
}

// Goes back to the last choice that has something left to try. False: there is none.
static bool go_back(struct matcher *m, struct walk *w) {
    while (w->depth) {
        struct choice *c = &w->choices[w->depth - 1];
        switch (c->kind) {
        case GREEDY:
            spend(m, 1);
            if (c->at == c->low) break;
            w->s = --c->at;
            w->p = c->then;
            return true;
        case LAZY:
            spend(m, cost_of(c->item, c->item_end));
            if (!fits(m, c->at, c->item, c->item_end)) break;
            w->s = ++c->at;
            w->p = c->then;
            return true;
        case OPTIONAL:
            w->s = c->at;
            w->p = c->then;
            w->depth--;
            return true;
        case OPENED:
            m->count--;
            break;
        case CLOSED:
            m->captures[c->capture].len = OPEN;
            break;
        }
        w->depth--;
    }
    return false;
}

static void open_capture(struct matcher *m, struct walk *w) {
    bool position = w->p + 1 < m->pattern_end && w->p[1] == ')';
    if (m->count == CAPTURES) luaL_error(m->L, "too many captures");
    m->captures[m->count++] = (struct capture){w->s, position ? POSITION : OPEN};
    choose(m, w, OPENED);
    w->p += position ? 2 : 1;
}

static void close_capture(struct matcher *m, struct walk *w) {
    int i = last_open(m);
    m->captures[i].len = w->s - m->captures[i].at;
    choose(m, w, CLOSED)->capture = i;
    w->p++;
}

// An item of one character, with what may follow it: * + ? -
static inline bool single(struct matcher *m, struct walk *w) {
    const char *item = w->p, *end = item_end(m, item), *s = w->s;
    char how = end < m->pattern_end ? *end : '\0';
    size_t cost = cost_of(item, end);
    struct choice *c;
    spend(m, cost);
    if (!fits(m, s, item, end)) {
        w->p = end + 1;
        return how == '*' || how == '?' || how == '-';
    }
    switch (how) {
    case '?':
        c = choose(m, w, OPTIONAL);
        c->at = s;
        w->s = s + 1;
        break;
    case '+':
    case '*':
        for (s++; fits(m, s, item, end); s++)
            spend(m, cost);
        c = choose(m, w, GREEDY);
        c->low = w->s + (how == '+');
        c->at = w->s = s;
        break;
    case '-':
        c = choose(m, w, LAZY);
        c->at = s;
        c->item = item;
        c->item_end = end;
        break;
    default:
        w->s = s + 1;
        w->p = end;
        return true;
    }
    c->then = w->p = end + 1;
    return true;
}

// %b, %f, %1; anything else behind a '%' is an item of one character.
static bool escaped(struct matcher *m, struct walk *w) {
    char what = m->pattern_end - w->p > 1 ? w->p[1] : '\0';
    const char *to;
    if (what == 'b') {
        to = balanced(m, w->s, w->p + 2);
        w->p += 4;
    } else if (what == 'f') {
        const char *set = w->p + 2;
        if (set == m->pattern_end || *set != '[') luaL_error(m->L, "missing '[' after '%%f' in pattern");
        w->p = item_end(m, set);
        return at_frontier(m, w->s, set, w->p);
    } else if (what >= '0' && what <= '9') {
        to = again(m, w->s, what);
        w->p += 2;
    } else {
        return single(m, w);
    }
    if (to) w->s = to;
    return to != NULL;
}

// Where a match of the pattern from p on that begins at s ends, or NULL.
static const char *match_here(struct matcher *m, const char *s, const char *p) {
    struct walk w;
    w.s = s;
    w.p = p;
    w.depth = m->count = 0;
    spend(m, 1);
    for (;;) {
        bool good = true;
        if (w.p == m->pattern_end) return w.s;
        if (*w.p == '(') {
            open_capture(m, &w);
        } else if (*w.p == ')') {
            close_capture(m, &w);
        } else if (*w.p == '$' && w.p + 1 == m->pattern_end) {
            if (w.s == m->text_end) return w.s;
            good = false;
        } else if (*w.p == '%') {
            good = escaped(m, &w);
        } else {
            good = single(m, &w);
        }
        if (!good && !go_back(m, &w)) return NULL;
    }
}

// ---- captures to Lua ---------------------------------------------------------------------------

// Capture i of the match from s to e, which is the whole when there are none.
static struct capture capture_of(struct matcher *m, int i, const char *s, const char *e) {
    if (i >= m->count) {
        if (i) luaL_error(m->L, "invalid capture index %%%d", i + 1);
        return (struct capture){s, e - s};
    }
    if (m->captures[i].len == OPEN) luaL_error(m->L, "unfinished capture");
    return m->captures[i];
}

static void push_capture(struct matcher *m, int i, const char *s, const char *e) {
    struct capture c = capture_of(m, i, s, e);
    if (c.len == POSITION) {
        lua_pushinteger(m->L, c.at - m->text + 1);
    } else {
        lua_pushlstring(m->L, c.at, (size_t)c.len);
    }
}

// With s: the whole match when there are no captures.
static int push_captures(struct matcher *m, const char *s, const char *e) {
    int n = m->count == 0 && s ? 1 : m->count;
    luaL_checkstack(m->L, n, "too many captures");
    for (int i = 0; i < n; i++)
        push_capture(m, i, s, e);
    return n;
}

// ---- the functions -----------------------------------------------------------------------------

static void begin(struct matcher *m, lua_State *L, const char *text, size_t text_len, const char *pattern,
                  size_t pattern_len) {
    m->L = L;
    m->text = text;
    m->text_end = text + text_len;
    m->pattern = pattern;
    m->pattern_end = pattern + pattern_len;
    m->fuel = FUEL;
    m->spent = 0;
    m->count = 0;
}

// Optional argument `arg` as an offset into a text of len bytes; beyond its end: larger than len.
static size_t start_of(lua_State *L, int arg, size_t len) {
    lua_Integer i = luaL_optinteger(L, arg, 1);
    if (i > 0) return (size_t)i - 1;
    if (i == 0 || i < -(lua_Integer)len) return 0;
    return len - (size_t)-i;
}

static bool is_plain(const char *pattern, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (pattern[i] && strchr("^$*+?.([%-", pattern[i])) return false;
    return true;
}

static int find(lua_State *L, bool positions) {
    struct matcher m;
    size_t text_len, pattern_len;
    const char *text = luaL_checklstring(L, 1, &text_len), *pattern = luaL_checklstring(L, 2, &pattern_len);
    size_t from = start_of(L, 3, text_len);
    if (from > text_len) {
        lua_pushnil(L);
        return 1;
    }
    if (positions && (lua_toboolean(L, 4) || is_plain(pattern, pattern_len))) {
        const char *at =
            pattern_len ? memmem(text + from, text_len - from, pattern, pattern_len) : text + from;
        if (!at) {
            lua_pushnil(L);
            return 1;
        }
        lua_pushinteger(L, at - text + 1);
        lua_pushinteger(L, at - text + (lua_Integer)pattern_len);
        return 2;
    }
    begin(&m, L, text, text_len, pattern, pattern_len);
    bool anchored = pattern_len && *pattern == '^';
    for (const char *s = text + from;; s++) {
        const char *e = match_here(&m, s, pattern + anchored);
        if (e && positions) {
            lua_pushinteger(L, s - text + 1);
            lua_pushinteger(L, e - text);
            return 2 + push_captures(&m, NULL, NULL);
        }
        if (e) return push_captures(&m, s, e);
        if (anchored || s == m.text_end) break;
    }
    lua_pushnil(L);
    return 1;
}

int hm_pattern_find(lua_State *L) {
    return find(L, true);
}

int hm_pattern_match(lua_State *L) {
    return find(L, false);
}

// An iterator goes with the call that made it: one made while a plugin was loaded would be a memory of
// what earlier calls did.
struct gmatch {
    size_t at;          // where the next is looked for
    ptrdiff_t last_end; // of the last match, -1: none yet
    unsigned serial;
};

// Upvalues: text, pattern, struct gmatch.
static int gmatch_next(lua_State *L) {
    struct matcher m;
    size_t text_len, pattern_len;
    const char *text = lua_tolstring(L, lua_upvalueindex(1), &text_len);
    const char *pattern = lua_tolstring(L, lua_upvalueindex(2), &pattern_len);
    struct gmatch *g = lua_touserdata(L, lua_upvalueindex(3));
    if (g->serial != hm_sandbox_of(L)->serial)
        return luaL_error(L, "gmatch: this iterator belongs to an earlier call; make one where it is used");
    begin(&m, L, text, text_len, pattern, pattern_len);
    for (; g->at <= text_len; g->at++) {
        const char *e = match_here(&m, text + g->at, pattern);
        if (!e || e - text == g->last_end) continue;
        const char *s = text + g->at;
        g->last_end = e - text;
        g->at = (size_t)g->last_end;
        return push_captures(&m, s, e);
    }
    return 0;
}

int hm_pattern_gmatch(lua_State *L) {
    size_t len;
    luaL_checklstring(L, 1, &len);
    luaL_checkstring(L, 2);
    size_t from = start_of(L, 3, len);
    lua_settop(L, 2);
    struct gmatch *g = lua_newuserdatauv(L, sizeof *g, 0);
    *g = (struct gmatch){from > len ? len + 1 : from, -1, hm_sandbox_of(L)->serial};
    lua_pushcclosure(L, gmatch_next, 3);
    return 1;
}

// The replacement text at 3, with its %0 … %9 and %%.
static void add_text(struct matcher *m, luaL_Buffer *out, const char *s, const char *e) {
    size_t len;
    const char *p = lua_tolstring(m->L, 3, &len), *end = p + len, *mark;
    for (; (mark = memchr(p, '%', (size_t)(end - p))) != NULL; p = mark + 2) {
        luaL_addlstring(out, p, (size_t)(mark - p));
        int c = mark + 1 < end ? (unsigned char)mark[1] : 0;
        if (c == '%') {
            luaL_addchar(out, '%');
        } else if (c == '0') {
            luaL_addlstring(out, s, (size_t)(e - s));
        } else if (isdigit(c)) {
            struct capture capture = capture_of(m, c - '1', s, e);
            if (capture.len == POSITION) {
                lua_pushinteger(m->L, capture.at - m->text + 1);
                luaL_tolstring(m->L, -1, NULL); // as Lua writes a number
                lua_remove(m->L, -2);
                luaL_addvalue(out);
            } else {
                luaL_addlstring(out, capture.at, (size_t)capture.len);
            }
        } else {
            luaL_error(m->L, "invalid use of '%%' in replacement string");
        }
    }
    luaL_addlstring(out, p, (size_t)(end - p));
}

// Adds what stands for the match from s to e; false: the match itself.
static bool add_value(struct matcher *m, luaL_Buffer *out, const char *s, const char *e, int type) {
    lua_State *L = m->L;
    if (type == LUA_TFUNCTION) {
        lua_pushvalue(L, 3);
        lua_call(L, push_captures(m, s, e), 1);
    } else if (type == LUA_TTABLE) {
        push_capture(m, 0, s, e);
        lua_gettable(L, 3);
    } else {
        add_text(m, out, s, e);
        return true;
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        luaL_addlstring(out, s, (size_t)(e - s));
        return false;
    }
    if (!lua_isstring(L, -1)) luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    luaL_addvalue(out);
    return true;
}

int hm_pattern_gsub(lua_State *L) {
    struct matcher m;
    luaL_Buffer out;
    size_t text_len, pattern_len;
    const char *text = luaL_checklstring(L, 1, &text_len), *pattern = luaL_checklstring(L, 2, &pattern_len);
    const char *s = text, *e, *last = NULL;
    int type = lua_type(L, 3);
    lua_Integer most = luaL_optinteger(L, 4, (lua_Integer)text_len + 1), n = 0;
    bool anchored = pattern_len && *pattern == '^', changed = false;
    luaL_argexpected(
        L, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION || type == LUA_TTABLE, 3,
        "string/function/table");
    luaL_buffinit(L, &out);
    begin(&m, L, text, text_len, pattern, pattern_len);
    while (n < most) {
        if ((e = match_here(&m, s, pattern + anchored)) != NULL && e != last) {
            n++;
            changed = add_value(&m, &out, s, e, type) || changed;
            s = last = e;
        } else if (s < m.text_end) {
            luaL_addchar(&out, *s++);
        } else {
            break;
        }
        if (anchored) break;
    }
    if (changed) {
        luaL_addlstring(&out, s, (size_t)(m.text_end - s));
        luaL_pushresult(&out);
    } else {
        lua_pushvalue(L, 1);
    }
    lua_pushinteger(L, n);
    return 2;
}
