// Types of records that change while they serve. Loop thread. A worker that has loaded the new declarations
// looks at the stored records, says what would be lost, and makes their new form; the commit thread lays
// that, and the keys of new indexes, beside what is in force (store/shape.h); then writes are held for the
// moment it takes to do the last ones again, and one commit puts all of it in force, with the pointer to the
// plugin.
//
// What always holds: until that commit nothing has changed for anybody; calls that ran by the old
// declarations, and whose answer is not of before that commit, run again by the new ones; writes are held
// only while what is left to do is a step; afterwards records are written in their new form by and by, also
// after a restart.
#include "engine/reshape.h"
#include "base/clock.h"
#include "base/log.h"
#include "engine/plugin.h"
#include "store/shape.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#define BUILT_MAX 2000u // records of one step of indexes
#define STALE_MAX 64u   // written meanwhile, looked at again in one step
#define HELD_FROM 16u   // so few are left that writes may wait for them
#define ROUNDS_MAX 50u  // of looking again, after which writes wait all the same
#define NOTICE_US 250000u
#define COUNTED_MAX 100000u // records of a type that is dropped

enum phase { LOOKING, RESTING, BEGINNING, WALKING, AGAIN, HOLDING, READY };
static const char *const phase_names[] = {"looking",   "waiting",   "waiting",  "upgrading",
                                          "upgrading", "switching", "switching"};

struct shaped { // a type that changes
    char name[HM_NAME_MAX + 1];
    bool turned, any; // any: it has records
};
struct reshape {
    struct institution *institution;
    struct proc *proc;
    struct catalogue *catalogue;
    struct hm_types *before;
    enum reshape_how how;
    void *arg;
    reshape_done done;
    enum phase phase;
    bool pending; // a question or an item is under way
    bool begun;   // something is prepared
    bool turns;   // old workers' calls do not go with it
    bool failed;
    struct hm_error error;
    struct shaped *types;
    size_t count, at;
    struct hm_buf todo; // packed: types to walk over
    char after[HM_ID_MAX + 1];
    int64_t looked, total; // total: what the look found, 0 when there was none
    unsigned rounds;
    uint64_t noticed_us, began_us, held_us;
    struct hm_losses losses;
    char again_type[HM_NAME_MAX + 1]; // of the question under way
    struct hm_buf again;              // packed ids
};

// ---- its end ------------------------------------------------------------------------------------------

static void let_go(struct institution *inst) {
    if (!inst->turning) return;
    inst->turning = false;
    hm_inst_touch(inst);
}

static void reshape_free(struct reshape *r) {
    r->proc->holds--;
    r->institution->reshape = NULL;
    hm_cat_unref(r->catalogue);
    hm_types_unref(r->before);
    hm_buf_free(&r->todo);
    hm_buf_free(&r->again);
    free(r->types);
    hm_losses_free(&r->losses);
    free(r);
}

static bool run_drop(struct commit_item *item, struct hm_error *err) {
    return hm_shape_drop(item->institution->store, err);
}

static void dropped(struct commit_item *item) {
    item->institution->rest_due = true;
}

static void give_up(struct reshape *r) {
    struct institution *inst = r->institution;
    let_go(inst);
    if (r->begun) {
        struct commit_item *item = hm_item_new(inst, "", "types");
        item->special = run_drop;
        hm_item_submit(item, dropped);
    }
    reshape_free(r);
}

// Whatever becomes of it, done is called once.
static void finish(struct reshape *r) {
    struct hm_buf changes = {0};
    struct hm_error err = r->error;
    reshape_done done = r->done;
    void *arg = r->arg;
    bool ok = !r->failed;
    hm_losses_json(&r->losses, &changes);
    if (!ok || r->how == RESHAPE_LOOK) give_up(r); // else it waits for hm_reshape_forced
    done(arg, ok, ok ? NULL : &err, hm_buf_view(&changes));
    hm_buf_free(&changes);
}

static void fail(struct reshape *r, enum hm_code code, const char *message) {
    if (r->failed) return;
    r->failed = true;
    hm_fail(&r->error, code, "%s", message);
}

