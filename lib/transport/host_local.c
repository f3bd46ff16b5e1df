/* This host: files through lib/base/fs, commands through run, sockets of this kernel. */
#include "lib/transport/host.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "turnout/clock.h"
#include "turnout/fs.h"
#include "turnout/mem.h"
#include "lib/transport/run.h"

#define ANSWER_MAX      ((size_t)4 << 20)
#define BACKLOG_WAIT_MS 10

static int local_run(struct tn_host *h, struct tn_cancel *c, const char *const *argv, const char *input,
                     int64_t timeout_ms, struct tn_run_result *out, struct tn_error **err)
{
    (void)h;
    struct tn_run_options o = {.argv = argv, .input = input, .timeout_ms = timeout_ms};
    return tn_run(c, &o, out, err);
}

static char *local_read(struct tn_host *h, const char *path, size_t max, size_t *out_len,
                        struct tn_error **err)
{
    (void)h;
    return tn_fs_read(path, max, out_len, err);
}

static int local_write(struct tn_host *h, const char *path, const void *data, size_t len, mode_t mode,
                       struct tn_error **err)
{
    (void)h;
    return tn_fs_write_atomic(path, data, len, mode, err);
}

static int local_remove(struct tn_host *h, const char *path, struct tn_error **err)
{
    (void)h;
    if (unlink(path) < 0 && errno != ENOENT)
        return tn_error_errno(err, TN_EIO, errno, "file '%s': cannot be removed", path);
    return TN_OK;
}

struct talk {
    struct tn_cancel *c;
    const char *address, *name;
    int64_t deadline, timeout_ms;
    int fd, set;
    struct tn_error **err;
};

static int late(const struct talk *t)
{
    return tn_error_set(t->err, TN_ETIMEOUT, "socket '%s': no whole answer after %lld ms", t->address,
                        (long long)t->timeout_ms);
}

/* tn_wait_fd waits for reading only: an epoll set turns "may be written" into that. */
static int await(const struct talk *t, uint32_t events)
{
    struct epoll_event ev = {.events = events};
    if (epoll_ctl(t->set, EPOLL_CTL_MOD, t->fd, &ev) < 0)
        return tn_error_errno(t->err, TN_EFAIL, errno, "socket '%s': cannot be watched", t->address);
    int rc = tn_wait_fd(t->c, t->name, t->set, t->deadline, t->err);
    return rc < 0 ? rc : rc == 0 ? late(t) : TN_OK;
}

static int refused(const struct talk *t, int os_errno)
{
    enum tn_code code = os_errno == EACCES || os_errno == EPERM ? TN_EAUTH : TN_EUNREACHABLE;
    return tn_error_errno(t->err, code, os_errno, "socket '%s': cannot connect", t->address);
}

static int connect_to(struct talk *t, const struct sockaddr *sa, socklen_t len)
{
    t->fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct epoll_event ev = {.events = 0};
    if (t->fd < 0 || epoll_ctl(t->set, EPOLL_CTL_ADD, t->fd, &ev) < 0)
        return tn_error_errno(t->err, TN_EFAIL, errno, "socket '%s': cannot be made", t->address);
    while (connect(t->fd, sa, len) < 0) {
        int e = errno;
        if (e == EINPROGRESS) {
            int rc = await(t, EPOLLOUT);
            socklen_t n = sizeof(e);
            if (rc == TN_OK && getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &e, &n) == 0 && e != 0)
                rc = refused(t, e);
            return rc;
        }
        if (e != EAGAIN && e != EINTR)
            return refused(t, e);
        /* A unix listener whose backlog is full; nothing tells when it has room again. */
        int64_t next = tn_mono_ms() + BACKLOG_WAIT_MS;
        if (next >= t->deadline)
            return late(t);
        int rc = tn_wait_fd(t->c, t->name, -1, next, t->err);
        if (rc < 0)
            return rc;
    }
    return TN_OK;
}

static int connect_unix(struct talk *t)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    size_t n = strlen(t->address);
    if (n >= sizeof(sa.sun_path))
        return tn_error_set(t->err, TN_ELIMIT, "socket '%s': longer than %zu bytes", t->address,
                            sizeof(sa.sun_path) - 1);
    memcpy(sa.sun_path, t->address, n + 1);
    return connect_to(t, (const struct sockaddr *)&sa, sizeof(sa));
}

