/* small.c - every small world.
 *
 * Worlds: 0 to 3 replicas; every mix of old, half-finished and new instances, up to 3 of them, on two hosts; rolling
 * (1 surge, 1 unavailable, both) and recreate; with and without a balancer; max_failures 0 and 1. Nothing is left to
 * chance: every duration is the middle of its range.
 * Faults: none; each kind at every position of a fine grid; each pair of kinds at every two positions of a coarse one.
 * A fault that would come after the end changes nothing, so that rollout is the one without it and is not run again.
 * A way back must always arrive: two faults are no excuse.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tests/sim/world.h"

enum kind {
    OLD_DIES,
    NEW_DIES,
    OLD_VANISHES,
    NEW_VANISHES,
    OLD_FLAPS,
    NEW_FLAPS,
    NEW_IS_DOOMED,
    MOVES_FAIL,
    RESTART_LOSES,
    RESTART_FINISHES,
    HOST_DOWN,
    BALANCER_DOWN,
    GATES_PENDING,
    GATES_FAIL,
    KINDS,
};
static const char *const kind_names[KINDS] = {
    "an old one dies",     "a new one dies",      "an old one vanishes",      "a new one vanishes",
    "an old one flaps",    "a new one flaps",     "a new one is never ready", "moves fail",
    "restart, moves lost", "restart, moves done", "host 0 is down",           "balancer is down",
    "gates pending",       "a gate fails",
};
enum {
    BEGIN = 1000,
    FINE = 2,
    POSITIONS = 50,
    COARSE = 4,
    LASTS = 1500,
    NO_FAULT = KINDS * POSITIONS,
    BUDGET_S = 55,
    ENOUGH = 100 /* failures */
};
enum { MIXES = 20, WORLDS = 4 * MIXES * 4 * 2 * 2 };

struct sim_script {
    int fault[2]; /* kind * POSITIONS + position, or NO_FAULT */
};

static int64_t time_of(int fault)
{
    return fault == NO_FAULT ? INT64_MAX : BEGIN + (int64_t)(fault % POSITIONS) * FINE * SIM_TICK;
}

static struct sim_thing *first_of(struct sim_world *w, bool is_new)
{
    for (int k = 0; k < SIM_MAX; k++)
        if (w->v[k].exists && (w->v[k].revision == w->target) == is_new)
            return &w->v[k];
    return NULL;
}

static void strike_instance(struct sim_world *w, enum kind kind)
{
    struct sim_thing *t = first_of(w, kind == NEW_DIES || kind == NEW_VANISHES || kind == NEW_FLAPS);
    if (!t)
        return;
    if (kind == OLD_DIES || kind == NEW_DIES)
        t->failed = true, t->ready = false;
    else if (kind == OLD_VANISHES || kind == NEW_VANISHES)
        *t = (struct sim_thing){0};
    else if (t->ready)
        t->ready = false, t->ready_at = w->now + 500;
}

static void doom_one(struct sim_world *w)
{
    for (int k = 0; k < SIM_MAX; k++) {
        struct sim_thing *t = &w->v[k];
        if (t->exists && t->revision == w->target && !t->ready && !t->failed && !t->doomed) {
            t->doomed = true;
            return;
        }
    }
}

static void fail_moves(struct sim_world *w)
{
    for (int k = 0; k < SIM_MAX; k++)
        if (w->v[k].exists && w->v[k].busy != TN_IDLE)
            sim_finish_move(w, &w->v[k], true);
    w->n_starts = 0;
}

static void strike(struct sim_world *w, enum kind kind)
{
    switch (kind) {
    case NEW_IS_DOOMED: doom_one(w); break;
    case MOVES_FAIL: fail_moves(w); break;
    case RESTART_LOSES: sim_restart_run(w, 0); break;
    case RESTART_FINISHES: sim_restart_run(w, 1); break;
    case GATES_FAIL: w->gates = TN_GATES_FAIL; break;
    default: strike_instance(w, kind); break;
    }
}

void sim_script_apply(struct sim_world *w)
{
    w->host_down[0] = w->balancer_down = false;
    w->gates = TN_GATES_PASS;
    for (int i = 0; i < 2; i++) {
        int64_t at = time_of(w->script->fault[i]);
        if (at == INT64_MAX || w->now < at)
            continue;
        enum kind kind = (enum kind)(w->script->fault[i] / POSITIONS);
        bool during = w->now < at + LASTS;
        if (kind == HOST_DOWN)
            w->host_down[0] |= during;
        else if (kind == BALANCER_DOWN)
            w->balancer_down |= during;
        else if (kind == GATES_PENDING && during)
            w->gates = TN_GATES_PENDING;
        else if (w->now == at)
            strike(w, kind);
    }
}

static void put(struct sim_world *w, int *n, int revision, int count)
{
    for (int i = 0; i < count; i++, ++*n) {
        bool whole = revision != 1 || i == 2;
        w->v[*n] =
            (struct sim_thing){.exists = true,
                               .ready = whole || i == 0, /* the half-finished: ready, doomed, serving */
                               .in_rotation = whole,
                               .settled = whole,
                               .doomed = !whole && i == 1,
                               .revision = revision,
                               .host = (uint32_t)*n % 2,
                               .started = 1,
                               .ready_at = 1,
                               .ready_since = 1,
                               .was_serving = whole};
    }
}

