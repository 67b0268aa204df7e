// Rate limits of failed sign-ins.
#include "auth/auth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void nobody_waits_before_failing(void **state) {
    (void)state;
    struct hm_rates *r = hm_rates_new(100);
    assert_int_equal(hm_rates_check(r, "i", "ann", "1.1.1.1"), 0);
    hm_rates_free(r);
}

static void an_address_that_guesses_one_account_is_stopped(void **state) {
    (void)state;
    struct hm_rates *r = hm_rates_new(100);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(hm_rates_check(r, "i", "ann", "1.1.1.1"), 0);
        hm_rates_failed(r, "i", "ann", "1.1.1.1");
    }
    assert_true(hm_rates_check(r, "i", "ann", "1.1.1.1") > 5);
    assert_int_equal(hm_rates_check(r, "i", "bob", "1.1.1.1"), 0);
    assert_int_equal(hm_rates_check(r, "j", "ann", "1.1.1.1"), 0);
    hm_rates_free(r);
}

static void an_address_that_guesses_many_accounts_is_stopped(void **state) {
    (void)state;
    struct hm_rates *r = hm_rates_new(1000);
    char login[32];
    for (int i = 0; i < 60; i++) {
        snprintf(login, sizeof login, "u%d", i);
        hm_rates_failed(r, "i", login, "1.1.1.1");
    }
    assert_true(hm_rates_check(r, "i", "fresh", "1.1.1.1") > 0);
    assert_int_equal(hm_rates_check(r, "i", "fresh", "2.2.2.2"), 0);
    hm_rates_free(r);
}

static void strangers_cannot_lock_an_account(void **state) {
    (void)state;
    struct hm_rates *r = hm_rates_new(1000);
    char address[32];
    hm_rates_succeeded(r, "i", "ann", "9.9.9.9");
    for (int i = 0; i < 100; i++) {
        snprintf(address, sizeof address, "1.1.1.%d", i);
        hm_rates_failed(r, "i", "ann", address);
    }
    unsigned wait = hm_rates_check(r, "i", "ann", "8.8.8.8"); // her other device: slowed, not shut out
    assert_true(wait > 0 && wait <= 2);
    assert_int_equal(hm_rates_check(r, "i", "ann", "9.9.9.9"), 0);
    hm_rates_free(r);
}

static void success_forgets_the_failures_of_that_address(void **state) {
    (void)state;
    struct hm_rates *r = hm_rates_new(100);
    for (int i = 0; i < 5; i++)
        hm_rates_failed(r, "i", "ann", "1.1.1.1");
    hm_rates_succeeded(r, "i", "ann", "1.1.1.1");
    for (int i = 0; i < 5; i++)
        hm_rates_failed(r, "i", "ann", "1.1.1.1");
    assert_int_equal(hm_rates_check(r, "i", "ann", "1.1.1.1"), 0);
    hm_rates_free(r);
}

static void memory_is_bounded_and_the_oldest_key_gives_way(void **state) {
    (void)state;
    struct hm_rates *r = hm_rates_new(30);
    char login[32];
    for (int i = 0; i < 6; i++)
        hm_rates_failed(r, "i", "ann", "1.1.1.1");
    for (int i = 0; i < 100; i++) {
        snprintf(login, sizeof login, "u%d", i);
        hm_rates_failed(r, "i", login, "2.2.2.2");
    }
    assert_int_equal(hm_rates_check(r, "i", "ann", "1.1.1.1"), 0);
    hm_rates_free(r);
}

// Passwords take their time: many attempts are let in before the first of them has failed.
static void attempts_made_all_at_once_are_owed(void **state) {
    (void)state;
    struct hm_rates *r = hm_rates_new(100);
    for (int i = 0; i < 50; i++)
        assert_int_equal(hm_rates_check(r, "i", "ann", "1.1.1.1"), 0);
    for (int i = 0; i < 50; i++)
        hm_rates_failed(r, "i", "ann", "1.1.1.1");
    assert_int_equal(hm_rates_check(r, "i", "ann", "1.1.1.1"), 300); // not the 30 s of one attempt
    assert_int_equal(hm_rates_check(r, "i", "bob", "1.1.1.1"), 0);
    for (int i = 0; i < 100; i++)
        hm_rates_failed(r, "i", "bob", "1.1.1.1");
    assert_true(hm_rates_check(r, "i", "cid", "1.1.1.1") > 60);
    hm_rates_free(r);
}

static void addresses_of_one_v6_network_are_one(void **state) {
    (void)state;
    struct hm_rates *r = hm_rates_new(1000);
    char address[64];
    for (int i = 0; i < 6; i++) {
        snprintf(address, sizeof address, "2001:db8:1:2::%x", i + 1);
        hm_rates_failed(r, "i", "ann", address);
    }
    assert_true(hm_rates_check(r, "i", "ann", "2001:db8:1:2:ffff::9") > 5);
    assert_int_equal(hm_rates_check(r, "i", "ann", "2001:db8:1:3::1"), 0);
    for (int i = 0; i < 6; i++)
        hm_rates_failed(r, "i", "ann", "::ffff:1.1.1.1");
    assert_int_equal(hm_rates_check(r, "i", "ann", "::ffff:1.1.1.2"), 0);
    hm_rates_free(r);
}

static void codes_are_limited_by_account_alone(void **state) {
    (void)state;
    struct hm_rates *r = hm_rates_new(100);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(hm_rates_check_code(r, "i", "ann"), 0);
        hm_rates_failed_code(r, "i", "ann");
    }
    hm_rates_succeeded(r, "i", "ann", "1.1.1.1"); // somebody else's success gives no new guesses
    assert_true(hm_rates_check_code(r, "i", "ann") > 200);
    assert_int_equal(hm_rates_check_code(r, "i", "bob"), 0);
    assert_int_equal(hm_rates_check_code(r, "j", "ann"), 0);
    assert_int_equal(hm_rates_check(r, "i", "ann", "1.1.1.1"), 0); // without a code all is as before
    hm_rates_free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attempts_made_all_at_once_are_owed),
        cmocka_unit_test(addresses_of_one_v6_network_are_one),
        cmocka_unit_test(codes_are_limited_by_account_alone),
        cmocka_unit_test(nobody_waits_before_failing),
        cmocka_unit_test(an_address_that_guesses_one_account_is_stopped),
        cmocka_unit_test(an_address_that_guesses_many_accounts_is_stopped),
        cmocka_unit_test(strangers_cannot_lock_an_account),
        cmocka_unit_test(success_forgets_the_failures_of_that_address),
        cmocka_unit_test(memory_is_bounded_and_the_oldest_key_gives_way),
    };
    return cmocka_run_group_tests_name("auth rates", tests, NULL, NULL);
}
