// A call from its coming to its worker: who asks, what they may, where it waits, which worker gets it.
// What always holds: a call is in at most one list (call->list), and who asked was settled when it came,
// whatever happens to their connection.
#include "base/clock.h"
#include "base/log.h"
#include "engine/internal.h"
#include "engine/plugin.h"
#include "script/frames.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

// ---- making one ---------------------------------------------------------------------------------------

static struct hm_json json_of(const char *text, size_t len) {
    size_t at = 0;
    while (at < len && (text[at] == ' ' || text[at] == '\t' || text[at] == '\n' || text[at] == '\r'))
        at++;
    enum hm_json_kind kind = HM_JSON_NULL;
    if (at < len && text[at] == '{') kind = HM_JSON_OBJECT;
    if (at < len && text[at] == '[') kind = HM_JSON_ARRAY;
    return (struct hm_json){kind, {text + at, len - at}};
}

struct call *hm_call_new(struct hm_engine *engine, struct institution *inst, struct hm_caller *caller,
                         struct hm_str method, struct hm_str params, hm_answer_fn answer, void *arg) {
    struct call *call = hm_alloc(sizeof *call);
    call->engine = engine;
    call->institution = inst;
    call->caller = hm_caller_ref(caller);
    call->method = hm_str_dup(method);
    call->params_text = hm_str_dup(params.len ? params : HM_LIT("{}"));
    call->params = json_of(call->params_text, params.len ? params.len : 2);
    call->answer = answer;
    call->arg = arg;
    call->cpu_ms = engine->settings.cpu_ms;
    call->memory_bytes = engine->settings.memory_bytes;
    call->began_us = hm_mono_us();
    engine->open_calls++;
    return call;
}

void hm_call_system(struct call *call) {
    static const char json[] =
        "{\"person\":null,\"login\":\"\",\"roles\":[\"administrator\"],\"principals\":[\"institution\","
        "\"public\",\"role:administrator\"],\"locale\":\"uz\",\"admin\":true,\"local\":true,"
        "\"method_by\":\"\"}";
    call->system = call->admin = call->local = true;
    call->principals = hm_principals_ref(call->institution->control);
    call->caller_json = hm_strdup(json);
    hm_engine_random(call->engine, call->seed, sizeof call->seed);
}

static bool waits_in(const struct institution *inst, struct call *const *list) {
    return list == &inst->queue || list == &inst->unresolved || list == &inst->contended ||
           list == &inst->delayed;
}

void hm_call_list(struct call *call, struct call **list, bool front) {
    struct institution *inst = call->institution;
    if (call->list) {
        if (inst && call->list == &inst->delayed) ev_timer_stop(call->engine->loop, &call->delay);
        DL_DELETE(*call->list, call);
        if (inst && waits_in(inst, call->list)) inst->waiting--;
    }
    call->list = list;
    if (!list) return;
    if (front)
        DL_PREPEND(*list, call);
    else
        DL_APPEND(*list, call);
    if (inst && waits_in(inst, list)) inst->waiting++;
}

// ---- rights -------------------------------------------------------------------------------------------

static bool has_any_role(const struct call *call, struct hm_json roles, struct hm_buf *need) {
    struct hm_json_iter it = hm_json_iter(roles);
    struct hm_json item;
    struct hm_buf role = {0};
    bool has = false;
    while (!has && hm_json_next(&it, NULL, &item)) {
        hm_buf_clear(&role);
        hm_json_string(item, &role);
        has = call->session && hm_session_has_role(call->session, hm_buf_view(&role));
        if (need->len) hm_buf_text(need, ", ");
        hm_buf_str(need, hm_buf_view(&role));
    }
    hm_buf_free(&role);
    return has;
}

// True when the caller may; else the call has been answered.
static bool permitted(struct call *call, enum access access, struct hm_json roles) {
    struct hm_buf need = {0};
    bool may = false, stranger = !call->session && !call->admin;
    switch (access) {
    case ACCESS_PUBLIC:
        may = true;
        break;
    case ACCESS_SIGNED_IN:
        may = !stranger;
        break;
    case ACCESS_ROLES:
        may = call->admin || has_any_role(call, roles, &need);
        break;
    case ACCESS_ADMIN:
        may = call->admin;
        hm_buf_text(&need, "administrator");
        break;
    case ACCESS_CLUSTER:
        may = call->admin &&
              ((call->caller && call->caller->control) || strcmp(call->institution->id, CLUSTER) == 0);
        hm_buf_text(&need, "administrator of the cluster");
        break;
    }
    if (!may && stranger)
        hm_call_fail(call, HM_UNAUTHENTICATED, "");
    else if (!may)
        hm_call_reason(call, HM_FORBIDDEN, "need", need.data);
    hm_buf_free(&need);
    return may;
}

