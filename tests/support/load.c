/* load.c - open-loop load against `testserver`, alone or behind a balancer: did a roll lose a request?
 *
 * Requests start on a fixed time grid whether or not earlier ones were answered, and latency counts from the planned
 * time, so a stall shows instead of slowing the load down. A share of them uses a connection of its own, the others a
 * pool of at least --keepalive connections, the one idle longest first; when none is idle the pool grows.
 * Every answer is checked whole: framing, revision in the body against X-Version, request id, checksum of an echo.
 * One thread, one epoll; each connection carries its current request and stands in exactly one of two lists.
 * tests/support/README.md explains the options and the report.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
    EXIT_USAGE = 2,
    ECHO_LEN = 32 * 1024,
    ECHO_SHIFTS = 4096,
    ANSWER_MAX = 8192,
    VERSION_MAX = 64,
    VERSIONS = 64,
    PATHS = 64,
    FAILURES = 200,
    STATUSES = 600,
    IN_FLIGHT_CAP = 2000, /* above it the grid waits; latency still counts from the grid */
    CONNECT_MS = 5000,
    FINISH_MS = 10000,
    HOUSEKEEPING_MS = 20,
    TIMELINE_MS = 100,
    EVENTS = 256,
};

enum kind {
    CONNECT_REFUSED,
    CONNECT_TIMEOUT,
    CONNECT_ERROR,
    RESET_BEFORE_BYTE,
    EOF_BEFORE_BYTE,
    RESET_MID,
    EOF_MID,
    BAD_STATUS,
    BAD_BODY,
    TIMEOUT,
    KINDS,
};
static const char *const kind_names[KINDS] = {
    "connect_refused", "connect_timeout", "connect_error", "reset_before_byte", "eof_before_byte",
    "reset_mid",       "eof_mid",         "bad_status",    "bad_body",          "timeout",
};

struct request {
    char id[40];
    const char *path;
    bool has_echo;
    size_t echo; /* where in load.echo its body begins */
    uint64_t echo_sum;
    int64_t due_us, deadline_us;
    int64_t idle_ms; /* how long its connection had been idle; -1 on a fresh one */
    bool pooled, retried;
};

struct answer {
    enum { HEAD, LENGTH, UNTIL_EOF, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER, COMPLETE, BROKEN } state;
    const char *why; /* of BROKEN */
    int status;
    bool any_byte, close;
    uint64_t left;
    size_t head_len, line_len, body_len;
    char version[VERSION_MAX];
    char head[ANSWER_MAX], line[128], body[ANSWER_MAX + 1];
};

struct conn {
    TAILQ_ENTRY(conn) link;
    enum { CONNECTING, BUSY, IDLE } state;
    int fd;
    uint32_t interest;
    int64_t opened_us, idle_since_us;
    struct request rq;
    char head[512];
    size_t out_len, out_sent; /* head and echo body together */
    struct answer answer;
};
TAILQ_HEAD(conns, conn);

struct failure {
    struct request rq;
    enum kind kind;
    int64_t at_ms;
    int status;
    const char *detail;
};

struct version {
    char name[VERSION_MAX];
    long count;
    int64_t first_ms, last_ms;
};

struct options {
    const char *url, *until_file, *json, *ready_file, *paths;
    int64_t duration_ms, max_duration_ms, timeout_ms;
    long rate, keepalive, fresh, ready_after;
    bool retry_idle, quiet;
};

static struct load {
    struct options opt;
    struct sockaddr_in target;
    char host[80], run[16];
    const char *paths[PATHS];
    size_t path_count;
    char echo[ECHO_LEN + ECHO_SHIFTS];
    int epoll_fd, signal_fd;
    struct conns busy, idle;
    long in_flight, pooled; /* pooled: open keep-alive connections, busy or idle */
    int64_t start_us, started_unix_ms;
    int64_t end_us, stop_us; /* the latest end; the real one, 0 while requests are being started */
    int signals;
    bool ready;
    uint64_t random;
    uint32_t next_source;
    long sent, ok, lost, retried, unstarted, max_in_flight, idle_closed;
    long kinds[KINDS], statuses[STATUSES];
    struct failure failures[FAILURES];
    size_t failure_count;
    struct version versions[VERSIONS];
    size_t version_count;
    double *latency_ms;
    size_t latency_size;
    long *timeline; /* requests in flight, every TIMELINE_MS */
    size_t timeline_len, timeline_size;
} load;

__attribute__((noreturn, format(printf, 2, 3))) static void die(int code, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(code);
}

static void *must(void *p)
{
    if (!p)
        die(1, "out of memory");
    return p;
}

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int64_t since_start_ms(void)
{
    return (now_us() - load.start_us) / 1000;
}

