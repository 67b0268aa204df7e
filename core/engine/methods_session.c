// Signing in and out, and changing the password: session.login, accept, resume, logout, change_password. Loop
// thread; passwords are computed in the pool, whose callbacks come back here. What always holds: a token is
// made here for each sign-in, never taken from a client, and answered only after its session record is
// durable; an unknown login and a wrong password give the same answer after the same work, and whether there
// is a second factor is told only after the password was right; tokens and codes are stored as hashes only; a
// session begun with a password that has been changed meanwhile is none (the account's epoch, see live.c).
#include "base/clock.h"
#include "base/code.h"
#include "base/text.h"
#include "engine/internal.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#define LOGIN_MAX 129

// ---- one more session ---------------------------------------------------------------------------------

struct newcomer { // an account that gets a session
    char account[HM_ID_MAX + 1], person[HM_ID_MAX + 1];
    struct hm_buf roles; // JSON array
    int64_t epoch;       // of the account, as it was when who comes was checked
};

struct login;
struct entry { // a session that is being committed
    char token[HM_TOKEN_MAX];
    struct login *login; // NULL: by invitation
};

static void login_free(struct login *l);
static bool login_again(struct login *l);
static bool used_recovery(const struct login *l, unsigned *left);

static void locale_of(const struct call *call, char out[9]) {
    static const char *const known[] = {"uz", "uz-Cyrl", "ru", "en"};
    char asked[16];
    snprintf(out, 9, "uz");
    if (!hm_arg_text(call, "locale", asked, sizeof asked)) return;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(asked, known[i]) == 0) snprintf(out, 9, "%s", known[i]);
}

static void put_session(struct commit_item *item, struct call *call, const struct newcomer *who,
                        const char *token) {
    const struct hm_settings *s = &call->engine->settings;
    int64_t now = item->commit.now_ms;
    struct hm_buf data = {0};
    char hash[65], locale[9], agent[129];
    hm_secret_hash(hm_str_of(token), hash);
    locale_of(call, locale);
    hm_arg_text(call, "agent", agent, sizeof agent);
    hm_buf_char(&data, '{');
    hm_json_member_str(&data, "person", hm_str_of(who->person));
    hm_json_member_str(&data, "account", hm_str_of(who->account));
    hm_json_member_raw(&data, "roles", hm_buf_view(&who->roles));
    hm_json_member_int(&data, "created", now);
    hm_json_member_int(&data, "seen", now);
    hm_json_member_int(&data, "expires", now + (int64_t)s->session_days * 86400000);
    hm_json_member_int(&data, "idle_ms", (int64_t)s->session_idle_hours * 3600000);
    hm_json_member_int(&data, "epoch", who->epoch);
    hm_json_member_str(&data, "locale", hm_str_of(locale));
    hm_json_member_str(&data, "agent", hm_str_of(agent));
    hm_buf_char(&data, '}');
    hm_live_tidy(item, who->account);
    hm_item_put(item, "session", hm_str_of(hash), 0, hm_buf_view(&data), "");
    hm_history_put(item, who->account, who->person, "in", agent, call->caller->address);
    hm_buf_free(&data);
}

static void signed_in(struct call *call, struct live *live, const char *token, const struct entry *entry) {
    struct hm_buf result = {0};
    unsigned left;
    hm_live_answer(live, token, &result);
    if (entry && used_recovery(entry->login, &left)) {
        result.len--; // the closing brace
        hm_json_member_int(&result, "recovery_left", left);
        hm_buf_char(&result, '}');
    }
    if (call->caller->persistent) hm_caller_attach(call->caller, live);
    hm_call_ok(call, hm_buf_view(&result));
    if (result.data) sodium_memzero(result.data, result.len);
    hm_buf_free(&result);
}

