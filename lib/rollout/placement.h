/* placement.h - one service on one cluster while it is rolled: what is known of it between two looks. One worker thread
 * owns it; jobs on the cluster's pool carry out its moves and come back through `done`. */
#ifndef TN_ROLLOUT_PLACEMENT_H
#define TN_ROLLOUT_PLACEMENT_H

#include <pthread.h>

#include "lib/gate/probe.h"
#include "lib/rollout/edge.h"
#include "lib/rollout/goal.h"
#include "lib/rollout/lease.h"
#include "turnout/strategy.h"

/* What is remembered of an instance from look to look. Times are monotonic ms. */
struct tn_tracked {
    char *name;
    bool present;     /* in the last observation */
    bool by_this_run; /* started by this run */
    bool was_serving;
    bool settled;
    bool ready;
    bool hopeless;
    bool secrets_fit; /* its secrets are the goal's: asked once, a scrypt is dear */
    bool counted;     /* its failure is in the memo */
    bool told_failed, told_ready;
    enum tn_busy busy;
    int64_t first_seen, ready_since, out_since, next_probe;
    int passes, failures, hopeless_count;
    struct tn_probe_answer answer;
    struct tn_service *spec; /* of its own revision; NULL = not readable */
    char *effect;            /* that made it: another one = another instance of the same name */
};

/* State of one plan gate of this placement. */
struct tn_gate_state {
    const struct tn_gate *gate;
    int passes, failures, errors;
    int64_t next;
    struct tn_probe_answer answer;
    bool failed;
};

struct tn_job; /* a move on its way */

struct tn_placement {
    struct tn_session *s;
    struct tn_goal *goal;
    struct tn_site *site;
    struct tn_exposures exposures;
    struct tn_strategy_spec spec;
    struct tn_strategy_memo memo;
    int64_t number; /* last effect */
    /* Instances that a balancer was told of by this rollout, by its journal; NULL = not known. */
    json_t *admitted;

    struct tn_observation all;   /* of every service on the cluster: names and ports that are taken */
    struct tn_observation world; /* instances of this service only */
    struct tn_edge_views views;
    struct tn_tracked *tracked;
    size_t n_tracked, cap_tracked;
    struct tn_instance_obs obs[TN_MAX_INSTANCES];
    int n_obs;
    bool *host_down;
    bool balancer_unknown;
    struct tn_gate_state *gates;
    size_t n_gates;

    pthread_mutex_t preparing; /* secrets and images of the goal, asked for by a job */
    pthread_mutex_t lock;      /* done list */
    char **names;              /* given to starts in flight; under the lock */
    size_t n_names, cap_names;
    struct tn_job *done;
    int wake; /* eventfd: a job came back */
    int in_flight;
    bool traffic_in_flight; /* an admit or a drain */
    uint32_t start_hosts[TN_MAX_INSTANCES];
    int starts;

    enum tn_wait told_wait;
    bool told_no_health; /* an image without a health check where the plan relies on one */
    json_t *told_world;
    int least_serving; /* lowest number that served while it ran */
    int64_t looked_at,
        downtime;        /* monotonic ms of the last decision; ms in which nothing served that had served */
    int errors_in_a_row; /* moves that failed; the next ones wait a little longer each time */
    int64_t hold_until;
    bool changed_something;

    /* the end */
    enum tn_verdict verdict;
    bool aborted;
    enum tn_code stop_code; /* TN_ELOST, TN_ECANCELLED, TN_ETIMEOUT, … why it stopped without a verdict */
    char *cause, *evidence, *culprit;
    char *last_error; /* of the last move that failed */
};

/* What the plan asks for, as the core wants it. */
struct tn_strategy_spec tn_strategy_spec_for(const struct tn_goal *g, enum tn_direction direction);
void tn_placement_init(struct tn_placement *p, struct tn_session *s, struct tn_goal *g,
                       enum tn_direction direction);
void tn_placement_clear(struct tn_placement *p);
/* Runs until done, failed, or stopped. Called on its own thread. */
void tn_placement_run(struct tn_placement *p);

/* world.c: looks, probes, fills obs. TN_OK, or an error that ends the placement. */
int tn_placement_look(struct tn_placement *p, struct tn_error **err);
struct tn_tracked *tn_placement_tracked(struct tn_placement *p, const char *name);
const struct tn_instance *tn_placement_instance(const struct tn_placement *p, const char *name);
enum tn_gates_state tn_placement_gates(struct tn_placement *p);
/* When the next probe or gate is due (monotonic ms). */
int64_t tn_placement_next_look(const struct tn_placement *p, int64_t now);
json_t *tn_placement_snapshot(const struct tn_placement *p);
/* Why this instance has failed, in an operator's words; *evidence = its last log lines (may stay NULL). */
char *tn_placement_diagnose(struct tn_placement *p, const char *instance, char **evidence);

/* A change failed: the next ones wait, longer each time, and what no repetition can heal ends the placement. */
void tn_placement_note_error(struct tn_placement *p, const struct tn_error *err);

/* moves.c: starts jobs for the moves of a decision; takes in finished ones. */
void tn_placement_dispatch(struct tn_placement *p, const struct tn_decision *d);
void tn_placement_reap(struct tn_placement *p);

/* effect.c: the one place where the world is changed: intent (durable) → call → outcome. */
struct tn_effect {
    struct tn_session *s;
    const char *placement, *move, *instance;
    int64_t number;
    json_t *detail; /* borrowed; goes into the intent */
};
/* rollout/placement/number: the label of what an effect makes. Caller frees. */
char *tn_effect_id(const char *rollout, const char *placement, int64_t number);
/* Calls do_it between intent and outcome; what it returns is the outcome. */
int tn_effect_run(const struct tn_effect *e, int (*do_it)(void *arg, struct tn_error **err), void *arg,
                  struct tn_error **err);
/* The outcome of an intent; NULL = not known. */
const struct tn_record *tn_effect_outcome(const struct tn_records *all, const struct tn_record *intent);
/* Intents without an outcome of an earlier run are judged by what is observed: was it done? */
int tn_effect_probe_all(struct tn_placement *p, struct tn_error **err);

#endif
