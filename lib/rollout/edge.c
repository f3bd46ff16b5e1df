#include "lib/rollout/edge.h"

#include <stdlib.h>
#include <string.h>

#include "turnout/mem.h"
#include "turnout/text.h"

static int edge_read(struct tn_session *s, struct tn_edge *e, struct tn_error **err)
{
    int rc = tn_edge_open(s, e, err);
    if (rc < 0 || e->read)
        return rc;
    rc = e->driver->ops->current(e->driver, s->cancel, &e->wanted, err);
    e->read = rc >= 0;
    return rc;
}

/* Names are APP-SERVICE-REVISION-NUMBER; a service's own name may hold dashes, so the end is checked too. */
static bool is_instance_of(const struct tn_session *s, const char *service, const char *server)
{
    tn_autofree char *pattern = tn_format(
        "%s-%s-[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]-[0-9]*", s->plan->name, service);
    return tn_glob(pattern, server);
}

static bool holds_instances(const struct tn_session *s, const struct tn_upstream *u, const char *service)
{
    if (tn_streq(u->service, service))
        return true;
    for (size_t i = 0; i < u->n_servers; i++)
        if (is_instance_of(s, service, u->servers[i].instance))
            return true;
    return false;
}

static void find_in_files(struct tn_exposures *x, struct tn_session *s)
{
    size_t cap = 0;
    for (size_t i = 0; i < s->plan->n_balancers; i++) {
        struct tn_edge *e = &s->edges[i];
        pthread_mutex_lock(&e->lock);
        struct tn_error *err = NULL;
        if (edge_read(s, e, &err) < 0 && !x->unknown)
            x->unknown = tn_format("balancer '%s': %s", e->config->name, tn_error_message(err));
        tn_error_free(err);
        if (e->read) {
            for (size_t k = 0; k < e->wanted.n; k++) {
                if (!holds_instances(s, &e->wanted.v[k], x->name))
                    continue;
                TN_GROW(x->v, x->n, cap);
                x->v[x->n++] = (struct tn_exposure){.edge = e, .upstream = tn_strdup(e->wanted.v[k].name)};
            }
        }
        pthread_mutex_unlock(&e->lock);
    }
}

void tn_exposures_init(struct tn_exposures *x, struct tn_session *s, const struct tn_service *service,
                       const char *name, const char *cluster)
{
    memset(x, 0, sizeof(*x));
    x->service = service;
    x->name = name;
    x->cluster = cluster;
    x->suffix = tn_format(".%s", cluster);
    if (!service) {
        find_in_files(x, s);
        return;
    }
    x->v = tn_alloc((service->n_expose + 1) * sizeof(*x->v));
    for (size_t i = 0; i < service->n_expose; i++) {
        const struct tn_expose *e = &service->expose[i];
        x->v[x->n++] = (struct tn_exposure){
            .expose = e,
            .edge = tn_session_edge(s, e->balancer),
            .upstream =
                e->upstream ? tn_strdup(e->upstream) : tn_format("%s_%s", s->plan->name, service->name),
        };
    }
    int surge = tn_count_of(service->rollout.max_surge, service->replicas, true);
    x->slots = (service->replicas + surge) * (int)(service->clusters.n ? service->clusters.n : 1);
}

void tn_exposures_clear(struct tn_exposures *x)
{
    for (size_t i = 0; i < x->n; i++)
        free(x->v[i].upstream);
    free(x->v);
    free(x->suffix);
    free(x->unknown);
    memset(x, 0, sizeof(*x));
}

void tn_exposures_observe(struct tn_session *s, struct tn_exposures *x, struct tn_edge_views *out)
{
    memset(out, 0, sizeof(*out));
    out->v = tn_alloc((x->n + 1) * sizeof(*out->v));
    out->n = x->n;
    out->all_answered = true;
    for (size_t i = 0; i < x->n; i++) {
        struct tn_edge *e = x->v[i].edge;
        struct tn_error *err = NULL;
        pthread_mutex_lock(&e->lock);
        int rc = tn_edge_open(s, e, &err);
        if (rc >= 0)
            rc = e->driver->ops->observe(e->driver, s->cancel, &out->v[i], &err);
        pthread_mutex_unlock(&e->lock);
        if (rc >= 0 && out->v[i].answered)
            continue;
        out->v[i].answered = false;
        out->all_answered = false;
        if (!out->error)
            out->error = tn_format("balancer '%s': %s", e->config->name,
                                   rc < 0            ? tn_error_message(err)
                                   : out->v[i].error ? out->v[i].error
                                                     : "does not answer");
        tn_error_free(err);
    }
}

