// The control socket from the other side: a line of JSON each way. Blocking, one call at a time.
#include "cmd/client.h"
#include "base/clock.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_MS 30000

struct hm_client {
    int fd;
    pid_t server; // started for us, or 0
    uint64_t last_id;
    struct hm_buf in;
};

static int connect_to(const char *data_dir, struct hm_error *err) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int n = snprintf(address.sun_path, sizeof address.sun_path, "%s/control.sock", data_dir);
    if (n < 0 || (size_t)n >= sizeof address.sun_path) {
        hm_fail(err, HM_PARAMS, "the path %s is too long for a socket; use a shorter one", data_dir);
        return -2;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
    if (fd >= 0) close(fd);
    return -1;
}

// The child gets nothing of ours but stderr, and ends with us if we die.
static pid_t start_server(const char *data_dir) {
    pid_t pid = fork();
    if (pid != 0) return pid;
    int null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    dup2(null, 1);
    setenv("HAMROH_PARENT", "1", 1);
    execl("/proc/self/exe", "hamroh", "serve", "--data", data_dir, "--control-only", (char *)NULL);
    _exit(127);
}

static bool wait_for(struct hm_client *client, const char *data_dir, struct hm_error *err) {
    uint64_t until = hm_mono_us() + START_MS * 1000ull;
    while (hm_mono_us() < until) {
        int status;
        if (waitpid(client->server, &status, WNOHANG) == client->server) {
            client->server = 0;
            return hm_fail(err, HM_UNAVAILABLE, "the engine could not start on %s (its message is above)",
                           data_dir);
        }
        client->fd = connect_to(data_dir, err);
        if (client->fd >= 0) return true;
        usleep(10000);
    }
    return hm_fail(err, HM_UNAVAILABLE, "the engine did not come up on %s within %d s", data_dir,
                   START_MS / 1000);
}

bool hm_client_open(const char *data_dir, struct hm_client **out, struct hm_error *err) {
    char path[4096];
    snprintf(path, sizeof path, "%s/server.key", data_dir);
    if (access(path, F_OK) != 0)
        return hm_fail(err, HM_NOT_FOUND,
                       "%s is no data folder of Hamroh's; make one with: hamroh init --data %s", data_dir,
                       data_dir);
    struct hm_client *client = hm_alloc(sizeof *client);
    signal(SIGPIPE, SIG_IGN);
    client->fd = connect_to(data_dir, err);
    bool ok = client->fd != -2;
    if (client->fd == -1) {
        client->server = start_server(data_dir);
        ok = client->server > 0 ? wait_for(client, data_dir, err)
                                : hm_fail(err, HM_UNAVAILABLE, "cannot start a process: %s", strerror(errno));
    }
    if (ok) {
        *out = client;
        return true;
    }
    hm_client_close(client);
    return false;
}

void hm_client_close(struct hm_client *client) {
    if (!client) return;
    if (client->fd >= 0) close(client->fd);
    if (client->server > 0) {
        kill(client->server, SIGTERM);
        waitpid(client->server, NULL, 0);
    }
    hm_buf_free(&client->in);
    free(client);
}

