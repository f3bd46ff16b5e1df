/* testserver.c - the service that every test rolls out: a small HTTP/1.1 server whose faults are switched on by
 * environment variables and by the query. It is also the only file in its container image, so it carries the commands
 * that a health check or a hook needs. tests/support/README.md lists all variables, paths and commands.
 *
 * One thread per connection with blocking reads. A connection that waits for its next request also polls `stop_fd`,
 * which becomes readable for ever when idle connections must go. On SIGTERM the server is as polite as a good service:
 * it serves what stands in the backlog before it closes the port, gives a connection that never carried a request one
 * second to send it, and half-closes first, so that no answer is lost to a reset. A loss seen in a test is therefore
 * the roll's fault, except for a request that crosses the close of an idle connection (RFC 9112, 9.3.1).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    EXIT_USAGE = 2,
    HEAD_MAX = 16384,
    BODY_MAX = 1 << 20,
    ID_MAX = 128,
    DRAIN_CAP_MS = 10000,
    NEW_GRACE_MS = 1000,
    LINGER_MS = 200,
    READ_TIMEOUT_S = 30,
    SEEN_SLOTS = 1 << 19,
    SEEN_KEPT = 200000,
};

struct config {
    const char *version, *instance, *bind, *ready_file;
    long port, listen_delay_ms, health_status, health_delay_ms, health_fail_after_ms, exit_after_ms,
        exit_code, term_delay_ms;
    bool never_listen, health_hang, health_redirect, ignore_term, log_requests;
};

/* Hashes of request ids in two generations: the last SEEN_KEPT ids are always in one of them. Apart from `server`,
 * whose initial values would put its 8 MiB into the file. */
static struct seen {
    uint64_t slots[2][SEEN_SLOTS];
    size_t count;
    int current;
} seen;

static struct server {
    struct config config;
    int64_t started_ms;
    int listen_fd, stop_fd, seen_log_fd;
    atomic_bool draining;
    atomic_long requests, in_flight;
    pthread_mutex_t lock; /* connections, accepting, seen */
    pthread_cond_t changed;
    long connections;
    bool accepting;
} server = {.listen_fd = -1, .seen_log_fd = -1, .lock = PTHREAD_MUTEX_INITIALIZER};

struct conn {
    int fd;
    size_t start, end; /* unread bytes in buf */
    bool served;
    char buf[HEAD_MAX];
};

struct request {
    char method[16], target[2048], id[ID_MAX + 1];
    const char *query; /* into target, after the path's NUL */
    uint64_t content_length, body_len, body_sum;
    bool chunked, keep_alive, http10, expect_continue;
    int status;
};

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t age_ms(void)
{
    return now_ms() - server.started_ms;
}

static void sleep_ms(long ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    while (nanosleep(&t, &t) < 0 && errno == EINTR)
        continue;
}

static const uint64_t fnv_start = 0xcbf29ce484222325U;

static uint64_t fnv1a(uint64_t sum, const void *data, size_t n)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < n; i++)
        sum = (sum ^ p[i]) * 0x100000001b3U;
    return sum;
}

