/* goal.h - where a rollout leads: one goal a placement. Written into the store and into the lease, so that any machine
 * can finish it. */
#ifndef TN_ROLLOUT_GOAL_H
#define TN_ROLLOUT_GOAL_H

#include "lib/rollout/session.h"

struct tn_goal_secret {
    const char *env;  /* borrowed from the spec */
    const char *name; /* secret's name */
    char *value;      /* wiped and freed with the goal */
    size_t len;
};

struct tn_goal {
    char *service, *cluster;
    char *placement;                       /* "service@cluster" */
    const struct tn_service *plan_service; /* NULL: the plan does not name it */
    json_t *spec;                          /* the wanted revision's; NULL when it is to be removed */
    struct tn_service *typed;              /* from spec */
    char revision[13];                     /* "" when it is to be removed */
    int replicas;
    bool fresh; /* restart: only instances of this very rollout count */
    /* the way back */
    json_t *from_spec;
    char from_revision[13]; /* "" = there was nothing */
    int from_count;
    char *from_secrets; /* secrets label of the old instances, NULL = none, or not known */
    struct tn_goal_secret *secrets;
    size_t n_secrets;
    bool secrets_known; /* values were resolved */
    char *label;        /* going back: the secrets label that the old instances carry, NULL = none */
    bool label_known;
    char *secret_hashes; /* JSON for the label; NULL = none */
    char *note;          /* what there is to say of its image; NULL = nothing */
};
struct tn_goals {
    struct tn_goal *v;
    size_t n, cap;
    char *action; /* deploy, rollback, restart, destroy */
    bool whole;   /* destroy of everything: balancers and records go, too */
};

struct tn_goals *tn_goals_new(const char *action);
void tn_goals_free(struct tn_goals *g);
struct tn_goal *tn_goals_add(struct tn_goals *g, const char *service, const char *cluster);
struct tn_goal *tn_goals_find(const struct tn_goals *g, const char *service, const char *cluster);
/* Takes a reference of spec; types it. */
int tn_goal_set_spec(struct tn_goal *g, json_t *spec, struct tn_error **err);
/* What to start of it: who and what it is, and its secrets. The caller adds name, host and effect. Everything is borrowed
 * from session and goal. */
void tn_goal_start(const struct tn_session *s, const struct tn_goal *g, struct tn_start *out);
/* Resolves the values of its secrets and, against the hashes that `running` instances carry, the label to use: the
 * label of a running instance when all values match (then nothing changed), else a new one. */
int tn_goal_secrets(struct tn_session *s, struct tn_goal *g, const struct tn_observation *running,
                    struct tn_error **err);
/* True when an instance's secrets label holds for the goal's values. */
bool tn_goal_secrets_match(const struct tn_goal *g, const char *label);

/* Does an instance have the secrets that this goal wants? Going back that is told by the label alone. */
bool tn_goal_secrets_fit(const struct tn_goal *g, const char *label);

/* {"action","placements":[{service,cluster,revision,spec,replicas,fresh,from_revision,from_spec,from_count}]} */
json_t *tn_goals_json(const struct tn_goals *g);
struct tn_goals *tn_goals_from_json(struct tn_session *s, const json_t *j, struct tn_error **err);
/* The same placements, backwards. */
struct tn_goals *tn_goals_back(struct tn_session *s, const struct tn_goals *g, struct tn_error **err);

/* The wanted spec of a service on a cluster, image resolved. *note may be set. New reference. */
json_t *tn_goal_resolve(struct tn_session *s, const struct tn_service *service, struct tn_site *site,
                        char **note, struct tn_error **err);

#endif
