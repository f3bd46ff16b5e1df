/* The owned file: exact text, reading back, marks, hashes, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/balancer/nginx/nginx.h"
#include "turnout/mem.h"
#include "turnout/text.h"

static struct tn_server *add_server(struct tn_upstream *u, const char *instance, const char *address,
                                    int port, int weight)
{
    TN_GROW(u->servers, u->n_servers, u->cap_servers);
    struct tn_server *s = &u->servers[u->n_servers++];
    *s = (struct tn_server){
        .instance = tn_strdup(instance), .address = tn_strdup(address), .port = port, .weight = weight};
    return s;
}

static struct tn_upstream *add_upstream(struct tn_traffic *t, const char *name)
{
    TN_GROW(t->v, t->n, t->cap);
    struct tn_upstream *u = &t->v[t->n++];
    *u = (struct tn_upstream){.name = tn_strdup(name), .max_fails = -1, .fail_timeout = -1};
    return u;
}

static void sample(struct tn_traffic *t)
{
    *t = (struct tn_traffic){0};
    struct tn_upstream *u = add_upstream(t, "shop_web");
    u->service = tn_strdup("web");
    u->balance = tn_strdup("least_conn");
    u->keepalive = 8;
    u->max_fails = 2;
    u->fail_timeout = 4500;
    u->slots = 3;
    u->probe_path = tn_strdup("/healthz?deep=1");
    u->probe_expect = tn_strdup("200-299,304");
    add_server(u, "web-1", "10.0.0.1", 20000, 64);
    add_server(u, "web-2", "10.0.0.2", 20001, 192);
    add_server(u, "web-3", "2001:db8::1", 20002, 7)->backup = true;
    add_upstream(t, "shop_api");
}

static char *render(const struct tn_traffic *t, char hash[TN_SHA256_HEX])
{
    struct tn_buf b = TN_BUF_INIT(TN_NGINX_FILE_MAX + 1);
    struct tn_error *err = NULL;
    assert_int_equal(tn_nginx_render("shop", "prod", "127.0.0.1:18099", t, &b, hash, &err), TN_OK);
    assert_null(err);
    return tn_buf_take(&b);
}

static void assert_holds(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("not found: %s\nin:\n%s", part, text);
}

static void test_text(void **state)
{
    (void)state;
    struct tn_traffic t;
    char hash[TN_SHA256_HEX];
    sample(&t);
    tn_autofree char *text = render(&t, hash);
    assert_holds(
        text, "upstream shop_web {\n"
              "    # turnout service=web balance=least_conn keepalive=8 max_fails=2 fail_timeout=4500 slots=3"
              " probe=/healthz?deep=1 expect=200-299,304\n"
              "    zone turnout_shop_web 64k;\n"
              "    least_conn;\n"
              "    server 10.0.0.1:20000 weight=1 max_fails=2 fail_timeout=5s; # web-1 weight 64\n"
              "    server 10.0.0.2:20001 weight=3 max_fails=2 fail_timeout=5s; # web-2 weight 192\n"
              "    server [2001:db8::1]:20002 weight=1 max_fails=2 fail_timeout=5s backup; # web-3 weight 7\n"
              "    keepalive 8;\n"
              "}\n");
    assert_holds(text, "upstream shop_api {\n"
                       "    # turnout keepalive=0 max_fails=-1 fail_timeout=-1 slots=0\n"
                       "    zone turnout_shop_api 64k;\n"
                       "    server 127.0.0.1:1 down;\n"
                       "}\n");
    assert_holds(text, "    listen 127.0.0.1:18099;\n    allow 127.0.0.0/8;\n    deny all;\n");
    assert_holds(text, "        proxy_pass http://shop_web/;\n");
    tn_autofree char *first =
        tn_format("# turnout app=shop env=prod sha256=%s: written by turnout, do not edit\n", hash);
    assert_true(tn_starts_with(text, first));
    tn_autofree char *answer = tn_format("return 200 \"%s\\n\";", hash);
    assert_holds(text, answer);
    tn_traffic_clear(&t);
}

static void test_read_back(void **state)
{
    (void)state;
    struct tn_traffic t;
    struct tn_nginx_owned o;
    char hash[TN_SHA256_HEX], again[TN_SHA256_HEX];
    sample(&t);
    tn_autofree char *text = render(&t, hash);
    tn_nginx_owned_read(text, strlen(text), "shop", "prod", &o);
    assert_true(o.marked && o.ours && !o.edited);
    assert_string_equal(o.hash, hash);
    assert_string_equal(o.generation, "127.0.0.1:18099");
    assert_int_equal(o.traffic.n, 2);
    const struct tn_upstream *u = &o.traffic.v[0];
    assert_string_equal(u->service, "web");
    assert_int_equal(u->fail_timeout, 4500);
    assert_int_equal(u->n_servers, 3);
    assert_string_equal(u->servers[1].instance, "web-2");
    assert_int_equal(u->servers[1].weight, 192);
    assert_string_equal(u->servers[2].address, "2001:db8::1");
    assert_true(u->servers[2].backup && !u->servers[1].backup);
    assert_int_equal(o.traffic.v[1].n_servers, 0);
    /* Nothing is lost: what was read gives the same bytes. */
    tn_autofree char *second = render(&o.traffic, again);
    assert_string_equal(text, second);
    tn_nginx_owned_clear(&o);
    tn_traffic_clear(&t);
}

