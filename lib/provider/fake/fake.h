/* fake.h - a scripted cluster for tests. Internal to the provider; not in the released program.
 *
 * The world (lib/base/fake/world.h) is cluster.fake.file:
 *   "hosts": [names] (["local"]), "instances": {name: …}, "docs": {host: {name: body}}, "tasks": {effect: result},
 *   "images": {ref: digest} (absent: refs are taken as they are), "pulled": [refs], "strangers": [names]
 * Its script also holds:
 *   "hosts_down": [names]                they do not answer
 *   "ready_after_ms": N or {KEY: N}      native health says starting until then
 *   "never_ready": {KEY: true}           and here for ever
 *   "unhealthy": {KEY: ms}               native health says unhealthy from then on
 *   "exit_after_start": {KEY: code or {"code", "after_ms", "signal", "oom", "detail"}}
 *   "ports_busy": [ports]                taken by somebody: start says TN_EBUSY
 *   "logs": {KEY: text}, "exec": {KEY: {"code", "out", "err"}}, "task": likewise; the KEY also fits argv[0]
 */
#ifndef TN_PROVIDER_FAKE_FAKE_H
#define TN_PROVIDER_FAKE_FAKE_H

#include "lib/base/fake/world.h"
#include "lib/provider/provider.h"

/* instance.c: what the slots do in the world of an open call */
/* Adds what the world says of `name` now. */
void tn_fake_look(struct tn_fake_call *k, const struct tn_provider *p, const char *name,
                  struct tn_observation *out);
struct tn_fake_keys tn_fake_keys_of(const struct tn_start *s);
/* Borrowed from the instance's entry in the world (NULL = absent). */
struct tn_fake_keys tn_fake_keys_in(const json_t *instance, const char *name);
bool tn_fake_host_down(const struct tn_fake_call *k, const struct tn_provider *p, size_t host);

int tn_fake_start(struct tn_provider *p, struct tn_cancel *c, const struct tn_start *s,
                  struct tn_error **err);
int tn_fake_stop(struct tn_provider *p, struct tn_cancel *c, const struct tn_instance *i, const char *signal,
                 int64_t grace_ms, struct tn_error **err);
int tn_fake_set_restart(struct tn_provider *p, struct tn_cancel *c, const struct tn_instance *i,
                        const char *policy, struct tn_error **err);
/* output.c */
int tn_fake_logs(struct tn_provider *p, struct tn_cancel *c, const struct tn_instance *i, int tail,
                 bool follow, bool (*on_data)(void *arg, const char *data, size_t n), void *arg,
                 struct tn_error **err);
int tn_fake_exec(struct tn_provider *p, struct tn_cancel *c, const struct tn_instance *i,
                 const char *const *argv, int64_t timeout_ms, struct tn_run_result *out,
                 struct tn_error **err);
int tn_fake_task(struct tn_provider *p, struct tn_cancel *c, const struct tn_start *s,
                 const char *const *argv, int64_t timeout_ms, struct tn_run_result *out,
                 struct tn_error **err);
/* docs.c */
int tn_fake_doc_create(struct tn_provider *p, struct tn_cancel *c, size_t host, const char *name,
                       const json_t *body, json_t **existing, struct tn_error **err);
int tn_fake_doc_list(struct tn_provider *p, struct tn_cancel *c, size_t host, const char *prefix,
                     struct tn_docs *out, struct tn_error **err);
int tn_fake_doc_remove(struct tn_provider *p, struct tn_cancel *c, size_t host, const char *name,
                       struct tn_error **err);

static inline const char *tn_fake_file(const struct tn_provider *p)
{
    return p->cluster->fake.file;
}

#endif
