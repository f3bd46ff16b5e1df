#include "lib/rollout/session.h"

#include <pwd.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "turnout/clock.h"
#include "turnout/mem.h"
#include "turnout/text.h"

static char *who_runs_this(void)
{
    char host[256] = "localhost";
    gethostname(host, sizeof(host) - 1);
    const char *ci = getenv("GITHUB_ACTOR");
    if (!ci)
        ci = getenv("GITLAB_USER_LOGIN");
    struct passwd pw, *found = NULL;
    char buf[1024];
    getpwuid_r(geteuid(), &pw, buf, sizeof(buf), &found);
    return tn_format("%s@%s", ci ? ci : found ? found->pw_name : "unknown", host);
}

static int open_sites(struct tn_session *s, struct tn_error **err)
{
    s->sites = tn_alloc(s->plan->n_clusters * sizeof(*s->sites));
    for (size_t i = 0; i < s->plan->n_clusters; i++) {
        struct tn_site *site = &s->sites[i];
        site->config = &s->plan->clusters[i];
        pthread_mutex_init(&site->lock, NULL);
        site->provider = tn_provider_open(s->plan, site->config, s->http, err);
        if (!site->provider)
            return tn_error_prefix(err, "cluster '%s'", site->config->name);
        site->pool = tn_pool_new(TN_POOL_MOVES);
    }
    return TN_OK;
}

static void open_edges(struct tn_session *s)
{
    s->edges = tn_alloc(s->plan->n_balancers * sizeof(*s->edges));
    for (size_t i = 0; i < s->plan->n_balancers; i++) {
        s->edges[i].config = &s->plan->balancers[i];
        pthread_mutex_init(&s->edges[i].lock, NULL);
    }
}

struct tn_session *tn_session_open(const struct tn_session_options *o, struct tn_error **err)
{
    struct tn_session *s = tn_alloc(sizeof(*s));
    pthread_mutex_init(&s->lock, NULL);
    s->plan = o->plan;
    s->cancel = o->cancel;
    s->read_only = o->read_only;
    s->no_exec = o->no_exec;
    s->force = o->force;
    s->sink = o->sink;
    s->sink_arg = o->sink_arg;
    s->actor = o->actor ? tn_strdup(o->actor) : who_runs_this();
    s->state = tn_store_default(o->state, o->plan->state);
    open_edges(s);
    struct tn_error *e = NULL;
    s->store = o->read_only ? tn_store_open_existing(s->state, &e) : tn_store_open(s->state, &e);
    if (e && !o->read_only) {
        tn_error_move(err, &e);
        tn_session_free(s);
        return NULL;
    }
    tn_error_clear(&e); /* looking works without memory */
    s->probes = tn_pool_new(TN_POOL_PROBES);
    s->http = tn_http_new(s->cancel, err);
    if (!s->http || open_sites(s, err) < 0) {
        tn_session_free(s);
        return NULL;
    }
    return s;
}

void tn_session_free(struct tn_session *s)
{
    if (!s)
        return;
    for (size_t i = 0; s->sites && i < s->plan->n_clusters; i++) {
        tn_pool_free(s->sites[i].pool);
        tn_provider_free(s->sites[i].provider);
        tn_observation_clear(&s->sites[i].known);
        pthread_mutex_destroy(&s->sites[i].lock);
    }
    for (size_t i = 0; s->edges && i < s->plan->n_balancers; i++) {
        tn_balancer_driver_free(s->edges[i].driver);
        tn_traffic_clear(&s->edges[i].wanted);
        pthread_mutex_destroy(&s->edges[i].lock);
    }
    tn_pool_free(s->probes);
    if (s->http)
        tn_http_free(s->http);
    tn_store_free(s->store);
    pthread_mutex_destroy(&s->lock);
    free(s->sites);
    free(s->edges);
    free(s->picked);
    free(s->rollout);
    free(s->state);
    free(s->actor);
    free(s);
}

struct tn_site *tn_session_site(struct tn_session *s, const char *cluster)
{
    for (size_t i = 0; i < s->plan->n_clusters; i++)
        if (strcmp(s->plan->clusters[i].name, cluster) == 0)
            return &s->sites[i];
    return NULL;
}

struct tn_edge *tn_session_edge(struct tn_session *s, const char *balancer)
{
    for (size_t i = 0; i < s->plan->n_balancers; i++)
        if (strcmp(s->plan->balancers[i].name, balancer) == 0)
            return &s->edges[i];
    return NULL;
}

/* Where the balancer lives: in a container of a cluster, or on this host. */
static struct tn_host *edge_host(struct tn_session *s, const struct tn_balancer *b, struct tn_error **err)
{
    if (!b->container)
        return tn_host_local();
    struct tn_site *site = tn_session_site(s, b->on);
    if (!site) {
        tn_error_set(err, TN_EPLAN, "balancer '%s': the plan has no cluster '%s'", b->name,
                     b->on ? b->on : "?");
        return NULL;
    }
    if (!site->provider->ops->container_host) {
        tn_error_set(err, TN_EUNSUPPORTED, "balancer '%s': a %s cluster has no containers", b->name,
                     tn_cluster_kind_name(site->config->kind));
        return NULL;
    }
    return site->provider->ops->container_host(site->provider, b->container, err);
}

