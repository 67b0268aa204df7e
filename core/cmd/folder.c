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
#include <time.h>
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

// Calls fn for every folder in DIR/sub (sub may be "") that has the name of an institution; stops at the
// first false.
static bool each_institution(const char *dir, const char *sub,
                             bool (*fn)(void *arg, const char *id, const char *path), void *arg,
                             struct hm_error *err) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s%s", dir, sub);
    DIR *folder = opendir(path);
    if (!folder)
        return hm_fail(err, HM_NOT_FOUND, "%s: %s; is it a folder of Hamroh's?", path, strerror(errno));
    bool ok = true;
    for (struct dirent *entry; ok && (entry = readdir(folder));) {
        struct stat st;
        if (!hm_name_valid(hm_str_of(entry->d_name))) continue;
        snprintf(path, sizeof path, "%s%s/%s", dir, sub, entry->d_name);
        if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) ok = fn(arg, entry->d_name, path);
    }
    closedir(folder);
    return ok;
}
#define INSTITUTIONS "/institutions"

// ---- backup: through the engine, so that it may be served meanwhile
// -----------------------------------------------------

struct backing_up {
    struct hm_client *client;
    const char *to; // from the root; NULL: where the server has its backups
    const char *name;
    struct hm_error *err;
    struct hm_buf data;
    unsigned count;
};

static bool backup_one(void *arg, const char *id, const char *path) {
    struct backing_up *b = arg;
    struct hm_buf params = {0}, result = {0};
    struct hm_json answer;
    char made[PATH_MAX] = "";
    (void)path;
    hm_buf_char(&params, '{');
    hm_json_member_str(&params, "name", hm_str_of(b->name));
    if (b->to) hm_json_member_str(&params, "to", hm_str_of(b->to));
    hm_buf_char(&params, '}');
    struct hm_call_as as = {.institution = id};
    bool ok = hm_client_do(b->client, "backup.create", hm_buf_view(&params), as, &result, &b->data, b->err);
    if (ok && hm_json_parse(hm_buf_view(&result), &answer, NULL))
        hm_json_get_text(answer, "path", made, sizeof made);
    if (ok) printf("%s: %s\n", id, made);
    b->count += ok;
    hm_buf_free(&params);
    hm_buf_free(&result);
    return ok;
}

// Made when missing; the server may stand in another folder and needs its path from the root.
static bool find_target(const char *to, char absolute[PATH_MAX], struct hm_error *err) {
    if (mkdir(to, 0700) != 0 && errno != EEXIST)
        return hm_fail(err, HM_CONFLICT, "%s: %s", to, strerror(errno));
    return realpath(to, absolute) || hm_fail(err, HM_UNAVAILABLE, "%s: %s", to, strerror(errno));
}

int hm_cmd_backup(int argc, char **argv) {
    const char *data = NULL, *to = NULL, *name = NULL;
    const struct hm_option options[] = {
        {"--data", &data, NULL, true}, {"--to", &to, NULL, false}, {"--name", &name, NULL, false}, {0}};
    int count, code = HM_EXIT_FAILED;
    char **words, absolute[PATH_MAX], stamp[32];
    struct hm_error err = {0};
    struct backing_up b = {.err = &err};
    time_t now = time(NULL);
    struct tm parts;
    if (!hm_options(argc, argv, options, false, &count, &words)) return HM_EXIT_USAGE;
    if (!hm_words_count(argv[0], count, 0, 0)) return HM_EXIT_USAGE;
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H%M%SZ", gmtime_r(&now, &parts));
    b.name = name ? name : stamp;
    b.to = to ? absolute : NULL;
    if (!hm_client_open(data, &b.client, &err) || (to && !find_target(to, absolute, &err)) ||
        !each_institution(data, INSTITUTIONS, backup_one, &b, &err)) {
        hm_client_complain(argv[0], &err, hm_buf_view(&b.data));
        goto out;
    }
    printf("%u institutions are copied, as \"%s\". The server's key is not in it: keep %s/server.key "
           "elsewhere.\n",
           b.count, b.name, data);
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
        !each_institution(data, INSTITUTIONS, verify_one, &v, &err)) {
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
    const char *to, *only, *backup; // only: this institution; backup: its name
    uint64_t until_seq;
    int64_t until_ms;
    struct verifying verifying;
    struct hm_error *err;
    unsigned count;
};

