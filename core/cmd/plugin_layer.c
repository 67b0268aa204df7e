// A whole layer of plugins as a folder: FOLDER/KINDS/ID.lua, as `serve --watch` takes it and git keeps it.
// What always holds: export writes and (when told to) removes only .lua files in the folders of the five
// kinds; import changes nothing before it has said what it would change.
#include "base/id.h"
#include "base/json.h"
#include "cmd/client.h"
#include "cmd/cmd.h"
#include "cmd/plugin.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SOURCE_MAX (1u << 20)

static const char *const kinds[] = {"service", "matcher", "activity", "questionnaire", "report"};
#define KINDS (sizeof kinds / sizeof kinds[0])

static int fail_with(const struct hm_error *err) {
    return hm_complain(HM_EXIT_FAILED, "plugin", "%s", err->message);
}

// ---- what both sides have -----------------------------------------------------------------------------

struct entry {
    const struct hm_plugin_kind *kind;
    char id[HM_NAME_MAX + 1];
    struct hm_buf source;
};
struct list {
    struct entry *entries;
    size_t count;
};

static struct entry *add(struct list *list) {
    list->entries = hm_realloc(list->entries, (list->count + 1) * sizeof *list->entries);
    struct entry *e = &list->entries[list->count++];
    *e = (struct entry){0};
    return e;
}

static void list_free(struct list *list) {
    for (size_t i = 0; i < list->count; i++)
        hm_buf_free(&list->entries[i].source);
    free(list->entries);
}

static const struct entry *find(const struct list *list, const struct entry *e) {
    for (size_t i = 0; i < list->count; i++)
        if (list->entries[i].kind == e->kind && strcmp(list->entries[i].id, e->id) == 0)
            return &list->entries[i];
    return NULL;
}

static bool same(const struct entry *a, const struct entry *b) {
    return b && hm_str_eq(hm_buf_view(&a->source), hm_buf_view(&b->source));
}

static bool ask(const struct hm_plugin_layer *layer, const char *method, struct hm_str params,
                struct hm_buf *result, struct hm_json *out) {
    struct hm_buf data = {0};
    struct hm_error err = {0};
    struct hm_call_as as = {.institution = layer->institution};
    bool ok = hm_client_do(layer->client, method, params, as, result, &data, &err) &&
              hm_json_parse(hm_buf_view(result), out, &err);
    if (!ok) hm_client_complain("plugin", &err, hm_buf_view(&data));
    hm_buf_free(&data);
    return ok;
}

static bool read_stored(const struct hm_plugin_layer *layer, struct list *out) {
    struct hm_buf result = {0};
    struct hm_json root, items, item, source;
    bool ok = ask(layer, "plugin.export", HM_LIT("{}"), &result, &root);
    if (ok && hm_json_get(root, "items", &items)) {
        struct hm_json_iter it = hm_json_iter(items);
        while (hm_json_next(&it, NULL, &item)) {
            char kind[HM_NAME_MAX + 1] = "";
            struct entry *e = add(out);
            hm_json_get_text(item, "kind", kind, sizeof kind);
            hm_json_get_text(item, "id", e->id, sizeof e->id);
            if (hm_json_get(item, "source", &source)) hm_json_string(source, &e->source);
            // The server's word becomes the name of a file: it is looked at as anybody's.
            if (!(e->kind = hm_plugin_kind(kind)) || !hm_name_valid(hm_str_of(e->id))) {
                hm_buf_free(&e->source);
                out->count--;
            }
        }
    }
    hm_buf_free(&result);
    return ok;
}

static bool is_lua(const char *file) {
    size_t len = strlen(file);
    return file[0] != '.' && len > 4 && strcmp(file + len - 4, ".lua") == 0;
}

static bool read_one(const char *path, struct list *out) {
    struct hm_error err = {0};
    struct entry e = {0};
    if (!hm_plugin_read_file(path, &e.kind, e.id, sizeof e.id, &e.source, &err)) {
        hm_buf_free(&e.source);
        fail_with(&err);
        return false;
    }
    if (find(out, &e)) {
        hm_complain(HM_EXIT_FAILED, "plugin", "%s: %s %s comes twice", path, e.kind->name, e.id);
        hm_buf_free(&e.source);
        return false;
    }
    *add(out) = e;
    return true;
}

