// A person's own data: person.export and person.erase (which is erase.c). An export is an errand that looks
// at every record, page by page; only its rights and its answer are the loop's.
//
// What always holds: what an export gives, the caller could have read (the one check, hm_access_meets),
// except what the core itself keeps of the person, without any secret; sealed fields leave only after the
// audit of it is durable. An export is never kept on the server: a job's result or an idem record would stay
// in the change log for good.
#include "base/clock.h"
#include "engine/internal.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define PAGE_BYTES (1u << 20) // of text, after which a page ends
#define PAGE_RECORDS 50000u   // looked at
#define PAGE_AUDITS 500u      // sealed fields opened
#define EXPORTS_MAX 2u        // at once, in the whole server
#define WHY "export"

enum section { ACCOUNT, SESSIONS, SIGN_INS, INVITATIONS, READ_BY, RECORDS, WRITTEN, SECTIONS };
static const char *const section_names[SECTIONS] = {"accounts", "sessions", "sign_ins", "invitations",
                                                    "read_by",  "records",  "written"};

struct export {
    struct errand errand;
    struct institution *inst;
    struct call *call;
    char person[HM_ID_MAX + 1];
    struct hm_principals *of_person; // person:<id> and what it is a member of
    struct hm_types *types;
    struct hm_read *read;
    struct hm_buf after, last; // database keys: where the page begins, and the last record looked at
    struct hm_buf sections[SECTIONS];
    size_t bytes;
    unsigned looked;
    bool more, ok;
    struct hm_error error;
};

static void export_free(struct export *x) {
    for (size_t i = 0; i < SECTIONS; i++) {
        if (x->sections[i].data) sodium_memzero(x->sections[i].data, x->sections[i].len);
        hm_buf_free(&x->sections[i]);
    }
    hm_buf_free(&x->after);
    hm_buf_free(&x->last);
    hm_principals_unref(x->of_person);
    hm_types_unref(x->types);
    free(x);
}

// ---- whom a record concerns (on the errand's thread)
// ----------------------------------------------------------------------

struct names {
    struct hm_buf texts; // one behind the other
    size_t ends[1024], count;
};

static bool add_name(void *arg, struct hm_str principal) {
    struct names *n = arg;
    if (n->count == sizeof n->ends / sizeof *n->ends) return false;
    hm_buf_str(&n->texts, principal);
    n->ends[n->count++] = n->texts.len;
    return true;
}

static struct hm_principals *principals_of(struct hm_read *read, const char *person) {
    struct names *n = hm_alloc(sizeof *n);
    struct hm_str *views = hm_alloc_array(sizeof n->ends / sizeof *n->ends, sizeof *views);
    struct hm_buf own = {0};
    hm_buf_printf(&own, "person:%s", person);
    add_name(n, hm_buf_view(&own));
    hm_read_memberships(read, hm_str_of(person), add_name, n, NULL);
    for (size_t i = 0, from = 0; i < n->count; from = n->ends[i++])
        views[i] = (struct hm_str){n->texts.data + from, n->ends[i] - from};
    struct hm_principals *out = hm_principals_new(views, n->count);
    hm_buf_free(&own);
    hm_buf_free(&n->texts);
    free(views);
    free(n);
    return out;
}

// "public" is everybody's and tells nothing.
static bool names_person(const struct export *x, struct hm_str packed) {
    struct hm_str item;
    while (hm_packed_next(&packed, &item))
        if (!hm_str_eq(item, HM_LIT("public")) && hm_principals_has(x->of_person, item)) return true;
    return false;
}

// Is the id a value (or a key, as in answers by person) anywhere in it?
static bool mentions(struct hm_json value, struct hm_str id) {
    struct hm_json_iter it = hm_json_iter(value);
    struct hm_json key = {0}, item;
    if (value.kind == HM_JSON_STRING) return hm_json_key_is(value, id);
    while (hm_json_next(&it, &key, &item))
        if ((value.kind == HM_JSON_OBJECT && hm_json_key_is(key, id)) || mentions(item, id)) return true;
    return false;
}

static bool concerns(const struct export *x, const struct hm_record *r) {
    struct hm_str id = hm_str_of(x->person);
    if (hm_str_eq(r->type, HM_LIT("person")) && hm_str_eq(r->id, id)) return true;
    if (names_person(x, r->members) || names_person(x, r->audience)) return true;
    return memmem(r->data.ptr, r->data.len, id.ptr, id.len) &&
           mentions((struct hm_json){HM_JSON_OBJECT, r->data}, id);
}

// ---- what of it is given
// ---------------------------------------------------------------------------------------------------

static struct hm_buf *item_begin(struct export *x, enum section section) {
    struct hm_buf *out = &x->sections[section];
    if (out->len) hm_buf_char(out, ',');
    return out;
}

// Members of a record of the core that hold no secret.
static void put_members(struct export *x, enum section section, struct hm_json data,
                        const char *const *shown) {
    struct hm_buf *out = item_begin(x, section);
    struct hm_json value;
    hm_buf_char(out, '{');
    for (; *shown; shown++)
        if (hm_json_get(data, *shown, &value)) hm_json_member_raw(out, *shown, value.raw);
    hm_buf_char(out, '}');
}

