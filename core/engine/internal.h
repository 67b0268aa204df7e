// What the files of this room share. Everything here belongs to the loop thread, except what is marked as the
// commit thread's or as locked.
//
// A call's way: hm_engine_call -> core method, or the institution's queue -> a worker (proc) -> result, or a
// commit item -> commit thread -> batch posted back -> answer, then changes. A call is in one place at a
// time: a queue, a worker's flight, a commit item, or held by a core method; hm_call_done ends it, wherever
// it is.
#pragma once
#include "base/id.h"
#include "base/json.h"
#include "base/metric.h"
#include "engine/engine.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>
#include <time.h>
#include <uthash.h>

#define CLUSTER "cluster"
#define CALLS_PER_WORKER 64
#define BATCH_MAX 1000
#define RERUNS_MAX 8
#define CONTENDED_FROM 3   // conflicts after which a call waits its turn in the lane of contended calls
#define EXCLUSIVE_FROM 5   // conflicts after which the commits of all others wait while it has its turn
#define COMMITS_MAX 8192   // unfinished commit items above which no call is sent to a worker
#define FRAME_REST 4096u   // of the frame of a call, beside params and caller
#define OUT_MAX (4u << 20) // bytes waiting for one worker above which it gets no further call
#define START_MS 30000     // until READY
#define IDLE_MS 60000      // a worker beyond the warm one stops after this
#define WORKER_NICE                                                                                          \
    5 // where processors are short, commits and answers go before new work: tests/bench, message.send
#define JOB_NICE 15
#define HEAVY_NICE 12     // of a worker whose calls run long
#define HEAVY_MS 20       // a call that runs longer makes its worker heavy
#define LIGHT_CALLS 8     // shorter ones in a row end that
#define JOB_WORKERS_MAX 2 // per institution
#define JOB_RESULT_MAX (1u << 20)
#define INTENTS_MAX 1000000u
#define HM_NO_PLUGINS "the institution's plugins do not load; its administrator can see why (plugin.list)"
#define IDEM_MS (7LL * 24 * 3600 * 1000)

#define HM_PLUGIN_KEY (2 * HM_NAME_MAX + 2) // "kind/id"

struct batch;
struct call;
struct catalogue;
struct commit_item;
struct deploy;
struct errand;
struct institution;
struct job;
struct layer;
struct live;
struct outbox;
struct outgoing;
struct proc;
struct reshape;
struct spread;
struct trial;
struct watch;
struct watched;

// ---- the engine ---------------------------------------------------------------------------------------
struct posted { // work for the loop, from any thread
    struct posted *next;
    void (*run)(struct posted *posted);
};

// Why a worker process ended.
enum hm_end {
    HM_END_STOPPED,      // asked to: a deploy, idle, or the server ends
    HM_END_DEADLINE,     // a call ran past the hard deadline
    HM_END_BAD_FRAME,    // it said what no worker says
    HM_END_START,        // it was not ready in time
    HM_END_CANCELLED,    // its job was cancelled
    HM_END_SERVER_STOPS, // its job was cut off by the end of the server
    HM_END_KILLED,       // SIGKILL from outside: out of memory, or somebody's hand
    HM_END_CRASHED,      // any other signal
    HM_END_EXITED,       // of its own accord
    HM_ENDS
};

enum outcome { OUTCOME_OK, OUTCOME_REFUSED, OUTCOME_CONFLICT, OUTCOME_BUSY, OUTCOME_FAILED, OUTCOMES };

struct counters {
    uint64_t calls[OUTCOMES], core_calls;
    uint64_t commits, commit_calls, commit_failures, reruns, duplicates;
    uint64_t conflicts, given_up, exclusive_turns, idem_replays, idem_refused, expired;
    uint64_t batch[11]; // calls per commit: 1, 2, 4, ... 1024
    uint64_t workers_started, workers_ended[HM_ENDS], workers_refused, bad_frames, jobs;
    uint64_t plugins_returned, plugins_failing, plugins_broken;
    uint64_t reactions, reaction_failures, reactions_set_aside, reactions_dropped;
    uint64_t timers, timer_failures;
    uint64_t refused_queue, refused_rate, refused_size; // by a limit
    struct hm_times call_time;                          // from its coming to its answer; calls of clients
    struct hm_times commit_time;                        // one transaction with its fsync
    struct hm_times commit_wait;                        // from a write's submission to its being durable
};

