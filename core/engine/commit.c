// The only way into an institution's store: items, staged on the loop, given to the institution's commit
// thread once per turn of the loop, written there in batches with one fsync, and posted back with copies of
// the changes.
//
// Back on the loop, a batch is answered in slices, so that a turn of the loop is short: one slice of each
// institution a turn, whose batches come in their order.
//
// What always holds: an item is answered only after the fsync of its batch; an answer comes before the
// changes it made, and these before the next answer; after a commit that failed (but for want of room) the
// store is in doubt, and nothing is acknowledged any more until it has been opened anew. An item belongs to
// one thread at a time and passes through `lock` or the engine's post list.
#include "base/clock.h"
#include "base/log.h"
#include "engine/internal.h"
#include "engine/reshape.h"
#include "store/shape.h"

#include <assert.h>
#include <stdlib.h>

#define CHUNK_BYTES 32768u // to free 64 KiB at once makes malloc go over all that is small and free
#define ITEM_ROOM 1200u    // a message of some lines, and who sent it
#define LOG_EVERY_US 1000000u
#define SLICE_US 200u // of one institution's answers in one turn of the loop

// ---- items --------------------------------------------------------------------------------------------

struct commit_item *hm_item_new(struct institution *inst, const char *by, const char *method) {
    struct commit_item *item = hm_realloc(NULL, sizeof *item + ITEM_ROOM);
    *item = (struct commit_item){.institution = inst};
    item->commit.by = hm_item_keep(item, hm_str_of(by));
    item->commit.method = hm_item_keep(item, hm_str_of(method));
    item->commit.now_ms = hm_now_ms();
    item->commit.from_core = true;
    item->commit.turn = inst->turn;
    return item;
}

void *hm_item_own(struct commit_item *item, void *memory) {
    if (item->owned_count == item->owned_cap) {
        item->owned_cap = item->owned_cap ? item->owned_cap * 2 : 8;
        item->owned = hm_realloc(item->owned, item->owned_cap * sizeof *item->owned);
    }
    item->owned[item->owned_count++] = memory;
    return memory;
}

struct hm_str hm_item_keep(struct commit_item *item, struct hm_str s) {
    if (s.len >= ITEM_ROOM - item->room_used) return (struct hm_str){hm_item_own(item, hm_str_dup(s)), s.len};
    char *copy = item->room + item->room_used;
    if (s.len) memcpy(copy, s.ptr, s.len);
    copy[s.len] = '\0';
    item->room_used += s.len + 1;
    return (struct hm_str){copy, s.len};
}

void hm_item_free(struct commit_item *item) {
    if (!item) return;
    for (size_t i = 0; i < item->owned_count; i++)
        free(item->owned[i]);
    free(item->owned);
    free(item->intents);
    free(item->seen);
    hm_types_unref(item->types);
    free(item);
}

static struct hm_intent *intent_add(struct commit_item *item) {
    if (item->intent_count == item->intent_cap) {
        item->intent_cap = item->intent_cap ? item->intent_cap * 2 : 4;
        item->intents = hm_realloc(item->intents, item->intent_cap * sizeof *item->intents);
    }
    struct hm_intent *intent = &item->intents[item->intent_count++];
    memset(intent, 0, sizeof *intent);
    return intent;
}

static struct hm_str pack(struct commit_item *item, const char *principal) {
    struct hm_buf packed = {0};
    if (!principal[0]) return HM_LIT("");
    hm_packed_add(&packed, hm_str_of(principal));
    hm_item_own(item, packed.data);
    return hm_buf_view(&packed);
}

void hm_item_put(struct commit_item *item, const char *type, struct hm_str id, uint64_t expect,
                 struct hm_str data, const char *audience) {
    struct hm_str kept_type = hm_item_keep(item, hm_str_of(type)), kept_id = hm_item_keep(item, id);
    struct hm_str kept_data = hm_item_keep(item, data), packed = pack(item, audience);
    struct hm_intent *intent = intent_add(item);
    intent->type = kept_type;
    intent->id = kept_id;
    intent->expect = expect;
    intent->data = kept_data;
    intent->audience = packed;
}

void hm_item_remove(struct commit_item *item, const char *type, struct hm_str id, uint64_t expect) {
    struct hm_str kept_type = hm_item_keep(item, hm_str_of(type)), kept_id = hm_item_keep(item, id);
    struct hm_intent *intent = intent_add(item);
    intent->remove = true;
    intent->type = kept_type;
    intent->id = kept_id;
    intent->expect = expect;
}

