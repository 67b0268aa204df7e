// A worker process over a store of its own, with plugins written by the test beside the shared modules that
// ship. The test program starts itself as the worker (see script_main).
#pragma once
#include "base/wire.h"
#include "script/frames.h"
#include "script/worker.h"
#include "store_fixture.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

struct sw {
    struct fx f;
    char plugins[128];
    pid_t pid;
    int fd;
    struct hm_buf in; // the frame in hand
    struct hm_buf catalogue;
    uint32_t call;
    // the last answer
    bool ok;
    char *result; // JSON; or of an error
    enum hm_code code;
    char *message, *data;
    char seen[65536];    // a line each: "point type id version", "range space low high" (zero bytes as '|')
    char intents[65536]; // a line each: "put type id expect data audience", "del type id expect"
    char logs[4096];
    double progress;
    unsigned unseals;
};

#define ADMIN                                                                                                \
    "{\"person\":\"boss\",\"login\":\"boss\",\"roles\":[\"administrator\",\"coordinator\"],\"principals\":[" \
    "\"person:boss\","                                                                                       \
    "\"role:administrator\",\"role:coordinator\",\"institution\"],\"locale\":\"uz\",\"admin\":true}"
#define STUDENT                                                                                              \
    "{\"person\":\"s1\",\"login\":\"s1\",\"roles\":[\"student\"],\"principals\":[\"person:s1\",\"role:"      \
    "student\",\"pair:p1\"],"                                                                                \
    "\"locale\":\"ru\",\"admin\":false}"

static inline void sw_write_file(const struct sw *w, const char *name, const char *text) {
    char path[256];
    struct hm_error err = {0};
    snprintf(path, sizeof path, "%s/%s", w->plugins, name);
    if (!hm_write_file(path, S(text), 0644, &err)) fail_msg("%s", err.message);
}

// types: what the store knows (as the server would have set them from the catalogue).
static inline void sw_prepare(struct sw *w, const char *types) {
    static const char *const folders[] = {"services", "matchers", "activities", "questionnaires", "reports"};
    char path[256];
    memset(w, 0, sizeof *w);
    w->fd = -1;
    fx_new(&w->f, types, 0);
    snprintf(w->plugins, sizeof w->plugins, "%s/plugins", w->f.root);
    assert_int_equal(mkdir(w->plugins, 0755), 0);
    for (size_t i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "%s/%s", w->plugins, folders[i]);
        assert_int_equal(mkdir(path, 0755), 0);
    }
    snprintf(path, sizeof path, "%s/lib", w->plugins);
    assert_int_equal(symlink(HAMROH_SOURCE_DIR "/plugins/lib", path), 0);
}

// A record of the core, such as a stored plugin.
static inline void sw_put_core(struct sw *w, const char *type, const char *id, const char *data) {
    struct hm_intent in = fx_intent(type, id, data);
    struct hm_commit call = fx_call(&w->f, &in, 1);
    call.from_core = true;
    if (fx_run(&w->f, &call) != HM_OK) fail_msg("%s %s: %s", type, id, call.error.message);
}

static inline void sw_send(struct sw *w, uint8_t kind, uint32_t call, const struct hm_buf *fields) {
    struct hm_buf out = {0};
    hm_put_u32(&out, (uint32_t)fields->len + 5);
    hm_put_u8(&out, kind);
    hm_put_u32(&out, call);
    hm_buf_str(&out, hm_buf_view(fields));
    for (size_t at = 0; at < out.len;) {
        ssize_t n = send(w->fd, out.data + at, out.len - at, MSG_NOSIGNAL);
        if (n <= 0) break; // a dead worker shows when it is read from
        at += (size_t)n;
    }
    hm_buf_free(&out);
}

// False at the end of the stream. The kind of the frame; its fields are left in *rest.
static inline bool sw_receive(struct sw *w, uint8_t *kind, struct hm_reader *rest) {
    char head[4];
    if (recv(w->fd, head, 4, MSG_WAITALL) != 4) return false;
    struct hm_reader r = {head, head + 4, false};
    uint32_t len = hm_get_u32(&r);
    hm_buf_clear(&w->in);
    hm_buf_reserve(&w->in, len);
    for (w->in.len = 0; w->in.len < len;) {
        ssize_t n = recv(w->fd, w->in.data + w->in.len, len - w->in.len, 0);
        if (n <= 0) return false;
        w->in.len += (size_t)n;
    }
    *rest = hm_reader_of(hm_buf_view(&w->in));
    *kind = hm_get_u8(rest);
    hm_get_u32(rest);
    return true;
}

static inline char *sw_take(char **slot, struct hm_str s) {
    free(*slot);
    return *slot = hm_str_dup(s);
}

