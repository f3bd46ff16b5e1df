/* Decisions of the core, one row each: spec, world, moves. The language of the rows: world.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "tests/unit/strategy/world.h"
#include "turnout/mem.h"

struct row {
    const char *name;
    struct tn_strategy_spec spec;
    const char *world, *decision;
};

static void check_rows(const struct row *rows, size_t n)
{
    int wrong = 0;
    for (size_t i = 0; i < n; i++) {
        struct strategy_world w;
        strategy_world_init(&w, &rows[i].spec, rows[i].world);
        const char *got = strategy_decide(&w);
        if (strcmp(got, rows[i].decision) != 0) {
            print_error("%s: '%s' gave '%s', not '%s'\n", rows[i].name, rows[i].world, got, rows[i].decision);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}
#define CHECK(rows) ((void)state, check_rows(rows, TN_COUNT(rows)))

static void test_rolling(void **state)
{
    const struct row rows[] = {
        {"first deployment", SPEC(.max_surge = 1), "", "start@0 start@0 start@0"},
        {"surge 1: one more, nothing leaves", SPEC(.max_surge = 1), "or+ or+ or+", "start@0"},
        {"surge 2", SPEC(.max_surge = 2), "or+ or+ or+", "start@0 start@0"},
        {"surge above replicas: never more than wanted", SPEC(.max_surge = 9), "or+ or+ or+",
         "start@0 start@0 start@0"},
        {"unavailable 1: the youngest leaves", SPEC(.max_unavailable = 1), "or+ or+ or+", "drain2"},
        {"unavailable 2", SPEC(.max_unavailable = 2), "or+ or+ or+", "drain2 drain1"},
        {"both", SPEC(.max_surge = 1, .max_unavailable = 1), "or+ or+ or+", "drain2 start@0"},
        {"unavailable above replicas", SPEC(.max_unavailable = 7), "or+ or+ or+", "drain2 drain1 drain0"},
        {"neither: nothing can be done", SPEC(.max_surge = 0), "or+ or+ or+", ""},
        {"candidate starts: wait for it", SPEC(.max_surge = 1), "or+ or+ or+ Ns-", "wait:ready=29000"},
        {"the first of two deadlines", SPEC(.max_surge = 2), "or+ or+ or+ Ns-~1000 Ns-~9000",
         "wait:ready=21000"},
        {"ready, too young", SPEC(.max_surge = 1), "or+ or+ or+ Nr-~4999", "wait:min_healthy=1"},
        {"ready, old enough", SPEC(.max_surge = 1), "or+ or+ or+ Nr-!~5000", "admit3"},
        {"admitted: settled, and an old one leaves", SPEC(.max_surge = 1), "or+ or+ or+ Nr+!",
         "settle3 drain2"},
        {"too young to settle", SPEC(.max_surge = 1), "or+ or+ or+ Nr+!~1", "drain2 wait:min_healthy=4999"},
        {"being admitted does not serve yet", SPEC(.max_surge = 1), "or+ or+ or+ Nr-A", "wait:moves"},
        {"draining", SPEC(.max_surge = 1), "or+ or+ or-~3000 Nr+", "wait:drain=7000"},
        {"drained", SPEC(.max_surge = 1), "or+ or+ or-d Nr+", "stop2"},
        {"drain cap passed", SPEC(.max_surge = 1), "or+ or+ or-~10000 Nr+", "stop2"},
        {"just before the cap", SPEC(.max_surge = 1), "or+ or+ or-~9999 Nr+", "wait:drain=1"},
        {"stopped: the next one starts", SPEC(.max_surge = 1), "or+ or+ Nr+", "start@0"},
        {"a drain in flight counts as gone", SPEC(.max_surge = 1), "or+ or+ or+D Nr+", "wait:moves"},
        {"a stop in flight still exists", SPEC(.max_surge = 1), "or+ or+ or-S Nr+", "wait:moves"},
        {"last batch", SPEC(.max_surge = 1), "or+ Nr+ Nr+ Nr+", "drain0"},
        {"done", SPEC(.max_surge = 1), "Nr+ Nr+ Nr+", "done"},
        {"not settled: not done", SPEC(.max_surge = 1), "Nr+ Nr+ Nr+!", "settle2"},
        {"settling: not done", SPEC(.max_surge = 1), "Nr+ Nr+ Nr+!T", "wait:moves"},
        {"settled, the move still in flight", SPEC(.max_surge = 1), "Nr+ Nr+ Nr+T", "wait:moves"},
        {"one leaves: another comes", SPEC(.max_surge = 1), "Nr+ Nr+ Nr+D", "start@0 wait:moves"},
        {"out of rotation: not done, and put back", SPEC(.max_surge = 1), "Nr+ Nr+ Nr-w", "admit2"},
    };
    CHECK(rows);
}

static void test_scale(void **state)
{
    const struct row rows[] = {
        {"up", SPEC(.replicas = 4, .max_surge = 1), "Nr+ Nr+", "start@0 start@0"},
        {"up, surge 0", SPEC(.replicas = 4), "Nr+ Nr+", "start@0 start@0"},
        {"down: the youngest", SPEC(.replicas = 1), "Nr+ Nr+ Nr+", "drain2 drain1"},
        {"down, while one may be away: only the surplus", SPEC(.replicas = 1, .max_unavailable = 1),
         "Nr+ Nr+ Nr+", "drain2 drain1"},
        {"down: what does not serve goes first", SPEC(.replicas = 2), "Nr+ Nr-xd Nr+", "stop1"},
        {"down: others before the wanted ones", SPEC(.replicas = 2), "or+ Nr+ Nr+", "drain0"},
        {"down: a crashed one among them", SPEC(.replicas = 2, .max_failures = 1), "Nr+ Nf- Nr+", "stop1"},
        {"down, gates or not, to nothing", SPEC(.replicas = 0), "Nr+ or+", "drain1 drain0"},
        {"nothing wanted, nothing there", SPEC(.replicas = 0), "", "done"},
        {"nothing wanted, one draining", SPEC(.replicas = 0), "or-d", "stop0"},
        {"nothing wanted, one starting", SPEC(.replicas = 0), "Ns-", "stop0 wait:ready=29000"},
        {"nothing wanted, one crashed", SPEC(.replicas = 0), "of-d", "stop0"},
        {"up and to another revision", SPEC(.replicas = 5, .max_surge = 1), "or+ or+",
         "start@0 start@0 start@0 start@0"},
        {"down and to another revision", SPEC(.replicas = 1, .max_surge = 1), "or+ or+ or+", "drain2 drain1"},
    };
    CHECK(rows);
}

/* A deployment over a half-finished one: whatever is not the wanted revision is "other", wherever it stands. */
static void test_three_revisions(void **state)
{
    const struct row rows[] = {
        {"half-finished, not in rotation", SPEC(.max_surge = 1), "or+ or+ or+ or-x", "stop3"},
        {"half-finished, starting", SPEC(.max_surge = 1), "or+ or+ or+ os-x", "stop3"},
        {"half-finished, crashed", SPEC(.max_surge = 1), "or+ or+ or+ of-x", "stop3"},
        {"half-finished, serving", SPEC(.max_surge = 1), "or+ or+ or+ or+", "drain3"},
        {"and a candidate of ours", SPEC(.max_surge = 2), "or+ or+ or+ or-x Nr-", "admit4 stop3"},
        {"more than fit: no start", SPEC(.max_surge = 1), "or+ or+ or+ or+D or+D", "wait:moves"},
    };
    CHECK(rows);
}

