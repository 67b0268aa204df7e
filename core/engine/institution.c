// One institution: its folder, its store, its commit thread, its workers and their number. What always
// holds: calls go only to workers of the generation in force; a new generation comes only with a worker
// that is ready, and older workers end when their flight is empty, so that no call is lost by a deploy.
#include "base/clock.h"
#include "base/code.h"
#include "base/log.h"
#include "engine/internal.h"
#include "engine/plugin.h"
#include "engine/reshape.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <utlist.h>

#define PRESSED_US 50000u  // calls waiting this long bring another worker
#define BLOCKED_US 100000u // so does a head that runs this long before others
#define FAILURES_TO_SAY 3  // refused or dead starts in a row after which waiting calls are told
#define BACKOFF_MIN_US 200000u
#define BACKOFF_MAX_US 30000000u

// ---- invitations (also for init) ----------------------------------------------------------------------

void hm_code_new(char code[20], char hash[65]) {
    uint8_t random[10];
    randombytes_buf(random, sizeof random);
    hm_code_format(random, code);
    hm_code_hash(hm_str_of(code), hash);
    sodium_memzero(random, sizeof random);
}

void hm_inst_invitation(struct hm_buf *data, int64_t now_ms, const char *person, struct hm_str roles_json,
                        const char *name) {
    hm_buf_char(data, '{');
    hm_json_key(data, "person");
    if (person && person[0])
        hm_json_put_str(data, hm_str_of(person));
    else
        hm_buf_text(data, "null");
    hm_json_member_raw(data, "roles", roles_json);
    hm_json_member_int(data, "expires", now_ms + 14LL * 24 * 3600 * 1000);
    hm_json_member_str(data, "name", hm_str_of(name));
    hm_buf_char(data, '}');
}

// ---- opening and closing ------------------------------------------------------------------------------

static char *folder_of(const char *data_dir, const char *id) {
    struct hm_buf path = {0};
    hm_buf_printf(&path, "%s/institutions/%s", data_dir, id);
    return path.data;
}

bool hm_inst_store(const char *data_dir, const char *id, const uint8_t key[32],
                   const struct hm_settings *settings, struct hm_store **out, struct hm_error *err) {
    char *dir = folder_of(data_dir, id);
    struct hm_store_options options = {.master_key = key};
    if (settings) {
        options.map_bytes = settings->map_bytes;
        options.map_max = settings->map_max;
    }
    bool ok = (mkdir(dir, 0700) == 0 || errno == EEXIST) && hm_store_open(dir, &options, out, err);
    if (!ok && err && !err->code) hm_fail(err, HM_UNAVAILABLE, "%s: %s", dir, strerror(errno));
    free(dir);
    return ok;
}

struct institution *hm_inst_find(struct hm_engine *engine, const char *id) {
    struct institution *inst = NULL;
    HASH_FIND_STR(engine->institutions, id, inst);
    return inst;
}

// The zone is in the cluster's record of the institution.
static int zone_of(struct hm_engine *engine, const char *id) {
    struct institution *cluster = hm_inst_find(engine, CLUSTER);
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_json data, value;
    int64_t zone = engine->settings.zone_minutes;
    if (cluster && hm_read_begin(cluster->store, &read, NULL)) {
        if (hm_read_data(read, "institution", hm_str_of(id), &record, &data) &&
            hm_json_get(data, "zone", &value))
            hm_json_int(value, &zone);
        hm_read_end(read);
    }
    return (int)zone;
}

bool hm_inst_open(struct hm_engine *engine, const char *id, struct institution **out, struct hm_error *err) {
    static const struct hm_str control[] = {{"role:administrator", 18}, {"institution", 11}};
    struct institution *inst = hm_alloc(sizeof *inst);
    struct hm_read *read = NULL;
    bool ok = false;
    inst->engine = engine;
    snprintf(inst->id, sizeof inst->id, "%s", id);
    inst->dir = folder_of(engine->data_dir, id);
    inst->wanted = strcmp(id, CLUSTER) != 0;
    inst->zone_minutes = zone_of(engine, id);
    if (!hm_inst_store(engine->data_dir, id, engine->master_key, &engine->settings, &inst->store, err))
        goto out;
    if (!hm_read_begin(inst->store, &read, err)) goto out;
    inst->told = hm_read_seq(read);
    hm_read_end(read);
    inst->control = hm_principals_new(control, 2);
    hm_layer_open(inst);
    if (!hm_committer_start(inst, err)) goto out;
    HASH_ADD_STR(engine->institutions, id, inst);
    hm_store_clear_readers(inst->store);
    hm_job_recover(inst);
    hm_person_erase_resume(inst);
    hm_fresh_open(inst);
    inst->rest_due = true;
    hm_layer_remember(inst);
    hm_inst_touch(inst);
    if (out) *out = inst;
    ok = true;
out:
    if (!ok) {
        hm_principals_unref(inst->control);
        hm_store_close(inst->store);
        hm_layer_unref(inst->layer);
        free(inst->dir);
        free(inst);
    }
    return ok;
}