static inline void sw_show_key(char *out, size_t cap, struct hm_str key) {
    size_t n = 0;
    for (size_t i = 0; i < key.len && n + 5 < cap; i++) {
        unsigned char c = (unsigned char)key.ptr[i];
        n += (size_t)snprintf(out + n, cap - n, c == 0 ? "|" : c >= 32 && c < 127 ? "%c" : "\\%02x", c);
    }
    out[n] = 0;
}

static inline void sw_read_result(struct sw *w, struct hm_reader *r) {
    char low[1100], high[1100];
    w->ok = true;
    sw_take(&w->result, hm_get_str(r));
    hm_get_u64(r);
    hm_get_u8(r);
    size_t at = 0;
    for (uint32_t n = hm_get_u32(r); n && !r->bad; n--) {
        uint8_t space = hm_get_u8(r);
        if (space == 0xff) {
            struct hm_str type = hm_get_str(r), id = hm_get_str(r);
            uint64_t version = hm_get_u64(r);
            if (at < sizeof w->seen - 400)
                at += (size_t)snprintf(w->seen + at, sizeof w->seen - at, "point %.*s %.*s %llu\n",
                                       (int)type.len, type.ptr, (int)id.len, id.ptr,
                                       (unsigned long long)version);
        } else {
            sw_show_key(low, sizeof low, hm_get_str(r));
            sw_show_key(high, sizeof high, hm_get_str(r));
            if (at < sizeof w->seen - 2400)
                at +=
                    (size_t)snprintf(w->seen + at, sizeof w->seen - at, "range %u %s %s\n", space, low, high);
        }
    }
    at = 0;
    for (uint32_t n = hm_get_u32(r); n && !r->bad; n--) {
        uint8_t removed = hm_get_u8(r);
        struct hm_str type = hm_get_str(r), id = hm_get_str(r);
        uint64_t expect = hm_get_u64(r);
        struct hm_str data = hm_get_str(r), audience = hm_get_str(r), members = hm_get_str(r);
        struct hm_buf shown = {0};
        hm_packed_json(audience, &shown);
        hm_packed_json(members, &shown);
        if (at < sizeof w->intents - 2000)
            at += (size_t)snprintf(w->intents + at, sizeof w->intents - at, "%s %.*s %.*s %lld %.*s %s\n",
                                   removed ? "del" : "put", (int)type.len, type.ptr, (int)id.len, id.ptr,
                                   (long long)expect, (int)(data.len < 900 ? data.len : 900), data.ptr,
                                   shown.data);
        hm_buf_free(&shown);
    }
    if (r->bad || r->at != r->end) fail_msg("a result that cannot be read");
}

static inline void sw_answer_unseal(struct sw *w, struct hm_reader *r) {
    struct hm_buf fields = {0};
    struct hm_str type = hm_get_str(r), id = hm_get_str(r), field = hm_get_str(r), why = hm_get_str(r);
    assert_false(r->bad);
    assert_true(type.len && id.len && field.len && why.len);
    w->unseals++;
    bool open = hm_str_eq(why, HM_LIT("to help"));
    hm_put_u8(&fields, open);
    hm_put_str(&fields, open ? HM_LIT("{\"a\":\"secret\"}") : HM_LIT("the key is destroyed"));
    sw_send(w, HM_F_UNSEALED, w->call, &fields);
    hm_buf_free(&fields);
}

// Reads until there is an answer. False: the worker is gone.
static inline bool sw_answer(struct sw *w) {
    uint8_t kind = 0;
    struct hm_reader r;
    w->seen[0] = w->intents[0] = w->logs[0] = 0;
    w->code = HM_OK;
    while (sw_receive(w, &kind, &r)) {
        if (kind == HM_F_RESULT) {
            sw_read_result(w, &r);
            return true;
        }
        if (kind == HM_F_ERROR) {
            w->ok = false;
            w->code = (enum hm_code)(int32_t)hm_get_u32(&r);
            sw_take(&w->message, hm_get_str(&r));
            sw_take(&w->data, hm_get_str(&r));
            assert_false(r.bad);
            return true;
        }
        if (kind == HM_F_UNSEAL) sw_answer_unseal(w, &r);
        if (kind == HM_F_PROGRESS) w->progress = hm_get_f64(&r);
        if (kind == HM_F_LOG) {
            hm_get_u8(&r);
            struct hm_str plugin = hm_get_str(&r), version = hm_get_str(&r), text = hm_get_str(&r);
            size_t len = strlen(w->logs);
            assert_int_equal(version.len, 12);
            snprintf(w->logs + len, sizeof w->logs - len, "%.*s: %.*s\n", (int)plugin.len, plugin.ptr,
                     (int)text.len, text.ptr);
        }
    }
    return false;
}

