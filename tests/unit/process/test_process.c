/* The process provider with real programs; this test program is also the shim's executable. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "turnout/fs.h"
#include "turnout/mem.h"
#include "turnout/text.h"
#include "lib/provider/process/process.h"
#include "lib/transport/shim.h"
#include "tests/unit/transport_shim/run_fixture.h"

static char root[] = "/tmp/turnout-process-XXXXXX";
static struct tn_cluster cluster = {.name = (char *)"here", .kind = TN_CLUSTER_PROCESS};
static struct tn_plan plan = {.name = (char *)"shop", .environment = (char *)""};
static struct tn_provider *p;

#define WAIT "trap 'exit 0' TERM; echo ready; while :; do read -r x < fifo; done"

static const char *web_argv[] = {"/bin/sh", "-c", WAIT, NULL};
static struct tn_pair web_env[] = {{(char *)"COLOUR", (char *)"blue"},
                                   {(char *)"PORT", (char *)"overridden"}};

static struct tn_service web_service(void)
{
    return (struct tn_service){
        .name = (char *)"web",
        .command = {.argv = (char **)web_argv, .n = 3},
        .env = {.v = web_env, .n = 2},
        .stop = {.signal = (char *)"SIGTERM", .grace = 2000},
    };
}

static struct tn_start web_start(const struct tn_service *s, const char *name, const char *effect)
{
    struct tn_start st = {.name = name,
                          .spec = s,
                          .spec_json = "{\"command\":[]}",
                          .app = "shop",
                          .environment = "",
                          .service = "web",
                          .cluster = "here",
                          .revision = "0123456789ab",
                          .rollout = "r1",
                          .effect = effect,
                          .secret_hashes = "{}",
                          .dir = root,
                          .n_ports = 2,
                          .n_secrets = 1};
    st.ports[0].name = "http";
    st.ports[0].host_port = 28471;
    st.ports[1].name = "admin-api";
    st.ports[1].host_port = 28472;
    st.secrets[0].env = "TOKEN";
    st.secrets[0].value = "s3cret";
    return st;
}

static int set_up(void **state)
{
    (void)state;
    static int n;
    cluster.process.dir = tn_format("%s/%d", root, n++);
    p = tn_process_open(&plan, &cluster, NULL, NULL);
    return p ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    struct tn_observation o = {0};
    int rc = p->ops->observe(p, NULL, "shop", &o, NULL);
    for (size_t i = 0; i < o.n; i++)
        rc |= p->ops->stop(p, NULL, &o.v[i], "SIGKILL", 0, NULL);
    tn_observation_clear(&o);
    tn_provider_free(p);
    rc |= tn_fs_remove_tree(cluster.process.dir, NULL);
    free(cluster.process.dir);
    return rc;
}

/* The only instance there is. */
static struct tn_observation one(void)
{
    struct tn_observation o = {0};
    assert_int_equal(p->ops->observe(p, NULL, "shop", &o, NULL), TN_OK);
    assert_true(o.hosts[0].answered);
    assert_int_equal(o.n, 1);
    return o;
}

static bool collect(void *arg, const char *data, size_t n)
{
    tn_buf_add(arg, data, n);
    return !strstr(((struct tn_buf *)arg)->data, "ready");
}

static char *logs_until_ready(const struct tn_instance *i)
{
    tn_autobuf b = TN_BUF_INIT(1 << 20);
    assert_int_equal(p->ops->logs(p, NULL, i, 0, true, collect, &b, NULL), TN_OK);
    return tn_buf_take(&b);
}

static void start(const struct tn_start *st)
{
    struct tn_error *err = NULL;
    if (p->ops->start(p, NULL, st, &err) != TN_OK)
        fail_msg("start: %s", tn_error_message(err));
}

static void test_observe_without_a_folder(void **state)
{
    (void)state;
    struct tn_observation o = {0};
    assert_int_equal(p->ops->observe(p, NULL, "shop", &o, NULL), TN_OK);
    assert_true(o.hosts[0].answered);
    assert_int_equal(o.n, 0);
    tn_observation_clear(&o);
    assert_false(tn_fs_exists(cluster.process.dir)); /* looking changes nothing */
    assert_string_equal(p->host_names[0], "local");
    assert_true(tn_starts_with(p->host_ids[0], "process:/"));
}

