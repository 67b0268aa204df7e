// Attacks on signing in: fixed sessions, guesses, revocation while something is under way, the second factor,
// and what is kept of all this. The clock stands still and is moved by hand.
#include "authenticator.h"
#include "engine/internal.h"
#include "engine_fixture.h"

#include <ctype.h>
#include <sodium.h>

// Argon2id of "hamroh-test" at its lowest cost.
#define CHEAP "hamroh-test"
#define CHEAP_HASH                                                                                           \
    "$argon2id$v=19$m=8,t=1,p=1$eML5yK17XDFNPoEbKgf/Mw$SvxX6RgCPlPsnCVNnYSMFzG3iwTUYk7FSELd0L8zBkk"

static void cheap_account(struct house *h, const char *login, const char *person, const char *roles) {
    char params[512];
    snprintf(params, sizeof params,
             "{\"login\":\"%s\",\"password_hash\":\"" CHEAP_HASH "\",\"person\":\"%s\",\"roles\":%s}", login,
             person, roles);
    assert_ok(ask(h, h->control, "account.create", params));
}

static enum hm_code login(struct house *h, struct hm_caller *c, const char *name, const char *password,
                          const char *code) {
    char params[512];
    snprintf(params, sizeof params,
             "{\"institution\":\"i\",\"login\":\"%s\",\"password\":\"%s\",\"code\":\"%s\"}", name, password,
             code);
    return ask(h, c, "session.login", params);
}

static struct hm_caller *enter(struct house *h, const char *name) {
    struct hm_caller *c = stranger();
    assert_ok(login(h, c, name, CHEAP, ""));
    assert_non_null(c->session);
    return c;
}

static struct hm_json result(void) {
    struct hm_json value;
    assert_true(hm_json_parse(hm_str_of(last_reply.result), &value, NULL));
    return value;
}

static void text_of(const char *name, char *out, size_t cap) {
    assert_true(hm_json_get_text(result(), name, out, cap));
}

static void advance(struct house *h, int64_t ms) {
    char params[64];
    snprintf(params, sizeof params, "{\"ms\":%lld}", (long long)ms);
    assert_ok(ask(h, h->control, "clock.advance", params));
}

static size_t count_of(const char *text, const char *part) {
    size_t n = 0;
    for (const char *at = text; text && (at = strstr(at, part)); at++)
        n++;
    return n;
}

// ---- the second factor --------------------------------------------------------------------------------

static enum hm_code confirm(struct house *h, struct hm_caller *c, const char *code, const char *more) {
    char params[128];
    snprintf(params, sizeof params, "{\"code\":\"%s\"%s}", code, more);
    return ask(h, c, "session.totp_confirm", params);
}

static void read_codes(struct phone *p) {
    struct hm_json list, item;
    size_t n = 0;
    assert_true(hm_json_get(result(), "recovery", &list));
    struct hm_json_iter it = hm_json_iter(list);
    while (hm_json_next(&it, NULL, &item))
        snprintf(p->codes[n++], 20, "%.*s", (int)item.raw.len - 2, item.raw.ptr + 1);
    assert_int_equal(n, RECOVERY_CODES);
}

static struct phone set_up(struct house *h, struct hm_caller *c) {
    struct phone p;
    assert_ok(ask(h, c, "session.totp_begin", "{}"));
    text_of("secret", p.text, sizeof p.text);
    phone_read(&p, p.text);
    assert_ok(confirm(h, c, shown(&p, 0), ""));
    read_codes(&p);
    return p;
}

static enum hm_code renew(struct house *h, struct hm_caller *c, const char *code) {
    char params[128];
    snprintf(params, sizeof params, "{\"code\":\"%s\",\"idem\":\"renew-%s\"}", code, code);
    return ask(h, c, "session.totp_renew", params);
}

// ---- sessions -----------------------------------------------------------------------------------------

static void a_token_is_never_taken_from_a_client(void **state) {
    struct house *h = *state;
    char token[200], other[200], params[512];
    cheap_account(h, "ann", "p1", "[]");
    struct hm_caller *c = stranger();
    const char *fixed = "i.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    snprintf(params, sizeof params,
             "{\"institution\":\"i\",\"login\":\"ann\",\"password\":\"" CHEAP "\",\"token\":\"%s\"}", fixed);
    assert_int_equal(ask(h, c, "session.login", params), HM_PARAMS);
    snprintf(params, sizeof params, "{\"token\":\"%s\"}", fixed);
    assert_int_equal(ask(h, c, "session.resume", params), HM_UNAUTHENTICATED);
    // Who signs in on a connection that somebody else had signed in gets a session of their own.
    assert_ok(login(h, c, "ann", CHEAP, ""));
    text_of("token", token, sizeof token);
    struct hm_caller *d = stranger();
    snprintf(params, sizeof params, "{\"token\":\"%s\"}", token);
    assert_ok(ask(h, d, "session.resume", params));
    struct hm_session *before = hm_session_ref(d->session);
    assert_ok(login(h, d, "ann", CHEAP, ""));
    text_of("token", other, sizeof other);
    assert_string_not_equal(token, other);
    assert_ptr_not_equal(before, d->session);
    assert_ptr_equal(before, c->session);
    hm_session_unref(before);
    hm_caller_unref(c);
    hm_caller_unref(d);
}

