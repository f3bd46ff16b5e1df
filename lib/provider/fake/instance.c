#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "turnout/clock.h"
#include "turnout/mem.h"
#include "turnout/text.h"
#include "lib/provider/fake/fake.h"

static const char *text_in(const json_t *j, const char *key)
{
    return json_string_value(json_object_get(j, key));
}

static const char *version_of(const struct tn_service *s)
{
    for (size_t i = 0; s && i < s->env.n; i++)
        if (strcmp(s->env.v[i].name, "VERSION") == 0)
            return s->env.v[i].value;
    return NULL;
}

struct tn_fake_keys tn_fake_keys_of(const struct tn_start *s)
{
    return (struct tn_fake_keys){s->service, s->revision, version_of(s->spec), s->name};
}

struct tn_fake_keys tn_fake_keys_in(const json_t *instance, const char *name)
{
    const json_t *labels = json_object_get(instance, "labels");
    return (struct tn_fake_keys){text_in(labels, TN_LABEL_SERVICE), text_in(labels, TN_LABEL_REVISION),
                                 text_in(instance, "version"), name};
}

bool tn_fake_host_down(const struct tn_fake_call *k, const struct tn_provider *p, size_t host)
{
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(k->script, "hosts_down"), i, one)
    {
        if (host < p->n_hosts && tn_streq(json_string_value(one), p->host_names[host]))
            return true;
    }
    return false;
}

static int host_answers(const struct tn_fake_call *k, const struct tn_provider *p, size_t host,
                        struct tn_error **err)
{
    if (!tn_fake_host_down(k, p, host))
        return TN_OK;
    return tn_error_set(err, TN_EUNREACHABLE, "host '%s': connection refused", p->host_names[host]);
}

/* ---- looking ---- */

static size_t host_of(const struct tn_provider *p, const json_t *instance)
{
    const char *name = text_in(instance, "host");
    for (size_t i = 0; i < p->n_hosts; i++)
        if (tn_streq(p->host_names[i], name))
            return i;
    return 0;
}

static void look_at_end(struct tn_fake_call *k, const json_t *entry, const struct tn_fake_keys *keys,
                        struct tn_instance *i)
{
    json_t *end = tn_fake_pick(json_object_get(k->script, "exit_after_start"), keys);
    json_int_t after = json_integer_value(json_object_get(end, "after_ms"));
    bool by_hand = tn_streq(text_in(entry, "state"), "exited");
    if (!by_hand && (!end || tn_wall_ms() < i->started_at + after))
        return;
    if (by_hand)
        end = (json_t *)(uintptr_t)entry;
    const json_t *code = json_is_integer(end) ? end : json_object_get(end, by_hand ? "exit_code" : "code");
    i->state = TN_RUN_EXITED;
    i->exit_code = (int)json_integer_value(code);
    i->exit_signal = (int)json_integer_value(json_object_get(end, "signal"));
    i->oom_killed = json_is_true(json_object_get(end, "oom"));
    i->detail = tn_strdup(text_in(end, "detail"));
}

static enum tn_native_health health_of(struct tn_fake_call *k, const json_t *entry,
                                       const struct tn_fake_keys *keys, const struct tn_instance *i)
{
    int64_t age = tn_wall_ms() - i->started_at;
    const json_t *sick = tn_fake_pick(json_object_get(k->script, "unhealthy"), keys);
    const json_t *ready = tn_fake_pick(json_object_get(k->script, "ready_after_ms"), keys);
    if (!json_is_true(json_object_get(entry, "native")))
        return TN_NATIVE_NONE;
    if (sick && age >= json_integer_value(sick))
        return TN_NATIVE_UNHEALTHY;
    if (tn_fake_pick(json_object_get(k->script, "never_ready"), keys) || age < json_integer_value(ready))
        return TN_NATIVE_STARTING;
    return TN_NATIVE_HEALTHY;
}

static void take_labels(const json_t *labels, struct tn_instance *i)
{
    i->service = tn_strdup(text_in(labels, TN_LABEL_SERVICE));
    i->cluster = tn_strdup(text_in(labels, TN_LABEL_CLUSTER));
    i->revision = tn_strdup(text_in(labels, TN_LABEL_REVISION));
    i->rollout = tn_strdup(text_in(labels, TN_LABEL_ROLLOUT));
    i->effect = tn_strdup(text_in(labels, TN_LABEL_EFFECT));
    i->environment = tn_strdup(text_in(labels, TN_LABEL_ENV));
    i->spec = tn_strdup(text_in(labels, TN_LABEL_SPEC));
    i->secrets = tn_strdup(text_in(labels, TN_LABEL_SECRETS));
}