static bool is_text(struct hm_json data, const char *name, const char *text) {
    struct hm_json value;
    return text[0] && hm_json_get(data, name, &value) && hm_json_key_is(value, hm_str_of(text));
}

// An entry of the audit tells of a record: only of one that the caller may read.
static bool may_know(const struct export *x, struct hm_json entry) {
    char type[HM_NAME_MAX + 1], id[HM_ID_MAX + 1];
    struct hm_record record;
    if (!hm_json_get_text(entry, "type", type, sizeof type) || !hm_json_get_text(entry, "id", id, sizeof id))
        return false;
    return hm_read_get(x->read, hm_str_of(type), hm_str_of(id), &record, NULL) &&
           hm_access_meets(x->call->principals, record.audience);
}

// True: it is a record of the core, and has been dealt with.
static bool take_core(struct export *x, const struct hm_record *r) {
    static const char *const account[] = {"login_shown", "roles", "state", "created", NULL};
    static const char *const session[] = {"created", "expires", "seen", "agent", "locale", NULL};
    static const char *const sign_in[] = {"time", "outcome", "agent", "network", NULL};
    static const char *const invitation[] = {"roles", "expires", "name", NULL};
    static const char *const audit[] = {"who", "type", "id", "field", "why", "time", NULL};
    struct hm_json data = {HM_JSON_OBJECT, r->data};
    if (hm_str_eq(r->type, HM_LIT("account"))) {
        if (is_text(data, "person", x->person)) put_members(x, ACCOUNT, data, account);
    } else if (hm_str_eq(r->type, HM_LIT("session"))) {
        if (is_text(data, "person", x->person)) put_members(x, SESSIONS, data, session);
    } else if (hm_str_eq(r->type, HM_LIT("sign_in"))) {
        if (is_text(data, "person", x->person)) put_members(x, SIGN_INS, data, sign_in);
    } else if (hm_str_eq(r->type, HM_LIT("invitation"))) {
        if (is_text(data, "person", x->person)) put_members(x, INVITATIONS, data, invitation);
    } else if (hm_str_eq(r->type, HM_LIT("audit"))) {
        if (is_text(data, "whose", x->person) && may_know(x, data)) put_members(x, READ_BY, data, audit);
    } else {
        const struct hm_type *type = hm_types_find(x->types, r->type);
        return type && type->hidden;
    }
    return true;
}

// The envelope with what can be opened opened, each of which the audit will tell.
static void put_record(struct export *x, const struct hm_record *r) {
    struct hm_buf *out = item_begin(x, RECORDS);
    const struct hm_type *type = hm_types_find(x->types, r->type);
    if (r->sealed.len && type) // of a type no longer declared nobody knows about whom it is sealed
        hm_record_open(x->call, type, r, HM_LIT(WHY), out);
    else
        hm_buf_str(out, r->json);
}

static void put_reference(struct export *x, const struct hm_record *r) {
    struct hm_buf *out = item_begin(x, WRITTEN);
    hm_buf_char(out, '{');
    hm_json_member_str(out, "type", r->type);
    hm_json_member_str(out, "id", r->id);
    hm_json_member_int(out, "updated", r->updated_ms);
    hm_buf_char(out, '}');
}

static bool take(void *arg, const struct hm_record *r) {
    struct export *x = arg;
    if (!take_core(x, r) && hm_access_meets(x->call->principals, r->audience)) {
        // What they wrote about others is others' data: that they wrote it is theirs.
        if (concerns(x, r))
            put_record(x, r);
        else if (hm_str_eq(r->by, hm_str_of(x->person)))
            put_reference(x, r);
    }
    x->bytes = 0;
    for (size_t i = 0; i < SECTIONS; i++)
        x->bytes += x->sections[i].len;
    x->more = ++x->looked >= PAGE_RECORDS || x->bytes >= PAGE_BYTES || x->call->audit_count >= PAGE_AUDITS;
    if (x->more) hm_record_key(r->type, r->id, &x->last);
    return !x->more;
}

static void export_run(struct errand *errand) {
    struct export *x = (struct export *)errand;
    struct hm_store *store = x->inst->store;
    x->types = hm_store_types(store);
    x->ok = hm_read_begin(store, &x->read, &x->error);
    if (!x->ok) return;
    x->of_person = principals_of(x->read, x->person);
    x->ok = hm_read_every(x->read, hm_buf_view(&x->after), take, x, &x->error);
    hm_read_end(x->read);
}

// ---- asking and answering (loop)
// ------------------------------------------------------------------------------------------

