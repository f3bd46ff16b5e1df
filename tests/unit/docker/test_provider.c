/* The docker provider against an engine that answers by a script: what is called, how often, and what each answer
 * means. Real engines are met in tests/e2e.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_engine.h"
#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "lib/base/text.h"
#include "lib/provider/docker/docker.h"
#include "lib/provider/docker/request.h"

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define IMAGE "r.example/web@sha256:" ID

struct world {
    struct fake_engine *engine;
    struct tn_http *http;
    struct tn_cancel *cancel;
    struct tn_host_ref hosts[2];
    struct tn_cluster cluster;
    struct tn_plan plan;
    struct tn_provider *p;
    struct tn_service service;
    struct tn_start start;
    struct tn_error *err;
};

static void open_world(struct world *w, const struct fake_row *rows, const char *api_version)
{
    *w = (struct world){.cluster = {.name = (char *)"web"}, .plan = {.name = (char *)"shop", .dir = (char *)"/tmp"}};
    w->engine = fake_engine_new(rows, api_version);
    w->cancel = tn_cancel_new();
    w->http = tn_http_new(w->cancel, NULL);
    w->hosts[0].url = w->engine->url;
    w->cluster.docker.hosts = w->hosts;
    w->cluster.docker.n_hosts = 1;
    w->p = tn_docker_open(&w->plan, &w->cluster, w->http, &w->err);
    assert_non_null(w->p);
    w->service = (struct tn_service){
        .name = (char *)"web", .image = (char *)IMAGE, .pull = (char *)"missing", .restart = (char *)"always"};
    w->start = (struct tn_start){.name = "shop-web-1",
                                 .spec = &w->service,
                                 .spec_json = "{}",
                                 .app = "shop",
                                 .service = "web",
                                 .cluster = "web",
                                 .revision = "abc",
                                 .rollout = "r1",
                                 .effect = "r1/web/1"};
}

static void close_world(struct world *w)
{
    tn_provider_free(w->p);
    tn_http_free(w->http);
    tn_cancel_free(w->cancel);
    fake_engine_free(w->engine);
    tn_error_clear(&w->err);
}

#define LISTED                                                                                               \
    "[{\"Id\":\"" ID "\",\"Names\":[\"/shop-web-1\"],\"State\":\"running\",\"Status\":\"Up 2 seconds\",\"Labels\":" \
    "{\"turnout.service\":\"web\",\"turnout.revision\":\"abc\"}}]"
#define INSPECTED(state, labels)                                                                             \
    "{\"Id\":\"" ID "\",\"State\":" state ",\"Config\":{\"Labels\":" labels "},\"HostConfig\":{\"RestartPolicy\":" \
    "{\"Name\":\"always\"}}}"
#define RUNNING "{\"Status\":\"running\",\"Running\":true,\"ExitCode\":0}"
#define OURS "{\"turnout.app\":\"shop\",\"turnout.env\":\"\",\"turnout.effect\":\"r1/web/1\"}"

static struct tn_instance instance(void)
{
    return (struct tn_instance){.name = (char *)"shop-web-1", .id = (char *)ID, .environment = (char *)""};
}

/* ---- versions and addresses -------------------------------------------------------------------------- */

static void an_engine_that_is_too_old_is_refused_by_name(void **state)
{
    (void)state;
    static const struct fake_row rows[] = {{0}};
    struct world w;
    open_world(&w, rows, "1.39");
    struct tn_observation o;
    assert_int_equal(w.p->ops->observe(w.p, NULL, "shop", &o, &w.err), TN_OK);
    assert_false(o.hosts[0].answered);
    tn_autofree char *expected =
        tn_format("engine '%s': speaks API 1.39, turnout needs 1.40 or newer", w.engine->url);
    assert_string_equal(o.hosts[0].error, expected);
    tn_observation_clear(&o);
    close_world(&w);
}

