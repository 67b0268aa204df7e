// What plugins say: the last lines they logged, and their errors, of one institution, in memory; plugin.log
// and the notices that follow it live. Loop thread. What always holds: the lines of an institution take no
// more than log_keep_bytes, only its administrators are given them, a follower that is slow or flooded is
// told how many lines it missed, and what a call said after it opened a sealed field is not in them (proc.c).
#include "base/clock.h"
#include "base/log.h"
#include "engine/author.h"

#include <stdlib.h>
#include <utlist.h>

#define LINE_TEXT_MAX 2000u
#define FOLLOWERS_MAX 50u
#define A_SECOND_MAX 200u // notices to one follower; the rest is counted
#define LIST_MAX 1000

struct kept {
    struct kept *next;
    uint64_t number;
    int level;
    char *kind, *id, *json;
    size_t bytes;
};

struct filter {
    char kind[HM_NAME_MAX + 1], id[HM_NAME_MAX + 1];
    int level;
};

struct follower {
    struct follower *prev, *next;
    struct hm_caller *caller;   // one reference
    struct hm_session *session; // who asked; one reference
    struct filter filter;
    uint64_t second; // of which `told` counts
    unsigned told, missed;
};

struct author_log {
    struct kept *first, **tail;
    size_t bytes;
    struct follower *followers;
    unsigned follower_count;
};

static uint64_t last_number; // of all lines of this server: a poller goes on behind the last one it has seen

struct author *hm_author_of(struct institution *inst) {
    if (!inst->author) inst->author = hm_alloc(sizeof *inst->author);
    return inst->author;
}

static struct author_log *log_of(struct institution *inst) {
    struct author *author = hm_author_of(inst);
    if (!author->log) {
        author->log = hm_alloc(sizeof *author->log);
        author->log->tail = &author->log->first;
    }
    return author->log;
}

static void drop_first(struct author_log *log) {
    struct kept *k = log->first;
    log->first = k->next;
    if (!log->first) log->tail = &log->first;
    log->bytes -= k->bytes;
    free(k->kind);
    free(k->id);
    free(k->json);
    free(k);
}

void hm_author_log_clear(struct author_log *log) {
    while (log && log->first)
        drop_first(log);
}

static void unfollow(struct author_log *log, struct follower *f) {
    DL_DELETE(log->followers, f);
    log->follower_count--;
    hm_session_unref(f->session);
    hm_caller_unref(f->caller);
    free(f);
}

void hm_author_log_free(struct author_log *log) {
    if (!log) return;
    hm_author_log_clear(log);
    while (log->followers)
        unfollow(log, log->followers);
    free(log);
}

// ---- taking a line ------------------------------------------------------------------------------------

static const char *const folders[][2] = {{"services", "service"},    {"matchers", "matcher"},
                                         {"activities", "activity"}, {"questionnaires", "questionnaire"},
                                         {"reports", "report"},      {"components", "component"}};
#define FOLDERS (sizeof folders / sizeof *folders)

const char *hm_kind_name(const char *word) {
    for (size_t i = 0; i < FOLDERS; i++)
        if (strcmp(word, folders[i][0]) == 0 || strcmp(word, folders[i][1]) == 0) return folders[i][1];
    return "";
}

const char *hm_plugin_kind_of_file(struct hm_str file) {
    for (size_t i = 0; i < FOLDERS; i++) {
        size_t len = strlen(folders[i][0]);
        if (file.len > len && memcmp(file.ptr, folders[i][0], len) == 0 && file.ptr[len] == '/')
            return folders[i][1];
    }
    return "";
}

bool hm_cat_kind(const struct catalogue *cat, struct hm_str id, struct hm_str version,
                 char out[HM_NAME_MAX + 1]) {
    struct hm_json list, item, value;
    if (!cat || !id.len || !hm_json_get(cat->root, "plugins", &list)) return false;
    struct hm_json_iter it = hm_json_iter(list);
    while (hm_json_next(&it, NULL, &item))
        if (hm_json_get(item, "id", &value) && hm_json_key_is(value, id) &&
            hm_json_get(item, "version", &value) && hm_json_key_is(value, version))
            return hm_json_get_text(item, "kind", out, HM_NAME_MAX + 1);
    return false;
}

static struct hm_str cut(struct hm_str s, size_t most) {
    s.len = s.len < most ? s.len : most;
    return s;
}

static char *line_json(const struct plugin_line *line, uint64_t number) {
    struct hm_buf b = {0};
    hm_buf_char(&b, '{');
    hm_json_member_int(&b, "number", (int64_t)number);
    hm_json_member_int(&b, "time", hm_now_ms());
    hm_json_member_str(&b, "level", hm_str_of(hm_level_name((enum hm_level)line->level)));
    hm_json_member_str(&b, "kind", cut(line->kind, HM_NAME_MAX));
    hm_json_member_str(&b, "id", cut(line->id, HM_NAME_MAX));
    hm_json_member_str(&b, "version", cut(line->version, 64));
    hm_json_member_str(&b, "method", cut(line->method, 128));
    hm_json_member_str(&b, "file", cut(line->file, 128));
    hm_json_member_int(&b, "line", line->line);
    hm_json_member_str(&b, "text", cut(line->text, LINE_TEXT_MAX));
    hm_buf_char(&b, '}');
    return b.data;
}

