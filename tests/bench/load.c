// The load generator: many WebSocket connections on one epoll, since a client in a slower language would be
// what is measured. One thread, loopback only, bounded in time. Prints one JSON line.
//
//   load call    --port P [--connections N] [--depth D] [--seconds S] [--setup FILE]... --message FILE
//   [--fifo] load deliver --port P [--connections N] [--rate R] [--seconds S] [--setup FILE]... --message
//   FILE [--raw] load idle    --port P [--connections N] [--raw]          holds them until its standard input
//   ends
//
// A file has one request a line; connection i takes line i modulo the lines. `#ID#######` in a message is
// replaced by the number of the slot in flight, `#TIME###############` by nanoseconds. --fifo: answers come
// in the order of the calls (a bare echo has no ids). --raw: no HTTP upgrade and no masks, for the bare
// servers beside this file. In `deliver` one further connection sends and all others measure how long a
// message takes to reach them.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ID_MARK "#ID#######"
#define TIME_MARK "#TIME###############"
#define SAMPLES_MAX (8u << 20)
#define SETUPS_MAX 4

struct lines {
    char **at;
    size_t count;
};
struct conn {
    int fd;
    int stage; // 0 upgrading, 1.. setup steps, then running
    bool up, writing;
    char *in, *out;
    size_t in_len, in_cap, out_len, out_cap, out_at;
    uint64_t *sent_ns; // by slot
    unsigned oldest;   // fifo
    uint64_t waiting;
};

static struct {
    const char *mode;
    int port;
    size_t connections;
    unsigned depth, rate;
    double seconds;
    struct lines setups[SETUPS_MAX], message;
    int setup_count;
    bool fifo, raw;
} opt = {.connections = 64, .depth = 1, .rate = 20, .seconds = 5};

static int poll_fd;
static struct conn *conns;
static size_t ready;
static uint32_t *samples;
static size_t sample_count;
static uint64_t answers, errors, sent;
static bool running, draining;

