// Settings. The file is Lua without any library, stopped after a million instructions, text only: it can
// compute a value and return a table, and nothing else. Runs at start, before anything of the data folder is
// open.
#include "cmd/settings.h"
#include "base/id.h"
#include "base/log.h"
#include "cmd/cmd.h"
#include "net/door.h"
#include "net/tls.h"
#include "post/post.h"
#include <lauxlib.h>
#include <lua.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define INSTALLED "/usr/share/hamroh"
#define STEPS_MAX 100000 // with MEMORY_MAX: what a text that grows step by step costs
// What a bearer token may have (RFC 6750, 2.1)
#define TOKEN_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/="
#define MEMORY_MAX (1u << 20)

enum kind { TEXT, FLAG, CLOCK, LEVEL, COUNT, COUNT64, SIGNED };
struct row {
    const char *name;
    enum kind kind;
    size_t offset, size; // in struct hm_settings
    double low, high;    // range of numbers
    double number;       // default
    const char *text;    // default of TEXT
    const char *help;
};
#define FIELD(member) offsetof(struct hm_settings, member), sizeof(((struct hm_settings *)0)->member)

static const struct row rows[] = {
    {"listen", TEXT, FIELD(listen), 0, 0, 0, "127.0.0.1:8080",
     "ADDRESS:PORT; for any address but this machine's own set tls_certificate, or put a reverse proxy with "
     "TLS in front and name it in trusted_proxy"},
    {"tls_certificate", TEXT, FIELD(tls_certificate), 0, 0, 0, "",
     "PEM file: this server's certificate and the chain above it; read again when it changes"},
    {"tls_key", TEXT, FIELD(tls_key), 0, 0, 0, "", "PEM file: the private key of tls_certificate"},
    {"trusted_proxy", TEXT, FIELD(trusted_proxy), 0, 0, 0, "",
     "reverse proxies, such as \"127.0.0.1, 10.0.0.0/8\": only their X-Forwarded-For is believed"},
    {"allowed_origins", TEXT, FIELD(allowed_origins), 0, 0, 0, "",
     "pages of these origins, too, may call, such as \"https://portal.example.uz\"; the server's own always "
     "may"},
    {"web_dir", TEXT, FIELD(web_dir), 0, 0, 0, NULL, "folder of the built web client"},
    {"plugin_dir", TEXT, FIELD(plugin_dir), 0, 0, 0, NULL, "folder of the plugins that ship with Hamroh"},
    {"backup_dir", TEXT, FIELD(backup_dir), 0, 0, 0, "",
     "folder for backups, better on another disk; empty: DATA/backups"},
    {"watch_dir", TEXT, FIELD(watch_dir), 0, 0, 0, "",
     "for authors of plugins: a folder that serves as the institution's layer, reloaded as files change"},
    {"watch_institution", TEXT, FIELD(watch_institution), 0, 0, 0, "",
     "whose layer watch_dir is; empty: everybody's"},
    {"zone_minutes", SIGNED, FIELD(zone_minutes), -720, 840, 300, NULL,
     "minutes ahead of UTC where an institution says nothing else; 300 is Tashkent"},
    {"workers_max", COUNT, FIELD(workers_max), 1, 64, 2, NULL, "worker processes of one institution"},
    {"plugin_return_window_ms", COUNT, FIELD(plugin_return_window_ms), 0, 604800000, 600000, NULL,
     "a plugin's new version that fails on calls within this time is taken back by itself, ms; 0: never"},
    {"plugin_return_failures", COUNT, FIELD(plugin_return_failures), 1, 1000000, 5, NULL,
     "so many calls must have failed by its fault"},
    {"plugin_return_ratio", COUNT, FIELD(plugin_return_ratio), 0, 100, 20, NULL,
     "and they must be so many in a hundred of the calls of the methods that fail"},
    {"queue_max", COUNT, FIELD(queue_max), 16, 1000000, 20000, NULL,
     "calls of one institution that may wait"},
    {"cpu_ms", COUNT, FIELD(cpu_ms), 10, 60000, 200, NULL, "CPU time of a plugin's method, ms"},
    {"deadline_ms", COUNT, FIELD(deadline_ms), 100, 600000, 5000, NULL,
     "after this time a worker that does not answer is ended, ms"},
    {"memory_bytes", COUNT64, FIELD(memory_bytes), 4194304, 4294967296.0, 67108864, NULL,
     "memory of a plugin's method"},
    {"job_cpu_ms", COUNT, FIELD(job_cpu_ms), 100, 3600000, 600000, NULL, "CPU time of a job, ms"},
    {"job_deadline_ms", COUNT, FIELD(job_deadline_ms), 1000, 7200000, 900000, NULL,
     "longest time of a job, ms"},
    {"job_memory_bytes", COUNT64, FIELD(job_memory_bytes), 16777216, 17179869184.0, 1073741824, NULL,
     "memory of a job"},
    {"output_bytes", COUNT64, FIELD(output_bytes), 1024, 16777216, 1048576, NULL,
     "largest result of a method"},
    {"log_lines", COUNT, FIELD(log_lines), 0, 10000, 100, NULL, "log lines a method may write"},
    {"reaction_tries", COUNT, FIELD(reaction_tries), 1, 100, 8, NULL,
     "how often a plugin's reaction or timer is run that keeps failing, before it is set aside"},
    {"reaction_retry_ms", COUNT, FIELD(reaction_retry_ms), 1, 600000, 1000, NULL,
     "how long the second try waits, ms; each further one twice as long, up to a minute"},
    {"message_bytes", COUNT64, FIELD(message_bytes), 1024, 33554432, 1048576, NULL,
     "largest message from a client"},
    {"connections_max", COUNT, FIELD(connections_max), 16, 1000000, 20000, NULL,
     "connections at the same time"},
    {"connections_per_address", COUNT, FIELD(connections_per_address), 1, 1000000, 1000, NULL,
     "of these, from one address (one /64 of IPv6): a whole university stands behind one"},
    {"connections_per_account", COUNT, FIELD(connections_per_account), 1, 10000, 20, NULL,
     "of these, signed in to one account"},
    {"limit_loopback", FLAG, FIELD(limit_loopback), 0, 0, 0, NULL,
     "count connections of this machine's own programs by address and account, too"},
    {"header_timeout_ms", COUNT, FIELD(header_timeout_ms), 100, 600000, 20000, NULL,
     "from the first byte of a connection, TLS included, to the end of the request's head, ms"},
    {"message_timeout_ms", COUNT, FIELD(message_timeout_ms), 100, 600000, 60000, NULL,
     "for one message or the body of a request to arrive, ms"},
    {"send_timeout_ms", COUNT, FIELD(send_timeout_ms), 100, 600000, 30000, NULL,
     "a client that takes nothing of what is sent to it for so long is given up, ms"},
    {"silence_timeout_ms", COUNT, FIELD(silence_timeout_ms), 100, 3600000, 100000, NULL,
     "a client from which nothing comes for so long is given up; it is asked before half of it is over, ms"},
    {"stranger_timeout_ms", COUNT, FIELD(stranger_timeout_ms), 100, 86400000, 1800000, NULL,
     "a connection on which nobody signs in and nothing is asked for so long is closed, ms"},
    {"feed_queue", COUNT, FIELD(feed_queue), 16, 100000, 1000, NULL,
     "events that may wait for one slow client before it is told to ask again"},
    {"feed_bytes", COUNT64, FIELD(feed_bytes), 1048576, 1099511627776.0, 268435456, NULL,
     "memory for the events that wait for all clients; beyond it the slowest are told to ask again"},
    {"feed_replay", COUNT, FIELD(feed_replay), 0, 100000000, 100000, NULL,
     "changes that are read back for a client that returns; one that missed more reads its lists anew"},
    {"presence_grace_ms", COUNT, FIELD(presence_grace_ms), 0, 600000, 10000, NULL,
     "time after which somebody whose connection ended is shown as gone, ms"},
    {"session_idle_hours", COUNT, FIELD(session_idle_hours), 1, 8760, 336, NULL,
     "a sign-in ends when unused so long"},
    {"session_days", COUNT, FIELD(session_days), 1, 3650, 90, NULL,
     "a sign-in ends after so long in any case"},
    {"staff_totp_required", FLAG, FIELD(staff_totp), 0, 0, 0, NULL,
     "staff (all roles but student) must sign in with a code from their phone as well"},
    {"demo_from_anywhere", FLAG, FIELD(demo_from_anywhere), 0, 0, 0, NULL,
     "let the demo's accounts, whose password everybody knows, sign in from other machines"},
    {"clock", CLOCK, FIELD(clock_manual), 0, 0, 0, NULL,
     "\"system\", or \"manual\" for trials: time stands still until clock.advance; only with an address of "
     "this machine"},
    {"map_bytes", COUNT64, FIELD(map_bytes), 1048576, 1099511627776.0, 67108864, NULL,
     "first size of an institution's memory map; grows by itself"},
    {"map_max", COUNT64, FIELD(map_max), 1048576, 17592186044416.0, 68719476736.0, NULL,
     "size beyond which it does not grow"},
    {"log_level", LEVEL, FIELD(log_level), 0, 0, HM_INFO, NULL,
     "\"debug\" (a line for each call, with its method and time), \"info\", \"warn\" or \"error\""},
    {"log_plugin_texts", FLAG, FIELD(log_plugin_texts), 0, 0, 0, NULL,
     "let the texts that plugins log into the server's log; they may name people"},
    {"log_keep_bytes", COUNT64, FIELD(log_keep_bytes), 0, 67108864, 262144, NULL,
     "memory an institution for what its plugins said last, which its administrators may read"},
    {"metrics_token", TEXT, FIELD(metrics_token), 0, 0, 0, "",
     "/metrics asks everybody for it (Authorization: Bearer …); empty: only this machine may read them"},
    {"public_url", TEXT, FIELD(public_url), 0, 0, 0, "",
     "where people reach the web client, such as \"https://hamroh.example.uz\", for links in messages"},
    {"smtp_url", TEXT, FIELD(smtp_url), 0, 0, 0, "",
     "mail server for messages to people: \"smtp://HOST:587\" (STARTTLS) or \"smtps://HOST:465\"; empty: no "
     "e-mail is sent. hamroh notify test tries it"},
    {"smtp_user", TEXT, FIELD(smtp_user), 0, 0, 0, "", "name with which to sign in there; empty: without"},
    {"smtp_password_file", TEXT, FIELD(smtp_password_file), 0, 0, 0, "",
     "file with the password of smtp_user in one line, readable for the server only"},
    {"smtp_from", TEXT, FIELD(smtp_from), 0, 0, 0, "",
     "sender of its mails, such as \"Hamroh <hamroh@example.uz>\""},
    {"smtp_plain", FLAG, FIELD(smtp_plain), 0, 0, 0, NULL,
     "send also when the mail server offers no encryption; only for one on this machine"},
    {"telegram_token_file", TEXT, FIELD(telegram_token_file), 0, 0, 0, "",
     "file with the token of a bot in one line; empty: nothing is sent to Telegram"},
    {"telegram_bot", TEXT, FIELD(telegram_bot), 0, 0, 0, "", "the bot's name without @, for links"},
    {"telegram_api", TEXT, FIELD(telegram_api), 0, 0, 0, "https://api.telegram.org",
     "where Telegram's bot API is reached"},
    {"webhook_networks", TEXT, FIELD(webhook_networks), 0, 0, 0, "",
     "private addresses or networks that webhooks may reach, such as \"10.1.2.3, 192.168.4.0/24\", there "
     "also "
     "without TLS; all others that are not the internet's are refused"},
    {"outgoing_ca", TEXT, FIELD(outgoing_ca), 0, 0, 0, "",
     "PEM file of the authorities whose certificates are believed when sending; empty: the system's"},
    {"outgoing_days", COUNT, FIELD(outgoing_days), 1, 30, 3, NULL,
     "after so many days a message that cannot be sent is given up"},
    {"outgoing_timeout_ms", COUNT, FIELD(outgoing_timeout_ms), 100, 120000, 15000, NULL,
     "for sending one message, ms"},
    {"outgoing_per_day", COUNT, FIELD(outgoing_per_day), 0, 10000, 20, NULL,
     "messages of news to one address in 24 hours; beyond it they are in the web client only"},
    {"notify_per_call", COUNT, FIELD(notify_per_call), 0, 1000000, 10000, NULL,
     "notifications that one call of a plugin may make"},
    {"notify_per_day", COUNT, FIELD(notify_per_day), 0, 100000000, 100000, NULL,
     "notifications that the plugins of one institution may make in a day"},
    {"drain_seconds", COUNT, FIELD(drain_seconds), 0, 3600, 20, NULL,
     "given to calls under way when the server is asked to end"},
};
#define ROWS (sizeof rows / sizeof rows[0])

