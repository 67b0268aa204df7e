// What an author is shown of a try, of the log and of recordings. Plain lines for people, or with --json the
// answer of the server as it came. One thread, one call at a time.
#include "cmd/plugin_author.h"
#include "base/id.h"
#include "cmd/cmd.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define POLL_MS 400
#define SHOWN 20 // rows of each list

static bool ask(const struct hm_author_work *w, const char *method, struct hm_str params,
                struct hm_buf *result, struct hm_json *out) {
    struct hm_buf data = {0};
    struct hm_error err = {0};
    struct hm_call_as as = {.institution = w->institution};
    bool ok = hm_client_do(w->client, method, params, as, result, &data, &err) &&
              hm_json_parse(hm_buf_view(result), out, &err);
    if (!ok) hm_client_complain("plugin", &err, hm_buf_view(&data));
    hm_buf_free(&data);
    return ok;
}

// JSON that was typed; false after saying what is wrong with it.
static bool put_typed(struct hm_buf *params, const char *name, const char *option, const char *typed) {
    struct hm_json value;
    struct hm_error err = {0};
    if (!typed) return true;
    if (!hm_json_parse(hm_str_of(typed), &value, &err)) {
        hm_complain(HM_EXIT_USAGE, "plugin", "%s takes JSON, such as '{\"q1\":3}': %s", option, err.message);
        return false;
    }
    hm_json_member_raw(params, name, value.raw);
    return true;
}

static bool put_number(struct hm_buf *params, const char *name, const char *typed) {
    char *end = NULL;
    if (!typed) return true;
    long n = strtol(typed, &end, 10);
    if (!*typed || *end) {
        hm_complain(HM_EXIT_USAGE, "plugin", "--%s takes a whole number, not %s", name, typed);
        return false;
    }
    hm_json_member_int(params, name, n);
    return true;
}

static void put_text(struct hm_buf *params, const char *name, const char *text) {
    if (text && text[0]) hm_json_member_str(params, name, hm_str_of(text));
}

// The source of a file, with kind and id where they are asked for.
static bool put_file(const struct hm_author_work *w, struct hm_buf *params, bool with_name) {
    struct hm_buf source = {0};
    struct hm_error err = {0};
    const struct hm_plugin_kind *kind;
    char id[HM_NAME_MAX + 1];
    if (!w->file) return true;
    bool ok = hm_plugin_read_file(w->file, &kind, id, sizeof id, &source, &err);
    if (!ok) {
        hm_complain(HM_EXIT_FAILED, "plugin", "%s", err.message);
    } else {
        if (with_name) put_text(params, "kind", kind->name);
        if (with_name) put_text(params, "id", id);
        hm_json_member_str(params, "source", hm_buf_view(&source));
    }
    hm_buf_free(&source);
    return ok;
}

// ---- showing ------------------------------------------------------------------------------------------

static void text_of(struct hm_json object, const char *name, struct hm_buf *out) {
    struct hm_json value;
    hm_buf_clear(out);
    hm_buf_reserve(out, 1);
    out->data[0] = '\0';
    if (!hm_json_get(object, name, &value)) return;
    if (value.kind == HM_JSON_STRING)
        hm_json_string(value, out);
    else
        hm_buf_str(out, value.raw);
}

static const char *member(struct hm_json object, const char *name) {
    static struct hm_buf texts[8];
    static unsigned next;
    struct hm_buf *b = &texts[next++ % 8];
    text_of(object, name, b);
    return b->data;
}

static int64_t count_of(struct hm_json object, const char *name) {
    struct hm_json value;
    int64_t n = 0;
    if (hm_json_get(object, name, &value)) hm_json_int(value, &n);
    return n;
}

static void print_line(struct hm_json line, bool with_time) {
    if (with_time) {
        time_t seconds = (time_t)(count_of(line, "time") / 1000);
        struct tm utc;
        char when[16];
        strftime(when, sizeof when, "%H:%M:%S", gmtime_r(&seconds, &utc));
        printf("%s ", when);
    }
    printf("%-5s %s/%s %s", member(line, "level"), member(line, "kind"), member(line, "id"),
           member(line, "version"));
    if (with_time && member(line, "method")[0]) printf(" %s", member(line, "method"));
    if (member(line, "file")[0]) printf(" %s:%lld", member(line, "file"), (long long)count_of(line, "line"));
    printf(": %s\n", member(line, "text"));
    if (count_of(line, "missed")) printf("      (%lld lines missed)\n", (long long)count_of(line, "missed"));
}

static void print_indented(const char *title, struct hm_json value) {
    struct hm_buf out = {0};
    hm_put_indented(value, 0, &out);
    printf("%s%.*s\n", title, (int)out.len, out.data ? out.data : "");
    hm_buf_free(&out);
}