void hm_call_describe(struct call *call) {
    if (call->caller_json) return;
    struct hm_buf b = {0};
    if (call->session) {
        hm_buf_text(&b, hm_live_of(call->session)->json);
    } else {
        hm_buf_text(&b, "{\"person\":null,\"login\":\"\",\"roles\":");
        hm_buf_text(&b, call->admin ? "[\"administrator\"]" : "[]");
        hm_json_key(&b, "principals");
        if (call->principals)
            hm_principals_json(call->principals, &b);
        else
            hm_buf_text(&b, "[\"public\"]");
        hm_buf_text(&b, ",\"locale\":\"uz\",\"admin\":");
        hm_buf_text(&b, call->admin ? "true" : "false");
        hm_buf_text(&b, ",\"method_by\":\"\"");
    }
    // "local" to a worker means: whoever holds the data folder. An address of this machine means nothing:
    // it may be a proxy's.
    bool local = call->caller && call->caller->control && !call->session;
    hm_buf_text(&b, local ? ",\"local\":true}" : ",\"local\":false}");
    call->caller_json = b.data; // zero-terminated
}

// A session that must set up a second factor first sees to that, and to nothing else.
static bool limited(const struct call *call) {
    return call->session && call->session->limited &&
           !(call->core &&
             (call->core->access == ACCESS_PUBLIC || strncmp(call->method, "session.", 8) == 0));
}

// Who asks may be somebody else than when the call came, waited, or ran for the last time: a member of less,
// of other roles, or signed out. False: the call has been answered.
bool hm_call_still(struct call *call) {
    struct institution *inst = call->institution;
    struct hm_session *session = call->session;
    if (!session || call->job) return true;
    if (session->ended) {
        hm_call_fail(call, HM_UNAUTHENTICATED, "the session has ended");
        return false;
    }
    if (limited(call)) {
        hm_call_reason(call, HM_FORBIDDEN, "need", "totp");
        return false;
    }
    call->known = inst->told;
    if (call->principals == session->principals) return true;
    hm_principals_unref(call->principals);
    call->principals = hm_principals_ref(session->principals);
    call->admin = session->admin;
    free(call->caller_json);
    call->caller_json = NULL;
    if (call->core) return permitted(call, call->core->access, (struct hm_json){0});
    hm_call_describe(call);
    const struct cat_method *method = hm_cat_method(inst->catalogue, hm_str_of(call->method));
    return !method || permitted(call, method->access, method->roles);
}

// What a worker is sent is one frame. A call that goes by a queue is looked at again when it is sent: what is
// said of its caller may have grown.
static bool fits(struct call *call) {
    if (call->params.raw.len + strlen(call->caller_json) + FRAME_REST <= HM_FRAME_MAX) return true;
    hm_call_fail(call, HM_TOO_LARGE, "the params are too large for a plugin's method");
    return false;
}

// ---- routing ------------------------------------------------------------------------------------------

// True: too many wait already, and the call has been answered so.
static bool full(struct call *call) {
    struct institution *inst = call->institution;
    if (inst->waiting < inst->engine->settings.queue_max) return false;
    inst->engine->counters.refused_queue++;
    hm_call_wait(call, 1);
    return true;
}

void hm_call_enqueue(struct call *call, bool front) {
    struct institution *inst = call->institution;
    if (!front && !call->system && !call->job && full(call)) return;
    if (!front && hm_inst_broken(inst)) {
        hm_call_fail(call, HM_UNAVAILABLE, HM_NO_PLUGINS);
        return;
    }
    hm_call_list(call, &inst->queue, front);
    hm_inst_touch(inst);
}

bool hm_call_needs_catalogue(struct call *call) {
    struct institution *inst = call->institution;
    if (!inst || inst->catalogue || !inst->wanted || call->waited || hm_inst_broken(inst)) return false;
    call->waited = true;
    if (!full(call)) hm_call_list(call, &inst->unresolved, false);
    return true;
}