static uint64_t fnv1a(const char *data, size_t n)
{
    uint64_t sum = 0xcbf29ce484222325U;
    for (size_t i = 0; i < n; i++)
        sum = (sum ^ (unsigned char)data[i]) * 0x100000001b3U;
    return sum;
}

/* The seed is fixed: two runs send the same requests in the same order. */
static uint64_t random_below(uint64_t n)
{
    load.random ^= load.random << 13;
    load.random ^= load.random >> 7;
    load.random ^= load.random << 17;
    return load.random % n;
}

/* ---- reading an answer: false when it is broken ---- */

static bool broken(struct answer *a, const char *why)
{
    a->state = BROKEN;
    a->why = why;
    return false;
}

static bool parse_header(struct answer *a, const char *name, const char *value)
{
    if (strcasecmp(name, "x-version") == 0)
        snprintf(a->version, sizeof a->version, "%s", value);
    if (strcasecmp(name, "connection") == 0 && strcasestr(value, "close"))
        a->close = true;
    if (strcasecmp(name, "transfer-encoding") == 0 && strcasestr(value, "chunked"))
        a->state = CHUNK_SIZE;
    if (strcasecmp(name, "content-length") == 0 && a->state != CHUNK_SIZE) {
        char *end;
        a->left = strtoull(value, &end, 10);
        if (end == value || *end)
            return broken(a, "bad Content-Length");
        a->state = a->left > 0 ? LENGTH : COMPLETE;
    }
    return true;
}

static bool parse_head(struct answer *a)
{
    char *save, *line = strtok_r(a->head, "\r\n", &save);
    if (!line || sscanf(line, "HTTP/1.%*1[01] %3d", &a->status) != 1 || a->status < 100 ||
        a->status >= STATUSES)
        return broken(a, "bad status line");
    if (a->status < 200) { /* an interim answer */
        a->head_len = 0;
        return true;
    }
    a->close = line[7] == '0';
    a->state = UNTIL_EOF;
    while ((line = strtok_r(NULL, "\r\n", &save))) {
        char *value = strchr(line, ':');
        if (!value)
            return broken(a, "bad header line");
        *value++ = '\0';
        if (!parse_header(a, line, value + strspn(value, " \t")))
            return false;
    }
    if (a->status == 204 || a->status == 304)
        a->state = COMPLETE;
    return true;
}

static bool feed_head(struct answer *a, char byte)
{
    if (a->head_len + 1 >= sizeof a->head)
        return broken(a, "head too long");
    a->head[a->head_len++] = byte;
    if (a->head_len < 4 || memcmp(a->head + a->head_len - 4, "\r\n\r\n", 4) != 0)
        return true;
    a->head[a->head_len] = '\0';
    return parse_head(a);
}

static bool feed_body(struct answer *a, char byte)
{
    if (a->body_len + 1 >= sizeof a->body)
        return broken(a, "body too long");
    a->body[a->body_len++] = byte;
    return true;
}

/* Chunk sizes, the CRLF after a chunk, and trailers. */
static bool feed_line(struct answer *a, char byte)
{
    if (a->line_len + 1 >= sizeof a->line)
        return broken(a, "chunk line too long");
    a->line[a->line_len++] = byte;
    if (byte != '\n')
        return true;
    if (a->line_len < 2 || a->line[a->line_len - 2] != '\r')
        return broken(a, "chunk line without CR");
    a->line[a->line_len - 2] = '\0';
    bool empty = a->line_len == 2;
    a->line_len = 0;
    if (a->state == CHUNK_END && !empty)
        return broken(a, "no CRLF after a chunk");
    if (a->state == CHUNK_END) {
        a->state = CHUNK_SIZE;
    } else if (a->state == TRAILER) {
        if (empty)
            a->state = COMPLETE;
    } else {
        char *end;
        a->left = strtoull(a->line, &end, 16);
        if (end == a->line || (*end && *end != ';' && *end != ' '))
            return broken(a, "bad chunk size");
        a->state = a->left > 0 ? CHUNK_DATA : TRAILER;
    }
    return true;
}

static void feed(struct answer *a, const char *data, size_t n)
{
    if (n > 0)
        a->any_byte = true;
    for (size_t i = 0; i < n && a->state != BROKEN; i++) {
        switch (a->state) {
        case HEAD: feed_head(a, data[i]); break;
        case UNTIL_EOF: feed_body(a, data[i]); break;
        case LENGTH:
        case CHUNK_DATA:
            if (feed_body(a, data[i]) && --a->left == 0)
                a->state = a->state == LENGTH ? COMPLETE : CHUNK_END;
            break;
        case CHUNK_SIZE:
        case CHUNK_END:
        case TRAILER: feed_line(a, data[i]); break;
        case COMPLETE: broken(a, "bytes after the end of the answer"); break;
        case BROKEN: break;
        }
    }
}

