#include "lib/rollout/run.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "turnout/clock.h"
#include "lib/base/hash.h"
#include "turnout/json.h"
#include "turnout/mem.h"
#include "turnout/text.h"
#include "turnout/version.h"
#include "lib/rollout/changes.h"
#include "lib/rollout/edge.h"
#include "lib/rollout/lease.h"
#include "lib/rollout/records.h"

/* ---- before anything changes ---- */

struct pull {
    struct tn_session *s;
    const struct tn_goal *goal;
    int64_t last;
};

static void tell_pull(void *arg, const char *text, int64_t current, int64_t total)
{
    struct pull *p = arg;
    int64_t now = tn_mono_ms();
    if (now - p->last < 200)
        return; /* a layer reports hundreds of times a second */
    p->last = now;
    struct tn_where w = {.service = p->goal->service, .cluster = p->goal->cluster};
    tn_session_tell(p->s, TN_EV_PULL, &w,
                    json_pack("{s:I,s:I}", "current", (json_int_t)current, "total", (json_int_t)total), "%s",
                    text);
}

/* A hook for another machine's host needs a way there, which comes with SSH. */
static int check_hooks(const struct tn_session *s, const struct tn_goal *g, struct tn_error **err)
{
    const struct tn_cluster *c = tn_plan_cluster(s->plan, g->cluster);
    if (!g->plan_service || c->kind != TN_CLUSTER_DOCKER)
        return TN_OK;
    const struct tn_hooks *h = &g->plan_service->hooks;
    const struct tn_hook *lists[] = {h->pre_deploy, h->post_deploy, h->on_failure};
    const size_t counts[] = {h->n_pre_deploy, h->n_post_deploy, h->n_on_failure};
    for (size_t l = 0; l < TN_COUNT(lists); l++)
        for (size_t i = 0; i < counts[l]; i++)
            for (size_t k = 0; k < c->docker.n_hosts; k++)
                if (lists[l][i].where == TN_HOOK_HOST && !tn_starts_with(c->docker.hosts[k].url, "unix://"))
                    return tn_error_set(err, TN_EUNSUPPORTED,
                                        "service '%s': a hook with 'where: host' cannot run on '%s' yet; use "
                                        "local or container",
                                        g->service, c->docker.hosts[k].url);
    return TN_OK;
}

static void tell_image(struct tn_session *s, const struct tn_goal *g)
{
    struct tn_where w = {.service = g->service, .cluster = g->cluster};
    if (g->typed->image)
        tn_session_tell(s, TN_EV_RESOLVE, &w, json_pack("{s:s}", "image", g->typed->image), "%s is %s",
                        g->plan_service && g->plan_service->image ? g->plan_service->image : "the image",
                        g->typed->image);
}

static int prepare_goals(struct tn_session *s, struct tn_goals *goals, const struct tn_observation *worlds,
                         struct tn_error **err)
{
    for (size_t i = 0; i < goals->n; i++) {
        struct tn_goal *g = &goals->v[i];
        struct tn_site *site = tn_session_site(s, g->cluster);
        if (!g->typed)
            continue;
        tell_image(s, g);
        int rc = check_hooks(s, g, err);
        if (rc >= 0)
            rc = tn_goal_secrets(s, g, worlds ? &worlds[site - s->sites] : NULL, err);
        struct pull p = {s, g, 0};
        if (rc >= 0 && site->provider->ops->prepare && g->typed->image)
            rc = site->provider->ops->prepare(site->provider, s->cancel, g->typed, g->typed->image, tell_pull,
                                              &p, err);
        if (rc < 0)
            return tn_error_prefix(err, "service '%s'", g->service);
    }
    return TN_OK;
}

/* ---- the two directions ---- */

static int hooks_of_all(struct tn_session *s, const struct tn_goals *goals, enum tn_hook_when when,
                        const char *resume, struct tn_error **err)
{
    int rc = TN_OK;
    if (strcmp(goals->action, "deploy") != 0)
        return rc; /* a restart or a rollback is no deployment */
    for (size_t i = 0; i < goals->n && rc >= 0; i++)
        if (goals->v[i].spec && goals->v[i].plan_service)
            rc = tn_run_hooks(s, &goals->v[i], when, resume, err);
    return rc;
}

