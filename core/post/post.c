// libcurl's multi interface on libev: a watcher for each of its sockets, one timer, and what became of each
// message in words that name nobody. See post.h for what always holds.
#include "post/post.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>
#include <utlist.h>

#define CONNECT_MS 10000u
#define HEAD_MAX 65536u   // of an answer
#define WAIT_MAX_S 86400u // longer than that nobody is believed
#define CONNECTIONS 64

struct watched { // a socket of libcurl's
    struct watched *prev, *next;
    struct hm_post *post;
    ev_io io;
};

struct sending {
    struct sending *prev, *next;
    struct hm_post *post;
    CURL *easy;
    struct curl_slist *headers, *receivers;
    struct hm_buf body, answer;
    size_t sent, head;
    bool mail, trusted, http; // http: not encrypted
    bool refused;             // its address was not one to talk to
    struct hm_post_networks networks;
    void (*done)(void *arg, const struct hm_post_answer *answer);
    void *arg;
};

struct hm_post {
    struct ev_loop *loop;
    CURLM *multi;
    ev_timer timer;
    struct sending *list;
    struct watched *sockets;
    size_t count;
};

// ---- what became of one -------------------------------------------------------------------------------

static void sending_free(struct sending *s) {
    curl_easy_cleanup(s->easy);
    curl_slist_free_all(s->headers);
    curl_slist_free_all(s->receivers);
    if (s->body.data) explicit_bzero(s->body.data, s->body.len);
    hm_buf_free(&s->body);
    hm_buf_free(&s->answer);
    free(s);
}

// Takes it out and tells; it is gone afterwards.
static void end(struct sending *s, struct hm_post_answer answer) {
    struct hm_post *post = s->post;
    void (*done)(void *arg, const struct hm_post_answer *) = s->done;
    answer.body = hm_buf_view(&s->answer);
    DL_DELETE(post->list, s);
    post->count--;
    curl_multi_remove_handle(post->multi, s->easy);
    done(s->arg, &answer);
    sending_free(s);
}

static const char *word_of(CURLcode code) {
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
        return "name_unknown";
    case CURLE_COULDNT_CONNECT:
        return "not_reached";
    case CURLE_OPERATION_TIMEDOUT:
        return "timeout";
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        return "certificate";
    case CURLE_SSL_CONNECT_ERROR:
        return "tls";
    case CURLE_USE_SSL_FAILED:
        return "no_encryption";
    case CURLE_LOGIN_DENIED:
        return "login_denied";
    case CURLE_WRITE_ERROR:
        return "answer_too_large";
    default:
        return "connection";
    }
}

static void judge_mail(CURLcode code, int status, struct hm_post_answer *a) {
    // Whoever does not let us in, or has no encryption, says nothing of the message.
    bool ours = code == CURLE_LOGIN_DENIED || code == CURLE_USE_SSL_FAILED ||
                code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CONNECT_ERROR;
    a->end = code == CURLE_OK ? HM_POST_SENT : HM_POST_LATER;
    a->reason = code == CURLE_OK ? "" : word_of(code);
    if (code == CURLE_OK || ours || status < 400) return;
    a->reached = true;
    a->reason = "status";
    if (status >= 500) a->end = HM_POST_REFUSED;
}

static void judge_http(CURLcode code, int status, struct hm_post_answer *a) {
    bool whole = code == CURLE_OK || (code == CURLE_WRITE_ERROR && status >= 200);
    a->reached = whole;
    a->end = HM_POST_LATER;
    a->reason = whole ? "status" : word_of(code);
    if (!whole) return;
    if (status >= 200 && status < 300) {
        a->end = HM_POST_SENT;
        a->reason = "";
    } else if (status >= 300 && status < 400) {
        a->end = HM_POST_REFUSED;
        a->reason = "redirect";
    } else if (status >= 400 && status < 500 && status != 408 && status != 425 && status != 429) {
        a->end = HM_POST_REFUSED;
    }
}

static void finished(struct sending *s, CURLcode code) {
    struct hm_post_answer a = {0};
    long status = 0;
    curl_off_t wait = 0;
    curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(s->easy, CURLINFO_RETRY_AFTER, &wait);
    a.status = (int)status;
    a.wait_s = wait < 0 ? 0 : wait > WAIT_MAX_S ? WAIT_MAX_S : (unsigned)wait;
    if (s->mail)
        judge_mail(code, a.status, &a);
    else
        judge_http(code, a.status, &a);
    if (s->refused && !a.reached) {
        a.end = HM_POST_REFUSED;
        a.reason = "private_address";
    }
    end(s, a);
}

static void check(struct hm_post *post) {
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(post->multi, &left))) {
        char *of = NULL;
        CURLcode code = message->data.result;
        if (message->msg != CURLMSG_DONE) continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &of);
        finished((struct sending *)(void *)of, code);
    }
}

// ---- sockets and time ---------------------------------------------------------------------------------

