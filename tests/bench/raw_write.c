// The raw limit beside message.send: a bare epoll loop, Lua in the same process (with lua-cjson, as an
// institution's programmer would have it), and an LMDB thread with group commit, without anything of ours. A
// request is one WebSocket frame without a mask (load
// --raw) holding a message.send call; a Lua function checks it and makes its record, then a commit of
// up to 1,000 requests puts the record, an index key, a log entry and the last number, with one fsync, and
// only then each is answered. Ids ascend with time, as UUIDv7 does.
//   raw_write FOLDER       FOLDER must exist and be empty. Prints its port.
#include <arpa/inet.h>
#include <lauxlib.h>
#include <lmdb.h>
#include <lua.h>
#include <lualib.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH 1000
#define ROOM 65536

struct conn {
    int fd;
    size_t in_len, out_len;
    char in[ROOM], out[ROOM];
    bool dirty;
    struct conn *next_dirty;
};
struct item {
    struct item *next;
    struct conn *conn;
    char slot[16], id[37], to[64];
    size_t len;
    char record[];
};
struct queue {
    pthread_mutex_t lock;
    pthread_cond_t some;
    struct item *head, **tail;
};

static struct queue todo = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, &todo.head};
static struct queue done = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, &done.head};
static int wake_fd;
static MDB_env *env;
static MDB_dbi rec, idx, entries, meta;
static uint64_t made;

// The least of what a script does for it: the request as a table, its checks, the rights, the record as a
// table and as text.
static const char script[] =
    "local json = require 'cjson'\n"
    "local me = '0198c5a2-7b1e-7000-8000-000000000001'\n"
    "local principals = setmetatable({}, { __index = function(_, to) return to:sub(1, 5) == 'pair:' end })\n"
    "function send(text, id, now, seq)\n"
    "  local call = json.decode(text)\n"
    "  local p = call.params\n"
    "  if type(p.to) ~= 'string' or #p.to > 100 then error('to') end\n"
    "  if type(p.text) ~= 'string' or p.text == '' or utf8.len(p.text) > 4000 then error('text') end\n"
    "  if not principals[p.to] then error('forbidden') end\n"
    "  local record = { type = 'message', id = id, version = seq, created = now, updated = now, by = me,\n"
    "    audience = { p.to }, members = {}, data = { to = p.to, from = me, text = p.text, sent = now } }\n"
    "  return json.encode(record), p.to, call.id\n"
    "end\n";

static void check(int rc, const char *what) {
    if (!rc) return;
    fprintf(stderr, "raw_write: %s: %s\n", what, mdb_strerror(rc));
    exit(1);
}

static void take(struct queue *q, struct item **out) {
    *out = q->head;
    q->head = NULL;
    q->tail = &q->head;
}

static void give(struct queue *q, struct item *first, struct item **tail) {
    pthread_mutex_lock(&q->lock);
    *q->tail = first;
    q->tail = tail;
    pthread_cond_signal(&q->some);
    pthread_mutex_unlock(&q->lock);
}

static void put(MDB_txn *txn, MDB_dbi dbi, const void *key, size_t key_len, const void *value, size_t len) {
    MDB_val k = {key_len, (void *)key}, v = {len, (void *)value};
    check(mdb_put(txn, dbi, &k, &v, 0), "put");
}

static void put_item(MDB_txn *txn, const struct item *item, uint64_t seq) {
    char key[160], entry[2048];
    unsigned char number[8];
    for (int i = 0; i < 8; i++)
        number[i] = (unsigned char)(seq >> (8 * (7 - i)));
    int n = snprintf(key, sizeof key, "message%c%s", 0, item->id);
    put(txn, rec, key, (size_t)n, item->record, item->len);
    n = snprintf(key, sizeof key, "message%cby_to%c%s%c%c%s", 0, 0, item->to, 0, 0, item->id);
    put(txn, idx, key, (size_t)n, "", 0);
    n = snprintf(entry, sizeof entry, "%-120s%s", item->id, item->record); // a header and a hash before it
    put(txn, entries, number, 8, entry, (size_t)n);
}

static void *commit_main(void *arg) {
    uint64_t seq = 0;
    struct item *head = NULL;
    (void)arg;
    for (;;) {
        if (!head) {
            pthread_mutex_lock(&todo.lock);
            while (!todo.head)
                pthread_cond_wait(&todo.some, &todo.lock);
            take(&todo, &head);
            pthread_mutex_unlock(&todo.lock);
        }
        MDB_txn *txn;
        struct item *first = head, **tail = &head;
        check(mdb_txn_begin(env, NULL, 0, &txn), "begin");
        for (int n = 0; n < BATCH && *tail; n++, tail = &(*tail)->next)
            put_item(txn, *tail, ++seq);
        put(txn, meta, "last", 4, &seq, 8);
        check(mdb_txn_commit(txn), "commit");
        struct item *rest = *tail;
        *tail = NULL;
        give(&done, first, tail == &head ? &first->next : tail);
        head = rest;
        uint64_t one = 1;
        if (write(wake_fd, &one, 8) != 8) exit(1);
    }
}

static struct conn *dirty;

static void flush(struct conn *c) {
    if (send(c->fd, c->out, c->out_len, MSG_NOSIGNAL) != (ssize_t)c->out_len) exit(1);
    c->out_len = 0;
}

