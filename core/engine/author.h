// What authors of plugins are given: the lines that plugins log, trying a plugin on real data without effect,
// and recordings of calls that can be run again. Loop thread. What always holds: nothing of it changes a
// record of the institution but recordings and the audit, and all of it is for administrators only.
#pragma once
#include "engine/internal.h"

struct author; // of one institution; made when it is first needed
struct tape;   // what is being recorded of one call
struct trying; // a call that is made in a worker of its own, without effect
void hm_author_close(struct institution *inst);
// Somebody has been erased: what may name them is gone from memory, and with this item from the store.
void hm_author_forget(struct commit_item *item);

// ---- what plugins say (plugin_log.c)
// -------------------------------------------------------------------------------------------
struct plugin_line {
    int level; // enum hm_level
    struct hm_str kind, id, version, file, method, text;
    int64_t line; // 0: not known
};
void hm_plugin_line(struct institution *inst, const struct plugin_line *line);
// The errors of plugins that do not load: JSON array of {"plugin","file","line","message"}.
void hm_plugin_lines_refused(struct institution *inst, struct hm_str errors);
const char *hm_kind_name(const char *word); // "service" for "service" or "services", else ""
// "matcher" of "matchers/x.lua"; "" for what lies in no folder of a kind.
const char *hm_plugin_kind_of_file(struct hm_str file);
bool hm_cat_kind(const struct catalogue *cat, struct hm_str id, struct hm_str version,
                 char out[HM_NAME_MAX + 1]);
struct author_log;
void hm_author_log_free(struct author_log *log);
void hm_author_log_clear(struct author_log *log);

// What a candidate that loads may still be told: names that nothing has, translations that are missing. JSON
// array of {"plugin","file","line","column"?,"message"}.
void hm_plugin_warnings(const struct trial *trial, const char *kind, const char *id, struct hm_buf *out);

// ---- trying (plugin_try.c)
// ------------------------------------------------------------------------------------------------------
// A call with call->trying: its worker has ended, or has answered. What it answers is never committed.
void hm_trying_result(struct call *call, const struct parsed_result *result);
void hm_trying_closes(struct institution *inst); // those that wait for their worker are answered
// Whether whoever asked for the try may see the record, too: else its sealed fields stay closed.
bool hm_trying_sees(const struct call *call, struct hm_str audience);

// Somebody as a caller, without a session (pose.c): the JSON that a worker is told, and their principals.
bool hm_pose(struct institution *inst, const char *person, struct hm_buf *json, struct hm_principals **out,
             struct hm_error *err);
struct hm_principals *hm_principals_of_packed(struct hm_str packed);

// ---- recordings (tape.c, recording.c)
// -------------------------------------------------------------------------------------------------
struct taped { // a recording as it was opened; texts belong to box
    struct hm_buf box;
    struct hm_json root;
    char id[37], kind[HM_NAME_MAX + 1], plugin[HM_NAME_MAX + 1];
    bool sealed; // the call opened or wrote sealed fields, or may have meant to
};
bool hm_taped_open(struct institution *inst, const char *id, struct taped *out, struct hm_error *err);
void hm_taped_close(struct taped *taped);
void hm_tape_begin(struct call *call); // it goes to a worker: is it to be recorded?
void hm_tape_result(struct call *call, const struct parsed_result *result);   // what it meant to write
void hm_tape_sealed(struct call *call);                                       // it opens something sealed
void hm_tape_error(struct call *call, enum hm_code code, struct hm_str data); // as its worker says it
void hm_tape_end(struct call *call, const struct hm_answer *answer);          // writes and frees the tape
void hm_tape_drop(struct call *call);                                         // frees it
// Intents as JSON [{"type","id","action","data","audience","members"}, …], sorted by type and id.
void hm_intents_json(const struct parsed_result *result, struct hm_buf *out);
// Where two values differ: appends {"path","was","is"}, at most `most` of them; returns how many there are.
// hidden: no values, only places.
unsigned hm_json_differences(struct hm_json was, struct hm_json is, bool hidden, unsigned most,
                             struct hm_buf *out);
struct author_tapes;
void hm_author_tapes_free(struct author_tapes *tapes);
void hm_author_tapes_forget(struct author_tapes *tapes);
void hm_recordings_forget(struct commit_item *item);

// ---- the institution's part
// -----------------------------------------------------------------------------------------------------
struct author {
    struct author_log *log;
    struct author_tapes *tapes;
    struct trying *trying; // under way
    unsigned trying_count;
};
struct author *hm_author_of(struct institution *inst);
