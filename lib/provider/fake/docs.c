#include <string.h>

#include "turnout/mem.h"
#include "turnout/text.h"
#include "lib/provider/fake/fake.h"

static int open_docs(struct tn_fake_call *k, struct tn_provider *p, struct tn_cancel *c, const char *slot,
                     size_t host, json_t **docs, struct tn_error **err)
{
    const struct tn_fake_keys keys = {.instance = p->host_names[host]};
    int rc = tn_fake_enter(k, tn_fake_file(p), slot, &keys, c, err);
    if (rc < 0)
        return rc;
    if (tn_fake_host_down(k, p, host)) {
        rc = tn_error_set(err, TN_EUNREACHABLE, "host '%s': connection refused", p->host_names[host]);
        return tn_fake_leave(k, rc, err);
    }
    *docs = tn_fake_object(tn_fake_object(k->world, "docs"), p->host_names[host]);
    return TN_OK;
}

int tn_fake_doc_create(struct tn_provider *p, struct tn_cancel *c, size_t host, const char *name,
                       const json_t *body, json_t **existing, struct tn_error **err)
{
    struct tn_fake_call k;
    json_t *docs = NULL;
    int rc = open_docs(&k, p, c, "doc_create", host, &docs, err);
    if (rc < 0)
        return rc;
    json_t *there = json_object_get(docs, name);
    if (!there)
        json_object_set_new(docs, name, json_deep_copy(body));
    else if (existing)
        *existing = json_deep_copy(there);
    if (there)
        rc = tn_error_set(err, TN_EEXISTS, "document '%s': is there already", name);
    return tn_fake_leave(&k, rc, err);
}

int tn_fake_doc_list(struct tn_provider *p, struct tn_cancel *c, size_t host, const char *prefix,
                     struct tn_docs *out, struct tn_error **err)
{
    struct tn_fake_call k;
    json_t *docs = NULL, *body;
    const char *name;
    int rc = open_docs(&k, p, c, "doc_list", host, &docs, err);
    if (rc < 0)
        return rc;
    json_object_foreach(docs, name, body)
    {
        if (!tn_starts_with(name, prefix))
            continue;
        TN_GROW(out->v, out->n, out->cap);
        out->v[out->n++] = (struct tn_doc){.name = tn_strdup(name), .body = json_deep_copy(body)};
    }
    return tn_fake_leave(&k, rc, err);
}

int tn_fake_doc_remove(struct tn_provider *p, struct tn_cancel *c, size_t host, const char *name,
                       struct tn_error **err)
{
    struct tn_fake_call k;
    json_t *docs = NULL;
    int rc = open_docs(&k, p, c, "doc_remove", host, &docs, err);
    if (rc < 0)
        return rc;
    json_object_del(docs, name);
    return tn_fake_leave(&k, rc, err);
}
