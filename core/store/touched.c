// Which database keys the last commits touched, so that a call that read a range on an older snapshot is
// found out when something appeared in that range or went from it. Commit thread only.
//
// Every committed batch is one sorted array, since a snapshot always lies between two batches: the question
// is then one binary search for each batch since the snapshot. The open batch is a stack of sorted runs,
// merged like a binary counter. Old batches are dropped past a bound; snapshots from before them count as
// touched.
#include "store/internal.h"
#include <assert.h>
#include <stdlib.h>

#define CHUNK (64u << 10)

struct hm_touched_chunk {
    struct hm_touched_chunk *next;
    size_t used;
    char bytes[CHUNK];
};

static int compare(const struct hm_touch *a, const struct hm_touch *b) {
    if (a->space != b->space) return a->space < b->space ? -1 : 1;
    return hm_str_cmp((struct hm_str){a->key, a->len}, (struct hm_str){b->key, b->len});
}

static int compare_void(const void *a, const void *b) {
    return compare(a, b);
}

void hm_touched_init(struct hm_touched *t, uint64_t floor) {
    memset(t, 0, sizeof *t);
    t->floor = floor;
}

static void drop_oldest(struct hm_touched *t) {
    struct hm_touched_batch *old = t->oldest;
    t->oldest = old->newer;
    if (t->oldest) {
        t->oldest->older = NULL;
    } else {
        t->newest = NULL;
    }
    t->floor = old->last;
    t->entries -= old->count;
    t->bytes -= old->bytes;
    free(old);
}

void hm_touched_free(struct hm_touched *t) {
    hm_touched_abort(t);
    while (t->oldest)
        drop_oldest(t);
    free(t->call);
    struct hm_touched_chunk *chunk = t->chunks;
    while (chunk) {
        struct hm_touched_chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
    memset(t, 0, sizeof *t);
}

void hm_touched_add(struct hm_touched *t, enum hm_space space, struct hm_str key) {
    assert(key.len <= HM_KEY_MAX);
    if (!t->chunks || CHUNK - t->chunks->used < key.len) {
        struct hm_touched_chunk *chunk = hm_realloc(NULL, sizeof *chunk);
        chunk->next = t->chunks;
        chunk->used = 0;
        t->chunks = chunk;
    }
    char *at = t->chunks->bytes + t->chunks->used;
    if (key.len) memcpy(at, key.ptr, key.len);
    t->chunks->used += key.len;
    if (t->call_count == t->call_cap) {
        t->call_cap = t->call_cap ? t->call_cap * 2 : 64;
        t->call = hm_realloc(t->call, t->call_cap * sizeof *t->call);
    }
    t->call[t->call_count++] = (struct hm_touch){at, (uint32_t)key.len, (uint32_t)space};
}

static void merge_last_two(struct hm_touched *t) {
    struct hm_touched_run *a = &t->runs[t->run_count - 2], *b = &t->runs[t->run_count - 1];
    struct hm_touch *merged = hm_realloc(NULL, (a->count + b->count) * sizeof *merged);
    size_t i = 0, j = 0, n = 0;
    while (i < a->count && j < b->count)
        merged[n++] = compare(&a->keys[i], &b->keys[j]) <= 0 ? a->keys[i++] : b->keys[j++];
    while (i < a->count)
        merged[n++] = a->keys[i++];
    while (j < b->count)
        merged[n++] = b->keys[j++];
    free(a->keys);
    free(b->keys);
    *a = (struct hm_touched_run){merged, n};
    t->run_count--;
}

void hm_touched_end_call(struct hm_touched *t) {
    if (!t->call_count) return;
    qsort(t->call, t->call_count, sizeof *t->call, compare_void);
    assert(t->run_count < sizeof t->runs / sizeof *t->runs);
    struct hm_touched_run *run = &t->runs[t->run_count++];
    run->count = t->call_count;
    run->keys = hm_realloc(NULL, run->count * sizeof *run->keys);
    memcpy(run->keys, t->call, run->count * sizeof *run->keys);
    t->call_count = 0;
    while (t->run_count > 1 && t->runs[t->run_count - 2].count <= 2 * t->runs[t->run_count - 1].count)
        merge_last_two(t);
}

// The open batch is forgotten; one chunk is kept for the next.
void hm_touched_abort(struct hm_touched *t) {
    while (t->run_count)
        free(t->runs[--t->run_count].keys);
    t->call_count = 0;
    while (t->chunks && t->chunks->next) {
        struct hm_touched_chunk *next = t->chunks->next;
        free(t->chunks);
        t->chunks = next;
    }
    if (t->chunks) t->chunks->used = 0;
}

void hm_touched_commit(struct hm_touched *t, uint64_t last) {
    hm_touched_end_call(t);
    while (t->run_count > 1)
        merge_last_two(t);
    if (!t->run_count) return;
    const struct hm_touched_run *run = &t->runs[0];
    size_t bytes = sizeof(struct hm_touched_batch) + run->count * sizeof(struct hm_touch);
    size_t text = bytes;
    for (size_t i = 0; i < run->count; i++)
        bytes += run->keys[i].len;
    struct hm_touched_batch *batch = hm_realloc(NULL, bytes);
    *batch = (struct hm_touched_batch){.older = t->newest, .last = last, .count = run->count, .bytes = bytes};
    char *at = (char *)batch + text;
    for (size_t i = 0; i < run->count; i++) {
        memcpy(at, run->keys[i].key, run->keys[i].len);
        batch->keys[i] = (struct hm_touch){at, run->keys[i].len, run->keys[i].space};
        at += run->keys[i].len;
    }
    if (t->newest) t->newest->newer = batch;
    t->newest = batch;
    if (!t->oldest) t->oldest = batch;
    t->entries += batch->count;
    t->bytes += batch->bytes;
    hm_touched_abort(t);
    while (t->oldest != t->newest && (t->entries > HM_TOUCHED_ENTRIES || t->bytes > HM_TOUCHED_BYTES))
        drop_oldest(t);
}

static bool any_within(const struct hm_touch *keys, size_t count, enum hm_space space, struct hm_str low,
                       struct hm_str high) {
    size_t from = 0, to = count;
    while (from < to) { // first key >= low
        size_t mid = from + (to - from) / 2;
        const struct hm_touch *k = &keys[mid];
        bool less = k->space != (uint32_t)space ? k->space < (uint32_t)space
                                                : hm_str_cmp((struct hm_str){k->key, k->len}, low) < 0;
        if (less) {
            from = mid + 1;
        } else {
            to = mid;
        }
    }
    return from < count && keys[from].space == (uint32_t)space &&
           hm_str_cmp((struct hm_str){keys[from].key, keys[from].len}, high) < 0;
}

bool hm_touched_since(const struct hm_touched *t, uint64_t snapshot, enum hm_space space, struct hm_str low,
                      struct hm_str high) {
    if (snapshot < t->floor) return true;
    for (unsigned i = 0; i < t->run_count; i++)
        if (any_within(t->runs[i].keys, t->runs[i].count, space, low, high)) return true;
    for (const struct hm_touched_batch *b = t->newest; b && b->last > snapshot; b = b->older)
        if (any_within(b->keys, b->count, space, low, high)) return true;
    return false;
}
