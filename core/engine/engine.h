// Everything that serves one data folder: institutions, their stores and worker processes, queues, the
// commit threads, jobs, and the methods of the core (session.*, record.*, job.*, plugin.*, account.*,
// institution.*, rpc.discover). All functions run on the loop thread unless said otherwise. Lua never
// runs in this process.
#pragma once
#include "auth/auth.h"
#include "base/buf.h"
#include "base/error.h"
#include "store/store.h"
#include <ev.h>

struct hm_settings {         // from the settings file (cmd/settings), defaults in cmd/settings.c
    char listen[128];        // "127.0.0.1:8080"
    bool demo_from_anywhere; // accounts marked demo may sign in from other machines
    char web_dir[512], plugin_dir[512];
    char backup_dir[512]; // where backup.create makes its sets; empty: DATA/backups
    unsigned workers_max; // per institution
    unsigned cpu_ms, job_cpu_ms, deadline_ms, job_deadline_ms;
    uint64_t memory_bytes, job_memory_bytes, output_bytes;
    unsigned log_lines;
    unsigned reaction_tries, reaction_retry_ms; // of reactions and timers of plugins that fail
    uint64_t message_bytes;                     // largest frame, 1 MiB
    unsigned queue_max;                         // calls waiting per institution
    unsigned connections_max;
    unsigned session_idle_hours, session_days;
    bool staff_totp;      // staff without a second factor may do nothing but set one up
    unsigned feed_queue;  // events waiting per client before resync
    uint64_t feed_bytes;  // of memory for what waits for all clients
    unsigned feed_replay; // changes that are read back from the log for one who comes back
    unsigned presence_grace_ms;
    int zone_minutes; // offset of the institution's zone, 300 for Tashkent
    char watch_dir[512], watch_institution[65];
    bool clock_manual;
    // a fresh version of a plugin that fails on live calls is taken back (core/engine/fresh.c)
    unsigned plugin_return_window_ms, plugin_return_failures, plugin_return_ratio;
    uint64_t map_bytes, map_max;
    // operations
    unsigned log_level;      // enum hm_level
    bool log_plugin_texts;   // what plugins say goes into the log, not only that they do
    uint64_t log_keep_bytes; // of what plugins say, kept in memory for plugin.log, an institution
    char metrics_token[129]; // /metrics asks for it; empty: this machine only
    unsigned drain_seconds;  // given to calls under way when the server is asked to end
    // what leaves (engine/outgoing.h)
    char public_url[512]; // where people reach the web client, for links
    char smtp_url[256], smtp_user[256], smtp_password_file[512], smtp_from[256];
    bool smtp_plain;
    char telegram_token_file[512], telegram_bot[65], telegram_api[256];
    char webhook_networks[512], outgoing_ca[512];
    unsigned outgoing_days, outgoing_timeout_ms, outgoing_per_day, notify_per_call, notify_per_day;
    // the network (core/net)
    char tls_certificate[512], tls_key[512]; // PEM files; empty: no TLS here
    char trusted_proxy[512];                 // addresses or networks whose X-Forwarded-For is believed
    char allowed_origins[512];               // beside the one that was asked
    unsigned connections_per_address, connections_per_account;
    bool limit_loopback; // both count connections from this machine, too
    unsigned header_timeout_ms, message_timeout_ms, send_timeout_ms, silence_timeout_ms, stranger_timeout_ms;
};

struct hm_engine;
struct hm_engine_options {
    const char *data_dir;
    const struct hm_settings *settings; // copied
    struct ev_loop *loop;               // borrowed
    const char *worker_exe; // program started as `EXE worker DIR`; NULL = this one (tests give their own)
};
// Takes the lock file of the folder (HM_UNAVAILABLE names the process that has it).
bool hm_engine_open(const struct hm_engine_options *options, struct hm_engine **out, struct hm_error *err);
// Refuses new calls (HM_UNAVAILABLE), lets running ones end, then calls drained.
void hm_engine_drain(struct hm_engine *engine, void (*drained)(void *arg), void *arg);
void hm_engine_close(struct hm_engine *engine);
const struct hm_settings *hm_engine_settings(const struct hm_engine *engine);
// Puts these in force (copied). What was taken at start (folders, maps, the feed's queue) stays as it was:
// the caller leaves those members as hm_engine_settings has them.
void hm_engine_settings_set(struct hm_engine *engine, const struct hm_settings *settings);
// How long the longest commit of this moment has been running; a change of types, which may build an index
// anew, does not count. Long: the disk does not answer.
uint64_t hm_engine_commit_us(const struct hm_engine *engine);
bool hm_engine_ready(
    const struct hm_engine *engine); // every institution's store open, sound, and a worker ready
