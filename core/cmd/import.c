// `hamroh import`: a roster from a CSV file. The file is decoded here; what its rows mean is decided by
// roster.preview and roster.apply (plugins/services/roster.lua), so that the command and the web client
// agree. Without a map the columns are guessed by their names in the languages we meet, and what was guessed
// is shown.
#include "base/csv.h"
#include "base/text.h"
#include "cmd/client.h"
#include "cmd/cmd.h"
#include <stdio.h>
#include <stdlib.h>

#define FILE_MAX_BYTES (48u << 20)
#define SKIPPED_SHOWN 20

// ---- guessing a map
// -----------------------------------------------------------------------------------------------------

// Column names as people write them, folded, between bars. `more` is what the field of the map says besides
// its column.
static const struct guess {
    const char *field, *names, *more;
} guesses[] = {
    {"name",
     "|name|full name|fullname|full_name|student|f.i.sh.|f.i.sh|fish|fio|f.i.o.|ism|ism familiya|familiya "
     "ism|talaba|ф.и.о.|фио|"
     "ф.и.ш.|имя|студент|талаба|исм|",
     ""},
    {"key",
     "|external_id|id|student id|student_id|hemis id|hemis_id|hemis|username|idnumber|sourcedid|talaba "
     "id|login|логин|ид|",
     ""},
    {"group", "|group|guruh|group_name|cohort1|группа|гуруҳ|", ""},
    {"faculty", "|faculty|fakultet|department|факультет|", ""},
    {"year", "|year|kurs|course|курс|", ",\"number\":true"},
    {"gpa", "|gpa|", ",\"number\":true"},
    {"birth_date", "|birth_date|birth date|birthday|tug'ilgan sana|дата рождения|туғилган сана|",
     ",\"date\":true"},
    {"gender", "|gender|sex|jinsi|jins|пол|жинси|",
     ",\"values\":{\"f\":\"f\",\"F\":\"f\",\"m\":\"m\",\"M\":\"m\",\"female\":\"f\",\"male\":\"m\",\"ayol\":"
     "\"f\",\"Ayol\":\"f\","
     "\"erkak\":\"m\",\"Erkak\":\"m\",\"ж\":\"f\",\"Ж\":\"f\",\"м\":\"m\",\"М\":\"m\",\"аёл\":\"f\","
     "\"эркак\":\"m\"}"},
};
#define GUESSES (sizeof guesses / sizeof guesses[0])

struct header {
    struct hm_buf columns[GUESSES]; // the name of the column found for each guess
    struct hm_buf first_name, last_name;
    size_t width;
};

static bool among(const char *names, struct hm_str folded) {
    struct hm_buf wanted = {0};
    hm_buf_char(&wanted, '|');
    hm_buf_str(&wanted, folded);
    hm_buf_char(&wanted, '|');
    bool found = folded.len && strstr(names, wanted.data) != NULL;
    hm_buf_free(&wanted);
    return found;
}

static bool take_header(void *arg, const struct hm_csv_row *row) {
    struct header *header = arg;
    header->width = row->count;
    for (size_t i = 0; i < row->count; i++) {
        struct hm_buf folded = {0};
        hm_fold(row->cells[i], &folded);
        struct hm_str name = hm_buf_view(&folded);
        for (size_t g = 0; g < GUESSES; g++)
            if (!header->columns[g].len && among(guesses[g].names, name))
                hm_buf_str(&header->columns[g], row->cells[i]);
        if (among("|firstname|first name|givenname|given name|имя|ism|", name) && !header->first_name.len)
            hm_buf_str(&header->first_name, row->cells[i]);
        if (among("|lastname|last name|familyname|family name|surname|фамилия|familiya|", name) &&
            !header->last_name.len)
            hm_buf_str(&header->last_name, row->cells[i]);
        hm_buf_free(&folded);
    }
    return false; // the first row is all that is wanted
}

static void put_template(struct hm_buf *map, const char *field, const struct hm_buf *one,
                         const struct hm_buf *two, const char *between) {
    struct hm_buf text = {0};
    hm_buf_printf(&text, "{%s}%s", one->data, two->len ? between : "");
    if (two->len) hm_buf_printf(&text, "{%s}", two->data);
    hm_json_key(map, field);
    hm_buf_char(map, '{');
    hm_json_member_str(map, "template", hm_buf_view(&text));
    hm_buf_char(map, '}');
    hm_buf_free(&text);
}

