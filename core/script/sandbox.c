// The sandbox. One state at a time is armed, on the one thread of the worker; `armed` is what the signal
// handler looks at.
#include "script/sandbox.h"
#include "base/arena.h"
#include "base/clock.h"
#include <lauxlib.h>
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
static struct hm_sandbox *volatile sealed; // the newest
static struct sigaction fault_before;
static timer_t timer;
static bool timer_made;
static const char owner_key = 'o';

// ---- stopping ----------------------------------------------------------------------------------

#define EVERY_EVENT (LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT)

static void note_place(struct hm_sandbox *box, lua_State *L, lua_Debug *ar) {
    if (box->file[0] || !lua_getinfo(L, "Sl", ar) || ar->currentline < 0) return;
    snprintf(box->file, sizeof box->file, "%s", ar->short_src);
    box->line = ar->currentline;
}

static void note_running(struct hm_sandbox *box, lua_State *L) {
    lua_Debug ar;
    for (int level = 0; !box->file[0] && lua_getstack(L, level, &ar); level++)
        note_place(box, L, &ar);
}

// Nobody reads this text: a stop is told from the box.
static _Noreturn void raise_stop(lua_State *L) {
    luaL_error(L, "a limit was exceeded");
    abort(); // luaL_error does not come back
}

static void stop_hook(lua_State *L, lua_Debug *ar) {
    struct hm_sandbox *box = hm_sandbox_of(L);
    if (HM_LATE_SIGNALS && !box->stop && ar->event == LUA_HOOKCOUNT) {
        if (!box->deadline_us || hm_mono_us() < box->deadline_us) return;
        box->stop = HM_STOP_CPU;
        lua_sethook(L, stop_hook, EVERY_EVENT, 1);
    }
    if (!box->stop) return;
    note_place(box, L, ar);
    raise_stop(L);
}

static void stop(struct hm_sandbox *box, enum hm_stop why) {
    if (!box->stop) box->stop = (sig_atomic_t)why;
    lua_sethook(box->L, stop_hook, EVERY_EVENT, 1);
}

_Noreturn void hm_sandbox_stop(lua_State *L, enum hm_stop why, bool place) {
    struct hm_sandbox *box = hm_sandbox_of(L);
    if (!box->stop) box->stop = (sig_atomic_t)why;
    if (place) note_running(box, L);
    raise_stop(L);
}

// ---- time --------------------------------------------------------------------------------------

static void on_signal(int signal) {
    (void)signal;
    struct hm_sandbox *box = armed;
    if (!box || !box->ticks) return;
    if (box->stop) {
        // Should the first have fallen into a moment when a hook was being changed, another does not. But
        // setting it goes through all frames, of which a recursion has so many that it takes longer than a
        // tick: less and less often.
        box->late++;
        if ((box->late & (box->late - 1)) == 0) stop(box, HM_STOP_CPU);
    } else if (box->wall_us && hm_mono_us() >= box->wall_us) {
        stop(box, HM_STOP_WALL);
    } else if (box->ticks == 1) {
        stop(box, HM_STOP_CPU);
    } else {
        box->ticks = box->ticks - 1;
    }
}

// ---- state -------------------------------------------------------------------------------------

static void changed(struct hm_sandbox *box) {
    if (!hm_image_unseal(&box->image)) abort(); // nothing could go on
    stop(box, HM_STOP_STATE);
}

static void on_fault(int signal, siginfo_t *info, void *context) {
    struct hm_sandbox *box = sealed;
    if (box && box->image.sealed && hm_image_is_member(&box->image, info->si_addr)) {
        changed(box); // and the same instruction again, which now may
        return;
    }
    if (fault_before.sa_flags & SA_SIGINFO && fault_before.sa_sigaction) { // a sanitizer's
        fault_before.sa_sigaction(signal, info, context);
        return;
    }
    sigaction(SIGSEGV, &fault_before, NULL); // the same instruction again, which now ends the process
}

// Frames of calls are kept and used again, by each thread of Lua for itself: those made while loading go with
// the thread that loads.
bool hm_sandbox_load(struct hm_sandbox *box, struct hm_error *err) {
    if (!hm_image_open(&box->image)) return hm_fail(err, HM_INTERNAL, "no addresses for plugins: %m");
    box->main = box->L;
    box->L = lua_newthread(box->main); // stays on that stack until it is no longer needed
    box->phase = HM_LOADING;
    return true;
}

