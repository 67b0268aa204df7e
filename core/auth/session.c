// Tokens, and the session object that connections share. Loop thread only (tokens: any thread). A token
// is never kept: only its hash is, so that a stolen copy of the store signs nobody in.
#include "auth/auth.h"
#include "base/id.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#define SECRET_BYTES 32
#define SECRET_TEXT 43

void hm_token_new(const char *institution, char out[HM_TOKEN_MAX]) {
    uint8_t secret[SECRET_BYTES];
    char text[SECRET_TEXT + 1];
    randombytes_buf(secret, sizeof secret);
    sodium_bin2base64(text, sizeof text, secret, sizeof secret, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    snprintf(out, HM_TOKEN_MAX, "%.64s.%s", institution, text);
    sodium_memzero(secret, sizeof secret);
    sodium_memzero(text, sizeof text);
}

bool hm_token_institution(struct hm_str token, char out[65]) {
    if (token.len < SECRET_TEXT + 2 || token.len >= HM_TOKEN_MAX) return false;
    struct hm_str name = {token.ptr, token.len - SECRET_TEXT - 1};
    if (token.ptr[name.len] != '.' || name.len > 64 || !hm_name_valid(name)) return false;
    for (size_t i = name.len + 1; i < token.len; i++) {
        char c = token.ptr[i];
        bool fits = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                    c == '_';
        if (!fits) return false;
    }
    memcpy(out, name.ptr, name.len);
    out[name.len] = 0;
    return true;
}

void hm_session_name(const char token_hash[65], char out[HM_SESSION_NAME]) {
    static const char key[] = "hamroh: the name of a session";
    unsigned char name[16];
    crypto_generichash(name, sizeof name, (const unsigned char *)token_hash, strlen(token_hash),
                       (const unsigned char *)key, sizeof key - 1);
    sodium_bin2hex(out, HM_SESSION_NAME, name, sizeof name);
}

struct hm_session *hm_session_new(void) {
    struct hm_session *s = hm_alloc(sizeof *s);
    s->refs = 1;
    return s;
}

struct hm_session *hm_session_ref(struct hm_session *s) {
    if (s) s->refs++;
    return s;
}

static void roles_free(struct hm_session *s) {
    for (size_t i = 0; i < s->role_count; i++)
        free((char *)s->roles[i].ptr);
    free(s->roles);
    s->roles = NULL;
    s->role_count = 0;
}

void hm_session_unref(struct hm_session *s) {
    if (!s) return;
    assert(s->refs > 0);
    if (--s->refs > 0) return;
    roles_free(s);
    hm_principals_unref(s->principals);
    sodium_memzero(s->pending, sizeof s->pending);
    free(s);
}

void hm_session_set_roles(struct hm_session *s, const struct hm_str *roles, size_t count) {
    roles_free(s);
    s->admin = false;
    s->roles = hm_alloc_array(count ? count : 1, sizeof *s->roles);
    for (size_t i = 0; i < count; i++) {
        s->roles[i] = (struct hm_str){hm_str_dup(roles[i]), roles[i].len};
        if (hm_str_eq(roles[i], HM_LIT("administrator"))) s->admin = true;
    }
    s->role_count = count;
}

bool hm_session_has_role(const struct hm_session *s, struct hm_str role) {
    for (size_t i = 0; i < s->role_count; i++)
        if (hm_str_eq(s->roles[i], role)) return true;
    return false;
}

bool hm_session_expired(const struct hm_session *s, int64_t now_ms) {
    if (now_ms >= s->expires_ms) return true;
    return s->idle_ms > 0 && now_ms - s->seen_ms > s->idle_ms;
}
