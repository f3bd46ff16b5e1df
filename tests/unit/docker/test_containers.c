/* Starts, stops and policies against a scripted engine: what is called, how often, what each answer means. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "world.h"

static struct tn_instance instance(void)
{
    return (struct tn_instance){.name = (char *)"shop-web-1", .id = (char *)ID, .environment = (char *)""};
}

/* ---- start and stop ----------------------------------------------------------------------------------- */

struct start_case {
    const char *name;
    struct fake_row rows[5];
    enum tn_code code;
    int removals;
    const char *message; /* part of it */
};

static const char created[] = "{\"Id\":\"" ID "\",\"Warnings\":[]}";
static const char taken[] = "{\"message\":\"Conflict. The container name is already in use\"}";
static const struct start_case starts[] = {
    {"plain",
     {{"POST /containers/create?name=shop-web-1", 0, 201, created, false, 0},
      {"POST /containers/" ID "/start", 0, 204, NULL, false, 0}},
     TN_OK,
     0,
     NULL},
    {"started already",
     {{"POST /containers/create", 0, 201, created, false, 0},
      {"POST /containers/" ID "/start", 0, 304, NULL, false, 0}},
     TN_OK,
     0,
     NULL},
    {"taken over",
     {{"POST /containers/create", 0, 409, taken, false, 0},
      {"GET /containers/shop-web-1/json", 0, 200, INSPECTED(RUNNING, OURS), false, 0},
      {"POST /containers/" ID "/start", 0, 204, NULL, false, 0}},
     TN_OK,
     0,
     NULL},
    {"other effect",
     {{"POST /containers/create", 0, 409, taken, false, 0},
      {"GET /containers/shop-web-1/json", 0, 200,
       INSPECTED(RUNNING, "{\"turnout.app\":\"shop\",\"turnout.effect\":\"r0/web/9\"}"), false, 0}},
     TN_EEXISTS,
     0,
     "r0/web/9"},
    {"a stranger",
     {{"POST /containers/create", 0, 409, taken, false, 0},
      {"GET /containers/shop-web-1/json", 0, 200, INSPECTED(RUNNING, "{}"), false, 0}},
     TN_ESTRANGER,
     0,
     "0123456789ab"},
    {"another app's container with our effect",
     {{"POST /containers/create", 0, 409, taken, false, 0},
      {"GET /containers/shop-web-1/json", 0, 200,
       INSPECTED(RUNNING, "{\"turnout.app\":\"blog\",\"turnout.effect\":\"r1/web/1\"}"), false, 0}},
     TN_ESTRANGER,
     0,
     "not ours"},
    {"port clash",
     {{"POST /containers/create", 0, 201, created, false, 0},
      {"POST /containers/" ID "/start", 0, 500,
       "{\"message\":\"Bind for 127.0.0.1:20000 failed: port is already allocated\"}", false, 0},
      {"DELETE /containers/" ID, 0, 204, NULL, false, 0}},
     TN_EBUSY,
     1,
     "already allocated"},
    {"refused start",
     {{"POST /containers/create", 0, 201, created, false, 0},
      {"POST /containers/" ID "/start", 0, 400, "{\"message\":\"exec: no such file\"}", false, 0},
      {"DELETE /containers/" ID, 0, 204, NULL, false, 0}},
     TN_EFAIL,
     1,
     "no such file"},
    {"no image",
     {{"POST /containers/create", 0, 404, "{\"message\":\"No such image: x\"}", false, 0}},
     TN_ENOTFOUND,
     0,
     "No such image"},
    {"create unanswered", {{"POST /containers/create", 0, 0, NULL, false, 0}}, TN_EUNKNOWN, 0, NULL},
    {"start unanswered",
     {{"POST /containers/create", 0, 201, created, false, 0},
      {"POST /containers/" ID "/start", 0, 0, NULL, false, 0}},
     TN_EUNKNOWN,
     0,
     NULL},
    {"gone between create and start: it exists",
     {{"POST /containers/create", 0, -201, created, false, 0}},
     TN_EUNKNOWN,
     0,
     "was created"},
};

static void starts_end_as_the_engine_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < TN_COUNT(starts); i++) {
        struct world w;
        world_open(&w, starts[i].rows, NULL);
        int code = w.p->ops->start(w.p, NULL, &w.start, &w.err);
        if (code != (int)starts[i].code)
            fail_msg("%s: %d %s", starts[i].name, code, tn_error_message(w.err));
        if (starts[i].message != NULL && strstr(w.err->message, starts[i].message) == NULL)
            fail_msg("%s: %s", starts[i].name, w.err->message);
        assert_int_equal(fake_engine_count(w.engine, "DELETE"), starts[i].removals);
        assert_int_equal(fake_engine_count(w.engine, "POST /containers/create"), 1);
        world_close(&w);
    }
}

