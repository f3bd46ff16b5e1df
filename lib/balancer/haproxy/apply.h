/* apply.h - one run of tn_haproxy_apply, as its parts see it. */
#ifndef TN_BALANCER_HAPROXY_APPLY_H
#define TN_BALANCER_HAPROXY_APPLY_H

#include "lib/balancer/haproxy/haproxy.h"

struct tn_haproxy_run {
    struct tn_haproxy *h;
    struct tn_cancel *c;
    const struct tn_traffic *want;
    char *before; /* bytes on disk; NULL when absent */
    size_t before_len;
    struct tn_haproxy_file old, next;
    char *text; /* of next */
    struct tn_haproxy_runtime runtime;
    size_t output_before; /* bytes that haproxy had said before it was told to load */
    bool running, written, reloaded, changed;
    struct tn_error **err;
};

/* What runs of the backends in `f`, into a->runtime. */
int tn_haproxy_look(struct tn_haproxy_run *a, const struct tn_haproxy_file *f);
int tn_haproxy_pause_for(struct tn_haproxy_run *a, const char *name);
/* Waits until each named instance is up by a real check and has answered a request of ours (its own counter rose). */
int tn_haproxy_confirm(struct tn_haproxy_run *a, const char *const *names, size_t n_names);

#endif
