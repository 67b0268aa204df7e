// Random numbers of a call: repeatable from its seed, and good enough for invitation codes, since the seed
// comes from the server's random generator and what was given out says nothing about what comes.
#include "script/host.h"
#include <sodium.h>

void hm_random_seed(struct hm_random *r, const uint8_t seed[32]) {
    *r = (struct hm_random){.at = sizeof r->block};
    memcpy(r->key, seed, sizeof r->key);
}

void hm_random_bytes(struct hm_random *r, void *out, size_t len) {
    static const uint8_t nonce[crypto_stream_chacha20_ietf_NONCEBYTES], zero[sizeof r->block];
    uint8_t *to = out;
    while (len) {
        if (r->at == sizeof r->block) {
            crypto_stream_chacha20_ietf_xor_ic(r->block, zero, sizeof zero, nonce, r->counter++, r->key);
            r->at = 0;
        }
        size_t n = sizeof r->block - r->at;
        if (n > len) n = len;
        memcpy(to, r->block + r->at, n);
        r->at += (unsigned)n;
        to += n;
        len -= n;
    }
}

static uint64_t next(struct hm_random *r) {
    uint64_t v;
    hm_random_bytes(r, &v, sizeof v);
    return v;
}

double hm_random_unit(struct hm_random *r) {
    return (double)(next(r) >> 11) * 0x1.0p-53;
}

uint64_t hm_random_below(struct hm_random *r, uint64_t n) {
    if (n < 2) return 0;
    uint64_t reject =
        (UINT64_MAX - n + 1) % n; // 2^64 mod n: below it some results would come once more often
    for (;;) {
        uint64_t v = next(r);
        if (v >= reject) return v % n;
    }
}
