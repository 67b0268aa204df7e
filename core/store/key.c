// Database keys, and values put into them so that memcmp orders them as people expect:
// null < false < true < numbers < strings < arrays and objects (these only by equality of their text).
// No encoded value is the beginning of another one, so that a range over a prefix is exact. Pure functions,
// any thread.
//
//   null 01 · false 02 · true 03 · number 04 + 8 bytes · string 05 + bytes + 00 01 · else 06 + 16 bytes of
//   hash
//
// A zero byte in a string is 00 ff. A string too long for its part of the key is cut and ends with 00 02 + 16
// bytes of the hash of the whole: equality stays exact, and it sorts behind all shorter strings with that
// beginning.
#include "store/internal.h"
#include <assert.h>
#include <math.h>
#include <sodium.h>
#include <stdlib.h>

enum { TAG_NULL = 1, TAG_FALSE, TAG_TRUE, TAG_NUMBER, TAG_STRING, TAG_OTHER };
#define CUT_HASH 16
#define STRING_EXTRA (1 + 2 + CUT_HASH) // tag, end mark, hash of a cut string
#define STRING_MAX 100

void hm_record_key(struct hm_str type, struct hm_str id, struct hm_buf *out) {
    hm_buf_str(out, type);
    hm_buf_char(out, '\0');
    hm_buf_str(out, id);
}

void hm_member_key(struct hm_str principal, struct hm_str type, struct hm_str id, struct hm_buf *out) {
    hm_buf_str(out, principal);
    hm_buf_char(out, '\0');
    hm_record_key(type, id, out);
}

void hm_index_prefix(const struct hm_type *type, const struct hm_index *index, struct hm_buf *out) {
    hm_buf_text(out, type->name);
    hm_buf_char(out, '\0');
    hm_buf_text(out, index->name);
    hm_buf_char(out, '\0');
    hm_buf_add(out, (const char *)index->tag, sizeof index->tag);
}

void hm_key_successor(struct hm_buf *key) {
    while (key->len && (uint8_t)key->data[key->len - 1] == 0xff)
        key->len--;
    assert(key->len); // every key begins with a name
    key->data[key->len - 1] = (char)((uint8_t)key->data[key->len - 1] + 1);
}

struct hm_str hm_index_key_id(struct hm_str key) {
    const char *zero = key.len ? memrchr(key.ptr, 0, key.len) : NULL;
    if (!zero) return key;
    return (struct hm_str){zero + 1, (size_t)(key.ptr + key.len - zero - 1)};
}

// How many bytes of a string fit into the key, whatever the id and the other fields are.
static size_t string_room(const struct hm_type *type, const struct hm_index *index) {
    size_t fixed = strlen(type->name) + 1 + strlen(index->name) + 1 + HM_INDEX_TAG + 2 + HM_ID_MAX;
    size_t each = (HM_KEY_MAX - fixed) / (index->field_count ? index->field_count : 1);
    size_t room = each - STRING_EXTRA;
    return room < STRING_MAX ? room : STRING_MAX;
}

static void put_number(struct hm_buf *out, double v) {
    uint64_t bits;
    if (v == 0) v = 0; // -0 and 0 are one value
    memcpy(&bits, &v, sizeof bits);
    bits = bits >> 63 ? ~bits : bits | UINT64_C(1) << 63;
    char bytes[9] = {TAG_NUMBER};
    for (int i = 0; i < 8; i++)
        bytes[1 + i] = (char)(uint8_t)(bits >> (56 - 8 * i));
    hm_buf_add(out, bytes, sizeof bytes);
}

static void put_hash(struct hm_buf *out, struct hm_str text) {
    uint8_t hash[CUT_HASH];
    crypto_generichash(hash, sizeof hash, (const uint8_t *)text.ptr, text.len, NULL, 0);
    hm_buf_add(out, hash, sizeof hash);
}

// bound: an end of a range, which looks at the uncut part only.
static void put_string(struct hm_buf *out, struct hm_str s, size_t room, bool bound) {
    size_t i = 0, used = 0;
    hm_buf_char(out, TAG_STRING);
    for (; i < s.len; i++) {
        size_t need = s.ptr[i] ? 1 : 2;
        if (used + need > room) break;
        hm_buf_char(out, s.ptr[i]);
        if (need == 2) hm_buf_char(out, (char)0xff);
        used += need;
    }
    hm_buf_char(out, '\0');
    hm_buf_char(out, i == s.len ? 1 : 2);
    if (i < s.len && !bound) put_hash(out, s);
}

