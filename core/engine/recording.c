// Recordings as they are kept: hidden records of type `recording`, each in a box. Loop thread. What always
// holds: a box opens only with the server's key and the file recordings.key of the institution together; that
// file is in no backup and is wiped when somebody is erased, so that what any recording told of them, in the
// change log and in copies of it, too, can be opened by nobody.
#include "base/clock.h"
#include "base/log.h"
#include "engine/tapes.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#define KEPT_MS (7LL * 24 * 3600 * 1000)
enum {
    NONCE = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
    TAG = crypto_aead_xchacha20poly1305_ietf_ABYTES
};

// ---- the key ------------------------------------------------------------------------------------------

static void key_path(const struct institution *inst, struct hm_buf *out) {
    hm_buf_printf(out, "%s/recordings.key", inst->dir);
}

static void derive(const struct institution *inst, const uint8_t half[32], uint8_t key[32]) {
    static const char purpose[] = "hamroh recordings 1";
    crypto_generichash_state hash;
    crypto_generichash_init(&hash, inst->engine->master_key, sizeof inst->engine->master_key, 32);
    crypto_generichash_update(&hash, (const uint8_t *)purpose, sizeof purpose);
    crypto_generichash_update(&hash, (const uint8_t *)inst->id, strlen(inst->id) + 1);
    crypto_generichash_update(&hash, half, 32);
    crypto_generichash_final(&hash, key, 32);
}

bool hm_tape_key(struct institution *inst, bool make, struct hm_error *err) {
    struct author *author = hm_author_of(inst);
    struct hm_buf path = {0}, half = {0};
    bool ok = false;
    if (!author->tapes) author->tapes = hm_alloc(sizeof *author->tapes);
    struct author_tapes *tapes = author->tapes;
    if (tapes->has_key) return true;
    key_path(inst, &path);
    if (!hm_read_file(path.data, 32, &half, NULL) || half.len != 32) {
        uint8_t fresh[32];
        if (!make) {
            hm_fail(err, HM_NOT_FOUND,
                    "the key of the recordings is gone: somebody has been erased, or this is a copy");
            goto out;
        }
        randombytes_buf(fresh, sizeof fresh);
        hm_buf_clear(&half);
        hm_buf_add(&half, fresh, sizeof fresh);
        sodium_memzero(fresh, sizeof fresh);
        if (!hm_write_secret(path.data, hm_buf_view(&half), err)) goto out;
    }
    derive(inst, (const uint8_t *)half.data, tapes->key);
    tapes->has_key = ok = true;
out:
    if (half.len) sodium_memzero(half.data, half.len);
    hm_buf_free(&half);
    hm_buf_free(&path);
    return ok;
}

void hm_author_tapes_forget(struct author_tapes *tapes) {
    sodium_memzero(tapes->key, sizeof tapes->key);
    tapes->has_key = false;
    tapes->forgotten++;
    memset(tapes->arms, 0, sizeof tapes->arms);
}

void hm_author_tapes_free(struct author_tapes *tapes) {
    if (!tapes) return;
    sodium_memzero(tapes->key, sizeof tapes->key);
    free(tapes);
}

// ---- walking ------------------------------------------------------------------------------------------

static void each(struct institution *inst, bool (*fn)(void *arg, const struct hm_record *record), void *arg) {
    struct hm_types *types = hm_store_types(inst->store);
    struct hm_json none = {0};
    struct hm_range range = {0};
    struct hm_read *read = NULL;
    struct hm_scan *scan = NULL;
    struct hm_record record;
    if (hm_range_make(hm_types_find(types, HM_LIT("recording")), NULL, none, none, none, &range, NULL) &&
        hm_read_begin(inst->store, &read, NULL) &&
        hm_scan_begin(read, &range, true, (struct hm_str){0}, &scan, NULL))
        while (hm_scan_next(scan, &record) && fn(arg, &record)) {
        }
    hm_scan_end(scan);
    hm_read_end(read);
    hm_range_free(&range);
    hm_types_unref(types);
}

static bool count_one(void *arg, const struct hm_record *record) {
    (void)record;
    ++*(unsigned *)arg;
    return true;
}

unsigned hm_recordings_count(struct institution *inst) {
    unsigned count = 0;
    each(inst, count_one, &count);
    return count;
}

static bool remove_one(void *arg, const struct hm_record *record) {
    hm_item_remove(arg, "recording", record->id, HM_ANY_VERSION);
    return true;
}