static void failed_by(struct tn_ran *ran, const struct tn_goals *goals, struct tn_error *e)
{
    ran->done = false;
    ran->failed = true;
    ran->on_failure = TN_ON_FAILURE_ROLLBACK;
    for (size_t i = 0; i < goals->n; i++)
        if (goals->v[i].plan_service)
            ran->on_failure = goals->v[i].plan_service->rollout.on_failure;
    if (e->code == TN_EUNKNOWN || e->code == TN_ELOST || e->code == TN_ECANCELLED || e->code == TN_ETIMEOUT) {
        ran->failed = false;
        ran->stop = e->code == TN_EUNKNOWN ? TN_ETIMEOUT : e->code; /* exit 6: it asks */
    }
    free(ran->cause);
    ran->cause =
        e->hint ? tn_format("%s (%s)", tn_error_message(e), e->hint) : tn_strdup(tn_error_message(e));
}

static void forward(struct tn_session *s, struct tn_goals *goals, const char *hook, struct tn_ran *ran)
{
    struct tn_error *e = NULL;
    *ran = (struct tn_ran){.done = true};
    if (hooks_of_all(s, goals, TN_HOOK_PRE, hook, &e) < 0) {
        failed_by(ran, goals, e);
    } else {
        tn_run_placements(s, goals, TN_FORWARD, ran);
        if (ran->done && hooks_of_all(s, goals, TN_HOOK_POST, hook, &e) < 0)
            failed_by(ran, goals, e);
    }
    tn_error_free(e);
}

/* Goals backwards. */
static void go_back(struct tn_session *s, const struct tn_goals *goals, struct tn_ran *ran)
{
    struct tn_error *e = NULL;
    struct tn_goals *back = tn_goals_back(s, goals, &e);
    *ran = (struct tn_ran){0};
    if (!back) {
        ran->stop = TN_EFAIL;
        ran->cause = tn_format("the way back: %s", tn_error_message(e));
    } else {
        tn_run_placements(s, back, TN_BACK, ran);
    }
    tn_error_free(e);
    tn_goals_free(back);
}

static void failure_hooks(struct tn_session *s, const struct tn_goals *goals)
{
    struct tn_error *e = NULL;
    if (hooks_of_all(s, goals, TN_HOOK_FAILED, NULL, &e) < 0)
        tn_session_tell(s, TN_EV_WARNING, NULL, NULL, "on_failure: %s", tn_error_message(e));
    tn_error_free(e);
}

static void turn_round(struct tn_session *s, const struct tn_goals *goals, const struct tn_ran *why,
                       struct tn_ran *back)
{
    tn_session_tell(s, TN_EV_TURN, NULL, NULL, "rolling back: %s", why->cause ? why->cause : "failed");
    tn_lease_turn(s->lease);
    tn_store_rollout_state(s->store, s->rollout, "rolling_back", NULL);
    go_back(s, goals, back);
}

/* ---- the end ---- */

/* What serves now is remembered, in the store and in the target, so that there is a way back to it. */
static void remember(struct tn_session *s, const struct tn_goals *goals, bool back)
{
    for (size_t i = 0; i < goals->n; i++) {
        const struct tn_goal *g = &goals->v[i];
        struct tn_error *e = NULL;
        json_t *spec = back ? g->from_spec : g->spec;
        const char *revision = back ? g->from_revision : g->revision;
        if (!spec)
            continue;
        struct tn_revision_row row = {g->service, g->cluster, (char *)(uintptr_t)revision,
                                      s->rollout, spec,       tn_wall_ms()};
        int keep = g->plan_service ? g->plan_service->rollout.keep : 3;
        if (tn_store_revision_add(s->store, s->plan->name, s->plan->environment, &row, &e) < 0 ||
            tn_records_add(s, g->service, g->cluster, revision, spec, back ? g->from_count : g->replicas,
                           keep, &e) < 0)
            tn_session_tell(s, TN_EV_WARNING, NULL, NULL, "revision %s is not recorded: %s", revision,
                            tn_error_message(e));
        tn_error_free(e);
    }
}

