/* pool.h - a bounded pool of worker threads for blocking calls.
 *
 * One pool per engine. A job runs once, on a worker; how its owner hears of the end is the job's own affair. Threads start
 * on demand, never more than `max`. Freeing waits for running jobs.
 */
#ifndef TN_BASE_POOL_H
#define TN_BASE_POOL_H

#include <stdbool.h>
#include <stddef.h>

struct tn_pool;
typedef void (*tn_job_fn)(void *arg);
struct tn_pool *tn_pool_new(size_t max);
void tn_pool_free(struct tn_pool *p);
void tn_pool_submit(struct tn_pool *p, tn_job_fn fn, void *arg);
/* Runs fn(args[0..n-1]) on the pool and waits for all of them: a join gives one observation. */
void tn_pool_map(struct tn_pool *p, tn_job_fn fn, void **args, size_t n);

#endif
