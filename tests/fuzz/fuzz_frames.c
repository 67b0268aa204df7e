// A worker's side of the socket: any bytes are either frames, whose fields are read without going past their
// end, or an error.
#include "script/frames.h"
#include "script/host.h"
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void read_fields(struct hm_frame_in *f) {
    struct hm_reader *r = &f->rest;
    const char *begin = r->at;
    switch (f->kind) {
    case HM_F_CALL:
        for (int i = 0; i < 3; i++)
            hm_get_str(r);
        hm_get_u64(r);
        hm_get_str(r);
        hm_get_u32(r);
        hm_get_u64(r);
        hm_get_u8(r);
        break;
    case HM_F_UNSEALED:
        hm_get_u8(r);
        hm_get_str(r);
        break;
    default:
        hm_get_str(r);
    }
    if (r->at < begin || r->at > r->end) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int pair[2];
    struct hm_frame_in frame;
    struct hm_error err = {0};
    if (size > 60000 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) return 0;
    if (size && write(pair[0], data, size) != (ssize_t)size) abort();
    shutdown(pair[0], SHUT_WR);
    struct hm_channel *c = hm_channel_new(pair[1]);
    // Every third frame one waits for a certain one, which takes it out of the middle.
    for (int i = 0;; i++) {
        bool more = i % 3 == 2 ? hm_channel_wait_for(c, HM_F_UNSEALED, 1, &frame, &err)
                               : hm_channel_next(c, &frame, &err);
        if (!more) break;
        read_fields(&frame);
    }
    hm_channel_free(c);
    close(pair[0]);
    close(pair[1]);
    return 0;
}
