// Passwords: Argon2id (libsodium, interactive cost, 64 MiB) on a few threads of their own, so that the
// loop never waits for a tenth of a second of CPU. The loop puts work in and collects what is ready; a
// pool thread only computes and wakes. What always holds: a password lives in locked memory and is wiped
// as soon as it has been used, a callback runs on the loop and exactly once, and an account that does not
// exist costs what a wrong password costs.
#include "auth/auth.h"
#include "base/json.h"
#include "base/text.h"

#include <assert.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#define PASSWORD_CHARACTERS_MIN 10
#define PASSWORD_BYTES_MAX 1024

// The hash of a random password that nobody knows, of the same cost as every other.
static const char nobody[] =
    "$argon2id$v=19$m=65536,t=2,p=1$Wryfcs3spIpSFQNCa8og8Q$Zla9Taix3ODuJ+7/mdJPXHsI7vMP7AtlA8INUtAOl6A";

static_assert(HM_HASH_MAX > crypto_pwhash_STRBYTES, "room for libsodium's text and its end");

struct work {
    struct work *next;
    char *password; // sodium_malloc: guarded and locked
    size_t len;
    bool verify, known, ok;
    char hash[HM_HASH_MAX];
    hm_pw_fn fn;
    void *arg;
};

struct list {
    struct work *head, **tail;
};

struct hm_pwpool {
    pthread_mutex_t lock;
    pthread_cond_t some;
    struct list waiting, ready;
    unsigned count, max; // waiting and being worked on
    bool stop;
    unsigned thread_count;
    pthread_t *threads;
    void (*wake)(void *arg);
    void *wake_arg;
};

static void list_init(struct list *l) {
    l->head = NULL;
    l->tail = &l->head;
}

static void list_add(struct list *l, struct work *w) {
    w->next = NULL;
    *l->tail = w;
    l->tail = &w->next;
}

static struct work *list_take(struct list *l) {
    struct work *w = l->head;
    if (!w) return NULL;
    l->head = w->next;
    if (!l->head) l->tail = &l->head;
    return w;
}

static void work_free(struct work *w) {
    if (!w) return;
    sodium_free(w->password);
    sodium_memzero(w->hash, sizeof w->hash);
    free(w);
}

static void compute(struct work *w) {
    if (w->verify) {
        int same = crypto_pwhash_str_verify(w->known ? w->hash : nobody, w->password, w->len);
        w->ok = same == 0 && w->known;
    } else {
        w->ok = crypto_pwhash_str(w->hash, w->password, w->len, crypto_pwhash_OPSLIMIT_INTERACTIVE,
                                  crypto_pwhash_MEMLIMIT_INTERACTIVE) == 0;
    }
    sodium_free(w->password);
    w->password = NULL;
}

static void *pool_main(void *arg) {
    struct hm_pwpool *pool = arg;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (!pool->stop && !pool->waiting.head)
            pthread_cond_wait(&pool->some, &pool->lock);
        if (pool->stop) break;
        struct work *w = list_take(&pool->waiting);
        pthread_mutex_unlock(&pool->lock);
        compute(w);
        pthread_mutex_lock(&pool->lock);
        pool->count--;
        list_add(&pool->ready, w);
        pool->wake(pool->wake_arg);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

struct hm_pwpool *hm_pwpool_new(unsigned threads, unsigned queue_max, void (*wake)(void *arg), void *arg) {
    if (sodium_init() < 0) return NULL;
    struct hm_pwpool *pool = hm_alloc(sizeof *pool);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->some, NULL);
    list_init(&pool->waiting);
    list_init(&pool->ready);
    pool->max = queue_max;
    pool->wake = wake;
    pool->wake_arg = arg;
    pool->threads = hm_alloc_array(threads, sizeof *pool->threads);
    for (unsigned i = 0; i < threads; i++) {
        if (pthread_create(&pool->threads[i], NULL, pool_main, pool) != 0) break;
        pool->thread_count++;
    }
    if (pool->thread_count == 0) {
        hm_pwpool_free(pool);
        return NULL;
    }
    return pool;
}

void hm_pwpool_free(struct hm_pwpool *pool) {
    if (!pool) return;
    pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    pthread_cond_broadcast(&pool->some);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->thread_count; i++)
        pthread_join(pool->threads[i], NULL);
    struct work *w;
    while ((w = list_take(&pool->ready)) || (w = list_take(&pool->waiting))) {
        w->fn(w->arg, false, NULL);
        work_free(w);
    }
    pthread_cond_destroy(&pool->some);
    pthread_mutex_destroy(&pool->lock);
    free(pool->threads);
    free(pool);
}

