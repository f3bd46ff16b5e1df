/* The rules S-1 to S-5, judged from the true world. What the run could not see (a death since its look) is not held
 * against it: everything in a tick is looked at and judged in the same instant. */
#include <stddef.h>

#include "tests/sim/world.h"

static int floor_true(const struct sim_world *w)
{
    int f = w->spec.replicas - w->spec.max_unavailable;
    return w->spec.kind == TN_RECREATE || f < 0 ? 0 : f;
}

void sim_broke(struct sim_world *w, const char *rule)
{
    if (!w->broken)
        w->broken = rule;
}

static void judge_start(struct sim_world *w, uint32_t host)
{
    int exist = w->n_starts;
    for (int k = 0; k < SIM_MAX; k++)
        exist += w->v[k].exists;
    if (exist + 1 > w->spec.replicas + w->spec.max_surge)
        sim_broke(w, "S-4: started above replicas + max_surge");
    if (w->spec.kind == TN_RECREATE)
        for (int k = 0; k < SIM_MAX; k++)
            if (w->v[k].exists && w->v[k].revision != w->target)
                sim_broke(w, "recreate: started beside another revision");
    if (w->host_down[host])
        sim_broke(w, "started on a host that does not answer");
}

static int others_serving(const struct sim_world *w, const struct sim_thing *t)
{
    int serving = 0;
    for (int k = 0; k < SIM_MAX; k++) {
        const struct sim_thing *o = &w->v[k];
        bool leaving = o->busy == TN_BUSY_DRAIN || o->busy == TN_BUSY_STOP;
        serving += o != t && sim_serves(w, o) && !w->host_down[o->host] && !leaving;
    }
    return serving;
}

static void judge_stop(struct sim_world *w, const struct sim_thing *t)
{
    if (!w->spec.has_balancer)
        return;
    if (t->in_rotation)
        sim_broke(w, "S-3: stopped an instance that is in rotation");
    if (!t->failed && t->was_serving && w->now < t->drained_at && w->now < t->out_since + w->spec.drain_cap)
        sim_broke(w, "S-3: stopped before drained and before the cap");
}

static void judge_leave(struct sim_world *w, const struct sim_thing *t, bool stop)
{
    if (sim_serves(w, t) && others_serving(w, t) < floor_true(w))
        sim_broke(w, "S-1: took a serving instance below replicas - max_unavailable");
    if (stop)
        judge_stop(w, t);
    if (w->host_down[t->host])
        sim_broke(w, "touched an instance whose host does not answer");
}

static void judge_admit(struct sim_world *w, const struct sim_thing *t)
{
    int64_t least = w->spec.direction == TN_BACK ? 0 : w->spec.min_healthy_time;
    if ((!t->ready || t->failed) && !w->host_down[t->host])
        sim_broke(w, "S-2: admitted an instance that is not ready");
    if (w->now < t->ready_since + least)
        sim_broke(w, "S-3: admitted before min_healthy_time");
}

void sim_judge_move(struct sim_world *w, const struct tn_move *m, const int *index)
{
    if (m->kind == TN_MOVE_START) {
        judge_start(w, m->host);
        return;
    }
    const struct sim_thing *t = &w->v[index[m->instance]];
    if (t->busy != TN_IDLE && !t->busy_lost)
        sim_broke(w, "two moves at once on one instance");
    if (m->kind == TN_MOVE_DRAIN || m->kind == TN_MOVE_STOP)
        judge_leave(w, t, m->kind == TN_MOVE_STOP);
    if (m->kind == TN_MOVE_ADMIT)
        judge_admit(w, t);
}

void sim_judge_done(struct sim_world *w)
{
    int target = 0;
    for (int k = 0; k < SIM_MAX; k++) {
        const struct sim_thing *t = &w->v[k];
        if (!t->exists)
            continue;
        if (t->revision != w->target)
            sim_broke(w, "S-5: done, and another revision exists");
        else if (!sim_serves(w, t) || !t->settled)
            sim_broke(w, "S-5: done, and an instance does not serve");
        target++;
    }
    if (target != w->spec.replicas || w->n_starts)
        sim_broke(w, "S-5: done with another number of instances");
}
