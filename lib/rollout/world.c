/* One look at a placement: instances from the engine, traffic from the balancers, our own probes; and what follows from
 * them for each instance. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "turnout/clock.h"
#include "turnout/json.h"
#include "turnout/mem.h"
#include "turnout/text.h"
#include "lib/rollout/placement.h"

enum { FIRST_PROBE = 20, HOPELESS_ANSWERS = 3, HOPELESS_AGE = 2000, LOOK_EVERY = 250, LOOK_SOON = 25 };

struct tn_tracked *tn_placement_tracked(struct tn_placement *p, const char *name)
{
    for (size_t i = 0; i < p->n_tracked; i++)
        if (strcmp(p->tracked[i].name, name) == 0)
            return &p->tracked[i];
    TN_GROW(p->tracked, p->n_tracked, p->cap_tracked);
    struct tn_tracked *t = &p->tracked[p->n_tracked++];
    memset(t, 0, sizeof(*t));
    t->name = tn_strdup(name);
    return t;
}

const struct tn_instance *tn_placement_instance(const struct tn_placement *p, const char *name)
{
    for (size_t i = 0; i < p->world.n; i++)
        if (strcmp(p->world.v[i].name, name) == 0)
            return &p->world.v[i];
    return NULL;
}

/* ---- engine ---- */

static int look_at_engine(struct tn_placement *p, struct tn_error **err)
{
    struct tn_observation all = {0};
    int rc = tn_site_observe(p->s, p->site, &all, err);
    if (rc < 0) {
        tn_observation_clear(&all);
        return rc;
    }
    tn_observation_clear(&p->world);
    for (size_t i = 0; i < all.n; i++) {
        if (!tn_streq(all.v[i].service, p->goal->service))
            continue;
        TN_GROW(p->world.v, p->world.n, p->world.cap);
        p->world.v[p->world.n++] = tn_instance_copy(&all.v[i]);
    }
    tn_observation_clear(&p->all);
    p->all = all;
    for (size_t h = 0; h < p->site->provider->n_hosts; h++)
        p->host_down[h] = h < all.n_hosts && !all.hosts[h].answered;
    return TN_OK;
}

/* A name may be given again; what was known of its last bearer must not be. */
static void forget(struct tn_tracked *t)
{
    char *name = t->name;
    enum tn_busy busy = t->busy;
    bool by_this_run = t->by_this_run && busy == TN_BUSY_START;
    tn_service_free_spec(t->spec);
    free(t->effect);
    *t = (struct tn_tracked){.name = name, .busy = busy, .by_this_run = by_this_run};
}

static void first_sight(struct tn_placement *p, struct tn_tracked *t, const struct tn_instance *i,
                        int64_t now)
{
    t->first_seen = now;
    t->out_since = now;
    t->effect = tn_strdup(i->effect);
    t->secrets_fit = tn_streq(i->revision, p->goal->revision) && tn_goal_secrets_fit(p->goal, i->secrets);
    bool ours = tn_streq(i->rollout, p->s->rollout);
    if (ours && p->admitted && !json_object_get(p->admitted, i->name))
        t->by_this_run = true; /* of an earlier part of this run, and no balancer was told of it */
    /* What was there before this run counts as having served: its last requests are waited for. */
    t->was_serving = t->was_serving || !t->by_this_run;
    t->settled = i->restart_policy
                     ? strcmp(i->restart_policy, p->goal->typed ? p->goal->typed->restart : "no") == 0
                     : !ours;
    json_t *spec = i->spec ? json_loads(i->spec, 0, NULL) : NULL;
    t->spec = spec ? tn_service_from_spec(p->goal->service, spec, NULL) : NULL;
    json_decref(spec);
}

/* A start may have taken another name than it set out with. */
static void mark_starting(struct tn_placement *p)
{
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->n_names; i++) {
        struct tn_tracked *t = tn_placement_tracked(p, p->names[i]);
        if (t->busy == TN_IDLE) {
            t->busy = TN_BUSY_START;
            t->by_this_run = true;
        }
    }
    pthread_mutex_unlock(&p->lock);
}

