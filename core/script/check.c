// Trying plugin files offline. One thread, its own process.
#include "script/check.h"
#include "script/host.h"
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define GIVEN_MAX 200u
#define DEADLINE_S "600" // all shipped plugins together take seconds, under a sanitizer a minute

struct check {
    const char *plugin_dir;
    bool all, failed;
    bool lint, json, tap; // without tests; output for programs; the tests as TAP
    unsigned errors, warnings, tests;
    struct hm_buf errors_json, warnings_json, tests_json;
    char *given[GIVEN_MAX], *named[GIVEN_MAX]; // files as they were given, and as the host names them
    unsigned given_count;
};

// "services/pair.lua" and its kind, from the last two parts of a path.
static const char *place_of(const char *path, char file[128]) {
    char folder[64];
    const char *name = strrchr(path, '/');
    if (!name) return NULL;
    const char *begin = name;
    while (begin > path && begin[-1] != '/')
        begin--;
    snprintf(folder, sizeof folder, "%.*s", (int)(name - begin < 63 ? name - begin : 63), begin);
    const char *kind = hm_kind_of(folder);
    if (kind) snprintf(file, 128, "%.60s/%.60s", hm_kind_folder(kind), name + 1);
    return kind;
}

// The file is one of the shipped ones: then that one is tried; else it lies over them.
static bool add_file(struct hm_host *host, struct check *c, const char *path, struct hm_error *err) {
    char real[PATH_MAX], shipped[PATH_MAX], other[PATH_MAX], file[128];
    struct hm_buf text = {0};
    if (!realpath(path, real)) return hm_fail(err, HM_NOT_FOUND, "%s: there is no such file", path);
    const char *kind = place_of(real, file);
    if (!kind)
        return hm_fail(
            err, HM_PARAMS,
            "%s: a plugin lies in a folder named services, matchers, activities, questionnaires or reports",
            path);
    if (c->given_count < GIVEN_MAX) {
        c->given[c->given_count] = hm_strdup(path);
        c->named[c->given_count++] = hm_strdup(file);
    }
    for (size_t i = 0; i < host->sources.count; i++) {
        snprintf(shipped, sizeof shipped, "%s/%s", c->plugin_dir, host->sources.list[i].file);
        if (!realpath(shipped, other) || strcmp(real, other) != 0) continue;
        host->sources.list[i].candidate = true;
        return true;
    }
    if (!hm_read_file(path, 1u << 20, &text, err)) return false;
    hm_sources_add(&host->sources, kind, "", file, "institution", hm_buf_view(&text))->candidate = true;
    hm_buf_free(&text);
    return true;
}

// An editor finds a file under the name that it was given with.
static const char *shown_file(const struct check *c, const char *file) {
    for (unsigned i = 0; i < c->given_count; i++)
        if (strcmp(c->named[i], file) == 0) return c->given[i];
    return file[0] ? file : "plugins";
}

static void put_fault(struct check *c, bool error, const char *file, int line, int column,
                      const char *message) {
    struct hm_buf *list = error ? &c->errors_json : &c->warnings_json;
    if (error)
        c->errors++;
    else
        c->warnings++;
    if (!c->json) {
        printf("%s%s:%d:", c->tap ? "# " : "", shown_file(c, file), line);
        if (column) printf("%d:", column);
        printf(" %s%s\n", error ? "" : "warning: ", message);
        return;
    }
    if (list->len) hm_buf_char(list, ',');
    hm_buf_char(list, '{');
    hm_json_member_str(list, "file", hm_str_of(shown_file(c, file)));
    hm_json_member_int(list, "line", line);
    if (column) hm_json_member_int(list, "column", column);
    hm_json_member_str(list, "message", hm_str_of(message));
    hm_buf_char(list, '}');
}

