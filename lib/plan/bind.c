/* The one walker over the key table. Values that go nowhere (TN_NOSTORE) are bound into scratch memory, so that they
 * are checked like all others. */
#include "lib/plan/bind.h"

#include <string.h>

#define MAX_KEYS 64 /* of one schema; the largest has 41 */

static void *member(void *out, size_t at)
{
    return (char *)out + at;
}

static bool is_extension(const char *key)
{
    return strncmp(key, "x-", 2) == 0;
}

void tn_bind_defaults(struct tn_binder *b, const struct tn_schema *s, void *out)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct tn_key *k = &s->keys[i];
        if (k->flags & (TN_NOSTORE | TN_RESERVED))
            continue;
        if (k->type == TN_KEY_OBJECT && !(k->flags & TN_POINTER)) {
            tn_bind_defaults(b, k->child, member(out, k->at));
        } else if (k->def && k->def[0] == '-') {
            if (k->type == TN_KEY_INT)
                *(int *)member(out, k->at) = -1;
            else
                *(int64_t *)member(out, k->at) = -1;
        } else if (k->def) {
            const struct tn_node n = {.kind = TN_NODE_SCALAR, .text = k->def, .plain = true};
            tn_bind_value(b, k, &n, NULL, out);
        }
    }
}

static void want_map(struct tn_binder *b, const struct tn_node *n, const struct tn_key_path *path)
{
    tn_problem_at(b->l, n->mark, NULL, "%s: a map is wanted, not %s", tn_key_path_text(b, path),
                  tn_node_kind_text(n));
}

static void bind_key(struct tn_binder *b, const struct tn_key *k, const struct tn_node *n,
                     const struct tn_key_path *path, void *out);

static void bind_list(struct tn_binder *b, const struct tn_key *k, const struct tn_node *n,
                      const struct tn_key_path *path, void *out)
{
    struct tn_node *one[] = {(struct tn_node *)n};
    bool single = k->flags & TN_SINGLE && n->kind != TN_NODE_LIST;
    if (n->kind != TN_NODE_LIST && !single) {
        tn_problem_at(b->l, n->mark, NULL, "%s: a list is wanted, not %s", tn_key_path_text(b, path),
                      tn_node_kind_text(n));
        return;
    }
    size_t *count = member(out, k->at_n);
    if (*count > 0) {
        tn_problem_at(b->l, n->mark, NULL, "%s: the same thing is already said by its other form",
                      tn_key_path_text(b, path));
        return;
    }
    size_t total = single ? 1 : n->n;
    char *v = tn_arena_alloc(b->l->arena, (total + 1) * k->child->size);
    *(void **)member(out, k->at) = v;
    *count = total;
    for (size_t i = 0; i < total; i++) {
        const struct tn_key_path item = {path, tn_arena_format(b->l->arena, "[%zu]", i)};
        tn_bind_object(b, k->child, single ? one[0] : n->v[i], single ? path : &item, v + i * k->child->size);
    }
}

/* networks: [a, b] is networks: {a: {}, b: {}}. */
static const struct tn_node *names_as_map(struct tn_binder *b, const struct tn_node *n,
                                          const struct tn_key_path *path)
{
    struct tn_node *map = tn_node_new(b->l, TN_NODE_MAP, n->mark);
    for (size_t i = 0; i < n->n; i++) {
        if (n->v[i]->kind != TN_NODE_SCALAR) {
            tn_problem_at(b->l, n->v[i]->mark, NULL, "%s: a name is wanted, not %s",
                          tn_key_path_text(b, path), tn_node_kind_text(n->v[i]));
            continue;
        }
        tn_node_set(b->l, map, n->v[i]->text, n->v[i]->mark, tn_node_new(b->l, TN_NODE_MAP, n->v[i]->mark));
    }
    return map;
}

