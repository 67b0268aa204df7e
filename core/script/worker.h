// The worker process: `hamroh worker ENVIRONMENT_DIR`, started by the engine with its socket on descriptor
// HM_WORKER_FD. Loads the plugins, drops its privileges, then runs calls until the socket closes. Returns the
// exit code.
#pragma once
int hm_worker_main(int argc, char **argv);
