// Structured log: one JSON line per entry on stderr. Never personal data, never contents. Any thread.
#pragma once
#include "base/buf.h"

enum hm_level { HM_DEBUG, HM_INFO, HM_WARN, HM_ERROR };
void hm_log_level(enum hm_level lowest); // default HM_INFO
// event: a short stable name such as "worker.killed"; format gives the rest as members of a JSON object
// without braces, e.g. hm_log(HM_WARN, "worker.killed", "\"institution\":\"%s\",\"ms\":%lld", id, ms). May be
// "".
void hm_log(enum hm_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
