// One worker process: its socket, its frames, the calls in its flight, its end. A worker works through its
// calls one after the other, so the head of the flight is the one that runs; everything it says is about the
// head, or nonsense.
//
// What always holds: a worker that says nonsense or passes its deadline is killed; when it is gone, each call
// of its flight has gone on (answered or put back); the struct lives until the process is reaped, so callers
// of hm_proc_kill may return through it.
#include "base/clock.h"
#include "base/log.h"
#include "base/wire.h"
#include "engine/author.h"
#include "engine/internal.h"
#include "engine/plugin.h"
#include "engine/reshape.h"
#include "engine/spawn.h"
#include "script/frames.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#define READ_BYTES (256u << 10)
#define READ_TURN (4u << 20) // bytes taken from one worker in one turn of the loop
#define KEEP_BYTES (1u << 20)
#define LOGS_MAX 1000u // frames of log between two answers
#define STOP_MS 3000   // to end by itself

static struct ev_loop *loop_of(const struct proc *proc) {
    return proc->institution->engine->loop;
}

// ---- sending ------------------------------------------------------------------------------------------

static size_t frame_begin(struct hm_buf *b, uint8_t kind, uint32_t call) {
    size_t at = b->len;
    hm_put_u32(b, 0);
    hm_put_u8(b, kind);
    hm_put_u32(b, call);
    return at;
}

static void frame_end(struct hm_buf *b, size_t at) {
    size_t len = b->len - at - 4;
    assert(len <= HM_FRAME_MAX);
    for (unsigned i = 0; i < 4; i++)
        b->data[at + i] = (char)(unsigned char)(len >> (8 * i));
}

void hm_proc_send(struct proc *proc, uint8_t kind, uint32_t call, struct hm_str payload) {
    size_t at = frame_begin(&proc->out, kind, call);
    hm_buf_str(&proc->out, payload);
    frame_end(&proc->out, at);
    hm_inst_touch(proc->institution);
}

static uint64_t deadline_us(const struct proc *proc) {
    const struct hm_settings *s = &proc->institution->engine->settings;
    if (proc->deadline_ms) return proc->deadline_ms * 1000ull;
    return (uint64_t)(proc->role == PROC_JOB ? s->job_deadline_ms : s->deadline_ms) * 1000;
}

// Until something has to be done about the head, which has run for so long: first it makes its worker heavy,
// or takes its turn among the heavy ones, then it is ended.
static void deadline_set(struct proc *proc, uint64_t ran_us) {
    proc->weighing = proc->role == PROC_ORDINARY && ran_us < HEAVY_MS * 1000;
    uint64_t at_us = proc->weighing ? HEAVY_MS * 1000 : deadline_us(proc);
    ev_timer_stop(loop_of(proc), &proc->deadline);
    ev_timer_set(&proc->deadline, at_us > ran_us ? (double)(at_us - ran_us) / 1e6 + 0.001 : 0.001, 0.);
    ev_timer_start(loop_of(proc), &proc->deadline);
}

// There is a new head. A timer that is set for an earlier moment fires early, looks, and is set for the rest.
static void deadline_begin(struct proc *proc) {
    proc->head_since_us = hm_mono_us();
    if (proc->held_us) proc->held_us = proc->head_since_us;
    bool early = proc->weighing || proc->role != PROC_ORDINARY;
    if (!early || !ev_is_active(&proc->deadline)) deadline_set(proc, 0);
}

// One institution's long calls must not make another's short ones wait for a processor.
static void heavy(struct proc *proc, bool is) {
    proc->heavy = is;
    proc->light = 0;
    hm_spawn_nice(proc->pid, is ? HEAVY_NICE : WORKER_NICE);
    if (is)
        hm_turns_join(proc);
    else
        hm_turns_leave(proc);
}

static void weigh(struct proc *proc, uint64_t ran_us) {
    if (!proc->heavy) return;
    proc->light = ran_us < HEAVY_MS * 1000 ? proc->light + 1 : 0;
    if (proc->light >= LIGHT_CALLS)
        heavy(proc, false);
    else if (!proc->flight)
        hm_turns_look(proc);
}

