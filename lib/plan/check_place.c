/* What the table cannot say, part two: clusters and balancers. */
#include <stdlib.h>
#include <string.h>

#include "lib/plan/load.h"

#define DEFAULT_DOCKER "unix:///var/run/docker.sock"

static void check_url(struct tn_checker *c, const char *url, struct tn_mark at, const char *where)
{
    if (strncmp(url, "unix:///", 8) == 0 && url[8])
        return;
    if (strncmp(url, "tcp://", 6) == 0 && tn_check_text(TN_CHECK_ADDRESS, url + 6))
        return;
    if (strncmp(url, "ssh://", 6) == 0)
        tn_problem_at(c->l, at, NULL, "%s: 'ssh' hosts are reserved: this build cannot run them yet", where);
    else
        tn_problem_at(c->l, at, "unix:///var/run/docker.sock or tcp://10.0.0.11:2376",
                      "%s: '%.80s' is no address of an engine", where, url);
}

static void default_host(struct tn_checker *c, struct tn_cluster *k)
{
    const char *env = getenv("DOCKER_HOST");
    k->docker.hosts = tn_arena_alloc(c->l->arena, sizeof(*k->docker.hosts));
    k->docker.n_hosts = 1;
    k->docker.hosts[0].url = tn_arena_strdup(c->l->arena, env && *env ? env : DEFAULT_DOCKER);
    if (env && *env)
        check_url(c, env, k->mark, "DOCKER_HOST");
}

static void check_registry(struct tn_checker *c, const struct tn_cluster *k, const char *where)
{
    const struct tn_registry *r = k->docker.registry;
    if (r && r->password && !tn_plan_secret(c->plan, r->password)) {
        const char **names = tn_arena_alloc(c->l->arena, (c->plan->n_secrets + 1) * sizeof(char *));
        for (size_t i = 0; i < c->plan->n_secrets; i++)
            names[i] = c->plan->secrets[i].name;
        tn_check_unknown(c, tn_check_place(c, "clusters", k->name, "docker", "registry", "password"),
                         tn_arena_format(c->l->arena, "%s.registry.password", where), "secret", r->password,
                         names, c->plan->n_secrets);
    }
}

static void check_docker(struct tn_checker *c, struct tn_cluster *k)
{
    const char *where = tn_arena_format(c->l->arena, "clusters.%s.docker", k->name);
    k->docker.unreachable_fail = true;
    if (k->docker.n_hosts == 0)
        default_host(c, k);
    const char *key = tn_check_node(c, "clusters", k->name, "docker", "hosts") ? "hosts" : "host";
    for (size_t i = 0; i < k->docker.n_hosts; i++) {
        const char *url = k->docker.hosts[i].url;
        const char *index = tn_arena_format(c->l->arena, "%zu", i);
        struct tn_mark at = tn_check_place(c, "clusters", k->name, "docker", key, index, "url");
        if (!url)
            continue;
        check_url(c, url, at, where);
        for (size_t j = 0; j < i; j++)
            if (k->docker.hosts[j].url && strcmp(k->docker.hosts[j].url, url) == 0)
                tn_problem_at(c->l, at, NULL, "%s: the host '%s' stands there twice", where, url);
    }
    check_registry(c, k, where);
}

void tn_check_clusters(struct tn_checker *c)
{
    for (size_t i = 0; i < c->plan->n_clusters; i++)
        if (c->plan->clusters[i].kind == TN_CLUSTER_DOCKER)
            check_docker(c, &c->plan->clusters[i]);
    const struct tn_node *n = tn_node_get(c->root, "clusters");
    if (n && n->kind == TN_NODE_MAP && c->plan->n_clusters == 0)
        tn_problem_at(c->l, n->key_mark, NULL, "clusters: at least one is needed");
}

/* ---- balancers -------------------------------------------------------------------------------------- */

/* The cluster that a balancer names; NULL when a problem was added. */
static const struct tn_cluster *cluster_of(struct tn_checker *c, const char *name, struct tn_mark at,
                                           const char *where)
{
    const struct tn_cluster *k = tn_plan_cluster(c->plan, name);
    if (k)
        return k;
    const char **names = tn_arena_alloc(c->l->arena, (c->plan->n_clusters + 1) * sizeof(char *));
    for (size_t i = 0; i < c->plan->n_clusters; i++)
        names[i] = c->plan->clusters[i].name;
    tn_check_unknown(c, at, where, "cluster", name, names, c->plan->n_clusters);
    return NULL;
}

static void refuse_with(struct tn_checker *c, const struct tn_balancer *b, const char *kind,
                        const char *const *keys, size_t n, const char *why)
{
    const struct tn_node *node = tn_check_node(c, "balancers", b->name, kind);
    for (size_t i = 0; i < n; i++) {
        const struct tn_node *bad = tn_node_get(node, keys[i]);
        if (bad)
            tn_problem_at(c->l, bad->key_mark, NULL, "balancers.%s.%s.%s: %s", b->name, kind, keys[i], why);
    }
}

