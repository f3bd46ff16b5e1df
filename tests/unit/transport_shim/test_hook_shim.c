/* The outcome of a hook is read, never made again. This test program is also the shim's executable. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "turnout/clock.h"
#include "turnout/fs.h"
#include "turnout/mem.h"
#include "lib/transport/hook_shim.h"
#include "lib/transport/shim.h"
#include "tests/unit/transport_shim/run_fixture.h"

static void test_hook(void **state)
{
    (void)state;
    enum tn_hook_state s;
    assert_int_equal(tn_hook_probe(run_dir, &s, NULL), TN_OK);
    assert_int_equal(s, TN_HOOK_ABSENT);
    tn_autofree char *mark = tn_format("%s/ran", run_root);
    tn_autofree char *script = tn_format("echo $GREETING $TURNOUT_TEST; echo x >> %s; exit 5", mark);
    const char *const argv[] = {"/bin/sh", "-c", script, NULL};
    const char *const env[] = {"GREETING=hello", NULL};
    setenv("TURNOUT_TEST", "there", 1);
    for (int i = 0; i < 2; i++) {
        struct tn_run_result r = {0};
        assert_int_equal(tn_hook_run(NULL, run_dir, argv, env, run_root, RUN_SOON_MS, &r, NULL), TN_OK);
        assert_int_equal(r.exit_code, 5);
        assert_string_equal(r.out.data, "hello there\n");
        tn_run_result_clear(&r);
    }
    unsetenv("TURNOUT_TEST");
    tn_autofree char *times = tn_fs_read(mark, 100, NULL, NULL);
    assert_string_equal(times, "x\n");
    assert_int_equal(tn_hook_probe(run_dir, &s, NULL), TN_OK);
    assert_int_equal(s, TN_HOOK_ENDED);
    unlink(mark);
    /* The environment, which may hold secrets, is not written down. */
    tn_autofree char *path = tn_path_join(run_dir, "spec.json");
    tn_autofree char *spec = tn_fs_read(path, 10000, NULL, NULL);
    assert_null(strstr(spec, "there"));
}

static void test_hook_outlives_its_caller(void **state)
{
    (void)state;
    struct tn_cancel *c = tn_cancel_new();
    tn_autofree char *fifo = tn_format("%s/go", run_root);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    tn_autofree char *script = tn_format("read -r x < %s; echo $x", fifo);
    const char *const argv[] = {"/bin/sh", "-c", script, NULL};
    struct tn_run_result r = {0};
    tn_cancel_set_deadline(c, tn_mono_ms() + 500);
    assert_int_equal(tn_hook_run(c, run_dir, argv, NULL, run_root, RUN_SOON_MS, &r, NULL), TN_ETIMEOUT);
    enum tn_hook_state s;
    assert_int_equal(tn_hook_probe(run_dir, &s, NULL), TN_OK);
    assert_int_equal(s, TN_HOOK_RUNNING);
    FILE *f = fopen(fifo, "we");
    assert_non_null(f);
    fputs("gone on\n", f);
    fclose(f);
    assert_int_equal(tn_hook_run(NULL, run_dir, argv, NULL, run_root, RUN_SOON_MS, &r, NULL), TN_OK);
    assert_string_equal(r.out.data, "gone on\n");
    tn_run_result_clear(&r);
    tn_cancel_free(c);
    unlink(fifo);
}

static void test_hook_timeout_and_loss(void **state)
{
    (void)state;
    const char *const argv[] = {"/bin/sh", "-c", "exec sleep 60", NULL};
    struct tn_run_result r = {0};
    struct tn_error *err = NULL;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(tn_hook_run(NULL, run_dir, argv, NULL, run_root, 100, &r, &err), TN_ETIMEOUT);
        tn_error_clear(&err);
        tn_run_result_clear(&r);
    }
    assert_int_equal(tn_fs_remove_tree(run_dir, NULL), TN_OK);
    run_create(RUN_WAIT, 1000, 1000, "no");
    run_start();
    assert_int_equal(kill((pid_t)run_status().shim_pid, SIGKILL), 0);
    assert_true(run_ends(run_status().shim_pid));
    assert_int_equal(tn_hook_run(NULL, run_dir, argv, NULL, run_root, RUN_SOON_MS, &r, &err), TN_EUNKNOWN);
    tn_error_free(err);
    tn_run_result_clear(&r);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, run_set_up, run_tear_down)

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "__shim") == 0)
        return tn_shim_main(argv[2]);
    const struct CMUnitTest tests[] = {
        CASE(test_hook),
        CASE(test_hook_outlives_its_caller),
        CASE(test_hook_timeout_and_loss),
    };
    if (!run_possible())
        return 0;
    if (!run_set_up_root())
        return 1;
    int failed = cmocka_run_group_tests_name("hook_shim", tests, NULL, NULL);
    tn_fs_remove_tree(run_root, NULL);
    return failed;
}
