// Idempotent calls: the same `idem` key from the same person gets the answer that was given, and nothing is
// done twice. Loop thread. What always holds: of calls with one key only one is under way, the others wait
// for its end; the record that keeps an answer is committed with what the call did; only answers of calls
// that did something are kept, never errors.
//
// A record is found by a hash of who and key. Its answer is encrypted with a key made of the server's key and
// the idem key, which nobody keeps: what is in the log and in copies can be opened by no one who does not
// bring the idem key again. A keyed hash of method and params tells a repetition from another call.
#include "base/clock.h"
#include "base/code.h"
#include "engine/internal.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#define KEY_MAX_BYTES 64
#define ANSWER_MAX (512u << 10) // a longer answer is not kept, only that it was given
#define WAITING_MAX 64          // calls that wait for one with the same key
#define CALL_BYTES 16
#define FORGOTTEN "forgotten" // id of a record that is none of a key

struct idem {
    UT_hash_handle hh;
    char id[65];
    uint8_t key[crypto_aead_xchacha20poly1305_ietf_KEYBYTES];
    char call[CALL_BYTES * 2 + 1];
    uint64_t expect; // version that the record must have
    bool owner;      // in the table: the one under way
    struct call *waiting;
    unsigned waiting_count;
};

// ---- keys ---------------------------------------------------------------------------------------------

// Who asks, as keys tell callers apart. False: a stranger, whom nothing tells from another one.
static bool who(const struct call *call, struct hm_buf *out) {
    if (call->session && call->session->person[0])
        hm_buf_printf(out, "person:%s", call->session->person);
    else if (call->session)
        hm_buf_printf(out, "account:%s", call->session->account);
    else if (call->caller && call->caller->control)
        hm_buf_text(out, "control");
    return out->len > 0;
}

