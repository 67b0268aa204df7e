// The load generator: many connections on one epoll, since a client in a slower language would be what is
// measured. One thread, loopback only, bounded in time. Prints one JSON line.
//
//   load call    --port P [--connections N] [--depth D] [--rate R] [--seconds S] [--setup FILE]... --message
//   FILE
//                [--protocol ws|raw|resp|iproto] [--fifo] [--pid PID]...
//   load deliver --port P [--connections N] [--rate R] [--seconds S] [--setup FILE]... --message FILE
//   [--protocol raw]
//                [--pid PID]...
//   load idle    --port P [--connections N] [--setup FILE]... [--protocol raw]   holds them until its
//   standard input ends
//
// A file has one request a line; connection i takes line i modulo the lines. `#ID#######` in a message is
// replaced by the number of the slot in flight, `#TIME###############` by nanoseconds. --rate in `call`: so
// many requests a second over all connections, whether or not the server keeps up; latency counts from when a
// request was due. --fifo: answers come in the order of the calls (a bare echo has no ids). --protocol raw:
// frames without an upgrade and without masks, for the bare servers beside this file; resp and iproto are
// those of Redis and Tarantool, a request there is words between tabs. In `deliver` one further connection
// sends and all others measure how long a message takes to reach them. --pid: a server's process, whose CPU
// time during the measurement is reported.
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
#define PIDS_MAX 64

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
    uint64_t *sent_ns;       // by slot; with --rate 0 where the slot is free
    unsigned oldest, newest; // fifo
    uint64_t waiting;
    bool greeted; // iproto
};

enum protocol { WS, RAW, RESP, IPROTO };

static struct {
    const char *mode;
    enum protocol protocol;
    int port;
    size_t connections;
    unsigned depth, rate;
    double seconds;
    struct lines setups[SETUPS_MAX], message;
    int setup_count;
    bool fifo;
    pid_t pids[PIDS_MAX];
    int pid_count;
} opt = {.connections = 64, .depth = 1, .seconds = 5};

static int poll_fd;
static struct conn *conns;
static size_t ready;
static uint32_t *samples;
static size_t sample_count;
static uint64_t answers, errors, sent;
static bool running, draining;
static double cpu_used;

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

