/* changeset.h - a diff saved as a file, executed exactly or not at all. */
#ifndef TN_ROLLOUT_CHANGESET_H
#define TN_ROLLOUT_CHANGESET_H

#include "lib/rollout/changes.h"

/* TN_ESTALE with the precondition that moved, when `now` (a fresh diff of the change set's own plan) is not what the
 * file says. */
int tn_changeset_check(struct tn_session *s, const json_t *changeset, const struct tn_changes *now,
                       struct tn_error **err);

#endif
