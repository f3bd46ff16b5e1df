/* The supervisor: one process, one thread, one program.
 *
 * Life: lock → (sweep what a killed shim left) → run.json pid 0 → fork and exec → run.json with the pid → … →
 * the program ends → what it forked is ended → status.json → by policy: wait, and from run.json pid 0 again;
 * or exit, which frees the lock. Every arrow may be the last one: run.json before the fork says "may have
 * run", so a hook that was killed with its shim is never taken for one that never began.
 *
 * The shim is a subreaper: whatever the program forks and orphans becomes a child of the shim and ends with
 * the program. A shim that is killed takes the program along (PR_SET_PDEATHSIG); orphans of such a program
 * are found by their TURNOUT_SHIM_DIR at the next start or stop. Dropped: killing the program's group by its
 * number later on, which may be somebody else's by then.
 *
 * The cgroup: a systemd session scope, unit or CI job is ended by killing its cgroup, so the shim tries to
 * move to the parent, then to the root, of the unified and of systemd's own hierarchy. Without the right to
 * do so (most users) it stays; `loginctl enable-linger` or a systemd unit around the job is then the way.
 * Resource hierarchies are left alone.
 */
#include "lib/transport/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "turnout/clock.h"
#include "turnout/fs.h"
#include "turnout/mem.h"
#include "turnout/text.h"
#include "lib/transport/shim_files.h"
#include "lib/transport/shim_lock.h"
#include "lib/transport/shim_output.h"
#include "lib/transport/spawn.h"

#define READY_FD         3
#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS   10000
#define NEVER            INT64_MAX

struct shim {
    const char *dir;
    int lock, ready, signals, set, pidfd;
    struct tn_shim_spec spec;
    struct tn_shim_output output;
    struct tn_shim_run run;
    pid_t pid;  /* 0 = does not run */
    int status; /* of waitpid, once ended */
    bool ended, stopping, killed, started_once;
    int64_t began, kill_at, restart_at, backoff; /* monotonic */
};

static void leave_cgroup_of(const char *mount, const char *path)
{
    tn_autofree char *parent = tn_path_dir(path);
    const char *const places[] = {parent, "/"};
    for (size_t i = 0; i < TN_COUNT(places); i++) {
        tn_autofree char *procs = tn_format("%s%s/cgroup.procs", mount, places[i]);
        tn_autoclose int fd = open(procs, O_WRONLY | O_CLOEXEC);
        if (fd >= 0 && write(fd, "0", 1) == 1)
            return;
    }
}

static void leave_cgroup(void)
{
    tn_autofree char *text = tn_fs_read("/proc/self/cgroup", 65536, NULL, NULL);
    char *rest = text;
    for (char *line; rest && (line = strsep(&rest, "\n"));) {
        (void)strsep(&line, ":");
        const char *controllers = strsep(&line, ":");
        if (!line || tn_streq(line, "/"))
            continue;
        if (tn_streq(controllers, ""))
            leave_cgroup_of(access("/sys/fs/cgroup/cgroup.procs", F_OK) == 0 ? "/sys/fs/cgroup"
                                                                             : "/sys/fs/cgroup/unified",
                            line);
        else if (tn_streq(controllers, "name=systemd"))
            leave_cgroup_of("/sys/fs/cgroup/systemd", line);
    }
}

/* The launcher waits for the end of this pipe; text in it is why the program does not run. */
static void tell_ready(struct shim *s, const struct tn_error *err)
{
    if (s->ready < 0)
        return;
    if (err) {
        const char *text = tn_error_message(err);
        ssize_t n = write(s->ready, text, strnlen(text, 255));
        (void)n;
    }
    close(s->ready);
    s->ready = -1;
}

static bool watch(struct shim *s, int fd)
{
    struct epoll_event ev = {.events = EPOLLIN};
    return epoll_ctl(s->set, EPOLL_CTL_ADD, fd, &ev) == 0;
}

static int write_end(struct shim *s, int exit_code, int sig, const char *error, struct tn_error **err)
{
    struct tn_shim_end end = {.exit_code = exit_code,
                              .signal = sig,
                              .run = s->run.restarts,
                              .ended_at = tn_wall_ms(),
                              .stopped = s->stopping};
    snprintf(end.error, sizeof(end.error), "%s", error);
    return tn_shim_end_write(s->dir, &end, err);
}

