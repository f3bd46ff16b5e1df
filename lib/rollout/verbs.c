/* The verbs that change something: each makes goals and hands them to one rollout. */
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "turnout/clock.h"
#include "turnout/mem.h"
#include "turnout/text.h"
#include "lib/rollout/changes.h"
#include "lib/rollout/changeset.h"
#include "lib/rollout/lease.h"
#include "lib/rollout/records.h"
#include "lib/rollout/run.h"

static int64_t lease_wait(const struct tn_session *s, const struct tn_deploy_options *o)
{
    return o->lease_wait >= 0 ? o->lease_wait : s->plan->policy.lease_wait;
}

/* Goals that need nothing are left out of the run; what must stay together is decided by the diff. */
static struct tn_goals *wanted_goals(struct tn_session *s, const struct tn_changes *c, struct tn_error **err)
{
    json_t *all = tn_goals_json(c->goals), *kept = json_array();
    for (size_t i = 0; i < c->n; i++)
        if (c->v[i].action != TN_CHANGE_NONE && c->v[i].action != TN_CHANGE_MANUAL)
            json_array_append(kept, json_array_get(json_object_get(all, "placements"), i));
    json_object_set_new(all, "placements", kept);
    struct tn_goals *g = tn_goals_from_json(s, all, err);
    json_decref(all);
    return g;
}

/* What the target tells of another run. */
struct other_run {
    bool lives;   /* it is at work */
    json_t *goal; /* else: what it left unfinished, NULL = nothing */
    char *id;     /* of the goal */
};

static int look_for_other(struct tn_session *s, struct other_run *out, struct tn_error **err)
{
    *out = (struct other_run){0};
    int alive = tn_lease_is_alive(s, err);
    json_t *look = alive == 0 ? tn_lease_look(s, err) : NULL;
    out->lives = alive > 0;
    if (out->lives)
        return TN_OK;
    if (!look)
        return err && *err ? (int)(*err)->code : TN_EFAIL;
    out->goal = json_incref(json_object_get(look, "unfinished"));
    out->id = tn_strdup(json_string_value(json_object_get(look, "rollout")));
    json_decref(look);
    return TN_OK;
}

static void other_clear(struct other_run *o)
{
    json_decref(o->goal);
    free(o->id);
}

static const char *other_id(const struct other_run *o)
{
    return o->id ? o->id : "?";
}

/* A run over part of what was left unfinished would lose the way back of the rest. */
static int refuse_part(const struct other_run *left, const struct tn_selection *sel, struct tn_error **err)
{
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(left->goal, "placements"), i, one)
    {
        const char *service = json_string_value(json_object_get(one, "service"));
        const char *cluster = json_string_value(json_object_get(one, "cluster"));
        if (!service || !cluster || tn_selected(sel, service, cluster))
            continue;
        tn_error_set(err, TN_EFAIL, "rollout %s was left unfinished, and it concerns '%s' on '%s', too",
                     other_id(left), service, cluster);
        return tn_error_hint(err, "first: turnout resume, or: turnout rollback");
    }
    return TN_OK;
}

static int was_left_unfinished(const struct other_run *left, struct tn_error **err)
{
    tn_error_set(err, TN_EFAIL, "rollout %s was left unfinished", other_id(left));
    return tn_error_hint(err, "first: turnout resume, or: turnout rollback");
}

/* Verbs that do not carry on what was left. */
static int refuse_unfinished(struct tn_session *s, struct tn_error **err)
{
    struct other_run left;
    int rc = look_for_other(s, &left, err);
    if (rc >= 0 && left.goal)
        rc = was_left_unfinished(&left, err);
    other_clear(&left);
    return rc;
}

/* Carries on what was left, in its own direction or back. */
static int finish(struct tn_session *s, const struct other_run *left, bool back, const char *hook,
                  const struct tn_deploy_options *o, struct tn_outcome *out, struct tn_error **err)
{
    struct tn_rollout_start how = {
        .goals = tn_goals_from_json(s, left->goal, err),
        .id = left->id,
        .back = back || json_is_true(json_object_get(left->goal, "turned")),
        .finishes = true,
        .hook = hook,
        .lease_wait = lease_wait(s, o),
    };
    if (!how.goals)
        return err && *err ? (int)(*err)->code : TN_EFAIL;
    return tn_run_rollout(s, &how, out, err);
}

