// The engine as a whole: its data folder and lock, its watchers on the loop, what other threads post to
// the loop, and its end. Loop thread, except hm_engine_post. What always holds: one process has a data
// folder; posted work runs on the loop in the order it was posted; closing answers every call that is
// still open.
#include "base/clock.h"
#include "base/log.h"
#include "engine/internal.h"
#include "engine/plugin.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define TICK_S 0.1
#define SWEEP_US 30000000
#define PASSWORD_THREADS 2
#define PASSWORD_QUEUE 256
#define RATE_KEYS 100000

// ---- the folder ---------------------------------------------------------------------------------------

static void path_of(const struct hm_engine *engine, const char *name, struct hm_buf *out) {
    hm_buf_clear(out);
    hm_buf_printf(out, "%s/%s", engine->data_dir, name);
}

static bool lock_take(const char *data_dir, int *out, struct hm_error *err) {
    struct hm_buf path = {0};
    char text[32] = "";
    bool ok = false;
    hm_buf_printf(&path, "%s/lock", data_dir);
    int fd = open(path.data, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        hm_fail(err, HM_UNAVAILABLE, "%s: %s", path.data, strerror(errno));
    } else if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        ssize_t n = pread(fd, text, sizeof text - 1, 0);
        text[n > 0 ? strspn(text, "0123456789") : 0] = 0;
        hm_fail(err, HM_UNAVAILABLE, "%s is served by process %s already", data_dir,
                text[0] ? text : "(unknown)");
    } else {
        int len = snprintf(text, sizeof text, "%ld\n", (long)getpid());
        ok = ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)len, 0) == len;
        if (!ok) hm_fail(err, HM_UNAVAILABLE, "%s: %s", path.data, strerror(errno));
    }
    if (ok)
        *out = fd;
    else if (fd >= 0)
        close(fd);
    hm_buf_free(&path);
    return ok;
}

static bool key_read(const char *data_dir, uint8_t key[32], struct hm_error *err) {
    struct hm_buf path = {0}, text = {0};
    size_t len = 0;
    hm_buf_printf(&path, "%s/server.key", data_dir);
    bool ok = hm_read_file(path.data, 4096, &text, err) && hm_secret_finish(path.data, err);
    if (ok && (sodium_hex2bin(key, 32, text.data, text.len, " \r\n", &len, NULL) != 0 || len != 32))
        ok = hm_fail(err, HM_UNAVAILABLE, "%s does not hold a key of 32 bytes in hex", path.data);
    if (text.data) sodium_memzero(text.data, text.cap);
    hm_buf_free(&text);
    hm_buf_free(&path);
    return ok;
}

// ---- init ---------------------------------------------------------------------------------------------

static bool folders_make(const char *data_dir, struct hm_error *err) {
    struct hm_buf path = {0};
    hm_buf_printf(&path, "%s/institutions", data_dir);
    bool ok =
        (mkdir(data_dir, 0700) == 0 || errno == EEXIST) && (mkdir(path.data, 0700) == 0 || errno == EEXIST);
    if (!ok) hm_fail(err, HM_UNAVAILABLE, "%s: %s", path.data, strerror(errno));
    hm_buf_free(&path);
    return ok;
}

static bool key_make(const char *data_dir, uint8_t key[32], struct hm_error *err) {
    struct hm_buf path = {0};
    char hex[66];
    bool ok = false;
    hm_buf_printf(&path, "%s/server.key", data_dir);
    if (access(path.data, F_OK) == 0) {
        hm_fail(err, HM_CONFLICT, "%s exists already: this folder has been made before", path.data);
    } else {
        randombytes_buf(key, 32);
        sodium_bin2hex(hex, 65, key, 32);
        hex[64] = '\n';
        ok = hm_write_secret(path.data, (struct hm_str){hex, 65}, err);
    }
    sodium_memzero(hex, sizeof hex);
    hm_buf_free(&path);
    return ok;
}