// Calls fn for every .lua file in the folders of the kinds; ends with false when it does.
static bool each_file(const char *dir,
                      bool (*fn)(const char *path, const struct hm_plugin_kind *kind, const char *file,
                                 void *arg),
                      void *arg) {
    bool ok = true;
    for (size_t i = 0; i < KINDS && ok; i++) {
        const struct hm_plugin_kind *kind = hm_plugin_kind(kinds[i]);
        struct hm_buf path = {0};
        struct dirent *entry;
        hm_buf_printf(&path, "%s/%s", dir, kind->folder);
        DIR *d = opendir(path.data);
        size_t len = path.len;
        while (d && ok && (entry = readdir(d))) {
            if (!is_lua(entry->d_name)) continue;
            path.len = len;
            hm_buf_printf(&path, "/%s", entry->d_name);
            ok = fn(path.data, kind, entry->d_name, arg);
        }
        if (d) closedir(d);
        hm_buf_free(&path);
    }
    return ok;
}

static bool take_file(const char *path, const struct hm_plugin_kind *kind, const char *file, void *arg) {
    (void)kind, (void)file;
    return read_one(path, arg);
}

// ---- export -------------------------------------------------------------------------------------------

static bool make_folder(const char *path, struct hm_error *err) {
    if (mkdir(path, 0755) == 0 || errno == EEXIST) return true;
    return hm_fail(err, HM_UNAVAILABLE, "%s: %s", path, strerror(errno));
}

// *wrote: it was another, or not there.
static bool write_one(const char *dir, const struct entry *e, bool *wrote, struct hm_error *err) {
    struct hm_buf path = {0}, before = {0};
    hm_buf_printf(&path, "%s/%s", dir, e->kind->folder);
    bool ok = make_folder(path.data, err);
    hm_buf_printf(&path, "/%s.lua", e->id);
    *wrote = !hm_read_file(path.data, SOURCE_MAX, &before, &(struct hm_error){0}) ||
             !hm_str_eq(hm_buf_view(&before), hm_buf_view(&e->source));
    if (ok && *wrote) ok = hm_write_file(path.data, hm_buf_view(&e->source), 0644, err);
    if (ok && *wrote) printf("wrote %s\n", path.data);
    hm_buf_free(&path);
    hm_buf_free(&before);
    return ok;
}

struct sweep {
    const struct list *stored;
    bool remove, left;
};

static bool look_at_file(const char *path, const struct hm_plugin_kind *kind, const char *file, void *arg) {
    struct sweep *s = arg;
    struct entry e = {.kind = kind};
    snprintf(e.id, sizeof e.id, "%.*s",
             (int)(strlen(file) - 4 < HM_NAME_MAX ? strlen(file) - 4 : HM_NAME_MAX), file);
    if (find(s->stored, &e)) return true;
    bool gone = s->remove && unlink(path) == 0;
    printf("%s %s\n", gone ? "removed" : "not in the layer:", path);
    s->left = s->left || !gone;
    return true;
}

int hm_plugin_export_dir(const struct hm_plugin_layer *layer) {
    struct list stored = {0};
    struct hm_error err = {0};
    size_t written = 0;
    bool ok = read_stored(layer, &stored), wrote;
    if (ok && !make_folder(layer->dir, &err)) {
        ok = false;
        fail_with(&err);
    }
    for (size_t i = 0; i < stored.count && ok; i++) {
        ok = write_one(layer->dir, &stored.entries[i], &wrote, &err);
        if (!ok) fail_with(&err);
        written += ok && wrote;
    }
    struct sweep sweep = {&stored, layer->remove, false};
    if (ok) {
        each_file(layer->dir, look_at_file, &sweep);
        printf("%zu plugin%s, %zu file%s written\n", stored.count, stored.count == 1 ? "" : "s", written,
               written == 1 ? "" : "s");
        if (sweep.left) printf("What is not in the layer was left; --remove takes it away.\n");
    }
    list_free(&stored);
    return ok ? HM_EXIT_DONE : HM_EXIT_FAILED;
}

// ---- import -------------------------------------------------------------------------------------------

static size_t show(const struct hm_plugin_layer *layer, const struct list *stored, const struct list *files) {
    size_t changes = 0, alike = 0;
    for (size_t i = 0; i < files->count; i++) {
        const struct entry *e = &files->entries[i], *before = find(stored, e);
        if (same(e, before)) {
            alike++;
            continue;
        }
        printf("%-8s %s %s\n", before ? "changed" : "new", e->kind->name, e->id);
        changes++;
    }
    for (size_t i = 0; i < stored->count; i++) {
        const struct entry *e = &stored->entries[i];
        if (find(files, e)) continue;
        printf("%-8s %s %s\n", layer->remove ? "removed" : "left", e->kind->name, e->id);
        changes += layer->remove;
    }
    printf("%zu to change, %zu as they are\n", changes, alike);
    return changes;
}

