/* The loop of one placement: look, decide (pure), dispatch, wait; until there is a verdict or a reason to stop. */
#include "lib/rollout/placement.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "turnout/clock.h"
#include "turnout/mem.h"
#include "turnout/text.h"

enum { FIRST_HOLD = 100 /* ms, doubled with each error in a row */, MOST_DOUBLINGS = 5 };
enum { DRAIN_OF_ORPHANS = 10000, HOPELESS_ERRORS = 4, EVIDENCE_LINES = 20, EVIDENCE_BYTES = 64 * 1024 };

static const struct tn_rollout_options *options_of(const struct tn_goal *g)
{
    return g->plan_service ? &g->plan_service->rollout : g->typed ? &g->typed->rollout : NULL;
}

struct tn_strategy_spec tn_strategy_spec_for(const struct tn_goal *g, enum tn_direction direction)
{
    const struct tn_rollout_options *o = options_of(g);
    int n = g->replicas;
    struct tn_strategy_spec s = {
        .kind = TN_ROLL,
        .direction = direction,
        .replicas = n,
        .max_surge = 1,
        .min_healthy_time = 2000,
        .healthy_deadline = 60000,
        .progress_deadline = 300000,
    };
    for (size_t i = 0; g->plan_service && i < g->plan_service->n_expose; i++)
        if (g->plan_service->expose[i].drain > s.drain_cap)
            s.drain_cap = g->plan_service->expose[i].drain;
    s.has_balancer = g->plan_service && g->plan_service->n_expose > 0;
    if (!o)
        return s;
    s.kind = o->strategy == TN_STRATEGY_RECREATE ? TN_RECREATE : TN_ROLL;
    s.max_unavailable = s.kind == TN_RECREATE ? n : tn_count_of(o->max_unavailable, n, false);
    s.max_surge = s.kind == TN_RECREATE ? 0 : tn_count_of(o->max_surge, n, true);
    if (n > 0 && s.max_unavailable == 0 && s.max_surge == 0)
        s.max_surge = 1; /* percentages of a small number: rounding must not stop everything */
    s.max_failures = o->max_failures;
    s.min_healthy_time = o->min_healthy_time;
    s.healthy_deadline = o->healthy_deadline;
    s.progress_deadline = o->progress_deadline;
    s.delay = o->delay;
    return s;
}

void tn_placement_init(struct tn_placement *p, struct tn_session *s, struct tn_goal *g,
                       enum tn_direction direction)
{
    memset(p, 0, sizeof(*p));
    p->s = s;
    p->goal = g;
    p->site = tn_session_site(s, g->cluster);
    p->spec = tn_strategy_spec_for(g, direction);
    tn_exposures_init(&p->exposures, s, g->plan_service, g->service, g->cluster);
    if (p->exposures.n > 0 &&
        !p->spec.has_balancer) { /* a service that left the plan is drained all the same */
        p->spec.has_balancer = true;
        p->spec.drain_cap = DRAIN_OF_ORPHANS;
    }
    p->host_down = tn_alloc((p->site->provider->n_hosts + 1) * sizeof(*p->host_down));
    pthread_mutex_init(&p->lock, NULL);
    pthread_mutex_init(&p->preparing, NULL);
    p->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    p->told_wait = TN_WAIT_NOTHING;
    p->least_serving = -1;
    const struct tn_rollout_options *o = options_of(g);
    if (!o || !g->plan_service || g->replicas == 0)
        return;
    p->gates = tn_alloc((o->gates.n + 1) * sizeof(*p->gates));
    for (size_t i = 0; i < o->gates.n; i++)
        p->gates[p->n_gates++].gate = tn_plan_gate(s->plan, o->gates.v[i]);
}

void tn_placement_clear(struct tn_placement *p)
{
    for (size_t i = 0; i < p->n_tracked; i++) {
        free(p->tracked[i].name);
        tn_service_free_spec(p->tracked[i].spec);
        free(p->tracked[i].effect);
    }
    for (size_t i = 0; i < p->n_names; i++)
        free(p->names[i]);
    free(p->names);
    free(p->tracked);
    tn_observation_clear(&p->all);
    tn_observation_clear(&p->world);
    tn_edge_views_clear(&p->views);
    tn_exposures_clear(&p->exposures);
    free(p->gates);
    free(p->host_down);
    json_decref(p->told_world);
    json_decref(p->admitted);
    close(p->wake);
    pthread_mutex_destroy(&p->lock);
    pthread_mutex_destroy(&p->preparing);
    free(p->cause);
    free(p->evidence);
    free(p->culprit);
    free(p->last_error);
}

