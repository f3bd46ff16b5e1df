/* Real programs under the real shim: this test program is the shim's executable (main dispatches `__shim`).
 * */
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
#include "lib/transport/host.h"
#include "lib/transport/shim.h"
#include "lib/transport/shim_files.h"
#include "lib/transport/shim_lock.h"
#include "lib/transport/shim_tail.h"
#include "tests/unit/transport_shim/run_fixture.h"

static void test_life(void **state)
{
    (void)state;
    assert_int_equal(run_status().state, TN_SHIM_ABSENT);
    run_create(RUN_WAIT, 1000, 1 << 20, "no");
    assert_int_equal(run_status().state, TN_SHIM_CREATED);
    run_start();
    struct tn_shim_status s = run_status();
    assert_int_equal(s.state, TN_SHIM_RUNNING);
    assert_true(s.pid > 0 && s.shim_pid > 0 && s.pid != s.shim_pid && !run_gone(s.pid));
    assert_true(tn_wall_ms() - s.started_at < RUN_SOON_MS);
    free(run_await_word("ready"));
    assert_int_equal(tn_shim_stop(NULL, run_dir, NULL), TN_OK);
    assert_true(run_gone(s.pid));
    s = run_status();
    assert_int_equal(s.state, TN_SHIM_ENDED);
    assert_int_equal(s.signal, SIGTERM);
    assert_int_equal(s.exit_code, -1);
    assert_true(s.stopped && !s.lost && s.ended_at >= s.started_at);
    assert_int_equal(tn_shim_stop(NULL, run_dir, NULL), TN_OK);
    run_start();
    assert_int_equal(run_status().state, TN_SHIM_RUNNING);
}

static void test_exit_code_and_output(void **state)
{
    (void)state;
    run_create("echo out; echo err >&2; exit 7", 1000, 1 << 20, "no");
    run_start();
    struct tn_shim_status s = run_await_end();
    assert_int_equal(s.state, TN_SHIM_ENDED);
    assert_int_equal(s.exit_code, 7);
    assert_int_equal(s.signal, 0);
    assert_false(s.stopped);
    tn_autobuf out = TN_BUF_INIT(1000);
    assert_int_equal(tn_shim_tail(run_dir, 0, &out, NULL), TN_OK);
    assert_string_equal(out.data, "out\nerr\n");
}

static void test_second_start_changes_nothing(void **state)
{
    (void)state;
    run_create(RUN_WAIT, 1000, 1 << 20, "no");
    run_start();
    struct tn_shim_status first = run_status();
    run_start();
    assert_int_equal(run_status().pid, first.pid);
    /* Not even a second shim on the same folder, started by hand. */
    const char *const argv[] = {"/proc/self/exe", "__shim", run_dir, NULL};
    struct tn_run_result r = {0};
    struct tn_host *h = tn_host_local();
    assert_int_equal(h->ops->run(h, NULL, argv, NULL, RUN_SOON_MS, &r, NULL), TN_OK);
    assert_int_equal(r.exit_code, 0);
    assert_int_equal(run_status().pid, first.pid);
    assert_int_equal(run_status().shim_pid, first.shim_pid);
    tn_run_result_clear(&r);
    tn_host_free(h);
}

static void test_killed_shim_takes_all_along(void **state)
{
    (void)state;
    run_create("sh -c 'echo grandchild $$; while :; do read -r x < fifo; done' & " RUN_WAIT, 1000, 1 << 20,
               "always");
    run_start();
    tn_autofree char *text = run_await_word("grandchild ");
    int64_t orphan = strtol(strstr(text, "grandchild ") + 11, NULL, 10);
    struct tn_shim_status s = run_status();
    assert_int_equal(kill((pid_t)s.shim_pid, SIGKILL), 0);
    assert_true(run_ends(s.shim_pid));
    assert_true(run_ends(s.pid));
    assert_false(tn_shim_lock_held(run_dir));
    struct tn_shim_status after = run_status();
    assert_int_equal(after.state, TN_SHIM_ENDED);
    assert_true(after.lost);
    assert_string_equal(after.error, "its shim was killed");
    assert_int_equal(tn_shim_stop(NULL, run_dir, NULL), TN_OK);
    assert_true(run_ends(orphan));
    run_start();
    assert_int_equal(run_status().state, TN_SHIM_RUNNING);
    assert_false(run_status().lost);
}