/* Upstreams of services that are gone, or (`back`) that were not there before. */
static void forget_upstreams(struct tn_session *s, const struct tn_goals *goals, bool back)
{
    for (size_t i = 0; i < goals->n; i++) {
        const struct tn_goal *g = &goals->v[i];
        if ((back ? g->from_spec : g->spec) || strcmp(goals->action, "destroy") == 0)
            continue; /* destroy takes the whole file away */
        struct tn_exposures x;
        tn_exposures_init(&x, s, g->plan_service, g->service, g->cluster);
        const struct tn_edge_change whole = {.whole = true};
        struct tn_error *e = NULL;
        if (x.n && tn_exposures_apply(s, &x, &whole, NULL, &e) < 0)
            tn_session_tell(s, TN_EV_WARNING, NULL, NULL, "the empty upstream of '%s' stays: %s", g->service,
                            tn_error_message(e));
        tn_error_free(e);
        tn_exposures_clear(&x);
    }
}

static int remove_balancers(struct tn_session *s, struct tn_error **err)
{
    int rc = TN_OK;
    for (size_t i = 0; i < s->plan->n_balancers && rc >= 0; i++) {
        struct tn_edge *e = &s->edges[i];
        pthread_mutex_lock(&e->lock);
        rc = tn_lease_check(s->lease, err);
        if (rc >= 0)
            rc = tn_edge_open(s, e, err);
        if (rc >= 0)
            rc = e->driver->ops->remove(e->driver, s->cancel, err);
        pthread_mutex_unlock(&e->lock);
        if (rc == TN_EBUSY) { /* the user's own configuration needs our upstreams: they stay, empty */
            tn_session_tell(s, TN_EV_WARNING, NULL, NULL, "balancer '%s': %s", e->config->name,
                            err && *err ? tn_error_message(*err) : "its upstreams stay, empty");
            tn_error_clear(err);
            rc = TN_OK;
        }
    }
    return rc;
}

/* The last of destroy, while the lease is still held: balancers, records, what was made beside the instances. */
static void destroy_rest(struct tn_session *s, struct tn_ran *ran)
{
    struct tn_error *e = NULL;
    int rc = remove_balancers(s, &e);
    for (size_t i = 0; i < s->plan->n_clusters && rc >= 0; i++) {
        struct tn_provider *p = s->sites[i].provider;
        rc = tn_records_forget(s, s->plan->clusters[i].name, &e);
        if (rc >= 0 && p->ops->tidy)
            rc = p->ops->tidy(p, s->cancel, true, &e);
    }
    if (rc < 0) {
        ran->done = false;
        ran->stop = (enum tn_code)rc;
        ran->changed = true;
        free(ran->cause);
        ran->cause = tn_strdup(tn_error_message(e));
    }
    tn_error_free(e);
}

/* What calls of an earlier run left that were cut short. */
static void tidy_up(struct tn_session *s)
{
    for (size_t i = 0; i < s->plan->n_clusters; i++) {
        struct tn_provider *p = s->sites[i].provider;
        if (p->ops->tidy)
            p->ops->tidy(p, s->cancel, false, NULL);
    }
}

static int begin_row(struct tn_session *s, const struct tn_goals *goals, struct tn_error **err)
{
    char host[256] = "localhost";
    gethostname(host, sizeof(host) - 1);
    struct tn_rollout_row row = {
        .id = s->rollout,
        .app = s->plan->name,
        .environment = s->plan->environment,
        .action = goals->action,
        .state = (char *)(uintptr_t) "running",
        .actor = s->actor,
        .host = host,
        .version = (char *)(uintptr_t)tn_version(),
        .began = tn_wall_ms(),
        .goal = tn_goals_json(goals),
    };
    int rc = tn_store_rollout_begin(s->store, &row, err);
    json_decref(row.goal);
    return rc;
}

static bool had_hooks(const struct tn_goals *goals)
{
    for (size_t i = 0; i < goals->n; i++) {
        const struct tn_service *svc = goals->v[i].plan_service;
        if (svc && svc->hooks.n_pre_deploy + svc->hooks.n_post_deploy + svc->hooks.n_on_failure > 0)
            return true;
    }
    return false;
}