void hm_proc_call(struct proc *proc, struct call *call) {
    struct hm_buf *b = &proc->out;
    if (++call->engine->last_call == 0) call->engine->last_call = 1;
    call->id = call->engine->last_call;
    call->audit_count = 0;
    call->turn = proc->turn;
    hm_tape_begin(call);
    size_t at = frame_begin(b, HM_F_CALL, call->id);
    hm_put_str(b, hm_str_of(call->method));
    hm_put_str(b, call->params.raw);
    hm_put_str(b, hm_str_of(call->caller_json));
    hm_put_u64(b, (uint64_t)(call->trying && call->sent_ms ? call->sent_ms : (call->sent_ms = hm_now_ms())));
    hm_put_str(b, (struct hm_str){(const char *)call->seed, sizeof call->seed});
    hm_put_u32(b, call->cpu_ms);
    hm_put_u64(b, call->memory_bytes);
    hm_put_u8(b, call->flags);
    if (call->flags & HM_CALL_PAST) hm_put_u64(b, call->past);
    frame_end(b, at);
    hm_call_list(call, &proc->flight, false);
    call->proc = proc;
    if (proc->flight_count++ == 0) deadline_begin(proc);
    hm_inst_touch(proc->institution);
}

void hm_proc_flush(struct proc *proc) {
    while (proc->state != PROC_DEAD && proc->out_at < proc->out.len && !proc->out_blocked) {
        ssize_t n = write(proc->fd, proc->out.data + proc->out_at, proc->out.len - proc->out_at);
        if (n > 0) {
            proc->out_at += (size_t)n;
        } else if (n < 0 && errno == EINTR) {
            continue;
        } else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            proc->out_blocked = true;
            ev_io_start(loop_of(proc), &proc->writable);
        } else {
            break; // it is gone: reading says so, after what it still said
        }
    }
    if (proc->out_at == proc->out.len) {
        proc->out_at = 0;
        if (proc->out.cap > KEEP_BYTES)
            hm_buf_free(&proc->out);
        else
            hm_buf_clear(&proc->out);
    } else if (proc->out_at > KEEP_BYTES) {
        hm_buf_drop(&proc->out, proc->out_at);
        proc->out_at = 0;
    }
}

static void on_writable(struct ev_loop *loop, ev_io *watcher, int events) {
    struct proc *proc = watcher->data;
    (void)events;
    ev_io_stop(loop, watcher);
    proc->out_blocked = false;
    hm_proc_flush(proc);
}

// ---- the end ------------------------------------------------------------------------------------------

static void quiet(struct proc *proc) {
    struct ev_loop *loop = loop_of(proc);
    ev_io_stop(loop, &proc->readable);
    ev_io_stop(loop, &proc->writable);
    ev_timer_stop(loop, &proc->deadline);
    if (proc->fd >= 0) close(proc->fd);
    proc->fd = -1;
}

// Its socket is closed or it must go. Its calls go on; the struct stays until it is reaped.
static void lost(struct proc *proc, bool deadline) {
    if (proc->state == PROC_DEAD) return;
    struct institution *inst = proc->institution;
    bool early = proc->state == PROC_STARTING || proc->state == PROC_LOADED;
    bool wanted = proc->state != PROC_STOPPING;
    proc->state = PROC_DEAD;
    quiet(proc);
    if (proc->heavy) hm_turns_leave(proc);
    proc->heavy = false;
    hm_spawn_kill(proc->pidfd);
    if (wanted) hm_inst_lost(proc, early);
    hm_cat_unref(proc->catalogue);
    proc->catalogue = NULL;
    // From the last to the first, each put at the front of the queue, so that their order stays.
    while (proc->flight) {
        struct call *call = proc->flight->prev;
        bool head = call == proc->flight;
        hm_call_list(call, NULL, false);
        call->proc = NULL;
        hm_call_lost(call, head, deadline && head, (unsigned)(deadline_us(proc) / 1000));
    }
    proc->flight_count = 0;
    if (proc->job) hm_job_lost(proc->job);
    hm_inst_touch(inst);
}

