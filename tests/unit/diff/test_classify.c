/* What kind of change a placement needs: one row each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "lib/diff/diff.h"
#include "turnout/mem.h"

/* An instance is a letter: N wanted and fine, d wanted and dead, o wanted and out of rotation, x another revision,
 * X another revision, dead. */
static int read_instances(const char *text, struct tn_diff_instance *v)
{
    int n = 0;
    for (; text[n]; n++)
        v[n] = (struct tn_diff_instance){
            .target = strchr("Ndo", text[n]) != NULL,
            .alive = strchr("Nox", text[n]) != NULL,
            .in_rotation = strchr("Ndx", text[n]) != NULL,
        };
    return n;
}

enum { PLAN = 1, MANUAL = 2, TRAFFIC = 4 };

static void test_table(void **state)
{
    const struct {
        const char *name, *instances;
        int replicas, flags;
        enum tn_diff_action action;
    } rows[] = {
        {"as the plan wants it", "NNN", 3, PLAN, TN_DIFF_NONE},
        {"nothing wanted, nothing there", "", 0, PLAN, TN_DIFF_NONE},
        {"nothing of it runs", "", 3, PLAN, TN_DIFF_CREATE},
        {"nothing of it runs, traffic differs", "", 3, PLAN | TRAFFIC, TN_DIFF_CREATE},
        {"another revision", "xxx", 3, PLAN, TN_DIFF_UPDATE},
        {"half-way", "NNx", 3, PLAN, TN_DIFF_UPDATE},
        {"all new, one old left over", "NNNx", 3, PLAN, TN_DIFF_UPDATE},
        {"a dead one of another revision", "NNNX", 3, PLAN, TN_DIFF_UPDATE},
        {"another revision and fewer", "x", 3, PLAN, TN_DIFF_UPDATE},
        {"another revision, none wanted", "xx", 0, PLAN, TN_DIFF_UPDATE},
        {"another revision before broken ones", "dx", 2, PLAN, TN_DIFF_UPDATE},
        {"more wanted", "NN", 3, PLAN, TN_DIFF_SCALE},
        {"fewer wanted", "NNNN", 3, PLAN, TN_DIFF_SCALE},
        {"none wanted any more", "NN", 0, PLAN, TN_DIFF_SCALE},
        {"more wanted before repair", "Nd", 3, PLAN, TN_DIFF_SCALE},
        {"one is dead", "NNd", 3, PLAN, TN_DIFF_REPAIR},
        {"one is out of rotation", "NNo", 3, PLAN, TN_DIFF_REPAIR},
        {"all are dead", "ddd", 3, PLAN, TN_DIFF_REPAIR},
        {"repair before traffic", "NNd", 3, PLAN | TRAFFIC, TN_DIFF_REPAIR},
        {"only traffic", "NNN", 3, PLAN | TRAFFIC, TN_DIFF_TRAFFIC},
        {"left the plan", "NNN", 3, 0, TN_DIFF_REMOVE},
        {"left the plan, another revision", "xX", 3, 0, TN_DIFF_REMOVE},
        {"left the plan, gone", "", 3, 0, TN_DIFF_NONE},
        {"left the plan, gone, traffic differs", "", 0, TRAFFIC, TN_DIFF_NONE},
        {"left the plan, manual", "N", 1, MANUAL, TN_DIFF_REMOVE},
        {"manual, as it should be", "NNN", 3, PLAN | MANUAL, TN_DIFF_NONE},
        {"manual, drift", "xxx", 3, PLAN | MANUAL, TN_DIFF_MANUAL},
        {"manual, missing", "", 3, PLAN | MANUAL, TN_DIFF_MANUAL},
        {"manual, fewer", "N", 3, PLAN | MANUAL, TN_DIFF_MANUAL},
        {"manual, dead", "d", 1, PLAN | MANUAL, TN_DIFF_MANUAL},
        {"manual, traffic", "N", 1, PLAN | MANUAL | TRAFFIC, TN_DIFF_TRAFFIC},
    };
    (void)state;
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        struct tn_diff_instance v[8];
        struct tn_diff_input in = {
            .in_plan = rows[i].flags & PLAN,
            .manual = rows[i].flags & MANUAL,
            .traffic_differs = rows[i].flags & TRAFFIC,
            .replicas = rows[i].replicas,
            .v = v,
            .n = read_instances(rows[i].instances, v),
        };
        enum tn_diff_action got = tn_diff_classify(&in);
        if (got != rows[i].action)
            fail_msg("%s: %d, not %d", rows[i].name, got, rows[i].action);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