/* The mix-th triple of counts with a sum of at most 3. */
static void put_mix(struct sim_world *w, int mix)
{
    int n = 0;
    for (int old = 0; old <= 3; old++)
        for (int half = 0; half <= 3 - old; half++)
            for (int new = 0; new <= 3 - old - half; new ++)
                if (mix-- == 0) {
                    put(w, &n, 0, old);
                    put(w, &n, 1, half);
                    put(w, &n, 2, new);
                    return;
                }
}

static int digit(int *rest, int base)
{
    int d = *rest % base;
    *rest /= base;
    return d;
}

static void make_small(struct sim_world *w, int index, const struct sim_script *script)
{
    static const struct {
        enum tn_rolling_kind kind;
        int surge, unavailable;
    } ways[] = {{TN_ROLL, 1, 0}, {TN_ROLL, 0, 1}, {TN_ROLL, 1, 1}, {TN_RECREATE, 0, 0}};
    memset(w, 0, sizeof(*w));
    w->script = script;
    w->now = BEGIN;
    w->n_hosts = 2;
    w->target = 2;
    int way = digit(&index, 4);
    w->spec = (struct tn_strategy_spec){
        .kind = ways[way].kind,
        .replicas = digit(&index, 4),
        .max_surge = ways[way].surge,
        .max_unavailable = ways[way].unavailable,
        .max_failures = digit(&index, 2),
        .has_balancer = digit(&index, 2) == 0,
        .min_healthy_time = 300,
        .healthy_deadline = 3000,
        .progress_deadline = 15000,
        .drain_cap = 1000,
    };
    put_mix(w, index);
}

struct tally {
    int64_t run, same, failed, count[4], moves;
    const char *program;
    bool verbose;
    struct timespec began;
};

static int64_t index_of(int world, const struct sim_script *s)
{
    return ((int64_t)world * (NO_FAULT + 1) + s->fault[0]) * (NO_FAULT + 1) + s->fault[1];
}

static void tell_failure(const struct tally *t, const struct sim_world *w, int world,
                         const struct sim_script *s)
{
    printf("FAILED %s\n  small world %d", w->broken, world);
    for (int i = 0; i < 2; i++)
        if (s->fault[i] != NO_FAULT)
            printf(", %s at %" PRId64, kind_names[s->fault[i] / POSITIONS], time_of(s->fault[i]));
    printf("\n  replay: %s --small-one %" PRId64 " --verbose\n", t->program, index_of(world, s));
}

/* Returns when it ended. */
static int64_t run_small(struct tally *t, int world, int first, int second)
{
    struct sim_script script = {{first, second}};
    struct sim_world w;
    make_small(&w, world, &script);
    enum sim_outcome end = sim_run(&w, t->verbose);
    t->run++;
    t->count[end]++;
    t->moves += w.moves;
    if (end == SIM_BROKEN && ++t->failed <= 5)
        tell_failure(t, &w, world, &script);
    return w.now;
}

static void run_pairs(struct tally *t, int world, int first, int64_t end)
{
    if (first % POSITIONS % COARSE != 0)
        return;
    for (int second = 0; second < NO_FAULT; second++) {
        if (second % POSITIONS % COARSE != 0 || time_of(second) < time_of(first) ||
            (time_of(second) == time_of(first) && second < first))
            continue;
        if (time_of(second) > end)
            t->same++;
        else
            run_small(t, world, first, second);
    }
}

static void run_world(struct tally *t, int world)
{
    int64_t end = run_small(t, world, NO_FAULT, NO_FAULT);
    for (int first = 0; first < NO_FAULT; first++) {
        if (time_of(first) > end)
            t->same++;
        else
            run_pairs(t, world, first, run_small(t, world, first, NO_FAULT));
    }
}

static bool out_of_time(const struct tally *t)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec - t->began.tv_sec >= BUDGET_S;
}

static int64_t small_one(struct tally *t, int64_t one)
{
    int64_t second = one % (NO_FAULT + 1), first = one / (NO_FAULT + 1) % (NO_FAULT + 1);
    run_small(t, (int)(one / (NO_FAULT + 1) / (NO_FAULT + 1) % WORLDS), (int)first, (int)second);
    printf("%" PRId64 " passed, %" PRId64 " failed\n", t->run - t->failed, t->failed);
    return t->failed;
}

int64_t sim_small(int64_t one, bool verbose, const char *program)
{
    struct tally t = {.program = program, .verbose = verbose};
    clock_gettime(CLOCK_MONOTONIC, &t.began);
    if (one >= 0)
        return small_one(&t, one);
    int world = 0, step = 0; /* in steps of a prime, so that a run cut by the clock has seen all sorts */
    for (; step < WORLDS && !out_of_time(&t) && t.failed < ENOUGH; step++, world = (world + 389) % WORLDS)
        run_world(&t, world);
    printf("small: %d of %d worlds, %" PRId64 " rollouts run, %" PRId64
           " more are the same as one of these, %" PRId64 " moves: all new %" PRId64 ", all old %" PRId64
           "%s\n",
           step, WORLDS, t.run, t.same, t.moves, t.count[SIM_ALL_NEW], t.count[SIM_ALL_OLD],
           t.failed >= ENOUGH ? " (enough have failed)"
           : step < WORLDS    ? " (cut by the clock)"
                              : "");
    printf("%" PRId64 " passed, %" PRId64 " failed\n", t.run - t.failed, t.failed);
    return t.failed;
}
