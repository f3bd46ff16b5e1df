#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "turnout/mem.h"
#include "turnout/text.h"
#include "lib/provider/docker/registry_auth.h"

static void base64_goes_both_ways(void **state)
{
    (void)state;
    static const struct {
        const char *plain, *url, *standard;
    } cases[] = {
        {"", "", ""},
        {"a", "YQ==", "YQ=="},
        {"ab", "YWI=", "YWI="},
        {"abc", "YWJj", "YWJj"},
        {"ci:right", "Y2k6cmlnaHQ=", "Y2k6cmlnaHQ"},
        {"\xff\xfe\xfd~", "__79fg==", "//79fg=="},
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        tn_autofree char *url = tn_base64url(cases[i].plain, strlen(cases[i].plain));
        assert_string_equal(url, cases[i].url);
        size_t n = 99;
        tn_autofree char *plain = tn_base64_decode(cases[i].standard, &n);
        assert_non_null(plain);
        assert_string_equal(plain, cases[i].plain);
        assert_int_equal(n, strlen(cases[i].plain));
    }
    size_t n;
    assert_null(tn_base64_decode("a", &n));
    assert_null(tn_base64_decode("ab c", &n));
    assert_null(tn_base64_decode("ab==cd", &n));
    assert_null(tn_base64_decode("__79fg==", &n));
}

static void servers_and_domains_match(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"https://index.docker.io/v1/", "docker.io"},
        {"index.docker.io", "docker.io"},
        {"registry-1.docker.io", "docker.io"},
        {"docker.io", "docker.io"},
        {"https://r.example:5000/v2/", "r.example:5000"},
        {"http://r.example", "r.example"},
        {"127.0.0.1:5000", "127.0.0.1:5000"},
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        tn_autofree char *domain = tn_registry_domain(cases[i][0]);
        assert_string_equal(domain, cases[i][1]);
    }
    tn_autofree char *hub = tn_registry_server("docker.io");
    assert_string_equal(hub, "https://index.docker.io/v1/");
    tn_autofree char *other = tn_registry_server("r.example");
    assert_string_equal(other, "r.example");
}

static void the_config_is_searched(void **state)
{
    (void)state;
    json_t *c =
        json_loads("{\"auths\":{\"https://index.docker.io/v1/\":{\"auth\":\"aHViOmhwdw==\"},"
                   "\"https://r.example:5000/v2/\":{\"auth\":\"Y2k6YTpi\"},\"t.example\":{\"identitytoken\":"
                   "\"tok\",\"auth\":\"Y2k6YTpi\"},\"empty.example\":{},\"bad.example\":{\"auth\":\"%%\"},"
                   "\"nocolon.example\":{\"auth\":\"YWJj\"}},\"credHelpers\":{\"h.example\":\"ecr-login\","
                   "\"evil.example\":\"../../bin/sh\"},\"credsStore\":\"\"}",
                   0, NULL);
    static const struct {
        const char *domain, *user, *password, *token;
    } cases[] = {
        {"docker.io", "hub", "hpw", NULL},     {"r.example:5000", "ci", "a:b", NULL},
        {"t.example", NULL, NULL, "tok"},      {"empty.example", NULL, NULL, NULL},
        {"bad.example", NULL, NULL, NULL},     {"nocolon.example", NULL, NULL, NULL},
        {"unknown.example", NULL, NULL, NULL},
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        struct tn_login l = {0};
        bool found = tn_login_from_config(c, cases[i].domain, &l);
        assert_int_equal(found, cases[i].user != NULL || cases[i].token != NULL);
        assert_true(tn_streq(l.user, cases[i].user));
        assert_true(tn_streq(l.password, cases[i].password));
        assert_true(tn_streq(l.token, cases[i].token));
        tn_login_clear(&l);
    }
    assert_string_equal(tn_registry_helper(c, "h.example"), "ecr-login");
    assert_null(tn_registry_helper(c, "evil.example"));
    assert_null(tn_registry_helper(c, "r.example:5000"));
    json_object_set_new(c, "credsStore", json_string("pass"));
    assert_string_equal(tn_registry_helper(c, "r.example:5000"), "pass");
    json_decref(c);
    assert_null(tn_registry_helper(NULL, "r"));
}

static void headers_hold_the_login(void **state)
{
    (void)state;
    struct tn_login l = {.user = (char *)"ci", .password = (char *)"right"};
    tn_autofree char *h = tn_login_header(&l, "r.example");
    static const char plain[] =
        "{\"username\":\"ci\",\"password\":\"right\",\"serveraddress\":\"r.example\"}";
    tn_autofree char *expected = tn_base64url(plain, strlen(plain));
    assert_string_equal(h, expected);
    json_t *answer = json_loads("{\"Username\":\"<token>\",\"Secret\":\"tok\"}", 0, NULL);
    struct tn_login t = {0};
    assert_true(tn_login_from_helper(answer, &t));
    assert_string_equal(t.token, "tok");
    tn_autofree char *th = tn_login_header(&t, "docker.io");
    static const char token[] =
        "{\"identitytoken\":\"tok\",\"serveraddress\":\"https://index.docker.io/v1/\"}";
    tn_autofree char *texpected = tn_base64url(token, strlen(token));
    assert_string_equal(th, texpected);
    tn_login_clear(&t);
    json_decref(answer);
    assert_false(tn_login_from_helper(NULL, &t));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64_goes_both_ways),
        cmocka_unit_test(servers_and_domains_match),
        cmocka_unit_test(the_config_is_searched),
        cmocka_unit_test(headers_hold_the_login),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
