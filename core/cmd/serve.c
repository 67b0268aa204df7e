// `hamroh serve`: settings, loop, engine, network, and a graceful end. What always holds: what was
// acknowledged is committed before the process leaves, whichever signal came.
#include "base/json.h"
#include "base/log.h"
#include "cmd/cmd.h"
#include "cmd/settings.h"
#include "net/net.h"
#include <ev.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define READY_EVERY_S 0.02
#define READY_MAX_S 8.0 // then the address is printed although a worker is missing (a plugin does not load)
#define DRAIN_MAX_S 20.0

struct serving {
    struct ev_loop *loop;
    struct hm_engine *engine;
    struct hm_net *net;
    struct hm_settings settings;
    struct ev_signal term, interrupt;
    struct ev_timer ready, drain;
    double waited_s;
    bool stopping;
};

static void say_address(const struct serving *s) {
    char host[sizeof s->settings.listen];
    memcpy(host, s->settings.listen, sizeof host);
    char *colon = strrchr(host, ':');
    if (colon) *colon = '\0';
    bool any = strcmp(host, "0.0.0.0") == 0 || strcmp(host, "[::]") == 0;
    // The port may have been chosen by the system.
    printf("hamroh is serving http%s://%s:%u/\n", s->settings.tls_certificate[0] ? "s" : "",
           any ? "127.0.0.1" : host, hm_net_port(s->net));
    fflush(stdout);
}

// The address is told when the first call will find a worker.
static void on_ready_timer(struct ev_loop *loop, struct ev_timer *timer, int events) {
    struct serving *s = timer->data;
    (void)events;
    s->waited_s += READY_EVERY_S;
    bool ready = hm_engine_ready(s->engine);
    if (!ready && s->waited_s < READY_MAX_S) return;
    if (!ready) hm_log(HM_WARN, "server.not_ready", "\"note\":\"an institution has no worker yet\"");
    ev_timer_stop(loop, timer);
    say_address(s);
}

static void on_drain_limit(struct ev_loop *loop, struct ev_timer *timer, int events) {
    (void)timer;
    (void)events;
    hm_log(HM_WARN, "server.drain_limit", "\"seconds\":%d", (int)DRAIN_MAX_S);
    ev_break(loop, EVBREAK_ALL);
}

static void drained(void *arg) {
    struct serving *s = arg;
    ev_break(s->loop, EVBREAK_ALL);
}

static void on_signal(struct ev_loop *loop, struct ev_signal *watcher, int events) {
    struct serving *s = watcher->data;
    (void)events;
    if (s->stopping) {
        ev_break(loop, EVBREAK_ALL);
        return;
    }
    s->stopping = true;
    hm_log(HM_INFO, "server.stopping", "\"signal\":%d", watcher->signum);
    ev_timer_stop(loop, &s->ready);
    ev_timer_start(loop, &s->drain);
    hm_engine_drain(s->engine, drained, s);
}

