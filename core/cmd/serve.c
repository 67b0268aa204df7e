// `hamroh serve`: settings, loop, engine, network, signals, the service manager, and a graceful end. What
// always holds: what was acknowledged is committed before the process leaves, whichever signal came; a
// settings file that is wrong when it is read again changes nothing.
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "cmd/cmd.h"
#include "cmd/service.h"
#include "cmd/settings.h"
#include <ev.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define READY_EVERY_S 0.02
#define READY_MAX_S 8.0 // then the address is printed although a worker is missing (a plugin does not load)
#define STOP_S 10       // beyond drain_seconds, for what is committed and closed at the end

struct overrides { // of the command line over the settings file; NULL: none
    const char *config, *listen, *watch, *plugins, *web, *institution;
};

struct serving {
    struct ev_loop *loop;
    struct hm_engine *engine;
    struct hm_net *net;
    const char *data;
    struct overrides overrides;
    struct hm_settings settings;
    struct hm_sockets sockets;
    struct ev_signal term, interrupt, hangup;
    struct ev_timer ready, drain, watchdog;
    double waited_s;
    bool stopping, is_ready;
    uint64_t stopping_us;
};

static void say_address(struct serving *s) {
    char host[sizeof s->settings.listen];
    memcpy(host, s->settings.listen, sizeof host);
    char *colon = strrchr(host, ':');
    if (colon) *colon = '\0';
    bool any = strcmp(host, "0.0.0.0") == 0 || strcmp(host, "[::]") == 0 || s->sockets.count;
    // The port may have been chosen by the system.
    printf("hamroh is serving http%s://%s:%u/\n", s->settings.tls_certificate[0] ? "s" : "",
           any ? "127.0.0.1" : host, hm_net_port(s->net));
    fflush(stdout);
    s->is_ready = true;
    hm_service_tell("READY=1\nSTATUS=Serving on port %u", hm_net_port(s->net));
}

// The address is told when the first call will find a worker.
static void on_ready_timer(struct ev_loop *loop, struct ev_timer *timer, int events) {
    struct serving *s = timer->data;
    (void)events;
    s->waited_s += READY_EVERY_S;
    bool ready = hm_engine_warm(s->engine);
    if (!ready && s->waited_s < READY_MAX_S) return;
    if (!ready) hm_log(HM_WARN, "server.not_ready", "\"note\":\"an institution has no worker yet\"");
    ev_timer_stop(loop, timer);
    say_address(s);
}

// That this runs shows that the loop turns; what it asks is whether the disk answers.
static void on_watchdog(struct ev_loop *loop, struct ev_timer *timer, int events) {
    struct serving *s = timer->data;
    uint64_t commit_us = hm_engine_commit_us(s->engine);
    (void)loop, (void)events;
    if (commit_us < hm_service_watchdog_us())
        hm_service_tell("WATCHDOG=1");
    else
        hm_log(HM_ERROR, "server.commit_stuck", "\"seconds\":%llu", (unsigned long long)commit_us / 1000000);
}

// ---- the end --------------------------------------------------------------------------------------------

static void on_drain_limit(struct ev_loop *loop, struct ev_timer *timer, int events) {
    struct serving *s = timer->data;
    (void)events;
    hm_log(HM_WARN, "server.drain_limit", "\"seconds\":%u", s->settings.drain_seconds);
    ev_break(loop, EVBREAK_ALL);
}

static void drained(void *arg) {
    struct serving *s = arg;
    hm_log(HM_INFO, "server.drained", "\"ms\":%llu",
           (unsigned long long)(hm_mono_us() - s->stopping_us) / 1000);
    ev_break(s->loop, EVBREAK_ALL);
}

