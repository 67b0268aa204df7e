// `hamroh serve`: settings, loop, engine, network, and a graceful end. What always holds: what was
// acknowledged is committed before the process leaves, whichever signal came.
#include "base/log.h"
#include "cmd/cmd.h"
#include "cmd/settings.h"
#include "net/net.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>

struct serving {
    struct ev_loop *loop;
    struct hm_engine *engine;
    struct ev_signal term, interrupt;
    bool stopping;
};

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
    hm_log(HM_INFO, "server.stopping", "%s", "");
    hm_engine_drain(s->engine, drained, s);
}

static void many_files(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static bool take_settings(struct hm_settings *settings, const char *config, const char *listen,
                          const char *watch, const char *plugins, const char *web) {
    struct {
        const char *value;
        char *to;
        size_t size;
    } overrides[] = {{listen, settings->listen, sizeof settings->listen},
                     {watch, settings->watch_dir, sizeof settings->watch_dir},
                     {plugins, settings->plugin_dir, sizeof settings->plugin_dir},
                     {web, settings->web_dir, sizeof settings->web_dir}};
    struct hm_buf problems = {0};
    hm_settings_defaults(settings);
    bool ok = !config || hm_settings_read(config, settings, &problems);
    for (size_t i = 0; ok && i < sizeof overrides / sizeof overrides[0]; i++) {
        int n =
            overrides[i].value ? snprintf(overrides[i].to, overrides[i].size, "%s", overrides[i].value) : 0;
        if (n < 0 || (size_t)n >= overrides[i].size) {
            hm_buf_printf(&problems, "%s: too long\n", overrides[i].value);
            ok = false;
        }
    }
    if (!ok) fprintf(stderr, "hamroh serve: the settings are not usable:\n%s", problems.data);
    hm_buf_free(&problems);
    return ok;
}

static void watch_signals(struct serving *s) {
    signal(SIGPIPE, SIG_IGN);
    ev_signal_init(&s->term, on_signal, SIGTERM);
    ev_signal_init(&s->interrupt, on_signal, SIGINT);
    s->term.data = s->interrupt.data = s;
    ev_signal_start(s->loop, &s->term);
    ev_signal_start(s->loop, &s->interrupt);
}

int hm_cmd_serve(int argc, char **argv) {
    const char *data = NULL, *listen = NULL, *config = NULL, *watch = NULL, *plugins = NULL, *web = NULL;
    bool control_only = false;
    const struct hm_option options[] = {{"--data", &data, NULL, true},
                                        {"--listen", &listen, NULL, false},
                                        {"--config", &config, NULL, false},
                                        {"--watch", &watch, NULL, false},
                                        {"--plugins", &plugins, NULL, false},
                                        {"--web", &web, NULL, false},
                                        {"--control-only", NULL, &control_only, false},
                                        {0}};
    int count;
    char **words;
    struct hm_settings settings;
    struct serving s = {0};
    struct hm_net *net = NULL;
    struct hm_error err = {0};
    int code = HM_EXIT_FAILED;
    if (!hm_options(argc, argv, options, false, &count, &words)) return HM_EXIT_USAGE;
    if (count) return hm_complain(HM_EXIT_USAGE, argv[0], "there is no place for \"%s\"", words[0]);
    if (!take_settings(&settings, config, listen, watch, plugins, web)) return HM_EXIT_USAGE;
    if (getenv("HAMROH_PARENT")) prctl(PR_SET_PDEATHSIG, SIGTERM); // started by a command for its own time
    many_files();
    s.loop = ev_default_loop(EVFLAG_AUTO);
    struct hm_engine_options engine = {.data_dir = data, .settings = &settings, .loop = s.loop};
    if (!hm_engine_open(&engine, &s.engine, &err)) {
        hm_complain(code, argv[0], "%s", err.message);
        goto out;
    }
    watch_signals(&s);
    if (!hm_net_open(s.engine, s.loop, data, control_only, &net, &err)) {
        hm_complain(code, argv[0], "%s", err.message);
        goto out;
    }
    if (!control_only) {
        // The port may have been chosen by the system.
        char *colon = strrchr(settings.listen, ':');
        if (colon) *colon = '\0';
        printf("hamroh is serving http://%s:%u/\n", settings.listen, hm_net_port(net));
        fflush(stdout);
    }
    ev_run(s.loop, 0);
    code = HM_EXIT_DONE;
out:
    if (net) hm_net_close(net);
    hm_engine_close(s.engine);
    if (s.loop) ev_loop_destroy(s.loop);
    return code;
}
