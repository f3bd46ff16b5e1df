/* Carrying out moves. The placement's own thread decides names, ports and numbers; the job does the blocking part on
 * the cluster's pool; what came of it is taken in on the placement's thread again. Admits and drains of one decision
 * go to the balancers as one change, so that a batch costs at most two reloads. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "turnout/clock.h"
#include "turnout/mem.h"
#include "turnout/text.h"
#include "lib/rollout/placement.h"

enum { PORT_TRIES = 20, NAME_TRIES = 20 };

/* One effect on its way. */
struct tn_job {
    struct tn_job *next;
    struct tn_placement *p;
    enum tn_move_kind kind;
    int64_t number, began;
    struct tn_instance *v; /* copies: one, or the members of a traffic change */
    size_t n;
    struct tn_observation world; /* names that exist (START: names and ports taken) */
    uint32_t host;
    char *reserved; /* START: the name set aside for it; in the end it may have taken another one */
    char *signal, *policy;
    int64_t grace;
    int rc;
    struct tn_error *err;
    char *note;
};

static void job_free(struct tn_job *j)
{
    for (size_t i = 0; i < j->n; i++)
        tn_instance_clear(&j->v[i]);
    tn_observation_clear(&j->world);
    free(j->v);
    free(j->reserved);
    free(j->signal);
    free(j->policy);
    free(j->note);
    tn_error_free(j->err);
    free(j);
}

static void job_back(struct tn_job *j)
{
    struct tn_placement *p = j->p;
    pthread_mutex_lock(&p->lock);
    j->next = p->done;
    p->done = j;
    /* under the lock: afterwards the placement may be gone */
    ssize_t n = write(p->wake, &(uint64_t){1}, sizeof(uint64_t));
    (void)n;
    pthread_mutex_unlock(&p->lock);
}

/* ---- start ---- */

static bool name_taken(const struct tn_observation *o, const char *name)
{
    for (size_t i = 0; i < o->n; i++)
        if (strcmp(o->v[i].name, name) == 0)
            return true;
    return false;
}

/* The next free name, taken for this job until it comes back: jobs at the same time must not try for one another's. */
static char *pick_name(const struct tn_job *j, int from)
{
    struct tn_placement *p = j->p;
    for (int n = from;; n++) {
        char *name = tn_format("%s-%s-%.7s-%d", p->s->plan->name, p->goal->service, p->goal->revision, n);
        pthread_mutex_lock(&p->lock);
        bool free_name = !name_taken(&j->world, name);
        for (size_t i = 0; i < p->n_names && free_name; i++)
            free_name = strcmp(p->names[i], name) != 0;
        if (free_name) {
            TN_GROW(p->names, p->n_names, p->cap_names);
            p->names[p->n_names++] = tn_strdup(name);
        }
        pthread_mutex_unlock(&p->lock);
        if (free_name)
            return name;
        free(name);
    }
}

static void give_name_back(struct tn_placement *p, const char *name)
{
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->n_names; i++) {
        if (strcmp(p->names[i], name) == 0) {
            free(p->names[i]);
            p->names[i] = p->names[--p->n_names];
            break;
        }
    }
    pthread_mutex_unlock(&p->lock);
}

/* The data address of an engine on another machine, NULL for one of this machine. */
static char *remote_address(const struct tn_cluster *c, size_t host)
{
    if (c->kind != TN_CLUSTER_DOCKER || host >= c->docker.n_hosts ||
        !tn_starts_with(c->docker.hosts[host].url, "tcp://"))
        return NULL;
    if (c->docker.hosts[host].address)
        return tn_strdup(c->docker.hosts[host].address);
    const char *name = c->docker.hosts[host].url + strlen("tcp://"), *colon = strrchr(name, ':');
    return tn_strndup(name, colon ? (size_t)(colon - name) : strlen(name));
}

