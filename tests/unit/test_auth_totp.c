// One-time codes against the values of the RFCs, and secrets as they are kept.
#include "auth/auth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

static const uint8_t key[] = "12345678901234567890"; // of both RFCs

static void hotp_gives_the_values_of_rfc_4226_appendix_d(void **state) {
    static const uint32_t values[] = {755224, 287082, 359152, 969429, 338314,
                                      254676, 287922, 162583, 399871, 520489};
    (void)state;
    for (uint64_t i = 0; i < sizeof values / sizeof *values; i++)
        assert_int_equal(hm_hotp(key, 20, i, 6), values[i]);
}

static void totp_gives_the_values_of_rfc_6238_appendix_b(void **state) {
    static const struct {
        int64_t seconds;
        uint32_t value; // 8 digits
    } rows[] = {{59, 94287082},         {1111111109, 7081804},  {1111111111, 14050471},
                {1234567890, 89005924}, {2000000000, 69279037}, {20000000000, 65353130}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t step = 0;
        char six[16];
        assert_int_equal(hm_hotp(key, 20, (uint64_t)(rows[i].seconds / 30), 8), rows[i].value);
        snprintf(six, sizeof six, "%06u", rows[i].value % 1000000);
        assert_true(hm_totp_check(key, hm_str_of(six), rows[i].seconds * 1000, -1, &step));
        assert_int_equal(step, rows[i].seconds / 30);
    }
}

static void a_code_holds_for_one_step_before_and_after_and_no_longer(void **state) {
    (void)state;
    char code[16];
    int64_t step = 0, at = 50000; // the step the code is of
    snprintf(code, sizeof code, "%06u", hm_hotp(key, 20, (uint64_t)at, 6));
    for (int64_t off = -3; off <= 3; off++) {
        bool ok = hm_totp_check(key, hm_str_of(code), (at + off) * HM_TOTP_STEP_MS, -1, &step);
        assert_int_equal(ok, off >= -1 && off <= 1);
        if (ok) assert_int_equal(step, at);
    }
}

static void a_code_is_good_once(void **state) {
    (void)state;
    char code[16];
    int64_t step = 0, at = 50000, now = at * HM_TOTP_STEP_MS;
    snprintf(code, sizeof code, "%06u", hm_hotp(key, 20, (uint64_t)at, 6));
    assert_true(hm_totp_check(key, hm_str_of(code), now, at - 1, &step));
    assert_false(hm_totp_check(key, hm_str_of(code), now, at, &step));
    assert_false(hm_totp_check(key, hm_str_of(code), now, at + 1, &step)); // a later one was used already
}

static void what_is_no_code_is_refused(void **state) {
    (void)state;
    int64_t step = 0;
    static const char *const bad[] = {"", "28708", "2870822", "94287082", "28708a", " 28708"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(hm_totp_check(key, hm_str_of(bad[i]), 59000, -1, &step));
    assert_false(hm_totp_check(key, HM_LIT("287082"), -59000, -1, &step));
    assert_false(hm_totp_check(key, HM_LIT("287082"), 0, -1, &step));
}

static void base32_gives_the_values_of_rfc_4648(void **state) {
    static const char *const rows[][2] = {{"", ""},
                                          {"f", "MY"},
                                          {"fo", "MZXQ"},
                                          {"foo", "MZXW6"},
                                          {"foob", "MZXW6YQ"},
                                          {"fooba", "MZXW6YTB"},
                                          {"foobar", "MZXW6YTBOI"}};
    char out[40];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hm_base32((const uint8_t *)rows[i][0], strlen(rows[i][0]), out);
        assert_string_equal(out, rows[i][1]);
    }
    hm_base32(key, 20, out);
    assert_string_equal(out, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
}

static void a_kept_secret_opens_with_its_key_and_for_its_account_only(void **state) {
    uint8_t master[32] = {1}, other[32] = {2}, secret[HM_TOTP_SECRET];
    char sealed[HM_TOTP_SEALED], again[HM_TOTP_SEALED];
    (void)state;
    hm_totp_seal(master, HM_LIT("i\nann"), key, sealed);
    hm_totp_seal(master, HM_LIT("i\nann"), key, again);
    assert_string_not_equal(sealed, again);
    assert_null(strstr(sealed, "MTIzNDU2")); // the secret's own base64
    assert_true(hm_totp_open(master, HM_LIT("i\nann"), hm_str_of(sealed), secret));
    assert_memory_equal(secret, key, HM_TOTP_SECRET);
    assert_false(hm_totp_open(master, HM_LIT("i\nbob"), hm_str_of(sealed), secret));
    assert_false(hm_totp_open(other, HM_LIT("i\nann"), hm_str_of(sealed), secret));
    assert_false(hm_totp_open(master, HM_LIT("i\nann"), HM_LIT(""), secret));
    assert_false(hm_totp_open(master, HM_LIT("i\nann"), HM_LIT("AAAA"), secret));
    sealed[10] = sealed[10] == 'A' ? 'B' : 'A';
    assert_false(hm_totp_open(master, HM_LIT("i\nann"), hm_str_of(sealed), secret));
}

static void the_name_of_a_session_leads_to_no_token(void **state) {
    char hash[65], name[HM_SESSION_NAME], other[HM_SESSION_NAME];
    (void)state;
    memset(hash, 'a', 64);
    hash[64] = 0;
    hm_session_name(hash, name);
    assert_int_equal(strlen(name), 32);
    assert_null(strstr(hash, name));
    hash[63] = 'b';
    hm_session_name(hash, other);
    assert_string_not_equal(name, other);
}

int main(void) {
    if (sodium_init() < 0) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hotp_gives_the_values_of_rfc_4226_appendix_d),
        cmocka_unit_test(totp_gives_the_values_of_rfc_6238_appendix_b),
        cmocka_unit_test(a_code_holds_for_one_step_before_and_after_and_no_longer),
        cmocka_unit_test(a_code_is_good_once),
        cmocka_unit_test(what_is_no_code_is_refused),
        cmocka_unit_test(base32_gives_the_values_of_rfc_4648),
        cmocka_unit_test(a_kept_secret_opens_with_its_key_and_for_its_account_only),
        cmocka_unit_test(the_name_of_a_session_leads_to_no_token),
    };
    return cmocka_run_group_tests_name("auth totp", tests, NULL, NULL);
}