static bool passes(const struct filter *f, const struct kept *k) {
    return k->level >= f->level && (!f->kind[0] || strcmp(f->kind, k->kind) == 0) &&
           (!f->id[0] || strcmp(f->id, k->id) == 0);
}

// False: nobody listens there any more, or somebody else, or no longer as an administrator.
static bool still_follows(const struct follower *f) {
    const struct hm_session *s = f->session;
    return f->caller->net && f->caller->session == s && !s->ended && s->admin && !s->limited;
}

static void tell(struct hm_engine *engine, struct follower *f, const struct kept *k) {
    uint64_t second = hm_mono_us() / 1000000;
    if (f->second != second) {
        f->second = second;
        f->told = 0;
    }
    if (++f->told > A_SECOND_MAX) {
        f->missed++;
        return;
    }
    struct hm_buf params = {0}, missed = {0};
    if (f->missed) {
        hm_json_put_int(&missed, f->missed);
        hm_json_with((struct hm_json){HM_JSON_OBJECT, hm_str_of(k->json)}, "missed", hm_buf_view(&missed),
                     &params);
        f->missed = 0;
    } else {
        hm_buf_text(&params, k->json);
    }
    if (engine->listener.tell)
        engine->listener.tell(engine->listener.arg, f->caller, "plugin.log", hm_buf_view(&params));
    hm_buf_free(&missed);
    hm_buf_free(&params);
}

void hm_plugin_line(struct institution *inst, const struct plugin_line *line) {
    struct hm_engine *engine = inst->engine;
    if (engine->closing || (!engine->settings.log_keep_bytes && !inst->author)) return;
    struct author_log *log = log_of(inst);
    struct kept *k = hm_alloc(sizeof *k);
    k->number = ++last_number;
    k->level = line->level < HM_DEBUG ? HM_DEBUG : line->level > HM_ERROR ? HM_ERROR : line->level;
    k->kind = hm_str_dup(cut(line->kind, HM_NAME_MAX));
    k->id = hm_str_dup(cut(line->id, HM_NAME_MAX));
    struct plugin_line copy = *line;
    copy.level = k->level;
    k->json = line_json(&copy, k->number);
    k->bytes = sizeof *k + strlen(k->json) + line->id.len + line->kind.len + 2;
    struct follower *f, *next;
    DL_FOREACH_SAFE(log->followers, f, next) {
        if (!still_follows(f))
            unfollow(log, f);
        else if (passes(&f->filter, k))
            tell(engine, f, k);
    }
    *log->tail = k;
    log->tail = &k->next;
    log->bytes += k->bytes;
    while (log->first && log->bytes > engine->settings.log_keep_bytes)
        drop_first(log);
}

void hm_plugin_lines_refused(struct institution *inst, struct hm_str errors) {
    struct hm_json_iter it = hm_json_iter((struct hm_json){HM_JSON_ARRAY, errors});
    struct hm_json item, value;
    for (int i = 0; i < 100 && hm_json_next(&it, NULL, &item); i++) {
        char id[HM_NAME_MAX + 1] = "", file[129] = "";
        struct hm_buf text = {0};
        struct plugin_line line = {.level = HM_ERROR};
        hm_json_get_text(item, "plugin", id, sizeof id);
        hm_json_get_text(item, "file", file, sizeof file);
        if (hm_json_get(item, "line", &value)) hm_json_int(value, &line.line);
        if (hm_json_get(item, "message", &value)) hm_json_string(value, &text);
        line.id = hm_str_of(id);
        line.file = hm_str_of(file);
        line.kind = hm_str_of(hm_plugin_kind_of_file(line.file));
        line.text = hm_buf_view(&text);
        hm_plugin_line(inst, &line);
        hm_buf_free(&text);
    }
}

static void add_warnings(struct hm_json list, struct hm_str kind, const char *id, struct hm_buf *out) {
    struct hm_json_iter it = hm_json_iter(list);
    struct hm_json item;
    char plugin[HM_NAME_MAX + 1], file[129];
    while (hm_json_next(&it, NULL, &item)) {
        bool its = hm_json_get_text(item, "plugin", plugin, sizeof plugin) && strcmp(plugin, id) == 0 &&
                   hm_json_get_text(item, "file", file, sizeof file) &&
                   hm_str_eq(hm_str_of(hm_plugin_kind_of_file(hm_str_of(file))), kind);
        if (!its) continue;
        if (out->data[out->len - 1] != '[') hm_buf_char(out, ',');
        hm_buf_str(out, item.raw);
    }
}