/* Where published ports are bound: the plan's word; else as narrow as the balancers allow. */
static char *bind_address(const struct tn_job *j)
{
    struct tn_placement *p = j->p;
    struct tn_provider *pr = p->site->provider;
    if (p->site->config->docker.publish)
        return tn_strdup(p->site->config->docker.publish);
    for (size_t i = 0; i < p->exposures.n; i++) {
        const struct tn_balancer *b = p->exposures.v[i].edge->config;
        char *gateway =
            b->container && pr->ops->gateway ? pr->ops->gateway(pr, p->s->cancel, b->container, NULL) : NULL;
        if (gateway)
            return gateway;
    }
    char *remote = remote_address(p->site->config, j->host);
    return remote ? remote : tn_strdup("127.0.0.1");
}

static int fill_ports(struct tn_job *j, struct tn_start *st, const char *bind, struct tn_error **err)
{
    const struct tn_service *typed = j->p->goal->typed;
    st->n_ports = 0;
    for (size_t i = 0; i < typed->n_ports && i < TN_COUNT(st->ports); i++) {
        const struct tn_port *port = &typed->ports[i];
        int host_port =
            port->host ? port->host : tn_session_pick_port(j->p->s, j->p->site, j->host, &j->world);
        if (host_port == 0)
            return tn_error_set(err, TN_EFAIL, "no free port is left in %d-%d (policy.port_range)",
                                j->p->s->plan->policy.port_first, j->p->s->plan->policy.port_last);
        st->ports[st->n_ports].name = port->name;
        st->ports[st->n_ports].container = port->container;
        st->ports[st->n_ports].host_port = host_port;
        st->ports[st->n_ports++].bind = port->bind ? port->bind : bind;
    }
    return TN_OK;
}

static bool has_fixed_port(const struct tn_service *s)
{
    for (size_t i = 0; i < s->n_ports; i++)
        if (s->ports[i].host)
            return true;
    return false;
}

static void give_ports_back(const struct tn_job *j, const struct tn_start *st)
{
    for (size_t i = 0; i < st->n_ports; i++)
        tn_session_free_port(j->p->s, j->p->site, st->host, st->ports[i].host_port);
}

/* Going back, secrets and images are asked for only when an instance of the old revision must be started: what runs may
 * not depend on them. */
static int make_ready(struct tn_job *j, struct tn_error **err)
{
    struct tn_goal *g = j->p->goal;
    struct tn_provider *pr = j->p->site->provider;
    pthread_mutex_lock(&j->p->preparing);
    bool known = g->secrets_known;
    int rc = tn_goal_secrets(j->p->s, g, NULL, err);
    if (rc >= 0 && !known && g->label && g->secret_hashes && strcmp(g->label, g->secret_hashes) != 0)
        tn_session_tell(
            j->p->s, TN_EV_WARNING, NULL, NULL,
            "a secret of '%s' has another value than the old instances had; what is started gets today's",
            g->service);
    if (rc >= 0 && !known && g->typed->image && pr->ops->prepare)
        rc = pr->ops->prepare(pr, j->p->s->cancel, g->typed, g->typed->image, NULL, NULL, err);
    pthread_mutex_unlock(&j->p->preparing);
    return rc;
}