static void addresses_are_checked_at_open(void **state)
{
    (void)state;
    static const struct {
        const char *url, *tls;
        enum tn_code code;
    } cases[] = {
        {"tcp://10.0.0.9:2375", NULL, TN_EPLAN},  {"tcp://10.0.0.9:2376", "certs", TN_OK},
        {"tcp://127.0.0.1:2375", NULL, TN_OK},    {"tcp://localhost:2375", NULL, TN_OK},
        {"tcp://[::1]:2375", NULL, TN_OK},        {"tcp://10.0.0.9", "certs", TN_EPLAN},
        {"tcp://:2376", "certs", TN_EPLAN},       {"tcp://h:0", "certs", TN_EPLAN},
        {"ssh://h", NULL, TN_EUNSUPPORTED},       {"http://h:1", NULL, TN_EUNSUPPORTED},
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
        {"unix:///s", NULL, NULL, "127.0.0.1"},     {"unix:///s", NULL, "0.0.0.0", "127.0.0.1"},
        {"unix:///s", NULL, "10.0.0.5", "10.0.0.5"}, {"unix:///s", "10.0.0.6", "10.0.0.5", "10.0.0.6"},
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
    static const struct fake_row rows[] = {{"GET /containers/json?all=1&filters=", 0, 200, LISTED, false, 0}, {0}};
    struct world w;
    open_world(&w, rows, NULL);
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
    close_world(&w);
}

static void a_host_that_does_not_answer_is_unknown(void **state)
{
    (void)state;
    static const struct fake_row rows[] = {{"GET /containers/json", 0, 200, LISTED, false, 0}, {0}};
    struct world w;
    open_world(&w, rows, NULL);
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
    close_world(&w);
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
    open_world(&w, rows, NULL);
    for (int i = 0; i < 4; i++) {
        struct tn_observation o;
        assert_int_equal(w.p->ops->observe(w.p, NULL, "shop", &o, &w.err), TN_OK);
        assert_false(o.hosts[0].answered);
        assert_int_equal(o.n, 0);
        tn_observation_clear(&o);
    }
    close_world(&w);
}

static void the_cause_of_an_end_is_looked_up(void **state)
{
    (void)state;
    static const struct fake_row rows[] = {
        {"GET /containers/json", 0, 200,
         "[{\"Id\":\"" ID "\",\"Names\":[\"/a\"],\"State\":\"exited\",\"Status\":\"Exited (137) 1 second ago\","
         "\"Labels\":{\"turnout.service\":\"web\",\"turnout.revision\":\"abc\"}}]",
         false, 0},
        {"GET /containers/" ID "/json", 0, 200,
         INSPECTED("{\"Status\":\"exited\",\"OOMKilled\":true,\"ExitCode\":137,\"Error\":\"why\"}", OURS), false, 0},
        {0},
    };
    struct world w;
    open_world(&w, rows, NULL);
    struct tn_observation o;
    assert_int_equal(w.p->ops->observe(w.p, NULL, "shop", &o, &w.err), TN_OK);
    assert_true(o.v[0].oom_killed);
    assert_string_equal(o.v[0].detail, "why");
    assert_string_equal(o.v[0].restart_policy, "always");
    tn_observation_clear(&o);
    close_world(&w);
}

/* ---- start and stop ----------------------------------------------------------------------------------- */

struct start_case {
    const char *name;
    struct fake_row rows[5];
    enum tn_code code;
    int removals;
    const char *message; /* part of it */
};

static void starts_end_as_the_engine_says(void **state)
{
    (void)state;
    static const char created[] = "{\"Id\":\"" ID "\",\"Warnings\":[]}";
    static const char taken[] = "{\"message\":\"Conflict. The container name is already in use\"}";
    static const struct start_case cases[] = {
        {"plain",
         {{"POST /containers/create?name=shop-web-1", 0, 201, created, false, 0},
          {"POST /containers/" ID "/start", 0, 204, NULL, false, 0}},
         TN_OK, 0, NULL},
        {"started already",
         {{"POST /containers/create", 0, 201, created, false, 0},
          {"POST /containers/" ID "/start", 0, 304, NULL, false, 0}},
         TN_OK, 0, NULL},
        {"taken over",
         {{"POST /containers/create", 0, 409, taken, false, 0},
          {"GET /containers/shop-web-1/json", 0, 200, INSPECTED(RUNNING, OURS), false, 0},
          {"POST /containers/" ID "/start", 0, 204, NULL, false, 0}},
         TN_OK, 0, NULL},
        {"other effect",
         {{"POST /containers/create", 0, 409, taken, false, 0},
          {"GET /containers/shop-web-1/json", 0, 200,
           INSPECTED(RUNNING, "{\"turnout.app\":\"shop\",\"turnout.effect\":\"r0/web/9\"}"), false, 0}},
         TN_EEXISTS, 0, "r0/web/9"},
        {"a stranger",
         {{"POST /containers/create", 0, 409, taken, false, 0},
          {"GET /containers/shop-web-1/json", 0, 200, INSPECTED(RUNNING, "{}"), false, 0}},
         TN_ESTRANGER, 0, "0123456789ab"},
        {"another app's container with our effect",
         {{"POST /containers/create", 0, 409, taken, false, 0},
          {"GET /containers/shop-web-1/json", 0, 200,
           INSPECTED(RUNNING, "{\"turnout.app\":\"blog\",\"turnout.effect\":\"r1/web/1\"}"), false, 0}},
         TN_ESTRANGER, 0, "not ours"},
        {"port clash",
         {{"POST /containers/create", 0, 201, created, false, 0},
          {"POST /containers/" ID "/start", 0, 500,
           "{\"message\":\"Bind for 127.0.0.1:20000 failed: port is already allocated\"}", false, 0},
          {"DELETE /containers/" ID, 0, 204, NULL, false, 0}},
         TN_EBUSY, 1, "already allocated"},
        {"refused start",
         {{"POST /containers/create", 0, 201, created, false, 0},
          {"POST /containers/" ID "/start", 0, 400, "{\"message\":\"exec: no such file\"}", false, 0},
          {"DELETE /containers/" ID, 0, 204, NULL, false, 0}},
         TN_EFAIL, 1, "no such file"},
        {"no image", {{"POST /containers/create", 0, 404, "{\"message\":\"No such image: x\"}", false, 0}},
         TN_ENOTFOUND, 0, "No such image"},
        {"create unanswered", {{"POST /containers/create", 0, 0, NULL, false, 0}}, TN_EUNKNOWN, 0, NULL},
        {"start unanswered",
         {{"POST /containers/create", 0, 201, created, false, 0},
          {"POST /containers/" ID "/start", 0, 0, NULL, false, 0}},
         TN_EUNKNOWN, 0, NULL},
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        struct world w;
        open_world(&w, cases[i].rows, NULL);
        int code = w.p->ops->start(w.p, NULL, &w.start, &w.err);
        if (code != (int)cases[i].code)
            fail_msg("%s: %d %s", cases[i].name, code, tn_error_message(w.err));
        if (cases[i].message != NULL && strstr(w.err->message, cases[i].message) == NULL)
            fail_msg("%s: %s", cases[i].name, w.err->message);
        assert_int_equal(fake_engine_count(w.engine, "DELETE"), cases[i].removals);
        assert_int_equal(fake_engine_count(w.engine, "POST /containers/create"), 1);
        close_world(&w);
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
    open_world(&w, rows, NULL);
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
    close_world(&w);
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
    open_world(&w, rows, NULL);
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
    close_world(&w);
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
    open_world(&w, rows, "1.99");
    struct tn_instance i = instance();
    assert_int_equal(w.p->ops->stop(w.p, NULL, &i, "SIGQUIT", 10000, &w.err), TN_OK);
    assert_int_equal(tn_docker_of(w.p)->engines[0].api, TN_DOCKER_API_NEWEST);
    close_world(&w);
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
        open_world(&w, rows, NULL);
        struct tn_instance i = instance();
        assert_int_equal(w.p->ops->stop(w.p, NULL, &i, "SIGTERM", 1000, &w.err), TN_ESTRANGER);
        assert_int_equal(fake_engine_count(w.engine, "POST"), 0);
        assert_int_equal(fake_engine_count(w.engine, "DELETE"), 0);
        close_world(&w);
    }
}

static void a_policy_that_is_set_is_remembered(void **state)
{
    (void)state;
    static const struct fake_row rows[] = {{"GET /containers/json", 0, 200, LISTED, false, 0},
                                           {"POST /containers/" ID "/update", 0, 200, "{}", false, 0},
                                           {0}};
    struct world w;
    open_world(&w, rows, NULL);
    struct tn_instance i = instance();
    assert_int_equal(w.p->ops->set_restart(w.p, NULL, &i, "unless-stopped", &w.err), TN_OK);
    struct tn_observation o;
    assert_int_equal(w.p->ops->observe(w.p, NULL, "shop", &o, &w.err), TN_OK);
    assert_string_equal(o.v[0].restart_policy, "unless-stopped");
    assert_int_equal(w.p->ops->set_restart(w.p, NULL, &o.v[0], "unless-stopped", &w.err), TN_OK);
    assert_int_equal(fake_engine_count(w.engine, "POST"), 1);
    tn_observation_clear(&o);
    close_world(&w);
}

/* ---- images ------------------------------------------------------------------------------------------- */

struct pull_case {
    const char *name;
    struct fake_row rows[5];
    enum tn_code code;
    int pulls;
    const char *message;
};

/* S26: HTTP 200 proves nothing. S27: a rate limit is not answered with more requests. */
static void S26_S27_a_pull_counts_when_the_engine_has_the_digest(void **state)
{
    (void)state;
    static const char good[] = "{\"status\":\"Pulling\"}\r\n{\"status\":\"Done\"}\r\n";
    static const struct pull_case cases[] = {
        {"present already", {{"GET /images/" IMAGE, 0, 200, "{}", false, 0}}, TN_OK, 0, NULL},
        {"pulled",
         {{"GET /images/" IMAGE, 1, 404, "{}", false, 0},
          {"POST /images/create?fromImage=r.example%2Fweb&tag=sha256%3A" ID, 0, 200, good, false, 0},
          {"GET /images/" IMAGE, 1, 200, "{}", false, 0}},
         TN_OK, 1, NULL},
        {"error in the stream",
         {{"GET /images/" IMAGE, 0, 404, "{}", false, 0},
          {"POST /images/create", 0, 200, "{\"status\":\"a\"}\n{\"errorDetail\":{\"message\":\"no space left\"}}",
           false, 0}},
         TN_EFAIL, 1, "no space left"},
        {"stream cut by the connection",
         {{"GET /images/" IMAGE, 0, 404, "{}", false, 0}, {"POST /images/create", 0, 200, good, true, 0}},
         TN_EUNKNOWN, 1, "pull of image"},
        {"stream cut in an object",
         {{"GET /images/" IMAGE, 0, 404, "{}", false, 0},
          {"POST /images/create", 0, 200, "{\"status\":\"a\"}\n{\"sta", false, 0}},
         TN_EPROTO, 1, "ended in the middle"},
        {"200, but not there",
         {{"GET /images/" IMAGE, 0, 404, "{\"message\":\"No such image\"}", false, 0},
          {"POST /images/create", 0, 200, good, false, 0}},
         TN_ENOTFOUND, 1, "pulled, but engine"},
        {"5xx, then well",
         {{"GET /images/" IMAGE, 1, 404, "{}", false, 0},
          {"POST /images/create", 2, 503, "{\"message\":\"busy\"}", false, 0},
          {"POST /images/create", 0, 200, good, false, 0},
          {"GET /images/" IMAGE, 1, 200, "{}", false, 0}},
         TN_OK, 3, NULL},
        {"5xx for good",
         {{"GET /images/" IMAGE, 0, 404, "{}", false, 0},
          {"POST /images/create", 0, 500, "{\"message\":\"busy\"}", false, 0}},
         TN_EFAIL, 3, "busy"},
        {"rate limit",
         {{"GET /images/" IMAGE, 0, 404, "{}", false, 0},
          {"POST /images/create", 0, 500, "{\"message\":\"toomanyrequests: slow down\"}", false, 0}},
         TN_EFAIL, 1, "too many requests"},
        {"not found",
         {{"GET /images/" IMAGE, 0, 404, "{}", false, 0},
          {"POST /images/create", 0, 404, "{\"message\":\"manifest unknown\"}", false, 0}},
         TN_ENOTFOUND, 1, "manifest unknown"},
        {"login",
         {{"GET /images/" IMAGE, 0, 404, "{}", false, 0},
          {"POST /images/create", 0, 500, "{\"message\":\"unauthorized: authentication required\"}", false, 0}},
         TN_EAUTH, 1, "wants a login"},
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        struct world w;
        open_world(&w, cases[i].rows, NULL);
        int code = w.p->ops->prepare(w.p, NULL, &w.service, IMAGE, NULL, NULL, &w.err);
        if (code != (int)cases[i].code)
            fail_msg("%s: %d %s", cases[i].name, code, tn_error_message(w.err));
        if (cases[i].message != NULL && strstr(w.err->message, cases[i].message) == NULL)
            fail_msg("%s: %s", cases[i].name, w.err->message);
        if (fake_engine_count(w.engine, "POST /images/create") != cases[i].pulls)
            fail_msg("%s: %d pulls", cases[i].name, fake_engine_count(w.engine, "POST /images/create"));
        close_world(&w);
    }
}

struct resolve_case {
    const char *name, *image, *pull;
    struct fake_row rows[3];
    const char *expected;
    enum tn_code code;
    bool note;
    int calls;
};

static void tags_become_digests(void **state)
{
    (void)state;
    static const char descriptor[] = "{\"Descriptor\":{\"digest\":\"sha256:" ID "\"}}";
    static const char local[] = "{\"Id\":\"sha256:" ID "\",\"RepoDigests\":[\"r.example/web@sha256:77\"]}";
    static const char unpushed[] = "{\"Id\":\"sha256:" ID "\",\"RepoDigests\":[]}";
    static const char down[] = "{\"message\":\"dial tcp: connection refused\"}";
    static const struct resolve_case cases[] = {
        {"digest", IMAGE, "always", {{0}}, IMAGE, TN_OK, false, 0},
        {"id", "sha256:" ID, "missing", {{0}}, "sha256:" ID, TN_OK, false, 0},
        {"local", "r.example/web:1", "missing", {{"GET /images/r.example/web:1/json", 0, 200, local, false, 0}},
         "r.example/web@sha256:77", TN_OK, false, 1},
        {"local, never pushed", "r.example/web:1", "missing", {{"GET /images/", 0, 200, unpushed, false, 0}},
         "sha256:" ID, TN_OK, true, 1},
        {"always", "r.example/web:1", "always",
         {{"GET /distribution/r.example/web:1/json", 0, 200, descriptor, false, 0}}, IMAGE, TN_OK, false, 1},
        {"always, registry down", "r.example/web:1", "always",
         {{"GET /distribution/", 0, 500, down, false, 0}, {"GET /images/", 0, 200, local, false, 0}},
         "r.example/web@sha256:77", TN_OK, true, 2},
        {"missing, not local", "r.example/web:1", "missing",
         {{"GET /images/", 0, 404, "{}", false, 0}, {"GET /distribution/", 0, 200, descriptor, false, 0}}, IMAGE,
         TN_OK, false, 2},
        {"nowhere", "r.example/web:1", "missing",
         {{"GET /images/", 0, 404, "{}", false, 0}, {"GET /distribution/", 0, 500, down, false, 0}}, NULL,
         TN_ENOTFOUND, false, 2},
        {"never", "r.example/web:1", "never", {{"GET /images/", 0, 404, "{}", false, 0}}, NULL, TN_ENOTFOUND, false,
         1},
        {"login", "r.example/web:1", "always",
         {{"GET /distribution/", 0, 401, "{\"message\":\"unauthorized\"}", false, 0},
          {"GET /images/", 0, 200, local, false, 0}},
         NULL, TN_EAUTH, false, 1},
        {"no digest in it", "r.example/web:1", "missing",
         {{"GET /images/", 0, 404, "{}", false, 0},
          {"GET /distribution/", 0, 200, "{\"Descriptor\":{\"digest\":\"x\"}}", false, 0}},
         NULL, TN_EPROTO, false, 2},
        {"no reference", "Web", "missing", {{0}}, NULL, TN_EPLAN, false, 0},
    };
    setenv("DOCKER_CONFIG", "/nonexistent", 1);
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        struct world w;
        open_world(&w, cases[i].rows, NULL);
        w.service.image = (char *)(uintptr_t)cases[i].image;
        w.service.pull = (char *)(uintptr_t)cases[i].pull;
        tn_autofree char *note = NULL;
        tn_autofree char *got = w.p->ops->resolve(w.p, NULL, &w.service, &note, &w.err);
        if (!tn_streq(got, cases[i].expected) || (note != NULL) != cases[i].note)
            fail_msg("%s: %s, note %s, %s", cases[i].name, got, note, tn_error_message(w.err));
        if (got == NULL)
            assert_int_equal(w.err->code, cases[i].code);
        int pings = fake_engine_count(w.engine, "GET /_ping");
        assert_int_equal(w.engine->n_log - pings, cases[i].calls);
        assert_int_equal(fake_engine_count(w.engine, "POST"), 0);
        close_world(&w);
    }
}

