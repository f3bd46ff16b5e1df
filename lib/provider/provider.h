/* provider.h - where instances run: docker, process, fake. One object per cluster of the plan.
 *
 * Straight-line blocking code; every slot may be called from several threads at once (for different instances).
 * Nothing that does not carry our labels is ever changed. An engine that does not answer is unknown, never absent.
 */
#ifndef TN_PROVIDER_PROVIDER_H
#define TN_PROVIDER_PROVIDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

#include "turnout/plan.h"
#include "turnout/cancel.h"
#include "lib/transport/host.h"

struct tn_http;

/* Labels on everything we make. */
#define TN_LABEL_APP      "turnout.app"
#define TN_LABEL_ENV      "turnout.env" /* "" when the plan has no environment */
#define TN_LABEL_SERVICE  "turnout.service"
#define TN_LABEL_CLUSTER  "turnout.cluster"
#define TN_LABEL_REVISION "turnout.revision"
#define TN_LABEL_ROLLOUT  "turnout.rollout"
#define TN_LABEL_EFFECT   "turnout.effect"  /* rollout/placement/number: the idempotency key */
#define TN_LABEL_SPEC     "turnout.spec"    /* compact JSON of the non-secret spec */
#define TN_LABEL_SECRETS  "turnout.secrets" /* JSON {secret name: scrypt hash} */
#define TN_LABEL_PORTS    "turnout.ports"   /* JSON {port name: host port} */
#define TN_LABEL_DOC      "turnout.doc"     /* volumes and files that hold a document of ours */

enum tn_run_state {
    TN_RUN_UNKNOWN, /* its host does not answer */
    TN_RUN_CREATED, /* exists, not started */
    TN_RUN_RUNNING,
    TN_RUN_EXITED, /* ended, dead, removing */
};
enum tn_native_health { TN_NATIVE_NONE, TN_NATIVE_STARTING, TN_NATIVE_HEALTHY, TN_NATIVE_UNHEALTHY };

/* One instance as its engine tells it. All strings owned. */
struct tn_instance {
    char *name;  /* unique in the cluster */
    char *id;    /* the engine's own id */
    size_t host; /* index of the cluster's host */
    enum tn_run_state state;
    enum tn_native_health health;
    int exit_code;   /* of the last end; -1 unknown */
    int exit_signal; /* 0 = none */
    bool oom_killed;
    int restarts;
    int64_t started_at; /* wall ms, 0 = never */
    char *detail;       /* the engine's words on what is wrong, filtered later; may be NULL */
    char *service, *cluster, *revision, *rollout, *effect, *environment, *spec,
        *secrets; /* labels, NULL = absent */
    struct {
        char *name;
        int host_port;
    } * ports;
    size_t n_ports;
    char *address;        /* where its published ports are reached */
    char *restart_policy; /* as it is now */
};
void tn_instance_clear(struct tn_instance *i);
struct tn_instance tn_instance_copy(const struct tn_instance *i);    /* deep */
int tn_instance_port(const struct tn_instance *i, const char *name); /* NULL = the first; 0 when none */

/* A cluster as observed. */
struct tn_observation {
    struct tn_instance *v;
    size_t n, cap;
    struct {
        bool answered;
        char *error;       /* why not */
        enum tn_code code; /* TN_EAUTH: rights are missing; else TN_OK or how it failed */
    } * hosts;
    size_t n_hosts;
};
void tn_observation_clear(struct tn_observation *o);

/* What to start. All borrowed. */
struct tn_start {
    const char *name;
    size_t host;
    const struct tn_service *spec; /* typed, from the revision's spec */
    const char *spec_json;
    const char *app, *environment, *service, *cluster, *revision, *rollout, *effect;
    struct {
        const char *name; /* port name */
        int container, host_port;
        const char *bind;
    } ports[16];
    size_t n_ports;
    struct {
        const char *env; /* ENV name */
        const char *value;
    } secrets[64];
    size_t n_secrets;
    const char *secret_hashes; /* JSON for TN_LABEL_SECRETS */
    const char *dir;           /* the plan's folder, for relative paths */
};

/* A document kept in the target: leases, revision records. Small JSON objects (≤ 64 KiB). */
struct tn_doc {
    char *name;
    json_t *body;
};
struct tn_docs {
    struct tn_doc *v;
    size_t n, cap;
};
void tn_docs_clear(struct tn_docs *d);

/* Progress of a pull, for events: "layer text", current and total bytes (0 unknown). */
typedef void (*tn_progress_fn)(void *arg, const char *text, int64_t current, int64_t total);

