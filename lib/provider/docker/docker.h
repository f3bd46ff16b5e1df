/* docker.h - the docker provider's own parts: engines (one a host) and the slots that its files fill.
 *
 *   request.c parse.c image_ref.c stream.c tar.c   pure
 *   engine.c       one engine: address, version, calls and their errors
 *   observe.c      what runs
 *   containers.c   start, stop, restart policy
 *   networks.c     networks and volumes that a container needs
 *   images.c registry_auth.c   digests, pulls, logins
 *   exec.c task.c docs.c container_host.c
 *   docker.c       open, ports, doctor, the table of slots
 */
#ifndef TN_PROVIDER_DOCKER_DOCKER_H
#define TN_PROVIDER_DOCKER_DOCKER_H

#include <pthread.h>
#include <stdbool.h>

#include "turnout/mem.h"
#include "lib/provider/docker/image_ref.h"
#include "lib/provider/docker/parse.h"
#include "lib/provider/provider.h"
#include "lib/transport/http.h"

enum {
    TN_DOCKER_API_NEWEST = 51, /* 1.51 */
    TN_DOCKER_API_OLDEST = 40,
    TN_DOCKER_TIMEOUT_MS = 60000,
};

struct tn_engine {
    char *url;    /* for people and as id: unix:///absolute/path, tcp://host:port */
    char *socket; /* path, or NULL */
    char *base;   /* http://localhost, https://host:port */
    char *ca_file, *cert_file, *key_file;
    char *address; /* where its published ports are reached */
    bool local;    /* its ports are ports of this machine */
    pthread_mutex_t lock;
    int api;                                /* negotiated minor version, 0 = not yet asked; under the lock */
    pthread_mutex_t making;                 /* held while networks and volumes are made */
    char **ready_networks, **ready_volumes; /* seen or made by this process; under `making` */
    size_t n_ready_networks, n_ready_volumes;
};

/* What a container's inspect told and its listing does not; kept by id. */
struct tn_known_policy {
    char *id, *policy;
};

struct tn_docker {
    struct tn_provider base;
    struct tn_http *http;
    struct tn_engine *engines; /* base.n_hosts */
    pthread_mutex_t lock;
    struct tn_known_policy *policies; /* under the lock, bounded */
    size_t n_policies, cap_policies;
};
static inline struct tn_docker *tn_docker_of(struct tn_provider *p)
{
    return (struct tn_docker *)p;
}

/* ---- engine.c -------------------------------------------------------------------------------------- */

/* `tls` = folder with ca.pem cert.pem key.pem, or NULL; `publish` as in the plan, or NULL. Makes no call. */
int tn_engine_init(struct tn_engine *e, const struct tn_host_ref *ref, const char *tls, const char *publish,
                   struct tn_error **err);
void tn_engine_clear(struct tn_engine *e);

struct tn_call {
    const char *method, *path; /* path after /v1.NN */
    const void *body;          /* not JSON (a tar); else use `json` */
    size_t body_len;
    const json_t *json;        /* the body, borrowed */
    const char *registry_auth; /* X-Registry-Auth, or NULL */
    int64_t timeout_ms;        /* 0 = TN_DOCKER_TIMEOUT_MS, -1 = none */
    int64_t stall_ms;
    size_t max_answer;
    bool (*on_data)(void *arg, const char *data, size_t n);
    void *on_data_arg;
};
/* Asks for the version first when that was not done yet. Errors carry the engine's name. A status ≥ 400 is no error
 * here. */
int tn_engine_call(struct tn_docker *d, size_t host, struct tn_cancel *c, const struct tn_call *call,
                   struct tn_http_answer *out, struct tn_error **err);
/* The engine's no as an error: "<what>: <its words>", code by status (401 403 EAUTH, 404 ENOTFOUND, 409 EEXISTS,
 * else EFAIL), http_status set. */
int tn_engine_refused(const struct tn_http_answer *a, const char *what, struct tn_error **err);
/* tn_engine_call; a status ≥ 400 becomes an error with `what`; the body is read into *out (NULL = not wanted). */
int tn_engine_json(struct tn_docker *d, size_t host, struct tn_cancel *c, const struct tn_call *call,
                   const char *what, json_t **out, struct tn_error **err);
/* The minor version that is spoken, or a negative code. */
int tn_engine_api(struct tn_docker *d, size_t host, struct tn_cancel *c, struct tn_error **err);
/* Waits; for polls and retries. */
int tn_engine_pause(struct tn_cancel *c, const char *name, int64_t ms, struct tn_error **err);
/* GET /containers/{id}/json. *owner (new reference) holds what *out borrows. */
int tn_engine_inspect(struct tn_docker *d, size_t host, struct tn_cancel *c, const char *id, json_t **owner,
                      struct tn_inspect *out, struct tn_error **err);

/* ---- networks.c ------------------------------------------------------------------------------------ */

/* Makes named networks and volumes of the service that are absent. */
int tn_docker_ensure(struct tn_docker *d, size_t host, struct tn_cancel *c, const struct tn_start *s,
                     struct tn_error **err);
/* Joins what the body of create could not hold (below API 1.44 it holds one network). */
int tn_docker_join_further(struct tn_docker *d, size_t host, struct tn_cancel *c, const char *id,
                           const struct tn_service *s, bool task, struct tn_error **err);
