#include "lib/transport/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "turnout/mem.h"

enum stage { STAGE_SET_UP, STAGE_FOLDER, STAGE_EXEC };
struct failure {
    enum stage stage;
    int os_errno;
};

static _Noreturn void give_up(int report, enum stage stage)
{
    struct failure f = {.stage = stage, .os_errno = errno};
    ssize_t n = write(report, &f, sizeof(f));
    _exit(n < 0 ? 126 : 127);
}

/* The lowest descriptor ≥ 3 of each, so that no dup2 below closes a source of a later one. */
static int lift(int fd)
{
    return fd < 0 || fd > 2 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static bool place(int fd, int target)
{
    tn_autoclose int null = -1;
    if (fd < 0)
        fd = null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd == target) { /* only with a closed 0, 1 or 2: open gave just that one */
        null = -1;
        return fcntl(fd, F_SETFD, 0) == 0;
    }
    return fd >= 0 && dup2(fd, target) >= 0;
}

static void reset_signals(void)
{
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    for (int i = 1; i < NSIG; i++)
        (void)sigaction(i, &dfl, NULL); /* KILL, STOP and glibc's own refuse */
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Between fork and exec of a program with threads: async-signal-safe calls only. */
static _Noreturn void become(const struct tn_spawn *s, int report, pid_t parent)
{
    report = lift(report);
    int in = lift(s->in), out = lift(s->out), err = lift(s->err);
    if (setpgid(0, 0) < 0)
        give_up(report, STAGE_SET_UP);
    if (s->die_with_parent && prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        give_up(report, STAGE_SET_UP);
    if (s->die_with_parent && getppid() != parent)
        _exit(126);
    if (!place(in, 0) || !place(out, 1) || !place(err, 2))
        give_up(report, STAGE_SET_UP);
    (void)close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
    reset_signals();
    if (s->cwd && chdir(s->cwd) < 0)
        give_up(report, STAGE_FOLDER);
    if (s->env)
        environ = (char **)(uintptr_t)s->env;
    execvp(s->argv[0], (char *const *)(uintptr_t)s->argv);
    give_up(report, STAGE_EXEC);
}

static int failed(const struct tn_spawn *s, const struct failure *f, struct tn_error **err)
{
    enum tn_code code = f->os_errno == ENOENT || f->os_errno == ENOTDIR ? TN_ENOTFOUND : TN_EFAIL;
    switch (f->stage) {
    case STAGE_SET_UP:
        return tn_error_errno(err, TN_EFAIL, f->os_errno, "program '%s': cannot be set up", s->argv[0]);
    case STAGE_FOLDER: return tn_error_errno(err, code, f->os_errno, "folder '%s'", s->cwd);
    default: return tn_error_errno(err, code, f->os_errno, "program '%s'", s->argv[0]);
    }
}

static ssize_t read_report(int fd, struct failure *f)
{
    ssize_t n;
    do {
        n = read(fd, f, sizeof(*f));
    } while (n < 0 && errno == EINTR);
    return n;
}

static pid_t fork_blocked(const struct tn_spawn *s, int report)
{
    /* A handler of the parent must not run in the child before its dispositions are reset. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        become(s, report, parent);
    int saved = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = saved;
    return pid;
}

int tn_spawn(const struct tn_spawn *s, pid_t *out_pid, int *out_pidfd, struct tn_error **err)
{
    if (!s->argv || !s->argv[0])
        return tn_error_set(err, TN_EFAIL, "no program to run: the command is empty");
    int p[2];
    if (pipe2(p, O_CLOEXEC) < 0)
        return tn_error_errno(err, TN_EFAIL, errno, "program '%s': cannot make a pipe", s->argv[0]);
    tn_autoclose int from = p[0];
    tn_autoclose int report = p[1];
    pid_t pid = fork_blocked(s, report);
    if (pid < 0)
        return tn_error_errno(err, TN_EFAIL, errno, "program '%s': cannot fork", s->argv[0]);
    (void)setpgid(pid, pid);
    tn_cleanup_close(&report);
    report = -1;
    struct failure f;
    if (read_report(from, &f) == (ssize_t)sizeof(f)) {
        (void)waitpid(pid, NULL, 0);
        return failed(s, &f, err);
    }
    int pidfd = pidfd_open(pid, 0);
    if (pidfd < 0 && errno != ENOSYS) {
        int saved = errno;
        (void)kill(-pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        return tn_error_errno(err, TN_EFAIL, saved, "program '%s': cannot be watched", s->argv[0]);
    }
    *out_pid = pid;
    *out_pidfd = pidfd;
    return TN_OK;
}