static void test_old_instances_that_fail(void **state)
{
    const struct row rows[] = {
        {"crashed, out of rotation: stopped at once", SPEC(.max_surge = 1), "or+ or+ of-d", "stop2 start@0"},
        {"crashed, still in rotation: out first", SPEC(.max_surge = 1), "or+ or+ of+", "drain2 start@0"},
        {"crashed, not yet drained", SPEC(.max_surge = 1), "or+ or+ of-~1000", "start@0 wait:drain=9000"},
        {"all crashed", SPEC(.max_surge = 1), "of-d of-d of-d", "stop0 stop1 stop2 start@0"},
        {"never counted as our failure", SPEC(.max_failures = 0, .max_surge = 1), "of- of- of-",
         "start@0 wait:drain=9000"},
        {"weak and needed: kept", SPEC(.max_surge = 1), "or+ or+ os+", "start@0"},
        {"weak and not needed: leaves first", SPEC(.max_unavailable = 1, .max_surge = 1), "or+ or+ os+",
         "drain2 start@0"},
        {"weak, its place is needed", SPEC(.max_surge = 0), "or+ or+ os+", "drain2"},
        {"weak ones leave one at a time", SPEC(.max_surge = 0), "os+ os+ or+", "drain0"},
        {"weak, enough serve", SPEC(.max_surge = 1), "or+ or+ os+ Nr+", "drain2"},
        {"weak, the candidate still starts", SPEC(.max_surge = 1), "or+ or+ os+ Ns-", "wait:ready=29000"},
        {"weak without a balancer", SPEC(.max_surge = 1, .has_balancer = false), "or+ or+ os-", "start@0"},
        {"starting, never served, without a balancer", SPEC(.max_surge = 1, .has_balancer = false),
         "or+ or+ os-x", "stop2 start@0"},
    };
    CHECK(rows);
}

