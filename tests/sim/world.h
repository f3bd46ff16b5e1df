/* world.h - the model that the core is tested in: instances, moves on their way, hosts, a balancer, and the judge.
 *
 * The judge counts on its own, from the true world; it shares no counter with the core.
 */
#ifndef TN_SIM_WORLD_H
#define TN_SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "turnout/strategy.h"

enum { SIM_MAX = 24, SIM_HOSTS = 4, SIM_TICK = 100, SIM_FAULT_END = 20000, SIM_LIVE_END = 400000 };

/* The truth about one instance. */
struct sim_thing {
    bool exists, ready, failed, in_rotation, settled, doomed /* never becomes ready */;
    int revision; /* 0 = old, 1 = half-finished, 2 = new */
    uint32_t host;
    int64_t started, ready_at, ready_since, out_since, drained_at, dies_at;
    bool was_serving, counted /* its failure is in the memo */;
    enum tn_busy busy; /* a move of the run in flight */
    int64_t busy_until;
    bool busy_lost; /* the run died: the move happens, nobody hears of it */
};
struct sim_start {
    uint32_t host;
    int64_t at;
    bool counted; /* the run still knows that it is in flight */
    bool fails;
};
struct sim_script; /* small.c */
struct sim_world {
    uint64_t rng;
    const struct sim_script *script; /* NULL = faults come by chance; else chance always takes the middle */
    struct sim_thing v[SIM_MAX];
    struct sim_start starts[SIM_MAX];
    int n_starts;
    bool host_down[SIM_HOSTS];
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

/* world.c: the world by itself */
int sim_below(struct sim_world *w, int n);
bool sim_chance(struct sim_world *w, int permille);
bool sim_fault(struct sim_world *w);
bool sim_serves(const struct sim_world *w, const struct sim_thing *t);
void sim_make_old(struct sim_world *w, int revision, int n);
void sim_make_world(struct sim_world *w, uint64_t seed);
void sim_pass_time(struct sim_world *w);
void sim_begin_move(struct sim_world *w, const struct tn_move *m, const int *index);
void sim_finish_move(struct sim_world *w, struct sim_thing *t, bool lost);
/* kill -9 and resume: `happens` tells of each move in flight whether it is carried out all the same (-1 = by chance). */
void sim_restart_run(struct sim_world *w, int happens);

/* judge.c: the rules; the first one broken is kept in w->broken */
void sim_broke(struct sim_world *w, const char *rule);
void sim_judge_move(struct sim_world *w, const struct tn_move *m, const int *index);
void sim_judge_done(struct sim_world *w);

/* rollout.c: one rollout from beginning to end */
enum sim_outcome { SIM_ALL_NEW, SIM_ALL_OLD, SIM_MIXED, SIM_BROKEN };
enum sim_outcome sim_run(struct sim_world *w, bool verbose);

/* small.c: every small world. `one` ≥ 0: only that one. Returns the number of failures. */
int64_t sim_small(int64_t one, bool verbose, const char *program);
/* What the script does to hosts, balancer, gates and instances at w->now. */
void sim_script_apply(struct sim_world *w);

#endif