static void a_sign_in_under_way_ends_with_the_sessions_of_the_account(void **state) {
    struct house *h = *state;
    char params[256];
    struct reply late;
    account(h, "ann", "p1", "[]"); // at full cost: the password takes longer than what follows
    struct hm_caller *a = sign_in(h, "ann"), *thief = stranger();
    call_as(h, thief, "session.login",
            "{\"institution\":\"i\",\"login\":\"ann\",\"password\":\"" PASSWORD "\"}", &late);
    snprintf(params, sizeof params, "{\"account\":\"%s\"}", a->session->account);
    assert_ok(ask(h, h->control, "account.sign_out", params));
    assert_false(late.there);
    await(h, &late);
    assert_int_equal(late.code, HM_UNAUTHENTICATED);
    assert_null(thief->session);
    assert_int_equal(ask(h, a, "session.list", "{}"), HM_UNAUTHENTICATED);
    reply_free(&late);
    hm_caller_unref(a);
    hm_caller_unref(thief);
}

static void commit_begins(struct institution *inst) {
    hm_committer_flush(inst);
    for (bool taken = false; !taken;) {
        pthread_mutex_lock(&inst->committer.lock);
        taken = !inst->committer.head;
        pthread_mutex_unlock(&inst->committer.lock);
    }
}

// In the order of commits: the session, then the end of all that its method could see, which it could not
// yet.
static void a_sign_in_in_the_same_moment_ends_too(void **state) {
    struct house *h = *state;
    char params[256];
    cheap_account(h, "ann", "p1", "[]");
    struct hm_caller *c = enter(h, "ann");
    struct institution *inst = hm_live_of(c->session)->institution;
    snprintf(params, sizeof params, "{\"account\":\"%s\"}", c->session->account);
    hm_caller_unref(c);
    for (int i = 0; i < 40; i++) {
        struct reply in, out;
        c = stranger();
        call_as(h, c, "session.login", "{\"institution\":\"i\",\"login\":\"ann\",\"password\":\"" CHEAP "\"}",
                &in);
        while (!inst->committer.staged && !in.there)
            ev_run(h->loop, EVRUN_NOWAIT);
        if (i % 2) commit_begins(inst); // in one batch with what follows, or in two
        call_as(h, h->control, "account.sign_out", params, &out);
        await(h, &in);
        await(h, &out);
        assert_int_equal(out.code, HM_OK);
        spin(h, NULL, 0.005);
        assert_int_equal(ask(h, c, "echo", "{}"), HM_UNAUTHENTICATED);
        reply_free(&in);
        reply_free(&out);
        hm_caller_unref(c);
    }
}

static void ending_the_others_keeps_this_one_also_after_a_restart(void **state) {
    struct house *h = *state;
    char token[200], params[256];
    cheap_account(h, "ann", "p1", "[]");
    cheap_account(h, "bob", "p2", "[]");
    struct hm_caller *a = enter(h, "ann");
    text_of("token", token, sizeof token);
    struct hm_caller *b = enter(h, "ann"), *bob = enter(h, "bob");
    assert_ok(ask(h, a, "session.list", "{}"));
    assert_int_equal(count_of(last_reply.result, "\"id\":"), 2);
    assert_ok(ask(h, a, "session.revoke_others", "{}"));
    spin(h, NULL, 0.05);
    assert_string_equal(h->heard.ended.data, "ann revoked;");
    assert_int_equal(ask(h, b, "session.list", "{}"), HM_UNAUTHENTICATED);
    assert_ok(ask(h, bob, "session.list", "{}"));
    assert_ok(ask(h, a, "session.list", "{}"));
    assert_int_equal(count_of(last_reply.result, "\"id\":"), 1);
    assert_false(has(last_reply.result, a->session->token_hash));
    hm_caller_unref(a);
    hm_caller_unref(b);
    hm_caller_unref(bob);
    house_close(h);
    house_open(h);
    a = stranger();
    snprintf(params, sizeof params, "{\"token\":\"%s\"}", token);
    assert_ok(ask(h, a, "session.resume", params));
    hm_caller_unref(a);
}

static void only_administrators_end_the_sessions_of_others(void **state) {
    struct house *h = *state;
    char params[256];
    cheap_account(h, "ann", "p1", "[\"coordinator\"]");
    cheap_account(h, "adm", "p2", "[\"administrator\"]");
    struct hm_caller *a = enter(h, "ann"), *adm = enter(h, "adm");
    snprintf(params, sizeof params, "{\"account\":\"%s\"}", a->session->account);
    assert_int_equal(ask(h, a, "account.sign_out", params), HM_FORBIDDEN);
    assert_int_equal(ask(h, adm, "account.sign_out", "{\"account\":\"nobody\"}"), HM_NOT_FOUND);
    assert_ok(ask(h, adm, "account.sign_out", params));
    assert_int_equal(ask(h, a, "session.list", "{}"), HM_UNAUTHENTICATED);
    assert_ok(ask(h, adm, "session.list", "{}"));
    hm_caller_unref(a);
    hm_caller_unref(adm);
}

