/* Documents are volumes: a create is atomic by name, and labels are given once and never change. A create of a name
 * that exists answers 201 with the volume that is there, so a random nonce in the labels tells the two apart.
 */
#include <string.h>

#include "lib/base/hash.h"
#include "turnout/text.h"
#include "lib/provider/docker/docker.h"
#include "lib/provider/docker/request.h"

enum { DOC_TIMEOUT_MS = 10000, NONCE_DIGITS = 32, DOCS_MAX = 64 * 1024 * 1024 };

/* Whether the volume in the engine's answer is the one that this call made. */
static int judge(const json_t *volume, const char *name, const char *nonce, json_t **existing,
                 struct tn_error **err)
{
    const json_t *labels = json_object_get(volume, "Labels");
    if (tn_streq(tn_docker_text(labels, TN_LABEL_DOC_NONCE), nonce))
        return TN_OK;
    struct tn_error *why = NULL;
    json_t *body = tn_docker_doc(volume, &why);
    if (body == NULL)
        return tn_error_move(err, &why);
    if (existing != NULL)
        *existing = body;
    else
        json_decref(body);
    return tn_error_set(err, TN_EEXISTS, "document '%s': exists", name);
}

/* An answer that never came is no reason to leave the question open: the nonce tells whether it was made. */
static int probe(struct tn_docker *d, size_t host, struct tn_cancel *c, const char *name, json_t **volume,
                 struct tn_error **err)
{
    tn_autofree char *volume_name = tn_docker_doc_volume(name);
    tn_autofree char *path = tn_format("/volumes/%s", volume_name);
    tn_autofree char *what = tn_format("document '%s'", name);
    struct tn_call look = {.method = "GET", .path = path, .timeout_ms = DOC_TIMEOUT_MS};
    return tn_engine_json(d, host, c, &look, what, volume, err);
}

int tn_docker_doc_create(struct tn_provider *p, struct tn_cancel *c, size_t host, const char *name,
                         const json_t *body, json_t **existing, struct tn_error **err)
{
    struct tn_docker *d = tn_docker_of(p);
    char nonce[NONCE_DIGITS + 1];
    tn_random_hex(nonce, NONCE_DIGITS);
    json_t *request = tn_docker_doc_body(name, body, nonce, err);
    if (request == NULL)
        return TN_ELIMIT;
    tn_autofree char *what = tn_format("document '%s'", name);
    struct tn_call call = {
        .method = "POST", .path = "/volumes/create", .json = request, .timeout_ms = DOC_TIMEOUT_MS};
    json_t *volume = NULL;
    struct tn_error *why = NULL;
    int code = tn_engine_json(d, host, c, &call, what, &volume, &why);
    json_decref(request);
    if (code == TN_EUNKNOWN || code == TN_ETIMEOUT) {
        struct tn_error *again = NULL;
        if (probe(d, host, c, name, &volume, &again) == TN_OK) {
            tn_error_clear(&why);
            code = TN_OK;
        }
        tn_error_free(again);
    }
    if (code != TN_OK)
        return tn_error_move(err, &why);
    code = judge(volume, name, nonce, existing, err);
    json_decref(volume);
    return code;
}

int tn_docker_doc_list(struct tn_provider *p, struct tn_cancel *c, size_t host, const char *prefix,
                       struct tn_docs *out, struct tn_error **err)
{
    tn_autofree char *path = tn_docker_path_docs();
    struct tn_call call = {
        .method = "GET", .path = path, .timeout_ms = DOC_TIMEOUT_MS, .max_answer = DOCS_MAX};
    json_t *answer = NULL;
    int code = tn_engine_json(tn_docker_of(p), host, c, &call, "documents", &answer, err);
    if (code != TN_OK)
        return code;
    *out = (struct tn_docs){0};
    code = tn_docker_docs(answer, prefix, out, err);
    if (code != TN_OK)
        tn_docs_clear(out);
    json_decref(answer);
    return code;
}

int tn_docker_doc_remove(struct tn_provider *p, struct tn_cancel *c, size_t host, const char *name,
                         struct tn_error **err)
{
    tn_autofree char *volume = tn_docker_doc_volume(name);
    tn_autofree char *path = tn_format("/volumes/%s", volume);
    tn_autofree char *what = tn_format("document '%s'", name);
    struct tn_call call = {.method = "DELETE", .path = path, .timeout_ms = DOC_TIMEOUT_MS};
    struct tn_error *why = NULL;
    json_t *there = NULL;
    int code = probe(tn_docker_of(p), host, c, name, &there, &why);
    if (code == TN_OK && !tn_streq(tn_docker_text(json_object_get(there, "Labels"), TN_LABEL_DOC), name))
        code = tn_error_set(&why, TN_ESTRANGER, "volume '%s': holds no document of ours", volume);
    json_decref(there);
    if (code == TN_OK)
        code = tn_engine_json(tn_docker_of(p), host, c, &call, what, NULL, &why);
    if (code == TN_ENOTFOUND) {
        tn_error_free(why);
        return TN_OK;
    }
    return code == TN_OK ? TN_OK : tn_error_move(err, &why);
}
