// Sessions in use: the objects that connections share, the principals they have, and how both follow what
// is committed. Loop thread only. What always holds: a session in use is in the table of its institution
// and in one group for its account, one for its person, and one for each record it is a member of, so
// that a change finds those it concerns without looking at the others. Principals are replaced before the
// changes of the batch that changed them are told.
#include "base/clock.h"
#include "base/code.h"
#include "engine/internal.h"

#include <stdio.h>
#include <stdlib.h>

#define SEEN_EVERY_MS (5 * 60 * 1000)
#define UNUSED_MS (10 * 60 * 1000) // out of the table when no connection has it
#define ROLES_MAX 32
#define SESSIONS_MAX 200 // of one account; one more ends the one unused for longest

struct group {
    UT_hash_handle hh;
    struct live **lives;
    size_t count, cap;
    size_t key_len;
    char key[]; // 'a' account, 'p' person, 'm' membership; then the name
};

// ---- groups -------------------------------------------------------------------------------------------

static struct group *group_find(struct institution *inst, char kind, struct hm_str name) {
    char key[400];
    struct group *group = NULL;
    if (!inst->groups || name.len + 1 > sizeof key) return NULL;
    key[0] = kind;
    memcpy(key + 1, name.ptr, name.len);
    HASH_FIND(hh, inst->groups, key, (unsigned)(name.len + 1), group);
    return group;
}

static void group_join(struct live *live, char kind, struct hm_str name) {
    struct institution *inst = live->institution;
    if (name.len == 0 || name.len > 390) return;
    struct group *group = group_find(inst, kind, name);
    if (!group) {
        group = hm_alloc(sizeof *group + name.len + 1);
        group->key_len = name.len + 1;
        group->key[0] = kind;
        memcpy(group->key + 1, name.ptr, name.len);
        HASH_ADD_KEYPTR(hh, inst->groups, group->key, (unsigned)group->key_len, group);
    }
    if (group->count == group->cap) {
        group->cap = group->cap ? group->cap * 2 : 2;
        group->lives = hm_realloc(group->lives, group->cap * sizeof *group->lives);
    }
    group->lives[group->count++] = live;
    if (live->group_count == live->group_cap) {
        live->group_cap = live->group_cap ? live->group_cap * 2 : 4;
        live->groups = hm_realloc(live->groups, live->group_cap * sizeof(struct group *));
    }
    live->groups[live->group_count++] = group;
}

static void groups_leave(struct live *live) {
    for (size_t i = 0; i < live->group_count; i++) {
        struct group *group = live->groups[i];
        for (size_t k = 0; k < group->count; k++) {
            if (group->lives[k] != live) continue;
            group->lives[k] = group->lives[--group->count];
            break;
        }
        if (group->count) continue;
        HASH_DEL(live->institution->groups, group);
        free(group->lives);
        free(group);
    }
    live->group_count = 0;
}

// ---- who somebody is ----------------------------------------------------------------------------------

struct names {
    struct hm_buf text; // all names one after the other
    size_t *ends;
    size_t count, cap;
};

static void names_add(struct names *n, const char *prefix, struct hm_str name) {
    if (n->count == n->cap) {
        n->cap = n->cap ? n->cap * 2 : 16;
        n->ends = hm_realloc(n->ends, n->cap * sizeof *n->ends);
    }
    hm_buf_text(&n->text, prefix);
    hm_buf_str(&n->text, name);
    n->ends[n->count++] = n->text.len;
}

static bool add_membership(void *arg, struct hm_str principal) {
    names_add(arg, "", principal);
    return true;
}

