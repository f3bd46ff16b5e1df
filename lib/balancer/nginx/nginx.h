/* nginx.h - the nginx balancer's inside. One object is used by one thread at a time.
 *
 * The owned file (owned.h) holds the upstreams and a loopback server that proves which configuration runs:
 * `/generation` answers with the file's hash, `/u/NAME/` passes a request of ours to an upstream. `nginx
 * -s reload` returns 0 even when the master then refuses, so only that answer counts.
 *
 * A server that left the file may still be sent requests by workers of before the reload. It is drained
 * when each worker that is older than the file is gone or shutting down, and then no connection from
 * nginx's network namespace to it was seen in two looks.
 *
 * On this host all that is read from /proc and asked over sockets. Elsewhere (in a container) one small
 * script of /bin/sh reads /proc, and curl or wget there asks.
 */
#ifndef TN_BALANCER_NGINX_NGINX_H
#define TN_BALANCER_NGINX_NGINX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "lib/balancer/balancer.h"
#include "lib/balancer/nginx/owned.h"
#include "lib/balancer/nginx/proc.h"

/* A server that left the file. */
struct tn_nginx_left {
    char *instance; /* may be NULL */
    struct tn_endpoint at;
    int64_t running;   /* connections in the last look, -1 cannot tell */
    int64_t looked_at; /* monotonic ms of the last quiet look, 0 = none */
    int quiet;         /* quiet looks in a row */
};
enum tn_nginx_asker { TN_ASK_UNDECIDED, TN_ASK_SOCKET, TN_ASK_CURL, TN_ASK_WGET };
struct tn_nginx {
    struct tn_balancer_driver base;
    enum tn_nginx_asker asker;
    struct tn_nginx_left *left;
    size_t n_left, cap_left;
    bool mount_checked;
    int64_t
        written_ms; /* since nginx's host booted, when we wrote the file; -1 = somebody else or we earlier */
};
static inline struct tn_nginx *tn_nginx_of(struct tn_balancer_driver *b)
{
    return (struct tn_nginx *)(void *)b; /* base is the first member */
}

/* ---- file.c: the file where nginx lives -------------------------------------------------------------- */
struct tn_nginx_file {
    char *text; /* NULL = absent */
    size_t len;
    struct timespec mtime;       /* on this host */
    struct tn_nginx_owned owned; /* empty when absent */
};
int tn_nginx_file_read(struct tn_nginx *n, struct tn_nginx_file *out, struct tn_error **err);
void tn_nginx_file_clear(struct tn_nginx_file *f);
/* Puts back what was read, byte for byte and with its time (absent: removes). `reload` says whether a
 * reload follows; without one the workers that run are still of the write before. */
int tn_nginx_file_put_back(struct tn_nginx *n, struct tn_cancel *c, const struct tn_nginx_file *old,
                           bool reload, struct tn_error **err);
/* Writes (text NULL: removes) and remembers when. */
int tn_nginx_file_write(struct tn_nginx *n, struct tn_cancel *c, const char *text, size_t len,
                        struct tn_error **err);
/* In a container: TN_EFAIL when the file itself is a mount point, because a rename over it is not seen
 * there. */
int tn_nginx_file_check_mount(struct tn_nginx *n, struct tn_cancel *c, struct tn_error **err);
/* The generation's address: of the plan, else of the old file, else a free port. */
int tn_nginx_pick_generation(struct tn_nginx *n, struct tn_cancel *c, const struct tn_nginx_file *old,
                             char out[TN_ENDPOINT_TEXT], struct tn_error **err);

/* ---- command.c: the tester and the reload ------------------------------------------------------------ */
/* TN_OK whatever the exit code is. A program that is not there, under a shell's codes too, is
 * TN_ENOTFOUND. */
int tn_nginx_run(struct tn_nginx *n, struct tn_cancel *c, const char *const *argv, struct tn_run_result *out,
                 struct tn_error **err);
int tn_nginx_test(struct tn_nginx *n, struct tn_cancel *c, struct tn_error **err);
int tn_nginx_reload(struct tn_nginx *n, struct tn_cancel *c, struct tn_error **err);
/* The words of a program for an error: the last lines as one, filtered and bounded. Caller frees. */
char *tn_nginx_words(const struct tn_run_result *r);