void hm_recordings_forget(struct commit_item *item) {
    struct hm_buf path = {0};
    key_path(item->institution, &path);
    int error = hm_wipe_file(path.data);
    if (error) hm_log(HM_ERROR, "recordings.key_not_wiped", "\"errno\":%d", error);
    hm_buf_free(&path);
    each(item->institution, remove_one, item);
}

// ---- keeping and opening ------------------------------------------------------------------------------

static void ad_of(const struct institution *inst, const char *id, struct hm_buf *out) {
    hm_buf_printf(out, "%s/%s", inst->id, id);
}

static void seal(const struct institution *inst, const char *id, struct hm_str text, struct hm_buf *out) {
    const uint8_t *key = inst->author->tapes->key;
    struct hm_buf box = {0}, ad = {0};
    unsigned long long len = 0;
    ad_of(inst, id, &ad);
    hm_buf_reserve(&box, NONCE + text.len + TAG);
    uint8_t *bytes = (uint8_t *)box.data;
    randombytes_buf(bytes, NONCE);
    crypto_aead_xchacha20poly1305_ietf_encrypt(bytes + NONCE, &len, (const uint8_t *)text.ptr, text.len,
                                               (const uint8_t *)ad.data, ad.len, NULL, bytes, key);
    size_t all = NONCE + (size_t)len;
    size_t room = sodium_base64_encoded_len(all, sodium_base64_VARIANT_ORIGINAL);
    hm_buf_reserve(out, room + 2);
    hm_buf_char(out, '"');
    sodium_bin2base64(out->data + out->len, room, bytes, all, sodium_base64_VARIANT_ORIGINAL);
    out->len += room - 1;
    hm_buf_char(out, '"');
    hm_buf_free(&box);
    hm_buf_free(&ad);
}

static bool unseal(const struct institution *inst, const char *id, struct hm_json box, struct hm_buf *out) {
    struct hm_buf text = {0}, bytes = {0}, ad = {0};
    size_t len = 0;
    bool ok = hm_json_string(box, &text);
    ad_of(inst, id, &ad);
    hm_buf_reserve(&bytes, text.len);
    ok = ok &&
         sodium_base642bin((uint8_t *)bytes.data, text.len, text.data, text.len, NULL, &len, NULL,
                           sodium_base64_VARIANT_ORIGINAL) == 0 &&
         len >= NONCE + TAG;
    if (ok) {
        hm_buf_reserve(out, len);
        ok =
            crypto_aead_xchacha20poly1305_ietf_decrypt(
                (uint8_t *)out->data, NULL, NULL, (const uint8_t *)bytes.data + NONCE, len - NONCE,
                (const uint8_t *)ad.data, ad.len, (const uint8_t *)bytes.data, inst->author->tapes->key) == 0;
    }
    if (ok) out->len = len - NONCE - TAG;
    if (ok) out->data[out->len] = 0;
    hm_buf_free(&text);
    hm_buf_free(&bytes);
    hm_buf_free(&ad);
    return ok;
}

void hm_recording_put(struct institution *inst, struct hm_str text) {
    static const char *const shown[] = {"kind", "id", "version", "method", "time", "failed", "sealed"};
    struct hm_buf data = {0};
    struct hm_json root, value;
    char id[37];
    if (!hm_tape_key(inst, true, NULL) || !hm_json_parse(text, &root, NULL)) return;
    int64_t now_ms = hm_now_ms();
    hm_uuid7(now_ms, id);
    hm_buf_char(&data, '{');
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
        if (hm_json_get(root, shown[i], &value)) hm_json_member_raw(&data, shown[i], value.raw);
    hm_json_member_int(&data, "bytes", (int64_t)text.len);
    hm_json_member_int(&data, "expires", now_ms + KEPT_MS);
    hm_json_key(&data, "box");
    seal(inst, id, text, &data);
    hm_buf_char(&data, '}');
    struct commit_item *item = hm_item_new(inst, "", "plugin.record");
    hm_item_put(item, "recording", hm_str_of(id), 0, hm_buf_view(&data), "");
    hm_item_submit(item, hm_item_ignored);
    hm_buf_free(&data);
}

bool hm_taped_open(struct institution *inst, const char *id, struct taped *out, struct hm_error *err) {
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_json data, box;
    bool ok = false;
    if (!hm_tape_key(inst, false, err) || !hm_read_begin(inst->store, &read, err)) return false;
    if (!hm_read_data(read, "recording", hm_str_of(id), &record, &data) || !hm_json_get(data, "box", &box)) {
        hm_fail(err, HM_NOT_FOUND, "there is no such recording; they are kept for 7 days");
    } else if (!unseal(inst, id, box, &out->box) ||
               !hm_json_parse(hm_buf_view(&out->box), &out->root, NULL)) {
        hm_fail(err, HM_NOT_FOUND, "the recording can no longer be opened");
    } else {
        struct hm_json value;
        snprintf(out->id, sizeof out->id, "%s", id);
        hm_json_get_text(out->root, "kind", out->kind, sizeof out->kind);
        hm_json_get_text(out->root, "id", out->plugin, sizeof out->plugin);
        out->sealed = !hm_json_get(out->root, "sealed", &value) || value.kind != HM_JSON_FALSE;
        ok = true;
    }
    hm_read_end(read);
    return ok;
}