static void test_candidates_that_fail(void **state)
{
    const struct row rows[] = {
        {"one is too many", SPEC(.max_surge = 1), "or+ or+ or+ Nf-", "failed:instance3"},
        {"the first one is told", SPEC(.max_surge = 2), "or+ or+ or+ Nr- Nf-", "failed:instance4"},
        {"one is allowed", SPEC(.max_surge = 1, .max_failures = 1), "or+ or+ or+ Nf-", "stop3"},
        {"two are not", SPEC(.max_surge = 2, .max_failures = 1), "or+ or+ or+ Nf- Nf-", "failed:instance3"},
        {"in rotation: out first", SPEC(.max_surge = 1, .max_failures = 1), "or+ or+ or+ Nf+", "drain3"},
        {"drains", SPEC(.max_surge = 1, .max_failures = 1), "or+ or+ or+ Nf-w~4000", "wait:drain=6000"},
        {"rotation unknown: not touched", SPEC(.max_surge = 1, .max_failures = 1), "or+ or+ or+ Nf?", ""},
        {"being stopped: not counted again", SPEC(.max_surge = 1), "or+ or+ or+ Nf-S", "wait:moves"},
        {"too late", SPEC(.max_surge = 1), "or+ or+ or+ Ns-~30001", "failed:instance3"},
        {"just in time", SPEC(.max_surge = 1), "or+ or+ or+ Ns-~30000", "wait:ready=0"},
        {"still being started: not late", SPEC(.max_surge = 1), "or+ or+ or+ Ns-B~40000", "wait:moves"},
        {"an old one that is not ready is not late", SPEC(.max_surge = 1), "or+ or+ os+~99999", "start@0"},
        {"its place is free when it is gone", SPEC(.max_surge = 1, .max_failures = 1), "or+ or+ or+",
         "start@0"},
    };
    CHECK(rows);
}

/* The memo counts a failed candidate once, when it is stopped; a stop that must be tried again is no second failure. */
static void test_failures_are_counted_once(void **state)
{
    (void)state;
    struct strategy_world w;
    strategy_world_init(&w, &SPEC(.max_surge = 1, .max_failures = 1), "or+ or+ or+ Nf-");
    assert_string_equal(strategy_decide(&w), "stop3");
    assert_int_equal(w.memo.failures, 1);
    strategy_world_init(&w, &SPEC(.max_surge = 1, .max_failures = 1), "or+ or+ or+ Nf-");
    w.memo.failures = 1;
    assert_string_equal(strategy_decide(&w), "failed:instance3"); /* a second one */
    strategy_world_init(&w, &SPEC(.max_surge = 1, .max_failures = 1), "or+ or+ or+ Nf+");
    strategy_decide(&w);
    assert_int_equal(w.memo.failures, 0); /* only taken out */
}

