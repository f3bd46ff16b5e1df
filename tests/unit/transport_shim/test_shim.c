/* Real programs under the real shim: this test program is the shim's executable (main dispatches `__shim`). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/fs.h"
#include "lib/base/mem.h"
#include "lib/transport/hook_shim.h"
#include "lib/transport/shim.h"
#include "lib/transport/shim_files.h"
#include "lib/transport/shim_lock.h"
#include "lib/transport/shim_tail.h"

#define SOON_MS 10000

static char root[] = "/tmp/turnout-shim-XXXXXX";
static char *dir; /* of the running test */

/* A program that says that it is ready and then waits for ever without a child of its own. */
#define WAIT "echo ready; while :; do read -r x < fifo; done"

static json_t *spec_of(const char *script, int grace_ms, int stdio_max)
{
    return json_pack("{s:[s,s,s], s:{s:s}, s:s, s:s, s:i, s:i}", "argv", "/bin/sh", "-c", script, "env",
                     "COLOUR", "blue", "cwd", dir, "signal", "SIGTERM", "grace_ms", grace_ms, "stdio_max",
                     stdio_max);
}

static void create(const char *script, int grace_ms, int stdio_max, const char *policy)
{
    json_t *spec = spec_of(script, grace_ms, stdio_max);
    assert_int_equal(tn_shim_create(dir, spec, NULL, policy, NULL), TN_OK);
    json_decref(spec);
    tn_autofree char *fifo = tn_path_join(dir, "fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
}

static int set_up(void **state)
{
    static int n;
    (void)state;
    dir = tn_format("%s/%d", root, n++);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    int rc = tn_shim_stop(NULL, dir, NULL);
    rc = rc == TN_OK ? tn_fs_remove_tree(dir, NULL) : rc;
    free(dir);
    return rc;
}

static void start(void)
{
    struct tn_error *err = NULL;
    if (tn_shim_start(NULL, dir, SOON_MS, &err) != TN_OK)
        fail_msg("start: %s", tn_error_message(err));
}

static struct tn_shim_status status(void)
{
    struct tn_shim_status s;
    assert_int_equal(tn_shim_read(dir, &s, NULL), TN_OK);
    return s;
}

static struct tn_shim_status await_end(void)
{
    assert_int_equal(tn_shim_wait(NULL, dir, "test", tn_mono_ms() + SOON_MS, NULL), 1);
    return status();
}

static bool stop_at_word(void *arg, const char *data, size_t n)
{
    struct tn_buf *b = arg;
    char *word = b->data; /* the first bytes are the word waited for, up to '|' */
    size_t len = strcspn(word, "|");
    tn_buf_add(b, data, n);
    tn_autofree char *w = tn_strndup(b->data, len);
    return strstr(b->data + len + 1, w) == NULL;
}

/* Waits until the program has written `word`; returns all that it wrote. */
static char *await_word(const char *word)
{
    tn_autobuf b = TN_BUF_INIT(1 << 20);
    tn_buf_printf(&b, "%s|", word);
    size_t len = b.len;
    assert_int_equal(tn_shim_follow(NULL, dir, 0, stop_at_word, &b, NULL), TN_OK);
    if (!strstr(b.data + len, word))
        fail_msg("the program ended without '%s': %s", word, b.data + len);
    return tn_strdup(b.data + len);
}

/* True when the process ends soon. */
static bool ends(int64_t pid)
{
    tn_autoclose int fd = pidfd_open((pid_t)pid, 0);
    return fd < 0 || tn_wait_fd(NULL, "test", fd, tn_mono_ms() + SOON_MS, NULL) == 1;
}

static bool gone(int64_t pid)
{
    return kill((pid_t)pid, 0) < 0 && errno == ESRCH;
}

static void test_life(void **state)
{
    (void)state;
    assert_int_equal(status().state, TN_SHIM_ABSENT);
    create(WAIT, 1000, 1 << 20, "no");
    assert_int_equal(status().state, TN_SHIM_CREATED);
    start();
    struct tn_shim_status s = status();
    assert_int_equal(s.state, TN_SHIM_RUNNING);
    assert_true(s.pid > 0 && s.shim_pid > 0 && s.pid != s.shim_pid && !gone(s.pid));
    assert_true(tn_wall_ms() - s.started_at < SOON_MS);
    tn_autofree char *text = await_word("ready");
    assert_int_equal(tn_shim_stop(NULL, dir, NULL), TN_OK);
    assert_true(gone(s.pid));
    s = status();
    assert_int_equal(s.state, TN_SHIM_ENDED);
    assert_int_equal(s.signal, SIGTERM);
    assert_int_equal(s.exit_code, -1);
    assert_true(s.stopped && !s.lost && s.ended_at >= s.started_at);
    assert_int_equal(tn_shim_stop(NULL, dir, NULL), TN_OK);
    start();
    assert_int_equal(status().state, TN_SHIM_RUNNING);
}

static void test_exit_code_and_output(void **state)
{
    (void)state;
    create("echo out; echo err >&2; exit 7", 1000, 1 << 20, "no");
    start();
    struct tn_shim_status s = await_end();
    assert_int_equal(s.state, TN_SHIM_ENDED);
    assert_int_equal(s.exit_code, 7);
    assert_int_equal(s.signal, 0);
    assert_false(s.stopped);
    tn_autobuf out = TN_BUF_INIT(1000);
    assert_int_equal(tn_shim_tail(dir, 0, &out, NULL), TN_OK);
    assert_string_equal(out.data, "out\nerr\n");
}

static void test_second_start_changes_nothing(void **state)
{
    (void)state;
    create(WAIT, 1000, 1 << 20, "no");
    start();
    struct tn_shim_status first = status();
    start();
    assert_int_equal(status().pid, first.pid);
    /* Not even a second shim on the same folder, started by hand. */
    const char *const argv[] = {"/proc/self/exe", "__shim", dir, NULL};
    struct tn_run_result r = {0};
    struct tn_host *h = tn_host_local();
    assert_int_equal(h->ops->run(h, NULL, argv, NULL, SOON_MS, &r, NULL), TN_OK);
    assert_int_equal(r.exit_code, 0);
    assert_int_equal(status().pid, first.pid);
    assert_int_equal(status().shim_pid, first.shim_pid);
    tn_run_result_clear(&r);
    tn_host_free(h);
}

static void test_killed_shim_takes_all_along(void **state)
{
    (void)state;
    create("sh -c 'echo grandchild $$; while :; do read -r x < fifo; done' & " WAIT, 1000, 1 << 20, "always");
    start();
    tn_autofree char *text = await_word("grandchild ");
    int64_t orphan = strtol(strstr(text, "grandchild ") + 11, NULL, 10);
    struct tn_shim_status s = status();
    assert_int_equal(kill((pid_t)s.shim_pid, SIGKILL), 0);
    assert_true(ends(s.shim_pid));
    assert_true(ends(s.pid));
    assert_false(tn_shim_lock_held(dir));
    struct tn_shim_status after = status();
    assert_int_equal(after.state, TN_SHIM_ENDED);
    assert_true(after.lost);
    assert_string_equal(after.error, "its shim was killed");
    assert_int_equal(tn_shim_stop(NULL, dir, NULL), TN_OK);
    assert_true(ends(orphan));
    start();
    assert_int_equal(status().state, TN_SHIM_RUNNING);
    assert_false(status().lost);
}

static void test_stop_of_a_program_that_ignores_it(void **state)
{
    (void)state;
    create("trap '' TERM; " WAIT, 200, 1 << 20, "always");
    start();
    tn_autofree char *text = await_word("ready");
    int64_t before = tn_mono_ms();
    assert_int_equal(tn_shim_stop(NULL, dir, NULL), TN_OK);
    assert_true(tn_mono_ms() - before >= 200);
    assert_true(tn_mono_ms() - before < 4000);
    struct tn_shim_status s = status();
    assert_int_equal(s.signal, SIGKILL);
    assert_true(s.stopped);
}

/* The shell dies of the signal; what it runs must still hear of it and get the grace. */
static void test_stop_reaches_what_a_shell_runs(void **state)
{
    (void)state;
    create("sh -c 'trap \"echo polite; exit 0\" TERM; echo inner; while :; do read -r x < fifo; done'; true",
           5000, 1 << 20, "no");
    start();
    tn_autofree char *text = await_word("inner");
    assert_int_equal(tn_shim_stop(NULL, dir, NULL), TN_OK);
    tn_autobuf out = TN_BUF_INIT(1000);
    assert_int_equal(tn_shim_tail(dir, 0, &out, NULL), TN_OK);
    assert_non_null(strstr(out.data, "polite\n"));
}

/* A grandchild that left the program's group and session does not outlive it. */
static void test_end_takes_what_left_the_session(void **state)
{
    (void)state;
    create("setsid sh -c 'echo left $$; while :; do read -r x < fifo; done' & read -r x < fifo", 300, 1 << 20,
           "no");
    start();
    tn_autofree char *text = await_word("left ");
    int64_t pid = strtol(strstr(text, "left ") + 5, NULL, 10);
    assert_int_equal(kill((pid_t)status().pid, SIGKILL), 0);
    struct tn_shim_status s = await_end();
    assert_int_equal(s.signal, SIGKILL);
    assert_true(ends(pid));
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
            tn_format("if [ -e again ]; then " WAIT "; fi; : > again; %s", cases[i].script);
        create(script, 1000, 1 << 20, cases[i].policy);
        start();
        if (cases[i].again) {
            tn_autofree char *text = await_word("ready");
            assert_int_equal(status().state, TN_SHIM_RUNNING);
            assert_int_equal(status().restarts, 1);
        } else {
            assert_int_equal(await_end().restarts, 0);
        }
        assert_int_equal(tn_shim_stop(NULL, dir, NULL), TN_OK);
        assert_int_equal(tn_fs_remove_tree(dir, NULL), TN_OK);
    }
}

