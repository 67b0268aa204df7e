// Scoring by columns. Pure functions of the columns; whole points, so that results are the same everywhere.
// The loops over mentors are kept free of branches where that lets the compiler vectorise them (design page
// "matching": scoring costs more than solving).
#include "script/columns.h"
#include <math.h>
#include <stdlib.h>

#define HOUR_WORDS 3 // 168 bits

static void column_free(struct hm_column *c) {
    free(c->bits);
    free(c->count);
    free(c->code);
    free(c->number);
    *c = (struct hm_column){0};
}

static void criterion_free(struct hm_criterion *k) {
    column_free(&k->mentee);
    column_free(&k->mentor);
    column_free(&k->mentee_wish);
    column_free(&k->mentor_wish);
}

void hm_columns_free(struct hm_columns *c) {
    for (unsigned i = 0; i < HM_CRITERIA_MAX; i++) {
        criterion_free(&c->must[i]);
        criterion_free(&c->prefer[i]);
    }
    free(c->same);
    free(c->apart);
    *c = (struct hm_columns){0};
}

static int32_t common(const struct hm_criterion *k, int32_t mentee, int32_t mentor) {
    const uint64_t *a = k->mentee.bits + (size_t)mentee * k->mentee.words,
                   *b = k->mentor.bits + (size_t)mentor * k->mentor.words;
    int32_t n = 0;
    for (unsigned w = 0; w < k->mentee.words; w++)
        n += __builtin_popcountll(a[w] & b[w]);
    return n;
}

// Hours of Saturday and Sunday: 120 … 167.
static int32_t weekend_common(const struct hm_criterion *k, int32_t mentee, int32_t mentor) {
    const uint64_t *a = k->mentee.bits + (size_t)mentee * HOUR_WORDS,
                   *b = k->mentor.bits + (size_t)mentor * HOUR_WORDS;
    return __builtin_popcountll(a[1] & b[1] & (~UINT64_C(0) << 56)) + __builtin_popcountll(a[2] & b[2]);
}

static bool holds(const struct hm_criterion *k, int32_t i, int32_t j) {
    switch (k->op) {
    case HM_MUST_SHARE:
        return !k->mentee.count[i] || !k->mentor.count[j] || common(k, i, j) > 0;
    case HM_MUST_OVERLAP:
        return !k->mentee.count[i] || !k->mentor.count[j] || common(k, i, j) >= k->hours;
    case HM_MUST_RESPECT: {
        int32_t a = k->mentee.code[i], b = k->mentor.code[j];
        return a < 0 || b < 0 || a == b || (k->mentee_wish.code[i] != 1 && k->mentor_wish.code[j] != 1);
    }
    case HM_MUST_EQUAL: {
        int32_t a = k->mentee.code[i], b = k->mentor.code[j];
        return a < 0 || b < 0 || a == b;
    }
    default: // HM_MUST_NOT_IN goes by c->apart
        return true;
    }
}

static int32_t part(int32_t n, const struct hm_criterion *k) {
    int64_t counted = n < k->full_at ? n : k->full_at;
    return (int32_t)(counted * k->points / k->full_at);
}

static int32_t earned(const struct hm_criterion *k, int32_t i, int32_t j) {
    double d, share;
    switch (k->op) {
    case HM_PREFER_COMMON:
        return part(common(k, i, j), k);
    case HM_PREFER_WEEKEND:
        return part(weekend_common(k, i, j), k);
    case HM_PREFER_EQUAL:
        return k->mentee.code[i] >= 0 && k->mentee.code[i] == k->mentor.code[j] ? k->points : 0;
    case HM_PREFER_NEAR:
        d = fabs(k->mentee.number[i] - k->mentor.number[j]);
        share = (k->within + 1 - d) / (k->within + 1);
        break;
    case HM_PREFER_HIGHER:
        share = (k->mentor.number[j] - k->mentee.number[i]) / k->within;
        break;
    case HM_PREFER_GAP:
        share = fabs(k->mentor.number[j] - k->mentee.number[i]) / k->within;
        break;
    default:
        return 0;
    }
    if (!(share > 0)) return 0; // NaN: not known
    return share >= 1 ? k->points : (int32_t)floor((double)k->points * share + 1e-9);
}

// The commonest loop on its own: one word of bits a person.
static void add_common_one_word(const struct hm_criterion *k, int32_t i, int32_t mentors, int32_t *points) {
    uint64_t a = k->mentee.bits[i];
    int32_t worth[65];
    for (int32_t n = 0; n <= 64; n++)
        worth[n] = part(n, k);
    for (int32_t j = 0; j < mentors; j++)
        points[j] += worth[__builtin_popcountll(a & k->mentor.bits[j])];
}

static size_t apart_of(const struct hm_columns *c, int32_t mentee) {
    size_t from = 0, to = c->apart_count;
    while (from < to) {
        size_t mid = from + (to - from) / 2;
        if (c->apart[mid].mentee < mentee) {
            from = mid + 1;
        } else {
            to = mid;
        }
    }
    return from;
}

void hm_columns_row(const struct hm_columns *c, int32_t mentee, int32_t *points, uint8_t *why) {
    memset(points, 0, (size_t)c->mentors * sizeof *points);
    memset(why, 0, (size_t)c->mentors);
    if (c->same[mentee] >= 0) why[c->same[mentee]] = HM_WHY_SELF;
    for (unsigned k = 0; k < c->must_count; k++) {
        if (c->must[k].op == HM_MUST_NOT_IN) {
            for (size_t a = apart_of(c, mentee); a < c->apart_count && c->apart[a].mentee == mentee; a++)
                if (!why[c->apart[a].mentor]) why[c->apart[a].mentor] = (uint8_t)(k + 1);
            continue;
        }
        for (int32_t j = 0; j < c->mentors; j++)
            if (!why[j] && !holds(&c->must[k], mentee, j)) why[j] = (uint8_t)(k + 1);
    }
    for (unsigned k = 0; k < c->prefer_count; k++) {
        const struct hm_criterion *p = &c->prefer[k];
        if (p->op == HM_PREFER_COMMON && p->mentee.words == 1) {
            add_common_one_word(p, mentee, c->mentors, points);
            continue;
        }
        for (int32_t j = 0; j < c->mentors; j++)
            points[j] += earned(p, mentee, j);
    }
    for (int32_t j = 0; j < c->mentors; j++)
        if (why[j]) points[j] = 0;
}

void hm_columns_parts(const struct hm_columns *c, int32_t mentee, int32_t mentor, int32_t *parts) {
    for (unsigned k = 0; k < c->prefer_count; k++)
        parts[k] = earned(&c->prefer[k], mentee, mentor);
}
