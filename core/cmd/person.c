// `hamroh person`: a person's data as a file for people to read, and erasing a person. Both are the server's
// methods person.export and person.erase, called with the rights of whoever holds the data folder.
#include "cmd/client.h"
#include "cmd/cmd.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

// ---- export
// -----------------------------------------------------------------------------------------------------------------

static const char *const sections[] = {"accounts", "sessions", "sign_ins", "invitations",
                                       "read_by",  "records",  "written"};
#define SECTIONS (sizeof sections / sizeof sections[0])

static void indent(struct hm_buf *out, unsigned depth) {
    hm_buf_char(out, '\n');
    for (unsigned i = 0; i < depth; i++)
        hm_buf_text(out, "  ");
}

void hm_put_indented(struct hm_json value, unsigned depth, struct hm_buf *out) {
    bool object = value.kind == HM_JSON_OBJECT;
    struct hm_json_iter it = hm_json_iter(value);
    struct hm_json key, item;
    if ((!object && value.kind != HM_JSON_ARRAY) || hm_json_count(value) == 0) {
        hm_buf_str(out, value.raw);
        return;
    }
    hm_buf_char(out, object ? '{' : '[');
    for (bool first = true; hm_json_next(&it, object ? &key : NULL, &item); first = false) {
        if (!first) hm_buf_char(out, ',');
        indent(out, depth + 1);
        if (object) {
            hm_buf_str(out, key.raw);
            hm_buf_text(out, ": ");
        }
        hm_put_indented(item, depth + 1, out);
    }
    indent(out, depth);
    hm_buf_char(out, object ? '}' : ']');
}

struct exported {
    struct hm_buf head; // members of the first page that are no lists
    struct hm_buf lists[SECTIONS];
    unsigned counts[SECTIONS];
};

static void take_page(struct exported *x, struct hm_json page) {
    static const char *const told[] = {"format", "person", "institution", "made"};
    struct hm_json value, item;
    bool first = !x->head.len;
    for (size_t i = 0; first && i < sizeof told / sizeof told[0]; i++) {
        if (!hm_json_get(page, told[i], &value)) continue;
        hm_buf_printf(&x->head, "%s\n  \"%s\": ", x->head.len ? "," : "", told[i]);
        hm_buf_str(&x->head, value.raw);
    }
    for (size_t i = 0; i < SECTIONS; i++) {
        if (!hm_json_get(page, sections[i], &value)) continue;
        struct hm_json_iter it = hm_json_iter(value);
        while (hm_json_next(&it, NULL, &item)) {
            if (x->counts[i]++) hm_buf_char(&x->lists[i], ',');
            indent(&x->lists[i], 2);
            hm_put_indented(item, 2, &x->lists[i]);
        }
    }
}

static void put_params(struct hm_buf *out, const char *person, const char *reason, struct hm_str cursor) {
    hm_buf_char(out, '{');
    hm_json_member_str(out, "person", hm_str_of(person));
    if (reason) hm_json_member_str(out, "reason", hm_str_of(reason));
    if (cursor.len) hm_json_member_raw(out, "cursor", cursor);
    hm_buf_char(out, '}');
}

static bool all_pages(struct hm_client *client, struct hm_call_as as, const char *person, struct hm_buf *out,
                      struct hm_buf *data, struct hm_error *err) {
    struct exported x = {0};
    struct hm_buf cursor = {0}, params = {0}, answer = {0};
    bool ok = true;
    do {
        struct hm_json page, value;
        hm_buf_clear(&params);
        hm_buf_clear(&answer);
        put_params(&params, person, NULL, hm_buf_view(&cursor));
        ok = hm_client_do(client, "person.export", hm_buf_view(&params), as, &answer, data, err) &&
             hm_json_parse(hm_buf_view(&answer), &page, err);
        hm_buf_clear(&cursor);
        if (!ok) break;
        take_page(&x, page);
        if (hm_json_get(page, "cursor", &value) && value.kind == HM_JSON_STRING)
            hm_buf_str(&cursor, value.raw);
    } while (cursor.len);
    if (ok) {
        hm_buf_char(out, '{');
        hm_buf_str(out, hm_buf_view(&x.head));
        for (size_t i = 0; i < SECTIONS; i++) {
            hm_buf_printf(out, ",\n  \"%s\": [", sections[i]);
            hm_buf_str(out, hm_buf_view(&x.lists[i]));
            hm_buf_text(out, x.counts[i] ? "\n  ]" : "]");
        }
        hm_buf_text(out, "\n}\n");
    }
    for (size_t i = 0; i < SECTIONS; i++)
        hm_buf_free(&x.lists[i]);
    hm_buf_free(&x.head);
    hm_buf_free(&cursor);
    hm_buf_free(&params);
    hm_buf_free(&answer);
    return ok;
}