/* ---- what people hear ---- */

static void tell_ready(struct tn_placement *p)
{
    for (size_t i = 0; i < p->n_tracked; i++) {
        struct tn_tracked *t = &p->tracked[i];
        if (!t->present || !t->ready || t->told_ready || !t->by_this_run)
            continue;
        t->told_ready = true;
        char age[32];
        struct tn_where w = {p->goal->service, p->goal->cluster, t->name};
        tn_session_tell(p->s, TN_EV_READY, &w, NULL, "%s after %s", t->name,
                        tn_format_age(t->ready_since - t->first_seen, age, sizeof(age)));
    }
}

static void tell_world(struct tn_placement *p, const struct tn_decision *d)
{
    json_t *world = json_pack("{s:o,s:i,s:i,s:i,s:i,s:i,s:s,s:I}", "instances", tn_placement_snapshot(p),
                              "old", d->setpoint.old_count, "new", d->setpoint.new_count, "serving",
                              d->setpoint.available, "replicas", p->spec.replicas, "traffic_new_permille",
                              d->setpoint.new_traffic_permille, "wait", tn_wait_name(d->wait), "wait_until",
                              (json_int_t)(d->wait_until ? tn_wall_ms() + d->wait_until - tn_mono_ms() : 0));
    json_t *plain = json_copy(world);
    json_object_del(plain, "wait_until");
    if (!p->told_world || !json_equal(plain, p->told_world)) {
        json_decref(p->told_world);
        p->told_world = plain;
        struct tn_where w = {.service = p->goal->service, .cluster = p->goal->cluster};
        tn_session_tell(p->s, TN_EV_WORLD, &w, world, "%d old, %d new, %d serving", d->setpoint.old_count,
                        d->setpoint.new_count, d->setpoint.available);
        return;
    }
    json_decref(plain);
    json_decref(world);
}

static void tell_wait(struct tn_placement *p, const struct tn_decision *d)
{
    if (d->wait == p->told_wait)
        return;
    p->told_wait = d->wait;
    if (d->wait == TN_WAIT_NOTHING || d->wait == TN_WAIT_MOVES)
        return;
    char left[32];
    struct tn_where w = {.service = p->goal->service, .cluster = p->goal->cluster};
    const char *why = d->wait == TN_WAIT_UNKNOWN && p->views.error ? p->views.error : tn_wait_name(d->wait);
    tn_session_tell(p->s, TN_EV_WAIT, &w, NULL, "waits for %s%s%s", why, d->wait_until ? ", at most " : "",
                    d->wait_until ? tn_format_age(d->wait_until - tn_mono_ms(), left, sizeof(left)) : "");
}

/* ---- why ---- */

static bool collect_log(void *arg, const char *data, size_t n)
{
    tn_buf_add(arg, data, n);
    return true;
}

/* The engine tells of the memory killer a moment after the end, and not always. */
static char *exit_words(const struct tn_instance *i, const struct tn_service *spec)
{
    if (i->oom_killed)
        return tn_strdup("was killed: out of memory");
    if (i->exit_signal == SIGKILL && spec && spec->memory > 0)
        return tn_format("was killed (signal 9), most likely out of memory: its limit is %lld MiB",
                         (long long)(spec->memory >> 20));
    if (i->exit_signal)
        return tn_format("ended by signal %d (%s)", i->exit_signal, strsignal(i->exit_signal));
    if (i->exit_code >= 0)
        return tn_format("exited with code %d", i->exit_code);
    return tn_strdup("exited");
}

char *tn_placement_diagnose(struct tn_placement *p, const char *name, char **evidence)
{
    const struct tn_instance *i = tn_placement_instance(p, name);
    const struct tn_tracked *t = tn_placement_tracked(p, name);
    if (!i)
        return tn_format("%s is gone", name);
    tn_autobuf log = TN_BUF_INIT(EVIDENCE_BYTES);
    struct tn_provider *pr = p->site->provider;
    if (pr->ops->logs(pr, p->s->cancel, i, EVIDENCE_LINES, false, collect_log, &log, NULL) >= 0 &&
        log.len > 0)
        *evidence = tn_buf_take(&log);
    const char *host = pr->host_names[i->host];
    if (i->state == TN_RUN_EXITED) {
        tn_autofree char *how = exit_words(i, t->spec);
        return tn_format("%s on %s %s%s%s", name, host, how, i->detail && *i->detail ? ": " : "",
                         i->detail ? i->detail : "");
    }
    char age[32];
    tn_format_age(tn_mono_ms() - t->first_seen, age, sizeof(age));
    if (t->answer.text[0])
        return tn_format("%s on %s is not healthy after %s: %s, %d times in a row", name, host, age,
                         t->answer.text, t->failures);
    return tn_format("%s on %s is not healthy after %s: the engine says %s", name, host, age,
                     i->health == TN_NATIVE_UNHEALTHY ? "unhealthy" : "starting");
}

