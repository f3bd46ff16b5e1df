/* sim_strategy.c - the pure core against random worlds.
 *
 * Each seed makes a spec, a world (instances of up to three revisions on up to four hosts) and faults: instances that
 * die, never start, flap, vanish; moves that answer late, twice or not at all; hosts and a balancer that do not answer;
 * restarts of the run in the middle (what was in flight is lost or happens anyway, the memo survives or is one step
 * old). First a phase with faults in which the safety rules are judged by the world itself, then a phase without in
 * which a terminal state must come within a bounded time.
 *
 * The judge counts on its own, from the true world; it shares no counter with the core.
 *
 *   sim_strategy [--rollouts N] [--seed S] [--one SEED] [--verbose]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "turnout/strategy.h"

enum { MAX = 24, HOSTS = 4, TICK = 100, FAULT_END = 20000, LIVE_END = 400000 };

/* The truth about one instance. */
struct thing {
    bool exists, ready, failed, in_rotation, settled, doomed /* never becomes ready */;
    int revision; /* 0 = old, 1 = half-finished, 2 = new */
    uint32_t host;
    int64_t started, ready_at, ready_since, out_since, drained_at, dies_at;
    bool was_serving;
    enum tn_busy busy; /* a move of the run in flight */
    int64_t busy_until;
    bool busy_lost; /* the run died: the move happens, nobody hears of it */
};
struct pending_start {
    uint32_t host;
    int64_t at;
    bool counted; /* the run still knows that it is in flight */
    bool fails;
};
struct world {
    uint64_t rng;
    struct thing v[MAX];
    struct pending_start starts[MAX];
    int n_starts;
    bool host_down[HOSTS];
    bool balancer_down;
    int n_hosts;
    int target; /* wanted revision */
    int64_t now;
    bool faults;
    int fault_rate; /* permille */
    bool bad_candidate;
    struct tn_strategy_spec spec;
    struct tn_strategy_memo memo, saved;
    enum tn_gates_state gates;
    const char *broken; /* the rule that was broken */
    int64_t moves;
};

static uint64_t rnd(struct world *w)
{
    w->rng ^= w->rng << 13;
    w->rng ^= w->rng >> 7;
    w->rng ^= w->rng << 17;
    return w->rng;
}
static int below(struct world *w, int n)
{
    return n <= 0 ? 0 : (int)(rnd(w) % (uint64_t)n);
}
static bool chance(struct world *w, int permille)
{
    return below(w, 1000) < permille;
}
static bool fault(struct world *w)
{
    return w->faults && chance(w, w->fault_rate);
}

static int floor_true(const struct world *w)
{
    int f = w->spec.replicas - w->spec.max_unavailable;
    return w->spec.kind == TN_RECREATE || f < 0 ? 0 : f;
}
static bool serves_true(const struct world *w, const struct thing *t)
{
    return t->exists && t->ready && !t->failed && (t->in_rotation || !w->spec.has_balancer);
}

static void broke(struct world *w, const char *rule)
{
    if (!w->broken)
        w->broken = rule;
}

static void make_old(struct world *w, int revision, int n)
{
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < MAX; k++) {
            struct thing *t = &w->v[k];
            if (t->exists)
                continue;
            *t = (struct thing){.exists = true, .ready = true, .in_rotation = true, .settled = true,
                                .revision = revision, .host = (uint32_t)below(w, w->n_hosts), .started = 1,
                                .ready_at = 1, .ready_since = 1, .was_serving = true};
            if (revision == 1 && chance(w, 500)) {
                t->in_rotation = t->settled = t->was_serving = false;
                t->ready = chance(w, 500);
            }
            break;
        }
    }
}