void hm_reshape_end(struct institution *inst) {
    struct reshape *r = inst->reshape;
    if (!r) return;
    assert(!r->pending && r->phase == READY);
    give_up(r);
}

void hm_reshape_close(struct institution *inst) {
    struct reshape *r = inst->reshape;
    if (!r || r->phase == READY) return;
    fail(r, HM_UNAVAILABLE, "the server is shutting down");
    if (r->pending && r->proc->flight)
        hm_proc_kill(r->proc, HM_END_STOPPED); // its call is lost, which ends it
    else
        finish(r);
}

void hm_reshape_forced(struct institution *inst, bool ok) {
    struct reshape *r = inst->reshape;
    struct proc *proc;
    if (!r) return;
    uint64_t turn = hm_store_turn(inst->store);
    if (!ok) {
        give_up(r);
        return;
    }
    if (turn != inst->turn) {
        inst->turn = turn;
        DL_FOREACH(inst->procs, proc) {
            proc->past = proc->past || proc != r->proc;
        }
        hm_log(HM_INFO, "types.changed",
               "\"institution\":\"%s\",\"records\":%lld,\"ms\":%llu,\"held_us\":%llu", inst->id,
               (long long)r->looked, (unsigned long long)(hm_mono_us() - r->began_us) / 1000,
               (unsigned long long)(r->held_us ? hm_mono_us() - r->held_us : 0));
    }
    r->proc->turn = turn;
    inst->rest_due = true;
    r->begun = false;
    let_go(inst);
    reshape_free(r);
}

// ---- what would be lost -------------------------------------------------------------------------------

static bool lossy(struct reshape *r) {
    if (!r->losses.count || r->how != RESHAPE_ASK) return false;
    fail(r, HM_CONFLICT, "stored records would lose something; confirm = true puts it in force all the same");
    return true;
}

// ---- which types --------------------------------------------------------------------------------------

static bool seals(const struct hm_type *type, const char *field) {
    for (unsigned i = 0; i < type->sealed_count; i++)
        if (strcmp(type->sealed[i], field) == 0) return true;
    return false;
}

static bool has_field(const struct catalogue *cat, const char *type, const char *field) {
    struct hm_json types, item, value;
    char name[HM_NAME_MAX + 1];
    if (!hm_json_get(cat->root, "types", &types)) return false;
    struct hm_json_iter it = hm_json_iter(types);
    while (hm_json_next(&it, NULL, &item))
        if (hm_json_get_text(item, "name", name, sizeof name) && strcmp(name, type) == 0)
            return hm_json_get(item, "schema", &value) && hm_json_get(value, "properties", &value) &&
                   hm_json_get(value, field, &value);
    return false;
}

// What is sealed stays sealed: only a method of a plugin can open it, and is audited.
static void check_seals(struct reshape *r, const struct hm_type *old, const struct hm_type *now) {
    char message[300];
    for (unsigned i = 0; i < old->sealed_count; i++) {
        if (seals(now, old->sealed[i]) || !has_field(r->catalogue, now->name, old->sealed[i])) continue;
        snprintf(
            message, sizeof message,
            "records.%s.sealed: '%s' is sealed in the stored records and cannot cease to be; drop it, or "
            "give the new field another name",
            now->name, old->sealed[i]);
        fail(r, HM_PLUGIN, message);
        return;
    }
}

static bool new_index(const struct hm_type *old, const struct hm_type *now) {
    for (unsigned i = 0; i < now->index_count; i++) {
        const struct hm_index *index = hm_type_index(old, hm_str_of(now->indexes[i].name));
        if (!index || memcmp(index->tag, now->indexes[i].tag, sizeof index->tag) != 0) return true;
    }
    return old->index_count != now->index_count;
}

