// What a worker sends, read by the server as if an enemy had sent it: a result either is refused, or every
// part of it lies inside the payload, names types that a plugin may write, and holds JSON. The first byte
// tells: a result, or a catalogue.
#include "engine/internal.h"
#include <stdlib.h>

static void inside(struct hm_str part, const uint8_t *data, size_t size) {
    const char *from = (const char *)data;
    if (part.len && (part.ptr < from || part.ptr + part.len > from + size)) abort();
}

static void read_result(const uint8_t *data, size_t size) {
    static struct hm_types *types;
    struct parsed_result r;
    struct hm_json json;
    if (!types && !hm_types_parse(HM_LIT("[{\"name\":\"note\",\"key\":\"natural\"},{\"name\":\"secret\","
                                         "\"key\":\"uuid\",\"about\":\"person\","
                                         "\"sealed\":[\"answers\"]}]"),
                                  &types, NULL))
        abort();
    if (!hm_frame_result((struct hm_str){(const char *)data, size}, types, &r)) return;
    inside(r.result, data, size);
    if (!hm_json_parse(r.result, &json, NULL)) abort();
    for (size_t i = 0; i < r.seen_count; i++) {
        inside(r.seen[i].type, data, size);
        inside(r.seen[i].low, data, size);
        inside(r.seen[i].high, data, size);
    }
    for (size_t i = 0; i < r.intent_count; i++) {
        const struct hm_intent *n = &r.intents[i];
        const struct hm_type *type = hm_types_find(types, n->type);
        inside(n->data, data, size);
        inside(n->audience, data, size);
        if (type && type->core && !hm_str_eq(n->type, HM_LIT("invitation"))) abort();
        if (!n->remove && (!hm_json_parse(n->data, &json, NULL) || json.kind != HM_JSON_OBJECT)) abort();
    }
    free(r.seen);
    free(r.intents);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct catalogue *catalogue = NULL;
    struct hm_error err = {0};
    if (!size) return 0;
    if (data[0] & 1) {
        if (hm_cat_parse((struct hm_str){(const char *)data + 1, size - 1}, &catalogue, &err))
            hm_cat_unref(catalogue);
    } else {
        // A copy of just this size, so that a step past its end is seen.
        uint8_t *copy = malloc(size - 1 ? size - 1 : 1);
        if (!copy) abort();
        memcpy(copy, data + 1, size - 1);
        read_result(copy, size - 1);
        free(copy);
    }
    return 0;
}
