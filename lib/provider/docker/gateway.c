/* Where a published port must be bound so that a process in a container (a balancer) reaches it. */
#include <string.h>

#include "lib/provider/docker/docker.h"
#include "turnout/text.h"

static char *gateway_of(const json_t *networks)
{
    const char *name;
    json_t *one;
    json_object_foreach((json_t *)(uintptr_t)networks, name, one)
    {
        if (strcmp(name, "host") == 0)
            return tn_strdup("127.0.0.1");
        const char *gateway = tn_docker_text(one, "Gateway");
        if (gateway && *gateway)
            return tn_strdup(gateway);
    }
    return NULL;
}

char *tn_docker_gateway(struct tn_provider *p, struct tn_cancel *c, const char *container,
                        struct tn_error **err)
{
    struct tn_inspect i;
    json_t *owner = NULL;
    char *gateway = NULL;
    if (tn_engine_inspect(tn_docker_of(p), 0, c, container, &owner, &i, err) >= 0) {
        gateway = gateway_of(i.networks);
        if (!gateway)
            tn_error_set(err, TN_ENOTFOUND, "container '%s' is on no network with a gateway", container);
    }
    json_decref(owner);
    return gateway;
}
