// plugin.api: what plugins may call, for an editor. It comes from the rows of the host, which are the same
// for everybody, and not from a worker. Loop thread.
#include "engine/internal.h"
#include "script/host.h"

static void plugin_api(struct call *call) {
    struct hm_buf out = {0};
    hm_api_json(&out);
    hm_call_ok(call, hm_buf_view(&out));
    hm_buf_free(&out);
}

static const struct core_method rows[] = {
    {"plugin.api", ACCESS_SIGNED_IN, "",
     "What plugins may call, and the constructors of their declarations, for completion in an editor.",
     plugin_api},
};
const struct core_table hm_methods_api = {rows, sizeof rows / sizeof *rows};
