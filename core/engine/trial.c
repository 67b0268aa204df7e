// Trying plugins before they serve: a worker of its own loads the candidates and runs their tests. What
// always holds: nothing of the institution has changed until an item of hm_trial_force is committed; from
// hm_trial_types on no other worker puts its types in force; one trial at a time for an institution; a trial
// under way is named by institution->trial.
#include "base/log.h"
#include "engine/internal.h"
#include "engine/plugin.h"
#include "engine/reshape.h"

#include <assert.h>
#include <stdlib.h>

static struct trial *start(struct institution *inst, const struct loading *loading, struct hm_error *err) {
    if (inst->trial) {
        hm_fail(err, HM_CONFLICT, "another version is being tried at this moment");
        return NULL;
    }
    struct proc *proc = hm_proc_load(inst, PROC_TRIAL, loading, err);
    if (!proc) return NULL;
    struct trial *trial = hm_alloc(sizeof *trial);
    trial->institution = inst;
    trial->proc = proc;
    proc->trial = trial;
    inst->trial = trial;
    return trial;
}

struct trial *hm_trial_start(struct institution *inst, struct hm_str candidates, struct hm_error *err) {
    struct loading loading = {.candidates = candidates,
                              .without = hm_buf_view(&inst->without),
                              .layer = inst->layer,
                              .run_tests = true};
    return start(inst, &loading, err);
}

struct trial *hm_trial_start_on(struct institution *inst, struct layer *layer, struct hm_str tests,
                                struct hm_error *err) {
    struct loading loading = {
        .candidates = hm_watch_candidates(inst), .tests = tests, .layer = layer, .run_tests = true};
    struct hm_buf without = {0};
    hm_rescue_own(inst, &without);
    loading.without = hm_buf_view(&without);
    struct trial *trial = start(inst, &loading, err);
    if (trial) {
        trial->layer = hm_layer_ref(layer);
        trial->follows = true;
    }
    hm_buf_free(&without);
    return trial;
}

struct trial *hm_trial_aside(struct institution *inst, struct hm_str candidates, struct hm_error *err) {
    struct loading loading = {
        .candidates = candidates, .without = hm_buf_view(&inst->without), .layer = inst->layer};
    struct proc *proc = hm_proc_load(inst, PROC_TRIAL, &loading, err);
    if (!proc) return NULL;
    struct trial *trial = hm_alloc(sizeof *trial);
    trial->institution = inst;
    trial->proc = proc;
    trial->aside = true;
    proc->trial = trial;
    return trial;
}

void hm_trial_loaded(struct proc *proc, struct catalogue *cat) {
    struct trial *trial = proc->trial;
    trial->catalogue = hm_cat_ref(cat);
    trial->ready(trial);
}

void hm_trial_refused(struct proc *proc, struct hm_str errors) {
    struct trial *trial = proc->trial;
    proc->trial = NULL;
    trial->proc = NULL;
    hm_proc_stop(proc);
    if (!trial->busy) trial->refused(trial, errors); // else whoever is told next sees that the worker is gone
}

static void reshaped(void *arg, bool ok, const struct hm_error *err, struct hm_str changes) {
    struct trial *trial = arg;
    trial->busy--;
    trial->prepared = ok && !trial->look;
    hm_buf_str(&trial->changes, changes);
    trial->typed(trial, ok, err);
}

void hm_trial_types(struct trial *trial) {
    struct institution *inst = trial->institution;
    trial->typing = true;
    trial->waits = inst->reshape != NULL; // of the worker that serves first
    if (trial->waits) return;
    if (hm_inst_types_in_force(inst, trial->catalogue)) {
        trial->typed(trial, true, NULL);
        return;
    }
    trial->busy++;
    hm_reshape_start(inst, trial->proc, trial->catalogue,
                     trial->look      ? RESHAPE_LOOK
                     : trial->confirm ? RESHAPE_CONFIRMED
                                      : RESHAPE_ASK,
                     trial, reshaped);
}

void hm_trial_force(struct trial *trial, struct commit_item *item) {
    if (trial->prepared) item->types = hm_types_ref(trial->catalogue->types);
}

bool hm_trial_lossy(const struct trial *trial) {
    return trial->changes.len > 2; // "[]"
}

void hm_trial_lossy_json(const struct trial *trial, struct hm_buf *out) {
    hm_buf_char(out, '{');
    hm_json_member_str(out, "reason", HM_LIT("lossy"));
    hm_json_member_raw(out, "changes", hm_buf_view(&trial->changes));
    hm_buf_char(out, '}');
}

static void trial_free(struct trial *trial) {
    assert(!trial->busy);
    struct institution *inst = trial->institution;
    bool aside = trial->aside;
    hm_cat_unref(trial->catalogue);
    hm_layer_unref(trial->layer);
    hm_buf_free(&trial->changes);
    free(trial);
    if (aside) return;
    inst->trial = NULL;
    hm_inst_trial_over(inst);
}

void hm_trial_adopt(struct trial *trial) {
    struct institution *inst = trial->institution;
    if (trial->proc) trial->proc->trial = NULL;
    if (trial->follows) hm_layer_taken(inst, trial->layer);
    hm_inst_activate(inst, trial->proc, trial->catalogue);
    trial_free(trial);
}

void hm_trial_end(struct trial *trial) {
    struct institution *inst = trial->institution;
    if (trial->proc) {
        trial->proc->trial = NULL;
        hm_proc_stop(trial->proc);
    }
    if (trial->prepared && inst->reshape) hm_reshape_end(inst);
    trial_free(trial);
}
