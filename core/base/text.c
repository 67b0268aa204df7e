// Folding of text for comparison. Small own tables instead of the C library's towlower: its answer depends on
// the locale of the machine, and a login must fold alike everywhere and for ever, since folded text is stored
// in indexes.
#include "base/text.h"

// Code point at *at (valid UTF-8 or not); bad bytes give U+FFFD, one each.
static uint32_t next_point(const char **at, const char *end) {
    const unsigned char *p = (const unsigned char *)*at;
    size_t left = (size_t)(end - *at);
    unsigned need = p[0] < 0x80                    ? 0
                    : p[0] >= 0xf0 && p[0] <= 0xf4 ? 3
                    : p[0] >= 0xe0                 ? 2
                    : p[0] >= 0xc2                 ? 1
                                                   : 4;
    if (p[0] > 0xf4) need = 4;
    *at += 1;
    if (need == 0) return p[0];
    if (need == 4 || left <= need) return 0xfffd;
    uint32_t point = p[0] & (0x3fu >> need);
    for (unsigned i = 1; i <= need; i++) {
        if ((p[i] & 0xc0u) != 0x80u) return 0xfffd;
        point = point << 6 | (p[i] & 0x3fu);
    }
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    if (point < least[need] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return 0xfffd;
    *at += need;
    return point;
}

static void put_point(struct hm_buf *b, uint32_t c) {
    if (c < 0x80) {
        hm_buf_char(b, (char)c);
    } else if (c < 0x800) {
        hm_buf_char(b, (char)(0xc0u | c >> 6));
        hm_buf_char(b, (char)(0x80u | (c & 0x3fu)));
    } else {
        char raw[4] = {(char)(0xf0u | c >> 18), (char)(0x80u | (c >> 12 & 0x3fu)),
                       (char)(0x80u | (c >> 6 & 0x3fu)), (char)(0x80u | (c & 0x3fu))};
        if (c < 0x10000) raw[1] = (char)(0xe0u | c >> 12);
        hm_buf_add(b, c < 0x10000 ? raw + 1 : raw, c < 0x10000 ? 3 : 4);
    }
}

static bool is_space(uint32_t c) {
    return (c >= 0x09 && c <= 0x0d) || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
           c == 0x3000;
}

// Ranges of capital letters and how the small one is found from them.
enum step { PLUS, EVEN, ODD }; // PLUS: add `by`; EVEN/ODD: letters in pairs, the capital is the even/odd one
static const struct {
    uint16_t from, to;
    enum step step;
    uint16_t by;
} capitals[] = {
    {0x0041, 0x005a, PLUS, 32}, {0x00c0, 0x00d6, PLUS, 32}, {0x00d8, 0x00de, PLUS, 32},
    {0x0100, 0x012f, EVEN, 1},  {0x0132, 0x0137, EVEN, 1},  {0x0139, 0x0148, ODD, 1},
    {0x014a, 0x0177, EVEN, 1},  {0x0179, 0x017e, ODD, 1},   {0x0400, 0x040f, PLUS, 80},
    {0x0410, 0x042f, PLUS, 32}, {0x0460, 0x0481, EVEN, 1},  {0x048a, 0x04bf, EVEN, 1},
    {0x04c0, 0x04c0, PLUS, 15}, {0x04c1, 0x04ce, ODD, 1},   {0x04d0, 0x052f, EVEN, 1},
};

static uint32_t fold_point(uint32_t c) {
    switch (c) {
    case '`':
    case 0x02bb: // ʻ the letter of oʻ and gʻ
    case 0x02bc: // ʼ tutuq belgisi
    case 0x2018:
    case 0x2019:
        return '\'';
    case 0x0130: // İ
        return 'i';
    case 0x0178: // Ÿ
        return 0xff;
    default:
        break;
    }
    for (size_t i = 0; i < sizeof capitals / sizeof capitals[0]; i++) {
        if (c < capitals[i].from) break; // the ranges ascend
        if (c > capitals[i].to) continue;
        if (capitals[i].step == PLUS) return c + capitals[i].by;
        return (c & 1u) == (capitals[i].step == ODD ? 1u : 0u) ? c + 1 : c;
    }
    return c;
}

void hm_fold(struct hm_str text, struct hm_buf *out) {
    bool started = false, space = false;
    const char *at = text.ptr, *end = text.ptr ? text.ptr + text.len : text.ptr;
    hm_buf_reserve(out, text.len);
    while (at < end) {
        uint32_t c = next_point(&at, end);
        if (is_space(c)) {
            space = started;
            continue;
        }
        if (space) hm_buf_char(out, ' ');
        space = false;
        started = true;
        put_point(out, fold_point(c));
    }
}