static void explain_failure(struct tn_placement *p, const struct tn_decision *d)
{
    if (d->failure == TN_FAILURE_INSTANCE && d->culprit >= 0) {
        p->culprit = tn_strdup(p->world.v[d->culprit].name);
        p->cause = tn_placement_diagnose(p, p->culprit, &p->evidence);
    } else if (d->failure == TN_FAILURE_INSTANCE) {
        p->cause = tn_format("an instance could not be started: %s", p->last_error ? p->last_error : "?");
    } else if (d->failure == TN_FAILURE_GATE) {
        for (size_t i = 0; i < p->n_gates && !p->cause; i++)
            if (p->gates[i].failed)
                p->cause = tn_format("gate '%s' failed: %s", p->gates[i].gate->name, p->gates[i].answer.text);
    } else if (p->last_error) {
        char limit[32];
        p->cause =
            tn_format("no progress for %s (progress_deadline); the last move failed: %s",
                      tn_format_duration(p->spec.progress_deadline, limit, sizeof(limit)), p->last_error);
    } else {
        char limit[32];
        p->cause = tn_format("no progress for %s (progress_deadline): waits for %s",
                             tn_format_duration(p->spec.progress_deadline, limit, sizeof(limit)),
                             p->views.error ? p->views.error : tn_wait_name(p->told_wait));
    }
    struct tn_where w = {p->goal->service, p->goal->cluster, p->culprit};
    tn_session_tell(p->s, TN_EV_FAILED, &w,
                    p->evidence
                        ? json_pack("{s:o?}", "log", json_stringn_nocheck(p->evidence, strlen(p->evidence)))
                        : NULL,
                    "%s", p->cause ? p->cause : "failed");
}

/* ---- the loop ---- */

void tn_placement_note_error(struct tn_placement *p, const struct tn_error *err)
{
    static const enum tn_code ends_it[] = {TN_ELOST,     TN_ECANCELLED, TN_EIO,
                                           TN_ESTRANGER, TN_ESTALE,     TN_EAUTH};
    bool heals = err->code == TN_EUNREACHABLE || err->code == TN_EUNKNOWN;
    p->errors_in_a_row += !heals;
    int doublings = p->errors_in_a_row < MOST_DOUBLINGS ? p->errors_in_a_row : MOST_DOUBLINGS;
    p->hold_until = tn_mono_ms() + ((int64_t)FIRST_HOLD << doublings);
    free(p->last_error);
    p->last_error =
        err->hint ? tn_format("%s (%s)", tn_error_message(err), err->hint) : tn_strdup(tn_error_message(err));
    for (size_t i = 0; i < TN_COUNT(ends_it); i++)
        if (err->code == ends_it[i])
            p->stop_code = err->code;
}

static void save_memo(struct tn_placement *p, const struct tn_strategy_memo *before)
{
    if (memcmp(before, &p->memo, sizeof(*before)) == 0)
        return;
    struct tn_record r = {
        .rollout = p->s->rollout,
        .placement = p->goal->placement,
        .number = p->number,
        .phase = (char *)(uintptr_t) "memo",
        .move = (char *)(uintptr_t) "",
        .detail = json_pack("{s:i,s:i,s:i}", "failures", p->memo.failures, "progress", p->memo.progress,
                            "direction", p->spec.direction),
        .at = tn_wall_ms(),
    };
    tn_store_append_later(p->s->store, &r);
    json_decref(r.detail);
}

/* Hosts of the starts in flight whose instance is not seen yet: one that is seen counts once. */
static int unseen_starts(const struct tn_placement *p, uint32_t hosts[TN_MAX_INSTANCES])
{
    int n = p->starts;
    memcpy(hosts, p->start_hosts, (size_t)n * sizeof(*hosts));
    for (int k = 0; k < p->n_obs; k++) {
        int i = 0;
        while (i < n && (p->obs[k].busy != TN_BUSY_START || hosts[i] != p->obs[k].host))
            i++;
        if (i < n)
            hosts[i] = hosts[--n];
    }
    return n;
}

