/* Applying, against a model of nginx: a file, a running copy of it, a tester and a reload that can be made
 * to fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/balancer/nginx/nginx.h"
#include "turnout/mem.h"
#include "turnout/text.h"

struct model {
    struct tn_host host;
    char *file, *running; /* NULL = absent */
    bool test_fails, needs_file, reload_fails, master_refuses, silent, mute;
    const char *dead; /* this server never answers */
    int tests, reloads, writes, asks;
};
static struct model *model;

static void set(char **to, const char *value)
{
    char *copy = tn_strdup(value);
    free(*to);
    *to = copy;
}

static int model_run(struct tn_host *h, struct tn_cancel *c, const char *const *argv, const char *input,
                     int64_t timeout_ms, struct tn_run_result *out, struct tn_error **err)
{
    (void)h, (void)c, (void)input, (void)timeout_ms, (void)err;
    out->err_text.max = 1000;
    if (strcmp(argv[0], "nginx") != 0)
        return TN_OK;
    if (strcmp(argv[1], "-t") == 0) {
        model->tests++;
        out->exit_code = model->test_fails || (model->needs_file && !model->file);
        tn_buf_puts(&out->err_text, "nginx: [emerg] host not found in /etc/nginx/x:1\nsecond line\n");
        return TN_OK;
    }
    model->reloads++;
    out->exit_code = model->reload_fails;
    if (!model->reload_fails && !model->master_refuses)
        set(&model->running, model->file);
    return TN_OK;
}

static char *model_read(struct tn_host *h, const char *path, size_t max, size_t *out_len,
                        struct tn_error **err)
{
    (void)h, (void)path, (void)max;
    if (!model->file) {
        tn_error_set(err, TN_ENOTFOUND, "absent");
        return NULL;
    }
    *out_len = strlen(model->file);
    return tn_strdup(model->file);
}

static int model_write(struct tn_host *h, const char *path, const void *data, size_t len, mode_t mode,
                       struct tn_error **err)
{
    (void)h, (void)path, (void)mode, (void)err;
    tn_autofree char *text = tn_strndup(data, len);
    model->writes++;
    set(&model->file, text);
    return TN_OK;
}

static int model_remove(struct tn_host *h, const char *path, struct tn_error **err)
{
    (void)h, (void)path, (void)err;
    set(&model->file, NULL);
    return TN_OK;
}

/* The servers of an upstream answer in turn. A body that looks like our header must not count. */
static void answer_upstream(const struct tn_nginx_owned *o, const char *name, struct tn_buf *out)
{
    struct tn_upstream *u = tn_traffic_find(&o->traffic, name);
    if (!u || u->n_servers == 0) {
        tn_buf_puts(out, "HTTP/1.1 502 Bad Gateway\r\nX-Turnout-Upstream: x;-\r\n\r\n");
        return;
    }
    const struct tn_server *s = &u->servers[model->asks % (int)u->n_servers];
    bool dead = tn_streq(s->instance, model->dead);
    tn_buf_printf(out,
                  "HTTP/1.1 %s\r\nx-turnout-upstream: %s:%d;%s\r\n\r\nX-Turnout-Upstream: 127.0.0.1:3;1\r\n",
                  dead ? "502 Bad Gateway" : "200 OK", s->address, s->port, dead ? "-" : "0.001");
}

