/* Defaults, the canonical spec, revisions, the way back, and plans kept in change sets. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/plan/plan_help.h"

static json_t *spec_of(const struct tn_plan *p, const char *service)
{
    struct tn_error *err = NULL;
    json_t *spec = tn_service_spec(p, tn_plan_service(p, service), NULL, &err);
    if (!spec)
        print_error("%s\n", tn_error_message(err));
    assert_non_null(spec);
    return spec;
}

static void assert_json(const json_t *got, const char *want)
{
    char *text = json_dumps(got, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(text, want);
    free(text);
}

static void revision_of(const char *body, char out[13])
{
    char text[4096];
    snprintf(text, sizeof(text), HEAD "services:\n  web: { image: i, clusters: [c], ports: [80]%s }\n", body);
    struct tn_plan *p = plan_load_good(text);
    json_t *spec = spec_of(p, "web");
    tn_spec_revision(spec, out);
    json_decref(spec);
    tn_plan_free(p);
}

static void test_defaults(void **state)
{
    (void)state;
    struct tn_plan *p =
        plan_load_good(HEAD "gates: { g: { tcp: \"a:1\" } }\n"
                            "balancers: { h: { haproxy: { managed: c, listen: \"127.0.0.1:1\" } } }\n" WEB
                            "    health: { tcp: true }\n    expose: { balancer: h }\n"
                            "    hooks: { pre_deploy: x }\n");
    const struct tn_service *s = &p->services[0];
    const struct tn_rollout_options *r = &s->rollout;
    assert_int_equal(r->strategy, TN_STRATEGY_ROLLING);
    assert_true(r->max_surge.set && r->max_surge.value == 1 && !r->max_surge.percent);
    assert_true(r->max_unavailable.set && r->max_unavailable.value == 0);
    assert_int_equal(r->min_healthy_time, 2000);
    assert_int_equal(r->healthy_deadline, 60000);
    assert_int_equal(r->progress_deadline, 300000);
    assert_int_equal(r->max_failures, 0);
    assert_int_equal(r->on_failure, TN_ON_FAILURE_ROLLBACK);
    assert_int_equal(r->keep, 3);
    assert_int_equal(s->health.kind, TN_HEALTH_TCP);
    assert_int_equal(s->health.interval, 1000);
    assert_int_equal(s->health.timeout, 1000);
    assert_int_equal(s->health.healthy_after, 1);
    assert_int_equal(s->health.unhealthy_after, 3);
    assert_int_equal(s->health.start_period, 0);
    assert_string_equal(s->health.expect, "200-299");
    assert_string_equal(s->stop.signal, "SIGTERM");
    assert_int_equal(s->stop.grace, 10000);
    assert_string_equal(s->restart, "unless-stopped");
    assert_string_equal(s->pull, "missing");
    assert_int_equal(s->replicas, 1);
    assert_int_equal(s->expose[0].drain, 10000);
    assert_int_equal(s->expose[0].weight, 1);
    assert_int_equal(s->expose[0].max_fails, -1);
    assert_int_equal(s->expose[0].fail_timeout, -1);
    assert_string_equal(s->expose[0].balance, "roundrobin");
    assert_int_equal(s->hooks.n_pre_deploy, 1);
    assert_int_equal(s->hooks.pre_deploy[0].where, TN_HOOK_LOCAL);
    assert_string_equal(s->hooks.pre_deploy[0].run.argv[0], "/bin/sh");
    assert_string_equal(s->hooks.pre_deploy[0].run.argv[2], "x");
    assert_int_equal(p->policy.lease_ttl, 30000);
    assert_int_equal(p->policy.lease_wait, 0);
    assert_int_equal(p->policy.port_first, 20000);
    assert_int_equal(p->policy.port_last, 29999);
    assert_int_equal(p->balancers[0].apply_timeout, 10000);
    assert_int_equal(p->gates[0].interval, 5000);
    assert_int_equal(p->gates[0].count, 1);
    assert_string_equal(p->environment, "");
    tn_plan_free(p);
}

static void test_spec(void **state)
{
    (void)state;
    plan_write("conf", "hello");
    struct tn_plan *p = plan_load_good(
        HEAD
        "secrets: { s: \"env://S\" }\nservices:\n  web:\n    image: a:1\n    clusters: [c]\n    replicas: 5\n"
        "    command: run it\n    env: { B: 1.10, A: no }\n    secrets: { P: s }\n    files: [conf]\n"
        "    ports: [{ name: http, container: 8080 }]\n    cpu: 0.5\n    memory: 1Mi\n    pull: always\n"
        "    health: { http: /h, interval: 1s, timeout: 90s }\n    stop: { signal: SIGTERM, grace: 0.5s }\n"
        "    networks: [n]\n    platform: { b: 2, a: { c: 1.5, d: ~, e: true, f: 08 } }\n");
    json_t *spec = tn_service_spec(p, &p->services[0], "a@sha256:1", NULL);
    assert_json(
        spec,
        "{\"command\":[\"/bin/sh\",\"-c\",\"run it\"],\"cpu\":\"500m\",\"env\":{\"A\":\"no\",\"B\":\"1.10\"},"
        "\"files\":{\"conf\":\"2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\"},"
        "\"health\":{\"http\":\"/h\",\"timeout\":\"90000ms\"},\"image\":\"a@sha256:1\",\"memory\":1048576,"
        "\"networks\":{\"n\":{}},\"platform\":{\"a\":{\"c\":1.5,\"e\":true,\"f\":\"08\"},\"b\":2},"
        "\"ports\":[{\"container\":8080,\"name\":\"http\"}],\"secrets\":{\"P\":\"s\"},"
        "\"stop\":{\"grace\":\"500ms\"}}");
    json_decref(spec);
    tn_plan_free(p);
}

/* Two ways to say one thing are one revision. */
static void test_revision_is_stable(void **state)
{
    (void)state;
    static const char *const same[][2] = {
        {", stop: { grace: 15s }", ", stop: { grace: 15000ms }"},
        {", stop: { grace: 10s }", ""},
        {", env: { A: x, B: y }", ", env: { B: y, A: x }"},
        {", health: { http: /, interval: 2s }", ", health: { interval: 2000ms, http: / }"},
        {", cpu: 0.5", ", cpu: 500m"},
        {", memory: 1Gi", ", memory: 1024Mi"},
        {", command: ls", ", command: [/bin/sh, -c, ls]"},
        {", networks: [a]", ", networks: { a: {} }"},
        {", restart: unless-stopped", ""},
        {", init: false, read_only: false", ""},
        {", env: {}", ""},
        /* what is no part of a revision */
        {", replicas: 5", ""},
        {", pull: always", ""},
        {", rollout: { max_surge: 2 }", ""},
        {", hooks: { pre_deploy: [ls] }", ""},
        {", x-note: hello", ""},
    };
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        char a[13], b[13];
        revision_of(same[i][0], a);
        revision_of(same[i][1], b);
        if (strcmp(a, b) != 0)
            print_error("differ: %s | %s\n", same[i][0], same[i][1]);
        assert_string_equal(a, b);
        assert_int_equal(strlen(a), 12);
    }
    static const char *const other[] = {
        ", stop: { grace: 11s }", ", env: { A: x }",       ", command: [x]",         ", user: me",
        ", labels: { a: b }",     ", restart: always",     ", init: true",           ", memory: 1Gi",
        ", platform: { a: 1 }",   ", health: { http: / }", ", health: { tcp: true }"};
    char base[13];
    revision_of("", base);
    for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
        char r[13];
        revision_of(other[i], r);
        if (strcmp(base, r) == 0)
            print_error("same: %s\n", other[i]);
        assert_string_not_equal(base, r);
    }
}

