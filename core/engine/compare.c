// Where two JSON values differ, and what a call meant to write as one. Any thread; nothing is kept.
#include "engine/author.h"

#include <stdlib.h>

#define MEMBERS_MAX 200u // an object of more is compared as one text: members are looked up one by one
#define VALUE_SHOWN 300u
#define PATH_MAX_BYTES 300u

struct comparison {
    struct hm_buf *out;
    struct hm_buf path;
    unsigned count, most;
    bool hidden;
};

static struct hm_json value_shown(struct hm_json value) {
    return value.raw.len <= VALUE_SHOWN ? value : (struct hm_json){HM_JSON_STRING, HM_LIT("\"…\"")};
}

static void place(struct comparison *c, const struct hm_json *was, const struct hm_json *is) {
    if (c->count++ >= c->most) return;
    if (c->out->len) hm_buf_char(c->out, ',');
    hm_buf_char(c->out, '{');
    hm_json_member_str(c->out, "path", hm_buf_view(&c->path));
    if (was && !c->hidden) hm_json_member_raw(c->out, "was", value_shown(*was).raw);
    if (is && !c->hidden) hm_json_member_raw(c->out, "is", value_shown(*is).raw);
    if (!was) hm_json_member_raw(c->out, "added", HM_LIT("true"));
    if (!is) hm_json_member_raw(c->out, "gone", HM_LIT("true"));
    hm_buf_char(c->out, '}');
}

static size_t path_push(struct comparison *c, struct hm_str name) {
    size_t before = c->path.len;
    if (before + name.len > PATH_MAX_BYTES) return before;
    if (before) hm_buf_char(&c->path, '.');
    hm_buf_str(&c->path, name);
    return before;
}

static void path_pop(struct comparison *c, size_t before) {
    c->path.len = before;
    if (c->path.data) c->path.data[before] = 0;
}

static void compare(struct comparison *c, struct hm_json was, struct hm_json is);

static bool member_of(struct hm_json object, struct hm_str name, struct hm_json *out) {
    struct hm_json_iter it = hm_json_iter(object);
    struct hm_json key;
    while (hm_json_next(&it, &key, out))
        if (hm_json_key_is(key, name)) return true;
    return false;
}

static void compare_objects(struct comparison *c, struct hm_json was, struct hm_json is) {
    struct hm_json key, value, other;
    struct hm_buf name = {0};
    for (int turn = 0; turn < 2; turn++) {
        struct hm_json_iter it = hm_json_iter(turn ? is : was);
        while (hm_json_next(&it, &key, &value)) {
            hm_buf_clear(&name);
            hm_json_string(key, &name);
            bool both = member_of(turn ? was : is, hm_buf_view(&name), &other);
            if (turn && both) continue;
            size_t before = path_push(c, hm_buf_view(&name));
            if (both)
                compare(c, value, other);
            else
                place(c, turn ? NULL : &value, turn ? &value : NULL);
            path_pop(c, before);
        }
    }
    hm_buf_free(&name);
}

static void compare_arrays(struct comparison *c, struct hm_json was, struct hm_json is) {
    struct hm_json_iter a = hm_json_iter(was), b = hm_json_iter(is);
    struct hm_json x, y;
    for (size_t i = 1;; i++) {
        bool one = hm_json_next(&a, NULL, &x), two = hm_json_next(&b, NULL, &y);
        struct hm_buf number = {0};
        if (!one && !two) return;
        hm_json_put_int(&number, (int64_t)i);
        size_t before = path_push(c, hm_buf_view(&number));
        if (one && two)
            compare(c, x, y);
        else
            place(c, one ? &x : NULL, two ? &y : NULL);
        path_pop(c, before);
        hm_buf_free(&number);
    }
}

static bool same_scalar(struct hm_json was, struct hm_json is) {
    double x, y;
    struct hm_buf a = {0}, b = {0};
    if (was.kind == HM_JSON_NUMBER) return hm_json_double(was, &x) && hm_json_double(is, &y) && x == y;
    if (was.kind != HM_JSON_STRING) return true; // null, true and false are their kind
    bool same =
        hm_json_string(was, &a) && hm_json_string(is, &b) && hm_str_eq(hm_buf_view(&a), hm_buf_view(&b));
    hm_buf_free(&a);
    hm_buf_free(&b);
    return same;
}

static void compare(struct comparison *c, struct hm_json was, struct hm_json is) {
    if (hm_str_eq(was.raw, is.raw)) return;
    bool large =
        was.kind == HM_JSON_OBJECT && (hm_json_count(was) > MEMBERS_MAX || hm_json_count(is) > MEMBERS_MAX);
    if (was.kind != is.kind || large)
        place(c, &was, &is);
    else if (was.kind == HM_JSON_OBJECT)
        compare_objects(c, was, is);
    else if (was.kind == HM_JSON_ARRAY)
        compare_arrays(c, was, is);
    else if (!same_scalar(was, is))
        place(c, &was, &is);
}

unsigned hm_json_differences(struct hm_json was, struct hm_json is, bool hidden, unsigned most,
                             struct hm_buf *out) {
    struct comparison c = {.out = out, .most = most, .hidden = hidden};
    compare(&c, was, is);
    hm_buf_free(&c.path);
    return c.count;
}

// ---- intents ------------------------------------------------------------------------------------------

static int by_record(const void *a, const void *b) {
    const struct hm_intent *const *x = a, *const *y = b;
    int order = hm_str_cmp((*x)->type, (*y)->type);
    return order ? order : hm_str_cmp((*x)->id, (*y)->id);
}

static void put_packed(struct hm_buf *out, const char *name, struct hm_str packed) {
    hm_json_key(out, name);
    hm_packed_json(packed, out);
}

void hm_intents_json(const struct parsed_result *result, struct hm_buf *out) {
    size_t n = result->intent_count;
    const struct hm_intent **sorted = hm_alloc_array(n ? n : 1, sizeof *sorted);
    for (size_t i = 0; i < n; i++)
        sorted[i] = &result->intents[i];
    if (n > 1) qsort(sorted, n, sizeof *sorted, by_record);
    hm_buf_char(out, '[');
    for (size_t i = 0; i < n; i++) {
        const struct hm_intent *in = sorted[i];
        if (i) hm_buf_char(out, ',');
        hm_buf_char(out, '{');
        hm_json_member_str(out, "type", in->type);
        hm_json_member_str(out, "id", in->id);
        hm_json_member_raw(out, "remove", in->remove ? HM_LIT("true") : HM_LIT("false"));
        if (!in->remove) {
            hm_json_member_raw(out, "data", in->data);
            put_packed(out, "audience", in->audience);
            put_packed(out, "members", in->members);
        }
        hm_buf_char(out, '}');
    }
    hm_buf_char(out, ']');
    free(sorted);
}
