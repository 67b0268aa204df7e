// The sandbox. One state at a time is armed, on the one thread of the worker; `armed` is what the signal
// handler looks at. What always holds: a plugin's functions come from the lists below and nowhere else, and
// the globals of the state are empty.
#include "script/sandbox.h"
#include "base/arena.h"
#include "base/clock.h"
#include <assert.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

// The thread sanitizer delivers signals only where it is asked to; there the time is looked up every few
// instructions instead.
#if defined(__SANITIZE_THREAD__)
#define HM_LATE_SIGNALS 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HM_LATE_SIGNALS 1
#endif
#endif
#ifndef HM_LATE_SIGNALS
#define HM_LATE_SIGNALS 0
#endif
#define TICK_MS 10
#define POOL_CHUNK (64u << 10)
#define RESERVE (1u << 20) // memory for reporting that there is none

static struct hm_sandbox *volatile armed;
static timer_t timer;
static bool timer_made;
static const char library_key = 'l';
static const char owner_key = 'o';

// ---- time --------------------------------------------------------------------------------------

static void note_place(struct hm_sandbox *box, lua_State *L, lua_Debug *ar) {
    if (box->file[0] || !lua_getinfo(L, "Sl", ar)) return;
    snprintf(box->file, sizeof box->file, "%s", ar->short_src);
    box->line = ar->currentline > 0 ? ar->currentline : 0;
}

static void stop_hook(lua_State *L, lua_Debug *ar) {
    struct hm_sandbox *box = hm_sandbox_of(L);
    if (HM_LATE_SIGNALS && !box->time_up && ar->event == LUA_HOOKCOUNT) {
        if (!box->deadline_us || hm_mono_us() < box->deadline_us) return;
        box->time_up = 1;
        lua_sethook(L, stop_hook, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
    }
    if (!box->time_up) return;
    note_place(box, L, ar);
    luaL_error(L, "the limit of %d ms was exceeded", (int)box->cpu_ms);
}

static void on_signal(int signal) {
    (void)signal;
    struct hm_sandbox *box = armed;
    if (!box || !box->ticks) return;
    // Again at every tick: should the first fall into a moment when a hook is being changed, the next does
    // not.
    if (box->ticks > 1) {
        box->ticks = box->ticks - 1;
        return;
    }
    box->time_up = 1;
    lua_sethook(box->L, stop_hook, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
}

bool hm_sandbox_start(struct hm_error *err) {
    if (timer_made) return true;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGPROF};
    struct itimerspec when = {{0, TICK_MS * 1000000L}, {0, TICK_MS * 1000000L}};
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGPROF, &action, NULL) || timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer) ||
        (!HM_LATE_SIGNALS && timer_settime(timer, 0, &when, NULL)))
        return hm_fail(err, HM_INTERNAL, "cannot make the timer for the limit of time: %m");
    timer_made = true;
    return true;
}

// ---- memory ------------------------------------------------------------------------------------

// Lua asks nobody where it was when memory ran out, so it is noted here, at each refusal (Lua collects
// garbage after the first and tries again). Nothing is allocated by looking.
static void note_refusal(struct hm_sandbox *box) {
    lua_Debug ar;
    for (int level = 0; box->L && lua_getstack(box->L, level, &ar); level++) {
        if (!lua_getinfo(box->L, "Sl", &ar) || ar.currentline <= 0) continue;
        snprintf(box->memory_file, sizeof box->memory_file, "%s", ar.short_src);
        box->memory_line = ar.currentline;
        return;
    }
}

struct hm_pool_chunk {
    struct hm_pool_chunk *next;
    char bytes[POOL_CHUNK];
};

static size_t class_of(size_t size) {
    return (size - 1) / HM_POOL_STEP;
}

static bool pooled(size_t size) {
    return HM_POOLED && size && size <= HM_POOL_STEP * HM_POOL_CLASSES;
}

static void *pool_take(struct hm_pool *pool, size_t size) {
    size_t at = class_of(size);
    void *p = pool->free[at];
    if (p) {
        memcpy(&pool->free[at], p, sizeof p);
        return p;
    }
    size = (at + 1) * HM_POOL_STEP;
    if ((size_t)(pool->end - pool->at) < size) {
        struct hm_pool_chunk *chunk = malloc(sizeof *chunk);
        if (!chunk) return NULL;
        chunk->next = pool->chunks;
        pool->chunks = chunk;
        pool->bytes += sizeof *chunk;
        pool->at = chunk->bytes + HM_POOL_STEP - sizeof chunk->next; // the objects lie on multiples of 16
        pool->end = chunk->bytes + POOL_CHUNK;
    }
    p = pool->at;
    pool->at += size;
    return p;
}

