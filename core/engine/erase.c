// person.erase. Its order is what makes it safe to be cut short anywhere:
//   1. a line in the institution's file `erasing`: from then on it will be ended, by the next start if need
//   be
//   2. errand: the key is destroyed in the keyring and in every backup set
//   3. rounds of errand and commit: copies of the name in other records are blanked, a few hundred a commit
//   4. one commit: the person's record without what identifies; account, sessions, second factor, history and
//   invitations gone; the audit
//   5. rounds until nothing is found any more, then the line is taken out and the call answered
// So a person's record that is marked as erased means that the rest was done, and all of it may be repeated.
// Restoring a backup writes the same file (core/store/restore.c): who was erased is erased again when the
// server starts.
//
// What is not erased: the change log keeps what was written in clear (see core/store/README.md), and texts
// that others or the person wrote stay in the conversations they belong to, without the name.
#include "base/clock.h"
#include "base/log.h"
#include "engine/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ROUND_INTENTS 400u // records changed by one commit
#define ROUND_BYTES (8u << 20)
#define READ_RECORDS 20000u // looked at in one snapshot: a longer one keeps pages, and the map from growing
#define ROUNDS_MAX 10000u
#define CONFLICTS_MAX 50u
#define FILE_MAX ((size_t)64 << 20)
#define BLANK "\"—\"" // instead of a name, in every language; `erased` in the record says why

struct change { // one intent, its own memory
    bool remove;
    char *type, *id;
    uint64_t version;
    struct hm_buf data, audience, members;
};

struct erasing {
    struct errand errand;
    struct institution *inst;
    struct call *call; // NULL: taken up again at a start
    char person[HM_ID_MAX + 1];
    char *by, *reason;
    char audit[37]; // id of its entry there, from the beginning: written again, it is the same entry
    bool destroyed, audited, named;
    struct hm_buf names; // packed: every name, folded name and number the person ever had
    uint64_t log_read;   // up to this change of the log
    unsigned sets, rounds, conflicts;
    uint64_t turn;         // of the types that the round goes by
    struct hm_buf missing; // sets not reached, packed
    struct hm_buf others;  // lines of `erasing` to do after this one (JSON lines), when taken up again
    // of one round
    struct hm_types *types;
    struct hm_buf near; // packed: the id, and ids of the records it is a member of
    struct hm_buf after;
    struct change *changes;
    size_t change_count, change_bytes;
    unsigned looked;
    bool full, last, ok;
    struct hm_error error;
};

static void round_clear(struct erasing *e) {
    for (size_t i = 0; i < e->change_count; i++) {
        struct change *c = &e->changes[i];
        free(c->type);
        free(c->id);
        hm_buf_free(&c->data);
        hm_buf_free(&c->audience);
        hm_buf_free(&c->members);
    }
    free(e->changes);
    e->changes = NULL;
    e->change_count = e->change_bytes = 0;
    hm_buf_free(&e->near);
    hm_buf_free(&e->after);
    hm_types_unref(e->types);
    e->types = NULL;
    e->full = e->last = false;
}

static void erasing_free(struct erasing *e) {
    round_clear(e);
    hm_buf_free(&e->names);
    hm_buf_free(&e->missing);
    hm_buf_free(&e->others);
    free(e->by);
    free(e->reason);
    free(e);
}

// ---- the file of what is under way
// ----------------------------------------------------------------------------------------

static void line_of(const struct erasing *e, struct hm_buf *out) {
    hm_buf_char(out, '{');
    hm_json_member_str(out, "person", hm_str_of(e->person));
    if (e->by) hm_json_member_str(out, "by", hm_str_of(e->by));
    if (e->reason) hm_json_member_str(out, "reason", hm_str_of(e->reason));
    if (e->audit[0]) hm_json_member_str(out, "audit", hm_str_of(e->audit));
    hm_buf_text(out, "}\n");
}

static char *file_of(const struct institution *inst) {
    struct hm_buf path = {0};
    hm_buf_printf(&path, "%s/erasing", inst->dir);
    return path.data;
}

static bool next_line(struct hm_str *rest, struct hm_str *line) {
    const char *end = rest->len ? memchr(rest->ptr, '\n', rest->len) : NULL;
    if (!end) return false;
    *line = (struct hm_str){rest->ptr, (size_t)(end - rest->ptr) + 1};
    *rest = (struct hm_str){end + 1, rest->len - line->len};
    return true;
}