// Who opened which sealed field: the answer that may contain it leaves only after this is durable.
void hm_item_audits(struct commit_item *item, struct call *call) {
    const char *who = call->by[0] ? call->by : call->caller && call->caller->control ? "control" : "system";
    for (const struct audit *a = call->audits; a; a = a->next) {
        struct hm_buf data = {0};
        char id[37];
        hm_uuid7(item->commit.now_ms, id);
        hm_buf_char(&data, '{');
        hm_json_member_str(&data, "who", hm_str_of(who));
        hm_json_member_str(&data, "whose", hm_str_of(a->whose));
        hm_json_member_str(&data, "type", hm_str_of(a->type));
        hm_json_member_str(&data, "id", hm_str_of(a->id));
        hm_json_member_str(&data, "field", hm_str_of(a->field));
        hm_json_member_str(&data, "why", hm_str_of(a->why));
        hm_json_member_int(&data, "time", item->commit.now_ms);
        hm_buf_char(&data, '}');
        hm_item_put(item, "audit", hm_str_of(id), 0, hm_buf_view(&data), "role:administrator");
        hm_buf_free(&data);
    }
}

// What reshape.c does to the store, each a batch of its own.
static bool ahead(const struct commit_item *item) {
    return item->types || item->special || item->settle;
}

// A list of items to the thread.
static void give(struct committer *c, struct commit_item *items, struct commit_item **tail) {
    pthread_mutex_lock(&c->lock);
    bool idle = !c->head;
    *c->tail = items;
    c->tail = tail;
    if (idle) pthread_cond_signal(&c->some);
    pthread_mutex_unlock(&c->lock);
}

void hm_item_submit(struct commit_item *item, void (*done)(struct commit_item *item)) {
    struct committer *c = &item->institution->committer;
    item->done = done;
    if (!c->started) { // the engine is closing, and the thread has done its last batch
        hm_fail(&item->error, HM_UNAVAILABLE, "the server is shutting down");
        if (item->types) hm_reshape_forced(item->institution, false);
        done(item);
        hm_item_free(item);
        return;
    }
    item->commit.intents = item->intents;
    item->commit.intent_count = item->intent_count;
    item->next = NULL;
    item->submitted_us = hm_mono_us();
    if (ahead(item)) { // past what is held
        c->unfinished++;
        if (item->types) item->institution->types_coming++;
        give(c, item, &item->next);
        hm_inst_touch(item->institution);
        return;
    }
    if (item->call && item->call == item->institution->exclusive) { // before all that waited for it
        item->institution->exclusive = NULL;
        item->next = c->staged;
        c->staged = item;
        if (!item->next) c->staged_tail = &item->next;
    } else {
        *c->staged_tail = item;
        c->staged_tail = &item->next;
    }
    c->unfinished++;
    c->staged_count++;
    hm_inst_touch(item->institution);
}

// ---- a batch, on the commit thread --------------------------------------------------------------------

struct chunk {
    struct chunk *next;
    size_t used, cap;
    char bytes[];
};

struct batch {
    struct posted posted;
    struct batch *next; // of the institution, to be answered behind it
    struct institution *institution;
    struct commit_item *items, **tail; // on the loop: those not answered yet
    size_t count, applied;
    struct hm_change *changes;
    size_t change_count, change_cap;
    size_t told; // of the changes
    struct chunk *chunks;
    uint64_t took_us;
    bool committed, failed;
    enum hm_cause cause; // of the failure
    bool doubted;        // this very batch put the store in doubt
};

static char *chunk_take(struct batch *batch, size_t size) {
    struct chunk *chunk = batch->chunks;
    if (!chunk || chunk->cap - chunk->used < size) {
        size_t cap = size > CHUNK_BYTES ? size : CHUNK_BYTES;
        chunk = malloc(sizeof *chunk + cap); // not zeroed: filled at once
        if (!chunk) abort();
        *chunk = (struct chunk){.next = batch->chunks, .cap = cap};
        batch->chunks = chunk;
    }
    char *p = chunk->bytes + chunk->used;
    chunk->used += size;
    return p;
}

static struct hm_str copy(char **at, struct hm_str s) {
    struct hm_str out = {*at, s.len};
    if (s.len) memcpy(*at, s.ptr, s.len);
    *at += s.len;
    return out;
}

