/* The rolling core.
 *
 * One pass over the observation counts; then each question is one small function; the moves come in the order in which
 * they make things safer: discard what failed, admit what is ready, settle what is admitted, take out what may go,
 * stop what is drained, start what is missing. Recreate is the same with one more condition (nothing starts while
 * another revision exists) and without the floor under availability. A rollback is the same towards the old revision,
 * with no minimum healthy time and no delay, and never waits for what it leaves.
 *
 * Availability is counted at decision time from the observation, never from memory. A drain in flight counts as gone
 * for availability; a start in flight counts as existing for surge.
 */
#include "turnout/strategy.h"

#include <stddef.h>
#include <string.h>

/* What one pass over the world gives. */
struct census {
    int exist;     /* all instances and starts in flight */
    int target;    /* of the wanted revision, failed ones not counted, starts in flight counted */
    int other;     /* of other revisions, in whatever state */
    int available; /* ready, in rotation, nothing in flight that takes it out */
    int target_available;
    int target_unsettled;
    int failed; /* target instances that have failed */
    int unknown;
    int busy;         /* moves in flight */
    int first_failed; /* index, or -1 */
};

static bool serves(const struct tn_instance_obs *i)
{
    return i->state == TN_I_READY && i->rotation == TN_IN && i->busy != TN_BUSY_DRAIN &&
           i->busy != TN_BUSY_STOP;
}

static int64_t min_healthy(const struct tn_strategy_spec *s)
{
    return s->direction == TN_BACK ? 0 : s->min_healthy_time;
}

/* Without a balancer nothing is admitted: a candidate is capacity once it has been ready for min_healthy_time. */
static bool is_capacity(const struct tn_strategy_input *in, const struct tn_instance_obs *i)
{
    bool young = !in->spec->has_balancer && i->target && !i->settled &&
                 in->now < i->ready_since + min_healthy(in->spec);
    return serves(i) && !young;
}

/* Not ready in time is failed, too. */
static bool has_failed(const struct tn_strategy_input *in, const struct tn_instance_obs *i)
{
    if (i->state == TN_I_FAILED)
        return true;
    return i->state == TN_I_STARTING && i->busy != TN_BUSY_START && i->started > 0 &&
           in->now - i->started > in->spec->healthy_deadline;
}

static bool fresh_failure(const struct tn_strategy_input *in, const struct tn_instance_obs *i)
{
    return i->target && has_failed(in, i) && i->busy != TN_BUSY_STOP;
}

static void count_one(const struct tn_strategy_input *in, int index, struct census *c)
{
    const struct tn_instance_obs *i = &in->v[index];
    c->exist++;
    c->busy += i->busy != TN_IDLE;
    c->unknown += i->state == TN_I_UNKNOWN;
    c->available += is_capacity(in, i);
    if (!i->target) {
        c->other++;
    } else if (has_failed(in, i)) {
        if (fresh_failure(in, i) && !i->counted) {
            c->failed++;
            if (c->first_failed < 0)
                c->first_failed = index;
        }
    } else {
        c->target += i->busy != TN_BUSY_STOP && i->busy != TN_BUSY_DRAIN;
        c->target_available += is_capacity(in, i);
        c->target_unsettled += !i->settled;
    }
}

static struct census take_census(const struct tn_strategy_input *in)
{
    struct census c = {.first_failed = -1};
    for (int i = 0; i < in->n; i++)
        count_one(in, i, &c);
    c.exist += in->starts;
    c.target += in->starts;
    c.busy += in->starts;
    return c;
}

static bool push(struct tn_decision *out, enum tn_move_kind kind, int instance, uint32_t host)
{
    if (out->n_moves == TN_MAX_MOVES)
        return false;
    out->moves[out->n_moves++] = (struct tn_move){kind, instance, host};
    return true;
}

static bool planned(const struct tn_decision *out, int instance)
{
    for (int i = 0; i < out->n_moves; i++)
        if (out->moves[i].instance == instance)
            return true;
    return false;
}

/* How many must serve. A service that is being recreated has no floor. */
static int floor_of(const struct tn_strategy_spec *s)
{
    int f = s->replicas - s->max_unavailable;
    return s->kind == TN_RECREATE || f < 0 ? 0 : f;
}

static void wait_for(struct tn_decision *out, enum tn_wait why, int64_t until)
{
    if (out->wait != TN_WAIT_NOTHING && (out->wait_until == 0 || (until != 0 && out->wait_until <= until)) &&
        out->wait != TN_WAIT_MOVES)
        return;
    out->wait = why;
    out->wait_until = until;
}