// What is looked at each time it matters, so that a server takes it over while it runs (SIGHUP).
static const char *const live[] = {
    "workers_max",
    "queue_max",
    "cpu_ms",
    "deadline_ms",
    "memory_bytes",
    "job_cpu_ms",
    "job_deadline_ms",
    "message_bytes",
    "connections_max",
    "job_memory_bytes",
    "plugin_return_window_ms",
    "plugin_return_failures",
    "plugin_return_ratio",
    "demo_from_anywhere",
    "session_idle_hours",
    "session_days",
    "log_level",
    "log_plugin_texts",
    "metrics_token",
    "drain_seconds",
    "reaction_tries",
    "reaction_retry_ms",
    "public_url",
    "smtp_url",
    "smtp_user",
    "smtp_password_file",
    "smtp_from",
    "smtp_plain",
    "telegram_bot",
    "telegram_api",
    "telegram_token_file",
    "webhook_networks",
    "outgoing_ca",
    "outgoing_days",
    "outgoing_timeout_ms",
    "outgoing_per_day",
    "notify_per_call",
    "notify_per_day",
    "log_keep_bytes",
};

static void put_number(struct hm_settings *settings, const struct row *row, double value) {
    void *at = (char *)settings + row->offset;
    switch (row->kind) {
    case FLAG:
    case CLOCK:
        *(bool *)at = value != 0;
        break;
    case LEVEL:
    case COUNT:
        *(unsigned *)at = (unsigned)value;
        break;
    case COUNT64:
        *(uint64_t *)at = (uint64_t)value;
        break;
    case SIGNED:
        *(int *)at = (int)value;
        break;
    case TEXT:
        break;
    }
}

