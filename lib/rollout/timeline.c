/* The steps that the strategy will take: the same pure function against an ideal world, in which every instance is ready
 * a second after its start and drains at once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "turnout/mem.h"
#include "turnout/text.h"
#include "lib/rollout/changes.h"
#include "lib/rollout/placement.h"

enum {
    TICK = 50,
    READY_AFTER = 1000,
    MOVE_TAKES = 100,
    END = 24 * 3600 * 1000,
    MAX_ROWS = 200,
    MAX_THINGS = TN_MAX_INSTANCES
};

struct thing {
    struct tn_instance_obs o;
    int64_t ready_at, busy_until;
};
struct ideal {
    struct tn_strategy_spec spec;
    struct thing v[MAX_THINGS];
    struct tn_instance_obs seen[MAX_THINGS]; /* what the core is shown */
    int n, n_hosts;
    int64_t now;
    int moved[5]; /* since the last row, by kind */
};

static void begin(struct ideal *w, const struct tn_goal *g, const struct tn_observation *world)
{
    for (size_t i = 0; i < world->n && w->n < MAX_THINGS; i++) {
        const struct tn_instance *r = &world->v[i];
        if (!tn_streq(r->service, g->service) || r->state != TN_RUN_RUNNING)
            continue;
        w->v[w->n++].o = (struct tn_instance_obs){
            .host = (uint32_t)r->host,
            .target = g->spec && tn_streq(r->revision, g->revision) && tn_goal_secrets_fit(g, r->secrets) &&
                      !g->fresh,
            .settled = true,
            .was_serving = true,
            .state = TN_I_READY,
            .rotation = TN_IN,
            .started = w->now,
            .ready_since = 1,
        };
    }
}

static void finish(struct ideal *w, int k)
{
    struct thing *t = &w->v[k];
    switch (t->o.busy) {
    case TN_BUSY_ADMIT:
        t->o.rotation = TN_IN;
        t->o.was_serving = true;
        break;
    case TN_BUSY_SETTLE: t->o.settled = true; break;
    case TN_BUSY_DRAIN:
        t->o.rotation = TN_OUT;
        t->o.drained = true;
        break;
    case TN_BUSY_STOP: w->v[k] = w->v[--w->n]; return;
    case TN_BUSY_START:
    case TN_IDLE: break;
    }
    t->o.busy = TN_IDLE;
}

static void pass_time(struct ideal *w)
{
    for (int k = w->n - 1; k >= 0; k--) {
        struct thing *t = &w->v[k];
        if (t->o.state == TN_I_STARTING && w->now >= t->ready_at) {
            t->o.state = TN_I_READY;
            t->o.ready_since = w->now;
            if (!w->spec.has_balancer)
                t->o.rotation = TN_IN;
        }
        if (t->o.busy != TN_IDLE && w->now >= t->busy_until)
            finish(w, k);
    }
}

static void carry_out(struct ideal *w, const struct tn_decision *d)
{
    static const enum tn_busy busy[] = {TN_IDLE, TN_BUSY_ADMIT, TN_BUSY_SETTLE, TN_BUSY_DRAIN, TN_BUSY_STOP};
    for (int i = 0; i < d->n_moves; i++) {
        const struct tn_move *m = &d->moves[i];
        w->moved[m->kind]++;
        if (m->kind == TN_MOVE_START && w->n < MAX_THINGS) {
            w->v[w->n++] = (struct thing){
                .o = {.host = m->host, .target = true, .state = TN_I_STARTING, .started = w->now},
                .ready_at = w->now + READY_AFTER,
            };
        } else if (m->kind != TN_MOVE_START) {
            w->v[m->instance].o.busy = busy[m->kind];
            w->v[m->instance].busy_until = w->now + MOVE_TAKES;
        }
    }
}

static char *say_moves(struct ideal *w)
{
    char cap[32];
    tn_autobuf b = TN_BUF_INIT(512);
    static const enum tn_move_kind shown[] = {TN_MOVE_START, TN_MOVE_ADMIT, TN_MOVE_DRAIN, TN_MOVE_STOP};
    for (size_t i = 0; i < TN_COUNT(shown); i++) {
        if (!w->moved[shown[i]])
            continue;
        tn_buf_printf(&b, "%s%s %d", b.len ? ", " : "", tn_move_name(shown[i]), w->moved[shown[i]]);
        if (shown[i] == TN_MOVE_DRAIN)
            tn_buf_printf(&b, " (at most %s)", tn_format_duration(w->spec.drain_cap, cap, sizeof(cap)));
    }
    memset(w->moved, 0, sizeof(w->moved));
    return tn_buf_take(&b);
}

static void add_row(struct tn_change *c, struct ideal *w, const struct tn_setpoint *p)
{
    if (c->n_timeline == MAX_ROWS)
        return;
    c->timeline = tn_realloc_array(c->timeline, c->n_timeline + 1, sizeof(*c->timeline));
    c->timeline[c->n_timeline++] = (struct tn_timeline_row){
        .old_count = p->old_count,
        .new_count = p->new_count,
        .serving = p->available,
        .new_traffic_permille = p->new_traffic_permille,
        .text = say_moves(w),
        .at_ms = w->now,
    };
}

static bool same_setpoint(const struct tn_setpoint *a, const struct tn_setpoint *b)
{
    return a->old_count == b->old_count && a->new_count == b->new_count && a->available == b->available &&
           a->new_traffic_permille == b->new_traffic_permille;
}

void tn_change_timeline(const struct tn_session *s, const struct tn_goal *g,
                        const struct tn_observation *world, struct tn_change *c)
{
    struct ideal *w = tn_alloc(sizeof(*w));
    struct tn_decision *d = tn_alloc(sizeof(*d));
    struct tn_strategy_memo memo = {0};
    struct tn_setpoint last = {.old_count = -1};
    w->spec = tn_strategy_spec_for(g, TN_FORWARD);
    w->n_hosts = 1;
    for (size_t i = 0; i < s->plan->n_clusters; i++)
        if (strcmp(s->plan->clusters[i].name, g->cluster) == 0)
            w->n_hosts = (int)s->sites[i].provider->n_hosts;
    w->now = 1;
    begin(w, g, world);
    for (; w->now < END && d->verdict == TN_RUNNING; w->now += TICK) {
        pass_time(w);
        for (int k = 0; k < w->n; k++)
            w->seen[k] = w->v[k].o;
        struct tn_strategy_input in = {.spec = &w->spec,
                                       .v = w->seen,
                                       .n = w->n,
                                       .n_hosts = w->n_hosts,
                                       .now = w->now,
                                       .gates = TN_GATES_PASS};
        tn_strategy_next(&in, &memo, d);
        if (!same_setpoint(&d->setpoint, &last)) {
            last = d->setpoint;
            add_row(c, w, &d->setpoint);
            if (c->least_serving < 0 || d->setpoint.available < c->least_serving)
                c->least_serving = d->setpoint.available;
        }
        if (d->verdict == TN_RUNNING)
            carry_out(w, d);
    }
    c->expected_ms = w->now;
    free(w);
    free(d);
}
