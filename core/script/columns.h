// A matching rule as columns: what a rule asks of two people, worked out for one mentee over all mentors at
// once. Knows nothing of Lua; lua_match.c fills the columns. What is not known of somebody (an empty list, no
// number) excludes nobody and earns nothing.
#pragma once
#include "base/buf.h"

#define HM_CRITERIA_MAX 32

enum hm_criterion_op {
    HM_MUST_SHARE,     // lists: something in common
    HM_MUST_RESPECT,   // genders: who wants the same gets the same
    HM_MUST_OVERLAP,   // hours of the week: so many in common
    HM_MUST_NOT_IN,    // neither is in the other's list
    HM_MUST_EQUAL,     // the same value
    HM_PREFER_COMMON,  // lists: points * min(n, full_at) / full_at
    HM_PREFER_NEAR,    // numbers: points * (within + 1 - distance) / (within + 1)
    HM_PREFER_EQUAL,   // the same value
    HM_PREFER_WEEKEND, // hours in common on Saturday and Sunday, as HM_PREFER_COMMON
    HM_PREFER_HIGHER,  // numbers: points * min(mentor - mentee, within) / within
    HM_PREFER_GAP,     // numbers: points * min(distance, within) / within
};

// One value of each person of one side. Sets: `words` words a person. Unknown: count 0, code -1, number NaN.
struct hm_column {
    uint64_t *bits;
    uint32_t *count;
    int32_t *code;
    double *number;
    unsigned words;
};
struct hm_criterion {
    enum hm_criterion_op op;
    int32_t points, full_at, hours;
    double within;
    struct hm_column mentee, mentor;
    struct hm_column mentee_wish, mentor_wish; // HM_MUST_RESPECT: code 1 = wants the same gender
};
struct hm_columns {
    int32_t mentees, mentors;
    unsigned must_count, prefer_count;
    struct hm_criterion must[HM_CRITERIA_MAX], prefer[HM_CRITERIA_MAX];
    int32_t *same;    // [mentees]: the mentor who is the same person, or -1
    struct hm_apart { // who must not meet, sorted by mentee
        int32_t mentee, mentor;
    } * apart;
    size_t apart_count;
};
void hm_columns_free(struct hm_columns *c); // everything in it

#define HM_WHY_SELF 254 // in why: the same person; else 0 = may be paired, k = the k-th `must` is against it
// points and why: [mentors]. Points of those who may not be paired are 0.
void hm_columns_row(const struct hm_columns *c, int32_t mentee, int32_t *points, uint8_t *why);
// Points of one pair by criterion: [prefer_count].
void hm_columns_parts(const struct hm_columns *c, int32_t mentee, int32_t mentor, int32_t *parts);
