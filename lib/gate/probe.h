/* probe.h - one look at one endpoint: does it answer as wanted? Blocking, bounded by its timeout. */
#ifndef TN_GATE_PROBE_H
#define TN_GATE_PROBE_H

#include <stdbool.h>
#include <stdint.h>

#include "turnout/cancel.h"
#include "lib/transport/http.h"

enum tn_probe_result {
    TN_PROBE_PASS,
    TN_PROBE_FAIL,     /* may still come: refused, timeout, 5xx */
    TN_PROBE_HOPELESS, /* answers, and will go on answering so: 3xx, 401, 403, 404 */
};
struct tn_probe_answer {
    enum tn_probe_result result;
    bool answered;  /* false: nobody answered, so nothing was learnt (an error of the gate, not a failure) */
    char text[256]; /* "GET http://127.0.0.1:20000/healthz -> 503"; unfiltered */
};
/* `expect`: "200", "200-299", "200,204"; NULL = 200-299. `body`: text that the answer must hold, or NULL. */
void tn_probe_http(struct tn_http *http, struct tn_cancel *c, const char *url, const char *expect,
                   const char *body, int64_t timeout_ms, struct tn_probe_answer *out);
/* Connects and looks whether the connection stays: a port published by an engine accepts before anybody listens behind
 * it, and closes at once without a byte. */
void tn_probe_tcp(struct tn_cancel *c, const char *address, int port, int64_t timeout_ms,
                  struct tn_probe_answer *out);
bool tn_status_expected(const char *expect, int status);

#endif
