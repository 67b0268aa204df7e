// The queue of what leaves: which messages are due, one lane after the other, and what became of them. Loop
// thread; see outgoing.h for what always holds.
//
// A lane is a receiver that may fail as a whole: the mail server, Telegram, each webhook. What fails on the
// way there makes the lane wait, twice as long each time, with one message to try it; what the other side
// refuses concerns that message.
#include "engine/outgoing.h"
#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#define AT_ONCE 64u           // of all institutions
#define LANE_AT_ONCE 4u       // of one lane of mail or Telegram
#define HOOK_AT_ONCE 2u       // of one webhook
#define HOOKS_AT_ONCE 8u      // of an institution's webhooks
#define WAIT_MS 30000LL       // of a message after its first failure; doubled, up to
#define WAIT_MAX_MS 3600000LL // an hour
#define LANE_WAIT_MS 10000LL
#define LANE_WAIT_MAX_MS 900000LL
#define UNWRITTEN_MS 60000LL // what could not be noted would be sent again at once
#define LOOK_AT_LEAST_MS 60000LL
#define DRAIN_US 3000000u
#define COUNTED_MAX 100000u

const char *const hm_channels[CHANNELS] = {"email", "telegram", "webhook"};

unsigned hm_channel_of(struct hm_str to) {
    return hm_str_eq(to, HM_LIT("email")) ? 0 : hm_str_eq(to, HM_LIT("telegram")) ? 1 : 2;
}

bool hm_channel_ready(const struct hm_settings *s, const char *channel) {
    if (strcmp(channel, "email") == 0) return s->smtp_url[0] && s->smtp_from[0];
    if (strcmp(channel, "telegram") == 0) return s->telegram_token_file[0] && s->telegram_bot[0];
    return true;
}

// ---- reading ------------------------------------------------------------------------------------------

bool hm_walk_begin(struct walk *w, struct hm_read *read, struct hm_types *types, const char *type,
                   const char *index, const char *equals, const char *from, const char *to, bool descending) {
    const struct hm_type *declared = hm_types_find(types, hm_str_of(type));
    const struct hm_index *by = index ? hm_type_index(declared, hm_str_of(index)) : NULL;
    struct hm_json e = {0}, f = {0}, t = {0};
    *w = (struct walk){0};
    if (*equals && !hm_json_parse(hm_str_of(equals), &e, NULL)) return false;
    if (*from && !hm_json_parse(hm_str_of(from), &f, NULL)) return false;
    if (*to && !hm_json_parse(hm_str_of(to), &t, NULL)) return false;
    return hm_range_make(declared, by, e, f, t, &w->range, NULL) &&
           hm_scan_begin(read, &w->range, descending, HM_LIT(""), &w->scan, NULL);
}

bool hm_walk_next(struct walk *w, struct hm_record *record, struct hm_json *data) {
    if (!w->scan || !hm_scan_next(w->scan, record)) return false;
    *data = (struct hm_json){HM_JSON_OBJECT, record->data};
    return true;
}

void hm_walk_end(struct walk *w) {
    hm_scan_end(w->scan);
    hm_range_free(&w->range);
    *w = (struct walk){0};
}

unsigned hm_outgoing_count(struct hm_read *read, struct hm_types *types, const char *index, const char *value,
                           const char *kind, int64_t since_ms, unsigned most) {
    struct walk w;
    struct hm_record record;
    struct hm_json data, is;
    struct hm_buf equals = {0}, from = {0};
    unsigned count = 0;
    hm_buf_char(&equals, '[');
    hm_json_put_str(&equals, hm_str_of(value));
    hm_buf_char(&equals, ']');
    hm_json_put_int(&from, since_ms);
    if (hm_walk_begin(&w, read, types, "outgoing", index, equals.data, from.data, "", false))
        while (count < most && hm_walk_next(&w, &record, &data))
            count += hm_json_get(data, "kind", &is) && hm_json_key_is(is, hm_str_of(kind));
    hm_walk_end(&w);
    hm_buf_free(&equals);
    hm_buf_free(&from);
    return count;
}

// ---- writing ------------------------------------------------------------------------------------------

static void member(struct hm_buf *b, const char *name, const char *text) {
    if (text) hm_json_member_str(b, name, hm_str_of(text));
}

