#include "lib/transport/shim_tail.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "turnout/fs.h"
#include "turnout/mem.h"
#include "lib/transport/shim_launch.h"
#include "lib/transport/shim_lock.h"

#define TAIL_MAX ((size_t)1 << 20)

static int open_log(const char *dir, const char *name)
{
    tn_autofree char *path = tn_path_join(dir, name);
    return open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

/* At most the last `max` bytes before `end`. */
static void read_last(int fd, off_t end, size_t max, struct tn_buf *out)
{
    char piece[65536];
    off_t at = end > (off_t)max ? end - (off_t)max : 0;
    while (fd >= 0 && at < end) {
        size_t want = end - at < (off_t)sizeof(piece) ? (size_t)(end - at) : sizeof(piece);
        ssize_t n = pread(fd, piece, want, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        tn_buf_add(out, piece, (size_t)n);
        at += n;
    }
}

static off_t size_of(int fd)
{
    struct stat st;
    return fd >= 0 && fstat(fd, &st) == 0 ? st.st_size : 0;
}

/* Where the last `lines` lines begin. */
static size_t line_start(const char *p, size_t n, int lines)
{
    if (lines <= 0)
        return 0;
    size_t at = n > 0 && p[n - 1] == '\n' ? n - 1 : n;
    for (; at > 0; at--)
        if (p[at - 1] == '\n' && --lines == 0)
            break;
    return at;
}

/* `now` and `before` are open (or -1), `end` is the size of `now` that counts. */
static void tail_of(int before, int now, off_t end, int lines, struct tn_buf *out)
{
    size_t max = out->max > 0 && out->max < TAIL_MAX ? out->max - 1 : TAIL_MAX - 1;
    tn_autobuf all = TN_BUF_INIT(TAIL_MAX);
    if (end < (off_t)max)
        read_last(before, size_of(before), max - (size_t)end, &all);
    read_last(now, end, max, &all);
    if (all.len == 0)
        return;
    size_t from = line_start(all.data, all.len, lines);
    tn_buf_add(out, all.data + from, all.len - from);
}

int tn_shim_tail(const char *dir, int lines, struct tn_buf *out, struct tn_error **err)
{
    tn_autoclose int now = open_log(dir, "output.log");
    if (now < 0 && errno != ENOENT)
        return tn_error_errno(err, TN_EIO, errno, "'%s/output.log'", dir);
    tn_autoclose int before = open_log(dir, "output.log.1");
    tail_of(before, now, size_of(now), lines, out);
    return TN_OK;
}

struct follow {
    const char *dir;
    int fd;
    off_t at;
    bool (*on_data)(void *arg, const char *data, size_t n);
    void *arg;
};

/* Everything from `at` on; false when the reader has had enough. */
static bool pump(struct follow *f)
{
    char piece[65536];
    for (;;) {
        ssize_t n = f->fd >= 0 ? pread(f->fd, piece, sizeof(piece), f->at) : 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return true;
        f->at += n;
        if (!f->on_data(f->arg, piece, (size_t)n))
            return false;
    }
}

/* Goes over to the new file after a rotation; true when it did. */
static bool next_file(struct follow *f)
{
    tn_autoclose int fd = open_log(f->dir, "output.log");
    struct stat a, b;
    if (fd < 0 || fstat(fd, &a) < 0 || (f->fd >= 0 && (fstat(f->fd, &b) < 0 || a.st_ino == b.st_ino)))
        return false;
    tn_cleanup_close(&f->fd);
    f->fd = fd;
    f->at = 0;
    fd = -1;
    return true;
}

static bool pump_all(struct follow *f)
{
    do {
        if (!pump(f))
            return false;
    } while (next_file(f));
    return true;
}

static bool first_part(struct follow *f, int lines)
{
    tn_autobuf text = TN_BUF_INIT(TAIL_MAX);
    tn_autoclose int before = open_log(f->dir, "output.log.1");
    f->fd = open_log(f->dir, "output.log");
    f->at = size_of(f->fd);
    tail_of(before, f->fd, f->at, lines, &text);
    return text.len == 0 || f->on_data(f->arg, text.data, text.len);
}

int tn_shim_follow(struct tn_cancel *c, const char *dir, int lines,
                   bool (*on_data)(void *arg, const char *data, size_t n), void *arg, struct tn_error **err)
{
    tn_autoclose int changes = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (changes < 0 || inotify_add_watch(changes, dir, TN_SHIM_CHANGES) < 0)
        return tn_error_errno(err, errno == ENOENT ? TN_ENOTFOUND : TN_EIO, errno, "run folder '%s'", dir);
    struct follow f = {.dir = dir, .fd = -1, .on_data = on_data, .arg = arg};
    int rc = TN_OK;
    bool more = first_part(&f, lines);
    while (more && rc >= 0) {
        bool alive = tn_shim_lock_held(dir); /* before the reading: nothing is written after it was free */
        more = pump_all(&f) && alive;
        if (!more)
            break;
        rc = tn_wait_fd(c, "output", changes, INT64_MAX, err);
        tn_shim_changes_read(changes);
    }
    tn_cleanup_close(&f.fd);
    return rc < 0 ? rc : TN_OK;
}