static void answer(const struct item *item) {
    struct conn *c = item->conn;
    if (c->out_len + 256 > ROOM) flush(c);
    char *at = c->out + c->out_len;
    int n = snprintf(at + 4, 250,
                     "{\"jsonrpc\":\"2.0\",\"result\":{\"id\":\"%s\",\"sent\":1700000000000},\"id\":\"%s\"}",
                     item->id, item->slot);
    at[0] = (char)0x81;
    at[1] = (char)n;
    size_t head = 2;
    if (n > 125) {
        at[1] = 126;
        at[2] = (char)(n >> 8);
        at[3] = (char)n;
        head = 4;
    } else {
        memmove(at + 2, at + 4, (size_t)n);
    }
    c->out_len += head + (size_t)n;
    if (c->dirty) return;
    c->dirty = true;
    c->next_dirty = dirty;
    dirty = c;
}

static void on_done(void) {
    uint64_t count;
    struct item *head;
    if (read(wake_fd, &count, 8) != 8) return;
    pthread_mutex_lock(&done.lock);
    take(&done, &head);
    pthread_mutex_unlock(&done.lock);
    while (head) {
        struct item *item = head;
        head = item->next;
        answer(item);
        free(item);
    }
    while (dirty) {
        struct conn *c = dirty;
        dirty = c->next_dirty;
        c->dirty = false;
        flush(c);
    }
}

static void copy(lua_State *lua, int at, char *out, size_t cap) {
    const char *text = lua_tostring(lua, at);
    snprintf(out, cap, "%s", text ? text : "");
}

static struct item *run(lua_State *lua, struct conn *c, const char *text, size_t text_len) {
    struct timespec t;
    char id[37];
    size_t len;
    clock_gettime(CLOCK_REALTIME, &t);
    long long now = (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
    made++;
    snprintf(id, sizeof id, "%08llx-%04llx-7000-8000-%012llx", now >> 16, now & 0xffff,
             (unsigned long long)made);
    lua_getglobal(lua, "send");
    lua_pushlstring(lua, text, text_len);
    lua_pushstring(lua, id);
    lua_pushinteger(lua, now);
    lua_pushinteger(lua, (lua_Integer)made);
    if (lua_pcall(lua, 4, 3, 0)) {
        fprintf(stderr, "raw_write: %s\n", lua_tostring(lua, -1));
        exit(1);
    }
    const char *record = lua_tolstring(lua, -3, &len);
    struct item *item = malloc(sizeof *item + len + 1);
    if (!item) exit(1);
    *item = (struct item){.conn = c, .len = len};
    memcpy(item->record, record, len + 1);
    memcpy(item->id, id, sizeof id);
    copy(lua, -2, item->to, sizeof item->to);
    copy(lua, -1, item->slot, sizeof item->slot);
    lua_settop(lua, 0);
    return item;
}

static void on_readable(lua_State *lua, struct conn *c) {
    ssize_t n = recv(c->fd, c->in + c->in_len, ROOM - 1 - c->in_len, 0);
    if (n <= 0) { // its requests under way hold it, so it stays
        epoll_ctl(-1, EPOLL_CTL_DEL, c->fd, NULL);
        close(c->fd);
        return;
    }
    c->in_len += (size_t)n;
    size_t at = 0;
    struct item *first = NULL, **tail = &first;
    while (c->in_len - at >= 4) {
        unsigned char *p = (unsigned char *)c->in + at;
        size_t head = 2, len = p[1] & 0x7f;
        if (len == 126) {
            len = (size_t)p[2] << 8 | p[3];
            head = 4;
        }
        if (c->in_len - at < head + len) break;
        *tail = run(lua, c, c->in + at + head, len);
        tail = &(*tail)->next;
        at += head + len;
    }
    memmove(c->in, c->in + at, c->in_len - at);
    c->in_len -= at;
    if (first) give(&todo, first, tail);
}

static void on_accept(int poll_fd, int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), one = 1;
    struct conn *c = calloc(1, sizeof *c);
    if (fd < 0 || !c) exit(1);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->fd = fd;
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &e);
}

static void open_store(const char *folder) {
    MDB_txn *txn;
    check(mdb_env_create(&env), "create");
    check(mdb_env_set_mapsize(env, (size_t)16 << 30), "map");
    check(mdb_env_set_maxdbs(env, 4), "dbs");
    check(mdb_env_open(env, folder, MDB_NOTLS, 0600), "open");
    check(mdb_txn_begin(env, NULL, 0, &txn), "begin");
    check(mdb_dbi_open(txn, "rec", MDB_CREATE, &rec), "open");
    check(mdb_dbi_open(txn, "idx", MDB_CREATE, &idx), "open");
    check(mdb_dbi_open(txn, "log", MDB_CREATE, &entries), "open");
    check(mdb_dbi_open(txn, "meta", MDB_CREATE, &meta), "open");
    check(mdb_txn_commit(txn), "commit");
}

int main(int argc, char **argv) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    pthread_t thread;
    if (argc < 2) return 2;
    open_store(argv[1]);
    lua_State *lua = luaL_newstate();
    luaL_openlibs(lua);
    if (luaL_dostring(lua, script)) return 1;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), poll_fd = epoll_create1(EPOLL_CLOEXEC);
    wake_fd = eventfd(0, EFD_CLOEXEC);
    if (bind(listener, (struct sockaddr *)&a, sizeof a) || listen(listener, 1024) ||
        getsockname(listener, (struct sockaddr *)&a, &len) ||
        pthread_create(&thread, NULL, commit_main, NULL))
        return 1;
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = &listener}, events[256];
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &e);
    e.data.ptr = &wake_fd;
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, wake_fd, &e);
    printf("port %d\n", ntohs(a.sin_port));
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(poll_fd, events, 256, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == &listener)
                on_accept(poll_fd, listener);
            else if (events[i].data.ptr == &wake_fd)
                on_done();
            else
                on_readable(lua, events[i].data.ptr);
        }
    }
}