void hm_outgoing_put(struct commit_item *item, const struct out_new *n, char id[37]) {
    struct hm_buf data = {0};
    int64_t now = item->commit.now_ms;
    hm_uuid7(now, id);
    hm_buf_char(&data, '{');
    member(&data, "to", n->to);
    member(&data, "state", "waiting");
    member(&data, "kind", n->kind);
    hm_json_member_int(&data, "due", n->due_ms > now ? n->due_ms : now);
    hm_json_member_int(&data, "tries", 0);
    hm_json_member_int(&data, "since", now);
    member(&data, "person", n->person);
    member(&data, "contact", n->contact);
    member(&data, "notification", n->notification);
    member(&data, "event", n->event);
    if (n->payload.len) hm_json_member_raw(&data, "payload", n->payload);
    hm_buf_char(&data, '}');
    hm_item_put(item, "outgoing", hm_str_of(id), 0, hm_buf_view(&data), "");
    hm_buf_free(&data);
}

// ---- lanes --------------------------------------------------------------------------------------------

static struct lane *lane_of(struct outbox *box, const char *name) {
    struct lane *lane;
    DL_FOREACH(box->lanes, lane) {
        if (strcmp(lane->name, name) == 0) return lane;
    }
    lane = hm_alloc(sizeof *lane);
    snprintf(lane->name, sizeof lane->name, "%s", name);
    DL_APPEND(box->lanes, lane);
    return lane;
}

static bool is_hook(const struct lane *lane) {
    return strncmp(lane->name, "w:", 2) == 0;
}

static unsigned room(const struct outgoing *o, const struct outbox *box, const struct lane *lane) {
    unsigned most = lane->failures ? 1 : is_hook(lane) ? HOOK_AT_ONCE : LANE_AT_ONCE;
    if (o->flight >= AT_ONCE || lane->flight >= most) return 0;
    if (is_hook(lane) && box->hooks >= HOOKS_AT_ONCE) return 0;
    return most - lane->flight;
}

// Four fifths to six fifths of it, so that what failed together does not come back together.
static int64_t about(struct hm_engine *engine, int64_t ms) {
    uint8_t r[2];
    hm_engine_random(engine, r, sizeof r);
    return ms * (800 + (r[0] | r[1] << 8) % 401) / 1000;
}

static int64_t doubled(int64_t ms, unsigned times, int64_t most) {
    while (times-- && ms < most)
        ms *= 2;
    return ms < most ? ms : most;
}

// ---- what became of one -------------------------------------------------------------------------------

static void parcel_free(struct parcel *p) {
    struct outgoing *o = p->institution->engine->outgoing;
    struct outbox *box = p->institution->outbox;
    DL_DELETE(o->parcels, p);
    o->flight--;
    p->lane->flight--;
    box->hooks -= is_hook(p->lane);
    box->look = true;
    free(p->data);
    free(p);
}

static void noted(struct commit_item *item) {
    struct parcel *p = item->arg;
    bool known = item->ok && (item->commit.code == HM_OK || item->commit.code == HM_CONFLICT);
    if (!known) p->lane->not_before_ms = hm_now_ms() + UNWRITTEN_MS;
    parcel_free(p);
}

static void put_audit(struct commit_item *item, const struct parcel *p) {
    char id[37], contact[HM_ID_MAX + 1], person[HM_ID_MAX + 1];
    struct hm_buf data = {0};
    if (!hm_json_get_text(p->json, "contact", contact, sizeof contact)) return;
    if (!hm_json_get_text(p->json, "person", person, sizeof person)) person[0] = '\0';
    hm_uuid7(item->commit.now_ms, id);
    hm_buf_char(&data, '{');
    member(&data, "who", "system");
    member(&data, "whose", person);
    member(&data, "type", "contact");
    member(&data, "id", contact);
    member(&data, "field", "address");
    member(&data, "why", "outgoing");
    hm_json_member_int(&data, "time", item->commit.now_ms);
    hm_buf_char(&data, '}');
    hm_item_put(item, "audit", hm_str_of(id), 0, hm_buf_view(&data), "role:administrator");
    hm_buf_free(&data);
}