/* ---- documents and tasks ------------------------------------------------------------------------------ */

#define THEIRS                                                                                               \
    "{\"Name\":\"turnout-lease\",\"Labels\":{\"turnout.doc\":\"lease\",\"turnout.doc.body\":\"{\\\"holder\\\":"     \
    "\\\"x\\\"}\",\"turnout.doc.nonce\":\"other\"}}"

static void a_document_that_exists_is_handed_out(void **state)
{
    (void)state;
    static const struct fake_row rows[] = {{"POST /volumes/create", 1, 201, THEIRS, false, 0},
                                           {"POST /volumes/create", 1, 201, "{\"Name\":\"v\",\"Labels\":{}}", false, 0},
                                           {"POST /volumes/create", 1, 0, NULL, false, 0},
                                           {"GET /volumes/turnout-lease", 1, 200, THEIRS, false, 0},
                                           {"POST /volumes/create", 1, 0, NULL, false, 0},
                                           {"GET /volumes/turnout-lease", 1, 404, "{}", false, 0},
                                           {0}};
    struct world w;
    open_world(&w, rows, NULL);
    json_t *body = json_pack("{s:s}", "holder", "me"), *existing = NULL;
    assert_int_equal(w.p->ops->doc_create(w.p, NULL, 0, "lease", body, &existing, &w.err), TN_EEXISTS);
    assert_string_equal(json_string_value(json_object_get(existing, "holder")), "x");
    json_decref(existing);
    assert_int_equal(w.p->ops->doc_create(w.p, NULL, 0, "lease", body, NULL, &w.err), TN_ESTRANGER);
    /* No answer: looked up. Somebody else has it; then: nobody has it, so what became of ours is unknown. */
    assert_int_equal(w.p->ops->doc_create(w.p, NULL, 0, "lease", body, NULL, &w.err), TN_EEXISTS);
    assert_int_equal(w.p->ops->doc_create(w.p, NULL, 0, "lease", body, NULL, &w.err), TN_EUNKNOWN);
    json_decref(body);
    close_world(&w);
}

