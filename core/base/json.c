// The JSON scanner. Two halves: hm_json_parse reads unchecked text byte by byte and believes nothing;
// everything else walks text that has been checked and therefore only looks for where values end. Nothing
// allocates. Any thread.
#include "base/json.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

_Static_assert(HM_JSON_DEPTH <= 64, "nesting is kept in the bits of one word");

// ---- characters
// ---------------------------------------------------------------------------------------------------

static bool is_space(char c) {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}
static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static const char *skip_space(const char *at, const char *end) {
    while (at < end && is_space(*at))
        at++;
    return at;
}

// True when one of the eight bytes at `at` needs a look: a quote, a backslash, a control character or not
// ASCII.
static bool eight_need_look(const char *at) {
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones << 7;
    uint64_t w;
    memcpy(&w, at, 8);
    uint64_t quote = w ^ ones * '"', slash = w ^ ones * '\\';
    // (x - ones) & ~x has the top bit of a byte set when the byte is zero; borrowed false alarms only cost a
    // look.
    return (((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((w - ones * 0x20) & ~w) | w) & tops;
}

// Length of the UTF-8 sequence at `at` (RFC 3629: no surrogates, nothing overlong), 0 when there is none.
static size_t utf8_length(const char *at, const char *end) {
    const unsigned char *p = (const unsigned char *)at;
    size_t left = (size_t)(end - at);
    unsigned char c = p[0];
    if (c < 0x80) return 1;
    if (c < 0xc2) return 0;
    if (c < 0xe0) return left >= 2 && (p[1] & 0xc0u) == 0x80u ? 2 : 0;
    if (c < 0xf0) {
        if (left < 3 || (p[1] & 0xc0u) != 0x80u || (p[2] & 0xc0u) != 0x80u) return 0;
        if ((c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] >= 0xa0)) return 0;
        return 3;
    }
    if (c > 0xf4 || left < 4) return 0;
    if ((p[1] & 0xc0u) != 0x80u || (p[2] & 0xc0u) != 0x80u || (p[3] & 0xc0u) != 0x80u) return 0;
    if ((c == 0xf0 && p[1] < 0x90) || (c == 0xf4 && p[1] >= 0x90)) return 0;
    return 4;
}

bool hm_utf8_valid(struct hm_str text) {
    const char *at = text.ptr, *end = text.ptr ? text.ptr + text.len : text.ptr;
    const uint64_t tops = UINT64_C(0x8080808080808080);
    while (at < end) {
        uint64_t w;
        if (end - at >= 8 && (memcpy(&w, at, 8), !(w & tops))) {
            at += 8;
            continue;
        }
        size_t len = utf8_length(at, end);
        if (!len) return false;
        at += len;
    }
    return true;
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

// ---- checking
// -----------------------------------------------------------------------------------------------------

// These three take the position of a value's first byte and give the one behind it, or NULL with *at on the
// fault.
static const char *check_string(const char **fault, const char *at, const char *end) {
    at++;
    for (;;) {
        while (end - at >= 8 && !eight_need_look(at))
            at += 8;
        *fault = at;
        if (at == end) return NULL;
        unsigned char c = (unsigned char)*at;
        if (c == '"') return at + 1;
        if (c < 0x20) return NULL;
        if (c == '\\') {
            if (end - at < 2) return NULL;
            char kind = at[1];
            at += 2;
            if (kind == 'u') {
                if (end - at < 4) return NULL;
                for (int i = 0; i < 4; i++)
                    if (hex_value(at[i]) < 0) return NULL;
                at += 4;
            } else if (!kind || !strchr("\"\\/bfnrt", kind)) {
                return NULL;
            }
            continue;
        }
        size_t len = utf8_length(at, end);
        if (!len) return NULL;
        at += len;
    }
}

static const char *check_digits(const char **fault, const char *at, const char *end) {
    *fault = at;
    if (at == end || !is_digit(*at)) return NULL;
    while (at < end && is_digit(*at))
        at++;
    return at;
}

static const char *check_number(const char **fault, const char *at, const char *end) {
    if (*at == '-') at++;
    if (at < end && *at == '0')
        at++; // a digit behind it is caught by whoever expects a comma or an end
    else if (!(at = check_digits(fault, at, end)))
        return NULL;
    if (at < end && *at == '.' && !(at = check_digits(fault, at + 1, end))) return NULL;
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < end && (*at == '+' || *at == '-')) at++;
        at = check_digits(fault, at, end);
    }
    return at;
}

