// The raw limit on this machine: a bare LMDB loop without anything of ours. A "write" is three puts of a
// 570-byte value under three keys, in batches of 1,000 with one fsync each; a "get" is one snapshot and one
// look-up. Usage: raw_lmdb FOLDER [BATCHES]   FOLDER must exist and be empty. Prints one JSON line.
#include <lmdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BATCH 1000
#define VALUE 570

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void check(int rc, const char *what) {
    if (!rc) return;
    fprintf(stderr, "raw_lmdb: %s: %s\n", what, mdb_strerror(rc));
    exit(1);
}

// Keys in an order that is neither ascending nor the same twice, as ids of many people are.
static void make_key(char key[33], unsigned space, uint64_t n) {
    snprintf(key, 33, "%x%015llx%016llx", space & 15,
             (unsigned long long)(n * UINT64_C(0x9e3779b97f4a7c15) >> 4), (unsigned long long)n);
}

static void put_batch(MDB_env *env, MDB_dbi dbi, uint64_t first) {
    static char value[VALUE];
    char key[33];
    MDB_txn *txn;
    memset(value, 'x', sizeof value);
    check(mdb_txn_begin(env, NULL, 0, &txn), "begin");
    for (uint64_t n = first; n < first + BATCH; n++) {
        for (unsigned space = 0; space < 3; space++) {
            make_key(key, space, n);
            MDB_val k = {32, key}, v = {sizeof value, value};
            check(mdb_put(txn, dbi, &k, &v, 0), "put");
        }
    }
    check(mdb_txn_commit(txn), "commit");
}

static double get_seconds(MDB_env *env, MDB_dbi dbi, uint64_t written, uint64_t gets) {
    MDB_txn *txn;
    char key[33];
    uint64_t seed = 1;
    check(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), "begin");
    mdb_txn_reset(txn);
    double start = now_s();
    for (uint64_t i = 0; i < gets; i++) {
        MDB_val v;
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
        make_key(key, (unsigned)(seed % 3), (seed >> 20) % written);
        MDB_val k = {32, key};
        check(mdb_txn_renew(txn), "renew");
        check(mdb_get(txn, dbi, &k, &v), "get");
        mdb_txn_reset(txn);
    }
    double took = now_s() - start;
    mdb_txn_abort(txn);
    return took;
}

int main(int argc, char **argv) {
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    if (argc < 2) {
        fprintf(stderr, "usage: raw_lmdb FOLDER [BATCHES]\n");
        return 2;
    }
    uint64_t batches = argc > 2 ? strtoull(argv[2], NULL, 10) : 50;
    if (!batches) batches = 1;
    check(mdb_env_create(&env), "create");
    check(mdb_env_set_mapsize(env, (size_t)16 << 30), "map");
    check(mdb_env_open(env, argv[1], MDB_NOTLS, 0600), "open");
    check(mdb_txn_begin(env, NULL, 0, &txn), "begin");
    check(mdb_dbi_open(txn, NULL, 0, &dbi), "open");
    check(mdb_txn_commit(txn), "commit");
    double start = now_s();
    for (uint64_t b = 0; b < batches; b++)
        put_batch(env, dbi, b * BATCH);
    double took = now_s() - start;
    uint64_t gets = 500000;
    double get_took = get_seconds(env, dbi, batches * BATCH, gets);
    printf("{\"name\":\"raw_lmdb\",\"batch\":%d,\"value_bytes\":%d,\"writes\":%llu,\"writes_per_s\":%.0f,"
           "\"puts_per_s\":%.0f,"
           "\"batch_ms\":%.2f,\"gets_per_s\":%.0f,\"get_us\":%.3f}\n",
           BATCH, VALUE, (unsigned long long)(batches * BATCH), (double)(batches * BATCH) / took,
           (double)(batches * BATCH * 3) / took, took * 1000 / (double)batches, (double)gets / get_took,
           get_took * 1e6 / (double)gets);
    mdb_env_close(env);
    return 0;
}