/* ---- checking an answer: NULL when it is right ---- */

static const char *check_stream(const struct request *rq, const struct answer *a)
{
    char expected[256];
    const char *p = a->body, *chunks = strstr(rq->path, "chunks=");
    int n = chunks ? atoi(chunks + 7) : 10;
    for (int i = 1; i <= n; i++) {
        int len =
            snprintf(expected, sizeof expected, "chunk %d/%d version=%s id=%s\n", i, n, a->version, rq->id);
        if (strncmp(p, expected, (size_t)len) != 0)
            return "a chunk is missing or of another request or version";
        p += len;
    }
    return *p ? "more chunks than asked for" : NULL;
}

static const char *check_echo(const struct request *rq, const struct answer *a)
{
    char expected[256];
    snprintf(expected, sizeof expected, "len=%d sum=%016llx version=%s\n", ECHO_LEN,
             (unsigned long long)rq->echo_sum, a->version);
    return strcmp(a->body, expected) == 0 ? NULL : "echo differs";
}

static const char *check_default(const struct request *rq, const struct answer *a)
{
    char expected[256];
    int len = snprintf(expected, sizeof expected, "version=%s id=%s ", a->version, rq->id);
    if (strncmp(a->body, expected, (size_t)len) != 0)
        return "body is of another request or version";
    if (a->body_len < 5 || strcmp(a->body + a->body_len - 5, " end\n") != 0)
        return "body is cut short";
    return NULL;
}

static const char *check_body(const struct request *rq, struct answer *a)
{
    a->body[a->body_len] = '\0';
    if (!*a->version)
        return "no X-Version header";
    if (rq->has_echo)
        return check_echo(rq, a);
    return strncmp(rq->path, "/stream", 7) == 0 ? check_stream(rq, a) : check_default(rq, a);
}

/* ---- counting ---- */

