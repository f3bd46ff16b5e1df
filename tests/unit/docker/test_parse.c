#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "turnout/mem.h"
#include "turnout/text.h"
#include "lib/provider/docker/parse.h"
#include "lib/provider/docker/request.h"

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void status_words_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum tn_native_health health;
        int exit_code;
    } cases[] = {
        {"Up 2 seconds", TN_NATIVE_NONE, -1},
        {"Up 2 seconds (healthy)", TN_NATIVE_HEALTHY, -1},
        {"Up Less than a second (health: starting)", TN_NATIVE_STARTING, -1},
        {"Up About a minute (unhealthy)", TN_NATIVE_UNHEALTHY, -1},
        {"Up 3 hours (Paused)", TN_NATIVE_NONE, -1},
        {"Exited (0) 3 seconds ago", TN_NATIVE_NONE, 0},
        {"Exited (137) About a minute ago", TN_NATIVE_NONE, 137},
        {"Restarting (1) 2 seconds ago", TN_NATIVE_NONE, 1},
        {"Exited (x) now", TN_NATIVE_NONE, -1},
        {"Exited (99999999999999999999) now", TN_NATIVE_NONE, -1},
        {"Exited (", TN_NATIVE_NONE, -1},
        {"Created", TN_NATIVE_NONE, -1},
        {"Dead", TN_NATIVE_NONE, -1},
        {"", TN_NATIVE_NONE, -1},
        {NULL, TN_NATIVE_NONE, -1},
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        enum tn_native_health health;
        int code;
        tn_docker_status(cases[i].text, &health, &code);
        if (health != cases[i].health || code != cases[i].exit_code)
            fail_msg("%s: %d %d", cases[i].text, health, code);
    }
    assert_int_equal(tn_docker_signal_of(137), 9);
    assert_int_equal(tn_docker_signal_of(143), 15);
    assert_int_equal(tn_docker_signal_of(128), 0);
    assert_int_equal(tn_docker_signal_of(255), 0);
    assert_int_equal(tn_docker_signal_of(1), 0);
}

static int list(const char *text, struct tn_observation *o, struct tn_error **err)
{
    json_t *j = json_loads(text, 0, NULL);
    assert_non_null(j);
    *o = (struct tn_observation){0};
    int code = tn_docker_list(j, 2, "10.0.0.1", o, err);
    json_decref(j);
    return code;
}

#define LABELS(more) "\"Labels\":{\"turnout.service\":\"web\",\"turnout.revision\":\"abc\"" more "}"

static void a_listing_becomes_instances(void **state)
{
    (void)state;
    struct tn_observation o;
    assert_int_equal(
        list(
            "[{\"Id\":\"" ID
            "\",\"Names\":[\"/other/alias\",\"/shop-web-1\"],\"State\":\"running\",\"Created\":"
            "1700000000,\"Status\":\"Up 2 seconds (healthy)\"," LABELS(
                ",\"turnout.env\":\"prod\",\"turnout.rollout\":\"r1\",\"turnout.effect\":\"e\",\"turnout."
                "spec\":"
                "\"{}\",\"turnout.secrets\":\"{}\",\"turnout.ports\":\"{\\\"http\\\":20001,\\\"bad\\\":70000,"
                "\\\"worse\\\":\\\"x\\\"}\"") "},"
                                              "{\"Id\":\"" ID "\",\"Names\":[\"/b\"],\"State\":\"exited\","
                                              "\"Status\":\"Exited (137) 1 second ago\"," LABELS(
                                                  "") "},"
                                                      "{\"Id\":\"" ID
                                                      "\",\"Names\":[\"/c\"],\"State\":\"created\","
                                                      "\"Created\":1700000000,\"Status\":\"Created\"," LABELS(
                                                          "") "},"
                                                              "{\"Id\":\"" ID "\",\"Names\":[\"/"
                                                              "hook\"],\"State\":\"running\"," LABELS(
                                                                  ",\"turnout.hook\":\"1\"") "},"
                                                                                             "{\"Id\":\"" ID
                                                                                             "\",\"Names\":["
                                                                                             "\"/"
                                                                                             "no-service\"],"
                                                                                             "\"Labels\":{}}"
                                                                                             "]",
            &o, NULL),
        TN_OK);
    assert_int_equal(o.n, 3);
    const struct tn_instance *i = &o.v[0];
    assert_string_equal(i->name, "shop-web-1");
    assert_int_equal(i->host, 2);
    assert_string_equal(i->address, "10.0.0.1");
    assert_int_equal(i->state, TN_RUN_RUNNING);
    assert_int_equal(i->health, TN_NATIVE_HEALTHY);
    assert_true(i->started_at == 1700000000000);
    assert_string_equal(i->environment, "prod");
    assert_string_equal(i->revision, "abc");
    assert_int_equal(i->n_ports, 1);
    assert_int_equal(tn_instance_port(i, "http"), 20001);
    assert_null(i->restart_policy);
    assert_null(i->detail);
    assert_int_equal(o.v[1].state, TN_RUN_EXITED);
    assert_int_equal(o.v[1].exit_code, 137);
    assert_int_equal(o.v[1].exit_signal, 9);
    assert_null(o.v[1].detail);
    assert_string_equal(o.v[1].environment, "");
    assert_int_equal(o.v[2].state, TN_RUN_CREATED);
    assert_true(o.v[2].started_at == 0);
    tn_observation_clear(&o);
}