static void say_restored(const struct restoring *r, const char *id, const struct hm_restore *done) {
    char at[32], next[32];
    struct tm parts;
    time_t time_s = (time_t)(done->time_ms / 1000), next_s = (time_t)(done->next_time_ms / 1000);
    printf("%s: from %s, up to change %llu", id, done->taken, (unsigned long long)done->seq);
    strftime(at, sizeof at, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&time_s, &parts));
    strftime(next, sizeof next, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&next_s, &parts));
    if (done->time_ms) printf(" of %s", at);
    if (done->next_time_ms) printf("; the next one, of %s, is left out", next);
    printf("\n");
    if (r->until_seq > done->seq)
        printf("%s: change %llu is in the middle of a call, and calls are restored whole\n", id,
               (unsigned long long)r->until_seq);
    if (done->destroyed)
        printf(
            "%s: %u people were erased by now; what this backup still has of them is erased when the server "
            "starts\n",
            id, done->destroyed);
}

static bool restore_one(void *arg, const char *id, const char *path) {
    struct restoring *r = arg;
    char to[PATH_MAX];
    struct stat st;
    if (r->only && strcmp(r->only, id) != 0) return true;
    snprintf(to, sizeof to, "%s/%s", path, r->backup ? r->backup : "");
    if (r->backup && stat(to, &st) != 0) {
        printf("%s: has no backup %s\n", id, r->backup);
        return true;
    }
    snprintf(to, sizeof to, "%s/institutions/%s", r->to, id);
    struct hm_restore one = {
        .set = path, .to = to, .name = r->backup, .until_seq = r->until_seq, .until_ms = r->until_ms};
    if (!hm_store_restore(&one, r->err)) return false;
    if (!one.seq && (r->until_seq || r->until_ms)) {
        printf("%s: was not there yet\n", id);
        return true;
    }
    say_restored(r, id, &one);
    r->count++;
    return verify_one(&r->verifying, id, to);
}

// Digits: a change. Else a time as ISO 8601 has it, with its zone: 2026-11-24T14:30:00+05:00 (or Z), seconds
// and parts of them if wanted.
static bool read_until(const char *text, uint64_t *seq, int64_t *ms, struct hm_error *err) {
    struct tm t = {0};
    int at = 0, hours = 0, minutes = 0, end = 0;
    unsigned fraction = 0;
    char sign = 0;
    size_t len = strlen(text);
    if (len && len < 19 && strspn(text, "0123456789") == len) {
        *seq = strtoull(text, NULL, 10);
        return *seq > 0 || hm_fail(err, HM_PARAMS, "--until: changes are counted from 1");
    }
    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d%n", &t.tm_year, &t.tm_mon, &t.tm_mday, &t.tm_hour, &t.tm_min,
               &at) != 5 ||
        !at)
        goto wrong;
    text += at;
    if (sscanf(text, ":%2d%n", &t.tm_sec, &end) == 1) text += end;
    if (*text == '.') {
        unsigned scale = 100;
        for (text++; *text >= '0' && *text <= '9'; text++, scale /= 10)
            fraction += (unsigned)(*text - '0') * scale;
    }
    if (strcmp(text, "Z") != 0) {
        end = 0;
        if (sscanf(text, "%c%2d:%2d%n", &sign, &hours, &minutes, &end) != 3 || text[end] ||
            (sign != '+' && sign != '-') || hours > 18 || hours < 0 || minutes < 0 || minutes > 59)
            goto wrong;
    }
    t.tm_year -= 1900;
    t.tm_mon -= 1;
    struct tm asked = t;
    time_t seconds = timegm(&t);
    // What is no date (February 30) has become another one.
    if (t.tm_mday != asked.tm_mday || t.tm_mon != asked.tm_mon || t.tm_hour != asked.tm_hour ||
        t.tm_min != asked.tm_min || t.tm_sec != asked.tm_sec)
        goto wrong;
    int64_t offset = (int64_t)(hours * 60 + minutes) * 60;
    *ms = ((int64_t)seconds - (sign == '-' ? -offset : offset)) * 1000 + fraction;
    if (*ms > 0) return true;
