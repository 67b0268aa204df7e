// The error type and the protocol's messages. Any thread; nothing is allocated.
#include "base/error.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

// A message that was cut must not end in half a character: it travels in JSON.
static void cut_at_character(char *text, size_t len) {
    size_t at = len;
    while (at > 0 && ((unsigned char)text[at - 1] & 0xc0u) == 0x80u)
        at--;
    if (at == 0) return;
    unsigned char lead = (unsigned char)text[at - 1];
    size_t want = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (len - (at - 1) < want) text[at - 1] = '\0';
}

bool hm_fail_at(struct hm_error *err, enum hm_code code, const char *file, int line, const char *format,
                ...) {
    if (!err) return false;
    // Formatted aside first: an argument may be the old message itself.
    char message[sizeof err->message];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (len < 0) message[0] = '\0';
    if (len >= (int)sizeof message) cut_at_character(message, sizeof message - 1);
    err->code = code;
    err->cause = HM_CAUSE_OTHER;
    memcpy(err->message, message, sizeof message);
    err->file = file;
    err->line = line;
    return false;
}

bool hm_fail_cause(struct hm_error *err, enum hm_cause cause) {
    if (err) err->cause = cause;
    return false;
}

static const struct {
    enum hm_code code;
    const char *message;
} messages[] = {
    {HM_OK, "ok"},
    {HM_PARSE, "Parse error"},
    {HM_REQUEST, "Invalid Request"},
    {HM_METHOD, "Method not found"},
    {HM_PARAMS, "Invalid params"},
    {HM_INTERNAL, "Internal error"},
    {HM_UNAUTHENTICATED, "unauthenticated"},
    {HM_FORBIDDEN, "forbidden"},
    {HM_NOT_FOUND, "not found"},
    {HM_CONFLICT, "conflict"},
    {HM_TOO_MANY, "too many requests"},
    {HM_PLUGIN, "plugin error"},
    {HM_DEADLINE, "deadline exceeded"},
    {HM_TOO_LARGE, "too large"},
    {HM_UNAVAILABLE, "unavailable"},
};

const char *hm_code_message(enum hm_code code) {
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++)
        if (messages[i].code == code) return messages[i].message;
    return "error";
}
