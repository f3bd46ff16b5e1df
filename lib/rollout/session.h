/* session.h - what is open for one plan: providers, balancers, store, http; and who hears of it. */
#ifndef TN_ROLLOUT_SESSION_H
#define TN_ROLLOUT_SESSION_H

#include <pthread.h>

#include "lib/balancer/balancer.h"
#include "turnout/cancel.h"
#include "lib/base/pool.h"
#include "lib/provider/provider.h"
#include "lib/state/store.h"
#include "lib/transport/http.h"
#include "turnout/rollout.h"

enum { TN_POOL_MOVES = 10, TN_POOL_PROBES = 8 };

/* A cluster of the plan, open. The pool bounds the moves that run on it at the same time. */
struct tn_site {
    const struct tn_cluster *config;
    struct tn_provider *provider;
    struct tn_pool *pool;
    pthread_mutex_t lock;
    struct tn_observation known; /* under the lock: what was last seen, and what was started since */
    int64_t known_at;            /* monotonic us */
};

/* A balancer of the plan, open. Everything but `config` is under `lock`. */
struct tn_edge {
    const struct tn_balancer *config;
    pthread_mutex_t lock;
    struct tn_balancer_driver *driver;
    struct tn_traffic wanted; /* whole content of the owned file, as last applied or read */
    bool read;                /* `wanted` was read from the balancer */
};

struct tn_session {
    const struct tn_plan *plan;
    struct tn_cancel *cancel;
    struct tn_store *store; /* NULL in a read-only session without state */
    char *state;
    char *actor;
    bool read_only, no_exec, force;
    struct tn_http *http;
    struct tn_site *sites; /* one a cluster of the plan, same order */
    struct tn_edge *edges; /* one a balancer of the plan, same order */
    struct tn_pool *probes;
    pthread_mutex_t lock; /* events, picked ports */
    tn_event_sink sink;
    void *sink_arg;
    char *rollout; /* id of the run, NULL while there is none */
    struct tn_lease *lease;
    struct {
        size_t site, host;
        int port;
    } * picked;
    size_t n_picked, cap_picked;
};

struct tn_site *tn_session_site(struct tn_session *s, const char *cluster);
struct tn_edge *tn_session_edge(struct tn_session *s, const char *balancer);
/* Opens the driver on first use. The caller holds edge->lock. */
int tn_edge_open(struct tn_session *s, struct tn_edge *e, struct tn_error **err);

/* Instances of this plan's app and environment on this cluster; strangers and other environments are left out. Unknown is
 * not absent: what this session knows to be on a host that does not answer now is there, in state unknown. */
int tn_site_observe(struct tn_session *s, struct tn_site *site, struct tn_observation *out,
                    struct tn_error **err);
/* It was started, or may have been: it is there until its host answers that it is not. Copies. */
void tn_site_know(struct tn_site *site, const struct tn_instance *started);
/* A host port of policy.port_range that nobody is known to use; reserved for this session. 0 = none left. */
int tn_session_pick_port(struct tn_session *s, const struct tn_site *site, size_t host,
                         const struct tn_observation *o);

/* The instance that had it is gone, or never came. */
void tn_session_free_port(struct tn_session *s, const struct tn_site *site, size_t host, int port);

/* Tells the sink and the store. `text` is made from fmt. */
struct tn_where {
    const char *service, *cluster, *instance;
};
void tn_session_tell(struct tn_session *s, enum tn_event_kind kind, const struct tn_where *w, json_t *data,
                     const char *fmt, ...) __attribute__((format(printf, 5, 6))); /* takes data */

#endif
