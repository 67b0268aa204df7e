// The raw limit beside record.get: libwebsockets on libev, alone, answering every message with a text of a
// fixed size.
//   raw_echo BYTES        prints its port
#include <ev.h>
#include <libwebsockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OWED_MAX 4096

static size_t answer_len;
static unsigned char *answer; // LWS_PRE bytes before it
struct session {
    unsigned owed;
};

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len) {
    struct session *s = user;
    (void)in;
    (void)len;
    switch (reason) {
    case LWS_CALLBACK_RECEIVE:
        if (!lws_is_final_fragment(wsi)) return 0;
        if (s->owed++ == 0) lws_callback_on_writable(wsi);
        return s->owed > OWED_MAX ? -1 : 0;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        while (s->owed && !lws_partial_buffered(wsi)) {
            if (lws_write(wsi, answer + LWS_PRE, answer_len, LWS_WRITE_TEXT) < 0) return -1;
            s->owed--;
        }
        if (s->owed) lws_callback_on_writable(wsi);
        return 0;
    default:
        return 0;
    }
}

static const struct lws_protocols protocols[] = {
    {.name = "jsonrpc",
     .callback = callback,
     .per_session_data_size = sizeof(struct session),
     .rx_buffer_size = 512,
     .tx_packet_size = 1u << 20},
    {0},
};

int main(int argc, char **argv) {
    struct ev_loop *loop = ev_default_loop(0);
    void *loops[] = {loop};
    answer_len = argc > 1 ? strtoul(argv[1], NULL, 10) : 500;
    answer = malloc(LWS_PRE + answer_len);
    if (!answer) return 1;
    memset(answer + LWS_PRE, 'x', answer_len);
    lws_set_log_level(LLL_ERR, NULL);
    struct lws_context_creation_info info = {
        .port = 0,
        .iface = "127.0.0.1",
        .protocols = protocols,
        .options =
            LWS_SERVER_OPTION_LIBEV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_DISABLE_IPV6,
        .foreign_loops = loops,
        .gid = -1,
        .uid = -1,
    };
    struct lws_context *context = lws_create_context(&info);
    struct lws_vhost *vhost = context ? lws_create_vhost(context, &info) : NULL;
    if (!vhost) return 1;
    printf("port %d\n", lws_get_vhost_listen_port(vhost));
    fflush(stdout);
    ev_run(loop, 0);
    return 0;
}