void hm_taped_close(struct taped *taped) {
    if (taped->box.len) sodium_memzero(taped->box.data, taped->box.len);
    hm_buf_free(&taped->box);
}

// ---- methods ------------------------------------------------------------------------------------------

struct listing {
    struct hm_buf out;
    char kind[HM_NAME_MAX + 1], id[HM_NAME_MAX + 1];
    int64_t now_ms;
};

static bool list_one(void *arg, const struct hm_record *record) {
    static const char *const shown[] = {"kind",   "id",     "version", "method", "time",
                                        "failed", "sealed", "bytes",   "expires"};
    struct listing *l = arg;
    struct hm_json data = {HM_JSON_OBJECT, record->data}, value;
    if (hm_json_number(data, "expires") <= l->now_ms) return true;
    if (l->kind[0] && !(hm_json_get(data, "kind", &value) && hm_json_key_is(value, hm_str_of(l->kind))))
        return true;
    if (l->id[0] && !(hm_json_get(data, "id", &value) && hm_json_key_is(value, hm_str_of(l->id))))
        return true;
    if (l->out.data[l->out.len - 1] != '[') hm_buf_char(&l->out, ',');
    hm_buf_char(&l->out, '{');
    hm_json_member_str(&l->out, "recording", record->id);
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
        if (hm_json_get(data, shown[i], &value)) hm_json_member_raw(&l->out, shown[i], value.raw);
    hm_buf_char(&l->out, '}');
    return true;
}

static void plugin_recordings(struct call *call) {
    struct listing l = {.now_ms = hm_now_ms()};
    const struct author *author = call->institution->author;
    char word[129] = "";
    if (hm_arg_text(call, "kind", word, sizeof word))
        snprintf(l.kind, sizeof l.kind, "%s", hm_kind_name(word));
    hm_arg_text(call, "id", l.id, sizeof l.id);
    hm_buf_text(&l.out, "{\"items\":[");
    each(call->institution, list_one, &l);
    hm_buf_text(&l.out, "],\"armed\":[");
    for (unsigned i = 0; author && author->tapes && i < ARMS_MAX; i++) {
        const struct arm *arm = &author->tapes->arms[i];
        if (!arm->left || arm->until_ms < l.now_ms) continue;
        if (l.out.data[l.out.len - 1] != '[') hm_buf_char(&l.out, ',');
        hm_buf_char(&l.out, '{');
        hm_json_member_str(&l.out, "kind", hm_str_of(arm->kind));
        hm_json_member_str(&l.out, "id", hm_str_of(arm->plugin));
        hm_json_member_int(&l.out, "calls", arm->left);
        hm_json_member_int(&l.out, "until", arm->until_ms);
        hm_json_member_raw(&l.out, "failures", arm->failures_only ? HM_LIT("true") : HM_LIT("false"));
        hm_buf_char(&l.out, '}');
    }
    hm_buf_text(&l.out, "]}");
    hm_call_ok(call, hm_buf_view(&l.out));
    hm_buf_free(&l.out);
}

static const struct core_method rows[] = {
    {"plugin.record", ACCESS_ADMIN, "kind:text! id:text! calls:int minutes:int failures:bool",
     "Records the next calls of a plugin, so that they can be run again.", hm_tape_arm},
    {"plugin.recordings", ACCESS_ADMIN, "kind:text id:text",
     "The recordings of the last 7 days, the newest first.", plugin_recordings},
};
const struct core_table hm_methods_recording = {rows, sizeof rows / sizeof *rows};

// ---- the institution's part ---------------------------------------------------------------------------

void hm_author_forget(struct commit_item *item) {
    struct author *author = item->institution->author;
    if (author) hm_author_log_clear(author->log);
    if (author && author->tapes) hm_author_tapes_forget(author->tapes);
    hm_recordings_forget(item);
}

void hm_author_close(struct institution *inst) {
    struct author *author = inst->author;
    if (!author) return;
    hm_author_log_free(author->log);
    hm_author_tapes_free(author->tapes);
    free(author);
    inst->author = NULL;
}
