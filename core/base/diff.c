// Line diff. Equal lines at both ends are taken off, then the greedy search of Myers goes from both texts'
// beginnings with d = 0, 1, 2, … differences, keeping each round's furthest points for the way back.
#include "base/diff.h"

#include <stdlib.h>

#define CONTEXT 3u
#define ROUNDS_MAX 2000 // differences; the rounds kept take 4 bytes times their square: 16 MB

struct text {
    struct hm_str *lines;
    size_t count;
};

static struct text split(struct hm_str s) {
    struct text t = {0};
    size_t cap = 0, at = 0;
    while (at < s.len) {
        const char *end = memchr(s.ptr + at, '\n', s.len - at);
        size_t len = end ? (size_t)(end - s.ptr) - at : s.len - at;
        if (t.count == cap) {
            cap = cap ? cap * 2 : 64;
            t.lines = hm_realloc(t.lines, cap * sizeof *t.lines);
        }
        t.lines[t.count++] = (struct hm_str){s.ptr + at, len};
        at += len + 1;
    }
    return t;
}

struct script { // every line of both texts, once or (when it stays) twice over
    struct hm_diff_line *lines;
    size_t count, cap;
};

static void put(struct script *s, char op, struct hm_str text) {
    if (s->count == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 128;
        s->lines = hm_realloc(s->lines, s->cap * sizeof *s->lines);
    }
    s->lines[s->count++] = (struct hm_diff_line){op, text};
}

// The furthest x on each diagonal k = x - y after round d, for k = -d, -d + 2, … d: round d begins at
// trace[d * (d + 1) / 2].
static int *round_of(int *trace, int d) {
    return trace + (size_t)d * ((size_t)d + 1) / 2;
}

static int furthest(const int *before, int d, int k) { // in round d - 1, 0 when it is not there
    return k < -(d - 1) || k > d - 1 ? -1 : before[(k + d - 1) / 2];
}

// Whether round d comes to diagonal k by a line that is inserted (down), else by one that is deleted.
static bool comes_down(const int *before, int d, int k) {
    if (k == -d) return true;
    if (k == d) return false;
    return furthest(before, d, k - 1) < furthest(before, d, k + 1);
}

// The number of differences, or -1 when they are too many. *trace is owned by the caller.
static int search(const struct hm_str *a, int n, const struct hm_str *b, int m, int **trace) {
    size_t cap = 0;
    *trace = NULL;
    for (int d = 0; d <= n + m && d <= ROUNDS_MAX; d++) {
        size_t need = ((size_t)d + 1) * ((size_t)d + 2) / 2;
        if (need > cap) {
            cap = need * 2;
            *trace = hm_realloc(*trace, cap * sizeof **trace);
        }
        int *now = round_of(*trace, d);
        const int *before = d ? round_of(*trace, d - 1) : NULL;
        for (int k = -d; k <= d; k += 2) {
            int x = d == 0                     ? 0
                    : comes_down(before, d, k) ? furthest(before, d, k + 1)
                                               : furthest(before, d, k - 1) + 1;
            int y = x - k;
            while (x < n && y < m && x >= 0 && y >= 0 && hm_str_eq(a[x], b[y]))
                x++, y++;
            now[(k + d) / 2] = x;
            if (x >= n && y >= m) return d;
        }
    }
    return -1;
}

// The way back from the end, which gives the lines in reverse.
static void walk_back(const struct hm_str *a, int n, const struct hm_str *b, int m, int *trace, int d,
                      struct script *out) {
    int x = n, y = m;
    for (; d > 0; d--) {
        const int *before = round_of(trace, d - 1);
        int k = x - y;
        bool down = comes_down(before, d, k);
        int from_x = furthest(before, d, down ? k + 1 : k - 1), from_y = from_x - (down ? k + 1 : k - 1);
        int start_x = down ? from_x : from_x + 1;
        while (x > start_x)
            x--, y--, put(out, ' ', a[x]);
        if (down)
            put(out, '+', b[from_y]);
        else
            put(out, '-', a[from_x]);
        x = from_x;
        y = from_y;
    }
    while (x > 0)
        x--, put(out, ' ', a[x]);
}

