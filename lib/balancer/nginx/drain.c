/* Servers that left the file, and when nothing runs to them any more. */
#include "lib/balancer/nginx/nginx.h"

#include <stdlib.h>
#include <string.h>

#include "turnout/clock.h"
#include "turnout/mem.h"

#define QUIET_LOOKS 2
#define LOOK_GAP_MS 10
#define LEFT_MAX    4096

/* nginx's master tells them 100 ms after the new ones have started. Where processes cannot be told apart (no right to
 * look into them) those of another nginx may look like ours: then the proof by fresh connections must do. */
#define OLD_WORKERS_MS 2000

static size_t find(const struct tn_nginx *n, const struct tn_endpoint *at)
{
    size_t i = 0;
    while (i < n->n_left && !tn_endpoint_equal(&n->left[i].at, at))
        i++;
    return i;
}

void tn_nginx_left_drop(struct tn_nginx *n, const struct tn_endpoint *at)
{
    size_t i = find(n, at);
    if (i == n->n_left)
        return;
    free(n->left[i].instance);
    n->n_left--;
    memmove(&n->left[i], &n->left[i + 1], (n->n_left - i) * sizeof(n->left[0]));
}

/* A port is used again by the next instance: the newest name counts, and the looks begin anew. */
void tn_nginx_left_add(struct tn_nginx *n, const char *instance, const struct tn_endpoint *at)
{
    tn_nginx_left_drop(n, at);
    if (n->n_left >= LEFT_MAX)
        tn_nginx_left_drop(n, &n->left[0].at);
    TN_GROW(n->left, n->n_left, n->cap_left);
    n->left[n->n_left++] = (struct tn_nginx_left){.instance = tn_strdup(instance), .at = *at, .running = -1};
}

void tn_nginx_left_clear(struct tn_nginx *n)
{
    for (size_t i = 0; i < n->n_left; i++)
        free(n->left[i].instance);
    free(n->left);
    n->left = NULL;
    n->n_left = n->cap_left = 0;
}

bool tn_nginx_left_drained(const struct tn_nginx_left *l)
{
    return l->quiet >= QUIET_LOOKS;
}

void tn_nginx_count(struct tn_nginx *n, const struct tn_tcp_row *row)
{
    if (row->state != TN_TCP_ESTABLISHED && row->state != TN_TCP_SYN_SENT)
        return;
    size_t i = find(n, &row->remote);
    if (i < n->n_left)
        n->left[i].running++;
}

static void sight(struct tn_nginx *n, struct tn_cancel *c, const char *generation, struct tn_nginx_sight *s)
{
    *s = (struct tn_nginx_sight){0};
    for (size_t i = 0; i < n->n_left; i++)
        n->left[i].running = 0;
    if (n->base.host->local)
        tn_nginx_sight_local(n, generation, s);
    else
        tn_nginx_sight_remote(n, c, s);
    for (size_t i = 0; !s->counted && i < n->n_left; i++)
        n->left[i].running = -1;
}

/* The order inside a sight matters: first the workers, then the connections. A worker that still took
 * requests when it was looked at could open a connection after the connections were counted. */
void tn_nginx_look(struct tn_nginx *n, struct tn_cancel *c, const char *generation)
{
    bool open = false;
    for (size_t i = 0; i < n->n_left; i++)
        open = open || !tn_nginx_left_drained(&n->left[i]);
    if (!open)
        return;
    struct tn_nginx_sight s;
    sight(n, c, generation, &s);
    int64_t now = tn_mono_ms();
    for (size_t i = 0; i < n->n_left; i++) {
        struct tn_nginx_left *l = &n->left[i];
        if (!s.processes || !s.master || s.old || l->running != 0) {
            l->quiet = 0;
            l->looked_at = 0;
        } else if (l->looked_at == 0 || now - l->looked_at >= LOOK_GAP_MS) {
            l->quiet++;
            l->looked_at = now;
        }
    }
}

int tn_nginx_wait_for_workers(struct tn_nginx *n, struct tn_cancel *c, const char *generation,
                              struct tn_error **err)
{
    int64_t deadline = tn_mono_ms() + OLD_WORKERS_MS;
    for (;;) {
        struct tn_nginx_sight s;
        sight(n, c, generation, &s);
        if (!s.processes || !s.master || !s.old || tn_mono_ms() >= deadline)
            return TN_OK;
        int rc = tn_wait_fd(c, "nginx's old workers to stop taking requests", -1, tn_mono_ms() + 5, err);
        if (rc < 0)
            return rc;
    }
}

bool tn_nginx_runs(struct tn_nginx *n, struct tn_cancel *c)
{
    struct tn_nginx_sight s;
    sight(n, c, NULL, &s);
    return s.processes && s.master;
}
