// UUIDv7 (RFC 9562, 5.7) and names. Any thread. Ids of one process always ascend, also within a millisecond
// and when the wall clock is set back: the 74 random bits are then counted up by a random step (RFC
// 9562, 6.2, method 2), which keeps ids hard to guess and an index of them append-only.
#include "base/id.h"
#include "base/json.h"
#include <pthread.h>
#include <sodium.h>

static void format_uuid(int64_t ms, const uint8_t random[10], char out[37]) {
    uint8_t u[16];
    for (int i = 0; i < 6; i++)
        u[i] = (uint8_t)((uint64_t)ms >> (40 - 8 * i));
    u[6] = (uint8_t)(0x70u | (random[0] & 0x0fu));
    u[7] = random[1];
    u[8] = (uint8_t)(0x80u | (random[2] & 0x3fu));
    memcpy(u + 9, random + 3, 7);
    static const char hex[] = "0123456789abcdef";
    char *o = out;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) *o++ = '-';
        *o++ = hex[u[i] >> 4];
        *o++ = hex[u[i] & 15];
    }
    *o = '\0';
}

void hm_uuid7_from(int64_t ms, const uint8_t random[10], char out[37]) {
    format_uuid(ms, random, out);
}

static pthread_mutex_t last_lock = PTHREAD_MUTEX_INITIALIZER;
static int64_t last_ms = -1;
static uint16_t last_high; // 12 bits
static uint64_t last_low;  // 62 bits

void hm_uuid7(int64_t now_ms, char out[37]) {
    uint8_t fresh[10];
    randombytes_buf(fresh, sizeof fresh);
    uint64_t low = 0;
    for (int i = 2; i < 10; i++)
        low = low << 8 | fresh[i];
    low &= (UINT64_C(1) << 62) - 1;

    pthread_mutex_lock(&last_lock);
    if (now_ms > last_ms) {
        last_ms = now_ms;
        // The highest bit starts at zero, so that counting up never runs out within a millisecond.
        last_high = (uint16_t)((fresh[0] & 0x07u) << 8 | fresh[1]);
        last_low = low;
    } else {
        last_low += (low & 0xffffffffu) + 1;
        if (last_low >> 62) {
            last_low &= (UINT64_C(1) << 62) - 1;
            if (++last_high > 0xfff) {
                last_high = 0;
                last_ms++;
            }
        }
    }
    int64_t ms = last_ms;
    uint8_t bits[10] = {(uint8_t)(last_high >> 8), (uint8_t)last_high};
    for (int i = 0; i < 8; i++)
        bits[2 + i] = (uint8_t)(last_low >> (56 - 8 * i));
    pthread_mutex_unlock(&last_lock);
    format_uuid(ms, bits, out);
}

bool hm_name_valid(struct hm_str s) {
    if (s.len == 0 || s.len > HM_NAME_MAX || s.ptr[0] < 'a' || s.ptr[0] > 'z') return false;
    for (size_t i = 1; i < s.len; i++) {
        char c = s.ptr[i];
        bool fine = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
        if (!fine || (c == '.' && s.ptr[i - 1] == '.')) return false;
    }
    return true;
}

bool hm_id_valid(struct hm_str s) {
    if (s.len == 0 || s.len > HM_ID_MAX || !hm_utf8_valid(s)) return false;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c < 0x20 || c == 0x7f) return false;
        if (c == 0xc2 && (unsigned char)s.ptr[i + 1] < 0xa0) return false; // C1 controls U+0080..U+009F
    }
    return true;
}
