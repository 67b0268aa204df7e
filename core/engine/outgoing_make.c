// From a message's record to what is sent: looks at what it is about as that is now, opens the address, and
// puts the words together. Loop thread. What always holds: what has been read meanwhile is not told any more;
// without `safe` the words say only that there is news; address, code, secret and token are wiped from memory
// once libcurl has its copy, and are in no log.
#include "base/clock.h"
#include "base/log.h"
#include "engine/outgoing.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#define SECRET_FILE_MAX 4096u

static enum made no(struct making *m, enum made made, const char *reason) {
    m->reason = reason;
    return made;
}

// ---- what the operator set ----------------------------------------------------------------------------

// The one line of a file that holds a password or a token.
static bool read_secret(const char *path, struct hm_buf *out) {
    struct hm_error err = {0};
    if (!hm_read_file(path, SECRET_FILE_MAX, out, &err)) {
        hm_log(HM_ERROR, "outgoing.secret_file", "\"code\":%d", (int)err.code);
        return false;
    }
    while (out->len && strchr("\r\n \t", out->data[out->len - 1]))
        out->data[--out->len] = '\0';
    return out->len && !memchr(out->data, '\n', out->len) && !memchr(out->data, 0, out->len);
}

bool hm_make_mail(struct hm_engine *engine, struct making *m, const char *to, const char *id,
                  const char *locale, struct hm_str subject, struct hm_str text) {
    const struct hm_settings *s = &engine->settings;
    if (!hm_channel_ready(s, "email") || !hm_mail_address_of(s->smtp_from, m->from)) {
        m->reason = "not_set_up";
        return false;
    }
    if (s->smtp_password_file[0] && !read_secret(s->smtp_password_file, &m->secret)) {
        m->reason = "password_file";
        return false;
    }
    struct hm_mail mail = {.from = s->smtp_from,
                           .to = to,
                           .id = id,
                           .subject = subject,
                           .text = text,
                           .language = locale,
                           .time_ms = hm_now_ms()};
    hm_buf_text(&m->url, s->smtp_url);
    hm_buf_text(&m->to, to);
    hm_mail_write(&mail, &m->body);
    return true;
}

bool hm_telegram_url(struct hm_engine *engine, const char *method, struct making *m) {
    const struct hm_settings *s = &engine->settings;
    if (!hm_channel_ready(s, "telegram")) {
        m->reason = "not_set_up";
        return false;
    }
    if (!read_secret(s->telegram_token_file, &m->secret)) {
        m->reason = "token_file";
        return false;
    }
    hm_buf_printf(&m->url, "%s/bot%s/%s", s->telegram_api, m->secret.data, method);
    m->headers[0] = hm_strdup("Content-Type: application/json");
    return true;
}

bool hm_make_telegram(struct hm_engine *engine, struct making *m, const char *chat, struct hm_str text) {
    if (!hm_telegram_url(engine, "sendMessage", m)) return false;
    hm_buf_char(&m->body, '{');
    hm_json_member_str(&m->body, "chat_id", hm_str_of(chat));
    hm_json_member_str(&m->body, "text", text);
    hm_json_member_raw(&m->body, "link_preview_options", HM_LIT("{\"is_disabled\":true}"));
    hm_buf_char(&m->body, '}');
    return true;
}

void hm_making_send(struct hm_engine *engine, struct making *m,
                    void (*done)(void *, const struct hm_post_answer *), void *arg, bool trusted,
                    struct hm_error *err) {
    const struct hm_settings *s = &engine->settings;
    bool mail = m->to.len > 0;
    struct hm_post_message message = {.url = m->url.data,
                                      .body = hm_buf_view(&m->body),
                                      .headers = mail ? NULL : (const char *const *)m->headers,
                                      .to = mail ? m->to.data : NULL,
                                      .from = m->from,
                                      .user = mail ? s->smtp_user : NULL,
                                      .password = mail ? m->secret.data : NULL,
                                      .plain = s->smtp_plain,
                                      .ca = s->outgoing_ca,
                                      .timeout_ms = m->timeout_ms ? m->timeout_ms : s->outgoing_timeout_ms,
                                      .trusted = trusted,
                                      .networks = s->webhook_networks,
                                      .done = done,
                                      .arg = arg};
    hm_post_send(engine->outgoing->post, &message, err);
}

static void wipe(struct hm_buf *b) {
    if (b->data) sodium_memzero(b->data, b->cap);
    hm_buf_free(b);
}

void hm_making_free(struct making *m) {
    wipe(&m->url);
    wipe(&m->body);
    wipe(&m->secret);
    wipe(&m->to);
    for (size_t i = 0; i < sizeof m->headers / sizeof *m->headers; i++)
        free(m->headers[i]);
    memset(m->headers, 0, sizeof m->headers);
}

