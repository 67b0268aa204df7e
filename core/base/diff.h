// What differs between two texts, line by line: the shortest script of deletions and insertions (E. W. Myers,
// "An O(ND) Difference Algorithm and Its Variations", Algorithmica 1, 1986), in hunks with three lines of
// context. Texts that differ in very much are told as one that goes and one that comes. Any thread.
#pragma once
#include "base/buf.h"

struct hm_diff_line {
    char op;            // ' ', '-', '+'
    struct hm_str text; // without its end of line; borrowed from the texts
};
struct hm_diff_hunk {
    size_t from, to;             // first line in the old and the new text, counted from 1 (0: it has none)
    size_t from_count, to_count; // lines of each
    size_t first, count;         // in `lines`
};
struct hm_diff {
    struct hm_diff_line *lines;
    size_t line_count;
    struct hm_diff_hunk *hunks;
    size_t hunk_count;
};
void hm_diff_make(struct hm_str old_text, struct hm_str new_text,
                  struct hm_diff *out); // the texts outlive it
void hm_diff_free(struct hm_diff *diff);
void hm_diff_unified(const struct hm_diff *diff, struct hm_buf *out); // as `diff -u` writes hunks
