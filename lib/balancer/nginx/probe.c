/* Requests to the loopback server of the owned file, each on a fresh connection: over a socket of this
 * host, or by curl or wget where nginx lives. There several requests go into one command, because an exec
 * costs far more than a request. */
#include "lib/balancer/nginx/nginx.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "turnout/clock.h"
#include "turnout/mem.h"
#include "turnout/text.h"

#define ANSWER_MAX     ((size_t)256 << 10)
#define ASK_TIMEOUT_MS 6000
#define EXEC_BATCH     8
#define LOCAL_PAUSE_MS 3
#define EXEC_PAUSE_MS  20
#define PAUSE_AFTER    64
#define LONG_PAUSE_MS  50
#define ROUTE_HEADER   "X-Turnout-Upstream:"
#define EXEC_SECONDS   "6"

enum part { PART_HEAD, PART_BODY };

int tn_nginx_find_asker(struct tn_nginx *n, struct tn_cancel *c, struct tn_error **err)
{
    static const char *const curl[] = {"curl", "--version", NULL}, *const wget[] = {"wget", "--help", NULL};
    struct tn_host *h = n->base.host;
    if (n->asker != TN_ASK_UNDECIDED)
        return TN_OK;
    if (h->local && h->ops->talk) {
        n->asker = TN_ASK_SOCKET;
        return TN_OK;
    }
    const struct {
        const char *const *argv;
        enum tn_nginx_asker asker;
    } tries[] = {{curl, TN_ASK_CURL}, {wget, TN_ASK_WGET}};
    for (size_t i = 0; i < TN_COUNT(tries); i++) {
        struct tn_run_result r = {0};
        struct tn_error *why = NULL;
        int rc = tn_nginx_run(n, c, tries[i].argv, &r, &why);
        tn_run_result_clear(&r);
        if (rc == TN_OK) {
            n->asker = tries[i].asker;
            return TN_OK;
        }
        if (rc != TN_ENOTFOUND)
            return tn_error_move(err, &why);
        tn_error_free(why);
    }
    tn_error_set(err, TN_EUNSUPPORTED,
                 "balancer '%s': %s has neither curl nor wget: nobody there can ask nginx which "
                 "configuration it runs",
                 n->base.config->name, h->name);
    return tn_error_hint(
        err, "use an image with curl or wget (nginx:alpine and nginx:latest have one), or install one");
}

/* Appends the head (with its empty line) or the body of a raw answer. */
static void take_part(struct tn_buf *out, const struct tn_buf *raw, enum part part)
{
    const char *gap = raw->data ? strstr(raw->data, "\r\n\r\n") : NULL;
    if (!gap)
        return;
    size_t head = (size_t)(gap - raw->data) + 4;
    if (part == PART_HEAD)
        tn_buf_add(out, raw->data, head);
    else
        tn_buf_add(out, raw->data + head, raw->len - head);
}

