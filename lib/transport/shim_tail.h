/* shim_tail.h - reading the output of a run folder. */
#ifndef TN_TRANSPORT_SHIM_TAIL_H
#define TN_TRANSPORT_SHIM_TAIL_H

#include <stdbool.h>
#include <stddef.h>

#include "turnout/buf.h"
#include "turnout/cancel.h"

/* The last `lines` lines (0 = all) of output.log.1 and output.log, cut at the front to what fits into
 * out->max. */
int tn_shim_tail(const char *dir, int lines, struct tn_buf *out, struct tn_error **err);
/* The same, then what comes, until the program has ended, the folder is gone, on_data returns false (TN_OK),
 * or the token is raised (TN_ECANCELLED). */
int tn_shim_follow(struct tn_cancel *c, const char *dir, int lines,
                   bool (*on_data)(void *arg, const char *data, size_t n), void *arg, struct tn_error **err);

#endif