static void a_revoked_session_commits_nothing_that_was_under_way(void **state) {
    struct house *h = *state;
    struct reply slow[2], put[20];
    char params[128];
    cheap_account(h, "ann", "p1", "[]");
    struct hm_caller *a = enter(h, "ann"), *b = enter(h, "ann");
    assert_ok(ask(h, b, "echo", "{}")); // a worker is there
    for (int i = 0; i < 2; i++)
        call_as(h, b, "slow", "{\"ms\":300}", &slow[i]);
    for (int i = 0; i < 20; i++) {
        snprintf(params, sizeof params, "{\"id\":\"n%d\",\"audience\":\"institution\"}", i);
        call_as(h, b, "put", params, &put[i]);
    }
    assert_ok(ask(h, a, "session.revoke_others", "{}"));
    for (int i = 0; i < 2; i++) {
        await(h, &slow[i]);
        assert_int_equal(slow[i].code, HM_UNAUTHENTICATED);
        reply_free(&slow[i]);
    }
    for (int i = 0; i < 20; i++) {
        await(h, &put[i]);
        assert_int_equal(put[i].code, HM_UNAUTHENTICATED);
        snprintf(params, sizeof params, "{\"type\":\"note\",\"id\":\"n%d\"}", i);
        assert_int_equal(ask(h, a, "record.get", params), HM_NOT_FOUND);
        reply_free(&put[i]);
    }
    hm_caller_unref(a);
    hm_caller_unref(b);
}

static void a_session_that_nobody_uses_ends_by_itself(void **state) {
    struct house *h = *state;
    cheap_account(h, "ann", "p1", "[]");
    struct hm_caller *a = enter(h, "ann");
    advance(h, 12 * 3600000LL - 1);
    spin(h, NULL, 0.3);
    assert_int_equal(h->heard.ended.len, 0);
    advance(h, 2);
    for (int i = 0; i < 100 && !h->heard.ended.len; i++) // long before it is looked for anyhow
        spin(h, NULL, 0.1);
    assert_string_equal(h->heard.ended.data, "ann expired;");
    assert_int_equal(ask(h, a, "session.list", "{}"), HM_UNAUTHENTICATED);
    hm_caller_unref(a);
}

static void expired_sessions_and_too_many_go_with_the_next_sign_in(void **state) {
    struct house *h = *state;
    cheap_account(h, "ann", "p1", "[]");
    for (int i = 0; i < 3; i++)
        hm_caller_unref(enter(h, "ann"));
    advance(h, 31LL * 86400000); // nobody used them
    struct hm_caller *first = enter(h, "ann");
    assert_int_equal(records(h, "session"), 1);
    advance(h, 1000);
    for (int i = 0; i < 200; i++)
        hm_caller_unref(enter(h, "ann"));
    spin(h, NULL, 0.05);
    assert_int_equal(records(h, "session"), 200);
    assert_int_equal(ask(h, first, "session.list", "{}"), HM_UNAUTHENTICATED); // unused for longest
    hm_caller_unref(first);
}

// ---- guessing -----------------------------------------------------------------------------------------

static void an_unknown_login_costs_the_same_work(void **state) {
    struct house *h = *state;
    static const char *const who[] = {"ann", "nobody", "closed"};
    char params[256], answers[3][256];
    cheap_account(h, "ann", "p1", "[]");
    cheap_account(h, "closed", "p2", "[]");
    struct hm_caller *c = enter(h, "closed");
    snprintf(params, sizeof params, "{\"account\":\"%s\",\"state\":\"closed\"}", c->session->account);
    assert_ok(ask(h, h->control, "account.set_state", params));
    hm_caller_unref(c);
    c = stranger();
    for (size_t i = 0; i < 3; i++) {
        struct reply r;
        snprintf(params, sizeof params,
                 "{\"institution\":\"i\",\"login\":\"%s\",\"password\":\"%s\",\"code\":\"123456\"}", who[i],
                 i == 2 ? CHEAP : "wrong password");
        call_as(h, c, "session.login", params, &r);
        assert_false(r.there);
        await(h, &r); // it came back through the pool: all else answers before the call returns
        assert_int_equal(r.code, HM_UNAUTHENTICATED);
        snprintf(answers[i], sizeof answers[i], "%s|%s", r.message, r.data);
        assert_string_equal(answers[0], answers[i]);
        reply_free(&r);
    }
    hm_caller_unref(c);
}

