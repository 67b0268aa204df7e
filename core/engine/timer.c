// What plugins do at times (`every`). Loop thread.
//
// Each time that a plugin declares has a hidden record "timer", which says when it ran last; that and what
// the run wrote are one commit. What always holds: a time is run for once, also when the server dies in the
// middle of it, and never twice; of the times that passed while nothing could run (the server was down, the
// plugin failed, the clock was moved) the last alone is made up for. A time seen for the first time begins to
// count then. Times are those of the institution's zone, which has no summer time: none comes twice or not at
// all. A job's run counts with its start: what becomes of it, its own record says.
#include "base/clock.h"
#include "base/code.h"
#include "base/cron.h"
#include "base/log.h"
#include "engine/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#define MINUTE_MS 60000
#define TRIES_MAX 8u
#define TIMERS_MAX 1000u

struct timer {
    struct timer *prev, *next;
    struct institution *institution;
    char key[HM_PLUGIN_KEY]; // "kind/id"
    char cron_text[HM_CRON_MAX + 1];
    char record[65];
    struct hm_cron cron;
    bool present, job, done;
    int64_t last_ms, next_ms, due_ms; // due: what is run for at this moment
    struct call *call;
    bool busy;
    unsigned tries;
    uint64_t not_before_us;
    int64_t failed_ms; // the last time that was given up, or 0
    int failed_code;
};

// ---- times -----------------------------------------------------------------------------------------------

static int64_t minute_of(const struct institution *inst, int64_t ms) {
    int64_t local = ms + (int64_t)inst->zone_minutes * MINUTE_MS;
    return local / MINUTE_MS - (local % MINUTE_MS < 0);
}

static int64_t ms_of(const struct institution *inst, int64_t minute) {
    return (minute - inst->zone_minutes) * MINUTE_MS;
}

static void plan(struct timer *t) {
    struct institution *inst = t->institution;
    t->next_ms = ms_of(inst, hm_cron_next(&t->cron, minute_of(inst, t->last_ms)));
    inst->timers_due_ms = 0;
}

// ---- its record
// --------------------------------------------------------------------------------------------

static void put_record(struct commit_item *item, const struct timer *t, int64_t last_ms,
                       const struct hm_answer *failed) {
    struct hm_buf data = {0};
    const char *slash = strchr(t->key, '/');
    hm_buf_char(&data, '{');
    hm_json_member_str(&data, "kind", (struct hm_str){t->key, (size_t)(slash - t->key)});
    hm_json_member_str(&data, "plugin", hm_str_of(slash + 1));
    hm_json_member_str(&data, "cron", hm_str_of(t->cron_text));
    hm_json_member_int(&data, "last", last_ms);
    if (failed) {
        hm_json_member_int(&data, "failed", t->due_ms);
        hm_failure_members(&data, failed);
    }
    hm_buf_char(&data, '}');
    hm_item_put(item, "timer", hm_str_of(t->record), HM_ANY_VERSION, hm_buf_view(&data), "");
    hm_buf_free(&data);
}

static bool read_record(struct timer *t) {
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_json data;
    if (!hm_read_begin(t->institution->store, &read, NULL)) return false;
    bool found = hm_read_data(read, "timer", hm_str_of(t->record), &record, &data);
    if (found) {
        t->last_ms = hm_json_number(data, "last");
        t->failed_ms = hm_json_number(data, "failed");
        t->failed_code = (int)hm_json_number(data, "code");
    }
    hm_read_end(read);
    return found;
}

// ---- which there are
// ---------------------------------------------------------------------------------------

static struct timer *find(struct institution *inst, const char *key, const char *cron) {
    struct timer *t;
    DL_FOREACH(inst->timers, t) {
        if (strcmp(t->key, key) == 0 && strcmp(t->cron_text, cron) == 0) return t;
    }
    return NULL;
}

static struct timer *timer_new(struct institution *inst, const char *key, const char *cron) {
    struct timer *t = hm_alloc(sizeof *t);
    struct hm_buf text = {0};
    t->institution = inst;
    snprintf(t->key, sizeof t->key, "%s", key);
    snprintf(t->cron_text, sizeof t->cron_text, "%s", cron);
    hm_buf_printf(&text, "%s %s", key, cron);
    hm_secret_hash(hm_buf_view(&text), t->record);
    hm_buf_free(&text);
    DL_APPEND(inst->timers, t);
    return t;
}