static void caller_json(struct live *live) {
    const struct hm_session *s = live->session;
    struct hm_buf b = {0};
    hm_buf_text(&b, "{\"person\":");
    if (s->person[0])
        hm_json_put_str(&b, hm_str_of(s->person));
    else
        hm_buf_text(&b, "null");
    hm_json_member_str(&b, "login", hm_str_of(s->login));
    hm_json_key(&b, "roles");
    hm_buf_char(&b, '[');
    for (size_t i = 0; i < s->role_count; i++) {
        if (i) hm_buf_char(&b, ',');
        hm_json_put_str(&b, s->roles[i]);
    }
    hm_buf_char(&b, ']');
    hm_json_key(&b, "principals");
    hm_principals_json(s->principals, &b);
    hm_json_member_str(&b, "locale", hm_str_of(s->locale));
    hm_json_member_raw(&b, "admin", s->admin ? HM_LIT("true") : HM_LIT("false"));
    hm_json_member_str(&b, "method_by", hm_str_of(live->by));
    free(live->json);
    live->json = b.data;
}

// Roles from the account as it is now, memberships from the store; then everything that is made of them.
static bool refresh(struct live *live, struct hm_read *read, struct hm_json account) {
    struct hm_session *s = live->session;
    struct names n = {0};
    struct hm_str roles[ROLES_MAX];
    struct hm_buf texts[ROLES_MAX] = {{0}};
    size_t role_count = 0;
    struct hm_json list, item;
    s->limited = hm_factor_missing(live->institution->engine, read, s->account, account);
    if (!s->limited && hm_json_get(account, "roles", &list)) {
        struct hm_json_iter it = hm_json_iter(list);
        while (role_count < ROLES_MAX && hm_json_next(&it, NULL, &item)) {
            if (!hm_json_string(item, &texts[role_count])) continue;
            roles[role_count] = hm_buf_view(&texts[role_count]);
            names_add(&n, "role:", roles[role_count++]);
        }
    }
    hm_session_set_roles(s, roles, role_count);
    s->invisible = hm_json_get(account, "presence", &item) && item.kind == HM_JSON_FALSE;
    for (size_t i = 0; i < ROLES_MAX; i++)
        hm_buf_free(&texts[i]);
    if (s->limited) {
        names_add(&n, "", HM_LIT("public"));
    } else {
        names_add(&n, "", HM_LIT("institution"));
        names_add(&n, "account:", hm_str_of(s->account));
    }
    size_t own = n.count;
    if (s->person[0] && !s->limited) {
        names_add(&n, "person:", hm_str_of(s->person));
        own = n.count;
        hm_read_memberships(read, hm_str_of(s->person), add_membership, &n, NULL);
    }
    groups_leave(live);
    group_join(live, 'a', hm_str_of(s->account));
    group_join(live, 'p', hm_str_of(s->person));
    struct hm_str *names = hm_alloc_array(n.count, sizeof *names);
    for (size_t i = 0; i < n.count; i++) {
        size_t begin = i ? n.ends[i - 1] : 0;
        names[i] = (struct hm_str){n.text.data + begin, n.ends[i] - begin};
        if (i >= own) group_join(live, 'm', names[i]);
    }
    s->principals = hm_principals_new(names, n.count);
    free(names);
    free(n.ends);
    hm_buf_free(&n.text);
    caller_json(live);
    return true;
}

static bool account_active(struct hm_json account) {
    char state[32];
    return !hm_json_get_text(account, "state", state, sizeof state) || strcmp(state, "active") == 0;
}

// ---- coming and going ---------------------------------------------------------------------------------

struct live *hm_live_of(struct hm_session *session) {
    return session ? session->engine : NULL;
}

static void drop(struct live *live) {
    groups_leave(live);
    HASH_DEL(live->institution->sessions, live);
    live->session->engine = NULL;
    hm_session_unref(live->session);
    free(live->groups);
    free(live->json);
    free(live);
}

void hm_live_end(struct live *live, const char *reason) {
    struct hm_engine *engine = live->institution->engine;
    struct hm_session *session = hm_session_ref(live->session);
    session->ended = true;
    session->revoked = strcmp(reason, "revoked") == 0;
    drop(live);
    if (engine->listener.ended) engine->listener.ended(engine->listener.arg, session, reason);
    hm_session_unref(session);
}

