// Figures for Prometheus: tables of counters, and what each institution has at this moment. Loop thread. No
// personal data: institutions are named, people and methods are not, so that the number of series is bounded
// by the number of institutions.
#include "base/clock.h"
#include "base/metric.h"
#include "engine/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include <utlist.h>

#define LOOK_US 1000000u // how often the table of readers is looked at

struct figure {
    const char *name, *help;
    size_t offset; // of a uint64_t in struct counters
};
#define FIGURE(member) offsetof(struct counters, member)

static const struct figure figures[] = {
    {"hamroh_core_calls_total", "Calls of methods of the core", FIGURE(core_calls)},
    {"hamroh_commits_total", "Transactions committed", FIGURE(commits)},
    {"hamroh_commit_calls_total", "Calls in those transactions", FIGURE(commit_calls)},
    {"hamroh_commit_failures_total", "Transactions that failed", FIGURE(commit_failures)},
    {"hamroh_conflicts_total", "Commits refused because something read had changed, or was there already",
     FIGURE(conflicts)},
    {"hamroh_conflicts_given_up_total", "Calls answered with a conflict after every rerun", FIGURE(given_up)},
    {"hamroh_exclusive_turns_total", "Calls run while the commits of all others waited",
     FIGURE(exclusive_turns)},
    {"hamroh_idem_replays_total", "Calls answered from what their idem key had kept", FIGURE(idem_replays)},
    {"hamroh_idem_refused_total", "Calls refused because their idem key was used for another call",
     FIGURE(idem_refused)},
    {"hamroh_expired_records_total", "Records cleared away because their time was over", FIGURE(expired)},
    {"hamroh_conflict_reruns_total", "Calls run again after a conflict", FIGURE(reruns)},
    {"hamroh_duplicate_reruns_total", "Calls run again after a duplicate", FIGURE(duplicates)},
    {"hamroh_workers_started_total", "Worker processes started", FIGURE(workers_started)},
    {"hamroh_workers_refused_total", "Worker processes whose plugins did not load", FIGURE(workers_refused)},
    {"hamroh_worker_bad_frames_total", "Frames of workers that could not be read", FIGURE(bad_frames)},
    {"hamroh_jobs_total", "Jobs started", FIGURE(jobs)},
    {"hamroh_plugins_returned_total", "Fresh versions of plugins that were taken back, since they failed",
     FIGURE(plugins_returned)},
    {"hamroh_plugins_failing_total", "Plugins that were found to keep failing", FIGURE(plugins_failing)},
    {"hamroh_plugins_broken_total", "Plugins that were left out, since they no longer load",
     FIGURE(plugins_broken)},
    {"hamroh_reactions_dropped_total", "Reactions that were dropped", FIGURE(reactions_dropped)},
};

static void labelled(struct hm_buf *out, const char *name, const char *help, const char *label,
                     const char *const *values, const uint64_t *counts, size_t count) {
    hm_metric_head(out, name, HM_COUNTER, help);
    for (size_t i = 0; i < count; i++)
        hm_metric_count(out, name, label, values[i], counts[i]);
}

static void batches(struct hm_buf *out, const struct counters *n) {
    static const char name[] = "hamroh_commit_batch_calls";
    uint64_t sum = 0;
    hm_metric_head(out, name, HM_HISTOGRAM, "Calls in one transaction");
    for (unsigned i = 0; i < 11; i++) {
        sum += n->batch[i];
        hm_buf_printf(out, "%s_bucket{le=\"%u\"} %llu\n", name, 1u << i, (unsigned long long)sum);
    }
    hm_buf_printf(out, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %llu\n%s_count %llu\n", name,
                  (unsigned long long)sum, name, (unsigned long long)n->commit_calls, name,
                  (unsigned long long)sum);
}

