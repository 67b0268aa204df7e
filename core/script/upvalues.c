// Finds the functions of plugins that would carry a value from one call to the next in a local variable of
// their file ("local n = 0 … function() n = n + 1 end"). Tables are watched while calls run (image.h); a
// variable is not in a table, so it is looked for in the code, once, when everything is loaded.
//
// A function changes a variable around it with one instruction, OP_SETUPVAL. lua_dump gives the code, in the
// form of Lua 5.4, which is no promise of Lua's: code that cannot be read to its last byte is not run. A test
// says what is found in functions of all sorts. Worker thread, while loading.
#include "script/host.h"
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#define OP_SETUPVAL 10u // of Lua 5.4
#define UPVALUES 255

struct code {
    const unsigned char *at, *end;
    bool bad;
};
struct function { // its upvalues
    size_t count;
    bool written[UPVALUES];            // by it, or by a function inside of it
    bool of_local[UPVALUES];           // a local variable of the function around it; else an upvalue of that
    unsigned char index[UPVALUES + 1]; // which
};

static unsigned byte(struct code *c) {
    if (c->at < c->end) return *c->at++;
    c->bad = true;
    return 0;
}

static void skip(struct code *c, size_t n) {
    if (n > (size_t)(c->end - c->at)) {
        c->bad = true;
        n = (size_t)(c->end - c->at);
    }
    c->at += n;
}

// Seven bits a byte, the highest first; the last has its top bit set.
static size_t number(struct code *c) {
    size_t n = 0;
    for (unsigned b = 0; !(b & 0x80) && !c->bad;) {
        b = byte(c);
        if (n > SIZE_MAX >> 8) c->bad = true;
        n = n << 7 | (b & 0x7f);
    }
    return n;
}

static void text(struct code *c) {
    size_t n = number(c); // with one more; 0: none
    if (n) skip(c, n - 1);
}

static void instructions(struct code *c, struct function *f) {
    size_t n = number(c);
    for (size_t i = 0; i < n && !c->bad; i++) {
        uint32_t instruction = 0;
        const unsigned char *at = c->at;
        skip(c, sizeof instruction);
        if (c->bad) return;
        memcpy(&instruction, at, sizeof instruction);
        unsigned which = instruction >> 16 & 0xff; // its argument B
        if ((instruction & 0x7f) != OP_SETUPVAL) continue;
        if (which < UPVALUES) {
            f->written[which] = true;
        } else {
            c->bad = true;
        }
    }
}

static void constants(struct code *c) {
    size_t n = number(c);
    for (size_t i = 0; i < n && !c->bad; i++) {
        unsigned type = byte(c);
        if (type == 0x03 || type == 0x13) { // numbers
            skip(c, 8);
        } else if (type == 0x04 || type == 0x14) { // texts
            text(c);
        } else if (type != 0x00 && type != 0x01 && type != 0x11) { // nil, false, true
            c->bad = true;
        }
    }
}

static void upvalues(struct code *c, struct function *f) {
    f->count = number(c);
    if (f->count > UPVALUES) c->bad = true;
    for (size_t i = 0; i < f->count && !c->bad; i++) {
        f->of_local[i] = byte(c) != 0;
        f->index[i] = (unsigned char)byte(c);
        byte(c); // kind
    }
}

// Of a dump without what is for debugging, whose lists are empty then.
static void debugging(struct code *c) {
    for (int i = 0; i < 4; i++) // lines, lines again, local variables, names of upvalues
        if (number(c) != 0) c->bad = true;
}

// One function and those inside of it: recursion as deep as Lua's parser went, 200 at most.
static void function(struct code *c, struct function *f) {
    *f = (struct function){0};
    text(c);    // source
    number(c);  // first line
    number(c);  // last line
    skip(c, 3); // parameters, varargs, stack
    instructions(c, f);
    constants(c);
    upvalues(c, f);
    for (size_t n = number(c); n && !c->bad; n--) {
        struct function inner;
        function(c, &inner);
        for (size_t i = 0; i < inner.count && !c->bad; i++)
            if (inner.written[i] && !inner.of_local[i] && inner.index[i] < UPVALUES)
                f->written[inner.index[i]] = true;
    }
    debugging(c);
}

static int append(lua_State *L, const void *p, size_t len, void *out) {
    (void)L;
    hm_buf_str(out, (struct hm_str){p, len});
    return 0;
}