static void decide(struct tn_placement *p, struct tn_decision *d)
{
    uint32_t starts[TN_MAX_INSTANCES];
    struct tn_strategy_input in = {
        .spec = &p->spec,
        .v = p->obs,
        .n = p->n_obs,
        .n_hosts = (int)p->site->provider->n_hosts,
        .host_down = p->host_down,
        .start_hosts = starts,
        .starts = unseen_starts(p, starts),
        .balancer_unknown = p->balancer_unknown,
        .gates = tn_placement_gates(p),
        .now = tn_mono_ms(),
    };
    struct tn_strategy_memo before = p->memo;
    tn_strategy_next(&in, &p->memo, d);
    save_memo(p, &before);
    if (p->least_serving < 0 || d->setpoint.available < p->least_serving)
        p->least_serving = d->setpoint.available;
    if (d->setpoint.available == 0 && p->looked_at && p->goal->from_count > 0 && p->goal->replicas > 0)
        p->downtime += in.now - p->looked_at;
    p->looked_at = in.now;
}

static bool must_leave(struct tn_placement *p)
{
    if (p->stop_code != TN_OK)
        return true;
    if (tn_cancel_level(p->s->cancel) >= 1) {
        p->stop_code = TN_ECANCELLED;
    } else if (tn_mono_ms() >= tn_cancel_deadline(p->s->cancel)) {
        p->stop_code = TN_ETIMEOUT;
    } else if (p->spec.direction == TN_FORWARD && tn_lease_abort_asked(p->s->lease)) {
        p->verdict = TN_FAILED;
        p->aborted = true;
        p->cause = tn_strdup("abort was asked for");
        return true;
    }
    return p->stop_code != TN_OK;
}

/* Moves in flight are waited for: that is the safe point. Each of their calls has a deadline of its own and listens to
 * cancel, so all of them come back; to leave before them would leave them without a placement. */
static void land(struct tn_placement *p)
{
    while (p->in_flight > 0) {
        if (tn_wait_fd(NULL, "moves in flight", p->wake, INT64_MAX, NULL) < 0)
            continue;
        tn_placement_reap(p);
    }
}

/* A move that fails again and again for a reason that time does not heal. */
static bool gives_up(struct tn_placement *p)
{
    if (p->errors_in_a_row < HOPELESS_ERRORS || p->in_flight > 0)
        return false;
    p->verdict = TN_FAILED;
    p->cause = tn_format("%d moves failed in a row; the last: %s", p->errors_in_a_row,
                         p->last_error ? p->last_error : "?");
    struct tn_where w = {.service = p->goal->service, .cluster = p->goal->cluster};
    tn_session_tell(p->s, TN_EV_FAILED, &w, NULL, "%s", p->cause);
    return true;
}

static int do_traffic(void *arg, struct tn_error **err)
{
    struct tn_placement *p = arg;
    const struct tn_instance **add = tn_alloc((p->world.n + 1) * sizeof(const struct tn_instance *));
    struct tn_edge_change c = {.add = add, .exists = &p->world};
    for (size_t i = 0; i < p->world.n; i++)
        if (p->obs[i].state == TN_I_READY && tn_exposures_hold(p->s, &p->exposures, p->world.v[i].name))
            add[c.n_add++] = &p->world.v[i]; /* what stands in the file must answer, too */
    int rc = tn_exposures_apply(p->s, &p->exposures, &c, NULL, err);
    free(add);
    return rc;
}

/* A file of ours that the balancer does not run: a run before us was stopped between the file and the reload. Nothing
 * can be told of rotation until both agree again. */
static bool file_waits_for_reload(const struct tn_placement *p)
{
    for (size_t i = 0; i < p->views.n; i++)
        if (p->views.v[i].answered && !p->views.v[i].loaded && p->views.v[i].file_hash &&
            !p->views.v[i].foreign && !p->views.v[i].edited)
            return true;
    return false;
}

/* True when it did something, so that the world must be looked at again. */
static bool make_file_and_runtime_agree(struct tn_placement *p)
{
    struct tn_error *err = NULL;
    if (!p->spec.has_balancer || p->in_flight > 0 || tn_mono_ms() < p->hold_until ||
        !file_waits_for_reload(p))
        return false;
    struct tn_where w = {.service = p->goal->service, .cluster = p->goal->cluster};
    struct tn_effect e = {p->s, p->goal->placement, "weights", NULL, ++p->number, NULL};
    p->changed_something = true;
    if (tn_effect_run(&e, do_traffic, p, &err) >= 0) {
        tn_session_tell(p->s, TN_EV_NOTE, &w, NULL,
                        "the balancer's file was not loaded; file and runtime agree again");
        p->errors_in_a_row = 0;
    } else {
        tn_session_tell(p->s, TN_EV_WARNING, &w, NULL, "%s", tn_error_message(err));
        tn_placement_note_error(p, err);
    }
    tn_error_free(err);
    return true;
}