static bool flag(struct hm_json object, const char *name) {
    struct hm_json value;
    bool on = false;
    return hm_json_get(object, name, &value) && hm_json_bool(value, &on) && on;
}

// One of the catalogue's "every". A worker has read the time before; what it says is read again.
static void declare(struct institution *inst, struct hm_json json, struct commit_item *item) {
    char kind[HM_NAME_MAX + 1] = "service", plugin[HM_NAME_MAX + 1], cron[HM_CRON_MAX + 1],
                            key[HM_PLUGIN_KEY];
    struct hm_cron parsed;
    if (!hm_json_get_text(json, "plugin", plugin, sizeof plugin) ||
        !hm_json_get_text(json, "cron", cron, sizeof cron) || !hm_name_valid(hm_str_of(plugin)) ||
        !hm_cron_parse(hm_str_of(cron), &parsed, NULL))
        return;
    hm_json_get_text(json, "kind", kind, sizeof kind);
    snprintf(key, sizeof key, "%s/%s", kind, plugin);
    struct timer *t = find(inst, key, cron);
    if (!t) t = timer_new(inst, key, cron);
    bool fresh = !t->present && !t->last_ms;
    t->present = true;
    t->cron = parsed;
    t->job = flag(json, "job");
    t->done = flag(json, "done");
    t->not_before_us = 0; // another version may have mended it
    if (!fresh) return;
    if (!read_record(t)) {
        t->last_ms = hm_now_ms();
        put_record(item, t, t->last_ms, NULL);
    }
    plan(t);
}

static void timer_free(struct timer *t) {
    DL_DELETE(t->institution->timers, t);
    free(t);
}

void hm_timer_catalogue(struct institution *inst) {
    struct commit_item *item = hm_item_new(inst, "", "timer");
    struct timer *t, *next;
    struct hm_json list, one;
    DL_FOREACH(inst->timers, t) {
        t->present = false;
    }
    if (hm_json_get(inst->catalogue->root, "every", &list)) {
        struct hm_json_iter it = hm_json_iter(list);
        for (unsigned n = 0; n < TIMERS_MAX && hm_json_next(&it, NULL, &one); n++)
            declare(inst, one, item);
    }
    DL_FOREACH_SAFE(inst->timers, t, next) {
        if (t->present) continue;
        hm_item_remove(item, "timer", hm_str_of(t->record),
                       HM_ANY_VERSION); // should it come back, it is a new one
        t->last_ms = 0;
        if (!t->call && !t->busy) timer_free(t);
    }
    inst->timers_due_ms = 0;
    if (item->intent_count)
        hm_item_submit(item, hm_item_ignored);
    else
        hm_item_free(item);
}

// ---- running
// -----------------------------------------------------------------------------------------------

static void passed(struct timer *t) {
    t->last_ms = t->due_ms;
    t->tries = 0;
    t->not_before_us = 0;
    plan(t);
}

static void given_up(struct commit_item *item) {
    struct timer *t = item->arg;
    t->busy = false;
    if (item->ok && item->commit.code == HM_OK) t->failed_ms = t->due_ms;
    if (t->present) passed(t); // should it not be written, a restart tries once more
}

static void failed(struct timer *t, const struct hm_answer *answer) {
    struct hm_engine *engine = t->institution->engine;
    unsigned most = engine->settings.reaction_tries ? engine->settings.reaction_tries : TRIES_MAX;
    t->institution->timers_due_ms = 0;
    if (!hm_failure_own(answer)) {
        t->not_before_us = hm_mono_us() + hm_retry_us(engine, 0);
        return;
    }
    engine->counters.timer_failures++;
    t->tries++;
    hm_log(t->tries < most ? HM_WARN : HM_ERROR, t->tries < most ? "timer.failed" : "timer.given_up",
           "\"institution\":\"%s\",\"plugin\":\"%s\",\"due\":%lld,\"code\":%d,\"tries\":%u",
           t->institution->id, t->key, (long long)t->due_ms, (int)answer->code, t->tries);
    if (t->tries < most) {
        t->not_before_us = hm_mono_us() + hm_retry_us(engine, t->tries - 1);
        return;
    }
    struct commit_item *item = hm_item_new(t->institution, "", "timer");
    t->failed_code = (int)answer->code;
    put_record(item, t, t->due_ms, answer);
    item->arg = t;
    t->busy = true;
    hm_item_submit(item, given_up);
}