// The address is good for nothing: it has to be confirmed anew.
static void put_refused(struct commit_item *item, const struct parcel *p) {
    char id[HM_ID_MAX + 1], audience[HM_ID_MAX + 16];
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_json data;
    struct hm_buf next = {0}, last = {0}, now = {0};
    if (!hm_json_get_text(p->json, "contact", id, sizeof id) ||
        !hm_read_begin(p->institution->store, &read, NULL))
        return;
    if (hm_read_data(read, "contact", hm_str_of(id), &record, &data)) {
        struct hm_json person;
        struct hm_buf whose = {0};
        hm_json_put_int(&now, item->commit.now_ms);
        hm_json_with(data, "verified", HM_LIT("null"), &next);
        hm_json_with((struct hm_json){HM_JSON_OBJECT, hm_buf_view(&next)}, "refused", hm_buf_view(&now),
                     &last);
        if (hm_json_get(data, "person", &person)) hm_json_string(person, &whose);
        snprintf(audience, sizeof audience, "person:%s", whose.data ? whose.data : "");
        hm_item_put(item, "contact", hm_str_of(id), record.version, hm_buf_view(&last), audience);
        hm_buf_free(&whose);
    }
    hm_read_end(read);
    hm_buf_free(&next);
    hm_buf_free(&last);
    hm_buf_free(&now);
}

// Its record as it is from now on. What it was to say is not kept longer than it is needed.
static void put_state(struct commit_item *item, const struct parcel *p, const char *state, int64_t due_ms,
                      const char *reason, int status) {
    static const char *const changed[] = {"state", "due", "tries", "reason", "status", "expires"};
    struct hm_json_iter it = hm_json_iter(p->json);
    struct hm_json key, value;
    struct hm_buf data = {0};
    bool waiting = strcmp(state, "waiting") == 0;
    hm_buf_char(&data, '{');
    while (hm_json_next(&it, &key, &value)) {
        bool skip = !waiting && hm_json_key_is(key, HM_LIT("payload"));
        for (size_t i = 0; i < sizeof changed / sizeof *changed; i++)
            skip = skip || hm_json_key_is(key, hm_str_of(changed[i]));
        if (skip) continue;
        if (data.len > 1) hm_buf_char(&data, ',');
        hm_buf_str(&data, key.raw);
        hm_buf_char(&data, ':');
        hm_buf_str(&data, value.raw);
    }
    member(&data, "state", state);
    hm_json_member_int(&data, "due", waiting ? due_ms : item->commit.now_ms);
    hm_json_member_int(&data, "tries", hm_json_number(p->json, "tries") + 1);
    if (*reason) member(&data, "reason", reason);
    if (status) hm_json_member_int(&data, "status", status);
    if (!waiting) hm_json_member_int(&data, "expires", item->commit.now_ms + OUT_KEPT_MS);
    hm_buf_char(&data, '}');
    hm_item_put(item, "outgoing", hm_str_of(p->id), p->version, hm_buf_view(&data), "");
    hm_buf_free(&data);
}

static void note(struct parcel *p, const char *state, int64_t due_ms, const char *reason, int status) {
    struct commit_item *item = hm_item_new(p->institution, "", "outgoing");
    put_state(item, p, state, due_ms, reason, status);
    if (p->opened) put_audit(item, p);
    if (p->refused_address) put_refused(item, p);
    item->arg = p;
    p->committing = true;
    hm_item_submit(item, noted);
}

static void log_one(const struct parcel *p, enum hm_level level, const char *event, const char *reason,
                    int status) {
    hm_log(level, event,
           "\"institution\":\"%s\",\"message\":\"%s\",\"to\":\"%s\",\"reason\":\"%s\",\"status\":%d,"
           "\"tries\":%lld",
           p->institution->id, p->id, p->lane->name, reason, status,
           (long long)hm_json_number(p->json, "tries") + 1);
}