static inline void sw_post(struct sw *w, const char *method, const char *params, const char *caller,
                           unsigned cpu_ms, uint8_t flags) {
    static const char seed[32] = "0123456789abcdef0123456789abcde";
    struct hm_buf fields = {0};
    hm_put_str(&fields, S(method));
    hm_put_str(&fields, S(params));
    hm_put_str(&fields, S(caller));
    hm_put_u64(&fields, 1788238800000u);
    hm_put_str(&fields, (struct hm_str){seed, 32});
    hm_put_u32(&fields, cpu_ms);
    hm_put_u64(&fields, 64u << 20);
    hm_put_u8(&fields, flags);
    sw_send(w, HM_F_CALL, ++w->call, &fields);
    hm_buf_free(&fields);
}

static inline bool sw_call_as(struct sw *w, const char *method, const char *params, const char *caller,
                              uint8_t flags) {
    sw_post(w, method, params, caller, 200, flags);
    if (!sw_answer(w)) fail_msg("%s: the worker is gone", method);
    return w->ok;
}

// As an administrator; the result must be this.
static inline void sw_gives(struct sw *w, const char *method, const char *params, const char *result) {
    if (!sw_call_as(w, method, params, ADMIN, 0))
        fail_msg("%s: %d %s %s", method, w->code, w->message, w->data);
    assert_string_equal(w->result, result);
}
static inline void sw_fails(struct sw *w, const char *method, const char *params, enum hm_code code,
                            const char *in_data) {
    if (sw_call_as(w, method, params, ADMIN, 0)) fail_msg("%s gives %s", method, w->result);
    if (w->code != code || !strstr(w->data, in_data))
        fail_msg("%s: %d %s %s", method, w->code, w->message, w->data);
}

// The store goes by what the worker declares, as the server would see to: keys of indexes tell of all of it.
static inline void sw_types(struct sw *w) {
    struct hm_json root = fx_json(w->catalogue.data), types;
    struct hm_types *parsed = NULL;
    if (!hm_json_get(root, "types", &types)) fail_msg("a catalogue without types");
    fx_open(&w->f, 0);
    if (!hm_types_parse(types.raw, &parsed, &w->f.err) || !hm_store_set_types(w->f.store, parsed, &w->f.err))
        fail_msg("types: %s", w->f.err.message);
    hm_types_unref(parsed);
    hm_store_close(w->f.store);
    w->f.store = NULL;
}

// True: READY, the catalogue is there. False: REFUSED, and `data` has the list.
static inline bool sw_start(struct sw *w, const char *more_init) {
    int pair[2];
    uint8_t kind = 0;
    struct hm_reader r;
    struct hm_buf fields = {0}, init = {0};
    hm_store_close(w->f.store); // one process has an environment open once, and never across a fork
    w->f.store = NULL;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    w->pid = fork();
    if (w->pid == 0) {
        if (pair[1] == HM_WORKER_FD) {
            fcntl(pair[1], F_SETFD, 0);
        } else {
            dup2(pair[1], HM_WORKER_FD);
        }
        execl("/proc/self/exe", "hamroh", "worker", w->f.dir, (char *)NULL);
        _exit(99);
    }
    close(pair[1]);
    w->fd = pair[0];
    hm_buf_printf(
        &init,
        "{\"institution\":\"school\",\"plugin_dir\":\"%s\",\"zone_minutes\":300,\"limits\":{\"cpu_ms\":200,"
        "\"memory_bytes\":67108864,\"output_bytes\":1048576,\"log_lines\":3}%s%s}",
        w->plugins, more_init[0] ? "," : "", more_init);
    hm_put_str(&fields, hm_buf_view(&init));
    sw_send(w, HM_F_INIT, 0, &fields);
    hm_buf_free(&init);
    hm_buf_free(&fields);
    if (!sw_receive(w, &kind, &r)) fail_msg("the worker did not start");
    struct hm_str text = hm_get_str(&r);
    hm_buf_clear(&w->catalogue);
    hm_buf_str(&w->catalogue, text);
    sw_take(&w->data, text);
    if (kind == HM_F_READY) sw_types(w);
    return kind == HM_F_READY;
}

// Closes the socket; gives what waitpid says.
static inline int sw_stop(struct sw *w) {
    int status = 0;
    close(w->fd);
    w->fd = -1;
    assert_int_equal(waitpid(w->pid, &status, 0), w->pid);
    return status;
}

static inline void sw_free(struct sw *w) {
    if (w->fd >= 0) assert_int_equal(sw_stop(w), 0);
    free(w->result);
    free(w->message);
    free(w->data);
    hm_buf_free(&w->in);
    hm_buf_free(&w->catalogue);
    fx_free(&w->f);
}

// main of a test program: itself, or the worker that it started.
#define SCRIPT_MAIN(tests)                                                                                   \
    int main(int argc, char **argv) {                                                                        \
        if (argc > 1 && strcmp(argv[1], "worker") == 0) return hm_worker_main(argc, argv);                   \
        return cmocka_run_group_tests(tests, NULL, NULL);                                                    \
    }
