// Reading beside the writer: threads of the server, workers in other processes, a map that grows under all of
// them.
#include "store_fixture.h"
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define TYPES "[{\"name\":\"thing\",\"indexes\":[{\"name\":\"by_n\",\"fields\":[\"n\"]}]}]"
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1 // a sanitizer's runtime makes system calls of its own
#else
#define SANITIZED 0
#endif

static void put_many(struct fx *f, int from, int count) {
    static char ids[100][32], texts[100][600];
    struct hm_intent in[100];
    for (int done = 0; done < count; done += 100) {
        int n = count - done < 100 ? count - done : 100;
        for (int i = 0; i < n; i++) {
            snprintf(ids[i], sizeof ids[i], "%08d", from + done + i);
            snprintf(texts[i], sizeof texts[i], "{\"n\":%d,\"text\":\"%0300d\"}", from + done + i, i);
            in[i] = fx_intent("thing", ids[i], texts[i]);
        }
        struct hm_commit call = fx_call(f, in, (size_t)n);
        if (fx_run(f, &call) != HM_OK) fail_msg("%s", call.error.message);
    }
}

// A snapshot must be whole: as many records and index entries as changes (nothing is ever changed or deleted
// here).
static bool snapshot_is_whole(struct hm_store *store, const struct hm_range *range, uint64_t *seq) {
    struct hm_read *r;
    struct hm_scan *s;
    struct hm_record rec;
    struct hm_error err;
    uint64_t count = 0;
    if (!hm_read_begin(store, &r, &err)) return false;
    *seq = hm_read_seq(r);
    bool ok = hm_scan_begin(r, range, false, (struct hm_str){0}, &s, &err);
    while (ok && hm_scan_next(s, &rec))
        ok = rec.version == ++count && rec.json.ptr[rec.json.len - 1] == '}';
    if (ok) hm_scan_end(s);
    hm_read_end(r);
    return ok && count == *seq;
}

struct reader {
    struct fx *f;
    struct hm_range range;
    atomic_bool stop, failed;
    atomic_uint rounds;
};

static void *read_on(void *arg) {
    struct reader *r = arg;
    uint64_t seq, last = 0;
    while (!atomic_load(&r->stop)) {
        if (!snapshot_is_whole(r->f->store, &r->range, &seq) || seq < last) atomic_store(&r->failed, true);
        last = seq;
        atomic_fetch_add(&r->rounds, 1);
    }
    return NULL;
}

static void readers_see_whole_snapshots_while_the_map_grows(void **state) {
    (void)state;
    struct fx f;
    struct reader r = {.f = &f};
    struct hm_store_stats before, after;
    pthread_t threads[2];
    fx_new(&f, TYPES, 1 << 20);
    assert_true(hm_store_stats(f.store, &before, &f.err));
    fx_range(&f, "thing", "by_n", "[]", NULL, NULL, &r.range);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &r), 0);
    put_many(&f, 0, 6000);
    atomic_store(&r.stop, true);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_false(atomic_load(&r.failed));
    assert_true(atomic_load(&r.rounds) > 2);
    assert_true(hm_store_stats(f.store, &after, &f.err));
    assert_true(before.map_bytes <= 2u << 20 && after.map_bytes >= 8u << 20);
    assert_true(after.used_bytes <= after.map_bytes);
    assert_int_equal(after.entries, 6000);
    assert_int_equal(after.last_seq, 6000);
    fx_verify(&f);
    hm_range_free(&r.range);
    fx_free(&f);
}

// During a copy it could not.
static void the_map_grows_before_it_is_full_when_nobody_reads(void **state) {
    (void)state;
    struct fx f;
    struct hm_store_stats stats;
    char id[16], data[600];
    fx_new(&f, TYPES, 1 << 20);
    for (int i = 0; i < 6000; i++) {
        snprintf(id, sizeof id, "%08d", i);
        snprintf(data, sizeof data, "{\"n\":%d,\"t\":\"%0500d\"}", i, 0);
        assert_int_equal(fx_put(&f, "thing", id, data), HM_OK);
        assert_true(hm_store_stats(f.store, &stats, &f.err));
        assert_true(stats.used_bytes < stats.map_bytes / 8 * 7);
    }
    assert_true(stats.map_bytes >= 4u << 20);
    fx_verify(&f);
    fx_free(&f);
}