static void test_start_observe_stop(void **state)
{
    (void)state;
    struct tn_service s = web_service();
    struct tn_start st = web_start(&s, "shop-web-0123456-1", "r1/web/1");
    start(&st);
    struct tn_observation o = one();
    const struct tn_instance *i = &o.v[0];
    assert_string_equal(i->name, "shop-web-0123456-1");
    assert_int_equal(i->state, TN_RUN_RUNNING);
    assert_string_equal(i->service, "web");
    assert_string_equal(i->revision, "0123456789ab");
    assert_string_equal(i->rollout, "r1");
    assert_string_equal(i->effect, "r1/web/1");
    assert_string_equal(i->environment, "");
    assert_string_equal(i->spec, "{\"command\":[]}");
    assert_string_equal(i->secrets, "{}");
    assert_string_equal(i->address, "127.0.0.1");
    assert_string_equal(i->restart_policy, "no");
    assert_int_equal(tn_instance_port(i, NULL), 28471);
    assert_int_equal(tn_instance_port(i, "admin-api"), 28472);
    assert_int_equal(tn_instance_port(i, "other"), 0);
    assert_true(i->started_at > 0);
    free(logs_until_ready(i));
    assert_int_equal(p->ops->stop(p, NULL, i, "SIGTERM", 2000, NULL), TN_OK);
    assert_int_equal(p->ops->stop(p, NULL, i, "SIGTERM", 2000, NULL), TN_OK);
    assert_false(tn_fs_exists(i->id));
    struct tn_observation after = {0};
    assert_int_equal(p->ops->observe(p, NULL, "shop", &after, NULL), TN_OK);
    assert_int_equal(after.n, 0);
    tn_observation_clear(&after);
    tn_observation_clear(&o);
}

static void test_start_again_and_over_others(void **state)
{
    (void)state;
    struct tn_service s = web_service();
    struct tn_start st = web_start(&s, "web-1", "r1/web/1");
    start(&st);
    struct tn_observation o = one();
    int64_t began = o.v[0].started_at;
    tn_observation_clear(&o);
    start(&st);
    o = one();
    assert_int_equal(o.v[0].started_at, began);
    struct tn_start later = web_start(&s, "web-1", "r1/web/2");
    assert_int_equal(p->ops->start(p, NULL, &later, NULL), TN_EEXISTS);
    struct tn_start other = web_start(&s, "web-1", "r1/web/1");
    other.environment = "staging";
    assert_int_equal(p->ops->start(p, NULL, &other, NULL), TN_ESTRANGER);
    /* An instance of a later effect is not stopped in the name of an earlier one. */
    struct tn_instance old = {.name = (char *)"web-1", .effect = (char *)"r0/web/9"};
    assert_int_equal(p->ops->stop(p, NULL, &old, "SIGTERM", 0, NULL), TN_OK);
    tn_observation_clear(&o);
    o = one();
    assert_int_equal(o.v[0].state, TN_RUN_RUNNING);
    tn_observation_clear(&o);
}

static void test_strangers_are_left_alone(void **state)
{
    static const char *const metas[] = {
        NULL, "", "[]", "{}", "{\"labels\":{\"turnout.app\":1}}", "{\"labels\":{\"turnout.app\":\"shop\"}}"};
    (void)state;
    struct tn_service s = web_service();
    for (size_t i = 0; i < TN_COUNT(metas); i++) {
        tn_autofree char *dir = tn_format("%s/instances/web-%zu", cluster.process.dir, i);
        tn_autofree char *meta = tn_path_join(dir, "meta.json");
        assert_int_equal(tn_fs_mkdirs(dir, 0700, NULL), TN_OK);
        if (metas[i])
            assert_int_equal(tn_fs_write_atomic(meta, metas[i], strlen(metas[i]), 0600, NULL), TN_OK);
        tn_autofree char *name = tn_format("web-%zu", i);
        struct tn_start st = web_start(&s, name, "r1/web/1");
        assert_int_equal(p->ops->start(p, NULL, &st, NULL), TN_ESTRANGER);
    }
    struct tn_observation o = {0};
    assert_int_equal(p->ops->observe(p, NULL, "shop", &o, NULL), TN_OK);
    assert_int_equal(o.n, 0);
    tn_observation_clear(&o);
    struct tn_start st = web_start(&s, "mine", "r1/web/1");
    start(&st);
    assert_int_equal(p->ops->observe(p, NULL, "other", &o, NULL), TN_OK);
    assert_int_equal(o.n, 0);
    tn_observation_clear(&o);
}