static void the_right_password_is_refused_too_while_an_address_waits(void **state) {
    struct house *h = *state;
    cheap_account(h, "ann", "p1", "[]");
    struct hm_caller *c = stranger(), *d = stranger();
    snprintf(d->address, sizeof d->address, "192.0.2.7");
    for (int i = 0; i < 6; i++)
        assert_int_equal(login(h, c, "ann", "wrong password", ""), HM_UNAUTHENTICATED);
    assert_int_equal(login(h, c, "ann", CHEAP, ""), HM_TOO_MANY);
    assert_has(last_reply.data, "retry_after");
    // Neither does another name of the same login get around it, nor a login that is none.
    assert_int_equal(login(h, c, " ANN ", CHEAP, ""), HM_TOO_MANY);
    for (int i = 0; i < 6; i++)
        assert_int_equal(login(h, c, "nobody", "wrong password", ""), HM_UNAUTHENTICATED);
    assert_int_equal(login(h, c, "nobody", "wrong password", ""), HM_TOO_MANY);
    assert_ok(login(h, d, "ann", CHEAP, "")); // her own device elsewhere
    hm_caller_unref(c);
    hm_caller_unref(d);
}

// ---- the second factor --------------------------------------------------------------------------------

static void a_secret_counts_once_a_code_of_it_was_seen(void **state) {
    struct house *h = *state;
    struct phone p;
    cheap_account(h, "ann", "p1", "[\"coordinator\"]");
    struct hm_caller *c = enter(h, "ann"), *d = stranger();
    assert_int_equal(confirm(h, c, "123456", ""), HM_CONFLICT);
    assert_ok(ask(h, c, "session.totp_begin", "{}"));
    assert_has(last_reply.result, "\"uri\":\"otpauth://totp/Hamroh%20i:ann?secret=");
    text_of("secret", p.text, sizeof p.text);
    phone_read(&p, p.text);
    assert_int_equal(confirm(h, c, "00000", ""), HM_PARAMS);
    assert_ok(login(h, d, "ann", CHEAP, "")); // not yet
    hm_caller_unref(d);
    d = stranger();
    assert_ok(confirm(h, c, shown(&p, 1), ""));
    assert_int_equal(count_of(last_reply.result, "-"), 30); // ten codes of four groups
    assert_int_equal(login(h, d, "ann", CHEAP, ""), HM_UNAUTHENTICATED);
    assert_string_equal(last_reply.data, "{\"need\":\"code\"}");
    assert_int_equal(ask(h, c, "session.totp_begin", "{}"), HM_CONFLICT);
    assert_ok(ask(h, c, "session.list", "{}"));
    assert_has(last_reply.result, "\"totp\":{\"on\":true,\"since\":");
    assert_has(last_reply.result, "\"recovery_left\":10}");
    hm_caller_unref(c);
    hm_caller_unref(d);
}

static void setting_up_ends_the_sessions_begun_without_it(void **state) {
    struct house *h = *state;
    cheap_account(h, "ann", "p1", "[]");
    struct hm_caller *c = enter(h, "ann"), *thief = enter(h, "ann");
    set_up(h, c);
    assert_int_equal(ask(h, thief, "session.list", "{}"), HM_UNAUTHENTICATED);
    assert_ok(ask(h, c, "session.list", "{}"));
    hm_caller_unref(c);
    hm_caller_unref(thief);
}

static void the_code_is_asked_for_after_the_right_password_only(void **state) {
    struct house *h = *state;
    char without[256];
    cheap_account(h, "ann", "p1", "[]");
    cheap_account(h, "bob", "p2", "[]");
    struct hm_caller *c = enter(h, "ann"), *d = stranger();
    struct phone p = set_up(h, c);
    advance(h, 60000);
    assert_int_equal(login(h, d, "bob", "wrong password", ""), HM_UNAUTHENTICATED);
    snprintf(without, sizeof without, "%s|%s", last_reply.message, last_reply.data);
    for (int i = 0; i < 2; i++) { // also with the right code
        assert_int_equal(login(h, d, "ann", "wrong password", i ? shown(&p, 0) : ""), HM_UNAUTHENTICATED);
        char with[256];
        snprintf(with, sizeof with, "%s|%s", last_reply.message, last_reply.data);
        assert_string_equal(without, with);
    }
    assert_ok(login(h, d, "ann", CHEAP, shown(&p, 0))); // which was not used up by that
    hm_caller_unref(c);
    hm_caller_unref(d);
}