__attribute__((noreturn, format(printf, 2, 3))) static void die(int code, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    fputs("testserver: ", stderr);
    vfprintf(stderr, format, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(code);
}

static long number(const char *name, const char *text)
{
    char *end;
    errno = 0;
    long n = strtol(text, &end, 10);
    if (errno || end == text || *end || n < 0)
        die(EXIT_USAGE, "%s: '%s' is not a number", name, text);
    return n;
}

static long env_number(const char *name, long fallback)
{
    const char *text = getenv(name);
    return text && *text ? number(name, text) : fallback;
}

static bool env_flag(const char *name)
{
    return env_number(name, 0) != 0;
}

static const char *env_text(const char *name, const char *fallback)
{
    const char *text = getenv(name);
    return text && *text ? text : fallback;
}

static bool send_all(int fd, const char *data, size_t n, int flags)
{
    while (n > 0) {
        ssize_t sent = send(fd, data, n, flags | MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        data += sent;
        n -= (size_t)sent;
    }
    return true;
}

/* ---- ids of received requests ---- */

static bool seen_find(const uint64_t *slots, uint64_t hash, size_t *out_slot)
{
    size_t i = hash % SEEN_SLOTS;
    while (slots[i] && slots[i] != hash)
        i = (i + 1) % SEEN_SLOTS;
    *out_slot = i;
    return slots[i] == hash;
}

static uint64_t seen_hash(const char *id)
{
    uint64_t hash = fnv1a(fnv_start, id, strlen(id));
    return hash ? hash : 1; /* 0 marks a free slot */
}

static void seen_add(const char *id)
{
    size_t slot;
    uint64_t hash = seen_hash(id);
    pthread_mutex_lock(&server.lock);
    if (seen.count == SEEN_KEPT) {
        seen.current = !seen.current;
        seen.count = 0;
        memset(seen.slots[seen.current], 0, sizeof seen.slots[0]);
    }
    if (!seen_find(seen.slots[seen.current], hash, &slot)) {
        seen.slots[seen.current][slot] = hash;
        seen.count++;
    }
    pthread_mutex_unlock(&server.lock);
    if (server.seen_log_fd >= 0) {
        char line[ID_MAX + 2];
        int n = snprintf(line, sizeof line, "%s\n", id);
        if (write(server.seen_log_fd, line, (size_t)n) != n)
            perror("testserver: SEEN_LOG");
    }
}

static bool seen_has(const char *id)
{
    size_t slot;
    uint64_t hash = seen_hash(id);
    pthread_mutex_lock(&server.lock);
    bool found = seen_find(seen.slots[0], hash, &slot) || seen_find(seen.slots[1], hash, &slot);
    pthread_mutex_unlock(&server.lock);
    return found;
}

/* ---- reading a request ---- */

static bool read_more(struct conn *c)
{
    if (c->start == c->end)
        c->start = c->end = 0;
    if (c->start > 0 && c->end == sizeof c->buf) {
        memmove(c->buf, c->buf + c->start, c->end - c->start);
        c->end -= c->start;
        c->start = 0;
    }
    if (c->end == sizeof c->buf)
        return false;
    ssize_t n;
    do
        n = recv(c->fd, c->buf + c->end, sizeof c->buf - c->end, 0);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return false;
    c->end += (size_t)n;
    return true;
}

/* Waits for the first byte of the next request; false when the connection is to be closed instead. */
static bool wait_request(struct conn *c)
{
    if (c->start < c->end)
        return true;
    struct pollfd fds[2] = {{.fd = c->fd, .events = POLLIN}, {.fd = server.stop_fd, .events = POLLIN}};
    while (poll(fds, 2, -1) < 0 && errno == EINTR)
        continue;
    if (fds[0].revents)
        return true;
    return poll(fds, 1, c->served ? 0 : NEW_GRACE_MS) > 0;
}

/* One line without its CRLF, NUL-terminated in place; NULL when it does not fit or the peer left. */
static char *read_line(struct conn *c)
{
    for (;;) {
        char *line = c->buf + c->start;
        char *end = memchr(line, '\n', c->end - c->start);
        if (end) {
            c->start = (size_t)(end + 1 - c->buf);
            *end = '\0';
            if (end > line && end[-1] == '\r')
                end[-1] = '\0';
            return line;
        }
        if (!read_more(c))
            return NULL;
    }
}

static bool read_data(struct conn *c, struct request *rq, uint64_t n)
{
    while (n > 0) {
        if (c->start == c->end && !read_more(c))
            return false;
        size_t have = c->end - c->start;
        size_t take = n < have ? (size_t)n : have;
        rq->body_sum = fnv1a(rq->body_sum, c->buf + c->start, take);
        rq->body_len += take;
        c->start += take;
        n -= take;
    }
    return true;
}

static bool read_body(struct conn *c, struct request *rq)
{
    if (rq->expect_continue && !send_all(c->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25, 0))
        return false;
    if (!rq->chunked)
        return read_data(c, rq, rq->content_length);
    for (;;) {
        char *line = read_line(c), *end;
        if (!line)
            return false;
        uint64_t size = strtoull(line, &end, 16);
        if (end == line || (*end && *end != ';'))
            return false;
        if (size == 0)
            break;
        if (!read_data(c, rq, size) || !(line = read_line(c)) || *line)
            return false;
    }
    char *trailer;
    while ((trailer = read_line(c)) && *trailer)
        continue;
    return trailer != NULL;
}

static bool parse_header(struct request *rq, const char *name, const char *value)
{
    if (strcasecmp(name, "content-length") == 0) {
        char *end;
        rq->content_length = strtoull(value, &end, 10);
        return end != value && *end == '\0' && *value != '-';
    }
    if (strcasecmp(name, "transfer-encoding") == 0)
        return rq->chunked = strcasecmp(value, "chunked") == 0;
    if (strcasecmp(name, "expect") == 0)
        rq->expect_continue = strcasecmp(value, "100-continue") == 0;
    if (strcasecmp(name, "connection") == 0) {
        if (strcasestr(value, "close"))
            rq->keep_alive = false;
        else if (strcasestr(value, "keep-alive"))
            rq->keep_alive = true;
    }
    if (strcasecmp(name, "x-request-id") == 0) {
        size_t n = 0;
        while (n < ID_MAX && value[n] > ' ' && value[n] < 127)
            n++;
        memcpy(rq->id, value, n);
        rq->id[n] = '\0';
    }
    return true;
}

static bool read_head(struct conn *c, struct request *rq)
{
    char *line;
    do
        line = read_line(c);
    while (line && !*line && c->end > c->start);
    char protocol[16];
    if (!line || sscanf(line, "%15s %2047s %15s", rq->method, rq->target, protocol) != 3)
        return false;
    rq->http10 = strcmp(protocol, "HTTP/1.0") == 0;
    if (!rq->http10 && strcmp(protocol, "HTTP/1.1") != 0)
        return false;
    rq->keep_alive = !rq->http10;
    char *query = strchr(rq->target, '?');
    if (query)
        *query = '\0';
    rq->query = query ? query + 1 : "";
    for (int lines = 0; (line = read_line(c)); lines++) {
        if (!*line)
            return true;
        char *value = strchr(line, ':');
        if (!value || lines >= 200)
            return false;
        *value++ = '\0';
        value += strspn(value, " \t");
        for (size_t n = strlen(value); n > 0 && strchr(" \t", value[n - 1]); n--)
            value[n - 1] = '\0';
        if (!parse_header(rq, line, value))
            return false;
    }
    return false;
}

static bool query_text(const struct request *rq, const char *name, char *out, size_t size)
{
    size_t name_len = strlen(name), n = 0;
    const char *p = rq->query;
    while (p && !(strncmp(p, name, name_len) == 0 && p[name_len] == '=')) {
        p = strchr(p, '&');
        if (p)
            p++;
    }
    if (!p)
        return false;
    for (p += name_len + 1; *p && *p != '&' && n + 1 < size; p++) {
        char hex[3] = {0};
        if (*p == '%' && p[1] && p[2]) {
            memcpy(hex, p + 1, 2);
            out[n++] = (char)strtol(hex, NULL, 16);
            p += 2;
        } else {
            out[n++] = *p;
        }
    }
    out[n] = '\0';
    return true;
}

static long query_number(const struct request *rq, const char *name, long fallback, long max)
{
    char text[32];
    if (!query_text(rq, name, text, sizeof text))
        return fallback;
    long n = strtol(text, NULL, 10);
    return n < 0 ? 0 : n > max ? max : n;
}

/* ---- answers: each handler returns false when the connection must be closed ---- */

/* `framing` is the Content-Length or Transfer-Encoding line, with any further header lines. */
static bool send_head(struct conn *c, struct request *rq, int status, const char *framing, int flags)
{
    char head[1024 + ID_MAX];
    rq->status = status;
    if (atomic_load(&server.draining))
        rq->keep_alive = false;
    const char *connection = !rq->keep_alive ? "Connection: close\r\n"
                             : rq->http10    ? "Connection: keep-alive\r\n"
                                             : "";
    int n =
        snprintf(head, sizeof head,
                 "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nX-Version: %.200s\r\nX-Instance: %.200s\r\n"
                 "%s%s%s%s%s\r\n",
                 status, status < 400 ? "OK" : "Error", server.config.version, server.config.instance,
                 *rq->id ? "X-Request-Id: " : "", rq->id, *rq->id ? "\r\n" : "", connection, framing);
    return n > 0 && (size_t)n < sizeof head && send_all(c->fd, head, (size_t)n, flags);
}

static bool answer(struct conn *c, struct request *rq, int status, const char *extra, const char *body,
                   size_t n)
{
    char framing[512];
    bool has_body = strcmp(rq->method, "HEAD") != 0 && n > 0;
    snprintf(framing, sizeof framing, "Content-Length: %zu\r\n%s", n, extra);
    return send_head(c, rq, status, framing, has_body ? MSG_MORE : 0) &&
           (!has_body || send_all(c->fd, body, n, 0)) && rq->keep_alive;
}

static bool answer_text(struct conn *c, struct request *rq, int status, const char *text)
{
    return answer(c, rq, status, "", text, strlen(text));
}

static bool handle_default(struct conn *c, struct request *rq)
{
    char start[512 + ID_MAX];
    static const char end[] = " end\n";
    sleep_ms(query_number(rq, "ms", 0, 600000));
    int prefix =
        snprintf(start, sizeof start, "version=%.200s id=%s ", server.config.version, *rq->id ? rq->id : "-");
    size_t least = (size_t)prefix + sizeof end - 1, n = (size_t)query_number(rq, "size", 128, BODY_MAX);
    if (n < least)
        n = least;
    char *body = malloc(n);
    if (!body)
        return false;
    memset(body, '.', n);
    memcpy(body, start, (size_t)prefix);
    memcpy(body + n - (sizeof end - 1), end, sizeof end - 1);
    int status = (int)query_number(rq, "code", 200, 599);
    bool open = answer(c, rq, status < 200 ? 200 : status, "", body, n);
    free(body);
    return open;
}

static bool handle_health(struct conn *c, struct request *rq)
{
    const struct config *config = &server.config;
    if (config->health_hang) {
        struct pollfd fds[2] = {{.fd = c->fd, .events = POLLRDHUP}, {.fd = server.stop_fd, .events = POLLIN}};
        while (poll(fds, 2, -1) < 0 && errno == EINTR)
            continue;
        return false;
    }
    if (config->health_redirect)
        return answer(c, rq, 302, "Location: /\r\n", "", 0);
    bool healthy = !atomic_load(&server.draining) && age_ms() >= config->health_delay_ms &&
                   (!config->health_fail_after_ms || age_ms() < config->health_fail_after_ms) &&
                   (!config->ready_file || access(config->ready_file, F_OK) == 0);
    if (!healthy)
        return answer_text(c, rq, 503, "unhealthy");
    return answer_text(c, rq, (int)config->health_status, config->health_status == 200 ? "ok" : "unhealthy");
}

static bool handle_stream(struct conn *c, struct request *rq)
{
    long chunks = query_number(rq, "chunks", 10, 100000), ms = query_number(rq, "ms", 100, 600000);
    if (rq->http10)
        rq->keep_alive = false; /* HTTP/1.0 has no chunks: the close ends the body */
    if (!send_head(c, rq, 200, rq->http10 ? "" : "Transfer-Encoding: chunked\r\n", 0))
        return false;
    for (long i = 1; i <= chunks; i++) {
        char line[512 + ID_MAX], coded[600 + ID_MAX];
        sleep_ms(ms);
        int n = snprintf(line, sizeof line, "chunk %ld/%ld version=%.200s id=%s\n", i, chunks,
                         server.config.version, *rq->id ? rq->id : "-");
        int m = snprintf(coded, sizeof coded, "%x\r\n%s\r\n", (unsigned)n, line);
        if (!send_all(c->fd, rq->http10 ? line : coded, (size_t)(rq->http10 ? n : m), 0))
            return false;
    }
    return (rq->http10 || send_all(c->fd, "0\r\n\r\n", 5, 0)) && rq->keep_alive;
}

static bool handle_echo(struct conn *c, struct request *rq)
{
    char body[512];
    sleep_ms(query_number(rq, "ms", 0, 600000));
    snprintf(body, sizeof body, "len=%llu sum=%016llx version=%.200s\n", (unsigned long long)rq->body_len,
             (unsigned long long)rq->body_sum, server.config.version);
    return answer_text(c, rq, 200, body);
}

static bool handle_env(struct conn *c, struct request *rq)
{
    char name[256];
    const char *value = query_text(rq, "name", name, sizeof name) ? getenv(name) : NULL;
    return value ? answer_text(c, rq, 200, value) : answer_text(c, rq, 404, "not set\n");
}

static bool handle_count(struct conn *c, struct request *rq)
{
    char body[128];
    snprintf(body, sizeof body, "{\"requests\":%ld,\"in_flight\":%ld}\n", atomic_load(&server.requests),
             atomic_load(&server.in_flight));
    return answer_text(c, rq, 200, body);
}

static bool handle_seen(struct conn *c, struct request *rq)
{
    char id[ID_MAX + 1];
    bool found = query_text(rq, "id", id, sizeof id) && seen_has(id);
    return answer_text(c, rq, found ? 200 : 404, found ? "seen\n" : "not seen\n");
}

static bool handle_crash(struct conn *c, struct request *rq)
{
    (void)c, (void)rq;
    _exit((int)env_number("EXIT_CODE", 1));
}

/* Control paths are about the server, not served by it: they are neither counted nor remembered. */
static const struct route {
    const char *path;
    bool (*handle)(struct conn *c, struct request *rq);
    bool control;
} routes[] = {
    {"/healthz", handle_health, true}, {"/count", handle_count, true}, {"/seen", handle_seen, true},
    {"/env", handle_env, true},        {"/crash", handle_crash, true}, {"/stream", handle_stream, false},
    {"/echo", handle_echo, false},     {NULL, handle_default, false},
};

/* ---- connections ---- */

static bool serve_request(struct conn *c)
{
    struct request rq = {.body_sum = fnv_start};
    if (!read_head(c, &rq)) {
        rq.keep_alive = false;
        if (*rq.method)
            answer_text(c, &rq, 400, "bad request\n");
        return false;
    }
    const struct route *route = routes;
    while (route->path && strcmp(route->path, rq.target) != 0)
        route++;
    if (!route->control) {
        atomic_fetch_add(&server.requests, 1);
        atomic_fetch_add(&server.in_flight, 1);
        if (*rq.id)
            seen_add(rq.id);
    }
    bool open = read_body(c, &rq) && route->handle(c, &rq);
    if (!route->control)
        atomic_fetch_sub(&server.in_flight, 1);
    if (server.config.log_requests) {
        printf("%s %s %d %s\n", rq.method, rq.target, rq.status, *rq.id ? rq.id : "-");
        fflush(stdout);
    }
    c->served = true;
    return open;
}

/* Closing with unread bytes makes the kernel send a reset, which may overtake the answer; so the peer closes first. */
static void linger_close(int fd)
{
    char rest[4096];
    int64_t end = now_ms() + LINGER_MS;
    shutdown(fd, SHUT_WR);
    for (int64_t left = LINGER_MS; left > 0; left = end - now_ms()) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, (int)left) < 0 && errno == EINTR)
            continue;
        if (!p.revents || recv(fd, rest, sizeof rest, MSG_DONTWAIT) <= 0)
            break;
    }
    close(fd);
}

