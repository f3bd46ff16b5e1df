/* host.h - files and commands on the host that a balancer (or a hook) lives on.
 *
 * Local now; in a container (through its engine's exec) by the docker provider; SSH will stand behind the same
 * interface. All calls block, honour the cancel token, and are bounded in time and size.
 */
#ifndef TN_TRANSPORT_HOST_H
#define TN_TRANSPORT_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "turnout/buf.h"
#include "turnout/cancel.h"

struct tn_run_result {
    int exit_code;          /* -1 when ended by a signal */
    int signal;             /* 0, or the signal */
    struct tn_buf out;      /* stdout, bounded */
    struct tn_buf err_text; /* stderr, bounded */
};
void tn_run_result_clear(struct tn_run_result *r);

struct tn_host;
struct tn_host_ops {
    /* MUST. Runs argv without a shell; `input` may be NULL. Not finding the program is TN_ENOTFOUND. */
    int (*run)(struct tn_host *h, struct tn_cancel *c, const char *const *argv, const char *input,
               int64_t timeout_ms, struct tn_run_result *out, struct tn_error **err);
    /* MUST. As tn_fs_read: TN_ENOTFOUND when absent. */
    char *(*read)(struct tn_host *h, const char *path, size_t max, size_t *out_len, struct tn_error **err);
    /* MUST. As tn_fs_write_atomic: the same folder, fsync, rename. */
    int (*write)(struct tn_host *h, const char *path, const void *data, size_t len, mode_t mode,
                 struct tn_error **err);
    /* MUST. Absent = success. */
    int (*remove)(struct tn_host *h, const char *path, struct tn_error **err);
    /* MAY (NULL = not possible here). One connection to a unix socket path or host:port: sends `request`, reads to
     * the end of the stream. TN_EUNREACHABLE when nobody listens. */
    int (*talk)(struct tn_host *h, struct tn_cancel *c, const char *address, const char *request,
                int64_t timeout_ms, struct tn_buf *out, struct tn_error **err);
    void (*free)(struct tn_host *h);
};
struct tn_host {
    const struct tn_host_ops *ops;
    char *name; /* for messages: "localhost", "container edge-nginx" */
    bool local; /* /proc and sockets of this kernel may be read directly */
};
struct tn_host *tn_host_local(void);
void tn_host_free(struct tn_host *h);

#endif