static void put_value(struct hm_buf *out, struct hm_json v, size_t room, bool bound) {
    struct hm_buf text = {0};
    double number;
    switch (v.raw.len ? v.kind : HM_JSON_NULL) {
    case HM_JSON_NULL:
        hm_buf_char(out, TAG_NULL);
        break;
    case HM_JSON_FALSE:
        hm_buf_char(out, TAG_FALSE);
        break;
    case HM_JSON_TRUE:
        hm_buf_char(out, TAG_TRUE);
        break;
    case HM_JSON_NUMBER: // what no double can hold is infinite
        if (!hm_json_double(v, &number)) number = v.raw.ptr[0] == '-' ? -HUGE_VAL : HUGE_VAL;
        put_number(out, number);
        break;
    case HM_JSON_STRING:
        hm_json_string(v, &text);
        put_string(out, hm_buf_view(&text), room, bound);
        break;
    case HM_JSON_ARRAY:
    case HM_JSON_OBJECT:
        hm_buf_char(out, TAG_OTHER);
        put_hash(out, v.raw);
        break;
    }
    hm_buf_free(&text);
}

// One field of an index; false when it is missing or null (which has been put as null).
static bool put_field(struct hm_buf *out, const char *field, const struct hm_record *r, size_t room) {
    if (field[0] == '@') {
        if (strcmp(field, "@created") == 0) {
            put_number(out, (double)r->created_ms);
        } else if (strcmp(field, "@updated") == 0) {
            put_number(out, (double)r->updated_ms);
        } else if (r->by.len) {
            put_string(out, r->by, room, false);
        } else {
            hm_buf_char(out, TAG_NULL);
            return false;
        }
        return true;
    }
    struct hm_json value = {HM_JSON_NULL, {0}};
    if (!hm_json_path((struct hm_json){HM_JSON_OBJECT, r->data}, field, &value)) value.raw.len = 0;
    put_value(out, value, room, false);
    return value.raw.len && value.kind != HM_JSON_NULL;
}

static int by_bytes(const void *a, const void *b) {
    return hm_str_cmp(*(const struct hm_str *)a, *(const struct hm_str *)b);
}

static bool multi_keys(const struct hm_type *type, const struct hm_index *index, const struct hm_record *r,
                       struct hm_buf *out, struct hm_error *err) {
    struct hm_buf keys = {0};
    struct hm_str *sorted = NULL;
    size_t count = 0, room = string_room(type, index);
    struct hm_json list, item;
    bool ok = true;
    if (!hm_json_path((struct hm_json){HM_JSON_OBJECT, r->data}, index->fields[0], &list)) goto out;
    if (hm_json_count(list) > HM_MULTI_MAX) {
        ok = hm_fail(err, HM_TOO_LARGE, "record type %s: field %s has more than %d elements to index",
                     type->name, index->fields[0], HM_MULTI_MAX);
        goto out;
    }
    bool array = list.kind == HM_JSON_ARRAY;
    struct hm_json_iter it = hm_json_iter(list);
    sorted = hm_alloc_array(array ? hm_json_count(list) + 1 : 1, sizeof *sorted);
    for (bool once = true; array ? hm_json_next(&it, NULL, &item) : once; once = false) {
        if (!array) item = list;
        if (item.kind == HM_JSON_NULL) continue;
        size_t at = keys.len;
        hm_index_prefix(type, index, &keys);
        put_value(&keys, item, room, false);
        hm_buf_add(&keys, "\0", 2);
        hm_buf_str(&keys, r->id);
        sorted[count++] =
            (struct hm_str){(const char *)at, keys.len - at}; // an offset until keys stands still
    }
    for (size_t i = 0; i < count; i++)
        sorted[i].ptr = keys.data + (size_t)sorted[i].ptr;
    qsort(sorted, count, sizeof *sorted, by_bytes);
    for (size_t i = 0; i < count; i++)
        if (!i || !hm_str_eq(sorted[i], sorted[i - 1])) hm_packed_add(out, sorted[i]);
out:
    free(sorted);
    hm_buf_free(&keys);
    return ok;
}

