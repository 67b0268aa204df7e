// Accounts, for administrators: account.*. Loop thread. What always holds: no answer holds a hash; a
// login is kept folded and is unique as such; what changes an account changes its sessions in use with
// the same commit (see live.c).
#include "base/clock.h"
#include "base/text.h"
#include "engine/internal.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#define LOGIN_MAX 129

bool hm_roles_valid(struct hm_json roles, struct hm_error *err) {
    static const char *const known[] = {"administrator", "coordinator", "psychologist", "coach", "student"};
    struct hm_json_iter it = hm_json_iter(roles);
    struct hm_json item;
    while (hm_json_next(&it, NULL, &item)) {
        struct hm_buf role = {0};
        bool ok = hm_json_string(item, &role), found = false;
        for (size_t i = 0; ok && i < sizeof known / sizeof *known; i++)
            found = found || strcmp(role.data ? role.data : "", known[i]) == 0;
        hm_buf_free(&role);
        if (!found)
            return hm_fail(err, HM_PARAMS,
                           "is none of administrator, coordinator, psychologist, coach, student");
    }
    return true;
}

struct creation {
    struct call *call;
    char id[37];
    struct hm_buf data; // without the hash
};

static void creation_free(struct creation *c) {
    hm_buf_free(&c->data);
    free(c);
}

static void commit_account(struct creation *c, const char *hash) {
    struct call *call = c->call;
    struct commit_item *item = hm_item_new(call->institution, call->by, call->method);
    struct hm_buf quoted = {0}, data = {0}, result = {0};
    char person[HM_ID_MAX + 1];
    // The password took its time: somebody else may have been quicker.
    if (hm_arg_text(call, "person", person, sizeof person) && person[0] &&
        !hm_item_none(item, "account", "person", hm_str_of(person))) {
        hm_item_free(item);
        hm_call_reason(call, HM_CONFLICT, "reason", "person_has_account");
        return;
    }
    hm_json_put_str(&quoted, hm_str_of(hash));
    hm_json_with((struct hm_json){HM_JSON_OBJECT, hm_buf_view(&c->data)}, "hash", hm_buf_view(&quoted),
                 &data);
    hm_item_put(item, "account", hm_str_of(c->id), 0, hm_buf_view(&data), "");
    hm_buf_printf(&result, "{\"id\":\"%s\"}", c->id);
    hm_item_finish_call(item, call, hm_buf_view(&result), hm_call_committed);
    hm_buf_free(&quoted);
    hm_buf_free(&data);
    hm_buf_free(&result);
}

static void creation_hashed(void *arg, bool ok, const char *hash) {
    struct creation *c = arg;
    if (!ok)
        hm_call_fail(c->call, HM_UNAVAILABLE, "the password could not be stored now");
    else if (hm_call_still(c->call))
        commit_account(c, hash);
    creation_free(c);
}

static void creation_data(struct creation *c, const char *login, struct hm_str shown, const char *person) {
    struct call *call = c->call;
    struct hm_json roles;
    struct hm_buf *b = &c->data;
    hm_buf_char(b, '{');
    hm_json_member_str(b, "login", hm_str_of(login));
    hm_json_member_str(b, "login_shown", shown);
    hm_json_member_str(b, "person", hm_str_of(person));
    hm_json_member_raw(
        b, "roles",
        hm_json_get(call->params, "roles", &roles) && roles.kind == HM_JSON_ARRAY ? roles.raw : HM_LIT("[]"));
    hm_json_member_str(b, "state", HM_LIT("active"));
    hm_json_member_raw(b, "demo", hm_arg_bool(call, "demo", false) ? HM_LIT("true") : HM_LIT("false"));
    hm_json_member_int(b, "created", hm_now_ms());
    hm_buf_char(b, '}');
}