/* Tries until a free port and a free name are found; both may be taken by strangers that only the engine knows of. */
static int do_start(void *arg, struct tn_error **err)
{
    struct tn_job *j = arg;
    struct tn_provider *pr = j->p->site->provider;
    tn_autofree char *effect = tn_effect_id(j->p->s->rollout, j->p->goal->placement, j->number);
    tn_autofree char *spec_json = json_dumps(j->p->goal->spec, JSON_COMPACT | JSON_SORT_KEYS);
    tn_autofree char *bind = bind_address(j);
    struct tn_start st;
    int rc = make_ready(j, err), number = 1;
    if (rc < 0)
        return rc;
    tn_goal_start(j->p->s, j->p->goal, &st);
    st.host = j->host;
    st.spec_json = spec_json;
    st.effect = effect;
    st.secret_hashes = j->p->goal->secret_hashes;
    for (int ports = 0, names = 0; ports < PORT_TRIES && names < NAME_TRIES;) {
        st.name = j->v[0].name;
        rc = fill_ports(j, &st, bind, err);
        if (rc < 0)
            return rc;
        tn_error_clear(err);
        rc = pr->ops->start(pr, j->p->s->cancel, &st, err);
        if (rc < 0 && rc != TN_EBUSY) /* one that is somebody else's stays passed over */
            give_ports_back(j, &st);
        if (rc == TN_EBUSY && !has_fixed_port(j->p->goal->typed)) {
            ports++;
        } else if (rc == TN_EEXISTS || rc == TN_ESTRANGER) {
            struct tn_where w = {j->p->goal->service, j->p->goal->cluster, st.name};
            tn_session_tell(j->p->s, TN_EV_WARNING, &w, NULL, "%s; the next name is taken",
                            err && *err ? tn_error_message(*err) : "the name is in use");
            names++;
            sscanf(strrchr(st.name, '-'), "-%d", &number);
            char *taken = j->v[0].name;
            j->v[0].name = pick_name(j, number + 1);
            if (strcmp(taken, j->reserved) != 0)
                give_name_back(j->p, taken);
            free(taken);
        } else {
            return rc;
        }
    }
    return rc;
}

/* ---- the others ---- */

static int do_admit(void *arg, struct tn_error **err)
{
    struct tn_job *j = arg;
    const struct tn_instance **add = tn_alloc((j->n + 1) * sizeof(const struct tn_instance *));
    for (size_t i = 0; i < j->n; i++)
        add[i] = &j->v[i];
    struct tn_edge_change c = {.add = add, .n_add = j->n, .exists = &j->world};
    int rc = tn_exposures_apply(j->p->s, &j->p->exposures, &c, &j->note, err);
    free(add);
    return rc;
}

static int restart_off(struct tn_job *j, const struct tn_instance *i, struct tn_error **err)
{
    struct tn_provider *pr = j->p->site->provider;
    if (i->state != TN_RUN_RUNNING || tn_streq(i->restart_policy, "no"))
        return TN_OK;
    int rc = pr->ops->set_restart(pr, j->p->s->cancel, i, "no", err);
    if (rc == TN_ENOTFOUND) {
        tn_error_clear(err);
        return TN_OK;
    }
    return rc;
}

static int do_drain(void *arg, struct tn_error **err)
{
    struct tn_job *j = arg;
    const char **drop = tn_alloc((j->n + 1) * sizeof(*drop));
    int rc = TN_OK;
    for (size_t i = 0; i < j->n && rc >= 0; i++) {
        drop[i] = j->v[i].name;
        rc = restart_off(j, &j->v[i], err);
    }
    struct tn_edge_change c = {.drop = drop, .n_drop = j->n, .exists = &j->world};
    if (rc >= 0)
        rc = tn_exposures_apply(j->p->s, &j->p->exposures, &c, &j->note, err);
    free(drop);
    return rc;
}

static int do_settle(void *arg, struct tn_error **err)
{
    struct tn_job *j = arg;
    struct tn_provider *pr = j->p->site->provider;
    return pr->ops->set_restart(pr, j->p->s->cancel, &j->v[0], j->policy, err);
}

static int do_stop(void *arg, struct tn_error **err)
{
    struct tn_job *j = arg;
    struct tn_provider *pr = j->p->site->provider;
    int rc = restart_off(j, &j->v[0], err);
    return rc < 0 ? rc : pr->ops->stop(pr, j->p->s->cancel, &j->v[0], j->signal, j->grace, err);
}