static void a_map_at_its_limit_says_so_and_loses_nothing(void **state) {
    (void)state;
    struct fx f;
    fx_new(&f, TYPES, 1 << 20);
    hm_store_close(f.store);
    struct hm_store_options o = {.map_bytes = 1 << 20, .map_max = 2 << 20, .master_key = f.key};
    assert_true(hm_store_open(f.dir, &o, &f.store, &f.err));
    int written = 0;
    bool full = false;
    while (!full && written < 100000) {
        struct hm_write *w;
        char id[16], data[600];
        snprintf(id, sizeof id, "%08d", written);
        snprintf(data, sizeof data, "{\"n\":%d,\"t\":\"%0500d\"}", written, 0);
        struct hm_intent in = fx_intent("thing", id, data);
        struct hm_commit call = fx_call(&f, &in, 1);
        assert_true(hm_write_begin(f.store, &w, &f.err));
        bool ok = hm_write_apply(w, &call, &f.err);
        if (!ok) hm_write_abort(w);
        if (ok && hm_write_commit(w, NULL, NULL, &f.err)) {
            written++;
            continue;
        }
        assert_int_equal(f.err.code, HM_TOO_LARGE);
        full = !hm_store_grow(f.store, &f.err);
    }
    assert_true(full);
    assert_int_equal(f.err.code, HM_TOO_LARGE);
    assert_non_null(strstr(f.err.message, "map_max"));
    assert_int_equal(fx_seq(&f), written);
    fx_verify(&f);
    fx_free(&f);
}

// ---- workers: forked before the store was opened, told over a pipe what to do
// ---------------------------------------------

struct worker {
    pid_t pid;
    int to, from;
};

#define ALLOW(call)                                                                                          \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (call), 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

