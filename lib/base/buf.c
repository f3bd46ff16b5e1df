#include "turnout/buf.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "turnout/mem.h"

void tn_buf_clear(struct tn_buf *b)
{
    free(b->data);
    *b = (struct tn_buf){.max = b->max};
}

void tn_buf_add(struct tn_buf *b, const void *p, size_t n)
{
    if (b->overflow || n > b->max - b->len) {
        b->overflow = true;
        return;
    }
    if (b->cap - b->len <= n) {
        size_t cap = b->cap ? b->cap : 64;
        while (cap - b->len <= n)
            cap *= 2;
        b->data = tn_realloc_array(b->data, cap, 1);
        b->cap = cap;
    }
    if (n)
        memcpy(b->data + b->len, p, n);
    b->len += n;
    b->data[b->len] = 0;
}

void tn_buf_puts(struct tn_buf *b, const char *s)
{
    tn_buf_add(b, s, strlen(s));
}

void tn_buf_putc(struct tn_buf *b, char c)
{
    tn_buf_add(b, &c, 1);
}

void tn_buf_printf(struct tn_buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    tn_autofree char *s = tn_vformat(fmt, ap);
    va_end(ap);
    tn_buf_puts(b, s);
}

char *tn_buf_take(struct tn_buf *b)
{
    char *s = b->data ? b->data : tn_strdup("");
    *b = (struct tn_buf){.max = b->max};
    return s;
}
