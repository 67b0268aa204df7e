// The second factor: session.totp_begin, totp_confirm, totp_renew (other recovery codes), totp_disable, and
// account.reset_totp for who lost phone and recovery codes. Loop thread. What always holds: a secret counts
// only after a code of it was seen; secret and recovery codes are answered once, to the session that asked,
// and are in no record in clear (no idem record either); setting up ends the other sessions, which were begun
// without it.
#include "base/clock.h"
#include "base/id.h"
#include "engine/internal.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

static bool read_factor(struct call *call, const char *account, struct factor *f) {
    struct hm_read *read = NULL;
    struct hm_error err = {0};
    *f = (struct factor){0};
    if (!hm_read_begin(call->institution->store, &read, &err)) {
        hm_call_fail_error(call, &err);
        return false;
    }
    hm_factor_read(read, account, f);
    hm_read_end(read);
    return true;
}

// ---- session.totp_begin -------------------------------------------------------------------------------

static void put_escaped(struct hm_buf *out, const char *text) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
    for (; *text; text++) {
        if (strchr(plain, *text))
            hm_buf_char(out, *text);
        else
            hm_buf_printf(out, "%%%02X", (unsigned)(unsigned char)*text);
    }
}

// https://github.com/google/google-authenticator/wiki/Key-Uri-Format
static void put_uri(struct hm_buf *out, const struct hm_session *session, const char *secret) {
    hm_buf_text(out, "otpauth://totp/Hamroh%20");
    put_escaped(out, session->institution);
    hm_buf_char(out, ':');
    put_escaped(out, session->login);
    hm_buf_printf(out, "?secret=%s&issuer=Hamroh%%20", secret);
    put_escaped(out, session->institution);
}

static void totp_begin(struct call *call) {
    struct hm_session *session = call->session;
    struct hm_buf result = {0}, uri = {0};
    struct factor f;
    char text[40];
    if (!session) {
        hm_call_fail(call, HM_UNAUTHENTICATED, "");
        return;
    }
    if (!read_factor(call, session->account, &f)) return;
    if (f.on) {
        hm_call_reason(call, HM_CONFLICT, "reason", "on");
    } else {
        randombytes_buf(session->pending, sizeof session->pending);
        session->has_pending = true;
        hm_base32(session->pending, sizeof session->pending, text);
        put_uri(&uri, session, text);
        hm_buf_char(&result, '{');
        hm_json_member_str(&result, "secret", hm_str_of(text));
        hm_json_member_str(&result, "uri", hm_buf_view(&uri));
        hm_buf_char(&result, '}');
        hm_call_ok(call, hm_buf_view(&result));
        sodium_memzero(text, sizeof text);
        sodium_memzero(uri.data, uri.len);
        sodium_memzero(result.data, result.len);
    }
    hm_factor_free(&f);
    hm_buf_free(&uri);
    hm_buf_free(&result);
}

// ---- session.totp_confirm -----------------------------------------------------------------------------

struct confirmation {
    struct call *call;
    uint8_t secret[HM_TOTP_SECRET];
    int64_t step;
    char codes[RECOVERY_CODES][20];
};

static void confirmation_free(struct confirmation *c) {
    sodium_memzero(c, sizeof *c);
    free(c);
}

static void answer_codes(struct call *call, char codes[RECOVERY_CODES][20]) {
    struct hm_buf result = {0};
    hm_buf_text(&result, "{\"recovery\":[");
    for (size_t i = 0; i < RECOVERY_CODES; i++)
        hm_buf_printf(&result, "%s\"%s\"", i ? "," : "", codes[i]);
    hm_buf_text(&result, "]}");
    hm_call_ok(call, hm_buf_view(&result));
    sodium_memzero(result.data, result.len);
    hm_buf_free(&result);
}

static void confirm(struct confirmation *c);

