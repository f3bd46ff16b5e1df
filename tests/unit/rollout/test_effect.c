/* The one place where the world is changed: lease, durable intent, call, outcome - in that order. */
#include "tests/unit/rollout/world_help.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "lib/rollout/placement.h"
#include "turnout/clock.h"
#include "turnout/mem.h"

static struct tn_plan *plan;
static struct tn_session *session;

static int begin(void **state)
{
    if (world_enter(state) != 0)
        return -1;
    plan = world_plan(SHOP("max_surge: 1"));
    session = world_session(plan, "alice");
    session->rollout = tn_strdup("r1");
    json_t *prior = NULL;
    session->lease = tn_lease_take(session, "r1", NULL, 0, &prior, NULL);
    return session->lease ? 0 : -1;
}

static int end(void **state)
{
    tn_lease_end(session->lease, "done", NULL);
    session->lease = NULL;
    world_session_end(session);
    tn_plan_free(plan);
    return world_leave(state);
}

/* What somebody else reads from disk now: "intent start web-1 1;…" */
static char *on_disk(void)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *st = NULL;
    struct tn_buf b = TN_BUF_INIT(4096);
    assert_int_equal(sqlite3_open(tn_store_path(session->store), &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db,
                                        "SELECT phase||' '||move||' '||coalesce(instance,'-')||' '||number||"
                                        "coalesce(' '||detail,'') FROM journal ORDER BY seq",
                                        -1, &st, NULL),
                     SQLITE_OK);
    while (sqlite3_step(st) == SQLITE_ROW)
        tn_buf_printf(&b, "%s;", (const char *)sqlite3_column_text(st, 0));
    sqlite3_finalize(st);
    sqlite3_close(db);
    return tn_buf_take(&b);
}

struct call {
    int calls, rc;
    char *seen; /* the journal while it ran */
};

static int do_it(void *arg, struct tn_error **err)
{
    struct call *c = arg;
    c->calls++;
    free(c->seen);
    c->seen = on_disk();
    return c->rc < 0 ? tn_error_set(err, (enum tn_code)c->rc, "refused by the engine") : c->rc;
}

static int run(struct call *c, int64_t number, json_t *detail, struct tn_error **err)
{
    struct tn_effect e = {session, "web@c", "start", "web-1", number, detail};
    return tn_effect_run(&e, do_it, c, err);
}

static void flush(void)
{
    int64_t n;
    assert_int_equal(tn_store_verify(session->store, &n, NULL), TN_OK);
}

static void test_order(void **state)
{
    (void)state;
    struct call c = {.rc = 7};
    json_t *detail = json_pack("{s:i}", "port", 20000);
    assert_int_equal(run(&c, 3, detail, NULL), 7);
    assert_int_equal(c.calls, 1);
    assert_string_equal(c.seen, "intent start web-1 3 {\"port\":20000};"); /* on disk before the call */
    flush();
    tn_autofree char *after = on_disk();
    assert_string_equal(after, "intent start web-1 3 {\"port\":20000};outcome start web-1 3;");
    assert_int_equal(detail->refcount, 1);
    json_decref(detail);
    free(c.seen);
}

static void test_failure_is_an_outcome(void **state)
{
    (void)state;
    struct call c = {.rc = TN_EBUSY};
    struct tn_error *err = NULL;
    assert_int_equal(run(&c, 1, NULL, &err), TN_EBUSY);
    assert_string_equal(err->message, "refused by the engine");
    tn_error_clear(&err);
    assert_int_equal(run(&c, 2, NULL, NULL), TN_EBUSY);
    flush();
    tn_autofree char *after = on_disk();
    assert_non_null(
        strstr(after, "outcome start web-1 1 {\"error\":\"busy\",\"message\":\"refused by the engine\"};"));
    free(c.seen);
}

