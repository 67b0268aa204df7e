// The worker process: start, walls, plugins, then calls until the server closes the socket. One thread. What
// always holds: no plugin code runs before hm_confine, and a call's snapshot is ended before the next call
// begins, so that no pages stay pinned.
#include "script/worker.h"
#include "base/clock.h"
#include "base/log.h"
#include "script/check.h"
#include "script/frames.h"
#include "script/host.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define OUTPUT_DEFAULT (1u << 20)

static int64_t int_member(struct hm_json object, const char *name, int64_t otherwise) {
    struct hm_json value;
    int64_t v;
    return hm_json_get(object, name, &value) && hm_json_int(value, &v) ? v : otherwise;
}

static void read_limits(struct hm_host *host, struct hm_json init) {
    struct hm_json limits = {0};
    hm_json_get(init, "limits", &limits);
    host->limits.cpu_ms = (unsigned)int_member(limits, "cpu_ms", 200);
    host->limits.wall_ms = (unsigned)int_member(limits, "wall_ms", 0);
    host->limits.memory_bytes = (uint64_t)int_member(limits, "memory_bytes", 64 << 20);
    host->limits.output_bytes = (size_t)int_member(limits, "output_bytes", OUTPUT_DEFAULT);
    host->limits.log_lines = (unsigned)int_member(limits, "log_lines", 100);
}

// Reads all sources. The store is read once here, too, so that the reader's slot and its lock are made before
// the walls stand.
static bool read_init(struct hm_host *host, struct hm_json init, bool *run_tests, struct hm_error *err) {
    char plugin_dir[1024];
    struct hm_json value;
    if (!hm_json_get_text(init, "institution", host->institution, sizeof host->institution) ||
        !hm_json_get_text(init, "plugin_dir", plugin_dir, sizeof plugin_dir))
        return hm_fail(err, HM_PARAMS, "INIT: no institution or plugin_dir");
    host->zone_minutes = (int)int_member(init, "zone_minutes", 300);
    read_limits(host, init);
    *run_tests = hm_json_get(init, "run_tests", &value) && hm_json_bool(value, run_tests) && *run_tests;
    if (!hm_sources_read_shipped(&host->sources, plugin_dir, err)) return false;
    host->sources.of_cluster = strcmp(host->institution, "cluster") == 0;
    if (hm_json_get(init, "base", &value) && !hm_sources_read_base(&host->sources, value, err)) return false;
    if (!hm_sources_read_store(&host->sources, host->store, err)) return false;
    if (hm_json_get(init, "without", &value)) hm_sources_without(&host->sources, value);
    if (hm_json_get(init, "candidates", &value) && !hm_sources_read_candidates(&host->sources, value, err))
        return false;
    if (hm_json_get(init, "tests", &value)) hm_sources_try(&host->sources, value);
    return true;
}

static bool send_refused(struct hm_host *host) {
    struct hm_buf *out = hm_channel_begin(host->channel, HM_F_REFUSED, 0);
    struct hm_buf list = {0};
    hm_buf_char(&list, '[');
    hm_buf_str(&list, hm_buf_view(&host->problems));
    hm_buf_char(&list, ']');
    hm_put_str(out, hm_buf_view(&list));
    hm_buf_free(&list);
    hm_channel_end(host->channel);
    return hm_channel_flush(host->channel, NULL);
}

// ---- calls -------------------------------------------------------------------------------------

static void send_error(struct hm_host *host, uint32_t call) {
    const struct hm_trouble *t = &host->trouble;
    // What a plugin said is in the data, which the server shows to those who may see it.
    bool plain = t->code == HM_PLUGIN || t->code == HM_DEADLINE || t->code == HM_TOO_LARGE || !t->message[0];
    struct hm_buf *out = hm_channel_begin(host->channel, HM_F_ERROR, call);
    hm_put_u32(out, (uint32_t)t->code);
    hm_put_str(out, hm_str_of(plain ? hm_code_message(t->code) : t->message));
    hm_put_str(out, t->data.len ? hm_buf_view(&t->data) : HM_LIT("{}"));
    hm_put_u64(out, hm_tx_snapshot(host->tx));
    hm_channel_end(host->channel);
}