static double cpu_seconds(void) {
    double sum = 0;
    for (int i = 0; i < opt.pid_count; i++) {
        clockid_t clock;
        struct timespec t;
        if (clock_getcpuclockid(opt.pids[i], &clock) || clock_gettime(clock, &t)) continue; // it has ended
        sum += (double)t.tv_sec + (double)t.tv_nsec / 1e9;
    }
    return sum;
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
    size_t n = 2, masked = opt.protocol == RAW ? 0 : 0x80;
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

static void put_words_resp(struct conn *c, const char *text) {
    char head[32];
    unsigned words = 1;
    for (const char *at = text; *at; at++)
        words += *at == '\t';
    int n = snprintf(head, sizeof head, "*%u\r\n", words);
    memcpy(room(c, (size_t)n), head, (size_t)n);
    while (words--) {
        size_t len = strcspn(text, "\t");
        n = snprintf(head, sizeof head, "$%zu\r\n", len);
        memcpy(room(c, (size_t)n), head, (size_t)n);
        memcpy(room(c, len), text, len);
        memcpy(room(c, 2), "\r\n", 2);
        text += len + 1;
    }
}

// MessagePack, with every length in its widest form: nothing has to be known beforehand.
static void pack(struct conn *c, unsigned char kind, size_t bytes, uint64_t value) {
    unsigned char *at = (unsigned char *)room(c, 1 + bytes);
    at[0] = kind;
    for (size_t i = 0; i < bytes; i++)
        at[1 + i] = (unsigned char)(value >> (8 * (bytes - 1 - i)));
}

static void pack_text(struct conn *c, const char *text, size_t len) {
    pack(c, 0xdb, 4, len);
    memcpy(room(c, len), text, len);
}

// CALL of the first word with the others as texts.
static void put_words_iproto(struct conn *c, const char *text, unsigned slot) {
    unsigned words = 0;
    size_t begin = c->out_len, len = strcspn(text, "\t");
    for (const char *at = text; *at; at++)
        words += *at == '\t';
    pack(c, 0xce, 4, 0);
    pack(c, 0x82, 0, 0); // header: request type and sync
    pack(c, 0x00, 0, 0);
    pack(c, 0x0a, 0, 0);
    pack(c, 0x01, 0, 0);
    pack(c, 0xce, 4, slot);
    pack(c, 0x82, 0, 0); // body: function's name and arguments
    pack(c, 0x22, 0, 0);
    pack_text(c, text, len);
    pack(c, 0x21, 0, 0);
    pack(c, 0xdd, 4, words);
    while (words--) {
        text += len + 1;
        len = strcspn(text, "\t");
        pack_text(c, text, len);
    }
    size_t whole = c->out_len - begin - 5;
    for (size_t i = 0; i < 4; i++)
        c->out[begin + 1 + i] = (char)(whole >> (8 * (3 - i)));
}

static void put_request(struct conn *c, const char *text, unsigned slot) {
    if (opt.protocol == RESP)
        put_words_resp(c, text);
    else if (opt.protocol == IPROTO)
        put_words_iproto(c, text, slot);
    else
        put_frame(c, text, strlen(text));
}

static void put_call(struct conn *c, unsigned slot, uint64_t due_ns) {
    char text[8192];
    snprintf(text, sizeof text, "%s", line_of(&opt.message, c));
    char *id = strstr(text, ID_MARK), *time = strstr(text, TIME_MARK), number[32];
    if (id) {
        snprintf(number, sizeof number, "%010u", slot);
        memcpy(id, number, 10);
    }
    if (time) {
        snprintf(number, sizeof number, "%020" PRIu64, due_ns);
        memcpy(time, number, 20);
    }
    if (c->sent_ns) c->sent_ns[slot] = due_ns;
    c->waiting++;
    sent++;
    put_request(c, text, slot);
}

// ---- reading ----------------------------------------------------------------------------------------

static void next_stage(struct conn *c) {
    if (c->stage < opt.setup_count) {
        put_request(c, line_of(&opt.setups[c->stage++], c), 0);
        flush(c);
        return;
    }
    c->up = true;
    ready++;
}

static const char *find_mark(const char *text, size_t len, const char *mark) {
    return memmem(text, len, mark, strlen(mark));
}

// The answer to the call in a slot.
static void answered(struct conn *c, unsigned slot) {
    uint64_t due = c->sent_ns[slot];
    if (!due) return;
    if (running) sample(now_ns() - due);
    c->sent_ns[slot] = 0;
    answers++;
    c->waiting--;
    if (!draining && !opt.rate) put_call(c, slot, now_ns());
}

static void failed(const char *text, size_t len) {
    if (errors++ == 0) fprintf(stderr, "load: first error: %.*s\n", (int)(len < 400 ? len : 400), text);
}

static void answered_in_order(struct conn *c) {
    unsigned slot = c->oldest;
    c->oldest = (c->oldest + 1) % opt.depth;
    answered(c, slot);
}

static void take_answer(struct conn *c, const char *text, size_t len) {
    if (opt.fifo) {
        answered_in_order(c);
        return;
    }
    // the id is the last member of an answer
    const char *at = len > 12 && text[len - 1] == '}' && text[len - 2] == '"' ? text + len - 12 : NULL;
    if (!at) return; // a notice
    unsigned slot = (unsigned)strtoul(at, NULL, 10);
    if (slot >= opt.depth) return;
    if (find_mark(text, len < 60 ? len : 60, "\"error\"")) failed(text, len);
    answered(c, slot);
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

// The length of the RESP reply at text, or 0 when it is not all there.
static size_t resp_len(const char *text, size_t len) {
    const char *end = memmem(text, len, "\r\n", 2);
    if (!end) return 0;
    size_t line = (size_t)(end + 2 - text);
    long n = strtol(text + 1, NULL, 10);
    if (text[0] == '$') {
        size_t whole = n < 0 ? line : line + (size_t)n + 2;
        return whole <= len ? whole : 0;
    }
    if (text[0] != '*') return line;
    for (size_t at = line; n > 0; n--) {
        size_t part = resp_len(text + at, len - at);
        if (!part) return 0;
        at += part;
        if (n == 1) return at;
    }
    return line;
}

static size_t take_replies(struct conn *c) {
    size_t at = 0, len;
    while (at < c->in_len && (len = resp_len(c->in + at, c->in_len - at))) {
        const char *text = c->in + at;
        if (text[0] == '-') failed(text, len);
        at += len;
        if (!c->up)
            next_stage(c);
        else
            answered_in_order(c);
    }
    return at;
}

static uint32_t big_endian(const char *at) {
    const unsigned char *p = (const unsigned char *)at;
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

// Tarantool writes the head of a response in one form: length (5), map of 3, code (6), sync (10), schema (6).
static size_t take_responses(struct conn *c) {
    size_t at = 0;
    if (!c->greeted) {
        if (c->in_len < 128) return 0;
        c->greeted = true;
        at = 128;
        next_stage(c);
    }
    while (c->in_len - at >= 28) {
        const char *p = c->in + at;
        size_t len = 5 + (size_t)big_endian(p + 1);
        if (c->in_len - at < len) break;
        if (big_endian(p + 8)) failed(p, len);
        at += len;
        if (!c->up)
            next_stage(c);
        else
            answered(c, big_endian(p + 18));
    }
    return at;
}

static size_t take_all(struct conn *c) {
    return opt.protocol == RESP     ? take_replies(c)
           : opt.protocol == IPROTO ? take_responses(c)
                                    : take_frames(c);
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
        used = take_all(c);
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
    if (opt.protocol != WS) {
        if (opt.protocol != IPROTO) next_stage(c);
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
        ",\"expected\":%" PRIu64 ",\"cpu_us_each\":%.3f}\n",
        answers, seconds, (double)answers / seconds, QUANTILE(0.5), QUANTILE(0.99), QUANTILE(1.0), errors,
        expected, answers ? cpu_used * 1e6 / (double)answers : 0);
}

// Puts every call that is due onto the next connection with a free slot; those that find none stay due.
static void put_due(uint64_t *next_ns, uint64_t step) {
    static size_t turn_of;
    uint64_t now = now_ns();
    for (size_t tried = 0; *next_ns <= now && tried < opt.connections; tried++) {
        struct conn *c = &conns[turn_of++ % opt.connections];
        unsigned slot = c->newest;
        if (c->sent_ns[slot]) continue;
        c->newest = (c->newest + 1) % opt.depth;
        put_call(c, slot, *next_ns);
        if (!c->writing) flush(c);
        *next_ns += step;
        tried = 0;
    }
}

static void run_until(uint64_t end, uint64_t *next_ns, uint64_t step) {
    while (now_ns() < end) {
        if (step) put_due(next_ns, step);
        turn(step ? 1 : 10); // not spinning: the processor is the server's, too
    }
}

static void fill(void) {
    for (size_t i = 0; i < opt.connections; i++) {
        for (unsigned slot = 0; slot < opt.depth; slot++)
            put_call(&conns[i], slot, now_ns());
        flush(&conns[i]);
    }
}

static void run_call(void) {
    open_all(opt.connections);
    uint64_t step = opt.rate ? 1000000000u / opt.rate : 0, next = now_ns();
    if (!step) fill();
    run_until(now_ns() + 500000000u, &next, step);
    answers = 0;
    running = true;
    double cpu = cpu_seconds();
    uint64_t begin = now_ns();
    run_until(begin + (uint64_t)(opt.seconds * 1e9), &next, step);
    running = false;
    cpu_used = cpu_seconds() - cpu;
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
    if (!opt.rate) opt.rate = 20;
    open_all(opt.connections + 1);
    struct conn *sender = &conns[opt.connections];
    uint64_t step = 1000000000u / opt.rate, begin = now_ns(), next = begin + 500000000u;
    uint64_t end = next + (uint64_t)(opt.seconds * 1e9);
    double cpu = cpu_seconds();
    running = true;
    while (now_ns() < end) {
        if (now_ns() >= next) {
            put_call(sender, 0, now_ns());
            flush(sender);
            next += step;
        }
        turn(now_ns() < next && next - now_ns() > 2000000 ? 1 : 0);
    }
    uint64_t expected = sent * opt.connections;
    for (uint64_t late = now_ns() + 10000000000u; answers < expected && now_ns() < late;)
        turn(10);
    cpu_used = cpu_seconds() - cpu;
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

static enum protocol protocol_of(const char *name) {
    static const char *const names[] = {"ws", "raw", "resp", "iproto"};
    for (unsigned i = 0; i < 4; i++)
        if (!strcmp(name, names[i])) return (enum protocol)i;
    fprintf(stderr, "load: unknown protocol %s\n", name);
    exit(2);
}

int main(int argc, char **argv) {
    opt.mode = argc > 1 ? argv[1] : "";
    for (int i = 2; i < argc; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(name, "--protocol"))
            opt.protocol = protocol_of(value), i++;
        else if (!strcmp(name, "--pid") && opt.pid_count < PIDS_MAX)
            opt.pids[opt.pid_count++] = (pid_t)atoi(value), i++;
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