static void session_committed(struct commit_item *item) {
    struct call *call = item->call;
    struct entry *entry = item->arg;
    struct login *login = entry->login;
    struct live *live;
    struct hm_error err = {0};
    bool again = item->ok && item->commit.code == HM_CONFLICT && login && login_again(login);
    if (again)
        login = NULL; // it goes on
    else if (!item->ok || item->commit.code != HM_OK)
        hm_call_fail_item(call, item);
    else if (!hm_live_find(call->engine, hm_str_of(entry->token), &live, &err))
        hm_call_fail_error(call, &err);
    else
        signed_in(call, live, entry->token, entry);
    sodium_memzero(entry->token, sizeof entry->token);
    login_free(login);
}

// login: owned by the item from here on, or NULL.
static void commit_session(struct commit_item *item, struct call *call, const struct newcomer *who,
                           struct login *login) {
    struct entry *entry = hm_item_own(item, hm_alloc(sizeof *entry));
    entry->login = login;
    hm_token_new(item->institution->id, entry->token);
    put_session(item, call, who, entry->token);
    item->call = call;
    item->arg = entry;
    hm_item_submit(item, session_committed);
}

// ---- session.login ------------------------------------------------------------------------------------

struct login {
    struct call *call;
    struct institution *institution; // NULL: there is none of that name
    char login[LOGIN_MAX];           // folded
    char hash[HM_HASH_MAX];
    char code[LOGIN_MAX]; // of the second factor, as typed
    bool found, active, demo;
    unsigned tries;
    uint64_t seen; // the account is as of this change
    struct factor factor;
    struct newcomer who;
};

static void login_free(struct login *l) {
    if (!l) return;
    sodium_memzero(l->hash, sizeof l->hash);
    sodium_memzero(l->code, sizeof l->code);
    hm_factor_free(&l->factor);
    hm_buf_free(&l->who.roles);
    free(l);
}

static bool fold_login(struct hm_str login, char out[LOGIN_MAX]) {
    struct hm_buf folded = {0};
    hm_fold(login, &folded);
    bool ok = folded.len > 0 && folded.len < LOGIN_MAX && hm_id_valid(hm_buf_view(&folded));
    snprintf(out, LOGIN_MAX, "%s", ok ? folded.data : "");
    hm_buf_free(&folded);
    return ok;
}

static bool truth(struct hm_json data, const char *name) {
    struct hm_json value;
    bool on = false;
    return hm_json_get(data, name, &value) && hm_json_bool(value, &on) && on;
}

static void take_account(struct login *l, const struct hm_record *record, struct hm_json data) {
    struct hm_json roles;
    char state[32];
    l->found = hm_json_get_text(data, "hash", l->hash, sizeof l->hash);
    l->active = !hm_json_get_text(data, "state", state, sizeof state) || strcmp(state, "active") == 0;
    l->demo = truth(data, "demo");
    snprintf(l->who.account, sizeof l->who.account, "%.*s", (int)record->id.len, record->id.ptr);
    hm_json_get_text(data, "person", l->who.person, sizeof l->who.person);
    l->who.epoch = hm_json_number(data, "epoch");
    hm_buf_str(&l->who.roles, hm_json_get(data, "roles", &roles) ? roles.raw : HM_LIT("[]"));
}

static bool find_account(struct login *l, struct hm_error *err) {
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_json data;
    if (!l->institution) return true;
    if (!hm_read_begin(l->institution->store, &read, err)) return false;
    struct hm_types *types = hm_store_types(l->institution->store);
    if (hm_read_unique(read, types, "account", "login", hm_str_of(l->login), &record, &data))
        take_account(l, &record, data);
    l->seen = hm_read_seq(read);
    hm_types_unref(types);
    hm_read_end(read);
    return true;
}