static void test_round_trip(void **state)
{
    (void)state;
    plan_write("conf", "hello");
    struct tn_plan *p = plan_load_good(
        HEAD
        "secrets: { s: \"env://S\" }\nservices:\n  web:\n    image: a:1\n    clusters: [c]\n"
        "    command: [a, \"b c\"]\n    entrypoint: run\n    env: { A: \"\", B: \"x\\ny\" }\n    secrets: { "
        "P: s }\n"
        "    files: [conf]\n    ports: [{ name: h, container: 1, host: 2, bind: \"::1\" }, 99]\n"
        "    volumes: [a:/b]\n    networks: { n: { aliases: [x, y] } }\n    cpu: 2\n    memory: 5k\n"
        "    health: { cmd: [ls], unhealthy_after: 9, start_period: 3s }\n    stop: { signal: SIGINT, grace: "
        "1m }\n"
        "    restart: \"no\"\n    labels: { a.b/c: d }\n    user: u\n    working_dir: /w\n    hostname: h\n  "
        "  init: true\n"
        "    read_only: true\n    ulimits: { nofile: 0, core: { soft: 1, hard: 2 } }\n    cap_add: [X]\n    "
        "cap_drop: [ALL]\n"
        "    extra_hosts: [\"a:1.2.3.4\"]\n    tmpfs: [/t]\n    logging: { driver: d, options: { k: v } }\n"
        "    platform: { a: [1, 2.5, true, ~] }\n");
    json_t *spec = spec_of(p, "web");
    struct tn_error *err = NULL;
    struct tn_service *s = tn_service_from_spec("web", spec, &err);
    assert_non_null(s);
    assert_string_equal(s->name, "web");
    assert_int_equal(s->replicas, 1);
    assert_string_equal(s->pull, "missing");
    assert_int_equal(s->health.kind, TN_HEALTH_CMD);
    assert_string_equal(s->ports[1].name, "99");
    assert_string_equal(s->file_hashes.v[0].name, "conf");
    json_t *again = tn_service_spec(NULL, s, NULL, &err);
    assert_true(json_equal(spec, again));
    plan_write("conf", "changed"); /* a recorded hash stays */
    json_t *with_plan = tn_service_spec(p, s, NULL, &err);
    assert_true(json_equal(spec, with_plan));
    json_decref(with_plan);
    json_decref(again);
    json_decref(spec);
    tn_service_free_spec(s);
    tn_plan_free(p);
}