// The engine has stopped the commit thread and run what it posted before.
void hm_inst_free(struct institution *inst) {
    struct proc *proc, *next;
    hm_reshape_close(inst);
    if (inst->trial) inst->trial->refused(inst->trial, HM_LIT("[]"));
    DL_FOREACH_SAFE(inst->procs, proc, next) {
        proc->holds = 0;
        hm_proc_end(proc);
    }
    hm_call_close(inst, "the server is shutting down"); // their answers may name what is freed next
    hm_job_close(inst);
    hm_react_close(inst);
    hm_live_close(inst);
    HASH_DEL(inst->engine->institutions, inst);
    hm_cat_unref(inst->catalogue);
    hm_principals_unref(inst->control);
    hm_store_close(inst->store);
    hm_buf_free(&inst->refusal);
    hm_buf_free(&inst->watched);
    hm_layer_unref(inst->layer);
    hm_layer_unref(inst->layer_refused);
    hm_buf_free(&inst->layer_errors);
    hm_buf_free(&inst->without);
    hm_fresh_close(inst);
    free(inst->dir);
    free(inst);
}

bool hm_inst_broken(const struct institution *inst) {
    struct proc *proc;
    if (!inst->refusal.len && inst->start_failures < FAILURES_TO_SAY) return false;
    DL_FOREACH(inst->procs, proc) {
        if (proc->role == PROC_ORDINARY && proc->state <= PROC_READY) return false;
    }
    return true;
}

bool hm_inst_warm(const struct institution *inst) {
    struct proc *proc;
    if (!inst->wanted) return true;
    DL_FOREACH(inst->procs, proc) {
        if (proc->role == PROC_ORDINARY && proc->state == PROC_READY && proc->generation == inst->generation)
            return true;
    }
    return false;
}

// ---- workers that changed -----------------------------------------------------------------------------

static void back_off(struct institution *inst) {
    unsigned shift = inst->start_failures < 8 ? inst->start_failures : 8;
    uint64_t wait = (uint64_t)BACKOFF_MIN_US << shift;
    inst->start_failures++;
    inst->start_not_before_us = hm_mono_us() + (wait < BACKOFF_MAX_US ? wait : BACKOFF_MAX_US);
}

void hm_inst_activate(struct institution *inst, struct proc *proc, struct catalogue *cat) {
    hm_cat_ref(cat);
    hm_cat_unref(inst->catalogue);
    inst->catalogue = cat;
    inst->generation++;
    inst->start_failures = 0;
    hm_buf_clear(&inst->refusal);
    if (proc) { // else a fresh one is started
        proc->generation = inst->generation;
        proc->turn = inst->turn;
        proc->past = false; // it waited while other types came
        proc->role = PROC_ORDINARY;
        proc->state = PROC_READY;
        proc->idle_since_us = hm_mono_us();
    }
    hm_log(HM_INFO, "catalogue.active", "\"institution\":\"%s\",\"generation\":%u,\"methods\":%u", inst->id,
           inst->generation, HASH_COUNT(cat->methods));
    hm_rescue_tell(inst);
    hm_call_resolve_waiting(inst);
    hm_inst_touch(inst);
}

static void types_refused(struct institution *inst, const struct hm_error *err);

static void types_set(struct commit_item *item) {
    struct proc *proc = item->arg;
    struct institution *inst = proc->institution;
    proc->holds--;
    if (proc->state != PROC_LOADED) return;
    bool forced = item->ok && item->commit.code == HM_OK;
    if (forced && proc->generation == inst->generation) {
        hm_inst_activate(inst, proc, proc->catalogue);
    } else {
        if (!forced) types_refused(inst, item->ok ? &item->commit.error : &item->error);
        hm_proc_stop(proc);
    }
    hm_cat_unref(proc->catalogue);
    proc->catalogue = NULL;
    hm_inst_trial_over(inst);
}

// No plugin serves with types that the records contradict; its administrator sees why.
static void types_refused(struct institution *inst, const struct hm_error *err) {
    hm_log(HM_ERROR, "catalogue.types_refused", "\"institution\":\"%s\",\"code\":%d", inst->id,
           (int)err->code);
    hm_buf_clear(&inst->refusal);
    hm_buf_text(&inst->refusal, "[{\"plugin\":\"\"");
    hm_json_member_str(&inst->refusal, "message", hm_str_of(err->message));
    hm_buf_text(&inst->refusal, "}]");
    back_off(inst);
}

