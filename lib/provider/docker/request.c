#include "lib/provider/docker/request.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "turnout/buf.h"
#include "turnout/fs.h"
#include "lib/base/hash.h"
#include "turnout/mem.h"
#include "turnout/text.h"

enum { PATH_MAX_LEN = 64 * 1024, TASK_NAME_MAX = 200 };

char *tn_docker_escape(const char *text)
{
    struct tn_buf out = TN_BUF_INIT(PATH_MAX_LEN);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (isalnum(c) || strchr("-._~", c) != NULL)
            tn_buf_putc(&out, (char)c);
        else
            tn_buf_printf(&out, "%%%02X", c);
    }
    return tn_buf_take(&out);
}

static char *with_filters(const char *path, json_t *filters)
{
    tn_autofree char *text = json_dumps(filters, JSON_COMPACT | JSON_SORT_KEYS);
    tn_autofree char *escaped = tn_docker_escape(text != NULL ? text : "");
    json_decref(filters);
    return tn_format("%sfilters=%s", path, escaped);
}

char *tn_docker_path_list(const char *app, const char *cluster)
{
    tn_autofree char *by_app = tn_format("%s=%s", TN_LABEL_APP, app);
    tn_autofree char *by_cluster = tn_format("%s=%s", TN_LABEL_CLUSTER, cluster);
    return with_filters("/containers/json?all=1&", json_pack("{s:[s,s]}", "label", by_app, by_cluster));
}

char *tn_docker_networks_path(const char *app)
{
    tn_autofree char *by_app = tn_format("%s=%s", TN_LABEL_APP, app);
    return with_filters("/networks?", json_pack("{s:[s]}", "label", by_app));
}

char *tn_docker_path_docs(void)
{
    return with_filters("/volumes?", json_pack("{s:[s]}", "label", TN_LABEL_DOC));
}

char *tn_docker_path_pull(const char *image_ref)
{
    const char *at = strchr(image_ref, '@');
    const char *slash = strrchr(image_ref, '/');
    const char *colon = strchr(slash != NULL ? slash : image_ref, ':');
    const char *cut = at != NULL ? at : colon;
    size_t n = cut != NULL ? (size_t)(cut - image_ref) : strlen(image_ref);
    tn_autofree char *repository = tn_strndup(image_ref, n);
    tn_autofree char *from = tn_docker_escape(repository);
    tn_autofree char *tag = tn_docker_escape(cut != NULL ? cut + 1 : "latest");
    return tn_format("/images/create?fromImage=%s&tag=%s", from, tag);
}

char *tn_docker_path_logs(const char *id, int tail, bool follow)
{
    tn_autofree char *lines = tail >= 0 ? tn_format("%d", tail) : tn_strdup("all");
    return tn_format("/containers/%s/logs?stdout=1&stderr=1&follow=%d&tail=%s", id, follow, lines);
}

/* ---- small pieces of a body ------------------------------------------------------------------------ */

static json_t *strings(char *const *v, size_t n)
{
    json_t *a = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(a, json_string(v[i]));
    return a;
}

static json_t *argv_list(const char *const *argv)
{
    json_t *a = json_array();
    for (; argv != NULL && *argv != NULL; argv++)
        json_array_append_new(a, json_string(*argv));
    return a;
}

static void put(json_t *o, const char *key, json_t *value)
{
    json_object_set_new(o, key, value);
}

static void put_text(json_t *o, const char *key, const char *value)
{
    if (value != NULL)
        put(o, key, json_string(value));
}

static void put_strings(json_t *o, const char *key, const struct tn_strings *s)
{
    if (s->n > 0)
        put(o, key, strings(s->v, s->n));
}

static json_t *environment(const struct tn_start *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->spec->env.n; i++) {
        const struct tn_pair *p = &s->spec->env.v[i];
        tn_autofree char *line = tn_format("%s=%s", p->name, p->value != NULL ? p->value : "");
        json_array_append_new(list, json_string(line));
    }
    for (size_t i = 0; i < s->n_secrets; i++) {
        char *line = tn_format("%s=%s", s->secrets[i].env, s->secrets[i].value);
        json_array_append_new(list, json_string(line));
        tn_secret_free(line, strlen(line));
    }
    return list;
}

static json_t *port_label(const struct tn_start *s)
{
    json_t *ports = json_object();
    for (size_t i = 0; i < s->n_ports; i++)
        put(ports, s->ports[i].name, json_integer(s->ports[i].host_port));
    char *text = json_dumps(ports, JSON_COMPACT);
    json_t *label = json_string(text);
    free(text);
    json_decref(ports);
    return label;
}

