/* turnout/plan.h - the plan: what should run, where, how to get there.
 *
 * One table (lib/plan/keys.c) holds every key with type, default, one line of documentation and the version it came
 * with; the loader, the validator, `explain`, the JSON Schema and the reference page all come from it.
 * Loading runs nothing and resolves no secret. All memory belongs to the plan and is freed with it.
 * Units: durations are milliseconds, sizes bytes, cpu thousandths. "Unset" is NULL / n == 0 / the `set` flag.
 */
#ifndef TURNOUT_PLAN_H
#define TURNOUT_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

#include "turnout/error.h"

/* Where a value was written; file is borrowed from the plan. line 0 = a default, or from the command line. */
struct tn_mark {
    const char *file;
    int line, column; /* 1-based */
};

struct tn_strings {
    char **v;
    size_t n;
};
/* N or N%. */
struct tn_count {
    int value;
    bool percent, set;
};
struct tn_pair {
    char *name, *value;
};
struct tn_pairs {
    struct tn_pair *v;
    size_t n;
};
/* A list runs as it is; a string becomes {"/bin/sh", "-c", string}. */
struct tn_command {
    char **argv; /* NULL-terminated; NULL when unset */
    size_t n;
};

enum tn_cluster_kind { TN_CLUSTER_DOCKER, TN_CLUSTER_PROCESS, TN_CLUSTER_FAKE };

struct tn_host_ref {
    char *url;     /* unix:///path, tcp://host:port; ssh:// is reserved */
    char *address; /* where its traffic goes; NULL = 127.0.0.1 for a local one, else the URL's host */
    bool sudo;     /* reserved with ssh */
};
struct tn_registry {
    char *server, *user, *password; /* password = name of a secret */
};
struct tn_cluster {
    char *name;
    struct tn_mark mark;
    enum tn_cluster_kind kind;
    struct {
        struct tn_host_ref *hosts;
        size_t n_hosts;
        char *publish;                /* address that free ports are bound on; NULL = see DESIGN §4 Ports */
        char *tls;                    /* folder with ca.pem cert.pem key.pem */
        struct tn_registry *registry; /* NULL = from the user's docker config */
        bool unreachable_fail;        /* reserved: always true */
    } docker;
    struct {
        char *dir; /* absolute after loading */
    } process;
    struct {
        char *file; /* the fake world's state file (tests) */
    } fake;
};

enum tn_balancer_kind { TN_BALANCER_HAPROXY, TN_BALANCER_NGINX, TN_BALANCER_FAKE };

struct tn_balancer {
    char *name;
    struct tn_mark mark;
    enum tn_balancer_kind kind;
    char *file;                     /* the owned file */
    struct tn_command test, reload; /* nginx: default `nginx -t`, `nginx -s reload` */
    char *socket;                   /* haproxy: runtime API: path, or host:port */
    char *managed;                  /* haproxy: cluster on which turnout runs one itself */
    char *listen;                   /* haproxy managed: address:port of the frontend */
    char *image;                    /* haproxy managed on docker */
    char *on, *container;           /* nginx in a container of that cluster */
    char *generation;               /* nginx: loopback address:port of the generation server; NULL = picked */
    char *cookie;                   /* reserved for sticky */
    int64_t apply_timeout;          /* confirm within (default 10s) */
};

enum tn_health_kind { TN_HEALTH_NONE, TN_HEALTH_HTTP, TN_HEALTH_TCP, TN_HEALTH_CMD, TN_HEALTH_NATIVE };

struct tn_health {
    enum tn_health_kind kind;
    char *http; /* path, begins with / */
    bool tcp, native;
    struct tn_command cmd;
    char *port;   /* name of a port; NULL = the first */
    char *expect; /* statuses: "200", "200-299" (default 200-299) */
    int64_t interval, timeout, start_period;
    int healthy_after, unhealthy_after;
};
struct tn_port {
    char *name;
    int container; /* 0 on process */
    int host;      /* 0 = picked from policy.port_range */
    char *bind;    /* NULL = the cluster's publish */
};
struct tn_network {
    char *name;
    struct tn_strings aliases;
};
struct tn_ulimit {
    char *name;
    int64_t soft, hard;
};
struct tn_stop {
    char *signal; /* default SIGTERM */
    int64_t grace;
};
struct tn_expose {
    struct tn_mark mark;
    char *balancer, *port; /* port = name of a port, NULL = the first */
    char *upstream;        /* NULL with a managed balancer: <app>_<service> */
    char *host, *path;     /* managed: route of the frontend */
    int64_t drain;         /* cap on the wait for running requests */
    int weight;            /* 1..256, of each instance; default 1 */
    bool sticky;
    /* balancing keys: nginx and haproxy */
    char *balance; /* roundrobin (default), least_conn */
    int keepalive; /* nginx: idle connections a worker */
    int max_fails; /* nginx; -1 unset */
    int64_t fail_timeout;
    bool backup;
};
enum tn_strategy_kind {
    TN_STRATEGY_ROLLING,
    TN_STRATEGY_RECREATE,
    TN_STRATEGY_MANUAL,
    TN_STRATEGY_BLUE_GREEN, /* reserved: refused by name */
    TN_STRATEGY_CANARY,     /* reserved: refused by name */
};
enum tn_on_failure { TN_ON_FAILURE_ROLLBACK, TN_ON_FAILURE_PAUSE, TN_ON_FAILURE_STOP };

