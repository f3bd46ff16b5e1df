/* lease.h - who may change (app, environment): documents in every engine that the rollout will change.
 *
 * A claim is a document `lease-KEY-EPOCH`, made only if absent: the engine decides who is first. Beats
 * (`lease-KEY-EPOCH-beat-N`) show that the holder lives; `lease-KEY-EPOCH-free` says how it ended and, when the rollout
 * is not finished, what it was leading to. The highest epoch is the one that counts. Hosts are taken in the order of
 * their ids, all or none.
 * Expiry is judged by the watcher's own monotonic clock: no new beat for the TTL. A holder on this machine whose
 * process is gone is dead at once.
 */
#ifndef TN_ROLLOUT_LEASE_H
#define TN_ROLLOUT_LEASE_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>

#include "turnout/error.h"

struct tn_session;
struct tn_lease;

/* Takes the lease of the plan's app and environment on every cluster. wait_ms = how long to wait for a living holder.
 * TN_EHELD: held; the message says by whom, where, since when, for which rollout. TN_EUNREACHABLE: a host does not
 * answer. *prior (new reference or NULL) = goal of a rollout that was left unfinished. `goal` is what we lead to. */
struct tn_lease *tn_lease_take(struct tn_session *s, const char *rollout, const json_t *goal, int64_t wait_ms,
                               json_t **prior, struct tn_error **err);
/* How it ended (NULL = nothing is left to tell of, after destroy); `unfinished` = the goal when it must be finished
 * later, else NULL. Frees the lease. An engine that does not answer now sees it expire. */
void tn_lease_end(struct tn_lease *l, const char *state, const json_t *unfinished);
/* TN_ELOST when it is not surely ours any more: asked before every effect. */
int tn_lease_check(struct tn_lease *l, struct tn_error **err);
/* From now on the rollout goes back: whoever takes over goes on so ("turned" in its goal). */
void tn_lease_turn(struct tn_lease *l);
/* Another operator wishes that the running deploy goes back. */
bool tn_lease_abort_asked(struct tn_lease *l);
/* 1: somebody holds it and lives; 0: free, or its holder is dead; or an error. A holder on another machine is watched for
 * up to the TTL: no beat in that time is death. */
int tn_lease_is_alive(struct tn_session *s, struct tn_error **err);
/* Waits a moment for `what`. Nothing has begun while a lease is waited for: the first signal already ends the wait. */
int tn_lease_pause(const struct tn_session *s, const char *what, int64_t ms, struct tn_error **err);
/* What stands in the target now ("held" = not given back; whether its holder lives is only known of this machine):
 * {"held":bool,"holder":…,"since":…,"rollout":…,"unfinished":goal|null,"epoch":n}. */
json_t *tn_lease_look(struct tn_session *s, struct tn_error **err);
/* Leaves a wish for the holder. */
int tn_lease_ask_abort(struct tn_session *s, struct tn_error **err);
/* By force, when `rollout` is the holder's. */
int tn_lease_break(struct tn_session *s, const char *rollout, struct tn_error **err);

#endif
