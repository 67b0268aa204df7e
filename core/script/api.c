// The list of everything that plugins may call. A module that is not here does not exist for them, nor for
// the editor.
#include "script/host.h"

const struct hm_lua_module *const hm_modules[] = {&hm_module_base,    &hm_module_ctx,
                                                  &hm_module_store,   &hm_module_accounts,
                                                  &hm_module_text,    &hm_module_calendar,
                                                  &hm_module_match,   &hm_module_stats,
                                                  &hm_module_plugins, &hm_module_log,
                                                  &hm_module_award,   &hm_module_notify,
                                                  &hm_module_t,       NULL};
