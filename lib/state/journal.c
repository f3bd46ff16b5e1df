/* The journal: append-only, each record's hash covers the one before it. */
#include <stdlib.h>
#include <string.h>

#include "lib/base/hash.h"
#include "turnout/json.h"
#include "turnout/mem.h"
#include "lib/state/store_private.h"

void tn_record_clear(struct tn_record *r)
{
    free(r->rollout);
    free(r->placement);
    free(r->phase);
    free(r->move);
    free(r->instance);
    json_decref(r->detail);
    memset(r, 0, sizeof(*r));
}

void tn_records_clear(struct tn_records *r)
{
    for (size_t i = 0; i < r->n; i++)
        tn_record_clear(&r->v[i]);
    free(r->v);
    memset(r, 0, sizeof(*r));
}

/* The canonical record: a JSON array, so that no field can run into its neighbour. */
static void chain_hash(const char *before, const struct tn_record *r, char out[TN_SHA256_HEX])
{
    json_t *a = json_array();
    json_array_append_new(a, json_string(before));
    const char *texts[] = {r->rollout, r->placement, r->phase, r->move, r->instance};
    for (size_t i = 0; i < TN_COUNT(texts); i++)
        json_array_append_new(a, tn_json_text(texts[i]));
    json_array_append_new(a, json_integer(r->number));
    json_array_append_new(a, json_integer(r->at));
    json_array_append(a, r->detail ? r->detail : json_null());
    tn_autofree char *text = json_dumps(a, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(a);
    if (!text)
        abort(); /* an array of texts and numbers can always be written */
    tn_sha256_hex(text, strlen(text), out);
}

static int last_hash(sqlite3 *db, char out[TN_SHA256_HEX], struct tn_error **err)
{
    store_autostmt *st = store_prepare(db, "SELECT hash FROM journal ORDER BY seq DESC LIMIT 1", err);
    if (!st)
        return TN_EIO;
    memset(out, '0', TN_SHA256_HEX - 1);
    out[TN_SHA256_HEX - 1] = 0;
    if (sqlite3_step(st) == SQLITE_ROW) {
        const char *h = (const char *)sqlite3_column_text(st, 0);
        if (h && strlen(h) == TN_SHA256_HEX - 1)
            memcpy(out, h, TN_SHA256_HEX);
    }
    return TN_OK;
}

/* How long the journal is and how it ends, beside it: what was cut off its end is missed. */
static int move_tip(sqlite3 *db, const char *hash, struct tn_error **err)
{
    sqlite3_stmt *st =
        store_prepare(db,
                      "INSERT INTO meta(key,value) VALUES('journal', json_array(1, ?1)) ON CONFLICT(key) DO"
                      " UPDATE SET value=json_array(json_extract(value,'$[0]')+1, ?1)",
                      err);
    if (!st)
        return TN_EIO;
    store_bind_text(st, 1, hash);
    return store_finish(db, st, err);
}

/* Does the journal end where its tip says? */
static int check_tip(sqlite3 *db, int64_t n, const char *last, struct tn_error **err)
{
    store_autostmt *st = store_prepare(
        db, "SELECT json_extract(value,'$[0]'), json_extract(value,'$[1]') FROM meta WHERE key='journal'",
        err);
    if (!st)
        return TN_EIO;
    bool there = sqlite3_step(st) == SQLITE_ROW;
    int64_t count = there ? sqlite3_column_int64(st, 0) : 0;
    const char *hash = there ? (const char *)sqlite3_column_text(st, 1) : NULL;
    if (n < count)
        return tn_error_set(err, TN_EPROTO, "journal: its end was cut off: %lld of %lld records are there",
                            (long long)n, (long long)count);
    if (n > count || (n > 0 && (!hash || strcmp(hash, last) != 0)))
        return tn_error_set(err, TN_EPROTO, "journal: it does not end with the record that was written last");
    return TN_OK;
}

static int op_append(struct tn_store *s, sqlite3 *db, void *arg, struct tn_error **err)
{
    (void)s;
    const struct tn_record *r = arg;
    char before[TN_SHA256_HEX], hash[TN_SHA256_HEX];
    int rc = last_hash(db, before, err);
    if (rc < 0)
        return rc;
    chain_hash(before, r, hash);
    sqlite3_stmt *st =
        store_prepare(db,
                      "INSERT INTO journal(rollout,placement,number,phase,move,instance,detail,at,hash)"
                      " VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9)",
                      err);
    if (!st)
        return TN_EIO;
    store_bind_text(st, 1, r->rollout);
    store_bind_text(st, 2, r->placement);
    sqlite3_bind_int64(st, 3, r->number);
    store_bind_text(st, 4, r->phase);
    store_bind_text(st, 5, r->move);
    store_bind_text(st, 6, r->instance);
    store_bind_json(st, 7, r->detail);
    sqlite3_bind_int64(st, 8, r->at);
    store_bind_text(st, 9, hash);
    rc = store_finish(db, st, err);
    return rc < 0 ? rc : move_tip(db, hash, err);
}

int tn_store_append(struct tn_store *s, const struct tn_record *r, struct tn_error **err)
{
    return store_call(s, op_append, (void *)(uintptr_t)r, err);
}

static void free_record(void *arg)
{
    tn_record_clear(arg);
    free(arg);
}

void tn_store_append_later(struct tn_store *s, const struct tn_record *r)
{
    struct tn_record *copy = tn_alloc(sizeof(*copy));
    *copy = (struct tn_record){
        .rollout = tn_strdup(r->rollout),
        .placement = tn_strdup(r->placement),
        .number = r->number,
        .phase = tn_strdup(r->phase),
        .move = tn_strdup(r->move),
        .instance = tn_strdup(r->instance),
        .detail = r->detail ? json_deep_copy(r->detail) : NULL,
        .at = r->at,
    };
    store_later(s, op_append, copy, free_record);
}

#define RECORD_COLUMNS "rollout,placement,number,phase,move,instance,detail,at,hash FROM journal "

static void read_record(sqlite3_stmt *st, struct tn_record *r)
{
    *r = (struct tn_record){
        .rollout = store_text(st, 0),
        .placement = store_text(st, 1),
        .number = sqlite3_column_int64(st, 2),
        .phase = store_text(st, 3),
        .move = store_text(st, 4),
        .instance = store_text(st, 5),
        .detail = store_json(st, 6),
        .at = sqlite3_column_int64(st, 7),
    };
}

struct journal_args {
    const char *rollout, *placement;
    struct tn_records *out;
    int64_t number;
};

static int op_journal(struct tn_store *s, sqlite3 *db, void *arg, struct tn_error **err)
{
    (void)s;
    struct journal_args *a = arg;
    store_autostmt *st = store_prepare(db, "SELECT " RECORD_COLUMNS "WHERE rollout=?1 ORDER BY seq", err);
    if (!st)
        return TN_EIO;
    store_bind_text(st, 1, a->rollout);
    while (sqlite3_step(st) == SQLITE_ROW) {
        TN_GROW(a->out->v, a->out->n, a->out->cap);
        read_record(st, &a->out->v[a->out->n++]);
    }
    return TN_OK;
}

int tn_store_journal(struct tn_store *s, const char *rollout, struct tn_records *out, struct tn_error **err)
{
    struct journal_args a = {.rollout = rollout, .out = out};
    return store_call(s, op_journal, &a, err);
}

static int op_last_number(struct tn_store *s, sqlite3 *db, void *arg, struct tn_error **err)
{
    (void)s;
    struct journal_args *a = arg;
    store_autostmt *st = store_prepare(
        db, "SELECT coalesce(max(number),0) FROM journal WHERE rollout=?1 AND placement=?2", err);
    if (!st)
        return TN_EIO;
    store_bind_text(st, 1, a->rollout);
    store_bind_text(st, 2, a->placement);
    a->number = sqlite3_step(st) == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
    return TN_OK;
}

int tn_store_last_number(struct tn_store *s, const char *rollout, const char *placement, int64_t *out,
                         struct tn_error **err)
{
    struct journal_args a = {.rollout = rollout, .placement = placement};
    int rc = store_call(s, op_last_number, &a, err);
    *out = a.number;
    return rc;
}

static int op_verify(struct tn_store *s, sqlite3 *db, void *arg, struct tn_error **err)
{
    (void)s;
    int64_t *n = arg, expected = 0;
    char before[TN_SHA256_HEX], hash[TN_SHA256_HEX];
    store_autostmt *st = store_prepare(db, "SELECT " RECORD_COLUMNS "ORDER BY seq", err);
    store_autostmt *seq = store_prepare(db, "SELECT seq FROM journal ORDER BY seq", err);
    if (!st || !seq)
        return TN_EIO;
    memset(before, '0', TN_SHA256_HEX - 1);
    before[TN_SHA256_HEX - 1] = 0;
    for (*n = 0; sqlite3_step(st) == SQLITE_ROW && sqlite3_step(seq) == SQLITE_ROW; ++*n) {
        struct tn_record r;
        read_record(st, &r);
        chain_hash(before, &r, hash);
        int64_t at = sqlite3_column_int64(seq, 0);
        const char *stored = (const char *)sqlite3_column_text(st, 8);
        bool same = stored && strcmp(stored, hash) == 0;
        tn_record_clear(&r);
        if (at != ++expected)
            return tn_error_set(err, TN_EPROTO, "journal: record %lld is missing", (long long)expected);
        if (!same)
            return tn_error_set(err, TN_EPROTO,
                                "journal: record %lld was changed, or one before it is missing",
                                (long long)at);
        memcpy(before, hash, sizeof(before));
    }
    return check_tip(db, *n, before, err);
}

int tn_store_verify(struct tn_store *s, int64_t *out_n, struct tn_error **err)
{
    return store_call(s, op_verify, out_n, err);
}

struct event_args {
    char *rollout, *line;
    int64_t at, after;
    void (*each)(void *arg, int64_t sequence, const char *json_line);
    void *arg;
};

static int op_event(struct tn_store *s, sqlite3 *db, void *arg, struct tn_error **err)
{
    (void)s;
    const struct event_args *a = arg;
    sqlite3_stmt *st = store_prepare(db, "INSERT INTO events(rollout,at,line) VALUES(?1,?2,?3)", err);
    if (!st)
        return TN_EIO;
    store_bind_text(st, 1, a->rollout);
    sqlite3_bind_int64(st, 2, a->at);
    store_bind_text(st, 3, a->line);
    return store_finish(db, st, err);
}

static void free_event(void *arg)
{
    struct event_args *a = arg;
    free(a->rollout);
    free(a->line);
    free(a);
}

void tn_store_event_later(struct tn_store *s, const char *rollout, int64_t at, const char *json_line)
{
    struct event_args *a = tn_alloc(sizeof(*a));
    *a = (struct event_args){.rollout = tn_strdup(rollout), .line = tn_strdup(json_line), .at = at};
    store_later(s, op_event, a, free_event);
}

static int op_events(struct tn_store *s, sqlite3 *db, void *arg, struct tn_error **err)
{
    (void)s;
    const struct event_args *a = arg;
    store_autostmt *st =
        store_prepare(db, "SELECT seq,line FROM events WHERE rollout=?1 AND seq>?2 ORDER BY seq", err);
    if (!st)
        return TN_EIO;
    store_bind_text(st, 1, a->rollout);
    sqlite3_bind_int64(st, 2, a->after);
    while (sqlite3_step(st) == SQLITE_ROW)
        a->each(a->arg, sqlite3_column_int64(st, 0), (const char *)sqlite3_column_text(st, 1));
    return TN_OK;
}

int tn_store_events(struct tn_store *s, const char *rollout, int64_t after,
                    void (*each)(void *arg, int64_t sequence, const char *json_line), void *arg,
                    struct tn_error **err)
{
    struct event_args a = {.rollout = (char *)(uintptr_t)rollout, .after = after, .each = each, .arg = arg};
    return store_call(s, op_events, &a, err);
}