static void login_accepted(struct login *l) {
    struct call *call = l->call;
    const char *by = l->who.person[0] ? l->who.person : l->who.account;
    struct commit_item *item = hm_item_new(l->institution, by, call->method);
    hm_rates_succeeded(call->engine->rates, l->institution->id, l->login, call->caller->address);
    if (l->factor.on) hm_factor_put(item, &l->factor);
    // Somebody who is being erased leaves neither session nor entry behind.
    hm_item_saw_record(item, "account", l->who.account, l->seen);
    commit_session(item, call, &l->who, l);
}

static void need_code(struct call *call, const char *message) {
    hm_call_done(call, HM_UNAUTHENTICATED, HM_LIT(""), hm_str_of(message), HM_LIT("{\"need\":\"code\"}"));
}

static void wrong_code(struct login *l, const struct hm_error *err) {
    struct hm_rates *rates = l->call->engine->rates;
    hm_rates_failed(rates, l->institution->id, l->login, l->call->caller->address);
    hm_rates_failed_code(rates, l->institution->id, l->login);
    hm_history_later(l->institution, l->who.account, l->who.person, "code", l->call->caller->address);
    need_code(l->call, err->message);
}

// The password was right. Takes l.
static void login_second(struct login *l) {
    struct call *call = l->call;
    struct hm_read *read = NULL;
    struct hm_error err = {0};
    unsigned wait;
    hm_factor_free(&l->factor);
    if (!hm_read_begin(l->institution->store, &read, &err)) {
        hm_call_fail_error(call, &err);
        login_free(l);
        return;
    }
    hm_factor_read(read, l->who.account, &l->factor);
    hm_read_end(read);
    if (!l->factor.on) {
        login_accepted(l);
        return;
    }
    if (!l->code[0])
        need_code(call, "the code of the second factor is needed");
    else if ((wait = hm_rates_check_code(call->engine->rates, l->institution->id, l->login)))
        hm_call_wait(call, wait);
    else if (hm_factor_prove(l->institution, &l->factor, hm_str_of(l->code), &err)) {
        login_accepted(l);
        return;
    } else if (err.code == HM_UNAUTHENTICATED)
        wrong_code(l, &err);
    else
        hm_call_fail_error(call, &err);
    login_free(l);
}

// Somebody was faster with the same second factor: is the code still good? Or the account has changed: is it
// still what the password was right for? False: it is tried no more.
static bool login_again(struct login *l) {
    char hash[HM_HASH_MAX];
    int64_t epoch = l->who.epoch;
    struct hm_error err = {0};
    if (++l->tries > 3) return false;
    memcpy(hash, l->hash, sizeof hash);
    hm_buf_clear(&l->who.roles);
    l->found = false;
    bool read = find_account(l, &err);
    bool same = l->found && l->active && l->who.epoch == epoch && strcmp(hash, l->hash) == 0;
    sodium_memzero(hash, sizeof hash);
    if (read && same) {
        login_second(l);
        return true;
    }
    if (read)
        hm_call_fail(l->call, HM_UNAUTHENTICATED, "the account has changed meanwhile");
    else
        hm_call_fail_error(l->call, &err);
    login_free(l);
    return true;
}

static bool used_recovery(const struct login *l, unsigned *left) {
    if (!l || !l->factor.recovery) return false;
    *left = l->factor.left;
    return true;
}

static void login_verified(void *arg, bool ok, const char *hash) {
    struct login *l = arg;
    struct call *call = l->call;
    struct hm_engine *engine = call->engine;
    (void)hash;
    if (engine->closing) {
        hm_call_fail(call, HM_UNAVAILABLE, "the server is shutting down");
    } else if (!ok || !l->active) {
        hm_rates_failed(engine->rates, l->institution ? l->institution->id : "", l->login,
                        call->caller->address);
        if (l->found)
            hm_history_later(l->institution, l->who.account, l->who.person, "failed", call->caller->address);
        hm_call_fail(call, HM_UNAUTHENTICATED, "the login or the password is wrong");
    } else if (l->demo && !call->local && !engine->settings.demo_from_anywhere) {
        hm_call_reason(call, HM_FORBIDDEN, "need", "demo accounts sign in from the server's own machine");
    } else {
        login_second(l);
        return;
    }
    login_free(l);
}

