/* world.h - a small language for observations and moves, so that a decision is one row of a table.
 *
 * An instance: revision (N wanted, o other), state (r ready, s starting, f failed, u unknown), rotation (+ in, - out,
 * ? unknown), then options: ! not settled, d drained, w was serving, x never served, c counted as failed, busy (A admit, D drain, S stop,
 * T settle, B start), @HOST, ~MS ready (or started, or out) for so long.
 * Defaults: settled; was serving when + or other; ready for 50 s, out for 1 s, starting for 1 s; the first in the text
 * is the oldest.
 * A decision: its moves in order ("drain2 stop0 start@1"), then "wait:NAME[=ms from now]", "done", "failed:WHY[culprit]".
 */
#ifndef TN_TEST_STRATEGY_WORLD_H
#define TN_TEST_STRATEGY_WORLD_H

#include "turnout/strategy.h"

enum { NOW = 10000000, WORLD_MAX = 256 };

struct strategy_world {
    struct tn_strategy_spec spec;
    struct tn_strategy_memo memo;
    struct tn_instance_obs v[WORLD_MAX];
    bool host_down[256];
    uint32_t start_hosts[WORLD_MAX];
    struct tn_strategy_input in; /* points into this */
    struct tn_decision d;
    char text[2048];
};

/* 3 replicas behind a balancer, min_healthy 5 s, healthy_deadline 30 s, progress_deadline 120 s, drain_cap 10 s. */
struct tn_strategy_spec strategy_spec(void);
void strategy_world_init(struct strategy_world *w, const struct tn_strategy_spec *spec,
                         const char *instances);
/* Asks the core; the decision as text (in w->text). */
const char *strategy_decide(struct strategy_world *w);
/* The defaults, and what a row sets otherwise. */
#ifdef __clang__
#pragma GCC diagnostic ignored "-Winitializer-overrides"
#else
#pragma GCC diagnostic ignored "-Woverride-init"
#endif
#define SPEC(...)                                                                                            \
    (const struct tn_strategy_spec)                                                                          \
    {                                                                                                        \
        .replicas = 3, .has_balancer = true, .min_healthy_time = 5000, .healthy_deadline = 30000,            \
        .progress_deadline = 120000, .drain_cap = 10000, __VA_ARGS__                                         \
    }

#endif
