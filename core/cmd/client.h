// A command's way to the engine: the control socket of a data folder. When the folder is not being served, a
// server without network (`hamroh serve --control-only`) is started for the time of the command, so that one
// engine serves both cases.
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include "base/json.h"
#include <sys/types.h>

struct hm_client;
bool hm_client_open(const char *data_dir, struct hm_client **out, struct hm_error *err);
void hm_client_close(struct hm_client *client); // stops the server if it was started for us
// One call as the administrator of `institution` (may be NULL) or, with token, as that session. On success
// `result` gets the JSON text. On failure err has the code and message, and `result` the error's data (JSON
// object) or nothing.
bool hm_client_call(struct hm_client *client, const char *institution, const char *token, const char *method,
                    struct hm_str params, struct hm_buf *result, struct hm_error *err);
// Waits until a job has ended, with a progress line on stderr when that is a terminal. result gets the job's
// data.
bool hm_client_job(struct hm_client *client, const char *institution, struct hm_str job,
                   struct hm_buf *result, struct hm_error *err);
// Prints an error of a call for people, with what its data says (errors of parameters, plugin file and line).
void hm_client_complain(const char *command, const struct hm_error *err, struct hm_str data);