static void test_stop_of_a_program_that_ignores_it(void **state)
{
    (void)state;
    run_create("trap '' TERM; " RUN_WAIT, 200, 1 << 20, "always");
    run_start();
    free(run_await_word("ready"));
    int64_t before = tn_mono_ms();
    assert_int_equal(tn_shim_stop(NULL, run_dir, NULL), TN_OK);
    assert_true(tn_mono_ms() - before >= 200);
    assert_true(tn_mono_ms() - before < 4000);
    struct tn_shim_status s = run_status();
    assert_int_equal(s.signal, SIGKILL);
    assert_true(s.stopped);
}

/* The shell dies of the signal; what it runs must still hear of it and get the grace. */
static void test_stop_reaches_what_a_shell_runs(void **state)
{
    (void)state;
    run_create(
        "sh -c 'trap \"echo polite; exit 0\" TERM; echo inner; while :; do read -r x < fifo; done'; true",
        5000, 1 << 20, "no");
    run_start();
    free(run_await_word("inner"));
    assert_int_equal(tn_shim_stop(NULL, run_dir, NULL), TN_OK);
    tn_autobuf out = TN_BUF_INIT(1000);
    assert_int_equal(tn_shim_tail(run_dir, 0, &out, NULL), TN_OK);
    assert_non_null(strstr(out.data, "polite\n"));
}

/* A grandchild that left the program's group and session does not outlive it. */
static void test_end_takes_what_left_the_session(void **state)
{
    (void)state;
    run_create("setsid sh -c 'echo left $$; while :; do read -r x < fifo; done' & read -r x < fifo", 300,
               1 << 20, "no");
    run_start();
    tn_autofree char *text = run_await_word("left ");
    int64_t pid = strtol(strstr(text, "left ") + 5, NULL, 10);
    assert_int_equal(kill((pid_t)run_status().pid, SIGKILL), 0);
    struct tn_shim_status s = run_await_end();
    assert_int_equal(s.signal, SIGKILL);
    assert_true(run_ends(pid));
}

struct policy_case {
    const char *policy, *script;
    bool again;
};

static void test_restart_policies(void **state)
{
    static const struct policy_case cases[] = {
        {"no", "exit 1", false},
        {"always", "exit 0", true},
        {"on-failure", "exit 0", false},
        {"on-failure", "exit 1", true},
        {"unless-stopped", "exit 0", true},
        {"on-failure", "kill -9 $$", true},
        {"whatever else", "exit 1", false},
    };
    (void)state;
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        tn_autofree char *script =
            tn_format("if [ -e again ]; then " RUN_WAIT "; fi; : > again; %s", cases[i].script);
        run_create(script, 1000, 1 << 20, cases[i].policy);
        run_start();
        if (cases[i].again) {
            free(run_await_word("ready"));
            assert_int_equal(run_status().state, TN_SHIM_RUNNING);
            assert_int_equal(run_status().restarts, 1);
        } else {
            assert_int_equal(run_await_end().restarts, 0);
        }
        assert_int_equal(tn_shim_stop(NULL, run_dir, NULL), TN_OK);
        assert_int_equal(tn_fs_remove_tree(run_dir, NULL), TN_OK);
    }
}

/* Started with `no`; the policy that stands in the file when the program ends is the one that counts. */
static void test_policy_is_handed_over_late(void **state)
{
    (void)state;
    run_create("echo run $$; " RUN_WAIT, 1000, 1 << 20, "no");
    run_start();
    free(run_await_word("ready"));
    tn_autofree char *path = tn_path_join(run_dir, "policy");
    assert_int_equal(tn_fs_write_atomic(path, "always", 6, 0600, NULL), TN_OK);
    int64_t before = run_status().pid;
    assert_int_equal(kill((pid_t)before, SIGKILL), 0);
    tn_autofree char *again = NULL;
    while (!again || !strstr(strstr(again, "run ") + 4, "run ")) {
        free(again);
        tn_autobuf b = TN_BUF_INIT(1000);
        assert_int_equal(tn_shim_tail(run_dir, 0, &b, NULL), TN_OK);
        again = tn_buf_take(&b);
    }
    assert_int_equal(run_status().state, TN_SHIM_RUNNING);
    assert_int_equal(run_status().restarts, 1);
    assert_true(tn_fs_write_atomic(path, "no", 2, 0600, NULL) == TN_OK);
    assert_int_equal(kill((pid_t)run_status().pid, SIGKILL), 0);
    assert_int_equal(run_await_end().restarts, 1);
}