static void find_changed(struct reshape *r, struct hm_read *read) {
    const struct hm_types *types = r->catalogue->types;
    r->types = hm_alloc_array(hm_types_count(types) + 1, sizeof *r->types);
    for (size_t i = 0; i < hm_types_count(types); i++) {
        const struct hm_type *now = hm_types_at(types, i), *old;
        if (now->core) continue;
        old = hm_types_find(r->before, hm_str_of(now->name));
        bool turned = !old || memcmp(old->shape, now->shape, sizeof now->shape) != 0;
        if (!turned && !new_index(old, now)) continue;
        struct shaped *s = &r->types[r->count++];
        *s = (struct shaped){.turned = turned, .any = hm_shape_count(read, hm_str_of(now->name), 1) > 0};
        snprintf(s->name, sizeof s->name, "%s", now->name);
        r->turns = r->turns || old || s->any;
        if (old && turned && s->any) check_seals(r, old, now);
    }
}

static void find_dropped(struct reshape *r, struct hm_read *read) {
    for (size_t i = 0; i < hm_types_count(r->before); i++) {
        const struct hm_type *old = hm_types_at(r->before, i);
        if (old->core || hm_types_find(r->catalogue->types, hm_str_of(old->name))) continue;
        size_t count = hm_shape_count(read, hm_str_of(old->name), COUNTED_MAX);
        r->turns = true;
        if (count) hm_losses_add(&r->losses, old->name, "dropped_type", "", (int64_t)count, "");
    }
}

// ---- asking the worker --------------------------------------------------------------------------------

static void go(struct reshape *r);

static void notice(struct reshape *r, const char *type) {
    struct hm_buf params = {0};
    uint64_t now_us = hm_mono_us();
    if (now_us - r->noticed_us < NOTICE_US) return;
    r->noticed_us = now_us;
    hm_buf_char(&params, '{');
    hm_json_member_str(&params, "phase", hm_str_of(phase_names[r->phase]));
    hm_json_member_str(&params, "type", hm_str_of(type));
    hm_json_member_int(&params, "records", r->looked);
    if (r->total && r->phase >= WALKING) hm_json_member_int(&params, "of", r->total);
    hm_buf_char(&params, '}');
    hm_plugin_notice(r->institution, "plugin.progress", hm_buf_view(&params));
    hm_buf_free(&params);
}

void hm_reshape_json(const struct institution *inst, struct hm_buf *out) {
    const struct reshape *r = inst->reshape;
    if (!r) return;
    hm_json_key(out, "changing");
    hm_buf_char(out, '{');
    hm_json_member_str(out, "phase", hm_str_of(phase_names[r->phase]));
    hm_json_member_int(out, "records", r->looked);
    if (r->total && r->phase >= WALKING) hm_json_member_int(out, "of", r->total);
    hm_buf_char(out, '}');
}

// data of an error of the plugin: its message, with its place
static void worker_failed(struct reshape *r, const struct hm_answer *answer) {
    struct hm_json data, line;
    char message[240] = "", file[129] = "", text[480];
    int64_t at = 0;
    if (hm_json_parse(answer->data, &data, NULL)) {
        hm_json_get_text(data, "message", message, sizeof message);
        hm_json_get_text(data, "file", file, sizeof file);
        if (hm_json_get(data, "line", &line)) hm_json_int(line, &at);
    }
    if (!message[0])
        snprintf(message, sizeof message, "%.*s", (int)answer->message.len,
                 answer->message.ptr ? answer->message.ptr : "");
    if (file[0])
        snprintf(text, sizeof text, "old records could not be upgraded: %s:%lld: %s", file, (long long)at,
                 message);
    else
        snprintf(text, sizeof text, "old records could not be looked at: %s", message);
    fail(r, answer->code == HM_UNAVAILABLE ? HM_UNAVAILABLE : HM_PLUGIN, text);
}

static void take_losses(struct reshape *r, const char *type, struct hm_json result) {
    struct hm_json list, item;
    char what[16], field[161], example[HM_ID_MAX + 1];
    if (r->how == RESHAPE_START || !hm_json_get(result, "changes", &list)) return;
    struct hm_json_iter it = hm_json_iter(list);
    while (hm_json_next(&it, NULL, &item)) {
        if (!hm_json_get_text(item, "what", what, sizeof what)) continue;
        if (!hm_json_get_text(item, "field", field, sizeof field)) field[0] = '\0';
        if (!hm_json_get_text(item, "example", example, sizeof example)) example[0] = '\0';
        hm_losses_add(&r->losses, type, what, field, hm_json_number(item, "records"), example);
    }
}

