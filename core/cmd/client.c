// The control socket's other end: one JSON-RPC object per line each way.
#include "cmd/client.h"
#include "base/clock.h"
#include "cmd/cmd.h"
#include "cmd/helper.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define START_MAX_US 120000000u // the plugins of many institutions are loaded meanwhile
#define OTHER_MAX_US 5000000u   // somebody else's server has the lock and not yet its socket, or not any more
#define LINE_MAX_BYTES (256u << 20)

struct hm_client {
    int fd;
    struct hm_helper helper;
    struct hm_buf in;
    int64_t last_id;
};

// ---- connecting
// -----------------------------------------------------------------------------------------------------

// The folder is named by its descriptor: a socket's name may have no more than 107 bytes. -1 with errno.
static int connect_to(const char *data_dir) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = -1, dir = open(data_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) return -1;
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/control.sock", dir);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    int saved = errno;
    if (!ok && fd >= 0) close(fd);
    close(dir);
    errno = saved;
    return ok ? fd : -1;
}

static void pause_ms(long ms) {
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static bool wait_for_server(struct hm_client *client, const char *data_dir, struct hm_error *err) {
    uint64_t limit = hm_mono_us() + START_MAX_US;
    char words[400] = "it does not answer";
    uint64_t other_since = 0;
    for (long pause = 2; hm_mono_us() < limit; pause = pause < 50 ? pause * 2 : 50) {
        client->fd = connect_to(data_dir);
        if (client->fd >= 0) return true;
        pause_ms(pause);
        if (!hm_helper_ended(&client->helper)) continue;
        hm_helper_words(&client->helper, words);
        // Perhaps another server had the lock first and opens its socket in a moment; or it has gone again
        // between two looks, when it ran for another command.
        if (!hm_helper_outrun(&client->helper)) break;
        uint64_t now = hm_mono_us();
        if (!other_since) other_since = now;
        if (now - other_since > OTHER_MAX_US) break;
        hm_helper_stop(&client->helper);
        if (!hm_helper_start(&client->helper, data_dir, err)) return false;
    }
    return hm_fail(err, HM_UNAVAILABLE, "%s cannot be opened: %s", data_dir, words);
}

bool hm_client_open(const char *data_dir, struct hm_client **out, struct hm_error *err) {
    bool ok = false;
    struct hm_client *client = hm_alloc(sizeof *client);
    struct hm_buf key = {0};
    hm_helper_init(&client->helper);
    client->fd = connect_to(data_dir);
    if (client->fd < 0) {
        bool forbidden = errno == EACCES;
        hm_buf_printf(&key, "%s/server.key", data_dir);
        if (forbidden) {
            hm_fail(err, HM_FORBIDDEN, "%s belongs to somebody else", data_dir);
            goto out;
        }
        if (access(key.data, F_OK) != 0) {
            hm_fail(err, HM_NOT_FOUND,
                    "%s is not a data folder of Hamroh's; `hamroh init --data DIR` makes one", data_dir);
            goto out;
        }
        if (!hm_helper_start(&client->helper, data_dir, err) || !wait_for_server(client, data_dir, err))
            goto out;
    }
    ok = true;
out:
    hm_buf_free(&key);
    if (!ok) {
        hm_client_close(client);
        client = NULL;
    }
    *out = client;
    return ok;
}

void hm_client_close(struct hm_client *client) {
    if (!client) return;
    if (client->fd >= 0) close(client->fd);
    hm_helper_stop(&client->helper);
    hm_buf_free(&client->in);
    free(client);
}

// ---- calls
// ----------------------------------------------------------------------------------------------------------

static bool send_all(int fd, struct hm_str bytes, struct hm_error *err) {
    while (bytes.len) {
        ssize_t n = send(fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return hm_fail(err, HM_UNAVAILABLE, "the server has gone: %s", strerror(errno));
        bytes.ptr += n;
        bytes.len -= (size_t)n;
    }
    return true;
}

// The next line, without its end; valid until the next call. *used: bytes of the line before, which are
// dropped first.
static bool read_line(struct hm_client *client, size_t *used, struct hm_str *line, struct hm_error *err) {
    hm_buf_drop(&client->in, *used);
    *used = 0;
    for (size_t scanned = 0;;) {
        size_t fresh = client->in.len - scanned;
        char *end = fresh ? memchr(client->in.data + scanned, '\n', fresh) : NULL;
        if (end) {
            *line = (struct hm_str){client->in.data, (size_t)(end - client->in.data)};
            *used = line->len + 1;
            return true;
        }
        scanned = client->in.len;
        if (scanned > LINE_MAX_BYTES) return hm_fail(err, HM_TOO_LARGE, "the server's answer is too large");
        hm_buf_reserve(&client->in, 65536);
        ssize_t n = recv(client->fd, client->in.data + client->in.len, 65536, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return hm_fail(err, HM_UNAVAILABLE, "the server went away before it answered");
        client->in.len += (size_t)n;
    }
}

static bool take_answer(struct hm_json answer, struct hm_buf *result, struct hm_buf *data,
                        struct hm_error *err) {
    struct hm_json error, member;
    if (!hm_json_get(answer, "error", &error)) {
        if (hm_json_get(answer, "result", &member)) hm_buf_str(result, member.raw);
        return true;
    }
    int64_t code = HM_INTERNAL;
    struct hm_buf text = {0};
    if (hm_json_get(error, "code", &member)) hm_json_int(member, &code);
    if (!hm_json_get(error, "message", &member) || !hm_json_string(member, &text))
        hm_buf_text(&text, "error");
    if (data && hm_json_get(error, "data", &member)) hm_buf_str(data, member.raw);
    hm_fail(err, (enum hm_code)code, "%s", text.data);
    hm_buf_free(&text);
    return false;
}

bool hm_client_call(struct hm_client *client, const char *method, struct hm_str params, struct hm_call_as as,
                    struct hm_buf *result, struct hm_buf *data, struct hm_error *err) {
    bool ok = false;
    struct hm_buf request = {0};
    struct hm_str line;
    size_t used = 0;
    int64_t id = ++client->last_id, got;
    hm_buf_text(&request, "{\"jsonrpc\":\"2.0\"");
    hm_json_member_int(&request, "id", id);
    hm_json_member_str(&request, "method", hm_str_of(method));
    if (as.institution && as.institution[0])
        hm_json_member_str(&request, "institution", hm_str_of(as.institution));
    if (as.token.len) hm_json_member_str(&request, "token", as.token);
    if (params.len) hm_json_member_raw(&request, "params", params);
    // Line ends in the caller's JSON stand between values only, where a space does as well.
    for (size_t i = 0; i < request.len; i++)
        if (request.data[i] == '\n') request.data[i] = ' ';
    hm_buf_text(&request, "}\n");
    if (!send_all(client->fd, hm_buf_view(&request), err)) goto out;
    for (;;) {
        struct hm_json answer, member;
        if (!read_line(client, &used, &line, err) || !hm_json_parse(line, &answer, err)) goto out;
        if (!hm_json_get(answer, "id", &member)) continue; // a notification
        if (member.kind == HM_JSON_NULL || (hm_json_int(member, &got) && got == id)) {
            ok = take_answer(answer, result, data, err);
            break;
        }
    }
out:
    if (used) hm_buf_drop(&client->in, used);
    hm_buf_free(&request);
    return ok;
}

// ---- jobs
// -----------------------------------------------------------------------------------------------------------

static bool get_job(struct hm_client *client, const char *id, struct hm_call_as as, struct hm_buf *text,
                    struct hm_json *out, struct hm_error *err) {
    struct hm_buf params = {0};
    struct hm_json member;
    hm_buf_char(&params, '{');
    hm_json_member_str(&params, "id", hm_str_of(id));
    hm_buf_char(&params, '}');
    hm_buf_clear(text);
    bool ok = hm_client_call(client, "job.get", hm_buf_view(&params), as, text, NULL, err) &&
              hm_json_parse(hm_buf_view(text), out, err);
    if (ok && hm_json_get(*out, "data", &member) && member.kind == HM_JSON_OBJECT) *out = member; // a record
    hm_buf_free(&params);
    return ok;
}

bool hm_client_wait(struct hm_client *client, const char *id, struct hm_call_as as,
                    void (*progress)(void *arg, double done, struct hm_str note), void *arg,
                    struct hm_buf *job, struct hm_error *err) {
    struct hm_buf text = {0}, note = {0};
    double told = -1;
    bool ended = false;
    for (long pause = 5; !ended; pause = pause < 200 ? pause * 2 : 200) {
        struct hm_json data, member;
        char state[32] = "";
        double done = 0;
        if (!get_job(client, id, as, &text, &data, err)) break;
        hm_json_get_text(data, "state", state, sizeof state);
        if (hm_json_get(data, "progress", &member)) hm_json_double(member, &done);
        hm_buf_clear(&note);
        if (hm_json_get(data, "note", &member)) hm_json_string(member, &note);
        if (progress && (done < told || done > told)) progress(arg, done, hm_buf_view(&note));
        told = done;
        ended = strcmp(state, "queued") != 0 && strcmp(state, "running") != 0;
        if (ended)
            hm_buf_str(job, data.raw);
        else
            pause_ms(pause);
    }
    hm_buf_free(&text);
    hm_buf_free(&note);
    return ended;
}

static void show_progress(void *arg, double done, struct hm_str note) {
    (void)arg;
    if (!isatty(STDERR_FILENO)) return;
    fprintf(stderr, "\r\033[K%3.0f %% %.*s", done * 100, (int)note.len, note.ptr ? note.ptr : "");
}

// What the ended job says: its result, or its error as ours.
static bool take_job(struct hm_str text, struct hm_buf *result, struct hm_buf *data, struct hm_error *err) {
    struct hm_json job, member;
    char state[32] = "", message[360] = "";
    int64_t code = HM_INTERNAL;
    if (!hm_json_parse(text, &job, err)) return false;
    hm_json_get_text(job, "state", state, sizeof state);
    if (strcmp(state, "done") == 0) {
        if (hm_json_get(job, "result", &member)) hm_buf_str(result, member.raw);
        return true;
    }
    if (hm_json_get(job, "error", &job)) {
        if (hm_json_get(job, "code", &member)) hm_json_int(member, &code);
        hm_json_get_text(job, "message", message, sizeof message);
        if (data && hm_json_get(job, "data", &member)) hm_buf_str(data, member.raw);
    }
    return hm_fail(err, (enum hm_code)code, "the job %s%s%s", state, message[0] ? ": " : "", message);
}

bool hm_client_do(struct hm_client *client, const char *method, struct hm_str params, struct hm_call_as as,
                  struct hm_buf *result, struct hm_buf *data, struct hm_error *err) {
    struct hm_buf answer = {0}, job = {0};
    struct hm_json value;
    char id[129];
    bool ok = hm_client_call(client, method, params, as, &answer, data, err) &&
              hm_json_parse(hm_buf_view(&answer), &value, err);
    if (ok && hm_json_get_text(value, "job", id, sizeof id)) {
        ok = hm_client_wait(client, id, as, show_progress, NULL, &job, err);
        if (isatty(STDERR_FILENO)) fputs("\r\033[K", stderr);
        ok = ok && take_job(hm_buf_view(&job), result, data, err);
    } else if (ok) {
        hm_buf_str(result, hm_buf_view(&answer));
    }
    hm_buf_free(&answer);
    hm_buf_free(&job);
    return ok;
}

// ---- errors for people
// ------------------------------------------------------------------------------------------------

// "file:line: message" or "path: message", whatever the object has of these.
static void print_problem(struct hm_json item) {
    struct hm_json value;
    struct hm_buf text = {0};
    char place[512];
    int64_t line = 0;
    if (hm_json_get(item, "message", &value)) hm_json_string(value, &text);
    if (hm_json_get_text(item, "file", place, sizeof place) && place[0]) {
        if (hm_json_get(item, "line", &value)) hm_json_int(value, &line);
        fprintf(stderr, "  %s:%lld: %s\n", place, (long long)line, text.len ? text.data : "");
    } else if (hm_json_get_text(item, "path", place, sizeof place) && place[0]) {
        fprintf(stderr, "  %s: %s\n", place, text.len ? text.data : "");
    } else if (text.len) {
        fprintf(stderr, "  %s\n", text.data);
    }
    hm_buf_free(&text);
}

int hm_client_complain(const char *command, const struct hm_error *err, struct hm_str data) {
    struct hm_json root, member;
    char reason[256];
    hm_complain(HM_EXIT_FAILED, command, "%s", err->message[0] ? err->message : hm_code_message(err->code));
    if (!data.len || !hm_json_parse(data, &root, NULL)) return HM_EXIT_FAILED;
    if (hm_json_get(root, "errors", &member) && member.kind == HM_JSON_ARRAY) {
        struct hm_json_iter it = hm_json_iter(member);
        while (hm_json_next(&it, NULL, &member))
            print_problem(member);
    } else {
        print_problem(root);
    }
    static const char *const more[] = {"reason", "need", "incident"};
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++)
        if (hm_json_get_text(root, more[i], reason, sizeof reason))
            fprintf(stderr, "  %s: %s\n", more[i], reason);
    return HM_EXIT_FAILED;
}
