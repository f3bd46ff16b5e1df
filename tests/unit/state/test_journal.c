/* The journal: order, the chain of hashes, threads, kill -9. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/state/store_help.h"
#include "turnout/mem.h"

/* As a new one. */
#define EMPTY "DELETE FROM journal; DELETE FROM sqlite_sequence; DELETE FROM meta WHERE key='journal'"

static void test_round_trip(void **state)
{
    (void)state;
    struct tn_store *s = store_open();
    json_t *detail = json_pack("{s:[i,f,s,n],s:{s:b}}", "list", 1, 0.1, "caf\xc3\xa9\n\"", "o", "t", 1);
    struct tn_record r = store_record("r1", 7, "web-1");
    r.detail = detail;
    assert_int_equal(tn_store_append(s, &r, NULL), TN_OK);
    r.instance = NULL;
    r.detail = NULL;
    r.phase = (char *)(uintptr_t) "outcome";
    assert_int_equal(tn_store_append(s, &r, NULL), TN_OK);
    store_append(s, "r2", 1, "x");
    struct tn_records all = {0};
    assert_int_equal(tn_store_journal(s, "r1", &all, NULL), TN_OK);
    assert_int_equal(all.n, 2);
    assert_string_equal(all.v[0].rollout, "r1");
    assert_string_equal(all.v[0].placement, "web@main");
    assert_string_equal(all.v[0].phase, "intent");
    assert_string_equal(all.v[0].move, "start");
    assert_string_equal(all.v[0].instance, "web-1");
    assert_int_equal(all.v[0].number, 7);
    assert_int_equal(all.v[0].at, 1795552545007);
    assert_true(json_equal(all.v[0].detail, detail));
    assert_null(all.v[1].instance);
    assert_null(all.v[1].detail);
    tn_records_clear(&all);
    json_decref(detail);
    int64_t n;
    assert_int_equal(tn_store_verify(s, &n, NULL), TN_OK);
    assert_int_equal(n, 3);
    tn_store_free(s);
}

static void test_last_number(void **state)
{
    (void)state;
    struct tn_store *s = store_open();
    int64_t n = -1;
    assert_int_equal(tn_store_last_number(s, "r1", "web@main", &n, NULL), TN_OK);
    assert_int_equal(n, 0);
    store_append(s, "r1", 5, "a");
    store_append(s, "r1", 9, "b");
    store_append(s, "r1", 7, "c");
    store_append(s, "r2", 99, "d");
    assert_int_equal(tn_store_last_number(s, "r1", "web@main", &n, NULL), TN_OK);
    assert_int_equal(n, 9);
    assert_int_equal(tn_store_last_number(s, "r1", "api@main", &n, NULL), TN_OK);
    assert_int_equal(n, 0);
    tn_store_free(s);
}

/* What rides on the next commit keeps its place in the order. */
static void test_append_later(void **state)
{
    (void)state;
    struct tn_store *s = store_open();
    json_t *detail = json_pack("{s:i}", "n", 1);
    for (int i = 1; i <= 4; i++) {
        char text[16];
        snprintf(text, sizeof(text), "i%d", i);
        struct tn_record r = store_record("r1", i, text);
        r.detail = detail;
        if (i == 3)
            assert_int_equal(tn_store_append(s, &r, NULL), TN_OK);
        else
            tn_store_append_later(s, &r); /* copies: text and detail change */
        memset(text, 'X', sizeof(text));
        json_object_set_new(detail, "n", json_integer(i + 1));
    }
    json_decref(detail);
    tn_store_free(s);
    s = store_open();
    struct tn_records all = {0};
    tn_store_journal(s, "r1", &all, NULL);
    assert_int_equal(all.n, 4);
    for (int i = 0; i < 4; i++) {
        char text[16];
        snprintf(text, sizeof(text), "i%d", i + 1);
        assert_string_equal(all.v[i].instance, text);
        assert_int_equal(json_integer_value(json_object_get(all.v[i].detail, "n")), i + 1);
    }
    tn_records_clear(&all);
    int64_t n;
    assert_int_equal(tn_store_verify(s, &n, NULL), TN_OK);
    tn_store_free(s);
}