// Either the types of ids (again) or the records behind r->after.
static void ask(struct reshape *r, const char *type, struct hm_str ids, hm_answer_fn answered) {
    struct institution *inst = r->institution;
    struct hm_buf params = {0};
    struct hm_str id;
    hm_buf_char(&params, '{');
    hm_json_member_str(&params, "type", hm_str_of(type));
    if (r->phase == LOOKING) hm_json_member_raw(&params, "dry", HM_LIT("true"));
    if (r->how == RESHAPE_START) hm_json_member_raw(&params, "keep", HM_LIT("true"));
    if (ids.len) {
        hm_json_key(&params, "ids");
        hm_buf_char(&params, '[');
        for (bool first = true; hm_packed_next(&ids, &id); first = false) {
            if (!first) hm_buf_char(&params, ',');
            hm_json_put_str(&params, id);
        }
        hm_buf_char(&params, ']');
    } else if (r->after[0]) {
        hm_json_member_str(&params, "after", hm_str_of(r->after));
    }
    hm_buf_char(&params, '}');
    struct call *call =
        hm_call_new(inst->engine, inst, NULL, HM_LIT("$shape"), hm_buf_view(&params), answered, r);
    hm_call_system(call);
    call->pinned = true;
    call->cpu_ms = inst->engine->settings.deadline_ms;
    r->pending = true;
    hm_proc_call(r->proc, call);
    hm_buf_free(&params);
    notice(r, type);
}

// True: the answer may be used.
static bool answer_of(struct reshape *r, const struct hm_answer *answer, struct hm_json *result) {
    r->pending = false;
    if (r->failed) return false;
    if (answer->code)
        worker_failed(r, answer);
    else if (!hm_json_parse(answer->result, result, &r->error))
        r->failed = true;
    return !r->failed;
}

// ---- looking ------------------------------------------------------------------------------------------

static bool flag_of(struct hm_json object, const char *name) {
    struct hm_json value;
    bool on = false;
    return hm_json_get(object, name, &value) && hm_json_bool(value, &on) && on;
}

// Is there more of the type, behind which id? A worker that never comes to an end is none of ours.
static bool goes_on(struct reshape *r, struct hm_json result, char last[HM_ID_MAX + 1]) {
    last[0] = '\0';
    if (!flag_of(result, "more")) return false;
    if (hm_json_get_text(result, "last", last, HM_ID_MAX + 1) && strcmp(last, r->after) > 0) return true;
    fail(r, HM_PLUGIN, "old records could not be looked at: the worker does not come to an end");
    return false;
}

static void looked(void *arg, const struct hm_answer *answer) {
    struct reshape *r = arg;
    struct hm_json result;
    if (answer_of(r, answer, &result)) {
        take_losses(r, r->types[r->at].name, result);
        r->looked += hm_json_number(result, "looked");
        char last[HM_ID_MAX + 1];
        bool more = goes_on(r, result, last);
        memcpy(r->after, last, sizeof r->after);
        if (!more) r->at++;
    }
    go(r);
}

static void look(struct reshape *r) {
    while (r->at < r->count && !(r->types[r->at].turned && r->types[r->at].any))
        r->at++;
    if (r->at < r->count) {
        ask(r, r->types[r->at].name, HM_LIT(""), looked);
        return;
    }
    r->total = r->looked;
    r->looked = 0;
    r->phase = r->how == RESHAPE_LOOK ? READY : RESTING;
    lossy(r);
    go(r);
}

// ---- steps on the commit thread -----------------------------------------------------------------------