// The fields that differ, each with what it was and would be.
static void print_fields(struct hm_json change) {
    struct hm_json before = {0}, after = {0}, key, value, other;
    hm_json_get(change, "before", &before);
    hm_json_get(change, "after", &after);
    for (int turn = 0; turn < 2; turn++) {
        struct hm_json_iter it = hm_json_iter(turn ? before : after);
        while (hm_json_next(&it, &key, &value)) {
            struct hm_buf name = {0};
            hm_json_string(key, &name);
            hm_buf_char(&name, '\0');
            bool both = hm_json_get(turn ? after : before, name.data, &other);
            if (both && (turn || hm_str_eq(other.raw, value.raw))) {
                hm_buf_free(&name);
                continue;
            }
            struct hm_str was = turn ? value.raw : both ? other.raw : HM_LIT("-");
            struct hm_str is = turn ? HM_LIT("-") : value.raw;
            printf("    %s: %.*s -> %.*s\n", name.data, (int)(was.len < 200 ? was.len : 200), was.ptr,
                   (int)(is.len < 200 ? is.len : 200), is.ptr);
            hm_buf_free(&name);
        }
    }
}

static void print_changes(struct hm_json root) {
    struct hm_json list, item, value;
    int64_t count = count_of(root, "changes_count");
    if (!hm_json_get(root, "changes", &list)) return;
    printf("%lld record%s would change%s\n", (long long)count, count == 1 ? "" : "s", count ? ":" : "");
    struct hm_json_iter it = hm_json_iter(list);
    for (int i = 0; i < SHOWN && hm_json_next(&it, NULL, &item); i++) {
        bool hidden = hm_json_get(item, "hidden", &value);
        printf("  %s %s %s%s\n", member(item, "action"), member(item, "type"), member(item, "id"),
               hidden ? " (not for an administrator's eyes)" : "");
        print_fields(item);
    }
    if (count > SHOWN) printf("  … and %lld more\n", (long long)count - SHOWN);
}

static void print_logs(struct hm_json root) {
    struct hm_json list, item;
    if (!hm_json_get(root, "logs", &list)) return;
    struct hm_json_iter it = hm_json_iter(list);
    while (hm_json_next(&it, NULL, &item))
        print_line(item, false);
}

static void print_error(struct hm_json error) {
    struct hm_json data = {0};
    hm_json_get(error, "data", &data);
    const char *message = member(data, "message");
    printf("It fails: %s (%s)\n", message[0] ? message : member(error, "message"), member(error, "code"));
    if (member(data, "file")[0])
        printf("  %s:%lld\n", member(data, "file"), (long long)count_of(data, "line"));
    struct hm_json list, item;
    if (!hm_json_get(data, "errors", &list)) return;
    struct hm_json_iter it = hm_json_iter(list);
    while (hm_json_next(&it, NULL, &item))
        printf("  %s: %s\n", member(item, "path"), member(item, "message"));
}

// ---- a matching rule ----------------------------------------------------------------------------------

static void print_moved(struct hm_json result, const char *list_name, const char *title) {
    struct hm_json list, item, why, text;
    if (!hm_json_get(result, list_name, &list) || !hm_json_count(list)) return;
    printf("%s\n", title);
    struct hm_json_iter it = hm_json_iter(list);
    for (int i = 0; i < SHOWN && hm_json_next(&it, NULL, &item); i++) {
        printf("  %s:", member(item, "mentee_name"));
        if (member(item, "from_name")[0])
            printf(" %s (%s)", member(item, "from_name"), member(item, "from_points"));
        if (member(item, "to_name")[0])
            printf(" -> %s (%s)", member(item, "to_name"), member(item, "to_points"));
        if ((hm_json_get(item, "why", &why) || hm_json_get(item, "from_why", &why)) &&
            hm_json_get(why, "text", &text))
            printf("; %s", member(text, "en"));
        putchar('\n');
    }
    if (hm_json_count(list) > SHOWN) printf("  …\n");
}

static bool print_preview(struct hm_json result) {
    struct hm_json before, after, counts;
    if (!hm_json_get(result, "before", &before) || !hm_json_get(result, "after", &after) ||
        !hm_json_get(result, "counts", &counts))
        return false;
    printf("Programme \"%s\", compared with %s:\n", member(result, "programme_title"),
           strcmp(member(before, "source"), "proposal") == 0 ? "its newest proposal"
           : strcmp(member(before, "source"), "pairs") == 0  ? "the pairs there are"
                                                             : "nothing (there are no pairs yet)");
    printf("  before: %s pairs, worst %s, median %s points\n", member(before, "matched"),
           member(before, "worst"), member(before, "median"));
    printf("  after:  %s pairs, worst %s, median %s points\n", member(after, "matched"),
           member(after, "worst"), member(after, "median"));
    printf("  %s stay, %s change, %s gain a mentor, %s lose theirs, %s are without\n", member(counts, "kept"),
           member(counts, "changed"), member(counts, "gained"), member(counts, "lost"),
           member(counts, "unmatched"));
    print_moved(result, "changed", "Other mentors:");
    print_moved(result, "gained", "Gain a mentor:");
    print_moved(result, "lost", "Lose their mentor:");
    return true;
}