static void test_bad_specs(void **state)
{
    (void)state;
    static const char *const bad[] = {"[]",
                                      "{\"imag\":\"x\"}",
                                      "{\"files\":[\"a\"]}",
                                      "{\"files\":{\"a\":\"short\"}}",
                                      "{\"stop\":{\"grace\":5}}",
                                      "{\"health\":{\"http\":\"/\",\"tcp\":true}}",
                                      "{\"ports\":[{\"container\":70000}]}",
                                      "{\"env\":{\"A=\":\"b\"}}"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        json_t *spec = json_loads(bad[i], 0, NULL);
        struct tn_error *err = NULL;
        assert_null(tn_service_from_spec("web", spec, &err));
        assert_int_equal(err->code, TN_EPROTO);
        tn_error_free(err);
        json_decref(spec);
    }
}

/* The program of a process is one of its files; a program of the system is not. */
static void test_program_of_a_process(void **state)
{
    (void)state;
    plan_write("server", "one");
    struct tn_plan *p = plan_load_good(HEAD "services:\n  a: { command: [./server], clusters: [p] }\n"
                                            "  b: { command: [/bin/ls, ./server], clusters: [p] }\n"
                                            "  d: { command: [./gone], clusters: [p] }\n"
                                            "  e: { command: [./server], image: i, clusters: [c] }\n");
    char one[13], two[13];
    json_t *spec = spec_of(p, "a");
    assert_non_null(json_object_get(json_object_get(spec, "files"), "./server"));
    tn_spec_revision(spec, one);
    json_decref(spec);
    plan_write("server", "two");
    spec = spec_of(p, "a");
    tn_spec_revision(spec, two);
    assert_string_not_equal(one, two);
    json_decref(spec);
    spec = spec_of(p, "b");
    assert_null(json_object_get(spec, "files"));
    json_decref(spec);
    spec = spec_of(p, "e");
    assert_null(json_object_get(spec, "files"));
    json_decref(spec);
    struct tn_error *err = NULL;
    assert_null(tn_service_spec(p, tn_plan_service(p, "d"), NULL, &err));
    assert_int_equal(err->code, TN_ENOTFOUND);
    assert_non_null(strstr(tn_error_message(err), "service 'd': file './gone'"));
    tn_error_free(err);
    tn_plan_free(p);
}

