// JSON: what the scanner accepts can be walked, decoded, written again, and means the same afterwards.
#include "base/json.h"
#include <math.h>
#include <stdlib.h>

static void require(bool holds) {
    if (!holds) abort();
}

static void rewrite(struct hm_json value, struct hm_buf *out);

static void rewrite_members(struct hm_json value, struct hm_buf *out) {
    struct hm_json_iter it = hm_json_iter(value);
    struct hm_json key, member, found;
    size_t count = 0;
    hm_buf_char(out, it.object ? '{' : '[');
    while (hm_json_next(&it, &key, &member)) {
        if (count++) hm_buf_char(out, ',');
        if (it.object) {
            struct hm_buf name = {0};
            require(hm_json_string(key, &name));
            require(hm_json_key_is(key, hm_buf_view(&name)));
            if (name.len == 0 || !memchr(name.data, 0, name.len))
                require(hm_json_get(value, name.len ? name.data : "", &found));
            hm_json_put_str(out, hm_buf_view(&name));
            hm_buf_char(out, ':');
            hm_buf_free(&name);
        }
        rewrite(member, out);
    }
    require(count == hm_json_count(value));
    hm_buf_char(out, it.object ? '}' : ']');
}

static void rewrite_number(struct hm_json value, struct hm_buf *out) {
    int64_t n = 0;
    double d = 0;
    if (hm_json_int(value, &n)) {
        require(hm_json_double(value, &d));
        hm_json_put_int(out, n);
    } else if (hm_json_double(value, &d)) {
        size_t at = out->len;
        double again = 0;
        hm_json_put_double(out, d);
        struct hm_json back = {HM_JSON_NUMBER, {out->data + at, out->len - at}};
        require(hm_json_double(back, &again) && !(again < d) && !(again > d));
    } else {
        hm_buf_str(out, value.raw); // out of range
    }
}

static void rewrite(struct hm_json value, struct hm_buf *out) {
    struct hm_buf text = {0};
    require(value.raw.len > 0);
    switch (value.kind) {
    case HM_JSON_NULL:
    case HM_JSON_TRUE:
    case HM_JSON_FALSE:
        hm_buf_str(out, value.raw);
        break;
    case HM_JSON_NUMBER:
        rewrite_number(value, out);
        break;
    case HM_JSON_STRING:
        require(hm_json_string(value, &text));
        require(hm_utf8_valid(hm_buf_view(&text)));
        hm_json_put_str(out, hm_buf_view(&text));
        hm_buf_free(&text);
        break;
    case HM_JSON_ARRAY:
    case HM_JSON_OBJECT:
        rewrite_members(value, out);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct hm_json value;
    struct hm_error err = {0};
    struct hm_buf once = {0}, twice = {0}, thrice = {0}, bytes = {0};
    if (hm_json_parse((struct hm_str){(const char *)data, size}, &value, &err)) {
        rewrite(value, &once);
        require(hm_json_parse(hm_buf_view(&once), &value, &err));
        // A fraction beyond 2^53 is a whole number once it was a double, and is then written as one: settled
        // from here on.
        rewrite(value, &twice);
        require(hm_json_parse(hm_buf_view(&twice), &value, &err));
        rewrite(value, &thrice);
        require(hm_str_eq(hm_buf_view(&twice), hm_buf_view(&thrice)));
    } else {
        require(err.code == HM_PARSE && err.message[0]);
    }
    // Any bytes can be written as a string.
    hm_json_put_str(&bytes, (struct hm_str){(const char *)data, size});
    require(hm_json_parse(hm_buf_view(&bytes), &value, &err) && value.kind == HM_JSON_STRING);
    hm_buf_free(&once);
    hm_buf_free(&twice);
    hm_buf_free(&thrice);
    hm_buf_free(&bytes);
    return 0;
}
