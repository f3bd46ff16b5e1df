/* file.c - the owned file: writing.
 *
 * HAProxy has no include, and two backends of one name are a fatal error, so we own whole backends in a file of their
 * own. Besides them it holds a probe frontend: a request of ours must reach one chosen server without knowing the
 * user's frontends. `use-server` obeys a variable that only this frontend sets, so that nobody else can choose. Its
 * name carries a hash of the structure (everything but the contents of the slots): the runtime API tells nothing of
 * `balance` or checks, but it lists names, and so proves which structure is loaded.
 */
#include "lib/balancer/haproxy/haproxy.h"

#include <stdlib.h>
#include <string.h>

#include "turnout/text.h"

static void slot_clear(struct tn_haproxy_slot *s)
{
    free(s->instance);
    free(s->address);
}

void tn_haproxy_file_clear(struct tn_haproxy_file *f)
{
    for (size_t i = 0; i < f->n; i++) {
        struct tn_traffic one = {.v = tn_alloc(sizeof(struct tn_upstream)), .n = 1};
        one.v[0] = f->v[i].upstream;
        tn_traffic_clear(&one);
        for (size_t k = 0; k < f->v[i].n_slots; k++) {
            slot_clear(&f->v[i].slots[k]);
        }
        free(f->v[i].slots);
    }
    free(f->v);
    memset(f, 0, sizeof(*f));
}

struct tn_haproxy_backend *tn_haproxy_find(const struct tn_haproxy_file *f, const char *backend)
{
    for (size_t i = 0; i < f->n; i++) {
        if (tn_streq(f->v[i].upstream.name, backend)) {
            return &f->v[i];
        }
    }
    return NULL;
}

int tn_haproxy_slot_of(const struct tn_haproxy_backend *b, const char *instance)
{
    for (size_t i = 0; i < b->n_slots; i++) {
        if (b->slots[i].use == TN_HAPROXY_SERVES && tn_streq(b->slots[i].instance, instance)) {
            return (int)i;
        }
    }
    return -1;
}

char *tn_haproxy_frontend(const struct tn_haproxy_identity *id, const char *generation)
{
    bool named = id->environment != NULL && id->environment[0] != '\0';
    return tn_format("turnout-%s%s%s-%s-%s", id->app, named ? "-" : "", named ? id->environment : "",
                     id->balancer, generation);
}

/* noreuseport: two HAProxys of one user would share the port without a word, each with half of the requests. */
static void put_global(struct tn_buf *b)
{
    tn_buf_puts(b, "global\n"
                   "    stats socket unix@admin.sock mode 600 level admin expose-fd listeners\n"
                   "    hard-stop-after 5m\n"
                   "    noreuseport\n"
                   "defaults\n"
                   "    mode http\n"
                   "    timeout connect 2s\n"
                   "    timeout client 60s\n"
                   "    timeout server 60s\n"
                   "    timeout tunnel 1h\n"
                   "    option idle-close-on-response\n");
}

/* How narrow a route is: host before none, a longer path before a shorter one. */
static size_t narrowness(const struct tn_upstream *u)
{
    return (u->host != NULL ? 10000 : 0) + (u->path != NULL ? strlen(u->path) : 0);
}

static void put_route(struct tn_buf *b, const struct tn_upstream *u, size_t index)
{
    bool path = u->path != NULL && !tn_streq(u->path, "/");
    if (u->host == NULL && !path) {
        tn_buf_printf(b, "    default_backend %s\n", u->name);
        return;
    }
    if (u->host != NULL) {
        tn_buf_printf(b, "    acl host_%zu req.hdr(host),field(1,:) -i -m str %s\n", index, u->host);
    }
    if (path) {
        size_t n = strlen(u->path);
        n -= u->path[n - 1] == '/' ? 1 : 0;
        tn_buf_printf(b, "    acl path_%zu path %.*s\n", index, (int)n, u->path);
        tn_buf_printf(b, "    acl path_%zu path_beg %.*s/\n", index, (int)n, u->path);
    }
    tn_buf_printf(b, "    use_backend %s if", u->name);
    if (u->host != NULL) {
        tn_buf_printf(b, " host_%zu", index);
    }
    if (path) {
        tn_buf_printf(b, " path_%zu", index);
    }
    tn_buf_putc(b, '\n');
}

static void put_traffic_frontend(struct tn_buf *b, const struct tn_haproxy_identity *id,
                                 const struct tn_haproxy_file *f)
{
    tn_buf_printf(b, "frontend turnout\n    bind %s\n", id->listen);
    bool done[TN_HAPROXY_BACKENDS_MAX] = {false};
    for (size_t round = 0; round < f->n; round++) {
        size_t best = f->n;
        for (size_t i = 0; i < f->n; i++) {
            if (!done[i] &&
                (best == f->n || narrowness(&f->v[i].upstream) > narrowness(&f->v[best].upstream))) {
                best = i;
            }
        }
        done[best] = true;
        if (!f->v[best].upstream.unrouted) {
            put_route(b, &f->v[best].upstream, best);
        }
    }
}

static void put_probe_frontend(struct tn_buf *b, const struct tn_haproxy_identity *id,
                               const struct tn_haproxy_file *f)
{
    tn_autofree char *name = tn_haproxy_frontend(id, f->generation);
    tn_buf_printf(b, "frontend %s\n    mode http\n    no log\n    timeout client 10s\n    bind %s\n", name,
                  id->probe_bind);
    tn_buf_puts(b, "    http-request set-var(txn.turnout_upstream) req.hdr(x-turnout-upstream)\n"
                   "    http-request set-var(txn.turnout_server) req.hdr(x-turnout-server)\n"
                   "    http-request del-header x-turnout-upstream\n"
                   "    http-request del-header x-turnout-server\n");
    for (size_t i = 0; i < f->n; i++) {
        tn_buf_printf(b, "    use_backend %s if { var(txn.turnout_upstream) -m str %s }\n",
                      f->v[i].upstream.name, f->v[i].upstream.name);
    }
}

