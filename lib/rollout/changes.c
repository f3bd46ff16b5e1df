#include "lib/rollout/changes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "turnout/clock.h"
#include "turnout/mem.h"
#include "turnout/text.h"
#include "lib/diff/diff.h"
#include "lib/rollout/edge.h"
#include "lib/rollout/lease.h"

static bool matches(const char *const *globs, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (tn_glob(globs[i], name))
            return true;
    return n == 0;
}

bool tn_selected(const struct tn_selection *sel, const char *service, const char *cluster)
{
    return !sel || (matches(sel->services, sel->n_services, service) &&
                    matches(sel->clusters, sel->n_clusters, cluster));
}

/* ---- observing ---- */

struct observe_job {
    struct tn_session *s;
    size_t i;
    struct tn_observation *out;
    int rc;
    struct tn_error *err;
};

static void observe_one(void *arg)
{
    struct observe_job *j = arg;
    j->rc = tn_site_observe(j->s, &j->s->sites[j->i], j->out, &j->err);
}

static int check_answers(const struct tn_session *s, size_t i, const struct tn_observation *o,
                         struct tn_error **err)
{
    for (size_t h = 0; h < o->n_hosts; h++) {
        if (o->hosts[h].answered)
            continue;
        tn_error_set(err, o->hosts[h].code == TN_EAUTH ? TN_EAUTH : TN_EUNREACHABLE,
                     "cluster '%s': host '%s' does not answer: %s", s->plan->clusters[i].name,
                     s->sites[i].provider->host_names[h], o->hosts[h].error ? o->hosts[h].error : "?");
        return tn_error_hint(
            err, "what runs there is unknown, so nothing is changed; is the engine up, and may this "
                 "user reach it? turnout doctor");
    }
    return TN_OK;
}

int tn_observe_all(struct tn_session *s, struct tn_observation *out, struct tn_error **err)
{
    size_t n = s->plan->n_clusters;
    struct observe_job *jobs = tn_alloc((n + 1) * sizeof(*jobs));
    void **args = tn_alloc((n + 1) * sizeof(*args));
    for (size_t i = 0; i < n; i++) {
        jobs[i] = (struct observe_job){.s = s, .i = i, .out = &out[i]};
        args[i] = &jobs[i];
    }
    if (n)
        tn_pool_map(s->probes, observe_one, args, n);
    int rc = TN_OK;
    for (size_t i = 0; i < n; i++) {
        if (rc >= 0 && jobs[i].rc < 0)
            rc = tn_error_move(err, &jobs[i].err);
        else if (rc >= 0)
            rc = check_answers(s, i, &out[i], err);
        tn_error_free(jobs[i].err);
    }
    free(jobs);
    free(args);
    return rc;
}

void tn_worlds_clear(struct tn_session *s, struct tn_observation *worlds)
{
    for (size_t i = 0; worlds && i < s->plan->n_clusters; i++)
        tn_observation_clear(&worlds[i]);
    free(worlds);
}

static const struct tn_observation *world_of(struct tn_session *s, const struct tn_observation *worlds,
                                             const char *cluster)
{
    return &worlds[tn_session_site(s, cluster) - s->sites];
}

/* ---- the way back ---- */

static bool counts_as_stable(const struct tn_goal *g, const struct tn_instance *i, bool running)
{
    return tn_streq(i->service, g->service) && i->revision && i->spec &&
           (!running || i->state == TN_RUN_RUNNING);
}

/* The revision that most running instances have; an older rollout's before the wanted one's. */
static const struct tn_instance *stable_of(const struct tn_goal *g, const struct tn_observation *o,
                                           bool running, int *count)
{
    const struct tn_instance *best = NULL;
    *count = 0;
    for (size_t i = 0; i < o->n; i++) {
        if (!counts_as_stable(g, &o->v[i], running))
            continue;
        int n = 0;
        for (size_t k = 0; k < o->n; k++)
            n += counts_as_stable(g, &o->v[k], running) && strcmp(o->v[k].revision, o->v[i].revision) == 0;
        bool wanted = strcmp(o->v[i].revision, g->revision) == 0;
        bool best_wanted = best && strcmp(best->revision, g->revision) == 0;
        if (!best || (best_wanted && !wanted) || (best_wanted == wanted && n > *count)) {
            best = &o->v[i];
            *count = n;
        }
    }
    return best;
}

