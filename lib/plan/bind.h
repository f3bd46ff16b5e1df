/* bind.h - a tree of nodes + the key table → C structs, with every problem on the way. */
#ifndef TN_PLAN_BIND_H
#define TN_PLAN_BIND_H

#include "lib/plan/keys.h"
#include "lib/plan/node.h"

struct tn_binder {
    struct tn_loader *l; /* its arena holds all values */
    const char *dir;     /* for TN_KEY_PATH; NULL = leave them relative */
    bool partial; /* an overlay that is only looked at: nothing required, ${…} not typed, nothing raw kept */
};

/* Where the walk is, for messages: services.web.ports[0].name. */
struct tn_key_path {
    const struct tn_key_path *up;
    const char *name;
};

/* Sets every default, then binds `n` (a map, or a scalar where the schema has a shorthand). `out` is zeroed memory of
 * schema->size; json_t * members are references that the owner of `out` gives up. */
void tn_bind_object(struct tn_binder *b, const struct tn_schema *s, const struct tn_node *n,
                    const struct tn_key_path *path, void *out);
void tn_bind_defaults(struct tn_binder *b, const struct tn_schema *s, void *out);

/* value.c: one value that is no object. False when a problem was added. */
bool tn_bind_value(struct tn_binder *b, const struct tn_key *k, const struct tn_node *n,
                   const struct tn_key_path *path, void *out);
/* Checks the form of one text, adds the problem. */
bool tn_bind_check(struct tn_binder *b, enum tn_key_check check, const char *text, struct tn_mark at,
                   const struct tn_key_path *path);
/* "a.b[0].c" in the arena. */
const char *tn_key_path_text(struct tn_binder *b, const struct tn_key_path *path);
/* "did you mean 'x'?" in the arena, NULL when nothing is near. */
const char *tn_hint_nearest(struct tn_arena *a, const char *word, const char *const *names, size_t n);

#endif