// Adds the line, or takes one such line out.
static bool file_change(const struct erasing *e, bool add, struct hm_error *err) {
    struct hm_buf have = {0}, line = {0}, now = {0};
    struct hm_str rest, one;
    struct hm_error why = {0};
    char *path = file_of(e->inst);
    bool out = false, ok = hm_read_file(path, FILE_MAX, &have, &why) || why.code == HM_NOT_FOUND;
    if (!ok && err) *err = why;
    line_of(e, &line);
    rest = hm_buf_view(&have);
    while (ok && next_line(&rest, &one)) {
        if (!add && !out && hm_str_eq(one, hm_buf_view(&line)))
            out = true;
        else
            hm_buf_str(&now, one);
    }
    if (add) hm_buf_str(&now, hm_buf_view(&line));
    ok = ok && hm_write_file(path, hm_buf_view(&now), 0600, err);
    hm_buf_free(&have);
    hm_buf_free(&line);
    hm_buf_free(&now);
    free(path);
    return ok;
}

// ---- a round: looking (on the errand's thread)
// -------------------------------------------------------------------------------

static struct change *change_add(struct erasing *e, const struct hm_record *r, bool remove) {
    e->changes = hm_realloc(e->changes, (e->change_count + 1) * sizeof *e->changes);
    struct change *c = &e->changes[e->change_count++];
    memset(c, 0, sizeof *c);
    c->remove = remove;
    c->type = hm_str_dup(r->type);
    c->id = hm_str_dup(r->id);
    c->version = r->version;
    hm_buf_str(&c->audience, r->audience);
    hm_buf_str(&c->members, r->members);
    return c;
}

static bool is_name(const struct erasing *e, struct hm_json value) {
    struct hm_str rest = hm_buf_view(&e->names), name;
    while (hm_packed_next(&rest, &name))
        if (hm_json_key_is(value, name)) return true;
    return false;
}

// "mentor_name" beside "mentor": the name of whoever that is, also if it was another name then.
static bool names_them(const struct erasing *e, struct hm_json object, struct hm_json key) {
    static const char suffix[] = "_name\"";
    char name[129];
    struct hm_json other;
    if (object.kind != HM_JSON_OBJECT || key.raw.len <= sizeof suffix || key.raw.len > 128) return false;
    if (memcmp(key.raw.ptr + key.raw.len - sizeof suffix + 1, suffix, sizeof suffix - 1) != 0) return false;
    size_t len = key.raw.len - sizeof suffix; // without quotes
    memcpy(name, key.raw.ptr + 1, len);
    name[len] = 0;
    return hm_json_get(object, name, &other) && other.kind == HM_JSON_STRING &&
           hm_json_key_is(other, hm_str_of(e->person));
}

// Writes the value with the person's name blanked.
static void blank(const struct erasing *e, struct hm_json value, struct hm_buf *out, bool *changed) {
    struct hm_json_iter it = hm_json_iter(value);
    struct hm_json key, item;
    bool object = value.kind == HM_JSON_OBJECT, first = true;
    if (!object && value.kind != HM_JSON_ARRAY) {
        bool name = value.kind == HM_JSON_STRING && is_name(e, value);
        *changed = *changed || name;
        hm_buf_str(out, name ? HM_LIT(BLANK) : value.raw);
        return;
    }
    hm_buf_char(out, object ? '{' : '[');
    while (hm_json_next(&it, object ? &key : NULL, &item)) {
        if (!first) hm_buf_char(out, ',');
        first = false;
        if (object) {
            hm_buf_str(out, key.raw);
            hm_buf_char(out, ':');
        }
        if (object && item.kind == HM_JSON_STRING && names_them(e, value, key) &&
            !hm_str_eq(item.raw, HM_LIT(BLANK))) {
            *changed = true;
            hm_buf_text(out, BLANK);
        } else {
            blank(e, item, out, changed);
        }
    }
    hm_buf_char(out, object ? '}' : ']');
}

// A name stands only in records that have to do with the person, else it is another's who is called the same.
static bool near(const struct erasing *e, const struct hm_record *r) {
    struct hm_str rest = hm_buf_view(&e->near), id;
    while (hm_packed_next(&rest, &id))
        if (memmem(r->json.ptr, r->json.len, id.ptr, id.len)) return true;
    return false;
}

