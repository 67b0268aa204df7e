// Who may come in: lists of networks and origins, and what is counted by address and by account. Loop thread
// only. What always holds: a tally has an entry only for what is open, so nobody can fill it with more than
// their connections.
#include "net/door.h"
#include "base/buf.h"
#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <uthash.h>

#define SEPARATORS ", \t"

// ---- addresses ----------------------------------------------------------------------------------

// IPv4 as ::ffff:a.b.c.d, so that both are compared as one kind.
static bool address_bytes(const char *text, unsigned char out[16]) {
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (inet_pton(AF_INET6, text, out) == 1) return true;
    memcpy(out, mapped, sizeof mapped);
    return inet_pton(AF_INET, text, out + 12) == 1;
}

static bool is_v4(const unsigned char bytes[16]) {
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return memcmp(bytes, mapped, sizeof mapped) == 0;
}

static void bytes_text(const unsigned char bytes[16], char out[64]) {
    if (is_v4(bytes))
        inet_ntop(AF_INET, bytes + 12, out, 64);
    else
        inet_ntop(AF_INET6, bytes, out, 64);
}

void hm_address_text(const struct sockaddr_storage *peer, char out[64]) {
    out[0] = '\0';
    if (peer->ss_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)peer)->sin_addr, out, 64);
    else if (peer->ss_family == AF_INET6)
        bytes_text(((const struct sockaddr_in6 *)peer)->sin6_addr.s6_addr, out);
}

bool hm_address_is_loopback(const char *address) {
    if (strncmp(address, "::ffff:", 7) == 0) address += 7;
    return strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0;
}

void hm_place_of(const char *address, char out[64]) {
    unsigned char bytes[16];
    snprintf(out, 64, "%s", address);
    if (!address_bytes(address, bytes)) return;
    if (!is_v4(bytes)) memset(bytes + 8, 0, 8);
    bytes_text(bytes, out);
}

// ---- networks -----------------------------------------------------------------------------------

static bool read_network(char *word, struct hm_networks *out) {
    char *slash = strchr(word, '/'), *end = NULL;
    if (out->count == HM_NETWORKS_MAX) return false;
    unsigned char *bytes = out->list[out->count].bytes;
    if (slash) *slash = '\0';
    if (!address_bytes(word, bytes)) return false;
    unsigned most = strchr(word, ':') ? 128 : 32;
    unsigned long bits = most;
    if (slash) {
        if (!isdigit((unsigned char)slash[1])) return false;
        bits = strtoul(slash + 1, &end, 10);
        if (*end || bits > most) return false;
    }
    out->list[out->count++].bits = (unsigned)bits + (128 - most);
    return true;
}

bool hm_networks_read(const char *text, struct hm_networks *out) {
    char *copy = hm_strdup(text), *rest = copy, *word;
    bool ok = true;
    *out = (struct hm_networks){0};
    while (ok && (word = strsep(&rest, SEPARATORS)))
        if (*word) ok = read_network(word, out);
    free(copy);
    return ok;
}

static bool in_network(const unsigned char network[16], unsigned bits, const unsigned char address[16]) {
    unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(network, address, whole) != 0) return false;
    return rest == 0 || (network[whole] ^ address[whole]) >> (8 - rest) == 0;
}

bool hm_networks_have(const struct hm_networks *networks, const char *address) {
    unsigned char bytes[16];
    if (!networks->count || !address_bytes(address, bytes)) return false;
    for (size_t i = 0; i < networks->count; i++)
        if (in_network(networks->list[i].bytes, networks->list[i].bits, bytes)) return true;
    return false;
}

// "192.0.2.1", "192.0.2.1:4711", "2001:db8::1", "[2001:db8::1]:4711"
static bool forwarded_address(char *word, char out[64]) {
    unsigned char bytes[16];
    char *end;
    if (word[0] == '[' && (end = strchr(word, ']'))) {
        *end = '\0';
        word++;
    } else if ((end = strchr(word, ':')) && !strchr(end + 1, ':')) {
        *end = '\0';
    }
    if (!address_bytes(word, bytes)) return false;
    bytes_text(bytes, out);
    return true;
}

bool hm_forwarded_client(const struct hm_networks *proxies, const char *list, char out[64]) {
    char *copy = hm_strdup(list);
    bool ok = false;
    for (size_t len = strlen(copy); len;) {
        while (len && strchr(SEPARATORS, copy[len - 1]))
            copy[--len] = '\0';
        size_t at = len;
        while (at && !strchr(SEPARATORS, copy[at - 1]))
            at--;
        if (at == len) break;
        ok = forwarded_address(copy + at, out);
        if (!ok || !hm_networks_have(proxies, out)) break;
        copy[len = at] = '\0';
    }
    free(copy);
    return ok;
}

// ---- origins ------------------------------------------------------------------------------------

static bool origin_valid(const char *word) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]";
    const char *host = strncmp(word, "https://", 8) == 0  ? word + 8
                       : strncmp(word, "http://", 7) == 0 ? word + 7
                                                          : NULL;
    return host && *host && !host[strspn(host, allowed)];
}

bool hm_origins_valid(const char *list) {
    char *copy = hm_strdup(list), *rest = copy, *word;
    bool ok = true;
    while (ok && (word = strsep(&rest, SEPARATORS)))
        ok = !*word || origin_valid(word);
    free(copy);
    return ok;
}

bool hm_origins_have(const char *list, const char *origin) {
    size_t len = strlen(origin);
    for (const char *at = list; len && *at; at += strcspn(at, SEPARATORS)) {
        at += strspn(at, SEPARATORS);
        if (strcspn(at, SEPARATORS) == len && strncasecmp(at, origin, len) == 0) return true;
    }
    return false;
}

// ---- tallies ------------------------------------------------------------------------------------

struct hm_count {
    UT_hash_handle hh;
    unsigned count;
    char key[];
};
struct hm_tally {
    struct hm_count *counts;
};

struct hm_tally *hm_tally_new(void) {
    return hm_alloc(sizeof(struct hm_tally));
}

void hm_tally_free(struct hm_tally *tally) {
    if (!tally) return;
    assert(!tally->counts);
    free(tally);
}

static struct hm_count *find(const struct hm_tally *tally, const char *key) {
    struct hm_count *count = NULL;
    HASH_FIND_STR(tally->counts, key, count);
    return count;
}

unsigned hm_tally_of(const struct hm_tally *tally, const char *key) {
    struct hm_count *count = find(tally, key);
    return count ? count->count : 0;
}

struct hm_count *hm_tally_up(struct hm_tally *tally, const char *key) {
    struct hm_count *count = find(tally, key);
    if (!count) {
        size_t len = strlen(key);
        count = hm_alloc(sizeof *count + len + 1);
        memcpy(count->key, key, len + 1);
        HASH_ADD_KEYPTR(hh, tally->counts, count->key, len, count);
    }
    count->count++;
    return count;
}

void hm_tally_down(struct hm_tally *tally, struct hm_count *count) {
    if (!count) return;
    assert(count->count > 0);
    if (--count->count) return;
    HASH_DEL(tally->counts, count);
    free(count);
}

void hm_account_key(const struct hm_session *session, char out[HM_ACCOUNT_KEY_MAX]) {
    snprintf(out, HM_ACCOUNT_KEY_MAX, "%s\n%s", session->institution, session->account);
}
