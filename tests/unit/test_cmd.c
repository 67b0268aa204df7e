// The words of the command line, and the settings file.
#include "cmd/cmd.h"
#include "cmd/plugin.h"
#include "cmd/settings.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

// ---- options
// ----------------------------------------------------------------------------------------------------------

struct taken {
    const char *data, *note;
    bool apply;
    int count;
    char **words;
};

static bool take(struct taken *t, bool until_word, char **argv) {
    int argc = 0;
    while (argv[argc])
        argc++;
    *t = (struct taken){0};
    const struct hm_option options[] = {{"--data", &t->data, NULL, true},
                                        {"--note", &t->note, NULL, false},
                                        {"--apply", NULL, &t->apply, false},
                                        {0}};
    return hm_options(argc, argv, options, until_word, &t->count, &t->words);
}
#define WORDS(...) ((char *[]){(char *)"cmd", __VA_ARGS__, NULL})
#define W(text) ((char *)text)

static void options_are_taken_out_of_the_words_wherever_they_stand(void **state) {
    (void)state;
    struct taken t;
    assert_true(take(&t, false,
                     WORDS(W("one"), W("--data"), W("d"), W("--apply"), W("two"), W("--note=a=b"), W("-"))));
    assert_string_equal(t.data, "d");
    assert_string_equal(t.note, "a=b");
    assert_true(t.apply);
    assert_int_equal(t.count, 3);
    assert_string_equal(t.words[0], "one");
    assert_string_equal(t.words[1], "two");
    assert_string_equal(t.words[2], "-");
}

static void what_follows_a_script_or_two_dashes_is_left_alone(void **state) {
    (void)state;
    struct taken t;
    assert_true(take(&t, true, WORDS(W("--data"), W("d"), W("script"), W("--data"), W("x"), W("--other"))));
    assert_string_equal(t.data, "d");
    assert_int_equal(t.count, 4);
    assert_true(take(&t, false, WORDS(W("--data"), W("d"), W("--"), W("--apply"))));
    assert_false(t.apply);
    assert_int_equal(t.count, 1);
}

static void wrong_words_are_refused(void **state) {
    (void)state;
    struct taken t;
    unsetenv("HAMROH_DATA");
    assert_false(take(&t, false, WORDS(W("--data"))));
    assert_false(take(&t, false, WORDS(W("--date"), W("d"))));
    assert_false(take(&t, false, WORDS(W("--data"), W("d"), W("--apply=yes"))));
    assert_false(take(&t, false, WORDS(W("one"))));
    assert_true(hm_words_count("cmd", 1, 1, 2));
    assert_false(hm_words_count("cmd", 0, 1, 2));
    assert_false(hm_words_count("cmd", 3, 1, 2));
    setenv("HAMROH_DATA", "from the environment", 1);
    assert_true(take(&t, false, WORDS(W("one"))));
    assert_string_equal(t.data, "from the environment");
    unsetenv("HAMROH_DATA");
}

static void a_slip_of_the_keyboard_is_near_and_another_word_is_not(void **state) {
    (void)state;
    assert_true(hm_word_near("sevre", "serve"));
    assert_true(hm_word_near("ser", "serve"));
    assert_true(hm_word_near("resotre", "restore"));
    assert_true(hm_word_near("cpu_mss", "cpu_ms"));
    assert_false(hm_word_near("init", "verify"));
    assert_false(hm_word_near("x", "run"));
    assert_false(hm_word_near("", "run"));
    char long_word[200];
    memset(long_word, 'a', sizeof long_word - 1);
    long_word[sizeof long_word - 1] = '\0';
    assert_false(hm_word_near(long_word, "run"));
}

static void every_command_has_a_help_that_begins_with_how_it_is_called(void **state) {
    (void)state;
    for (const struct hm_command *c = hm_commands; c->name; c++) {
        struct hm_buf usage = {0};
        hm_buf_printf(&usage, "hamroh %s", c->name);
        assert_int_equal(strncmp(c->help, usage.data, usage.len), 0);
        assert_non_null(c->run);
        hm_buf_free(&usage);
    }
}

