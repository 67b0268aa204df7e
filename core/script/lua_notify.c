// notify: telling people and programs. A plugin cannot open sockets: what it says here is an intent of its
// call, which the server looks at, keeps, and sends on (engine/notify.c, engine/outgoing.c). What always
// holds: nothing is told when the call fails or runs again; nothing leaves from a test or a try.
#include "script/host.h"

#include <lauxlib.h>
#include <sodium.h>

#define TEXT_BYTES 1000u
#define DATA_BYTES 65536u
#define ARGS_BYTES 4096u

static const char *const languages[] = {"uz", "uz-Cyrl", "ru", "en"};

static void must_write(lua_State *L, const char *what) {
    if (!hm_host_of(L)->call.may_write) luaL_error(L, "%s: this method does not declare writes=true", what);
}

static void check_name(lua_State *L, int index, const char *what) {
    if (!hm_name_valid(hm_check_str(L, index)))
        luaL_error(L, "%s: must be small letters, digits, _ . -, a letter first, 64 at most", what);
}

// Field `name` of the options at 2, at the top of the stack; with its type checked unless it is nil.
static bool option(lua_State *L, const char *name, int type) {
    int is = lua_getfield(L, 2, name);
    if (is != LUA_TNIL && is != type)
        luaL_error(L, "notify.person: %s must be a %s", name, lua_typename(L, type));
    return is != LUA_TNIL;
}