static void pool_give(struct hm_pool *pool, void *p, size_t size) {
    memcpy(p, &pool->free[class_of(size)], sizeof p);
    pool->free[class_of(size)] = p;
}

static void pool_free(struct hm_pool *pool) {
    while (pool->chunks) {
        struct hm_pool_chunk *chunk = pool->chunks;
        pool->chunks = chunk->next;
        free(chunk);
    }
    *pool = (struct hm_pool){0};
}

// realloc, where either side may be of the pool.
static void *resize(struct hm_pool *pool, void *ptr, size_t old_size, size_t new_size) {
    if (!pooled(old_size) && !pooled(new_size)) return realloc(ptr, new_size);
    if (pooled(old_size) && pooled(new_size) && class_of(old_size) == class_of(new_size)) return ptr;
    void *p = pooled(new_size) ? pool_take(pool, new_size) : malloc(new_size);
    if (!p || !ptr) return p;
    memcpy(p, ptr, old_size < new_size ? old_size : new_size);
    if (pooled(old_size))
        pool_give(pool, ptr, old_size);
    else
        free(ptr);
    return p;
}

size_t hm_sandbox_held(const struct hm_sandbox *box) {
    return box->pool.bytes + box->pool.large;
}

// What is free in one size class is of no use to another, so a script that fills one after the other could
// hold many times what is in use.
static bool may_hold(const struct hm_sandbox *box, size_t old_size, size_t new_size) {
    const struct hm_pool *pool = &box->pool;
    size_t more = 0, held = hm_sandbox_held(box);
    if (!pooled(new_size))
        more = new_size - (pooled(old_size) ? 0 : old_size);
    else if (!pool->free[class_of(new_size)] &&
             (size_t)(pool->end - pool->at) < (class_of(new_size) + 1) * HM_POOL_STEP &&
             !(pooled(old_size) && class_of(old_size) == class_of(new_size)))
        more = sizeof(struct hm_pool_chunk);
    return !more || (held <= box->held_cap && more <= box->held_cap - held);
}

static void *allocate(void *ud, void *ptr, size_t old_size, size_t new_size) {
    struct hm_sandbox *box = ud;
    if (!ptr) old_size = 0; // then it is the type of what is made, not a size
    if (new_size == 0) {
        if (pooled(old_size))
            pool_give(&box->pool, ptr, old_size);
        else
            free(ptr);
        box->used -= old_size;
        if (!pooled(old_size)) box->pool.large -= old_size;
        return NULL;
    }
    if (new_size > old_size && (box->used > box->cap || new_size - old_size > box->cap - box->used ||
                                !may_hold(box, old_size, new_size))) {
        note_refusal(box);
        return NULL;
    }
    void *p = resize(&box->pool, ptr, old_size, new_size);
    if (!p && new_size <= old_size)
        return ptr; // shrinking never fails; in the pool it counts as of the new size
    if (!p) return NULL;
    box->used = box->used - old_size + new_size;
    if (!pooled(old_size)) box->pool.large -= old_size;
    if (!pooled(new_size)) box->pool.large += new_size;
    return p;
}

static int panic(lua_State *L) {
    fprintf(stderr, "hamroh: an error of Lua outside of any protected call: %s\n",
            lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "(no text)");
    abort();
}

void hm_sandbox_arm(struct hm_sandbox *box, unsigned cpu_ms, uint64_t memory_bytes) {
    box->time_up = 0;
    box->memory_up = false;
    box->file[0] = '\0';
    box->line = 0;
    box->memory_file[0] = '\0';
    box->memory_line = 0;
    box->cpu_ms = cpu_ms;
    box->memory_bytes = memory_bytes;
    box->cap =
        memory_bytes && memory_bytes < SIZE_MAX - box->used ? box->used + (size_t)memory_bytes : SIZE_MAX;
    // A quarter more: an honest script has objects of other sizes at its end than at its beginning.
    box->held_cap = memory_bytes && memory_bytes < SIZE_MAX / 4
                        ? hm_sandbox_held(box) + (size_t)(memory_bytes + memory_bytes / 4) + POOL_CHUNK
                        : SIZE_MAX;
    box->deadline_us = cpu_ms ? hm_mono_us() + (uint64_t)cpu_ms * 1000 : 0;
    if (HM_LATE_SIGNALS && cpu_ms) lua_sethook(box->L, stop_hook, LUA_MASKCOUNT, 1000);
    armed = box;
    box->ticks = cpu_ms ? (int)((cpu_ms + TICK_MS - 1) / TICK_MS + 1) : 0; // the first comes within one
}

