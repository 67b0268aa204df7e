// Long work: jobs. A job is a record (so that its starter's feed shows it) and, while it lives, a struct
// here. Loop thread.
//   queued -> running (JOB_RUN on a job worker) -> done (JOB_DONE on the same worker, committed with the
//   record) or failed, or cancelled at any time before.
// What always holds: a job that was answered with its id has a record; its last state is committed with, or
// after, what it wrote; a job runs at most once. JOB_DONE runs on the job's worker and not on an ordinary
// one, because what it writes may be much (an import) and must not keep interactive calls waiting.
#include "base/clock.h"
#include "base/log.h"
#include "engine/internal.h"
#include "script/frames.h"

#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#define PARAMS_KEPT_MAX 4096  // longer params are not stored in the record
#define NOTICE_US 250000u     // at most four notices of progress a second
#define IDLE_JOB_US 30000000u // an idle job worker stops after this
#define RECOVER_MAX 10000     // newest job records looked at when the institution opens
#define RESULT_FRAME_MAX (16u << 20)
#define QUEUED_MAX 100        // of an institution
#define QUEUED_ACCOUNT_MAX 20 // of them, begun by one account
#define QUEUED_WAIT_S 10

enum job_state { JOB_QUEUED, JOB_RUNNING, JOB_DONE, JOB_FAILED, JOB_CANCELLED };
static const char *const state_names[] = {"queued", "running", "done", "failed", "cancelled"};

struct job {
    struct job *prev, *next;
    struct institution *institution;
    char id[37];
    char *method, *params, *caller_json;
    char by[144], person[HM_ID_MAX + 1], account[HM_ID_MAX + 1]; // who began it; "": none
    struct hm_session *session;
    struct hm_principals *principals;
    bool admin, local, has_done, cancelled, ended;
    bool params_dropped; // somebody has been erased since: they may be in them
    enum job_state state;
    double progress;
    char note[1001];
    uint64_t noticed_us;
    bool notice_due;
    int64_t started_ms;
    struct proc *proc;
    struct hm_buf result, error; // JSON
};

// ---- its record and its notices -----------------------------------------------------------------------

static void job_json(const struct job *job, int64_t now_ms, struct hm_str result, struct hm_buf *b) {
    hm_buf_char(b, '{');
    hm_json_member_str(b, "method", hm_str_of(job->method));
    if (job->params_dropped)
        hm_json_member_raw(b, "params", HM_LIT("{}"));
    else if (strlen(job->params) <= PARAMS_KEPT_MAX)
        hm_json_member_raw(b, "params", hm_str_of(job->params));
    hm_json_member_str(b, "state", hm_str_of(state_names[job->state]));
    hm_json_key(b, "progress");
    hm_json_put_double(b, job->state == JOB_DONE ? 1 : job->progress);
    hm_json_member_str(b, "note", hm_str_of(job->note));
    hm_json_member_str(b, "by", hm_str_of(job->by));
    if (job->started_ms) hm_json_member_int(b, "started", job->started_ms);
    if (job->state >= JOB_DONE) hm_json_member_int(b, "ended", now_ms);
    if (result.len) hm_json_member_raw(b, "result", result);
    if (job->error.len) hm_json_member_raw(b, "error", hm_buf_view(&job->error));
    hm_buf_char(b, '}');
}

static void put_record(struct commit_item *item, const struct job *job, uint64_t expect,
                       struct hm_str result) {
    struct hm_buf data = {0};
    char audience[HM_ID_MAX + 32];
    if (job->person[0])
        snprintf(audience, sizeof audience, "person:%s", job->person);
    else if (job->account[0])
        snprintf(audience, sizeof audience, "account:%s", job->account);
    else
        snprintf(audience, sizeof audience, "role:administrator");
    job_json(job, item->commit.now_ms, result, &data);
    hm_item_put(item, "job", hm_str_of(job->id), expect, hm_buf_view(&data), audience);
    hm_buf_free(&data);
}

