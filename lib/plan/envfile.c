/* env_files: KEY=VALUE lines become env of the service, below what env says itself. Nothing in them is substituted:
 * they are data, often shared with other tools. */
#include <string.h>

#include "lib/plan/load.h"

#define MAX_LINES 2000

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* VALUE, 'VALUE' or "VALUE"; trailing blanks go. */
static const char *value_of(struct tn_loader *l, const char *s, size_t n)
{
    while (n > 0 && is_space(s[0])) {
        s++;
        n--;
    }
    while (n > 0 && is_space(s[n - 1]))
        n--;
    if (n >= 2 && (s[0] == '"' || s[0] == '\'') && s[n - 1] == s[0])
        return tn_arena_strndup(l->arena, s + 1, n - 2);
    return tn_arena_strndup(l->arena, s, n);
}

static void read_line(struct tn_loader *l, struct tn_node *env, const char *line, size_t n, struct tn_mark at)
{
    while (n > 0 && is_space(*line)) {
        line++;
        n--;
        at.column++;
    }
    if (n == 0 || *line == '#')
        return;
    if (n > 7 && strncmp(line, "export ", 7) == 0) {
        line += 7;
        n -= 7;
        at.column += 7;
    }
    const char *eq = memchr(line, '=', n);
    if (!eq || eq == line) {
        tn_problem_at(l, at, NULL, "env_files: a line that is not KEY=VALUE");
        return;
    }
    const char *key = tn_arena_strndup(l->arena, line, (size_t)(eq - line));
    if (!tn_check_text(TN_CHECK_ENV, key)) {
        tn_problem_at(l, at, NULL, "env_files: '%.60s' %s", key, tn_check_rules[TN_CHECK_ENV].says);
        return;
    }
    const char *value = value_of(l, eq + 1, n - (size_t)(eq - line) - 1);
    tn_node_set(l, env, key, at, tn_node_scalar(l, at, value, false));
}

static void read_file(struct tn_loader *l, struct tn_node *env, const struct tn_node *item, const char *dir)
{
    if (item->kind != TN_NODE_SCALAR)
        return; /* the key table says so */
    size_t len = 0;
    const char *shown;
    tn_autofree char *text =
        tn_file_read(l, dir, item->text, TN_ENV_FILE_MAX, item->mark, "env_files", &len, &shown);
    if (!text)
        return;
    TN_GROW(l->sources, l->n_sources, l->cap_sources);
    l->sources[l->n_sources++] = (struct tn_source){shown, tn_arena_strndup(l->arena, text, len), len};
    int line = 1;
    for (const char *p = text; *p && line <= MAX_LINES; line++) {
        size_t n = strcspn(p, "\n");
        read_line(l, env, p, n, (struct tn_mark){shown, line, 1});
        p += n + (p[n] == '\n');
    }
    if (line > MAX_LINES)
        tn_problem_at(l, item->mark, NULL, "env_files: more than %d lines in '%s'", MAX_LINES, shown);
}

static void apply(struct tn_loader *l, struct tn_node *service, const char *dir)
{
    struct tn_node *files = tn_node_get(service, "env_files");
    if (!files || files->kind == TN_NODE_MAP)
        return;
    struct tn_node *env = tn_node_new(l, TN_NODE_MAP, files->mark);
    struct tn_node *one[] = {files};
    struct tn_node *const *items = files->kind == TN_NODE_LIST ? files->v : one;
    for (size_t i = 0; i < (files->kind == TN_NODE_LIST ? files->n : 1); i++)
        read_file(l, env, items[i], dir);
    struct tn_node *own = tn_node_get(service, "env");
    struct tn_mark key_mark = own ? own->key_mark : files->key_mark;
    struct tn_node *merged = own && own->kind != TN_NODE_MAP ? own : own ? tn_merge(l, env, own) : env;
    tn_node_set(l, service, "env", key_mark, merged);
    tn_node_remove(service, "env_files");
}

void tn_env_files_apply(struct tn_loader *l, struct tn_node *root, const char *dir)
{
    struct tn_node *services = tn_node_get(root, "services");
    for (size_t i = 0; services && services->kind == TN_NODE_MAP && i < services->n; i++)
        apply(l, services->v[i], dir);
}