static void test_a_stop_tried_again_is_no_second_failure(void **state)
{
    (void)state;
    struct strategy_world w;
    strategy_world_init(&w, &SPEC(.max_surge = 1, .max_failures = 1), "or+ or+ or+ Nf-");
    assert_string_equal(strategy_decide(&w), "stop3");
    /* the engine refused the stop: the very same instance is seen again */
    w.v[3].counted = true;
    assert_string_equal(strategy_decide(&w), "stop3");
    assert_int_equal(w.memo.failures, 1);
}

static void test_unknown(void **state)
{
    const struct row rows[] = {
        {"does not serve, is not touched", SPEC(.max_unavailable = 1), "or+ or+ ou+", "wait:unknown=129000"},
        {"exists for surge", SPEC(.max_surge = 0), "or+ ou+ ou+", "wait:unknown=129000"},
        {"a candidate is not replaced", SPEC(.max_surge = 0), "Nr+ Nr+ Nu+", "wait:unknown=129000"},
        {"rotation unknown: kept", SPEC(.max_unavailable = 3), "or? or? or?", ""},
        {"a candidate of unknown rotation is not admitted", SPEC(.max_surge = 1), "or+ or+ or+ Nr?", ""},
    };
    CHECK(rows);
}

static void test_hosts(void **state)
{
    (void)state;
    struct strategy_world w;
    strategy_world_init(&w, &SPEC(.replicas = 5), "");
    w.in.n_hosts = 3;
    assert_string_equal(strategy_decide(&w), "start@0 start@1 start@2 start@0 start@1");
    w.host_down[1] = true;
    assert_string_equal(strategy_decide(&w), "start@0 start@2 start@0 start@2 start@0");
    w.host_down[0] = w.host_down[2] = true;
    assert_string_equal(strategy_decide(&w), "wait:unknown");
    w.in.host_down = NULL; /* none is down */
    assert_string_equal(strategy_decide(&w), "start@0 start@1 start@2 start@0 start@1");
    /* fewest of the wanted revision; others and failed ones do not count, starts in flight do */
    strategy_world_init(&w, &SPEC(.replicas = 4, .max_surge = 9, .max_failures = 1),
                        "or+@1 or+@1 Nr+@0 Nf-S@1");
    w.in.n_hosts = 3;
    w.start_hosts[0] = 2;
    w.in.starts = 1;
    assert_string_equal(strategy_decide(&w), "start@1 start@0 wait:moves");
}

/* Starts in flight exist for surge and count as wanted instances. */
static void test_starts_in_flight(void **state)
{
    (void)state;
    struct strategy_world w;
    strategy_world_init(&w, &SPEC(.max_surge = 2), "or+ or+ or+");
    w.in.starts = 1;
    assert_string_equal(strategy_decide(&w), "start@0 wait:moves");
    w.in.starts = 2;
    assert_string_equal(strategy_decide(&w), "wait:moves");
    strategy_world_init(&w, &SPEC(.max_surge = 5), "Nr+ Nr+");
    w.in.starts = 1;
    assert_string_equal(strategy_decide(&w), "wait:moves");
    strategy_world_init(&w, &SPEC(.max_surge = 5), "Nr+ Nr+ Nr+");
    w.in.starts = 1; /* one too many comes: not done */
    assert_string_not_equal(strategy_decide(&w), "done");
}

