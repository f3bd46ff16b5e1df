#include <string.h>

#include "turnout/clock.h"
#include "turnout/mem.h"
#include "turnout/text.h"
#include "lib/state/store.h"
#include "turnout/rollout.h"

static struct tn_store *open_store(const char *state, struct tn_error **err)
{
    tn_autofree char *where = tn_store_default(state, NULL);
    struct tn_error *e = NULL;
    struct tn_store *s = tn_store_open_existing(where, &e);
    if (e)
        tn_error_move(err, &e);
    else if (!s) {
        tn_error_set(err, TN_ENOTFOUND, "there is no history in '%s'", where);
        tn_error_hint(
            err, "nothing was deployed with this state folder yet; another one: --state or TURNOUT_STATE");
    }
    return s;
}

static json_t *row_json(const struct tn_rollout_row *r)
{
    char began[32], ended[32];
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s?,s:s?,s:s?,s:s,s:s*,s:i}", "id", r->id, "app", r->app,
                     "environment", r->environment, "action", r->action, "state", r->state, "actor", r->actor,
                     "host", r->host, "version", r->version, "began",
                     tn_format_time(r->began, began, sizeof(began)), "ended",
                     r->ended ? tn_format_time(r->ended, ended, sizeof(ended)) : NULL, "exit_code",
                     r->exit_code);
}

/* What each placement was led from and to. */
static json_t *placements_json(const json_t *goal)
{
    json_t *list = json_array(), *one;
    size_t i;
    json_array_foreach(json_object_get(goal, "placements"), i, one)
    {
        json_t *copy = json_copy(one);
        json_object_del(copy, "spec");
        json_object_del(copy, "from_spec");
        json_array_append_new(list, copy);
    }
    return list;
}

json_t *tn_history(const char *state, const char *app, const char *environment, int limit,
                   struct tn_error **err)
{
    struct tn_store *s = open_store(state, err);
    if (!s)
        return NULL;
    struct tn_rollout_rows rows = {0};
    json_t *out = NULL;
    if (tn_store_rollouts(s, app, environment, limit, &rows, err) >= 0) {
        out = json_array();
        for (size_t i = 0; i < rows.n; i++) {
            json_t *j = row_json(&rows.v[i]);
            json_object_set_new(j, "placements", placements_json(rows.v[i].goal));
            json_array_append_new(out, j);
        }
    }
    tn_rollout_rows_clear(&rows);
    tn_store_free(s);
    return out;
}

static json_t *effects_json(const struct tn_records *all)
{
    json_t *list = json_array();
    char at[32];
    for (size_t i = 0; i < all->n; i++) {
        const struct tn_record *r = &all->v[i];
        json_array_append_new(list, json_pack("{s:s,s:I,s:s,s:s,s:s?,s:O?,s:s}", "placement", r->placement,
                                              "number", (json_int_t)r->number, "phase", r->phase, "move",
                                              r->move, "instance", r->instance, "detail", r->detail, "at",
                                              tn_format_time(r->at, at, sizeof(at))));
    }
    return list;
}

json_t *tn_history_show(const char *state, const char *id, struct tn_error **err)
{
    struct tn_store *s = open_store(state, err);
    if (!s)
        return NULL;
    struct tn_rollout_row row = {0};
    struct tn_records records = {0};
    json_t *out = NULL;
    if (tn_store_rollout_find(s, id, &row, err) >= 0 && tn_store_journal(s, row.id, &records, err) >= 0) {
        out = row_json(&row);
        json_object_set_new(out, "placements", placements_json(row.goal));
        json_object_set_new(out, "effects", effects_json(&records));
        if (row.result)
            json_object_set(out, "result", row.result);
    }
    tn_records_clear(&records);
    tn_rollout_row_clear(&row);
    tn_store_free(s);
    return out;
}

int tn_history_events(const char *state, const char *id, int64_t after,
                      void (*each)(void *arg, int64_t sequence, const char *json_line), void *arg,
                      struct tn_error **err)
{
    struct tn_store *s = open_store(state, err);
    if (!s)
        return TN_ENOTFOUND;
    struct tn_rollout_row row = {0};
    int rc = tn_store_rollout_find(s, id, &row, err);
    if (rc >= 0)
        rc = tn_store_events(s, row.id, after, each, arg, err);
    tn_rollout_row_clear(&row);
    tn_store_free(s);
    return rc;
}

int tn_history_verify(const char *state, int64_t *out_n, struct tn_error **err)
{
    struct tn_store *s = open_store(state, err);
    if (!s)
        return TN_ENOTFOUND;
    int rc = tn_store_verify(s, out_n, err);
    tn_store_free(s);
    return rc;
}
