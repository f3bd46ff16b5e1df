/* A value is written when it differs from what an empty map would give: the default of a key may then be spelled out
 * in a plan without making a new revision. */
#include "lib/plan/emit.h"

#include <stdio.h>
#include <string.h>

#include "lib/plan/bind.h"

static const void *member(const void *in, size_t at)
{
    return (const char *)in + at;
}

static json_t *emit_object(struct tn_binder *b, const struct tn_schema *s, const void *in);

static json_t *text_or_nothing(const char *s)
{
    return s ? json_string(s) : NULL;
}

static json_t *quantity(int64_t v, const char *unit)
{
    char text[40];
    snprintf(text, sizeof(text), "%lld%s", (long long)v, unit);
    return json_string(text);
}

static json_t *strings(char *const *v, size_t n)
{
    json_t *out = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(out, json_string(v[i]));
    return out;
}

static json_t *pairs(const struct tn_pairs *p)
{
    json_t *out = json_object();
    for (size_t i = 0; i < p->n; i++)
        json_object_set_new(out, p->v[i].name, json_string(p->v[i].value));
    return out;
}

static json_t *list(struct tn_binder *b, const struct tn_key *k, const void *in)
{
    const char *v = *(const char *const *)member(in, k->at);
    size_t n = *(const size_t *)member(in, k->at_n);
    json_t *out = k->type == TN_KEY_LIST ? json_array() : json_object();
    for (size_t i = 0; i < n; i++) {
        const void *element = v + i * k->child->size;
        json_t *json = emit_object(b, k->child, element);
        if (k->type == TN_KEY_LIST)
            json_array_append_new(out, json);
        else
            json_object_set_new(out, *(char *const *)member(element, k->child->name_at), json);
    }
    return out;
}

/* NULL when the member is unset, or of a type that no revision holds. */
static json_t *emit_scalar(const struct tn_key *k, const void *at)
{
    switch (k->type) {
    case TN_KEY_BOOL: return json_boolean(*(const bool *)at);
    case TN_KEY_INT: return json_integer(*(const int *)at);
    case TN_KEY_DURATION: return quantity(*(const int64_t *)at, "ms");
    case TN_KEY_CPU: return quantity(*(const int64_t *)at, "m");
    case TN_KEY_SIZE: return json_integer(*(const int64_t *)at);
    case TN_KEY_ENUM: return json_string(tn_name_of(k->names, *(const int *)at));
    case TN_KEY_STRING:
    case TN_KEY_TEXT:
    case TN_KEY_PATH:
    case TN_KEY_WORD: return text_or_nothing(*(char *const *)at);
    default: return NULL;
    }
}

static json_t *emit_value(struct tn_binder *b, const struct tn_key *k, const void *in)
{
    const void *at = member(in, k->at);
    switch (k->type) {
    case TN_KEY_STRINGS: {
        const struct tn_strings *s = at;
        return strings(s->v, s->n);
    }
    case TN_KEY_COMMAND: {
        const struct tn_command *c = at;
        return c->argv ? strings(c->argv, c->n) : NULL;
    }
    case TN_KEY_PAIRS: return pairs(at);
    case TN_KEY_OBJECT: return emit_object(b, k->child, at);
    case TN_KEY_LIST:
    case TN_KEY_NAMED: return list(b, k, in);
    case TN_KEY_RAW: return json_incref(*(json_t *const *)at);
    default: return emit_scalar(k, at);
    }
}

static json_t *emit_object(struct tn_binder *b, const struct tn_schema *s, const void *in)
{
    json_t *out = json_object();
    void *empty = tn_arena_alloc(b->l->arena, sizeof(struct tn_service));
    tn_bind_defaults(b, s, empty);
    for (size_t i = 0; i < s->n; i++) {
        const struct tn_key *k = &s->keys[i];
        if (!(k->flags & TN_REVISION))
            continue;
        json_t *value = emit_value(b, k, in);
        if (!value)
            continue;
        json_t *plain = k->type == TN_KEY_OBJECT ? json_object() : emit_value(b, k, empty);
        if (plain && json_equal(value, plain) && !(k->flags & TN_REQUIRED))
            json_decref(value);
        else
            json_object_set_new(out, k->name, value);
        json_decref(plain);
    }
    return out;
}

json_t *tn_emit_revision(const struct tn_schema *s, const void *in)
{
    struct tn_problems none = {0};
    struct tn_loader l = {.arena = tn_arena_new(), .problems = &none};
    struct tn_binder b = {.l = &l};
    json_t *out = emit_object(&b, s, in);
    tn_problems_clear(&none);
    tn_arena_free(l.arena);
    return out;
}
