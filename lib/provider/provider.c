#include "lib/provider/provider.h"

#include <stdlib.h>
#include <string.h>

#include "turnout/mem.h"

static const struct tn_provider_kind kinds[] = {
    {TN_CLUSTER_DOCKER, tn_docker_open},
    {TN_CLUSTER_PROCESS, tn_process_open},
#ifdef TN_FAKE
    {TN_CLUSTER_FAKE, tn_fake_open},
#endif
};

struct tn_provider *tn_provider_open(const struct tn_plan *plan, const struct tn_cluster *cluster,
                                     struct tn_http *http, struct tn_error **err)
{
    for (size_t i = 0; i < TN_COUNT(kinds); i++)
        if (kinds[i].kind == cluster->kind)
            return kinds[i].open(plan, cluster, http, err);
    tn_error_set(err, TN_EUNSUPPORTED, "cluster '%s': kind '%s' is not part of this build", cluster->name,
                 tn_cluster_kind_name(cluster->kind));
    return NULL;
}

void tn_provider_free(struct tn_provider *p)
{
    if (p)
        p->ops->free(p);
}

void tn_instance_clear(struct tn_instance *i)
{
    char *const owned[] = {i->name,   i->id,          i->detail, i->service, i->revision, i->rollout,
                           i->effect, i->environment, i->spec,   i->secrets, i->address,  i->restart_policy,
                           i->cluster};
    for (size_t k = 0; k < TN_COUNT(owned); k++)
        free(owned[k]);
    for (size_t k = 0; k < i->n_ports; k++)
        free(i->ports[k].name);
    free(i->ports);
    memset(i, 0, sizeof(*i));
}

struct tn_instance tn_instance_copy(const struct tn_instance *i)
{
    struct tn_instance c = *i;
    char **const owned[] = {&c.name,   &c.id,          &c.detail, &c.service, &c.revision, &c.rollout,
                            &c.effect, &c.environment, &c.spec,   &c.secrets, &c.address,  &c.restart_policy,
                            &c.cluster};
    for (size_t k = 0; k < TN_COUNT(owned); k++)
        *owned[k] = tn_strdup(*owned[k]);
    c.ports = tn_alloc((i->n_ports + 1) * sizeof(*c.ports));
    for (size_t k = 0; k < i->n_ports; k++) {
        c.ports[k].name = tn_strdup(i->ports[k].name);
        c.ports[k].host_port = i->ports[k].host_port;
    }
    return c;
}

int tn_instance_port(const struct tn_instance *i, const char *name)
{
    if (!name)
        return i->n_ports > 0 ? i->ports[0].host_port : 0;
    for (size_t k = 0; k < i->n_ports; k++)
        if (strcmp(i->ports[k].name, name) == 0)
            return i->ports[k].host_port;
    return 0;
}

void tn_observation_clear(struct tn_observation *o)
{
    for (size_t k = 0; k < o->n; k++)
        tn_instance_clear(&o->v[k]);
    free(o->v);
    for (size_t k = 0; k < o->n_hosts; k++)
        free(o->hosts[k].error);
    free(o->hosts);
    memset(o, 0, sizeof(*o));
}

void tn_docs_clear(struct tn_docs *d)
{
    for (size_t k = 0; k < d->n; k++) {
        free(d->v[k].name);
        json_decref(d->v[k].body);
    }
    free(d->v);
    memset(d, 0, sizeof(*d));
}
