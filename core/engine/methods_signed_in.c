// Where somebody is signed in, and what was done with the account: session.list, revoke, revoke_others,
// history; account.sign_out for administrators. Loop thread. What always holds: a session is called by a name
// that is neither its token nor the token's hash, and only its owner can name it; when these answer, what was
// ended is ended durably, and a sign-in that was under way with it.
#include "base/clock.h"
#include "engine/internal.h"

#include <stdio.h>

static bool own(struct call *call) {
    if (!call->session) hm_call_fail(call, HM_UNAUTHENTICATED, "");
    return call->session != NULL;
}

// ---- listing ------------------------------------------------------------------------------------------

struct listing {
    struct call *call;
    struct hm_buf out;
    int64_t now_ms;
};

static bool list_one(void *arg, const struct hm_record *record, struct hm_json data) {
    static const char *const shown[] = {"created", "expires", "agent"};
    struct listing *l = arg;
    struct live *live = NULL;
    struct hm_json value;
    char hash[65], name[HM_SESSION_NAME];
    struct hm_session s = {.expires_ms = hm_json_number(data, "expires"),
                           .idle_ms = hm_json_number(data, "idle_ms"),
                           .seen_ms = hm_json_number(data, "seen")};
    HASH_FIND(hh, l->call->institution->sessions, record->id.ptr, (unsigned)record->id.len, live);
    if (live) s.seen_ms = live->session->seen_ms; // kept only now and then
    if (hm_session_expired(&s, l->now_ms)) return true;
    snprintf(hash, sizeof hash, "%.*s", (int)record->id.len, record->id.ptr);
    hm_session_name(hash, name);
    hm_buf_text(&l->out, l->out.data[l->out.len - 1] == '[' ? "{" : ",{");
    hm_json_member_str(&l->out, "id", hm_str_of(name));
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
        if (hm_json_get(data, shown[i], &value)) hm_json_member_raw(&l->out, shown[i], value.raw);
    hm_json_member_int(&l->out, "seen", s.seen_ms);
    hm_json_member_raw(&l->out, "current",
                       strcmp(hash, l->call->session->token_hash) == 0 ? HM_LIT("true") : HM_LIT("false"));
    hm_buf_char(&l->out, '}');
    return true;
}

static void put_factor(struct listing *l, struct hm_read *read) {
    struct factor f;
    hm_factor_read(read, l->call->session->account, &f);
    hm_json_key(&l->out, "totp");
    hm_buf_printf(&l->out, "{\"on\":%s", f.on ? "true" : "false");
    if (f.on) {
        hm_json_member_int(&l->out, "since",
                           hm_json_number((struct hm_json){HM_JSON_OBJECT, hm_buf_view(&f.data)}, "since"));
        hm_json_member_int(&l->out, "recovery_left", f.left);
    }
    hm_buf_char(&l->out, '}');
    hm_factor_free(&f);
}

static void session_list(struct call *call) {
    struct listing l = {.call = call, .now_ms = hm_now_ms()};
    struct hm_read *read = NULL;
    struct hm_error err = {0};
    if (!own(call)) return;
    if (!hm_read_begin(call->institution->store, &read, &err)) {
        hm_call_fail_error(call, &err);
        return;
    }
    struct hm_types *types = hm_store_types(call->institution->store);
    hm_buf_text(&l.out, "{\"items\":[");
    hm_read_each(read, types, "session", "account", hm_str_of(call->session->account), false, list_one, &l);
    hm_buf_char(&l.out, ']');
    put_factor(&l, read);
    hm_buf_char(&l.out, '}');
    hm_types_unref(types);
    hm_read_end(read);
    hm_call_ok(call, hm_buf_view(&l.out));
    hm_buf_free(&l.out);
}

static void session_history(struct call *call) {
    struct hm_buf out = {0};
    struct hm_error err = {0};
    if (!own(call)) return;
    hm_buf_text(&out, "{\"items\":");
    if (hm_history_list(call->institution, call->session->account, &out, &err)) {
        hm_buf_char(&out, '}');
        hm_call_ok(call, hm_buf_view(&out));
    } else {
        hm_call_fail_error(call, &err);
    }
    hm_buf_free(&out);
}

