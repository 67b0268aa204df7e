// Inside of the plugin host: what the files of this room share and nobody else includes.
//
// One host a process, one thread. A host has sources (fixed once privileges are dropped), a state of Lua made
// from them (thrown away and made again when it met a limit), and the call that runs. What may be raised as
// an error of Lua is raised with hm_raise or luaL_error; buffers that live across such a place belong to the
// host and are used again.
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include "base/id.h"
#include "base/json.h"
#include "base/wire.h"
#include "script/sandbox.h"
#include "script/schema.h"
#include "script/tx.h"
#include "store/store.h"
#include <lua.h>

#define HM_CALL_DEPTH 16 // methods that call methods

// ---- sources (sources.c)
// -------------------------------------------------------------------------------------------------- One file
// of Lua. Kinds: service, matcher, activity, questionnaire, report, and lib (id "lib.time",
// "lib.kinds.service").
struct hm_source {
    char kind[16];
    char id[HM_NAME_MAX + 1]; // of a shipped plugin: "" until it was loaded
    char file[128];           // "services/pair.lua": how errors name it
    char layer[16];           // "shipped", "cluster", "institution"
    char hash[65];            // of the text; its first 12 are the version
    char note[200];
    char *text; // owned
    size_t len;
    bool candidate; // given by INIT: its tests are run
};
struct hm_sources {
    struct hm_source *list;
    size_t count, cap;
    bool of_cluster; // the store is that of the institution `cluster`, whose layer is the cluster's
};
void hm_sources_free(struct hm_sources *s);
struct hm_source *hm_sources_add(struct hm_sources *s, const char *kind, const char *id, const char *file,
                                 const char *layer, struct hm_str text);
bool hm_sources_read_shipped(struct hm_sources *s, const char *plugin_dir, struct hm_error *err);
bool hm_sources_read_store(struct hm_sources *s, struct hm_store *store, struct hm_error *err);
// The cluster's layer as INIT gives it; to be read behind what is shipped and before the store.
bool hm_sources_read_base(struct hm_sources *s, struct hm_json base, struct hm_error *err);
bool hm_sources_read_candidates(struct hm_sources *s, struct hm_json candidates, struct hm_error *err);
void hm_sources_without(struct hm_sources *s, struct hm_json list); // leaves these out, of whatever layer
void hm_sources_try(struct hm_sources *s, struct hm_json list);     // the tests of these are run, too
const struct hm_source *hm_sources_find(const struct hm_sources *s, const char *kind,
                                        const char *id); // lib only
// "service" of "service", "services"; NULL when there is no such kind. The folder of a kind.
const char *hm_kind_of(const char *text);
const char *hm_kind_folder(const char *kind);

// ---- random numbers of a call (random.c): a stream of ChaCha20 under the call's seed -----------
struct hm_random {
    uint8_t key[32], block[64];
    uint32_t counter;
    unsigned at;
};
void hm_random_seed(struct hm_random *r, const uint8_t seed[32]);
void hm_random_bytes(struct hm_random *r, void *out, size_t len);
double hm_random_unit(struct hm_random *r);                // [0, 1)
uint64_t hm_random_below(struct hm_random *r, uint64_t n); // 0 … n - 1, every one equally often

// ---- the host ----------------------------------------------------------------------------------
struct hm_limits {
    unsigned cpu_ms;
    uint64_t memory_bytes;
    size_t output_bytes;
    unsigned log_lines;
};

// What went wrong, as it will be told.
struct hm_trouble {
    enum hm_code code; // HM_OK: nothing
    char message[480];
    char file[128];
    int line;
    int plugin;         // index in loaded, or -1
    struct hm_buf data; // JSON object, or empty
};

struct hm_who { // its texts are borrowed from the call's frame, or from the host's memory of callers
    struct hm_json caller;
    char person[HM_ID_MAX + 1], login[HM_ID_MAX + 1], locale[9];
    bool admin, local;
    struct hm_json roles;
    struct hm_principals *principals; // owned; made when it is asked for
};

struct hm_call {
    uint32_t number;
    struct hm_who who;
    int64_t now_ms;
    struct hm_random random;
    bool may_write;
    bool upgrading; // old records are looked at: their upgrades see nothing else
    bool testing;   // a plugin's own test: nothing leaves the process
    unsigned log_lines;
};