struct hm_engine {
    struct hm_settings settings;
    struct ev_loop *loop;
    char *data_dir, *worker_exe;
    int lock_fd;
    uint8_t master_key[32];
    struct institution *institutions; // by id
    struct institution *dirty;        // with something to send or commit before the loop sleeps
    struct institution *answering;    // with batches that were committed and are not all answered
    struct hm_pwpool *passwords;
    struct hm_rates *rates;
    ev_async wake, passwords_ready;
    ev_prepare flush;
    ev_timer tick, turn;
    struct proc *heavy; // workers whose calls run long: those first whose turn it is
    bool watching;      // the watchers above run
    pthread_mutex_t post_lock;
    struct posted *posted, **posted_tail; // under post_lock
    struct hm_listener listener;
    const struct core_method **methods; // sorted by name
    size_t method_count;
    struct hm_buf openrpc; // the document of the core's methods alone, once somebody has asked for it
    uint32_t last_call;
    size_t open_calls;
    bool draining, closing;
    void (*drained)(void *arg);
    void *drained_arg;
    struct counters counters;
    time_t started; // wall clock of the machine
    struct watch *watch;
    struct errand *errands; // under way, each on a thread of its own
    unsigned exports;       // of them
    struct past *past;      // attempts at signing in that are not written down yet
    size_t past_count;
    int64_t next_sweep_us;
    struct layer *layer;       // the cluster's, as its store says now (layer.c)
    struct spread *spreads;    // deploys of it that wait for the institutions
    unsigned following;        // trials of it under way
    struct unopened *unopened; // institutions whose store could not be opened
    struct outgoing *outgoing; // what leaves, see outgoing.h
    uint64_t drain_since_us;
    uint8_t seeds[4096];
    size_t seeds_left;
};

void hm_engine_post(struct hm_engine *engine, struct posted *posted); // any thread
void hm_engine_run_posted(struct hm_engine *engine);
void hm_engine_random(struct hm_engine *engine, uint8_t *out, size_t len);
void hm_engine_notice(struct hm_engine *engine, const char *institution, struct hm_str person,
                      struct hm_session *session, const char *method, struct hm_str params);

// ---- institutions -------------------------------------------------------------------------------------
struct committer {
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t some;
    struct commit_item *head, **tail; // under lock
    bool stop;                        // under lock
    uint64_t logged_us; // commit thread: when a failure was last logged, of which cause, and how many were
                        // not since
    enum hm_cause logged;
    unsigned unlogged;
    struct commit_item *staged, **staged_tail; // loop: given to the thread once per turn of the loop
    size_t unfinished;                         // loop: items not done yet
    size_t staged_count;                       // loop: of them, not given to the thread yet
    _Atomic uint64_t busy_since_us;            // the batch at hand; 0: none
    atomic_bool reindexing;                    // the batch at hand changes types, which may take long
    atomic_bool growing; // the map grows for it, once those who read it (a backup) have let go
};

struct expiry { // where the clearing of expired records is (expire.c)
    unsigned kind;
    char after[512]; // database key to go on behind, when a kind is walked by id
    size_t after_len;
    int64_t began_ms; // the present round
    bool resting;     // until the next round
    bool busy;        // a commit of it is under way
};

struct institution {
    UT_hash_handle hh;
    struct hm_engine *engine;
    char id[65];
    char *dir;
    int zone_minutes;
    struct hm_store *store;
    struct hm_principals *control; // of callers over the control socket, and of the system
    struct committer committer;
    uint64_t told;
    enum hm_cause refusing; // why the last batch was not written, or HM_CAUSE_OTHER
    bool is_dirty;
    struct institution *next_dirty;
    struct batch *answering; // committed, first the one that is being answered
    struct institution *next_answering;

    struct catalogue *catalogue; // in force; NULL before the first worker is ready
    unsigned generation;         // counts catalogues; workers of an older one drain
    struct proc *procs;
    bool wanted; // keeps a worker warm (the cluster: only after the first call for one)
    unsigned start_failures;
    uint64_t start_not_before_us;
    struct hm_buf refusal;   // JSON array of errors of the last refused start, while nothing runs
    unsigned types_coming;   // changes of types that were submitted and are not done
    struct trial *trial;     // one deploy, check or watch at a time
    struct reshape *reshape; // types that are about to change (reshape.c)
    bool turning;            // writes and calls wait for them
    uint64_t turn;           // see hm_store_turn, as it was last heard of
    uint64_t turn_seq;       // last change before they came into force
    bool rest_due, resting;  // of an earlier change something is to be done, is being done
    uint64_t rest_not_before_us;

    struct call *queue;      // waiting for a worker
    struct call *unresolved; // came before the first catalogue
    struct call *contended;  // waiting for their turn after several conflicts
    struct call *contender;  // the one whose turn it is
    struct call *exclusive;  // commits of others stay staged until this one has brought its own, or has ended
    struct call *delayed;    // waiting a moment before they run again
    struct idem *idems;      // by id: idem keys of calls under way
    struct call *resumed;    // waited for one of those, which has ended
    size_t waiting;          // queue + unresolved + contended + delayed
    uint64_t pressed_us;     // since when calls have been waiting for more workers, or 0

    struct layer *layer;         // the cluster's, as this institution has it; NULL: none of it
    struct layer *layer_refused; // this one was tried, and does not go with the institution's own plugins
    struct hm_buf layer_errors;  // why (JSON array)
    struct hm_buf without;       // what is left out since it does not load (rescue.c): JSON array
    bool without_told;
    struct deploy *deploys;          // wait for the end of a trial that nobody asked for
    struct watched *watched_plugins; // whose failures are counted (fresh.c)

    struct expiry expiry;
    struct outbox *outbox; // made by the first tick, see outgoing.h
    struct live *sessions; // by token hash
    struct group *groups;  // sessions by account, person, membership
    struct job *jobs;
    struct hm_buf watched; // candidates of the watched folder that were accepted (JSON array)
    bool watch_due;        // the folder has changed
    uint64_t reader_txn, reader_since_us, reader_looked_us; // the oldest snapshot that somebody still reads
    struct lane *lanes;                                     // of plugins with reactions (react.c)
    bool reaction_due;                                      // one of them may have something to do
    struct timer *timers;                                   // of plugins with `every` (timer.c)
    int64_t timers_due_ms;                                  // when the next of them comes; 0: look
    struct author *author; // what authors of plugins are given (author.h); NULL: not asked for yet
};