static void *conn_run(void *arg)
{
    struct conn *c = arg;
    while (wait_request(c) && serve_request(c))
        continue;
    linger_close(c->fd);
    free(c);
    pthread_mutex_lock(&server.lock);
    server.connections--;
    pthread_cond_signal(&server.changed);
    pthread_mutex_unlock(&server.lock);
    return NULL;
}

static void thread_start(void *(*run)(void *), void *arg)
{
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 256 * 1024);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    int rc = pthread_create(&thread, &attr, run, arg);
    if (rc)
        die(1, "cannot start a thread: %s", strerror(rc));
    pthread_attr_destroy(&attr);
}

static void conn_start(int fd)
{
    struct conn *c = malloc(sizeof *c);
    if (!c)
        die(1, "out of memory");
    c->fd = fd;
    c->start = c->end = 0;
    c->served = false;
    int on = 1;
    struct timeval timeout = {.tv_sec = READ_TIMEOUT_S};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    pthread_mutex_lock(&server.lock);
    server.connections++;
    pthread_mutex_unlock(&server.lock);
    thread_start(conn_run, c);
}

static void listen_open(void)
{
    const struct config *config = &server.config;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)config->port)};
    socklen_t size = sizeof address;
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (inet_pton(AF_INET, config->bind, &address.sin_addr) != 1)
        die(EXIT_USAGE, "BIND: '%s' is not an IPv4 address", config->bind);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 1024) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0)
        die(1, "cannot listen on %s:%ld: %s", config->bind, config->port, strerror(errno));
    server.listen_fd = fd;
    printf("listening on %d version %s\n", ntohs(address.sin_port), config->version);
    fflush(stdout);
}