// A plugin as the state of Lua has it: declaration number i is REG_DECLS[i + 1].
struct hm_loaded {
    const struct hm_source *source;
    char id[HM_NAME_MAX + 1];
    bool active; // no other layer lies over it
    int under;   // what it overrides, or -1
};

// Callers as they were read before: the same sessions call again and again, and say the same of themselves.
#define HM_CALLERS 128u
struct hm_known {
    char *text; // owned; NULL: empty
    size_t len;
    struct hm_who who;
};

struct hm_channel;
struct hm_host {
    struct hm_sandbox box;
    size_t loaded_bytes;        // of its pool, once everything was loaded
    bool open;                  // the state is made
    struct hm_store *store;     // NULL: offline
    struct hm_channel *channel; // NULL: offline
    struct hm_sources sources;
    struct hm_limits limits;
    char institution[HM_NAME_MAX + 1];
    int zone_minutes;
    struct hm_types *types;
    struct hm_loaded *loaded;
    size_t loaded_count;
    unsigned calls; // since the state was made
    struct hm_call call;
    struct hm_known known[HM_CALLERS]; // by a hash of the text
    struct hm_tx *tx;
    struct hm_trouble trouble;
    struct hm_buf catalogue, warnings, problems; // JSON
    struct hm_buf out;                           // result of a call
    struct hm_buf scratch[6];                    // for functions that may raise while they fill one
    struct hm_faults faults;
};
struct hm_host *hm_host_of(lua_State *L);
void hm_host_free(struct hm_host *host);

// Keys in the registry.
extern const char hm_reg_decls, hm_reg_methods, hm_reg_owners, hm_reg_records, hm_reg_kinds, hm_reg_required,
    hm_reg_error, hm_reg_ctx, hm_reg_ctx_now, hm_reg_active;
// Makes the state from the sources: declarations, methods, types, catalogue. On failure `problems` is a JSON
// array of
// {"plugin","file","line","message"}, all of them.
bool hm_host_load(struct hm_host *host);
bool hm_host_renew(struct hm_host *host); // when it met a limit, is old or keeps too much memory
void hm_host_drop(struct hm_host *host);
// Runs the tests of the candidates (all: of every plugin). Failures are added to problems. Counts what
// passed.
bool hm_host_test(struct hm_host *host, bool all,
                  void (*told)(void *arg, const struct hm_loaded *plugin, unsigned passed, unsigned failed),
                  void *arg);
int hm_test_inner(lua_State *L); // a method inside of a test
void hm_problem(struct hm_host *host, const char *plugin, const char *file, int line, const char *message);
// The same of a plugin that is known: the problem says kind, id and layer, and where the message begins with
// the path of a member of the declaration ("methods.a.access: …"), that, too.
void hm_problem_of(struct hm_host *host, const struct hm_source *source, const char *plugin, const char *file,
                   int line, const char *message);
void hm_warning(struct hm_host *host, const char *plugin, const char *file, const char *message);
// Builds host->catalogue from what is loaded (catalogue.c). Runs protected: may raise.
void hm_catalogue_build(lua_State *L);
void hm_catalogue_plugins(lua_State *L, struct hm_json params, struct hm_buf *out); // "$plugins"
void hm_shape_look(lua_State *L, struct hm_json params, struct hm_buf *out);        // "$shape" (shape.c)
void hm_types_build(lua_State *L, struct hm_buf *out);                              // the types array

// ---- calls (call.c) ----------------------------------------------------------------------------
struct hm_call_args {
    uint32_t number;
    struct hm_str method, params, caller, seed;
    int64_t now_ms;
    struct hm_limits limits;
    uint8_t flags;
};
// Runs one call. True: host->out is the result (JSON) and host->tx what it read and means to write, until
// hm_call_end. False: host->trouble says why.
bool hm_call_run(struct hm_host *host, const struct hm_call_args *args);
void hm_call_end(struct hm_host *host);
// For plugin tests and ctx:call: the method `name` with the value on the top of the stack as params; leaves
// its result there.
void hm_call_method(lua_State *L, const char *name, bool check_access);
void hm_who_read(struct hm_who *who, struct hm_json caller);
// Reads a caller's text, or remembers having read it. who is freed with hm_who_free.
bool hm_who_recall(struct hm_host *host, struct hm_str text, struct hm_who *who, struct hm_error *err);
void hm_who_forget(struct hm_host *host); // all that is remembered
void hm_who_free(struct hm_who *who);
bool hm_who_has_role(const struct hm_who *who, struct hm_str role);
struct hm_principals *hm_who_principals(struct hm_who *who); // borrowed
bool hm_who_is(struct hm_who *who, struct hm_str name);      // a role, or a principal such as "pair:<id>"
void hm_ctx_push(lua_State *L);                              // the ctx of the call that runs
void hm_ctx_make(struct hm_host *host);                      // at the beginning of a call, protected
int hm_traceback(lua_State *L);                              // message handler: notes the place
// Turns the error value on the top of the stack (popped) into host->trouble.
void hm_trouble_take(struct hm_host *host, int status);
void hm_trouble_clear(struct hm_host *host);

