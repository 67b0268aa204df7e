// The server's certificate. Loop thread only. What always holds: certificate, key and chain are one struct
// that is replaced as a whole, after the new one has proved good in a context of its own; a handshake takes
// the one of the moment, so a reload touches no connection and a bad file changes nothing.
#include "net/tls.h"
#include "base/json.h"
#include "base/log.h"
#include <ev.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#define LOOK_S 0.5 // two stats; files are read when they changed and were the same at the next look
#define WARN_DAYS 14

struct identity {
    X509 *certificate;
    EVP_PKEY *key;
    STACK_OF(X509) * chain;
};
struct stamp { // of the two files
    struct timespec changed[2];
    off_t size[2];
    ino_t inode[2];
};
struct hm_tls {
    struct ev_loop *loop;
    struct ev_timer look;
    char *certificate, *key; // paths
    struct identity identity;
    struct stamp read, seen; // when last read, when last looked at
    struct hm_tls_counts counts;
};

static void identity_free(struct identity *identity) {
    X509_free(identity->certificate);
    EVP_PKEY_free(identity->key);
    sk_X509_pop_free(identity->chain, X509_free);
    *identity = (struct identity){0};
}

// ---- reading ------------------------------------------------------------------------------------

// The first error in OpenSSL's queue is the cause, those behind it say where it was noticed.
static bool fail_openssl(struct hm_error *err, const char *path, const char *what) {
    unsigned long code = ERR_peek_error();
    const char *reason = ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code))
                         : code                 ? ERR_reason_error_string(code)
                                                : NULL;
    ERR_clear_error();
    return hm_fail(err, HM_PARAMS, "%.300s: %s%s%.100s", path, what, reason ? ": " : "",
                   reason ? reason : "");
}

// OpenSSL would otherwise ask at the terminal.
static int no_password(char *buf, int size, int writing, void *arg) {
    (void)buf;
    (void)size;
    (void)writing;
    *(bool *)arg = true;
    return -1;
}

static bool read_chain(BIO *file, const char *path, struct identity *identity, struct hm_error *err) {
    X509 *above;
    identity->chain = sk_X509_new_null();
    while ((above = PEM_read_bio_X509(file, NULL, NULL, NULL)))
        if (!sk_X509_push(identity->chain, above)) {
            X509_free(above);
            return fail_openssl(err, path, "there is no memory for the chain");
        }
    if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        return fail_openssl(err, path, "the chain below the first certificate cannot be read");
    ERR_clear_error(); // the end of the file
    return true;
}

static bool read_certificates(const char *path, struct identity *identity, struct hm_error *err) {
    bool ok = false;
    BIO *file = BIO_new_file(path, "r");
    if (!file)
        fail_openssl(err, path, "cannot be read");
    else if (!(identity->certificate = PEM_read_bio_X509_AUX(file, NULL, NULL, NULL)))
        fail_openssl(err, path, "holds no certificate (PEM, \"BEGIN CERTIFICATE\")");
    else
        ok = read_chain(file, path, identity, err);
    BIO_free(file);
    return ok;
}

static bool read_key(const char *path, struct identity *identity, struct hm_error *err) {
    bool password = false;
    BIO *file = BIO_new_file(path, "r");
    if (!file) return fail_openssl(err, path, "cannot be read");
    identity->key = PEM_read_bio_PrivateKey(file, NULL, no_password, &password);
    BIO_free(file);
    if (identity->key) return true;
    return fail_openssl(err, path,
                        password ? "the key is locked with a password; give one without (openssl pkey)"
                                 : "holds no private key (PEM)");
}

static bool in_time(const X509 *certificate, const char *path, struct hm_error *err) {
    if (X509_cmp_current_time(X509_get0_notAfter(certificate)) <= 0)
        return hm_fail(err, HM_PARAMS, "%.300s: the certificate is out of date; get a new one", path);
    if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0)
        return hm_fail(err, HM_PARAMS, "%.300s: the certificate is not valid yet; is the clock right?", path);
    return true;
}

static bool identity_read(const char *certificate, const char *key, struct identity *out,
                          struct hm_error *err) {
    SSL_CTX *trial = NULL;
    bool ok = false;
    ERR_clear_error();
    if (!read_certificates(certificate, out, err) || !read_key(key, out, err)) goto out;
    if (!X509_check_private_key(out->certificate, out->key)) {
        ERR_clear_error();
        hm_fail(err, HM_PARAMS, "%.200s is not the key of the certificate in %.200s", key, certificate);
        goto out;
    }
    trial = SSL_CTX_new(TLS_server_method()); // OpenSSL may find a key too short, or a signature too weak
    if (!trial || SSL_CTX_use_cert_and_key(trial, out->certificate, out->key, out->chain, 1) != 1) {
        fail_openssl(err, certificate, "OpenSSL does not take it");
        goto out;
    }
    ok = true;
out:
    SSL_CTX_free(trial);
    if (!ok) identity_free(out);
    return ok;
}

