// Where an institution lets other programs hear of what happens: webhook.*, for its administrators; and what
// they see of the queue, outgoing.list. Loop thread. Record "webhook" (hidden, id = its name):
// {"url","events","active","created","secret" (sealed under a key made of the server's, bound to institution
// and name)}.
//
// What always holds: a secret is answered once, to who made it; an address is looked at here for its form
// only, since what a name leads to is known when it is connected to (core/post).
#include "base/clock.h"
#include "engine/outgoing.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#define WEBHOOKS_MAX 20u
#define URL_MAX 500u
#define EVENTS_MAX 50u
#define LIST_MAX 200
#define NONCE crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG crypto_aead_xchacha20poly1305_ietf_ABYTES
#define SEALED (NONCE + WEBHOOK_SECRET + TAG)
#define VARIANT sodium_base64_VARIANT_ORIGINAL

// ---- secrets ------------------------------------------------------------------------------------------

static void key_of(struct institution *inst, const char *name, uint8_t key[32], struct hm_buf *bound) {
    static const char purpose[] = "webhook secret";
    crypto_generichash(key, 32, (const uint8_t *)purpose, sizeof purpose - 1, inst->engine->master_key,
                       sizeof inst->engine->master_key);
    hm_buf_printf(bound, "%s\n%s", inst->id, name);
}

void hm_webhook_seal(struct institution *inst, const char *name, const uint8_t secret[WEBHOOK_SECRET],
                     struct hm_buf *out) {
    uint8_t key[32], bytes[SEALED];
    char text[sodium_base64_ENCODED_LEN(SEALED, VARIANT)];
    struct hm_buf bound = {0};
    key_of(inst, name, key, &bound);
    randombytes_buf(bytes, NONCE);
    crypto_aead_xchacha20poly1305_ietf_encrypt(bytes + NONCE, NULL, secret, WEBHOOK_SECRET,
                                               (const uint8_t *)bound.data, bound.len, NULL, bytes, key);
    sodium_bin2base64(text, sizeof text, bytes, sizeof bytes, VARIANT);
    hm_buf_text(out, text);
    sodium_memzero(key, sizeof key);
    hm_buf_free(&bound);
}

bool hm_webhook_open(struct institution *inst, const char *name, struct hm_json data,
                     uint8_t secret[WEBHOOK_SECRET]) {
    char text[160];
    uint8_t key[32], bytes[SEALED];
    size_t len = 0;
    struct hm_buf bound = {0};
    if (!hm_json_get_text(data, "secret", text, sizeof text) ||
        sodium_base642bin(bytes, sizeof bytes, text, strlen(text), NULL, &len, NULL, VARIANT) ||
        len != SEALED)
        return false;
    key_of(inst, name, key, &bound);
    bool ok =
        crypto_aead_xchacha20poly1305_ietf_decrypt(secret, NULL, NULL, bytes + NONCE, SEALED - NONCE,
                                                   (const uint8_t *)bound.data, bound.len, bytes, key) == 0;
    sodium_memzero(key, sizeof key);
    hm_buf_free(&bound);
    return ok;
}

bool hm_webhook_takes(struct hm_json data, struct hm_str event) {
    struct hm_json active, events, item;
    bool is = false;
    if (!hm_json_get(data, "active", &active) || !hm_json_bool(active, &is) || !is) return false;
    if (!hm_json_get(data, "events", &events) || hm_json_count(events) == 0) return true;
    struct hm_json_iter it = hm_json_iter(events);
    while (hm_json_next(&it, NULL, &item))
        if (hm_json_key_is(item, event)) return true;
    return false;
}

// ---- webhook.set --------------------------------------------------------------------------------------

struct hook {
    struct call *call;
    char name[129];
    uint64_t version;
    struct hm_json was;
    struct hm_buf url, secret, shown; // secret: sealed; shown: what is answered
};

static void hook_free(struct hook *h) {
    if (h->shown.data) sodium_memzero(h->shown.data, h->shown.len);
    hm_buf_free(&h->shown);
    hm_buf_free(&h->secret);
    hm_buf_free(&h->url);
}

static void new_secret(struct hook *h) {
    uint8_t secret[WEBHOOK_SECRET];
    char text[64];
    randombytes_buf(secret, sizeof secret);
    hm_webhook_seal(h->call->institution, h->name, secret, &h->secret);
    sodium_bin2base64(text, sizeof text, secret, sizeof secret, VARIANT);
    hm_buf_printf(&h->shown, "whsec_%s", text);
    sodium_memzero(secret, sizeof secret);
    sodium_memzero(text, sizeof text);
}

