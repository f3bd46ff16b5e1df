/* A plan from anybody: reading, merging, substituting, typing and checking must neither crash nor hang, and what
 * loads must survive its own ways out (merged document, config, spec). The first byte chooses an environment. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "turnout/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ways_out(const struct tn_plan *p)
{
    const struct tn_plan_options o = {.document = p->merged, .document_dir = "/nonexistent"};
    struct tn_plan *again = tn_plan_load(&o, NULL, NULL);
    if (!again)
        abort();
    if (!json_equal(again->merged, p->merged))
        abort();
    tn_plan_free(again);
    free(tn_plan_config(p));
    for (size_t i = 0; i < p->n_services; i++) {
        char revision[13], second[13];
        json_t *spec = tn_service_spec(p, &p->services[i], "image@sha256:0", NULL);
        if (!spec)
            continue; /* a file that is not there */
        tn_spec_revision(spec, revision);
        struct tn_service *s = tn_service_from_spec(p->services[i].name, spec, NULL);
        json_t *back = s ? tn_service_spec(NULL, s, NULL, NULL) : NULL;
        if (!back)
            abort();
        tn_spec_revision(back, second);
        if (strcmp(revision, second) != 0)
            abort();
        json_decref(back);
        json_decref(spec);
        tn_service_free_spec(s);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    int fd = memfd_create("plan", MFD_CLOEXEC);
    if (fd < 0 || size > 65536)
        return 0;
    if (write(fd, data, size) == (ssize_t)size) {
        const char *const files[] = {path}, *const vars[] = {"tag=v1"};
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        const struct tn_plan_options o = {.files = files,
                                          .n_files = 1,
                                          .vars = vars,
                                          .n_vars = size > 0 && data[0] == '#' ? 1 : 0,
                                          .environment = size > 0 && data[0] == '\n' ? "prod" : NULL};
        struct tn_problems problems = {0};
        struct tn_plan *p = tn_plan_load(&o, &problems, NULL);
        free(tn_problems_format(&problems));
        tn_problems_clear(&problems);
        if (p)
            ways_out(p);
        tn_plan_free(p);
    }
    close(fd);
    return 0;
}
