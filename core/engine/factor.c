// The second factor of an account: its record, and proving a code. Loop thread. What always holds: the secret
// is in clear in memory only (the workers, who can read every record, do not have the server's key); recovery
// codes are kept as hashes; whoever proves a code commits the record that remembers it, at the version that
// was read, so that of two who prove the same code at once one fails.
#include "base/clock.h"
#include "base/code.h"
#include "engine/internal.h"

#include <sodium.h>
#include <stdio.h>

// What a sealed secret is bound to.
static void about(const struct institution *inst, const char *account, struct hm_buf *out) {
    hm_buf_printf(out, "%s\n%s", inst->id, account);
}

void hm_factor_read(struct hm_read *read, const char *account, struct factor *out) {
    struct hm_record record;
    struct hm_json data, list;
    *out = (struct factor){0};
    snprintf(out->account, sizeof out->account, "%s", account);
    if (!hm_read_data(read, "factor", hm_str_of(account), &record, &data)) return;
    out->on = true;
    out->version = record.version;
    hm_buf_str(&out->data, data.raw);
    if (hm_json_get(data, "recovery", &list)) out->left = (unsigned)hm_json_count(list);
}

void hm_factor_free(struct factor *f) {
    hm_buf_free(&f->data);
}

// ---- proving a code -----------------------------------------------------------------------------------

static void replace(struct factor *f, const char *name, struct hm_str raw) {
    struct hm_buf text = {0};
    hm_json_with((struct hm_json){HM_JSON_OBJECT, hm_buf_view(&f->data)}, name, raw, &text);
    hm_buf_free(&f->data);
    f->data = text;
}

static bool prove_recovery(struct factor *f, struct hm_str code) {
    struct hm_json list, item;
    struct hm_buf rest = {0};
    char hash[65], quoted[68];
    if (!hm_code_hash(code, hash) ||
        !hm_json_get((struct hm_json){HM_JSON_OBJECT, hm_buf_view(&f->data)}, "recovery", &list))
        return false;
    snprintf(quoted, sizeof quoted, "\"%s\"", hash);
    struct hm_json_iter it = hm_json_iter(list);
    bool found = false;
    hm_buf_char(&rest, '[');
    while (hm_json_next(&it, NULL, &item)) {
        if (!found && hm_str_eq(item.raw, hm_str_of(quoted))) {
            found = true;
            continue;
        }
        if (rest.len > 1) hm_buf_char(&rest, ',');
        hm_buf_str(&rest, item.raw);
    }
    hm_buf_char(&rest, ']');
    if (found) {
        replace(f, "recovery", hm_buf_view(&rest));
        f->recovery = true;
        f->left--;
    }
    hm_buf_free(&rest);
    return found;
}

static bool prove_totp(struct institution *inst, struct factor *f, struct hm_str code, bool *right,
                       struct hm_error *err) {
    struct hm_json data = {HM_JSON_OBJECT, hm_buf_view(&f->data)};
    struct hm_buf binding = {0}, number = {0};
    char sealed[HM_TOTP_SEALED];
    uint8_t secret[HM_TOTP_SECRET];
    int64_t step = 0;
    about(inst, f->account, &binding);
    bool ok = hm_json_get_text(data, "secret", sealed, sizeof sealed) &&
              hm_totp_open(inst->engine->master_key, hm_buf_view(&binding), hm_str_of(sealed), secret);
    if (ok) {
        *right = hm_totp_check(secret, code, hm_now_ms(), hm_json_number(data, "step"), &step);
    } else {
        hm_fail(
            err, HM_UNAVAILABLE,
            "the server's key file does not open the second factor of this account; use a recovery code, or "
            "let an administrator reset it");
    }
    if (ok && *right) {
        hm_json_put_int(&number, step);
        replace(f, "step", hm_buf_view(&number));
    }
    sodium_memzero(secret, sizeof secret);
    hm_buf_free(&binding);
    hm_buf_free(&number);
    return ok;
}

