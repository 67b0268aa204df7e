// The way out: accept nobody, let the engine answer what was asked, let the answers leave, say goodbye. Loop
// thread only. What always holds: `drained` is called once, when no call is open, no HTTP answer is unsent
// and no WebSocket is open any more; whoever is in a hurry closes the net instead.
#include "base/log.h"
#include "net/inside.h"
#include <stdlib.h>

#define LOOK_S 0.02       // between two looks at what is left to be sent
#define PATIENT_LOOKS 100 // so long, who still sends is read and told that the server is stopping

struct hm_drain {
    struct hm_net *net;
    struct ev_timer look;
    unsigned looks;
    void (*drained)(void *arg);
    void *arg;
};

static void on_look(struct ev_loop *loop, struct ev_timer *timer, int events) {
    struct hm_drain *drain = timer->data;
    (void)events;
    // Requests that are still coming in are not waited for: a call in them would be refused.
    bool left = drain->net->lws && hm_ws_say_goodbye(drain->net, drain->looks++ < PATIENT_LOOKS) > 0;
    if (left || drain->net->answering) return;
    ev_timer_stop(loop, timer);
    drain->drained(drain->arg);
}

static void on_answered(void *arg) {
    struct hm_drain *drain = arg;
    hm_log(HM_INFO, "net.answered", "\"connections\":%u,\"http\":%u", drain->net->conn_count,
           drain->net->answering);
    ev_timer_start(drain->net->loop, &drain->look);
}

void hm_net_drain(struct hm_net *net, void (*drained)(void *arg), void *arg) {
    struct hm_drain *drain = hm_alloc(sizeof *drain);
    drain->net = net;
    drain->drained = drained;
    drain->arg = arg;
    ev_timer_init(&drain->look, on_look, 0., LOOK_S);
    drain->look.data = drain;
    net->drain = drain;
    net->draining = true;
    hm_listen_stop(net->listening);
    hm_engine_drain(net->engine, on_answered, drain);
}

void hm_drain_free(struct hm_drain *drain) {
    if (!drain) return;
    ev_timer_stop(drain->net->loop, &drain->look);
    free(drain);
}
