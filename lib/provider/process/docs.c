#include "lib/provider/process/process.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "turnout/fs.h"
#include "turnout/mem.h"
#include "turnout/text.h"

#define DOC_MAX      ((size_t)32 << 20)
#define CREATE_TRIES 4

static char *doc_path(const struct tn_process *p, const char *name, struct tn_error **err)
{
    if (tn_process_name_ok(name))
        return tn_format("%s/%s.json", p->docs, name);
    tn_error_set(err, TN_EFAIL, "document '%s': only letters, digits, '.', '_' and '-' can be in its name",
                 name);
    return NULL;
}

static json_t *doc_read(const char *path, struct tn_error **err)
{
    size_t len = 0;
    tn_autofree char *text = tn_fs_read(path, DOC_MAX, &len, err);
    if (!text)
        return NULL;
    json_error_t why;
    json_t *body = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
    if (json_is_object(body))
        return body;
    json_decref(body);
    tn_error_set(err, TN_EPROTO, "document '%s': not a JSON object", path);
    return NULL;
}

int tn_process_doc_create(struct tn_provider *p, struct tn_cancel *c, size_t host, const char *name,
                          const json_t *body, json_t **existing, struct tn_error **err)
{
    (void)c;
    (void)host;
    tn_autofree char *path = doc_path(tn_process_of(p), name, err);
    if (!path)
        return TN_EFAIL;
    tn_autofree char *text = json_dumps(body, JSON_COMPACT);
    if (!text || strlen(text) > DOC_MAX)
        return tn_error_set(err, TN_ELIMIT, "document '%s': larger than %zu bytes", name, DOC_MAX);
    int rc = tn_fs_mkdirs(tn_process_of(p)->docs, 0700, err);
    for (int i = 0; rc == TN_OK && i < CREATE_TRIES; i++) {
        rc = tn_fs_create_new(path, text, strlen(text), 0600, err);
        if (rc != TN_EEXISTS || !existing)
            return rc;
        struct tn_error *why = NULL;
        *existing = doc_read(path, &why);
        bool gone = why && why->code == TN_ENOTFOUND; /* removed meanwhile: the name is free again */
        if (!*existing && !gone)
            return tn_error_move(err, &why);
        tn_error_free(why);
        if (*existing)
            return TN_EEXISTS;
        tn_error_clear(err);
        rc = TN_OK;
    }
    return rc == TN_OK ? tn_error_set(err, TN_EBUSY, "document '%s': comes and goes", name) : rc;
}

static int add(struct tn_docs *out, const char *path, const char *name, size_t name_len,
               struct tn_error **err)
{
    struct tn_error *why = NULL;
    json_t *body = doc_read(path, &why);
    if (!body && why->code == TN_ENOTFOUND) {
        tn_error_free(why);
        return TN_OK;
    }
    if (!body)
        return tn_error_move(err, &why);
    TN_GROW(out->v, out->n, out->cap);
    out->v[out->n++] = (struct tn_doc){.name = tn_strndup(name, name_len), .body = body};
    return TN_OK;
}

int tn_process_doc_list(struct tn_provider *p, struct tn_cancel *c, size_t host, const char *prefix,
                        struct tn_docs *out, struct tn_error **err)
{
    (void)c;
    (void)host;
    const char *docs = tn_process_of(p)->docs;
    char **names = NULL;
    size_t n = 0;
    if (!tn_fs_exists(docs))
        return TN_OK;
    int rc = tn_fs_list(docs, &names, &n, err);
    for (size_t i = 0; rc == TN_OK && i < n; i++) {
        if (!tn_starts_with(names[i], prefix) || !tn_ends_with(names[i], ".json"))
            continue;
        tn_autofree char *path = tn_path_join(docs, names[i]);
        rc = add(out, path, names[i], strlen(names[i]) - 5, err);
    }
    tn_fs_list_free(names, n);
    return rc;
}

int tn_process_doc_remove(struct tn_provider *p, struct tn_cancel *c, size_t host, const char *name,
                          struct tn_error **err)
{
    (void)c;
    (void)host;
    tn_autofree char *path = doc_path(tn_process_of(p), name, err);
    if (!path)
        return TN_EFAIL;
    if (unlink(path) < 0 && errno != ENOENT)
        return tn_error_errno(err, TN_EIO, errno, "document '%s': cannot be removed", name);
    return TN_OK;
}