struct unopened {
    UT_hash_handle hh;
    char id[65];
};
#define HM_UNOPENED                                                                                          \
    "the data of this institution could not be opened; the server's log says why, and what to do"
bool hm_inst_unopened(struct hm_engine *engine, const char *id); // it exists, but is not served
struct institution *hm_inst_find(struct hm_engine *engine, const char *id);
bool hm_inst_open(struct hm_engine *engine, const char *id, struct institution **out, struct hm_error *err);
void hm_inst_free(struct institution *inst);
void hm_inst_touch(struct institution *inst); // looked at before the loop sleeps
void hm_inst_flush(struct institution *inst);
void hm_inst_tick(struct institution *inst, uint64_t now_us);
bool hm_inst_broken(const struct institution *inst); // no worker, and the last starts failed
bool hm_inst_warm(const struct institution *inst);   // has what it needs to serve
// Opens the store of a data folder without an engine (init). Closed by the caller.
bool hm_inst_store(const char *data_dir, const char *id, const uint8_t key[32],
                   const struct hm_settings *settings, struct hm_store **out, struct hm_error *err);
void hm_inst_invitation(struct hm_buf *data, int64_t now_ms, const char *person, struct hm_str roles_json,
                        const char *name);
void hm_code_new(char code[20], char hash[65]);

// ---- catalogue ----------------------------------------------------------------------------------------
enum access { ACCESS_PUBLIC, ACCESS_SIGNED_IN, ACCESS_ROLES, ACCESS_ADMIN, ACCESS_CLUSTER };

struct cat_method {
    UT_hash_handle hh;
    char name[129];
    char plugin[HM_NAME_MAX + 1], version[13]; // the service that declares it; "": it was not told
    enum access access;
    struct hm_json roles; // array
    bool job, writes, done;
};

struct cat_event { // who reacts to it
    UT_hash_handle hh;
    char name[129];
    char (*plugins)[HM_PLUGIN_KEY]; // "kind/id"
    size_t plugin_count;
};

struct cat_plugin {
    UT_hash_handle hh;
    char key[2 * HM_NAME_MAX + 2]; // "kind/id"
    struct hm_json entry;
};

struct catalogue {
    unsigned refs;
    char *json;
    struct hm_json root;
    char hash[65];
    struct cat_plugin *plugins;
    struct cat_method *methods;
    struct cat_event *events;
    struct hm_types *types;
    struct hm_buf openrpc; // the document of it, once somebody has asked for it
};

bool hm_cat_parse(struct hm_str json, struct catalogue **out, struct hm_error *err);
// like: the one in force, or NULL: where both declare the same types, they share them.
bool hm_cat_parse_like(struct hm_str json, const struct catalogue *like, struct catalogue **out,
                       struct hm_error *err);
struct catalogue *hm_cat_ref(struct catalogue *cat);
void hm_cat_unref(struct catalogue *cat);
const struct cat_method *hm_cat_method(const struct catalogue *cat, struct hm_str name);
// The reactions to an event, or NULL.
const struct cat_event *hm_cat_event(const struct catalogue *cat, struct hm_str type, enum hm_action action);
bool hm_event_has(const struct cat_event *event, const char *plugin); // "kind/id"
// The entry of "plugins" for kind and id.
bool hm_cat_plugin(const struct catalogue *cat, const char *kind, const char *id, struct hm_json *out);

// ---- calls --------------------------------------------------------------------------------------------
struct audit { // one sealed field that was opened
    struct audit *next;
    char *type, *id, *field, *why, *whose;
};

struct call {
    struct call *prev, *next;
    struct call **list; // the list it is in, or NULL
    struct hm_engine *engine;
    struct institution *institution; // NULL: a core method that needs none
    struct hm_caller *caller;        // NULL: the system
    struct hm_session
        *session; // owned reference, as it was when the call came; NULL: a stranger, control, system
    const struct core_method *core;
    char *method;
    char *params_text; // owned
    struct hm_json params;
    hm_answer_fn answer;
    void *arg;
    uint32_t id;
    uint8_t flags; // HM_CALL_*
    uint32_t cpu_ms;
    uint64_t memory_bytes;
    bool system, admin;
    bool local;        // from this machine (which gives no rights but to sign in to demo accounts)
    char *caller_json; // what the worker is told
    uint64_t known; // seq of the last change that caller_json and principals take account of; 0: no session
    char by[144];
    struct hm_principals *principals; // owned reference; NULL: a stranger
    uint8_t seed[32];
    unsigned conflicts, duplicates, deaths, moved;
    ev_timer delay;
    struct idem *idem; // NULL: it came without a key, or with one that is not kept
    struct audit *audits;
    unsigned audits_kept;
    unsigned audit_count;  // fields opened in this run
    unsigned depth;        // of a reaction: how many led to it, itself among them
    struct proc *proc;     // that has it in its flight
    struct job *job;       // part of this job
    struct trying *trying; // runs without effect, in a worker of its own (author.h)
    struct tape *tape;     // is being recorded (author.h)
    uint64_t past;         // HM_CALL_PAST
    int64_t sent_ms;       // the time that its worker was told
    uint64_t snapshot;     // seq of the one it ran on last, as its worker says; 0: not said
    // Adds to the commit of its result, and makes it commit even without intents; false: fails with err.
    bool (*extend)(struct call *call, struct commit_item *item, struct hm_str result, struct hm_error *err);
    bool extend_if_wrote; // but a result without intents is no commit
    bool waited;          // for the first catalogue
    bool pinned;          // to the worker that has it: when that is gone, the call has failed
    uint64_t turn;        // of its worker
    uint64_t began_us;
};

