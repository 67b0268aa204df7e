// What the files about plugins share: deploying (deploy.c, methods_plugin.c, plugin_read.c), the cluster's
// layer (layer.c), what is taken back (fresh.c) and what no longer loads (rescue.c). Loop thread.
#pragma once
#include "engine/internal.h"

#define PLUGIN_KEY_MAX (HM_NAME_MAX + 1 + HM_ID_MAX + 1) // "kind/id"
#define PLUGIN_SOURCE_MAX (1u << 20)
#define PLUGIN_LAYER_MAX (16u << 20) // sources of a layer, all together

struct plugin_name {
    char kind[HM_NAME_MAX + 1], id[HM_NAME_MAX + 1], key[PLUGIN_KEY_MAX];
};
const char *hm_plugin_kind_of(const char *text); // "service" of "service" or "services", or NULL
bool hm_plugin_name(struct plugin_name *out, const char *kind, const char *id);
bool hm_plugin_name_of(struct hm_json object, struct plugin_name *out); // its members kind and id
// The same of a call's params; false: the call has been answered.
bool hm_plugin_named(struct call *call, struct plugin_name *out);
// The version in force by the institution's store ("" when it has none), and the place of the pointer.
void hm_plugin_active(struct hm_read *read, const char *key, char out[HM_ID_MAX + 1]);
// Every plugin record of a store.
bool hm_plugin_each(struct hm_read *read, struct hm_store *store,
                    bool (*fn)(void *arg, const struct hm_record *record, struct hm_json data), void *arg);
bool hm_plugin_source(struct hm_read *read, const char *key, const char *version, struct hm_buf *source);
// To every administrator who is connected.
void hm_plugin_notice(struct institution *inst, const char *method, struct hm_str params);
// An entry of the audit with this item: what the server itself did with a plugin, and why.
void hm_plugin_audit(struct commit_item *item, const char *key, const char *why);
const char *hm_plugin_own_layer(const struct institution *inst); // "cluster" or "institution"

// ---- deploying (deploy.c) -----------------------------------------------------------------------------
enum purpose { PURPOSE_CHECK, PURPOSE_DEPLOY, PURPOSE_ROLLBACK, PURPOSE_IMPORT, PURPOSE_RETURN };

struct change { // of one plugin
    struct plugin_name name;
    bool remove; // back to the layer below
    bool stored; // the version is in the store already
    bool fresh;  // may be taken back by itself
    char version[HM_ID_MAX + 1], hash[65];
    struct hm_buf source;
    uint64_t pointer;           // version of the record `plugin`, 0: there is none
    char active[HM_ID_MAX + 1]; // the version in force before, ""
};

struct deploy {
    struct call *call; // NULL: the server takes a version back
    struct institution *institution;
    struct trial *trial;
    enum purpose purpose;
    struct change *changes;
    size_t count, cap;
    unsigned unchanged; // of an import
    struct hm_buf note;
    char by[144];
    const char *method;
    bool confirm; // also when stored records do not fit
    char reason[240];
    void (*returned)(struct institution *inst, const struct plugin_name *name, bool done); // PURPOSE_RETURN
};
struct deploy *hm_deploy_new(struct institution *inst, struct call *call, enum purpose purpose);
void hm_deploy_free(struct deploy *d);
// What stands in the store about it is read here. The change belongs to d.
struct change *hm_deploy_add(struct deploy *d, struct hm_read *read, const struct plugin_name *name);
void hm_deploy_start(struct deploy *d); // answers the call, whatever comes of it, and frees d

// ---- the cluster's layer (layer.c) --------------------------------------------------------------------
struct layer *hm_layer_ref(struct layer *layer);
void hm_layer_unref(struct layer *layer);
struct hm_str hm_layer_sources(const struct layer *layer);     // JSON array for INIT; empty for NULL
void hm_layer_open(struct institution *inst);                  // what it ran with last
void hm_layer_remember(struct institution *inst);              // what a new institution begins with
void hm_layer_refresh(struct hm_engine *engine, bool confirm); // the store of the cluster has changed
void hm_layer_taken(struct institution *inst, struct layer *layer);
void hm_layer_retry(struct institution *inst); // its own plugins have changed: it may go with them now
void hm_layer_tick(struct institution *inst);
void hm_layer_close(struct hm_engine *engine);
// done gets {"followed":[…],"kept":[{"institution","errors"}],"pending":[…]} once every institution has taken
// the layer or refused it, or after a minute.
void hm_layer_spread(struct hm_engine *engine, void (*done)(void *arg, struct hm_str institutions),
                     void *arg);

// ---- what fails (fresh.c) -----------------------------------------------------------------------------
void hm_fresh_open(struct institution *inst);
void hm_fresh_close(struct institution *inst);
void hm_fresh_deployed(struct institution *inst, const struct change *change);
void hm_fresh_tick(struct institution *inst);
void hm_fresh_answered(const struct call *call); // a worker has answered it, by no fault of a plugin
void hm_fresh_failed(const struct call *call, enum hm_code code, struct hm_str data); // data: of the error
// Appends ,"plugin":…,"version":… of the service whose method the call is.
void hm_fresh_named(const struct call *call, struct hm_buf *out);
// "fresh", "failing", or NULL.
const char *hm_fresh_state(const struct institution *inst, const char *kind, const char *id,
                           const char *version12);

// ---- what does not load (rescue.c) --------------------------------------------------------------------
// The plugins in force were refused with these errors: leaves those of the upper layers out that are to
// blame. False: there is nothing (more) to leave out.
bool hm_rescue(struct institution *inst, struct hm_str errors);
void hm_rescue_tell(struct institution *inst); // the first time that it serves without them
void hm_rescue_mended(struct institution *inst, const struct plugin_name *name); // another version serves
void hm_rescue_own(const struct institution *inst, struct hm_buf *out); // without those of the cluster
bool hm_rescue_find(const struct institution *inst, const char *kind, const char *id, struct hm_json *out);
