// What plugins tell people and programs: notifications and events, from a worker's result into the commit of
// its call; and notification.*. Loop thread.
//
// What always holds: a worker is believed nothing: what it sends is taken apart and written anew, with the
// audience, the times and the queue that are the core's to set; who is told by which way is decided by the
// receiver's contacts as they are now; a notification and the messages that tell of it are one commit with
// what the call did.
#include "base/clock.h"
#include "engine/outgoing.h"

#include <stdio.h>
#include <stdlib.h>

#define TEXT_MAX 1000u // bytes, of one language
#define KEY_MAX 64
#define ACTION_MAX 200
#define PAYLOAD_MAX 65536u
#define ARGS_MAX 4096u
#define READ_MAX 500 // marked by one call
#define MARK_AGAIN 3

static const char *const languages[] = {"uz", "uz-Cyrl", "ru", "en"};
#define LANGUAGES (sizeof languages / sizeof *languages)

// ---- what a worker sent -------------------------------------------------------------------------------

static bool is_flag(struct hm_json data, const char *name, bool *out) {
    struct hm_json value;
    *out = false;
    return !hm_json_get(data, name, &value) || hm_json_bool(value, out);
}

static bool text_valid(struct hm_json text) {
    for (size_t i = 0; i < LANGUAGES; i++) {
        struct hm_json value;
        if (!hm_json_get(text, languages[i], &value) || value.kind != HM_JSON_STRING || value.raw.len < 3 ||
            value.raw.len > TEXT_MAX * 6 + 2)
            return false;
    }
    return true;
}

struct news {
    char person[HM_ID_MAX + 1], key[KEY_MAX + 1], action[ACTION_MAX + 1];
    struct hm_json text, args;
    bool urgent, safe;
};

static bool news_read(struct hm_json data, struct news *n) {
    struct hm_json value;
    *n = (struct news){0};
    if (!hm_json_get_text(data, "person", n->person, sizeof n->person) || !hm_id_valid(hm_str_of(n->person)))
        return false;
    if (!hm_json_get_text(data, "key", n->key, sizeof n->key) || !hm_name_valid(hm_str_of(n->key)))
        return false;
    if (!hm_json_get(data, "text", &n->text) || !text_valid(n->text)) return false;
    if (hm_json_get(data, "args", &n->args) && (n->args.kind != HM_JSON_OBJECT || n->args.raw.len > ARGS_MAX))
        return false;
    if (hm_json_get(data, "action", &value) && !hm_json_get_text(data, "action", n->action, sizeof n->action))
        return false;
    return is_flag(data, "urgent", &n->urgent) && is_flag(data, "safe", &n->safe);
}

struct event {
    char webhook[WEBHOOK_NAME_MAX + 1], name[KEY_MAX + 1];
    struct hm_json data;
};

static bool event_read(struct hm_json data, struct event *e) {
    *e = (struct event){0};
    return hm_json_get_text(data, "webhook", e->webhook, sizeof e->webhook) &&
           hm_name_valid(hm_str_of(e->webhook)) && hm_json_get_text(data, "event", e->name, sizeof e->name) &&
           hm_name_valid(hm_str_of(e->name)) && hm_json_get(data, "data", &e->data) &&
           e->data.kind == HM_JSON_OBJECT && e->data.raw.len <= PAYLOAD_MAX;
}

static bool is_news(const struct hm_intent *intent) {
    return hm_str_eq(intent->type, HM_LIT("notification"));
}

static bool is_event(const struct hm_intent *intent) {
    return hm_str_eq(intent->type, HM_LIT("outgoing"));
}

bool hm_notify_honest(const struct parsed_result *r, size_t *told) {
    *told = 0;
    for (size_t i = 0; i < r->intent_count; i++) {
        const struct hm_intent *intent = &r->intents[i];
        struct hm_json data;
        struct news news;
        struct event event;
        if (!is_news(intent) && !is_event(intent)) continue;
        if (intent->remove || intent->expect || !hm_json_parse(intent->data, &data, NULL)) return false;
        if (is_news(intent) ? !news_read(data, &news) : !event_read(data, &event)) return false;
        ++*told;
    }
    return true;
}