/* Started with `no`; the policy that stands in the file when the program ends is the one that counts. */
static void test_policy_is_handed_over_late(void **state)
{
    (void)state;
    create("echo run $$; " WAIT, 1000, 1 << 20, "no");
    start();
    tn_autofree char *text = await_word("ready");
    tn_autofree char *path = tn_path_join(dir, "policy");
    assert_int_equal(tn_fs_write_atomic(path, "always", 6, 0600, NULL), TN_OK);
    int64_t before = status().pid;
    assert_int_equal(kill((pid_t)before, SIGKILL), 0);
    tn_autofree char *again = NULL;
    while (!again || !strstr(strstr(again, "run ") + 4, "run ")) {
        free(again);
        tn_autobuf b = TN_BUF_INIT(1000);
        assert_int_equal(tn_shim_tail(dir, 0, &b, NULL), TN_OK);
        again = tn_buf_take(&b);
    }
    assert_int_equal(status().state, TN_SHIM_RUNNING);
    assert_int_equal(status().restarts, 1);
    assert_true(tn_fs_write_atomic(path, "no", 2, 0600, NULL) == TN_OK);
    assert_int_equal(kill((pid_t)status().pid, SIGKILL), 0);
    assert_int_equal(await_end().restarts, 1);
}

static void test_stop_between_two_runs(void **state)
{
    (void)state;
    create("exit 3", 1000, 1 << 20, "always");
    start();
    while (status().restarts < 2) { /* the pauses double: by now the next one is long enough to meet */
    }
    assert_int_equal(tn_shim_stop(NULL, dir, NULL), TN_OK);
    struct tn_shim_status s = status();
    assert_int_equal(s.state, TN_SHIM_ENDED);
    assert_true(s.stopped);
    assert_false(s.lost);
}