static void put_column(struct hm_buf *map, const char *field, const struct hm_buf *column, const char *more) {
    hm_json_key(map, field);
    hm_buf_char(map, '{');
    hm_json_member_str(map, "column", hm_buf_view(column));
    hm_buf_text(map, more);
    hm_buf_char(map, '}');
    fprintf(stderr, "  %-11s from the column \"%s\"\n", field, column->data);
}

static bool put_guessed(struct header *h, struct hm_buf *map, struct hm_error *err) {
    bool two_names = h->first_name.len && h->last_name.len;
    const struct hm_buf *name = &h->columns[0], *key = &h->columns[1], *group = &h->columns[2];
    if (!name->len && !two_names)
        return hm_fail(
            err, HM_PARAMS,
            "no column is named like a name (name, F.I.Sh., ФИО …); say with --map what the columns mean");
    fprintf(stderr, "Without --map, taken by the names of the columns:\n");
    hm_buf_char(map, '{');
    if (key->len) {
        put_column(map, "key", key, "");
    } else {
        fprintf(stderr, "  nothing is named like an id: people are told apart by name and group\n");
        put_template(map, "key", two_names ? &h->last_name : name, two_names ? &h->first_name : group, "|");
    }
    hm_json_key(map, "person");
    hm_buf_char(map, '{');
    if (two_names) {
        put_template(map, "name", &h->last_name, &h->first_name, " ");
        fprintf(stderr, "  %-11s from the columns \"%s\" and \"%s\"\n", "name", h->last_name.data,
                h->first_name.data);
    }
    for (size_t g = 0; g < GUESSES; g++)
        if (h->columns[g].len && g != 1 && !(g == 0 && two_names))
            put_column(map, guesses[g].field, &h->columns[g], guesses[g].more);
    hm_buf_text(map, "}}");
    return true;
}

static bool guess_map(struct hm_str csv, struct hm_buf *map, struct hm_error *err) {
    struct header header = {0};
    bool ok = hm_csv_parse(csv, 0, take_header, &header, err) && put_guessed(&header, map, err);
    for (size_t g = 0; g < GUESSES; g++)
        hm_buf_free(&header.columns[g]);
    hm_buf_free(&header.first_name);
    hm_buf_free(&header.last_name);
    return ok;
}

// ---- what came of it
// ------------------------------------------------------------------------------------------------------

static int64_t number_of(struct hm_json report, const char *name) {
    struct hm_json value;
    int64_t n = 0;
    if (hm_json_get(report, name, &value) && !hm_json_int(value, &n)) n = (int64_t)hm_json_count(value);
    return n;
}

// The English text of {"text": {"en": …}}, or the text itself.
static void text_of(struct hm_json item, const char *name, struct hm_buf *out) {
    struct hm_json value, language;
    if (!hm_json_get(item, name, &value)) return;
    if (hm_json_get(value, "en", &language)) value = language;
    if (!hm_json_string(value, out)) hm_buf_str(out, value.raw);
}