// Texts in which the name may stand in the middle.
static bool mentions_them(const struct erasing *e, struct hm_str text) {
    bool found = memmem(text.ptr, text.len, e->person, strlen(e->person)) != NULL;
    struct hm_str rest = hm_buf_view(&e->names), name;
    while (!found && hm_packed_next(&rest, &name)) {
        struct hm_buf quoted = {0};
        hm_json_put_str(&quoted, name);
        found = memmem(text.ptr, text.len, quoted.data + 1, quoted.len - 2) != NULL;
        hm_buf_free(&quoted);
    }
    return found;
}

// What a job was begun with (a roster), said of itself, and came to.
static void look_at_job(struct erasing *e, const struct hm_record *r) {
    static const char *const kept[][2] = {
        {"params", "{}"}, {"result", "{}"}, {"error", "{}"}, {"note", "\"\""}};
    struct hm_json value;
    struct hm_buf data = {0};
    bool changed = false;
    hm_buf_str(&data, r->data);
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        struct hm_json now = {HM_JSON_OBJECT, hm_buf_view(&data)};
        struct hm_buf next = {0};
        if (!hm_json_get(now, kept[i][0], &value) || !mentions_them(e, value.raw)) continue;
        hm_json_with(now, kept[i][0], hm_str_of(kept[i][1]), &next);
        hm_buf_free(&data);
        data = next;
        changed = true;
    }
    if (changed) {
        change_add(e, r, false)->data = data;
        e->change_bytes += data.len;
    } else {
        hm_buf_free(&data);
    }
}

static void look_at(struct erasing *e, const struct hm_record *r) {
    static const char *const passed[] = {"account", "session",        "factor",
                                         "sign_in", "invitation",     "audit",
                                         "idem", // see hm_idem_forget
                                         "plugin",  "plugin_version", "institution"};
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++)
        if (hm_str_eq(r->type, hm_str_of(passed[i]))) return;
    if (hm_str_eq(r->type, HM_LIT("job"))) {
        look_at_job(e, r);
    } else if (!hm_str_eq(r->type, HM_LIT("person")) && near(e, r) && hm_types_find(e->types, r->type)) {
        struct hm_buf data = {0};
        bool changed = false;
        blank(e, (struct hm_json){HM_JSON_OBJECT, r->data}, &data, &changed);
        if (changed)
            change_add(e, r, false)->data = data;
        else
            hm_buf_free(&data);
        if (changed) e->change_bytes += data.len;
    }
}

static bool look_at_one(void *arg, const struct hm_record *r) {
    struct erasing *e = arg;
    look_at(e, r);
    e->full = e->change_count >= ROUND_INTENTS || e->change_bytes >= ROUND_BYTES;
    if (!e->full && ++e->looked < READ_RECORDS) return true;
    hm_buf_clear(&e->after);
    hm_record_key(r->type, r->id, &e->after);
    return false;
}

static bool look_at_all(struct erasing *e) {
    do {
        struct hm_read *read = NULL;
        e->looked = 0;
        if (!hm_read_begin(e->inst->store, &read, &e->error)) return false;
        bool ok = hm_read_every(read, hm_buf_view(&e->after), look_at_one, e, &e->error);
        hm_read_end(read);
        if (!ok) return false;
    } while (e->looked >= READ_RECORDS && !e->full);
    return true;
}

// ---- the last commit of a round of looking that found nothing
// ----------------------------------------------------------------

static bool remove_found(void *arg, const struct hm_record *record, struct hm_json data) {
    (void)data;
    change_add(arg, record, true);
    return true;
}

static void end_account(struct erasing *e, struct hm_read *read) {
    struct hm_str person = hm_str_of(e->person);
    hm_read_each(read, e->types, "account", "person", person, false, remove_found, e);
    hm_read_each(read, e->types, "session", "person", person, false, remove_found, e);
    hm_read_each(read, e->types, "factor", "person", person, false, remove_found, e);
    hm_read_each(read, e->types, "sign_in", "person", person, false, remove_found, e);
    hm_read_each(read, e->types, "invitation", "person", person, false, remove_found, e);
}

// What the services need to go on: that there was somebody, of which kind, and who is not there any more.
static void erased_record(struct erasing *e, const struct hm_record *r) {
    struct hm_json data = {HM_JSON_OBJECT, r->data}, kind;
    struct change *c = change_add(e, r, false);
    hm_buf_text(&c->data, "{\"name\":" BLANK ",\"name_folded\":" BLANK);
    hm_json_member_raw(&c->data, "kind", hm_json_get(data, "kind", &kind) ? kind.raw : HM_LIT("\"student\""));
    hm_json_member_str(&c->data, "status", HM_LIT("left"));
    hm_json_member_int(&c->data, "erased", hm_now_ms());
    hm_buf_char(&c->data, '}');
}