struct step {
    struct reshape *r;
    struct hm_types *types;
    struct hm_buf names;
    char type[HM_NAME_MAX + 1], after[HM_ID_MAX + 1], upto[HM_ID_MAX + 1];
    unsigned count;
    bool more;
    struct hm_buf text; // the worker's answer, which the items point into
    struct hm_buf ids;
    struct hm_shape_item *items;
    char (*item_ids)[HM_ID_MAX + 1];
    size_t item_count;
    bool listed;
    uint64_t snapshot;
};

static void step_free(struct step *s) {
    hm_types_unref(s->types);
    hm_buf_free(&s->names);
    hm_buf_free(&s->text);
    hm_buf_free(&s->ids);
    free(s->items);
    free(s->item_ids);
    free(s);
}

static void submit(struct step *s, bool (*run)(struct commit_item *item, struct hm_error *err),
                   void (*done)(struct commit_item *item)) {
    struct commit_item *item = hm_item_new(s->r->institution, "", "types");
    item->special = run;
    item->arg = s;
    s->r->pending = true;
    hm_item_submit(item, done);
}

// True: it went through.
static bool stepped(struct commit_item *item) {
    struct step *s = item->arg;
    s->r->pending = false;
    if (!item->ok && !s->r->failed) {
        s->r->failed = true;
        s->r->error = item->error;
        if (item->error.cause == HM_CAUSE_OTHER) s->r->error.code = HM_PLUGIN; // what the records say
    }
    return !s->r->failed;
}

static bool run_begin(struct commit_item *item, struct hm_error *err) {
    struct step *s = item->arg;
    return hm_shape_begin(item->institution->store, s->types, hm_buf_view(&s->names), &s->ids, err);
}

static void begun(struct commit_item *item) {
    struct step *s = item->arg;
    struct reshape *r = s->r;
    r->begun = item->ok;
    if (stepped(item)) {
        hm_buf_str(&r->todo, hm_buf_view(&s->ids));
        r->phase = WALKING;
        r->at = 0;
        r->after[0] = '\0';
    }
    step_free(s);
    go(r);
}

static void begin(struct reshape *r) {
    struct step *s = hm_alloc(sizeof *s);
    s->r = r;
    s->types = hm_types_ref(r->catalogue->types);
    for (size_t i = 0; i < r->count; i++)
        if (r->types[i].turned) hm_packed_add(&s->names, hm_str_of(r->types[i].name));
    submit(s, run_begin, begun);
}

static bool run_build(struct commit_item *item, struct hm_error *err) {
    struct step *s = item->arg;
    s->count = BUILT_MAX;
    return hm_shape_build(item->institution->store, hm_str_of(s->type), s->after, &s->count, &s->more, err);
}

static void built(struct commit_item *item) {
    struct step *s = item->arg;
    struct reshape *r = s->r;
    if (stepped(item)) {
        memcpy(r->after, s->after, sizeof r->after);
        r->looked += s->count;
        if (!s->more) {
            r->after[0] = '\0';
            r->at++;
        }
    }
    step_free(s);
    go(r);
}

static bool run_put(struct commit_item *item, struct hm_error *err) {
    struct step *s = item->arg;
    struct hm_shape_step step = {.type = hm_str_of(s->type),
                                 .snapshot = s->snapshot,
                                 .listed = s->listed,
                                 .ids = hm_buf_view(&s->ids),
                                 .after = hm_str_of(s->after),
                                 .upto = s->more ? hm_str_of(s->upto) : HM_LIT(""),
                                 .items = s->items,
                                 .count = s->item_count};
    return hm_shape_put(item->institution->store, &step, err);
}

static void put(struct commit_item *item) {
    struct step *s = item->arg;
    struct reshape *r = s->r;
    if (stepped(item) && !s->listed) {
        r->looked += s->count;
        memcpy(r->after, s->upto, sizeof r->after);
        if (!s->more) {
            r->after[0] = '\0';
            r->at++;
        }
    }
    step_free(s);
    go(r);
}

static int by_id(const void *a, const void *b) {
    return hm_str_cmp(((const struct hm_shape_item *)a)->id, ((const struct hm_shape_item *)b)->id);
}

