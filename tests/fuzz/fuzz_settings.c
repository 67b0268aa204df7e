// A settings file: any text either gives settings that hold what they promise, or problems; and it always
// ends.
#include "cmd/settings.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct hm_settings settings;
    struct hm_buf problems = {0};
    hm_settings_defaults(&settings);
    bool ok =
        hm_settings_parse("settings.lua", (struct hm_str){(const char *)data, size}, &settings, &problems);
    if (ok != (problems.len == 0)) abort();
    if (ok && hm_settings_check(&settings, &problems) && settings.deadline_ms < settings.cpu_ms) abort();
    hm_buf_free(&problems);
    return 0;
}
