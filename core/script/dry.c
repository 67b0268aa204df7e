// Runs without effect: a try, and a recorded call run again. What would have been written is told, not sent
// to be committed; log lines and the time that was used come with the answer. Worker thread. What always
// holds: a sealed value is in none of it but in what the plugin itself returns.
#include "base/log.h"
#include "script/frames.h"
#include "script/host.h"
#include <time.h>

#define CHANGES_SHOWN 500

void hm_dry_begin(struct hm_host *host) {
    hm_buf_clear(&host->dry_logs);
    host->dry_began_us = hm_dry_cpu_us();
}

uint64_t hm_dry_cpu_us(void) {
    struct timespec t;
    return clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) == 0
               ? (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u
               : 0;
}

void hm_dry_log(struct hm_host *host, int level, struct hm_str text, const char *file, int line) {
    int plugin = host->box.plugin;
    struct hm_buf *b = &host->dry_logs;
    bool known = plugin >= 0 && (size_t)plugin < host->loaded_count;
    if (b->len) hm_buf_char(b, ',');
    hm_buf_char(b, '{');
    hm_json_member_str(b, "level", hm_str_of(hm_level_name((enum hm_level)level)));
    hm_json_member_str(b, "kind", hm_str_of(known ? host->loaded[plugin].source->kind : ""));
    hm_json_member_str(b, "id", hm_str_of(known ? host->loaded[plugin].id : ""));
    hm_json_member_str(b, "version",
                       known ? (struct hm_str){host->loaded[plugin].source->hash, 12} : HM_LIT(""));
    hm_json_member_str(b, "file", hm_str_of(file));
    hm_json_member_int(b, "line", line);
    hm_json_member_str(b, "text", (struct hm_str){text.ptr, text.len < 1000 ? text.len : 1000});
    hm_buf_char(b, '}');
}

static void put_error(const struct hm_host *host, struct hm_buf *out) {
    const struct hm_trouble *t = &host->trouble;
    hm_json_key(out, "error");
    hm_buf_char(out, '{');
    hm_json_member_int(out, "code", t->code);
    hm_json_member_str(out, "message", hm_str_of(t->message[0] ? t->message : hm_code_message(t->code)));
    hm_json_member_raw(out, "data", t->data.len ? hm_buf_view(&t->data) : HM_LIT("{}"));
    hm_buf_char(out, '}');
}

void hm_dry_result(struct hm_host *host, bool ok, struct hm_buf *out) {
    struct hm_buf changes = {0};
    size_t count = 0;
    hm_buf_char(out, '{');
    if (ok) {
        hm_json_member_raw(out, "result", hm_buf_view(&host->out));
        count = hm_tx_changes_json(host->tx, CHANGES_SHOWN, &changes);
    } else {
        put_error(host, out);
        hm_buf_text(&changes, "[]"); // a call that fails writes nothing
    }
    hm_json_member_raw(out, "changes", hm_buf_view(&changes));
    hm_json_member_int(out, "changes_count", (int64_t)count);
    hm_json_key(out, "logs");
    hm_buf_char(out, '[');
    hm_buf_str(out, hm_buf_view(&host->dry_logs));
    hm_buf_char(out, ']');
    hm_json_key(out, "cpu_ms");
    hm_json_put_double(out, (double)((hm_dry_cpu_us() - host->dry_began_us) / 10u) / 100.0);
    hm_buf_char(out, '}');
    hm_buf_free(&changes);
}
