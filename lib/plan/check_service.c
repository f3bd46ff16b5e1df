/* What the table cannot say, part three: services, their ports, health, ways in and references. */
#include <string.h>

#include "lib/plan/load.h"

#define MAX_PORTS   16 /* struct tn_start */
#define MAX_SECRETS 64 /* struct tn_start */

struct kinds {
    bool docker, process, other;
};

static const char *where(struct tn_checker *c, const struct tn_service *s, const char *key)
{
    return tn_arena_format(c->l->arena, "services.%s%s%s", s->name, key ? "." : "", key ? key : "");
}

static struct tn_mark place(const struct tn_checker *c, const struct tn_service *s, const char *key,
                            const char *sub)
{
    const struct tn_node *n = tn_check_node(c, "services", s->name, key);
    if (!n)
        return s->mark;
    return tn_check_place(c, "services", s->name, key, sub);
}

static struct tn_mark place_of(const struct tn_checker *c, const struct tn_service *s, const char *key,
                               size_t i, const char *sub)
{
    const struct tn_node *list = tn_check_node(c, "services", s->name, key);
    if (list && list->kind != TN_NODE_LIST)
        return tn_check_place(c, "services", s->name, key, sub);
    return tn_check_place(c, "services", s->name, key, tn_arena_format(c->l->arena, "%zu", i), sub);
}

/* ---- references ------------------------------------------------------------------------------------- */

static struct kinds check_clusters(struct tn_checker *c, struct tn_service *s)
{
    struct kinds kinds = {0};
    const char **names = tn_arena_alloc(c->l->arena, (c->plan->n_clusters + 1) * sizeof(char *));
    for (size_t i = 0; i < c->plan->n_clusters; i++)
        names[i] = c->plan->clusters[i].name;
    for (size_t i = 0; i < s->clusters.n; i++) {
        const char *name = s->clusters.v[i];
        struct tn_mark at = place_of(c, s, "clusters", i, NULL);
        const struct tn_cluster *k = tn_plan_cluster(c->plan, name);
        if (strchr(name, '/')) {
            tn_problem_at(c->l, at, NULL, "%s: '%s': regions are reserved: this build cannot run them yet",
                          where(c, s, "clusters"), name);
            kinds.other = true;
        } else if (!k) {
            tn_check_unknown(c, at, where(c, s, "clusters"), "cluster", name, names, c->plan->n_clusters);
            kinds.other = true;
        } else {
            kinds.docker = kinds.docker || k->kind == TN_CLUSTER_DOCKER;
            kinds.process = kinds.process || k->kind == TN_CLUSTER_PROCESS;
            kinds.other = kinds.other || k->kind == TN_CLUSTER_FAKE;
        }
        for (size_t j = 0; j < i; j++)
            if (strcmp(s->clusters.v[j], name) == 0)
                tn_problem_at(c->l, at, NULL, "%s: '%s' stands there twice", where(c, s, "clusters"), name);
    }
    if (s->clusters.n == 0 && tn_check_node(c, "services", s->name, "clusters"))
        tn_problem_at(c->l, place(c, s, "clusters", NULL), NULL, "%s: at least one is needed",
                      where(c, s, "clusters"));
    return kinds;
}

static void check_depends(struct tn_checker *c, const struct tn_service *s)
{
    for (size_t i = 0; i < s->depends_on.n; i++) {
        if (tn_plan_service(c->plan, s->depends_on.v[i]))
            continue;
        const char **names = tn_arena_alloc(c->l->arena, (c->plan->n_services + 1) * sizeof(char *));
        for (size_t j = 0; j < c->plan->n_services; j++)
            names[j] = c->plan->services[j].name;
        tn_check_unknown(c, place_of(c, s, "depends_on", i, NULL), where(c, s, "depends_on"), "service",
                         s->depends_on.v[i], names, c->plan->n_services);
    }
}

static void check_secrets(struct tn_checker *c, const struct tn_service *s)
{
    if (s->secrets.n > MAX_SECRETS)
        tn_problem_at(c->l, place(c, s, "secrets", NULL), NULL, "%s: more than %d", where(c, s, "secrets"),
                      MAX_SECRETS);
    for (size_t i = 0; i < s->secrets.n; i++) {
        const struct tn_pair *p = &s->secrets.v[i];
        struct tn_mark at = place(c, s, "secrets", p->name);
        if (!tn_plan_secret(c->plan, p->value)) {
            const char **names = tn_arena_alloc(c->l->arena, (c->plan->n_secrets + 1) * sizeof(char *));
            for (size_t j = 0; j < c->plan->n_secrets; j++)
                names[j] = c->plan->secrets[j].name;
            tn_check_unknown(c, at, where(c, s, "secrets"), "secret", p->value, names, c->plan->n_secrets);
        }
        for (size_t j = 0; j < s->env.n; j++)
            if (strcmp(s->env.v[j].name, p->name) == 0)
                tn_problem_at(c->l, at, NULL, "%s: '%s' is also in env", where(c, s, "secrets"), p->name);
    }
}