static void copy_change(void *arg, const struct hm_change *change) {
    struct batch *batch = arg;
    if (batch->change_count == batch->change_cap) {
        batch->change_cap = batch->change_cap ? batch->change_cap * 2 : 64;
        batch->changes = hm_realloc(batch->changes, batch->change_cap * sizeof *batch->changes);
    }
    struct hm_change *to = &batch->changes[batch->change_count++];
    *to = *change;
    char *at = chunk_take(batch, change->by.len + change->method.len + change->type.len + change->id.len +
                                     change->audience.len + change->lost.len + change->json.len + 1);
    to->by = copy(&at, change->by);
    to->method = copy(&at, change->method);
    to->type = copy(&at, change->type);
    to->id = copy(&at, change->id);
    to->audience = copy(&at, change->audience);
    to->lost = copy(&at, change->lost);
    to->json = copy(&at, change->json);
}

static bool apply_all(struct batch *batch, struct hm_write *write, struct hm_error *err) {
    batch->applied = 0;
    for (struct commit_item *item = batch->items; item; item = item->next) {
        item->commit.code = HM_OK;
        item->commit.duplicate = false;
        item->commit.first_seq = item->commit.last_seq = 0;
        if (!hm_write_apply(write, &item->commit, err)) return false;
        if (item->commit.code == HM_OK) batch->applied++;
    }
    return true;
}

// What those who wait for the batch are told. The store's own words name folders, which are not theirs to
// know.
static void explain(const struct batch *batch, struct hm_error *err) {
    enum hm_cause cause = err->cause;
    const char *text = "the institution's data cannot be written; the server's log says more";
    if (cause == HM_CAUSE_DISK_FULL)
        text = "nothing was stored: the server's disk is full; once there is room again, writing goes on by "
               "itself";
    if (cause == HM_CAUSE_DOUBT)
        text = batch->doubted
                   ? "the disk failed in the middle of this: whether it was stored is known when the "
                     "server has been started anew; until then nothing is written"
                   : "nothing was stored: the disk failed before, so nothing is written until the server "
                     "is started anew";
    if (cause == HM_CAUSE_MAP_LIMIT)
        hm_fail(err, HM_UNAVAILABLE,
                "nothing was stored: the institution's data has reached the setting map_max (%llu bytes); "
                "raise it "
                "and start the server anew",
                (unsigned long long)hm_store_map_max(batch->institution->store));
    else
        hm_fail(err, HM_UNAVAILABLE, "%s", text);
    hm_fail_cause(err, cause);
}

// A backup holds the map as long as it copies: waiting for it is no sign of a disk that hangs.
static bool grow(struct batch *batch, struct hm_error *err) {
    struct committer *c = &batch->institution->committer;
    atomic_store(&c->growing, true);
    bool ok = hm_store_grow(batch->institution->store, err);
    atomic_store(&c->busy_since_us, hm_mono_us());
    atomic_store(&c->growing, false);
    return ok;
}

// Types, or records in their new form, with the batch. Types may be refused for what they say, or for what
// the records say, which is no failure of a commit.
static bool reshape(struct batch *batch, struct hm_write *write, bool *refused, struct hm_error *err) {
    struct commit_item *item = batch->items;
    if (item->settle) return hm_write_settle(write, item->settle, item->commit.now_ms, err);
    if (!item->types || item->commit.code != HM_OK) return true;
    if (hm_write_force(write, item->types, err)) return true;
    *refused = err->cause == HM_CAUSE_OTHER && err->code != HM_INTERNAL && err->code != HM_UNAVAILABLE;
    if (*refused) {
        item->commit.code = err->code;
        item->commit.error = *err;
    }
    return false;
}

// One try. *again: the map was full and has grown.
static bool write_once(struct batch *batch, bool *again, struct hm_error *err) {
    struct hm_store *store = batch->institution->store;
    struct hm_write *write = NULL;
    *again = false;
    batch->change_count = 0;
    if (!hm_write_begin(store, &write, err)) return false;
    bool refused = false;
    if (!apply_all(batch, write, err) || !reshape(batch, write, &refused, err)) {
        hm_write_abort(write);
        *again = err->cause == HM_CAUSE_MAP_FULL && grow(batch, err);
        return refused;
    }
    if (batch->applied == 0) {
        hm_write_abort(write);
        return true;
    }
    if (hm_write_commit(write, copy_change, batch, err)) {
        batch->committed = true;
        return true;
    }
    batch->change_count = 0;
    batch->doubted = err->cause == HM_CAUSE_DOUBT;
    *again = err->cause == HM_CAUSE_MAP_FULL && grow(batch, err);
    return false;
}

