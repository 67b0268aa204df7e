// Random histories of concurrent calls over few keys. Each call runs on a snapshot through the transaction
// that workers use (script/tx.h), is sent and read as a worker's result is, waits, and is applied in a batch
// of random size; after a conflict it runs again. What it read, what it answered and what is left must equal
// the calls run one after the other on plain arrays (isolation.h): in the order of the log, and, for few
// calls, in some order that is searched for without looking at the log.
//
//   HAMROH_SEED=N       repeats the history that was printed
//   HAMROH_HISTORIES=N  how many histories (default 3000)
#include "engine/internal.h"
#include "isolation.h"
#include "script/tx.h"
#include "store_fixture.h"

#include <time.h>

#define CALLS_MAX 9
#define SEARCH_MAX 6       // calls of histories whose order is searched for
#define RERUNS 8           // as the engine does
#ifdef __SANITIZE_THREAD__ // nothing here has threads
#define HISTORIES 300
#else
#define HISTORIES 3000
#endif
#define ENTRIES_MAX (CALLS_MAX * (RERUNS + 2))

static const char types_json[] =
    "[{\"name\":\"item\",\"indexes\":[{\"name\":\"value\",\"fields\":[\"v\"]},"
    "{\"name\":\"group\",\"fields\":[\"g\",\"v\"]}]},"
    "{\"name\":\"name\",\"indexes\":[{\"name\":\"value\",\"fields\":[\"v\"],\"unique\":true}]},"
    "{\"name\":\"pair\"}]";
static const char types_not_unique[] =
    "[{\"name\":\"item\",\"indexes\":[{\"name\":\"value\",\"fields\":[\"v\"]},"
    "{\"name\":\"group\",\"fields\":[\"g\",\"v\"]}]},"
    "{\"name\":\"name\",\"indexes\":[{\"name\":\"value\",\"fields\":[\"v\"]}]},"
    "{\"name\":\"pair\"}]";
static const char *const table_names[TABLES] = {"item", "name", "pair"};

// What can be taken out of the machinery, to see that the histories notice.
enum sabotage { NOTHING, NO_POINTS, NO_RANGES, NO_MEMBERS, NO_OWN_BATCH, NO_UNIQUE, SABOTAGES };

struct history {
    uint64_t seed, schedule;
    struct model start;
    struct program programs[CALLS_MAX];
    int calls, width, batch; // calls under way at once; largest batch
};

enum state { WAITING, RAN, STAGED, ANSWERED };
enum answer { OK, EXISTS, GIVEN_UP, OVERTAKEN }; // the last: an attempt that runs again

struct attempt { // one run of a call; its place in the serial order
    int call;
    enum answer answer;
    struct trace trace;
    uint64_t snapshot, first_seq, last_seq;
    int begun, ended; // of the whole call, in steps of the scheduler
};
struct under_way {
    enum state state;
    struct hm_buf payload; // the result, as a worker sends it
    struct parsed_result parsed;
    struct hm_commit commit;
    struct trace trace;
    int conflicts, duplicates, begun;
};
struct world {
    struct fx f;
    struct hm_types *types;
    struct hm_tx *tx;
    enum sabotage sabotage;
    uint64_t points, ranges, races, exists, given_up, searched; // how often each happened
    uint64_t histories;
};
struct run {
    struct world *w;
    const struct history *h;
    uint64_t rng;
    struct under_way calls[CALLS_MAX];
    int staged[CALLS_MAX], staged_count, step;
    struct attempt attempts[ENTRIES_MAX];
    int attempt_count;
    struct hm_buf log; // readable
    char fault[300];
};

// ---- the store as a view ------------------------------------------------------------------------------

struct on_store {
    struct world *w;
    int member_of[PEOPLE];
};

static struct hm_str id_of(enum table table, int id, char out[3]) {
    snprintf(out, 3, "%c%c", table_names[table][0], '0' + id);
    return (struct hm_str){out, 2};
}