static void take_ports(json_t *ports, struct tn_instance *i)
{
    const char *name;
    json_t *port;
    i->ports = tn_alloc((json_object_size(ports) + 1) * sizeof(*i->ports));
    json_object_foreach(ports, name, port)
    {
        i->ports[i->n_ports].name = tn_strdup(name);
        i->ports[i->n_ports++].host_port = (int)json_integer_value(port);
    }
}

void tn_fake_look(struct tn_fake_call *k, const struct tn_provider *p, const char *name,
                  struct tn_observation *out)
{
    const json_t *entry = json_object_get(json_object_get(k->world, "instances"), name);
    struct tn_fake_keys keys = tn_fake_keys_in(entry, name);
    size_t host = host_of(p, entry);
    if (tn_fake_host_down(k, p, host))
        return;
    TN_GROW(out->v, out->n, out->cap);
    struct tn_instance *i = &out->v[out->n++];
    *i = (struct tn_instance){.host = host, .exit_code = -1};
    i->name = tn_strdup(name);
    i->id = tn_strdup(text_in(entry, "id"));
    i->state = tn_streq(text_in(entry, "state"), "created") ? TN_RUN_CREATED : TN_RUN_RUNNING;
    i->started_at = json_integer_value(json_object_get(entry, "started_at"));
    i->address = tn_strdup(text_in(entry, "address"));
    i->restart_policy = tn_strdup(text_in(entry, "policy"));
    take_labels(json_object_get(entry, "labels"), i);
    take_ports(json_object_get(entry, "ports"), i);
    if (i->state == TN_RUN_RUNNING)
        look_at_end(k, entry, &keys, i);
    i->health = i->state == TN_RUN_RUNNING ? health_of(k, entry, &keys, i) : TN_NATIVE_NONE;
}

/* ---- start ---- */

static bool is_stranger(const struct tn_fake_call *k, const char *name)
{
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(k->world, "strangers"), i, one)
    {
        if (tn_streq(json_string_value(one), name))
            return true;
    }
    return false;
}

static bool port_is_busy(const struct tn_fake_call *k, const char *host, int port)
{
    const char *name, *port_name;
    json_t *entry, *one;
    size_t i;
    json_array_foreach(json_object_get(k->script, "ports_busy"), i, one)
    {
        if (json_integer_value(one) == port)
            return true;
    }
    json_object_foreach(json_object_get(k->world, "instances"), name, entry)
    {
        if (!tn_streq(text_in(entry, "host"), host))
            continue;
        json_object_foreach(json_object_get(entry, "ports"), port_name, one)
        {
            if (json_integer_value(one) == port)
                return true;
        }
    }
    return false;
}

static json_t *labels_of(const struct tn_start *s, const char *ports)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s*,s:s}", TN_LABEL_APP, s->app, TN_LABEL_ENV,
                     s->environment, TN_LABEL_SERVICE, s->service, TN_LABEL_CLUSTER, s->cluster,
                     TN_LABEL_REVISION, s->revision, TN_LABEL_ROLLOUT, s->rollout, TN_LABEL_EFFECT, s->effect,
                     TN_LABEL_SPEC, s->spec_json, TN_LABEL_SECRETS, s->secret_hashes, TN_LABEL_PORTS, ports);
}

static json_t *env_of(const struct tn_start *s)
{
    json_t *env = json_object();
    for (size_t i = 0; i < s->spec->env.n; i++)
        json_object_set_new(env, s->spec->env.v[i].name, json_string(s->spec->env.v[i].value));
    for (size_t i = 0; i < s->n_secrets; i++)
        json_object_set_new(env, s->secrets[i].env, json_string(s->secrets[i].value));
    return env;
}

static int check_names_and_ports(struct tn_fake_call *k, const struct tn_provider *p,
                                 const struct tn_start *s, struct tn_error **err)
{
    if (is_stranger(k, s->name))
        return tn_error_set(err, TN_ESTRANGER, "name '%s': taken by something that is not ours", s->name);
    if (json_object_get(json_object_get(k->world, "instances"), s->name))
        return tn_error_set(err, TN_EEXISTS, "name '%s': taken by another instance of ours", s->name);
    for (size_t i = 0; i < s->n_ports; i++)
        if (port_is_busy(k, p->host_names[s->host], s->ports[i].host_port))
            return tn_error_set(err, TN_EBUSY, "port %d: in use", s->ports[i].host_port);
    return TN_OK;
}

