// Before a new version serves: do the records that are stored fit the types whose shape it changes? The
// trial's worker looks, one step of a type after the other, and tells paths and counts, never what is in a
// record. What always holds: nothing is changed by it; it ends with its trial. Loop thread.
#include "base/clock.h"
#include "engine/plugin.h"

#include <stdlib.h>

#define FIT_US 60000000u // what has not been looked at by then is let be: the answer says how many were

struct fit {
    struct trial *trial;
    void (*done)(struct trial *trial, struct hm_str misfits, const struct hm_error *err);
    uint64_t began_us;
    char (*types)[HM_NAME_MAX + 1];
    size_t count, at;
    char after[HM_ID_MAX + 1];
    int64_t checked, misfits;
    struct hm_buf faults; // of the type at hand: of the first step that found any
    struct hm_buf out;    // JSON array
};

static void fit_free(struct fit *fit) {
    fit->trial->fit = NULL;
    hm_buf_free(&fit->faults);
    hm_buf_free(&fit->out);
    free(fit->types);
    free(fit);
}

static void finish(struct fit *fit, const struct hm_error *err) {
    struct trial *trial = fit->trial;
    struct hm_buf out = fit->out;
    void (*done)(struct trial *, struct hm_str, const struct hm_error *) = fit->done;
    fit->out = (struct hm_buf){0};
    fit_free(fit);
    hm_buf_char(&out, ']');
    done(trial, hm_buf_view(&out), err);
    hm_buf_free(&out);
}

struct shapes { // a walk over the declared types of a catalogue, which come in the order of their names
    struct hm_json_iter it;
    struct hm_json name, schema;
    bool there;
};

static void shape_next(struct shapes *s) {
    struct hm_json item;
    s->there = false;
    while (!s->there && hm_json_next(&s->it, NULL, &item))
        s->there = hm_json_get(item, "name", &s->name) && hm_json_get(item, "schema", &s->schema);
}

static struct hm_json types_of(const struct catalogue *cat) {
    struct hm_json types = {HM_JSON_ARRAY, HM_LIT("[]")};
    if (cat) hm_json_get(cat->root, "types", &types);
    return types;
}

// Both lists side by side: the loop waits for this, so no type is searched for. Should a worker not keep to
// the order, a type counts as another one, and is looked at.
static void find_types(struct fit *fit) {
    struct hm_json old_types = types_of(fit->trial->institution->catalogue),
                   new_types = types_of(fit->trial->catalogue);
    struct shapes before = {.it = hm_json_iter(old_types)}, now = {.it = hm_json_iter(new_types)};
    if (hm_str_eq(old_types.raw, new_types.raw)) return;
    fit->types = hm_alloc_array(hm_json_count(new_types) + 1, sizeof *fit->types);
    shape_next(&before);
    for (shape_next(&now); now.there; shape_next(&now)) {
        while (before.there && hm_str_cmp(before.name.raw, now.name.raw) < 0)
            shape_next(&before);
        bool same = before.there && hm_str_eq(before.name.raw, now.name.raw) &&
                    hm_str_eq(before.schema.raw, now.schema.raw);
        if (!same && hm_json_text(now.name, fit->types[fit->count], sizeof *fit->types)) fit->count++;
    }
}

static void type_over(struct fit *fit) {
    if (fit->misfits) {
        if (fit->out.len > 1) hm_buf_char(&fit->out, ',');
        hm_buf_char(&fit->out, '{');
        hm_json_member_str(&fit->out, "type", hm_str_of(fit->types[fit->at]));
        hm_json_member_int(&fit->out, "checked", fit->checked);
        hm_json_member_int(&fit->out, "misfits", fit->misfits);
        hm_json_member_raw(&fit->out, "faults", fit->faults.len ? hm_buf_view(&fit->faults) : HM_LIT("[]"));
        hm_buf_char(&fit->out, '}');
    }
    hm_buf_clear(&fit->faults);
    fit->checked = fit->misfits = 0;
    fit->after[0] = '\0';
    fit->at++;
}

static void step(struct fit *fit);

static void answered(void *arg, const struct hm_answer *answer) {
    struct fit *fit = arg;
    struct hm_json result, faults;
    struct hm_error err = {0};
    fit->trial->busy--;
    if (answer->code || !fit->trial->proc) {
        hm_fail(&err, HM_PLUGIN, "the stored records could not be looked at: %.*s", (int)answer->message.len,
                answer->message.ptr ? answer->message.ptr : "");
        finish(fit, &err);
        return;
    }
    if (!hm_json_parse(answer->result, &result, &err)) {
        finish(fit, &err);
        return;
    }
    fit->checked += hm_json_number(result, "checked");
    int64_t misfits = hm_json_number(result, "misfits");
    if (misfits && !fit->misfits && hm_json_get(result, "faults", &faults))
        hm_buf_str(&fit->faults, faults.raw);
    fit->misfits += misfits;
    bool late = hm_mono_us() - fit->began_us > FIT_US;
    if (late || !hm_json_get_text(result, "after", fit->after, sizeof fit->after)) type_over(fit);
    if (late) fit->at = fit->count;
    step(fit);
}

static void step(struct fit *fit) {
    struct institution *inst = fit->trial->institution;
    struct hm_buf params = {0};
    if (fit->at == fit->count) {
        finish(fit, NULL);
        return;
    }
    hm_buf_char(&params, '{');
    hm_json_member_str(&params, "type", hm_str_of(fit->types[fit->at]));
    if (fit->after[0]) hm_json_member_str(&params, "after", hm_str_of(fit->after));
    hm_buf_char(&params, '}');
    struct call *call =
        hm_call_new(inst->engine, inst, NULL, HM_LIT("$records"), hm_buf_view(&params), answered, fit);
    hm_call_system(call);
    call->pinned = true;
    call->cpu_ms = inst->engine->settings.deadline_ms;
    fit->trial->busy++;
    hm_proc_call(fit->trial->proc, call);
    hm_buf_free(&params);
}

void hm_trial_fit(struct trial *trial,
                  void (*done)(struct trial *trial, struct hm_str misfits, const struct hm_error *err)) {
    struct fit *fit = hm_alloc(sizeof *fit);
    fit->trial = trial;
    fit->done = done;
    fit->began_us = hm_mono_us();
    trial->fit = fit;
    hm_buf_char(&fit->out, '[');
    find_types(fit);
    step(fit);
}
