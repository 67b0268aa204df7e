// Memory that is given back all at once: what belongs to one call, one item, one batch. One thread at a time.
#pragma once
#include "base/buf.h"

// Under AddressSanitizer memory is not pooled, so that it sees every use of what was given back.
#if defined(__SANITIZE_ADDRESS__)
#define HM_POOLED 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HM_POOLED 0
#endif
#endif
#ifndef HM_POOLED
#define HM_POOLED 1
#endif

struct hm_arena {                  // {0} is empty and valid
    struct hm_arena_block *blocks; // the newest first
};
// Aligned for any type, not zeroed; lives until the arena is reset or freed.
void *hm_arena_take(struct hm_arena *arena, size_t size);
void *hm_arena_zeroed(struct hm_arena *arena, size_t size);
struct hm_str hm_arena_str(struct hm_arena *arena, struct hm_str s); // a copy, terminated
void hm_arena_reset(struct hm_arena *arena);                         // keeps one block for the next use
void hm_arena_free(struct hm_arena *arena);