static bool submit(struct hm_pwpool *pool, struct hm_str password, const char *hash, bool verify, hm_pw_fn fn,
                   void *arg, struct hm_error *err) {
    if (password.len > PASSWORD_BYTES_MAX) return hm_fail(err, HM_PARAMS, "the password is too long");
    pthread_mutex_lock(&pool->lock);
    bool full = pool->count >= pool->max || pool->stop;
    if (!full) pool->count++;
    pthread_mutex_unlock(&pool->lock);
    if (full) return hm_fail(err, HM_TOO_MANY, "too many people are signing in at this moment");

    struct work *w = hm_alloc(sizeof *w);
    w->password = sodium_malloc(password.len + 1);
    if (!w->password) {
        pthread_mutex_lock(&pool->lock);
        pool->count--;
        pthread_mutex_unlock(&pool->lock);
        free(w);
        return hm_fail(err, HM_TOO_MANY, "no locked memory for a password");
    }
    if (password.len) memcpy(w->password, password.ptr, password.len);
    w->len = password.len;
    w->verify = verify;
    w->known = hash && strlen(hash) < sizeof w->hash;
    if (w->known) memcpy(w->hash, hash, strlen(hash) + 1);
    w->fn = fn;
    w->arg = arg;
    pthread_mutex_lock(&pool->lock);
    list_add(&pool->waiting, w);
    pthread_cond_signal(&pool->some);
    pthread_mutex_unlock(&pool->lock);
    return true;
}

bool hm_pw_hash(struct hm_pwpool *pool, struct hm_str password, hm_pw_fn fn, void *arg,
                struct hm_error *err) {
    return submit(pool, password, NULL, false, fn, arg, err);
}

bool hm_pw_verify(struct hm_pwpool *pool, struct hm_str password, const char *hash, hm_pw_fn fn, void *arg,
                  struct hm_error *err) {
    return submit(pool, password, hash, true, fn, arg, err);
}

void hm_pwpool_collect(struct hm_pwpool *pool) {
    pthread_mutex_lock(&pool->lock);
    struct work *w = pool->ready.head;
    list_init(&pool->ready);
    pthread_mutex_unlock(&pool->lock);
    while (w) {
        struct work *next = w->next;
        w->fn(w->arg, w->ok, w->verify ? NULL : w->hash);
        work_free(w);
        w = next;
    }
}

unsigned hm_pwpool_waiting(const struct hm_pwpool *pool) {
    struct hm_pwpool *p = (struct hm_pwpool *)pool; // the lock is not part of what a reader sees
    pthread_mutex_lock(&p->lock);
    unsigned count = p->count;
    pthread_mutex_unlock(&p->lock);
    return count;
}

bool hm_pw_hash_now(struct hm_str password, char out[HM_HASH_MAX]) {
    if (sodium_init() < 0) return false;
    memset(out, 0, HM_HASH_MAX);
    return crypto_pwhash_str(out, password.len ? password.ptr : "", password.len,
                             crypto_pwhash_OPSLIMIT_INTERACTIVE, crypto_pwhash_MEMLIMIT_INTERACTIVE) == 0;
}

// A hash that comes from outside must not cost more than ours: its own text says what checking it takes.
bool hm_pw_hash_valid(struct hm_str hash) {
    if (hash.len == 0 || hash.len >= crypto_pwhash_STRBYTES || memchr(hash.ptr, 0, hash.len)) return false;
    char text[crypto_pwhash_STRBYTES] = {0};
    memcpy(text, hash.ptr, hash.len);
    unsigned memory = 0, passes = 0, lanes = 0;
    if (sscanf(text, "$argon2id$v=19$m=%9u,t=%9u,p=%9u$", &memory, &passes, &lanes) != 3) return false;
    if (memory > 65536 || passes > 4 || lanes != 1) return false;
    return crypto_pwhash_str_needs_rehash(text, crypto_pwhash_OPSLIMIT_INTERACTIVE,
                                          crypto_pwhash_MEMLIMIT_INTERACTIVE) >= 0;
}

bool hm_password_acceptable(struct hm_str password, struct hm_str login, struct hm_error *err) {
    if (password.len > PASSWORD_BYTES_MAX)
        return hm_fail(err, HM_PARAMS, "at most %d bytes", PASSWORD_BYTES_MAX);
    if (!hm_utf8_valid(password) || (password.len && memchr(password.ptr, 0, password.len)))
        return hm_fail(err, HM_PARAMS, "not valid UTF-8 text");
    size_t characters = 0;
    for (size_t i = 0; i < password.len; i++)
        characters += ((unsigned char)password.ptr[i] & 0xc0) != 0x80;
    if (characters < PASSWORD_CHARACTERS_MIN)
        return hm_fail(err, HM_PARAMS, "at least %d characters", PASSWORD_CHARACTERS_MIN);
    struct hm_buf a = {0}, b = {0};
    hm_fold(password, &a);
    hm_fold(login, &b);
    bool same = hm_str_eq(hm_buf_view(&a), hm_buf_view(&b));
    if (a.data) sodium_memzero(a.data, a.len);
    hm_buf_free(&a);
    hm_buf_free(&b);
    if (same) return hm_fail(err, HM_PARAMS, "must not be the login");
    return true;
}