static void die(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *need(void *p) {
    if (!p) die("memory");
    return p;
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void sample(uint64_t ns) {
    uint64_t us = ns / 1000;
    if (sample_count < SAMPLES_MAX) samples[sample_count++] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

// ---- writing ----------------------------------------------------------------------------------------

static void watch(struct conn *c, bool write) {
    struct epoll_event e = {.events = EPOLLIN | (write ? (uint32_t)EPOLLOUT : 0u), .data.ptr = c};
    if (epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->fd, &e)) die("epoll");
    c->writing = write;
}

static void flush(struct conn *c) {
    while (c->out_at < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            if (!c->writing) watch(c, true);
            return;
        }
        if (n < 0) die("send");
        c->out_at += (size_t)n;
    }
    c->out_at = c->out_len = 0;
    if (c->writing) watch(c, false);
}

static char *room(struct conn *c, size_t more) {
    if (c->out_len + more > c->out_cap) {
        c->out_cap = (c->out_len + more) * 2;
        c->out = need(realloc(c->out, c->out_cap));
    }
    char *at = c->out + c->out_len;
    c->out_len += more;
    return at;
}

static void put_frame(struct conn *c, const char *text, size_t len) {
    static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    unsigned char head[14] = {0x81};
    size_t n = 2, masked = opt.raw ? 0 : 0x80;
    if (len < 126) {
        head[1] = (unsigned char)(masked | len);
    } else if (len < 65536) {
        head[1] = (unsigned char)(masked | 126);
        head[2] = (unsigned char)(len >> 8);
        head[3] = (unsigned char)len;
        n = 4;
    } else {
        head[1] = (unsigned char)(masked | 127);
        for (int i = 0; i < 8; i++)
            head[2 + i] = (unsigned char)((uint64_t)len >> (8 * (7 - i)));
        n = 10;
    }
    if (masked) {
        memcpy(head + n, mask, 4);
        n += 4;
    }
    char *at = room(c, n + len);
    memcpy(at, head, n);
    for (size_t i = 0; i < len; i++)
        at[n + i] = masked ? (char)((unsigned char)text[i] ^ mask[i & 3]) : text[i];
}

static const char *line_of(const struct lines *lines, const struct conn *c) {
    return lines->at[(size_t)(c - conns) % lines->count];
}

static void put_call(struct conn *c, unsigned slot) {
    char text[8192];
    uint64_t t = now_ns();
    snprintf(text, sizeof text, "%s", line_of(&opt.message, c));
    char *id = strstr(text, ID_MARK), *time = strstr(text, TIME_MARK), number[32];
    if (id) {
        snprintf(number, sizeof number, "%010u", slot);
        memcpy(id, number, 10);
    }
    if (time) {
        snprintf(number, sizeof number, "%020" PRIu64, t);
        memcpy(time, number, 20);
    }
    if (c->sent_ns) c->sent_ns[slot] = t;
    c->waiting++;
    sent++;
    put_frame(c, text, strlen(text));
}

// ---- reading ----------------------------------------------------------------------------------------

static void next_stage(struct conn *c) {
    if (c->stage < opt.setup_count) {
        const char *line = line_of(&opt.setups[c->stage++], c);
        put_frame(c, line, strlen(line));
        flush(c);
        return;
    }
    c->up = true;
    ready++;
}

static const char *find_mark(const char *text, size_t len, const char *mark) {
    return memmem(text, len, mark, strlen(mark));
}

static void take_answer(struct conn *c, const char *text, size_t len) {
    unsigned slot = c->oldest;
    if (!opt.fifo) { // the id is the last member of an answer
        const char *at = len > 12 && text[len - 1] == '}' && text[len - 2] == '"' ? text + len - 12 : NULL;
        if (!at) return; // a notice
        slot = (unsigned)strtoul(at, NULL, 10);
        if (slot >= opt.depth) return;
        if (find_mark(text, len < 60 ? len : 60, "\"error\"") && errors++ == 0)
            fprintf(stderr, "load: first error: %.*s\n", (int)(len < 400 ? len : 400), text);
    } else {
        c->oldest = (c->oldest + 1) % opt.depth;
    }
    if (running) sample(now_ns() - c->sent_ns[slot]);
    answers++;
    c->waiting--;
    if (!draining) put_call(c, slot);
}

static void take_delivery(struct conn *c, const char *text, size_t len) {
    const char *at = find_mark(text, len, "\"t:");
    (void)c;
    if (!at) return; // an answer
    sample(now_ns() - strtoull(at + 3, NULL, 10));
    answers++;
}

static void take_frame(struct conn *c, unsigned char first, const char *text, size_t len) {
    if ((first & 0x0f) != 1) {
        if ((first & 0x0f) == 8) {
            fprintf(stderr, "load: the server closed a connection\n");
            exit(1);
        }
        return;
    }
    if (!c->up) {
        if (find_mark(text, len, "\"error\"")) {
            fprintf(stderr, "load: setup failed: %.*s\n", (int)len, text);
            exit(1);
        }
        if (find_mark(text, len, "\"id\":")) next_stage(c);
    } else if (opt.mode[0] == 'c') {
        take_answer(c, text, len);
    } else {
        take_delivery(c, text, len);
    }
}

static size_t take_frames(struct conn *c) {
    size_t at = 0;
    while (c->in_len - at >= 2) {
        const unsigned char *p = (const unsigned char *)c->in + at;
        size_t head = 2, len = p[1] & 0x7f, left = c->in_len - at;
        if (len == 126) {
            if (left < 4) break;
            len = (size_t)p[2] << 8 | p[3];
            head = 4;
        } else if (len == 127) {
            if (left < 10) break;
            len = 0;
            for (int i = 0; i < 8; i++)
                len = len << 8 | p[2 + i];
            head = 10;
        }
        if (left < head + len) break;
        take_frame(c, p[0], c->in + at + head, len);
        at += head + len;
    }
    return at;
}

static void on_readable(struct conn *c) {
    for (;;) {
        if (c->in_cap - c->in_len < 16384) {
            c->in_cap = c->in_cap ? c->in_cap * 2 : 32768;
            c->in = need(realloc(c->in, c->in_cap));
        }
        size_t space = c->in_cap - c->in_len;
        ssize_t n = recv(c->fd, c->in + c->in_len, space, 0);
        if (n < 0 && errno == EAGAIN) break;
        if (n <= 0) die("the connection ended");
        c->in_len += (size_t)n;
        size_t used = 0;
        if (c->stage == -1) {
            char *end = memmem(c->in, c->in_len, "\r\n\r\n", 4);
            if (!end) continue;
            if (strncmp(c->in, "HTTP/1.1 101", 12)) {
                fprintf(stderr, "load: no upgrade: %.60s\n", c->in);
                exit(1);
            }
            used = (size_t)(end + 4 - c->in);
            c->stage = 0;
            next_stage(c);
        }
        memmove(c->in, c->in + used, c->in_len - used);
        c->in_len -= used;
        used = take_frames(c);
        memmove(c->in, c->in + used, c->in_len - used);
        c->in_len -= used;
        if ((size_t)n < space) break;
    }
    if (opt.mode[0] == 'i' && c->in_len == 0) { // an idle one holds no memory here either
        free(c->in);
        c->in = NULL;
        c->in_cap = 0;
    }
    if (c->out_len && !c->writing) flush(c);
}

static void turn(int ms) {
    struct epoll_event events[256];
    int n = epoll_wait(poll_fd, events, 256, ms);
    for (int i = 0; i < n; i++) {
        struct conn *c = events[i].data.ptr;
        if (events[i].events & EPOLLOUT) flush(c);
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) on_readable(c);
    }
}