static bool is_erased(struct hm_json data) {
    struct hm_json mark;
    return hm_json_get(data, "erased", &mark) && mark.kind == HM_JSON_NUMBER;
}

static bool add_near(void *arg, struct hm_str principal) {
    struct erasing *e = arg;
    const char *colon = memchr(principal.ptr, ':', principal.len);
    size_t skip = colon ? (size_t)(colon - principal.ptr) + 1 : 0;
    hm_packed_add(&e->near, (struct hm_str){principal.ptr + skip, principal.len - skip});
    return true;
}

static bool take_names(void *arg, const struct hm_change *c) {
    static const char *const fields[] = {"name", "name_folded", "external_id"};
    struct erasing *e = arg;
    struct hm_json json = {HM_JSON_OBJECT, c->json}, data, value;
    e->log_read = c->seq;
    bool theirs = hm_str_eq(c->type, HM_LIT("person")) && hm_str_eq(c->id, hm_str_of(e->person));
    for (size_t i = 0; theirs && c->json.len && hm_json_get(json, "data", &data) && i < 3; i++) {
        struct hm_buf name = {0};
        bool is = hm_json_get(data, fields[i], &value) && value.kind == HM_JSON_STRING && value.raw.len > 2 &&
                  value.raw.len < 4096 && !hm_str_eq(value.raw, HM_LIT(BLANK)) && !is_name(e, value);
        if (is && hm_json_string(value, &name)) hm_packed_add(&e->names, hm_buf_view(&name));
        hm_buf_free(&name);
    }
    return ++e->looked < READ_RECORDS;
}

// From the log: a copy may have been made when they were called otherwise.
static bool read_names(struct erasing *e) {
    if (e->named) return true;
    do {
        struct hm_read *read = NULL;
        e->looked = 0;
        if (!hm_read_begin(e->inst->store, &read, &e->error)) return false;
        bool ok = hm_log_read(read, e->log_read, take_names, e, &e->error);
        hm_read_end(read);
        if (!ok) return false;
    } while (e->looked >= READ_RECORDS);
    e->named = true;
    return true;
}

// False when there is no name to look for: erased already, or a key that was destroyed after the time to
// which the institution was restored.
static bool has_name(struct erasing *e, struct hm_read *read) {
    struct hm_record record;
    struct hm_json data;
    hm_packed_add(&e->near, hm_str_of(e->person));
    hm_read_memberships(read, hm_str_of(e->person), add_near, e, NULL);
    if (!hm_read_data(read, "person", hm_str_of(e->person), &record, &data)) return e->call != NULL;
    return !is_erased(data);
}

static bool plan_last(struct erasing *e) {
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_json data;
    if (!hm_read_begin(e->inst->store, &read, &e->error)) return false;
    e->last = true;
    if (hm_read_data(read, "person", hm_str_of(e->person), &record, &data) && !is_erased(data))
        erased_record(e, &record);
    end_account(e, read);
    hm_read_end(read);
    return true;
}

static bool destroy_key(struct erasing *e) {
    struct hm_store *store = e->inst->store;
    if (e->destroyed) return true;
    hm_buf_clear(&e->missing);
    e->sets = 0;
    e->destroyed = hm_keyring_destroy(store, hm_str_of(e->person), &e->error) &&
                   hm_store_refresh_sets(store, &e->sets, &e->missing, &e->error);
    return e->destroyed;
}

static void erasing_run(struct errand *errand) {
    struct erasing *e = (struct erasing *)errand;
    struct hm_read *read = NULL;
    round_clear(e);
    e->types = hm_store_types(e->inst->store);
    e->ok = destroy_key(e) && hm_read_begin(e->inst->store, &read, &e->error);
    if (!e->ok) return;
    bool named = has_name(e, read);
    hm_read_end(read);
    if (named) e->ok = read_names(e) && look_at_all(e);
    if (e->ok && !e->change_count) e->ok = plan_last(e);
}

// ---- a round: committing (loop)
// ---------------------------------------------------------------------------------------------

static void finish(struct erasing *e);
static void resume_next(struct institution *inst, struct hm_str lines);

