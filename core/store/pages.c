// Whether a file of LMDB's hangs together (data format 1, 64 bit, little endian: what Debian's 0.9 writes):
// every page that can be reached lies in the file, is of the kind that leads there, and holds nodes that end
// inside it and are in order; no page is reached twice, and none that is in use is free as well.
//
// LMDB believes its file: behind a cut-off end waits SIGBUS, and a flipped bit leads it anywhere. So this
// looks first, with pread, for which a bad sector is an error like any other. Any thread, while nobody
// writes. What holds for a file that passed: no pointer or length in it leads LMDB out of it.
#include "store/internal.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC 0xBEEFC0DEu
#define FORMAT_VERSION 1u
#define HEAD 16u      // of a page
#define NODE 8u       // of a node, before its key
#define DEPTH_MAX 32u // CURSOR_STACK of LMDB
#define NONE UINT64_MAX
#define INTEGER_KEYS 0x08u // flags of the list of free pages
enum { BRANCH = 0x01, LEAF = 0x02, OVERFLOW = 0x04, META = 0x08 };
enum { BIG_DATA = 0x01, SUB_DATA = 0x02 };

struct db {
    uint32_t pad;
    uint16_t flags, depth;
    uint64_t branch, leaf, overflow, entries, root;
};
struct meta {
    uint32_t magic, version;
    uint64_t address, map_bytes;
    struct db free, main; // free.pad is the size of a page
    uint64_t last, txn;
};
_Static_assert(sizeof(struct db) == 48 && sizeof(struct meta) == 136, "as they lie in the file");

struct walk {
    int fd;
    const char *file;
    bool whole;
    uint32_t page_size;
    uint64_t pages;        // whole ones in the file
    uint8_t *used, *freed; // a bit for each
    struct meta meta;
    struct hm_error *err;
};
struct tree { // what was found, to be compared with what the file says
    struct db found;
    const struct db *db;
    bool integers, is_free, is_main;
};
struct node {
    struct hm_str key, data; // data: in the page
    uint16_t flags;
    uint64_t child; // of a branch
    uint64_t size;  // of the data, wherever it lies
};

static bool fault(struct walk *w, uint64_t page, const char *what) {
    return hm_fail(w->err, HM_UNAVAILABLE,
                   "%s is damaged (page %" PRIu64 ": %s); restore it from a backup (hamroh restore --help)",
                   w->file, page, what);
}

static bool read_at(struct walk *w, uint64_t at, void *out, size_t len) {
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(w->fd, (char *)out + done, len - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0)
            return hm_fail(w->err, HM_UNAVAILABLE, "%s cannot be read at byte %" PRIu64 ": %s", w->file, at,
                           strerror(errno));
        if (n == 0) return fault(w, w->page_size ? at / w->page_size : 0, "the file ends before its end");
        done += (size_t)n;
    }
    return true;
}

static uint16_t u16(const uint8_t *p) {
    return (uint16_t)(p[0] | p[1] << 8);
}
static uint32_t u32(const uint8_t *p) {
    return (uint32_t)u16(p) | (uint32_t)u16(p + 2) << 16;
}
static uint64_t u64(const uint8_t *p) {
    return u32(p) | (uint64_t)u32(p + 4) << 32;
}

static bool bit_set(uint8_t *bits, uint64_t i) { // true when it was set already
    bool was = bits[i / 8] >> (i % 8) & 1;
    bits[i / 8] = (uint8_t)(bits[i / 8] | 1u << (i % 8));
    return was;
}

static bool claim(struct walk *w, uint64_t from, uint64_t page, uint64_t count) {
    if (page < 2 || page > w->meta.last || count == 0 || count > w->meta.last - page + 1)
        return fault(w, from, "leads to a page that does not exist");
    if (page >= w->pages || count > w->pages - page)
        return fault(w, from, "leads to a page behind the end of the file, which has been cut off");
    for (uint64_t i = 0; i < count; i++)
        if (bit_set(w->used, page + i)) return fault(w, from, "leads to a page that has its place elsewhere");
    return true;
}

// ---- pages and nodes ------------------------------------------------------------------------------------

static int compare(const struct tree *t, struct hm_str a, struct hm_str b) {
    if (!t->integers) return hm_str_cmp(a, b);
    uint64_t x = u64((const uint8_t *)a.ptr), y = u64((const uint8_t *)b.ptr);
    return x < y ? -1 : x > y;
}

static size_t even(size_t n) {
    return n + (n & 1);
}

