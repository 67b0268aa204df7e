// The one error type. Every function that can fail for a reason in the world returns bool (true = done) and
// fills a caller-owned struct hm_error. Bugs of ours are assert()ed instead.
#pragma once
#include <stdbool.h>

// Numbers are those of the protocol (JSON-RPC), so that an error travels from any room to the client
// unchanged.
enum hm_code {
    HM_OK = 0,
    HM_PARSE = -32700,
    HM_REQUEST = -32600,
    HM_METHOD = -32601,
    HM_PARAMS = -32602,
    HM_INTERNAL = -32603,
    HM_UNAUTHENTICATED = -32001,
    HM_FORBIDDEN = -32002,
    HM_NOT_FOUND = -32003,
    HM_CONFLICT = -32004,
    HM_TOO_MANY = -32005,
    HM_PLUGIN = -32006,
    HM_DEADLINE = -32007,
    HM_TOO_LARGE = -32008,
    HM_UNAVAILABLE = -32009,
};

// Why, where a caller must act on it: the texts are for people and never looked into.
enum hm_cause {
    HM_CAUSE_OTHER = 0,
    HM_CAUSE_DISK_FULL, // no room (or no quota) where it was to be kept: nothing was, and it may be tried
                        // again
    HM_CAUSE_MAP_FULL,  // the map must grow first (hm_store_grow)
    HM_CAUSE_MAP_LIMIT, // it has grown as far as the setting map_max lets it
    HM_CAUSE_NO_KEY,    // a person's key is missing, and was not destroyed
    HM_CAUSE_DOUBT,     // a commit failed: what the disk holds is known only when it has been opened anew
    HM_CAUSE_ERASED,    // a person was erased: there is no key any more, and never will be
};

struct hm_error {
    enum hm_code code;
    enum hm_cause cause;
    char message[480]; // names the value and the way out; never personal data
    const char *file;  // where it was raised (static string)
    int line;
};

// Fills *err (may be NULL) and returns false, so that a function may `return hm_fail(err, HM_PARAMS, "...")`.
#define hm_fail(err, code, ...) hm_fail_at((err), (code), __FILE__, __LINE__, __VA_ARGS__)
bool hm_fail_at(struct hm_error *err, enum hm_code code, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
// Says the cause of the error just raised; returns false, too.
bool hm_fail_cause(struct hm_error *err, enum hm_cause cause);

// The protocol's standard message for a code ("Parse error", "Invalid Request", "Method not found",
// "Invalid params", "Internal error", "unauthenticated", "forbidden", "not found", ...). Static string.
const char *hm_code_message(enum hm_code code);