static void end_run(struct tn_session *s, const struct tn_goals *goals, bool turned, int64_t downtime,
                    struct tn_outcome *out)
{
    out->rollout = tn_strdup(s->rollout);
    json_decref(out->report);
    out->report = json_pack("{s:i,s:s,s:s,s:s,s:i}", "v", 1, "rollout", s->rollout, "action", goals->action,
                            "state", out->state, "exit_code", out->exit_code);
    const struct {
        const char *key, *text;
    } said[] = {{"cause", out->cause},
                {"did", out->action},
                {"now", out->now},
                {"next", out->next},
                {"log", out->evidence}};
    for (size_t i = 0; i < TN_COUNT(said); i++)
        if (said[i].text)
            json_object_set_new(out->report, said[i].key, tn_json_text(said[i].text));
    json_object_set_new(out->report, "downtime_ms", json_integer(downtime));
    json_t *unfinished = NULL;
    if (!tn_state_is_final(out->state)) {
        unfinished = tn_goals_json(goals);
        if (turned)
            json_object_set_new(unfinished, "turned", json_true());
    } else if (had_hooks(goals)) {
        tn_forget_hooks(s);
    }
    tn_session_tell(s, TN_EV_DONE, NULL,
                    json_pack("{s:s,s:i}", "state", out->state, "exit_code", out->exit_code), "%s: %s",
                    out->state, out->now ? out->now : "");
    tn_store_rollout_end(s->store, s->rollout, out->state, out->exit_code, out->report, NULL);
    tn_lease_end(TN_TAKE(s->lease), goals->whole && !unfinished ? NULL : out->state, unfinished);
    json_decref(unfinished);
}

/* A balancer that does not answer, or a file that is not ours, is better known before anything starts. */
static int check_balancers(struct tn_session *s, const struct tn_goals *goals,
                           const struct tn_observation *worlds, struct tn_error **err)
{
    int rc = TN_OK;
    for (size_t i = 0; i < goals->n && rc >= 0; i++) {
        const struct tn_goal *g = &goals->v[i];
        struct tn_exposures x;
        struct tn_edge_views views = {0};
        tn_exposures_init(&x, s, g->plan_service, g->service, g->cluster);
        if (x.n)
            tn_exposures_observe(s, &x, &views);
        if (x.unknown)
            rc = tn_error_set(err, TN_EUNREACHABLE, "%s", x.unknown);
        else if (x.n && !views.all_answered)
            rc = tn_error_set(err, TN_EUNREACHABLE, "%s", views.error);
        else if (x.n && g->spec && g->plan_service)
            rc = tn_exposures_differ(s, &x, &worlds[tn_session_site(s, g->cluster) - s->sites], err);
        tn_edge_views_clear(&views);
        tn_exposures_clear(&x);
    }
    return rc < 0 ? rc : TN_OK;
}

/* The lease is held: goals are what they should be, nothing has changed yet. */
static int get_ready(struct tn_session *s, const struct tn_rollout_start *how, const json_t *prior,
                     struct tn_error **err)
{
    struct tn_observation *worlds = tn_alloc((s->plan->n_clusters + 1) * sizeof(*worlds));
    int rc = tn_observe_all(s, worlds, err);
    if (rc >= 0 && how->refresh_from)
        tn_goals_set_from(s, how->goals, worlds, prior);
    if (rc >= 0)
        rc = begin_row(s, how->goals, err);
    if (rc >= 0)
        tn_session_tell(s, TN_EV_ROLLOUT, NULL,
                        json_pack("{s:s,s:s,s:s}", "action", how->goals->action, "app", s->plan->name,
                                  "environment", s->plan->environment),
                        "%s %s%s%s", how->goals->action, s->plan->name, s->plan->environment[0] ? " " : "",
                        s->plan->environment);
    if (rc >= 0 && !how->back)
        rc = check_balancers(s, how->goals, worlds, err);
    if (rc >= 0 && !how->back)
        rc = prepare_goals(s, how->goals, worlds, err);
    tn_worlds_clear(s, worlds);
    return rc;
}

/* Nothing was changed: the row says so, the lease is given back as it was found. */
static int give_up(struct tn_session *s, json_t *prior, struct tn_error **err)
{
    tn_store_rollout_end(s->store, s->rollout, "failed", tn_exit_of(err ? *err : NULL), NULL, NULL);
    tn_lease_end(TN_TAKE(s->lease), "failed", prior);
    json_decref(prior);
    return err && *err ? (int)(*err)->code : TN_EFAIL;
}

