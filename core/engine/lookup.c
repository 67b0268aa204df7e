// Small readers of records that several methods of the core share. Loop thread; what they give is
// borrowed from the snapshot.
#include "engine/internal.h"

#include <stdlib.h>

bool hm_read_data(struct hm_read *read, const char *type, struct hm_str id, struct hm_record *record,
                  struct hm_json *data) {
    if (id.len == 0 || id.len > HM_ID_MAX || !hm_read_get(read, hm_str_of(type), id, record, NULL))
        return false;
    *data = (struct hm_json){HM_JSON_OBJECT, record->data};
    return true;
}

bool hm_read_each(struct hm_read *read, struct hm_types *types, const char *type, const char *index,
                  struct hm_str value, bool descending,
                  bool (*fn)(void *arg, const struct hm_record *record, struct hm_json data), void *arg) {
    const struct hm_type *declared = hm_types_find(types, hm_str_of(type));
    const struct hm_index *by = declared && index ? hm_type_index(declared, hm_str_of(index)) : NULL;
    struct hm_buf equals = {0};
    struct hm_range range = {0};
    struct hm_scan *scan = NULL;
    struct hm_record record;
    struct hm_json none = {0};
    bool ok = false;
    if (!declared || (index && !by)) return false;
    hm_buf_char(&equals, '[');
    if (index) hm_json_put_str(&equals, value);
    hm_buf_char(&equals, ']');
    if (!hm_range_make(declared, by, (struct hm_json){HM_JSON_ARRAY, hm_buf_view(&equals)}, none, none,
                       &range, NULL))
        goto out;
    if (!hm_scan_begin(read, &range, descending, HM_LIT(""), &scan, NULL)) goto out;
    while (hm_scan_next(scan, &record))
        if (!fn(arg, &record, (struct hm_json){HM_JSON_OBJECT, record.data})) break;
    hm_scan_end(scan);
    ok = true;
out:
    hm_range_free(&range);
    hm_buf_free(&equals);
    return ok;
}

struct first {
    struct hm_record *record;
    struct hm_json *data;
    bool found;
};

static bool take_first(void *arg, const struct hm_record *record, struct hm_json data) {
    struct first *first = arg;
    *first->record = *record;
    *first->data = data;
    first->found = true;
    return false;
}

bool hm_read_unique(struct hm_read *read, struct hm_types *types, const char *type, const char *index,
                    struct hm_str value, struct hm_record *record, struct hm_json *data) {
    struct first first = {record, data, false};
    hm_read_each(read, types, type, index, value, false, take_first, &first);
    return first.found;
}

void hm_item_saw(struct commit_item *item, enum hm_space space, struct hm_str low, struct hm_str high,
                 uint64_t seq) {
    size_t count = item->commit.seen_count;
    item->seen = hm_realloc(item->seen, (count + 1) * sizeof *item->seen);
    item->seen[count] = (struct hm_seen){
        .space = space, .low = hm_item_keep(item, low), .high = hm_item_keep(item, high), .version = seq};
    item->commit.seen = item->seen;
    item->commit.seen_count = count + 1;
}

void hm_item_saw_record(struct commit_item *item, const char *type, const char *id, uint64_t seq) {
    struct hm_buf low = {0}, high = {0};
    hm_record_key(hm_str_of(type), hm_str_of(id), &low);
    hm_buf_str(&high, hm_buf_view(&low));
    hm_buf_char(&high, '\0'); // the smallest key behind it
    hm_item_saw(item, HM_SPACE_REC, hm_buf_view(&low), hm_buf_view(&high), seq);
    hm_buf_free(&low);
    hm_buf_free(&high);
}

bool hm_item_none(struct commit_item *item, const char *type, const char *index, struct hm_str value) {
    struct institution *inst = item->institution;
    struct hm_types *types = hm_store_types(inst->store);
    const struct hm_type *declared = hm_types_find(types, hm_str_of(type));
    struct hm_buf equals = {0};
    struct hm_range range = {0};
    struct hm_read *read = NULL;
    struct hm_scan *scan = NULL;
    struct hm_record record;
    struct hm_json none = {0};
    bool found = true;
    hm_buf_char(&equals, '[');
    hm_json_put_str(&equals, value);
    hm_buf_char(&equals, ']');
    if (hm_range_make(declared, hm_type_index(declared, hm_str_of(index)),
                      (struct hm_json){HM_JSON_ARRAY, hm_buf_view(&equals)}, none, none, &range, NULL) &&
        hm_read_begin(inst->store, &read, NULL) &&
        hm_scan_begin(read, &range, false, HM_LIT(""), &scan, NULL)) {
        found = hm_scan_next(scan, &record);
        if (!found) hm_item_saw(item, HM_SPACE_IDX, range.low, range.high, hm_read_seq(read));
    }
    hm_scan_end(scan);
    hm_read_end(read);
    hm_range_free(&range);
    hm_buf_free(&equals);
    hm_types_unref(types);
    return !found;
}

void hm_json_with(struct hm_json object, const char *name, struct hm_str raw, struct hm_buf *out) {
    struct hm_json_iter it = hm_json_iter(object);
    struct hm_json key, value;
    bool first = true;
    hm_buf_char(out, '{');
    while (hm_json_next(&it, &key, &value)) {
        if (hm_json_key_is(key, hm_str_of(name))) continue;
        if (!first) hm_buf_char(out, ',');
        first = false;
        hm_buf_str(out, key.raw);
        hm_buf_char(out, ':');
        hm_buf_str(out, value.raw);
    }
    if (!first) hm_buf_char(out, ',');
    hm_json_put_str(out, hm_str_of(name));
    hm_buf_char(out, ':');
    hm_buf_str(out, raw);
    hm_buf_char(out, '}');
}

int64_t hm_json_number(struct hm_json object, const char *name) {
    struct hm_json value;
    int64_t out = 0;
    if (hm_json_get(object, name, &value)) hm_json_int(value, &out);
    return out;
}

void hm_item_ignored(struct commit_item *item) {
    (void)item;
}