static bool fill(struct live *live, struct hm_read *read, const char *hash, struct hm_error *err) {
    struct hm_session *s = live->session;
    struct hm_record record;
    struct hm_json data, account;
    if (!hm_read_data(read, "session", hm_str_of(hash), &record, &data))
        return hm_fail(err, HM_UNAUTHENTICATED, "no such session");
    snprintf(s->institution, sizeof s->institution, "%s", live->institution->id);
    snprintf(s->token_hash, sizeof s->token_hash, "%s", hash);
    hm_json_get_text(data, "account", s->account, sizeof s->account);
    hm_json_get_text(data, "person", s->person, sizeof s->person);
    if (!hm_json_get_text(data, "locale", s->locale, sizeof s->locale))
        snprintf(s->locale, sizeof s->locale, "uz");
    s->expires_ms = hm_json_number(data, "expires");
    s->idle_ms = hm_json_number(data, "idle_ms");
    s->seen_ms = live->saved_seen_ms = hm_json_number(data, "seen");
    if (hm_session_expired(s, hm_now_ms()))
        return hm_fail(err, HM_UNAUTHENTICATED, "the session has expired");
    if (!hm_read_data(read, "account", hm_str_of(s->account), &record, &account) || !account_active(account))
        return hm_fail(err, HM_UNAUTHENTICATED, "the account is closed");
    s->epoch = hm_json_number(data, "epoch");
    if (s->epoch != hm_json_number(account, "epoch"))
        return hm_fail(err, HM_UNAUTHENTICATED, "every session of the account was ended");
    hm_json_get_text(account, "login", s->login, sizeof s->login);
    snprintf(live->by, sizeof live->by, "%s%s",
             s->person[0] ? "" : "account:", s->person[0] ? s->person : s->account);
    return refresh(live, read, account);
}

bool hm_live_load(struct institution *inst, const char *token_hash, struct live **out, struct hm_error *err) {
    struct live *live = NULL;
    struct hm_read *read = NULL;
    HASH_FIND_STR(inst->sessions, token_hash, live);
    if (live) {
        if (!hm_live_use(live, hm_now_ms()))
            return hm_fail(err, HM_UNAUTHENTICATED, "the session has expired");
        *out = live;
        return true;
    }
    if (!hm_read_begin(inst->store, &read, err)) return false;
    live = hm_alloc(sizeof *live);
    live->institution = inst;
    live->session = hm_session_new();
    bool ok = fill(live, read, token_hash, err);
    hm_read_end(read);
    if (!ok) {
        groups_leave(live);
        hm_session_unref(live->session);
        free(live->groups);
        free(live->json);
        free(live);
        return false;
    }
    live->session->engine = live;
    HASH_ADD_KEYPTR(hh, inst->sessions, live->session->token_hash,
                    (unsigned)strlen(live->session->token_hash), live);
    hm_live_use(live, hm_now_ms());
    *out = live;
    return true;
}

bool hm_live_find(struct hm_engine *engine, struct hm_str token, struct live **out, struct hm_error *err) {
    char institution[65], hash[65];
    struct institution *inst;
    bool known = hm_token_institution(token, institution);
    // A client that was told there is no such session would forget it.
    if (known && hm_inst_unopened(engine, institution)) return hm_fail(err, HM_UNAVAILABLE, HM_UNOPENED);
    if (!known || !(inst = hm_inst_find(engine, institution)))
        return hm_fail(err, HM_UNAUTHENTICATED, "no such session");
    hm_secret_hash(token, hash);
    return hm_live_load(inst, hash, out, err);
}

struct hm_session *hm_engine_session(struct hm_engine *engine, struct hm_str token) {
    struct live *live;
    if (engine->closing || !hm_live_find(engine, token, &live, NULL)) return NULL;
    return hm_session_ref(live->session);
}

