// Who somebody is: passwords (Argon2id on threads of their own), sign-in sessions, invitations, rate
// limits. It decides and builds the data of the core's records (account, session, invitation); the engine
// reads and commits them.
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include "store/access.h"

// ---- passwords: never on the event loop ---------------------------------------------------------------
struct hm_pwpool;
// wake is called from a pool thread when something is ready to be collected (it must only wake the loop).
struct hm_pwpool *hm_pwpool_new(unsigned threads, unsigned queue_max, void (*wake)(void *arg), void *arg);
// Waits for what runs; callbacks of the rest are called with ok = false.
void hm_pwpool_free(struct hm_pwpool *pool);
// hash: PHC text for hm_pw_hash, NULL for hm_pw_verify.
typedef void (*hm_pw_fn)(void *arg, bool ok, const char *hash);
// false: queue full (HM_TOO_MANY). password is copied, locked and wiped.
bool hm_pw_hash(struct hm_pwpool *pool, struct hm_str password, hm_pw_fn fn, void *arg, struct hm_error *err);
// hash NULL: an account that does not exist; the same work is done and the answer is no, so that time
// reveals nothing.
bool hm_pw_verify(struct hm_pwpool *pool, struct hm_str password, const char *hash, hm_pw_fn fn, void *arg,
                  struct hm_error *err);
void hm_pwpool_collect(struct hm_pwpool *pool); // on the loop: runs the callbacks of what is ready
unsigned hm_pwpool_waiting(const struct hm_pwpool *pool);
// For commands that run without a pool: Argon2id here and now (about 100 ms).
#define HM_HASH_MAX 129
bool hm_pw_hash_now(struct hm_str password, char out[HM_HASH_MAX]);
// Whether a text can be a hash of ours (account.create with password_hash).
bool hm_pw_hash_valid(struct hm_str hash);
// Minimum: 10 characters (not bytes), at most 1,024 bytes, valid UTF-8, not the login. The error says which.
bool hm_password_acceptable(struct hm_str password, struct hm_str login, struct hm_error *err);

// ---- rate limits --------------------------------------------------------------------------------------
// Token buckets by key, for failures only. Two keys count for a sign-in: address, and account+address;
// the account alone is only slowed (a short wait), never locked, so that a stranger cannot lock somebody
// out. Bounded memory.
struct hm_rates;
struct hm_rates *hm_rates_new(unsigned keys_max);
void hm_rates_free(struct hm_rates *rates);
// 0 = go on, else seconds to wait (data.retry_after).
unsigned hm_rates_check(struct hm_rates *rates, const char *institution, const char *login,
                        const char *address);
void hm_rates_failed(struct hm_rates *rates, const char *institution, const char *login, const char *address);
void hm_rates_succeeded(struct hm_rates *rates, const char *institution, const char *login,
                        const char *address);

// Codes of a second factor: guessed by somebody who knows the password already, so they count for the account
// alone, wherever they come from, and its owner may have to wait too.
unsigned hm_rates_check_code(struct hm_rates *rates, const char *institution, const char *login);
void hm_rates_failed_code(struct hm_rates *rates, const char *institution, const char *login);

// ---- one-time codes (RFC 4226, RFC 6238) --------------------------------------------------------------
// SHA-1, 30 s, 6 digits: what every authenticator app does. Any thread.
#define HM_TOTP_SECRET 20
#define HM_TOTP_STEP_MS 30000
#define HM_TOTP_SEALED 161
// The last `digits` (6 to 8) of a code, as a number.
uint32_t hm_hotp(const uint8_t *key, size_t len, uint64_t counter, unsigned digits);
// Whether the code is of now or the step before or after, and of a step later than `last` (each code is good
// once; -1: none was used yet). *step: which; the caller keeps it.
bool hm_totp_check(const uint8_t secret[HM_TOTP_SECRET], struct hm_str code, int64_t now_ms, int64_t last,
                   int64_t *step);
void hm_base32(const uint8_t *bytes, size_t len, char *out); // RFC 4648 without padding; room for its end
// How a secret is kept: XChaCha20-Poly1305 under a key derived from the server's, bound to whose it is.
// `about` names institution and account. Text in base64.
void hm_totp_seal(const uint8_t master[32], struct hm_str about, const uint8_t secret[HM_TOTP_SECRET],
                  char out[HM_TOTP_SEALED]);
bool hm_totp_open(const uint8_t master[32], struct hm_str about, struct hm_str sealed,
                  uint8_t secret[HM_TOTP_SECRET]);

// ---- tokens and codes ---------------------------------------------------------------------------------
#define HM_TOKEN_MAX 160
// "<institution>.<43 characters base64url>" of 32 random bytes.
void hm_token_new(const char *institution, char out[HM_TOKEN_MAX]);
bool hm_token_institution(struct hm_str token, char out[65]);
// What a session is called where it is listed: made from the hash of its token, and leads back to neither.
#define HM_SESSION_NAME 33
void hm_session_name(const char token_hash[65], char out[HM_SESSION_NAME]);
// (Secret hashes and invitation codes: base/code.h; folding of logins: base/text.h.)

// ---- sessions -----------------------------------------------------------------------------------------
// One sign-in, shared by the connections that use it. Loop thread only; refcounted. Kept in store as
// record "session" (id = hash of the token; data:
// {"person","account","roles","created","expires","idle_ms","seen","epoch","locale","agent"}).
struct hm_session {
    unsigned refs;
    char institution[65];
    char token_hash[65];
    char account[129];
    char login[129];      // as folded
    char person[129];     // "" when the account has no person
    struct hm_str *roles; // owned
    size_t role_count;
    bool admin;         // has role "administrator"
    int64_t expires_ms; // absolute
    int64_t idle_ms, seen_ms;
    int64_t epoch; // of the account when it began; ends when the account's is another (live.c)
    char locale[9];
    // institution, account:<id>, person:<id>, role:<r> each, and memberships. Owned reference; replaced when
    // memberships or roles change.
    struct hm_principals *principals;
    bool limited;     // must set up a second factor first, and may do nothing else: no role, no membership
    bool has_pending; // session.totp_begin was called:
    uint8_t pending[HM_TOTP_SECRET]; // its secret, until it is confirmed
    bool invisible;                  // does not want to be shown as online (presence.set)
    bool ended;                      // revoked or expired; connections drop it
    bool revoked;                    // ended by somebody: what is under way for it is not committed any more
    void *net;                       // for the room above: who listens with it
    void *engine;                    // for the engine: its own bookkeeping
};
struct hm_session *hm_session_new(void); // one reference, everything empty
void hm_session_set_roles(struct hm_session *s, const struct hm_str *roles,
                          size_t count); // copies; sets admin
bool hm_session_has_role(const struct hm_session *s, struct hm_str role);
// Past its absolute end, or unused for longer than idle_ms.
bool hm_session_expired(const struct hm_session *s, int64_t now_ms);
struct hm_session *hm_session_ref(struct hm_session *s);
void hm_session_unref(struct hm_session *s);