struct tn_provider;
struct tn_provider_ops {
    const char *name;
    /* MUST. All instances of (app) in this cluster, every environment (other environments' are told apart by
     * `environment`; the caller leaves them alone). One call an engine. A host that does not answer gives
     * hosts[i].answered = false and its error, not a failure of the call. */
    int (*observe)(struct tn_provider *p, struct tn_cancel *c, const char *app, struct tn_observation *out,
                   struct tn_error **err);
    /* MAY (NULL = image refs are taken as they are). Resolves an image reference to repo@sha256:… (caller frees).
     * `*moved_note` (may be NULL): a sentence when there is something to say (no registry; tag did not move).
     * Read-only: used by diff. */
    char *(*resolve)(struct tn_provider *p, struct tn_cancel *c, const struct tn_service *s, char **note,
                     struct tn_error **err);
    /* MAY. Makes the image present on every host before anything changes. Not an effect on services, yet a change:
     * never called by diff or --dry-run. */
    int (*prepare)(struct tn_provider *p, struct tn_cancel *c, const struct tn_service *s,
                   const char *image_ref, tn_progress_fn progress, void *arg, struct tn_error **err);
    /* MUST. Creates and starts, with restart policy `no`. If an instance of that name with our effect label exists it
     * is taken over and started. A name held by anything else: TN_EEXISTS (ours, other effect) or TN_ESTRANGER.
     * A port in use: TN_EBUSY, and nothing of it is left. */
    int (*start)(struct tn_provider *p, struct tn_cancel *c, const struct tn_start *s, struct tn_error **err);
    /* MUST. Stops by the spec's signal and grace, then removes. Absent = success. */
    int (*stop)(struct tn_provider *p, struct tn_cancel *c, const struct tn_instance *i, const char *signal,
                int64_t grace_ms, struct tn_error **err);
    /* MUST. Sets the restart policy of a running instance; the same again = success. */
    int (*set_restart)(struct tn_provider *p, struct tn_cancel *c, const struct tn_instance *i,
                       const char *policy, struct tn_error **err);
    /* MUST. Last `tail` lines of its output (both streams), raw bytes, bounded. With on_data: follows until the
     * instance ends or the token is raised. */
    int (*logs)(struct tn_provider *p, struct tn_cancel *c, const struct tn_instance *i, int tail,
                bool follow, bool (*on_data)(void *arg, const char *data, size_t n), void *arg,
                struct tn_error **err);
    /* MUST. Runs a command inside the instance; process: beside it, with its env and folder. */
    int (*exec)(struct tn_provider *p, struct tn_cancel *c, const struct tn_instance *i,
                const char *const *argv, int64_t timeout_ms, struct tn_run_result *out,
                struct tn_error **err);
    /* MAY (NULL: not here). A one-off run of the service's image/program with `argv`, named by its effect; waits for
     * the end. If one of that effect exists its result is read instead of running again (the probe of a hook). */
    int (*task)(struct tn_provider *p, struct tn_cancel *c, const struct tn_start *s, const char *const *argv,
                int64_t timeout_ms, struct tn_run_result *out, struct tn_error **err);
    /* MUST. A port that nothing of ours is known to use but that is taken on that host by somebody? false = free as
     * far as can be told from here. */
    bool (*port_taken)(struct tn_provider *p, size_t host, int port);
    /* MUST. Creates a document only if that name is free on ALL hosts... of host 0 … n in order; on the first host
     * where it exists: TN_EEXISTS and *existing (new reference) is what is there. */
    int (*doc_create)(struct tn_provider *p, struct tn_cancel *c, size_t host, const char *name,
                      const json_t *body, json_t **existing, struct tn_error **err);
    /* MUST. Documents of one host whose name begins with `prefix`. */
    int (*doc_list)(struct tn_provider *p, struct tn_cancel *c, size_t host, const char *prefix,
                    struct tn_docs *out, struct tn_error **err);
    /* MUST. Absent = success. */
    int (*doc_remove)(struct tn_provider *p, struct tn_cancel *c, size_t host, const char *name,
                      struct tn_error **err);
    /* MAY. A host object for files and commands in a container of this cluster (balancers in containers). */
    struct tn_host *(*container_host)(struct tn_provider *p, const char *container, struct tn_error **err);
    /* MAY. The lease is held: removes left-overs of calls that were cut short; `all` (destroy): also what was made for
     * the application beside its instances (networks; volumes hold data and stay). What is in use stays, too. */
    int (*tidy)(struct tn_provider *p, struct tn_cancel *c, bool all, struct tn_error **err);
    /* MAY. The address on which a published port must be bound so that a process inside `container` reaches it: the
     * gateway of one of its networks, 127.0.0.1 when it shares the host's network. Caller frees. */
    char *(*gateway)(struct tn_provider *p, struct tn_cancel *c, const char *container,
                     struct tn_error **err);
    /* MAY. Checks for `doctor`: lines of text through report(arg, ok, text). */
    int (*doctor)(struct tn_provider *p, struct tn_cancel *c,
                  void (*report)(void *arg, bool ok, const char *text), void *arg, struct tn_error **err);
    void (*free)(struct tn_provider *p);
};
struct tn_provider {
    const struct tn_provider_ops *ops;
    const struct tn_cluster *cluster; /* borrowed from the plan */
    const struct tn_plan *plan;       /* borrowed */
    size_t n_hosts;
    char **host_names; /* for people: "local", "10.0.0.11"; owned */
    char **host_ids;   /* stable across machines: sort key for leases; owned */
};

/* One row per kind: static registry. `http` is opened lazily by the provider through `get_http`. */
struct tn_provider_kind {
    enum tn_cluster_kind kind;
    struct tn_provider *(*open)(const struct tn_plan *plan, const struct tn_cluster *cluster,
                                struct tn_http *http, struct tn_error **err);
};
struct tn_provider *tn_provider_open(const struct tn_plan *plan, const struct tn_cluster *cluster,
                                     struct tn_http *http, struct tn_error **err);
void tn_provider_free(struct tn_provider *p);

struct tn_provider *tn_docker_open(const struct tn_plan *plan, const struct tn_cluster *cluster,
                                   struct tn_http *http, struct tn_error **err);
struct tn_provider *tn_process_open(const struct tn_plan *plan, const struct tn_cluster *cluster,
                                    struct tn_http *http, struct tn_error **err);
struct tn_provider *tn_fake_open(const struct tn_plan *plan, const struct tn_cluster *cluster,
                                 struct tn_http *http, struct tn_error **err);

#endif
