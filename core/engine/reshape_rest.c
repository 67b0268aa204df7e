// After types have changed: records are written in their new form by and by, what is not needed goes, answers
// of workers of before are told from those that count; and what the store has of types that nobody declares.
// Loop thread.
#include "base/clock.h"
#include "base/wire.h"
#include "engine/reshape.h"
#include "script/frames.h"
#include "store/shape.h"

#define SETTLED_MAX 200u
#define TIDIED_MAX 5000u
#define REST_AGAIN_US 1000000u // after a failure
#define COUNTED_MAX 100000u    // records of a type that is dropped

// ---- afterwards ---------------------------------------------------------------------------------------

static void rested(struct commit_item *item) {
    struct institution *inst = item->institution;
    inst->resting = false;
    if (!item->ok) inst->rest_not_before_us = hm_mono_us() + REST_AGAIN_US;
    inst->rest_due = true;
    hm_inst_touch(inst);
}

static bool run_tidy(struct commit_item *item, struct hm_error *err) {
    return hm_shape_tidy(item->institution->store, TIDIED_MAX, err);
}

void hm_reshape_rest(struct institution *inst) {
    if (!inst->rest_due || inst->resting || hm_reshape_begun(inst) || inst->turning) return;
    if (inst->engine->closing || inst->engine->draining || hm_mono_us() < inst->rest_not_before_us) return;
    struct hm_shape_rest rest = hm_shape_rest(inst->store);
    if (!rest.settle && !rest.tidy) {
        inst->rest_due = false;
        return;
    }
    struct commit_item *item = hm_item_new(inst, "", HM_UPGRADE);
    if (rest.settle)
        item->settle = SETTLED_MAX;
    else
        item->special = run_tidy;
    inst->resting = true;
    hm_item_submit(item, rested);
}

// ---- answers of workers that go by the declarations of before -----------------------------------------

// What was read before the change, and changes nothing, is as good as it was.
bool hm_reshape_outdated(const struct proc *proc, const struct call *call, uint8_t kind,
                         struct hm_str payload) {
    const struct institution *inst = proc->institution;
    if (call->pinned || proc->role == PROC_TRIAL || !(inst->turning || proc->past)) return false;
    if (kind != HM_F_RESULT) return true;
    struct hm_reader r = hm_reader_of(payload);
    hm_get_str(&r);
    return hm_get_u64(&r) >= inst->turn_seq && !r.bad;
}

// ---- records of types that nobody declares ------------------------------------------------------------

struct keeping {
    struct hm_read *read;
    struct hm_types *types;
    struct hm_buf *out;
    bool any;
};

static void keep_type(void *arg, struct hm_str type) {
    struct keeping *k = arg;
    if (hm_types_find(k->types, type)) return;
    if (k->any) hm_buf_char(k->out, ',');
    k->any = true;
    hm_buf_char(k->out, '{');
    hm_json_member_str(k->out, "type", type);
    hm_json_member_int(k->out, "records", (int64_t)hm_shape_count(k->read, type, COUNTED_MAX));
    hm_buf_char(k->out, '}');
}

void hm_reshape_kept(const struct institution *inst, struct hm_read *read, struct hm_buf *out) {
    struct keeping k = {read, hm_store_types(inst->store), out, false};
    hm_json_key(out, "kept");
    hm_buf_char(out, '[');
    hm_shape_each_type(read, keep_type, &k, NULL);
    hm_buf_char(out, ']');
    hm_types_unref(k.types);
}
