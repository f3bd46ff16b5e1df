/* haproxy.c - the HAProxy driver. Two forms: the user's own HAProxy, which is started with our file as a second -f,
 * and a managed one, whose whole configuration is ours. */
#include "lib/balancer/haproxy/haproxy.h"

#include <stdlib.h>
#include <string.h>

#include "turnout/fs.h"
#include "turnout/text.h"
#include "lib/transport/shim.h"

enum { DEFAULT_TIMEOUT_MS = 10000, PROBE_PORT_FIRST = 19000, PROBE_PORTS = 1000 };

static struct tn_haproxy *driver(struct tn_balancer_driver *b)
{
    return (struct tn_haproxy *)b;
}

/* ---- observe */

static struct tn_server_status *add_status(struct tn_balancer_status *out, const char *upstream,
                                           const char *instance, const char *address, int port)
{
    TN_GROW(out->v, out->n, out->cap);
    out->v[out->n] = (struct tn_server_status){.upstream = tn_strdup(upstream),
                                               .instance = tn_strdup(instance),
                                               .address = tn_strdup(address),
                                               .port = port,
                                               .in_rotation = TN_NO,
                                               .drained = TN_YES};
    return &out->v[out->n++];
}

static void fill(struct tn_server_status *to, const struct tn_haproxy_server *s, int weight)
{
    to->weight = weight;
    to->running = s->running;
    to->answered = s->answered;
    to->in_rotation = tn_haproxy_in_rotation(s) ? TN_YES : TN_NO;
    to->drained = to->in_rotation == TN_NO && s->running == 0 ? TN_YES : TN_NO;
}

/* `runtime` NULL: HAProxy does not run (and we know it), so nobody serves and nothing runs. */
static void observe_slot(const struct tn_haproxy_backend *b, size_t i,
                         const struct tn_haproxy_runtime *runtime, struct tn_balancer_status *out)
{
    const struct tn_haproxy_slot *slot = &b->slots[i];
    const char *name = b->upstream.name;
    const struct tn_haproxy_server *s = runtime != NULL ? tn_haproxy_server(runtime, name, i) : NULL;
    bool here = s != NULL && slot->use != TN_HAPROXY_FREE && tn_haproxy_at(s, slot);
    if (slot->use != TN_HAPROXY_FREE) {
        struct tn_server_status *status = add_status(out, name, slot->instance, slot->address, slot->port);
        status->weight = slot->weight;
        if (here) {
            fill(status, s, slot->weight);
        }
    }
    /* A run that ended between file and runtime: whom the slot still serves is told by address. */
    if (s != NULL && !here && s->address != NULL && (tn_haproxy_in_rotation(s) || s->running > 0)) {
        fill(add_status(out, name, NULL, s->address, s->port), s, s->weight);
    }
}

/* Those that serve come first: an instance that came back under another address has two slots for a while. */
static void observe_slots(const struct tn_haproxy_file *f, const struct tn_haproxy_runtime *runtime,
                          bool serving, struct tn_balancer_status *out)
{
    for (size_t i = 0; i < f->n; i++) {
        for (size_t k = 0; k < f->v[i].n_slots; k++) {
            if ((f->v[i].slots[k].use == TN_HAPROXY_SERVES) == serving) {
                observe_slot(&f->v[i], k, runtime, out);
            }
        }
    }
}

static bool has_backends(const struct tn_haproxy_file *f, const struct tn_haproxy_runtime *r)
{
    return (f->n == 0 || r->generation_loaded) && tn_haproxy_has_slots(f, r);
}