static void from_world(struct tn_goal *g, const struct tn_observation *o)
{
    int count = 0, all = 0;
    const struct tn_instance *stable = stable_of(g, o, true, &count);
    if (!stable) /* all of them have ended: still what was there */
        stable = stable_of(g, o, false, &count);
    for (size_t i = 0; i < o->n; i++)
        all += tn_streq(o->v[i].service, g->service);
    json_decref(g->from_spec);
    g->from_spec = stable ? json_loads(stable->spec, 0, NULL) : NULL;
    snprintf(g->from_revision, sizeof(g->from_revision), "%s",
             stable && g->from_spec ? stable->revision : "");
    g->from_count = g->from_spec ? count : 0;
    free(g->from_secrets);
    g->from_secrets = stable && g->from_spec ? tn_strdup(stable->secrets) : NULL;
    if (g->from_spec && count < all && g->plan_service)
        g->from_count = count > g->plan_service->replicas ? count : g->plan_service->replicas;
}

static bool from_prior(struct tn_goal *g, const json_t *prior)
{
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(prior, "placements"), i, one)
    {
        if (!tn_streq(json_string_value(json_object_get(one, "service")), g->service) ||
            !tn_streq(json_string_value(json_object_get(one, "cluster")), g->cluster))
            continue;
        json_t *spec = json_object_get(one, "from_spec");
        const char *revision = json_string_value(json_object_get(one, "from_revision"));
        json_decref(g->from_spec);
        g->from_spec = json_is_object(spec) ? json_incref(spec) : NULL;
        snprintf(g->from_revision, sizeof(g->from_revision), "%s", revision ? revision : "");
        g->from_count = (int)json_integer_value(json_object_get(one, "from_count"));
        free(g->from_secrets);
        g->from_secrets = tn_strdup(json_string_value(json_object_get(one, "from_secrets")));
        return true;
    }
    return false;
}

void tn_goals_from_prior(struct tn_goals *g, const json_t *prior)
{
    for (size_t i = 0; i < g->n; i++)
        from_prior(&g->v[i], prior);
}

void tn_goals_set_from(struct tn_session *s, struct tn_goals *g, const struct tn_observation *worlds,
                       const json_t *prior)
{
    for (size_t i = 0; i < g->n; i++)
        if (!prior || !from_prior(&g->v[i], prior))
            from_world(&g->v[i], world_of(s, worlds, g->v[i].cluster));
}

/* ---- goals from the plan ---- */

static int add_planned(struct tn_session *s, const struct tn_service *svc, const struct tn_selection *sel,
                       struct tn_goals *g, struct tn_error **err)
{
    for (size_t k = 0; k < svc->clusters.n; k++) {
        const char *cluster = svc->clusters.v[k];
        if (!tn_selected(sel, svc->name, cluster))
            continue;
        tn_autofree char *note = NULL;
        json_t *spec = tn_goal_resolve(s, svc, tn_session_site(s, cluster), &note, err);
        if (!spec)
            return TN_EFAIL;
        struct tn_goal *goal = tn_goals_add(g, svc->name, cluster);
        goal->note = TN_TAKE(note);
        goal->plan_service = svc;
        goal->replicas = svc->replicas;
        int rc = tn_goal_set_spec(goal, spec, err);
        json_decref(spec);
        if (rc < 0)
            return rc;
    }
    return TN_OK;
}

