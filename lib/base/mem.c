#include "turnout/mem.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void *tn_alloc(size_t n)
{
    void *p = calloc(1, n ? n : 1);
    if (!p)
        abort();
    return p;
}

void *tn_realloc_array(void *p, size_t n, size_t size)
{
    void *q = reallocarray(p, n ? n : 1, size);
    if (!q)
        abort();
    return q;
}

char *tn_strdup(const char *s)
{
    return s ? tn_strndup(s, strlen(s)) : NULL;
}

char *tn_strndup(const char *s, size_t n)
{
    n = strnlen(s, n);
    char *p = tn_alloc(n + 1);
    memcpy(p, s, n);
    return p;
}

char *tn_vformat(const char *fmt, va_list ap)
{
    char *s = NULL;
    if (vasprintf(&s, fmt, ap) < 0)
        abort();
    return s;
}

char *tn_format(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *s = tn_vformat(fmt, ap);
    va_end(ap);
    return s;
}

void tn_cleanup_free(void *p)
{
    free(*(void **)p);
}

void tn_cleanup_close(int *fd)
{
    if (*fd >= 0) {
        int saved = errno;
        close(*fd);
        errno = saved;
    }
}

/* Blocks of at least 4 KiB, newest first; a large allocation gets a block of its own. */
struct arena_block {
    struct arena_block *next;
    size_t used, size;
    _Alignas(max_align_t) unsigned char data[];
};
struct tn_arena {
    struct arena_block *blocks;
};
enum { ARENA_BLOCK = 4096 - sizeof(struct arena_block) };

struct tn_arena *tn_arena_new(void)
{
    return tn_alloc(sizeof(struct tn_arena));
}

void tn_arena_free(struct tn_arena *a)
{
    if (!a)
        return;
    for (struct arena_block *b = a->blocks; b;) {
        struct arena_block *next = b->next;
        free(b);
        b = next;
    }
    free(a);
}

void *tn_arena_alloc(struct tn_arena *a, size_t n)
{
    const size_t align = _Alignof(max_align_t);
    if (n > SIZE_MAX / 2)
        abort();
    n = (n + align - 1) / align * align;
    struct arena_block *b = a->blocks;
    if (!b || b->size - b->used < n) {
        size_t size = n > ARENA_BLOCK ? n : ARENA_BLOCK;
        b = tn_alloc(sizeof(*b) + size);
        b->size = size;
        b->next = a->blocks;
        a->blocks = b;
    }
    void *p = b->data + b->used;
    b->used += n;
    return p;
}

char *tn_arena_strndup(struct tn_arena *a, const char *s, size_t n)
{
    n = strnlen(s, n);
    char *p = tn_arena_alloc(a, n + 1);
    memcpy(p, s, n);
    return p;
}

char *tn_arena_strdup(struct tn_arena *a, const char *s)
{
    return s ? tn_arena_strndup(a, s, strlen(s)) : NULL;
}

char *tn_arena_format(struct tn_arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    tn_autofree char *s = tn_vformat(fmt, ap);
    va_end(ap);
    return tn_arena_strdup(a, s);
}
