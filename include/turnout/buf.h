/* turnout/buf.h - a growing byte buffer that is created with its maximum size.
 *
 * Appending past the maximum sets `overflow` and drops the bytes; the reader of the data checks it once.
 * `data` is always terminated by a NUL that does not count in `len` (data is NULL while nothing was written).
 */
#ifndef TURNOUT_BUF_H
#define TURNOUT_BUF_H

#include <stdbool.h>
#include <stddef.h>

struct tn_buf {
    char *data;
    size_t len, cap, max;
    bool overflow;
};

#define TN_BUF_INIT(maximum)                                                                                 \
    {                                                                                                        \
        .max = (maximum)                                                                                     \
    }
void tn_buf_clear(struct tn_buf *b); /* frees; keeps max */
void tn_buf_add(struct tn_buf *b, const void *p, size_t n);
void tn_buf_puts(struct tn_buf *b, const char *s);
void tn_buf_putc(struct tn_buf *b, char c);
void tn_buf_printf(struct tn_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Hands the text over (never NULL); the buffer is empty afterwards. */
char *tn_buf_take(struct tn_buf *b);
static inline void tn_cleanup_buf(struct tn_buf *b)
{
    tn_buf_clear(b);
}
#define tn_autobuf __attribute__((cleanup(tn_cleanup_buf))) struct tn_buf

#endif
