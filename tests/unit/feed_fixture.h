// A feed over a real store, with clients that take what they get when a test says so.
#pragma once
#include "base/json.h"
#include "net/feed.h"
#include "net/out.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define QUEUE_MAX 40
#define BYTES_MAX (1u << 20)
#define REPLAY_MAX 5000

struct owner { // a client
    struct world *world;
    struct hm_sub *sub;
    struct hm_session *session;
    struct hm_queue queue;
    struct hm_buf seen; // "seq:action " of each event it took
    uint64_t last;
    unsigned resyncs;
};
struct world {
    char dir[64];
    struct hm_store *store;
    struct hm_feed *feed;
    struct ev_loop *loop;
    uint64_t told; // the listener's border: changes after it are committed and not told yet
};

static inline struct hm_store *the_store(void *arg, const char *institution) {
    (void)institution;
    return ((struct world *)arg)->store;
}

static inline uint64_t the_told(void *arg, const char *institution) {
    (void)institution;
    return ((struct world *)arg)->told;
}

static inline void deliver(void *arg, struct hm_out *frame) {
    struct owner *owner = arg;
    if (!frame->feed) owner->resyncs++;
    hm_queue_push(&owner->queue, frame);
}

static inline void drop(void *arg) {
    hm_queue_drop_feed(&((struct owner *)arg)->queue);
}
static inline void closed(void *arg) {
    ((struct owner *)arg)->sub = NULL;
}

// The client takes up to `most` frames.
static inline void take(struct owner *owner, size_t most) {
    struct hm_out *frame;
    while (most-- && (frame = hm_queue_pop(&owner->queue))) {
        if (frame->feed) {
            struct hm_json message, params, value;
            char action[20];
            assert_true(hm_json_parse(hm_out_text(frame), &message, NULL));
            assert_true(hm_json_get(message, "params", &params));
            assert_true(hm_json_get_text(params, "action", action, sizeof action));
            assert_int_equal(hm_json_get(params, "record", &value), strcmp(action, "deleted") != 0);
            assert_true(frame->seq > owner->last); // never twice, always in order
            owner->last = frame->seq;
            hm_buf_printf(&owner->seen, "%llu:%s ", (unsigned long long)frame->seq, action);
            if (owner->sub) hm_sub_sent(owner->sub, frame);
        }
        hm_out_unref(frame);
    }
}

static inline struct owner *owner_new(struct world *world, const char *person, const char *principal) {
    struct owner *owner = hm_alloc(sizeof *owner);
    struct hm_str names[] = {hm_str_of(principal), HM_LIT("institution")};
    owner->world = world;
    owner->session = hm_alloc(sizeof *owner->session);
    owner->session->refs = 1;
    snprintf(owner->session->institution, sizeof owner->session->institution, "home");
    snprintf(owner->session->person, sizeof owner->session->person, "%s", person);
    owner->session->principals = hm_principals_new(names, 2);
    return owner;
}

static inline void owner_free(struct owner *owner) {
    hm_sub_close(owner->sub);
    hm_queue_clear(&owner->queue);
    hm_buf_free(&owner->seen);
    hm_session_unref(owner->session);
    free(owner);
}

static inline bool open_feed(struct owner *owner, const char *format, ...) {
    struct hm_buf params = {0}, result = {0}, errors = {0};
    struct hm_json value, recovered;
    struct hm_error err = {0};
    char text[300];
    bool yes = false;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    hm_buf_text(&params, text);
    assert_true(hm_json_parse(hm_buf_view(&params), &value, NULL));
    hm_sub_close(owner->sub);
    bool ok =
        hm_feed_open(owner->world->feed, owner->session, owner, value, &result, &owner->sub, &errors, &err);
    if (!ok) fail_msg("%s: %s", err.message, errors.data);
    assert_true(hm_json_parse(hm_buf_view(&result), &value, NULL));
    assert_true(hm_json_get(value, "recovered", &recovered) && hm_json_bool(recovered, &yes));
    hm_sub_start(owner->sub);
    hm_buf_free(&params);
    hm_buf_free(&result);
    return yes;
}

static inline bool open_after(struct owner *owner, uint64_t seq) {
    return open_feed(owner, "{\"after\":{\"epoch\":\"%s\",\"seq\":%llu}}",
                     hm_store_epoch(owner->world->store), (unsigned long long)seq);
}

// As the engine does it: the session has other principals from now on.
static inline void set_principals(struct owner *owner, const char *a, const char *b) {
    struct hm_str names[] = {hm_str_of(a), hm_str_of(b)};
    struct hm_principals *old = owner->session->principals;
    owner->session->principals = hm_principals_new(names, 2);
    if (owner->sub) hm_sub_reindex(owner->sub);
    hm_principals_unref(old);
}

// ---- writing ----------------------------------------------------------------------------------------

