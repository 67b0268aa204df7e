// Words of the command line. What always holds: an option that is not in the table is an error, which names
// the near ones.
#include "cmd/cmd.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define WORD_MAX 40

int hm_complain(int code, const char *command, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "hamroh %s: ", command);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return code;
}

// Steps from one word to the other: insert, delete, change, swap neighbours (optimal string alignment).
static unsigned distance(const char *a, const char *b) {
    size_t la = strlen(a), lb = strlen(b);
    if (la > WORD_MAX || lb > WORD_MAX) return 99;
    unsigned rows[3][WORD_MAX + 1]; // this row and the two before it
    for (size_t j = 0; j <= lb; j++)
        rows[0][j] = (unsigned)j;
    for (size_t i = 1; i <= la; i++) {
        unsigned *now = rows[i % 3], *before = rows[(i + 2) % 3], *older = rows[(i + 1) % 3];
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= lb; j++) {
            unsigned best = before[j - 1] + (a[i - 1] != b[j - 1]);
            if (before[j] + 1 < best) best = before[j] + 1;
            if (now[j - 1] + 1 < best) best = now[j - 1] + 1;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && older[j - 2] + 1 < best) best = older[j - 2] + 1;
            now[j] = best;
        }
    }
    return rows[la % 3][lb];
}

bool hm_word_near(const char *typed, const char *known) {
    size_t len = strlen(typed);
    if (len >= 2 && strncmp(typed, known, len) == 0) return true;
    return distance(typed, known) <= (len <= 4 ? 1 : 2);
}

static const struct hm_option *option_named(const struct hm_option *options, const char *word, size_t len) {
    for (; options->name; options++)
        if (strlen(options->name) == len && memcmp(options->name, word, len) == 0) return options;
    return NULL;
}

static bool unknown(const char *command, const char *word, const struct hm_option *options) {
    fprintf(stderr, "hamroh %s: there is no option %s", command, word);
    const struct hm_option *near = NULL;
    for (const struct hm_option *o = options; o->name && !near; o++)
        if (hm_word_near(word, o->name)) near = o;
    if (near)
        fprintf(stderr, "; did you mean %s?", near->name);
    else
        for (const struct hm_option *o = options; o->name; o++)
            fprintf(stderr, "%s %s%s", o == options ? "; there is" : "", o->name, o->text ? " VALUE" : "");
    fprintf(stderr, " (see hamroh %s --help)\n", command);
    return false;
}

static bool all_required(const char *command, const struct hm_option *options) {
    for (; options->name; options++) {
        if (!options->text || *options->text) continue;
        if (strcmp(options->name, "--data") == 0) *options->text = getenv("HAMROH_DATA");
        if (!options->required || (*options->text && **options->text)) continue;
        hm_complain(HM_EXIT_USAGE, command, "%s is missing (see hamroh %s --help)", options->name, command);
        return false;
    }
    return true;
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
        if (option->flag && equals) {
            hm_complain(HM_EXIT_USAGE, argv[0], "%s takes no value", option->name);
            return false;
        } else if (option->flag) {
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
    *word_count = kept - 1;
    *words = argv + 1;
    return all_required(argv[0], options);
}

bool hm_words_count(const char *command, int count, int least, int most) {
    if (count >= least && count <= most) return true;
    hm_complain(HM_EXIT_USAGE, command, "%s (see hamroh %s --help)",
                count < least ? "a word is missing" : "these are more words than it takes", command);
    return false;
}