static void notice(struct job *job) {
    struct hm_buf params = {0};
    job->notice_due = false;
    job->noticed_us = hm_mono_us();
    if (!job->person[0] && !job->account[0]) return; // started over the control socket: job.get tells
    hm_buf_char(&params, '{');
    hm_json_member_str(&params, "id", hm_str_of(job->id));
    hm_json_key(&params, "progress");
    hm_json_put_double(&params, job->state == JOB_DONE ? 1 : job->progress);
    hm_json_member_str(&params, "note", hm_str_of(job->note));
    hm_json_member_str(&params, "state", hm_str_of(state_names[job->state]));
    hm_buf_char(&params, '}');
    if (job->person[0])
        hm_engine_notice(job->institution->engine, job->institution->id, hm_str_of(job->person), NULL,
                         "job.progress", hm_buf_view(&params));
    else
        hm_live_notice(job->institution, job->account, "job.progress", hm_buf_view(&params));
    hm_buf_free(&params);
}

static void job_free(struct job *job) {
    DL_DELETE(job->institution->jobs, job);
    if (job->proc) job->proc->job = NULL;
    hm_session_unref(job->session);
    hm_principals_unref(job->principals);
    hm_buf_free(&job->result);
    hm_buf_free(&job->error);
    free(job->method);
    free(job->params);
    free(job->caller_json);
    free(job);
}

static void release(struct job *job) {
    if (!job->proc) return;
    job->proc->job = NULL;
    job->proc->idle_since_us = hm_mono_us();
    job->proc = NULL;
    hm_inst_touch(job->institution);
}

static void last_written(struct commit_item *item) {
    struct job *job = item->arg;
    if (!item->ok || item->commit.code != HM_OK)
        hm_log(HM_ERROR, "job.not_recorded", "\"institution\":\"%s\",\"job\":\"%s\"", job->institution->id,
               job->id);
    if (!job->institution->engine->closing) notice(job);
    job_free(job);
}

// Its end, when there is nothing else to commit with it.
static void finish(struct job *job, enum job_state state) {
    struct institution *inst = job->institution;
    job->state = state;
    job->ended = true;
    release(job);
    struct commit_item *item = hm_item_new(inst, job->by, "job");
    put_record(item, job, HM_ANY_VERSION, hm_buf_view(&job->result));
    item->arg = job;
    hm_item_submit(item, last_written);
}

static void fail(struct job *job, const struct hm_answer *answer) {
    hm_buf_clear(&job->error);
    hm_buf_clear(&job->result);
    hm_buf_char(&job->error, '{');
    hm_json_member_int(&job->error, "code", answer->code);
    hm_json_member_str(&job->error, "message", answer->message);
    if (answer->data.len) hm_json_member_raw(&job->error, "data", answer->data);
    hm_buf_char(&job->error, '}');
    finish(job, job->cancelled ? JOB_CANCELLED : JOB_FAILED);
}

static void fail_because(struct job *job, enum hm_code code, const char *message) {
    fail(job, &(struct hm_answer){.code = code, .message = hm_str_of(message)});
}

// ---- starting -----------------------------------------------------------------------------------------

static void job_committed(struct commit_item *item) {
    struct job *job = item->arg;
    if (!item->ok || item->commit.code != HM_OK) {
        hm_call_fail_item(item->call, item);
        job_free(job);
        return;
    }
    job->institution->engine->counters.jobs++;
    job->ended = false;
    hm_inst_touch(job->institution);
    hm_call_committed(item);
}

// Each keeps its params in memory until it runs.
static bool queue_full(const struct call *call) {
    const struct job *job;
    unsigned all = 0, own = 0;
    DL_FOREACH(call->institution->jobs, job) {
        if (job->state != JOB_QUEUED) continue;
        all++;
        own += call->session && strcmp(job->account, call->session->account) == 0;
    }
    return all >= QUEUED_MAX || own >= QUEUED_ACCOUNT_MAX;
}