static void session_login(struct call *call) {
    char institution[65];
    struct hm_buf login = {0}, password = {0};
    struct hm_error err = {0};
    struct login *l = hm_alloc(sizeof *l);
    l->call = call;
    hm_arg_text(call, "institution", institution, sizeof institution);
    hm_arg_buf(call, "login", &login);
    hm_arg_buf(call, "password", &password);
    hm_arg_text(call, "code", l->code, sizeof l->code);
    l->institution = hm_inst_find(call->engine, institution);
    bool folded = fold_login(hm_buf_view(&login), l->login);
    unsigned wait = hm_rates_check(call->engine->rates, l->institution ? l->institution->id : "", l->login,
                                   call->caller->address);
    bool given = false;
    if (wait)
        hm_call_wait(call, wait);
    else if ((folded && !find_account(l, &err)) ||
             !hm_pw_verify(call->engine->passwords, hm_buf_view(&password), l->found ? l->hash : NULL,
                           login_verified, l, &err))
        hm_call_fail_error(call, &err);
    else
        given = true;
    if (!given) login_free(l);
    if (password.data) sodium_memzero(password.data, password.len);
    hm_buf_free(&password);
    hm_buf_free(&login);
}

// ---- session.accept -----------------------------------------------------------------------------------

struct acceptance {
    struct call *call;
    struct institution *institution;
    char code_hash[65];
    uint64_t version; // of the invitation
    struct hm_buf shown;
    char login[LOGIN_MAX];
    struct newcomer who;
};

static void acceptance_free(struct acceptance *a) {
    hm_buf_free(&a->shown);
    hm_buf_free(&a->who.roles);
    free(a);
}

static void put_account(struct commit_item *item, const struct newcomer *who, const char *login,
                        struct hm_str shown, const char *hash) {
    struct hm_buf data = {0};
    hm_buf_char(&data, '{');
    hm_json_member_str(&data, "login", hm_str_of(login));
    hm_json_member_str(&data, "login_shown", shown);
    hm_json_member_str(&data, "hash", hm_str_of(hash));
    hm_json_member_str(&data, "person", hm_str_of(who->person));
    hm_json_member_raw(&data, "roles", hm_buf_view(&who->roles));
    hm_json_member_str(&data, "state", HM_LIT("active"));
    hm_json_member_raw(&data, "demo", HM_LIT("false"));
    hm_json_member_int(&data, "created", item->commit.now_ms);
    hm_buf_char(&data, '}');
    hm_item_put(item, "account", hm_str_of(who->account), 0, hm_buf_view(&data), "");
    hm_buf_free(&data);
}

static void accept_hashed(void *arg, bool ok, const char *hash) {
    struct acceptance *a = arg;
    struct call *call = a->call;
    if (!ok) {
        hm_call_fail(call, HM_UNAVAILABLE, "the password could not be stored now");
    } else {
        struct commit_item *item =
            hm_item_new(a->institution, a->who.person[0] ? a->who.person : a->who.account, call->method);
        hm_item_remove(item, "invitation", hm_str_of(a->code_hash), a->version);
        put_account(item, &a->who, a->login, hm_buf_view(&a->shown), hash);
        if (!a->who.person[0] || hm_item_none(item, "account", "person", hm_str_of(a->who.person))) {
            commit_session(item, call, &a->who, NULL);
        } else {
            hm_item_free(item);
            hm_call_reason(call, HM_CONFLICT, "reason", "person_has_account");
        }
    }
    acceptance_free(a);
}