static struct row row_of(const struct hm_record *r) {
    struct row row = {.id = r->id.ptr[1] - '0'};
    struct hm_json v, data = {HM_JSON_OBJECT, r->data};
    int64_t n = 0;
    if (hm_json_get(data, "v", &v) && hm_json_int(v, &n)) row.value = (int)n;
    if (hm_json_get(data, "g", &v) && hm_json_int(v, &n)) row.group = (int)n;
    return row;
}

static bool store_get(void *arg, enum table table, int id, struct row *out) {
    struct on_store *s = arg;
    struct hm_view view;
    char text[3];
    if (!hm_tx_get(s->w->tx, S(table_names[table]), id_of(table, id, text), &view, NULL)) return false;
    *out = row_of(&view.record);
    return true;
}

static bool store_write(struct on_store *s, enum table table, struct row row, bool create) {
    char text[3], data[48];
    struct hm_buf members = {0};
    struct hm_error err = {0};
    snprintf(data, sizeof data, "{\"v\":%d,\"g\":%d}", row.value, row.group);
    for (int p = 0; p < PEOPLE && table == PAIR; p++)
        if (row.value >> p & 1) hm_packed_add(&members, p ? S("person:1") : S("person:0"));
    struct hm_write_args args = {.type = S(table_names[table]),
                                 .id = id_of(table, row.id, text),
                                 .data = S(data),
                                 .members = hm_buf_view(&members),
                                 .now_ms = 1700000000000,
                                 .create = create};
    bool ok = hm_tx_put(s->w->tx, &args, &err);
    if (!ok && err.code != HM_CONFLICT) fail_msg("put: %s", err.message);
    hm_buf_free(&members);
    return ok;
}

static void store_put(void *arg, enum table table, struct row row) {
    store_write(arg, table, row, false);
}

static bool store_create(void *arg, enum table table, struct row row) {
    return store_write(arg, table, row, true);
}

static void store_drop(void *arg, enum table table, int id) {
    struct on_store *s = arg;
    char text[3];
    assert_true(hm_tx_delete(s->w->tx, S(table_names[table]), id_of(table, id, text), NULL));
}

static struct hm_json bound(enum table table, enum order order, int value, char text[16]) {
    if (value < 0) return (struct hm_json){0};
    if (order == BY_ID)
        snprintf(text, 16, "\"%c%d\"", table_names[table][0], value);
    else
        snprintf(text, 16, "%d", value);
    return fx_json(text);
}

static int store_rows(void *arg, const struct query *q, struct row out[KEYS]) {
    static const char *const indexes[] = {NULL, "value", "group"};
    struct on_store *s = arg;
    char equals[16] = "[]", from[16], to[16];
    const struct hm_type *type = hm_types_find(s->w->types, S(table_names[q->table]));
    if (q->equals >= 0) snprintf(equals, sizeof equals, "[%d]", q->equals);
    struct hm_tx_range range = {.type = type,
                                .index = q->order ? hm_type_index(type, S(indexes[q->order])) : NULL,
                                .equals = fx_json(equals),
                                .from = bound(q->table, q->order, q->from, from),
                                .to = bound(q->table, q->order, q->to, to),
                                .descending = q->descending,
                                .points = q->points};
    struct hm_tx_scan *scan;
    struct hm_error err = {0};
    struct hm_view view;
    int count = 0;
    if (!hm_tx_scan_begin(s->w->tx, &range, &scan, &err)) fail_msg("scan: %s", err.message);
    while ((!q->limit || count < q->limit) && hm_tx_scan_next(scan, &view)) {
        assert_true(count < KEYS);
        out[count++] = row_of(&view.record);
    }
    hm_tx_scan_end(scan);
    return count;
}

static int store_member_of(void *arg, int person) {
    return ((struct on_store *)arg)->member_of[person];
}

// ---- one attempt --------------------------------------------------------------------------------------

static bool add_pair(void *arg, struct hm_str principal) {
    *(int *)arg |= 1 << (principal.ptr[principal.len - 1] - '0');
    return true;
}

