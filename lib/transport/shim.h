/* shim.h - a program under turnout's own shim (the hidden verb `turnout __shim DIR`).
 *
 * A run folder DIR holds
 *   spec.json    {"argv":[…], "env":{…}, "cwd":"…", "signal":"SIGTERM", "grace_ms":10000, "stdio_max":bytes,
 *                "inherit_env":false}   0600. The program sees env plus PATH, HOME, LANG and TZ of the caller
 *                (all of the caller's environment with inherit_env) and TURNOUT_SHIM_DIR=DIR, by which
 *                leftovers are recognised
 *   meta.json    labels and whatever the owner wants to find again (written before the start, never by the shim)
 *   policy       "no" | "always" | "on-failure" | "unless-stopped": read each time the program ends
 *   lock         flock'ed by the shim as long as it lives: held = alive. It holds "pid start-time"; the lock
 *                that counts is an open-file-description lock beside the flock: testing it takes nothing
 *   run.json     {"shim_pid":…, "pid":…, "started_at":ms, "boot_id":"…", "restarts":n}
 *   status.json  written at each end: {"exit_code":n|-1, "signal":n, "ended_at":ms, "stopped":bool, "error":"…",
 *                "run":n}   run = `restarts` of the run that ended
 *   output.log   stdout and stderr, rotated once at stdio_max to output.log.1
 * The shim leaves the caller's session, process group, controlling terminal and (where it may) cgroup.
 * SIGTERM to the shim: the program's stop signal, the grace, SIGKILL to its whole group; then status.json, exit.
 * Starting twice is harmless: the second shim finds the lock held and exits 0.
 */
#ifndef TN_TRANSPORT_SHIM_H
#define TN_TRANSPORT_SHIM_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>

#include "turnout/cancel.h"
#include "turnout/shim.h"

enum tn_shim_state {
    TN_SHIM_ABSENT,
    TN_SHIM_CREATED /* folder, never ran */,
    TN_SHIM_RUNNING,
    TN_SHIM_ENDED
};
struct tn_shim_status {
    enum tn_shim_state state;
    int64_t pid, shim_pid;
    int64_t started_at; /* wall ms */
    int64_t ended_at;
    int exit_code, signal, restarts;
    bool stopped;    /* ended because it was asked to */
    bool lost;       /* ended, how is not known: the shim was killed, or the host was restarted */
    char error[256]; /* exec failed: why */
};
/* Makes a run folder: written beside DIR and renamed, so it is there whole or not at all. The parent exists.
 * `meta` may be NULL. TN_EEXISTS when DIR is there. */
int tn_shim_create(const char *dir, const json_t *spec, const json_t *meta, const char *policy,
                   struct tn_error **err);
/* What `turnout __shim DIR` does; returns the process's exit code. First thing in main, before any thread. */

/* Launches the shim for DIR (spec.json is there) and waits until run.json says running, or status.json ended. */
int tn_shim_start(struct tn_cancel *c, const char *dir, int64_t timeout_ms, struct tn_error **err);
/* SIGTERM to the shim, waits for the lock to be free (≤ grace + 5 s), SIGKILL of the group as the last word.
 * Not running = success. */
int tn_shim_stop(struct tn_cancel *c, const char *dir, struct tn_error **err);
int tn_shim_read(const char *dir, struct tn_shim_status *out, struct tn_error **err);
/* Sends a signal to the program itself (reloads). TN_ENOTFOUND when it does not run. */
int tn_shim_signal(const char *dir, int sig, struct tn_error **err);
/* Waits until the shim of DIR has ended. 1 = it has (or never was), 0 = the deadline passed, or an error. */
int tn_shim_wait(struct tn_cancel *c, const char *dir, const char *name, int64_t deadline_ms,
                 struct tn_error **err);
/* "SIGTERM", "TERM" or "15" → 15; 0 when there is no such signal. */
int tn_signal_number(const char *name);

#endif
