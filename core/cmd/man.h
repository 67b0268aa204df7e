// The manual page, written from the tables: commands (table.c) and settings (settings.c). One thread.
#pragma once
#include "base/buf.h"

void hm_man_write(struct hm_buf *out); // roff, for `man -l`
