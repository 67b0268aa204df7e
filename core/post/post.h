// Messages that leave the machine: HTTP requests and mails, by libcurl's multi interface on the server's
// libev loop. This room knows nothing of stores, institutions or queues: it is handed one message and says
// what became of it. Loop thread. What always holds: `done` is called exactly once for each message that
// hm_post_send took, never before it returns; no redirect is followed and no proxy of the environment used; a
// message that is not `trusted` goes to no address of this machine, of its networks, or of nobody
// (private.c), which is asked of the address that is connected to, not of the name.
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include <ev.h>
#include <sys/socket.h>

// ---- addresses (private.c) ----------------------------------------------------------------------------
#define HM_POST_NETWORKS 16
struct hm_post_networks {
    struct {
        uint8_t address[16]; // of IPv4: ::ffff:a.b.c.d
        unsigned bits;
    } list[HM_POST_NETWORKS];
    size_t count;
};
// "10.1.0.0/16, fd00::/8, 192.168.1.5"; false when something in it is none.
bool hm_post_networks_read(const char *text, struct hm_post_networks *out);
enum hm_post_place { HM_POST_PUBLIC, HM_POST_NAMED, HM_POST_PRIVATE };
// Where an address lies. Named: private, and one of the networks.
enum hm_post_place hm_post_place_of(const struct sockaddr *address, const struct hm_post_networks *networks);

// ---- mails (mail.c) -----------------------------------------------------------------------------------
#define HM_MAIL_ADDRESS_MAX 254
bool hm_mail_address_valid(struct hm_str address); // ASCII, one line, local@domain.part
// Of "Name <a@b.uz>" or "a@b.uz" the address; false when there is no valid one.
bool hm_mail_address_of(const char *from, char out[HM_MAIL_ADDRESS_MAX + 1]);
struct hm_mail {
    const char *from;    // as in the setting
    const char *to, *id; // id: what is before the @ of Message-ID
    struct hm_str subject, text;
    const char *language;
    int64_t time_ms;
};
void hm_mail_write(const struct hm_mail *mail, struct hm_buf *out); // RFC 5322, UTF-8 in base64

// ---- sending (post.c) ---------------------------------------------------------------------------------
enum hm_post_end {
    HM_POST_SENT,
    HM_POST_LATER,   // may go through another time
    HM_POST_REFUSED, // will not, however often
    HM_POST_STOPPED, // hm_post_free came first: not known
};
struct hm_post_answer {
    enum hm_post_end end;
    bool reached;       // the other side itself said so
    int status;         // of HTTP or SMTP, or 0
    unsigned wait_s;    // it asks not to be asked again for so long, or 0
    const char *reason; // one word, static, names nobody: "timeout", "private_address", "status"…
    struct hm_str body; // of HTTP, its beginning; borrowed
};

struct hm_post_message { // all copied
    const char *url;
    struct hm_str body;         // of a request; or the whole mail
    const char *const *headers; // of a request, ended by NULL, or NULL
    const char *to;             // a mail: its receiver; NULL: an HTTP request
    const char *from;           // of a mail: the bare address
    const char *user, *password;
    bool plain;           // of a mail: also when the server offers no encryption
    const char *ca;       // file of authorities instead of the system's, or ""
    unsigned timeout_ms;  // of all of it
    bool trusted;         // whose address the operator has set: it may be anywhere
    const char *networks; // private ones that others may reach, too; unencrypted HTTP goes only there
    void (*done)(void *arg, const struct hm_post_answer *answer);
    void *arg;
};

#define HM_POST_BODY_MAX 262144u // of an answer, beyond which it is cut off

struct hm_post;
struct hm_post *hm_post_new(struct ev_loop *loop); // NULL: no memory for it
bool hm_post_send(struct hm_post *post, const struct hm_post_message *message, struct hm_error *err);
size_t hm_post_count(const struct hm_post *post); // under way
void hm_post_free(struct hm_post *post);          // those under way are told HM_POST_STOPPED
// Whether a webhook may have this address: https, or http when private networks are named; no user in it, a
// host.
bool hm_post_url_check(const char *url, bool http_allowed, struct hm_error *err);
