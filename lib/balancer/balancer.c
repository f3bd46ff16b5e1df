/* balancer.c - the registry of balancers, and what they share: traffic and status records. */
#include "lib/balancer/balancer.h"

#include <stdlib.h>
#include <string.h>

#include "turnout/mem.h"
#include "turnout/text.h"

typedef struct tn_balancer_driver *(*open_fn)(const struct tn_plan *plan, const struct tn_balancer *config,
                                              struct tn_host *host, const char *managed_dir,
                                              struct tn_http *http, struct tn_error **err);

static const open_fn registry[] = {
    [TN_BALANCER_HAPROXY] = tn_haproxy_open,
    [TN_BALANCER_NGINX] = tn_nginx_open,
#ifdef TN_FAKE
    [TN_BALANCER_FAKE] = tn_fake_balancer_open,
#endif
};

struct tn_balancer_driver *tn_balancer_open(const struct tn_plan *plan, const struct tn_balancer *config,
                                            struct tn_host *host, const char *managed_dir,
                                            struct tn_http *http, struct tn_error **err)
{
    size_t kind = (size_t)config->kind;
    if (kind >= TN_COUNT(registry) || registry[kind] == NULL) {
        tn_host_free(host);
        tn_error_set(err, TN_EUNSUPPORTED, "kind '%s' is not in this build",
                     tn_balancer_kind_name(config->kind));
        return NULL;
    }
    return registry[kind](plan, config, host, managed_dir, http, err);
}

void tn_balancer_driver_free(struct tn_balancer_driver *b)
{
    if (b != NULL) {
        b->ops->free(b);
    }
}

static void upstream_clear(struct tn_upstream *u)
{
    for (size_t i = 0; i < u->n_servers; i++) {
        free(u->servers[i].instance);
        free(u->servers[i].address);
    }
    free(u->servers);
    free(u->name);
    free(u->service);
    free(u->host);
    free(u->path);
    free(u->balance);
    free(u->probe_path);
    free(u->probe_expect);
}

void tn_traffic_clear(struct tn_traffic *t)
{
    for (size_t i = 0; i < t->n; i++) {
        upstream_clear(&t->v[i]);
    }
    free(t->v);
    memset(t, 0, sizeof(*t));
}

struct tn_upstream *tn_traffic_find(const struct tn_traffic *t, const char *upstream)
{
    for (size_t i = 0; i < t->n; i++) {
        if (tn_streq(t->v[i].name, upstream)) {
            return &t->v[i];
        }
    }
    return NULL;
}

static void upstream_copy(struct tn_upstream *to, const struct tn_upstream *from)
{
    *to = *from;
    to->name = tn_strdup(from->name);
    to->service = tn_strdup(from->service);
    to->host = tn_strdup(from->host);
    to->path = tn_strdup(from->path);
    to->balance = tn_strdup(from->balance);
    to->probe_path = tn_strdup(from->probe_path);
    to->probe_expect = tn_strdup(from->probe_expect);
    to->servers = NULL;
    to->n_servers = to->cap_servers = 0;
    for (size_t i = 0; i < from->n_servers; i++) {
        TN_GROW(to->servers, to->n_servers, to->cap_servers);
        struct tn_server *server = &to->servers[to->n_servers++];
        *server = from->servers[i];
        server->instance = tn_strdup(from->servers[i].instance);
        server->address = tn_strdup(from->servers[i].address);
    }
}

void tn_traffic_copy(struct tn_traffic *out, const struct tn_traffic *t)
{
    for (size_t i = 0; i < t->n; i++) {
        TN_GROW(out->v, out->n, out->cap);
        upstream_copy(&out->v[out->n++], &t->v[i]);
    }
}

void tn_balancer_status_clear(struct tn_balancer_status *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free(s->v[i].upstream);
        free(s->v[i].instance);
        free(s->v[i].address);
    }
    free(s->v);
    free(s->error);
    free(s->file_hash);
    memset(s, 0, sizeof(*s));
}