static bool name_of(struct call *call, char name[129]) {
    hm_arg_text(call, "name", name, 129);
    if (strlen(name) <= WEBHOOK_NAME_MAX && hm_name_valid(hm_str_of(name))) return true;
    hm_call_param(call, "name", "must be 1 to 32 small letters, digits, _ . -, a letter first");
    return false;
}

static bool events_valid(struct hm_json events) {
    struct hm_json_iter it = hm_json_iter(events);
    struct hm_json item;
    char name[HM_NAME_MAX + 1];
    if (hm_json_count(events) > EVENTS_MAX) return false;
    while (hm_json_next(&it, NULL, &item))
        if (!hm_json_text(item, name, sizeof name) || !hm_name_valid(hm_str_of(name))) return false;
    return true;
}

static bool count_one(void *arg, const struct hm_record *record, struct hm_json data) {
    (void)record, (void)data;
    return ++*(unsigned *)arg < WEBHOOKS_MAX;
}

static bool hook_asked(struct hook *h, struct hm_json *events) {
    struct call *call = h->call;
    struct hm_error err = {0};
    bool http = call->engine->settings.webhook_networks[0] != '\0';
    if (!name_of(call, h->name)) return false;
    hm_arg_buf(call, "url", &h->url);
    hm_json_get(call->params, "events", events);
    if (h->url.len > URL_MAX || (h->url.len && strlen(h->url.data) != h->url.len))
        hm_call_param(call, "url", "is too long (500 bytes at most)");
    else if (h->url.len && !hm_post_url_check(h->url.data, http, &err))
        hm_call_param(call, "url", err.message);
    else if (events->raw.len && !events_valid(*events))
        hm_call_param(call, "events", "must be at most 50 names of events");
    else
        return true;
    return false;
}

static void put_member(struct hm_buf *out, const char *name, struct hm_str given, struct hm_json was,
                       const char *otherwise) {
    struct hm_json value;
    if (given.len)
        hm_json_member_raw(out, name, given);
    else if (was.raw.len && hm_json_get(was, name, &value))
        hm_json_member_raw(out, name, value.raw);
    else
        hm_json_member_raw(out, name, hm_str_of(otherwise));
}

// Whoever has just mended something need not wait for the next try.
static void lane_clear(struct call *call, const char *name) {
    char lane[LANE_NAME];
    snprintf(lane, sizeof lane, "w:%.*s", (int)WEBHOOK_NAME_MAX, name);
    hm_outgoing_lane_clear(call->institution, lane);
}

static void hook_commit(struct hook *h, struct hm_json events) {
    struct call *call = h->call;
    struct commit_item *item = hm_item_new(call->institution, call->by, call->method);
    struct hm_buf data = {0}, url = {0}, secret = {0}, created = {0}, result = {0};
    struct hm_json active = {0};
    hm_json_get(call->params, "active", &active);
    if (h->url.len) hm_json_put_str(&url, hm_buf_view(&h->url));
    if (h->secret.len) hm_json_put_str(&secret, hm_buf_view(&h->secret));
    hm_json_put_int(&created, item->commit.now_ms);
    hm_buf_char(&data, '{');
    put_member(&data, "url", hm_buf_view(&url), h->was, "null");
    put_member(&data, "events", events.raw, h->was, "[]");
    put_member(&data, "active", active.raw, h->was, "true");
    put_member(&data, "secret", hm_buf_view(&secret), h->was, "null");
    put_member(&data, "created", HM_LIT(""), h->was, created.data);
    hm_buf_char(&data, '}');
    hm_item_put(item, "webhook", hm_str_of(h->name), h->version, hm_buf_view(&data), "");
    hm_buf_char(&result, '{');
    hm_json_member_str(&result, "name", hm_str_of(h->name));
    if (h->shown.len) hm_json_member_str(&result, "secret", hm_buf_view(&h->shown));
    hm_buf_char(&result, '}');
    if (h->shown.len) hm_idem_end(call); // a secret is kept for nobody to ask for again
    hm_item_finish_call(item, call, hm_buf_view(&result), hm_call_committed);
    lane_clear(call, h->name);
    sodium_memzero(result.data, result.len);
    hm_buf_free(&result);
    hm_buf_free(&created);
    hm_buf_free(&secret);
    hm_buf_free(&url);
    hm_buf_free(&data);
}

