#include "tests/sim/world.h"

#include <string.h>

static uint64_t rnd(struct sim_world *w)
{
    w->rng ^= w->rng << 13;
    w->rng ^= w->rng >> 7;
    w->rng ^= w->rng << 17;
    return w->rng;
}

int sim_below(struct sim_world *w, int n)
{
    if (w->script)
        return n <= 0 ? 0 : (n - 1) / 2;
    return n <= 0 ? 0 : (int)(rnd(w) % (uint64_t)n);
}

bool sim_chance(struct sim_world *w, int permille)
{
    return sim_below(w, 1000) < permille;
}

bool sim_fault(struct sim_world *w)
{
    return w->faults && sim_chance(w, w->fault_rate);
}

bool sim_serves(const struct sim_world *w, const struct sim_thing *t)
{
    return t->exists && t->ready && !t->failed && (t->in_rotation || !w->spec.has_balancer);
}

static struct sim_thing *free_place(struct sim_world *w)
{
    for (int k = 0; k < SIM_MAX; k++)
        if (!w->v[k].exists)
            return &w->v[k];
    return NULL;
}

void sim_make_old(struct sim_world *w, int revision, int n)
{
    for (int i = 0; i < n; i++) {
        struct sim_thing *t = free_place(w);
        if (!t)
            continue;
        *t = (struct sim_thing){.exists = true,
                                .ready = true,
                                .in_rotation = true,
                                .settled = true,
                                .revision = revision,
                                .host = (uint32_t)sim_below(w, w->n_hosts),
                                .started = 1,
                                .ready_at = 1,
                                .ready_since = 1,
                                .was_serving = true};
        if (revision == 1 && sim_chance(w, 500)) {
            t->in_rotation = t->settled = t->was_serving = false;
            t->ready = sim_chance(w, 500);
        }
    }
}

static void make_spec(struct sim_world *w)
{
    w->spec = (struct tn_strategy_spec){
        .kind = sim_chance(w, 150) ? TN_RECREATE : TN_ROLL,
        .replicas = sim_chance(w, 50) ? 0 : 1 + sim_below(w, 6),
        .max_unavailable = sim_below(w, 3),
        .max_surge = sim_below(w, 4),
        .max_failures = sim_below(w, 3),
        .has_balancer = sim_chance(w, 750),
        .min_healthy_time = sim_below(w, 4) * 300,
        .healthy_deadline = 3000 + sim_below(w, 5000),
        .progress_deadline = 12000 + sim_below(w, 20000),
        .delay = sim_chance(w, 200) ? 500 : 0,
        .drain_cap = 200 + sim_below(w, 2000),
    };
    if (w->spec.max_unavailable == 0 && w->spec.max_surge == 0)
        w->spec.max_surge = 1;
    if (w->spec.kind == TN_RECREATE)
        w->spec.max_surge = 0;
}

void sim_make_world(struct sim_world *w, uint64_t seed)
{
    memset(w, 0, sizeof(*w));
    w->rng = seed * 0x9e3779b97f4a7c15u + 0x1234567;
    for (int i = 0; i < 4; i++)
        rnd(w);
    w->now = 1000;
    w->n_hosts = 1 + sim_below(w, SIM_HOSTS);
    w->target = 2;
    make_spec(w);
    int old = sim_chance(w, 700) ? w->spec.replicas : sim_below(w, 7);
    if (sim_chance(w, 900))
        sim_make_old(w, 0, old);
    if (sim_chance(w, 200))
        sim_make_old(w, 1, 1 + sim_below(w, 3));
    if (sim_chance(w, 100))
        sim_make_old(w, 2, 1 + sim_below(w, 3)); /* a run before us got this far */
    w->fault_rate = sim_chance(w, 300) ? 0 : 2 + sim_below(w, 30);
    w->faults = w->fault_rate > 0;
    w->bad_candidate = sim_chance(w, 200);
}

void sim_begin_move(struct sim_world *w, const struct tn_move *m, const int *index)
{
    static const enum tn_busy busy[] = {TN_IDLE, TN_BUSY_ADMIT, TN_BUSY_SETTLE, TN_BUSY_DRAIN, TN_BUSY_STOP};
    w->moves++;
    if (m->kind == TN_MOVE_START) {
        if (w->n_starts < SIM_MAX)
            w->starts[w->n_starts++] =
                (struct sim_start){m->host, w->now + 50 + sim_below(w, 400), true, sim_fault(w)};
        return;
    }
    struct sim_thing *t = &w->v[index[m->instance]];
    t->counted = t->counted || (m->kind == TN_MOVE_STOP && t->revision == w->target);
    t->busy = busy[m->kind];
    t->busy_lost = false;
    t->busy_until = w->now + 20 + sim_below(w, 300);
}

