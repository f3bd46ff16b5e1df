#include "lib/state/store_private.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "turnout/fs.h"
#include "turnout/mem.h"
#include "turnout/text.h"

struct tn_store {
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    struct store_op *first, **last;
    pthread_t thread;
    bool closing;
    sqlite3 *db;
    char *path;
};

enum { SCHEMA = 1 };

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value TEXT);"
    "INSERT OR IGNORE INTO meta VALUES('schema','1');"
    "CREATE TABLE IF NOT EXISTS rollouts(id TEXT PRIMARY KEY, app TEXT NOT NULL, environment TEXT NOT NULL,"
    " action TEXT NOT NULL, state TEXT NOT NULL, actor TEXT, host TEXT, version TEXT, began INTEGER, ended "
    "INTEGER,"
    " exit_code INTEGER, goal TEXT, result TEXT);"
    "CREATE TABLE IF NOT EXISTS journal(seq INTEGER PRIMARY KEY AUTOINCREMENT, rollout TEXT NOT NULL,"
    " placement TEXT NOT NULL, number INTEGER NOT NULL, phase TEXT NOT NULL, move TEXT NOT NULL, instance "
    "TEXT,"
    " detail TEXT, at INTEGER NOT NULL, hash TEXT NOT NULL);"
    "CREATE INDEX IF NOT EXISTS journal_rollout ON journal(rollout, placement, number);"
    "CREATE TABLE IF NOT EXISTS events(seq INTEGER PRIMARY KEY AUTOINCREMENT, rollout TEXT NOT NULL, at "
    "INTEGER,"
    " line TEXT NOT NULL);"
    "CREATE INDEX IF NOT EXISTS events_rollout ON events(rollout);"
    "CREATE TABLE IF NOT EXISTS revisions(seq INTEGER PRIMARY KEY AUTOINCREMENT, app TEXT NOT NULL,"
    " environment TEXT NOT NULL, service TEXT NOT NULL, cluster TEXT NOT NULL, revision TEXT NOT NULL, "
    "rollout TEXT,"
    " spec TEXT NOT NULL, at INTEGER NOT NULL);";

static bool disk_is_full(const char *path)
{
    struct statvfs fs;
    tn_autofree char *dir = tn_path_dir(path);
    return statvfs(dir, &fs) == 0 && fs.f_bavail == 0;
}

static int db_error(sqlite3 *db, const char *what, struct tn_error **err)
{
    int code = sqlite3_errcode(db);
    tn_error_set(err, TN_EIO, "state store: %s: %s", what, sqlite3_errmsg(db));
    if (code == SQLITE_FULL)
        tn_error_hint(err,
                      "the disk that holds the state folder is full; free some space, then: turnout resume");
    return TN_EIO;
}

static int db_exec(sqlite3 *db, const char *sql, struct tn_error **err)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? TN_OK : db_error(db, "writing", err);
}

sqlite3_stmt *store_prepare(sqlite3 *db, const char *sql, struct tn_error **err)
{
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK)
        db_error(db, "preparing", err);
    return st;
}

void store_bind_text(sqlite3_stmt *st, int at, const char *text)
{
    sqlite3_bind_text(st, at, text, -1, SQLITE_TRANSIENT);
}

void store_bind_json(sqlite3_stmt *st, int at, const json_t *j)
{
    tn_autofree char *text = j ? json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY) : NULL;
    store_bind_text(st, at, text);
}

int store_finish(sqlite3 *db, sqlite3_stmt *st, struct tn_error **err)
{
    if (!st)
        return TN_EIO;
    int rc = sqlite3_step(st);
    int code = rc == SQLITE_DONE || rc == SQLITE_ROW ? TN_OK : db_error(db, "writing", err);
    sqlite3_finalize(st);
    return code;
}

char *store_text(sqlite3_stmt *st, int column)
{
    return tn_strdup((const char *)sqlite3_column_text(st, column));
}

json_t *store_json(sqlite3_stmt *st, int column)
{
    const char *text = (const char *)sqlite3_column_text(st, column);
    return text ? json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;
}

