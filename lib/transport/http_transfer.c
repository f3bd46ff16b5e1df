#include "lib/transport/http_transfer.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "turnout/clock.h"
#include "turnout/mem.h"
#include "turnout/text.h"

enum {
    HEADERS_KEPT = 64 * 1024,
    HEADERS_SEEN = 256 * 1024, /* with those of 1xx answers and trailers */
    BODY_DEFAULT = 16 * 1024 * 1024,
    PENDING_MAX = 256 * 1024,
    CONNECT_DEFAULT_MS = 5000,
};

char *tn_transfer_name(const struct tn_http_request *rq)
{
    return tn_format("%s %.*s", rq->method, (int)strcspn(rq->url, "?"), rq->url);
}

void tn_transfer_notify(struct tn_transfer *t)
{
    uint64_t one = 1;
    ssize_t n = write(t->event_fd, &one, sizeof one);
    (void)n; /* only fails when the counter is full, and then the waiter is woken anyway */
}

static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
    struct tn_transfer *t = arg;
    size_t n = size * count;
    t->last_move = tn_mono_ms();
    t->header_bytes += n;
    if (n >= 5 && memcmp(data, "HTTP/", 5) == 0 && !t->headers_over)
        tn_buf_clear(&t->out->headers); /* a 1xx answer came before */
    tn_buf_add(&t->out->headers, data, n);
    if (t->out->headers.overflow || t->header_bytes > HEADERS_SEEN) {
        t->broken = TN_HTTP_HEADERS_LIMIT;
        return 0;
    }
    return n;
}

/* Hands a piece to the waiter; a full hand-over buffer pauses the transfer, so a slow reader slows the sender. */
static size_t stream(struct tn_transfer *t, const char *data, size_t n)
{
    pthread_mutex_lock(t->lock);
    bool full = t->pending.len > 0 && t->pending.len + n > t->pending.max;
    if (full)
        t->paused = true;
    else
        tn_buf_add(&t->pending, data, n);
    pthread_mutex_unlock(t->lock);
    if (full)
        return CURL_WRITEFUNC_PAUSE;
    tn_transfer_notify(t);
    return n;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    struct tn_transfer *t = arg;
    size_t n = size * count;
    t->last_move = tn_mono_ms();
    t->headers_over = true;
    long status = 0;
    t->curl->easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    if (t->rq->on_data != NULL && status < 400)
        return stream(t, data, n);
    tn_buf_add(&t->out->body, data, n);
    if (t->out->body.overflow) {
        t->broken = TN_HTTP_BODY_LIMIT;
        return 0;
    }
    return n;
}

static bool is_loopback(const char *url)
{
    const char *host = strstr(url, "://") + 3;
    static const char *const names[] = {"localhost", "[::1]"};
    if (strncmp(host, "127.", 4) == 0)
        return true;
    for (size_t i = 0; i < TN_COUNT(names); i++) {
        size_t n = strlen(names[i]);
        if (strncasecmp(host, names[i], n) == 0 && strchr(":/", host[n]) != NULL)
            return true;
    }
    return false;
}

static bool changes_something(const char *method)
{
    return strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0;
}

static void add_header(struct tn_transfer *t, const char *line)
{
    struct curl_slist *list = t->curl->slist_append(t->headers, line);
    if (list != NULL)
        t->headers = list;
}

static void set_headers(struct tn_transfer *t)
{
    bool typed = false;
    for (const char *const *h = t->rq->headers; h != NULL && *h != NULL; h++) {
        typed = typed || strncasecmp(*h, "Content-Type:", 13) == 0;
        add_header(t, *h);
    }
    add_header(t, "Expect:"); /* curl would wait for a 100 that engines do not send */
    if (!typed)
        add_header(t, "Content-Type:"); /* curl would call every body a form */
    t->curl->easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers);
}

