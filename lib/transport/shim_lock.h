/* shim_lock.h - who holds a run folder. Internal to the shim.
 *
 * Processes are named by pid and start time and then held by a pidfd, so that a number used again is never
 * signalled.
 */
#ifndef TN_TRANSPORT_SHIM_LOCK_H
#define TN_TRANSPORT_SHIM_LOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "turnout/error.h"

/* Takes the lock for this process and writes its mark. TN_EHELD when another shim has it. *out_fd is CLOEXEC.
 * */
int tn_shim_lock_take(const char *dir, int *out_fd, struct tn_error **err);
bool tn_shim_lock_held(const char *dir);
/* The holder, by pidfd (the caller closes it). TN_ENOTFOUND: nobody holds it. TN_EBUSY: just taken, no mark
 * yet. */
int tn_shim_lock_owner(const char *dir, pid_t *out_pid, int *out_pidfd, struct tn_error **err);

/* From /proc/PID/stat; false when there is no such process. Either may be NULL. */
bool tn_process_stat(pid_t pid, pid_t *out_parent, uint64_t *out_start_time);
/* SIGKILL to every process that carries TURNOUT_SHIM_DIR=dir: what a killed shim left. Waits for their end.
 * */
void tn_shim_sweep(const char *dir);

#endif
