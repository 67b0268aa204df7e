// Who still reads an old snapshot. LMDB frees no page that a reader's snapshot may need: one that hangs makes
// the file grow with every commit, and nothing else tells of it. Any thread; the table of readers is looked
// at without its lock, as LMDB itself does.
#include "store/internal.h"
#include <stdio.h>

struct oldest {
    size_t txn;
    unsigned count;
};

// Lines of mdb_reader_list: a head, then "pid thread transaction", the last "-" while it reads nothing.
static int look(const char *line, void *arg) {
    struct oldest *oldest = arg;
    size_t txn;
    for (; *line; line = strchr(line, '\n') + 1) {
        if (sscanf(line, "%*d %*x %zu", &txn) == 1) {
            if (!oldest->count || txn < oldest->txn) oldest->txn = txn;
            oldest->count++;
        }
        if (!strchr(line, '\n')) break;
    }
    return 0;
}

bool hm_store_readers(struct hm_store *store, struct hm_store_readers *out) {
    struct oldest oldest = {0};
    MDB_envinfo info;
    // The heads lie in the map: while it is moved there is nothing to see, and nobody here waits for that.
    if (pthread_rwlock_tryrdlock(&store->map_lock) != 0) return false;
    bool ok = mdb_env_info(store->env, &info) == 0 && mdb_reader_list(store->env, look, &oldest) >= 0;
    pthread_rwlock_unlock(&store->map_lock);
    if (!ok) return false;
    *out = (struct hm_store_readers){.last_txn = info.me_last_txnid, .reading = oldest.count};
    out->oldest_txn = oldest.count && oldest.txn < out->last_txn ? oldest.txn : out->last_txn;
    return true;
}
