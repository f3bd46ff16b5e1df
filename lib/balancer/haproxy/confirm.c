/* confirm.c - has the new server really answered?
 *
 * "UP" is what HAProxy calls a server before its first check, so a check must have passed; and a request of ours, sent
 * through the probe frontend to this one server, must have raised the server's own counter of answers. (A request for a
 * server that is out of rotation goes to another one, which is why the answer alone proves nothing.)
 */
#include "lib/balancer/haproxy/apply.h"

#include <stdlib.h>

#include "turnout/clock.h"

enum { POLL_MS = 5 };

int tn_haproxy_look(struct tn_haproxy_run *a, const struct tn_haproxy_file *f)
{
    tn_haproxy_runtime_clear(&a->runtime);
    return tn_haproxy_ask(a->h, a->c, f, &a->runtime, a->err);
}

int tn_haproxy_pause_for(struct tn_haproxy_run *a, const char *name)
{
    return tn_wait_fd(a->c, name, -1, tn_mono_ms() + POLL_MS, a->err);
}

struct pending {
    const struct tn_haproxy_backend *b;
    size_t slot;
    int64_t answered;
    int status;
    bool probed, sent, done; /* probed: in this round; sent: ever */
};

static struct pending *collect(const struct tn_haproxy_run *a, const char *const *names, size_t n,
                               size_t *out_n)
{
    struct pending *v = NULL;
    size_t cap = 0;
    *out_n = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < a->next.n; k++) {
            int slot = tn_haproxy_slot_of(&a->next.v[k], names[i]);
            if (slot >= 0) {
                TN_GROW(v, *out_n, cap);
                v[(*out_n)++] = (struct pending){.b = &a->next.v[k], .slot = (size_t)slot};
            }
        }
    }
    return v;
}

static int not_confirmed(struct tn_haproxy_run *a, const struct pending *p)
{
    const struct tn_haproxy_server *s = tn_haproxy_server(&a->runtime, p->b->upstream.name, p->slot);
    tn_autofree char *request = !p->sent        ? tn_strdup("so no request of ours was sent to it")
                                : p->status > 0 ? tn_format("our last request got status %d", p->status)
                                                : tn_strdup("our last request got no answer");
    return tn_error_set(a->err, TN_ETIMEOUT,
                        "'%s' in '%s' is not confirmed after %lld ms: its check says %s, %s",
                        p->b->slots[p->slot].instance, p->b->upstream.name, (long long)a->h->timeout,
                        s == NULL || s->check[0] == '\0' ? "nothing yet" : s->check, request);
}

/* One look at a server that was probed: its own counter rose, and the answer is what the plan expects. */
static bool answered_ours(const struct tn_haproxy_run *a, const struct pending *p)
{
    const struct tn_upstream *u = &p->b->upstream;
    const struct tn_haproxy_server *s = tn_haproxy_server(&a->runtime, u->name, p->slot);
    bool expected =
        u->probe_path == NULL
            ? p->status > 0
            : tn_haproxy_expects(u->probe_expect != NULL ? u->probe_expect : "200-299", p->status);
    return s != NULL && p->probed && expected && s->answered > p->answered;
}

static int probe_all(struct tn_haproxy_run *a, struct pending *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct pending *p = &v[i];
        const struct tn_haproxy_server *s = tn_haproxy_server(&a->runtime, p->b->upstream.name, p->slot);
        p->probed = false;
        if (p->done || s == NULL || !tn_haproxy_checked(s)) {
            continue;
        }
        struct tn_error *why = NULL;
        p->answered = s->answered;
        p->status = tn_haproxy_probe(a->h, a->c, &p->b->upstream, p->slot, &why);
        p->probed = p->sent = true;
        if (p->status == TN_ECANCELLED) {
            return tn_error_move(a->err, &why);
        }
        tn_error_clear(&why);
    }
    return TN_OK;
}

int tn_haproxy_confirm(struct tn_haproxy_run *a, const char *const *names, size_t n_names)
{
    size_t n, left;
    tn_autofree struct pending *v = collect(a, names, n_names, &n);
    if (n < n_names) {
        return tn_error_set(a->err, TN_EFAIL, "an instance to confirm is not among its servers");
    }
    int64_t deadline = tn_mono_ms() + a->h->timeout;
    for (left = n; left > 0;) {
        int code = probe_all(a, v, n);
        code = code == TN_OK ? tn_haproxy_look(a, &a->next) : code;
        if (code < 0) {
            return code;
        }
        const struct pending *open = NULL;
        left = 0;
        for (size_t i = 0; i < n; i++) {
            v[i].done = v[i].done || answered_ours(a, &v[i]);
            open = v[i].done ? open : &v[i];
            left += v[i].done ? 0 : 1;
        }
        if (left > 0 && tn_mono_ms() > deadline) {
            return not_confirmed(a, open);
        }
        if (left > 0 && (code = tn_haproxy_pause_for(a, "haproxy to confirm its new servers")) < 0) {
            return code;
        }
    }
    return TN_OK;
}
