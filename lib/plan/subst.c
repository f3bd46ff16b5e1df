/* Substitution: after parsing, on scalar values only, so that a value can never change the structure.
 *
 * ${name}  ${name:-default}  ${name:?message}  $$
 * A scalar that is only ${x} takes the node of x, with its type. Any other $ stays as it is. What a value expands to
 * is bounded (64 KiB each, 4 MiB a plan): variables that name each other cannot blow up.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "turnout/buf.h"
#include "lib/plan/load.h"

#define MAX_VALUE   ((size_t)64 << 10)
#define MAX_TOTAL   ((size_t)4 << 20)
#define MAX_NESTING 8

/* One ${…}: name, operator and what stands behind it. */
struct expression {
    const char *name;
    char op; /* 0, '-' or '?' */
    const char *rest;
};

static bool is_reserved(const char *name)
{
    static const char *const words[] = {"region", "host", "color", "canary"};
    for (size_t i = 0; i < TN_COUNT(words); i++) {
        size_t n = strlen(words[i]);
        if (strncmp(name, words[i], n) == 0 && (name[n] == '\0' || name[n] == '.'))
            return true;
    }
    return false;
}

/* The closing brace of the ${ at s, counting nested ones; NULL when it is missing. */
static const char *closing(const char *s)
{
    int open = 0;
    for (; *s; s++) {
        if (s[0] == '$' && s[1] == '{') {
            open++;
            s++;
        } else if (*s == '}' && --open == 0) {
            return s;
        }
    }
    return NULL;
}

/* Parses the inside of ${…}. False when the name is none. */
static bool parse_expression(struct tn_arena *a, const char *s, size_t len, struct expression *out)
{
    size_t n = 0;
    while (n < len && (isalnum((unsigned char)s[n]) || s[n] == '_' || s[n] == '.' || (s[n] == '-' && n > 0)))
        n++;
    if (n == 0 || isdigit((unsigned char)s[0]) || s[0] == '.')
        return false;
    *out = (struct expression){.name = tn_arena_strndup(a, s, n)};
    if (n == len)
        return true;
    if (len - n < 2 || s[n] != ':' || (s[n + 1] != '-' && s[n + 1] != '?'))
        return false;
    out->op = s[n + 1];
    out->rest = tn_arena_strndup(a, s + n + 2, len - n - 2);
    return true;
}

/* ---- names ------------------------------------------------------------------------------------------ */

static const struct tn_node *text_node(struct tn_scope *s, struct tn_mark at, const char *text)
{
    return text ? tn_node_scalar(s->l, at, text, false) : NULL;
}

static void undefined(struct tn_scope *s, struct tn_mark at, const char *name)
{
    static const char *const scope[] = {"service", "cluster", "git.sha"};
    const char **names = tn_arena_alloc(s->l->arena, (s->vars->n + TN_COUNT(scope)) * sizeof(char *));
    size_t n = 0;
    for (size_t i = 0; i < s->vars->n; i++)
        names[n++] = s->vars->v[i].name;
    for (size_t i = 0; i < TN_COUNT(scope); i++)
        names[n++] = scope[i];
    const char *hint = tn_hint_nearest(s->l->arena, name, names, n);
    tn_problem_at(s->l, at, hint ? hint : "declare it under vars; $$ is a plain $", "'${%s}' is not defined",
                  name);
}

/* The reserved words of a scope. *known = false: it is a variable's name. */
static const struct tn_node *scope_word(struct tn_scope *s, struct tn_mark at, const char *name, bool *known,
                                        const char **why)
{
    *known = true;
    if (strncmp(name, "env.", 4) == 0)
        return text_node(s, at, getenv(name + 4));
    if (strcmp(name, "service") == 0) {
        *why = "only inside a service";
        return text_node(s, at, s->service);
    }
    if (strcmp(name, "cluster") == 0) {
        *why = "only inside a cluster, or a service on exactly one";
        return text_node(s, at, s->cluster);
    }
    if (strcmp(name, "git.sha") == 0) {
        *why = "no GITHUB_SHA, no CI_COMMIT_SHA and no .git here";
        return text_node(s, at, tn_git_sha(s->l->arena, s->dir));
    }
    *known = false;
    return NULL;
}

static const struct tn_var *find_var(const struct tn_scope *s, const char *name)
{
    for (size_t i = 0; i < s->vars->n; i++)
        if (strcmp(s->vars->v[i].name, name) == 0)
            return &s->vars->v[i];
    return NULL;
}