/* ---- probe.c: requests to the loopback server ---------------------------------------------------------- */
/* Decides how to ask; TN_EUNSUPPORTED when nothing there can. The other calls do this themselves. */
int tn_nginx_find_asker(struct tn_nginx *n, struct tn_cancel *c, struct tn_error **err);
/* `count` fresh connections ask for the generation. *same = how many of them gave `hash`; *other (caller
 * frees, may be NULL) = the last answer that was none. Stops at the first other one. TN_EUNREACHABLE:
 * nobody listens. */
int tn_nginx_ask_generation(struct tn_nginx *n, struct tn_cancel *c, const char *generation, const char *hash,
                            int count, int *same, char **other, struct tn_error **err);
/* Waits until TN_NGINX_FRESH fresh connections in a row give `hash`. TN_EFAIL at the deadline. */
#define TN_NGINX_FRESH 20
int tn_nginx_confirm_generation(struct tn_nginx *n, struct tn_cancel *c, const char *generation,
                                const char *hash, int64_t deadline, struct tn_error **err);
/* Waits until requests of ours are routed to `u`, and each server with need[i] has answered one. */
int tn_nginx_confirm_upstream(struct tn_nginx *n, struct tn_cancel *c, const char *generation,
                              const struct tn_upstream *u, bool *need, int64_t deadline,
                              struct tn_error **err);
/* One value of X-Turnout-Upstream: "addr, addr;time, time" (pure). *routed: it is from an upstream's
 * location. True when a server answered with a header; *out = that server. */
bool tn_nginx_route_parse(const char *value, size_t len, struct tn_endpoint *out);

/* ---- drain.c ------------------------------------------------------------------------------------------- */
void tn_nginx_left_add(struct tn_nginx *n, const char *instance, const struct tn_endpoint *at);
void tn_nginx_left_drop(struct tn_nginx *n, const struct tn_endpoint *at);
void tn_nginx_left_clear(struct tn_nginx *n);
/* One look: fills running, quiet of every server that left. `generation` finds the master. */
void tn_nginx_look(struct tn_nginx *n, struct tn_cancel *c, const char *generation);
/* Until no worker from before the reload takes requests, or two seconds. The generation's own port proves nothing of them
 * when the reload is the first one that opens it. */
int tn_nginx_wait_for_workers(struct tn_nginx *n, struct tn_cancel *c, const char *generation,
                              struct tn_error **err);
bool tn_nginx_left_drained(const struct tn_nginx_left *l);
/* Does a master process run there? False also when that cannot be told. */
bool tn_nginx_runs(struct tn_nginx *n, struct tn_cancel *c);

/* ---- look_local.c, look_remote.c: what a look is made of
 * ------------------------------------------------ */
struct tn_nginx_sight {
    bool processes; /* what follows on processes is known */
    bool master;    /* a master runs */
    bool old;       /* a worker older than the file still takes requests */
    bool counted;   /* left[i].running is filled */
};
void tn_nginx_sight_local(struct tn_nginx *n, const char *generation, struct tn_nginx_sight *out);
void tn_nginx_sight_remote(struct tn_nginx *n, struct tn_cancel *c, struct tn_nginx_sight *out);
/* Adds one connection to the counts, when it is one and its peer has left the file. */
void tn_nginx_count(struct tn_nginx *n, const struct tn_tcp_row *row);

/* ---- apply.c, doctor.c
 * ---------------------------------------------------------------------------------- */
int tn_nginx_apply(struct tn_balancer_driver *b, struct tn_cancel *c, const struct tn_traffic *want,
                   const char *const *confirm_new, size_t n_confirm, bool force, char **note,
                   struct tn_error **err);
int tn_nginx_differs(struct tn_balancer_driver *b, struct tn_cancel *c, const struct tn_traffic *want,
                     struct tn_error **err);
int tn_nginx_remove(struct tn_balancer_driver *b, struct tn_cancel *c, struct tn_error **err);
int tn_nginx_doctor(struct tn_balancer_driver *b, struct tn_cancel *c,
                    void (*report)(void *arg, bool ok, const char *text), void *arg, struct tn_error **err);

static inline int64_t tn_nginx_timeout(const struct tn_nginx *n)
{
    return n->base.config->apply_timeout > 0 ? n->base.config->apply_timeout : 10000;
}

#endif
