/* store_private.h - one thread owns the database; everybody else hands it operations. */
#ifndef TN_STATE_STORE_PRIVATE_H
#define TN_STATE_STORE_PRIVATE_H

#include <sqlite3.h>

#include "lib/state/store.h"

struct store_op {
    struct store_op *next;
    /* Runs on the store thread inside a transaction; a negative code rolls that operation's transaction back. */
    int (*run)(struct tn_store *s, sqlite3 *db, void *arg, struct tn_error **err);
    void (*free_arg)(void *arg); /* not NULL: nobody waits, the op owns its argument */
    void *arg;
    int rc;
    struct tn_error *err;
    bool done;
};
/* Runs and waits until the transaction it was part of is on disk. */
int store_call(struct tn_store *s, int (*run)(struct tn_store *, sqlite3 *, void *, struct tn_error **),
               void *arg, struct tn_error **err);
/* Rides on the next commit; takes `arg`. */
void store_later(struct tn_store *s, int (*run)(struct tn_store *, sqlite3 *, void *, struct tn_error **),
                 void *arg, void (*free_arg)(void *));

/* Statement helpers: prepare, bind text/int by position, step to the end. */
sqlite3_stmt *store_prepare(sqlite3 *db, const char *sql, struct tn_error **err);
void store_bind_text(sqlite3_stmt *st, int at, const char *text); /* NULL = SQL NULL */
void store_bind_json(sqlite3_stmt *st, int at, const json_t *j);
int store_finish(sqlite3 *db, sqlite3_stmt *st, struct tn_error **err); /* steps a write, finalizes */
char *store_text(sqlite3_stmt *st, int column);                         /* copy, NULL for SQL NULL */
json_t *store_json(sqlite3_stmt *st, int column);
static inline void store_cleanup_stmt(sqlite3_stmt **st)
{
    sqlite3_finalize(*st);
}
#define store_autostmt __attribute__((cleanup(store_cleanup_stmt))) sqlite3_stmt

#endif