// ---- settings
// -----------------------------------------------------------------------------------------------------------

static char folder[] = "/tmp/hamroh-cmd-XXXXXX";
static char file[64];

static int make_folder(void **state) {
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(file, sizeof file, "%s/settings.lua", folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    unlink(file);
    return rmdir(folder);
}

// Reads the text as a settings file over the defaults; problems (owned by the caller) when it is not right.
static bool read_settings(const char *text, struct hm_settings *settings, struct hm_buf *problems) {
    struct hm_error err = {0};
    assert_true(hm_write_file(file, hm_str_of(text), 0600, &err));
    hm_settings_defaults(settings);
    return hm_settings_read(file, settings, problems) && hm_settings_check(settings, problems);
}

static void the_defaults_are_right_and_those_of_the_design(void **state) {
    (void)state;
    struct hm_settings s;
    struct hm_buf problems = {0};
    assert_true(read_settings("return {}", &s, &problems));
    assert_string_equal(s.listen, "127.0.0.1:8080");
    assert_int_equal(s.cpu_ms, 200);
    assert_int_equal(s.memory_bytes, 64u << 20);
    assert_int_equal(s.job_cpu_ms, 600000);
    assert_int_equal(s.job_memory_bytes, 1u << 30);
    assert_int_equal(s.deadline_ms, 5000);
    assert_int_equal(s.job_deadline_ms, 900000);
    assert_int_equal(s.output_bytes, 1u << 20);
    assert_int_equal(s.message_bytes, 1u << 20);
    assert_int_equal(s.log_lines, 100);
    assert_int_equal(s.zone_minutes, 300);
    assert_false(s.clock_manual || s.demo_from_anywhere);
    hm_buf_free(&problems);
}

static void the_printed_defaults_read_back_as_the_defaults(void **state) {
    (void)state;
    struct hm_settings before, after;
    struct hm_buf text = {0}, plain = {0}, problems = {0};
    hm_settings_defaults(&before);
    hm_settings_write_defaults(&text);
    // Every "  -- name = value," uncommented; the words of help do not have that form.
    for (char *line = strtok(text.data, "\n"); line; line = strtok(NULL, "\n")) {
        char name[40];
        int set = 0;
        bool comment = sscanf(line, "  -- %39[a-z_] =%n", name, &set) != 1 || !set;
        hm_buf_printf(&plain, "%s\n", comment ? line : line + 5);
    }
    if (!read_settings(plain.data, &after, &problems)) fail_msg("%s", problems.data);
    assert_memory_equal(&before, &after, sizeof before);
    hm_buf_free(&text);
    hm_buf_free(&plain);
    hm_buf_free(&problems);
}

static void a_value_may_be_worked_out(void **state) {
    (void)state;
    struct hm_settings s;
    struct hm_buf problems = {0};
    assert_true(read_settings(
        "local mib = 1024 * 1024\nreturn { memory_bytes = 32 * mib, clock = \"manual\", feed_queue = 2^9 }",
        &s, &problems));
    assert_int_equal(s.memory_bytes, 32u << 20);
    assert_int_equal(s.feed_queue, 512);
    assert_true(s.clock_manual);
    hm_buf_free(&problems);
}

static void every_problem_is_named_with_what_is_allowed(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"return { workers_max = 65 }", "workers_max: takes a whole number from 1 to 64\n"},
        {"return { workers_max = 1.5 }", "workers_max: takes a whole number"},
        {"return { workers_max = '2' }", "workers_max: takes a whole number"},
        {"return { workers_max = 0/0 }", "workers_max: takes a whole number"},
        {"return { zone_minutes = -721 }", "zone_minutes: takes a whole number from -720 to 840"},
        {"return { listen = 8080 }", "listen: takes a text"},
        {"return { listen = 'here' }", "listen: takes an address and a port"},
        {"return { listen = '127.0.0.1:70000' }", "listen: takes an address and a port"},
        {"return { demo_from_anywhere = 1 }", "demo_from_anywhere: takes true or false"},
        {"return { clock = 'fast' }", "clock: takes \"system\" or \"manual\""},
        {"return { clock = 'manual', listen = '0.0.0.0:80' }", "clock: \"manual\" only while listening"},
        {"return { tls_certificate = '/a.pem' }", "tls_certificate, tls_key: set both, or neither"},
        {"return { tls_certificate = '/a.pem', tls_key = '/a.key' }", "/a.pem: cannot be read: No such file"},
        {"return { trusted_proxy = '10.0.0.0/33' }", "trusted_proxy: takes at most 16 addresses"},
        {"return { trusted_proxy = 'proxy.example' }", "trusted_proxy: takes at most 16 addresses"},
        {"return { allowed_origins = 'portal.example' }", "allowed_origins: takes origins without a path"},
        {"return { allowed_origins = 'https://portal.example/' }", "allowed_origins: takes origins"},
        {"return { allowed_origins = '*' }", "allowed_origins: takes origins"},
        {"return { cpu_ms = 6000 }", "deadline_ms: must be at least cpu_ms"},
        {"return { worker_max = 2 }", "did you mean workers_max?"},
        {"return { 5 }", "(a value without a name)"},
        {"return 5", "must return a table"},
        {"return {", "expected"},
        {"return { listen = os.getenv('HOME') }", "global 'os'"},
        {"while true do end", "it runs too long"},
        {"local s = 'x' while true do s = s .. s end", "not enough memory"},
        {"\x1bLua", "binary"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct hm_settings s;
        struct hm_buf problems = {0};
        if (read_settings(cases[i][0], &s, &problems)) fail_msg("accepted: %s", cases[i][0]);
        if (!strstr(problems.data, cases[i][1])) fail_msg("%s said: %s", cases[i][0], problems.data);
        hm_buf_free(&problems);
    }
    struct hm_settings s;
    struct hm_buf problems = {0};
    assert_false(read_settings("return { cpu_ms = 0, log_lines = -1, nothing = 1 }", &s, &problems));
    assert_true(strstr(problems.data, "cpu_ms") && strstr(problems.data, "log_lines") &&
                strstr(problems.data, "nothing"));
    hm_buf_free(&problems);
}