static bool is_old_enough(const struct tn_strategy_input *in, const struct tn_instance_obs *i,
                          struct tn_decision *out)
{
    int64_t at = i->ready_since + min_healthy(in->spec);
    if (in->now >= at)
        return true;
    wait_for(out, TN_WAIT_MIN_HEALTHY, at);
    return false;
}

/* Ready candidates go into rotation, as many as the wanted size. */
static void admit(const struct tn_strategy_input *in, struct tn_strategy_memo *memo, struct tn_decision *out)
{
    int room = in->spec->replicas;
    for (int k = 0; k < in->n; k++)
        room -= in->v[k].target && in->v[k].rotation == TN_IN && in->v[k].busy != TN_BUSY_DRAIN;
    for (int k = 0; k < in->n && room > 0; k++) {
        const struct tn_instance_obs *i = &in->v[k];
        if (!i->target || i->state != TN_I_READY || i->rotation != TN_OUT || i->busy == TN_BUSY_STOP ||
            i->busy == TN_BUSY_DRAIN)
            continue;
        room--; /* also for one that is being admitted already */
        if (i->busy == TN_IDLE && is_old_enough(in, i, out) && push(out, TN_MOVE_ADMIT, k, i->host))
            memo->last_admit = in->now;
    }
}

static void settle(const struct tn_strategy_input *in, struct tn_decision *out)
{
    for (int k = 0; k < in->n; k++) {
        const struct tn_instance_obs *i = &in->v[k];
        if (i->target && !i->settled && i->busy == TN_IDLE && serves(i) && is_old_enough(in, i, out))
            push(out, TN_MOVE_SETTLE, k, i->host);
    }
}

/* Does not serve right now, yet may come back: an old instance whose probe failed once. */
static bool is_weak(const struct tn_strategy_input *in, const struct tn_instance_obs *i)
{
    return i->state == TN_I_STARTING && (i->rotation == TN_IN || (!in->spec->has_balancer && i->was_serving));
}

static bool is_drained(const struct tn_strategy_input *in, const struct tn_instance_obs *i,
                       struct tn_decision *out)
{
    if (!in->spec->has_balancer || i->drained || !i->was_serving)
        return true;
    int64_t at = i->out_since + in->spec->drain_cap;
    if (in->now >= at)
        return true;
    wait_for(out, TN_WAIT_DRAIN, at);
    return false;
}

static void take_out(const struct tn_strategy_input *in, int k, struct tn_decision *out)
{
    const struct tn_instance_obs *i = &in->v[k];
    if (in->spec->has_balancer && i->rotation == TN_IN)
        push(out, TN_MOVE_DRAIN, k, i->host);
    else if (is_drained(in, i, out))
        push(out, TN_MOVE_STOP, k, i->host);
}

/* Failed candidates go: they hold a place under the surge limit. Out of the balancer first. */
static void discard_failed(const struct tn_strategy_input *in, struct tn_strategy_memo *memo,
                           struct tn_decision *out)
{
    for (int k = 0; k < in->n; k++) {
        const struct tn_instance_obs *i = &in->v[k];
        if (i->busy != TN_IDLE || !fresh_failure(in, i) || i->rotation == TN_ROTATION_UNKNOWN)
            continue;
        if (in->spec->has_balancer && i->rotation == TN_IN) {
            push(out, TN_MOVE_DRAIN, k, i->host);
        } else if (is_drained(in, i, out) && push(out, TN_MOVE_STOP, k, i->host)) {
            memo->failures += !i->counted;
        }
    }
}

static bool delay_holds(const struct tn_strategy_input *in, const struct tn_strategy_memo *memo,
                        struct tn_decision *out)
{
    if (in->spec->direction == TN_BACK || in->spec->delay == 0 || memo->last_admit == 0)
        return false;
    int64_t at = memo->last_admit + in->spec->delay;
    if (in->now >= at)
        return false;
    wait_for(out, TN_WAIT_DELAY, at);
    return true;
}

static bool gates_hold(const struct tn_strategy_input *in, struct tn_decision *out)
{
    if (in->spec->direction == TN_BACK || in->gates == TN_GATES_PASS)
        return false;
    wait_for(out, TN_WAIT_GATES, 0);
    return true;
}

static bool may_leave(const struct tn_strategy_input *in, const struct tn_decision *out, int k, int surplus)
{
    const struct tn_instance_obs *i = &in->v[k];
    if (i->state == TN_I_UNKNOWN || i->busy != TN_IDLE || i->rotation == TN_ROTATION_UNKNOWN ||
        planned(out, k))
        return false;
    return !i->target || (surplus > 0 && !has_failed(in, i));
}

/* What does not serve goes at once; it is nobody's capacity. Weak ones are kept while they may be needed: until enough
 * others serve, or until their place is (everything that could start has started and serves, and it is not enough). */