static void failed(struct parcel *p, bool lane, unsigned wait_s, const char *reason, int status) {
    struct hm_engine *engine = p->institution->engine;
    unsigned channel = hm_channel_of(hm_str_of(p->lane->name));
    int64_t now = hm_now_ms(), tries = hm_json_number(p->json, "tries");
    int64_t wait = doubled(WAIT_MS, (unsigned)(tries < 20 ? tries : 20), WAIT_MAX_MS);
    int64_t asked = (int64_t)wait_s * 1000, patience = (int64_t)engine->settings.outgoing_days * OUT_DAY_MS;
    if (lane) {
        unsigned before = p->lane->failures++;
        int64_t rest = doubled(LANE_WAIT_MS, before < 20 ? before : 20, LANE_WAIT_MAX_MS);
        p->lane->not_before_ms = now + about(engine, rest > asked ? rest : asked);
        if (!before) log_one(p, HM_WARN, "outgoing.lane_waits", reason, status);
    }
    engine->outgoing->failed[channel]++;
    if (now - hm_json_number(p->json, "since") >= patience) {
        engine->outgoing->given_up[channel]++;
        log_one(p, HM_WARN, "outgoing.given_up", reason, status);
        note(p, "given_up", 0, reason, status);
        return;
    }
    log_one(p, HM_INFO, "outgoing.later", reason, status);
    note(p, "waiting", now + about(engine, wait > asked ? wait : asked), reason, status);
}

// Telegram tells in the answer's body how long to wait.
static unsigned asked_to_wait(const struct parcel *p, const struct hm_post_answer *a) {
    struct hm_json body, value;
    int64_t seconds = a->wait_s;
    if (strcmp(p->lane->name, "telegram") == 0 && hm_json_parse(a->body, &body, NULL) &&
        hm_json_path(body, "parameters.retry_after", &value))
        hm_json_int(value, &seconds);
    return seconds < 0 ? 0 : seconds > 86400 ? 86400 : (unsigned)seconds;
}

static bool address_is_bad(const struct parcel *p, const struct hm_post_answer *a) {
    if (strcmp(p->lane->name, "telegram") == 0) return a->status == 403 || a->status == 400;
    bool mailbox = a->status == 550 || a->status == 551 || a->status == 553 || a->status == 556;
    return strcmp(p->lane->name, "email") == 0 && mailbox;
}

static void answered(void *arg, const struct hm_post_answer *a) {
    struct parcel *p = arg;
    struct outgoing *o = p->institution->engine->outgoing;
    unsigned channel = hm_channel_of(hm_str_of(p->lane->name));
    bool whole = !a->reached || a->status == 429 || a->status == 503 || a->status == 421;
    bool bot =
        channel == 1 && (a->status == 401 || a->status == 404); // the token is wrong: no message's fault
    if (a->end == HM_POST_STOPPED) {
        parcel_free(p);
    } else if (a->end == HM_POST_SENT) {
        p->lane->failures = 0;
        o->sent[channel]++;
        log_one(p, HM_DEBUG, "outgoing.sent", "", a->status);
        note(p, "sent", 0, "", a->status);
    } else if (a->end == HM_POST_LATER || bot) {
        if (!whole && !bot) p->lane->failures = 0;
        failed(p, whole || bot, asked_to_wait(p, a), a->reason, a->status);
    } else {
        if (a->reached) p->lane->failures = 0;
        o->failed[channel]++;
        o->given_up[channel]++;
        p->refused_address = address_is_bad(p, a);
        log_one(p, HM_WARN, "outgoing.given_up", a->reason, a->status);
        note(p, "given_up", 0, a->reason, a->status);
    }
}

// ---- what is due --------------------------------------------------------------------------------------

static bool under_way(const struct outgoing *o, const struct institution *inst, struct hm_str id) {
    const struct parcel *p;
    DL_FOREACH(o->parcels, p) {
        if (p->institution == inst && hm_str_eq(id, hm_str_of(p->id))) return true;
    }
    return false;
}

static void begin(struct institution *inst, struct lane *lane, const struct hm_record *record,
                  struct hm_read *read) {
    struct outgoing *o = inst->engine->outgoing;
    struct parcel *p = hm_alloc(sizeof *p);
    struct making m = {0};
    struct hm_error err = {0};
    p->institution = inst;
    p->lane = lane;
    p->version = record->version;
    p->data = hm_str_dup(record->data);
    p->json = (struct hm_json){HM_JSON_OBJECT, {p->data, record->data.len}};
    snprintf(p->id, sizeof p->id, "%.*s", (int)record->id.len, record->id.ptr);
    DL_APPEND(o->parcels, p);
    o->flight++;
    lane->flight++;
    inst->outbox->hooks += is_hook(lane);
    enum made made = hm_outgoing_make(p, read, &m);
    if (made == MADE) {
        hm_making_send(inst->engine, &m, answered, p, !is_hook(lane), &err);
        if (err.code) failed(p, true, 0, "no_room", 0);
    } else if (made == MADE_LATER) {
        failed(p, true, 0, m.reason, 0);
    } else {
        o->dropped[hm_channel_of(hm_str_of(lane->name))]++;
        note(p, "dropped", 0, m.reason, 0);
    }
    hm_making_free(&m);
}