static void test_output_is_rotated_once(void **state)
{
    (void)state;
    create("i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); done; echo last", 1000, 500, "no");
    start();
    assert_int_equal(await_end().exit_code, 0);
    static const char *const names[] = {"output.log", "output.log.1"};
    for (size_t i = 0; i < TN_COUNT(names); i++) {
        tn_autofree char *path = tn_path_join(dir, names[i]);
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        assert_in_range(st.st_size, 1, 500);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    tn_autobuf out = TN_BUF_INIT(1 << 20);
    assert_int_equal(tn_shim_tail(dir, 2, &out, NULL), TN_OK);
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
            json_pack("{s:[s], s:s}", "argv", cases[i].argv0, "cwd", cases[i].cwd ? cases[i].cwd : root);
        assert_int_equal(tn_shim_create(dir, spec, NULL, "always", NULL), TN_OK);
        json_decref(spec);
        struct tn_error *err = NULL;
        assert_int_equal(tn_shim_start(NULL, dir, SOON_MS, &err), TN_EFAIL);
        assert_string_equal(tn_error_message(err), cases[i].message);
        tn_error_free(err);
        assert_false(tn_shim_lock_held(dir));
        struct tn_shim_status s = status();
        assert_int_equal(s.state, TN_SHIM_ENDED);
        assert_string_equal(s.error, cases[i].message);
        assert_int_equal(tn_fs_remove_tree(dir, NULL), TN_OK);
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
    create("true", 1000, 1000, "no");
    tn_autofree char *path = tn_path_join(dir, "spec.json");
    for (size_t i = 0; i < TN_COUNT(specs); i++) {
        assert_int_equal(tn_fs_write_atomic(path, specs[i], strlen(specs[i]), 0600, NULL), TN_OK);
        assert_int_equal(tn_shim_start(NULL, dir, SOON_MS, NULL), TN_EFAIL);
    }
}

static void test_environment_and_descriptors(void **state)
{
    (void)state;
    setenv("TURNOUT_TEST_SECRET", "s3cret", 1);
    create("env; for f in /proc/$$/fd/*; do echo fd ${f##*/}; done; echo umask $(umask); grep Sig "
           "/proc/self/status",
           1000, 1 << 20, "no");
    int leak = dup(0);
    start();
    close(leak);
    assert_int_equal(await_end().exit_code, 0);
    tn_autobuf out = TN_BUF_INIT(1 << 20);
    assert_int_equal(tn_shim_tail(dir, 0, &out, NULL), TN_OK);
    assert_null(strstr(out.data, "s3cret"));
    assert_non_null(strstr(out.data, "COLOUR=blue\n"));
    assert_non_null(strstr(out.data, "PATH="));
    tn_autofree char *mark = tn_format("TURNOUT_SHIM_DIR=%s\n", dir);
    assert_non_null(strstr(out.data, mark));
    assert_null(strstr(out.data, "fd 4"));
    assert_non_null(strstr(out.data, "umask 0077\n"));
    assert_non_null(strstr(out.data, "SigBlk:\t0000000000000000"));
    assert_non_null(strstr(out.data, "SigIgn:\t0000000000000000"));
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
    create(WAIT, 1000, 1 << 20, "no");
    start();
    struct tn_shim_status s = status();
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
    create("trap 'echo reloaded' HUP; " WAIT, 1000, 1 << 20, "no");
    assert_int_equal(tn_shim_signal(dir, SIGHUP, NULL), TN_ENOTFOUND);
    start();
    tn_autofree char *text = await_word("ready");
    assert_int_equal(tn_shim_signal(dir, SIGHUP, NULL), TN_OK);
    tn_autofree char *more = await_word("reloaded");
    assert_int_equal(tn_shim_stop(NULL, dir, NULL), TN_OK);
    assert_int_equal(tn_shim_signal(dir, SIGHUP, NULL), TN_ENOTFOUND);
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
        create("true", 1000, 1000, "no");
        struct tn_shim_run run = {.shim_pid = 123455, .pid = cases[i].pid, .restarts = cases[i].restarts};
        if (cases[i].boot) {
            snprintf(run.boot_id, sizeof(run.boot_id), "%s", cases[i].boot);
            if (!*cases[i].boot)
                tn_boot_id(run.boot_id);
            assert_int_equal(tn_shim_run_write(dir, &run, NULL), TN_OK);
        }
        struct tn_shim_end end = {.exit_code = 4, .run = cases[i].end_run};
        if (cases[i].end_run >= 0)
            assert_int_equal(tn_shim_end_write(dir, &end, NULL), TN_OK);
        struct tn_shim_status s = status();
        if (s.state != cases[i].state || s.lost != cases[i].lost || s.pid != 0)
            fail_msg("%s: state %d lost %d", cases[i].label, s.state, s.lost);
        assert_int_equal(s.exit_code, cases[i].state == TN_SHIM_ENDED && !cases[i].lost ? 4 : -1);
        assert_int_equal(tn_shim_stop(NULL, dir, NULL), TN_OK);
        assert_int_equal(tn_fs_remove_tree(dir, NULL), TN_OK);
    }
}