static json_t *entry_of(struct tn_fake_call *k, const struct tn_provider *p, const struct tn_start *s)
{
    json_t *ports = json_object();
    for (size_t i = 0; i < s->n_ports; i++)
        json_object_set_new(ports, s->ports[i].name, json_integer(s->ports[i].host_port));
    tn_autofree char *text = json_dumps(ports, JSON_COMPACT);
    tn_autofree char *id = tn_format("fake-%lld", (long long)k->n);
    const char *version = version_of(s->spec);
    const char *bind = s->n_ports ? s->ports[0].bind : NULL;
    return json_pack("{s:s,s:s,s:s,s:I,s:b,s:s,s:s*,s:s,s:o,s:o,s:o}", "id", id, "host",
                     p->host_names[s->host], "state", "running", "started_at", (json_int_t)tn_wall_ms(),
                     "native", s->spec->health.kind == TN_HEALTH_NATIVE, "policy", "no", "version", version,
                     "address", bind ? bind : "127.0.0.1", "ports", ports, "labels", labels_of(s, text),
                     "env", env_of(s));
}

static int start_in(struct tn_fake_call *k, const struct tn_provider *p, const struct tn_start *s,
                    struct tn_error **err)
{
    json_t *instances = tn_fake_object(k->world, "instances"), *there = json_object_get(instances, s->name);
    int rc = host_answers(k, p, s->host, err);
    if (rc == TN_OK && there &&
        tn_streq(text_in(json_object_get(there, "labels"), TN_LABEL_EFFECT), s->effect)) {
        json_object_set_new(there, "state", json_string("running"));
        return TN_OK;
    }
    if (rc == TN_OK)
        rc = check_names_and_ports(k, p, s, err);
    if (rc != TN_OK)
        return rc;
    json_object_set_new(instances, s->name, entry_of(k, p, s));
    tn_fake_note(k, "start %s on %s", s->name, p->host_names[s->host]);
    return TN_OK;
}

int tn_fake_start(struct tn_provider *p, struct tn_cancel *c, const struct tn_start *s, struct tn_error **err)
{
    struct tn_fake_keys keys = tn_fake_keys_of(s);
    struct tn_fake_call k;
    int rc = tn_fake_enter(&k, tn_fake_file(p), "start", &keys, c, err);
    return rc < 0 ? rc : tn_fake_leave(&k, start_in(&k, p, s, err), err);
}

/* ---- the others ---- */

static struct tn_fake_keys keys_of_instance(const struct tn_instance *i)
{
    return (struct tn_fake_keys){.service = i->service, .revision = i->revision, .instance = i->name};
}

int tn_fake_stop(struct tn_provider *p, struct tn_cancel *c, const struct tn_instance *i, const char *signal,
                 int64_t grace_ms, struct tn_error **err)
{
    struct tn_fake_keys keys = keys_of_instance(i);
    struct tn_fake_call k;
    int rc = tn_fake_enter(&k, tn_fake_file(p), "stop", &keys, c, err);
    if (rc < 0)
        return rc;
    json_t *instances = tn_fake_object(k.world, "instances");
    rc = host_answers(&k, p, i->host, err);
    if (rc == TN_OK && json_object_get(instances, i->name)) {
        json_object_del(instances, i->name);
        tn_fake_note(&k, "stop %s %s %lldms", i->name, signal, (long long)grace_ms);
    }
    return tn_fake_leave(&k, rc, err);
}

int tn_fake_set_restart(struct tn_provider *p, struct tn_cancel *c, const struct tn_instance *i,
                        const char *policy, struct tn_error **err)
{
    struct tn_fake_keys keys = keys_of_instance(i);
    struct tn_fake_call k;
    int rc = tn_fake_enter(&k, tn_fake_file(p), "set_restart", &keys, c, err);
    if (rc < 0)
        return rc;
    json_t *there = json_object_get(tn_fake_object(k.world, "instances"), i->name);
    rc = host_answers(&k, p, i->host, err);
    if (rc == TN_OK && !there)
        rc = tn_error_set(err, TN_ENOTFOUND, "instance '%s': does not exist", i->name);
    if (rc == TN_OK) {
        json_object_set_new(there, "policy", json_string(policy));
        tn_fake_note(&k, "set_restart %s %s", i->name, policy);
    }
    return tn_fake_leave(&k, rc, err);
}
