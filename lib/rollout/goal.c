#include "lib/rollout/goal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/hash.h"
#include "turnout/mem.h"
#include "turnout/text.h"

struct tn_goals *tn_goals_new(const char *action)
{
    struct tn_goals *g = tn_alloc(sizeof(*g));
    g->action = tn_strdup(action);
    return g;
}

static void goal_clear(struct tn_goal *g)
{
    for (size_t i = 0; i < g->n_secrets; i++)
        tn_secret_free(g->secrets[i].value, g->secrets[i].len);
    free(g->secrets);
    free(g->secret_hashes);
    free(g->note);
    free(g->label);
    free(g->from_secrets);
    free(g->service);
    free(g->cluster);
    free(g->placement);
    json_decref(g->spec);
    json_decref(g->from_spec);
    tn_service_free_spec(g->typed);
}

void tn_goals_free(struct tn_goals *g)
{
    if (!g)
        return;
    for (size_t i = 0; i < g->n; i++)
        goal_clear(&g->v[i]);
    free(g->v);
    free(g->action);
    free(g);
}

struct tn_goal *tn_goals_add(struct tn_goals *g, const char *service, const char *cluster)
{
    TN_GROW(g->v, g->n, g->cap);
    struct tn_goal *one = &g->v[g->n++];
    memset(one, 0, sizeof(*one));
    one->service = tn_strdup(service);
    one->cluster = tn_strdup(cluster);
    one->placement = tn_format("%s@%s", service, cluster);
    return one;
}

struct tn_goal *tn_goals_find(const struct tn_goals *g, const char *service, const char *cluster)
{
    for (size_t i = 0; i < g->n; i++)
        if (strcmp(g->v[i].service, service) == 0 && strcmp(g->v[i].cluster, cluster) == 0)
            return &g->v[i];
    return NULL;
}

int tn_goal_set_spec(struct tn_goal *g, json_t *spec, struct tn_error **err)
{
    struct tn_service *typed = tn_service_from_spec(g->service, spec, err);
    if (!typed)
        return tn_error_prefix(err, "service '%s': recorded spec", g->service);
    tn_service_free_spec(g->typed);
    json_decref(g->spec);
    g->typed = typed;
    g->spec = json_incref(spec);
    tn_spec_revision(spec, g->revision);
    return TN_OK;
}

void tn_goal_start(const struct tn_session *s, const struct tn_goal *g, struct tn_start *out)
{
    *out = (struct tn_start){
        .spec = g->typed,
        .app = s->plan->name,
        .environment = s->plan->environment,
        .service = g->service,
        .cluster = g->cluster,
        .revision = g->revision,
        .rollout = s->rollout,
        .dir = s->plan->dir,
    };
    for (size_t i = 0; i < g->n_secrets && i < TN_COUNT(out->secrets); i++) {
        out->secrets[out->n_secrets].env = g->secrets[i].env;
        out->secrets[out->n_secrets++].value = g->secrets[i].value;
    }
}

bool tn_goal_secrets_match(const struct tn_goal *g, const char *label)
{
    if (g->n_secrets == 0)
        return true;
    if (!label)
        return false;
    if (g->secret_hashes && strcmp(label, g->secret_hashes) == 0)
        return true; /* the usual case, without a second scrypt */
    json_t *hashes = json_loads(label, 0, NULL);
    bool all = true;
    for (size_t i = 0; i < g->n_secrets && all; i++) {
        const char *h = json_string_value(json_object_get(hashes, g->secrets[i].name));
        all = h && tn_secret_matches(g->secrets[i].value, g->secrets[i].len, h);
    }
    json_decref(hashes);
    return all;
}

bool tn_goal_secrets_fit(const struct tn_goal *g, const char *label)
{
    if (!g->label_known)
        return tn_goal_secrets_match(g, label);
    return tn_streq(label, g->label) || (g->secret_hashes && tn_streq(label, g->secret_hashes));
}

static char *hash_secrets(const struct tn_goal *g)
{
    json_t *hashes = json_object();
    for (size_t i = 0; i < g->n_secrets; i++) {
        tn_autofree char *h = tn_secret_hash(g->secrets[i].value, g->secrets[i].len, NULL);
        json_object_set_new(hashes, g->secrets[i].name, json_string(h));
    }
    char *text = json_dumps(hashes, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(hashes);
    return text;
}

int tn_goal_secrets(struct tn_session *s, struct tn_goal *g, const struct tn_observation *running,
                    struct tn_error **err)
{
    if (!g->typed || g->secrets_known)
        return TN_OK;
    const struct tn_pairs *want = &g->typed->secrets;
    g->secrets = tn_alloc((want->n + 1) * sizeof(*g->secrets));
    for (size_t i = 0; i < want->n; i++) {
        struct tn_goal_secret *one = &g->secrets[i];
        one->env = want->v[i].name;
        one->name = want->v[i].value;
        one->value = tn_secret_resolve(s->plan, one->name, &one->len, err);
        if (!one->value)
            return tn_error_prefix(err, "service '%s': secret '%s'", g->service, one->name);
        g->n_secrets++;
    }
    g->secrets_known = true;
    if (g->n_secrets == 0)
        return TN_OK;
    if (g->label && tn_goal_secrets_match(g, g->label)) {
        g->secret_hashes = tn_strdup(g->label);
        return TN_OK;
    }
    for (size_t i = 0; running && i < running->n; i++) {
        const struct tn_instance *r = &running->v[i];
        if (tn_streq(r->service, g->service) && tn_goal_secrets_match(g, r->secrets)) {
            g->secret_hashes = tn_strdup(r->secrets);
            return TN_OK;
        }
    }
    g->secret_hashes = hash_secrets(g);
    return TN_OK;
}

json_t *tn_goals_json(const struct tn_goals *g)
{
    json_t *list = json_array();
    for (size_t i = 0; i < g->n; i++) {
        const struct tn_goal *o = &g->v[i];
        json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:O?,s:i,s:b,s:s,s:O?,s:i}", "service",
                                              o->service, "cluster", o->cluster, "revision", o->revision,
                                              "spec", o->spec, "replicas", o->replicas, "fresh", o->fresh,
                                              "from_revision", o->from_revision, "from_spec", o->from_spec,
                                              "from_count", o->from_count));
    }
    return json_pack("{s:s,s:b,s:o}", "action", g->action, "whole", g->whole, "placements", list);
}

