/* What is written for a start, and what is refused: pure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "turnout/mem.h"
#include "lib/provider/process/process.h"

static void test_names(void **state)
{
    static const struct {
        const char *name;
        bool ok;
    } cases[] = {{"shop-web-1", true}, {"a.b_c", true}, {"", false},    {".", false},   {"..", false},
                 {".hidden", false},   {"a/b", false},  {"a b", false}, {"a\n", false}, {"\xc3\xa9", false}};
    (void)state;
    for (size_t i = 0; i < TN_COUNT(cases); i++)
        assert_int_equal(tn_process_name_ok(cases[i].name), cases[i].ok);
    assert_false(tn_process_name_ok(NULL));
    char longest[202];
    memset(longest, 'a', 201);
    longest[201] = 0;
    assert_false(tn_process_name_ok(longest));
    longest[200] = 0;
    assert_true(tn_process_name_ok(longest));
    tn_autofree char *effect = tn_process_name_from("../r1/web/3");
    assert_string_equal(effect, "_._r1_web_3");
    tn_autofree char *port = tn_process_port_env("admin-api.v2");
    assert_string_equal(port, "PORT_ADMIN_API_V2");
}

static void test_refused_by_name(void **state)
{
    (void)state;
    char *clusters[] = {(char *)"here"}, *argv[] = {(char *)"./server", NULL}, *one[] = {(char *)"x"};
    struct tn_port ports[] = {{.name = (char *)"http", .container = 8080}};
    const struct tn_service base = {
        .name = (char *)"web", .clusters = {.v = clusters, .n = 1}, .command = {.argv = argv, .n = 1}};
    struct {
        struct tn_service s;
        const char *key; /* NULL = fine */
    } cases[24] = {{.s = base}};
    size_t n = 1;
#define REFUSED(word, ...)                                                                                   \
    cases[n].s = base;                                                                                       \
    cases[n].s.__VA_ARGS__;                                                                                  \
    cases[n++].key = word
    REFUSED("'image'", image = (char *)"x");
    REFUSED("'entrypoint'", entrypoint.n = 1);
    REFUSED("'networks'", n_networks = 1);
    REFUSED("'volumes'", volumes = (struct tn_strings){one, 1});
    REFUSED("'cpu'", cpu = 500);
    REFUSED("'memory'", memory = 1024);
    REFUSED("'user'", user = (char *)"x");
    REFUSED("'hostname'", hostname = (char *)"x");
    REFUSED("'init'", init = true);
    REFUSED("'read_only'", read_only = true);
    REFUSED("'ulimits'", n_ulimits = 1);
    REFUSED("'cap_add'", cap_add = (struct tn_strings){one, 1});
    REFUSED("'cap_drop'", cap_drop = (struct tn_strings){one, 1});
    REFUSED("'extra_hosts'", extra_hosts = (struct tn_strings){one, 1});
    REFUSED("'tmpfs'", tmpfs = (struct tn_strings){one, 1});
    REFUSED("'logging'", log_driver = (char *)"x");
    REFUSED("'health.native'", health.kind = TN_HEALTH_NATIVE);
    REFUSED("'ports.container'", ports = ports; cases[n].s.n_ports = 1);
    REFUSED("'command'", command.n = 0);
    struct tn_cluster cluster = {.name = (char *)"here"}, other = {.name = (char *)"there"};
    for (size_t i = 0; i < n; i++) {
        struct tn_plan plan = {.services = &cases[i].s, .n_services = 1};
        struct tn_error *err = NULL;
        assert_int_equal(tn_process_check(&plan, &cluster, &err), cases[i].key ? TN_EPLAN : TN_OK);
        if (cases[i].key && !strstr(tn_error_message(err), cases[i].key))
            fail_msg("%s: %s", cases[i].key, tn_error_message(err));
        tn_error_free(err);
        assert_int_equal(tn_process_check(&plan, &other, NULL), TN_OK);
    }
    struct tn_service both[] = {base, base};
    both[0].memory = 1;
    both[1].cpu = 1;
    struct tn_plan plan = {.services = both, .n_services = 2};
    struct tn_error *err = NULL;
    assert_int_equal(tn_process_check(&plan, &cluster, &err), TN_EPLAN);
    assert_string_equal(tn_error_message(err),
                        "service 'web': 'memory' is not possible on a process cluster; "
                        "service 'web': 'cpu' is not possible on a process cluster");
    tn_error_free(err);
}