static bool node_at(struct walk *w, uint64_t page, const uint8_t *bytes, unsigned i, struct node *n) {
    size_t at = u16(bytes + HEAD + 2 * i), upper = u16(bytes + 14);
    if (at < upper || at % 2 || at + NODE > w->page_size) return fault(w, page, "a node lies outside");
    const uint8_t *p = bytes + at;
    bool leaf = u16(bytes + 10) == LEAF;
    n->flags = u16(p + 4);
    n->key = (struct hm_str){(const char *)p + NODE, u16(p + 6)};
    n->size = leaf ? u32(p) : 0;
    n->child = leaf ? 0 : u32(p) | (uint64_t)n->flags << 32;
    size_t inside = !leaf ? 0 : n->flags & BIG_DATA ? 8 : (size_t)n->size;
    if (n->key.len > w->page_size - at - NODE || inside > w->page_size - at - NODE - n->key.len)
        return fault(w, page, "a node does not end inside");
    n->data = (struct hm_str){n->key.ptr + n->key.len, inside};
    if (leaf && (n->flags & ~(BIG_DATA | SUB_DATA))) return fault(w, page, "a node of an unknown kind");
    return true;
}

// Its head, and that its nodes fill it from `upper` to the end without overlapping.
static bool check_page(struct walk *w, const struct tree *t, uint64_t page, const uint8_t *bytes,
                       unsigned *count) {
    unsigned flags = u16(bytes + 10), lower = u16(bytes + 12), upper = u16(bytes + 14);
    struct node n;
    size_t sum = 0;
    if (u64(bytes) != page) return fault(w, page, "bears another number");
    if (flags != BRANCH && flags != LEAF) return fault(w, page, "is of an unknown kind");
    if (lower <= HEAD || lower % 2 || lower > upper || upper > w->page_size)
        return fault(w, page, "has an unreadable head");
    *count = (lower - HEAD) / 2;
    for (unsigned i = 0; i < *count; i++) {
        if (!node_at(w, page, bytes, i, &n)) return false;
        bool keyless = flags == BRANCH && i == 0; // stands for all that is smaller
        if (!keyless && (n.key.len == 0 || n.key.len > HM_KEY_MAX || (t->integers && n.key.len != 8)))
            return fault(w, page, "a key of an impossible length");
        sum += even(NODE + n.key.len + n.data.len);
    }
    return sum == w->page_size - upper || fault(w, page, "its nodes overlap");
}

// The bytes of a leaf's value that lies in pages of its own are read into `out` when it is not NULL.
static bool check_big(struct walk *w, struct tree *t, uint64_t page, const struct node *n,
                      struct hm_buf *out) {
    uint8_t head[HEAD];
    uint64_t at = u64((const uint8_t *)n->data.ptr), need = (HEAD - 1 + n->size) / w->page_size + 1;
    if (at < 2 || at >= w->pages) return claim(w, page, at, 1);
    if (!read_at(w, at * w->page_size, head, sizeof head)) return false;
    if (u64(head) != at || u16(head + 10) != OVERFLOW || u32(head + 12) < need)
        return fault(w, at, "is not the beginning of the long value that it should be");
    if (!claim(w, page, at, u32(head + 12))) return false;
    t->found.overflow += u32(head + 12);
    if (!out) return true;
    hm_buf_reserve(out, (size_t)n->size);
    out->len = (size_t)n->size;
    return read_at(w, at * w->page_size + HEAD, out->data, out->len);
}

static bool check_free(struct walk *w, uint64_t page, const struct node *n, struct hm_str list) {
    const uint8_t *p = (const uint8_t *)list.ptr;
    uint64_t count = list.len >= 8 ? u64(p) : NONE, before = NONE;
    if (list.len % 8 || count > list.len / 8 - 1 || u64((const uint8_t *)n->key.ptr) > w->meta.txn)
        return fault(w, page, "an unreadable list of free pages");
    for (uint64_t i = 1; i <= count; i++) { // descending
        uint64_t one = u64(p + 8 * i);
        if (one < 2 || one > w->meta.last || one >= before)
            return fault(w, page, "a list of free pages names one that cannot be");
        before = one;
        if (one < w->pages && bit_set(w->freed, one)) return fault(w, page, "a page is free twice");
    }
    return true;
}

static bool walk_tree(struct walk *w, const struct db *db, bool is_free, bool is_main);