static void a_listing_that_makes_no_sense_is_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "{}",
        "[{}]",
        "[1]",
        "[{\"Id\":\"" ID "\",\"Names\":[]}]",
        "[{\"Id\":\"" ID "\",\"Names\":[\"noslash\"]}]",
        "[{\"Id\":\"../../images/x\",\"Names\":[\"/a\"]}]",
        "[{\"Id\":7,\"Names\":[\"/a\"]}]",
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        struct tn_observation o;
        struct tn_error *err = NULL;
        if (list(cases[i], &o, &err) != TN_EPROTO)
            fail_msg("taken: %s", cases[i]);
        tn_observation_clear(&o);
        tn_error_free(err);
    }
}

static void an_inspect_is_read(void **state)
{
    (void)state;
    json_t *o =
        json_loads("{\"Id\":\"" ID "\",\"RestartCount\":4,\"State\":{\"Status\":\"exited\",\"Running\":false,"
                   "\"OOMKilled\":true,\"ExitCode\":137,\"Error\":\"\",\"StartedAt\":"
                   "\"2026-11-24T20:35:45.123456789Z\"},\"HostConfig\":{\"RestartPolicy\":{\"Name\":"
                   "\"always\"}},\"Config\":{\"Tty\":true,\"Labels\":{\"a\":\"b\"}}}",
                   0, NULL);
    struct tn_inspect in;
    assert_int_equal(tn_docker_inspect(o, &in, NULL), TN_OK);
    assert_string_equal(in.restart_policy, "always");
    assert_int_equal(in.exit_code, 137);
    assert_int_equal(in.restarts, 4);
    assert_true(in.oom_killed && in.tty && !in.running);
    assert_true(in.started_at > 1700000000000);
    json_object_set_new(json_object_get(o, "State"), "StartedAt", json_string("0001-01-01T00:00:00Z"));
    assert_int_equal(tn_docker_inspect(o, &in, NULL), TN_OK);
    assert_true(in.started_at == 0);
    json_object_del(o, "State");
    assert_int_equal(tn_docker_inspect(o, &in, NULL), TN_EPROTO);
    json_decref(o);
}

static void messages_are_found(void **state)
{
    (void)state;
    static const struct {
        const char *body, *text;
    } cases[] = {
        {"{\"message\":\"No such container: x\\n\"}", "No such container: x"},
        {"404 page not found\n", "404 page not found"},
        {"{\"message\":7}", "{\"message\":7}"},
        {"", "no reason given"},
        {NULL, "no reason given"},
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        tn_autofree char *text = tn_docker_message(cases[i].body, cases[i].body ? strlen(cases[i].body) : 0);
        assert_string_equal(text, cases[i].text);
    }
}

static void versions_are_numbers(void **state)
{
    (void)state;
    assert_int_equal(tn_docker_api_minor("1.41"), 41);
    assert_int_equal(tn_docker_api_minor("1.9"), 9);
    assert_int_equal(tn_docker_api_minor("2.0"), -1);
    assert_int_equal(tn_docker_api_minor("1."), -1);
    assert_int_equal(tn_docker_api_minor("1.x"), -1);
    assert_int_equal(tn_docker_api_minor("1.-4"), -1);
    assert_int_equal(tn_docker_api_minor(NULL), -1);
}

static void digests_belong_to_a_repository(void **state)
{
    (void)state;
    json_t *o = json_loads("{\"RepoDigests\":[\"other/web@sha256:1\",7,\"shop/web@sha256:2\"]}", 0, NULL);
    assert_string_equal(tn_docker_repo_digest(o, "shop/web"), "shop/web@sha256:2");
    assert_null(tn_docker_repo_digest(o, "shop"));
    assert_null(tn_docker_repo_digest(o, "web"));
    json_decref(o);
}

static void documents_are_read_back(void **state)
{
    (void)state;
    static const char *const text =
        "{\"Volumes\":[{\"Name\":\"v1\",\"Labels\":{\"turnout.doc\":\"lease.a\",\"turnout.doc.body\":\"{"
        "\\\"e\\\":1}\"}},"
        "{\"Name\":\"v2\",\"Labels\":{\"turnout.doc\":\"other\",\"turnout.doc.body\":\"broken\"}},"
        "{\"Name\":\"v3\",\"Labels\":null}]}";
    json_t *o = json_loads(text, 0, NULL);
    struct tn_docs docs = {0};
    assert_int_equal(tn_docker_docs(o, "lease", &docs, NULL), TN_OK);
    assert_int_equal(docs.n, 1);
    assert_string_equal(docs.v[0].name, "lease.a");
    assert_int_equal(json_integer_value(json_object_get(docs.v[0].body, "e")), 1);
    tn_docs_clear(&docs);
    /* A damaged one of ours is not silently absent. */
    struct tn_error *err = NULL;
    assert_int_equal(tn_docker_docs(o, "", &docs, &err), TN_EPROTO);
    assert_string_equal(err->message, "document 'other': cannot be read");
    tn_error_free(err);
    tn_docs_clear(&docs);
    json_decref(o);
    o = json_loads("{\"Volumes\":null}", 0, NULL);
    assert_int_equal(tn_docker_docs(o, "", &docs, NULL), TN_OK);
    json_decref(o);
    o = json_loads("{\"Volumes\":7}", 0, NULL);
    assert_int_equal(tn_docker_docs(o, "", &docs, NULL), TN_EPROTO);
    json_decref(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_words_are_read),
        cmocka_unit_test(a_listing_becomes_instances),
        cmocka_unit_test(a_listing_that_makes_no_sense_is_refused),
        cmocka_unit_test(an_inspect_is_read),
        cmocka_unit_test(messages_are_found),
        cmocka_unit_test(versions_are_numbers),
        cmocka_unit_test(digests_belong_to_a_repository),
        cmocka_unit_test(documents_are_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