static void test_stop_between_two_runs(void **state)
{
    (void)state;
    run_create("exit 3", 1000, 1 << 20, "always");
    run_start();
    while (run_status().restarts < 2) { /* the pauses double: by now the next one is long enough to meet */
    }
    assert_int_equal(tn_shim_stop(NULL, run_dir, NULL), TN_OK);
    struct tn_shim_status s = run_status();
    assert_int_equal(s.state, TN_SHIM_ENDED);
    assert_true(s.stopped);
    assert_false(s.lost);
}

static void test_output_is_rotated_once(void **state)
{
    (void)state;
    run_create("i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); done; echo last", 1000, 500, "no");
    run_start();
    assert_int_equal(run_await_end().exit_code, 0);
    static const char *const names[] = {"output.log", "output.log.1"};
    for (size_t i = 0; i < TN_COUNT(names); i++) {
        tn_autofree char *path = tn_path_join(run_dir, names[i]);
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        assert_in_range(st.st_size, 1, 500);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    tn_autobuf out = TN_BUF_INIT(1 << 20);
    assert_int_equal(tn_shim_tail(run_dir, 2, &out, NULL), TN_OK);
    assert_string_equal(out.data, "line 199\nlast\n");
}

struct exec_case {
    const char *argv0, *cwd, *message;
};

static void test_exec_failure_has_its_reason(void **state)
{
    static const struct exec_case cases[] = {
        {"./server", NULL, "program './server': No such file or directory"},
        {"/", NULL, "program '/': Permission denied"},
        {"/bin/true", "/no/such", "folder '/no/such': No such file or directory"},
    };
    (void)state;
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        json_t *spec =
            json_pack("{s:[s], s:s}", "argv", cases[i].argv0, "cwd", cases[i].cwd ? cases[i].cwd : run_root);
        assert_int_equal(tn_shim_create(run_dir, spec, NULL, "always", NULL), TN_OK);
        json_decref(spec);
        struct tn_error *err = NULL;
        assert_int_equal(tn_shim_start(NULL, run_dir, RUN_SOON_MS, &err), TN_EFAIL);
        assert_string_equal(tn_error_message(err), cases[i].message);
        tn_error_free(err);
        assert_false(tn_shim_lock_held(run_dir));
        struct tn_shim_status s = run_status();
        assert_int_equal(s.state, TN_SHIM_ENDED);
        assert_string_equal(s.error, cases[i].message);
        assert_int_equal(tn_fs_remove_tree(run_dir, NULL), TN_OK);
    }
}

static void test_bad_spec(void **state)
{
    static const char *const specs[] = {"",
                                        "[]",
                                        "{}",
                                        "{\"argv\":[]}",
                                        "{\"argv\":[1]}",
                                        "{\"argv\":[\"x\"],\"env\":[]}",
                                        "{\"argv\":[\"x\"],\"env\":{\"A\":1}}",
                                        "{\"argv\":[\"x\"],\"signal\":\"SIGNONE\"}",
                                        "{\"argv\":[\"x\"],\"cwd\":1}",
                                        "{\"argv\":[\"x\"],\"grace_ms\":-1}",
                                        "{\"argv\":[\"x\"],\"env\":{\"A=B\":\"1\"}}"};
    (void)state;
    run_create("true", 1000, 1000, "no");
    tn_autofree char *path = tn_path_join(run_dir, "spec.json");
    for (size_t i = 0; i < TN_COUNT(specs); i++) {
        assert_int_equal(tn_fs_write_atomic(path, specs[i], strlen(specs[i]), 0600, NULL), TN_OK);
        assert_int_equal(tn_shim_start(NULL, run_dir, RUN_SOON_MS, NULL), TN_EFAIL);
    }
}

