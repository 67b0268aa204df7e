// How records and changes lie in the database: a few little-endian fields, then the envelope as JSON that is
// sent as it is. Reading them never parses JSON and never trusts a length. Pure functions, any thread.
#include "store/internal.h"
#include <assert.h>
#include <sodium.h>

#define RECORD_FORMAT 1
#define ENTRY_FORMAT 2
#define ENTRY_FORMAT_OLD 1 // without `previous`; as stores before it have them
#define FORMED 0x80        // beside the format: the form stands at the end; without it, it is 1

void hm_envelope(const struct hm_record *r, struct hm_buf *out, size_t *data_at) {
    hm_buf_reserve(out, r->data.len + r->audience.len * 2 + r->members.len * 2 + 256);
    hm_buf_text(out, "{\"type\":");
    hm_json_put_str(out, r->type);
    hm_buf_text(out, ",\"id\":");
    hm_json_put_str(out, r->id);
    hm_buf_printf(out, ",\"version\":%llu,\"created\":%lld,\"updated\":%lld,\"by\":",
                  (unsigned long long)r->version, (long long)r->created_ms, (long long)r->updated_ms);
    if (r->by.len) {
        hm_json_put_str(out, r->by);
    } else {
        hm_buf_text(out, "null");
    }
    hm_buf_text(out, ",\"audience\":");
    hm_packed_json(r->audience, out);
    hm_buf_text(out, ",\"members\":");
    hm_packed_json(r->members, out);
    hm_buf_text(out, ",\"data\":");
    *data_at = out->len;
    hm_buf_str(out, r->data);
    hm_buf_char(out, '}');
}

void hm_record_encode(const struct hm_record *r, struct hm_buf *out) {
    assert(r->data.ptr >= r->json.ptr && r->data.ptr + r->data.len <= r->json.ptr + r->json.len);
    hm_buf_reserve(out, r->json.len + r->sealed.len + r->audience.len + r->members.len + 320);
    hm_put_u8(out, r->form > 1 ? RECORD_FORMAT | FORMED : RECORD_FORMAT);
    hm_put_u64(out, r->version);
    hm_put_u64(out, (uint64_t)r->created_ms);
    hm_put_u64(out, (uint64_t)r->updated_ms);
    hm_put_u32(out, (uint32_t)(r->data.ptr - r->json.ptr));
    hm_put_u32(out, (uint32_t)r->data.len);
    hm_put_str(out, r->type);
    hm_put_str(out, r->id);
    hm_put_str(out, r->by);
    hm_put_str(out, r->audience);
    hm_put_str(out, r->members);
    hm_put_str(out, r->sealed);
    hm_put_str(out, r->json);
    if (r->form > 1) hm_put_u32(out, r->form);
}

bool hm_record_decode(struct hm_str bytes, struct hm_record *out) {
    struct hm_reader in = hm_reader_of(bytes);
    unsigned format = hm_get_u8(&in);
    bool known = (format & ~(unsigned)FORMED) == RECORD_FORMAT;
    out->version = hm_get_u64(&in);
    out->created_ms = (int64_t)hm_get_u64(&in);
    out->updated_ms = (int64_t)hm_get_u64(&in);
    size_t data_at = hm_get_u32(&in), data_len = hm_get_u32(&in);
    out->type = hm_get_str(&in);
    out->id = hm_get_str(&in);
    out->by = hm_get_str(&in);
    out->audience = hm_get_str(&in);
    out->members = hm_get_str(&in);
    out->sealed = hm_get_str(&in);
    out->json = hm_get_str(&in);
    out->form = format & FORMED ? hm_get_u32(&in) : 1;
    out->data = (struct hm_str){0};
    if (!known || in.bad || in.at != in.end) return false;
    if (data_at > out->json.len || data_len > out->json.len - data_at) return false;
    out->data = (struct hm_str){out->json.ptr + data_at, data_len};
    return true;
}

void hm_entry_encode(const struct hm_entry *e, struct hm_buf *out) {
    const struct hm_change *c = &e->change;
    hm_buf_reserve(out, c->json.len + e->sealed.len + e->members.len + c->audience.len + c->lost.len + 400);
    hm_put_u8(out, (uint8_t)((e->old_format ? ENTRY_FORMAT_OLD : ENTRY_FORMAT) | (e->form > 1 ? FORMED : 0)));
    hm_put_u8(out, (uint8_t)c->action);
    hm_put_u64(out, c->seq);
    hm_put_u64(out, c->commit);
    if (!e->old_format) hm_put_u64(out, c->previous);
    hm_put_u64(out, (uint64_t)c->time_ms);
    hm_put_str(out, c->by);
    hm_put_str(out, c->method);
    hm_put_str(out, c->type);
    hm_put_str(out, c->id);
    hm_put_str(out, c->audience);
    hm_put_str(out, c->lost);
    hm_put_str(out, e->members);
    hm_put_str(out, e->sealed);
    hm_put_str(out, c->json);
    if (e->form > 1) hm_put_u32(out, e->form);
}

bool hm_entry_decode(struct hm_str bytes, struct hm_entry *out) {
    struct hm_reader in = hm_reader_of(bytes);
    struct hm_change *c = &out->change;
    unsigned said = hm_get_u8(&in), format = said & ~(unsigned)FORMED, action = hm_get_u8(&in);
    out->old_format = format == ENTRY_FORMAT_OLD;
    c->action = (enum hm_action)action;
    c->seq = hm_get_u64(&in);
    c->commit = hm_get_u64(&in);
    c->previous = out->old_format ? 0 : hm_get_u64(&in);
    c->time_ms = (int64_t)hm_get_u64(&in);
    c->by = hm_get_str(&in);
    c->method = hm_get_str(&in);
    c->type = hm_get_str(&in);
    c->id = hm_get_str(&in);
    c->audience = hm_get_str(&in);
    c->lost = hm_get_str(&in);
    out->members = hm_get_str(&in);
    out->sealed = hm_get_str(&in);
    c->json = hm_get_str(&in);
    out->form = said & FORMED ? hm_get_u32(&in) : 1;
    return (out->old_format || format == ENTRY_FORMAT) && !in.bad && in.at == in.end &&
           action >= HM_CREATED && action <= HM_DELETED;
}

void hm_chain(const uint8_t previous[HM_HASH], struct hm_str entry, uint8_t next[HM_HASH]) {
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, HM_HASH);
    crypto_generichash_update(&state, previous, HM_HASH);
    crypto_generichash_update(&state, (const uint8_t *)entry.ptr, entry.len);
    crypto_generichash_final(&state, next, HM_HASH);
}

void hm_log_key(uint64_t seq, uint8_t key[8]) {
    for (int i = 0; i < 8; i++)
        key[i] = (uint8_t)(seq >> (56 - 8 * i));
}

void hm_change_hide(const struct hm_types *types, struct hm_change *change) {
    const struct hm_type *type = hm_types_find(types, change->type);
    if (type && type->hidden) change->audience = change->lost = (struct hm_str){0};
}

bool hm_sealed_find(struct hm_str sealed, struct hm_str field, struct hm_str *ciphertext) {
    struct hm_reader in = hm_reader_of(sealed);
    while (!in.bad && in.at < in.end) {
        struct hm_str name = hm_get_str(&in), text = hm_get_str(&in);
        if (!in.bad && hm_str_eq(name, field)) {
            *ciphertext = text;
            return true;
        }
    }
    return false;
}
