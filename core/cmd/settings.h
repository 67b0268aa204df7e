// The settings file: one Lua table in a file that may do nothing but return it. Every setting is a row of one
// table, from which reading, checking and the commented file of `check-config --defaults` come.
#pragma once
#include "engine/engine.h"

// Defaults; plugin_dir and web_dir are looked for beside the program (a checkout) and in /usr/share/hamroh.
void hm_settings_defaults(struct hm_settings *settings);
// Reads path over what settings holds. All problems are appended to `problems`, one a line, each with the
// setting's name and what it takes; false when there were any (settings is then half filled and must not be
// used).
bool hm_settings_read(const char *path, struct hm_settings *settings, struct hm_buf *problems);
// The same of a text; name: how errors call it.
bool hm_settings_parse(const char *name, struct hm_str text, struct hm_settings *settings,
                       struct hm_buf *problems);
// What must hold between settings, once options of the command line were laid over the file; problems as
// above.
bool hm_settings_check(const struct hm_settings *settings, struct hm_buf *problems);
// After the file has been read again: `out` gets what is in force, and of `fresh` what may change while
// serving. The names of what changed are appended as members of JSON arrays: `taken`, and `waiting` for a
// restart.
void hm_settings_change(const struct hm_settings *in_force, const struct hm_settings *fresh,
                        struct hm_settings *out, struct hm_buf *taken, struct hm_buf *waiting);
// Each setting as a paragraph of the manual page.
void hm_settings_write_man(struct hm_buf *out);
// What is allowed and still worth a warning, one a line: no TLS towards other machines, a certificate out of
// date.
void hm_settings_notes(const struct hm_settings *settings, struct hm_buf *notes);
void hm_settings_write_defaults(struct hm_buf *out); // a commented settings file
