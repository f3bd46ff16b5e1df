#include "lib/provider/docker/docker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "turnout/fs.h"
#include "turnout/text.h"

enum { FREE_SPACE_LOW_MIB = 512 };

/* ---- ports --------------------------------------------------------------------------------------------- */

/* Without SO_REUSEADDR: what lingers in TIME_WAIT counts as taken, the next port is as good. */
static bool cannot_bind(uint32_t address, int port)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(address)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool taken = bind(fd, (struct sockaddr *)&a, sizeof a) != 0 && errno == EADDRINUSE;
    close(fd);
    return taken;
}

static bool docker_port_taken(struct tn_provider *p, size_t host, int port)
{
    if (!tn_docker_of(p)->engines[host].local)
        return false; /* the engine says it at the start */
    return cannot_bind(INADDR_LOOPBACK, port) || cannot_bind(INADDR_ANY, port);
}

/* ---- doctor -------------------------------------------------------------------------------------------- */

typedef void (*report_fn)(void *arg, bool ok, const char *text);

static void report_space(const struct tn_engine *e, const json_t *info, report_fn report, void *arg)
{
    const char *root = tn_docker_text(info, "DockerRootDir");
    struct statvfs fs;
    if (!e->local || root == NULL || statvfs(root, &fs) != 0)
        return;
    unsigned long long mib = (unsigned long long)fs.f_bavail * fs.f_frsize >> 20;
    tn_autofree char *text = tn_format("engine '%s': %llu MiB free in %s", e->url, mib, root);
    report(arg, mib >= FREE_SPACE_LOW_MIB, text);
}

static int doctor_host(struct tn_docker *d, size_t host, struct tn_cancel *c, report_fn report, void *arg)
{
    struct tn_engine *e = &d->engines[host];
    struct tn_error *why = NULL;
    int api = tn_engine_api(d, host, c, &why);
    json_t *version = NULL, *info = NULL;
    struct tn_call ask_version = {.method = "GET", .path = "/version"};
    struct tn_call ask_info = {.method = "GET", .path = "/info"};
    int code = api < 0 ? api : tn_engine_json(d, host, c, &ask_version, "version", &version, &why);
    if (code == TN_OK)
        code = tn_engine_json(d, host, c, &ask_info, "info", &info, &why);
    if (code == TN_OK) {
        const char *number = tn_docker_text(version, "Version");
        const char *newest = tn_docker_text(version, "ApiVersion");
        tn_autofree char *text = tn_format("engine '%s': Docker %s, API %s, turnout speaks 1.%d", e->url,
                                           number != NULL ? number : "?", newest != NULL ? newest : "?", api);
        report(arg, true, text);
        report_space(e, info, report, arg);
    } else {
        tn_autofree char *text = tn_format("%s%s%s%s", tn_error_message(why), why->hint != NULL ? " (" : "",
                                           why->hint != NULL ? why->hint : "", why->hint != NULL ? ")" : "");
        report(arg, false, text);
    }
    json_decref(version);
    json_decref(info);
    tn_error_free(why);
    return code;
}

static int docker_doctor(struct tn_provider *p, struct tn_cancel *c, report_fn report, void *arg,
                         struct tn_error **err)
{
    for (size_t i = 0; i < p->n_hosts; i++)
        if (doctor_host(tn_docker_of(p), i, c, report, arg) == TN_ECANCELLED)
            return tn_error_set(err, TN_ECANCELLED, "interrupted");
    return TN_OK;
}

/* ---- open ---------------------------------------------------------------------------------------------- */

