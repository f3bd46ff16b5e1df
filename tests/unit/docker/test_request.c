/* Requests are compared as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "turnout/mem.h"
#include "turnout/text.h"
#include "lib/provider/docker/request.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static char *as_text(json_t *o)
{
    char *text = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(o);
    return text;
}

static void assert_text(char *got, const char *expected)
{
    assert_string_equal(got, expected);
    free(got);
}

static struct tn_start start_of(const struct tn_service *s)
{
    struct tn_start st = {.name = "shop-web-1",
                          .spec = s,
                          .spec_json = "{}",
                          .app = "shop",
                          .environment = "",
                          .service = "web",
                          .cluster = "c",
                          .revision = "abc",
                          .rollout = "r1",
                          .effect = "r1/web/1",
                          .secret_hashes = "{}",
                          .dir = "/plan"};
    return st;
}

static void paths_are_escaped(void **state)
{
    (void)state;
    assert_text(tn_docker_path_list("shop", "web"),
                "/containers/json?all=1&filters=%7B%22label%22%3A%5B%22turnout.app%3Dshop%22%2C"
                "%22turnout.cluster%3Dweb%22%5D%7D");
    assert_text(tn_docker_path_docs(), "/volumes?filters=%7B%22label%22%3A%5B%22turnout.doc%22%5D%7D");
    assert_text(tn_docker_path_pull("r.io:5000/shop/web@sha256:" HEX64),
                "/images/create?fromImage=r.io%3A5000%2Fshop%2Fweb&tag=sha256%3A" HEX64);
    assert_text(tn_docker_path_pull("r.io:5000/web:1"), "/images/create?fromImage=r.io%3A5000%2Fweb&tag=1");
    /* Never without a tag: that pulls all of them. */
    assert_text(tn_docker_path_pull("r.io:5000/web"),
                "/images/create?fromImage=r.io%3A5000%2Fweb&tag=latest");
    assert_text(tn_docker_path_logs("ab", 20, true),
                "/containers/ab/logs?stdout=1&stderr=1&follow=1&tail=20");
    assert_text(tn_docker_path_logs("ab", -1, false),
                "/containers/ab/logs?stdout=1&stderr=1&follow=0&tail=all");
    assert_text(tn_docker_escape("a b&c=\xc3\xa4"), "a%20b%26c%3D%C3%A4");
}

static void the_smallest_container(void **state)
{
    (void)state;
    struct tn_service s = {
        .name = "web", .image = "web:1", .stop = {.signal = (char *)"SIGTERM", .grace = 1500}};
    struct tn_start st = start_of(&s);
    assert_text(
        as_text(tn_docker_container_body(&st, false)),
        "{\"Env\":[],\"ExposedPorts\":{},\"HostConfig\":{\"PortBindings\":{},\"RestartPolicy\":{\"Name\":"
        "\"no\"}},\"Image\":\"web:1\",\"Labels\":{\"turnout.app\":\"shop\",\"turnout.cluster\":\"c\","
        "\"turnout.effect\":\"r1/web/1\",\"turnout.env\":\"\",\"turnout.ports\":\"{}\","
        "\"turnout.revision\":\"abc\",\"turnout.rollout\":\"r1\",\"turnout.secrets\":\"{}\","
        "\"turnout.service\":\"web\",\"turnout.spec\":\"{}\"},\"StopSignal\":\"SIGTERM\","
        "\"StopTimeout\":2}");
}

/* One case: a service, and the value that must stand at a path of the body (dots between keys). */
static void assert_at(json_t *body, const char *path, const char *expected)
{
    const json_t *o = body;
    tn_autofree char *copy = tn_strdup(path);
    char *rest = copy;
    for (char *key; (key = strsep(&rest, ".")) != NULL;)
        o = json_object_get(o, key);
    tn_autofree char *got = o != NULL ? json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY) : NULL;
    if (!tn_streq(got, expected))
        fail_msg("%s: %s, not %s", path, got != NULL ? got : "absent",
                 expected != NULL ? expected : "absent");
}