/* One that cannot be written fails alone: others of the same commit stand, and the chain is whole. */
static void test_a_bad_record_fails_alone(void **state)
{
    (void)state;
    struct tn_store *s = store_open();
    struct tn_error *err = NULL;
    struct tn_record bad = store_record("r1", 2, "x");
    bad.move = NULL; /* NOT NULL in the table */
    struct tn_record good = store_record("r1", 1, "a");
    tn_store_append_later(s, &good);
    tn_store_append_later(s, &bad);
    good.number = 3;
    tn_store_append_later(s, &good);
    assert_int_equal(tn_store_append(s, &bad, &err), TN_EIO);
    assert_non_null(err);
    tn_error_clear(&err);
    store_append(s, "r1", 4, "d");
    tn_store_free(s);
    tn_autofree char *verdict = store_verify();
    assert_string_equal(verdict, "ok 3");
}

static void fill(int n)
{
    struct tn_store *s = store_open();
    for (int i = 1; i <= n; i++)
        store_append(s, "r1", i, "web-1");
    tn_store_free(s);
}

static void test_verify_finds(void **state)
{
    static const struct {
        const char *what, *sql, *says;
    } rows[] = {
        {"a changed instance", "UPDATE journal SET instance='web-2' WHERE seq=4", "record 4"},
        {"a changed time", "UPDATE journal SET at=at+1 WHERE seq=4", "record 4"},
        {"a changed number", "UPDATE journal SET number=99 WHERE seq=4", "record 4"},
        {"a changed phase", "UPDATE journal SET phase='outcome' WHERE seq=4", "record 4"},
        {"a changed move", "UPDATE journal SET move='stop' WHERE seq=4", "record 4"},
        {"a changed placement", "UPDATE journal SET placement='api@main' WHERE seq=4", "record 4"},
        {"a changed rollout", "UPDATE journal SET rollout='r2' WHERE seq=4", "record 4"},
        {"an added detail", "UPDATE journal SET detail='{}' WHERE seq=4", "record 4"},
        {"an instance taken away", "UPDATE journal SET instance=NULL WHERE seq=4", "record 4"},
        {"a changed hash", "UPDATE journal SET hash=replace(hash,substr(hash,1,1),'z') WHERE seq=4",
         "record 4"},
        {"the first one changed", "UPDATE journal SET instance='x' WHERE seq=1", "record 1"},
        {"the last one changed", "UPDATE journal SET instance='x' WHERE seq=6", "record 6"},
        {"one removed", "DELETE FROM journal WHERE seq=4", "record 4"},
        {"the first one removed", "DELETE FROM journal WHERE seq=1", "record 1"},
        {"one removed, the others moved up",
         "DELETE FROM journal WHERE seq=4; UPDATE journal SET seq=seq-1 WHERE seq>4", "record 4"},
        {"two swapped",
         "UPDATE journal SET seq=100 WHERE seq=3; UPDATE journal SET seq=3 WHERE seq=4;"
         "UPDATE journal SET seq=4 WHERE seq=100",
         "record 3"},
        {"one doubled",
         "INSERT INTO journal(seq,rollout,placement,number,phase,move,instance,detail,at,hash)"
         " SELECT 7,rollout,placement,number,phase,move,instance,detail,at,hash FROM journal WHERE seq=6",
         "record 7"},
    };
    (void)state;
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        fill(6);
        tn_autofree char *before = store_verify();
        assert_string_equal(before, "ok 6");
        store_sql(rows[i].sql);
        tn_autofree char *after = store_verify();
        if (strncmp(after, "protocol: ", 10) != 0 || !strstr(after, rows[i].says))
            fail_msg("%s: '%s'", rows[i].what, after);
        store_sql("DELETE FROM journal; DELETE FROM sqlite_sequence; DELETE FROM meta WHERE key='journal'");
    }
}

/* The end cut off leaves a chain that fits in itself; the store must tell it apart all the same. */
static void test_verify_finds_a_cut_end(void **state)
{
    (void)state;
    fill(6);
    store_sql("DELETE FROM journal WHERE seq>4");
    tn_autofree char *after = store_verify();
    if (strncmp(after, "protocol: ", 10) != 0)
        fail_msg("%s", after);
}

