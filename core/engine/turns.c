// Heavy workers, those whose calls run long, take turns on all processors but one: whatever some
// institutions' plugins compute, one processor is left for the server and for everybody's short calls. Loop
// thread only. What always holds: a worker that waits for its turn is stopped (SIGSTOP) and has a call in its
// flight; the time it waits counts for none of its limits; whatever ends a worker works on a stopped one,
// too.
#include "base/clock.h"
#include "engine/internal.h"
#include "engine/spawn.h"

#include <unistd.h>
#include <utlist.h>

#define TURN_S 0.02

static unsigned at_once(void) {
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    return processors > 2 ? (unsigned)processors - 1 : 1;
}

static void let_run(struct proc *proc, bool run) {
    if (run == !proc->held_us) return;
    hm_spawn_hold(proc->pidfd, !run);
    if (run) proc->head_since_us += hm_mono_us() - proc->held_us;
    proc->held_us = run ? 0 : hm_mono_us();
}

// Those that computed go behind those that waited.
static void next_turn(struct hm_engine *engine) {
    struct proc *ran = NULL, *proc, *next;
    DL_FOREACH_SAFE2(engine->heavy, proc, next, next_heavy) {
        if (proc->held_us) continue;
        DL_DELETE2(engine->heavy, proc, prev_heavy, next_heavy);
        DL_APPEND2(ran, proc, prev_heavy, next_heavy);
    }
    DL_CONCAT2(engine->heavy, ran, prev_heavy, next_heavy);
}

static void give_turns(struct hm_engine *engine) {
    unsigned left = at_once(), waiting = 0;
    struct proc *proc;
    DL_FOREACH2(engine->heavy, proc, next_heavy) {
        bool run = !proc->flight || left;
        if (proc->flight && left) left--;
        waiting += !run;
        let_run(proc, run);
    }
    if (!waiting)
        ev_timer_stop(engine->loop, &engine->turn);
    else if (!ev_is_active(&engine->turn))
        ev_timer_again(engine->loop, &engine->turn);
}

static void on_turn(struct ev_loop *loop, ev_timer *timer, int events) {
    (void)loop, (void)events;
    next_turn(timer->data);
    give_turns(timer->data);
}

void hm_turns_open(struct hm_engine *engine) {
    ev_timer_init(&engine->turn, on_turn, 0., TURN_S);
    engine->turn.data = engine;
}

void hm_turns_close(struct hm_engine *engine) {
    ev_timer_stop(engine->loop, &engine->turn);
}

void hm_turns_join(struct proc *proc) {
    struct hm_engine *engine = proc->institution->engine;
    DL_APPEND2(engine->heavy, proc, prev_heavy, next_heavy);
    give_turns(engine);
}

void hm_turns_leave(struct proc *proc) {
    struct hm_engine *engine = proc->institution->engine;
    DL_DELETE2(engine->heavy, proc, prev_heavy, next_heavy);
    let_run(proc, true);
    give_turns(engine);
}

void hm_turns_look(struct proc *proc) {
    give_turns(proc->institution->engine);
}
