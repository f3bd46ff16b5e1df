/* Commands, files and sockets of this host, with real programs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "turnout/clock.h"
#include "turnout/mem.h"
#include "lib/transport/run.h"

static char folder[] = "/tmp/turnout-host-XXXXXX";

struct run_case {
    const char *label;
    const char *argv[4];
    const char *input;
    int rc, exit_code, signal;
    const char *out, *err_text;
};

static const struct run_case runs[] = {
    {"output and code", {"/bin/sh", "-c", "echo a; echo b >&2; exit 3"}, NULL, TN_OK, 3, 0, "a\n", "b\n"},
    {"input", {"cat"}, "from us", TN_OK, 0, 0, "from us", ""},
    {"no input is an empty one", {"cat"}, NULL, TN_OK, 0, 0, "", ""},
    {"input that is not read", {"true"}, "ignored", TN_OK, 0, 0, "", ""},
    {"signal", {"/bin/sh", "-c", "kill -USR1 $$"}, NULL, TN_OK, -1, SIGUSR1, "", ""},
    {"no such program", {"/no/such/program"}, NULL, TN_ENOTFOUND, 0, 0, "", ""},
    {"no such name", {"turnout-no-such-program"}, NULL, TN_ENOTFOUND, 0, 0, "", ""},
    {"not a program", {"/etc"}, NULL, TN_EFAIL, 0, 0, "", ""},
    {"only 0, 1 and 2 are open",
     {"/bin/sh", "-c", "for f in /proc/$$/fd/*; do echo ${f##*/}; done"},
     NULL,
     TN_OK,
     0,
     0,
     NULL,
     ""},
};

static void test_run(void **state)
{
    (void)state;
    int leak = dup(0);
    struct tn_host *h = tn_host_local();
    for (size_t i = 0; i < TN_COUNT(runs); i++) {
        const struct run_case *c = &runs[i];
        struct tn_run_result r = {0};
        struct tn_error *err = NULL;
        int rc = h->ops->run(h, NULL, c->argv, c->input, 10000, &r, &err);
        if (rc != c->rc)
            fail_msg("%s: %d %s", c->label, rc, tn_error_message(err));
        assert_int_equal(r.exit_code, c->exit_code);
        assert_int_equal(r.signal, c->signal);
        if (c->out)
            assert_string_equal(r.out.data ? r.out.data : "", c->out);
        else
            assert_null(strstr(r.out.data, "\n4"));
        assert_string_equal(r.err_text.data ? r.err_text.data : "", c->err_text);
        tn_run_result_clear(&r);
        tn_error_free(err);
    }
    tn_host_free(h);
    close(leak);
}

static void test_run_names_the_program_and_the_reason(void **state)
{
    (void)state;
    struct tn_run_result r = {0};
    struct tn_error *err = NULL;
    const char *const argv[] = {"./server", NULL};
    struct tn_run_options o = {.argv = argv, .cwd = folder};
    assert_int_equal(tn_run(NULL, &o, &r, &err), TN_ENOTFOUND);
    assert_string_equal(tn_error_message(err), "program './server': No such file or directory");
    tn_error_clear(&err);
    o.cwd = "/no/such/folder";
    assert_int_equal(tn_run(NULL, &o, &r, &err), TN_ENOTFOUND);
    assert_string_equal(tn_error_message(err), "folder '/no/such/folder': No such file or directory");
    tn_error_clear(&err);
    tn_run_result_clear(&r);
}

static void test_run_output_is_bounded(void **state)
{
    (void)state;
    struct tn_run_result r = {.out = TN_BUF_INIT(1000)};
    const char *const argv[] = {"/bin/sh", "-c", "head -c 300000 /dev/zero", NULL};
    struct tn_run_options o = {.argv = argv};
    assert_int_equal(tn_run(NULL, &o, &r, NULL), TN_OK);
    assert_int_equal(r.exit_code, 0);
    assert_true(r.out.overflow);
    assert_int_equal(r.out.len, 1000);
    tn_run_result_clear(&r);
}

static void test_run_timeout_ends_the_group(void **state)
{
    (void)state;
    struct tn_run_result r = {0};
    struct tn_error *err = NULL;
    const char *const argv[] = {"/bin/sh", "-c", "sleep 60 & echo $!; wait", NULL};
    struct tn_run_options o = {.argv = argv, .timeout_ms = 1000};
    int64_t before = tn_mono_ms();
    assert_int_equal(tn_run(NULL, &o, &r, &err), TN_ETIMEOUT);
    assert_true(tn_mono_ms() - before < 5000);
    pid_t pid = (pid_t)strtol(r.out.data, NULL, 10);
    assert_true(pid > 0);
    tn_autoclose int pidfd = pidfd_open(pid, 0);
    if (pidfd >= 0) /* killed, perhaps not dead yet */
        assert_int_equal(tn_wait_fd(NULL, "test", pidfd, tn_mono_ms() + 5000, NULL), 1);
    tn_error_free(err);
    tn_run_result_clear(&r);
}

static void test_run_ignores_term(void **state)
{
    (void)state;
    struct tn_run_result r = {0};
    const char *const argv[] = {"/bin/sh", "-c", "trap '' TERM; exec sleep 60", NULL};
    struct tn_run_options o = {.argv = argv, .timeout_ms = 1000};
    assert_int_equal(tn_run(NULL, &o, &r, NULL), TN_ETIMEOUT);
    assert_int_equal(r.signal, SIGKILL);
    tn_run_result_clear(&r);
}

