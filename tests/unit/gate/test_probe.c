/* One look at one endpoint. Servers are threads of this test on 127.0.0.1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/gate/probe.h"
#include "turnout/clock.h"
#include "turnout/mem.h"

enum manner {
    ANSWER,      /* text, then close */
    CLOSE,       /* as a published port with nobody behind it */
    RESET,       /* the same, harder */
    STAY_SILENT, /* accepts and says nothing */
    GREET,       /* sends a byte first, as SMTP does */
};
struct server {
    int fd, port;
    pthread_t thread;
    enum manner manner;
    const char *answer;
    char request[1024];
    struct tn_cancel *end;
};

static void talk(struct server *s, int fd)
{
    if (s->manner == ANSWER) {
        size_t n = 0;
        while (n < sizeof(s->request) - 1 && !strstr(s->request, "\r\n\r\n")) {
            ssize_t got = recv(fd, s->request + n, sizeof(s->request) - 1 - n, 0);
            if (got <= 0)
                return;
            n += (size_t)got;
            s->request[n] = 0;
        }
        send(fd, s->answer, strlen(s->answer), MSG_NOSIGNAL);
    } else if (s->manner == GREET) {
        send(fd, "2", 1, MSG_NOSIGNAL);
        tn_wait_fd(s->end, "the end", -1, tn_mono_ms() + 10000, NULL);
    } else if (s->manner == STAY_SILENT) {
        tn_wait_fd(s->end, "the end", -1, tn_mono_ms() + 10000, NULL);
    } else if (s->manner == RESET) {
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    }
}

static void *serve(void *arg)
{
    struct server *s = arg;
    while (tn_wait_fd(s->end, "a connection", s->fd, INT64_MAX, NULL) == 1) {
        int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        memset(s->request, 0, sizeof(s->request));
        talk(s, fd);
        close(fd);
    }
    return NULL;
}

static int listen_on_loopback(int *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    *port = ntohs(a.sin_port);
    return fd;
}

static void server_begin(struct server *s, enum manner manner, const char *answer)
{
    *s = (struct server){.manner = manner, .answer = answer, .end = tn_cancel_new()};
    s->fd = listen_on_loopback(&s->port);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void server_end(struct server *s)
{
    tn_cancel_raise(s->end, 2);
    pthread_join(s->thread, NULL);
    close(s->fd);
    tn_cancel_free(s->end);
}

static void test_status_expected(void **state)
{
    const struct {
        const char *expect;
        int status;
        bool ok;
    } rows[] = {
        {NULL, 200, true},           {NULL, 204, true},          {NULL, 299, true},
        {NULL, 199, false},          {NULL, 300, false},         {NULL, 503, false},
        {"200", 200, true},          {"200", 201, false},        {"200-299", 250, true},
        {"200-299", 299, true},      {"200-299", 300, false},    {"200,204", 204, true},
        {"200,204", 203, false},     {"200, 204", 204, true},    {"200,300-399", 302, true},
        {"200,300-399", 400, false}, {"404", 404, true},         {"", 200, false},
        {"x", 200, false},           {"200,x", 200, true},       {"200,x", 204, false},
        {"299-200", 250, false},     {"503,200-299", 503, true}, {"503,200-299", 204, true},
        {"2", 200, false},           {"2xx", 200, false},
    };
    (void)state;
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        if (tn_status_expected(rows[i].expect, rows[i].status) != rows[i].ok)
            fail_msg("'%s' and %d", rows[i].expect ? rows[i].expect : "(none)", rows[i].status);
    }
}

static enum tn_probe_result tcp(struct tn_cancel *c, const char *address, int port, struct tn_probe_answer *a)
{
    tn_probe_tcp(c, address, port, 1000, a);
    return a->result;
}