static void networks_and_volumes_are_made_once(void **state)
{
    (void)state;
    static const struct fake_row rows[] = {
        {"GET /networks/back", 1, 404, "{\"message\":\"not found\"}", false, 0},
        {"POST /networks/create", 0, 201, "{}", false, 0},
        {"GET /networks/theirs", 0, 200, "{}", false, 0},
        {"POST /volumes/create", 0, 201, "{}", false, 0},
        {"POST /containers/create", 0, 201, "{\"Id\":\"" ID "\"}", false, 0},
        {"POST /networks/theirs/connect", 0, 200, NULL, false, 0},
        {"POST /containers/" ID "/start", 0, 204, NULL, false, 0},
        {0},
    };
    struct world w;
    world_open(&w, rows, NULL);
    struct tn_network networks[] = {{(char *)"back", {0}}, {(char *)"theirs", {0}}};
    char *volumes[] = {(char *)"data:/data"};
    w.service.networks = networks;
    w.service.n_networks = 2;
    w.service.volumes = (struct tn_strings){volumes, 1};
    assert_int_equal(w.p->ops->start(w.p, NULL, &w.start, &w.err), TN_OK);
    assert_int_equal(w.p->ops->start(w.p, NULL, &w.start, &w.err), TN_OK);
    assert_int_equal(fake_engine_count(w.engine, "POST /networks/create"), 1);
    assert_int_equal(fake_engine_count(w.engine, "POST /volumes/create"), 1);
    assert_int_equal(fake_engine_count(w.engine, "POST /networks/theirs/connect"), 2);
    assert_non_null(strstr(fake_engine_body(w.engine, "POST /networks/create"), "\"turnout.app\":\"shop\""));
    char *bad[] = {(char *)"data"};
    w.service.volumes = (struct tn_strings){bad, 1};
    assert_int_equal(w.p->ops->start(w.p, NULL, &w.start, &w.err), TN_EPLAN);
    world_close(&w);
}

static void stopping_is_policy_stop_remove(void **state)
{
    (void)state;
    static const struct fake_row rows[] = {
        {"GET /containers/" ID "/json", 1, 200, INSPECTED(RUNNING, OURS), false, 0},
        {"POST /containers/" ID "/update", 0, 200, "{}", false, 0},
        {"POST /containers/" ID "/stop?t=2", 0, 204, NULL, false, 0},
        {"DELETE /containers/" ID "?v=1&force=0", 0, 409,
         "{\"message\":\"removal of container is already in progress\"}", false, 0},
        {"GET /containers/" ID "/json", 2, 200, INSPECTED(RUNNING, OURS), false, 0},
        {"GET /containers/" ID "/json", 0, 404, "{}", false, 0},
        {0},
    };
    struct world w;
    world_open(&w, rows, NULL);
    struct tn_instance i = instance();
    assert_int_equal(w.p->ops->stop(w.p, NULL, &i, "SIGTERM", 1500, &w.err), TN_OK);
    assert_string_equal(w.engine->log[2], "POST /containers/" ID "/update");
    assert_string_equal(w.engine->bodies[2], "{\"RestartPolicy\":{\"Name\":\"no\"}}");
    assert_string_equal(w.engine->log[3], "POST /containers/" ID "/stop?t=2");
    assert_int_equal(fake_engine_count(w.engine, "GET /containers/" ID "/json"), 4);
    assert_int_equal(fake_engine_count(w.engine, "DELETE"), 1);
    /* absent: nothing more to do */
    assert_int_equal(w.p->ops->stop(w.p, NULL, &i, "SIGTERM", 1500, &w.err), TN_OK);
    assert_int_equal(fake_engine_count(w.engine, "DELETE"), 1);
    world_close(&w);
}

static void a_newer_engine_is_told_the_signal(void **state)
{
    (void)state;
    static const struct fake_row rows[] = {
        {"GET /containers/" ID "/json", 0, 200, INSPECTED(RUNNING, OURS), false, 0},
        {"POST /containers/" ID "/update", 0, 200, "{}", false, 0},
        {"POST /containers/" ID "/stop?t=10&signal=SIGQUIT", 0, 304, NULL, false, 0},
        {"DELETE /containers/" ID, 0, 404, "{}", false, 0},
        {0},
    };
    struct world w;
    world_open(&w, rows, "1.99");
    struct tn_instance i = instance();
    assert_int_equal(w.p->ops->stop(w.p, NULL, &i, "SIGQUIT", 10000, &w.err), TN_OK);
    assert_int_equal(fake_engine_count(w.engine, "POST /containers/" ID "/stop?t=10&signal=SIGQUIT"), 1);
    assert_int_equal(tn_docker_of(w.p)->engines[0].api, TN_DOCKER_API_NEWEST);
    world_close(&w);
}

static void strangers_are_never_removed(void **state)
{
    (void)state;
    static const char *const labels[] = {
        INSPECTED(RUNNING, "{}"),
        INSPECTED(RUNNING, "{\"turnout.app\":\"blog\"}"),
        INSPECTED(RUNNING, "{\"turnout.app\":\"shop\",\"turnout.env\":\"prod\"}"),
    };
    for (size_t k = 0; k < TN_COUNT(labels); k++) {
        struct fake_row rows[] = {{"GET /containers/" ID "/json", 0, 200, labels[k], false, 0}, {0}};
        struct world w;
        world_open(&w, rows, NULL);
        struct tn_instance i = instance();
        assert_int_equal(w.p->ops->stop(w.p, NULL, &i, "SIGTERM", 1000, &w.err), TN_ESTRANGER);
        assert_int_equal(fake_engine_count(w.engine, "POST"), 0);
        assert_int_equal(fake_engine_count(w.engine, "DELETE"), 0);
        world_close(&w);
    }
}