void hm_job_start(struct call *call, const struct cat_method *method) {
    struct institution *inst = call->institution;
    if (queue_full(call)) {
        inst->engine->counters.refused_queue++;
        hm_call_wait(call, QUEUED_WAIT_S);
        return;
    }
    struct job *job = hm_alloc(sizeof *job);
    struct hm_buf result = {0};
    job->institution = inst;
    hm_uuid7(hm_now_ms(), job->id);
    job->method = hm_strdup(call->method);
    job->params = hm_str_dup(call->params.raw);
    job->caller_json = hm_strdup(call->caller_json);
    snprintf(job->by, sizeof job->by, "%s", call->by);
    if (call->session) {
        snprintf(job->person, sizeof job->person, "%s", call->session->person);
        snprintf(job->account, sizeof job->account, "%s", call->session->account);
    }
    job->session = hm_session_ref(call->session);
    job->principals = hm_principals_ref(call->principals);
    job->admin = call->admin;
    job->local = call->local;
    job->has_done = method->done;
    job->ended = true; // not to be scheduled before its record is durable
    DL_APPEND(inst->jobs, job);
    hm_buf_printf(&result, "{\"job\":\"%s\"}", job->id);
    struct commit_item *item = hm_item_new(inst, call->by, call->method);
    put_record(item, job, 0, HM_LIT(""));
    item->arg = job;
    hm_item_finish_call(item, call, hm_buf_view(&result), job_committed);
    hm_buf_free(&result);
}

// ---- running ------------------------------------------------------------------------------------------

static struct call *job_call(struct job *job, struct hm_str params, uint8_t flags, hm_answer_fn answer) {
    const struct hm_settings *s = &job->institution->engine->settings;
    struct call *call = hm_call_new(job->institution->engine, job->institution, NULL, hm_str_of(job->method),
                                    params, answer, job);
    call->job = job;
    call->flags = flags;
    call->cpu_ms = s->job_cpu_ms;
    call->memory_bytes = s->job_memory_bytes;
    call->admin = job->admin;
    call->local = job->local;
    call->caller_json = hm_strdup(job->caller_json);
    call->session = hm_session_ref(job->session);
    call->principals = hm_principals_ref(job->principals);
    snprintf(call->by, sizeof call->by, "%s", job->by);
    hm_engine_random(call->engine, call->seed, sizeof call->seed);
    return call;
}

// The record's end goes with what JOB_DONE wrote, in one commit.
static bool extend_done(struct call *call, struct commit_item *item, struct hm_str result,
                        struct hm_error *err) {
    struct job *job = call->job;
    if (result.len > JOB_RESULT_MAX) return hm_fail(err, HM_TOO_LARGE, "the result of a job may have 1 MiB");
    job->state = JOB_DONE;
    put_record(item, job, HM_ANY_VERSION, result);
    job->state = JOB_RUNNING;
    return true;
}

static void done_answered(void *arg, const struct hm_answer *answer) {
    struct job *job = arg;
    if (answer->code) {
        fail(job, answer);
        return;
    }
    job->state = JOB_DONE;
    release(job);
    notice(job);
    job_free(job);
}

// Params, result and caller go to the worker in one frame.
static bool done_fits(const struct job *job, size_t result) {
    return result <= RESULT_FRAME_MAX &&
           strlen(job->params) + result + strlen(job->caller_json) + FRAME_REST <= HM_FRAME_MAX;
}

