// A worker for the tests of the engine: speaks script/frames.h from one C file, without Lua. The test program
// starts itself as `worker DIR`, so main() of each such test begins with FAKE_WORKER_MAIN.
//   echo, hello (public), staff (coordinator), put {id,text}, bump {id}, set {id}, own {id}, open {id}
//   (unseals), loop, die, stale (conflicts always), garbage, nonsense {kind} (see fake_nonsense), evil
//   (writes an account), invite {roles}, tell {data, type?, id?} (a notification as it is given, for all to
//   see), fail, flood, slow {ms}, job.add (job with a done part), job.loop,
//   job.long (progress), job.behind (its done part conflicts five times, then waits for the note "go"),
//   job.echo, and whatever candidates ask for: a source with "bad" is refused, one with "v2" adds the method
//   v2 and the type extra, one with "crash" ends the worker. A file DATA/slow "A B" makes starts take A ms,
//   with candidates B ms.
#pragma once
#include "base/code.h"
#include "base/json.h"
#include "base/wire.h"
#include "script/frames.h"
#include "store/store.h"

#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define FAKE_WORKER_MAIN(argc, argv)                                                                         \
    if ((argc) > 2 && strcmp((argv)[1], "worker") == 0) return fake_worker((argv)[2])

struct fake {
    struct hm_store *store;
    const char *dir;
    struct hm_buf in;
    bool v2;
};

static void fake_send(uint8_t kind, uint32_t call, struct hm_str payload) {
    struct hm_buf b = {0};
    hm_put_u32(&b, (uint32_t)(payload.len + 5));
    hm_put_u8(&b, kind);
    hm_put_u32(&b, call);
    hm_buf_str(&b, payload);
    for (size_t at = 0; at < b.len;) {
        ssize_t n = write(HM_WORKER_FD, b.data + at, b.len - at);
        if (n <= 0) _exit(1);
        at += (size_t)n;
    }
    hm_buf_free(&b);
}

// One frame; its payload stays in f->in until the next. False at the end of input.
static bool fake_read(struct fake *f, uint8_t *kind, uint32_t *call, struct hm_str *payload) {
    static size_t used;
    hm_buf_drop(&f->in, used);
    used = 0;
    for (;;) {
        struct hm_reader r = hm_reader_of(hm_buf_view(&f->in));
        uint32_t len = hm_get_u32(&r);
        if (!r.bad && f->in.len >= len + 4u) {
            *kind = hm_get_u8(&r);
            *call = hm_get_u32(&r);
            *payload = (struct hm_str){f->in.data + 9, len - 5u};
            used = len + 4u;
            return true;
        }
        hm_buf_reserve(&f->in, 65536);
        ssize_t n = read(HM_WORKER_FD, f->in.data + f->in.len, 65536);
        if (n <= 0) return false;
        f->in.len += (size_t)n;
    }
}

static bool fake_contains(struct hm_str text, const char *word) {
    return text.len && memmem(text.ptr, text.len, word, strlen(word)) != NULL;
}

