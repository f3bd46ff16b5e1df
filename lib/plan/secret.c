/* Secrets: env://NAME, file://PATH, exec:///PROGRAM ARGUMENT… No value ever gets into a message. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "turnout/cancel.h"
#include "turnout/clock.h"
#include "turnout/fs.h"
#include "lib/base/hash.h"
#include "lib/plan/load.h"

#define MAX_SECRET      ((size_t)64 << 10)
#define MAX_ARGUMENTS   64
#define EXEC_TIMEOUT_MS 30000

void tn_secret_free(char *value, size_t len)
{
    if (value)
        tn_wipe(value, len);
    free(value);
}

static char *from_env(const struct tn_secret *s, const char *name, size_t *out_len, struct tn_error **err)
{
    const char *value = getenv(name);
    if (!value) {
        tn_error_set(err, TN_ENOTFOUND, "secret '%s': the environment variable '%s' is not set", s->name,
                     name);
        return NULL;
    }
    *out_len = strlen(value);
    if (*out_len <= MAX_SECRET)
        return tn_strdup(value);
    tn_error_set(err, TN_ELIMIT, "secret '%s': larger than %zu bytes", s->name, MAX_SECRET);
    return NULL;
}

/* One line break at the end belongs to the file, not to the secret. */
static char *trimmed(const struct tn_secret *s, char *value, size_t *len, struct tn_error **err)
{
    if (*len > 0 && value[*len - 1] == '\n')
        value[--*len] = '\0';
    if (*len > 0 && value[*len - 1] == '\r')
        value[--*len] = '\0';
    if (!memchr(value, '\0', *len))
        return value;
    tn_secret_free(value, *len);
    tn_error_set(err, TN_EFAIL, "secret '%s': holds a NUL byte", s->name);
    return NULL;
}

static char *from_file(const struct tn_plan *p, const struct tn_secret *s, const char *name, size_t *out_len,
                       struct tn_error **err)
{
    tn_autofree char *path = tn_path_join(p->dir, name);
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        tn_error_set(err, TN_EIO, "secret '%s': '%s' is not a regular file", s->name, name);
        return NULL;
    }
    char *value = tn_fs_read(path, MAX_SECRET, out_len, err);
    if (value)
        return trimmed(s, value, out_len, err);
    tn_error_prefix(err, "secret '%s'", s->name);
    return NULL;
}

/* ---- exec ------------------------------------------------------------------------------------------- */

struct child {
    pid_t pid;
    int pidfd;
    int out; /* read end of its stdout */
};

static int start(const struct tn_plan *p, const struct tn_secret *s, char *const *argv, struct child *child,
                 struct tn_error **err)
{
    int pipe_fds[2];
    tn_autofree char *program = tn_path_join(p->dir, argv[0]);
    if (access(program, F_OK) != 0 && errno == ENOENT)
        return tn_error_set(err, TN_ENOTFOUND, "secret '%s': '%s' is not there", s->name, argv[0]);
    if (pipe2(pipe_fds, O_CLOEXEC) != 0)
        return tn_error_errno(err, TN_EFAIL, errno, "secret '%s': pipe", s->name);
    child->pid = fork();
    if (child->pid == 0) {
        /* Only async-signal-safe calls: other threads may hold locks. */
        int null = open("/dev/null", O_RDWR);
        if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDERR_FILENO) < 0 ||
            dup2(pipe_fds[1], STDOUT_FILENO) < 0 || chdir(p->dir) != 0)
            _exit(126);
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        signal(SIGPIPE, SIG_DFL);
        setpgid(0, 0);
        execv(argv[0], argv);
        _exit(errno == ENOENT ? 127 : 126);
    }
    close(pipe_fds[1]);
    child->out = pipe_fds[0];
    child->pidfd = child->pid > 0 ? (int)syscall(SYS_pidfd_open, child->pid, 0) : -1;
    if (child->pid > 0) {
        setpgid(child->pid, child->pid); /* here too: whoever comes first */
        return 0;
    }
    close(child->out);
    return tn_error_errno(err, TN_EFAIL, errno, "secret '%s': fork", s->name);
}