// The registry is the one table that is written while calls run: more keys than it has room for, and it moves
// out of the image.
static int move_registry(lua_State *L) {
    enum { KEYS = 512 };
    static const char keys[KEYS];
    for (size_t i = 0; i < KEYS; i++) {
        lua_pushboolean(L, 1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &keys[i]);
    }
    for (size_t i = 0; i < KEYS; i++) {
        lua_pushnil(L);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &keys[i]);
    }
    return 0;
}

bool hm_sandbox_seal(struct hm_sandbox *box, struct hm_error *err) {
    box->phase = HM_SETTLING;
    box->L = box->main;
    lua_settop(box->L, 0);
    lua_pushcfunction(box->L, move_registry);
    if (lua_pcall(box->L, 0, 0, 0) != LUA_OK) {
        lua_pop(box->L, 1);
        return hm_fail(err, HM_TOO_LARGE, "no memory to seal what was loaded");
    }
    lua_gc(box->L, LUA_GCCOLLECT);
    if (!hm_image_seal(&box->image)) return hm_fail(err, HM_INTERNAL, "cannot seal what was loaded: %m");
    box->phase = HM_SEALED;
    sealed = box;
    return true;
}

void hm_sandbox_check_own(lua_State *L, int index) {
    struct hm_sandbox *box = hm_sandbox_of(L);
    if (box->phase == HM_SEALED && hm_image_is_object(&box->image, lua_topointer(L, index)))
        hm_sandbox_stop(L, HM_STOP_STATE, true);
}

bool hm_sandbox_start(struct hm_error *err) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART}, before;
    struct sigaction fault = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGPROF};
    struct itimerspec when = {{0, TICK_MS * 1000000L}, {0, TICK_MS * 1000000L}};
    sigemptyset(&action.sa_mask);
    sigemptyset(&fault.sa_mask);
    sigaddset(&fault.sa_mask, SIGPROF); // one at a time sets the hook
    if (sigaction(SIGSEGV, &fault, &before))
        return hm_fail(err, HM_INTERNAL, "cannot set the handler for sealed memory: %m");
    if (!(before.sa_flags & SA_SIGINFO) || before.sa_sigaction != on_fault) fault_before = before;
    if (timer_made) return true;
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
    return box->pool.bytes + box->pool.large + hm_image_bytes(&box->image);
}

// What is free in one size class is of no use to another, so a script that fills one after the other could
// hold many times what is in use.
static inline bool may_hold(const struct hm_sandbox *box, size_t old_size, size_t new_size) {
    const struct hm_pool *pool = &box->pool;
    if (pooled(new_size) && pool->free[class_of(new_size)]) return true;
    size_t more = 0, held = hm_sandbox_held(box);
    if (!pooled(new_size))
        more = new_size - (pooled(old_size) ? 0 : old_size);
    else if (!pool->free[class_of(new_size)] &&
             (size_t)(pool->end - pool->at) < (class_of(new_size) + 1) * HM_POOL_STEP &&
             !(pooled(old_size) && class_of(old_size) == class_of(new_size)))
        more = sizeof(struct hm_pool_chunk);
    return !more || (held <= box->held_cap && more <= box->held_cap - held);
}

// Into the image, within it, and out of it. The kind of what is made is told when it is made: 0 for what
// belongs to an object. (Lua's manual, lua_Alloc.)
static void *image_resize(struct hm_sandbox *box, void *ptr, bool object, size_t old_size, size_t new_size) {
    bool open = box->phase == HM_LOADING || box->phase == HM_SETTLING;
    if (!open && box->phase != HM_CLOSING) {
        // A table of the image grew, or an object of it died since something else took its place.
        changed(box);
    }
    if (!new_size) {
        if (open) hm_image_give(&box->image, ptr, old_size);
        return NULL;
    }
    if (open && ptr && hm_image_room(old_size) == hm_image_room(new_size)) return ptr;
    void *p = box->phase == HM_LOADING ? hm_image_take(&box->image, object, new_size)
                                       : resize(&box->pool, NULL, 0, new_size);
    if (!p) return new_size <= old_size ? ptr : NULL; // shrinking never fails
    if (box->phase != HM_LOADING && !pooled(new_size)) box->pool.large += new_size;
    if (!ptr) return p;
    memcpy(p, ptr, old_size < new_size ? old_size : new_size);
    if (open) hm_image_give(&box->image, ptr, old_size);
    return p;
}