/* Nothing is known of rotation: only what needs none may happen. */
static void test_balancer_unknown(void **state)
{
    (void)state;
    struct strategy_world w;
    strategy_world_init(&w, &SPEC(.max_surge = 1), "or? or? or? Nr?");
    w.in.balancer_unknown = true;
    assert_string_equal(strategy_decide(&w), "wait:unknown=129000");
    /* what is known to be out all the same (nobody ever told a balancer of it) may go; nothing is admitted */
    strategy_world_init(&w, &SPEC(.max_surge = 1), "or? or? of- Nr-");
    w.in.balancer_unknown = true;
    assert_string_equal(strategy_decide(&w), "wait:drain=9000");
    strategy_world_init(&w, &SPEC(.max_surge = 1), "Nr+ Nr+ Nr+");
    w.in.balancer_unknown = true;
    assert_string_equal(strategy_decide(&w), "wait:unknown=129000");
    strategy_world_init(&w, &SPEC(.max_surge = 1), "or? or? or?");
    w.in.balancer_unknown = true;
    assert_string_equal(strategy_decide(&w), "start@0 wait:unknown=129000");
    strategy_world_init(&w, &SPEC(.max_surge = 1, .has_balancer = true), "Nr- or+ or+ or+");
    w.in.balancer_unknown = true; /* known to be out, yet nobody could confirm that it is in */
    strategy_decide(&w);
    for (int i = 0; i < w.d.n_moves; i++)
        assert_int_not_equal(w.d.moves[i].kind, TN_MOVE_ADMIT);
    strategy_world_init(&w, &SPEC(.replicas = 0), "");
    w.in.balancer_unknown = true; /* nothing exists that could be in rotation */
    assert_string_equal(strategy_decide(&w), "done");
}

static const char *with_gates(enum tn_gates_state gates, enum tn_direction direction, const char *world)
{
    static struct strategy_world w;
    strategy_world_init(&w, &SPEC(.max_surge = 1, .direction = direction), world);
    w.in.gates = gates;
    return strategy_decide(&w);
}

static void test_gates(void **state)
{
    (void)state;
    assert_string_equal(with_gates(TN_GATES_PENDING, TN_FORWARD, "or+ or+ or+ Nr+"), "wait:gates");
    assert_string_equal(with_gates(TN_GATES_PENDING, TN_FORWARD, "or+ or+ or+ Nr-"), "admit3 wait:gates");
    assert_string_equal(with_gates(TN_GATES_PENDING, TN_FORWARD, "or+ or+ or-d Nr+"), "stop2 wait:gates");
    assert_string_equal(with_gates(TN_GATES_PENDING, TN_FORWARD, "Nr+ Nr+ Nr+"), "wait:gates"); /* not done */
    assert_string_equal(with_gates(TN_GATES_FAIL, TN_FORWARD, "or+ or+ or+ Nr+"), "failed:gate");
    assert_string_equal(with_gates(TN_GATES_FAIL, TN_FORWARD, "Nr+ Nr+ Nr+"), "failed:gate");
    assert_string_equal(with_gates(TN_GATES_FAIL, TN_BACK, "or+ or+ or+ Nr+"), "drain2");
    assert_string_equal(with_gates(TN_GATES_PENDING, TN_BACK, "or+ or+ or+ Nr+"), "drain2");
    assert_string_equal(with_gates(TN_GATES_PENDING, TN_BACK, "Nr+ Nr+ Nr+"), "done");
}

static const char *with_delay(int64_t since_admit, enum tn_direction direction, const char *world)
{
    static struct strategy_world w;
    strategy_world_init(&w, &SPEC(.max_surge = 1, .delay = 3000, .direction = direction), world);
    w.memo.last_admit = since_admit ? NOW - since_admit : 0;
    return strategy_decide(&w);
}

static void test_delay(void **state)
{
    (void)state;
    assert_string_equal(with_delay(1000, TN_FORWARD, "or+ or+ or+ Nr+"), "wait:delay=2000");
    assert_string_equal(with_delay(3000, TN_FORWARD, "or+ or+ or+ Nr+"), "drain2");
    assert_string_equal(with_delay(0, TN_FORWARD, "or+ or+ or+ Nr+"), "drain2"); /* nothing was admitted */
    assert_string_equal(with_delay(1000, TN_FORWARD, "or+ Nr+ Nr+ Nr+"),
                        "drain0"); /* after the last batch: none */
    assert_string_equal(with_delay(1000, TN_FORWARD, "Nr+ Nr+ Nr+ Nr+"),
                        "drain3"); /* scale down is no batch */
    assert_string_equal(with_delay(1000, TN_BACK, "or+ or+ or+ Nr+"), "drain2");
    struct strategy_world w;
    strategy_world_init(&w, &SPEC(.max_surge = 1, .delay = 3000), "or+ or+ or+ Nr-");
    strategy_decide(&w);
    assert_int_equal(w.memo.last_admit, NOW);
}