static void a_code_signs_in_once_also_after_a_restart(void **state) {
    struct house *h = *state;
    char code[16], spaced[16];
    cheap_account(h, "ann", "p1", "[]");
    struct hm_caller *c = enter(h, "ann"), *d = stranger();
    struct phone p = set_up(h, c);
    snprintf(code, sizeof code, "%s", shown(&p, 0));
    assert_int_equal(login(h, d, "ann", CHEAP, code), HM_UNAUTHENTICATED); // it confirmed the set-up
    assert_string_equal(last_reply.data, "{\"need\":\"code\"}");
    advance(h, 30000);
    snprintf(code, sizeof code, "%s", shown(&p, 0));
    snprintf(spaced, sizeof spaced, "%.3s %.3s", code, code + 3);
    assert_ok(login(h, d, "ann", CHEAP, spaced));
    assert_int_equal(login(h, d, "ann", CHEAP, code), HM_UNAUTHENTICATED);
    hm_caller_unref(c);
    hm_caller_unref(d);
    house_close(h);
    house_open(h);
    d = stranger();
    assert_int_equal(login(h, d, "ann", CHEAP, code), HM_UNAUTHENTICATED);
    assert_ok(login(h, d, "ann", CHEAP, shown(&p, 1)));
    hm_caller_unref(d);
}

static void of_two_sign_ins_with_one_code_at_once_one_succeeds(void **state) {
    struct house *h = *state;
    char params[256], recovery[256];
    cheap_account(h, "ann", "p1", "[]");
    struct hm_caller *c = enter(h, "ann");
    struct phone p = set_up(h, c);
    advance(h, 60000);
    snprintf(params, sizeof params,
             "{\"institution\":\"i\",\"login\":\"ann\",\"password\":\"" CHEAP "\",\"code\":\"%s\"}",
             shown(&p, 0));
    snprintf(recovery, sizeof recovery,
             "{\"institution\":\"i\",\"login\":\"ann\",\"password\":\"" CHEAP "\",\"code\":\"%s\"}",
             p.codes[0]);
    for (int round = 0; round < 2; round++) {
        struct reply r[4];
        struct hm_caller *callers[4];
        int ok = 0, refused = 0;
        for (int i = 0; i < 4; i++) {
            callers[i] = stranger();
            call_as(h, callers[i], "session.login", round ? recovery : params, &r[i]);
        }
        for (int i = 0; i < 4; i++) {
            await(h, &r[i]);
            ok += r[i].code == HM_OK;
            refused += r[i].code == HM_UNAUTHENTICATED;
            reply_free(&r[i]);
            hm_caller_unref(callers[i]);
        }
        assert_int_equal(ok, 1);
        assert_int_equal(refused, 3);
    }
    hm_caller_unref(c);
}

static void each_recovery_code_signs_in_once(void **state) {
    struct house *h = *state;
    char typed[20];
    cheap_account(h, "ann", "p1", "[]");
    struct hm_caller *c = enter(h, "ann"), *d = stranger();
    struct phone p = set_up(h, c);
    for (size_t i = 0; i < RECOVERY_CODES; i++) {
        for (size_t k = 0; k < sizeof typed; k++) // as somebody types it
            typed[k] = (char)(p.codes[i][k] == '-' ? ' ' : tolower(p.codes[i][k]));
        assert_ok(login(h, d, "ann", CHEAP, typed));
        char left[32];
        snprintf(left, sizeof left, "\"recovery_left\":%zu}", RECOVERY_CODES - 1 - i);
        assert_has(last_reply.result, left);
        if (i % 3 == 0) assert_int_equal(login(h, d, "ann", CHEAP, p.codes[i]), HM_UNAUTHENTICATED);
    }
    advance(h, 60000);
    assert_ok(login(h, d, "ann", CHEAP, shown(&p, 0)));
    assert_false(has(last_reply.result, "recovery_left"));
    hm_caller_unref(c);
    hm_caller_unref(d);
}

static void new_recovery_codes_end_those_before(void **state) {
    struct house *h = *state;
    cheap_account(h, "ann", "p1", "[]");
    struct hm_caller *c = enter(h, "ann"), *d = stranger();
    assert_int_equal(renew(h, d, "123456"), HM_UNAUTHENTICATED);
    assert_int_equal(renew(h, c, "123456"), HM_CONFLICT); // there is no second factor
    struct phone old = set_up(h, c), now = old;
    assert_int_equal(renew(h, c, shown(&old, 0)), HM_PARAMS); // it confirmed the set-up
    assert_has(last_reply.data, "\"path\":\"code\"");
    advance(h, 60000);
    assert_ok(renew(h, c, shown(&old, 0)));
    read_codes(&now);
    assert_int_equal(login(h, d, "ann", CHEAP, shown(&old, 0)), HM_UNAUTHENTICATED); // good once
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(login(h, d, "ann", CHEAP, old.codes[i]), HM_UNAUTHENTICATED);
    assert_ok(login(h, d, "ann", CHEAP, now.codes[9]));
    assert_has(last_reply.result, "\"recovery_left\":9}");
    assert_ok(renew(h, c, now.codes[0])); // the session that was there before is still there
    assert_ok(ask(h, c, "session.list", "{}"));
    assert_has(last_reply.result, "\"recovery_left\":10}");
    assert_ok(ask(h, c, "session.history", "{}"));
    assert_int_equal(count_of(last_reply.result, "\"outcome\":\"totp_renew\""), 2);
    hm_caller_unref(c);
    hm_caller_unref(d);
}