static void test_run_cancel(void **state)
{
    (void)state;
    struct tn_cancel *c = tn_cancel_new();
    tn_cancel_raise(c, 2);
    struct tn_run_result r = {0};
    const char *const argv[] = {"sleep", "60", NULL};
    struct tn_run_options o = {.argv = argv};
    assert_int_equal(tn_run(c, &o, &r, NULL), TN_ECANCELLED);
    assert_int_equal(r.signal, SIGTERM);
    tn_run_result_clear(&r);
    tn_cancel_free(c);
}

static void test_run_is_not_held_by_a_daemon(void **state)
{
    (void)state;
    struct tn_run_result r = {0};
    const char *const argv[] = {"/bin/sh", "-c", "sleep 5 & echo done", NULL};
    struct tn_run_options o = {.argv = argv};
    int64_t before = tn_mono_ms();
    assert_int_equal(tn_run(NULL, &o, &r, NULL), TN_OK);
    assert_true(tn_mono_ms() - before < 3000);
    assert_string_equal(r.out.data, "done\n");
    tn_run_result_clear(&r);
}

struct answerer {
    int fd;
    const char *answer;
    size_t times;
    char got[64];
};

static void *answer_once(void *arg)
{
    struct answerer *a = arg;
    int fd = accept(a->fd, NULL, NULL);
    ssize_t n = recv(fd, a->got, sizeof(a->got) - 1, 0);
    a->got[n > 0 ? n : 0] = 0;
    for (size_t i = 0; i < a->times; i++)
        if (send(fd, a->answer, strlen(a->answer), MSG_NOSIGNAL) < 0)
            break;
    close(fd);
    return NULL;
}

static void test_talk(void **state)
{
    (void)state;
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/talk.sock", folder);
    struct answerer a = {
        .fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), .answer = "0123456789", .times = 3};
    assert_int_equal(bind(a.fd, (const struct sockaddr *)&sa, sizeof(sa)), 0);
    struct tn_host *h = tn_host_local();
    struct tn_buf out = {0};
    assert_int_equal(h->ops->talk(h, NULL, sa.sun_path, "x", 1000, &out, NULL), TN_EUNREACHABLE);
    assert_int_equal(h->ops->talk(h, NULL, "/no/such.sock", "x", 1000, &out, NULL), TN_EUNREACHABLE);
    assert_int_equal(h->ops->talk(h, NULL, "127.0.0.1:1", "x", 1000, &out, NULL), TN_EUNREACHABLE);
    assert_int_equal(listen(a.fd, 1), 0);
    pthread_t t;
    pthread_create(&t, NULL, answer_once, &a);
    assert_int_equal(h->ops->talk(h, NULL, sa.sun_path, "show stat\n", 5000, &out, NULL), TN_OK);
    pthread_join(t, NULL);
    assert_string_equal(a.got, "show stat\n");
    assert_string_equal(out.data, "012345678901234567890123456789");
    tn_buf_clear(&out);

    struct tn_buf small = TN_BUF_INIT(15);
    pthread_create(&t, NULL, answer_once, &a);
    assert_int_equal(h->ops->talk(h, NULL, sa.sun_path, "x", 5000, &small, NULL), TN_ELIMIT);
    pthread_join(t, NULL);
    tn_buf_clear(&small);

    /* Listens, never answers; then its backlog is full. */
    for (int i = 0; i < 4; i++)
        assert_int_equal(h->ops->talk(h, NULL, sa.sun_path, "x", 100, &out, NULL), TN_ETIMEOUT);
    struct tn_cancel *c = tn_cancel_new();
    tn_cancel_raise(c, 2);
    assert_int_equal(h->ops->talk(h, c, sa.sun_path, "x", 5000, &out, NULL), TN_ECANCELLED);
    tn_cancel_free(c);
    tn_buf_clear(&out);
    tn_host_free(h);
    close(a.fd);
}

static void test_files(void **state)
{
    (void)state;
    struct tn_host *h = tn_host_local();
    tn_autofree char *path = tn_format("%s/file", folder);
    assert_null(h->ops->read(h, path, 100, NULL, NULL));
    assert_int_equal(h->ops->write(h, path, "abc", 3, 0644, NULL), TN_OK);
    tn_autofree char *text = h->ops->read(h, path, 100, NULL, NULL);
    assert_string_equal(text, "abc");
    assert_int_equal(h->ops->remove(h, path, NULL), TN_OK);
    assert_int_equal(h->ops->remove(h, path, NULL), TN_OK);
    tn_host_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run),
        cmocka_unit_test(test_run_names_the_program_and_the_reason),
        cmocka_unit_test(test_run_output_is_bounded),
        cmocka_unit_test(test_run_timeout_ends_the_group),
        cmocka_unit_test(test_run_ignores_term),
        cmocka_unit_test(test_run_cancel),
        cmocka_unit_test(test_run_is_not_held_by_a_daemon),
        cmocka_unit_test(test_talk),
        cmocka_unit_test(test_files),
    };
    if (!mkdtemp(folder))
        return 1;
    int failed = cmocka_run_group_tests_name("host_local", tests, NULL, NULL);
    tn_autofree char *sock = tn_format("%s/talk.sock", folder);
    unlink(sock);
    rmdir(folder);
    return failed;
}
