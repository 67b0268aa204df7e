// Passwords in their pool, tokens, sessions.
#include "auth/auth.h"
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pthread.h>
#include <time.h>

struct woken {
    pthread_mutex_t lock;
    pthread_cond_t some;
    unsigned count;
};

struct outcome {
    unsigned times;
    bool ok;
    char hash[HM_HASH_MAX];
};

static void wake(void *arg) {
    struct woken *w = arg;
    pthread_mutex_lock(&w->lock);
    w->count++;
    pthread_cond_signal(&w->some);
    pthread_mutex_unlock(&w->lock);
}

static void take(void *arg, bool ok, const char *hash) {
    struct outcome *o = arg;
    o->times++;
    o->ok = ok;
    if (hash) memcpy(o->hash, hash, strlen(hash) + 1);
}

static void wait_for(struct hm_pwpool *pool, struct woken *w, unsigned count) {
    pthread_mutex_lock(&w->lock);
    while (w->count < count)
        pthread_cond_wait(&w->some, &w->lock);
    pthread_mutex_unlock(&w->lock);
    hm_pwpool_collect(pool);
}

static struct woken woken_new(void) {
    return (struct woken){PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
}

static void a_password_verifies_against_its_hash_only(void **state) {
    (void)state;
    struct woken w = woken_new();
    struct outcome made = {0}, right = {0}, wrong = {0}, nobody = {0};
    struct hm_pwpool *pool = hm_pwpool_new(2, 10, wake, &w);
    assert_true(hm_pw_hash(pool, HM_LIT("correct horse"), take, &made, NULL));
    wait_for(pool, &w, 1);
    assert_true(made.ok);
    assert_true(hm_pw_hash_valid(hm_str_of(made.hash)));
    assert_true(hm_pw_verify(pool, HM_LIT("correct horse"), made.hash, take, &right, NULL));
    assert_true(hm_pw_verify(pool, HM_LIT("correct house"), made.hash, take, &wrong, NULL));
    assert_true(hm_pw_verify(pool, HM_LIT("correct horse"), NULL, take, &nobody, NULL));
    wait_for(pool, &w, 4);
    assert_true(right.ok);
    assert_false(wrong.ok);
    assert_false(nobody.ok);
    assert_int_equal(hm_pwpool_waiting(pool), 0);
    hm_pwpool_free(pool);
}

static void an_unknown_account_costs_as_much_as_a_wrong_password(void **state) {
    (void)state;
    struct woken w = woken_new();
    struct outcome made = {0}, o = {0};
    struct hm_pwpool *pool = hm_pwpool_new(1, 10, wake, &w);
    assert_true(hm_pw_hash(pool, HM_LIT("correct horse"), take, &made, NULL));
    wait_for(pool, &w, 1);
    uint64_t t0 = hm_mono_us();
    assert_true(hm_pw_verify(pool, HM_LIT("wrong"), made.hash, take, &o, NULL));
    wait_for(pool, &w, 2);
    uint64_t t1 = hm_mono_us();
    assert_true(hm_pw_verify(pool, HM_LIT("wrong"), NULL, take, &o, NULL));
    wait_for(pool, &w, 3);
    uint64_t t2 = hm_mono_us();
    assert_true((t2 - t1) * 3 > t1 - t0); // noisy machine: of the same order
    hm_pwpool_free(pool);
}

static void a_full_queue_refuses(void **state) {
    (void)state;
    struct woken w = woken_new();
    struct outcome o[3] = {{0}};
    struct hm_error err = {0};
    struct hm_pwpool *pool = hm_pwpool_new(1, 2, wake, &w);
    assert_true(hm_pw_hash(pool, HM_LIT("a"), take, &o[0], NULL));
    assert_true(hm_pw_hash(pool, HM_LIT("b"), take, &o[1], NULL));
    assert_false(hm_pw_hash(pool, HM_LIT("c"), take, &o[2], &err));
    assert_int_equal(err.code, HM_TOO_MANY);
    hm_pwpool_free(pool);
    assert_int_equal(o[0].times + o[1].times, 2); // each callback ran once, without success
    assert_int_equal(o[2].times, 0);
}

static void a_hash_that_would_cost_too_much_is_no_hash(void **state) {
    (void)state;
    assert_false(hm_pw_hash_valid(HM_LIT("")));
    assert_false(hm_pw_hash_valid(HM_LIT("plain")));
    assert_false(hm_pw_hash_valid(HM_LIT("$argon2id$v=19$m=4194304,t=2,p=1$Wryfcs3spIpSFQNCa8og8Q$"
                                         "Zla9Taix3ODuJ+7/mdJPXHsI7vMP7AtlA8INUtAOl6A")));
    assert_true(hm_pw_hash_valid(HM_LIT("$argon2id$v=19$m=65536,t=2,p=1$Wryfcs3spIpSFQNCa8og8Q$"
                                        "Zla9Taix3ODuJ+7/mdJPXHsI7vMP7AtlA8INUtAOl6A")));
}

static void a_password_needs_ten_characters_and_is_not_the_login(void **state) {
    (void)state;
    struct hm_error err = {0};
    assert_true(hm_password_acceptable(HM_LIT("ten letter"), HM_LIT("ann"), &err));
    assert_false(hm_password_acceptable(HM_LIT("nine lett"), HM_LIT("ann"), &err));
    assert_false(hm_password_acceptable(HM_LIT("ўўўўўўўўў"), HM_LIT("ann"), &err)); // 18 bytes, 9 characters
    assert_true(hm_password_acceptable(HM_LIT("ўўўўўўўўўў"), HM_LIT("ann"), &err));
    assert_false(hm_password_acceptable(HM_LIT("Annabella Smith"), HM_LIT("annabella  smith"), &err));
    assert_false(
        hm_password_acceptable(HM_LIT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), HM_LIT("ann"), &err));
    char long_text[1026];
    memset(long_text, 'a', sizeof long_text);
    assert_false(hm_password_acceptable((struct hm_str){long_text, 1025}, HM_LIT("ann"), &err));
}

