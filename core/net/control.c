// DATA/control.sock (mode 0600): lines of JSON-RPC for commands on the same machine. Loop thread only.
// Whoever can open the socket owns the data folder, so a request acts as the administrator of the institution
// it names, unless it carries a token: then that session acts. Requests of one connection may run at the same
// time; answers carry their ids.
#include "base/log.h"
#include "net/inside.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LINE_MAX_BYTES (32u << 20) // files to be imported come this way, and on to a worker in one frame
#define READ_BYTES (64u << 10)

struct client {
    struct hm_control *control;
    struct client *next, *prev;
    struct ev_io reading, writing;
    struct hm_rpc_peer *peer;
    struct hm_buf in, out;
    size_t scanned;     // bytes of `in` known to hold no line feed
    unsigned under_way; // lines taken and not yet replied to
    bool ended;         // the peer has sent all it will
    bool broken;
};
struct hm_control {
    struct hm_net *net;
    struct ev_io accepting;
    struct client *clients;
    char *path;
};

static void client_free(struct client *client) {
    struct hm_control *control = client->control;
    ev_io_stop(control->net->loop, &client->reading);
    ev_io_stop(control->net->loop, &client->writing);
    hm_rpc_peer_close(client->peer);
    close(client->reading.fd);
    if (client->prev)
        client->prev->next = client->next;
    else
        control->clients = client->next;
    if (client->next) client->next->prev = client->prev;
    hm_buf_free(&client->in);
    hm_buf_free(&client->out);
    free(client);
}

// ---- writing ------------------------------------------------------------------------------------

static void write_out(struct client *client) {
    while (client->out.len) {
        ssize_t n = send(client->writing.fd, client->out.data, client->out.len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            client->broken = errno != EAGAIN;
            break;
        }
        hm_buf_drop(&client->out, (size_t)n);
    }
    if (client->out.len && !client->broken)
        ev_io_start(client->control->net->loop, &client->writing);
    else
        ev_io_stop(client->control->net->loop, &client->writing);
}

// Frees the client when there is nothing left to do for it. Only from the callbacks of the loop.
static void settle(struct client *client) {
    if (client->broken || (client->ended && !client->under_way && !client->out.len)) client_free(client);
}

static void on_writable(struct ev_loop *loop, struct ev_io *io, int events) {
    struct client *client = io->data;
    (void)loop;
    (void)events;
    write_out(client);
    settle(client);
}

// ---- calls --------------------------------------------------------------------------------------

static bool read_caller(struct hm_control *control, struct hm_json request, struct hm_caller *caller,
                        struct hm_error *err) {
    char token[HM_TOKEN_MAX];
    struct hm_json value;
    caller->loopback = true;
    if (hm_json_get(request, "token", &value)) {
        if (hm_json_get_text(request, "token", token, sizeof token))
            caller->session = hm_engine_session(control->net->engine, hm_str_of(token));
        return caller->session ||
               hm_fail(err, HM_UNAUTHENTICATED, "the token is not of a session that is open");
    }
    caller->control = true;
    if (!hm_json_get(request, "institution", &value))
        snprintf(caller->institution, sizeof caller->institution, "cluster");
    else if (!hm_json_get_text(request, "institution", caller->institution, sizeof caller->institution))
        return hm_fail(err, HM_REQUEST, "institution must be the id of an institution");
    return true;
}

static void call(void *owner, struct hm_json request, struct hm_str method, struct hm_str params,
                 hm_answer_fn answer, void *arg) {
    struct client *client = owner;
    struct hm_caller *caller = hm_caller_new();
    struct hm_error err = {0};
    if (!read_caller(client->control, request, caller, &err))
        answer(arg, &(struct hm_answer){.code = err.code, .message = hm_str_of(err.message)});
    else if (hm_str_eq(method, HM_LIT("feed.open")) || hm_str_eq(method, HM_LIT("feed.close")))
        answer(arg, &(struct hm_answer){.code = HM_METHOD});
    else
        hm_engine_call(client->control->net->engine, caller, method, params, answer, arg);
    hm_caller_unref(caller);
}

static void reply(void *owner, struct hm_str text) {
    struct client *client = owner;
    client->under_way--;
    if (!client->broken && text.len) {
        hm_buf_str(&client->out, text);
        hm_buf_char(&client->out, '\n');
    }
    // The watcher writes in its turn, and settles what has ended: a reply may come from within on_readable.
    ev_io_start(client->control->net->loop, &client->writing);
}

