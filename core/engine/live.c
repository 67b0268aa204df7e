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
    if (hm_json_get(account, "roles", &list)) {
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
    names_add(&n, "", HM_LIT("institution"));
    names_add(&n, "account:", hm_str_of(s->account));
    size_t own = n.count;
    if (s->person[0]) {
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
    drop(live);
    if (engine->listener.ended) engine->listener.ended(engine->listener.arg, session, reason);
    hm_session_unref(session);
}

static int64_t number(struct hm_json data, const char *name) {
    struct hm_json value;
    int64_t out = 0;
    if (hm_json_get(data, name, &value)) hm_json_int(value, &out);
    return out;
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
    s->expires_ms = number(data, "expires");
    s->idle_ms = number(data, "idle_ms");
    s->seen_ms = live->saved_seen_ms = number(data, "seen");
    if (hm_session_expired(s, hm_now_ms()))
        return hm_fail(err, HM_UNAUTHENTICATED, "the session has expired");
    if (!hm_read_data(read, "account", hm_str_of(s->account), &record, &account) || !account_active(account))
        return hm_fail(err, HM_UNAUTHENTICATED, "the account is closed");
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
    if (!hm_token_institution(token, institution) || !(inst = hm_inst_find(engine, institution)))
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
    live->session->seen_ms = now_ms;
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
    hm_buf_char(out, '}');
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
    if (hm_str_eq(change->type, HM_LIT("account"))) {
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
               !account_active(account)) {
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
