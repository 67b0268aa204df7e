// Small programs over few keys, and a model of plain arrays to run them on. A program runs on a view: the
// model, or a transaction of the real store (test_store_isolation.c). What it reads goes into its trace, and
// what it writes depends on what it read, so that a stale read shows.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define KEYS 4 // of each table
#define PEOPLE 2
#define GROUPS 2
#define VALUES 6
#define NAMES 3
#define OPS_MAX 4
#define TRACE_MAX 80

enum table { ITEM, NAME, PAIR, TABLES };
enum order { BY_ID, BY_VALUE, BY_GROUP }; // the two indexes of ITEM; BY_VALUE of NAME is its unique index

// ITEM: value, group. NAME: value is its name, of which there may be only one. PAIR: value is the set of its
// members.
struct row {
    int id, value, group;
};
struct query {
    enum table table;
    enum order order;
    int equals;   // leading field, -1: none
    int from, to; // next field or id, -1: open
    bool descending;
    int limit;   // 0: none
    bool points; // rows are read, not only counted
};

struct view {
    void *arg;
    bool (*get)(void *arg, enum table table, int id, struct row *out);
    void (*put)(void *arg, enum table table, struct row row);
    bool (*create)(void *arg, enum table table, struct row row); // false: exists
    void (*drop)(void *arg, enum table table, int id);
    int (*rows)(void *arg, const struct query *query, struct row out[KEYS]);
    int (*member_of)(void *arg, int person); // set of pairs, as it was before the program wrote
};

// a, b, c are what the letters in the comments say.
enum kind {
    GET,     // item a
    ADD,     // b to item a: a read-modify-write
    PUT,     // item a, from what was read so far
    DROP,    // item a
    TOGGLE,  // item a: deleted when there, made when not
    CREATE,  // item a, refused when there
    COUNT,   // items in group a, counted only
    ANY,     // is there one in group a? Only that is looked at
    CAP,     // item a goes into group b when fewer than c are there
    SUM,     // items with values a to b
    IDS,     // items with ids a to b
    LAST,    // the item with the greatest value; what comes behind is not looked at
    FIRST,   // the item with the smallest value in group a
    SKEW,    // one is taken from item a when items a and b have more than one together
    CLEAR,   // deletes every item of group a
    CALL,    // record a gets the name b
    FREE,    // record a gets the smallest name that is free
    UNCALL,  // record a goes
    MEMBER,  // the pairs of person a: comes first in a program, as rights do
    JOIN,    // person b joins pair a
    JOIN_IF, // person b joins pair a when in fewer than c: MEMBER must have come before
    LEAVE,   // person b leaves pair a
    KINDS
};
static const char *const kind_names[KINDS] = {
    "GET",  "ADD",   "PUT",  "DROP",  "TOGGLE", "CREATE", "COUNT",  "ANY",    "CAP",  "SUM",     "IDS",
    "LAST", "FIRST", "SKEW", "CLEAR", "CALL",   "FREE",   "UNCALL", "MEMBER", "JOIN", "JOIN_IF", "LEAVE"};

struct op {
    enum kind kind;
    int a, b, c;
};
struct program {
    struct op ops[OPS_MAX];
    int count;
};
struct trace {
    int values[TRACE_MAX];
    int count;
    int sum;    // of all that was read: what is written comes from it
    int member; // of how many pairs MEMBER found
};

static inline void saw(struct trace *t, int value) {
    if (t->count < TRACE_MAX) t->values[t->count++] = value;
    t->sum = (t->sum * 5 + value + 2) % 97;
}
static inline bool same_trace(const struct trace *a, const struct trace *b) {
    return a->count == b->count && memcmp(a->values, b->values, (size_t)a->count * sizeof *a->values) == 0;
}

static inline bool see(const struct view *v, struct trace *t, enum table table, int id, struct row *row) {
    bool there = v->get(v->arg, table, id, row);
    saw(t, there ? row->value : -1);
    if (there && table == ITEM) saw(t, row->group);
    if (!there) *row = (struct row){.id = id};
    return there;
}
static inline int see_rows(const struct view *v, struct trace *t, struct query q, struct row rows[KEYS]) {
    int count = v->rows(v->arg, &q, rows);
    saw(t, count);
    for (int i = 0; i < count && q.points; i++) {
        saw(t, rows[i].id);
        saw(t, rows[i].value);
    }
    return count;
}
static inline struct row made_of(const struct trace *t, int id) {
    return (struct row){id, t->sum % VALUES, t->sum / VALUES % GROUPS};
}