// ---- ending one ---------------------------------------------------------------------------------------

struct naming {
    const char *name;
    char hash[65]; // "" until it is found
};

static bool named(void *arg, const struct hm_record *record, struct hm_json data) {
    struct naming *n = arg;
    char hash[65], name[HM_SESSION_NAME];
    (void)data;
    snprintf(hash, sizeof hash, "%.*s", (int)record->id.len, record->id.ptr);
    hm_session_name(hash, name);
    if (strcmp(name, n->name) != 0) return true;
    memcpy(n->hash, hash, sizeof hash);
    return false;
}

static void session_revoke(struct call *call) {
    char id[129];
    struct naming n = {.name = id};
    struct hm_read *read = NULL;
    struct hm_error err = {0};
    if (!own(call)) return;
    hm_arg_text(call, "id", id, sizeof id);
    if (!hm_read_begin(call->institution->store, &read, &err)) {
        hm_call_fail_error(call, &err);
        return;
    }
    struct hm_types *types = hm_store_types(call->institution->store);
    hm_read_each(read, types, "session", "account", hm_str_of(call->session->account), false, named, &n);
    hm_types_unref(types);
    hm_read_end(read);
    if (!n.hash[0]) {
        hm_call_fail(call, HM_NOT_FOUND, "");
        return;
    }
    struct commit_item *item = hm_item_new(call->institution, call->by, call->method);
    hm_item_remove(item, "session", hm_str_of(n.hash), HM_ANY_VERSION);
    hm_item_finish_call(item, call, HM_LIT("{}"), hm_call_committed);
}

// ---- ending all ---------------------------------------------------------------------------------------

static void end_all(struct call *call);

static void all_ended(struct commit_item *item) {
    struct call *call = item->call;
    if (!item->ok || item->commit.code != HM_CONFLICT || ++call->conflicts > 3)
        hm_call_committed(item);
    else if (hm_call_still(call))
        end_all(call);
}

// Of the own account all but this one (session.revoke_others), or of another's all (account.sign_out).
static void end_all(struct call *call) {
    char id[HM_ID_MAX + 1], person[HM_ID_MAX + 1];
    struct hm_read *read = NULL;
    struct hm_record account;
    struct hm_json data;
    struct hm_error err = {0};
    bool others = !hm_arg_text(call, "account", id, sizeof id);
    if (others) snprintf(id, sizeof id, "%s", call->session->account);
    if (!hm_read_begin(call->institution->store, &read, &err)) {
        hm_call_fail_error(call, &err);
        return;
    }
    if (hm_read_data(read, "account", hm_str_of(id), &account, &data)) {
        struct hm_types *types = hm_store_types(call->institution->store);
        struct commit_item *item = hm_item_new(call->institution, call->by, call->method);
        hm_json_get_text(data, "person", person, sizeof person);
        hm_live_end_all(item, read, types, &account, data, others ? call->session->token_hash : NULL);
        hm_history_put(item, id, person, "out", NULL, others ? call->caller->address : NULL);
        hm_types_unref(types);
        hm_read_end(read);
        hm_item_finish_call(item, call, HM_LIT("{}"), all_ended);
    } else {
        hm_read_end(read);
        hm_call_fail(call, HM_NOT_FOUND, "");
    }
}

static void session_revoke_others(struct call *call) {
    if (own(call)) end_all(call);
}

static const struct core_method rows[] = {
    {"session.list", ACCESS_SIGNED_IN, "",
     "The sessions of the own account, which of them is this one, and whether there is a second factor.",
     session_list},
    {"session.history", ACCESS_SIGNED_IN, "",
     "Sign-ins to the own account, attempts at it and what changed about it, newest first.", session_history},
    {"session.revoke", ACCESS_SIGNED_IN, "id:text!", "Ends a session of the own account.", session_revoke},
    {"session.revoke_others", ACCESS_SIGNED_IN, "", "Ends every session of the own account but this one.",
     session_revoke_others},
    {"account.sign_out", ACCESS_ADMIN, "account:text!", "Ends every session of an account.", end_all},
};
const struct core_table hm_methods_signed_in = {rows, sizeof rows / sizeof *rows};
