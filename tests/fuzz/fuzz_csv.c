// CSV: any bytes are decoded or refused, any text is read or refused with its line, and what was read,
// written with quotes, reads the same again. Folding, which every cell goes through somewhere, is idempotent.
#include "base/csv.h"
#include "base/json.h"
#include "base/text.h"
#include <stdlib.h>

static void require(bool holds) {
    if (!holds) abort();
}

struct rows {
    struct hm_buf text;  // written again, every cell in quotes
    struct hm_buf shape; // every cell with its length, to compare
    size_t last_line;
};

static bool take(void *arg, const struct hm_csv_row *row) {
    struct rows *rows = arg;
    require(row->count > 0 && row->count <= 1000 && row->line > rows->last_line);
    rows->last_line = row->line;
    for (size_t i = 0; i < row->count; i++) {
        struct hm_str cell = row->cells[i];
        hm_buf_printf(&rows->shape, "%zu:", cell.len);
        hm_buf_str(&rows->shape, cell);
        if (i) hm_buf_char(&rows->text, ',');
        hm_buf_char(&rows->text, '"');
        for (size_t j = 0; j < cell.len; j++) {
            if (cell.ptr[j] == '"') hm_buf_char(&rows->text, '"');
            hm_buf_char(&rows->text, cell.ptr[j]);
        }
        hm_buf_char(&rows->text, '"');
    }
    hm_buf_text(&rows->text, "\n");
    hm_buf_text(&rows->shape, "\n");
    return true;
}

static void fold(struct hm_str text) {
    struct hm_buf once = {0}, twice = {0};
    hm_fold(text, &once);
    require(hm_utf8_valid(hm_buf_view(&once)));
    hm_fold(hm_buf_view(&once), &twice);
    require(hm_str_eq(hm_buf_view(&once), hm_buf_view(&twice)));
    hm_buf_free(&once);
    hm_buf_free(&twice);
}

static void read_rows(struct hm_str utf8, char separator) {
    struct rows first = {0}, second = {0};
    struct hm_error err = {0};
    if (hm_csv_parse(utf8, separator, take, &first, &err)) {
        if (first.text.len) require(hm_csv_parse(hm_buf_view(&first.text), ',', take, &second, &err));
        require(hm_str_eq(hm_buf_view(&first.shape), hm_buf_view(&second.shape)));
    } else {
        require(err.code == HM_PARAMS && strncmp(err.message, "line ", 5) == 0);
    }
    hm_buf_free(&first.text);
    hm_buf_free(&first.shape);
    hm_buf_free(&second.text);
    hm_buf_free(&second.shape);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char separators[] = {0, 0, ';', ',', '\t', '|'};
    if (size < 1) return 0;
    struct hm_str bytes = {(const char *)data + 1, size - 1};
    struct hm_buf utf8 = {0};
    struct hm_error err = {0};
    char separator = separators[data[0] % sizeof separators];
    if (hm_csv_to_utf8(bytes, &utf8, NULL, &err)) {
        require(hm_utf8_valid(hm_buf_view(&utf8)));
        read_rows(hm_buf_view(&utf8), separator);
    } else {
        require(err.code == HM_PARAMS && utf8.len == 0);
    }
    read_rows(bytes, separator); // callers may pass on what was never decoded
    fold(bytes);
    hm_buf_free(&utf8);
    return 0;
}