struct call *hm_call_new(struct hm_engine *engine, struct institution *inst, struct hm_caller *caller,
                         struct hm_str method, struct hm_str params, hm_answer_fn answer, void *arg);
void hm_call_system(struct call *call);                               // acts as the system: may everything
void hm_call_list(struct call *call, struct call **list, bool front); // moves it; list NULL: takes it out
void hm_call_enqueue(struct call *call, bool front);                  // for a worker
void hm_call_resolve_waiting(struct institution *inst);               // the first catalogue is there
// For a core method that tells of the catalogue: true when the first one is yet to come; then the method is
// called once more.
bool hm_call_needs_catalogue(struct call *call);
void hm_call_dispatch(struct institution *inst);
void hm_call_close(struct institution *inst, const char *why); // fails all that wait
void hm_call_again(struct call *call);                         // after a conflict
void hm_call_outdated(struct call *call);                      // its worker went by types of before
void hm_call_free_audits(struct call *call);
void hm_call_audit(struct call *call, struct hm_str type, struct hm_str id, struct hm_str field,
                   struct hm_str why, struct hm_str whose);
// The text of the person that the record's sealed fields are about, appended.
void hm_record_about(const struct hm_type *type, const struct hm_record *record, struct hm_buf *out);
// The envelope with its sealed fields opened, appended; each one opened is noted as an audit of the call.
void hm_record_open(struct call *call, const struct hm_type *type, const struct hm_record *record,
                    struct hm_str why, struct hm_buf *out);
// For a core method that has waited (for a password, an errand, a trial, a commit, another call of its key),
// before it commits anything: may who asked still do so? False: the call has been answered.
bool hm_call_still(struct call *call);
void hm_call_describe(struct call *call); // makes caller_json, when there is none yet
void hm_call_begin(struct call *call);    // once its rights and its idem key have been looked at
void hm_call_leave_lane(struct call *call);

// ---- idem (idem.c) ------------------------------------------------------------------------------------
// Looks at the call's idem key. False: it has been answered, from the record or because the key is no key, or
// it waits for the end of another call with the same key.
bool hm_idem_take(struct call *call);
void hm_idem_resume(struct institution *inst); // those that have waited
void hm_idem_end(struct call *call);           // the call ends, or its answer is not to be kept
bool hm_idem_busy(struct institution *inst, struct hm_str id);
// Adds the record that keeps the answer; nothing when the call has no key.
void hm_idem_put(struct commit_item *item, struct call *call, struct hm_str result);
// Answers kept before the item's commit are given to nobody any more (somebody who is erased may be in them).
void hm_idem_forget(struct commit_item *item);
// For a core method that has done its work without a commit: answers when the answer is kept.
void hm_idem_finish(struct call *call, struct hm_str result);

// What a worker says about a call; false: it is nonsense.
bool hm_call_result(struct call *call, struct hm_str payload);
bool hm_call_error(struct call *call, struct hm_str payload);
bool hm_call_unseal(struct call *call, struct hm_str payload);
void hm_call_lost(struct call *call, bool head, bool deadline, uint32_t limit_ms); // its worker is gone

// Endings. Each answers and frees the call. message: a sentence that helps (never secret); empty: the
// protocol's text for the code.
void hm_call_done(struct call *call, enum hm_code code, struct hm_str result, struct hm_str message,
                  struct hm_str data);
void hm_call_ok(struct call *call, struct hm_str result);
void hm_call_fail(struct call *call, enum hm_code code, const char *message);
void hm_call_fail_error(struct call *call, const struct hm_error *err);
void hm_call_reason(struct call *call, enum hm_code code, const char *member, const char *value);
void hm_answer_ignored(void *arg, const struct hm_answer *answer);
void hm_call_wait(struct call *call, unsigned seconds); // HM_TOO_MANY
void hm_call_param(struct call *call, const char *path, const char *message);
void hm_call_not_written(struct call *call,
                         const struct hm_error *err); // the failure of a commit, with its reason
// The default end of a commit: answers item->result.
void hm_call_committed(struct commit_item *item);
// The answer for an item that did not go through (also conflicts).
void hm_call_fail_item(struct call *call, const struct commit_item *item);

