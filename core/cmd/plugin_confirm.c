// A change of plugins that would take something from stored records: the server refuses it and says what in
// words; here they are shown and, with --confirm, whoever is at the terminal is asked once more. One thread.
#include "cmd/client.h"
#include "cmd/cmd.h"
#include "cmd/plugin.h"

#include <stdio.h>
#include <unistd.h>

// Every change in its own words; false: the error is of another kind.
static bool show(struct hm_str data) {
    struct hm_json root, list, item, text, words;
    struct hm_buf line = {0};
    char reason[16];
    if (!data.len || !hm_json_parse(data, &root, NULL) ||
        !hm_json_get_text(root, "reason", reason, sizeof reason) || strcmp(reason, "lossy") != 0 ||
        !hm_json_get(root, "changes", &list))
        return false;
    struct hm_json_iter it = hm_json_iter(list);
    while (hm_json_next(&it, NULL, &item)) {
        hm_buf_clear(&line);
        if (hm_json_get(item, "text", &text) && hm_json_get(text, "en", &words) &&
            hm_json_string(words, &line))
            fprintf(stderr, "  %s\n", line.data);
    }
    hm_buf_free(&line);
    return true;
}

// Scripts have said it with --confirm.
static bool agreed(void) {
    char answer[16];
    if (!isatty(STDIN_FILENO)) return true;
    fprintf(stderr, "Do it all the same? The change log and backups keep what was there. (yes/no) ");
    return fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

static bool ask_once(const struct hm_plugin_ask *a, struct hm_str params, struct hm_buf *result,
                     struct hm_buf *data, struct hm_error *err) {
    struct hm_call_as as = {.institution = a->institution};
    return hm_client_do(a->client, a->method, params, as, result, data, err);
}

bool hm_plugin_change(const struct hm_plugin_ask *a, struct hm_buf *params, struct hm_buf *result,
                      struct hm_json *out) {
    struct hm_buf data = {0}, sure = {0};
    struct hm_error err = {0};
    hm_buf_str(&sure, hm_buf_view(params));
    hm_buf_char(params, '}');
    hm_json_member_raw(&sure, "confirm", HM_LIT("true"));
    hm_buf_char(&sure, '}');
    bool ok = ask_once(a, hm_buf_view(params), result, &data, &err);
    if (!ok && err.code == HM_CONFLICT && show(hm_buf_view(&data))) {
        if (!a->confirm) {
            hm_complain(HM_EXIT_FAILED, "plugin",
                        "nothing has changed; with --confirm it is done all the same");
            goto out;
        }
        if (!agreed()) {
            hm_complain(HM_EXIT_FAILED, "plugin", "nothing has changed");
            goto out;
        }
        hm_buf_clear(&data);
        hm_buf_clear(result);
        err = (struct hm_error){0};
        ok = ask_once(a, hm_buf_view(&sure), result, &data, &err);
    }
    ok = ok && hm_json_parse(hm_buf_view(result), out, &err);
    if (!ok) hm_client_complain("plugin", &err, hm_buf_view(&data));
out:
    hm_buf_free(&data);
    hm_buf_free(&sure);
    return ok;
}
