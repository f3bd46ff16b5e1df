/* Files and commands in a container: a balancer that runs in one. It may be a stranger's; only what the caller names
 * is written. A file is put beside the old one through the engine's archive call and renamed inside the container, so
 * its folder must be a mounted one and mv must exist there.
 */
#include <stdlib.h>
#include <string.h>

#include "turnout/clock.h"
#include "turnout/fs.h"
#include "lib/base/hash.h"
#include "turnout/text.h"
#include "lib/provider/docker/docker.h"
#include "lib/provider/docker/request.h"
#include "lib/provider/docker/tar.h"

enum { ARCHIVE_EXTRA = 64 * 1024, LINKS_MAX = 8, FILE_TIMEOUT_MS = 30000 };

struct container_host {
    struct tn_host base;
    struct tn_docker *d;
    size_t host;
    char *container;
};

static struct container_host *self_of(struct tn_host *h)
{
    return (struct container_host *)h;
}

static int host_run(struct tn_host *h, struct tn_cancel *c, const char *const *argv, const char *input,
                    int64_t timeout_ms, struct tn_run_result *out, struct tn_error **err)
{
    struct container_host *self = self_of(h);
    if (input != NULL)
        return tn_error_set(err, TN_EUNSUPPORTED, "%s: a command there cannot be given input", h->name);
    return tn_docker_exec_in(self->d, self->host, c, self->container, h->name, argv, timeout_ms, out, err);
}

/* The archive of `path` into *archive, and its first entry. Links are followed: the engine archives the link itself. */
static int fetch(struct container_host *self, const char *path, size_t max, struct tn_buf *archive,
                 struct tn_tar_entry *entry, struct tn_error **err)
{
    tn_autofree char *at = tn_strdup(path);
    for (int i = 0; i < LINKS_MAX; i++) {
        tn_autofree char *escaped = tn_docker_escape(at);
        tn_autofree char *url = tn_format("/containers/%s/archive?path=%s", self->container, escaped);
        tn_autofree char *what = tn_format("%s: file '%s'", self->base.name, path);
        struct tn_call call = {
            .method = "GET", .path = url, .timeout_ms = FILE_TIMEOUT_MS, .max_answer = max + ARCHIVE_EXTRA};
        struct tn_http_answer a;
        int code = tn_engine_call(self->d, self->host, NULL, &call, &a, err);
        if (code != TN_OK)
            return code;
        if (a.status >= 400) {
            code = tn_engine_refused(&a, what, err);
            tn_http_answer_clear(&a);
            return code;
        }
        *archive = a.body;
        a.body = (struct tn_buf){0};
        tn_http_answer_clear(&a);
        code = tn_tar_first(archive->data, archive->len, entry, err);
        if (code != TN_OK || entry->type != '2')
            return code;
        tn_autofree char *folder = tn_path_dir(at);
        char *next = tn_path_join(folder, entry->link);
        free(at);
        at = next;
        tn_buf_clear(archive);
    }
    return tn_error_set(err, TN_EFAIL, "%s: file '%s': too many links", self->base.name, path);
}

static char *host_read(struct tn_host *h, const char *path, size_t max, size_t *out_len,
                       struct tn_error **err)
{
    tn_autobuf archive = TN_BUF_INIT(0);
    struct tn_tar_entry entry;
    if (fetch(self_of(h), path, max, &archive, &entry, err) != TN_OK)
        return NULL;
    if (entry.type != '0') {
        tn_error_set(err, TN_EIO, "%s: '%s' is no file", h->name, path);
        return NULL;
    }
    if (entry.len > max) {
        tn_error_set(err, TN_ELIMIT, "%s: file '%s': longer than %zu bytes", h->name, path, max);
        return NULL;
    }
    if (out_len != NULL)
        *out_len = entry.len;
    return tn_strndup(entry.data, entry.len);
}