static void test_recreate(void **state)
{
    const struct row rows[] = {
        {"all leave, nothing starts", SPEC(.kind = TN_RECREATE), "or+ or+ or+", "drain2 drain1 drain0"},
        {"one is still there", SPEC(.kind = TN_RECREATE), "or-~1000", "wait:drain=9000"},
        {"one is being stopped", SPEC(.kind = TN_RECREATE), "or-S", "wait:moves"},
        {"one on a host that does not answer", SPEC(.kind = TN_RECREATE), "ou+", "wait:unknown=129000"},
        {"all gone", SPEC(.kind = TN_RECREATE), "", "start@0 start@0 start@0"},
        {"first deployment with a candidate", SPEC(.kind = TN_RECREATE), "Nr-", "admit0 start@0 start@0"},
        {"weak old ones are not kept", SPEC(.kind = TN_RECREATE), "os+ or+", "drain0 drain1"},
        {"done", SPEC(.kind = TN_RECREATE), "Nr+ Nr+ Nr+", "done"},
    };
    CHECK(rows);
}

static void test_manual(void **state)
{
    const struct row rows[] = {
        {"nothing is ever done", SPEC(.kind = TN_MANUAL), "or+ of+ Nr-", "done"},
        {"not even in an empty world", SPEC(.kind = TN_MANUAL), "", "done"},
    };
    CHECK(rows);
}

/* "target" is the old revision now. */
static void test_rollback(void **state)
{
    const struct row rows[] = {
        {"no minimum healthy time", SPEC(.direction = TN_BACK, .max_surge = 1), "or+ or+ or+ Nr-~0",
         "admit3"},
        {"settles at once", SPEC(.direction = TN_BACK, .max_surge = 1), "or+ or+ or+ Nr+!~0",
         "settle3 drain2"},
        {"keeps the floor", SPEC(.direction = TN_BACK, .max_surge = 1), "Nr+ Nr+ or+", "start@0"},
        {"leaves what failed", SPEC(.direction = TN_BACK, .max_surge = 1), "Nr+ Nr+ Nr+ of-x", "stop3"},
        {"never waits for what it leaves", SPEC(.direction = TN_BACK, .max_surge = 1),
         "Nr+ Nr+ Nr+ os-x~99999", "stop3"},
        {"its own may fail three times", SPEC(.direction = TN_BACK, .max_surge = 3), "Nf- Nf- Nf-",
         "stop0 stop1 stop2 start@0 start@0 start@0"},
        {"not four times", SPEC(.direction = TN_BACK, .max_surge = 3), "Nf- Nf- Nf- Nf-", "failed:instance0"},
        {"more often if the plan says so", SPEC(.direction = TN_BACK, .max_surge = 3, .max_failures = 4),
         "Nf- Nf- Nf- Nf-", "stop0 stop1 stop2 stop3 start@0 start@0"},
        {"a failed first deployment", SPEC(.direction = TN_BACK, .replicas = 0), "or+ os-x", "stop1 drain0"},
        {"drain is kept", SPEC(.direction = TN_BACK, .max_surge = 1), "Nr+ Nr+ Nr+ or-~1000",
         "wait:drain=9000"},
    };
    CHECK(rows);
}

