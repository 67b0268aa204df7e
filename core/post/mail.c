// A mail as SMTP takes it: headers folded and encoded, text in base64, so that no word of it can end a header
// or a line. What always holds: an address that was let through is one line of ASCII with nothing in it that
// SMTP or a header reads otherwise.
#include "post/post.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define WORD_BYTES 42u // of UTF-8 in one encoded word, which has 75 characters at most

static bool is_atom(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr(".!#$%&'*+/=?^_`{|}~-", c));
}

static bool domain_valid(struct hm_str d) {
    size_t label = 0, labels = 1;
    for (size_t i = 0; i < d.len; i++) {
        char c = d.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        bool edge = label == 0 || i + 1 == d.len || d.ptr[i + 1] == '.';
        if (c == '.') {
            if (label == 0 || i + 1 == d.len) return false;
            label = 0;
            labels++;
        } else if (letter || (c == '-' && !edge)) {
            if (++label > 63) return false;
        } else {
            return false;
        }
    }
    return labels > 1;
}

bool hm_mail_address_valid(struct hm_str a) {
    const char *at = a.len ? memchr(a.ptr, '@', a.len) : NULL;
    size_t local = at ? (size_t)(at - a.ptr) : 0;
    if (a.len > HM_MAIL_ADDRESS_MAX || local < 1 || local > 64) return false;
    if (a.ptr[0] == '.' || a.ptr[0] == '-' || a.ptr[local - 1] == '.') return false;
    for (size_t i = 0; i < local; i++)
        if (!is_atom(a.ptr[i]) || (a.ptr[i] == '.' && a.ptr[i + 1] == '.')) return false;
    return domain_valid((struct hm_str){at + 1, a.len - local - 1});
}

bool hm_mail_address_of(const char *from, char out[HM_MAIL_ADDRESS_MAX + 1]) {
    const char *open = strrchr(from, '<'), *begin = open ? open + 1 : from;
    size_t len = strlen(begin);
    if (open && (len == 0 || begin[--len] != '>')) return false;
    struct hm_str address = {begin, len};
    if (!hm_mail_address_valid(address)) return false;
    memcpy(out, begin, len);
    out[len] = '\0';
    return true;
}

static void put_base64(struct hm_buf *out, struct hm_str bytes) {
    size_t cap = sodium_base64_encoded_len(bytes.len, sodium_base64_VARIANT_ORIGINAL);
    hm_buf_reserve(out, cap);
    sodium_bin2base64(out->data + out->len, cap, (const unsigned char *)bytes.ptr, bytes.len,
                      sodium_base64_VARIANT_ORIGINAL);
    out->len += strlen(out->data + out->len);
}

// Encoded words of RFC 2047, cut between characters.
static void put_words(struct hm_buf *out, struct hm_str text) {
    bool first = true;
    while (text.len) {
        size_t take = text.len < WORD_BYTES ? text.len : WORD_BYTES;
        while (take < text.len && take > 1 && ((unsigned char)text.ptr[take] & 0xc0) == 0x80)
            take--;
        hm_buf_text(out, first ? "=?UTF-8?B?" : "\r\n =?UTF-8?B?");
        put_base64(out, (struct hm_str){text.ptr, take});
        hm_buf_text(out, "?=");
        text.ptr += take;
        text.len -= take;
        first = false;
    }
}

static void put_from(struct hm_buf *out, const char *from) {
    char address[HM_MAIL_ADDRESS_MAX + 1];
    const char *open = strrchr(from, '<');
    size_t name = open ? (size_t)(open - from) : 0;
    while (name && (from[name - 1] == ' ' || from[name - 1] == '"'))
        name--;
    while (name && (*from == ' ' || *from == '"')) {
        from++;
        name--;
    }
    if (!hm_mail_address_of(open ? open : from, address)) address[0] = '\0';
    hm_buf_text(out, "From: ");
    if (name) put_words(out, (struct hm_str){from, name});
    hm_buf_printf(out, name ? " <%s>\r\n" : "%s\r\n", address);
}

static void put_date(struct hm_buf *out, int64_t time_ms) {
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm tm = {0};
    gmtime_r(&seconds, &tm);
    hm_buf_printf(out, "Date: %s, %d %s %d %02d:%02d:%02d +0000\r\n", days[tm.tm_wday], tm.tm_mday,
                  months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

void hm_mail_write(const struct hm_mail *mail, struct hm_buf *out) {
    char from[HM_MAIL_ADDRESS_MAX + 1] = "";
    struct hm_buf text = {0};
    hm_mail_address_of(mail->from, from);
    const char *at = strchr(from, '@');
    put_date(out, mail->time_ms);
    put_from(out, mail->from);
    hm_buf_printf(out, "To: %s\r\nMessage-ID: <%s%s>\r\nSubject: ", mail->to, mail->id, at ? at : "@hamroh");
    put_words(out, mail->subject);
    // No machine answers a machine (RFC 3834).
    hm_buf_printf(out,
                  "\r\nAuto-Submitted: auto-generated\r\nContent-Language: %s\r\nMIME-Version: 1.0\r\n"
                  "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n",
                  mail->language);
    put_base64(&text, mail->text);
    for (size_t i = 0; i < text.len; i += 76) {
        hm_buf_add(out, text.data + i, text.len - i < 76 ? text.len - i : 76);
        hm_buf_text(out, "\r\n");
    }
    hm_buf_free(&text);
}