static inline void run_item(const struct op *op, const struct view *v, struct trace *t) {
    struct row row, other, rows[KEYS];
    bool there;
    switch (op->kind) {
    case GET:
        see(v, t, ITEM, op->a, &row);
        break;
    case ADD:
        see(v, t, ITEM, op->a, &row);
        row.value += op->b;
        v->put(v->arg, ITEM, row);
        break;
    case PUT:
        v->put(v->arg, ITEM, made_of(t, op->a));
        break;
    case DROP:
    case TOGGLE:
        there = see(v, t, ITEM, op->a, &row);
        if (there) v->drop(v->arg, ITEM, op->a);
        if (!there && op->kind == TOGGLE) v->put(v->arg, ITEM, made_of(t, op->a));
        break;
    case CREATE:
        saw(t, v->create(v->arg, ITEM, made_of(t, op->a)) ? 1 : 0);
        break;
    case CAP:
        if (see_rows(v, t, (struct query){ITEM, BY_GROUP, op->b, -1, -1, false, 0, false}, rows) < op->c)
            v->put(v->arg, ITEM, (struct row){op->a, t->sum % VALUES, op->b});
        break;
    case SKEW:
        see(v, t, ITEM, op->a, &row);
        see(v, t, ITEM, op->b, &other);
        if (row.value + other.value < 2) break;
        row.value--;
        v->put(v->arg, ITEM, row);
        break;
    case CLEAR:
        for (int n = see_rows(v, t, (struct query){ITEM, BY_GROUP, op->a, -1, -1, false, 0, true}, rows);
             n > 0; n--)
            v->drop(v->arg, ITEM, rows[n - 1].id);
        break;
    default:
        break;
    }
}

static inline void run_query(const struct op *op, const struct view *v, struct trace *t) {
    struct row rows[KEYS];
    switch (op->kind) {
    case COUNT:
        see_rows(v, t, (struct query){ITEM, BY_GROUP, op->a, -1, -1, false, 0, false}, rows);
        break;
    case ANY:
        see_rows(v, t, (struct query){ITEM, BY_GROUP, op->a, -1, -1, false, 1, false}, rows);
        break;
    case SUM:
        see_rows(v, t, (struct query){ITEM, BY_VALUE, -1, op->a, op->b, false, 0, true}, rows);
        break;
    case IDS:
        see_rows(v, t, (struct query){ITEM, BY_ID, -1, op->a, op->b, false, 0, true}, rows);
        break;
    case LAST:
        see_rows(v, t, (struct query){ITEM, BY_VALUE, -1, -1, -1, true, 1, true}, rows);
        break;
    case FIRST:
        see_rows(v, t, (struct query){ITEM, BY_GROUP, op->a, -1, -1, false, 1, true}, rows);
        break;
    default:
        break;
    }
}

static inline void run_name(const struct op *op, const struct view *v, struct trace *t) {
    struct row row = {0}, rows[KEYS];
    switch (op->kind) {
    case CALL:
        v->put(v->arg, NAME, (struct row){op->a, op->b, 0});
        break;
    case FREE:
        for (int name = 0; name < NAMES; name++) {
            int taken = see_rows(v, t, (struct query){NAME, BY_VALUE, name, -1, -1, false, 0, true}, rows);
            if (taken) continue;
            v->put(v->arg, NAME, (struct row){op->a, name, 0});
            break;
        }
        break;
    case UNCALL:
        if (see(v, t, NAME, op->a, &row)) v->drop(v->arg, NAME, op->a);
        break;
    default:
        break;
    }
}

static inline void run_pair(const struct op *op, const struct view *v, struct trace *t) {
    struct row row;
    switch (op->kind) {
    case MEMBER:
        t->member = v->member_of(v->arg, op->a);
        saw(t, t->member);
        break;
    case JOIN_IF:
        if (__builtin_popcount((unsigned)t->member) >= op->c) break;
        // falls through
    case JOIN:
        see(v, t, PAIR, op->a, &row);
        row.value |= 1 << op->b;
        v->put(v->arg, PAIR, row);
        break;
    case LEAVE:
        if (!see(v, t, PAIR, op->a, &row)) break;
        row.value &= ~(1 << op->b);
        v->put(v->arg, PAIR, row);
        break;
    default:
        break;
    }
}

static inline void run_program(const struct program *p, const struct view *v, struct trace *t) {
    *t = (struct trace){0};
    for (int i = 0; i < p->count; i++) {
        run_item(&p->ops[i], v, t);
        run_query(&p->ops[i], v, t);
        run_name(&p->ops[i], v, t);
        run_pair(&p->ops[i], v, t);
    }
}

// ---- the model ----------------------------------------------------------------------------------------

struct model {
    bool there[TABLES][KEYS];
    struct row rows[TABLES][KEYS];
};
struct model_run { // a program's view of it
    struct model *now;
    const struct model *before;
};