static void forget_absent(struct tn_placement *p, int64_t now)
{
    mark_starting(p);
    for (size_t i = 0; i < p->n_tracked; i++)
        p->tracked[i].present = false;
    for (size_t i = 0; i < p->world.n; i++) {
        struct tn_tracked *t = tn_placement_tracked(p, p->world.v[i].name);
        t->present = true;
        if (t->first_seen != 0 && !tn_streq(t->effect, p->world.v[i].effect)) {
            forget(t);
            t->present = true;
            t->by_this_run = tn_streq(p->world.v[i].rollout, p->s->rollout);
        }
        if (t->first_seen == 0)
            first_sight(p, t, &p->world.v[i], now);
    }
    for (size_t i = 0; i < p->n_tracked; i++)
        if (!p->tracked[i].present && p->tracked[i].first_seen != 0 && p->tracked[i].busy == TN_IDLE)
            forget(&p->tracked[i]);
}

/* ---- probes ---- */

static const struct tn_health *health_of(const struct tn_placement *p, const struct tn_tracked *t)
{
    return t->spec ? &t->spec->health : p->goal->typed ? &p->goal->typed->health : NULL;
}

static bool probed_by_us(const struct tn_placement *p, const struct tn_health *h)
{
    if (!h || h->kind == TN_HEALTH_NONE || h->kind == TN_HEALTH_NATIVE)
        return false;
    return h->kind != TN_HEALTH_CMD ||
           p->site->config->kind != TN_CLUSTER_DOCKER; /* there the engine runs it */
}

struct probe_job {
    struct tn_placement *p;
    struct tn_tracked *t;
    const struct tn_instance *i;
    const struct tn_health *h;
    struct tn_probe_answer answer;
};

static void probe_command(struct probe_job *j)
{
    struct tn_run_result r = {0};
    struct tn_error *e = NULL;
    struct tn_provider *pr = j->p->site->provider;
    int rc =
        pr->ops->exec(pr, j->p->s->cancel, j->i, (const char *const *)j->h->cmd.argv, j->h->timeout, &r, &e);
    j->answer.result = rc >= 0 && r.exit_code == 0 ? TN_PROBE_PASS : TN_PROBE_FAIL;
    snprintf(j->answer.text, sizeof(j->answer.text), "command '%s' -> %s", j->h->cmd.argv[0],
             rc < 0             ? tn_error_message(e)
             : r.exit_code == 0 ? "0"
                                : "failed");
    tn_error_free(e);
    tn_run_result_clear(&r);
}

static void run_probe(void *arg)
{
    struct probe_job *j = arg;
    int port = tn_instance_port(j->i, j->h->port);
    const char *address = j->i->address ? j->i->address : "127.0.0.1";
    if (j->h->kind == TN_HEALTH_CMD) {
        probe_command(j);
    } else if (port == 0) {
        j->answer.result = TN_PROBE_HOPELESS;
        snprintf(j->answer.text, sizeof(j->answer.text), "it publishes no port '%s'",
                 j->h->port ? j->h->port : "");
    } else if (j->h->kind == TN_HEALTH_TCP) {
        tn_probe_tcp(j->p->s->cancel, address, port, j->h->timeout, &j->answer);
    } else {
        tn_autofree char *url = strchr(address, ':')
                                    ? tn_format("http://[%s]:%d%s", address, port, j->h->http)
                                    : tn_format("http://%s:%d%s", address, port, j->h->http);
        tn_probe_http(j->p->s->http, j->p->s->cancel, url, j->h->expect, NULL, j->h->timeout, &j->answer);
    }
}

/* Young instances are asked more often: a quarter of their age, from 20 ms up to the plan's interval. */
static int64_t probe_pause(const struct tn_tracked *t, const struct tn_health *h, int64_t now)
{
    if (t->ready)
        return h->interval;
    int64_t pause = (now - t->first_seen) / 4;
    pause = pause < FIRST_PROBE ? FIRST_PROBE : pause;
    return pause > h->interval ? h->interval : pause;
}

static void take_answer(struct tn_tracked *t, const struct tn_health *h, const struct tn_probe_answer *a,
                        int64_t now)
{
    t->answer = *a;
    bool pass = a->result == TN_PROBE_PASS;
    t->passes = pass ? t->passes + 1 : 0;
    t->failures = pass ? 0 : t->failures + 1;
    t->hopeless_count = a->result == TN_PROBE_HOPELESS ? t->hopeless_count + 1 : 0;
    if (!t->ready && t->passes >= h->healthy_after) {
        t->ready = true;
        t->ready_since = now;
    } else if (t->ready && t->failures >= h->unhealthy_after) {
        t->ready = false;
    }
    int64_t patience = h->start_period > HOPELESS_AGE ? h->start_period : HOPELESS_AGE;
    if (!t->was_serving && t->hopeless_count >= HOPELESS_ANSWERS && now - t->first_seen >= patience)
        t->hopeless = true;
    t->next_probe = now + probe_pause(t, h, now);
}

