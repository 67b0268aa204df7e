// CSV files as spreadsheet programs write them. Any thread. A file that cannot be read says which line is at
// fault.
#include "base/csv.h"
#include "base/json.h"
#include <errno.h>
#include <iconv.h>
#include <stdlib.h>

#define COLUMNS_MAX 1000
#define CELL_MAX 65536

// ---- encodings
// ------------------------------------------------------------------------------------------------------

static size_t lines_before(struct hm_str text, size_t offset) {
    size_t lines = 1;
    for (size_t i = 0; i < offset; i++)
        lines += text.ptr[i] == '\n';
    return lines;
}

static bool convert(struct hm_str bytes, const char *from, struct hm_buf *out, struct hm_error *err) {
    bool ok = false;
    size_t start = out->len;
    iconv_t cd = iconv_open("UTF-8", from);
    if (cd == (iconv_t)-1) {
        hm_fail(err, HM_UNAVAILABLE, "this machine cannot read the encoding %s", from);
        goto out;
    }
    char *in = (char *)bytes.ptr; // iconv's interface wants it writable, but only moves it
    size_t left = bytes.len;
    while (left) {
        hm_buf_reserve(out, left + left / 2 + 16);
        char *to = out->data + out->len;
        size_t room = out->cap - out->len - 1;
        size_t done = iconv(cd, &in, &left, &to, &room);
        out->len = (size_t)(to - out->data);
        out->data[out->len] = '\0';
        if (done == (size_t)-1 && errno != E2BIG) {
            size_t line = lines_before(hm_buf_view(out), out->len) -
                          (start ? lines_before(hm_buf_view(out), start) - 1 : 0);
            hm_fail(err, HM_PARAMS, "line %zu: not text in the encoding %s; save the file as CSV in UTF-8",
                    line, from);
            goto out;
        }
    }
    ok = true;
out:
    if (cd != (iconv_t)-1) iconv_close(cd);
    if (!ok) out->len = start;
    return ok;
}

static bool starts(struct hm_str s, const char *mark, size_t len) {
    return s.len >= len && memcmp(s.ptr, mark, len) == 0;
}

bool hm_csv_to_utf8(struct hm_str bytes, struct hm_buf *out, const char **used, struct hm_error *err) {
    const char *name = "UTF-8";
    size_t mark = 0;
    if (starts(bytes, "PK\x03\x04", 4) || starts(bytes, "\xd0\xcf\x11\xe0", 4))
        return hm_fail(err, HM_PARAMS,
                       "this is a spreadsheet document, not a CSV file; save it as \"CSV UTF-8\"");
    if (starts(bytes, "\xff\xfe", 2))
        name = "UTF-16LE", mark = 2;
    else if (starts(bytes, "\xfe\xff", 2))
        name = "UTF-16BE", mark = 2;
    else if (starts(bytes, "\xef\xbb\xbf", 3))
        mark = 3;
    else if (!hm_utf8_valid(bytes))
        name = "CP1251";
    struct hm_str text = {bytes.ptr + mark, bytes.len - mark};
    if (name[0] == 'U' && name[4] == '8') {
        if (mark && !hm_utf8_valid(text))
            return hm_fail(err, HM_PARAMS, "the file begins with the mark of UTF-8 but is not UTF-8");
        hm_buf_str(out, text);
    } else if (!convert(text, name, out, err)) {
        return false;
    }
    if (used) *used = name;
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