/* The value of a name; NULL with *failed = true when a problem was added, NULL alone when it has none. */
static const struct tn_node *look_up(struct tn_scope *s, struct tn_mark at, const struct expression *e,
                                     bool *failed)
{
    if (strncmp(e->name, "secrets.", 8) == 0) {
        *failed = true;
        tn_problem_at(s->l, at, "bind it to a variable of the service: secrets: { NAME: secret }",
                      "'${%s}': a secret cannot be put into text", e->name);
        return NULL;
    }
    const struct tn_var *v = find_var(s, e->name);
    if (v) {
        *failed = !v->value && v->reported && !e->op;
        return v->value;
    }
    if (is_reserved(e->name)) {
        *failed = true;
        tn_problem_at(s->l, at, NULL, "'${%s}' is reserved: this build cannot run it yet", e->name);
        return NULL;
    }
    bool known;
    const char *why = NULL;
    const struct tn_node *n = scope_word(s, at, e->name, &known, &why);
    if (n || e->op)
        return n;
    *failed = true;
    if (!known)
        undefined(s, at, e->name);
    else
        tn_problem_at(s->l, at, why, "'${%s}' is not defined here", e->name);
    return NULL;
}

static bool is_empty(const struct tn_node *n)
{
    return !n || (n->kind == TN_NODE_SCALAR && n->text[0] == '\0');
}

static struct tn_node *substitute(struct tn_scope *s, struct tn_node *n);

/* The node that one ${…} stands for; NULL when a problem was added. */
static const struct tn_node *evaluate(struct tn_scope *s, struct tn_mark at, const struct expression *e)
{
    bool failed = false;
    const struct tn_node *n = look_up(s, at, e, &failed);
    if (failed)
        return NULL;
    if (e->op && is_empty(n)) {
        if (e->op == '?') {
            tn_problem_at(s->l, at, NULL, "'${%s}': %s", e->name, *e->rest ? e->rest : "has no value");
            return NULL;
        }
        if (s->depth >= MAX_NESTING) {
            tn_problem_at(s->l, at, NULL, "'${%s}': defaults nested too deep", e->name);
            return NULL;
        }
        s->depth++;
        struct tn_node *rest = tn_node_scalar(s->l, at, e->rest, true);
        rest->plain = !tn_node_is_null(rest);
        rest = substitute(s, rest);
        s->depth--;
        return rest;
    }
    if (!n)
        tn_problem_at(s->l, at, "--var, --var-file, TURNOUT_VAR_…, or a default", "'${%s}' has no value",
                      e->name);
    return n;
}

/* ---- one scalar ------------------------------------------------------------------------------------- */

/* Counts what was made against the plan's budget. */
static bool too_much(struct tn_scope *s, struct tn_mark at, size_t len, bool overflow)
{
    s->l->n_substituted += len;
    if (!overflow && s->l->n_substituted <= MAX_TOTAL)
        return false;
    tn_problem_at(s->l, at, NULL, "variables make more than %zu bytes here, or %zu in the plan", MAX_VALUE,
                  MAX_TOTAL);
    return true;
}

static size_t text_size(const struct tn_node *n)
{
    size_t total = strlen(n->text);
    for (size_t i = 0; i < n->n; i++)
        total += text_size(n->v[i]);
    return total;
}

/* Reads one ${…} at p; *end is behind it. False when a problem was added. */
static bool read_expression(struct tn_scope *s, const struct tn_node *n, const char *p, const char **end,
                            struct expression *e)
{
    const char *close = closing(p);
    if (!close) {
        tn_problem_at(s->l, n->mark, "$$ is a plain $", "'%.60s': a ${ without its }", n->text);
        return false;
    }
    if (!parse_expression(s->l->arena, p + 2, (size_t)(close - p - 2), e)) {
        tn_problem_at(s->l, n->mark, "${name}, ${name:-default} or ${name:?message}; $$ is a plain $",
                      "'%.*s' is not understood", (int)(close - p + 1 > 60 ? 60 : close - p + 1), p);
        return false;
    }
    *end = close + 1;
    return true;
}

