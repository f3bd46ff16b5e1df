#include "lib/provider/process/process.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "turnout/fs.h"
#include "turnout/mem.h"
#include "turnout/text.h"
#include "lib/transport/shim.h"

#define NAME_MAX_BYTES 200

static bool plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("._-", c);
}

bool tn_process_name_ok(const char *name)
{
    size_t n = name ? strlen(name) : 0;
    if (n == 0 || n > NAME_MAX_BYTES || name[0] == '.')
        return false;
    for (size_t i = 0; i < n; i++)
        if (!plain(name[i]))
            return false;
    return true;
}

char *tn_process_name_from(const char *text)
{
    char *name = tn_strdup(text);
    for (char *p = name; *p; p++)
        if (!plain(*p) || (p == name && *p == '.'))
            *p = '_';
    return name;
}

static void impossible(struct tn_buf *all, const struct tn_service *s, const char *key, bool set)
{
    if (set)
        tn_buf_printf(all, "%sservice '%s': '%s' is not possible on a process cluster", all->len ? "; " : "",
                      s->name, key);
}

static void check_service(struct tn_buf *all, const struct tn_service *s)
{
    impossible(all, s, "image", s->image != NULL);
    impossible(all, s, "entrypoint", s->entrypoint.n > 0);
    impossible(all, s, "networks", s->n_networks > 0);
    impossible(all, s, "volumes", s->volumes.n > 0);
    impossible(all, s, "cpu", s->cpu > 0);
    impossible(all, s, "memory", s->memory > 0);
    impossible(all, s, "user", s->user != NULL);
    impossible(all, s, "hostname", s->hostname != NULL);
    impossible(all, s, "init", s->init);
    impossible(all, s, "read_only", s->read_only);
    impossible(all, s, "ulimits", s->n_ulimits > 0);
    impossible(all, s, "cap_add", s->cap_add.n > 0);
    impossible(all, s, "cap_drop", s->cap_drop.n > 0);
    impossible(all, s, "extra_hosts", s->extra_hosts.n > 0);
    impossible(all, s, "tmpfs", s->tmpfs.n > 0);
    impossible(all, s, "logging", s->log_driver != NULL || s->log_options.n > 0);
    impossible(all, s, "platform", s->platform != NULL);
    impossible(all, s, "health.native", s->health.kind == TN_HEALTH_NATIVE);
    for (size_t i = 0; i < s->n_ports; i++)
        impossible(all, s, "ports.container", s->ports[i].container > 0);
    if (s->command.n == 0)
        tn_buf_printf(all, "%sservice '%s': 'command' is required on a process cluster", all->len ? "; " : "",
                      s->name);
}

int tn_process_check(const struct tn_plan *plan, const struct tn_cluster *cluster, struct tn_error **err)
{
    tn_autobuf all = TN_BUF_INIT(65536);
    for (size_t i = 0; i < plan->n_services; i++)
        for (size_t k = 0; k < plan->services[i].clusters.n; k++)
            if (tn_streq(plan->services[i].clusters.v[k], cluster->name))
                check_service(&all, &plan->services[i]);
    return all.len > 0 ? tn_error_set(err, TN_EPLAN, "%s", all.data) : TN_OK;
}

char *tn_process_port_env(const char *port_name)
{
    char *name = tn_format("PORT_%s", port_name);
    for (char *p = name + 5; *p; p++)
        *p = isascii(*p) && isalnum((unsigned char)*p) ? (char)toupper((unsigned char)*p) : '_';
    return name;
}

/* JSON holds UTF-8 only; a value that is not must be refused, never left out. */
static int set_env(json_t *env, const char *name, const char *value, struct tn_error **err)
{
    if (json_object_set_new(env, name, json_string(value)) == 0)
        return TN_OK;
    return tn_error_set(err, TN_EFAIL, "variable '%s': its value is not UTF-8 text", name);
}

static int set_ports(json_t *env, const struct tn_start *s, struct tn_error **err)
{
    int rc = TN_OK;
    for (size_t i = 0; rc == TN_OK && i < s->n_ports; i++) {
        tn_autofree char *name = tn_process_port_env(s->ports[i].name);
        tn_autofree char *port = tn_format("%d", s->ports[i].host_port);
        rc = set_env(env, name, port, err);
        if (rc == TN_OK && i == 0)
            rc = set_env(env, "PORT", port, err);
    }
    return rc;
}