/* Runs all of `batch` in one transaction. One that fails must not take the others with it: each has a savepoint. */
static void run_batch(struct tn_store *s, struct store_op *batch)
{
    struct tn_error *begin = NULL;
    if (db_exec(s->db, "BEGIN IMMEDIATE", &begin) == TN_OK) {
        for (struct store_op *op = batch; op; op = op->next) {
            sqlite3_exec(s->db, "SAVEPOINT one", NULL, NULL, NULL);
            op->rc = op->run(s, s->db, op->arg, &op->err);
            if (op->rc < 0)
                sqlite3_exec(s->db, "ROLLBACK TO one", NULL, NULL, NULL);
            sqlite3_exec(s->db, "RELEASE one", NULL, NULL, NULL);
        }
        if (db_exec(s->db, "COMMIT", &begin) == TN_OK)
            return;
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    }
    for (struct store_op *op = batch; op; op = op->next) {
        op->rc = begin->code;
        tn_error_set(&op->err, begin->code, "%s", begin->message);
        if (begin->hint)
            tn_error_hint(&op->err, "%s", begin->hint);
    }
    tn_error_free(begin);
}

static void finish_batch(struct tn_store *s, struct store_op *batch)
{
    pthread_mutex_lock(&s->lock);
    for (struct store_op *op = batch, *next; op; op = next) {
        next = op->next; /* a waiter may be gone right after `done` */
        if (op->free_arg) {
            op->free_arg(op->arg);
            tn_error_free(op->err);
            free(op);
        } else {
            op->done = true;
        }
    }
    pthread_cond_broadcast(&s->done);
    pthread_mutex_unlock(&s->lock);
}

static void *store_thread(void *arg)
{
    struct tn_store *s = arg;
    for (;;) {
        pthread_mutex_lock(&s->lock);
        while (!s->first && !s->closing)
            pthread_cond_wait(&s->work, &s->lock);
        struct store_op *batch = s->first;
        s->first = NULL;
        s->last = &s->first;
        pthread_mutex_unlock(&s->lock);
        if (!batch)
            return NULL;
        run_batch(s, batch);
        finish_batch(s, batch);
    }
}

static void enqueue(struct tn_store *s, struct store_op *op, bool wake)
{
    *s->last = op;
    s->last = &op->next;
    if (wake)
        pthread_cond_signal(&s->work);
}

int store_call(struct tn_store *s, int (*run)(struct tn_store *, sqlite3 *, void *, struct tn_error **),
               void *arg, struct tn_error **err)
{
    struct store_op op = {.run = run, .arg = arg};
    pthread_mutex_lock(&s->lock);
    enqueue(s, &op, true);
    while (!op.done)
        pthread_cond_wait(&s->done, &s->lock);
    pthread_mutex_unlock(&s->lock);
    if (op.rc < 0)
        return tn_error_move(err, &op.err);
    tn_error_free(op.err);
    return op.rc;
}

void store_later(struct tn_store *s, int (*run)(struct tn_store *, sqlite3 *, void *, struct tn_error **),
                 void *arg, void (*free_arg)(void *))
{
    struct store_op *op = tn_alloc(sizeof(*op));
    *op = (struct store_op){.run = run, .arg = arg, .free_arg = free_arg};
    pthread_mutex_lock(&s->lock);
    enqueue(s, op, false); /* the next durable write, or the end, takes it along */
    pthread_mutex_unlock(&s->lock);
}

static int check_folder(const char *dir, struct tn_error **err)
{
    struct stat st;
    if (stat(dir, &st) != 0)
        return tn_error_errno(err, TN_EIO, errno, "state folder '%s'", dir);
    if ((st.st_mode & 022) != 0 && !(st.st_mode & S_ISVTX)) {
        tn_error_set(err, TN_EIO, "state folder '%s' can be written by others", dir);
        return tn_error_hint(err, "chmod go-w '%s', or name another one with --state", dir);
    }
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return tn_error_set(err, TN_EIO, "state folder '%s' belongs to another user", dir);
    return TN_OK;
}

static int check_file(const char *path, struct tn_error **err)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return TN_OK; /* it will be made */
    if (!S_ISREG(st.st_mode) || (st.st_mode & 022) != 0 || (st.st_uid != geteuid() && st.st_uid != 0))
        return tn_error_set(err, TN_EIO, "state file '%s' is not a file of this user alone", path);
    return TN_OK;
}

