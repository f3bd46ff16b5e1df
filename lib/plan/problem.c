/* Problems: what is wrong, where, with the source line and a caret under it. */
#include <stdlib.h>
#include <string.h>

#include "turnout/buf.h"
#include "turnout/text.h"
#include "lib/plan/node.h"

#define MAX_SOURCE_LINE 200
#define MAX_OUTPUT      ((size_t)1 << 20)

void tn_loader_clear(struct tn_loader *l)
{
    free(l->sources);
    l->sources = NULL;
    l->n_sources = l->cap_sources = 0;
}

void tn_problems_clear(struct tn_problems *p)
{
    for (size_t i = 0; i < p->n; i++) {
        free(p->v[i].message);
        free(p->v[i].hint);
        free(p->v[i].source);
    }
    free(p->v);
    *p = (struct tn_problems){0};
}

static const struct tn_source *find_source(const struct tn_loader *l, const char *file)
{
    for (size_t i = 0; file && i < l->n_sources; i++)
        if (strcmp(l->sources[i].name, file) == 0)
            return &l->sources[i];
    return NULL;
}

static char *source_line(const struct tn_loader *l, struct tn_mark at)
{
    const struct tn_source *s = find_source(l, at.file);
    if (!s || at.line < 1)
        return NULL;
    const char *p = s->text, *end = s->text + s->len;
    for (int line = 1; line < at.line; line++) {
        p = memchr(p, '\n', (size_t)(end - p));
        if (!p)
            return NULL;
        p++;
    }
    size_t n = strcspn(p, "\r\n");
    return tn_strndup(p, n < MAX_SOURCE_LINE ? n : MAX_SOURCE_LINE);
}

static bool same_mark(struct tn_mark a, struct tn_mark b)
{
    return a.line == b.line && a.column == b.column && tn_streq(a.file, b.file);
}

/* A problem outlives the plan that its mark's file name is borrowed from, so the name is kept behind the message. */
static char *message_with_file(const char *message, const char *file, const char **out_file)
{
    size_t n = strlen(message) + 1, m = strlen(file) + 1;
    char *both = tn_alloc(n + m);
    memcpy(both, message, n);
    memcpy(both + n, file, m);
    *out_file = both + n;
    return both;
}

/* The same words at the same place are one problem, also when the key was reached by two paths (a rollout that
 * services inherit). */
static bool same_words(const char *a, const char *b)
{
    const char *x = strstr(a, ": "), *y = strstr(b, ": ");
    return x && y && strcmp(x, y) == 0;
}

static void add(struct tn_loader *l, struct tn_mark at, bool warning, const char *hint, const char *message)
{
    struct tn_problems *p = l->problems;
    for (size_t i = 0; i < p->n; i++)
        if (same_mark(p->v[i].mark, at) &&
            (strcmp(p->v[i].message, message) == 0 || (at.line > 0 && same_words(p->v[i].message, message))))
            return;
    if (!warning)
        l->n_errors++;
    if (p->n >= TN_PLAN_MAX_PROBLEMS)
        return;
    TN_GROW(p->v, p->n, p->cap);
    struct tn_problem *new = &p->v[p->n++];
    *new = (struct tn_problem){.mark = at, .warning = warning, .hint = tn_strdup(hint)};
    new->message = message_with_file(message, at.file ? at.file : "", &new->mark.file);
    new->source = source_line(l, at);
}

void tn_problem_at(struct tn_loader *l, struct tn_mark at, const char *hint, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    tn_autofree char *message = tn_vformat(fmt, ap);
    va_end(ap);
    add(l, at, false, hint, message);
}

void tn_warning_at(struct tn_loader *l, struct tn_mark at, const char *hint, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    tn_autofree char *message = tn_vformat(fmt, ap);
    va_end(ap);
    add(l, at, true, hint, message);
}

struct ranked {
    struct tn_problem problem;
    size_t file, order;
};

static int compare(const void *x, const void *y)
{
    const struct ranked *a = x, *b = y;
    if (a->file != b->file)
        return a->file < b->file ? -1 : 1;
    if (a->problem.mark.line != b->problem.mark.line)
        return a->problem.mark.line < b->problem.mark.line ? -1 : 1;
    if (a->problem.mark.column != b->problem.mark.column)
        return a->problem.mark.column < b->problem.mark.column ? -1 : 1;
    return a->order < b->order ? -1 : 1;
}

void tn_problems_sort(struct tn_loader *l)
{
    struct tn_problems *p = l->problems;
    if (p->n < 2)
        return;
    struct ranked *r = tn_alloc(p->n * sizeof(*r));
    for (size_t i = 0; i < p->n; i++) {
        const struct tn_source *s = find_source(l, p->v[i].mark.file);
        r[i] = (struct ranked){p->v[i], s ? (size_t)(s - l->sources) : l->n_sources, i};
    }
    qsort(r, p->n, sizeof(*r), compare);
    for (size_t i = 0; i < p->n; i++)
        p->v[i] = r[i].problem;
    free(r);
}

/* The caret stands under the column: characters before it count, tabs are one space as the filter makes them. */
static void put_source(struct tn_buf *b, const struct tn_problem *p)
{
    int digits = 0;
    for (int n = p->mark.line; n > 0; n /= 10)
        digits++;
    tn_buf_printf(b, "  %d | ", p->mark.line);
    tn_filter(b, p->source, strlen(p->source), false);
    tn_buf_printf(b, "\n  %*s | ", digits, "");
    int column = 1;
    for (const char *s = p->source; *s && column < p->mark.column; s++)
        if (((unsigned char)s[0] & 0xc0) != 0x80)
            column++;
    tn_buf_printf(b, "%*s^\n", column - 1, "");
}

static void put_problem(struct tn_buf *b, const struct tn_problem *p)
{
    if (p->mark.file && p->mark.file[0]) {
        tn_filter(b, p->mark.file, strlen(p->mark.file), false);
        if (p->mark.line > 0)
            tn_buf_printf(b, ":%d:%d", p->mark.line, p->mark.column);
        tn_buf_puts(b, ": ");
    }
    if (p->warning)
        tn_buf_puts(b, "warning: ");
    tn_filter(b, p->message, strlen(p->message), false);
    tn_buf_putc(b, '\n');
    if (p->source)
        put_source(b, p);
    if (p->hint) {
        tn_buf_puts(b, "  ");
        tn_filter(b, p->hint, strlen(p->hint), false);
        tn_buf_putc(b, '\n');
    }
}

char *tn_problems_format(const struct tn_problems *p)
{
    tn_autobuf b = TN_BUF_INIT(MAX_OUTPUT);
    for (size_t i = 0; i < p->n; i++)
        put_problem(&b, &p->v[i]);
    return tn_buf_take(&b);
}
