// Lists of networks and origins, and who is behind a proxy.
#include "net/door.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#include <cmocka.h>

static void an_address_is_in_a_network_by_its_first_bits(void **state) {
    (void)state;
    static const struct {
        const char *networks, *address;
        bool in;
    } cases[] = {
        {"10.0.0.0/8", "10.255.0.1", true},
        {"10.0.0.0/8", "11.0.0.1", false},
        {"10.0.0.0/8", "::ffff:10.1.2.3", true},
        {"::ffff:10.0.0.0/104", "10.1.2.3", true},
        {"192.0.2.128/25", "192.0.2.200", true},
        {"192.0.2.128/25", "192.0.2.127", false},
        {"192.0.2.1", "192.0.2.1", true},
        {"192.0.2.1", "192.0.2.2", false},
        {"0.0.0.0/0", "203.0.113.9", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"::/0", "203.0.113.9", true},
        {"fd00::/8", "fdff::1", true},
        {"fd00::/8", "fe00::1", false},
        {"2001:db8::/33", "2001:db8:7fff::1", true},
        {"2001:db8::/33", "2001:db8:8000::1", false},
        {"127.0.0.1, 10.0.0.0/8,\tfd00::/8", "fd00::2", true},
        {"", "127.0.0.1", false},
        {"127.0.0.1", "", false},
        {"127.0.0.1", "localhost", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct hm_networks networks;
        assert_true(hm_networks_read(cases[i].networks, &networks));
        if (hm_networks_have(&networks, cases[i].address) != cases[i].in)
            fail_msg("%s in %s", cases[i].address, cases[i].networks);
    }
}

static void what_is_no_network_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"10.0.0.0/33",   "::/129",      "10.0.0.0/",
                                      "10.0.0.0/-1",   "10.0.0.0/8x", "10.0.0",
                                      "proxy.example", "/8",          "10.0.0.1;10.0.0.2"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct hm_networks networks;
        if (hm_networks_read(bad[i], &networks)) fail_msg("taken: %s", bad[i]);
    }
    struct hm_buf many = {0};
    struct hm_networks networks;
    for (int i = 0; i < HM_NETWORKS_MAX; i++)
        hm_buf_printf(&many, "10.0.0.%d ", i);
    assert_false(hm_networks_read("10.0.0.1\n", &networks));
    for (char *c = many.data; *c; c++)
        if (*c == ' ') *c = ',';
    assert_true(hm_networks_read(many.data, &networks));
    hm_buf_text(&many, "10.0.0.99");
    assert_false(hm_networks_read(many.data, &networks));
    hm_buf_free(&many);
}

static void the_client_is_the_last_address_that_is_no_proxy_of_ours(void **state) {
    (void)state;
    static const struct {
        const char *list, *client; // NULL: none
    } cases[] = {
        {"192.0.2.1", "192.0.2.1"},
        {"203.0.113.1, 192.0.2.1", "192.0.2.1"},
        {"127.0.0.1, 192.0.2.1", "192.0.2.1"},
        {"203.0.113.1, 192.0.2.1, 10.1.1.1", "192.0.2.1"},
        {"203.0.113.1,192.0.2.1,10.1.1.1,10.2.2.2", "192.0.2.1"},
        {"10.1.1.1", "10.1.1.1"}, // all are ours: the first of them asked
        {"192.0.2.1:4711", "192.0.2.1"},
        {"[2001:db8::1]:4711", "2001:db8::1"},
        {"2001:db8::1", "2001:db8::1"},
        {"::ffff:192.0.2.1", "192.0.2.1"},
        {"192.0.2.1 , ", "192.0.2.1"},
        {"192.0.2.1, unknown", NULL},
        {"unknown", NULL},
        {"", NULL},
        {", ,", NULL},
    };
    struct hm_networks proxies;
    assert_true(hm_networks_read("127.0.0.1, 10.0.0.0/8", &proxies));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char client[64] = "?";
        bool found = hm_forwarded_client(&proxies, cases[i].list, client);
        if (found != (cases[i].client != NULL)) fail_msg("%s: %s", cases[i].list, client);
        if (found) assert_string_equal(client, cases[i].client);
    }
}

static void an_origin_is_scheme_and_host_and_stands_whole_in_a_list(void **state) {
    (void)state;
    assert_true(hm_origins_valid(""));
    assert_true(hm_origins_valid("https://a.example, http://b.example:81,https://[2001:db8::1]:8443"));
    assert_false(hm_origins_valid("a.example"));
    assert_false(hm_origins_valid("https://a.example/"));
    assert_false(hm_origins_valid("https://*.example"));
    assert_false(hm_origins_valid("https://"));
    assert_false(hm_origins_valid("ftp://a.example"));
    static const char list[] = "https://a.example, http://b.example:81";
    assert_true(hm_origins_have(list, "https://a.example"));
    assert_true(hm_origins_have(list, "HTTP://B.example:81"));
    assert_false(hm_origins_have(list, "http://b.example"));
    assert_false(hm_origins_have(list, "http://b.example:8"));
    assert_false(hm_origins_have(list, "https://a.example, http://b.example:81"));
    assert_false(hm_origins_have(list, ""));
    assert_false(hm_origins_have("", "https://a.example"));
}

static void a_place_is_an_address_and_of_ipv6_its_first_64_bits(void **state) {
    (void)state;
    static const char *const cases[][2] = {{"192.0.2.1", "192.0.2.1"},
                                           {"::ffff:192.0.2.1", "192.0.2.1"},
                                           {"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"},
                                           {"2001:db8:1:3::1", "2001:db8:1:3::"},
                                           {"::1", "::"},
                                           {"", ""}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char place[64];
        hm_place_of(cases[i][0], place);
        assert_string_equal(place, cases[i][1]);
    }
    struct sockaddr_storage peer = {.ss_family = AF_UNIX};
    char text[64] = "?";
    hm_address_text(&peer, text);
    assert_string_equal(text, "");
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&peer;
    v6->sin6_family = AF_INET6;
    assert_int_equal(inet_pton(AF_INET6, "::ffff:192.0.2.1", &v6->sin6_addr), 1);
    hm_address_text(&peer, text);
    assert_string_equal(text, "192.0.2.1");
}

static void a_tally_counts_up_and_down_and_forgets_what_is_nothing(void **state) {
    (void)state;
    struct hm_tally *tally = hm_tally_new();
    struct hm_count *a = hm_tally_up(tally, "a");
    assert_ptr_equal(hm_tally_up(tally, "a"), a);
    struct hm_count *b = hm_tally_up(tally, "b");
    assert_int_equal(hm_tally_of(tally, "a"), 2);
    assert_int_equal(hm_tally_of(tally, "c"), 0);
    hm_tally_down(tally, a);
    hm_tally_down(tally, a);
    assert_int_equal(hm_tally_of(tally, "a"), 0);
    hm_tally_down(tally, NULL);
    hm_tally_down(tally, b);
    hm_tally_free(tally); // asserts that nothing is left
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_is_in_a_network_by_its_first_bits),
        cmocka_unit_test(what_is_no_network_is_refused),
        cmocka_unit_test(the_client_is_the_last_address_that_is_no_proxy_of_ours),
        cmocka_unit_test(an_origin_is_scheme_and_host_and_stands_whole_in_a_list),
        cmocka_unit_test(a_place_is_an_address_and_of_ipv6_its_first_64_bits),
        cmocka_unit_test(a_tally_counts_up_and_down_and_forgets_what_is_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
