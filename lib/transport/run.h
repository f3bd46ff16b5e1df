/* run.h - a command of this host, run to its end: bounded in time and output, cancellable. */
#ifndef TN_TRANSPORT_RUN_H
#define TN_TRANSPORT_RUN_H

#include <stdint.h>

#include "lib/transport/host.h"

struct tn_run_options {
    const char *const *argv; /* no shell */
    const char *const *env;  /* the whole environment; NULL = ours */
    const char *cwd;         /* NULL = ours */
    const char *input;       /* stdin; NULL = /dev/null */
    int64_t timeout_ms;      /* 0 = none */
};
/* `out` is empty or holds buffers with their maxima (0 = 1 MiB each); output past them is dropped and
 * `overflow` set. A background child that keeps the output open does not hold the caller: reading stops 200
 * ms after the end. Timeout (TN_ETIMEOUT) and cancel level 2 (TN_ECANCELLED): SIGTERM to the whole group,
 * SIGKILL two seconds later; what was written until then stands in `out`. TN_ENOTFOUND: no such program. */
int tn_run(struct tn_cancel *c, const struct tn_run_options *o, struct tn_run_result *out,
           struct tn_error **err);

#endif
