// Where somebody wants to hear of their news besides the web client, and of what, and when: contact.*, for
// one's own mailbox and Telegram. Loop thread. Record "contact", audience its person:
// {"person","channel","address" (sealed),"verified" (time or null),"wants" (all, urgent, or first words of
// keys),"quiet"? {"from","to"} in minutes of the day,"locale","created","asked",
// "attempts","nonce"?,"start"?,"refused"?}.
//
// What always holds: nothing but a code is sent to an address before its owner has shown that it is theirs; a
// code is good for an hour and five attempts, and is in no record; ten a day are sent for one person,
// whatever is removed and made anew.
#include "base/clock.h"
#include "base/code.h"
#include "engine/outgoing.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#define CONTACTS_MAX 5u
#define CODES_A_DAY 10u
#define ATTEMPTS_MAX 5
#define WANTS_MAX 20u
#define START_BYTES 16

// ---- codes --------------------------------------------------------------------------------------------

// Made from the server's key, so that it is kept nowhere.
void hm_contact_code(struct institution *inst, const char *contact, const char *nonce, char out[8]) {
    struct hm_buf text = {0};
    uint8_t hash[16];
    uint64_t number;
    hm_buf_printf(&text, "contact code\n%s\n%s\n%s", inst->id, contact, nonce);
    crypto_generichash(hash, sizeof hash, (const uint8_t *)text.data, text.len, inst->engine->master_key,
                       sizeof inst->engine->master_key);
    memcpy(&number, hash, sizeof number);
    snprintf(out, 8, "%06u", (unsigned)(number % 1000000));
    hm_buf_free(&text);
}

static void new_nonce(struct hm_engine *engine, char out[33]) {
    uint8_t bytes[16];
    hm_engine_random(engine, bytes, sizeof bytes);
    sodium_bin2hex(out, 33, bytes, sizeof bytes);
}

// ---- a record, from what it was and what is asked -----------------------------------------------------

struct contact {
    struct call *call;
    char id[HM_ID_MAX + 1], channel[16], locale[9], token[32];
    uint64_t version;      // 0: a new one
    struct hm_json was;    // borrowed
    struct hm_str address; // JSON; or empty: as it was
    struct hm_json wants, quiet;
    bool ask; // a code goes out, or a link
    bool verified, wrong;
};

static void keep(struct hm_buf *out, struct hm_json was, const char *name) {
    struct hm_json value;
    if (was.raw.len && hm_json_get(was, name, &value)) hm_json_member_raw(out, name, value.raw);
}

static void put_asked(struct contact *c, struct hm_buf *out, int64_t now) {
    char nonce[33], hash[65];
    hm_json_member_int(out, "asked", now);
    hm_json_member_int(out, "attempts", 0);
    if (strcmp(c->channel, "telegram") == 0) {
        uint8_t bytes[START_BYTES];
        hm_engine_random(c->call->engine, bytes, sizeof bytes);
        sodium_bin2base64(c->token, sizeof c->token, bytes, sizeof bytes,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING);
        hm_secret_hash(hm_str_of(c->token), hash);
        hm_json_member_str(out, "start", hm_str_of(hash));
    } else {
        new_nonce(c->call->engine, nonce);
        hm_json_member_str(out, "nonce", hm_str_of(nonce));
    }
}

