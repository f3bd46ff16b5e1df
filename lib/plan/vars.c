/* Variables: which there are, and the value of each. --var, then --var-file, then TURNOUT_VAR_x, then the default. */
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "lib/plan/load.h"

#define MAX_PATTERN        256
#define MAX_PATTERN_REPEAT 1000
#define MAX_VALUE          8192

struct given {
    struct tn_loader *l;
    const struct tn_plan_options *o;
    struct tn_node *files; /* all --var-file, merged */
};

static struct tn_node *from_text(struct tn_loader *l, const char *where, const char *text)
{
    struct tn_node *n = tn_node_scalar(l, (struct tn_mark){.file = where}, text, true);
    n->plain = !tn_node_is_null(n); /* an empty value is an empty text, never "delete" */
    return n;
}

static const struct tn_node *from_command_line(const struct given *g, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = g->o->n_vars; i-- > 0;) {
        const char *v = g->o->vars[i];
        if (strncmp(v, name, len) == 0 && v[len] == '=')
            return from_text(g->l, tn_arena_format(g->l->arena, "--var %s", name), v + len + 1);
    }
    return NULL;
}

static const struct tn_node *from_environment(const struct given *g, const char *name)
{
    const char *key = tn_arena_format(g->l->arena, "TURNOUT_VAR_%s", name);
    const char *value = getenv(key);
    return value ? from_text(g->l, key, value) : NULL;
}

/* ---- rules ------------------------------------------------------------------------------------------ */

/* glibc compiles x{255}{255} into 65,025 states: the product of all repeats is bounded before it sees them. */
static bool pattern_is_small(const char *p)
{
    if (strlen(p) > MAX_PATTERN)
        return false;
    long product = 1;
    for (const char *brace = strchr(p, '{'); brace; brace = strchr(brace + 1, '{')) {
        const char *comma = strpbrk(brace, ",}");
        long low = strtol(brace + 1, NULL, 10),
             high = comma && *comma == ',' ? strtol(comma + 1, NULL, 10) : 0;
        long most = low > high ? low : high;
        if (most > MAX_PATTERN_REPEAT || (product *= most > 0 ? most : 1) > MAX_PATTERN_REPEAT)
            return false;
    }
    for (const char *b = strchr(p, '\\'); b && b[1]; b = strchr(b + 2, '\\'))
        if (b[1] >= '1' && b[1] <= '9')
            return false; /* back-references make matching exponential */
    return true;
}

static void check_pattern(struct tn_loader *l, const struct tn_node *pattern, const struct tn_var *v)
{
    if (pattern->kind != TN_NODE_SCALAR)
        return; /* the key table says so */
    regex_t re;
    if (!pattern_is_small(pattern->text) || regcomp(&re, pattern->text, REG_EXTENDED | REG_NOSUB) != 0) {
        tn_problem_at(l, pattern->mark, NULL,
                      "vars.%s.pattern: is no extended regular expression, or too large a one", v->name);
        return;
    }
    if (v->value && v->value->kind == TN_NODE_SCALAR && regexec(&re, v->value->text, 0, NULL, 0) != 0)
        tn_problem_at(l, v->value->mark, tn_arena_format(l->arena, "the pattern is %s", pattern->text),
                      "variable '%s': '%.60s' does not match its pattern", v->name, v->value->text);
    regfree(&re);
}

static void check_enum(struct tn_loader *l, const struct tn_node *list, const struct tn_var *v)
{
    if (list->kind != TN_NODE_LIST || !v->value || v->value->kind != TN_NODE_SCALAR)
        return;
    const char *names[64];
    size_t n = 0;
    for (size_t i = 0; i < list->n && n < TN_COUNT(names); i++) {
        if (list->v[i]->kind != TN_NODE_SCALAR)
            continue;
        if (strcmp(list->v[i]->text, v->value->text) == 0)
            return;
        names[n++] = list->v[i]->text;
    }
    const char *hint = tn_hint_nearest(l->arena, v->value->text, names, n);
    tn_problem_at(l, v->value->mark,
                  hint ? hint : tn_arena_format(l->arena, "one of the %zu in its enum", list->n),
                  "variable '%s': '%.60s' is none of its values", v->name, v->value->text);
}

