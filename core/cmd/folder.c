// Commands about a data folder as a whole: init, backup, restore, verify. verify and restore work on
// the files, while nobody serves them; backup goes through the engine.
#include "base/id.h"
#include "cmd/client.h"
#include "cmd/cmd.h"
#include "engine/engine.h"
#include "store/store.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

int hm_cmd_init(int argc, char **argv) {
    const char *data = NULL;
    const struct hm_option options[] = {{"--data", &data, NULL, true}, {0}};
    int count;
    char **words;
    char code[20];
    struct hm_error err = {0};
    if (!hm_options(argc, argv, options, false, &count, &words)) return HM_EXIT_USAGE;
    if (!hm_words_count(argv[0], count, 0, 0)) return HM_EXIT_USAGE;
    if (!hm_engine_init(data, code, &err)) return hm_complain(HM_EXIT_FAILED, argv[0], "%s", err.message);
    printf("A new cluster is in %s.\n\n"
           "Invitation of the first administrator: %s\n"
           "Use it once, in the web client: institution \"cluster\", \"I have an invitation code\".\n\n"
           "Next: hamroh serve --data %s\n"
           "Keep %s/server.key safe and apart from backups: without it nothing sealed can be read again.\n",
           data, code, data, data);
    return HM_EXIT_DONE;
}

// Calls fn for every institution's folder under DIR/institutions; stops at the first false.
static bool each_institution(const char *dir, bool (*fn)(void *arg, const char *id, const char *path),
                             void *arg, struct hm_error *err) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/institutions", dir);
    DIR *folder = opendir(path);
    if (!folder)
        return hm_fail(err, HM_NOT_FOUND, "%s: %s; is it a folder of Hamroh's?", path, strerror(errno));
    bool ok = true;
    for (struct dirent *entry; ok && (entry = readdir(folder));) {
        if (!hm_name_valid(hm_str_of(entry->d_name))) continue;
        snprintf(path, sizeof path, "%s/institutions/%s", dir, entry->d_name);
        ok = fn(arg, entry->d_name, path);
    }
    closedir(folder);
    return ok;
}

// ---- backup: through the engine, so that it may be served meanwhile
// -----------------------------------------------------

struct backing_up {
    struct hm_client *client;
    const char *to; // from the root
    struct hm_error *err;
    struct hm_buf data;
    unsigned count;
};

static bool backup_one(void *arg, const char *id, const char *path) {
    struct backing_up *b = arg;
    struct hm_buf params = {0}, result = {0}, to = {0};
    (void)path;
    hm_buf_printf(&to, "%s/institutions/%s", b->to, id);
    hm_buf_char(&params, '{');
    hm_json_member_str(&params, "to", hm_buf_view(&to));
    hm_buf_char(&params, '}');
    struct hm_call_as as = {.institution = id};
    bool ok = hm_client_do(b->client, "backup.create", hm_buf_view(&params), as, &result, &b->data, b->err);
    if (ok) printf("%s: copied\n", id);
    b->count += ok;
    hm_buf_free(&params);
    hm_buf_free(&result);
    hm_buf_free(&to);
    return ok;
}

static bool make_folder(const char *path, struct hm_error *err) {
    return mkdir(path, 0700) == 0 || hm_fail(err, HM_CONFLICT, "%s: %s", path, strerror(errno));
}

// The new folder and its `institutions`; absolute gets its path from the root.
static bool make_target(const char *to, char absolute[PATH_MAX], struct hm_error *err) {
    struct hm_buf inner = {0};
    hm_buf_printf(&inner, "%s/institutions", to);
    bool ok = make_folder(to, err) && make_folder(inner.data, err);
    if (ok && !realpath(to, absolute)) ok = hm_fail(err, HM_UNAVAILABLE, "%s: %s", to, strerror(errno));
    hm_buf_free(&inner);
    return ok;
}

int hm_cmd_backup(int argc, char **argv) {
    const char *data = NULL, *to = NULL;
    const struct hm_option options[] = {{"--data", &data, NULL, true}, {"--to", &to, NULL, true}, {0}};
    int count, code = HM_EXIT_FAILED;
    char **words, absolute[PATH_MAX];
    struct hm_error err = {0};
    struct backing_up b = {.to = absolute, .err = &err};
    if (!hm_options(argc, argv, options, false, &count, &words)) return HM_EXIT_USAGE;
    if (!hm_words_count(argv[0], count, 0, 0)) return HM_EXIT_USAGE;
    if (!hm_client_open(data, &b.client, &err) || !make_target(to, absolute, &err) ||
        !each_institution(data, backup_one, &b, &err)) {
        hm_client_complain(argv[0], &err, hm_buf_view(&b.data));
        goto out;
    }
    printf("The copy of %u institutions is in %s. The server's key is not in it: keep %s/server.key "
           "elsewhere.\n",
           b.count, absolute, data);
    code = HM_EXIT_DONE;
out:
    hm_client_close(b.client);
    hm_buf_free(&b.data);
    return code;
}

// ---- verify and restore: on the files
// -------------------------------------------------------------------------------

struct verifying {
    uint8_t key[32];
    unsigned institutions, faulty;
};

