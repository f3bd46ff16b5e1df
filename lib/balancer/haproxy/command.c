/* command.c - commands for the runtime API. Their answers tell nothing ("port changed …" is a success): what was
 * reached is read back. */
#include "lib/balancer/haproxy/haproxy.h"

static void put(struct tn_buf *out, const char *backend, size_t slot, const char *what)
{
    tn_buf_printf(out, "%sset server %s/s%zu %s", out->len > 0 ? "; " : "", backend, slot + 1, what);
}

/* A server that moves to another address passes through maintenance: that closes its idle connections, and its first
 * check afterwards is one of the new address (the state of an old check would count for the new server). */
static bool admit(const struct tn_haproxy_backend *b, size_t i, int divisor,
                  const struct tn_haproxy_server *s, struct tn_buf *out)
{
    const struct tn_haproxy_slot *slot = &b->slots[i];
    int weight = slot->weight / divisor;
    bool moves = !tn_haproxy_at(s, slot), weighs = s->weight != weight;
    bool ready = !moves && !tn_haproxy_in_maint(s) && (s->admin & 0x18U) == 0;
    if (ready && !weighs) {
        return false;
    }
    if (out == NULL) {
        return true;
    }
    if (moves) {
        tn_autofree char *where = tn_format("addr %s port %d", slot->address, slot->port);
        put(out, b->upstream.name, i, "state maint");
        put(out, b->upstream.name, i, where);
    }
    if (weighs) {
        tn_autofree char *text = tn_format("weight %d", weight);
        put(out, b->upstream.name, i, text);
    }
    if (!ready) {
        put(out, b->upstream.name, i, "state ready");
    }
    return true;
}

static bool take_out(const struct tn_haproxy_backend *b, size_t i, const struct tn_haproxy_server *s,
                     struct tn_buf *out)
{
    if (tn_haproxy_in_maint(s)) {
        return false;
    }
    if (out != NULL) {
        put(out, b->upstream.name, i, "state maint");
    }
    return true;
}

size_t tn_haproxy_commands(const struct tn_haproxy_file *f, const struct tn_haproxy_runtime *r,
                           enum tn_haproxy_phase phase, size_t max, struct tn_buf *out)
{
    size_t differ = 0;
    for (size_t i = 0; i < f->n; i++) {
        const struct tn_haproxy_backend *b = &f->v[i];
        int divisor = tn_haproxy_divisor(b);
        for (size_t k = 0; k < b->n_slots; k++) {
            bool serves = b->slots[k].use == TN_HAPROXY_SERVES;
            const struct tn_haproxy_server *s = tn_haproxy_server(r, b->upstream.name, k);
            if (s == NULL || serves != (phase == TN_HAPROXY_ADMIT)) {
                continue;
            }
            struct tn_buf *to = differ < max ? out : NULL;
            differ += (serves ? admit(b, k, divisor, s, to) : take_out(b, k, s, to)) ? 1 : 0;
        }
    }
    return differ;
}

bool tn_haproxy_has_slots(const struct tn_haproxy_file *f, const struct tn_haproxy_runtime *r)
{
    for (size_t i = 0; i < f->n; i++) {
        for (size_t k = 0; k < f->v[i].n_slots; k++) {
            if (tn_haproxy_server(r, f->v[i].upstream.name, k) == NULL) {
                return false;
            }
        }
    }
    return true;
}
