// CSV files as spreadsheet programs write them. Any thread. A file that cannot be read says which line is at
// fault.
#include "base/csv.h"
#include "base/json.h"
#include <stdlib.h>

#define COLUMNS_MAX 1000
#define CELL_MAX 65536

// ---- encodings ----------------------------------------------------------------------------------------
// Decoded here and not by iconv, which opens files of its own when an encoding is first used: a worker may
// open none.

// Windows-1251 from 0x80 on; 0: no character (0x98).
// clang-format off
static const uint16_t cp1251[128] = {
    0x0402, 0x0403, 0x201a, 0x0453, 0x201e, 0x2026, 0x2020, 0x2021,
    0x20ac, 0x2030, 0x0409, 0x2039, 0x040a, 0x040c, 0x040b, 0x040f,
    0x0452, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014,
    0, 0x2122, 0x0459, 0x203a, 0x045a, 0x045c, 0x045b, 0x045f,
    0x00a0, 0x040e, 0x045e, 0x0408, 0x00a4, 0x0490, 0x00a6, 0x00a7,
    0x0401, 0x00a9, 0x0404, 0x00ab, 0x00ac, 0x00ad, 0x00ae, 0x0407,
    0x00b0, 0x00b1, 0x0406, 0x0456, 0x0491, 0x00b5, 0x00b6, 0x00b7,
    0x0451, 0x2116, 0x0454, 0x00bb, 0x0458, 0x0405, 0x0455, 0x0457,
    0x0410, 0x0411, 0x0412, 0x0413, 0x0414, 0x0415, 0x0416, 0x0417,
    0x0418, 0x0419, 0x041a, 0x041b, 0x041c, 0x041d, 0x041e, 0x041f,
    0x0420, 0x0421, 0x0422, 0x0423, 0x0424, 0x0425, 0x0426, 0x0427,
    0x0428, 0x0429, 0x042a, 0x042b, 0x042c, 0x042d, 0x042e, 0x042f,
    0x0430, 0x0431, 0x0432, 0x0433, 0x0434, 0x0435, 0x0436, 0x0437,
    0x0438, 0x0439, 0x043a, 0x043b, 0x043c, 0x043d, 0x043e, 0x043f,
    0x0440, 0x0441, 0x0442, 0x0443, 0x0444, 0x0445, 0x0446, 0x0447,
    0x0448, 0x0449, 0x044a, 0x044b, 0x044c, 0x044d, 0x044e, 0x044f,
};
// clang-format on

