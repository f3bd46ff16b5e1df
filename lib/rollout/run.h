/* run.h - one rollout: its goals forwards, and back when they fail. */
#ifndef TN_ROLLOUT_RUN_H
#define TN_ROLLOUT_RUN_H

#include "lib/rollout/goal.h"
#include "turnout/strategy.h"

/* How a set of placements ended. */
struct tn_ran {
    bool done;                     /* all of them */
    bool changed;                  /* anything at all was changed */
    bool failed;                   /* one has a verdict of failed */
    bool aborted;                  /* because somebody asked for it: always goes back */
    enum tn_code stop;             /* TN_OK, or why it stopped without a verdict */
    enum tn_on_failure on_failure; /* of the one that failed */
    char *cause, *evidence, *who;  /* owned */
    int64_t downtime;              /* ms, of the placement that had most */
};
void tn_ran_clear(struct tn_ran *r);
/* Services in depends_on order, those of one level at the same time; backwards for TN_BACK. */
void tn_run_placements(struct tn_session *s, struct tn_goals *goals, enum tn_direction direction,
                       struct tn_ran *out);

/* The whole: row in the store, lease, images, hooks, placements, the way back, the end state. `id` NULL = a new one;
 * `back` = the run begins by going back. Takes goals. */
struct tn_rollout_start {
    struct tn_goals *goals;
    const char *id;
    bool back;
    bool refresh_from; /* look again at where the world stands, once the lease is held */
    bool finishes;     /* resume, rollback: only what was left unfinished under this very id */
    const char *hook;  /* resume --hook */
    int64_t lease_wait;
};
int tn_run_rollout(struct tn_session *s, const struct tn_rollout_start *how, struct tn_outcome *out,
                   struct tn_error **err);

/* hooks.c */
enum tn_hook_when { TN_HOOK_PRE, TN_HOOK_POST, TN_HOOK_FAILED };
/* Runs the hooks of a goal in order. TN_EUNKNOWN: one was begun by an earlier run and its end is not known. */
int tn_run_hooks(struct tn_session *s, const struct tn_goal *g, enum tn_hook_when when, const char *resume,
                 struct tn_error **err);

/* The rollout is over: what the target says of its hooks is not needed any more. */
void tn_forget_hooks(struct tn_session *s);

/* ending.c: exit code, state, and the sentences of an outcome. */
/* Did a rollout in this state end for good? One that did not can be resumed. */
bool tn_state_is_final(const char *state);
/* The outcome of a call that had nothing to do; `now` says why. Returns TN_EXIT_OK. */
int tn_outcome_nothing(struct tn_outcome *out, const char *now);
void tn_outcome_from(struct tn_session *s, const struct tn_goals *goals, const struct tn_ran *forward,
                     const struct tn_ran *back, struct tn_outcome *out);

#endif
