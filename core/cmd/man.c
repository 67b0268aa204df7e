// See man.h. What stands in the tables is taken as it is, line by line, so that the page and --help cannot
// say different things; the rest of the page is what no table has.
#include "cmd/man.h"
#include "cmd/cmd.h"
#include "cmd/settings.h"

// One line of text as roff: nothing in it is a command, and a hyphen is a minus that can be copied.
static void put_line(struct hm_buf *out, const char *line, size_t len) {
    static const char ellipsis[] = "\xe2\x80\xa6";
    if (len && (line[0] == '.' || line[0] == '\'')) hm_buf_text(out, "\\&");
    for (size_t i = 0; i < len; i++) {
        if (line[i] == '\\') {
            hm_buf_text(out, "\\e");
        } else if (line[i] == '-') {
            hm_buf_text(out, "\\-");
        } else if (line[i] == '\'') {
            hm_buf_text(out, "\\(aq");
        } else if (len - i >= 3 && memcmp(line + i, ellipsis, 3) == 0) {
            hm_buf_text(out, "...");
            i += 2;
        } else {
            hm_buf_char(out, line[i]);
        }
    }
    hm_buf_char(out, '\n');
}

static void put_lines(struct hm_buf *out, const char *text) {
    while (*text) {
        size_t len = strcspn(text, "\n");
        put_line(out, text, len);
        text += len + (text[len] == '\n');
    }
}

static void put_commands(struct hm_buf *out) {
    hm_buf_text(out, ".SH SYNOPSIS\n.B hamroh\n.I COMMAND\n.RI [ OPTION ...]\n.SH DESCRIPTION\n");
    put_lines(
        out,
        "Hamroh is a self-hosted server for student-to-student mentoring. One data folder holds a cluster "
        "of institutions; each command names it with --data DIR or in the environment variable "
        "HAMROH_DATA. A command on a folder that is being served goes through its server, over "
        "DIR/control.sock.");
    hm_buf_text(out, ".SH COMMANDS\n");
    for (const struct hm_command *c = hm_commands; c->name; c++) {
        if (!c->summary) continue;
        hm_buf_text(out, ".SS ");
        put_line(out, c->name, strlen(c->name));
        put_line(out, c->summary, strlen(c->summary));
        hm_buf_text(out, ".PP\n.nf\n");
        put_lines(out, c->help);
        hm_buf_text(out, ".fi\n");
    }
}

static void put_settings(struct hm_buf *out) {
    struct hm_buf text = {0};
    hm_buf_text(out, ".SH SETTINGS\n");
    put_lines(out,
              "A settings file returns one Lua table. `hamroh check-config --defaults` prints one with every "
              "setting commented out; `hamroh check-config FILE` names what is wrong in one. Each setting, "
              "with its default:");
    hm_settings_write_man(&text);
    for (const char *at = text.data; *at;) {
        size_t len = strcspn(at, "\n");
        hm_buf_text(out, ".TP\n.B ");
        put_line(out, at, len);
        at += len + 1;
        len = strcspn(at, "\n");
        put_line(out, at, len);
        at += len + 1;
    }
    hm_buf_free(&text);
}

static const struct {
    const char *title;
    const char *rows[14]; // tag, text, tag, text, …
} sections[] = {
    {"SIGNALS",
     {"SIGTERM, SIGINT",
      "Nobody is accepted any more, calls under way are answered, then every WebSocket is closed with code "
      "1001. "
      "After drain_seconds, or at a second signal, the server ends at once. What was acknowledged is stored "
      "in "
      "either case. Jobs under way, and those that waited, are failed with the words \"server restarted\".",
      "SIGHUP",
      "The settings file and the certificates are read again. The log says what was taken over and what "
      "needs a "
      "restart; of a file with a fault nothing is taken."}},
    {"ENVIRONMENT",
     {"HAMROH_DATA", "The data folder of commands that are given none.", "NOTIFY_SOCKET, WATCHDOG_USEC",
      "As of sd_notify(3): the service manager is told of the start, of reloading and of the end, and twice "
      "within "
      "WATCHDOG_USEC that the server lives, unless a commit has been hanging for longer than that.",
      "LISTEN_FDS, LISTEN_PID",
      "Listening sockets that the service manager hands over are served in place of the setting listen."}},
    {"FILES",
     {"DIR/server.key", "The key of all keys. Keep a copy of it apart from every backup.", "DIR/settings.lua",
      "Settings, when --config names no other file.", "DIR/control.sock",
      "Where commands on this machine reach the server; only the owner may open it.", "DIR/institutions/ID",
      "All of one institution.", "/etc/hamroh/hamroh.lua", "Settings of the packaged service.",
      "/var/lib/hamroh", "Data folder of the packaged service."}},
    {"EXIT STATUS",
     {"0", "Done.", "1", "It could not be done; the reason is on standard error.", "2",
      "The words or the settings are wrong."}},
};

void hm_man_write(struct hm_buf *out) {
    hm_buf_text(
        out, ".\\\" Written by `hamroh help --man`; not by hand.\n.TH HAMROH 1 \"\" \"hamroh " HAMROH_VERSION
             "\" \"Hamroh\"\n.SH NAME\nhamroh \\- server for student\\-to\\-student mentoring\n");
    put_commands(out);
    put_settings(out);
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        hm_buf_printf(out, ".SH %s\n", sections[i].title);
        for (const char *const *row = sections[i].rows; *row; row += 2) {
            hm_buf_text(out, ".TP\n.B ");
            put_line(out, row[0], strlen(row[0]));
            put_line(out, row[1], strlen(row[1]));
        }
    }
}
