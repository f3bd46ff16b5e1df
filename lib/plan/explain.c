/* `explain` for terminals and the reference page in Markdown, both from the table. */
#include <stdlib.h>
#include <string.h>

#include "turnout/buf.h"
#include "turnout/mem.h"
#include "lib/plan/keys.h"

#define MAX_TEXT     ((size_t)1 << 20)
#define MAX_SEGMENTS 16
#define MAX_SCHEMAS  48

/* Where a key stands: the schema it lies in and the way to it. */
struct found {
    const struct tn_key *key; /* NULL = the plan itself */
    char *path;               /* services.<name>.health.http */
};

static const char *placeholder(const struct tn_key *k)
{
    return k->type == TN_KEY_NAMED ? ".<name>" : k->type == TN_KEY_LIST ? "[]" : "";
}

/* All schemas, each once, with the path that leads to them: breadth first, so that the shortest path wins. */
struct reach {
    const struct tn_schema *schema;
    char *path; /* with the placeholder; "" for the plan */
};
struct reached {
    struct reach v[MAX_SCHEMAS];
    size_t n;
};

static bool is_reached(const struct reached *r, const struct tn_schema *s)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->v[i].schema == s)
            return true;
    return false;
}

static char *join(const char *path, const char *name, const char *tail)
{
    return tn_format("%s%s%s%s", path, *path ? "." : "", name, tail);
}

static void reach_all(struct reached *r)
{
    r->n = 0;
    r->v[r->n++] = (struct reach){&tn_schema_plan, tn_strdup("")};
    for (size_t i = 0; i < r->n; i++)
        for (size_t k = 0; k < r->v[i].schema->n; k++) {
            const struct tn_key *key = &r->v[i].schema->keys[k];
            if (key->child && r->n < MAX_SCHEMAS && !is_reached(r, key->child))
                r->v[r->n++] = (struct reach){key->child, join(r->v[i].path, key->name, placeholder(key))};
        }
}

static void reached_clear(struct reached *r)
{
    for (size_t i = 0; i < r->n; i++)
        free(r->v[i].path);
}

/* ---- finding ---------------------------------------------------------------------------------------- */

/* Follows segments from a schema; one that is no key stands for a name in a map. */
static bool follow(const struct tn_schema *s, const char *base, char *const *segments, size_t n,
                   struct found *out)
{
    const struct tn_key *k = NULL;
    tn_autofree char *path = tn_strdup(base);
    const char *tail = "";
    for (size_t i = 0; i < n; i++) {
        const struct tn_key *next = s ? tn_schema_find(s, segments[i]) : NULL;
        if (!next && k && k->type == TN_KEY_NAMED && *tail) {
            if (i + 1 == n)
                break;
            next = s ? tn_schema_find(s, segments[++i]) : NULL;
        }
        if (!next)
            return false;
        char *longer = tn_format("%s%s%s%s", path, tail, *path ? "." : "", next->name);
        free(path);
        path = longer;
        k = next;
        s = k->child;
        tail = placeholder(k);
    }
    /* The last word was a name: services.web. */
    bool named = n > 1 && k && strcmp(segments[n - 1], k->name) != 0;
    *out = (struct found){k, tn_format("%s%s", path, named ? tail : "")};
    return true;
}

/* From the top, else from any schema, so that `health.http` is enough. */
static bool find(char *const *segments, size_t n, const struct reached *all, struct found *out)
{
    for (size_t i = 0; i < all->n; i++)
        if (follow(all->v[i].schema, all->v[i].path, segments, n, out))
            return true;
    return false;
}

static int not_found(const char *path, const char *last, const struct reached *all, struct tn_error **err)
{
    const char *names[512];
    size_t n = 0;
    for (size_t i = 0; i < all->n; i++)
        for (size_t k = 0; k < all->v[i].schema->n && n < TN_COUNT(names); k++)
            names[n++] = all->v[i].schema->keys[k].name;
    tn_error_set(err, TN_ENOTFOUND, "the plan has no key '%.80s'", path);
    int near = tn_nearest(last, names, n);
    return near < 0 ? tn_error_hint(err, "turnout explain lists the keys at the top")
                    : tn_error_hint(err, "did you mean '%s'?", names[near]);
}

/* ---- text ------------------------------------------------------------------------------------------- */

static void put_words(struct tn_buf *b, const struct tn_key *k)
{
    if (!k->names)
        return;
    tn_buf_puts(b, "  one of    ");
    for (const struct tn_name *n = k->names; n->name; n++)
        tn_buf_printf(b, "%s%s", n == k->names ? "" : ", ", n->name);
    tn_buf_putc(b, '\n');
}

static void put_facts(struct tn_buf *b, const struct tn_key *k)
{
    tn_buf_printf(b, "  type      %s%s\n", tn_key_type_text(k), k->flags & TN_REQUIRED ? ", required" : "");
    put_words(b, k);
    if (tn_key_default_text(k))
        tn_buf_printf(b, "  default   %s\n", tn_key_default_text(k));
    if (k->type == TN_KEY_INT && k->max > k->min)
        tn_buf_printf(b, "  between   %lld and %lld\n", (long long)k->min, (long long)k->max);
    if (k->flags & TN_REVISION)
        tn_buf_puts(b, "  a change  replaces instances\n");
    if (k->flags & TN_RESERVED)
        tn_buf_puts(b, "  reserved  this build cannot run it yet\n");
    tn_buf_printf(b, "  since     %s\n", k->since);
}

