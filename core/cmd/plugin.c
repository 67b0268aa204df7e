// `hamroh plugin …`: the author's commands. `new`, and `check` and `test` without --data, need no data
// folder: files are tried in the sandbox of live calls over an empty store. Everything else is a method of
// the engine.
#include "cmd/plugin.h"
#include "base/id.h"
#include "cmd/client.h"
#include "cmd/cmd.h"
#include "cmd/plugin_author.h"
#include "cmd/settings.h"
#include "script/check.h"
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#define SOURCE_MAX (1u << 20)

struct work {
    const char *data, *institution, *note, *to, *plugins;
    bool remove, yes, confirm;
    struct hm_author_work author; // of try, log, record, recordings, replay
    bool tap;
    int count; // words behind the action
    char **words;
    struct hm_client *client;
};

struct name { // of a plugin: kind and id
    const struct hm_plugin_kind *kind;
    char id[HM_NAME_MAX + 1];
};

static int fail_with(const struct hm_error *err) {
    return hm_complain(HM_EXIT_FAILED, "plugin", "%s", err->message);
}

// ---- names and files
// ----------------------------------------------------------------------------------------------------

static bool no_kind(const char *word) {
    fprintf(stderr, "hamroh plugin: %s is no kind of plugin; there is ", word);
    hm_plugin_kinds_print();
    fputc('\n', stderr);
    return false;
}

// "KIND ID" or "KIND/ID" at the front of the words; *used gets how many words that took.
static bool take_name(const struct work *w, struct name *out, int *used) {
    char kind[HM_NAME_MAX + 1];
    const char *first = w->count ? w->words[0] : "", *slash = strchr(first, '/');
    const char *id = slash ? slash + 1 : w->count > 1 ? w->words[1] : "";
    size_t len = slash ? (size_t)(slash - first) : strlen(first);
    snprintf(kind, sizeof kind, "%.*s", (int)(len < sizeof kind ? len : sizeof kind - 1), first);
    if (!(out->kind = hm_plugin_kind(kind))) return no_kind(kind[0] ? kind : "(nothing)");
    if (!hm_name_valid(hm_str_of(id))) {
        hm_complain(HM_EXIT_USAGE, "plugin", "say which: KIND ID, such as matcher successful-unsuccessful");
        return false;
    }
    snprintf(out->id, sizeof out->id, "%s", id);
    *used = slash ? 1 : 2;
    return true;
}

// The id a source declares (the first `id = "…"` that begins a line), else the file's name.
static void id_of(const char *source, const char *path, char out[HM_NAME_MAX + 1]) {
    for (const char *at = source; at; at = strchr(at, '\n')) {
        at += strspn(at, "\n \t");
        char quote = 0, id[HM_NAME_MAX + 1];
        if (sscanf(at, "id = %c%64[a-z0-9_.-]", &quote, id) == 2 && (quote == '"' || quote == '\'')) {
            memcpy(out, id, sizeof id);
            return;
        }
        if (!*at) break;
    }
    const char *base = strrchr(path, '/');
    base = base ? base + 1 : path;
    snprintf(out, HM_NAME_MAX + 1, "%.*s", (int)(strcspn(base, ".") & 63), base);
}

// A file's source and what it is; the kind is the name of its folder.
static bool read_plugin(const char *path, struct name *out, struct hm_buf *source, struct hm_error *err) {
    char real[PATH_MAX];
    if (!hm_read_file(path, SOURCE_MAX, source, err)) return false;
    if (!realpath(path, real)) return hm_fail(err, HM_NOT_FOUND, "%s: there is no such file", path);
    char *base = strrchr(real, '/');
    *base = '\0';
    char *folder = strrchr(real, '/');
    out->kind = hm_plugin_kind(folder ? folder + 1 : real);
    if (!out->kind)
        return hm_fail(
            err, HM_PARAMS,
            "%s: its folder must say its kind (services, matchers, activities, questionnaires, reports)",
            path);
    id_of(source->data, path, out->id);
    return true;
}

bool hm_plugin_read_file(const char *path, const struct hm_plugin_kind **kind, char *id, size_t id_size,
                         struct hm_buf *source, struct hm_error *err) {
    struct name name;
    if (!read_plugin(path, &name, source, err)) return false;
    *kind = name.kind;
    snprintf(id, id_size, "%s", name.id);
    return true;
}

