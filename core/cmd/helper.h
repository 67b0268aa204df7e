// The short-lived server behind a command when nobody serves the data folder: `hamroh serve --control-only`
// as a child, by fork and exec before anything else is open. What it logs is kept and shown only when it ends
// badly.
#pragma once
#include "base/error.h"
#include <sys/types.h>

struct hm_helper {
    pid_t pid;  // 0: none
    int log_fd; // what it writes to stderr, or -1
    int status; // as waitpid gave it, once it has ended
};
void hm_helper_init(struct hm_helper *helper);
bool hm_helper_start(struct hm_helper *helper, const char *data_dir, struct hm_error *err);
bool hm_helper_ended(struct hm_helper *helper);                      // by itself; false when there is none
void hm_helper_words(const struct hm_helper *helper, char out[400]); // the last line it wrote
bool hm_helper_outrun(const struct hm_helper *helper); // it ended because another server has the folder
void hm_helper_stop(struct hm_helper *helper);         // SIGTERM, waits, says so if it ended badly