static json_t *labels(const struct tn_start *s, bool task)
{
    json_t *o = json_object();
    for (size_t i = 0; i < s->spec->labels.n; i++)
        put_text(o, s->spec->labels.v[i].name, s->spec->labels.v[i].value);
    put_text(o, TN_LABEL_APP, s->app);
    put_text(o, TN_LABEL_ENV, s->environment != NULL ? s->environment : "");
    put_text(o, TN_LABEL_SERVICE, s->service);
    put_text(o, TN_LABEL_CLUSTER, s->cluster);
    put_text(o, TN_LABEL_REVISION, s->revision);
    put_text(o, TN_LABEL_ROLLOUT, s->rollout);
    put_text(o, TN_LABEL_EFFECT, s->effect);
    if (task) {
        put_text(o, TN_LABEL_HOOK, "1");
        return o;
    }
    put_text(o, TN_LABEL_SPEC, s->spec_json);
    put_text(o, TN_LABEL_SECRETS, s->secret_hashes);
    put(o, TN_LABEL_PORTS, port_label(s));
    return o;
}

static void put_ports(const struct tn_start *s, json_t *body, json_t *host)
{
    json_t *exposed = json_object();
    json_t *bindings = json_object();
    for (size_t i = 0; i < s->n_ports; i++) {
        tn_autofree char *key = tn_format("%d/tcp", s->ports[i].container);
        tn_autofree char *number = tn_format("%d", s->ports[i].host_port);
        put(exposed, key, json_object());
        json_t *list = json_object_get(bindings, key);
        if (list == NULL) {
            list = json_array();
            put(bindings, key, list);
        }
        const char *bind = s->ports[i].bind != NULL ? s->ports[i].bind : "";
        json_array_append_new(list, json_pack("{s:s,s:s}", "HostIp", bind, "HostPort", number));
    }
    put(body, "ExposedPorts", exposed);
    put(host, "PortBindings", bindings);
}

static json_t *nanoseconds(int64_t ms)
{
    return json_integer((json_int_t)ms * 1000000);
}

static void put_health(const struct tn_health *h, json_t *body)
{
    if (h->kind != TN_HEALTH_CMD || h->cmd.argv == NULL)
        return; /* native: what the image says; http and tcp are probed by us */
    json_t *test = json_array();
    json_array_append_new(test, json_string("CMD"));
    for (size_t i = 0; i < h->cmd.n; i++)
        json_array_append_new(test, json_string(h->cmd.argv[i]));
    json_t *check = json_object();
    put(check, "Test", test);
    put(check, "Interval", nanoseconds(h->interval));
    put(check, "Timeout", nanoseconds(h->timeout));
    put(check, "StartPeriod", nanoseconds(h->start_period));
    put(check, "Retries", json_integer(h->unhealthy_after));
    put(body, "Healthcheck", check);
}

static void put_limits(const struct tn_service *s, json_t *host)
{
    if (s->memory > 0)
        put(host, "Memory", json_integer(s->memory));
    if (s->cpu > 0)
        put(host, "NanoCpus", json_integer((json_int_t)s->cpu * 1000000));
    if (s->n_ulimits > 0) {
        json_t *list = json_array();
        for (size_t i = 0; i < s->n_ulimits; i++)
            json_array_append_new(list, json_pack("{s:s,s:I,s:I}", "Name", s->ulimits[i].name, "Soft",
                                                  (json_int_t)s->ulimits[i].soft, "Hard",
                                                  (json_int_t)s->ulimits[i].hard));
        put(host, "Ulimits", list);
    }
}

/* Compose's form "/run:size=64m" → {"/run": "size=64m"}. */
static void put_tmpfs(const struct tn_strings *list, json_t *host)
{
    if (list->n == 0)
        return;
    json_t *o = json_object();
    for (size_t i = 0; i < list->n; i++) {
        size_t n = strcspn(list->v[i], ":");
        tn_autofree char *path = tn_strndup(list->v[i], n);
        put_text(o, path, list->v[i][n] == ':' ? list->v[i] + n + 1 : "");
    }
    put(host, "Tmpfs", o);
}

static void put_logging(const struct tn_service *s, json_t *host)
{
    if (s->log_driver == NULL && s->log_options.n == 0)
        return;
    json_t *options = json_object();
    for (size_t i = 0; i < s->log_options.n; i++)
        put_text(options, s->log_options.v[i].name, s->log_options.v[i].value);
    put(host, "LogConfig",
        json_pack("{s:s,s:o}", "Type", s->log_driver != NULL ? s->log_driver : "json-file", "Config",
                  options));
}

/* ---- volumes and networks -------------------------------------------------------------------------- */

