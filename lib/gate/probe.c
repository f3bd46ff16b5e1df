#include "lib/gate/probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "turnout/clock.h"
#include "turnout/mem.h"

bool tn_status_expected(const char *expect, int status)
{
    if (!expect)
        return status >= 200 && status <= 299;
    for (const char *p = expect; *p;) {
        int low = 0, high = 0, used = 0;
        if (sscanf(p, "%d%n", &low, &used) != 1)
            return false;
        p += used;
        high = low;
        if (*p == '-' && sscanf(p + 1, "%d%n", &high, &used) == 1)
            p += 1 + used;
        if (status >= low && status <= high)
            return true;
        while (*p == ',' || *p == ' ')
            p++;
    }
    return false;
}

static bool is_hopeless(int status)
{
    return (status >= 300 && status < 400) || status == 401 || status == 403 || status == 404 ||
           status == 405;
}

void tn_probe_http(struct tn_http *http, struct tn_cancel *c, const char *url, const char *expect,
                   const char *body, int64_t timeout_ms, struct tn_probe_answer *out)
{
    static const char *const headers[] = {"User-Agent: turnout-probe", "Connection: close", NULL};
    struct tn_http_request rq = {
        .method = "GET",
        .url = url,
        .headers = headers,
        .timeout_ms = timeout_ms,
        .connect_timeout_ms = timeout_ms,
        .max_answer = 1 << 20,
        .fresh = true,
    };
    struct tn_http_answer a = {0};
    struct tn_error *e = NULL;
    out->answered = true;
    if (tn_http_call(http, c, &rq, &a, &e) < 0) {
        out->result = TN_PROBE_FAIL;
        out->answered = false;
        snprintf(out->text, sizeof(out->text), "GET %s -> %s", url, tn_error_message(e));
        tn_error_free(e);
    } else if (!tn_status_expected(expect, a.status)) {
        out->result = is_hopeless(a.status) ? TN_PROBE_HOPELESS : TN_PROBE_FAIL;
        snprintf(out->text, sizeof(out->text), "GET %s -> %d%s%.80s", url, a.status,
                 a.location ? ", redirects to " : "", a.location ? a.location : "");
    } else if (body && (!a.body.data || !strstr(a.body.data, body))) {
        out->result = TN_PROBE_FAIL;
        snprintf(out->text, sizeof(out->text), "GET %s -> %d, without the text '%.60s'", url, a.status, body);
    } else {
        out->result = TN_PROBE_PASS;
        snprintf(out->text, sizeof(out->text), "GET %s -> %d", url, a.status);
    }
    tn_http_answer_clear(&a);
}

static int open_connection(const char *address, int port, struct tn_cancel *c, int64_t deadline,
                           const char **why)
{
    struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    bool six = inet_pton(AF_INET6, address, &in6.sin6_addr) == 1;
    if (!six && inet_pton(AF_INET, address, &in4.sin_addr) != 1) {
        *why = "not a numeric address";
        return -1;
    }
    const struct sockaddr *to = six ? (const struct sockaddr *)&in6 : (const struct sockaddr *)&in4;
    int fd = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || (connect(fd, to, six ? sizeof(in6) : sizeof(in4)) != 0 && errno != EINPROGRESS)) {
        *why = strerror(errno);
        if (fd >= 0)
            close(fd);
        return -1;
    }
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int64_t left = deadline - tn_mono_ms();
    int error = ETIMEDOUT;
    socklen_t len = sizeof(error);
    (void)c;
    if (poll(&p, 1, left > 0 ? (int)left : 0) == 1)
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error == 0)
        return fd;
    close(fd);
    *why = strerror(error);
    return -1;
}

void tn_probe_tcp(struct tn_cancel *c, const char *address, int port, int64_t timeout_ms,
                  struct tn_probe_answer *out)
{
    enum { LINGER = 100 }; /* longer than an engine's proxy needs to find that nobody listens */
    const char *why = "closed at once, without a byte";
    tn_autoclose int fd = open_connection(address, port, c, tn_mono_ms() + timeout_ms, &why);
    out->result = TN_PROBE_FAIL;
    out->answered = fd >= 0;
    if (fd >= 0) {
        int readable = tn_wait_fd(c, "a connection to stay open", fd, tn_mono_ms() + LINGER, NULL);
        char byte;
        ssize_t n = readable == 1 ? recv(fd, &byte, 1, MSG_DONTWAIT) : -1;
        out->result = readable == 0 || n == 1 ? TN_PROBE_PASS : TN_PROBE_FAIL;
    }
    snprintf(out->text, sizeof(out->text), "connect to %s:%d -> %s", address, port,
             out->result == TN_PROBE_PASS ? "open" : why);
}
