/* The plan's rollout is the default of every service's, as far as the service's strategy uses it.
 *
 * A key that a strategy does not use is refused where it is written beside that strategy, never where it is merely
 * inherited: `rollout: { strategy: recreate }` in a service is fine under a plan that says max_surge for the others.
 */
#include <string.h>

#include "lib/plan/load.h"

static const char *strategy_of(const struct tn_node *rollout, const char *otherwise)
{
    const struct tn_node *n = tn_node_get(rollout, "strategy");
    return n && n->kind == TN_NODE_SCALAR ? n->text : otherwise;
}

static bool uses(const char *strategy, const char *key)
{
    static const char *const rolling_only[] = {"max_unavailable", "max_surge", "delay"};
    if (strcmp(strategy, "recreate") != 0 && strcmp(strategy, "manual") != 0)
        return true;
    for (size_t i = 0; i < TN_COUNT(rolling_only); i++)
        if (strcmp(key, rolling_only[i]) == 0)
            return false;
    return true;
}

static void refuse_unused(struct tn_loader *l, const struct tn_node *rollout, const char *where,
                          const char *strategy)
{
    for (size_t i = 0; rollout && rollout->kind == TN_NODE_MAP && i < rollout->n; i++)
        if (!uses(strategy, rollout->v[i]->key))
            tn_problem_at(l, rollout->v[i]->key_mark, "remove it, or use strategy: rolling",
                          "%srollout.%s: the strategy '%s' does not use it", where, rollout->v[i]->key,
                          strategy);
}

static void inherit(struct tn_loader *l, struct tn_node *service, const struct tn_node *top,
                    const char *top_strategy)
{
    struct tn_node *own = tn_node_get(service, "rollout");
    if (service->kind != TN_NODE_MAP || (own && own->kind != TN_NODE_MAP))
        return; /* the key table says so */
    const char *strategy = strategy_of(own, top_strategy);
    refuse_unused(l, own, tn_arena_format(l->arena, "services.%s.", service->key), strategy);
    if (!top)
        return;
    struct tn_node *base = tn_node_new(l, TN_NODE_MAP, top->mark);
    for (size_t i = 0; i < top->n; i++) {
        struct tn_node *copy =
            uses(strategy, top->v[i]->key) ? tn_node_copy(l, top->v[i], service->key_mark) : NULL;
        if (copy)
            tn_node_push(l, base, copy);
    }
    struct tn_mark key_mark = own ? own->key_mark : top->key_mark;
    tn_node_set(l, service, "rollout", key_mark, own ? tn_merge(l, base, own) : base);
}

void tn_rollout_inherit(struct tn_loader *l, struct tn_node *root)
{
    struct tn_node *services = tn_node_get(root, "services"), *top = tn_node_get(root, "rollout");
    if (top && top->kind != TN_NODE_MAP)
        return;
    const char *strategy = strategy_of(top, "rolling");
    refuse_unused(l, top, "", strategy);
    for (size_t i = 0; services && services->kind == TN_NODE_MAP && i < services->n; i++)
        inherit(l, services->v[i], top, strategy);
}
