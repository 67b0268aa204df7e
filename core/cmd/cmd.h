// The command line: one row a command (table.c). Messages for people go to stderr with a way out; what a
// program may want to read goes to stdout. One thread.
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include "base/json.h"

enum {
    HM_EXIT_DONE = 0,
    HM_EXIT_FAILED = 1,
    HM_EXIT_USAGE = 2
}; // done; could not be done; the words are wrong

struct hm_command {
    const char *name;
    const char *summary;               // one line of `hamroh help`; NULL: not listed
    const char *help;                  // printed by --help
    int (*run)(int argc, char **argv); // argv[0] is the command's name
};
extern const struct hm_command hm_commands[]; // ends with a row without a name

// One option of a command: `--name VALUE`, `--name=VALUE`, or a flag when text is NULL.
struct hm_option {
    const char *name;  // "--data"; its value may also come from the environment, as HAMROH_DATA
    const char **text; // gets the value (borrowed from argv)
    bool *flag;
    bool required;
};
// Takes the options out of argv and leaves the rest in *words (argv is reordered; words points into it).
// options ends with a row without a name. `--` ends the options; with `until_word` so does the first word
// (the rest belongs to a script). On wrong words: message on stderr, false.
bool hm_options(int argc, char **argv, const struct hm_option *options, bool until_word, int *word_count,
                char ***words);
// Refuses, in words, another number of words than least to most.
bool hm_words_count(const char *command, int count, int least, int most);
// "hamroh NAME: message" on stderr; returns the exit code given.
int hm_complain(int code, const char *command, const char *format, ...) __attribute__((format(printf, 3, 4)));
// Whether somebody who typed `typed` may have meant `known`: a beginning of it, or a slip or two away.
bool hm_word_near(const char *typed, const char *known);

void hm_put_indented(struct hm_json value, unsigned depth, struct hm_buf *out); // for people to read
int hm_cmd_init(int argc, char **argv);
int hm_cmd_serve(int argc, char **argv);
int hm_cmd_run(int argc, char **argv);
int hm_cmd_import(int argc, char **argv);
int hm_cmd_plugin(int argc, char **argv);
int hm_cmd_backup(int argc, char **argv);
int hm_cmd_restore(int argc, char **argv);
int hm_cmd_person(int argc, char **argv);
int hm_cmd_notify(int argc, char **argv);
int hm_cmd_verify(int argc, char **argv);
int hm_cmd_check_config(int argc, char **argv);
int hm_cmd_version(int argc, char **argv);
int hm_cmd_worker(int argc, char **argv);