static const struct {
    const char *path, *value;
} expected[] = {
    {"Cmd", "[\"./server\"]"},
    {"Entrypoint", "[\"/init\"]"},
    {"Env", "[\"A=1\",\"EMPTY=\",\"DB=pw\"]"},
    {"User", "\"1000:1000\""},
    {"WorkingDir", "\"/srv\""},
    {"Hostname", "\"raw\""},
    {"StopSignal", "\"SIGQUIT\""},
    {"StopTimeout", "10"},
    {"ExposedPorts", "{\"8080/tcp\":{}}"},
    {"Healthcheck", "{\"Interval\":500000000,\"Retries\":3,\"StartPeriod\":2000000000,\"Test\":[\"CMD\","
                    "\"/bin/sh\",\"-c\",\"test -f /ok\"],\"Timeout\":1000000000}"},
    {"HostConfig.PortBindings",
     "{\"8080/tcp\":[{\"HostIp\":\"127.0.0.1\",\"HostPort\":\"20001\"},{\"HostIp\":"
     "\"\",\"HostPort\":\"20002\"}]}"},
    {"HostConfig.RestartPolicy", "{\"Name\":\"no\"}"},
    {"HostConfig.NanoCpus", "1500000000"},
    {"HostConfig.Memory", "67108864"},
    {"HostConfig.Init", NULL},
    {"HostConfig.ShmSize", "7"},
    {"HostConfig.ReadonlyRootfs", "true"},
    {"HostConfig.Ulimits", "[{\"Hard\":2048,\"Name\":\"nofile\",\"Soft\":1024}]"},
    {"HostConfig.CapAdd", "[\"NET_ADMIN\"]"},
    {"HostConfig.CapDrop", "[\"ALL\"]"},
    {"HostConfig.ExtraHosts", "[\"db:10.0.0.1\"]"},
    {"HostConfig.Tmpfs", "{\"/run\":\"size=64m\",\"/tmp\":\"\"}"},
    {"HostConfig.LogConfig", "{\"Config\":{\"max-size\":\"1m\"},\"Type\":\"local\"}"},
    {"HostConfig.NetworkMode", "\"back\""},
    {"HostConfig.Mounts",
     "[{\"ReadOnly\":false,\"Source\":\"data\",\"Target\":\"/"
     "data\",\"Type\":\"volume\"},{\"ReadOnly\":true,"
     "\"Source\":\"/plan/conf\",\"Target\":\"/conf\",\"Type\":\"bind\"},{\"ReadOnly\":false,\"Source\":"
     "\"/abs\",\"Target\":\"/abs\",\"Type\":\"bind\"},{\"ReadOnly\":false,\"Target\":\"/anon\",\"Type\":"
     "\"volume\"}]"},
    {"NetworkingConfig", "{\"EndpointsConfig\":{\"back\":{}}}"},
    {"Labels.team", "\"x\""},
    {"Labels.kept", "\"1\""},
};