/* A folder → folder/turnout.db; sqlite:PATH → PATH. */
static char *database_path(const char *where, struct tn_error **err)
{
    if (tn_starts_with(where, "sqlite:"))
        return tn_strdup(where + strlen("sqlite:"));
    if (strstr(where, "://")) {
        tn_error_set(err, TN_EUNSUPPORTED,
                     "state '%s': this build keeps state in sqlite:PATH or a folder only", where);
        return NULL;
    }
    return tn_format("%s/turnout.db", where);
}

/* A store of a newer turnout may mean other things by the same words. */
static int check_schema(struct tn_store *s, struct tn_error **err)
{
    store_autostmt *st =
        store_prepare(s->db, "SELECT CAST(value AS INTEGER) FROM meta WHERE key='schema'", err);
    if (!st)
        return TN_EIO;
    int version = sqlite3_step(st) == SQLITE_ROW ? sqlite3_column_int(st, 0) : 0;
    if (version == SCHEMA)
        return TN_OK;
    tn_error_set(err, TN_EIO, "state store '%s' has schema %d, this turnout knows %d", s->path, version,
                 SCHEMA);
    return tn_error_hint(
        err, "use the turnout that made it, or a newer one, or another state folder with --state");
}

static int open_database(struct tn_store *s, struct tn_error **err)
{
    mode_t old = umask(077);
    int rc = sqlite3_open_v2(s->path, &s->db,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_busy_timeout(s->db, 10000);
        rc = sqlite3_exec(s->db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
                          NULL, NULL, NULL);
    }
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(s->db, schema, NULL, NULL, NULL);
    umask(old);
    if (rc == SQLITE_OK)
        return check_schema(s, err);
    if (rc == SQLITE_FULL || disk_is_full(s->path)) {
        tn_error_set(err, TN_EIO, "state store '%s': no space is left on its disk", s->path);
        return tn_error_hint(err,
                             "free some space, or name another state folder with --state or TURNOUT_STATE");
    }
    tn_error_set(err, TN_EIO, "state store '%s': %s", s->path,
                 s->db ? sqlite3_errmsg(s->db) : "out of memory");
    return tn_error_hint(err, "name another state folder with --state or TURNOUT_STATE");
}

struct tn_store *tn_store_open(const char *where, struct tn_error **err)
{
    tn_autofree char *path = database_path(where, err);
    if (!path)
        return NULL;
    tn_autofree char *dir = tn_path_dir(path);
    if (tn_fs_mkdirs(dir, 0700, err) < 0 || check_folder(dir, err) < 0 || check_file(path, err) < 0)
        return NULL;
    struct tn_store *s = tn_alloc(sizeof(*s));
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, NULL);
    pthread_cond_init(&s->done, NULL);
    s->last = &s->first;
    s->path = TN_TAKE(path);
    if (open_database(s, err) < 0 || pthread_create(&s->thread, NULL, store_thread, s) != 0) {
        if (err && !*err)
            tn_error_set(err, TN_EFAIL, "state store: cannot start its thread");
        sqlite3_close(s->db);
        free(s->path);
        free(s);
        return NULL;
    }
    return s;
}

struct tn_store *tn_store_open_existing(const char *where, struct tn_error **err)
{
    tn_autofree char *path = database_path(where, err);
    return path && tn_fs_exists(path) ? tn_store_open(where, err) : NULL;
}

void tn_store_free(struct tn_store *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->closing = true;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    sqlite3_close(s->db);
    pthread_cond_destroy(&s->work);
    pthread_cond_destroy(&s->done);
    pthread_mutex_destroy(&s->lock);
    free(s->path);
    free(s);
}

const char *tn_store_path(const struct tn_store *s)
{
    return s->path;
}

char *tn_store_default(const char *flag, const char *plan_state)
{
    const char *env = getenv("TURNOUT_STATE"), *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (flag)
        return tn_strdup(flag);
    if (env && *env)
        return tn_strdup(env);
    if (plan_state)
        return tn_strdup(plan_state);
    if (xdg && *xdg == '/')
        return tn_format("%s/turnout", xdg);
    return tn_format("%s/.local/state/turnout", home && *home ? home : "/var/lib/turnout");
}
