/* run_fixture.h - run folders for tests of the shim: one a test, stopped and removed after it. */
#ifndef TN_TESTS_RUN_FIXTURE_H
#define TN_TESTS_RUN_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>

#include "lib/transport/shim.h"

#define RUN_SOON_MS 10000
/* A program that says that it is ready and then waits for ever without a child of its own. */
#define RUN_WAIT "echo ready; while :; do read -r x < fifo; done"

extern char run_root[];
extern char *run_dir; /* of the running test */

/* False, with a word on stdout, where there is no pidfd (valgrind 3.19 knows none). */
bool run_possible(void);
bool run_set_up_root(void); /* once, in main */
int run_set_up(void **state);
int run_tear_down(void **state);

json_t *run_spec_of(const char *script, int grace_ms, int stdio_max);
void run_create(const char *script, int grace_ms, int stdio_max, const char *policy);
void run_start(void);
struct tn_shim_status run_status(void);
struct tn_shim_status run_await_end(void);
/* Waits until the program has written `word`; returns all that it wrote. Caller frees. */
char *run_await_word(const char *word);
bool run_ends(int64_t pid); /* the process ends soon */
bool run_gone(int64_t pid); /* there is no such process now */

#endif
