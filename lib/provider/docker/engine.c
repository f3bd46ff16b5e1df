#include "lib/provider/docker/docker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>
#include <unistd.h>

#include "turnout/clock.h"
#include "turnout/fs.h"
#include "lib/base/hash.h"
#include "turnout/text.h"

enum { PING_TIMEOUT_MS = 5000 };

/* ---- address --------------------------------------------------------------------------------------- */

/* Host part of host:port, without the brackets of an IPv6 address. Caller frees. */
static char *host_of(const char *authority)
{
    if (authority[0] == '[')
        return tn_strndup(authority + 1, strcspn(authority + 1, "]"));
    return tn_strndup(authority, strcspn(authority, ":"));
}

static bool is_loopback(const char *host)
{
    return tn_starts_with(host, "127.") || strcmp(host, "::1") == 0 || strcasecmp(host, "localhost") == 0;
}

static int init_unix(struct tn_engine *e, const char *path, struct tn_error **err)
{
    if (path[0] == '/') {
        e->socket = tn_strdup(path);
    } else {
        tn_autofree char *cwd = getcwd(NULL, 0);
        e->socket = tn_path_join(cwd != NULL ? cwd : "/", path);
    }
    if (strlen(e->socket) >= sizeof((struct sockaddr_un *)NULL)->sun_path)
        return tn_error_set(err, TN_EPLAN, "engine '%s': the path is too long for a socket", path);
    e->url = tn_format("unix://%s", e->socket);
    e->base = tn_strdup("http://localhost");
    e->local = true;
    return TN_OK;
}

/* Folder with the TLS files when the user's environment asks for TLS, as the docker CLI reads it. Caller frees. */
static char *tls_from_environment(void)
{
    const char *verify = getenv("DOCKER_TLS_VERIFY");
    const char *path = getenv("DOCKER_CERT_PATH");
    const char *home = getenv("HOME");
    if (verify == NULL || *verify == '\0')
        return NULL;
    if (path != NULL && *path != '\0')
        return tn_strdup(path);
    return home != NULL ? tn_path_join(home, ".docker") : NULL;
}

static int init_tcp(struct tn_engine *e, const char *authority, const char *tls, struct tn_error **err)
{
    tn_autofree char *from_environment = tls == NULL ? tls_from_environment() : NULL;
    tn_autofree char *host = host_of(authority);
    const char *folder = tls != NULL ? tls : from_environment;
    const char *after = authority[0] == '[' ? strchr(authority, ']') : authority;
    const char *colon = after != NULL ? strchr(after, ':') : NULL;
    int64_t port;
    if (host[0] == '\0' || colon == NULL || !tn_parse_int(colon + 1, &port) || port < 1 || port > 65535)
        return tn_error_set(err, TN_EPLAN, "engine 'tcp://%s': not tcp://host:port", authority);
    e->local = is_loopback(host);
    e->url = tn_format("tcp://%s", authority);
    e->base = tn_format("%s://%s", folder != NULL ? "https" : "http", authority);
    if (folder == NULL && !e->local) {
        tn_error_set(err, TN_EPLAN, "engine '%s': plain tcp to another machine is refused", e->url);
        tn_error_hint(err, "give the folder with ca.pem, cert.pem and key.pem as docker.tls");
        return TN_EPLAN;
    }
    if (folder != NULL) {
        e->ca_file = tn_path_join(folder, "ca.pem");
        e->cert_file = tn_path_join(folder, "cert.pem");
        e->key_file = tn_path_join(folder, "key.pem");
    }
    return TN_OK;
}

/* A published address counts as the way in unless it stands for all of them. */
static char *data_address(const struct tn_engine *e, const struct tn_host_ref *ref, const char *publish)
{
    if (ref->address != NULL)
        return tn_strdup(ref->address);
    if (publish != NULL && strcmp(publish, "0.0.0.0") != 0 && strcmp(publish, "::") != 0)
        return tn_strdup(publish);
    return e->local ? tn_strdup("127.0.0.1") : host_of(ref->url + strlen("tcp://"));
}

