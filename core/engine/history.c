// What was done with an account: who signed in, who tried, what changed about it; so that its owner can see
// what is not theirs. Loop thread. What always holds: little is kept and not for long (a network, no address;
// no word of what was typed; 50 entries and 90 days an account), attempts never push out what succeeded, and
// nothing a stranger wrote gets here.
#include "base/clock.h"
#include "base/id.h"
#include "engine/internal.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#define KEPT_MS (90LL * 24 * 3600 * 1000)
#define KEPT 50
#define KEPT_ATTEMPTS 20 // of them
#define HOUR_MS 3600000
#define ATTEMPTS_AN_HOUR 10
#define WAITING_MAX 1000
#define SWEEP_MAX 200

// The network of an address: enough to tell home from abroad, not who it is. "" for what is no address.
static void network_of(const char *address, char out[64]) {
    struct in_addr v4;
    struct in6_addr v6;
    char text[INET6_ADDRSTRLEN];
    out[0] = 0;
    if (strncmp(address, "::ffff:", 7) == 0 && strchr(address + 7, '.')) address += 7;
    if (inet_pton(AF_INET, address, &v4) == 1) {
        v4.s_addr &= htonl(0xffffff00u);
        if (inet_ntop(AF_INET, &v4, text, sizeof text)) snprintf(out, 64, "%s/24", text);
    } else if (inet_pton(AF_INET6, address, &v6) == 1) {
        memset(v6.s6_addr + 6, 0, 10);
        if (inet_ntop(AF_INET6, &v6, text, sizeof text)) snprintf(out, 64, "%s/48", text);
    }
}

static bool is_attempt(struct hm_json data) {
    char outcome[16];
    hm_json_get_text(data, "outcome", outcome, sizeof outcome);
    return strcmp(outcome, "failed") == 0 || strcmp(outcome, "code") == 0;
}

// ---- keeping it bounded -------------------------------------------------------------------------------

struct pruning {
    struct commit_item *item;
    int64_t old_ms;
    size_t count, attempts;
};

static bool prune_one(void *arg, const struct hm_record *record, struct hm_json data) {
    struct pruning *p = arg;
    bool attempt = is_attempt(data);
    if (hm_json_number(data, "time") < p->old_ms || p->count + 1 >= KEPT ||
        (attempt && p->attempts + 1 >= KEPT_ATTEMPTS)) {
        hm_item_remove(p->item, "sign_in", record->id, HM_ANY_VERSION);
    } else {
        p->count++;
        p->attempts += attempt;
    }
    return true;
}

// Newest first; leaves room for the one to come.
static void prune(struct commit_item *item, const char *account) {
    struct pruning p = {.item = item, .old_ms = item->commit.now_ms - KEPT_MS};
    struct hm_read *read = NULL;
    if (!hm_read_begin(item->institution->store, &read, NULL)) return;
    struct hm_types *types = hm_store_types(item->institution->store);
    hm_read_each(read, types, "sign_in", "account", hm_str_of(account), true, prune_one, &p);
    hm_types_unref(types);
    hm_read_end(read);
}

void hm_history_sweep(struct institution *inst, int64_t now_ms) {
    struct hm_types *types = hm_store_types(inst->store);
    const struct hm_type *type = hm_types_find(types, HM_LIT("sign_in"));
    const struct hm_index *index = hm_type_index(type, HM_LIT("time"));
    struct hm_buf to = {0};
    struct hm_range range = {0};
    struct hm_read *read = NULL;
    struct hm_scan *scan = NULL;
    struct hm_record record;
    struct commit_item *item = NULL;
    hm_json_put_int(&to, now_ms - KEPT_MS);
    if (hm_range_make(type, index, (struct hm_json){HM_JSON_ARRAY, HM_LIT("[]")}, (struct hm_json){0},
                      (struct hm_json){HM_JSON_NUMBER, hm_buf_view(&to)}, &range, NULL) &&
        hm_read_begin(inst->store, &read, NULL) &&
        hm_scan_begin(read, &range, false, HM_LIT(""), &scan, NULL)) {
        while (hm_scan_next(scan, &record) && (!item || item->intent_count < SWEEP_MAX)) {
            if (!item) item = hm_item_new(inst, "", "session.history");
            hm_item_remove(item, "sign_in", record.id, HM_ANY_VERSION);
        }
        hm_scan_end(scan);
    }
    hm_read_end(read);
    hm_range_free(&range);
    hm_types_unref(types);
    hm_buf_free(&to);
    if (item) hm_item_submit(item, hm_item_ignored);
}

// ---- writing ------------------------------------------------------------------------------------------