static int (*const doers[])(void *, struct tn_error **) = {
    [TN_MOVE_START] = do_start, [TN_MOVE_ADMIT] = do_admit, [TN_MOVE_SETTLE] = do_settle,
    [TN_MOVE_DRAIN] = do_drain, [TN_MOVE_STOP] = do_stop,
};

static void job_run(void *arg)
{
    struct tn_job *j = arg;
    json_t *detail = json_object(), *names = json_array();
    tn_autofree char *name = tn_strdup(j->v[0].name); /* a start may take another name than it set out with */
    for (size_t i = 0; i < j->n; i++)
        json_array_append_new(names, json_string(j->v[i].name));
    json_object_set_new(detail, "instances", names);
    struct tn_effect e = {
        .s = j->p->s,
        .placement = j->p->goal->placement,
        .move = tn_move_name(j->kind),
        .instance = name,
        .number = j->number,
        .detail = detail,
    };
    j->rc = tn_effect_run(&e, doers[j->kind], j, &j->err);
    json_decref(detail);
    job_back(j);
}

/* ---- dispatch ---- */

static struct tn_observation names_of(const struct tn_observation *o)
{
    struct tn_observation c = {0};
    for (size_t i = 0; i < o->n; i++) {
        TN_GROW(c.v, c.n, c.cap);
        c.v[c.n++] = tn_instance_copy(&o->v[i]);
    }
    return c;
}

static struct tn_job *job_new(struct tn_placement *p, enum tn_move_kind kind, size_t room)
{
    struct tn_job *j = tn_alloc(sizeof(*j));
    j->p = p;
    j->kind = kind;
    j->number = ++p->number;
    j->began = tn_mono_ms();
    j->v = tn_alloc((room + 1) * sizeof(*j->v));
    j->world = names_of(&p->all);
    return j;
}

static void job_go(struct tn_placement *p, struct tn_job *j)
{
    p->in_flight++;
    p->changed_something = true;
    tn_pool_submit(p->site->pool, job_run, j);
}

static void add_member(struct tn_placement *p, struct tn_job *j, int index, enum tn_busy busy)
{
    j->v[j->n++] = tn_instance_copy(&p->world.v[index]);
    tn_placement_tracked(p, p->world.v[index].name)->busy = busy;
}

static void dispatch_start(struct tn_placement *p, uint32_t host)
{
    struct tn_job *j = job_new(p, TN_MOVE_START, 1);
    j->host = host;
    char *name = pick_name(j, 1);
    struct tn_tracked *t = tn_placement_tracked(p, name);
    t->by_this_run = true;
    t->busy = TN_BUSY_START;
    j->reserved = tn_strdup(name);
    j->v[j->n++].name = name;
    p->start_hosts[p->starts++] = host;
    struct tn_where w = {p->goal->service, p->goal->cluster, name};
    tn_session_tell(p->s, TN_EV_START, &w, NULL, "%s on %s", name, p->site->provider->host_names[host]);
    job_go(p, j);
}

static void dispatch_one(struct tn_placement *p, const struct tn_move *m)
{
    static const enum tn_busy busy[] = {
        [TN_MOVE_SETTLE] = TN_BUSY_SETTLE,
        [TN_MOVE_STOP] = TN_BUSY_STOP,
    };
    struct tn_job *j = job_new(p, m->kind, 1);
    const struct tn_tracked *t = tn_placement_tracked(p, p->world.v[m->instance].name);
    const struct tn_service *spec = t->spec ? t->spec : p->goal->typed;
    j->signal = tn_strdup(spec && spec->stop.signal ? spec->stop.signal : "SIGTERM");
    j->grace = spec ? spec->stop.grace : 10000;
    j->policy = tn_strdup(p->goal->typed && p->goal->typed->restart ? p->goal->typed->restart : "no");
    if (m->kind == TN_MOVE_STOP && p->obs[m->instance].target)
        tn_placement_tracked(p, p->world.v[m->instance].name)->counted = true;
    add_member(p, j, m->instance, busy[m->kind]);
    job_go(p, j);
}