static inline void pack(struct hm_buf *out, const char *principal) {
    size_t len = strlen(principal);
    hm_buf_char(out, (char)(len & 0xff));
    hm_buf_char(out, (char)(len >> 8));
    hm_buf_text(out, principal);
}

static inline void pack_all(struct hm_buf *out, const char *words) { // separated by spaces
    char copy[8000], *rest = copy, *word;
    snprintf(copy, sizeof copy, "%s", words);
    while ((word = strsep(&rest, " ")))
        if (*word) pack(out, word);
}

// audience NULL: deletes.
static inline void commit_more(struct world *world, const char *type, const char *id, const char *audience,
                               const char *members, const char *data) {
    struct hm_buf readers = {0}, belonging = {0};
    struct hm_error err = {0};
    struct hm_write *write = NULL;
    if (audience) pack_all(&readers, audience);
    pack_all(&belonging, members);
    struct hm_intent intent = {.remove = !audience,
                               .type = hm_str_of(type),
                               .id = hm_str_of(id),
                               .expect = HM_ANY_VERSION,
                               .data = hm_str_of(data),
                               .audience = hm_buf_view(&readers),
                               .members = hm_buf_view(&belonging)};
    struct hm_commit call = {.from_core = true,
                             .intents = &intent,
                             .intent_count = 1,
                             .by = HM_LIT("p1"),
                             .method = HM_LIT("test.write"),
                             .now_ms = 1000};
    bool ok = hm_write_begin(world->store, &write, &err) && hm_write_apply(write, &call, &err);
    if (!ok || call.code) fail_msg("%s%s", err.message, call.error.message);
    if (!hm_write_commit(write, NULL, NULL, &err)) fail_msg("%s", err.message);
    hm_buf_free(&readers);
    hm_buf_free(&belonging);
}

static inline void commit(struct world *world, const char *type, const char *id, const char *principal) {
    commit_more(world, type, id, principal, "", "{\"a\":1}");
}

static inline bool tell_one(void *arg, const struct hm_change *change) {
    struct world *world = arg;
    world->told = change->seq;
    hm_feed_change(world->feed, "home", change);
    return true;
}

// Tells the listener of everything committed, as the engine does after the answers.
static inline void tell(struct world *world) {
    struct hm_read *read = NULL;
    struct hm_error err = {0};
    assert_true(hm_read_begin(world->store, &read, &err));
    assert_true(hm_log_read(read, world->told, tell_one, world, &err));
    hm_read_end(read);
}

static inline uint64_t committed(struct world *world) {
    struct hm_read *read = NULL;
    assert_true(hm_read_begin(world->store, &read, NULL));
    uint64_t seq = hm_read_seq(read);
    hm_read_end(read);
    return seq;
}

static inline const struct hm_feed_counts *counts(const struct world *world) {
    return hm_feed_counts(world->feed);
}

static inline void turn(struct world *world) {
    ev_run(world->loop, EVRUN_NOWAIT);
}

// ---- set-up -----------------------------------------------------------------------------------------

static inline int set_up(void **state) {
    static const uint8_t key[32] = {7};
    struct world *world = hm_alloc(sizeof *world);
    struct hm_store_options options = {.master_key = key};
    struct hm_error err = {0};
    struct hm_types *types = NULL;
    // Thousands of commits, of which none needs to last: in memory where that is possible.
    snprintf(world->dir, sizeof world->dir, "%s/hm-feed-XXXXXX",
             access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    assert_non_null(mkdtemp(world->dir));
    if (!hm_store_open(world->dir, &options, &world->store, &err)) fail_msg("%s", err.message);
    if (!hm_types_parse(HM_LIT("[{\"name\":\"note\",\"key\":\"natural\",\"indexes\":[]},"
                               "{\"name\":\"team\",\"key\":\"natural\",\"indexes\":[]}]"),
                        &types, &err))
        fail_msg("%s", err.message);
    if (!hm_store_set_types(world->store, types, &err)) fail_msg("%s", err.message);
    hm_types_unref(types);
    world->loop = ev_loop_new(0);
    struct hm_feed_ops ops = {the_store, the_told, deliver, drop, closed, world};
    world->feed = hm_feed_new(world->loop, &ops, &(struct hm_feed_limits){QUEUE_MAX, BYTES_MAX, REPLAY_MAX});
    world->told = committed(world);
    *state = world;
    return 0;
}

static inline int tear_down(void **state) {
    struct world *world = *state;
    char command[100];
    if (!counts(world)->subscriptions) hm_feed_free(world->feed); // else the test has failed, and says so
    ev_loop_destroy(world->loop);
    hm_store_close(world->store);
    snprintf(command, sizeof command, "rm -rf '%s'", world->dir);
    assert_int_equal(system(command), 0);
    free(world);
    return 0;
}
