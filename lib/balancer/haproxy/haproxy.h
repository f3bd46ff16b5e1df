/* haproxy.h - the parts of the HAProxy driver, private to this folder.
 *
 *   check.c    is a value fit for a configuration line? Typed values go in, never text
 *   slots.c    which server goes into which slot (pure)
 *   file.c     the owned file: writing (pure)
 *   read.c     the owned file: reading back (pure)
 *   answer.c   answers of the runtime API (pure)
 *   command.c  commands for the runtime API (pure)
 *   kernel.c   what the kernel knows of requests that older workers still carry
 *   managed.c  HAProxy as a program of ours, under the shim
 *   link.c     the two channels: runtime API and probe frontend
 *   apply.c    the one operation that changes anything
 *   left.c     servers that left the file
 *   confirm.c  its wait for new servers to have answered
 *   haproxy.c  the driver: observe, current, remove, doctor
 *
 * A backend has fixed slots s1..sN. A slot is free, serves an instance, or is being left by one: it then keeps the
 * address, out of rotation, so that its running requests can be counted, until somebody else needs the slot.
 */
#ifndef TN_BALANCER_HAPROXY_HAPROXY_H
#define TN_BALANCER_HAPROXY_HAPROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/balancer/balancer.h"
#include "turnout/buf.h"
#include "lib/base/hash.h"
#include "turnout/mem.h"

enum {
    TN_HAPROXY_FILE_MAX = 1 << 20,
    TN_HAPROXY_ANSWER_MAX = 8 << 20,
    TN_HAPROXY_BACKENDS_MAX = 256,
    TN_HAPROXY_SLOTS_MAX = 1024,
    TN_HAPROXY_GENERATION = 12, /* hex digits */
};

/* ---- check.c */
bool tn_haproxy_is_name(const char *s);             /* letters digits _ . -, at most 128 */
bool tn_haproxy_is_path(const char *s, bool query); /* begins with /, only characters that need no quoting */
bool tn_haproxy_is_expect(const char *s);           /* 200 · 200-299 · 200,204 */
bool tn_haproxy_expects(const char *expect, int status);
/* The numeric address in its one canonical form; false when it is not numeric. */
bool tn_haproxy_address(const char *s, char out[64]);
/* "addr:port", "[v6]:port", ":port", "*:port", "localhost:port" → canonical host ("*" for any) and port. */
bool tn_haproxy_listen(const char *s, char host[64], int *port);
const char *tn_haproxy_balance(const char *plan_word); /* HAProxy's word for it; NULL when unknown */
/* Everything in `want` is fit to be written. TN_EPLAN names what is not. */
int tn_haproxy_check(const struct tn_traffic *want, struct tn_error **err);
/* Managed: no two upstreams want the same requests. Otherwise the routes are the user's: none may be asked for. */
int tn_haproxy_check_routes(const struct tn_traffic *want, bool managed, struct tn_error **err);

/* ---- the owned file as data */
enum tn_haproxy_use { TN_HAPROXY_FREE, TN_HAPROXY_SERVES, TN_HAPROXY_LEAVING };
struct tn_haproxy_slot {
    enum tn_haproxy_use use;
    char *instance; /* NULL when free */
    char *address;  /* canonical; NULL when free */
    int port;
    int weight; /* as in the plan */
    bool backup;
};
struct tn_haproxy_backend {
    struct tn_upstream upstream; /* owned; its servers stay empty, the slots hold them */
    struct tn_haproxy_slot *slots;
    size_t n_slots, cap_slots;
};
struct tn_haproxy_file {
    struct tn_haproxy_backend *v;
    size_t n, cap;
    char generation[TN_HAPROXY_GENERATION +
                    1]; /* of the structure: all but the slots' contents; "" when unknown */
};
void tn_haproxy_file_clear(struct tn_haproxy_file *f);
static inline void tn_cleanup_haproxy_file(struct tn_haproxy_file *f)
{
    tn_haproxy_file_clear(f);
}
#define tn_autohaproxyfile __attribute__((cleanup(tn_cleanup_haproxy_file))) struct tn_haproxy_file
struct tn_haproxy_backend *tn_haproxy_find(const struct tn_haproxy_file *f, const char *backend);
/* Index of the slot that serves the instance, or -1. */
int tn_haproxy_slot_of(const struct tn_haproxy_backend *b, const char *instance);

/* Whose file it is, and where its probe frontend listens. All borrowed. */
struct tn_haproxy_identity {
    const char *app, *environment, *balancer;
    const char *probe_bind; /* bind argument: unix@… or address:port */
    const char *listen;     /* managed: the traffic frontend's address:port; NULL = the user's HAProxy */
};
/* Name of the probe frontend: turnout-APP[-ENV]-BALANCER-GENERATION. Only with it does a listing of the runtime prove
 * which structure is loaded. Caller frees. */
