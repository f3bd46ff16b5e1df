/* The nginx balancer's table of operations, and what really serves. */
#include "lib/balancer/nginx/nginx.h"

#include <stdlib.h>
#include <string.h>

#include "turnout/mem.h"
#include "turnout/text.h"

/* Fresh connections of an observation; an apply asks far more. */
#define OBSERVE_ASKS 3

static void add_row(struct tn_balancer_status *out, struct tn_server_status row)
{
    TN_GROW(out->v, out->n, out->cap);
    out->v[out->n++] = row;
}

static void add_servers(const struct tn_traffic *t, enum tn_tri in_rotation, struct tn_balancer_status *out)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct tn_upstream *u = &t->v[i];
        for (size_t k = 0; k < u->n_servers; k++)
            add_row(out, (struct tn_server_status){.upstream = tn_strdup(u->name),
                                                   .instance = tn_strdup(u->servers[k].instance),
                                                   .address = tn_strdup(u->servers[k].address),
                                                   .port = u->servers[k].port,
                                                   .weight = u->servers[k].weight,
                                                   .in_rotation = in_rotation,
                                                   .drained = TN_NO,
                                                   .running = -1,
                                                   .answered = -1});
    }
}

static bool in_traffic(const struct tn_traffic *t, const struct tn_endpoint *at)
{
    struct tn_endpoint e;
    for (size_t i = 0; i < t->n; i++)
        for (size_t k = 0; k < t->v[i].n_servers; k++) {
            const struct tn_server *s = &t->v[i].servers[k];
            if (tn_endpoint_of(s->address, s->port, &e) && tn_endpoint_equal(&e, at))
                return true;
        }
    return false;
}

static void add_left(struct tn_nginx *n, const struct tn_traffic *t, bool loaded,
                     struct tn_balancer_status *out)
{
    for (size_t i = 0; i < n->n_left; i++) {
        const struct tn_nginx_left *l = &n->left[i];
        char text[TN_ENDPOINT_TEXT];
        if (in_traffic(t, &l->at))
            continue;
        tn_endpoint_format(&l->at, text);
        *strrchr(text, ':') = '\0';
        size_t brackets = text[0] == '[';
        enum tn_tri quiet = tn_nginx_left_drained(l) ? TN_YES : l->running < 0 ? TN_CANNOT_TELL : TN_NO;
        add_row(out,
                (struct tn_server_status){.instance = tn_strdup(l->instance),
                                          .address = tn_strndup(text + brackets, strlen(text) - 2 * brackets),
                                          .port = l->at.port,
                                          .in_rotation = loaded ? TN_NO : TN_CANNOT_TELL,
                                          .drained = loaded ? quiet : TN_NO,
                                          .running = tn_nginx_left_drained(l) ? 0 : l->running,
                                          .answered = -1});
    }
}

/* Which configuration runs: sets answered, loaded, error. Fails only when the caller must leave. */
static int ask_what_runs(struct tn_nginx *n, struct tn_cancel *c, const struct tn_nginx_owned *o,
                         struct tn_balancer_status *out, struct tn_error **err)
{
    struct tn_error *why = NULL;
    tn_autofree char *other = NULL;
    int same = 0;
    int rc = tn_nginx_ask_generation(n, c, o->generation, o->hash, OBSERVE_ASKS, &same, &other, &why);
    if (rc == TN_ECANCELLED)
        return tn_error_move(err, &why);
    out->answered = rc == TN_OK || tn_nginx_runs(n, c);
    out->loaded = rc == TN_OK && same >= OBSERVE_ASKS && !o->edited;
    if (!out->answered)
        out->error = tn_format("nginx does not answer on %s and no master process is seen: %s",
                               n->base.host->name, tn_error_message(why));
    else if (!out->loaded && !o->edited)
        out->error = tn_format("nginx does not run what stands in '%s': it was not reloaded, or refused it",
                               n->base.config->file);
    tn_error_free(why);
    return TN_OK;
}

static int observe_owned(struct tn_nginx *n, struct tn_cancel *c, const struct tn_nginx_owned *o,
                         struct tn_balancer_status *out, struct tn_error **err)
{
    out->edited = o->edited;
    if (o->edited)
        out->error = tn_format("file '%s' was edited by hand since turnout wrote it", n->base.config->file);
    if (!o->generation) {
        out->answered = tn_nginx_runs(n, c);
        add_servers(&o->traffic, TN_CANNOT_TELL, out);
        return TN_OK;
    }
    int rc = ask_what_runs(n, c, o, out, err);
    if (rc < 0)
        return rc;
    add_servers(&o->traffic, out->loaded ? TN_YES : TN_CANNOT_TELL, out);
    if (out->loaded)
        tn_nginx_look(n, c, o->generation);
    return TN_OK;
}

