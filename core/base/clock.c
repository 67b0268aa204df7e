// The one clock. Any thread. With the manual clock, wall time is a number that only hm_clock_advance moves;
// the monotonic clock always runs, since limits on running scripts must hold in trials too.
#include "base/clock.h"
#include <stdatomic.h>
#include <time.h>

#define HOLD_MS (10 * 60 * 1000)

static _Atomic int64_t said_ms; // by hm_now_ms, last
static atomic_bool manual;
static _Atomic int64_t manual_ms;

int64_t hm_clock_after(int64_t last_ms, int64_t clock_ms) {
    return clock_ms < last_ms && last_ms - clock_ms <= HOLD_MS ? last_ms : clock_ms;
}

int64_t hm_now_ms(void) {
    if (atomic_load(&manual)) return atomic_load(&manual_ms);
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    int64_t clock_ms = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
    int64_t last = atomic_load_explicit(&said_ms, memory_order_relaxed), now;
    do
        now = hm_clock_after(last, clock_ms);
    while (now != last && !atomic_compare_exchange_weak(&said_ms, &last, now));
    return now;
}

uint64_t hm_mono_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

void hm_clock_manual(int64_t start_ms) {
    atomic_store(&manual_ms, start_ms);
    atomic_store(&manual, true);
}

bool hm_clock_is_manual(void) {
    return atomic_load(&manual);
}

void hm_clock_advance(int64_t by_ms) {
    atomic_fetch_add(&manual_ms, by_ms);
}