static void go(struct erasing *e) {
    e->turn = e->inst->turn;
    if (hm_errand_start(e->inst->engine, &e->errand, &e->error)) return;
    e->ok = false;
    finish(e);
}

static void put_audit(struct erasing *e, struct commit_item *item) {
    struct hm_buf data = {0};
    char id[37];
    if (e->audit[0])
        memcpy(id, e->audit, sizeof id);
    else // begun by a restored keyring of an older version
        hm_uuid7(item->commit.now_ms, id);
    hm_buf_char(&data, '{');
    hm_json_member_str(&data, "who", hm_str_of(e->by ? e->by : ""));
    hm_json_member_str(&data, "whose", hm_str_of(e->person));
    hm_json_member_str(&data, "type", HM_LIT("person"));
    hm_json_member_str(&data, "id", hm_str_of(e->person));
    hm_json_member_str(&data, "field", HM_LIT(""));
    struct hm_buf why = {0};
    hm_buf_printf(&why, "erase: %s", e->reason ? e->reason : "erased before this copy was restored");
    hm_json_member_str(&data, "why", hm_buf_view(&why));
    hm_json_member_int(&data, "time", item->commit.now_ms);
    hm_buf_char(&data, '}');
    hm_item_put(item, "audit", hm_str_of(id), HM_ANY_VERSION, hm_buf_view(&data), "role:administrator");
    hm_idem_forget(item);
    hm_buf_free(&why);
    hm_buf_free(&data);
}

static void round_committed(struct commit_item *item) {
    struct erasing *e = item->arg;
    e->ok = item->ok && (item->commit.code == HM_OK || item->commit.code == HM_CONFLICT);
    if (!item->ok)
        e->error = item->error;
    else if (!e->ok)
        e->error = item->commit.error;
    else if (item->commit.code == HM_CONFLICT && ++e->conflicts > CONFLICTS_MAX)
        e->ok = hm_fail(&e->error, HM_CONFLICT, "the person's records change all the time; try again");
    if (e->ok && item->commit.code == HM_OK && e->last) e->audited = true;
    if (e->ok && ++e->rounds > ROUNDS_MAX)
        e->ok = hm_fail(&e->error, HM_INTERNAL, "the erasing comes to no end");
    if (e->ok)
        go(e); // until a round finds nothing
    else
        finish(e);
}

static void erasing_done(struct errand *errand) {
    struct erasing *e = (struct erasing *)errand;
    // Somebody with nothing left is erased once more: that is written down, too, and ends what was kept.
    if (!e->ok || (!e->change_count && e->audited)) {
        finish(e);
        return;
    }
    struct commit_item *item = hm_item_new(e->inst, e->by ? e->by : "", "person.erase");
    item->commit.turn = e->turn;
    for (size_t i = 0; i < e->change_count; i++) {
        struct change *c = &e->changes[i];
        if (c->remove) {
            hm_item_remove(item, c->type, hm_str_of(c->id), HM_ANY_VERSION);
            continue;
        }
        hm_item_put(item, c->type, hm_str_of(c->id), c->version, hm_buf_view(&c->data), "");
        struct hm_intent *intent = &item->intents[item->intent_count - 1];
        intent->audience = hm_item_keep(item, hm_buf_view(&c->audience));
        intent->members = hm_item_keep(item, hm_buf_view(&c->members));
    }
    if (e->last && !e->audited) put_audit(e, item);
    item->arg = e;
    // Now, not when it is committed: what they have submitted before is committed no later than this, and so
    // found by the next round.
    hm_job_forget(e->inst);
    hm_item_submit(item, round_committed);
}

// ---- the end
// -----------------------------------------------------------------------------------------------------------------

static void answer(struct erasing *e) {
    struct hm_buf result = {0};
    struct hm_str rest = hm_buf_view(&e->missing), set;
    bool first = true;
    hm_buf_char(&result, '{');
    hm_json_member_str(&result, "person", hm_str_of(e->person));
    hm_json_member_int(&result, "sets", (int64_t)e->sets);
    hm_json_key(&result, "missing");
    hm_buf_char(&result, '[');
    while (hm_packed_next(&rest, &set)) {
        if (!first) hm_buf_char(&result, ',');
        first = false;
        hm_json_put_str(&result, set);
    }
    hm_buf_text(&result, "]}");
    hm_call_ok(e->call, hm_buf_view(&result));
    hm_buf_free(&result);
}

