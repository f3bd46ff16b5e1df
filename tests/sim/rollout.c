#include <inttypes.h>
#include <stdio.h>

#include "tests/sim/world.h"

static enum tn_rotation rotation_of(const struct sim_world *w, const struct sim_thing *t)
{
    if (w->spec.has_balancer)
        return t->in_rotation ? TN_IN : TN_OUT;
    return t->ready && !t->failed ? TN_IN : TN_OUT;
}

static void look_at(const struct sim_world *w, const struct sim_thing *t, struct tn_instance_obs *o)
{
    *o = (struct tn_instance_obs){
        .host = t->host,
        .target = t->revision == w->target && !(t->failed && t->started <= 1),
        .settled = t->settled,
        .was_serving = t->was_serving,
        .counted = t->counted,
        .state = t->failed  ? TN_I_FAILED
                 : t->ready ? TN_I_READY
                            : TN_I_STARTING,
        .rotation = rotation_of(w, t),
        .drained = !t->in_rotation && (t->failed || w->now >= t->drained_at),
        .busy = t->busy_lost ? TN_IDLE : t->busy,
        .started = t->started,
        .ready_since = t->ready_since,
        .out_since = t->out_since,
    };
    if (w->host_down[t->host]) {
        o->state = TN_I_UNKNOWN;
        if (!w->spec.has_balancer)
            o->rotation = TN_ROTATION_UNKNOWN;
    }
    if (w->balancer_down && w->spec.has_balancer) {
        o->rotation = TN_ROTATION_UNKNOWN;
        o->drained = false;
    }
}

/* What the run sees. index[] leads from the observation back to the thing. */
static int look(const struct sim_world *w, struct tn_instance_obs *v, int *index)
{
    int n = 0;
    for (int k = 0; k < SIM_MAX; k++) {
        if (!w->v[k].exists)
            continue;
        look_at(w, &w->v[k], &v[n]);
        index[n++] = k;
    }
    return n;
}

static void look_and_decide(struct sim_world *w, struct tn_decision *d, int *index)
{
    struct tn_instance_obs v[SIM_MAX];
    uint32_t start_hosts[SIM_MAX];
    for (int i = 0; i < w->n_starts; i++)
        start_hosts[i] = w->starts[i].host;
    struct tn_strategy_input in = {
        .spec = &w->spec,
        .v = v,
        .n = look(w, v, index),
        .n_hosts = w->n_hosts,
        .host_down = w->host_down,
        .start_hosts = start_hosts,
        .starts = w->n_starts,
        .balancer_unknown = w->balancer_down && w->spec.has_balancer,
        .gates = w->gates,
        .now = w->now,
    };
    w->saved = w->memo;
    tn_strategy_next(&in, &w->memo, d);
}

/* Turns the run round, as the executor does: back to the oldest revision there was. */
static void turn_round(struct sim_world *w)
{
    w->target = 0;
    w->spec.direction = TN_BACK;
    w->memo = (struct tn_strategy_memo){0};
    w->gates = TN_GATES_PASS;
    for (int k = 0; k < SIM_MAX; k++) {
        w->v[k].counted = false;
        if (w->v[k].busy != TN_IDLE)
            sim_finish_move(w, &w->v[k], sim_fault(w));
    }
}

/* A way back that fails is recorded as mixed while something is wrong with the world, and shortly after. */
static enum sim_outcome rollback_failed(struct sim_world *w)
{
    if (!w->script && (w->faults || w->now < SIM_FAULT_END + 60000))
        return SIM_MIXED;
    sim_broke(w, "L-1: a rollback failed without a fault");
    return SIM_BROKEN;
}

static void show(const struct sim_world *w, const struct tn_decision *d)
{
    printf("%6" PRId64 " old %d new %d available %d verdict %d failure %d moves %d wait %s\n", w->now,
           d->setpoint.old_count, d->setpoint.new_count, d->setpoint.available, d->verdict, d->failure,
           d->n_moves, tn_wait_name(d->wait));
}

static void carry_out(struct sim_world *w, const struct tn_decision *d, const int *index)
{
    if (d->n_moves == 0 && d->wait == TN_WAIT_NOTHING)
        sim_broke(w, "L-1: nothing to do, nothing to wait for, and not done");
    for (int i = 0; i < d->n_moves; i++) {
        sim_judge_move(w, &d->moves[i], index);
        sim_begin_move(w, &d->moves[i], index);
    }
}

static void one_tick(struct sim_world *w)
{
    if (w->now >= SIM_FAULT_END && w->faults) {
        w->faults = false;
        w->gates = TN_GATES_PASS;
    }
    sim_pass_time(w);
    if (sim_fault(w) && sim_chance(w, 100))
        sim_restart_run(w, -1);
}

enum sim_outcome sim_run(struct sim_world *w, bool verbose)
{
    for (; w->now < SIM_LIVE_END && !w->broken; w->now += SIM_TICK) {
        struct tn_decision d;
        int index[SIM_MAX];
        one_tick(w);
        look_and_decide(w, &d, index);
        if (verbose)
            show(w, &d);
        if (d.verdict == TN_DONE) {
            sim_judge_done(w);
            return w->broken ? SIM_BROKEN : w->target == 2 ? SIM_ALL_NEW : SIM_ALL_OLD;
        }
        if (d.verdict == TN_FAILED && w->target == 0)
            return rollback_failed(w);
        if (d.verdict == TN_FAILED)
            turn_round(w);
        else
            carry_out(w, &d, index);
    }
    sim_broke(w, "L-1: no terminal state");
    return SIM_BROKEN;
}