static void test_verify_finds_an_empty_journal(void **state)
{
    (void)state;
    fill(6);
    store_sql("DELETE FROM journal");
    tn_autofree char *after = store_verify();
    if (strncmp(after, "protocol: ", 10) != 0)
        fail_msg("%s", after);
}

/* Whatever a record holds, its hash covers it and the one before. */
static void append_and_verify(const char *instance, json_t *detail)
{
    struct tn_store *s = store_open();
    struct tn_record r = store_record("r1", 1, instance);
    r.detail = detail;
    assert_int_equal(tn_store_append(s, &r, NULL), TN_OK);
    store_append(s, "r1", 2, "after");
    tn_store_free(s);
    json_decref(detail);
    tn_autofree char *verdict = store_verify();
    assert_string_equal(verdict, "ok 2");
}

static void test_any_detail(void **state)
{
    (void)state;
    append_and_verify("deep", json_pack("{s:{s:[f,f,i]}}", "a", "b", 1e300, -0.1, -5));
}

static void test_scalar_detail(void **state)
{
    (void)state;
    append_and_verify("scalar", json_string("a text, not an object"));
}

static void test_detail_with_nul(void **state)
{
    (void)state;
    append_and_verify("nul", json_pack("{s:o}", "a", json_stringn("x\0y", 3)));
}

static void test_hash_covers_invalid_utf8(void **state)
{
    (void)state;
    struct tn_store *s = store_open();
    store_append(s, "r1", 1, "bytes \xff");
    tn_store_free(s);
    tn_autofree char *whole = store_verify();
    assert_string_equal(whole, "ok 1");
    store_sql("UPDATE journal SET instance=CAST(x'6f74686572fe' AS TEXT), number=77 WHERE seq=1");
    tn_autofree char *after = store_verify();
    if (strncmp(after, "protocol: ", 10) != 0)
        fail_msg("another number, another instance: %s", after);
}

enum { THREADS = 8, EACH = 100 };
struct writer {
    struct tn_store *s;
    int id, failed;
};

static void *write_many(void *arg)
{
    struct writer *w = arg;
    char placement[16];
    snprintf(placement, sizeof(placement), "p%d", w->id);
    for (int i = 1; i <= EACH; i++) {
        struct tn_record r = store_record("r1", i, "x");
        r.placement = placement;
        if (i % 4 == 0)
            tn_store_append_later(w->s, &r);
        else
            w->failed += tn_store_append(w->s, &r, NULL) < 0;
        tn_store_event_later(w->s, "r1", i, "{}");
    }
    return NULL;
}