static bool invite_first(struct hm_store *store, char code[20], struct hm_error *err) {
    struct hm_buf data = {0};
    struct hm_write *write = NULL;
    char hash[65];
    bool ok = false;
    hm_code_new(code, hash);
    hm_inst_invitation(&data, hm_now_ms(), NULL, HM_LIT("[\"administrator\"]"), "first administrator");
    struct hm_intent intent = {
        .type = HM_LIT("invitation"), .id = hm_str_of(hash), .data = hm_buf_view(&data)};
    struct hm_commit commit = {.intents = &intent,
                               .intent_count = 1,
                               .by = HM_LIT(""),
                               .method = HM_LIT("init"),
                               .now_ms = hm_now_ms(),
                               .from_core = true};
    if (!hm_write_begin(store, &write, err)) goto out;
    if (!hm_write_apply(write, &commit, err) || commit.code != HM_OK) {
        if (commit.code != HM_OK && err) *err = commit.error;
        hm_write_abort(write);
        goto out;
    }
    ok = hm_write_commit(write, NULL, NULL, err);
out:
    hm_buf_free(&data);
    return ok;
}

bool hm_engine_init(const char *data_dir, char code[20], struct hm_error *err) {
    uint8_t key[32];
    struct hm_store *store = NULL;
    int lock = -1;
    bool ok = false;
    if (sodium_init() < 0) return hm_fail(err, HM_INTERNAL, "no random numbers");
    if (!folders_make(data_dir, err) || !lock_take(data_dir, &lock, err)) goto out;
    if (!key_make(data_dir, key, err)) goto out;
    if (!hm_inst_store(data_dir, CLUSTER, key, NULL, &store, err)) goto out;
    ok = invite_first(store, code, err);
out:
    hm_store_close(store);
    sodium_memzero(key, sizeof key);
    if (lock >= 0) close(lock);
    return ok;
}

// ---- from other threads -------------------------------------------------------------------------------

void hm_engine_post(struct hm_engine *engine, struct posted *posted) {
    posted->next = NULL;
    pthread_mutex_lock(&engine->post_lock);
    bool first = !engine->posted;
    *engine->posted_tail = posted;
    engine->posted_tail = &posted->next;
    if (first) ev_async_send(engine->loop, &engine->wake);
    pthread_mutex_unlock(&engine->post_lock);
}

void hm_engine_run_posted(struct hm_engine *engine) {
    pthread_mutex_lock(&engine->post_lock);
    struct posted *posted = engine->posted;
    engine->posted = NULL;
    engine->posted_tail = &engine->posted;
    pthread_mutex_unlock(&engine->post_lock);
    while (posted) {
        struct posted *next = posted->next;
        posted->run(posted);
        posted = next;
    }
}

static void on_wake(struct ev_loop *loop, ev_async *watcher, int events) {
    struct hm_engine *engine = watcher->data;
    (void)events;
    hm_engine_run_posted(engine);
    if (hm_committer_answer(engine, false)) ev_async_send(loop, watcher); // after all others had their turn
}

static void wake_passwords(void *arg) {
    struct hm_engine *engine = arg;
    ev_async_send(engine->loop, &engine->passwords_ready);
}

static void on_passwords(struct ev_loop *loop, ev_async *watcher, int events) {
    struct hm_engine *engine = watcher->data;
    (void)loop, (void)events;
    hm_pwpool_collect(engine->passwords);
}

// ---- on the loop --------------------------------------------------------------------------------------

static void flush(struct hm_engine *engine) {
    while (engine->dirty) {
        struct institution *inst = engine->dirty;
        engine->dirty = inst->next_dirty;
        inst->next_dirty = NULL;
        inst->is_dirty = false;
        hm_inst_flush(inst);
    }
}

static void on_prepare(struct ev_loop *loop, ev_prepare *watcher, int events) {
    (void)loop, (void)events;
    flush(watcher->data);
}