// Keeps when it was last used, now and then.
static void save_seen(struct live *live, int64_t now_ms) {
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_json data;
    struct hm_buf text = {0}, number_text = {0};
    live->saved_seen_ms = now_ms;
    if (!hm_read_begin(live->institution->store, &read, NULL)) return;
    if (hm_read_data(read, "session", hm_str_of(live->session->token_hash), &record, &data)) {
        struct commit_item *item = hm_item_new(live->institution, live->by, "session.seen");
        hm_json_put_int(&number_text, now_ms);
        hm_json_with(data, "seen", hm_buf_view(&number_text), &text);
        hm_item_put(item, "session", record.id, record.version, hm_buf_view(&text), "");
        hm_item_submit(item, hm_item_ignored);
    }
    hm_read_end(read);
    hm_buf_free(&text);
    hm_buf_free(&number_text);
}

static void forget(struct live *live) { // its record, when it has expired
    struct commit_item *item = hm_item_new(live->institution, "", "session.expired");
    hm_item_remove(item, "session", hm_str_of(live->session->token_hash), HM_ANY_VERSION);
    hm_item_submit(item, hm_item_ignored);
    hm_live_end(live, "expired");
}

bool hm_live_use(struct live *live, int64_t now_ms) {
    if (hm_session_expired(live->session, now_ms)) {
        forget(live);
        return false;
    }
    // Were a clock that has been set back believed, the session would seem unused once it is set right.
    if (now_ms > live->session->seen_ms) live->session->seen_ms = now_ms;
    if (now_ms - live->saved_seen_ms >= SEEN_EVERY_MS) save_seen(live, now_ms);
    return true;
}

void hm_live_sweep(struct institution *inst, int64_t now_ms) {
    struct live *live, *next;
    HASH_ITER(hh, inst->sessions, live, next) {
        if (hm_session_expired(live->session, now_ms))
            forget(live);
        else if (live->session->refs == 1 && now_ms - live->session->seen_ms > UNUSED_MS)
            drop(live);
    }
}

void hm_live_close(struct institution *inst) {
    struct live *live, *next;
    HASH_ITER(hh, inst->sessions, live, next) {
        drop(live);
    }
}

void hm_live_answer(struct live *live, const char *token, struct hm_buf *out) {
    const struct hm_session *s = live->session;
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_json data, name;
    hm_buf_char(out, '{');
    hm_json_member_str(out, "token", hm_str_of(token));
    hm_json_member_int(out, "expires", s->expires_ms);
    hm_json_key(out, "person");
    if (s->person[0])
        hm_json_put_str(out, hm_str_of(s->person));
    else
        hm_buf_text(out, "null");
    if (s->person[0] && hm_read_begin(live->institution->store, &read, NULL)) {
        if (hm_read_data(read, "person", hm_str_of(s->person), &record, &data) &&
            hm_json_get(data, "name", &name))
            hm_json_member_raw(out, "name", name.raw);
        hm_read_end(read);
    }
    hm_json_member_str(out, "login", hm_str_of(s->login));
    hm_json_key(out, "roles");
    hm_buf_char(out, '[');
    for (size_t i = 0; i < s->role_count; i++) {
        if (i) hm_buf_char(out, ',');
        hm_json_put_str(out, s->roles[i]);
    }
    hm_buf_char(out, ']');
    hm_json_key(out, "principals");
    hm_principals_json(s->principals, out);
    hm_json_member_str(out, "institution", hm_str_of(s->institution));
    hm_json_member_str(out, "locale", hm_str_of(s->locale));
    if (s->limited) hm_json_member_str(out, "need", HM_LIT("totp"));
    hm_buf_char(out, '}');
}

// ---- ending all of an account's -----------------------------------------------------------------------

struct ending {
    struct commit_item *item;
    const char *keep;
    struct hm_str epoch; // JSON
};

static bool end_one(void *arg, const struct hm_record *record, struct hm_json data) {
    struct ending *e = arg;
    if (e->keep && hm_str_eq(record->id, hm_str_of(e->keep))) {
        struct hm_buf text = {0};
        hm_json_with(data, "epoch", e->epoch, &text);
        hm_item_put(e->item, "session", record->id, record->version, hm_buf_view(&text), "");
        hm_buf_free(&text);
    } else {
        hm_item_remove(e->item, "session", record->id, HM_ANY_VERSION);
    }
    return true;
}