static void ran(void *arg, const struct hm_answer *answer) {
    struct job *job = arg;
    if (answer->code || job->cancelled) {
        fail(job, answer->code ? answer
                               : &(struct hm_answer){.code = HM_CONFLICT, .message = HM_LIT("cancelled")});
    } else if (job->has_done && !done_fits(job, answer->result.len)) {
        fail_because(job, HM_TOO_LARGE, "the result of the long part is too large");
    } else if (job->has_done && job->proc && (job->proc->past || job->institution->turning)) {
        fail_because(job, HM_CONFLICT,
                     "what records look like has changed while this ran: begin it once more");
    } else if (job->has_done && !hm_job_proc(job)) {
        fail_because(job, HM_INTERNAL, "the worker of this job died");
    } else if (job->has_done) {
        struct hm_buf params = {0};
        hm_buf_text(&params, "{\"params\":");
        hm_buf_text(&params, job->params);
        hm_buf_text(&params, ",\"result\":");
        hm_buf_str(&params, answer->result);
        hm_buf_char(&params, '}');
        struct call *call = job_call(job, hm_buf_view(&params), HM_CALL_JOB_DONE, done_answered);
        call->extend = extend_done;
        hm_proc_call(job->proc, call);
        hm_buf_free(&params);
    } else if (answer->result.len > JOB_RESULT_MAX) {
        fail_because(job, HM_TOO_LARGE, "the result of a job may have 1 MiB");
    } else {
        hm_buf_str(&job->result, answer->result);
        finish(job, JOB_DONE);
    }
}

static void run(struct job *job, struct proc *proc) {
    job->proc = proc;
    proc->job = job;
    job->state = JOB_RUNNING;
    job->started_ms = hm_now_ms();
    struct commit_item *item = hm_item_new(job->institution, job->by, "job");
    put_record(item, job, HM_ANY_VERSION, HM_LIT(""));
    hm_item_submit(item, hm_item_ignored);
    hm_proc_call(proc, job_call(job, hm_str_of(job->params), HM_CALL_JOB_RUN, ran));
    notice(job);
}

static struct job *next_queued(struct institution *inst) {
    struct job *job;
    DL_FOREACH(inst->jobs, job) {
        if (job->state == JOB_QUEUED && !job->ended) return job;
    }
    return NULL;
}

void hm_job_schedule(struct institution *inst) {
    struct proc *proc;
    unsigned workers = 0, coming = 0;
    struct job *job = next_queued(inst);
    if (!job || inst->engine->draining || inst->turning) return;
    DL_FOREACH(inst->procs, proc) {
        if (proc->role != PROC_JOB || proc->state == PROC_DEAD || proc->state == PROC_STOPPING) continue;
        workers++;
        if (proc->state != PROC_READY) coming++;
        if (proc->state != PROC_READY || proc->job || proc->generation != inst->generation) continue;
        run(job, proc);
        if (!(job = next_queued(inst))) return;
    }
    if (coming || workers >= JOB_WORKERS_MAX || hm_mono_us() < inst->start_not_before_us) return;
    if (inst->start_failures >= 3) { // its workers do not come
        fail_because(job, HM_UNAVAILABLE, "the institution's plugins do not load");
        return;
    }
    struct hm_error err = {0};
    if (!hm_proc_start(inst, PROC_JOB, hm_watch_candidates(inst), false, &err))
        fail_because(job, HM_UNAVAILABLE, err.message);
}

// Its worker is gone while no call of it was there: it waits for a commit, or has ended.
void hm_job_lost(struct job *job) {
    if (job->proc) job->proc->job = NULL;
    job->proc = NULL;
}

void hm_job_forget(struct institution *inst) {
    struct job *job;
    DL_FOREACH(inst->jobs, job) {
        job->params_dropped = true;
        job->note[0] = '\0';
    }
}

void hm_job_progress(struct job *job, double part, struct hm_str note) {
    job->progress = part;
    snprintf(job->note, sizeof job->note, "%.*s", (int)note.len, note.ptr ? note.ptr : "");
    if (hm_mono_us() - job->noticed_us >= NOTICE_US)
        notice(job);
    else
        job->notice_due = true;
}