static int connect_tcp(struct talk *t)
{
    const char *colon = strrchr(t->address, ':');
    if (!colon || colon == t->address || !colon[1])
        return tn_error_set(t->err, TN_EFAIL, "socket '%s': neither a path nor host:port", t->address);
    size_t n = (size_t)(colon - t->address);
    bool brackets = t->address[0] == '[' && t->address[n - 1] == ']';
    tn_autofree char *host = brackets ? tn_strndup(t->address + 1, n - 2) : tn_strndup(t->address, n);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    int e = getaddrinfo(host, colon + 1, &hints, &found);
    if (e != 0)
        return tn_error_set(t->err, TN_EUNREACHABLE, "socket '%s': %s", t->address, gai_strerror(e));
    int rc = TN_EUNREACHABLE;
    for (struct addrinfo *a = found; a; a = a->ai_next) {
        tn_cleanup_close(&t->fd);
        t->fd = -1;
        rc = connect_to(t, a->ai_addr, a->ai_addrlen);
        if (rc != TN_EUNREACHABLE)
            break;
    }
    freeaddrinfo(found);
    return rc;
}

static int send_all(const struct talk *t, const char *p, size_t len)
{
    while (len > 0) {
        ssize_t n = send(t->fd, p, len, MSG_NOSIGNAL);
        if (n >= 0) {
            p += n;
            len -= (size_t)n;
            continue;
        }
        if (errno != EAGAIN && errno != EINTR)
            return tn_error_errno(t->err, TN_EUNKNOWN, errno, "socket '%s': cannot send", t->address);
        int rc = await(t, EPOLLOUT);
        if (rc < 0)
            return rc;
    }
    return TN_OK;
}

static int receive_all(const struct talk *t, struct tn_buf *out)
{
    char piece[16384];
    for (;;) {
        ssize_t n = recv(t->fd, piece, sizeof(piece), 0);
        if (n == 0)
            return TN_OK;
        if (n > 0) {
            tn_buf_add(out, piece, (size_t)n);
            if (out->overflow)
                return tn_error_set(t->err, TN_ELIMIT, "socket '%s': the answer is longer than %zu bytes",
                                    t->address, out->max);
            continue;
        }
        if (errno != EAGAIN && errno != EINTR)
            return tn_error_errno(t->err, TN_EUNKNOWN, errno, "socket '%s': cannot read", t->address);
        int rc = await(t, EPOLLIN);
        if (rc < 0)
            return rc;
    }
}

static int local_talk(struct tn_host *h, struct tn_cancel *c, const char *address, const char *request,
                      int64_t timeout_ms, struct tn_buf *out, struct tn_error **err)
{
    (void)h;
    tn_autofree char *name = tn_format("answer of socket '%s'", address);
    if (out->max == 0)
        out->max = ANSWER_MAX;
    struct talk t = {
        .c = c, .address = address, .name = name, .timeout_ms = timeout_ms, .fd = -1, .err = err};
    t.deadline = timeout_ms > 0 ? tn_mono_ms() + timeout_ms : INT64_MAX;
    t.set = epoll_create1(EPOLL_CLOEXEC);
    if (t.set < 0)
        return tn_error_errno(err, TN_EFAIL, errno, "socket '%s': cannot be watched", address);
    int rc = address[0] == '/' ? connect_unix(&t) : connect_tcp(&t);
    if (rc == TN_OK)
        rc = send_all(&t, request, strlen(request));
    if (rc == TN_OK)
        rc = receive_all(&t, out);
    tn_cleanup_close(&t.fd);
    tn_cleanup_close(&t.set);
    return rc;
}

static void local_free(struct tn_host *h)
{
    free(h->name);
    free(h);
}

static const struct tn_host_ops local_ops = {
    .run = local_run,
    .read = local_read,
    .write = local_write,
    .remove = local_remove,
    .talk = local_talk,
    .free = local_free,
};

struct tn_host *tn_host_local(void)
{
    struct tn_host *h = tn_alloc(sizeof(*h));
    h->ops = &local_ops;
    h->name = tn_strdup("localhost");
    h->local = true;
    return h;
}

void tn_host_free(struct tn_host *h)
{
    if (h)
        h->ops->free(h);
}