static void finish(struct erasing *e) {
    struct institution *inst = e->inst;
    struct hm_buf others = e->others;
    e->others = (struct hm_buf){0};
    if (e->ok) e->ok = file_change(e, false, &e->error);
    if (!e->ok && !e->call)
        hm_log(HM_ERROR, "erase.failed",
               "\"institution\":\"%s\",\"code\":%d,\"note\":\"the next start tries again\"", inst->id,
               (int)e->error.code);
    if (e->call && e->ok)
        answer(e);
    else if (e->call)
        hm_call_fail_error(e->call, &e->error);
    erasing_free(e);
    resume_next(inst, hm_buf_view(&others));
    hm_buf_free(&others);
}

static struct erasing *erasing_new(struct institution *inst, struct call *call) {
    struct erasing *e = hm_alloc(sizeof *e);
    e->errand.run = erasing_run;
    e->errand.done = erasing_done;
    e->inst = inst;
    e->call = call;
    return e;
}

bool hm_person_known(struct institution *inst, const char *person) {
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_json data;
    if (!hm_id_valid(hm_str_of(person)) || !hm_read_begin(inst->store, &read, NULL)) return false;
    struct hm_types *types = hm_store_types(inst->store);
    bool known = hm_read_data(read, "person", hm_str_of(person), &record, &data) ||
                 hm_read_unique(read, types, "account", "person", hm_str_of(person), &record, &data) ||
                 hm_read_unique(read, types, "invitation", "person", hm_str_of(person), &record, &data) ||
                 hm_read_unique(read, types, "audit", "whose", hm_str_of(person), &record, &data);
    hm_types_unref(types);
    hm_read_end(read);
    return known;
}

void hm_person_erase(struct call *call) {
    char person[HM_ID_MAX + 1], reason[129];
    struct hm_error err = {0};
    hm_arg_text(call, "person", person, sizeof person);
    hm_arg_text(call, "reason", reason, sizeof reason);
    hm_idem_end(call); // repeating it does no harm, and its answer tells of now
    if (!reason[0]) {
        hm_call_param(call, "reason", "must say why; it is kept, so without names");
    } else if (call->session && strcmp(call->session->person, person) == 0) {
        hm_call_reason(call, HM_CONFLICT, "reason", "self");
    } else if (!hm_person_known(call->institution, person)) { // a slip of the finger
        hm_call_fail(call, HM_NOT_FOUND, "");
    } else {
        struct erasing *e = erasing_new(call->institution, call);
        snprintf(e->person, sizeof e->person, "%s", person);
        e->by = hm_strdup(call->by);
        e->reason = hm_strdup(reason);
        hm_uuid7(hm_now_ms(), e->audit);
        if (file_change(e, true, &err)) {
            go(e);
        } else {
            hm_call_fail_error(call, &err);
            erasing_free(e);
        }
    }
}

// ---- taking up again
// ---------------------------------------------------------------------------------------------------------

static char *text_of(struct hm_json line, const char *name) {
    char text[300];
    return hm_json_get_text(line, name, text, sizeof text) ? hm_strdup(text) : NULL;
}

// The first of the lines; the others wait for it, since each may look at every record.
static void resume_next(struct institution *inst, struct hm_str lines) {
    struct hm_str one;
    while (!inst->engine->closing && next_line(&lines, &one)) {
        struct hm_json line;
        struct erasing *e = erasing_new(inst, NULL);
        if (!hm_json_parse((struct hm_str){one.ptr, one.len - 1}, &line, NULL) ||
            !hm_json_get_text(line, "person", e->person, sizeof e->person)) {
            erasing_free(e);
            continue;
        }
        e->by = text_of(line, "by");
        e->reason = text_of(line, "reason");
        if (!hm_json_get_text(line, "audit", e->audit, sizeof e->audit)) e->audit[0] = '\0';
        hm_buf_str(&e->others, lines);
        go(e);
        return;
    }
}

void hm_person_erase_resume(struct institution *inst) {
    struct hm_buf lines = {0};
    char *path = file_of(inst);
    if (hm_read_file(path, FILE_MAX, &lines, NULL) && lines.len) {
        hm_log(HM_INFO, "erase.resumed", "\"institution\":\"%s\"", inst->id);
        resume_next(inst, hm_buf_view(&lines));
    }
    hm_buf_free(&lines);
    free(path);
}