static int model_talk(struct tn_host *h, struct tn_cancel *c, const char *address, const char *request,
                      int64_t timeout_ms, struct tn_buf *out, struct tn_error **err)
{
    (void)h, (void)c, (void)timeout_ms;
    struct tn_nginx_owned o;
    if (!model->running || model->silent)
        return tn_error_set(err, TN_EUNREACHABLE, "nobody listens on '%s'", address);
    model->asks++;
    tn_nginx_owned_read(model->running, strlen(model->running), "shop", "", &o);
    char name[64] = "";
    if (tn_starts_with(request, "GET /generation HTTP/1.1\r\n"))
        tn_buf_printf(out, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n%s\n", o.hash);
    else if (sscanf(request, "GET /u/%63[^/]/healthz HTTP", name) == 1 && !model->mute)
        answer_upstream(&o, name, out);
    tn_nginx_owned_clear(&o);
    return TN_OK;
}

static void model_free(struct tn_host *h)
{
    free(h->name);
}

static const struct tn_host_ops model_ops = {.run = model_run,
                                             .read = model_read,
                                             .write = model_write,
                                             .remove = model_remove,
                                             .talk = model_talk,
                                             .free = model_free};

struct fixture {
    struct model model;
    struct tn_plan plan;
    struct tn_balancer config;
    struct tn_balancer_driver *driver;
    struct tn_cancel *cancel;
    struct tn_error *err;
};

static int set_up(void **state)
{
    struct fixture *f = tn_alloc(sizeof(*f));
    static char name[] = "edge", file[] = "/no/such/folder/shop.conf", app[] = "shop", empty[] = "";
    f->model.host = (struct tn_host){.ops = &model_ops, .name = tn_strdup("model"), .local = true};
    f->plan = (struct tn_plan){.name = app, .environment = empty};
    f->config =
        (struct tn_balancer){.name = name, .kind = TN_BALANCER_NGINX, .file = file, .apply_timeout = 60};
    f->cancel = tn_cancel_new();
    model = &f->model;
    f->driver = tn_nginx_open(&f->plan, &f->config, &f->model.host, NULL, NULL, NULL);
    assert_non_null(f->driver);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    f->driver->ops->free(f->driver);
    tn_cancel_free(f->cancel);
    tn_error_free(f->err);
    free(f->model.file);
    free(f->model.running);
    free(f);
    return 0;
}

/* One upstream with the servers whose ports are given, named i<port>; the list ends with 0. */
static void wish(struct tn_traffic *t, const int *ports)
{
    *t = (struct tn_traffic){0};
    TN_GROW(t->v, t->n, t->cap);
    struct tn_upstream *u = &t->v[t->n++];
    *u = (struct tn_upstream){
        .name = tn_strdup("web"), .probe_path = tn_strdup("/healthz"), .max_fails = -1, .fail_timeout = -1};
    for (; *ports; ports++) {
        TN_GROW(u->servers, u->n_servers, u->cap_servers);
        u->servers[u->n_servers++] = (struct tn_server){.instance = tn_format("i%d", *ports),
                                                        .address = tn_strdup("127.0.0.1"),
                                                        .port = *ports,
                                                        .weight = 1};
    }
}

static int apply(struct fixture *f, const int *ports, const char *confirm, bool force)
{
    struct tn_traffic t;
    tn_error_clear(&f->err);
    wish(&t, ports);
    int rc = f->driver->ops->apply(f->driver, f->cancel, &t, &confirm, confirm ? 1 : 0, force, NULL, &f->err);
    assert_int_equal(rc, f->err ? (int)f->err->code : TN_OK);
    tn_traffic_clear(&t);
    return rc;
}

#define PORTS(...) ((const int[]){__VA_ARGS__, 0})

static void test_first(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(apply(f, PORTS(1, 2), "i2", false), TN_OK);
    assert_string_equal(f->model.file, f->model.running);
    assert_int_equal(f->model.reloads, 1);
    assert_true(f->model.asks >= TN_NGINX_FRESH);
    /* Equal: nothing is written, nothing reloaded. */
    assert_int_equal(apply(f, PORTS(1, 2), "i1", false), TN_OK);
    assert_int_equal(f->model.reloads, 1);
    assert_int_equal(f->model.writes, 1);
}

/* A crash between the write and the reload. */
static void test_written_not_loaded(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(apply(f, PORTS(1), NULL, false), TN_OK);
    tn_autofree char *first = tn_strdup(f->model.file);
    assert_int_equal(apply(f, PORTS(2), NULL, false), TN_OK);
    set(&f->model.file, first);
    assert_int_equal(apply(f, PORTS(1), NULL, false), TN_OK);
    assert_int_equal(f->model.writes, 2);
    assert_int_equal(f->model.reloads, 3);
    assert_string_equal(f->model.running, first);
}

struct failure {
    bool test_fails, reload_fails, master_refuses, mute;
    const char *dead;
    int reloads; /* a reload that was asked for is asked for again with the old file */
    const char *words;
};

static void test_put_back(void **state)
{
    struct fixture *f = *state;
    static const struct failure cases[] = {
        {.test_fails = true, .reloads = 0, .words = "host not found in /etc/nginx/x:1; second line"},
        {.reload_fails = true, .reloads = 1, .words = "reload by 'nginx' failed"},
        {.master_refuses = true, .reloads = 2, .words = "nginx did not take the new configuration"},
        {.dead = "i3", .reloads = 2, .words = "instance 'i3' did not answer"},
        {.mute = true, .reloads = 2, .words = "upstream 'web' did not answer"},
    };
    assert_int_equal(apply(f, PORTS(1, 2), NULL, false), TN_OK);
    tn_autofree char *before = tn_strdup(f->model.file);
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        f->model.test_fails = cases[i].test_fails;
        f->model.reload_fails = cases[i].reload_fails;
        f->model.master_refuses = cases[i].master_refuses;
        f->model.mute = cases[i].mute;
        f->model.dead = cases[i].dead;
        int reloads = f->model.reloads;
        assert_int_equal(apply(f, PORTS(1, 2, 3), "i3", false), TN_EFAIL);
        assert_int_equal(f->model.reloads - reloads, cases[i].reloads);
        if (!strstr(tn_error_message(f->err), cases[i].words))
            fail_msg("case %zu says: %s", i, tn_error_message(f->err));
        assert_string_equal(f->model.file, before);
        assert_string_equal(f->model.running, before);
    }
}