void hm_sandbox_disarm(struct hm_sandbox *box) {
    box->ticks = 0;
    armed = NULL;
    box->cap = box->held_cap = SIZE_MAX;
    box->deadline_us = 0;
    if (box->time_up || HM_LATE_SIGNALS) lua_sethook(box->L, NULL, 0, 0);
}

bool hm_sandbox_spent(const struct hm_sandbox *box) {
    return box->time_up || box->memory_up;
}

void hm_sandbox_check(lua_State *L) {
    struct hm_sandbox *box = hm_sandbox_of(L);
    if (HM_LATE_SIGNALS && box->deadline_us && hm_mono_us() >= box->deadline_us) box->time_up = 1;
    if (!box->time_up) return;
    lua_Debug ar;
    if (lua_getstack(L, 1, &ar)) note_place(box, L, &ar);
    luaL_error(L, "the limit of %d ms was exceeded", (int)box->cpu_ms);
}

int hm_sandbox_pcall(lua_State *L, int args, int results) {
    struct hm_sandbox *box = hm_sandbox_of(L);
    unsigned depth = box->depth;
    int plugin = box->plugin;
    int status = lua_pcall(L, args, results, 0);
    box->depth = depth;
    box->plugin = plugin;
    if (status == LUA_ERRMEM && !box->memory_up) {
        box->memory_up = true;
        if (box->cap < SIZE_MAX - RESERVE) box->cap += RESERVE;
        if (box->held_cap < SIZE_MAX - RESERVE) box->held_cap += RESERVE;
    }
    if (box->memory_up || box->time_up) {
        if (status == LUA_OK) luaL_error(L, "a limit was exceeded");
        lua_error(L);
    }
    return status;
}

// ---- the safe library --------------------------------------------------------------------------
// Functions of Lua's own that are wrapped: the wrapper looks at the arguments and then goes on into the
// original, in the same frame. They are looked up once, when the first state is made.

static struct {
    lua_CFunction find, match, gmatch, gsub, rep, insert, remove, move, concat, unpack, sort, setmetatable,
        tostring;
} original;

static int safe_pcall(lua_State *L) {
    luaL_checkany(L, 1);
    lua_pushboolean(L, 1);
    lua_insert(L, 1);
    if (hm_sandbox_pcall(L, lua_gettop(L) - 2, LUA_MULTRET) == LUA_OK) return lua_gettop(L);
    lua_pushboolean(L, 0);
    lua_replace(L, 1);
    return 2;
}

static int safe_setmetatable(lua_State *L) {
    static const char *const refused[] = {"__gc", "__close", "__mode"};
    luaL_checktype(L, 1, LUA_TTABLE);
    if (lua_istable(L, 2))
        for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
            lua_pushstring(L, refused[i]);
            if (lua_rawget(L, 2) != LUA_TNIL)
                return luaL_error(L, "setmetatable: %s is not offered", refused[i]);
            lua_pop(L, 1);
        }
    return original.setmetatable(L);
}

// Addresses say something about the process and change from run to run.
static int safe_tostring(lua_State *L) {
    int t = lua_type(L, 1);
    if ((t == LUA_TTABLE || t == LUA_TFUNCTION || t == LUA_TUSERDATA || t == LUA_TLIGHTUSERDATA) &&
        luaL_getmetafield(L, 1, "__tostring") == LUA_TNIL) {
        lua_pushstring(L, lua_typename(L, t));
        return 1;
    }
    lua_settop(L, 1);
    return original.tostring(L);
}

static void check_subject(lua_State *L) {
    size_t subject, pattern;
    luaL_checklstring(L, 1, &subject);
    luaL_checklstring(L, 2, &pattern);
    if (subject > HM_SUBJECT_MAX)
        luaL_error(L, "a text of %d bytes is too long for patterns (%d)", (int)subject, HM_SUBJECT_MAX);
    if (pattern > 1024) luaL_error(L, "a pattern of %d bytes is too long (1024)", (int)pattern);
}
static int safe_find(lua_State *L) {
    check_subject(L);
    return original.find(L);
}
static int safe_match(lua_State *L) {
    check_subject(L);
    return original.match(L);
}
static int safe_gmatch(lua_State *L) {
    check_subject(L);
    return original.gmatch(L);
}
static int safe_gsub(lua_State *L) {
    check_subject(L);
    return original.gsub(L);
}

