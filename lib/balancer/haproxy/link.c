/* link.c - the two channels to HAProxy: its runtime API, and requests of ours through the probe frontend. */
#include "lib/balancer/haproxy/haproxy.h"

#include <stdlib.h>
#include <string.h>

#include "turnout/text.h"

enum { TALK_MS = 5000, PROBE_MS = 3000, PROBE_ANSWER_MAX = 4 << 20 };

int tn_haproxy_tell(struct tn_haproxy *h, struct tn_cancel *c, const char *commands, struct tn_buf *answer,
                    struct tn_error **err)
{
    tn_autofree char *line = tn_format("%s\n", commands);
    return h->base.host->ops->talk(h->base.host, c, h->socket, line, TALK_MS, answer, err);
}

/* Only servers that are being left: what serves is counted by the worker that gives it its requests. */
static bool may_linger(const struct tn_haproxy_server *s)
{
    enum { PLACEHOLDER_PORT = 1 };
    return s->address != NULL && s->port != PLACEHOLDER_PORT && !tn_haproxy_in_rotation(s);
}

static void count_old_workers(const struct tn_haproxy *h, struct tn_haproxy_runtime *r)
{
    enum { NOT_ASKED, NONE, SOME } workers = NOT_ASKED;
    for (size_t i = 0; h->base.host->local && i < r->n && workers != NONE; i++) {
        struct tn_haproxy_server *s = &r->v[i];
        if (!may_linger(s)) {
            continue;
        }
        if (workers == NOT_ASKED) {
            workers = tn_haproxy_old_workers(r->pid) ? SOME : NONE;
        }
        if (workers == SOME) {
            int64_t connections = tn_haproxy_connections(s->address, s->port);
            s->running = connections > s->running ? connections : s->running;
        }
    }
}

int tn_haproxy_ask(struct tn_haproxy *h, struct tn_cancel *c, const struct tn_haproxy_file *ours,
                   struct tn_haproxy_runtime *out, struct tn_error **err)
{
    tn_autobuf answer = TN_BUF_INIT(TN_HAPROXY_ANSWER_MAX);
    int code = tn_haproxy_tell(h, c, TN_HAPROXY_ASK, &answer, err);
    if (code < 0) {
        return code;
    }
    tn_autofree char *frontend = tn_haproxy_frontend(&h->id, ours->generation);
    code = tn_haproxy_answer(answer.data != NULL ? answer.data : "", ours, frontend, out, err);
    if (code == TN_OK) {
        count_old_workers(h, out);
    }
    return code;
}

int tn_haproxy_probe(struct tn_haproxy *h, struct tn_cancel *c, const struct tn_upstream *u, size_t slot,
                     struct tn_error **err)
{
    tn_autobuf answer = TN_BUF_INIT(PROBE_ANSWER_MAX);
    tn_autofree char *request =
        tn_format("GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: turnout\r\nAccept: */*\r\n"
                  "X-Turnout-Upstream: %s\r\nX-Turnout-Server: s%zu\r\n"
                  "Connection: close\r\n\r\n",
                  u->probe_path != NULL ? u->probe_path : "/", u->host != NULL ? u->host : "localhost",
                  u->name, slot + 1);
    int code = h->base.host->ops->talk(h->base.host, c, h->probe, request, PROBE_MS, &answer, err);
    if (code == TN_ELIMIT) {
        tn_error_clear(err); /* a long answer is one */
    } else if (code < 0) {
        return code;
    }
    int64_t status = 0;
    if (answer.len > 12 && memcmp(answer.data, "HTTP/1.", 7) == 0 && answer.data[8] == ' ') {
        tn_autofree char *digits = tn_strndup(answer.data + 9, 3);
        if (!tn_parse_int(digits, &status)) {
            status = 0;
        }
    }
    return (int)status;
}

int tn_haproxy_load(struct tn_haproxy *h, char **text, size_t *len, enum tn_haproxy_owner *owner,
                    struct tn_haproxy_file *out, struct tn_error **err)
{
    struct tn_error *why = NULL;
    *len = 0;
    *text = h->base.host->ops->read(h->base.host, h->file, TN_HAPROXY_FILE_MAX, len, &why);
    if (*text == NULL && why != NULL && why->code != TN_ENOTFOUND) {
        return tn_error_move(err, &why);
    }
    tn_error_clear(&why);
    *owner = tn_haproxy_owner(&h->id, *text, *len);
    if (*owner == TN_HAPROXY_OURS || *owner == TN_HAPROXY_EDITED) {
        int code = tn_haproxy_read(*text, *len, out, &why);
        if (code < 0 && *owner == TN_HAPROXY_OURS) {
            tn_error_prefix(&why, "file '%s'", h->file);
            return tn_error_move(err, &why);
        }
        tn_error_clear(&why);
    }
    return TN_OK;
}