void hm_plugin_warnings(const struct trial *trial, const char *kind, const char *id, struct hm_buf *out) {
    struct hm_json list, unknown = {HM_JSON_ARRAY, HM_LIT("[]")};
    hm_buf_char(out, '[');
    if (trial->proc && trial->proc->unknown.len) unknown.raw = hm_buf_view(&trial->proc->unknown);
    add_warnings(unknown, hm_str_of(kind), id, out);
    if (trial->catalogue && hm_json_get(trial->catalogue->root, "warnings", &list))
        add_warnings(list, hm_str_of(kind), id, out);
    hm_buf_char(out, ']');
}

// ---- methods ------------------------------------------------------------------------------------------

// False: answered.
static bool read_filter(struct call *call, struct filter *f) {
    char level[129];
    enum hm_level found = HM_DEBUG;
    hm_arg_text(call, "kind", f->kind, sizeof f->kind);
    hm_arg_text(call, "id", f->id, sizeof f->id);
    if (hm_arg_text(call, "level", level, sizeof level) && level[0] && !hm_level_of(level, &found)) {
        hm_call_param(call, "level", "must be debug, info, warn or error");
        return false;
    }
    f->level = (int)found;
    return true;
}

static void plugin_log(struct call *call) {
    struct author_log *log = log_of(call->institution);
    struct filter f = {0};
    int64_t limit = hm_arg_int(call, "limit", 100), after = hm_arg_int(call, "after", 0);
    size_t found = 0;
    if (!read_filter(call, &f)) return;
    if (limit < 1 || limit > LIST_MAX) {
        hm_call_param(call, "limit", "must be from 1 to 1000");
        return;
    }
    for (const struct kept *k = log->first; k; k = k->next)
        found += k->number > (uint64_t)(after > 0 ? after : 0) && passes(&f, k);
    struct hm_buf out = {0};
    hm_buf_text(&out, "{\"items\":[");
    for (const struct kept *k = log->first; k; k = k->next) {
        if (k->number <= (uint64_t)(after > 0 ? after : 0) || !passes(&f, k)) continue;
        if (found-- > (size_t)limit) continue; // the newest of them
        if (out.data[out.len - 1] != '[') hm_buf_char(&out, ',');
        hm_buf_text(&out, k->json);
    }
    hm_buf_char(&out, ']');
    hm_json_member_int(&out, "last", (int64_t)last_number);
    hm_buf_char(&out, '}');
    hm_call_ok(call, hm_buf_view(&out));
    hm_buf_free(&out);
}

static struct follower *follower_of(struct author_log *log, const struct hm_caller *caller) {
    struct follower *f, *next;
    DL_FOREACH_SAFE(log->followers, f, next) {
        if (!still_follows(f))
            unfollow(log, f);
        else if (f->caller == caller)
            return f;
    }
    return NULL;
}

static void plugin_log_open(struct call *call) {
    struct author_log *log = log_of(call->institution);
    struct filter filter = {0};
    if (!call->caller || !call->caller->persistent || !call->caller->net || !call->caller->session) {
        hm_call_reason(call, HM_CONFLICT, "reason", "no_connection"); // ask plugin.log again instead
        return;
    }
    if (!read_filter(call, &filter)) return;
    struct follower *f = follower_of(log, call->caller);
    if (!f && log->follower_count >= FOLLOWERS_MAX) {
        hm_call_wait(call, 10);
        return;
    }
    if (!f) {
        f = hm_alloc(sizeof *f);
        f->caller = hm_caller_ref(call->caller);
        f->session = hm_session_ref(call->caller->session);
        DL_APPEND(log->followers, f);
        log->follower_count++;
    }
    f->filter = filter;
    struct hm_buf out = {0};
    hm_buf_printf(&out, "{\"last\":%llu}", (unsigned long long)last_number);
    hm_call_ok(call, hm_buf_view(&out));
    hm_buf_free(&out);
}

static void plugin_log_close(struct call *call) {
    struct author_log *log = log_of(call->institution);
    struct follower *f = call->caller ? follower_of(log, call->caller) : NULL;
    if (f) unfollow(log, f);
    hm_call_ok(call, HM_LIT("{}"));
}

static const struct core_method rows[] = {
    {"plugin.log", ACCESS_ADMIN, "kind:text id:text level:text limit:int after:int",
     "The last lines that plugins logged, and their errors, the newest last.", plugin_log},
    {"plugin.log_open", ACCESS_ADMIN, "kind:text id:text level:text",
     "Tells this connection of new lines as they come, by notices plugin.log.", plugin_log_open},
    {"plugin.log_close", ACCESS_ADMIN, "", "No more of these notices.", plugin_log_close},
};
const struct core_table hm_methods_plugin_log = {rows, sizeof rows / sizeof *rows};