static void guesses_at_codes_are_limited_by_account_from_wherever(void **state) {
    struct house *h = *state;
    cheap_account(h, "ann", "p1", "[]");
    struct hm_caller *c = enter(h, "ann");
    struct phone p = set_up(h, c);
    struct hm_caller *d = stranger();
    enum hm_code code = HM_OK;
    int tries = 0;
    for (int i = 0; i < 12; i++) // to be asked for a code is no guess
        assert_int_equal(login(h, d, "ann", CHEAP, ""), HM_UNAUTHENTICATED);
    for (; tries < 30 && code != HM_TOO_MANY; tries++) {
        snprintf(d->address, sizeof d->address, "192.0.2.%d", tries); // a new address each time
        code = login(h, d, "ann", CHEAP, "000000x");
    }
    assert_int_equal(code, HM_TOO_MANY);
    assert_int_equal(tries, 11);
    advance(h, 60000);
    snprintf(d->address, sizeof d->address, "198.51.100.1");
    assert_int_equal(login(h, d, "ann", CHEAP, shown(&p, 0)), HM_TOO_MANY); // the right one too
    assert_has(last_reply.data, "retry_after");
    assert_int_equal(renew(h, c, p.codes[0]), HM_TOO_MANY); // a session is no way around
    hm_caller_unref(c);
    hm_caller_unref(d);
}

static void turning_it_off_needs_password_and_code(void **state) {
    struct house *h = *state;
    char params[256];
    cheap_account(h, "ann", "p1", "[]");
    struct hm_caller *c = enter(h, "ann"), *d = stranger();
    assert_int_equal(ask(h, c, "session.totp_disable", "{\"password\":\"" CHEAP "\",\"code\":\"123456\"}"),
                     HM_CONFLICT);
    struct phone p = set_up(h, c);
    advance(h, 60000);
    snprintf(params, sizeof params, "{\"password\":\"wrong password\",\"code\":\"%s\"}", shown(&p, 0));
    assert_int_equal(ask(h, c, "session.totp_disable", params), HM_PARAMS);
    assert_has(last_reply.data, "\"path\":\"password\"");
    assert_int_equal(ask(h, c, "session.totp_disable", "{\"password\":\"" CHEAP "\",\"code\":\"no-code\"}"),
                     HM_PARAMS);
    assert_has(last_reply.data, "\"path\":\"code\"");
    snprintf(params, sizeof params, "{\"password\":\"" CHEAP "\",\"code\":\"%s\"}", shown(&p, 0));
    assert_ok(ask(h, c, "session.totp_disable", params));
    assert_ok(login(h, d, "ann", CHEAP, ""));
    hm_caller_unref(c);
    hm_caller_unref(d);
}

static void an_administrator_resets_it_and_the_audit_says_so(void **state) {
    struct house *h = *state;
    char params[256];
    cheap_account(h, "ann", "p1", "[]");
    cheap_account(h, "adm", "p2", "[\"administrator\"]");
    struct hm_caller *c = enter(h, "ann"), *adm = enter(h, "adm"), *d = stranger();
    set_up(h, c);
    assert_ok(ask(h, adm, "account.list", "{}"));
    assert_int_equal(count_of(last_reply.result, "\"totp\":true"), 1);
    snprintf(params, sizeof params, "{\"account\":\"%s\"}", c->session->account);
    assert_int_equal(ask(h, c, "account.reset_totp", params), HM_FORBIDDEN);
    assert_int_equal(ask(h, adm, "account.reset_totp", "{\"account\":\"nobody\"}"), HM_NOT_FOUND);
    assert_ok(ask(h, adm, "account.reset_totp", params));
    assert_int_equal(ask(h, adm, "account.reset_totp", params), HM_CONFLICT);
    assert_ok(ask(h, adm, "account.list", "{}"));
    assert_int_equal(count_of(last_reply.result, "\"totp\":false"), 2);
    assert_ok(login(h, d, "ann", CHEAP, ""));
    assert_ok(ask(h, adm, "audit.list", "{\"whose\":\"p1\"}"));
    assert_has(last_reply.result, "\"who\":\"p2\"");
    assert_has(last_reply.result, "\"field\":\"totp\"");
    assert_ok(ask(h, d, "session.history", "{}"));
    assert_has(last_reply.result, "\"outcome\":\"totp_reset\"");
    hm_caller_unref(c);
    hm_caller_unref(adm);
    hm_caller_unref(d);
}