/* Not surely ours any more: no intent, no call. */
static void test_lost_lease(void **state)
{
    (void)state;
    struct call c = {0};
    struct tn_error *err = NULL;
    assert_int_equal(tn_lease_break(session, "r1", NULL), TN_OK);
    for (int64_t until = tn_mono_ms() + 8000;
         tn_mono_ms() < until && tn_lease_check(session->lease, NULL) == TN_OK;)
        pause_ms(10);
    assert_int_equal(run(&c, 1, NULL, &err), TN_ELOST);
    tn_error_clear(&err);
    assert_int_equal(c.calls, 0);
    tn_autofree char *after = on_disk();
    assert_string_equal(after, "");
}

/* The intent cannot be written: no call. */
static void test_no_effect_without_intent(void **state)
{
    (void)state;
    struct call c = {0};
    struct tn_error *err = NULL;
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(tn_store_path(session->store), &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(db,
                     "CREATE TRIGGER full BEFORE INSERT ON journal BEGIN SELECT RAISE(FAIL,'disk full');"
                     "END",
                     NULL, NULL, NULL),
        SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(run(&c, 1, NULL, &err), TN_EIO);
    assert_non_null(strstr(err->message, "disk full"));
    tn_error_clear(&err);
    assert_int_equal(c.calls, 0);
}

static void intent(const char *move, const char *instance, int64_t number, const char *phase)
{
    struct tn_record r = {.rollout = (char *)(uintptr_t) "r1",
                          .placement = (char *)(uintptr_t) "web@c",
                          .number = number,
                          .phase = (char *)(uintptr_t)phase,
                          .move = (char *)(uintptr_t)move,
                          .instance = (char *)(uintptr_t)instance,
                          .at = 1};
    assert_int_equal(tn_store_append(session->store, &r, NULL), TN_OK);
}

static void assert_probed(const char *journal, const char *move, int number, bool happened)
{
    tn_autofree char *want =
        tn_format("outcome %s web-%d %d {\"happened\":%s,\"probed\":\"by observation\"};", move, number,
                  number, happened ? "true" : "false");
    if (!strstr(journal, want))
        fail_msg("'%s' is not in '%s'", want, journal);
}

/* After a crash: each intent without an outcome is judged by what is observed; the others are left alone. */
static void test_probe(void **state)
{
    (void)state;
    intent("start", "web-1", 1, "intent"); /* is there */
    intent("start", "web-2", 2, "intent"); /* is not */
    intent("stop", "web-3", 3, "intent");  /* is still there */
    intent("stop", "web-4", 4, "intent");  /* is gone */
    intent("drain", "web-5", 5, "intent"); /* read from the balancer anyway */
    intent("start", "web-6", 6, "intent");
    intent("start", "web-6", 6, "outcome");
    struct tn_instance there[] = {
        {.name = (char *)(uintptr_t) "web-1", .effect = (char *)(uintptr_t) "r1/web@c/1"},
        {.name = (char *)(uintptr_t) "web-2", .effect = (char *)(uintptr_t) "r0/web@c/2"},
        {.name = (char *)(uintptr_t) "web-3"}};
    struct tn_goal goal = {.placement = (char *)(uintptr_t) "web@c"};
    struct tn_placement *p = tn_alloc(sizeof(*p));
    p->s = session;
    p->goal = &goal;
    p->world.v = there;
    p->world.n = TN_COUNT(there);
    assert_int_equal(tn_effect_probe_all(p, NULL), TN_OK);
    assert_int_equal(tn_effect_probe_all(p, NULL), TN_OK); /* now all have one */
    flush();
    tn_autofree char *journal = on_disk();
    assert_probed(journal, "start", 1, true);
    assert_probed(journal, "start", 2, false);
    assert_probed(journal, "stop", 3, false);
    assert_probed(journal, "stop", 4, true);
    assert_probed(journal, "drain", 5, true);
    int outcomes = 0;
    for (const char *at = journal; (at = strstr(at, "outcome ")); at++)
        outcomes++;
    assert_int_equal(outcomes, 6);
    free(p);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_order),      TEST(test_failure_is_an_outcome),
        TEST(test_lost_lease), TEST(test_no_effect_without_intent),
        TEST(test_probe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