static void loaded_reshaped(void *arg, bool ok, const struct hm_error *err, struct hm_str changes) {
    struct proc *proc = arg;
    struct institution *inst = proc->institution;
    (void)changes;
    if (ok && proc->state == PROC_LOADED) {
        struct commit_item *item = hm_item_new(inst, "", "types");
        item->types = hm_types_ref(proc->catalogue->types);
        item->arg = proc;
        hm_item_submit(item, types_set);
        return;
    }
    proc->holds--;
    if (ok) hm_reshape_end(inst);
    if (proc->state == PROC_LOADED) {
        types_refused(inst, err);
        hm_cat_unref(proc->catalogue);
        proc->catalogue = NULL;
        hm_proc_stop(proc);
    }
    hm_inst_trial_over(inst);
}

bool hm_inst_types_in_force(struct institution *inst, const struct catalogue *cat) {
    if (inst->types_coming) return false; // the store does not say yet what they will be
    struct hm_types *now = hm_store_types(inst->store);
    bool same = hm_str_eq(hm_types_json(now), hm_types_json(cat->types));
    hm_types_unref(now);
    return same;
}

void hm_inst_loaded(struct proc *proc, struct catalogue *cat) {
    struct institution *inst = proc->institution;
    bool same = inst->catalogue && strcmp(inst->catalogue->hash, cat->hash) == 0;
    if (proc->trial) {
        hm_trial_loaded(proc, cat);
    } else if (proc->generation != inst->generation) {
        hm_proc_stop(proc); // a deploy came between
    } else if (same || proc->role == PROC_JOB) {
        proc->state = PROC_READY;
        proc->turn = inst->turn;
        proc->past = false;
        proc->idle_since_us = hm_mono_us();
        inst->start_failures = 0;
    } else if (inst->reshape || (inst->trial && inst->trial->typing)) {
        // Its types, set now, would come behind the trial's and stay in force when the trial is adopted.
        proc->catalogue = hm_cat_ref(cat);
    } else if (hm_inst_types_in_force(inst, cat)) {
        hm_inst_activate(inst, proc, cat);
    } else {
        proc->holds++;
        proc->catalogue = hm_cat_ref(cat);
        hm_reshape_start(inst, proc, cat, RESHAPE_START, proc, loaded_reshaped);
    }
    hm_cat_unref(cat);
    hm_inst_touch(inst);
}

void hm_inst_trial_over(struct institution *inst) {
    struct proc *proc;
    if (inst->engine->closing) return;
    if (inst->trial && inst->trial->waits) hm_trial_types(inst->trial);
    DL_FOREACH(inst->procs, proc) {
        struct catalogue *cat = proc->catalogue;
        if (proc->state != PROC_LOADED || !cat || proc->holds) continue; // held: its types are under way
        proc->catalogue = NULL;
        hm_inst_loaded(proc, cat);
    }
}

// Where and why plugins do not load, for the operator: names of files and lines are no personal data.
static void log_errors(const struct institution *inst, const char *event, struct hm_str errors) {
    struct hm_json_iter it = hm_json_iter((struct hm_json){HM_JSON_ARRAY, errors});
    struct hm_json item;
    for (int i = 0; i < 20 && hm_json_next(&it, NULL, &item); i++)
        if (item.raw.len < 2000 && item.kind == HM_JSON_OBJECT)
            hm_log(HM_ERROR, event, "\"institution\":\"%s\",\"error\":%.*s", inst->id, (int)item.raw.len,
                   item.raw.ptr);
}

static bool any_serves(const struct institution *inst) {
    struct proc *proc;
    DL_FOREACH(inst->procs, proc) {
        if (proc->role == PROC_ORDINARY && proc->state == PROC_READY) return true;
    }
    return false;
}

// Calls must not wait for ever for workers that do not come.
static void give_up_waiting(struct institution *inst) {
    if (any_serves(inst)) return;
    if (!inst->catalogue) hm_call_resolve_waiting(inst);
    hm_call_close(inst, HM_NO_PLUGINS);
}

void hm_inst_refused(struct proc *proc, struct hm_str errors) {
    struct institution *inst = proc->institution;
    log_errors(inst, "plugin.refused", errors);
    if (proc->trial) {
        hm_trial_refused(proc, errors);
        return;
    }
    if (hm_rescue(inst, errors)) { // at once once more, without what does not load
        hm_proc_stop(proc);
        hm_inst_touch(inst);
        return;
    }
    hm_buf_clear(&inst->refusal);
    hm_buf_str(&inst->refusal, errors);
    back_off(inst);
    hm_proc_stop(proc);
    give_up_waiting(inst);
    hm_job_schedule(inst);
}

