// One change as a frame. Loop thread only. Who may see what is decided by hm_access_meets alone.
#include "net/feed_event.h"
#include "base/json.h"
#include "net/rpc.h"

static const char *action_name(enum hm_action action) {
    return action == HM_CREATED ? "created" : action == HM_UPDATED ? "updated" : "deleted";
}

static struct hm_out *encode(const struct hm_change *change, enum hm_action action) {
    struct hm_buf params = {0}, text = {0};
    hm_buf_reserve(&params, change->json.len + 256);
    hm_buf_char(&params, '{');
    hm_json_member_int(&params, "seq", (int64_t)change->seq);
    hm_json_member_int(&params, "time", change->time_ms);
    hm_json_member_str(&params, "type", change->type);
    hm_json_member_str(&params, "id", change->id);
    hm_json_member_str(&params, "action", hm_str_of(action_name(action)));
    if (change->by.len)
        hm_json_member_str(&params, "by", change->by);
    else
        hm_json_member_raw(&params, "by", HM_LIT("null"));
    if (action != HM_DELETED && change->json.len) hm_json_member_raw(&params, "record", change->json);
    hm_buf_char(&params, '}');
    hm_rpc_put_notice(&text, "feed.event", hm_buf_view(&params));
    struct hm_out *out = hm_out_new_for_feed(hm_buf_view(&text), change->seq);
    hm_buf_free(&text);
    hm_buf_free(&params);
    return out;
}

static struct hm_out *frame_of(struct hm_event *event, struct hm_out **made, enum hm_action action) {
    if (!*made) {
        *made = encode(event->change, action);
        event->encodings++;
    }
    return *made;
}

struct hm_out *hm_event_for(struct hm_event *event, const struct hm_principals *principals) {
    const struct hm_change *change = event->change;
    if (hm_access_meets(principals, change->audience)) {
        bool gone = event->past && !hm_access_meets(principals, event->now);
        return gone ? frame_of(event, &event->gone, HM_DELETED)
                    : frame_of(event, &event->full, change->action);
    }
    if (change->lost.len && hm_access_meets(principals, change->lost))
        return frame_of(event, &event->gone, HM_DELETED);
    return NULL;
}

void hm_event_free(struct hm_event *event) {
    hm_out_unref(event->full);
    hm_out_unref(event->gone);
    event->full = event->gone = NULL;
}