static void send_result(struct hm_host *host, uint32_t call, uint8_t flags, bool ok) {
    struct hm_buf *out = hm_channel_begin(host->channel, HM_F_RESULT, call);
    size_t start = out->len - 9;
    bool dry = flags & HM_CALL_DRY;
    if (dry) {
        struct hm_buf text = {0};
        hm_dry_result(host, ok, &text);
        hm_put_str(out, hm_buf_view(&text));
        hm_buf_free(&text);
    } else {
        hm_put_str(out, hm_buf_view(&host->out));
    }
    hm_put_u64(out, hm_tx_snapshot(host->tx));
    hm_put_u8(out, flags);
    hm_tx_write_result(host->tx, ok && (!dry || (flags & HM_CALL_PAST)), out);
    if (out->len - start - 4 <= HM_FRAME_MAX) {
        hm_channel_end(host->channel);
        return;
    }
    out->len = start; // takes the frame back
    hm_trouble_clear(host);
    host->trouble.code = HM_TOO_LARGE;
    hm_buf_text(&host->trouble.data, "{\"limit\":\"writes\"}");
    send_error(host, call);
}

static bool handle_call(struct hm_host *host, struct hm_frame_in *frame) {
    struct hm_reader *r = &frame->rest;
    struct hm_call_args args = {.number = frame->call, .limits = host->limits};
    args.method = hm_get_str(r);
    args.params = hm_get_str(r);
    args.caller = hm_get_str(r);
    args.now_ms = (int64_t)hm_get_u64(r);
    args.seed = hm_get_str(r);
    args.limits.cpu_ms = hm_get_u32(r);
    args.limits.memory_bytes = hm_get_u64(r);
    args.flags = hm_get_u8(r);
    if (args.flags & HM_CALL_PAST) args.past = hm_get_u64(r);
    if (r->bad) return false;
    if (!args.limits.cpu_ms) args.limits.cpu_ms = host->limits.cpu_ms;
    if (!args.limits.memory_bytes) args.limits.memory_bytes = host->limits.memory_bytes;
    hm_channel_flush_if_old(host->channel);
    if (args.flags & HM_CALL_DRY) hm_dry_begin(host);
    bool ok = hm_call_run(host, &args);
    if (ok || (args.flags & HM_CALL_DRY)) {
        send_result(host, args.number, args.flags, ok);
    } else {
        send_error(host, args.number);
    }
    hm_call_end(host);
    if (hm_sandbox_spent(&host->box))
        hm_channel_flush(host->channel, NULL); // who waits need not wait for the new state
    return hm_host_renew(host);
}

static int serve_calls(struct hm_host *host) {
    struct hm_frame_in frame;
    struct hm_error err = {0};
    while (hm_channel_next(host->channel, &frame, &err)) {
        if (frame.kind == HM_F_UNSEALED) continue; // for a call that did not wait for it
        if (frame.kind != HM_F_CALL || !handle_call(host, &frame)) {
            hm_log(HM_ERROR, "worker.ends", "\"why\":\"%s\"",
                   host->open ? "a frame that cannot be read" : "the plugins no longer load");
            hm_channel_flush(host->channel, NULL);
            return 1;
        }
    }
    if (err.code == HM_OK) return 0;
    hm_log(HM_ERROR, "worker.ends", "\"why\":\"%s\"", err.message);
    return 1;
}