// ---- core methods -------------------------------------------------------------------------------------
struct core_method {
    const char *name;
    enum access access;
    const char *params; // "name:type" in a row, "!" after what must be there; see params.c
    const char *summary;
    void (*fn)(struct call *call); // NULL: answered by the room above
};
struct core_table {
    const struct core_method *rows;
    size_t count;
};
extern const struct core_table hm_methods_session, hm_methods_signed_in, hm_methods_totp, hm_methods_account,
    hm_methods_record, hm_methods_plugin, hm_methods_admin, hm_methods_job, hm_methods_person,
    hm_methods_presence, hm_methods_notify, hm_methods_contact, hm_methods_webhook, hm_methods_outgoing,
    hm_methods_plugin_log, hm_methods_plugin_try, hm_methods_recording;
const struct core_method *hm_core_find(const struct hm_engine *engine, struct hm_str name);
void hm_core_sort(struct hm_engine *engine);
// Checks params against a row; appends {"path","message"} for each fault and returns false.
bool hm_params_check(const char *row, struct hm_json params, struct hm_buf *errors);
void hm_params_schema(const char *row, struct hm_buf *out);                         // as JSON schema
bool hm_arg_text(const struct call *call, const char *name, char *out, size_t cap); // "" when absent
bool hm_arg_buf(const struct call *call, const char *name, struct hm_buf *out);
int64_t hm_arg_int(const struct call *call, const char *name, int64_t otherwise);
bool hm_arg_bool(const struct call *call, const char *name, bool otherwise);

// ---- commits ------------------------------------------------------------------------------------------
struct commit_item {
    struct commit_item *next;
    struct institution *institution;
    struct hm_commit commit;
    struct hm_types *types; // set: puts these in force together with what it writes
    bool (*special)(struct commit_item *item, struct hm_error *err); // commit thread: does this instead
    unsigned settle;       // instead: so many records are written in their new form
    bool ok;               // the batch is durable; then commit.code says what became of this one
    struct hm_error error; // when not ok
    void (*done)(struct commit_item *item); // loop; the item is freed behind it
    struct call *call;                      // held by the item
    void *arg;
    struct hm_str result; // JSON for the answer
    uint64_t submitted_us;
    struct hm_intent *intents;
    size_t intent_count, intent_cap;
    struct hm_seen *seen;
    void **owned;
    size_t owned_count, owned_cap;
    size_t room_used; // of what was allocated with the item: most need no more
    char room[];
};

struct commit_item *hm_item_new(struct institution *inst, const char *by, const char *method);
void hm_item_free(struct commit_item *item);
void *hm_item_own(struct commit_item *item, void *memory);             // freed with the item
struct hm_str hm_item_keep(struct commit_item *item, struct hm_str s); // copies
// audience: one principal, e.g. "role:administrator", or "" for nobody; data is copied.
void hm_item_put(struct commit_item *item, const char *type, struct hm_str id, uint64_t expect,
                 struct hm_str data, const char *audience);
void hm_item_remove(struct commit_item *item, const char *type, struct hm_str id, uint64_t expect);
void hm_item_audits(struct commit_item *item, struct call *call);
// The item holds only if nothing in [low, high) has changed since the snapshot of that seq.
void hm_item_saw(struct commit_item *item, enum hm_space space, struct hm_str low, struct hm_str high,
                 uint64_t seq);
// The item holds only if who asked is still who they were when the call was last looked at (call->known).
void hm_item_saw_caller(struct commit_item *item, const struct call *call);
// The same of one record.
void hm_item_saw_record(struct commit_item *item, const char *type, const char *id, uint64_t seq);
// Whether no record has this value of the index; if so, the item holds only as long as that is true.
bool hm_item_none(struct commit_item *item, const char *type, const char *index, struct hm_str value);
void hm_item_submit(struct commit_item *item, void (*done)(struct commit_item *item));
// For a core method: its item carries the idem record and the result. done: as for hm_item_submit,
// hm_call_committed ends the call with the result.
void hm_item_finish_call(struct commit_item *item, struct call *call, struct hm_str result,
                         void (*done)(struct commit_item *item));
bool hm_committer_start(struct institution *inst, struct hm_error *err);
// Answers a slice (all: everything) of what was committed, of each institution. True while there is more.
bool hm_committer_answer(struct hm_engine *engine, bool all);
void hm_committer_flush(struct institution *inst);
void hm_committer_stop(struct institution *inst); // finishes what waits

// ---- workers ------------------------------------------------------------------------------------------
enum proc_role { PROC_ORDINARY, PROC_JOB, PROC_TRIAL };
enum proc_state { PROC_STARTING, PROC_LOADED, PROC_READY, PROC_STOPPING, PROC_DEAD };

struct proc {
    struct proc *prev, *next;
    struct institution *institution;
    enum proc_role role;
    enum proc_state state;
    unsigned generation;
    uint64_t turn; // of the types it goes by
    bool past;     // others are in force
    pid_t pid;
    int fd, pidfd;
    ev_io readable, writable, exited;
    ev_timer deadline;
    struct hm_buf in, out;
    size_t out_at;
    bool out_blocked, reaped;
    bool end_known; // `end` says why it ends: the server wanted it
    enum hm_end end;
    unsigned holds;      // commit items that name it: not freed before they are done
    struct call *flight; // in the order they were sent
    unsigned flight_count;
    uint64_t started_us, head_since_us, idle_since_us, stop_since_us;
    uint64_t answered;
    unsigned logs;  // frames of log since the last answer
    bool heavy;     // goes behind the workers whose calls are short
    bool weighing;  // the timer of its deadline is set for HEAVY_MS
    unsigned light; // short calls in a row since
    struct proc *prev_heavy, *next_heavy;
    uint64_t held_us;            // stopped since then, till its turn comes; 0: it runs
    unsigned deadline_ms;        // of a call; 0: that of its role
    struct hm_buf unknown;       // names in its candidates that nothing has (JSON array), as READY says
    struct catalogue *catalogue; // LOADED: waits for its types
    struct trial *trial;
    struct job *job;
};