// ---- limits -------------------------------------------------------------------------------------------

// Of the day so far. After a start they are counted in the store once; what is kept expires 90 days later to
// the millisecond.
static uint64_t told_today(struct institution *inst, int64_t now) {
    struct outbox *box = inst->outbox;
    int64_t day = now / OUT_DAY_MS;
    struct walk w;
    struct hm_record record;
    struct hm_json data;
    struct hm_buf from = {0};
    struct hm_read *read = NULL;
    if (box->day == day) return box->told;
    bool first = box->day == 0;
    box->day = day;
    box->told = 0;
    if (!first || !hm_read_begin(inst->store, &read, NULL)) return 0;
    struct hm_types *types = hm_store_types(inst->store);
    hm_json_put_int(&from, day * OUT_DAY_MS + NEWS_KEPT_MS);
    if (hm_walk_begin(&w, read, types, "notification", "expires", "", from.data, "", false))
        while (box->told < inst->engine->settings.notify_per_day && hm_walk_next(&w, &record, &data))
            box->told++;
    hm_walk_end(&w);
    hm_types_unref(types);
    hm_read_end(read);
    hm_buf_free(&from);
    return box->told;
}

bool hm_notify_allowed(struct call *call, size_t told) {
    const struct hm_settings *s = &call->engine->settings;
    struct hm_buf message = {0};
    if (!told) return true;
    if (told > s->notify_per_call) {
        hm_buf_printf(&message, "the call notifies %zu times; notify_per_call allows %u", told,
                      s->notify_per_call);
        hm_call_fail(call, HM_TOO_LARGE, message.data);
        hm_buf_free(&message);
        return false;
    }
    if (!call->institution->outbox) hm_outgoing_tick(call->institution, hm_now_ms());
    if (told_today(call->institution, hm_now_ms()) + told <= s->notify_per_day) return true;
    hm_call_wait(call, (unsigned)((OUT_DAY_MS - hm_now_ms() % OUT_DAY_MS) / 1000 + 1));
    return false;
}

// ---- who is told by which way -------------------------------------------------------------------------

static bool wants(struct hm_json contact, const struct news *n) {
    struct hm_json list, item;
    size_t head = strcspn(n->key, ".");
    if (!hm_json_get(contact, "wants", &list)) return false;
    struct hm_json_iter it = hm_json_iter(list);
    while (hm_json_next(&it, NULL, &item))
        if (hm_json_key_is(item, HM_LIT("all")) || (n->urgent && hm_json_key_is(item, HM_LIT("urgent"))) ||
            hm_json_key_is(item, (struct hm_str){n->key, head}))
            return true;
    return false;
}

// The end of the quiet hours that this moment lies in, or the moment itself. Minutes of the institution's
// day.
static int64_t after_quiet(const struct institution *inst, struct hm_json contact, int64_t now) {
    struct hm_json quiet;
    if (!hm_json_get(contact, "quiet", &quiet) || quiet.kind != HM_JSON_OBJECT) return now;
    int64_t from = hm_json_number(quiet, "from"), to = hm_json_number(quiet, "to");
    int64_t local = now + (int64_t)inst->zone_minutes * 60000, minute = local % OUT_DAY_MS / 60000;
    bool inside = from <= to ? minute >= from && minute < to : minute >= from || minute < to;
    if (!inside) return now;
    int64_t wait = (to - minute + 1440) % 1440;
    return now + wait * 60000 - local % 60000;
}

struct counted { // messages of this commit to one contact, which the snapshot does not show yet
    UT_hash_handle hh;
    unsigned count;
    char id[HM_ID_MAX + 1];
};

