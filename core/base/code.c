// Secrets as they are kept (hashed), and invitation codes as people type them. Any thread.
#include "base/code.h"
#include <sodium.h>

void hm_secret_hash(struct hm_str secret, char out[65]) {
    unsigned char hash[32];
    crypto_generichash(hash, sizeof hash, (const unsigned char *)(secret.ptr ? secret.ptr : ""), secret.len,
                       NULL, 0);
    sodium_bin2hex(out, 65, hash, sizeof hash);
}

#define CODE_LEN 16 // 16 characters of 5 bits: 80 bits

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"; // Crockford: no I, L, O, U

void hm_code_format(const uint8_t random[10], char out[20]) {
    char *o = out;
    unsigned held = 0, bits = 0;
    for (unsigned i = 0, made = 0; i < 10; i++) {
        held = held << 8 | random[i];
        bits += 8;
        while (bits >= 5) {
            bits -= 5;
            if (made && made % 4 == 0) *o++ = '-';
            *o++ = alphabet[held >> bits & 31];
            made++;
        }
        held &= (1u << bits) - 1;
    }
    *o = '\0';
}

// The character as the alphabet has it, or 0.
static char canonical(char c) {
    if (c >= 'a' && c <= 'z') c = (char)(c - 'a' + 'A');
    if (c == 'O') c = '0';
    if (c == 'I' || c == 'L') c = '1';
    return c && strchr(alphabet, c) ? c : '\0';
}

bool hm_code_hash(struct hm_str typed, char out[65]) {
    char plain[CODE_LEN];
    size_t len = 0;
    for (size_t i = 0; i < typed.len; i++) {
        char c = typed.ptr[i];
        if (c == '-' || c == ' ' || c == '\t' || c == '\r' || c == '\n') continue;
        c = canonical(c);
        if (!c || len == CODE_LEN) return false;
        plain[len++] = c;
    }
    if (len != CODE_LEN) return false;
    hm_secret_hash((struct hm_str){plain, CODE_LEN}, out);
    return true;
}
