#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "turnout/mem.h"
#include "lib/provider/docker/image_ref.h"

/* What was taken apart and put together again must be taken the same way. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tn_autofree char *text = tn_strndup((const char *)data, size);
    struct tn_image_ref r, again;
    struct tn_error *err = NULL;
    if (tn_image_ref_parse(text, &r, &err) != TN_OK) {
        tn_error_free(err);
        return 0;
    }
    tn_autofree char *name = tn_image_ref_name(&r);
    if (tn_image_ref_parse(name, &again, NULL) != TN_OK)
        abort();
    tn_autofree char *twice = tn_image_ref_name(&again);
    if (strcmp(name, twice) != 0 || strcmp(r.domain, again.domain) != 0 || strcmp(r.path, again.path) != 0)
        abort();
    tn_image_ref_clear(&r);
    tn_image_ref_clear(&again);
    return 0;
}
