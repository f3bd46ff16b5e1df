/* http_transfer.h - one HTTP call in flight: its curl handle, its limits, what it left behind. Used by http.c only.
 *
 * The waiter makes the transfer, hands it to the I/O thread and gets it back with `done`. Between the two, `lock` of
 * the client guards what both touch: `abort`, `resume`, `pending`, `paused`, `done`. All else belongs to the I/O
 * thread from hand-over to `done`, and to the waiter before and after.
 */
#ifndef TN_TRANSPORT_HTTP_TRANSFER_H
#define TN_TRANSPORT_HTTP_TRANSFER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/transport/http.h"
#include "lib/transport/http_curl.h"

enum tn_http_broken {
    TN_HTTP_WHOLE,
    TN_HTTP_HEADERS_LIMIT,
    TN_HTTP_BODY_LIMIT,
    TN_HTTP_STALLED,
};

struct tn_transfer {
    const struct tn_curl *curl;
    const struct tn_http_request *rq;
    struct tn_http_answer *out;
    pthread_mutex_t *lock; /* the client's */
    CURL *easy;
    struct curl_slist *headers;
    char errbuf[CURL_ERROR_SIZE];
    int event_fd; /* readable: something in pending, or done */

    bool abort, resume, paused, done;
    struct tn_buf pending; /* streamed bytes on their way to the waiter */

    bool added, ended; /* in the multi handle; curl says it is over */
    CURLcode result;
    enum tn_http_broken broken;
    size_t header_bytes;
    bool headers_over; /* the final header block was seen whole: what follows are trailers */
    int64_t last_move; /* monotonic ms */
    struct tn_transfer *next, *prev;
};

/* Checks the request and builds the curl handle. */
int tn_transfer_init(struct tn_transfer *t, const struct tn_curl *curl, pthread_mutex_t *lock,
                     const struct tn_http_request *rq, struct tn_http_answer *out, struct tn_error **err);
void tn_transfer_clear(struct tn_transfer *t);
/* Wakes the waiter. */
void tn_transfer_notify(struct tn_transfer *t);
/* For a transfer that is done: TN_OK with the answer filled in, or the error that tells how far it came. */
int tn_transfer_outcome(struct tn_transfer *t, struct tn_error **err);
/* True when at least one byte of the request left. */
bool tn_transfer_sent(const struct tn_transfer *t);
/* "GET http://host/path", without the query, for messages. Caller frees. */
char *tn_transfer_name(const struct tn_http_request *rq);

#endif
