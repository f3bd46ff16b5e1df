/* The one filter between bytes from elsewhere and a terminal. */
#include <stdint.h>
#include <string.h>
#include <wchar.h>

#include "turnout/text.h"

/* Length of the valid UTF-8 sequence at p (0 when invalid) and its code point. */
static size_t utf8_at(const unsigned char *p, size_t n, uint32_t *out)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = p[0] < 0x80 ? 1 : (p[0] >> 5) == 6 ? 2 : (p[0] >> 4) == 14 ? 3 : (p[0] >> 3) == 30 ? 4 : 0;
    if (len == 0 || len > n)
        return 0;
    uint32_t c = len == 1 ? p[0] : p[0] & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000) || (len > 1 && c < least[len]))
        return 0;
    *out = c;
    return len;
}

/* Controls, and what reorders or hides text (bidi, zero width, tags). */
static bool is_hidden(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x200b && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0x61c || c == 0xfeff ||
           (c >= 0xe0000 && c <= 0xe0fff);
}

/* ESC [ … up to the final byte. */
static size_t control_sequence(const unsigned char *p, size_t n)
{
    size_t i = 2;
    while (i < n && (p[i] < 0x40 || p[i] > 0x7e)) {
        if (p[i] < 0x20)
            return i;
        i++;
    }
    return i < n ? i + 1 : n;
}

/* ESC ] and its like: text up to BEL or ESC \. */
static size_t control_string(const unsigned char *p, size_t n)
{
    size_t i = 2;
    for (; i < n && p[i] != '\n'; i++) {
        if (p[i] == 7)
            return i + 1;
        if (p[i] == 27)
            return i + 1 < n && p[i + 1] == '\\' ? i + 2 : i;
    }
    return i;
}

/* Length of the terminal escape sequence that begins at p[0] == ESC. What cannot belong to one (a control character, the
 * end) is not swallowed. */
static size_t escape_at(const unsigned char *p, size_t n)
{
    size_t i = 1;
    if (n > 1 && p[1] == '[')
        return control_sequence(p, n);
    if (n > 1 && p[1] && strchr("]P_^X", p[1]))
        return control_string(p, n);
    while (i < n && p[i] >= 0x20 && p[i] <= 0x2f) /* intermediate bytes, as in ESC ( B */
        i++;
    return i < n && p[i] >= 0x30 && p[i] <= 0x7e ? i + 1 : i;
}

void tn_filter(struct tn_buf *out, const char *s, size_t n, bool keep_newlines)
{
    const unsigned char *p = (const unsigned char *)s;
    for (size_t i = 0; i < n;) {
        uint32_t c = 0;
        size_t len = utf8_at(p + i, n - i, &c);
        if (len == 0) {
            tn_buf_printf(out, "\\x%02x", p[i]);
            i++;
        } else if (c == 27) {
            i += escape_at(p + i, n - i);
        } else if (c == '\t' || (c == '\r' && i + 1 < n && p[i + 1] == '\n')) {
            if (c == '\t')
                tn_buf_putc(out, ' ');
            i++;
        } else if (c == '\n') {
            tn_buf_putc(out, keep_newlines ? '\n' : ' ');
            i++;
        } else if (is_hidden(c)) {
            tn_buf_putc(out, '?');
            i += len;
        } else {
            tn_buf_add(out, p + i, len);
            i += len;
        }
    }
}

size_t tn_columns(const char *s)
{
    const unsigned char *p = (const unsigned char *)s;
    size_t n = strlen(s), columns = 0;
    for (size_t i = 0; i < n;) {
        uint32_t c = 0;
        size_t len = utf8_at(p + i, n - i, &c);
        if (len == 0)
            len = 1;
        int w = c < 0x300 ? 1 : wcwidth((wchar_t)c);
        columns += w < 0 ? 1 : (size_t)w;
        i += len;
    }
    return columns;
}