// Reads what the invitation gives; false with the error when it cannot be accepted.
static bool read_invitation(struct acceptance *a, struct hm_error *err) {
    struct hm_read *read = NULL;
    struct hm_record record, other;
    struct hm_json data, value;
    int64_t expires = 0;
    bool ok = false;
    if (!hm_read_begin(a->institution->store, &read, err)) return false;
    struct hm_types *types = hm_store_types(a->institution->store);
    if (!hm_read_data(read, "invitation", hm_str_of(a->code_hash), &record, &data) ||
        !hm_json_get(data, "expires", &value) || !hm_json_int(value, &expires) || expires <= hm_now_ms()) {
        hm_fail(err, HM_NOT_FOUND, "this invitation does not exist, has been used, or is out of date");
        goto out;
    }
    a->version = record.version;
    hm_json_get_text(data, "person", a->who.person, sizeof a->who.person);
    hm_buf_str(&a->who.roles,
               hm_json_get(data, "roles", &value) && value.kind == HM_JSON_ARRAY ? value.raw : HM_LIT("[]"));
    if (hm_read_unique(read, types, "account", "login", hm_str_of(a->login), &other, &data)) {
        hm_fail(err, HM_CONFLICT, "login_taken");
        goto out;
    }
    if (a->who.person[0] &&
        hm_read_unique(read, types, "account", "person", hm_str_of(a->who.person), &other, &data)) {
        hm_fail(err, HM_CONFLICT, "person_has_account");
        goto out;
    }
    ok = true;
out:
    hm_types_unref(types);
    hm_read_end(read);
    return ok;
}

// The code is a secret like a password, so guesses at it count like wrong passwords.
static void session_accept(struct call *call) {
    char institution[65], code[65];
    struct hm_buf password = {0};
    struct hm_error err = {0};
    struct acceptance *a = hm_alloc(sizeof *a);
    bool given = false;
    a->call = call;
    hm_arg_text(call, "institution", institution, sizeof institution);
    hm_arg_text(call, "code", code, sizeof code);
    hm_arg_buf(call, "login", &a->shown);
    hm_arg_buf(call, "password", &password);
    a->institution = hm_inst_find(call->engine, institution);
    hm_uuid7(hm_now_ms(), a->who.account);
    unsigned wait = hm_rates_check(call->engine->rates, institution, "#code", call->caller->address);
    if (wait) {
        hm_call_wait(call, wait);
    } else if (!fold_login(hm_buf_view(&a->shown), a->login)) {
        hm_call_param(call, "login", "must be a name of 1 to 128 bytes");
    } else if (!hm_password_acceptable(hm_buf_view(&password), hm_buf_view(&a->shown), &err)) {
        hm_call_param(call, "password", err.message);
    } else if (!a->institution || !hm_code_hash(hm_str_of(code), a->code_hash) || !read_invitation(a, &err)) {
        if (!err.code)
            hm_fail(&err, HM_NOT_FOUND, "this invitation does not exist, has been used, or is out of date");
        if (err.code == HM_NOT_FOUND)
            hm_rates_failed(call->engine->rates, institution, "#code", call->caller->address);
        if (err.code == HM_CONFLICT)
            hm_call_reason(call, HM_CONFLICT, "reason", err.message);
        else
            hm_call_fail_error(call, &err);
    } else if (!hm_pw_hash(call->engine->passwords, hm_buf_view(&password), accept_hashed, a, &err)) {
        hm_call_fail_error(call, &err);
    } else {
        given = true;
    }
    if (!given) acceptance_free(a);
    if (password.data) sodium_memzero(password.data, password.len);
    hm_buf_free(&password);
}

// ---- resume, logout -----------------------------------------------------------------------------------

static void session_resume(struct call *call) {
    struct hm_buf token = {0};
    struct live *live;
    struct hm_error err = {0};
    hm_arg_buf(call, "token", &token);
    if (hm_live_find(call->engine, hm_buf_view(&token), &live, &err))
        signed_in(call, live, token.data, NULL);
    else
        hm_call_fail_error(call, &err);
    if (token.data) sodium_memzero(token.data, token.len);
    hm_buf_free(&token);
}