void sim_finish_move(struct sim_world *w, struct sim_thing *t, bool lost)
{
    enum tn_busy what = t->busy;
    t->busy = TN_IDLE;
    t->busy_lost = false;
    if (lost || !t->exists)
        return; /* it failed: the next look shows the old state */
    if (what == TN_BUSY_ADMIT && !t->failed) {
        t->in_rotation = t->was_serving = true;
    } else if (what == TN_BUSY_SETTLE) {
        t->settled = true;
    } else if (what == TN_BUSY_DRAIN) {
        t->in_rotation = t->settled = false;
        t->out_since = w->now;
        t->drained_at = w->now + sim_below(w, 3000);
    } else if (what == TN_BUSY_STOP) {
        *t = (struct sim_thing){0};
    }
}

static void finish_start(struct sim_world *w, int s)
{
    struct sim_start p = w->starts[s];
    w->starts[s] = w->starts[--w->n_starts];
    if (p.fails)
        return;
    struct sim_thing *t = free_place(w);
    if (!t) {
        sim_broke(w, "more instances than the model holds");
        return;
    }
    bool bad = w->target == 2 && w->bad_candidate;
    *t = (struct sim_thing){.exists = true,
                            .revision = w->target,
                            .host = p.host,
                            .started = w->now,
                            .ready_at = w->now + 100 + sim_below(w, 1500),
                            .doomed = bad || sim_fault(w)};
    if (bad && sim_chance(w, 300)) {
        t->doomed = false;
        t->dies_at = w->now + sim_below(w, 4000);
    }
}

static void become_ready(struct sim_world *w, struct sim_thing *t)
{
    if (t->ready || t->failed || t->doomed || w->now < t->ready_at)
        return;
    t->ready = true;
    t->ready_since = w->now;
    t->was_serving = t->was_serving || !w->spec.has_balancer;
}

static void suffer(struct sim_world *w, struct sim_thing *t)
{
    if ((t->dies_at && w->now >= t->dies_at) || (sim_fault(w) && sim_chance(w, 100)))
        t->failed = true, t->ready = false;
    else if (t->ready && sim_fault(w) && sim_chance(w, 200))
        t->ready = false, t->ready_at = w->now + sim_below(w, 1000);
    if (sim_fault(w) && sim_chance(w, 20))
        *t = (struct sim_thing){0}; /* somebody removed it */
}

static bool goes_down(struct sim_world *w, bool is_down)
{
    return w->faults && (is_down ? sim_chance(w, 900) : sim_fault(w) && sim_chance(w, 200));
}

static void pass_time_outside(struct sim_world *w)
{
    for (int h = 0; h < w->n_hosts; h++)
        w->host_down[h] = goes_down(w, w->host_down[h]);
    w->balancer_down = goes_down(w, w->balancer_down);
    if (w->gates == TN_GATES_PENDING)
        w->gates = TN_GATES_PASS;
    if (sim_fault(w) && sim_chance(w, 100))
        w->gates = sim_chance(w, 700) ? TN_GATES_PENDING : TN_GATES_FAIL;
}

/* The world moves on by itself. */
void sim_pass_time(struct sim_world *w)
{
    for (int k = 0; k < SIM_MAX; k++) {
        struct sim_thing *t = &w->v[k];
        if (t->exists && t->busy != TN_IDLE && w->now >= t->busy_until)
            sim_finish_move(w, t, sim_fault(w));
        if (!t->exists)
            continue;
        become_ready(w, t);
        suffer(w, t);
    }
    for (int s = w->n_starts - 1; s >= 0; s--)
        if (w->now >= w->starts[s].at)
            finish_start(w, s);
    if (w->script)
        sim_script_apply(w);
    else
        pass_time_outside(w);
}

static bool happens_now(struct sim_world *w, int happens)
{
    return happens < 0 ? sim_chance(w, 500) : happens > 0;
}

/* The memo may be one save behind. */
void sim_restart_run(struct sim_world *w, int happens)
{
    for (int k = 0; k < SIM_MAX; k++) {
        struct sim_thing *t = &w->v[k];
        if (t->busy != TN_IDLE) {
            if (happens_now(w, happens))
                sim_finish_move(w, t, sim_fault(w));
            t->busy = TN_IDLE; /* the old run is dead before the next one begins: the lease sees to it */
        }
        t->counted = false;
        if (t->exists && t->ready)
            t->ready_since = w->now; /* clocks of the old process are gone */
    }
    while (w->n_starts > 0) {
        if (happens_now(w, happens))
            finish_start(w, 0);
        else
            w->starts[0] = w->starts[--w->n_starts];
    }
    w->memo = w->saved;
}
