/* store_help.h - a store in a temporary folder, and records for it. */
#ifndef TN_TEST_STORE_HELP_H
#define TN_TEST_STORE_HELP_H

#include "lib/state/store.h"

extern char store_dir[64];
int store_dir_make(void **state);
int store_dir_remove(void **state);
struct tn_store *store_open(void);
/* A record with everything that stands for it in `text`; borrowed texts. */
struct tn_record store_record(const char *rollout, int64_t number, const char *text);
void store_append(struct tn_store *s, const char *rollout, int64_t number, const char *text);
/* Runs SQL on the closed store's file, as somebody with an editor would. */
void store_sql(const char *sql);
/* "ok N", or the code's name and the message. Caller frees. */
char *store_verify(void);

#endif
