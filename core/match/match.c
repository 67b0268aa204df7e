// The assignment. For every mentee in turn the cheapest path to a free place is sought (Dijkstra over
// mentors, on reduced costs), along which holders of places move over. What always holds between two mentees:
// for every edge cost >= u[mentee] + v[mentor], with equality on pairs; v <= 0, and v = 0 where a place is
// free. That is optimality, and what certify() checks once more at the end, apart from how the numbers came
// about.
#include "match/match.h"
#include <limits.h>
#include <stdlib.h>

struct entry {
    int64_t dist;
    int32_t mentor;
};
struct state {
    const struct hm_match_problem *p;
    int64_t *u, *v;        // duals
    int64_t resort_unit;   // cost of leaving a mentee of priority 0 without a mentor
    int64_t priority_unit; // what each step of priority adds to it
    int32_t *match;        // [mentees], -1 nobody
    int32_t *first;        // [mentors + 1]: places of a mentor in holder
    int32_t *holder, *held;
    int64_t *dist; // [mentors], valid where stamp is the mentee's
    int32_t *stamp, *done, *from;
    int32_t *scanned; // mentees looked at, with their distance
    int64_t *scanned_dist;
    int32_t *closed; // mentors with final distance
    struct entry *heap;
    size_t heap_len, heap_cap;
    int32_t scanned_count, closed_count;
};

static int64_t cost_of(const struct state *s, int64_t edge) {
    return HM_MATCH_POINTS_MAX - s->p->points[edge];
}

static int64_t resort_of(const struct state *s, int32_t mentee) {
    return s->resort_unit + (s->p->priority ? s->priority_unit * s->p->priority[mentee] : 0);
}

// ---- heap of mentors by distance, ties by index so that the result does not depend on anything else
// -----------------

static bool before(struct entry a, struct entry b) {
    return a.dist != b.dist ? a.dist < b.dist : a.mentor < b.mentor;
}

static void heap_push(struct state *s, struct entry e) {
    if (s->heap_len == s->heap_cap) {
        s->heap_cap = s->heap_cap ? s->heap_cap * 2 : 256;
        s->heap = hm_realloc(s->heap, s->heap_cap * sizeof *s->heap);
    }
    size_t i = s->heap_len++;
    for (; i && before(e, s->heap[(i - 1) / 2]); i = (i - 1) / 2)
        s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i] = e;
}

static struct entry heap_pop(struct state *s) {
    struct entry top = s->heap[0], last = s->heap[--s->heap_len];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < s->heap_len; i = child) {
        if (child + 1 < s->heap_len && before(s->heap[child + 1], s->heap[child])) child++;
        if (!before(s->heap[child], last)) break;
        s->heap[i] = s->heap[child];
    }
    if (s->heap_len) s->heap[i] = last;
    return top;
}

// ---- one mentee
// --------------------------------------------------------------------------------------------------------

// Reaches out from a mentee; gives the distance to its place of last resort.
static int64_t scan(struct state *s, int32_t mentee, int64_t at, int32_t round) {
    for (int64_t e = s->p->row[mentee]; e < s->p->row[mentee + 1]; e++) {
        int32_t j = s->p->mentor[e];
        if (!s->p->seats[j]) continue;
        int64_t d = at + cost_of(s, e) - s->u[mentee] - s->v[j];
        if (s->stamp[j] == round && s->dist[j] <= d) continue;
        s->stamp[j] = round;
        s->dist[j] = d;
        s->from[j] = mentee;
        heap_push(s, (struct entry){d, j});
    }
    s->scanned[s->scanned_count] = mentee;
    s->scanned_dist[s->scanned_count++] = at;
    return at + resort_of(s, mentee) - s->u[mentee];
}

static void leave(struct state *s, int32_t mentee) {
    int32_t j = s->match[mentee];
    if (j < 0) return;
    int32_t *places = s->holder + s->first[j];
    int32_t n = s->held[j];
    for (int32_t i = 0; i < n; i++) {
        if (places[i] != mentee) continue;
        places[i] = places[n - 1];
        break;
    }
    s->held[j]--;
    s->match[mentee] = -1;
}

