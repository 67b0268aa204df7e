// Who of mine is online: persons with an open feed, told to those who share a record with them. Never stored;
// what is stored (presence.set) is the wish not to be shown, which the engine keeps in the account. Loop
// thread only.
//
// Two persons share a record when both are members of it (a pair, an activity). A record with more than
// HM_PRESENCE_MEMBERS members connects nobody, and of a person's records the first HM_PRESENCE_RECORDS count,
// so that one person's coming is never told to more than their product, and a crowd's coming not to itself.
#pragma once
#include "base/json.h"
#include "net/feed.h"

#define HM_PRESENCE_MEMBERS 200
#define HM_PRESENCE_RECORDS 200

struct hm_presence;
struct hm_present; // a person
struct hm_presence_ops {
    struct hm_store *(*store)(void *arg, const char *institution); // borrowed; NULL when unknown
    // Gives the frame to every open feed of the person.
    void (*tell)(void *arg, const char *institution, struct hm_str person, struct hm_out *frame);
    void *arg;
};
struct hm_presence_counts {
    uint64_t online;  // persons who are shown, now
    uint64_t notices; // told, each once for every person told
};
// grace_ms: so long after the last feed was closed somebody is still shown, and so long after hiding not
// again.
struct hm_presence *hm_presence_new(struct ev_loop *loop, const struct hm_presence_ops *ops,
                                    unsigned grace_ms);
void hm_presence_free(struct hm_presence *presence);
const struct hm_presence_counts *hm_presence_counts(const struct hm_presence *presence);

// A feed of this session was opened: gives what hm_presence_leave takes when it is closed, NULL for a session
// without a person.
struct hm_present *hm_presence_join(struct hm_presence *presence, const struct hm_session *session);
void hm_presence_leave(struct hm_present *present);
void hm_presence_update(struct hm_presence *presence, const struct hm_session *session); // was renewed
void hm_presence_change(struct hm_presence *presence, const char *institution,
                        const struct hm_change *change);
// Appends {"online": [person], "visible": bool}.
void hm_presence_list(struct hm_presence *presence, const struct hm_session *session, struct hm_buf *out);
