#include "lib/provider/docker/tar.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { BLOCK = 512 };

/* Offsets and widths of a ustar header (POSIX pax, "ustar Interchange Format"). */
enum {
    MODE = 100,
    UID = 108,
    GID = 116,
    SIZE = 124,
    MTIME = 136,
    CHECKSUM = 148,
    TYPE = 156,
    LINK = 157,
    MAGIC = 257,
    VERSION = 263,
};

static unsigned checksum(const unsigned char *h)
{
    unsigned sum = 0;
    for (size_t i = 0; i < BLOCK; i++)
        sum += i >= CHECKSUM && i < CHECKSUM + 8 ? ' ' : h[i];
    return sum;
}

void tn_tar_write(struct tn_buf *out, const char *name, const void *data, size_t len,
                  const struct tn_tar_entry *like, int64_t mtime_s)
{
    static const char zeros[BLOCK];
    char h[BLOCK] = {0};
    snprintf(h, MODE, "%s", name);
    snprintf(h + MODE, 8, "%07o", like->mode & 07777u);
    snprintf(h + UID, 8, "%07o", like->uid & 07777777u);
    snprintf(h + GID, 8, "%07o", like->gid & 07777777u);
    snprintf(h + SIZE, 12, "%011llo", (unsigned long long)len & 077777777777ull);
    snprintf(h + MTIME, 12, "%011llo", (unsigned long long)mtime_s & 077777777777ull);
    h[TYPE] = '0';
    snprintf(h + MAGIC, 6, "ustar");
    h[VERSION] = h[VERSION + 1] = '0';
    snprintf(h + CHECKSUM, 8, "%06o", checksum((const unsigned char *)h));
    tn_buf_add(out, h, BLOCK);
    tn_buf_add(out, data, len);
    tn_buf_add(out, zeros, (BLOCK - len % BLOCK) % BLOCK);
    tn_buf_add(out, zeros, BLOCK);
    tn_buf_add(out, zeros, BLOCK);
}

/* Octal digits, with blanks or a NUL around them. False for base-256 numbers: nothing that large is read here. */
static bool octal(const char *field, size_t width, uint64_t *out)
{
    uint64_t value = 0;
    size_t i = 0;
    while (i < width && field[i] == ' ')
        i++;
    for (; i < width && field[i] >= '0' && field[i] <= '7'; i++)
        value = value * 8 + (uint64_t)(field[i] - '0');
    *out = value;
    return i == width || field[i] == '\0' || field[i] == ' ';
}

static int bad(struct tn_error **err, const char *why)
{
    return tn_error_set(err, TN_EPROTO, "archive from the engine: %s", why);
}

/* The header at `h`; *size is what its number says. */
static const char *read_header(const char *h, struct tn_tar_entry *out, uint64_t *size)
{
    uint64_t sum, mode, uid, gid;
    if (!octal(h + SIZE, 12, size) || !octal(h + CHECKSUM, 8, &sum) || !octal(h + MODE, 8, &mode) ||
        !octal(h + UID, 8, &uid) || !octal(h + GID, 8, &gid))
        return "a number in it is not readable";
    if (sum != checksum((const unsigned char *)h))
        return "its checksum is wrong";
    *out = (struct tn_tar_entry){.type = h[TYPE] == '\0' ? '0' : h[TYPE],
                                 .mode = (unsigned)mode & 07777u,
                                 .uid = (unsigned)uid,
                                 .gid = (unsigned)gid,
                                 .data = h + BLOCK,
                                 .len = (size_t)*size};
    memcpy(out->link, h + LINK, 100);
    return NULL;
}

/* pax and GNU headers that only extend the next one. */
static bool is_extension(char type)
{
    return type == 'x' || type == 'g' || type == 'L' || type == 'K';
}

int tn_tar_first(const char *archive, size_t len, struct tn_tar_entry *out, struct tn_error **err)
{
    size_t at = 0;
    while (at + BLOCK <= len && archive[at] != '\0') {
        struct tn_tar_entry entry;
        uint64_t size;
        const char *why = read_header(archive + at, &entry, &size);
        if (why != NULL)
            return bad(err, why);
        at += BLOCK;
        if (size > len - at)
            return bad(err, "it is cut");
        if (!is_extension(entry.type)) {
            *out = entry;
            return TN_OK;
        }
        uint64_t skip = (size + BLOCK - 1) / BLOCK * BLOCK;
        if (skip > len - at)
            return bad(err, "it is cut");
        at += (size_t)skip;
    }
    return bad(err, "it is empty");
}
