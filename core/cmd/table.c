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
    "hamroh plugin check FILE|FOLDER… [--json] [--plugins DIR]\n"
    "      syntax, declaration, names that nothing has, translations that are missing:\n"
    "      each with file, line and column; with --data and --institution, the server\n"
    "      loads it over what is in force there and runs its tests\n"
    "hamroh plugin test FILE|FOLDER… [--tap|--json] [--plugins DIR]\n"
    "      load them over the shipped ones and run their tests, with the time of each,\n"
    "      in the sandbox of live calls; needs no data folder\n"
    "hamroh plugin ACTION --data DIR --institution ID …\n"
    "  list                         what is in force, and from which layer\n"
    "  get KIND ID [VERSION]        the source in force, or of a version\n"
    "  push FILE… [--note TEXT]     check, test, then replace the one in force\n"
    "  history KIND ID              its versions, the newest first; * is in force\n"
    "  diff KIND ID                 the version before, and the one in force\n"
    "  diff KIND ID FILE            the one in force, and a file\n"
    "  diff KIND ID VERSION [VERSION]\n"
    "  rollback KIND ID [VERSION]   back to an earlier version, or to the one below\n"
    "  export DIR [--remove]        the whole layer as files, for git or serve --watch\n"
    "  import DIR [--remove] [--yes] [--note TEXT]\n"
    "      shows what would change, asks, and puts all of it in force or nothing;\n"
    "      --remove: what DIR does not have goes back to the layer below\n"
    "  try FILE|KIND/ID             on the institution's data, without effect: a\n"
    "                               questionnaire with --answers JSON, a matching rule\n"
    "                               [--programme ID], a report [--params JSON], any\n"
    "                               method with --method M [--params JSON]; as a\n"
    "                               person with --as ID, which the audit tells\n"
    "  log [KIND/ID] [--level LEVEL] [--limit N] [--follow]\n"
    "                               what plugins said since the server started, and\n"
    "                               their errors\n"
    "  record KIND/ID [--calls N] [--minutes M] [--failures]\n"
    "                               keep the next calls (or only those that fail) for\n"
    "                               7 days; reading a recording is audited\n"
    "  recordings [KIND/ID]         which there are\n"
    "  replay RECORDING [FILE]      run one again with the data, time and random\n"
    "                               numbers of then, by what is in force or by FILE;\n"
    "                               says where it differs, and exits 1 if it does\n"
    "--json gives the answer as it is.\n"
    "--institution cluster is the layer below every institution's own. VERSION may be\n"
    "shipped or cluster, too. push, rollback and import are refused when stored\n"
    "records would lose something, and say what; --confirm does it all the same, and\n"
    "asks once more at a terminal.\n"
    "KIND is service, matcher, activity, questionnaire or report; the folder of a\n"
    "FILE (matchers/…) says its kind.\n";
static const char backup_help[] =
    "hamroh backup --data DIR [--to SETS] [--name NAME]\n\n"
    "A consistent copy of every institution with checksums, also while it is served:\n"
    "SETS/INSTITUTION/NAME. SETS is made when missing; without --to it is the setting\n"
    "backup_dir or DIR/backups. NAME is the time unless given. Backup into the same\n"
    "SETS again and again; a NAME that is no longer wanted is simply removed.\n\n"
    "The server's key is not in it, and neither are people's keys: those lie once, in\n"
    "SETS/INSTITUTION/keyring, and each backup replaces that file by the newest. Every\n"
    "backup of the set opens with it, except what is sealed about people who were\n"
    "erased: hamroh person erase takes their keys out of every SETS that was used.\n\n"
    "What only you can do:\n"
    "  * Whoever has SETS and server.key can read everything. Keep them apart.\n"
    "  * Take copies of SETS to other places WITHOUT the files `keyring`, or replace\n"
    "    those after every erasing (copy SETS/*/keyring once more, over the old one,\n"
    "    with something that overwrites, such as shred, for the old one). A forgotten\n"
    "    copy of a keyring opens what was sealed when it was made.\n"
    "  * The old keyring is overwritten before it is let go. Disks without moving\n"
    "    parts and file systems that write elsewhere (btrfs, ZFS, any with snapshots)\n"
    "    keep the old bytes for a while all the same: put the data folder and SETS on\n"
    "    an encrypted disk, delete snapshots after an erasing, and let fstrim run.\n";
static const char restore_help[] =
    "hamroh restore --from SETS --key FILE --data NEW_DIR [--backup NAME]\n"
    "               [--institution ID] [--until CHANGE|TIME]\n\n"
    "Checks every file of a backup, makes a new data folder of it and verifies that.\n"
    "SETS is what was given to hamroh backup --to; FILE is the server.key of the\n"
    "folder that was copied.\n"
    "  --backup       the one of this name; else the newest of each institution\n"
    "  --institution  only this one; its folder NEW_DIR/institutions/ID can take the\n"
    "                 place of the damaged one while no server runs\n"
    "  --until        as it was after a change (its number; needs --institution), or\n"
    "                 at a time: 2026-11-24T14:30:00+05:00. Any backup made later\n"
    "                 will do. Calls come back whole or not at all. Accounts and\n"
    "                 passwords, too, are those of then.\n"
    "People who were erased since are erased again when the server starts. Make a\n"
    "backup into SETS soon: only then the restored server knows of it.\n";
static const char person_help[] =
    "hamroh person export --data DIR --institution ID [--to FILE] PERSON\n"
    "hamroh person erase  --data DIR --institution ID --reason TEXT PERSON\n"
    "hamroh person forget-set --data DIR --institution ID SETS/ID\n\n"
    "PERSON is the id of a person's record.\n"
    "export writes, as indented JSON, what the server has about the person and an\n"
    "administrator may read; what only the person may read (conversations, own\n"
    "answers) they export themselves. What was sealed is opened, which the audit tells.\n\n"
    "erase, for good: destroys the person's key here and in every backup set, so that\n"
    "nothing sealed about them can be read again, in old backups and logs either; ends\n"
    "their sessions; removes account and invitations; blanks their name in their own\n"
    "record and in those of others. What remains: texts they wrote, unsealed values\n"
    "under their id, and the change log, which keeps what was ever written in clear,\n"
    "the name too, for whoever holds the data folder. See core/store/README.md.\n"
    "It may be repeated, and must be when it names a backup set it could not reach;\n"
    "forget-set is for one that no longer exists.\n";
static const char notify_help[] =
    "hamroh notify test --data DIR EMAIL|CHAT\n\n"
    "Sends one test message, now, with the settings of the server that serves DIR\n"
    "(smtp_*, telegram_*), and says what became of it. CHAT is the number of a chat\n"
    "that has written to the bot. Exit code 1 when it was not sent.\n";
static const char verify_help[] =
    "hamroh verify --data DIR\n\n"
    "Looks at every page of the files, recomputes the chain of the change log, and checks\n"
    "every record, index entry and key of every institution. The folder must not be\n"
    "served meanwhile. Exit code 1 when a fault is found; it is named, and what to do.\n";
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
    {"person", "export what is kept about a person, or erase it", person_help, hm_cmd_person},
    {"notify", "try the settings for e-mail and Telegram", notify_help, hm_cmd_notify},
    {"verify", "check a data folder", verify_help, hm_cmd_verify},
    {"check-config", "check a settings file, or print one", check_config_help, hm_cmd_check_config},
    {"version", "print the version", "hamroh version\n", hm_cmd_version},
    {"worker", NULL, "hamroh worker: started by the server itself.\n", hm_cmd_worker},
    {0},
};