static void print_counts(struct hm_json report) {
    static const char *const rows[][2] = {
        {"total", "lines with people"}, {"created", "new people"},         {"updated", "people with changes"},
        {"unchanged", "as they were"},  {"outside", "outside of `where`"}, {"skipped", "passed over"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        printf("%8lld  %s\n", (long long)number_of(report, rows[i][0]), rows[i][1]);
}

static void print_skipped(struct hm_json report) {
    struct hm_json list, item;
    size_t shown = 0;
    if (!hm_json_get(report, "skipped", &list)) return;
    struct hm_json_iter it = hm_json_iter(list);
    while (hm_json_next(&it, NULL, &item)) {
        struct hm_buf why = {0};
        if (shown++ == SKIPPED_SHOWN) printf("  … and %zu more\n", hm_json_count(list) - SKIPPED_SHOWN);
        if (shown > SKIPPED_SHOWN) break;
        text_of(item, "text", &why);
        if (!why.len) {
            text_of(item, "reason", &why);
            hm_buf_text(&why, " ");
            text_of(item, "detail", &why);
        }
        printf("  line %lld passed over: %s\n", (long long)number_of(item, "line"), why.data);
        hm_buf_free(&why);
    }
}

static void print_warnings(struct hm_json report) {
    struct hm_json list, item;
    if (!hm_json_get(report, "warnings", &list)) return;
    struct hm_json_iter it = hm_json_iter(list);
    while (hm_json_next(&it, NULL, &item)) {
        struct hm_buf text = {0};
        text_of(item, "text", &text);
        if (!text.len && !hm_json_string(item, &text)) hm_buf_str(&text, item.raw);
        printf("  note: %s\n", text.data);
        hm_buf_free(&text);
    }
}

static void print_sample(struct hm_json report) {
    struct hm_json list, item, person;
    if (!hm_json_get(report, "sample", &list) || !hm_json_count(list)) return;
    printf("The first ones as they would be kept:\n");
    struct hm_json_iter it = hm_json_iter(list);
    while (hm_json_next(&it, NULL, &item)) {
        if (!hm_json_get(item, "person", &person)) continue;
        printf("  line %-5lld %.*s\n", (long long)number_of(item, "line"), (int)person.raw.len,
               person.raw.ptr);
    }
}

static void print_report(struct hm_json report, bool sample) {
    print_counts(report);
    print_skipped(report);
    print_warnings(report);
    if (sample) print_sample(report);
}

// ---- the command
// ------------------------------------------------------------------------------------------------------------

// Does roster.preview or roster.apply and prints its report; false after saying what went wrong.
static bool ask(struct hm_client *client, const char *institution, const char *method, struct hm_str params,
                bool sample) {
    struct hm_buf result = {0}, data = {0};
    struct hm_json report;
    struct hm_error err = {0};
    struct hm_call_as as = {.institution = institution};
    bool ok = hm_client_do(client, method, params, as, &result, &data, &err) &&
              hm_json_parse(hm_buf_view(&result), &report, &err);
    if (ok)
        print_report(report, sample);
    else
        hm_client_complain("import", &err, hm_buf_view(&data));
    hm_buf_free(&result);
    hm_buf_free(&data);
    return ok;
}

// {"csv": …, "map": …}
static bool make_params(const char *file, const char *map_file, struct hm_buf *params, struct hm_error *err) {
    struct hm_buf bytes = {0}, csv = {0}, map = {0};
    struct hm_json checked;
    const char *encoding = NULL;
    bool ok = hm_read_file(file, FILE_MAX_BYTES, &bytes, err) &&
              hm_csv_to_utf8(hm_buf_view(&bytes), &csv, &encoding, err);
    if (ok) fprintf(stderr, "%s is read as %s.\n", file, encoding);
    ok = ok &&
         (map_file ? hm_read_file(map_file, 1u << 20, &map, err) : guess_map(hm_buf_view(&csv), &map, err));
    if (ok && !hm_json_parse(hm_buf_view(&map), &checked, err)) {
        struct hm_error why = *err;
        ok = hm_fail(err, HM_PARAMS, "%s: %s", map_file ? map_file : "the guessed map", why.message);
    }
    if (ok) {
        hm_buf_char(params, '{');
        hm_json_member_str(params, "csv", hm_buf_view(&csv));
        hm_json_member_raw(params, "map", checked.raw);
        hm_buf_char(params, '}');
    }
    hm_buf_free(&bytes);
    hm_buf_free(&csv);
    hm_buf_free(&map);
    return ok;
}

int hm_cmd_import(int argc, char **argv) {
    const char *data = NULL, *institution = NULL, *map = NULL;
    bool apply = false;
    const struct hm_option options[] = {
        {"--data", &data, NULL, true},
        {"--institution", &institution, NULL, true},
        {"--map", &map, NULL, false},
        {"--apply", NULL, &apply, false},
        {0},
    };
    int count, code = HM_EXIT_FAILED;
    char **words;
    if (!hm_options(argc, argv, options, false, &count, &words)) return HM_EXIT_USAGE;
    if (!hm_words_count(argv[0], count, 1, 1)) return HM_EXIT_USAGE;
    struct hm_client *client = NULL;
    struct hm_buf params = {0};
    struct hm_error err = {0};
    if (!make_params(words[0], map, &params, &err) || !hm_client_open(data, &client, &err)) {
        hm_complain(code, argv[0], "%s", err.message);
        goto out;
    }
    const char *method = apply ? "roster.apply" : "roster.preview";
    if (!ask(client, institution, method, hm_buf_view(&params), !apply)) goto out;
    if (!apply) printf("Nothing was written. Say --apply to import.\n");
    code = HM_EXIT_DONE;
out:
    hm_client_close(client);
    hm_buf_free(&params);
    return code;
}
