#include <stdlib.h>
#include <string.h>

#include "turnout/clock.h"
#include "turnout/mem.h"
#include "lib/state/store_private.h"

void tn_rollout_row_clear(struct tn_rollout_row *r)
{
    char *texts[] = {r->id, r->app, r->environment, r->action, r->state, r->actor, r->host, r->version};
    for (size_t i = 0; i < TN_COUNT(texts); i++)
        free(texts[i]);
    json_decref(r->goal);
    json_decref(r->result);
    memset(r, 0, sizeof(*r));
}

void tn_rollout_rows_clear(struct tn_rollout_rows *r)
{
    for (size_t i = 0; i < r->n; i++)
        tn_rollout_row_clear(&r->v[i]);
    free(r->v);
    memset(r, 0, sizeof(*r));
}

static int op_begin(struct tn_store *s, sqlite3 *db, void *arg, struct tn_error **err)
{
    (void)s;
    const struct tn_rollout_row *r = arg;
    sqlite3_stmt *st =
        store_prepare(db,
                      "INSERT OR REPLACE INTO rollouts(id,app,environment,action,state,actor,host,version,"
                      "began,goal) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)",
                      err);
    if (!st)
        return TN_EIO;
    const char *texts[] = {r->id, r->app, r->environment, r->action, r->state, r->actor, r->host, r->version};
    for (size_t i = 0; i < TN_COUNT(texts); i++)
        store_bind_text(st, (int)i + 1, texts[i]);
    sqlite3_bind_int64(st, 9, r->began);
    store_bind_json(st, 10, r->goal);
    return store_finish(db, st, err);
}

int tn_store_rollout_begin(struct tn_store *s, const struct tn_rollout_row *r, struct tn_error **err)
{
    return store_call(s, op_begin, (void *)(uintptr_t)r, err);
}

struct end_args {
    const char *id, *state;
    int exit_code;
    const json_t *result;
    bool ended;
};

static int op_end(struct tn_store *s, sqlite3 *db, void *arg, struct tn_error **err)
{
    (void)s;
    const struct end_args *a = arg;
    sqlite3_stmt *st =
        store_prepare(db,
                      a->ended ? "UPDATE rollouts SET state=?2, exit_code=?3, result=?4, ended=?5 WHERE id=?1"
                               : "UPDATE rollouts SET state=?2 WHERE id=?1",
                      err);
    if (!st)
        return TN_EIO;
    store_bind_text(st, 1, a->id);
    store_bind_text(st, 2, a->state);
    if (a->ended) {
        sqlite3_bind_int(st, 3, a->exit_code);
        store_bind_json(st, 4, a->result);
        sqlite3_bind_int64(st, 5, tn_wall_ms());
    }
    return store_finish(db, st, err);
}

int tn_store_rollout_end(struct tn_store *s, const char *id, const char *state, int exit_code,
                         const json_t *result, struct tn_error **err)
{
    struct end_args a = {id, state, exit_code, result, true};
    return store_call(s, op_end, &a, err);
}

int tn_store_rollout_state(struct tn_store *s, const char *id, const char *state, struct tn_error **err)
{
    struct end_args a = {.id = id, .state = state};
    return store_call(s, op_end, &a, err);
}

#define ROLLOUT_COLUMNS                                                                                      \
    "id,app,environment,action,state,actor,host,version,began,ended,exit_code,goal,result FROM rollouts "

static void read_row(sqlite3_stmt *st, struct tn_rollout_row *r)
{
    char **texts[] = {&r->id,    &r->app,   &r->environment, &r->action,
                      &r->state, &r->actor, &r->host,        &r->version};
    for (size_t i = 0; i < TN_COUNT(texts); i++)
        *texts[i] = store_text(st, (int)i);
    r->began = sqlite3_column_int64(st, 8);
    r->ended = sqlite3_column_int64(st, 9);
    r->exit_code = sqlite3_column_type(st, 10) == SQLITE_NULL ? -1 : sqlite3_column_int(st, 10);
    r->goal = store_json(st, 11);
    r->result = store_json(st, 12);
}

struct list_args {
    const char *app, *environment, *id;
    int limit;
    struct tn_rollout_rows *out;
};

static int op_list(struct tn_store *s, sqlite3 *db, void *arg, struct tn_error **err)
{
    (void)s;
    struct list_args *a = arg;
    store_autostmt *st = store_prepare(db,
                                       "SELECT " ROLLOUT_COLUMNS
                                       "WHERE (?1 IS NULL OR app=?1) AND (?2 IS NULL OR environment=?2)"
                                       " AND (?3 IS NULL OR substr(id,1,length(?3))=?3)"
                                       " ORDER BY (id=?3) DESC, began DESC, rowid DESC LIMIT ?4",
                                       err);
    if (!st)
        return TN_EIO;
    store_bind_text(st, 1, a->app);
    store_bind_text(st, 2, a->environment);
    store_bind_text(st, 3, a->id);
    sqlite3_bind_int(st, 4, a->limit > 0 ? a->limit : -1);
    while (sqlite3_step(st) == SQLITE_ROW) {
        TN_GROW(a->out->v, a->out->n, a->out->cap);
        struct tn_rollout_row *r = &a->out->v[a->out->n++];
        memset(r, 0, sizeof(*r));
        read_row(st, r);
    }
    return TN_OK;
}

