// `serve --watch DIR`: a folder of plugins that serves as the institution's layer and is tried again
// whenever a file in it changes. Loop thread, inotify. What always holds: what was accepted last goes on
// serving while a newer state of the folder does not load; the log then says file and line.
#include "base/clock.h"
#include "base/log.h"
#include "engine/author.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

#define SETTLE_US 150000u // editors write a file in several steps
#define FILE_MAX (1u << 20)
#define ALL_MAX (16u << 20)

static const char *const folders[][2] = {{"services", "service"},
                                         {"matchers", "matcher"},
                                         {"activities", "activity"},
                                         {"questionnaires", "questionnaire"},
                                         {"reports", "report"}};
#define FOLDERS (sizeof folders / sizeof *folders)

struct watch {
    struct hm_engine *engine;
    int fd;
    int folder_wds[FOLDERS];
    ev_io changed;
    uint64_t changed_us; // 0: nothing new
};

static bool lua_name(const char *file, char id[HM_NAME_MAX + 1]) {
    size_t len = strlen(file);
    if (len <= 4 || len - 4 > HM_NAME_MAX || strcmp(file + len - 4, ".lua") != 0) return false;
    memcpy(id, file, len - 4);
    id[len - 4] = 0;
    return hm_name_valid(hm_str_of(id));
}

static void add_file(const char *dir, size_t folder, const char *file, struct hm_buf *out) {
    char id[HM_NAME_MAX + 1];
    struct hm_buf path = {0}, source = {0};
    struct hm_error err = {0};
    if (!lua_name(file, id)) return;
    hm_buf_printf(&path, "%s/%s/%s", dir, folders[folder][0], file);
    if (hm_read_file(path.data, FILE_MAX, &source, &err) && out->len + source.len < ALL_MAX) {
        if (out->data[out->len - 1] != '[') hm_buf_char(out, ',');
        hm_buf_char(out, '{');
        hm_json_member_str(out, "kind", hm_str_of(folders[folder][1]));
        hm_json_member_str(out, "id", hm_str_of(id));
        hm_json_member_str(out, "source", hm_buf_view(&source));
        hm_json_member_str(out, "note", HM_LIT("watched"));
        hm_buf_char(out, '}');
    } else {
        hm_log(HM_WARN, "watch.unreadable", "\"folder\":\"%s\",\"plugin\":\"%s\"", folders[folder][0], id);
    }
    hm_buf_free(&path);
    hm_buf_free(&source);
}

static void read_folder(const char *dir, struct hm_buf *out) {
    hm_buf_char(out, '[');
    for (size_t i = 0; i < FOLDERS; i++) {
        struct hm_buf path = {0};
        struct dirent *entry;
        hm_buf_printf(&path, "%s/%s", dir, folders[i][0]);
        DIR *d = opendir(path.data);
        while (d && (entry = readdir(d)))
            add_file(dir, i, entry->d_name, out);
        if (d) closedir(d);
        hm_buf_free(&path);
    }
    hm_buf_char(out, ']');
}

struct attempt {
    struct hm_buf candidates;
    size_t count;
};

static void attempt_free(struct attempt *a) {
    hm_buf_free(&a->candidates);
    free(a);
}

// For the author in front of the terminal: what an editor makes a link of.
static void print_errors(const struct institution *inst, struct hm_str errors, const char *what) {
    struct hm_json_iter it = hm_json_iter((struct hm_json){HM_JSON_ARRAY, errors});
    struct hm_json item, value;
    while (hm_json_next(&it, NULL, &item)) {
        char file[160] = "";
        struct hm_buf text = {0};
        int64_t line = 0;
        hm_json_get_text(item, "file", file, sizeof file);
        if (hm_json_get(item, "line", &value)) hm_json_int(value, &line);
        if (hm_json_get(item, "message", &value)) hm_json_string(value, &text);
        fprintf(stderr, "%s/%s:%lld: %s%s (%s)\n", inst->engine->settings.watch_dir, file, (long long)line,
                what, text.len ? text.data : "", inst->id);
        hm_buf_free(&text);
    }
}

static void on_refused(struct trial *trial, struct hm_str errors) {
    struct attempt *a = trial->arg;
    if (!trial->institution->engine->closing) {
        print_errors(trial->institution, errors, "");
        fprintf(stderr, "%s: what was accepted last goes on serving (%s)\n",
                trial->institution->engine->settings.watch_dir, trial->institution->id);
        hm_plugin_lines_refused(trial->institution, errors);
    }
    hm_trial_end(trial);
    attempt_free(a);
}

static void refused_for(struct trial *trial, const char *why) {
    struct hm_buf errors = {0};
    hm_buf_text(&errors, "[{");
    hm_json_member_str(&errors, "message", hm_str_of(why[0] ? why : "the data changed meanwhile"));
    hm_buf_text(&errors, "}]");
    on_refused(trial, hm_buf_view(&errors));
    hm_buf_free(&errors);
}

static void on_forced(struct commit_item *item) {
    struct trial *trial = item->arg;
    struct attempt *a = trial->arg;
    struct institution *inst = trial->institution;
    trial->busy--;
    if (!item->ok || item->commit.code != HM_OK) {
        hm_log(HM_ERROR, "watch.refused", "\"institution\":\"%s\",\"code\":%d", inst->id,
               (int)(item->ok ? item->commit.code : item->error.code));
        refused_for(trial, item->ok ? item->commit.error.message : item->error.message);
        return;
    }
    if (trial->proc && trial->proc->unknown.len)
        print_errors(inst, hm_buf_view(&trial->proc->unknown), "warning: ");
    fprintf(stderr, "%s: %zu plugin%s in force (%s)\n", inst->engine->settings.watch_dir, a->count,
            a->count == 1 ? "" : "s", inst->id);
    hm_buf_free(&inst->watched);
    inst->watched = a->candidates;
    a->candidates = (struct hm_buf){0};
    hm_trial_adopt(trial);
    attempt_free(a);
}