// Typed as "123 456" or "123-456" too.
static size_t digits_of(struct hm_str typed, char out[8]) {
    size_t len = 0;
    for (size_t i = 0; i < typed.len; i++) {
        char c = typed.ptr[i];
        if (c == ' ' || c == '-') continue;
        if (c < '0' || c > '9' || len == 7) return 0;
        out[len++] = c;
    }
    out[len] = 0;
    return len;
}

bool hm_factor_prove(struct institution *inst, struct factor *f, struct hm_str code, struct hm_error *err) {
    char digits[8];
    bool right = false;
    if (digits_of(code, digits) == 6) {
        if (!prove_totp(inst, f, (struct hm_str){digits, 6}, &right, err)) return false;
    } else {
        right = prove_recovery(f, code);
    }
    sodium_memzero(digits, sizeof digits);
    return right || hm_fail(err, HM_UNAUTHENTICATED, "the code is wrong or has been used");
}

void hm_factor_put(struct commit_item *item, const struct factor *f) {
    hm_item_put(item, "factor", hm_str_of(f->account), f->version, hm_buf_view(&f->data), "");
}

// ---- a new one ----------------------------------------------------------------------------------------

// Makes recovery codes, and the JSON list of their hashes.
static void put_codes(struct hm_buf *out, char codes[RECOVERY_CODES][20]) {
    char hash[65];
    hm_buf_char(out, '[');
    for (size_t i = 0; i < RECOVERY_CODES; i++) {
        hm_code_new(codes[i], hash);
        if (i) hm_buf_char(out, ',');
        hm_json_put_str(out, hm_str_of(hash));
    }
    hm_buf_char(out, ']');
}

void hm_factor_renew(struct factor *f, char codes[RECOVERY_CODES][20]) {
    struct hm_buf list = {0};
    put_codes(&list, codes);
    replace(f, "recovery", hm_buf_view(&list));
    f->left = RECOVERY_CODES;
    hm_buf_free(&list);
}

void hm_factor_new(struct commit_item *item, struct institution *inst, const struct hm_session *session,
                   const uint8_t secret[HM_TOTP_SECRET], int64_t step, char codes[RECOVERY_CODES][20]) {
    struct hm_buf data = {0}, binding = {0};
    char sealed[HM_TOTP_SEALED];
    about(inst, session->account, &binding);
    hm_totp_seal(inst->engine->master_key, hm_buf_view(&binding), secret, sealed);
    hm_buf_char(&data, '{');
    hm_json_member_str(&data, "person", hm_str_of(session->person));
    hm_json_member_str(&data, "secret", hm_str_of(sealed));
    hm_json_member_int(&data, "step", step);
    hm_json_key(&data, "recovery");
    put_codes(&data, codes);
    hm_json_member_int(&data, "since", item->commit.now_ms);
    hm_buf_char(&data, '}');
    hm_item_put(item, "factor", hm_str_of(session->account), 0, hm_buf_view(&data), "");
    hm_buf_free(&data);
    hm_buf_free(&binding);
}

// ---- who must have one --------------------------------------------------------------------------------

static bool is_staff(struct hm_json account) {
    static const char *const staff[] = {"administrator", "coordinator", "psychologist", "coach"};
    struct hm_json roles, role;
    struct hm_buf text = {0};
    bool found = false;
    if (!hm_json_get(account, "roles", &roles)) return false;
    struct hm_json_iter it = hm_json_iter(roles);
    while (!found && hm_json_next(&it, NULL, &role)) {
        hm_buf_clear(&text);
        for (size_t i = 0; i < sizeof staff / sizeof *staff && hm_json_string(role, &text); i++) {
            found = found || hm_str_eq(hm_buf_view(&text), hm_str_of(staff[i]));
            hm_buf_clear(&text);
        }
    }
    hm_buf_free(&text);
    return found;
}

bool hm_factor_missing(const struct hm_engine *engine, struct hm_read *read, const char *id,
                       struct hm_json account) {
    struct hm_record record;
    struct hm_json data;
    return engine->settings.staff_totp && is_staff(account) &&
           !hm_read_data(read, "factor", hm_str_of(id), &record, &data);
}