static void bind_named(struct tn_binder *b, const struct tn_key *k, const struct tn_node *n,
                       const struct tn_key_path *path, void *out)
{
    if (k->flags & TN_NAMES && n->kind == TN_NODE_LIST)
        n = names_as_map(b, n, path);
    if (n->kind != TN_NODE_MAP) {
        want_map(b, n, path);
        return;
    }
    const struct tn_schema *s = k->child;
    char *v = tn_arena_alloc(b->l->arena, (n->n + 1) * s->size + 1);
    size_t *count = NULL;
    if (!(k->flags & TN_NOSTORE)) {
        *(void **)member(out, k->at) = v;
        count = member(out, k->at_n);
    }
    struct tn_binder inner = *b;
    inner.partial = b->partial || k->flags & TN_OVERLAY;
    size_t kept = 0;
    for (size_t i = 0; i < n->n; i++) {
        const struct tn_node *item = n->v[i];
        const struct tn_key_path at = {path, item->key};
        if (is_extension(item->key) || (b->partial && tn_node_is_null(item)))
            continue;
        void *element = v + kept++ * s->size;
        if (count)
            *count = kept;
        tn_bind_check(b, s->name_check, item->key, item->key_mark, path);
        if (s->name_at != TN_NOWHERE)
            *(char **)member(element, s->name_at) = tn_arena_strdup(b->l->arena, item->key);
        tn_bind_object(&inner, s, item, &at, element);
        if (s->mark_at != TN_NOWHERE)
            *(struct tn_mark *)member(element, s->mark_at) = item->key_mark;
    }
}

static void bind_child(struct tn_binder *b, const struct tn_key *k, const struct tn_node *n,
                       const struct tn_key_path *path, void *out)
{
    void *at = member(out, k->at);
    if (k->flags & TN_NOSTORE) {
        at = tn_arena_alloc(b->l->arena, k->child->size + 1);
    } else if (k->flags & TN_POINTER) {
        *(void **)at = tn_arena_alloc(b->l->arena, k->child->size);
        at = *(void **)at;
    }
    tn_bind_object(b, k->child, n, path, at);
}

static void bind_raw(struct tn_binder *b, const struct tn_key *k, const struct tn_node *n,
                     const struct tn_key_path *path, void *out)
{
    if (k->flags & TN_NOSTORE || b->partial)
        return;
    if (n->kind != TN_NODE_MAP) {
        want_map(b, n, path);
        return;
    }
    json_t **slot = member(out, k->at);
    json_decref(*slot);
    *slot = tn_node_typed_json(n);
}

static void bind_scratch(struct tn_binder *b, const struct tn_key *k, const struct tn_node *n,
                         const struct tn_key_path *path)
{
    struct tn_key copy = *k;
    copy.at = 0;
    tn_bind_value(b, &copy, n, path, tn_arena_alloc(b->l->arena, 64));
}

/* Values that cannot be typed: a broken one; in an overlay that nobody chose, what still holds ${…} or is null. */
static bool is_open(const struct tn_binder *b, const struct tn_node *n)
{
    if (n->broken)
        return true;
    return b->partial && n->kind == TN_NODE_SCALAR && (tn_node_is_null(n) || strstr(n->text, "${"));
}

static void bind_key(struct tn_binder *b, const struct tn_key *k, const struct tn_node *n,
                     const struct tn_key_path *path, void *out)
{
    if (is_open(b, n))
        return;
    if (k->flags & TN_RESERVED) {
        if (!b->partial)
            tn_problem_at(b->l, n->key_mark, NULL, "%s: '%s' is reserved: this build cannot run it yet",
                          tn_key_path_text(b, path), k->name);
        return;
    }
    switch (k->type) {
    case TN_KEY_OBJECT: bind_child(b, k, n, path, out); break;
    case TN_KEY_LIST: bind_list(b, k, n, path, out); break;
    case TN_KEY_NAMED: bind_named(b, k, n, path, out); break;
    case TN_KEY_RAW: bind_raw(b, k, n, path, out); break;
    default:
        if (k->flags & TN_NOSTORE)
            bind_scratch(b, k, n, path);
        else
            tn_bind_value(b, k, n, path, out);
    }
}

static void unknown_key(struct tn_binder *b, const struct tn_schema *s, const struct tn_node *n,
                        const struct tn_key_path *path)
{
    const char *names[MAX_KEYS];
    size_t count = 0;
    for (size_t i = 0; i < s->n && count < MAX_KEYS; i++)
        names[count++] = s->keys[i].name;
    const char *hint = tn_hint_nearest(b->l->arena, n->key, names, count);
    if (!hint) {
        tn_autobuf known = TN_BUF_INIT(2048);
        for (size_t i = 0; i < s->n; i++)
            if (!(s->keys[i].flags & TN_RESERVED))
                tn_buf_printf(&known, "%s%s", known.len ? ", " : "", s->keys[i].name);
        hint = tn_arena_format(b->l->arena, "known here: %s", known.data ? known.data : "nothing");
    }
    if (path)
        tn_problem_at(b->l, n->key_mark, hint, "unknown key '%s' in %s", n->key, tn_key_path_text(b, path));
    else
        tn_problem_at(b->l, n->key_mark, hint, "unknown key '%s'", n->key);
}

