/* turnout/rollout.h - what the verbs do. The program is a client of this.
 *
 * A session holds the open providers, balancers and the store for one plan. One session a process; its calls are made
 * by one thread, which blocks; the cancel token may be raised from anywhere.
 */
#ifndef TURNOUT_ROLLOUT_H
#define TURNOUT_ROLLOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

#include "turnout/cancel.h"
#include "turnout/error.h"
#include "turnout/event.h"
#include "turnout/plan.h"

struct tn_session;

/* DESIGN §7. */
enum tn_exit {
    TN_EXIT_OK = 0,
    TN_EXIT_ERROR = 1,
    TN_EXIT_CHANGES = 2,
    TN_EXIT_ROLLED_BACK = 3,
    TN_EXIT_AUTH = 4,
    TN_EXIT_MIXED = 5,
    TN_EXIT_TIMEOUT = 6,
    TN_EXIT_HELD = 7,
    TN_EXIT_PAUSED = 8,
    TN_EXIT_STALE = 9,
    TN_EXIT_USAGE = 64,
    TN_EXIT_PLAN = 65,
    TN_EXIT_INT = 130,
    TN_EXIT_TERM = 143,
};
/* The exit code for an error before anything changed. */
int tn_exit_of(const struct tn_error *err);

struct tn_session_options {
    const struct tn_plan *plan; /* borrowed; must outlive the session */
    struct tn_cancel *cancel;   /* borrowed */
    const char *state;          /* --state, or NULL */
    const char *actor;          /* who runs this, for the history; NULL = user@host */
    bool read_only;             /* no state is created */
    bool no_exec;               /* resolve no secret that runs a program */
    bool force;                 /* overwrite our balancer file although it was edited by hand */
    tn_event_sink sink;
    void *sink_arg;
};
struct tn_session *tn_session_open(const struct tn_session_options *o, struct tn_error **err);
void tn_session_free(struct tn_session *s);

/* Which placements a run concerns: globs; empty = all. */
struct tn_selection {
    const char *const *services;
    size_t n_services;
    const char *const *clusters;
    size_t n_clusters;
};

enum tn_change_action {
    TN_CHANGE_NONE,    /* as the plan wants it */
    TN_CHANGE_CREATE,  /* nothing of it runs */
    TN_CHANGE_UPDATE,  /* another revision runs */
    TN_CHANGE_SCALE,   /* more or fewer */
    TN_CHANGE_REPAIR,  /* an instance is missing, has failed, or is not in rotation */
    TN_CHANGE_TRAFFIC, /* only weights or balancing keys */
    TN_CHANGE_REMOVE,  /* the plan does not name it any more */
    TN_CHANGE_MANUAL,  /* drift, and the strategy is manual: left alone */
};
const char *tn_change_action_name(enum tn_change_action a);

/* One row of the timeline. */
struct tn_timeline_row {
    int old_count, new_count, serving, new_traffic_permille;
    char *text;
    int64_t at_ms; /* in the ideal world */
};
struct tn_field_change {
    char *field, *from, *to; /* NULL = absent; secrets are shown by their hash only */
};
struct tn_change {
    char *service, *cluster;
    enum tn_change_action action;
    char *from_revision, *to_revision; /* NULL when there is none */
    int from_count, to_count, running;
    char *strategy, *engine, *cluster_kind;
    struct tn_field_change *fields;
    size_t n_fields;
    struct tn_timeline_row *timeline;
    size_t n_timeline;
    int64_t expected_ms;
    int least_serving; /* in the timeline */
    char **notes;      /* sentences: a tag that did not move, an alias that is not drained … */
    size_t n_notes;
};
struct tn_changes {
    struct tn_change *v;
    size_t n;
    int create, update, remove; /* counts of changes */
    bool any;
    struct tn_goals *goals; /* internal */
};
void tn_changes_free(struct tn_changes *c);
/* Reads only. resolve = ask registries for digests. */
struct tn_changes *tn_session_diff(struct tn_session *s, const struct tn_selection *sel,
                                   struct tn_error **err);
