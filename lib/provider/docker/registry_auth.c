#include "lib/provider/docker/registry_auth.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "turnout/buf.h"
#include "turnout/fs.h"
#include "lib/base/hash.h"
#include "turnout/mem.h"
#include "turnout/text.h"
#include "lib/provider/docker/docker.h"

enum { CONFIG_MAX = 1024 * 1024, HELPER_TIMEOUT_MS = 10000, BASE64_MAX = 64 * 1024 };

#define HUB_SERVER "https://index.docker.io/v1/"

/* ---- pure -------------------------------------------------------------------------------------------- */

char *tn_base64url(const char *data, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    char *out = tn_alloc((len + 2) / 3 * 4 + 1);
    size_t o = 0;
    for (size_t i = 0; i < len; i += 3) {
        unsigned v = (unsigned)(unsigned char)data[i] << 16;
        if (i + 1 < len)
            v |= (unsigned)(unsigned char)data[i + 1] << 8;
        if (i + 2 < len)
            v |= (unsigned char)data[i + 2];
        out[o++] = digits[v >> 18];
        out[o++] = digits[v >> 12 & 63];
        out[o++] = i + 1 < len ? digits[v >> 6 & 63] : '=';
        out[o++] = i + 2 < len ? digits[v & 63] : '=';
    }
    return out;
}

static int digit_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

char *tn_base64_decode(const char *text, size_t *out_len)
{
    size_t n = strlen(text), o = 0;
    while (n > 0 && text[n - 1] == '=')
        n--;
    if (n > BASE64_MAX || n % 4 == 1)
        return NULL;
    char *out = tn_alloc(n / 4 * 3 + 4);
    unsigned v = 0;
    for (size_t i = 0; i < n; i++) {
        int digit = digit_of(text[i]);
        if (digit < 0) {
            tn_secret_free(out, o);
            return NULL;
        }
        v = (v << 6 | (unsigned)digit) & 0xffffff;
        if (i % 4 > 0)
            out[o++] = (char)(v >> (6 - 2 * (i % 4)) & 0xff);
    }
    *out_len = o;
    return out;
}

char *tn_registry_domain(const char *server)
{
    const char *s = tn_starts_with(server, "https://")  ? server + 8
                    : tn_starts_with(server, "http://") ? server + 7
                                                        : server;
    char *domain = tn_strndup(s, strcspn(s, "/"));
    if (strcmp(domain, "index.docker.io") == 0 || strcmp(domain, "registry-1.docker.io") == 0) {
        free(domain);
        domain = tn_strdup("docker.io");
    }
    return domain;
}

char *tn_registry_server(const char *domain)
{
    return tn_strdup(strcmp(domain, "docker.io") == 0 ? HUB_SERVER : domain);
}

static bool is_plain_name(const char *s)
{
    if (s == NULL || *s == '\0' || *s == '-' || strlen(s) > 64)
        return false;
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && strchr("_.-", *s) == NULL)
            return false;
    return true;
}

const char *tn_registry_helper(const json_t *config, const char *domain)
{
    tn_autofree char *server = tn_registry_server(domain);
    const json_t *helpers = json_object_get(config, "credHelpers");
    const char *name = tn_docker_text(helpers, server);
    if (name == NULL)
        name = tn_docker_text(helpers, domain);
    if (name == NULL)
        name = tn_docker_text(config, "credsStore");
    return is_plain_name(name) ? name : NULL;
}

void tn_login_clear(struct tn_login *l)
{
    char *all[] = {l->user, l->password, l->token};
    for (size_t i = 0; i < TN_COUNT(all); i++)
        if (all[i] != NULL)
            tn_secret_free(all[i], strlen(all[i]));
    *l = (struct tn_login){0};
}

static bool read_auth(const json_t *entry, struct tn_login *out)
{
    const char *token = tn_docker_text(entry, "identitytoken");
    const char *auth = tn_docker_text(entry, "auth");
    if (token != NULL && *token != '\0') {
        out->token = tn_strdup(token);
        return true;
    }
    size_t n = 0;
    char *pair = auth != NULL ? tn_base64_decode(auth, &n) : NULL;
    const char *colon = pair != NULL ? strchr(pair, ':') : NULL;
    if (colon != NULL) {
        out->user = tn_strndup(pair, (size_t)(colon - pair));
        out->password = tn_strdup(colon + 1);
    }
    if (pair != NULL)
        tn_secret_free(pair, n);
    return colon != NULL;
}

bool tn_login_from_config(const json_t *config, const char *domain, struct tn_login *out)
{
    const char *server;
    json_t *entry;
    json_object_foreach(json_object_get(config, "auths"), server, entry)
    {
        tn_autofree char *theirs = tn_registry_domain(server);
        if (strcmp(theirs, domain) == 0 && read_auth(entry, out))
            return true;
    }
    return false;
}

bool tn_login_from_helper(const json_t *answer, struct tn_login *out)
{
    const char *user = tn_docker_text(answer, "Username");
    const char *secret = tn_docker_text(answer, "Secret");
    if (user == NULL || secret == NULL)
        return false;
    if (strcmp(user, "<token>") == 0) {
        out->token = tn_strdup(secret);
        return true;
    }
    out->user = tn_strdup(user);
    out->password = tn_strdup(secret);
    return true;
}