static void make_world(struct world *w, uint64_t seed)
{
    memset(w, 0, sizeof(*w));
    w->rng = seed * 0x9e3779b97f4a7c15u + 0x1234567;
    for (int i = 0; i < 4; i++)
        rnd(w);
    w->now = 1000;
    w->n_hosts = 1 + below(w, HOSTS);
    w->target = 2;
    w->spec = (struct tn_strategy_spec){
        .kind = chance(w, 150) ? TN_RECREATE : TN_ROLL,
        .replicas = chance(w, 50) ? 0 : 1 + below(w, 6),
        .max_unavailable = below(w, 3),
        .max_surge = below(w, 4),
        .max_failures = below(w, 3),
        .has_balancer = chance(w, 750),
        .min_healthy_time = below(w, 4) * 300,
        .healthy_deadline = 3000 + below(w, 5000),
        .progress_deadline = 12000 + below(w, 20000),
        .delay = chance(w, 200) ? 500 : 0,
        .drain_cap = 200 + below(w, 2000),
    };
    if (w->spec.max_unavailable == 0 && w->spec.max_surge == 0)
        w->spec.max_surge = 1;
    if (w->spec.kind == TN_RECREATE)
        w->spec.max_surge = 0;
    int old = chance(w, 700) ? w->spec.replicas : below(w, 7);
    if (chance(w, 900))
        make_old(w, 0, old);
    if (chance(w, 200))
        make_old(w, 1, 1 + below(w, 3));
    if (chance(w, 100))
        make_old(w, 2, 1 + below(w, 3)); /* a run before us got this far */
    w->fault_rate = chance(w, 300) ? 0 : 2 + below(w, 30);
    w->faults = w->fault_rate > 0;
    w->bad_candidate = chance(w, 200);
}