/* A change set keeps the merged plan; loading it gives the same plan. */
static void test_document(void **state)
{
    (void)state;
    plan_write("a.env", "FROM_FILE=$x\n");
    plan_write("turnout.yaml", HEAD
               "vars: { tag: 1.10 }\nbalancers: { h: { haproxy: { managed: c, listen: \"127.0.0.1:1\" } } }\n"
               "rollout: { min_healthy_time: 7s }\nenvironments: { prod: { services: { web: { replicas: 4 } "
               "} } }\n" WEB
               "    env_files: a.env\n    env: { T: \"${tag}\", N: 08, B: true, Q: \"5\", D: \"$${x}\" }\n"
               "    command: echo hi\n    platform: { a: 1.10, b: \"1.10\", c: [true, ~] }\n"
               "    expose: { balancer: h, host: x.y }\n");
    const struct tn_plan_options o = {.environment = "prod"};
    struct tn_plan *p = plan_load_with(&o, &(struct tn_problems){0});
    assert_non_null(p);
    assert_null(json_object_get(p->merged, "vars"));
    assert_null(json_object_get(p->merged, "environments"));
    remove("a.env");
    const struct tn_plan_options d = {.document = p->merged, .document_dir = p->dir, .environment = "prod"};
    struct tn_problems problems = {0};
    struct tn_plan *q = plan_load_with(&d, &problems);
    assert_non_null(q);
    assert_true(json_equal(p->merged, q->merged));
    assert_string_equal(p->dir, q->dir);
    assert_string_equal(q->environment, "prod");
    assert_int_equal(q->services[0].replicas, 4);
    assert_int_equal(q->services[0].rollout.min_healthy_time, 7000);
    json_t *a = spec_of(p, "web"), *b = spec_of(q, "web");
    assert_true(json_equal(a, b));
    assert_json(
        json_object_get(b, "env"),
        "{\"B\":\"true\",\"D\":\"${x}\",\"FROM_FILE\":\"$x\",\"N\":\"08\",\"Q\":\"5\",\"T\":\"1.10\"}");
    json_decref(a);
    json_decref(b);
    tn_plan_free(p);
    tn_plan_free(q);
}

static void test_bad_documents(void **state)
{
    (void)state;
    static const char *const bad[] = {"[]", "\"x\"", "{}",
                                      "{\"turnout\":1,\"name\":\"a\",\"clusters\":{},\"services\":5}"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        json_t *doc = json_loads(bad[i], JSON_DECODE_ANY, NULL);
        const struct tn_plan_options o = {.document = doc};
        struct tn_problems p = {0};
        assert_null(plan_load_with(&o, &p));
        assert_true(p.n > 0);
        tn_problems_clear(&p);
        json_decref(doc);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),           cmocka_unit_test(test_spec),
        cmocka_unit_test(test_revision_is_stable), cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_bad_specs),          cmocka_unit_test(test_program_of_a_process),
        cmocka_unit_test(test_document),           cmocka_unit_test(test_bad_documents),
    };
    return cmocka_run_group_tests_name("plan: specs", tests, plan_enter_folder, plan_leave_folder);
}