/* The whole scalar is one ${…}: the node itself, with type and shape. */
static struct tn_node *whole(struct tn_scope *s, struct tn_node *n, const struct expression *e)
{
    const struct tn_node *value = evaluate(s, n->mark, e);
    if (!value)
        return NULL;
    struct tn_node *copy = tn_node_copy(s->l, value, n->mark);
    if (!copy)
        return NULL;
    if (too_much(s, n->mark, text_size(copy), false))
        return NULL;
    copy->mark = n->mark;
    copy->key = n->key;
    copy->key_mark = n->key_mark;
    if (tn_node_is_null(copy))
        copy->plain = false;
    return copy;
}

static bool append_value(struct tn_scope *s, const struct tn_node *n, const struct expression *e,
                         struct tn_buf *out)
{
    const struct tn_node *value = evaluate(s, n->mark, e);
    if (!value)
        return false;
    if (value->kind != TN_NODE_SCALAR) {
        tn_problem_at(s->l, n->mark, NULL, "'${%s}' is %s and cannot be part of a text", e->name,
                      tn_node_kind_text(value));
        return false;
    }
    tn_buf_puts(out, value->text);
    return true;
}

static struct tn_node *substitute(struct tn_scope *s, struct tn_node *n)
{
    if (!strchr(n->text, '$'))
        return n;
    tn_autobuf out = TN_BUF_INIT(MAX_VALUE);
    for (const char *p = n->text; *p;) {
        struct expression e;
        const char *end;
        if (p[0] == '$' && p[1] == '$') {
            tn_buf_putc(&out, '$');
            p += 2;
        } else if (p[0] == '$' && p[1] == '{') {
            if (!read_expression(s, n, p, &end, &e))
                return NULL;
            if (p == n->text && *end == '\0')
                return whole(s, n, &e);
            if (!append_value(s, n, &e, &out))
                return NULL;
            p = end;
        } else {
            tn_buf_putc(&out, *p++);
        }
    }
    if (too_much(s, n->mark, out.len, out.overflow))
        return NULL;
    struct tn_node *made = tn_node_scalar(s->l, n->mark, out.data ? out.data : "", n->plain);
    if (tn_node_is_null(made))
        made->plain = false;
    made->key = n->key;
    made->key_mark = n->key_mark;
    return made;
}

/* ---- trees ------------------------------------------------------------------------------------------ */

struct tn_node *tn_subst_value(struct tn_scope *s, struct tn_node *n)
{
    if (n->kind == TN_NODE_SCALAR) {
        struct tn_node *made = substitute(s, n);
        n->broken = !made;
        return made;
    }
    bool ok = true;
    for (size_t i = 0; i < n->n; i++) {
        if (n->kind == TN_NODE_MAP && strncmp(n->v[i]->key, "x-", 2) == 0)
            continue;
        struct tn_node *child = tn_subst_value(s, n->v[i]);
        if (child)
            n->v[i] = child;
        ok = ok && child;
    }
    return ok ? n : NULL;
}

/* The cluster of a service that runs on exactly one. */
static const char *only_cluster(const struct tn_node *service)
{
    const struct tn_node *list = tn_node_get(service, "clusters");
    if (list && list->kind == TN_NODE_LIST && list->n == 1)
        list = list->v[0];
    return list && list->kind == TN_NODE_SCALAR && !strchr(list->text, '$') ? list->text : NULL;
}

static void each_named(struct tn_scope *s, struct tn_node *map, bool services)
{
    if (map->kind != TN_NODE_MAP) {
        tn_subst_value(s, map);
        return;
    }
    for (size_t i = 0; i < map->n; i++) {
        struct tn_scope inner = *s;
        inner.service = services ? map->v[i]->key : NULL;
        inner.cluster = services ? only_cluster(map->v[i]) : map->v[i]->key;
        struct tn_node *child = tn_subst_value(&inner, map->v[i]);
        if (child)
            map->v[i] = child;
    }
}

void tn_subst_tree(struct tn_loader *l, const struct tn_vars *vars, struct tn_node *root, const char *dir)
{
    struct tn_scope s = {.l = l, .vars = vars, .root = root, .dir = dir};
    for (size_t i = 0; i < root->n; i++) {
        struct tn_node *n = root->v[i];
        if (strcmp(n->key, "vars") == 0 || strcmp(n->key, "environments") == 0 ||
            strncmp(n->key, "x-", 2) == 0)
            continue;
        if (strcmp(n->key, "services") == 0 || strcmp(n->key, "clusters") == 0) {
            each_named(&s, n, n->key[0] == 's');
            continue;
        }
        struct tn_node *made = tn_subst_value(&s, n);
        if (made)
            root->v[i] = made;
    }
}
