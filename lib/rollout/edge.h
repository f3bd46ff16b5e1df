/* edge.h - one placement's part of the traffic: which of its instances get requests, at every balancer that exposes it. */
#ifndef TN_ROLLOUT_EDGE_H
#define TN_ROLLOUT_EDGE_H

#include "lib/rollout/session.h"

/* One `expose` entry of a service, resolved. */
struct tn_exposure {
    const struct tn_expose *expose;
    struct tn_edge *edge;
    char *upstream;
};
struct tn_exposures {
    struct tn_exposure *v;
    size_t n;
    const struct tn_service *service; /* NULL: it left the plan */
    const char *name, *cluster;
    char *suffix; /* ".CLUSTER": several placements may share an upstream, each knows its own servers */
    int slots;
    char *unknown; /* a balancer whose file cannot be read: whether it sends traffic here is not known */
};
/* `service` is the plan's; NULL: `name` left the plan, and is looked for in the files that we own. */
void tn_exposures_init(struct tn_exposures *x, struct tn_session *s, const struct tn_service *service,
                       const char *name, const char *cluster);
void tn_exposures_clear(struct tn_exposures *x);

/* One look at every balancer concerned; v[i] belongs to x->v[i]. Blocks on their locks. */
struct tn_edge_views {
    struct tn_balancer_status *v;
    size_t n;
    bool all_answered;
    char *error;
};
void tn_exposures_observe(struct tn_session *s, struct tn_exposures *x, struct tn_edge_views *out);
void tn_edge_views_clear(struct tn_edge_views *v);
/* YES: gets requests from all of them; NO: from none; CANNOT_TELL: one does not answer. A mixture is `mixed`. */
enum tn_tri tn_exposures_rotation(const struct tn_exposures *x, const struct tn_edge_views *v,
                                  const char *instance, enum tn_tri mixed);
/* All of them say that no request of it runs any more. *running = how many still do, as far as known. */
enum tn_tri tn_exposures_drained(struct tn_session *s, struct tn_exposures *x, const struct tn_edge_views *v,
                                 const struct tn_instance *i, int64_t *running);

/* Adds and takes out instances, at one balancer after the other; nothing is drained before all confirm what was added:
 * when one fails, those already changed are put back. `exists` names what exists: other servers of this placement are
 * dropped. *note: what the balancers said. */
struct tn_edge_change {
    const struct tn_instance *const *add;
    size_t n_add;
    const char *const *drop;
    size_t n_drop;
    const struct tn_observation *exists; /* NULL = keep what is there */
    bool whole; /* all of this placement's servers, and the upstream itself when nobody else's are in it */
};
int tn_exposures_apply(struct tn_session *s, struct tn_exposures *x, const struct tn_edge_change *change,
                       char **note, struct tn_error **err);
/* What the plan changes in the settings of its upstreams, one call a setting: "expose.weight", from, to (NULL = unset). */
void tn_exposures_compare(struct tn_session *s, struct tn_exposures *x,
                          void (*each)(void *arg, const char *field, const char *from, const char *to),
                          void *arg);
/* Stands this instance in the files that we own? */
bool tn_exposures_hold(struct tn_session *s, struct tn_exposures *x, const char *instance);
/* Would apply without a change of members write another file? */
int tn_exposures_differ(struct tn_session *s, struct tn_exposures *x, const struct tn_observation *exists,
                        struct tn_error **err);

#endif