static void counters(const struct hm_engine *engine, struct hm_buf *out) {
    static const char *const outcomes[OUTCOMES] = {"ok", "refused", "conflict", "busy", "failed"};
    static const char *const limits[] = {"queue", "rate", "size"};
    const struct counters *n = &engine->counters;
    // Whoever is refused by the queue is told to come again, as one who comes too often is.
    uint64_t rate = n->refused_rate > n->refused_queue ? n->refused_rate - n->refused_queue : 0;
    labelled(out, "hamroh_calls_total", "Calls answered, by outcome", "outcome", outcomes, n->calls,
             OUTCOMES);
    labelled(out, "hamroh_calls_refused_total", "Calls refused by a limit", "limit", limits,
             (uint64_t[]){n->refused_queue, rate, n->refused_size}, 3);
    labelled(out, "hamroh_workers_ended_total", "Worker processes that ended, by reason", "reason",
             hm_end_names, n->workers_ended, HM_ENDS);
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        uint64_t value;
        memcpy(&value, (const char *)n + figures[i].offset, sizeof value);
        hm_metric_head(out, figures[i].name, HM_COUNTER, figures[i].help);
        hm_metric_count(out, figures[i].name, NULL, NULL, value);
    }
    hm_metric_times(out, "hamroh_call_duration_seconds", "From a client's call to its answer", &n->call_time);
    hm_metric_times(out, "hamroh_commit_duration_seconds", "One transaction with its fsync", &n->commit_time);
    hm_metric_times(out, "hamroh_commit_wait_seconds", "From a write's submission to its being durable",
                    &n->commit_wait);
    batches(out, n);
}

// ---- the process --------------------------------------------------------------------------------------

static uint64_t resident_bytes(pid_t pid) {
    char path[40], text[80] = "";
    unsigned long long pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file) return 0;
    if (!fgets(text, sizeof text, file) || sscanf(text, "%*u %llu", &pages) != 1) pages = 0;
    fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static double seconds(struct timeval t) {
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static void process(const struct hm_engine *engine, struct hm_buf *out) {
    struct rusage usage = {0};
    struct rlimit files = {0};
    getrusage(RUSAGE_SELF, &usage);
    getrlimit(RLIMIT_NOFILE, &files);
    hm_metric_head(out, "hamroh_build_info", HM_GAUGE, "Always 1; the version of the program");
    hm_metric_count(out, "hamroh_build_info", "version", HAMROH_VERSION, 1);
    hm_metric_one(out, "process_start_time_seconds", HM_GAUGE, "When the server started, since 1970 UTC",
                  (double)engine->started);
    hm_metric_one(out, "process_cpu_seconds_total", HM_COUNTER, "CPU time of the server without its workers",
                  seconds(usage.ru_utime) + seconds(usage.ru_stime));
    hm_metric_one(out, "process_resident_memory_bytes", HM_GAUGE, "Memory of the server without its workers",
                  (double)resident_bytes(getpid()));
    hm_metric_one(out, "process_max_fds", HM_GAUGE, "Descriptors it may have", (double)files.rlim_cur);
    hm_metric_one(out, "hamroh_draining", HM_GAUGE, "1 while the server is ending", engine->draining);
    hm_metric_one(out, "hamroh_open_calls", HM_GAUGE, "Calls not answered yet", (double)engine->open_calls);
    hm_metric_one(out, "hamroh_institutions", HM_GAUGE, "Institutions served, the cluster's own included",
                  HASH_COUNT(engine->institutions));
    hm_metric_one(out, "hamroh_institutions_unopened", HM_GAUGE,
                  "Institutions whose store could not be opened", HASH_COUNT(engine->unopened));
    hm_metric_one(out, "hamroh_password_queue", HM_GAUGE, "Passwords waiting to be computed",
                  hm_pwpool_waiting(engine->passwords));
}

// ---- institutions -------------------------------------------------------------------------------------

void hm_readers_look(struct institution *inst, uint64_t now_us) {
    struct hm_store_readers readers;
    if (now_us - inst->reader_looked_us < LOOK_US || !hm_store_readers(inst->store, &readers)) return;
    inst->reader_looked_us = now_us;
    bool old = readers.oldest_txn < readers.last_txn;
    if (!old || readers.oldest_txn != inst->reader_txn) inst->reader_since_us = now_us;
    inst->reader_txn = readers.oldest_txn;
}

struct sample {
    uint64_t waiting, running, flight_most, committing, workers, job_workers, jobs_queued, jobs_running;
    uint64_t sessions, doubt, no_room, worker_bytes, map, used, map_max, readers, reading, lag, seq,
        reactions;
    double oldest_waiting, oldest_running, commit_busy, oldest_reader;
};

static double age(uint64_t since_us, uint64_t now_us) {
    return since_us && since_us < now_us ? (double)(now_us - since_us) / 1e6 : 0;
}

static double oldest_waiting(const struct institution *inst, uint64_t now_us) {
    struct call *const lists[] = {inst->queue, inst->unresolved, inst->contended, inst->delayed};
    uint64_t oldest_us = 0;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        const struct call *call;
        DL_FOREACH(lists[i], call) {
            if (!oldest_us || call->began_us < oldest_us) oldest_us = call->began_us;
        }
    }
    return age(oldest_us, now_us);
}