static void take_items(struct step *s, struct hm_json result) {
    struct hm_json list, item, data;
    if (!hm_json_get(result, "items", &list)) return;
    size_t most = hm_json_count(list);
    s->items = hm_alloc_array(most + 1, sizeof *s->items);
    s->item_ids = hm_alloc_array(most + 1, sizeof *s->item_ids);
    struct hm_json_iter it = hm_json_iter(list);
    while (s->item_count < most && hm_json_next(&it, NULL, &item)) {
        char *id = s->item_ids[s->item_count];
        if (!hm_json_get_text(item, "id", id, HM_ID_MAX + 1) || !hm_json_get(item, "data", &data)) continue;
        s->items[s->item_count++] = (struct hm_shape_item){hm_str_of(id), data.raw};
    }
    qsort(s->items, s->item_count, sizeof *s->items, by_id);
}

static struct step *step_of(struct reshape *r, const char *type, const struct hm_answer *answer) {
    struct step *s = hm_alloc(sizeof *s);
    struct hm_json result;
    s->r = r;
    s->snapshot = answer->snapshot;
    snprintf(s->type, sizeof s->type, "%s", type);
    memcpy(s->after, r->after, sizeof s->after);
    hm_buf_str(&s->text, answer->result);
    if (!hm_json_parse(hm_buf_view(&s->text), &result, NULL)) return s;
    take_losses(r, type, result);
    take_items(s, result);
    s->count = (unsigned)hm_json_number(result, "looked");
    s->more = goes_on(r, result, s->upto);
    return s;
}

// ---- walking ------------------------------------------------------------------------------------------

static bool nth(struct hm_str packed, size_t n, char out[HM_NAME_MAX + 1]) {
    struct hm_str item;
    while (hm_packed_next(&packed, &item)) {
        if (n--) continue;
        snprintf(out, HM_NAME_MAX + 1, "%.*s", (int)item.len, item.ptr);
        return true;
    }
    return false;
}

static bool is_turned(const struct reshape *r, const char *type) {
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->types[i].name, type) == 0) return r->types[i].turned;
    return false;
}

static void walked(void *arg, const struct hm_answer *answer) {
    struct reshape *r = arg;
    struct hm_json result;
    char type[HM_NAME_MAX + 1];
    if (answer_of(r, answer, &result) && nth(hm_buf_view(&r->todo), r->at, type)) {
        struct step *s = step_of(r, type, answer);
        if (!r->failed && !lossy(r)) {
            submit(s, run_put, put);
            return;
        }
        step_free(s);
    }
    go(r);
}

static void walk(struct reshape *r) {
    char type[HM_NAME_MAX + 1];
    if (!nth(hm_buf_view(&r->todo), r->at, type)) {
        r->phase = AGAIN;
        go(r);
    } else if (is_turned(r, type)) {
        ask(r, type, HM_LIT(""), walked);
    } else {
        struct step *s = hm_alloc(sizeof *s);
        s->r = r;
        snprintf(s->type, sizeof s->type, "%s", type);
        memcpy(s->after, r->after, sizeof s->after);
        submit(s, run_build, built);
        notice(r, type);
    }
}

// ---- what was written meanwhile -----------------------------------------------------------------------

// The records of one type that were written since they were looked at, as far as a step takes them.
static size_t find_stale(struct reshape *r) {
    struct hm_buf stale = {0};
    struct hm_str rest, name, id;
    size_t count = 0;
    hm_buf_clear(&r->again);
    r->again_type[0] = '\0';
    if (!hm_shape_stale(r->institution->store, STALE_MAX, &stale, &r->error)) r->failed = true;
    rest = hm_buf_view(&stale);
    for (; hm_packed_next(&rest, &name) && hm_packed_next(&rest, &id); count++) {
        if (!count) snprintf(r->again_type, sizeof r->again_type, "%.*s", (int)name.len, name.ptr);
        if (hm_str_eq(name, hm_str_of(r->again_type))) hm_packed_add(&r->again, id);
    }
    hm_buf_free(&stale);
    return count;
}

