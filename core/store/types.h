// What a plugin declares of its record types, as far as the store needs it: indexes, sealed fields, natural
// keys. Parsed from the "types" array of a worker's catalogue (JSON) and kept in the environment, so that a
// server can read and index without running Lua. Types of the core (account, session, ...) are always
// present. Immutable once made.
#pragma once
#include "base/buf.h"
#include "base/error.h"

#define HM_TYPES_MAX 256
#define HM_INDEXES_MAX 16 // per type
#define HM_INDEX_FIELDS_MAX 4
#define HM_INDEX_TAG 4
#define HM_FORM_MAX 10000

struct hm_index {
    char name[65];
    char fields[HM_INDEX_FIELDS_MAX]
               [65]; // dotted paths in data; or "@by", "@created", "@updated" of the envelope
    unsigned field_count;
    bool unique;               // does not bind a record in which one of the fields is missing or null
    bool multi;                // the (single) field is an array and each element is an entry
    uint8_t tag[HM_INDEX_TAG]; // in its keys: another declaration of the same name has other keys, so that
                               // both can be kept beside each other
};

struct hm_type {
    char name[65];
    char about[65]; // path in data of the person id that sealed fields are about ("" when nothing is sealed)
    char sealed[8][65]; // top-level data fields that are sealed
    unsigned sealed_count;
    struct hm_index indexes[HM_INDEXES_MAX];
    unsigned index_count;
    unsigned form;     // "version" of what its records look like, 1 when it is not said
    uint8_t shape[16]; // hash of all that is said of what its records look like
    bool core;         // declared by the core: Lua may read but not write it
    bool hidden; // never given out by record.get, record.list, the feed, whatever the audience (account,
                 // session)
};

struct hm_types; // refcounted
// json: array of
// {"name","version":n,"schema":…,"key":"uuid"|"natural","about":path,"sealed":[field],"indexes":[{"name","fields":[path],"unique":b,"multi":b}]}
// with further members ignored. Core types are added (and may not be redeclared).
bool hm_types_parse(struct hm_str json, struct hm_types **out, struct hm_error *err);
struct hm_types *hm_types_ref(struct hm_types *types);
void hm_types_unref(struct hm_types *types);
const struct hm_type *hm_types_find(const struct hm_types *types, struct hm_str name);
const struct hm_index *hm_type_index(const struct hm_type *type, struct hm_str name);
struct hm_str hm_types_json(const struct hm_types *types); // the text it was parsed from, borrowed
size_t hm_types_count(const struct hm_types *types);
const struct hm_type *hm_types_at(const struct hm_types *types, size_t i); // in the order of their names