static void test_no_balancer(void **state)
{
    const struct row rows[] = {
        {"ready is in rotation: the old one is stopped", SPEC(.max_surge = 1, .has_balancer = false),
         "or+ or+ or+ Nr+", "stop2"},
        {"not ready", SPEC(.max_surge = 1, .has_balancer = false), "or+ or+ or+ Ns-", "wait:ready=29000"},
        {"floor", SPEC(.max_surge = 0, .max_unavailable = 1, .has_balancer = false), "or+ or+ or+", "stop2"},
        {"crashed candidate", SPEC(.max_surge = 1, .max_failures = 1, .has_balancer = false),
         "or+ or+ or+ Nf-", "stop3"},
        {"no drain cap", SPEC(.max_surge = 1, .has_balancer = false), "or+ or+ of-w~0 Nr+", "stop2"},
        {"done", SPEC(.has_balancer = false), "Nr+ Nr+ Nr+", "done"},
    };
    CHECK(rows);
}

/* More is admitted than wanted: never. One that is in, or on its way in, takes a place. */
static void test_admits_no_more_than_wanted(void **state)
{
    const struct row rows[] = {
        {"two of three", SPEC(.max_surge = 3), "Nr+ Nr- Nr- Nr-", "admit1 admit2 stop3"},
        {"one on its way", SPEC(.max_surge = 3), "Nr+ Nr-A Nr- Nr-", "admit2 stop3 wait:moves"},
        {"one leaves", SPEC(.max_surge = 3), "Nr+ Nr+ Nr+D Nr-", "admit3 wait:moves"},
    };
    CHECK(rows);
}

static const char *after(int64_t ms, const struct tn_strategy_spec *spec, const char *world)
{
    static struct strategy_world w;
    strategy_world_init(&w, spec, world);
    w.memo.last_progress = NOW - ms;
    return strategy_decide(&w);
}

/* The deadline, plus the waits that the plan itself asks for. */
static void test_progress_deadline(void **state)
{
    (void)state;
    const char *stuck = "or+ or+ or+ Ns-";
    assert_string_equal(after(130000, &SPEC(.max_surge = 1), stuck), "wait:ready=29000");
    assert_string_equal(after(130001, &SPEC(.max_surge = 1), stuck), "failed:deadline");
    assert_string_equal(after(133000, &SPEC(.max_surge = 1, .delay = 3000), stuck), "wait:ready=29000");
    assert_string_equal(after(133001, &SPEC(.max_surge = 1, .delay = 3000), stuck), "failed:deadline");
    assert_string_equal(after(120001, &SPEC(.max_surge = 1, .has_balancer = false), stuck),
                        "failed:deadline");
    assert_string_equal(after(120000, &SPEC(.max_surge = 1, .has_balancer = false), stuck),
                        "wait:ready=29000");
    assert_string_equal(after(999999, &SPEC(.max_surge = 1), "Nr+ Nr+ Nr+"), "done"); /* done is done */
    assert_string_equal(after(999999, &SPEC(.direction = TN_BACK), "ou+ ou+ ou+"), "failed:deadline");
}

/* Progress moves the deadline forward; going to and fro does not. */
static void test_progress(void **state)
{
    (void)state;
    struct strategy_world w;
    strategy_world_init(&w, &SPEC(.max_surge = 1), "or+ or+ or+");
    w.memo = (struct tn_strategy_memo){0};
    strategy_decide(&w);
    assert_int_equal(w.memo.began, NOW);
    assert_int_equal(w.memo.last_progress, NOW);
    struct tn_strategy_memo first = w.memo;
    strategy_world_init(&w, &SPEC(.max_surge = 1), "or+ or+ or+ Nr+");
    w.memo = first;
    w.memo.last_progress = NOW - 60000;
    strategy_decide(&w);
    assert_int_equal(w.memo.last_progress, NOW); /* a candidate serves */
    assert_int_equal(w.memo.began, NOW);
    struct tn_strategy_memo second = w.memo;
    strategy_world_init(&w, &SPEC(.max_surge = 1), "or+ or+ Nr+");
    w.memo = second;
    w.memo.last_progress = NOW - 60000;
    strategy_decide(&w);
    assert_int_equal(w.memo.last_progress, NOW); /* an old one is gone */
    struct tn_strategy_memo third = w.memo;
    strategy_world_init(&w, &SPEC(.max_surge = 1), "or+ or+ Ns-");
    w.memo = third;
    w.memo.last_progress = NOW - 60000;
    strategy_decide(&w);
    assert_int_equal(w.memo.last_progress, NOW - 60000); /* back */
    strategy_world_init(&w, &SPEC(.max_surge = 1), "or+ or+ Nr+");
    w.memo = third;
    w.memo.last_progress = NOW - 60000;
    strategy_decide(&w);
    assert_int_equal(w.memo.last_progress, NOW - 60000); /* and forth */
}

