// CSV as spreadsheet programs really write it (RFC 4180 and its habits): separator ; , or tab found from the
// header, quotes, quoted line breaks, CRLF/LF, a byte order mark, UTF-8, UTF-16 LE/BE, or Windows-1251 when
// not valid UTF-8.
#pragma once
#include "base/buf.h"
#include "base/error.h"

// Text in any of these encodings to UTF-8 without BOM, appended to out. `used` (may be NULL) gets a static
// name.
bool hm_csv_to_utf8(struct hm_str bytes, struct hm_buf *out, const char **used, struct hm_error *err);

struct hm_csv_row {
    size_t line; // 1-based line in the file where the row begins
    size_t count;
    const struct hm_str *cells; // decoded, borrowed until the next row
};
// Calls fn for every row (header included); stops when fn returns false. Blank lines are passed over.
// separator 0 means: guess. Limits: 1,000 columns, 64 KiB a cell. The error names the line (HM_PARAMS).
bool hm_csv_parse(struct hm_str utf8, char separator, bool (*fn)(void *arg, const struct hm_csv_row *row),
                  void *arg, struct hm_error *err);