int tn_edge_open(struct tn_session *s, struct tn_edge *e, struct tn_error **err)
{
    if (e->driver)
        return TN_OK;
    tn_autofree char *managed = NULL;
    if (e->config->managed) {
        const struct tn_cluster *c = tn_plan_cluster(s->plan, e->config->managed);
        if (c && c->kind == TN_CLUSTER_PROCESS)
            managed = s->plan->environment[0] ? tn_format("%s/balancers/%s@%s", c->process.dir,
                                                          e->config->name, s->plan->environment)
                                              : tn_format("%s/balancers/%s", c->process.dir, e->config->name);
    }
    struct tn_host *host = edge_host(s, e->config, err);
    if (host)
        e->driver = tn_balancer_open(s->plan, e->config, host, managed, s->http, err);
    return e->driver ? TN_OK : tn_error_prefix(err, "balancer '%s'", e->config->name);
}

static bool is_ours(const struct tn_session *s, const struct tn_site *site, const struct tn_instance *i)
{
    return i->service && i->environment && strcmp(i->environment, s->plan->environment) == 0 &&
           (!i->cluster || strcmp(i->cluster, site->config->name) == 0);
}

static void add_copy(struct tn_observation *to, const struct tn_instance *i)
{
    TN_GROW(to->v, to->n, to->cap);
    to->v[to->n++] = tn_instance_copy(i);
}

static void add_unknown(const struct tn_site *site, struct tn_observation *out)
{
    for (size_t i = 0; i < site->known.n; i++) {
        size_t host = site->known.v[i].host;
        if (host >= out->n_hosts || out->hosts[host].answered)
            continue;
        add_copy(out, &site->known.v[i]);
        out->v[out->n - 1].state = TN_RUN_UNKNOWN;
    }
}

/* A look that began before something newer was known must not make it unknown again. */
static void keep_known(struct tn_site *site, const struct tn_observation *seen, int64_t began)
{
    if (began <= site->known_at)
        return;
    tn_observation_clear(&site->known);
    for (size_t i = 0; i < seen->n; i++)
        add_copy(&site->known, &seen->v[i]);
    site->known_at = began;
}

void tn_site_know(struct tn_site *site, const struct tn_instance *started)
{
    bool seen = false;
    pthread_mutex_lock(&site->lock);
    for (size_t i = 0; i < site->known.n && !seen; i++)
        seen = site->known.v[i].host == started->host && strcmp(site->known.v[i].name, started->name) == 0;
    if (!seen)
        add_copy(&site->known, started);
    site->known_at = tn_mono_us();
    pthread_mutex_unlock(&site->lock);
}

int tn_site_observe(struct tn_session *s, struct tn_site *site, struct tn_observation *out,
                    struct tn_error **err)
{
    int64_t began = tn_mono_us();
    int rc = site->provider->ops->observe(site->provider, s->cancel, s->plan->name, out, err);
    if (rc < 0)
        return tn_error_prefix(err, "cluster '%s'", site->config->name);
    size_t kept = 0;
    for (size_t i = 0; i < out->n; i++) {
        if (is_ours(s, site, &out->v[i]))
            out->v[kept++] = out->v[i];
        else
            tn_instance_clear(&out->v[i]);
    }
    out->n = kept;
    pthread_mutex_lock(&site->lock);
    add_unknown(site, out);
    keep_known(site, out, began);
    pthread_mutex_unlock(&site->lock);
    return TN_OK;
}

static bool port_is_known(const struct tn_session *s, size_t host, int port, const struct tn_observation *o)
{
    for (size_t i = 0; i < s->n_picked; i++)
        if (s->picked[i].port == port)
            return true; /* on whatever engine: several may share one machine's addresses */
    for (size_t i = 0; o && i < o->n; i++)
        for (size_t k = 0; o->v[i].host == host && k < o->v[i].n_ports; k++)
            if (o->v[i].ports[k].host_port == port)
                return true;
    return false;
}

int tn_session_pick_port(struct tn_session *s, const struct tn_site *site, size_t host,
                         const struct tn_observation *o)
{
    size_t index = (size_t)(site - s->sites);
    int found = 0;
    pthread_mutex_lock(&s->lock);
    for (int port = s->plan->policy.port_first; port <= s->plan->policy.port_last && !found; port++) {
        if (port_is_known(s, host, port, o) || site->provider->ops->port_taken(site->provider, host, port))
            continue;
        TN_GROW(s->picked, s->n_picked, s->cap_picked);
        s->picked[s->n_picked].site = index;
        s->picked[s->n_picked].host = host;
        s->picked[s->n_picked++].port = port;
        found = port;
    }
    pthread_mutex_unlock(&s->lock);
    return found;
}

void tn_session_free_port(struct tn_session *s, const struct tn_site *site, size_t host, int port)
{
    size_t index = (size_t)(site - s->sites);
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->n_picked; i++) {
        if (s->picked[i].site == index && s->picked[i].host == host && s->picked[i].port == port) {
            s->picked[i] = s->picked[--s->n_picked];
            break;
        }
    }
    pthread_mutex_unlock(&s->lock);
}

void tn_session_tell(struct tn_session *s, enum tn_event_kind kind, const struct tn_where *w, json_t *data,
                     const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    tn_autofree char *text = tn_vformat(fmt, ap);
    va_end(ap);
    struct tn_event e = {
        .at = tn_wall_ms(),
        .kind = kind,
        .rollout = s->rollout,
        .service = w ? w->service : NULL,
        .cluster = w ? w->cluster : NULL,
        .instance = w ? w->instance : NULL,
        .text = text,
        .data = data,
    };
    pthread_mutex_lock(&s->lock);
    if (s->store && s->rollout && kind != TN_EV_WORLD && kind != TN_EV_PULL) {
        json_t *j = tn_event_json(&e);
        tn_autofree char *line = json_dumps(j, JSON_COMPACT);
        json_decref(j);
        if (line)
            tn_store_event_later(s->store, s->rollout, e.at, line);
    }
    if (s->sink)
        s->sink(s->sink_arg, &e);
    pthread_mutex_unlock(&s->lock);
    json_decref(data);
}