static void parent(char *path) {
    char *slash = strrchr(path, '/');
    if (slash) *slash = '\0';
}

// The checkout's folder when the program stands in its build/PRESET/, else PREFIX/share/hamroh beside
// PREFIX/bin, else the installed one. A program built elsewhere falls back on the sources it was built from.
static void find_folder(char *out, size_t size, const char *in_checkout, const char *probe,
                        const char *installed, const char *source) {
    char program[400], path[512];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    program[n > 0 ? n : 0] = '\0';
    parent(program);
    parent(program);
    snprintf(path, sizeof path, "%s/share/hamroh/%s", program, installed);
    bool beside = n > 0 && access(path, R_OK) == 0;
    if (beside) snprintf(out, size, "%s", path);
    parent(program);
    snprintf(path, sizeof path, "%s/%s", program, probe);
    if (n > 0 && access(path, R_OK) == 0) {
        snprintf(out, size, "%s/%s", program, in_checkout);
    } else if (!beside) {
        snprintf(path, sizeof path, INSTALLED "/%s", installed);
        snprintf(out, size, "%s",
                 access(path, R_OK) != 0 && access(HAMROH_SOURCE_DIR, R_OK) == 0 ? source : path);
    }
}

void hm_settings_defaults(struct hm_settings *settings) {
    memset(settings, 0, sizeof *settings);
    for (size_t i = 0; i < ROWS; i++) {
        if (rows[i].kind == TEXT)
            snprintf((char *)settings + rows[i].offset, rows[i].size, "%s", rows[i].text ? rows[i].text : "");
        else
            put_number(settings, &rows[i], rows[i].number);
    }
    find_folder(settings->plugin_dir, sizeof settings->plugin_dir, "plugins", "plugins/services", "plugins",
                HAMROH_SOURCE_DIR "/plugins");
    find_folder(settings->web_dir, sizeof settings->web_dir, "web/dist", "web/package.json", "web",
                HAMROH_SOURCE_DIR "/web/dist");
}