static void every_key_has_its_place(void **state)
{
    (void)state;
    char *cmd[] = {(char *)"./server", NULL}, *entry[] = {(char *)"/init", NULL};
    char *check[] = {(char *)"/bin/sh", (char *)"-c", (char *)"test -f /ok", NULL};
    struct tn_pair env[] = {{(char *)"A", (char *)"1"}, {(char *)"EMPTY", (char *)""}};
    struct tn_pair labels[] = {{(char *)"team", (char *)"x"}, {(char *)"turnout.app", (char *)"forged"}};
    struct tn_pair options[] = {{(char *)"max-size", (char *)"1m"}};
    char *volumes[] = {(char *)"data:/data", (char *)"./conf:/conf:ro", (char *)"/abs:/abs", (char *)"/anon"};
    char *tmpfs[] = {(char *)"/run:size=64m", (char *)"/tmp"}, *caps[] = {(char *)"NET_ADMIN"};
    char *drop[] = {(char *)"ALL"}, *hosts[] = {(char *)"db:10.0.0.1"}, *aliases[] = {(char *)"api"};
    struct tn_ulimit limits[] = {{(char *)"nofile", 1024, 2048}};
    struct tn_network networks[] = {{(char *)"names", {aliases, 1}}, {(char *)"back", {NULL, 0}}};
    struct tn_service s = {.name = (char *)"web",
                           .image = (char *)"web:1",
                           .restart = (char *)"always",
                           .command = {cmd, 1},
                           .entrypoint = {entry, 1},
                           .env = {env, 2},
                           .labels = {labels, 2},
                           .volumes = {volumes, 4},
                           .networks = networks,
                           .n_networks = 2,
                           .cpu = 1500,
                           .memory = 64 << 20,
                           .user = (char *)"1000:1000",
                           .working_dir = (char *)"/srv",
                           .hostname = (char *)"h",
                           .init = true,
                           .read_only = true,
                           .ulimits = limits,
                           .n_ulimits = 1,
                           .cap_add = {caps, 1},
                           .cap_drop = {drop, 1},
                           .extra_hosts = {hosts, 1},
                           .tmpfs = {tmpfs, 2},
                           .log_driver = (char *)"local",
                           .log_options = {options, 1},
                           .stop = {(char *)"SIGQUIT", 10000},
                           .health = {.kind = TN_HEALTH_CMD,
                                      .cmd = {check, 3},
                                      .interval = 500,
                                      .timeout = 1000,
                                      .start_period = 2000,
                                      .unhealthy_after = 3}};
    struct tn_start st = start_of(&s);
    st.ports[0].name = "http";
    st.ports[0].container = 8080;
    st.ports[0].host_port = 20001;
    st.ports[0].bind = "127.0.0.1";
    st.ports[1].name = "twice";
    st.ports[1].container = 8080;
    st.ports[1].host_port = 20002;
    st.n_ports = 2;
    st.secrets[0].env = "DB";
    st.secrets[0].value = "pw";
    st.n_secrets = 1;
    s.platform =
        json_loads("{\"HostConfig\":{\"ShmSize\":7,\"Init\":null},\"Labels\":{\"turnout.app\":\"forged\","
                   "\"kept\":\"1\"},\"Hostname\":\"raw\"}",
                   0, NULL);
    json_t *b = tn_docker_container_body(&st, true);
    for (size_t i = 0; i < TN_COUNT(expected); i++)
        assert_at(b, expected[i].path, expected[i].value);
    const json_t *l = json_object_get(b, "Labels");
    assert_string_equal(json_string_value(json_object_get(l, TN_LABEL_APP)), "shop");
    assert_string_equal(json_string_value(json_object_get(l, TN_LABEL_PORTS)),
                        "{\"http\":20001,\"twice\":20002}");
    json_decref(b);
    json_decref(s.platform);
}

static void aliases_wait_where_nothing_is_cut_by_it(void **state)
{
    (void)state;
    char *aliases[] = {(char *)"api"};
    struct tn_network n[] = {{(char *)"names", {aliases, 1}}, {(char *)"back", {NULL, 0}}};
    struct tn_service s = {
        .image = (char *)"web:1", .restart = (char *)"always", .networks = n, .n_networks = 2};
    assert_int_equal(tn_docker_join_of(&s, &n[0], false), TN_JOIN_ALIAS_LATER);
    assert_int_equal(tn_docker_join_of(&s, &n[1], false), TN_JOIN_AT_CREATE);
    assert_ptr_equal(tn_docker_first_network(&s, false), &n[0]);
    /* Behind a balancer: "back" sorts before "names", so the published ports stay where they are. */
    assert_int_equal(tn_docker_join_of(&s, &n[0], true), TN_JOIN_LATER);
    assert_ptr_equal(tn_docker_first_network(&s, true), &n[1]);
    n[1].name = (char *)"zone"; /* now they would move to "names" while it serves */
    assert_int_equal(tn_docker_join_of(&s, &n[0], true), TN_JOIN_AT_CREATE);
    s.n_networks = 1;
    assert_int_equal(tn_docker_join_of(&s, &n[0], true), TN_JOIN_AT_CREATE);
    struct tn_start st = start_of(&s);
    json_t *b = tn_docker_container_body(&st, true);
    assert_at(b, "NetworkingConfig", "{\"EndpointsConfig\":{\"names\":{\"Aliases\":[\"api\"]}}}");
    json_decref(b);
    b = tn_docker_container_body(&st, false);
    assert_at(b, "NetworkingConfig", "{\"EndpointsConfig\":{\"names\":{}}}");
    json_decref(b);
    s.restart = (char *)"no"; /* nothing will tell later that it is confirmed */
    assert_int_equal(tn_docker_join_of(&s, &n[0], false), TN_JOIN_AT_CREATE);
    assert_text(as_text(tn_docker_connect_body("id", &n[0], true)),
                "{\"Container\":\"id\",\"EndpointConfig\":{\"Aliases\":[\"api\"]}}");
}