/* A command that must succeed. */
static int run_or_fail(struct container_host *self, const char *const *argv, const char *what,
                       struct tn_error **err)
{
    struct tn_run_result r = {0};
    int code = tn_docker_exec_in(self->d, self->host, NULL, self->container, self->base.name, argv,
                                 FILE_TIMEOUT_MS, &r, err);
    if (code == TN_OK && r.exit_code != 0)
        code = tn_error_set(err, TN_EIO, "%s: %s: %s", self->base.name, what,
                            r.err_text.len > 0 ? r.err_text.data : "failed");
    tn_run_result_clear(&r);
    return code;
}

static int put_archive(struct container_host *self, const char *folder, const struct tn_buf *archive,
                       const char *what, struct tn_error **err)
{
    tn_autofree char *escaped = tn_docker_escape(folder);
    tn_autofree char *url = tn_format("/containers/%s/archive?path=%s", self->container, escaped);
    struct tn_call call = {.method = "PUT",
                           .path = url,
                           .body = archive->data,
                           .body_len = archive->len,
                           .timeout_ms = FILE_TIMEOUT_MS};
    return tn_engine_json(self->d, self->host, NULL, &call, what, NULL, err);
}

static int host_write(struct tn_host *h, const char *path, const void *data, size_t len, mode_t mode,
                      struct tn_error **err)
{
    struct container_host *self = self_of(h);
    tn_autobuf old = TN_BUF_INIT(0);
    struct tn_tar_entry entry = {.mode = mode};
    struct tn_error *why = NULL;
    int code = fetch(self, path, len + (1 << 20), &old, &entry, &why);
    if (code != TN_OK && code != TN_ENOTFOUND)
        return tn_error_move(err, &why);
    tn_error_free(why);
    char random[13];
    tn_random_hex(random, 12);
    const char *slash = strrchr(path, '/');
    tn_autofree char *folder = tn_path_dir(path);
    tn_autofree char *name = tn_format(".%.60s.%s", slash != NULL ? slash + 1 : path, random);
    tn_autofree char *temporary = tn_path_join(folder, name);
    tn_autofree char *what = tn_format("%s: file '%s'", h->name, path);
    tn_autobuf archive = TN_BUF_INIT(len + 4096);
    tn_tar_write(&archive, name, data, len, &entry, tn_wall_ms() / 1000);
    code = put_archive(self, folder, &archive, what, err);
    if (code != TN_OK)
        return code;
    const char *move[] = {"mv", "-f", temporary, path, NULL};
    code = run_or_fail(self, move, what, err);
    if (code != TN_OK) {
        const char *remove[] = {"rm", "-f", temporary, NULL};
        run_or_fail(self, remove, what, NULL);
    }
    return code;
}

static int host_remove(struct tn_host *h, const char *path, struct tn_error **err)
{
    const char *argv[] = {"rm", "-f", path, NULL};
    tn_autofree char *what = tn_format("file '%s'", path);
    return run_or_fail(self_of(h), argv, what, err);
}

static void host_free(struct tn_host *h)
{
    struct container_host *self = self_of(h);
    free(self->container);
    free(h->name);
    free(self);
}

static const struct tn_host_ops container_host_ops = {
    .run = host_run, .read = host_read, .write = host_write, .remove = host_remove, .free = host_free};

struct tn_host *tn_docker_container_host(struct tn_provider *p, const char *container, struct tn_error **err)
{
    struct tn_docker *d = tn_docker_of(p);
    tn_autofree char *escaped = tn_docker_escape(container);
    struct tn_error *why = NULL;
    for (size_t i = 0; i < p->n_hosts; i++) {
        json_t *owner = NULL;
        struct tn_inspect in;
        int code = tn_engine_inspect(d, i, NULL, escaped, &owner, &in, &why);
        json_decref(owner);
        if (code == TN_OK) {
            struct container_host *h = tn_alloc(sizeof *h);
            h->base.ops = &container_host_ops;
            h->base.name = tn_format("container '%s'", container);
            h->d = d;
            h->host = i;
            h->container = tn_strdup(escaped);
            tn_error_free(why);
            return &h->base;
        }
        if (code != TN_ENOTFOUND)
            break;
    }
    if (why != NULL && why->code == TN_ENOTFOUND)
        tn_error_set(&why, TN_ENOTFOUND, "container '%s': none of that name on cluster '%s'", container,
                     p->cluster->name);
    tn_error_move(err, &why);
    return NULL;
}