const char *const hm_end_names[HM_ENDS] = {"stopped",      "deadline", "bad_frame", "start", "cancelled",
                                           "server_stops", "killed",   "crashed",   "exited"};

static void end_wanted(struct proc *proc, enum hm_end reason) {
    if (!proc->end_known) proc->end = reason;
    proc->end_known = true;
}

void hm_proc_kill(struct proc *proc, enum hm_end reason) {
    if (proc->state == PROC_DEAD) return;
    end_wanted(proc, reason);
    hm_log(HM_WARN, "worker.killed", "\"institution\":\"%s\",\"pid\":%d,\"reason\":\"%s\"",
           proc->institution->id, (int)proc->pid, hm_end_names[reason]);
    lost(proc, reason == HM_END_DEADLINE);
}

static void bad_frame(struct proc *proc, unsigned kind) {
    proc->institution->engine->counters.bad_frames++;
    hm_log(HM_ERROR, "worker.bad_frame", "\"institution\":\"%s\",\"pid\":%d,\"kind\":%u",
           proc->institution->id, (int)proc->pid, kind);
    hm_proc_kill(proc, HM_END_BAD_FRAME);
}

void hm_proc_stop(struct proc *proc) {
    if (proc->state == PROC_DEAD || proc->state == PROC_STOPPING) return;
    assert(!proc->flight);
    end_wanted(proc, HM_END_STOPPED);
    proc->state = PROC_STOPPING;
    proc->stop_since_us = hm_mono_us();
    shutdown(proc->fd, SHUT_WR); // it reads the end of its input and leaves
}

static void on_deadline(struct ev_loop *loop, ev_timer *timer, int events) {
    struct proc *proc = timer->data;
    uint64_t now_us = proc->held_us ? proc->held_us : hm_mono_us(); // time stands still till its turn comes
    uint64_t ran_us = now_us - proc->head_since_us;
    (void)loop, (void)events;
    if (!proc->flight) return;
    if (ran_us >= deadline_us(proc)) {
        hm_proc_kill(proc, HM_END_DEADLINE);
        return;
    }
    bool weighed = proc->weighing && ran_us >= HEAVY_MS * 1000;
    if (weighed && proc->heavy)
        hm_turns_look(proc);
    else if (weighed)
        heavy(proc, true);
    deadline_set(proc, ran_us);
}

// ---- receiving ----------------------------------------------------------------------------------------

static bool take_ready(struct proc *proc, struct hm_str payload) {
    struct hm_reader r = hm_reader_of(payload);
    struct hm_str json = hm_get_str(&r);
    struct hm_str unknown = r.at != r.end ? hm_get_str(&r) : HM_LIT("[]");
    struct hm_error err = {0};
    struct hm_json list;
    struct catalogue *cat = NULL;
    if (r.bad || r.at != r.end || proc->state != PROC_STARTING) return false;
    if (!hm_json_parse(unknown, &list, NULL) || list.kind != HM_JSON_ARRAY) return false;
    hm_buf_str(&proc->unknown, list.raw);
    if (!hm_cat_parse_like(json, proc->institution->catalogue, &cat, &err)) {
        hm_log(HM_ERROR, "worker.bad_catalogue", "\"institution\":\"%s\",\"line\":%d", proc->institution->id,
               err.line);
        return false;
    }
    proc->state = PROC_LOADED;
    hm_inst_loaded(proc, cat);
    return true;
}

static bool take_refused(struct proc *proc, struct hm_str payload) {
    struct hm_reader r = hm_reader_of(payload);
    struct hm_str json = hm_get_str(&r);
    struct hm_json errors;
    if (r.bad || r.at != r.end || proc->state != PROC_STARTING) return false;
    if (!hm_json_parse(json, &errors, NULL) || errors.kind != HM_JSON_ARRAY) return false;
    proc->institution->engine->counters.workers_refused++;
    hm_inst_refused(proc, errors.raw);
    return true;
}

// What a call says beside its answer would go out before it is written down what it opened.
static bool has_opened(const struct proc *proc, uint32_t id) {
    return proc->flight && proc->flight->id == id && proc->flight->audits;
}

