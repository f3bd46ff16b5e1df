/* The plan: loading in stages, and looking things up. */
#include <stdlib.h>
#include <string.h>

#include "lib/plan/load.h"

struct tn_load {
    struct tn_loader l;
    struct tn_plan *plan;
    const struct tn_plan_options *o;
};

static void drop_used_up(struct tn_node *root)
{
    static const char *const used[] = {"vars", "environments", "include"};
    for (size_t i = 0; i < TN_COUNT(used); i++)
        tn_node_remove(root, used[i]);
}

/* Files, overlays, variables. NULL when a problem was added. */
static struct tn_node *read_files(struct tn_load *load)
{
    struct tn_loader *l = &load->l;
    const struct tn_plan_options *o = load->o;
    const char *first = o->n_files ? o->files[0] : "turnout.yaml";
    load->plan->file = tn_arena_strdup(l->arena, strcmp(first, "-") == 0 ? "stdin" : first);
    load->plan->dir = (char *)(uintptr_t)tn_file_dir(l, first);
    struct tn_node *root = tn_merge_all(l, o);
    if (!root)
        return NULL;
    struct tn_vars vars;
    tn_vars_collect(l, o, root, load->plan->dir, &vars);
    tn_subst_tree(l, &vars, root, load->plan->dir);
    return root;
}

static struct tn_node *read_document(struct tn_load *load)
{
    const char *dir = load->o->document_dir ? load->o->document_dir : ".";
    load->plan->file = tn_arena_strdup(load->l.arena, "change set");
    load->plan->dir = (char *)(uintptr_t)tn_file_dir(&load->l, tn_arena_format(load->l.arena, "%s/x", dir));
    struct tn_node *root = tn_node_from_json(&load->l, load->plan->file, load->o->document);
    if (root && root->kind != TN_NODE_MAP) {
        tn_problem_at(&load->l, root->mark, NULL, "a plan is a map of keys, not %s", tn_node_kind_text(root));
        return NULL;
    }
    if (root)
        tn_merge_drop_nulls(root);
    return root;
}

/* Before the services, which inherit it: what is wrong with it is told under its own name. */
static void bind_top_rollout(struct tn_binder *b, const struct tn_node *root)
{
    static const struct tn_key_path path = {NULL, "rollout"};
    const struct tn_node *n = tn_node_get(root, "rollout");
    if (n)
        tn_bind_object(b, &tn_schema_rollout, n, &path,
                       tn_arena_alloc(b->l->arena, sizeof(struct tn_rollout_options)));
}

static void bind_and_check(struct tn_load *load, struct tn_node *root)
{
    struct tn_plan *p = load->plan;
    struct tn_binder b = {.l = &load->l, .dir = p->dir};
    tn_env_files_apply(&load->l, root, p->dir);
    tn_rollout_inherit(&load->l, root);
    bind_top_rollout(&b, root);
    tn_bind_object(&b, &tn_schema_plan, root, NULL, p);
    drop_used_up(root);
    p->priv->root = root;
    p->environment = tn_arena_strdup(load->l.arena, load->o->environment ? load->o->environment : "");
    struct tn_checker c = {.l = &load->l, .plan = p, .root = root};
    tn_check_plan(&c);
}

struct tn_plan *tn_plan_load(const struct tn_plan_options *o, struct tn_problems *problems,
                             struct tn_error **err)
{
    struct tn_problems own = {0};
    struct tn_load load = {.o = o, .l.problems = problems ? problems : &own};
    struct tn_arena *arena = tn_arena_new();
    load.l.arena = arena;
    struct tn_plan *p = load.plan = tn_arena_alloc(arena, sizeof(*p));
    p->priv = tn_arena_alloc(arena, sizeof(*p->priv));
    p->priv->arena = arena;
    struct tn_node *root = o->document ? read_document(&load) : read_files(&load);
    if (root)
        bind_and_check(&load, root);
    tn_problems_sort(&load.l);
    size_t n = load.l.n_errors;
    if (n == 0 && root)
        p->merged = tn_merged_json(root);
    if (n > 0) {
        tn_error_set(err, TN_EPLAN, "the plan '%s' has %zu error%s", p->file, n, n == 1 ? "" : "s");
        tn_plan_free(p);
        p = NULL;
    }
    tn_problems_clear(&own);
    tn_loader_clear(&load.l);
    return p;
}

void tn_plan_free(struct tn_plan *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->n_services; i++)
        json_decref(p->services[i].platform);
    json_decref(p->merged);
    tn_arena_free(p->priv->arena);
}

const struct tn_service *tn_plan_service(const struct tn_plan *p, const char *name)
{
    for (size_t i = 0; i < p->n_services; i++)
        if (tn_streq(p->services[i].name, name))
            return &p->services[i];
    return NULL;
}

const struct tn_cluster *tn_plan_cluster(const struct tn_plan *p, const char *name)
{
    for (size_t i = 0; i < p->n_clusters; i++)
        if (tn_streq(p->clusters[i].name, name))
            return &p->clusters[i];
    return NULL;
}

const struct tn_balancer *tn_plan_balancer(const struct tn_plan *p, const char *name)
{
    for (size_t i = 0; i < p->n_balancers; i++)
        if (tn_streq(p->balancers[i].name, name))
            return &p->balancers[i];
    return NULL;
}

const struct tn_gate *tn_plan_gate(const struct tn_plan *p, const char *name)
{
    for (size_t i = 0; i < p->n_gates; i++)
        if (tn_streq(p->gates[i].name, name))
            return &p->gates[i];
    return NULL;
}

const struct tn_secret *tn_plan_secret(const struct tn_plan *p, const char *name)
{
    for (size_t i = 0; i < p->n_secrets; i++)
        if (tn_streq(p->secrets[i].name, name))
            return &p->secrets[i];
    return NULL;
}

void tn_plan_order(const struct tn_plan *p, const struct tn_service **out)
{
    for (size_t i = 0; i < p->n_services; i++)
        out[i] = p->priv->ordered[i];
}
