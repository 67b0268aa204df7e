// A data folder with one institution "i" served by an engine whose workers are the test program itself
// (fake_worker.h). ask() runs the loop until the answer is there.
#pragma once
#include "base/clock.h"
#include "base/log.h"
#include "engine/engine.h"
#include "engine/internal.h"
#include "fake_worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <limits.h>

// Argon2id of "correct horse battery"; made once, since making it costs a tenth of a second.
#define PASSWORD "correct horse battery"

struct heard { // what the listener was told, as text: "created note/a;" and so on
    struct hm_buf changes, notices, ended;
    unsigned principals;
    uint64_t last_seq;
};

struct house {
    char dir[64];
    struct ev_loop *loop;
    struct hm_engine *engine;
    struct hm_settings settings;
    struct hm_caller *control;
    struct heard heard;
    char code[20]; // the invitation of init
};

struct reply {
    bool there;
    enum hm_code code;
    char *result, *message, *data;
};

static inline void take_reply(void *arg, const struct hm_answer *answer) {
    struct reply *r = arg;
    assert_false(r->there); // exactly once
    r->there = true;
    r->code = answer->code;
    r->result = hm_str_dup(answer->result);
    r->message = hm_str_dup(answer->message);
    r->data = hm_str_dup(answer->data);
}

static inline void reply_free(struct reply *r) {
    free(r->result);
    free(r->message);
    free(r->data);
    *r = (struct reply){0};
}

static inline void on_timeout(struct ev_loop *loop, ev_timer *timer, int events) {
    (void)loop, (void)events;
    *(bool *)timer->data = true;
}

// Runs the loop for so long, or until *until.
static inline bool spin(struct house *h, const bool *until, double seconds) {
    bool over = false;
    ev_timer timer;
    ev_timer_init(&timer, on_timeout, seconds, 0.);
    timer.data = &over;
    ev_now_update(h->loop);
    ev_timer_start(h->loop, &timer);
    while (!over && !(until && *until))
        ev_run(h->loop, EVRUN_ONCE);
    ev_timer_stop(h->loop, &timer);
    return until && *until;
}

static inline void call_as(struct house *h, struct hm_caller *who, const char *method, const char *params,
                           struct reply *r) {
    *r = (struct reply){0};
    hm_engine_call(h->engine, who, hm_str_of(method), hm_str_of(params), take_reply, r);
}

static inline void await(struct house *h, struct reply *r) {
    if (!spin(h, &r->there, 30)) fail_msg("no answer within 30 seconds");
}

static struct reply last_reply; // of ask(), until the next

static inline enum hm_code ask(struct house *h, struct hm_caller *who, const char *method,
                               const char *params) {
    reply_free(&last_reply);
    call_as(h, who, method, params, &last_reply);
    await(h, &last_reply);
    return last_reply.code;
}

static inline bool has(const char *text, const char *part) {
    return text && strstr(text, part) != NULL;
}

#define assert_has(text, part)                                                                               \
    do {                                                                                                     \
        if (!has(text, part)) fail_msg("\"%s\" is not in: %s", part, (text) ? (text) : "(null)");            \
    } while (0)
#define assert_ok(code)                                                                                      \
    do {                                                                                                     \
        enum hm_code got = (code);                                                                           \
        if (got) fail_msg("error %d %s %s", (int)got, last_reply.message, last_reply.data);                  \
    } while (0)

static inline void on_change(void *arg, const char *institution, const struct hm_change *c) {
    static const char *const names[] = {"?", "created", "updated", "deleted"};
    struct heard *heard = arg;
    (void)institution;
    hm_buf_printf(&heard->changes, "%s %.*s/%.*s;", names[c->action], (int)c->type.len, c->type.ptr,
                  (int)c->id.len, c->id.ptr);
    heard->last_seq = c->seq;
}

static inline void on_principals(void *arg, struct hm_session *session, struct hm_principals *old) {
    struct heard *heard = arg;
    assert_ptr_not_equal(session->principals, old);
    assert_true(hm_principals_count(old) > 0);
    heard->principals++;
    hm_buf_text(&heard->changes, "principals;");
}

static inline void on_notice(void *arg, const char *institution, struct hm_str person,
                             struct hm_session *session, const char *method, struct hm_str params) {
    struct heard *heard = arg;
    (void)institution, (void)session;
    hm_buf_printf(&heard->notices, "%.*s %s %.*s\n", (int)person.len, person.ptr, method, (int)params.len,
                  params.ptr);
}

static inline void on_ended(void *arg, struct hm_session *session, const char *reason) {
    struct heard *heard = arg;
    hm_buf_printf(&heard->ended, "%s %s;", session->login, reason);
}

