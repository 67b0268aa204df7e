// The server's certificate: read from PEM files, given to every new connection, replaced while serving. Loop
// thread only.
#pragma once
#include "base/error.h"
#include <stdbool.h>
#include <stdint.h>

struct ev_loop;
struct ssl_ctx_st;
struct hm_tls;
struct hm_tls_counts {
    uint64_t reloads, failures; // since the start
    int64_t expires_ms;         // of the certificate in use
};

// Whether the two files could be served: readable, of one pair, strong enough for OpenSSL. `late` (may be
// NULL) is filled when they can, but the certificate is out of date or not valid yet.
bool hm_tls_check(const char *certificate, const char *key, struct hm_error *late, struct hm_error *err);

// Paths are copied. Fails when the files cannot be served; one that is out of date is served with a warning,
// since the institution could not be reached at all without.
bool hm_tls_open(struct ev_loop *loop, const char *certificate, const char *key, struct hm_tls **out,
                 struct hm_error *err);
void hm_tls_free(struct hm_tls *tls);
// What every connection made by this context does: TLS 1.2 or newer, no renegotiation, the certificate of the
// moment. The context must not outlive tls.
bool hm_tls_prepare(struct hm_tls *tls, struct ssl_ctx_st *context);
// Reads the files again. On any problem the certificate in use stays. Connections are not touched.
bool hm_tls_reload(struct hm_tls *tls, struct hm_error *err);
const struct hm_tls_counts *hm_tls_counts(const struct hm_tls *tls);