/* Group commit: nothing is lost or doubled, each writer's records keep their order, the chain is whole. */
static void test_threads(void **state)
{
    (void)state;
    struct tn_store *s = store_open();
    pthread_t t[THREADS];
    struct writer w[THREADS];
    for (int i = 0; i < THREADS; i++) {
        w[i] = (struct writer){s, i, 0};
        assert_int_equal(pthread_create(&t[i], NULL, write_many, &w[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(t[i], NULL);
        assert_int_equal(w[i].failed, 0);
    }
    tn_store_free(s);
    s = store_open();
    struct tn_records all = {0};
    assert_int_equal(tn_store_journal(s, "r1", &all, NULL), TN_OK);
    assert_int_equal(all.n, THREADS * EACH);
    int64_t next[THREADS] = {0};
    for (size_t i = 0; i < all.n; i++) {
        int id = all.v[i].placement[1] - '0';
        assert_int_equal(all.v[i].number, ++next[id]);
    }
    tn_records_clear(&all);
    int64_t n;
    assert_int_equal(tn_store_verify(s, &n, NULL), TN_OK);
    assert_int_equal(n, THREADS * EACH);
    tn_store_free(s);
}

/* Two processes share the folder: the chain stays one. */
static void test_two_stores_at_once(void **state)
{
    (void)state;
    struct tn_store *a = store_open(), *b = store_open();
    for (int i = 1; i <= 20; i++) {
        store_append(a, "ra", i, "a");
        store_append(b, "rb", i, "b");
    }
    tn_store_free(a);
    tn_store_free(b);
    tn_autofree char *verdict = store_verify();
    assert_string_equal(verdict, "ok 40");
}

/* The child writes, says after each return "that one is written", and is killed in the middle. */
static void write_until_killed(int out)
{
    struct tn_store *s = tn_store_open(store_dir, NULL);
    if (!s)
        _exit(2);
    for (int i = 1;; i++) {
        struct tn_record r = store_record("r1", i, "x");
        if (tn_store_append(s, &r, NULL) < 0 || write(out, &i, sizeof(i)) != sizeof(i))
            _exit(1);
        tn_store_event_later(s, "r1", i, "{}");
    }
}

static int kill_a_writer(int after)
{
    int p[2], last = 0, seen;
    assert_int_equal(pipe(p), 0);
    pid_t child = fork();
    if (child == 0) {
        close(p[0]);
        write_until_killed(p[1]);
    }
    close(p[1]);
    while (last < after && read(p[0], &seen, sizeof(seen)) == sizeof(seen))
        last = seen;
    kill(child, SIGKILL);
    while (read(p[0], &seen, sizeof(seen)) == sizeof(seen))
        last = seen;
    close(p[0]);
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status));
    return last;
}

static void test_kill_9(void **state)
{
    (void)state;
    for (int round = 0; round < 5; round++) {
        int told = kill_a_writer(3 + round * 7);
        assert_true(told >= 3 + round * 7);
        struct tn_store *s = store_open();
        int64_t last = 0, n = 0;
        struct tn_records all = {0};
        assert_int_equal(tn_store_verify(s, &n, NULL), TN_OK);
        assert_int_equal(tn_store_journal(s, "r1", &all, NULL), TN_OK);
        for (size_t i = 0; i < all.n; i++) {
            assert_int_equal(all.v[i].number, i + 1); /* none is missing in between */
            last = all.v[i].number;
        }
        tn_records_clear(&all);
        if (last < told)
            fail_msg("record %d returned, %d are there", told, (int)last);
        tn_store_free(s);
        store_sql("DELETE FROM journal; DELETE FROM sqlite_sequence; DELETE FROM meta WHERE key='journal'");
    }
}

/* 0 = all is well, else the line where it was not. */
static int fill_the_disk(void)
{
    struct rlimit limit, none;
    struct tn_error *err = NULL;
    int64_t n = 0;
    char *large = tn_alloc(200001);
    memset(large, 'x', 200000);
    struct tn_store *s = tn_store_open(store_dir, NULL);
    struct tn_record r = store_record("r1", 1, "before"), big = store_record("r1", 2, large);
    if (!s || tn_store_append(s, &r, NULL) < 0)
        return __LINE__;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &none);
    limit = (struct rlimit){100000, none.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
    if (tn_store_append(s, &big, &err) != TN_EIO || !err || !strstr(err->message, "state store"))
        return __LINE__;
    tn_error_clear(&err);
    setrlimit(RLIMIT_FSIZE, &none); /* somebody made room */
    r.number = 2;
    if (tn_store_append(s, &r, NULL) < 0)
        return __LINE__;
    if (tn_store_verify(s, &n, NULL) < 0 || n != 2)
        return __LINE__;
    tn_store_free(s);
    free(large);
    return 0;
}

/* A record that does not fit is an error, at once; what was there stays, and it goes on when there is room again. */
static void test_disk_full(void **state)
{
    (void)state;
    int status;
    pid_t child = fork();
    if (child == 0)
        _exit(fill_the_disk() ? 1 : 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    tn_autofree char *verdict = store_verify();
    assert_string_equal(verdict, "ok 2");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, store_dir_make, store_dir_remove)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_round_trip),
        TEST(test_last_number),
        TEST(test_append_later),
        TEST(test_a_bad_record_fails_alone),
        TEST(test_verify_finds),
        TEST(test_verify_finds_a_cut_end),
        TEST(test_verify_finds_an_empty_journal),
        TEST(test_any_detail),
        TEST(test_scalar_detail),
        TEST(test_detail_with_nul),
        TEST(test_hash_covers_invalid_utf8),
        TEST(test_threads),
        TEST(test_two_stores_at_once),
        TEST(test_kill_9),
        TEST(test_disk_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
