/* parse.h - reads the engine's answers. Pure. Everything comes from outside: sizes and types are checked; a wrong type
 * is TN_EPROTO where the answer is useless without it, else the value counts as unset.
 */
#ifndef TN_PROVIDER_DOCKER_PARSE_H
#define TN_PROVIDER_DOCKER_PARSE_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>

#include "lib/provider/provider.h"

/* Object (or array) of an answer's body; NULL with TN_EPROTO. New reference. */
json_t *tn_docker_json(const char *data, size_t len, struct tn_error **err);
/* The "message" of an error body, or the body as it is; at most 1000 bytes. Caller frees. */
char *tn_docker_message(const char *data, size_t len);
/* Text of a key, NULL when absent or of another type. Borrowed. */
const char *tn_docker_text(const json_t *o, const char *key);

/* "Up 2 seconds (healthy)", "Exited (137) 3 seconds ago", "Restarting (1) 2 seconds ago". */
void tn_docker_status(const char *status, enum tn_native_health *health, int *exit_code);
/* Appends the instances of a /containers/json answer. Containers that are no instances of ours (no service, no
 * revision, one-off runs) are left out. */
int tn_docker_list(const json_t *list, size_t host, const char *address, struct tn_observation *out,
                   struct tn_error **err);

/* What is used of /containers/{id}/json. Texts borrowed from `o`. */
struct tn_inspect {
    const char *id, *status, *restart_policy, *error;
    const json_t *labels;   /* object, may be NULL */
    const json_t *networks; /* object, may be NULL */
    bool running, oom_killed, tty;
    int exit_code; /* -1 unknown */
    int restarts;
    int64_t started_at;
};
int tn_docker_inspect(const json_t *o, struct tn_inspect *out, struct tn_error **err);
/* Exit codes above 128 of a container are 128 + signal. */
int tn_docker_signal_of(int exit_code);

/* "repo@sha256:…" of an inspected image for `repository`, or NULL. Borrowed. */
const char *tn_docker_repo_digest(const json_t *image, const char *repository);

/* The progress of a pull: JSON objects one after another, cut anywhere. */
struct tn_pull {
    tn_progress_fn progress;
    void *arg;
    struct tn_buf line; /* start with TN_BUF_INIT(TN_PULL_LINE_MAX) */
    int depth;
    bool in_text, escaped;
    char *error; /* the stream's last word, when it failed; owned */
    bool broken; /* not JSON, or a line too long */
};
enum { TN_PULL_LINE_MAX = 256 * 1024 };
/* False when the stream is broken or said that it failed. */
bool tn_pull_feed(struct tn_pull *p, const char *data, size_t n);
/* True when the stream ended between objects and no object said that it failed. */
bool tn_pull_is_clean(const struct tn_pull *p);
void tn_pull_clear(struct tn_pull *p);

/* Appends the documents of a /volumes answer whose names begin with `prefix`. */
int tn_docker_docs(const json_t *answer, const char *prefix, struct tn_docs *out, struct tn_error **err);
/* The document in one volume's labels: TN_ESTRANGER when it holds none, TN_EPROTO when it cannot be read. */
json_t *tn_docker_doc(const json_t *volume, struct tn_error **err);

/* NN of "1.NN"; -1 when it is none. */
int tn_docker_api_minor(const char *version);

#endif