static int ask_socket(struct tn_nginx *n, struct tn_cancel *c, const char *generation, const char *path,
                      enum part part, struct tn_buf *out, struct tn_error **err)
{
    struct tn_host *h = n->base.host;
    tn_autofree char *rq = tn_format("GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                                     "User-Agent: turnout\r\nAccept: */*\r\n\r\n",
                                     path);
    tn_autobuf raw = TN_BUF_INIT(ANSWER_MAX);
    struct tn_error *why = NULL;
    int rc = h->ops->talk(h, c, generation, rq, ASK_TIMEOUT_MS, &raw, &why);
    take_part(out, &raw, part);
    /* A body that is too long, never ends or breaks: its head tells all that is asked here. */
    bool enough = rc == TN_ELIMIT || rc == TN_ETIMEOUT || rc == TN_EUNKNOWN;
    if (enough && out->len > 0 && tn_mono_ms() < tn_cancel_deadline(c)) {
        tn_error_free(why);
        return TN_OK;
    }
    return rc < 0 ? tn_error_move(err, &why) : TN_OK;
}

struct words {
    const char *v[24 + 3 * TN_NGINX_FRESH];
    size_t n;
};

static void push(struct words *w, const char *const *more)
{
    while (*more)
        w->v[w->n++] = *more++;
}

static void curl_words(struct words *w, const char *url, enum part part, int count)
{
    static const char *const start[] = {"curl", "-q",         "-s", "--noproxy",         "*",
                                        "-m",   EXEC_SECONDS, "-H", "Connection: close", NULL};
    static const char *const head[] = {"-D", "-", NULL}, *const no_body[] = {"-o", "/dev/null", NULL};
    push(w, start);
    if (part == PART_HEAD)
        push(w, head);
    for (int i = 0; i < count; i++) {
        if (part == PART_HEAD)
            push(w, no_body);
        w->v[w->n++] = url;
    }
}

/* No -T: some builds of busybox crash on it. The loopback server ends each request within 5 s itself. */
static void wget_words(struct words *w, const char *url, enum part part, int count)
{
    static const char *const start[] = {"env",  "-u", "http_proxy", "-u", "HTTP_PROXY",
                                        "wget", "-q", "-O",         NULL};
    static const char *const head[] = {"/dev/null", "-S", NULL}, *const body[] = {"-", NULL};
    push(w, start);
    push(w, part == PART_HEAD ? head : body);
    for (int i = 0; i < count; i++)
        w->v[w->n++] = url;
}

static int ask_exec(struct tn_nginx *n, struct tn_cancel *c, const char *generation, const char *path,
                    enum part part, int count, struct tn_buf *out, struct tn_error **err)
{
    tn_autofree char *url = tn_format("http://%s%s", generation, path);
    struct words w = {.n = 0};
    bool is_curl = n->asker == TN_ASK_CURL;
    (is_curl ? curl_words : wget_words)(&w, url, part, count);
    w.v[w.n] = NULL;
    struct tn_run_result r = {.out = TN_BUF_INIT(ANSWER_MAX), .err_text = TN_BUF_INIT(ANSWER_MAX)};
    int rc = tn_nginx_run(n, c, w.v, &r, err);
    const struct tn_buf *from = !is_curl && part == PART_HEAD ? &r.err_text : &r.out;
    if (rc == TN_OK && from->len > 0)
        tn_buf_add(out, from->data, from->len);
    if (rc == TN_OK && r.exit_code != 0 && (out->len == 0 || part == PART_BODY))
        rc = tn_error_set(err, TN_EUNREACHABLE, "socket '%s' on %s: nobody answers", generation,
                          n->base.host->name);
    tn_run_result_clear(&r);
    return rc;
}

/* Asks `count` times (a socket: once) and appends what came back. */
static int ask(struct tn_nginx *n, struct tn_cancel *c, const char *generation, const char *path,
               enum part part, int count, struct tn_buf *out, struct tn_error **err)
{
    int rc = tn_nginx_find_asker(n, c, err);
    if (rc < 0)
        return rc;
    if (n->asker == TN_ASK_SOCKET)
        return ask_socket(n, c, generation, path, part, out, err);
    return ask_exec(n, c, generation, path, part, count, out, err);
}

int tn_nginx_ask_generation(struct tn_nginx *n, struct tn_cancel *c, const char *generation, const char *hash,
                            int count, int *same, char **other, struct tn_error **err)
{
    *same = 0;
    while (*same < count) {
        tn_autobuf text = TN_BUF_INIT(ANSWER_MAX);
        int rc = ask(n, c, generation, "/generation", PART_BODY, count, &text, err);
        if (rc < 0)
            return rc;
        int before = *same;
        for (const char *at = text.data; at && *at;) {
            size_t len = strcspn(at, "\n");
            bool ours = len == strlen(hash) && memcmp(at, hash, len) == 0;
            if (!ours) {
                free(*other);
                *other = tn_strndup(at, len < 80 ? len : 80);
                return TN_OK;
            }
            ++*same;
            at += len + (at[len] == '\n');
        }
        if (*same == before)
            return TN_OK;
    }
    return TN_OK;
}

static int pause_ms(const struct tn_nginx *n, struct tn_cancel *c, const char *name, int64_t ms,
                    int64_t deadline, struct tn_error **err)
{
    int64_t until = tn_mono_ms() + (n->asker == TN_ASK_SOCKET || ms > EXEC_PAUSE_MS ? ms : EXEC_PAUSE_MS);
    int rc = tn_wait_fd(c, name, -1, until < deadline ? until : deadline, err);
    return rc < 0 ? rc : TN_OK;
}

/* What only means "not yet" while nginx changes its workers. */
static bool may_pass(int rc)
{
    return rc == TN_EUNREACHABLE || rc == TN_EUNKNOWN || rc == TN_ETIMEOUT || rc == TN_EPROTO;
}

int tn_nginx_confirm_generation(struct tn_nginx *n, struct tn_cancel *c, const char *generation,
                                const char *hash, int64_t deadline, struct tn_error **err)
{
    tn_autofree char *name = tn_format("nginx to run generation %.12s", hash), *other = NULL;
    for (;;) {
        struct tn_error *why = NULL;
        int same = 0;
        int rc = tn_nginx_ask_generation(n, c, generation, hash, TN_NGINX_FRESH, &same, &other, &why);
        if (rc == TN_OK && same >= TN_NGINX_FRESH)
            return TN_OK;
        if (rc < 0 && !may_pass(rc))
            return tn_error_move(err, &why);
        tn_error_free(why);
        if (tn_mono_ms() >= deadline)
            break;
        rc = pause_ms(n, c, name, LOCAL_PAUSE_MS, deadline, err);
        if (rc < 0)
            return rc;
    }
    tn_autobuf seen = TN_BUF_INIT(256);
    if (other)
        tn_filter(&seen, other, strlen(other) < 12 ? strlen(other) : 12, false);
    tn_error_set(err, TN_EFAIL,
                 "balancer '%s': nginx did not take the new configuration within %lld ms: %s%s",
                 n->base.config->name, (long long)tn_nginx_timeout(n),
                 other ? "it still runs generation " : "nobody answers on ", other ? seen.data : generation);
    return tn_error_hint(err,
                         "its master refused the reload although the test passed, or '%s' is not included in "
                         "http{}; nginx's error log says which: often an address that cannot be bound",
                         n->base.config->file);
}

/* "a, b;0.001, -": the last server that was tried, when its header came. */
bool tn_nginx_route_parse(const char *value, size_t len, struct tn_endpoint *out)
{
    tn_autofree char *copy = tn_strndup(value, len);
    char *times = strchr(copy, ';');
    if (!times)
        return false;
    *times++ = '\0';
    char *server = strrchr(copy, ' '), *when = strrchr(times, ' ');
    server = server ? server + 1 : copy;
    when = when ? when + 1 : times;
    return *when >= '0' && *when <= '9' && tn_endpoint_parse(server, out);
}

/* Marks the servers that answered in `heads`; true when at least one answer came through the upstream. */
static bool mark_answers(const struct tn_buf *heads, const struct tn_upstream *u, bool *need)
{
    bool routed = false;
    for (const char *at = heads->data; at && *at;) {
        size_t len = strcspn(at, "\r\n"), skip = strspn(at, " ");
        size_t name = strlen(ROUTE_HEADER);
        struct tn_endpoint from, e;
        if (len > skip + name && strncasecmp(at + skip, ROUTE_HEADER, name) == 0) {
            routed = true;
            const char *value = at + skip + name;
            size_t blank = strspn(value, " ");
            if (tn_nginx_route_parse(value + blank, len - skip - name - blank, &from))
                for (size_t i = 0; i < u->n_servers; i++)
                    if (tn_endpoint_of(u->servers[i].address, u->servers[i].port, &e) &&
                        tn_endpoint_equal(&e, &from))
                        need[i] = false;
        }
        at += len;
        at += strspn(at, "\r\n");
    }
    return routed;
}

static size_t missing(const struct tn_upstream *u, const bool *need)
{
    size_t i = 0;
    while (i < u->n_servers && !need[i])
        i++;
    return i;
}

int tn_nginx_confirm_upstream(struct tn_nginx *n, struct tn_cancel *c, const char *generation,
                              const struct tn_upstream *u, bool *need, int64_t deadline,
                              struct tn_error **err)
{
    tn_autofree char *name = tn_format("answers through upstream '%s'", u->name);
    tn_autofree char *path = tn_format("/u/%s%s", u->name, u->probe_path ? u->probe_path : "/");
    bool routed = false;
    for (int tries = 0;; tries++) {
        struct tn_error *why = NULL;
        tn_autobuf heads = TN_BUF_INIT(ANSWER_MAX * 2);
        int rc = ask(n, c, generation, path, PART_HEAD, EXEC_BATCH, &heads, &why);
        if (rc < 0 && !may_pass(rc))
            return tn_error_move(err, &why);
        tn_error_free(why);
        if (mark_answers(&heads, u, need))
            routed = true;
        size_t i = missing(u, need);
        if (routed && i == u->n_servers)
            return TN_OK;
        if (tn_mono_ms() >= deadline) {
            const char *who = routed ? u->servers[i].instance : u->name;
            return tn_error_set(err, TN_EFAIL,
                                "balancer '%s': %s '%s' did not answer a request through nginx within "
                                "%lld ms",
                                n->base.config->name, routed ? "instance" : "upstream", who,
                                (long long)tn_nginx_timeout(n));
        }
        /* At first as fast as the shares of a weighted upstream need it, then patiently. */
        bool fast = tries < PAUSE_AFTER && rc == TN_OK;
        rc = pause_ms(n, c, name, fast ? 0 : LONG_PAUSE_MS, deadline, err);
        if (rc < 0)
            return rc;
    }
}