static void confirmed(struct commit_item *item) {
    struct confirmation *c = item->arg;
    struct call *call = c->call;
    if (item->ok && item->commit.code == HM_CONFLICT && ++call->conflicts <= 3) {
        confirm(c);
        return;
    }
    if (!item->ok || item->commit.code != HM_OK) {
        hm_call_fail_item(call, item);
    } else {
        call->session->has_pending = false;
        sodium_memzero(call->session->pending, sizeof call->session->pending);
        answer_codes(call, c->codes);
    }
    confirmation_free(c);
}

static void confirm(struct confirmation *c) {
    struct call *call = c->call;
    const struct hm_session *session = call->session;
    struct hm_read *read = NULL;
    struct hm_record account;
    struct hm_json data;
    struct hm_error err = {0};
    struct factor f = {0};
    if (!hm_read_begin(call->institution->store, &read, &err)) {
        hm_call_fail_error(call, &err);
        confirmation_free(c);
        return;
    }
    struct hm_types *types = hm_store_types(call->institution->store);
    hm_factor_read(read, session->account, &f);
    bool there = hm_read_data(read, "account", hm_str_of(session->account), &account, &data);
    if (there && !f.on) {
        struct commit_item *item = hm_item_new(call->institution, call->by, call->method);
        hm_factor_new(item, call->institution, session, c->secret, c->step, c->codes);
        hm_live_end_all(item, read, types, &account, data, session->token_hash);
        hm_history_put(item, session->account, session->person, "totp_on", NULL, call->caller->address);
        item->call = call;
        item->arg = c;
        hm_item_submit(item, confirmed); // not hm_item_finish_call: the answer must be in no idem record
        c = NULL;
    }
    hm_types_unref(types);
    hm_read_end(read);
    hm_factor_free(&f);
    if (!c) return;
    hm_call_reason(call, HM_CONFLICT, "reason", there ? "on" : "account");
    confirmation_free(c);
}

static void totp_confirm(struct call *call) {
    struct hm_session *session = call->session;
    char code[129];
    int64_t step = 0;
    if (!session) {
        hm_call_fail(call, HM_UNAUTHENTICATED, "");
        return;
    }
    hm_arg_text(call, "code", code, sizeof code);
    if (!session->has_pending) {
        hm_call_reason(call, HM_CONFLICT, "reason", "begin");
    } else if (!hm_totp_check(session->pending, hm_str_of(code), hm_now_ms(), -1, &step)) {
        hm_call_param(call, "code", "is not the present code; is the clock of the phone right?");
    } else {
        struct confirmation *c = hm_alloc(sizeof *c);
        c->call = call;
        c->step = step;
        memcpy(c->secret, session->pending, sizeof c->secret);
        confirm(c);
    }
}

// A code that was not good counts as a guess.
static void not_proved(struct call *call, const struct hm_error *err) {
    if (err->code == HM_UNAUTHENTICATED) {
        hm_rates_failed_code(call->engine->rates, call->institution->id, call->session->login);
        hm_call_param(call, "code", err->message);
    } else {
        hm_call_fail_error(call, err);
    }
}

// ---- session.totp_renew -------------------------------------------------------------------------------

struct renewal {
    struct call *call;
    char codes[RECOVERY_CODES][20];
};

static void renewal_free(struct renewal *r) {
    sodium_memzero(r, sizeof *r);
    free(r);
}

static void renew(struct renewal *r);

static void renewed(struct commit_item *item) {
    struct renewal *r = item->arg;
    struct call *call = r->call;
    if (item->ok && item->commit.code == HM_CONFLICT && ++call->conflicts <= 3) {
        renew(r); // somebody was faster with the same second factor: is the code still good?
        return;
    }
    if (item->ok && item->commit.code == HM_OK)
        answer_codes(call, r->codes);
    else
        hm_call_fail_item(call, item);
    renewal_free(r);
}