void hm_live_end_all(struct commit_item *item, struct hm_read *read, struct hm_types *types,
                     const struct hm_record *account, struct hm_json data, const char *keep) {
    struct hm_buf epoch = {0}, text = {0};
    hm_json_put_int(&epoch, hm_json_number(data, "epoch") + 1);
    hm_json_with(data, "epoch", hm_buf_view(&epoch), &text);
    hm_item_put(item, "account", account->id, account->version, hm_buf_view(&text), "");
    struct ending e = {item, keep, hm_buf_view(&epoch)};
    hm_read_each(read, types, "session", "account", account->id, false, end_one, &e);
    hm_buf_free(&epoch);
    hm_buf_free(&text);
}

struct tidying {
    struct commit_item *item;
    int64_t now_ms, oldest_ms;
    size_t count;
    char oldest[HM_ID_MAX + 1];
};

static bool tidy_one(void *arg, const struct hm_record *record, struct hm_json data) {
    struct tidying *t = arg;
    const struct hm_session as_kept = {.expires_ms = hm_json_number(data, "expires"),
                                       .idle_ms = hm_json_number(data, "idle_ms"),
                                       .seen_ms = hm_json_number(data, "seen")};
    if (hm_session_expired(&as_kept, t->now_ms)) {
        hm_item_remove(t->item, "session", record->id, HM_ANY_VERSION);
        return true;
    }
    if (t->count++ == 0 || as_kept.seen_ms < t->oldest_ms) {
        t->oldest_ms = as_kept.seen_ms;
        snprintf(t->oldest, sizeof t->oldest, "%.*s", (int)record->id.len, record->id.ptr);
    }
    return true;
}

void hm_live_tidy(struct commit_item *item, const char *account) {
    struct tidying t = {.item = item, .now_ms = hm_now_ms()};
    struct hm_read *read = NULL;
    if (!hm_read_begin(item->institution->store, &read, NULL)) return;
    struct hm_types *types = hm_store_types(item->institution->store);
    hm_read_each(read, types, "session", "account", hm_str_of(account), false, tidy_one, &t);
    if (t.count >= SESSIONS_MAX) hm_item_remove(item, "session", hm_str_of(t.oldest), HM_ANY_VERSION);
    hm_types_unref(types);
    hm_read_end(read);
}

// ---- following what is committed ----------------------------------------------------------------------

struct stale_list {
    struct live **lives;
    size_t count, cap;
};

static void mark(struct stale_list *list, struct live *live) {
    if (live->stale) return;
    live->stale = true;
    if (list->count == list->cap) {
        list->cap = list->cap ? list->cap * 2 : 16;
        list->lives = hm_realloc(list->lives, list->cap * sizeof(struct live *));
    }
    list->lives[list->count++] = live;
}

static bool among(struct hm_json members, const char *person) {
    struct hm_json_iter it = hm_json_iter(members);
    struct hm_json item;
    struct hm_buf text = {0};
    bool found = false;
    while (!found && hm_json_next(&it, NULL, &item)) {
        hm_buf_clear(&text);
        found = hm_json_string(item, &text) && text.len > 7 && memcmp(text.data, "person:", 7) == 0 &&
                strcmp(text.data + 7, person) == 0;
    }
    hm_buf_free(&text);
    return found;
}

