#include "lib/transport/shim_launch.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "turnout/buf.h"
#include "turnout/mem.h"
#include "lib/transport/shim_files.h"

#define READY_FD 3

struct launch {
    const char *exe, *dir;
    char **env; /* of the shim */
    int ready, null;
};

void tn_shim_changes_read(int fd)
{
    char events[4096];
    while (read(fd, events, sizeof(events)) > 0) {
    }
}

/* Between fork and exec of a program with threads: async-signal-safe calls only. */
static _Noreturn void become_shim(const struct launch *l)
{
    static char name[] = "turnout", verb[] = "__shim";
    char *argv[] = {name, verb, (char *)(uintptr_t)l->dir, NULL};
    umask(077);
    /* Above what is about to be written over. */
    int ready = fcntl(l->ready, F_DUPFD_CLOEXEC, READY_FD + 1),
        null = fcntl(l->null, F_DUPFD_CLOEXEC, READY_FD + 1);
    bool placed = ready >= 0 && null >= 0 && chdir("/") == 0;
    for (int fd = 0; fd < READY_FD && placed; fd++)
        placed = dup2(null, fd) >= 0;
    if (placed && dup2(ready, READY_FD) >= 0) {
        (void)close_range(READY_FD + 1, ~0U, CLOSE_RANGE_CLOEXEC);
        execve(l->exe, argv, l->env);
    }
    static const char text[] = "the shim cannot be executed";
    ssize_t n = write(ready >= 0 ? ready : l->ready, text, sizeof(text) - 1);
    _exit(n < 0 ? 126 : 127);
}

/* Twice forked, so that it is nobody's child here and cannot get a terminal again. What fails after the first
 * fork is told through the pipe: the exit status of the child in between is changed by memory checkers. */
static int detach(const struct launch *l, struct tn_error **err)
{
    static const char text[] = "the shim cannot be forked";
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0) {
        (void)setsid();
        pid = fork();
        if (pid == 0)
            become_shim(l);
        ssize_t n = pid < 0 ? write(l->ready, text, sizeof(text) - 1) : 0;
        _exit(n < 0 ? 1 : 0);
    }
    int saved = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pid < 0)
        return tn_error_errno(err, TN_EFAIL, saved, "run folder '%s': cannot fork", l->dir);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
    return TN_OK;
}

static char **shim_env(const char *dir)
{
    struct tn_shim_spec spec = {0};
    if (tn_shim_spec_read(dir, &spec, NULL) == TN_OK && spec.inherit_env) {
        char **all = TN_TAKE(spec.env);
        tn_shim_spec_clear(&spec);
        return all;
    }
    tn_shim_spec_clear(&spec);
    static const char *const kept[] = {"PATH", "HOME", "LANG", "TZ"};
    char **env = tn_alloc((TN_COUNT(kept) + 1) * sizeof(*env));
    size_t n = 0;
    for (size_t i = 0; i < TN_COUNT(kept); i++)
        if (getenv(kept[i]))
            env[n++] = tn_format("%s=%s", kept[i], getenv(kept[i]));
    return env;
}

static int await_ready(struct tn_cancel *c, int fd, int64_t deadline, struct tn_error **err)
{
    tn_autobuf text = TN_BUF_INIT(512);
    for (;;) {
        char piece[256];
        int rc = tn_wait_fd(c, "the shim to begin", fd, deadline, err);
        if (rc == 0)
            return tn_error_set(err, TN_ETIMEOUT, "the shim does not begin");
        if (rc < 0)
            return rc;
        ssize_t n = read(fd, piece, sizeof(piece));
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (n <= 0)
            break;
        tn_buf_add(&text, piece, (size_t)n);
    }
    return text.len > 0 ? tn_error_set(err, TN_EFAIL, "%s", text.data) : TN_OK;
}

int tn_shim_launch(struct tn_cancel *c, const char *dir, int64_t deadline_ms, struct tn_error **err)
{
    const char *exe = getenv("TURNOUT_SHIM_EXE");
    int p[2];
    if (pipe2(p, O_CLOEXEC) < 0)
        return tn_error_errno(err, TN_EFAIL, errno, "run folder '%s': cannot make a pipe", dir);
    tn_autoclose int from = p[0];
    int to = p[1];
    tn_autoclose int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    struct launch l = {.exe = exe && *exe ? exe : "/proc/self/exe", .dir = dir, .ready = to, .null = null};
    l.env = shim_env(dir);
    int rc = detach(&l, err);
    close(to);
    for (char **e = l.env; *e; e++)
        free(*e);
    free(l.env);
    return rc == TN_OK ? await_ready(c, from, deadline_ms, err) : rc;
}