// ---- connecting -------------------------------------------------------------------------------------

static void open_one(struct conn *c) {
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)opt.port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof a)) die("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (fcntl(c->fd, F_SETFL, O_NONBLOCK)) die("fcntl");
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &e)) die("epoll");
    if (opt.mode[0] == 'c') c->sent_ns = need(calloc(opt.depth, sizeof *c->sent_ns));
    if (opt.raw) {
        next_stage(c);
        return;
    }
    char text[300];
    int n =
        snprintf(text, sizeof text,
                 "GET /rpc HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                 "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                 opt.port);
    c->stage = -1;
    memcpy(room(c, (size_t)n), text, (size_t)n);
    flush(c);
}

static void open_all(size_t count) {
    uint64_t late = now_ns() + 120000000000u;
    conns = need(calloc(count, sizeof *conns));
    for (size_t i = 0; i < count; i++) {
        open_one(&conns[i]);
        if (i % 64 == 63) // not more at once than a listening queue takes
            while (ready + 32 < i && now_ns() < late)
                turn(10);
    }
    while (ready < count && now_ns() < late)
        turn(10);
    if (ready < count) {
        fprintf(stderr, "load: only %zu of %zu connections got ready\n", ready, count);
        exit(1);
    }
}

// ---- modes ------------------------------------------------------------------------------------------

