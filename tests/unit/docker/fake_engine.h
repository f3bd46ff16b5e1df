/* fake_engine.h - an engine in a thread that answers by a script and remembers what it was asked. */
#ifndef TESTS_UNIT_DOCKER_FAKE_ENGINE_H
#define TESTS_UNIT_DOCKER_FAKE_ENGINE_H

#include <pthread.h>
#include <stdbool.h>

/* The first row whose `request` begins the request line ("POST /containers/create", without /v1.NN) answers. */
struct fake_row {
    const char *request;
    int times; /* how often it answers; 0 = always */
    int status; /* 0 = close the connection without a byte; < 0 = answers -status, from then on nobody listens */
    const char *body;
    bool cut; /* promise more than is sent */
    int delay_ms;
};
struct fake_engine {
    const struct fake_row *rows; /* ends with {NULL} */
    const char *api_version;     /* NULL = "1.41" */
    char path[108], url[128];
    int fd;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t idle;
    int open; /* connections */
    int used[32];
    char log[32][256]; /* request lines without /v1.NN */
    char bodies[32][2048];
    int n_log;
};
/* Ready for calls when it returns. */
struct fake_engine *fake_engine_new(const struct fake_row *rows, const char *api_version);
/* After the client is gone: waits for the ends of its connections. */
void fake_engine_free(struct fake_engine *e);
/* How many requests began with this. */
int fake_engine_count(struct fake_engine *e, const char *request);
/* Body of the last request that began with this; "" when there was none. */
const char *fake_engine_body(struct fake_engine *e, const char *request);

#endif