// The caller's own connection may have been detached by the room above already.
static void detach(struct hm_caller *caller, struct hm_session *session) {
    if (caller->session != session) return;
    caller->session = NULL;
    hm_session_unref(session);
}

static void logout_committed(struct commit_item *item) {
    struct call *call = item->call;
    if (!item->ok) {
        hm_call_fail_item(call, item);
        return;
    }
    struct live *live = hm_live_of(call->session);
    struct hm_session *session = hm_session_ref(call->session);
    struct hm_caller *caller = hm_caller_ref(call->caller);
    hm_call_ok(call, HM_LIT("{}"));
    if (live) hm_live_end(live, "logout");
    detach(caller, session);
    hm_caller_unref(caller);
    hm_session_unref(session);
}

static void session_logout(struct call *call) {
    if (!call->session) {
        hm_call_fail(call, HM_UNAUTHENTICATED, "");
        return;
    }
    struct commit_item *item = hm_item_new(call->institution, call->by, call->method);
    hm_item_remove(item, "session", hm_str_of(call->session->token_hash), HM_ANY_VERSION);
    hm_item_finish_call(item, call, HM_LIT("{}"), logout_committed);
}

// ---- session.change_password --------------------------------------------------------------------------

struct change {
    struct call *call;
    struct hm_buf fresh;                             // the new password
    char hash[HM_HASH_MAX], fresh_hash[HM_HASH_MAX]; // of the old one, which is checked, and of the new
};

static void change_free(struct change *c) {
    if (c->fresh.data) sodium_memzero(c->fresh.data, c->fresh.len);
    sodium_memzero(c->hash, sizeof c->hash);
    sodium_memzero(c->fresh_hash, sizeof c->fresh_hash);
    hm_buf_free(&c->fresh);
    free(c);
}

static bool change_commit(struct change *c, struct hm_error *err);

static void change_committed(struct commit_item *item) {
    struct change *c = item->arg;
    struct hm_error err = {0};
    bool again = item->ok && item->commit.code == HM_CONFLICT && ++c->call->conflicts <= 3;
    if (again && !hm_call_still(c->call)) {
        change_free(c);
        return;
    }
    if (again && change_commit(c, &err)) return;
    if (err.code)
        hm_call_fail_error(c->call, &err);
    else
        hm_call_committed(item);
    change_free(c);
}

// The account as it is now, with the new hash; unless somebody has changed the password meanwhile.
static bool change_commit(struct change *c, struct hm_error *err) {
    struct call *call = c->call;
    struct hm_buf quoted = {0}, data = {0};
    struct hm_read *read = NULL;
    struct hm_record account;
    struct hm_json old;
    char hash[HM_HASH_MAX] = "";
    if (!hm_read_begin(call->institution->store, &read, err)) return false;
    struct hm_types *types = hm_store_types(call->institution->store);
    bool ok = hm_read_data(read, "account", hm_str_of(call->session->account), &account, &old) &&
              hm_json_get_text(old, "hash", hash, sizeof hash) && strcmp(hash, c->hash) == 0;
    if (ok) {
        struct commit_item *item = hm_item_new(call->institution, call->by, call->method);
        hm_json_put_str(&quoted, hm_str_of(c->fresh_hash));
        hm_json_with(old, "hash", hm_buf_view(&quoted), &data);
        hm_live_end_all(item, read, types, &account, (struct hm_json){HM_JSON_OBJECT, hm_buf_view(&data)},
                        call->session->token_hash);
        hm_history_put(item, call->session->account, call->session->person, "password", NULL,
                       call->caller->address);
        item->arg = c;
        hm_item_finish_call(item, call, HM_LIT("{}"), change_committed);
    } else {
        hm_fail(err, HM_CONFLICT, "the password has been changed meanwhile");
    }
    sodium_memzero(hash, sizeof hash);
    hm_types_unref(types);
    hm_read_end(read);
    hm_buf_free(&quoted);
    hm_buf_free(&data);
    return ok;
}