static void touch_ready_file(void)
{
    load.ready = true;
    if (!load.opt.ready_file)
        return;
    int fd = open(load.opt.ready_file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        die(1, "cannot create '%s': %s", load.opt.ready_file, strerror(errno));
    close(fd);
}

static void count_version(const char *name)
{
    size_t i = 0;
    while (i < load.version_count && strcmp(load.versions[i].name, name) != 0)
        i++;
    if (i == VERSIONS)
        return;
    struct version *v = &load.versions[i];
    if (i == load.version_count) {
        load.version_count++;
        snprintf(v->name, sizeof v->name, "%s", name);
        v->first_ms = since_start_ms();
    }
    v->count++;
    v->last_ms = since_start_ms();
}

static void count_ok(const struct request *rq, const char *version)
{
    if ((size_t)load.ok == load.latency_size) {
        load.latency_size = load.latency_size ? load.latency_size * 2 : 4096;
        load.latency_ms = must(realloc(load.latency_ms, load.latency_size * sizeof *load.latency_ms));
    }
    load.latency_ms[load.ok++] = (double)(now_us() - rq->due_us) / 1000.0;
    if (rq->retried)
        load.retried++;
    count_version(version);
    if (!load.ready && load.ok >= load.opt.ready_after)
        touch_ready_file();
}

static void count_lost(const struct request *rq, enum kind kind, int status, const char *detail)
{
    load.lost++;
    load.kinds[kind]++;
    if (kind == BAD_STATUS)
        load.statuses[status]++;
    if (load.failure_count == FAILURES)
        return;
    load.failures[load.failure_count++] = (struct failure){
        .rq = *rq, .kind = kind, .at_ms = since_start_ms(), .status = status, .detail = detail};
}

/* ---- connections ---- */

static void conn_free(struct conn *c)
{
    if (c->state == IDLE) {
        TAILQ_REMOVE(&load.idle, c, link);
    } else {
        TAILQ_REMOVE(&load.busy, c, link);
        load.in_flight--;
    }
    if (c->rq.pooled)
        load.pooled--;
    if (c->fd >= 0)
        close(c->fd);
    free(c);
}

static void conn_make_idle(struct conn *c)
{
    TAILQ_REMOVE(&load.busy, c, link);
    load.in_flight--;
    c->state = IDLE;
    c->idle_since_us = now_us();
    TAILQ_INSERT_TAIL(&load.idle, c, link);
}

static void want(struct conn *c, uint32_t interest)
{
    if (c->interest == interest)
        return;
    struct epoll_event event = {.events = interest, .data.ptr = c};
    epoll_ctl(load.epoll_fd, c->interest ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &event);
    c->interest = interest;
}

static void conn_open(const struct request *rq);

static void fail(struct conn *c, enum kind kind, const char *detail)
{
    struct request rq = c->rq;
    int status = c->answer.status;
    conn_free(c);
    bool unanswered = kind == RESET_BEFORE_BYTE || kind == EOF_BEFORE_BYTE;
    if (load.opt.retry_idle && unanswered && rq.idle_ms >= 0) {
        rq.idle_ms = -1;
        rq.retried = true;
        conn_open(&rq);
    } else {
        count_lost(&rq, kind, status, detail);
    }
}

/* The connection ended, with `error` or (0) by EOF, before the answer was complete. */
static void fail_ended(struct conn *c, int error)
{
    bool mid = c->answer.any_byte;
    if (c->answer.status >= 200 && c->answer.status != 200)
        fail(c, BAD_STATUS, NULL);
    else if (error == 0)
        fail(c, mid ? EOF_MID : EOF_BEFORE_BYTE, NULL);
    else
        fail(c, mid ? RESET_MID : RESET_BEFORE_BYTE, strerrordesc_np(error));
}

static void fail_connect(struct conn *c, int error)
{
    enum kind kind = error == ECONNREFUSED ? CONNECT_REFUSED
                     : error == ETIMEDOUT  ? CONNECT_TIMEOUT
                     : error == ECONNRESET ? RESET_BEFORE_BYTE
                                           : CONNECT_ERROR;
    fail(c, kind, strerrordesc_np(error));
}

static void finish(struct conn *c)
{
    struct answer *a = &c->answer;
    bool bad_status = a->status >= 200 && a->status != 200;
    const char *wrong = bad_status || a->state == BROKEN ? a->why : check_body(&c->rq, a);
    if (bad_status || wrong) {
        fail(c, bad_status ? BAD_STATUS : BAD_BODY, wrong);
        return;
    }
    count_ok(&c->rq, a->version);
    if (c->rq.pooled && !a->close && c->out_sent == c->out_len)
        conn_make_idle(c);
    else
        conn_free(c);
}

/* A failed send is not judged here: an answer, or the reason, may still wait to be read. */
static void send_more(struct conn *c)
{
    size_t head_len = strlen(c->head);
    while (c->out_sent < c->out_len) {
        struct iovec parts[2];
        struct msghdr message = {.msg_iov = parts};
        if (c->out_sent < head_len)
            parts[message.msg_iovlen++] = (struct iovec){c->head + c->out_sent, head_len - c->out_sent};
        size_t body_sent = c->out_sent > head_len ? c->out_sent - head_len : 0;
        if (c->rq.has_echo)
            parts[message.msg_iovlen++] =
                (struct iovec){load.echo + c->rq.echo + body_sent, ECHO_LEN - body_sent};
        ssize_t n = sendmsg(c->fd, &message, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            want(c, errno == EAGAIN ? EPOLLIN | EPOLLOUT : EPOLLIN);
            return;
        }
        c->out_sent += (size_t)n;
    }
    want(c, EPOLLIN);
}

static void receive(struct conn *c)
{
    struct answer *a = &c->answer;
    char data[16384];
    ssize_t n;
    do {
        n = recv(c->fd, data, sizeof data, 0);
        if (n > 0)
            feed(a, data, (size_t)n);
    } while ((n > 0 && a->state != COMPLETE && a->state != BROKEN) || (n < 0 && errno == EINTR));
    if (n < 0 && errno == EAGAIN)
        return;
    if (n > 0 || (n == 0 && a->state == UNTIL_EOF))
        finish(c);
    else
        fail_ended(c, n < 0 ? errno : 0);
}

static void connected(struct conn *c)
{
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        fail_connect(c, error);
    } else {
        c->state = BUSY;
        send_more(c);
    }
}

static void conn_event(struct conn *c, uint32_t events)
{
    if (c->state == IDLE) { /* the server closed it, or spoke out of turn (408) before it does */
        load.idle_closed++;
        conn_free(c);
    } else if (c->state == CONNECTING) {
        connected(c);
    } else {
        if (events & EPOLLOUT)
            send_more(c);
        if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            receive(c);
    }
}

