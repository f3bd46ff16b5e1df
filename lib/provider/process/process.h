/* process.h - instances as programs of this host, each under the shim. Internal to the provider.
 *
 * cluster.process.dir holds
 *   instances/NAME/   run folders (lib/transport/shim.h); meta.json = {"name":…, "labels":{TN_LABEL_…: text}}
 *   tasks/EFFECT/     run folders of one-off runs, kept so that their outcome can be read again
 *   docs/NAME.json    documents A run folder is written under `.new-…` and renamed: the rename claims the
 * name. Removing is a rename to `.gone-…` first. Secrets stand in spec.json (0600) only.
 */
#ifndef TN_PROVIDER_PROCESS_PROCESS_H
#define TN_PROVIDER_PROCESS_PROCESS_H

#include "lib/provider/provider.h"

struct tn_process {
    struct tn_provider base;
    char *dir, *instances, *tasks, *docs;
};
static inline struct tn_process *tn_process_of(struct tn_provider *p)
{
    return (struct tn_process *)p;
}

/* Letters, digits, . _ - and not a leading dot, at most 200 bytes: safe as a name in a folder. */
bool tn_process_name_ok(const char *name);
/* A new text that is: other bytes become '_'. For effects (a/b/3 → a_b_3). */
char *tn_process_name_from(const char *text);

/* request.c: pure */
/* TN_EPLAN when a service that uses `cluster` asks for what a process cannot have; all of them in one
 * message. */
int tn_process_check(const struct tn_plan *plan, const struct tn_cluster *cluster, struct tn_error **err);
/* spec.json, a new reference. `argv` NULL = the service's command. TN_EPLAN without a command, with an
 * unknown signal; TN_EFAIL for values that are not UTF-8. */
int tn_process_spec(const struct tn_start *s, const char *const *argv, json_t **out, struct tn_error **err);
json_t *tn_process_meta(const struct tn_start *s);
/* PORT_<NAME>: upper case, anything but letters and digits becomes '_'. Caller frees. */
char *tn_process_port_env(const char *port_name);

/* meta.c */
/* meta.json of a run folder when it is one of ours: an object with labels that are all text and an app. NULL
 * = a stranger's, or gone. New reference. */
json_t *tn_process_meta_read(const char *run_dir);
/* Borrowed; NULL when absent. */
const char *tn_process_label(const json_t *meta, const char *label);
/* Everything that is in meta and in the run folder. TN_ENOTFOUND: removed meanwhile. */
int tn_process_instance(const char *run_dir, const char *name, const json_t *meta, struct tn_instance *out,
                        struct tn_error **err);

/* The slots. */
int tn_process_start(struct tn_provider *p, struct tn_cancel *c, const struct tn_start *s,
                     struct tn_error **err);
int tn_process_stop(struct tn_provider *p, struct tn_cancel *c, const struct tn_instance *i,
                    const char *signal, int64_t grace_ms, struct tn_error **err);
int tn_process_set_restart(struct tn_provider *p, struct tn_cancel *c, const struct tn_instance *i,
                           const char *policy, struct tn_error **err);
int tn_process_logs(struct tn_provider *p, struct tn_cancel *c, const struct tn_instance *i, int tail,
                    bool follow, bool (*on_data)(void *arg, const char *data, size_t n), void *arg,
                    struct tn_error **err);
int tn_process_exec(struct tn_provider *p, struct tn_cancel *c, const struct tn_instance *i,
                    const char *const *argv, int64_t timeout_ms, struct tn_run_result *out,
                    struct tn_error **err);
int tn_process_task(struct tn_provider *p, struct tn_cancel *c, const struct tn_start *s,
                    const char *const *argv, int64_t timeout_ms, struct tn_run_result *out,
                    struct tn_error **err);
int tn_process_tidy(struct tn_provider *p, struct tn_cancel *c, bool all, struct tn_error **err);
bool tn_process_port_taken(struct tn_provider *p, size_t host, int port);
int tn_process_doc_create(struct tn_provider *p, struct tn_cancel *c, size_t host, const char *name,
                          const json_t *body, json_t **existing, struct tn_error **err);
int tn_process_doc_list(struct tn_provider *p, struct tn_cancel *c, size_t host, const char *prefix,
                        struct tn_docs *out, struct tn_error **err);
int tn_process_doc_remove(struct tn_provider *p, struct tn_cancel *c, size_t host, const char *name,
                          struct tn_error **err);

#endif
