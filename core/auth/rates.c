// Rate limits for failed sign-ins: token buckets by key, in bounded memory (the key unused for longest
// gives way). Loop thread only. What always holds: an account alone is never locked, only slowed by a
// short wait, and not even that for an address from which its owner has signed in before; else a stranger
// could shut somebody out.
#include "auth/auth.h"
#include "base/clock.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

struct limit {
    double burst, per_second;
    unsigned longest_wait; // seconds told to the caller at most
    // Attempts are let in before it is known how those before them end: many at once may fail for one token.
    // They are owed, so that guessing is no faster in the long run however it is timed.
    bool owes;
};
static const struct limit by_address = {60, 0.5, 120, true}; // a school behind one address shares it
static const struct limit by_both = {6, 1.0 / 30, 300, true};
static const struct limit by_account = {20, 1.0, 2, false};
// Three of a million codes are right at a time: 10 and 12 an hour find one with a chance of 1 in 1,000 a day.
static const struct limit by_code = {10, 1.0 / 300, 300, false};

#define KEY_MAX 400
struct bucket {
    double left;
    uint64_t at_us;
    UT_hash_handle hh; // insertion order is order of use: touched ones are put at the end
    char key[];
};

struct hm_rates {
    struct bucket *buckets;
    unsigned max;
};

struct hm_rates *hm_rates_new(unsigned keys_max) {
    struct hm_rates *rates = hm_alloc(sizeof *rates);
    rates->max = keys_max ? keys_max : 1;
    return rates;
}

void hm_rates_free(struct hm_rates *rates) {
    if (!rates) return;
    struct bucket *b, *next;
    HASH_ITER(hh, rates->buckets, b, next) {
        HASH_DEL(rates->buckets, b);
        free(b);
    }
    free(rates);
}

static struct bucket *find(struct hm_rates *rates, const char *key) {
    struct bucket *b = NULL;
    HASH_FIND_STR(rates->buckets, key, b);
    return b;
}

static struct bucket *touch(struct hm_rates *rates, const char *key, double full) {
    struct bucket *b = find(rates, key);
    if (b) {
        HASH_DEL(rates->buckets, b);
    } else {
        if (HASH_COUNT(rates->buckets) >= rates->max) {
            struct bucket *oldest = rates->buckets;
            HASH_DEL(rates->buckets, oldest);
            free(oldest);
        }
        size_t len = strlen(key);
        b = hm_alloc(sizeof *b + len + 1);
        memcpy(b->key, key, len + 1);
        b->left = full;
        b->at_us = hm_mono_us();
    }
    HASH_ADD_STR(rates->buckets, key, b);
    return b;
}

static double refilled(const struct bucket *b, const struct limit *limit) {
    double left = b->left + (double)(hm_mono_us() - b->at_us) / 1e6 * limit->per_second;
    return left > limit->burst ? limit->burst : left;
}

static unsigned wait_for(struct hm_rates *rates, const char *key, const struct limit *limit) {
    const struct bucket *b = find(rates, key);
    if (!b) return 0;
    double left = refilled(b, limit);
    if (left >= 1) return 0;
    double seconds = (1 - left) / limit->per_second;
    if (seconds >= limit->longest_wait) return limit->longest_wait;
    unsigned whole = (unsigned)seconds + 1;
    return whole > limit->longest_wait ? limit->longest_wait : whole;
}

static void spend(struct hm_rates *rates, const char *key, const struct limit *limit) {
    struct bucket *b = touch(rates, key, limit->burst);
    b->left = refilled(b, limit) - 1;
    if (b->left < 0 && !limit->owes) b->left = 0;
    b->at_us = hm_mono_us();
}

struct keys {
    char address[KEY_MAX], both[KEY_MAX], account[KEY_MAX], known[KEY_MAX];
};

// A host of IPv6 has a whole /64 to choose from.
static void origin_of(const char *address, char out[INET6_ADDRSTRLEN + 4]) {
    struct in6_addr v6;
    char text[INET6_ADDRSTRLEN];
    snprintf(out, INET6_ADDRSTRLEN + 4, "%s", address);
    if (inet_pton(AF_INET6, address, &v6) != 1 || IN6_IS_ADDR_V4MAPPED(&v6)) return;
    memset(v6.s6_addr + 8, 0, 8);
    if (inet_ntop(AF_INET6, &v6, text, sizeof text)) snprintf(out, INET6_ADDRSTRLEN + 4, "%s/64", text);
}

static void keys_make(struct keys *k, const char *institution, const char *login, const char *from) {
    char address[INET6_ADDRSTRLEN + 4];
    origin_of(from, address);
    snprintf(k->address, KEY_MAX, "a\n%.64s", address);
    snprintf(k->both, KEY_MAX, "b\n%.64s\n%.64s\n%.200s", address, institution, login);
    snprintf(k->account, KEY_MAX, "c\n%.64s\n%.200s", institution, login);
    snprintf(k->known, KEY_MAX, "k\n%.64s\n%.64s\n%.200s", address, institution, login);
}

unsigned hm_rates_check(struct hm_rates *rates, const char *institution, const char *login,
                        const char *address) {
    struct keys k;
    keys_make(&k, institution, login, address);
    unsigned longest = wait_for(rates, k.address, &by_address);
    unsigned both = wait_for(rates, k.both, &by_both);
    if (both > longest) longest = both;
    if (!find(rates, k.known)) {
        unsigned account = wait_for(rates, k.account, &by_account);
        if (account > longest) longest = account;
    }
    return longest;
}

void hm_rates_failed(struct hm_rates *rates, const char *institution, const char *login,
                     const char *address) {
    struct keys k;
    keys_make(&k, institution, login, address);
    spend(rates, k.address, &by_address);
    spend(rates, k.both, &by_both);
    spend(rates, k.account, &by_account);
}

void hm_rates_succeeded(struct hm_rates *rates, const char *institution, const char *login,
                        const char *address) {
    struct keys k;
    keys_make(&k, institution, login, address);
    struct bucket *b = find(rates, k.both);
    if (b) {
        HASH_DEL(rates->buckets, b);
        free(b);
    }
    touch(rates, k.known, 1);
}

static void code_key(char out[KEY_MAX], const char *institution, const char *login) {
    snprintf(out, KEY_MAX, "t\n%.64s\n%.200s", institution, login);
}

unsigned hm_rates_check_code(struct hm_rates *rates, const char *institution, const char *login) {
    char key[KEY_MAX];
    code_key(key, institution, login);
    return wait_for(rates, key, &by_code);
}

void hm_rates_failed_code(struct hm_rates *rates, const char *institution, const char *login) {
    char key[KEY_MAX];
    code_key(key, institution, login);
    spend(rates, key, &by_code);
}
