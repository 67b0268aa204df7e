// What /metrics tells (Prometheus text format): the net's own counters and the engine's. Loop thread only. No
// personal data, no names of persons.
#include "net/inside.h"

struct row {
    const char *name, *kind, *help;
    uint64_t value;
};

static const char *const refusals[HM_REFUSALS] = {
    [HM_REFUSED_ORIGIN] = "origin",   [HM_REFUSED_FULL] = "full",       [HM_REFUSED_ADDRESS] = "address",
    [HM_REFUSED_ACCOUNT] = "account", [HM_REFUSED_UPGRADE] = "upgrade", [HM_REFUSED_REQUEST] = "request",
    [HM_REFUSED_FRAME] = "frame",
};
static const char *const lates[HM_LATES] = {
    [HM_LATE_HEAD] = "head",     [HM_LATE_MESSAGE] = "message", [HM_LATE_SEND] = "send",
    [HM_LATE_SILENT] = "silent", [HM_LATE_SIGN_IN] = "sign_in",
};

static void put_labelled(struct hm_buf *out, const char *name, const char *help, const char *label,
                         const char *const values[], const uint64_t counts[], size_t count) {
    hm_buf_printf(out, "# HELP %s %s\n# TYPE %s counter\n", name, help, name);
    for (size_t i = 0; i < count; i++)
        hm_buf_printf(out, "%s{%s=\"%s\"} %llu\n", name, label, values[i], (unsigned long long)counts[i]);
}

static void put_tls(struct hm_buf *out, const struct hm_tls_counts *t) {
    hm_buf_printf(out,
                  "# HELP hamroh_tls_reloads_total Certificates taken while serving\n"
                  "# TYPE hamroh_tls_reloads_total counter\nhamroh_tls_reloads_total %llu\n"
                  "# HELP hamroh_tls_reload_failures_total New certificates that could not be taken\n"
                  "# TYPE hamroh_tls_reload_failures_total counter\nhamroh_tls_reload_failures_total %llu\n"
                  "# HELP hamroh_tls_certificate_expires_seconds End of the certificate, Unix time\n"
                  "# TYPE hamroh_tls_certificate_expires_seconds gauge\n"
                  "hamroh_tls_certificate_expires_seconds %lld\n",
                  (unsigned long long)t->reloads, (unsigned long long)t->failures,
                  (long long)(t->expires_ms / 1000));
}

void hm_metrics(const struct hm_net *net, struct hm_buf *out) {
    const struct hm_net_counts *n = &net->counts;
    const struct hm_feed_counts *f = hm_feed_counts(net->feed);
    const struct row rows[] = {
        {"hamroh_connections", "gauge", "WebSocket connections open", net->conn_count},
        {"hamroh_connections_opened_total", "counter", "WebSocket connections accepted", n->opened},
        {"hamroh_connections_slow_total", "counter", "Connections given up since they did not read",
         n->slow_closed},
        {"hamroh_http_requests_total", "counter", "HTTP requests", n->http},
        {"hamroh_messages_in_total", "counter", "JSON-RPC messages received", n->messages_in},
        {"hamroh_messages_out_total", "counter", "Messages queued to WebSocket clients", n->messages_out},
        {"hamroh_bytes_out_total", "counter", "Bytes sent", n->bytes_out},
        {"hamroh_feed_subscriptions", "gauge", "Open feeds", f->subscriptions},
        {"hamroh_feed_changes_total", "counter", "Changes looked at for the feed", f->changes},
        {"hamroh_feed_delivered_total", "counter", "Events queued to feeds", f->delivered},
        {"hamroh_feed_replayed_total", "counter", "Log entries read for feeds that resume", f->replayed},
        {"hamroh_feed_resyncs_total", "counter", "Feeds closed since the client was too slow", f->resyncs},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        hm_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %llu\n", rows[i].name, rows[i].help, rows[i].name,
                      rows[i].kind, rows[i].name, (unsigned long long)rows[i].value);
    put_labelled(out, "hamroh_connections_refused_total", "Connections, requests and sign-ins refused",
                 "reason", refusals, n->refused, HM_REFUSALS);
    put_labelled(out, "hamroh_connections_timed_out_total", "Connections given up, by what did not come",
                 "waited_for", lates, n->late, HM_LATES);
    if (net->tls) put_tls(out, hm_tls_counts(net->tls));
    hm_engine_metrics(net->engine, out);
}
