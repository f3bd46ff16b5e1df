/* Overlays: later wins. Files and their includes, environments.<e>, turnout.<e>.yaml, further files, --set. */
#include <string.h>

#include "turnout/fs.h"
#include "lib/plan/load.h"

#define MAX_SEGMENTS 32

struct tn_node *tn_merge(struct tn_loader *l, struct tn_node *base, struct tn_node *over)
{
    if (!base || base->kind != TN_NODE_MAP || over->kind != TN_NODE_MAP)
        return over;
    for (size_t i = 0; i < over->n; i++) {
        struct tn_node *value = over->v[i];
        if (tn_node_is_null(value)) {
            tn_node_remove(base, value->key);
            continue;
        }
        struct tn_node *merged = tn_merge(l, tn_node_get(base, value->key), value);
        const struct tn_node *there = tn_node_get(base, value->key);
        tn_node_set(l, base, value->key, there && merged == there ? there->key_mark : value->key_mark,
                    merged);
    }
    return base;
}

void tn_merge_drop_nulls(struct tn_node *n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n->n; i++) {
        struct tn_node *child = n->v[i];
        if (n->kind == TN_NODE_MAP && tn_node_is_null(child))
            continue;
        tn_merge_drop_nulls(child);
        n->v[kept++] = child;
    }
    n->n = kept;
}

/* ---- --set ------------------------------------------------------------------------------------------ */

/* "a.b\.c" → a, b.c. Returns how many, 0 when there are too many or one is empty. */
static size_t split_path(struct tn_arena *a, const char *path, size_t len, const char *out[MAX_SEGMENTS])
{
    char *copy = tn_arena_alloc(a, len + 1);
    size_t n = 0, used = 0, start = 0;
    for (size_t i = 0; i <= len; i++) {
        if (i + 1 < len && path[i] == '\\' && path[i + 1] == '.') {
            copy[used++] = path[++i];
        } else if (i == len || path[i] == '.') {
            copy[used++] = '\0';
            if (copy[start] == '\0' || n == MAX_SEGMENTS)
                return 0;
            out[n++] = copy + start;
            start = used;
        } else {
            copy[used++] = path[i];
        }
    }
    return n;
}

/* The element that `segment` numbers, when `n` is a list. */
static struct tn_node **list_slot(struct tn_node *n, const char *segment)
{
    int64_t i = 0;
    if (n->kind != TN_NODE_LIST || !tn_parse_int(segment, &i) || i < 0 || (size_t)i >= n->n)
        return NULL;
    return &n->v[i];
}

static void set_leaf(struct tn_loader *l, struct tn_node *parent, const char *segment, struct tn_node *value,
                     struct tn_mark at)
{
    struct tn_node **slot = list_slot(parent, segment);
    if (slot)
        *slot = value;
    else if (parent->kind != TN_NODE_MAP)
        tn_problem_at(l, at, "a list is replaced whole: path=[…]", "'%s' is not in there", segment);
    else if (tn_node_is_null(value))
        tn_node_remove(parent, segment);
    else
        tn_node_set(l, parent, segment, at, value);
}

void tn_merge_set(struct tn_loader *l, struct tn_node *root, const char *assignment)
{
    const char *eq = strchr(assignment, '=');
    const char *path[MAX_SEGMENTS];
    size_t len = eq ? (size_t)(eq - assignment) : 0;
    const char *name = tn_arena_format(l->arena, "--set %.*s", (int)(len > 200 ? 200 : len), assignment);
    struct tn_mark at = {.file = name};
    size_t n = eq ? split_path(l->arena, assignment, len, path) : 0;
    if (n == 0) {
        tn_problem_at(l, (struct tn_mark){.file = "--set"}, "--set services.web.replicas=3",
                      "'%.80s' is not path=value", assignment);
        return;
    }
    struct tn_node *value = tn_node_parse_value(l, name, eq + 1);
    if (!value)
        return;
    tn_merge_drop_nulls(value);
    struct tn_node *where = root;
    for (size_t i = 0; i + 1 < n; i++) {
        struct tn_node **slot = list_slot(where, path[i]);
        struct tn_node *next = slot ? *slot : tn_node_get(where, path[i]);
        if (!next && where->kind != TN_NODE_MAP) {
            set_leaf(l, where, path[i], value, at);
            return;
        }
        if (!next || next->kind == TN_NODE_SCALAR) {
            next = tn_node_new(l, TN_NODE_MAP, at);
            set_leaf(l, where, path[i], next, at);
        }
        where = next;
    }
    set_leaf(l, where, path[n - 1], value, at);
}

