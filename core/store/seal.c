// Sealed fields of a record: taken out of its data when it is written, opened one by one when somebody may
// read them. Ciphertext: nonce, then XChaCha20-Poly1305 of the JSON text; bound to type, id and field, so
// that it cannot be moved.
#include "store/internal.h"
#include <sodium.h>
#include <stdlib.h>

#define NONCE crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG crypto_aead_xchacha20poly1305_ietf_ABYTES
#define PLACEHOLDER "{\"sealed\":true}"

static void bind(struct hm_str type, struct hm_str id, struct hm_str field, struct hm_buf *out) {
    hm_record_key(type, id, out);
    hm_buf_char(out, '\0');
    hm_buf_str(out, field);
}

static bool is_placeholder(struct hm_json v) {
    struct hm_json flag;
    bool on = false;
    return v.kind == HM_JSON_OBJECT && hm_json_count(v) == 1 && hm_json_get(v, "sealed", &flag) &&
           hm_json_bool(flag, &on) && on;
}

// Who the record is about; false when the path gives no text.
static bool about_of(const struct hm_type *type, struct hm_str data, struct hm_buf *out) {
    struct hm_json v;
    return hm_json_path((struct hm_json){HM_JSON_OBJECT, data}, type->about, &v) &&
           v.kind == HM_JSON_STRING && hm_json_string(v, out) && out->len;
}

static void encrypt(const uint8_t key[32], struct hm_str about, struct hm_str text, struct hm_buf *out) {
    size_t len = NONCE + text.len + TAG;
    uint8_t *bytes = hm_alloc(len);
    randombytes_buf(bytes, NONCE);
    crypto_aead_xchacha20poly1305_ietf_encrypt(bytes + NONCE, NULL, (const uint8_t *)text.ptr, text.len,
                                               (const uint8_t *)about.ptr, about.len, NULL, bytes, key);
    hm_put_str(out, (struct hm_str){(const char *)bytes, len});
    free(bytes);
}

struct sealing {
    struct hm_keyring *keyring;
    struct hm_new_keys **new_keys;
    const struct hm_type *type;
    struct hm_str id;
    const struct hm_record *old;
    struct hm_buf about; // the person
    bool have_key;
    uint8_t key[32];
};

// {"sealed":true} given: the ciphertext stays, if it is of the same person.
static bool keep(struct sealing *s, struct hm_str field, struct hm_buf *sealed, struct hm_error *err) {
    struct hm_str old;
    struct hm_buf before = {0};
    bool ok = s->old && hm_sealed_find(s->old->sealed, field, &old);
    if (!ok) {
        hm_fail(err, HM_PARAMS, "%s: the field %.*s has no sealed value to keep", s->type->name,
                (int)field.len, field.ptr);
    } else if (!about_of(s->type, s->old->data, &before) ||
               !hm_str_eq(hm_buf_view(&before), hm_buf_view(&s->about))) {
        ok = hm_fail(err, HM_PARAMS, "%s: the sealed field %.*s is about another person and cannot be kept",
                     s->type->name, (int)field.len, field.ptr);
    } else {
        hm_put_str(sealed, field);
        hm_put_str(sealed, old);
    }
    hm_buf_free(&before);
    return ok;
}

static bool seal_one(struct sealing *s, struct hm_str field, struct hm_json value, struct hm_buf *sealed,
                     struct hm_error *err) {
    struct hm_buf binding = {0};
    if (is_placeholder(value)) return keep(s, field, sealed, err);
    if (!s->have_key) {
        if (!hm_keyring_key(s->keyring, hm_buf_view(&s->about), s->new_keys, s->key, err)) return false;
        s->have_key = true;
    }
    bind(hm_str_of(s->type->name), s->id, field, &binding);
    hm_put_str(sealed, field);
    encrypt(s->key, hm_buf_view(&binding), value.raw, sealed);
    hm_buf_free(&binding);
    return true;
}

static int sealed_index(const struct hm_type *type, struct hm_json key) {
    for (unsigned i = 0; i < type->sealed_count; i++)
        if (hm_json_key_is(key, hm_str_of(type->sealed[i]))) return (int)i;
    return -1;
}