/* What the run sees. index[] leads from the observation back to the thing. */
static int look(struct world *w, struct tn_instance_obs *v, int *index)
{
    int n = 0;
    for (int k = 0; k < MAX; k++) {
        const struct thing *t = &w->v[k];
        if (!t->exists)
            continue;
        struct tn_instance_obs *o = &v[n];
        index[n++] = k;
        *o = (struct tn_instance_obs){
            .host = t->host,
            .target = t->revision == w->target && !(t->failed && t->started <= 1),
            .settled = t->settled,
            .was_serving = t->was_serving,
            .state = t->failed ? TN_I_FAILED : t->ready ? TN_I_READY : TN_I_STARTING,
            .rotation = w->spec.has_balancer ? (t->in_rotation ? TN_IN : TN_OUT) : (t->ready && !t->failed ? TN_IN : TN_OUT),
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
    return n;
}

static void judge_start(struct world *w)
{
    int exist = w->n_starts;
    for (int k = 0; k < MAX; k++)
        exist += w->v[k].exists;
    if (exist + 1 > w->spec.replicas + w->spec.max_surge)
        broke(w, "S-4: started above replicas + max_surge");
    if (w->spec.kind == TN_RECREATE)
        for (int k = 0; k < MAX; k++)
            if (w->v[k].exists && w->v[k].revision != w->target)
                broke(w, "recreate: started beside another revision");
}

/* Taking `t` out, as the world stands: enough others serve? What the run could not see (a death since its look) is
 * not held against it: everything in a tick is looked at and judged in the same instant. */
static void judge_leave(struct world *w, const struct thing *t, bool stop)
{
    int serving = 0;
    for (int k = 0; k < MAX; k++) {
        const struct thing *o = &w->v[k];
        bool leaving = o->busy == TN_BUSY_DRAIN || o->busy == TN_BUSY_STOP;
        serving += o != t && serves_true(w, o) && !w->host_down[o->host] && !leaving;
    }
    if (serves_true(w, t) && serving < floor_true(w))
        broke(w, "S-1: took a serving instance below replicas - max_unavailable");
    if (stop && w->spec.has_balancer && t->in_rotation)
        broke(w, "S-3: stopped an instance that is in rotation");
    if (stop && w->spec.has_balancer && !t->failed && t->was_serving && w->now < t->drained_at &&
        w->now < t->out_since + w->spec.drain_cap)
        broke(w, "S-3: stopped before drained and before the cap");
    if (w->host_down[t->host])
        broke(w, "touched an instance whose host does not answer");
}

static void do_move(struct world *w, const struct tn_move *m, const int *index)
{
    w->moves++;
    if (m->kind == TN_MOVE_START) {
        judge_start(w);
        if (w->host_down[m->host])
            broke(w, "started on a host that does not answer");
        if (w->n_starts < MAX)
            w->starts[w->n_starts++] = (struct pending_start){m->host, w->now + 50 + below(w, 400), true, fault(w)};
        return;
    }
    struct thing *t = &w->v[index[m->instance]];
    static const enum tn_busy busy[] = {TN_IDLE, TN_BUSY_ADMIT, TN_BUSY_SETTLE, TN_BUSY_DRAIN, TN_BUSY_STOP};
    if (t->busy != TN_IDLE && !t->busy_lost)
        broke(w, "two moves at once on one instance");
    if (m->kind == TN_MOVE_DRAIN || m->kind == TN_MOVE_STOP)
        judge_leave(w, t, m->kind == TN_MOVE_STOP);
    if (m->kind == TN_MOVE_ADMIT && (!t->ready || t->failed) && !w->host_down[t->host])
        broke(w, "S-2: admitted an instance that is not ready");
    if (m->kind == TN_MOVE_ADMIT && w->now < t->ready_since + (w->spec.direction == TN_BACK ? 0 : w->spec.min_healthy_time))
        broke(w, "S-3: admitted before min_healthy_time");
    t->busy = busy[m->kind];
    t->busy_lost = false;
    t->busy_until = w->now + 20 + below(w, 300);
}

static void finish_move(struct world *w, struct thing *t)
{
    bool lost = fault(w);
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
        t->drained_at = w->now + below(w, 3000);
    } else if (what == TN_BUSY_STOP) {
        *t = (struct thing){0};
    }
}

static void finish_start(struct world *w, int s)
{
    struct pending_start p = w->starts[s];
    w->starts[s] = w->starts[--w->n_starts];
    if (p.fails)
        return;
    for (int k = 0; k < MAX; k++) {
        struct thing *t = &w->v[k];
        if (t->exists)
            continue;
        bool bad = w->target == 2 && w->bad_candidate;
        *t = (struct thing){.exists = true, .revision = w->target, .host = p.host, .started = w->now,
                            .ready_at = w->now + 100 + below(w, 1500), .doomed = bad || fault(w)};
        if (bad && chance(w, 300)) {
            t->doomed = false;
            t->dies_at = w->now + below(w, 4000);
        }
        return;
    }
    broke(w, "more instances than the model holds");
}

/* The world moves on by itself. */
static void pass_time(struct world *w)
{
    for (int k = 0; k < MAX; k++) {
        struct thing *t = &w->v[k];
        if (!t->exists)
            continue;
        if (t->busy != TN_IDLE && w->now >= t->busy_until)
            finish_move(w, t);
        if (!t->exists)
            continue;
        if (!t->ready && !t->failed && !t->doomed && w->now >= t->ready_at) {
            t->ready = true;
            t->ready_since = w->now;
            t->was_serving = t->was_serving || !w->spec.has_balancer;
        }
        if ((t->dies_at && w->now >= t->dies_at) || (fault(w) && chance(w, 100)))
            t->failed = true, t->ready = false;
        else if (t->ready && fault(w) && chance(w, 200))
            t->ready = false, t->ready_at = w->now + below(w, 1000);
        if (fault(w) && chance(w, 20))
            *t = (struct thing){0}; /* somebody removed it */
    }
    for (int s = w->n_starts - 1; s >= 0; s--)
        if (w->now >= w->starts[s].at)
            finish_start(w, s);
    for (int h = 0; h < w->n_hosts; h++)
        w->host_down[h] = w->faults && (w->host_down[h] ? chance(w, 900) : fault(w) && chance(w, 200));
    w->balancer_down = w->faults && (w->balancer_down ? chance(w, 900) : fault(w) && chance(w, 200));
    if (w->gates == TN_GATES_PENDING)
        w->gates = TN_GATES_PASS;
    if (fault(w) && chance(w, 100))
        w->gates = chance(w, 700) ? TN_GATES_PENDING : TN_GATES_FAIL;
}

/* kill -9 and resume: moves in flight happen or not, the run has forgotten them; the memo may be one save behind. */
static void restart_run(struct world *w)
{
    for (int k = 0; k < MAX; k++) {
        struct thing *t = &w->v[k];
        if (t->busy != TN_IDLE) {
            if (chance(w, 500))
                finish_move(w, t);
            t->busy = TN_IDLE; /* the old run is dead before the next one begins: the lease sees to it */
        }
        if (t->exists && t->ready)
            t->ready_since = w->now; /* clocks of the old process are gone */
    }
    while (w->n_starts > 0) {
        if (chance(w, 500))
            finish_start(w, 0);
        else
            w->starts[0] = w->starts[--w->n_starts];
    }
    w->memo = w->saved;
}

static void look_and_decide(struct world *w, struct tn_decision *d, int *index)
{
    struct tn_instance_obs v[MAX];
    uint32_t start_hosts[MAX];
    for (int i = 0; i < w->n_starts; i++)
        start_hosts[i] = w->starts[i].host;
    int n = look(w, v, index);
    struct tn_strategy_input in = {
        .spec = &w->spec, .v = v, .n = n, .n_hosts = w->n_hosts, .host_down = w->host_down,
        .start_hosts = start_hosts, .starts = w->n_starts,
        .balancer_unknown = w->balancer_down && w->spec.has_balancer, .gates = w->gates, .now = w->now,
    };
    w->saved = w->memo;
    tn_strategy_next(&in, &w->memo, d);
}

static void judge_done(struct world *w)
{
    int target = 0;
    for (int k = 0; k < MAX; k++) {
        const struct thing *t = &w->v[k];
        if (!t->exists)
            continue;
        if (t->revision != w->target)
            broke(w, "S-5: done, and another revision exists");
        else if (!serves_true(w, t) || !t->settled)
            broke(w, "S-5: done, and an instance does not serve");
        target++;
    }
    if (target != w->spec.replicas || w->n_starts)
        broke(w, "S-5: done with another number of instances");
}

/* Turns the run round, as the executor does: back to the oldest revision there was. */
static void turn_round(struct world *w)
{
    w->target = 0;
    w->spec.direction = TN_BACK;
    w->memo = (struct tn_strategy_memo){0};
    w->gates = TN_GATES_PASS;
    for (int k = 0; k < MAX; k++)
        if (w->v[k].busy != TN_IDLE)
            finish_move(w, &w->v[k]);
}

enum outcome { ALL_NEW, ALL_OLD, MIXED, BROKEN };

static enum outcome run_one(struct world *w, uint64_t seed, bool verbose)
{
    make_world(w, seed);
    for (; w->now < LIVE_END && !w->broken; w->now += TICK) {
        if (w->now >= FAULT_END && w->faults) {
            w->faults = false;
            w->gates = TN_GATES_PASS;
        }
        pass_time(w);
        if (fault(w) && chance(w, 100))
            restart_run(w);
        struct tn_decision d;
        int index[MAX];
        look_and_decide(w, &d, index);
        if (verbose)
            printf("%6" PRId64 " old %d new %d available %d verdict %d failure %d moves %d wait %s\n", w->now,
                   d.setpoint.old_count, d.setpoint.new_count, d.setpoint.available, d.verdict, d.failure, d.n_moves,
                   tn_wait_name(d.wait));
        if (d.verdict == TN_DONE) {
            judge_done(w);
            return w->broken ? BROKEN : w->target == 2 ? ALL_NEW : ALL_OLD;
        }
        if (d.verdict == TN_FAILED) {
            if (w->target == 0)
                return w->faults || w->now < FAULT_END + 60000 ? MIXED : (broke(w, "L-1: a rollback failed without a fault"), BROKEN);
            turn_round(w);
            continue;
        }
        if (d.n_moves == 0 && d.wait == TN_WAIT_NOTHING)
            broke(w, "L-1: nothing to do, nothing to wait for, and not done");
        for (int i = 0; i < d.n_moves; i++)
            do_move(w, &d.moves[i], index);
    }
    if (!w->broken)
        broke(w, "L-1: no terminal state");
    return BROKEN;
}

int main(int argc, char **argv)
{
    int64_t rollouts = 100000;
    uint64_t seed = (uint64_t)time(NULL), one = 0;
    bool verbose = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--rollouts") == 0 && i + 1 < argc)
            rollouts = atoll(argv[++i]);
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--one") == 0 && i + 1 < argc)
            one = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--verbose") == 0)
            verbose = true;
        else
            return fprintf(stderr, "usage: %s [--rollouts N] [--seed S] [--one SEED] [--verbose]\n", argv[0]), 2;
    }
    if (one)
        seed = one, rollouts = 1;
    int64_t count[4] = {0}, moves = 0, failed = 0;
    for (int64_t i = 0; i < rollouts; i++) {
        struct world w;
        enum outcome o = run_one(&w, seed + (uint64_t)i, verbose);
        count[o]++;
        moves += w.moves;
        if (o == BROKEN && ++failed <= 5)
            printf("FAILED %s\n  replay: %s --one %" PRIu64 " --verbose\n", w.broken, argv[0], seed + (uint64_t)i);
    }
    printf("seed %" PRIu64 ": %" PRId64 " rollouts, %" PRId64 " moves: all new %" PRId64 ", all old %" PRId64
           ", recorded as mixed under faults %" PRId64 "\n",
           seed, rollouts, moves, count[ALL_NEW], count[ALL_OLD], count[MIXED]);
    printf("%" PRId64 " passed, %" PRId64 " failed\n", rollouts - failed, failed);
    return failed ? 1 : 0;
}
