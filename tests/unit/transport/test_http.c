/* The HTTP client against a server in a thread that does exactly what a case says. Only the test's own thread
 * asserts. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "turnout/clock.h"
#include "turnout/mem.h"
#include "turnout/text.h"
#include "lib/transport/http.h"
#include "lib/transport/http_curl.h"

#define OK_HEAD "HTTP/1.1 200 OK\r\n"

enum manner {
    ANSWER,        /* `text`, then keep the connection */
    ANSWER_CLOSE,  /* `text`, then close */
    SILENCE,       /* read the request, say nothing until the client leaves */
    ENDLESS_BODY,  /* `text`, then bytes for ever */
    ENDLESS_HEADS, /* `text`, then header lines for ever */
    ONCE,          /* first request: `text`; the second on the same connection: close without a byte */
    DELAYED,       /* `text` after 50 ms */
};

struct server {
    enum manner manner;
    const char *text;
    char path[108];
    int fd;
    pthread_t thread;
    atomic_int requests, connections;
    pthread_mutex_t lock;
    char last[4096]; /* under the lock */
};

struct fixture {
    struct tn_cancel *cancel;
    struct tn_http *http;
};

/* ---- the server ----------------------------------------------------------------------------------- */

static bool send_all(int fd, const char *data, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, data, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        data += sent;
        n -= (size_t)sent;
    }
    return true;
}

/* One request: the head, and as much of a body as Content-Length says, which is not kept. */
static bool read_request(struct server *s, int fd)
{
    char buf[4096], rest[65536];
    size_t len = 0;
    char *end = NULL;
    while (end == NULL) {
        ssize_t n = recv(fd, buf + len, sizeof buf - 1 - len, 0);
        if (n <= 0)
            return false;
        len += (size_t)n;
        buf[len] = '\0';
        end = strstr(buf, "\r\n\r\n");
    }
    const char *length = strcasestr(buf, "Content-Length:");
    size_t want = length != NULL ? strtoul(length + 15, NULL, 10) : 0;
    size_t have = len - (size_t)(end + 4 - buf);
    while (have < want) {
        ssize_t n = recv(fd, rest, sizeof rest, 0);
        if (n <= 0)
            return false;
        have += (size_t)n;
    }
    pthread_mutex_lock(&s->lock);
    memcpy(s->last, buf, len + 1);
    pthread_mutex_unlock(&s->lock);
    atomic_fetch_add(&s->requests, 1);
    return true;
}

static void pour(int fd, const char *piece)
{
    static const size_t block = 64 * 1024;
    size_t n = strlen(piece), whole = block / n * n;
    char *many = malloc(whole);
    for (size_t i = 0; i < whole; i++)
        many[i] = piece[i % n];
    while (send_all(fd, many, whole)) {
    }
    free(many);
}

static void *serve_connection(void *arg)
{
    struct server *s = ((void **)arg)[0];
    int fd = (int)(intptr_t)((void **)arg)[1];
    free(arg);
    int served = 0;
    char byte;
    while (read_request(s, fd)) {
        if (s->manner == DELAYED)
            tn_wait_fd(NULL, "delay", -1, tn_mono_ms() + 50, NULL);
        if (s->manner == SILENCE || (s->manner == ONCE && served == 1))
            break;
        if (!send_all(fd, s->text, strlen(s->text)))
            break;
        if (s->manner == ENDLESS_BODY)
            pour(fd, "0123456789012345678901234567890123456789012345678901234567890123");
        if (s->manner == ENDLESS_HEADS)
            pour(fd, "X-Again: and again\r\n");
        if (s->manner == ANSWER_CLOSE)
            break;
        served++;
    }
    if (s->manner == SILENCE) {
        while (recv(fd, &byte, 1, 0) > 0) {
        }
    }
    close(fd);
    return NULL;
}