static void renew(struct renewal *r) {
    struct call *call = r->call;
    const struct hm_session *session = call->session;
    struct hm_rates *rates = call->engine->rates;
    const char *place = call->institution->id;
    struct hm_error err = {0};
    struct factor f;
    char code[129];
    unsigned wait = hm_rates_check_code(rates, place, session->login);
    hm_arg_text(call, "code", code, sizeof code);
    if (wait) {
        hm_call_wait(call, wait);
        renewal_free(r);
        return;
    }
    if (!read_factor(call, session->account, &f)) {
        renewal_free(r);
        return;
    }
    if (!f.on) {
        hm_call_reason(call, HM_CONFLICT, "reason", "off");
    } else if (hm_factor_prove(call->institution, &f, hm_str_of(code), &err)) {
        struct commit_item *item = hm_item_new(call->institution, call->by, call->method);
        hm_factor_renew(&f, r->codes);
        hm_factor_put(item, &f);
        hm_history_put(item, session->account, session->person, "totp_renew", NULL, call->caller->address);
        item->call = call;
        item->arg = r;
        hm_item_submit(item, renewed); // as above: in no idem record
        r = NULL;
    } else {
        not_proved(call, &err);
    }
    hm_factor_free(&f);
    if (r) renewal_free(r);
}

static void totp_renew(struct call *call) {
    if (!call->session) {
        hm_call_fail(call, HM_UNAUTHENTICATED, "");
        return;
    }
    struct renewal *r = hm_alloc(sizeof *r);
    r->call = call;
    renew(r);
}

// ---- session.totp_disable -----------------------------------------------------------------------------

static void remove_factor(struct commit_item *item, const struct factor *f, const char *person,
                          const char *outcome, const char *address) {
    hm_item_remove(item, "factor", hm_str_of(f->account), f->version);
    hm_history_put(item, f->account, person, outcome, NULL, address);
}

static void disable_verified(void *arg, bool ok, const char *hash) {
    struct call *call = arg;
    const struct hm_session *session = call->session;
    struct hm_rates *rates = call->engine->rates;
    const char *place = call->institution->id;
    struct hm_error err = {0};
    struct factor f;
    char code[129];
    unsigned wait;
    (void)hash;
    if (call->engine->closing) {
        hm_call_fail(call, HM_UNAVAILABLE, "the server is shutting down");
        return;
    }
    if (!ok) {
        hm_rates_failed(rates, place, session->login, call->caller->address);
        hm_call_param(call, "password", "is not the present password");
        return;
    }
    if ((wait = hm_rates_check_code(rates, place, session->login))) {
        hm_call_wait(call, wait);
        return;
    }
    if (!hm_call_still(call) || !read_factor(call, session->account, &f)) return;
    hm_arg_text(call, "code", code, sizeof code);
    if (!f.on) {
        hm_call_reason(call, HM_CONFLICT, "reason", "off");
    } else if (hm_factor_prove(call->institution, &f, hm_str_of(code), &err)) {
        struct commit_item *item = hm_item_new(call->institution, call->by, call->method);
        remove_factor(item, &f, session->person, "totp_off", call->caller->address);
        hm_item_finish_call(item, call, HM_LIT("{}"), hm_call_committed);
    } else {
        not_proved(call, &err);
    }
    hm_factor_free(&f);
}

static void totp_disable(struct call *call) {
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_json data;
    struct hm_buf password = {0};
    struct hm_error err = {0};
    char hash[HM_HASH_MAX];
    if (!call->session) {
        hm_call_fail(call, HM_UNAUTHENTICATED, "");
        return;
    }
    unsigned wait = hm_rates_check(call->engine->rates, call->institution->id, call->session->login,
                                   call->caller->address);
    if (wait) {
        hm_call_wait(call, wait);
        return;
    }
    if (!hm_read_begin(call->institution->store, &read, &err)) {
        hm_call_fail_error(call, &err);
        return;
    }
    bool known = hm_read_data(read, "account", hm_str_of(call->session->account), &record, &data) &&
                 hm_json_get_text(data, "hash", hash, sizeof hash);
    hm_read_end(read);
    hm_arg_buf(call, "password", &password);
    if (!hm_pw_verify(call->engine->passwords, hm_buf_view(&password), known ? hash : NULL, disable_verified,
                      call, &err))
        hm_call_fail_error(call, &err);
    sodium_memzero(hash, sizeof hash);
    if (password.data) sodium_memzero(password.data, password.len);
    hm_buf_free(&password);
}

