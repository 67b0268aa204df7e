// Names that a plugin uses and its environment does not have, found without running it: Lua's own compiler
// says which names are looked up in _ENV, and where. Worker thread, or the check of an author. What always
// holds: only what we have just compiled ourselves is read as bytecode, within its bounds, and nothing of it
// runs. (A name that is the 257th constant of its function or later is not found; it is when it is used.)
#include "base/wire.h"
#include "script/host.h"
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

#define FOUND_MAX 50
#define OP_GETTABUP 11u
#define OP_SETTABUP 15u
#define ABSOLUTE_LINE (-0x80)

struct code { // a compiled chunk, as lua_dump gives it
    const uint8_t *at, *end;
    bool bad;
};

static const uint8_t *take(struct code *c, size_t n) {
    static const uint8_t none[16];
    if (c->bad || (size_t)(c->end - c->at) < n) {
        c->bad = true;
        return none;
    }
    const uint8_t *found = c->at;
    c->at += n;
    return found;
}

static size_t number(struct code *c) { // seven bits a byte, the highest first, the last one marked
    size_t n = 0;
    for (int i = 0; i < 10 && !c->bad; i++) {
        uint8_t b = *take(c, 1);
        n = n << 7 | (b & 0x7fu);
        if (b & 0x80u) return n;
    }
    c->bad = true;
    return 0;
}

static struct hm_str text(struct code *c) {
    size_t n = number(c);
    if (n == 0) return (struct hm_str){0};
    return (struct hm_str){(const char *)take(c, n - 1), n - 1};
}

struct constants {
    struct hm_str names[256];
    size_t count;
};

static void read_constants(struct code *c, struct constants *out) {
    size_t n = number(c);
    out->count = n < 256 ? n : 256;
    memset(out->names, 0, sizeof out->names);
    for (size_t i = 0; i < n && !c->bad; i++) {
        struct hm_str name = {0};
        switch (*take(c, 1)) {
        case 0x03: // whole numbers and others
        case 0x13:
            take(c, 8);
            break;
        case 0x04: // short and long texts
        case 0x14:
            name = text(c);
            break;
        default:
            break;
        }
        if (i < 256) out->names[i] = name;
    }
}

struct lines { // of each instruction: differences, and now and then the line itself
    const int8_t *steps;
    size_t count;
    struct code absolute;
    size_t absolute_count;
    int line;
};

static int next_line(struct lines *l, size_t pc) {
    if (pc >= l->count) return l->line;
    if (l->steps[pc] != ABSOLUTE_LINE) return l->line += l->steps[pc];
    struct code c = l->absolute;
    for (size_t i = 0; i < l->absolute_count && !c.bad; i++) {
        size_t at = number(&c), line = number(&c);
        if (at == pc) return l->line = (int)line;
    }
    return l->line;
}

struct lint {
    struct hm_host *host;
    const struct hm_source *source;
    lua_State *L;
    int env; // its index
    hm_lint_fn fn;
    void *arg;
    unsigned found;
};

static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

// Where in its line the name stands, from 1; 0: not found.
static int column_of(const struct hm_source *source, int line, struct hm_str name) {
    const char *at = source->text;
    for (int i = 1; i < line && at; i++) {
        at = strchr(at, '\n');
        if (at) at++;
    }
    if (!at) return 0;
    size_t len = strcspn(at, "\n");
    for (size_t i = 0; i + name.len <= len; i++) {
        bool alone = (i == 0 || (!is_word(at[i - 1]) && at[i - 1] != '.' && at[i - 1] != ':')) &&
                     !is_word(at[i + name.len]);
        if (alone && memcmp(at + i, name.ptr, name.len) == 0) return (int)i + 1;
    }
    return 0;
}

