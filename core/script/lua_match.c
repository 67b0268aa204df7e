// Not yet.
#include "script/host.h"
static const struct hm_lua_fn match_fns[] = {{0}};
const struct hm_lua_module hm_module_match = {"match", "match", match_fns, false};
