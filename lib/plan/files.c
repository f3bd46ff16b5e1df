/* The files of a plan: -f (regular, a pipe, or - for stdin) and what they include. Includes are local and regular:
 * a plan from a stranger must not block on a pipe or fetch anything. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "turnout/buf.h"
#include "turnout/fs.h"
#include "lib/plan/load.h"

#define MAX_INCLUDES 64

struct loading {
    struct tn_loader *l;
    const char *seen[MAX_INCLUDES + 1];  /* real paths */
    const char *stack[MAX_INCLUDES + 1]; /* shown paths, for cycles */
    size_t n_seen, n_stack;
};

static char *read_stream(int fd, size_t max, size_t *out_len, struct tn_error **err)
{
    tn_autobuf b = TN_BUF_INIT(max + 1);
    char chunk[16384];
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof(chunk));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            tn_error_errno(err, TN_EIO, errno, "cannot be read");
            return NULL;
        }
        if (n == 0)
            break;
        tn_buf_add(&b, chunk, (size_t)n);
        if (b.overflow || b.len > max) {
            tn_error_set(err, TN_ELIMIT, "larger than %zu bytes", max);
            return NULL;
        }
    }
    *out_len = b.len;
    return tn_buf_take(&b);
}

static char *read_path(const char *path, size_t *out_len, struct tn_error **err)
{
    if (strcmp(path, "-") == 0)
        return read_stream(STDIN_FILENO, TN_PLAN_MAX_FILE, out_len, err);
    tn_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        tn_error_errno(err, errno == ENOENT ? TN_ENOTFOUND : TN_EIO, errno, "cannot be read");
        return NULL;
    }
    if (S_ISDIR(st.st_mode)) {
        tn_error_set(err, TN_EIO, "is a folder");
        return NULL;
    }
    return read_stream(fd, TN_PLAN_MAX_FILE, out_len, err);
}

const char *tn_file_dir(struct tn_loader *l, const char *path)
{
    tn_autofree char *dir = strcmp(path, "-") == 0 ? tn_strdup(".") : tn_path_dir(path);
    tn_autofree char *real = realpath(dir, NULL);
    return tn_arena_strdup(l->arena, real ? real : dir);
}