static void used(struct lint *l, struct hm_str name, int line, bool written) {
    char message[160];
    if (!name.len || name.len > 80 || l->found >= FOUND_MAX) return;
    lua_pushlstring(l->L, name.ptr, name.len);
    bool known = lua_rawget(l->L, l->env) != LUA_TNIL;
    lua_pop(l->L, 1);
    if (known && !written) return;
    l->found++;
    snprintf(message, sizeof message,
             written ? "'%.*s' would be a global; make it local" : "the name '%.*s' is not known here",
             (int)name.len, name.ptr);
    l->fn(l->arg, l->host, l->source, line, column_of(l->source, line, name), message);
}

static uint32_t instruction(const uint8_t *code, size_t pc) {
    uint32_t out;
    memcpy(&out, code + 4 * pc, sizeof out);
    return out;
}

static void walk_code(struct lint *l, const uint8_t *code, size_t count, const struct constants *k,
                      struct lines *lines, const bool *is_env) {
    for (size_t pc = 0; pc < count; pc++) {
        uint32_t ins = instruction(code, pc), op = ins & 0x7fu;
        uint32_t a = ins >> 7 & 0xffu, b = ins >> 16 & 0xffu, c = ins >> 24;
        int line = next_line(lines, pc);
        if (op == OP_GETTABUP && is_env[b] && c < k->count) used(l, k->names[c], line, false);
        if (op == OP_SETTABUP && is_env[a] && b < k->count) used(l, k->names[b], line, true);
    }
}

static void walk_function(struct lint *l, struct code *c, unsigned depth) {
    struct constants *k = hm_alloc(sizeof *k);
    bool is_env[256] = {false};
    text(c); // its file
    struct lines lines = {.line = (int)number(c)};
    number(c); // its last line
    take(c, 3);
    size_t count = number(c);
    const uint8_t *code = count < (1u << 24) ? take(c, 4 * count) : (c->bad = true, c->at);
    read_constants(c, k);
    size_t upvalues = number(c);
    take(c, upvalues < 256 ? 3 * upvalues : SIZE_MAX / 2);
    size_t inner = number(c);
    for (size_t i = 0; i < inner && !c->bad && depth < 200; i++)
        walk_function(l, c, depth + 1);
    lines.count = number(c);
    lines.steps = (const int8_t *)take(c, lines.count);
    lines.absolute_count = number(c);
    lines.absolute = *c;
    for (size_t i = 0; i < 2 * lines.absolute_count && !c->bad; i++)
        number(c);
    size_t locals = number(c);
    for (size_t i = 0; i < locals && !c->bad; i++) {
        text(c);
        number(c);
        number(c);
    }
    size_t names = number(c);
    for (size_t i = 0; i < names && !c->bad; i++) {
        struct hm_str name = text(c);
        if (i < 256) is_env[i] = hm_str_eq(name, HM_LIT("_ENV"));
    }
    if (!c->bad) walk_code(l, code, count, k, &lines, is_env);
    free(k);
}

static int write_code(lua_State *L, const void *bytes, size_t size, void *out) {
    (void)L;
    hm_buf_add(out, bytes, size);
    return 0;
}

void hm_lint(lua_State *L, const struct hm_source *source, hm_lint_fn fn, void *arg) {
    struct hm_host *host = hm_host_of(L);
    struct hm_buf *code = hm_scratch(host, 3);
    char chunk[sizeof source->file + 1];
    int top = lua_gettop(L);
    snprintf(chunk, sizeof chunk, "@%s", source->file);
    if (luaL_loadbufferx(L, source->text, source->len, chunk, "t") == LUA_OK &&
        lua_dump(L, write_code, code, 0) == 0) {
        hm_env_push(L, source->kind);
        struct lint l = {host, source, L, lua_gettop(L), fn, arg, 0};
        struct code c = {(const uint8_t *)code->data, (const uint8_t *)code->data + code->len, false};
        static const uint8_t head[] = {0x1b, 'L', 'u', 'a', 0x54, 0};
        bool ours = code->len > 32 && memcmp(code->data, head, sizeof head) == 0 && c.at[12] == 4;
        take(&c, 32); // head, and how many upvalues the chunk has
        if (ours) walk_function(&l, &c, 0);
    }
    lua_settop(L, top);
}
