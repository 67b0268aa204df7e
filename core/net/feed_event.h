// One change as a frame: made at most twice (with its record, or as "deleted" for who lost sight of it),
// whoever many receive it. Loop thread only.
#pragma once
#include "net/out.h"
#include "store/store.h"

struct hm_event {
    const struct hm_change *change;
    // Of a change of the past that left a record: who may see the record now (empty: nobody, or it is gone).
    // Who may not any more is told that it is gone, and gets no contents that were taken back since.
    bool past;
    struct hm_str now;
    struct hm_out *full, *gone; // owned; NULL until somebody needs them
    unsigned encodings;
};
// The frame that somebody with these principals is to get; borrowed from the event. NULL: none.
struct hm_out *hm_event_for(struct hm_event *event, const struct hm_principals *principals);
void hm_event_free(struct hm_event *event);