static int nginx_observe(struct tn_balancer_driver *b, struct tn_cancel *c, struct tn_balancer_status *out,
                         struct tn_error **err)
{
    struct tn_nginx *n = tn_nginx_of(b);
    struct tn_nginx_file f;
    struct tn_error *why = NULL;
    *out = (struct tn_balancer_status){0};
    int rc = tn_nginx_file_read(n, &f, &why);
    if (rc == TN_ECANCELLED)
        return tn_error_move(err, &why);
    if (rc < 0) {
        out->error = tn_strdup(tn_error_message(why));
        tn_error_free(why);
        return TN_OK;
    }
    if (f.text) {
        char hash[TN_SHA256_HEX];
        tn_sha256_hex(f.text, f.len, hash);
        out->file_hash = tn_strdup(hash);
    }
    out->foreign = f.text && !f.owned.ours;
    if (f.owned.ours)
        rc = observe_owned(n, c, &f.owned, out, err);
    else
        out->answered = true;
    if (out->foreign)
        out->error = tn_format("file '%s' is not turnout's of this plan and environment", b->config->file);
    if (rc == TN_OK)
        add_left(n, &f.owned.traffic, out->loaded, out);
    else
        tn_balancer_status_clear(out);
    tn_nginx_file_clear(&f);
    return rc;
}

static int nginx_current(struct tn_balancer_driver *b, struct tn_cancel *c, struct tn_traffic *out,
                         struct tn_error **err)
{
    (void)c;
    struct tn_nginx_file f;
    int rc = tn_nginx_file_read(tn_nginx_of(b), &f, err);
    if (rc < 0)
        return rc;
    if (f.text && !f.owned.ours)
        rc = tn_error_set(err, TN_ESTRANGER,
                          "balancer '%s': file '%s' is not turnout's of this plan and environment",
                          b->config->name, b->config->file);
    else
        tn_traffic_copy(out, &f.owned.traffic);
    tn_nginx_file_clear(&f);
    return rc;
}

static int nginx_watch_drain(struct tn_balancer_driver *b, const char *instance, const char *address,
                             int port, struct tn_error **err)
{
    struct tn_nginx *n = tn_nginx_of(b);
    struct tn_endpoint e;
    if (!tn_endpoint_of(address, port, &e))
        return tn_error_set(err, TN_EUSAGE, "balancer '%s': no numeric address and port", b->config->name);
    for (size_t i = 0; i < n->n_left; i++)
        if (tn_endpoint_equal(&n->left[i].at, &e) && tn_streq(n->left[i].instance, instance))
            return TN_OK;
    tn_nginx_left_add(n, instance, &e);
    return TN_OK;
}

static void nginx_free(struct tn_balancer_driver *b)
{
    struct tn_nginx *n = tn_nginx_of(b);
    tn_nginx_left_clear(n);
    tn_host_free(b->host);
    free(n);
}

static const struct tn_balancer_ops ops = {
    .name = "nginx",
    .observe = nginx_observe,
    .apply = tn_nginx_apply,
    .differs = tn_nginx_differs,
    .current = nginx_current,
    .remove = tn_nginx_remove,
    .watch_drain = nginx_watch_drain,
    .doctor = tn_nginx_doctor,
    .free = nginx_free,
};

struct tn_balancer_driver *tn_nginx_open(const struct tn_plan *plan, const struct tn_balancer *config,
                                         struct tn_host *host, const char *managed_dir, struct tn_http *http,
                                         struct tn_error **err)
{
    (void)managed_dir;
    (void)http; /* twenty small answers over loopback are no reason to load libcurl */
    if (!config->file || config->file[0] != '/') {
        tn_error_set(err, TN_EPLAN, "balancer '%s': the file must be an absolute path", config->name);
        tn_host_free(host);
        return NULL;
    }
    struct tn_nginx *n = tn_alloc(sizeof(*n));
    n->base = (struct tn_balancer_driver){.ops = &ops,
                                          .config = config,
                                          .app = plan->name,
                                          .environment = plan->environment ? plan->environment : "",
                                          .host = host};
    n->written_ms = -1;
    return &n->base;
}