static void put_cursor(struct hm_buf *out, struct hm_str key) {
    size_t cap = sodium_base64_encoded_len(key.len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    hm_buf_char(out, '"');
    hm_buf_reserve(out, cap);
    sodium_bin2base64(out->data + out->len, cap, (const unsigned char *)key.ptr, key.len,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    out->len += cap - 1;
    hm_buf_char(out, '"');
}

static void put_page(struct export *x, struct hm_buf *out) {
    char stamp[32];
    time_t now = (time_t)(hm_now_ms() / 1000);
    struct tm parts;
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &parts));
    hm_buf_char(out, '{');
    hm_json_member_str(out, "format", HM_LIT("hamroh person 1"));
    hm_json_member_str(out, "person", hm_str_of(x->person));
    hm_json_member_str(out, "institution", hm_str_of(x->inst->id));
    hm_json_member_str(out, "made", hm_str_of(stamp));
    for (size_t i = 0; i < SECTIONS; i++) {
        hm_json_key(out, section_names[i]);
        hm_buf_char(out, '[');
        hm_buf_str(out, hm_buf_view(&x->sections[i]));
        hm_buf_char(out, ']');
    }
    hm_json_key(out, "cursor");
    if (x->more)
        put_cursor(out, hm_buf_view(&x->last));
    else
        hm_buf_text(out, "null");
    hm_buf_char(out, '}');
}

// Collecting took its time. False: the call has been answered.
static bool may_export(struct call *call, const char *person) {
    if (!hm_call_still(call)) return false;
    if (call->admin || (call->session && strcmp(call->session->person, person) == 0)) return true;
    hm_call_reason(call, HM_FORBIDDEN, "need", "administrator");
    return false;
}

static void export_done(struct errand *errand) {
    struct export *x = (struct export *)errand;
    struct call *call = x->call;
    struct hm_buf page = {0};
    call->engine->exports--;
    if (!x->ok) {
        hm_call_fail_error(call, &x->error);
    } else if (may_export(call, x->person)) {
        put_page(x, &page);
        if (!x->after.len)
            hm_call_audit(call, HM_LIT("person"), hm_str_of(x->person), HM_LIT(""), HM_LIT(WHY),
                          hm_str_of(x->person));
        if (call->audits) {
            struct commit_item *item = hm_item_new(call->institution, call->by, call->method);
            hm_item_finish_call(item, call, hm_buf_view(&page), hm_call_committed);
        } else {
            hm_call_ok(call, hm_buf_view(&page));
        }
        sodium_memzero(page.data, page.len);
    }
    hm_buf_free(&page);
    export_free(x);
}

static bool take_cursor(struct call *call, struct hm_buf *after) {
    struct hm_buf text = {0};
    size_t len = 0;
    bool ok = true;
    hm_arg_buf(call, "cursor", &text);
    if (text.len) {
        hm_buf_reserve(after, text.len);
        ok = text.len <= 1024 &&
             sodium_base642bin((unsigned char *)after->data, text.len, text.data, text.len, NULL, &len, NULL,
                               sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0;
        // Any key will do: what lies behind it is checked like everything.
        ok = ok && len > 0 && len <= HM_NAME_MAX + 1 + HM_ID_MAX;
        after->len = ok ? len : 0;
        if (!ok) hm_call_param(call, "cursor", "is not a cursor of this export");
    }
    hm_buf_free(&text);
    return ok;
}

static void person_export(struct call *call) {
    char person[HM_ID_MAX + 1];
    struct hm_error err = {0};
    const char *own = call->session ? call->session->person : "";
    if (!hm_arg_text(call, "person", person, sizeof person)) snprintf(person, sizeof person, "%s", own);
    hm_idem_end(call); // an export changes nothing, and a stored answer would be a copy in clear
    if (!person[0]) {
        hm_call_param(call, "person", "is missing, and your account belongs to no person");
    } else if (strcmp(person, own) != 0 && !call->admin) {
        hm_call_reason(call, HM_FORBIDDEN, "need", "administrator");
    } else if (!hm_person_known(call->institution, person)) {
        // An empty document would say of a mistyped person that there is nothing of them, and the audit of it
        // would make them known, to person.erase as well.
        hm_call_fail(call, HM_NOT_FOUND, "");
    } else if (call->engine->exports >= EXPORTS_MAX) {
        hm_call_wait(call, 1);
    } else {
        struct export *x = hm_alloc(sizeof *x);
        x->errand.run = export_run;
        x->errand.done = export_done;
        x->inst = call->institution;
        x->call = call;
        snprintf(x->person, sizeof x->person, "%s", person);
        if (!take_cursor(call, &x->after)) {
            export_free(x);
        } else if (!hm_errand_start(call->engine, &x->errand, &err)) {
            hm_call_fail_error(call, &err);
            export_free(x);
        } else {
            call->engine->exports++;
        }
    }
}

static const struct core_method rows[] = {
    {"person.export", ACCESS_SIGNED_IN, "person:text cursor:long",
     "Everything about the person that the caller may read, sealed fields opened (which the audit tells); "
     "everyone for "
     "themselves, administrators for anyone. Page by page: cursor continues.",
     person_export},
    {"person.erase", ACCESS_ADMIN, "person:text! reason:text!",
     "Destroys the person's key here and in every backup set, ends the account, takes the name away. For "
     "good.",
     hm_person_erase},
};
const struct core_table hm_methods_person = {rows, sizeof rows / sizeof *rows};