static void request_assign(struct conn *c, const struct request *rq)
{
    c->rq = *rq;
    memset(&c->answer, 0, offsetof(struct answer, head));
    int n = snprintf(c->head, sizeof c->head, "%s %s HTTP/1.1\r\nHost: %s\r\nX-Request-Id: %s\r\n",
                     rq->has_echo ? "POST" : "GET", rq->path, load.host, rq->id);
    if (rq->has_echo)
        n += snprintf(c->head + n, sizeof c->head - (size_t)n, "Content-Length: %d\r\n", ECHO_LEN);
    n += snprintf(c->head + n, sizeof c->head - (size_t)n, "%s\r\n",
                  rq->pooled ? "" : "Connection: close\r\n");
    c->out_len = (size_t)n + (rq->has_echo ? ECHO_LEN : 0);
    c->out_sent = 0;
    TAILQ_INSERT_TAIL(&load.busy, c, link);
    load.in_flight++;
    if (load.in_flight > load.max_in_flight)
        load.max_in_flight = load.in_flight;
}

/* Each connection comes from another address of 127.0.0.0/8, so ports in TIME_WAIT never run out. */
static void bind_source(int fd)
{
    int on = 1;
    uint32_t i = load.next_source++;
    uint32_t host = 0x7f000000U | (1 + i % 250) << 16 | (1 + i / 250 % 250) << 8 | (1 + i / 62500 % 250);
    struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(host)};
    setsockopt(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    (void)!bind(fd, (struct sockaddr *)&source, sizeof source); /* refused: any source will do */
}

static void conn_open(const struct request *rq)
{
    struct conn *c = must(malloc(sizeof *c));
    c->interest = 0;
    c->state = CONNECTING;
    c->opened_us = now_us();
    request_assign(c, rq);
    if (rq->pooled)
        load.pooled++;
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd >= 0) {
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        bind_source(c->fd);
    }
    if (c->fd < 0 ||
        (connect(c->fd, (struct sockaddr *)&load.target, sizeof load.target) < 0 && errno != EINPROGRESS))
        fail_connect(c, errno);
    else
        want(c, EPOLLOUT);
}

/* The connection that has been idle longest and that the server did not close meanwhile, as any good client checks. */
static struct conn *idle_take(void)
{
    struct conn *c;
    char byte;
    while ((c = TAILQ_FIRST(&load.idle))) {
        /* The analyzer does not follow a TAILQ: what is freed is no longer in it. */
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
        if (recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN) {
            TAILQ_REMOVE(&load.idle, c, link);
            c->state = BUSY;
            return c;
        }
        load.idle_closed++;
        conn_free(c);
    }
    return NULL;
}

static void request_start(int64_t due_us)
{
    const struct options *opt = &load.opt;
    struct request rq = {
        .path = load.paths[random_below(load.path_count)],
        .due_us = due_us,
        .deadline_us = now_us() + opt->timeout_ms * 1000,
        .idle_ms = -1,
        .pooled = random_below((uint64_t)(opt->keepalive + opt->fresh)) < (uint64_t)opt->keepalive,
    };
    snprintf(rq.id, sizeof rq.id, "%s-%06ld", load.run, ++load.sent);
    if (strncmp(rq.path, "/echo", 5) == 0) {
        rq.has_echo = true;
        rq.echo = random_below(ECHO_SHIFTS);
        rq.echo_sum = fnv1a(load.echo + rq.echo, ECHO_LEN);
    }
    struct conn *c = rq.pooled && load.pooled >= opt->keepalive ? idle_take() : NULL;
    if (c) {
        rq.idle_ms = (now_us() - c->idle_since_us) / 1000;
        request_assign(c, &rq);
        send_more(c);
    } else {
        conn_open(&rq);
    }
}

/* ---- the run ---- */

static void expire(int64_t now)
{
    struct conn *c = TAILQ_FIRST(&load.busy), *next;
    for (; c; c = next) {
        next = TAILQ_NEXT(c, link);
        if (c->state == CONNECTING && now > c->opened_us + CONNECT_MS * 1000)
            fail(c, CONNECT_TIMEOUT, NULL);
        else if (now > c->rq.deadline_us)
            fail(c, TIMEOUT, NULL);
    }
}

static void timeline_add(int64_t now)
{
    while ((int64_t)load.timeline_len * TIMELINE_MS <= (now - load.start_us) / 1000) {
        if (load.timeline_len == load.timeline_size) {
            load.timeline_size = load.timeline_size ? load.timeline_size * 2 : 1024;
            load.timeline = must(realloc(load.timeline, load.timeline_size * sizeof *load.timeline));
        }
        load.timeline[load.timeline_len++] = load.in_flight;
    }
}

static bool should_stop(int64_t now)
{
    const char *until = load.opt.until_file;
    return load.signals > 0 || now >= load.end_us || (until && access(until, F_OK) == 0);
}