static void test_spec(void **state)
{
    (void)state;
    char *argv[] = {(char *)"bin/server", (char *)"-c", (char *)"./conf", NULL};
    struct tn_service s = {.name = (char *)"web",
                           .command = {.argv = argv, .n = 3},
                           .working_dir = (char *)"run",
                           .stop = {.signal = (char *)"SIGINT", .grace = 1500}};
    struct tn_start st = {.name = "web-1", .spec = &s, .service = "web", .dir = "/srv/shop"};
    json_t *spec = NULL;
    assert_int_equal(tn_process_spec(&st, NULL, &spec, NULL), TN_OK);
    json_t *expected =
        json_pack("{s:[sss], s:{}, s:s, s:s, s:i}", "argv", "/srv/shop/bin/server", "-c", "./conf", "env",
                  "cwd", "/srv/shop/run", "signal", "SIGINT", "grace_ms", 1500);
    assert_true(json_equal(spec, expected));
    json_decref(spec);
    json_decref(expected);

    const char *const plain[] = {"server", NULL}; /* no slash: PATH decides */
    assert_int_equal(tn_process_spec(&st, plain, &spec, NULL), TN_OK);
    assert_string_equal(json_string_value(json_array_get(json_object_get(spec, "argv"), 0)), "server");
    json_decref(spec);

    s.stop.signal = (char *)"SIGNONE";
    assert_int_equal(tn_process_spec(&st, NULL, &spec, NULL), TN_EPLAN);
    s.stop.signal = NULL;
    s.command.argv = NULL;
    assert_int_equal(tn_process_spec(&st, NULL, &spec, NULL), TN_EPLAN);
    s.command.argv = argv;
    st.n_secrets = 1;
    st.secrets[0].env = "KEY";
    st.secrets[0].value = "\xff\xfe";
    struct tn_error *err = NULL;
    assert_int_equal(tn_process_spec(&st, NULL, &spec, &err), TN_EFAIL);
    assert_string_equal(tn_error_message(err), "variable 'KEY': its value is not UTF-8 text");
    tn_error_free(err);
}

static void test_meta_keeps_our_labels(void **state)
{
    (void)state;
    struct tn_pair labels[] = {{(char *)"team", (char *)"a"}, {(char *)TN_LABEL_APP, (char *)"forged"}};
    struct tn_service s = {.name = (char *)"web", .labels = {.v = labels, .n = 2}};
    struct tn_start st = {
        .name = "web-1", .spec = &s, .app = "shop", .service = "web", .effect = "r/w/1", .n_ports = 1};
    st.ports[0].name = "http";
    st.ports[0].host_port = 20001;
    json_t *meta = tn_process_meta(&st);
    assert_string_equal(tn_process_label(meta, TN_LABEL_APP), "shop");
    assert_string_equal(tn_process_label(meta, "team"), "a");
    assert_string_equal(tn_process_label(meta, TN_LABEL_ENV), "");
    assert_string_equal(tn_process_label(meta, TN_LABEL_PORTS), "{\"http\":20001}");
    assert_null(tn_process_label(meta, TN_LABEL_SECRETS));
    json_decref(meta);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_refused_by_name),
        cmocka_unit_test(test_spec),
        cmocka_unit_test(test_meta_keeps_our_labels),
    };
    return cmocka_run_group_tests_name("process_request", tests, NULL, NULL);
}
