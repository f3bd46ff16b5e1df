/* sim_strategy.c - the pure core against random worlds, and against every small one.
 *
 * Each seed makes a spec, a world (instances of up to three revisions on up to four hosts) and faults: instances that
 * die, never start, flap, vanish; moves that answer late, twice or not at all; hosts and a balancer that do not answer;
 * restarts of the run in the middle (what was in flight is lost or happens anyway, the memo survives or is one step
 * old). First a phase with faults in which the safety rules are judged by the world itself, then a phase without in
 * which a terminal state must come within a bounded time. --small: see small.c.
 *
 *   sim_strategy [--rollouts N] [--seed S] [--one SEED] [--small] [--small-one N] [--verbose]
 *
 * Without any of --rollouts, --one and --small: SIM_ROLLOUTS random rollouts (100000), then the small worlds.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/sim/world.h"

struct options {
    int64_t rollouts, small_one;
    uint64_t seed, one;
    bool verbose, small;
};

static bool read_flag(struct options *o, const char *flag, const char *value)
{
    if (strcmp(flag, "--rollouts") == 0)
        o->rollouts = strtoll(value, NULL, 10);
    else if (strcmp(flag, "--seed") == 0)
        o->seed = strtoull(value, NULL, 10);
    else if (strcmp(flag, "--one") == 0)
        o->one = strtoull(value, NULL, 10);
    else if (strcmp(flag, "--small-one") == 0)
        o->small_one = strtoll(value, NULL, 10);
    else
        return false;
    return true;
}

static bool read_options(struct options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--verbose") == 0)
            o->verbose = true;
        else if (strcmp(argv[i], "--small") == 0)
            o->small = true;
        else if (i + 1 < argc && read_flag(o, argv[i], argv[i + 1]))
            i++;
        else
            return false;
    }
    return true;
}

static int64_t random_worlds(const struct options *o, const char *program)
{
    int64_t count[4] = {0}, moves = 0, failed = 0;
    for (int64_t i = 0; i < o->rollouts; i++) {
        struct sim_world w;
        sim_make_world(&w, o->seed + (uint64_t)i);
        enum sim_outcome end = sim_run(&w, o->verbose);
        count[end]++;
        moves += w.moves;
        if (end == SIM_BROKEN && ++failed <= 5)
            printf("FAILED %s\n  replay: %s --one %" PRIu64 " --verbose\n", w.broken, program,
                   o->seed + (uint64_t)i);
    }
    printf("seed %" PRIu64 ": %" PRId64 " rollouts, %" PRId64 " moves: all new %" PRId64 ", all old %" PRId64
           ", recorded as mixed under faults %" PRId64 "\n",
           o->seed, o->rollouts, moves, count[SIM_ALL_NEW], count[SIM_ALL_OLD], count[SIM_MIXED]);
    printf("%" PRId64 " passed, %" PRId64 " failed\n", o->rollouts - failed, failed);
    return failed;
}

int main(int argc, char **argv)
{
    const char *wanted = getenv("SIM_ROLLOUTS");
    struct options o = {.rollouts = -1, .small_one = -1, .seed = (uint64_t)time(NULL)};
    if (!read_options(&o, argc, argv)) {
        fprintf(stderr,
                "usage: %s [--rollouts N] [--seed S] [--one SEED] [--small] [--small-one N] [--verbose]\n",
                argv[0]);
        return 2;
    }
    if (o.small || o.small_one >= 0)
        return sim_small(o.small_one, o.verbose, argv[0]) ? 1 : 0;
    int64_t failed = 0;
    if (o.one)
        o.seed = o.one, o.rollouts = 1;
    else if (o.rollouts < 0) {
        o.rollouts = wanted && *wanted ? strtoll(wanted, NULL, 10) : 100000;
        failed = sim_small(-1, false, argv[0]);
    }
    return failed + random_worlds(&o, argv[0]) ? 1 : 0;
}