static void many_files(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

struct overrides { // of the command line over the settings file; NULL: none
    const char *config, *listen, *watch, *plugins, *web, *institution;
};

static bool put_text(const char *value, char *to, size_t size, struct hm_buf *problems) {
    if (!value) return true;
    if (strlen(value) < size) {
        memcpy(to, value, strlen(value) + 1);
        return true;
    }
    hm_buf_printf(problems, "%s: too long\n", value);
    return false;
}

// Folders are kept from the root, so that messages and workers name them whole.
static bool put_folder(const char *value, char *to, size_t size, struct hm_buf *problems) {
    char path[PATH_MAX];
    if (!value) return true;
    if (realpath(value, path)) return put_text(path, to, size, problems);
    hm_buf_printf(problems, "%s: there is no such folder\n", value);
    return false;
}

static void log_notes(const struct hm_settings *s) {
    struct hm_buf notes = {0}, text = {0};
    hm_settings_notes(s, &notes);
    if (notes.len) {
        hm_json_put_str(&text, hm_buf_view(&notes));
        hm_log(HM_WARN, "settings.note", "\"text\":%s", text.data);
    }
    hm_buf_free(&notes);
    hm_buf_free(&text);
}

// Defaults, then the file (DATA/settings.lua when none is named), then the command line.
static bool take_settings(struct hm_settings *s, const char *data, const struct overrides *o) {
    struct hm_buf problems = {0}, own = {0};
    hm_buf_printf(&own, "%s/settings.lua", data);
    const char *file = o->config ? o->config : access(own.data, F_OK) == 0 ? own.data : NULL;
    hm_settings_defaults(s);
    bool ok = !file || hm_settings_read(file, s, &problems);
    ok = put_text(o->listen, s->listen, sizeof s->listen, &problems) && ok;
    ok = put_text(o->institution, s->watch_institution, sizeof s->watch_institution, &problems) && ok;
    ok = put_folder(o->watch, s->watch_dir, sizeof s->watch_dir, &problems) && ok;
    ok = put_folder(o->plugins, s->plugin_dir, sizeof s->plugin_dir, &problems) && ok;
    ok = put_folder(o->web, s->web_dir, sizeof s->web_dir, &problems) && ok;
    ok = ok && hm_settings_check(s, &problems);
    if (!ok) fprintf(stderr, "hamroh serve: the settings are not usable:\n%s", problems.data);
    if (ok) log_notes(s);
    hm_buf_free(&problems);
    hm_buf_free(&own);
    return ok;
}

static void start_watchers(struct serving *s) {
    ev_signal_init(&s->term, on_signal, SIGTERM);
    ev_signal_init(&s->interrupt, on_signal, SIGINT);
    ev_timer_init(&s->ready, on_ready_timer, 0, READY_EVERY_S);
    ev_timer_init(&s->drain, on_drain_limit, DRAIN_MAX_S, 0);
    s->term.data = s->interrupt.data = s->ready.data = s->drain.data = s;
    ev_signal_start(s->loop, &s->term);
    ev_signal_start(s->loop, &s->interrupt);
}

static int serve(struct serving *s, const char *data, bool control_only) {
    struct hm_error err = {0};
    int code = HM_EXIT_FAILED;
    // Not the default loop: that one waits for children of its own accord, and the engine wants to know how
    // its workers ended.
    s->loop = ev_loop_new(EVFLAG_AUTO);
    if (!s->loop) return hm_complain(code, "serve", "there is no event loop");
    start_watchers(s); // before anything takes long: an early signal, too, ends in order
    struct hm_engine_options options = {.data_dir = data, .settings = &s->settings, .loop = s->loop};
    if (!hm_engine_open(&options, &s->engine, &err) ||
        !hm_net_open(s->engine, s->loop, data, control_only, &s->net, &err)) {
        hm_complain(code, "serve", "%s", err.message);
        goto out;
    }
    if (!control_only) ev_timer_start(s->loop, &s->ready);
    ev_run(s->loop, 0);
    code = HM_EXIT_DONE;
out:
    if (s->net) hm_net_close(s->net);
    hm_engine_close(s->engine);
    ev_loop_destroy(s->loop);
    return code;
}

int hm_cmd_serve(int argc, char **argv) {
    const char *data = NULL;
    struct overrides o = {0};
    bool control_only = false;
    const struct hm_option options[] = {
        {"--data", &data, NULL, true},
        {"--listen", &o.listen, NULL, false},
        {"--config", &o.config, NULL, false},
        {"--watch", &o.watch, NULL, false},
        {"--institution", &o.institution, NULL, false},
        {"--plugins", &o.plugins, NULL, false},
        {"--web", &o.web, NULL, false},
        {"--control-only", NULL, &control_only, false},
        {0},
    };
    int count;
    char **words;
    if (!hm_options(argc, argv, options, false, &count, &words)) return HM_EXIT_USAGE;
    if (!hm_words_count(argv[0], count, 0, 0)) return HM_EXIT_USAGE;
    struct serving *s = hm_alloc(sizeof *s);
    int code = HM_EXIT_USAGE;
    if (take_settings(&s->settings, data, &o)) {
        signal(SIGPIPE, SIG_IGN);
        many_files();
        code = serve(s, data, control_only);
    }
    free(s);
    return code;
}