void hm_job_tick(struct institution *inst, uint64_t now_us) {
    struct job *job;
    struct proc *proc;
    DL_FOREACH(inst->jobs, job) {
        if (job->notice_due && job->state == JOB_RUNNING && now_us - job->noticed_us >= NOTICE_US)
            notice(job);
    }
    DL_FOREACH(inst->procs, proc) {
        bool idle = proc->role == PROC_JOB && proc->state == PROC_READY && !proc->job && !proc->flight_count;
        if (idle && now_us - proc->idle_since_us > IDLE_JOB_US) hm_proc_stop(proc);
    }
}

struct proc *hm_job_proc(const struct job *job) {
    return job->proc && job->proc->state == PROC_READY ? job->proc : NULL;
}

static bool job_live(struct institution *inst, struct hm_str id, double *progress, char *note, size_t cap) {
    struct job *job;
    DL_FOREACH(inst->jobs, job) {
        if (!hm_str_eq(id, hm_str_of(job->id))) continue;
        *progress = job->progress;
        snprintf(note, cap, "%s", job->note);
        return job->state == JOB_RUNNING;
    }
    return false;
}

// ---- restart, drain, close ----------------------------------------------------------------------------

struct recovery {
    struct commit_item *item;
    unsigned looked;
};

static bool recover_one(void *arg, const struct hm_record *record, struct hm_json data) {
    struct recovery *r = arg;
    char state[16];
    if (!hm_json_get_text(data, "state", state, sizeof state)) return true;
    if (strcmp(state, "queued") == 0 || strcmp(state, "running") == 0) {
        struct hm_buf one = {0}, two = {0}, ended = {0}, text = {0};
        hm_json_with(data, "state", HM_LIT("\"failed\""), &one);
        hm_json_with((struct hm_json){HM_JSON_OBJECT, hm_buf_view(&one)}, "error",
                     HM_LIT("{\"code\":-32009,\"message\":\"server restarted\"}"), &two);
        hm_json_put_int(&ended, hm_now_ms());
        hm_json_with((struct hm_json){HM_JSON_OBJECT, hm_buf_view(&two)}, "ended", hm_buf_view(&ended),
                     &text);
        hm_item_put(r->item, "job", record->id, HM_ANY_VERSION, hm_buf_view(&text), "");
        struct hm_intent *intent = &r->item->intents[r->item->intent_count - 1];
        intent->audience = hm_item_keep(r->item, record->audience);
        hm_buf_free(&one);
        hm_buf_free(&two);
        hm_buf_free(&ended);
        hm_buf_free(&text);
    }
    return ++r->looked < RECOVER_MAX;
}

void hm_job_recover(struct institution *inst) {
    struct recovery r = {.item = hm_item_new(inst, "", "job.recover")};
    struct hm_read *read = NULL;
    if (hm_read_begin(inst->store, &read, NULL)) {
        struct hm_types *types = hm_store_types(inst->store);
        hm_read_each(read, types, "job", NULL, HM_LIT(""), true, recover_one, &r);
        hm_types_unref(types);
        hm_read_end(read);
    }
    if (r.item->intent_count)
        hm_item_submit(r.item, hm_item_ignored);
    else
        hm_item_free(r.item);
}

void hm_job_drain(struct institution *inst) {
    struct job *job, *next;
    struct proc *proc, *next_proc;
    DL_FOREACH_SAFE(inst->jobs, job, next) {
        if (job->state == JOB_QUEUED && !job->ended) fail_because(job, HM_UNAVAILABLE, "server restarted");
    }
    DL_FOREACH_SAFE(inst->procs, proc, next_proc) {
        if (proc->role == PROC_JOB && proc->job) hm_proc_kill(proc, HM_END_SERVER_STOPS);
    }
}

void hm_job_count(const struct institution *inst, unsigned *queued, unsigned *running) {
    struct job *job;
    *queued = *running = 0;
    DL_FOREACH(inst->jobs, job) {
        *queued += job->state == JOB_QUEUED;
        *running += job->state == JOB_RUNNING;
    }
}

