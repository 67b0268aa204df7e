// Little-endian fields one after the other, for frames between processes and for stored values. A reader
// never goes past its end: after the first failure every further read fails and gives zeros, so one check at
// the end is enough.
#pragma once
#include "base/buf.h"

void hm_put_u8(struct hm_buf *b, uint8_t v);
void hm_put_u32(struct hm_buf *b, uint32_t v);
void hm_put_u64(struct hm_buf *b, uint64_t v);
void hm_put_f64(struct hm_buf *b, double v);
void hm_put_str(struct hm_buf *b, struct hm_str s); // u32 length, bytes

struct hm_reader {
    const char *at, *end;
    bool bad;
};
static inline struct hm_reader hm_reader_of(struct hm_str s) {
    return (struct hm_reader){s.ptr, s.ptr ? s.ptr + s.len : s.ptr, false};
}
uint8_t hm_get_u8(struct hm_reader *r);
uint32_t hm_get_u32(struct hm_reader *r);
uint64_t hm_get_u64(struct hm_reader *r);
double hm_get_f64(struct hm_reader *r);
struct hm_str hm_get_str(struct hm_reader *r); // borrowed from what is read