/* The ports come last: the balancer sends to them, so no `env` may say otherwise. */
static int fill_env(json_t *env, const struct tn_start *s, struct tn_error **err)
{
    int rc = TN_OK;
    for (size_t i = 0; rc == TN_OK && i < s->spec->env.n; i++)
        rc = set_env(env, s->spec->env.v[i].name, s->spec->env.v[i].value, err);
    for (size_t i = 0; rc == TN_OK && i < s->n_secrets; i++)
        rc = set_env(env, s->secrets[i].env, s->secrets[i].value, err);
    return rc == TN_OK ? set_ports(env, s, err) : rc;
}

/* The program is the plan's, wherever it runs; its arguments are the program's own business. */
static json_t *argv_of(const struct tn_start *s, const char *const *argv)
{
    json_t *words = json_array();
    for (size_t i = 0; argv[i]; i++) {
        bool relative = i == 0 && argv[0][0] != '/' && strchr(argv[0], '/') && s->dir;
        tn_autofree char *path = relative ? tn_path_join(s->dir, argv[0]) : NULL;
        json_array_append_new(words, json_string(path ? path : argv[i]));
    }
    return words;
}

static char *cwd_of(const struct tn_start *s)
{
    const char *dir = s->dir ? s->dir : "/";
    return s->spec->working_dir ? tn_path_join(dir, s->spec->working_dir) : tn_strdup(dir);
}

int tn_process_spec(const struct tn_start *s, const char *const *argv, json_t **out, struct tn_error **err)
{
    if (!argv)
        argv = (const char *const *)s->spec->command.argv;
    if (!argv || !argv[0])
        return tn_error_set(err, TN_EPLAN, "service '%s': 'command' is required on a process cluster",
                            s->service);
    const char *sig = s->spec->stop.signal ? s->spec->stop.signal : "SIGTERM";
    if (tn_signal_number(sig) == 0)
        return tn_error_set(err, TN_EPLAN, "service '%s': stop.signal '%s' is not a signal of this host",
                            s->service, sig);
    json_t *env = json_object();
    int rc = fill_env(env, s, err);
    if (rc == TN_OK) {
        tn_autofree char *cwd = cwd_of(s);
        *out = json_pack("{s:o, s:O, s:s, s:s, s:I}", "argv", argv_of(s, argv), "env", env, "cwd", cwd,
                         "signal", sig, "grace_ms", (json_int_t)s->spec->stop.grace);
        rc = *out ? TN_OK
                  : tn_error_set(err, TN_EFAIL, "service '%s': its folder is not UTF-8 text", s->service);
    }
    json_decref(env);
    return rc;
}

json_t *tn_process_meta(const struct tn_start *s)
{
    json_t *ports = json_object();
    for (size_t i = 0; i < s->n_ports; i++)
        json_object_set_new(ports, s->ports[i].name, json_integer(s->ports[i].host_port));
    tn_autofree char *port_text = json_dumps(ports, JSON_COMPACT);
    json_decref(ports);
    const struct {
        const char *label, *value;
    } rows[] = {
        {TN_LABEL_APP, s->app},           {TN_LABEL_ENV, s->environment ? s->environment : ""},
        {TN_LABEL_SERVICE, s->service},   {TN_LABEL_CLUSTER, s->cluster},
        {TN_LABEL_REVISION, s->revision}, {TN_LABEL_ROLLOUT, s->rollout},
        {TN_LABEL_EFFECT, s->effect},     {TN_LABEL_SPEC, s->spec_json},
        {TN_LABEL_PORTS, port_text},      {TN_LABEL_SECRETS, s->secret_hashes},
    };
    json_t *labels = json_object();
    for (size_t i = 0; i < TN_COUNT(rows); i++)
        if (rows[i].value)
            json_object_set_new(labels, rows[i].label, json_string(rows[i].value));
    for (size_t i = 0; i < s->spec->labels.n; i++)
        if (!json_object_get(labels, s->spec->labels.v[i].name))
            json_object_set_new(labels, s->spec->labels.v[i].name, json_string(s->spec->labels.v[i].value));
    return json_pack("{s:s, s:o}", "name", s->name, "labels", labels);
}