// Raises an error of the protocol; data: index of a table, or 0.
_Noreturn void hm_raise(lua_State *L, enum hm_code code, const char *message, int data);
_Noreturn void hm_raise_error(lua_State *L,
                              const struct hm_error *err); // with {"reason": message} for conflicts
_Noreturn void hm_raise_faults(lua_State *L, const struct hm_faults *faults);
struct hm_buf *hm_scratch(struct hm_host *host, unsigned which); // emptied
// The value at index as JSON in scratch buffer `which`, or an error that names `what`.
struct hm_json hm_check_json(lua_State *L, int index, unsigned which, const char *what);
struct hm_str hm_check_str(lua_State *L, int index);
void hm_push_str(lua_State *L, struct hm_str s);
// A list of texts at index (nil: empty) as a packed list in scratch buffer `which`; raises, naming `what`.
struct hm_str hm_check_packed(lua_State *L, int index, unsigned which, const char *what);

// ---- what plugins may call (api.c and the lua_*.c files)
// ------------------------------------------------------------------------ One row a function: registration,
// plugins/meta and the reference are made from it.
struct hm_lua_fn {
    const char *name;
    const char *signature; // "type: string, id: string -> Record?"
    const char *doc;
    lua_CFunction fn;
    const char *need; // right that it asks for, or NULL
};
struct hm_lua_module {
    const char *name; // "store"; "ctx", "t": methods (fn(self, …))
    const char *doc;
    const struct hm_lua_fn *fns; // ended by name NULL
    bool method;
};
extern const struct hm_lua_module hm_module_ctx, hm_module_store, hm_module_accounts, hm_module_text,
    hm_module_calendar, hm_module_match, hm_module_stats, hm_module_log, hm_module_plugins, hm_module_base,
    hm_module_t;
extern const struct hm_lua_module *const hm_modules[];     // all, ended by NULL
bool hm_meta_write(const char *dir, struct hm_error *err); // plugins/meta (meta.c)
void hm_record_push(lua_State *L, const struct hm_view *view);
void hm_log_line(struct hm_host *host, int level, struct hm_str text);

// ---- to the server (channel.c) -----------------------------------------------------------------
struct hm_channel *hm_channel_new(int fd);
void hm_channel_free(struct hm_channel *c);
struct hm_frame_in {
    uint8_t kind;
    uint32_t call;
    struct hm_reader rest; // borrowed until the next
};
// Next whole frame; waits when there is none and flushes before it waits. False: the other side closed, or
// err.
bool hm_channel_next(struct hm_channel *c, struct hm_frame_in *out, struct hm_error *err);
// Waits for a frame of this kind and call; others stay in the queue.
bool hm_channel_wait_for(struct hm_channel *c, uint8_t kind, uint32_t call, struct hm_frame_in *out,
                         struct hm_error *err);
struct hm_buf *hm_channel_begin(struct hm_channel *c, uint8_t kind,
                                uint32_t call); // fields are appended to it
void hm_channel_end(struct hm_channel *c);
bool hm_channel_flush(struct hm_channel *c, struct hm_error *err);
void hm_channel_flush_if_old(struct hm_channel *c); // an answer must not wait behind a long call

// ---- the walls (confine.c) ---------------------------------------------------------------------
bool hm_confine_begin(int keep_fd, bool keep_output,
                      struct hm_error *err); // first of all: descriptors, death with the parent
bool hm_confine(struct hm_error *err);       // before any plugin's code: the rest