// What a worker may do after it has opened its store.
static bool lock_down(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(SYS_read),
        ALLOW(SYS_write),
        ALLOW(SYS_futex),
        ALLOW(SYS_mmap),
        ALLOW(SYS_munmap),
        ALLOW(SYS_mremap),
        ALLOW(SYS_brk),
        ALLOW(SYS_madvise),
        ALLOW(SYS_clock_gettime),
        ALLOW(SYS_exit_group),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

// For each byte received: one whole snapshot; answers with its seq (0 = it was not whole).
static _Noreturn void work(const char *dir, int in, int out, bool locked) {
    struct hm_store_options o = {.read_only = true};
    struct hm_store *store = NULL;
    struct hm_error err = {0};
    struct hm_range range;
    char byte;
    if (read(in, &byte, 1) != 1 || !hm_store_open(dir, &o, &store, &err)) _exit(2);
    struct hm_types *types = hm_store_types(store);
    const struct hm_type *t = hm_types_find(types, S("thing"));
    struct hm_json none = {0};
    if (!t || !hm_range_make(t, hm_type_index(t, S("by_n")), none, none, none, &range, &err)) _exit(3);
    if (locked && !lock_down()) _exit(4);
    do {
        uint64_t seq = 0;
        if (!snapshot_is_whole(store, &range, &seq)) seq = 0;
        if (write(out, &seq, sizeof seq) != sizeof seq) _exit(5);
        if (byte == 'h') { // holds a snapshot until it is killed
            struct hm_read *r;
            if (!hm_read_begin(store, &r, &err)) _exit(6);
            if (write(out, &seq, sizeof seq) != sizeof seq) _exit(5);
        }
    } while (read(in, &byte, 1) == 1);
    syscall(SYS_exit_group, 0);
    __builtin_unreachable();
}

static struct worker start(const char *dir, bool locked) {
    struct worker w;
    int to[2], from[2];
    assert_int_equal(pipe(to), 0);
    assert_int_equal(pipe(from), 0);
    w.pid = fork();
    assert_true(w.pid >= 0);
    if (w.pid == 0) {
        close(to[1]);
        close(from[0]);
        work(dir, to[0], from[1], locked);
    }
    close(to[0]);
    close(from[1]);
    w.to = to[1];
    w.from = from[0];
    return w;
}

static uint64_t answer(struct worker *w) {
    uint64_t seq = 0;
    assert_int_equal(read(w->from, &seq, sizeof seq), sizeof seq);
    return seq;
}

static uint64_t ask(struct worker *w, char what) {
    assert_int_equal(write(w->to, &what, 1), 1);
    return answer(w);
}

static int stop(struct worker *w) {
    int status = 0;
    close(w->to);
    assert_int_equal(waitpid(w->pid, &status, 0), w->pid);
    close(w->from);
    return status;
}

static void a_worker_follows_every_commit_and_the_growing_map(void **state) {
    (void)state;
    for (int locked = 0; locked < (SANITIZED ? 1 : 2); locked++) {
        struct fx f;
        fx_folder(&f);
        struct worker w = start(f.dir, locked);
        fx_open(&f, 1 << 20);
        fx_declare(&f, TYPES);
        put_many(&f, 0, 10);
        for (int round = 0; round < 25; round++) {
            assert_int_equal(ask(&w, 'r'), fx_seq(&f));
            put_many(&f, (int)fx_seq(&f), 200);
        }
        struct hm_store_stats stats;
        assert_true(hm_store_stats(f.store, &stats, &f.err));
        assert_true(stats.map_bytes >= 8u << 20); // it has followed at least three times
        assert_int_equal(stop(&w), 0);
        fx_free(&f);
    }
}

static void the_slot_of_a_killed_worker_is_cleared(void **state) {
    (void)state;
    struct fx f;
    fx_folder(&f);
    struct worker w = start(f.dir, false);
    fx_open(&f, 0);
    fx_declare(&f, TYPES);
    put_many(&f, 0, 10);
    assert_int_equal(ask(&w, 'h'), 10);
    assert_int_equal(answer(&w), 10);
    assert_int_equal(hm_store_clear_readers(f.store), 0);
    assert_int_equal(kill(w.pid, SIGKILL), 0);
    int status = stop(&w);
    assert_true(WIFSIGNALED(status));
    assert_true(hm_store_clear_readers(f.store) > 0);
    put_many(&f, 10, 10);
    fx_verify(&f);
    fx_free(&f);
}

static void a_worker_cannot_write(void **state) {
    (void)state;
    struct fx f;
    fx_new(&f, TYPES, 0);
    put_many(&f, 0, 1);
    hm_store_close(f.store);
    struct hm_store_options o = {.read_only = true};
    assert_true(hm_store_open(f.dir, &o, &f.store, &f.err));
    struct hm_write *w;
    assert_false(hm_write_begin(f.store, &w, &f.err));
    assert_int_equal(fx_seq(&f), 1);
    struct hm_read *r;
    struct hm_record rec;
    struct hm_buf out = {0};
    assert_true(hm_read_begin(f.store, &r, &f.err));
    assert_true(hm_read_get(r, S("thing"), S("00000000"), &rec, &f.err));
    assert_false(hm_unseal(f.store, &rec, S("n"), &out, &f.err));
    hm_read_end(r);
    hm_store_close(f.store);
    assert_false(hm_store_open("/tmp/no-such-folder", &o, &f.store, &f.err));
    assert_int_equal(f.err.code, HM_UNAVAILABLE);
    fx_free(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        // The workers come first: they are forked while this process has one thread and no store.
        cmocka_unit_test(a_worker_follows_every_commit_and_the_growing_map),
        cmocka_unit_test(the_slot_of_a_killed_worker_is_cleared),
        cmocka_unit_test(a_worker_cannot_write),
        cmocka_unit_test(readers_see_whole_snapshots_while_the_map_grows),
        cmocka_unit_test(the_map_grows_before_it_is_full_when_nobody_reads),
        cmocka_unit_test(a_map_at_its_limit_says_so_and_loses_nothing),
    };
    signal(SIGPIPE, SIG_IGN); // a worker that died is a failed test, not the end of all
    return cmocka_run_group_tests(tests, NULL, NULL);
}
