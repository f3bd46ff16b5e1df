/* slots.c - which server goes into which slot. */
#include "lib/balancer/haproxy/haproxy.h"

#include <stdlib.h>

#include "turnout/text.h"

static bool is_server(const struct tn_haproxy_slot *slot, const struct tn_server *s)
{
    char address[64];
    return slot->use != TN_HAPROXY_FREE && tn_streq(slot->instance, s->instance) && slot->port == s->port &&
           slot->backup == s->backup && tn_haproxy_address(s->address, address) &&
           tn_streq(slot->address, address);
}

static void occupy(struct tn_haproxy_slot *slot, const struct tn_server *s)
{
    char address[64] = "";
    tn_haproxy_address(s->address, address);
    free(slot->instance);
    free(slot->address);
    *slot = (struct tn_haproxy_slot){.use = TN_HAPROXY_SERVES,
                                     .instance = tn_strdup(s->instance),
                                     .address = tn_strdup(address),
                                     .port = s->port,
                                     .weight = s->weight,
                                     .backup = s->backup};
}

static struct tn_haproxy_slot *append(struct tn_haproxy_backend *b)
{
    TN_GROW(b->slots, b->n_slots, b->cap_slots);
    b->slots[b->n_slots] = (struct tn_haproxy_slot){.weight = 1};
    return &b->slots[b->n_slots++];
}

/* Who leaves may still have requests to finish: the slot is his until they are over. */
static bool busy(const struct tn_haproxy_backend *b, size_t i, const struct tn_haproxy_runtime *runtime)
{
    const struct tn_haproxy_server *s =
        runtime != NULL ? tn_haproxy_server(runtime, b->upstream.name, i) : NULL;
    return s != NULL && tn_haproxy_at(s, &b->slots[i]) && (s->running > 0 || !tn_haproxy_in_maint(s));
}

static struct tn_haproxy_slot *slot_for(struct tn_haproxy_backend *b, bool backup,
                                        const struct tn_haproxy_runtime *runtime)
{
    for (size_t i = 0; i < b->n_slots; i++) {
        if (b->slots[i].use == TN_HAPROXY_FREE && b->slots[i].backup == backup) {
            return &b->slots[i];
        }
    }
    for (size_t i = 0; i < b->n_slots; i++) {
        if (b->slots[i].use == TN_HAPROXY_LEAVING && b->slots[i].backup == backup && !busy(b, i, runtime)) {
            return &b->slots[i];
        }
    }
    return append(b);
}

static void copy_slots(struct tn_haproxy_backend *to, const struct tn_haproxy_backend *from)
{
    for (size_t i = 0; i < from->n_slots; i++) {
        struct tn_haproxy_slot *s = append(to);
        *s = from->slots[i];
        s->instance = tn_strdup(from->slots[i].instance);
        s->address = tn_strdup(from->slots[i].address);
    }
}

/* Slots whose server is wanted serve it (also one that was about to leave: a rollback); the others are left. */
static void keep(struct tn_haproxy_backend *b, const struct tn_upstream *u, bool *placed)
{
    for (size_t i = 0; i < b->n_slots; i++) {
        struct tn_haproxy_slot *slot = &b->slots[i];
        bool wanted = false;
        for (size_t k = 0; k < u->n_servers && !wanted; k++) {
            if (!placed[k] && is_server(slot, &u->servers[k])) {
                slot->use = TN_HAPROXY_SERVES;
                slot->weight = u->servers[k].weight;
                placed[k] = wanted = true;
            }
        }
        if (!wanted && slot->use == TN_HAPROXY_SERVES) {
            slot->use = TN_HAPROXY_LEAVING;
        }
    }
}

static void fit(struct tn_haproxy_backend *b, size_t slots, const struct tn_haproxy_runtime *runtime,
                bool trim)
{
    while (trim && b->n_slots > slots) {
        struct tn_haproxy_slot *last = &b->slots[b->n_slots - 1];
        if (last->use == TN_HAPROXY_SERVES ||
            (last->use == TN_HAPROXY_LEAVING && busy(b, b->n_slots - 1, runtime))) {
            break;
        }
        free(last->instance);
        free(last->address);
        b->n_slots--;
    }
    while (b->n_slots < slots) {
        append(b);
    }
}

void tn_haproxy_assign(const struct tn_haproxy_file *old, const struct tn_traffic *want,
                       const struct tn_haproxy_runtime *runtime, bool trim, struct tn_haproxy_file *out)
{
    for (size_t i = 0; i < want->n; i++) {
        struct tn_upstream bare = want->v[i];
        bare.servers = NULL;
        bare.n_servers = 0;
        struct tn_traffic from = {.v = &bare, .n = 1}, copy = {0};
        tn_traffic_copy(&copy, &from);
        TN_GROW(out->v, out->n, out->cap);
        struct tn_haproxy_backend *b = &out->v[out->n++];
        *b = (struct tn_haproxy_backend){.upstream = copy.v[0]};
        free(copy.v);

        const struct tn_haproxy_backend *before = tn_haproxy_find(old, bare.name);
        if (before != NULL) {
            copy_slots(b, before);
        }
        const struct tn_upstream *u = &want->v[i];
        tn_autofree bool *placed = tn_alloc(u->n_servers + 1);
        keep(b, u, placed);
        for (size_t k = 0; k < u->n_servers; k++) {
            if (!placed[k]) {
                occupy(slot_for(b, u->servers[k].backup, runtime), &u->servers[k]);
            }
        }
        fit(b, u->slots > 1 ? (size_t)u->slots : 1, runtime, trim);
    }
}

int tn_haproxy_divisor(const struct tn_haproxy_backend *b)
{
    int divisor = 0;
    for (size_t i = 0; i < b->n_slots; i++) {
        if (b->slots[i].use == TN_HAPROXY_SERVES) {
            int v = b->slots[i].weight;
            while (v != 0) {
                int rest = divisor % v;
                divisor = v;
                v = rest;
            }
        }
    }
    return divisor > 0 ? divisor : 1;
}
