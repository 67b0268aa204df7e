// `hamroh plugin try`, `log`, `record`, `recordings` and `replay`: what authors are shown of the methods of
// those names. One thread.
#pragma once
#include "cmd/client.h"
#include "cmd/plugin.h"

struct hm_author_work {
    struct hm_client *client;
    const char *institution;
    const char *file;      // its source is tried; NULL: what is in force
    const char *kind, *id; // "": any
    const char *recording; // replay
    const char *person;    // --as
    const char *method, *params, *answers, *programme;
    const char *level, *calls, *minutes, *limit;
    bool follow, failures, json;
};
// Each gives an exit code.
int hm_author_try(const struct hm_author_work *w);
int hm_author_log(const struct hm_author_work *w);
int hm_author_record(const struct hm_author_work *w);
int hm_author_recordings(const struct hm_author_work *w);
int hm_author_replay(const struct hm_author_work *w);