static void a_task_that_ran_is_read_not_repeated(void **state)
{
    (void)state;
    static const struct fake_row rows[] = {
        {"POST /containers/create?name=shop-hook-r1-web-1", 0, 409, "{}", false, 0},
        {"GET /containers/shop-hook-r1-web-1/json", 0, 200,
         INSPECTED("{\"Status\":\"exited\",\"Running\":false,\"ExitCode\":3}", OURS), false, 0},
        {"GET /containers/" ID "/json", 0, 200,
         INSPECTED("{\"Status\":\"exited\",\"Running\":false,\"ExitCode\":3}", OURS), false, 0},
        {"POST /containers/" ID "/wait", 0, 200, "{\"StatusCode\":3}", false, 0},
        {"GET /containers/" ID "/logs", 0, 200, "", false, 0},
        {"DELETE /containers/" ID, 0, 204, NULL, false, 0},
        {0},
    };
    struct world w;
    open_world(&w, rows, NULL);
    const char *argv[] = {"migrate", NULL};
    struct tn_run_result r = {0};
    assert_int_equal(w.p->ops->task(w.p, NULL, &w.start, argv, 1000, &r, &w.err), TN_OK);
    assert_int_equal(r.exit_code, 3);
    assert_int_equal(fake_engine_count(w.engine, "POST /containers/" ID "/start"), 0);
    assert_int_equal(fake_engine_count(w.engine, "DELETE"), 1);
    tn_buf_clear(&r.out);
    tn_buf_clear(&r.err_text);
    close_world(&w);
}

static void a_port_that_somebody_holds_is_taken(void **state)
{
    (void)state;
    static const struct fake_row rows[] = {{0}};
    struct world w;
    open_world(&w, rows, NULL);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    assert_true(w.p->ops->port_taken(w.p, 0, ntohs(a.sin_port)));
    close(fd);
    assert_false(w.p->ops->port_taken(w.p, 0, ntohs(a.sin_port)));
    close_world(&w);
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
        cmocka_unit_test(starts_end_as_the_engine_says),
        cmocka_unit_test(networks_and_volumes_are_made_once),
        cmocka_unit_test(stopping_is_policy_stop_remove),
        cmocka_unit_test(a_newer_engine_is_told_the_signal),
        cmocka_unit_test(strangers_are_never_removed),
        cmocka_unit_test(a_policy_that_is_set_is_remembered),
        cmocka_unit_test(S26_S27_a_pull_counts_when_the_engine_has_the_digest),
        cmocka_unit_test(tags_become_digests),
        cmocka_unit_test(a_document_that_exists_is_handed_out),
        cmocka_unit_test(a_task_that_ran_is_read_not_repeated),
        cmocka_unit_test(a_port_that_somebody_holds_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
