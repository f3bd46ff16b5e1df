/* A scripted balancer for tests; not in the released program.
 *
 * The world (lib/base/fake/world.h) is balancer.file: "traffic" {upstream: {…, "servers": {instance: {address, port,
 * weight, backup}}}}, "left" {instance: {upstream, address, port, until}}, "foreign" and "edited" (true). Its script also
 * holds "down": true or a message, "drain_ms": N or {instance glob: N}, "no_answer": {instance glob: message}: a new
 * server that never answers.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/balancer/balancer.h"
#include "turnout/clock.h"
#include "lib/base/fake/world.h"
#include "lib/base/hash.h"
#include "turnout/mem.h"
#include "turnout/text.h"

enum { FORGET_AFTER = 60000 };

static const char *file_of(const struct tn_balancer_driver *b)
{
    return b->config->file;
}

static const char *text_in(const json_t *j, const char *key)
{
    return json_string_value(json_object_get(j, key));
}

/* ---- traffic and JSON ---- */

static json_t *server_json(const struct tn_server *s)
{
    return json_pack("{s:s,s:i,s:i,s:b}", "address", s->address, "port", s->port, "weight", s->weight,
                     "backup", s->backup);
}

static json_t *upstream_json(const struct tn_upstream *u)
{
    json_t *servers = json_object();
    for (size_t i = 0; i < u->n_servers; i++)
        json_object_set_new(servers, u->servers[i].instance, server_json(&u->servers[i]));
    return json_pack("{s:s*,s:s*,s:s*,s:s*,s:i,s:i,s:I,s:i,s:s*,s:s*,s:o}", "service", u->service, "host",
                     u->host, "path", u->path, "balance", u->balance, "keepalive", u->keepalive, "max_fails",
                     u->max_fails, "fail_timeout", (json_int_t)u->fail_timeout, "slots", u->slots,
                     "probe_path", u->probe_path, "probe_expect", u->probe_expect, "servers", servers);
}

static json_t *traffic_json(const struct tn_traffic *t)
{
    json_t *all = json_object();
    for (size_t i = 0; i < t->n; i++)
        json_object_set_new(all, t->v[i].name, upstream_json(&t->v[i]));
    return all;
}

static int int_in(const json_t *j, const char *key)
{
    return (int)json_integer_value(json_object_get(j, key));
}

static void read_upstream(const char *name, const json_t *j, struct tn_upstream *u)
{
    const char *instance;
    json_t *s;
    *u = (struct tn_upstream){
        .name = tn_strdup(name),
        .service = tn_strdup(text_in(j, "service")),
        .host = tn_strdup(text_in(j, "host")),
        .path = tn_strdup(text_in(j, "path")),
        .balance = tn_strdup(text_in(j, "balance")),
        .keepalive = int_in(j, "keepalive"),
        .max_fails = int_in(j, "max_fails"),
        .fail_timeout = json_integer_value(json_object_get(j, "fail_timeout")),
        .slots = int_in(j, "slots"),
        .probe_path = tn_strdup(text_in(j, "probe_path")),
        .probe_expect = tn_strdup(text_in(j, "probe_expect")),
    };
    json_object_foreach(json_object_get(j, "servers"), instance, s)
    {
        TN_GROW(u->servers, u->n_servers, u->cap_servers);
        u->servers[u->n_servers++] = (struct tn_server){
            .instance = tn_strdup(instance),
            .address = tn_strdup(text_in(s, "address")),
            .port = int_in(s, "port"),
            .weight = int_in(s, "weight"),
            .backup = json_is_true(json_object_get(s, "backup")),
        };
    }
}

/* ---- observe ---- */

static void add_row(struct tn_balancer_status *out, const char *upstream, const char *instance,
                    const json_t *s, int64_t drains_until)
{
    bool leaving = drains_until != 0, busy = drains_until > tn_wall_ms();
    TN_GROW(out->v, out->n, out->cap);
    out->v[out->n++] = (struct tn_server_status){
        .upstream = tn_strdup(upstream),
        .instance = tn_strdup(instance),
        .address = tn_strdup(text_in(s, "address")),
        .port = int_in(s, "port"),
        .weight = int_in(s, "weight"),
        .in_rotation = leaving ? TN_NO : TN_YES,
        .drained = leaving && !busy ? TN_YES : TN_NO,
        .running = busy,
        .answered = 1,
    };
}