static void looked_again(void *arg, const struct hm_answer *answer) {
    struct reshape *r = arg;
    struct hm_json result;
    if (answer_of(r, answer, &result)) {
        struct step *s = step_of(r, r->again_type, answer);
        s->listed = true;
        hm_buf_str(&s->ids, hm_buf_view(&r->again));
        if (!lossy(r)) {
            submit(s, run_put, put);
            return;
        }
        step_free(s);
    }
    go(r);
}

// All that was submitted before is committed; what came since waits.
static bool drained(const struct institution *inst) {
    return inst->committer.unfinished == inst->committer.staged_count;
}

static void hold(struct reshape *r) {
    r->phase = HOLDING;
    r->institution->turning = true;
    r->held_us = hm_mono_us();
}

static void again(struct reshape *r) {
    struct institution *inst = r->institution;
    if (r->phase == HOLDING && !drained(inst)) return; // looked at again before the loop sleeps
    size_t count = find_stale(r);
    if (r->failed) {
        go(r);
    } else if (count > (r->phase == HOLDING || r->rounds >= ROUNDS_MAX ? 0 : HELD_FROM) && count) {
        r->rounds += r->phase == AGAIN;
        if (r->phase == AGAIN && r->rounds > ROUNDS_MAX) {
            hold(r);
            hm_inst_touch(inst);
            return;
        }
        ask(r, r->again_type, hm_buf_view(&r->again), looked_again);
    } else if (r->phase == AGAIN && r->turns) {
        hold(r);
        hm_inst_touch(inst);
    } else {
        struct hm_read *read = NULL;
        if (hm_read_begin(inst->store, &read, &r->error)) {
            inst->turn_seq = hm_read_seq(read);
            hm_read_end(read);
        } else {
            r->failed = true;
        }
        r->phase = READY;
        go(r);
    }
}

// ---- the whole ----------------------------------------------------------------------------------------

// The next step. r is gone afterwards when it has come to its end.
static void go(struct reshape *r) {
    if (r->pending) return;
    if (r->failed) {
        r->phase = READY;
        finish(r);
        return;
    }
    switch (r->phase) {
    case LOOKING:
        look(r);
        return;
    case RESTING: {
        struct hm_shape_rest rest = hm_shape_rest(r->institution->store);
        if (rest.settle || rest.tidy) {
            r->institution->rest_due = true;
            return;
        }
        r->phase = BEGINNING;
        if (r->count && (r->turns || r->institution->catalogue)) {
            begin(r);
        } else { // nobody has records of them, or only words about them have changed
            r->phase = READY;
            go(r);
        }
        return;
    }
    case BEGINNING:
        return;
    case WALKING:
        walk(r);
        return;
    case AGAIN:
    case HOLDING:
        again(r);
        return;
    case READY:
        finish(r);
        return;
    }
}

void hm_reshape_go(struct institution *inst) {
    struct reshape *r = inst->reshape;
    if (r && !r->pending && (r->phase == RESTING || r->phase == HOLDING)) go(r);
}

void hm_reshape_start(struct institution *inst, struct proc *proc, struct catalogue *cat,
                      enum reshape_how how, void *arg, reshape_done done) {
    struct reshape *r = hm_alloc(sizeof *r);
    struct hm_read *read = NULL;
    assert(!inst->reshape);
    inst->reshape = r;
    r->institution = inst;
    r->proc = proc;
    proc->holds++; // not freed before this has ended
    r->catalogue = hm_cat_ref(cat);
    r->before = hm_store_types(inst->store);
    r->how = how;
    r->arg = arg;
    r->done = done;
    r->began_us = hm_mono_us();
    if (hm_read_begin(inst->store, &read, &r->error)) {
        find_changed(r, read);
        find_dropped(r, read);
        hm_read_end(read);
    } else {
        r->failed = true;
    }
    if (how == RESHAPE_CONFIRMED || how == RESHAPE_START) r->phase = RESTING;
    go(r);
}

bool hm_reshape_begun(const struct institution *inst) {
    return inst->reshape && inst->reshape->begun;
}
