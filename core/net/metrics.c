// What /metrics tells (Prometheus text format): the net's own counters and the engine's. Loop thread only. No
// personal data, no names of persons.
#include "base/metric.h"
#include "net/inside.h"

struct row {
    const char *name;
    enum hm_metric_type type;
    const char *help;
    uint64_t value;
};

struct waiting { // to be sent, over all WebSocket connections
    uint64_t frames, bytes, bytes_most, partial;
};

static struct waiting waiting_of(const struct hm_net *net) {
    struct waiting w = {.partial = net->partial_bytes};
    for (const struct hm_conn *conn = net->conns; conn; conn = conn->next) {
        w.frames += conn->out.count;
        w.bytes += conn->out.bytes;
        if (conn->out.bytes > w.bytes_most) w.bytes_most = conn->out.bytes;
    }
    return w;
}

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
    hm_metric_head(out, name, HM_COUNTER, help);
    for (size_t i = 0; i < count; i++)
        hm_metric_count(out, name, label, values[i], counts[i]);
}

static void put_tls(struct hm_buf *out, const struct hm_tls_counts *t) {
    hm_metric_one(out, "hamroh_tls_reloads_total", HM_COUNTER, "Certificates taken while serving",
                  (double)t->reloads);
    hm_metric_one(out, "hamroh_tls_reload_failures_total", HM_COUNTER,
                  "New certificates that could not be taken", (double)t->failures);
    hm_metric_one(out, "hamroh_tls_certificate_expires_seconds", HM_GAUGE,
                  "End of the certificate, Unix time", (double)t->expires_ms / 1000);
}

void hm_metrics(const struct hm_net *net, struct hm_buf *out) {
    const struct hm_net_counts *n = &net->counts;
    const struct hm_feed_counts *f = hm_feed_counts(net->feed);
    struct waiting w = waiting_of(net);
    const struct hm_presence_counts *p = hm_presence_counts(net->presence);
    const struct row rows[] = {
        {"hamroh_sockets", HM_GAUGE, "Sockets of clients of every kind, the listening ones too",
         net->sockets},
        {"hamroh_connections", HM_GAUGE, "WebSocket connections open", net->conn_count},
        {"hamroh_connections_max", HM_GAUGE, "WebSocket connections that may be open",
         net->settings->connections_max},
        {"hamroh_connections_opened_total", HM_COUNTER, "WebSocket connections accepted", n->opened},
        {"hamroh_connections_slow_total", HM_COUNTER, "Connections given up since they did not read",
         n->slow_closed},
        {"hamroh_http_requests_total", HM_COUNTER, "HTTP requests", n->http},
        {"hamroh_http_answering", HM_GAUGE, "HTTP requests whose answer is not sent yet", net->answering},
        {"hamroh_messages_in_total", HM_COUNTER, "JSON-RPC messages received", n->messages_in},
        {"hamroh_messages_out_total", HM_COUNTER, "Messages queued to WebSocket clients", n->messages_out},
        {"hamroh_messages_too_large_total", HM_COUNTER, "Messages and bodies refused for their size",
         n->too_large},
        {"hamroh_sent_bytes_total", HM_COUNTER, "Bytes sent", n->bytes_out},
        {"hamroh_out_queue_frames", HM_GAUGE, "Frames that wait for WebSocket clients, all together",
         w.frames},
        {"hamroh_out_queue_bytes", HM_GAUGE, "The same in bytes", w.bytes},
        {"hamroh_out_queue_most_bytes", HM_GAUGE, "Bytes that wait for the slowest client", w.bytes_most},
        {"hamroh_incomplete_messages_bytes", HM_GAUGE, "Parts of messages that are not complete", w.partial},
        {"hamroh_feed_subscriptions", HM_GAUGE, "Open feeds", f->subscriptions},
        {"hamroh_feed_changes_total", HM_COUNTER, "Changes looked at for the feed", f->changes},
        {"hamroh_feed_checks_total", HM_COUNTER, "Subscriptions looked at for changes", f->checks},
        {"hamroh_feed_encodings_total", HM_COUNTER, "Frames made of changes, however many receive them",
         f->encodings},
        {"hamroh_feed_queued_events", HM_GAUGE, "Events waiting for clients", f->waiting},
        {"hamroh_feed_queued_bytes", HM_GAUGE, "Memory of events waiting for clients", hm_out_feed_bytes()},
        {"hamroh_feed_replaying", HM_GAUGE, "Feeds that read the log", f->replaying},
        {"hamroh_feed_passes_total", HM_COUNTER, "Passes through the log for feeds that resume", f->passes},
        {"hamroh_presence_online", HM_GAUGE, "Persons shown as online", p->online},
        {"hamroh_presence_notices_total", HM_COUNTER, "Persons told that somebody came or went", p->notices},
        {"hamroh_feed_delivered_total", HM_COUNTER, "Events queued to feeds", f->delivered},
        {"hamroh_feed_replayed_total", HM_COUNTER, "Log entries read for feeds that resume", f->replayed},
        {"hamroh_feed_resyncs_total", HM_COUNTER, "Feeds closed since the client was too slow", f->resyncs},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hm_metric_head(out, rows[i].name, rows[i].type, rows[i].help);
        hm_metric_count(out, rows[i].name, NULL, NULL, rows[i].value);
    }
    put_labelled(out, "hamroh_connections_refused_total", "Connections, requests and sign-ins refused",
                 "reason", refusals, n->refused, HM_REFUSALS);
    put_labelled(out, "hamroh_connections_timed_out_total", "Connections given up, by what did not come",
                 "waited_for", lates, n->late, HM_LATES);
    if (net->tls) put_tls(out, hm_tls_counts(net->tls));
    hm_engine_metrics(net->engine, out);
}