static void sooner(int64_t *next, int64_t ms) {
    if (ms < *next) *next = ms;
}

// Begins what of the lane is due; *next: when there is more to do.
static void look_at(struct institution *inst, struct hm_read *read, struct hm_types *types, struct lane *lane,
                    int64_t now, int64_t *next) {
    struct walk w;
    struct hm_record record;
    struct hm_json data;
    struct hm_buf equals = {0};
    unsigned most = room(inst->engine->outgoing, inst->outbox, lane);
    if (lane->not_before_ms > now) {
        sooner(next, lane->not_before_ms);
        return;
    }
    if (!most) return; // the end of another makes it be looked at again
    hm_buf_text(&equals, "[\"waiting\",");
    hm_json_put_str(&equals, hm_str_of(lane->name));
    hm_buf_char(&equals, ']');
    if (hm_walk_begin(&w, read, types, "outgoing", "queue", equals.data, "", "", false))
        while (most && hm_walk_next(&w, &record, &data)) {
            int64_t due = hm_json_number(data, "due");
            if (due > now) {
                sooner(next, due);
                break;
            }
            if (under_way(inst->engine->outgoing, inst, record.id)) continue;
            begin(inst, lane, &record, read);
            most--;
        }
    hm_walk_end(&w);
    hm_buf_free(&equals);
}

// The first lane behind this one that has something waiting.
static bool next_lane(struct hm_read *read, struct hm_types *types, char name[LANE_NAME]) {
    struct walk w;
    struct hm_record record;
    struct hm_json data;
    struct hm_buf from = {0};
    bool found = false;
    if (name[0]) {
        char behind[LANE_NAME + 2];
        snprintf(behind, sizeof behind, "%s\x01", name);
        hm_json_put_str(&from, hm_str_of(behind));
    }
    if (hm_walk_begin(&w, read, types, "outgoing", "queue", "[\"waiting\"]", from.len ? from.data : "", "",
                      false))
        found = hm_walk_next(&w, &record, &data) && hm_json_get_text(data, "to", name, LANE_NAME);
    hm_walk_end(&w);
    hm_buf_free(&from);
    return found;
}

static void look(struct institution *inst, int64_t now) {
    struct hm_read *read = NULL;
    char name[LANE_NAME] = "";
    int64_t next = now + LOOK_AT_LEAST_MS;
    inst->outbox->look = false;
    if (!hm_read_begin(inst->store, &read, NULL)) return;
    struct hm_types *types = hm_store_types(inst->store);
    while (next_lane(read, types, name))
        look_at(inst, read, types, lane_of(inst->outbox, name), now, &next);
    hm_types_unref(types);
    hm_read_end(read);
    inst->outbox->next_ms = next;
}

void hm_outgoing_tick(struct institution *inst, int64_t now_ms) {
    struct hm_engine *engine = inst->engine;
    if (!inst->outbox) {
        inst->outbox = hm_alloc(sizeof *inst->outbox);
        inst->outbox->look = true; // what an earlier server left
    }
    struct outbox *box = inst->outbox;
    if (engine->draining || !engine->outgoing || hm_store_in_doubt(inst->store)) return;
    if (box->look || now_ms >= box->next_ms || now_ms + LOOK_AT_LEAST_MS < box->next_ms) look(inst, now_ms);
}

void hm_outgoing_changes(struct institution *inst, const struct hm_change *changes, size_t count) {
    for (size_t i = 0; inst->outbox && i < count; i++)
        if (hm_str_eq(changes[i].type, HM_LIT("outgoing")) || hm_str_eq(changes[i].type, HM_LIT("webhook")))
            inst->outbox->look = true;
}

