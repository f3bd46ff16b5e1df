/* load.h - the stages of a load, in order: files → one tree → variables → structs → checks. Internal to lib/plan. */
#ifndef TN_PLAN_LOAD_H
#define TN_PLAN_LOAD_H

#include "lib/plan/bind.h"

#define TN_ENV_FILE_MAX ((size_t)64 << 10)

/* What a plan keeps behind its public members. */
struct tn_plan_private {
    struct tn_arena *arena;
    struct tn_node *root;        /* merged and substituted; vars, environments, include removed */
    struct tn_service **ordered; /* depends_on order */
};

/* files.c: one -f with what it includes. `shown` is what marks call it. NULL when a problem was added. */
struct tn_node *tn_file_load(struct tn_loader *l, const char *path);
/* Reads a local text that a file of the plan names; problems are at `at`. NULL when a problem was added. */
char *tn_file_read(struct tn_loader *l, const char *dir, const char *name, size_t max, struct tn_mark at,
                   const char *what, size_t *out_len, const char **out_shown);
/* The folder that `path` lies in, absolute; for "-" the working folder. Arena. */
const char *tn_file_dir(struct tn_loader *l, const char *path);

/* merge.c: `over` wins. Maps merge, the rest replaces, null deletes. Consumes both. */
struct tn_node *tn_merge(struct tn_loader *l, struct tn_node *base, struct tn_node *over);
/* Drops keys whose value is null, at every level. */
void tn_merge_drop_nulls(struct tn_node *n);
/* --set path=value. */
void tn_merge_set(struct tn_loader *l, struct tn_node *root, const char *assignment);
/* All of it: files, environment, overlays, --set. NULL when a problem was added. */
struct tn_node *tn_merge_all(struct tn_loader *l, const struct tn_plan_options *o);

/* vars.c: the variables of a plan with their values. */
struct tn_var {
    const char *name;
    const struct tn_node *value; /* NULL = declared, no value */
    bool reported;               /* that it has none was said at its declaration */
    struct tn_mark mark;
};
struct tn_vars {
    struct tn_var *v; /* arena */
    size_t n;
};
void tn_vars_collect(struct tn_loader *l, const struct tn_plan_options *o, const struct tn_node *root,
                     const char *dir, struct tn_vars *out);

/* subst.c: replaces ${…} in every scalar value of the tree, in place. */
struct tn_scope {
    struct tn_loader *l;
    const struct tn_vars *vars;
    const struct tn_node *root;
    const char *dir;
    const char *service, *cluster; /* NULL outside of one */
    bool in_variable;              /* a default: only env and the variables above it */
    int depth;
};
void tn_subst_tree(struct tn_loader *l, const struct tn_vars *vars, struct tn_node *root, const char *dir);
/* One value (a variable's default). Returns the node to use instead, NULL when a problem was added. */
struct tn_node *tn_subst_value(struct tn_scope *s, struct tn_node *n);
/* git.c: the commit, from GITHUB_SHA, CI_COMMIT_SHA or .git above dir; NULL when unknown. Arena. */
const char *tn_git_sha(struct tn_arena *a, const char *dir);

/* envfile.c: services' env_files become part of env, under what env says itself. */
void tn_env_files_apply(struct tn_loader *l, struct tn_node *root, const char *dir);

/* inherit.c: the plan's rollout becomes part of each service's, as far as its strategy uses it. */
void tn_rollout_inherit(struct tn_loader *l, struct tn_node *root);

/* check*.c: what the table cannot say. */
struct tn_checker {
    struct tn_loader *l;
    struct tn_plan *plan;
    const struct tn_node *root;
};
void tn_check_plan(struct tn_checker *c);
void tn_check_clusters(struct tn_checker *c);
void tn_check_balancers(struct tn_checker *c);
void tn_check_services(struct tn_checker *c);
void tn_check_rollout(struct tn_checker *c, struct tn_service *s);
void tn_check_order(struct tn_checker *c); /* depends_on: cycles, and the order itself */
/* The node of a key below the root, NULL when it was not written. `path` ends with NULL. */
const struct tn_node *tn_check_node_at(const struct tn_checker *c, const char *const *path);
/* The place of a key below the root, or of the nearest thing above it that was written. */
struct tn_mark tn_check_place_at(const struct tn_checker *c, const char *const *path);
/* The same with the path as arguments; it ends early at a NULL. */
#define tn_check_node(c, ...)  tn_check_node_at((c), (const char *const[]){__VA_ARGS__, NULL})
#define tn_check_place(c, ...) tn_check_place_at((c), (const char *const[]){__VA_ARGS__, NULL})
/* Adds "unknown <what> 'name'" with the nearest of `names`. */
void tn_check_unknown(struct tn_checker *c, struct tn_mark at, const char *where, const char *what,
                      const char *name, const char *const *names, size_t n);

/* merged.c */
json_t *tn_merged_json(const struct tn_node *root);

#endif
