/* left.c - servers that left the file: their backend is gone, or another instance has their slot.
 *
 * The running worker counts nothing for them any more, and sends them nothing. What an older worker still carries is
 * seen in the kernel's connections alone.
 */
#include "lib/balancer/haproxy/haproxy.h"

#include <stdlib.h>
#include <string.h>

#include "turnout/text.h"

static bool is_left(const struct tn_haproxy_left *l, const char *instance, const char *address, int port)
{
    return l->port == port && tn_streq(l->address, address) && tn_streq(l->instance, instance);
}

static void add(struct tn_haproxy *h, const char *upstream, const char *instance, const char *address,
                int port)
{
    for (size_t i = 0; i < h->n_left; i++) {
        if (is_left(&h->left[i], instance, address, port) && tn_streq(h->left[i].upstream, upstream)) {
            return;
        }
    }
    TN_GROW(h->left, h->n_left, h->cap_left);
    h->left[h->n_left++] = (struct tn_haproxy_left){.upstream = tn_strdup(upstream),
                                                    .instance = tn_strdup(instance),
                                                    .address = tn_strdup(address),
                                                    .port = port};
}

static bool holds(const struct tn_haproxy_backend *b, const struct tn_haproxy_slot *s)
{
    for (size_t i = 0; b != NULL && i < b->n_slots; i++) {
        if (tn_streq(b->slots[i].instance, s->instance) && tn_streq(b->slots[i].address, s->address) &&
            b->slots[i].port == s->port) {
            return true;
        }
    }
    return false;
}

void tn_haproxy_note_left(struct tn_haproxy *h, const struct tn_haproxy_file *old,
                          const struct tn_haproxy_file *now)
{
    for (size_t i = 0; i < old->n; i++) {
        const char *name = old->v[i].upstream.name;
        const struct tn_haproxy_backend *b = tn_haproxy_find(now, name);
        for (size_t k = 0; k < old->v[i].n_slots; k++) {
            const struct tn_haproxy_slot *s = &old->v[i].slots[k];
            if (s->use != TN_HAPROXY_FREE && !holds(b, s)) {
                add(h, name, s->instance, s->address, s->port);
            }
        }
    }
}

int tn_haproxy_watch_drain(struct tn_balancer_driver *b, const char *instance, const char *address, int port,
                           struct tn_error **err)
{
    char canonical[64];
    if (!tn_haproxy_address(address, canonical) || port < 1 || port > 65535) {
        return tn_error_set(err, TN_EUSAGE, "'%s' has no numeric address and port", instance);
    }
    add((struct tn_haproxy *)b, NULL, instance, canonical, port);
    return TN_OK;
}

static bool has_row(const struct tn_balancer_status *s, size_t n, const struct tn_haproxy_left *l)
{
    for (size_t i = 0; i < n; i++) {
        if (tn_streq(s->v[i].instance, l->instance) &&
            (l->upstream == NULL || tn_streq(s->v[i].upstream, l->upstream))) {
            return true;
        }
    }
    return false;
}

void tn_haproxy_observe_left(const struct tn_haproxy *h, int64_t pid, struct tn_balancer_status *out)
{
    size_t in_file = out->n;
    bool local = h->base.host->local;
    bool old_workers = h->n_left > 0 && pid > 0 && local && tn_haproxy_old_workers(pid);
    for (size_t i = 0; i < h->n_left; i++) {
        const struct tn_haproxy_left *l = &h->left[i];
        if (has_row(out, in_file, l)) {
            continue;
        }
        int64_t running = old_workers         ? tn_haproxy_connections(l->address, l->port)
                          : local || pid == 0 ? 0
                                              : -1;
        TN_GROW(out->v, out->n, out->cap);
        out->v[out->n++] = (struct tn_server_status){.upstream = tn_strdup(l->upstream),
                                                     .instance = tn_strdup(l->instance),
                                                     .address = tn_strdup(l->address),
                                                     .port = l->port,
                                                     .in_rotation = TN_NO,
                                                     .running = running,
                                                     .answered = -1,
                                                     .drained = running == 0  ? TN_YES
                                                                : running > 0 ? TN_NO
                                                                              : TN_CANNOT_TELL};
    }
}

void tn_haproxy_left_clear(struct tn_haproxy *h)
{
    for (size_t i = 0; i < h->n_left; i++) {
        free(h->left[i].upstream);
        free(h->left[i].instance);
        free(h->left[i].address);
    }
    free(h->left);
    h->left = NULL;
    h->n_left = h->cap_left = 0;
}
