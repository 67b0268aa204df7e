// Reading records without Lua: record.get, record.list, record.count, and the same list for jobs and
// audits. Loop thread, straight from the map: records are sent as they are stored. What always holds:
// every record given out has passed hm_access_meets; hidden types are as if they were not there; sealed
// fields leave record.get open only after the audit of it is durable, and leave a list never; a cursor tells
// its holder nothing.
#include "engine/internal.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#define SCAN_MAX 20000 // entries looked at by one call
#define LIMIT_DEFAULT 50
#define LIMIT_MAX 500
#define ANSWER_MAX (4u << 20) // bytes after which a page ends early
#define CURSOR_MAX 2048
#define CURSOR_VARIANT sodium_base64_VARIANT_URLSAFE_NO_PADDING

// ---- record.get ---------------------------------------------------------------------------------------

// Only those that can be opened: the key of an erased person is gone for good.
void hm_record_open(struct call *call, const struct hm_type *type, const struct hm_record *record,
                    struct hm_str why, struct hm_buf *out) {
    struct hm_buf whose = {0}, data = {0};
    struct hm_json now = {HM_JSON_OBJECT, record->data};
    hm_record_about(type, record, &whose);
    for (unsigned i = 0; i < type->sealed_count; i++) {
        struct hm_buf value = {0}, next = {0};
        struct hm_str field = hm_str_of(type->sealed[i]);
        if (hm_unseal(call->institution->store, record, field, &value, NULL)) {
            hm_json_with(now, type->sealed[i], hm_buf_view(&value), &next);
            hm_buf_free(&data);
            data = next;
            now.raw = hm_buf_view(&data);
            hm_call_audit(call, record->type, record->id, field, why, hm_buf_view(&whose));
        }
        if (value.data) sodium_memzero(value.data, value.len);
        hm_buf_free(&value);
    }
    size_t before = (size_t)(record->data.ptr - record->json.ptr), behind = before + record->data.len;
    hm_buf_add(out, record->json.ptr, before);
    hm_buf_str(out, now.raw);
    hm_buf_add(out, record->json.ptr + behind, record->json.len - behind);
    if (data.data) sodium_memzero(data.data, data.len);
    hm_buf_free(&data);
    hm_buf_free(&whose);
}

static bool may_read(const struct call *call, const struct hm_record *record) {
    return hm_access_meets(call->principals, record->audience);
}

static void record_get(struct call *call) {
    char name[HM_NAME_MAX + 1], id[HM_ID_MAX + 1], why[129];
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_error err = {0};
    struct hm_buf opened = {0};
    bool found = false, sealed = false;
    hm_arg_text(call, "type", name, sizeof name);
    hm_arg_text(call, "id", id, sizeof id);
    if (!hm_arg_text(call, "why", why, sizeof why) || !why[0]) snprintf(why, sizeof why, "record.get");
    if (!hm_read_begin(call->institution->store, &read, &err)) {
        hm_call_fail_error(call, &err);
        return;
    }
    struct hm_types *types = hm_store_types(call->institution->store);
    const struct hm_type *type = hm_types_find(types, hm_str_of(name));
    if (type && !type->hidden && id[0])
        found = hm_read_get(read, hm_str_of(name), hm_str_of(id), &record, &err);
    found = found && may_read(call, &record);
    if (found && record.sealed.len) hm_record_open(call, type, &record, hm_str_of(why), &opened);
    sealed = call->audits != NULL;
    if (sealed) hm_idem_end(call); // reads the same again; what was opened is stored nowhere
    if (found && !sealed)
        hm_call_ok(call,
                   opened.len ? hm_buf_view(&opened) : record.json); // copied from the map by the answer
    hm_types_unref(types);
    hm_read_end(read);
    if (sealed) {
        struct commit_item *item = hm_item_new(call->institution, call->by, call->method);
        hm_item_finish_call(item, call, hm_buf_view(&opened), hm_call_committed);
    } else if (!found && err.code && err.code != HM_NOT_FOUND) {
        hm_call_fail_error(call, &err);
    } else if (!found) {
        hm_call_fail(call, HM_NOT_FOUND, "");
    }
    if (opened.data) sodium_memzero(opened.data, opened.len);
    hm_buf_free(&opened);
}

// ---- ranges -------------------------------------------------------------------------------------------

struct listing {
    struct call *call;
    struct hm_types *types;
    const struct hm_type *type;
    struct hm_range range;
    struct hm_buf equals, after;
    bool descending, counting;
    int64_t limit;
    struct hm_read *read;
};

static bool bad(struct listing *l, const char *path, const char *message) {
    hm_call_param(l->call, path, message);
    return false;
}