static void put_keys(struct tn_buf *b, const struct tn_schema *s)
{
    tn_buf_puts(b, s->has_kinds ? "\nkeys (exactly one marked *)\n" : "\nkeys\n");
    for (size_t i = 0; i < s->n; i++) {
        const struct tn_key *k = &s->keys[i];
        if (!(k->flags & TN_RESERVED))
            tn_buf_printf(b, " %s%-18s %-20s %s\n", k->flags & TN_KIND ? "*" : " ", k->name,
                          tn_key_type_text(k), k->doc);
    }
    bool any = false;
    for (size_t i = 0; i < s->n; i++) {
        if (!(s->keys[i].flags & TN_RESERVED))
            continue;
        tn_buf_printf(b, "%s%s", any ? ", " : "\nreserved: ", s->keys[i].name);
        any = true;
    }
    if (any)
        tn_buf_putc(b, '\n');
}

static char *describe(const struct found *f)
{
    tn_autobuf b = TN_BUF_INIT(MAX_TEXT);
    const struct tn_schema *s = f->key ? f->key->child : &tn_schema_plan;
    if (f->key) {
        tn_buf_printf(&b, "%s\n  %s.\n\n", f->path, f->key->doc);
        put_facts(&b, f->key);
    } else {
        tn_buf_printf(&b, "%s.\n", s->doc);
    }
    if (s && f->key)
        tn_buf_printf(&b, "  example   %s%s\n", f->key->type == TN_KEY_LIST ? "- " : "", s->example);
    if (s)
        put_keys(&b, s);
    return tn_buf_take(&b);
}

/* "services.web.ports[0].name" → services, web, ports, name. */
static size_t split(char *text, char *out[MAX_SEGMENTS])
{
    size_t n = 0;
    char *save = NULL;
    for (char *word = strtok_r(text, ".", &save); word && n < MAX_SEGMENTS;
         word = strtok_r(NULL, ".", &save)) {
        word[strcspn(word, "[")] = '\0';
        if (*word)
            out[n++] = word;
    }
    return n;
}

char *tn_plan_explain(const char *path, struct tn_error **err)
{
    char *segments[MAX_SEGMENTS];
    tn_autofree char *copy = tn_strdup(path ? path : "");
    size_t n = split(copy, segments);
    struct found f = {NULL, NULL};
    if (n == 0)
        return describe(&f);
    struct reached all;
    reach_all(&all);
    char *text = NULL;
    if (find(segments, n, &all, &f))
        text = describe(&f);
    else
        not_found(path, segments[n - 1], &all, err);
    reached_clear(&all);
    free(f.path);
    return text;
}

/* ---- Markdown --------------------------------------------------------------------------------------- */

/* A cell of a table. */
static void put_cell(struct tn_buf *b, const char *s)
{
    for (; *s; s++) {
        if (*s == '|' || *s == '<' || *s == '*' || *s == '_')
            tn_buf_putc(b, '\\');
        tn_buf_putc(b, *s);
    }
}

static void put_row(struct tn_buf *b, const struct tn_key *k)
{
    const char *def = tn_key_default_text(k);
    tn_buf_printf(b, "| `%s` | %s | ", k->name, tn_key_type_text(k));
    if (def)
        put_cell(b, def);
    else
        tn_buf_puts(b, k->flags & TN_REQUIRED ? "required" : "");
    tn_buf_puts(b, " | ");
    put_cell(b, k->doc);
    if (k->names) {
        tn_buf_puts(b, ": ");
        for (const struct tn_name *n = k->names; n->name; n++)
            tn_buf_printf(b, "%s`%s`", n == k->names ? "" : ", ", n->name);
    }
    if (k->flags & TN_REVISION && k->type != TN_KEY_OBJECT)
        tn_buf_puts(b, " ↻");
    tn_buf_printf(b, " | %s |\n", k->since);
}

static void put_section(struct tn_buf *b, const struct reach *r)
{
    const struct tn_schema *s = r->schema;
    tn_buf_printf(b, *r->path ? "\n## `%s`\n\n%s.\n\n" : "\n## The top of a plan%s\n\n%s.\n\n", r->path,
                  s->doc);
    tn_buf_printf(b, "```yaml\n%s\n```\n\n", s->example);
    tn_buf_puts(b, "| key | type | default | what it does | since |\n|---|---|---|---|---|\n");
    bool reserved = false;
    for (size_t i = 0; i < s->n; i++) {
        if (s->keys[i].flags & TN_RESERVED)
            reserved = true;
        else
            put_row(b, &s->keys[i]);
    }
    for (size_t i = 0, any = 0; reserved && i < s->n; i++)
        if (s->keys[i].flags & TN_RESERVED)
            tn_buf_printf(b, "%s`%s`", any++ ? ", " : "\nReserved, refused by name: ", s->keys[i].name);
    if (reserved)
        tn_buf_putc(b, '\n');
}

char *tn_plan_reference(void)
{
    tn_autobuf b = TN_BUF_INIT(MAX_TEXT);
    tn_buf_puts(
        &b, "# Plan reference\n\n<!-- made from lib/plan/keys*.c by tn_plan_reference; do not edit -->\n\n"
            "Every key, with its type and default; `turnout explain KEY` prints the same.\n"
            "↻ marks what is part of a service's revision: a change of it replaces instances.\n"
            "Durations carry a unit (`500ms`, `30s`, `5m`, `1h30m`); counts are `2` or `25%`; a "
            "command is a list, "
            "or a text for `/bin/sh -c`;\nunknown keys are errors, `x-…` is ignored.\n");
    struct reached all;
    reach_all(&all);
    for (size_t i = 0; i < all.n; i++)
        put_section(&b, &all.v[i]);
    reached_clear(&all);
    return tn_buf_take(&b);
}
