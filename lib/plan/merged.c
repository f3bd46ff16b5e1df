/* The merged plan as JSON: what a change set keeps, and what a load with `document` reads back.
 *
 * Texts stay texts (1.10 must not become 1.1); only what reads back the same is written as a number or boolean.
 * `platform` is raw: its values keep the type that YAML gives them.
 */
#include <string.h>

#include "lib/plan/load.h"

static json_t *scalar(const struct tn_node *n)
{
    if (n->plain && (strcmp(n->text, "true") == 0 || strcmp(n->text, "false") == 0))
        return json_boolean(n->text[0] == 't');
    int64_t v = 0;
    if (n->plain && tn_parse_int(n->text, &v)) {
        char text[32];
        snprintf(text, sizeof(text), "%lld", (long long)v);
        if (strcmp(text, n->text) == 0)
            return json_integer(v);
    }
    return json_string(n->text);
}

json_t *tn_merged_json(const struct tn_node *n)
{
    if (n->kind == TN_NODE_SCALAR)
        return scalar(n);
    if (n->key && strcmp(n->key, "platform") == 0)
        return tn_node_typed_json(n);
    json_t *out = n->kind == TN_NODE_MAP ? json_object() : json_array();
    for (size_t i = 0; i < n->n; i++) {
        if (n->kind == TN_NODE_MAP)
            json_object_set_new(out, n->v[i]->key, tn_merged_json(n->v[i]));
        else
            json_array_append_new(out, tn_merged_json(n->v[i]));
    }
    return out;
}
