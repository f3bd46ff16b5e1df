/* hook_shim.h - a command that runs once, under the shim, and whose outcome can be read again.
 *
 * Hooks cannot be probed by nature; a run folder named by the effect makes them so. The command goes on when
 * turnout dies; whoever resumes reads or awaits its result instead of running it again.
 */
#ifndef TN_TRANSPORT_HOOK_SHIM_H
#define TN_TRANSPORT_HOOK_SHIM_H

#include <stdint.h>
#include <jansson.h>

#include "turnout/cancel.h"
#include "lib/transport/host.h"

enum tn_hook_state {
    TN_HOOK_ABSENT, /* never began */
    TN_HOOK_RUNNING,
    TN_HOOK_ENDED,
    TN_HOOK_LOST, /* began, its outcome is not known (its shim was killed, the host was restarted) */
};
int tn_hook_probe(const char *dir, enum tn_hook_state *out, struct tn_error **err);

/* Runs argv in `cwd` with our environment plus `env` (NAME=VALUE, NULL-terminated, may be NULL), or reads
 * what the run of that folder came to. out->out = stdout and stderr together, its tail when longer than the
 * maximum (1 MiB when 0). Folders above `dir` are made. A command that failed is not an error: look at
 * out->exit_code and out->signal. TN_ETIMEOUT: it was stopped; the next call gives TN_ETIMEOUT again.
 * TN_EFAIL: it cannot be executed. TN_EUNKNOWN: see TN_HOOK_LOST. TN_ECANCELLED: it runs on. */
int tn_hook_run(struct tn_cancel *c, const char *dir, const char *const *argv, const char *const *env,
                const char *cwd, int64_t timeout_ms, struct tn_run_result *out, struct tn_error **err);
/* The same for a whole spec.json (see shim.h). */
int tn_hook_run_spec(struct tn_cancel *c, const char *dir, const json_t *spec, int64_t timeout_ms,
                     struct tn_run_result *out, struct tn_error **err);

#endif
