// Where plugins come from: files of the plugin folder, versions in the store, candidates of INIT. All of it
// is read before privileges are dropped; afterwards only the texts kept here are left. Worker thread.
#include "base/code.h"
#include "script/host.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define SOURCE_MAX (1u << 20)

static const struct {
    const char *kind, *folder;
} kinds[] = {{"service", "services"},
             {"matcher", "matchers"},
             {"activity", "activities"},
             {"questionnaire", "questionnaires"},
             {"report", "reports"}};

const char *hm_kind_of(const char *text) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].kind, text) == 0 || strcmp(kinds[i].folder, text) == 0) return kinds[i].kind;
    return NULL;
}

const char *hm_kind_folder(const char *kind) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].kind, kind) == 0) return kinds[i].folder;
    return "lib";
}

void hm_sources_free(struct hm_sources *s) {
    for (size_t i = 0; i < s->count; i++)
        free(s->list[i].text);
    free(s->list);
    *s = (struct hm_sources){0};
}

struct hm_source *hm_sources_add(struct hm_sources *s, const char *kind, const char *id, const char *file,
                                 const char *layer, struct hm_str text) {
    if (s->count == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 64;
        s->list = hm_realloc(s->list, s->cap * sizeof *s->list);
    }
    struct hm_source *n = &s->list[s->count++];
    *n = (struct hm_source){0};
    snprintf(n->kind, sizeof n->kind, "%s", kind);
    snprintf(n->id, sizeof n->id, "%s", id);
    snprintf(n->file, sizeof n->file, "%s", file);
    snprintf(n->layer, sizeof n->layer, "%s", layer);
    hm_secret_hash(text, n->hash);
    n->text = hm_str_dup(text);
    n->len = text.len;
    return n;
}

const struct hm_source *hm_sources_find(const struct hm_sources *s, const char *kind, const char *id) {
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->list[i].kind, kind) == 0 && strcmp(s->list[i].id, id) == 0) return &s->list[i];
    return NULL;
}

// ---- shipped -----------------------------------------------------------------------------------

static int is_plugin_file(const struct dirent *d) {
    size_t len = strlen(d->d_name);
    return d->d_name[0] != '.' && len > 4 && len < 64 && strcmp(d->d_name + len - 4, ".lua") == 0;
}

static bool read_folder(struct hm_sources *s, const char *dir, const char *folder, const char *kind,
                        struct hm_error *err) {
    char path[1024];
    struct dirent **files = NULL;
    struct hm_buf text = {0};
    bool ok = true;
    snprintf(path, sizeof path, "%s/%s", dir, folder);
    int n = scandir(path, &files, is_plugin_file, alphasort);
    if (n < 0) return errno == ENOENT ? true : hm_fail(err, HM_UNAVAILABLE, "%s: %m", path);
    for (int i = 0; i < n && ok; i++) {
        const char *name = files[i]->d_name;
        char file[128], id[HM_NAME_MAX + 1] = "";
        snprintf(file, sizeof file, "%.60s/%.63s", folder, name);
        snprintf(path, sizeof path, "%s/%s", dir, file);
        if (strcmp(kind, "lib") == 0) { // "lib/kinds/service.lua" is asked for as "lib.kinds.service"
            snprintf(id, sizeof id, "%.*s",
                     (int)(strlen(file) - 4 < HM_NAME_MAX ? strlen(file) - 4 : HM_NAME_MAX), file);
            for (char *c = id; *c; c++)
                if (*c == '/') *c = '.';
        }
        hm_buf_clear(&text);
        ok = hm_read_file(path, SOURCE_MAX, &text, err);
        if (ok) hm_sources_add(s, kind, id, file, "shipped", hm_buf_view(&text));
    }
    for (int i = 0; i < n; i++)
        free(files[i]);
    free(files);
    hm_buf_free(&text);
    return ok;
}

bool hm_sources_read_shipped(struct hm_sources *s, const char *plugin_dir, struct hm_error *err) {
    if (!read_folder(s, plugin_dir, "lib", "lib", err) ||
        !read_folder(s, plugin_dir, "lib/kinds", "lib", err))
        return false;
    if (!hm_sources_find(s, "lib", "lib.kinds.service"))
        return hm_fail(err, HM_UNAVAILABLE, "%s: no lib/kinds there; is it the folder of the plugins?",
                       plugin_dir);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!read_folder(s, plugin_dir, kinds[i].folder, kinds[i].kind, err)) return false;
    return true;
}

// ---- the institution's -------------------------------------------------------------------------

// The institution `cluster` has the cluster's layer as its own.
static const char *own_layer(const struct hm_sources *s) {
    return s->of_cluster ? "cluster" : "institution";
}

static bool add_text(struct hm_sources *s, struct hm_json object, const char *kind, const char *id,
                     const char *layer, bool candidate, struct hm_error *err) {
    struct hm_json value;
    struct hm_buf text = {0};
    char file[128], note[200] = "";
    if (!hm_json_get(object, "source", &value) || !hm_json_string(value, &text)) {
        hm_buf_free(&text);
        return hm_fail(err, HM_PARAMS, "%s/%s: no source", kind, id);
    }
    snprintf(file, sizeof file, "%s/%s.lua", hm_kind_folder(kind), id);
    struct hm_source *n = hm_sources_add(s, kind, id, file, layer, hm_buf_view(&text));
    n->candidate = candidate;
    if (hm_json_get_text(object, "note", note, sizeof note)) memcpy(n->note, note, sizeof note);
    hm_buf_free(&text);
    return true;
}