static int haproxy_observe(struct tn_balancer_driver *b, struct tn_cancel *c, struct tn_balancer_status *out,
                           struct tn_error **err)
{
    struct tn_haproxy *h = driver(b);
    tn_autofree char *text = NULL;
    tn_autohaproxyfile file = {0};
    tn_autohaproxyruntime runtime = {0};
    enum tn_haproxy_owner owner = TN_HAPROXY_EMPTY;
    size_t len = 0;
    int code = tn_haproxy_prepare(h, false, err);
    code = code == TN_OK ? tn_haproxy_load(h, &text, &len, &owner, &file, err) : code;
    if (code < 0) {
        return code;
    }
    out->foreign = owner == TN_HAPROXY_STRANGER;
    out->edited = owner == TN_HAPROXY_EDITED;
    if (owner != TN_HAPROXY_EMPTY) {
        out->file_hash = tn_alloc(TN_SHA256_HEX);
        tn_sha256_hex(text, len, out->file_hash);
    }
    out->answered = true;
    bool runs = h->managed_dir == NULL || tn_haproxy_runs(h);
    if (runs) {
        struct tn_error *why = NULL;
        code = tn_haproxy_ask(h, c, &file, &runtime, &why);
        if (code == TN_ECANCELLED) {
            return tn_error_move(err, &why);
        }
        if (code < 0) {
            out->answered = false;
            out->error = tn_strdup(tn_error_message(why));
            tn_error_free(why);
            return TN_OK;
        }
    }
    out->loaded =
        runs && (owner == TN_HAPROXY_OURS || owner == TN_HAPROXY_EDITED) && has_backends(&file, &runtime);
    observe_slots(&file, runs ? &runtime : NULL, true, out);
    observe_slots(&file, runs ? &runtime : NULL, false, out);
    tn_haproxy_observe_left(h, runs ? runtime.pid : 0, out);
    return TN_OK;
}

/* ---- current, remove */

static int haproxy_current(struct tn_balancer_driver *b, struct tn_cancel *c, struct tn_traffic *out,
                           struct tn_error **err)
{
    struct tn_haproxy *h = driver(b);
    tn_autofree char *text = NULL;
    tn_autohaproxyfile file = {0};
    enum tn_haproxy_owner owner = TN_HAPROXY_EMPTY;
    size_t len = 0;
    (void)c;
    int code = tn_haproxy_load(h, &text, &len, &owner, &file, err);
    if (code < 0) {
        return code;
    }
    if (owner == TN_HAPROXY_STRANGER) {
        return tn_error_set(err, TN_ESTRANGER,
                            "file '%s' was not written by turnout for this application and balancer",
                            h->file);
    }
    tn_haproxy_to_traffic(&file, out);
    return TN_OK;
}

static void drop_servers(struct tn_traffic *t)
{
    for (size_t i = 0; i < t->n; i++) {
        struct tn_upstream *u = &t->v[i];
        for (size_t k = 0; k < u->n_servers; k++) {
            free(u->servers[k].instance);
            free(u->servers[k].address);
        }
        u->n_servers = 0;
    }
}

/* The user's HAProxy names the file on its command line and may name the backends in its own configuration: without
 * them it would not start again. So all servers are taken out, then the backends go if HAProxy's test allows that, and
 * the file stays. */
static int remove_own(struct tn_haproxy *h, struct tn_cancel *c, struct tn_traffic *now,
                      struct tn_error **err)
{
    static const struct tn_traffic nothing = {0};
    struct tn_error *why = NULL;
    drop_servers(now);
    int code = tn_haproxy_apply(&h->base, c, now, NULL, 0, false, NULL, err);
    if (code < 0) {
        return code;
    }
    code = h->base.config->test.n > 0 ? tn_haproxy_apply(&h->base, c, &nothing, NULL, 0, false, NULL, &why)
                                      : tn_error_set(&why, TN_EFAIL, "there is no test to try it with");
    if (code == TN_OK) {
        return TN_OK;
    }
    if (code == TN_ECANCELLED) {
        return tn_error_move(err, &why);
    }
    tn_error_set(err, TN_EBUSY, "haproxy needs our backends, they stay without servers in file '%s': %s",
                 h->file, tn_error_message(why));
    tn_error_free(why);
    return tn_error_hint(
        err, "take them out of haproxy's own configuration; the file itself can go once haproxy is "
             "no longer started with it");
}

static int haproxy_remove(struct tn_balancer_driver *b, struct tn_cancel *c, struct tn_error **err)
{
    struct tn_haproxy *h = driver(b);
    struct tn_traffic now = {0};
    int code = haproxy_current(b, c, &now, err);
    if (code == TN_OK && h->managed_dir != NULL) {
        code = tn_haproxy_wipe(h, c, err);
    } else if (code == TN_OK && now.n > 0) {
        code = remove_own(h, c, &now, err);
    }
    tn_traffic_clear(&now);
    return code;
}