/* Without an old file nothing may stay. */
static void test_put_back_absent(void **state)
{
    struct fixture *f = *state;
    f->model.test_fails = true;
    assert_int_equal(apply(f, PORTS(1), NULL, false), TN_EFAIL);
    assert_null(f->model.file);
    assert_int_equal(f->model.reloads, 0);
}

static void test_guard(void **state)
{
    struct fixture *f = *state;
    set(&f->model.file, "upstream web { server 127.0.0.1:1; }\n");
    assert_int_equal(apply(f, PORTS(1), NULL, true), TN_ESTRANGER);
    set(&f->model.file, NULL);
    assert_int_equal(apply(f, PORTS(1), NULL, false), TN_OK);
    tn_autofree char *edited = tn_format("%s# mine\n", f->model.file);
    set(&f->model.file, edited);
    assert_int_equal(apply(f, PORTS(2), NULL, false), TN_ESTALE);
    assert_non_null(f->err->hint);
    assert_string_equal(f->model.file, edited);
    assert_int_equal(apply(f, PORTS(2), NULL, true), TN_OK);
    assert_null(strstr(f->model.file, "mine"));
}

static void test_unknown_confirm(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(apply(f, PORTS(1), "i9", false), TN_EUSAGE);
    assert_int_equal(f->model.writes, 0);
}

/* Taking traffic away from what is dead is never gated on its health. */
static void test_dead_rest(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(apply(f, PORTS(1, 2), NULL, false), TN_OK);
    f->model.dead = "i1";
    assert_int_equal(apply(f, PORTS(1), NULL, false), TN_OK);
}

