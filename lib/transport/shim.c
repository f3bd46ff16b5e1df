/* The client's side of a run folder: launch, look, signal, stop. Nothing here sleeps: the shim's pidfd tells
 * its end, a pipe held by the shim tells that the program runs, inotify tells what a shim launched by
 * somebody else does. */
#include "lib/transport/shim.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "turnout/clock.h"
#include "turnout/fs.h"
#include "turnout/mem.h"
#include "turnout/text.h"
#include "lib/transport/shim_files.h"
#include "lib/transport/shim_launch.h"
#include "lib/transport/shim_lock.h"

#define BEGIN_MS      5000
#define STOP_SLACK_MS 5000
#define READ_TRIES    4

static char *canonical(const char *dir, struct tn_error **err)
{
    char real[PATH_MAX];
    if (realpath(dir, real))
        return tn_strdup(real);
    tn_error_errno(err, errno == ENOENT || errno == ENOTDIR ? TN_ENOTFOUND : TN_EIO, errno, "run folder '%s'",
                   dir);
    return NULL;
}

static bool same_boot(const struct tn_shim_run *run)
{
    char now[64];
    tn_boot_id(now);
    return tn_streq(run->boot_id, now);
}

static void fill_end(struct tn_shim_status *out, const struct tn_shim_end *end)
{
    out->ended_at = end->ended_at;
    out->exit_code = end->exit_code;
    out->signal = end->signal;
    out->stopped = end->stopped;
    snprintf(out->error, sizeof(out->error), "%s", end->error);
}

static void fill_held(struct tn_shim_status *out, pid_t owner, const struct tn_shim_run *run, bool ended)
{
    out->shim_pid = owner;
    bool own = run->shim_pid == owner && same_boot(run);
    if (!own || (run->pid == 0 && run->restarts == 0 && !ended)) {
        *out = (struct tn_shim_status){.state = TN_SHIM_CREATED, .shim_pid = owner, .exit_code = -1};
        return;
    }
    out->state = TN_SHIM_RUNNING;
    out->pid = ended ? 0 : run->pid;
}

static void fill_free(struct tn_shim_status *out, const struct tn_shim_run *run, bool ran, bool has_end,
                      bool ended)
{
    out->state = ran || has_end ? TN_SHIM_ENDED : TN_SHIM_CREATED;
    if (!ran || ended)
        return;
    out->lost = true;
    snprintf(out->error, sizeof(out->error), "%s",
             same_boot(run) ? "its shim was killed" : "the host was restarted while it ran");
}

static void look(const char *dir, struct tn_shim_status *out)
{
    *out = (struct tn_shim_status){.exit_code = -1};
    pid_t owner = 0;
    int pidfd = -1;
    int held = tn_shim_lock_owner(dir, &owner, &pidfd, NULL);
    tn_cleanup_close(&pidfd);
    struct tn_shim_run run = {0};
    struct tn_shim_end end = {0};
    bool ran = tn_shim_run_read(dir, &run, NULL) == TN_OK;
    bool has_end = tn_shim_end_read(dir, &end, NULL) == TN_OK;
    bool ended = has_end && (!ran || end.run == run.restarts);
    out->started_at = run.started_at;
    out->restarts = run.restarts;
    if (ended)
        fill_end(out, &end);
    if (held == TN_OK)
        fill_held(out, owner, &run, ended);
    else if (held == TN_EBUSY)
        *out = (struct tn_shim_status){.state = TN_SHIM_CREATED, .exit_code = -1};
    else
        fill_free(out, &run, ran, has_end, ended);
}

int tn_shim_read(const char *dir, struct tn_shim_status *out, struct tn_error **err)
{
    *out = (struct tn_shim_status){.state = TN_SHIM_ABSENT, .exit_code = -1};
    if (access(dir, R_OK | X_OK) < 0 && errno != ENOENT)
        return tn_error_errno(err, TN_EIO, errno, "run folder '%s'", dir);
    if (!tn_fs_exists(dir))
        return TN_OK;
    /* A shim that began or restarted its program between two of the reads makes a picture that never was. */
    for (int i = 0; i < READ_TRIES; i++) {
        look(dir, out);
        if (!out->lost || !tn_shim_lock_held(dir))
            break;
    }
    return TN_OK;
}