static bool person_taken(struct call *call, const char *person) {
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_json data;
    if (!person[0] || !hm_read_begin(call->institution->store, &read, NULL)) return false;
    struct hm_types *types = hm_store_types(call->institution->store);
    bool taken = hm_read_unique(read, types, "account", "person", hm_str_of(person), &record, &data);
    hm_types_unref(types);
    hm_read_end(read);
    return taken;
}

// With `password_hash` (scripts on this machine) at once, else through the pool. True: the call goes on.
static bool create(struct creation *c, struct hm_str login, struct hm_str password, struct hm_str hash) {
    struct call *call = c->call;
    struct hm_error err = {0};
    if (hash.len && !call->caller->control) {
        hm_call_reason(call, HM_FORBIDDEN, "need", "password_hash is for scripts on the server's machine");
    } else if (hash.len && !hm_pw_hash_valid(hash)) {
        hm_call_param(call, "password_hash", "is not an Argon2id hash as this server makes them");
    } else if (hash.len) {
        commit_account(c, hash.ptr);
        creation_free(c);
        return true;
    } else if (!hm_password_acceptable(password, login, &err)) {
        hm_call_param(call, "password", err.message);
    } else if (!hm_pw_hash(call->engine->passwords, password, creation_hashed, c, &err)) {
        hm_call_fail_error(call, &err);
    } else {
        return true;
    }
    return false;
}

static void account_create(struct call *call) {
    char person[HM_ID_MAX + 1];
    struct hm_buf shown = {0}, login = {0}, password = {0}, hash = {0};
    struct hm_json roles = {0};
    struct hm_error err = {0};
    struct creation *c = hm_alloc(sizeof *c);
    bool given = false;
    c->call = call;
    hm_uuid7(hm_now_ms(), c->id);
    hm_arg_text(call, "person", person, sizeof person);
    hm_arg_buf(call, "login", &shown);
    hm_arg_buf(call, "password", &password);
    hm_arg_buf(call, "password_hash", &hash);
    hm_fold(hm_buf_view(&shown), &login);
    hm_json_get(call->params, "roles", &roles);
    if (login.len == 0 || login.len >= LOGIN_MAX || !hm_id_valid(hm_buf_view(&login))) {
        hm_call_param(call, "login", "must be a name of 1 to 128 bytes");
    } else if (!hm_roles_valid(roles, &err)) {
        hm_call_param(call, "roles", err.message);
    } else if (person_taken(call, person)) {
        hm_call_reason(call, HM_CONFLICT, "reason", "person_has_account");
    } else {
        creation_data(c, login.data, hm_buf_view(&shown), person);
        given = create(c, hm_buf_view(&shown), hm_buf_view(&password), hm_buf_view(&hash));
    }
    if (!given) creation_free(c);
    if (password.data) sodium_memzero(password.data, password.len);
    hm_buf_free(&password);
    hm_buf_free(&hash);
    hm_buf_free(&login);
    hm_buf_free(&shown);
}

// ---- changing -----------------------------------------------------------------------------------------

static void account_change(struct call *call, const char *member, struct hm_str raw) {
    char id[HM_ID_MAX + 1];
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_json data;
    struct hm_error err = {0};
    hm_arg_text(call, "account", id, sizeof id);
    if (!hm_read_begin(call->institution->store, &read, &err)) {
        hm_call_fail_error(call, &err);
        return;
    }
    if (hm_read_data(read, "account", hm_str_of(id), &record, &data)) {
        struct hm_buf text = {0};
        struct commit_item *item = hm_item_new(call->institution, call->by, call->method);
        hm_json_with(data, member, raw, &text);
        hm_item_put(item, "account", hm_str_of(id), record.version, hm_buf_view(&text), "");
        hm_read_end(read);
        hm_buf_free(&text);
        hm_item_finish_call(item, call, HM_LIT("{}"), hm_call_committed);
    } else {
        hm_read_end(read);
        hm_call_fail(call, HM_NOT_FOUND, "");
    }
}

static void account_set_roles(struct call *call) {
    struct hm_json roles = {0};
    struct hm_error err = {0};
    hm_json_get(call->params, "roles", &roles);
    if (hm_roles_valid(roles, &err))
        account_change(call, "roles", roles.raw);
    else
        hm_call_param(call, "roles", err.message);
}