void hm_outgoing_lane_clear(struct institution *inst, const char *name) {
    if (!inst->outbox) return;
    struct lane *lane = lane_of(inst->outbox, name);
    lane->failures = 0;
    lane->not_before_ms = 0;
    inst->outbox->look = true;
}

// ---- its life -----------------------------------------------------------------------------------------

bool hm_outgoing_open(struct hm_engine *engine, struct hm_error *err) {
    engine->outgoing = hm_alloc(sizeof *engine->outgoing);
    engine->outgoing->post = hm_post_new(engine->loop);
    return engine->outgoing->post || hm_fail(err, HM_UNAVAILABLE, "libcurl does not start");
}

// Messages under way get a moment to be told of; what is not is sent again by the next server.
bool hm_outgoing_busy(const struct hm_engine *engine, uint64_t since_us) {
    return engine->outgoing && engine->outgoing->flight && hm_mono_us() - since_us < DRAIN_US;
}

void hm_outgoing_stop(struct hm_engine *engine) {
    if (!engine->outgoing) return;
    hm_post_free(engine->outgoing->post);
    engine->outgoing->post = NULL;
}

void hm_outgoing_forget(struct institution *inst) {
    struct lane *lane, *next;
    if (!inst->outbox) return;
    DL_FOREACH_SAFE(inst->outbox->lanes, lane, next) {
        free(lane);
    }
    free(inst->outbox);
    inst->outbox = NULL;
}

void hm_outgoing_close(struct hm_engine *engine) {
    free(engine->outgoing);
    engine->outgoing = NULL;
}

// ---- figures ------------------------------------------------------------------------------------------

void hm_outgoing_waiting(struct institution *inst, uint64_t counts[3]) {
    struct walk w;
    struct hm_record record;
    struct hm_json data, to;
    struct hm_read *read = NULL;
    unsigned seen = 0;
    if (!hm_read_begin(inst->store, &read, NULL)) return;
    struct hm_types *types = hm_store_types(inst->store);
    if (hm_walk_begin(&w, read, types, "outgoing", "queue", "[\"waiting\"]", "", "", false))
        while (seen++ < COUNTED_MAX && hm_walk_next(&w, &record, &data))
            if (hm_json_get(data, "to", &to))
                counts[hm_json_key_is(to, HM_LIT("email"))      ? 0
                       : hm_json_key_is(to, HM_LIT("telegram")) ? 1
                                                                : 2]++;
    hm_walk_end(&w);
    hm_types_unref(types);
    hm_read_end(read);
}

void hm_outgoing_metrics(struct hm_engine *engine, struct hm_buf *out) {
    struct outgoing *o = engine->outgoing;
    struct institution *inst, *next;
    uint64_t waiting[CHANNELS] = {0};
    if (!o) return;
    HASH_ITER(hh, engine->institutions, inst, next) {
        hm_outgoing_waiting(inst, waiting);
    }
    const struct {
        const char *name, *help;
        enum hm_metric_type type;
        const uint64_t *counts;
    } families[] = {
        {"hamroh_outgoing_waiting", "Messages that are to be sent", HM_GAUGE, waiting},
        {"hamroh_outgoing_sent_total", "Messages sent", HM_COUNTER, o->sent},
        {"hamroh_outgoing_failed_total", "Attempts at sending that failed", HM_COUNTER, o->failed},
        {"hamroh_outgoing_given_up_total", "Messages given up", HM_COUNTER, o->given_up},
        {"hamroh_outgoing_dropped_total",
         "Messages that were no longer to be sent (read meanwhile, receiver removed)", HM_COUNTER,
         o->dropped},
    };
    for (size_t f = 0; f < sizeof families / sizeof *families; f++) {
        hm_metric_head(out, families[f].name, families[f].type, families[f].help);
        for (unsigned i = 0; i < CHANNELS; i++)
            hm_metric_count(out, families[f].name, "channel", hm_channels[i], families[f].counts[i]);
    }
    hm_metric_one(out, "hamroh_outgoing_under_way", HM_GAUGE, "Messages being sent", (double)o->flight);
    hm_metric_one(out, "hamroh_outgoing_limited_total", HM_COUNTER,
                  "Messages not made because the receiver had as many as outgoing_per_day allows",
                  (double)o->not_told);
}