static void test_tcp(void **state)
{
    const struct {
        enum manner manner;
        enum tn_probe_result result;
    } rows[] = {
        {STAY_SILENT, TN_PROBE_PASS},
        {GREET, TN_PROBE_PASS},
        {CLOSE, TN_PROBE_FAIL},
        {RESET, TN_PROBE_FAIL},
    };
    (void)state;
    struct tn_probe_answer a;
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        struct server s;
        server_begin(&s, rows[i].manner, "");
        if (tcp(s.end, "127.0.0.1", s.port, &a) != rows[i].result)
            fail_msg("manner %d: %s", rows[i].manner, a.text);
        server_end(&s);
        assert_non_null(strstr(a.text, "127.0.0.1"));
        if (rows[i].manner == CLOSE)
            assert_non_null(strstr(a.text, "without a byte"));
    }
}

static void test_tcp_nobody(void **state)
{
    (void)state;
    struct tn_cancel *c = tn_cancel_new();
    struct tn_probe_answer a;
    int port;
    close(listen_on_loopback(&port)); /* free again, most likely for long enough */
    assert_int_equal(tcp(c, "127.0.0.1", port, &a), TN_PROBE_FAIL);
    assert_non_null(strstr(a.text, "Connection refused"));
    assert_int_equal(tcp(c, "localhost", port, &a), TN_PROBE_FAIL); /* names are never resolved */
    assert_non_null(strstr(a.text, "numeric"));
    assert_int_equal(tcp(c, "", port, &a), TN_PROBE_FAIL);
    tn_cancel_free(c);
}

/* A token that was raised ends the probe; it is no answer of the service. */
static void test_tcp_cancelled(void **state)
{
    (void)state;
    struct server s;
    struct tn_probe_answer a;
    struct tn_cancel *c = tn_cancel_new();
    server_begin(&s, STAY_SILENT, "");
    tn_cancel_raise(c, 2);
    int64_t before = tn_mono_ms();
    assert_int_not_equal(tcp(c, "127.0.0.1", s.port, &a), TN_PROBE_PASS);
    assert_true(tn_mono_ms() - before < 5000);
    server_end(&s);
    tn_cancel_free(c);
}

#define HTTP(status, headers, body) "HTTP/1.1 " status "\r\nConnection: close\r\n" headers "\r\n" body
struct http_row {
    const char *answer, *expect, *body;
    enum tn_probe_result result;
    const char *says;
};

static void check_http(struct tn_http *http, struct tn_cancel *c, const struct http_row *row)
{
    struct server s;
    struct tn_probe_answer a = {0};
    server_begin(&s, ANSWER, row->answer);
    tn_autofree char *url = tn_format("http://127.0.0.1:%d/healthz?full=1", s.port);
    tn_probe_http(http, c, url, row->expect, row->body, 5000, &a);
    server_end(&s);
    if (a.result != row->result || !strstr(a.text, row->says))
        fail_msg("%.40s: %d, '%s'", row->answer, a.result, a.text);
    assert_non_null(strstr(a.text, "/healthz"));
    assert_true(strncmp(s.request, "GET /healthz?full=1 HTTP/1.1\r\n", 30) == 0);
    assert_non_null(strstr(s.request, "User-Agent: turnout-probe\r\n"));
    assert_non_null(strstr(s.request, "Connection: close\r\n"));
}

