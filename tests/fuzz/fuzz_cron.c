// hm_cron_parse: nothing it reads is outside of what it was given; what it takes has a next time, which is a
// last time, too, and what it refuses is refused with a reason.
#include "base/cron.h"
#include <stdlib.h>

static void require(bool holds) {
    if (!holds) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct hm_cron cron;
    struct hm_error err = {0};
    char *exact =
        malloc(size ? size : 1); // of exactly this size, so that the sanitizer sees a read past the end
    if (!exact) abort();
    if (size) memcpy(exact, data, size);
    if (hm_cron_parse((struct hm_str){exact, size}, &cron, &err)) {
        int64_t from = size > 3 ? (int64_t)data[0] << 20 | (int64_t)data[1] << 10 | data[2] : 0;
        int64_t next = hm_cron_next(&cron, from);
        require(next > from && hm_cron_last(&cron, next) == next && hm_cron_last(&cron, next - 1) <= from);
    } else {
        require(err.code == HM_PARAMS && err.message[0]);
    }
    free(exact);
    return 0;
}