static void clear_away(const struct tn_strategy_input *in, struct census *c, struct tn_decision *out)
{
    bool enough = c->available >= floor_of(in->spec);
    bool full = c->exist >= in->spec->replicas + in->spec->max_surge && c->target == c->target_available;
    for (int k = 0; k < in->n; k++) {
        const struct tn_instance_obs *i = &in->v[k];
        if (!may_leave(in, out, k, c->target - in->spec->replicas) || serves(i))
            continue;
        if (is_weak(in, i) && !enough && !full)
            continue;
        full = full && !is_weak(in, i); /* one at a time */
        take_out(in, k, out);
        c->target -= i->target;
    }
}

static int wanted_on(const struct tn_strategy_input *in, const struct tn_decision *out, uint32_t host)
{
    int n = 0;
    for (int k = 0; k < in->n; k++)
        n += in->v[k].target && in->v[k].host == host && serves(&in->v[k]) && !planned(out, k);
    return n;
}

/* Of two serving ones: another revision before the target; of the target, from the host that has more of it, so that what
 * stays is spread; then the younger. */
static bool leaves_before(const struct tn_strategy_input *in, const struct tn_decision *out,
                          const struct tn_instance_obs *a, const struct tn_instance_obs *b)
{
    if (a->target != b->target)
        return !a->target;
    int here = a->target ? wanted_on(in, out, a->host) : 0,
        there = b->target ? wanted_on(in, out, b->host) : 0;
    return here != there ? here > there : a->started > b->started;
}

/* The serving instance that leaves first. */
static int next_to_leave(const struct tn_strategy_input *in, const struct census *c,
                         const struct tn_decision *out)
{
    int best = -1;
    for (int k = 0; k < in->n; k++) {
        const struct tn_instance_obs *i = &in->v[k];
        if (!serves(i) || !may_leave(in, out, k, c->target - in->spec->replicas))
            continue;
        if (best < 0 || leaves_before(in, out, i, &in->v[best]))
            best = k;
    }
    return best;
}

/* Of what serves, as many go as the floor leaves; gates and the delay between batches hold them back. */
static void reduce(const struct tn_strategy_input *in, struct census *c, const struct tn_strategy_memo *memo,
                   struct tn_decision *out)
{
    bool last_batch = c->target_available >= in->spec->replicas;
    for (int k; (k = next_to_leave(in, c, out)) >= 0;) {
        if (c->available - 1 < floor_of(in->spec) || gates_hold(in, out) ||
            (!last_batch && !in->v[k].target && delay_holds(in, memo, out)))
            return;
        int before = out->n_moves;
        take_out(in, k, out);
        if (out->n_moves == before)
            return; /* the list is full */
        c->available -= is_capacity(in, &in->v[k]);
        c->target -= in->v[k].target;
    }
}

static int least_loaded(const struct tn_strategy_input *in, const struct tn_decision *out)
{
    int best = -1, best_load = 0;
    for (int h = 0; h < in->n_hosts; h++) {
        if (in->host_down && in->host_down[h])
            continue;
        int load = 0;
        for (int k = 0; k < in->n; k++)
            load += in->v[k].host == (uint32_t)h && in->v[k].target && !has_failed(in, &in->v[k]);
        for (int k = 0; k < in->starts; k++)
            load += in->start_hosts[k] == (uint32_t)h;
        for (int k = 0; k < out->n_moves; k++)
            load += out->moves[k].kind == TN_MOVE_START && out->moves[k].host == (uint32_t)h;
        if (best < 0 || load < best_load) {
            best = h;
            best_load = load;
        }
    }
    return best;
}

static void grow(const struct tn_strategy_input *in, const struct census *c, struct tn_decision *out)
{
    if (in->spec->kind == TN_RECREATE && c->other > 0)
        return;
    int missing = in->spec->replicas - c->target;
    int room = in->spec->replicas + in->spec->max_surge - c->exist;
    for (; missing > 0 && room > 0; missing--, room--) {
        int host = least_loaded(in, out);
        if (host < 0) {
            wait_for(out, TN_WAIT_UNKNOWN, 0);
            return;
        }
        if (!push(out, TN_MOVE_START, -1, (uint32_t)host))
            return;
    }
}

static void note_progress(const struct tn_strategy_input *in, const struct census *c,
                          struct tn_strategy_memo *memo)
{
    /* Others gone counts, so that a slow drain at the end is progress too; bounded, so that flapping is not. */
    int32_t progress = c->target_available * 2 - c->other;
    if (memo->began == 0) {
        memo->began = memo->last_progress = in->now;
        memo->progress = progress;
    } else if (progress > memo->progress) {
        memo->progress = progress;
        memo->last_progress = in->now;
    }
}