static void fill_status(const json_t *world, struct tn_balancer_status *out)
{
    const char *name, *instance;
    json_t *u, *s;
    json_object_foreach(json_object_get(world, "traffic"), name, u)
    {
        json_object_foreach(json_object_get(u, "servers"), instance, s)
        {
            add_row(out, name, instance, s, 0);
        }
    }
    json_object_foreach(json_object_get(world, "left"), instance, s)
    {
        add_row(out, text_in(s, "upstream"), instance, s, json_integer_value(json_object_get(s, "until")));
    }
    tn_autofree char *text = json_dumps(json_object_get(world, "traffic"), JSON_COMPACT | JSON_SORT_KEYS);
    char hash[TN_SHA256_HEX];
    if (text) {
        tn_sha256_hex(text, strlen(text), hash);
        out->file_hash = tn_strdup(hash);
    }
    out->loaded = text != NULL;
    out->foreign = json_is_true(json_object_get(world, "foreign"));
    out->edited = json_is_true(json_object_get(world, "edited"));
}

static int fake_observe(struct tn_balancer_driver *b, struct tn_cancel *c, struct tn_balancer_status *out,
                        struct tn_error **err)
{
    struct tn_fake_call k;
    int rc = tn_fake_enter(&k, file_of(b), "observe", NULL, c, err);
    if (rc < 0)
        return rc;
    const json_t *down = json_object_get(k.script, "down");
    memset(out, 0, sizeof(*out));
    out->answered = !json_is_true(down) && !json_is_string(down);
    if (out->answered)
        fill_status(k.world, out);
    else
        out->error = tn_strdup(json_is_string(down) ? json_string_value(down) : "connection refused");
    return tn_fake_leave(&k, TN_OK, err);
}

/* ---- apply ---- */

static bool serves(const json_t *traffic, const char *instance)
{
    const char *name;
    json_t *u;
    json_object_foreach((json_t *)(uintptr_t)traffic, name, u)
    {
        if (json_object_get(json_object_get(u, "servers"), instance))
            return true;
    }
    return false;
}

static void note_who_left(struct tn_fake_call *k, json_t *before, const json_t *after)
{
    json_t *left = tn_fake_object(k->world, "left"), *u, *s;
    const char *name, *instance;
    void *next;
    json_object_foreach_safe(left, next, instance, s)
    {
        if (serves(after, instance) ||
            json_integer_value(json_object_get(s, "until")) + FORGET_AFTER < tn_wall_ms())
            json_object_del(left, instance);
    }
    json_object_foreach(before, name, u)
    {
        json_object_foreach(json_object_get(u, "servers"), instance, s)
        {
            if (serves(after, instance))
                continue;
            const struct tn_fake_keys keys = {.service = text_in(u, "service"), .instance = instance};
            json_int_t ms = json_integer_value(tn_fake_pick(json_object_get(k->script, "drain_ms"), &keys));
            json_object_set_new(left, instance,
                                json_pack("{s:s,s:s*,s:i,s:I}", "upstream", name, "address",
                                          text_in(s, "address"), "port", int_in(s, "port"), "until",
                                          (json_int_t)tn_wall_ms() + ms));
            tn_fake_note(k, "drop %s", instance);
        }
    }
}

static void note_who_came(struct tn_fake_call *k, const json_t *before, json_t *after)
{
    const char *name, *instance;
    json_t *u, *s;
    json_object_foreach(after, name, u)
    {
        json_object_foreach(json_object_get(u, "servers"), instance, s)
        {
            if (!serves(before, instance))
                tn_fake_note(k, "add %s", instance);
        }
    }
}

static int may_write(const struct tn_fake_call *k, const char *file, bool force, struct tn_error **err)
{
    if (json_is_true(json_object_get(k->world, "foreign")))
        return tn_error_set(err, TN_ESTRANGER, "'%s': is not ours", file);
    if (json_is_true(json_object_get(k->world, "edited")) && !force) {
        tn_error_set(err, TN_ESTALE, "'%s': was edited by hand", file);
        return tn_error_hint(err, "--force overwrites it");
    }
    return json_object_get(k->script, "down") ? tn_error_set(err, TN_EUNREACHABLE, "connection refused")
                                              : TN_OK;
}

static int confirm(const struct tn_fake_call *k, const char *const *names, size_t n, struct tn_error **err)
{
    for (size_t i = 0; i < n; i++) {
        const struct tn_fake_keys keys = {.instance = names[i]};
        const char *why = json_string_value(tn_fake_pick(json_object_get(k->script, "no_answer"), &keys));
        if (why)
            return tn_error_set(err, TN_ETIMEOUT, "server '%s': %s", names[i], why);
    }
    return TN_OK;
}

