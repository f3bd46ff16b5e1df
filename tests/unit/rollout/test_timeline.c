/* The timeline of diff: the steps of the core in an ideal world, for known specs. */
#include "tests/unit/rollout/world_help.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/rollout/changes.h"
#include "turnout/clock.h"
#include "turnout/mem.h"

/* `old` instances of another revision and `new` of the wanted one run. Rows as "old/new serving traffic‰ [moves]". */
struct timeline {
    struct tn_change change;
    char text[4096];
};

static void run(struct timeline *t, const char *rollout, int replicas, int old, int new)
{
    tn_autofree char *plan_text = tn_format(SHOP("%s"), rollout);
    struct tn_plan *plan = world_plan(plan_text);
    struct tn_session *s = world_session(plan, "alice");
    struct tn_goal g = {.service = (char *)(uintptr_t) "web",
                        .cluster = (char *)(uintptr_t) "c",
                        .plan_service = tn_plan_service(plan, "web"),
                        .spec = json_object(),
                        .revision = "new",
                        .replicas = replicas};
    struct tn_instance v[64];
    struct tn_observation world = {.v = v, .n = (size_t)(old + new)};
    for (int i = 0; i < old + new; i++)
        v[i] = (struct tn_instance){.service = (char *)(uintptr_t) "web",
                                    .revision = (char *)(uintptr_t)(i < old ? "old" : "new"),
                                    .state = TN_RUN_RUNNING};
    *t = (struct timeline){.change.least_serving = -1};
    tn_change_timeline(s, &g, &world, &t->change);
    json_decref(g.spec);
    world_session_end(s);
    tn_plan_free(plan);
    size_t n = 0;
    for (size_t i = 0; i < t->change.n_timeline; i++) {
        const struct tn_timeline_row *r = &t->change.timeline[i];
        n += (size_t)snprintf(t->text + n, sizeof(t->text) - n, "%d/%d %d %d [%s]\n", r->old_count,
                              r->new_count, r->serving, r->new_traffic_permille, r->text);
    }
}

static void clear(struct timeline *t)
{
    for (size_t i = 0; i < t->change.n_timeline; i++)
        free(t->change.timeline[i].text);
    free(t->change.timeline);
}

#define TIMES "min_healthy_time: 1s, healthy_deadline: 20s, progress_deadline: 1m, "

static void test_known(void **state)
{
    static const struct {
        const char *name, *rollout;
        int replicas, old, new, least;
        const char *rows;
    } rows[] = {
        {"first deployment", TIMES "max_surge: 1", 2, 0, 0, 0,
         "0/0 0 0 []\n0/2 0 0 [start 2]\n0/2 2 1000 [admit 2]\n"},
        {"surge 1", TIMES "max_surge: 1, max_unavailable: 0", 2, 2, 0, 2,
         "2/0 2 0 []\n2/1 2 0 [start 1]\n2/1 3 333 [admit 1]\n2/1 2 333 [drain 1 (at most 4s)]\n2/1 2 500 "
         "[]\n"
         "1/1 2 500 [stop 1]\n1/2 2 500 [start 1]\n1/2 3 666 [admit 1]\n1/2 2 666 [drain 1 (at most "
         "4s)]\n1/2 2 1000 []\n"
         "0/2 2 1000 [stop 1]\n"},
        {"unavailable 1", TIMES "max_surge: 0, max_unavailable: 1", 2, 2, 0, 1,
         "2/0 2 0 []\n2/0 1 0 [drain 1 (at most 4s)]\n1/0 1 0 [stop 1]\n1/1 1 0 [start 1]\n1/1 2 500 [admit "
         "1]\n"
         "1/1 1 500 [drain 1 (at most 4s)]\n1/1 1 1000 []\n0/1 1 1000 [stop 1]\n0/2 1 1000 [start 1]\n0/2 2 "
         "1000 [admit 1]\n"},
        {"recreate", TIMES "strategy: recreate", 2, 2, 0, 0,
         "2/0 2 0 []\n2/0 0 0 [drain 2 (at most 4s)]\n0/0 0 0 [stop 2]\n0/2 0 0 [start 2]\n0/2 2 1000 [admit "
         "2]\n"},
        {"scale down", TIMES "max_surge: 1", 1, 0, 3, 1,
         "0/3 3 1000 []\n0/3 1 1000 [drain 2 (at most 4s)]\n0/1 1 1000 [stop 2]\n"},
        {"scale up", TIMES "max_surge: 1", 3, 0, 1, 1,
         "0/1 1 1000 []\n0/3 1 1000 [start 2]\n0/3 3 1000 [admit 2]\n"},
        {"nothing to do", TIMES "max_surge: 1", 2, 0, 2, 2, "0/2 2 1000 []\n"},
        {"remove", TIMES "max_surge: 1", 0, 2, 0, 0,
         "2/0 2 0 []\n2/0 0 0 [drain 2 (at most 4s)]\n0/0 0 0 [stop 2]\n"},
    };
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        struct timeline t;
        run(&t, rows[i].rollout, rows[i].replicas, rows[i].old, rows[i].new);
        if (strcmp(t.text, rows[i].rows) != 0 || t.change.least_serving != rows[i].least) {
            print_error("%s: least %d\n%s", rows[i].name, t.change.least_serving, t.text);
            wrong++;
        }
        clear(&t);
    }
    assert_int_equal(wrong, 0);
}

/* Times of the rows rise; the delay between batches is in them. */
static void test_times(void **state)
{
    (void)state;
    struct timeline plain, delayed;
    run(&plain, TIMES "max_surge: 1", 3, 3, 0);
    run(&delayed, TIMES "max_surge: 1, delay: 10s", 3, 3, 0);
    for (size_t i = 1; i < plain.change.n_timeline; i++)
        assert_true(plain.change.timeline[i].at_ms > plain.change.timeline[i - 1].at_ms);
    assert_true(plain.change.expected_ms >= 3 * 2000); /* ready after 1 s, healthy for 1 s, three times */
    assert_true(plain.change.expected_ms < 60000);
    assert_true(delayed.change.expected_ms >= plain.change.expected_ms + 2 * 8000);
    clear(&plain);
    clear(&delayed);
}

/* The largest plan there can be: an end, within bounds, and the right one. */
static void test_large(void **state)
{
    (void)state;
    struct timeline t;
    int64_t before = tn_mono_ms();
    run(&t, TIMES "max_surge: 100%", 1000, 0, 0);
    assert_true(tn_mono_ms() - before < 10000);
    assert_true(t.change.n_timeline > 1);
    const struct tn_timeline_row *last = &t.change.timeline[t.change.n_timeline - 1];
    if (last->new_count != 1000 || last->serving != 1000)
        fail_msg("ends with %d, %d serve", last->new_count, last->serving);
    clear(&t);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, world_enter, world_leave)
int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_known), TEST(test_times), TEST(test_large)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
