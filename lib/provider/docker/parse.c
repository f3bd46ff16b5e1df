#include "lib/provider/docker/parse.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "turnout/buf.h"
#include "turnout/clock.h"
#include "turnout/mem.h"
#include "turnout/text.h"
#include "lib/provider/docker/request.h"

enum { MESSAGE_MAX = 1000, PORTS_MAX = 16 };
#define SECONDS_MAX 100000000000 /* the year 5138 */

json_t *tn_docker_json(const char *data, size_t len, struct tn_error **err)
{
    json_error_t why;
    json_t *o = json_loadb(data != NULL ? data : "", len, JSON_REJECT_DUPLICATES, &why);
    if (o == NULL)
        tn_error_set(err, TN_EPROTO, "the engine's answer is no JSON: %s", why.text);
    return o;
}

const char *tn_docker_text(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

char *tn_docker_message(const char *data, size_t len)
{
    json_t *o = json_loadb(data != NULL ? data : "", len, 0, NULL);
    const char *text = tn_docker_text(o, "message");
    size_t max = text != NULL ? strlen(text) : len;
    if (text == NULL && data != NULL)
        text = data;
    max = max < MESSAGE_MAX ? max : MESSAGE_MAX;
    char *message = text != NULL && max > 0 ? tn_strndup(text, max) : tn_strdup("no reason given");
    json_decref(o);
    size_t n = strlen(message);
    while (n > 0 && strchr(" \r\n", message[n - 1]) != NULL)
        message[--n] = '\0';
    return message;
}

static int integer(const json_t *o, const char *key, int otherwise)
{
    const json_t *v = json_object_get(o, key);
    json_int_t n = json_integer_value(v);
    return json_is_integer(v) && n >= INT32_MIN && n <= INT32_MAX ? (int)n : otherwise;
}

int tn_docker_api_minor(const char *version)
{
    int64_t minor;
    if (version == NULL || !tn_starts_with(version, "1.") || !tn_parse_int(version + 2, &minor) ||
        minor < 0 || minor > 9999)
        return -1;
    return (int)minor;
}

/* ---- containers ------------------------------------------------------------------------------------ */

static const struct tn_name states[] = {
    {"created", TN_RUN_CREATED}, {"running", TN_RUN_RUNNING},
    {"paused", TN_RUN_RUNNING},  {"restarting", TN_RUN_EXITED},
    {"exited", TN_RUN_EXITED},   {"dead", TN_RUN_EXITED},
    {"removing", TN_RUN_EXITED}, {NULL, 0},
};

void tn_docker_status(const char *status, enum tn_native_health *health, int *exit_code)
{
    *health = TN_NATIVE_NONE;
    *exit_code = -1;
    if (status == NULL)
        return;
    if (strstr(status, "(healthy)") != NULL)
        *health = TN_NATIVE_HEALTHY;
    else if (strstr(status, "(unhealthy)") != NULL)
        *health = TN_NATIVE_UNHEALTHY;
    else if (strstr(status, "(health: starting)") != NULL)
        *health = TN_NATIVE_STARTING;
    const char *open = strchr(status, '(');
    if (open != NULL && (tn_starts_with(status, "Exited (") || tn_starts_with(status, "Restarting ("))) {
        char *end;
        long code = strtol(open + 1, &end, 10);
        if (*end == ')' && end > open + 1 && code >= 0 && code <= 255)
            *exit_code = (int)code;
    }
}

int tn_docker_signal_of(int exit_code)
{
    return exit_code > 128 && exit_code < 128 + NSIG ? exit_code - 128 : 0;
}

/* It becomes part of paths. */
static bool is_id(const char *s)
{
    size_t n = s != NULL ? strspn(s, "0123456789abcdef") : 0;
    return n >= 12 && n <= 64 && s[n] == '\0';
}

/* A link adds names like "/other/alias"; the container's own has one slash. */
static const char *own_name(const json_t *names)
{
    size_t i;
    json_t *v;
    json_array_foreach(names, i, v)
    {
        const char *s = json_string_value(v);
        if (s != NULL && s[0] == '/' && s[1] != '\0' && strchr(s + 1, '/') == NULL)
            return s + 1;
    }
    return NULL;
}

static void read_ports(struct tn_instance *i, const char *label)
{
    json_t *ports = label != NULL ? json_loads(label, 0, NULL) : NULL;
    const char *name;
    json_t *v;
    i->ports = tn_alloc(PORTS_MAX * sizeof *i->ports);
    json_object_foreach(ports, name, v)
    {
        json_int_t port = json_integer_value(v);
        if (i->n_ports < PORTS_MAX && port > 0 && port <= 65535) {
            i->ports[i->n_ports].name = tn_strdup(name);
            i->ports[i->n_ports++].host_port = (int)port;
        }
    }
    json_decref(ports);
}

static void read_instance(struct tn_instance *i, const json_t *c, const char *name, const json_t *labels)
{
    const char *status = tn_docker_text(c, "Status");
    const char *state = tn_docker_text(c, "State");
    int value = TN_RUN_EXITED;
    tn_name_find(states, state != NULL ? state : "", &value);
    i->state = (enum tn_run_state)value;
    i->name = tn_strdup(name);
    i->id = tn_strdup(tn_docker_text(c, "Id"));
    tn_docker_status(status, &i->health, &i->exit_code);
    i->exit_signal = tn_docker_signal_of(i->exit_code);
    bool ordinary = tn_streq(state, "running") || tn_streq(state, "created") || tn_streq(state, "exited");
    if (!ordinary || (i->state == TN_RUN_EXITED && i->exit_code < 0))
        i->detail = tn_strdup(status); /* else state and exit code say it all */
    json_int_t created = json_integer_value(json_object_get(c, "Created"));
    if (i->state != TN_RUN_CREATED && created > 0 && created < SECONDS_MAX)
        i->started_at = (int64_t)created * 1000;
    i->service = tn_strdup(tn_docker_text(labels, TN_LABEL_SERVICE));
    i->revision = tn_strdup(tn_docker_text(labels, TN_LABEL_REVISION));
    i->rollout = tn_strdup(tn_docker_text(labels, TN_LABEL_ROLLOUT));
    i->effect = tn_strdup(tn_docker_text(labels, TN_LABEL_EFFECT));
    i->spec = tn_strdup(tn_docker_text(labels, TN_LABEL_SPEC));
    i->secrets = tn_strdup(tn_docker_text(labels, TN_LABEL_SECRETS));
    const char *environment = tn_docker_text(labels, TN_LABEL_ENV);
    i->environment = tn_strdup(environment != NULL ? environment : "");
    read_ports(i, tn_docker_text(labels, TN_LABEL_PORTS));
}

/* Where its ports were published; NULL when on every address, or not at all. A port that was bound for a balancer in a
 * container is reached on that bridge's address only. */
static const char *bound_address(const json_t *ports)
{
    size_t at;
    json_t *one;
    json_array_foreach((json_t *)(uintptr_t)ports, at, one)
    {
        const char *ip = tn_docker_text(one, "IP");
        if (ip != NULL && *ip && strcmp(ip, "0.0.0.0") != 0 && strcmp(ip, "::") != 0 &&
            json_integer_value(json_object_get(one, "PublicPort")) > 0)
            return ip;
    }
    return NULL;
}

int tn_docker_list(const json_t *list, size_t host, const char *address, struct tn_observation *out,
                   struct tn_error **err)
{
    if (!json_is_array(list))
        return tn_error_set(err, TN_EPROTO, "the engine's list of containers is no list");
    size_t at;
    json_t *c;
    json_array_foreach(list, at, c)
    {
        const json_t *labels = json_object_get(c, "Labels");
        const char *name = own_name(json_object_get(c, "Names"));
        if (name == NULL || !is_id(tn_docker_text(c, "Id")))
            return tn_error_set(err, TN_EPROTO, "a container in the engine's list has no name or no id");
        if (tn_docker_text(labels, TN_LABEL_SERVICE) == NULL ||
            tn_docker_text(labels, TN_LABEL_REVISION) == NULL ||
            json_object_get(labels, TN_LABEL_HOOK) != NULL)
            continue;
        TN_GROW(out->v, out->n, out->cap);
        struct tn_instance *i = &out->v[out->n++];
        const char *bound = bound_address(json_object_get(c, "Ports"));
        *i = (struct tn_instance){
            .host = host, .exit_code = -1, .address = tn_strdup(bound != NULL ? bound : address)};
        read_instance(i, c, name, labels);
    }
    return TN_OK;
}

int tn_docker_inspect(const json_t *o, struct tn_inspect *out, struct tn_error **err)
{
    const json_t *state = json_object_get(o, "State");
    const json_t *policy = json_object_get(json_object_get(o, "HostConfig"), "RestartPolicy");
    const json_t *config = json_object_get(o, "Config");
    *out = (struct tn_inspect){
        .id = tn_docker_text(o, "Id"),
        .status = tn_docker_text(state, "Status"),
        .error = tn_docker_text(state, "Error"),
        .restart_policy = tn_docker_text(policy, "Name"),
        .labels = json_object_get(config, "Labels"),
        .networks = json_object_get(json_object_get(o, "NetworkSettings"), "Networks"),
        .running = json_is_true(json_object_get(state, "Running")),
        .oom_killed = json_is_true(json_object_get(state, "OOMKilled")),
        .tty = json_is_true(json_object_get(config, "Tty")),
        .exit_code = integer(state, "ExitCode", -1),
        .restarts = integer(o, "RestartCount", 0),
    };
    const char *started = tn_docker_text(state, "StartedAt");
    int64_t at = started != NULL ? tn_parse_time(started) : -1;
    out->started_at = at > 0 ? at : 0;
    if (!is_id(out->id) || out->status == NULL)
        return tn_error_set(err, TN_EPROTO, "the engine's description of a container has no id or no state");
    return TN_OK;
}

const char *tn_docker_repo_digest(const json_t *image, const char *repository)
{
    size_t i, n = strlen(repository);
    json_t *v;
    json_array_foreach(json_object_get(image, "RepoDigests"), i, v)
    {
        const char *s = json_string_value(v);
        if (s != NULL && strncmp(s, repository, n) == 0 && strncmp(s + n, "@sha256:", 8) == 0)
            return s;
    }
    return NULL;
}

/* ---- pulls ----------------------------------------------------------------------------------------- */

static int64_t amount(const json_t *detail, const char *key)
{
    json_int_t n = json_integer_value(json_object_get(detail, key));
    return n > 0 ? (int64_t)n : 0;
}

static void pull_object(struct tn_pull *p)
{
    json_t *o = json_loadb(p->line.data, p->line.len, 0, NULL);
    if (!json_is_object(o)) {
        p->broken = true;
        json_decref(o);
        return;
    }
    const char *failed = tn_docker_text(json_object_get(o, "errorDetail"), "message");
    if (failed == NULL)
        failed = tn_docker_text(o, "error");
    if (failed == NULL && (json_object_get(o, "errorDetail") != NULL || json_object_get(o, "error") != NULL))
        failed = "no reason given";
    if (failed != NULL && p->error == NULL)
        p->error = tn_strdup(failed);
    const char *status = tn_docker_text(o, "status");
    if (status != NULL && p->progress != NULL) {
        const char *layer = tn_docker_text(o, "id");
        const json_t *detail = json_object_get(o, "progressDetail");
        tn_autofree char *text = layer != NULL ? tn_format("%s %s", layer, status) : tn_strdup(status);
        p->progress(p->arg, text, amount(detail, "current"), amount(detail, "total"));
    }
    json_decref(o);
}

/* Finds the ends of objects by their braces; what is in between is read by the JSON parser. */
static void pull_byte(struct tn_pull *p, char c)
{
    if (p->depth == 0) {
        if (c != '{') {
            p->broken = p->broken || strchr(" \t\r\n", c) == NULL;
            return;
        }
    }
    tn_buf_putc(&p->line, c);
    if (p->in_text) {
        if (p->escaped)
            p->escaped = false;
        else if (c == '\\')
            p->escaped = true;
        else if (c == '"')
            p->in_text = false;
        return;
    }
    if (c == '"')
        p->in_text = true;
    else if (c == '{')
        p->depth++;
    else if (c == '}' && --p->depth == 0) {
        if (!p->line.overflow)
            pull_object(p);
        p->line.len = 0;
    }
}

bool tn_pull_feed(struct tn_pull *p, const char *data, size_t n)
{
    for (size_t i = 0; i < n && !p->broken; i++) {
        pull_byte(p, data[i]);
        p->broken = p->broken || p->line.overflow;
    }
    return !p->broken && p->error == NULL;
}

bool tn_pull_is_clean(const struct tn_pull *p)
{
    return !p->broken && p->error == NULL && p->depth == 0;
}

void tn_pull_clear(struct tn_pull *p)
{
    tn_buf_clear(&p->line);
    free(p->error);
    p->error = NULL;
}

/* ---- documents ------------------------------------------------------------------------------------- */

json_t *tn_docker_doc(const json_t *volume, struct tn_error **err)
{
    const json_t *labels = json_object_get(volume, "Labels");
    const char *name = tn_docker_text(labels, TN_LABEL_DOC);
    const char *text = tn_docker_text(labels, TN_LABEL_DOC_BODY);
    const char *volume_name = tn_docker_text(volume, "Name");
    if (name == NULL || text == NULL) {
        tn_error_set(err, TN_ESTRANGER, "volume '%s': holds no document of ours",
                     volume_name != NULL ? volume_name : "?");
        return NULL;
    }
    json_t *body = strlen(text) <= TN_DOC_MAX ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    if (body == NULL)
        tn_error_set(err, TN_EPROTO, "document '%s': cannot be read", name);
    return body;
}

int tn_docker_docs(const json_t *answer, const char *prefix, struct tn_docs *out, struct tn_error **err)
{
    const json_t *list = json_object_get(answer, "Volumes");
    if (!json_is_object(answer) || (list != NULL && !json_is_array(list) && !json_is_null(list)))
        return tn_error_set(err, TN_EPROTO, "the engine's list of volumes is no list");
    size_t i;
    json_t *volume;
    json_array_foreach(list, i, volume)
    {
        const char *name = tn_docker_text(json_object_get(volume, "Labels"), TN_LABEL_DOC);
        if (name == NULL || !tn_starts_with(name, prefix))
            continue;
        json_t *body = tn_docker_doc(volume, err);
        if (body == NULL)
            return TN_EPROTO;
        TN_GROW(out->v, out->n, out->cap);
        out->v[out->n++] = (struct tn_doc){.name = tn_strdup(name), .body = body};
    }
    return TN_OK;
}
