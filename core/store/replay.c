// A store built anew from a change log: what it was after some change. The log is enough for all of it but
// the declarations of types, which are not history and are taken as they are in the log's store; the server
// puts those of its plugins in force when it starts. One thread; nobody else has either folder open.
//
// What holds: entries are copied as they are, so the chain of hashes goes on; a record that comes out is,
// byte for byte, the one that the change wrote.
#include "store/internal.h"
#include "store/shape.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#define BATCH 5000
#define MAP_FIRST ((size_t)8 << 20) // grows as needed

struct source { // the log that is read
    MDB_env *env;
    MDB_txn *txn;
    MDB_cursor *log;
    struct hm_store store; // its handles only
};

static void source_close(struct source *s) {
    if (s->log) mdb_cursor_close(s->log);
    if (s->txn) mdb_txn_abort(s->txn);
    if (s->env) mdb_env_close(s->env);
}

static bool source_open(struct source *s, const char *dir, struct hm_error *err) {
    memset(s, 0, sizeof *s);
    s->store.dir = (char *)dir;
    s->store.read_only = true;
    int rc = mdb_env_create(&s->env);
    if (!rc) rc = mdb_env_set_maxdbs(s->env, 6);
    if (!rc) rc = mdb_env_open(s->env, dir, MDB_NOLOCK | MDB_NOTLS | MDB_RDONLY, 0600);
    if (!rc) rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &s->txn);
    if (!rc) rc = hm_databases_open(&s->store, s->txn);
    if (!rc) rc = mdb_cursor_open(s->txn, s->store.log, &s->log);
    if (!rc) return true;
    source_close(s);
    return hm_mdb_fail(err, rc, dir, "open the copy");
}

// The next entry of the log; *there false at its end.
static bool source_next(struct source *s, uint64_t expected, struct hm_str *bytes, struct hm_entry *out,
                        bool *there, struct hm_error *err) {
    MDB_val k, v;
    int rc = mdb_cursor_get(s->log, &k, &v, MDB_NEXT);
    *there = rc == 0;
    if (rc == MDB_NOTFOUND) return true;
    if (rc) return hm_mdb_fail(err, rc, s->store.dir, "read the change log");
    *bytes = hm_val_str(v);
    if (bytes->len < HM_HASH || !hm_entry_decode((struct hm_str){bytes->ptr, bytes->len - HM_HASH}, out) ||
        out->change.seq != expected)
        return hm_fail(err, HM_PARAMS, "%s: change %llu is missing or cannot be read", s->store.dir,
                       (unsigned long long)expected);
    return true;
}

// ---- where to cut
// ----------------------------------------------------------------------------------------------------------

bool hm_cut_find(const char *from, uint64_t until_seq, int64_t until_ms, struct hm_cut *out,
                 struct hm_error *err) {
    struct source s;
    struct hm_entry e;
    struct hm_str bytes;
    struct hm_cut at = {0}; // behind the last change read
    bool there = true, ok = source_open(&s, from, err);
    memset(out, 0, sizeof *out);
    if (!ok) return false;
    for (uint64_t seq = 1; ok && there; seq++) {
        ok = source_next(&s, seq, &bytes, &e, &there, err);
        if (!ok || !there) break;
        if (e.change.commit == seq) { // a call begins: what is before it is whole
            *out = at;
            out->next_ms = e.change.time_ms;
        }
        if ((until_seq && seq > until_seq) || (until_ms && e.change.time_ms > until_ms)) goto found;
        at.seq = seq;
        at.time_ms = e.change.time_ms;
    }
    *out = at; // all of it
    if (ok && until_seq > at.seq)
        ok = hm_fail(err, HM_PARAMS,
                     "the change log of this backup ends with change %llu: take a newer backup",
                     (unsigned long long)at.seq);
found:
    source_close(&s);
    return ok;
}

// ---- building
// --------------------------------------------------------------------------------------------------------------

struct replay {
    struct source from;
    struct hm_store to; // its handles only
    MDB_env *env;
    uint64_t seq;  // last change written
    bool reshaped; // its records may be of an older form than the types there say
    uint8_t hash[HM_HASH];
};