// ---- to a person --------------------------------------------------------------------------------------

struct words {
    struct hm_buf subject, text;
    char locale[9];
};

static void put_link(struct hm_engine *engine, struct hm_buf *text) {
    const char *url = engine->settings.public_url;
    size_t len = strlen(url);
    while (len && url[len - 1] == '/')
        len--;
    if (len) hm_buf_printf(text, "\n\n%.*s/#/news", (int)len, url);
}

// Only what its author has called safe is said outside; else that there is something.
static enum made news_words(struct hm_engine *engine, struct hm_read *read, struct parcel *p, struct words *w,
                            struct making *m) {
    char id[HM_ID_MAX + 1], path[24];
    struct hm_record record;
    struct hm_json data, value;
    bool safe = false, unread = false;
    if (!hm_json_get_text(p->json, "notification", id, sizeof id) ||
        !hm_read_data(read, "notification", hm_str_of(id), &record, &data))
        return no(m, MADE_NOT, "gone");
    if (!hm_json_get(data, "unread", &value) || !hm_json_bool(value, &unread) || !unread)
        return no(m, MADE_NOT, "read");
    if (hm_json_get(data, "safe", &value)) hm_json_bool(value, &safe);
    snprintf(path, sizeof path, "text.%s", w->locale);
    hm_buf_text(&w->subject, hm_out_word(OUT_SUBJECT, w->locale));
    if (!safe || !hm_json_path(data, path, &value) || !hm_json_string(value, &w->text)) {
        hm_buf_clear(&w->text);
        hm_buf_text(&w->text, hm_out_word(OUT_NEWS, w->locale));
    } else {
        struct hm_buf whole = {0};
        hm_buf_printf(&whole, "%s:\n%s", w->subject.data, w->text.data);
        hm_buf_free(&w->text);
        w->text = whole;
    }
    put_link(engine, &w->text);
    hm_buf_printf(&w->text, "\n\n%s", hm_out_word(OUT_FOOT, w->locale));
    return MADE;
}

static enum made code_words(struct institution *inst, struct hm_json contact, const char *id, struct words *w,
                            struct making *m) {
    char code[8], nonce[64];
    const char *text = hm_out_word(OUT_CODE, w->locale), *at = strstr(text, "{code}");
    if (!hm_json_get_text(contact, "nonce", nonce, sizeof nonce)) return no(m, MADE_NOT, "confirmed");
    if (hm_now_ms() > hm_json_number(contact, "asked") + CODE_LIFE_MS) return no(m, MADE_NOT, "late");
    hm_contact_code(inst, id, nonce, code);
    hm_buf_text(&w->subject, hm_out_word(OUT_CODE_SUBJECT, w->locale));
    hm_buf_add(&w->text, text, (size_t)(at - text));
    hm_buf_text(&w->text, code);
    hm_buf_text(&w->text, at + strlen("{code}"));
    sodium_memzero(code, sizeof code);
    return MADE;
}

static enum made open_address(struct parcel *p, const struct hm_record *contact, struct hm_buf *out,
                              struct making *m) {
    struct hm_buf quoted = {0};
    struct hm_json value;
    struct hm_error err = {0};
    bool ok = hm_unseal(p->institution->store, contact, HM_LIT("address"), &quoted, &err) &&
              hm_json_parse(hm_buf_view(&quoted), &value, NULL) && hm_json_string(value, out);
    wipe(&quoted);
    p->opened = ok;
    if (ok) return MADE;
    // A key that was destroyed comes back no more.
    return no(m, err.code == HM_UNAVAILABLE && err.cause != HM_CAUSE_NO_KEY ? MADE_NOT : MADE_LATER,
              "sealed");
}

static enum made words_of(struct parcel *p, struct hm_read *read, struct hm_json contact, const char *id,
                          struct words *w, struct making *m) {
    char kind[16];
    hm_json_get_text(contact, "locale", w->locale, sizeof w->locale);
    if (!hm_json_get_text(p->json, "kind", kind, sizeof kind)) return no(m, MADE_NOT, "gone");
    if (strcmp(kind, "code") == 0) return code_words(p->institution, contact, id, w, m);
    if (hm_json_number(contact, "verified") == 0) return no(m, MADE_NOT, "not_confirmed");
    if (strcmp(kind, "welcome") != 0) return news_words(p->institution->engine, read, p, w, m);
    hm_buf_text(&w->subject, hm_out_word(OUT_SUBJECT, w->locale));
    hm_buf_text(&w->text, hm_out_word(OUT_WELCOME, w->locale));
    return MADE;
}

