// Trying plugin files offline. One thread, its own process.
#include "script/check.h"
#include "script/host.h"
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DEADLINE_S "600" // all shipped plugins together take seconds, under a sanitizer a minute

struct check {
    const char *plugin_dir;
    bool all, failed;
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
static bool add_file(struct hm_host *host, const struct check *c, const char *path, struct hm_error *err) {
    char real[PATH_MAX], shipped[PATH_MAX], other[PATH_MAX], file[128];
    struct hm_buf text = {0};
    if (!realpath(path, real)) return hm_fail(err, HM_NOT_FOUND, "%s: there is no such file", path);
    const char *kind = place_of(real, file);
    if (!kind)
        return hm_fail(
            err, HM_PARAMS,
            "%s: a plugin lies in a folder named services, matchers, activities, questionnaires or reports",
            path);
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

static void print_problems(const struct hm_host *host) {
    struct hm_buf list = {0};
    struct hm_json all, item;
    hm_buf_char(&list, '[');
    hm_buf_str(&list, hm_buf_view(&host->problems));
    hm_buf_char(&list, ']');
    if (hm_json_parse(hm_buf_view(&list), &all, NULL)) {
        struct hm_json_iter it = hm_json_iter(all);
        while (hm_json_next(&it, NULL, &item)) {
            char file[160] = "", message[1200] = "";
            struct hm_json line_value;
            int64_t line = 0;
            hm_json_get_text(item, "file", file, sizeof file);
            hm_json_get_text(item, "message", message, sizeof message);
            if (hm_json_get(item, "line", &line_value)) hm_json_int(line_value, &line);
            printf("%s:%lld: %s\n", file[0] ? file : "plugins", (long long)line, message);
        }
    }
    hm_buf_free(&list);
}

static void print_warnings(const struct hm_host *host, const struct check *c) {
    struct hm_json catalogue, all, item;
    if (!hm_json_parse(hm_buf_view(&host->catalogue), &catalogue, NULL) ||
        !hm_json_get(catalogue, "warnings", &all))
        return;
    struct hm_json_iter it = hm_json_iter(all);
    while (hm_json_next(&it, NULL, &item)) {
        char file[160] = "", message[400] = "";
        bool asked = c->all;
        hm_json_get_text(item, "file", file, sizeof file);
        hm_json_get_text(item, "message", message, sizeof message);
        for (size_t i = 0; i < host->sources.count; i++)
            asked =
                asked || (host->sources.list[i].candidate && strcmp(host->sources.list[i].file, file) == 0);
        if (asked) printf("%s: warning: %s\n", file, message);
    }
}

static void print_one(void *arg, const struct hm_loaded *plugin, unsigned passed, unsigned failed) {
    struct check *c = arg;
    c->failed = c->failed || failed;
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

int hm_check_main(int argc, char **argv) {
    struct hm_host *host = hm_alloc(sizeof *host);
    struct check c = {default_dir(), true, false};
    struct hm_error err = {0};
    const char *deadline = DEADLINE_S;
    for (int i = 0; i + 1 < argc; i++) {
        if (strcmp(argv[i], "--plugins") == 0) c.plugin_dir = argv[++i];
        if (strcmp(argv[i], "--deadline") == 0) deadline = argv[++i];
    }
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
        ok = hm_host_load(host);
        if (ok) {
            print_warnings(host, &c);
            ok = hm_host_test(host, c.all, print_one, &c);
        }
        if (!ok) print_problems(host);
    }
    fflush(stdout);
    hm_host_free(host);
    return ok ? 0 : 1;
}
