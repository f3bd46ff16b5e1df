/* records.h - revisions that served, kept in the target so that any machine can go back: documents
 * `rev-KEY-SERVICE.CLUSTER.NNNNNNNN` (a dot is in no name) on the cluster's first host, newest = highest number. */
#ifndef TN_ROLLOUT_RECORDS_H
#define TN_ROLLOUT_RECORDS_H

#include "lib/rollout/session.h"

struct tn_kept {
    int64_t number;
    char revision[13];
    json_t *spec;
    int replicas;
};
struct tn_kepts {
    struct tn_kept *v; /* newest first */
    size_t n, cap;
};
void tn_kepts_clear(struct tn_kepts *k);
int tn_records_list(struct tn_session *s, const char *service, const char *cluster, struct tn_kepts *out,
                    struct tn_error **err);
/* Makes this revision the newest (an older record of it goes); drops what is beyond `keep` + 1, the one that serves. */
int tn_records_add(struct tn_session *s, const char *service, const char *cluster, const char *revision,
                   const json_t *spec, int replicas, int keep, struct tn_error **err);
/* All records of the application in a cluster. */
int tn_records_forget(struct tn_session *s, const char *cluster, struct tn_error **err);

#endif