// Is there a record that this change replaces, and when was it made? Its new form is as old as it was.
static int before(struct replay *r, MDB_txn *txn, struct hm_str key, struct hm_record *now,
                  struct hm_str method) {
    struct hm_record old;
    MDB_val k = hm_val(key), v;
    int rc = mdb_get(txn, r->to.rec, &k, &v);
    if (!rc) rc = hm_record_decode(hm_val_str(v), &old) ? 0 : EINVAL;
    if (!rc) now->created_ms = old.created_ms;
    if (!rc && hm_str_eq(method, HM_LIT(HM_UPGRADE))) now->updated_ms = old.updated_ms;
    return rc;
}

static int put_record(struct replay *r, MDB_txn *txn, struct hm_str key, const struct hm_entry *e) {
    const struct hm_change *c = &e->change;
    struct hm_json json = {HM_JSON_OBJECT, c->json}, data;
    struct hm_buf bytes = {0};
    struct hm_record record = {.type = c->type,
                               .id = c->id,
                               .version = c->seq,
                               .form = e->form,
                               .created_ms = c->time_ms,
                               .updated_ms = c->time_ms,
                               .by = c->by,
                               .audience = c->audience,
                               .members = e->members,
                               .json = c->json,
                               .sealed = e->sealed};
    if (!hm_json_get(json, "data", &data)) return EINVAL;
    record.data = data.raw;
    int rc = c->action == HM_UPDATED ? before(r, txn, key, &record, c->method) : 0;
    if (rc) return rc == MDB_NOTFOUND ? EINVAL : rc;
    hm_record_encode(&record, &bytes);
    MDB_val k = hm_val(key), v = hm_val(hm_buf_view(&bytes));
    rc = mdb_put(txn, r->to.rec, &k, &v, c->action == HM_CREATED ? MDB_NOOVERWRITE : 0);
    hm_buf_free(&bytes);
    return rc;
}

static int apply_entry(struct replay *r, MDB_txn *txn, struct hm_str bytes, const struct hm_entry *e) {
    struct hm_buf key = {0};
    uint8_t log_key[8];
    hm_record_key(e->change.type, e->change.id, &key);
    MDB_val k = hm_val(hm_buf_view(&key)), lk = {sizeof log_key, log_key}, lv = hm_val(bytes);
    int rc = e->change.action == HM_DELETED ? mdb_del(txn, r->to.rec, &k, NULL)
                                            : put_record(r, txn, hm_buf_view(&key), e);
    hm_log_key(e->change.seq, log_key);
    if (!rc) rc = mdb_put(txn, r->to.log, &lk, &lv, MDB_APPEND);
    hm_buf_free(&key);
    return rc;
}

// Puts the cursor of the log behind a change.
static int rewind_to(struct source *s, uint64_t seq) {
    uint8_t key[8];
    MDB_val k = {sizeof key, key}, v;
    hm_log_key(seq, key);
    if (seq) return mdb_cursor_get(s->log, &k, &v, MDB_SET);
    mdb_cursor_close(s->log); // a new one stands before the first
    s->log = NULL;
    return mdb_cursor_open(s->txn, s->store.log, &s->log);
}

// One transaction of up to BATCH changes. *rc: of the database (a full map means again with a larger one).
static bool apply_batch(struct replay *r, MDB_txn *txn, uint64_t until, int *rc, struct hm_error *err) {
    struct hm_entry e;
    struct hm_str bytes;
    uint8_t next[HM_HASH];
    bool there = true;
    for (unsigned i = 0; i < BATCH && r->seq < until && !*rc; i++) {
        if (!source_next(&r->from, r->seq + 1, &bytes, &e, &there, err)) return false;
        unsigned long long seq = r->seq + 1;
        if (!there) return hm_fail(err, HM_PARAMS, "change %llu is missing from the change log", seq);
        hm_chain(r->hash, (struct hm_str){bytes.ptr, bytes.len - HM_HASH}, next);
        if (memcmp(next, bytes.ptr + bytes.len - HM_HASH, HM_HASH) != 0)
            return hm_fail(err, HM_PARAMS,
                           "change %llu does not follow from the one before: the log is damaged", seq);
        *rc = apply_entry(r, txn, bytes, &e);
        if (*rc == EINVAL || *rc == MDB_KEYEXIST || *rc == MDB_NOTFOUND)
            return hm_fail(err, HM_PARAMS, "change %llu does not fit what the changes before it made", seq);
        if (*rc) break;
        memcpy(r->hash, next, HM_HASH);
        r->seq++;
    }
    return true;
}

