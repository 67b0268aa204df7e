// A Lua state that cannot do harm by accident: a small library, a limit of time and one of memory that no
// pcall swallows. What it cannot stop (C code that runs long inside Lua's own library) is stopped from
// outside by killing the process.
//
// Time: a POSIX timer on the thread's CPU clock sends SIGPROF every 10 ms of computing; the handler counts,
// and when the armed limit is used up (to the next 10 ms) it sets a hook for every instruction, as lua.c does
// for Ctrl-C. The hook raises an error, at every instruction again, so that a pcall in the script only meets
// the next one; and pcall itself raises again. The timer runs always: setting it for every call would be two
// system calls each. Memory: small objects come from lists of free ones (a call makes hundreds), the
// allocator refuses beyond a cap; a small reserve is opened for saying so. A state that met a limit is closed
// and made anew (hm_sandbox_spent).
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include <lua.h>
#include <signal.h>

#define HM_SUBJECT_MAX (256u << 10) // longest text that a pattern is tried on
#define HM_REP_MAX (4u << 20)       // longest text that string.rep makes
#define HM_SORT_MAX 250000          // elements
#define HM_MOVE_MAX 1000000

#define HM_POOL_STEP 16u
#define HM_POOL_CLASSES 32u // objects up to 512 bytes

struct hm_pool { // of one state
    void *free[HM_POOL_CLASSES];
    struct hm_pool_chunk *chunks;
    char *at, *end; // what is left of the newest chunk
    size_t bytes;   // of all chunks: they are kept until the state is closed
    size_t large;   // bytes of what is too large for it
};

struct hm_sandbox {
    lua_State *L;
    struct hm_pool pool;
    size_t used, cap; // bytes; cap SIZE_MAX when no limit is armed
    size_t held_cap;  // the same of what the process holds for them (hm_sandbox_held)
    volatile sig_atomic_t time_up;
    volatile sig_atomic_t ticks; // of the timer that are left; 0: no limit of time is armed
    bool memory_up;
    unsigned cpu_ms; // the armed limits, for the report
    uint64_t memory_bytes;
    char file[128]; // where the limit of time was met
    int line;
    char memory_file[128]; // where memory was last refused
    int memory_line;
    unsigned depth; // the host's: methods inside of methods, and whose code runs; an error that a script
                    // catches puts
    int plugin;     // both back to what they were at its pcall
    uint64_t deadline_us; // only where signals come late (see sandbox.c)
};

// Once for the process, before privileges are dropped: the timer and its signal.
bool hm_sandbox_start(struct hm_error *err);
// A new state with the safe library in its registry. box must stay where it is until it is closed.
bool hm_sandbox_open(struct hm_sandbox *box, void *owner, struct hm_error *err);
void hm_sandbox_close(struct hm_sandbox *box);
struct hm_sandbox *hm_sandbox_of(lua_State *L);
void *hm_sandbox_owner(lua_State *L);
// Limits from now on: CPU time, and memory on top of what is used. 0 = none.
void hm_sandbox_arm(struct hm_sandbox *box, unsigned cpu_ms, uint64_t memory_bytes);
void hm_sandbox_disarm(struct hm_sandbox *box);
size_t hm_sandbox_held(const struct hm_sandbox *box); // bytes, with what the pool keeps for later
bool hm_sandbox_spent(const struct hm_sandbox *box);  // met a limit: close it
// For long loops in C functions: raises when the time is up.
void hm_sandbox_check(lua_State *L);
// As lua_pcall without a handler; but raises again when a limit was met.
int hm_sandbox_pcall(lua_State *L, int args, int results);
// Copies the safe library into the table on the top of the stack: fresh tables, so that nobody changes
// another's.
void hm_sandbox_library(lua_State *L);
