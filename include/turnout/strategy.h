/* turnout/strategy.h - THE CORE: one pure function decides the next moves of a placement.
 *
 * It gets the spec, what is observed (bounded array), the time, the moves in flight (they are marked on the instances;
 * starts in flight are counted apart) and a small memo; it returns a bounded list of moves and what it waits for.
 * No I/O, no clock, no malloc, no globals: the same function runs a rollout, prints the timeline of `diff`, and is
 * tested against millions of random worlds. Level-triggered: whatever stopped a run, the next call goes on from what
 * is observed.
 *
 * What it keeps (names as in the scenarios):
 *  S-1  available ≥ replicas − max_unavailable, as far as the world allows: no move of ours takes it below.
 *  S-3  a serving instance of another revision is drained only when enough of the others are available, and stopped
 *       only when it is out of rotation and drained, or the drain cap passed.
 *  S-4  instances that exist (unknown ones and starts in flight included) ≤ replicas + max_surge when it starts one.
 *  S-5  it ends with all-new, or says FAILED and the caller turns it round (direction) or stops.
 *  L-1  every wait has a deadline.
 */
#ifndef TURNOUT_STRATEGY_H
#define TURNOUT_STRATEGY_H

#include <stdbool.h>
#include <stdint.h>

enum { TN_MAX_INSTANCES = 2048 /* twice the plan's most */, TN_MAX_MOVES = 64 };

enum tn_direction { TN_FORWARD, TN_BACK /* rollback: its own fast path */ };
enum tn_rolling_kind { TN_ROLL, TN_RECREATE, TN_MANUAL };

struct tn_strategy_spec {
    enum tn_rolling_kind kind;
    enum tn_direction direction;
    int replicas;        /* wanted instances of the target revision; 0 = remove the service */
    int max_unavailable; /* whole numbers by now */
    int max_surge;
    int max_failures;  /* candidate instances that may fail before the rollout has failed */
    bool has_balancer; /* instances are admitted and drained; else running and ready = in rotation */
    int64_t min_healthy_time, healthy_deadline, progress_deadline, delay; /* ms */
    int64_t drain_cap; /* ms: longest wait for running requests */
};

enum tn_instance_state {
    TN_I_UNKNOWN,  /* its engine does not answer: exists, does not serve, never gone */
    TN_I_STARTING, /* created or running, not ready yet */
    TN_I_READY,    /* our probe (or the engine's) passes */
    TN_I_FAILED,   /* exited, or hopeless, or unhealthy */
};
enum tn_rotation { TN_OUT, TN_IN, TN_ROTATION_UNKNOWN };
enum tn_busy {
    TN_IDLE,
    TN_BUSY_START, /* a move on it is in flight */
    TN_BUSY_ADMIT,
    TN_BUSY_DRAIN,
    TN_BUSY_STOP,
    TN_BUSY_SETTLE,
};

/* One observed instance. Times are monotonic ms; 0 = never. */
struct tn_instance_obs {
    uint32_t host;
    bool target;      /* of the wanted revision; false = any other revision */
    bool settled;     /* its restart policy is the plan's (or cannot be had): nothing left to do for it */
    bool drained;     /* out of rotation, and no request runs on it any more, as far as can be told */
    bool was_serving; /* it was in rotation at some time that we know of */
    bool counted;     /* that it failed is in the memo already: its stop is tried again */
    enum tn_instance_state state;
    enum tn_rotation rotation;
    enum tn_busy busy;
    int64_t started;     /* when it was first seen, or started by us */
    int64_t ready_since; /* when it became ready (without a break) */
    int64_t out_since;   /* when it left rotation */
};

enum tn_move_kind { TN_MOVE_START, TN_MOVE_ADMIT, TN_MOVE_SETTLE, TN_MOVE_DRAIN, TN_MOVE_STOP };
struct tn_move {
    enum tn_move_kind kind;
    int instance;  /* index into the observation; -1 for START */
    uint32_t host; /* START: where */
};

enum tn_wait {
    TN_WAIT_NOTHING,
    TN_WAIT_MOVES, /* moves in flight */
    TN_WAIT_READY, /* a candidate is not ready: until healthy_deadline */
    TN_WAIT_MIN_HEALTHY,
    TN_WAIT_DELAY, /* between batches */
    TN_WAIT_DRAIN,
    TN_WAIT_GATES,
    TN_WAIT_UNKNOWN, /* a host or the balancer does not answer */
};
enum tn_verdict { TN_RUNNING, TN_DONE, TN_FAILED };
enum tn_failure {
    TN_FAILURE_NONE,
    TN_FAILURE_INSTANCE, /* more than max_failures candidates failed; `culprit` tells one */
    TN_FAILURE_DEADLINE, /* progress_deadline passed */
    TN_FAILURE_GATE,
};
enum tn_gates_state { TN_GATES_PASS, TN_GATES_PENDING, TN_GATES_FAIL };

/* Kept in the journal between runs. Zero is the start. */
struct tn_strategy_memo {
    int64_t began;         /* first decision */
    int64_t last_progress; /* when `progress` last rose */
    int64_t last_admit;    /* for delay */
    int32_t progress;      /* highest seen: candidates available + others gone */
    int32_t failures;      /* candidates that failed and were removed */
};

struct tn_setpoint {
    int old_count, new_count, available, new_traffic_permille;
};
struct tn_decision {
    enum tn_verdict verdict;
    enum tn_failure failure;
    int culprit; /* index of the failed instance, or -1 */
    struct tn_move moves[TN_MAX_MOVES];
    int n_moves;
    enum tn_wait wait;
    int64_t wait_until;          /* the deadline of that wait (monotonic ms), 0 = none of its own */
    struct tn_setpoint setpoint; /* as observed */
};

/* Hosts are chosen here: the one with the fewest instances of the target first, then the lowest index. host_down[i] = that host does not answer (no start there). n ≤ TN_MAX_INSTANCES, n_hosts ≤ 256.
 * `starts` = START moves in flight that are not in the observation yet, with their hosts in start_hosts. */
struct tn_strategy_input {
    const struct tn_strategy_spec *spec;
    const struct tn_instance_obs *v;
    int n;
    int n_hosts;
    const bool *host_down;
    const uint32_t *start_hosts;
    int starts;
    bool balancer_unknown; /* it does not answer: nothing in rotation is known */
    enum tn_gates_state gates;
    int64_t now;
};
void tn_strategy_next(const struct tn_strategy_input *in, struct tn_strategy_memo *memo,
                      struct tn_decision *out);

/* The world needs nothing: the first call of a second deploy says DONE without a move. */
const char *tn_wait_name(enum tn_wait w);
const char *tn_move_name(enum tn_move_kind k);

#endif