static void ran(void *arg, const struct hm_answer *answer) {
    struct timer *t = arg;
    struct institution *inst = t->institution;
    t->call = NULL;
    if (inst->engine->closing) return;
    if (!t->present) {
        timer_free(t);
        return;
    }
    if (answer->code) {
        failed(t, answer);
    } else {
        inst->engine->counters.timers++;
        t->failed_ms = 0;
        passed(t);
    }
    hm_inst_touch(inst);
}

// With what the run wrote, or with the job that it begins.
static bool extend_record(struct call *call, struct commit_item *item, struct hm_str result,
                          struct hm_error *err) {
    struct timer *t = call->arg;
    (void)result, (void)err;
    if (t->present) put_record(item, t, t->due_ms, NULL);
    return true;
}

static void run(struct timer *t) {
    struct institution *inst = t->institution;
    struct hm_buf params = {0};
    const char *slash = strchr(t->key, '/');
    t->due_ms = ms_of(inst, hm_cron_last(&t->cron, minute_of(inst, hm_now_ms())));
    hm_buf_char(&params, '{');
    hm_json_member_str(&params, "kind", (struct hm_str){t->key, (size_t)(slash - t->key)});
    hm_json_member_str(&params, "plugin", hm_str_of(slash + 1));
    hm_json_member_str(&params, "cron", hm_str_of(t->cron_text));
    hm_json_member_int(&params, "due", t->due_ms);
    hm_buf_char(&params, '}');
    t->call = hm_call_new(inst->engine, inst, NULL, HM_LIT("$every"), hm_buf_view(&params), ran, t);
    hm_buf_free(&params);
    hm_call_system(t->call);
    t->call->extend = extend_record;
    if (t->job) {
        struct cat_method method = {.name = "$every", .job = true, .writes = true, .done = t->done};
        hm_job_start(t->call, &method);
    } else {
        hm_call_enqueue(t->call, false);
    }
}

void hm_timer_tick(struct institution *inst) {
    struct timer *t, *next;
    int64_t now_ms = hm_now_ms();
    uint64_t now_us = hm_mono_us();
    if (!inst->timers || inst->engine->draining || inst->engine->closing || !inst->catalogue ||
        now_ms < inst->timers_due_ms)
        return;
    inst->timers_due_ms = INT64_MAX;
    DL_FOREACH_SAFE(inst->timers, t, next) {
        if (!t->present) continue;
        bool due = t->next_ms <= now_ms;
        if (due && !t->call && !t->busy && t->not_before_us <= now_us) run(t);
        if (due)
            inst->timers_due_ms = 0; // until it is done
        else if (t->next_ms < inst->timers_due_ms)
            inst->timers_due_ms = t->next_ms;
    }
}

void hm_timer_close(struct institution *inst) {
    while (inst->timers)
        timer_free(inst->timers);
}

// ---- plugin.timers
// -----------------------------------------------------------------------------------------

static void plugin_timers(struct call *call) {
    struct institution *inst = call->institution;
    struct hm_buf out = {0};
    const struct timer *t;
    bool first = true;
    if (hm_call_needs_catalogue(call)) return;
    hm_buf_text(&out, "{\"items\":[");
    DL_FOREACH(inst->timers, t) {
        const char *slash = strchr(t->key, '/');
        if (!t->present) continue;
        hm_buf_text(&out, first ? "{" : ",{");
        first = false;
        hm_json_member_str(&out, "kind", (struct hm_str){t->key, (size_t)(slash - t->key)});
        hm_json_member_str(&out, "plugin", hm_str_of(slash + 1));
        hm_json_member_str(&out, "cron", hm_str_of(t->cron_text));
        hm_json_member_raw(&out, "job", t->job ? HM_LIT("true") : HM_LIT("false"));
        hm_json_member_int(&out, "last", t->last_ms);
        hm_json_member_int(&out, "next", t->next_ms);
        hm_json_member_int(&out, "tries", t->tries);
        if (t->failed_ms) {
            hm_json_member_int(&out, "failed", t->failed_ms);
            hm_json_member_int(&out, "code", t->failed_code);
        }
        hm_buf_char(&out, '}');
    }
    hm_buf_text(&out, "]}");
    hm_call_ok(call, hm_buf_view(&out));
    hm_buf_free(&out);
}

static const struct core_method rows[] = {
    {"plugin.timers", ACCESS_ADMIN, "",
     "What plugins do at times: when each ran last and runs next, in milliseconds since 1970.",
     plugin_timers},
};
const struct core_table hm_methods_timer = {rows, sizeof rows / sizeof *rows};
