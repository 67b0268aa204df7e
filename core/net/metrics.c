// What /metrics tells (Prometheus text format): the net's own counters and the engine's. Loop thread only. No
// personal data, no names of persons.
#include "net/inside.h"

struct row {
    const char *name, *kind, *help;
    uint64_t value;
};

void hm_metrics(const struct hm_net *net, struct hm_buf *out) {
    const struct hm_net_counts *n = &net->counts;
    const struct hm_feed_counts *f = hm_feed_counts(net->feed);
    const struct hm_presence_counts *p = hm_presence_counts(net->presence);
    const struct row rows[] = {
        {"hamroh_connections", "gauge", "WebSocket connections open", net->conn_count},
        {"hamroh_connections_opened_total", "counter", "WebSocket connections accepted", n->opened},
        {"hamroh_connections_refused_total", "counter", "Connections refused (origin, limit)", n->refused},
        {"hamroh_connections_slow_total", "counter", "Connections given up since they did not read",
         n->slow_closed},
        {"hamroh_http_requests_total", "counter", "HTTP requests", n->http},
        {"hamroh_messages_in_total", "counter", "JSON-RPC messages received", n->messages_in},
        {"hamroh_messages_out_total", "counter", "Messages queued to WebSocket clients", n->messages_out},
        {"hamroh_bytes_out_total", "counter", "Bytes sent", n->bytes_out},
        {"hamroh_feed_subscriptions", "gauge", "Open feeds", f->subscriptions},
        {"hamroh_feed_changes_total", "counter", "Changes looked at for the feed", f->changes},
        {"hamroh_feed_checks_total", "counter", "Subscriptions looked at for changes", f->checks},
        {"hamroh_feed_encodings_total", "counter", "Frames made of changes, however many receive them",
         f->encodings},
        {"hamroh_feed_queued_events", "gauge", "Events waiting for clients", f->waiting},
        {"hamroh_feed_queued_bytes", "gauge", "Memory of events waiting for clients", hm_out_feed_bytes()},
        {"hamroh_feed_replaying", "gauge", "Feeds that read the log", f->replaying},
        {"hamroh_feed_passes_total", "counter", "Passes through the log for feeds that resume", f->passes},
        {"hamroh_feed_delivered_total", "counter", "Events queued to feeds", f->delivered},
        {"hamroh_feed_replayed_total", "counter", "Log entries read for feeds that resume", f->replayed},
        {"hamroh_presence_online", "gauge", "Persons shown as online", p->online},
        {"hamroh_presence_notices_total", "counter", "Persons told that somebody came or went", p->notices},
        {"hamroh_feed_resyncs_total", "counter", "Feeds closed since the client was too slow", f->resyncs},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        hm_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %llu\n", rows[i].name, rows[i].help, rows[i].name,
                      rows[i].kind, rows[i].name, (unsigned long long)rows[i].value);
    hm_engine_metrics(net->engine, out);
}