static bool check_leaf(struct walk *w, struct tree *t, uint64_t page, const struct node *n) {
    struct hm_buf big = {0};
    struct db sub;
    t->found.entries++;
    bool ok = true;
    if (n->flags & SUB_DATA) {
        if (!t->is_main || n->flags != SUB_DATA || n->data.len != sizeof sub)
            return fault(w, page, "a database where none can be");
        memcpy(&sub, n->data.ptr, sizeof sub);
        return walk_tree(w, &sub, false, false);
    }
    if (n->flags & BIG_DATA) ok = check_big(w, t, page, n, t->is_free ? &big : NULL);
    if (ok && t->is_free) ok = check_free(w, page, n, n->flags & BIG_DATA ? hm_buf_view(&big) : n->data);
    hm_buf_free(&big);
    return ok;
}

// ---- trees ----------------------------------------------------------------------------------------------

// Keys of what hangs on `page` are in [low, high); an empty one is no bound.
static bool walk_page(struct walk *w, struct tree *t, uint64_t from, uint64_t page, unsigned depth,
                      struct hm_str low, struct hm_str high) {
    unsigned count;
    struct node n, next;
    struct hm_str before = {0};
    if (!claim(w, from, page, 1)) return false;
    uint8_t *bytes = hm_alloc(w->page_size);
    bool ok = read_at(w, page * w->page_size, bytes, w->page_size) && check_page(w, t, page, bytes, &count);
    bool leaf = ok && u16(bytes + 10) == LEAF;
    if (ok && leaf != (depth == t->db->depth)) ok = fault(w, page, "is at another depth than it should be");
    *(leaf ? &t->found.leaf : &t->found.branch) += 1;
    for (unsigned i = 0; ok && i < count; i++) {
        ok = node_at(w, page, bytes, i, &n);
        bool keyless = !leaf && i == 0;
        if (ok && !keyless &&
            ((before.len && compare(t, before, n.key) >= 0) || (low.len && compare(t, n.key, low) < 0) ||
             (high.len && compare(t, n.key, high) >= 0)))
            ok = fault(w, page, "its keys are not in order");
        if (!keyless) before = n.key;
        if (!ok || leaf) {
            ok = ok && check_leaf(w, t, page, &n);
            continue;
        }
        if (!w->whole) continue;
        struct hm_str to = high;
        if (i + 1 < count) {
            ok = node_at(w, page, bytes, i + 1, &next);
            to = next.key;
        }
        ok = ok && walk_page(w, t, page, n.child, depth + 1, i ? n.key : low, to);
    }
    free(bytes);
    return ok;
}

static bool walk_tree(struct walk *w, const struct db *db, bool is_free, bool is_main) {
    struct tree t = {.db = db, .integers = is_free, .is_free = is_free, .is_main = is_main};
    if (!is_free && (db->flags || db->pad)) return fault(w, 0, "a database of an unknown kind");
    if (db->root == NONE) {
        if (db->entries || db->depth) return fault(w, 0, "a database has lost its pages");
        return true;
    }
    if (db->depth == 0 || db->depth > DEPTH_MAX)
        return fault(w, db->root, "a database of an impossible depth");
    if (!walk_page(w, &t, 0, db->root, 1, (struct hm_str){0}, (struct hm_str){0})) return false;
    if (!w->whole) return true;
    if (t.found.entries != db->entries || t.found.branch != db->branch || t.found.leaf != db->leaf ||
        t.found.overflow != db->overflow)
        return fault(w, db->root, "a database has other numbers of entries or pages than it says");
    return true;
}

// ---- the file -------------------------------------------------------------------------------------------

static bool meta_at(struct walk *w, uint64_t slot, uint32_t page_size, struct meta *m) {
    uint8_t head[HEAD];
    if (!read_at(w, slot * page_size, head, sizeof head)) return false;
    if (!read_at(w, slot * page_size + HEAD, m, sizeof *m)) return false;
    if (m->magic != MAGIC || u16(head + 10) != META)
        return fault(w, slot, "is not the head of a database file");
    if (m->version != FORMAT_VERSION)
        return hm_fail(w->err, HM_UNAVAILABLE, "%s has another format (%u) than this program reads (%u)",
                       w->file, m->version, FORMAT_VERSION);
    uint32_t size = m->free.pad;
    if (size < 512 || size > 32768 || (size & (size - 1)) || (page_size && size != page_size) ||
        m->free.flags != INTEGER_KEYS || m->map_bytes > UINT64_C(1) << 46)
        return fault(w, slot, "is an unreadable head");
    return true;
}

