// Identifiers: UUIDv7 (RFC 9562) as 36 lower-case characters, and names.
#pragma once
#include "base/buf.h"

#define HM_ID_MAX 128  // longest record id
#define HM_NAME_MAX 64 // longest type, index, plugin or institution name

// Text form, terminated. Ids made by one process in one millisecond still ascend.
void hm_uuid7(int64_t now_ms, char out[37]);
// The same from given random bytes (for repeatable runs): 10 bytes of which 74 bits are used.
void hm_uuid7_from(int64_t ms, const uint8_t random[10], char out[37]);
bool hm_name_valid(struct hm_str s); // [a-z][a-z0-9_.-]{0,63}, no ".."
bool hm_id_valid(struct hm_str s);   // 1..128 bytes of printable UTF-8 without control characters