/* ---- what its clusters need ------------------------------------------------------------------------- */

static void check_program(struct tn_checker *c, const struct tn_service *s, struct kinds kinds)
{
    static const char *const containers_only[] = {"image",    "entrypoint",  "volumes",  "networks",
                                                  "cpu",      "memory",      "ulimits",  "cap_add",
                                                  "cap_drop", "extra_hosts", "tmpfs",    "logging",
                                                  "init",     "read_only",   "hostname", "platform",
                                                  "pull"};
    const struct tn_node *n = tn_check_node(c, "services", s->name);
    if (kinds.docker && !s->image && !tn_node_get(n, "image"))
        tn_problem_at(c->l, s->mark, NULL, "services.%s: 'image' is missing: it runs on docker", s->name);
    if (kinds.process && !s->command.argv && !tn_node_get(n, "command"))
        tn_problem_at(c->l, s->mark, NULL, "services.%s: 'command' is missing: it runs as a process",
                      s->name);
    if (!kinds.process || kinds.docker || kinds.other)
        return;
    for (size_t i = 0; i < TN_COUNT(containers_only); i++) {
        const struct tn_node *key = tn_node_get(n, containers_only[i]);
        if (key)
            tn_warning_at(c->l, key->key_mark, NULL, "%s: a process does not use it",
                          where(c, s, containers_only[i]));
    }
}

static void check_volumes(struct tn_checker *c, const struct tn_service *s)
{
    for (size_t i = 0; i < s->volumes.n; i++) {
        const char *text = s->volumes.v[i], *colon = strchr(text, ':');
        const char *mode = colon ? strchr(colon + 1, ':') : NULL;
        bool target = colon && colon > text && colon[1] == '/';
        if (target && (!mode || strcmp(mode, ":ro") == 0 || strcmp(mode, ":rw") == 0))
            continue;
        tn_problem_at(c->l, place_of(c, s, "volumes", i, NULL), "data:/var/lib/data, or ./conf:/etc/conf:ro",
                      "%s: '%.80s' is not source:/target or source:/target:ro", where(c, s, "volumes"), text);
    }
}

static void check_ulimits(struct tn_checker *c, const struct tn_service *s)
{
    for (size_t i = 0; i < s->n_ulimits; i++) {
        struct tn_ulimit *u = &s->ulimits[i];
        if (u->hard < 0 && u->soft >= 0)
            u->hard = u->soft;
        if (u->hard >= 0 && (u->soft > u->hard || u->soft < 0))
            tn_problem_at(c->l, place(c, s, "ulimits", u->name), NULL, "%s: soft is more than hard",
                          where(c, s, "ulimits"));
    }
}

static void check_texts(struct tn_checker *c, const struct tn_service *s)
{
    for (size_t i = 0; i < s->labels.n; i++)
        if (strncmp(s->labels.v[i].name, "turnout.", 8) == 0)
            tn_problem_at(c->l, place(c, s, "labels", s->labels.v[i].name), NULL,
                          "%s: '%s': labels that begin with turnout. are turnout's own",
                          where(c, s, "labels"), s->labels.v[i].name);
    for (size_t i = 0; i < s->files.n; i++)
        if (!*s->files.v[i])
            tn_problem_at(c->l, place_of(c, s, "files", i, NULL), NULL, "%s: an empty path",
                          where(c, s, "files"));
    check_volumes(c, s);
    check_ulimits(c, s);
}

/* ---- ports ------------------------------------------------------------------------------------------ */

static void check_port_taken(struct tn_checker *c, const struct tn_port *p, const struct tn_port *q,
                             struct tn_mark at, const char *path)
{
    if (p->name && q->name && strcmp(p->name, q->name) == 0)
        tn_problem_at(c->l, at, NULL, "%s: the name '%s' is already taken", path, p->name);
    if (p->container > 0 && p->container == q->container)
        tn_problem_at(c->l, at, NULL, "%s: container port %d is already there", path, p->container);
    if (p->host > 0 && p->host == q->host && tn_streq(p->bind, q->bind))
        tn_problem_at(c->l, at, NULL, "%s: host port %d is already there", path, p->host);
}

