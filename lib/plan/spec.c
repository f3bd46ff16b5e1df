/* The canonical spec of a service, its revision, and the way back.
 *
 * Files are named by their path in the plan and told by their contents, so a spec means the same on every machine.
 * The program of a service on a process cluster counts as one of its files when the plan gives it by path: a rebuilt
 * binary is a new revision. Programs of the system (/bin, /sbin, /usr) do not count: an upgrade of the interpreter
 * is no new version of the service.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "turnout/fs.h"
#include "lib/base/hash.h"
#include "lib/plan/emit.h"
#include "lib/plan/load.h"

#define MAX_HASHED      ((off_t)2 << 30)
#define REVISION_DIGITS 12

/* ---- files ------------------------------------------------------------------------------------------ */

/* Streams the file: binaries may be larger than the memory turnout wants to use. */
static bool hash_fd(int fd, char out[TN_SHA256_HEX])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char chunk[65536], digest[32];
    bool ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1;
    for (ssize_t n = 1; ok && n > 0;) {
        n = read(fd, chunk, sizeof(chunk));
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n < 0)
            ok = false;
        else
            ok = EVP_DigestUpdate(ctx, chunk, (size_t)n) == 1;
    }
    ok = ok && EVP_DigestFinal_ex(ctx, digest, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    for (size_t i = 0; ok && i < sizeof(digest); i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
    return ok;
}

static int hash_file(const char *dir, const char *name, const char *service, char out[TN_SHA256_HEX],
                     struct tn_error **err)
{
    tn_autofree char *path = tn_path_join(dir, name);
    tn_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        return tn_error_errno(err, errno == ENOENT ? TN_ENOTFOUND : TN_EIO, errno, "service '%s': file '%s'",
                              service, name);
    if (!S_ISREG(st.st_mode))
        return tn_error_set(err, TN_EIO, "service '%s': file '%s': not a regular file", service, name);
    if (st.st_size > MAX_HASHED)
        return tn_error_set(err, TN_ELIMIT, "service '%s': file '%s': larger than 2 GiB", service, name);
    if (!hash_fd(fd, out))
        return tn_error_errno(err, TN_EIO, errno, "service '%s': file '%s'", service, name);
    return 0;
}

static const char *recorded(const struct tn_service *s, const char *path)
{
    for (size_t i = 0; i < s->file_hashes.n; i++)
        if (tn_streq(s->file_hashes.v[i].name, path))
            return s->file_hashes.v[i].value;
    return NULL;
}

static int add_file(const struct tn_plan *p, const struct tn_service *s, const char *path, json_t *out,
                    struct tn_error **err)
{
    char hash[TN_SHA256_HEX];
    const char *known = recorded(s, path);
    if (!known && !p)
        return tn_error_set(err, TN_ENOTFOUND, "service '%s': file '%s' has no recorded hash", s->name, path);
    int rc = known ? 0 : hash_file(p->dir, path, s->name, hash, err);
    if (rc == 0)
        json_object_set_new(out, path, json_string(known ? known : hash));
    return rc;
}

static bool runs_as_process(const struct tn_plan *p, const struct tn_service *s)
{
    for (size_t i = 0; p && i < s->clusters.n; i++) {
        const struct tn_cluster *c = tn_plan_cluster(p, s->clusters.v[i]);
        if (c && c->kind == TN_CLUSTER_PROCESS)
            return true;
    }
    return false;
}

/* The program of a process, when it is a file of the user's. */
static const char *program_file(const struct tn_plan *p, const struct tn_service *s)
{
    static const char *const system[] = {"/bin/", "/sbin/", "/usr/", "/lib/", "/opt/", "/proc/", "/dev/"};
    if (!s->command.argv || !strchr(s->command.argv[0], '/') || !runs_as_process(p, s))
        return NULL;
    for (size_t i = 0; i < TN_COUNT(system); i++)
        if (tn_starts_with(s->command.argv[0], system[i]))
            return NULL;
    return s->command.argv[0];
}

static json_t *files_of(const struct tn_plan *p, const struct tn_service *s, struct tn_error **err)
{
    json_t *out = json_object();
    const char *program = program_file(p, s);
    int rc = program ? add_file(p, s, program, out, err) : 0;
    for (size_t i = 0; rc == 0 && i < s->files.n; i++)
        rc = add_file(p, s, s->files.v[i], out, err);
    if (rc == 0)
        return out;
    json_decref(out);
    return NULL;
}

/* ---- struct → spec ---------------------------------------------------------------------------------- */

json_t *tn_service_spec(const struct tn_plan *p, const struct tn_service *s, const char *image_ref,
                        struct tn_error **err)
{
    json_t *files = files_of(p, s, err);
    if (!files)
        return NULL;
    json_t *spec = tn_emit_revision(&tn_schema_service, s);
    if (image_ref)
        json_object_set_new(spec, "image", json_string(image_ref));
    json_object_del(spec, "files");
    if (json_object_size(files) > 0)
        json_object_set(spec, "files", files);
    json_decref(files);
    return spec;
}

void tn_spec_revision(const json_t *spec, char out[13])
{
    char hash[TN_SHA256_HEX];
    tn_autofree char *text = json_dumps(spec, JSON_COMPACT | JSON_SORT_KEYS);
    tn_sha256_hex(text ? text : "", text ? strlen(text) : 0, hash);
    memcpy(out, hash, REVISION_DIGITS);
    out[REVISION_DIGITS] = '\0';
}

/* ---- spec → struct ---------------------------------------------------------------------------------- */

/* The service comes first, so that its pointer is the whole object's. */
struct loaded {
    struct tn_service service;
    struct tn_arena *arena;
};

static bool take_files(struct tn_arena *a, const json_t *files, struct tn_service *s)
{
    if (!files)
        return true;
    if (!json_is_object(files))
        return false;
    size_t n = json_object_size(files);
    s->files.v = tn_arena_alloc(a, (n + 1) * sizeof(char *));
    s->file_hashes.v = tn_arena_alloc(a, (n + 1) * sizeof(struct tn_pair));
    const char *path;
    json_t *hash;
    json_object_foreach((json_t *)files, path, hash)
    {
        const char *text = json_string_value(hash);
        if (!text || strlen(text) != TN_SHA256_HEX - 1)
            return false;
        s->files.v[s->files.n++] = tn_arena_strdup(a, path);
        s->file_hashes.v[s->file_hashes.n++] =
            (struct tn_pair){tn_arena_strdup(a, path), tn_arena_strdup(a, text)};
    }
    return true;
}

/* What a plan requires but a revision does not hold, and what needs a plan to be checked, is left out. */
static bool bind_spec(struct loaded *out, struct tn_loader *l, const char *name, const json_t *spec)
{
    struct tn_node *root = tn_node_from_json(l, "spec", spec);
    if (!root || root->kind != TN_NODE_MAP)
        return false;
    tn_node_remove(root, "files");
    const struct tn_mark mark = {.file = "spec"};
    tn_node_set(l, root, "clusters", mark, tn_node_new(l, TN_NODE_LIST, mark));
    struct tn_binder b = {.l = l};
    const struct tn_key_path path = {NULL, name};
    tn_bind_object(&b, &tn_schema_service, root, &path, &out->service);
    for (size_t i = 0; i < out->service.n_ports; i++) {
        struct tn_port *p = &out->service.ports[i];
        if (!p->name)
            p->name = tn_arena_format(l->arena, "%d", p->container);
    }
    return l->n_errors == 0 && take_files(l->arena, json_object_get(spec, "files"), &out->service);
}

struct tn_service *tn_service_from_spec(const char *name, const json_t *spec, struct tn_error **err)
{
    struct loaded *out = tn_alloc(sizeof(*out));
    struct tn_problems problems = {0};
    struct tn_loader l = {.arena = out->arena = tn_arena_new(), .problems = &problems};
    bool ok = bind_spec(out, &l, name, spec);
    if (!ok)
        tn_error_set(err, TN_EPROTO, "spec of service '%s': %s", name,
                     problems.n ? problems.v[0].message : "not understood");
    out->service.name = tn_arena_strdup(out->arena, name);
    out->service.mark = (struct tn_mark){0};
    tn_problems_clear(&problems);
    tn_loader_clear(&l);
    if (ok)
        return &out->service;
    tn_service_free_spec(&out->service);
    return NULL;
}

void tn_service_free_spec(struct tn_service *s)
{
    struct loaded *out = (struct loaded *)s;
    if (!out)
        return;
    json_decref(s->platform);
    tn_arena_free(out->arena);
    free(out);
}