static void change_hashed(void *arg, bool ok, const char *hash) {
    struct change *c = arg;
    struct hm_error err = {0};
    if (!ok) {
        hm_call_fail(c->call, HM_UNAVAILABLE, "the password could not be stored now");
    } else if (hm_call_still(c->call)) {
        snprintf(c->fresh_hash, sizeof c->fresh_hash, "%s", hash);
        if (change_commit(c, &err)) return;
        hm_call_fail_error(c->call, &err);
    }
    change_free(c);
}

static void change_verified(void *arg, bool ok, const char *hash) {
    struct change *c = arg;
    struct call *call = c->call;
    struct hm_engine *engine = call->engine;
    struct hm_error err = {0};
    (void)hash;
    if (engine->closing) {
        hm_call_fail(call, HM_UNAVAILABLE, "the server is shutting down");
    } else if (!ok) {
        hm_rates_failed(engine->rates, call->institution->id, call->session->login, call->caller->address);
        hm_call_param(call, "old", "is not the present password");
    } else if (!hm_pw_hash(engine->passwords, hm_buf_view(&c->fresh), change_hashed, c, &err)) {
        hm_call_fail_error(call, &err);
    } else {
        return;
    }
    change_free(c);
}

static bool read_own_account(struct call *call, struct change *c, struct hm_error *err) {
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_json data;
    if (!hm_read_begin(call->institution->store, &read, err)) return false;
    bool ok = hm_read_data(read, "account", hm_str_of(call->session->account), &record, &data);
    if (ok) ok = hm_json_get_text(data, "hash", c->hash, sizeof c->hash);
    hm_read_end(read);
    return ok || hm_fail(err, HM_NOT_FOUND, "the account has no password");
}

static void session_change_password(struct call *call) {
    struct hm_buf old = {0};
    struct hm_error err = {0};
    if (!call->session) {
        hm_call_fail(call, HM_UNAUTHENTICATED, "");
        return;
    }
    struct change *c = hm_alloc(sizeof *c);
    bool given = false;
    c->call = call;
    hm_arg_buf(call, "old", &old);
    hm_arg_buf(call, "new", &c->fresh);
    unsigned wait = hm_rates_check(call->engine->rates, call->institution->id, call->session->login,
                                   call->caller->address);
    if (wait)
        hm_call_wait(call, wait);
    else if (!hm_password_acceptable(hm_buf_view(&c->fresh), hm_str_of(call->session->login), &err))
        hm_call_param(call, "new", err.message);
    else if (!read_own_account(call, c, &err) ||
             !hm_pw_verify(call->engine->passwords, hm_buf_view(&old), c->hash, change_verified, c, &err))
        hm_call_fail_error(call, &err);
    else
        given = true;
    if (!given) change_free(c);
    if (old.data) sodium_memzero(old.data, old.len);
    hm_buf_free(&old);
}

static const struct core_method rows[] = {
    {"session.login", ACCESS_PUBLIC,
     "institution:text! login:text! password:long! code:text locale:text agent:text",
     "Signs in with login and password; `code`: of the phone, or a recovery code, when the account has a "
     "second "
     "factor (else -32001 with need: code).",
     session_login},
    {"session.resume", ACCESS_PUBLIC, "token:long!",
     "Signs a connection in with a token from an earlier sign-in.", session_resume},
    {"session.accept", ACCESS_PUBLIC,
     "institution:text! code:text! login:text! password:long! locale:text agent:text",
     "Accepts an invitation: makes the account and signs in.", session_accept},
    {"session.logout", ACCESS_SIGNED_IN, "", "Ends this session.", session_logout},
    {"session.change_password", ACCESS_SIGNED_IN, "old:long! new:long!",
     "Changes the own password and ends every other session.", session_change_password},
};
const struct core_table hm_methods_session = {rows, sizeof rows / sizeof *rows};