static enum made make_for_person(struct parcel *p, struct hm_read *read, struct making *m) {
    struct hm_engine *engine = p->institution->engine;
    struct words w = {.locale = "uz"};
    struct hm_buf address = {0};
    char id[HM_ID_MAX + 1], channel[16];
    struct hm_record contact;
    struct hm_json data;
    bool ok = true;
    if (!hm_json_get_text(p->json, "contact", id, sizeof id) ||
        !hm_read_data(read, "contact", hm_str_of(id), &contact, &data) ||
        !hm_json_get_text(data, "channel", channel, sizeof channel))
        return no(m, MADE_NOT, "gone");
    enum made made = words_of(p, read, data, id, &w, m);
    if (made == MADE) made = open_address(p, &contact, &address, m);
    if (made == MADE && strcmp(channel, "email") == 0)
        ok = hm_make_mail(engine, m, address.data, p->id, w.locale, hm_buf_view(&w.subject),
                          hm_buf_view(&w.text));
    else if (made == MADE)
        ok = hm_make_telegram(engine, m, address.data, hm_buf_view(&w.text));
    if (!ok) made = MADE_LATER;
    wipe(&address);
    wipe(&w.text);
    hm_buf_free(&w.subject);
    return made;
}

// ---- to a program: the form of standardwebhooks.com ---------------------------------------------------

static void put_header(struct making *m, const char *name, const char *value) {
    struct hm_buf line = {0};
    size_t at = 0;
    hm_buf_printf(&line, "%s: %s", name, value);
    while (m->headers[at])
        at++;
    m->headers[at] = line.data;
}

static void sign(const uint8_t secret[WEBHOOK_SECRET], const char *id, const char *time, struct hm_str body,
                 char out[64]) {
    crypto_auth_hmacsha256_state state;
    uint8_t mac[crypto_auth_hmacsha256_BYTES];
    crypto_auth_hmacsha256_init(&state, secret, WEBHOOK_SECRET);
    crypto_auth_hmacsha256_update(&state, (const uint8_t *)id, strlen(id));
    crypto_auth_hmacsha256_update(&state, (const uint8_t *)".", 1);
    crypto_auth_hmacsha256_update(&state, (const uint8_t *)time, strlen(time));
    crypto_auth_hmacsha256_update(&state, (const uint8_t *)".", 1);
    crypto_auth_hmacsha256_update(&state, (const uint8_t *)body.ptr, body.len);
    crypto_auth_hmacsha256_final(&state, mac);
    memcpy(out, "v1,", 3);
    sodium_bin2base64(out + 3, 61, mac, sizeof mac, sodium_base64_VARIANT_ORIGINAL);
    sodium_memzero(&state, sizeof state);
}

static enum made make_webhook(struct parcel *p, struct hm_read *read, struct making *m) {
    const char *name = p->lane->name + 2;
    struct hm_record record;
    struct hm_json data, url, event, payload;
    uint8_t secret[WEBHOOK_SECRET];
    char time[24], signature[64];
    if (!hm_read_data(read, "webhook", hm_str_of(name), &record, &data)) return no(m, MADE_NOT, "gone");
    if (!hm_json_get(data, "url", &url) || !hm_json_string(url, &m->url)) return no(m, MADE_NOT, "gone");
    if (!hm_json_get(p->json, "event", &event)) return no(m, MADE_NOT, "gone");
    if (!hm_webhook_open(p->institution, name, data, secret)) return no(m, MADE_LATER, "sealed");
    hm_buf_char(&m->body, '{');
    hm_json_member_str(&m->body, "id", hm_str_of(p->id));
    hm_json_member_raw(&m->body, "type", event.raw);
    hm_json_member_int(&m->body, "time", hm_json_number(p->json, "since"));
    hm_json_member_str(&m->body, "institution", hm_str_of(p->institution->id));
    hm_json_member_raw(&m->body, "data",
                       hm_json_get(p->json, "payload", &payload) ? payload.raw : HM_LIT("{}"));
    hm_buf_char(&m->body, '}');
    // Of this attempt, so that who has kept an old one cannot send it again: receivers refuse what is minutes
    // old.
    snprintf(time, sizeof time, "%lld", (long long)(hm_now_ms() / 1000));
    sign(secret, p->id, time, hm_buf_view(&m->body), signature);
    put_header(m, "Content-Type", "application/json");
    put_header(m, "webhook-id", p->id);
    put_header(m, "webhook-timestamp", time);
    put_header(m, "webhook-signature", signature);
    sodium_memzero(secret, sizeof secret);
    return MADE;
}

enum made hm_outgoing_make(struct parcel *p, struct hm_read *read, struct making *m) {
    if (strncmp(p->lane->name, "w:", 2) == 0) return make_webhook(p, read, m);
    return make_for_person(p, read, m);
}