// One value at the top of the stack.
static void take(lua_State *L, struct hm_settings *settings, const struct row *row, struct hm_buf *problems) {
    if (row->kind == TEXT) {
        size_t len = 0;
        const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
        if (!text || len >= row->size || strlen(text) != len)
            hm_buf_printf(problems, "%s: takes a text of at most %zu bytes\n", row->name, row->size - 1);
        else
            memcpy((char *)settings + row->offset, text, len + 1);
        return;
    }
    if (row->kind == CLOCK) {
        const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
        bool manual = strcmp(text, "manual") == 0;
        if (!manual && strcmp(text, "system") != 0)
            hm_buf_printf(problems, "%s: takes \"system\" or \"manual\"\n", row->name);
        else
            put_number(settings, row, manual);
        return;
    }
    if (row->kind == LEVEL) {
        enum hm_level level;
        if (lua_type(L, -1) == LUA_TSTRING && hm_level_of(lua_tostring(L, -1), &level))
            put_number(settings, row, level);
        else
            hm_buf_printf(problems, "%s: takes \"debug\", \"info\", \"warn\" or \"error\"\n", row->name);
        return;
    }
    if (row->kind == FLAG) {
        if (lua_isboolean(L, -1))
            put_number(settings, row, lua_toboolean(L, -1));
        else
            hm_buf_printf(problems, "%s: takes true or false\n", row->name);
        return;
    }
    double value = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : NAN;
    if (!(value >= row->low && value <= row->high) || value != floor(value))
        hm_buf_printf(problems, "%s: takes a whole number from %.0f to %.0f\n", row->name, row->low,
                      row->high);
    else
        put_number(settings, row, value);
}