static void wait_events(int64_t until_us)
{
    struct epoll_event events[EVENTS];
    int64_t left = until_us - now_us();
    int n = epoll_wait(load.epoll_fd, events, EVENTS, left <= 0 ? 0 : (int)((left + 999) / 1000));
    for (int i = 0; i < n; i++) {
        struct signalfd_siginfo info;
        if (events[i].data.ptr)
            conn_event(events[i].data.ptr, events[i].events);
        else if (read(load.signal_fd, &info, sizeof info) == sizeof info)
            load.signals++;
    }
}

static int64_t grid_us(long n)
{
    return load.start_us + n * 1000000LL / load.opt.rate;
}

static bool may_start(long n)
{
    return !load.stop_us && grid_us(n) < load.end_us && load.in_flight < IN_FLIGHT_CAP;
}

static void run(void)
{
    long n = 0; /* next point of the grid */
    int64_t housekeeping = 0;
    load.start_us = now_us();
    load.end_us =
        load.start_us + 1000 * (load.opt.until_file ? load.opt.max_duration_ms : load.opt.duration_ms);
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    load.started_unix_ms = (int64_t)wall.tv_sec * 1000 + wall.tv_nsec / 1000000;
    for (;;) {
        int64_t now = now_us();
        if (now >= housekeeping) {
            housekeeping = now + HOUSEKEEPING_MS * 1000;
            expire(now);
            timeline_add(now);
            if (!load.stop_us && should_stop(now))
                load.stop_us = now;
        }
        while (may_start(n) && grid_us(n) <= now)
            request_start(grid_us(n++));
        if (load.stop_us && (!load.in_flight || load.signals > 1 || now > load.stop_us + FINISH_MS * 1000))
            break;
        wait_events(may_start(n) && grid_us(n) < housekeeping ? grid_us(n) : housekeeping);
    }
    if (load.stop_us > load.end_us)
        load.stop_us = load.end_us;
    while (grid_us(n + load.unstarted) < load.stop_us)
        load.unstarted++;
    load.opt.retry_idle = false;
    while (!TAILQ_EMPTY(&load.busy))
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
        fail(TAILQ_FIRST(&load.busy), TIMEOUT, "unanswered at the end");
    while (!TAILQ_EMPTY(&load.idle))
        conn_free(TAILQ_FIRST(&load.idle)); /* NOLINT(clang-analyzer-unix.Malloc) */
}

