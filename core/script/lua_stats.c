// Not yet.
#include "script/host.h"
static const struct hm_lua_fn stats_fns[] = {{0}};
const struct hm_lua_module hm_module_stats = {"stats", "stats", stats_fns, false};
