/* image_ref.h - image references, by the grammar of the registries
 * (https://github.com/distribution/reference): [domain/]path[:tag][@digest].
 */
#ifndef TN_PROVIDER_DOCKER_IMAGE_REF_H
#define TN_PROVIDER_DOCKER_IMAGE_REF_H

#include <stdbool.h>

#include "turnout/error.h"

struct tn_image_ref {
    char *domain; /* "docker.io", "registry.example:5000" */
    char *path;   /* "library/busybox", "shop/web" */
    char *tag;    /* "latest" when neither tag nor digest was given, NULL beside a digest without one */
    char *digest; /* "sha256:…" or NULL */
};
/* TN_EPLAN with the reason. */
int tn_image_ref_parse(const char *text, struct tn_image_ref *out, struct tn_error **err);
void tn_image_ref_clear(struct tn_image_ref *r);
/* As people and engines write it: "busybox", "shop/web", "registry.example:5000/x". Caller frees. */
char *tn_image_ref_repository(const struct tn_image_ref *r);
/* repository:tag, or repository@digest when there is one. Caller frees. */
char *tn_image_ref_name(const struct tn_image_ref *r);
/* "sha256:" and 64 hex digits: the id of an image on an engine, or a digest. */
bool tn_image_is_id(const char *text);

#endif