char *tn_docker_volume_name(const char *volume)
{
    size_t n = strcspn(volume, ":");
    if (volume[n] != ':' || n == 0 || memchr(volume, '/', n) != NULL || volume[0] == '.' || volume[0] == '~')
        return NULL;
    return tn_strndup(volume, n);
}

json_t *tn_docker_mount(const char *volume, const char *dir, struct tn_error **err)
{
    size_t n = strcspn(volume, ":");
    bool named = volume[n] == ':';
    tn_autofree char *source = named ? tn_strndup(volume, n) : NULL;
    const char *rest = named ? volume + n + 1 : volume;
    size_t m = strcspn(rest, ":");
    tn_autofree char *target = tn_strndup(rest, m);
    const char *mode = rest[m] == ':' ? rest + m + 1 : "rw";
    if (target[0] != '/' || (strcmp(mode, "ro") != 0 && strcmp(mode, "rw") != 0) || (named && n == 0)) {
        tn_error_set(err, TN_EPLAN, "volume '%s': not source:/target or source:/target:ro", volume);
        return NULL;
    }
    tn_autofree char *name = tn_docker_volume_name(volume);
    json_t *mount = json_pack("{s:s,s:s,s:b}", "Type", named && name == NULL ? "bind" : "volume", "Target",
                              target, "ReadOnly", strcmp(mode, "ro") == 0);
    if (name != NULL) {
        put_text(mount, "Source", name);
    } else if (named) {
        const char *from = tn_starts_with(source, "./") ? source + 2 : source;
        tn_autofree char *path = tn_path_join(dir != NULL ? dir : "/", from);
        put_text(mount, "Source", path);
    }
    return mount;
}

json_t *tn_docker_volume_body(const char *name, const char *app)
{
    return json_pack("{s:s,s:{s:s}}", "Name", name, "Labels", TN_LABEL_APP, app);
}

json_t *tn_docker_network_body(const char *name, const char *app)
{
    return json_pack("{s:s,s:b,s:s,s:{s:s}}", "Name", name, "CheckDuplicate", 1, "Driver", "bridge", "Labels",
                     TN_LABEL_APP, app);
}

/* Whether a network that the container is in from the start sorts before `n`. */
static bool has_earlier(const struct tn_service *s, const struct tn_network *n)
{
    for (size_t i = 0; i < s->n_networks; i++)
        if (s->networks[i].aliases.n == 0 && strcmp(s->networks[i].name, n->name) < 0)
            return true;
    return false;
}

enum tn_join tn_docker_join_of(const struct tn_service *s, const struct tn_network *n, bool exposed)
{
    /* Without a policy to hand over nothing tells later that it is confirmed. */
    if (n->aliases.n == 0 || s->restart == NULL || strcmp(s->restart, "no") == 0)
        return TN_JOIN_AT_CREATE;
    if (!exposed)
        return TN_JOIN_ALIAS_LATER;
    return has_earlier(s, n) ? TN_JOIN_LATER : TN_JOIN_AT_CREATE;
}

const struct tn_network *tn_docker_first_network(const struct tn_service *s, bool exposed)
{
    for (size_t i = 0; i < s->n_networks; i++)
        if (tn_docker_join_of(s, &s->networks[i], exposed) != TN_JOIN_LATER)
            return &s->networks[i];
    return NULL;
}

static json_t *endpoint(const struct tn_network *n, bool aliases)
{
    json_t *o = json_object();
    if (aliases)
        put_strings(o, "Aliases", &n->aliases);
    return o;
}

json_t *tn_docker_connect_body(const char *container, const struct tn_network *n, bool aliases)
{
    return json_pack("{s:s,s:o}", "Container", container, "EndpointConfig", endpoint(n, aliases));
}

json_t *tn_docker_disconnect_body(const char *container)
{
    return json_pack("{s:s}", "Container", container);
}

static void put_network(const struct tn_service *s, bool task, bool exposed, json_t *body, json_t *host)
{
    const struct tn_network *first = tn_docker_first_network(s, exposed);
    if (first == NULL)
        return;
    bool aliases = !task && tn_docker_join_of(s, first, exposed) == TN_JOIN_AT_CREATE;
    put_text(host, "NetworkMode", first->name);
    put(body, "NetworkingConfig",
        json_pack("{s:{s:o}}", "EndpointsConfig", first->name, endpoint(first, aliases)));
}

/* ---- whole bodies ---------------------------------------------------------------------------------- */

void tn_docker_merge(json_t *base, const json_t *over)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)over, key, value)
    {
        json_t *mine = json_object_get(base, key);
        if (json_is_null(value))
            json_object_del(base, key);
        else if (json_is_object(value) && json_is_object(mine))
            tn_docker_merge(mine, value);
        else
            put(base, key, json_deep_copy(value));
    }
}