static void check_rules(struct tn_loader *l, const struct tn_node *decl, struct tn_var *v)
{
    const struct tn_node *required = tn_node_get(decl, "required");
    const struct tn_node *pattern = tn_node_get(decl, "pattern"), *list = tn_node_get(decl, "enum");
    v->reported =
        !v->value && required && required->kind == TN_NODE_SCALAR && strcmp(required->text, "true") == 0;
    if (v->reported)
        tn_problem_at(l, decl->key_mark,
                      tn_arena_format(l->arena, "--var %s=…, or TURNOUT_VAR_%s in the environment", v->name,
                                      v->name),
                      "variable '%s' is required and has no value", v->name);
    if (v->value && v->value->kind == TN_NODE_SCALAR && strlen(v->value->text) > MAX_VALUE) {
        tn_problem_at(l, v->value->mark, NULL, "variable '%s' is longer than %d bytes", v->name, MAX_VALUE);
        return;
    }
    if (pattern)
        check_pattern(l, pattern, v);
    if (list)
        check_enum(l, list, v);
}

/* ---- what was given --------------------------------------------------------------------------------- */

static void read_var_files(struct given *g)
{
    for (size_t i = 0; i < g->o->n_var_files; i++) {
        struct tn_node *tree = tn_file_load(g->l, g->o->var_files[i]);
        if (tree)
            g->files = tn_merge(g->l, g->files, tree);
    }
    if (g->files)
        tn_merge_drop_nulls(g->files);
}

static void unknown_variable(struct given *g, const struct tn_vars *vars, struct tn_mark at, const char *name,
                             bool warn)
{
    const char **names = tn_arena_alloc(g->l->arena, (vars->n + 1) * sizeof(char *));
    for (size_t i = 0; i < vars->n; i++) {
        names[i] = vars->v[i].name;
        if (strcmp(names[i], name) == 0)
            return;
    }
    const char *hint = tn_hint_nearest(g->l->arena, name, names, vars->n);
    if (warn)
        tn_warning_at(g->l, at, hint, "the plan has no variable '%s'", name);
    else
        tn_problem_at(g->l, at, hint ? hint : "declare it under vars", "the plan has no variable '%s'", name);
}

static void check_given(struct given *g, const struct tn_vars *vars)
{
    for (size_t i = 0; i < g->o->n_vars; i++) {
        const char *eq = strchr(g->o->vars[i], '=');
        if (!eq || eq == g->o->vars[i]) {
            tn_problem_at(g->l, (struct tn_mark){.file = "--var"}, "--var tag=v2",
                          "'%.60s' is not name=value", g->o->vars[i]);
            continue;
        }
        const char *name = tn_arena_strndup(g->l->arena, g->o->vars[i], (size_t)(eq - g->o->vars[i]));
        unknown_variable(g, vars, (struct tn_mark){.file = "--var"}, name, false);
    }
    for (size_t i = 0; g->files && i < g->files->n; i++)
        unknown_variable(g, vars, g->files->v[i]->key_mark, g->files->v[i]->key, true);
}

static const struct tn_node *default_of(const struct tn_node *decl)
{
    return decl->kind == TN_NODE_MAP ? tn_node_get(decl, "default") : decl;
}

void tn_vars_collect(struct tn_loader *l, const struct tn_plan_options *o, const struct tn_node *root,
                     const char *dir, struct tn_vars *out)
{
    struct given g = {.l = l, .o = o};
    const struct tn_node *decls = tn_node_get(root, "vars");
    size_t n = decls && decls->kind == TN_NODE_MAP ? decls->n : 0;
    *out = (struct tn_vars){.v = tn_arena_alloc(l->arena, (n + 1) * sizeof(struct tn_var))};
    read_var_files(&g);
    for (size_t i = 0; i < n; i++) {
        const struct tn_node *decl = decls->v[i];
        struct tn_var v = {
            .name = decl->key, .mark = decl->key_mark, .value = from_command_line(&g, decl->key)};
        if (!v.value)
            v.value = tn_node_get(g.files, decl->key);
        if (!v.value)
            v.value = from_environment(&g, decl->key);
        if (!v.value && default_of(decl)) {
            struct tn_scope scope = {.l = l, .vars = out, .root = root, .dir = dir, .in_variable = true};
            struct tn_node *copy = tn_node_copy(l, default_of(decl), decl->mark);
            v.value = copy ? tn_subst_value(&scope, copy) : NULL;
        }
        check_rules(l, decl, &v);
        out->v[out->n++] = v;
    }
    check_given(&g, out);
}
