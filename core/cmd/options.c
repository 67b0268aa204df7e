// Words of the command line. What always holds: an option that is not in the table is an error that names the
// nearest one.
#include "cmd/cmd.h"
#include <stdarg.h>
#include <stdio.h>

int hm_complain(int code, const char *command, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "hamroh %s: ", command);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return code;
}

static const struct hm_option *option_named(const struct hm_option *options, const char *word, size_t len) {
    for (; options->name; options++)
        if (strlen(options->name) == len && memcmp(options->name, word, len) == 0) return options;
    return NULL;
}

static bool unknown(const char *command, const char *word, const struct hm_option *options) {
    fprintf(stderr, "hamroh %s: there is no option %s; there is", command, word);
    for (; options->name; options++)
        fprintf(stderr, " %s%s", options->name, options->text ? " VALUE" : "");
    fprintf(stderr, " (see hamroh %s --help)\n", command);
    return false;
}

bool hm_options(int argc, char **argv, const struct hm_option *options, bool until_word, int *word_count,
                char ***words) {
    int kept = 1, i = 1;
    for (; i < argc; i++) {
        char *word = argv[i];
        if (strcmp(word, "--") == 0) {
            i++;
            break;
        }
        if (word[0] != '-' || !word[1]) {
            if (until_word) break;
            argv[kept++] = word;
            continue;
        }
        char *equals = strchr(word, '=');
        const struct hm_option *option =
            option_named(options, word, equals ? (size_t)(equals - word) : strlen(word));
        if (!option) return unknown(argv[0], word, options);
        if (option->flag) {
            *option->flag = true;
        } else if (equals) {
            *option->text = equals + 1;
        } else if (i + 1 < argc) {
            *option->text = argv[++i];
        } else {
            hm_complain(HM_EXIT_USAGE, argv[0], "%s needs a value", option->name);
            return false;
        }
    }
    while (i < argc)
        argv[kept++] = argv[i++];
    for (; options->name; options++) {
        if (options->required && !*options->text) {
            hm_complain(HM_EXIT_USAGE, argv[0], "%s is missing (see hamroh %s --help)", options->name,
                        argv[0]);
            return false;
        }
    }
    *word_count = kept - 1;
    *words = argv + 1;
    return true;
}