static const char *check_word(const char **fault, const char *at, const char *end, const char *word) {
    size_t len = strlen(word);
    *fault = at;
    return (size_t)(end - at) >= len && memcmp(at, word, len) == 0 ? at + len : NULL;
}

static const char *check_scalar(const char **fault, const char *at, const char *end) {
    *fault = at;
    switch (*at) {
    case '"':
        return check_string(fault, at, end);
    case 't':
        return check_word(fault, at, end, "true");
    case 'f':
        return check_word(fault, at, end, "false");
    case 'n':
        return check_word(fault, at, end, "null");
    default:
        return *at == '-' || is_digit(*at) ? check_number(fault, at, end) : NULL;
    }
}

enum hm_json_kind hm_json_kind_of(char first) {
    switch (first) {
    case '{':
        return HM_JSON_OBJECT;
    case '[':
        return HM_JSON_ARRAY;
    case '"':
        return HM_JSON_STRING;
    case 't':
        return HM_JSON_TRUE;
    case 'f':
        return HM_JSON_FALSE;
    case 'n':
        return HM_JSON_NULL;
    default:
        return HM_JSON_NUMBER;
    }
}

// Member name and colon; gives the position of the member's value.
static const char *check_key(const char **fault, const char *at, const char *end) {
    *fault = at;
    if (at == end || *at != '"') return NULL;
    at = check_string(fault, at, end);
    if (!at) return NULL;
    at = skip_space(at, end);
    *fault = at;
    if (at == end || *at != ':') return NULL;
    return skip_space(at + 1, end);
}

// One value with everything in it. `objects` has a bit per open bracket, 1 for a brace.
static const char *check_value(const char **fault, const char *at, const char *end, const char **why) {
    uint64_t objects = 0;
    unsigned depth = 0;
    for (;;) {
        *fault = at;
        if (at == end) return NULL;
        if (*at == '{' || *at == '[') {
            bool object = *at == '{';
            if (depth == HM_JSON_DEPTH) {
                *why = "nested too deep";
                return NULL;
            }
            objects = objects << 1 | object;
            depth++;
            at = skip_space(at + 1, end);
            if (at < end && *at != (object ? '}' : ']')) {
                if (object && !(at = check_key(fault, at, end))) return NULL;
                continue; // the first value inside
            }
        } else {
            at = check_scalar(fault, at, end);
            if (!at) return NULL;
            if (depth == 0) return at;
            at = skip_space(at, end);
        }
        // Behind a value, or at the end of an empty container: close what closes here.
        for (;;) {
            *fault = at;
            if (at == end) return NULL;
            bool object = objects & 1;
            if (*at == ',') break;
            if (*at != (object ? '}' : ']')) return NULL;
            at++;
            objects >>= 1;
            if (--depth == 0) return at;
            at = skip_space(at, end);
        }
        at = skip_space(at + 1, end);
        if ((objects & 1) && !(at = check_key(fault, at, end))) return NULL;
    }
}

bool hm_json_parse(struct hm_str text, struct hm_json *out, struct hm_error *err) {
    const char *start = text.ptr ? text.ptr : "";
    const char *end = start + text.len, *fault = start, *why = NULL;
    const char *at = skip_space(start, end), *first = at;
    at = check_value(&fault, at, end, &why);
    if (at) {
        const char *behind = at;
        at = fault = skip_space(at, end);
        if (at == end) {
            *out = (struct hm_json){hm_json_kind_of(*first), {first, (size_t)(behind - first)}};
            return true;
        }
        why = "something follows the value";
    }
    if (!why) why = fault == end ? "it ends too early" : "unexpected character";
    return hm_fail(err, HM_PARSE, "not valid JSON: %s at byte %zu", why, (size_t)(fault - start));
}

// ---- walking checked text
// -------------------------------------------------------------------------------------------

// end: somewhere behind the string, within the text.
static const char *skip_string(const char *at, const char *end) {
    for (at++;;) {
        while (end - at >= 8 && !eight_need_look(at))
            at += 8;
        if (*at == '"') return at + 1;
        at += *at == '\\' ? 2 : 1;
    }
}

