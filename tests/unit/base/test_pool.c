/* The bounded pool of worker threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "lib/base/pool.h"
#include "turnout/cancel.h"
#include "turnout/clock.h"

struct gauge {
    atomic_int now, most, ran;
};
struct job {
    struct gauge *g;
    int n;
    int64_t result;
};

static void pause_ms(int64_t ms)
{
    tn_wait_fd(NULL, "a while", -1, tn_mono_ms() + ms, NULL);
}

static void count_in(void *arg)
{
    struct job *j = arg;
    int now = atomic_fetch_add(&j->g->now, 1) + 1, most = atomic_load(&j->g->most);
    while (now > most && !atomic_compare_exchange_weak(&j->g->most, &most, now)) {
    }
    pause_ms(5);
    j->result = (int64_t)j->n * j->n;
    atomic_fetch_sub(&j->g->now, 1);
    atomic_fetch_add(&j->g->ran, 1);
}

/* All of them have run when map returns, each once, never more than `max` at a time, and not one by one. */
static void test_map(void **state)
{
    (void)state;
    enum { N = 40, MAX = 4 };
    struct gauge g = {0};
    struct job jobs[N];
    void *args[N];
    struct tn_pool *p = tn_pool_new(MAX);
    for (int i = 0; i < N; i++) {
        jobs[i] = (struct job){&g, i, -1};
        args[i] = &jobs[i];
    }
    tn_pool_map(p, count_in, args, N);
    assert_int_equal(g.ran, N);
    assert_true(g.most <= MAX);
    assert_true(g.most > 1);
    for (int i = 0; i < N; i++)
        assert_int_equal(jobs[i].result, i * i);
    tn_pool_map(p, count_in, args, 0);
    tn_pool_map(p, count_in, args, 1);
    assert_int_equal(g.ran, N + 1);
    tn_pool_free(p);
    tn_pool_free(NULL);
}

/* Jobs that stand in the queue run before free returns. */
static void test_free_waits(void **state)
{
    (void)state;
    enum { N = 20 };
    struct gauge g = {0};
    struct job jobs[N];
    struct tn_pool *p = tn_pool_new(2);
    for (int i = 0; i < N; i++) {
        jobs[i] = (struct job){&g, i, -1};
        tn_pool_submit(p, count_in, &jobs[i]);
    }
    tn_pool_free(p);
    assert_int_equal(g.ran, N);
    assert_true(g.most <= 2);
}

/* Two that are only done together: they must run at the same time. */
struct meeting {
    pthread_mutex_t lock;
    pthread_cond_t both;
    int here, met;
};

static void meet(void *arg)
{
    struct meeting *m = arg;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 2;
    pthread_mutex_lock(&m->lock);
    m->here++;
    pthread_cond_broadcast(&m->both);
    int rc = 0;
    while (m->here < 2 && rc == 0)
        rc = pthread_cond_timedwait(&m->both, &m->lock, &until);
    m->met += m->here >= 2;
    pthread_mutex_unlock(&m->lock);
}

static int meet_in(struct tn_pool *p)
{
    struct meeting m = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0};
    void *args[] = {&m, &m};
    tn_pool_map(p, meet, args, 2);
    return m.met;
}

static void test_at_the_same_time(void **state)
{
    (void)state;
    struct tn_pool *p = tn_pool_new(2);
    assert_int_equal(meet_in(p), 2);
    tn_pool_free(p);
}

static void nothing(void *arg)
{
    (void)arg;
}

/* The same after one worker has been started and waits: a batch of two moves must not go one after the other. */
static void test_at_the_same_time_later(void **state)
{
    (void)state;
    struct tn_pool *p = tn_pool_new(4);
    tn_pool_submit(p, nothing, NULL);
    pause_ms(50); /* its worker is idle now */
    assert_int_equal(meet_in(p), 2);
    tn_pool_free(p);
}

static struct tn_pool *nested;
static atomic_int nested_ran;

static void submit_more(void *arg)
{
    (void)arg;
    nested_ran++;
    tn_pool_submit(nested, nothing, NULL);
}

static void test_submit_from_a_job(void **state)
{
    (void)state;
    nested = tn_pool_new(1);
    for (int i = 0; i < 10; i++)
        tn_pool_submit(nested, submit_more, NULL);
    tn_pool_free(nested);
    assert_int_equal(nested_ran, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map),
        cmocka_unit_test(test_free_waits),
        cmocka_unit_test(test_at_the_same_time),
        cmocka_unit_test(test_at_the_same_time_later),
        cmocka_unit_test(test_submit_from_a_job),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