static void put_member_range(struct hm_buf *out, int person) {
    char key[] = "person:0";
    key[7] = (char)('0' + person);
    hm_put_u8(out, HM_SPACE_MEM);
    hm_put_str(out, (struct hm_str){key, 9}); // with the zero byte that ends the principal
    hm_put_u32(out, 9);
    hm_buf_text(out, key);
    hm_buf_char(out, '\1');
}

// The result as a worker writes it; the ranges of memberships, which the server reads, in front.
static void write_payload(struct run *r, const struct program *p, struct hm_buf *out) {
    struct hm_buf rest = {0};
    uint32_t persons = 0;
    hm_buf_clear(out);
    hm_put_str(out, HM_LIT("null"));
    hm_put_u64(out, hm_tx_snapshot(r->w->tx));
    hm_put_u8(out, 0);
    hm_tx_write_result(r->w->tx, true, &rest);
    size_t at = out->len;
    hm_put_u32(out, 0);
    for (int i = 0; i < p->count; i++)
        if (p->ops[i].kind == MEMBER) {
            put_member_range(out, p->ops[i].a);
            persons++;
        }
    struct hm_reader in = hm_reader_of(hm_buf_view(&rest));
    uint32_t count = hm_get_u32(&in) + persons;
    memcpy(out->data + at, &count, 4); // little endian, as the tests run
    hm_buf_add(out, in.at, (size_t)(in.end - in.at));
    hm_buf_free(&rest);
}

static void spoil(const struct run *r, struct parsed_result *p) {
    size_t kept = 0;
    for (size_t i = 0; i < p->seen_count; i++) {
        const struct hm_seen *s = &p->seen[i];
        bool member = s->high.len && s->space == HM_SPACE_MEM;
        bool gone = (r->w->sabotage == NO_POINTS && !s->high.len) ||
                    (r->w->sabotage == NO_RANGES && s->high.len && !member) ||
                    (r->w->sabotage == NO_MEMBERS && member);
        if (!gone) p->seen[kept++] = *s;
    }
    p->seen_count = kept;
    // The version that a write expects is a second check of the same; without the first it would still hold.
    for (size_t i = 0; r->w->sabotage == NO_POINTS && i < p->intent_count; i++)
        p->intents[i].expect = HM_ANY_VERSION;
}

static void forget_result(struct under_way *u) {
    free(u->parsed.seen);
    free(u->parsed.intents);
    memset(&u->parsed, 0, sizeof u->parsed);
}

static void start(struct run *r, int call) {
    struct under_way *u = &r->calls[call];
    struct hm_error err = {0};
    struct hm_read *read = NULL;
    struct on_store s = {.w = r->w};
    struct view view = {&s, store_get, store_put, store_create, store_drop, store_rows, store_member_of};
    if (!hm_tx_begin(r->w->tx, r->w->f.store, r->w->types, 1 << 20, &err)) fail_msg("%s", err.message);
    assert_true(hm_read_begin(r->w->f.store, &read, NULL));
    for (int p = 0; p < PEOPLE; p++)
        assert_true(hm_read_memberships(read, p ? S("1") : S("0"), add_pair, &s.member_of[p], NULL));
    assert_int_equal(hm_read_seq(read), hm_tx_snapshot(r->w->tx));
    hm_read_end(read);
    run_program(&r->h->programs[call], &view, &u->trace);
    write_payload(r, &r->h->programs[call], &u->payload);
    hm_tx_end(r->w->tx);
    forget_result(u);
    assert_true(hm_frame_result(hm_buf_view(&u->payload), r->w->types, &u->parsed));
    spoil(r, &u->parsed);
    u->commit = (struct hm_commit){.snapshot = u->parsed.snapshot,
                                   .seen = u->parsed.seen,
                                   .seen_count = u->parsed.seen_count,
                                   .intents = u->parsed.intents,
                                   .intent_count = u->parsed.intent_count,
                                   .by = S("p"),
                                   .method = S("test.call"),
                                   .now_ms = 1700000000000};
    if (!u->conflicts && !u->duplicates) u->begun = r->step;
    u->state = RAN;
    hm_buf_printf(&r->log, "  %d runs on snapshot %llu\n", call, (unsigned long long)u->parsed.snapshot);
}

