// What may be talked to and written to: addresses that are private however they are written, and mail
// addresses and subjects with which no header can be ended.
#include "post/post.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static enum hm_post_place place(const char *text, const char *networks) {
    struct hm_post_networks list;
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    assert_true(hm_post_networks_read(networks, &list));
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        return hm_post_place_of((const struct sockaddr *)&v4, &list);
    assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
    return hm_post_place_of((const struct sockaddr *)&v6, &list);
}

static void addresses_of_this_machine_and_its_networks_are_private(void **state) {
    static const char *const closed[] = {
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.0.3",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.168.0.1",
        "198.18.0.1",
        "203.0.113.9",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "fd12::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2001:0:53aa:64c::",
        "::127.0.0.1",
        "100::1",
    };
    static const char *const open[] = {
        "1.1.1.1",         "9.255.255.255",     "11.0.0.0",        "100.63.255.255",  "100.128.0.0",
        "172.15.255.255",  "172.32.0.0",        "192.167.255.255", "192.169.0.0",     "223.255.255.255",
        "2606:4700::1111", "2a00:1450:4001::1", "::ffff:1.1.1.1",  "64:ff9b::101:101"};
    (void)state;
    for (size_t i = 0; i < sizeof closed / sizeof *closed; i++)
        if (place(closed[i], "") != HM_POST_PRIVATE) fail_msg("%s is taken for public", closed[i]);
    for (size_t i = 0; i < sizeof open / sizeof *open; i++)
        if (place(open[i], "") != HM_POST_PUBLIC) fail_msg("%s is taken for private", open[i]);
}

static void only_what_is_named_is_let_through(void **state) {
    static const char named[] = "10.1.0.0/16, 192.168.4.7 fd00:1::/32";
    (void)state;
    assert_int_equal(place("10.1.255.255", named), HM_POST_NAMED);
    assert_int_equal(place("10.2.0.0", named), HM_POST_PRIVATE);
    assert_int_equal(place("192.168.4.7", named), HM_POST_NAMED);
    assert_int_equal(place("192.168.4.6", named), HM_POST_PRIVATE);
    assert_int_equal(place("::ffff:192.168.4.7", named), HM_POST_NAMED);
    assert_int_equal(place("fd00:1:2::3", named), HM_POST_NAMED);
    assert_int_equal(place("fd00:2::3", named), HM_POST_PRIVATE);
    assert_int_equal(place("127.0.0.1", "0.0.0.0/0"), HM_POST_NAMED);
    struct hm_post_networks list;
    static const char *const wrong[] = {"10.0.0.0/33", "10.0.0", "fd00::/129", "10.0.0.0/",
                                        "10.0.0.0/8x", "name",   "10.0.0.0/-1"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (hm_post_networks_read(wrong[i], &list)) fail_msg("%s is taken", wrong[i]);
}

static void a_mail_address_is_one_line_with_nothing_else_in_it(void **state) {
    static const char *const good[] = {"a@b.uz", "first.last+tag@mail.example.uz", "o'brien@x-y.uz",
                                       "1@2.uz"};
    static const char *const bad[] = {"",           "a",
                                      "@b.uz",      "a@",
                                      "a@b",        "a@.uz",
                                      "a@b.",       "a@b..uz",
                                      "a@-b.uz",    "a@b-.uz",
                                      "a b@c.uz",   "a@b.uz\r\nBcc: c@d.uz",
                                      "<a@b.uz>",   "a@b.uz,c@d.uz",
                                      "a@b@c.uz",   ".a@b.uz",
                                      "a.@b.uz",    "a..b@c.uz",
                                      "\"a\"@b.uz", "a@[127.0.0.1]",
                                      "-oQ@b.uz",   "а@b.uz",
                                      "a@b.uz\n",   "a@b_c.uz"};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!hm_mail_address_valid(hm_str_of(good[i]))) fail_msg("%s is refused", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (hm_mail_address_valid(hm_str_of(bad[i]))) fail_msg("%s is taken", bad[i]);
    assert_false(hm_mail_address_valid((struct hm_str){"a@b.uz\0c", 8}));
    char out[HM_MAIL_ADDRESS_MAX + 1];
    assert_true(hm_mail_address_of("Hamroh <h@b.uz>", out));
    assert_string_equal(out, "h@b.uz");
    assert_false(hm_mail_address_of("Hamroh <h@b.uz", out));
    assert_false(hm_mail_address_of("Hamroh", out));
}

static void no_text_ends_a_header_or_a_mail(void **state) {
    static const char text[] = "one\r\n.\r\nQUIT\r\n",
                      subject[] = "a\r\nBcc: x@y.uz\r\n\r\nоʻқилмаган оʻқилмаган оʻқилмаган оʻқилмаган";
    struct hm_buf out = {0};
    struct hm_mail mail = {.from = "\"Ҳамроҳ\" <h@b.uz>",
                           .to = "a@b.uz",
                           .id = "1",
                           .subject = hm_str_of(subject),
                           .text = hm_str_of(text),
                           .language = "uz",
                           .time_ms = 1795542523000};
    (void)state;
    hm_mail_write(&mail, &out);
    assert_null(strstr(out.data, "Bcc"));
    assert_null(strstr(out.data, "\r\n.\r\n"));
    assert_non_null(strstr(out.data, "Date: Tue, 24 Nov 2026 17:48:43 +0000\r\n"));
    assert_non_null(strstr(out.data, "From: =?UTF-8?B?0rLQsNC80YDQvtKz?= <h@b.uz>\r\n"));
    for (const char *line = out.data, *end; (end = strstr(line, "\r\n")); line = end + 2)
        if (end - line > 78) fail_msg("a line of %td characters", end - line);
    hm_buf_free(&out);
}

static void a_webhook_has_a_whole_address_without_a_user(void **state) {
    struct hm_error err = {0};
    (void)state;
    assert_true(hm_post_url_check("https://a.uz/hook?x=1", false, &err));
    assert_false(hm_post_url_check("http://a.uz/", false, &err));
    assert_true(hm_post_url_check("http://a.uz/", true, &err));
    static const char *const bad[] = {"",
                                      "a.uz",
                                      "//a.uz/",
                                      "ftp://a.uz/",
                                      "file:///etc/passwd",
                                      "https://u:p@a.uz/",
                                      "https://u@a.uz/",
                                      "gopher://a.uz/",
                                      "https://",
                                      "smtp://a.uz"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (hm_post_url_check(bad[i], true, &err)) fail_msg("%s is taken", bad[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_of_this_machine_and_its_networks_are_private),
        cmocka_unit_test(only_what_is_named_is_let_through),
        cmocka_unit_test(a_mail_address_is_one_line_with_nothing_else_in_it),
        cmocka_unit_test(no_text_ends_a_header_or_a_mail),
        cmocka_unit_test(a_webhook_has_a_whole_address_without_a_user),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