static void a_settings_file_that_is_not_there_is_a_problem(void **state) {
    (void)state;
    struct hm_settings s;
    struct hm_buf problems = {0};
    hm_settings_defaults(&s);
    assert_false(hm_settings_read("/nowhere/settings.lua", &s, &problems));
    assert_non_null(strstr(problems.data, "/nowhere/settings.lua"));
    hm_buf_free(&problems);
}

// ---- plugins
// --------------------------------------------------------------------------------------------------------------

static void kinds_are_known_by_both_their_names(void **state) {
    (void)state;
    static const char *const words[][2] = {{"service", "services"},
                                           {"matcher", "matchers"},
                                           {"activity", "activities"},
                                           {"questionnaire", "questionnaires"},
                                           {"report", "reports"}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        assert_non_null(hm_plugin_kind(words[i][0]));
        assert_ptr_equal(hm_plugin_kind(words[i][0]), hm_plugin_kind(words[i][1]));
    }
    assert_null(hm_plugin_kind("lib"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_are_taken_out_of_the_words_wherever_they_stand),
        cmocka_unit_test(what_follows_a_script_or_two_dashes_is_left_alone),
        cmocka_unit_test(wrong_words_are_refused),
        cmocka_unit_test(a_slip_of_the_keyboard_is_near_and_another_word_is_not),
        cmocka_unit_test(every_command_has_a_help_that_begins_with_how_it_is_called),
        cmocka_unit_test(the_defaults_are_right_and_those_of_the_design),
        cmocka_unit_test(the_printed_defaults_read_back_as_the_defaults),
        cmocka_unit_test(a_value_may_be_worked_out),
        cmocka_unit_test(every_problem_is_named_with_what_is_allowed),
        cmocka_unit_test(a_settings_file_that_is_not_there_is_a_problem),
        cmocka_unit_test(kinds_are_known_by_both_their_names),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