static void check_port(struct tn_checker *c, struct tn_service *s, size_t i, struct kinds kinds)
{
    struct tn_port *p = &s->ports[i];
    struct tn_mark at = place_of(c, s, "ports", i, NULL);
    const char *path = tn_arena_format(c->l->arena, "services.%s.ports[%zu]", s->name, i);
    if (kinds.docker && p->container == 0)
        tn_problem_at(c->l, at, NULL, "%s: 'container' is missing: it runs on docker", path);
    if (!p->name && p->container > 0)
        p->name = tn_arena_format(c->l->arena, "%d", p->container);
    if (!p->name)
        tn_problem_at(c->l, at, NULL, "%s: 'name' is missing", path);
    for (size_t j = 0; j < i; j++)
        check_port_taken(c, p, &s->ports[j], at, path);
    const struct tn_policy *policy = &c->plan->policy;
    if (p->host >= policy->port_first && p->host <= policy->port_last)
        tn_warning_at(c->l, at, "choose one outside of policy.port_range",
                      "%s: host port %d lies in the range that turnout picks from", path, p->host);
}

/* The port that a text names: by name or by number; NULL when there is none. */
static const struct tn_port *find_port(const struct tn_service *s, const char *text)
{
    int64_t number = 0;
    for (size_t i = 0; i < s->n_ports; i++)
        if (s->ports[i].name && strcmp(s->ports[i].name, text) == 0)
            return &s->ports[i];
    for (size_t i = 0; i < s->n_ports && tn_parse_int(text, &number); i++)
        if (s->ports[i].container == number && number > 0)
            return &s->ports[i];
    return NULL;
}

/* Checks a reference to a port and makes it the port's name. */
static void bind_port(struct tn_checker *c, const struct tn_service *s, char **port, struct tn_mark at,
                      const char *path)
{
    const char **names = tn_arena_alloc(c->l->arena, (s->n_ports + 1) * sizeof(char *));
    size_t n = 0;
    for (size_t i = 0; i < s->n_ports; i++)
        if (s->ports[i].name)
            names[n++] = s->ports[i].name;
    if (!*port) {
        if (s->n_ports == 0)
            tn_problem_at(c->l, at, "ports: [{ name: http, container: 8080 }]",
                          "%s: the service has no ports", path);
        return;
    }
    const struct tn_port *p = find_port(s, *port);
    if (!p)
        tn_check_unknown(c, at, path, "port", *port, names, n);
    else if (p->name)
        *port = p->name;
}

static void check_ports(struct tn_checker *c, struct tn_service *s, struct kinds kinds)
{
    if (s->n_ports > MAX_PORTS) {
        tn_problem_at(c->l, place(c, s, "ports", NULL), NULL, "%s: more than %d", where(c, s, "ports"),
                      MAX_PORTS);
        return;
    }
    for (size_t i = 0; i < s->n_ports; i++)
        check_port(c, s, i, kinds);
}

static bool share_cluster(const struct tn_service *a, const struct tn_service *b)
{
    for (size_t i = 0; i < a->clusters.n; i++)
        for (size_t j = 0; j < b->clusters.n; j++)
            if (strcmp(a->clusters.v[i], b->clusters.v[j]) == 0)
                return true;
    return false;
}

/* Two services cannot have one fixed host port on one cluster. */
static void check_host_ports(struct tn_checker *c, const struct tn_service *s)
{
    for (size_t i = 0; i < s->n_ports; i++) {
        if (s->ports[i].host == 0)
            continue;
        for (const struct tn_service *o = c->plan->services; o < s; o++)
            for (size_t j = 0; j < o->n_ports; j++)
                if (o->ports[j].host == s->ports[i].host && tn_streq(o->ports[j].bind, s->ports[i].bind) &&
                    share_cluster(o, s))
                    tn_problem_at(c->l, place_of(c, s, "ports", i, "host"), NULL,
                                  "services.%s.ports[%zu]: host port %d belongs to the service '%s'", s->name,
                                  i, s->ports[i].host, o->name);
    }
}

/* ---- health ----------------------------------------------------------------------------------------- */

static void check_health(struct tn_checker *c, struct tn_service *s, struct kinds kinds)
{
    struct tn_health *h = &s->health;
    const char *path = where(c, s, "health");
    if (h->kind == TN_HEALTH_HTTP || h->kind == TN_HEALTH_TCP)
        bind_port(c, s, &h->port, place(c, s, "health", h->port ? "port" : NULL),
                  h->port ? where(c, s, "health.port") : path);
    if (h->kind == TN_HEALTH_NATIVE && kinds.process)
        tn_problem_at(c->l, place(c, s, "health", "native"), "use http, tcp or cmd",
                      "%s.native: a process has no health check of its own", path);
    const struct tn_node *expect = tn_check_node(c, "services", s->name, "health", "expect");
    if (expect && h->kind != TN_HEALTH_HTTP && h->kind != TN_HEALTH_NONE)
        tn_problem_at(c->l, expect->key_mark, NULL, "%s.expect: only with http", path);
}

