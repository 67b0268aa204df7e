// What feed.open is asked: where the client stands and what it wants to hear of. Every fault is named at
// once.
#include "base/json.h"
#include "net/feed_inside.h"

#define LIST_MAX 64 // names in one filter

static void fault(struct hm_buf *errors, const char *path, const char *message) {
    hm_buf_text(errors, errors->len ? ",{" : "{");
    hm_json_member_str(errors, "path", hm_str_of(path));
    hm_json_member_str(errors, "message", hm_str_of(message));
    hm_buf_char(errors, '}');
}

// "institution", or "pair:<id>"
static bool principal_valid(struct hm_str s) {
    const char *colon = s.len ? memchr(s.ptr, ':', s.len) : NULL;
    if (!colon) return hm_name_valid(s);
    size_t at = (size_t)(colon - s.ptr);
    return hm_name_valid((struct hm_str){s.ptr, at}) &&
           hm_id_valid((struct hm_str){colon + 1, s.len - at - 1});
}

// A list of at most LIST_MAX names into rows of `size` bytes, each terminated. Nothing when it is not given.
static char *names(struct hm_json params, const char *path, size_t size, bool (*valid)(struct hm_str),
                   const char *what, size_t *count, struct hm_buf *errors) {
    struct hm_json list, value;
    if (!hm_json_get(params, path, &list) || list.kind == HM_JSON_NULL) return NULL;
    size_t n = hm_json_count(list);
    if (list.kind != HM_JSON_ARRAY || n == 0 || n > LIST_MAX) {
        fault(errors, path, what);
        return NULL;
    }
    char *rows = hm_alloc_array(n, size);
    struct hm_json_iter it = hm_json_iter(list);
    struct hm_buf name = {0};
    while (hm_json_next(&it, NULL, &value)) {
        hm_buf_clear(&name);
        if (!hm_json_string(value, &name) || name.len >= size || !valid(hm_buf_view(&name))) {
            fault(errors, path, what);
            break;
        }
        memcpy(rows + size * (*count)++, name.data, name.len);
    }
    hm_buf_free(&name);
    return rows;
}

static void read_after(struct hm_json params, struct hm_feed_after *after, struct hm_buf *errors) {
    struct hm_json object, value;
    int64_t seq = 0;
    if (!hm_json_get(params, "after", &object) || object.kind == HM_JSON_NULL) return;
    after->given = true;
    if (object.kind != HM_JSON_OBJECT) {
        fault(errors, "after", "must be {epoch, seq}");
        return;
    }
    if (!hm_json_get_text(object, "epoch", after->epoch, sizeof after->epoch))
        fault(errors, "after.epoch", "must be the text that a list or feed.open gave");
    if (!hm_json_get(object, "seq", &value) || !hm_json_int(value, &seq) || seq < 0)
        fault(errors, "after.seq", "must be a whole number from 0 on");
    after->seq = (uint64_t)seq;
}

static bool refuse_others(struct hm_json params, const char *const known[], size_t count,
                          struct hm_buf *errors) {
    struct hm_json_iter it = hm_json_iter(params);
    struct hm_json key, value;
    if (params.raw.len && params.kind != HM_JSON_OBJECT) {
        fault(errors, "", "params must be an object");
        return false;
    }
    while (hm_json_next(&it, &key, &value) && errors->len < 4096) {
        bool found = false;
        for (size_t i = 0; i < count; i++)
            found = found || hm_json_key_is(key, hm_str_of(known[i]));
        if (found) continue;
        struct hm_buf name = {0};
        hm_json_string(key, &name);
        if (name.len > 128) name.data[name.len = 128] = '\0';
        fault(errors, name.data ? name.data : "", "is not a parameter of this method");
        hm_buf_free(&name);
    }
    return errors->len == 0;
}

bool hm_feed_params_none(struct hm_json params, struct hm_buf *errors) {
    static const char *const known[] = {"idem"};
    return refuse_others(params, known, 1, errors);
}

bool hm_feed_params(struct hm_sub *sub, struct hm_json params, struct hm_feed_after *after,
                    struct hm_buf *errors) {
    static const char *const known[] = {"after", "types", "about", "idem"};
    refuse_others(params, known, sizeof known / sizeof *known, errors);
    if (params.kind != HM_JSON_OBJECT) return errors->len == 0; // none
    read_after(params, after, errors);
    sub->types = (char(*)[HM_FEED_TYPE])names(params, "types", HM_FEED_TYPE, hm_name_valid,
                                              "must be an array of 1 to 64 names of record types",
                                              &sub->type_count, errors);
    sub->about = (char(*)[HM_FEED_PRINCIPAL])names(
        params, "about", HM_FEED_PRINCIPAL, principal_valid,
        "must be an array of 1 to 64 principals such as \"pair:<id>\"", &sub->about_count, errors);
    return errors->len == 0;
}