bool hm_index_keys_of(const struct hm_type *type, const struct hm_index *index,
                      const struct hm_record *record, struct hm_buf *out, bool *null, struct hm_error *err) {
    *null = false;
    assert(record->id.len <= HM_ID_MAX);
    if (index->multi) return multi_keys(type, index, record, out, err);
    struct hm_buf key = {0};
    size_t room = string_room(type, index);
    hm_index_prefix(type, index, &key);
    for (unsigned i = 0; i < index->field_count; i++)
        if (!put_field(&key, index->fields[i], record, room)) *null = true;
    hm_buf_add(&key, "\0", 2);
    hm_buf_str(&key, record->id);
    assert(key.len <= HM_KEY_MAX);
    hm_packed_add(out, hm_buf_view(&key));
    hm_buf_free(&key);
    return true;
}

bool hm_index_keys(const struct hm_type *type, const struct hm_index *index, const struct hm_record *record,
                   struct hm_buf *out, struct hm_error *err) {
    bool null;
    if (record->id.len > HM_ID_MAX) return hm_fail(err, HM_PARAMS, "id longer than %d bytes", HM_ID_MAX);
    return hm_index_keys_of(type, index, record, out, &null, err);
}

// ---- ranges
// ---------------------------------------------------------------------------------------------------------

// A bound of a range over the ids of a type.
static bool put_id_bound(struct hm_buf *out, struct hm_json v, const char *which, struct hm_error *err) {
    struct hm_buf id = {0};
    bool ok = v.kind == HM_JSON_STRING && hm_json_string(v, &id) && id.len <= HM_ID_MAX;
    if (ok) hm_buf_str(out, hm_buf_view(&id));
    hm_buf_free(&id);
    return ok || hm_fail(err, HM_PARAMS, "%s: without an index it must be an id (text of at most %d bytes)",
                         which, HM_ID_MAX);
}

static bool put_bounds(const struct hm_type *type, const struct hm_index *index, struct hm_json from,
                       struct hm_json to, struct hm_buf *low, struct hm_buf *high, struct hm_error *err) {
    size_t room = index ? string_room(type, index) : 0;
    if (from.raw.len) {
        if (index) {
            put_value(low, from, room, true);
        } else if (!put_id_bound(low, from, "from", err)) {
            return false;
        }
    }
    if (!to.raw.len) {
        hm_key_successor(high);
    } else if (index) {
        put_value(high, to, room, true);
    } else if (!put_id_bound(high, to, "to", err)) {
        return false;
    }
    return true;
}

bool hm_range_make(const struct hm_type *type, const struct hm_index *index, struct hm_json equals,
                   struct hm_json from, struct hm_json to, struct hm_range *out, struct hm_error *err) {
    struct hm_buf low = {0}, high = {0};
    bool ok = false, array = equals.raw.len && equals.kind == HM_JSON_ARRAY;
    size_t given = array ? hm_json_count(equals) : equals.raw.len ? 1 : 0;
    size_t fields = index ? index->field_count : 0;
    memset(out, 0, sizeof *out);
    if (given > fields) {
        hm_fail(err, HM_PARAMS, "equals: %zu values given, index %s of type %s has %zu fields", given,
                index ? index->name : "(none)", type->name, fields);
        goto out;
    }
    if ((from.raw.len || to.raw.len) && index && given == fields) {
        hm_fail(err, HM_PARAMS, "from, to: index %s of type %s has no field left for them", index->name,
                type->name);
        goto out;
    }
    if (index) {
        struct hm_json_iter it = hm_json_iter(equals);
        struct hm_json item = equals;
        hm_index_prefix(type, index, &low);
        for (size_t i = 0; i < given && (!array || hm_json_next(&it, NULL, &item)); i++)
            put_value(&low, item, string_room(type, index), false);
    } else {
        hm_buf_text(&low, type->name);
        hm_buf_char(&low, '\0');
    }
    hm_buf_str(&high, hm_buf_view(&low));
    if (!put_bounds(type, index, from, to, &low, &high, err)) goto out;
    hm_buf_reserve(&out->keys, low.len + high.len);
    hm_buf_str(&out->keys, hm_buf_view(&low));
    hm_buf_str(&out->keys, hm_buf_view(&high));
    out->type = hm_str_of(type->name);
    out->index = index;
    out->low = (struct hm_str){out->keys.data, low.len};
    out->high = (struct hm_str){out->keys.data + low.len, high.len};
    ok = true;
out:
    hm_buf_free(&low);
    hm_buf_free(&high);
    return ok;
}

void hm_range_free(struct hm_range *range) {
    hm_buf_free(&range->keys);
    range->low = range->high = (struct hm_str){0};
}
