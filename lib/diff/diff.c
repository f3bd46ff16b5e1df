#include "lib/diff/diff.h"

struct counts {
    int target, other, broken;
};

static struct counts count(const struct tn_diff_input *in)
{
    struct counts c = {0, 0, 0};
    for (int i = 0; i < in->n; i++) {
        c.target += in->v[i].target;
        c.other += !in->v[i].target;
        c.broken += in->v[i].target && (!in->v[i].alive || !in->v[i].in_rotation);
    }
    return c;
}

static enum tn_diff_action wanted_action(const struct tn_diff_input *in, const struct counts *c)
{
    if (c->other > 0)
        return TN_DIFF_UPDATE;
    if (c->target == 0)
        return in->replicas > 0 ? TN_DIFF_CREATE : TN_DIFF_NONE;
    if (c->target != in->replicas)
        return TN_DIFF_SCALE;
    if (c->broken > 0)
        return TN_DIFF_REPAIR;
    return in->traffic_differs ? TN_DIFF_TRAFFIC : TN_DIFF_NONE;
}

enum tn_diff_action tn_diff_classify(const struct tn_diff_input *in)
{
    struct counts c = count(in);
    if (!in->in_plan)
        return in->n > 0 ? TN_DIFF_REMOVE : TN_DIFF_NONE;
    enum tn_diff_action a = wanted_action(in, &c);
    if (in->manual && a != TN_DIFF_NONE && a != TN_DIFF_TRAFFIC)
        return TN_DIFF_MANUAL;
    return a;
}