char *tn_file_read(struct tn_loader *l, const char *dir, const char *name, size_t max, struct tn_mark at,
                   const char *what, size_t *out_len, const char **out_shown)
{
    tn_autofree char *path = tn_path_join(dir, name);
    struct stat st;
    struct tn_error *err = NULL;
    char *text = NULL;
    *out_shown = tn_arena_strdup(l->arena, name);
    if (stat(path, &st) != 0)
        tn_problem_at(l, at, NULL, "%s '%.200s': %s", what, name, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        tn_problem_at(l, at, NULL, "%s '%.200s': not a regular file", what, name);
    else if (!(text = tn_fs_read(path, max, out_len, &err)))
        tn_problem_at(l, at, NULL, "%s: %s", what, tn_error_message(err));
    tn_error_free(err);
    return text;
}

static struct tn_node *load_tree(struct loading *g, const char *shown, const char *text, size_t len,
                                 const char *dir, const char *prefix);

/* "services/" for the file "services/api.yaml": what its own includes are shown under. */
static const char *folder_prefix(struct tn_loader *l, const char *shown)
{
    const char *slash = strrchr(shown, '/');
    return tn_arena_strndup(l->arena, shown, slash ? (size_t)(slash - shown) + 1 : 0);
}

static bool already_seen(struct loading *g, const char *real, const char *shown, struct tn_mark at)
{
    for (size_t i = 0; i < g->n_stack; i++) {
        if (strcmp(g->stack[i], real) == 0) {
            tn_problem_at(g->l, at, NULL, "'%s' includes itself", shown);
            return true;
        }
    }
    for (size_t i = 0; i < g->n_seen; i++) {
        if (strcmp(g->seen[i], real) == 0) {
            tn_problem_at(g->l, at, NULL, "'%s' is included twice", shown);
            return true;
        }
    }
    if (g->n_seen < MAX_INCLUDES)
        return false;
    tn_problem_at(g->l, at, NULL, "more than %d files are included", MAX_INCLUDES);
    return true;
}

static void check_included(struct loading *g, const struct tn_node *tree)
{
    static const char *const allowed[] = {"services", "gates", "vars", "secrets", "include", "turnout"};
    for (size_t i = 0; tree->kind == TN_NODE_MAP && i < tree->n; i++) {
        bool fine = strncmp(tree->v[i]->key, "x-", 2) == 0;
        for (size_t j = 0; j < TN_COUNT(allowed); j++)
            fine = fine || strcmp(tree->v[i]->key, allowed[j]) == 0;
        if (!fine)
            tn_problem_at(g->l, tree->v[i]->key_mark, "move it into the plan itself",
                          "'%s' cannot stand in an included file: only services, gates, vars and secrets can",
                          tree->v[i]->key);
    }
}

static struct tn_node *load_include(struct loading *g, const struct tn_node *item, const char *dir,
                                    const char *prefix)
{
    if (item->kind != TN_NODE_SCALAR || !*item->text) {
        tn_problem_at(g->l, item->mark, NULL, "include: a path is wanted, not %s", tn_node_kind_text(item));
        return NULL;
    }
    if (strstr(item->text, "://") || strstr(item->text, "${")) {
        tn_problem_at(g->l, item->mark, "copy the file next to the plan",
                      "include: only local files, not '%s'", item->text);
        return NULL;
    }
    size_t len = 0;
    const char *shown;
    tn_autofree char *text =
        tn_file_read(g->l, dir, item->text, TN_PLAN_MAX_FILE, item->mark, "include", &len, &shown);
    if (!text)
        return NULL;
    tn_autofree char *path = tn_path_join(dir, item->text);
    tn_autofree char *real = realpath(path, NULL);
    const char *kept = tn_arena_strdup(g->l->arena, real ? real : path);
    if (already_seen(g, kept, item->text, item->mark))
        return NULL;
    while (strncmp(shown, "./", 2) == 0)
        shown += 2;
    shown = shown[0] == '/' ? shown : tn_arena_format(g->l->arena, "%s%s", prefix, shown);
    g->seen[g->n_seen++] = kept;
    g->stack[g->n_stack++] = kept;
    struct tn_node *tree =
        load_tree(g, shown, text, len, tn_file_dir(g->l, path), folder_prefix(g->l, shown));
    g->n_stack--;
    if (tree)
        check_included(g, tree);
    return tree;
}

/* One text with its includes merged below it. */
static struct tn_node *load_tree(struct loading *g, const char *shown, const char *text, size_t len,
                                 const char *dir, const char *prefix)
{
    struct tn_node *tree = tn_node_parse(g->l, shown, text, len);
    if (!tree)
        return NULL;
    if (tree->kind != TN_NODE_MAP) {
        tn_problem_at(g->l, tree->mark, NULL, "a plan is a map of keys, not %s", tn_node_kind_text(tree));
        return NULL;
    }
    struct tn_node *include = tn_node_get(tree, "include");
    struct tn_node *one[] = {include};
    struct tn_node *const *items = include && include->kind == TN_NODE_LIST ? include->v : one;
    size_t n = !include || tn_node_is_null(include) ? 0 : include->kind == TN_NODE_LIST ? include->n : 1;
    struct tn_node *base = NULL;
    bool failed = false;
    for (size_t i = 0; i < n; i++) {
        struct tn_node *part = load_include(g, items[i], dir, prefix);
        failed = failed || !part;
        if (part)
            base = tn_merge(g->l, base, part);
    }
    return failed ? NULL : tn_merge(g->l, base, tree);
}

struct tn_node *tn_file_load(struct tn_loader *l, const char *path)
{
    struct tn_error *err = NULL;
    size_t len = 0;
    const char *shown = strcmp(path, "-") == 0 ? "stdin" : tn_arena_strdup(l->arena, path);
    tn_autofree char *text = read_path(path, &len, &err);
    if (!text) {
        bool lost = err && err->code == TN_ENOTFOUND;
        tn_problem_at(l, (struct tn_mark){.file = shown},
                      lost ? "turnout init writes a plan to start from" : NULL, "%s", tn_error_message(err));
        tn_error_free(err);
        return NULL;
    }
    struct loading g = {.l = l};
    tn_autofree char *real = realpath(path, NULL);
    if (real) {
        g.stack[g.n_stack++] = tn_arena_strdup(l->arena, real);
        g.seen[g.n_seen++] = g.stack[0];
    }
    return load_tree(&g, shown, text, len, tn_file_dir(l, path), folder_prefix(l, shown));
}
