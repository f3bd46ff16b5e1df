/* Addresses, versions, and what is observed, against a scripted engine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "turnout/text.h"
#include "world.h"

/* ---- versions and addresses -------------------------------------------------------------------------- */

static void an_engine_that_is_too_old_is_refused_by_name(void **state)
{
    (void)state;
    static const struct fake_row rows[] = {{0}};
    struct world w;
    world_open(&w, rows, "1.39");
    struct tn_observation o;
    assert_int_equal(w.p->ops->observe(w.p, NULL, "shop", &o, &w.err), TN_OK);
    assert_false(o.hosts[0].answered);
    tn_autofree char *expected =
        tn_format("engine '%s': speaks API 1.39, turnout needs 1.40 or newer", w.engine->url);
    assert_string_equal(o.hosts[0].error, expected);
    tn_observation_clear(&o);
    world_close(&w);
}

static void addresses_are_checked_at_open(void **state)
{
    (void)state;
    static const struct {
        const char *url, *tls;
        enum tn_code code;
    } cases[] = {
        {"tcp://10.0.0.9:2375", NULL, TN_EPLAN},
        {"tcp://10.0.0.9:2376", "certs", TN_OK},
        {"tcp://127.0.0.1:2375", NULL, TN_OK},
        {"tcp://localhost:2375", NULL, TN_OK},
        {"tcp://[::1]:2375", NULL, TN_OK},
        {"tcp://10.0.0.9", "certs", TN_EPLAN},
        {"tcp://:2376", "certs", TN_EPLAN},
        {"tcp://h:0", "certs", TN_EPLAN},
        {"ssh://h", NULL, TN_EUNSUPPORTED},
        {"http://h:1", NULL, TN_EUNSUPPORTED},
        {"unix:///var/run/docker.sock", NULL, TN_OK},
    };
    unsetenv("DOCKER_TLS_VERIFY");
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        struct tn_engine e;
        struct tn_host_ref ref = {.url = (char *)(uintptr_t)cases[i].url};
        int code = tn_engine_init(&e, &ref, cases[i].tls, NULL, NULL);
        if (code != (int)cases[i].code)
            fail_msg("%s: %d", cases[i].url, code);
        tn_engine_clear(&e);
    }
    struct tn_engine e;
    struct tn_host_ref ref = {.url = (char *)"tcp://10.0.0.9:2376"};
    setenv("DOCKER_TLS_VERIFY", "1", 1);
    setenv("DOCKER_CERT_PATH", "/certs", 1);
    assert_int_equal(tn_engine_init(&e, &ref, NULL, NULL, NULL), TN_OK);
    assert_string_equal(e.base, "https://10.0.0.9:2376");
    assert_string_equal(e.ca_file, "/certs/ca.pem");
    assert_string_equal(e.address, "10.0.0.9");
    tn_engine_clear(&e);
    unsetenv("DOCKER_TLS_VERIFY");
    unsetenv("DOCKER_CERT_PATH");
}

static void the_data_address_follows_what_is_published(void **state)
{
    (void)state;
    static const struct {
        const char *url, *address, *publish, *expected;
    } cases[] = {
        {"unix:///s", NULL, NULL, "127.0.0.1"},       {"unix:///s", NULL, "0.0.0.0", "127.0.0.1"},
        {"unix:///s", NULL, "10.0.0.5", "10.0.0.5"},  {"unix:///s", "10.0.0.6", "10.0.0.5", "10.0.0.6"},
        {"tcp://10.0.0.9:1", NULL, NULL, "10.0.0.9"},
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        struct tn_engine e;
        struct tn_host_ref ref = {.url = (char *)(uintptr_t)cases[i].url,
                                  .address = (char *)(uintptr_t)cases[i].address};
        assert_int_equal(tn_engine_init(&e, &ref, "certs", cases[i].publish, NULL), TN_OK);
        assert_string_equal(e.address, cases[i].expected);
        tn_engine_clear(&e);
    }
}

/* ---- observe ------------------------------------------------------------------------------------------ */