static void take_rollout_id(struct tn_session *s, const char *id)
{
    char random[7];
    tn_random_hex(random, 6);
    free(s->rollout);
    s->rollout = id ? tn_strdup(id) : tn_format("r-%s", random);
}

static bool is_goal_of(const json_t *prior, const char *id)
{
    return tn_streq(json_string_value(json_object_get(prior, "rollout")), id);
}

/* While we waited for the lease its holder ended what we meant to finish. */
static int somebody_finished(struct tn_session *s, const struct tn_rollout_start *how, json_t *prior,
                             struct tn_outcome *out, struct tn_error **err)
{
    tn_lease_end(TN_TAKE(s->lease), "not begun", prior);
    bool another = prior != NULL;
    json_decref(prior);
    if (another)
        return tn_error_set(err, TN_EFAIL, "rollout %s has ended; another one was left unfinished", how->id);
    tn_autofree char *now = tn_format("nothing to do: rollout %s has ended meanwhile", how->id);
    return tn_outcome_nothing(out, now);
}

/* One rollout from the moment on at which nothing has changed yet. */
struct course {
    struct tn_ran ahead, back;
    bool turned;
};

static void go(struct tn_session *s, const struct tn_rollout_start *how, struct course *c)
{
    if (how->back) {
        c->ahead.cause = tn_strdup("asked for");
        c->turned = true;
        go_back(s, how->goals, &c->back);
        return;
    }
    forward(s, how->goals, how->hook, &c->ahead);
    if (!c->ahead.failed)
        return;
    failure_hooks(s, how->goals);
    bool back = c->ahead.aborted || c->ahead.on_failure == TN_ON_FAILURE_ROLLBACK;
    c->turned = back && strcmp(how->goals->action, "destroy") != 0;
    if (c->turned)
        turn_round(s, how->goals, &c->ahead, &c->back);
}

static void settle_the_rest(struct tn_session *s, struct tn_goals *goals, struct course *c)
{
    if (c->ahead.done && goals->whole)
        destroy_rest(s, &c->ahead);
    if (!c->ahead.done && !(c->turned && c->back.done))
        return;
    remember(s, goals, !c->ahead.done);
    forget_upstreams(s, goals, !c->ahead.done);
}

static int run_course(struct tn_session *s, const struct tn_rollout_start *how, struct tn_outcome *out)
{
    struct course c = {0};
    go(s, how, &c);
    settle_the_rest(s, how->goals, &c);
    tn_outcome_from(s, how->goals, &c.ahead, c.turned ? &c.back : NULL, out);
    int64_t downtime = c.ahead.downtime > c.back.downtime ? c.ahead.downtime : c.back.downtime;
    end_run(s, how->goals, c.turned, downtime, out);
    tn_ran_clear(&c.ahead);
    tn_ran_clear(&c.back);
    return out->exit_code;
}

static int run_with(struct tn_session *s, const struct tn_rollout_start *how, struct tn_outcome *out,
                    struct tn_error **err)
{
    json_t *prior = NULL, *goal = tn_goals_json(how->goals);
    if (how->back)
        json_object_set_new(goal, "turned", json_true());
    take_rollout_id(s, how->id);
    s->lease = tn_lease_take(s, s->rollout, goal, how->lease_wait, &prior, err);
    json_decref(goal);
    if (!s->lease)
        return err && *err ? (int)(*err)->code : TN_EFAIL;
    if (how->finishes && !is_goal_of(prior, how->id))
        return somebody_finished(s, how, prior, out, err);
    tidy_up(s);
    if (get_ready(s, how, prior, err) < 0)
        return give_up(s, prior, err);
    const char *before = json_string_value(json_object_get(prior, "rollout"));
    if (before && strcmp(before, s->rollout) != 0) /* where this store knows it */
        tn_store_rollout_end(s->store, before, "superseded", TN_EXIT_MIXED, NULL, NULL);
    json_decref(prior);
    return run_course(s, how, out);
}

int tn_run_rollout(struct tn_session *s, const struct tn_rollout_start *how, struct tn_outcome *out,
                   struct tn_error **err)
{
    int rc = run_with(s, how, out, err);
    tn_goals_free(how->goals);
    return rc;
}