static void fake_ready(struct fake *f) {
    struct hm_buf json = {0}, payload = {0};
    hm_buf_text(&json,
                "{\"plugins\":[{\"kind\":\"service\",\"id\":\"fake\",\"version\":\"1\"}],\"types\":["
                "{\"name\":\"note\",\"key\":\"natural\",\"indexes\":[{\"name\":\"by_n\",\"fields\":[\"n\"]},"
                "{\"name\":\"by_mail\",\"fields\":[\"mail\"],\"unique\":true}]},"
                "{\"name\":\"person\",\"key\":\"natural\"},"
                "{\"name\":\"secret\",\"key\":\"natural\",\"about\":\"person\",\"sealed\":[\"answers\"]}");
    if (f->v2) hm_buf_text(&json, ",{\"name\":\"extra\",\"key\":\"natural\"}");
    hm_buf_text(&json, "],\"methods\":[");
    static const char *const plain[] = {"echo",  "put",      "bump",   "set",   "own",  "open",    "loop",
                                        "die",   "evil",     "invite", "fail",  "slow", "garbage", "flood",
                                        "limit", "nonsense", "stale",  "award", "tell"};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        hm_buf_printf(&json, "{\"name\":\"%s\",\"access\":\"signed_in\",\"writes\":true},", plain[i]);
    static const char *const jobs[] = {"job.add", "job.loop", "job.long", "job.behind", "job.echo"};
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++)
        hm_buf_printf(&json, "{\"name\":\"%s\",\"access\":\"signed_in\",\"job\":true,\"done\":%s},", jobs[i],
                      strcmp(jobs[i], "job.add") == 0 || strcmp(jobs[i], "job.behind") == 0 ? "true"
                                                                                            : "false");
    if (f->v2) hm_buf_text(&json, "{\"name\":\"v2\",\"access\":\"signed_in\"},");
    hm_buf_text(&json, "{\"name\":\"hello\",\"access\":\"public\",\"summary\":{\"en\":\"Says hello\"}},"
                       "{\"name\":\"staff\",\"access\":\"role\",\"roles\":[\"coordinator\"]}],"
                       "\"reactions\":[{\"event\":\"note.created\",\"plugin\":\"fake\"}],\"every\":[]}");
    hm_put_str(&payload, hm_buf_view(&json));
    fake_send(HM_F_READY, 0, hm_buf_view(&payload));
    hm_buf_free(&json);
    hm_buf_free(&payload);
}

