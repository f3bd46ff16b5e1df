#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/provider/docker/tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tn_tar_entry entry;
    const char *archive = (const char *)data;
    if (tn_tar_first(archive, size, &entry, NULL) != TN_OK)
        return 0;
    if (entry.data < archive || entry.len > size || entry.data + entry.len > archive + size ||
        strlen(entry.link) > 100)
        abort();
    return 0;
}