static void contact_json(struct contact *c, int64_t now, struct hm_buf *out) {
    const char *person = c->call->session->person;
    hm_buf_char(out, '{');
    hm_json_member_str(out, "person", hm_str_of(person));
    hm_json_member_str(out, "channel", hm_str_of(c->channel));
    if (c->address.len)
        hm_json_member_raw(out, "address", c->address);
    else
        keep(out, c->was, "address");
    if (c->wants.raw.len)
        hm_json_member_raw(out, "wants", c->wants.raw);
    else if (c->version)
        keep(out, c->was, "wants");
    else
        hm_json_member_raw(out, "wants", HM_LIT("[\"all\"]"));
    struct hm_json from;
    if (!c->quiet.raw.len)
        keep(out, c->was, "quiet");
    else if (hm_json_get(c->quiet, "from", &from))
        hm_json_member_raw(out, "quiet", c->quiet.raw);
    hm_json_member_str(out, "locale", hm_str_of(c->locale));
    if (c->version)
        keep(out, c->was, "created");
    else
        hm_json_member_int(out, "created", now);
    if (c->ask) {
        hm_json_member_raw(out, "verified", HM_LIT("null"));
        put_asked(c, out, now);
    } else if (c->verified) {
        hm_json_member_int(out, "verified", now);
    } else if (c->wrong) {
        hm_json_member_raw(out, "verified", HM_LIT("null"));
        keep(out, c->was, "asked");
        keep(out, c->was, "nonce");
        keep(out, c->was, "refused");
        hm_json_member_int(out, "attempts", hm_json_number(c->was, "attempts") + 1);
    } else {
        static const char *const kept[] = {"verified", "asked", "attempts", "nonce", "start", "refused"};
        for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
            keep(out, c->was, kept[i]);
    }
    hm_buf_char(out, '}');
}

static struct commit_item *contact_item(struct contact *c) {
    struct call *call = c->call;
    struct commit_item *item = hm_item_new(call->institution, call->by, call->method);
    struct hm_buf data = {0};
    char audience[HM_ID_MAX + 16], message[37];
    snprintf(audience, sizeof audience, "person:%s", call->session->person);
    contact_json(c, item->commit.now_ms, &data);
    hm_item_put(item, "contact", hm_str_of(c->id), c->version, hm_buf_view(&data), audience);
    struct out_new code = {.to = "email", .kind = "code", .person = call->session->person, .contact = c->id};
    if (c->ask && strcmp(c->channel, "email") == 0) hm_outgoing_put(item, &code, message);
    sodium_memzero(data.data, data.len); // the address
    hm_buf_free(&data);
    return item;
}

// ---- contact.set --------------------------------------------------------------------------------------

static bool person_of(struct call *call) {
    if (call->session && call->session->person[0]) return true;
    hm_call_reason(call, HM_CONFLICT, "reason", "no_person");
    return false;
}

static bool wants_valid(struct hm_json wants) {
    struct hm_json_iter it = hm_json_iter(wants);
    struct hm_json item;
    if (hm_json_count(wants) > WANTS_MAX) return false;
    while (hm_json_next(&it, NULL, &item)) {
        char name[HM_NAME_MAX + 1];
        if (!hm_json_text(item, name, sizeof name) || !hm_name_valid(hm_str_of(name))) return false;
    }
    return true;
}

static bool quiet_valid(struct hm_json quiet) {
    struct hm_json from, to;
    int64_t a, b;
    if (hm_json_count(quiet) == 0) return true;
    return hm_json_count(quiet) == 2 && hm_json_get(quiet, "from", &from) && hm_json_get(quiet, "to", &to) &&
           hm_json_int(from, &a) && hm_json_int(to, &b) && a >= 0 && a < 1440 && b >= 0 && b < 1440;
}

// What is asked, as far as it can be judged without looking. False: answered.
static bool asked(struct contact *c) {
    struct call *call = c->call;
    hm_json_get(call->params, "wants", &c->wants);
    hm_json_get(call->params, "quiet", &c->quiet);
    hm_arg_text(call, "contact", c->id, sizeof c->id);
    if (c->wants.raw.len && !wants_valid(c->wants)) {
        hm_call_param(call, "wants", "must be names: all, urgent, or first words of keys such as meeting");
    } else if (c->quiet.raw.len && !quiet_valid(c->quiet)) {
        hm_call_param(call, "quiet", "must be {from, to} in minutes of the day (0 to 1439), or {} for none");
    } else if (hm_arg_text(call, "locale", c->locale, sizeof c->locale) && c->locale[0] &&
               !hm_locale_known(c->locale)) {
        hm_call_param(call, "locale", "must be uz, uz-Cyrl, ru or en");
    } else {
        return true;
    }
    return false;
}

struct counting {
    unsigned count;
};

