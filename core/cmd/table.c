// The rows of the command line: names, one-line summaries, help texts.
#include "cmd/cmd.h"

static const char init_help[] =
    "hamroh init --data DIR\n\n"
    "Makes a new cluster in DIR: its key file, its store, and an invitation for the\n"
    "first administrator, whose code is printed once. Keep DIR/server.key safe and\n"
    "apart: without it nothing sealed can be read again.\n";
static const char serve_help[] =
    "hamroh serve --data DIR [--listen ADDRESS:PORT] [--config FILE]\n"
    "             [--watch DIR [--institution ID]] [--plugins DIR] [--web DIR]\n"
    "             [--control-only]\n\n"
    "Serves until it gets SIGTERM or SIGINT, then lets running calls end (for at most\n"
    "drain_seconds); a second signal ends at once. SIGHUP reads settings and\n"
    "certificates again. Under systemd it serves the sockets that are handed to it.\n"
    "  --listen        overrides the settings (127.0.0.1:8080; port 0 takes a free one)\n"
    "  --config        settings file; else DIR/settings.lua, if it is there\n"
    "  --watch         for authors: the plugins in this folder serve as the layer of\n"
    "                  every institution, or of --institution, and are loaded again\n"
    "                  as files change\n"
    "  --plugins --web other folders than those the program finds by itself\n"
    "  --control-only  no network, only DIR/control.sock for commands on this machine\n";
static const char run_help[] = "hamroh run --data DIR [--institution ID] [--seed N] SCRIPT.lua [ARGS…]\n\n"
                               "The script calls the server's methods as any client does:\n"
                               "  call(method, params, {as = token, institution = id})\n"
                               "      result, or nil and {code, message, data}\n"
                               "  must(method, params, options)   result, or the script ends with the error\n"
                               "  wait_job(id, options)           data of the job once it has ended\n"
                               "  args                            the words behind SCRIPT.lua\n"
                               "  random(), random(n)             the same numbers for the same --seed (1)\n"
                               "  read_file(path)                 from the script's folder\n"
                               "  json.encode, json.decode, json.array, json.null, hash_password, time_ms\n"
                               "When nobody serves DIR, the engine is started for the time of the script.\n";
static const char import_help[] =
    "hamroh import --data DIR --institution ID [--map FILE] [--apply] FILE\n\n"
    "Shows what would be taken, changed and passed over, with line numbers; with\n"
    "--apply, does it. FILE may be UTF-8, UTF-16 or Windows-1251, with ; , or tab.\n"
    "--map names a JSON file that says what each column means (plugins/lib/roster.lua\n"
    "describes it); without it, columns named like name, external_id, group, faculty,\n"
    "year, gender, gpa, in the languages of the product, are taken as such.\n";
static const char plugin_help[] =
    "hamroh plugin new KIND NAME [--to DIR]     a file that loads and passes its test\n"
    "hamroh plugin test FILE|FOLDER… [--plugins DIR]\n"
    "      load them over the shipped ones and run their tests; needs no data folder\n"
    "hamroh plugin check FILE…\n"
    "      the same; with --data and --institution, over what is in force there\n"
    "hamroh plugin ACTION --data DIR --institution ID …\n"
    "  list                         what is in force, and from which layer\n"
    "  get KIND ID [VERSION]        the source in force, or of a version\n"
    "  push FILE… [--note TEXT]     check, test, then replace the one in force\n"
    "  history KIND ID              its versions, the newest first; * is in force\n"
    "  diff KIND ID                 the version before, and the one in force\n"
    "  diff KIND ID FILE            the one in force, and a file\n"
    "  diff KIND ID VERSION [VERSION]\n"
    "  rollback KIND ID [VERSION]   back to an earlier version, or to the shipped one\n"
    "KIND is service, matcher, activity, questionnaire or report; the folder of a\n"
    "FILE (matchers/…) says its kind.\n";
static const char backup_help[] =
    "hamroh backup --data DIR --to NEW_DIR\n\n"
    "A consistent copy of every institution with checksums, also while it is served.\n"
    "The server's key is not in it: whoever has both can read everything.\n";
static const char restore_help[] =
    "hamroh restore --from BACKUP_DIR --key FILE --data NEW_DIR\n\n"
    "Checks every file of the copy, then makes a new data folder of it. FILE is the\n"
    "server.key of the folder that was copied.\n";
static const char verify_help[] =
    "hamroh verify --data DIR\n\n"
    "Recomputes the chain of the change log and checks every record and index entry\n"
    "of every institution. The folder must not be served meanwhile. Exit code 1 when\n"
    "a fault is found; it is named.\n";
static const char check_config_help[] =
    "hamroh check-config FILE\n"
    "hamroh check-config --defaults\n\n"
    "Names every problem of a settings file, each with what the setting takes; or\n"
    "prints a commented file with all settings and their defaults.\n";

const struct hm_command hm_commands[] = {
    {"init", "make a new data folder", init_help, hm_cmd_init},
    {"serve", "serve a data folder", serve_help, hm_cmd_serve},
    {"run", "run a Lua script with an administrator's rights", run_help, hm_cmd_run},
    {"import", "import a roster from a CSV file", import_help, hm_cmd_import},
    {"plugin", "make, try, deploy and take back plugins", plugin_help, hm_cmd_plugin},
    {"backup", "copy a data folder while it is served", backup_help, hm_cmd_backup},
    {"restore", "lay a copy as a new data folder", restore_help, hm_cmd_restore},
    {"verify", "check a data folder", verify_help, hm_cmd_verify},
    {"check-config", "check a settings file, or print one", check_config_help, hm_cmd_check_config},
    {"version", "print the version", "hamroh version\n", hm_cmd_version},
    {"worker", NULL, "hamroh worker: started by the server itself.\n", hm_cmd_worker},
    {0},
};