static const struct hm_rpc_ops rpc_ops = {call, reply};

static void take_line(struct client *client, struct hm_str line) {
    while (line.len && (line.ptr[line.len - 1] == '\r' || line.ptr[line.len - 1] == ' '))
        line.len--;
    if (!line.len) return;
    client->under_way++;
    if (!hm_rpc_take(client->peer, line)) {
        struct hm_buf text = {0};
        hm_rpc_put_error(&text, (struct hm_str){0}, &(struct hm_answer){.code = HM_PARSE});
        reply(client, hm_buf_view(&text));
        hm_buf_free(&text);
    }
}

static void take_lines(struct client *client) {
    size_t done = 0;
    char *end;
    while ((end = memchr(client->in.data + client->scanned, '\n', client->in.len - client->scanned))) {
        size_t at = (size_t)(end - client->in.data);
        take_line(client, (struct hm_str){client->in.data + done, at - done});
        client->scanned = done = at + 1;
    }
    hm_buf_drop(&client->in, done);
    client->scanned = client->in.len;
}

static void on_readable(struct ev_loop *loop, struct ev_io *io, int events) {
    struct client *client = io->data;
    (void)events;
    hm_buf_reserve(&client->in, READ_BYTES);
    ssize_t n = recv(io->fd, client->in.data + client->in.len, READ_BYTES, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n < 0) {
        client->broken = true;
    } else if (n == 0) {
        client->ended = true;
        ev_io_stop(loop, &client->reading);
        if (client->in.len) take_line(client, hm_buf_view(&client->in));
    } else {
        client->in.len += (size_t)n;
        take_lines(client);
        if (client->in.len > LINE_MAX_BYTES) client->broken = true;
    }
    settle(client);
}

// ---- opening ------------------------------------------------------------------------------------

static void on_accept(struct ev_loop *loop, struct ev_io *io, int events) {
    struct hm_control *control = io->data;
    (void)events;
    int fd = accept4(io->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    struct client *client = hm_alloc(sizeof *client);
    client->control = control;
    client->peer = hm_rpc_peer_new(&rpc_ops, client);
    client->next = control->clients;
    if (control->clients) control->clients->prev = client;
    control->clients = client;
    ev_io_init(&client->reading, on_readable, fd, EV_READ);
    ev_io_init(&client->writing, on_writable, fd, EV_WRITE);
    client->reading.data = client->writing.data = client;
    ev_io_start(loop, &client->reading);
}

// A socket's name may have 107 bytes; a folder's may be longer, so the folder is named by its descriptor.
static int listen_at(const char *data_dir, const char *path, struct hm_error *err) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int dir = open(data_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool ok = false;
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/control.sock", dir);
    if (dir < 0 || fd < 0) goto out;
    if (unlink(path) != 0 && errno != ENOENT) // left by a server that was killed; the folder's lock is ours
        goto out;
    // The file gets the mode that the socket has; umask would be the whole process's, and threads run.
    ok = fchmod(fd, 0600) == 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
         listen(fd, 64) == 0;
out:
    if (!ok) {
        hm_fail(err, HM_UNAVAILABLE, "cannot open the control socket %s: %s", path, strerror(errno));
        if (fd >= 0) close(fd);
    }
    if (dir >= 0) close(dir);
    return ok ? fd : -1;
}

struct hm_control *hm_control_new(struct hm_net *net, const char *data_dir, struct hm_error *err) {
    struct hm_buf path = {0};
    hm_buf_printf(&path, "%s/control.sock", data_dir);
    int fd = listen_at(data_dir, path.data, err);
    if (fd < 0) {
        hm_buf_free(&path);
        return NULL;
    }
    struct hm_control *control = hm_alloc(sizeof *control);
    control->net = net;
    control->path = path.data;
    ev_io_init(&control->accepting, on_accept, fd, EV_READ);
    control->accepting.data = control;
    ev_io_start(net->loop, &control->accepting);
    return control;
}

void hm_control_free(struct hm_control *control) {
    if (!control) return;
    ev_io_stop(control->net->loop, &control->accepting);
    close(control->accepting.fd);
    unlink(control->path);
    while (control->clients) {
        write_out(control->clients); // what still fits, so that a command sees its last answer
        client_free(control->clients);
    }
    free(control->path);
    free(control);
}