static void webhook_set(struct call *call) {
    struct hook h = {.call = call};
    struct hm_json events = {0};
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_error err = {0};
    unsigned count = 0;
    if (!hook_asked(&h, &events)) goto out;
    if (!hm_read_begin(call->institution->store, &read, &err)) {
        hm_call_fail_error(call, &err);
        goto out;
    }
    struct hm_types *types = hm_store_types(call->institution->store);
    if (hm_read_data(read, "webhook", hm_str_of(h.name), &record, &h.was)) h.version = record.version;
    if (!h.version) hm_read_each(read, types, "webhook", NULL, HM_LIT(""), false, count_one, &count);
    hm_types_unref(types);
    if (!h.version && !h.url.len) {
        hm_call_param(call, "url", "is missing");
    } else if (count >= WEBHOOKS_MAX) {
        hm_call_reason(call, HM_CONFLICT, "reason", "too_many_webhooks");
    } else {
        if (!h.version || hm_arg_bool(call, "renew", false)) new_secret(&h);
        hook_commit(&h, events);
    }
    hm_read_end(read);
out:
    hook_free(&h);
}

// ---- webhook.list -------------------------------------------------------------------------------------

struct listing {
    struct hm_read *read;
    struct hm_types *types;
    struct hm_buf out;
};

static unsigned count_state(struct listing *l, const char *state, struct hm_str name, struct hm_json *last,
                            bool newest) {
    struct walk w;
    struct hm_record record;
    struct hm_json data;
    struct hm_buf equals = {0};
    unsigned count = 0;
    hm_buf_printf(&equals, "[\"%s\",\"w:%.*s\"]", state, (int)name.len, name.ptr);
    if (hm_walk_begin(&w, l->read, l->types, "outgoing", "queue", equals.data, "", "", newest))
        while (count < 10000 && hm_walk_next(&w, &record, &data))
            if (!count++) *last = data;
    hm_walk_end(&w);
    hm_buf_free(&equals);
    return count;
}

static void put_some(struct hm_buf *out, struct hm_json data, const char *const *names) {
    struct hm_json value;
    for (; *names; names++)
        if (hm_json_get(data, *names, &value)) hm_json_member_raw(out, *names, value.raw);
}

static bool list_hook(void *arg, const struct hm_record *record, struct hm_json data) {
    static const char *const shown[] = {"url", "events", "active", "created", NULL};
    static const char *const told[] = {"reason", "status", "tries", "due", NULL};
    struct listing *l = arg;
    struct hm_buf *out = &l->out;
    struct hm_json waiting = {0}, sent = {0}, given_up = {0};
    hm_buf_text(out, out->data[out->len - 1] == '[' ? "{" : ",{");
    hm_json_member_str(out, "name", record->id);
    put_some(out, data, shown);
    hm_json_member_int(out, "waiting", count_state(l, "waiting", record->id, &waiting, false));
    hm_json_member_int(out, "sent", count_state(l, "sent", record->id, &sent, true));
    hm_json_member_int(out, "given_up", count_state(l, "given_up", record->id, &given_up, true));
    if (sent.raw.len) hm_json_member_int(out, "last_sent", hm_json_number(sent, "due"));
    struct hm_json trouble = waiting.raw.len && hm_json_number(waiting, "tries") ? waiting : given_up;
    if (trouble.raw.len) {
        hm_json_key(out, "trouble");
        hm_buf_char(out, '{');
        put_some(out, trouble, told);
        hm_buf_char(out, '}');
    }
    hm_buf_char(out, '}');
    return true;
}

static void webhook_list(struct call *call) {
    struct listing l = {0};
    struct hm_error err = {0};
    if (!hm_read_begin(call->institution->store, &l.read, &err)) {
        hm_call_fail_error(call, &err);
        return;
    }
    l.types = hm_store_types(call->institution->store);
    hm_buf_text(&l.out, "{\"items\":[");
    hm_read_each(l.read, l.types, "webhook", NULL, HM_LIT(""), false, list_hook, &l);
    hm_buf_text(&l.out, "]}");
    hm_types_unref(l.types);
    hm_read_end(l.read);
    hm_call_ok(call, hm_buf_view(&l.out));
    hm_buf_free(&l.out);
}