static bool count_one(void *arg, const struct hm_record *record, struct hm_json data) {
    (void)record, (void)data;
    return ++((struct counting *)arg)->count < CONTACTS_MAX;
}

// May one more code be sent, and for a new contact: may there be one more? False: answered.
static bool may_ask(struct contact *c, struct hm_read *read, struct hm_types *types) {
    struct call *call = c->call;
    struct counting n = {0};
    const char *person = call->session->person;
    bool mail = strcmp(c->channel, "email") == 0;
    if (!hm_channel_ready(&call->engine->settings, c->channel)) {
        hm_call_reason(call, HM_CONFLICT, "reason", "not_set_up");
        return false;
    }
    if (!c->version) hm_read_each(read, types, "contact", "person", hm_str_of(person), false, count_one, &n);
    if (n.count >= CONTACTS_MAX) {
        hm_call_reason(call, HM_CONFLICT, "reason", "too_many_contacts");
        return false;
    }
    if (mail && hm_outgoing_count(read, types, "person", person, "code", hm_now_ms() - OUT_DAY_MS,
                                  CODES_A_DAY) >= CODES_A_DAY) {
        hm_call_wait(call, 3600);
        return false;
    }
    return true;
}

static void set_answer(struct contact *c, struct hm_buf *out) {
    hm_buf_char(out, '{');
    hm_json_member_str(out, "id", hm_str_of(c->id));
    if (c->token[0]) {
        struct hm_buf link = {0};
        hm_buf_printf(&link, "https://t.me/%s?start=%s", c->call->engine->settings.telegram_bot, c->token);
        hm_json_member_str(out, "link", hm_buf_view(&link));
        hm_json_member_str(out, "start", hm_str_of(c->token));
        hm_buf_free(&link);
    }
    hm_buf_char(out, '}');
}

static void set_commit(struct contact *c) {
    struct hm_buf result = {0};
    struct commit_item *item = contact_item(c);
    set_answer(c, &result);
    hm_item_finish_call(item, c->call, hm_buf_view(&result), hm_call_committed);
    hm_buf_free(&result);
}

// The caller's own contact; of another's nothing is said.
static bool find(struct contact *c, struct hm_read *read) {
    struct hm_record record;
    struct hm_json person, data;
    if (!hm_read_data(read, "contact", hm_str_of(c->id), &record, &data) ||
        !hm_json_get(data, "person", &person) || !hm_json_key_is(person, hm_str_of(c->call->session->person)))
        return false;
    c->version = record.version;
    c->was = data;
    hm_json_get_text(data, "channel", c->channel, sizeof c->channel);
    if (!c->locale[0]) hm_json_get_text(data, "locale", c->locale, sizeof c->locale);
    return true;
}

static bool set_new(struct contact *c, struct hm_buf *address) {
    struct call *call = c->call;
    struct hm_buf text = {0};
    bool ok = false;
    hm_uuid7(hm_now_ms(), c->id);
    hm_arg_text(call, "channel", c->channel, sizeof c->channel);
    hm_arg_buf(call, "address", &text);
    if (!c->locale[0]) snprintf(c->locale, sizeof c->locale, "%s", call->session->locale);
    c->ask = true;
    if (strcmp(c->channel, "email") != 0 && strcmp(c->channel, "telegram") != 0)
        hm_call_param(call, "channel", "must be email or telegram");
    else if (strcmp(c->channel, "email") == 0 && !hm_mail_address_valid(hm_buf_view(&text)))
        hm_call_param(call, "address", "is no e-mail address");
    else if (strcmp(c->channel, "telegram") == 0 && text.len)
        hm_call_param(call, "address", "is not given for telegram: open the link that is answered");
    else
        ok = true;
    if (text.len) hm_json_put_str(address, hm_buf_view(&text));
    if (text.len) sodium_memzero(text.data, text.len);
    hm_buf_free(&text);
    c->address = hm_buf_view(address);
    return ok;
}

