// Wire fields: a reader driven by any program of reads over any bytes stays inside them, and what it read,
// written again, is the same bytes.
#include "base/wire.h"
#include <stdlib.h>

static void require(bool holds) {
    if (!holds) abort();
}

// One read chosen by `what`, and the same value written to out.
static void step(struct hm_reader *r, unsigned what, struct hm_buf *out) {
    switch (what % 5) {
    case 0:
        hm_put_u8(out, hm_get_u8(r));
        break;
    case 1:
        hm_put_u32(out, hm_get_u32(r));
        break;
    case 2:
        hm_put_u64(out, hm_get_u64(r));
        break;
    case 3:
        hm_put_f64(out, hm_get_f64(r));
        break;
    default:
        hm_put_str(out, hm_get_str(r));
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 8) return 0;
    struct hm_str bytes = {(const char *)data + 8, size - 8};
    struct hm_reader r = hm_reader_of(bytes);
    struct hm_buf out = {0};
    for (unsigned i = 0; i < 64; i++) {
        size_t before = out.len;
        const char *at = r.at;
        step(&r, data[i % 8], &out);
        require(r.at >= bytes.ptr && r.at <= r.end && r.end == bytes.ptr + bytes.len);
        if (r.bad) {
            out.len = before;
            require(hm_get_u64(&r) == 0 && hm_get_str(&r).len == 0 && r.bad);
            break;
        }
        require((size_t)(r.at - at) == out.len - before);
    }
    require(out.len == (size_t)(r.at - bytes.ptr) || r.bad);
    require(out.len == 0 || memcmp(out.data, bytes.ptr, out.len) == 0);
    hm_buf_free(&out);
    return 0;
}
