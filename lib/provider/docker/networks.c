#include <stdlib.h>
#include <string.h>

#include "turnout/text.h"
#include "lib/provider/docker/docker.h"
#include "lib/provider/docker/request.h"

static bool is_known(char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static void remember(char ***names, size_t *n, const char *name)
{
    *names = tn_realloc_array(*names, *n + 1, sizeof **names);
    (*names)[(*n)++] = tn_strdup(name);
}

/* Engines below API 1.44 would make a second network of the same name, so it is looked up first. */
static int make_network(struct tn_docker *d, size_t host, struct tn_cancel *c, const char *name,
                        const char *app, struct tn_error **err)
{
    tn_autofree char *escaped = tn_docker_escape(name);
    tn_autofree char *path = tn_format("/networks/%s", escaped);
    tn_autofree char *what = tn_format("network '%s'", name);
    struct tn_call look = {.method = "GET", .path = path};
    struct tn_http_answer a;
    int code = tn_engine_call(d, host, c, &look, &a, err);
    if (code != TN_OK)
        return code;
    int status = a.status;
    if (status >= 400 && status != 404)
        code = tn_engine_refused(&a, what, err);
    tn_http_answer_clear(&a);
    if (status != 404 || code != TN_OK)
        return code;
    json_t *body = tn_docker_network_body(name, app);
    struct tn_call create = {.method = "POST", .path = "/networks/create", .json = body};
    code = tn_engine_call(d, host, c, &create, &a, err);
    if (code == TN_OK && a.status >= 400 && a.status != 409)
        code = tn_engine_refused(&a, what, err);
    tn_http_answer_clear(&a);
    json_decref(body);
    return code;
}

/* Creating a volume that exists returns it as it is; 409 says that its driver is another one. */
static int make_volume(struct tn_docker *d, size_t host, struct tn_cancel *c, const char *name,
                       const char *app, struct tn_error **err)
{
    tn_autofree char *what = tn_format("volume '%s'", name);
    json_t *body = tn_docker_volume_body(name, app);
    struct tn_call create = {.method = "POST", .path = "/volumes/create", .json = body};
    struct tn_http_answer a;
    int code = tn_engine_call(d, host, c, &create, &a, err);
    if (code == TN_OK && a.status >= 400 && a.status != 409)
        code = tn_engine_refused(&a, what, err);
    tn_http_answer_clear(&a);
    json_decref(body);
    return code;
}

static int ensure_networks(struct tn_docker *d, size_t host, struct tn_cancel *c, const struct tn_start *s,
                           struct tn_error **err)
{
    static const char *const built_in[] = {"bridge", "host", "none", "default"};
    struct tn_engine *e = &d->engines[host];
    for (size_t i = 0; i < s->spec->n_networks; i++) {
        const char *name = s->spec->networks[i].name;
        bool known = is_known(e->ready_networks, e->n_ready_networks, name) ||
                     is_known((char *const *)(uintptr_t)built_in, TN_COUNT(built_in), name) ||
                     tn_starts_with(name, "container:");
        if (known)
            continue;
        int code = make_network(d, host, c, name, s->app, err);
        if (code != TN_OK)
            return code;
        remember(&e->ready_networks, &e->n_ready_networks, name);
    }
    return TN_OK;
}

static int ensure_volumes(struct tn_docker *d, size_t host, struct tn_cancel *c, const struct tn_start *s,
                          struct tn_error **err)
{
    struct tn_engine *e = &d->engines[host];
    for (size_t i = 0; i < s->spec->volumes.n; i++) {
        json_t *mount = tn_docker_mount(s->spec->volumes.v[i], s->dir, err);
        if (mount == NULL)
            return TN_EPLAN;
        json_decref(mount);
        tn_autofree char *name = tn_docker_volume_name(s->spec->volumes.v[i]);
        if (name == NULL || is_known(e->ready_volumes, e->n_ready_volumes, name))
            continue;
        int code = make_volume(d, host, c, name, s->app, err);
        if (code != TN_OK)
            return code;
        remember(&e->ready_volumes, &e->n_ready_volumes, name);
    }
    return TN_OK;
}

int tn_docker_ensure(struct tn_docker *d, size_t host, struct tn_cancel *c, const struct tn_start *s,
                     struct tn_error **err)
{
    if (s->spec->n_networks == 0 && s->spec->volumes.n == 0)
        return TN_OK;
    /* Held during the calls, which are bounded: two instances of a batch must not both make the network. */
    pthread_mutex_t *lock = &d->engines[host].making;
    pthread_mutex_lock(lock);
    int code = ensure_networks(d, host, c, s, err);
    if (code == TN_OK)
        code = ensure_volumes(d, host, c, s, err);
    pthread_mutex_unlock(lock);
    return code;
}

static int connect_network(struct tn_docker *d, size_t host, struct tn_cancel *c, const char *id,
                           const struct tn_network *n, bool aliases, struct tn_error **err)
{
    tn_autofree char *escaped = tn_docker_escape(n->name);
    tn_autofree char *path = tn_format("/networks/%s/connect", escaped);
    tn_autofree char *what = tn_format("network '%s'", n->name);
    json_t *body = tn_docker_connect_body(id, n, aliases);
    struct tn_call call = {.method = "POST", .path = path, .json = body};
    struct tn_http_answer a;
    int code = tn_engine_call(d, host, c, &call, &a, err);
    if (code == TN_OK && a.status >= 400) {
        tn_autofree char *words = tn_docker_message(a.body.data, a.body.len);
        if (a.status != 403 || strstr(words, "already exists in network") == NULL)
            code = tn_engine_refused(&a, what, err);
    }
    tn_http_answer_clear(&a);
    json_decref(body);
    return code;
}

bool tn_docker_is_exposed(const struct tn_docker *d, const char *service)
{
    const struct tn_service *s = tn_plan_service(d->base.plan, service);
    return s != NULL && s->n_expose > 0;
}

int tn_docker_join_further(struct tn_docker *d, size_t host, struct tn_cancel *c, const char *id,
                           const struct tn_service *s, bool task, struct tn_error **err)
{
    bool exposed = !task && tn_docker_is_exposed(d, s->name);
    const struct tn_network *first = tn_docker_first_network(s, exposed);
    for (size_t i = 0; i < s->n_networks; i++) {
        const struct tn_network *n = &s->networks[i];
        enum tn_join join = tn_docker_join_of(s, n, exposed);
        if (n == first || join == TN_JOIN_LATER)
            continue;
        int code = connect_network(d, host, c, id, n, !task && join == TN_JOIN_AT_CREATE, err);
        if (code != TN_OK)
            return code;
    }
    return TN_OK;
}

static int disconnect_network(struct tn_docker *d, size_t host, struct tn_cancel *c, const char *id,
                              const struct tn_network *n, struct tn_error **err)
{
    tn_autofree char *escaped = tn_docker_escape(n->name);
    tn_autofree char *path = tn_format("/networks/%s/disconnect", escaped);
    tn_autofree char *what = tn_format("network '%s'", n->name);
    json_t *body = tn_docker_disconnect_body(id);
    struct tn_call call = {.method = "POST", .path = path, .json = body};
    int code = tn_engine_json(d, host, c, &call, what, NULL, err);
    json_decref(body);
    return code;
}

/* Engines add the container's short id to the aliases, so each of ours is looked for. */
static bool has_aliases(const json_t *endpoint, const struct tn_network *n)
{
    const json_t *list = json_object_get(endpoint, "Aliases");
    for (size_t i = 0; i < n->aliases.n; i++) {
        bool found = false;
        size_t at;
        json_t *v;
        json_array_foreach(list, at, v) found = found || tn_streq(json_string_value(v), n->aliases.v[i]);
        if (!found)
            return false;
    }
    return true;
}

int tn_docker_join_aliases(struct tn_docker *d, const struct tn_instance *i, struct tn_cancel *c,
                           const struct tn_service *s, struct tn_error **err)
{
    bool exposed = tn_docker_is_exposed(d, i->service);
    json_t *owner = NULL;
    struct tn_inspect in;
    int code = tn_engine_inspect(d, i->host, c, i->id, &owner, &in, err);
    for (size_t k = 0; code == TN_OK && k < s->n_networks; k++) {
        const struct tn_network *n = &s->networks[k];
        const json_t *endpoint = json_object_get(in.networks, n->name);
        if (tn_docker_join_of(s, n, exposed) == TN_JOIN_AT_CREATE || has_aliases(endpoint, n))
            continue;
        if (endpoint != NULL)
            code = disconnect_network(d, i->host, c, i->id, n, err);
        if (code == TN_OK)
            code = connect_network(d, i->host, c, i->id, n, true, err);
    }
    json_decref(owner);
    return code;
}

static int remove_networks(struct tn_docker *d, size_t host, struct tn_cancel *c, struct tn_error **err)
{
    tn_autofree char *path = tn_docker_networks_path(d->base.plan->name);
    json_t *list = NULL, *one;
    size_t at;
    int rc =
        tn_engine_json(d, host, c, &(struct tn_call){.method = "GET", .path = path}, "networks", &list, err);
    json_array_foreach(list, at, one)
    {
        const char *id = tn_docker_text(one, "Id");
        if (rc < 0 || id == NULL || strspn(id, "0123456789abcdef") != strlen(id))
            continue;
        tn_autofree char *which = tn_format("/networks/%s", id);
        struct tn_http_answer a = {0};
        rc = tn_engine_call(d, host, c, &(struct tn_call){.method = "DELETE", .path = which}, &a, err);
        tn_http_answer_clear(&a); /* refused: somebody uses it */
    }
    json_decref(list);
    return rc;
}

int tn_docker_tidy(struct tn_provider *p, struct tn_cancel *c, bool all, struct tn_error **err)
{
    int rc = TN_OK;
    for (size_t h = 0; all && h < p->n_hosts && rc >= 0; h++)
        rc = remove_networks(tn_docker_of(p), h, c, err);
    return rc;
}