// ---- account.reset_totp -------------------------------------------------------------------------------

static void put_audit(struct commit_item *item, struct call *call, const char *account, const char *person) {
    struct hm_buf data = {0};
    char id[37];
    hm_uuid7(item->commit.now_ms, id);
    hm_buf_char(&data, '{');
    hm_json_member_str(&data, "who", hm_str_of(call->by));
    hm_json_member_str(&data, "whose", hm_str_of(person));
    hm_json_member_str(&data, "type", HM_LIT("account"));
    hm_json_member_str(&data, "id", hm_str_of(account));
    hm_json_member_str(&data, "field", HM_LIT("totp"));
    hm_json_member_str(&data, "why", HM_LIT("account.reset_totp"));
    hm_json_member_int(&data, "time", item->commit.now_ms);
    hm_buf_char(&data, '}');
    hm_item_put(item, "audit", hm_str_of(id), 0, hm_buf_view(&data), "role:administrator");
    hm_buf_free(&data);
}

static void reset_totp(struct call *call) {
    char id[HM_ID_MAX + 1], person[HM_ID_MAX + 1] = "";
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_json data;
    struct hm_error err = {0};
    struct factor f;
    hm_arg_text(call, "account", id, sizeof id);
    if (!hm_read_begin(call->institution->store, &read, &err)) {
        hm_call_fail_error(call, &err);
        return;
    }
    bool there = hm_read_data(read, "account", hm_str_of(id), &record, &data);
    if (there) hm_json_get_text(data, "person", person, sizeof person);
    hm_factor_read(read, id, &f);
    hm_read_end(read);
    if (!there) {
        hm_call_fail(call, HM_NOT_FOUND, "");
    } else if (!f.on) {
        hm_call_reason(call, HM_CONFLICT, "reason", "off");
    } else {
        struct commit_item *item = hm_item_new(call->institution, call->by, call->method);
        remove_factor(item, &f, person, "totp_reset", NULL);
        put_audit(item, call, id, person);
        hm_item_finish_call(item, call, HM_LIT("{}"), hm_call_committed);
    }
    hm_factor_free(&f);
}

static const struct core_method rows[] = {
    {"session.totp_begin", ACCESS_SIGNED_IN, "",
     "A fresh secret for an authenticator app (RFC 6238: SHA-1, 30 s, 6 digits), as text and as otpauth: "
     "link. "
     "It counts once session.totp_confirm has seen a code of it.",
     totp_begin},
    {"session.totp_confirm", ACCESS_SIGNED_IN, "code:text!",
     "From now on signing in needs a code. Gives ten recovery codes, shown this once, and ends the other "
     "sessions.",
     totp_confirm},
    {"session.totp_renew", ACCESS_SIGNED_IN, "code:text!",
     "Ten new recovery codes, shown this once; those before count no more. `code`: of the phone, or one of "
     "those.",
     totp_renew},
    {"session.totp_disable", ACCESS_SIGNED_IN, "password:long! code:text!",
     "Signing in needs no code any more; `code`: of the phone, or a recovery code.", totp_disable},
    {"account.reset_totp", ACCESS_ADMIN, "account:text!",
     "Takes the second factor from an account whose owner lost it; is in the audit.", reset_totp},
};
const struct core_table hm_methods_totp = {rows, sizeof rows / sizeof *rows};
