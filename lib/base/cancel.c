#include "turnout/cancel.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "turnout/clock.h"
#include "turnout/mem.h"

struct tn_cancel {
    atomic_int level;
    atomic_llong deadline;
    int fd;
};

struct tn_cancel *tn_cancel_new(void)
{
    struct tn_cancel *c = tn_alloc(sizeof(*c));
    c->deadline = INT64_MAX;
    c->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->fd < 0)
        abort();
    return c;
}

void tn_cancel_free(struct tn_cancel *c)
{
    if (!c)
        return;
    close(c->fd);
    free(c);
}

void tn_cancel_raise(struct tn_cancel *c, int level)
{
    int now = atomic_load(&c->level);
    while (now < level && !atomic_compare_exchange_weak(&c->level, &now, level)) {
    }
    if (level >= 2) {
        int saved = errno;
        ssize_t n = write(c->fd, &(uint64_t){1}, sizeof(uint64_t));
        (void)n; /* a full counter is readable already */
        errno = saved;
    }
}

int tn_cancel_level(const struct tn_cancel *c)
{
    return c ? atomic_load(&((struct tn_cancel *)(uintptr_t)c)->level) : 0;
}

int tn_cancel_fd(const struct tn_cancel *c)
{
    return c->fd;
}

void tn_cancel_set_deadline(struct tn_cancel *c, int64_t mono_ms)
{
    atomic_store(&c->deadline, mono_ms);
}

int64_t tn_cancel_deadline(const struct tn_cancel *c)
{
    return c ? atomic_load(&((struct tn_cancel *)(uintptr_t)c)->deadline) : INT64_MAX;
}

static int poll_ms(int64_t until)
{
    int64_t left = until - tn_mono_ms();
    if (left < 0)
        left = 0;
    return left > 3600000 ? 3600000 : (int)left;
}

int tn_wait_fd(struct tn_cancel *c, const char *name, int fd, int64_t deadline_ms, struct tn_error **err)
{
    for (;;) {
        int64_t whole = tn_cancel_deadline(c);
        int64_t until = whole < deadline_ms ? whole : deadline_ms;
        struct pollfd p[2] = {{.fd = c ? c->fd : -1, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
        int n = poll(p, 2, poll_ms(until));
        if (n < 0 && errno != EINTR)
            return tn_error_errno(err, TN_EIO, errno, "waiting for %s", name);
        if (tn_cancel_level(c) >= 2)
            return tn_error_set(err, TN_ECANCELLED, "interrupted while waiting for %s", name);
        if (n > 0 && p[1].revents)
            return 1;
        int64_t now = tn_mono_ms();
        if (now >= whole)
            return tn_error_set(err, TN_ETIMEOUT, "the time given with --timeout passed while waiting for %s",
                                name);
        if (now >= deadline_ms)
            return 0;
    }
}