static int spawn_program(struct shim *s, struct tn_error **err)
{
    int p[2];
    if (pipe2(p, O_CLOEXEC) < 0)
        return tn_error_errno(err, TN_EFAIL, errno, "cannot make a pipe");
    tn_autoclose int to = p[1];
    s->output.from = p[0];
    if (fcntl(p[0], F_SETFL, O_NONBLOCK) < 0 || !watch(s, p[0]))
        return tn_error_errno(err, TN_EFAIL, errno, "cannot watch a pipe");
    struct tn_spawn how = {.argv = s->spec.argv,
                           .env = (const char *const *)s->spec.env,
                           .cwd = s->spec.cwd,
                           .in = -1,
                           .out = to,
                           .err = to,
                           .die_with_parent = true};
    int rc = tn_spawn(&how, &s->pid, &s->pidfd, err);
    if (rc != TN_OK) {
        s->pid = 0;
        tn_cleanup_close(&s->output.from);
        s->output.from = -1;
    }
    return rc;
}

/* A first start that fails is final; a restart that fails is one more end. A full disk must not keep a
 * service down, so later run files are written as well as can be. */
static int start_program(struct shim *s, struct tn_error **err)
{
    s->restart_at = NEVER;
    s->run.pid = 0;
    s->run.started_at = tn_wall_ms();
    s->began = tn_mono_ms();
    int rc = tn_shim_run_write(s->dir, &s->run, s->started_once ? NULL : err);
    if (rc != TN_OK && !s->started_once)
        return rc;
    rc = spawn_program(s, err);
    if (rc != TN_OK)
        return rc;
    s->run.pid = s->pid;
    (void)tn_shim_run_write(s->dir, &s->run, NULL);
    s->started_once = true;
    return TN_OK;
}

/* Children by /proc: the program's orphans arrive here one by one while their parents end. They are not
 * reaped yet, so their numbers are theirs. */
static void signal_children(int sig)
{
    char **names = NULL;
    size_t n = 0;
    if (tn_fs_list("/proc", &names, &n, NULL) != TN_OK)
        return;
    for (size_t i = 0; i < n; i++) {
        int64_t pid;
        pid_t parent;
        if (tn_parse_int(names[i], &pid) && pid > 1 && pid <= INT32_MAX &&
            tn_process_stat((pid_t)pid, &parent, NULL) && parent == getpid())
            (void)kill((pid_t)pid, sig);
    }
    tn_fs_list_free(names, n);
}

/* Reaps what has ended; true when no child is left. */
static bool reap(struct shim *s, int flags)
{
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, flags);
        if (pid < 0 && errno == EINTR)
            continue;
        if (pid < 0)
            return true;
        if (pid == 0)
            return false;
        if (pid == s->pid) {
            s->status = status;
            s->ended = true;
        }
        if (!(flags & WNOHANG))
            return false;
    }
}

static void end_all(struct shim *s)
{
    if (reap(s, WNOHANG))
        return;
    do {
        signal_children(SIGKILL);
    } while (!reap(s, 0));
}

static void begin_stop(struct shim *s)
{
    if (s->stopping)
        return;
    s->stopping = true;
    /* The owner may have changed signal and grace since the start. */
    struct tn_shim_spec now;
    if (tn_shim_spec_read(s->dir, &now, NULL) == TN_OK) {
        s->spec.signal = now.signal;
        s->spec.grace_ms = now.grace_ms;
        tn_shim_spec_clear(&now);
    }
    s->kill_at = tn_mono_ms() + s->spec.grace_ms;
    if (s->pid > 0 && !s->ended)
        (void)kill(s->pid, s->spec.signal);
}

static bool should_restart(const struct shim *s, bool failed)
{
    if (s->stopping)
        return false;
    const char *policy = tn_shim_policy_read(s->dir);
    return tn_streq(policy, "always") || tn_streq(policy, "unless-stopped") ||
           (tn_streq(policy, "on-failure") && failed);
}

/* After an end that was written down: true = again, at restart_at. */
static bool plan_restart(struct shim *s, bool failed)
{
    s->pid = 0;
    s->ended = false;
    if (!should_restart(s, failed))
        return false;
    if (tn_mono_ms() - s->began >= BACKOFF_MAX_MS)
        s->backoff = BACKOFF_FIRST_MS;
    s->restart_at = tn_mono_ms() + s->backoff;
    s->backoff = s->backoff * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : s->backoff * 2;
    s->run.restarts++;
    return true;
}

static bool finish_run(struct shim *s)
{
    end_all(s);
    tn_shim_output_copy(&s->output);
    tn_cleanup_close(&s->output.from);
    s->output.from = -1;
    tn_cleanup_close(&s->pidfd);
    s->pidfd = -1;
    bool exited = WIFEXITED(s->status);
    int code = exited ? WEXITSTATUS(s->status) : -1, sig = exited ? 0 : WTERMSIG(s->status);
    (void)write_end(s, code, sig, "", NULL);
    return plan_restart(s, code != 0);
}

static bool restart(struct shim *s)
{
    struct tn_error *err = NULL;
    if (start_program(s, &err) == TN_OK)
        return true;
    (void)write_end(s, -1, 0, tn_error_message(err), NULL);
    tn_error_free(err);
    return plan_restart(s, true);
}