// ---- try and replay -----------------------------------------------------------------------------------

static int print_try(const struct hm_author_work *w, struct hm_json root) {
    struct hm_json value;
    bool failed = hm_json_get(root, "error", &value);
    if (w->json) {
        print_indented("", root);
        return failed ? HM_EXIT_FAILED : HM_EXIT_DONE;
    }
    printf("%s/%s %s: %s, %s ms of CPU; nothing was changed\n", member(root, "kind"), member(root, "id"),
           member(root, "version"), member(root, "method"), member(root, "cpu_ms"));
    if (failed)
        print_error(value);
    else if (hm_json_get(root, "result", &value) &&
             !(strcmp(member(root, "kind"), "matcher") == 0 && print_preview(value)))
        print_indented("", value);
    if (!failed) print_changes(root);
    print_logs(root);
    return failed ? HM_EXIT_FAILED : HM_EXIT_DONE;
}

int hm_author_try(const struct hm_author_work *w) {
    struct hm_buf params = {0}, result = {0};
    struct hm_json root;
    int code = HM_EXIT_USAGE;
    hm_buf_char(&params, '{');
    if (!w->file) put_text(&params, "kind", w->kind);
    if (!w->file) put_text(&params, "id", w->id);
    put_text(&params, "method", w->method);
    put_text(&params, "person", w->person);
    put_text(&params, "programme", w->programme);
    if (!put_typed(&params, "params", "--params", w->params) ||
        !put_typed(&params, "answers", "--answers", w->answers))
        goto out;
    code = HM_EXIT_FAILED;
    if (!put_file(w, &params, true)) goto out;
    hm_buf_char(&params, '}');
    if (ask(w, "plugin.try", hm_buf_view(&params), &result, &root)) code = print_try(w, root);
out:
    hm_buf_free(&params);
    hm_buf_free(&result);
    return code;
}

static void print_places(struct hm_json differences, const char *part) {
    struct hm_json one, places, item, value;
    if (!hm_json_get(differences, part, &one) || !count_of(one, "count")) return;
    printf("%s differs in %s place%s:\n", strcmp(part, "intents") == 0 ? "What it writes" : part,
           member(one, "count"), count_of(one, "count") == 1 ? "" : "s");
    if (!hm_json_get(one, "places", &places)) return;
    struct hm_json_iter it = hm_json_iter(places);
    for (int i = 0; i < SHOWN && hm_json_next(&it, NULL, &item); i++) {
        printf("  %s", member(item, "path")[0] ? member(item, "path") : "(the whole)");
        if (hm_json_get(item, "was", &value)) printf(": was %.*s", (int)value.raw.len, value.raw.ptr);
        if (hm_json_get(item, "is", &value)) printf(", is %.*s", (int)value.raw.len, value.raw.ptr);
        if (hm_json_get(item, "gone", &value)) printf(" (gone)");
        if (hm_json_get(item, "added", &value)) printf(" (new)");
        putchar('\n');
    }
}

// Exit code 1 when it does not come to the same.
int hm_author_replay(const struct hm_author_work *w) {
    struct hm_buf params = {0}, result = {0};
    struct hm_json root, value;
    int code = HM_EXIT_FAILED;
    hm_buf_char(&params, '{');
    put_text(&params, "recording", w->recording);
    if (!put_file(w, &params, false)) goto out;
    hm_buf_char(&params, '}');
    if (!ask(w, "plugin.replay", hm_buf_view(&params), &result, &root)) goto out;
    bool equal = hm_json_get(root, "equal", &value) && value.kind == HM_JSON_TRUE;
    code = equal ? HM_EXIT_DONE : HM_EXIT_FAILED;
    if (w->json) {
        print_indented("", root);
        goto out;
    }
    struct hm_json recorded = {0}, differences = {0};
    hm_json_get(root, "recorded", &recorded);
    hm_json_get(root, "differences", &differences);
    printf("%s/%s: %s, recorded with version %s, run again with %s, %s ms of CPU\n", member(root, "kind"),
           member(root, "id"), member(root, "method"), member(recorded, "version"), member(root, "version"),
           member(root, "cpu_ms"));
    printf(equal ? "It comes to the same.\n" : "It does not come to the same.\n");
    if (strcmp(member(root, "sealed"), "true") == 0)
        printf("The call has to do with sealed fields: no values are shown.\n");
    static const char *const parts[] = {"result", "error", "intents"};
    for (size_t i = 0; i < 3; i++)
        print_places(differences, parts[i]);
    if (hm_json_get(root, "error", &value)) print_error(value);
    print_changes(root);
    print_logs(root);
out:
    hm_buf_free(&params);
    hm_buf_free(&result);
    return code;
}