static bool take_log(struct proc *proc, uint32_t id, struct hm_str payload) {
    struct hm_reader r = hm_reader_of(payload);
    uint8_t level = hm_get_u8(&r);
    struct hm_str plugin = hm_get_str(&r), version = hm_get_str(&r), text = hm_get_str(&r);
    struct plugin_line said = {.level = level, .id = plugin, .version = version};
    said.kind = hm_get_str(&r);
    said.file = hm_get_str(&r);
    said.line = hm_get_u32(&r);
    if (r.bad || r.at != r.end || ++proc->logs > LOGS_MAX) return false;
    plugin.len = plugin.len < 200 ? plugin.len : 200;
    version.len = version.len < 100 ? version.len : 100;
    text.len = text.len < 2048 ? text.len : 2048;
    if (has_opened(proc, id)) text = HM_LIT("(not shown: the call has opened a sealed field)");
    said.text = text;
    if (proc->flight && proc->flight->id == id) said.method = hm_str_of(proc->flight->method);
    hm_plugin_line(proc->institution, &said);
    struct hm_buf line = {0};
    hm_buf_char(&line, '{');
    hm_json_member_str(&line, "plugin", plugin);
    hm_json_member_str(&line, "version", version);
    // Whoever writes a plugin may have put a name into its texts: they are for authors at their desk.
    const struct hm_settings *s = &proc->institution->engine->settings;
    if (s->log_plugin_texts || s->watch_dir[0])
        hm_json_member_str(&line, "text", text);
    else
        hm_json_member_int(&line, "text_bytes", (int64_t)text.len);
    hm_log(level > HM_ERROR ? HM_ERROR : (enum hm_level)level, "plugin.log", "\"institution\":\"%s\",%s",
           proc->institution->id, line.data + 1);
    hm_buf_free(&line);
    return true;
}

static bool take_progress(struct proc *proc, uint32_t id, struct hm_str payload) {
    struct hm_reader r = hm_reader_of(payload);
    double part = hm_get_f64(&r);
    struct hm_str note = hm_get_str(&r);
    if (r.bad || r.at != r.end || !(part >= 0 && part <= 1)) return false;
    note.len = has_opened(proc, id) ? 0 : note.len < 1000 ? note.len : 1000;
    if (proc->job) hm_job_progress(proc->job, part, note);
    return true;
}

// An answer for the head: the next one runs from now.
static bool take_answer(struct proc *proc, uint8_t kind, struct hm_str payload) {
    struct call *call = proc->flight;
    hm_call_list(call, NULL, false);
    call->proc = NULL;
    proc->flight_count--;
    bool ok = true;
    if (hm_reshape_outdated(proc, call, kind, payload))
        hm_call_outdated(call);
    else
        ok = kind == HM_F_RESULT ? hm_call_result(call, payload) : hm_call_error(call, payload);
    if (!ok) { // it is still the head, for lost()
        hm_call_list(call, &proc->flight, true);
        call->proc = proc;
        proc->flight_count++;
        return false;
    }
    proc->answered++;
    proc->logs = 0;
    uint64_t began_us = proc->head_since_us;
    uint64_t ended_us = proc->held_us ? proc->held_us : hm_mono_us(); // it had answered before it was held
    deadline_begin(proc);
    proc->idle_since_us = proc->head_since_us;
    weigh(proc, ended_us - began_us);
    return true;
}

static bool take_frame(struct proc *proc, uint8_t kind, uint32_t id, struct hm_str payload) {
    switch (kind) {
    case HM_F_READY:
        return take_ready(proc, payload);
    case HM_F_REFUSED:
        return take_refused(proc, payload);
    case HM_F_LOG:
        return take_log(proc, id, payload);
    case HM_F_RESULT:
    case HM_F_ERROR:
    case HM_F_UNSEAL:
    case HM_F_PROGRESS:
        break;
    default:
        return false;
    }
    if (!proc->flight || proc->flight->id != id) return false;
    if (kind == HM_F_UNSEAL) return hm_call_unseal(proc->flight, payload);
    if (kind == HM_F_PROGRESS) return take_progress(proc, id, payload);
    return take_answer(proc, kind, payload);
}