/* ---- environments ----------------------------------------------------------------------------------- */

struct environments {
    const char *names[64];
    size_t n;
    bool found;
};

static void remember(struct environments *e, const struct tn_node *tree)
{
    const struct tn_node *all = tn_node_get(tree, "environments");
    for (size_t i = 0; all && all->kind == TN_NODE_MAP && i < all->n && e->n < TN_COUNT(e->names); i++)
        e->names[e->n++] = all->v[i]->key;
}

/* The overlay of the chosen environment in this tree, as a copy: `config` still shows none of it twice. */
static struct tn_node *overlay_of(struct tn_loader *l, const struct tn_node *tree, const char *environment)
{
    const struct tn_node *all = tn_node_get(tree, "environments");
    const struct tn_node *overlay = environment ? tn_node_get(all, environment) : NULL;
    if (!overlay)
        return NULL;
    static const char *const not_here[] = {"environments", "include", "turnout"};
    for (size_t i = 0; i < TN_COUNT(not_here); i++) {
        const struct tn_node *bad = tn_node_get(overlay, not_here[i]);
        if (bad)
            tn_problem_at(l, bad->key_mark, NULL, "'%s' cannot stand in an environment", not_here[i]);
    }
    return tn_node_copy(l, overlay, overlay->key_mark);
}

static struct tn_node *add_layer(struct tn_loader *l, struct tn_node *base, struct tn_node *layer,
                                 const char *environment, struct environments *e)
{
    remember(e, layer);
    struct tn_node *overlay = overlay_of(l, layer, environment);
    base = tn_merge(l, base, layer);
    if (!overlay)
        return base;
    e->found = true;
    return overlay->kind == TN_NODE_MAP ? tn_merge(l, base, overlay) : base;
}

/* turnout.<e>.yaml next to the first file. */
static struct tn_node *add_environment_file(struct tn_loader *l, struct tn_node *base, const char *first,
                                            const char *environment, struct environments *e)
{
    const char *slash = strcmp(first, "-") == 0 ? NULL : strrchr(first, '/');
    const char *path = tn_arena_format(l->arena, "%.*sturnout.%s.yaml", slash ? (int)(slash - first + 1) : 0,
                                       first, environment);
    if (!tn_fs_exists(path))
        return base;
    struct tn_node *layer = tn_file_load(l, path);
    if (!layer)
        return NULL;
    e->found = true;
    return add_layer(l, base, layer, environment, e);
}

static void check_environment(struct tn_loader *l, const char *environment, const struct environments *e,
                              const char *first)
{
    if (e->found)
        return;
    const char *hint = tn_hint_nearest(l->arena, environment, e->names, e->n);
    tn_problem_at(l, (struct tn_mark){.file = first}, hint, "unknown environment '%s'", environment);
}

static bool valid_environment(struct tn_loader *l, const char *environment)
{
    if (!environment || tn_check_text(TN_CHECK_NAME, environment))
        return true;
    tn_problem_at(l, (struct tn_mark){0}, NULL, "environment '%.60s' %s", environment,
                  tn_check_rules[TN_CHECK_NAME].says);
    return false;
}

/* Every file is read even when one before it is bad: all problems come at once. NULL when one is. */
static struct tn_node *merge_files(struct tn_loader *l, const char *const *files, size_t n,
                                   const char *environment, struct environments *e)
{
    struct tn_node *root = NULL;
    bool failed = false;
    for (size_t i = 0; i < n; i++) {
        struct tn_node *layer = tn_file_load(l, files[i]);
        if (layer)
            root = add_layer(l, root, layer, environment, e);
        failed = failed || !layer;
        if (i == 0 && environment && root)
            root = add_environment_file(l, root, files[0], environment, e);
        failed = failed || !root;
    }
    return failed ? NULL : root;
}

struct tn_node *tn_merge_all(struct tn_loader *l, const struct tn_plan_options *o)
{
    static const char *const fallback[] = {"turnout.yaml"};
    const char *const *files = o->n_files ? o->files : fallback;
    const char *environment = o->environment && *o->environment ? o->environment : NULL;
    struct environments e = {.n = 0};
    struct tn_node *root = valid_environment(l, environment)
                               ? merge_files(l, files, o->n_files ? o->n_files : 1, environment, &e)
                               : NULL;
    if (!root)
        return NULL;
    if (environment)
        check_environment(l, environment, &e, tn_arena_strdup(l->arena, files[0]));
    tn_merge_drop_nulls(root);
    for (size_t i = 0; i < o->n_sets; i++)
        tn_merge_set(l, root, o->sets[i]);
    return root;
}