static const char *skip_value(const char *at, const char *end) {
    if (*at == '"') return skip_string(at, end);
    if (*at != '{' && *at != '[') {
        while (at < end && !is_space(*at) && *at != ',' && *at != ']' && *at != '}')
            at++;
        return at;
    }
    unsigned depth = 0;
    do {
        char c = *at;
        if (c == '"') {
            at = skip_string(at, end);
            continue;
        }
        if (c == '{' || c == '[') depth++;
        if (c == '}' || c == ']') depth--;
        at++;
    } while (depth);
    return at;
}

struct hm_json_iter hm_json_iter(struct hm_json value) {
    if (value.kind < HM_JSON_ARRAY || value.raw.len < 2) return (struct hm_json_iter){0};
    const char *first = value.raw.ptr + 1, *last = value.raw.ptr + value.raw.len - 1;
    return (struct hm_json_iter){first, last, value.kind == HM_JSON_OBJECT};
}

bool hm_json_next(struct hm_json_iter *it, struct hm_json *key, struct hm_json *value) {
    const char *at = skip_space(it->at, it->end);
    if (at < it->end && *at == ',') at = skip_space(at + 1, it->end);
    if (at >= it->end) {
        it->at = it->end;
        return false;
    }
    if (it->object) {
        const char *behind = skip_string(at, it->end);
        if (key) *key = (struct hm_json){HM_JSON_STRING, {at, (size_t)(behind - at)}};
        at = skip_space(skip_space(behind, it->end) + 1, it->end); // the colon
    }
    const char *behind = skip_value(at, it->end);
    *value = (struct hm_json){hm_json_kind_of(*at), {at, (size_t)(behind - at)}};
    it->at = behind;
    return true;
}

static uint32_t hex4(const char *at) {
    uint32_t v = 0;
    for (int i = 0; i < 4; i++)
        v = v << 4 | (uint32_t)hex_value(at[i]);
    return v;
}

static size_t encode_point(uint32_t c, char out[4]) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t len = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80u | (c & 0x3fu));
    out[0] = (char)((len == 2 ? 0xc0u : len == 3 ? 0xe0u : 0xf0u) | c);
    return len;
}

// Decodes the escape at *at (a backslash); a surrogate without its other half becomes U+FFFD.
static size_t decode_escape(const char **at, const char *end, char out[4]) {
    const char *p = *at + 1;
    *at += 2;
    switch (*p) {
    case 'b':
        return encode_point('\b', out);
    case 'f':
        return encode_point('\f', out);
    case 'n':
        return encode_point('\n', out);
    case 'r':
        return encode_point('\r', out);
    case 't':
        return encode_point('\t', out);
    case 'u':
        break;
    default:
        return encode_point((unsigned char)*p, out);
    }
    uint32_t c = hex4(p + 1);
    *at += 4;
    if (c >= 0xd800 && c <= 0xdbff && end - *at >= 6 && (*at)[0] == '\\' && (*at)[1] == 'u') {
        uint32_t low = hex4(*at + 2);
        if (low >= 0xdc00 && low <= 0xdfff) {
            *at += 6;
            return encode_point(0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00), out);
        }
    }
    if (c >= 0xd800 && c <= 0xdfff) c = 0xfffd;
    return encode_point(c, out);
}

// Next piece of a string's inside: a run without escapes (pointing into the text) or one decoded escape (in
// room).
static struct hm_str next_piece(const char **at, const char *end, char room[4]) {
    if (**at == '\\') return (struct hm_str){room, decode_escape(at, end, room)};
    const char *start = *at;
    const char *slash = memchr(start, '\\', (size_t)(end - start));
    *at = slash ? slash : end;
    return (struct hm_str){start, (size_t)(*at - start)};
}

bool hm_json_key_is(struct hm_json key, struct hm_str name) {
    if (key.kind != HM_JSON_STRING) return false;
    const char *at = key.raw.ptr + 1, *end = key.raw.ptr + key.raw.len - 1;
    char room[4];
    while (at < end) {
        struct hm_str piece = next_piece(&at, end, room);
        if (piece.len > name.len || memcmp(piece.ptr, name.ptr, piece.len) != 0) return false;
        name.ptr += piece.len;
        name.len -= piece.len;
    }
    return name.len == 0;
}