// All complete frames in the buffer.
static void take_frames(struct proc *proc) {
    size_t at = 0;
    while (proc->state != PROC_DEAD && proc->in.len - at >= 4) {
        struct hm_reader r = hm_reader_of((struct hm_str){proc->in.data + at, proc->in.len - at});
        uint32_t len = hm_get_u32(&r);
        if (len < 5 || len > HM_FRAME_MAX) {
            bad_frame(proc, 0);
            return;
        }
        if (proc->in.len - at - 4 < len) break;
        uint8_t kind = hm_get_u8(&r);
        uint32_t id = hm_get_u32(&r);
        if (!take_frame(proc, kind, id, (struct hm_str){proc->in.data + at + 9, len - 5u}))
            bad_frame(proc, kind);
        at += 4u + len;
    }
    if (at == proc->in.len) {
        if (proc->in.cap > KEEP_BYTES)
            hm_buf_free(&proc->in);
        else
            hm_buf_clear(&proc->in);
    } else if (at) {
        hm_buf_drop(&proc->in, at);
    }
}

// True while there may be more.
static bool read_some(struct proc *proc) {
    hm_buf_reserve(&proc->in, READ_BYTES);
    ssize_t n = read(proc->fd, proc->in.data + proc->in.len, READ_BYTES);
    if (n > 0) {
        proc->in.len += (size_t)n;
        proc->in.data[proc->in.len] = 0;
        take_frames(proc);
        return proc->state != PROC_DEAD && n == (ssize_t)READ_BYTES;
    }
    if (n < 0 && errno == EINTR) return true;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return false;
    lost(proc, false);
    return false;
}

static void on_readable(struct ev_loop *loop, ev_io *watcher, int events) {
    struct proc *proc = watcher->data;
    (void)loop, (void)events;
    for (size_t taken = 0; taken < READ_TURN && read_some(proc); taken += READ_BYTES) {
    }
    hm_inst_touch(proc->institution);
}

// It has ended: what it still said is read first, then it is reaped, and the slots of its snapshots are
// freed.
static void reap(struct proc *proc, bool wait) {
    int status;
    if (proc->reaped || !hm_spawn_reap(proc->pidfd, wait, &status)) return;
    proc->reaped = true;
    ev_io_stop(loop_of(proc), &proc->exited);
    while (proc->state != PROC_DEAD && proc->fd >= 0 && read_some(proc)) {
    }
    bool asked = proc->end_known;
    if (!asked)
        proc->end = status == 128 + SIGKILL ? HM_END_KILLED : status > 128 ? HM_END_CRASHED : HM_END_EXITED;
    proc->institution->engine->counters.workers_ended[proc->end]++;
    hm_log(asked ? HM_DEBUG : HM_WARN, "worker.ended",
           "\"institution\":\"%s\",\"pid\":%d,\"reason\":\"%s\",\"status\":%d", proc->institution->id,
           (int)proc->pid, hm_end_names[proc->end], status);
    lost(proc, false);
    hm_store_clear_readers(proc->institution->store);
}

static void on_exited(struct ev_loop *loop, ev_io *watcher, int events) {
    (void)loop, (void)events;
    reap(watcher->data, false);
}

// ---- start and upkeep ---------------------------------------------------------------------------------

static struct hm_str or_empty(struct hm_str array) {
    return array.len ? array : HM_LIT("[]");
}