struct proc *hm_proc_start(struct institution *inst, enum proc_role role, struct hm_str candidates,
                           bool run_tests, struct hm_error *err);
struct loading { // what a worker loads beside what is stored; JSON arrays, see INIT in script/frames.h
    struct hm_str candidates, tests, without;
    const struct layer *layer;
    bool run_tests;
};
struct proc *hm_proc_load(struct institution *inst, enum proc_role role, const struct loading *loading,
                          struct hm_error *err);
void hm_proc_call(struct proc *proc, struct call *call);
void hm_proc_send(struct proc *proc, uint8_t kind, uint32_t call, struct hm_str payload);
void hm_proc_flush(struct proc *proc);
void hm_proc_stop(struct proc *proc);                     // lets it end by itself
void hm_proc_kill(struct proc *proc, enum hm_end reason); // SIGKILL, its calls go on
extern const char *const hm_end_names[HM_ENDS];
void hm_proc_tick(struct proc *proc, uint64_t now_us); // may free it
void hm_proc_end(struct proc *proc);                   // closing: kills, waits, frees
// Turns of heavy workers (turns.c).
void hm_turns_open(struct hm_engine *engine);
void hm_turns_close(struct hm_engine *engine);
void hm_turns_join(struct proc *proc);
void hm_turns_leave(struct proc *proc); // light again, or dead
void hm_turns_look(struct proc *proc);  // a heavy one has nothing to do, or computes again
// What institutions do with workers that changed.
void hm_inst_loaded(struct proc *proc, struct catalogue *cat); // READY came; takes the reference
void hm_inst_refused(struct proc *proc, struct hm_str errors);
void hm_inst_lost(struct proc *proc, bool early);
void hm_inst_activate(struct institution *inst, struct proc *proc, struct catalogue *cat);
// Neither others nor others under way.
bool hm_inst_types_in_force(struct institution *inst, const struct catalogue *cat);
void hm_inst_trial_over(struct institution *inst); // whoever waited for other types goes on

struct parsed_result { // HM_F_RESULT, borrowed from the payload except the arrays
    struct hm_str result;
    uint64_t snapshot;
    uint8_t flags;
    struct hm_seen *seen;
    size_t seen_count;
    struct hm_intent *intents;
    size_t intent_count;
};
// False (and nothing left to free) when a worker could not honestly have sent it.
bool hm_frame_result(struct hm_str payload, struct hm_types *types, struct parsed_result *out);

// ---- trials: candidates tried in a worker of their own ------------------------------------------------
struct trial {
    struct institution *institution;
    struct proc *proc;           // NULL once it is gone
    struct catalogue *catalogue; // after READY
    unsigned busy;               // commit items under way that name it; then the loss of its worker waits
    bool typing;                 // hm_trial_types was called: the types in force may become its own
    bool follows;                // it tries another layer of the cluster:
    struct layer *layer;         // this one; NULL: nothing. Owned
    bool look;                   // only what would be lost is asked for
    bool confirm;                // and somebody has said yes to it
    bool waits;                  // for the types of another worker: hm_inst_trial_over
    bool prepared;               // its types wait for hm_trial_force
    struct hm_buf changes;       // what would be or is lost: JSON array, see reshape.h
    void *arg;
    void (*ready)(struct trial *trial);
    void (*typed)(struct trial *trial, bool ok, const struct hm_error *err); // after hm_trial_types
    // It did not load, or its worker died. errors: JSON array. Ends the trial.
    void (*refused)(struct trial *trial, struct hm_str errors);
    bool aside; // beside others and without effect; never named by the institution
};
// candidates: JSON array. HM_CONFLICT when another trial of the institution is under way.
struct trial *hm_trial_start(struct institution *inst, struct hm_str candidates, struct hm_error *err);
// A worker that will never serve: its plugins' own tests are not run, its types never in force.
struct trial *hm_trial_aside(struct institution *inst, struct hm_str candidates, struct hm_error *err);
// The same over another layer of the cluster; tests: [{"kind","id"}], whose tests are run.
struct trial *hm_trial_start_on(struct institution *inst, struct layer *layer, struct hm_str tests,
                                struct hm_error *err);
// Prepares its types beside those in force (reshape.c); then `typed`, with HM_CONFLICT and `changes` when
// something would be lost.
void hm_trial_types(struct trial *trial);
// The item puts them in force with what it writes. It must be submitted at once.
void hm_trial_force(struct trial *trial, struct commit_item *item);
bool hm_trial_lossy(const struct trial *trial);
// {"reason":"lossy","changes":[…]}
void hm_trial_lossy_json(const struct trial *trial, struct hm_buf *out);
void hm_trial_adopt(struct trial *trial); // its worker serves from now on; frees the trial
void hm_trial_end(struct trial *trial);   // stops its worker, frees the trial
void hm_trial_loaded(struct proc *proc, struct catalogue *cat);
void hm_trial_refused(struct proc *proc, struct hm_str errors);