static void take(struct state *s, int32_t mentee, int32_t mentor) {
    s->holder[s->first[mentor] + s->held[mentor]++] = mentee;
    s->match[mentee] = mentor;
}

// Everybody on the path moves over, from its end back to the mentee it began with. end < 0: `last` goes to
// its last resort.
static void move(struct state *s, int32_t begin, int32_t end, int32_t last) {
    int32_t mentee = end < 0 ? last : s->from[end];
    for (;;) {
        int32_t left = s->match[mentee];
        leave(s, mentee);
        if (end >= 0) take(s, mentee, end);
        if (mentee == begin) return;
        end = left;
        mentee = s->from[end];
    }
}

static void add(struct state *s, int32_t begin, int32_t round) {
    int32_t end = -1, last = begin;
    s->heap_len = 0;
    s->scanned_count = s->closed_count = 0;
    int64_t resort = scan(s, begin, 0, round), length;
    for (;;) {
        struct entry next = s->heap_len ? heap_pop(s) : (struct entry){INT64_MAX, -1};
        if (next.mentor < 0 || resort <= next.dist) { // also on a tie, so that the shorter path is taken
            length = resort;
            break;
        }
        int32_t j = next.mentor;
        if (s->done[j] == round || next.dist > s->dist[j]) continue;
        if (s->held[j] < s->p->seats[j]) {
            end = j;
            length = next.dist;
            break;
        }
        s->done[j] = round;
        s->closed[s->closed_count++] = j;
        for (int32_t i = 0; i < s->held[j]; i++) {
            int32_t holder = s->holder[s->first[j] + i];
            int64_t d = scan(s, holder, next.dist, round);
            if (d < resort) {
                resort = d;
                last = holder;
            }
        }
    }
    for (int32_t i = 0; i < s->closed_count; i++)
        s->v[s->closed[i]] += s->dist[s->closed[i]] - length;
    for (int32_t i = 0; i < s->scanned_count; i++)
        s->u[s->scanned[i]] += length - s->scanned_dist[i];
    move(s, begin, end, last);
}

// ---- the whole
// -----------------------------------------------------------------------------------------------------------

static bool check(const struct hm_match_problem *p, int64_t *seats, int32_t *priority_max,
                  struct hm_error *err) {
    *seats = 0;
    *priority_max = 0;
    if (p->mentees < 0 || p->mentors < 0) return hm_fail(err, HM_PARAMS, "a number of people is negative");
    for (int32_t j = 0; j < p->mentors; j++) {
        if (p->seats[j] < 0) return hm_fail(err, HM_PARAMS, "mentor %d has a negative number of places", j);
        *seats += p->seats[j];
    }
    for (int32_t i = 0; i < p->mentees; i++) {
        if (p->row[i + 1] < p->row[i])
            return hm_fail(err, HM_PARAMS, "the rows are not in order at mentee %d", i);
        int32_t priority = p->priority ? p->priority[i] : 0;
        if (priority < 0 || priority > HM_MATCH_PRIORITY_MAX)
            return hm_fail(err, HM_PARAMS, "priority %d of mentee %d is not within 0 and %d", priority, i,
                           HM_MATCH_PRIORITY_MAX);
        if (priority > *priority_max) *priority_max = priority;
        for (int64_t e = p->row[i]; e < p->row[i + 1]; e++) {
            if (p->mentor[e] < 0 || p->mentor[e] >= p->mentors)
                return hm_fail(err, HM_PARAMS, "mentee %d has an edge to mentor %d, whom there is not", i,
                               p->mentor[e]);
            if (p->points[e] < 0 || p->points[e] > HM_MATCH_POINTS_MAX)
                return hm_fail(err, HM_PARAMS, "%d points are not within 0 and %d", p->points[e],
                               HM_MATCH_POINTS_MAX);
        }
    }
    if (*seats > INT32_MAX) return hm_fail(err, HM_TOO_LARGE, "more than %d places", INT32_MAX);
    return true;
}

