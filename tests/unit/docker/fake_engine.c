#include "fake_engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "turnout/cancel.h"
#include "turnout/clock.h"

struct connection {
    struct fake_engine *engine;
    int fd;
};

static void say(int fd, const char *text, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, text, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        text += sent;
        n -= (size_t)sent;
    }
}

static void answer(int fd, const struct fake_engine *e, int status, const char *body, bool cut)
{
    char head[256];
    size_t len = body != NULL ? strlen(body) : 0;
    bool leaves = status < 0;
    int n = snprintf(head, sizeof head, "HTTP/1.1 %d X\r\nApi-Version: %s\r\n%sContent-Length: %zu\r\n\r\n",
                     leaves ? -status : status, e->api_version, leaves ? "Connection: close\r\n" : "",
                     len + (cut ? 100 : 0));
    if (leaves)
        unlink(e->path);
    say(fd, head, (size_t)n);
    say(fd, body != NULL ? body : "", len);
}

/* Row for the request; its number is taken under the lock. */
static const struct fake_row *find_row(struct fake_engine *e, const char *request)
{
    const struct fake_row *found = NULL;
    pthread_mutex_lock(&e->lock);
    for (int i = 0; e->rows[i].request != NULL && found == NULL; i++) {
        const struct fake_row *r = &e->rows[i];
        if (strncmp(request, r->request, strlen(r->request)) != 0 || (r->times > 0 && e->used[i] >= r->times))
            continue;
        e->used[i]++;
        found = r;
    }
    pthread_mutex_unlock(&e->lock);
    return found;
}

static void remember(struct fake_engine *e, const char *request, const char *body)
{
    pthread_mutex_lock(&e->lock);
    if (e->n_log < 32) {
        snprintf(e->log[e->n_log], sizeof e->log[0], "%s", request);
        snprintf(e->bodies[e->n_log], sizeof e->bodies[0], "%s", body);
        e->n_log++;
    }
    pthread_mutex_unlock(&e->lock);
}

/* Reads one request: "METHOD /path" without the version into `line`, the body into `body`. */
static bool read_request(int fd, char *line, size_t line_size, char *body, size_t body_size)
{
    char buf[8192];
    size_t len = 0, head = 0, want = 0;
    while (head == 0 || len < head + want) {
        ssize_t n = recv(fd, buf + len, sizeof buf - 1 - len, 0);
        if (n <= 0)
            return false;
        len += (size_t)n;
        buf[len] = '\0';
        const char *end = strstr(buf, "\r\n\r\n");
        if (end != NULL && head == 0) {
            const char *length = strcasestr(buf, "Content-Length:");
            head = (size_t)(end + 4 - buf);
            want = length != NULL && length < end ? strtoul(length + 15, NULL, 10) : 0;
        }
    }
    char method[16], path[200];
    if (sscanf(buf, "%15s %199s", method, path) != 2)
        return false;
    const char *p =
        strncmp(path, "/v1.", 4) == 0 && strchr(path + 1, '/') != NULL ? strchr(path + 1, '/') : path;
    snprintf(line, line_size, "%s %s", method, p);
    snprintf(body, body_size, "%.*s", (int)want, buf + head);
    return true;
}

static void *serve_connection(void *arg)
{
    struct connection *c = arg;
    struct fake_engine *e = c->engine;
    char line[256], body[2048];
    while (read_request(c->fd, line, sizeof line, body, sizeof body)) {
        if (strcmp(line, "GET /_ping") == 0) {
            remember(e, line, body);
            answer(c->fd, e, 200, "OK", false);
            continue;
        }
        remember(e, line, body);
        const struct fake_row *r = find_row(e, line);
        if (r == NULL) {
            answer(c->fd, e, 404, "{\"message\":\"not in the script\"}", false);
            continue;
        }
        if (r->delay_ms > 0)
            tn_wait_fd(NULL, "delay", -1, tn_mono_ms() + r->delay_ms, NULL);
        if (r->status == 0)
            break;
        answer(c->fd, e, r->status, r->body, r->cut);
        if (r->cut || r->status < 0)
            break;
    }
    close(c->fd);
    free(c);
    pthread_mutex_lock(&e->lock);
    e->open--;
    pthread_cond_signal(&e->idle);
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

static void *serve(void *arg)
{
    struct fake_engine *e = arg;
    for (;;) {
        int fd = accept(e->fd, NULL, NULL);
        if (fd < 0)
            return NULL;
        struct connection *c = malloc(sizeof *c);
        *c = (struct connection){.engine = e, .fd = fd};
        pthread_mutex_lock(&e->lock);
        e->open++;
        pthread_mutex_unlock(&e->lock);
        pthread_t t;
        if (pthread_create(&t, NULL, serve_connection, c) != 0)
            abort();
        pthread_detach(t);
    }
}

struct fake_engine *fake_engine_new(const struct fake_row *rows, const char *api_version)
{
    static int count;
    struct fake_engine *e = calloc(1, sizeof *e);
    e->rows = rows;
    e->api_version = api_version != NULL ? api_version : "1.41";
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->idle, NULL);
    snprintf(e->path, sizeof e->path, "/tmp/tn-engine-%d-%d.sock", (int)getpid(), count++);
    snprintf(e->url, sizeof e->url, "unix://%s", e->path);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, e->path, sizeof e->path);
    unlink(e->path);
    e->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(e->fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(e->fd, 64) != 0 ||
        pthread_create(&e->thread, NULL, serve, e) != 0)
        abort();
    return e;
}

void fake_engine_free(struct fake_engine *e)
{
    shutdown(e->fd, SHUT_RDWR);
    pthread_join(e->thread, NULL);
    close(e->fd);
    unlink(e->path);
    pthread_mutex_lock(&e->lock);
    while (e->open > 0)
        pthread_cond_wait(&e->idle, &e->lock);
    pthread_mutex_unlock(&e->lock);
    pthread_mutex_destroy(&e->lock);
    pthread_cond_destroy(&e->idle);
    free(e);
}

int fake_engine_count(struct fake_engine *e, const char *request)
{
    int n = 0;
    pthread_mutex_lock(&e->lock);
    for (int i = 0; i < e->n_log; i++)
        n += strncmp(e->log[i], request, strlen(request)) == 0;
    pthread_mutex_unlock(&e->lock);
    return n;
}

const char *fake_engine_body(struct fake_engine *e, const char *request)
{
    const char *body = "";
    pthread_mutex_lock(&e->lock);
    for (int i = 0; i < e->n_log; i++)
        if (strncmp(e->log[i], request, strlen(request)) == 0)
            body = e->bodies[i];
    pthread_mutex_unlock(&e->lock);
    return body;
}