static void test_observe(void **state)
{
    struct fixture *f = *state;
    struct tn_balancer_status s;
    assert_int_equal(f->driver->ops->observe(f->driver, f->cancel, &s, NULL), TN_OK);
    assert_true(s.answered && !s.loaded && s.n == 0 && !s.file_hash);
    tn_balancer_status_clear(&s);
    assert_int_equal(apply(f, PORTS(1, 2), NULL, false), TN_OK);
    assert_int_equal(apply(f, PORTS(2), NULL, false), TN_OK);
    assert_int_equal(f->driver->ops->watch_drain(f->driver, "i7", "127.0.0.1", 7, NULL), TN_OK);
    assert_int_equal(f->driver->ops->watch_drain(f->driver, "i7", "127.0.0.1", 7, NULL), TN_OK);
    assert_int_equal(f->driver->ops->watch_drain(f->driver, "i7", "name", 7, NULL), TN_EUSAGE);
    assert_int_equal(f->driver->ops->observe(f->driver, f->cancel, &s, NULL), TN_OK);
    assert_true(s.answered && s.loaded && s.file_hash);
    assert_int_equal(s.n, 3);
    assert_string_equal(s.v[0].instance, "i2");
    assert_int_equal(s.v[0].in_rotation, TN_YES);
    for (size_t i = 1; i < 3; i++) {
        assert_string_equal(s.v[i].instance, i == 1 ? "i1" : "i7");
        assert_null(s.v[i].upstream);
        assert_int_equal(s.v[i].in_rotation, TN_NO);
        assert_int_not_equal(s.v[i].drained, TN_YES);
    }
    tn_balancer_status_clear(&s);
    /* Another configuration runs: nothing is known of any server. */
    set(&f->model.running, "");
    assert_int_equal(f->driver->ops->observe(f->driver, f->cancel, &s, NULL), TN_OK);
    assert_true(s.answered && !s.loaded && s.error);
    for (size_t i = 0; i < s.n; i++)
        assert_int_equal(s.v[i].in_rotation, TN_CANNOT_TELL);
    tn_balancer_status_clear(&s);
}

static void test_remove(void **state)
{
    struct fixture *f = *state;
    struct tn_traffic t = {0};
    assert_int_equal(f->driver->ops->remove(f->driver, f->cancel, &f->err), TN_OK);
    assert_int_equal(apply(f, PORTS(1), NULL, false), TN_OK);
    /* A server block of the user needs the upstream. */
    f->model.needs_file = true;
    assert_int_equal(f->driver->ops->remove(f->driver, f->cancel, &f->err), TN_EBUSY);
    assert_non_null(f->err->hint);
    assert_non_null(strstr(f->model.running, "upstream web {"));
    assert_int_equal(f->driver->ops->current(f->driver, f->cancel, &t, NULL), TN_OK);
    assert_int_equal(t.n, 1);
    assert_int_equal(t.v[0].n_servers, 0);
    tn_traffic_clear(&t);
    f->model.needs_file = false;
    tn_error_clear(&f->err);
    assert_int_equal(f->driver->ops->remove(f->driver, f->cancel, &f->err), TN_OK);
    assert_null(f->model.file);
    assert_null(f->model.running);
    set(&f->model.file, "mine\n");
    assert_int_equal(f->driver->ops->remove(f->driver, f->cancel, &f->err), TN_ESTRANGER);
}

/* A cancel before the reload leaves everything as it was. */
static void test_cancel(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(apply(f, PORTS(1), NULL, false), TN_OK);
    tn_autofree char *before = tn_strdup(f->model.file);
    f->model.test_fails = true;
    tn_cancel_raise(f->cancel, 2);
    int tests = f->model.tests;
    assert_true(apply(f, PORTS(2), NULL, false) < 0);
    assert_string_equal(f->model.file, before);
    assert_int_equal(f->model.tests, tests + 1);
}

int main(void)
{
#define CASE(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_first),     CASE(test_written_not_loaded),
        CASE(test_put_back),  CASE(test_put_back_absent),
        CASE(test_guard),     CASE(test_unknown_confirm),
        CASE(test_dead_rest), CASE(test_observe),
        CASE(test_remove),    CASE(test_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