void tn_edge_views_clear(struct tn_edge_views *v)
{
    for (size_t i = 0; i < v->n; i++)
        tn_balancer_status_clear(&v->v[i]);
    free(v->v);
    free(v->error);
    memset(v, 0, sizeof(*v));
}

/* The name under which an instance stands in a balancer. */
static char *server_name(const struct tn_exposures *x, const char *instance)
{
    return tn_format("%s%s", instance, x->suffix);
}

static const struct tn_server_status *row_of(const struct tn_exposures *x, const struct tn_edge_views *v,
                                             size_t i, const char *instance)
{
    tn_autofree char *name = server_name(x, instance);
    for (size_t k = 0; k < v->v[i].n; k++) {
        const struct tn_server_status *r = &v->v[i].v[k];
        if ((!r->upstream || tn_streq(r->upstream, x->v[i].upstream)) && tn_streq(r->instance, name))
            return r;
    }
    return NULL;
}

enum tn_tri tn_exposures_rotation(const struct tn_exposures *x, const struct tn_edge_views *v,
                                  const char *instance, enum tn_tri mixed)
{
    size_t in = 0, out = 0;
    for (size_t i = 0; i < x->n; i++) {
        if (!v->v[i].answered)
            return TN_CANNOT_TELL;
        const struct tn_server_status *r = row_of(x, v, i, instance);
        if (r && r->in_rotation == TN_CANNOT_TELL)
            return TN_CANNOT_TELL;
        in += r && r->in_rotation == TN_YES;
        out += !r || r->in_rotation == TN_NO;
    }
    return out == 0 ? TN_YES : in == 0 ? TN_NO : mixed;
}

static const char *port_of(const struct tn_exposure *e)
{
    return e->expose ? e->expose->port : NULL;
}

enum tn_tri tn_exposures_drained(struct tn_session *s, struct tn_exposures *x, const struct tn_edge_views *v,
                                 const struct tn_instance *inst, int64_t *running)
{
    (void)s;
    enum tn_tri all = TN_YES;
    *running = 0;
    for (size_t i = 0; i < x->n; i++) {
        if (!v->v[i].answered)
            return TN_CANNOT_TELL;
        const struct tn_server_status *r = row_of(x, v, i, inst->name);
        struct tn_edge *e = x->v[i].edge;
        if (!r && e->driver && e->driver->ops->watch_drain) {
            /* it left before this run began: its connections are looked for from now on */
            tn_autofree char *name = server_name(x, inst->name);
            pthread_mutex_lock(&e->lock);
            e->driver->ops->watch_drain(e->driver, name, inst->address,
                                        tn_instance_port(inst, port_of(&x->v[i])), NULL);
            pthread_mutex_unlock(&e->lock);
            all = TN_NO;
        } else if (r && r->drained != TN_YES) {
            all = TN_NO;
            *running += r->running > 0 ? r->running : 0;
        }
    }
    return all;
}

/* ---- changing ---- */

static void server_clear(struct tn_server *s)
{
    free(s->instance);
    free(s->address);
}