// A method of the institution's plugins, once the catalogue is known.
static void resolve(struct call *call) {
    struct institution *inst = call->institution;
    const struct cat_method *method = hm_cat_method(inst->catalogue, hm_str_of(call->method));
    if (!method) {
        hm_call_fail(call, HM_METHOD, "");
        return;
    }
    if (permitted(call, method->access, method->roles) && hm_idem_take(call)) hm_call_begin(call);
}

void hm_call_begin(struct call *call) {
    if (call->session && call->session->ended) { // while the call waited
        hm_call_fail(call, HM_UNAUTHENTICATED, "the session has ended");
        return;
    }
    if (call->core) {
        call->core->fn(call);
        return;
    }
    // It may have waited, and the method may be another one by now.
    const struct cat_method *method = hm_cat_method(call->institution->catalogue, hm_str_of(call->method));
    if (!method) {
        hm_call_fail(call, HM_METHOD, "");
        return;
    }
    hm_call_describe(call);
    if (!fits(call)) return;
    hm_engine_random(call->engine, call->seed, sizeof call->seed);
    if (method->job)
        hm_job_start(call, method);
    else
        hm_call_enqueue(call, false);
}

void hm_call_resolve_waiting(struct institution *inst) {
    while (inst->unresolved) {
        struct call *call = inst->unresolved;
        hm_call_list(call, NULL, false);
        if (!hm_call_still(call)) continue;
        if (call->core)
            call->core->fn(call);
        else if (inst->catalogue)
            resolve(call);
        else
            hm_call_fail(call, HM_UNAVAILABLE, HM_NO_PLUGINS);
    }
}

static void route(struct call *call) {
    struct institution *inst = call->institution;
    struct hm_buf errors = {0};
    call->core = hm_core_find(call->engine, hm_str_of(call->method));
    if (limited(call)) {
        hm_call_reason(call, HM_FORBIDDEN, "need", "totp");
    } else if (!call->core && !inst) {
        hm_call_fail(call, HM_UNAUTHENTICATED, "");
    } else if (!call->core && call->method[0] == '$') {
        hm_call_fail(call, HM_METHOD, "");
    } else if (!call->core && inst->catalogue) {
        resolve(call);
    } else if (!call->core) {
        inst->wanted = true;
        if (!full(call)) {
            if (hm_inst_broken(inst))
                hm_call_fail(call, HM_UNAVAILABLE, HM_NO_PLUGINS);
            else
                hm_call_list(call, &inst->unresolved, false);
        }
        hm_inst_touch(inst);
    } else if (!call->core->fn) {
        hm_call_fail(call, HM_METHOD, "");
    } else if (permitted(call, call->core->access, (struct hm_json){0})) {
        call->engine->counters.core_calls++;
        if (!hm_params_check(call->core->params, call->params, &errors)) {
            struct hm_buf data = {0};
            hm_buf_printf(&data, "{\"errors\":[%s]}", errors.data);
            hm_call_done(call, HM_PARAMS, HM_LIT(""), HM_LIT(""), hm_buf_view(&data));
            hm_buf_free(&data);
        } else if (hm_idem_take(call)) {
            hm_call_begin(call);
        }
    }
    hm_buf_free(&errors);
}

// Who is it? False: answered, because the session has ended.
static bool identify(struct call *call) {
    struct hm_caller *caller = call->caller;
    struct hm_engine *engine = call->engine;
    call->local = caller->loopback || caller->control;
    if (caller->session) {
        struct live *live = hm_live_of(caller->session);
        call->session = hm_session_ref(caller->session);
        if (!live || !hm_live_use(live, hm_now_ms())) {
            hm_call_fail(call, HM_UNAUTHENTICATED, "the session has ended");
            return false;
        }
        call->institution = live->institution;
        call->admin = call->session->admin;
        call->principals = hm_principals_ref(call->session->principals);
        snprintf(call->by, sizeof call->by, "%s", live->by);
    } else if (caller->control) {
        call->institution = hm_inst_find(engine, caller->institution[0] ? caller->institution : CLUSTER);
        if (!call->institution && hm_inst_unopened(engine, caller->institution)) {
            hm_call_fail(call, HM_UNAVAILABLE, HM_UNOPENED);
            return false;
        }
        if (!call->institution) {
            hm_call_reason(call, HM_NOT_FOUND, "institution", caller->institution);
            return false;
        }
        call->admin = true;
        call->principals = hm_principals_ref(call->institution->control);
    } else {
        char name[65];
        bool told = call->params.kind == HM_JSON_OBJECT &&
                    hm_json_get_text(call->params, "institution", name, sizeof name);
        call->institution = told ? hm_inst_find(engine, name) : NULL;
        if (told && !call->institution && hm_inst_unopened(engine, name)) {
            hm_call_fail(call, HM_UNAVAILABLE, HM_UNOPENED);
            return false;
        }
    }
    return true;
}