wrong:
    return hm_fail(
        err, HM_PARAMS,
        "--until takes the number of a change, or a time with its zone, such as 2026-11-24T14:30:00+05:00");
}

static bool make_data(const char *data, struct hm_error *err) {
    char path[PATH_MAX];
    if (mkdir(data, 0700) != 0)
        return hm_fail(err, HM_CONFLICT, "%s: %s; name a folder that does not exist yet", data,
                       strerror(errno));
    snprintf(path, sizeof path, "%s/institutions", data);
    return mkdir(path, 0700) == 0 || hm_fail(err, HM_UNAVAILABLE, "%s: %s", path, strerror(errno));
}

static bool copy_key(const char *key, const char *data, struct hm_error *err) {
    char path[PATH_MAX];
    struct hm_buf text = {0};
    snprintf(path, sizeof path, "%s/server.key", data);
    bool ok = hm_read_file(key, 1024, &text, err) && hm_write_secret(path, hm_buf_view(&text), err);
    if (text.data) sodium_memzero(text.data, text.len);
    hm_buf_free(&text);
    return ok;
}

int hm_cmd_restore(int argc, char **argv) {
    const char *from = NULL, *key = NULL, *data = NULL, *until = NULL;
    struct hm_error err = {0};
    struct restoring r = {.err = &err};
    const struct hm_option options[] = {{"--from", &from, NULL, true},
                                        {"--key", &key, NULL, true},
                                        {"--data", &data, NULL, true},
                                        {"--backup", &r.backup, NULL, false},
                                        {"--institution", &r.only, NULL, false},
                                        {"--until", &until, NULL, false},
                                        {0}};
    int count, code = HM_EXIT_FAILED;
    char **words;
    if (!hm_options(argc, argv, options, false, &count, &words)) return HM_EXIT_USAGE;
    if (!hm_words_count(argv[0], count, 0, 0)) return HM_EXIT_USAGE;
    if (until && !read_until(until, &r.until_seq, &r.until_ms, &err))
        return hm_complain(HM_EXIT_USAGE, argv[0], "%s", err.message);
    if (r.until_seq && !r.only)
        return hm_complain(HM_EXIT_USAGE, argv[0],
                           "--until with a change needs --institution: each counts its own");
    if (sodium_init() < 0) return hm_complain(code, argv[0], "libsodium does not work here");
    r.to = data;
    bool ok = read_key(key, r.verifying.key, &err) && make_data(data, &err) &&
              each_institution(from, "", restore_one, &r, &err);
    if (ok && !r.count)
        ok = hm_fail(&err, HM_NOT_FOUND,
                     "there is nothing to restore in %s; it must be the folder given to "
                     "hamroh backup --to, or DATA/backups",
                     from);
    ok = ok && copy_key(key, data, &err);
    if (ok && r.verifying.faulty)
        ok = hm_fail(&err, HM_INTERNAL,
                     "%u of %u institutions are damaged in this backup; take another (--backup)",
                     r.verifying.faulty, r.count);
    sodium_memzero(&r.verifying, sizeof r.verifying);
    if (!ok) return hm_complain(code, argv[0], "%s", err.message);
    printf("%u institutions are in %s, each checked.\n", r.count, data);
    return HM_EXIT_DONE;
}
