// What the two files of recordings share: tape.c (while a call runs) and recording.c (what is kept).
#pragma once
#include "engine/author.h"

#define ARMS_MAX 8u
#define RECORDINGS_MAX 200u // of an institution, with those that are armed

struct arm {
    char kind[HM_NAME_MAX + 1], plugin[HM_NAME_MAX + 1];
    unsigned left; // calls; 0: free
    int64_t until_ms;
    bool failures_only;
};
struct author_tapes {
    struct arm arms[ARMS_MAX];
    unsigned forgotten; // how often; a call recorded since before is not kept
    bool has_key;
    uint8_t key[32];
};

void hm_tape_arm(struct call *call); // plugin.record
void hm_tape_error_json(enum hm_code code, struct hm_str data, struct hm_buf *out);
// The key of the institution's recordings; make: when there is none yet. False: there is none, or an error.
bool hm_tape_key(struct institution *inst, bool make, struct hm_error *err);
unsigned hm_recordings_count(struct institution *inst);
void hm_recording_put(struct institution *inst, struct hm_str text); // JSON, as tape.c makes it
