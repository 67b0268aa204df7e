// The rows of the command line: names, one-line summaries, help texts.
#include "cmd/cmd.h"

const struct hm_command hm_commands[] = {
    {"init", "make a new data folder",
     "hamroh init --data DIR\n\n"
     "Makes a new cluster in DIR: its key file, its store, and an invitation for the first administrator, "
     "whose\n"
     "code is printed once. Keep DIR/server.key safe and apart: without it nothing sealed can be read "
     "again.\n",
     hm_cmd_init, false},
    {"serve", "serve a data folder",
     "hamroh serve --data DIR [--listen ADDRESS:PORT] [--config FILE] [--watch DIR]\n"
     "             [--plugins DIR] [--web DIR] [--control-only]\n\n"
     "Serves until it gets SIGTERM or SIGINT, then lets running calls end; a second signal ends at once.\n"
     "  --listen        overrides the settings file (127.0.0.1:8080; port 0 takes a free one)\n"
     "  --config        settings; see hamroh check-config\n"
     "  --watch         for authors: the plugins in this folder replace the institution's, reloaded as files "
     "change\n"
     "  --plugins --web other folders than those the program finds by itself\n"
     "  --control-only  no network, only DIR/control.sock for commands on this machine\n",
     hm_cmd_serve, false},
    {"run", "run a Lua script with an administrator's rights",
     "hamroh run --data DIR [--institution ID] [--seed N] SCRIPT.lua [ARGS…]\n\n"
     "The script calls the server's methods as any client does:\n"
     "  call(method, params, {as=token, institution=id})  result, or nil and {code, message, data}\n"
     "  must(method, params, options)                     result, or the script ends with the error\n"
     "  wait_job(id)                                      data of the job when it has ended well\n"
     "  args, random(n), uuid-free time_ms(), hash_password(text), read_file(path), json.encode, "
     "json.decode\n"
     "When nobody serves DIR, the engine is started for the time of the script.\n",
     hm_cmd_run, false},
    {"import", "import a roster from a CSV file",
     "hamroh import --data DIR --institution ID [--map FILE] [--apply] FILE\n\n"
     "Shows what would be taken, changed and skipped, with line numbers; with --apply, does it. FILE may be "
     "UTF-8,\n"
     "UTF-16 or Windows-1251, with ; , or tab. --map names a JSON file that says which column is what; "
     "without it\n"
     "columns named name, external_id, group, faculty, year, gender, gpa are taken as such.\n",
     hm_cmd_import, false},
    {"plugin", "look at, check, deploy and take back plugins",
     "hamroh plugin new KIND NAME                      a file that loads and passes its test\n"
     "hamroh plugin test FILE…                         load files and run their tests, without a data "
     "folder\n"
     "hamroh plugin list|get|check|push|history|diff|rollback --data DIR --institution ID …\n\n"
     "  list                                  what is in force, and from which layer\n"
     "  get KIND ID                           the source in force\n"
     "  check FILE                            load the file as this institution would, tell every problem\n"
     "  push FILE [--note TEXT]               check, test, then replace the one in force\n"
     "  history KIND ID                       its versions\n"
     "  diff KIND ID VERSION [VERSION]        what changed (against the one in force)\n"
     "  rollback KIND ID [VERSION]            back to an earlier version, or to the shipped one\n"
     "KIND is services, matchers, activities, questionnaires or reports; a FILE's folder says its kind.\n",
     hm_cmd_plugin, false},
    {"backup", "copy a data folder while it is served",
     "hamroh backup --data DIR --to NEW_DIR\n\n"
     "A consistent, checksummed copy of every institution, while serving. The server's key is not in it.\n",
     hm_cmd_backup, false},
    {"restore", "lay a backup as a new data folder",
     "hamroh restore --from BACKUP_DIR --key FILE --data NEW_DIR\n\n"
     "Checks every file of the backup, then makes a new data folder of it. FILE is the server.key of the "
     "folder\n"
     "that the backup was made of.\n",
     hm_cmd_restore, false},
    {"verify", "check a data folder",
     "hamroh verify --data DIR\n\n"
     "Recomputes the change log's chain and checks every record and index entry of every institution. The "
     "folder\n"
     "must not be served meanwhile. Exit code 1 when a fault is found, which is named.\n",
     hm_cmd_verify, false},
    {"check-config", "check a settings file, or print one",
     "hamroh check-config FILE\nhamroh check-config --defaults\n\n"
     "Tells every problem of a settings file, each with what the setting takes; or prints a commented file "
     "with all\n"
     "settings and their defaults.\n",
     hm_cmd_check_config, false},
    {"version", "print the version", "hamroh version\n", hm_cmd_version, false},
    {0},
};