bool hm_seal(struct hm_keyring *k, struct hm_new_keys **new_keys, const struct hm_type *type,
             struct hm_str id, struct hm_json data, const struct hm_record *old, struct hm_buf *out,
             struct hm_buf *sealed, struct hm_error *err) {
    struct sealing s = {.keyring = k, .new_keys = new_keys, .type = type, .id = id, .old = old};
    struct hm_json key, value;
    bool done[sizeof type->sealed / sizeof *type->sealed] = {0};
    bool ok = true, first = true, has_about = about_of(type, data.raw, &s.about);
    struct hm_json_iter it = hm_json_iter(data);
    hm_buf_char(out, '{');
    while (ok && hm_json_next(&it, &key, &value)) {
        int field = sealed_index(type, key);
        if (field >= 0 && done[field]) continue; // the first counts; a second must not stay in clear
        if (!first) hm_buf_char(out, ',');
        first = false;
        hm_buf_str(out, key.raw);
        hm_buf_char(out, ':');
        if (field < 0 || value.kind == HM_JSON_NULL) {
            hm_buf_str(out, value.raw);
            if (field >= 0) done[field] = true;
            continue;
        }
        done[field] = true;
        hm_buf_text(out, PLACEHOLDER);
        if (!has_about) {
            ok = hm_fail(err, HM_PARAMS, "%s: the field %s must name the person the sealed fields are about",
                         type->name, type->about);
        } else {
            ok = seal_one(&s, hm_str_of(type->sealed[field]), value, sealed, err);
        }
    }
    hm_buf_char(out, '}');
    sodium_memzero(s.key, sizeof s.key);
    hm_buf_free(&s.about);
    return ok;
}

bool hm_unseal(struct hm_store *store, const struct hm_record *record, struct hm_str field,
               struct hm_buf *out, struct hm_error *err) {
    struct hm_buf about = {0}, binding = {0};
    struct hm_str text;
    uint8_t key[32];
    bool ok = false;
    struct hm_types *types = hm_store_types(store);
    const struct hm_type *type = hm_types_find(types, record->type);
    if (!store->keyring) {
        hm_fail(err, HM_INTERNAL, "a read-only store cannot unseal");
        goto out;
    }
    if (!type || !hm_sealed_find(record->sealed, field, &text) || text.len < NONCE + TAG) {
        hm_fail(err, HM_NOT_FOUND, "no such sealed field");
        goto out;
    }
    if (!about_of(type, record->data, &about)) {
        hm_fail(err, HM_INTERNAL, "%s: a sealed record does not say whom it is about", type->name);
        goto out;
    }
    struct hm_error why = {0};
    if (!hm_keyring_key(store->keyring, hm_buf_view(&about), NULL, key, &why)) {
        if (why.code ==
            HM_NOT_FOUND) { // never stored: destroyed before its first use was committed, or a lost keyring
            hm_fail(err, HM_UNAVAILABLE, "there is no key of the person this is about");
            hm_fail_cause(err, HM_CAUSE_NO_KEY);
        } else if (err) {
            *err = why;
        }
        goto out;
    }
    bind(record->type, record->id, field, &binding);
    size_t clear = text.len - NONCE - TAG;
    hm_buf_reserve(out, clear + 1);
    const uint8_t *bytes = (const uint8_t *)text.ptr;
    if (crypto_aead_xchacha20poly1305_ietf_decrypt((uint8_t *)out->data + out->len, NULL, NULL, bytes + NONCE,
                                                   text.len - NONCE, (const uint8_t *)binding.data,
                                                   binding.len, bytes, key) != 0) {
        out->data[out->len] = 0;
        hm_fail(err, HM_INTERNAL, "%s: the sealed field %.*s does not open with its person's key", type->name,
                (int)field.len, field.ptr);
        goto out;
    }
    out->len += clear;
    out->data[out->len] = 0;
    ok = true;
out:
    sodium_memzero(key, sizeof key);
    hm_buf_free(&about);
    hm_buf_free(&binding);
    hm_types_unref(types);
    return ok;
}
