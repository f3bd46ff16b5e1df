#include <stdlib.h>
#include <string.h>

#include "lib/base/pool.h"
#include "turnout/text.h"
#include "lib/provider/docker/docker.h"
#include "lib/provider/docker/request.h"

enum {
    OBSERVE_TIMEOUT_MS = 10000,
    INSPECTS_MAX = 8, /* ended containers whose cause is looked up in one observation */
    POLICIES_MAX = 4096,
    PARALLEL_HOSTS = 32,
};

/* ---- restart policies ------------------------------------------------------------------------------- */

void tn_docker_know_policy(struct tn_docker *d, const char *id, const char *policy)
{
    pthread_mutex_lock(&d->lock);
    struct tn_known_policy *found = NULL;
    for (size_t i = 0; i < d->n_policies && found == NULL; i++)
        if (strcmp(d->policies[i].id, id) == 0)
            found = &d->policies[i];
    if (found != NULL) {
        free(found->policy);
        found->policy = tn_strdup(policy);
    } else if (d->n_policies < POLICIES_MAX) {
        TN_GROW(d->policies, d->n_policies, d->cap_policies);
        d->policies[d->n_policies++] =
            (struct tn_known_policy){.id = tn_strdup(id), .policy = tn_strdup(policy)};
    }
    pthread_mutex_unlock(&d->lock);
}

void tn_docker_forget_policy(struct tn_docker *d, const char *id)
{
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < d->n_policies; i++) {
        if (strcmp(d->policies[i].id, id) == 0) {
            free(d->policies[i].id);
            free(d->policies[i].policy);
            d->policies[i] = d->policies[--d->n_policies];
            break;
        }
    }
    pthread_mutex_unlock(&d->lock);
}

static char *known_policy(struct tn_docker *d, const char *id)
{
    char *policy = NULL;
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < d->n_policies && policy == NULL; i++)
        if (strcmp(d->policies[i].id, id) == 0)
            policy = tn_strdup(d->policies[i].policy);
    pthread_mutex_unlock(&d->lock);
    return policy;
}

/* ---- one engine ------------------------------------------------------------------------------------- */

struct look {
    struct tn_docker *d;
    struct tn_cancel *c;
    const char *app;
    size_t host;
    struct tn_observation found;
    struct tn_error *err;
    int code;
};

/* Why it ended: the listing has the exit code but neither the memory killer nor the engine's words. */
static void look_at_end(struct look *l, struct tn_instance *i)
{
    json_t *owner = NULL;
    struct tn_inspect in;
    if (tn_engine_inspect(l->d, l->host, l->c, i->id, &owner, &in, NULL) != TN_OK)
        return; /* it may be gone by now; what the listing said stands */
    if (!in.running) {
        i->exit_code = in.exit_code;
        i->exit_signal = tn_docker_signal_of(in.exit_code);
        i->oom_killed = in.oom_killed;
        if (in.error != NULL && *in.error != '\0') {
            free(i->detail);
            i->detail = tn_strdup(in.error);
        }
    }
    i->restarts = in.restarts;
    i->started_at = in.started_at;
    free(i->restart_policy);
    i->restart_policy = tn_strdup(in.restart_policy);
    json_decref(owner);
}

static void look_at_host(void *arg)
{
    struct look *l = arg;
    tn_autofree char *path = tn_docker_path_list(l->app, l->d->base.cluster->name);
    struct tn_call call = {.method = "GET", .path = path, .timeout_ms = OBSERVE_TIMEOUT_MS};
    json_t *list = NULL;
    l->code = tn_engine_json(l->d, l->host, l->c, &call, "containers", &list, &l->err);
    if (l->code == TN_OK) {
        l->code = tn_docker_list(list, l->host, l->d->engines[l->host].address, &l->found, &l->err);
        json_decref(list);
    }
    int inspects = 0;
    for (size_t k = 0; l->code == TN_OK && k < l->found.n; k++) {
        struct tn_instance *i = &l->found.v[k];
        i->restart_policy = known_policy(l->d, i->id);
        if (i->state == TN_RUN_EXITED && inspects++ < INSPECTS_MAX)
            look_at_end(l, i);
    }
}

static void take_over(struct tn_observation *out, struct look *l)
{
    out->hosts[l->host].answered = l->code == TN_OK;
    out->hosts[l->host].code = (enum tn_code)l->code;
    if (l->code != TN_OK) {
        out->hosts[l->host].error = tn_strdup(tn_error_message(l->err));
    } else {
        for (size_t k = 0; k < l->found.n; k++) {
            TN_GROW(out->v, out->n, out->cap);
            out->v[out->n++] = l->found.v[k];
        }
        l->found.n = 0;
    }
    tn_observation_clear(&l->found);
    tn_error_free(l->err);
}

int tn_docker_observe(struct tn_provider *p, struct tn_cancel *c, const char *app, struct tn_observation *out,
                      struct tn_error **err)
{
    struct tn_docker *d = tn_docker_of(p);
    size_t n = p->n_hosts;
    struct look *looks = tn_alloc(n * sizeof *looks);
    void **args = tn_alloc(n * sizeof *args);
    for (size_t i = 0; i < n; i++) {
        looks[i] = (struct look){.d = d, .c = c, .app = app, .host = i};
        args[i] = &looks[i];
    }
    if (n == 1) {
        look_at_host(&looks[0]);
    } else {
        struct tn_pool *pool = tn_pool_new(n < PARALLEL_HOSTS ? n : PARALLEL_HOSTS);
        tn_pool_map(pool, look_at_host, args, n);
        tn_pool_free(pool);
    }
    int code = TN_OK;
    *out = (struct tn_observation){.n_hosts = n};
    out->hosts = tn_alloc(n * sizeof *out->hosts);
    for (size_t i = 0; i < n; i++) {
        /* A host that does not answer is unknown; a wait that was called off is no statement about it. */
        if (looks[i].code == TN_ECANCELLED && code == TN_OK)
            code = tn_error_move(err, &looks[i].err);
        take_over(out, &looks[i]);
    }
    if (code != TN_OK)
        tn_observation_clear(out);
    free(looks);
    free(args);
    return code;
}