static void note(struct run *r, int call, enum answer answer) {
    static const char *const texts[] = {"ok", "exists", "given up", "overtaken"};
    struct under_way *u = &r->calls[call];
    assert_true(r->attempt_count < ENTRIES_MAX);
    struct attempt *a = &r->attempts[r->attempt_count++];
    *a = (struct attempt){call, answer, u->trace, u->commit.snapshot, 0, 0, u->begun, r->step};
    if (answer == OK) {
        a->first_seq = u->commit.first_seq;
        a->last_seq = u->commit.last_seq;
    }
    hm_buf_printf(&r->log, "  %d %s", call, texts[answer]);
    if (a->first_seq)
        hm_buf_printf(&r->log, ", changes %llu to %llu", (unsigned long long)a->first_seq,
                      (unsigned long long)a->last_seq);
    hm_buf_text(&r->log, ", read");
    for (int i = 0; i < u->trace.count; i++)
        hm_buf_printf(&r->log, " %d", u->trace.values[i]);
    hm_buf_char(&r->log, '\n');
    u->state = answer == OVERTAKEN ? WAITING : ANSWERED;
}

static void answered(struct run *r, int call) {
    struct under_way *u = &r->calls[call];
    struct world *w = r->w;
    if (u->commit.code == HM_OK) {
        note(r, call, OK);
        return;
    }
    if (u->commit.code != HM_CONFLICT) fail_msg("a call was refused: %s", u->commit.error.message);
    if (u->commit.duplicate) {
        w->exists++;
        note(r, call, ++u->duplicates < 2 ? OVERTAKEN : EXISTS);
        return;
    }
    if (strstr(u->commit.error.message, "range"))
        w->ranges++;
    else if (strstr(u->commit.error.message, "unique"))
        w->races++;
    else
        w->points++;
    if (++u->conflicts <= RERUNS) {
        note(r, call, OVERTAKEN);
    } else {
        w->given_up++;
        note(r, call, GIVEN_UP);
    }
}

// ---- the scheduler ------------------------------------------------------------------------------------

static void apply_batch(struct run *r, struct hm_write *write) {
    struct hm_error err = {0};
    for (int i = 0; i < r->staged_count; i++) {
        if (!hm_write_apply(write, &r->calls[r->staged[i]].commit, &err)) fail_msg("apply: %s", err.message);
        if (r->w->sabotage == NO_OWN_BATCH) hm_touched_abort(&r->w->f.store->touched);
    }
}

static void flush(struct run *r) {
    struct hm_store *store = r->w->f.store;
    struct hm_error err = {0};
    struct hm_write *write = NULL;
    bool twice = pick(&r->rng, 12) == 0; // as when the map was full
    for (int again = twice ? 2 : 1; again > 0; again--) {
        if (!hm_write_begin(store, &write, &err)) fail_msg("begin: %s", err.message);
        apply_batch(r, write);
        if (again > 1) hm_write_abort(write);
    }
    if (!hm_write_commit(write, NULL, NULL, &err)) fail_msg("commit: %s", err.message);
    hm_buf_printf(&r->log, "  batch of %d committed\n", r->staged_count);
    for (int i = 0; i < r->staged_count; i++)
        answered(r, r->staged[i]);
    r->staged_count = 0;
}

// A call that wrote nothing is answered from its snapshot; sometimes it goes through the commit, as one does
// that opened a sealed field.
static void stage(struct run *r, int call) {
    struct under_way *u = &r->calls[call];
    if (!u->parsed.intent_count && pick(&r->rng, 2)) {
        note(r, call, OK);
        return;
    }
    u->state = STAGED;
    int at = pick(&r->rng, r->staged_count + 1); // any order within the batch
    memmove(r->staged + at + 1, r->staged + at, (size_t)(r->staged_count - at) * sizeof *r->staged);
    r->staged[at] = call;
    r->staged_count++;
}

static int count_in(const struct run *r, enum state state) {
    int n = 0;
    for (int i = 0; i < r->h->calls; i++)
        n += r->calls[i].state == state;
    return n;
}