static void *serve(void *arg)
{
    struct server *s = arg;
    for (;;) {
        int fd = accept(s->fd, NULL, NULL);
        if (fd < 0)
            return NULL;
        atomic_fetch_add(&s->connections, 1);
        void **pair = malloc(2 * sizeof *pair);
        pair[0] = s;
        pair[1] = (void *)(intptr_t)fd;
        pthread_t t;
        pthread_attr_t detached;
        pthread_attr_init(&detached);
        pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
        pthread_create(&t, &detached, serve_connection, pair);
        pthread_attr_destroy(&detached);
    }
}

/* Servers live as long as the program: a detached connection thread may still look at them. */
static struct server *server_new(enum manner manner, const char *text)
{
    static int count;
    struct server *s = calloc(1, sizeof *s);
    s->manner = manner;
    s->text = text;
    pthread_mutex_init(&s->lock, NULL);
    snprintf(s->path, sizeof s->path, "/tmp/tn-http-%d-%d.sock", (int)getpid(), count++);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, s->path, sizeof s->path);
    unlink(s->path);
    s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(s->fd, 128), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
    return s;
}

static struct server *all_servers[64];

static struct server *server(enum manner manner, const char *text)
{
    struct server *s = server_new(manner, text);
    for (size_t i = 0; i < TN_COUNT(all_servers); i++) {
        if (all_servers[i] == NULL) {
            all_servers[i] = s;
            return s;
        }
    }
    fail_msg("too many servers");
    return s;
}

static void servers_stop(void)
{
    for (size_t i = 0; i < TN_COUNT(all_servers) && all_servers[i] != NULL; i++) {
        struct server *s = all_servers[i];
        shutdown(s->fd, SHUT_RDWR);
        pthread_join(s->thread, NULL);
        close(s->fd);
        unlink(s->path);
    }
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->cancel = tn_cancel_new();
    f->http = tn_http_new(f->cancel, NULL);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    tn_http_free(f->http);
    tn_cancel_free(f->cancel);
    free(f);
    return 0;
}

static struct tn_http_request get(const struct server *s)
{
    return (struct tn_http_request){
        .method = "GET", .url = "http://localhost/x", .unix_socket = s->path, .timeout_ms = 5000};
}

/* ---- cases ---------------------------------------------------------------------------------------- */

static void an_answer_is_read_whole(void **state)
{
    struct fixture *f = *state;
    struct server *s = server(ANSWER, OK_HEAD "Api-Version: 1.41\r\nContent-Length: 5\r\n\r\nhello");
    struct tn_http_request rq = get(s);
    struct tn_http_answer a;
    assert_int_equal(tn_http_call(f->http, NULL, &rq, &a, NULL), TN_OK);
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body.data, "hello");
    assert_string_equal(a.api_version, "1.41");
    tn_http_answer_clear(&a);
    assert_int_equal(tn_http_call(f->http, NULL, &rq, &a, NULL), TN_OK);
    tn_http_answer_clear(&a);
    assert_int_equal(atomic_load(&s->connections), 1);
}

static void an_error_status_is_an_answer(void **state)
{
    struct fixture *f = *state;
    struct server *s = server(ANSWER, "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}");
    struct tn_http_request rq = get(s);
    struct tn_http_answer a;
    assert_int_equal(tn_http_call(f->http, NULL, &rq, &a, NULL), TN_OK);
    assert_int_equal(a.status, 404);
    tn_http_answer_clear(&a);
}

static void an_empty_post_says_its_length(void **state)
{
    struct fixture *f = *state;
    struct server *s = server(ANSWER, "HTTP/1.1 204 No Content\r\n\r\n");
    struct tn_http_request rq = get(s);
    rq.method = "POST";
    struct tn_http_answer a;
    assert_int_equal(tn_http_call(f->http, NULL, &rq, &a, NULL), TN_OK);
    tn_http_answer_clear(&a);
    assert_non_null(strstr(s->last, "POST /x HTTP/1.1\r\n"));
    assert_non_null(strstr(s->last, "Content-Length: 0\r\n"));
    assert_null(strcasestr(s->last, "Expect"));
    assert_null(strcasestr(s->last, "Content-Type"));
}