void hm_job_close(struct institution *inst) {
    while (inst->jobs)
        job_free(inst->jobs);
}

// ---- job.get, job.list, job.cancel --------------------------------------------------------------------

static void job_get(struct call *call) {
    char id[HM_ID_MAX + 1], note[1001] = "", state[16];
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_json data;
    struct hm_error err = {0};
    struct hm_buf out = {0}, number = {0}, quoted = {0}, live = {0};
    double progress = 0;
    hm_arg_text(call, "id", id, sizeof id);
    if (!hm_read_begin(call->institution->store, &read, &err)) {
        hm_call_fail_error(call, &err);
        return;
    }
    if (hm_read_data(read, "job", hm_str_of(id), &record, &data) &&
        hm_access_meets(call->principals, record.audience)) {
        // The record may have ended already while its commit is still on its way back to the loop.
        bool running = hm_json_get_text(data, "state", state, sizeof state) && strcmp(state, "running") == 0;
        if (running && job_live(call->institution, hm_str_of(id), &progress, note, sizeof note)) {
            hm_json_put_double(&number, progress);
            hm_json_put_str(&quoted, hm_str_of(note));
            hm_json_with(data, "progress", hm_buf_view(&number), &live);
            hm_json_with((struct hm_json){HM_JSON_OBJECT, hm_buf_view(&live)}, "note", hm_buf_view(&quoted),
                         &out);
            data.raw = hm_buf_view(&out);
        }
        hm_buf_clear(&live);
        hm_buf_clear(&quoted);
        hm_json_put_str(&quoted, hm_str_of(id));
        hm_json_with(data, "id", hm_buf_view(&quoted), &live);
    }
    hm_read_end(read);
    if (live.len)
        hm_call_ok(call, hm_buf_view(&live));
    else
        hm_call_fail(call, HM_NOT_FOUND, "");
    hm_buf_free(&out);
    hm_buf_free(&number);
    hm_buf_free(&quoted);
    hm_buf_free(&live);
}

static void job_list(struct call *call) {
    hm_record_list(call, "job", "", HM_LIT("[]"), true);
}

static bool begun_by(const struct job *job, const struct hm_session *session) {
    if (job->person[0]) return strcmp(job->person, session->person) == 0;
    return job->account[0] && strcmp(job->account, session->account) == 0;
}

static void job_cancel(struct call *call) {
    char id[HM_ID_MAX + 1];
    struct job *job, *found = NULL;
    hm_arg_text(call, "id", id, sizeof id);
    DL_FOREACH(call->institution->jobs, job) {
        if (strcmp(job->id, id) == 0) found = job;
    }
    bool own = found && call->session && begun_by(found, call->session);
    if (!found || (!own && !call->admin)) {
        hm_call_fail(call, HM_NOT_FOUND, "");
        return;
    }
    if (found->ended || (found->state == JOB_RUNNING && (!found->proc || !found->proc->flight))) {
        hm_call_reason(call, HM_CONFLICT, "reason", "ending"); // what it wrote is being committed
        return;
    }
    found->cancelled = true;
    if (found->state == JOB_QUEUED)
        fail_because(found, HM_CONFLICT, "cancelled");
    else
        hm_proc_kill(found->proc, HM_END_CANCELLED); // its call is lost, which ends the job
    hm_idem_finish(call, HM_LIT("{}"));
}

static const struct core_method rows[] = {
    {"job.get", ACCESS_SIGNED_IN, "id:text!", "State, progress (0 to 1), result or error of a job.", job_get},
    {"job.list", ACCESS_SIGNED_IN, "order:text limit:int cursor:long",
     "The jobs the caller may see, the newest first.", job_list},
    {"job.cancel", ACCESS_SIGNED_IN, "id:text!", "Stops a job.", job_cancel},
};
const struct core_table hm_methods_job = {rows, sizeof rows / sizeof *rows};
