// Reading a worker's result as if an enemy had sent it, and the catalogue of a worker.
#include "base/wire.h"
#include "engine/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static struct hm_types *types_of(const char *json) {
    struct hm_types *types = NULL;
    assert_true(hm_types_parse(hm_str_of(json), &types, NULL));
    return types;
}

static struct hm_types *note(void) {
    return types_of("[{\"name\":\"note\",\"key\":\"natural\"}]");
}

static void intent(struct hm_buf *b, const char *type, const char *id, const char *data,
                   struct hm_str audience) {
    hm_put_u8(b, 0);
    hm_put_str(b, hm_str_of(type));
    hm_put_str(b, hm_str_of(id));
    hm_put_u64(b, 0);
    hm_put_str(b, hm_str_of(data));
    hm_put_str(b, audience);
    hm_put_str(b, HM_LIT(""));
}

static void head(struct hm_buf *b, const char *result) {
    hm_put_str(b, hm_str_of(result));
    hm_put_u64(b, 7);
    hm_put_u8(b, 0);
}

static void whole(struct hm_buf *b) {
    head(b, "{\"a\":[1,2]}");
    hm_put_u32(b, 2);
    hm_put_u8(b, 0xff);
    hm_put_str(b, HM_LIT("note"));
    hm_put_str(b, HM_LIT("x"));
    hm_put_u64(b, 3);
    hm_put_u8(b, HM_SPACE_IDX);
    hm_put_str(b, HM_LIT("low"));
    hm_put_str(b, HM_LIT("lox"));
    hm_put_u32(b, 1);
    intent(b, "note", "x", "{\"n\":1}", HM_LIT("\x06\x00public"));
}

static bool reads(struct hm_str payload) {
    struct hm_types *types = note();
    struct parsed_result r;
    // A copy of the exact length, so that AddressSanitizer sees a step too far.
    char *copy = malloc(payload.len ? payload.len : 1);
    if (payload.len) memcpy(copy, payload.ptr, payload.len);
    bool ok = hm_frame_result((struct hm_str){copy, payload.len}, types, &r);
    if (ok) {
        free(r.seen);
        free(r.intents);
    }
    free(copy);
    hm_types_unref(types);
    return ok;
}

static void a_result_is_read_whole(void **state) {
    (void)state;
    struct hm_buf b = {0};
    struct parsed_result r;
    struct hm_types *types = note();
    whole(&b);
    assert_true(hm_frame_result(hm_buf_view(&b), types, &r));
    assert_int_equal(r.snapshot, 7);
    assert_int_equal(r.seen_count, 2);
    assert_int_equal(r.seen[0].version, 3);
    assert_int_equal(r.seen[1].space, HM_SPACE_IDX);
    assert_int_equal(r.intent_count, 1);
    assert_true(hm_str_eq(r.intents[0].data, HM_LIT("{\"n\":1}")));
    free(r.seen);
    free(r.intents);
    hm_types_unref(types);
    hm_buf_free(&b);
}

static void every_beginning_of_a_result_is_refused(void **state) {
    (void)state;
    struct hm_buf b = {0};
    whole(&b);
    for (size_t len = 0; len < b.len; len++)
        assert_false(reads((struct hm_str){b.data, len}));
    hm_buf_char(&b, 'x'); // and so is one with something behind it
    assert_false(reads(hm_buf_view(&b)));
    hm_buf_free(&b);
}

static void changed_bytes_never_lead_outside(void **state) {
    (void)state;
    struct hm_buf b = {0};
    uint32_t random = 1;
    whole(&b);
    for (int round = 0; round < 20000; round++) {
        struct hm_buf c = {0};
        hm_buf_str(&c, hm_buf_view(&b));
        for (int i = 0; i < 3; i++) {
            random = random * 1664525u + 1013904223u;
            c.data[random % c.len] = (char)(random >> 24);
        }
        reads(hm_buf_view(&c));
        hm_buf_free(&c);
    }
    hm_buf_free(&b);
}

