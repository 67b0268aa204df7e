// A store in a folder of its own, and short ways to write into it. For the tests of core/store only.
#pragma once
#include "store/internal.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define S(text) hm_str_of(text)

struct fx {
    char root[64], dir[96];
    struct hm_store *store;
    struct hm_error err;
    uint8_t key[32];
};

static inline void fx_open(struct fx *f, size_t map_bytes) {
    struct hm_store_options o = {.map_bytes = map_bytes, .master_key = f->key};
    if (!hm_store_open(f->dir, &o, &f->store, &f->err)) fail_msg("open: %s", f->err.message);
}
// A folder for a store that is not made yet.
static inline void fx_folder(struct fx *f) {
    memset(f, 0, sizeof *f);
    snprintf(f->root, sizeof f->root, "/tmp/hamroh-store-XXXXXX");
    assert_non_null(mkdtemp(f->root));
    snprintf(f->dir, sizeof f->dir, "%s/school", f->root);
    memset(f->key, 7, sizeof f->key);
}
static inline void fx_declare(struct fx *f, const char *json) {
    struct hm_types *t = NULL;
    if (!hm_types_parse(S(json), &t, &f->err)) fail_msg("types: %s", f->err.message);
    if (!hm_store_set_types(f->store, t, &f->err)) fail_msg("set_types: %s", f->err.message);
    hm_types_unref(t);
}
static inline void fx_new(struct fx *f, const char *types, size_t map_bytes) {
    fx_folder(f);
    fx_open(f, map_bytes);
    if (types) fx_declare(f, types);
}
static inline void fx_free(struct fx *f) {
    char command[128];
    hm_store_close(f->store);
    snprintf(command, sizeof command, "rm -rf '%s'", f->root);
    assert_int_equal(system(command), 0);
}

static inline uint64_t fx_seq(struct fx *f) {
    struct hm_read *r = NULL;
    assert_true(hm_read_begin(f->store, &r, &f->err));
    uint64_t seq = hm_read_seq(r);
    hm_read_end(r);
    return seq;
}

// Runs one call as a batch of its own, growing the map as an engine would. Gives call->code.
static inline enum hm_code fx_run(struct fx *f, struct hm_commit *call) {
    for (;;) {
        struct hm_write *w = NULL;
        struct hm_error err = {0};
        if (!hm_write_begin(f->store, &w, &err)) fail_msg("begin: %s", err.message);
        bool applied = hm_write_apply(w, call, &err);
        if (!applied) hm_write_abort(w);
        if (applied && hm_write_commit(w, NULL, NULL, &err)) return call->code;
        if (err.code != HM_TOO_LARGE) fail_msg("write: %s", err.message);
        if (!hm_store_grow(f->store, &err)) fail_msg("grow: %s", err.message);
    }
}
static inline struct hm_commit fx_call(struct fx *f, const struct hm_intent *intents, size_t count) {
    return (struct hm_commit){.snapshot = fx_seq(f),
                              .intents = intents,
                              .intent_count = count,
                              .by = S("p1"),
                              .method = S("test.write"),
                              .now_ms = 1700000000000};
}
static inline struct hm_intent fx_intent(const char *type, const char *id, const char *data) {
    return (struct hm_intent){
        .type = S(type), .id = S(id), .expect = HM_ANY_VERSION, .data = S(data), .remove = !data};
}
// data NULL: delete.
static inline enum hm_code fx_put(struct fx *f, const char *type, const char *id, const char *data) {
    struct hm_intent in = fx_intent(type, id, data);
    struct hm_commit call = fx_call(f, &in, 1);
    enum hm_code code = fx_run(f, &call);
    f->err = call.error;
    return code;
}
static inline uint64_t fx_version(struct fx *f, const char *type, const char *id) {
    struct hm_read *r = NULL;
    struct hm_record rec = {0};
    assert_true(hm_read_begin(f->store, &r, &f->err));
    uint64_t version = hm_read_get(r, S(type), S(id), &rec, &f->err) ? rec.version : 0;
    hm_read_end(r);
    return version;
}
static inline struct hm_json fx_json(const char *text) {
    struct hm_json v = {0};
    if (text && !hm_json_parse(S(text), &v, NULL)) fail_msg("not JSON: %s", text);
    return v;
}
// The range of an index, or of the type when index is NULL; texts may be NULL.
static inline void fx_range(struct fx *f, const char *type, const char *index, const char *equals,
                            const char *from, const char *to, struct hm_range *out) {
    struct hm_types *types = hm_store_types(f->store);
    const struct hm_type *t = hm_types_find(types, S(type));
    assert_non_null(t);
    const struct hm_index *i = index ? hm_type_index(t, S(index)) : NULL;
    assert_true(!index || i);
    if (!hm_range_make(t, i, fx_json(equals), fx_json(from), fx_json(to), out, &f->err))
        fail_msg("range: %s", f->err.message);
    out->type = hm_str_of(type); // the types are let go here
    hm_types_unref(types);
}
// Ids found, with a blank behind each.
static inline const char *fx_scan(struct fx *f, const char *type, const char *index, const char *equals,
                                  const char *from, const char *to, bool descending) {
    static char found[4096];
    struct hm_range range;
    struct hm_read *r = NULL;
    struct hm_scan *s = NULL;
    struct hm_record rec;
    size_t len = 0;
    fx_range(f, type, index, equals, from, to, &range);
    assert_true(hm_read_begin(f->store, &r, &f->err));
    assert_true(hm_scan_begin(r, &range, descending, (struct hm_str){0}, &s, &f->err));
    found[0] = 0;
    while (hm_scan_next(s, &rec))
        len += (size_t)snprintf(found + len, sizeof found - len, "%.*s ", (int)rec.id.len, rec.id.ptr);
    hm_scan_end(s);
    hm_read_end(r);
    hm_range_free(&range);
    return found;
}
static inline void fx_verify(struct fx *f) {
    uint64_t checked = 0;
    if (!hm_store_verify(f->store, &checked, &f->err)) fail_msg("verify: %s", f->err.message);
    assert_int_equal(checked, fx_seq(f));
}
