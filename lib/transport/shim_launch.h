/* shim_launch.h - starting a shim process. Internal to the shim and to what watches run folders. */
#ifndef TN_TRANSPORT_SHIM_LAUNCH_H
#define TN_TRANSPORT_SHIM_LAUNCH_H

#include <stdint.h>
#include <sys/inotify.h>

#include "turnout/cancel.h"

/* What a shim does to its folder: new records (renamed in), the lock written, the lock closed at its end,
 * output. */
#define TN_SHIM_CHANGES (IN_CREATE | IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF)
/* Empties an inotify descriptor (non-blocking). */
void tn_shim_changes_read(int fd);

/* Launches `turnout __shim DIR` detached from this process and waits until its program runs, has failed, or
 * another shim has the folder already. `dir` is canonical. The reason of a failed start is in err; the run
 * folder has it too. The executable is /proc/self/exe, or TURNOUT_SHIM_EXE (for programs that link the
 * library). */
int tn_shim_launch(struct tn_cancel *c, const char *dir, int64_t deadline_ms, struct tn_error **err);

#endif
