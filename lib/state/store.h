/* store.h - intent, memory and audit: SQLite in the user's state folder.
 *
 * The truth about the world is always observed, lease and identity live in the target; this may be lost without losing
 * the service or the way to finish. One thread owns the database (WAL, synchronous=FULL) and commits in groups: a
 * durable write returns when its transaction is on disk. Safe to share between threads.
 * The folder is 0700 and the files 0600; a folder that others can write is refused.
 * The journal is append-only and hash-chained: hash = SHA-256(previous hash, canonical record).
 */
#ifndef TN_STATE_STORE_H
#define TN_STATE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

#include "turnout/error.h"

struct tn_store;
/* `where`: a folder, or sqlite:PATH of a file. Creates what is missing. */
struct tn_store *tn_store_open(const char *where, struct tn_error **err);
/* NULL and no error when nothing is there yet (read-only verbs do not create state). */
struct tn_store *tn_store_open_existing(const char *where, struct tn_error **err);
void tn_store_free(struct tn_store *s); /* flushes */
const char *tn_store_path(const struct tn_store *s);
/* --state, TURNOUT_STATE, the plan's state, $XDG_STATE_HOME/turnout, ~/.local/state/turnout. Caller frees. */
char *tn_store_default(const char *flag, const char *plan_state);

/* States of a rollout: running, done, rolled_back, failed (nothing changed), mixed, paused, interrupted. */
struct tn_rollout_row {
    char *id, *app, *environment, *action, *state, *actor, *host, *version;
    int64_t began, ended;
    int exit_code;
    json_t *goal;   /* what it leads to: {"placements":[…]}, enough to finish it */
    json_t *result; /* report, NULL while it runs */
};
void tn_rollout_row_clear(struct tn_rollout_row *r);
struct tn_rollout_rows {
    struct tn_rollout_row *v;
    size_t n, cap;
};
void tn_rollout_rows_clear(struct tn_rollout_rows *r);

int tn_store_rollout_begin(struct tn_store *s, const struct tn_rollout_row *r, struct tn_error **err);
int tn_store_rollout_end(struct tn_store *s, const char *id, const char *state, int exit_code,
                         const json_t *result, struct tn_error **err);
int tn_store_rollout_state(struct tn_store *s, const char *id, const char *state, struct tn_error **err);
/* Newest first; app NULL = all; limit 0 = all. */
int tn_store_rollouts(struct tn_store *s, const char *app, const char *environment, int limit,
                      struct tn_rollout_rows *out, struct tn_error **err);
/* By id or a unique beginning of one. TN_ENOTFOUND. */
int tn_store_rollout_find(struct tn_store *s, const char *id, struct tn_rollout_row *out,
                          struct tn_error **err);

/* One record of the journal. `number` counts within (rollout, placement) and names the effect. */
struct tn_record {
    char *rollout, *placement;
    int64_t number;
    char *phase; /* intent | outcome | memo | note */
    char *move, *instance;
    json_t *detail; /* may be NULL */
    int64_t at;     /* wall ms */
};
void tn_record_clear(struct tn_record *r);
struct tn_records {
    struct tn_record *v;
    size_t n, cap;
};
void tn_records_clear(struct tn_records *r);
/* Durable when it returns. */
int tn_store_append(struct tn_store *s, const struct tn_record *r, struct tn_error **err);
/* Rides on the next commit. */
void tn_store_append_later(struct tn_store *s, const struct tn_record *r);
int tn_store_journal(struct tn_store *s, const char *rollout, struct tn_records *out, struct tn_error **err);
/* Highest number of a placement's journal, 0 when empty. */
int tn_store_last_number(struct tn_store *s, const char *rollout, const char *placement, int64_t *out,
                         struct tn_error **err);
/* Checks the whole chain. TN_EPROTO with the first record that does not fit. *out_n = records checked. */
int tn_store_verify(struct tn_store *s, int64_t *out_n, struct tn_error **err);

void tn_store_event_later(struct tn_store *s, const char *rollout, int64_t at, const char *json_line);
/* Calls `each` for each stored event line of a rollout after `after` (its sequence number, 0 = all). */
int tn_store_events(struct tn_store *s, const char *rollout, int64_t after,
                    void (*each)(void *arg, int64_t sequence, const char *json_line), void *arg,
                    struct tn_error **err);

/* Revisions that served: newest first. */
struct tn_revision_row {
    char *service, *cluster, *revision, *rollout;
    json_t *spec;
    int64_t at;
};
struct tn_revision_rows {
    struct tn_revision_row *v;
    size_t n, cap;
};
void tn_revision_rows_clear(struct tn_revision_rows *r);
int tn_store_revision_add(struct tn_store *s, const char *app, const char *environment,
                          const struct tn_revision_row *r, struct tn_error **err);
int tn_store_revisions(struct tn_store *s, const char *app, const char *environment,
                       struct tn_revision_rows *out, struct tn_error **err);

#endif
