// Little-endian fields in buffers. The loops over bytes compile to one move on little-endian machines. Any
// thread.
#include "base/wire.h"
#include <assert.h>

static void put_le(struct hm_buf *b, uint64_t v, unsigned bytes) {
    unsigned char raw[8];
    for (unsigned i = 0; i < bytes; i++)
        raw[i] = (unsigned char)(v >> (8 * i));
    hm_buf_add(b, raw, bytes);
}

void hm_put_u8(struct hm_buf *b, uint8_t v) {
    hm_buf_char(b, (char)v);
}
void hm_put_u32(struct hm_buf *b, uint32_t v) {
    put_le(b, v, 4);
}
void hm_put_u64(struct hm_buf *b, uint64_t v) {
    put_le(b, v, 8);
}

void hm_put_f64(struct hm_buf *b, double v) {
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    put_le(b, bits, 8);
}

void hm_put_str(struct hm_buf *b, struct hm_str s) {
    assert(s.len <= UINT32_MAX);
    hm_put_u32(b, (uint32_t)s.len);
    hm_buf_str(b, s);
}

static uint64_t get_le(struct hm_reader *r, unsigned bytes) {
    if (r->bad || (size_t)(r->end - r->at) < bytes) {
        r->bad = true;
        return 0;
    }
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v |= (uint64_t)(unsigned char)r->at[i] << (8 * i);
    r->at += bytes;
    return v;
}

uint8_t hm_get_u8(struct hm_reader *r) {
    return (uint8_t)get_le(r, 1);
}
uint32_t hm_get_u32(struct hm_reader *r) {
    return (uint32_t)get_le(r, 4);
}
uint64_t hm_get_u64(struct hm_reader *r) {
    return get_le(r, 8);
}

double hm_get_f64(struct hm_reader *r) {
    uint64_t bits = get_le(r, 8);
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

struct hm_str hm_get_str(struct hm_reader *r) {
    uint32_t len = hm_get_u32(r);
    if (r->bad || (size_t)(r->end - r->at) < len) {
        r->bad = true;
        return (struct hm_str){0};
    }
    struct hm_str s = {r->at, len};
    r->at += len;
    return s;
}
