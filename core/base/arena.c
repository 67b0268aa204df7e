// Arenas. Any thread, as long as an arena is used by one at a time.
#include "base/arena.h"
#include <stdalign.h>
#include <stdlib.h>

#define BLOCK 8192u // with its head; larger things get a block of their own

struct hm_arena_block {
    struct hm_arena_block *next;
    size_t used, size;
    alignas(max_align_t) char bytes[];
};

static struct hm_arena_block *block_new(struct hm_arena *arena, size_t size) {
    if (size < BLOCK - sizeof(struct hm_arena_block)) size = BLOCK - sizeof(struct hm_arena_block);
    struct hm_arena_block *block = hm_realloc(NULL, sizeof *block + size);
    *block = (struct hm_arena_block){.next = arena->blocks, .size = size};
    arena->blocks = block;
    return block;
}

void *hm_arena_take(struct hm_arena *arena, size_t size) {
    struct hm_arena_block *block = arena->blocks;
    size = (size + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
    if (!block || block->size - block->used < size) block = block_new(arena, size);
    void *p = block->bytes + block->used;
    block->used += size;
    return p;
}

void *hm_arena_zeroed(struct hm_arena *arena, size_t size) {
    return memset(hm_arena_take(arena, size), 0, size);
}

struct hm_str hm_arena_str(struct hm_arena *arena, struct hm_str s) {
    char *copy = hm_arena_take(arena, s.len + 1);
    if (s.len) memcpy(copy, s.ptr, s.len);
    copy[s.len] = '\0';
    return (struct hm_str){copy, s.len};
}

void hm_arena_reset(struct hm_arena *arena) {
    struct hm_arena_block *kept = NULL;
    while (arena->blocks) {
        struct hm_arena_block *block = arena->blocks;
        arena->blocks = block->next;
        if (HM_POOLED && !kept && block->size <= BLOCK) {
            kept = block;
        } else {
            free(block);
        }
    }
    if (!kept) return;
    kept->next = NULL;
    kept->used = 0;
    arena->blocks = kept;
}

void hm_arena_free(struct hm_arena *arena) {
    while (arena->blocks) {
        struct hm_arena_block *block = arena->blocks;
        arena->blocks = block->next;
        free(block);
    }
}