static void test_environment_and_descriptors(void **state)
{
    (void)state;
    setenv("TURNOUT_TEST_SECRET", "s3cret", 1);
    run_create("env; for f in /proc/$$/fd/*; do echo fd ${f##*/}; done; echo umask $(umask); grep Sig "
               "/proc/self/status",
               1000, 1 << 20, "no");
    int leak = dup(0);
    run_start();
    close(leak);
    assert_int_equal(run_await_end().exit_code, 0);
    tn_autobuf out = TN_BUF_INIT(1 << 20);
    assert_int_equal(tn_shim_tail(run_dir, 0, &out, NULL), TN_OK);
    assert_null(strstr(out.data, "s3cret"));
    assert_non_null(strstr(out.data, "COLOUR=blue\n"));
    assert_non_null(strstr(out.data, "PATH="));
    tn_autofree char *mark = tn_format("TURNOUT_SHIM_DIR=%s\n", run_dir);
    assert_non_null(strstr(out.data, mark));
    assert_null(strstr(out.data, "fd 4"));
    assert_non_null(strstr(out.data, "umask 0077\n"));
    assert_non_null(strstr(out.data, "SigBlk:\t0000000000000000"));
    /* 32 and 33 belong to the C library, which lets nobody set them: whoever ran the test may have left them ignored */
    const char *ignored = strstr(out.data, "SigIgn:\t");
    assert_non_null(ignored);
    assert_int_equal(strtoull(ignored + strlen("SigIgn:\t"), NULL, 16) & ~0x180000000ull, 0);
    unsetenv("TURNOUT_TEST_SECRET");
}

static long stat_field(int64_t pid, int field)
{
    tn_autofree char *path = tn_format("/proc/%lld/stat", (long long)pid);
    tn_autofree char *text = tn_fs_read(path, 4096, NULL, NULL);
    assert_non_null(text);
    char *rest = strrchr(text, ')') + 2, *word = NULL;
    for (int i = 3; i <= field; i++)
        word = strsep(&rest, " ");
    return strtol(word, NULL, 10);
}

enum { PPID = 4, PGRP = 5, SESSION = 6, TTY = 7 };

static void test_leaves_session_and_parent(void **state)
{
    (void)state;
    run_create(RUN_WAIT, 1000, 1 << 20, "no");
    run_start();
    struct tn_shim_status s = run_status();
    assert_true(stat_field(s.shim_pid, PPID) != getpid());
    assert_true(stat_field(s.shim_pid, SESSION) != getsid(0));
    assert_int_equal(stat_field(s.shim_pid, TTY), 0);
    assert_true(stat_field(s.shim_pid, SESSION) != s.shim_pid); /* no leader: can never get a terminal */
    assert_int_equal(stat_field(s.pid, PPID), s.shim_pid);
    assert_int_equal(stat_field(s.pid, PGRP), s.pid);
    tn_autofree char *cwd = tn_format("/proc/%lld/cwd", (long long)s.shim_pid);
    char link[16] = {0};
    assert_int_equal(readlink(cwd, link, sizeof(link) - 1), 1);
    assert_string_equal(link, "/");
}

static void test_signal_goes_to_the_program(void **state)
{
    (void)state;
    run_create("trap 'echo reloaded' HUP; " RUN_WAIT, 1000, 1 << 20, "no");
    assert_int_equal(tn_shim_signal(run_dir, SIGHUP, NULL), TN_ENOTFOUND);
    run_start();
    free(run_await_word("ready"));
    assert_int_equal(tn_shim_signal(run_dir, SIGHUP, NULL), TN_OK);
    free(run_await_word("reloaded"));
    assert_int_equal(tn_shim_stop(NULL, run_dir, NULL), TN_OK);
    assert_int_equal(tn_shim_signal(run_dir, SIGHUP, NULL), TN_ENOTFOUND);
}