static void a_task_runs_only_its_command(void **state)
{
    (void)state;
    char *cmd[] = {(char *)"./server", NULL};
    struct tn_service s = {.image = (char *)"web:1", .command = {cmd, 1}};
    struct tn_start st = start_of(&s);
    st.ports[0].name = "http";
    st.n_ports = 1;
    const char *argv[] = {"bin/migrate", "up", NULL};
    json_t *b = tn_docker_task_body(&st, argv);
    assert_at(b, "Entrypoint", "[\"bin/migrate\",\"up\"]");
    assert_at(b, "Cmd", "[]");
    assert_at(b, "Healthcheck", "{\"Test\":[\"NONE\"]}");
    assert_at(b, "ExposedPorts", NULL);
    assert_at(b, "HostConfig.PortBindings", NULL);
    assert_non_null(json_object_get(json_object_get(b, "Labels"), TN_LABEL_HOOK));
    json_decref(b);
    assert_text(tn_docker_task_name("shop", "r-1/web/c#7"), "shop-hook-r-1-web-c-7");
}

static void volumes_are_checked(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "data", "data:rel", ":/x", "a:/b:rx", "a:/b:ro:z", "a::ro"};
    for (size_t i = 0; i < TN_COUNT(bad); i++)
        if (tn_docker_mount(bad[i], "/plan", NULL) != NULL)
            fail_msg("taken: %s", bad[i]);
    assert_text(tn_docker_volume_name("data:/x"), "data");
    assert_null(tn_docker_volume_name("./data:/x"));
    assert_null(tn_docker_volume_name("/data:/x"));
    assert_null(tn_docker_volume_name("/x"));
}

static void documents_have_a_volume_each(void **state)
{
    (void)state;
    assert_text(tn_docker_doc_volume("lease.shop_1-a"), "turnout-lease.shop_1-a");
    char *a = tn_docker_doc_volume("lease/shop"), *b = tn_docker_doc_volume("lease_shop");
    assert_string_not_equal(a, b);
    assert_true(strspn(a, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(a));
    free(a);
    free(b);
    json_t *body = json_pack("{s:i}", "epoch", 3);
    assert_text(as_text(tn_docker_doc_body("l", body, "n0", NULL)),
                "{\"Labels\":{\"turnout.doc\":\"l\",\"turnout.doc.body\":\"{\\\"epoch\\\":3}\","
                "\"turnout.doc.nonce\":\"n0\"},\"Name\":\"turnout-l\"}");
    char *big = malloc(TN_DOC_MAX + 2);
    memset(big, 'x', TN_DOC_MAX + 1);
    big[TN_DOC_MAX + 1] = '\0';
    json_object_set_new(body, "big", json_string(big));
    struct tn_error *err = NULL;
    assert_null(tn_docker_doc_body("l", body, "n0", &err));
    assert_int_equal(err->code, TN_ELIMIT);
    tn_error_free(err);
    free(big);
    json_decref(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_are_escaped),
        cmocka_unit_test(the_smallest_container),
        cmocka_unit_test(every_key_has_its_place),
        cmocka_unit_test(aliases_wait_where_nothing_is_cut_by_it),
        cmocka_unit_test(a_task_runs_only_its_command),
        cmocka_unit_test(volumes_are_checked),
        cmocka_unit_test(documents_have_a_volume_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
