// Structured log: one JSON line per entry on stderr. Never personal data (names, logins, texts, tokens,
// addresses, ids of persons), never contents. Any thread.
#pragma once
#include "base/buf.h"

enum hm_level { HM_DEBUG, HM_INFO, HM_WARN, HM_ERROR };
void hm_log_level(enum hm_level lowest); // default HM_INFO
bool hm_log_on(enum hm_level level);     // whether it would be written: for what costs something to say
const char *hm_level_name(enum hm_level level);         // "debug", "info", "warn", "error"
bool hm_level_of(const char *name, enum hm_level *out); // false: no such level
// event: a short stable name such as "worker.killed"; format gives the rest as members of a JSON object
// without braces, e.g. hm_log(HM_WARN, "worker.killed", "\"institution\":\"%s\",\"ms\":%lld", id, ms). May be
// "". What may hold a quotation mark (a path, a message) is to be escaped (hm_json_put_str); else the members
// are written as one text.
void hm_log(enum hm_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
