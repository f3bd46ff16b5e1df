/* A program's stdin is a memory file, not a pipe: nothing to pump, no SIGPIPE when the program does not read
 * it. stdout, stderr and the pidfd sit in one epoll set, which is the one descriptor that the named wait
 * listens to. */
#include "lib/transport/run.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "turnout/cancel.h"
#include "turnout/clock.h"
#include "turnout/mem.h"
#include "lib/transport/spawn.h"

#define OUTPUT_MAX    ((size_t)1 << 20)
#define LINGER_MS     200
#define KILL_AFTER_MS 2000
#define LOOK_AGAIN_MS 20 /* where the kernel has no pidfd */

struct running {
    pid_t pid;
    int pidfd, set;
    int fd[2]; /* stdout, stderr; -1 = at its end */
    struct tn_buf *text[2];
    bool ended;
    int status;
};

void tn_run_result_clear(struct tn_run_result *r)
{
    tn_buf_clear(&r->out);
    tn_buf_clear(&r->err_text);
    r->exit_code = 0;
    r->signal = 0;
}

static int open_input(const char *input, int *out_fd, struct tn_error **err)
{
    *out_fd = -1;
    if (!input)
        return TN_OK;
    tn_autoclose int fd = memfd_create("turnout-input", MFD_CLOEXEC);
    if (fd < 0)
        return tn_error_errno(err, TN_EFAIL, errno, "cannot hold the input of a command");
    size_t len = strlen(input);
    for (size_t done = 0; done < len;) {
        ssize_t n = write(fd, input + done, len - done);
        if (n < 0 && errno != EINTR)
            return tn_error_errno(err, TN_EFAIL, errno, "cannot hold the input of a command");
        done += n > 0 ? (size_t)n : 0;
    }
    if (lseek(fd, 0, SEEK_SET) < 0)
        return tn_error_errno(err, TN_EFAIL, errno, "cannot hold the input of a command");
    *out_fd = fd;
    fd = -1;
    return TN_OK;
}

static void keep(struct tn_buf *b, const char *p, size_t n)
{
    size_t room = b->max - b->len;
    tn_buf_add(b, p, n < room ? n : room);
    b->overflow = b->overflow || n > room;
}

/* Reads what is there; closes the descriptor at its end. Bytes past the buffer's maximum are read and
 * dropped, so that the program is never held by a full pipe. */
static void drain(struct running *r, int i)
{
    char piece[16384];
    while (r->fd[i] >= 0) {
        ssize_t n = read(r->fd[i], piece, sizeof(piece));
        if (n > 0)
            keep(r->text[i], piece, (size_t)n);
        else if (n < 0 && errno == EINTR)
            continue;
        else if (n < 0 && errno == EAGAIN)
            return;
        else {
            close(r->fd[i]);
            r->fd[i] = -1;
        }
    }
}

static void reap(struct running *r, int flags)
{
    if (r->ended)
        return;
    pid_t got;
    do {
        got = waitpid(r->pid, &r->status, flags);
    } while (got < 0 && errno == EINTR);
    r->ended = got == r->pid;
    if (r->ended && r->pidfd >= 0)
        (void)epoll_ctl(r->set, EPOLL_CTL_DEL, r->pidfd, NULL);
}

static bool ends_before(const struct running *r, int64_t deadline)
{
    static const char name[] = "end of a command after SIGTERM";
    if (r->pidfd >= 0)
        return tn_wait_fd(NULL, name, r->pidfd, deadline, NULL) == 1;
    siginfo_t si = {0};
    while (waitid(P_PID, (id_t)r->pid, &si, WEXITED | WNOHANG | WNOWAIT) == 0 && si.si_pid == 0) {
        if (tn_mono_ms() >= deadline)
            return false;
        (void)tn_wait_fd(NULL, name, -1, tn_mono_ms() + LOOK_AGAIN_MS, NULL);
    }
    return true;
}

/* The token is raised or the time is over already, so this wait listens to none. */
static void end_group(struct running *r)
{
    if (r->ended)
        return;
    (void)kill(-r->pid, SIGTERM);
    if (!ends_before(r, tn_mono_ms() + KILL_AFTER_MS))
        (void)kill(r->pid, SIGKILL);
    /* Its group may outlive it; the leader is not reaped yet, so the number still means this group. */
    (void)kill(-r->pid, SIGKILL);
    reap(r, 0);
    drain(r, 0);
    drain(r, 1);
}