// A sign-in gives a token, which is kept nowhere; it is made by strangers anyway.
static bool ignored(const struct call *call) {
    static const char *const names[] = {"session.login", "session.accept", "session.resume"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (call->core && strcmp(call->method, names[i]) == 0) return true;
    return false;
}

struct member {
    struct hm_json key, value;
};

static int by_key(const void *a, const void *b) {
    return hm_str_cmp(((const struct member *)a)->key.raw, ((const struct member *)b)->key.raw);
}

// JSON without the white space between its parts.
static void add_compact(crypto_generichash_state *hash, struct hm_str json) {
    bool text = false;
    for (size_t at = 0; at < json.len;) {
        size_t from = at;
        while (at < json.len && (text || !strchr(" \t\r\n", json.ptr[at]))) {
            if (json.ptr[at] == '"') text = !text;
            if (text && json.ptr[at] == '\\') at++;
            at++;
        }
        if (at > json.len) at = json.len;
        crypto_generichash_update(hash, (const uint8_t *)json.ptr + from, at - from);
        while (at < json.len && !text && strchr(" \t\r\n", json.ptr[at]))
            at++;
    }
}

// Method and params, whatever the order of the members, without the key itself.
static void hash_call(struct idem *idem, const struct call *call) {
    crypto_generichash_state hash;
    uint8_t out[CALL_BYTES];
    size_t count = hm_json_count(call->params), n = 0;
    struct member *members = hm_alloc_array(count ? count : 1, sizeof *members);
    struct hm_json_iter it = hm_json_iter(call->params);
    while (n < count && hm_json_next(&it, &members[n].key, &members[n].value))
        if (!hm_json_key_is(members[n].key, HM_LIT("idem"))) n++;
    qsort(members, n, sizeof *members, by_key);
    crypto_generichash_init(&hash, idem->key, sizeof idem->key, sizeof out);
    crypto_generichash_update(&hash, (const uint8_t *)call->method, strlen(call->method) + 1);
    for (size_t i = 0; i < n; i++) {
        add_compact(&hash, members[i].key.raw);
        crypto_generichash_update(&hash, (const uint8_t *)":", 1);
        add_compact(&hash, members[i].value.raw);
        crypto_generichash_update(&hash, (const uint8_t *)",", 1);
    }
    crypto_generichash_final(&hash, out, sizeof out);
    sodium_bin2hex(idem->call, sizeof idem->call, out, sizeof out);
    sodium_memzero(&hash, sizeof hash);
    free(members);
}

static struct idem *idem_new(const struct call *call, struct hm_buf *text, const char *key) {
    static const char purpose[] = "idem";
    struct idem *idem = hm_alloc(sizeof *idem);
    crypto_generichash_state hash;
    hm_buf_char(text, '\0');
    hm_buf_text(text, key);
    hm_secret_hash(hm_buf_view(text), idem->id);
    crypto_generichash_init(&hash, call->engine->master_key, sizeof call->engine->master_key,
                            sizeof idem->key);
    crypto_generichash_update(&hash, (const uint8_t *)purpose, sizeof purpose);
    crypto_generichash_update(&hash, (const uint8_t *)text->data, text->len);
    crypto_generichash_final(&hash, idem->key, sizeof idem->key);
    sodium_memzero(&hash, sizeof hash);
    hash_call(idem, call);
    return idem;
}

// ---- what is kept -------------------------------------------------------------------------------------

// Appends nonce and ciphertext, in base64, as a JSON text.
static void seal(const struct idem *idem, struct hm_str answer, struct hm_buf *out) {
    enum {
        NONCE = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
        TAG = crypto_aead_xchacha20poly1305_ietf_ABYTES
    };
    size_t len = NONCE + answer.len + TAG;
    size_t room = sodium_base64_encoded_len(len, sodium_base64_VARIANT_ORIGINAL);
    uint8_t *box = hm_alloc(len);
    randombytes_buf(box, NONCE);
    crypto_aead_xchacha20poly1305_ietf_encrypt(box + NONCE, NULL, (const uint8_t *)answer.ptr, answer.len,
                                               (const uint8_t *)idem->id, strlen(idem->id), NULL, box,
                                               idem->key);
    hm_buf_char(out, '"');
    hm_buf_reserve(out, room);
    sodium_bin2base64(out->data + out->len, room, box, len, sodium_base64_VARIANT_ORIGINAL);
    out->len += room - 1;
    hm_buf_char(out, '"');
    free(box);
}

static bool unseal(const struct idem *idem, struct hm_json sealed, struct hm_buf *out) {
    enum {
        NONCE = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
        TAG = crypto_aead_xchacha20poly1305_ietf_ABYTES
    };
    struct hm_buf text = {0}, box = {0};
    size_t len = 0;
    bool ok = hm_json_string(sealed, &text);
    if (ok) {
        hm_buf_reserve(&box, text.len + 1);
        ok = sodium_base642bin((uint8_t *)box.data, text.len, text.data, text.len, NULL, &len, NULL,
                               sodium_base64_VARIANT_ORIGINAL) == 0 &&
             len >= NONCE + TAG;
    }
    if (ok) {
        hm_buf_reserve(out, len);
        ok = crypto_aead_xchacha20poly1305_ietf_decrypt(
                 (uint8_t *)out->data, NULL, NULL, (uint8_t *)box.data + NONCE, len - NONCE,
                 (const uint8_t *)idem->id, strlen(idem->id), (uint8_t *)box.data, idem->key) == 0;
        if (ok) out->len = len - NONCE - TAG;
    }
    hm_buf_free(&text);
    hm_buf_free(&box);
    return ok;
}

void hm_idem_put(struct commit_item *item, struct call *call, struct hm_str result) {
    struct hm_buf data = {0};
    struct idem *idem = call->idem;
    if (!idem) return;
    hm_buf_char(&data, '{');
    hm_json_member_str(&data, "call", hm_str_of(idem->call));
    hm_json_member_int(&data, "expires", item->commit.now_ms + IDEM_MS);
    // What came out of a seal is kept nowhere else but under its seal.
    if (!call->audits && result.len <= ANSWER_MAX) {
        hm_json_key(&data, "answer");
        seal(idem, result, &data);
    }
    hm_buf_char(&data, '}');
    hm_item_put(item, "idem", hm_str_of(idem->id), idem->expect, hm_buf_view(&data), "");
    hm_buf_free(&data);
}

// The answers cannot be read here, so all of them are meant: a record that is newer than they are says so.
void hm_idem_forget(struct commit_item *item) {
    hm_item_put(item, "idem", HM_LIT(FORGOTTEN), HM_ANY_VERSION, HM_LIT("{}"), "");
}

static bool forgotten(struct hm_read *read, uint64_t version) {
    struct hm_record record;
    return hm_read_get(read, HM_LIT("idem"), HM_LIT(FORGOTTEN), &record, NULL) && record.version > version;
}

void hm_idem_finish(struct call *call, struct hm_str result) {
    if (!call->idem || call->engine->closing) {
        hm_call_ok(call, result);
        return;
    }
    hm_item_finish_call(hm_item_new(call->institution, call->by, call->method), call, result,
                        hm_call_committed);
}

enum kept { KEPT_NOTHING, KEPT_ANSWER, KEPT_OTHER, KEPT_DONE };

static enum kept look_up(struct call *call, struct hm_buf *answer) {
    struct idem *idem = call->idem;
    struct hm_read *read = NULL;
    struct hm_record record;
    struct hm_json data, value;
    int64_t expires = 0;
    char same[sizeof idem->call];
    enum kept kept = KEPT_NOTHING;
    idem->expect = 0;
    if (!hm_read_begin(call->institution->store, &read, NULL)) return kept;
    if (hm_read_data(read, "idem", hm_str_of(idem->id), &record, &data)) {
        if (!hm_json_get(data, "expires", &value) || !hm_json_int(value, &expires) || expires <= hm_now_ms())
            idem->expect = HM_ANY_VERSION; // it may be cleared away meanwhile
        else if (!hm_json_get_text(data, "call", same, sizeof same) || strcmp(same, idem->call) != 0)
            kept = KEPT_OTHER;
        else if (!forgotten(read, record.version) && hm_json_get(data, "answer", &value) &&
                 unseal(idem, value, answer))
            kept = KEPT_ANSWER;
        else
            kept = KEPT_DONE;
    }
    hm_read_end(read);
    return kept;
}

// ---- one at a time ------------------------------------------------------------------------------------

// The call has its idem. False: answered, or waiting.
static bool enter(struct call *call) {
    struct institution *inst = call->institution;
    struct idem *idem = call->idem, *other;
    struct hm_buf answer = {0};
    HASH_FIND_STR(inst->idems, idem->id, other);
    if (other && other->waiting_count >= WAITING_MAX) {
        hm_call_wait(call, 1);
        return false;
    }
    if (other) {
        other->waiting_count++;
        hm_call_list(call, &other->waiting, false);
        return false;
    }
    enum kept kept = look_up(call, &answer);
    if (kept == KEPT_NOTHING) {
        idem->owner = true;
        HASH_ADD_STR(inst->idems, id, idem);
    } else if (kept == KEPT_ANSWER) {
        inst->engine->counters.idem_replays++;
        hm_call_ok(call, hm_buf_view(&answer));
    } else {
        inst->engine->counters.idem_refused += kept == KEPT_OTHER;
        hm_call_reason(call, HM_CONFLICT, "reason", kept == KEPT_OTHER ? "idem_reused" : "idem_done");
    }
    if (answer.data) sodium_memzero(answer.data, answer.len);
    hm_buf_free(&answer);
    return kept == KEPT_NOTHING;
}

bool hm_idem_take(struct call *call) {
    struct hm_json value;
    struct hm_buf text = {0};
    char key[KEY_MAX_BYTES + 1];
    if (call->params.kind != HM_JSON_OBJECT || !hm_json_get(call->params, "idem", &value)) return true;
    if (!hm_json_get_text(call->params, "idem", key, sizeof key) || !key[0]) {
        hm_call_param(call, "idem", "must be a text of 1 to 64 bytes");
        return false;
    }
    if (call->institution && !ignored(call) && who(call, &text)) call->idem = idem_new(call, &text, key);
    hm_buf_free(&text);
    return !call->idem || enter(call);
}

void hm_idem_resume(struct institution *inst) {
    while (inst->resumed) {
        struct call *call = inst->resumed;
        hm_call_list(call, NULL, false);
        if (hm_call_still(call) && enter(call)) hm_call_begin(call);
    }
}

void hm_idem_end(struct call *call) {
    struct institution *inst = call->institution;
    struct idem *idem = call->idem;
    if (!idem) return;
    call->idem = NULL;
    if (idem->owner) HASH_DEL(inst->idems, idem);
    while (idem->waiting) {
        struct call *next = idem->waiting;
        if (inst->engine->closing) {
            hm_call_fail(next, HM_UNAVAILABLE, "the server is shutting down");
        } else {
            hm_call_list(next, &inst->resumed, false);
            hm_inst_touch(inst);
        }
    }
    sodium_memzero(idem->key, sizeof idem->key);
    free(idem);
}

bool hm_idem_busy(struct institution *inst, struct hm_str id) {
    struct idem *idem;
    HASH_FIND(hh, inst->idems, id.ptr, (unsigned)id.len, idem);
    return idem != NULL;
}