/* The newest rollout that this store knows, when it has not ended. Asks no engine. Caller frees. */
static char *open_rollout(struct tn_session *s)
{
    struct tn_rollout_rows rows = {0};
    bool open = tn_store_rollouts(s->store, s->plan->name, s->plan->environment, 1, &rows, NULL) >= 0 &&
                rows.n == 1 && !tn_state_is_final(rows.v[0].state);
    char *id = open ? tn_strdup(rows.v[0].id) : NULL;
    tn_rollout_rows_clear(&rows);
    return id;
}

/* Everything is as the plan wants it. A rollout that was cut short right before its end is ended; one that another
 * machine has ended is told so to this store. */
static int nothing_to_change(struct tn_session *s, const struct tn_deploy_options *o, struct tn_outcome *out,
                             struct tn_error **err)
{
    static const char words[] = "nothing to do: everything is as the plan wants it";
    tn_autofree char *open = o->dry_run ? NULL : open_rollout(s);
    struct other_run other;
    if (!open)
        return tn_outcome_nothing(out, words);
    int rc = look_for_other(s, &other, err);
    if (rc >= 0 && other.goal) {
        rc = finish(s, &other, false, NULL, o, out, err);
    } else if (rc >= 0) {
        if (!other.lives)
            tn_store_rollout_end(s->store, open, "superseded", TN_EXIT_MIXED, NULL, NULL);
        rc = tn_outcome_nothing(out, words);
    }
    other_clear(&other);
    return rc;
}

/* Takes over where another run left off: its way back is ours. */
static int deploy_over(struct tn_session *s, const struct tn_changes *c, const struct other_run *left,
                       const struct tn_deploy_options *o, struct tn_outcome *out, struct tn_error **err)
{
    if (left->goal && refuse_part(left, &o->selection, err) < 0)
        return TN_EFAIL;
    struct tn_rollout_start how = {
        .goals = wanted_goals(s, c, err), .refresh_from = true, .lease_wait = lease_wait(s, o)};
    if (!how.goals)
        return TN_EFAIL;
    if (left->goal) {
        /* the claim must tell the true way back from its first moment on */
        tn_goals_from_prior(how.goals, left->goal);
        tn_session_tell(s, TN_EV_NOTE, NULL, NULL, "takes over from rollout %s, which was left unfinished",
                        other_id(left));
    }
    return tn_run_rollout(s, &how, out, err);
}

int tn_session_deploy(struct tn_session *s, const struct tn_changes *c, const struct tn_deploy_options *o,
                      struct tn_outcome *out, struct tn_error **err)
{
    if (o->changeset) {
        int rc = tn_changeset_check(s, o->changeset, c, err);
        if (rc < 0)
            return rc;
    }
    if (!c->any)
        return nothing_to_change(s, o, out, err);
    if (o->dry_run)
        return tn_outcome_nothing(out, "dry run: nothing was changed");
    struct other_run left;
    int rc = look_for_other(s, &left, err);
    if (rc >= 0)
        rc = deploy_over(s, c, &left, o, out, err);
    other_clear(&left);
    return rc;
}

/* ---- rollback ---- */

/* The record to go back to: `to`, or the newest one before what serves now. */
static const struct tn_kept *pick_record(const struct tn_kepts *kept, const char *current, const char *to)
{
    size_t from = 0;
    for (size_t i = 0; !to && i < kept->n && from == 0; i++)
        from = strcmp(kept->v[i].revision, current) == 0 ? i + 1 : 0;
    for (size_t i = from; i < kept->n; i++)
        if (to ? tn_starts_with(kept->v[i].revision, to) : strcmp(kept->v[i].revision, current) != 0)
            return &kept->v[i];
    return NULL;
}

static int add_rollback(struct tn_session *s, const struct tn_goal *now, const char *to, struct tn_goals *out,
                        struct tn_error **err)
{
    struct tn_kepts kept = {0};
    int rc = tn_records_list(s, now->service, now->cluster, &kept, err);
    const struct tn_kept *k = rc >= 0 ? pick_record(&kept, now->from_revision, to) : NULL;
    if (k && strcmp(k->revision, now->from_revision) != 0) {
        /* a goal whose way back is the record: the run goes backwards at once */
        struct tn_goal *g = tn_goals_add(out, now->service, now->cluster);
        g->plan_service = now->plan_service;
        g->from_spec = json_incref(k->spec);
        snprintf(g->from_revision, sizeof(g->from_revision), "%s", k->revision);
        g->from_count = now->plan_service ? now->plan_service->replicas : k->replicas;
        g->replicas = now->from_count;
        rc = now->from_spec ? tn_goal_set_spec(g, now->from_spec, err) : TN_OK;
    }
    tn_kepts_clear(&kept);
    return rc;
}