/* Joins the aliases that wait for a confirmed instance. The same again = success. */
int tn_docker_join_aliases(struct tn_docker *d, const struct tn_instance *i, struct tn_cancel *c,
                           const struct tn_service *s, struct tn_error **err);
/* destroy: networks that were made for the application and are in nobody's use. */
int tn_docker_tidy(struct tn_provider *p, struct tn_cancel *c, bool all, struct tn_error **err);
/* Whether a balancer of the plan sends traffic to this service. */
bool tn_docker_is_exposed(const struct tn_docker *d, const char *service);

/* ---- observe.c ------------------------------------------------------------------------------------- */

/* The listing does not tell a restart policy; what was set or seen is kept by id. */
void tn_docker_know_policy(struct tn_docker *d, const char *id, const char *policy);
void tn_docker_forget_policy(struct tn_docker *d, const char *id);
int tn_docker_observe(struct tn_provider *p, struct tn_cancel *c, const char *app, struct tn_observation *out,
                      struct tn_error **err);

/* ---- containers.c ---------------------------------------------------------------------------------- */

int tn_docker_start(struct tn_provider *p, struct tn_cancel *c, const struct tn_start *s,
                    struct tn_error **err);
int tn_docker_stop(struct tn_provider *p, struct tn_cancel *c, const struct tn_instance *i,
                   const char *signal, int64_t grace_ms, struct tn_error **err);
int tn_docker_set_restart(struct tn_provider *p, struct tn_cancel *c, const struct tn_instance *i,
                          const char *policy, struct tn_error **err);
/* Creates the container or takes over the one of the same effect; *id (caller frees). Shared with tasks. */
int tn_docker_create(struct tn_docker *d, size_t host, struct tn_cancel *c, const char *name,
                     const char *effect, const json_t *body, char **id, bool *taken_over,
                     struct tn_error **err);
/* POST start; a port clash is TN_EBUSY. */
int tn_docker_start_id(struct tn_docker *d, size_t host, struct tn_cancel *c, const char *name,
                       const char *id, struct tn_error **err);
/* DELETE, waits for a removal that is under way. Absent = success. */
int tn_docker_remove_id(struct tn_docker *d, size_t host, struct tn_cancel *c, const char *id, bool force,
                        struct tn_error **err);
/* True when the engine's words on a failed start mean that a port is taken. */
bool tn_docker_is_port_clash(const char *message);

/* ---- images.c, registry_auth.c --------------------------------------------------------------------- */

char *tn_docker_resolve(struct tn_provider *p, struct tn_cancel *c, const struct tn_service *s, char **note,
                        struct tn_error **err);
int tn_docker_prepare(struct tn_provider *p, struct tn_cancel *c, const struct tn_service *s,
                      const char *image_ref, tn_progress_fn progress, void *arg, struct tn_error **err);
/* Value of X-Registry-Auth for the registry of `domain`: from the plan, then from the user's docker config. *out is
 * NULL when there is no login. The caller wipes and frees (tn_secret_free). *user (may be NULL): for messages. */
int tn_docker_registry_auth(const struct tn_plan *plan, const struct tn_cluster *cluster, struct tn_cancel *c,
                            const char *domain, char **out, char **user, struct tn_error **err);

/* ---- exec.c, task.c, docs.c, gateway.c, container_host.c ------------------------------------------------------ */

int tn_docker_logs(struct tn_provider *p, struct tn_cancel *c, const struct tn_instance *i, int tail,
                   bool follow, bool (*on_data)(void *arg, const char *data, size_t n), void *arg,
                   struct tn_error **err);
int tn_docker_exec(struct tn_provider *p, struct tn_cancel *c, const struct tn_instance *i,
                   const char *const *argv, int64_t timeout_ms, struct tn_run_result *out,
                   struct tn_error **err);
/* Exec by host and container; TN_ENOTFOUND when the program is not there. `what` names it in messages. */
int tn_docker_exec_in(struct tn_docker *d, size_t host, struct tn_cancel *c, const char *id, const char *what,
                      const char *const *argv, int64_t timeout_ms, struct tn_run_result *out,
                      struct tn_error **err);
/* All output of a container into out (both streams apart). */
int tn_docker_collect_logs(struct tn_docker *d, size_t host, struct tn_cancel *c, const char *id, bool tty,
                           struct tn_run_result *out, struct tn_error **err);
int tn_docker_task(struct tn_provider *p, struct tn_cancel *c, const struct tn_start *s,
                   const char *const *argv, int64_t timeout_ms, struct tn_run_result *out,
                   struct tn_error **err);
int tn_docker_doc_create(struct tn_provider *p, struct tn_cancel *c, size_t host, const char *name,
                         const json_t *body, json_t **existing, struct tn_error **err);
int tn_docker_doc_list(struct tn_provider *p, struct tn_cancel *c, size_t host, const char *prefix,
                       struct tn_docs *out, struct tn_error **err);
int tn_docker_doc_remove(struct tn_provider *p, struct tn_cancel *c, size_t host, const char *name,
                         struct tn_error **err);
char *tn_docker_gateway(struct tn_provider *p, struct tn_cancel *c, const char *container,
                        struct tn_error **err);
struct tn_host *tn_docker_container_host(struct tn_provider *p, const char *container, struct tn_error **err);

#endif
