// The one clock. Wall time in milliseconds since 1970 UTC (can be moved by hand in trials), and a monotonic
// clock that cannot. Any thread.
#pragma once
#include <stdbool.h>
#include <stdint.h>

int64_t hm_now_ms(void);
uint64_t hm_mono_us(void);
// Manual clock: after hm_clock_manual(start) time stands still until hm_clock_advance.
void hm_clock_manual(int64_t start_ms);
bool hm_clock_is_manual(void);
void hm_clock_advance(int64_t by_ms);
