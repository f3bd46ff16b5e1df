/* The merged plan as YAML, each line with where its value was written. What it prints can be loaded again: variables
 * are in, a $ that would be read as one is doubled, and what YAML could read as something else is quoted. */
#include <string.h>

#include "turnout/buf.h"
#include "lib/plan/load.h"

#define MAX_TEXT       ((size_t)8 << 20)
#define COMMENT_COLUMN 60

struct printer {
    struct tn_buf out;
    size_t line_start;
};

static void end_line(struct printer *p, const struct tn_mark *at)
{
    size_t column = tn_columns(p->out.data ? p->out.data + p->line_start : "");
    if (at->file) {
        for (; column < COMMENT_COLUMN - 1; column++)
            tn_buf_putc(&p->out, ' ');
        tn_buf_puts(&p->out, " # from ");
        tn_filter(&p->out, at->file, strlen(at->file), false);
        if (at->line > 0)
            tn_buf_printf(&p->out, ":%d", at->line);
    }
    tn_buf_putc(&p->out, '\n');
    p->line_start = p->out.len;
}

static bool needs_quotes(const char *s, bool plain)
{
    static const char *const words[] = {"null", "Null", "NULL", "~",   "true", "false", "yes", "no",  "on",
                                        "off",  "y",    "n",    "Yes", "No",   "On",    "Off", "YES", "NO"};
    static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./@%+=-";
    if (!*s || strspn(s, safe) != strlen(s) || strchr("-%@=", *s))
        return true;
    for (size_t i = 0; !plain && i < TN_COUNT(words); i++)
        if (strcmp(s, words[i]) == 0)
            return true;
    return !plain && strspn(s, "0123456789.+-eExo_") == strlen(s); /* text that looks like a number */
}

static void put_text(struct tn_buf *b, const char *s, bool plain)
{
    if (!needs_quotes(s, plain)) {
        tn_buf_puts(b, s);
        return;
    }
    tn_buf_putc(b, '"');
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            tn_buf_printf(b, "\\%c", c);
        else if (c == '\n')
            tn_buf_puts(b, "\\n");
        else if (c < ' ' || c == 0x7f)
            tn_buf_printf(b, "\\x%02x", c);
        else if (c == 0xc2 && (unsigned char)s[1] < 0xa0) /* C1 control characters */
            tn_buf_printf(b, "\\x%02x", (unsigned char)*++s);
        else if (c == '$' && (s[1] == '{' || s[1] == '$'))
            tn_buf_puts(b, "$$");
        else
            tn_buf_putc(b, *s);
    }
    tn_buf_putc(b, '"');
}

static void indent(struct printer *p, int depth)
{
    tn_buf_printf(&p->out, "%*s", depth * 2, "");
}

static void print_children(struct printer *p, const struct tn_node *n, int depth);

/* The value behind "key:" or "-"; `at` is told when the value has no line of its own. */
static void print_value(struct printer *p, const struct tn_node *n, int depth)
{
    if (n->kind == TN_NODE_SCALAR) {
        tn_buf_putc(&p->out, ' ');
        put_text(&p->out, n->text, n->plain);
        end_line(p, &n->mark);
    } else if (n->n == 0) {
        tn_buf_puts(&p->out, n->kind == TN_NODE_MAP ? " {}" : " []");
        end_line(p, &n->mark);
    } else {
        end_line(p, n->key ? &n->key_mark : &n->mark);
        print_children(p, n, depth + 1);
    }
}

static void print_children(struct printer *p, const struct tn_node *n, int depth)
{
    for (size_t i = 0; i < n->n; i++) {
        indent(p, depth);
        if (n->kind == TN_NODE_MAP) {
            put_text(&p->out, n->v[i]->key, false);
            tn_buf_putc(&p->out, ':');
        } else {
            tn_buf_putc(&p->out, '-');
        }
        print_value(p, n->v[i], depth);
    }
}

char *tn_plan_config(const struct tn_plan *p)
{
    struct printer printer = {.out = TN_BUF_INIT(MAX_TEXT)};
    print_children(&printer, p->priv->root, 0);
    return tn_buf_take(&printer.out);
}