static void refuse(hm_answer_fn answer, void *arg) {
    answer(arg,
           &(struct hm_answer){.code = HM_UNAVAILABLE, .message = HM_LIT("the server is shutting down")});
}

void hm_engine_call(struct hm_engine *engine, struct hm_caller *caller, struct hm_str method,
                    struct hm_str params, hm_answer_fn answer, void *arg) {
    if (engine->draining || engine->closing) {
        refuse(answer, arg);
        return;
    }
    if (method.len == 0 || method.len > 128 || memchr(method.ptr, 0, method.len)) {
        answer(arg, &(struct hm_answer){.code = HM_METHOD, .message = hm_str_of(hm_code_message(HM_METHOD))});
        return;
    }
    struct call *call = hm_call_new(engine, NULL, caller, method, params, answer, arg);
    if (identify(call)) route(call);
}

// ---- to a worker --------------------------------------------------------------------------------------

static struct proc *least_loaded(struct institution *inst) {
    struct proc *best = NULL, *proc;
    DL_FOREACH(inst->procs, proc) {
        if (proc->role != PROC_ORDINARY || proc->state != PROC_READY || proc->generation != inst->generation)
            continue;
        if (proc->flight_count >= CALLS_PER_WORKER || proc->out.len - proc->out_at > OUT_MAX) continue;
        if (!best || proc->flight_count < best->flight_count) best = proc;
    }
    return best;
}

static void send(struct proc *proc, struct call *call) {
    if (hm_call_still(call) && fits(call)) hm_proc_call(proc, call);
}

// The lane of calls that keep being overtaken: one at a time, so that they do not overtake each other. One
// that is overtaken even there, by calls outside, gets a turn in which nobody else commits, and so cannot be
// overtaken: what is being committed is waited for, then it runs, and what was brought meanwhile comes behind
// it. The turn is as long as the call, whose deadline bounds it; so no part of a job is ever here, which may
// take minutes.
static void next_contended(struct institution *inst) {
    if (inst->contender || !inst->contended) return;
    struct call *call = inst->contended;
    struct proc *proc = least_loaded(inst);
    bool alone = call->conflicts >= EXCLUSIVE_FROM;
    inst->exclusive = NULL;
    if (!proc) return; // and nobody waits for a worker that has yet to come
    if (alone) {
        inst->exclusive = call;
        if (inst->committer.unfinished > inst->committer.staged_count) return;
        inst->engine->counters.exclusive_turns++;
    }
    inst->contender = call;
    send(proc, call);
}

void hm_call_dispatch(struct institution *inst) {
    if (inst->turning) return; // for workers that are about to be of yesterday
    next_contended(inst);
    struct proc *proc;
    while (inst->queue && inst->committer.unfinished < COMMITS_MAX && (proc = least_loaded(inst)))
        send(proc, inst->queue);
    if (!inst->queue)
        inst->pressed_us = 0;
    else if (!inst->pressed_us)
        inst->pressed_us = hm_mono_us();
}

static void on_delay(struct ev_loop *loop, ev_timer *timer, int events) {
    struct call *call = timer->data;
    (void)loop, (void)events;
    hm_call_list(call, NULL, false);
    hm_call_enqueue(call, true);
}

void hm_call_leave_lane(struct call *call) {
    struct institution *inst = call->institution;
    if (!inst || (inst->contender != call && inst->exclusive != call)) return;
    if (inst->contender == call) inst->contender = NULL;
    if (inst->exclusive == call) inst->exclusive = NULL;
    hm_inst_touch(inst);
}