static int safe_rep(lua_State *L) {
    size_t len, separator = 0;
    luaL_checklstring(L, 1, &len);
    lua_Integer n = luaL_checkinteger(L, 2);
    luaL_optlstring(L, 3, "", &separator);
    if (n > 0 && len + separator > 0 && (lua_Unsigned)n > HM_REP_MAX / (len + separator))
        return luaL_error(L, "string.rep: the result would be longer than %d bytes", HM_REP_MAX);
    if (n > HM_REP_MAX) return luaL_error(L, "string.rep: too many times");
    return original.rep(L);
}

// Metamethods of a table could make these loop in C, where no hook comes.
static void check_plain(lua_State *L, int index) {
    luaL_checktype(L, index, LUA_TTABLE);
    if (!lua_getmetatable(L, index)) return;
    static const char *const events[] = {"__index", "__newindex", "__len"};
    for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
        lua_pushstring(L, events[i]);
        if (lua_rawget(L, -2) != LUA_TNIL)
            luaL_error(L, "the table functions take plain tables, not one with %s", events[i]);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}
static int safe_insert(lua_State *L) {
    check_plain(L, 1);
    return original.insert(L);
}
static int safe_remove(lua_State *L) {
    check_plain(L, 1);
    return original.remove(L);
}
static int safe_concat(lua_State *L) {
    check_plain(L, 1);
    return original.concat(L);
}
static int safe_unpack(lua_State *L) {
    if (lua_istable(L, 1)) check_plain(L, 1);
    return original.unpack(L);
}
static int safe_sort(lua_State *L) {
    check_plain(L, 1);
    if (lua_rawlen(L, 1) > HM_SORT_MAX)
        return luaL_error(L, "table.sort: more than %d elements", HM_SORT_MAX);
    return original.sort(L);
}
static int safe_move(lua_State *L) {
    check_plain(L, 1);
    lua_Integer from = luaL_checkinteger(L, 2), to = luaL_checkinteger(L, 3);
    if (lua_istable(L, 5)) check_plain(L, 5);
    if (to >= from && (lua_Unsigned)to - (lua_Unsigned)from >= HM_MOVE_MAX)
        return luaL_error(L, "table.move: more than %d elements", HM_MOVE_MAX);
    return original.move(L);
}

struct offered {
    const char *name;
    lua_CFunction safe;      // NULL: as Lua has it
    lua_CFunction *original; // where the wrapper finds it
};
static const struct offered base_list[] = {{"ipairs", NULL, NULL},
                                           {"pairs", NULL, NULL},
                                           {"next", NULL, NULL},
                                           {"select", NULL, NULL},
                                           {"tonumber", NULL, NULL},
                                           {"tostring", safe_tostring, &original.tostring},
                                           {"type", NULL, NULL},
                                           {"error", NULL, NULL},
                                           {"assert", NULL, NULL},
                                           {"rawget", NULL, NULL},
                                           {"rawequal", NULL, NULL},
                                           {"rawlen", NULL, NULL},
                                           {"pcall", safe_pcall, NULL},
                                           {"getmetatable", NULL, NULL},
                                           {"setmetatable", safe_setmetatable, &original.setmetatable},
                                           {NULL, NULL, NULL}};
static const struct offered string_list[] = {{"byte", NULL, NULL},
                                             {"char", NULL, NULL},
                                             {"format", NULL, NULL},
                                             {"len", NULL, NULL},
                                             {"lower", NULL, NULL},
                                             {"upper", NULL, NULL},
                                             {"reverse", NULL, NULL},
                                             {"sub", NULL, NULL},
                                             {"find", safe_find, &original.find},
                                             {"match", safe_match, &original.match},
                                             {"gmatch", safe_gmatch, &original.gmatch},
                                             {"gsub", safe_gsub, &original.gsub},
                                             {"rep", safe_rep, &original.rep},
                                             {NULL, NULL, NULL}};
static const struct offered table_list[] = {{"insert", safe_insert, &original.insert},
                                            {"remove", safe_remove, &original.remove},
                                            {"concat", safe_concat, &original.concat},
                                            {"unpack", safe_unpack, &original.unpack},
                                            {"sort", safe_sort, &original.sort},
                                            {"move", safe_move, &original.move},
                                            {"pack", NULL, NULL},
                                            {NULL, NULL, NULL}};
static const struct offered math_list[] = {
    {"abs", NULL, NULL},        {"ceil", NULL, NULL}, {"floor", NULL, NULL}, {"fmod", NULL, NULL},
    {"modf", NULL, NULL},       {"exp", NULL, NULL},  {"log", NULL, NULL},   {"sqrt", NULL, NULL},
    {"sin", NULL, NULL},        {"cos", NULL, NULL},  {"tan", NULL, NULL},   {"asin", NULL, NULL},
    {"acos", NULL, NULL},       {"atan", NULL, NULL}, {"deg", NULL, NULL},   {"rad", NULL, NULL},
    {"max", NULL, NULL},        {"min", NULL, NULL},  {"ult", NULL, NULL},   {"type", NULL, NULL},
    {"tointeger", NULL, NULL},  {"pi", NULL, NULL},   {"huge", NULL, NULL},  {"maxinteger", NULL, NULL},
    {"mininteger", NULL, NULL}, {NULL, NULL, NULL}};
