#include <stdint.h>
#include <stdlib.h>

#include "lib/provider/docker/parse.h"
#include "lib/provider/docker/registry_auth.h"

/* One JSON text, read as every answer that an engine, or the user's docker config, may hold. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct tn_error *err = NULL;
    free(tn_docker_message(text, size));
    json_t *o = tn_docker_json(text, size, &err);
    tn_error_free(err);
    if (o == NULL)
        return 0;
    struct tn_observation seen = {0};
    struct tn_docs docs = {0};
    struct tn_inspect in;
    struct tn_login login = {0};
    tn_docker_list(o, 0, "127.0.0.1", &seen, NULL);
    tn_docker_docs(o, "", &docs, NULL);
    tn_docker_inspect(o, &in, NULL);
    tn_docker_repo_digest(o, "shop/web");
    json_t *doc = tn_docker_doc(o, NULL);
    json_decref(doc);
    tn_registry_helper(o, "r.example");
    if (!tn_login_from_config(o, "r.example", &login))
        tn_login_from_helper(o, &login);
    if (login.token != NULL || login.user != NULL)
        free(tn_login_header(&login, "r.example"));
    tn_login_clear(&login);
    tn_observation_clear(&seen);
    tn_docs_clear(&docs);
    json_decref(o);
    return 0;
}