static void contact_set(struct call *call) {
    struct contact c = {.call = call};
    struct hm_read *read = NULL;
    struct hm_error err = {0};
    struct hm_buf address = {0};
    if (!person_of(call) || !asked(&c)) return;
    if (!c.id[0] && !set_new(&c, &address)) goto out;
    if (!hm_read_begin(call->institution->store, &read, &err)) {
        hm_call_fail_error(call, &err);
        goto out;
    }
    struct hm_types *types = hm_store_types(call->institution->store);
    if (!c.ask && !find(&c, read)) {
        hm_call_fail(call, HM_NOT_FOUND, "");
    } else {
        c.ask = c.ask || hm_arg_bool(call, "again", false);
        if (!c.ask || may_ask(&c, read, types)) set_commit(&c);
    }
    hm_types_unref(types);
    hm_read_end(read);
out:
    if (address.data) sodium_memzero(address.data, address.len);
    hm_buf_free(&address);
}

// ---- contact.verify -----------------------------------------------------------------------------------

static void told_wrong(struct commit_item *item) {
    if (item->ok && item->commit.code == HM_OK)
        hm_call_param(item->call, "code", "is not the code");
    else
        hm_call_fail_item(item->call, item);
}

static void contact_verify(struct call *call) {
    struct contact c = {.call = call};
    struct hm_read *read = NULL;
    struct hm_error err = {0};
    char given[16], code[8], nonce[64];
    if (!person_of(call)) return;
    hm_arg_text(call, "contact", c.id, sizeof c.id);
    if (!hm_arg_text(call, "code", given, sizeof given)) given[0] = '\0';
    if (!hm_read_begin(call->institution->store, &read, &err)) {
        hm_call_fail_error(call, &err);
        return;
    }
    if (!find(&c, read)) {
        hm_call_fail(call, HM_NOT_FOUND, "");
    } else if (!hm_json_get_text(c.was, "nonce", nonce, sizeof nonce) ||
               hm_now_ms() > hm_json_number(c.was, "asked") + CODE_LIFE_MS ||
               hm_json_number(c.was, "attempts") >= ATTEMPTS_MAX) {
        hm_call_reason(call, HM_CONFLICT, "reason", "code_over"); // another must be asked for
    } else {
        hm_contact_code(call->institution, c.id, nonce, code);
        c.verified = strlen(given) == 6 && sodium_memcmp(given, code, 6) == 0;
        c.wrong = !c.verified;
        struct commit_item *item = contact_item(&c);
        if (c.verified) {
            hm_item_finish_call(item, call, HM_LIT("{\"verified\":true}"), hm_call_committed);
        } else {
            // Told only when it has been counted: many at once are no more attempts than one.
            item->call = call;
            hm_item_submit(item, told_wrong);
        }
        sodium_memzero(code, sizeof code);
    }
    hm_read_end(read);
}

static void connect_chat(struct institution *inst, const struct hm_record *record, struct hm_json data,
                         struct hm_str chat, void (*done)(struct commit_item *item)) {
    static const char *const kept[] = {"person", "channel", "wants", "quiet", "locale", "created"};
    char audience[HM_ID_MAX + 16], person[HM_ID_MAX + 1] = "", id[HM_ID_MAX + 1], message[37];
    struct commit_item *item = hm_item_new(inst, "", "telegram");
    struct hm_buf out = {0};
    snprintf(id, sizeof id, "%.*s", (int)record->id.len, record->id.ptr);
    hm_json_get_text(data, "person", person, sizeof person);
    snprintf(audience, sizeof audience, "person:%s", person);
    hm_buf_char(&out, '{');
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        keep(&out, data, kept[i]);
    hm_json_member_str(&out, "address", chat);
    hm_json_member_int(&out, "verified", item->commit.now_ms);
    hm_buf_char(&out, '}');
    hm_item_put(item, "contact", record->id, record->version, hm_buf_view(&out), audience);
    struct out_new n = {.to = "telegram", .kind = "welcome", .person = person, .contact = id};
    hm_outgoing_put(item, &n, message);
    hm_item_submit(item, done);
    hm_buf_free(&out);
}