static void unknown(const char *name, struct hm_buf *problems) {
    hm_buf_printf(problems, "%s: there is no such setting", name ? name : "(a value without a name)");
    for (size_t i = 0; name && i < ROWS; i++)
        if (hm_word_near(name, rows[i].name)) hm_buf_printf(problems, "; did you mean %s?", rows[i].name);
    hm_buf_text(problems, " (hamroh check-config --defaults lists them)\n");
}

static void take_all(lua_State *L, struct hm_settings *settings, struct hm_buf *problems) {
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
        const struct row *row = NULL;
        for (size_t i = 0; name && i < ROWS; i++)
            if (strcmp(rows[i].name, name) == 0) row = &rows[i];
        if (row)
            take(L, settings, row, problems);
        else
            unknown(name, problems);
        lua_pop(L, 1);
    }
}

static void too_long(lua_State *L, lua_Debug *ar) {
    (void)ar;
    luaL_error(L, "it runs too long");
}

static bool on_loopback(const char *listen) {
    return strncmp(listen, "127.", 4) == 0 || strncmp(listen, "[::1]", 5) == 0 ||
           strncmp(listen, "localhost:", 10) == 0;
}

static void check_network(const struct hm_settings *s, struct hm_buf *problems) {
    struct hm_networks proxies;
    struct hm_error err = {0};
    if (!s->tls_certificate[0] != !s->tls_key[0])
        hm_buf_text(problems, "tls_certificate, tls_key: set both, or neither\n");
    else if (s->tls_certificate[0] && !hm_tls_check(s->tls_certificate, s->tls_key, NULL, &err))
        hm_buf_printf(problems, "tls_certificate: %s\n", err.message);
    if (!hm_networks_read(s->trusted_proxy, &proxies))
        hm_buf_printf(problems,
                      "trusted_proxy: takes at most %d addresses or networks, such as \"127.0.0.1, "
                      "10.0.0.0/8\"\n",
                      HM_NETWORKS_MAX);
    if (!hm_origins_valid(s->allowed_origins))
        hm_buf_text(problems, "allowed_origins: takes origins without a path, such as "
                              "\"https://portal.example.uz, https://other.example.uz:8443\"\n");
}

void hm_settings_notes(const struct hm_settings *s, struct hm_buf *notes) {
    struct hm_error late = {0}, err = {0};
    if (!on_loopback(s->listen) && !s->tls_certificate[0] && !s->trusted_proxy[0])
        hm_buf_printf(notes,
                      "listen: %s is not of this machine only, and nothing encrypts what goes over it; set "
                      "tls_certificate, or name the proxy in front in trusted_proxy\n",
                      s->listen);
    if (s->tls_certificate[0] && hm_tls_check(s->tls_certificate, s->tls_key, &late, &err) && late.code)
        hm_buf_printf(notes, "tls_certificate: %s\n", late.message);
}

static bool begins(const char *text, const char *a, const char *b) {
    return strncmp(text, a, strlen(a)) == 0 || strncmp(text, b, strlen(b)) == 0;
}