static void probe_all(struct tn_placement *p, int64_t now)
{
    struct probe_job *jobs = tn_alloc((p->world.n + 1) * sizeof(*jobs));
    void **args = tn_alloc((p->world.n + 1) * sizeof(*args));
    size_t n = 0;
    for (size_t k = 0; k < p->world.n; k++) {
        const struct tn_instance *i = &p->world.v[k];
        struct tn_tracked *t = tn_placement_tracked(p, i->name);
        const struct tn_health *h = health_of(p, t);
        if (i->state != TN_RUN_RUNNING || !probed_by_us(p, h) || now < t->next_probe ||
            t->busy == TN_BUSY_STOP)
            continue;
        jobs[n] = (struct probe_job){.p = p, .t = t, .i = i, .h = h};
        args[n] = &jobs[n];
        n++;
    }
    if (n)
        tn_pool_map(p->s->probes, run_probe, args, n);
    now = tn_mono_ms();
    for (size_t k = 0; k < n; k++)
        take_answer(jobs[k].t, jobs[k].h, &jobs[k].answer, now);
    free(jobs);
    free(args);
}

/* Readiness without a probe of ours. */
static void judge_by_engine(struct tn_placement *p, struct tn_tracked *t, const struct tn_instance *i,
                            int64_t now)
{
    const struct tn_health *h = health_of(p, t);
    if (h && h->kind == TN_HEALTH_NATIVE && i->state == TN_RUN_RUNNING && i->health == TN_NATIVE_NONE &&
        !p->told_no_health) {
        struct tn_where w = {p->goal->service, p->goal->cluster, i->name};
        p->told_no_health = true;
        tn_session_tell(p->s, TN_EV_WARNING, &w, NULL,
                        "%s has no health check of its own: that it runs counts as ready", i->name);
    }
    bool ok = i->state == TN_RUN_RUNNING && (i->health == TN_NATIVE_NONE || i->health == TN_NATIVE_HEALTHY);
    if (ok && !t->ready)
        t->ready_since = now;
    t->ready = ok;
}

/* ---- obs ---- */

/* Made and never started by a run that was cut short: nobody will start it any more. */
static bool is_stale(const struct tn_instance *i, const struct tn_tracked *t)
{
    return i->state == TN_RUN_CREATED && t->busy != TN_BUSY_START;
}

static bool is_target(const struct tn_placement *p, const struct tn_instance *i, const struct tn_tracked *t)
{
    if (!p->goal->spec || !tn_streq(i->revision, p->goal->revision))
        return false;
    bool ours = tn_streq(i->rollout, p->s->rollout);
    if (p->goal->fresh && !ours && p->spec.direction == TN_FORWARD)
        return false;
    if (i->state == TN_RUN_EXITED && !ours && !t->by_this_run)
        return false; /* it had died before: replaced, and nobody's failure */
    if (is_stale(i, t))
        return false;
    return t->secrets_fit;
}

static enum tn_instance_state state_of(const struct tn_placement *p, const struct tn_instance *i,
                                       const struct tn_tracked *t, bool target)
{
    if (i->state == TN_RUN_UNKNOWN || p->host_down[i->host])
        return TN_I_UNKNOWN;
    if (t->busy == TN_BUSY_START)
        return TN_I_STARTING; /* its start is still at work, perhaps at another port */
    if (i->state == TN_RUN_EXITED || is_stale(i, t) || t->hopeless ||
        (target && i->health == TN_NATIVE_UNHEALTHY))
        return TN_I_FAILED;
    if (target && t->told_ready && !t->ready && !t->settled && t->by_this_run)
        return TN_I_FAILED; /* it was ready, and is not any more, before it was confirmed */
    return t->ready ? TN_I_READY : TN_I_STARTING;
}

static enum tn_rotation rotation_of(struct tn_placement *p, const struct tn_instance *i,
                                    const struct tn_tracked *t, bool target, bool ready)
{
    if (!p->spec.has_balancer)
        return ready ? TN_IN : TN_OUT;
    enum tn_tri r = tn_exposures_rotation(&p->exposures, &p->views, i->name, target ? TN_NO : TN_YES);
    if (r == TN_CANNOT_TELL && t->by_this_run && !t->was_serving && t->busy != TN_BUSY_ADMIT)
        r = TN_NO; /* nobody ever told a balancer of it */
    return r == TN_YES ? TN_IN : r == TN_NO ? TN_OUT : TN_ROTATION_UNKNOWN;
}