struct tn_rollout_options {
    enum tn_strategy_kind strategy;
    char *engine; /* reserved: turnout */
    struct tn_count max_unavailable, max_surge;
    int64_t delay, min_healthy_time, healthy_deadline, progress_deadline;
    int max_failures;
    enum tn_on_failure on_failure;
    struct tn_strings gates; /* names of plan gates */
    int keep;
};
enum tn_hook_where { TN_HOOK_LOCAL, TN_HOOK_HOST, TN_HOOK_CONTAINER };
struct tn_hook {
    struct tn_mark mark;
    struct tn_command run;
    bool once;
    int64_t timeout;
    enum tn_hook_where where;
    bool rerun_safe; /* rerun: safe */
};
struct tn_hooks {
    struct tn_hook *pre_deploy, *post_deploy, *on_failure;
    size_t n_pre_deploy, n_post_deploy, n_on_failure;
};
struct tn_restart {
    char *policy; /* no | always | unless-stopped | on-failure (default unless-stopped) */
};

struct tn_service {
    char *name;
    struct tn_mark mark;
    char *image;
    char *pull; /* missing | always | never */
    struct tn_command command, entrypoint;
    struct tn_pairs env;         /* env_files already merged in, under env */
    struct tn_pairs secrets;     /* ENV name → secret name */
    struct tn_strings files;     /* paths; their contents are part of the revision */
    struct tn_pairs file_hashes; /* path → sha256, filled by tn_plan_revision; from a spec: as recorded */
    struct tn_port *ports;
    size_t n_ports;
    struct tn_strings volumes; /* src:dst[:ro] */
    struct tn_network *networks;
    size_t n_networks;
    int64_t cpu, memory; /* 0 = no limit */
    int replicas;
    struct tn_strings clusters, depends_on;
    struct tn_health health;
    struct tn_stop stop;
    char *restart; /* see struct tn_restart */
    struct tn_expose *expose;
    size_t n_expose;
    struct tn_rollout_options rollout; /* plan's rollout, overridden by the service's */
    struct tn_hooks hooks;
    struct tn_pairs labels;
    char *user, *working_dir, *hostname;
    bool init, read_only;
    struct tn_ulimit *ulimits;
    size_t n_ulimits;
    struct tn_strings cap_add, cap_drop, extra_hosts, tmpfs;
    char *log_driver;
    struct tn_pairs log_options;
    json_t *platform; /* raw, merged last; NULL when unset */
};

enum tn_gate_kind { TN_GATE_HTTP, TN_GATE_TCP, TN_GATE_CMD };
struct tn_gate {
    char *name;
    struct tn_mark mark;
    enum tn_gate_kind kind;
    char *url, *expect, *body; /* http; body = text that the answer must hold */
    char *tcp;                 /* host:port */
    struct tn_command cmd;
    int64_t interval, timeout;
    int count, failure_limit, error_limit;
};
struct tn_secret {
    char *name;
    char *from; /* env://NAME, file://PATH, exec://… ; other schemes are reserved */
    struct tn_mark mark;
};
struct tn_policy {
    int64_t lease_ttl, lease_wait;
    int port_first, port_last;
    bool digest_only; /* reserved */
};

struct tn_plan {
    char *name, *environment; /* environment "" when none */
    char *file;               /* the first -f, for messages */
    char *dir;                /* absolute folder that relative paths are relative to */
    struct tn_cluster *clusters;
    size_t n_clusters;
    struct tn_balancer *balancers;
    size_t n_balancers;
    struct tn_service *services; /* in file order */
    size_t n_services;
    struct tn_gate *gates;
    size_t n_gates;
    struct tn_secret *secrets;
    size_t n_secrets;
    struct tn_policy policy;
    char *state; /* sqlite:PATH, or NULL */
    json_t
        *merged; /* the merged plan after substitution, as JSON: `deploy FILE` loads a plan from this again */
    struct tn_plan_private *priv;
};