char *tn_haproxy_frontend(const struct tn_haproxy_identity *id, const char *generation);
/* The whole file. Sets f->generation. Caller frees. */
char *tn_haproxy_render(const struct tn_haproxy_identity *id, struct tn_haproxy_file *f);

enum tn_haproxy_owner { TN_HAPROXY_EMPTY, TN_HAPROXY_OURS, TN_HAPROXY_EDITED, TN_HAPROXY_STRANGER };
/* Whose text it is. Blank counts as empty: HAProxy does not start when a file named by -f is missing, so people create
 * an empty one first. */
enum tn_haproxy_owner tn_haproxy_owner(const struct tn_haproxy_identity *id, const char *text, size_t len);
/* Reads back what tn_haproxy_render wrote. TN_EPROTO, TN_ELIMIT; *out is then empty. */
int tn_haproxy_read(const char *text, size_t len, struct tn_haproxy_file *out, struct tn_error **err);
void tn_haproxy_to_traffic(const struct tn_haproxy_file *f, struct tn_traffic *out);

/* ---- answer.c */
struct tn_haproxy_server {
    char *backend, *name; /* name: s1 … */
    char *address;        /* NULL when the runtime did not say */
    int port, weight;
    unsigned admin;   /* bits of srv_admin_state */
    int operational;  /* srv_op_state: 0 stopped, 1 starting, 2 running, 3 stopping */
    char check[16];   /* check_status: "L7OK"; "" before the first */
    int64_t running;  /* scur + qcur */
    int64_t answered; /* answers that came from this server */
    bool up;          /* status is "UP"; "UP 1/2" is not */
    bool has_state, has_stat;
};
struct tn_haproxy_runtime {
    struct tn_haproxy_server *v;
    size_t n, cap;
    int64_t pid;
    bool stopping;
    bool generation_loaded; /* the frontend that was asked for is there */
};
void tn_haproxy_runtime_clear(struct tn_haproxy_runtime *r);
static inline void tn_cleanup_haproxy_runtime(struct tn_haproxy_runtime *r)
{
    tn_haproxy_runtime_clear(r);
}
#define tn_autohaproxyruntime __attribute__((cleanup(tn_cleanup_haproxy_runtime))) struct tn_haproxy_runtime
/* Reads the answers to TN_HAPROXY_ASK, keeping servers of the backends in `ours`. `frontend` may be NULL.
 * Columns are found by their names in the header lines. TN_EPROTO when a header or the pid is missing. */
#define TN_HAPROXY_ASK "show info; show stat -1 5 -1; show servers state"
int tn_haproxy_answer(const char *text, const struct tn_haproxy_file *ours, const char *frontend,
                      struct tn_haproxy_runtime *out, struct tn_error **err);
const struct tn_haproxy_server *tn_haproxy_server(const struct tn_haproxy_runtime *r, const char *backend,
                                                  size_t slot);
bool tn_haproxy_in_rotation(const struct tn_haproxy_server *s);
bool tn_haproxy_in_maint(const struct tn_haproxy_server *s);
bool tn_haproxy_at(const struct tn_haproxy_server *s,
                   const struct tn_haproxy_slot *slot); /* same address and port */
/* A check of what is there now has passed. Measured on 2.6: at first a server is "UP" with the check "INI"; one that comes
 * from maintenance is "UP 1/2" and still shows the last check of whoever had the slot before (L7OK), until its own first
 * check makes it "UP" (`fall 2 rise 1` leaves that distance). */
bool tn_haproxy_checked(const struct tn_haproxy_server *s);

/* ---- slots.c */
/* The next file: every server of `want` has a slot. Instances keep their slots; those that are no longer wanted leave
 * theirs; new ones take free slots, then slots whose last request is over (`runtime`), then new slots at the end.
 * `trim` drops free slots beyond what is wanted: only when a reload comes anyway. Pure. */
void tn_haproxy_assign(const struct tn_haproxy_file *old, const struct tn_traffic *want,
                       const struct tn_haproxy_runtime *runtime, bool trim, struct tn_haproxy_file *out);
/* What `weight` is in the file: the smallest whole numbers with the same shares. */
int tn_haproxy_divisor(const struct tn_haproxy_backend *b);

/* ---- command.c */
enum tn_haproxy_phase { TN_HAPROXY_ADMIT, TN_HAPROXY_TAKE_OUT };
/* Commands that bring the runtime to the file, separated by "; ", at most `max` of the slots that differ; returns how
 * many slots differ in this phase (0: nothing to do, *out empty). Pure. */