static bool read_active(struct hm_sources *s, struct hm_read *read, const struct hm_record *plugin,
                        struct hm_error *err) {
    char kind_text[32], id[HM_NAME_MAX + 1], active[HM_ID_MAX + 1];
    struct hm_json data, version;
    struct hm_record record;
    if (!hm_json_parse(plugin->data, &data, err)) return false;
    const char *kind =
        hm_json_get_text(data, "kind", kind_text, sizeof kind_text) ? hm_kind_of(kind_text) : NULL;
    if (!kind || !hm_json_get_text(data, "id", id, sizeof id))
        return hm_fail(err, HM_INTERNAL, "record plugin %.*s: no kind or id", (int)plugin->id.len,
                       plugin->id.ptr);
    if (!hm_json_get_text(data, "active", active, sizeof active) || !active[0])
        return true; // back to the shipped one
    return hm_read_get(read, HM_LIT("plugin_version"), hm_str_of(active), &record, err) &&
           hm_json_parse(record.data, &version, err) &&
           add_text(s, version, kind, id, own_layer(s), false, err);
}

bool hm_sources_read_store(struct hm_sources *s, struct hm_store *store, struct hm_error *err) {
    struct hm_read *read = NULL;
    struct hm_scan *scan = NULL;
    struct hm_types *types = hm_store_types(store);
    struct hm_range range = {0};
    struct hm_json none = {HM_JSON_ARRAY, HM_LIT("[]")}, open = {0};
    struct hm_record record;
    bool ok = false;
    if (!hm_read_begin(store, &read, err)) goto out;
    if (!hm_range_make(hm_types_find(types, HM_LIT("plugin")), NULL, none, open, open, &range, err)) goto out;
    if (!hm_scan_begin(read, &range, false, (struct hm_str){0}, &scan, err)) goto out;
    ok = true;
    while (ok && hm_scan_next(scan, &record))
        ok = read_active(s, read, &record, err);
out:
    hm_scan_end(scan);
    hm_range_free(&range);
    hm_read_end(read);
    hm_types_unref(types);
    return ok;
}

// ---- what INIT says ----------------------------------------------------------------------------

// Kind and id of an entry of a list; NULL: it has none.
static const char *name_of(struct hm_json item, char id[HM_NAME_MAX + 1]) {
    char kind[32];
    if (!hm_json_get_text(item, "kind", kind, sizeof kind) ||
        !hm_json_get_text(item, "id", id, HM_NAME_MAX + 1))
        return NULL;
    return hm_kind_of(kind);
}

bool hm_sources_read_base(struct hm_sources *s, struct hm_json base, struct hm_error *err) {
    struct hm_json_iter it = hm_json_iter(base);
    struct hm_json item;
    while (hm_json_next(&it, NULL, &item)) {
        char id[HM_NAME_MAX + 1];
        const char *kind = name_of(item, id);
        if (!kind) return hm_fail(err, HM_PARAMS, "a plugin of the cluster has no kind or id");
        if (!add_text(s, item, kind, id, "cluster", false, err)) return false;
    }
    return true;
}

static void drop(struct hm_sources *s, const char *kind, const char *id, const char *layer) {
    for (size_t i = 0; i < s->count; i++) {
        struct hm_source *n = &s->list[i];
        if (strcmp(n->layer, layer) != 0 || strcmp(n->kind, kind) != 0 || strcmp(n->id, id) != 0) continue;
        free(n->text);
        memmove(n, n + 1, (s->count - i - 1) * sizeof *n);
        s->count--;
        return;
    }
}

bool hm_sources_read_candidates(struct hm_sources *s, struct hm_json candidates, struct hm_error *err) {
    struct hm_json_iter it = hm_json_iter(candidates);
    struct hm_json item, value;
    while (hm_json_next(&it, NULL, &item)) {
        char id[HM_NAME_MAX + 1];
        bool remove = false;
        const char *kind = name_of(item, id);
        if (!kind) return hm_fail(err, HM_PARAMS, "a candidate has no kind or id");
        if (hm_json_get(item, "remove", &value)) hm_json_bool(value, &remove);
        // What is stored under the same name makes room: it would be overridden, and the candidate inherits
        // what it would.
        drop(s, kind, id, own_layer(s));
        if (!remove && !add_text(s, item, kind, id, own_layer(s), true, err)) return false;
    }
    return true;
}

void hm_sources_without(struct hm_sources *s, struct hm_json list) {
    struct hm_json_iter it = hm_json_iter(list);
    struct hm_json item;
    while (hm_json_next(&it, NULL, &item)) {
        char id[HM_NAME_MAX + 1], layer[16] = "institution";
        const char *kind = name_of(item, id);
        hm_json_get_text(item, "layer", layer, sizeof layer);
        if (kind && strcmp(layer, "shipped") != 0) drop(s, kind, id, layer);
    }
}

void hm_sources_try(struct hm_sources *s, struct hm_json list) {
    struct hm_json_iter it = hm_json_iter(list);
    struct hm_json item;
    while (hm_json_next(&it, NULL, &item)) {
        char id[HM_NAME_MAX + 1];
        const char *kind = name_of(item, id);
        for (size_t i = 0; kind && i < s->count; i++)
            if (strcmp(s->list[i].kind, kind) == 0 && strcmp(s->list[i].id, id) == 0)
                s->list[i].candidate = true;
    }
}