static void sample_workers(const struct institution *inst, uint64_t now_us, struct sample *s) {
    const struct proc *proc;
    DL_FOREACH(inst->procs, proc) {
        s->running += proc->flight_count;
        if (proc->flight_count > s->flight_most) s->flight_most = proc->flight_count;
        if (proc->flight_count) {
            double ran = age(proc->head_since_us, now_us);
            if (ran > s->oldest_running) s->oldest_running = ran;
        }
        if (!proc->reaped) s->worker_bytes += resident_bytes(proc->pid);
        if (proc->state != PROC_READY) continue;
        s->workers += proc->role == PROC_ORDINARY;
        s->job_workers += proc->role == PROC_JOB;
    }
}

static void sample_store(struct institution *inst, uint64_t now_us, struct sample *s) {
    struct hm_store_stats stats;
    struct hm_store_readers readers;
    s->map_max = hm_store_map_max(inst->store);
    if (hm_store_stats(inst->store, &stats, NULL)) {
        s->map = stats.map_bytes;
        s->used = stats.used_bytes;
        s->readers = stats.readers;
        s->seq = stats.last_seq;
    }
    if (!hm_store_readers(inst->store, &readers)) return;
    s->reading = readers.reading;
    s->lag = readers.last_txn - readers.oldest_txn;
    if (s->lag && readers.oldest_txn == inst->reader_txn)
        s->oldest_reader = age(inst->reader_since_us, now_us);
}

static struct sample sample_of(struct institution *inst, uint64_t now_us) {
    unsigned queued, running;
    struct sample s = {.waiting = inst->waiting,
                       .committing = inst->committer.unfinished,
                       .sessions = HASH_COUNT(inst->sessions),
                       .reactions = inst->reaction_count};
    hm_job_count(inst, &queued, &running);
    s.jobs_queued = queued;
    s.jobs_running = running;
    s.oldest_waiting = oldest_waiting(inst, now_us);
    s.doubt = hm_store_in_doubt(inst->store);
    s.no_room = inst->refusing == HM_CAUSE_DISK_FULL || inst->refusing == HM_CAUSE_MAP_LIMIT;
    s.commit_busy = age(atomic_load(&inst->committer.busy_since_us), now_us);
    sample_workers(inst, now_us, &s);
    sample_store(inst, now_us, &s);
    return s;
}