// A full disk refuses thousands of batches: the first is told, then one a second, with how many were not.
static void log_failure(const struct batch *batch, const struct hm_error *err) {
    static const char *const causes[] = {"other",  "disk_full", "map_full", "map_limit",
                                         "no_key", "doubt",     "erased"};
    struct committer *c = &batch->institution->committer;
    struct hm_buf reason = {0};
    uint64_t now_us = hm_mono_us();
    bool same = c->logged_us && c->logged == err->cause && now_us - c->logged_us < LOG_EVERY_US;
    if (same) {
        c->unlogged++;
        return;
    }
    hm_json_put_str(&reason, hm_str_of(err->message));
    hm_log(
        HM_ERROR, err->cause == HM_CAUSE_DOUBT ? "commit.broken" : "commit.failed",
        "\"institution\":\"%s\",\"calls\":%zu,\"code\":%d,\"cause\":\"%s\",\"reason\":%s,\"more_before\":%u",
        batch->institution->id, batch->count, (int)err->code, causes[err->cause], reason.data, c->unlogged);
    hm_buf_free(&reason);
    c->logged_us = now_us;
    c->logged = err->cause;
    c->unlogged = 0;
}

static void write_batch(struct batch *batch) {
    struct hm_error err = {0};
    bool ok = false, again = true;
    uint64_t began = hm_mono_us();
    while (again && !ok)
        ok = write_once(batch, &again, &err);
    batch->took_us = hm_mono_us() - began;
    if (!ok) {
        batch->failed = true;
        batch->cause = err.cause;
        log_failure(batch, &err);
        explain(batch, &err);
    }
    for (struct commit_item *item = batch->items; item; item = item->next) {
        item->ok = ok;
        if (!ok) item->error = err;
    }
}

// Steps may also be refused for what the records say, which is no failure of a commit.
static void run_special(struct batch *batch) {
    struct commit_item *item = batch->items;
    bool sound = !hm_store_in_doubt(item->institution->store);
    item->ok = item->special(item, &item->error);
    if (item->ok || item->error.cause == HM_CAUSE_OTHER) return;
    batch->failed = true;
    batch->cause = item->error.cause;
    batch->doubted = sound && item->error.cause == HM_CAUSE_DOUBT;
    log_failure(batch, &item->error);
    explain(batch, &item->error);
}

static void batch_run(struct posted *posted);

// Takes what waits: one that is a batch of its own, or writes up to the next such.
static struct batch *take(struct institution *inst) {
    struct committer *c = &inst->committer;
    struct batch *batch = hm_alloc(sizeof *batch);
    batch->institution = inst;
    batch->posted.run = batch_run;
    batch->tail = &batch->items;
    while (c->head && batch->count < BATCH_MAX) {
        struct commit_item *item = c->head;
        if (ahead(item) && batch->count) break;
        c->head = item->next;
        item->next = NULL;
        *batch->tail = item;
        batch->tail = &item->next;
        batch->count++;
        if (ahead(item)) break;
    }
    if (!c->head) c->tail = &c->head;
    return batch;
}

