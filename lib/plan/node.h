/* node.h - a plan file as a tree: YAML or JSON text → scalars, lists and maps, each with its place.
 *
 * Scalars stay text: the key table decides what they mean. Everything is bounded before and while reading: 1 MiB a
 * file, 64 levels, 100,000 nodes a load, 20,000 of them copies (aliases, variables), 2,000 keys a map. All memory is the
 * loader's arena's. A tree is never shared: an alias becomes a copy, so overlays may change it in place.
 */
#ifndef TN_PLAN_NODE_H
#define TN_PLAN_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <jansson.h>

#include "turnout/plan.h"
#include "turnout/mem.h"

#define TN_PLAN_MAX_FILE     ((size_t)1 << 20)
#define TN_PLAN_MAX_DEPTH    64
#define TN_PLAN_MAX_NODES    100000
#define TN_PLAN_MAX_COPIES   20000
#define TN_PLAN_MAX_KEYS     2000
#define TN_PLAN_MAX_PROBLEMS 100

enum tn_node_kind { TN_NODE_SCALAR, TN_NODE_LIST, TN_NODE_MAP };

struct tn_node {
    enum tn_node_kind kind;
    bool plain;  /* a scalar without quotes: it may be null, true, 5; quoted it is always text */
    bool broken; /* its ${…} could not be replaced, which was said: nothing more is said of its value */
    struct tn_mark mark;
    const char *key; /* in a map */
    struct tn_mark key_mark;
    const char *text; /* scalar */
    struct tn_node **v;
    size_t n, cap;
};

/* A text that was read, for the source line under a problem. */
struct tn_source {
    const char *name, *text;
    size_t len;
};

/* One load: where its memory, texts, problems and budgets live. */
struct tn_loader {
    struct tn_arena *arena;
    struct tn_problems *problems;
    struct tn_source *sources; /* freed by tn_loader_clear */
    size_t n_sources, cap_sources;
    size_t n_nodes, n_copies, n_substituted, n_errors;
};
void tn_loader_clear(struct tn_loader *l); /* not the arena, not the problems */

/* Adds an error (or a warning) once; the same words at the same place are not repeated. hint may be NULL. */
void tn_problem_at(struct tn_loader *l, struct tn_mark at, const char *hint, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void tn_warning_at(struct tn_loader *l, struct tn_mark at, const char *hint, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* By file (in the order they were read), line and column. */
void tn_problems_sort(struct tn_loader *l);

/* Reads one text; `name` is what marks call it and must live in the arena. NULL when a problem was added. */
struct tn_node *tn_node_parse(struct tn_loader *l, const char *name, const char *text, size_t len);
/* The same for a value on the command line: marks are {name, 0, 0}. An empty text is an empty string. */
struct tn_node *tn_node_parse_value(struct tn_loader *l, const char *name, const char *text);
/* A tree from JSON, marks {name, 0, 0}. NULL when a problem was added. */
struct tn_node *tn_node_from_json(struct tn_loader *l, const char *name, const json_t *json);
/* Typed by the YAML 1.2 core rules; new reference. */
json_t *tn_node_typed_json(const struct tn_node *n);

struct tn_node *tn_node_new(struct tn_loader *l, enum tn_node_kind kind, struct tn_mark mark);
struct tn_node *tn_node_scalar(struct tn_loader *l, struct tn_mark mark, const char *text, bool plain);
/* Counts against the copy budget; NULL (and a problem at `at`) when that is used up. Keeps marks and the key. */
struct tn_node *tn_node_copy(struct tn_loader *l, const struct tn_node *n, struct tn_mark at);
void tn_node_push(struct tn_loader *l, struct tn_node *parent, struct tn_node *child);
/* Sets or replaces the value of a key. */
void tn_node_set(struct tn_loader *l, struct tn_node *map, const char *key, struct tn_mark key_mark,
                 struct tn_node *value);
struct tn_node *tn_node_get(const struct tn_node *map, const char *key); /* NULL when absent or not a map */
void tn_node_remove(struct tn_node *map, const char *key);
bool tn_node_is_null(const struct tn_node *n);
const char *tn_node_kind_text(const struct tn_node *n); /* "text", "a list", "a map", "nothing" */

#endif