/* What runs now, as goals without a wish: service, cluster, and where the world stands. */
static struct tn_goals *goals_of_world(struct tn_session *s, const struct tn_selection *sel,
                                       const char *action, struct tn_error **err)
{
    struct tn_observation *worlds = tn_alloc((s->plan->n_clusters + 1) * sizeof(*worlds));
    struct tn_goals *g = tn_goals_new(action);
    int rc = tn_observe_all(s, worlds, err);
    for (size_t c = 0; rc >= 0 && c < s->plan->n_clusters; c++) {
        const char *cluster = s->plan->clusters[c].name;
        for (size_t i = 0; i < worlds[c].n; i++) {
            const char *service = worlds[c].v[i].service;
            if (!tn_goals_find(g, service, cluster) && tn_selected(sel, service, cluster))
                tn_goals_add(g, service, cluster)->plan_service = tn_plan_service(s->plan, service);
        }
    }
    if (rc >= 0)
        tn_goals_set_from(s, g, worlds, NULL);
    tn_worlds_clear(s, worlds);
    if (rc >= 0)
        return g;
    tn_goals_free(g);
    return NULL;
}

static int rollback_to_record(struct tn_session *s, const char *to, const struct tn_deploy_options *o,
                              struct tn_outcome *out, struct tn_error **err)
{
    struct tn_goals *now = goals_of_world(s, &o->selection, "rollback", err);
    struct tn_goals *goals = tn_goals_new("rollback");
    int rc = now ? TN_OK : TN_EFAIL;
    for (size_t i = 0; rc >= 0 && i < now->n; i++)
        rc = add_rollback(s, &now->v[i], to, goals, err);
    tn_goals_free(now);
    if (rc >= 0 && goals->n == 0) {
        rc = to ? tn_error_set(err, TN_ENOTFOUND, "revision '%s' is not kept, or it serves already", to)
                : tn_error_set(err, TN_ENOTFOUND, "there is no revision to go back to");
        tn_error_hint(err, "turnout history");
    }
    if (rc < 0 || o->dry_run) {
        tn_goals_free(goals);
        return rc < 0 ? rc : tn_outcome_nothing(out, "dry run: nothing was changed");
    }
    struct tn_rollout_start how = {.goals = goals, .back = true, .lease_wait = lease_wait(s, o)};
    return tn_run_rollout(s, &how, out, err);
}

static int ask_abort(struct tn_session *s, struct tn_outcome *out, struct tn_error **err)
{
    int rc = tn_lease_ask_abort(s, err);
    return rc < 0
               ? rc
               : tn_outcome_nothing(out, "abort was asked for; the running deploy rolls back and ends with "
                                         "exit code 3");
}

static int roll_back(struct tn_session *s, const struct other_run *other, const char *to,
                     const struct tn_deploy_options *o, struct tn_outcome *out, struct tn_error **err)
{
    if (other->lives && !to && !o->dry_run)
        return ask_abort(s, out, err); /* going back is what the running deploy is told to do */
    if (!other->goal)
        return rollback_to_record(s, to, o, out, err);
    if (to)
        return was_left_unfinished(other, err); /* over a half-rolled world it would lose its way back */
    if (o->dry_run)
        return tn_outcome_nothing(out, "dry run: nothing was changed");
    return finish(s, other, true, NULL, o, out, err);
}

int tn_session_rollback(struct tn_session *s, const char *to, const struct tn_deploy_options *o,
                        struct tn_outcome *out, struct tn_error **err)
{
    struct other_run other;
    int rc = look_for_other(s, &other, err);
    if (rc >= 0)
        rc = roll_back(s, &other, to, o, out, err);
    other_clear(&other);
    return rc;
}

/* ---- the others ---- */

static int tell_holder(struct tn_session *s, struct tn_error **err)
{
    json_t *look = tn_lease_look(s, NULL);
    const char *holder = json_string_value(json_object_get(look, "holder"));
    const char *since = json_string_value(json_object_get(look, "since"));
    const char *rollout = json_string_value(json_object_get(look, "rollout"));
    tn_error_set(err, TN_EHELD, "rollout %s is running: the lease is held by %s since %s",
                 rollout ? rollout : "?", holder ? holder : "?", since ? since : "?");
    json_decref(look);
    return tn_error_hint(err, "there is nothing to resume while it runs; wait for it with --lease-wait=10m");
}