static void fake_sleep(int64_t ms) {
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static void fake_slow(const struct fake *f, bool candidates) {
    char path[300];
    int ms[2] = {0, 0};
    snprintf(path, sizeof path, "%s/../../slow", f->dir);
    FILE *file = fopen(path, "re");
    if (!file) return;
    if (fscanf(file, "%d %d", &ms[0], &ms[1]) == 2) fake_sleep(ms[candidates]);
    fclose(file);
}

// What is active in the store counts as loaded, as do candidates.
static void fake_load(struct fake *f, struct hm_json init) {
    struct hm_json list = {0}, item, source, data = {0}, active;
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_buf id = {0}, payload = {0};
    bool bad = false;
    if (hm_json_get(init, "candidates", &list)) {
        struct hm_json_iter it = hm_json_iter(list);
        while (hm_json_next(&it, NULL, &item)) {
            if (!hm_json_get(item, "source", &source)) continue;
            bad = bad || fake_contains(source.raw, "bad");
            f->v2 = f->v2 || fake_contains(source.raw, "v2");
            if (fake_contains(source.raw, "crash")) _exit(3);
        }
    }
    if (list.raw.len <= 2 && hm_read_begin(f->store, &read, NULL)) {
        if (hm_read_get(read, HM_LIT("plugin"), HM_LIT("service/fake"), &record, NULL)) {
            data = (struct hm_json){HM_JSON_OBJECT, record.data};
            if (hm_json_get(data, "active", &active)) hm_json_string(active, &id);
            if (hm_read_get(read, HM_LIT("plugin_version"), hm_buf_view(&id), &record, NULL))
                f->v2 = fake_contains(record.data, "v2");
        }
        hm_read_end(read);
    }
    if (bad) {
        hm_put_str(&payload, HM_LIT("[{\"plugin\":\"service/fake\",\"file\":\"fake.lua\",\"line\":7,"
                                    "\"message\":\"it is bad\"}]"));
        fake_send(HM_F_REFUSED, 0, hm_buf_view(&payload));
        exit(0);
    }
    fake_slow(f, list.raw.len > 2);
    fake_ready(f);
    hm_buf_free(&id);
    hm_buf_free(&payload);
}

// ---- answers ------------------------------------------------------------------------------------------

struct fake_answer {
    uint64_t snapshot;
    struct hm_buf seen, intents;
    uint32_t seen_count, intent_count;
};

static void fake_point(struct fake_answer *a, const char *type, struct hm_str id, uint64_t version) {
    hm_put_u8(&a->seen, 0xff);
    hm_put_str(&a->seen, hm_str_of(type));
    hm_put_str(&a->seen, id);
    hm_put_u64(&a->seen, version);
    a->seen_count++;
}

static void fake_put(struct fake_answer *a, const char *type, struct hm_str id, uint64_t expect,
                     struct hm_str data, const char *audience, const char *member) {
    struct hm_buf packed = {0}, members = {0};
    if (audience[0]) hm_packed_add(&packed, hm_str_of(audience));
    if (member[0]) hm_packed_add(&members, hm_str_of(member));
    hm_put_u8(&a->intents, 0);
    hm_put_str(&a->intents, hm_str_of(type));
    hm_put_str(&a->intents, id);
    hm_put_u64(&a->intents, expect);
    hm_put_str(&a->intents, data);
    hm_put_str(&a->intents, hm_buf_view(&packed));
    hm_put_str(&a->intents, hm_buf_view(&members));
    a->intent_count++;
    hm_buf_free(&packed);
    hm_buf_free(&members);
}

static void fake_result(uint32_t call, struct fake_answer *a, struct hm_str result) {
    struct hm_buf payload = {0};
    hm_put_str(&payload, result);
    hm_put_u64(&payload, a->snapshot);
    hm_put_u8(&payload, 0);
    hm_put_u32(&payload, a->seen_count);
    hm_buf_str(&payload, hm_buf_view(&a->seen));
    hm_put_u32(&payload, a->intent_count);
    hm_buf_str(&payload, hm_buf_view(&a->intents));
    fake_send(HM_F_RESULT, call, hm_buf_view(&payload));
    hm_buf_free(&payload);
    hm_buf_free(&a->seen);
    hm_buf_free(&a->intents);
}

static void fake_error(uint32_t call, int32_t code, const char *message, const char *data) {
    struct hm_buf payload = {0};
    hm_put_u32(&payload, (uint32_t)code);
    hm_put_str(&payload, hm_str_of(message));
    hm_put_str(&payload, hm_str_of(data));
    fake_send(HM_F_ERROR, call, hm_buf_view(&payload));
    hm_buf_free(&payload);
}

static void fake_progress(uint32_t call, double part) {
    struct hm_buf payload = {0};
    hm_put_f64(&payload, part);
    hm_put_str(&payload, HM_LIT("working"));
    fake_send(HM_F_PROGRESS, call, hm_buf_view(&payload));
    hm_buf_free(&payload);
}

static void fake_unseal(struct fake *f, uint32_t call, struct fake_answer *a, struct hm_str id) {
    struct hm_buf payload = {0}, result = {0};
    struct hm_str answer;
    uint8_t kind;
    uint32_t again;
    hm_put_str(&payload, HM_LIT("secret"));
    hm_put_str(&payload, id);
    hm_put_str(&payload, HM_LIT("answers"));
    hm_put_str(&payload, HM_LIT("the test wants it"));
    fake_send(HM_F_UNSEAL, call, hm_buf_view(&payload));
    if (!fake_read(f, &kind, &again, &answer) || kind != HM_F_UNSEALED || again != call) _exit(2);
    struct hm_reader r = hm_reader_of(answer);
    bool ok = hm_get_u8(&r) == HM_UNSEALED_OK;
    struct hm_str value = hm_get_str(&r);
    hm_buf_printf(&result, "{\"ok\":%s,\"value\":", ok ? "true" : "false");
    if (ok)
        hm_buf_str(&result, value);
    else
        hm_json_put_str(&result, value);
    hm_buf_char(&result, '}');
    fake_result(call, a, hm_buf_view(&result));
    hm_buf_free(&payload);
    hm_buf_free(&result);
}

// Says each time that it read what never was there.
static void fake_stale(uint32_t call) {
    struct fake_answer a = {.snapshot = UINT64_MAX};
    fake_point(&a, "note", HM_LIT("stale"), 1);
    fake_put(&a, "note", HM_LIT("stale"), UINT64_MAX, HM_LIT("{}"), "institution", "");
    fake_result(call, &a, HM_LIT("null"));
}

// Reads a note and writes n + 1, with everything the engine must know to notice another writer.
static void fake_bump(struct fake *f, uint32_t call, struct hm_str id) {
    struct fake_answer a = {0};
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_json value;
    struct hm_buf data = {0};
    uint64_t version = 0;
    int64_t n = 0;
    if (!hm_read_begin(f->store, &read, NULL)) _exit(4);
    a.snapshot = hm_read_seq(read);
    if (hm_read_get(read, HM_LIT("note"), id, &record, NULL)) {
        version = record.version;
        if (hm_json_get((struct hm_json){HM_JSON_OBJECT, record.data}, "n", &value)) hm_json_int(value, &n);
    }
    hm_read_end(read);
    hm_buf_printf(&data, "{\"n\":%lld}", (long long)n + 1);
    fake_point(&a, "note", id, version);
    fake_put(&a, "note", id, version, hm_buf_view(&data), "institution", "");
    fake_result(call, &a, hm_buf_view(&data));
    hm_buf_free(&data);
}

static void fake_raw(const void *bytes, size_t len) {
    for (size_t at = 0; at < len;) {
        ssize_t n = write(HM_WORKER_FD, (const char *)bytes + at, len - at);
        if (n <= 0) _exit(1);
        at += (size_t)n;
    }
}

static void fake_forged(uint32_t call) { // a result that nobody asked for, with a write in it
    struct fake_answer a = {0};
    fake_put(&a, "note", HM_LIT("forged"), HM_ANY_VERSION, HM_LIT("{\"n\":666}"), "institution", "");
    fake_result(call, &a, HM_LIT("{\"forged\":true}"));
}

// What a broken or taken-over worker may say in the middle of a call. Comes back only where the call is
// answered.
static void fake_nonsense(struct fake *f, uint32_t call, const char *kind, struct fake_answer *a) {
    static const uint8_t endless[4] = {0xff, 0xff, 0xff, 0xff}, nothing[4] = {0}, half[40] = {200};
    uint8_t random[4096];
    struct hm_buf b = {0};
    if (strcmp(kind, "twice") == 0) {
        fake_put(a, "note", HM_LIT("twice"), 0, HM_LIT("{\"n\":1}"), "institution", "");
        fake_result(call, a, HM_LIT("{}"));
        fake_forged(call);
        return;
    }
    if (strcmp(kind, "random") == 0) {
        randombytes_buf(random, sizeof random);
        for (;;)
            fake_raw(random, sizeof random);
    }
    if (strcmp(kind, "endless") == 0) fake_raw(endless, 4);
    if (strcmp(kind, "empty") == 0) fake_raw(nothing, 4);
    if (strcmp(kind, "too_large") == 0) {
        hm_put_u32(&b, HM_FRAME_MAX + 1);
        fake_raw(b.data, b.len);
    }
    if (strcmp(kind, "unknown_kind") == 0) fake_send(99, call, HM_LIT("what"));
    if (strcmp(kind, "unknown_id") == 0) fake_forged(call + 100000);
    if (strcmp(kind, "id_of_another") == 0) fake_forged(call + 1);
    if (strcmp(kind, "no_id") == 0) fake_forged(0);
    if (strcmp(kind, "ready_again") == 0) fake_ready(f);
    if (strcmp(kind, "refused_now") == 0) {
        hm_put_str(&b, HM_LIT("[]"));
        fake_send(HM_F_REFUSED, 0, hm_buf_view(&b));
    }
    if (strcmp(kind, "progress") == 0) fake_progress(call, 7);
    if (strcmp(kind, "no_number") == 0) fake_progress(call, (double)NAN);
    if (strcmp(kind, "unseal") == 0) fake_send(HM_F_UNSEAL, call, HM_LIT("\xff\xff\xff\xff"));
    if (strcmp(kind, "code") == 0) fake_error(call, 12345, "no such code", "{}");
    if (strcmp(kind, "trailing") == 0) {
        hm_put_u32(&b, (uint32_t)HM_PLUGIN);
        hm_put_str(&b, HM_LIT("x"));
        hm_put_str(&b, HM_LIT("{}"));
        hm_buf_text(&b, "more");
        fake_send(HM_F_ERROR, call, hm_buf_view(&b));
    }
    if (strcmp(kind, "half_and_gone") == 0) {
        fake_raw(half, sizeof half);
        _exit(0);
    }
    if (strcmp(kind, "half") == 0) fake_raw(half, sizeof half);
    if (strcmp(kind, "logs") == 0) {
        hm_put_u8(&b, 1);
        for (int i = 0; i < 5; i++)
            hm_put_str(&b, HM_LIT("x"));
        hm_put_u32(&b, 1);
        for (;;)
            fake_send(HM_F_LOG, call, hm_buf_view(&b));
    }
    if (strcmp(kind, "endless_progress") == 0)
        for (;;)
            fake_progress(call, 0.5);
    for (;;) // and then it says nothing more
        fake_sleep(1000);
}

static uint64_t fake_snapshot(struct fake *f) {
    struct hm_read *read = NULL;
    if (!hm_read_begin(f->store, &read, NULL)) _exit(4);
    uint64_t seq = hm_read_seq(read);
    hm_read_end(read);
    return seq;
}

static void fake_hostile(const char *method, uint32_t call, struct fake_answer *a, struct hm_json params) {
    struct hm_json roles = {HM_JSON_ARRAY, HM_LIT("[]")};
    struct hm_buf data = {0};
    if (strcmp(method, "loop") == 0)
        for (;;)
            fake_sleep(1000);
    if (strcmp(method, "die") == 0) _exit(9);
    if (strcmp(method, "garbage") == 0) fake_send(HM_F_RESULT, call, HM_LIT("\xff\xff\xff\x7fwhat is this"));
    if (strcmp(method, "flood") == 0)
        for (;;)
            fake_progress(call, 0.5), fake_send(HM_F_LOG, call, HM_LIT("x"));
    if (strcmp(method, "evil") == 0) {
        fake_put(a, "account", HM_LIT("evil"), 0,
                 HM_LIT("{\"login\":\"evil\",\"roles\":[\"administrator\"]}"), "", "");
        fake_result(call, a, HM_LIT("{}"));
    }
    if (strcmp(method, "award") == 0) {
        fake_put(a, "award", HM_LIT("a1"), HM_ANY_VERSION,
                 HM_LIT("{\"person\":\"p1\",\"kind\":\"k\",\"given\":1}"), "", "");
        fake_result(call, a, HM_LIT("{}"));
    }
    if (strcmp(method, "tell") == 0) {
        struct hm_json told;
        char type[32] = "notification", id[32] = "n1";
        hm_json_get_text(params, "type", type, sizeof type);
        hm_json_get_text(params, "id", id, sizeof id);
        hm_json_get(params, "data", &told);
        fake_put(a, type, hm_str_of(id), 0, told.raw, "institution", "person:p2");
        fake_result(call, a, HM_LIT("{}"));
    }
    if (strcmp(method, "invite") == 0) {
        hm_json_get(params, "roles", &roles);
        hm_buf_text(&data, "{\"person\":\"p9\",\"expires\":9999999999999,\"name\":\"N\",\"roles\":");
        hm_buf_str(&data, roles.raw);
        hm_buf_char(&data, '}');
        char hash[65];
        hm_code_hash(HM_LIT("0123-4567-89AB-CDEF"), hash);
        fake_put(a, "invitation", hm_str_of(hash), 0, hm_buf_view(&data), "", "");
        fake_result(call, a, HM_LIT("{}"));
        hm_buf_free(&data);
    }
}

static bool fake_has_note(struct fake *f, const char *id) {
    struct hm_read *read = NULL;
    struct hm_record record;
    if (!hm_read_begin(f->store, &read, NULL)) _exit(4);
    bool has = hm_read_get(read, HM_LIT("note"), hm_str_of(id), &record, NULL);
    hm_read_end(read);
    return has;
}

static void fake_behind(struct fake *f, uint32_t call, struct fake_answer *a) {
    static unsigned runs;
    if (runs++ < 5) {
        fake_stale(call);
        return;
    }
    fake_progress(call, 0.75);
    while (!fake_has_note(f, "go"))
        fake_sleep(5);
    fake_put(a, "note", HM_LIT("from-job"), HM_ANY_VERSION, HM_LIT("{\"n\":1}"), "institution", "");
    fake_result(call, a, HM_LIT("{}"));
}

static void fake_job(struct fake *f, const char *method, uint32_t call, uint8_t flags, struct fake_answer *a,
                     struct hm_json params) {
    if (strcmp(method, "job.echo") == 0) {
        fake_result(call, a, params.raw);
        return;
    }
    if (strcmp(method, "job.loop") == 0)
        for (;;)
            fake_sleep(1000);
    if (strcmp(method, "job.long") == 0) {
        for (int i = 0; i < 10; i++) {
            fake_progress(call, i / 10.0);
            fake_sleep(60);
        }
        fake_result(call, a, HM_LIT("{\"long\":true}"));
    } else if ((flags & HM_CALL_JOB_DONE) && strcmp(method, "job.behind") == 0) {
        fake_behind(f, call, a);
    } else if (flags & HM_CALL_JOB_DONE) {
        fake_put(a, "note", HM_LIT("from-job"), 0, HM_LIT("{\"n\":1}"), "institution", "");
        fake_result(call, a, HM_LIT("{\"sum\":3}"));
    } else {
        fake_progress(call, 0.5);
        fake_result(call, a, HM_LIT("{\"half\":true}"));
    }
}

static void fake_run(struct fake *f, uint32_t call, const char *method, struct hm_json params,
                     struct hm_json caller, uint8_t flags) {
    struct fake_answer a = {.snapshot = fake_snapshot(f)};
    char id[129] = "", member[129] = "", mail[65] = "";
    struct hm_buf data = {0};
    struct hm_json value;
    int64_t ms = 0;
    hm_json_get_text(params, "id", id, sizeof id);
    hm_json_get_text(params, "member", member, sizeof member);
    if (strcmp(method, "echo") == 0 || strcmp(method, "hello") == 0 || strcmp(method, "staff") == 0 ||
        strcmp(method, "v2") == 0) {
        hm_buf_char(&data, '{');
        hm_json_member_raw(&data, "params", params.raw);
        hm_json_member_raw(&data, "caller", caller.raw);
        hm_buf_char(&data, '}');
        fake_result(call, &a, hm_buf_view(&data));
    } else if (strcmp(method, "put") == 0) {
        hm_buf_text(&data, "{\"n\":0");
        if (hm_json_get_text(params, "mail", mail, sizeof mail))
            hm_json_member_str(&data, "mail", hm_str_of(mail));
        hm_buf_char(&data, '}');
        char audience[200] = "institution";
        hm_json_get_text(params, "audience", audience, sizeof audience);
        fake_put(&a, "note", hm_str_of(id), 0, hm_buf_view(&data), audience, member);
        hm_buf_clear(&data);
        hm_buf_char(&data, '{');
        hm_json_member_str(&data, "put", hm_str_of(id));
        hm_buf_char(&data, '}');
        fake_result(call, &a, hm_buf_view(&data));
    } else if (strcmp(method, "set") == 0) {
        fake_put(&a, "note", hm_str_of(id), HM_ANY_VERSION, HM_LIT("{\"n\":7}"), "institution", member);
        fake_result(call, &a, HM_LIT("{}"));
    } else if (strcmp(method, "own") == 0) {
        fake_put(&a, "secret", hm_str_of(id), 0, HM_LIT("{\"person\":\"p1\",\"answers\":[1,2,3]}"),
                 "person:p1", "");
        fake_result(call, &a, HM_LIT("{}"));
    } else if (strcmp(method, "open") == 0) {
        fake_unseal(f, call, &a, hm_str_of(id));
    } else if (strcmp(method, "stale") == 0) {
        fake_stale(call);
    } else if (strcmp(method, "bump") == 0) {
        fake_bump(f, call, hm_str_of(id));
    } else if (strcmp(method, "slow") == 0) {
        if (hm_json_get(params, "ms", &value)) hm_json_int(value, &ms);
        fake_sleep(ms);
        fake_result(call, &a, HM_LIT("{\"slept\":true}"));
    } else if (strcmp(method, "fail") == 0) {
        fake_error(call, HM_PLUGIN, "attempt to index nil",
                   "{\"plugin\":\"service/"
                   "fake\",\"version\":\"1\",\"file\":\"fake.lua\",\"line\":3,\"message\":\"attempt "
                   "to index nil\"}");
    } else if (strcmp(method, "limit") == 0) {
        fake_error(call, HM_DEADLINE, "too long",
                   "{\"limit_ms\":200,\"plugin\":\"fake\",\"file\":\"fake.lua\",\"line\":3}");
    } else if (strcmp(method, "$react") == 0) {
        struct hm_json changes;
        if (hm_json_get(params, "changes", &changes) && fake_contains(changes.raw, "\"id\":\"start\""))
            fake_put(&a, "note", HM_LIT("reacted"), HM_ANY_VERSION, HM_LIT("{\"n\":9}"), "institution", "");
        fake_result(call, &a, HM_LIT("null"));
    } else if (strcmp(method, "$plugins") == 0) {
        fake_result(call, &a, HM_LIT("{\"items\":[{\"source\":\"shipped\"}]}"));
    } else if (strcmp(method, "nonsense") == 0) {
        char kind[32] = "";
        hm_json_get_text(params, "kind", kind, sizeof kind);
        fake_nonsense(f, call, kind, &a);
    } else if (strncmp(method, "job.", 4) == 0) {
        fake_job(f, method, call, flags, &a, params);
    } else {
        fake_hostile(method, call, &a, params);
    }
    hm_buf_free(&data);
}

static inline int fake_worker(const char *dir) {
    struct fake f = {.dir = dir};
    struct hm_store_options options = {.read_only = true};
    struct hm_str payload;
    uint8_t kind;
    uint32_t call;
    if (!hm_store_open(dir, &options, &f.store, NULL)) return 5;
    while (fake_read(&f, &kind, &call, &payload)) {
        struct hm_reader r = hm_reader_of(payload);
        struct hm_json one, two;
        if (kind == HM_F_INIT) {
            if (!hm_json_parse(hm_get_str(&r), &one, NULL)) return 6;
            fake_load(&f, one);
        } else if (kind == HM_F_CALL) {
            struct hm_str method = hm_get_str(&r), params = hm_get_str(&r), caller = hm_get_str(&r);
            char name[129];
            snprintf(name, sizeof name, "%.*s", (int)method.len, method.ptr);
            hm_get_u64(&r);
            hm_get_str(&r);
            hm_get_u32(&r);
            hm_get_u64(&r);
            uint8_t flags = hm_get_u8(&r);
            if (r.bad || !hm_json_parse(params, &one, NULL) || !hm_json_parse(caller, &two, NULL)) return 7;
            fake_run(&f, call, name, one, two, flags);
        }
    }
    hm_buf_free(&f.in);
    hm_store_close(f.store);
    return 0;
}
