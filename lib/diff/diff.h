/* diff.h - (wanted, observed) → what kind of change a placement needs. Pure: no I/O, no clock, no malloc. */
#ifndef TN_DIFF_DIFF_H
#define TN_DIFF_DIFF_H

#include <stdbool.h>

/* One observed instance, as far as the question "does anything differ?" needs it. */
struct tn_diff_instance {
    bool target;      /* of the wanted revision, with the wanted secrets */
    bool alive;       /* running, not known to be unhealthy */
    bool in_rotation; /* in every balancer that exposes it; true when there is none */
};
struct tn_diff_input {
    bool in_plan;         /* false: only its labels tell of it */
    bool manual;          /* strategy manual */
    bool traffic_differs; /* weights, balancing keys or servers of the owned file */
    int replicas;
    const struct tn_diff_instance *v;
    int n;
};
enum tn_diff_action {
    TN_DIFF_NONE,
    TN_DIFF_CREATE,
    TN_DIFF_UPDATE,
    TN_DIFF_SCALE,
    TN_DIFF_REPAIR,
    TN_DIFF_TRAFFIC,
    TN_DIFF_REMOVE,
    TN_DIFF_MANUAL,
};
enum tn_diff_action tn_diff_classify(const struct tn_diff_input *in);

#endif
