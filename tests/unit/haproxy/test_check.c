/* What may stand in a configuration line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "lib/balancer/haproxy/haproxy.h"

static void test_name(void **state)
{
    const struct {
        const char *name;
        bool ok;
    } rows[] = {{"shop_web", true},     {"web-1.a", true}, {"", false},    {NULL, false},
                {"a b", false},         {"a\nb", false},   {"a#b", false}, {"a\"b", false},
                {"caf\xc3\xa9", false}, {"a:b", false},    {"a/b", false}, {"$x", false}};
    (void)state;
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        assert_int_equal(tn_haproxy_is_name(rows[i].name), rows[i].ok);
    }
    char long_name[130];
    memset(long_name, 'a', sizeof(long_name));
    long_name[129] = '\0';
    assert_false(tn_haproxy_is_name(long_name));
    long_name[128] = '\0';
    assert_true(tn_haproxy_is_name(long_name));
}

static void test_path(void **state)
{
    (void)state;
    assert_true(tn_haproxy_is_path("/", false));
    assert_true(tn_haproxy_is_path("/healthz?full=1&a=b", true));
    assert_false(tn_haproxy_is_path("/healthz?full=1", false));
    const char *bad[] = {"healthz", "",      "/a b",   "/a\nserver x", "/a#b", "/a'b",
                         "/a\"b",   "/a\\b", "/$HOME", "/{x}",         "/a|b"};
    for (size_t i = 0; i < TN_COUNT(bad); i++) {
        assert_false(tn_haproxy_is_path(bad[i], true));
    }
}

static void test_expect(void **state)
{
    (void)state;
    assert_true(tn_haproxy_is_expect("200") && tn_haproxy_is_expect("200-299") &&
                tn_haproxy_is_expect("200,204,300-399"));
    const char *bad[] = {"",     "20",      "2000",        "200-", "299-200", "200,",
                         ",200", "200 204", "200-299-300", "099",  "600",     "x"};
    for (size_t i = 0; i < TN_COUNT(bad); i++) {
        assert_false(tn_haproxy_is_expect(bad[i]));
    }
    assert_true(tn_haproxy_expects("200,300-399", 307) && tn_haproxy_expects("200,300-399", 200));
    assert_false(tn_haproxy_expects("200,300-399", 204) || tn_haproxy_expects("200", 0));
}

static void test_listen(void **state)
{
    const struct {
        const char *text, *host;
        int port;
    } rows[] = {{"127.0.0.1:8080", "127.0.0.1", 8080},
                {":80", "*", 80},
                {"*:80", "*", 80},
                {"localhost:81", "127.0.0.1", 81},
                {"[::1]:82", "::1", 82},
                {"[0::0:1]:82", "::1", 82},
                {"example.com:80", NULL, 0},
                {"::1:82", NULL, 0},
                {"127.0.0.1", NULL, 0},
                {"127.0.0.1:0", NULL, 0},
                {"127.0.0.1:65536", NULL, 0},
                {"127.0.0.1:8x", NULL, 0},
                {NULL, NULL, 0}};
    (void)state;
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        char host[64];
        int port;
        bool ok = tn_haproxy_listen(rows[i].text, host, &port);
        assert_int_equal(ok, rows[i].host != NULL);
        if (ok) {
            assert_string_equal(host, rows[i].host);
            assert_int_equal(port, rows[i].port);
        }
    }
}

static void test_traffic(void **state)
{
    struct tn_server server = {
        .instance = (char[]){"web-1"}, .address = (char[]){"127.0.0.1"}, .port = 80, .weight = 1};
    struct tn_server twice[2] = {server, server};
    struct tn_upstream good = {.name = (char[]){"u"}, .servers = &server, .n_servers = 1};
    (void)state;
#define CODE_OF(change)                                                                                      \
    __extension__({                                                                                          \
        struct tn_server s = server;                                                                         \
        struct tn_upstream u = good;                                                                         \
        u.servers = &s;                                                                                      \
        change;                                                                                              \
        tn_haproxy_check(&(struct tn_traffic){.v = &u, .n = 1}, NULL);                                       \
    })
    assert_int_equal(CODE_OF((void)0), TN_OK);
    assert_int_equal(CODE_OF(u.name = (char[]){"a b"}), TN_EPLAN);
    assert_int_equal(CODE_OF(u.service = (char[]){"a\nb"}), TN_EPLAN);
    assert_int_equal(CODE_OF(u.balance = (char[]){"first"}), TN_EPLAN);
    assert_int_equal(CODE_OF(u.balance = (char[]){"least_conn"}), TN_OK);
    assert_int_equal(CODE_OF(u.host = (char[]){"a b"}), TN_EPLAN);
    assert_int_equal(CODE_OF(u.path = (char[]){"a"}), TN_EPLAN);
    assert_int_equal(CODE_OF(u.probe_path = (char[]){"/a\nb"}), TN_EPLAN);
    assert_int_equal(CODE_OF(u.probe_expect = (char[]){"ok"}), TN_EPLAN);
    assert_int_equal(CODE_OF(s.instance = (char[]){"a b"}), TN_EPLAN);
    assert_int_equal(CODE_OF(s.address = (char[]){"localhost"}), TN_EPLAN);
    assert_int_equal(CODE_OF(s.port = 0), TN_EPLAN);
    assert_int_equal(CODE_OF(s.weight = 257), TN_EPLAN);
    assert_int_equal(CODE_OF(s.weight = 0), TN_EPLAN);
    assert_int_equal(CODE_OF(u.slots = 5000), TN_ELIMIT);
    assert_int_equal(CODE_OF((u.servers = twice, u.n_servers = 2)), TN_EPLAN);

    struct tn_upstream pair[2] = {good, good};
    struct tn_traffic both = {.v = pair, .n = 2};
    assert_int_equal(tn_haproxy_check(&both, NULL), TN_EPLAN);
    pair[1].name = (char[]){"v"};
    assert_int_equal(tn_haproxy_check(&both, NULL), TN_OK);
    assert_int_equal(tn_haproxy_check_routes(&both, true, NULL), TN_EPLAN);
    assert_int_equal(tn_haproxy_check_routes(&both, false, NULL), TN_OK);
    pair[1].host = (char[]){"a.test"};
    assert_int_equal(tn_haproxy_check_routes(&both, true, NULL), TN_OK);
    assert_int_equal(tn_haproxy_check_routes(&both, false, NULL), TN_EPLAN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_name),   cmocka_unit_test(test_path),    cmocka_unit_test(test_expect),
        cmocka_unit_test(test_listen), cmocka_unit_test(test_traffic),
    };
    return cmocka_run_group_tests_name("haproxy_check", tests, NULL, NULL);
}
