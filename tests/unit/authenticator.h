// An authenticator app for tests: reads the secret as it is shown to people, and shows the codes of a moment
// by the manual clock.
#ifndef HM_AUTHENTICATOR_H
#define HM_AUTHENTICATOR_H

#include "base/clock.h"
#include "engine/internal.h"
#include "engine_fixture.h"

struct phone {
    char text[40];
    uint8_t secret[HM_TOTP_SECRET];
    char codes[RECOVERY_CODES][20];
};

static void phone_read(struct phone *p, const char *base32) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    unsigned held = 0, bits = 0;
    size_t n = 0;
    for (; *base32; base32++) {
        held = held << 5 | (unsigned)(strchr(alphabet, *base32) - alphabet);
        if ((bits += 5) >= 8) p->secret[n++] = (uint8_t)(held >> (bits -= 8));
        held &= (1u << bits) - 1;
    }
    assert_int_equal(n, HM_TOTP_SECRET);
}

static const char *shown(const struct phone *p, int64_t steps) {
    static char code[16];
    int64_t step = hm_now_ms() / HM_TOTP_STEP_MS + steps;
    snprintf(code, sizeof code, "%06u", hm_hotp(p->secret, HM_TOTP_SECRET, (uint64_t)step, 6));
    return code;
}

#endif