static bool get_member(struct hm_json object, struct hm_str name, struct hm_json *out) {
    if (object.kind != HM_JSON_OBJECT) return false;
    struct hm_json_iter it = hm_json_iter(object);
    struct hm_json key, value;
    while (hm_json_next(&it, &key, &value)) {
        if (hm_json_key_is(key, name)) {
            *out = value;
            return true;
        }
    }
    return false;
}

bool hm_json_get(struct hm_json object, const char *name, struct hm_json *out) {
    return get_member(object, hm_str_of(name), out);
}

bool hm_json_path(struct hm_json object, const char *dotted, struct hm_json *out) {
    for (;;) {
        size_t len = strcspn(dotted, ".");
        if (!get_member(object, (struct hm_str){dotted, len}, &object)) return false;
        if (!dotted[len]) break;
        dotted += len + 1;
    }
    *out = object;
    return true;
}

// ---- conversions
// ----------------------------------------------------------------------------------------------------

bool hm_json_string(struct hm_json value, struct hm_buf *out) {
    if (value.kind != HM_JSON_STRING) return false;
    const char *at = value.raw.ptr + 1, *end = value.raw.ptr + value.raw.len - 1;
    char room[4];
    hm_buf_reserve(out, value.raw.len);
    while (at < end)
        hm_buf_str(out, next_piece(&at, end, room));
    return true;
}

bool hm_json_get_text(struct hm_json object, const char *name, char *out, size_t cap) {
    struct hm_json value;
    return hm_json_get(object, name, &value) && hm_json_text(value, out, cap);
}

bool hm_json_text(struct hm_json value, char *out, size_t cap) {
    if (value.kind != HM_JSON_STRING) return false;
    const char *at = value.raw.ptr + 1, *end = value.raw.ptr + value.raw.len - 1;
    char room[4];
    size_t len = 0;
    while (at < end) {
        struct hm_str piece = next_piece(&at, end, room);
        if (piece.len >= cap - len || memchr(piece.ptr, '\0', piece.len)) return false;
        memcpy(out + len, piece.ptr, piece.len);
        len += piece.len;
    }
    if (len >= cap) return false;
    out[len] = '\0';
    return true;
}

bool hm_json_double(struct hm_json value, double *out) {
    if (value.kind != HM_JSON_NUMBER) return false;
    char room[128];
    char *copy = room; // strtod needs an end, and the text has none
    if (value.raw.len >= sizeof room) copy = hm_alloc(value.raw.len + 1);
    memcpy(copy, value.raw.ptr, value.raw.len);
    copy[value.raw.len] = '\0';
    double v = strtod(copy, NULL);
    if (copy != room) free(copy);
    if (!isfinite(v)) return false;
    *out = v;
    return true;
}

// What a number's text says: digits × 10^exponent. `digits` spans the digits and perhaps a point among them.
struct decimal {
    bool negative;
    const char *digits, *end;
    int64_t exponent;
};

static struct decimal split_number(struct hm_str raw) {
    struct decimal d = {0};
    const char *at = raw.ptr, *end = raw.ptr + raw.len;
    if (*at == '-') {
        d.negative = true;
        at++;
    }
    d.digits = at;
    while (at < end && *at != '.' && *at != 'e' && *at != 'E')
        at++;
    const char *point = at;
    if (at < end && *at == '.')
        while (at < end && *at != 'e' && *at != 'E')
            at++;
    d.end = at;
    if (point < at) d.exponent = -(at - point - 1);
    if (at < end) {
        bool minus = at[1] == '-';
        int64_t e = 0;
        for (at += at[1] == '+' || minus ? 2 : 1; at < end; at++)
            if (e < INT64_C(1000000000000)) e = e * 10 + (*at - '0');
        d.exponent += minus ? -e : e;
    }
    return d;
}