void hm_inst_lost(struct proc *proc, bool early) {
    struct institution *inst = proc->institution;
    if (inst->engine->closing) return;
    if (proc->trial) {
        hm_trial_refused(
            proc, HM_LIT("[{\"plugin\":\"\",\"file\":\"\",\"line\":0,\"message\":\"the worker died\"}]"));
        return;
    }
    bool useless = early || (proc->answered == 0 && hm_mono_us() - proc->started_us < 1000000u);
    if (!useless) return;
    back_off(inst);
    if (inst->start_failures >= FAILURES_TO_SAY) give_up_waiting(inst);
}

// ---- how many -----------------------------------------------------------------------------------------

static void start_one(struct institution *inst) {
    struct hm_error err = {0};
    if (hm_mono_us() < inst->start_not_before_us) return;
    if (hm_proc_start(inst, PROC_ORDINARY, hm_watch_candidates(inst), false, &err)) return;
    hm_log(HM_ERROR, "worker.no_start", "\"institution\":\"%s\",\"line\":%d", inst->id, err.line);
    back_off(inst);
    if (inst->start_failures >= FAILURES_TO_SAY) give_up_waiting(inst);
}

struct census {
    unsigned ready, coming, idle;
    bool blocked;
    struct proc *idlest;
};

static struct census census_of(const struct institution *inst, uint64_t now_us) {
    struct census c = {0};
    struct proc *proc;
    DL_FOREACH(inst->procs, proc) {
        if (proc->role != PROC_ORDINARY || proc->generation != inst->generation) continue;
        if (proc->state == PROC_STARTING || proc->state == PROC_LOADED) c.coming++;
        if (proc->state != PROC_READY) continue;
        c.ready++;
        if (proc->flight_count == 0) {
            c.idle++;
            if (!c.idlest || proc->idle_since_us < c.idlest->idle_since_us) c.idlest = proc;
        } else if (proc->flight_count > 1 && now_us - proc->head_since_us > BLOCKED_US) {
            c.blocked = true;
        }
    }
    return c;
}

static void retire_old(struct institution *inst) {
    struct proc *proc;
    DL_FOREACH(inst->procs, proc) {
        bool old = proc->generation != inst->generation && proc->role != PROC_TRIAL;
        if (old && proc->state == PROC_READY && proc->flight_count == 0 && !proc->job) hm_proc_stop(proc);
    }
}

void hm_inst_tick(struct institution *inst, uint64_t now_us) {
    struct proc *proc, *next;
    DL_FOREACH_SAFE(inst->procs, proc, next) {
        hm_proc_tick(proc, now_us);
    }
    hm_job_tick(inst, now_us);
    hm_readers_look(inst, now_us);
    hm_layer_tick(inst);
    hm_fresh_tick(inst);
    struct census c = census_of(inst, now_us);
    bool pressed = inst->pressed_us && now_us - inst->pressed_us > PRESSED_US;
    bool more = (pressed || (c.blocked && !c.idle)) && c.ready && !c.coming;
    if (more && c.ready < inst->engine->settings.workers_max) start_one(inst);
    bool fewer = c.ready > 1 && c.idlest && now_us - c.idlest->idle_since_us > IDLE_MS * 1000ull;
    if (fewer) hm_proc_stop(c.idlest);
    hm_inst_touch(inst); // starts what is missing
}

// ---- before the loop sleeps ---------------------------------------------------------------------------

void hm_inst_touch(struct institution *inst) {
    struct hm_engine *engine = inst->engine;
    if (inst->is_dirty) return;
    inst->is_dirty = true;
    inst->next_dirty = engine->dirty;
    engine->dirty = inst;
}

void hm_inst_flush(struct institution *inst) {
    struct proc *proc;
    retire_old(inst);
    hm_reshape_go(inst);
    hm_reshape_rest(inst);
    hm_idem_resume(inst);
    if (inst->wanted && !inst->engine->closing) {
        struct census c = census_of(inst, hm_mono_us());
        if (!c.ready && !c.coming) start_one(inst);
    }
    hm_call_dispatch(inst);
    hm_job_schedule(inst);
    hm_react_next(inst);
    hm_committer_flush(inst);
    DL_FOREACH(inst->procs, proc) {
        if (proc->out.len) hm_proc_flush(proc);
    }
}