int tn_engine_init(struct tn_engine *e, const struct tn_host_ref *ref, const char *tls, const char *publish,
                   struct tn_error **err)
{
    *e = (struct tn_engine){0};
    pthread_mutex_init(&e->lock, NULL);
    pthread_mutex_init(&e->making, NULL);
    int code;
    if (tn_starts_with(ref->url, "unix://"))
        code = init_unix(e, ref->url + strlen("unix://"), err);
    else if (tn_starts_with(ref->url, "tcp://"))
        code = init_tcp(e, ref->url + strlen("tcp://"), tls, err);
    else
        code = tn_error_set(err, TN_EUNSUPPORTED, "engine '%s': not unix:// or tcp://", ref->url);
    if (code == TN_OK)
        e->address = data_address(e, ref, publish);
    return code;
}

static void free_names(char **names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(names[i]);
    free(names);
}

void tn_engine_clear(struct tn_engine *e)
{
    free(e->url);
    free(e->socket);
    free(e->base);
    free(e->ca_file);
    free(e->cert_file);
    free(e->key_file);
    free(e->address);
    free_names(e->ready_networks, e->n_ready_networks);
    free_names(e->ready_volumes, e->n_ready_volumes);
    pthread_mutex_destroy(&e->lock);
    pthread_mutex_destroy(&e->making);
}

/* ---- calls ----------------------------------------------------------------------------------------- */

/* TLS 1.3 tells a client that its certificate is refused only after the first request was sent. */
static bool certificate_refused(const struct tn_engine *e, const struct tn_error *why)
{
    return e->cert_file != NULL && why->code == TN_EUNKNOWN && strstr(why->message, "alert") != NULL &&
           strstr(why->message, "certificate") != NULL;
}

/* Puts the engine's name in front; no right to the socket is a matter of rights, not of reach. */
static int explain(const struct tn_engine *e, struct tn_error *why, struct tn_error **err)
{
    tn_error_prefix(&why, "engine '%s'", e->url);
    if (certificate_refused(e, why)) {
        why->code = TN_EAUTH;
        tn_error_hint(&why, "the engine refuses the certificate '%s'", e->cert_file);
    } else if (why->os_errno == EACCES || why->os_errno == EPERM) {
        why->code = TN_EAUTH;
        tn_error_hint(&why, "may this user open the socket? (group docker)");
    } else if (why->code == TN_EUNREACHABLE && e->socket != NULL) {
        tn_error_hint(&why, "is dockerd running? may this user open the socket (group docker)?");
    } else if (why->code == TN_EUNREACHABLE) {
        tn_error_hint(&why, "is dockerd running there, and do the TLS files fit?");
    }
    return tn_error_move(err, &why);
}

static int send_to(struct tn_docker *d, struct tn_engine *e, struct tn_cancel *c, struct tn_http_request *rq,
                   struct tn_http_answer *out, struct tn_error **err)
{
    struct tn_error *why = NULL;
    rq->unix_socket = e->socket;
    rq->ca_file = e->ca_file;
    rq->cert_file = e->cert_file;
    rq->key_file = e->key_file;
    int code = tn_http_call(d->http, c, rq, out, &why);
    return code == TN_OK ? TN_OK : explain(e, why, err);
}

static int negotiate(struct tn_docker *d, struct tn_engine *e, struct tn_cancel *c, struct tn_error **err)
{
    tn_autofree char *url = tn_format("%s/_ping", e->base);
    struct tn_http_request rq = {
        .method = "GET", .url = url, .timeout_ms = PING_TIMEOUT_MS, .max_answer = 4096};
    struct tn_http_answer a;
    int code = send_to(d, e, c, &rq, &a, err);
    if (code != TN_OK)
        return code;
    int newest = tn_docker_api_minor(a.api_version);
    if (newest < 0)
        code = tn_error_set(err, TN_EPROTO, "engine '%s': answers, but is no Docker engine (status %d)",
                            e->url, a.status);
    else if (newest < TN_DOCKER_API_OLDEST)
        code = tn_error_set(err, TN_EUNSUPPORTED, "engine '%s': speaks API 1.%d, turnout needs 1.%d or newer",
                            e->url, newest, TN_DOCKER_API_OLDEST);
    tn_http_answer_clear(&a);
    if (code != TN_OK)
        return code;
    return newest < TN_DOCKER_API_NEWEST ? newest : TN_DOCKER_API_NEWEST;
}