// ---- webhook.remove, webhook.test ---------------------------------------------------------------------

static void with_hook(struct call *call, void (*fill)(struct commit_item *item, const char *name,
                                                      uint64_t version, struct hm_buf *result)) {
    char name[129];
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_json data;
    struct hm_error err = {0};
    struct hm_buf result = {0};
    if (!name_of(call, name)) return;
    if (!hm_read_begin(call->institution->store, &read, &err)) {
        hm_call_fail_error(call, &err);
        return;
    }
    bool found = hm_read_data(read, "webhook", hm_str_of(name), &record, &data);
    uint64_t version = found ? record.version : 0;
    hm_read_end(read);
    if (!found) {
        hm_call_fail(call, HM_NOT_FOUND, "");
        return;
    }
    struct commit_item *item = hm_item_new(call->institution, call->by, call->method);
    fill(item, name, version, &result);
    hm_item_finish_call(item, call, hm_buf_view(&result), hm_call_committed);
    hm_buf_free(&result);
}

// What waits for it is dropped when its turn comes.
static void fill_remove(struct commit_item *item, const char *name, uint64_t version, struct hm_buf *result) {
    hm_item_remove(item, "webhook", hm_str_of(name), version);
    hm_buf_text(result, "{}");
}

static void fill_test(struct commit_item *item, const char *name, uint64_t version, struct hm_buf *result) {
    char to[LANE_NAME], id[37];
    (void)version;
    snprintf(to, sizeof to, "w:%s", name);
    struct out_new n = {.to = to, .kind = "test", .event = "hamroh.test", .payload = HM_LIT("{}")};
    hm_outgoing_put(item, &n, id);
    hm_buf_printf(result, "{\"id\":\"%s\"}", id);
}

static void webhook_remove(struct call *call) {
    with_hook(call, fill_remove);
}

static void webhook_test(struct call *call) {
    char name[129];
    if (hm_arg_text(call, "name", name, sizeof name)) lane_clear(call, name);
    with_hook(call, fill_test);
}

// ---- outgoing.list ------------------------------------------------------------------------------------

static void outgoing_list(struct call *call) {
    static const char *const shown[] = {"to",  "state", "kind",   "event",  "since",
                                        "due", "tries", "reason", "status", NULL};
    struct listing l = {0};
    struct walk w;
    struct hm_record record;
    struct hm_json data;
    struct hm_error err = {0};
    int64_t left = hm_arg_int(call, "limit", 50);
    if (left < 1 || left > LIST_MAX) left = LIST_MAX;
    if (!hm_read_begin(call->institution->store, &l.read, &err)) {
        hm_call_fail_error(call, &err);
        return;
    }
    l.types = hm_store_types(call->institution->store);
    hm_buf_text(&l.out, "{\"items\":[");
    if (hm_walk_begin(&w, l.read, l.types, "outgoing", NULL, "", "", "", true))
        while (left-- && hm_walk_next(&w, &record, &data)) {
            hm_buf_text(&l.out, l.out.data[l.out.len - 1] == '[' ? "{" : ",{");
            hm_json_member_str(&l.out, "id", record.id);
            put_some(&l.out, data, shown);
            hm_buf_char(&l.out, '}');
        }
    hm_walk_end(&w);
    hm_buf_text(&l.out, "]}");
    hm_types_unref(l.types);
    hm_read_end(l.read);
    hm_call_ok(call, hm_buf_view(&l.out));
    hm_buf_free(&l.out);
}

static const struct core_method rows[] = {
    {"webhook.list", ACCESS_ADMIN, "",
     "The institution's webhooks, how many messages wait, and the last trouble.", webhook_list},
    {"webhook.set", ACCESS_ADMIN, "name:text! url:long events:array active:bool renew:bool",
     "Makes or changes a webhook; answers the secret that signs it when it is new, or with renew.",
     webhook_set},
    {"webhook.remove", ACCESS_ADMIN, "name:text!", "Takes a webhook away, and what waits for it.",
     webhook_remove},
    {"webhook.test", ACCESS_ADMIN, "name:text!", "Sends it the event hamroh.test.", webhook_test},
    {"outgoing.list", ACCESS_ADMIN, "limit:int",
     "The newest messages that leave, or have left, and what became of them; neither to whom nor what.",
     outgoing_list},
};
const struct core_table hm_methods_webhook = {rows, sizeof rows / sizeof *rows};
