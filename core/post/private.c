// Which addresses belong to this machine, to the networks it stands in, or to nobody: what an institution's
// administrator may not make the server talk to, since it stands where they do not (cloud metadata,
// databases, routers). Any thread.
#include "post/post.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

// IANA's special-purpose registries, as of 2024. Of IPv6 only 2000::/3 is the internet's; what is here is
// taken out of it.
static const struct {
    const char *network;
    unsigned bits;
} special4[] =
    {
        {"0.0.0.0", 8},      {"10.0.0.0", 8},     {"100.64.0.0", 10}, {"127.0.0.0", 8},
        {"169.254.0.0", 16}, {"172.16.0.0", 12},  {"192.0.0.0", 24},  {"192.0.2.0", 24},
        {"192.88.99.0", 24}, {"192.168.0.0", 16}, {"198.18.0.0", 15}, {"198.51.100.0", 24},
        {"203.0.113.0", 24}, {"224.0.0.0", 4},    {"240.0.0.0", 4},
},
  special6[] = {
      {"2001::", 23},
      {"2001:db8::", 32},
      {"2002::", 16},
      {"3fff::", 20},
};

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
static const uint8_t nat64[12] = {0, 0x64, 0xff, 0x9b};

static bool within(const uint8_t *address, const uint8_t *network, unsigned bits) {
    unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(address, network, whole) != 0) return false;
    return !rest || ((address[whole] ^ network[whole]) >> (8 - rest)) == 0;
}

static bool special_v4(const uint8_t address[4]) {
    for (size_t i = 0; i < sizeof special4 / sizeof *special4; i++) {
        uint8_t network[4];
        inet_pton(AF_INET, special4[i].network, network);
        if (within(address, network, special4[i].bits)) return true;
    }
    return false;
}

static bool special_v6(const uint8_t address[16]) {
    // What stands for an address of IPv4 is as private as that is.
    if (memcmp(address, mapped, 12) == 0 || memcmp(address, nat64, 12) == 0) return special_v4(address + 12);
    if ((address[0] & 0xe0) != 0x20) return true;
    for (size_t i = 0; i < sizeof special6 / sizeof *special6; i++) {
        uint8_t network[16];
        inet_pton(AF_INET6, special6[i].network, network);
        if (within(address, network, special6[i].bits)) return true;
    }
    return false;
}

static bool bytes_of(const struct sockaddr *address, uint8_t out[16]) {
    if (address->sa_family == AF_INET) {
        memcpy(out, mapped, 12);
        memcpy(out + 12, &((const struct sockaddr_in *)(const void *)address)->sin_addr, 4);
        return true;
    }
    if (address->sa_family != AF_INET6) return false;
    memcpy(out, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, 16);
    return true;
}

enum hm_post_place hm_post_place_of(const struct sockaddr *address, const struct hm_post_networks *networks) {
    uint8_t bytes[16];
    if (!bytes_of(address, bytes)) return HM_POST_PRIVATE; // a socket of this machine
    if (!special_v6(bytes)) return HM_POST_PUBLIC;
    for (size_t i = 0; i < networks->count; i++)
        if (within(bytes, networks->list[i].address, networks->list[i].bits)) return HM_POST_NAMED;
    return HM_POST_PRIVATE;
}

static bool read_one(const char *word, struct hm_post_networks *out) {
    char text[64];
    uint8_t *address = out->list[out->count].address;
    unsigned most = 128;
    snprintf(text, sizeof text, "%s", word);
    char *slash = strchr(text, '/');
    if (slash) *slash++ = '\0';
    if (inet_pton(AF_INET, text, address + 12) == 1) {
        memcpy(address, mapped, 12);
        most = 32;
    } else if (inet_pton(AF_INET6, text, address) != 1) {
        return false;
    }
    char *end = NULL;
    unsigned long bits = slash ? strtoul(slash, &end, 10) : most;
    if (slash && (*slash < '0' || *slash > '9' || *end || bits > most)) return false;
    out->list[out->count++].bits = (unsigned)bits + 128 - most;
    return true;
}

bool hm_post_networks_read(const char *text, struct hm_post_networks *out) {
    char word[64];
    out->count = 0;
    while (*(text += strspn(text, " ,\t"))) {
        size_t len = strcspn(text, " ,\t");
        if (len >= sizeof word || out->count == HM_POST_NETWORKS) return false;
        memcpy(word, text, len);
        word[len] = '\0';
        if (!read_one(word, out)) return false;
        text += len;
    }
    return true;
}
