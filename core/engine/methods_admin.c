// Institutions, copies, the audit, and what the server says about itself. Loop thread; copies are errands.
// What always holds: a caller from the network names no path on the server's disk, only a name in the
// institution's set.
#include "base/clock.h"
#include "base/log.h"
#include "engine/internal.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

// ---- institution.create, institution.list -------------------------------------------------------------

struct founding {
    struct call *call;
    struct institution *institution; // the new one
    char id[65], code[20];
    struct hm_buf record; // for the cluster
};

static void founding_end(struct founding *f) {
    hm_buf_free(&f->record);
    free(f);
}

static void founded(struct commit_item *item) {
    struct founding *f = item->arg;
    founding_end(f);
    hm_call_committed(item);
}

// The new store has its first invitation: now the cluster may know of it.
static void invited(struct commit_item *item) {
    struct founding *f = item->arg;
    struct hm_buf result = {0};
    if (!item->ok || item->commit.code != HM_OK) {
        hm_call_fail_item(f->call, item);
        founding_end(f);
        return;
    }
    if (!hm_call_still(f->call)) {
        founding_end(f);
        return;
    }
    struct institution *cluster = hm_inst_find(f->call->engine, CLUSTER);
    struct commit_item *next = hm_item_new(cluster, f->call->by, f->call->method);
    hm_item_put(next, "institution", hm_str_of(f->id), 0, hm_buf_view(&f->record), "public");
    next->arg = f;
    hm_buf_char(&result, '{');
    hm_json_member_str(&result, "id", hm_str_of(f->id));
    hm_json_member_str(&result, "code", hm_str_of(f->code));
    hm_buf_char(&result, '}');
    hm_item_finish_call(next, f->call, hm_buf_view(&result), founded);
    hm_buf_free(&result);
}

static void founding_record(struct founding *f, int64_t zone) {
    struct hm_json title = {0};
    struct hm_buf *b = &f->record;
    hm_json_get(f->call->params, "title", &title);
    hm_buf_char(b, '{');
    hm_json_member_raw(b, "title", title.raw);
    hm_json_member_int(b, "zone", zone);
    hm_json_member_str(b, "state", HM_LIT("open"));
    hm_json_member_int(b, "created", hm_now_ms());
    hm_buf_char(b, '}');
}

static void institution_create(struct call *call) {
    struct hm_engine *engine = call->engine;
    struct hm_error err = {0};
    struct hm_json title = {0};
    char id[65], hash[65];
    int64_t zone = hm_arg_int(call, "zone_minutes", engine->settings.zone_minutes);
    hm_arg_text(call, "id", id, sizeof id);
    hm_json_get(call->params, "title", &title);
    if (!hm_name_valid(hm_str_of(id))) {
        hm_call_param(call, "id", "must begin with a letter and hold a-z, 0-9, _ . - only, 64 at most");
        return;
    }
    if (title.kind != HM_JSON_STRING && title.kind != HM_JSON_OBJECT) {
        hm_call_param(call, "title", "must be a text, or texts by language");
        return;
    }
    if (zone < -1440 || zone > 1440) {
        hm_call_param(call, "zone_minutes", "must be minutes from UTC");
        return;
    }
    if (hm_inst_find(engine, id)) {
        hm_call_reason(call, HM_CONFLICT, "reason", "exists");
        return;
    }
    struct founding *f = hm_alloc(sizeof *f);
    struct hm_buf data = {0};
    f->call = call;
    snprintf(f->id, sizeof f->id, "%s", id);
    if (!hm_inst_open(engine, id, &f->institution, &err)) {
        hm_call_fail_error(call, &err);
        founding_end(f);
        return;
    }
    f->institution->zone_minutes = (int)zone;
    founding_record(f, zone);
    hm_code_new(f->code, hash);
    hm_inst_invitation(&data, hm_now_ms(), NULL, HM_LIT("[\"administrator\"]"), "first administrator");
    struct commit_item *item = hm_item_new(f->institution, call->by, call->method);
    hm_item_put(item, "invitation", hm_str_of(hash), 0, hm_buf_view(&data), "");
    item->arg = f;
    hm_item_submit(item, invited);
    hm_buf_free(&data);
}