/* ---- doctor */

struct report {
    void (*fn)(void *arg, bool ok, const char *text);
    void *arg;
};

static void say(const struct report *r, bool ok, char *text)
{
    r->fn(r->arg, ok, text);
    free(text);
}

static void say_loaded(const struct tn_haproxy *h, const struct report *r, const struct tn_balancer_status *s)
{
    if (s->loaded) {
        say(r, true, tn_format("balancer '%s': haproxy runs file '%s'", h->id.balancer, h->file));
    } else if (h->managed_dir != NULL) {
        say(r, true, tn_format("balancer '%s': not running yet: the next deploy starts it", h->id.balancer));
    } else if (s->file_hash == NULL) {
        say(r, false,
            tn_format("balancer '%s': before the first deploy: `touch %s`, add EXTRAOPTS=\"-f %s\" to "
                      "/etc/default/haproxy, restart haproxy once",
                      h->id.balancer, h->file, h->file));
    } else {
        say(r, false,
            tn_format("balancer '%s': haproxy does not run file '%s': add EXTRAOPTS=\"-f %s\" to "
                      "/etc/default/haproxy "
                      "and restart haproxy once",
                      h->id.balancer, h->file, h->file));
    }
}

static int haproxy_doctor(struct tn_balancer_driver *b, struct tn_cancel *c,
                          void (*report)(void *arg, bool ok, const char *text), void *arg,
                          struct tn_error **err)
{
    struct tn_haproxy *h = driver(b);
    struct report r = {report, arg};
    struct tn_balancer_status s = {0};
    if (h->managed_dir != NULL) {
        struct tn_error *why = NULL;
        bool found = tn_haproxy_program(h, &why) == TN_OK;
        say(&r, found,
            found ? tn_format("balancer '%s': program '%s'", h->id.balancer, h->program)
                  : tn_strdup(tn_error_message(why)));
        tn_error_free(why);
    }
    int code = haproxy_observe(b, c, &s, err);
    if (code == TN_OK && s.foreign) {
        say(&r, false,
            tn_format("file '%s' was not written by turnout for this application and balancer", h->file));
    } else if (code == TN_OK && !s.answered) {
        say(&r, false, tn_format("balancer '%s': %s", h->id.balancer, s.error));
    } else if (code == TN_OK) {
        if (h->managed_dir == NULL) {
            say(&r, true, tn_format("balancer '%s': socket '%s' answers", h->id.balancer, h->socket));
        }
        if (s.edited) {
            say(&r, false, tn_format("file '%s' was edited by hand since turnout wrote it", h->file));
        }
        say_loaded(h, &r, &s);
    }
    tn_balancer_status_clear(&s);
    return code;
}

/* ---- open, free */

static void haproxy_free(struct tn_balancer_driver *b)
{
    struct tn_haproxy *h = driver(b);
    tn_host_free(h->base.host);
    free(h->file);
    free(h->socket);
    free(h->probe);
    free(h->probe_bind);
    free(h->listen);
    free(h->managed_dir);
    free(h->run_dir);
    free(h->program);
    tn_haproxy_left_clear(h);
    tn_cleanup_close(&h->dir_fd);
    free(h);
}

static const struct tn_balancer_ops ops = {
    .name = "haproxy",
    .observe = haproxy_observe,
    .apply = tn_haproxy_apply,
    .current = haproxy_current,
    .differs = tn_haproxy_differs,
    .remove = haproxy_remove,
    .watch_drain = tn_haproxy_watch_drain,
    .doctor = haproxy_doctor,
    .free = haproxy_free,
};

static int open_managed(struct tn_haproxy *h, const struct tn_balancer *config, const char *managed_dir,
                        struct tn_error **err)
{
    char host[64];
    int port;
    if (managed_dir == NULL) {
        tn_error_set(err, TN_EUNSUPPORTED, "a managed haproxy on a docker cluster is not in this build");
        return tn_error_hint(err, "managed: a process cluster, or the form with file and socket");
    }
    if (!tn_haproxy_listen(config->listen, host, &port)) {
        return tn_error_set(err, TN_EPLAN, "listen is not address:port");
    }
    h->managed_dir = tn_strdup(managed_dir);
    h->listen = tn_format(strchr(host, ':') != NULL ? "[%s]:%d" : "%s:%d", host, port);
    h->run_dir = tn_path_join(managed_dir, "run");
    h->file = tn_path_join(managed_dir, "haproxy.cfg");
    h->probe_bind = tn_strdup("unix@probe.sock mode 600");
    h->id.listen = h->listen;
    return TN_OK;
}