// Every institution that could be opened has a worker: nothing is gained by waiting longer.
bool hm_engine_warm(const struct hm_engine *engine);
// Appends a line for each thing that is amiss, also for want of room, which does not make it unready. Names
// nobody.
void hm_engine_amiss(const struct hm_engine *engine, struct hm_buf *out);

// Makes a new data folder: key file (0600), cluster environment, first administrator's invitation. `code`
// is printed once.
bool hm_engine_init(const char *data_dir, char code[20], struct hm_error *err);

// ---- calls --------------------------------------------------------------------------------------------
// Who is calling: one per connection (or per HTTP request). Refcounted, since the connection may close first.
struct hm_caller {
    unsigned refs;
    struct hm_session *session; // owned reference, or NULL; session.login, resume, accept, logout set it
    char address[64];           // for rate limits, never logged whole
    bool loopback;              // the peer is this machine
    bool control;               // over the control socket: acts as administrator of `institution`
    char institution[65];       // control only
    bool persistent;            // a connection (WebSocket, control): sign-in attaches to it
    void *net;                  // the connection, NULLed when it closes
};
struct hm_caller *hm_caller_new(void);
struct hm_caller *hm_caller_ref(struct hm_caller *caller);
void hm_caller_unref(struct hm_caller *caller);

// result: JSON text; or code != 0 with message (a sentence that helps, or the protocol's text for the code)
// and data (JSON object or empty). Borrowed during the callback.
struct hm_answer {
    enum hm_code code;
    struct hm_str result;
    struct hm_str message;
    struct hm_str data;
    uint64_t snapshot; // that a worker read, for the engine's own questions
};
typedef void (*hm_answer_fn)(void *arg, const struct hm_answer *answer);
// params: JSON text of an object or array, already checked as JSON; empty = {}. Copied if needed later.
// answer is called exactly once, perhaps before this returns. `notification`: nobody waits for the answer
// (still called).
void hm_engine_call(struct hm_engine *engine, struct hm_caller *caller, struct hm_str method,
                    struct hm_str params, hm_answer_fn answer, void *arg);
// For HTTP: the session of a bearer token, or NULL (new reference).
struct hm_session *hm_engine_session(struct hm_engine *engine, struct hm_str token);

// ---- what happens -------------------------------------------------------------------------------------
struct hm_listener {
    // Every committed change of every institution, in seq order per institution, after the answers of its
    // batch.
    void (*change)(void *arg, const char *institution, const struct hm_change *change);
    // The session's principals were replaced (old ones still valid during the call).
    void (*principals)(void *arg, struct hm_session *session, struct hm_principals *old);
    // Tell every connection of this person (or of this session when not NULL) something that is not a record.
    void (*notice)(void *arg, const char *institution, struct hm_str person, struct hm_session *session,
                   const char *method, struct hm_str params);
    // The session ended: reason "logout", "revoked", "expired".
    void (*ended)(void *arg, struct hm_session *session, const char *reason);
    void *arg;
    // Tell the connection of this caller (its `net`) alone.
    void (*tell)(void *arg, struct hm_caller *caller, const char *method, struct hm_str params);
};
void hm_engine_listen(struct hm_engine *engine, const struct hm_listener *listener); // copied; one listener

// ---- for the feed and the metrics ---------------------------------------------------------------------
struct hm_store *hm_engine_store(struct hm_engine *engine,
                                 const char *institution); // NULL when unknown; borrowed
// Last seq whose changes have been given to the listener: a feed opened now starts behind it.
uint64_t hm_engine_told(struct hm_engine *engine, const char *institution);
void hm_engine_metrics(struct hm_engine *engine, struct hm_buf *out); // Prometheus text, no personal data
void hm_engine_openrpc(struct hm_engine *engine, const char *institution,
                       struct hm_buf *out); // institution NULL: core's only
