/* balancer.h - what sends traffic: haproxy, nginx, fake. One object per balancer of the plan.
 *
 * Declarative and level-triggered: `apply` is given the whole wanted content of the file that we own (every upstream
 * of this balancer with its servers) and makes file and runtime equal to it; `observe` tells what really serves.
 * A balancer object is used by one thread at a time (the caller holds its lock); applies of several placements are
 * merged by the caller, so that reloads are coalesced.
 */
#ifndef TN_BALANCER_BALANCER_H
#define TN_BALANCER_BALANCER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "turnout/plan.h"
#include "turnout/cancel.h"
#include "lib/transport/host.h"

struct tn_http;

enum tn_tri { TN_NO = 0, TN_YES = 1, TN_CANNOT_TELL = 2 };

/* A server that should get (or, when drained, no longer get) traffic. */
struct tn_server {
    char *instance; /* name of the instance: letters digits . _ - */
    char *address;  /* numeric IPv4/IPv6 address; never a name */
    int port;
    int weight; /* 1..256 */
    bool backup;
};
struct tn_upstream {
    char *name; /* letters digits _ - . */
    char *service;
    char *host, *path; /* managed: route; NULL = everything */
    bool
        unrouted; /* managed: no route leads to it (its service left the plan); set by the caller each time */
    char *balance;
    int keepalive, max_fails; /* -1 unset */
    int64_t fail_timeout;     /* -1 unset */
    int slots;                /* servers that should fit without a reload: replicas + surge */
    /* probe through the balancer: how a request of ours looks */
    char *probe_path; /* health path, NULL = "/" */
    char *probe_expect;
    struct tn_server *servers;
    size_t n_servers, cap_servers;
};
struct tn_traffic {
    struct tn_upstream *v;
    size_t n, cap;
};
void tn_traffic_clear(struct tn_traffic *t);
struct tn_upstream *tn_traffic_find(const struct tn_traffic *t, const char *upstream);
/* Deep copy into an empty *out. */
void tn_traffic_copy(struct tn_traffic *out, const struct tn_traffic *t);

/* What the last hop says of one server. */
struct tn_server_status {
    char *upstream, *instance; /* instance NULL when only the address is known */
    char *address;
    int port, weight;
    enum tn_tri in_rotation; /* gets new requests */
    enum tn_tri drained;     /* out of rotation and no request or connection runs any more */
    int64_t running;         /* requests or connections still running; -1 cannot tell */
    int64_t answered;        /* answers so far (its own counter); -1 cannot tell */
};
struct tn_balancer_status {
    struct tn_server_status *v;
    size_t n, cap;
    bool answered; /* false: the balancer does not answer; nothing is known */
    bool loaded;   /* our file exists and is what the balancer runs */
    char *error;
    char *file_hash; /* sha256 of our file, NULL when absent */
    bool foreign;    /* the file exists and is not ours */
    bool edited;     /* it is ours, and was edited by hand since we wrote it */
};
void tn_balancer_status_clear(struct tn_balancer_status *s);

struct tn_balancer_driver;
struct tn_balancer_ops {
    const char *name;
    /* MUST. Read-only (a probe request through the balancer is no change). What it returns of servers that left the
     * file (still draining) is told by address. */
    int (*observe)(struct tn_balancer_driver *b, struct tn_cancel *c, struct tn_balancer_status *out,
                   struct tn_error **err);
    /* MUST. Makes file and runtime equal to `want`: file first (atomic, tested; put back byte for byte when the test
     * or the reload fails), then runtime or reload, then both are read back; returns only when the balancer itself
     * confirms that exactly these servers get new requests, and that each server in `confirm_new` (instance names,
     * may be none) has answered a request of ours, or fails. Equal already = no write, no reload.
     * Refuses a file that is not ours (TN_ESTRANGER) or was edited by hand since (TN_ESTALE) unless `force`.
     * *note (may be NULL): what happened, for the event ("reload, confirmed in 6ms"). */
    int (*apply)(struct tn_balancer_driver *b, struct tn_cancel *c, const struct tn_traffic *want,
                 const char *const *confirm_new, size_t n_confirm, bool force, char **note,
                 struct tn_error **err);
    /* MUST. What the file on disk says (ours): the traffic as last written. Empty when absent. */
    int (*current)(struct tn_balancer_driver *b, struct tn_cancel *c, struct tn_traffic *out,
                   struct tn_error **err);
    /* MUST. 1 when the owned file would read otherwise for `want`, 0 when it is just so; writes nothing (for diff). */
    int (*differs)(struct tn_balancer_driver *b, struct tn_cancel *c, const struct tn_traffic *want,
                   struct tn_error **err);
    /* MUST. destroy: takes our file out of service (managed: stops the balancer and removes it all).
     * TN_EBUSY: the user's own configuration still needs our upstreams; they stay, empty, and get no traffic: safe to
     * go on with stopping instances; message and hint say what is left. */
    int (*remove)(struct tn_balancer_driver *b, struct tn_cancel *c, struct tn_error **err);
    /* MAY (NULL = not needed). The caller wants drain rows for a server that is not in the file and that this object
     * did not take out itself (after a resume): from the next observe on it is reported by address like a server that
     * left. Twice is harmless. No I/O. TN_EUSAGE when the address is not numeric. */
    int (*watch_drain)(struct tn_balancer_driver *b, const char *instance, const char *address, int port,
                       struct tn_error **err);
    /* MAY. As the provider's. */
    int (*doctor)(struct tn_balancer_driver *b, struct tn_cancel *c,
                  void (*report)(void *arg, bool ok, const char *text), void *arg, struct tn_error **err);
    void (*free)(struct tn_balancer_driver *b);
};
struct tn_balancer_driver {
    const struct tn_balancer_ops *ops;
    const struct tn_balancer *config; /* borrowed */
    const char *app, *environment;    /* borrowed */
    struct tn_host *host;             /* owned */
};
/* `managed_dir` (haproxy managed on a process cluster): folder for configuration, socket and run folder; else NULL.
 * Takes `host`. */
struct tn_balancer_driver *tn_balancer_open(const struct tn_plan *plan, const struct tn_balancer *config,
                                            struct tn_host *host, const char *managed_dir,
                                            struct tn_http *http, struct tn_error **err);
void tn_balancer_driver_free(struct tn_balancer_driver *b);

struct tn_balancer_driver *tn_haproxy_open(const struct tn_plan *plan, const struct tn_balancer *config,
                                           struct tn_host *host, const char *managed_dir,
                                           struct tn_http *http, struct tn_error **err);
struct tn_balancer_driver *tn_nginx_open(const struct tn_plan *plan, const struct tn_balancer *config,
                                         struct tn_host *host, const char *managed_dir, struct tn_http *http,
                                         struct tn_error **err);
struct tn_balancer_driver *tn_fake_balancer_open(const struct tn_plan *plan, const struct tn_balancer *config,
                                                 struct tn_host *host, const char *managed_dir,
                                                 struct tn_http *http, struct tn_error **err);

#endif