// The function on the top of the stack. False: the code is not understood.
static bool read_function(lua_State *L, struct hm_buf *buf, struct function *f) {
    hm_buf_clear(buf);
    if (lua_dump(L, append, buf, 1) != 0) return false;
    struct code c = {(unsigned char *)buf->data, (unsigned char *)buf->data + buf->len, false};
    skip(&c, 4 + 1 + 1 + 6 + 3 + 8 + 8 + 1); // "\x1bLua", version, format, sizes and samples, upvalues
    function(&c, f);
    return !c.bad && c.at == c.end;
}

// ---- what is loaded ----------------------------------------------------------------------------

struct walk {
    lua_State *L;
    struct hm_buf *buf;
    int seen, list; // on the stack: what was met, as keys; what is still to be looked at
    lua_Integer count;
};

// Takes the value on the top of the stack; what can hold nothing that matters is left out.
static void meet(struct walk *w) {
    lua_State *L = w->L;
    int type = lua_type(L, -1);
    if (type != LUA_TTABLE && type != LUA_TFUNCTION) {
        lua_pop(L, 1);
        return;
    }
    lua_pushvalue(L, -1);
    if (lua_rawget(L, w->seen) != LUA_TNIL) {
        lua_pop(L, 2);
        return;
    }
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_pushboolean(L, 1);
    lua_rawset(L, w->seen);
    lua_rawseti(L, w->list, ++w->count);
}

// The table on the top. An empty one gets a place for a member, so that the first that comes is a write into
// the image, too.
static void walk_table(struct walk *w) {
    lua_State *L = w->L;
    int table = lua_gettop(L);
    bool empty = true;
    if (lua_getmetatable(L, table)) meet(w);
    for (lua_pushnil(L); lua_next(L, table); empty = false) {
        meet(w);
        lua_pushvalue(L, -1);
        meet(w);
    }
    if (!empty) return;
    lua_pushboolean(L, 1);
    lua_pushboolean(L, 1);
    lua_rawset(L, table);
    lua_pushboolean(L, 1);
    lua_pushnil(L);
    lua_rawset(L, table);
}

static void report(lua_State *L, const char *name) {
    struct hm_host *host = hm_host_of(L);
    lua_Debug ar;
    char message[320];
    const char *id = "lib";
    lua_pushvalue(L, -1);
    if (!lua_getinfo(L, ">S", &ar)) return;
    for (size_t i = 0; i < host->loaded_count; i++)
        if (strcmp(host->loaded[i].source->file, ar.short_src) == 0) id = host->loaded[i].id;
    snprintf(message, sizeof message,
             "the function from line %d on changes '%s', a local variable outside of it, which would carry a "
             "value from one call to the next: make the variable inside of the function, or keep the value "
             "in the store",
             ar.linedefined, name);
    hm_problem(host, id, ar.short_src, ar.linedefined, message);
}

static void walk_function(struct walk *w) {
    lua_State *L = w->L;
    struct function f;
    int at = lua_gettop(L);
    bool code = !lua_iscfunction(L, at);
    if (code && !read_function(L, w->buf, &f))
        luaL_error(L, "this version of Lua has code that Hamroh does not know how to read");
    for (int i = 1; i <= UPVALUES; i++) {
        const char *name = lua_getupvalue(L, at, i);
        if (!name) break;
        meet(w);
        if (!code || !f.written[i - 1]) continue;
        char variable[64];
        lua_pushvalue(L, at);
        snprintf(variable, sizeof variable, "%s", name);
        report(L, variable);
        lua_pop(L, 1);
    }
}

int hm_upvalues_check(lua_State *L) {
    static const void *const roots[] = {&hm_reg_decls, &hm_reg_required, &hm_reg_kinds};
    struct walk w = {.L = L, .buf = hm_scratch(hm_host_of(L), 0)};
    lua_settop(L, 0);
    lua_newtable(L);
    lua_newtable(L);
    w.seen = 1;
    w.list = 2;
    for (size_t i = 0; i < sizeof roots / sizeof *roots; i++) {
        lua_rawgetp(L, LUA_REGISTRYINDEX, roots[i]);
        meet(&w);
    }
    luaL_checkstack(L, 16, NULL);
    while (w.count) {
        lua_rawgeti(L, w.list, w.count);
        lua_pushnil(L);
        lua_rawseti(L, w.list, w.count--);
        if (lua_istable(L, 3)) {
            walk_table(&w);
        } else {
            walk_function(&w);
        }
        lua_settop(L, 2);
    }
    return 0;
}