static void put_name(struct hm_buf *params, const struct name *name) {
    hm_buf_char(params, '{');
    hm_json_member_str(params, "kind", hm_str_of(name->kind->name));
    hm_json_member_str(params, "id", hm_str_of(name->id));
}

// ---- without a data folder
// ------------------------------------------------------------------------------------------------

static int do_new(struct work *w) {
    struct hm_buf path = {0};
    struct hm_error err = {0};
    if (!hm_words_count("plugin", w->count, 2, 2)) return HM_EXIT_USAGE;
    const struct hm_plugin_kind *kind = hm_plugin_kind(w->words[0]);
    if (!kind) {
        no_kind(w->words[0]);
        return HM_EXIT_USAGE;
    }
    bool ok = hm_plugin_new(kind, w->words[1], w->to ? w->to : ".", &path, &err);
    if (ok) printf("%s\nTry it: hamroh plugin test %s\n", path.data, path.data);
    hm_buf_free(&path);
    return ok ? HM_EXIT_DONE : fail_with(&err);
}

struct files {
    char **list; // owned
    int count;
};

static void add_file(struct files *files, const char *path) {
    files->list = hm_realloc(files->list, (size_t)(files->count + 8) *
                                              sizeof *files->list); // room for the options and NULL
    files->list[files->count++] = hm_strdup(path);
}