static int read_all(const struct tn_secret *s, struct tn_cancel *c, int fd, char *value, size_t *len,
                    struct tn_error **err)
{
    int64_t deadline = tn_mono_ms() + EXEC_TIMEOUT_MS;
    for (;;) {
        int rc = tn_wait_fd(c, "secret program", fd, deadline, err);
        if (rc < 0)
            return rc;
        if (rc == 0)
            return tn_error_set(err, TN_ETIMEOUT, "secret '%s': its program took longer than %d s", s->name,
                                EXEC_TIMEOUT_MS / 1000);
        ssize_t n = read(fd, value + *len, MAX_SECRET + 1 - *len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return tn_error_errno(err, TN_EIO, errno, "secret '%s': its program", s->name);
        if (n == 0)
            return 0;
        *len += (size_t)n;
        if (*len > MAX_SECRET)
            return tn_error_set(err, TN_ELIMIT, "secret '%s': larger than %zu bytes", s->name, MAX_SECRET);
    }
}

/* Waits for the end of a program whose output is at its end; kills what does not end, and its group. */
static int finish(const struct tn_secret *s, struct tn_cancel *c, const struct child *child, bool failed,
                  const char *program, struct tn_error **err)
{
    int status = 0;
    int rc = failed || child->pidfd < 0
                 ? 0
                 : tn_wait_fd(c, "secret program's end", child->pidfd, tn_mono_ms() + EXEC_TIMEOUT_MS, NULL);
    if (rc != 1) {
        kill(-child->pid, SIGKILL);
        kill(child->pid, SIGKILL);
    }
    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
        ;
    close(child->out);
    if (child->pidfd >= 0)
        close(child->pidfd);
    if (failed)
        return -1;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return tn_error_set(err, TN_ENOTFOUND, "secret '%s': '%s' is not there", s->name, program);
    if (WIFEXITED(status))
        tn_error_set(err, TN_EFAIL, "secret '%s': '%s' exited with %d", s->name, program,
                     WEXITSTATUS(status));
    else
        tn_error_set(err, TN_EFAIL, "secret '%s': '%s' was ended by signal %d", s->name, program,
                     WTERMSIG(status));
    return tn_error_hint(err, "run it by hand: what it writes to stderr is kept out of here");
}

/* Splits at spaces; no quoting, no shell: what needs more is a script. */
static size_t split(char *text, char *argv[MAX_ARGUMENTS + 1])
{
    size_t n = 0;
    char *save = NULL;
    for (char *word = strtok_r(text, " ", &save); word && n < MAX_ARGUMENTS;
         word = strtok_r(NULL, " ", &save))
        argv[n++] = word;
    argv[n] = NULL;
    return n;
}

static char *from_exec(const struct tn_plan *p, const struct tn_secret *s, const char *text, size_t *out_len,
                       struct tn_error **err)
{
    const char *no_exec = getenv("TURNOUT_NO_EXEC");
    if (no_exec && *no_exec && strcmp(no_exec, "0") != 0) {
        tn_error_set(err, TN_EUNSUPPORTED, "secret '%s': TURNOUT_NO_EXEC forbids to run its program",
                     s->name);
        return NULL;
    }
    char *argv[MAX_ARGUMENTS + 1];
    tn_autofree char *words = tn_strdup(text);
    struct child child = {0};
    if (split(words, argv) == 0 || start(p, s, argv, &child, err) != 0)
        return NULL;
    struct tn_cancel *c = tn_cancel_new();
    char *value = tn_alloc(MAX_SECRET + 2);
    size_t len = 0;
    bool failed = read_all(s, c, child.out, value, &len, err) != 0;
    int rc = finish(s, c, &child, failed, argv[0], err);
    tn_cancel_free(c);
    if (rc == 0) {
        char *exact = tn_alloc(len + 1);
        memcpy(exact, value, len);
        tn_secret_free(value, MAX_SECRET + 2);
        *out_len = len;
        return trimmed(s, exact, out_len, err);
    }
    tn_secret_free(value, MAX_SECRET + 2);
    return NULL;
}

char *tn_secret_resolve(const struct tn_plan *p, const char *name, size_t *out_len, struct tn_error **err)
{
    const struct tn_secret *s = tn_plan_secret(p, name);
    size_t len = 0;
    char *value = NULL;
    if (!s)
        tn_error_set(err, TN_ENOTFOUND, "the plan has no secret '%s'", name);
    else if (tn_starts_with(s->from, "env://"))
        value = from_env(s, s->from + 6, &len, err);
    else if (tn_starts_with(s->from, "file://"))
        value = from_file(p, s, s->from + 7, &len, err);
    else if (tn_starts_with(s->from, "exec://"))
        value = from_exec(p, s, s->from + 7, &len, err);
    else
        tn_error_set(err, TN_EUNSUPPORTED, "secret '%s': this build cannot read '%.*s'", name,
                     (int)strcspn(s->from, ":"), s->from);
    if (value && out_len)
        *out_len = len;
    return value;
}