static void test_edits(void **state)
{
    (void)state;
    struct tn_traffic t;
    char hash[TN_SHA256_HEX];
    sample(&t);
    tn_autofree char *text = render(&t, hash);
    size_t len = strlen(text);
    /* Any one byte, the hashes too. */
    for (size_t i = 0; i < len; i++) {
        struct tn_nginx_owned o;
        char was = text[i];
        text[i] = was == '7' ? '8' : '7';
        tn_nginx_owned_read(text, len, "shop", "prod", &o);
        if (o.ours && !o.edited)
            fail_msg("byte %zu was changed and nobody noticed", i);
        tn_nginx_owned_clear(&o);
        text[i] = was;
    }
    tn_autofree char *longer = tn_format("%s# mine\n", text);
    struct tn_nginx_owned o;
    tn_nginx_owned_read(longer, len + 7, "shop", "prod", &o);
    assert_true(o.ours && o.edited);
    assert_int_equal(o.traffic.n, 2);
    tn_nginx_owned_clear(&o);
    tn_traffic_clear(&t);
}

static void test_marks(void **state)
{
    (void)state;
    struct tn_traffic t;
    struct tn_nginx_owned o;
    char hash[TN_SHA256_HEX];
    sample(&t);
    tn_autofree char *text = render(&t, hash);
    static const struct {
        const char *app, *environment;
        bool ours;
    } cases[] = {
        {"shop", "prod", true}, {"shop", "staging", false}, {"shop", "", false}, {"sho", "prod", false}};
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        tn_nginx_owned_read(text, strlen(text), cases[i].app, cases[i].environment, &o);
        assert_true(o.marked);
        assert_int_equal(o.ours, cases[i].ours);
        tn_nginx_owned_clear(&o);
    }
    static const char *const strangers[] = {
        "", "\n", "upstream x { server 127.0.0.1:80; }\n", "# turnout\n",
        "# turnout app=shop env=prod sha256=12: written by turnout, do not edit\n"};
    for (size_t i = 0; i < TN_COUNT(strangers); i++) {
        tn_nginx_owned_read(strangers[i], strlen(strangers[i]), "shop", "prod", &o);
        assert_false(o.marked || o.ours);
        tn_nginx_owned_clear(&o);
    }
    tn_traffic_clear(&t);
}

static void only_backups(struct tn_upstream *u)
{
    add_server(u, "b", "127.0.0.1", 1000, 3)->backup = true;
}

static void test_no_main_server(void **state)
{
    (void)state;
    struct tn_traffic t = {0};
    char hash[TN_SHA256_HEX];
    only_backups(add_upstream(&t, "u"));
    tn_autofree char *text = render(&t, hash);
    assert_holds(text,
                 "    server 127.0.0.1:1000 weight=1 backup; # b weight 3\n    server 127.0.0.1:1 down;\n");
    tn_traffic_clear(&t);
}

