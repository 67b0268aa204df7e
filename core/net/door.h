// Who may come in: lists of networks and origins in the settings, and limits by address and by account. Knows
// no transport beyond a socket's address. Loop thread only.
#pragma once
#include "auth/auth.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sockaddr_storage;

// ---- lists in the settings ----------------------------------------------------------------------
#define HM_NETWORKS_MAX 16
struct hm_networks { // IPv6; an IPv4 address stands in it as ::ffff:a.b.c.d
    struct {
        unsigned char bytes[16];
        unsigned bits;
    } list[HM_NETWORKS_MAX];
    size_t count;
};
bool hm_networks_read(const char *text, struct hm_networks *out); // "127.0.0.1, 10.0.0.0/8, fd00::/8"
bool hm_networks_have(const struct hm_networks *networks, const char *address);
bool hm_origins_valid(const char *list); // "https://a.example, http://b.example:81"
bool hm_origins_have(const char *list, const char *origin);
// The last address in a list as X-Forwarded-For has it that is no proxy of ours: whoever is in front of it
// can write what it likes to the left. False when that is no address.
bool hm_forwarded_client(const struct hm_networks *proxies, const char *list, char out[64]);
bool hm_address_is_loopback(const char *address);
// Text of a socket's address, IPv4 in its own form; "" for anything but IP.
void hm_address_text(const struct sockaddr_storage *peer, char out[64]);

// ---- limits -------------------------------------------------------------------------------------
// Counts by key. A place is an address (of IPv6 its /64, since one machine has all of that); a key that
// counts nothing is forgotten.
struct hm_tally;
struct hm_count; // one key
struct hm_tally *hm_tally_new(void);
void hm_tally_free(struct hm_tally *tally);
unsigned hm_tally_of(const struct hm_tally *tally, const char *key);
struct hm_count *hm_tally_up(struct hm_tally *tally, const char *key);
void hm_tally_down(struct hm_tally *tally, struct hm_count *count); // NULL is fine
void hm_place_of(const char *address, char out[64]);
#define HM_ACCOUNT_KEY_MAX 200
void hm_account_key(const struct hm_session *session, char out[HM_ACCOUNT_KEY_MAX]);
