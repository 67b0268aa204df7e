// What a service manager (systemd) and a service tell each other: NOTIFY_SOCKET, LISTEN_FDS, WATCHDOG_USEC.
// The protocol is a datagram of lines and three variables of the environment, so no library is needed. One
// thread, at start; hm_service_tell also later.
#pragma once
#include "net/net.h"

// Takes the variables out of the environment: no process that is started later is to act on them.
void hm_service_begin(void);
// Sends lines such as "READY=1\nSTATUS=…"; nothing when nobody asked for it. Whether it was sent.
bool hm_service_tell(const char *format, ...) __attribute__((format(printf, 1, 2)));
// Listening sockets that were handed over. False: what was handed over is not one that can be served.
bool hm_service_sockets(struct hm_sockets *out, struct hm_error *err);
uint64_t hm_service_watchdog_us(void); // within this time it wants to hear of us; 0: it does not watch