static bool agreed(const struct hm_plugin_layer *layer) {
    char answer[16] = "";
    if (layer->yes) return true;
    if (!isatty(STDIN_FILENO)) {
        hm_complain(HM_EXIT_FAILED, "plugin", "nothing was changed: say --yes to do it without being asked");
        return false;
    }
    printf("Put this in force? [y/N] ");
    fflush(stdout);
    if (fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y')) return true;
    printf("Nothing was changed.\n");
    return false;
}

static void put_items(const struct list *files, struct hm_buf *out) {
    hm_json_key(out, "items");
    hm_buf_char(out, '[');
    for (size_t i = 0; i < files->count; i++) {
        const struct entry *e = &files->entries[i];
        if (i) hm_buf_char(out, ',');
        hm_buf_char(out, '{');
        hm_json_member_str(out, "kind", hm_str_of(e->kind->name));
        hm_json_member_str(out, "id", hm_str_of(e->id));
        hm_json_member_str(out, "source", hm_buf_view(&e->source));
        hm_buf_char(out, '}');
    }
    hm_buf_char(out, ']');
}

static bool send(const struct hm_plugin_layer *layer, const struct list *files) {
    struct hm_buf params = {0}, result = {0};
    struct hm_json root;
    hm_buf_char(&params, '{');
    put_items(files, &params);
    if (layer->note) hm_json_member_str(&params, "note", hm_str_of(layer->note));
    if (layer->remove) hm_json_member_raw(&params, "remove", HM_LIT("true"));
    struct hm_plugin_ask a = {layer->client, layer->institution, "plugin.import", layer->confirm};
    bool ok = hm_plugin_change(&a, &params, &result, &root);
    if (ok) {
        printf("in force\n");
        hm_plugin_print_spread(root);
    }
    hm_buf_free(&params);
    hm_buf_free(&result);
    return ok;
}

int hm_plugin_import_dir(const struct hm_plugin_layer *layer) {
    struct list stored = {0}, files = {0};
    struct stat st;
    int code = HM_EXIT_FAILED;
    if (stat(layer->dir, &st) != 0 || !S_ISDIR(st.st_mode)) {
        hm_complain(code, "plugin", "%s: there is no such folder", layer->dir);
        return code;
    }
    if (!each_file(layer->dir, take_file, &files) || !read_stored(layer, &stored)) goto out;
    if (!files.count && !layer->remove) {
        hm_complain(code, "plugin", "%s: there is no plugin in it (services/*.lua, matchers/*.lua, …)",
                    layer->dir);
        goto out;
    }
    if (!show(layer, &stored, &files)) {
        code = HM_EXIT_DONE;
        goto out;
    }
    if (agreed(layer) && send(layer, &files)) code = HM_EXIT_DONE;
out:
    list_free(&stored);
    list_free(&files);
    return code;
}

// ---- who follows the cluster --------------------------------------------------------------------------

static void print_names(struct hm_json list, const char *what) {
    struct hm_json item;
    struct hm_json_iter it = hm_json_iter(list);
    if (!hm_json_count(list)) return;
    printf("%s:", what);
    while (hm_json_next(&it, NULL, &item)) {
        char name[HM_NAME_MAX + 1] = "";
        hm_json_text(item, name, sizeof name);
        printf(" %s", name);
    }
    printf("\n");
}

static void print_kept(struct hm_json kept) {
    struct hm_json errors, error, value;
    char name[HM_NAME_MAX + 1] = "";
    hm_json_get_text(kept, "institution", name, sizeof name);
    printf("stays as it was: %s\n", name);
    if (!hm_json_get(kept, "errors", &errors)) return;
    struct hm_json_iter it = hm_json_iter(errors);
    while (hm_json_next(&it, NULL, &error)) {
        struct hm_buf message = {0};
        char file[160] = "";
        int64_t line = 0;
        hm_json_get_text(error, "file", file, sizeof file);
        if (hm_json_get(error, "line", &value)) hm_json_int(value, &line);
        if (hm_json_get(error, "message", &value)) hm_json_string(value, &message);
        printf("  %s:%lld: %s\n", file, (long long)line, message.len ? message.data : "");
        hm_buf_free(&message);
    }
}

void hm_plugin_print_spread(struct hm_json result) {
    struct hm_json all, list, item;
    if (!hm_json_get(result, "institutions", &all)) return;
    if (hm_json_get(all, "followed", &list)) print_names(list, "follow");
    if (hm_json_get(all, "pending", &list)) print_names(list, "not known yet");
    if (!hm_json_get(all, "kept", &list)) return;
    struct hm_json_iter it = hm_json_iter(list);
    while (hm_json_next(&it, NULL, &item))
        print_kept(item);
}