static bool is_drained(const struct hm_engine *engine) {
    struct institution *inst, *next;
    if (engine->open_calls || hm_outgoing_busy(engine, engine->drain_since_us)) return false;
    HASH_ITER(hh, engine->institutions, inst, next) {
        if (inst->committer.unfinished) return false;
    }
    return true;
}

static void on_tick(struct ev_loop *loop, ev_timer *timer, int events) {
    struct hm_engine *engine = timer->data;
    struct institution *inst, *next;
    uint64_t now_us = hm_mono_us();
    (void)loop, (void)events;
    bool sweep = (int64_t)now_us >= engine->next_sweep_us;
    if (sweep) engine->next_sweep_us = (int64_t)now_us + SWEEP_US;
    HASH_ITER(hh, engine->institutions, inst, next) {
        hm_inst_tick(inst, now_us);
        if (sweep) hm_live_sweep(inst, hm_now_ms());
        if (sweep) hm_history_sweep(inst, hm_now_ms());
        if (!engine->draining) hm_expire_tick(inst, hm_now_ms());
        hm_outgoing_tick(inst, hm_now_ms());
    }
    hm_telegram_tick(engine);
    hm_history_flush(engine);
    hm_watch_tick(engine);
    if (engine->drained && is_drained(engine)) {
        void (*drained)(void *arg) = engine->drained;
        engine->drained = NULL;
        drained(engine->drained_arg);
    }
}

void hm_engine_random(struct hm_engine *engine, uint8_t *out, size_t len) {
    assert(len <= sizeof engine->seeds);
    if (engine->seeds_left < len) {
        randombytes_buf(engine->seeds, sizeof engine->seeds);
        engine->seeds_left = sizeof engine->seeds;
    }
    uint8_t *from = engine->seeds + sizeof engine->seeds - engine->seeds_left;
    memcpy(out, from, len);
    sodium_memzero(from, len);
    engine->seeds_left -= len;
}

void hm_engine_notice(struct hm_engine *engine, const char *institution, struct hm_str person,
                      struct hm_session *session, const char *method, struct hm_str params) {
    const struct hm_listener *l = &engine->listener;
    if (l->notice) l->notice(l->arg, institution, person, session, method, params);
}

// ---- opening and closing ------------------------------------------------------------------------------

static void watchers_start(struct hm_engine *engine) {
    struct ev_loop *loop = engine->loop;
    ev_async_init(&engine->wake, on_wake);
    ev_async_init(&engine->passwords_ready, on_passwords);
    ev_prepare_init(&engine->flush, on_prepare);
    ev_timer_init(&engine->tick, on_tick, TICK_S, TICK_S);
    hm_turns_open(engine);
    engine->wake.data = engine->passwords_ready.data = engine->flush.data = engine->tick.data = engine;
    ev_async_start(loop, &engine->wake);
    ev_async_start(loop, &engine->passwords_ready);
    ev_prepare_start(loop, &engine->flush);
    ev_timer_start(loop, &engine->tick);
    engine->watching = true;
}

static void watchers_stop(struct hm_engine *engine) {
    if (!engine->watching) return;
    ev_async_stop(engine->loop, &engine->wake);
    ev_async_stop(engine->loop, &engine->passwords_ready);
    ev_prepare_stop(engine->loop, &engine->flush);
    ev_timer_stop(engine->loop, &engine->tick);
    hm_turns_close(engine);
    engine->watching = false;
}

static void note_unopened(struct hm_engine *engine, const char *id, const struct hm_error *err) {
    struct unopened *u = hm_alloc(sizeof *u);
    struct hm_buf reason = {0};
    snprintf(u->id, sizeof u->id, "%.64s", id);
    HASH_ADD_STR(engine->unopened, id, u);
    hm_json_put_str(&reason, hm_str_of(err->message));
    hm_log(HM_ERROR, "institution.not_opened", "\"institution\":\"%s\",\"code\":%d,\"reason\":%s", id,
           (int)err->code, reason.data);
    hm_buf_free(&reason);
}