static void put_faults(struct check *c, bool error, struct hm_json all, const struct hm_host *host) {
    struct hm_json_iter it = hm_json_iter(all);
    struct hm_json item, value;
    while (hm_json_next(&it, NULL, &item)) {
        char file[160] = "", message[1200] = "";
        int64_t line = 0, column = 0;
        bool asked = error || c->all;
        hm_json_get_text(item, "file", file, sizeof file);
        hm_json_get_text(item, "message", message, sizeof message);
        if (hm_json_get(item, "line", &value)) hm_json_int(value, &line);
        if (hm_json_get(item, "column", &value)) hm_json_int(value, &column);
        for (size_t i = 0; i < host->sources.count && !asked; i++)
            asked = host->sources.list[i].candidate && strcmp(host->sources.list[i].file, file) == 0;
        if (asked) put_fault(c, error, file, (int)line, (int)column, message);
    }
}

static void put_problems(struct check *c, const struct hm_host *host) {
    struct hm_buf list = {0};
    struct hm_json all;
    hm_buf_char(&list, '[');
    hm_buf_str(&list, hm_buf_view(&host->problems));
    hm_buf_char(&list, ']');
    if (hm_json_parse(hm_buf_view(&list), &all, NULL)) put_faults(c, true, all, host);
    hm_buf_free(&list);
}

static void put_warnings(struct check *c, const struct hm_host *host) {
    struct hm_json catalogue, all;
    if (hm_json_parse(hm_buf_view(&host->catalogue), &catalogue, NULL) &&
        hm_json_get(catalogue, "warnings", &all))
        put_faults(c, false, all, host);
}

static void put_unknown(void *arg, struct hm_host *host, const struct hm_source *source, int line, int column,
                        const char *message) {
    (void)host;
    put_fault(arg, true, source->file, line, column, message);
}

static void print_test(void *arg, const struct hm_loaded *plugin, const char *name, uint64_t us,
                       const char *why) {
    struct check *c = arg;
    double ms = (double)(us / 10u) / 100.0;
    c->tests++;
    if (c->json) {
        struct hm_buf *b = &c->tests_json;
        if (b->len) hm_buf_char(b, ',');
        hm_buf_char(b, '{');
        hm_json_member_str(b, "file", hm_str_of(shown_file(c, plugin->source->file)));
        hm_json_member_str(b, "name", hm_str_of(name));
        hm_json_member_raw(b, "ok", why[0] ? HM_LIT("false") : HM_LIT("true"));
        hm_json_key(b, "ms");
        hm_json_put_double(b, ms);
        if (why[0]) hm_json_member_str(b, "message", hm_str_of(why));
        hm_buf_char(b, '}');
    } else if (c->tap) {
        printf("%sok %u - %s: %s # %.2f ms\n", why[0] ? "not " : "", c->tests, plugin->source->file, name,
               ms);
        if (why[0]) printf("# %s\n", why);
    } else {
        printf("  %s %9.2f ms  %s\n", why[0] ? "FAILED" : "      ", ms, name);
    }
}

static void print_one(void *arg, const struct hm_loaded *plugin, unsigned passed, unsigned failed) {
    struct check *c = arg;
    c->failed = c->failed || failed;
    if (c->json || c->tap) return;
    if (failed) {
        printf("not ok %s: %u of %u tests failed\n", plugin->source->file, failed, passed + failed);
    } else {
        printf("ok %s: %u test%s\n", plugin->source->file, passed, passed == 1 ? "" : "s");
    }
}

static const char *default_dir(void) {
#ifdef HAMROH_SOURCE_DIR
    return HAMROH_SOURCE_DIR "/plugins";
#else
    return "plugins";
#endif
}

// The limit of time of a call is no limit where Lua stays in C, as in a pattern; a live worker is then killed
// by the server. Here nobody watches, so an alarm does.
static void too_long(int signal) {
    static const char text[] = "hamroh: the check took too long and was ended; what comes behind the last "
                               "line above does not end by "
                               "itself (a pattern with many - or *?). --deadline SECONDS gives it longer.\n";
    (void)signal;
    ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
    _exit(written < 0 ? 3 : 2);
}

static bool set_deadline(const char *seconds, struct hm_error *err) {
    struct sigaction action = {.sa_handler = too_long};
    char *end = NULL;
    unsigned long n = strtoul(seconds, &end, 10);
    if (!*seconds || *end || n == 0 || n > 86400)
        return hm_fail(err, HM_PARAMS, "--deadline takes a number of seconds from 1 to 86400, not %s",
                       seconds);
    if (sigaction(SIGALRM, &action, NULL) != 0) return hm_fail(err, HM_INTERNAL, "no alarm: error %d", errno);
    alarm((unsigned)n);
    return true;
}