static int random_in(struct run *r, enum state state) {
    int n = pick(&r->rng, count_in(r, state));
    for (int i = 0; i < r->h->calls; i++)
        if (r->calls[i].state == state && n-- == 0) return i;
    return -1;
}

static void schedule(struct run *r) {
    struct hm_touched *touched = &r->w->f.store->touched;
    while (count_in(r, ANSWERED) < r->h->calls) {
        int waiting = count_in(r, WAITING), ran = count_in(r, RAN), dice = pick(&r->rng, 10);
        r->step++;
        if (pick(&r->rng, 80) == 0) { // what was touched is forgotten, as by a restart
            hm_touched_free(touched);
            hm_touched_init(touched, r->w->f.store->seq);
        }
        if (r->staged_count && (dice < 3 || r->staged_count >= r->h->batch))
            flush(r);
        else if (waiting && ran + r->staged_count < r->h->width && (dice < 7 || !ran))
            start(r, random_in(r, WAITING));
        else if (ran)
            stage(r, random_in(r, RAN));
        else if (r->staged_count)
            flush(r);
    }
}

// ---- before and after ---------------------------------------------------------------------------------

// Makes the store hold what the history begins with.
static void reset(struct world *w, const struct model *start) {
    struct on_store s = {.w = w};
    struct row row;
    struct hm_buf payload = {0};
    struct hm_error err = {0};
    struct parsed_result p;
    if (!hm_tx_begin(w->tx, w->f.store, w->types, 1 << 20, &err)) fail_msg("%s", err.message);
    for (int t = 0; t < TABLES; t++)
        for (int i = 0; i < KEYS; i++) {
            if (start->there[t][i])
                store_put(&s, (enum table)t, start->rows[t][i]);
            else if (store_get(&s, (enum table)t, i, &row))
                store_drop(&s, (enum table)t, i);
        }
    hm_put_str(&payload, HM_LIT("null"));
    hm_put_u64(&payload, hm_tx_snapshot(w->tx));
    hm_put_u8(&payload, 0);
    hm_tx_write_result(w->tx, true, &payload);
    hm_tx_end(w->tx);
    assert_true(hm_frame_result(hm_buf_view(&payload), w->types, &p));
    struct hm_commit call = fx_call(&w->f, p.intents, p.intent_count);
    assert_int_equal(fx_run(&w->f, &call), HM_OK);
    free(p.seen);
    free(p.intents);
    hm_buf_free(&payload);
}

// The records, and once more by every index and by the members.
static void read_all(struct world *w, struct model *out) {
    static const enum order orders[TABLES] = {BY_GROUP, BY_VALUE, BY_ID};
    struct on_store s = {.w = w};
    struct hm_error err = {0};
    struct hm_read *read = NULL;
    struct row rows[KEYS];
    memset(out, 0, sizeof *out);
    if (!hm_tx_begin(w->tx, w->f.store, w->types, 1 << 20, &err)) fail_msg("%s", err.message);
    for (int t = 0; t < TABLES; t++) {
        int indexed =
            store_rows(&s, &(struct query){(enum table)t, orders[t], -1, -1, -1, false, 0, true}, rows);
        for (int i = 0; i < KEYS; i++) {
            out->there[t][i] = store_get(&s, (enum table)t, i, &out->rows[t][i]);
            indexed -= out->there[t][i];
        }
        assert_int_equal(indexed, 0);
    }
    hm_tx_end(w->tx);
    assert_true(hm_read_begin(w->f.store, &read, NULL));
    for (int p = 0; p < PEOPLE; p++) {
        int set = 0;
        struct model_run run = {out, out};
        assert_true(hm_read_memberships(read, p ? S("1") : S("0"), add_pair, &set, NULL));
        assert_int_equal(set, model_member_of(&run, p));
    }
    hm_read_end(read);
}

// ---- two judges ---------------------------------------------------------------------------------------

// In the log's order: a write at its seq, anything else at its snapshot.
static uint64_t place_of(const struct attempt *a) {
    return a->first_seq ? a->first_seq * 2 : a->snapshot * 2 + 1;
}