static bool is_bind_path(const char *s)
{
    return strlen(s) <= 80 && tn_haproxy_is_path(s, false);
}

/* The probe frontend listens beside the runtime API: a socket file with the rights of that one's folder, else a port
 * of the same address. */
static int open_own(struct tn_haproxy *h, const struct tn_balancer *config, struct tn_error **err)
{
    char host[64], hash[TN_SHA256_HEX];
    int port;
    if (config->file == NULL || config->socket == NULL || config->reload.n == 0) {
        return tn_error_set(err, TN_EPLAN, "haproxy needs file, socket and reload, or managed and listen");
    }
    h->file = tn_strdup(config->file);
    h->socket = tn_strdup(config->socket);
    bool named = h->id.environment[0] != '\0';
    tn_autofree char *name =
        tn_format("turnout-%s%s%s-%s", h->id.app, named ? "-" : "", h->id.environment, config->name);
    if (config->socket[0] == '/') {
        tn_autofree char *dir = tn_path_dir(config->socket);
        h->probe = tn_format("%s/%s.sock", dir, name);
        if (!is_bind_path(h->probe)) {
            tn_sha256_hex(name, strlen(name), hash);
            free(h->probe);
            h->probe = tn_format("%s/turnout-%.8s.sock", dir, hash);
        }
        if (!is_bind_path(h->probe)) {
            return tn_error_set(
                err, TN_EPLAN, "the path of socket is too long or holds characters that haproxy cannot take");
        }
        h->probe_bind = tn_format("unix@%s mode 660", h->probe);
        return TN_OK;
    }
    if (!tn_haproxy_listen(config->socket, host, &port) || host[0] == '*') {
        return tn_error_set(err, TN_EPLAN, "socket is neither a path nor address:port");
    }
    tn_sha256_hex(name, strlen(name), hash);
    hash[6] = '\0';
    port = PROBE_PORT_FIRST + (int)(strtol(hash, NULL, 16) % PROBE_PORTS);
    h->probe = tn_format(strchr(host, ':') != NULL ? "[%s]:%d" : "%s:%d", host, port);
    h->probe_bind = tn_strdup(h->probe);
    return TN_OK;
}

struct tn_balancer_driver *tn_haproxy_open(const struct tn_plan *plan, const struct tn_balancer *config,
                                           struct tn_host *host, const char *managed_dir,
                                           struct tn_http *http, struct tn_error **err)
{
    struct tn_haproxy *h = tn_alloc(sizeof(*h));
    const char *environment = plan->environment != NULL ? plan->environment : "";
    h->dir_fd = -1;
    h->base = (struct tn_balancer_driver){
        .ops = &ops, .config = config, .app = plan->name, .environment = environment, .host = host};
    h->id =
        (struct tn_haproxy_identity){.app = plan->name, .environment = environment, .balancer = config->name};
    h->timeout = config->apply_timeout > 0 ? config->apply_timeout : DEFAULT_TIMEOUT_MS;
    (void)http;
    int code = TN_OK;
    if (!tn_haproxy_is_name(plan->name) || !tn_haproxy_is_name(config->name) ||
        (environment[0] != '\0' && !tn_haproxy_is_name(environment))) {
        code = tn_error_set(
            err, TN_EPLAN,
            "the name of the application, the environment or the balancer is not fit for haproxy");
    } else if (host->ops->talk == NULL) {
        code = tn_error_set(err, TN_EUNSUPPORTED, "haproxy cannot be driven on %s", host->name);
    } else if (config->managed != NULL) {
        code = open_managed(h, config, managed_dir, err);
    } else {
        code = open_own(h, config, err);
    }
    h->id.probe_bind = h->probe_bind;
    if (code < 0) {
        haproxy_free(&h->base);
        return NULL;
    }
    return &h->base;
}