// ---- sessions in use ----------------------------------------------------------------------------------
struct live {
    UT_hash_handle hh;
    struct institution *institution;
    struct hm_session *session; // one reference
    char *json;                 // what workers are told of the caller, without the closing brace
    char by[144];
    const char *reason; // why it ends, when known before
    int64_t saved_seen_ms;
    bool stale, ended;
    struct group **groups;
    size_t group_count, group_cap;
};
// The session of a token; loads it when it is not in use yet. HM_UNAUTHENTICATED when there is none, or
// no longer.
bool hm_live_find(struct hm_engine *engine, struct hm_str token, struct live **out, struct hm_error *err);
bool hm_live_load(struct institution *inst, const char *token_hash, struct live **out, struct hm_error *err);
void hm_live_answer(struct live *live, const char *token,
                    struct hm_buf *out); // the result of sign-in and resume
struct live *hm_live_of(struct hm_session *session);
void hm_live_end(struct live *live, const char *reason);
bool hm_live_use(struct live *live, int64_t now_ms); // false: it has expired (and ended)
void hm_live_changes(struct institution *inst, const struct hm_change *changes, size_t count);
void hm_live_sweep(struct institution *inst, int64_t now_ms);
// To every session of an account.
void hm_live_notice(struct institution *inst, const char *account, const char *method, struct hm_str params);
void hm_live_close(struct institution *inst);
void hm_caller_attach(struct hm_caller *caller, struct live *live);

// Ends the sessions of an account with this item; `keep` (a token's hash or NULL) goes on. The account's
// record is put, with whatever else in `data` has changed, and with an epoch that outdates also a session of
// a sign-in that is still under way. The caller has read `account` in `read`.
void hm_live_end_all(struct commit_item *item, struct hm_read *read, struct hm_types *types,
                     const struct hm_record *account, struct hm_json data, const char *keep);
// Sessions of this account that have expired, and the one unused for longest when there are too many, go with
// this item.
void hm_live_tidy(struct commit_item *item, const char *account);
int64_t hm_json_number(struct hm_json object, const char *name); // 0 when it has no such whole number

// ---- the second factor --------------------------------------------------------------------------------
// Record "factor", id = account: {"person","secret" (sealed, see auth.h),"step" (of the last code used),
// "recovery" (hashes of those not used),"since"}.
#define RECOVERY_CODES 10
struct factor {
    bool on;
    char account[HM_ID_MAX + 1];
    uint64_t version;
    struct hm_buf data;
    unsigned left; // recovery codes
    bool recovery; // the code that was proved is one
};
void hm_factor_read(struct hm_read *read, const char *account, struct factor *out);
void hm_factor_free(struct factor *f);
// Proves a code (of the phone, or a recovery code); then data is what must be kept with the same commit, so
// that no code is good twice. False: HM_UNAUTHENTICATED for a wrong code, else why it cannot be known.
bool hm_factor_prove(struct institution *inst, struct factor *f, struct hm_str code, struct hm_error *err);
void hm_factor_put(struct commit_item *item, const struct factor *f); // after hm_factor_prove
void hm_factor_new(struct commit_item *item, struct institution *inst, const struct hm_session *session,
                   const uint8_t secret[HM_TOTP_SECRET], int64_t step,
                   char codes[RECOVERY_CODES][20]);                     // makes the codes
void hm_factor_renew(struct factor *f, char codes[RECOVERY_CODES][20]); // others instead of those left
// By the setting, an account of staff must have one, and this has none.
bool hm_factor_missing(const struct hm_engine *engine, struct hm_read *read, const char *id,
                       struct hm_json account);

// ---- what was done with accounts ----------------------------------------------------------------------
// Records "sign_in", for session.history: {"account","person","time","outcome","agent","network"}; outcomes
// in, failed, code, password, totp_on, totp_off, totp_renew, totp_reset, out. address: NULL leaves the
// network out.
void hm_history_put(struct commit_item *item, const char *account, const char *person, const char *outcome,
                    const char *agent, const char *address);
// For what is no commit of its own: written a moment later, so that the answer cannot tell that there is an
// account; of one outcome no more than ten an hour.
void hm_history_later(struct institution *inst, const char *account, const char *person, const char *outcome,
                      const char *address);
void hm_history_flush(struct hm_engine *engine);
void hm_history_sweep(struct institution *inst, int64_t now_ms); // what is older than is kept
bool hm_history_list(struct institution *inst, const char *account, struct hm_buf *out, struct hm_error *err);
void hm_history_close(struct hm_engine *engine);

// ---- jobs, reactions, plugins, watching ---------------------------------------------------------------
void hm_job_start(struct call *call,
                  const struct cat_method *method); // with the call's `extend`, if it has one
void hm_job_schedule(struct institution *inst);
void hm_job_progress(struct job *job, double part, struct hm_str note);
void hm_job_tick(struct institution *inst, uint64_t now_us);
void hm_job_forget(struct institution *inst); // no record of a job says any more what it was begun with
void hm_job_lost(struct job *job);            // its worker is gone
void hm_job_recover(struct institution *inst);
void hm_job_drain(struct institution *inst); // ends what runs, so that the server may stop
void hm_job_close(struct institution *inst);
void hm_job_count(const struct institution *inst, unsigned *queued, unsigned *running);
struct proc *hm_job_proc(const struct job *job); // its worker when it can take a call, or NULL