// Where and what would be lost: names of types and fields are no personal data.
static void log_changes(const struct trial *trial) {
    struct hm_json list, item;
    char type[HM_NAME_MAX + 1], field[129], what[17];
    if (!hm_trial_lossy(trial) || !hm_json_parse(hm_buf_view(&trial->changes), &list, NULL)) return;
    struct hm_json_iter it = hm_json_iter(list);
    while (hm_json_next(&it, NULL, &item)) {
        struct hm_buf name = {0};
        if (!hm_json_get_text(item, "type", type, sizeof type)) type[0] = '\0';
        if (!hm_json_get_text(item, "field", field, sizeof field)) field[0] = '\0';
        if (!hm_json_get_text(item, "what", what, sizeof what)) what[0] = '\0';
        hm_json_put_str(&name, hm_str_of(field));
        hm_log(HM_ERROR, "watch.lossy",
               "\"institution\":\"%s\",\"what\":\"%s\",\"type\":\"%s\",\"field\":%s,\"records\":%lld",
               trial->institution->id, what, type, name.data, (long long)hm_json_number(item, "records"));
        hm_buf_free(&name);
    }
}

static void on_typed(struct trial *trial, bool ok, const struct hm_error *err) {
    struct institution *inst = trial->institution;
    if (!ok || !trial->proc) {
        hm_log(HM_ERROR, "watch.refused", "\"institution\":\"%s\",\"code\":%d", inst->id,
               err ? (int)err->code : 0);
        log_changes(trial);
        refused_for(trial, !ok && err ? err->message : "the worker died");
        return;
    }
    struct commit_item *item = hm_item_new(inst, "", "types");
    hm_trial_force(trial, item);
    item->arg = trial;
    trial->busy++;
    hm_item_submit(item, on_forced);
}

static void try_folder(struct institution *inst) {
    struct attempt *a = hm_alloc(sizeof *a);
    struct hm_error err = {0};
    inst->watch_due = false;
    read_folder(inst->engine->settings.watch_dir, &a->candidates);
    a->count = hm_json_count((struct hm_json){HM_JSON_ARRAY, hm_buf_view(&a->candidates)});
    struct trial *trial = hm_trial_start(inst, hm_buf_view(&a->candidates), &err);
    if (!trial) {
        attempt_free(a);
        inst->watch_due = err.code == HM_CONFLICT; // another trial: later
        return;
    }
    trial->arg = a;
    trial->ready = hm_trial_types;
    trial->typed = on_typed;
    trial->refused = on_refused;
}

// Folders made later are watched from then on.
static void watch_folders(struct watch *watch) {
    const char *dir = watch->engine->settings.watch_dir;
    const uint32_t what = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE;
    for (size_t i = 0; i < FOLDERS; i++) {
        struct hm_buf path = {0};
        hm_buf_printf(&path, "%s/%s", dir, folders[i][0]);
        watch->folder_wds[i] = inotify_add_watch(watch->fd, path.data, what);
        hm_buf_free(&path);
    }
}

static void on_changed(struct ev_loop *loop, ev_io *watcher, int events) {
    struct watch *watch = watcher->data;
    char buffer[8192] __attribute__((aligned(8)));
    (void)loop, (void)events;
    while (read(watch->fd, buffer, sizeof buffer) > 0) {
    }
    watch->changed_us = hm_mono_us();
}

void hm_watch_open(struct hm_engine *engine) {
    if (!engine->settings.watch_dir[0]) return;
    struct watch *watch = hm_alloc(sizeof *watch);
    watch->engine = engine;
    watch->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (watch->fd < 0) {
        hm_log(HM_ERROR, "watch.failed", "\"errno\":%d", errno);
        free(watch);
        return;
    }
    inotify_add_watch(watch->fd, engine->settings.watch_dir, IN_CREATE | IN_MOVED_TO | IN_ONLYDIR);
    watch_folders(watch);
    ev_io_init(&watch->changed, on_changed, watch->fd, EV_READ);
    watch->changed.data = watch;
    ev_io_start(engine->loop, &watch->changed);
    watch->changed_us = 1; // what is there already
    engine->watch = watch;
}

void hm_watch_close(struct hm_engine *engine) {
    struct watch *watch = engine->watch;
    if (!watch) return;
    ev_io_stop(engine->loop, &watch->changed);
    close(watch->fd);
    free(watch);
    engine->watch = NULL;
}

static bool concerns(const struct hm_engine *engine, const struct institution *inst) {
    const char *only = engine->settings.watch_institution;
    return only[0] ? strcmp(only, inst->id) == 0 : strcmp(inst->id, CLUSTER) != 0;
}

void hm_watch_tick(struct hm_engine *engine) {
    struct watch *watch = engine->watch;
    struct institution *inst, *next;
    if (!watch || engine->draining) return;
    bool settled = watch->changed_us && hm_mono_us() - watch->changed_us > SETTLE_US;
    if (settled) {
        watch->changed_us = 0;
        watch_folders(watch);
    }
    HASH_ITER(hh, engine->institutions, inst, next) {
        if (!concerns(engine, inst)) continue;
        if (settled) inst->watch_due = true;
        // The first one waits for the plain start, so that a broken folder does not keep the institution
        // from starting.
        if (inst->watch_due && !inst->trial && (inst->catalogue || inst->start_failures)) try_folder(inst);
    }
}

struct hm_str hm_watch_candidates(struct institution *inst) {
    return hm_buf_view(&inst->watched);
}