// The value of a key, copied; *found false when there is none. Believes nothing of the way there.
static bool look_up(struct walk *w, const struct db *db, struct hm_str key, uint8_t *out, size_t len,
                    bool *found) {
    struct tree t = {.db = db};
    uint64_t page = db->root;
    uint8_t *bytes = hm_alloc(w->page_size);
    bool ok = true, leaf = false;
    *found = false;
    for (unsigned depth = 0; ok && !leaf && page != NONE && depth < DEPTH_MAX; depth++) {
        unsigned count = 0;
        struct node n, last = {0};
        ok = page < w->pages && read_at(w, page * w->page_size, bytes, w->page_size) &&
             check_page(w, &t, page, bytes, &count);
        leaf = ok && u16(bytes + 10) == LEAF;
        for (unsigned i = 0; ok && i < count && (ok = node_at(w, page, bytes, i, &n)); i++) {
            if (leaf && hm_str_eq(n.key, key) && n.data.len == len) {
                memcpy(out, n.data.ptr, len);
                *found = true;
            }
            if (i == 0 || hm_str_cmp(n.key, key) <= 0) last = n;
        }
        page = last.child;
    }
    free(bytes);
    return ok || fault(w, page, "is not a page that a head could lead to");
}

// Each commit writes its own number into the database "meta" (hm_meta_put): a head that bears another number
// is damaged, and would be taken for newer or older than it is. The head of a compacted copy bears a 1 of its
// own.
static bool check_turn(struct walk *w, uint64_t slot, const struct meta *m) {
    struct db db;
    uint64_t turn;
    bool found;
    if (!look_up(w, &m->main, HM_LIT("meta"), (uint8_t *)&db, sizeof db, &found)) return false;
    if (!found || m->txn == 1) return true;
    if (!look_up(w, &db, HM_LIT("turn"), (uint8_t *)&turn, sizeof turn, &found)) return false;
    return !found || turn == m->txn || fault(w, slot, "is not the head that was written with its content");
}

// Two heads take turns: an even transaction lies in the first, an odd one in the second, and they follow each
// other. Otherwise one of them is not the one that was written last, and changes would be lost unseen.
static bool read_meta(struct walk *w, uint64_t file_bytes) {
    struct meta one, two;
    if (!meta_at(w, 0, 0, &one)) return false;
    w->page_size = one.free.pad;
    w->pages = file_bytes / w->page_size;
    if (!meta_at(w, 1, w->page_size, &two)) return false;
    bool fresh = one.txn == 0 && two.txn == 0;
    uint64_t apart = one.txn > two.txn ? one.txn - two.txn : two.txn - one.txn;
    if (!fresh && (apart != 1 || one.txn % 2 != 0))
        return fault(w, 0, "the two heads do not follow each other");
    w->meta = one.txn > two.txn ? one : two;
    if (w->meta.last < 1 || w->meta.last >= w->meta.map_bytes / w->page_size)
        return fault(w, 0, "names more pages than can be");
    return check_turn(w, 0, &one) && check_turn(w, 1, &two);
}

static bool check_all(struct walk *w) {
    // A file may be shorter than its last page, when that was free before it was ever written: then all is
    // looked at.
    if (w->meta.last >= w->pages) w->whole = true;
    w->used = hm_alloc((size_t)(w->pages / 8 + 1));
    w->freed = hm_alloc((size_t)(w->pages / 8 + 1));
    if (!walk_tree(w, &w->meta.main, false, true)) return false;
    if (!w->whole) return true;
    if (!walk_tree(w, &w->meta.free, true, false)) return false;
    for (uint64_t i = 0; i < w->pages / 8 + 1; i++)
        if (w->used[i] & w->freed[i]) return fault(w, i * 8, "a page about here is in use and free");
    return true;
}

bool hm_pages_check(const char *file, bool whole, struct hm_error *err) {
    struct walk w = {.file = file, .err = err, .fd = open(file, O_RDONLY | O_CLOEXEC)};
    struct stat st;
    bool ok = false;
    if (w.fd < 0 || fstat(w.fd, &st) != 0) {
        hm_fail(err, HM_UNAVAILABLE, "%s: %s", file, strerror(errno));
        goto out;
    }
    w.whole = whole || st.st_size <= HM_PAGES_ALWAYS;
    if (w.whole) posix_fadvise(w.fd, 0, 0, POSIX_FADV_WILLNEED); // in the order of the disk, not of the trees
    ok = read_meta(&w, (uint64_t)st.st_size) && check_all(&w);
out:
    free(w.used);
    free(w.freed);
    if (w.fd >= 0) close(w.fd);
    return ok;
}
