// A command's way to the engine: the control socket of a data folder. When the folder is not being served, a
// server without network (`hamroh serve --control-only`) is started for the time of the command, so that one
// engine serves both cases and a command never opens a store for writing itself. One thread, one call at a
// time.
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include "base/json.h"

struct hm_client;
bool hm_client_open(const char *data_dir, struct hm_client **out, struct hm_error *err);
void hm_client_close(struct hm_client *client); // ends the server that was started, and waits for it

struct hm_call_as {
    const char *institution; // in which the administrator acts; NULL or "": the cluster
    struct hm_str token;     // act as the session of this token instead
};
// params: a JSON object or array (empty: none). The result's JSON is appended to `result`. An answer that is
// an error gives false with its code and message in err, and its data (JSON) appended to `data`; data may be
// NULL.
bool hm_client_call(struct hm_client *client, const char *method, struct hm_str params, struct hm_call_as as,
                    struct hm_buf *result, struct hm_buf *data, struct hm_error *err);
// Waits until a job ends; `job` gets its data as JSON. progress (may be NULL) is called whenever it has
// moved. A job that failed or was cancelled is no error of this function: see its "state".
bool hm_client_wait(struct hm_client *client, const char *id, struct hm_call_as as,
                    void (*progress)(void *arg, double done, struct hm_str note), void *arg,
                    struct hm_buf *job, struct hm_error *err);
// Calls a method that may answer {"job": id}; then waits for it, with a line on stderr when that is a
// terminal, and gives the job's result.
bool hm_client_do(struct hm_client *client, const char *method, struct hm_str params, struct hm_call_as as,
                  struct hm_buf *result, struct hm_buf *data, struct hm_error *err);
// Prints an error of a call for people, with what its data says (paths of parameters, file and line of a
// plugin, reason).
int hm_client_complain(const char *command, const struct hm_error *err,
                       struct hm_str data); // gives HM_EXIT_FAILED