/* For the twins of the traffic tests, which must lose: one safety step switched off. Not in the released program. */
static bool is_unsafe(const char *step)
{
#ifdef TN_FAKE
    const char *steps = getenv("TURNOUT_UNSAFE");
    return steps && strstr(steps, step);
#else
    (void)step;
    return false;
#endif
}

static void fill_one(struct tn_placement *p, size_t k, int64_t now)
{
    const struct tn_instance *i = &p->world.v[k];
    struct tn_tracked *t = tn_placement_tracked(p, i->name);
    bool target = is_target(p, i, t);
    enum tn_instance_state state = state_of(p, i, t, target);
    enum tn_rotation rotation = rotation_of(p, i, t, target, state == TN_I_READY);
    if (is_unsafe("stop-first") && !target)
        rotation = TN_OUT;
    if (rotation == TN_IN) {
        t->was_serving = true;
        t->out_since = now;
    }
    int64_t running = 0;
    bool drained = rotation == TN_OUT && p->spec.has_balancer && t->was_serving &&
                   tn_exposures_drained(p->s, &p->exposures, &p->views, i, &running) == TN_YES;
    p->obs[k] = (struct tn_instance_obs){
        .host = (uint32_t)i->host,
        .target = target,
        .settled = t->settled,
        .drained = drained || i->state == TN_RUN_EXITED || is_unsafe("no-drain"),
        .was_serving = t->was_serving,
        .counted = t->counted,
        .state = state,
        .rotation = rotation,
        .busy = t->busy,
        .started = t->first_seen,
        .ready_since = t->ready_since,
        .out_since = t->out_since,
    };
}

static void fill_obs(struct tn_placement *p, int64_t now)
{
    for (size_t k = 0; k < p->world.n; k++)
        fill_one(p, k, now);
    p->n_obs = (int)p->world.n;
}

int tn_placement_look(struct tn_placement *p, struct tn_error **err)
{
    int rc = look_at_engine(p, err);
    if (rc < 0)
        return rc;
    if (p->world.n > TN_MAX_INSTANCES)
        return tn_error_set(err, TN_ELIMIT, "service '%s' has %zu instances, more than %d", p->goal->service,
                            p->world.n, TN_MAX_INSTANCES);
    int64_t now = tn_mono_ms();
    forget_absent(p, now);
    for (size_t k = 0; k < p->world.n; k++) {
        struct tn_tracked *t = tn_placement_tracked(p, p->world.v[k].name);
        if (!probed_by_us(p, health_of(p, t)))
            judge_by_engine(p, t, &p->world.v[k], now);
        else if (p->world.v[k].state != TN_RUN_RUNNING)
            t->ready = false;
    }
    probe_all(p, now);
    tn_edge_views_clear(&p->views);
    if (p->spec.has_balancer)
        tn_exposures_observe(p->s, &p->exposures, &p->views);
    p->balancer_unknown = p->spec.has_balancer && !p->views.all_answered;
    fill_obs(p, tn_mono_ms());
    return TN_OK;
}

static int64_t probe_due(const struct tn_tracked *t, int64_t now)
{
    if (!t->present || t->ready)
        return INT64_MAX;
    return t->next_probe > 0 ? t->next_probe : now + LOOK_SOON;
}

