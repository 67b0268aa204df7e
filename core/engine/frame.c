// Reading what a worker sends with a result, as if an enemy had sent it: every length, every JSON text,
// every name. What always holds: an intent that leaves here names a type that exists and that a plugin
// may write.
#include "base/wire.h"
#include "engine/internal.h"

#include <stdlib.h>

#define SEEN_BYTES_MIN                                                                                       \
    10u // the shortest form of each, so that a count cannot make us allocate more than was sent
#define INTENT_BYTES_MIN 29u

// That it can be walked; what may be in it the store says, so that a plugin's mistake gives its author an
// error.
static bool packed_valid(struct hm_str packed) {
    size_t at = 0;
    while (at < packed.len) {
        if (packed.len - at < 2) return false;
        const unsigned char *p = (const unsigned char *)packed.ptr + at;
        size_t len = (size_t)p[0] | (size_t)p[1] << 8;
        at += 2;
        if (len > packed.len - at) return false;
        at += len;
    }
    return true;
}

static bool read_seen(struct hm_reader *r, struct hm_seen *seen) {
    uint8_t space = hm_get_u8(r);
    if (space == 0xff) {
        seen->type = hm_get_str(r);
        seen->id = hm_get_str(r);
        seen->version = hm_get_u64(r);
        return !r->bad && seen->type.len <= HM_NAME_MAX && seen->id.len <= HM_ID_MAX;
    }
    if (space > HM_SPACE_MEM) return false;
    seen->space = (enum hm_space)space;
    seen->low = hm_get_str(r);
    seen->high = hm_get_str(r);
    return !r->bad && seen->high.len > 0;
}

// A hostile worker must not make itself an account: of the core's types only an invitation, an award, a
// notification and an event for a webhook may be written, and the caller of this file looks at each of these
// again.
static bool may_write(struct hm_types *types, struct hm_str name) {
    const struct hm_type *type = hm_types_find(types, name);
    return !type || !type->core || hm_str_eq(name, HM_LIT("invitation")) ||
           hm_str_eq(name, HM_LIT("award")) || hm_str_eq(name, HM_LIT("notification")) ||
           hm_str_eq(name, HM_LIT("outgoing"));
}

static bool read_intent(struct hm_reader *r, struct hm_types *types, struct hm_intent *intent) {
    struct hm_json data;
    uint8_t remove = hm_get_u8(r);
    intent->remove = remove == 1;
    intent->type = hm_get_str(r);
    intent->id = hm_get_str(r);
    intent->expect = hm_get_u64(r);
    intent->data = hm_get_str(r);
    intent->audience = hm_get_str(r);
    intent->members = hm_get_str(r);
    if (r->bad || remove > 1 || !hm_name_valid(intent->type) || !hm_id_valid(intent->id)) return false;
    if (!may_write(types, intent->type)) return false;
    if (!packed_valid(intent->audience) || !packed_valid(intent->members)) return false;
    if (intent->remove) return true;
    return hm_json_parse(intent->data, &data, NULL) && data.kind == HM_JSON_OBJECT;
}

bool hm_frame_result(struct hm_str payload, struct hm_types *types, struct parsed_result *out) {
    struct hm_reader r = hm_reader_of(payload);
    struct hm_json result;
    memset(out, 0, sizeof *out);
    out->result = hm_get_str(&r);
    out->snapshot = hm_get_u64(&r);
    out->flags = hm_get_u8(&r);
    if (r.bad || !hm_json_parse(out->result, &result, NULL)) return false;
    out->result = result.raw;

    out->seen_count = hm_get_u32(&r);
    if (r.bad || out->seen_count > (size_t)(r.end - r.at) / SEEN_BYTES_MIN) goto bad;
    if (out->seen_count) out->seen = hm_alloc_array(out->seen_count, sizeof *out->seen);
    for (size_t i = 0; i < out->seen_count; i++)
        if (!read_seen(&r, &out->seen[i])) goto bad;

    out->intent_count = hm_get_u32(&r);
    if (r.bad || out->intent_count > INTENTS_MAX ||
        out->intent_count > (size_t)(r.end - r.at) / INTENT_BYTES_MIN)
        goto bad;
    if (out->intent_count) out->intents = hm_alloc_array(out->intent_count, sizeof *out->intents);
    for (size_t i = 0; i < out->intent_count; i++)
        if (!read_intent(&r, types, &out->intents[i])) goto bad;
    if (r.bad || r.at != r.end) goto bad;
    return true;
bad:
    free(out->seen);
    free(out->intents);
    memset(out, 0, sizeof *out);
    return false;
}
