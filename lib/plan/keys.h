/* keys.h - THE table: every key of the plan with its type, place in the C struct, default and one line of docs.
 *
 * The loader (bind.c), the validator, `explain`, the JSON Schema, the reference page and the canonical spec of a
 * service all walk these tables and nothing else, so they cannot differ.
 *
 * How to add a key
 *   1. A member in the struct (include/turnout/plan.h), with its unit in a comment.
 *   2. One row in the schema it belongs to (keys_plan.c, keys_balancer.c, keys_service.c): name, type, AT(…), default
 *      as a plan would write it, doc (one sentence that says what it does; no full stop), since. TN_REVISION when a
 *      change of it must replace instances. `check` for the form of a text, `ref` when it names another thing.
 *   3. What one row cannot say (it excludes another key, its strategy does not use it) goes into check_*.c, with its
 *      place taken by `place()`.
 *   4. A good and a bad sample in tests/unit/plan/test_check.c.
 * A kind that cannot run yet is a row with TN_RESERVED: read as a raw value, refused by name. To make it run, give the
 * row a type and a child schema and drop the flag.
 * No key may be named off, yes, no, y, n, nor on (but for nginx.on): YAML 1.1 readers turn those into booleans.
 */
#ifndef TN_PLAN_KEYS_H
#define TN_PLAN_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "turnout/plan.h"
#include "turnout/text.h"

enum tn_key_type {
    TN_KEY_STRING,   /* char *, one line, from any scalar */
    TN_KEY_TEXT,     /* char *, may hold newlines */
    TN_KEY_PATH,     /* char *, made absolute against the plan's folder */
    TN_KEY_BOOL,     /* bool */
    TN_KEY_INT,      /* int, within min and max */
    TN_KEY_DURATION, /* int64_t milliseconds */
    TN_KEY_SIZE,     /* int64_t bytes */
    TN_KEY_CPU,      /* int64_t thousandths */
    TN_KEY_COUNT,    /* struct tn_count */
    TN_KEY_RANGE,    /* "FIRST-LAST" → int at `at`, int at `at_n` */
    TN_KEY_ENUM,     /* enum of `names` */
    TN_KEY_WORD,     /* char *, one of `names` */
    TN_KEY_STRINGS,  /* struct tn_strings; one scalar is a list of one */
    TN_KEY_PAIRS,    /* struct tn_pairs, a map of scalars */
    TN_KEY_COMMAND,  /* struct tn_command, list or string */
    TN_KEY_OBJECT,   /* a struct at `at`, or a pointer to one (TN_POINTER) */
    TN_KEY_LIST,     /* array of structs: pointer at `at`, size_t at `at_n` */
    TN_KEY_NAMED,    /* the same, from a map: the key goes to the child's name member */
    TN_KEY_RAW,      /* json_t *, anything */
};

/* Flags of a row. */
enum {
    TN_REVISION = 1 << 0, /* part of a service's revision */
    TN_REQUIRED = 1 << 1,
    TN_KIND = 1 << 2,     /* exactly one of the kind keys stands in its object */
    TN_RESERVED = 1 << 3, /* read as raw, refused by name */
    TN_NOSTORE = 1 << 4,  /* checked, kept nowhere in the struct (the loader uses it up) */
    TN_POINTER = 1 << 5,  /* OBJECT: the member is a pointer, NULL when absent */
    TN_SINGLE = 1 << 6,   /* LIST: one element without brackets */
    TN_NAMES = 1 << 7,    /* NAMED: a list of bare names will do as well */
    TN_OVERLAY = 1 << 8,  /* NAMED: children are parts of a plan: nothing is required in them */
};