static void dispatch_traffic(struct tn_placement *p, const struct tn_decision *d, enum tn_move_kind kind)
{
    struct tn_job *j = NULL;
    /* One change of traffic at a time: each is made from the world as it was seen, and must not undo a newer one. What is
     * left out now is decided again at the next look. */
    for (int i = 0; i < d->n_moves && !p->traffic_in_flight; i++) {
        if (d->moves[i].kind != kind)
            continue;
        if (!j)
            j = job_new(p, kind, (size_t)d->n_moves);
        add_member(p, j, d->moves[i].instance, kind == TN_MOVE_ADMIT ? TN_BUSY_ADMIT : TN_BUSY_DRAIN);
    }
    if (j) {
        p->traffic_in_flight = true;
        job_go(p, j);
    }
}

void tn_placement_dispatch(struct tn_placement *p, const struct tn_decision *d)
{
    dispatch_traffic(p, d, TN_MOVE_ADMIT);
    dispatch_traffic(p, d, TN_MOVE_DRAIN);
    for (int i = 0; i < d->n_moves; i++) {
        if (d->moves[i].kind == TN_MOVE_START)
            dispatch_start(p, d->moves[i].host);
        else if (d->moves[i].kind == TN_MOVE_SETTLE || d->moves[i].kind == TN_MOVE_STOP)
            dispatch_one(p, &d->moves[i]);
    }
}

/* ---- coming back ---- */

/* No look has shown it yet, and its host may not answer the next one. */
static void know_started(struct tn_placement *p, const struct tn_job *j)
{
    const struct tn_goal *g = p->goal;
    if (j->rc < 0 && j->rc != TN_EUNKNOWN && j->rc != TN_ETIMEOUT && j->rc != TN_ECANCELLED)
        return;
    struct tn_instance i = {
        .name = tn_strdup(j->v[0].name),
        .host = j->host,
        .service = tn_strdup(g->service),
        .cluster = tn_strdup(g->cluster),
        .environment = tn_strdup(p->s->plan->environment),
        .revision = tn_strdup(g->revision),
        .rollout = tn_strdup(p->s->rollout),
        .effect = tn_effect_id(p->s->rollout, g->placement, j->number),
        .spec = json_dumps(g->spec, JSON_COMPACT | JSON_SORT_KEYS),
        .secrets = tn_strdup(g->secret_hashes),
    };
    tn_site_know(p->site, &i);
    tn_instance_clear(&i);
}

static void after_start(struct tn_placement *p, struct tn_job *j)
{
    know_started(p, j);
    for (int i = 0; i < p->starts; i++) {
        if (p->start_hosts[i] == j->host) {
            p->start_hosts[i] = p->start_hosts[--p->starts];
            break;
        }
    }
    give_name_back(p, j->v[0].name); /* the world shows it from now on */
    if (strcmp(j->reserved, j->v[0].name) != 0)
        give_name_back(p, j->reserved);
    tn_placement_tracked(p, j->reserved)->busy = TN_IDLE;
    tn_placement_tracked(p, j->v[0].name)->by_this_run = true;
    bool candidates_fault =
        j->rc < 0 && j->rc != TN_EUNREACHABLE && j->rc != TN_EUNKNOWN && j->rc != TN_ECANCELLED;
    p->memo.failures += candidates_fault;
}

static void after_traffic(struct tn_placement *p, const struct tn_job *j)
{
    static const struct {
        enum tn_event_kind kind;
        const char *text;
    } words[] = {[TN_MOVE_ADMIT] = {TN_EV_ADMIT, "admitted"},
                 [TN_MOVE_DRAIN] = {TN_EV_DRAIN, "takes no new requests"}};
    for (size_t i = 0; i < j->n; i++) {
        struct tn_where w = {p->goal->service, p->goal->cluster, j->v[i].name};
        if (j->rc >= 0)
            tn_session_tell(p->s, words[j->kind].kind, &w, NULL, "%s %s%s%s", j->v[i].name,
                            words[j->kind].text, j->note ? ", " : "", j->note ? j->note : "");
    }
}

