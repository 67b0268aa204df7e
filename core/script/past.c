// The store as it was after an earlier change, for a recorded call that runs again: what has changed since is
// read back from the change log, and laid over the snapshot of today as if it stood there. Worker thread.
// What always holds: every record of a plugin's type, and every index, is then as that change left it; sealed
// fields stay closed, and what is the core's alone (accounts) is as it is today.
#include "script/tx.h"
#include <stdlib.h>
#include <uthash.h>

#define CHANGED_MAX 200000u

struct changed {
    UT_hash_handle hh;
    struct hm_str json; // its last envelope up to then, borrowed from the map; empty: it was not there
    bool made_since;
    size_t type_len, key_len;
    char key[]; // type \0 id
};

struct past {
    struct hm_tx *tx;
    const struct hm_types *types;
    struct changed *all;
    struct hm_buf key;
    uint64_t until;
    bool older; // one of them was there before
    bool too_many;
};

static struct changed *find(struct past *p, const struct hm_change *c) {
    struct changed *found = NULL;
    hm_buf_clear(&p->key);
    hm_record_key(c->type, c->id, &p->key);
    HASH_FIND(hh, p->all, p->key.data, p->key.len, found);
    return found;
}

static bool take_since(void *arg, const struct hm_change *c) {
    struct past *p = arg;
    const struct hm_type *type = hm_types_find(p->types, c->type);
    if (!type || type->hidden || find(p, c)) return true;
    if (HASH_COUNT(p->all) >= CHANGED_MAX) {
        p->too_many = true;
        return false;
    }
    struct changed *n = hm_alloc(sizeof *n + p->key.len);
    n->key_len = p->key.len;
    n->type_len = c->type.len;
    n->made_since = c->action == HM_CREATED;
    memcpy(n->key, p->key.data, p->key.len);
    HASH_ADD_KEYPTR(hh, p->all, n->key, n->key_len, n);
    p->older = p->older || !n->made_since;
    return true;
}

static bool take_before(void *arg, const struct hm_change *c) {
    struct past *p = arg;
    if (c->seq > p->until) return false;
    struct changed *found = find(p, c);
    if (found && !found->made_since) found->json = c->action == HM_DELETED ? (struct hm_str){0} : c->json;
    return true;
}

static void add_list(struct hm_json record, const char *name, struct hm_buf *out) {
    struct hm_json list, item;
    struct hm_buf text = {0};
    if (!hm_json_get(record, name, &list)) return;
    struct hm_json_iter it = hm_json_iter(list);
    while (hm_json_next(&it, NULL, &item)) {
        hm_buf_clear(&text);
        if (hm_json_string(item, &text)) hm_packed_add(out, hm_buf_view(&text));
    }
    hm_buf_free(&text);
}

static int64_t whole(struct hm_json record, const char *name) {
    struct hm_json value;
    int64_t out = 0;
    if (hm_json_get(record, name, &value)) hm_json_int(value, &out);
    return out;
}

static void lay(struct past *p, const struct changed *c) {
    struct hm_record r = {.type = {c->key, c->type_len},
                          .id = {c->key + c->type_len + 1, c->key_len - c->type_len - 1}};
    struct hm_buf audience = {0}, members = {0}, by = {0};
    struct hm_json root = {HM_JSON_OBJECT, c->json}, data, value;
    if (c->json.len && hm_json_get(root, "data", &data)) {
        r.version = (uint64_t)whole(root, "version");
        r.created_ms = whole(root, "created");
        r.updated_ms = whole(root, "updated");
        if (hm_json_get(root, "by", &value)) hm_json_string(value, &by);
        add_list(root, "audience", &audience);
        add_list(root, "members", &members);
        r.by = hm_buf_view(&by);
        r.audience = hm_buf_view(&audience);
        r.members = hm_buf_view(&members);
        r.data = data.raw;
        hm_tx_past_record(p->tx, &r, true);
    } else {
        hm_tx_past_record(p->tx, &r, false);
    }
    hm_buf_free(&audience);
    hm_buf_free(&members);
    hm_buf_free(&by);
}

bool hm_tx_go_back(struct hm_tx *tx, struct hm_read *read, const struct hm_types *types, uint64_t seq,
                   struct hm_error *err) {
    struct past p = {.tx = tx, .types = types, .until = seq};
    struct changed *c, *next;
    bool ok = false;
    if (seq > hm_read_seq(read)) {
        hm_fail(err, HM_NOT_FOUND, "the change log does not reach change %llu", (unsigned long long)seq);
        goto out;
    }
    if (!hm_log_read(read, seq, take_since, &p, err)) goto out;
    if (p.too_many) {
        hm_fail(err, HM_TOO_LARGE, "more than %u records have changed since", CHANGED_MAX);
        goto out;
    }
    if (p.older && !hm_log_read(read, 0, take_before, &p, err)) goto out;
    HASH_ITER(hh, p.all, c, next) {
        lay(&p, c);
    }
    ok = true;
out:
    HASH_ITER(hh, p.all, c, next) {
        HASH_DEL(p.all, c);
        free(c);
    }
    hm_buf_free(&p.key);
    return ok;
}