static int watch_all(struct running *r, struct tn_error **err)
{
    r->set = epoll_create1(EPOLL_CLOEXEC);
    int fds[] = {r->pidfd, r->fd[0], r->fd[1]};
    for (size_t i = 0; i < TN_COUNT(fds); i++) {
        struct epoll_event ev = {.events = EPOLLIN};
        if (fds[i] < 0)
            continue;
        if (r->set < 0 || epoll_ctl(r->set, EPOLL_CTL_ADD, fds[i], &ev) < 0)
            return tn_error_errno(err, TN_EFAIL, errno, "cannot watch a command");
    }
    return TN_OK;
}

static int follow(struct running *r, struct tn_cancel *c, const struct tn_run_options *o,
                  struct tn_error **err)
{
    tn_autofree char *name = tn_format("command '%s'", o->argv[0]);
    int64_t deadline = o->timeout_ms > 0 ? tn_mono_ms() + o->timeout_ms : INT64_MAX;
    bool lingering = false;
    while (!r->ended || r->fd[0] >= 0 || r->fd[1] >= 0) {
        if (r->ended && !lingering) {
            lingering = true;
            deadline = tn_mono_ms() + LINGER_MS;
        }
        int64_t now = tn_mono_ms(), look = r->pidfd < 0 && !r->ended ? now + LOOK_AGAIN_MS : INT64_MAX;
        int rc = tn_wait_fd(c, name, r->set, look < deadline ? look : deadline, err);
        if (rc < 0)
            return rc;
        if (rc == 0 && r->ended)
            return TN_OK;
        if (rc == 0 && look >= deadline)
            return tn_error_set(err, TN_ETIMEOUT, "command '%s': not done after %lld ms", o->argv[0],
                                (long long)o->timeout_ms);
        reap(r, WNOHANG); /* before the reads: what it wrote last is then in the pipes */
        drain(r, 0);
        drain(r, 1);
    }
    return TN_OK;
}

static int start(struct running *r, const struct tn_run_options *o, struct tn_error **err)
{
    int p[2] = {-1, -1};
    int ends[2] = {-1, -1};
    tn_autoclose int input = -1;
    int rc = open_input(o->input, &input, err);
    for (int i = 0; rc == TN_OK && i < 2; i++) {
        if (pipe2(p, O_CLOEXEC) < 0 || fcntl(p[0], F_SETFL, O_NONBLOCK) < 0)
            rc = tn_error_errno(err, TN_EFAIL, errno, "command '%s': cannot make a pipe", o->argv[0]);
        else {
            r->fd[i] = p[0];
            ends[i] = p[1];
        }
    }
    if (rc == TN_OK) {
        struct tn_spawn s = {
            .argv = o->argv, .env = o->env, .cwd = o->cwd, .in = input, .out = ends[0], .err = ends[1]};
        rc = tn_spawn(&s, &r->pid, &r->pidfd, err);
    }
    tn_cleanup_close(&ends[0]);
    tn_cleanup_close(&ends[1]);
    return rc;
}

int tn_run(struct tn_cancel *c, const struct tn_run_options *o, struct tn_run_result *out,
           struct tn_error **err)
{
    if (out->out.max == 0)
        out->out.max = OUTPUT_MAX;
    if (out->err_text.max == 0)
        out->err_text.max = OUTPUT_MAX;
    struct running r = {.pidfd = -1, .set = -1, .fd = {-1, -1}, .text = {&out->out, &out->err_text}};
    int rc = start(&r, o, err);
    if (rc == TN_OK) {
        rc = watch_all(&r, err);
        if (rc == TN_OK)
            rc = follow(&r, c, o, err);
        end_group(&r);
        out->exit_code = WIFEXITED(r.status) ? WEXITSTATUS(r.status) : -1;
        out->signal = WIFSIGNALED(r.status) ? WTERMSIG(r.status) : 0;
    }
    tn_cleanup_close(&r.pidfd);
    tn_cleanup_close(&r.set);
    tn_cleanup_close(&r.fd[0]);
    tn_cleanup_close(&r.fd[1]);
    return rc;
}
