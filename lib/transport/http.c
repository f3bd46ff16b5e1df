/* The I/O thread and its waiters.
 *
 * The I/O thread alone touches the multi handle. A waiter appends its transfer to `first` under the lock and wakes
 * the thread; the thread adds it, drives it, and marks it `done` only after it was removed from the multi handle.
 * A waiter that gives up (deadline, cancel token, its reader said stop) sets `abort` and still waits for `done`,
 * because the thread may be writing into the waiter's stack until then; that wait is short, the thread never blocks.
 * The list is walked again before each poll, so a wake-up can never be lost between the walk and the poll, and a poll
 * lasts at most a second.
 *
 * Streamed bytes are handed to the waiter's own thread: a reader that blocks (a terminal, a pipe) must not stop the
 * transfers of others.
 */
#include "lib/transport/http.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "turnout/clock.h"
#include "turnout/mem.h"
#include "turnout/text.h"
#include "lib/transport/http_transfer.h"

enum { POLL_MAX_MS = 1000, KEPT_CONNECTIONS = 64 };

struct tn_http {
    struct tn_cancel *cancel;
    pthread_mutex_t lock;
    /* below: under the lock */
    const struct tn_curl *curl; /* NULL until the first call */
    CURLM *multi;
    pthread_t thread;
    struct tn_transfer *first;
    bool stop;
};

struct tn_http *tn_http_new(struct tn_cancel *cancel, struct tn_error **err)
{
    (void)err;
    struct tn_http *h = tn_alloc(sizeof *h);
    h->cancel = cancel;
    pthread_mutex_init(&h->lock, NULL);
    return h;
}

/* ---- the I/O thread ------------------------------------------------------------------------------- */

static void unlink_transfer(struct tn_http *h, struct tn_transfer *t)
{
    if (t->prev != NULL)
        t->prev->next = t->next;
    else
        h->first = t->next;
    if (t->next != NULL)
        t->next->prev = t->prev;
}

/* The last touch of a transfer by this thread: the waiter may free it as soon as the lock is released. */
static void retire(struct tn_http *h, struct tn_transfer *t)
{
    if (t->added)
        h->curl->multi_remove_handle(h->multi, t->easy);
    pthread_mutex_lock(&h->lock);
    unlink_transfer(h, t);
    t->done = true;
    tn_transfer_notify(t);
    pthread_mutex_unlock(&h->lock);
}

static void add(struct tn_http *h, struct tn_transfer *t)
{
    t->last_move = tn_mono_ms();
    if (h->curl->multi_add_handle(h->multi, t->easy) == CURLM_OK) {
        t->added = true;
    } else {
        t->result = CURLE_FAILED_INIT;
        t->ended = true;
    }
}

/* What one transfer asks for; true when it is over. Called without the lock: curl may call back into stream(). */
static bool tend(struct tn_http *h, struct tn_transfer *t, bool abort, bool resume, int64_t now)
{
    if (!t->added && !t->ended && !abort)
        add(h, t);
    if (abort && !t->ended) {
        t->result = CURLE_ABORTED_BY_CALLBACK;
        t->ended = true;
    }
    if (resume && !t->ended) {
        t->last_move = now;
        h->curl->easy_pause(t->easy, CURLPAUSE_CONT);
    }
    return t->ended;
}

static bool stalled(struct tn_http *h, struct tn_transfer *t, int64_t now, int64_t *wake)
{
    if (t->rq->stall_ms <= 0 || t->ended)
        return false;
    pthread_mutex_lock(&h->lock);
    bool paused = t->paused;
    pthread_mutex_unlock(&h->lock);
    if (paused)
        return false; /* the reader is slow, not the sender */
    int64_t at = t->last_move + t->rq->stall_ms;
    if (now >= at) {
        t->broken = TN_HTTP_STALLED;
        t->ended = true;
        return true;
    }
    *wake = at < *wake ? at : *wake;
    return false;
}

/* One walk over all transfers. Returns when to wake at the latest. */
static int64_t walk(struct tn_http *h)
{
    int64_t now = tn_mono_ms();
    int64_t wake = now + POLL_MAX_MS;
    pthread_mutex_lock(&h->lock);
    struct tn_transfer *t = h->first;
    pthread_mutex_unlock(&h->lock);
    while (t != NULL) {
        pthread_mutex_lock(&h->lock);
        struct tn_transfer *next = t->next; /* waiters only put in front, this thread alone takes out */
        bool abort = t->abort;
        bool resume = t->resume;
        t->resume = false;
        pthread_mutex_unlock(&h->lock);
        if (tend(h, t, abort, resume, now) || stalled(h, t, now, &wake))
            retire(h, t);
        t = next;
    }
    return wake;
}