char *tn_login_header(const struct tn_login *l, const char *domain)
{
    tn_autofree char *server = tn_registry_server(domain);
    json_t *o = json_object();
    if (l->token != NULL) {
        json_object_set_new(o, "identitytoken", json_string(l->token));
    } else {
        json_object_set_new(o, "username", json_string(l->user));
        json_object_set_new(o, "password", json_string(l->password));
    }
    json_object_set_new(o, "serveraddress", json_string(server));
    char *text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    if (text == NULL)
        return NULL;
    char *header = tn_base64url(text, strlen(text));
    tn_secret_free(text, strlen(text));
    return header;
}

/* ---- where they come from ------------------------------------------------------------------------------ */

static bool from_plan(const struct tn_plan *plan, const struct tn_cluster *cluster, const char *domain,
                      struct tn_login *out, int *code, struct tn_error **err)
{
    const struct tn_registry *r = cluster->docker.registry;
    *code = TN_OK;
    if (r == NULL || r->server == NULL || r->user == NULL || r->password == NULL)
        return false;
    tn_autofree char *theirs = tn_registry_domain(r->server);
    if (strcmp(theirs, domain) != 0)
        return false;
    size_t n = 0;
    struct tn_error *why = NULL;
    char *password = tn_secret_resolve(plan, r->password, &n, &why);
    if (password == NULL) {
        *code = tn_error_move(err, &why);
        return true;
    }
    out->user = tn_strdup(r->user);
    out->password = tn_strndup(password, n);
    tn_secret_free(password, n);
    return true;
}

/* NULL when the user has none, or it cannot be read: then there is no login. New reference. */
static json_t *user_config(void)
{
    const char *folder = getenv("DOCKER_CONFIG");
    const char *home = getenv("HOME");
    tn_autofree char *in_home = home != NULL ? tn_path_join(home, ".docker") : NULL;
    tn_autofree char *path = NULL;
    if (folder != NULL && *folder != '\0')
        path = tn_path_join(folder, "config.json");
    else if (in_home != NULL)
        path = tn_path_join(in_home, "config.json");
    size_t n = 0;
    char *text = path != NULL ? tn_fs_read(path, CONFIG_MAX, &n, NULL) : NULL;
    if (text == NULL)
        return NULL;
    json_t *config = json_loadb(text, n, 0, NULL);
    tn_secret_free(text, n);
    return config;
}

/* A helper that knows nothing of the server ends with 1: no login. */
static int ask_helper(struct tn_cancel *c, const char *name, const char *domain, struct tn_login *out,
                      struct tn_error **err)
{
    tn_autofree char *program = tn_format("docker-credential-%s", name);
    tn_autofree char *server = tn_registry_server(domain);
    const char *argv[] = {program, "get", NULL};
    struct tn_run_result r = {0};
    struct tn_error *why = NULL;
    struct tn_host *here = tn_host_local();
    int code = here->ops->run(here, c, argv, server, HELPER_TIMEOUT_MS, &r, &why);
    tn_host_free(here);
    if (code == TN_ENOTFOUND)
        code = tn_error_set(err, TN_EAUTH,
                            "login for registry '%s': program '%s' of the docker config is missing", domain,
                            program);
    else if (code != TN_OK)
        code = tn_error_move(err, &why);
    tn_error_free(why);
    if (code == TN_OK && r.exit_code == 0) {
        json_t *answer = json_loadb(r.out.data != NULL ? r.out.data : "", r.out.len, 0, NULL);
        if (!tn_login_from_helper(answer, out))
            code = tn_error_set(err, TN_EAUTH, "program '%s': its answer holds no login", program);
        json_decref(answer);
    }
    if (r.out.data != NULL)
        tn_wipe(r.out.data, r.out.len);
    tn_run_result_clear(&r);
    return code;
}

int tn_docker_registry_auth(const struct tn_plan *plan, const struct tn_cluster *cluster, struct tn_cancel *c,
                            const char *domain, char **out, char **user, struct tn_error **err)
{
    struct tn_login login = {0};
    int code;
    *out = NULL;
    bool found = from_plan(plan, cluster, domain, &login, &code, err);
    if (!found) {
        json_t *config = user_config();
        const char *helper = tn_registry_helper(config, domain);
        const char *no_exec = getenv("TURNOUT_NO_EXEC");
        bool may_run = no_exec == NULL || *no_exec == '\0' || strcmp(no_exec, "0") == 0;
        if (helper != NULL && may_run)
            code = ask_helper(c, helper, domain, &login, err);
        if (code == TN_OK && login.user == NULL && login.token == NULL)
            tn_login_from_config(config, domain, &login);
        json_decref(config);
    }
    if (code == TN_OK && (login.user != NULL || login.token != NULL)) {
        *out = tn_login_header(&login, domain);
        if (user != NULL)
            *user = tn_strdup(login.user != NULL ? login.user : "token");
    }
    tn_login_clear(&login);
    return code;
}