static void one_observation_is_one_call(void **state)
{
    (void)state;
    static const struct fake_row rows[] = {{"GET /containers/json?all=1&filters=", 0, 200, LISTED, false, 0},
                                           {0}};
    struct world w;
    world_open(&w, rows, NULL);
    for (int i = 0; i < 3; i++) {
        struct tn_observation o;
        assert_int_equal(w.p->ops->observe(w.p, NULL, "shop", &o, &w.err), TN_OK);
        assert_true(o.hosts[0].answered);
        assert_int_equal(o.n, 1);
        tn_observation_clear(&o);
    }
    assert_int_equal(fake_engine_count(w.engine, "GET /containers/json"), 3);
    assert_int_equal(fake_engine_count(w.engine, "GET /_ping"), 1);
    assert_int_equal(w.engine->n_log, 4);
    world_close(&w);
}

static void a_host_that_does_not_answer_is_unknown(void **state)
{
    (void)state;
    static const struct fake_row rows[] = {{"GET /containers/json", 0, 200, LISTED, false, 0}, {0}};
    struct world w;
    world_open(&w, rows, NULL);
    tn_provider_free(w.p);
    w.hosts[1].url = (char *)"unix:///tmp/tn-no-engine.sock";
    w.cluster.docker.n_hosts = 2;
    w.p = tn_docker_open(&w.plan, &w.cluster, w.http, &w.err);
    struct tn_observation o;
    assert_int_equal(w.p->ops->observe(w.p, NULL, "shop", &o, &w.err), TN_OK);
    assert_int_equal(o.n_hosts, 2);
    assert_true(o.hosts[0].answered);
    assert_false(o.hosts[1].answered);
    assert_non_null(strstr(o.hosts[1].error, "No such file or directory"));
    assert_int_equal(o.n, 1);
    tn_observation_clear(&o);
    world_close(&w);
}

static void an_answer_that_is_an_error_is_unknown_too(void **state)
{
    (void)state;
    static const struct fake_row rows[] = {
        {"GET /containers/json", 1, 500, "{\"message\":\"broken\"}", false, 0},
        {"GET /containers/json", 1, 200, "not json", false, 0},
        {"GET /containers/json", 1, 200, "[", true, 0},
        {"GET /containers/json", 1, 0, NULL, false, 0},
        {0},
    };
    struct world w;
    world_open(&w, rows, NULL);
    for (int i = 0; i < 4; i++) {
        struct tn_observation o;
        assert_int_equal(w.p->ops->observe(w.p, NULL, "shop", &o, &w.err), TN_OK);
        assert_false(o.hosts[0].answered);
        assert_int_equal(o.n, 0);
        tn_observation_clear(&o);
    }
    world_close(&w);
}

static void the_cause_of_an_end_is_looked_up(void **state)
{
    (void)state;
    static const struct fake_row rows[] = {
        {"GET /containers/json", 0, 200,
         "[{\"Id\":\"" ID
         "\",\"Names\":[\"/a\"],\"State\":\"exited\",\"Status\":\"Exited (137) 1 second ago\","
         "\"Labels\":{\"turnout.service\":\"web\",\"turnout.revision\":\"abc\"}}]",
         false, 0},
        {"GET /containers/" ID "/json", 0, 200,
         INSPECTED("{\"Status\":\"exited\",\"OOMKilled\":true,\"ExitCode\":137,\"Error\":\"why\"}", OURS),
         false, 0},
        {0},
    };
    struct world w;
    world_open(&w, rows, NULL);
    struct tn_observation o;
    assert_int_equal(w.p->ops->observe(w.p, NULL, "shop", &o, &w.err), TN_OK);
    assert_true(o.v[0].oom_killed);
    assert_string_equal(o.v[0].detail, "why");
    assert_string_equal(o.v[0].restart_policy, "always");
    tn_observation_clear(&o);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_engine_that_is_too_old_is_refused_by_name),
        cmocka_unit_test(addresses_are_checked_at_open),
        cmocka_unit_test(the_data_address_follows_what_is_published),
        cmocka_unit_test(one_observation_is_one_call),
        cmocka_unit_test(a_host_that_does_not_answer_is_unknown),
        cmocka_unit_test(an_answer_that_is_an_error_is_unknown_too),
        cmocka_unit_test(the_cause_of_an_end_is_looked_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
