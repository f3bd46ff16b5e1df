/* JSON Schema draft-07 from the table: what editors complete and mark.
 *
 * Typed values may also be ${…}, which is text until it is substituted. Overlays (environments) are parts of a plan,
 * so `required` stands only where a part makes no sense either: at the top and in lists.
 */
#include <string.h>

#include "lib/plan/keys.h"

#define ANY_VARIABLE "\\$\\{"

static json_t *schema_of_key(const struct tn_key *k);

static json_t *object_with(const char *key, json_t *value)
{
    json_t *o = json_object();
    json_object_set_new(o, key, value);
    return o;
}

static json_t *type_of(const char *type)
{
    return object_with("type", json_string(type));
}

static json_t *types_of(const char *const *types, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_string(types[i]));
    return object_with("type", list);
}

static json_t *any_of(json_t *a, json_t *b)
{
    json_t *list = json_array();
    json_array_append_new(list, a);
    json_array_append_new(list, b);
    return object_with("anyOf", list);
}

static json_t *text_with_pattern(const char *pattern)
{
    json_t *o = type_of("string");
    if (pattern)
        json_object_set_new(o, "pattern", json_string(pattern));
    return o;
}

static json_t *or_variable(json_t *schema)
{
    return any_of(schema, text_with_pattern(ANY_VARIABLE));
}

/* A scalar where text is wanted: YAML writes 1.10 and true without quotes. */
static json_t *any_scalar(void)
{
    static const char *const types[] = {"string", "number", "boolean"};
    return types_of(types, 3);
}

static json_t *text_schema(const struct tn_key *k)
{
    const char *pattern = tn_check_rules[k->check].pattern;
    json_t *o = any_scalar();
    if (!pattern || k->type == TN_KEY_PAIRS)
        return o;
    char both[256];
    snprintf(both, sizeof(both), "(%s)|(" ANY_VARIABLE ")", pattern);
    json_object_set_new(o, "pattern", json_string(both)); /* holds for strings only */
    return o;
}

static json_t *words_schema(const struct tn_key *k)
{
    json_t *words = json_array();
    for (const struct tn_name *n = k->names; n && n->name; n++)
        json_array_append_new(words, json_string(n->name));
    return or_variable(object_with("enum", words));
}

static json_t *list_of(json_t *items)
{
    json_t *o = type_of("array");
    json_object_set_new(o, "items", items);
    return o;
}

static json_t *map_of(json_t *values)
{
    json_t *o = type_of("object");
    json_object_set_new(o, "additionalProperties", values);
    return o;
}

static json_t *number_or_text(const char *type, const char *pattern)
{
    return any_of(type_of(type), text_with_pattern(pattern));
}

static json_t *ref_to(const struct tn_schema *s)
{
    char text[64];
    if (s == &tn_schema_plan)
        return object_with("$ref", json_string("#/definitions/overlay"));
    snprintf(text, sizeof(text), "#/definitions/%s", s->name);
    for (char *p = text; *p; p++)
        *p = *p == ' ' ? '_' : *p;
    return object_with("$ref", json_string(text));
}

static json_t *int_schema(const struct tn_key *k)
{
    json_t *o = type_of("integer");
    json_object_set_new(o, "minimum", json_integer(k->min));
    if (k->max > 0)
        json_object_set_new(o, "maximum", json_integer(k->max));
    return or_variable(o);
}

static json_t *scalar_schema(const struct tn_key *k)
{
    switch (k->type) {
    case TN_KEY_BOOL: return k->names ? words_schema(k) : or_variable(type_of("boolean"));
    case TN_KEY_INT: return int_schema(k);
    case TN_KEY_DURATION: return text_with_pattern("^0$|^([0-9.]+(ms|s|m|h|d))+$|" ANY_VARIABLE);
    case TN_KEY_SIZE: return number_or_text("integer", "^-1$|^[0-9.]+[A-Za-z]*$|" ANY_VARIABLE);
    case TN_KEY_CPU: return number_or_text("number", "^[0-9.]+m?$|" ANY_VARIABLE);
    case TN_KEY_COUNT: return number_or_text("integer", "^[0-9]+%?$|" ANY_VARIABLE);
    case TN_KEY_RANGE: return text_with_pattern("^[0-9]+-[0-9]+$|" ANY_VARIABLE);
    case TN_KEY_ENUM:
    case TN_KEY_WORD: return words_schema(k);
    default: return text_schema(k);
    }
}