static void staff_without_it_may_do_nothing_but_set_it_up_when_it_is_required(void **state) {
    struct house *h = *state;
    char params[256];
    cheap_account(h, "adm", "p1", "[\"administrator\"]");
    cheap_account(h, "ann", "p2", "[\"student\"]");
    house_close(h);
    h->settings.staff_totp = true;
    house_open(h);
    struct hm_caller *ann = enter(h, "ann"), *adm = enter(h, "adm");
    assert_has(last_reply.result, "\"need\":\"totp\"");
    assert_has(last_reply.result, "\"roles\":[]");
    assert_has(last_reply.result, "\"principals\":[\"public\"]");
    assert_ok(ask(h, ann, "echo", "{}"));
    static const char *const refused[] = {"echo", "hello", "account.list", "record.list", "no.such"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        assert_int_equal(ask(h, adm, refused[i], "{}"), HM_FORBIDDEN);
        assert_string_equal(last_reply.data, "{\"need\":\"totp\"}");
    }
    assert_ok(ask(h, adm, "session.list", "{}"));
    hm_buf_clear(&h->heard.changes);
    set_up(h, adm);
    spin(h, NULL, 0.05);
    assert_has(h->heard.changes.data, "principals;");
    assert_ok(ask(h, adm, "account.list", "{}"));
    assert_ok(ask(h, adm, "echo", "{}"));
    // Who becomes staff is asked at once, without signing in again.
    snprintf(params, sizeof params, "{\"account\":\"%s\",\"roles\":[\"coach\"]}", ann->session->account);
    assert_ok(ask(h, adm, "account.set_roles", params));
    assert_int_equal(ask(h, ann, "echo", "{}"), HM_FORBIDDEN);
    hm_caller_unref(ann);
    hm_caller_unref(adm);
}

// ---- what is kept -------------------------------------------------------------------------------------

static bool file_holds(const char *path, const void *bytes, size_t len) {
    struct hm_buf text = {0};
    bool found = hm_read_file(path, 1u << 30, &text, NULL) && memmem(text.data, text.len, bytes, len);
    hm_buf_free(&text);
    return found;
}

static bool kept(struct house *h, const void *bytes, size_t len) {
    static const char *const files[] = {"data/data.mdb", "keyring/data.mdb"};
    bool found = false;
    for (size_t i = 0; i < 2; i++) {
        char path[200];
        snprintf(path, sizeof path, "%s/institutions/i/%s", h->dir, files[i]);
        found = found || file_holds(path, bytes, len);
    }
    return found;
}

static void secrets_and_tokens_are_in_no_record_not_even_for_a_repeated_call(void **state) {
    struct house *h = *state;
    struct phone p;
    char token[200], code[32];
    cheap_account(h, "ann", "p1", "[]");
    struct hm_caller *c = enter(h, "ann");
    assert_ok(ask(h, c, "session.login",
                  "{\"institution\":\"i\",\"login\":\"ann\",\"password\":\"" CHEAP "\",\"idem\":\"one\"}"));
    text_of("token", token, sizeof token);
    assert_ok(ask(h, c, "session.totp_begin", "{\"idem\":\"two\"}"));
    text_of("secret", p.text, sizeof p.text);
    phone_read(&p, p.text);
    assert_ok(confirm(h, c, shown(&p, 0), ",\"idem\":\"three\""));
    read_codes(&p);
    snprintf(code, sizeof code, "%s", p.codes[0]);
    advance(h, 60000);
    assert_ok(renew(h, c, shown(&p, 0)));
    read_codes(&p);
    house_close(h);
    assert_true(kept(h, "\"factor\"", 8) || kept(h, "factor", 6)); // the scan sees records
    assert_true(kept(h, c->session->account, strlen(c->session->account)));
    assert_false(kept(h, p.secret, sizeof p.secret));
    assert_false(kept(h, p.text, strlen(p.text)));
    assert_false(kept(h, code, strlen(code)));
    assert_false(kept(h, p.codes[0], strlen(p.codes[0])));
    assert_false(kept(h, strchr(token, '.') + 1, 43));
    house_open(h);
    hm_caller_unref(c);
}

static void the_history_tells_what_was_done_and_nothing_that_was_typed(void **state) {
    struct house *h = *state;
    cheap_account(h, "ann", "p1", "[]");
    cheap_account(h, "bob", "p2", "[]");
    struct hm_caller *c = stranger(), *bob = enter(h, "bob");
    snprintf(c->address, sizeof c->address, "203.0.113.77");
    assert_int_equal(ask(h, c, "session.login",
                         "{\"institution\":\"i\",\"login\":\"ann\",\"password\":\"typed-by-mistake\","
                         "\"agent\":\"call 555\"}"),
                     HM_UNAUTHENTICATED);
    spin(h, NULL, 0.4);
    advance(h, 1000);
    assert_ok(ask(h, c, "session.login",
                  "{\"institution\":\"i\",\"login\":\"ann\",\"password\":\"" CHEAP
                  "\",\"agent\":\"Firefox, Android\"}"));
    struct phone p = set_up(h, c);
    advance(h, 60000);
    snprintf(c->address, sizeof c->address, "2001:db8:1:2::3");
    assert_int_equal(login(h, c, "ann", CHEAP, "000000x"), HM_UNAUTHENTICATED);
    spin(h, NULL, 0.4);
    assert_ok(login(h, c, "ann", CHEAP, shown(&p, 0)));
    assert_ok(ask(h, c, "session.history", "{}"));
    const char *r = last_reply.result;
    assert_int_equal(count_of(r, "\"outcome\":\"in\""), 2);
    assert_int_equal(count_of(r, "\"outcome\":\"failed\",\"network\":\"203.0.113.0/24\""), 1);
    assert_int_equal(count_of(r, "\"outcome\":\"code\",\"network\":\"2001:db8:1::/48\""), 1);
    assert_int_equal(count_of(r, "\"outcome\":\"totp_on\""), 1);
    assert_has(r, "\"agent\":\"Firefox, Android\"");
    assert_false(has(r, "203.0.113.77"));
    assert_false(has(r, "typed-by-mistake"));
    assert_false(has(r, "555"));
    assert_true(strstr(r, "\"in\"") < strstr(r, "\"code\"")); // newest first
    assert_true(strstr(r, "\"totp_on\"") < strstr(r, "\"failed\""));
    assert_ok(ask(h, bob, "session.history", "{}"));
    assert_int_equal(count_of(last_reply.result, "\"outcome\""), 1);
    hm_caller_unref(c);
    hm_caller_unref(bob);
}