int tn_engine_api(struct tn_docker *d, size_t host, struct tn_cancel *c, struct tn_error **err)
{
    struct tn_engine *e = &d->engines[host];
    pthread_mutex_lock(&e->lock);
    int api = e->api;
    pthread_mutex_unlock(&e->lock);
    if (api > 0)
        return api;
    /* Not under the lock: two threads may both ask once, but none waits behind the other. */
    api = negotiate(d, e, c, err);
    if (api > 0) {
        pthread_mutex_lock(&e->lock);
        e->api = api;
        pthread_mutex_unlock(&e->lock);
    }
    return api;
}

int tn_engine_call(struct tn_docker *d, size_t host, struct tn_cancel *c, const struct tn_call *call,
                   struct tn_http_answer *out, struct tn_error **err)
{
    struct tn_engine *e = &d->engines[host];
    *out = (struct tn_http_answer){0};
    int api = tn_engine_api(d, host, c, err);
    if (api < 0)
        return api;
    tn_autofree char *url = tn_format("%s/v1.%d%s", e->base, api, call->path);
    char *text = call->json != NULL ? json_dumps(call->json, JSON_COMPACT) : NULL;
    char *auth = call->registry_auth != NULL ? tn_format("X-Registry-Auth: %s", call->registry_auth) : NULL;
    const char *headers[3] = {0};
    size_t n = 0;
    if (call->json != NULL)
        headers[n++] = "Content-Type: application/json";
    else if (call->body != NULL)
        headers[n++] = "Content-Type: application/x-tar";
    if (auth != NULL)
        headers[n++] = auth;
    struct tn_http_request rq = {
        .method = call->method,
        .url = url,
        .headers = headers,
        .body = text != NULL ? text : call->body,
        .body_len = text != NULL ? strlen(text) : call->body_len,
        .timeout_ms = call->timeout_ms == 0  ? TN_DOCKER_TIMEOUT_MS
                      : call->timeout_ms < 0 ? 0
                                             : call->timeout_ms,
        .stall_ms = call->stall_ms,
        .max_answer = call->max_answer,
        .on_data = call->on_data,
        .on_data_arg = call->on_data_arg,
    };
    int code = send_to(d, e, c, &rq, out, err);
    /* Both may hold secrets: the environment of a container, a login. */
    if (text != NULL)
        tn_secret_free(text, strlen(text));
    if (auth != NULL)
        tn_secret_free(auth, strlen(auth));
    return code;
}

static enum tn_code code_of(int status)
{
    switch (status) {
    case 401:
    case 403: return TN_EAUTH;
    case 404: return TN_ENOTFOUND;
    case 409: return TN_EEXISTS;
    default: return TN_EFAIL;
    }
}

int tn_engine_refused(const struct tn_http_answer *a, const char *what, struct tn_error **err)
{
    tn_autofree char *words = tn_docker_message(a->body.data, a->body.len);
    int code = tn_error_set(err, code_of(a->status), "%s: %s", what, words);
    if (err != NULL && *err != NULL)
        (*err)->http_status = a->status;
    return code;
}

int tn_engine_json(struct tn_docker *d, size_t host, struct tn_cancel *c, const struct tn_call *call,
                   const char *what, json_t **out, struct tn_error **err)
{
    struct tn_http_answer a;
    int code = tn_engine_call(d, host, c, call, &a, err);
    if (code != TN_OK)
        return code;
    if (a.status >= 400) {
        code = tn_engine_refused(&a, what, err);
    } else if (out != NULL) {
        *out = tn_docker_json(a.body.data, a.body.len, err);
        if (*out == NULL) {
            tn_error_prefix(err, "%s", what);
            code = TN_EPROTO;
        }
    }
    tn_http_answer_clear(&a);
    return code;
}

int tn_engine_pause(struct tn_cancel *c, const char *name, int64_t ms, struct tn_error **err)
{
    int code = tn_wait_fd(c, name, -1, tn_mono_ms() + ms, err);
    return code < 0 ? code : TN_OK;
}

int tn_engine_inspect(struct tn_docker *d, size_t host, struct tn_cancel *c, const char *id, json_t **owner,
                      struct tn_inspect *out, struct tn_error **err)
{
    tn_autofree char *path = tn_format("/containers/%s/json", id);
    tn_autofree char *what = tn_format("container '%s'", id);
    struct tn_call call = {.method = "GET", .path = path};
    int code = tn_engine_json(d, host, c, &call, what, owner, err);
    if (code == TN_OK && (code = tn_docker_inspect(*owner, out, err)) != TN_OK) {
        json_decref(*owner);
        *owner = NULL;
    }
    return code;
}