static void set_method(struct tn_transfer *t)
{
    const struct tn_http_request *rq = t->rq;
    if (strcmp(rq->method, "HEAD") == 0) {
        t->curl->easy_setopt(t->easy, CURLOPT_NOBODY, 1L);
        return;
    }
    if (strcmp(rq->method, "GET") == 0) {
        t->curl->easy_setopt(t->easy, CURLOPT_HTTPGET, 1L);
        return;
    }
    /* POSTFIELDS also for PUT: it sends Content-Length, 0 for an empty body. DELETE goes without one. */
    if (rq->body_len > 0 || strcmp(rq->method, "DELETE") != 0) {
        t->curl->easy_setopt(t->easy, CURLOPT_POSTFIELDS, rq->body != NULL ? rq->body : "");
        t->curl->easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)rq->body_len);
    }
    t->curl->easy_setopt(t->easy, CURLOPT_CUSTOMREQUEST, rq->method);
}

static void set_connection(struct tn_transfer *t)
{
    const struct tn_http_request *rq = t->rq;
    const struct tn_curl *curl = t->curl;
    curl->easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT_MS,
                      (long)(rq->connect_timeout_ms > 0 ? rq->connect_timeout_ms : CONNECT_DEFAULT_MS));
    if (rq->unix_socket != NULL)
        curl->easy_setopt(t->easy, CURLOPT_UNIX_SOCKET_PATH, rq->unix_socket);
    if (rq->unix_socket != NULL || is_loopback(rq->url))
        curl->easy_setopt(t->easy, CURLOPT_PROXY, "");
    /* curl sends a request again by itself when a kept connection dies before the first byte of the answer. For a
     * request that changes something this would be a blind repeat, so it always gets a connection of its own. */
    if (rq->fresh || changes_something(rq->method))
        curl->easy_setopt(t->easy, CURLOPT_FRESH_CONNECT, 1L);
    if (rq->fresh)
        curl->easy_setopt(t->easy, CURLOPT_FORBID_REUSE, 1L);
    curl->easy_setopt(t->easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (rq->ca_file != NULL)
        curl->easy_setopt(t->easy, CURLOPT_CAINFO, rq->ca_file);
    if (rq->cert_file != NULL)
        curl->easy_setopt(t->easy, CURLOPT_SSLCERT, rq->cert_file);
    if (rq->key_file != NULL)
        curl->easy_setopt(t->easy, CURLOPT_SSLKEY, rq->key_file);
#if LIBCURL_VERSION_NUM >= 0x075700
    /* Removing a transfer whose name is being looked up would otherwise wait for the resolver. */
    curl->easy_setopt(t->easy, CURLOPT_QUICK_EXIT, 1L);
#endif
}