static void *accept_run(void *arg)
{
    (void)arg;
    struct pollfd fds[2] = {{.fd = server.stop_fd, .events = POLLIN},
                            {.fd = server.listen_fd, .events = POLLIN}};
    if (fds[1].fd < 0 && poll(fds, 1, (int)server.config.listen_delay_ms) == 0) {
        listen_open();
        fds[1].fd = server.listen_fd;
    }
    while (fds[1].fd >= 0) {
        poll(fds, 2, -1);
        int fd = accept4(fds[1].fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            conn_start(fd);
        else if (errno == EMFILE || errno == ENFILE)
            sleep_ms(10);
        else if (fds[0].revents && errno == EAGAIN)
            break;
    }
    if (fds[1].fd >= 0)
        close(fds[1].fd);
    pthread_mutex_lock(&server.lock);
    server.accepting = false;
    pthread_cond_signal(&server.changed);
    pthread_mutex_unlock(&server.lock);
    return NULL;
}

/* ---- life of the server ---- */

static void wait_signal(const sigset_t *signals)
{
    for (;;) {
        int64_t left = server.config.exit_after_ms ? server.config.exit_after_ms - age_ms() : 1000;
        if (left <= 0)
            _exit((int)server.config.exit_code);
        struct timespec t = {.tv_sec = left / 1000, .tv_nsec = left % 1000 * 1000000L};
        if (sigtimedwait(signals, NULL, &t) > 0)
            return;
    }
}

static int drain(void)
{
    uint64_t one = 1;
    atomic_store(&server.draining, true);
    sleep_ms(server.config.term_delay_ms);
    if (write(server.stop_fd, &one, sizeof one) < 0)
        die(1, "cannot stop: %s", strerror(errno));
    struct timespec deadline;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += DRAIN_CAP_MS / 1000;
    int rc = 0;
    pthread_mutex_lock(&server.lock);
    while ((server.accepting || server.connections > 0) && rc == 0)
        rc = pthread_cond_timedwait(&server.changed, &server.lock, &deadline);
    long cut = server.connections;
    pthread_mutex_unlock(&server.lock);
    if (cut > 0)
        fprintf(stderr, "testserver: %ld connections cut after %d ms\n", cut, DRAIN_CAP_MS);
    return 0;
}

static void config_load(struct config *config, long port)
{
    char *pid;
    if (asprintf(&pid, "%ld", (long)getpid()) < 0)
        die(1, "out of memory");
    *config = (struct config){
        .version = env_text("VERSION", "v0"),
        .instance = env_text("INSTANCE", env_text("HOSTNAME", pid)),
        .bind = env_text("BIND", "0.0.0.0"),
        .ready_file = env_text("READY_FILE", NULL),
        .port = env_number("PORT", port),
        .listen_delay_ms = env_number("LISTEN_DELAY_MS", 0),
        .health_status = env_number("HEALTH_STATUS", 200),
        .health_delay_ms = env_number("HEALTH_DELAY_MS", 0),
        .health_fail_after_ms = env_number("HEALTH_FAIL_AFTER_MS", 0),
        .exit_after_ms = env_number("EXIT_AFTER_MS", 0),
        .exit_code = env_number("EXIT_CODE", 0),
        .term_delay_ms = env_number("TERM_DELAY_MS", 0),
        .never_listen = env_flag("NEVER_LISTEN"),
        .health_hang = env_flag("HEALTH_HANG"),
        .health_redirect = env_flag("HEALTH_REDIRECT"),
        .ignore_term = env_flag("IGNORE_TERM"),
        .log_requests = env_flag("LOG_REQUESTS"),
    };
    if (config->instance != pid)
        free(pid);
    if (config->port > 65535)
        die(EXIT_USAGE, "PORT: %ld is above 65535", config->port);
}

static void fail_at_start(void)
{
    if (env_flag("CRASH_AT_START")) {
        fputs("fatal: DATABASE_URL missing\n", stderr);
        exit(1);
    }
    if (env_flag("SEGV_AT_START")) { /* a real fault: pid 1 of a container survives a raised signal */
        volatile int *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        *page = 1;
    }
}

static int serve(long port)
{
    server.started_ms = now_ms();
    fail_at_start();
    config_load(&server.config, port);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    const char *log = getenv("SEEN_LOG");
    if (log && *log) {
        server.seen_log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (server.seen_log_fd < 0)
            die(1, "cannot open SEEN_LOG '%s': %s", log, strerror(errno));
    }
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&server.changed, &attr);
    server.stop_fd = eventfd(0, EFD_CLOEXEC);

    sigset_t blocked, awaited;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGINT);
    awaited = blocked;
    sigaddset(&blocked, SIGTERM);
    if (!server.config.ignore_term)
        awaited = blocked;
    pthread_sigmask(SIG_BLOCK, &blocked, NULL);

    if (!server.config.never_listen) {
        server.accepting = true;
        if (!server.config.listen_delay_ms)
            listen_open();
        thread_start(accept_run, NULL);
    }
    wait_signal(&awaited);
    return drain();
}