static bool step(struct tn_placement *p)
{
    struct tn_error *err = NULL;
    tn_placement_reap(p);
    if (tn_placement_look(p, &err) < 0) {
        p->stop_code = err->code;
        p->cause = tn_strdup(tn_error_message(err));
        tn_error_free(err);
        return false;
    }
    if (make_file_and_runtime_agree(p))
        return !must_leave(p) && !gives_up(p);
    tell_ready(p);
    struct tn_decision d;
    decide(p, &d);
    tell_world(p, &d);
    p->verdict = d.verdict;
    if (d.verdict == TN_FAILED)
        explain_failure(p, &d);
    if (d.verdict != TN_RUNNING || must_leave(p))
        return false;
    if (gives_up(p))
        return false;
    if (tn_mono_ms() >= p->hold_until)
        tn_placement_dispatch(p, &d);
    tell_wait(p, &d);
    int64_t until = tn_placement_next_look(p, tn_mono_ms());
    if (d.wait_until > 0 && d.wait_until < until)
        until = d.wait_until;
    if (tn_wait_fd(p->s->cancel, "the next look", p->wake, until, NULL) < 0)
        must_leave(p);
    return true;
}

/* Numbers go on where an earlier run stopped, also one of another machine: its effects stand on the instances. */
static void continue_numbers(struct tn_placement *p)
{
    tn_autofree char *prefix = tn_format("%s/%s/", p->s->rollout, p->goal->placement);
    for (size_t i = 0; i < p->world.n; i++) {
        const char *effect = p->world.v[i].effect;
        int64_t n = 0;
        if (effect && tn_starts_with(effect, prefix) && tn_parse_int(effect + strlen(prefix), &n) &&
            n > p->number)
            p->number = n;
    }
}

/* Weights and balancing keys of the plan, where no move has written them already. */
static void settle_traffic(struct tn_placement *p)
{
    struct tn_error *err = NULL;
    if (p->exposures.n == 0 || !p->goal->spec || !p->exposures.service || p->spec.direction == TN_BACK)
        return;
    int differs = tn_exposures_differ(p->s, &p->exposures, &p->world, &err);
    if (differs > 0) {
        struct tn_where w = {.service = p->goal->service, .cluster = p->goal->cluster};
        struct tn_effect e = {p->s, p->goal->placement, "weights", NULL, ++p->number, NULL};
        p->changed_something = true;
        differs = tn_effect_run(&e, do_traffic, p, &err);
        if (differs >= 0)
            tn_session_tell(p->s, TN_EV_NOTE, &w, NULL, "the balancer has the plan's weights and settings");
    }
    if (differs < 0) {
        tn_placement_note_error(p, err);
        p->verdict = p->stop_code == TN_OK ? TN_FAILED : TN_RUNNING;
        p->cause = tn_strdup(tn_error_message(err));
    }
    tn_error_free(err);
}

/* False also when its end is not known. */
static bool was_refused(const struct tn_records *all, const struct tn_record *intent)
{
    const struct tn_record *outcome = tn_effect_outcome(all, intent);
    return outcome && json_object_get(outcome->detail, "error");
}

/* Who was admitted, or may have been: from the journal, when this store has it. */
static void read_admitted(struct tn_placement *p)
{
    struct tn_records all = {0};
    if (p->number == 0 || tn_store_journal(p->s->store, p->s->rollout, &all, NULL) < 0)
        return;
    p->admitted = json_object();
    for (size_t i = 0; i < all.n; i++) {
        const struct tn_record *r = &all.v[i];
        size_t k;
        json_t *name;
        if (strcmp(r->placement, p->goal->placement) != 0 || strcmp(r->phase, "intent") != 0 ||
            strcmp(r->move, "admit") != 0 || was_refused(&all, r))
            continue;
        json_array_foreach(json_object_get(r->detail, "instances"), k, name)
        {
            json_object_set_new(p->admitted, json_string_value(name) ? json_string_value(name) : "",
                                json_true());
        }
    }
    tn_records_clear(&all);
}

void tn_placement_run(struct tn_placement *p)
{
    read_admitted(p);
    if (tn_placement_look(p, NULL) >= 0) {
        if (p->number > 0)
            tn_effect_probe_all(p, NULL); /* an earlier run left intents */
        continue_numbers(p);
    }
    while (step(p)) {
    }
    land(p);
    if (p->verdict == TN_DONE)
        settle_traffic(p);
}
