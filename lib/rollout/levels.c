/* Which placements go at the same time: a service waits for those it depends on; what leaves the plan goes last. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "turnout/mem.h"
#include "turnout/text.h"
#include "lib/rollout/placement.h"
#include "lib/rollout/run.h"

void tn_ran_clear(struct tn_ran *r)
{
    free(r->cause);
    free(r->evidence);
    free(r->who);
    memset(r, 0, sizeof(*r));
}

static size_t index_of(const struct tn_plan *plan, const char *service)
{
    size_t i = 0;
    while (i < plan->n_services && strcmp(plan->services[i].name, service) != 0)
        i++;
    return i;
}

/* One more than the highest of what it depends on; the plan's order has those first. */
static int *service_levels(const struct tn_plan *plan)
{
    const struct tn_service **order = tn_alloc((plan->n_services + 1) * sizeof(struct tn_service *));
    int *level = tn_alloc((plan->n_services + 1) * sizeof(*level));
    tn_plan_order(plan, order);
    for (size_t i = 0; i < plan->n_services; i++) {
        int *own = &level[index_of(plan, order[i]->name)];
        for (size_t k = 0; k < order[i]->depends_on.n; k++) {
            int below = level[index_of(plan, order[i]->depends_on.v[k])];
            *own = below + 1 > *own ? below + 1 : *own;
        }
    }
    free(order);
    return level;
}

/* What leaves the plan goes last. */
static int *levels_of(const struct tn_session *s, const struct tn_goals *goals, int *highest)
{
    int *levels = tn_alloc((goals->n + 1) * sizeof(*levels)), *of_service = service_levels(s->plan);
    *highest = 0;
    for (size_t i = 0; i < goals->n; i++) {
        const struct tn_service *svc = goals->v[i].plan_service;
        levels[i] = svc ? of_service[index_of(s->plan, svc->name)] : (int)s->plan->n_services;
        *highest = levels[i] > *highest ? levels[i] : *highest;
    }
    free(of_service);
    return levels;
}

static void *placement_thread(void *arg)
{
    tn_placement_run(arg);
    return NULL;
}

static void merge(struct tn_ran *out, struct tn_placement *p)
{
    out->changed = out->changed || p->changed_something;
    out->downtime = p->downtime > out->downtime ? p->downtime : out->downtime;
    if (p->verdict == TN_DONE)
        return;
    out->done = false;
    bool first = !out->failed && out->stop == TN_OK;
    if (p->verdict == TN_FAILED) {
        if (!out->failed)
            out->on_failure =
                p->goal->plan_service ? p->goal->plan_service->rollout.on_failure : TN_ON_FAILURE_STOP;
        out->failed = true;
        out->aborted = out->aborted || p->aborted;
    } else if (out->stop == TN_OK) {
        out->stop = p->stop_code != TN_OK ? p->stop_code : TN_EFAIL;
    }
    if (first) {
        out->cause = p->cause ? TN_TAKE(p->cause) : tn_strdup(p->last_error);
        out->evidence = TN_TAKE(p->evidence);
        out->who = tn_strdup(p->goal->placement);
    }
}

static void tell_placed(struct tn_session *s, const struct tn_placement *p)
{
    struct tn_where w = {.service = p->goal->service, .cluster = p->goal->cluster};
    char down[32];
    if (p->verdict == TN_DONE && p->goal->spec)
        tn_session_tell(s, TN_EV_PLACED, &w,
                        json_pack("{s:s,s:i,s:I}", "revision", p->goal->revision, "least_serving",
                                  p->least_serving, "downtime_ms", (json_int_t)p->downtime),
                        "%s serves, %d of %d%s%s", p->goal->revision, p->goal->replicas, p->goal->replicas,
                        p->downtime ? ", downtime " : "",
                        p->downtime ? tn_format_age(p->downtime, down, sizeof(down)) : "");
    else if (p->verdict == TN_DONE)
        tn_session_tell(s, TN_EV_PLACED, &w, NULL, "removed");
}

static void tell_begun(struct tn_session *s, const struct tn_placement *p)
{
    struct tn_where w = {.service = p->goal->service, .cluster = p->goal->cluster};
    tn_session_tell(s, TN_EV_PLACEMENT, &w,
                    json_pack("{s:s,s:i,s:i,s:i,s:s,s:s}", "strategy",
                              p->spec.kind == TN_RECREATE ? "recreate" : "rolling", "replicas",
                              p->spec.replicas, "max_unavailable", p->spec.max_unavailable, "max_surge",
                              p->spec.max_surge, "from", p->goal->from_revision, "to", p->goal->revision),
                    "%s %s -> %s",
                    p->spec.direction == TN_BACK  ? "back"
                    : p->spec.kind == TN_RECREATE ? "recreate"
                                                  : "rolling",
                    p->goal->from_revision[0] ? p->goal->from_revision : "nothing",
                    p->goal->revision[0] ? p->goal->revision : "nothing");
}

static bool is_manual(const struct tn_goal *g)
{
    return g->plan_service && g->plan_service->rollout.strategy == TN_STRATEGY_MANUAL;
}

/* `manual` is about deployments: what is asked for by name (restart, rollback, destroy) is done. */
static struct tn_placement *open_placement(struct tn_session *s, const struct tn_goals *goals,
                                           struct tn_goal *g, enum tn_direction direction)
{
    struct tn_placement *p = tn_alloc(sizeof(*p));
    tn_placement_init(p, s, g, direction);
    if (is_manual(g) && strcmp(goals->action, "deploy") == 0)
        p->spec.kind = TN_MANUAL;
    tn_store_last_number(s->store, s->rollout, g->placement, &p->number, NULL);
    tell_begun(s, p);
    return p;
}

static void run_level(struct tn_session *s, struct tn_goals *goals, const int *levels, int level,
                      size_t cluster, enum tn_direction direction, struct tn_ran *out)
{
    struct tn_placement **open = tn_alloc((goals->n + 1) * sizeof(struct tn_placement *));
    pthread_t *threads = tn_alloc((goals->n + 1) * sizeof(*threads));
    size_t n = 0;
    for (size_t i = 0; i < goals->n; i++) {
        if (levels[i] != level || strcmp(goals->v[i].cluster, s->plan->clusters[cluster].name) != 0)
            continue;
        open[n] = open_placement(s, goals, &goals->v[i], direction);
        if (pthread_create(&threads[n], NULL, placement_thread, open[n]) != 0) {
            open[n]->stop_code = TN_EIO;
            open[n]->cause = tn_strdup("no thread could be started for it");
            threads[n] = 0;
        }
        n++;
    }
    for (size_t i = 0; i < n; i++) {
        if (threads[i])
            pthread_join(threads[i], NULL);
        tell_placed(s, open[i]);
        merge(out, open[i]);
        tn_placement_clear(open[i]);
        free(open[i]);
    }
    free(threads);
    free(open);
}

void tn_run_placements(struct tn_session *s, struct tn_goals *goals, enum tn_direction direction,
                       struct tn_ran *out)
{
    int highest = 0;
    int *levels = levels_of(s, goals, &highest);
    *out = (struct tn_ran){.done = true};
    size_t n = s->plan->n_clusters;
    for (int k = 0; k <= highest && out->done; k++)
        for (size_t c = 0; c < n && out->done; c++) /* clusters one after another, in the plan's order */
            run_level(s, goals, levels, direction == TN_BACK ? highest - k : k,
                      direction == TN_BACK ? n - 1 - c : c, direction, out);
    free(levels);
}