/* Waits for the shim that has just taken the lock to write its mark. */
static int owner_of(struct tn_cancel *c, const char *dir, pid_t *pid, int *pidfd, struct tn_error **err)
{
    tn_autoclose int changes = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (changes < 0 || inotify_add_watch(changes, dir, TN_SHIM_CHANGES) < 0)
        return tn_error_errno(err, TN_EIO, errno, "run folder '%s': cannot be watched", dir);
    int64_t deadline = tn_mono_ms() + BEGIN_MS;
    for (;;) {
        int rc = tn_shim_lock_owner(dir, pid, pidfd, err);
        if (rc != TN_EBUSY)
            return rc;
        rc = tn_wait_fd(c, "the shim to begin", changes, deadline, err);
        if (rc == 0)
            return tn_error_set(err, TN_ETIMEOUT, "run folder '%s': its shim does not begin", dir);
        if (rc < 0)
            return rc;
        tn_error_clear(err);
        tn_shim_changes_read(changes);
    }
}

int tn_shim_wait(struct tn_cancel *c, const char *dir, const char *name, int64_t deadline_ms,
                 struct tn_error **err)
{
    if (!tn_shim_lock_held(dir))
        return 1;
    pid_t pid = 0;
    tn_autoclose int pidfd = -1;
    struct tn_error *why = NULL;
    int rc = owner_of(c, dir, &pid, &pidfd, &why);
    if (rc == TN_ENOTFOUND) {
        tn_error_free(why);
        return 1;
    }
    if (rc != TN_OK)
        return tn_error_move(err, &why);
    return tn_wait_fd(c, name, pidfd, deadline_ms, err);
}

/* The last word, for a shim that does not end: stopped, or its program cannot be killed. */
static int force(const char *dir, int pidfd, struct tn_error **err)
{
    (void)pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
    if (tn_wait_fd(NULL, "the end of a killed shim", pidfd, tn_mono_ms() + STOP_SLACK_MS, NULL) != 1)
        return tn_error_set(err, TN_ETIMEOUT, "run folder '%s': its shim cannot be killed", dir);
    tn_shim_sweep(dir);
    return TN_OK;
}

static int stop_held(struct tn_cancel *c, const char *dir, int pidfd, struct tn_error **err)
{
    struct tn_shim_spec spec = {0};
    int64_t grace = tn_shim_spec_read(dir, &spec, NULL) == TN_OK ? spec.grace_ms : 0;
    tn_shim_spec_clear(&spec);
    if (pidfd_send_signal(pidfd, SIGTERM, NULL, 0) < 0 && errno != ESRCH)
        return tn_error_errno(err, TN_EFAIL, errno, "run folder '%s': its shim cannot be signalled", dir);
    tn_autofree char *name = tn_format("'%s' to stop", dir);
    int rc = tn_wait_fd(c, name, pidfd, tn_mono_ms() + grace + STOP_SLACK_MS, err);
    return rc < 0 ? rc : rc == 0 ? force(dir, pidfd, err) : TN_OK;
}

int tn_shim_stop(struct tn_cancel *c, const char *dir, struct tn_error **err)
{
    struct tn_error *why = NULL;
    tn_autofree char *real = canonical(dir, &why);
    if (why && why->code == TN_ENOTFOUND) {
        tn_error_free(why);
        return TN_OK;
    }
    if (!real)
        return tn_error_move(err, &why);
    pid_t pid = 0;
    tn_autoclose int pidfd = -1;
    int rc = owner_of(c, real, &pid, &pidfd, &why);
    if (rc == TN_OK)
        return stop_held(c, real, pidfd, err);
    if (rc != TN_ENOTFOUND)
        return tn_error_move(err, &why);
    tn_error_free(why);
    struct tn_shim_status s;
    rc = tn_shim_read(real, &s, err);
    if (rc == TN_OK && s.lost)
        tn_shim_sweep(real);
    return rc;
}

