// The parts of `hamroh plugin`.
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include "base/json.h"

struct hm_plugin_kind {
    const char *name, *folder,
        *sample; // "matcher", "matchers"; sample: a plugin that passes its tests, with marks for its name
};
const struct hm_plugin_kind *hm_plugin_kind(const char *word); // singular or plural; NULL when there is none
void hm_plugin_kinds_print(void);                              // their names, to stderr
// Makes FOLDER/KIND/NAME.lua under dir. The path is appended to path.
bool hm_plugin_new(const struct hm_plugin_kind *kind, const char *name, const char *dir, struct hm_buf *path,
                   struct hm_error *err);
// A file's source and what it is: the kind is the name of its folder, the id what it declares, else its name.
bool hm_plugin_read_file(const char *path, const struct hm_plugin_kind **kind, char *id, size_t id_size,
                         struct hm_buf *source, struct hm_error *err);

// ---- a whole layer as a folder (plugin_layer.c) -------------------------------------------------------
struct hm_client;
struct hm_plugin_layer {
    struct hm_client *client;
    const char *institution, *dir, *note;
    bool remove;  // what the other side does not have goes
    bool yes;     // do not ask
    bool confirm; // also when stored records do not fit
};
// Of the result of a deploy in the cluster: which institutions follow, which do not, and why.
void hm_plugin_print_spread(struct hm_json result);
int hm_plugin_export_dir(const struct hm_plugin_layer *layer); // exit code
int hm_plugin_import_dir(const struct hm_plugin_layer *layer);
// Shows `diff -u` of two texts under their names. 0: alike, 1: not, 2: it could not be shown.
int hm_plugin_diff(const char *old_name, struct hm_str old_text, const char *new_name,
                   struct hm_str new_text);

// ---- what would be lost (plugin_confirm.c)
struct hm_plugin_ask {
    struct hm_client *client;
    const char *institution, *method;
    bool confirm;
};
// params: an object, not closed. Refused because stored records would lose something: says what and, when
// `confirm`, asks and does it. False: it has been said why.
bool hm_plugin_change(const struct hm_plugin_ask *ask, struct hm_buf *params, struct hm_buf *result,
                      struct hm_json *out);