static void a_token_names_its_institution_and_is_never_the_same(void **state) {
    (void)state;
    char a[HM_TOKEN_MAX], b[HM_TOKEN_MAX], name[65];
    hm_token_new("my.school", a);
    hm_token_new("my.school", b);
    assert_string_not_equal(a, b);
    assert_true(hm_token_institution(hm_str_of(a), name));
    assert_string_equal(name, "my.school");
    assert_false(hm_token_institution(HM_LIT("school.short"), name));
    assert_false(hm_token_institution(HM_LIT(""), name));
    a[12] = '!';
    assert_false(hm_token_institution(hm_str_of(a), name));
}

static void a_session_expires_by_age_and_by_idleness(void **state) {
    (void)state;
    struct hm_session *s = hm_session_new();
    const struct hm_str roles[] = {HM_LIT("coach"), HM_LIT("administrator")};
    s->expires_ms = 1000;
    s->idle_ms = 100;
    s->seen_ms = 500;
    assert_false(hm_session_expired(s, 600));
    assert_true(hm_session_expired(s, 601));
    s->seen_ms = 990;
    assert_true(hm_session_expired(s, 1000));
    hm_session_set_roles(s, roles, 1);
    assert_false(s->admin);
    hm_session_set_roles(s, roles, 2);
    assert_true(s->admin);
    assert_true(hm_session_has_role(s, HM_LIT("coach")));
    assert_false(hm_session_has_role(s, HM_LIT("student")));
    hm_session_unref(hm_session_ref(s));
    hm_session_unref(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_password_verifies_against_its_hash_only),
        cmocka_unit_test(an_unknown_account_costs_as_much_as_a_wrong_password),
        cmocka_unit_test(a_full_queue_refuses),
        cmocka_unit_test(a_hash_that_would_cost_too_much_is_no_hash),
        cmocka_unit_test(a_password_needs_ten_characters_and_is_not_the_login),
        cmocka_unit_test(a_token_names_its_institution_and_is_never_the_same),
        cmocka_unit_test(a_session_expires_by_age_and_by_idleness),
    };
    return cmocka_run_group_tests_name("auth passwords", tests, NULL, NULL);
}