/* The alias is joined when the policy is handed over: out and in again where it was in the network without it. */
static void aliases_come_with_the_policy(void **state)
{
    (void)state;
    static const struct fake_row rows[] = {
        {"GET /containers/" ID "/json", 1, 200,
         "{\"Id\":\"" ID "\",\"State\":" RUNNING ",\"NetworkSettings\":{\"Networks\":{\"names\":{\"Aliases\":"
         "[\"0123456789ab\"]}}}}",
         false, 0},
        {"GET /containers/" ID "/json", 0, 200,
         "{\"Id\":\"" ID "\",\"State\":" RUNNING ",\"NetworkSettings\":{\"Networks\":{\"names\":{\"Aliases\":"
         "[\"api\",\"0123456789ab\"]}}}}",
         false, 0},
        {"POST /networks/names/disconnect", 0, 200, NULL, false, 0},
        {"POST /networks/names/connect", 0, 200, NULL, false, 0},
        {"POST /containers/" ID "/update", 0, 200, "{}", false, 0},
        {0},
    };
    struct world w;
    world_open(&w, rows, NULL);
    struct tn_instance i = instance();
    i.service = (char *)"web";
    i.spec = (char *)"{\"image\":\"web:1\",\"networks\":{\"names\":{\"aliases\":[\"api\"]}}}";
    assert_int_equal(w.p->ops->set_restart(w.p, NULL, &i, "no", &w.err), TN_OK);
    assert_int_equal(fake_engine_count(w.engine, "POST /networks"), 0);
    assert_int_equal(w.p->ops->set_restart(w.p, NULL, &i, "always", &w.err), TN_OK);
    assert_int_equal(fake_engine_count(w.engine, "POST /networks/names/disconnect"), 1);
    assert_int_equal(fake_engine_count(w.engine, "POST /networks/names/connect"), 1);
    assert_non_null(strstr(fake_engine_body(w.engine, "POST /networks/names/connect"), "\"api\""));
    assert_int_equal(w.p->ops->set_restart(w.p, NULL, &i, "always", &w.err), TN_OK);
    assert_int_equal(fake_engine_count(w.engine, "POST /networks"), 2);
    world_close(&w);
}

/* A caller that did not keep the spec: the label has it. */
static void the_spec_is_read_from_the_label(void **state)
{
    (void)state;
    static const struct fake_row rows[] = {
        {"GET /containers/" ID "/json", 0, 200,
         INSPECTED(RUNNING,
                   "{\"turnout.spec\":\"{\\\"networks\\\":{\\\"n\\\":{\\\"aliases\\\":[\\\"api\\\"]}}}\"}"),
         false, 0},
        {"POST /networks/n/connect", 0, 200, NULL, false, 0},
        {"POST /containers/" ID "/update", 0, 200, "{}", false, 0},
        {0},
    };
    struct world w;
    world_open(&w, rows, NULL);
    struct tn_instance i = instance();
    i.service = (char *)"web";
    assert_int_equal(w.p->ops->set_restart(w.p, NULL, &i, "always", &w.err), TN_OK);
    assert_int_equal(fake_engine_count(w.engine, "POST /networks/n/connect"), 1);
    world_close(&w);
}

static void a_policy_that_is_set_is_remembered(void **state)
{
    (void)state;
    static const struct fake_row rows[] = {{"GET /containers/json", 0, 200, LISTED, false, 0},
                                           {"POST /containers/" ID "/update", 0, 200, "{}", false, 0},
                                           {0}};
    struct world w;
    world_open(&w, rows, NULL);
    struct tn_instance i = instance();
    i.spec = (char *)"{}";
    assert_int_equal(w.p->ops->set_restart(w.p, NULL, &i, "unless-stopped", &w.err), TN_OK);
    struct tn_observation o;
    assert_int_equal(w.p->ops->observe(w.p, NULL, "shop", &o, &w.err), TN_OK);
    assert_string_equal(o.v[0].restart_policy, "unless-stopped");
    o.v[0].spec = tn_strdup("{}");
    assert_int_equal(w.p->ops->set_restart(w.p, NULL, &o.v[0], "unless-stopped", &w.err), TN_OK);
    assert_int_equal(fake_engine_count(w.engine, "POST"), 1);
    tn_observation_clear(&o);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_end_as_the_engine_says),
        cmocka_unit_test(networks_and_volumes_are_made_once),
        cmocka_unit_test(stopping_is_policy_stop_remove),
        cmocka_unit_test(a_newer_engine_is_told_the_signal),
        cmocka_unit_test(strangers_are_never_removed),
        cmocka_unit_test(aliases_come_with_the_policy),
        cmocka_unit_test(the_spec_is_read_from_the_label),
        cmocka_unit_test(a_policy_that_is_set_is_remembered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