static inline void *pool_resize(struct hm_sandbox *box, void *ptr, size_t old_size, size_t new_size) {
    bool was = pooled(old_size), is = pooled(new_size);
    if (!new_size) {
        if (was) {
            pool_give(&box->pool, ptr, old_size);
        } else {
            free(ptr);
            box->pool.large -= old_size;
        }
        return NULL;
    }
    if (!ptr && is) return pool_take(&box->pool, new_size); // most of what is made
    void *p = resize(&box->pool, ptr, old_size, new_size);
    if (!p) return new_size <= old_size ? ptr : NULL; // in the pool it counts as of the new size
    if (!was) box->pool.large -= old_size;
    if (!is) box->pool.large += new_size;
    return p;
}

static void *allocate(void *ud, void *ptr, size_t old_size, size_t new_size) {
    struct hm_sandbox *box = ud;
    bool image = ptr ? hm_image_has(&box->image, ptr) : box->phase == HM_LOADING && new_size != 0;
    bool object = ptr ? image && hm_image_is_object(&box->image, ptr) : old_size != 0;
    if (!ptr) old_size = 0; // then it was the type of what is made, not a size
    if (new_size > old_size && (box->used > box->cap || new_size - old_size > box->cap - box->used ||
                                (!image && !may_hold(box, old_size, new_size)))) {
        note_refusal(box);
        return NULL;
    }
    void *p = image ? image_resize(box, ptr, object, old_size, new_size)
                    : pool_resize(box, ptr, old_size, new_size);
    if (p || !new_size) box->used = box->used - old_size + new_size;
    return p;
}

static int panic(lua_State *L) {
    fprintf(stderr, "hamroh: an error of Lua outside of any protected call: %s\n",
            lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "(no text)");
    abort();
}

void hm_sandbox_arm(struct hm_sandbox *box, unsigned cpu_ms, unsigned wall_ms, uint64_t memory_bytes) {
    box->stop = HM_STOP_NONE;
    box->late = 0;
    box->serial++;
    box->memory_up = false;
    box->file[0] = '\0';
    box->line = 0;
    box->memory_file[0] = '\0';
    box->memory_line = 0;
    box->cpu_ms = cpu_ms;
    box->wall_ms = wall_ms;
    box->memory_bytes = memory_bytes;
    box->cap =
        memory_bytes && memory_bytes < SIZE_MAX - box->used ? box->used + (size_t)memory_bytes : SIZE_MAX;
    // A quarter more: an honest script has objects of other sizes at its end than at its beginning.
    box->held_cap = memory_bytes && memory_bytes < SIZE_MAX / 4
                        ? hm_sandbox_held(box) + (size_t)(memory_bytes + memory_bytes / 4) + POOL_CHUNK
                        : SIZE_MAX;
    uint64_t now = wall_ms || HM_LATE_SIGNALS ? hm_mono_us() : 0;
    box->wall_us = wall_ms ? now + (uint64_t)wall_ms * 1000 : 0;
    box->deadline_us = cpu_ms ? now + (uint64_t)cpu_ms * 1000 : 0;
    if (HM_LATE_SIGNALS && cpu_ms) lua_sethook(box->L, stop_hook, LUA_MASKCOUNT, 1000);
    armed = box;
    box->ticks = cpu_ms ? (int)((cpu_ms + TICK_MS - 1) / TICK_MS + 1) : 0; // the first comes within one
}

void hm_sandbox_disarm(struct hm_sandbox *box) {
    box->ticks = 0;
    armed = NULL;
    box->cap = box->held_cap = SIZE_MAX;
    box->deadline_us = box->wall_us = 0;
    if (box->stop || HM_LATE_SIGNALS) lua_sethook(box->L, NULL, 0, 0);
}

bool hm_sandbox_spent(const struct hm_sandbox *box) {
    return box->memory_up || box->stop == HM_STOP_CPU || box->stop == HM_STOP_WALL ||
           box->stop == HM_STOP_STATE;
}

void hm_sandbox_check(lua_State *L) {
    struct hm_sandbox *box = hm_sandbox_of(L);
    if (HM_LATE_SIGNALS && box->deadline_us && hm_mono_us() >= box->deadline_us) box->stop = HM_STOP_CPU;
    if (!box->stop) return;
    note_running(box, L);
    raise_stop(L);
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
    if (box->memory_up || box->stop) {
        if (status == LUA_OK) raise_stop(L);
        lua_error(L);
    }
    return status;
}

// ---- a state ---------------------------------------------------------------------------------

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
    lua_pushcfunction(box->L, hm_library_open);
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
    if (box->image.sealed) hm_image_unseal(&box->image);
    if (sealed == box) sealed = NULL;
    box->phase = HM_CLOSING;
    lua_close(box->L);
    pool_free(&box->pool);
    hm_image_close(&box->image);
    box->L = NULL;
}