static int compare_paths(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool add_folder(struct files *files, const char *path) {
    struct dirent *entry;
    int before = files->count;
    DIR *dir = opendir(path);
    while (dir && (entry = readdir(dir))) {
        size_t len = strlen(entry->d_name);
        if (len < 5 || strcmp(entry->d_name + len - 4, ".lua") != 0) continue;
        struct hm_buf file = {0};
        hm_buf_printf(&file, "%s/%s", path, entry->d_name);
        add_file(files, file.data);
        hm_buf_free(&file);
    }
    if (dir) closedir(dir);
    if (files->count > before + 1)
        qsort(files->list + before, (size_t)(files->count - before), sizeof *files->list, compare_paths);
    return files->count > before;
}

static bool is_folder(const char *path, const char *inner) {
    struct stat st;
    char full[PATH_MAX];
    snprintf(full, sizeof full, "%s/%s", path, inner);
    return stat(full, &st) == 0 && S_ISDIR(st.st_mode);
}

// Files, folders of one kind (plugins/matchers), or a whole folder of plugins, which is then tried by itself.
static int try_files(struct work *w, bool lint) {
    struct files files = {0};
    struct hm_settings settings;
    int code = HM_EXIT_FAILED;
    hm_settings_defaults(&settings);
    const char *plugins = w->plugins ? w->plugins : settings.plugin_dir;
    if (!hm_words_count("plugin", w->count, 1, INT_MAX)) return HM_EXIT_USAGE;
    bool whole = w->count == 1 && (is_folder(w->words[0], "services") || is_folder(w->words[0], "lib"));
    if (whole) plugins = w->words[0];
    for (int i = 0; i < w->count && !whole; i++) {
        if (!is_folder(w->words[i], ".")) {
            add_file(&files, w->words[i]);
        } else if (!add_folder(&files, w->words[i])) {
            hm_complain(code, "plugin", "%s: there is no plugin in this folder", w->words[i]);
            goto out;
        }
    }
    add_file(&files, "--plugins");
    add_file(&files, plugins);
    if (lint) add_file(&files, "--lint");
    if (w->author.json) add_file(&files, "--json");
    if (w->tap) add_file(&files, "--tap");
    code = hm_check_main(files.count, files.list) == 0 ? HM_EXIT_DONE : HM_EXIT_FAILED;
out:
    for (int i = 0; i < files.count; i++)
        free(files.list[i]);
    free(files.list);
    return code;
}

static int do_test(struct work *w) {
    return try_files(w, false);
}

// ---- over the engine
// ------------------------------------------------------------------------------------------------------

// Opens the client once; false after saying why.
static bool need_client(struct work *w) {
    struct hm_error err = {0};
    if (w->client) return true;
    if (!w->data || !w->institution) {
        hm_complain(HM_EXIT_USAGE, "plugin",
                    "say --data DIR and --institution ID (see hamroh plugin --help)");
        return false;
    }
    if (hm_client_open(w->data, &w->client, &err)) return true;
    fail_with(&err);
    return false;
}

// True with the parsed result; false after saying what went wrong.
static bool ask(struct work *w, const char *method, struct hm_str params, struct hm_buf *result,
                struct hm_json *out) {
    struct hm_buf data = {0};
    struct hm_error err = {0};
    struct hm_call_as as = {.institution = w->institution};
    bool ok = hm_client_do(w->client, method, params, as, result, &data, &err) &&
              hm_json_parse(hm_buf_view(result), out, &err);
    if (!ok) hm_client_complain("plugin", &err, hm_buf_view(&data));
    hm_buf_free(&data);
    return ok;
}

static bool change(struct work *w, const char *method, struct hm_buf *params, struct hm_buf *result,
                   struct hm_json *out) {
    struct hm_plugin_ask a = {w->client, w->institution, method, w->confirm};
    return hm_plugin_change(&a, params, result, out);
}

// What a check says would be lost, if it were put in force.
static void show_losses(struct hm_json result) {
    struct hm_json list, item, text, words;
    struct hm_buf line = {0};
    if (!hm_json_get(result, "changes", &list)) return;
    struct hm_json_iter it = hm_json_iter(list);
    while (hm_json_next(&it, NULL, &item)) {
        hm_buf_clear(&line);
        if (hm_json_get(item, "text", &text) && hm_json_get(text, "en", &words) &&
            hm_json_string(words, &line))
            printf("  %s\n", line.data);
    }
    hm_buf_free(&line);
}

static bool send_file(struct work *w, const char *path, const char *method, const char *done) {
    struct name name;
    struct hm_buf source = {0}, params = {0}, result = {0};
    struct hm_json value;
    struct hm_error err = {0};
    bool ok = read_plugin(path, &name, &source, &err);
    if (!ok) {
        fail_with(&err);
        goto out;
    }
    put_name(&params, &name);
    hm_json_member_str(&params, "source", hm_buf_view(&source));
    if (w->note) hm_json_member_str(&params, "note", hm_str_of(w->note));
    ok = change(w, method, &params, &result, &value);
    if (ok) {
        char version[64] = "";
        hm_json_get_text(value, "version", version, sizeof version);
        printf("%s %s: %s%s%s\n", name.kind->name, name.id, done, version[0] ? ", version " : "", version);
        if (strcmp(method, "plugin.check") == 0) show_losses(value);
        hm_plugin_print_spread(value);
    }
out:
    hm_buf_free(&source);
    hm_buf_free(&params);
    hm_buf_free(&result);
    return ok;
}

static int each_file(struct work *w, const char *method, const char *done) {
    bool ok = true;
    if (!hm_words_count("plugin", w->count, 1, INT_MAX)) return HM_EXIT_USAGE;
    if (!need_client(w)) return w->data && w->institution ? HM_EXIT_FAILED : HM_EXIT_USAGE;
    for (int i = 0; i < w->count; i++)
        ok = send_file(w, w->words[i], method, done) && ok;
    return ok ? HM_EXIT_DONE : HM_EXIT_FAILED;
}

static int do_check(struct work *w) {
    return w->data && w->institution ? each_file(w, "plugin.check", "loads, and its tests pass")
                                     : try_files(w, true);
}

static int do_push(struct work *w) {
    return each_file(w, "plugin.deploy", "in force");
}

static int do_list(struct work *w) {
    struct hm_buf result = {0};
    struct hm_json root, list, item;
    if (!hm_words_count("plugin", w->count, 0, 0) || !need_client(w)) return HM_EXIT_USAGE;
    bool ok = ask(w, "plugin.list", (struct hm_str){0}, &result, &root);
    if (ok && hm_json_get(root, "items", &list)) {
        struct hm_json_iter it = hm_json_iter(list);
        while (hm_json_next(&it, NULL, &item)) {
            char kind[65] = "", id[65] = "", layer[65] = "", version[65] = "", state[16] = "";
            hm_json_get_text(item, "kind", kind, sizeof kind);
            hm_json_get_text(item, "id", id, sizeof id);
            hm_json_get_text(item, "layer", layer, sizeof layer);
            hm_json_get_text(item, "version", version, sizeof version);
            hm_json_get_text(item, "state", state, sizeof state);
            bool plain = strcmp(state, "good") == 0;
            printf("%-14s %-26s %-12s %-12s%s%s\n", kind, id, layer, version, plain ? "" : " ",
                   plain ? "" : state);
        }
    }
    if (ok && hm_json_get(root, "refused", &list)) {
        printf("What was refused when the plugins were loaded last:\n%.*s\n", (int)list.raw.len,
               list.raw.ptr);
    }
    if (ok && hm_json_get(root, "behind", &list))
        printf("The cluster has newer plugins, which do not go with those here:\n%.*s\n", (int)list.raw.len,
               list.raw.ptr);
    hm_buf_free(&result);
    return ok ? HM_EXIT_DONE : HM_EXIT_FAILED;
}

static bool is_layer(const char *word) {
    return strcmp(word, "shipped") == 0 || strcmp(word, "cluster") == 0;
}

// The source of a plugin, of a version of it or (version NULL) of the one in force, appended to out.
static bool get_source(struct work *w, const struct name *name, const char *version, struct hm_buf *out) {
    struct hm_buf params = {0}, result = {0};
    struct hm_json root, value;
    put_name(&params, name);
    bool layer = version && is_layer(version);
    if (version) hm_json_member_str(&params, layer ? "layer" : "version", hm_str_of(version));
    hm_buf_char(&params, '}');
    bool ok = ask(w, "plugin.get", hm_buf_view(&params), &result, &root);
    if (ok && hm_json_get(root, "items", &value)) { // a worker answers with a list
        struct hm_json_iter it = hm_json_iter(value);
        if (hm_json_next(&it, NULL, &value)) root = value;
    }
    if (ok && (!hm_json_get(root, "source", &value) || !hm_json_string(value, out))) {
        hm_complain(HM_EXIT_FAILED, "plugin", "there is no source of %s %s", name->kind->name, name->id);
        ok = false;
    }
    hm_buf_free(&params);
    hm_buf_free(&result);
    return ok;
}

static int do_get(struct work *w) {
    struct name name;
    struct hm_buf source = {0};
    int used;
    if (!take_name(w, &name, &used) || !need_client(w)) return HM_EXIT_USAGE;
    bool ok = get_source(w, &name, w->count > used ? w->words[used] : NULL, &source);
    if (ok) fwrite(source.data, 1, source.len, stdout);
    hm_buf_free(&source);
    return ok ? HM_EXIT_DONE : HM_EXIT_FAILED;
}

static bool get_history(struct work *w, const struct name *name, struct hm_buf *result,
                        struct hm_json *items) {
    struct hm_buf params = {0};
    struct hm_json root;
    put_name(&params, name);
    hm_buf_char(&params, '}');
    bool ok =
        ask(w, "plugin.history", hm_buf_view(&params), result, &root) && hm_json_get(root, "items", items);
    hm_buf_free(&params);
    return ok;
}

static int do_history(struct work *w) {
    struct name name;
    struct hm_buf result = {0};
    struct hm_json items, item, value;
    int used;
    if (!take_name(w, &name, &used) || !need_client(w)) return HM_EXIT_USAGE;
    bool ok = get_history(w, &name, &result, &items);
    if (ok && !hm_json_count(items))
        printf("%s %s is as shipped: nobody has pushed another here.\n", name.kind->name, name.id);
    struct hm_json_iter it = hm_json_iter(ok ? items : (struct hm_json){0});
    while (hm_json_next(&it, NULL, &item)) {
        char version[65] = "", by[140] = "", when[32] = "", state[16] = "";
        struct hm_buf note = {0};
        int64_t ms = 0;
        bool active = false;
        struct tm utc;
        hm_json_get_text(item, "version", version, sizeof version);
        hm_json_get_text(item, "by", by, sizeof by);
        if (hm_json_get(item, "time", &value)) hm_json_int(value, &ms);
        if (hm_json_get(item, "active", &value)) hm_json_bool(value, &active);
        if (hm_json_get(item, "note", &value)) hm_json_string(value, &note);
        time_t seconds = (time_t)(ms / 1000);
        strftime(when, sizeof when, "%Y-%m-%d %H:%M UTC", gmtime_r(&seconds, &utc));
        hm_json_get_text(item, "state", state, sizeof state);
        bool plain = !state[0] || strcmp(state, "good") == 0;
        printf("%c %s  %s  %s  %s%s%s\n", active ? '*' : ' ', version, when, by[0] ? by : "-",
               plain ? "" : state, plain ? "" : "  ", note.len ? note.data : "");
        hm_buf_free(&note);
    }
    hm_buf_free(&result);
    return ok ? HM_EXIT_DONE : HM_EXIT_FAILED;
}

static void print_hunk(struct hm_json hunk) {
    struct hm_json lines, line;
    long long n[4];
    static const char *const names[4] = {"from", "from_count", "to", "to_count"};
    for (size_t i = 0; i < 4; i++) {
        struct hm_json value;
        int64_t number = 0;
        if (hm_json_get(hunk, names[i], &value)) hm_json_int(value, &number);
        n[i] = number;
    }
    printf("@@ -%lld,%lld +%lld,%lld @@\n", n[0], n[1], n[2], n[3]);
    if (!hm_json_get(hunk, "lines", &lines)) return;
    struct hm_json_iter it = hm_json_iter(lines);
    while (hm_json_next(&it, NULL, &line)) {
        struct hm_buf text = {0};
        struct hm_json value;
        if (hm_json_get(line, "op", &value)) hm_json_string(value, &text);
        if (hm_json_get(line, "text", &value)) hm_json_string(value, &text);
        printf("%s\n", text.len ? text.data : "");
        hm_buf_free(&text);
    }
}

static void print_diff(struct hm_json root) {
    char from[65] = "", to[65] = "";
    struct hm_json hunks, hunk;
    hm_json_get_text(root, "from", from, sizeof from);
    hm_json_get_text(root, "to", to, sizeof to);
    if (!hm_json_get(root, "hunks", &hunks) || !hm_json_count(hunks)) return;
    printf("--- %s\n+++ %s\n", from, to);
    struct hm_json_iter it = hm_json_iter(hunks);
    while (hm_json_next(&it, NULL, &hunk))
        print_hunk(hunk);
}

// diff KIND ID: the version before (or what is below) against the one in force. diff KIND ID FILE: in force
// against the file. diff KIND ID VERSION [VERSION]: against the one in force, or each other.
static int do_diff(struct work *w) {
    struct name name;
    struct hm_buf params = {0}, result = {0}, source = {0};
    struct hm_error err = {0};
    struct hm_json root;
    int used;
    if (!take_name(w, &name, &used) || !need_client(w)) return HM_EXIT_USAGE;
    const char *first = w->count > used ? w->words[used] : NULL;
    const char *second = w->count > used + 1 ? w->words[used + 1] : NULL;
    bool file = first && strchr(first, '.') && !second;
    bool ok = !file || hm_read_file(first, SOURCE_MAX, &source, &err);
    if (!ok) fail_with(&err);
    put_name(&params, &name);
    if (file) hm_json_member_str(&params, "source", hm_buf_view(&source));
    if (first && !file) hm_json_member_str(&params, "from", hm_str_of(first));
    if (second) hm_json_member_str(&params, "to", hm_str_of(second));
    hm_buf_char(&params, '}');
    ok = ok && ask(w, "plugin.diff", hm_buf_view(&params), &result, &root);
    if (ok) print_diff(root);
    hm_buf_free(&params);
    hm_buf_free(&result);
    hm_buf_free(&source);
    return ok ? HM_EXIT_DONE : HM_EXIT_FAILED;
}

static int do_rollback(struct work *w) {
    struct name name;
    struct hm_buf params = {0}, result = {0};
    struct hm_json root;
    int used;
    if (!take_name(w, &name, &used) || !need_client(w)) return HM_EXIT_USAGE;
    put_name(&params, &name);
    if (w->count > used) hm_json_member_str(&params, "version", hm_str_of(w->words[used]));
    bool ok = change(w, "plugin.rollback", &params, &result, &root);
    if (ok) {
        char version[65] = "";
        hm_json_get_text(root, "version", version, sizeof version);
        printf("%s %s: %s%s\n", name.kind->name, name.id,
               version[0] ? "back to version " : "back to the one below", version);
        hm_plugin_print_spread(root);
    }
    hm_buf_free(&params);
    hm_buf_free(&result);
    return ok ? HM_EXIT_DONE : HM_EXIT_FAILED;
}

static struct hm_plugin_layer layer_of(const struct work *w) {
    return (struct hm_plugin_layer){.client = w->client,
                                    .institution = w->institution,
                                    .dir = w->words[0],
                                    .note = w->note,
                                    .remove = w->remove,
                                    .yes = w->yes,
                                    .confirm = w->confirm};
}

static int do_export(struct work *w) {
    if (!hm_words_count("plugin", w->count, 1, 1) || !need_client(w)) return HM_EXIT_USAGE;
    struct hm_plugin_layer layer = layer_of(w);
    return hm_plugin_export_dir(&layer);
}

static int do_import(struct work *w) {
    if (!hm_words_count("plugin", w->count, 1, 1) || !need_client(w)) return HM_EXIT_USAGE;
    struct hm_plugin_layer layer = layer_of(w);
    return hm_plugin_import_dir(&layer);
}

// ---- what authors are shown (plugin_author.c)
// ---------------------------------------------------------------------------------------------------------------------

static bool is_file(const char *word) {
    size_t len = strlen(word);
    return len > 4 && strcmp(word + len - 4, ".lua") == 0;
}

// The words are a plugin's name (or none, where `any`), or a file; then the client is opened.
static int author(struct work *w, bool any, bool file, int (*fn)(const struct hm_author_work *w)) {
    struct name name;
    int used = 0;
    if (file && w->count == 1 && is_file(w->words[0])) {
        w->author.file = w->words[0];
    } else if (w->count || !any) {
        if (!take_name(w, &name, &used) || !hm_words_count("plugin", w->count - used, 0, 0))
            return HM_EXIT_USAGE;
        w->author.kind = name.kind->name;
        w->author.id = name.id;
    }
    if (!need_client(w)) return w->data && w->institution ? HM_EXIT_FAILED : HM_EXIT_USAGE;
    w->author.client = w->client;
    w->author.institution = w->institution;
    return fn(&w->author);
}

static int do_try(struct work *w) {
    return author(w, false, true, hm_author_try);
}

static int do_log(struct work *w) {
    return author(w, true, false, hm_author_log);
}

static int do_record(struct work *w) {
    return author(w, false, false, hm_author_record);
}

static int do_recordings(struct work *w) {
    return author(w, true, false, hm_author_recordings);
}

static int do_replay(struct work *w) {
    if (!hm_words_count("plugin", w->count, 1, 2)) return HM_EXIT_USAGE;
    w->author.recording = w->words[0];
    w->author.file = w->count > 1 ? w->words[1] : NULL;
    w->count = 0;
    return author(w, true, false, hm_author_replay);
}

static const struct action {
    const char *name;
    int (*fn)(struct work *w);
} actions[] = {
    {"new", do_new},
    {"check", do_check},
    {"test", do_test},
    {"push", do_push},
    {"list", do_list},
    {"get", do_get},
    {"history", do_history},
    {"diff", do_diff},
    {"rollback", do_rollback},
    {"try", do_try},
    {"log", do_log},
    {"record", do_record},
    {"recordings", do_recordings},
    {"replay", do_replay},
    {"export", do_export},
    {"import", do_import},
};

int hm_cmd_plugin(int argc, char **argv) {
    struct work w = {0};
    const struct hm_option options[] = {
        {"--data", &w.data, NULL, false},
        {"--institution", &w.institution, NULL, false},
        {"--note", &w.note, NULL, false},
        {"--to", &w.to, NULL, false},
        {"--plugins", &w.plugins, NULL, false},
        {"--remove", NULL, &w.remove, false},
        {"--yes", NULL, &w.yes, false},
        {"--confirm", NULL, &w.confirm, false},
        {"--as", &w.author.person, NULL, false},
        {"--method", &w.author.method, NULL, false},
        {"--params", &w.author.params, NULL, false},
        {"--answers", &w.author.answers, NULL, false},
        {"--programme", &w.author.programme, NULL, false},
        {"--level", &w.author.level, NULL, false},
        {"--calls", &w.author.calls, NULL, false},
        {"--minutes", &w.author.minutes, NULL, false},
        {"--limit", &w.author.limit, NULL, false},
        {"--follow", NULL, &w.author.follow, false},
        {"--failures", NULL, &w.author.failures, false},
        {"--json", NULL, &w.author.json, false},
        {"--tap", NULL, &w.tap, false},
        {0},
    };
    int count;
    char **words;
    if (!hm_options(argc, argv, options, false, &count, &words)) return HM_EXIT_USAGE;
    const struct action *action = NULL, *near = NULL;
    for (size_t i = 0; count && i < sizeof actions / sizeof actions[0]; i++) {
        if (strcmp(actions[i].name, words[0]) == 0) action = &actions[i];
        if (!near && hm_word_near(words[0], actions[i].name)) near = &actions[i];
    }
    if (!action)
        return hm_complain(HM_EXIT_USAGE, argv[0], "%s%s%s (see hamroh plugin --help)",
                           count ? "there is no such action" : "say what to do: new, check, test, push, …",
                           near ? "; did you mean " : "", near ? near->name : "");
    w.count = count - 1;
    w.words = words + 1;
    int code = action->fn(&w);
    hm_client_close(w.client);
    return code;
}