static bool something_drains(const struct tn_placement *p)
{
    for (int k = 0; k < p->n_obs; k++)
        if (p->obs[k].rotation == TN_OUT && p->obs[k].was_serving)
            return true;
    return false;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t tn_placement_next_look(const struct tn_placement *p, int64_t now)
{
    int64_t at = now + (something_drains(p) ? LOOK_SOON : LOOK_EVERY);
    for (size_t i = 0; i < p->n_tracked; i++)
        at = earlier(at, probe_due(&p->tracked[i], now));
    for (size_t i = 0; i < p->n_gates; i++)
        at = earlier(at, p->gates[i].next > 0 ? p->gates[i].next : at);
    return at < now + 5 ? now + 5 : at;
}

/* ---- gates ---- */

static void run_gate(struct tn_placement *p, struct tn_gate_state *g)
{
    const struct tn_gate *gate = g->gate;
    if (gate->kind == TN_GATE_HTTP) {
        tn_probe_http(p->s->http, p->s->cancel, gate->url, gate->expect, gate->body, gate->timeout,
                      &g->answer);
    } else if (gate->kind == TN_GATE_TCP) {
        const char *colon = strrchr(gate->tcp, ':');
        tn_autofree char *address = tn_strndup(gate->tcp, colon ? (size_t)(colon - gate->tcp) : 0);
        tn_probe_tcp(p->s->cancel, address, colon ? (int)strtol(colon + 1, NULL, 10) : 0, gate->timeout,
                     &g->answer);
    } else {
        struct tn_run_result r = {0};
        struct tn_error *e = NULL;
        struct tn_host *h = tn_host_local();
        int rc =
            h->ops->run(h, p->s->cancel, (const char *const *)gate->cmd.argv, NULL, gate->timeout, &r, &e);
        g->answer.result = rc >= 0 && r.exit_code == 0 ? TN_PROBE_PASS : TN_PROBE_FAIL;
        g->answer.answered = rc >= 0;
        snprintf(g->answer.text, sizeof(g->answer.text), "command '%s' -> %s%.120s", gate->cmd.argv[0],
                 rc < 0             ? tn_error_message(e)
                 : r.exit_code == 0 ? "0 "
                                    : "failed: ",
                 r.err_text.data ? r.err_text.data : "");
        tn_error_free(e);
        tn_run_result_clear(&r);
        tn_host_free(h);
    }
}

static void judge_gate(struct tn_placement *p, struct tn_gate_state *g, int64_t now)
{
    bool pass = g->answer.result == TN_PROBE_PASS;
    g->passes = pass ? g->passes + 1 : 0;
    g->failures += !pass && g->answer.answered;
    g->errors = g->answer.answered ? 0 : g->errors + 1; /* in a row */
    g->next = now + g->gate->interval;
    g->failed = g->failures > g->gate->failure_limit || g->errors > g->gate->error_limit;
    struct tn_where w = {.service = p->goal->service, .cluster = p->goal->cluster};
    tn_session_tell(p->s, TN_EV_GATE, &w, json_pack("{s:s,s:b}", "gate", g->gate->name, "pass", pass),
                    "%s: %s (%s)", g->gate->name, pass ? "passes" : "fails", g->answer.text);
}

/* Gates watch from the first candidate that gets traffic on; they hold back what serves until each passed `count`
 * times in a row. */
enum tn_gates_state tn_placement_gates(struct tn_placement *p)
{
    if (p->n_gates == 0 || p->spec.direction == TN_BACK)
        return TN_GATES_PASS;
    bool candidate = false;
    for (int k = 0; k < p->n_obs; k++)
        candidate = candidate || (p->obs[k].target && p->obs[k].rotation == TN_IN);
    if (!candidate)
        return TN_GATES_PENDING;
    enum tn_gates_state all = TN_GATES_PASS;
    for (size_t i = 0; i < p->n_gates; i++) {
        struct tn_gate_state *g = &p->gates[i];
        if (tn_mono_ms() >= g->next) {
            run_gate(p, g);
            judge_gate(p, g, tn_mono_ms());
        }
        if (g->failed)
            return TN_GATES_FAIL;
        if (g->passes < g->gate->count)
            all = TN_GATES_PENDING;
    }
    return all;
}

/* ---- for people ---- */

static const char *state_word(const struct tn_instance_obs *o, const struct tn_instance *i)
{
    if (o->busy == TN_BUSY_STOP)
        return "stopping";
    if (o->state == TN_I_UNKNOWN)
        return "unknown";
    if (o->state == TN_I_FAILED)
        return i->state == TN_RUN_EXITED ? "exited" : "failed";
    if (o->state == TN_I_STARTING)
        return i->state == TN_RUN_CREATED ? "created" : "checking";
    if (o->rotation == TN_IN)
        return "serving";
    return o->was_serving ? "draining" : "ready";
}

json_t *tn_placement_snapshot(const struct tn_placement *p)
{
    json_t *list = json_array();
    for (int k = 0; k < p->n_obs; k++) {
        const struct tn_instance *i = &p->world.v[k];
        const struct tn_instance_obs *o = &p->obs[k];
        const struct tn_tracked *t = NULL;
        for (size_t n = 0; n < p->n_tracked && !t; n++)
            if (strcmp(p->tracked[n].name, i->name) == 0)
                t = &p->tracked[n];
        json_t *one = json_pack("{s:s,s:s,s:b,s:I}", "host", p->site->provider->host_names[i->host], "state",
                                state_word(o, i), "new", o->target, "started_at", (json_int_t)i->started_at);
        json_object_set_new(one, "name", tn_json_text(i->name));
        json_object_set_new(one, "revision", tn_json_text(i->revision));
        if (t && t->answer.text[0])
            json_object_set_new(one, "probe", tn_json_text(t->answer.text));
        json_array_append_new(list, one);
    }
    return list;
}
