// Trying plugins before they serve: a worker of its own loads the candidates and runs their tests. What
// always holds: until hm_trial_adopt nothing of the institution has changed but, perhaps, the types in
// force (hm_trial_end puts them back); from hm_trial_types on no other worker puts its types in force; one
// trial at a time for an institution; a trial under way is named by institution->trial.
#include "base/log.h"
#include "engine/internal.h"

#include <assert.h>
#include <stdlib.h>

struct trial *hm_trial_start(struct institution *inst, struct hm_str candidates, struct hm_error *err) {
    if (inst->trial) {
        hm_fail(err, HM_CONFLICT, "another version is being tried at this moment");
        return NULL;
    }
    struct proc *proc = hm_proc_start(inst, PROC_TRIAL, candidates, true, err);
    if (!proc) return NULL;
    struct trial *trial = hm_alloc(sizeof *trial);
    trial->institution = inst;
    trial->proc = proc;
    proc->trial = trial;
    inst->trial = trial;
    return trial;
}

struct trial *hm_trial_aside(struct institution *inst, struct hm_str candidates, struct hm_error *err) {
    struct proc *proc = hm_proc_start(inst, PROC_TRIAL, candidates, false, err);
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

static void types_done(struct commit_item *item) {
    struct trial *trial = item->arg;
    trial->busy--;
    trial->typed(trial, item->ok, &item->error);
}

void hm_trial_types(struct trial *trial) {
    struct institution *inst = trial->institution;
    trial->typing = true;
    if (hm_inst_types_in_force(inst, trial->catalogue)) {
        trial->typed(trial, true, NULL);
        return;
    }
    struct commit_item *item = hm_item_new(inst, "", "types");
    item->types = hm_types_ref(trial->catalogue->types);
    item->arg = trial;
    trial->busy++;
    hm_item_submit(item, types_done);
}

static void trial_free(struct trial *trial) {
    assert(!trial->busy);
    struct institution *inst = trial->institution;
    bool aside = trial->aside;
    hm_cat_unref(trial->catalogue);
    free(trial);
    if (aside) return;
    inst->trial = NULL;
    hm_inst_trial_over(inst);
}

void hm_trial_adopt(struct trial *trial) {
    struct institution *inst = trial->institution;
    if (trial->proc) trial->proc->trial = NULL;
    hm_inst_activate(inst, trial->proc, trial->catalogue);
    trial_free(trial);
}

void hm_trial_end(struct trial *trial) {
    struct institution *inst = trial->institution;
    if (trial->proc) {
        trial->proc->trial = NULL;
        hm_proc_stop(trial->proc);
    }
    if (inst->catalogue && trial->typing && !inst->engine->closing &&
        !hm_inst_types_in_force(inst, inst->catalogue)) {
        struct commit_item *item = hm_item_new(inst, "", "types");
        item->types = hm_types_ref(inst->catalogue->types);
        hm_item_submit(item, hm_item_ignored);
    }
    trial_free(trial);
}
