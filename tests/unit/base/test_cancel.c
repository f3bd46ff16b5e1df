/* The cancel token and the one wait. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "turnout/cancel.h"
#include "turnout/clock.h"

static bool readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

static void test_levels_only_rise(void **state)
{
    (void)state;
    struct tn_cancel *c = tn_cancel_new();
    assert_int_equal(tn_cancel_level(c), 0);
    assert_int_equal(tn_cancel_deadline(c), INT64_MAX);
    tn_cancel_raise(c, 1);
    assert_int_equal(tn_cancel_level(c), 1);
    assert_false(readable(tn_cancel_fd(c)));
    tn_cancel_raise(c, 2);
    assert_int_equal(tn_cancel_level(c), 2);
    assert_true(readable(tn_cancel_fd(c)));
    tn_cancel_raise(c, 1);
    tn_cancel_raise(c, 0);
    assert_int_equal(tn_cancel_level(c), 2);
    tn_cancel_raise(c, 2);
    assert_true(readable(tn_cancel_fd(c))); /* stays so: everybody sees it */
    tn_cancel_free(c);
    tn_cancel_free(NULL);
    assert_int_equal(tn_cancel_level(NULL), 0);
    assert_int_equal(tn_cancel_deadline(NULL), INT64_MAX);
}

static void test_timed_wait(void **state)
{
    (void)state;
    struct tn_cancel *c = tn_cancel_new();
    struct tn_error *err = NULL;
    int64_t before = tn_mono_ms();
    assert_int_equal(tn_wait_fd(c, "a while", -1, before + 30, &err), 0);
    assert_true(tn_mono_ms() >= before + 30);
    assert_int_equal(tn_wait_fd(c, "the past", -1, before - 1000, &err), 0);
    assert_int_equal(tn_wait_fd(NULL, "without a token", -1, tn_mono_ms() + 5, &err), 0);
    assert_null(err);
    tn_cancel_free(c);
}

static void test_readable(void **state)
{
    (void)state;
    struct tn_cancel *c = tn_cancel_new();
    int p[2];
    assert_int_equal(pipe(p), 0);
    assert_int_equal(tn_wait_fd(c, "a byte", p[0], tn_mono_ms() + 10, NULL), 0);
    assert_int_equal(write(p[1], "x", 1), 1);
    assert_int_equal(tn_wait_fd(c, "a byte", p[0], INT64_MAX, NULL), 1);
    /* what is there counts, even when the time is over */
    assert_int_equal(tn_wait_fd(c, "a byte", p[0], 0, NULL), 1);
    char x;
    assert_int_equal(read(p[0], &x, 1), 1);
    close(p[1]);
    assert_int_equal(tn_wait_fd(c, "the end", p[0], INT64_MAX, NULL), 1); /* end of file is readable */
    close(p[0]);
    tn_cancel_free(c);
}

/* Level 1 is a wish; waits go on. Level 2 ends them, before anything that is readable. */
static void test_cancelled(void **state)
{
    (void)state;
    struct tn_cancel *c = tn_cancel_new();
    struct tn_error *err = NULL;
    int p[2];
    assert_int_equal(pipe(p), 0);
    assert_int_equal(write(p[1], "x", 1), 1);
    tn_cancel_raise(c, 1);
    assert_int_equal(tn_wait_fd(c, "the candidate", p[0], INT64_MAX, &err), 1);
    assert_int_equal(tn_wait_fd(c, "the candidate", -1, tn_mono_ms() + 5, &err), 0);
    tn_cancel_raise(c, 2);
    assert_int_equal(tn_wait_fd(c, "the candidate", p[0], INT64_MAX, &err), TN_ECANCELLED);
    assert_non_null(strstr(err->message, "the candidate"));
    tn_error_clear(&err);
    assert_int_equal(tn_wait_fd(c, "x", -1, 0, NULL), TN_ECANCELLED);
    close(p[0]);
    close(p[1]);
    tn_cancel_free(c);
}

static void test_whole_run_deadline(void **state)
{
    (void)state;
    struct tn_cancel *c = tn_cancel_new();
    struct tn_error *err = NULL;
    int64_t now = tn_mono_ms();
    tn_cancel_set_deadline(c, now + 20);
    assert_int_equal(tn_cancel_deadline(c), now + 20);
    assert_int_equal(tn_wait_fd(c, "running requests", -1, now + 5, &err), 0);
    assert_int_equal(tn_wait_fd(c, "running requests", -1, INT64_MAX, &err), TN_ETIMEOUT);
    assert_non_null(strstr(err->message, "running requests"));
    assert_true(tn_mono_ms() >= now + 20);
    tn_error_clear(&err);
    tn_cancel_free(c);
}

struct waiter {
    struct tn_cancel *c;
    int rc;
    int64_t took;
};

static void *wait_long(void *arg)
{
    struct waiter *w = arg;
    int64_t before = tn_mono_ms();
    w->rc = tn_wait_fd(w->c, "for ever", -1, before + 60000, NULL);
    w->took = tn_mono_ms() - before;
    return NULL;
}

/* One raise ends every wait in every thread. */
static void test_threads(void **state)
{
    (void)state;
    enum { N = 8 };
    struct tn_cancel *c = tn_cancel_new();
    struct waiter w[N];
    pthread_t t[N];
    for (int i = 0; i < N; i++) {
        w[i] = (struct waiter){.c = c};
        assert_int_equal(pthread_create(&t[i], NULL, wait_long, &w[i]), 0);
    }
    assert_int_equal(tn_wait_fd(NULL, "them to wait", -1, tn_mono_ms() + 30, NULL), 0);
    tn_cancel_raise(c, 2);
    for (int i = 0; i < N; i++) {
        pthread_join(t[i], NULL);
        assert_int_equal(w[i].rc, TN_ECANCELLED);
        assert_true(w[i].took < 10000);
    }
    tn_cancel_free(c);
}

static struct tn_cancel *signalled;

static void on_signal(int sig)
{
    (void)sig;
    tn_cancel_raise(signalled, tn_cancel_level(signalled) + 1);
}

/* As Ctrl-C does it: an interrupted wait goes on after the first, ends at the second. */
static void test_signal(void **state)
{
    (void)state;
    signalled = tn_cancel_new();
    struct sigaction sa = {.sa_handler = on_signal}, old;
    sigaction(SIGUSR1, &sa, &old);
    raise(SIGUSR1);
    assert_int_equal(tn_wait_fd(signalled, "x", -1, tn_mono_ms() + 5, NULL), 0);
    raise(SIGUSR1);
    assert_int_equal(tn_wait_fd(signalled, "x", -1, INT64_MAX, NULL), TN_ECANCELLED);
    sigaction(SIGUSR1, &old, NULL);
    tn_cancel_free(signalled);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels_only_rise),
        cmocka_unit_test(test_timed_wait),
        cmocka_unit_test(test_readable),
        cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_whole_run_deadline),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_signal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