/* ---- commands for containers that hold nothing but this file ---- */

static void probe_timeout(int signal)
{
    (void)signal;
    _exit(1);
}

static int probe(const char *url)
{
    char host[64], request[1400], reply[16] = "";
    const char *rest = strncmp(url, "http://", 7) == 0 ? url + 7 : NULL;
    size_t n = rest ? strcspn(rest, ":/") : 0;
    if (n == 0 || n >= sizeof host)
        die(EXIT_USAGE, "probe: '%s' is not http://ADDRESS[:PORT][/PATH]", url);
    memcpy(host, rest, n);
    host[n] = '\0';
    rest += n;
    char *after = NULL;
    unsigned long port = *rest == ':' ? strtoul(rest + 1, &after, 10) : 80;
    const char *path = after ? after : rest;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, &address.sin_addr) != 1)
        die(EXIT_USAGE, "probe: '%s' is not an IPv4 address", host);
    signal(SIGALRM, probe_timeout);
    alarm(5);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int len =
        snprintf(request, sizeof request, "GET %.1000s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
                 *path ? path : "/", host);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        !send_all(fd, request, (size_t)len, 0) || recv(fd, reply, 12, MSG_WAITALL) != 12)
        return 1;
    return strcmp(reply + 8, " 200") == 0 ? 0 : 1;
}

