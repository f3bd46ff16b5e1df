#include "lib/rollout/records.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "turnout/clock.h"
#include "lib/base/hash.h"
#include "turnout/mem.h"

static char *record_prefix(const struct tn_session *s, const char *service, const char *cluster)
{
    tn_autofree char *id = tn_format("%s\n%s", s->plan->name, s->plan->environment);
    char hex[TN_SHA256_HEX];
    tn_sha256_hex(id, strlen(id), hex);
    return service ? tn_format("rev-%.12s-%s.%s.", hex, service, cluster) : tn_format("rev-%.12s-", hex);
}

void tn_kepts_clear(struct tn_kepts *k)
{
    for (size_t i = 0; i < k->n; i++)
        json_decref(k->v[i].spec);
    free(k->v);
    memset(k, 0, sizeof(*k));
}

static int newest_first(const void *a, const void *b)
{
    int64_t x = ((const struct tn_kept *)a)->number, y = ((const struct tn_kept *)b)->number;
    return x < y ? 1 : x > y ? -1 : 0;
}

int tn_records_list(struct tn_session *s, const char *service, const char *cluster, struct tn_kepts *out,
                    struct tn_error **err)
{
    struct tn_provider *p = tn_session_site(s, cluster)->provider;
    tn_autofree char *prefix = record_prefix(s, service, cluster);
    struct tn_docs docs = {0};
    int rc = p->ops->doc_list(p, s->cancel, 0, prefix, &docs, err);
    for (size_t i = 0; rc >= 0 && i < docs.n; i++) {
        int64_t number = 0;
        int used = 0;
        const char *rest = docs.v[i].name + strlen(prefix);
        const char *revision = json_string_value(json_object_get(docs.v[i].body, "revision"));
        json_t *spec = json_object_get(docs.v[i].body, "spec");
        if (sscanf(rest, "%" SCNd64 "%n", &number, &used) != 1 || rest[used] || !revision ||
            !json_is_object(spec))
            continue;
        TN_GROW(out->v, out->n, out->cap);
        struct tn_kept *k = &out->v[out->n++];
        memset(k, 0, sizeof(*k));
        k->number = number;
        snprintf(k->revision, sizeof(k->revision), "%s", revision);
        k->spec = json_incref(spec);
        k->replicas = (int)json_integer_value(json_object_get(docs.v[i].body, "replicas"));
    }
    if (out->n)
        qsort(out->v, out->n, sizeof(*out->v), newest_first);
    tn_docs_clear(&docs);
    return rc;
}

int tn_records_add(struct tn_session *s, const char *service, const char *cluster, const char *revision,
                   const json_t *spec, int replicas, int keep, struct tn_error **err)
{
    struct tn_provider *p = tn_session_site(s, cluster)->provider;
    struct tn_kepts kept = {0};
    tn_autofree char *prefix = record_prefix(s, service, cluster);
    int rc = tn_records_list(s, service, cluster, &kept, err);
    int64_t number = kept.n ? kept.v[0].number : 0;
    if (rc >= 0 && (kept.n == 0 || strcmp(kept.v[0].revision, revision) != 0)) {
        tn_autofree char *name = tn_format("%s%08" PRId64, prefix, number + 1);
        char at[32];
        json_t *existing = NULL,
               *body = json_pack("{s:s,s:O,s:i,s:s,s:s*}", "revision", revision, "spec", spec, "replicas",
                                 replicas, "at", tn_format_time(tn_wall_ms(), at, sizeof(at)), "rollout",
                                 s->rollout);
        rc = p->ops->doc_create(p, s->cancel, 0, name, body, &existing, err);
        json_decref(existing);
        json_decref(body);
    }
    size_t others = 0;
    for (size_t i = 0; rc >= 0 && i < kept.n; i++) {
        bool same = strcmp(kept.v[i].revision, revision) == 0;
        others += !same;
        if (same ? i == 0 : others <= (size_t)(keep < 1 ? 1 : keep))
            continue;
        tn_autofree char *name = tn_format("%s%08" PRId64, prefix, kept.v[i].number);
        rc = p->ops->doc_remove(p, s->cancel, 0, name, err);
    }
    tn_kepts_clear(&kept);
    return rc;
}

static int forget_prefix(struct tn_session *s, struct tn_provider *p, size_t host, const char *prefix,
                         struct tn_error **err)
{
    struct tn_docs docs = {0};
    int rc = p->ops->doc_list(p, s->cancel, host, prefix, &docs, err);
    for (size_t i = 0; rc >= 0 && i < docs.n; i++)
        rc = p->ops->doc_remove(p, s->cancel, host, docs.v[i].name, err);
    tn_docs_clear(&docs);
    return rc;
}

int tn_records_forget(struct tn_session *s, const char *cluster, struct tn_error **err)
{
    struct tn_provider *p = tn_session_site(s, cluster)->provider;
    tn_autofree char *records = record_prefix(s, NULL, NULL);
    int rc = TN_OK;
    for (size_t h = 0; h < p->n_hosts && rc >= 0; h++)
        rc = forget_prefix(s, p, h, records, err);
    return rc;
}
