/* The tree itself: building, looking up, copying, JSON in both directions. */
#include "lib/plan/node.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "turnout/text.h"

struct tn_node *tn_node_new(struct tn_loader *l, enum tn_node_kind kind, struct tn_mark mark)
{
    struct tn_node *n = tn_arena_alloc(l->arena, sizeof(*n));
    n->kind = kind;
    n->mark = mark;
    n->text = "";
    l->n_nodes++;
    return n;
}

struct tn_node *tn_node_scalar(struct tn_loader *l, struct tn_mark mark, const char *text, bool plain)
{
    struct tn_node *n = tn_node_new(l, TN_NODE_SCALAR, mark);
    n->text = tn_arena_strdup(l->arena, text);
    n->plain = plain;
    return n;
}

void tn_node_push(struct tn_loader *l, struct tn_node *parent, struct tn_node *child)
{
    if (parent->n == parent->cap) {
        size_t cap = parent->cap ? parent->cap * 2 : 4;
        struct tn_node **v = tn_arena_alloc(l->arena, cap * sizeof(struct tn_node *));
        if (parent->n > 0)
            memcpy(v, parent->v, parent->n * sizeof(struct tn_node *));
        parent->v = v;
        parent->cap = cap;
    }
    parent->v[parent->n++] = child;
}

struct tn_node *tn_node_get(const struct tn_node *map, const char *key)
{
    if (!map || map->kind != TN_NODE_MAP)
        return NULL;
    for (size_t i = 0; i < map->n; i++)
        if (strcmp(map->v[i]->key, key) == 0)
            return map->v[i];
    return NULL;
}

void tn_node_set(struct tn_loader *l, struct tn_node *map, const char *key, struct tn_mark key_mark,
                 struct tn_node *value)
{
    value->key = tn_arena_strdup(l->arena, key);
    value->key_mark = key_mark;
    for (size_t i = 0; i < map->n; i++) {
        if (strcmp(map->v[i]->key, key) == 0) {
            map->v[i] = value;
            return;
        }
    }
    tn_node_push(l, map, value);
}

void tn_node_remove(struct tn_node *map, const char *key)
{
    size_t kept = 0;
    for (size_t i = 0; i < map->n; i++)
        if (strcmp(map->v[i]->key, key) != 0)
            map->v[kept++] = map->v[i];
    map->n = kept;
}

static struct tn_node *copy(struct tn_loader *l, const struct tn_node *n)
{
    if (++l->n_copies > TN_PLAN_MAX_COPIES)
        return NULL;
    struct tn_node *c = tn_node_new(l, n->kind, n->mark);
    c->plain = n->plain;
    c->key = n->key;
    c->key_mark = n->key_mark;
    c->text = n->text;
    for (size_t i = 0; i < n->n; i++) {
        struct tn_node *child = copy(l, n->v[i]);
        if (!child)
            return NULL;
        tn_node_push(l, c, child);
    }
    return c;
}

struct tn_node *tn_node_copy(struct tn_loader *l, const struct tn_node *n, struct tn_mark at)
{
    struct tn_node *c = copy(l, n);
    if (!c)
        tn_problem_at(l, at, "write the values out instead of repeating them",
                      "aliases and variables make more than %d values here", TN_PLAN_MAX_COPIES);
    return c;
}

bool tn_node_is_null(const struct tn_node *n)
{
    return n->kind == TN_NODE_SCALAR && n->plain &&
           (n->text[0] == '\0' || strcmp(n->text, "~") == 0 || strcmp(n->text, "null") == 0 ||
            strcmp(n->text, "Null") == 0 || strcmp(n->text, "NULL") == 0);
}

const char *tn_node_kind_text(const struct tn_node *n)
{
    if (n->kind == TN_NODE_LIST)
        return "a list";
    if (n->kind == TN_NODE_MAP)
        return "a map";
    return tn_node_is_null(n) ? "nothing" : "text";
}

/* ---- JSON ------------------------------------------------------------------------------------------- */

static struct tn_node *from_json(struct tn_loader *l, struct tn_mark mark, const json_t *json, int depth);