static bool is_done(const struct tn_strategy_input *in, const struct census *c)
{
    return c->other == 0 && c->exist == in->spec->replicas && c->target_available == in->spec->replicas &&
           c->target_unsettled == 0 && c->busy == 0 && (!in->balancer_unknown || c->exist == 0) &&
           (in->spec->direction == TN_BACK || in->gates == TN_GATES_PASS);
}

static void fail(struct tn_decision *out, enum tn_failure why, int culprit)
{
    out->verdict = TN_FAILED;
    out->failure = why;
    out->culprit = culprit;
}

/* A rollback is never given up for what it leaves; its own instances may fail as often as the plan says, at least
 * three times: it is the last way back. */
static int failures_allowed(const struct tn_strategy_spec *s)
{
    return s->direction == TN_BACK && s->max_failures < 3 ? 3 : s->max_failures;
}

/* Waits that the plan asks for are no lack of progress. */
static int64_t progress_deadline(const struct tn_strategy_spec *s)
{
    return s->progress_deadline + s->delay + (s->has_balancer ? s->drain_cap : 0);
}

static bool must_stop(const struct tn_strategy_input *in, const struct census *c,
                      const struct tn_strategy_memo *memo, struct tn_decision *out)
{
    if (memo->failures + c->failed > failures_allowed(in->spec))
        fail(out, TN_FAILURE_INSTANCE, c->first_failed);
    else if (in->gates == TN_GATES_FAIL && in->spec->direction == TN_FORWARD)
        fail(out, TN_FAILURE_GATE, -1);
    else if (in->now - memo->last_progress > progress_deadline(in->spec))
        fail(out, TN_FAILURE_DEADLINE, -1);
    return out->verdict == TN_FAILED;
}

static void name_the_wait(const struct tn_strategy_input *in, const struct census *c,
                          const struct tn_strategy_memo *memo, struct tn_decision *out)
{
    if (out->wait != TN_WAIT_NOTHING)
        return;
    if (c->busy > 0) {
        wait_for(out, TN_WAIT_MOVES, 0);
        return;
    }
    for (int k = 0; k < in->n; k++)
        if (in->v[k].target && in->v[k].state == TN_I_STARTING)
            wait_for(out, TN_WAIT_READY, in->v[k].started + in->spec->healthy_deadline);
    if (out->wait == TN_WAIT_NOTHING)
        gates_hold(in, out);
    if (out->wait == TN_WAIT_NOTHING && (c->unknown > 0 || in->balancer_unknown))
        wait_for(out, TN_WAIT_UNKNOWN, memo->last_progress + progress_deadline(in->spec));
}

static void fill_setpoint(const struct tn_strategy_input *in, const struct census *c, struct tn_decision *out)
{
    int traffic = 0, new_traffic = 0;
    for (int k = 0; k < in->n; k++) {
        if (in->v[k].rotation == TN_IN) {
            traffic++;
            new_traffic += in->v[k].target;
        }
    }
    out->setpoint = (struct tn_setpoint){
        .old_count = c->other,
        .new_count = c->exist - c->other,
        .available = c->available,
        .new_traffic_permille = traffic ? new_traffic * 1000 / traffic : 0,
    };
}

void tn_strategy_next(const struct tn_strategy_input *in, struct tn_strategy_memo *memo,
                      struct tn_decision *out)
{
    memset(out, 0, sizeof(*out));
    out->culprit = -1;
    struct census c = take_census(in);
    fill_setpoint(in, &c, out);
    note_progress(in, &c, memo);
    if (in->spec->kind == TN_MANUAL || is_done(in, &c)) {
        out->verdict = TN_DONE;
        return;
    }
    if (must_stop(in, &c, memo, out))
        return;
    discard_failed(in, memo, out);
    if (!in->balancer_unknown) /* what cannot be confirmed is not begun; each move out of rotation looks at its own */
        admit(in, memo, out);
    settle(in, out);
    struct census left = c;
    clear_away(in, &left, out);
    reduce(in, &left, memo, out);
    grow(in, &c, out);
    name_the_wait(in, &c, memo, out);
}

const char *tn_wait_name(enum tn_wait w)
{
    static const char *const names[] = {
        "nothing",
        "moves in flight",
        "a candidate to be ready",
        "min_healthy_time",
        "the delay",
        "running requests",
        "gates",
        "a host or balancer that does not answer",
    };
    return (unsigned)w < sizeof(names) / sizeof(*names) ? names[w] : "?";
}

const char *tn_move_name(enum tn_move_kind k)
{
    static const char *const names[] = {"start", "admit", "settle", "drain", "stop"};
    return (unsigned)k < sizeof(names) / sizeof(*names) ? names[k] : "?";
}