static void bad_name(struct tn_upstream *u)
{
    free(u->name);
    u->name = tn_strdup("a; include /etc/passwd");
}
static void bad_instance(struct tn_upstream *u)
{
    add_server(u, "web\n1", "127.0.0.1", 80, 1);
}
static void host_name(struct tn_upstream *u)
{
    add_server(u, "web", "db.internal", 80, 1);
}
static void bad_port(struct tn_upstream *u)
{
    add_server(u, "web", "127.0.0.1", 65536, 1);
}
static void weight_zero(struct tn_upstream *u)
{
    add_server(u, "web", "127.0.0.1", 80, 0);
}
static void bad_balance(struct tn_upstream *u)
{
    u->balance = tn_strdup("ip_hash");
}
static void bad_path(struct tn_upstream *u)
{
    u->probe_path = tn_strdup("/a b");
}
static void variable_path(struct tn_upstream *u)
{
    u->probe_path = tn_strdup("/$request_uri");
}
static void bad_expect(struct tn_upstream *u)
{
    u->probe_expect = tn_strdup("200;");
}
static void bad_service(struct tn_upstream *u)
{
    u->service = tn_strdup("a b");
}
static void long_timeout(struct tn_upstream *u)
{
    u->fail_timeout = INT64_MAX;
}

static void test_refused(void **state)
{
    (void)state;
    static void (*const cases[])(
        struct tn_upstream *) = {bad_name, bad_instance,  host_name,  bad_port,    weight_zero, bad_balance,
                                 bad_path, variable_path, bad_expect, bad_service, long_timeout};
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        struct tn_traffic t = {0};
        char hash[TN_SHA256_HEX];
        struct tn_error *err = NULL;
        tn_autobuf b = TN_BUF_INIT(TN_NGINX_FILE_MAX + 1);
        cases[i](add_upstream(&t, "u"));
        if (tn_nginx_render("shop", "", "127.0.0.1:18099", &t, &b, hash, &err) != TN_EPLAN)
            fail_msg("case %zu was written", i);
        assert_non_null(err);
        tn_error_free(err);
        tn_traffic_clear(&t);
    }
}

static void test_twice(void **state)
{
    (void)state;
    struct tn_traffic t = {0};
    char hash[TN_SHA256_HEX];
    tn_autobuf b = TN_BUF_INIT(TN_NGINX_FILE_MAX + 1);
    add_upstream(&t, "u");
    add_upstream(&t, "u");
    assert_int_equal(tn_nginx_render("shop", "", "127.0.0.1:18099", &t, &b, hash, NULL), TN_EPLAN);
    tn_traffic_clear(&t);
}

static void test_generation(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
    } cases[] = {
        {"127.0.0.1:18099", true}, {"127.8.0.1:1", true},     {"[::1]:80", true},   {"0.0.0.0:80", false},
        {"10.0.0.1:80", false},    {"127.0.0.1:0", false},    {"127.0.0.1", false}, {"localhost:80", false},
        {"::1:80", false},         {"[::]:80", false},        {"", false},          {NULL, false},
        {"127.0.0.1:80 ", false},  {"127.0.0.1:99999", false}};
    for (size_t i = 0; i < TN_COUNT(cases); i++)
        if (tn_nginx_loopback_ok(cases[i].text) != cases[i].ok)
            fail_msg("generation '%s'", cases[i].text);
}

static void test_route(void **state)
{
    (void)state;
    static const struct {
        const char *value, *server; /* NULL = no server answered */
    } cases[] = {{"127.0.0.1:80;0.001", "127.0.0.1:80"},
                 {"127.0.0.1:80, 127.0.0.1:81;-, 0.004", "127.0.0.1:81"},
                 {"[::1]:80;0.000", "[::1]:80"},
                 {"127.0.0.1:80;-", NULL},
                 {"127.0.0.1:80, 127.0.0.1:81;0.001, -", NULL},
                 {"shop_web;-", NULL},
                 {"shop_web;0.1", NULL},
                 {"127.0.0.1:80", NULL},
                 {";", NULL},
                 {"", NULL}};
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        struct tn_endpoint e;
        char text[TN_ENDPOINT_TEXT];
        bool answered = tn_nginx_route_parse(cases[i].value, strlen(cases[i].value), &e);
        assert_int_equal(answered, cases[i].server != NULL);
        if (answered)
            assert_string_equal(tn_endpoint_format(&e, text), cases[i].server);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),  cmocka_unit_test(test_read_back),      cmocka_unit_test(test_edits),
        cmocka_unit_test(test_marks), cmocka_unit_test(test_no_main_server), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_twice), cmocka_unit_test(test_generation),     cmocka_unit_test(test_route),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
