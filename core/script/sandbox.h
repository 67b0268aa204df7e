// A Lua state that cannot do harm by accident: a small library, limits that no pcall swallows, and nothing
// that stays from one call to the next. What it cannot stop is stopped from outside by killing the process.
//
// Time: a POSIX timer on the thread's CPU clock sends SIGPROF every 10 ms of computing; the handler counts,
// and when the armed limit is used up (to the next 10 ms), or the clock on the wall says that it has been too
// long, it sets a hook for every instruction, as lua.c does for Ctrl-C. The hook raises an error, at every
// instruction again, so that a pcall in the script only meets the next one; and pcall itself raises again.
// The timer runs always: setting it for every call would be two system calls each. Memory: small objects come
// from lists of free ones (a call makes hundreds), the allocator refuses beyond a cap; a small reserve is
// opened for saying so. State: what was made while plugins were loaded is an image (image.h), sealed behind
// that; who writes into it ends the call like a limit. A state that met any of these is closed and made anew
// (hm_sandbox_spent).
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include "script/image.h"
#include <lua.h>
#include <signal.h>

#define HM_REP_MAX (4u << 20) // longest text that string.rep makes
#define HM_SORT_MAX 250000    // elements
#define HM_SORT_TEXT 256      // bytes: among longer texts the sort looks at the time at each comparison
#define HM_MOVE_MAX 1000000   // elements that one table.move, insert or remove moves

#define HM_POOL_STEP 16u
#define HM_POOL_CLASSES 32u // objects up to 512 bytes

struct hm_pool { // of one state
    void *free[HM_POOL_CLASSES];
    struct hm_pool_chunk *chunks;
    char *at, *end; // what is left of the newest chunk
    size_t bytes;   // of all chunks: they are kept until the state is closed
    size_t large;   // bytes of what is too large for it
};

// What ended a call in a way that nothing in it can catch.
enum hm_stop {
    HM_STOP_NONE,
    HM_STOP_CPU,    // time of computing
    HM_STOP_WALL,   // time on the wall
    HM_STOP_STATE,  // it changed what was made when the plugins were loaded
    HM_STOP_LOG,    // more log lines than it may write
    HM_STOP_OUTPUT, // a result larger than it may be
};

enum hm_phase {
    HM_BEFORE,   // nothing of a plugin is there
    HM_LOADING,  // what is made goes into the image
    HM_SETTLING, // no longer; what is no longer needed leaves it
    HM_SEALED,
    HM_CLOSING,
};

struct hm_sandbox {
    lua_State *L;    // where calls run; while plugins are loaded another thread of the same state
    lua_State *main; // while they are: where calls will run
    struct hm_pool pool;
    struct hm_image image;
    enum hm_phase phase;
    unsigned serial;             // of the call, or load, that is armed
    size_t used, cap;            // bytes; cap SIZE_MAX when no limit is armed
    size_t held_cap;             // the same of what the process holds for them (hm_sandbox_held)
    volatile sig_atomic_t stop;  // enum hm_stop
    volatile sig_atomic_t ticks; // of the timer that are left; 0: no limit of time is armed
    unsigned late;               // ticks since it was stopped
    bool memory_up;
    unsigned cpu_ms, wall_ms; // the armed limits, for the report
    uint64_t memory_bytes;
    char file[128]; // where it was stopped
    int line;
    char memory_file[128]; // where memory was last refused
    int memory_line;
    unsigned depth;   // the host's: methods inside of methods, and whose code runs; an error that a script
                      // catches puts
    int plugin;       // both back to what they were at its pcall
    uint64_t wall_us; // when the wall's limit is met; 0: none
    uint64_t deadline_us; // of computing, only where signals come late (see sandbox.c)
};

// Before privileges are dropped: the timer and its signal, once for the process, and the handler of faults.
bool hm_sandbox_start(struct hm_error *err);
// A new state with the safe library in its registry. box must stay where it is until it is closed.
bool hm_sandbox_open(struct hm_sandbox *box, void *owner, struct hm_error *err);
void hm_sandbox_close(struct hm_sandbox *box);
struct hm_sandbox *hm_sandbox_of(lua_State *L);
void *hm_sandbox_owner(lua_State *L);
// From now on until hm_sandbox_seal what the state makes is what calls find and may not change.
bool hm_sandbox_load(struct hm_sandbox *box, struct hm_error *err);
// Everything is loaded. Takes a whole turn of the collector of garbage: some milliseconds.
bool hm_sandbox_seal(struct hm_sandbox *box, struct hm_error *err);
// Limits from now on: CPU time, time on the wall, and memory on top of what is used. 0 = none.
void hm_sandbox_arm(struct hm_sandbox *box, unsigned cpu_ms, unsigned wall_ms, uint64_t memory_bytes);
void hm_sandbox_disarm(struct hm_sandbox *box);
size_t hm_sandbox_held(const struct hm_sandbox *box); // bytes, with what the pool keeps for later
bool hm_sandbox_spent(const struct hm_sandbox *box);  // no longer good: close it
// For long loops in C functions: raises when the call was stopped.
void hm_sandbox_check(lua_State *L);
// Stops the call, at the place in Lua that is running; raises. With place false it was noted by the caller.
_Noreturn void hm_sandbox_stop(lua_State *L, enum hm_stop why, bool place);
// The table is one of the image: no call may change it. Raises then.
void hm_sandbox_check_own(lua_State *L, int index);
// As lua_pcall without a handler; but raises again when a limit was met.
int hm_sandbox_pcall(lua_State *L, int args, int results);
// Fills the registry and empties the globals (library.c). Runs protected.
int hm_library_open(lua_State *L);
// Copies the safe library into the table on the top of the stack: fresh tables, so that nobody changes
// another's.
void hm_sandbox_library(lua_State *L);