int tn_shim_signal(const char *dir, int sig, struct tn_error **err)
{
    struct tn_shim_status s;
    int rc = tn_shim_read(dir, &s, err);
    if (rc != TN_OK)
        return rc;
    tn_autoclose int pidfd = s.state == TN_SHIM_RUNNING && s.pid > 0 ? pidfd_open((pid_t)s.pid, 0) : -1;
    pid_t parent = 0;
    /* A child of the shim is its program: the shim forks nothing else. */
    if (pidfd < 0 || !tn_process_stat((pid_t)s.pid, &parent, NULL) || parent != s.shim_pid)
        return tn_error_set(err, TN_ENOTFOUND, "run folder '%s': its program does not run", dir);
    if (pidfd_send_signal(pidfd, sig, NULL, 0) < 0)
        return tn_error_errno(err, errno == ESRCH ? TN_ENOTFOUND : TN_EFAIL, errno, "run folder '%s'", dir);
    return TN_OK;
}

/* After a launch that went well: 1 = it runs or has ended, 0 = another shim has the folder and is about to.
 * */
static int begun(const char *dir, struct tn_error **err)
{
    struct tn_shim_status s;
    int rc = tn_shim_read(dir, &s, err);
    if (rc != TN_OK)
        return rc;
    if (s.state == TN_SHIM_ENDED && s.error[0] && !s.lost)
        return tn_error_set(err, TN_EFAIL, "%s", s.error);
    return s.state == TN_SHIM_RUNNING || s.state == TN_SHIM_ENDED;
}

static int await_begun(struct tn_cancel *c, const char *dir, int changes, int64_t deadline,
                       struct tn_error **err)
{
    for (;;) {
        bool held = tn_shim_lock_held(dir); /* before the look: free then means that nothing more comes */
        int rc = begun(dir, err);
        if (rc != 0)
            return rc < 0 ? rc : TN_OK;
        if (!held)
            return tn_error_set(err, TN_EFAIL, "run folder '%s': its shim ended at once", dir);
        rc = tn_wait_fd(c, "the program to begin", changes, deadline, err);
        if (rc < 0)
            return rc;
        if (rc == 0)
            return tn_error_set(err, TN_ETIMEOUT, "run folder '%s': the program does not begin", dir);
        tn_shim_changes_read(changes);
    }
}

int tn_shim_start(struct tn_cancel *c, const char *dir, int64_t timeout_ms, struct tn_error **err)
{
    struct tn_error *why = NULL;
    tn_autofree char *real = canonical(dir, &why);
    if (!real)
        return tn_error_move(err, &why);
    tn_autoclose int self = pidfd_open(getpid(), 0);
    if (self < 0 && errno == ENOSYS)
        return tn_error_set(err, TN_EUNSUPPORTED, "run folder '%s': programs under the shim need Linux 5.3",
                            real);
    int64_t deadline = tn_mono_ms() + timeout_ms;
    tn_autoclose int changes = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (changes < 0 || inotify_add_watch(changes, real, TN_SHIM_CHANGES) < 0)
        return tn_error_errno(err, TN_EIO, errno, "run folder '%s': cannot be watched", real);
    struct tn_shim_status s;
    int rc = tn_shim_read(real, &s, err);
    if (rc != TN_OK || s.state == TN_SHIM_RUNNING)
        return rc;
    rc = tn_shim_launch(c, real, deadline, err);
    if (rc == TN_EFAIL) /* said by a shim that is about to exit: the folder is the caller's when it has */
        (void)tn_shim_wait(c, real, "a failed shim to end", deadline, NULL);
    return rc == TN_OK ? await_begun(c, real, changes, deadline, err) : rc;
}