/* Every state that a crash can leave between two files. */
static void test_read_of_what_a_crash_leaves(void **state)
{
    static const struct {
        const char *label, *boot; /* "" = this boot's, NULL = no run.json */
        int64_t pid;
        int restarts, end_run; /* -1 = no status.json */
        enum tn_shim_state state;
        bool lost;
    } cases[] = {
        {"made only", NULL, 0, 0, -1, TN_SHIM_CREATED, false},
        {"before the fork", "", 0, 0, -1, TN_SHIM_ENDED, true},
        {"running", "", 123456, 0, -1, TN_SHIM_ENDED, true},
        {"ended", "", 123456, 0, 0, TN_SHIM_ENDED, false},
        {"second run", "", 123456, 1, 0, TN_SHIM_ENDED, true},
        {"second run ended", "", 123456, 1, 1, TN_SHIM_ENDED, false},
        {"another boot", "f00", 123456, 0, -1, TN_SHIM_ENDED, true},
        {"ended before the restart of the host", "f00", 123456, 0, 0, TN_SHIM_ENDED, false},
        {"never executed", NULL, 0, 0, 0, TN_SHIM_ENDED, false},
    };
    (void)state;
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        run_create("true", 1000, 1000, "no");
        struct tn_shim_run run = {.shim_pid = 123455, .pid = cases[i].pid, .restarts = cases[i].restarts};
        if (cases[i].boot) {
            snprintf(run.boot_id, sizeof(run.boot_id), "%s", cases[i].boot);
            if (!*cases[i].boot)
                tn_boot_id(run.boot_id);
            assert_int_equal(tn_shim_run_write(run_dir, &run, NULL), TN_OK);
        }
        struct tn_shim_end end = {.exit_code = 4, .run = cases[i].end_run};
        if (cases[i].end_run >= 0)
            assert_int_equal(tn_shim_end_write(run_dir, &end, NULL), TN_OK);
        struct tn_shim_status s = run_status();
        if (s.state != cases[i].state || s.lost != cases[i].lost || s.pid != 0)
            fail_msg("%s: state %d lost %d", cases[i].label, s.state, s.lost);
        assert_int_equal(s.exit_code, cases[i].state == TN_SHIM_ENDED && !cases[i].lost ? 4 : -1);
        assert_int_equal(tn_shim_stop(NULL, run_dir, NULL), TN_OK);
        assert_int_equal(tn_fs_remove_tree(run_dir, NULL), TN_OK);
    }
}

static void test_create_is_a_claim(void **state)
{
    (void)state;
    run_create("true", 1000, 1000, "no");
    json_t *spec = run_spec_of("false", 1000, 1000);
    assert_int_equal(tn_shim_create(run_dir, spec, NULL, "no", NULL), TN_EEXISTS);
    json_decref(spec);
    char **names = NULL;
    size_t n = 0;
    assert_int_equal(tn_fs_list(run_root, &names, &n, NULL), TN_OK);
    for (size_t i = 0; i < n; i++)
        assert_int_not_equal(names[i][0], '.');
    tn_fs_list_free(names, n);
    tn_autofree char *path = tn_path_join(run_dir, "spec.json");
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, run_set_up, run_tear_down)

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "__shim") == 0)
        return tn_shim_main(argv[2]);
    const struct CMUnitTest tests[] = {
        CASE(test_life),
        CASE(test_exit_code_and_output),
        CASE(test_second_start_changes_nothing),
        CASE(test_killed_shim_takes_all_along),
        CASE(test_stop_of_a_program_that_ignores_it),
        CASE(test_stop_reaches_what_a_shell_runs),
        CASE(test_end_takes_what_left_the_session),
        CASE(test_restart_policies),
        CASE(test_policy_is_handed_over_late),
        CASE(test_stop_between_two_runs),
        CASE(test_output_is_rotated_once),
        CASE(test_exec_failure_has_its_reason),
        CASE(test_bad_spec),
        CASE(test_environment_and_descriptors),
        CASE(test_leaves_session_and_parent),
        CASE(test_signal_goes_to_the_program),
        CASE(test_read_of_what_a_crash_leaves),
        CASE(test_create_is_a_claim),
    };
    if (!run_possible())
        return 0;
    if (!run_set_up_root())
        return 1;
    int failed = cmocka_run_group_tests_name("shim", tests, NULL, NULL);
    tn_fs_remove_tree(run_root, NULL);
    return failed;
}