static void account_set_state(struct call *call) {
    char state[16];
    hm_arg_text(call, "state", state, sizeof state);
    if (strcmp(state, "active") == 0)
        account_change(call, "state", HM_LIT("\"active\""));
    else if (strcmp(state, "closed") == 0)
        account_change(call, "state", HM_LIT("\"closed\""));
    else
        hm_call_param(call, "state", "must be active or closed");
}

// ---- listing ------------------------------------------------------------------------------------------

struct page {
    struct hm_read *read;
    struct hm_buf out;
    char last[HM_ID_MAX + 1], after[HM_ID_MAX + 1];
    int64_t left;
    bool more;
};

static bool list_account(void *arg, const struct hm_record *record, struct hm_json data) {
    static const char *const shown[] = {"login_shown", "person", "roles", "state", "demo", "created"};
    struct page *p = arg;
    struct hm_record factor;
    struct hm_json value;
    if (hm_str_cmp(record->id, hm_str_of(p->after)) <= 0) return true;
    if (p->left-- == 0) {
        p->more = true;
        return false;
    }
    if (p->out.data[p->out.len - 1] != '[') hm_buf_char(&p->out, ',');
    hm_buf_char(&p->out, '{');
    hm_json_member_str(&p->out, "id", record->id);
    if (hm_json_get(data, "login_shown", &value)) hm_json_member_raw(&p->out, "login", value.raw);
    for (size_t i = 1; i < sizeof shown / sizeof *shown; i++)
        if (hm_json_get(data, shown[i], &value)) hm_json_member_raw(&p->out, shown[i], value.raw);
    bool totp = hm_read_data(p->read, "factor", record->id, &factor, &value);
    hm_json_member_raw(&p->out, "totp", totp ? HM_LIT("true") : HM_LIT("false"));
    hm_buf_char(&p->out, '}');
    snprintf(p->last, sizeof p->last, "%.*s", (int)record->id.len, record->id.ptr);
    return true;
}

static void account_list(struct call *call) {
    struct page p = {.left = hm_arg_int(call, "limit", 500)};
    struct hm_read *read = NULL;
    struct hm_error err = {0};
    if (p.left < 1 || p.left > 500) p.left = 500;
    hm_arg_text(call, "cursor", p.after, sizeof p.after);
    if (!hm_read_begin(call->institution->store, &read, &err)) {
        hm_call_fail_error(call, &err);
        return;
    }
    struct hm_types *types = hm_store_types(call->institution->store);
    p.read = read;
    hm_buf_text(&p.out, "{\"items\":[");
    hm_read_each(read, types, "account", NULL, HM_LIT(""), false, list_account, &p);
    hm_types_unref(types);
    hm_read_end(read);
    hm_buf_text(&p.out, "],\"cursor\":");
    if (p.more)
        hm_json_put_str(&p.out, hm_str_of(p.last));
    else
        hm_buf_text(&p.out, "null");
    hm_buf_char(&p.out, '}');
    hm_call_ok(call, hm_buf_view(&p.out));
    hm_buf_free(&p.out);
}

static const struct core_method rows[] = {
    {"account.create", ACCESS_ADMIN,
     "login:text! password:long password_hash:long person:text roles:array demo:bool", "Makes an account.",
     account_create},
    {"account.set_roles", ACCESS_ADMIN, "account:text! roles:array!", "Replaces the roles of an account.",
     account_set_roles},
    {"account.set_state", ACCESS_ADMIN, "account:text! state:text!",
     "Closes an account (its sessions end) or opens it again: active or closed.", account_set_state},
    {"account.list", ACCESS_ADMIN, "limit:int cursor:text",
     "The accounts of the institution, without hashes; totp: there is a second factor.", account_list},
};
const struct core_table hm_methods_account = {rows, sizeof rows / sizeof *rows};
