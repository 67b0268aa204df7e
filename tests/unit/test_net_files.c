// Static files: what may be given out, and how it is marked.
#include "base/error.h"
#include "net/inside.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct world {
    char dir[64];
    struct hm_files *files;
};

static void put(struct world *world, const char *name, const char *text) {
    char path[200];
    snprintf(path, sizeof path, "%s/%s", world->dir, name);
    assert_true(hm_write_file(path, hm_str_of(text), 0644, NULL));
}

static int set_up(void **state) {
    struct world *world = hm_alloc(sizeof *world);
    char path[100];
    snprintf(world->dir, sizeof world->dir, "/tmp/hm-files-XXXXXX");
    assert_non_null(mkdtemp(world->dir));
    snprintf(path, sizeof path, "%s/icons", world->dir);
    assert_int_equal(mkdir(path, 0755), 0);
    put(world, "index.html", "<html>");
    put(world, "app.js", "let a = 1");
    put(world, "app.js.gz", "pressed");
    put(world, "app-AB12CD34.css", "a{}");
    put(world, "icons/a.svg", "<svg/>");
    put(world, ".secret.txt", "no");
    put(world, "notes.lua", "no");
    world->files = hm_files_new(world->dir);
    *state = world;
    return 0;
}

static int tear_down(void **state) {
    struct world *world = *state;
    char command[100];
    hm_files_free(world->files);
    snprintf(command, sizeof command, "rm -rf '%s'", world->dir);
    assert_int_equal(system(command), 0);
    free(world);
    return 0;
}

static bool get(struct world *world, const char *path, bool gzip, struct hm_file *file) {
    return hm_files_get(world->files, hm_str_of(path), gzip, file);
}

static void a_file_is_given_with_its_type_and_pressed_when_that_is_accepted(void **state) {
    struct hm_file file;
    assert_true(get(*state, "/app.js", false, &file));
    assert_string_equal(file.type, "text/javascript; charset=utf-8");
    assert_false(file.gzip);
    assert_true(hm_str_eq(file.body, HM_LIT("let a = 1")));
    assert_true(get(*state, "/app.js", true, &file));
    assert_true(file.gzip);
    assert_true(hm_str_eq(file.body, HM_LIT("pressed")));
    assert_true(get(*state, "/icons/a.svg", true, &file));
    assert_false(file.gzip);
}

static void only_a_name_with_a_hash_in_it_may_be_kept_for_ever(void **state) {
    struct hm_file file;
    assert_true(get(*state, "/app-AB12CD34.css", true, &file));
    assert_true(file.immutable);
    assert_true(get(*state, "/app.js", true, &file));
    assert_false(file.immutable);
}

static void a_changed_file_is_read_again_and_has_another_tag(void **state) {
    struct hm_file file;
    char before[40];
    assert_true(get(*state, "/app.js", false, &file));
    memcpy(before, file.etag, sizeof before);
    put(*state, "app.js", "let a = 2222");
    assert_true(get(*state, "/app.js", false, &file));
    assert_true(hm_str_eq(file.body, HM_LIT("let a = 2222")));
    assert_string_not_equal(before, file.etag);
}

static void nothing_else_is_given_out(void **state) {
    static const char *const paths[] = {
        "/../etc/passwd", "/icons/../app.js", "//app.js",
        "/icons//a.svg",  "/.secret.txt",     "/notes.lua",
        "/icons",         "/icons/",          "/app.js/",
        "/app.js%00",     "app.js",           "",
        "/nothing.js",    "/app.js.gz",       "/a/b/c/d/e/f/g/h.js",
        "/app\\.js",
    };
    struct hm_file file;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        if (get(*state, paths[i], true, &file)) fail_msg("%s was given out", paths[i]);
}

static void a_file_that_is_held_stays_as_it_was_when_it_changes_and_when_all_are_forgotten(void **state) {
    struct world *world = *state;
    struct hm_file first, again, changed;
    assert_true(get(world, "/icons/a.svg", false, &first));
    hm_file_ref(first.entry);
    assert_true(get(world, "/icons/a.svg", false, &again));
    assert_ptr_equal(first.body.ptr, again.body.ptr); // one copy for all
    put(world, "icons/a.svg", "<svg>larger</svg>");
    assert_true(get(world, "/icons/a.svg", false, &changed));
    assert_true(hm_str_eq(changed.body, HM_LIT("<svg>larger</svg>")));
    hm_files_free(world->files);
    world->files = NULL;
    assert_true(hm_str_eq(first.body, HM_LIT("<svg/>")));
    hm_file_unref(first.entry);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_file_is_given_with_its_type_and_pressed_when_that_is_accepted,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_a_name_with_a_hash_in_it_may_be_kept_for_ever, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_changed_file_is_read_again_and_has_another_tag, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_else_is_given_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_file_that_is_held_stays_as_it_was_when_it_changes_and_when_all_are_forgotten, set_up,
            tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