static void read_signals(struct shim *s, bool *got_child)
{
    struct signalfd_siginfo si;
    while (read(s->signals, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
        if (si.ssi_signo == SIGCHLD)
            *got_child = true;
        else
            begin_stop(s);
    }
}

/* What the last run left on record becomes the end that was asked for. */
static bool stop_between_runs(struct shim *s)
{
    struct tn_shim_end end = {0};
    s->run.restarts--;
    if (tn_shim_end_read(s->dir, &end, NULL) == TN_OK)
        (void)write_end(s, end.exit_code, end.signal, end.error, NULL);
    return false;
}

/* True while the shim has something to look after. */
static bool turn(struct shim *s)
{
    int64_t until = s->kill_at < s->restart_at ? s->kill_at : s->restart_at;
    (void)tn_wait_fd(NULL, "the program", s->set, until, NULL);
    bool got_child = false, was_ended = s->ended;
    read_signals(s, &got_child);
    tn_shim_output_copy(&s->output);
    bool alone = got_child && reap(s, WNOHANG);
    int64_t now = tn_mono_ms();
    if (s->pid == 0 && s->stopping)
        return stop_between_runs(s);
    if (s->pid == 0)
        return now < s->restart_at || restart(s);
    if (s->ended && (alone || !s->stopping || s->killed || now >= s->kill_at))
        return finish_run(s);
    /* When the program has gone before what it forked, that gets the stop signal too and the rest of the
     * grace: `sh -c "cd x && ./server"` would otherwise lose its server without a word. */
    if (s->ended && !was_ended)
        signal_children(s->spec.signal);
    if (now >= s->kill_at) {
        (void)kill(-s->pid, SIGKILL);
        s->killed = true;
        s->kill_at = NEVER;
    }
    return true;
}

static bool set_up_signals(struct shim *s)
{
    sigset_t listen, all;
    sigfillset(&all);
    sigemptyset(&listen);
    sigaddset(&listen, SIGCHLD);
    sigaddset(&listen, SIGTERM);
    sigaddset(&listen, SIGINT);
    /* All of them blocked: a stray SIGHUP or SIGPIPE must not end a shim. Done before the lock names this
     * process. */
    (void)sigprocmask(SIG_SETMASK, &all, NULL);
    (void)signal(SIGCHLD, SIG_DFL); /* ignored by a parent, it would eat the exit status */
    s->signals = signalfd(-1, &listen, SFD_CLOEXEC | SFD_NONBLOCK);
    s->set = epoll_create1(EPOLL_CLOEXEC);
    return s->signals >= 0 && s->set >= 0 && watch(s, s->signals);
}

static int take_over(struct shim *s, struct tn_error **err)
{
    int rc = tn_shim_lock_take(s->dir, &s->lock, err);
    if (rc != TN_OK)
        return rc;
    tn_autofree char *run = tn_path_join(s->dir, "run.json");
    if (tn_fs_exists(run))
        tn_shim_sweep(s->dir);
    tn_autofree char *old = tn_path_join(s->dir, "status.json");
    if (unlink(old) < 0 && errno != ENOENT)
        return tn_error_errno(err, TN_EIO, errno, "'%s'", old);
    rc = tn_shim_spec_read(s->dir, &s->spec, err);
    if (rc != TN_OK)
        return rc;
    tn_boot_id(s->run.boot_id);
    s->run.shim_pid = getpid();
    tn_shim_output_init(&s->output, s->dir, s->spec.stdio_max);
    return start_program(s, err);
}

int tn_shim_main(const char *dir)
{
    struct shim s = {.dir = dir, .lock = -1, .ready = -1, .signals = -1, .set = -1, .pidfd = -1};
    s.output = (struct tn_shim_output){.from = -1, .to = -1};
    s.kill_at = s.restart_at = NEVER;
    s.backoff = BACKOFF_FIRST_MS;
    struct stat st;
    if (fstat(READY_FD, &st) == 0 && S_ISFIFO(st.st_mode) && fcntl(READY_FD, F_SETFD, FD_CLOEXEC) == 0)
        s.ready = READY_FD;
    if (!set_up_signals(&s) || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        return 1;
    leave_cgroup();
    struct tn_error *err = NULL;
    int rc = take_over(&s, &err);
    bool second = rc == TN_EHELD;
    if (rc != TN_OK && !second && s.lock >= 0)
        (void)write_end(&s, -1, 0, tn_error_message(err), NULL);
    tell_ready(&s, second ? NULL : err);
    tn_error_free(err);
    while (rc == TN_OK && turn(&s)) {
    }
    tn_shim_output_clear(&s.output);
    tn_shim_spec_clear(&s.spec);
    tn_cleanup_close(&s.signals);
    tn_cleanup_close(&s.set);
    tn_cleanup_close(&s.lock);
    return rc == TN_OK || second ? 0 : 1;
}