int tn_transfer_init(struct tn_transfer *t, const struct tn_curl *curl, pthread_mutex_t *lock,
                     const struct tn_http_request *rq, struct tn_http_answer *out, struct tn_error **err)
{
    *t = (struct tn_transfer){.curl = curl, .rq = rq, .out = out, .lock = lock, .event_fd = -1};
    t->pending = (struct tn_buf)TN_BUF_INIT(PENDING_MAX);
    *out = (struct tn_http_answer){.body = TN_BUF_INIT(rq->max_answer > 0 ? rq->max_answer : BODY_DEFAULT),
                                   .headers = TN_BUF_INIT(HEADERS_KEPT)};
    if (!tn_starts_with(rq->url, "http://") && !tn_starts_with(rq->url, "https://"))
        return tn_error_set(err, TN_EUSAGE, "URL '%s': not http:// or https://", rq->url);
    t->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (t->event_fd < 0)
        return tn_error_errno(err, TN_EIO, errno, "eventfd");
    t->easy = curl->easy_init();
    if (t->easy == NULL)
        return tn_error_set(err, TN_EFAIL, "library 'libcurl.so.4': no new handle");
    if (curl->easy_setopt(t->easy, CURLOPT_URL, rq->url) != CURLE_OK)
        return tn_error_set(err, TN_EUSAGE, "URL '%s': not valid", rq->url);
    curl->easy_setopt(t->easy, CURLOPT_NOSIGNAL, 1L);
    curl->easy_setopt(t->easy, CURLOPT_ERRORBUFFER, t->errbuf);
    curl->easy_setopt(t->easy, CURLOPT_PRIVATE, (void *)t);
    curl->easy_setopt(t->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl->easy_setopt(t->easy, CURLOPT_USERAGENT, "turnout");
    curl->easy_setopt(t->easy, CURLOPT_HEADERFUNCTION, on_header);
    curl->easy_setopt(t->easy, CURLOPT_HEADERDATA, (void *)t);
    curl->easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl->easy_setopt(t->easy, CURLOPT_WRITEDATA, (void *)t);
    set_headers(t);
    set_method(t);
    set_connection(t);
    return TN_OK;
}

void tn_transfer_clear(struct tn_transfer *t)
{
    if (t->easy != NULL)
        t->curl->easy_cleanup(t->easy);
    if (t->headers != NULL)
        t->curl->slist_free_all(t->headers);
    if (t->event_fd >= 0)
        close(t->event_fd);
    tn_buf_clear(&t->pending);
    *t = (struct tn_transfer){.event_fd = -1};
}

bool tn_transfer_sent(const struct tn_transfer *t)
{
    long bytes = 0;
    t->curl->easy_getinfo(t->easy, CURLINFO_REQUEST_SIZE, &bytes);
    return bytes > 0;
}

/* curl's own words, or the kernel's where a unix socket hides them behind "Couldn't connect". */
static int never_sent(struct tn_transfer *t, struct tn_error **err)
{
    long number = 0;
    t->curl->easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &number);
    if (t->rq->unix_socket != NULL && number != 0)
        return tn_error_errno(err, TN_EUNREACHABLE, (int)number, "connect '%s'", t->rq->unix_socket);
    const char *why = t->errbuf[0] != '\0' ? t->errbuf : t->curl->easy_strerror(t->result);
    tn_error_set(err, TN_EUNREACHABLE, "connect '%s': %s",
                 t->rq->unix_socket != NULL ? t->rq->unix_socket : t->rq->url, why);
    if (err != NULL && *err != NULL)
        (*err)->os_errno = (int)number;
    return TN_EUNREACHABLE;
}

static int broken(struct tn_transfer *t, struct tn_error **err)
{
    tn_autofree char *name = tn_transfer_name(t->rq);
    switch (t->broken) {
    case TN_HTTP_HEADERS_LIMIT:
        return tn_error_set(err, TN_ELIMIT, "'%s': the headers of the answer exceed %d KiB", name,
                            HEADERS_KEPT / 1024);
    case TN_HTTP_BODY_LIMIT:
        return tn_error_set(err, TN_ELIMIT, "'%s': the answer exceeds %zu bytes", name, t->out->body.max);
    case TN_HTTP_STALLED:
        if (!tn_transfer_sent(t)) {
            return tn_error_set(err, TN_EUNREACHABLE, "'%s': no connection within %lld ms", name,
                                (long long)t->rq->stall_ms);
        }
        return tn_error_set(err, TN_ETIMEOUT, "'%s': nothing came for %lld ms", name,
                            (long long)t->rq->stall_ms);
    case TN_HTTP_WHOLE: break;
    }
    const char *why = t->errbuf[0] != '\0' ? t->errbuf : t->curl->easy_strerror(t->result);
    return tn_error_set(err, TN_EUNKNOWN, "'%s': sent, no whole answer: %s", name, why);
}

int tn_transfer_outcome(struct tn_transfer *t, struct tn_error **err)
{
    if (t->broken == TN_HTTP_WHOLE && t->result == CURLE_OK) {
        long status = 0;
        t->curl->easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
        t->out->status = (int)status;
        t->out->api_version = tn_http_header(&t->out->headers, "Api-Version");
        t->out->location = tn_http_header(&t->out->headers, "Location");
        t->out->retry_after = tn_http_header(&t->out->headers, "Retry-After");
        return TN_OK;
    }
    if (t->broken == TN_HTTP_WHOLE && !tn_transfer_sent(t))
        return never_sent(t, err);
    return broken(t, err);
}