static bool list_institution(void *arg, const struct hm_record *record, struct hm_json data) {
    struct hm_buf *out = arg;
    struct hm_json title;
    if (out->data[out->len - 1] != '[') hm_buf_char(out, ',');
    hm_buf_char(out, '{');
    hm_json_member_str(out, "id", record->id);
    if (hm_json_get(data, "title", &title)) hm_json_member_raw(out, "title", title.raw);
    hm_buf_char(out, '}');
    return true;
}

static void institution_list(struct call *call) {
    struct institution *cluster = hm_inst_find(call->engine, CLUSTER);
    struct hm_read *read = NULL;
    struct hm_error err = {0};
    struct hm_buf out = {0};
    if (!hm_read_begin(cluster->store, &read, &err)) {
        hm_call_fail_error(call, &err);
        return;
    }
    struct hm_types *types = hm_store_types(cluster->store);
    hm_buf_text(&out, "{\"items\":[");
    hm_read_each(read, types, "institution", NULL, HM_LIT(""), false, list_institution, &out);
    hm_buf_text(&out, "]}");
    hm_types_unref(types);
    hm_read_end(read);
    hm_call_ok(call, hm_buf_view(&out));
    hm_buf_free(&out);
}

// ---- backup.create ------------------------------------------------------------------------------------

struct backup {
    struct errand errand;
    struct hm_store *store;
    struct call *call;
    char *set, *name;
    bool ok;
    struct hm_error error;
};

static void backup_free(struct backup *b) {
    free(b->set);
    free(b->name);
    free(b);
}

static void backup_done(struct errand *errand) {
    struct backup *b = (struct backup *)errand;
    struct hm_buf result = {0}, path = {0};
    if (b->ok) {
        hm_buf_printf(&path, "%s/%s", b->set, b->name);
        hm_buf_char(&result, '{');
        hm_json_member_str(&result, "name", hm_str_of(b->name));
        hm_json_member_str(&result, "path", hm_buf_view(&path));
        hm_buf_char(&result, '}');
        hm_idem_finish(b->call, hm_buf_view(&result));
    } else {
        hm_call_fail_error(b->call, &b->error);
    }
    hm_buf_free(&result);
    hm_buf_free(&path);
    backup_free(b);
}

static void backup_run(struct errand *errand) {
    struct backup *b = (struct backup *)errand;
    b->ok = hm_store_backup(b->store, b->set, b->name, &b->error);
}

// The institution's folder in the root of the sets, which is made when missing. NULL: the call has been
// answered.
static char *backup_set(struct call *call) {
    const struct hm_settings *settings = &call->engine->settings;
    struct hm_buf root = {0}, set = {0};
    char real[PATH_MAX];
    hm_arg_buf(call, "to", &root);
    if (root.len && (!call->caller->control || root.data[0] != '/' || memchr(root.data, 0, root.len))) {
        hm_call_param(call, "to",
                      call->caller->control ? "must be a path from the root"
                                            : "is for commands on the server's machine (hamroh backup)");
        goto out;
    }
    if (!root.len && settings->backup_dir[0])
        hm_buf_text(&root, settings->backup_dir);
    else if (!root.len)
        hm_buf_printf(&root, "%s/backups", call->engine->data_dir);
    if ((mkdir(root.data, 0700) == 0 || errno == EEXIST) && realpath(root.data, real))
        hm_buf_printf(&set, "%s/%s", real, call->institution->id);
    else
        hm_call_fail(call, HM_UNAVAILABLE, "the folder of the backups cannot be made (setting backup_dir)");
out:
    hm_buf_free(&root);
    return set.data;
}

// The time, in a form that sorts and that every file system takes.
static char *backup_name(const char *set) {
    struct hm_buf name = {0}, path = {0};
    char stamp[32];
    time_t now = (time_t)(hm_now_ms() / 1000);
    struct tm parts;
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H%M%SZ", gmtime_r(&now, &parts));
    for (int i = 1; i < 1000; i++) {
        hm_buf_clear(&name);
        hm_buf_clear(&path);
        hm_buf_text(&name, stamp);
        if (i > 1) hm_buf_printf(&name, "-%d", i);
        hm_buf_printf(&path, "%s/%s", set, name.data);
        if (access(path.data, F_OK) != 0) break;
    }
    hm_buf_free(&path);
    return name.data;
}

