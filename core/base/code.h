// Secrets in the form in which they are kept, and invitation codes that people type. Any thread.
#pragma once
#include "base/buf.h"

void hm_secret_hash(struct hm_str secret,
                    char out[65]); // BLAKE2b-256 in hex: the form in which tokens and codes are stored
// Invitation codes: 16 characters of Crockford's base 32 in groups of four; read with O=0, I=L=1, case and
// dashes folded.
void hm_code_format(const uint8_t random[10], char out[20]);
bool hm_code_hash(struct hm_str typed,
                  char out[65]); // normalises, then hm_secret_hash; false when it cannot be a code