static int grow(MDB_env *env) {
    MDB_envinfo info;
    int rc = mdb_env_info(env, &info);
    return rc ? rc : mdb_env_set_mapsize(env, info.me_mapsize * 2);
}

static bool apply_all(struct replay *r, uint64_t until, struct hm_error *err) {
    while (r->seq < until) {
        MDB_txn *txn = NULL;
        uint8_t hash[HM_HASH];
        uint64_t seq = r->seq;
        memcpy(hash, r->hash, HM_HASH);
        int rc = mdb_txn_begin(r->env, NULL, 0, &txn);
        bool ok = rc || apply_batch(r, txn, until, &rc, err);
        if (txn && (rc || !ok))
            mdb_txn_abort(txn);
        else if (txn)
            rc = mdb_txn_commit(txn);
        if (!ok) return false;
        if (rc == MDB_MAP_FULL && !(rc = grow(r->env)) && !(rc = rewind_to(&r->from, seq))) {
            r->seq = seq;
            memcpy(r->hash, hash, HM_HASH);
            continue;
        }
        if (rc) return hm_mdb_fail(err, rc, r->to.dir, "write");
    }
    return true;
}

// ---- what follows from the records: member keys, indexes, meta
// --------------------------------------------------------------

static int put_members(struct replay *r, MDB_txn *txn, const struct hm_record *record) {
    struct hm_str rest = record->members, item;
    struct hm_buf key = {0};
    int rc = 0;
    while (!rc && hm_packed_next(&rest, &item)) {
        hm_buf_clear(&key);
        hm_member_key(item, record->type, record->id, &key);
        MDB_val k = hm_val(hm_buf_view(&key)), v = {0, (void *)""};
        rc = mdb_put(txn, r->to.mem, &k, &v, 0);
    }
    hm_buf_free(&key);
    return rc;
}

static int all_members(struct replay *r, MDB_txn *txn) {
    MDB_cursor *cursor = NULL;
    MDB_val k, v;
    struct hm_record record;
    int rc = mdb_cursor_open(txn, r->to.rec, &cursor), failed = 0;
    if (!rc) rc = mdb_cursor_get(cursor, &k, &v, MDB_FIRST);
    for (; !rc && !failed; rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT))
        failed = hm_record_decode(hm_val_str(v), &record) ? put_members(r, txn, &record) : EINVAL;
    if (cursor) mdb_cursor_close(cursor);
    return failed ? failed : rc == MDB_NOTFOUND ? 0 : rc;
}

static int put_meta(struct replay *r, MDB_txn *txn) {
    static const char *const kept[] = {"format", "epoch", "keyring"};
    struct hm_str value;
    struct hm_buf head = {0};
    int rc = 0;
    for (size_t i = 0; i < sizeof kept / sizeof *kept && !rc; i++)
        if (hm_meta_get(&r->from.store, r->from.txn, kept[i], &value))
            rc = hm_meta_put(&r->to, txn, kept[i], value);
    hm_put_u64(&head, r->seq);
    hm_buf_add(&head, r->hash, HM_HASH);
    if (!rc) rc = hm_meta_put(&r->to, txn, "head", hm_buf_view(&head));
    hm_buf_free(&head);
    return rc;
}

