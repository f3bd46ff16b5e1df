#include "lib/base/pool.h"

#include <pthread.h>
#include <stdlib.h>

#include "turnout/mem.h"

struct job {
    struct job *next;
    tn_job_fn fn;
    void *arg;
};
struct tn_pool {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct job *first, **last;
    pthread_t *threads;
    size_t max, started, idle, queued;
    bool closing;
};

struct tn_pool *tn_pool_new(size_t max)
{
    struct tn_pool *p = tn_alloc(sizeof(*p));
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    p->last = &p->first;
    p->max = max;
    p->threads = tn_alloc(max * sizeof(*p->threads));
    return p;
}

static struct job *pool_next(struct tn_pool *p)
{
    pthread_mutex_lock(&p->lock);
    p->idle++;
    while (!p->first && !p->closing)
        pthread_cond_wait(&p->work, &p->lock);
    p->idle--;
    struct job *j = p->first;
    if (j) {
        p->first = j->next;
        p->queued--;
        if (!p->first)
            p->last = &p->first;
    }
    pthread_mutex_unlock(&p->lock);
    return j;
}

static void *pool_worker(void *arg)
{
    struct tn_pool *p = arg;
    for (struct job *j; (j = pool_next(p));) {
        j->fn(j->arg);
        free(j);
    }
    return NULL;
}

void tn_pool_submit(struct tn_pool *p, tn_job_fn fn, void *arg)
{
    struct job *j = tn_alloc(sizeof(*j));
    *j = (struct job){.fn = fn, .arg = arg};
    pthread_mutex_lock(&p->lock);
    *p->last = j;
    p->last = &j->next;
    p->queued++;
    bool need = p->queued > p->idle && p->started < p->max;
    if (need && pthread_create(&p->threads[p->started], NULL, pool_worker, p) == 0)
        p->started++;
    else if (need && p->started == 0)
        abort(); /* not even one thread: nothing could ever run */
    pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->lock);
}

void tn_pool_free(struct tn_pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->closing = true;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    for (size_t i = 0; i < p->started; i++)
        pthread_join(p->threads[i], NULL);
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->lock);
    free(p->threads);
    free(p);
}

struct batch {
    pthread_mutex_t lock;
    pthread_cond_t done;
    size_t left;
};
struct batch_job {
    struct batch *batch;
    tn_job_fn fn;
    void *arg;
};

static void batch_run(void *arg)
{
    struct batch_job *j = arg;
    j->fn(j->arg);
    pthread_mutex_lock(&j->batch->lock);
    if (--j->batch->left == 0)
        pthread_cond_signal(&j->batch->done);
    pthread_mutex_unlock(&j->batch->lock);
}

void tn_pool_map(struct tn_pool *p, tn_job_fn fn, void **args, size_t n)
{
    if (n == 1) {
        fn(args[0]);
        return;
    }
    struct batch b = {.left = n};
    pthread_mutex_init(&b.lock, NULL);
    pthread_cond_init(&b.done, NULL);
    struct batch_job *jobs = tn_alloc(n * sizeof(*jobs));
    for (size_t i = 0; i < n; i++) {
        jobs[i] = (struct batch_job){&b, fn, args[i]};
        tn_pool_submit(p, batch_run, &jobs[i]);
    }
    pthread_mutex_lock(&b.lock);
    while (b.left)
        pthread_cond_wait(&b.done, &b.lock);
    pthread_mutex_unlock(&b.lock);
    pthread_cond_destroy(&b.done);
    pthread_mutex_destroy(&b.lock);
    free(jobs);
}