static void put_json(const struct check *c, bool ok) {
    struct hm_buf out = {0};
    hm_buf_char(&out, '{');
    hm_json_member_raw(&out, "ok", ok ? HM_LIT("true") : HM_LIT("false"));
    const struct hm_buf *lists[] = {&c->errors_json, &c->warnings_json, &c->tests_json};
    static const char *const names[] = {"errors", "warnings", "tests"};
    for (size_t i = 0; i < (c->lint ? 2 : 3); i++) {
        hm_json_key(&out, names[i]);
        hm_buf_char(&out, '[');
        hm_buf_str(&out, hm_buf_view(lists[i]));
        hm_buf_char(&out, ']');
    }
    hm_buf_text(&out, "}\n");
    fwrite(out.data, 1, out.len, stdout);
    hm_buf_free(&out);
}

static bool try_all(struct hm_host *host, struct check *c) {
    bool ok = hm_host_load(host);
    hm_host_lint(host, c->all, put_unknown, c); // also of what does not load: all that is wrong at once
    ok = ok && !(c->lint && c->errors);
    if (host->open) put_warnings(c, host);
    if (ok && !c->lint) {
        host->test_told = print_test;
        host->test_arg = c;
        ok = hm_host_test(host, c->all, print_one, c);
    }
    put_problems(c, host);
    if (c->tap) printf("1..%u\n", c->tests);
    return ok && !c->errors;
}

static void check_free(struct check *c) {
    for (unsigned i = 0; i < c->given_count; i++) {
        free(c->given[i]);
        free(c->named[i]);
    }
    hm_buf_free(&c->errors_json);
    hm_buf_free(&c->warnings_json);
    hm_buf_free(&c->tests_json);
}

int hm_check_main(int argc, char **argv) {
    struct hm_host *host = hm_alloc(sizeof *host);
    struct check c = {.plugin_dir = default_dir(), .all = true};
    struct hm_error err = {0};
    const char *deadline = DEADLINE_S;
    for (int i = 0; i < argc; i++) {
        if (i + 1 < argc && strcmp(argv[i], "--plugins") == 0) c.plugin_dir = argv[++i];
        if (i + 1 < argc && strcmp(argv[i], "--deadline") == 0) deadline = argv[++i];
        if (strcmp(argv[i], "--lint") == 0) c.lint = true;
        if (strcmp(argv[i], "--json") == 0) c.json = true;
        if (strcmp(argv[i], "--tap") == 0) c.tap = true;
    }
    c.tap = c.tap && !c.json && !c.lint;
    host->zone_minutes = 300;
    host->limits = (struct hm_limits){
        .cpu_ms = 200, .memory_bytes = 64u << 20, .output_bytes = 1u << 20, .log_lines = 100};
    snprintf(host->institution, sizeof host->institution, "check");
    bool ok = set_deadline(deadline, &err) && hm_sources_read_shipped(&host->sources, c.plugin_dir, &err);
    for (int i = 0; i < argc && ok; i++) {
        if (strcmp(argv[i], "--plugins") == 0 || strcmp(argv[i], "--deadline") == 0) {
            i++;
            continue;
        }
        if (strcmp(argv[i], "--lint") == 0 || strcmp(argv[i], "--json") == 0 || strcmp(argv[i], "--tap") == 0)
            continue;
        c.all = false;
        ok = add_file(host, &c, argv[i], &err);
    }
    ok = ok && hm_sandbox_start(&err) && hm_confine_begin(-1, true, &err);
    static char buffer[4096]; // its own buffer: the library would ask the kernel about the descriptor
    setvbuf(stdout, buffer, _IOLBF, sizeof buffer);
    ok = ok && hm_confine(&err);
    if (!ok) {
        fprintf(stderr, "hamroh: %s\n", err.message);
    } else {
        if (c.tap) printf("TAP version 13\n");
        ok = try_all(host, &c);
        if (c.json) put_json(&c, ok);
    }
    fflush(stdout);
    hm_host_free(host);
    check_free(&c);
    return ok ? 0 : 1;
}
