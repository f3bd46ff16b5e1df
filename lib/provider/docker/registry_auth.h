/* registry_auth.h - logins: the pure parts. */
#ifndef TN_PROVIDER_DOCKER_REGISTRY_AUTH_H
#define TN_PROVIDER_DOCKER_REGISTRY_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <jansson.h>

/* Base64 with the URL alphabet and padding, as X-Registry-Auth wants it. Caller frees. */
char *tn_base64url(const char *data, size_t len);
/* The plain alphabet, padding optional; NUL-terminated; NULL when it is none. Caller frees. */
char *tn_base64_decode(const char *text, size_t *out_len);
/* "https://index.docker.io/v1/", "registry.example:5000/", "http://r/v2" → the domain of image references. */
char *tn_registry_domain(const char *server);
/* What the docker CLI calls the registry in its config. Caller frees. */
char *tn_registry_server(const char *domain);
/* Name of the credential helper for `domain` in a docker config: credHelpers, then credsStore; NULL = none or not a
 * plain name. Borrowed. */
const char *tn_registry_helper(const json_t *config, const char *domain);

struct tn_login {
    char *user, *password, *token; /* token: an identity token instead of the two others */
};
void tn_login_clear(struct tn_login *l);
/* From `auths` of a docker config. False when there is none. */
bool tn_login_from_config(const json_t *config, const char *domain, struct tn_login *out);
/* From a credential helper's answer. */
bool tn_login_from_helper(const json_t *answer, struct tn_login *out);
/* The header's value; the caller wipes and frees. */
char *tn_login_header(const struct tn_login *l, const char *domain);

#endif