struct telling {
    struct commit_item *item;
    struct counted *counted;
    struct hm_read *read;
    struct hm_types *types;
    const struct news *news;
    struct hm_str notification;
};

static struct counted *counted_of(struct telling *t, const char *id) {
    struct counted *c = NULL;
    HASH_FIND_STR(t->counted, id, c);
    if (c) return c;
    c = hm_alloc(sizeof *c);
    snprintf(c->id, sizeof c->id, "%s", id);
    HASH_ADD_STR(t->counted, id, c);
    return c;
}

static void counted_free(struct telling *t) {
    struct counted *c, *next;
    HASH_ITER(hh, t->counted, c, next) {
        HASH_DEL(t->counted, c);
        free(c);
    }
}

static bool tell_contact(void *arg, const struct hm_record *record, struct hm_json contact) {
    struct telling *t = arg;
    struct institution *inst = t->item->institution;
    struct hm_engine *engine = inst->engine;
    char contact_id[HM_ID_MAX + 1], channel[16], id[37], news[HM_ID_MAX + 1];
    int64_t now = t->item->commit.now_ms;
    unsigned most = engine->settings.outgoing_per_day;
    if (hm_json_number(contact, "verified") == 0 || !wants(contact, t->news)) return true;
    if (!hm_json_get_text(contact, "channel", channel, sizeof channel)) return true;
    if (!hm_channel_ready(&engine->settings, channel)) return true;
    snprintf(contact_id, sizeof contact_id, "%.*s", (int)record->id.len, record->id.ptr);
    snprintf(news, sizeof news, "%.*s", (int)t->notification.len, t->notification.ptr);
    struct counted *counted = counted_of(t, contact_id);
    if (counted->count +
            hm_outgoing_count(t->read, t->types, "contact", contact_id, "news", now - OUT_DAY_MS, most) >=
        most) {
        engine->outgoing->not_told++;
        return true;
    }
    struct out_new n = {.to = channel,
                        .kind = "news",
                        .person = t->news->person,
                        .contact = contact_id,
                        .notification = news,
                        .due_ms = t->news->urgent ? now : after_quiet(inst, contact, now)};
    hm_outgoing_put(t->item, &n, id);
    counted->count++;
    return true;
}

// ---- written anew -------------------------------------------------------------------------------------

static void news_write(struct commit_item *item, const struct news *n, struct hm_buf *out) {
    int64_t now = item->commit.now_ms;
    hm_buf_char(out, '{');
    hm_json_member_str(out, "person", hm_str_of(n->person));
    hm_json_member_str(out, "key", hm_str_of(n->key));
    hm_json_key(out, "text");
    hm_buf_char(out, '{');
    for (size_t i = 0; i < LANGUAGES; i++) {
        struct hm_json value;
        if (hm_json_get(n->text, languages[i], &value)) hm_json_member_raw(out, languages[i], value.raw);
    }
    hm_buf_char(out, '}');
    if (n->args.raw.len) hm_json_member_raw(out, "args", n->args.raw);
    if (n->action[0]) hm_json_member_str(out, "action", hm_str_of(n->action));
    hm_json_member_raw(out, "urgent", n->urgent ? HM_LIT("true") : HM_LIT("false"));
    hm_json_member_raw(out, "safe", n->safe ? HM_LIT("true") : HM_LIT("false"));
    hm_json_member_raw(out, "unread", HM_LIT("true"));
    hm_json_member_int(out, "created", now);
    hm_json_member_int(out, "expires", now + NEWS_KEPT_MS);
    hm_buf_char(out, '}');
}

static struct hm_str audience_of(struct commit_item *item, const char *person) {
    struct hm_buf principal = {0}, packed = {0};
    hm_buf_printf(&principal, "person:%s", person);
    hm_packed_add(&packed, hm_buf_view(&principal));
    hm_buf_free(&principal);
    hm_item_own(item, packed.data);
    return hm_buf_view(&packed);
}

