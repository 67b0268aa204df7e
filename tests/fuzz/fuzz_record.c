// Decoding of stored records and log entries from any bytes: nothing outside them is touched, what is given
// out lies inside them, and what decodes is encoded to the same bytes again. The first byte chooses the form.
#include "store/internal.h"
#include <stdlib.h>

static struct hm_str whole;

static void inside(struct hm_str s) {
    if (s.len && (s.ptr < whole.ptr || s.ptr + s.len > whole.ptr + whole.len)) abort();
}

static void packed(struct hm_str list) {
    struct hm_str item;
    struct hm_buf json = {0};
    inside(list);
    hm_packed_json(list, &json);
    hm_access_meets(NULL, list);
    while (hm_packed_next(&list, &item))
        inside(item);
    hm_buf_free(&json);
}

static void same(const struct hm_buf *again) {
    if (!hm_str_eq(hm_buf_view(again), whole)) abort();
}

static void record(void) {
    struct hm_record r;
    struct hm_str found = {0};
    struct hm_buf again = {0};
    if (!hm_record_decode(whole, &r)) return;
    inside(r.type);
    inside(r.id);
    inside(r.by);
    inside(r.json);
    inside(r.data);
    inside(r.sealed);
    packed(r.audience);
    packed(r.members);
    if (hm_sealed_find(r.sealed, HM_LIT("answers"), &found)) inside(found);
    hm_record_encode(&r, &again);
    same(&again);
    hm_buf_free(&again);
}

static void entry(void) {
    struct hm_entry e;
    struct hm_buf again = {0};
    if (!hm_entry_decode(whole, &e)) return;
    inside(e.change.by);
    inside(e.change.method);
    inside(e.change.type);
    inside(e.change.id);
    inside(e.change.json);
    inside(e.sealed);
    packed(e.change.audience);
    packed(e.change.lost);
    packed(e.members);
    hm_entry_encode(&e, &again);
    same(&again);
    hm_buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size) return 0;
    char *exact = malloc(size); // of exactly this size, so that the sanitizer sees a read past the end
    if (!exact) abort();
    memcpy(exact, data, size);
    whole = (struct hm_str){exact + 1, size - 1};
    if (exact[0] & 1) {
        record();
    } else {
        entry();
    }
    packed(whole);
    free(exact);
    return 0;
}