static void a_large_post_is_sent_at_once(void **state)
{
    struct fixture *f = *state;
    struct server *s = server(ANSWER, "HTTP/1.1 204 No Content\r\n\r\n");
    static char body[2 << 20]; /* from 1 MiB on curl would ask with Expect: 100-continue */
    memset(body, 'b', sizeof body);
    const char *headers[] = {"Content-Type: application/json", NULL};
    struct tn_http_request rq = get(s);
    rq.method = "POST";
    rq.body = body;
    rq.body_len = sizeof body;
    rq.headers = headers;
    struct tn_http_answer a;
    assert_int_equal(tn_http_call(f->http, NULL, &rq, &a, NULL), TN_OK);
    tn_http_answer_clear(&a);
    assert_non_null(strstr(s->last, "Content-Length: 2097152\r\n"));
    assert_non_null(strstr(s->last, "Content-Type: application/json\r\n"));
    assert_null(strcasestr(s->last, "Expect"));
}

static void what_was_never_sent_is_told_from_unknown(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *text;
        enum tn_code code;
    } cases[] = {
        {"", TN_EUNKNOWN},
        {"HTTP/1.1 200", TN_EUNKNOWN},
        {OK_HEAD "Content-Length: 50\r\n\r\npart", TN_EUNKNOWN},
        {OK_HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nhel", TN_EUNKNOWN},
        {OK_HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", TN_EUNKNOWN},
        {"ICE CREAM\r\n\r\n", TN_EUNKNOWN},
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        struct server *s = server(ANSWER_CLOSE, cases[i].text);
        struct tn_http_request rq = get(s);
        rq.method = "POST";
        struct tn_http_answer a;
        struct tn_error *err = NULL;
        assert_int_equal(tn_http_call(f->http, NULL, &rq, &a, &err), cases[i].code);
        assert_int_equal(atomic_load(&s->requests), 1);
        tn_error_free(err);
    }
}

static void nobody_listens(void **state)
{
    struct fixture *f = *state;
    struct tn_http_request rq = {
        .method = "POST", .url = "http://localhost/x", .unix_socket = "/tmp/tn-http-none.sock"};
    struct tn_http_answer a;
    struct tn_error *err = NULL;
    assert_int_equal(tn_http_call(f->http, NULL, &rq, &a, &err), TN_EUNREACHABLE);
    assert_int_equal(err->os_errno, ENOENT);
    assert_string_equal(err->message, "connect '/tmp/tn-http-none.sock': No such file or directory");
    tn_error_clear(&err);
    rq.unix_socket = NULL;
    rq.url = "http://127.0.0.1:1/x?token=secret";
    assert_int_equal(tn_http_call(f->http, NULL, &rq, &a, &err), TN_EUNREACHABLE);
    tn_error_clear(&err);
    rq.url = "ftp://127.0.0.1/x";
    assert_int_equal(tn_http_call(f->http, NULL, &rq, &a, &err), TN_EUSAGE);
    tn_error_clear(&err);
}

static void a_changing_request_is_never_repeated(void **state)
{
    struct fixture *f = *state;
    struct server *s = server(ONCE, OK_HEAD "Content-Length: 0\r\n\r\n");
    struct tn_http_request rq = get(s);
    struct tn_http_answer a;
    assert_int_equal(tn_http_call(f->http, NULL, &rq, &a, NULL), TN_OK);
    tn_http_answer_clear(&a);
    /* The kept connection would take the POST and die; curl would send it a second time. */
    rq.method = "POST";
    assert_int_equal(tn_http_call(f->http, NULL, &rq, &a, NULL), TN_OK);
    tn_http_answer_clear(&a);
    assert_int_equal(atomic_load(&s->requests), 2);
}

static void the_deadline_ends_a_call(void **state)
{
    struct fixture *f = *state;
    struct server *s = server(SILENCE, "");
    struct tn_http_request rq = get(s);
    struct tn_http_answer a;
    struct tn_error *err = NULL;
    rq.timeout_ms = 50;
    assert_int_equal(tn_http_call(f->http, NULL, &rq, &a, &err), TN_ETIMEOUT);
    assert_string_equal(err->message, "'GET http://localhost/x': no answer within 50 ms");
    tn_error_clear(&err);
    rq.timeout_ms = 0;
    rq.stall_ms = 50;
    assert_int_equal(tn_http_call(f->http, NULL, &rq, &a, &err), TN_ETIMEOUT);
    tn_error_clear(&err);
}

static void answers_are_bounded(void **state)
{
    struct fixture *f = *state;
    struct tn_http_answer a;
    struct tn_http_request rq = get(server(ENDLESS_BODY, OK_HEAD "Connection: close\r\n\r\n"));
    rq.max_answer = 1 << 20;
    assert_int_equal(tn_http_call(f->http, NULL, &rq, &a, NULL), TN_ELIMIT);
    rq = get(server(ANSWER, OK_HEAD "Content-Length: 1000000000\r\n\r\nx"));
    rq.timeout_ms = 50;
    assert_int_equal(tn_http_call(f->http, NULL, &rq, &a, NULL), TN_ETIMEOUT);
    rq = get(server(ENDLESS_HEADS, OK_HEAD));
    assert_int_equal(tn_http_call(f->http, NULL, &rq, &a, NULL), TN_ELIMIT);
    rq = get(server(ENDLESS_HEADS, OK_HEAD "Transfer-Encoding: chunked\r\n\r\n0\r\n"));
    assert_int_equal(tn_http_call(f->http, NULL, &rq, &a, NULL), TN_ELIMIT);
}

struct reading {
    size_t bytes, stop_at;
    pthread_t thread;
    bool slow;
};

static bool on_data(void *arg, const char *data, size_t n)
{
    struct reading *r = arg;
    (void)data;
    r->thread = pthread_self();
    r->bytes += n;
    if (r->slow)
        tn_wait_fd(NULL, "a slow reader", -1, tn_mono_ms() + 5, NULL);
    return r->stop_at == 0 || r->bytes < r->stop_at;
}

static void a_stream_reaches_the_callers_thread(void **state)
{
    struct fixture *f = *state;
    struct reading r = {.stop_at = 4 << 20, .slow = true};
    struct tn_http_request rq = get(server(ENDLESS_BODY, OK_HEAD "Connection: close\r\n\r\n"));
    rq.on_data = on_data;
    rq.on_data_arg = &r;
    struct tn_http_answer a;
    assert_int_equal(tn_http_call(f->http, NULL, &rq, &a, NULL), TN_OK);
    tn_http_answer_clear(&a);
    assert_true(r.bytes >= r.stop_at);
    assert_true(pthread_equal(r.thread, pthread_self()));
    /* cut: an error, after what came was handed over */
    r = (struct reading){0};
    rq.unix_socket = server(ANSWER_CLOSE, OK_HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")->path;
    assert_int_equal(tn_http_call(f->http, NULL, &rq, &a, NULL), TN_EUNKNOWN);
    assert_int_equal(r.bytes, 5);
    /* an error status is kept, not streamed */
    r = (struct reading){0};
    rq.unix_socket = server(ANSWER, "HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\nbad")->path;
    assert_int_equal(tn_http_call(f->http, NULL, &rq, &a, NULL), TN_OK);
    assert_string_equal(a.body.data, "bad");
    assert_int_equal(r.bytes, 0);
    tn_http_answer_clear(&a);
}

static void *raise_soon(void *arg)
{
    tn_wait_fd(NULL, "raise", -1, tn_mono_ms() + 30, NULL);
    tn_cancel_raise(arg, 2);
    return NULL;
}

static void the_token_ends_a_call(void **state)
{
    struct fixture *f = *state;
    struct tn_http_request rq = get(server(SILENCE, ""));
    struct tn_http_answer a;
    struct tn_cancel *c = tn_cancel_new();
    pthread_t t;
    pthread_create(&t, NULL, raise_soon, c);
    int64_t before = tn_mono_ms();
    assert_int_equal(tn_http_call(f->http, c, &rq, &a, NULL), TN_ECANCELLED);
    assert_true(tn_mono_ms() - before < 2000);
    pthread_join(t, NULL);
    tn_cancel_free(c);
}

static void level_one_lets_a_call_finish(void **state)
{
    struct fixture *f = *state;
    struct tn_http_request rq = get(server(DELAYED, OK_HEAD "Content-Length: 0\r\n\r\n"));
    struct tn_http_answer a;
    tn_cancel_raise(f->cancel, 1);
    assert_int_equal(tn_http_call(f->http, NULL, &rq, &a, NULL), TN_OK);
    tn_http_answer_clear(&a);
}

struct caller {
    struct tn_http *http;
    struct server *server;
    int good;
};

static void *call_often(void *arg)
{
    struct caller *c = arg;
    for (int i = 0; i < 20; i++) {
        struct tn_http_request rq = get(c->server);
        rq.method = i % 2 ? "GET" : "POST";
        struct tn_http_answer a;
        if (tn_http_call(c->http, NULL, &rq, &a, NULL) == TN_OK && a.status == 200 && a.body.len == 5)
            c->good++;
        tn_http_answer_clear(&a);
    }
    return NULL;
}

static void many_threads_share_a_client(void **state)
{
    struct fixture *f = *state;
    struct server *s = server(ANSWER, OK_HEAD "Content-Length: 5\r\n\r\nhello");
    struct caller callers[16];
    pthread_t threads[16];
    for (size_t i = 0; i < 16; i++) {
        callers[i] = (struct caller){.http = f->http, .server = s};
        pthread_create(&threads[i], NULL, call_often, &callers[i]);
    }
    for (size_t i = 0; i < 16; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(callers[i].good, 20);
    }
}

static void a_missing_library_names_its_package(void **state)
{
    (void)state;
    struct tn_curl curl;
    struct tn_error *err = NULL;
    assert_int_equal(tn_curl_load_from("libcurl-nowhere.so.4", &curl, &err), TN_EUNSUPPORTED);
    assert_string_equal(err->message, "library 'libcurl-nowhere.so.4': not installed");
    assert_string_equal(err->hint, "apt-get install libcurl4");
    tn_error_clear(&err);
    assert_int_equal(tn_curl_load_from("libc.so.6", &curl, &err), TN_EUNSUPPORTED);
    assert_string_equal(err->message, "library 'libc.so.6': too old, it has no curl_global_init");
    tn_error_clear(&err);
}

static void headers_are_found(void **state)
{
    (void)state;
    static const struct {
        const char *raw, *name, *value;
    } cases[] = {
        {"A: 1\r\nB:2\r\n", "b", "2"},
        {"A: 1\r\nB:2\r\n", "A", "1"},
        {"A:   \r\n", "A", ""},
        {"A: 1", "A", "1"},
        {"AB: 1\r\n", "A", NULL},
        {"A 1\r\n", "A", NULL},
        {"A: x \t\r\nA: y\r\n", "A", "x"},
        {"", "A", NULL},
        {"HTTP/1.1 200 OK\r\n\r\n", "A", NULL},
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        struct tn_buf raw = TN_BUF_INIT(1000);
        tn_buf_puts(&raw, cases[i].raw);
        char *v = tn_http_header(&raw, cases[i].name);
        assert_true(tn_streq(v, cases[i].value));
        free(v);
        tn_buf_clear(&raw);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_answer_is_read_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(an_error_status_is_an_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(an_empty_post_says_its_length, setup, teardown),
        cmocka_unit_test_setup_teardown(a_large_post_is_sent_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_never_sent_is_told_from_unknown, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_listens, setup, teardown),
        cmocka_unit_test_setup_teardown(a_changing_request_is_never_repeated, setup, teardown),
        cmocka_unit_test_setup_teardown(the_deadline_ends_a_call, setup, teardown),
        cmocka_unit_test_setup_teardown(answers_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stream_reaches_the_callers_thread, setup, teardown),
        cmocka_unit_test_setup_teardown(the_token_ends_a_call, setup, teardown),
        cmocka_unit_test_setup_teardown(level_one_lets_a_call_finish, setup, teardown),
        cmocka_unit_test_setup_teardown(many_threads_share_a_client, setup, teardown),
        cmocka_unit_test(a_missing_library_names_its_package),
        cmocka_unit_test(headers_are_found),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    servers_stop();
    return failed;
}