static void check_outgoing(const struct hm_settings *s, struct hm_buf *problems) {
    struct hm_post_networks networks;
    char address[HM_MAIL_ADDRESS_MAX + 1];
    if (s->smtp_url[0] && !begins(s->smtp_url, "smtp://", "smtps://"))
        hm_buf_text(problems, "smtp_url: takes smtp://HOST:PORT or smtps://HOST:PORT\n");
    if (!s->smtp_url[0] != !s->smtp_from[0])
        hm_buf_text(problems, "smtp_url, smtp_from: set both, or neither\n");
    else if (s->smtp_from[0] && !hm_mail_address_of(s->smtp_from, address))
        hm_buf_text(problems, "smtp_from: takes an address, such as \"Hamroh <hamroh@example.uz>\"\n");
    if (!s->smtp_user[0] != !s->smtp_password_file[0])
        hm_buf_text(problems, "smtp_user, smtp_password_file: set both, or neither\n");
    if (!s->telegram_token_file[0] != !s->telegram_bot[0])
        hm_buf_text(problems, "telegram_token_file, telegram_bot: set both, or neither\n");
    if (!begins(s->telegram_api, "https://", "http://"))
        hm_buf_text(problems, "telegram_api: takes an address that begins with https://\n");
    if (s->public_url[0] && !begins(s->public_url, "https://", "http://"))
        hm_buf_text(problems, "public_url: takes an address that begins with https://\n");
    if (!hm_post_networks_read(s->webhook_networks, &networks))
        hm_buf_printf(problems,
                      "webhook_networks: takes at most %d addresses or networks, such as \"10.1.2.3, "
                      "192.168.4.0/24\"\n",
                      HM_POST_NETWORKS);
}

bool hm_settings_check(const struct hm_settings *s, struct hm_buf *problems) {
    size_t before = problems->len;
    check_network(s, problems);
    check_outgoing(s, problems);
    const char *colon = strrchr(s->listen, ':');
    char *end = NULL;
    unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;
    if (!colon || colon == s->listen || colon[1] < '0' || colon[1] > '9' || *end || port > 65535)
        hm_buf_text(problems,
                    "listen: takes an address and a port, such as \"127.0.0.1:8080\" or \"[::1]:8080\"\n");
    if (s->clock_manual && !on_loopback(s->listen))
        hm_buf_printf(problems,
                      "clock: \"manual\" only while listening on an address of this machine, not on %s\n",
                      s->listen);
    if (s->deadline_ms < s->cpu_ms) hm_buf_text(problems, "deadline_ms: must be at least cpu_ms\n");
    if (s->job_deadline_ms < s->job_cpu_ms)
        hm_buf_text(problems, "job_deadline_ms: must be at least job_cpu_ms\n");
    if (s->map_max < s->map_bytes) hm_buf_text(problems, "map_max: must be at least map_bytes\n");
    size_t token = strlen(s->metrics_token);
    if (token && (token < 16 || strspn(s->metrics_token, TOKEN_CHARACTERS) != token))
        hm_buf_text(problems, "metrics_token: takes at least 16 letters, digits, and -._~+/=\n");
    if (s->watch_institution[0] && !hm_name_valid(hm_str_of(s->watch_institution)))
        hm_buf_text(problems, "watch_institution: takes the id of an institution\n");
    return problems->len == before;
}

// A file that only grows a text must end in an error, not in a machine without memory.
static void *limited_alloc(void *arg, void *old, size_t old_size, size_t size) {
    size_t *used = arg;
    size_t before = old ? old_size : 0; // for a new object, old_size is its kind
    void *p = NULL;
    if (size > before && *used - before + size > MEMORY_MAX) return NULL;
    if (size == 0)
        free(old);
    else if (!(p = realloc(old, size)))
        return NULL;
    *used = *used - before + size;
    return p;
}