static inline bool model_get(void *arg, enum table table, int id, struct row *out) {
    const struct model *m = ((struct model_run *)arg)->now;
    if (m->there[table][id]) *out = m->rows[table][id];
    return m->there[table][id];
}
static inline void model_put(void *arg, enum table table, struct row row) {
    struct model *m = ((struct model_run *)arg)->now;
    m->there[table][row.id] = true;
    m->rows[table][row.id] = row;
}
static inline bool model_create(void *arg, enum table table, struct row row) {
    if (((struct model_run *)arg)->now->there[table][row.id]) return false;
    model_put(arg, table, row);
    return true;
}
static inline void model_drop(void *arg, enum table table, int id) {
    ((struct model_run *)arg)->now->there[table][id] = false;
}
static inline int model_member_of(void *arg, int person) {
    const struct model *m = ((struct model_run *)arg)->before;
    int set = 0;
    for (int i = 0; i < KEYS; i++)
        if (m->there[PAIR][i] && m->rows[PAIR][i].value >> person & 1) set |= 1 << i;
    return set;
}
static inline bool in_query(const struct query *q, const struct row *r) {
    int lead = q->order == BY_GROUP ? r->group : q->order == BY_VALUE ? r->value : r->id;
    int next = q->order == BY_GROUP ? r->value : lead;
    if (q->equals >= 0 && lead != q->equals) return false;
    return (q->from < 0 || next >= q->from) && (q->to < 0 || next < q->to);
}
static inline int row_rank(const struct query *q, const struct row *r) {
    int rank = q->order == BY_ID ? 0 : r->value * KEYS;
    if (q->order == BY_GROUP) rank += r->group * 1000;
    return rank + r->id;
}
static inline int model_rows(void *arg, const struct query *q, struct row out[KEYS]) {
    const struct model *m = ((struct model_run *)arg)->now;
    int count = 0;
    for (int i = 0; i < KEYS; i++) {
        if (!m->there[q->table][i] || !in_query(q, &m->rows[q->table][i])) continue;
        struct row row = m->rows[q->table][i];
        int at = count++;
        while (at > 0 && (row_rank(q, &out[at - 1]) > row_rank(q, &row)) != q->descending) {
            out[at] = out[at - 1];
            at--;
        }
        out[at] = row;
    }
    return q->limit && count > q->limit ? q->limit : count;
}
static inline bool model_unique(const struct model *m) {
    int seen[NAMES] = {0};
    for (int i = 0; i < KEYS; i++)
        if (m->there[NAME][i] && seen[m->rows[NAME][i].value]++) return false;
    return true;
}
// Runs on m. False: refused because a name is taken, and m is as before.
static inline bool model_run(struct model *m, const struct program *p, struct trace *t) {
    struct model before = *m;
    struct model_run run = {m, &before};
    struct view view = {&run, model_get, model_put, model_create, model_drop, model_rows, model_member_of};
    run_program(p, &view, t);
    if (model_unique(m)) return true;
    *m = before;
    return false;
}
static inline bool model_same(const struct model *a, const struct model *b) {
    for (int t = 0; t < TABLES; t++)
        for (int i = 0; i < KEYS; i++) {
            const struct row *x = &a->rows[t][i], *y = &b->rows[t][i];
            if (a->there[t][i] != b->there[t][i]) return false;
            if (a->there[t][i] && (x->value != y->value || x->group != y->group)) return false;
        }
    return true;
}

// ---- chance -------------------------------------------------------------------------------------------

static inline uint64_t chance(uint64_t *state) { // splitmix64
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}
static inline int pick(uint64_t *state, int count) {
    return (int)(chance(state) % (uint64_t)count);
}
static inline struct op random_op(uint64_t *rng, bool first) {
    struct op op = {(enum kind)pick(rng, KINDS), pick(rng, KEYS), pick(rng, KEYS), 1 + pick(rng, 2)};
    if (!first && op.kind == MEMBER) op.kind = GET;
    switch (op.kind) {
    case CAP:
        op.b = pick(rng, GROUPS);
        break;
    case COUNT:
    case ANY:
    case FIRST:
    case CLEAR:
        op.a = pick(rng, GROUPS);
        break;
    case SUM:
        op.a = pick(rng, VALUES);
        op.b = op.a + 1 + pick(rng, VALUES);
        break;
    case CALL:
        op.b = pick(rng, NAMES);
        break;
    case MEMBER:
        op.a = pick(rng, PEOPLE);
        break;
    case JOIN:
    case JOIN_IF:
    case LEAVE:
        op.a = pick(rng, 2);
        op.b = pick(rng, PEOPLE);
        break;
    default:
        break;
    }
    return op;
}
