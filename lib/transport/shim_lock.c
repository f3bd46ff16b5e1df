#include "lib/transport/shim_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "turnout/cancel.h"
#include "turnout/clock.h"
#include "turnout/fs.h"
#include "turnout/mem.h"
#include "turnout/text.h"

#define STAT_MAX      4096
#define ENVIRON_MAX   ((size_t)4 << 20)
#define SWEEP_WAIT_MS 2000
#define SWEEPS        8

bool tn_process_stat(pid_t pid, pid_t *out_parent, uint64_t *out_start_time)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    tn_autofree char *text = tn_fs_read(path, STAT_MAX, NULL, NULL);
    char *after = text ? strrchr(text, ')') : NULL; /* the name before it may hold anything */
    int parent;
    uint64_t start;
    if (!after ||
        sscanf(after, ") %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %" SCNu64,
               &parent, &start) != 2)
        return false;
    if (out_parent)
        *out_parent = parent;
    if (out_start_time)
        *out_start_time = start;
    return true;
}

int tn_shim_lock_take(const char *dir, int *out_fd, struct tn_error **err)
{
    tn_autofree char *path = tn_path_join(dir, "lock");
    tn_autoclose int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return tn_error_errno(err, TN_EIO, errno, "'%s'", path);
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_SETLK, &l) < 0)
        return tn_error_errno(err, errno == EAGAIN || errno == EACCES ? TN_EHELD : TN_EIO, errno, "'%s'",
                              path);
    (void)flock(fd, LOCK_EX | LOCK_NB); /* for people and flock(1) */
    uint64_t start = 0;
    char mark[64];
    (void)tn_process_stat(getpid(), NULL, &start);
    int n = snprintf(mark, sizeof(mark), "%d %" PRIu64 "\n", (int)getpid(), start);
    if (ftruncate(fd, 0) < 0 || pwrite(fd, mark, (size_t)n, 0) != n)
        return tn_error_errno(err, TN_EIO, errno, "'%s'", path);
    *out_fd = fd;
    fd = -1;
    return TN_OK;
}

bool tn_shim_lock_held(const char *dir)
{
    tn_autofree char *path = tn_path_join(dir, "lock");
    tn_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fd >= 0 && fcntl(fd, F_OFD_GETLK, &l) == 0 && l.l_type != F_UNLCK;
}

int tn_shim_lock_owner(const char *dir, pid_t *out_pid, int *out_pidfd, struct tn_error **err)
{
    if (!tn_shim_lock_held(dir))
        return tn_error_set(err, TN_ENOTFOUND, "'%s': no shim runs", dir);
    tn_autofree char *path = tn_path_join(dir, "lock");
    tn_autofree char *mark = tn_fs_read(path, 64, NULL, NULL);
    int pid;
    uint64_t start, now;
    if (!mark || sscanf(mark, "%d %" SCNu64, &pid, &start) != 2 || pid <= 1)
        return tn_error_set(err, TN_EBUSY, "'%s': the shim has just begun", dir);
    int pidfd = pidfd_open(pid, 0);
    if (pidfd >= 0 && tn_process_stat(pid, NULL, &now) && now == start) {
        *out_pid = pid;
        *out_pidfd = pidfd;
        return TN_OK;
    }
    if (pidfd >= 0)
        close(pidfd);
    /* The mark is an earlier holder's: the one of now has not written its own yet. */
    return tn_error_set(err, TN_EBUSY, "'%s': the shim has just begun", dir);
}

static bool carries(pid_t pid, const char *mark, size_t mark_len)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
    size_t len = 0;
    tn_autofree char *env = tn_fs_read(path, ENVIRON_MAX, &len, NULL);
    if (!env)
        return false;
    for (size_t at = 0; at < len; at += strlen(env + at) + 1)
        if (strlen(env + at) == mark_len && memcmp(env + at, mark, mark_len) == 0)
            return true;
    return false;
}

static bool sweep_one(pid_t pid, const char *mark, size_t mark_len)
{
    tn_autoclose int pidfd = pidfd_open(pid, 0);
    if (pidfd < 0 || !carries(pid, mark, mark_len) || pidfd_send_signal(pidfd, SIGKILL, NULL, 0) < 0)
        return false;
    (void)tn_wait_fd(NULL, "end of a leftover process", pidfd, tn_mono_ms() + SWEEP_WAIT_MS, NULL);
    return true;
}

static bool sweep_all(const char *mark)
{
    char **names = NULL;
    size_t n = 0;
    bool found = false;
    if (tn_fs_list("/proc", &names, &n, NULL) != TN_OK)
        return false;
    for (size_t i = 0; i < n; i++) {
        int64_t pid;
        if (tn_parse_int(names[i], &pid) && pid > 1 && pid != getpid() && pid <= INT32_MAX)
            found |= sweep_one((pid_t)pid, mark, strlen(mark));
    }
    tn_fs_list_free(names, n);
    return found;
}

void tn_shim_sweep(const char *dir)
{
    tn_autofree char *mark = tn_format("TURNOUT_SHIM_DIR=%s", dir);
    /* Again while something was found: it may have forked during the look. */
    for (int i = 0; i < SWEEPS && sweep_all(mark); i++) {
    }
}