/* The change set as a file's content (new reference), and back. */
json_t *tn_changes_json(const struct tn_session *s, const struct tn_changes *c);
/* Result document of `diff -o json`. New reference. */
json_t *tn_changes_report(const struct tn_changes *c);

struct tn_outcome {
    int exit_code;  /* enum tn_exit */
    char *rollout;  /* id, NULL when nothing was begun */
    char *state;    /* done, rolled_back, … ; "nothing to do" → done */
    char *cause;    /* what failed and why; NULL */
    char *evidence; /* last log lines of the failed instance; NULL */
    char *action;   /* what was done about it; NULL */
    char *now;      /* the state now, one sentence */
    char *next;     /* the command to type next; NULL */
    json_t *report; /* result document */
};
void tn_outcome_clear(struct tn_outcome *o);

struct tn_deploy_options {
    struct tn_selection selection;
    const json_t *changeset; /* exactly this, or TN_EXIT_STALE */
    bool dry_run;
    int64_t lease_wait; /* ms; -1 = the plan's */
};
/* All of these block until the run ends; they return an exit code and fill `out`; err is set when nothing was begun. */
int tn_session_deploy(struct tn_session *s, const struct tn_changes *c, const struct tn_deploy_options *o,
                      struct tn_outcome *out, struct tn_error **err);
/* Back to the revision before (or `to`, a revision or its beginning). */
int tn_session_rollback(struct tn_session *s, const char *to, const struct tn_deploy_options *o,
                        struct tn_outcome *out, struct tn_error **err);
/* Finishes whatever was left. hook: NULL, "rerun" or "skip". */
int tn_session_resume(struct tn_session *s, const char *id, const char *hook,
                      const struct tn_deploy_options *o, struct tn_outcome *out, struct tn_error **err);
int tn_session_restart(struct tn_session *s, const struct tn_deploy_options *o, struct tn_outcome *out,
                       struct tn_error **err);
int tn_session_destroy(struct tn_session *s, const struct tn_deploy_options *o, struct tn_outcome *out,
                       struct tn_error **err);
/* Asks the run that holds the lease to give up and go back; drives it itself when that run is gone. */
int tn_session_abort(struct tn_session *s, const struct tn_deploy_options *o, struct tn_outcome *out,
                     struct tn_error **err);

/* What runs now. New reference: {"app","environment","placements":[{service,cluster,wanted,…,"instances":[…]}],
 * "lease":…, "rollout":…}. */
json_t *tn_session_status(struct tn_session *s, const struct tn_selection *sel, struct tn_error **err);
json_t *tn_session_lease(struct tn_session *s, struct tn_error **err);
/* Releases a lease by force; `id` must be its holder's rollout id (S04). */
int tn_session_lease_release(struct tn_session *s, const char *id, struct tn_error **err);
/* Removes records and left-overs beyond `keep`. Returns a document of what was (or would be) removed. */
json_t *tn_session_prune(struct tn_session *s, bool dry_run, struct tn_error **err);
int tn_session_doctor(struct tn_session *s, void (*report)(void *arg, bool ok, const char *text), void *arg,
                      struct tn_error **err);
/* Logs of the instances of a service (NULL instance = all, one after another; follow = at the same time). */
int tn_session_logs(struct tn_session *s, const struct tn_selection *sel, const char *instance, int tail,
                    bool follow, void (*line)(void *arg, const char *instance, const char *text, size_t n),
                    void *arg, struct tn_error **err);
/* Runs a command in one instance (the newest serving one when `instance` is NULL). Returns its exit code ≥ 0. */
int tn_session_exec(struct tn_session *s, const struct tn_selection *sel, const char *instance,
                    const char *const *argv, char **out_text, char **err_text, struct tn_error **err);

/* History of this plan's application (also without a plan: app NULL = all). */
json_t *tn_history(const char *state, const char *app, const char *environment, int limit,
                   struct tn_error **err);
json_t *tn_history_show(const char *state, const char *id, struct tn_error **err);
int tn_history_events(const char *state, const char *id, int64_t after,
                      void (*each)(void *arg, int64_t sequence, const char *json_line), void *arg,
                      struct tn_error **err);
int tn_history_verify(const char *state, int64_t *out_n, struct tn_error **err);

#endif