// Two at once would take the same name, and the second would be worth nothing.
static bool backup_runs(const struct call *call) {
    for (struct errand *e = call->engine->errands; e; e = e->next)
        if (e->run == backup_run && ((struct backup *)e)->store == call->institution->store) return true;
    return false;
}

static void backup_create(struct call *call) {
    struct hm_error err = {0};
    struct hm_buf name = {0};
    if (backup_runs(call)) {
        hm_call_reason(call, HM_CONFLICT, "reason", "backup_runs");
        return;
    }
    char *set = backup_set(call);
    if (!set) return;
    hm_arg_buf(call, "name", &name);
    if (!name.len) hm_buf_free(&name);
    struct backup *b = hm_alloc(sizeof *b);
    *b = (struct backup){.errand = {.run = backup_run, .done = backup_done},
                         .store = call->institution->store,
                         .call = call,
                         .set = set,
                         .name = name.len ? name.data : backup_name(set)};
    if (!hm_errand_start(call->engine, &b->errand, &err)) {
        hm_call_fail_error(call, &err);
        backup_free(b);
    }
}

// ---- backup.list ----------------------------------------------------------------------------------------

#define LISTED 20u

struct listing {
    struct errand errand;
    struct hm_store *store;
    struct call *call;
    struct {
        char *set, *name;
        int64_t made_ms;
        uint64_t bytes;
    } newest[LISTED + 1]; // the newest first; the one too many is for taking in another
    size_t count;
    bool ok;
    struct hm_error error;
};

static void listing_drop(struct listing *l) {
    l->count--;
    free(l->newest[l->count].set);
    free(l->newest[l->count].name);
}

static void listing_free(struct listing *l) {
    while (l->count)
        listing_drop(l);
    free(l);
}

static void listing_take(void *arg, const struct hm_backup *backup) {
    struct listing *l = arg;
    size_t at = l->count++;
    for (; at && l->newest[at - 1].made_ms < backup->made_ms; at--)
        l->newest[at] = l->newest[at - 1];
    l->newest[at].set = hm_strdup(backup->set);
    l->newest[at].name = hm_strdup(backup->name);
    l->newest[at].made_ms = backup->made_ms;
    l->newest[at].bytes = backup->bytes;
    if (l->count > LISTED) listing_drop(l);
}

static void listing_run(struct errand *errand) {
    struct listing *l = (struct listing *)errand;
    l->ok = hm_store_each_backup(l->store, listing_take, l, &l->error);
}

static void listing_done(struct errand *errand) {
    struct listing *l = (struct listing *)errand;
    struct hm_buf result = {0};
    hm_buf_text(&result, "{\"items\":[");
    for (size_t i = 0; i < l->count; i++) {
        hm_buf_text(&result, i ? ",{" : "{");
        hm_json_member_str(&result, "set", hm_str_of(l->newest[i].set));
        hm_json_member_str(&result, "name", hm_str_of(l->newest[i].name));
        hm_json_member_int(&result, "made", l->newest[i].made_ms);
        hm_json_member_int(&result, "bytes", (int64_t)l->newest[i].bytes);
        hm_buf_char(&result, '}');
    }
    hm_buf_text(&result, "]}");
    if (l->ok)
        hm_call_ok(l->call, hm_buf_view(&result));
    else
        hm_call_fail_error(l->call, &l->error);
    hm_buf_free(&result);
    listing_free(l);
}

static void backup_list(struct call *call) {
    struct hm_error err = {0};
    struct listing *l = hm_alloc(sizeof *l);
    l->errand.run = listing_run;
    l->errand.done = listing_done;
    l->store = call->institution->store;
    l->call = call;
    if (!hm_errand_start(call->engine, &l->errand, &err)) {
        hm_call_fail_error(call, &err);
        listing_free(l);
    }
}

// ---- backup.forget --------------------------------------------------------------------------------------

// A set that is gone for good is not looked for any more when somebody is erased.
static void backup_forget(struct call *call) {
    struct hm_error err = {0};
    struct hm_buf set = {0};
    hm_arg_buf(call, "set", &set);
    if (!set.len || memchr(set.data, 0, set.len))
        hm_call_param(call, "set", "must be the path of a set, as person.erase tells it");
    else if (hm_store_forget_set(call->institution->store, set.data, &err))
        hm_call_ok(call, HM_LIT("{}"));
    else
        hm_call_fail_error(call, &err);
    hm_buf_free(&set);
}