// Were records brought into a new form behind this change, or was that still to be done? Then the types there
// do not tell what the records look like; the server looks at them when it puts those of its plugins in
// force.
static bool reshaped(struct replay *r, bool *out, struct hm_error *err) {
    struct hm_str turned, bytes;
    struct hm_entry e;
    bool there = true;
    *out = hm_meta_get(&r->from.store, r->from.txn, "turned", &turned);
    for (uint64_t seq = r->seq + 1; !*out && there; seq++) {
        if (!source_next(&r->from, seq, &bytes, &e, &there, err)) return false;
        *out = there && hm_str_eq(e.change.method, HM_LIT(HM_UPGRADE));
    }
    return true;
}

// with_types false: only the core's indexes, because a later declaration (a unique index) does not hold for
// what the records were then.
static bool derive_once(struct replay *r, bool with_types, int *rc, struct hm_error *err) {
    MDB_txn *txn = NULL;
    struct hm_types *types = NULL;
    struct hm_str json;
    bool changed, ok = true;
    if (!with_types || r->reshaped || !hm_meta_get(&r->from.store, r->from.txn, "types", &json))
        json = HM_LIT("[]");
    if (!hm_types_parse(json, &types, err)) return false;
    *rc = mdb_txn_begin(r->env, NULL, 0, &txn);
    if (!*rc) *rc = put_meta(r, txn);
    if (!*rc) *rc = hm_meta_put(&r->to, txn, "types", json);
    if (!*rc) *rc = all_members(r, txn);
    if (!*rc) ok = hm_indexes_rebuild(&r->to, txn, types, &changed, err);
    if (txn && (*rc || !ok))
        mdb_txn_abort(txn);
    else if (txn)
        *rc = mdb_txn_commit(txn);
    hm_types_unref(types);
    return ok;
}

static bool derive(struct replay *r, struct hm_error *err) {
    for (bool with_types = true;;) {
        struct hm_error why = {0};
        int rc = 0;
        bool ok = derive_once(r, with_types, &rc, &why);
        bool full = rc == MDB_MAP_FULL ||
                    (!ok && why.code == HM_TOO_LARGE && strncmp(why.message, "map full", 8) == 0);
        if (ok && !rc) return true;
        if (full) {
            if ((rc = grow(r->env)) != 0) return hm_mdb_fail(err, rc, r->to.dir, "grow the map");
        } else if (rc) {
            return hm_mdb_fail(err, rc, r->to.dir, "write");
        } else if (with_types) {
            with_types = false;
        } else {
            if (err) *err = why;
            return false;
        }
    }
}

bool hm_replay(const char *from, const char *dir, uint64_t seq, struct hm_error *err) {
    struct replay r = {.to.dir = (char *)dir};
    MDB_txn *txn = NULL;
    bool ok = false;
    if (!hm_make_dir(dir, err)) return false;
    if (!source_open(&r.from, from, err)) return false;
    // Nobody sees the folder before it is synced as a whole.
    int rc = mdb_env_create(&r.env);
    if (!rc) rc = mdb_env_set_maxdbs(r.env, 6);
    if (!rc) rc = mdb_env_set_mapsize(r.env, MAP_FIRST);
    if (!rc) rc = mdb_env_open(r.env, dir, MDB_NOLOCK | MDB_NOTLS | MDB_NOSYNC, 0600);
    if (!rc) rc = mdb_txn_begin(r.env, NULL, 0, &txn);
    if (!rc) rc = hm_databases_open(&r.to, txn);
    if (!rc) {
        rc = mdb_txn_commit(txn);
        txn = NULL;
    }
    if (txn) mdb_txn_abort(txn);
    if (rc) {
        hm_mdb_fail(err, rc, dir, "make the store");
        goto out;
    }
    if (!apply_all(&r, seq, err) || !reshaped(&r, &r.reshaped, err) || !derive(&r, err)) goto out;
    rc = mdb_env_sync(r.env, 1);
    ok = rc == 0 ? hm_sync_dir(dir, err) : hm_mdb_fail(err, rc, dir, "sync");
out:
    if (r.env) mdb_env_close(r.env);
    source_close(&r.from);
    return ok;
}