static void take_news(struct telling *t, size_t at, struct hm_json data) {
    struct commit_item *item = t->item;
    struct news n;
    struct hm_buf text = {0};
    if (!news_read(data, &n)) return; // looked at before
    news_write(item, &n, &text);
    struct hm_str kept = hm_item_keep(item, hm_buf_view(&text)), audience = audience_of(item, n.person);
    struct hm_str id = item->intents[at].id;
    hm_buf_free(&text);
    item->intents[at].data = kept;
    item->intents[at].audience = audience;
    item->intents[at].members = HM_LIT("");
    t->news = &n;
    t->notification = id;
    hm_read_each(t->read, t->types, "contact", "person", hm_str_of(n.person), false, tell_contact, t);
}

// The worker's intent becomes the message itself, or, where nobody listens, nothing: then it is put as
// dropped.
static void take_event(struct commit_item *item, size_t at, struct hm_json data, struct hm_read *read) {
    struct event e;
    struct hm_record record;
    struct hm_json hook;
    struct hm_buf text = {0};
    int64_t now = item->commit.now_ms;
    if (!event_read(data, &e)) return;
    bool listens = hm_read_data(read, "webhook", hm_str_of(e.webhook), &record, &hook) &&
                   hm_webhook_takes(hook, hm_str_of(e.name));
    hm_buf_printf(&text,
                  "{\"to\":\"w:%s\",\"state\":\"%s\",\"kind\":\"event\",\"event\":\"%s\",\"due\":%lld,"
                  "\"since\":%lld,\"tries\":0",
                  e.webhook, listens ? "waiting" : "dropped", e.name, (long long)now, (long long)now);
    if (listens)
        hm_json_member_raw(&text, "payload", e.data.raw);
    else
        hm_json_member_int(&text, "expires", now + OUT_DAY_MS);
    hm_buf_char(&text, '}');
    item->intents[at].data = hm_item_keep(item, hm_buf_view(&text));
    item->intents[at].audience = item->intents[at].members = HM_LIT("");
    hm_buf_free(&text);
}

void hm_notify_take(struct commit_item *item, size_t told) {
    struct institution *inst = item->institution;
    struct hm_read *read = NULL;
    size_t count = item->intent_count;
    if (!told || !hm_read_begin(inst->store, &read, NULL))
        return; // then the store refuses them, as a plugin's
    struct hm_types *types = hm_store_types(inst->store);
    struct telling t = {.item = item, .read = read, .types = types};
    for (size_t i = 0; i < count; i++) {
        const struct hm_intent *intent = &item->intents[i];
        struct hm_json data;
        if ((!is_news(intent) && !is_event(intent)) || !hm_json_parse(intent->data, &data, NULL)) continue;
        if (is_news(intent))
            take_news(&t, i, data);
        else
            take_event(item, i, data, read);
    }
    counted_free(&t);
    hm_types_unref(types);
    hm_read_end(read);
    inst->outbox->told += told;
    item->commit.from_core = true; // all that the worker sent has been looked at by hm_frame_result, and here
}

// ---- notification.* -----------------------------------------------------------------------------------

struct marking {
    struct call *call;
    struct commit_item *item;
    struct hm_read *read;
    unsigned count;
    bool more;
};

static void mark(struct marking *m, const struct hm_record *record, struct hm_json data) {
    char audience[HM_ID_MAX + 16];
    struct hm_buf read = {0}, text = {0}, whole = {0};
    hm_json_put_int(&read, m->item->commit.now_ms);
    hm_json_with(data, "unread", HM_LIT("false"), &text);
    hm_json_with((struct hm_json){HM_JSON_OBJECT, hm_buf_view(&text)}, "read", hm_buf_view(&read), &whole);
    snprintf(audience, sizeof audience, "person:%s", m->call->session->person);
    hm_item_put(m->item, "notification", record->id, record->version, hm_buf_view(&whole), audience);
    m->count++;
    hm_buf_free(&read);
    hm_buf_free(&text);
    hm_buf_free(&whole);
}

