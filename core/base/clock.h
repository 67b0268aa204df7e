// The one clock. Wall time in milliseconds since 1970 UTC (can be moved by hand in trials), and a monotonic
// clock that cannot. Any thread.
#pragma once
#include <stdbool.h>
#include <stdint.h>

// Wall time of this process never goes back by a step of up to ten minutes (a clock that is corrected): it
// stands still until the clock has caught up, so that records do not seem older than those before them. A
// larger step is somebody setting the clock, and is followed.
int64_t hm_now_ms(void);
int64_t hm_clock_after(int64_t last_ms, int64_t clock_ms); // that rule: what to say after last_ms
uint64_t hm_mono_us(void);
// Manual clock: after hm_clock_manual(start) time stands still until hm_clock_advance.
void hm_clock_manual(int64_t start_ms);
bool hm_clock_is_manual(void);
void hm_clock_advance(int64_t by_ms);