static int by_place(const void *a, const void *b) {
    uint64_t x = place_of(a), y = place_of(b);
    return x < y ? -1 : x > y;
}

static bool accuse(struct run *r, int call, const char *why) {
    snprintf(r->fault, sizeof r->fault, "call %d %s", call, why);
    return false;
}

static bool log_explains(struct run *r, const struct model *end) {
    struct attempt sorted[ENTRIES_MAX];
    struct model now = r->h->start;
    memcpy(sorted, r->attempts, (size_t)r->attempt_count * sizeof *sorted);
    qsort(sorted, (size_t)r->attempt_count, sizeof *sorted, by_place);
    for (int i = 0; i < r->attempt_count; i++) {
        const struct attempt *a = &sorted[i];
        struct model next = now;
        struct trace trace;
        bool ok = model_run(&next, &r->h->programs[a->call], &trace);
        if (!same_trace(&trace, &a->trace)) return accuse(r, a->call, "read what was not there at its place");
        if (a->answer == OK && !ok) return accuse(r, a->call, "took a name that was taken");
        if (a->answer == EXISTS && ok)
            return accuse(r, a->call, "was told that a name is taken that was free");
        if (a->answer == OK && !a->first_seq && !model_same(&now, &next))
            return accuse(r, a->call, "was answered and wrote nothing");
        if (a->first_seq) now = next;
    }
    return model_same(&now, end) || accuse(r, -1, "(all): the store ends with something else");
}

// Some order of the calls, each after all that ended before it began.
static bool some_order(struct run *r, const struct model *now, const struct attempt *const *left, int count,
                       const struct model *end) {
    if (count == 0) return model_same(now, end);
    for (int i = 0; i < count; i++) {
        const struct attempt *rest[CALLS_MAX];
        struct model next = *now;
        struct trace trace;
        bool early = true;
        int n = 0;
        for (int k = 0; k < count; k++) {
            if (k == i) continue;
            rest[n++] = left[k];
            early = early && left[k]->ended > left[i]->begun;
        }
        bool ok = model_run(&next, &r->h->programs[left[i]->call], &trace);
        if (!early || !same_trace(&trace, &left[i]->trace) || ok != (left[i]->answer == OK)) continue;
        if (some_order(r, &next, rest, n, end)) return true;
    }
    return false;
}

static bool search_explains(struct run *r, const struct model *end) {
    const struct attempt *calls[CALLS_MAX];
    int count = 0;
    for (int i = 0; i < r->attempt_count; i++)
        if (r->attempts[i].answer == OK || r->attempts[i].answer == EXISTS) calls[count++] = &r->attempts[i];
    return some_order(r, &r->h->start, calls, count, end) ||
           accuse(r, -1, "(all): no order explains the answers");
}

static void run_free(struct run *r) {
    for (int i = 0; i < CALLS_MAX; i++) {
        forget_result(&r->calls[i]);
        hm_buf_free(&r->calls[i].payload);
    }
    hm_buf_free(&r->log);
}

// True: explained. The run is left for who wants to print it.
static bool run_history(struct world *w, const struct history *h, struct run *r) {
    struct model end;
    *r = (struct run){.w = w, .h = h, .rng = h->schedule};
    reset(w, &h->start);
    schedule(r);
    read_all(w, &end);
    bool explained = log_explains(r, &end);
    if (explained && h->calls <= SEARCH_MAX) {
        w->searched++;
        explained = search_explains(r, &end);
    }
    return explained;
}

// ---- making, shrinking, printing ----------------------------------------------------------------------