static bool listed(const char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

/* Is this server of the upstream one of this placement's? */
static bool is_member(const struct tn_exposures *x, const struct tn_server *s)
{
    return tn_ends_with(s->instance, x->suffix);
}

static bool still_exists(const struct tn_exposures *x, const struct tn_observation *o,
                         const struct tn_server *s)
{
    for (size_t i = 0; i < o->n; i++) {
        tn_autofree char *name = server_name(x, o->v[i].name);
        if (strcmp(name, s->instance) == 0 && tn_streq(o->v[i].service, x->name))
            return true;
    }
    return false;
}

static bool should_leave(const struct tn_exposures *x, const struct tn_edge_change *c,
                         const struct tn_server *s)
{
    if (!is_member(x, s))
        return false;
    if (c->whole)
        return true;
    tn_autofree char *bare = tn_strndup(s->instance, strlen(s->instance) - strlen(x->suffix));
    return listed(c->drop, c->n_drop, bare) || (c->exists && !still_exists(x, c->exists, s));
}

static void set_text(char **to, const char *from)
{
    free(*to);
    *to = tn_strdup(from);
}

static void upstream_settings(struct tn_upstream *u, const struct tn_exposures *x,
                              const struct tn_exposure *e)
{
    const struct tn_service *s = x->service;
    set_text(&u->service, s->name);
    set_text(&u->host, e->expose->host);
    set_text(&u->path, e->expose->path);
    set_text(&u->balance, e->expose->balance);
    bool http = s->health.kind == TN_HEALTH_HTTP;
    set_text(&u->probe_path, http ? s->health.http : NULL);
    set_text(&u->probe_expect, http ? s->health.expect : NULL);
    u->keepalive = e->expose->keepalive;
    u->max_fails = e->expose->max_fails;
    u->fail_timeout = e->expose->fail_timeout;
    u->slots = x->slots;
    for (size_t i = 0; i < u->n_servers; i++) {
        if (is_member(x, &u->servers[i])) {
            u->servers[i].weight = e->expose->weight > 0 ? e->expose->weight : 1;
            u->servers[i].backup = e->expose->backup;
        }
    }
}

static struct tn_upstream *upstream_for(struct tn_traffic *t, const char *name)
{
    struct tn_upstream *u = tn_traffic_find(t, name);
    if (u)
        return u;
    TN_GROW(t->v, t->n, t->cap);
    u = &t->v[t->n++];
    memset(u, 0, sizeof(*u));
    u->name = tn_strdup(name);
    u->max_fails = -1;
    u->fail_timeout = -1;
    return u;
}

static void drop_upstream(struct tn_traffic *t, const char *name)
{
    struct tn_traffic one = {0};
    for (size_t i = 0; i < t->n; i++) {
        if (strcmp(t->v[i].name, name) != 0)
            continue;
        one.v = tn_alloc(sizeof(*one.v));
        one.v[0] = t->v[i];
        one.n = one.cap = 1;
        memmove(&t->v[i], &t->v[i + 1], (t->n - i - 1) * sizeof(*t->v));
        t->n--;
        break;
    }
    tn_traffic_clear(&one);
}

static void change_members(struct tn_upstream *u, const struct tn_exposures *x, const struct tn_exposure *e,
                           const struct tn_edge_change *c)
{
    size_t kept = 0;
    for (size_t i = 0; i < u->n_servers; i++) {
        if (should_leave(x, c, &u->servers[i]))
            server_clear(&u->servers[i]);
        else
            u->servers[kept++] = u->servers[i];
    }
    u->n_servers = kept;
    for (size_t i = 0; i < c->n_add; i++) {
        tn_autofree char *name = server_name(x, c->add[i]->name);
        struct tn_server *s = NULL;
        for (size_t k = 0; k < u->n_servers && !s; k++)
            if (strcmp(u->servers[k].instance, name) == 0)
                s = &u->servers[k];
        if (!s) {
            TN_GROW(u->servers, u->n_servers, u->cap_servers);
            s = &u->servers[u->n_servers++];
            memset(s, 0, sizeof(*s));
            s->instance = TN_TAKE(name);
        }
        set_text(&s->address, c->add[i]->address);
        s->port = tn_instance_port(c->add[i], port_of(e));
    }
}

static bool plan_names(const struct tn_plan *plan, const char *balancer, const char *upstream)
{
    for (size_t i = 0; i < plan->n_services; i++) {
        const struct tn_service *svc = &plan->services[i];
        for (size_t k = 0; k < svc->n_expose; k++) {
            tn_autofree char *name = svc->expose[k].upstream ? tn_strdup(svc->expose[k].upstream)
                                                             : tn_format("%s_%s", plan->name, svc->name);
            if (strcmp(svc->expose[k].balancer, balancer) == 0 && strcmp(name, upstream) == 0)
                return true;
        }
    }
    return false;
}

/* An upstream that the plan does not name any more gives its route to the one that takes it; its servers only drain. */
static void set_routes(struct tn_traffic *want, const struct tn_session *s, const struct tn_edge *e)
{
    for (size_t i = 0; i < want->n; i++) {
        struct tn_upstream *u = &want->v[i];
        bool left = !plan_names(s->plan, e->config->name, u->name);
        u->unrouted = false;
        for (size_t k = 0; left && k < want->n; k++)
            u->unrouted = u->unrouted || (k != i && tn_streq(want->v[k].host, u->host) &&
                                          tn_streq(want->v[k].path, u->path) &&
                                          plan_names(s->plan, e->config->name, want->v[k].name));
    }
}

static void compose(struct tn_session *s, struct tn_traffic *want, const struct tn_edge *e,
                    const struct tn_exposures *x, const struct tn_exposure *ex,
                    const struct tn_edge_change *c)
{
    tn_traffic_copy(want, &e->wanted);
    struct tn_upstream *u = upstream_for(want, ex->upstream);
    change_members(u, x, ex, c);
    if (c->whole && u->n_servers == 0) { /* nobody else's servers are in it */
        drop_upstream(want, ex->upstream);
        return;
    }
    if (x->service)
        upstream_settings(u, x, ex);
    set_routes(want, s, e);
}

/* Some drivers name it themselves. */
static int name_balancer(struct tn_error **err, const struct tn_edge *e)
{
    if (err && *err && tn_starts_with(tn_error_message(*err), "balancer '"))
        return (int)(*err)->code;
    return tn_error_prefix(err, "balancer '%s'", e->config->name);
}

/* "Stale" is said of change sets; a file that was edited by hand is somebody else's by now. */
static int not_stale(struct tn_error **err)
{
    if (err && *err)
        (*err)->code = TN_ESTRANGER;
    return TN_ESTRANGER;
}

static int apply_one(struct tn_session *s, const struct tn_exposures *x, const struct tn_exposure *ex,
                     const struct tn_edge_change *c, struct tn_traffic *before, char **note,
                     struct tn_error **err)
{
    struct tn_edge *e = ex->edge;
    struct tn_traffic want = {0};
    char **confirm = tn_alloc((c->n_add + 1) * sizeof(*confirm));
    for (size_t i = 0; i < c->n_add; i++)
        confirm[i] = server_name(x, c->add[i]->name);
    pthread_mutex_lock(&e->lock);
    int rc = edge_read(s, e, err);
    bool nothing = rc >= 0 && c->whole && !tn_traffic_find(&e->wanted, ex->upstream);
    if (rc >= 0)
        tn_traffic_copy(before, &e->wanted);
    if (nothing) {
        tn_traffic_copy(&want, &e->wanted);
    } else if (rc >= 0) {
        compose(s, &want, e, x, ex, c);
        rc = e->driver->ops->apply(e->driver, s->cancel, &want, (const char *const *)confirm, c->n_add,
                                   s->force, note, err);
    }
    if (rc >= 0) {
        tn_traffic_clear(&e->wanted);
        e->wanted = want;
        want = (struct tn_traffic){0};
    } else {
        rc = rc == TN_ESTALE ? not_stale(err) : rc;
        name_balancer(err, e);
        e->read = false; /* what is there now is looked up again */
        tn_traffic_clear(&e->wanted);
    }
    pthread_mutex_unlock(&e->lock);
    tn_traffic_clear(&want);
    for (size_t i = 0; i < c->n_add; i++)
        free(confirm[i]);
    free(confirm);
    return rc;
}

/* What `before` said of one upstream is put into what the balancer has now: others may have changed theirs meanwhile. */
static void restore_upstream(struct tn_traffic *want, const struct tn_traffic *before, const char *name)
{
    struct tn_traffic old = {0};
    tn_traffic_copy(&old, before);
    drop_upstream(want, name);
    for (size_t i = 0; i < old.n; i++) {
        if (strcmp(old.v[i].name, name) != 0)
            continue;
        TN_GROW(want->v, want->n, want->cap);
        want->v[want->n++] = old.v[i];
        old.v[i] = old.v[--old.n];
        break;
    }
    tn_traffic_clear(&old);
}

/* The same servers as before. HAProxy's file may differ in a slot that is disabled: what drains keeps its place. */
static void put_back(struct tn_session *s, const struct tn_exposure *x, const struct tn_traffic *before)
{
    struct tn_edge *e = x->edge;
    struct tn_error *err = NULL;
    struct tn_traffic want = {0};
    pthread_mutex_lock(&e->lock);
    int rc = edge_read(s, e, &err);
    if (rc >= 0) {
        tn_traffic_copy(&want, &e->wanted);
        restore_upstream(&want, before, x->upstream);
        rc = e->driver->ops->apply(e->driver, s->cancel, &want, NULL, 0, false, NULL, &err);
    }
    tn_traffic_clear(&e->wanted);
    e->read = false;
    pthread_mutex_unlock(&e->lock);
    tn_traffic_clear(&want);
    if (rc < 0)
        tn_session_tell(s, TN_EV_WARNING, NULL, NULL, "balancer '%s' could not be put back: %s",
                        e->config->name, tn_error_message(err));
    tn_error_free(err);
}

int tn_exposures_apply(struct tn_session *s, struct tn_exposures *x, const struct tn_edge_change *change,
                       char **note, struct tn_error **err)
{
    struct tn_traffic *before = tn_alloc((x->n + 1) * sizeof(*before));
    tn_autobuf said = TN_BUF_INIT(4096);
    int rc = TN_OK;
    size_t done = 0;
    for (; done < x->n && rc >= 0; done++) {
        tn_autofree char *one = NULL;
        rc = apply_one(s, x, &x->v[done], change, &before[done], &one, err);
        if (one)
            tn_buf_printf(&said, "%s%s %s", said.len ? ", " : "", x->v[done].edge->config->name, one);
    }
    if (rc < 0)
        for (size_t i = 0; i + 1 < done; i++) /* the last one put itself back */
            put_back(s, &x->v[i], &before[i]);
    for (size_t i = 0; i < x->n; i++)
        tn_traffic_clear(&before[i]);
    free(before);
    if (note)
        *note = said.len ? tn_buf_take(&said) : NULL;
    return rc;
}

int tn_exposures_differ(struct tn_session *s, struct tn_exposures *x, const struct tn_observation *exists,
                        struct tn_error **err)
{
    const struct tn_edge_change none = {.exists = exists};
    int differs = 0;
    for (size_t i = 0; i < x->n && differs == 0; i++) {
        struct tn_edge *e = x->v[i].edge;
        struct tn_traffic want = {0};
        pthread_mutex_lock(&e->lock);
        int rc = edge_read(s, e, err);
        if (rc >= 0) {
            compose(s, &want, e, x, &x->v[i], &none);
            rc = e->driver->ops->differs(e->driver, s->cancel, &want, err);
        }
        pthread_mutex_unlock(&e->lock);
        tn_traffic_clear(&want);
        if (rc == TN_ESTALE && s->force) {
            tn_error_clear(err);
            rc = 1;
        }
        if (rc == TN_ESTALE)
            rc = not_stale(err);
        if (rc < 0)
            return name_balancer(err, e);
        differs = rc;
    }
    return differs;
}

static void compare_number(int64_t from, int64_t to, const char *field,
                           void (*each)(void *arg, const char *field, const char *from, const char *to),
                           void *arg)
{
    tn_autofree char *a = from < 0 ? NULL : tn_format("%lld", (long long)from);
    tn_autofree char *b = to < 0 ? NULL : tn_format("%lld", (long long)to);
    if (from != to)
        each(arg, field, a, b);
}

static void compare_upstream(const struct tn_upstream *is, const struct tn_upstream *want,
                             void (*each)(void *arg, const char *field, const char *from, const char *to),
                             void *arg)
{
    const struct tn_server *a = is->n_servers ? &is->servers[0] : NULL,
                           *b = want->n_servers ? &want->servers[0] : NULL;
    if (a && b) {
        compare_number(a->weight, b->weight, "expose.weight", each, arg);
        compare_number(a->backup, b->backup, "expose.backup", each, arg);
    }
    if (!tn_streq(is->balance ? is->balance : "roundrobin", want->balance ? want->balance : "roundrobin"))
        each(arg, "expose.balance", is->balance, want->balance);
    if (!tn_streq(is->host, want->host))
        each(arg, "expose.host", is->host, want->host);
    if (!tn_streq(is->path, want->path))
        each(arg, "expose.path", is->path, want->path);
    compare_number(is->keepalive > 0 ? is->keepalive : -1, want->keepalive > 0 ? want->keepalive : -1,
                   "expose.keepalive", each, arg);
    compare_number(is->max_fails, want->max_fails, "expose.max_fails", each, arg);
    compare_number(is->fail_timeout, want->fail_timeout, "expose.fail_timeout", each, arg);
}

void tn_exposures_compare(struct tn_session *s, struct tn_exposures *x,
                          void (*each)(void *arg, const char *field, const char *from, const char *to),
                          void *arg)
{
    const struct tn_edge_change none = {0};
    for (size_t i = 0; x->service && i < x->n; i++) {
        struct tn_edge *e = x->v[i].edge;
        struct tn_traffic want = {0};
        pthread_mutex_lock(&e->lock);
        if (edge_read(s, e, NULL) >= 0) {
            const struct tn_upstream *is = tn_traffic_find(&e->wanted, x->v[i].upstream);
            compose(s, &want, e, x, &x->v[i], &none);
            if (is)
                compare_upstream(is, tn_traffic_find(&want, x->v[i].upstream), each, arg);
        }
        pthread_mutex_unlock(&e->lock);
        tn_traffic_clear(&want);
    }
}

bool tn_exposures_hold(struct tn_session *s, struct tn_exposures *x, const char *instance)
{
    tn_autofree char *name = server_name(x, instance);
    bool found = false;
    for (size_t i = 0; i < x->n && !found; i++) {
        struct tn_edge *e = x->v[i].edge;
        pthread_mutex_lock(&e->lock);
        const struct tn_upstream *u =
            edge_read(s, e, NULL) >= 0 ? tn_traffic_find(&e->wanted, x->v[i].upstream) : NULL;
        for (size_t k = 0; u && k < u->n_servers && !found; k++)
            found = strcmp(u->servers[k].instance, name) == 0;
        pthread_mutex_unlock(&e->lock);
    }
    return found;
}