static json_t *common_body(const struct tn_start *s, bool task, bool exposed)
{
    const struct tn_service *spec = s->spec;
    json_t *body = json_object();
    json_t *host = json_object();
    put_text(body, "Image", spec->image);
    put(body, "Env", environment(s));
    put_text(body, "User", spec->user);
    put_text(body, "WorkingDir", spec->working_dir);
    put_text(body, "StopSignal", spec->stop.signal);
    put(body, "StopTimeout", json_integer((json_int_t)((spec->stop.grace + 999) / 1000)));
    put(host, "RestartPolicy", json_pack("{s:s}", "Name", "no"));
    if (spec->init)
        put(host, "Init", json_true());
    if (spec->read_only)
        put(host, "ReadonlyRootfs", json_true());
    put_limits(spec, host);
    put_strings(host, "CapAdd", &spec->cap_add);
    put_strings(host, "CapDrop", &spec->cap_drop);
    put_strings(host, "ExtraHosts", &spec->extra_hosts);
    put_tmpfs(&spec->tmpfs, host);
    put_logging(spec, host);
    if (spec->volumes.n > 0) {
        json_t *mounts = json_array();
        for (size_t i = 0; i < spec->volumes.n; i++) {
            json_t *mount = tn_docker_mount(spec->volumes.v[i], s->dir, NULL);
            if (mount != NULL)
                json_array_append_new(mounts, mount);
        }
        put(host, "Mounts", mounts);
    }
    put_network(spec, task, exposed, body, host);
    put(body, "HostConfig", host);
    return body;
}

json_t *tn_docker_container_body(const struct tn_start *s, bool exposed)
{
    json_t *body = common_body(s, false, exposed);
    json_t *host = json_object_get(body, "HostConfig");
    const struct tn_service *spec = s->spec;
    if (spec->command.argv != NULL)
        put(body, "Cmd", strings(spec->command.argv, spec->command.n));
    if (spec->entrypoint.argv != NULL)
        put(body, "Entrypoint", strings(spec->entrypoint.argv, spec->entrypoint.n));
    put_text(body, "Hostname", spec->hostname);
    put_ports(s, body, host);
    put_health(&spec->health, body);
    if (spec->platform != NULL)
        tn_docker_merge(body, spec->platform);
    /* Our labels are how we find it again: the raw map cannot take them away. */
    json_t *mine = labels(s, false);
    json_t *theirs = json_object_get(body, "Labels");
    if (json_is_object(theirs))
        json_object_update(theirs, mine);
    else
        put(body, "Labels", json_incref(mine));
    json_decref(mine);
    return body;
}

json_t *tn_docker_task_body(const struct tn_start *s, const char *const *argv)
{
    json_t *body = common_body(s, true, false);
    put(body, "Entrypoint", argv_list(argv));
    put(body, "Cmd", json_array());
    put(body, "Healthcheck", json_pack("{s:[s]}", "Test", "NONE"));
    put(body, "Labels", labels(s, true));
    return body;
}

char *tn_docker_task_name(const char *app, const char *effect)
{
    tn_autofree char *name = tn_format("%s-hook-%s", app, effect);
    for (char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && strchr("_.-", *p) == NULL)
            *p = '-';
    return tn_strndup(name, TASK_NAME_MAX);
}

json_t *tn_docker_exec_body(const char *const *argv)
{
    return json_pack("{s:b,s:b,s:b,s:o}", "AttachStdout", 1, "AttachStderr", 1, "Tty", 0, "Cmd",
                     argv_list(argv));
}

char *tn_docker_doc_volume(const char *name)
{
    bool plain = strlen(name) <= 100;
    for (const char *p = name; *p; p++)
        plain = plain && (isalnum((unsigned char)*p) || strchr("_.-", *p) != NULL);
    if (plain)
        return tn_format("turnout-%s", name);
    char hex[TN_SHA256_HEX];
    tn_sha256_hex(name, strlen(name), hex);
    return tn_format("turnout-%.32s", hex);
}

json_t *tn_docker_doc_body(const char *name, const json_t *body, const char *nonce, struct tn_error **err)
{
    tn_autofree char *text = json_dumps(body, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    if (text == NULL || strlen(text) > TN_DOC_MAX) {
        tn_error_set(err, TN_ELIMIT, "document '%s': longer than %d KiB", name, TN_DOC_MAX / 1024);
        return NULL;
    }
    tn_autofree char *volume = tn_docker_doc_volume(name);
    return json_pack("{s:s,s:{s:s,s:s,s:s}}", "Name", volume, "Labels", TN_LABEL_DOC, name, TN_LABEL_DOC_BODY,
                     text, TN_LABEL_DOC_NONCE, nonce);
}