static void collect(struct tn_http *h)
{
    int left = 0;
    CURLMsg *m;
    while ((m = h->curl->multi_info_read(h->multi, &left)) != NULL) {
        if (m->msg != CURLMSG_DONE)
            continue;
        struct tn_transfer *t = NULL;
        CURLcode result = m->data.result; /* m dies with the handle's removal */
        h->curl->easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t);
        t->result = result;
        t->ended = true;
        retire(h, t);
    }
}

static void *io_thread(void *arg)
{
    struct tn_http *h = arg;
    for (;;) {
        pthread_mutex_lock(&h->lock);
        bool stop = h->stop;
        pthread_mutex_unlock(&h->lock);
        if (stop)
            return NULL;
        int running = 0;
        walk(h);
        h->curl->multi_perform(h->multi, &running);
        collect(h);
        int64_t timeout = walk(h) - tn_mono_ms();
        h->curl->multi_poll(h->multi, NULL, 0, timeout > 0 ? (int)timeout : 0, NULL);
    }
}

/* Loads libcurl and starts the thread, once. Signals stay with the threads that wait for them. */
static int ensure_running(struct tn_http *h, struct tn_error **err)
{
    pthread_mutex_lock(&h->lock);
    int code = TN_OK;
    if (h->multi == NULL) {
        h->curl = tn_curl_load(err);
        h->multi = h->curl != NULL ? h->curl->multi_init() : NULL;
        if (h->curl == NULL) {
            code = TN_EUNSUPPORTED;
        } else if (h->multi == NULL) {
            code = tn_error_set(err, TN_EFAIL, "library 'libcurl.so.4': no multi handle");
        } else {
            h->curl->multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)KEPT_CONNECTIONS);
            sigset_t all, before;
            sigfillset(&all);
            pthread_sigmask(SIG_SETMASK, &all, &before);
            int failed = pthread_create(&h->thread, NULL, io_thread, h);
            pthread_sigmask(SIG_SETMASK, &before, NULL);
            if (failed != 0) {
                h->curl->multi_cleanup(h->multi);
                h->multi = NULL;
                code = tn_error_errno(err, TN_EFAIL, failed, "start the I/O thread");
            }
        }
    }
    pthread_mutex_unlock(&h->lock);
    return code;
}

void tn_http_free(struct tn_http *h)
{
    if (h == NULL)
        return;
    if (h->multi != NULL) {
        pthread_mutex_lock(&h->lock);
        h->stop = true;
        pthread_mutex_unlock(&h->lock);
        h->curl->multi_wakeup(h->multi);
        pthread_join(h->thread, NULL);
        h->curl->multi_cleanup(h->multi);
    }
    pthread_mutex_destroy(&h->lock);
    free(h);
}

/* ---- the waiter ----------------------------------------------------------------------------------- */

static void submit(struct tn_http *h, struct tn_transfer *t)
{
    pthread_mutex_lock(&h->lock);
    t->next = h->first;
    if (h->first != NULL)
        h->first->prev = t;
    h->first = t;
    pthread_mutex_unlock(&h->lock);
    h->curl->multi_wakeup(h->multi);
}

static void drain_event(int fd)
{
    uint64_t count;
    ssize_t n = read(fd, &count, sizeof count);
    (void)n;
}

/* Takes what was streamed and gives it to the reader. Returns whether the transfer is done; *stop when the reader
 * wants no more. */
static bool deliver(struct tn_http *h, struct tn_transfer *t, bool *stop)
{
    drain_event(t->event_fd);
    pthread_mutex_lock(&h->lock);
    bool done = t->done;
    size_t n = t->pending.len;
    tn_autofree char *data = n > 0 ? tn_buf_take(&t->pending) : NULL;
    bool resume = t->paused && !done;
    pthread_mutex_unlock(&h->lock);
    if (n > 0 && !*stop && !t->rq->on_data(t->rq->on_data_arg, data, n))
        *stop = true;
    if (resume) {
        pthread_mutex_lock(&h->lock);
        t->paused = false;
        t->resume = true;
        pthread_mutex_unlock(&h->lock);
        h->curl->multi_wakeup(h->multi);
    }
    return done;
}