static json_t *named_schema(const struct tn_key *k)
{
    json_t *map = map_of(any_of(ref_to(k->child), type_of("null")));
    return k->flags & TN_NAMES ? any_of(map, list_of(type_of("string"))) : map;
}

static json_t *value_schema(const struct tn_key *k)
{
    switch (k->type) {
    case TN_KEY_STRINGS: return any_of(list_of(text_schema(k)), any_scalar());
    case TN_KEY_PAIRS: return map_of(any_scalar());
    case TN_KEY_COMMAND: return any_of(list_of(any_scalar()), type_of("string"));
    case TN_KEY_OBJECT: return ref_to(k->child);
    case TN_KEY_LIST:
        return k->flags & TN_SINGLE ? any_of(list_of(ref_to(k->child)), ref_to(k->child))
                                    : list_of(ref_to(k->child));
    case TN_KEY_NAMED: return named_schema(k);
    case TN_KEY_RAW: return json_object();
    default: return scalar_schema(k);
    }
}

/* null deletes a key in any overlay. Also, draft-07 ignores what stands beside $ref, so a reference is wrapped. */
static json_t *or_null(json_t *schema)
{
    json_t *any = json_object_get(schema, "anyOf"), *type = json_object_get(schema, "type");
    if (json_object_size(schema) == 0)
        return schema;
    if (any) {
        json_array_append_new(any, type_of("null"));
    } else if (json_is_array(type)) {
        json_array_append_new(type, json_string("null"));
    } else {
        return any_of(schema, type_of("null"));
    }
    return schema;
}

static json_t *schema_of_key(const struct tn_key *k)
{
    json_t *o = k->flags & TN_RESERVED ? json_object() : value_schema(k);
    char doc[512];
    snprintf(doc, sizeof(doc), "%s%s%s%s%s", k->doc,
             k->flags & TN_RESERVED ? " (reserved: no build runs it yet)" : "",
             tn_key_default_text(k) ? ". Default: " : "",
             tn_key_default_text(k) ? tn_key_default_text(k) : "",
             k->flags & TN_REVISION ? ". A change replaces instances" : "");
    o = or_null(o);
    json_object_set_new(o, "description", json_string(doc));
    return o;
}

static json_t *object_schema(const struct tn_schema *s, bool overlay)
{
    json_t *o = type_of("object"), *properties = json_object(), *required = json_array();
    for (size_t i = 0; i < s->n; i++) {
        const struct tn_key *k = &s->keys[i];
        json_object_set_new(properties, k->name, schema_of_key(k));
        bool in_list = s->name_at == TN_NOWHERE && s->mark_at != TN_NOWHERE; /* hooks, expose */
        if (k->flags & TN_REQUIRED && !overlay && (in_list || s == &tn_schema_plan))
            if (s != &tn_schema_plan || k->type != TN_KEY_NAMED) /* clusters may come from another file */
                json_array_append_new(required, json_string(k->name));
    }
    json_object_set_new(o, "description", json_string(s->doc));
    json_object_set_new(o, "properties", properties);
    json_object_set_new(o, "patternProperties", object_with("^x-", json_object()));
    json_object_set_new(o, "additionalProperties", json_false());
    if (json_array_size(required) > 0)
        json_object_set(o, "required", required);
    json_decref(required);
    return o;
}

/* With a shorthand, the value of that key alone will do. */
static json_t *definition(const struct tn_schema *s)
{
    json_t *o = object_schema(s, false);
    return s->shorthand ? any_of(o, schema_of_key(tn_schema_find(s, s->shorthand))) : o;
}

static void define(json_t *definitions, const struct tn_schema *s)
{
    json_t *ref = ref_to(s);
    const char *name = strrchr(json_string_value(json_object_get(ref, "$ref")), '/') + 1;
    bool known = json_object_get(definitions, name) != NULL;
    if (!known)
        json_object_set_new(definitions, name, s == &tn_schema_plan ? object_schema(s, true) : definition(s));
    json_decref(ref);
    for (size_t i = 0; !known && i < s->n; i++)
        if (s->keys[i].child)
            define(definitions, s->keys[i].child);
}

json_t *tn_plan_schema(void)
{
    json_t *root = json_object();
    json_object_set_new(root, "$schema", json_string("http://json-schema.org/draft-07/schema#"));
    json_object_set_new(root, "title", json_string("turnout plan"));
    json_t *plan = object_schema(&tn_schema_plan, false);
    json_object_update(root, plan);
    json_decref(plan);
    json_t *definitions = json_object();
    define(definitions, &tn_schema_plan);
    json_object_set_new(root, "definitions", definitions);
    return root;
}