// On every edge, from the duals alone: dual feasibility, and equality where it must be.
static bool certify(const struct state *s) {
    const struct hm_match_problem *p = s->p;
    for (int32_t j = 0; j < p->mentors; j++)
        if (s->v[j] > 0 || s->held[j] > p->seats[j] || (s->held[j] < p->seats[j] && s->v[j] != 0))
            return false;
    for (int32_t i = 0; i < p->mentees; i++) {
        bool tight = s->match[i] < 0 ? s->u[i] == resort_of(s, i) : false;
        if (s->u[i] > resort_of(s, i)) return false;
        for (int64_t e = p->row[i]; e < p->row[i + 1]; e++) {
            int32_t j = p->mentor[e];
            if (!p->seats[j]) continue;
            int64_t slack = cost_of(s, e) - s->u[i] - s->v[j];
            if (slack < 0) return false;
            if (j == s->match[i] && slack == 0) tight = true;
        }
        if (!tight) return false;
    }
    return true;
}

static void *array(size_t count, size_t size) {
    return hm_alloc_array(count ? count : 1, size);
}

static void begin(struct state *s, int64_t seats) {
    size_t n = (size_t)s->p->mentees, m = (size_t)s->p->mentors;
    s->u = array(n, sizeof *s->u);
    s->v = array(m, sizeof *s->v);
    s->match = array(n, sizeof *s->match);
    s->first = array(m + 1, sizeof *s->first);
    s->holder = array((size_t)seats, sizeof *s->holder);
    s->held = array(m, sizeof *s->held);
    s->dist = array(m, sizeof *s->dist);
    s->stamp = array(m, sizeof *s->stamp);
    s->done = array(m, sizeof *s->done);
    s->from = array(m, sizeof *s->from);
    s->scanned = array(n, sizeof *s->scanned);
    s->scanned_dist = array(n, sizeof *s->scanned_dist);
    s->closed = array(m, sizeof *s->closed);
    for (size_t j = 0; j < m; j++)
        s->first[j + 1] = s->first[j] + s->p->seats[j];
    for (size_t i = 0; i < n; i++)
        s->match[i] = -1;
}

static void end(struct state *s) {
    free(s->u);
    free(s->v);
    free(s->match);
    free(s->first);
    free(s->holder);
    free(s->held);
    free(s->dist);
    free(s->stamp);
    free(s->done);
    free(s->from);
    free(s->scanned);
    free(s->scanned_dist);
    free(s->closed);
    free(s->heap);
}

bool hm_match_solve(const struct hm_match_problem *p, struct hm_match_solution *out, struct hm_error *err) {
    struct state s = {.p = p};
    int64_t seats;
    int32_t priority_max;
    if (!check(p, &seats, &priority_max, err)) return false;
    // Points of all pairs < one step of priority; priorities of all mentees < one mentee more.
    s.priority_unit = (int64_t)HM_MATCH_POINTS_MAX * p->mentees + 1;
    if (__builtin_mul_overflow(s.priority_unit, (int64_t)priority_max * p->mentees + 1, &s.resort_unit) ||
        s.resort_unit > INT64_MAX / 8)
        return hm_fail(err, HM_TOO_LARGE, "%d mentees with priorities up to %d are too many to weigh exactly",
                       p->mentees, priority_max);
    begin(&s, seats);
    for (int32_t i = 0; i < p->mentees; i++)
        add(&s, i, i + 1);
    *out = (struct hm_match_solution){.certified = certify(&s)};
    for (int32_t i = 0; i < p->mentees; i++) {
        int64_t best = -1;
        if (s.match[i] < 0) continue;
        out->matched++;
        // Of several edges to one mentor the best counts.
        for (int64_t e = p->row[i]; e < p->row[i + 1]; e++)
            if (p->mentor[e] == s.match[i] && p->points[e] > best) best = p->points[e];
        out->total += best;
    }
    out->mentor = s.match;
    s.match = NULL;
    end(&s);
    return true;
}

void hm_match_free(struct hm_match_solution *solution) {
    free(solution->mentor);
    solution->mentor = NULL;
}