static int by_value(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void print_result(double seconds, uint64_t expected) {
    qsort(samples, sample_count, sizeof *samples, by_value);
#define QUANTILE(q) (sample_count ? samples[(size_t)((double)(sample_count - 1) * (q))] : 0)
    printf(
        "{\"count\":%" PRIu64
        ",\"seconds\":%.3f,\"per_second\":%.0f,\"p50_us\":%u,\"p99_us\":%u,\"max_us\":%u,\"errors\":%" PRIu64
        ",\"expected\":%" PRIu64 "}\n",
        answers, seconds, (double)answers / seconds, QUANTILE(0.5), QUANTILE(0.99), QUANTILE(1.0), errors,
        expected);
}

static void run_call(void) {
    open_all(opt.connections);
    for (size_t i = 0; i < opt.connections; i++) {
        for (unsigned slot = 0; slot < opt.depth; slot++)
            put_call(&conns[i], slot);
        flush(&conns[i]);
    }
    uint64_t warm = now_ns() + 500000000u;
    while (now_ns() < warm)
        turn(10);
    answers = 0;
    running = true;
    uint64_t begin = now_ns(), end = begin + (uint64_t)(opt.seconds * 1e9);
    while (now_ns() < end)
        turn(10);
    running = false;
    double seconds = (double)(now_ns() - begin) / 1e9;
    uint64_t counted = answers;
    draining = true;
    for (uint64_t late = now_ns() + 5000000000u; now_ns() < late;) {
        uint64_t waiting = 0;
        for (size_t i = 0; i < opt.connections; i++)
            waiting += conns[i].waiting;
        if (!waiting) break;
        turn(10);
    }
    answers = counted;
    print_result(seconds, counted);
}

static void run_deliver(void) {
    open_all(opt.connections + 1);
    struct conn *sender = &conns[opt.connections];
    uint64_t step = 1000000000u / opt.rate, begin = now_ns(), next = begin + 500000000u;
    uint64_t end = next + (uint64_t)(opt.seconds * 1e9);
    running = true;
    while (now_ns() < end) {
        if (now_ns() >= next) {
            put_call(sender, 0);
            flush(sender);
            next += step;
        }
        turn(now_ns() < next && next - now_ns() > 2000000 ? 1 : 0);
    }
    uint64_t expected = sent * opt.connections;
    for (uint64_t late = now_ns() + 10000000000u; answers < expected && now_ns() < late;)
        turn(10);
    print_result((double)(now_ns() - begin) / 1e9, expected);
}

static void run_idle(void) {
    char byte;
    open_all(opt.connections);
    printf("{\"open\":%zu}\n", opt.connections);
    fflush(stdout);
    while (read(0, &byte, 1) > 0) {
    }
}

static struct lines read_lines(const char *path) {
    struct lines lines = {0};
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    FILE *file = fopen(path, "r");
    if (!file) die(path);
    while ((n = getline(&line, &cap, file)) > 0) {
        if (line[n - 1] == '\n') line[n - 1] = '\0';
        lines.at = need(realloc(lines.at, (lines.count + 1) * sizeof *lines.at));
        lines.at[lines.count++] = need(strdup(line));
    }
    free(line);
    fclose(file);
    if (!lines.count) die(path);
    return lines;
}

int main(int argc, char **argv) {
    opt.mode = argc > 1 ? argv[1] : "";
    for (int i = 2; i < argc; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(name, "--raw"))
            opt.raw = true;
        else if (!strcmp(name, "--fifo"))
            opt.fifo = true;
        else if (!strcmp(name, "--port"))
            opt.port = atoi(value), i++;
        else if (!strcmp(name, "--connections"))
            opt.connections = strtoul(value, NULL, 10), i++;
        else if (!strcmp(name, "--depth"))
            opt.depth = (unsigned)atoi(value), i++;
        else if (!strcmp(name, "--rate"))
            opt.rate = (unsigned)atoi(value), i++;
        else if (!strcmp(name, "--seconds"))
            opt.seconds = atof(value), i++;
        else if (!strcmp(name, "--setup") && opt.setup_count < SETUPS_MAX)
            opt.setups[opt.setup_count++] = read_lines(value), i++;
        else if (!strcmp(name, "--message"))
            opt.message = read_lines(value), i++;
        else {
            fprintf(stderr, "load: unknown option %s\n", name);
            return 2;
        }
    }
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    samples = need(malloc(SAMPLES_MAX * sizeof *samples));
    if (!strcmp(opt.mode, "call"))
        run_call();
    else if (!strcmp(opt.mode, "deliver"))
        run_deliver();
    else if (!strcmp(opt.mode, "idle"))
        run_idle();
    else {
        fprintf(stderr, "load: call, deliver or idle\n");
        return 2;
    }
    return 0;
}