static void *commit_main(void *arg) {
    struct institution *inst = arg;
    struct committer *c = &inst->committer;
    pthread_mutex_lock(&c->lock);
    for (;;) {
        while (!c->head && !c->stop)
            pthread_cond_wait(&c->some, &c->lock);
        if (!c->head) break; // stop, and nothing is left
        struct batch *batch = take(inst);
        pthread_mutex_unlock(&c->lock);
        atomic_store(&c->reindexing, batch->items->types != NULL);
        atomic_store(&c->busy_since_us, hm_mono_us());
        if (batch->items->special)
            run_special(batch);
        else
            write_batch(batch);
        atomic_store(&c->busy_since_us, 0);
        hm_engine_post(inst->engine, &batch->posted);
        pthread_mutex_lock(&c->lock);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

// ---- a batch, back on the loop ------------------------------------------------------------------------

static void count_batch(struct hm_engine *engine, const struct batch *batch) {
    struct counters *n = &engine->counters;
    if (batch->failed) n->commit_failures++;
    if (!batch->committed) return;
    size_t bucket = 0;
    while (bucket < 10 && ((size_t)1 << bucket) < batch->applied)
        bucket++;
    n->batch[bucket]++;
    n->commits++;
    n->commit_calls += batch->applied;
    hm_times_add(&n->commit_time, batch->took_us);
    uint64_t now_us = hm_mono_us();
    for (const struct commit_item *item = batch->items; item; item = item->next)
        hm_times_add(&n->commit_wait, now_us - item->submitted_us);
}

static void tell(struct institution *inst, const struct hm_change *changes, size_t count) {
    const struct hm_listener *listener = &inst->engine->listener;
    for (size_t i = 0; i < count; i++) {
        assert(changes[i].seq > inst->told);
        inst->told = changes[i].seq;
        if (listener->change) listener->change(listener->arg, inst->id, &changes[i]);
    }
}

static void batch_free(struct batch *batch) {
    while (batch->chunks) {
        struct chunk *next = batch->chunks->next;
        free(batch->chunks);
        batch->chunks = next;
    }
    free(batch->changes);
    free(batch);
}

static void answer_one(struct batch *batch) {
    struct institution *inst = batch->institution;
    struct commit_item *item = batch->items;
    const struct hm_change *changes = batch->changes + batch->told;
    size_t count = 0;
    // Behind the last item stand those that nobody asked for: records that take their new form.
    while (batch->told + count < batch->change_count &&
           (!item->next || changes[count].seq <= item->commit.last_seq))
        count++;
    if (item->types) {
        inst->types_coming--;
        hm_reshape_forced(inst, item->ok && item->commit.code == HM_OK);
    }
    item->done(item);
    hm_live_changes(inst, changes, count);
    hm_outgoing_changes(inst, changes, count);
    tell(inst, changes, count);
    hm_react_changes(inst, changes, count);
    batch->told += count;
    batch->items = item->next;
    hm_item_free(item);
    assert(inst->committer.unfinished > 0);
    inst->committer.unfinished--;
}

// True while there is more.
static bool answer_some(struct institution *inst, bool all) {
    uint64_t until = hm_mono_us() + SLICE_US;
    while (inst->answering && (all || hm_mono_us() < until)) {
        struct batch *batch = inst->answering;
        answer_one(batch);
        if (batch->items) continue;
        assert(batch->told == batch->change_count);
        inst->answering = batch->next;
        batch_free(batch);
    }
    hm_inst_touch(inst);
    return inst->answering != NULL;
}

bool hm_committer_answer(struct hm_engine *engine, bool all) {
    struct institution *inst = engine->answering, *next, **tail = &engine->answering;
    engine->answering = NULL;
    for (; inst; inst = next) {
        next = inst->next_answering;
        inst->next_answering = NULL;
        if (!answer_some(inst, all)) continue;
        *tail = inst;
        tail = &inst->next_answering;
    }
    return engine->answering != NULL;
}

static void batch_run(struct posted *posted) {
    struct batch *batch = (struct batch *)posted, **at;
    struct institution *inst = batch->institution, **last;
    count_batch(inst->engine, batch);
    if (batch->failed || batch->committed) inst->refusing = batch->cause;
    if (!inst->answering) {
        for (last = &inst->engine->answering; *last; last = &(*last)->next_answering) {
        }
        *last = inst;
    }
    for (at = &inst->answering; *at; at = &(*at)->next) {
    }
    *at = batch;
}

// ---- the thread's life --------------------------------------------------------------------------------

bool hm_committer_start(struct institution *inst, struct hm_error *err) {
    struct committer *c = &inst->committer;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->some, NULL);
    c->tail = &c->head;
    c->staged_tail = &c->staged;
    int failed = pthread_create(&c->thread, NULL, commit_main, inst);
    if (failed) return hm_fail(err, HM_UNAVAILABLE, "no thread for the commits of %s", inst->id);
    c->started = true;
    return true;
}

void hm_committer_flush(struct institution *inst) {
    struct committer *c = &inst->committer;
    if (!c->staged || ((inst->exclusive || inst->turning) && !inst->engine->closing)) return;
    c->staged_count = 0;
    give(c, c->staged, c->staged_tail);
    c->staged = NULL;
    c->staged_tail = &c->staged;
}

void hm_committer_stop(struct institution *inst) {
    struct committer *c = &inst->committer;
    if (!c->started) return;
    hm_committer_flush(inst);
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    pthread_cond_signal(&c->some);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->thread, NULL);
    c->started = false;
    pthread_cond_destroy(&c->some);
    pthread_mutex_destroy(&c->lock);
}
