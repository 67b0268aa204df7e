// See helper.h. One thread, and none other when it forks.
#include "cmd/helper.h"
#include "base/buf.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

void hm_helper_init(struct hm_helper *helper) {
    *helper = (struct hm_helper){.log_fd = -1};
}

bool hm_helper_start(struct hm_helper *helper, const char *data_dir, struct hm_error *err) {
    char exe[4096];
    ssize_t len = readlink("/proc/self/exe", exe, sizeof exe - 1);
    exe[len > 0 ? len : 0] = '\0';
    helper->log_fd = memfd_create("hamroh-serve", MFD_CLOEXEC);
    int none = open("/dev/null", O_RDWR | O_CLOEXEC);
    pid_t parent = getpid();
    pid_t pid = len > 0 && helper->log_fd >= 0 && none >= 0 ? fork() : -1;
    if (pid == 0) {
        // Ends with the command, also when that is killed. Ctrl-C is the command's alone: it stops us in
        // order.
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent) _exit(1);
        setpgid(0, 0);
        dup2(none, STDIN_FILENO);
        dup2(none, STDOUT_FILENO);
        dup2(helper->log_fd, STDERR_FILENO);
        execl(exe, "hamroh", "serve", "--data", data_dir, "--control-only", (char *)NULL);
        _exit(127);
    }
    int saved = errno;
    if (none >= 0) close(none);
    if (pid < 0)
        return hm_fail(err, HM_UNAVAILABLE, "cannot start a server for %s: %s", data_dir, strerror(saved));
    helper->pid = pid;
    return true;
}

bool hm_helper_ended(struct hm_helper *helper) {
    if (!helper->pid) return false;
    if (waitpid(helper->pid, &helper->status, WNOHANG) != helper->pid) return false;
    helper->pid = 0;
    return true;
}

void hm_helper_words(const struct hm_helper *helper, char out[400]) {
    char text[4096];
    off_t size = lseek(helper->log_fd, 0, SEEK_END);
    off_t from = size > (off_t)sizeof text - 1 ? size - (off_t)sizeof text + 1 : 0;
    ssize_t len = pread(helper->log_fd, text, sizeof text - 1, from);
    if (len < 0) len = 0;
    while (len > 0 && text[len - 1] == '\n')
        len--;
    text[len] = '\0';
    char *line = strrchr(text, '\n');
    line = line ? line + 1 : text;
    static const char prefix[] = "hamroh serve: ";
    if (strncmp(line, prefix, sizeof prefix - 1) == 0) line += sizeof prefix - 1;
    snprintf(out, 400, "%.399s", line[0] ? line : "its server ended without a word");
}

bool hm_helper_outrun(const struct hm_helper *helper) {
    char words[400];
    hm_helper_words(helper, words);
    return strstr(words, " by process ") != NULL;
}

static void print_log(int log_fd) {
    char text[4096];
    ssize_t len;
    for (off_t at = 0; (len = pread(log_fd, text, sizeof text, at)) > 0; at += len)
        fwrite(text, 1, (size_t)len, stderr);
}

void hm_helper_stop(struct hm_helper *helper) {
    if (helper->pid) {
        kill(helper->pid, SIGTERM);
        while (waitpid(helper->pid, &helper->status, 0) < 0 && errno == EINTR)
            continue;
        if (helper->status != 0 && !hm_helper_outrun(helper)) {
            fprintf(stderr,
                    "hamroh: the server that ran for this command ended badly (wait status %#x); it said:\n",
                    (unsigned)helper->status);
            print_log(helper->log_fd);
        }
    }
    if (helper->log_fd >= 0) close(helper->log_fd);
    hm_helper_init(helper);
}