// ---- reactions (react.c) and timers (timer.c) of plugins
void hm_react_catalogue(struct institution *inst); // another one is in force
void hm_react_changes(struct institution *inst, const struct hm_change *changes, size_t count);
void hm_react_next(struct institution *inst);
void hm_react_tick(struct institution *inst);
void hm_react_close(struct institution *inst);
uint64_t hm_react_waiting(const struct institution *inst); // changes from the first not reacted to
unsigned hm_react_set_aside(const struct institution *inst);
void hm_timer_catalogue(struct institution *inst);
void hm_timer_tick(struct institution *inst);
void hm_timer_close(struct institution *inst);
uint64_t hm_retry_us(const struct hm_engine *engine,
                     unsigned tries); // how long to wait after so many failures
// Why a reaction or timer failed, for its record: "code" and, if a plugin says so, version, file and line; no
// message, which may name somebody. Appended members.
void hm_failure_members(struct hm_buf *out, const struct hm_answer *answer);
bool hm_failure_own(const struct hm_answer *answer); // its own failure; else it had no chance
extern const struct core_table hm_methods_react, hm_methods_timer, hm_methods_api;

void hm_watch_open(struct hm_engine *engine);
void hm_watch_close(struct hm_engine *engine);
void hm_watch_tick(struct hm_engine *engine);
// Candidates for ordinary starts of this institution (JSON array), or empty.
struct hm_str hm_watch_candidates(struct institution *inst);

void hm_expire_tick(struct institution *inst, int64_t now_ms);

// ---- what leaves: outgoing.h; here, what the rest of the engine calls -----------------------------------
bool hm_outgoing_open(struct hm_engine *engine, struct hm_error *err);
void hm_outgoing_tick(struct institution *inst, int64_t now_ms);
void hm_telegram_tick(struct hm_engine *engine);
void hm_outgoing_changes(struct institution *inst, const struct hm_change *changes, size_t count);
void hm_outgoing_lane_clear(struct institution *inst, const char *name); // tried at once
bool hm_outgoing_busy(const struct hm_engine *engine,
                      uint64_t since_us);          // draining: worth a moment's waiting
void hm_outgoing_stop(struct hm_engine *engine);   // nothing is under way any more
void hm_outgoing_forget(struct institution *inst); // it closes, behind hm_outgoing_stop
void hm_outgoing_close(struct hm_engine *engine);
void hm_outgoing_metrics(struct hm_engine *engine, struct hm_buf *out);
// What a worker sends of notifications and events: whether it is what an honest one would send; *told: how
// many.
bool hm_notify_honest(const struct parsed_result *r, size_t *told);
bool hm_notify_allowed(struct call *call, size_t told);     // false: the call has been answered
void hm_notify_take(struct commit_item *item, size_t told); // into what the core writes

// ---- errands: work on a thread of its own, see errand.c -------------------------------------------------
struct errand {
    struct posted posted;
    struct errand *next;
    struct hm_engine *engine;
    pthread_t thread;
    bool joined;
    void (*run)(struct errand *errand);  // on its thread
    void (*done)(struct errand *errand); // on the loop; may start it once more, or free it
};
bool hm_errand_start(struct hm_engine *engine, struct errand *errand, struct hm_error *err);
void hm_errands_wait(struct hm_engine *engine); // closing: their threads end; `done` comes as posted work

// Is there anything of them: a record, an account, an invitation, an entry of the audit?
bool hm_person_known(struct institution *inst, const char *person);
void hm_person_erase(struct call *call);
void hm_person_erase_resume(
    struct institution *inst); // what was not finished, or is to be done after a restore

void hm_readers_look(struct institution *inst, uint64_t now_us); // for hamroh_oldest_reader_seconds
// Checks roles (JSON array of texts); empty is fine. The error says which is unknown.
bool hm_roles_valid(struct hm_json roles, struct hm_error *err);

// ---- helpers shared by methods ------------------------------------------------------------------------
// A record's data parsed; false when absent. Read must be open.
bool hm_read_data(struct hm_read *read, const char *type, struct hm_str id, struct hm_record *record,
                  struct hm_json *data);
// The first record whose unique index has this value.
bool hm_read_unique(struct hm_read *read, struct hm_types *types, const char *type, const char *index,
                    struct hm_str value, struct hm_record *record, struct hm_json *data);
// Every record whose index begins with the value.
bool hm_read_each(struct hm_read *read, struct hm_types *types, const char *type, const char *index,
                  struct hm_str value, bool descending,
                  bool (*fn)(void *arg, const struct hm_record *record, struct hm_json data), void *arg);
// A JSON object with one member replaced or added (raw: JSON), appended.
void hm_json_with(struct hm_json object, const char *name, struct hm_str raw, struct hm_buf *out);
void hm_item_ignored(struct commit_item *item); // a `done` that looks at nothing
void hm_record_list(struct call *call, const char *type, const char *index, struct hm_str equals_json,
                    bool descending);
