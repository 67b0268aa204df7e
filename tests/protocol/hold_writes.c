// Holds the lock that every write to an LMDB environment needs, as a disk that does not answer would hold up
// a commit: `hold_writes FOLDER` prints "held", and lets go when its standard input ends.
#include <lmdb.h>
#include <stdio.h>

int main(int argc, char **argv) {
    MDB_env *env = NULL;
    MDB_txn *txn = NULL;
    int rc = argc == 2 ? mdb_env_create(&env) : 1;
    if (!rc) rc = mdb_env_set_maxreaders(env, 512);
    if (!rc) rc = mdb_env_open(env, argv[1], MDB_NOTLS, 0600);
    if (!rc) rc = mdb_txn_begin(env, NULL, 0, &txn);
    if (rc) {
        fprintf(stderr, "hold_writes: %s\n", mdb_strerror(rc));
        return 1;
    }
    puts("held");
    fflush(stdout);
    while (getchar() != EOF)
        continue;
    mdb_txn_abort(txn);
    mdb_env_close(env);
    return 0;
}