static inline int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static inline struct hm_settings test_settings(void) {
    return (struct hm_settings){.workers_max = 2,
                                .cpu_ms = 200,
                                .job_cpu_ms = 10000,
                                .deadline_ms = 700,
                                .job_deadline_ms = 5000,
                                .memory_bytes = 64 << 20,
                                .job_memory_bytes = 256 << 20,
                                .output_bytes = 1 << 20,
                                .log_lines = 100,
                                .message_bytes = 1 << 20,
                                .queue_max = 1000,
                                .connections_max = 100,
                                .session_idle_hours = 12,
                                .session_days = 30,
                                .feed_queue = 100,
                                .outgoing_days = 3,
                                .outgoing_timeout_ms = 2000,
                                .outgoing_per_day = 20,
                                .notify_per_call = 100,
                                .notify_per_day = 1000,
                                .zone_minutes = 300};
}

static inline void house_open(struct house *h) {
    struct hm_error err = {0};
    struct hm_engine_options options = {.data_dir = h->dir, .settings = &h->settings, .loop = h->loop};
    if (!hm_engine_open(&options, &h->engine, &err)) fail_msg("%s", err.message);
    hm_engine_listen(h->engine,
                     &(struct hm_listener){on_change, on_principals, on_notice, on_ended, &h->heard, NULL});
}

static inline void house_close(struct house *h) {
    hm_engine_close(h->engine);
    h->engine = NULL;
}

static inline struct hm_caller *caller_new(bool control, const char *institution) {
    struct hm_caller *c = hm_caller_new();
    c->control = control;
    c->persistent = true;
    c->loopback = true;
    snprintf(c->institution, sizeof c->institution, "%s", institution);
    snprintf(c->address, sizeof c->address, "127.0.0.1");
    return c;
}

static inline void account(struct house *h, const char *login, const char *person, const char *roles) {
    static char hash[256];
    char params[1024];
    struct hm_caller *control = caller_new(true, "i");
    if (!hash[0]) assert_true(hm_pw_hash_now(HM_LIT(PASSWORD), hash));
    snprintf(params, sizeof params,
             "{\"login\":\"%s\",\"password_hash\":\"%s\",\"person\":\"%s\",\"roles\":%s}", login, hash,
             person, roles);
    assert_ok(ask(h, control, "account.create", params));
    hm_caller_unref(control);
}

static inline struct hm_caller *stranger(void) {
    return caller_new(false, "");
}

static inline struct hm_caller *sign_in(struct house *h, const char *login) {
    char params[256];
    struct hm_caller *c = stranger();
    snprintf(params, sizeof params, "{\"institution\":\"i\",\"login\":\"%s\",\"password\":\"" PASSWORD "\"}",
             login);
    assert_ok(ask(h, c, "session.login", params));
    assert_non_null(c->session);
    return c;
}

static inline void house_new(struct house *h) {
    struct hm_error err = {0};
    *h = (struct house){.settings = test_settings()};
    hm_log_level(getenv("TEST_LOG") ? HM_DEBUG : HM_ERROR + 1);
    snprintf(h->dir, sizeof h->dir, "/tmp/hamroh-engine-XXXXXX");
    assert_non_null(mkdtemp(h->dir));
    assert_true(hm_engine_init(h->dir, h->code, &err));
    h->loop = ev_loop_new(EVFLAG_AUTO);
    house_open(h);
    h->control = caller_new(true, "");
    assert_ok(ask(h, h->control, "institution.create", "{\"id\":\"i\",\"title\":{\"en\":\"I\"}}"));
    hm_caller_unref(h->control);
    h->control = caller_new(true, "i");
}

static inline void house_free(struct house *h) {
    if (h->engine) house_close(h);
    hm_caller_unref(h->control);
    reply_free(&last_reply);
    hm_buf_free(&h->heard.changes);
    hm_buf_free(&h->heard.notices);
    hm_buf_free(&h->heard.ended);
    ev_loop_destroy(h->loop);
    nftw(h->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline bool count_record(void *arg, const struct hm_record *record, struct hm_json data) {
    (void)record, (void)data;
    ++*(size_t *)arg;
    return true;
}

// How many records of a type there are, hidden ones too.
static inline size_t records(struct house *h, const char *type) {
    struct hm_store *store = hm_engine_store(h->engine, "i");
    struct hm_types *types = hm_store_types(store);
    struct hm_read *read = NULL;
    size_t n = 0;
    assert_true(hm_read_begin(store, &read, NULL));
    hm_read_each(read, types, type, NULL, HM_LIT(""), false, count_record, &n);
    hm_read_end(read);
    hm_types_unref(types);
    return n;
}

static inline int house_setup(void **state) {
    struct house *h = hm_alloc(sizeof *h);
    house_new(h);
    *state = h;
    return 0;
}

static inline int house_teardown(void **state) {
    house_free(*state);
    free(*state);
    return 0;
}