static void on_socket(struct ev_loop *loop, ev_io *io, int events) {
    struct watched *w = io->data;
    struct hm_post *post = w->post;
    int action = (events & EV_READ ? CURL_CSELECT_IN : 0) | (events & EV_WRITE ? CURL_CSELECT_OUT : 0);
    int running;
    (void)loop;
    curl_multi_socket_action(post->multi, io->fd, action, &running);
    check(post);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int events) {
    struct hm_post *post = timer->data;
    int running;
    (void)loop, (void)events;
    curl_multi_socket_action(post->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    check(post);
}

static int want_timer(CURLM *multi, long ms, void *arg) {
    struct hm_post *post = arg;
    (void)multi;
    ev_timer_stop(post->loop, &post->timer);
    if (ms < 0) return 0;
    // Never at once: it may be called from within libcurl, which must not be entered again.
    ev_timer_set(&post->timer, (double)ms / 1000, 0);
    ev_timer_start(post->loop, &post->timer);
    return 0;
}

static int want_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *mine) {
    struct hm_post *post = arg;
    struct watched *w = mine;
    (void)easy;
    if (w) ev_io_stop(post->loop, &w->io);
    if (what == CURL_POLL_REMOVE) {
        if (w) DL_DELETE(post->sockets, w);
        free(w);
        curl_multi_assign(post->multi, fd, NULL);
        return 0;
    }
    if (!w) {
        w = hm_alloc(sizeof *w);
        w->post = post;
        ev_init(&w->io, on_socket);
        w->io.data = w;
        DL_APPEND(post->sockets, w);
        curl_multi_assign(post->multi, fd, w);
    }
    ev_io_set(&w->io, fd, (what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0));
    ev_io_start(post->loop, &w->io);
    return 0;
}

// ---- where it goes ------------------------------------------------------------------------------------

static bool may_reach(struct sending *s, const struct sockaddr *address) {
    if (s->trusted) return true;
    enum hm_post_place place = hm_post_place_of(address, &s->networks);
    if (place == HM_POST_NAMED || (place == HM_POST_PUBLIC && !s->http)) return true;
    s->refused = true;
    return false;
}

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address) {
    (void)purpose;
    if (!may_reach(arg, &address->addr)) return CURL_SOCKET_BAD;
    // No worker inherits it.
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

// Before every request, also on a connection that was opened for somebody else.
static int before_request(void *arg, char *there, char *here, int port, int here_port) {
    struct sending *s = arg;
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    bool ok = false;
    (void)here, (void)port, (void)here_port;
    if (s->trusted)
        ok = true;
    else if (inet_pton(AF_INET, there, &v4.sin_addr) == 1)
        ok = may_reach(s, (const struct sockaddr *)&v4);
    else if (inet_pton(AF_INET6, there, &v6.sin6_addr) == 1)
        ok = may_reach(s, (const struct sockaddr *)&v6);
    return ok ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
}

bool hm_post_url_check(const char *url, bool http_allowed, struct hm_error *err) {
    char *scheme = NULL, *host = NULL, *user = NULL, *password = NULL;
    CURLU *u = curl_url();
    bool ok = false;
    if (!u || curl_url_set(u, CURLUPART_URL, url, 0) || curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) ||
        curl_url_get(u, CURLUPART_HOST, &host, 0) || !*host) {
        hm_fail(err, HM_PARAMS, "must be a whole address, such as https://example.uz/hook");
        goto out;
    }
    curl_url_get(u, CURLUPART_USER, &user, 0);
    curl_url_get(u, CURLUPART_PASSWORD, &password, 0);
    bool http = strcmp(scheme, "http") == 0;
    if (!http && strcmp(scheme, "https") != 0)
        hm_fail(err, HM_PARAMS, "must begin with https://");
    else if (http && !http_allowed)
        hm_fail(err, HM_PARAMS,
                "must begin with https:// (http only to networks of the setting webhook_networks)");
    else if (user || password)
        hm_fail(err, HM_PARAMS, "must not hold a user or a password: what is sent is signed");
    else
        ok = true;
out:
    curl_free(scheme);
    curl_free(host);
    curl_free(user);
    curl_free(password);
    curl_url_cleanup(u);
    return ok;
}

// ---- sending ------------------------------------------------------------------------------------------

static size_t give_body(char *to, size_t size, size_t count, void *arg) {
    struct sending *s = arg;
    size_t left = s->body.len - s->sent, most = size * count, take = left < most ? left : most;
    if (take) memcpy(to, s->body.data + s->sent, take);
    s->sent += take;
    return take;
}

static size_t take_body(char *from, size_t size, size_t count, void *arg) {
    struct sending *s = arg;
    size_t len = size * count;
    if (s->answer.len + len > HM_POST_BODY_MAX) return 0;
    hm_buf_add(&s->answer, from, len);
    return len;
}

static size_t take_head(char *from, size_t size, size_t count, void *arg) {
    struct sending *s = arg;
    (void)from;
    s->head += size * count;
    return s->head > HEAD_MAX ? 0 : size * count;
}

