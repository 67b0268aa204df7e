// Text as people write it. Any thread.
#pragma once
#include "base/buf.h"

// For comparing logins and names: lower case (Latin, Cyrillic), the apostrophes ' ‘ ’ ʻ ʼ ` as one ('), runs
// of white space as one space, ends trimmed. Appends to out.
void hm_fold(struct hm_str text, struct hm_buf *out);
