#include "tests/unit/state/store_help.h"

#include <sqlite3.h>
#include <stdarg.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "turnout/fs.h"
#include "turnout/mem.h"

char store_dir[64];

int store_dir_make(void **state)
{
    (void)state;
    snprintf(store_dir, sizeof(store_dir), "/tmp/turnout-store-XXXXXX");
    return mkdtemp(store_dir) ? 0 : -1;
}

int store_dir_remove(void **state)
{
    (void)state;
    return tn_fs_remove_tree(store_dir, NULL);
}

struct tn_store *store_open(void)
{
    struct tn_error *err = NULL;
    struct tn_store *s = tn_store_open(store_dir, &err);
    if (!s)
        fail_msg("%s", tn_error_message(err));
    return s;
}

struct tn_record store_record(const char *rollout, int64_t number, const char *text)
{
    return (struct tn_record){
        .rollout = (char *)(uintptr_t)rollout,
        .placement = (char *)(uintptr_t) "web@main",
        .number = number,
        .phase = (char *)(uintptr_t) "intent",
        .move = (char *)(uintptr_t) "start",
        .instance = (char *)(uintptr_t)text,
        .at = 1795552545000 + number,
    };
}

void store_append(struct tn_store *s, const char *rollout, int64_t number, const char *text)
{
    struct tn_error *err = NULL;
    struct tn_record r = store_record(rollout, number, text);
    if (tn_store_append(s, &r, &err) < 0)
        fail_msg("%s", tn_error_message(err));
}

void store_sql(const char *sql)
{
    tn_autofree char *path = tn_format("%s/turnout.db", store_dir);
    sqlite3 *db = NULL;
    char *message = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", sql, message);
    sqlite3_close(db);
}

char *store_verify(void)
{
    struct tn_error *err = NULL;
    struct tn_store *s = store_open();
    int64_t n = -1;
    int rc = tn_store_verify(s, &n, &err);
    char *text = rc < 0 ? tn_format("%s: %s", tn_code_name((enum tn_code)rc), tn_error_message(err))
                        : tn_format("ok %lld", (long long)n);
    tn_error_clear(&err);
    tn_store_free(s);
    return text;
}