static void test_environment(void **state)
{
    (void)state;
    static const char *argv[] = {"/bin/sh", "-c", "env; pwd; " WAIT, NULL};
    struct tn_service s = web_service();
    s.command.argv = (char **)argv;
    struct tn_start st = web_start(&s, "web-1", "r1/web/1");
    start(&st);
    struct tn_observation o = one();
    tn_autofree char *text = logs_until_ready(&o.v[0]);
    assert_non_null(strstr(text, "COLOUR=blue\n"));
    assert_non_null(strstr(text, "TOKEN=s3cret\n"));
    assert_non_null(strstr(text, "\nPORT=28471\n"));
    assert_non_null(strstr(text, "PORT_HTTP=28471\n"));
    assert_non_null(strstr(text, "PORT_ADMIN_API=28472\n"));
    assert_null(strstr(text, "overridden"));
    tn_autofree char *pwd = tn_format("\n%s\n", root);
    assert_non_null(strstr(text, pwd));
    /* A secret stands in one file, which nobody else can read. */
    tn_autofree char *meta_path = tn_path_join(o.v[0].id, "meta.json");
    tn_autofree char *meta = tn_fs_read(meta_path, 1 << 20, NULL, NULL);
    assert_null(strstr(meta, "s3cret"));
    tn_autofree char *spec_path = tn_path_join(o.v[0].id, "spec.json");
    struct stat st2;
    assert_int_equal(stat(spec_path, &st2), 0);
    assert_int_equal(st2.st_mode & 0777, 0600);
    tn_observation_clear(&o);
}

struct failure_case {
    const char *argv[2], *working_dir, *message;
};

static void test_exec_failure_leaves_nothing(void **state)
{
    static const struct failure_case cases[] = {
        {{"./server"}, NULL, "program './server': No such file or directory"},
        {{"bin/server"}, NULL, "program 'bin/server': No such file or directory"},
        {{"turnout-no-such"}, NULL, "program 'turnout-no-such': No such file or directory"},
        {{"/etc"}, NULL, "program '/etc': Permission denied"},
        {{"/bin/true"}, "/no/such", "folder '/no/such': No such file or directory"},
    };
    (void)state;
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        struct tn_service s = web_service();
        s.command.argv = (char **)(uintptr_t)cases[i].argv;
        s.working_dir = (char *)(uintptr_t)cases[i].working_dir;
        struct tn_start st = web_start(&s, "web-1", "r1/web/1");
        struct tn_error *err = NULL;
        assert_int_equal(p->ops->start(p, NULL, &st, &err), TN_EFAIL);
        assert_string_equal(tn_error_message(err), cases[i].message);
        assert_non_null(strstr(err->hint, root));
        tn_error_free(err);
        char **names = NULL;
        size_t n = 0;
        tn_autofree char *instances = tn_path_join(cluster.process.dir, "instances");
        assert_int_equal(tn_fs_list(instances, &names, &n, NULL), TN_OK);
        assert_int_equal(n, 0);
        tn_fs_list_free(names, n);
    }
}