static bool send_all(int fd, struct hm_str text, struct hm_error *err) {
    while (text.len) {
        ssize_t n = write(fd, text.ptr, text.len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return hm_fail(err, HM_UNAVAILABLE, "the server went away: %s", strerror(errno));
        text.ptr += n;
        text.len -= (size_t)n;
    }
    return true;
}

// One line into `line` (without its end); what was read beyond it stays for the next.
static bool read_line(struct hm_client *client, struct hm_buf *line, struct hm_error *err) {
    size_t looked = 0;
    for (;;) {
        char *end =
            client->in.len > looked ? memchr(client->in.data + looked, '\n', client->in.len - looked) : NULL;
        if (end) {
            size_t len = (size_t)(end - client->in.data);
            hm_buf_add(line, client->in.data, len);
            hm_buf_drop(&client->in, len + 1);
            return true;
        }
        looked = client->in.len;
        hm_buf_reserve(&client->in, 65536);
        ssize_t n = read(client->fd, client->in.data + client->in.len, 65536);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return hm_fail(err, HM_UNAVAILABLE, "the server went away before it answered");
        client->in.len += (size_t)n;
    }
}

static void put_request(struct hm_client *client, const char *institution, const char *token,
                        const char *method, struct hm_str params, struct hm_buf *out) {
    hm_buf_text(out, "{\"jsonrpc\":\"2.0\"");
    hm_json_member_int(out, "id", (int64_t)++client->last_id);
    hm_json_member_str(out, "method", hm_str_of(method));
    if (params.len) hm_json_member_raw(out, "params", params);
    if (institution) hm_json_member_str(out, "institution", hm_str_of(institution));
    if (token) hm_json_member_str(out, "token", hm_str_of(token));
    hm_buf_text(out, "}\n");
}

static bool take_answer(struct hm_json answer, struct hm_buf *result, struct hm_error *err) {
    struct hm_json value, member;
    int64_t code = HM_INTERNAL;
    if (hm_json_get(answer, "result", &value)) {
        hm_buf_str(result, value.raw);
        return true;
    }
    if (!hm_json_get(answer, "error", &value))
        return hm_fail(err, HM_INTERNAL, "the server's answer makes no sense");
    if (hm_json_get(value, "code", &member)) hm_json_int(member, &code);
    struct hm_buf text = {0};
    struct hm_json data = {0};
    bool has_data = hm_json_get(value, "data", &data);
    if (!(has_data && hm_json_get(data, "message", &member) && hm_json_string(member, &text)) &&
        hm_json_get(value, "message", &member))
        hm_json_string(member, &text);
    if (has_data) hm_buf_str(result, data.raw);
    hm_fail(err, (enum hm_code)code, "%s", text.data ? text.data : hm_code_message((enum hm_code)code));
    hm_buf_free(&text);
    return false;
}

bool hm_client_call(struct hm_client *client, const char *institution, const char *token, const char *method,
                    struct hm_str params, struct hm_buf *result, struct hm_error *err) {
    struct hm_buf request = {0}, line = {0};
    struct hm_json answer, id = {0};
    int64_t number = 0;
    bool ok = false;
    put_request(client, institution, token, method, params, &request);
    if (!send_all(client->fd, hm_buf_view(&request), err)) goto out;
    do { // notices and answers to nobody are passed over
        hm_buf_clear(&line);
        if (!read_line(client, &line, err) || !hm_json_parse(hm_buf_view(&line), &answer, err)) goto out;
        number = 0;
        if (hm_json_get(answer, "id", &id)) hm_json_int(id, &number);
        if (id.kind == HM_JSON_NULL && hm_json_get(answer, "error", &id)) break;
    } while (number != (int64_t)client->last_id);
    ok = take_answer(answer, result, err);
out:
    hm_buf_free(&line);
    hm_buf_free(&request);
    return ok;
}

static void show_progress(struct hm_json data, bool end) {
    struct hm_json value;
    struct hm_buf note = {0};
    double part = 0;
    if (!isatty(2)) return;
    if (hm_json_get(data, "progress", &value)) hm_json_double(value, &part);
    if (hm_json_get(data, "note", &value)) hm_json_string(value, &note);
    fprintf(stderr, "\r\033[K%3.0f %% %s%s", part * 100, note.data ? note.data : "", end ? "\r\033[K" : "");
    fflush(stderr);
    hm_buf_free(&note);
}

// job.get gives the job's data, or a record of it: both have been seen by commands of other versions.
static struct hm_json job_data(struct hm_json job) {
    struct hm_json data;
    return hm_json_get(job, "data", &data) ? data : job;
}

bool hm_client_job(struct hm_client *client, const char *institution, struct hm_str job,
                   struct hm_buf *result, struct hm_error *err) {
    struct hm_buf params = {0}, text = {0}, message = {0};
    struct hm_json whole, data, error;
    char state[24] = "";
    bool ok = false;
    hm_buf_char(&params, '{');
    hm_json_member_str(&params, "id", job);
    hm_buf_char(&params, '}');
    for (unsigned wait_us = 5000;; wait_us = wait_us < 200000 ? wait_us * 2 : wait_us) {
        hm_buf_clear(&text);
        if (!hm_client_call(client, institution, NULL, "job.get", hm_buf_view(&params), &text, err)) goto out;
        if (!hm_json_parse(hm_buf_view(&text), &whole, err)) goto out;
        data = job_data(whole);
        hm_json_get_text(data, "state", state, sizeof state);
        bool ended = strcmp(state, "queued") != 0 && strcmp(state, "running") != 0;
        show_progress(data, ended);
        if (ended) break;
        usleep(wait_us);
    }
    if (strcmp(state, "done") == 0) {
        hm_buf_str(result, data.raw);
        ok = true;
    } else {
        struct hm_json text_value;
        if (hm_json_get(data, "error", &error) && hm_json_get(error, "message", &text_value))
            hm_json_string(text_value, &message);
        hm_fail(err, HM_INTERNAL, "the job ended as %s: %s", state,
                message.data ? message.data : "without a reason");
    }
out:
    hm_buf_free(&message);
    hm_buf_free(&text);
    hm_buf_free(&params);
    return ok;
}

void hm_client_complain(const char *command, const struct hm_error *err, struct hm_str data) {
    struct hm_json root, list, item, value;
    char file[256], path[256];
    int64_t line = 0;
    fprintf(stderr, "hamroh %s: %s\n", command, err->message);
    if (!data.len || !hm_json_parse(data, &root, NULL)) return;
    if (hm_json_get(root, "errors", &list)) {
        struct hm_json_iter it = hm_json_iter(list);
        while (hm_json_next(&it, NULL, &item)) {
            struct hm_buf text = {0};
            if (hm_json_get(item, "message", &value)) hm_json_string(value, &text);
            if (hm_json_get_text(item, "file", file, sizeof file)) {
                line = 0;
                if (hm_json_get(item, "line", &value)) hm_json_int(value, &line);
                fprintf(stderr, "  %s:%lld: %s\n", file, (long long)line, text.data ? text.data : "");
            } else {
                if (!hm_json_get_text(item, "path", path, sizeof path)) path[0] = '\0';
                fprintf(stderr, "  %s: %s\n", path, text.data ? text.data : "");
            }
            hm_buf_free(&text);
        }
    } else if (hm_json_get_text(root, "file", file, sizeof file)) {
        if (hm_json_get(root, "line", &value)) hm_json_int(value, &line);
        fprintf(stderr, "  %s:%lld\n", file, (long long)line);
    }
}