static const struct offered utf8_list[] = {
    {"char", NULL, NULL}, {"charpattern", NULL, NULL}, {"codepoint", NULL, NULL}, {"codes", NULL, NULL},
    {"len", NULL, NULL},  {"offset", NULL, NULL},      {NULL, NULL, NULL}};
static const struct {
    const char *name; // NULL: the names stand by themselves
    lua_CFunction open;
    const struct offered *list;
} libraries[] = {{NULL, luaopen_base, base_list},
                 {"string", luaopen_string, string_list},
                 {"table", luaopen_table, table_list},
                 {"math", luaopen_math, math_list},
                 {"utf8", luaopen_utf8, utf8_list}};

// Table at `from` (a library as Lua opens it) into the table at `to`, by the list.
static void copy_offered(lua_State *L, int from, int to, const struct offered *list) {
    for (const struct offered *o = list; o->name; o++) {
        lua_getfield(L, from, o->name);
        if (o->original && !*o->original) *o->original = lua_tocfunction(L, -1);
        if (o->safe) {
            lua_pop(L, 1);
            lua_pushcfunction(L, o->safe);
        }
        assert(!lua_isnil(L, -1));
        lua_setfield(L, to, o->name);
    }
}

static void copy_table(lua_State *L, int from, int to) {
    lua_pushnil(L);
    while (lua_next(L, from)) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, to);
    }
}

void hm_sandbox_library(lua_State *L) {
    int env = lua_gettop(L);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &library_key);
    int all = lua_gettop(L);
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        lua_rawgeti(L, all, (lua_Integer)i + 1);
        int from = lua_gettop(L);
        if (!libraries[i].name) {
            copy_table(L, from, env);
        } else {
            lua_newtable(L);
            copy_table(L, from, lua_gettop(L));
            lua_setfield(L, env, libraries[i].name);
        }
        lua_settop(L, all);
    }
    lua_settop(L, env);
}

// Runs protected: fills the registry and empties the globals.
static int open_state(lua_State *L) {
    lua_newtable(L);
    int all = lua_gettop(L);
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        lua_pushcfunction(L, libraries[i].open);
        lua_call(L, 0, 1);
        int from = lua_gettop(L);
        lua_newtable(L);
        copy_offered(L, from, lua_gettop(L), libraries[i].list);
        lua_rawseti(L, all, (lua_Integer)i + 1);
        lua_settop(L, all);
    }
    // ("x"):rep() goes through the safe functions, in a table that nobody can reach.
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1);
    lua_newtable(L);
    lua_rawgeti(L, all, 2);
    copy_table(L, lua_gettop(L), lua_gettop(L) - 1);
    lua_pop(L, 1);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_settop(L, all);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &library_key);
    lua_newtable(L);
    lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    return 0;
}

struct hm_sandbox *hm_sandbox_of(lua_State *L) {
    return *(struct hm_sandbox **)lua_getextraspace(L);
}

void *hm_sandbox_owner(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &owner_key);
    void *owner = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return owner;
}

bool hm_sandbox_open(struct hm_sandbox *box, void *owner, struct hm_error *err) {
    *box = (struct hm_sandbox){.cap = SIZE_MAX, .held_cap = SIZE_MAX};
    box->L = lua_newstate(allocate, box);
    if (!box->L) return hm_fail(err, HM_INTERNAL, "cannot make a state of Lua");
    *(struct hm_sandbox **)lua_getextraspace(box->L) = box;
    lua_atpanic(box->L, panic);
    lua_pushcfunction(box->L, open_state);
    if (lua_pcall(box->L, 0, 0, 0) != LUA_OK) {
        hm_sandbox_close(box);
        return hm_fail(err, HM_INTERNAL, "cannot set up a state of Lua");
    }
    lua_pushlightuserdata(box->L, owner);
    lua_rawsetp(box->L, LUA_REGISTRYINDEX,
                &owner_key); // the registry exists: a set of one key; outside of any limit
    return true;
}

void hm_sandbox_close(struct hm_sandbox *box) {
    if (!box->L) return;
    if (armed == box) hm_sandbox_disarm(box);
    lua_close(box->L);
    pool_free(&box->pool);
    box->L = NULL;
}