static void members_changed(struct institution *inst, const struct hm_change *change,
                            struct stale_list *list) {
    char principal[HM_NAME_MAX + HM_ID_MAX + 2];
    struct hm_json members = {0}, item;
    if (change->type.len > HM_NAME_MAX || change->id.len > HM_ID_MAX) return;
    int len = snprintf(principal, sizeof principal, "%.*s:%.*s", (int)change->type.len, change->type.ptr,
                       (int)change->id.len, change->id.ptr);
    struct hm_str name = {principal, (size_t)len};
    if (change->json.len) hm_json_get((struct hm_json){HM_JSON_OBJECT, change->json}, "members", &members);
    struct group *were = group_find(inst, 'm', name);
    for (size_t i = 0; were && i < were->count; i++)
        if (!among(members, were->lives[i]->session->person)) mark(list, were->lives[i]);
    struct hm_json_iter it = hm_json_iter(members);
    struct hm_buf text = {0};
    while (hm_json_next(&it, NULL, &item)) {
        hm_buf_clear(&text);
        if (!hm_json_string(item, &text) || text.len <= 7 || memcmp(text.data, "person:", 7) != 0) continue;
        struct group *are = group_find(inst, 'p', (struct hm_str){text.data + 7, text.len - 7});
        for (size_t i = 0; are && i < are->count; i++)
            if (!hm_principals_has(are->lives[i]->session->principals, name)) mark(list, are->lives[i]);
    }
    hm_buf_free(&text);
}

static void one_change(struct institution *inst, const struct hm_change *change, struct stale_list *list) {
    if (hm_str_eq(change->type, HM_LIT("account")) || hm_str_eq(change->type, HM_LIT("factor"))) {
        struct group *group = group_find(inst, 'a', change->id);
        for (size_t i = 0; group && i < group->count; i++)
            mark(list, group->lives[i]);
    } else if (hm_str_eq(change->type, HM_LIT("session"))) {
        struct live *live = NULL;
        HASH_FIND(hh, inst->sessions, change->id.ptr, (unsigned)change->id.len, live);
        if (!live || change->action != HM_DELETED) return;
        live->ended = true;
        mark(list, live);
    } else {
        members_changed(inst, change, list);
    }
}

// The account's epoch has moved on: does the session's with it?
static bool outdated(struct live *live, struct hm_read *read, struct hm_json account) {
    struct hm_session *s = live->session;
    struct hm_record record;
    struct hm_json data;
    int64_t epoch = hm_json_number(account, "epoch");
    if (epoch == s->epoch) return false;
    if (hm_read_data(read, "session", hm_str_of(s->token_hash), &record, &data))
        s->epoch = hm_json_number(data, "epoch");
    return epoch != s->epoch;
}

static void renew(struct live *live, struct hm_read *read) {
    struct hm_engine *engine = live->institution->engine;
    struct hm_session *s = live->session;
    struct hm_principals *old = s->principals;
    struct hm_record record;
    struct hm_json account;
    live->stale = false;
    if (live->ended) {
        hm_live_end(live, live->reason ? live->reason : "revoked");
    } else if (!hm_read_data(read, "account", hm_str_of(s->account), &record, &account) ||
               !account_active(account) || outdated(live, read, account)) {
        hm_live_end(live, "revoked");
    } else {
        refresh(live, read, account);
        if (engine->listener.principals) engine->listener.principals(engine->listener.arg, s, old);
        hm_principals_unref(old);
    }
}

void hm_live_notice(struct institution *inst, const char *account, const char *method, struct hm_str params) {
    struct group *group = group_find(inst, 'a', hm_str_of(account));
    for (size_t i = 0; group && i < group->count; i++)
        if (!group->lives[i]->session->limited)
            hm_engine_notice(inst->engine, inst->id, HM_LIT(""), group->lives[i]->session, method, params);
}

void hm_live_changes(struct institution *inst, const struct hm_change *changes, size_t count) {
    struct stale_list list = {0};
    struct hm_read *read = NULL;
    if (!inst->sessions) return;
    for (size_t i = 0; i < count; i++)
        one_change(inst, &changes[i], &list);
    // Without a snapshot nobody's rights can be known: then they have none (an environment that cannot be
    // read is broken).
    bool readable = list.count && hm_read_begin(inst->store, &read, NULL);
    for (size_t i = 0; i < list.count; i++) {
        if (readable)
            renew(list.lives[i], read);
        else
            hm_live_end(list.lives[i], "revoked");
    }
    if (readable) hm_read_end(read);
    free(list.lives);
}
