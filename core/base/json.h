// Strict JSON (RFC 8259, UTF-8 checked, no duplicate meaning given to duplicate keys: the first wins) as
// slices of the text. Why not a tree from a library: records are kept, sent and forwarded as text; what the
// server needs is the raw span of a value (an id to echo, params to forward, a field to index), which no
// packaged library gives. Nothing here allocates except what it appends to a buffer. Any thread.
#pragma once
#include "base/buf.h"
#include "base/error.h"

#define HM_JSON_DEPTH 64 // deepest nesting accepted anywhere

enum hm_json_kind {
    HM_JSON_NULL,
    HM_JSON_FALSE,
    HM_JSON_TRUE,
    HM_JSON_NUMBER,
    HM_JSON_STRING,
    HM_JSON_ARRAY,
    HM_JSON_OBJECT
};

// A value inside a text that has been checked. `raw` covers the value without surrounding white space,
// a string with its quotes. Borrowed from the text.
struct hm_json {
    enum hm_json_kind kind;
    struct hm_str raw;
};

// Of a checked value, from its first character.
enum hm_json_kind hm_json_kind_of(char first);
// Checks the whole text and gives its value. On failure the error names the byte offset (code HM_PARSE).
bool hm_json_parse(struct hm_str text, struct hm_json *out, struct hm_error *err);

// Walks a checked array or object. Start with `struct hm_json_iter it = hm_json_iter(value)`; on anything
// else than an array or object the walk is empty. key->raw keeps its quotes and escapes; compare with
// hm_json_key_is.
struct hm_json_iter {
    const char *at, *end;
    bool object;
};
struct hm_json_iter hm_json_iter(struct hm_json value);
bool hm_json_next(struct hm_json_iter *it, struct hm_json *key, struct hm_json *value); // key may be NULL
bool hm_json_key_is(struct hm_json key, struct hm_str name); // understands escapes in the key

// Member of an object; false when absent or not an object.
bool hm_json_get(struct hm_json object, const char *name, struct hm_json *out);
bool hm_json_path(struct hm_json object, const char *dotted, struct hm_json *out); // "mentoring.capacity"

// Conversions; false when the value is of another kind (or out of range).
bool hm_json_string(struct hm_json value, struct hm_buf *out); // decoded text, appended
bool hm_json_double(struct hm_json value, double *out);
bool hm_json_int(struct hm_json value, int64_t *out); // exact integers only; 1.0 and 1e3 count
bool hm_json_bool(struct hm_json value, bool *out);
size_t hm_json_count(struct hm_json value); // elements or members, 0 for scalars
// String member decoded into a fixed buffer, terminated; false when absent, no string, longer than cap-1 or
// with a zero byte inside.
bool hm_json_get_text(struct hm_json object, const char *name, char *out, size_t cap);
bool hm_json_text(struct hm_json value, char *out, size_t cap); // the same of a value

// Writing.
void hm_json_put_str(struct hm_buf *b, struct hm_str text); // quoted and escaped; bad UTF-8 becomes U+FFFD
void hm_json_put_int(struct hm_buf *b, int64_t value);
void hm_json_put_double(struct hm_buf *b,
                        double value); // shortest that reads back; 3.0 is "3"; NaN and inf are null
// Appends `"name":` preceded by a comma unless b ends with '{' or '['.
void hm_json_key(struct hm_buf *b, const char *name);
void hm_json_member_str(struct hm_buf *b, const char *name, struct hm_str text); // key + string
void hm_json_member_int(struct hm_buf *b, const char *name, int64_t value);
void hm_json_member_raw(struct hm_buf *b, const char *name,
                        struct hm_str json); // key + text that is JSON already
bool hm_utf8_valid(struct hm_str text);