int tn_store_rollouts(struct tn_store *s, const char *app, const char *environment, int limit,
                      struct tn_rollout_rows *out, struct tn_error **err)
{
    struct list_args a = {.app = app, .environment = environment, .limit = limit, .out = out};
    return store_call(s, op_list, &a, err);
}

int tn_store_rollout_find(struct tn_store *s, const char *id, struct tn_rollout_row *out,
                          struct tn_error **err)
{
    struct tn_rollout_rows rows = {0};
    struct list_args a = {.id = id, .limit = 2, .out = &rows};
    int rc = store_call(s, op_list, &a, err);
    bool exact = rows.n > 0 && strcmp(rows.v[0].id, id) == 0;
    if (rc >= 0 && rows.n != 1 && !exact)
        rc = rows.n == 0 ? tn_error_set(err, TN_ENOTFOUND, "rollout '%s' is not in the history", id)
                         : tn_error_set(err, TN_EUSAGE, "'%s' is the beginning of several rollout ids", id);
    if (rc >= 0) {
        *out = rows.v[0];
        memset(&rows.v[0], 0, sizeof(rows.v[0]));
    } else if (rows.n == 0) {
        tn_error_hint(err, "turnout history");
    }
    tn_rollout_rows_clear(&rows);
    return rc;
}

struct revision_args {
    const char *app, *environment;
    const struct tn_revision_row *row;
    struct tn_revision_rows *out;
};

static int op_revision_add(struct tn_store *s, sqlite3 *db, void *arg, struct tn_error **err)
{
    (void)s;
    const struct revision_args *a = arg;
    sqlite3_stmt *st =
        store_prepare(db,
                      "INSERT INTO revisions(app,environment,service,cluster,revision,rollout,spec,at)"
                      " VALUES(?1,?2,?3,?4,?5,?6,?7,?8)",
                      err);
    if (!st)
        return TN_EIO;
    const char *texts[] = {a->app,          a->environment,   a->row->service,
                           a->row->cluster, a->row->revision, a->row->rollout};
    for (size_t i = 0; i < TN_COUNT(texts); i++)
        store_bind_text(st, (int)i + 1, texts[i]);
    store_bind_json(st, 7, a->row->spec);
    sqlite3_bind_int64(st, 8, a->row->at);
    return store_finish(db, st, err);
}

int tn_store_revision_add(struct tn_store *s, const char *app, const char *environment,
                          const struct tn_revision_row *r, struct tn_error **err)
{
    struct revision_args a = {.app = app, .environment = environment, .row = r};
    return store_call(s, op_revision_add, &a, err);
}

static int op_revisions(struct tn_store *s, sqlite3 *db, void *arg, struct tn_error **err)
{
    (void)s;
    struct revision_args *a = arg;
    store_autostmt *st = store_prepare(db,
                                       "SELECT service,cluster,revision,rollout,spec,at FROM revisions"
                                       " WHERE app=?1 AND environment=?2 ORDER BY seq DESC LIMIT 1000",
                                       err);
    if (!st)
        return TN_EIO;
    store_bind_text(st, 1, a->app);
    store_bind_text(st, 2, a->environment);
    while (sqlite3_step(st) == SQLITE_ROW) {
        TN_GROW(a->out->v, a->out->n, a->out->cap);
        a->out->v[a->out->n++] = (struct tn_revision_row){
            .service = store_text(st, 0),
            .cluster = store_text(st, 1),
            .revision = store_text(st, 2),
            .rollout = store_text(st, 3),
            .spec = store_json(st, 4),
            .at = sqlite3_column_int64(st, 5),
        };
    }
    return TN_OK;
}

int tn_store_revisions(struct tn_store *s, const char *app, const char *environment,
                       struct tn_revision_rows *out, struct tn_error **err)
{
    struct revision_args a = {.app = app, .environment = environment, .out = out};
    return store_call(s, op_revisions, &a, err);
}

void tn_revision_rows_clear(struct tn_revision_rows *r)
{
    for (size_t i = 0; i < r->n; i++) {
        free(r->v[i].service);
        free(r->v[i].cluster);
        free(r->v[i].revision);
        free(r->v[i].rollout);
        json_decref(r->v[i].spec);
    }
    free(r->v);
    memset(r, 0, sizeof(*r));
}
