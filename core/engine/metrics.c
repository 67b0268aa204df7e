// Figures for Prometheus: a table of counters, and what each institution has at this moment. Loop thread.
// No personal data: institutions are named, people and methods are not.
#include "engine/internal.h"

#include <stdlib.h>
#include <utlist.h>

struct figure {
    const char *name, *help;
    size_t offset; // of a uint64_t in struct counters
};

static const struct figure figures[] = {
    {"hamroh_core_calls_total", "Calls of methods of the core", offsetof(struct counters, core_calls)},
    {"hamroh_commits_total", "Transactions committed", offsetof(struct counters, commits)},
    {"hamroh_commit_calls_total", "Calls in those transactions", offsetof(struct counters, commit_calls)},
    {"hamroh_commit_failures_total", "Transactions that failed", offsetof(struct counters, commit_failures)},
    {"hamroh_conflicts_total", "Commits refused because something read had changed, or was there already",
     offsetof(struct counters, conflicts)},
    {"hamroh_conflicts_given_up_total", "Calls answered with a conflict after every rerun",
     offsetof(struct counters, given_up)},
    {"hamroh_exclusive_turns_total", "Calls run while the commits of all others waited",
     offsetof(struct counters, exclusive_turns)},
    {"hamroh_idem_replays_total", "Calls answered from what their idem key had kept",
     offsetof(struct counters, idem_replays)},
    {"hamroh_idem_refused_total", "Calls refused because their idem key was used for another call",
     offsetof(struct counters, idem_refused)},
    {"hamroh_expired_records_total", "Records cleared away because their time was over",
     offsetof(struct counters, expired)},
    {"hamroh_conflict_reruns_total", "Calls run again after a conflict", offsetof(struct counters, reruns)},
    {"hamroh_duplicate_reruns_total", "Calls run again after a duplicate",
     offsetof(struct counters, duplicates)},
    {"hamroh_workers_started_total", "Worker processes started", offsetof(struct counters, workers_started)},
    {"hamroh_workers_killed_total", "Worker processes killed", offsetof(struct counters, workers_killed)},
    {"hamroh_workers_refused_total", "Worker processes whose plugins did not load",
     offsetof(struct counters, workers_refused)},
    {"hamroh_worker_bad_frames_total", "Frames of workers that could not be read",
     offsetof(struct counters, bad_frames)},
    {"hamroh_jobs_total", "Jobs started", offsetof(struct counters, jobs)},
    {"hamroh_reactions_dropped_total", "Reactions that were dropped",
     offsetof(struct counters, reactions_dropped)},
};

static void head(struct hm_buf *out, const char *name, const char *help, const char *type) {
    hm_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void counters(const struct hm_engine *engine, struct hm_buf *out) {
    static const char *const outcomes[OUTCOMES] = {"ok", "refused", "conflict", "busy", "failed"};
    const struct counters *n = &engine->counters;
    head(out, "hamroh_calls_total", "Calls answered, by outcome", "counter");
    for (int i = 0; i < OUTCOMES; i++)
        hm_buf_printf(out, "hamroh_calls_total{outcome=\"%s\"} %llu\n", outcomes[i],
                      (unsigned long long)n->calls[i]);
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        uint64_t value;
        memcpy(&value, (const char *)n + figures[i].offset, sizeof value);
        head(out, figures[i].name, figures[i].help, "counter");
        hm_buf_printf(out, "%s %llu\n", figures[i].name, (unsigned long long)value);
    }
    head(out, "hamroh_commit_seconds_total", "Time spent in transactions", "counter");
    hm_buf_printf(out, "hamroh_commit_seconds_total %.6f\n", (double)n->commit_us / 1e6);
    head(out, "hamroh_commit_batch", "Calls in one transaction", "histogram");
    uint64_t sum = 0;
    for (unsigned i = 0; i < 11; i++) {
        sum += n->batch[i];
        hm_buf_printf(out, "hamroh_commit_batch_bucket{le=\"%u\"} %llu\n", 1u << i, (unsigned long long)sum);
    }
    hm_buf_printf(out, "hamroh_commit_batch_bucket{le=\"+Inf\"} %llu\n", (unsigned long long)sum);
    hm_buf_printf(out, "hamroh_commit_batch_sum %llu\nhamroh_commit_batch_count %llu\n",
                  (unsigned long long)n->commit_calls, (unsigned long long)n->commits);
}