static void test_bounds(void **state)
{
    (void)state;
    struct strategy_world w;
    strategy_world_init(&w, &SPEC(.replicas = 200), "");
    strategy_decide(&w);
    assert_int_equal(w.d.n_moves, TN_MAX_MOVES);
    char world[5 * 100 + 1] = "";
    for (size_t i = 0; i < 100; i++)
        memcpy(world + i * 4, "or+ ", 5);
    strategy_world_init(&w, &SPEC(.replicas = 0), world);
    strategy_decide(&w);
    assert_int_equal(w.d.n_moves, TN_MAX_MOVES);
    assert_int_equal(w.d.verdict, TN_RUNNING);
    for (int i = 0; i < w.d.n_moves; i++)
        for (int k = 0; k < i; k++)
            assert_int_not_equal(w.d.moves[i].instance, w.d.moves[k].instance);
}

static void test_setpoint(void **state)
{
    (void)state;
    struct strategy_world w;
    strategy_world_init(&w, &SPEC(.max_surge = 1), "or+ or+D of+ or-S Nr+ Nr- Ns-");
    w.in.starts = 1;
    strategy_decide(&w);
    assert_int_equal(w.d.setpoint.old_count, 4);
    assert_int_equal(w.d.setpoint.new_count, 4);
    assert_int_equal(w.d.setpoint.available, 2);
    assert_int_equal(w.d.setpoint.new_traffic_permille, 250);
    strategy_world_init(&w, &SPEC(.max_surge = 1), "");
    strategy_decide(&w);
    assert_int_equal(w.d.setpoint.new_traffic_permille, 0);
}

/* The same world, the same answer: nothing is kept but the memo. */
static void test_pure(void **state)
{
    (void)state;
    struct strategy_world a, b;
    strategy_world_init(&a, &SPEC(.max_surge = 1), "or+ or+ os+ Nr-");
    strategy_world_init(&b, &SPEC(.max_surge = 1), "or+ or+ os+ Nr-");
    memset(&b.d, 0xff, sizeof(b.d));
    strategy_decide(&a);
    strategy_decide(&b);
    assert_string_equal(a.text, b.text);
    assert_memory_equal(&a.memo, &b.memo, sizeof(a.memo));
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(tn_wait_name(TN_WAIT_DRAIN), "running requests");
    assert_string_equal(tn_wait_name(TN_WAIT_UNKNOWN), "a host or balancer that does not answer");
    assert_string_equal(tn_wait_name((enum tn_wait)99), "?");
    assert_string_equal(tn_move_name(TN_MOVE_START), "start");
    assert_string_equal(tn_move_name(TN_MOVE_STOP), "stop");
    assert_string_equal(tn_move_name((enum tn_move_kind)99), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rolling),
        cmocka_unit_test(test_scale),
        cmocka_unit_test(test_three_revisions),
        cmocka_unit_test(test_old_instances_that_fail),
        cmocka_unit_test(test_candidates_that_fail),
        cmocka_unit_test(test_failures_are_counted_once),
        cmocka_unit_test(test_a_stop_tried_again_is_no_second_failure),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_starts_in_flight),
        cmocka_unit_test(test_balancer_unknown),
        cmocka_unit_test(test_gates),
        cmocka_unit_test(test_delay),
        cmocka_unit_test(test_recreate),
        cmocka_unit_test(test_manual),
        cmocka_unit_test(test_rollback),
        cmocka_unit_test(test_no_balancer),
        cmocka_unit_test(test_admits_no_more_than_wanted),
        cmocka_unit_test(test_progress_deadline),
        cmocka_unit_test(test_progress),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_setpoint),
        cmocka_unit_test(test_pure),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