static void docker_free(struct tn_provider *p)
{
    struct tn_docker *d = tn_docker_of(p);
    for (size_t i = 0; i < p->n_hosts; i++) {
        tn_engine_clear(&d->engines[i]);
        free(p->host_names[i]);
        free(p->host_ids[i]);
    }
    for (size_t i = 0; i < d->n_policies; i++) {
        free(d->policies[i].id);
        free(d->policies[i].policy);
    }
    free(d->policies);
    free(d->engines);
    free(p->host_names);
    free(p->host_ids);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

static const struct tn_provider_ops docker_ops = {
    .name = "docker",
    .observe = tn_docker_observe,
    .resolve = tn_docker_resolve,
    .prepare = tn_docker_prepare,
    .start = tn_docker_start,
    .stop = tn_docker_stop,
    .set_restart = tn_docker_set_restart,
    .logs = tn_docker_logs,
    .exec = tn_docker_exec,
    .task = tn_docker_task,
    .port_taken = docker_port_taken,
    .doc_create = tn_docker_doc_create,
    .doc_list = tn_docker_doc_list,
    .doc_remove = tn_docker_doc_remove,
    .container_host = tn_docker_container_host,
    .gateway = tn_docker_gateway,
    .tidy = tn_docker_tidy,
    .doctor = docker_doctor,
    .free = docker_free,
};

/* "local", or the host of the URL without its port. */
static char *host_name(const struct tn_engine *e)
{
    if (e->socket != NULL)
        return tn_strdup("local");
    const char *authority = e->url + strlen("tcp://");
    const char *colon = strrchr(authority, ':');
    return tn_strndup(authority, colon != NULL ? (size_t)(colon - authority) : strlen(authority));
}

/* Two sockets of this machine must not both be "local". */
static void name_hosts(struct tn_docker *d)
{
    struct tn_provider *p = &d->base;
    for (size_t i = 0; i < p->n_hosts; i++) {
        p->host_ids[i] = tn_strdup(d->engines[i].url);
        p->host_names[i] = host_name(&d->engines[i]);
    }
    for (size_t i = 0; i < p->n_hosts; i++) {
        bool twice = false;
        for (size_t k = 0; k < p->n_hosts; k++) {
            tn_autofree char *theirs = host_name(&d->engines[k]);
            tn_autofree char *mine = host_name(&d->engines[i]);
            twice = twice || (k != i && strcmp(theirs, mine) == 0);
        }
        if (twice) {
            free(p->host_names[i]);
            p->host_names[i] = tn_strdup(d->engines[i].socket != NULL ? d->engines[i].socket
                                                                      : d->engines[i].url + strlen("tcp://"));
        }
    }
}

struct tn_provider *tn_docker_open(const struct tn_plan *plan, const struct tn_cluster *cluster,
                                   struct tn_http *http, struct tn_error **err)
{
    const char *env = getenv("DOCKER_HOST");
    struct tn_host_ref fallback = {
        .url = (char *)(uintptr_t)(env != NULL && *env != '\0' ? env : "unix:///var/run/docker.sock")};
    const struct tn_host_ref *hosts = cluster->docker.n_hosts > 0 ? cluster->docker.hosts : &fallback;
    size_t n = cluster->docker.n_hosts > 0 ? cluster->docker.n_hosts : 1;
    tn_autofree char *tls = cluster->docker.tls != NULL && plan->dir != NULL
                                ? tn_path_join(plan->dir, cluster->docker.tls)
                                : tn_strdup(cluster->docker.tls);
    struct tn_docker *d = tn_alloc(sizeof *d);
    d->http = http;
    d->engines = tn_alloc(n * sizeof *d->engines);
    d->base = (struct tn_provider){.ops = &docker_ops, .cluster = cluster, .plan = plan};
    d->base.host_names = tn_alloc(n * sizeof *d->base.host_names);
    d->base.host_ids = tn_alloc(n * sizeof *d->base.host_ids);
    pthread_mutex_init(&d->lock, NULL);
    for (size_t i = 0; i < n; i++) {
        d->base.n_hosts++;
        if (tn_engine_init(&d->engines[i], &hosts[i], tls, cluster->docker.publish, err) != TN_OK) {
            tn_error_prefix(err, "cluster '%s'", cluster->name);
            docker_free(&d->base);
            return NULL;
        }
    }
    name_hosts(d);
    return &d->base;
}