static void on_signal(struct ev_loop *loop, struct ev_signal *watcher, int events) {
    struct serving *s = watcher->data;
    (void)events;
    if (s->stopping) {
        ev_break(loop, EVBREAK_ALL);
        return;
    }
    unsigned limit_s = s->settings.drain_seconds;
    s->stopping = true;
    s->stopping_us = hm_mono_us();
    hm_log(HM_INFO, "server.stopping", "\"signal\":%d", watcher->signum);
    hm_service_tell("STOPPING=1\nSTATUS=Ending what is under way\nEXTEND_TIMEOUT_USEC=%llu",
                    (limit_s + STOP_S) * 1000000ull);
    ev_timer_stop(loop, &s->ready);
    ev_timer_set(&s->drain, limit_s, 0);
    ev_timer_start(loop, &s->drain);
    hm_net_drain(s->net, drained, s);
}

static void many_files(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

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
static bool read_settings(struct hm_settings *s, const char *data, const struct overrides *o,
                          struct hm_buf *problems) {
    struct hm_buf own = {0};
    hm_buf_printf(&own, "%s/settings.lua", data);
    const char *file = o->config ? o->config : access(own.data, F_OK) == 0 ? own.data : NULL;
    hm_settings_defaults(s);
    bool ok = !file || hm_settings_read(file, s, problems);
    ok = put_text(o->listen, s->listen, sizeof s->listen, problems) && ok;
    ok = put_text(o->institution, s->watch_institution, sizeof s->watch_institution, problems) && ok;
    ok = put_folder(o->watch, s->watch_dir, sizeof s->watch_dir, problems) && ok;
    ok = put_folder(o->plugins, s->plugin_dir, sizeof s->plugin_dir, problems) && ok;
    ok = put_folder(o->web, s->web_dir, sizeof s->web_dir, problems) && ok;
    ok = ok && hm_settings_check(s, problems);
    if (ok) log_notes(s);
    hm_buf_free(&own);
    return ok;
}

static bool take_settings(struct hm_settings *s, const char *data, const struct overrides *o) {
    struct hm_buf problems = {0};
    bool ok = read_settings(s, data, o, &problems);
    if (!ok) fprintf(stderr, "hamroh serve: the settings are not usable:\n%s", problems.data);
    if (ok) hm_log_level((enum hm_level)s->log_level);
    hm_buf_free(&problems);
    return ok;
}

// ---- SIGHUP ---------------------------------------------------------------------------------------------

// Each problem is a line of the log; what serves goes on as it was.
static void log_problems(const struct hm_buf *problems) {
    char *rest = problems->data, *line;
    while (rest && (line = strsep(&rest, "\n"))) {
        struct hm_buf text = {0};
        if (!*line) continue;
        hm_json_put_str(&text, hm_str_of(line));
        hm_log(HM_ERROR, "settings.problem", "\"text\":%s", text.data);
        hm_buf_free(&text);
    }
}

static void reload_settings(struct serving *s) {
    struct hm_settings fresh, now;
    struct hm_buf problems = {0}, taken = {0}, waiting = {0};
    if (read_settings(&fresh, s->data, &s->overrides, &problems)) {
        hm_settings_change(&s->settings, &fresh, &now, &taken, &waiting);
        s->settings = now;
        hm_engine_settings_set(s->engine, &now);
        hm_log_level((enum hm_level)now.log_level);
        hm_log(waiting.len ? HM_WARN : HM_INFO, "settings.reloaded", "\"taken\":[%s],\"needs_restart\":[%s]",
               taken.len ? taken.data : "", waiting.len ? waiting.data : "");
    } else {
        log_problems(&problems);
    }
    hm_buf_free(&problems);
    hm_buf_free(&taken);
    hm_buf_free(&waiting);
}

static void on_hangup(struct ev_loop *loop, struct ev_signal *watcher, int events) {
    struct serving *s = watcher->data;
    struct hm_error err = {0};
    (void)loop, (void)events;
    if (!s->is_ready || s->stopping) return;
    hm_service_tell("RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)hm_mono_us());
    reload_settings(s);
    if (!hm_net_reload(s->net, &err)) {
        struct hm_buf text = {0};
        hm_json_put_str(&text, hm_str_of(err.message));
        hm_log(HM_ERROR, "net.not_reloaded", "\"text\":%s", text.data);
        hm_buf_free(&text);
    }
    hm_service_tell("READY=1");
}

// ---- serving --------------------------------------------------------------------------------------------

static void watch_signal(struct serving *s, struct ev_signal *watcher, int signal,
                         void (*fn)(struct ev_loop *loop, struct ev_signal *watcher, int events)) {
    ev_signal_init(watcher, fn, signal);
    watcher->data = s;
    ev_signal_start(s->loop, watcher);
}

static void start_watchers(struct serving *s, bool control_only) {
    watch_signal(s, &s->term, SIGTERM, on_signal);
    watch_signal(s, &s->interrupt, SIGINT, on_signal);
    if (!control_only) watch_signal(s, &s->hangup, SIGHUP, on_hangup);
    ev_timer_init(&s->ready, on_ready_timer, 0, READY_EVERY_S);
    ev_timer_init(&s->drain, on_drain_limit, 0, 0);
    double half_s = (double)hm_service_watchdog_us() / 2e6;
    ev_timer_init(&s->watchdog, on_watchdog, half_s, half_s);
    s->ready.data = s->drain.data = s->watchdog.data = s;
}

// The address of a socket that somebody else opened is not ours to judge, and trials need none.
static bool take_sockets(struct serving *s, struct hm_error *err) {
    if (!hm_service_sockets(&s->sockets, err)) return false;
    return !s->sockets.count || !s->settings.clock_manual ||
           hm_fail(err, HM_UNAVAILABLE,
                   "clock: \"manual\" is not for a service whose sockets are handed to it");
}

static int serve(struct serving *s, bool control_only) {
    struct hm_error err = {0};
    int code = HM_EXIT_FAILED;
    // Not the default loop: that one waits for children of its own accord, and the engine wants to know how
    // its workers ended.
    s->loop = ev_loop_new(EVFLAG_AUTO);
    if (!s->loop) return hm_complain(code, "serve", "there is no event loop");
    start_watchers(s, control_only); // before anything takes long: an early signal, too, ends in order
    struct hm_engine_options options = {.data_dir = s->data, .settings = &s->settings, .loop = s->loop};
    if (!take_sockets(s, &err) || !hm_engine_open(&options, &s->engine, &err) ||
        !hm_net_open(s->engine, s->loop, s->data, control_only, &s->sockets, &s->net, &err)) {
        hm_complain(code, "serve", "%s", err.message);
        goto out;
    }
    if (!control_only) ev_timer_start(s->loop, &s->ready);
    if (hm_service_watchdog_us()) ev_timer_start(s->loop, &s->watchdog);
    ev_run(s->loop, 0);
    code = HM_EXIT_DONE;
out:
    if (s->net) hm_net_close(s->net);
    hm_engine_close(s->engine);
    ev_loop_destroy(s->loop);
    return code;
}

int hm_cmd_serve(int argc, char **argv) {
    struct serving *s = hm_alloc(sizeof *s);
    struct overrides *o = &s->overrides;
    bool control_only = false;
    const struct hm_option options[] = {
        {"--data", &s->data, NULL, true},
        {"--listen", &o->listen, NULL, false},
        {"--config", &o->config, NULL, false},
        {"--watch", &o->watch, NULL, false},
        {"--institution", &o->institution, NULL, false},
        {"--plugins", &o->plugins, NULL, false},
        {"--web", &o->web, NULL, false},
        {"--control-only", NULL, &control_only, false},
        {0},
    };
    int count, code = HM_EXIT_USAGE;
    char **words;
    hm_service_begin();
    if (hm_options(argc, argv, options, false, &count, &words) && hm_words_count(argv[0], count, 0, 0) &&
        take_settings(&s->settings, s->data, o)) {
        signal(SIGPIPE, SIG_IGN);
        many_files();
        code = serve(s, control_only);
    }
    free(s);
    return code;
}