/* ---- the report ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile(double share)
{
    if (load.ok == 0)
        return 0;
    size_t rank = (size_t)(share * (double)load.ok + 0.999999);
    return load.latency_ms[rank ? rank - 1 : 0];
}

static void json_string(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte == '"' || byte == '\\')
            fputc('\\', out);
        if (byte < ' ' || byte > 126)
            fprintf(out, "\\u%04x", byte);
        else
            fputc(byte, out);
    }
    fputc('"', out);
}

static void json_versions(FILE *out)
{
    static const char *const names[] = {"by_version", "first_seen_ms", "last_seen_ms"};
    for (size_t k = 0; k < 3; k++) {
        fprintf(out, "  \"%s\": {", names[k]);
        for (size_t i = 0; i < load.version_count; i++) {
            const struct version *v = &load.versions[i];
            if (i)
                fputs(", ", out);
            json_string(out, v->name);
            fprintf(out, ": %lld", (long long)(k == 0 ? v->count : k == 1 ? v->first_ms : v->last_ms));
        }
        fputs("},\n", out);
    }
}

static void json_failures(FILE *out)
{
    const char *comma = "";
    fputs("  \"failure_counts\": {", out);
    for (int i = 0; i < KINDS; i++) {
        if (load.kinds[i])
            fprintf(out, "%s\"%s\": %ld", comma, kind_names[i], load.kinds[i]), comma = ", ";
    }
    fputs("},\n  \"status_counts\": {", out);
    comma = "";
    for (int i = 0; i < STATUSES; i++) {
        if (load.statuses[i])
            fprintf(out, "%s\"%d\": %ld", comma, i, load.statuses[i]), comma = ", ";
    }
    fputs("},\n  \"failures\": [", out);
    for (size_t i = 0; i < load.failure_count; i++) {
        const struct failure *f = &load.failures[i];
        fprintf(out, "%s\n    {\"id\": \"%s\", \"kind\": \"%s\", \"conn\": \"%s\", ", i ? "," : "", f->rq.id,
                kind_names[f->kind], f->rq.idle_ms < 0 ? "fresh" : "reused");
        fprintf(out, "\"idle_ms\": %lld, \"at_ms\": %lld, \"due_ms\": %lld, ",
                (long long)(f->rq.idle_ms < 0 ? 0 : f->rq.idle_ms), (long long)f->at_ms,
                (long long)(f->rq.due_us - load.start_us) / 1000);
        fprintf(out, "\"retried\": %s, \"status\": %d, \"path\": ", f->rq.retried ? "true" : "false",
                f->status);
        json_string(out, f->rq.path);
        fputs(", \"detail\": ", out);
        json_string(out, f->detail ? f->detail : "");
        fputc('}', out);
    }
    fputs("],\n", out);
}

static void report_json(const char *path)
{
    char *temporary;
    if (asprintf(&temporary, "%s.%ld", path, (long)getpid()) < 0)
        die(1, "out of memory");
    FILE *out = fopen(temporary, "we");
    if (!out)
        die(1, "cannot write '%s': %s", temporary, strerror(errno));
    fprintf(out, "{\n  \"sent\": %ld, \"ok\": %ld, \"lost\": %ld, \"retried\": %ld, \"unstarted\": %ld,\n",
            load.sent, load.ok, load.lost, load.retried, load.unstarted);
    fprintf(out, "  \"started_unix_ms\": %lld, \"stopped_ms\": %lld,\n", (long long)load.started_unix_ms,
            (long long)(load.stop_us - load.start_us) / 1000);
    json_versions(out);
    json_failures(out);
    fprintf(out, "  \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f,\n", percentile(0.5),
            percentile(0.99), percentile(1));
    fprintf(out, "  \"idle_closed\": %ld, \"max_in_flight\": %ld,\n  \"in_flight_100ms\": [",
            load.idle_closed, load.max_in_flight);
    for (size_t i = 0; i < load.timeline_len; i++)
        fprintf(out, "%s%ld", i ? "," : "", load.timeline[i]);
    fputs("]\n}\n", out);
    bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed || rename(temporary, path) < 0)
        die(1, "cannot write '%s': %s", path, strerror(errno));
    free(temporary);
}

static void report(void)
{
    if (load.ok)
        qsort(load.latency_ms, (size_t)load.ok, sizeof *load.latency_ms, by_value);
    if (load.opt.json)
        report_json(load.opt.json);
    if (load.opt.quiet)
        return;
    printf("sent %ld, lost %ld", load.sent, load.lost);
    for (size_t i = 0; i < load.version_count; i++)
        printf(", %s %ld", load.versions[i].name, load.versions[i].count);
    if (load.retried)
        printf(", retried %ld", load.retried);
    putchar('\n');
}

/* ---- options ---- */

static const char usage[] =
    "usage: load --url http://127.0.0.1:PORT [--duration 10s | --until-file PATH [--max-duration 60s]]\n"
    "            [--rate N] [--keepalive N] [--fresh N] [--paths mix|PATH,...] [--timeout 10s] "
    "[--retry-idle]\n"
    "            [--ready-file PATH [--ready-after N]] [--json OUT] [--quiet]\n";

static int64_t parse_duration(const char *name, const char *text)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"", 1000}, {"m", 60000}};
    char *end;
    double n = strtod(text, &end);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (end != text && n >= 0 && n < 1e6 && strcmp(end, units[i].unit) == 0)
            return (int64_t)(n * units[i].ms);
    }
    die(EXIT_USAGE, "%s: '%s' is not a duration such as 500ms, 10s or 2m", name, text);
}

static long parse_number(const char *name, const char *text)
{
    char *end;
    long n = strtol(text, &end, 10);
    if (end == text || *end || n < 0 || n > 1000000)
        die(EXIT_USAGE, "%s: '%s' is not a number", name, text);
    return n;
}

static void parse_options(struct options *opt, int argc, char **argv)
{
    const struct {
        const char *name;
        const char **text;
        int64_t *duration;
        long *number;
        bool *flag;
    } rows[] = {
        {"--url", &opt->url, 0, 0, 0},
        {"--until-file", &opt->until_file, 0, 0, 0},
        {"--paths", &opt->paths, 0, 0, 0},
        {"--ready-file", &opt->ready_file, 0, 0, 0},
        {"--json", &opt->json, 0, 0, 0},
        {"--duration", 0, &opt->duration_ms, 0, 0},
        {"--max-duration", 0, &opt->max_duration_ms, 0, 0},
        {"--timeout", 0, &opt->timeout_ms, 0, 0},
        {"--rate", 0, 0, &opt->rate, 0},
        {"--keepalive", 0, 0, &opt->keepalive, 0},
        {"--fresh", 0, 0, &opt->fresh, 0},
        {"--ready-after", 0, 0, &opt->ready_after, 0},
        {"--retry-idle", 0, 0, 0, &opt->retry_idle},
        {"--quiet", 0, 0, 0, &opt->quiet},
    };
    const size_t count = sizeof rows / sizeof *rows;
    for (int i = 1; i < argc; i++) {
        size_t k = 0;
        while (k < count && strcmp(rows[k].name, argv[i]) != 0)
            k++;
        if (k == count)
            die(EXIT_USAGE, "unknown option '%s'\n%s", argv[i], usage);
        if (rows[k].flag) {
            *rows[k].flag = true;
            continue;
        }
        if (++i == argc)
            die(EXIT_USAGE, "%s needs a value\n%s", rows[k].name, usage);
        if (rows[k].text)
            *rows[k].text = argv[i];
        if (rows[k].duration)
            *rows[k].duration = parse_duration(rows[k].name, argv[i]);
        if (rows[k].number)
            *rows[k].number = parse_number(rows[k].name, argv[i]);
    }
    if (!opt->url)
        die(EXIT_USAGE, "--url is missing\n%s", usage);
    if (opt->rate < 1 || opt->keepalive + opt->fresh < 1)
        die(EXIT_USAGE, "--rate, and --keepalive or --fresh, must be above 0");
}

