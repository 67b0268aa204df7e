// What leaves for people's mailboxes and phones, and for other programs: what the files outgoing*.c,
// notify.c, telegram.c, methods_contact.c and methods_webhook.c share. Everything is the loop thread's.
//
// A message is a record of the hidden type "outgoing", put by the same commit that made the news: {"to" (its
// lane: "email", "telegram", or "w:" and a webhook's name), "state": waiting, sent, given_up or dropped,
// "kind": news, code, welcome, event or test, "due", "tries", "since", "expires", "reason"?, "person"?,
// "contact"?, "notification"?, "event"?, "payload"?}. It holds no address and no text of the news: those are
// read when it is sent.
//
// What always holds: what is waiting is sent at least once, always under the same id, and is no longer
// waiting only when that is durable; one lane that does not answer holds up no other.
#pragma once
#include "engine/internal.h"
#include "post/post.h"

#define OUT_DAY_MS (24LL * 3600 * 1000)
#define OUT_KEPT_MS (7 * OUT_DAY_MS) // what has been sent or given up can be looked at for so long
#define NEWS_KEPT_MS (90 * OUT_DAY_MS)
#define LANE_NAME 80
#define WEBHOOK_NAME_MAX 32
#define WEBHOOK_SECRET 32

// ---- the queue (outgoing.c) ---------------------------------------------------------------------------
struct lane {
    struct lane *prev, *next;
    char name[LANE_NAME];
    unsigned flight, failures; // failures: of the way there, one after the other
    int64_t not_before_ms;
};

struct outbox { // of an institution
    struct lane *lanes;
    unsigned hooks;  // of webhooks under way
    int64_t next_ms; // nothing is due before
    bool look;       // something has changed
    int64_t day;     // that `told` counts
    uint64_t told;   // notifications made on it
};

struct parcel { // one under way
    struct parcel *prev, *next;
    struct institution *institution;
    struct lane *lane;
    char id[HM_ID_MAX + 1];
    uint64_t version;
    char *data; // JSON, owned
    struct hm_json json;
    bool opened;          // an address was, which the audit will tell
    bool refused_address; // the contact takes no more
    bool committing;
    unsigned waits; // Telegram's retry_after
};

struct poll { // for messages to the bot
    bool under_way;
    unsigned committing, failures;
    uint64_t not_before_us;
    int64_t offset;
    const char *said; // of the last failure that was logged
};

#define CHANNELS 3
extern const char *const hm_channels[CHANNELS]; // email, telegram, webhook
struct outgoing {
    struct hm_post *post;
    struct parcel *parcels;
    size_t flight;
    uint64_t sent[CHANNELS], failed[CHANNELS], given_up[CHANNELS], dropped[CHANNELS], not_told;
    struct poll poll;
    struct test *tests;
};
unsigned hm_channel_of(struct hm_str to);
bool hm_channel_ready(const struct hm_settings *s, const char *channel); // the operator has set it up

// A new message, added to an item. Members with NULL are left out.
struct out_new {
    const char *to, *kind, *person, *contact, *notification, *event;
    struct hm_str payload; // JSON, or empty
    int64_t due_ms;
};
void hm_outgoing_put(struct commit_item *item, const struct out_new *n, char id[37]);
// How many of the index's records, its first field being `value`, were put since `since_ms`; at most `most`.
unsigned hm_outgoing_count(struct hm_read *read, struct hm_types *types, const char *index, const char *value,
                           const char *kind, int64_t since_ms, unsigned most);

// A walk of an index with several values; equals, from and to: JSON, or "". False: nothing can be read.
struct walk {
    struct hm_range range;
    struct hm_scan *scan;
};
bool hm_walk_begin(struct walk *w, struct hm_read *read, struct hm_types *types, const char *type,
                   const char *index, const char *equals, const char *from, const char *to, bool descending);
bool hm_walk_next(struct walk *w, struct hm_record *record, struct hm_json *data);
void hm_walk_end(struct walk *w);

// ---- one message (outgoing_make.c) --------------------------------------------------------------------
enum made { MADE, MADE_NOT, MADE_LATER }; // ready; nothing to send any more; not now
struct making {
    struct hm_buf url, body, secret, to;
    char from[HM_MAIL_ADDRESS_MAX + 1];
    char *headers[6];
    unsigned timeout_ms;
    const char *reason; // why not
};
enum made hm_outgoing_make(struct parcel *p, struct hm_read *read, struct making *m);
void hm_making_send(struct hm_engine *engine, struct making *m,
                    void (*done)(void *, const struct hm_post_answer *), void *arg, bool trusted,
                    struct hm_error *err);
void hm_making_free(struct making *m);
// A mail, or a message of the bot, with these words. False: the channel is not set up, see m->reason.
bool hm_make_mail(struct hm_engine *engine, struct making *m, const char *to, const char *id,
                  const char *locale, struct hm_str subject, struct hm_str text);
bool hm_make_telegram(struct hm_engine *engine, struct making *m, const char *chat, struct hm_str text);
bool hm_telegram_url(struct hm_engine *engine, const char *method, struct making *m);

// Words in the four languages (outgoing_words.c).
enum out_word {
    OUT_SUBJECT,
    OUT_NEWS,
    OUT_CODE_SUBJECT,
    OUT_CODE,
    OUT_WELCOME,
    OUT_TEST,
    OUT_FOOT,
    OUT_WORDS
};
const char *hm_out_word(enum out_word word, const char *locale);
bool hm_locale_known(const char *locale);

// ---- contacts (methods_contact.c) ---------------------------------------------------------------------
#define CODE_LIFE_MS (3600LL * 1000)
void hm_contact_code(struct institution *inst, const char *contact, const char *nonce, char out[8]);
// What somebody has sent to the bot: "/start CODE" from a chat. True: a commit is under way, then `done`.
bool hm_contact_started(struct hm_engine *engine, struct hm_str code, struct hm_str chat,
                        void (*done)(struct commit_item *item));

// ---- webhooks (methods_webhook.c) ---------------------------------------------------------------------
void hm_webhook_seal(struct institution *inst, const char *name, const uint8_t secret[WEBHOOK_SECRET],
                     struct hm_buf *out);
bool hm_webhook_open(struct institution *inst, const char *name, struct hm_json data,
                     uint8_t secret[WEBHOOK_SECRET]);
// Does it take this event, as far as its record says?
bool hm_webhook_takes(struct hm_json data, struct hm_str event);
