// One-time codes that a phone shows: HOTP (RFC 4226) counted by time (RFC 6238), and how their secrets are
// kept. Any thread. HMAC-SHA-1 comes from libcrypto, since libsodium has no SHA-1 and many authenticator apps
// know nothing else. What always holds: a secret is in clear in memory only, and a comparison takes the same
// time whichever digit is wrong.
#include "auth/auth.h"

#include <assert.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#define DIGITS 6
#define NONCE crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define SEALED (NONCE + HM_TOTP_SECRET + crypto_aead_xchacha20poly1305_ietf_ABYTES)

static_assert(HM_TOTP_SEALED > sodium_base64_ENCODED_LEN(SEALED, sodium_base64_VARIANT_ORIGINAL),
              "room for the sealed secret");

// ---- codes --------------------------------------------------------------------------------------------

uint32_t hm_hotp(const uint8_t *key, size_t len, uint64_t counter, unsigned digits) {
    static const uint32_t powers[] = {1000000, 10000000, 100000000};
    uint8_t text[8], mac[EVP_MAX_MD_SIZE] = {0};
    unsigned mac_len = 0;
    assert(digits >= 6 && digits <= 8 && len <= 1024);
    for (unsigned i = 0; i < 8; i++)
        text[i] = (uint8_t)(counter >> (56 - 8 * i));
    if (!HMAC(EVP_sha1(), key, (int)len, text, sizeof text, mac, &mac_len) || mac_len != 20) abort();
    unsigned at = mac[19] & 15u; // RFC 4226, 5.3: dynamic truncation
    uint32_t number = (uint32_t)(mac[at] & 127u) << 24 | (uint32_t)mac[at + 1] << 16 |
                      (uint32_t)mac[at + 2] << 8 | mac[at + 3];
    sodium_memzero(mac, sizeof mac);
    return number % powers[digits - 6];
}

bool hm_totp_check(const uint8_t secret[HM_TOTP_SECRET], struct hm_str code, int64_t now_ms, int64_t last,
                   int64_t *step) {
    int64_t now = now_ms / HM_TOTP_STEP_MS, found = -1;
    if (code.len != DIGITS || now < 1) return false;
    for (int64_t at = now - 1; at <= now + 1; at++) { // all three, whichever fits
        char right[16];
        snprintf(right, sizeof right, "%06u", hm_hotp(secret, HM_TOTP_SECRET, (uint64_t)at, DIGITS));
        bool same = sodium_memcmp(right, code.ptr, DIGITS) == 0;
        if (same && at > last && found < 0) found = at;
        sodium_memzero(right, sizeof right);
    }
    if (found < 0) return false;
    *step = found;
    return true;
}

void hm_base32(const uint8_t *bytes, size_t len, char *out) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    unsigned held = 0, bits = 0;
    for (size_t i = 0; i < len; i++) {
        held = held << 8 | bytes[i];
        for (bits += 8; bits >= 5; bits -= 5)
            *out++ = alphabet[held >> (bits - 5) & 31];
        held &= (1u << bits) - 1;
    }
    if (bits) *out++ = alphabet[held << (5 - bits) & 31];
    *out = 0;
}

// ---- secrets as they are kept -------------------------------------------------------------------------

static void key_of(const uint8_t master[32], uint8_t key[32]) {
    crypto_kdf_derive_from_key(key, 32, 1, "hm-totp", master);
}

void hm_totp_seal(const uint8_t master[32], struct hm_str about, const uint8_t secret[HM_TOTP_SECRET],
                  char out[HM_TOTP_SEALED]) {
    uint8_t key[32], bytes[SEALED];
    key_of(master, key);
    randombytes_buf(bytes, NONCE);
    crypto_aead_xchacha20poly1305_ietf_encrypt(bytes + NONCE, NULL, secret, HM_TOTP_SECRET,
                                               (const uint8_t *)about.ptr, about.len, NULL, bytes, key);
    sodium_bin2base64(out, HM_TOTP_SEALED, bytes, sizeof bytes, sodium_base64_VARIANT_ORIGINAL);
    sodium_memzero(key, sizeof key);
}

bool hm_totp_open(const uint8_t master[32], struct hm_str about, struct hm_str sealed,
                  uint8_t secret[HM_TOTP_SECRET]) {
    uint8_t key[32], bytes[SEALED];
    size_t len = 0;
    if (sodium_base642bin(bytes, sizeof bytes, sealed.ptr, sealed.len, NULL, &len, NULL,
                          sodium_base64_VARIANT_ORIGINAL) != 0 ||
        len != sizeof bytes)
        return false;
    key_of(master, key);
    bool ok =
        crypto_aead_xchacha20poly1305_ietf_decrypt(secret, NULL, NULL, bytes + NONCE, SEALED - NONCE,
                                                   (const uint8_t *)about.ptr, about.len, bytes, key) == 0;
    sodium_memzero(key, sizeof key);
    return ok;
}
