#include "lib/provider/process/process.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "turnout/fs.h"
#include "turnout/mem.h"
#include "turnout/text.h"

static bool is_ours(const struct tn_provider *p, const json_t *meta, const char *app)
{
    return tn_streq(tn_process_label(meta, TN_LABEL_APP), app) &&
           tn_streq(tn_process_label(meta, TN_LABEL_CLUSTER), p->cluster->name);
}

static int observe_one(struct tn_provider *p, const char *name, const char *app, struct tn_observation *out,
                       struct tn_error **err)
{
    tn_autofree char *dir = tn_path_join(tn_process_of(p)->instances, name);
    json_t *meta = tn_process_name_ok(name) ? tn_process_meta_read(dir) : NULL;
    int rc = TN_OK;
    if (meta && is_ours(p, meta, app)) {
        TN_GROW(out->v, out->n, out->cap);
        rc = tn_process_instance(dir, name, meta, &out->v[out->n], err);
        out->n += rc == TN_OK;
    }
    json_decref(meta);
    if (rc != TN_ENOTFOUND)
        return rc;
    tn_error_clear(err);
    return TN_OK;
}

static int observe_all(struct tn_provider *p, const char *app, struct tn_observation *out,
                       struct tn_error **err)
{
    const struct tn_process *self = tn_process_of(p);
    char **names = NULL;
    size_t n = 0;
    if (access(self->instances, F_OK) < 0 && errno == ENOENT)
        return TN_OK;
    int rc = tn_fs_list(self->instances, &names, &n, err);
    for (size_t i = 0; rc == TN_OK && i < n; i++)
        rc = observe_one(p, names[i], app, out, err);
    tn_fs_list_free(names, n);
    return rc;
}

/* A folder that cannot be read is a host that does not answer: what it holds is unknown, not absent. */
static int process_observe(struct tn_provider *p, struct tn_cancel *c, const char *app,
                           struct tn_observation *out, struct tn_error **err)
{
    (void)c;
    (void)err;
    tn_observation_clear(out);
    out->hosts = tn_alloc(sizeof(*out->hosts));
    out->n_hosts = 1;
    struct tn_error *why = NULL;
    out->hosts[0].answered = observe_all(p, app, out, &why) == TN_OK;
    if (!out->hosts[0].answered)
        out->hosts[0].error = tn_strdup(tn_error_message(why));
    tn_error_free(why);
    return TN_OK;
}

static int process_doctor(struct tn_provider *p, struct tn_cancel *c,
                          void (*report)(void *arg, bool ok, const char *text), void *arg,
                          struct tn_error **err)
{
    (void)c;
    (void)err;
    const char *dir = tn_process_of(p)->dir;
    tn_autofree char *parent = tn_path_dir(dir);
    bool there = tn_fs_exists(dir);
    bool ok = access(there ? dir : parent, R_OK | W_OK | X_OK) == 0;
    const char *why = ok ? "can be written" : strerror(errno);
    tn_autofree char *text = tn_format("folder '%s'%s: %s", dir, there ? "" : " (not made yet)", why);
    report(arg, ok, text);
    return TN_OK;
}

static void process_free(struct tn_provider *p)
{
    struct tn_process *self = tn_process_of(p);
    free(self->dir);
    free(self->instances);
    free(self->tasks);
    free(self->docs);
    for (size_t i = 0; i < p->n_hosts; i++) {
        free(p->host_names[i]);
        free(p->host_ids[i]);
    }
    free(p->host_names);
    free(p->host_ids);
    free(self);
}

static const struct tn_provider_ops process_ops = {
    .name = "process",
    .observe = process_observe,
    .start = tn_process_start,
    .stop = tn_process_stop,
    .set_restart = tn_process_set_restart,
    .logs = tn_process_logs,
    .exec = tn_process_exec,
    .task = tn_process_task,
    .port_taken = tn_process_port_taken,
    .tidy = tn_process_tidy,
    .doc_create = tn_process_doc_create,
    .doc_list = tn_process_doc_list,
    .doc_remove = tn_process_doc_remove,
    .doctor = process_doctor,
    .free = process_free,
};

/* The real path of what exists of it, and the rest as written: the same before and after the folder is made.
 * */
static char *canonical(const char *path)
{
    char real[PATH_MAX];
    if (realpath(path, real))
        return tn_strdup(real);
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path)
        return tn_strdup(path);
    tn_autofree char *parent = tn_strndup(path, (size_t)(slash - path));
    tn_autofree char *above = canonical(parent);
    return slash[1] ? tn_format("%s/%s", above, slash + 1) : TN_TAKE(above);
}

struct tn_provider *tn_process_open(const struct tn_plan *plan, const struct tn_cluster *cluster,
                                    struct tn_http *http, struct tn_error **err)
{
    (void)http;
    if (!cluster->process.dir || cluster->process.dir[0] != '/') {
        tn_error_set(err, TN_EPLAN, "cluster '%s': 'dir' is not an absolute path", cluster->name);
        return NULL;
    }
    if (tn_process_check(plan, cluster, err) != TN_OK)
        return NULL;
    struct tn_process *self = tn_alloc(sizeof(*self));
    self->base.ops = &process_ops;
    self->base.cluster = cluster;
    self->base.plan = plan;
    self->dir = canonical(cluster->process.dir);
    self->instances = tn_path_join(self->dir, "instances");
    self->tasks = tn_path_join(self->dir, "tasks");
    self->docs = tn_path_join(self->dir, "docs");
    self->base.n_hosts = 1;
    self->base.host_names = tn_alloc(sizeof(char *));
    self->base.host_ids = tn_alloc(sizeof(char *));
    self->base.host_names[0] = tn_strdup("local");
    self->base.host_ids[0] = tn_format("process:%s", self->dir);
    return &self->base;
}
