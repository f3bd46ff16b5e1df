#include "lib/transport/shim_output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "turnout/fs.h"
#include "turnout/mem.h"

static void reopen(struct tn_shim_output *o)
{
    tn_autofree char *path = tn_path_join(o->dir, "output.log");
    tn_cleanup_close(&o->to);
    o->to = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    struct stat st;
    o->size = o->to >= 0 && fstat(o->to, &st) == 0 ? st.st_size : 0;
}

void tn_shim_output_init(struct tn_shim_output *o, const char *dir, int64_t max)
{
    *o = (struct tn_shim_output){.dir = dir, .from = -1, .to = -1, .max = max};
    reopen(o);
}

void tn_shim_output_clear(struct tn_shim_output *o)
{
    tn_cleanup_close(&o->from);
    tn_cleanup_close(&o->to);
    o->from = o->to = -1;
}

static void rotate(struct tn_shim_output *o)
{
    tn_autofree char *path = tn_path_join(o->dir, "output.log");
    tn_autofree char *old = tn_path_join(o->dir, "output.log.1");
    (void)rename(path, old);
    reopen(o);
}

/* Neither file is ever larger than `max`: a line may be cut by a rotation, readers join the two. */
static void put(struct tn_shim_output *o, const char *p, size_t n)
{
    while (n > 0) {
        if (o->size >= o->max)
            rotate(o);
        if (o->to < 0 || o->size >= o->max)
            return;
        size_t room = (size_t)(o->max - o->size);
        ssize_t w = write(o->to, p, n < room ? n : room);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return;
        p += w;
        n -= (size_t)w;
        o->size += w;
    }
}

void tn_shim_output_copy(struct tn_shim_output *o)
{
    char piece[65536];
    /* Bounded, so that a program that never stops writing cannot keep the shim from its signals. */
    for (int i = 0; i < 64 && o->from >= 0; i++) {
        ssize_t n = read(o->from, piece, sizeof(piece));
        if (n > 0)
            put(o, piece, (size_t)n);
        else if (n < 0 && errno == EINTR)
            continue;
        else if (n < 0 && errno == EAGAIN)
            return;
        else {
            close(o->from);
            o->from = -1;
        }
    }
}