static void the_history_is_bounded_and_attempts_push_out_nothing(void **state) {
    struct house *h = *state;
    cheap_account(h, "ann", "p1", "[]");
    char address[32], id[32];
    struct hm_caller *c = enter(h, "ann");
    for (int hour = 0; hour < 6; hour++) { // attempts from many addresses, ten an hour are kept
        for (int i = 0; i < 12; i++) {
            snprintf(address, sizeof address, "192.0.%d.%d", hour, i);
            hm_history_later(hm_live_of(c->session)->institution, c->session->account, "p1", "failed",
                             address);
            hm_history_flush(h->engine);
            snprintf(id, sizeof id, "{\"id\":\"n%d-%d\"}", hour, i);
            assert_ok(ask(h, c, "put", id)); // a commit later: what was staged before is there
        }
        assert_ok(ask(h, c, "session.history", "{}"));
        size_t attempts = count_of(last_reply.result, "\"failed\"");
        assert_int_equal(attempts, hour == 0 ? 10 : 20);
        assert_int_equal(count_of(last_reply.result, "\"in\""), 1);
        advance(h, 3600001);
    }
    for (int i = 0; i < 60; i++) {
        advance(h, 1000);
        hm_caller_unref(enter(h, "ann"));
    }
    assert_ok(ask(h, c, "session.history", "{}"));
    assert_true(count_of(last_reply.result, "\"outcome\"") <= 50);
    assert_true(records(h, "sign_in") <= 50);
    // After 90 days they go, although nobody signs in.
    hm_caller_unref(c);
    advance(h, 91LL * 86400000);
    for (int i = 0; i < 300 && records(h, "sign_in"); i++)
        spin(h, NULL, 0.1);
    assert_int_equal(records(h, "sign_in"), 0);
}

int main(int argc, char **argv) {
    FAKE_WORKER_MAIN(argc, argv);
    hm_clock_manual(1800000000000);
#define TEST(name) cmocka_unit_test_setup_teardown(name, house_setup, house_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_token_is_never_taken_from_a_client),
        TEST(a_sign_in_under_way_ends_with_the_sessions_of_the_account),
        TEST(a_sign_in_in_the_same_moment_ends_too),
        TEST(ending_the_others_keeps_this_one_also_after_a_restart),
        TEST(only_administrators_end_the_sessions_of_others),
        TEST(a_revoked_session_commits_nothing_that_was_under_way),
        TEST(a_session_that_nobody_uses_ends_by_itself),
        TEST(expired_sessions_and_too_many_go_with_the_next_sign_in),
        TEST(an_unknown_login_costs_the_same_work),
        TEST(the_right_password_is_refused_too_while_an_address_waits),
        TEST(a_secret_counts_once_a_code_of_it_was_seen),
        TEST(setting_up_ends_the_sessions_begun_without_it),
        TEST(the_code_is_asked_for_after_the_right_password_only),
        TEST(a_code_signs_in_once_also_after_a_restart),
        TEST(of_two_sign_ins_with_one_code_at_once_one_succeeds),
        TEST(each_recovery_code_signs_in_once),
        TEST(new_recovery_codes_end_those_before),
        TEST(guesses_at_codes_are_limited_by_account_from_wherever),
        TEST(turning_it_off_needs_password_and_code),
        TEST(an_administrator_resets_it_and_the_audit_says_so),
        TEST(staff_without_it_may_do_nothing_but_set_it_up_when_it_is_required),
        TEST(secrets_and_tokens_are_in_no_record_not_even_for_a_repeated_call),
        TEST(the_history_tells_what_was_done_and_nothing_that_was_typed),
        TEST(the_history_is_bounded_and_attempts_push_out_nothing),
    };
    return cmocka_run_group_tests_name("engine signing in", tests, NULL, NULL);
}
