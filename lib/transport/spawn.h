/* spawn.h - one program, started by fork and exec in its own process group.
 *
 * Nothing of ours leaks into it: descriptors other than 0, 1, 2 are closed at exec, signal dispositions and
 * the mask are the defaults. A failure of exec comes back to the caller as an error.
 */
#ifndef TN_TRANSPORT_SPAWN_H
#define TN_TRANSPORT_SPAWN_H

#include <stdbool.h>
#include <sys/types.h>

#include "turnout/error.h"

struct tn_spawn {
    const char *const *argv; /* looked up in PATH (of `env`) when argv[0] has no slash */
    const char *const *env;  /* the whole environment, NAME=VALUE, NULL-terminated; NULL = ours */
    const char *cwd;         /* NULL = ours */
    int in, out, err;        /* become 0, 1, 2; -1 = /dev/null */
    bool die_with_parent;    /* SIGKILL when the calling thread ends */
};
/* The caller reaps *out_pid. *out_pidfd (CLOEXEC) is the caller's to close; -1 on Linux before 5.3. Nothing is left behind on
 * failure. TN_ENOTFOUND: the program (or its folder) does not exist; TN_EFAIL: it cannot be run; os_errno is
 * set. */
int tn_spawn(const struct tn_spawn *s, pid_t *out_pid, int *out_pidfd, struct tn_error **err);

#endif