static void need(struct tn_checker *c, const struct tn_balancer *b, const char *kind, const char *key,
                 bool there)
{
    if (!there)
        tn_problem_at(c->l, b->mark, "turnout explain balancers", "balancers.%s.%s: '%s' is missing", b->name,
                      kind, key);
}

static void check_managed(struct tn_checker *c, struct tn_balancer *b)
{
    static const char *const own[] = {"socket", "file", "test", "reload"};
    refuse_with(c, b, "haproxy", own, TN_COUNT(own), "turnout owns it all when the balancer is managed");
    need(c, b, "haproxy", "listen", b->listen != NULL);
    struct tn_mark at = tn_check_place(c, "balancers", b->name, "haproxy", "managed");
    const struct tn_cluster *k =
        cluster_of(c, b->managed, at, tn_arena_format(c->l->arena, "balancers.%s.haproxy.managed", b->name));
    if (k && b->image && k->kind == TN_CLUSTER_PROCESS)
        tn_problem_at(c->l, tn_check_place(c, "balancers", b->name, "haproxy", "image"), NULL,
                      "balancers.%s.haproxy.image: '%s' runs processes, not images", b->name, k->name);
}

static void check_haproxy(struct tn_checker *c, struct tn_balancer *b)
{
    static const char *const managed_only[] = {"listen", "image"};
    if (b->managed) {
        check_managed(c, b);
        return;
    }
    refuse_with(c, b, "haproxy", managed_only, TN_COUNT(managed_only), "only with managed");
    need(c, b, "haproxy", "file", b->file != NULL);
    need(c, b, "haproxy", "socket", b->socket != NULL);
    need(c, b, "haproxy", "reload", b->reload.argv != NULL);
    if (!b->socket || b->socket[0] == '/')
        return;
    if (strncmp(b->socket, "./", 2) == 0 || strncmp(b->socket, "../", 3) == 0)
        b->socket =
            tn_arena_format(c->l->arena, "%s/%s", c->plan->dir, b->socket + (b->socket[1] == '/' ? 2 : 0));
    else if (!tn_check_text(TN_CHECK_ADDRESS, b->socket))
        tn_problem_at(c->l, tn_check_place(c, "balancers", b->name, "haproxy", "socket"),
                      "/run/haproxy/admin.sock, ./admin.sock or 127.0.0.1:9999",
                      "balancers.%s.haproxy.socket: '%.80s' is neither a path nor host:port", b->name,
                      b->socket);
}

static struct tn_command words(struct tn_arena *a, const char *const *argv, size_t n)
{
    struct tn_command cmd = {.argv = tn_arena_alloc(a, (n + 1) * sizeof(char *)), .n = n};
    for (size_t i = 0; i < n; i++)
        cmd.argv[i] = tn_arena_strdup(a, argv[i]);
    return cmd;
}

static void check_nginx(struct tn_checker *c, struct tn_balancer *b)
{
    static const char *const test[] = {"nginx", "-t"}, *const reload[] = {"nginx", "-s", "reload"};
    if (!b->test.argv)
        b->test = words(c->l->arena, test, TN_COUNT(test));
    if (!b->reload.argv)
        b->reload = words(c->l->arena, reload, TN_COUNT(reload));
    if (!b->on != !b->container) {
        need(c, b, "nginx", b->on ? "container" : "on", false);
        return;
    }
    if (!b->on)
        return;
    struct tn_mark at = tn_check_place(c, "balancers", b->name, "nginx", "on");
    const struct tn_cluster *k =
        cluster_of(c, b->on, at, tn_arena_format(c->l->arena, "balancers.%s.nginx.on", b->name));
    if (k && k->kind == TN_CLUSTER_PROCESS)
        tn_problem_at(c->l, at, NULL, "balancers.%s.nginx.on: '%s' has no containers", b->name, k->name);
    const struct tn_node *file = tn_check_node(c, "balancers", b->name, "nginx", "file");
    if (file && file->kind == TN_NODE_SCALAR && file->text[0] != '/')
        tn_problem_at(c->l, file->mark, NULL,
                      "balancers.%s.nginx.file: a path inside the container begins with /", b->name);
}

void tn_check_balancers(struct tn_checker *c)
{
    struct tn_plan *p = c->plan;
    for (size_t i = 0; i < p->n_balancers; i++) {
        struct tn_balancer *b = &p->balancers[i];
        if (strcmp(b->name, "platform") == 0)
            tn_problem_at(c->l, b->mark, NULL,
                          "balancers.platform: the name stands for a platform's own split");
        if (b->kind == TN_BALANCER_HAPROXY && tn_check_node(c, "balancers", b->name, "haproxy"))
            check_haproxy(c, b);
        else if (b->kind == TN_BALANCER_NGINX)
            check_nginx(c, b);
        for (size_t j = 0; j < i; j++)
            if (b->file && p->balancers[j].file && strcmp(b->file, p->balancers[j].file) == 0 &&
                tn_streq(b->container, p->balancers[j].container) && b->kind != TN_BALANCER_FAKE)
                tn_problem_at(c->l, b->mark, NULL, "balancers.%s: the file '%s' already belongs to '%s'",
                              b->name, b->file, p->balancers[j].name);
    }
}