static void test_http(void **state)
{
    static const struct http_row rows[] = {
        {HTTP("200 OK", "Content-Length: 2\r\n", "ok"), NULL, NULL, TN_PROBE_PASS, "-> 200"},
        {HTTP("204 No Content", "", ""), NULL, NULL, TN_PROBE_PASS, "-> 204"},
        {HTTP("204 No Content", "", ""), "200", NULL, TN_PROBE_FAIL, "-> 204"},
        {HTTP("503 Busy", "Content-Length: 0\r\n", ""), NULL, NULL, TN_PROBE_FAIL, "-> 503"},
        {HTTP("500 Oh", "Content-Length: 0\r\n", ""), NULL, NULL, TN_PROBE_FAIL, "-> 500"},
        {HTTP("429 Slow", "Content-Length: 0\r\n", ""), NULL, NULL, TN_PROBE_FAIL, "-> 429"},
        {HTTP("503 Busy", "Content-Length: 0\r\n", ""), "503", NULL, TN_PROBE_PASS, "-> 503"},
        {HTTP("302 Found", "Location: /login\r\nContent-Length: 0\r\n", ""), NULL, NULL, TN_PROBE_HOPELESS,
         "/login"},
        {HTTP("301 Moved", "Content-Length: 0\r\n", ""), NULL, NULL, TN_PROBE_HOPELESS, "-> 301"},
        {HTTP("302 Found", "Location: /login\r\nContent-Length: 0\r\n", ""), "302", NULL, TN_PROBE_PASS,
         "-> 302"},
        {HTTP("401 No", "Content-Length: 0\r\n", ""), NULL, NULL, TN_PROBE_HOPELESS, "-> 401"},
        {HTTP("403 No", "Content-Length: 0\r\n", ""), NULL, NULL, TN_PROBE_HOPELESS, "-> 403"},
        {HTTP("404 No", "Content-Length: 0\r\n", ""), NULL, NULL, TN_PROBE_HOPELESS, "-> 404"},
        {HTTP("404 No", "Content-Length: 0\r\n", ""), "404", NULL, TN_PROBE_PASS, "-> 404"},
        {HTTP("200 OK", "Content-Length: 8\r\n", "all good"), NULL, "good", TN_PROBE_PASS, "-> 200"},
        {HTTP("200 OK", "Content-Length: 8\r\n", "all good"), NULL, "bad", TN_PROBE_FAIL,
         "without the text 'bad'"},
        {HTTP("200 OK", "Content-Length: 0\r\n", ""), NULL, "good", TN_PROBE_FAIL, "without the text"},
        {"nonsense\r\n\r\n", NULL, NULL, TN_PROBE_FAIL, "->"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\ncut", NULL, NULL, TN_PROBE_FAIL, "->"},
        {"", NULL, NULL, TN_PROBE_FAIL, "->"},
    };
    (void)state;
    struct tn_cancel *c = tn_cancel_new();
    struct tn_http *http = tn_http_new(c, NULL);
    assert_non_null(http);
    for (size_t i = 0; i < TN_COUNT(rows); i++)
        check_http(http, c, &rows[i]);
    tn_http_free(http);
    tn_cancel_free(c);
}

static void test_http_limits(void **state)
{
    (void)state;
    struct server s;
    struct tn_cancel *c = tn_cancel_new();
    struct tn_http *http = tn_http_new(c, NULL);
    struct tn_probe_answer a = {0};
    /* too slow */
    server_begin(&s, STAY_SILENT, "");
    tn_autofree char *slow = tn_format("http://127.0.0.1:%d/", s.port);
    int64_t before = tn_mono_ms();
    tn_probe_http(http, c, slow, NULL, NULL, 100, &a);
    assert_int_equal(a.result, TN_PROBE_FAIL);
    assert_true(tn_mono_ms() - before < 5000);
    server_end(&s);
    /* nobody there */
    tn_probe_http(http, c, slow, NULL, NULL, 1000, &a);
    assert_int_equal(a.result, TN_PROBE_FAIL);
    /* a long URL does not overflow the text */
    char path[600];
    memset(path, 'x', sizeof(path) - 1);
    path[sizeof(path) - 1] = 0;
    tn_autofree char *long_url = tn_format("%s%s", slow, path);
    tn_probe_http(http, c, long_url, NULL, NULL, 1000, &a);
    assert_int_equal(strlen(a.text), sizeof(a.text) - 1);
    tn_http_free(http);
    tn_cancel_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_expected),
        cmocka_unit_test(test_tcp),
        cmocka_unit_test(test_tcp_nobody),
        cmocka_unit_test(test_tcp_cancelled),
        cmocka_unit_test(test_http),
        cmocka_unit_test(test_http_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