bool hm_settings_parse(const char *name, struct hm_str text, struct hm_settings *settings,
                       struct hm_buf *problems) {
    size_t before = problems->len, used = 0;
    struct hm_buf chunk = {0};
    lua_State *L = lua_newstate(limited_alloc, &used);
    hm_buf_printf(&chunk, "@%s", name);
    if (!L) {
        hm_buf_text(problems, "there is no memory for Lua\n");
        goto out;
    }
    lua_sethook(L, too_long, LUA_MASKCOUNT, STEPS_MAX);
    // "t": no bytecode. No library is opened: the globals are empty.
    if (luaL_loadbufferx(L, text.ptr ? text.ptr : "", text.len, chunk.data, "t") || lua_pcall(L, 0, 1, 0))
        hm_buf_printf(problems, "%s\n",
                      lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "it raises an error");
    else if (!lua_istable(L, -1) || !lua_checkstack(L, 8))
        hm_buf_printf(problems, "%s: must return a table: return { listen = \"127.0.0.1:8080\" }\n", name);
    else
        take_all(L, settings, problems);
out:
    if (L) lua_close(L);
    hm_buf_free(&chunk);
    return problems->len == before;
}

bool hm_settings_read(const char *path, struct hm_settings *settings, struct hm_buf *problems) {
    struct hm_buf text = {0};
    struct hm_error err = {0};
    bool ok = hm_read_file(path, 1u << 20, &text, &err);
    if (ok)
        ok = hm_settings_parse(path, hm_buf_view(&text), settings, problems);
    else
        hm_buf_printf(problems, "%s\n", err.message);
    hm_buf_free(&text);
    return ok;
}

static bool is_live(const struct row *row) {
    for (size_t i = 0; i < sizeof live / sizeof *live; i++)
        if (strcmp(live[i], row->name) == 0) return true;
    return false;
}

static bool same(const struct row *row, const void *a, const void *b) {
    return row->kind == TEXT ? strcmp(a, b) == 0 : memcmp(a, b, row->size) == 0;
}

void hm_settings_change(const struct hm_settings *in_force, const struct hm_settings *fresh,
                        struct hm_settings *out, struct hm_buf *taken, struct hm_buf *waiting) {
    *out = *in_force;
    for (size_t i = 0; i < ROWS; i++) {
        const struct row *row = &rows[i];
        const char *now = (const char *)fresh + row->offset;
        if (same(row, (const char *)in_force + row->offset, now)) continue;
        struct hm_buf *names = is_live(row) ? taken : waiting;
        hm_buf_printf(names, "%s\"%s\"", names->len ? "," : "", row->name);
        if (is_live(row)) memcpy((char *)out + row->offset, now, row->size);
    }
}

static void put_default(struct hm_buf *out, const struct row *row, const struct hm_settings *defaults) {
    if (row->kind == TEXT)
        hm_buf_printf(out, "\"%s\"", (const char *)defaults + row->offset);
    else if (row->kind == FLAG)
        hm_buf_text(out, row->number != 0 ? "true" : "false");
    else if (row->kind == CLOCK)
        hm_buf_text(out, "\"system\"");
    else if (row->kind == LEVEL)
        hm_buf_printf(out, "\"%s\"", hm_level_name((enum hm_level)row->number));
    else
        hm_buf_printf(out, "%.0f", row->number);
}

void hm_settings_write_defaults(struct hm_buf *out) {
    struct hm_settings defaults;
    hm_settings_defaults(&defaults);
    hm_buf_text(out, "-- Settings of Hamroh, each with its default. Uncomment what you change.\nreturn {\n");
    for (size_t i = 0; i < ROWS; i++) {
        const struct row *row = &rows[i];
        hm_buf_printf(out, "  -- %s", row->help);
        if (row->kind >= COUNT) hm_buf_printf(out, " (%.0f to %.0f)", row->low, row->high);
        hm_buf_char(out, '\n');
        hm_buf_printf(out, "  -- %s = ", row->name);
        put_default(out, row, &defaults);
        hm_buf_text(out, ",\n");
    }
    hm_buf_text(out, "}\n");
}

void hm_settings_write_man(struct hm_buf *out) {
    struct hm_settings defaults;
    hm_settings_defaults(&defaults);
    // Where this very program was found is no default of others.
    snprintf(defaults.plugin_dir, sizeof defaults.plugin_dir, INSTALLED "/plugins");
    snprintf(defaults.web_dir, sizeof defaults.web_dir, INSTALLED "/web");
    for (size_t i = 0; i < ROWS; i++) {
        hm_buf_printf(out, "%s = ", rows[i].name);
        put_default(out, &rows[i], &defaults);
        hm_buf_printf(out, "\n%s%s\n", rows[i].help, is_live(&rows[i]) ? " (taken over on SIGHUP)" : "");
    }
}
