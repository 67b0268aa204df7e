// Errands: work that waits for a disk (copies, destroying keys, looking at every record), each on a thread of
// its own, so that neither the loop nor a commit thread waits with it. What always holds: `done` runs on the
// loop, once, also when the engine closes; while an errand is under way its thread alone has its struct, and
// the call it belongs to.
#include "engine/internal.h"

static void errand_back(struct posted *posted) {
    struct errand *e = (struct errand *)posted;
    struct errand **at = &e->engine->errands;
    if (!e->joined) pthread_join(e->thread, NULL);
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    e->done(e);
}

static void *errand_main(void *arg) {
    struct errand *e = arg;
    struct hm_engine *engine = e->engine;
    e->run(e);
    hm_engine_post(engine, &e->posted); // from here on it may be gone
    return NULL;
}

bool hm_errand_start(struct hm_engine *engine, struct errand *e, struct hm_error *err) {
    if (engine->closing) return hm_fail(err, HM_UNAVAILABLE, "the server is shutting down");
    e->engine = engine;
    e->posted.run = errand_back;
    e->joined = false;
    e->next = engine->errands;
    engine->errands = e;
    if (pthread_create(&e->thread, NULL, errand_main, e) == 0) return true;
    engine->errands = e->next;
    return hm_fail(err, HM_UNAVAILABLE, "no thread for it now; try again");
}

void hm_errands_wait(struct hm_engine *engine) {
    for (struct errand *e = engine->errands; e; e = e->next) {
        pthread_join(e->thread, NULL);
        e->joined = true;
    }
}
