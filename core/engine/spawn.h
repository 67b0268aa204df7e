// Starting a worker's process: nothing of the server is inherited but one socket and stderr.
#pragma once
#include "base/error.h"
#include <sys/types.h>

// Starts `exe worker dir`. *fd is our end of the socket (not blocking, close-on-exec), *pidfd names the
// process safely.
bool hm_spawn(const char *exe, const char *dir, int niceness, pid_t *pid, int *fd, int *pidfd,
              struct hm_error *err);
// How far it goes behind others: 0 to 19. Best effort; nothing is done that could not be taken back.
void hm_spawn_nice(pid_t pid, int niceness);
void hm_spawn_kill(int pidfd);            // SIGKILL; nothing happens when it has ended
void hm_spawn_hold(int pidfd, bool hold); // stops it; lets it run again
// True once it has ended (and is reaped); never waits unless `wait`. *signal_or_exit: 128 + signal, or
// the exit code.
bool hm_spawn_reap(int pidfd, bool wait, int *signal_or_exit);