static void equals_of(struct listing *l, struct hm_json value) {
    if (value.kind == HM_JSON_ARRAY) {
        hm_buf_str(&l->equals, value.raw);
        return;
    }
    hm_buf_char(&l->equals, '[');
    hm_buf_str(&l->equals, value.raw);
    hm_buf_char(&l->equals, ']');
}

// ---- cursors ------------------------------------------------------------------------------------------
// A cursor is the database key of the entry that was looked at last, which may be of a record that the
// caller may not see, with the values of its index. So it is sealed, for this list of this institution.

#define NONCE crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG crypto_aead_xchacha20poly1305_ietf_ABYTES

static void cursor_key(const struct listing *l, uint8_t key[32], struct hm_buf *list) {
    crypto_generichash(key, 32, (const unsigned char *)"cursor", 6, l->call->engine->master_key,
                       sizeof l->call->engine->master_key);
    hm_buf_text(list, l->call->institution->id);
    hm_buf_char(list, 0);
    hm_buf_str(list, l->range.low);
    hm_buf_char(list, 0);
    hm_buf_str(list, l->range.high);
}

static void put_cursor(const struct listing *l, struct hm_buf *out, struct hm_str at) {
    struct hm_buf list = {0}, bytes = {0};
    uint8_t key[32];
    size_t len = NONCE + at.len + TAG, cap = sodium_base64_encoded_len(len, CURSOR_VARIANT);
    cursor_key(l, key, &list);
    hm_buf_reserve(&bytes, len);
    unsigned char *nonce = (unsigned char *)bytes.data;
    randombytes_buf(nonce, NONCE);
    crypto_aead_xchacha20poly1305_ietf_encrypt(nonce + NONCE, NULL, (const unsigned char *)at.ptr, at.len,
                                               (const unsigned char *)list.data, list.len, NULL, nonce, key);
    hm_buf_char(out, '"');
    hm_buf_reserve(out, cap);
    sodium_bin2base64(out->data + out->len, cap, nonce, len, CURSOR_VARIANT);
    out->len += cap - 1;
    hm_buf_char(out, '"');
    sodium_memzero(key, sizeof key);
    hm_buf_free(&list);
    hm_buf_free(&bytes);
}

// It has been in somebody else's hands.
static bool open_cursor(struct listing *l, struct hm_str text) {
    struct hm_buf list = {0}, bytes = {0};
    uint8_t key[32];
    size_t len = 0;
    if (text.len > CURSOR_MAX) return false;
    hm_buf_reserve(&bytes, text.len);
    hm_buf_reserve(&l->after, text.len);
    unsigned char *nonce = (unsigned char *)bytes.data;
    cursor_key(l, key, &list);
    bool ok = sodium_base642bin(nonce, text.len, text.ptr, text.len, NULL, &len, NULL, CURSOR_VARIANT) == 0 &&
              len > NONCE + TAG &&
              crypto_aead_xchacha20poly1305_ietf_decrypt(
                  (unsigned char *)l->after.data, NULL, NULL, nonce + NONCE, len - NONCE,
                  (const unsigned char *)list.data, list.len, nonce, key) == 0;
    l->after.len = ok ? len - NONCE - TAG : 0;
    struct hm_str at = hm_buf_view(&l->after);
    ok = ok && hm_str_cmp(at, l->range.low) >= 0 && hm_str_cmp(at, l->range.high) < 0;
    sodium_memzero(key, sizeof key);
    hm_buf_free(&list);
    hm_buf_free(&bytes);
    return ok;
}

static bool cursor_of(struct listing *l) {
    struct hm_buf text = {0};
    hm_arg_buf(l->call, "cursor", &text);
    bool ok = !text.len || open_cursor(l, hm_buf_view(&text));
    hm_buf_free(&text);
    return ok || bad(l, "cursor", "is not a cursor of this list");
}

// False: the call has been answered.
static bool prepare(struct listing *l, const char *type_name, const char *index_name, struct hm_json equals) {
    struct call *call = l->call;
    const struct hm_index *index = NULL;
    struct hm_json from = {0}, to = {0};
    struct hm_error err = {0};
    char order[8];
    l->types = hm_store_types(call->institution->store);
    l->type = hm_types_find(l->types, hm_str_of(type_name));
    if (!l->type || l->type->hidden) return bad(l, "type", "is no type of record");
    if (index_name[0] && !(index = hm_type_index(l->type, hm_str_of(index_name))))
        return bad(l, "index", "is no index of this type");
    if (hm_arg_text(call, "order", order, sizeof order)) {
        l->descending = strcmp(order, "desc") == 0;
        if (!l->descending && strcmp(order, "asc") != 0) return bad(l, "order", "must be asc or desc");
    }
    l->limit = hm_arg_int(call, "limit", LIMIT_DEFAULT);
    if (l->limit < 1 || l->limit > LIMIT_MAX) return bad(l, "limit", "must be 1 to 500");
    if (equals.raw.len && equals.kind != HM_JSON_NULL)
        equals_of(l, equals);
    else
        hm_buf_text(&l->equals, "[]");
    if (!hm_json_get(call->params, "from", &from) || from.kind == HM_JSON_NULL) from.raw.len = 0;
    if (!hm_json_get(call->params, "to", &to) || to.kind == HM_JSON_NULL) to.raw.len = 0;
    if (!hm_range_make(l->type, index, (struct hm_json){HM_JSON_ARRAY, hm_buf_view(&l->equals)}, from, to,
                       &l->range, &err)) {
        hm_call_fail_error(call, &err);
        return false;
    }
    return cursor_of(l);
}