static void check_text(lua_State *L) {
    if (!option(L, "text", LUA_TTABLE)) luaL_error(L, "notify.person: text is missing");
    for (size_t i = 0; i < sizeof languages / sizeof *languages; i++) {
        size_t len = 0;
        const char *text =
            lua_getfield(L, -1, languages[i]) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
        if (!text || !len || len > TEXT_BYTES)
            luaL_error(L, "notify.person: text.%s must be a text of 1 to %d bytes", languages[i],
                       (int)TEXT_BYTES);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

// The options may hold what is no member of a notification: only what is one goes into the table at the top.
static void take_options(lua_State *L) {
    lua_createtable(L, 0, 8);
    check_text(L);
    lua_getfield(L, 2, "text");
    lua_setfield(L, 3, "text");
    if (!option(L, "key", LUA_TSTRING)) luaL_error(L, "notify.person: key is missing");
    check_name(L, -1, "notify.person: key");
    lua_setfield(L, 3, "key");
    if (option(L, "action", LUA_TSTRING) && lua_rawlen(L, -1) > 200)
        luaL_error(L, "notify.person: action has 200 bytes at most");
    lua_setfield(L, 3, "action");
    if (option(L, "args", LUA_TTABLE) && hm_check_json(L, -1, 1, "notify.person: args").raw.len > ARGS_BYTES)
        luaL_error(L, "notify.person: args have %d bytes at most", (int)ARGS_BYTES);
    lua_setfield(L, 3, "args");
    option(L, "urgent", LUA_TBOOLEAN);
    lua_setfield(L, 3, "urgent");
    option(L, "safe", LUA_TBOOLEAN);
    lua_setfield(L, 3, "safe");
    lua_pushvalue(L, 1);
    lua_setfield(L, 3, "person");
}

// With `once`, the same news of a person has the same id whenever it is told.
static void make_id(lua_State *L, struct hm_host *host, char id[65]) {
    if (option(L, "once", LUA_TSTRING)) {
        struct hm_buf *text = hm_scratch(host, 2);
        uint8_t hash[16];
        hm_buf_str(text, hm_check_str(L, 1));
        hm_buf_char(text, '\n');
        hm_buf_str(text, hm_check_str(L, -1));
        crypto_generichash(hash, sizeof hash, (const uint8_t *)text->data, text->len, NULL, 0);
        sodium_bin2hex(id, 65, hash, sizeof hash);
    } else {
        uint8_t bytes[10];
        hm_random_bytes(&host->call.random, bytes, sizeof bytes);
        hm_uuid7_from(host->call.now_ms, bytes, id);
    }
    lua_pop(L, 1);
}

static void put(lua_State *L, struct hm_host *host, const char *type, const char *id, struct hm_json data) {
    struct hm_error err = {0};
    struct hm_write_args args = {.type = hm_str_of(type),
                                 .id = hm_str_of(id),
                                 .data = data.raw,
                                 .create = true,
                                 .by = hm_str_of(host->call.who.person),
                                 .now_ms = host->call.now_ms};
    if (!hm_tx_put(host->tx, &args, &err)) hm_raise_error(L, &err);
}

static int notify_person(lua_State *L) {
    struct hm_host *host = hm_host_of(L);
    struct hm_error err = {0};
    struct hm_view view;
    char id[65];
    must_write(L, "notify.person");
    if (!hm_id_valid(hm_check_str(L, 1)))
        return luaL_error(L, "notify.person: the first is the id of a person");
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    take_options(L);
    make_id(L, host, id);
    bool told = hm_tx_get(host->tx, HM_LIT("notification"), hm_str_of(id), &view, &err);
    if (!told && err.code != HM_NOT_FOUND) hm_raise_error(L, &err);
    if (told) {
        lua_pushnil(L);
    } else {
        put(L, host, "notification", id, hm_check_json(L, 3, 0, "notify.person"));
        lua_pushstring(L, id);
    }
    return 1;
}

static int notify_webhook(lua_State *L) {
    struct hm_host *host = hm_host_of(L);
    struct hm_error err = {0};
    struct hm_view view;
    uint8_t bytes[10];
    char id[37];
    must_write(L, "notify.webhook");
    check_name(L, 1, "notify.webhook: the name");
    check_name(L, 2, "notify.webhook: the event");
    lua_settop(L, 3);
    if (lua_isnil(L, 3)) {
        lua_newtable(L);
        lua_replace(L, 3);
    }
    luaL_checktype(L, 3, LUA_TTABLE);
    struct hm_json data = hm_check_json(L, 3, 1, "notify.webhook: data");
    // An empty table is written as a list.
    if (data.kind == HM_JSON_ARRAY && hm_json_count(data) == 0)
        data = (struct hm_json){HM_JSON_OBJECT, HM_LIT("{}")};
    if (data.kind != HM_JSON_OBJECT || data.raw.len > DATA_BYTES)
        return luaL_error(L, "notify.webhook: data must be a table with names, of %d bytes at most",
                          (int)DATA_BYTES);
    if (!hm_tx_get(host->tx, HM_LIT("webhook"), hm_check_str(L, 1), &view, &err)) {
        if (err.code != HM_NOT_FOUND) hm_raise_error(L, &err);
        if (!host->call.testing) { // a test sees what would be sent
            lua_pushboolean(L, false);
            return 1;
        }
    }
    struct hm_buf *out = hm_scratch(host, 0);
    hm_buf_char(out, '{');
    hm_json_member_str(out, "webhook", hm_check_str(L, 1));
    hm_json_member_str(out, "event", hm_check_str(L, 2));
    hm_json_member_raw(out, "data", data.raw);
    hm_buf_char(out, '}');
    hm_random_bytes(&host->call.random, bytes, sizeof bytes);
    hm_uuid7_from(host->call.now_ms, bytes, id);
    put(L, host, "outgoing", id, (struct hm_json){HM_JSON_OBJECT, hm_buf_view(out)});
    lua_pushboolean(L, true);
    return 1;
}

static const struct hm_lua_fn fns[] = {{"person",
                                        "person: string, news: {key: string, text: table, action: string?, "
                                        "urgent: boolean?, safe: boolean?, once: string?, "
                                        "args: table?} -> string?",
                                        "Tells somebody of the institution: in the web client, and where "
                                        "they asked for it by e-mail or Telegram. key: what it is "
                                        "about, such as \"meeting.proposed\"; its first word is what one can "
                                        "choose to be told of. text: in uz, uz-Cyrl, ru, en. "
                                        "action: the screen it leads to, such as \"pair/ID\". urgent: also "
                                        "in quiet hours. safe: the text holds nothing private, "
                                        "so that it may be sent outside; else only that there is news. once: "
                                        "told already under this word, it is not told again "
                                        "(nil). Gives its id.",
                                        notify_person, NULL},
                                       {"webhook", "name: string, event: string, data: table? -> boolean",
                                        "An event for another program, where an administrator has set up a "
                                        "webhook of this name; false when there is none. data "
                                        "goes out of the house: ids rather than names.",
                                        notify_webhook, NULL},
                                       {0}};
const struct hm_lua_module hm_module_notify = {
    "notify", "Telling people and programs: kept with what the call writes, sent by the server.", fns, false};