static bool verify_one(void *arg, const char *id, const char *path) {
    struct verifying *v = arg;
    struct hm_store_options options = {.master_key = v->key, .look_at_all = true};
    struct hm_store *store = NULL;
    struct hm_error err = {0};
    uint64_t checked = 0;
    v->institutions++;
    bool ok = hm_store_open(path, &options, &store, &err) && hm_store_verify(store, &checked, &err);
    if (ok) {
        printf("%s: ok, %llu changes\n", id, (unsigned long long)checked);
    } else {
        v->faulty++;
        printf("%s: FAULT after %llu changes: %s\n", id, (unsigned long long)checked, err.message);
    }
    hm_store_close(store);
    return true;
}

static bool read_key(const char *path, uint8_t key[32], struct hm_error *err) {
    struct hm_buf text = {0};
    size_t len = 0;
    bool ok = hm_read_file(path, 1024, &text, err);
    if (ok &&
        (sodium_hex2bin(key, 32, text.data ? text.data : "", text.len, " \n", &len, NULL) != 0 || len != 32))
        ok = hm_fail(err, HM_PARAMS, "%s is no key file of Hamroh's (64 hexadecimal digits)", path);
    if (text.data) sodium_memzero(text.data, text.len);
    hm_buf_free(&text);
    return ok;
}

// Held while the files are read, so that no server changes them meanwhile.
static int hold(const char *data, struct hm_error *err) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/lock", data);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
    if (fd < 0)
        hm_fail(err, HM_NOT_FOUND, "%s: %s", path, strerror(errno));
    else
        hm_fail(err, HM_UNAVAILABLE, "%s is being served; stop the server first", data);
    if (fd >= 0) close(fd);
    return -1;
}

int hm_cmd_verify(int argc, char **argv) {
    const char *data = NULL;
    const struct hm_option options[] = {{"--data", &data, NULL, true}, {0}};
    int count, lock = -1, code = HM_EXIT_FAILED;
    char **words, path[PATH_MAX];
    struct verifying v = {0};
    struct hm_error err = {0};
    if (!hm_options(argc, argv, options, false, &count, &words)) return HM_EXIT_USAGE;
    if (!hm_words_count(argv[0], count, 0, 0)) return HM_EXIT_USAGE;
    if (sodium_init() < 0) return hm_complain(code, argv[0], "libsodium does not work here");
    snprintf(path, sizeof path, "%s/server.key", data);
    if (!read_key(path, v.key, &err) || (lock = hold(data, &err)) < 0 ||
        !each_institution(data, verify_one, &v, &err)) {
        hm_complain(code, argv[0], "%s", err.message);
    } else if (v.faulty) {
        hm_complain(
            code, argv[0],
            "%u of %u institutions are damaged. Keep %s as it is, make a new folder of the last backup, and "
            "serve that:\n  hamroh restore --from BACKUP --key %s/server.key --data NEW_DIR",
            v.faulty, v.institutions, data, data);
    } else {
        code = HM_EXIT_DONE;
    }
    if (lock >= 0) close(lock);
    sodium_memzero(&v, sizeof v);
    return code;
}

struct restoring {
    const char *to;
    struct hm_error *err;
    unsigned count;
};

static bool restore_one(void *arg, const char *id, const char *path) {
    struct restoring *r = arg;
    char to[PATH_MAX];
    snprintf(to, sizeof to, "%s/institutions/%s", r->to, id);
    if (!hm_store_restore(path, to, r->err)) return false;
    printf("%s: restored\n", id);
    r->count++;
    return true;
}

int hm_cmd_restore(int argc, char **argv) {
    const char *from = NULL, *key = NULL, *data = NULL;
    const struct hm_option options[] = {
        {"--from", &from, NULL, true}, {"--key", &key, NULL, true}, {"--data", &data, NULL, true}, {0}};
    int count;
    char **words, path[PATH_MAX];
    uint8_t bytes[32];
    struct hm_error err = {0};
    struct hm_buf text = {0};
    struct restoring r = {.to = NULL, .err = &err};
    if (!hm_options(argc, argv, options, false, &count, &words)) return HM_EXIT_USAGE;
    if (!hm_words_count(argv[0], count, 0, 0)) return HM_EXIT_USAGE;
    r.to = data;
    bool ok = read_key(key, bytes, &err);
    if (ok && mkdir(data, 0700) != 0)
        ok = hm_fail(&err, HM_CONFLICT, "%s: %s; name a folder that does not exist yet", data,
                     strerror(errno));
    snprintf(path, sizeof path, "%s/institutions", data);
    if (ok && mkdir(path, 0700) != 0) ok = hm_fail(&err, HM_UNAVAILABLE, "%s: %s", path, strerror(errno));
    ok = ok && each_institution(from, restore_one, &r, &err);
    if (ok && !r.count) ok = hm_fail(&err, HM_NOT_FOUND, "there is no institution in %s", from);
    snprintf(path, sizeof path, "%s/server.key", data);
    ok = ok && hm_read_file(key, 1024, &text, &err) && hm_write_file(path, hm_buf_view(&text), 0600, &err);
    if (text.data) sodium_memzero(text.data, text.len);
    hm_buf_free(&text);
    if (!ok) return hm_complain(HM_EXIT_FAILED, argv[0], "%s", err.message);
    printf("%u institutions are in %s. Check it: hamroh verify --data %s\n", r.count, data, data);
    return HM_EXIT_DONE;
}