static void mark_all(struct marking *m, struct hm_types *types) {
    struct walk w;
    struct hm_record record;
    struct hm_json data;
    struct hm_buf equals = {0};
    hm_buf_char(&equals, '[');
    hm_json_put_str(&equals, hm_str_of(m->call->session->person));
    hm_buf_text(&equals, ",true]");
    if (hm_walk_begin(&w, m->read, types, "notification", "unread", equals.data, "", "", false))
        while (hm_walk_next(&w, &record, &data)) {
            m->more = m->count == READ_MAX;
            if (m->more) break;
            mark(m, &record, data);
        }
    hm_walk_end(&w);
    hm_buf_free(&equals);
}

// Of those that are not the caller's own, or not there, nothing is said.
static void mark_some(struct marking *m, struct hm_json ids) {
    struct hm_json_iter it = hm_json_iter(ids);
    struct hm_json item;
    const char *person = m->call->session->person;
    while (hm_json_next(&it, NULL, &item) && m->count < READ_MAX) {
        char id[HM_ID_MAX + 1];
        struct hm_record record;
        struct hm_json data, whose, unread;
        bool is = false, twice = false;
        if (!hm_json_text(item, id, sizeof id) ||
            !hm_read_data(m->read, "notification", hm_str_of(id), &record, &data))
            continue;
        for (size_t i = 0; i < m->item->intent_count; i++)
            twice = twice || hm_str_eq(m->item->intents[i].id, hm_str_of(id));
        if (!twice && hm_json_get(data, "person", &whose) && hm_json_key_is(whose, hm_str_of(person)) &&
            hm_json_get(data, "unread", &unread) && hm_json_bool(unread, &is) && is)
            mark(m, &record, data);
    }
}

static void notification_read(struct call *call);

// Two devices of one person may mark the same at the same time: what is left to mark is looked at again.
static void marked(struct commit_item *item) {
    struct call *call = item->call;
    bool overtaken = item->ok && item->commit.code == HM_CONFLICT && call->conflicts++ < MARK_AGAIN;
    if (!overtaken)
        hm_call_committed(item);
    else if (hm_call_still(call))
        notification_read(call);
}

static void notification_read(struct call *call) {
    struct hm_error err = {0};
    struct hm_json ids = {0};
    struct hm_buf result = {0};
    struct marking m = {.call = call};
    bool all = hm_arg_bool(call, "all", false);
    if (!call->session || !call->session->person[0]) {
        hm_call_reason(call, HM_CONFLICT, "reason", "no_person");
        return;
    }
    hm_json_get(call->params, "ids", &ids);
    if (!all && ids.kind != HM_JSON_ARRAY) {
        hm_call_param(call, "ids", "must be a list of ids, or all must be true");
        return;
    }
    if (!hm_read_begin(call->institution->store, &m.read, &err)) {
        hm_call_fail_error(call, &err);
        return;
    }
    m.item = hm_item_new(call->institution, call->by, call->method);
    struct hm_types *types = hm_store_types(call->institution->store);
    if (all)
        mark_all(&m, types);
    else
        mark_some(&m, ids);
    hm_types_unref(types);
    hm_read_end(m.read);
    hm_buf_printf(&result, "{\"read\":%u,\"more\":%s}", m.count, m.more ? "true" : "false");
    if (m.count) {
        hm_item_finish_call(m.item, call, hm_buf_view(&result), marked);
    } else {
        hm_item_free(m.item);
        hm_call_ok(call, hm_buf_view(&result));
    }
    hm_buf_free(&result);
}

static const struct core_method rows[] = {
    {"notification.read", ACCESS_SIGNED_IN, "ids:array all:bool",
     "Marks one's own notifications as read: these, or all (more: true when some are left for another call).",
     notification_read},
};
const struct core_table hm_methods_notify = {rows, sizeof rows / sizeof *rows};
