// Being shown as online: presence.*. Loop thread. Who is online only the room above knows, which answers
// presence.list; here is what lasts of it, the wish not to be shown, kept in the account.
#include "engine/internal.h"

static void presence_set(struct call *call) {
    bool visible = hm_arg_bool(call, "visible", true);
    struct hm_str result = visible ? HM_LIT("{\"visible\":true}") : HM_LIT("{\"visible\":false}");
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_json data;
    struct hm_error err = {0};
    if (!call->session) {
        hm_call_fail(call, HM_UNAUTHENTICATED, "");
    } else if (!hm_read_begin(call->institution->store, &read, &err)) {
        hm_call_fail_error(call, &err);
    } else if (!hm_read_data(read, "account", hm_str_of(call->session->account), &record, &data)) {
        hm_read_end(read);
        hm_call_fail(call, HM_NOT_FOUND, "");
    } else if (call->session->invisible != visible) { // as it is already: nothing to write, nobody to tell
        hm_read_end(read);
        hm_call_ok(call, result);
    } else {
        struct hm_buf text = {0};
        struct commit_item *item = hm_item_new(call->institution, call->by, call->method);
        hm_json_with(data, "presence", visible ? HM_LIT("true") : HM_LIT("false"), &text);
        hm_item_put(item, "account", record.id, record.version, hm_buf_view(&text), "");
        hm_read_end(read);
        hm_buf_free(&text);
        hm_item_finish_call(item, call, result, hm_call_committed);
    }
}

static const struct core_method rows[] = {
    {"presence.list", ACCESS_SIGNED_IN, "",
     "Who is online of those with whom the caller shares a record, on a WebSocket.", NULL},
    {"presence.set", ACCESS_SIGNED_IN, "visible:bool!",
     "Whether the caller is shown to them as online; lasts until it is changed.", presence_set},
};
const struct core_table hm_methods_presence = {rows, sizeof rows / sizeof *rows};
