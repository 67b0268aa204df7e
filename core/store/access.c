// Principals and audiences. Everything here is immutable after it is made and safe on any thread.
#include "store/access.h"
#include "base/json.h"
#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

struct hm_principals {
    atomic_uint refs;
    size_t count;
    struct hm_str *names; // sorted, no name twice; their bytes follow in the same allocation
};

static const struct hm_str public_name = {"public", 6};

static int by_name(const void *a, const void *b) {
    return hm_str_cmp(*(const struct hm_str *)a, *(const struct hm_str *)b);
}

struct hm_principals *hm_principals_new(const struct hm_str *names, size_t count) {
    size_t bytes = public_name.len;
    for (size_t i = 0; i < count; i++)
        bytes += names[i].len;
    struct hm_principals *p = hm_alloc(sizeof *p);
    atomic_init(&p->refs, 1);
    size_t table = (count + 1) * sizeof(struct hm_str);
    p->names = hm_alloc(table + bytes);
    char *at = (char *)p->names + table;
    for (size_t i = 0; i <= count; i++) {
        struct hm_str name = i < count ? names[i] : public_name;
        if (name.len) memcpy(at, name.ptr, name.len);
        p->names[i] = (struct hm_str){at, name.len};
        at += name.len;
    }
    qsort(p->names, count + 1, sizeof *p->names, by_name);
    for (size_t i = 0; i <= count; i++)
        if (i == 0 || !hm_str_eq(p->names[i], p->names[p->count - 1])) p->names[p->count++] = p->names[i];
    return p;
}

struct hm_principals *hm_principals_ref(struct hm_principals *p) {
    if (p) atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

void hm_principals_unref(struct hm_principals *p) {
    if (!p || atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1) return;
    free(p->names);
    free(p);
}

size_t hm_principals_count(const struct hm_principals *p) {
    return p->count;
}

struct hm_str hm_principals_at(const struct hm_principals *p, size_t i) {
    assert(i < p->count);
    return p->names[i];
}

bool hm_principals_has(const struct hm_principals *p, struct hm_str name) {
    if (!p) return hm_str_eq(name, public_name);
    return bsearch(&name, p->names, p->count, sizeof name, by_name) != NULL;
}

void hm_principals_json(const struct hm_principals *p, struct hm_buf *out) {
    hm_buf_char(out, '[');
    for (size_t i = 0; i < p->count; i++) {
        if (i) hm_buf_char(out, ',');
        hm_json_put_str(out, p->names[i]);
    }
    hm_buf_char(out, ']');
}

bool hm_packed_next(struct hm_str *rest, struct hm_str *item) {
    if (rest->len < 2) return false;
    const uint8_t *at = (const uint8_t *)rest->ptr;
    size_t len = (size_t)at[0] | (size_t)at[1] << 8;
    if (rest->len - 2 < len) return false;
    *item = (struct hm_str){rest->ptr + 2, len};
    *rest = (struct hm_str){rest->ptr + 2 + len, rest->len - 2 - len};
    return true;
}

void hm_packed_add(struct hm_buf *out, struct hm_str item) {
    assert(item.len <= UINT16_MAX);
    const uint8_t len[2] = {(uint8_t)(item.len & 0xff), (uint8_t)(item.len >> 8)};
    hm_buf_add(out, len, 2);
    hm_buf_str(out, item);
}

void hm_packed_json(struct hm_str packed, struct hm_buf *out) {
    struct hm_str item;
    bool first = true;
    hm_buf_char(out, '[');
    while (hm_packed_next(&packed, &item)) {
        if (!first) hm_buf_char(out, ',');
        first = false;
        hm_json_put_str(out, item);
    }
    hm_buf_char(out, ']');
}

bool hm_access_meets(const struct hm_principals *p, struct hm_str audience) {
    struct hm_str item;
    while (hm_packed_next(&audience, &item))
        if (hm_principals_has(p, item)) return true;
    return false;
}