static void put_unknown(void *arg, struct hm_host *host, const struct hm_source *source, int line, int column,
                        const char *message) {
    struct hm_buf *out = arg;
    (void)host;
    if (out->data[out->len - 1] != '[') hm_buf_char(out, ',');
    hm_buf_char(out, '{');
    hm_json_member_str(out, "plugin", hm_str_of(source->id));
    hm_json_member_str(out, "file", hm_str_of(source->file));
    hm_json_member_int(out, "line", line);
    if (column) hm_json_member_int(out, "column", column);
    hm_json_member_str(out, "message", hm_str_of(message));
    hm_buf_char(out, '}');
}

static bool start(struct hm_host *host, const char *dir, struct hm_error *err) {
    struct hm_frame_in frame;
    struct hm_json init;
    bool run_tests = false;
    struct hm_store_options options = {.read_only = true};
    if (!hm_channel_next(host->channel, &frame, err)) return false;
    if (frame.kind != HM_F_INIT || !hm_json_parse(hm_get_str(&frame.rest), &init, err))
        return hm_fail(err, HM_INTERNAL, "the first frame is not INIT");
    if (!hm_store_open(dir, &options, &host->store, err) || !read_init(host, init, &run_tests, err) ||
        !hm_sandbox_start(err) || !hm_confine(err)) {
        hm_problem(host, "", "", 0, err->message);
        send_refused(host);
        return false;
    }
    if (!hm_host_load(host) || (run_tests && !hm_host_test(host, false, NULL, NULL))) {
        send_refused(host);
        return hm_fail(err, HM_PLUGIN, "plugins refused");
    }
    struct hm_buf unknown = {0};
    hm_buf_char(&unknown, '[');
    hm_host_lint(host, false, put_unknown, &unknown);
    hm_buf_char(&unknown, ']');
    struct hm_buf *out = hm_channel_begin(host->channel, HM_F_READY, 0);
    hm_put_str(out, hm_buf_view(&host->catalogue));
    hm_put_str(out, hm_buf_view(&unknown));
    hm_channel_end(host->channel);
    hm_buf_free(&unknown);
    return hm_channel_flush(host->channel, err);
}

static int serve(const char *dir) {
    struct hm_error err = {0};
    struct hm_host *host = hm_alloc(sizeof *host);
    int code = 1;
    host->channel = hm_channel_new(HM_WORKER_FD);
    if (!hm_confine_begin(HM_WORKER_FD, false, &err)) {
        hm_log(HM_ERROR, "worker.start", "\"why\":\"%s\"", err.message);
    } else if (start(host, dir, &err)) {
        code = serve_calls(host);
    } else if (err.code == HM_PLUGIN) {
        code = 2;
    } else if (err.code != HM_OK) {
        hm_log(HM_ERROR, "worker.start", "\"why\":\"%s\"", err.message);
    }
    hm_channel_free(host->channel);
    struct hm_store *store = host->store;
    host->store = NULL;
    hm_host_free(host);
    hm_store_close(store);
    return code;
}

int hm_worker_main(int argc, char **argv) {
    int at = argc > 1 && strcmp(argv[1], "worker") == 0 ? 2 : 1;
    struct hm_error err = {0};
    if (argc - at == 2 && strcmp(argv[at], "--meta") == 0) {
        char reference[1100];
        snprintf(reference, sizeof reference, "%.1000s/../reference.md", argv[at + 1]);
        if (hm_meta_write(argv[at + 1], &err) && hm_reference_write(reference, &err)) return 0;
        fprintf(stderr, "hamroh: %s\n", err.message);
        return 1;
    }
    if (argc > at && strcmp(argv[at], "--check") == 0) return hm_check_main(argc - at - 1, argv + at + 1);
    if (argc - at == 1 && argv[at][0] != '-') return serve(argv[at]);
    fprintf(stderr, "usage: hamroh worker ENVIRONMENT_DIR\n"
                    "       hamroh worker --check [FILE…] [--plugins DIR] [--deadline SECONDS]\n"
                    "       hamroh worker --meta DIR\n");
    return 2;
}