/* ---- expose ----------------------------------------------------------------------------------------- */

static void check_balancer_keys(struct tn_checker *c, const struct tn_node *n, const struct tn_balancer *b,
                                const char *path)
{
    static const char *const nginx_only[] = {"keepalive", "max_fails", "fail_timeout"};
    for (size_t k = 0; k < TN_COUNT(nginx_only) && b->kind == TN_BALANCER_HAPROXY; k++) {
        const struct tn_node *key = tn_node_get(n, nginx_only[k]);
        if (key)
            tn_problem_at(c->l, key->key_mark, NULL, "%s.%s: only nginx uses it", path, nginx_only[k]);
    }
}

/* Either turnout owns the way to the upstream (managed), or the user's configuration points at it by name. */
static void check_route(struct tn_checker *c, const struct tn_service *s, size_t i,
                        const struct tn_balancer *b, const char *path)
{
    struct tn_expose *e = &s->expose[i];
    bool owned = b->managed || b->kind == TN_BALANCER_FAKE;
    const struct tn_node *list = tn_check_node(c, "services", s->name, "expose");
    const struct tn_node *n = list && list->kind == TN_NODE_LIST && i < list->n ? list->v[i] : list;
    if (!e->upstream && owned)
        e->upstream = tn_arena_format(c->l->arena, "%s_%s", c->plan->name ? c->plan->name : "", s->name);
    else if (!e->upstream && !tn_node_get(n, "upstream"))
        tn_problem_at(c->l, place_of(c, s, "expose", i, NULL),
                      "the upstream or backend that your configuration points at",
                      "%s: 'upstream' is missing", path);
    if (!owned && (e->host || e->path))
        tn_problem_at(c->l, place_of(c, s, "expose", i, e->host ? "host" : "path"),
                      "your own configuration routes to it", "%s: host and path are for managed balancers",
                      path);
    check_balancer_keys(c, n, b, path);
}

static void check_taken(struct tn_checker *c, const struct tn_service *s, size_t i)
{
    const struct tn_expose *e = &s->expose[i];
    for (const struct tn_service *o = c->plan->services; o <= s; o++) {
        for (size_t j = 0; j < (o == s ? i : o->n_expose); j++) {
            const struct tn_expose *f = &o->expose[j];
            if (!e->balancer || !tn_streq(e->balancer, f->balancer) || !e->upstream ||
                !tn_streq(e->upstream, f->upstream))
                continue;
            tn_problem_at(c->l, place_of(c, s, "expose", i, NULL), NULL,
                          "services.%s.expose[%zu]: the upstream '%s' of '%s' already belongs to '%s'",
                          s->name, i, e->upstream, e->balancer, o->name);
            return;
        }
    }
}

static void check_expose(struct tn_checker *c, struct tn_service *s, size_t i)
{
    struct tn_expose *e = &s->expose[i];
    const char *path = tn_arena_format(c->l->arena, "services.%s.expose[%zu]", s->name, i);
    if (!e->balancer)
        return;
    const struct tn_balancer *b = tn_plan_balancer(c->plan, e->balancer);
    struct tn_mark at = place_of(c, s, "expose", i, "balancer");
    bind_port(c, s, &e->port, place_of(c, s, "expose", i, e->port ? "port" : NULL), path);
    if (strcmp(e->balancer, "platform") == 0) {
        tn_problem_at(c->l, at, NULL, "%s: balancer 'platform' is reserved: this build cannot run it yet",
                      path);
        return;
    }
    if (!b) {
        const char **names = tn_arena_alloc(c->l->arena, (c->plan->n_balancers + 1) * sizeof(char *));
        for (size_t j = 0; j < c->plan->n_balancers; j++)
            names[j] = c->plan->balancers[j].name;
        tn_check_unknown(c, at, path, "balancer", e->balancer, names, c->plan->n_balancers);
        return;
    }
    check_route(c, s, i, b, path);
    check_taken(c, s, i);
}

void tn_check_services(struct tn_checker *c)
{
    for (size_t i = 0; i < c->plan->n_services; i++) {
        struct tn_service *s = &c->plan->services[i];
        struct kinds kinds = check_clusters(c, s);
        check_program(c, s, kinds);
        check_depends(c, s);
        check_secrets(c, s);
        check_texts(c, s);
        check_ports(c, s, kinds);
        check_host_ports(c, s);
        check_health(c, s, kinds);
        for (size_t j = 0; j < s->n_expose; j++)
            check_expose(c, s, j);
        tn_check_rollout(c, s);
    }
}
