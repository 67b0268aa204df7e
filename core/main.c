// The program's entry: finds the command's row and runs it. Nothing else happens here.
#include "cmd/cmd.h"
#include "script/worker.h"
#include <stdio.h>
#include <string.h>

static void print_commands(FILE *to) {
    fprintf(to, "hamroh: a server for student-to-student mentoring\n\nusage: hamroh COMMAND [OPTION…]\n\n");
    for (const struct hm_command *c = hm_commands; c->name; c++)
        if (!c->hidden) fprintf(to, "  %-13s %s\n", c->name, c->summary);
    fprintf(to, "\nhamroh COMMAND --help tells more. A first try: scripts/start in the source folder.\n");
}

static const struct hm_command *find(const char *name) {
    for (const struct hm_command *c = hm_commands; c->name; c++)
        if (strcmp(c->name, name) == 0) return c;
    return NULL;
}

static int unknown(const char *name) {
    fprintf(stderr, "hamroh: there is no command %s", name);
    const char *sep = "; did you mean ";
    for (const struct hm_command *c = hm_commands; c->name; c++) {
        if (!c->hidden && name[0] && strncmp(c->name, name, 2) == 0) {
            fprintf(stderr, "%s%s", sep, c->name);
            sep = " or ";
        }
    }
    fprintf(stderr, "? hamroh help lists them\n");
    return HM_EXIT_USAGE;
}

static bool asks_for_help(int argc, char **argv) {
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return true;
    return false;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        print_commands(stderr);
        return HM_EXIT_USAGE;
    }
    if (strcmp(argv[1], "worker") == 0) return hm_worker_main(argc - 1, argv + 1);
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        const struct hm_command *asked = argc > 2 ? find(argv[2]) : NULL;
        if (asked)
            fputs(asked->help, stdout);
        else
            print_commands(stdout);
        return HM_EXIT_DONE;
    }
    const struct hm_command *command = find(strcmp(argv[1], "--version") == 0 ? "version" : argv[1]);
    if (!command) return unknown(argv[1]);
    if (asks_for_help(argc - 1, argv + 1)) {
        fputs(command->help, stdout);
        return HM_EXIT_DONE;
    }
    return command->run(argc - 1, argv + 1);
}