static struct history history_of(uint64_t seed) {
    struct history h = {.seed = seed};
    uint64_t rng = seed;
    for (int i = 0; i < KEYS; i++) {
        h.start.there[ITEM][i] = pick(&rng, 2);
        h.start.rows[ITEM][i] = (struct row){i, pick(&rng, VALUES), pick(&rng, GROUPS)};
        h.start.there[NAME][i] = i < NAMES && pick(&rng, 3) == 0;
        h.start.rows[NAME][i] = (struct row){i, i, 0};
        h.start.there[PAIR][i] = i < 2 && pick(&rng, 2);
        h.start.rows[PAIR][i] = (struct row){i, pick(&rng, 1 << PEOPLE), 0};
    }
    h.calls = 2 + pick(&rng, CALLS_MAX - 1);
    h.width = 2 + pick(&rng, h.calls - 1);
    h.batch = 1 + pick(&rng, h.calls);
    for (int c = 0; c < h.calls; c++) {
        struct program *p = &h.programs[c];
        p->count = 1 + pick(&rng, OPS_MAX);
        for (int i = 0; i < p->count; i++)
            p->ops[i] = random_op(&rng, i == 0);
    }
    h.schedule = chance(&rng);
    return h;
}

// Still unexplained with this schedule, or with another one, which it then keeps.
static bool still_fails(struct world *w, struct history *h) {
    struct history trial = *h;
    for (int i = 0; i < 40; i++) {
        struct run r;
        bool explained = run_history(w, &trial, &r);
        run_free(&r);
        if (!explained) {
            *h = trial;
            return true;
        }
        trial.schedule = h->schedule + (uint64_t)i + 1;
    }
    return false;
}

static bool without_call(struct history *h, int call) {
    if (h->calls <= 1) return false;
    h->calls--;
    memmove(h->programs + call, h->programs + call + 1, (size_t)(h->calls - call) * sizeof *h->programs);
    return true;
}

static bool without_op(struct history *h, int call, int op) {
    struct program *p = &h->programs[call];
    if (p->count <= 1) return false;
    p->count--;
    memmove(p->ops + op, p->ops + op + 1, (size_t)(p->count - op) * sizeof *p->ops);
    return true;
}

static bool shrink_once(struct world *w, struct history *h) {
    struct history trial;
    for (int c = 0; c < h->calls; c++) {
        trial = *h;
        if (without_call(&trial, c) && still_fails(w, &trial)) goto smaller;
        for (int o = 0; o < h->programs[c].count; o++) {
            trial = *h;
            if (without_op(&trial, c, o) && still_fails(w, &trial)) goto smaller;
        }
    }
    for (int i = 0; i < TABLES * KEYS; i++) {
        trial = *h;
        if (!trial.start.there[i / KEYS][i % KEYS]) continue;
        trial.start.there[i / KEYS][i % KEYS] = false;
        if (still_fails(w, &trial)) goto smaller;
    }
    return false;
smaller:
    *h = trial;
    return true;
}

static void print_history(struct world *w, const struct history *h) {
    struct run r;
    bool explained = run_history(w, h, &r);
    fprintf(stderr, "--- HAMROH_SEED=%llu, shrunk: %s\n", (unsigned long long)h->seed,
            explained ? "explained after all" : r.fault);
    for (int t = 0; t < TABLES; t++)
        for (int i = 0; i < KEYS; i++)
            if (h->start.there[t][i])
                fprintf(stderr, "  %s %d is {value %d, group %d}\n", table_names[t], i,
                        h->start.rows[t][i].value, h->start.rows[t][i].group);
    for (int c = 0; c < h->calls; c++) {
        fprintf(stderr, "  call %d:", c);
        for (int i = 0; i < h->programs[c].count; i++) {
            const struct op *op = &h->programs[c].ops[i];
            fprintf(stderr, " %s(%d,%d,%d)", kind_names[op->kind], op->a, op->b, op->c);
        }
        fputc('\n', stderr);
    }
    fputs(r.log.data, stderr);
    run_free(&r);
}

// ---- tests --------------------------------------------------------------------------------------------

static void world_new(struct world *w, enum sabotage sabotage, uint64_t histories) {
    *w = (struct world){.sabotage = sabotage};
    fx_new(&w->f, sabotage == NO_UNIQUE ? types_not_unique : types_json,
           (64u << 20) + (size_t)histories * 4096);
    mdb_env_set_flags(w->f.store->env, MDB_NOSYNC, 1); // nothing here is about the disk
    w->types = hm_store_types(w->f.store);
    w->tx = hm_tx_new();
}

