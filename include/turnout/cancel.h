/* turnout/cancel.h - one cancel token, listened to by every wait.
 *
 * Level 0: run. Level 1: start nothing new, reach a safe point. Level 2: leave now.
 * Shared between threads; raising is async-signal-safe. A wait names what it waits for (for messages) and has a
 * deadline on the monotonic clock (INT64_MAX = none of its own; the token's whole-run deadline still holds).
 */
#ifndef TURNOUT_CANCEL_H
#define TURNOUT_CANCEL_H

#include <stdbool.h>
#include <stdint.h>

#include "turnout/error.h"

struct tn_cancel;
struct tn_cancel *tn_cancel_new(void);
void tn_cancel_free(struct tn_cancel *c);
void tn_cancel_raise(struct tn_cancel *c, int level); /* only upwards; async-signal-safe */
int tn_cancel_level(const struct tn_cancel *c);
/* Readable from level 2 on (for poll sets, curl): the fd stays with the token. */
int tn_cancel_fd(const struct tn_cancel *c);
void tn_cancel_set_deadline(struct tn_cancel *c, int64_t mono_ms); /* --timeout */
int64_t tn_cancel_deadline(const struct tn_cancel *c);

/* Waits until `fd` is readable (-1: no fd, a pure timed wait), the deadline, or level 2.
 * Returns 1 readable, 0 the deadline passed, or TN_ECANCELLED / TN_ETIMEOUT(whole-run deadline) with err set. */
int tn_wait_fd(struct tn_cancel *c, const char *name, int fd, int64_t deadline_ms, struct tn_error **err);

#endif