static void init_json(const struct institution *inst, enum proc_role role, const struct loading *loading,
                      struct hm_buf *b) {
    const struct hm_settings *s = &inst->engine->settings;
    bool job = role == PROC_JOB;
    hm_buf_char(b, '{');
    hm_json_member_str(b, "institution", hm_str_of(inst->id));
    hm_json_member_str(b, "plugin_dir", hm_str_of(s->plugin_dir));
    hm_json_member_int(b, "zone_minutes", inst->zone_minutes);
    hm_json_member_raw(b, "languages", HM_LIT("[\"uz\",\"uz-Cyrl\",\"ru\",\"en\"]"));
    hm_json_member_raw(b, "run_tests", loading->run_tests ? HM_LIT("true") : HM_LIT("false"));
    hm_json_member_raw(b, "base", or_empty(hm_layer_sources(loading->layer)));
    hm_json_member_raw(b, "without", or_empty(loading->without));
    hm_json_member_raw(b, "candidates", or_empty(loading->candidates));
    hm_json_member_raw(b, "tests", or_empty(loading->tests));
    hm_json_key(b, "limits");
    hm_buf_char(b, '{');
    hm_json_member_int(b, "cpu_ms", job ? s->job_cpu_ms : s->cpu_ms);
    // Sooner than the hard deadline, so that most get to hear where it was.
    hm_json_member_int(b, "wall_ms", (int64_t)(job ? s->job_deadline_ms : s->deadline_ms) * 9 / 10);
    hm_json_member_int(b, "memory_bytes", (int64_t)(job ? s->job_memory_bytes : s->memory_bytes));
    hm_json_member_int(b, "output_bytes", (int64_t)s->output_bytes);
    hm_json_member_int(b, "log_lines", s->log_lines);
    hm_buf_text(b, "}}");
}

struct proc *hm_proc_start(struct institution *inst, enum proc_role role, struct hm_str candidates,
                           bool run_tests, struct hm_error *err) {
    struct loading loading = {.candidates = candidates,
                              .without = hm_buf_view(&inst->without),
                              .layer = inst->layer,
                              .run_tests = run_tests};
    return hm_proc_load(inst, role, &loading, err);
}

struct proc *hm_proc_load(struct institution *inst, enum proc_role role, const struct loading *loading,
                          struct hm_error *err) {
    struct hm_engine *engine = inst->engine;
    struct proc *proc = hm_alloc(sizeof *proc);
    struct hm_buf json = {0}, payload = {0};
    if (!hm_spawn(engine->worker_exe, inst->dir, role == PROC_JOB ? JOB_NICE : WORKER_NICE, &proc->pid,
                  &proc->fd, &proc->pidfd, err)) {
        free(proc);
        return NULL;
    }
    proc->institution = inst;
    proc->role = role;
    proc->generation = inst->generation;
    proc->turn = inst->turn;
    proc->started_us = proc->idle_since_us = hm_mono_us();
    ev_io_init(&proc->readable, on_readable, proc->fd, EV_READ);
    ev_io_init(&proc->writable, on_writable, proc->fd, EV_WRITE);
    ev_io_init(&proc->exited, on_exited, proc->pidfd, EV_READ);
    ev_timer_init(&proc->deadline, on_deadline, 0., 0.);
    proc->readable.data = proc->writable.data = proc->exited.data = proc->deadline.data = proc;
    ev_io_start(engine->loop, &proc->readable);
    ev_io_start(engine->loop, &proc->exited);
    DL_APPEND(inst->procs, proc);
    engine->counters.workers_started++;
    init_json(inst, role, loading, &json);
    hm_put_str(&payload, hm_buf_view(&json));
    hm_proc_send(proc, HM_F_INIT, 0, hm_buf_view(&payload));
    hm_buf_free(&payload);
    hm_buf_free(&json);
    return proc;
}

static void proc_free(struct proc *proc) {
    DL_DELETE(proc->institution->procs, proc);
    close(proc->pidfd);
    hm_buf_free(&proc->in);
    hm_buf_free(&proc->out);
    hm_buf_free(&proc->unknown);
    free(proc);
}

void hm_proc_tick(struct proc *proc, uint64_t now_us) {
    if (proc->state == PROC_STARTING && now_us - proc->started_us > START_MS * 1000ull)
        hm_proc_kill(proc, HM_END_START);
    if (proc->state == PROC_STOPPING && now_us - proc->stop_since_us > STOP_MS * 1000ull) lost(proc, false);
    if (proc->state == PROC_DEAD && !proc->reaped) reap(proc, false);
    if (proc->state == PROC_DEAD && proc->reaped && !proc->holds) proc_free(proc);
}

void hm_proc_end(struct proc *proc) {
    end_wanted(proc, HM_END_STOPPED);
    lost(proc, false);
    reap(proc, true);
    proc_free(proc);
}