bool hm_tls_check(const char *certificate, const char *key, struct hm_error *late, struct hm_error *err) {
    struct identity identity = {0};
    bool ok = identity_read(certificate, key, &identity, err);
    if (ok) in_time(identity.certificate, certificate, late);
    identity_free(&identity);
    return ok;
}

// ---- replacing ----------------------------------------------------------------------------------

static struct stamp stamp_of(const struct hm_tls *tls) {
    const char *const paths[2] = {tls->certificate, tls->key};
    struct stamp stamp = {0};
    struct stat st;
    for (int i = 0; i < 2; i++) {
        if (stat(paths[i], &st) != 0) continue;
        stamp.changed[i] = st.st_mtim;
        stamp.size[i] = st.st_size;
        stamp.inode[i] = st.st_ino;
    }
    return stamp;
}

static bool stamp_same(const struct stamp *a, const struct stamp *b) {
    for (int i = 0; i < 2; i++)
        if (a->changed[i].tv_sec != b->changed[i].tv_sec || a->changed[i].tv_nsec != b->changed[i].tv_nsec ||
            a->size[i] != b->size[i] || a->inode[i] != b->inode[i])
            return false;
    return true;
}

static int64_t expires_ms(const X509 *certificate) {
    struct tm tm = {0};
    return ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &tm) == 1 ? (int64_t)timegm(&tm) * 1000 : 0;
}

static void take(struct hm_tls *tls, struct identity *identity) {
    identity_free(&tls->identity);
    tls->identity = *identity;
    tls->counts.expires_ms = expires_ms(identity->certificate);
    int64_t days = (tls->counts.expires_ms / 1000 - (int64_t)time(NULL)) / 86400;
    hm_log(days < WARN_DAYS ? HM_WARN : HM_INFO, "tls.certificate", "\"expires_in_days\":%lld",
           (long long)days);
}

bool hm_tls_reload(struct hm_tls *tls, struct hm_error *err) {
    struct identity fresh = {0};
    struct hm_error why = {0};
    tls->read = tls->seen = stamp_of(tls);
    if (identity_read(tls->certificate, tls->key, &fresh, &why) &&
        in_time(fresh.certificate, tls->certificate, &why)) {
        tls->counts.reloads++;
        take(tls, &fresh);
        return true;
    }
    identity_free(&fresh);
    tls->counts.failures++;
    struct hm_buf text = {0};
    hm_json_put_str(&text, hm_str_of(why.message));
    hm_log(HM_ERROR, "tls.reload_failed", "\"note\":\"the certificate in use stays\",\"why\":%s", text.data);
    hm_buf_free(&text);
    if (err) *err = why;
    return false;
}

// Certificate and key are two files, so there is a moment when they do not fit: hence the second look.
static void on_look(struct ev_loop *loop, struct ev_timer *timer, int events) {
    struct hm_tls *tls = timer->data;
    struct stamp now = stamp_of(tls);
    (void)loop;
    (void)events;
    bool settled = stamp_same(&now, &tls->seen);
    tls->seen = now;
    if (settled && !stamp_same(&now, &tls->read)) hm_tls_reload(tls, NULL);
}

// ---- handshakes ---------------------------------------------------------------------------------

static int choose(SSL *ssl, void *arg) {
    const struct identity *identity = &((struct hm_tls *)arg)->identity;
    return SSL_use_cert_and_key(ssl, identity->certificate, identity->key, identity->chain, 1);
}

bool hm_tls_prepare(struct hm_tls *tls, struct ssl_ctx_st *context) {
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF); // tickets, which cost no memory here, remain
    SSL_CTX_set_num_tickets(context, 1);
    SSL_CTX_set_cert_cb(context, choose, tls);
    return SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1; // of TLS 1.2
}

// ---- opening ------------------------------------------------------------------------------------

bool hm_tls_open(struct ev_loop *loop, const char *certificate, const char *key, struct hm_tls **out,
                 struct hm_error *err) {
    struct hm_tls *tls = hm_alloc(sizeof *tls);
    struct identity identity = {0};
    struct hm_error late = {0};
    tls->loop = loop;
    tls->certificate = hm_strdup(certificate);
    tls->key = hm_strdup(key);
    tls->read = tls->seen = stamp_of(tls);
    ev_timer_init(&tls->look, on_look, LOOK_S, LOOK_S);
    tls->look.data = tls;
    if (!identity_read(certificate, key, &identity, err)) {
        hm_tls_free(tls);
        return false;
    }
    if (!in_time(identity.certificate, certificate, &late))
        hm_log(HM_ERROR, "tls.certificate_out_of_time", "\"note\":\"browsers will refuse it\"");
    take(tls, &identity);
    ev_timer_start(loop, &tls->look);
    *out = tls;
    return true;
}

void hm_tls_free(struct hm_tls *tls) {
    if (!tls) return;
    ev_timer_stop(tls->loop, &tls->look);
    identity_free(&tls->identity);
    free(tls->certificate);
    free(tls->key);
    free(tls);
}

const struct hm_tls_counts *hm_tls_counts(const struct hm_tls *tls) {
    return &tls->counts;
}