// To a new file that only its owner may read, or to stdout.
static bool write_out(const char *to, struct hm_str text, struct hm_error *err) {
    int fd = to ? open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : STDOUT_FILENO;
    if (fd < 0)
        return hm_fail(err, HM_CONFLICT, "%s: %s; name a file that does not exist yet", to, strerror(errno));
    bool ok = true;
    while (ok && text.len) {
        ssize_t n = write(fd, text.ptr, text.len);
        if (n < 0 && errno == EINTR) continue;
        ok = n > 0 || hm_fail(err, HM_UNAVAILABLE, "%s: %s", to ? to : "stdout", strerror(errno));
        if (ok) {
            text.ptr += n;
            text.len -= (size_t)n;
        }
    }
    if (to) close(fd);
    return ok;
}

// ---- erase
// ------------------------------------------------------------------------------------------------------------------

static void say_erased(struct hm_json result, const char *person) {
    struct hm_json missing, item;
    struct hm_buf set = {0};
    int64_t sets = 0;
    if (hm_json_get(result, "sets", &item)) hm_json_int(item, &sets);
    printf("%s is erased. The key is destroyed here and in %lld backup sets.\n", person, (long long)sets);
    if (!hm_json_get(result, "missing", &missing)) return;
    struct hm_json_iter it = hm_json_iter(missing);
    while (hm_json_next(&it, NULL, &item)) {
        hm_buf_clear(&set);
        hm_json_string(item, &set);
        printf("NOT in %s, which could not be reached: make it reachable and repeat this, or make the next "
               "backup "
               "into it. If it is gone for good: hamroh person forget-set.\n",
               set.data ? set.data : "");
    }
    hm_buf_free(&set);
    printf("Copies of a set's file `keyring` that were made elsewhere still open what was sealed: replace or "
           "destroy "
           "them (hamroh backup --help).\n");
}

static bool erase(struct hm_client *client, struct hm_call_as as, const char *person, const char *reason,
                  struct hm_buf *data, struct hm_error *err) {
    struct hm_buf params = {0}, answer = {0};
    struct hm_json result;
    put_params(&params, person, reason, (struct hm_str){0});
    bool ok = hm_client_do(client, "person.erase", hm_buf_view(&params), as, &answer, data, err) &&
              hm_json_parse(hm_buf_view(&answer), &result, err);
    if (ok) say_erased(result, person);
    hm_buf_free(&params);
    hm_buf_free(&answer);
    return ok;
}

static bool forget(struct hm_client *client, struct hm_call_as as, const char *set, struct hm_buf *data,
                   struct hm_error *err) {
    struct hm_buf params = {0}, answer = {0};
    hm_buf_char(&params, '{');
    hm_json_member_str(&params, "set", hm_str_of(set));
    hm_buf_char(&params, '}');
    bool ok = hm_client_do(client, "backup.forget", hm_buf_view(&params), as, &answer, data, err);
    hm_buf_free(&params);
    hm_buf_free(&answer);
    return ok;
}

int hm_cmd_person(int argc, char **argv) {
    const char *data = NULL, *institution = NULL, *to = NULL, *reason = NULL;
    const struct hm_option options[] = {{"--data", &data, NULL, true},
                                        {"--institution", &institution, NULL, true},
                                        {"--to", &to, NULL, false},
                                        {"--reason", &reason, NULL, false},
                                        {0}};
    int count, code = HM_EXIT_FAILED;
    char **words;
    struct hm_client *client = NULL;
    struct hm_buf problem = {0}, out = {0};
    struct hm_error err = {0};
    if (!hm_options(argc, argv, options, false, &count, &words)) return HM_EXIT_USAGE;
    if (!hm_words_count(argv[0], count, 2, 2)) return HM_EXIT_USAGE;
    bool exports = strcmp(words[0], "export") == 0, erases = strcmp(words[0], "erase") == 0;
    if (!exports && !erases && strcmp(words[0], "forget-set") != 0)
        return hm_complain(HM_EXIT_USAGE, argv[0],
                           "there is no action %s; there is export, erase, forget-set", words[0]);
    if (erases && (!reason || !*reason))
        return hm_complain(HM_EXIT_USAGE, argv[0],
                           "--reason is missing: why is the person erased? (It is kept.)");
    struct hm_call_as as = {.institution = institution};
    bool ok = hm_client_open(data, &client, &err);
    if (ok && exports)
        ok = all_pages(client, as, words[1], &out, &problem, &err) && write_out(to, hm_buf_view(&out), &err);
    else if (ok && erases)
        ok = erase(client, as, words[1], reason, &problem, &err);
    else if (ok)
        ok = forget(client, as, words[1], &problem, &err);
    if (ok)
        code = HM_EXIT_DONE;
    else
        hm_client_complain(argv[0], &err, hm_buf_view(&problem));
    hm_client_close(client);
    hm_buf_free(&problem);
    hm_buf_free(&out);
    return code;
}