/* What runs and is not named by the plan any more: found by its labels. */
static void add_orphans(struct tn_session *s, const struct tn_observation *worlds,
                        const struct tn_selection *sel, struct tn_goals *g)
{
    for (size_t c = 0; c < s->plan->n_clusters; c++) {
        const char *cluster = s->plan->clusters[c].name;
        for (size_t i = 0; i < worlds[c].n; i++) {
            const char *service = worlds[c].v[i].service;
            if (tn_goals_find(g, service, cluster) || !tn_selected(sel, service, cluster))
                continue;
            const struct tn_service *svc = tn_plan_service(s->plan, service);
            bool here = false;
            for (size_t k = 0; svc && k < svc->clusters.n; k++)
                here = here || strcmp(svc->clusters.v[k], cluster) == 0;
            if (here)
                continue;
            tn_goals_add(g, service, cluster);
        }
    }
}

/* ---- what people see ---- */

static void add_note(struct tn_change *c, char *note)
{
    if (!note)
        return;
    c->notes = tn_realloc_array(c->notes, c->n_notes + 1, sizeof(*c->notes));
    c->notes[c->n_notes++] = note;
}

static char *value_text(const json_t *v)
{
    if (!v)
        return NULL;
    if (json_is_string(v))
        return tn_strdup(json_string_value(v));
    return json_dumps(v, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
}

static void add_field(struct tn_change *c, const char *group, const char *key, const json_t *from,
                      const json_t *to)
{
    c->fields = tn_realloc_array(c->fields, c->n_fields + 1, sizeof(*c->fields));
    c->fields[c->n_fields++] = (struct tn_field_change){
        .field = group ? tn_format("%s.%s", group, key) : tn_strdup(key),
        .from = value_text(from),
        .to = value_text(to),
    };
}

static bool is_map(const json_t *j)
{
    return j && json_typeof(j) == JSON_OBJECT;
}

/* Maps are compared key by key, everything else as a whole. */
static void compare(struct tn_change *c, const char *group, const json_t *from, const json_t *to)
{
    json_t *keys = json_object();
    json_object_update(keys, (json_t *)(uintptr_t)from);
    json_object_update(keys, (json_t *)(uintptr_t)to);
    const char *key;
    json_t *ignored;
    json_object_foreach(keys, key, ignored)
    {
        const json_t *a = json_object_get(from, key), *b = json_object_get(to, key);
        if (a && b && json_equal(a, b))
            continue;
        if (!group && (is_map(a) || is_map(b)))
            compare(c, key, a, b);
        else
            add_field(c, group, key, a, b);
    }
    json_decref(keys);
}

static void compare_secrets(struct tn_change *c, const struct tn_goal *g, const struct tn_observation *o)
{
    for (size_t i = 0; i < o->n; i++) {
        const struct tn_instance *r = &o->v[i];
        if (!tn_streq(r->service, g->service) || tn_goal_secrets_match(g, r->secrets))
            continue;
        for (size_t k = 0; k < g->n_secrets; k++) {
            tn_autofree char *name = tn_format("secret %s", g->secrets[k].name);
            json_t *from = json_string("(as it was)"), *to = json_string("(changed)");
            add_field(c, NULL, name, from, to);
            json_decref(from);
            json_decref(to);
        }
        return;
    }
}

static struct tn_diff_input diff_input(const struct tn_goal *g, const struct tn_observation *o,
                                       const struct tn_exposures *x, const struct tn_edge_views *views,
                                       struct tn_diff_instance *v)
{
    struct tn_diff_input in = {.in_plan = g->spec != NULL, .replicas = g->replicas, .v = v};
    in.manual = g->plan_service && g->plan_service->rollout.strategy == TN_STRATEGY_MANUAL;
    for (size_t i = 0; i < o->n; i++) {
        const struct tn_instance *r = &o->v[i];
        if (!tn_streq(r->service, g->service))
            continue;
        v[in.n++] = (struct tn_diff_instance){
            .target = tn_streq(r->revision, g->revision) && tn_goal_secrets_match(g, r->secrets),
            .alive = r->state == TN_RUN_RUNNING && r->health != TN_NATIVE_UNHEALTHY,
            .in_rotation = x->n == 0 || tn_exposures_rotation(x, views, r->name, TN_NO) == TN_YES,
        };
    }
    return in;
}

/* A tag that names what runs already is said, so that nobody waits for it to move. */
static void image_note(const struct tn_goal *g, struct tn_change *c)
{
    const char *named = g->plan_service ? g->plan_service->image : NULL;
    if (c->action == TN_CHANGE_NONE && named && g->typed && g->typed->image &&
        strcmp(named, g->typed->image) != 0)
        add_note(c, tn_format("image '%s' did not move: it is %s, which runs", named, g->typed->image));
}

static void alias_note(const struct tn_goal *g, struct tn_change *c)
{
    if (!g->typed || !g->plan_service || g->plan_service->n_expose)
        return;
    for (size_t i = 0; i < g->typed->n_networks; i++)
        if (g->typed->networks[i].aliases.n)
            add_note(c, tn_format(
                            "reached by alias '%s': the engine's DNS ignores health and cuts connections, so "
                            "requests may be lost; put a balancer in front (expose)",
                            g->typed->networks[i].aliases.v[0]));
}

static void add_setting(void *arg, const char *field, const char *from, const char *to)
{
    json_t *a = from ? json_string(from) : NULL, *b = to ? json_string(to) : NULL;
    add_field(arg, NULL, field, a, b);
    json_decref(a);
    json_decref(b);
}

static void describe(struct tn_session *s, struct tn_goal *g, struct tn_exposures *x,
                     const struct tn_observation *o, struct tn_change *c)
{
    if (c->action == TN_CHANGE_NONE)
        return;
    if (g->spec && g->from_spec)
        compare(c, NULL, g->from_spec, g->spec);
    compare_secrets(c, g, o);
    if (c->action != TN_CHANGE_CREATE && c->action != TN_CHANGE_REMOVE)
        tn_exposures_compare(s, x, add_setting, c);
    alias_note(g, c);
    if (c->action != TN_CHANGE_MANUAL)
        tn_change_timeline(s, g, o, c);
}

static char *text_or_null(const char *s)
{
    return s[0] ? tn_strdup(s) : NULL;
}

static int fill_change(struct tn_session *s, struct tn_goal *g, const struct tn_observation *o,
                       struct tn_change *c, struct tn_error **err)
{
    struct tn_exposures x;
    struct tn_edge_views views = {0};
    tn_exposures_init(&x, s, g->plan_service, g->service, g->cluster);
    if (x.n)
        tn_exposures_observe(s, &x, &views);
    struct tn_diff_instance *v = tn_alloc((o->n + 1) * sizeof(*v));
    struct tn_diff_input in = diff_input(g, o, &x, &views, v);
    int differs = x.n && g->spec ? tn_exposures_differ(s, &x, o, err) : 0;
    int rc = differs < 0 ? differs : TN_OK;
    if (rc >= 0 && x.n && !views.all_answered)
        rc = tn_error_set(err, TN_EUNREACHABLE, "%s", views.error);
    in.traffic_differs = differs > 0;
    *c = (struct tn_change){
        .service = tn_strdup(g->service),
        .cluster = tn_strdup(g->cluster),
        .action = (enum tn_change_action)tn_diff_classify(&in),
        .from_revision = text_or_null(g->from_revision),
        .to_revision = text_or_null(g->revision),
        .from_count = g->from_count,
        .to_count = g->replicas,
        .running = in.n,
        .strategy =
            tn_strdup(g->plan_service ? tn_strategy_name(g->plan_service->rollout.strategy) : "rolling"),
        .engine = tn_strdup("turnout"),
        .cluster_kind = tn_strdup(tn_cluster_kind_name(tn_plan_cluster(s->plan, g->cluster)->kind)),
        .least_serving = -1,
    };
    add_note(c, tn_strdup(g->note));
    image_note(g, c);
    if (rc >= 0)
        describe(s, g, &x, o, c);
    free(v);
    tn_edge_views_clear(&views);
    tn_exposures_clear(&x);
    return rc;
}

static void count_change(struct tn_changes *all, const struct tn_change *c)
{
    all->create += c->action == TN_CHANGE_CREATE;
    all->remove += c->action == TN_CHANGE_REMOVE;
    all->update += c->action == TN_CHANGE_UPDATE || c->action == TN_CHANGE_SCALE ||
                   c->action == TN_CHANGE_REPAIR || c->action == TN_CHANGE_TRAFFIC;
    all->any = all->create + all->update + all->remove > 0;
}

static int fill_changes(struct tn_session *s, struct tn_changes *all, const struct tn_observation *worlds,
                        struct tn_error **err)
{
    all->v = tn_alloc((all->goals->n + 1) * sizeof(*all->v));
    for (size_t i = 0; i < all->goals->n; i++) {
        struct tn_goal *g = &all->goals->v[i];
        const struct tn_observation *o = world_of(s, worlds, g->cluster);
        if (!s->no_exec || !g->typed || g->typed->secrets.n == 0) {
            int rc = tn_goal_secrets(s, g, o, err);
            if (rc < 0)
                return rc;
        }
        int rc = fill_change(s, g, o, &all->v[all->n++], err);
        if (rc < 0)
            return rc;
        count_change(all, &all->v[i]);
    }
    return TN_OK;
}

struct tn_changes *tn_session_diff(struct tn_session *s, const struct tn_selection *sel,
                                   struct tn_error **err)
{
    struct tn_changes *all = tn_alloc(sizeof(*all));
    all->goals = tn_goals_new("deploy");
    struct tn_observation *worlds = tn_alloc((s->plan->n_clusters + 1) * sizeof(*worlds));
    const struct tn_service **order = tn_alloc((s->plan->n_services + 1) * sizeof(const struct tn_service *));
    tn_plan_order(s->plan, order);
    int rc = tn_observe_all(s, worlds, err);
    for (size_t i = 0; rc >= 0 && i < s->plan->n_services; i++)
        rc = add_planned(s, order[i], sel, all->goals, err);
    if (rc >= 0) {
        add_orphans(s, worlds, sel, all->goals);
        tn_goals_set_from(s, all->goals, worlds, NULL);
        rc = fill_changes(s, all, worlds, err);
    }
    free(order);
    tn_worlds_clear(s, worlds);
    if (rc >= 0)
        return all;
    tn_changes_free(all);
    return NULL;
}

static void change_clear(struct tn_change *c)
{
    char *texts[] = {c->service,  c->cluster, c->from_revision, c->to_revision,
                     c->strategy, c->engine,  c->cluster_kind};
    for (size_t i = 0; i < TN_COUNT(texts); i++)
        free(texts[i]);
    for (size_t i = 0; i < c->n_fields; i++) {
        free(c->fields[i].field);
        free(c->fields[i].from);
        free(c->fields[i].to);
    }
    for (size_t i = 0; i < c->n_timeline; i++)
        free(c->timeline[i].text);
    for (size_t i = 0; i < c->n_notes; i++)
        free(c->notes[i]);
    free(c->fields);
    free(c->timeline);
    free(c->notes);
}

void tn_changes_free(struct tn_changes *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n; i++)
        change_clear(&c->v[i]);
    free(c->v);
    tn_goals_free(c->goals);
    free(c);
}

const char *tn_change_action_name(enum tn_change_action a)
{
    static const char *const names[] = {"none",   "create",  "update", "scale",
                                        "repair", "traffic", "remove", "manual"};
    return (size_t)a < TN_COUNT(names) ? names[a] : "?";
}