static void set_common(struct sending *s, const struct hm_post_message *m) {
    CURL *e = s->easy;
    curl_easy_setopt(e, CURLOPT_URL, m->url);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, s->mail ? "smtp,smtps" : "http,https");
    curl_easy_setopt(e, CURLOPT_PRIVATE, s);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_PROXY, ""); // whatever the environment says
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)m->timeout_ms);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)(m->timeout_ms < CONNECT_MS ? m->timeout_ms : CONNECT_MS));
    curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (m->ca && *m->ca) curl_easy_setopt(e, CURLOPT_CAINFO, m->ca);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, s);
    curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, before_request);
    curl_easy_setopt(e, CURLOPT_PREREQDATA, s);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, s);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, take_head);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, s);
}

static void set_mail(struct sending *s, const struct hm_post_message *m) {
    CURL *e = s->easy;
    struct hm_buf bracketed = {0};
    hm_buf_printf(&bracketed, "<%s>", m->to);
    s->receivers = curl_slist_append(NULL, bracketed.data);
    hm_buf_clear(&bracketed);
    hm_buf_printf(&bracketed, "<%s>", m->from);
    curl_easy_setopt(e, CURLOPT_MAIL_FROM, bracketed.data);
    hm_buf_free(&bracketed);
    curl_easy_setopt(e, CURLOPT_MAIL_RCPT, s->receivers);
    curl_easy_setopt(e, CURLOPT_USE_SSL, (long)(m->plain ? CURLUSESSL_TRY : CURLUSESSL_ALL));
    if (m->user && *m->user) {
        curl_easy_setopt(e, CURLOPT_USERNAME, m->user);
        curl_easy_setopt(e, CURLOPT_PASSWORD, m->password ? m->password : "");
    }
    curl_easy_setopt(e, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(e, CURLOPT_INFILESIZE_LARGE, (curl_off_t)s->body.len);
    curl_easy_setopt(e, CURLOPT_READFUNCTION, give_body);
    curl_easy_setopt(e, CURLOPT_READDATA, s);
}

static void set_http(struct sending *s, const struct hm_post_message *m) {
    CURL *e = s->easy;
    s->headers = curl_slist_append(NULL, "Expect:");
    for (const char *const *h = m->headers; h && *h; h++)
        s->headers = curl_slist_append(s->headers, *h);
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, s->headers);
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_USERAGENT, "Hamroh/" HAMROH_VERSION);
    curl_easy_setopt(e, CURLOPT_POST, 1L);
    curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)s->body.len);
    curl_easy_setopt(e, CURLOPT_POSTFIELDS, s->body.len ? s->body.data : "");
}

bool hm_post_send(struct hm_post *post, const struct hm_post_message *m, struct hm_error *err) {
    struct sending *s = hm_alloc(sizeof *s);
    s->post = post;
    s->mail = m->to != NULL;
    s->trusted = m->trusted;
    s->http = !s->mail && strncasecmp(m->url, "https://", 8) != 0;
    s->done = m->done;
    s->arg = m->arg;
    hm_buf_str(&s->body, m->body);
    if (!hm_post_networks_read(m->networks ? m->networks : "", &s->networks)) s->networks.count = 0;
    s->easy = curl_easy_init();
    if (!s->easy) {
        sending_free(s);
        return hm_fail(err, HM_UNAVAILABLE, "no memory for another message");
    }
    set_common(s, m);
    if (s->mail)
        set_mail(s, m);
    else
        set_http(s, m);
    DL_APPEND(post->list, s);
    post->count++;
    if (curl_multi_add_handle(post->multi, s->easy) == CURLM_OK) return true;
    DL_DELETE(post->list, s);
    post->count--;
    sending_free(s);
    return hm_fail(err, HM_UNAVAILABLE, "no room for another message");
}

size_t hm_post_count(const struct hm_post *post) {
    return post->count;
}

struct hm_post *hm_post_new(struct ev_loop *loop) {
    if (curl_global_init(CURL_GLOBAL_DEFAULT)) return NULL;
    struct hm_post *post = hm_alloc(sizeof *post);
    post->loop = loop;
    post->multi = curl_multi_init();
    if (!post->multi) {
        free(post);
        return NULL;
    }
    ev_init(&post->timer, on_timer);
    post->timer.data = post;
    curl_multi_setopt(post->multi, CURLMOPT_SOCKETFUNCTION, want_socket);
    curl_multi_setopt(post->multi, CURLMOPT_SOCKETDATA, post);
    curl_multi_setopt(post->multi, CURLMOPT_TIMERFUNCTION, want_timer);
    curl_multi_setopt(post->multi, CURLMOPT_TIMERDATA, post);
    curl_multi_setopt(post->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS);
    return post;
}

void hm_post_free(struct hm_post *post) {
    if (!post) return;
    while (post->list)
        end(post->list, (struct hm_post_answer){.end = HM_POST_STOPPED, .reason = "stopped"});
    curl_multi_cleanup(post->multi);
    ev_timer_stop(post->loop, &post->timer);
    while (post->sockets) {
        struct watched *w = post->sockets;
        DL_DELETE(post->sockets, w);
        ev_io_stop(post->loop, &w->io);
        free(w);
    }
    free(post);
}