static void middle(const struct hm_str *a, int n, const struct hm_str *b, int m, struct script *out) {
    int *trace;
    struct script back = {0};
    int d = search(a, n, b, m, &trace);
    if (d >= 0) {
        walk_back(a, n, b, m, trace, d, &back);
        for (size_t i = back.count; i > 0; i--)
            put(out, back.lines[i - 1].op, back.lines[i - 1].text);
    } else {
        for (int i = 0; i < n; i++)
            put(out, '-', a[i]);
        for (int i = 0; i < m; i++)
            put(out, '+', b[i]);
    }
    free(back.lines);
    free(trace);
}

// Cuts the script into hunks, leaving out what stays further than CONTEXT lines from a difference.
static void cut(const struct script *s, struct hm_diff *out) {
    size_t from = 0, to = 0, quiet = s->count, cap = 0; // lines passed; since how many nothing differed
    struct hm_diff_hunk *hunk = NULL;
    out->lines = hm_alloc_array(s->count ? s->count : 1, sizeof *out->lines);
    for (size_t i = 0; i < s->count; i++) {
        bool near = false;
        for (size_t k = i; k < s->count && k <= i + CONTEXT; k++)
            near = near || s->lines[k].op != ' ';
        quiet = s->lines[i].op != ' ' ? 0 : quiet < s->count ? quiet + 1 : quiet;
        if (!near && quiet > CONTEXT) {
            hunk = NULL;
        } else {
            if (!hunk) {
                if (out->hunk_count == cap) {
                    cap = cap ? cap * 2 : 8;
                    out->hunks = hm_realloc(out->hunks, cap * sizeof *out->hunks);
                }
                hunk = &out->hunks[out->hunk_count++];
                *hunk = (struct hm_diff_hunk){from + 1, to + 1, 0, 0, out->line_count, 0};
            }
            hunk->from_count += s->lines[i].op != '+';
            hunk->to_count += s->lines[i].op != '-';
            hunk->count++;
            out->lines[out->line_count++] = s->lines[i];
        }
        from += s->lines[i].op != '+';
        to += s->lines[i].op != '-';
    }
    for (size_t i = 0; i < out->hunk_count; i++) { // as in `diff -u`: the line before, where there is none
        if (!out->hunks[i].from_count) out->hunks[i].from--;
        if (!out->hunks[i].to_count) out->hunks[i].to--;
    }
}

void hm_diff_make(struct hm_str old_text, struct hm_str new_text, struct hm_diff *out) {
    struct text a = split(old_text), b = split(new_text);
    struct script script = {0};
    size_t head = 0, tail = 0;
    *out = (struct hm_diff){0};
    while (head < a.count && head < b.count && hm_str_eq(a.lines[head], b.lines[head]))
        put(&script, ' ', a.lines[head++]);
    while (tail < a.count - head && tail < b.count - head &&
           hm_str_eq(a.lines[a.count - 1 - tail], b.lines[b.count - 1 - tail]))
        tail++;
    middle(a.lines + head, (int)(a.count - head - tail), b.lines + head, (int)(b.count - head - tail),
           &script);
    for (size_t i = a.count - tail; i < a.count; i++)
        put(&script, ' ', a.lines[i]);
    cut(&script, out);
    free(script.lines);
    free(a.lines);
    free(b.lines);
}

void hm_diff_free(struct hm_diff *diff) {
    free(diff->lines);
    free(diff->hunks);
    *diff = (struct hm_diff){0};
}

void hm_diff_unified(const struct hm_diff *diff, struct hm_buf *out) {
    for (size_t i = 0; i < diff->hunk_count; i++) {
        const struct hm_diff_hunk *h = &diff->hunks[i];
        hm_buf_printf(out, "@@ -%zu,%zu +%zu,%zu @@\n", h->from, h->from_count, h->to, h->to_count);
        for (size_t k = 0; k < h->count; k++) {
            hm_buf_char(out, diff->lines[h->first + k].op);
            hm_buf_str(out, diff->lines[h->first + k].text);
            hm_buf_char(out, '\n');
        }
    }
}
