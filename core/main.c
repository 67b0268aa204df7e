// The program's entry: finds the command's row and runs it. Nothing else happens here.
#include "cmd/cmd.h"
#include "cmd/man.h"
#include <stdio.h>
#include <string.h>

static void print_commands(FILE *to) {
    fprintf(to, "hamroh: a server for student-to-student mentoring\n\nusage: hamroh COMMAND [OPTION…]\n\n");
    for (const struct hm_command *c = hm_commands; c->name; c++)
        if (c->summary) fprintf(to, "  %-13s %s\n", c->name, c->summary);
    fprintf(to, "\nhamroh COMMAND --help tells more; hamroh help --man is all of it as a manual page. A "
                "first try: scripts/start in the source folder.\n");
}

static int print_man(void) {
    struct hm_buf page = {0};
    hm_man_write(&page);
    bool ok = fwrite(page.data, 1, page.len, stdout) == page.len && fflush(stdout) == 0;
    hm_buf_free(&page);
    return ok ? HM_EXIT_DONE : HM_EXIT_FAILED;
}

static const struct hm_command *find(const char *name) {
    for (const struct hm_command *c = hm_commands; c->name; c++)
        if (strcmp(c->name, name) == 0) return c;
    return NULL;
}

static int unknown(const char *name) {
    const char *separator = "; did you mean ";
    fprintf(stderr, "hamroh: there is no command %s", name);
    for (const struct hm_command *c = hm_commands; c->name; c++) {
        if (!c->summary || !hm_word_near(name, c->name)) continue;
        fprintf(stderr, "%s%s", separator, c->name);
        separator = " or ";
    }
    fprintf(stderr, "%s (hamroh help lists them)\n", separator[0] == ';' ? "" : "?");
    return HM_EXIT_USAGE;
}

static bool is_help(const char *word) {
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        print_commands(stderr);
        return HM_EXIT_USAGE;
    }
    bool help = strcmp(argv[1], "help") == 0 || is_help(argv[1]);
    if (help && argc == 2) {
        print_commands(stdout);
        return HM_EXIT_DONE;
    }
    if (help && strcmp(argv[2], "--man") == 0) return print_man();
    const char *name = help ? argv[2] : strcmp(argv[1], "--version") == 0 ? "version" : argv[1];
    const struct hm_command *command = find(name);
    if (!command) return unknown(name);
    // `hamroh CMD --help` and `hamroh plugin check --help`; the words behind a script are its own.
    if (help || (argc > 2 && (is_help(argv[2]) || (argc == 4 && is_help(argv[3]) && argv[2][0] != '-' &&
                                                   strcmp(name, "run") != 0)))) {
        fputs(command->help, stdout);
        return HM_EXIT_DONE;
    }
    return command->run(argc - 1, argv + 1);
}