static void put_utf8(struct hm_buf *out, uint32_t c) {
    if (c < 0x80) {
        hm_buf_char(out, (char)c);
    } else if (c < 0x800) {
        hm_buf_char(out, (char)(0xc0 | c >> 6));
        hm_buf_char(out, (char)(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
        hm_buf_char(out, (char)(0xe0 | c >> 12));
        hm_buf_char(out, (char)(0x80 | (c >> 6 & 0x3f)));
        hm_buf_char(out, (char)(0x80 | (c & 0x3f)));
    } else {
        hm_buf_char(out, (char)(0xf0 | c >> 18));
        hm_buf_char(out, (char)(0x80 | (c >> 12 & 0x3f)));
        hm_buf_char(out, (char)(0x80 | (c >> 6 & 0x3f)));
        hm_buf_char(out, (char)(0x80 | (c & 0x3f)));
    }
}

enum encoding { UTF8, CP1251, UTF16LE, UTF16BE };
static const char *const encoding_names[] = {"UTF-8", "CP1251", "UTF-16LE", "UTF-16BE"};

// One unit of UTF-16 at `at`.
static uint32_t unit_at(struct hm_str bytes, size_t at, enum encoding from) {
    uint32_t first = (unsigned char)bytes.ptr[at], second = (unsigned char)bytes.ptr[at + 1];
    return from == UTF16LE ? second << 8 | first : first << 8 | second;
}

// Moves *at behind the character it gives; false: there is none.
static bool next_char(struct hm_str bytes, enum encoding from, size_t *at, uint32_t *c) {
    if (from == CP1251) {
        unsigned char byte = (unsigned char)bytes.ptr[(*at)++];
        *c = byte < 0x80 ? byte : cp1251[byte - 0x80];
        return *c || byte == 0;
    }
    if (bytes.len - *at < 2) return false;
    *c = unit_at(bytes, *at, from);
    *at += 2;
    if (*c < 0xd800 || *c > 0xdfff) return true;
    if (*c > 0xdbff || bytes.len - *at < 2) return false;
    uint32_t low = unit_at(bytes, *at, from);
    if (low < 0xdc00 || low > 0xdfff) return false;
    *at += 2;
    *c = 0x10000 + ((*c - 0xd800) << 10 | (low - 0xdc00));
    return true;
}

static bool convert(struct hm_str bytes, enum encoding from, struct hm_buf *out, struct hm_error *err) {
    size_t start = out->len, line = 1;
    uint32_t c;
    hm_buf_reserve(out, bytes.len + bytes.len / 2);
    for (size_t at = 0; at < bytes.len;) {
        if (!next_char(bytes, from, &at, &c)) {
            out->len = start;
            out->data[start] = '\0';
            return hm_fail(err, HM_PARAMS,
                           "line %zu: not text in the encoding %s; save the file as CSV in UTF-8", line,
                           encoding_names[from]);
        }
        line += c == '\n';
        put_utf8(out, c);
    }
    return true;
}

static bool starts(struct hm_str s, const char *mark, size_t len) {
    return s.len >= len && memcmp(s.ptr, mark, len) == 0;
}

bool hm_csv_to_utf8(struct hm_str bytes, struct hm_buf *out, const char **used, struct hm_error *err) {
    enum encoding from = UTF8;
    size_t mark = 0;
    if (starts(bytes, "PK\x03\x04", 4) || starts(bytes, "\xd0\xcf\x11\xe0", 4))
        return hm_fail(err, HM_PARAMS,
                       "this is a spreadsheet document, not a CSV file; save it as \"CSV UTF-8\"");
    if (starts(bytes, "\xff\xfe", 2))
        from = UTF16LE, mark = 2;
    else if (starts(bytes, "\xfe\xff", 2))
        from = UTF16BE, mark = 2;
    else if (starts(bytes, "\xef\xbb\xbf", 3))
        mark = 3;
    else if (!hm_utf8_valid(bytes))
        from = CP1251;
    struct hm_str text = {bytes.ptr + mark, bytes.len - mark};
    if (from == UTF8) {
        if (mark && !hm_utf8_valid(text))
            return hm_fail(err, HM_PARAMS, "the file begins with the mark of UTF-8 but is not UTF-8");
        hm_buf_str(out, text);
    } else if (!convert(text, from, out, err)) {
        return false;
    }
    if (used) *used = encoding_names[from];
    return true;
}

// ---- rows
// -----------------------------------------------------------------------------------------------------------

struct parser {
    const char *at, *end;
    size_t line; // of `at`
    char separator;
    struct hm_str
        *cells; // COLUMNS_MAX of them; a cell with ptr NULL lies in `decoded`, from the end of the one before
    size_t count;
    struct hm_buf decoded; // cells whose quotes had to be undone, one after the other
    struct hm_error *err;
};

static bool at_line_end(const struct parser *p) {
    return p->at == p->end || *p->at == '\n' || *p->at == '\r';
}

static void skip_line_end(struct parser *p) {
    if (*p->at == '\r') p->at++; // alone (old Mac) or before a line feed
    if (p->at < p->end && *p->at == '\n') p->at++;
    p->line++;
}

static bool add_cell(struct parser *p, struct hm_str cell) {
    if (p->count == COLUMNS_MAX)
        return hm_fail(p->err, HM_PARAMS, "line %zu: more than %d columns", p->line, COLUMNS_MAX);
    if (cell.len > CELL_MAX)
        return hm_fail(p->err, HM_PARAMS, "line %zu: a cell is larger than %d bytes", p->line, CELL_MAX);
    p->cells[p->count++] = cell;
    return true;
}

static bool quoted_cell(struct parser *p) {
    size_t opened = p->line, start = p->decoded.len;
    bool plain = true; // no doubled quote: the cell is a slice of the text
    const char *first = ++p->at, *run = first;
    for (;; p->at++) {
        if (p->at == p->end)
            return hm_fail(p->err, HM_PARAMS, "line %zu: a quote is opened and never closed", opened);
        if (*p->at == '\n' || (*p->at == '\r' && (p->at + 1 == p->end || p->at[1] != '\n'))) p->line++;
        if (*p->at != '"') continue;
        if (p->at + 1 == p->end || p->at[1] != '"') break;
        plain = false;
        hm_buf_add(&p->decoded, run, (size_t)(p->at + 1 - run));
        run = ++p->at + 1;
    }
    struct hm_str cell = {first, (size_t)(p->at - first)};
    if (!plain) {
        hm_buf_add(&p->decoded, run, (size_t)(p->at - run));
        cell = (struct hm_str){NULL, p->decoded.len - start};
    }
    p->at++;
    if (!at_line_end(p) && *p->at != p->separator)
        return hm_fail(p->err, HM_PARAMS, "line %zu: something follows a closing quote", p->line);
    return add_cell(p, cell);
}

static bool read_row(struct parser *p) {
    p->count = 0;
    hm_buf_clear(&p->decoded);
    for (;;) {
        if (p->at < p->end && *p->at == '"') {
            if (!quoted_cell(p)) return false;
        } else {
            const char *first = p->at;
            while (!at_line_end(p) && *p->at != p->separator)
                p->at++;
            if (!add_cell(p, (struct hm_str){first, (size_t)(p->at - first)})) return false;
        }
        if (at_line_end(p)) break;
        p->at++; // the separator
    }
    // Only now does the buffer of decoded cells stay where it is.
    size_t offset = 0;
    for (size_t i = 0; i < p->count; i++) {
        if (p->cells[i].ptr) continue;
        p->cells[i].ptr = p->decoded.data + offset;
        offset += p->cells[i].len;
    }
    if (p->at < p->end) skip_line_end(p);
    return true;
}

static bool blank_line(struct parser *p) {
    const char *at = p->at;
    while (at < p->end && *at == ' ')
        at++;
    if (at < p->end && *at != '\n' && *at != '\r') return false;
    p->at = at;
    if (at < p->end) skip_line_end(p);
    return true;
}

// Counts candidates outside quotes in the header; the semicolon wins a draw, since a comma may be part of a
// name.
static char guess_separator(const char *at, const char *end) {
    size_t semicolons = 0, tabs = 0, commas = 0;
    for (bool quoted = false; at < end && (quoted || (*at != '\n' && *at != '\r')); at++) {
        if (*at == '"') quoted = !quoted;
        if (quoted) continue;
        semicolons += *at == ';';
        tabs += *at == '\t';
        commas += *at == ',';
    }
    if (semicolons >= tabs && semicolons >= commas) return ';';
    return tabs >= commas ? '\t' : ',';
}

// Excel's own habit: a first line `sep=;` that names the separator.
static bool separator_line(struct parser *p) {
    if (p->end - p->at < 5 || memcmp(p->at, "sep=", 4) != 0) return false;
    if (p->end - p->at > 5 && p->at[5] != '\r' && p->at[5] != '\n') return false;
    if (!p->separator) p->separator = p->at[4];
    p->at += 5;
    if (p->at < p->end) skip_line_end(p);
    return true;
}

bool hm_csv_parse(struct hm_str utf8, char separator, bool (*fn)(void *arg, const struct hm_csv_row *row),
                  void *arg, struct hm_error *err) {
    bool ok = false;
    const char *text = utf8.ptr ? utf8.ptr : "";
    struct parser p = {.at = text, .end = text + utf8.len, .line = 1, .separator = separator, .err = err};
    p.cells = hm_alloc_array(COLUMNS_MAX, sizeof *p.cells);
    if (starts(utf8, "\xef\xbb\xbf", 3)) p.at += 3;
    separator_line(&p);
    while (p.at < p.end) {
        if (blank_line(&p)) continue;
        if (!p.separator) p.separator = guess_separator(p.at, p.end);
        struct hm_csv_row row = {.line = p.line, .cells = p.cells};
        if (!read_row(&p)) goto out;
        row.count = p.count;
        if (!fn(arg, &row)) break;
    }
    ok = true;
out:
    hm_buf_free(&p.decoded);
    free(p.cells);
    return ok;
}