static void put_meta(struct tn_buf *b, const struct tn_upstream *u)
{
    const struct {
        const char *key, *value;
    } texts[] = {{"service", u->service}, {"host", u->host},        {"path", u->path},
                 {"balance", u->balance}, {"probe", u->probe_path}, {"expect", u->probe_expect}};
    tn_buf_printf(b, "    # turnout upstream slots=%d", u->slots);
    for (size_t i = 0; i < TN_COUNT(texts); i++) {
        if (texts[i].value != NULL) {
            tn_buf_printf(b, " %s=%s", texts[i].key, texts[i].value);
        }
    }
    tn_buf_putc(b, '\n');
}

static void put_slot(struct tn_buf *b, const struct tn_haproxy_slot *s, size_t index, int divisor)
{
    bool v6 = s->address != NULL && strchr(s->address, ':') != NULL;
    tn_buf_printf(b, "    server s%zu ", index + 1);
    if (s->use == TN_HAPROXY_FREE) {
        tn_buf_printf(b, "127.0.0.1:1 weight 1%s disabled # free\n", s->backup ? " backup" : "");
        return;
    }
    tn_buf_printf(b, "%s%s%s:%d", v6 ? "[" : "", s->address, v6 ? "]" : "", s->port);
    bool serves = s->use == TN_HAPROXY_SERVES;
    tn_buf_printf(b, " weight %d%s%s # %s=%s weight=%d\n", serves ? s->weight / divisor : 1,
                  s->backup ? " backup" : "", serves ? "" : " disabled", serves ? "instance" : "leaving",
                  s->instance, s->weight);
}

/* `structure` leaves out what the runtime API can change, and comments. */
static void put_backend(struct tn_buf *b, const struct tn_haproxy_backend *be, bool structure)
{
    const struct tn_upstream *u = &be->upstream;
    tn_buf_printf(b, "backend %s\n", u->name);
    if (!structure) {
        put_meta(b, u);
    }
    tn_buf_printf(b, "    mode http\n    balance %s\n    option redispatch\n    retries 3\n",
                  tn_haproxy_balance(u->balance));
    if (u->probe_path != NULL) {
        tn_buf_printf(b, "    option httpchk\n    http-check send meth GET uri %s ver HTTP/1.1 hdr Host %s\n",
                      u->probe_path, u->host != NULL ? u->host : "localhost");
        tn_buf_printf(b, "    http-check expect status %s\n",
                      u->probe_expect != NULL ? u->probe_expect : "200-299");
    } else {
        tn_buf_puts(b, "    option tcp-check\n"); /* not the httpchk of somebody's defaults */
    }
    /* The states saved before a reload would undo what the file says. */
    tn_buf_puts(b, "    load-server-state-from-file none\n");
    /* Also how soon after its admission a server gets its first check: in maintenance the clock of its checks goes on
     * at `inter`. `fall 2 rise 1`: see tn_haproxy_checked. */
    tn_buf_puts(b, "    default-server check inter 500ms fastinter 100ms fall 2 rise 1\n");
    for (size_t i = 0; i < be->n_slots; i++) {
        tn_buf_printf(b, "    use-server s%zu if { var(txn.turnout_server) -m str s%zu }\n", i + 1, i + 1);
    }
    int divisor = tn_haproxy_divisor(be);
    for (size_t i = 0; i < be->n_slots; i++) {
        if (structure) {
            tn_buf_printf(b, "    server s%zu%s\n", i + 1, be->slots[i].backup ? " backup" : "");
        } else {
            put_slot(b, &be->slots[i], i, divisor);
        }
    }
}

static void put_all(struct tn_buf *b, const struct tn_haproxy_identity *id, const struct tn_haproxy_file *f,
                    bool structure)
{
    if (id->listen != NULL) {
        put_global(b);
        put_traffic_frontend(b, id, f);
    }
    if (f->n > 0) {
        put_probe_frontend(b, id, f);
    }
    for (size_t i = 0; i < f->n; i++) {
        put_backend(b, &f->v[i], structure);
    }
}

char *tn_haproxy_render(const struct tn_haproxy_identity *id, struct tn_haproxy_file *f)
{
    char hash[TN_SHA256_HEX];
    tn_autobuf structure = TN_BUF_INIT(SIZE_MAX), body = TN_BUF_INIT(SIZE_MAX), whole = TN_BUF_INIT(SIZE_MAX);
    memset(f->generation, 0, sizeof(f->generation));
    put_all(&structure, id, f, true);
    tn_sha256_hex(structure.data != NULL ? structure.data : "", structure.len, hash);
    memcpy(f->generation, hash, TN_HAPROXY_GENERATION);
    put_all(&body, id, f, false);
    tn_sha256_hex(body.data != NULL ? body.data : "", body.len, hash);
    tn_buf_printf(&whole, "# turnout app=%s env=%s balancer=%s sha256=%s: written by turnout, do not edit\n",
                  id->app, id->environment != NULL ? id->environment : "", id->balancer, hash);
    tn_buf_add(&whole, body.data != NULL ? body.data : "", body.len);
    return tn_buf_take(&whole);
}
