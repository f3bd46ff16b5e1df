/* tar.h - one file as a tar archive (ustar), the form in which engines take and give files of a container. */
#ifndef TN_PROVIDER_DOCKER_TAR_H
#define TN_PROVIDER_DOCKER_TAR_H

#include <stddef.h>
#include <stdint.h>

#include "turnout/error.h"
#include "turnout/buf.h"

struct tn_tar_entry {
    char type;      /* '0' a file, '2' a link, '5' a folder */
    char link[101]; /* target of a link */
    unsigned mode, uid, gid;
    const char *data; /* in the archive */
    size_t len;
};
/* Appends an archive with the single file `name` (≤ 99 bytes), owner and mode as of `like`. */
void tn_tar_write(struct tn_buf *out, const char *name, const void *data, size_t len,
                  const struct tn_tar_entry *like, int64_t mtime_s);
/* The first entry that is no header extension. TN_EPROTO when there is none, or it is cut. */
int tn_tar_first(const char *archive, size_t len, struct tn_tar_entry *out, struct tn_error **err);

#endif