static void parse_url(const char *url)
{
    char address[64];
    int end = 0;
    unsigned port = 0;
    if (sscanf(url, "http://%63[^:/]:%5u%n", address, &port, &end) != 2 || port < 1 || port > 65535 ||
        strcmp(url + end + (url[end] == '/'), "") != 0)
        die(EXIT_USAGE, "--url: '%s' is not http://ADDRESS:PORT", url);
    load.target = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, strcmp(address, "localhost") == 0 ? "127.0.0.1" : address,
                  &load.target.sin_addr) != 1 ||
        ntohl(load.target.sin_addr.s_addr) >> 24 != 127)
        die(EXIT_USAGE, "--url: '%s' is not a loopback address; load never leaves the machine", address);
    snprintf(load.host, sizeof load.host, "%s:%u", address, port);
}

/* Of 50 requests: 30 short, 9 of 300 ms, 2 of 3 s, 5 streamed, 4 posted. At 400/s that keeps about 80 in flight. */
static void parse_paths(char *list)
{
    static const struct {
        const char *path;
        int count;
    } mix[] = {
        {"/", 30}, {"/slow?ms=300", 9}, {"/slow?ms=3000", 2}, {"/stream?chunks=5&ms=50", 5}, {"/echo", 4},
    };
    if (strcmp(list, "mix") == 0) {
        for (size_t i = 0; i < sizeof mix / sizeof *mix; i++) {
            for (int k = 0; k < mix[i].count; k++)
                load.paths[load.path_count++] = mix[i].path;
        }
        return;
    }
    char *save;
    for (char *path = strtok_r(list, ",", &save); path; path = strtok_r(NULL, ",", &save)) {
        if (*path != '/' || strlen(path) > 200 || load.path_count == PATHS)
            die(EXIT_USAGE, "--paths: '%s' is not a path, too long, or one too many", path);
        load.paths[load.path_count++] = path;
    }
    if (load.path_count == 0)
        die(EXIT_USAGE, "--paths is empty");
}

static void set_up(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    TAILQ_INIT(&load.busy);
    TAILQ_INIT(&load.idle);
    load.random = 0x9e3779b97f4a7c15U;
    load.next_source = (uint32_t)getpid();
    uint64_t unique = (uint64_t)now_us() / 1000 ^ (uint64_t)getpid() << 24;
    snprintf(load.run, sizeof load.run, "%llx", (unsigned long long)unique & 0xffffffffffU);
    for (size_t i = 0; i < sizeof load.echo; i++)
        load.echo[i] = (char)random_below(256);
    if (load.opt.ready_file)
        unlink(load.opt.ready_file);

    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    struct epoll_event event = {.events = EPOLLIN};
    load.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    load.signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
    if (load.epoll_fd < 0 || epoll_ctl(load.epoll_fd, EPOLL_CTL_ADD, load.signal_fd, &event) < 0)
        die(1, "cannot set up epoll: %s", strerror(errno));
}

int main(int argc, char **argv)
{
    load.opt = (struct options){
        .duration_ms = 10000,
        .max_duration_ms = 60000,
        .timeout_ms = 10000,
        .rate = 400,
        .keepalive = 64,
        .fresh = 16,
        .ready_after = 100,
        .paths = "mix",
    };
    parse_options(&load.opt, argc, argv);
    parse_url(load.opt.url);
    char *paths = must(strdup(load.opt.paths));
    parse_paths(paths);
    set_up();
    run();
    report();
    free(load.latency_ms);
    free(load.timeline);
    free(paths);
    return 0;
}