bool hm_json_int(struct hm_json value, int64_t *out) {
    if (value.kind != HM_JSON_NUMBER || value.raw.len == 0) return false;
    struct decimal d = split_number(value.raw);
    while (d.end > d.digits && (d.end[-1] == '0' || d.end[-1] == '.')) {
        if (d.end[-1] == '0') d.exponent++;
        d.end--;
    }
    uint64_t v = 0;
    for (const char *at = d.digits; at < d.end; at++) {
        if (*at == '.') continue;
        if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*at - '0'), &v))
            return false;
    }
    if (v && d.exponent < 0) return false;
    for (int64_t i = 0; v && i < d.exponent; i++)
        if (__builtin_mul_overflow(v, (uint64_t)10, &v)) return false;
    uint64_t limit = (uint64_t)INT64_MAX + (d.negative ? 1 : 0);
    if (v > limit) return false;
    *out = d.negative ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

bool hm_json_bool(struct hm_json value, bool *out) {
    if (value.kind != HM_JSON_TRUE && value.kind != HM_JSON_FALSE) return false;
    *out = value.kind == HM_JSON_TRUE;
    return true;
}

size_t hm_json_count(struct hm_json value) {
    struct hm_json_iter it = hm_json_iter(value);
    size_t count = 0;
    while (hm_json_next(&it, NULL, &value))
        count++;
    return count;
}

// ---- writing
// --------------------------------------------------------------------------------------------------------

static void put_control(struct hm_buf *b, unsigned char c) {
    static const char names[] = "btn\0fr"; // for 8 to 13
    if (c >= 8 && c <= 13 && c != 11) {
        hm_buf_char(b, '\\');
        hm_buf_char(b, names[c - 8]);
    } else {
        hm_buf_printf(b, "\\u%04x", c);
    }
}

void hm_json_put_str(struct hm_buf *b, struct hm_str text) {
    const char *at = text.ptr, *end = text.ptr ? text.ptr + text.len : text.ptr;
    hm_buf_reserve(b, text.len + 2);
    hm_buf_char(b, '"');
    const char *run = at; // what is as it should be, up to at
    while (at < end) {
        if (end - at >= 8 && !eight_need_look(at)) {
            at += 8;
            continue;
        }
        unsigned char c = (unsigned char)*at;
        bool escape = c < 0x20 || c == '"' || c == '\\';
        size_t len = escape ? 0 : utf8_length(at, end);
        if (len) {
            at += len;
            continue;
        }
        hm_buf_add(b, run, (size_t)(at - run));
        if (c < 0x20) {
            put_control(b, c);
        } else if (escape) {
            hm_buf_char(b, '\\');
            hm_buf_char(b, (char)c);
        } else {
            hm_buf_text(b, "\xef\xbf\xbd");
        }
        run = ++at;
    }
    if (at > run) hm_buf_add(b, run, (size_t)(at - run));
    hm_buf_char(b, '"');
}

void hm_json_put_int(struct hm_buf *b, int64_t value) {
    char room[24];
    char *at = room + sizeof room;
    uint64_t v = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        *--at = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    if (value < 0) *--at = '-';
    hm_buf_add(b, at, (size_t)(room + sizeof room - at));
}

void hm_json_put_double(struct hm_buf *b, double value) {
    if (!isfinite(value)) {
        hm_buf_text(b, "null");
        return;
    }
    // Whole numbers that a double holds exactly are written without exponent. The sign of zero means nothing
    // to us and is dropped: kept, -0.0 would read back as the whole number 0 and be written differently.
    if (fabs(value) < 9007199254740992.0 && value == floor(value)) {
        hm_json_put_int(b, (int64_t)value);
        return;
    }
    char room[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(room, sizeof room, "%.*g", digits, value);
        if (strtod(room, NULL) == value) break;
    }
    hm_buf_text(b, room);
}

void hm_json_key(struct hm_buf *b, const char *name) {
    char last = b->len ? b->data[b->len - 1] : '{';
    if (last != '{' && last != '[') hm_buf_char(b, ',');
    hm_json_put_str(b, hm_str_of(name));
    hm_buf_char(b, ':');
}

void hm_json_member_str(struct hm_buf *b, const char *name, struct hm_str text) {
    hm_json_key(b, name);
    hm_json_put_str(b, text);
}

void hm_json_member_int(struct hm_buf *b, const char *name, int64_t value) {
    hm_json_key(b, name);
    hm_json_put_int(b, value);
}

void hm_json_member_raw(struct hm_buf *b, const char *name, struct hm_str json) {
    hm_json_key(b, name);
    hm_buf_str(b, json);
}