// ---- the log ------------------------------------------------------------------------------------------

static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig) {
    (void)sig;
    interrupted = 1;
}

int hm_author_log(const struct hm_author_work *w) {
    struct hm_buf params = {0}, result = {0};
    struct hm_json root, list, item;
    int64_t after = 0;
    bool ok = true;
    if (w->follow) {
        struct sigaction action = {.sa_handler = on_interrupt};
        sigaction(SIGINT, &action, NULL);
        sigaction(SIGTERM, &action, NULL);
    }
    do {
        hm_buf_clear(&params);
        hm_buf_clear(&result);
        hm_buf_char(&params, '{');
        put_text(&params, "kind", w->kind);
        put_text(&params, "id", w->id);
        put_text(&params, "level", w->level);
        if (!put_number(&params, "limit", after ? "1000" : w->limit)) {
            ok = false;
            break;
        }
        hm_json_member_int(&params, "after", after);
        hm_buf_char(&params, '}');
        ok = ask(w, "plugin.log", hm_buf_view(&params), &result, &root);
        if (ok && hm_json_get(root, "items", &list)) {
            struct hm_json_iter it = hm_json_iter(list);
            while (hm_json_next(&it, NULL, &item)) {
                if (w->json)
                    printf("%.*s\n", (int)item.raw.len, item.raw.ptr);
                else
                    print_line(item, true);
            }
            after = count_of(root, "last");
            fflush(stdout);
        }
        struct timespec pause = {0, POLL_MS * 1000000L};
        if (ok && w->follow && !interrupted) nanosleep(&pause, NULL);
    } while (ok && w->follow && !interrupted);
    hm_buf_free(&params);
    hm_buf_free(&result);
    return ok ? HM_EXIT_DONE : HM_EXIT_FAILED;
}

// ---- recordings ---------------------------------------------------------------------------------------

int hm_author_record(const struct hm_author_work *w) {
    struct hm_buf params = {0}, result = {0};
    struct hm_json root;
    int code = HM_EXIT_USAGE;
    hm_buf_char(&params, '{');
    put_text(&params, "kind", w->kind);
    put_text(&params, "id", w->id);
    if (w->failures) hm_json_member_raw(&params, "failures", HM_LIT("true"));
    if (!put_number(&params, "calls", w->calls) || !put_number(&params, "minutes", w->minutes)) goto out;
    hm_buf_char(&params, '}');
    code = HM_EXIT_FAILED;
    if (!ask(w, "plugin.record", hm_buf_view(&params), &result, &root)) goto out;
    code = HM_EXIT_DONE;
    if (count_of(root, "calls"))
        printf("The next %s %s of %s/%s will be recorded, for %s minutes at most.\n", member(root, "calls"),
               w->failures ? "failures" : "calls", member(root, "kind"), member(root, "id"),
               w->minutes ? w->minutes : "60");
    else
        printf("%s/%s is recorded no more.\n", member(root, "kind"), member(root, "id"));
out:
    hm_buf_free(&params);
    hm_buf_free(&result);
    return code;
}

int hm_author_recordings(const struct hm_author_work *w) {
    struct hm_buf params = {0}, result = {0};
    struct hm_json root, list, item;
    hm_buf_char(&params, '{');
    put_text(&params, "kind", w->kind);
    put_text(&params, "id", w->id);
    hm_buf_char(&params, '}');
    bool ok = ask(w, "plugin.recordings", hm_buf_view(&params), &result, &root);
    if (ok && w->json) {
        print_indented("", root);
    } else if (ok && hm_json_get(root, "items", &list)) {
        struct hm_json_iter it = hm_json_iter(list);
        while (hm_json_next(&it, NULL, &item)) {
            time_t seconds = (time_t)(count_of(item, "time") / 1000);
            struct tm utc;
            char when[32];
            strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&seconds, &utc));
            printf("%s  %s  %s/%s %s %s%s\n", member(item, "recording"), when, member(item, "kind"),
                   member(item, "id"), member(item, "method"),
                   strcmp(member(item, "failed"), "true") == 0 ? "failed" : "",
                   strcmp(member(item, "sealed"), "true") == 0 ? " (sealed fields)" : "");
        }
    }
    hm_buf_free(&params);
    hm_buf_free(&result);
    return ok ? HM_EXIT_DONE : HM_EXIT_FAILED;
}
