// One JSON line per entry on stderr, written with a single write so that lines of several threads and of
// worker processes do not mix. The time is the machine's own, also when the manual clock stands still.
#include "base/log.h"
#include "base/json.h"
#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static atomic_int lowest_level = HM_INFO;
static const char *const names[] = {"debug", "info", "warn", "error"};

void hm_log_level(enum hm_level lowest) {
    atomic_store(&lowest_level, (int)lowest);
}

void hm_log(enum hm_level level, const char *event, const char *format, ...) {
    if ((int)level < atomic_load_explicit(&lowest_level, memory_order_relaxed)) return;
    struct timespec t;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &t);
    gmtime_r(&t.tv_sec, &utc);
    char time_text[32];
    strftime(time_text, sizeof time_text, "%Y-%m-%dT%H:%M:%S", &utc);

    char line[2048];
    int len = snprintf(line, sizeof line, "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"event\":\"%s\"",
                       time_text, t.tv_nsec / 1000000, names[level], event);
    assert(len > 0 && (size_t)len < sizeof line / 2);
    size_t at = (size_t)len, room = sizeof line - at - 2; // 2: brace and line end
    if (format[0]) {
        line[at] = ',';
        va_list args;
        va_start(args, format);
        int more = vsnprintf(line + at + 1, room - 1, format, args);
        va_end(args);
        // What does not fit is left out whole: half a member would make the line unreadable for machines.
        if (more > 0 && (size_t)more < room - 1) at += 1 + (size_t)more;
    }
    line[at++] = '}';
    line[at++] = '\n';
    ssize_t put = write(STDERR_FILENO, line, at);
    (void)put; // nowhere left to complain
}