// Walks at most SCAN_MAX entries. *more: there may be others behind the scan's key.
static int64_t walk(struct listing *l, struct hm_scan *scan, struct hm_buf *out, bool *more) {
    struct hm_record record;
    int64_t taken = 0;
    *more = false;
    for (size_t looked = 0; hm_scan_next(scan, &record); looked++) {
        if (may_read(l->call, &record)) {
            taken++;
            if (!l->counting) {
                if (taken > 1) hm_buf_char(out, ',');
                hm_buf_str(out, record.json);
            }
        }
        *more = looked + 1 >= SCAN_MAX || (!l->counting && (taken >= l->limit || out->len > ANSWER_MAX));
        if (*more) break;
    }
    return taken;
}

static void answer_list(struct listing *l) {
    struct call *call = l->call;
    struct hm_scan *scan = NULL;
    struct hm_buf out = {0};
    struct hm_error err = {0};
    bool more = false;
    if (!hm_read_begin(call->institution->store, &l->read, &err)) goto failed;
    if (!hm_scan_begin(l->read, &l->range, l->descending, hm_buf_view(&l->after), &scan, &err)) goto failed;
    hm_buf_text(&out, l->counting ? "{" : "{\"items\":[");
    int64_t taken = walk(l, scan, &out, &more);
    if (!l->counting) hm_buf_char(&out, ']');
    if (l->counting) hm_json_member_int(&out, "count", taken);
    hm_json_key(&out, "cursor");
    if (more)
        put_cursor(l, &out, hm_scan_key(scan));
    else
        hm_buf_text(&out, "null");
    hm_json_member_str(&out, "epoch", hm_str_of(hm_store_epoch(call->institution->store)));
    hm_json_member_int(&out, "seq", (int64_t)hm_read_seq(l->read));
    hm_buf_char(&out, '}');
    hm_scan_end(scan);
    hm_read_end(l->read);
    hm_call_ok(call, hm_buf_view(&out));
    hm_buf_free(&out);
    return;
failed:
    if (l->read) hm_read_end(l->read);
    hm_call_fail_error(call, &err);
    hm_buf_free(&out);
}

static void list(struct call *call, const char *type, const char *index, struct hm_json equals,
                 bool descending, bool counting) {
    struct listing l = {.call = call, .descending = descending, .counting = counting};
    if (prepare(&l, type, index, equals)) answer_list(&l);
    hm_types_unref(l.types);
    hm_range_free(&l.range);
    hm_buf_free(&l.equals);
    hm_buf_free(&l.after);
}

void hm_record_list(struct call *call, const char *type, const char *index, struct hm_str equals_json,
                    bool descending) {
    list(call, type, index, (struct hm_json){HM_JSON_ARRAY, equals_json}, descending, false);
}

static void by_params(struct call *call, bool counting) {
    char type[HM_NAME_MAX + 1], index[HM_NAME_MAX + 1];
    struct hm_json equals = {0};
    hm_arg_text(call, "type", type, sizeof type);
    hm_arg_text(call, "index", index, sizeof index);
    hm_json_get(call->params, "equals", &equals);
    list(call, type, index, equals, false, counting);
}

static void record_list(struct call *call) {
    by_params(call, false);
}

static void record_count(struct call *call) {
    by_params(call, true);
}

static const struct core_method rows[] = {
    {"record.get", ACCESS_SIGNED_IN, "type:text! id:text! why:text",
     "One record. Sealed fields are opened, which is written to the audit.", record_get},
    {"record.list", ACCESS_SIGNED_IN,
     "type:text! index:text equals:any from:any to:any order:text limit:int cursor:long",
     "Records of a type that the caller may see, by id or by an index; cursor continues.", record_list},
    {"record.count", ACCESS_SIGNED_IN,
     "type:text! index:text equals:any from:any to:any order:text cursor:long",
     "How many such records the caller may see; cursor is set when there may be more than were looked at.",
     record_count},
};
const struct core_table hm_methods_record = {rows, sizeof rows / sizeof *rows};