static void world_free(struct world *w) {
    hm_tx_free(w->tx);
    hm_types_unref(w->types);
    fx_free(&w->f);
}

static uint64_t number(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

// Runs histories until one is not explained, which it gives shrunk.
static bool find_fault(struct world *w, uint64_t seed, uint64_t count, struct history *out) {
    for (uint64_t i = 0; i < count; i++) {
        struct run r;
        *out = history_of(seed + i);
        bool explained = run_history(w, out, &r);
        run_free(&r);
        w->histories++;
        if (explained) continue;
        while (shrink_once(w, out)) {
        }
        return true;
    }
    return false;
}

static void random_histories_of_concurrent_calls_equal_a_serial_order(void **state) {
    (void)state;
    struct world w;
    struct history h;
    uint64_t seed = number("HAMROH_SEED", 0);
    uint64_t count = number("HAMROH_HISTORIES", seed ? 1 : HISTORIES);
    if (!seed) seed = (uint64_t)time(NULL) * 100000;
    world_new(&w, NOTHING, count);
    if (find_fault(&w, seed, count, &h)) {
        print_history(&w, &h);
        fail_msg("HAMROH_SEED=%llu is not serializable", (unsigned long long)h.seed);
    }
    fx_verify(&w.f);
    print_message(
        "seeds from %llu: %llu histories, %llu searched; conflicts: %llu points, %llu ranges, %llu races "
        "for a name; %llu times a name was taken, %llu given up\n",
        (unsigned long long)seed, (unsigned long long)w.histories, (unsigned long long)w.searched,
        (unsigned long long)w.points, (unsigned long long)w.ranges, (unsigned long long)w.races,
        (unsigned long long)w.exists, (unsigned long long)w.given_up);
    if (w.histories >= 1000) { // else the histories would prove nothing
        assert_true(w.points > 100 && w.ranges > 100 && w.races > 5 && w.exists > 10);
        assert_true(w.searched > 300);
    }
    world_free(&w);
}

static void without_any_one_check_a_history_goes_wrong_and_is_shrunk_to_a_few_calls(void **state) {
    (void)state;
    for (int s = NO_POINTS; s < SABOTAGES; s++) {
        struct world w;
        struct history h;
        world_new(&w, (enum sabotage)s, 3000);
        if (!find_fault(&w, 1, 3000, &h)) fail_msg("sabotage %d was not noticed", s);
        if (getenv("HAMROH_SHOW")) print_history(&w, &h);
        if (h.calls > 3) {
            print_history(&w, &h);
            fail_msg("sabotage %d: shrunk to %d calls only", s, h.calls);
        }
        world_free(&w);
    }
}

// Two calls that both read 0 and both add 1.
static void both_judges_find_a_lost_update_made_by_hand(void **state) {
    (void)state;
    struct history h = {.calls = 2};
    struct model end = {0};
    h.start.there[ITEM][0] = true;
    h.programs[0] = h.programs[1] = (struct program){{{ADD, 0, 1, 0}}, 1};
    for (int lost = 0; lost < 2; lost++) {
        struct run r = {.h = &h, .attempt_count = 2};
        for (int i = 0; i < 2; i++) {
            struct model m = h.start;
            m.rows[ITEM][0].value = lost ? 0 : i;
            r.attempts[i] =
                (struct attempt){.call = i, .snapshot = 1, .first_seq = (uint64_t)i + 2, .ended = 9};
            model_run(&m, &h.programs[i], &r.attempts[i].trace);
        }
        end = h.start;
        end.rows[ITEM][0].value = lost ? 1 : 2;
        assert_int_equal(log_explains(&r, &end), !lost);
        assert_int_equal(search_explains(&r, &end), !lost);
        r.attempts[1].ended = -1; // the second had ended before the first began: that order explains nothing
        r.attempts[0].begun = 0;
        assert_false(search_explains(&r, &end));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_judges_find_a_lost_update_made_by_hand),
        cmocka_unit_test(random_histories_of_concurrent_calls_equal_a_serial_order),
        cmocka_unit_test(without_any_one_check_a_history_goes_wrong_and_is_shrunk_to_a_few_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
