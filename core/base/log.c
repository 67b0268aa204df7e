// One JSON line per entry on stderr, written with a single write so that lines of several threads and of
// worker processes do not mix: a line fits into what a pipe takes at once. The time is the machine's own,
// also when the manual clock stands still. What always holds: every line is one JSON object, whatever was to
// be said; what is too long or no JSON is said in another way, not left out.
#include "base/log.h"
#include "base/json.h"
#include <assert.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES PIPE_BUF

static atomic_int lowest_level = HM_INFO;
static const char *const names[] = {"debug", "info", "warn", "error"};

void hm_log_level(enum hm_level lowest) {
    atomic_store(&lowest_level, (int)lowest);
}

bool hm_log_on(enum hm_level level) {
    return (int)level >= atomic_load_explicit(&lowest_level, memory_order_relaxed);
}

const char *hm_level_name(enum hm_level level) {
    return names[level];
}

bool hm_level_of(const char *name, enum hm_level *out) {
    for (int i = HM_DEBUG; i <= HM_ERROR; i++) {
        if (strcmp(names[i], name) != 0) continue;
        *out = (enum hm_level)i;
        return true;
    }
    return false;
}

static size_t put_head(char *line, size_t size, enum hm_level level, const char *event) {
    struct timespec t;
    struct tm utc;
    char time_text[32];
    clock_gettime(CLOCK_REALTIME, &t);
    gmtime_r(&t.tv_sec, &utc);
    strftime(time_text, sizeof time_text, "%Y-%m-%dT%H:%M:%S", &utc);
    int len = snprintf(line, size, "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"event\":\"%s\"", time_text,
                       t.tv_nsec / 1000000, names[level], event);
    assert(len > 0 && (size_t)len < size / 2);
    return (size_t)len;
}

// Half a member would make the line unreadable for machines.
static size_t put_left_out(char *line, size_t at, size_t room, size_t bytes) {
    return at + (size_t)snprintf(line + at, room, ",\"left_out_bytes\":%zu", bytes);
}

// Members that are no JSON (a quotation mark in a path that nobody escaped) are told as one text.
static size_t put_as_text(char *line, size_t at, size_t room, const char *members) {
    struct hm_buf text = {0};
    hm_buf_text(&text, ",\"text\":");
    hm_json_put_str(&text, hm_str_of(members));
    size_t len = text.len;
    bool fits = len < room;
    if (fits) memcpy(line + at, text.data, len);
    hm_buf_free(&text);
    return fits ? at + len : put_left_out(line, at, room, len);
}

void hm_log(enum hm_level level, const char *event, const char *format, ...) {
    if (!hm_log_on(level)) return;
    char line[LINE_MAX_BYTES];
    size_t head = put_head(line, sizeof line, level, event);
    size_t at = head, room = sizeof line - at - 3; // comma, brace, line end
    if (format[0]) {
        va_list args;
        struct hm_json whole;
        va_start(args, format);
        int more = vsnprintf(line + at + 1, room, format, args);
        va_end(args);
        line[at] = ',';
        if (more < 0 || (size_t)more >= room) {
            at = put_left_out(line, at, room, more < 0 ? 0 : (size_t)more);
        } else {
            at += 1 + (size_t)more;
            line[at] = '}';
            if (!hm_json_parse((struct hm_str){line, at + 1}, &whole, NULL)) {
                char members[LINE_MAX_BYTES];
                line[at] = '\0';
                memcpy(members, line + head + 1, at - head);
                at = put_as_text(line, head, room, members);
            }
        }
    }
    line[at++] = '}';
    line[at++] = '\n';
    ssize_t put = write(STDERR_FILENO, line, at);
    (void)put; // nowhere left to complain
}
