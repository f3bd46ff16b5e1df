/* request.h - builds the engine's requests. Pure: no network, no clock. Paths begin after "/v1.NN". */
#ifndef TN_PROVIDER_DOCKER_REQUEST_H
#define TN_PROVIDER_DOCKER_REQUEST_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>

#include "lib/provider/provider.h"

/* Marks a container as a one-off run of ours, which is no instance. */
#define TN_LABEL_HOOK "turnout.hook"
/* On volumes that hold a document. */
#define TN_LABEL_DOC_BODY  "turnout.doc.body"
#define TN_LABEL_DOC_NONCE "turnout.doc.nonce"

enum { TN_DOC_MAX = 64 * 1024 };

/* Percent-encodes everything but letters, digits and -._~ . Caller frees. */
char *tn_docker_escape(const char *text);
/* ?filters= for labels that must all be there. Caller frees the path. */
char *tn_docker_path_list(const char *app, const char *cluster);
char *tn_docker_path_docs(void);
/* /images/create for repository and tag or digest; never without, that would pull every tag. */
char *tn_docker_path_pull(const char *image_ref);
char *tn_docker_path_logs(const char *id, int tail, bool follow);

/* How a container comes into a network with aliases (DESIGN §5: into the alias only after it is confirmed). */
enum tn_join {
    TN_JOIN_AT_CREATE,   /* with its aliases, if any */
    TN_JOIN_ALIAS_LATER, /* without; once confirmed it leaves and comes back with them */
    TN_JOIN_LATER,       /* only once confirmed */
};
/* `exposed`: a balancer reaches it through its published ports. Then its networks must not change while it serves:
 * engines move the published ports to the network whose name sorts first, and for 0.3 s (measured on 20.10) every
 * connection is refused and kept ones are reset. So an exposed one joins later only what sorts after a network that it
 * is in already, and else at once, aliases included. */
enum tn_join tn_docker_join_of(const struct tn_service *s, const struct tn_network *n, bool exposed);
/* The network that the container is created in, or NULL: the engine's default. */
const struct tn_network *tn_docker_first_network(const struct tn_service *s, bool exposed);

/* The body of /containers/create: an instance. New reference. */
json_t *tn_docker_container_body(const struct tn_start *s, bool exposed);
/* The same image, environment, volumes and networks, but `argv` instead of the program, no ports, checks, aliases. */
json_t *tn_docker_task_body(const struct tn_start *s, const char *const *argv);
/* Name of a one-off container: "<app>-hook-<effect with other characters as ->". Caller frees. */
char *tn_docker_task_name(const char *app, const char *effect);
json_t *tn_docker_connect_body(const char *container, const struct tn_network *n, bool aliases);
json_t *tn_docker_disconnect_body(const char *container);
char *tn_docker_networks_path(const char *app); /* those made for it; caller frees */
json_t *tn_docker_network_body(const char *name, const char *app);

/* "src:dst[:ro]" as a mount; NULL with TN_EPLAN when it is none. */
json_t *tn_docker_mount(const char *volume, const char *dir, struct tn_error **err);
/* Name of the named volume in "src:dst[:ro]", NULL for a path or none. Caller frees. */
char *tn_docker_volume_name(const char *volume);
json_t *tn_docker_volume_body(const char *name, const char *app);

/* Volume that holds document `name`: as it is where its characters allow, else with a hash. Caller frees. */
char *tn_docker_doc_volume(const char *name);
json_t *tn_docker_doc_body(const char *name, const json_t *body, const char *nonce, struct tn_error **err);

json_t *tn_docker_exec_body(const char *const *argv);

/* Deep merge: objects merge, everything else in `over` replaces, null removes. */
void tn_docker_merge(json_t *base, const json_t *over);

#endif