void hm_call_again(struct call *call) {
    struct institution *inst = call->institution;
    uint8_t random;
    hm_call_leave_lane(call);
    if (call->engine->closing) {
        hm_call_fail(call, HM_UNAVAILABLE, "the server is shutting down");
    } else if (call->job) { // on its own worker, and in no lane: see next_contended
        struct proc *proc = hm_job_proc(call->job);
        if (proc && proc->past)
            hm_call_reason(call, HM_CONFLICT, "reason", "types_changed");
        else if (proc)
            hm_proc_call(proc, call);
        else
            hm_call_fail(call, HM_INTERNAL, "the worker of this job died");
    } else if (call->conflicts >= CONTENDED_FROM) {
        hm_call_list(call, &inst->contended, false);
    } else if (call->conflicts == 2) {
        hm_engine_random(call->engine, &random, 1);
        hm_call_list(call, &inst->delayed, false);
        ev_timer_init(&call->delay, on_delay, 0.0005 + random * 0.00001, 0.);
        call->delay.data = call;
        ev_timer_start(call->engine->loop, &call->delay);
    } else {
        hm_call_enqueue(call, true);
    }
    hm_inst_touch(inst);
}

void hm_call_outdated(struct call *call) {
    call->moved++;
    if (call->job) {
        hm_call_reason(call, HM_CONFLICT, "reason", "types_changed");
        return;
    }
    hm_call_leave_lane(call);
    hm_call_enqueue(call, true);
}

// Its worker is gone. Only the head was running, so only the head can be what brought the worker down.
void hm_call_lost(struct call *call, bool head, bool deadline, uint32_t limit_ms) {
    struct institution *inst = call->institution;
    hm_call_leave_lane(call);
    if (call->engine->closing) {
        hm_call_fail(call, HM_UNAVAILABLE, "the server is shutting down");
    } else if (deadline) {
        struct hm_buf data = {0};
        hm_buf_printf(&data, "{\"limit_ms\":%u", limit_ms);
        hm_fresh_named(call, &data);
        hm_buf_char(&data, '}');
        hm_fresh_failed(call, HM_DEADLINE, hm_buf_view(&data));
        hm_call_done(call, HM_DEADLINE, HM_LIT(""), HM_LIT("it ran past the hard deadline"),
                     hm_buf_view(&data));
        hm_buf_free(&data);
    } else if (call->pinned) {
        hm_call_fail(call, HM_INTERNAL, "the worker that was asked died");
    } else if (call->trying) {
        hm_call_fail(call, HM_PLUGIN, "the worker in which it was tried died");
    } else if (call->job && call->engine->draining) {
        hm_call_fail(call, HM_UNAVAILABLE, "server restarted");
    } else if (call->job) {
        hm_call_fail(call, HM_INTERNAL, "the worker of this job died");
    } else if ((head && ++call->deaths >= 2) || (!head && ++call->moved > 8)) {
        hm_log(HM_ERROR, "call.worker_died_twice", "\"institution\":\"%s\"", inst->id);
        struct hm_buf data = {0};
        hm_buf_char(&data, '{');
        hm_fresh_named(call, &data);
        hm_buf_char(&data, '}');
        hm_fresh_failed(call, HM_PLUGIN, hm_buf_view(&data));
        hm_call_done(call, HM_PLUGIN, HM_LIT(""),
                     call->admin ? HM_LIT("two workers died while they ran this") : HM_LIT(""),
                     hm_buf_view(&data));
        hm_buf_free(&data);
    } else {
        hm_call_enqueue(call, true);
    }
}

void hm_call_close(struct institution *inst, const char *why) {
    struct call **const lists[] = {&inst->queue, &inst->unresolved, &inst->contended, &inst->delayed};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        while (*lists[i])
            hm_call_fail(*lists[i], HM_UNAVAILABLE, why);
    // What waited for the end of another with the same idem key needs no worker, if it is the core's. It may
    // have been put there by an end above.
    while (inst->engine->closing && inst->resumed)
        hm_call_fail(inst->resumed, HM_UNAVAILABLE, why);
}

// ---- callers ------------------------------------------------------------------------------------------

struct hm_caller *hm_caller_new(void) {
    struct hm_caller *caller = hm_alloc(sizeof *caller);
    caller->refs = 1;
    return caller;
}

struct hm_caller *hm_caller_ref(struct hm_caller *caller) {
    if (caller) caller->refs++;
    return caller;
}

void hm_caller_unref(struct hm_caller *caller) {
    if (!caller) return;
    assert(caller->refs > 0);
    if (--caller->refs > 0) return;
    hm_session_unref(caller->session);
    free(caller);
}

void hm_caller_attach(struct hm_caller *caller, struct live *live) {
    struct hm_session *old = caller->session;
    caller->session = hm_session_ref(live->session);
    hm_session_unref(old);
}
