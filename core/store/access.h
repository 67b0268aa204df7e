// Principals, and the one check in Hamroh that decides whether somebody may read a record. Reads, lists,
// counts, the feed and exports all call hm_access_meets. A principal is a text: "person:<id>", "role:<name>",
// "institution", "cluster", "public", or "<type>:<id>" for a record the person is a member of. Immutable,
// refcounted, any thread.
#pragma once
#include "base/buf.h"

struct hm_principals;
struct hm_principals *hm_principals_new(const struct hm_str *names,
                                        size_t count); // copies; "public" is always added
struct hm_principals *hm_principals_ref(struct hm_principals *p);
void hm_principals_unref(struct hm_principals *p);
size_t hm_principals_count(const struct hm_principals *p);
struct hm_str hm_principals_at(const struct hm_principals *p, size_t i); // sorted
bool hm_principals_has(const struct hm_principals *p, struct hm_str name);
void hm_principals_json(const struct hm_principals *p, struct hm_buf *out); // appends a JSON array

// audience: a packed list as records carry it (u16 little endian length + bytes, repeated). NULL principals =
// a stranger, who meets "public" only.
bool hm_access_meets(const struct hm_principals *p, struct hm_str audience);
// Walks a packed list; false at the end.
bool hm_packed_next(struct hm_str *rest, struct hm_str *item);
// Builds and shows such lists. An item may have 65,535 bytes; what may be stored is less (see
// hm_write_apply).
void hm_packed_add(struct hm_buf *out, struct hm_str item);
void hm_packed_json(struct hm_str packed, struct hm_buf *out); // appends a JSON array