size_t tn_haproxy_commands(const struct tn_haproxy_file *f, const struct tn_haproxy_runtime *r,
                           enum tn_haproxy_phase phase, size_t max, struct tn_buf *out);
/* Every slot of the file exists in the runtime. */
bool tn_haproxy_has_slots(const struct tn_haproxy_file *f, const struct tn_haproxy_runtime *r);

/* ---- kernel.c */
/* Another worker of the same HAProxy than `pid` still lives (it may carry requests that `pid` knows nothing of). */
bool tn_haproxy_old_workers(int64_t pid);
/* Established connections to address:port in the text of /proc/net/tcp or tcp6. Pure. */
int64_t tn_haproxy_established(const char *proc_net_tcp, const char *address, int port);
int64_t tn_haproxy_connections(const char *address, int port);

/* ---- the driver */
struct tn_haproxy_left {
    char *upstream; /* NULL when the caller did not say */
    char *instance, *address;
    int port;
};
struct tn_haproxy {
    struct tn_balancer_driver base;
    char *file, *socket, *probe, *probe_bind, *listen;
    char *managed_dir, *run_dir; /* NULL = the user's HAProxy */
    char *program;               /* managed: found on first use */
    int dir_fd; /* managed, when the folder's name is too long for a socket address; else -1 */
    struct tn_haproxy_identity id;
    int64_t timeout;
    struct tn_haproxy_left *left; /* see left.c */
    size_t n_left, cap_left;
};

/* ---- left.c */
/* Servers that are no longer in the file: an old worker may still carry their requests. */
void tn_haproxy_note_left(struct tn_haproxy *h, const struct tn_haproxy_file *old,
                          const struct tn_haproxy_file *now);
int tn_haproxy_watch_drain(struct tn_balancer_driver *b, const char *instance, const char *address, int port,
                           struct tn_error **err);
/* Adds a row for each of them that has none. `pid` 0: HAProxy does not run. */
void tn_haproxy_observe_left(const struct tn_haproxy *h, int64_t pid, struct tn_balancer_status *out);
void tn_haproxy_left_clear(struct tn_haproxy *h);

/* ---- link.c */
/* What runs. TN_EUNREACHABLE when HAProxy does not answer. Requests that older workers carry are counted in. */
int tn_haproxy_ask(struct tn_haproxy *h, struct tn_cancel *c, const struct tn_haproxy_file *ours,
                   struct tn_haproxy_runtime *out, struct tn_error **err);
int tn_haproxy_tell(struct tn_haproxy *h, struct tn_cancel *c, const char *commands, struct tn_buf *answer,
                    struct tn_error **err);
/* One request of ours to this slot. Returns its status, or a negative code. */
int tn_haproxy_probe(struct tn_haproxy *h, struct tn_cancel *c, const struct tn_upstream *u, size_t slot,
                     struct tn_error **err);
/* The file on disk: bytes and meaning. *text NULL when absent. An edited file that cannot be read is empty in *out. */
int tn_haproxy_load(struct tn_haproxy *h, char **text, size_t *len, enum tn_haproxy_owner *owner,
                    struct tn_haproxy_file *out, struct tn_error **err);

/* ---- managed.c */
/* Finds the names of the sockets once the folder is there (`create`: makes it). Nothing to do for the user's. */
int tn_haproxy_prepare(struct tn_haproxy *h, bool create, struct tn_error **err);
bool tn_haproxy_runs(const struct tn_haproxy *h);
int tn_haproxy_program(struct tn_haproxy *h, struct tn_error **err);
int tn_haproxy_start(struct tn_haproxy *h, struct tn_cancel *c, struct tn_error **err);
int tn_haproxy_keep(struct tn_haproxy *h, struct tn_error **err); /* from now on the shim restarts it */
int tn_haproxy_stop(struct tn_haproxy *h, struct tn_cancel *c, struct tn_error **err);
int tn_haproxy_wipe(struct tn_haproxy *h, struct tn_cancel *c,
                    struct tn_error **err); /* stopped, and nothing is left */
/* Bytes of output so far, and the first alert after so many bytes (it is the one that names the reason). Caller frees;
 * NULL when there is none. */
size_t tn_haproxy_output(const struct tn_haproxy *h);
char *tn_haproxy_complaint(const struct tn_haproxy *h, size_t from);

/* ---- apply.c */
int tn_haproxy_apply(struct tn_balancer_driver *b, struct tn_cancel *c, const struct tn_traffic *want,
                     const char *const *confirm_new, size_t n_confirm, bool force, char **note,
                     struct tn_error **err);
int tn_haproxy_differs(struct tn_balancer_driver *b, struct tn_cancel *c, const struct tn_traffic *want,
                       struct tn_error **err);

#endif