// ---- the rest -----------------------------------------------------------------------------------------

static void audit_list(struct call *call) {
    char whose[HM_ID_MAX + 1];
    struct hm_buf equals = {0};
    bool one = hm_arg_text(call, "whose", whose, sizeof whose);
    hm_buf_char(&equals, '[');
    if (one) hm_json_put_str(&equals, hm_str_of(whose));
    hm_buf_char(&equals, ']');
    hm_record_list(call, "audit", one ? "whose" : "", hm_buf_view(&equals), true);
    hm_buf_free(&equals);
}

static void rpc_discover(struct call *call) {
    struct hm_buf out = {0};
    if (hm_call_needs_catalogue(call)) return;
    hm_engine_openrpc(call->engine, call->institution ? call->institution->id : NULL, &out);
    hm_call_ok(call, hm_buf_view(&out));
    hm_buf_free(&out);
}

static void server_info(struct call *call) {
    struct hm_buf out = {0};
    hm_buf_char(&out, '{');
    hm_json_member_str(&out, "version", hm_str_of(HAMROH_VERSION));
    hm_json_member_raw(&out, "languages", HM_LIT("[\"uz\",\"uz-Cyrl\",\"ru\",\"en\"]"));
    hm_json_member_int(&out, "time", hm_now_ms());
    hm_json_member_str(&out, "clock", hm_clock_is_manual() ? HM_LIT("manual") : HM_LIT("wall"));
    hm_json_member_int(&out, "zone_minutes",
                       call->institution ? call->institution->zone_minutes
                                         : call->engine->settings.zone_minutes);
    hm_buf_char(&out, '}');
    hm_call_ok(call, hm_buf_view(&out));
    hm_buf_free(&out);
}

static void clock_advance(struct call *call) {
    int64_t ms = hm_arg_int(call, "ms", 0);
    struct hm_buf out = {0};
    if (!hm_clock_is_manual()) {
        hm_call_reason(call, HM_FORBIDDEN, "need", "the setting clock = manual");
        return;
    }
    if (ms < 0 || ms > 10LL * 366 * 86400000) {
        hm_call_param(call, "ms", "must be 0 to ten years");
        return;
    }
    hm_clock_advance(ms);
    call->engine->next_sweep_us = 0; // what expired with it ends at once, as it would have by now
    hm_buf_printf(&out, "{\"time\":%lld}", (long long)hm_now_ms());
    hm_idem_finish(call, hm_buf_view(&out));
    hm_buf_free(&out);
}

static const struct core_method rows[] = {
    {"institution.create", ACCESS_CLUSTER, "id:text! title:any! zone_minutes:int",
     "Makes an institution; gives the invitation code of its first administrator.", institution_create},
    {"institution.list", ACCESS_PUBLIC, "", "The institutions of this server.", institution_list},
    {"backup.create", ACCESS_ADMIN, "to:long name:text",
     "A consistent copy of the institution while it is served; the set it goes into gets the keyring as it "
     "is now.",
     backup_create},
    {"backup.list", ACCESS_ADMIN, "",
     "The newest backups in the sets that were used and can be read, 20 at most: when and how big.",
     backup_list},
    {"backup.forget", ACCESS_ADMIN, "set:long!",
     "Forgets a backup set that is gone for good, so that person.erase does not look for it.", backup_forget},
    {"audit.list", ACCESS_ADMIN, "whose:text order:text limit:int cursor:long",
     "Who opened which sealed field, and why.", audit_list},
    {"rpc.discover", ACCESS_PUBLIC, "institution:text", "This document.", rpc_discover},
    {"server.info", ACCESS_PUBLIC, "institution:text", "Version, languages, time.", server_info},
    {"clock.advance", ACCESS_ADMIN, "ms:int!", "Moves the manual clock (trials only).", clock_advance},
    {"feed.open", ACCESS_SIGNED_IN, "after:object types:array about:array",
     "Opens the feed of what is committed, on a WebSocket.", NULL},
    {"feed.close", ACCESS_SIGNED_IN, "", "Closes the feed.", NULL},
};
const struct core_table hm_methods_admin = {rows, sizeof rows / sizeof *rows};