bool hm_inst_unopened(struct hm_engine *engine, const char *id) {
    struct unopened *u = NULL;
    HASH_FIND_STR(engine->unopened, id, u);
    return u != NULL;
}

// The cluster first, since it knows the others' zones. One institution that cannot be opened does not
// stop the others.
static bool open_all(struct hm_engine *engine, struct hm_error *err) {
    struct hm_buf path = {0};
    struct dirent *entry;
    if (!hm_inst_open(engine, CLUSTER, NULL, err)) return false;
    hm_layer_refresh(engine, false);
    path_of(engine, "institutions", &path);
    DIR *dir = opendir(path.data);
    while (dir && (entry = readdir(dir))) {
        struct hm_error one = {0};
        if (!hm_name_valid(hm_str_of(entry->d_name)) || hm_inst_find(engine, entry->d_name)) continue;
        if (!hm_inst_open(engine, entry->d_name, NULL, &one)) {
            note_unopened(engine, entry->d_name, &one);
        }
    }
    if (dir) closedir(dir);
    hm_buf_free(&path);
    return true;
}

bool hm_engine_open(const struct hm_engine_options *options, struct hm_engine **out, struct hm_error *err) {
    if (sodium_init() < 0) return hm_fail(err, HM_INTERNAL, "no random numbers");
    struct hm_engine *engine = hm_alloc(sizeof *engine);
    bool ok = false;
    engine->settings = *options->settings;
    engine->loop = options->loop;
    engine->started = time(NULL);
    engine->data_dir = hm_strdup(options->data_dir);
    engine->worker_exe = hm_strdup(options->worker_exe ? options->worker_exe : "/proc/self/exe");
    engine->lock_fd = -1;
    engine->posted_tail = &engine->posted;
    pthread_mutex_init(&engine->post_lock, NULL);
    if (!lock_take(engine->data_dir, &engine->lock_fd, err)) goto out;
    if (!key_read(engine->data_dir, engine->master_key, err)) goto out;
    if (engine->settings.clock_manual && !hm_clock_is_manual()) hm_clock_manual(hm_now_ms());
    hm_core_sort(engine);
    watchers_start(engine);
    engine->rates = hm_rates_new(RATE_KEYS);
    engine->passwords = hm_pwpool_new(PASSWORD_THREADS, PASSWORD_QUEUE, wake_passwords, engine);
    if (!engine->passwords) {
        hm_fail(err, HM_UNAVAILABLE, "no threads for passwords");
        goto out;
    }
    if (!hm_outgoing_open(engine, err)) goto out;
    if (!open_all(engine, err)) goto out;
    hm_watch_open(engine);
    *out = engine;
    ok = true;
out:
    if (!ok) hm_engine_close(engine);
    return ok;
}

void hm_engine_close(struct hm_engine *engine) {
    struct institution *inst, *next;
    if (!engine) return;
    engine->closing = engine->draining = true;
    hm_watch_close(engine);
    hm_outgoing_stop(engine);
    // What waits for a password is answered first: it may hold calls that nothing else knows.
    hm_pwpool_free(engine->passwords);
    engine->passwords = NULL;
    hm_errands_wait(engine);
    // Then what is being committed gets its true answer. Answers stage nothing new while closing.
    HASH_ITER(hh, engine->institutions, inst, next) {
        hm_committer_stop(inst);
    }
    hm_engine_run_posted(engine);
    hm_committer_answer(engine, true);
    hm_layer_close(engine);
    HASH_ITER(hh, engine->institutions, inst, next) {
        hm_inst_free(inst);
    }
    hm_layer_unref(engine->layer);
    watchers_stop(engine);
    hm_history_close(engine);
    struct unopened *u, *next_u;
    HASH_ITER(hh, engine->unopened, u, next_u) {
        HASH_DEL(engine->unopened, u);
        free(u);
    }
    hm_outgoing_close(engine);
    hm_rates_free(engine->rates);
    hm_buf_free(&engine->openrpc);
    sodium_memzero(engine->master_key, sizeof engine->master_key);
    sodium_memzero(engine->seeds, sizeof engine->seeds);
    if (engine->lock_fd >= 0) close(engine->lock_fd);
    pthread_mutex_destroy(&engine->post_lock);
    free(engine->methods);
    free(engine->worker_exe);
    free(engine->data_dir);
    free(engine);
}