static const char *kind_list(struct tn_binder *b, const struct tn_schema *s)
{
    tn_autobuf list = TN_BUF_INIT(1024);
    for (size_t i = 0; i < s->n; i++)
        if (s->keys[i].flags & TN_KIND && !(s->keys[i].flags & TN_RESERVED))
            tn_buf_printf(&list, "%s%s", list.len ? ", " : "", s->keys[i].name);
    return tn_arena_strdup(b->l->arena, list.data ? list.data : "");
}

/* Exactly one kind: what a thing is must be readable in one place. */
static void check_kinds(struct tn_binder *b, const struct tn_schema *s, const struct tn_node *n,
                        const struct tn_key_path *path, bool seen_unknown)
{
    const struct tn_node *first = NULL;
    for (size_t i = 0; i < n->n; i++) {
        const struct tn_key *k = tn_schema_find(s, n->v[i]->key);
        if (!k || !(k->flags & TN_KIND))
            continue;
        if (first)
            tn_problem_at(b->l, n->v[i]->key_mark, "keep one of them; an overlay removes the other with null",
                          "%s: '%s' and '%s' are two kinds: exactly one is wanted", tn_key_path_text(b, path),
                          first->key, k->name);
        else
            first = n->v[i];
    }
    if (!first && !seen_unknown)
        tn_problem_at(b->l, n->key ? n->key_mark : n->mark, NULL, "%s: one of %s is wanted",
                      tn_key_path_text(b, path), kind_list(b, s));
}

static void check_required(struct tn_binder *b, const struct tn_schema *s, const struct tn_node *n,
                           const struct tn_key_path *path)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct tn_key *k = &s->keys[i];
        if (!(k->flags & TN_REQUIRED) || tn_node_get(n, k->name))
            continue;
        struct tn_mark at = n->key ? n->key_mark : n->mark;
        if (path)
            tn_problem_at(b->l, at, k->doc, "%s: '%s' is missing", tn_key_path_text(b, path), k->name);
        else
            tn_problem_at(b->l, at, k->doc, "'%s' is missing", k->name);
    }
}

static void bind_shorthand(struct tn_binder *b, const struct tn_schema *s, const struct tn_node *n,
                           const struct tn_key_path *path, void *out)
{
    const struct tn_key *k = tn_schema_find(s, s->shorthand);
    bind_key(b, k, n, path, out);
}

/* A value that stands for the shorthand key: a scalar, or a list where that key takes one. */
static bool is_bare(const struct tn_key *k, const struct tn_node *n)
{
    if (n->kind == TN_NODE_LIST)
        return k->type == TN_KEY_COMMAND || k->type == TN_KEY_RAW;
    return n->kind == TN_NODE_SCALAR && !tn_node_is_null(n);
}

void tn_bind_object(struct tn_binder *b, const struct tn_schema *s, const struct tn_node *n,
                    const struct tn_key_path *path, void *out)
{
    tn_bind_defaults(b, s, out);
    if (s->mark_at != TN_NOWHERE)
        *(struct tn_mark *)member(out, s->mark_at) = n->mark;
    const struct tn_key *short_key = s->shorthand ? tn_schema_find(s, s->shorthand) : NULL;
    if (is_open(b, n))
        return;
    if (short_key && is_bare(short_key, n)) {
        bind_shorthand(b, s, n, path, out);
        return;
    }
    if (n->kind != TN_NODE_MAP) {
        want_map(b, n, path);
        return;
    }
    bool seen_unknown = false;
    for (size_t i = 0; i < n->n; i++) {
        const struct tn_node *item = n->v[i];
        const struct tn_key *k = tn_schema_find(s, item->key);
        if (is_extension(item->key))
            continue;
        if (!k) {
            unknown_key(b, s, item, path);
            seen_unknown = true;
            continue;
        }
        const struct tn_key_path at = {path, item->key};
        if (s->kind_at != TN_NOWHERE && k->flags & TN_KIND)
            *(int *)member(out, s->kind_at) = k->kind;
        bind_key(b, k, item, &at, out);
    }
    if (b->partial)
        return;
    if (s->has_kinds)
        check_kinds(b, s, n, path, seen_unknown);
    check_required(b, s, n, path);
}