/* -1 when it is no number that a plan could have. */
static int read_count(const json_t *j, const char *key)
{
    enum { MOST = 1000 };
    json_int_t n = json_integer_value(json_object_get(j, key));
    return n < 0 || n > MOST ? -1 : (int)n;
}

static int goal_from_json(struct tn_session *s, struct tn_goals *goals, const json_t *j,
                          struct tn_error **err)
{
    const char *service = json_string_value(json_object_get(j, "service"));
    const char *cluster = json_string_value(json_object_get(j, "cluster"));
    const char *from = json_string_value(json_object_get(j, "from_revision"));
    json_t *spec = json_object_get(j, "spec"), *from_spec = json_object_get(j, "from_spec");
    if (!service || !cluster)
        return tn_error_set(err, TN_EPROTO, "recorded goal: a placement has no service or cluster");
    if (!tn_plan_cluster(s->plan, cluster)) {
        tn_error_set(err, TN_ENOTFOUND,
                     "the unfinished rollout concerns cluster '%s', which the plan does not name", cluster);
        return tn_error_hint(err, "run it with the plan that the rollout was begun with");
    }
    struct tn_goal *g = tn_goals_add(goals, service, cluster);
    g->plan_service = tn_plan_service(s->plan, service);
    g->replicas = read_count(j, "replicas");
    g->fresh = json_is_true(json_object_get(j, "fresh"));
    g->from_count = read_count(j, "from_count");
    g->from_secrets = tn_strdup(json_string_value(json_object_get(j, "from_secrets")));
    if (g->replicas < 0 || g->from_count < 0)
        return tn_error_set(err, TN_EPROTO, "recorded goal: '%s' has an impossible number of instances",
                            service);
    snprintf(g->from_revision, sizeof(g->from_revision), "%s", from ? from : "");
    g->from_spec = json_is_object(from_spec) ? json_incref(from_spec) : NULL;
    return json_is_object(spec) ? tn_goal_set_spec(g, spec, err) : TN_OK;
}

struct tn_goals *tn_goals_from_json(struct tn_session *s, const json_t *j, struct tn_error **err)
{
    const char *action = json_string_value(json_object_get(j, "action"));
    struct tn_goals *goals = tn_goals_new(action ? action : "deploy");
    goals->whole = json_is_true(json_object_get(j, "whole"));
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(j, "placements"), i, one)
    {
        if (goal_from_json(s, goals, one, err) < 0) {
            tn_goals_free(goals);
            return NULL;
        }
    }
    return goals;
}

struct tn_goals *tn_goals_back(struct tn_session *s, const struct tn_goals *g, struct tn_error **err)
{
    (void)s;
    struct tn_goals *back = tn_goals_new("rollback");
    for (size_t i = g->n; i-- > 0;) { /* what came last goes first */
        const struct tn_goal *o = &g->v[i];
        struct tn_goal *b = tn_goals_add(back, o->service, o->cluster);
        b->plan_service = o->plan_service;
        b->replicas = o->from_count;
        if (o->from_spec && tn_goal_set_spec(b, o->from_spec, err) < 0) {
            tn_goals_free(back);
            return NULL;
        }
        b->from_spec = o->spec ? json_incref(o->spec) : NULL;
        memcpy(b->from_revision, o->revision, sizeof(b->from_revision));
        b->from_count = o->replicas;
        b->label = tn_strdup(o->from_secrets);
        b->label_known = o->from_spec && strcmp(o->from_revision, "") != 0;
    }
    return back;
}

json_t *tn_goal_resolve(struct tn_session *s, const struct tn_service *service, struct tn_site *site,
                        char **note, struct tn_error **err)
{
    tn_autofree char *ref = NULL;
    struct tn_provider *p = site->provider;
    if (service->image && p->ops->resolve) {
        ref = p->ops->resolve(p, s->cancel, service, note, err);
        if (!ref) {
            tn_error_prefix(err, "service '%s'", service->name);
            return NULL;
        }
    }
    return tn_service_spec(s->plan, service, ref, err);
}