bool hm_contact_started(struct hm_engine *engine, struct hm_str code, struct hm_str chat,
                        void (*done)(struct commit_item *item)) {
    struct institution *inst, *next;
    char hash[65];
    bool found = false;
    hm_secret_hash(code, hash);
    HASH_ITER(hh, engine->institutions, inst, next) {
        struct hm_read *read = NULL;
        struct hm_record record;
        struct hm_json data;
        if (found || !hm_read_begin(inst->store, &read, NULL)) continue;
        struct hm_types *types = hm_store_types(inst->store);
        found = hm_read_unique(read, types, "contact", "start", hm_str_of(hash), &record, &data) &&
                hm_now_ms() <= hm_json_number(data, "asked") + CODE_LIFE_MS;
        if (found) connect_chat(inst, &record, data, chat, done);
        hm_types_unref(types);
        hm_read_end(read);
    }
    return found;
}

// ---- contact.list, contact.remove ---------------------------------------------------------------------

static bool list_one(void *arg, const struct hm_record *record, struct hm_json data) {
    static const char *const shown[] = {"channel", "verified", "wants",  "quiet",
                                        "locale",  "created",  "refused"};
    struct hm_buf *out = arg;
    hm_buf_text(out, out->data[out->len - 1] == '[' ? "{" : ",{");
    hm_json_member_str(out, "id", record->id);
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
        keep(out, data, shown[i]);
    hm_buf_char(out, '}');
    return true;
}

static void contact_list(struct call *call) {
    const struct hm_settings *s = &call->engine->settings;
    struct hm_buf out = {0};
    struct hm_read *read = NULL;
    struct hm_error err = {0};
    if (!person_of(call)) return;
    if (!hm_read_begin(call->institution->store, &read, &err)) {
        hm_call_fail_error(call, &err);
        return;
    }
    struct hm_types *types = hm_store_types(call->institution->store);
    hm_buf_text(&out, "{\"items\":[");
    hm_read_each(read, types, "contact", "person", hm_str_of(call->session->person), false, list_one, &out);
    hm_types_unref(types);
    hm_read_end(read);
    hm_buf_printf(&out, "],\"channels\":{\"email\":%s,\"telegram\":%s}}",
                  hm_channel_ready(s, "email") ? "true" : "false",
                  hm_channel_ready(s, "telegram") ? "true" : "false");
    hm_call_ok(call, hm_buf_view(&out));
    hm_buf_free(&out);
}

static void contact_remove(struct call *call) {
    struct contact c = {.call = call};
    struct hm_read *read = NULL;
    struct hm_error err = {0};
    if (!person_of(call)) return;
    hm_arg_text(call, "contact", c.id, sizeof c.id);
    if (!hm_read_begin(call->institution->store, &read, &err)) {
        hm_call_fail_error(call, &err);
        return;
    }
    bool found = find(&c, read);
    hm_read_end(read);
    if (!found) {
        hm_call_fail(call, HM_NOT_FOUND, "");
        return;
    }
    struct commit_item *item = hm_item_new(call->institution, call->by, call->method);
    hm_item_remove(item, "contact", hm_str_of(c.id), c.version);
    hm_item_finish_call(item, call, HM_LIT("{}"), hm_call_committed);
}

static const struct core_method rows[] = {
    {"contact.list", ACCESS_SIGNED_IN, "",
     "One's own contacts, without their addresses (record.get opens one), and which ways out are set up.",
     contact_list},
    {"contact.set", ACCESS_SIGNED_IN,
     "contact:text channel:text address:long wants:array quiet:object locale:text again:bool",
     "A new contact (channel email with address: a code is sent there; telegram: a link is answered), or "
     "what an own one "
     "wants: all, urgent, or first words of keys; quiet {from, to} in minutes of the day; again: another "
     "code.",
     contact_set},
    {"contact.verify", ACCESS_SIGNED_IN, "contact:text! code:text!", "Shows that an address is one's own.",
     contact_verify},
    {"contact.remove", ACCESS_SIGNED_IN, "contact:text!", "Takes an own contact away.", contact_remove},
};
const struct core_table hm_methods_contact = {rows, sizeof rows / sizeof *rows};