static bool reads_intent(const char *type, const char *id, const char *data, struct hm_str audience) {
    struct hm_buf b = {0};
    head(&b, "null");
    hm_put_u32(&b, 0);
    hm_put_u32(&b, 1);
    intent(&b, type, id, data, audience);
    bool ok = reads(hm_buf_view(&b));
    hm_buf_free(&b);
    return ok;
}

static void an_intent_must_be_one_a_plugin_may_have(void **state) {
    (void)state;
    assert_true(reads_intent("note", "x", "{}", HM_LIT("")));
    assert_true(reads_intent("invitation", "x", "{}", HM_LIT("")));
    static const char *const core[] = {"account", "session",        "idem",  "job",
                                       "plugin",  "plugin_version", "audit", "institution"};
    for (size_t i = 0; i < sizeof core / sizeof *core; i++)
        assert_false(reads_intent(core[i], "x", "{}", HM_LIT("")));
    assert_false(reads_intent("", "x", "{}", HM_LIT("")));
    assert_false(reads_intent("note", "", "{}", HM_LIT("")));
    assert_false(reads_intent("note", "x", "[]", HM_LIT("")));
    assert_false(reads_intent("note", "x", "{\"a\":}", HM_LIT("")));
    assert_false(reads_intent("note", "x", "{}", HM_LIT("\x09\x00public")));
    assert_false(reads_intent("note", "x", "{}", HM_LIT("\x01")));
}

static void a_count_cannot_make_us_allocate_more_than_was_sent(void **state) {
    (void)state;
    struct hm_buf b = {0};
    head(&b, "null");
    hm_put_u32(&b, 0xffffffffu);
    assert_false(reads(hm_buf_view(&b)));
    hm_buf_clear(&b);
    head(&b, "null");
    hm_put_u32(&b, 0);
    hm_put_u32(&b, 0x7fffffffu);
    assert_false(reads(hm_buf_view(&b)));
    hm_buf_clear(&b);
    head(&b, "{not json");
    hm_put_u32(&b, 0);
    hm_put_u32(&b, 0);
    assert_false(reads(hm_buf_view(&b)));
    hm_buf_free(&b);
}

static bool catalogue(const char *json) {
    struct catalogue *cat = NULL;
    bool ok = hm_cat_parse(hm_str_of(json), &cat, NULL);
    if (ok) hm_cat_unref(cat);
    return ok;
}

static void a_catalogue_that_makes_no_sense_is_refused(void **state) {
    (void)state;
    assert_true(catalogue("{}"));
    assert_true(catalogue("{\"methods\":[{\"name\":\"a.b\",\"access\":\"public\"}]}"));
    assert_false(catalogue("[]"));
    assert_false(catalogue("{\"methods\":{}}"));
    assert_false(catalogue("{\"methods\":[{\"name\":\"$x\",\"access\":\"public\"}]}"));
    assert_false(catalogue("{\"methods\":[{\"name\":\"a\",\"access\":\"everybody\"}]}"));
    assert_false(catalogue("{\"methods\":[{\"name\":\"a\",\"access\":\"role\",\"roles\":[1]}]}"));
    assert_false(catalogue(
        "{\"methods\":[{\"name\":\"a\",\"access\":\"public\"},{\"name\":\"a\",\"access\":\"public\"}]}"));
    assert_false(catalogue("{\"types\":[{\"name\":\"account\"}]}"));
    assert_false(catalogue("{\"plugins\":[{}]}"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_result_is_read_whole),
        cmocka_unit_test(every_beginning_of_a_result_is_refused),
        cmocka_unit_test(changed_bytes_never_lead_outside),
        cmocka_unit_test(an_intent_must_be_one_a_plugin_may_have),
        cmocka_unit_test(a_count_cannot_make_us_allocate_more_than_was_sent),
        cmocka_unit_test(a_catalogue_that_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests_name("engine frames", tests, NULL, NULL);
}