void hm_engine_drain(struct hm_engine *engine, void (*drained)(void *arg), void *arg) {
    struct institution *inst, *next;
    engine->draining = true;
    engine->drain_since_us = hm_mono_us();
    engine->drained = drained;
    engine->drained_arg = arg;
    HASH_ITER(hh, engine->institutions, inst, next) {
        hm_job_drain(inst);
    }
}

uint64_t hm_engine_commit_us(const struct hm_engine *engine) {
    struct institution *inst, *next;
    uint64_t now_us = hm_mono_us(), longest = 0;
    HASH_ITER(hh, engine->institutions, inst, next) {
        // The reasons first: the time is set anew before one of them ends.
        bool excused = atomic_load(&inst->committer.reindexing) || atomic_load(&inst->committer.growing);
        uint64_t since_us = atomic_load(&inst->committer.busy_since_us);
        bool counts = since_us && since_us < now_us && !excused;
        if (counts && now_us - since_us > longest) longest = now_us - since_us;
    }
    return longest;
}

void hm_engine_settings_set(struct hm_engine *engine, const struct hm_settings *settings) {
    engine->settings = *settings;
}

const struct hm_settings *hm_engine_settings(const struct hm_engine *engine) {
    return &engine->settings;
}

struct amiss {
    unsigned unopened, doubted, full, cold;
};

static struct amiss amiss_of(const struct hm_engine *engine) {
    struct institution *inst, *next;
    struct amiss a = {.unopened = HASH_COUNT(engine->unopened)};
    HASH_ITER(hh, engine->institutions, inst, next) {
        a.cold += !hm_inst_warm(inst);
        a.doubted += hm_store_in_doubt(inst->store);
        a.full += inst->refusing == HM_CAUSE_DISK_FULL || inst->refusing == HM_CAUSE_MAP_LIMIT;
    }
    return a;
}

bool hm_engine_ready(const struct hm_engine *engine) {
    struct amiss a = amiss_of(engine);
    return !engine->draining && !a.unopened && !a.doubted && !a.cold;
}

bool hm_engine_warm(const struct hm_engine *engine) {
    return amiss_of(engine).cold == 0;
}

static void say(struct hm_buf *out, unsigned count, const char *what) {
    if (count) hm_buf_printf(out, "%u institution%s %s\n", count, count == 1 ? "" : "s", what);
}

void hm_engine_amiss(const struct hm_engine *engine, struct hm_buf *out) {
    struct amiss a = amiss_of(engine);
    if (engine->draining) hm_buf_text(out, "the server is stopping\n");
    say(out, a.unopened, "could not be opened: the log says why");
    say(out, a.doubted, "refused writes since a commit failed: look at the disk, then start the server anew");
    say(out, a.full, "could not write for want of room (disk or map_max)");
    say(out, a.cold, "had no worker ready");
}

void hm_engine_listen(struct hm_engine *engine, const struct hm_listener *listener) {
    engine->listener = *listener;
}

struct hm_store *hm_engine_store(struct hm_engine *engine, const char *institution) {
    struct institution *inst = hm_inst_find(engine, institution);
    return inst ? inst->store : NULL;
}

uint64_t hm_engine_told(struct hm_engine *engine, const char *institution) {
    struct institution *inst = hm_inst_find(engine, institution);
    return inst ? inst->told : 0;
}