/* Waits for a living holder to end: TN_EHELD when it does not in time. */
static int wait_for_holder(struct tn_session *s, int64_t wait_ms, struct tn_error **err)
{
    int64_t give_up = tn_mono_ms() + wait_ms;
    for (;;) {
        int rc = tn_lease_is_alive(s, err);
        if (rc <= 0)
            return rc;
        if (tn_mono_ms() >= give_up)
            return tell_holder(s, err);
        rc = tn_lease_pause(s, "the running rollout", 200, err);
        if (rc < 0)
            return rc;
    }
}

static int resume_left(struct tn_session *s, const struct other_run *left, const char *id, const char *hook,
                       const struct tn_deploy_options *o, struct tn_outcome *out, struct tn_error **err)
{
    if (!left->goal)
        return tn_outcome_nothing(out, "nothing to resume: no rollout was left unfinished");
    if (id && !tn_starts_with(other_id(left), id))
        return tn_error_set(err, TN_ENOTFOUND, "rollout '%s' is not the unfinished one, that is %s", id,
                            other_id(left));
    if (o->dry_run)
        return tn_outcome_nothing(out, "dry run: nothing was changed");
    return finish(s, left, false, hook, o, out, err);
}

int tn_session_resume(struct tn_session *s, const char *id, const char *hook,
                      const struct tn_deploy_options *o, struct tn_outcome *out, struct tn_error **err)
{
    int held = wait_for_holder(s, lease_wait(s, o), err);
    if (held < 0)
        return held;
    struct other_run left;
    int rc = look_for_other(s, &left, err);
    if (rc >= 0)
        rc = resume_left(s, &left, id, hook, o, out, err);
    other_clear(&left);
    return rc;
}

int tn_session_restart(struct tn_session *s, const struct tn_deploy_options *o, struct tn_outcome *out,
                       struct tn_error **err)
{
    int first = refuse_unfinished(s, err);
    struct tn_goals *g = first < 0 ? NULL : goals_of_world(s, &o->selection, "restart", err);
    if (!g)
        return first < 0 ? first : TN_EFAIL;
    size_t kept = 0;
    int rc = TN_OK;
    for (size_t i = 0; i < g->n && rc >= 0; i++) {
        struct tn_goal *one = &g->v[i];
        if (!one->from_spec || !one->plan_service)
            continue;
        one->fresh = true;
        one->replicas = one->from_count;
        rc = tn_goal_set_spec(one, one->from_spec, err);
        kept++;
    }
    if (rc >= 0 && kept != g->n)
        rc =
            tn_error_set(err, TN_EFAIL,
                         "a service that runs is not in the plan, or its spec is not recorded; deploy first");
    if (rc >= 0 && g->n == 0)
        rc = tn_error_set(err, TN_ENOTFOUND, "nothing runs that could be restarted");
    if (rc < 0 || o->dry_run) {
        tn_goals_free(g);
        return rc < 0 ? rc : tn_outcome_nothing(out, "dry run: nothing was changed");
    }
    struct tn_rollout_start how = {.goals = g, .lease_wait = lease_wait(s, o)};
    return tn_run_rollout(s, &how, out, err);
}

int tn_session_destroy(struct tn_session *s, const struct tn_deploy_options *o, struct tn_outcome *out,
                       struct tn_error **err)
{
    bool whole = o->selection.n_services == 0 && o->selection.n_clusters == 0;
    int first = whole ? TN_OK : refuse_unfinished(s, err);
    struct tn_goals *g = first < 0 ? NULL : goals_of_world(s, &o->selection, "destroy", err);
    if (!g)
        return first < 0 ? first : TN_EFAIL;
    if (o->dry_run) {
        tn_goals_free(g);
        return tn_outcome_nothing(out, "dry run: nothing was changed");
    }
    g->whole = whole;
    struct tn_rollout_start how = {.goals = g, .lease_wait = lease_wait(s, o)};
    return tn_run_rollout(s, &how, out, err);
}

int tn_session_abort(struct tn_session *s, const struct tn_deploy_options *o, struct tn_outcome *out,
                     struct tn_error **err)
{
    struct other_run other;
    int rc = look_for_other(s, &other, err);
    if (rc >= 0 && other.lives)
        rc = ask_abort(s, out, err);
    else if (rc >= 0 && !other.goal)
        rc = tn_outcome_nothing(out, "nothing to abort: no rollout is running");
    else if (rc >= 0)
        rc = roll_back(s, &other, NULL, o, out, err);
    other_clear(&other);
    return rc;
}