/* The form of a text. Each has a sentence for the error and a pattern for the schema (tn_check_rules). */
enum tn_key_check {
    TN_CHECK_NONE,
    TN_CHECK_NAME,     /* of an application, service, cluster, balancer, gate */
    TN_CHECK_TOKEN,    /* goes into balancer files: letters digits . _ - */
    TN_CHECK_PATH,     /* of a URL: begins with / */
    TN_CHECK_STATUSES, /* 200, 200-299, 200,204 */
    TN_CHECK_ADDRESS,  /* host:port */
    TN_CHECK_IP,       /* numeric address */
    TN_CHECK_HTTP_URL,
    TN_CHECK_WORD, /* no space, quote or control character */
    TN_CHECK_ENV,  /* keys of a PAIRS: names of environment variables */
    TN_CHECK_ABSOLUTE,
    TN_CHECK_COUNT_,
};
struct tn_check_rule {
    const char *pattern; /* for the JSON Schema; NULL = none */
    const char *says;    /* "is no …: …" */
};
extern const struct tn_check_rule tn_check_rules[TN_CHECK_COUNT_];
bool tn_check_text(enum tn_key_check check, const char *s);

enum tn_key_ref {
    TN_REF_NONE,
    TN_REF_CLUSTER,
    TN_REF_BALANCER,
    TN_REF_SERVICE,
    TN_REF_GATE,
    TN_REF_SECRET, /* a text, or the values of PAIRS */
};

#define TN_NOWHERE SIZE_MAX

struct tn_schema;
struct tn_key {
    const char *name;
    enum tn_key_type type;
    unsigned flags;
    size_t at, at_n;
    const char *def;   /* as the plan would write it; a number below 0 = unset */
    const char *shown; /* what explain and the schema call the default when def does not say it */
    const struct tn_name *names;
    const struct tn_schema *child;
    int64_t min,
        max;  /* INT: max 0 = no limit; DURATION: least milliseconds; SIZE: -1 = unlimited may be said */
    int kind; /* TN_KIND: value for the object's kind member */
    enum tn_key_check check;
    enum tn_key_ref ref;
    const char *since;
    const char *doc;
};

struct tn_schema {
    const char *name; /* "service": for messages and the reference page */
    const char *doc;
    size_t size;
    const struct tn_key *keys;
    size_t n;
    size_t name_at; /* char *: the name in its map; TN_NOWHERE */
    size_t mark_at; /* struct tn_mark; TN_NOWHERE */
    size_t kind_at; /* enum; TN_NOWHERE */
    bool has_kinds;
    const char *shorthand; /* the key that a bare scalar stands for; NULL = a map is needed */
    const char *example;   /* one line of YAML */
    enum tn_key_check name_check;
};

extern const struct tn_schema tn_schema_plan, tn_schema_service, tn_schema_rollout, tn_schema_cluster,
    tn_schema_balancer, tn_schema_gate, tn_schema_secret, tn_schema_policy, tn_schema_variable;

const struct tn_key *tn_schema_find(const struct tn_schema *s, const char *name);
/* "duration", "list of text", …: for people. */
const char *tn_key_type_text(const struct tn_key *k);
/* The default as people read it, NULL when there is none. */
const char *tn_key_default_text(const struct tn_key *k);

#define TN_RESERVED_KEY(key, text)                                                                           \
    {                                                                                                        \
        .name = (key), .type = TN_KEY_RAW, .flags = TN_RESERVED | TN_NOSTORE, .since = "0.1", .doc = (text)  \
    }
#define TN_RESERVED_KIND(key, text)                                                                          \
    {                                                                                                        \
        .name = (key), .type = TN_KEY_RAW, .flags = TN_RESERVED | TN_NOSTORE | TN_KIND, .since = "0.1",      \
        .doc = (text)                                                                                        \
    }

extern const struct tn_name tn_cluster_kind_names[], tn_balancer_kind_names[], tn_strategy_names[],
    tn_on_failure_names[];

#define TN_AT(type, member) .at = offsetof(struct type, member)
#define TN_AT_LIST(type, member, count)                                                                      \
    .at = offsetof(struct type, member), .at_n = offsetof(struct type, count)

#endif