static int fake_apply(struct tn_balancer_driver *b, struct tn_cancel *c, const struct tn_traffic *want,
                      const char *const *confirm_new, size_t n_confirm, bool force, char **note,
                      struct tn_error **err)
{
    const struct tn_fake_keys keys = {.instance = n_confirm ? confirm_new[0] : NULL};
    struct tn_fake_call k;
    int rc = tn_fake_enter(&k, file_of(b), "apply", &keys, c, err);
    if (rc < 0)
        return rc;
    json_t *after = traffic_json(want), *before = json_incref(tn_fake_object(k.world, "traffic"));
    rc = may_write(&k, file_of(b), force, err);
    if (rc == TN_OK)
        rc = confirm(&k, confirm_new, n_confirm, err);
    if (rc == TN_OK && (!json_equal(before, after) || json_object_get(k.world, "edited"))) {
        note_who_came(&k, before, after);
        note_who_left(&k, before, after);
        json_object_set(k.world, "traffic", after);
        json_object_del(k.world, "edited");
        if (note)
            *note = tn_strdup("confirmed");
    }
    json_decref(before);
    json_decref(after);
    return tn_fake_leave(&k, rc, err);
}

/* ---- the rest ---- */

static int fake_current(struct tn_balancer_driver *b, struct tn_cancel *c, struct tn_traffic *out,
                        struct tn_error **err)
{
    struct tn_fake_call k;
    int rc = tn_fake_enter(&k, file_of(b), "current", NULL, c, err);
    if (rc < 0)
        return rc;
    if (json_is_true(json_object_get(k.world, "foreign"))) {
        rc = tn_error_set(err, TN_ESTRANGER, "'%s': is not ours", file_of(b));
        return tn_fake_leave(&k, rc, err);
    }
    const char *name;
    json_t *u;
    json_object_foreach(json_object_get(k.world, "traffic"), name, u)
    {
        TN_GROW(out->v, out->n, out->cap);
        read_upstream(name, u, &out->v[out->n++]);
    }
    return tn_fake_leave(&k, TN_OK, err);
}

static int fake_differs(struct tn_balancer_driver *b, struct tn_cancel *c, const struct tn_traffic *want,
                        struct tn_error **err)
{
    struct tn_fake_call k;
    int rc = tn_fake_enter(&k, file_of(b), "differs", NULL, c, err);
    if (rc < 0)
        return rc;
    json_t *wanted = traffic_json(want);
    rc = may_write(&k, file_of(b), false, err);
    if (rc == TN_OK)
        rc = !json_equal(wanted, tn_fake_object(k.world, "traffic"));
    json_decref(wanted);
    return tn_fake_leave(&k, rc, err);
}

static int fake_remove(struct tn_balancer_driver *b, struct tn_cancel *c, struct tn_error **err)
{
    struct tn_fake_call k;
    int rc = tn_fake_enter(&k, file_of(b), "remove", NULL, c, err);
    if (rc < 0)
        return rc;
    json_object_del(k.world, "traffic");
    json_object_del(k.world, "left");
    tn_fake_note(&k, "remove");
    return tn_fake_leave(&k, TN_OK, err);
}

static int fake_doctor(struct tn_balancer_driver *b, struct tn_cancel *c,
                       void (*report)(void *arg, bool ok, const char *text), void *arg, struct tn_error **err)
{
    struct tn_fake_call k;
    int rc = tn_fake_enter(&k, file_of(b), "doctor", NULL, c, err);
    if (rc < 0)
        return rc;
    bool down = json_object_get(k.script, "down") != NULL;
    report(arg, !down, down ? "does not answer" : "answers");
    return tn_fake_leave(&k, TN_OK, err);
}

static void fake_free(struct tn_balancer_driver *b)
{
    tn_host_free(b->host);
    free(b);
}

static const struct tn_balancer_ops fake_ops = {
    .name = "fake",
    .observe = fake_observe,
    .apply = fake_apply,
    .current = fake_current,
    .differs = fake_differs,
    .remove = fake_remove,
    .doctor = fake_doctor,
    .free = fake_free,
};

struct tn_balancer_driver *tn_fake_balancer_open(const struct tn_plan *plan, const struct tn_balancer *config,
                                                 struct tn_host *host, const char *managed_dir,
                                                 struct tn_http *http, struct tn_error **err)
{
    (void)managed_dir;
    (void)http;
    (void)err;
    struct tn_balancer_driver *b = tn_alloc(sizeof(*b));
    b->ops = &fake_ops;
    b->config = config;
    b->app = plan->name;
    b->environment = plan->environment;
    b->host = host;
    return b;
}
