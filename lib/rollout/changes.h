/* changes.h - from plan and world to goals and what people see of them. */
#ifndef TN_ROLLOUT_CHANGES_H
#define TN_ROLLOUT_CHANGES_H

#include "lib/rollout/goal.h"

bool tn_selected(const struct tn_selection *sel, const char *service, const char *cluster);
/* Where the world stands before the run: the stable revision of each goal, its spec and number of instances. `prior`
 * (a goal left unfinished, or NULL) knows better than a half-rolled world. */
void tn_goals_set_from(struct tn_session *s, struct tn_goals *g, const struct tn_observation *worlds,
                       const json_t *prior);
/* The same from a prior goal alone; what it does not name stays. */
void tn_goals_from_prior(struct tn_goals *g, const json_t *prior);
/* One observation of every cluster of the plan (array of n_clusters). A host that does not answer is an error. */
int tn_observe_all(struct tn_session *s, struct tn_observation *out, struct tn_error **err);
void tn_worlds_clear(struct tn_session *s, struct tn_observation *worlds);
/* timeline.c: runs the core against an ideal world. */
void tn_change_timeline(const struct tn_session *s, const struct tn_goal *g,
                        const struct tn_observation *world, struct tn_change *c);

#endif
