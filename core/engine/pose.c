// Somebody as a caller, without a session of theirs: for a try as that person. Loop thread. What always
// holds: it gives no more than their own session would have at this moment.
#include "engine/author.h"

#include <stdio.h>
#include <stdlib.h>

#define ROLES_MAX 32

struct names {
    struct hm_buf text; // packed
    size_t count;
};

static void add(struct names *n, const char *prefix, struct hm_str name) {
    struct hm_buf whole = {0};
    hm_buf_text(&whole, prefix);
    hm_buf_str(&whole, name);
    hm_packed_add(&n->text, hm_buf_view(&whole));
    n->count++;
    hm_buf_free(&whole);
}

static bool add_membership(void *arg, struct hm_str principal) {
    add(arg, "", principal);
    return true;
}

struct hm_principals *hm_principals_of_packed(struct hm_str packed) {
    size_t count = 0;
    struct hm_str rest = packed, item;
    while (hm_packed_next(&rest, &item))
        count++;
    struct hm_str *list = hm_alloc_array(count ? count : 1, sizeof *list);
    count = 0;
    for (rest = packed; hm_packed_next(&rest, &item);)
        list[count++] = item;
    struct hm_principals *p = hm_principals_new(list, count);
    free(list);
    return p;
}

static void add_roles(struct names *n, struct hm_json account, struct hm_buf *roles, bool *admin) {
    struct hm_json list, item;
    struct hm_buf role = {0};
    hm_buf_char(roles, '[');
    if (hm_json_get(account, "roles", &list)) {
        struct hm_json_iter it = hm_json_iter(list);
        for (unsigned i = 0; i < ROLES_MAX && hm_json_next(&it, NULL, &item); i++) {
            hm_buf_clear(&role);
            if (!hm_json_string(item, &role)) continue;
            if (roles->data[roles->len - 1] != '[') hm_buf_char(roles, ',');
            hm_json_put_str(roles, hm_buf_view(&role));
            add(n, "role:", hm_buf_view(&role));
            *admin = *admin || hm_str_eq(hm_buf_view(&role), HM_LIT("administrator"));
        }
    }
    hm_buf_char(roles, ']');
    hm_buf_free(&role);
}

bool hm_pose(struct institution *inst, const char *person, struct hm_buf *json, struct hm_principals **out,
             struct hm_error *err) {
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_json data, account = {0}, value;
    struct hm_buf roles = {0}, login = {0};
    struct names n = {0};
    bool ok = false, admin = false;
    struct hm_types *types = hm_store_types(inst->store);
    if (!hm_read_begin(inst->store, &read, err)) goto out;
    if (!hm_read_data(read, "person", hm_str_of(person), &record, &data)) {
        hm_fail(err, HM_NOT_FOUND, "there is no such person");
        goto out;
    }
    add(&n, "", HM_LIT("institution"));
    if (hm_read_unique(read, types, "account", "person", hm_str_of(person), &record, &account)) {
        add(&n, "account:", record.id);
        if (hm_json_get(account, "login", &value)) hm_json_string(value, &login);
    }
    add_roles(&n, account, &roles, &admin);
    add(&n, "person:", hm_str_of(person));
    if (!hm_read_memberships(read, hm_str_of(person), add_membership, &n, err)) goto out;
    *out = hm_principals_of_packed(hm_buf_view(&n.text));
    hm_buf_char(json, '{');
    hm_json_member_str(json, "person", hm_str_of(person));
    hm_json_member_str(json, "login", hm_buf_view(&login));
    hm_json_member_raw(json, "roles", hm_buf_view(&roles));
    hm_json_key(json, "principals");
    hm_principals_json(*out, json);
    hm_json_member_str(json, "locale", HM_LIT("uz"));
    hm_json_member_raw(json, "admin", admin ? HM_LIT("true") : HM_LIT("false"));
    hm_json_member_str(json, "method_by", hm_str_of(person));
    hm_json_member_raw(json, "local", HM_LIT("false"));
    hm_buf_char(json, '}');
    ok = true;
out:
    hm_read_end(read);
    hm_types_unref(types);
    hm_buf_free(&roles);
    hm_buf_free(&login);
    hm_buf_free(&n.text);
    return ok;
}
