// What people write to the server's bot in Telegram: the code with which they connect a chat to themselves.
// Asked for with getUpdates, so that nothing outside must be able to reach this server. Loop thread. What
// always holds: an update is asked for anew until what it led to is durable; what it says is in no log. Also
// outgoing.test, an operator's own message.
#include "base/clock.h"
#include "base/log.h"
#include "engine/outgoing.h"

#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#define PATIENCE_S 25 // Telegram answers when somebody has written, or after so long
#define WAIT_US 1000000u
#define WAIT_MAX_US 60000000u

static void started(struct commit_item *item) {
    struct poll *poll = &item->institution->engine->outgoing->poll;
    poll->committing--;
    if (!item->ok || item->commit.code != HM_OK)
        poll->offset = 0; // told once more, as they were not confirmed
}

// A number as text, as it is in the JSON; ids of chats go beyond what a double holds.
static bool number_text(struct hm_json value, char *out, size_t cap) {
    int64_t number;
    if (!hm_json_int(value, &number)) return false;
    snprintf(out, cap, "%lld", (long long)number);
    return true;
}

static void take_update(struct hm_engine *engine, struct hm_json update) {
    struct poll *poll = &engine->outgoing->poll;
    struct hm_json value;
    char chat[24], kind[16], text[128];
    int64_t id = hm_json_number(update, "update_id");
    if (id >= poll->offset) poll->offset = id + 1;
    if (!hm_json_path(update, "message.chat.type", &value) || !hm_json_text(value, kind, sizeof kind) ||
        strcmp(kind, "private") != 0)
        return; // what is written in a group is read by others
    if (!hm_json_path(update, "message.chat.id", &value) || !number_text(value, chat, sizeof chat)) return;
    if (!hm_json_path(update, "message.text", &value) || !hm_json_text(value, text, sizeof text) ||
        strncmp(text, "/start ", 7) != 0)
        return;
    if (hm_contact_started(engine, hm_str_of(text + 7), hm_str_of(chat), started)) poll->committing++;
}

static void polled(void *arg, const struct hm_post_answer *a) {
    struct hm_engine *engine = arg;
    struct poll *poll = &engine->outgoing->poll;
    struct hm_json body, list, item;
    poll->under_way = false;
    if (a->end == HM_POST_STOPPED) return;
    if (a->end == HM_POST_SENT && hm_json_parse(a->body, &body, NULL) && hm_json_get(body, "result", &list)) {
        struct hm_json_iter it = hm_json_iter(list);
        poll->failures = 0;
        poll->said = NULL;
        while (hm_json_next(&it, NULL, &item))
            take_update(engine, item);
        return;
    }
    uint64_t wait = WAIT_US << (poll->failures < 6 ? poll->failures : 6);
    if (wait < (uint64_t)a->wait_s * 1000000u) wait = (uint64_t)a->wait_s * 1000000u;
    poll->failures++;
    poll->not_before_us = hm_mono_us() + (wait < WAIT_MAX_US ? wait : WAIT_MAX_US);
    if (poll->said != a->reason)
        hm_log(HM_WARN, "telegram.not_asked", "\"reason\":\"%s\",\"status\":%d", a->reason, a->status);
    poll->said = a->reason;
}

void hm_telegram_tick(struct hm_engine *engine) {
    struct outgoing *o = engine->outgoing;
    struct making m = {0};
    struct hm_error err = {0};
    if (!o || engine->draining || !hm_channel_ready(&engine->settings, "telegram")) return;
    if (o->poll.under_way || o->poll.committing || hm_mono_us() < o->poll.not_before_us) return;
    if (hm_telegram_url(engine, "getUpdates", &m)) {
        hm_buf_printf(&m.body, "{\"offset\":%lld,\"timeout\":%d,\"allowed_updates\":[\"message\"]}",
                      (long long)o->poll.offset, PATIENCE_S);
        m.timeout_ms = (PATIENCE_S + 15) * 1000;
        hm_making_send(engine, &m, polled, engine, true, &err);
        o->poll.under_way = !err.code;
    }
    if (!o->poll.under_way) o->poll.not_before_us = hm_mono_us() + WAIT_MAX_US;
    hm_making_free(&m);
}

// ---- outgoing.test ------------------------------------------------------------------------------------

static void tested(void *arg, const struct hm_post_answer *a) {
    struct call *call = arg;
    struct hm_buf out = {0};
    if (a->end == HM_POST_STOPPED) {
        hm_call_fail(call, HM_UNAVAILABLE, "the server is shutting down");
        return;
    }
    hm_buf_printf(&out, "{\"sent\":%s", a->end == HM_POST_SENT ? "true" : "false");
    if (a->reason[0]) hm_json_member_str(&out, "reason", hm_str_of(a->reason));
    if (a->status) hm_json_member_int(&out, "status", a->status);
    hm_buf_char(&out, '}');
    if (hm_call_still(call)) hm_call_ok(call, hm_buf_view(&out));
    hm_buf_free(&out);
}

static void outgoing_test(struct call *call) {
    struct making m = {0};
    struct hm_error err = {0};
    struct hm_buf address = {0};
    char channel[16], id[37];
    const char *locale = call->session ? call->session->locale : "en";
    struct hm_str text = hm_str_of(hm_out_word(OUT_TEST, locale));
    hm_arg_text(call, "channel", channel, sizeof channel);
    hm_arg_buf(call, "address", &address);
    hm_uuid7(hm_now_ms(), id);
    bool mail = strcmp(channel, "email") == 0;
    if (!mail && strcmp(channel, "telegram") != 0) {
        hm_call_param(call, "channel", "must be email or telegram");
    } else if (mail && !hm_mail_address_valid(hm_buf_view(&address))) {
        hm_call_param(call, "address", "is no e-mail address");
    } else if (mail ? !hm_make_mail(call->engine, &m, address.data, id, locale, text, text)
                    : !hm_make_telegram(call->engine, &m, address.data ? address.data : "", text)) {
        hm_call_reason(call, HM_CONFLICT, "reason", m.reason);
    } else {
        hm_making_send(call->engine, &m, tested, call, true, &err);
        if (err.code) hm_call_fail_error(call, &err);
    }
    hm_making_free(&m);
    hm_buf_free(&address);
}

static const struct core_method rows[] = {
    {"outgoing.test", ACCESS_CLUSTER, "channel:text! address:long!",
     "Sends a test message to an e-mail address, or to a chat's number in Telegram, now and once; says what "
     "became of it.",
     outgoing_test},
};
const struct core_table hm_methods_outgoing = {rows, sizeof rows / sizeof *rows};