struct sample {
    uint64_t waiting, running, committing, workers, job_workers, sessions, map, used, readers, seq, doubt,
        no_room;
};

static struct sample sample_of(const struct institution *inst) {
    struct sample s = {.waiting = inst->waiting, .committing = inst->committer.unfinished};
    struct hm_store_stats stats;
    struct proc *proc;
    DL_FOREACH(inst->procs, proc) {
        s.running += proc->flight_count;
        if (proc->state != PROC_READY) continue;
        s.workers += proc->role == PROC_ORDINARY;
        s.job_workers += proc->role == PROC_JOB;
    }
    s.sessions = HASH_COUNT(inst->sessions);
    s.doubt = hm_store_in_doubt(inst->store);
    s.no_room = inst->refusing == HM_CAUSE_DISK_FULL || inst->refusing == HM_CAUSE_MAP_LIMIT;
    if (hm_store_stats(inst->store, &stats, NULL)) {
        s.map = stats.map_bytes;
        s.used = stats.used_bytes;
        s.readers = stats.readers;
        s.seq = stats.last_seq;
    }
    return s;
}

static const struct {
    const char *name, *help;
    size_t offset; // of a uint64_t in struct sample
} gauges[] = {
    {"hamroh_queue_calls", "Calls waiting for a worker", offsetof(struct sample, waiting)},
    {"hamroh_running_calls", "Calls sent to workers", offsetof(struct sample, running)},
    {"hamroh_committing_calls", "Writes not yet durable", offsetof(struct sample, committing)},
    {"hamroh_workers", "Workers that are ready", offsetof(struct sample, workers)},
    {"hamroh_job_workers", "Job workers that are ready", offsetof(struct sample, job_workers)},
    {"hamroh_sessions", "Sessions in use", offsetof(struct sample, sessions)},
    {"hamroh_map_bytes", "Size of the map", offsetof(struct sample, map)},
    {"hamroh_map_used_bytes", "Used part of the map", offsetof(struct sample, used)},
    {"hamroh_readers", "Reader slots taken", offsetof(struct sample, readers)},
    {"hamroh_commit_doubt", "1 while nothing is written because a commit failed",
     offsetof(struct sample, doubt)},
    {"hamroh_commit_no_room", "1 when the last commit found no room", offsetof(struct sample, no_room)},
    {"hamroh_log_seq", "Last change", offsetof(struct sample, seq)},
};

void hm_engine_metrics(struct hm_engine *engine, struct hm_buf *out) {
    struct institution *inst, *next;
    unsigned count = HASH_COUNT(engine->institutions), i = 0;
    struct sample *samples = hm_alloc_array(count ? count : 1, sizeof *samples);
    counters(engine, out);
    head(out, "hamroh_password_queue", "Passwords waiting to be computed", "gauge");
    hm_buf_printf(out, "hamroh_password_queue %u\n", hm_pwpool_waiting(engine->passwords));
    head(out, "hamroh_institutions_unopened", "Institutions whose data could not be opened", "gauge");
    hm_buf_printf(out, "hamroh_institutions_unopened %u\n", HASH_COUNT(engine->unopened));
    HASH_ITER(hh, engine->institutions, inst, next) {
        samples[i++] = sample_of(inst);
    }
    for (size_t g = 0; g < sizeof gauges / sizeof *gauges; g++) {
        head(out, gauges[g].name, gauges[g].help, "gauge");
        i = 0;
        HASH_ITER(hh, engine->institutions, inst, next) {
            uint64_t value;
            memcpy(&value, (const char *)&samples[i++] + gauges[g].offset, sizeof value);
            hm_buf_printf(out, "%s{institution=\"%s\"} %llu\n", gauges[g].name, inst->id,
                          (unsigned long long)value);
        }
    }
    free(samples);
}