static struct tn_node *from_object(struct tn_loader *l, struct tn_mark mark, const json_t *json, int depth)
{
    struct tn_node *map = tn_node_new(l, TN_NODE_MAP, mark);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)json, key, value)
    {
        struct tn_node *child = from_json(l, mark, value, depth + 1);
        if (!child)
            return NULL;
        child->key = tn_arena_strdup(l->arena, key);
        child->key_mark = mark;
        tn_node_push(l, map, child);
    }
    return map;
}

static struct tn_node *from_array(struct tn_loader *l, struct tn_mark mark, const json_t *json, int depth)
{
    struct tn_node *list = tn_node_new(l, TN_NODE_LIST, mark);
    for (size_t i = 0; i < json_array_size(json); i++) {
        struct tn_node *child = from_json(l, mark, json_array_get(json, i), depth + 1);
        if (!child)
            return NULL;
        tn_node_push(l, list, child);
    }
    return list;
}

static struct tn_node *from_json(struct tn_loader *l, struct tn_mark mark, const json_t *json, int depth)
{
    if (depth > TN_PLAN_MAX_DEPTH || l->n_nodes >= TN_PLAN_MAX_NODES) {
        tn_problem_at(l, mark, NULL, "more than %d levels or %d values", TN_PLAN_MAX_DEPTH,
                      TN_PLAN_MAX_NODES);
        return NULL;
    }
    switch (json_typeof(json)) {
    case JSON_OBJECT: return from_object(l, mark, json, depth);
    case JSON_ARRAY: return from_array(l, mark, json, depth);
    case JSON_STRING:
        if (strlen(json_string_value(json)) != json_string_length(json)) {
            tn_problem_at(l, mark, NULL, "a text holds a NUL character");
            return NULL;
        }
        return tn_node_scalar(l, mark, json_string_value(json), false);
    case JSON_INTEGER:
        return tn_node_scalar(
            l, mark, tn_arena_format(l->arena, "%" JSON_INTEGER_FORMAT, json_integer_value(json)), true);
    case JSON_REAL:
        return tn_node_scalar(l, mark, tn_arena_format(l->arena, "%.17g", json_real_value(json)), true);
    case JSON_TRUE: return tn_node_scalar(l, mark, "true", true);
    case JSON_FALSE: return tn_node_scalar(l, mark, "false", true);
    case JSON_NULL:
    default: return tn_node_scalar(l, mark, "null", true);
    }
}

struct tn_node *tn_node_from_json(struct tn_loader *l, const char *name, const json_t *json)
{
    return from_json(l, (struct tn_mark){.file = name}, json, 0);
}

/* YAML 1.2 core: [-+]?[0-9]+ is a number; what has a leading zero stays text, so that 08 never becomes 8. */
static json_t *typed_number(const char *s)
{
    const char *digits = s + (*s == '-' || *s == '+');
    if (!(*digits >= '0' && *digits <= '9') || (digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9'))
        return NULL;
    int64_t whole = 0;
    if (tn_parse_int(*s == '+' ? digits : s, &whole))
        return json_integer(whole);
    char *end = NULL;
    if (strspn(digits, "0123456789.eE+-") != strlen(digits))
        return NULL;
    errno = 0;
    double d = strtod(s, &end);
    return errno == 0 && *end == '\0' ? json_real(d) : NULL;
}

static json_t *typed_scalar(const struct tn_node *n)
{
    if (tn_node_is_null(n))
        return json_null();
    if (n->plain) {
        if (strcmp(n->text, "true") == 0 || strcmp(n->text, "false") == 0)
            return json_boolean(n->text[0] == 't');
        json_t *number = typed_number(n->text);
        if (number)
            return number;
    }
    return json_string(n->text);
}

json_t *tn_node_typed_json(const struct tn_node *n)
{
    if (n->kind == TN_NODE_SCALAR)
        return typed_scalar(n);
    json_t *out = n->kind == TN_NODE_MAP ? json_object() : json_array();
    for (size_t i = 0; i < n->n; i++) {
        if (n->kind == TN_NODE_MAP)
            json_object_set_new(out, n->v[i]->key, tn_node_typed_json(n->v[i]));
        else
            json_array_append_new(out, tn_node_typed_json(n->v[i]));
    }
    return out;
}