static void test_relative_program(void **state)
{
    (void)state;
    static const char script[] = "#!/bin/sh\npwd\n" WAIT "\n";
    tn_autofree char *path = tn_path_join(root, "server");
    assert_int_equal(tn_fs_write_atomic(path, script, sizeof(script) - 1, 0755, NULL), TN_OK);
    static const char *argv[] = {"./server", NULL};
    struct tn_service s = web_service();
    s.command.argv = (char **)argv;
    s.command.n = 1;
    s.working_dir = (char *)"inner";
    tn_autofree char *inner = tn_path_join(root, "inner");
    assert_int_equal(mkdir(inner, 0700), 0);
    tn_autofree char *fifo = tn_path_join(inner, "fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    struct tn_start st = web_start(&s, "web-1", "r1/web/1");
    start(&st);
    struct tn_observation o = one();
    tn_autofree char *text = logs_until_ready(&o.v[0]);
    tn_autofree char *expected = tn_format("%s\nready\n", inner);
    assert_string_equal(text, expected);
    tn_observation_clear(&o);
}

static void test_port_in_use(void **state)
{
    static const uint32_t addresses[] = {INADDR_LOOPBACK, INADDR_ANY};
    (void)state;
    for (size_t i = 0; i < TN_COUNT(addresses); i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
        struct sockaddr_in sa = {
            .sin_family = AF_INET, .sin_port = htons(28472), .sin_addr.s_addr = htonl(addresses[i])};
        assert_int_equal(bind(fd, (const struct sockaddr *)&sa, sizeof(sa)), 0);
        assert_int_equal(listen(fd, 1), 0);
        assert_true(p->ops->port_taken(p, 0, 28472));
        assert_false(p->ops->port_taken(p, 0, 28471));
        struct tn_service s = web_service();
        struct tn_start st = web_start(&s, "web-1", "r1/web/1");
        assert_int_equal(p->ops->start(p, NULL, &st, NULL), TN_EBUSY);
        tn_autofree char *dir = tn_format("%s/instances/web-1", cluster.process.dir);
        assert_false(tn_fs_exists(dir));
        close(fd);
    }
}

static void test_restart_policy(void **state)
{
    (void)state;
    struct tn_service s = web_service();
    struct tn_start st = web_start(&s, "web-1", "r1/web/1");
    start(&st);
    struct tn_observation o = one();
    assert_int_equal(p->ops->set_restart(p, NULL, &o.v[0], "unless-stopped", NULL), TN_OK);
    assert_int_equal(p->ops->set_restart(p, NULL, &o.v[0], "unless-stopped", NULL), TN_OK);
    assert_int_equal(p->ops->set_restart(p, NULL, &o.v[0], "sometimes", NULL), TN_EFAIL);
    tn_observation_clear(&o);
    o = one();
    assert_string_equal(o.v[0].restart_policy, "unless-stopped");
    struct tn_instance absent = {.name = (char *)"web-9"};
    assert_int_equal(p->ops->set_restart(p, NULL, &absent, "no", NULL), TN_ENOTFOUND);
    tn_observation_clear(&o);
}

static void test_crash_is_seen(void **state)
{
    (void)state;
    static const char *argv[] = {"/bin/sh", "-c", "echo one; echo two; echo three; exit 9", NULL};
    struct tn_service s = web_service();
    s.command.argv = (char **)argv;
    struct tn_start st = web_start(&s, "web-1", "r1/web/1");
    start(&st);
    struct tn_observation o = one();
    tn_autobuf all = TN_BUF_INIT(1000);
    assert_int_equal(p->ops->logs(p, NULL, &o.v[0], 0, true, collect, &all, NULL), TN_OK); /* to its end */
    tn_autobuf b = TN_BUF_INIT(1000);
    assert_int_equal(p->ops->logs(p, NULL, &o.v[0], 2, false, collect, &b, NULL), TN_OK);
    assert_string_equal(b.data, "two\nthree\n");
    tn_observation_clear(&o);
    o = one();
    assert_int_equal(o.v[0].state, TN_RUN_EXITED);
    assert_int_equal(o.v[0].exit_code, 9);
    assert_int_equal(o.v[0].exit_signal, 0);
    tn_observation_clear(&o);
}

static void test_stop_by_the_plans_signal(void **state)
{
    (void)state;
    tn_autofree char *mark = tn_path_join(root, "by-usr1");
    tn_autofree char *script = tn_format("trap ': > %s; exit' USR1; trap '' TERM; echo ready; "
                                         "while :; do read -r x < fifo; done",
                                         mark);
    const char *argv[] = {"/bin/sh", "-c", script, NULL};
    struct tn_service s = web_service();
    s.command.argv = (char **)argv;
    struct tn_start st = web_start(&s, "web-1", "r1/web/1");
    start(&st);
    struct tn_observation o = one();
    free(logs_until_ready(&o.v[0]));
    /* Not the SIGTERM it was started with: it would end by SIGKILL without the mark. */
    assert_int_equal(p->ops->stop(p, NULL, &o.v[0], "SIGUSR1", 5000, NULL), TN_OK);
    assert_true(tn_fs_exists(mark));
    assert_int_equal(p->ops->stop(p, NULL, &o.v[0], "SIGNONE", 5000, NULL),
                     TN_OK); /* gone: nothing to signal */
    tn_observation_clear(&o);
    unlink(mark);
}

static void test_exec(void **state)
{
    (void)state;
    struct tn_service s = web_service();
    struct tn_start st = web_start(&s, "web-1", "r1/web/1");
    start(&st);
    struct tn_observation o = one();
    const char *const argv[] = {"/bin/sh", "-c", "echo $COLOUR $PORT $TOKEN $PWD; exit 3", NULL};
    struct tn_run_result r = {0};
    assert_int_equal(p->ops->exec(p, NULL, &o.v[0], argv, 5000, &r, NULL), TN_OK);
    tn_autofree char *expected = tn_format("blue 28471 s3cret %s\n", root);
    assert_string_equal(r.out.data, expected);
    assert_int_equal(r.exit_code, 3);
    tn_run_result_clear(&r);
    struct tn_instance absent = {.name = (char *)"../web-1"};
    assert_int_not_equal(p->ops->exec(p, NULL, &absent, argv, 5000, &r, NULL), TN_OK);
    tn_observation_clear(&o);
}

static void test_task_runs_once(void **state)
{
    (void)state;
    tn_autofree char *mark = tn_path_join(root, "tasks-ran");
    tn_autofree char *script = tn_format("echo x >> %s; echo $COLOUR; exit 4", mark);
    const char *const argv[] = {"/bin/sh", "-c", script, NULL};
    struct tn_service s = web_service();
    struct tn_start st = web_start(&s, "task", "r1/web/hook/1");
    for (int i = 0; i < 2; i++) {
        struct tn_run_result r = {0};
        assert_int_equal(p->ops->task(p, NULL, &st, argv, 5000, &r, NULL), TN_OK);
        assert_int_equal(r.exit_code, 4);
        assert_string_equal(r.out.data, "blue\n");
        tn_run_result_clear(&r);
    }
    tn_autofree char *times = tn_fs_read(mark, 100, NULL, NULL);
    assert_string_equal(times, "x\n");
    unlink(mark);
}

static void test_docs(void **state)
{
    (void)state;
    struct tn_docs docs = {0};
    assert_int_equal(p->ops->doc_list(p, NULL, 0, "", &docs, NULL), TN_OK);
    assert_int_equal(docs.n, 0);
    json_t *a = json_pack("{s:s}", "holder", "a"), *b = json_pack("{s:s}", "holder", "b"), *there = NULL;
    assert_int_equal(p->ops->doc_create(p, NULL, 0, "lease-shop", a, &there, NULL), TN_OK);
    assert_null(there);
    assert_int_equal(p->ops->doc_create(p, NULL, 0, "lease-shop", b, &there, NULL), TN_EEXISTS);
    assert_true(json_equal(there, a));
    json_decref(there);
    assert_int_equal(p->ops->doc_create(p, NULL, 0, "revision-1", b, NULL, NULL), TN_OK);
    static const char *const bad[] = {"", ".hidden", "../x", "a/b", "a b", "caf\xc3\xa9"};
    for (size_t i = 0; i < TN_COUNT(bad); i++)
        assert_int_equal(p->ops->doc_create(p, NULL, 0, bad[i], a, NULL, NULL), TN_EFAIL);
    assert_int_equal(p->ops->doc_list(p, NULL, 0, "lease-", &docs, NULL), TN_OK);
    assert_int_equal(docs.n, 1);
    assert_string_equal(docs.v[0].name, "lease-shop");
    assert_true(json_equal(docs.v[0].body, a));
    tn_docs_clear(&docs);
    assert_int_equal(p->ops->doc_remove(p, NULL, 0, "lease-shop", NULL), TN_OK);
    assert_int_equal(p->ops->doc_remove(p, NULL, 0, "lease-shop", NULL), TN_OK);
    assert_int_equal(p->ops->doc_list(p, NULL, 0, "", &docs, NULL), TN_OK);
    assert_int_equal(docs.n, 1);
    tn_docs_clear(&docs);
    /* A document that cannot be read is never "absent". */
    tn_autofree char *path = tn_format("%s/docs/lease-x.json", cluster.process.dir);
    assert_int_equal(tn_fs_write_atomic(path, "{", 1, 0600, NULL), TN_OK);
    assert_int_equal(p->ops->doc_list(p, NULL, 0, "", &docs, NULL), TN_EPROTO);
    tn_docs_clear(&docs);
    json_decref(a);
    json_decref(b);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "__shim") == 0)
        return tn_shim_main(argv[2]);
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_observe_without_a_folder),
        CASE(test_start_observe_stop),
        CASE(test_start_again_and_over_others),
        CASE(test_strangers_are_left_alone),
        CASE(test_environment),
        CASE(test_exec_failure_leaves_nothing),
        CASE(test_relative_program),
        CASE(test_port_in_use),
        CASE(test_restart_policy),
        CASE(test_crash_is_seen),
        CASE(test_stop_by_the_plans_signal),
        CASE(test_exec),
        CASE(test_task_runs_once),
        CASE(test_docs),
    };
    if (!run_possible())
        return 0;
    if (!mkdtemp(root) || chdir(root) != 0 || mkfifo("fifo", 0600) != 0)
        return 1;
    int failed = cmocka_run_group_tests_name("process", tests, NULL, NULL);
    tn_fs_remove_tree(root, NULL);
    return failed;
}