static void put(struct commit_item *item, const char *account, const char *person, const char *outcome,
                const char *agent, const char *network) {
    struct hm_buf data = {0};
    char id[37];
    hm_uuid7(item->commit.now_ms, id);
    hm_buf_char(&data, '{');
    hm_json_member_str(&data, "account", hm_str_of(account));
    hm_json_member_str(&data, "person", hm_str_of(person));
    hm_json_member_int(&data, "time", item->commit.now_ms);
    hm_json_member_str(&data, "outcome", hm_str_of(outcome));
    if (agent && agent[0]) hm_json_member_str(&data, "agent", hm_str_of(agent));
    if (network[0]) hm_json_member_str(&data, "network", hm_str_of(network));
    hm_buf_char(&data, '}');
    prune(item, account);
    hm_item_put(item, "sign_in", hm_str_of(id), 0, hm_buf_view(&data), "");
    hm_buf_free(&data);
}

void hm_history_put(struct commit_item *item, const char *account, const char *person, const char *outcome,
                    const char *agent, const char *address) {
    char network[64];
    network_of(address ? address : "", network);
    put(item, account, person, outcome, agent, network);
}

struct past {
    struct past *next;
    struct institution *institution;
    char account[HM_ID_MAX + 1], person[HM_ID_MAX + 1], outcome[16], network[64];
};

void hm_history_later(struct institution *inst, const char *account, const char *person, const char *outcome,
                      const char *address) {
    struct hm_engine *engine = inst->engine;
    if (engine->past_count >= WAITING_MAX) return;
    struct past *p = hm_alloc(sizeof *p);
    p->institution = inst;
    snprintf(p->account, sizeof p->account, "%s", account);
    snprintf(p->person, sizeof p->person, "%s", person);
    snprintf(p->outcome, sizeof p->outcome, "%s", outcome);
    network_of(address, p->network);
    p->next = engine->past;
    engine->past = p;
    engine->past_count++;
}

struct recent {
    const char *outcome;
    int64_t since_ms;
    size_t count;
};

static bool count_recent(void *arg, const struct hm_record *record, struct hm_json data) {
    struct recent *r = arg;
    char outcome[16];
    (void)record;
    if (hm_json_number(data, "time") < r->since_ms) return false;
    hm_json_get_text(data, "outcome", outcome, sizeof outcome);
    r->count += strcmp(outcome, r->outcome) == 0;
    return true;
}

// True: nothing is to be written. seen: the change as of which there is the account.
static bool enough(const struct past *p, uint64_t *seen) {
    struct hm_record record;
    struct hm_json data;
    struct recent r = {p->outcome, hm_now_ms() - HOUR_MS, 0};
    struct hm_read *read = NULL;
    if (!hm_read_begin(p->institution->store, &read, NULL)) return true;
    struct hm_types *types = hm_store_types(p->institution->store);
    hm_read_each(read, types, "sign_in", "account", hm_str_of(p->account), true, count_recent, &r);
    bool gone = !hm_read_data(read, "account", hm_str_of(p->account), &record, &data); // erased meanwhile
    *seen = hm_read_seq(read);
    hm_types_unref(types);
    hm_read_end(read);
    return gone || r.count >= ATTEMPTS_AN_HOUR;
}

void hm_history_flush(struct hm_engine *engine) {
    while (engine->past) {
        struct past *p = engine->past;
        engine->past = p->next;
        engine->past_count--;
        uint64_t seen = 0;
        if (!enough(p, &seen)) {
            struct commit_item *item = hm_item_new(p->institution, "", "session.history");
            hm_item_saw_record(item, "account", p->account, seen);
            put(item, p->account, p->person, p->outcome, NULL, p->network);
            hm_item_submit(item, hm_item_ignored);
        }
        free(p);
    }
}

void hm_history_close(struct hm_engine *engine) {
    while (engine->past) {
        struct past *next = engine->past->next;
        free(engine->past);
        engine->past = next;
    }
}

// ---- reading ------------------------------------------------------------------------------------------

struct listing {
    struct hm_buf *out;
    int64_t old_ms;
};

static bool list_one(void *arg, const struct hm_record *record, struct hm_json data) {
    static const char *const shown[] = {"time", "outcome", "agent", "network"};
    struct listing *l = arg;
    struct hm_json value;
    (void)record;
    if (hm_json_number(data, "time") < l->old_ms) return false;
    hm_buf_text(l->out, l->out->data[l->out->len - 1] == '[' ? "{" : ",{");
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
        if (hm_json_get(data, shown[i], &value)) hm_json_member_raw(l->out, shown[i], value.raw);
    hm_buf_char(l->out, '}');
    return true;
}

bool hm_history_list(struct institution *inst, const char *account, struct hm_buf *out,
                     struct hm_error *err) {
    struct listing l = {out, hm_now_ms() - KEPT_MS};
    struct hm_read *read = NULL;
    if (!hm_read_begin(inst->store, &read, err)) return false;
    struct hm_types *types = hm_store_types(inst->store);
    hm_buf_char(out, '[');
    hm_read_each(read, types, "sign_in", "account", hm_str_of(account), true, list_one, &l);
    hm_buf_char(out, ']');
    hm_types_unref(types);
    hm_read_end(read);
    return true;
}
