// Small commands: version, check-config, and the door to the worker process.
#include "cmd/cmd.h"
#include "cmd/settings.h"
#include "script/worker.h"
#include <ev.h>
#include <libwebsockets.h>
#include <lmdb.h>
#include <lua.h>
#include <sodium.h>
#include <stdio.h>

int hm_cmd_version(int argc, char **argv) {
    if (!hm_words_count(argv[0], argc - 1, 0, 0)) return HM_EXIT_USAGE;
    printf("hamroh %s\n%s, %s, libwebsockets %s, libev %d.%d, libsodium %s\n", HAMROH_VERSION, LUA_RELEASE,
           mdb_version(NULL, NULL, NULL), lws_get_library_version(), ev_version_major(), ev_version_minor(),
           sodium_version_string());
    return HM_EXIT_DONE;
}

int hm_cmd_check_config(int argc, char **argv) {
    bool defaults = false;
    const struct hm_option options[] = {{"--defaults", NULL, &defaults, false}, {0}};
    int count;
    char **words;
    if (!hm_options(argc, argv, options, false, &count, &words)) return HM_EXIT_USAGE;
    if (!hm_words_count(argv[0], count, defaults ? 0 : 1, defaults ? 0 : 1)) return HM_EXIT_USAGE;
    struct hm_settings settings;
    struct hm_buf text = {0};
    hm_settings_defaults(&settings);
    if (defaults) {
        hm_settings_write_defaults(&text);
        fwrite(text.data, 1, text.len, stdout);
        hm_buf_free(&text);
        return HM_EXIT_DONE;
    }
    bool ok = hm_settings_read(words[0], &settings, &text);
    ok = hm_settings_check(&settings, &text) && ok;
    if (ok) {
        printf("%s: everything is right.\n", words[0]);
        hm_settings_notes(&settings, &text);
    }
    if (text.len) fwrite(text.data, 1, text.len, stderr);
    hm_buf_free(&text);
    return ok ? HM_EXIT_DONE : HM_EXIT_FAILED;
}

int hm_cmd_worker(int argc, char **argv) {
    return hm_worker_main(argc, argv);
}