/* What the command line adds. All borrowed. */
struct tn_plan_options {
    const char *const *files; /* -f, in order; "-" = stdin; none = turnout.yaml */
    size_t n_files;
    const char *const *sets; /* path=value */
    size_t n_sets;
    const char *const *vars; /* k=v */
    size_t n_vars;
    const char *const *var_files;
    size_t n_var_files;
    const char *environment;  /* -e, NULL = none */
    const json_t *document;   /* instead of files: a merged plan from a change set; variables are done */
    const char *document_dir; /* dir for relative paths of `document` */
};

/* One problem of a plan, with its place. */
struct tn_problem {
    struct tn_mark mark;
    char *message, *hint;
    char *source; /* the source line, for the caret; NULL when there is none */
    bool warning;
};
struct tn_problems {
    struct tn_problem *v;
    size_t n, cap;
};
void tn_problems_clear(struct tn_problems *p);
/* "file:line:col: message\n  12 |   line\n     |   ^\n  hint" for all of them; caller frees. */
char *tn_problems_format(const struct tn_problems *p);

/* Reads, merges, substitutes, types and checks. On failure returns NULL; *problems holds every error of the file(s)
 * at once (and warnings), err (TN_EPLAN) says how many. On success *problems may hold warnings. */
struct tn_plan *tn_plan_load(const struct tn_plan_options *o, struct tn_problems *problems,
                             struct tn_error **err);
void tn_plan_free(struct tn_plan *p);

const struct tn_service *tn_plan_service(const struct tn_plan *p, const char *name);
const struct tn_cluster *tn_plan_cluster(const struct tn_plan *p, const char *name);
const struct tn_balancer *tn_plan_balancer(const struct tn_plan *p, const char *name);
const struct tn_gate *tn_plan_gate(const struct tn_plan *p, const char *name);
const struct tn_secret *tn_plan_secret(const struct tn_plan *p, const char *name);
/* Services in depends_on order (a valid order exists: cycles are refused by the loader). Borrowed pointers. */
void tn_plan_order(const struct tn_plan *p, const struct tn_service **out);

/* The canonical spec of a service for a cluster kind: every revision key whose value differs from its default,
 * sorted keys, normalised values (commands as lists, durations "1500ms"). `image` is replaced by `image_ref` (a
 * resolved digest reference) when that is not NULL; files become {path: sha256}. New reference. NULL + err when a
 * file cannot be read. */
json_t *tn_service_spec(const struct tn_plan *p, const struct tn_service *s, const char *image_ref,
                        struct tn_error **err);
/* First 12 hex digits of the SHA-256 of the compact, key-sorted form. */
void tn_spec_revision(const json_t *spec, char out[13]);
/* A service read back from a spec (only revision keys are filled, the rest has defaults). `name` is copied.
 * Freed with tn_service_free_spec. */
struct tn_service *tn_service_from_spec(const char *name, const json_t *spec, struct tn_error **err);
void tn_service_free_spec(struct tn_service *s);

/* Resolves a secret (env, file, exec). exec runs a program: never called by validate, config, explain, schema, nor
 * with TURNOUT_NO_EXEC=1 (TN_EUNSUPPORTED). The caller wipes and frees (tn_secret_free). */
char *tn_secret_resolve(const struct tn_plan *p, const char *name, size_t *out_len, struct tn_error **err);
void tn_secret_free(char *value, size_t len);

/* `explain`: documentation of a key path ("services.web.health.http" or with names left out: "health.http"); NULL or
 * "" = the top level. Caller frees. TN_ENOTFOUND with the nearest key. */
char *tn_plan_explain(const char *path, struct tn_error **err);
/* JSON Schema draft-07, new reference. */
json_t *tn_plan_schema(void);
/* The reference page in Markdown, caller frees. */
char *tn_plan_reference(void);
/* The merged plan as YAML with "# from file:line" on each line. Secrets are references anyway. Caller frees. */
char *tn_plan_config(const struct tn_plan *p);
/* A commented starter plan. kind: docker | process. Caller frees. */
char *tn_plan_starter(const char *name, const char *kind);

/* N or N% of `of`; percentages round down for unavailable, up for surge (`up`). */
int tn_count_of(struct tn_count c, int of, bool up);
const char *tn_cluster_kind_name(enum tn_cluster_kind k);
const char *tn_balancer_kind_name(enum tn_balancer_kind k);
const char *tn_strategy_name(enum tn_strategy_kind k);

#endif