static void test_create_is_a_claim(void **state)
{
    (void)state;
    create("true", 1000, 1000, "no");
    json_t *spec = spec_of("false", 1000, 1000);
    assert_int_equal(tn_shim_create(dir, spec, NULL, "no", NULL), TN_EEXISTS);
    json_decref(spec);
    char **names = NULL;
    size_t n = 0;
    assert_int_equal(tn_fs_list(root, &names, &n, NULL), TN_OK);
    for (size_t i = 0; i < n; i++)
        assert_int_not_equal(names[i][0], '.');
    tn_fs_list_free(names, n);
    tn_autofree char *path = tn_path_join(dir, "spec.json");
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_hook(void **state)
{
    (void)state;
    enum tn_hook_state s;
    assert_int_equal(tn_hook_probe(dir, &s, NULL), TN_OK);
    assert_int_equal(s, TN_HOOK_ABSENT);
    tn_autofree char *mark = tn_format("%s/ran", root);
    tn_autofree char *script = tn_format("echo $GREETING $TURNOUT_TEST; echo x >> %s; exit 5", mark);
    const char *const argv[] = {"/bin/sh", "-c", script, NULL};
    const char *const env[] = {"GREETING=hello", NULL};
    setenv("TURNOUT_TEST", "there", 1);
    for (int i = 0; i < 2; i++) {
        struct tn_run_result r = {0};
        assert_int_equal(tn_hook_run(NULL, dir, argv, env, root, SOON_MS, &r, NULL), TN_OK);
        assert_int_equal(r.exit_code, 5);
        assert_string_equal(r.out.data, "hello there\n");
        tn_run_result_clear(&r);
    }
    unsetenv("TURNOUT_TEST");
    tn_autofree char *times = tn_fs_read(mark, 100, NULL, NULL);
    assert_string_equal(times, "x\n");
    assert_int_equal(tn_hook_probe(dir, &s, NULL), TN_OK);
    assert_int_equal(s, TN_HOOK_ENDED);
    unlink(mark);
    /* The environment, which may hold secrets, is not written down. */
    tn_autofree char *path = tn_path_join(dir, "spec.json");
    tn_autofree char *spec = tn_fs_read(path, 10000, NULL, NULL);
    assert_null(strstr(spec, "there"));
}

static void test_hook_outlives_its_caller(void **state)
{
    (void)state;
    struct tn_cancel *c = tn_cancel_new();
    tn_autofree char *fifo = tn_format("%s/go", root);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    tn_autofree char *script = tn_format("read -r x < %s; echo $x", fifo);
    const char *const argv[] = {"/bin/sh", "-c", script, NULL};
    struct tn_run_result r = {0};
    tn_cancel_set_deadline(c, tn_mono_ms() + 500);
    assert_int_equal(tn_hook_run(c, dir, argv, NULL, root, SOON_MS, &r, NULL), TN_ETIMEOUT);
    enum tn_hook_state s;
    assert_int_equal(tn_hook_probe(dir, &s, NULL), TN_OK);
    assert_int_equal(s, TN_HOOK_RUNNING);
    FILE *f = fopen(fifo, "we");
    assert_non_null(f);
    fputs("gone on\n", f);
    fclose(f);
    assert_int_equal(tn_hook_run(NULL, dir, argv, NULL, root, SOON_MS, &r, NULL), TN_OK);
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
        assert_int_equal(tn_hook_run(NULL, dir, argv, NULL, root, 100, &r, &err), TN_ETIMEOUT);
        tn_error_clear(&err);
        tn_run_result_clear(&r);
    }
    assert_int_equal(tn_fs_remove_tree(dir, NULL), TN_OK);
    create(WAIT, 1000, 1000, "no");
    start();
    assert_int_equal(kill((pid_t)status().shim_pid, SIGKILL), 0);
    assert_true(ends(status().shim_pid));
    assert_int_equal(tn_hook_run(NULL, dir, argv, NULL, root, SOON_MS, &r, &err), TN_EUNKNOWN);
    tn_error_free(err);
    tn_run_result_clear(&r);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

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
        CASE(test_hook),
        CASE(test_hook_outlives_its_caller),
        CASE(test_hook_timeout_and_loss),
    };
    if (!mkdtemp(root))
        return 1;
    int failed = cmocka_run_group_tests_name("shim", tests, NULL, NULL);
    tn_fs_remove_tree(root, NULL);
    return failed;
}