static void after_stop(struct tn_placement *p, const struct tn_job *j)
{
    struct tn_where w = {p->goal->service, p->goal->cluster, j->v[0].name};
    const struct tn_tracked *t = tn_placement_tracked(p, j->v[0].name);
    char took[32], drained[32];
    for (size_t i = 0; j->rc >= 0 && i < j->v[0].n_ports; i++)
        tn_session_free_port(p->s, p->site, j->v[0].host, j->v[0].ports[i].host_port);
    if (j->rc >= 0)
        tn_session_tell(p->s, TN_EV_STOP, &w, NULL, "%s stopped in %s%s%s", j->v[0].name,
                        tn_format_age(tn_mono_ms() - j->began, took, sizeof(took)),
                        p->spec.has_balancer && t->out_since ? ", drained in " : "",
                        p->spec.has_balancer && t->out_since
                            ? tn_format_age(j->began - t->out_since, drained, sizeof(drained))
                            : "");
}

static void after_settle(struct tn_placement *p, const struct tn_job *j)
{
    struct tn_where w = {p->goal->service, p->goal->cluster, j->v[0].name};
    tn_session_tell(p->s, TN_EV_SETTLE, &w, NULL, "%s has restart policy '%s'", j->v[0].name, j->policy);
}

static void tell_error(struct tn_placement *p, const struct tn_job *j)
{
    struct tn_where w = {p->goal->service, p->goal->cluster, j->v[0].name};
    tn_session_tell(p->s, TN_EV_WARNING, &w, NULL, "%s %s: %s", tn_move_name(j->kind), j->v[0].name,
                    tn_error_message(j->err));
    tn_placement_note_error(p, j->err);
}

static void note_members(struct tn_placement *p, const struct tn_job *j)
{
    for (size_t i = 0; i < j->n; i++) {
        struct tn_tracked *t = tn_placement_tracked(p, j->v[i].name);
        t->busy = TN_IDLE;
        if (j->rc >= 0 && j->kind == TN_MOVE_SETTLE)
            t->settled = true;
        if (j->rc >= 0 && j->kind == TN_MOVE_DRAIN)
            t->settled = false;
        if (j->kind == TN_MOVE_ADMIT && (j->rc >= 0 || j->rc == TN_EUNKNOWN || j->rc == TN_ECANCELLED))
            t->was_serving = true;
    }
}

static void take_in(struct tn_placement *p, struct tn_job *j)
{
    static void (*const told[])(struct tn_placement *, const struct tn_job *) = {
        [TN_MOVE_START] = NULL,          [TN_MOVE_ADMIT] = after_traffic, [TN_MOVE_SETTLE] = after_settle,
        [TN_MOVE_DRAIN] = after_traffic, [TN_MOVE_STOP] = after_stop,
    };
    p->in_flight--;
    if (j->kind == TN_MOVE_START)
        after_start(p, j);
    if (j->kind == TN_MOVE_ADMIT || j->kind == TN_MOVE_DRAIN)
        p->traffic_in_flight = false;
    note_members(p, j);
    if (j->rc < 0) {
        tell_error(p, j);
        return;
    }
    p->errors_in_a_row = 0;
    if (told[j->kind])
        told[j->kind](p, j);
}

void tn_placement_reap(struct tn_placement *p)
{
    uint64_t count;
    ssize_t n = read(p->wake, &count, sizeof(count));
    (void)n;
    pthread_mutex_lock(&p->lock);
    struct tn_job *list = p->done;
    p->done = NULL;
    pthread_mutex_unlock(&p->lock);
    while (list) {
        struct tn_job *next = list->next;
        take_in(p, list);
        job_free(list);
        list = next;
    }
}