#define SAMPLE(member) offsetof(struct sample, member)
static const struct {
    const char *name, *help;
    size_t offset; // in struct sample
    bool real;     // a double there, else a uint64_t
} gauges[] = {
    {"hamroh_queue_calls", "Calls waiting for a worker", SAMPLE(waiting), false},
    {"hamroh_queue_oldest_seconds", "How long the oldest of them has been waiting", SAMPLE(oldest_waiting),
     true},
    {"hamroh_running_calls", "Calls sent to workers", SAMPLE(running), false},
    {"hamroh_worker_calls_most", "Calls in flight at the worker that has the most", SAMPLE(flight_most),
     false},
    {"hamroh_worker_call_oldest_seconds", "How long the call has run that runs longest",
     SAMPLE(oldest_running), true},
    {"hamroh_committing_calls", "Writes not yet durable", SAMPLE(committing), false},
    {"hamroh_commit_busy_seconds", "How long the commit at hand has been running", SAMPLE(commit_busy), true},
    {"hamroh_workers", "Workers that are ready", SAMPLE(workers), false},
    {"hamroh_job_workers", "Job workers that are ready", SAMPLE(job_workers), false},
    {"hamroh_workers_memory_bytes", "Resident memory of its worker processes", SAMPLE(worker_bytes), false},
    {"hamroh_jobs_queued", "Jobs waiting for a worker", SAMPLE(jobs_queued), false},
    {"hamroh_jobs_running", "Jobs running", SAMPLE(jobs_running), false},
    {"hamroh_reactions_queued", "Reactions of plugins that wait", SAMPLE(reactions), false},
    {"hamroh_sessions", "Sessions in use", SAMPLE(sessions), false},
    {"hamroh_map_bytes", "Size of the map", SAMPLE(map), false},
    {"hamroh_map_used_bytes", "Used part of the map", SAMPLE(used), false},
    {"hamroh_map_max_bytes", "Size beyond which the map does not grow", SAMPLE(map_max), false},
    {"hamroh_readers", "Reader slots taken", SAMPLE(readers), false},
    {"hamroh_readers_reading", "Snapshots held at this moment", SAMPLE(reading), false},
    {"hamroh_oldest_reader_lag_commits",
     "Commits made since the oldest snapshot that is still held: a stuck "
     "reader keeps space from being used again",
     SAMPLE(lag), false},
    {"hamroh_oldest_reader_seconds", "How long that snapshot has been behind", SAMPLE(oldest_reader), true},
    {"hamroh_commit_doubt", "1 while nothing is written because a commit failed", SAMPLE(doubt), false},
    {"hamroh_commit_no_room", "1 when the last commit found no room", SAMPLE(no_room), false},
    {"hamroh_log_seq", "Last change", SAMPLE(seq), false},
};

static void put_sample(struct hm_buf *out, size_t gauge, const char *institution,
                       const struct sample *sample) {
    const char *at = (const char *)sample + gauges[gauge].offset;
    uint64_t count;
    double real;
    memcpy(&count, at, sizeof count);
    memcpy(&real, at, sizeof real);
    if (gauges[gauge].real)
        hm_metric_real(out, gauges[gauge].name, "institution", institution, real);
    else
        hm_metric_count(out, gauges[gauge].name, "institution", institution, count);
}

void hm_engine_metrics(struct hm_engine *engine, struct hm_buf *out) {
    struct institution *inst, *next;
    uint64_t now_us = hm_mono_us();
    unsigned count = HASH_COUNT(engine->institutions), i = 0;
    struct sample *samples = hm_alloc_array(count ? count : 1, sizeof *samples);
    process(engine, out);
    counters(engine, out);
    HASH_ITER(hh, engine->institutions, inst, next) {
        samples[i++] = sample_of(inst, now_us);
    }
    for (size_t g = 0; g < sizeof gauges / sizeof *gauges; g++) {
        hm_metric_head(out, gauges[g].name, HM_GAUGE, gauges[g].help);
        i = 0;
        HASH_ITER(hh, engine->institutions, inst, next) {
            put_sample(out, g, inst->id, &samples[i++]);
        }
    }
    free(samples);
}