/* Gives up and waits for the I/O thread to let go. No token here: the thread answers at once. */
static void abort_transfer(struct tn_http *h, struct tn_transfer *t)
{
    pthread_mutex_lock(&h->lock);
    t->abort = true;
    bool done = t->done;
    pthread_mutex_unlock(&h->lock);
    h->curl->multi_wakeup(h->multi);
    while (!done) {
        struct pollfd p = {.fd = t->event_fd, .events = POLLIN};
        poll(&p, 1, -1);
        drain_event(t->event_fd);
        pthread_mutex_lock(&h->lock);
        done = t->done;
        pthread_mutex_unlock(&h->lock);
    }
}

static int timed_out(const struct tn_transfer *t, struct tn_error **err)
{
    tn_autofree char *name = tn_transfer_name(t->rq);
    if (!tn_transfer_sent(t)) {
        return tn_error_set(err, TN_EUNREACHABLE, "'%s': no connection within %lld ms", name,
                            (long long)t->rq->timeout_ms);
    }
    return tn_error_set(err, TN_ETIMEOUT, "'%s': no answer within %lld ms", name,
                        (long long)t->rq->timeout_ms);
}

static int await(struct tn_http *h, struct tn_cancel *cancel, struct tn_transfer *t, struct tn_error **err)
{
    int64_t deadline = t->rq->timeout_ms > 0 ? tn_mono_ms() + t->rq->timeout_ms : INT64_MAX;
    tn_autofree char *name = tn_transfer_name(t->rq);
    bool stop = false;
    for (;;) {
        struct tn_error *why = NULL;
        int ready = tn_wait_fd(cancel, name, t->event_fd, deadline, &why);
        if (ready > 0) {
            if (deliver(h, t, &stop))
                return stop ? TN_OK : tn_transfer_outcome(t, err);
            if (!stop)
                continue;
        }
        abort_transfer(h, t);
        if (!stop && t->result != CURLE_ABORTED_BY_CALLBACK) {
            tn_error_free(why); /* it was over before it could be aborted */
            deliver(h, t, &stop);
            return stop ? TN_OK : tn_transfer_outcome(t, err);
        }
        if (stop)
            return TN_OK;
        return ready == 0 ? timed_out(t, err) : tn_error_move(err, &why);
    }
}

int tn_http_call(struct tn_http *h, struct tn_cancel *cancel, const struct tn_http_request *rq,
                 struct tn_http_answer *out, struct tn_error **err)
{
    *out = (struct tn_http_answer){0};
    int code = ensure_running(h, err);
    if (code != TN_OK)
        return code;
    struct tn_http_answer answer;
    struct tn_transfer t;
    code = tn_transfer_init(&t, h->curl, &h->lock, rq, &answer, err);
    if (code == TN_OK) {
        submit(h, &t);
        code = await(h, cancel != NULL ? cancel : h->cancel, &t, err);
    }
    tn_transfer_clear(&t);
    if (code == TN_OK)
        *out = answer;
    else
        tn_http_answer_clear(&answer);
    return code;
}

/* ---- answers -------------------------------------------------------------------------------------- */

void tn_http_answer_clear(struct tn_http_answer *a)
{
    tn_buf_clear(&a->body);
    tn_buf_clear(&a->headers);
    free(a->api_version);
    free(a->location);
    free(a->retry_after);
    *a = (struct tn_http_answer){0};
}

char *tn_http_header(const struct tn_buf *raw, const char *name)
{
    size_t n = strlen(name);
    const char *line = raw->data;
    const char *end = raw->data != NULL ? raw->data + raw->len : NULL;
    while (line != NULL && line < end) {
        const char *eol = memchr(line, '\n', (size_t)(end - line));
        const char *stop = eol != NULL ? eol : end;
        if ((size_t)(stop - line) > n && strncasecmp(line, name, n) == 0 && line[n] == ':') {
            const char *v = line + n + 1;
            while (v < stop && (*v == ' ' || *v == '\t'))
                v++;
            while (stop > v && strchr(" \t\r", stop[-1]) != NULL)
                stop--;
            return tn_strndup(v, (size_t)(stop - v));
        }
        line = eol != NULL ? eol + 1 : NULL;
    }
    return NULL;
}