static int hook(const char *path, const char *text, int code)
{
    char *line;
    int n = asprintf(&line, "%s\n", text);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (n < 0 || fd < 0 || write(fd, line, (size_t)n) != n)
        die(1, "cannot write '%s': %s", path, strerror(errno));
    free(line);
    return code;
}

static int cat(const char *path)
{
    char data[4096];
    size_t n;
    FILE *file = fopen(path, "re");
    if (!file)
        die(1, "cannot read '%s': %s", path, strerror(errno));
    while ((n = fread(data, 1, sizeof data, file)) > 0)
        fwrite(data, 1, n, stdout);
    fclose(file);
    return 0;
}

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "";
    if (argc == 1)
        return serve(8080);
    if (strcmp(command, "--port") == 0 && argc == 3)
        return serve(number("--port", argv[2]));
    if (strcmp(command, "probe") == 0 && argc == 3)
        return probe(argv[2]);
    if (strcmp(command, "cat") == 0 && argc == 3)
        return cat(argv[2]);
    if (strcmp(command, "hook") == 0 && (argc == 4 || argc == 5))
        return hook(argv[2], argv[3], argc == 5 ? (int)number("EXITCODE", argv[4]) : 0);
    if (strcmp(command, "sleep") == 0 && argc == 3) {
        sleep_ms((long)(strtod(argv[2], NULL) * 1000));
        return 0;
    }
    fputs("usage: testserver [--port N]\n"
          "       testserver probe URL | sleep SECONDS | hook FILE TEXT [EXITCODE] | cat FILE\n",
          stderr);
    return EXIT_USAGE;
}
