/* http.h - blocking HTTP calls over one curl_multi thread.
 *
 * libcurl is loaded and the thread started by the first call (linking it costs 6-11 ms at every start). One I/O thread owns the
 * multi handle; callers block until their transfer is done, the deadline passes or the token reaches level 2 (level 1
 * lets calls finish). A waiter leaves only after its transfer is acknowledged as removed.
 * Answers are bounded. TLS 1.2+, no redirects, no proxies for unix sockets, HTTP/1.1, NOSIGNAL.
 * Errors: TN_EUNREACHABLE (never sent: resolve, connect, TLS), TN_EUNKNOWN (sent, no whole answer), TN_ETIMEOUT
 * (deadline, before an answer; treat as unknown when the method changes something), TN_ELIMIT, TN_ECANCELLED,
 * TN_EUNSUPPORTED (libcurl missing). A status ≥ 400 is NOT an error here: the caller reads `status`.
 */
#ifndef TN_TRANSPORT_HTTP_H
#define TN_TRANSPORT_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "turnout/buf.h"
#include "turnout/cancel.h"

struct tn_http; /* the I/O thread and its pool of kept connections; safe to share between threads */

struct tn_http *tn_http_new(struct tn_cancel *cancel, struct tn_error **err);
void tn_http_free(struct tn_http *h); /* no call may be running */

struct tn_http_request {
    const char *method; /* GET POST PUT DELETE HEAD */
    const char *url;    /* http://… or https://… (unix: any host name) */
    const char *unix_socket;
    const char *ca_file, *cert_file, *key_file; /* mutual TLS; NULL = system */
    const char *const *headers;                 /* "Name: value", NULL-terminated; or NULL */
    const void *body;
    size_t body_len;
    int64_t timeout_ms;         /* whole call; 0 = none */
    int64_t connect_timeout_ms; /* 0 = 5 s */
    int64_t stall_ms;           /* fail when nothing moved for so long; 0 = off */
    size_t max_answer;          /* 0 = 16 MiB */
    bool fresh;                 /* a new connection that is not kept (probes) */
    /* Streaming: called on the caller's own thread for each piece, and may block (the sender is then slowed down);
     * return false to stop, which is success. The answer's body is then not kept and its size not limited (an answer
     * with status ≥ 400 is kept as usual, and on_data is not called). */
    bool (*on_data)(void *arg, const char *data, size_t n);
    void *on_data_arg;
};
struct tn_http_answer {
    int status;
    struct tn_buf body;
    char *api_version; /* Api-Version header, NULL when absent */
    char *location, *retry_after;
    struct tn_buf headers; /* raw, at most 64 KiB */
};
int tn_http_call(struct tn_http *h, struct tn_cancel *cancel, const struct tn_http_request *rq,
                 struct tn_http_answer *out, struct tn_error **err);
void tn_http_answer_clear(struct tn_http_answer *a);
/* Value of a header in `raw` (first match, trimmed); caller frees; NULL when absent. */
char *tn_http_header(const struct tn_buf *raw, const char *name);

#endif
