/* Who may change an application: claims in the target, seen from two machines. */
#include "tests/unit/rollout/world_help.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/rollout/lease.h"
#include "turnout/clock.h"
#include "turnout/mem.h"

enum { TTL = 600, LONG = 8000 };
static struct tn_plan *plan;
static struct tn_session *alice, *bob;

static int begin(void **state)
{
    if (world_enter(state) != 0)
        return -1;
    plan = world_plan(SHOP("max_surge: 1"));
    alice = world_session(plan, "alice");
    bob = world_session(plan, "bob");
    return 0;
}

static int end(void **state)
{
    world_session_end(alice);
    world_session_end(bob);
    tn_plan_free(plan);
    return world_leave(state);
}

static struct tn_lease *take(struct tn_session *s, const char *rollout)
{
    struct tn_error *err = NULL;
    json_t *prior = NULL, *goal = json_pack("{s:s}", "of", rollout);
    struct tn_lease *l = tn_lease_take(s, rollout, goal, 0, &prior, &err);
    if (!l)
        fail_msg("%s", tn_error_message(err));
    json_decref(prior);
    json_decref(goal);
    return l;
}

/* The code with which taking fails, and whether the message holds `says`. */
static void refused(struct tn_session *s, int64_t wait, enum tn_code code, const char *says)
{
    struct tn_error *err = NULL;
    json_t *prior = (json_t *)(uintptr_t)1;
    struct tn_lease *l = tn_lease_take(s, "late", NULL, wait, &prior, &err);
    assert_null(l);
    assert_null(prior);
    assert_non_null(err);
    if (err->code != code || !strstr(err->message, says))
        fail_msg("%s: %s", tn_code_name(err->code), err->message);
    tn_error_clear(&err);
}

static json_t *take_prior(struct tn_session *s)
{
    struct tn_error *err = NULL;
    json_t *prior = NULL;
    struct tn_lease *l = tn_lease_take(s, "next", NULL, LONG, &prior, &err);
    if (!l)
        fail_msg("%s", tn_error_message(err));
    tn_lease_end(l, "done", NULL);
    return prior;
}

static bool is_held(struct tn_session *s)
{
    json_t *j = tn_lease_look(s, NULL);
    bool held = json_is_true(json_object_get(j, "held"));
    json_decref(j);
    return held;
}

static bool becomes_lost(struct tn_lease *l)
{
    for (int64_t until = tn_mono_ms() + LONG; tn_mono_ms() < until; pause_ms(10)) {
        struct tn_error *err = NULL;
        int rc = tn_lease_check(l, &err);
        tn_error_clear(&err);
        if (rc == TN_ELOST)
            return true;
    }
    return false;
}

static int64_t epoch_of(struct tn_session *s)
{
    json_t *j = tn_lease_look(s, NULL);
    int64_t epoch = json_integer_value(json_object_get(j, "epoch"));
    json_decref(j);
    return epoch;
}

static void test_take_and_end(void **state)
{
    (void)state;
    assert_false(is_held(alice));
    struct tn_lease *l = take(alice, "r1");
    assert_int_equal(tn_lease_check(l, NULL), TN_OK);
    assert_false(tn_lease_abort_asked(l));
    json_t *j = tn_lease_look(bob, NULL);
    assert_true(json_is_true(json_object_get(j, "held")));
    assert_string_equal(json_string_value(json_object_get(j, "holder")), "alice");
    assert_string_equal(json_string_value(json_object_get(j, "rollout")), "r1");
    json_decref(j);
    assert_int_equal(epoch_of(bob), 1);
    tn_lease_end(l, "done", NULL);
    assert_false(is_held(bob));
    l = take(bob, "r2");
    assert_int_equal(epoch_of(alice), 2);
    tn_lease_end(l, "done", NULL);
}

static void test_held(void **state)
{
    (void)state;
    struct tn_lease *l = take(alice, "r1");
    refused(bob, 0, TN_EHELD, "alice");
    refused(bob, 0, TN_EHELD, "r1");
    int64_t before = tn_mono_ms();
    refused(bob, 2 * TTL, TN_EHELD, "r1"); /* it beats: waiting longer than the TTL does not take it away */
    assert_true(tn_mono_ms() - before >= 2 * TTL);
    assert_int_equal(tn_lease_check(l, NULL), TN_OK);
    tn_lease_end(l, "done", NULL);
}

struct later {
    struct tn_lease *l;
};

static void *end_later(void *arg)
{
    pause_ms(100);
    tn_lease_end(((struct later *)arg)->l, "done", NULL);
    return NULL;
}

static void test_wait_for_it(void **state)
{
    (void)state;
    struct later later = {take(alice, "r1")};
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, end_later, &later), 0);
    json_t *prior = take_prior(bob);
    pthread_join(t, NULL);
    assert_null(prior);
}

/* Ctrl-C while waiting: the first one is enough. */
static void test_wait_cancelled(void **state)
{
    (void)state;
    struct tn_lease *l = take(alice, "r1");
    tn_cancel_raise(bob->cancel, 1);
    refused(bob, LONG, TN_ECANCELLED, "interrupted");
    tn_lease_end(l, "done", NULL);
}

static void test_unfinished(void **state)
{
    (void)state;
    json_t *goal = json_pack("{s:s,s:[i]}", "action", "deploy", "placements", 1);
    struct tn_lease *l = take(alice, "r1");
    tn_lease_end(l, "interrupted", goal);
    json_object_set_new(goal, "rollout", json_string("r1")); /* whose it is */
    json_t *look = tn_lease_look(bob, NULL);
    assert_string_equal(json_string_value(json_object_get(look, "rollout")), "r1");
    assert_true(json_equal(json_object_get(look, "unfinished"), goal));
    assert_string_equal(json_string_value(json_object_get(look, "state")), "interrupted");
    json_decref(look);
    json_t *prior = take_prior(bob);
    assert_true(json_equal(prior, goal));
    json_decref(prior);
    assert_null(take_prior(alice)); /* bob finished it */
    json_decref(goal);
}

static void test_turned(void **state)
{
    (void)state;
    json_t *goal = json_pack("{s:s}", "action", "deploy");
    struct tn_lease *l = take(alice, "r1");
    tn_lease_turn(l);
    tn_lease_turn(l); /* twice is harmless */
    tn_lease_end(l, "interrupted", goal);
    json_t *prior = take_prior(bob);
    assert_true(json_is_true(json_object_get(prior, "turned")));
    json_decref(prior);
    json_decref(goal);
}

/* A child takes it and is killed. On this machine its process is seen to be gone: no TTL. */
static void test_holder_dies_here(void **state)
{
    (void)state;
    int p[2];
    char byte = 0;
    assert_int_equal(pipe(p), 0);
    world_session_end(alice); /* no threads at the fork */
    world_session_end(bob);
    pid_t child = fork();
    if (child == 0) {
        struct tn_session *s = world_session(plan, "child");
        take(s, "r1");
        if (write(p[1], "x", 1) != 1)
            _exit(1);
        pause_ms(60000);
        _exit(0);
    }
    close(p[1]);
    assert_int_equal(read(p[0], &byte, 1), 1);
    close(p[0]);
    alice = world_session(plan, "alice");
    bob = world_session(plan, "bob");
    refused(bob, 0, TN_EHELD, "child");
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_false(is_held(alice));
    json_t *prior = NULL;
    struct tn_error *err = NULL;
    struct tn_lease *l = tn_lease_take(bob, "r2", NULL, 0, &prior, &err);
    if (!l)
        fail_msg("%s", tn_error_message(err));
    assert_int_equal(epoch_of(alice), 2);
    assert_string_equal(json_string_value(json_object_get(prior, "of")), "r1");
    assert_non_null(strstr(world_told(TN_EV_LEASE), "taken over from child"));
    json_decref(prior);
    tn_lease_end(l, "done", NULL);
}

static void from_another_machine(const char *key)
{
    world_edit_docs("lease-", key, json_string("00000000-0000-0000-0000-000000000000 other"));
}

static void unfree(json_t *world, void *arg)
{
    (void)arg;
    json_t *docs = json_object_get(json_object_get(world, "docs"), "local"), *body;
    const char *name;
    void *next;
    json_object_foreach_safe(docs, next, name, body)
    {
        if (strstr(name, "-free"))
            json_object_del(docs, name);
    }
}

/* Of another machine only the beats tell: it is dead when none came for the TTL, not before. */
static void test_holder_dies_elsewhere(void **state)
{
    (void)state;
    world_write("{'docs': {'local': {}}}");
    struct tn_lease *l = take(alice, "r1");
    tn_lease_end(l, "done", NULL);
    world_edit(unfree, NULL); /* as if it had been killed */
    from_another_machine("boot");
    assert_true(is_held(bob));
    int64_t before = tn_mono_ms();
    json_t *prior = take_prior(bob);
    assert_true(tn_mono_ms() - before >= TTL);
    assert_string_equal(json_string_value(json_object_get(prior, "of")), "r1");
    json_decref(prior);
}

static void test_holder_lives_elsewhere(void **state)
{
    (void)state;
    struct tn_lease *l = take(alice, "r1");
    from_another_machine("boot");
    refused(bob, 0, TN_EHELD, "alice"); /* a beat was seen */
    assert_int_equal(tn_lease_check(l, NULL), TN_OK);
    tn_lease_end(l, "done", NULL);
}

/* The pid lives, yet it is another process: it started at another time. */
static void test_pid_given_again(void **state)
{
    (void)state;
    struct tn_lease *l = take(alice, "r1");
    world_edit_docs("lease-", "start_time", json_integer(1));
    assert_false(is_held(bob));
    struct tn_lease *b = take(bob, "r2");
    assert_true(becomes_lost(l));
    tn_lease_end(l, "done", NULL);
    assert_int_equal(tn_lease_check(b, NULL), TN_OK); /* who lost it does not free the other's */
    assert_true(is_held(alice));
    tn_lease_end(b, "done", NULL);
}

static void test_break(void **state)
{
    (void)state;
    struct tn_error *err = NULL;
    assert_int_equal(tn_lease_break(bob, "r1", &err), TN_ENOTFOUND);
    tn_error_clear(&err);
    struct tn_lease *l = take(alice, "r1");
    assert_int_equal(tn_lease_break(bob, "r2", &err), TN_EHELD);
    assert_non_null(strstr(err->message, "r2"));
    tn_error_clear(&err);
    assert_true(is_held(bob));
    assert_int_equal(tn_lease_break(bob, "r1", &err), TN_OK);
    assert_false(is_held(bob));
    assert_true(becomes_lost(l));
    json_t *prior = take_prior(bob); /* what it was leading to is not forgotten */
    assert_string_equal(json_string_value(json_object_get(prior, "of")), "r1");
    json_decref(prior);
    tn_lease_end(l, "done", NULL);
}

static void test_abort_wish(void **state)
{
    (void)state;
    struct tn_error *err = NULL;
    assert_int_equal(tn_lease_ask_abort(bob, &err), TN_ENOTFOUND);
    tn_error_clear(&err);
    struct tn_lease *l = take(alice, "r1");
    assert_int_equal(tn_lease_ask_abort(bob, &err), TN_OK);
    assert_int_equal(tn_lease_ask_abort(bob, &err), TN_OK); /* twice is harmless */
    for (int64_t until = tn_mono_ms() + LONG; tn_mono_ms() < until && !tn_lease_abort_asked(l);)
        pause_ms(10);
    assert_true(tn_lease_abort_asked(l));
    assert_int_equal(tn_lease_check(l, NULL), TN_OK); /* still its lease: it must go back by itself */
    tn_lease_end(l, "rolled_back", NULL);
    l = take(alice, "r2");
    pause_ms(TTL / 2);
    assert_false(tn_lease_abort_asked(l)); /* the wish was for another rollout */
    tn_lease_end(l, "done", NULL);
    assert_false(tn_lease_abort_asked(NULL));
}

static void change_hosts_down(json_t *world, void *arg)
{
    json_object_set_new(world, "script", json_pack("{s:o}", "hosts_down", json_loads(arg, 0, NULL)));
}

static void set_hosts_down(const char *hosts)
{
    world_edit(change_hosts_down, (void *)(uintptr_t)hosts);
}

/* It cannot be renewed for the whole TTL: nothing may be changed any more. */
static void test_engine_is_silent(void **state)
{
    (void)state;
    struct tn_lease *l = take(alice, "r1");
    set_hosts_down("[\"local\"]");
    refused(bob, 0, TN_EUNREACHABLE, "lease on 'local'");
    assert_true(becomes_lost(l));
    set_hosts_down("[]");
    tn_lease_end(l, "interrupted", NULL);
}

static void two_hosts(void)
{
    world_session_end(alice);
    world_session_end(bob);
    world_write("{'hosts': ['b', 'a']}");
    alice = world_session(plan, "alice");
    bob = world_session(plan, "bob");
}

/* All or none, in the order of the hosts' ids; what was taken before one refuses is given back. */
static void test_all_or_none(void **state)
{
    (void)state;
    two_hosts();
    set_hosts_down("[\"b\"]");
    refused(alice, 0, TN_EUNREACHABLE, "lease on 'b'");
    set_hosts_down("[]");
    assert_false(is_held(bob));
    struct tn_lease *l = take(bob, "r2");
    refused(alice, 0, TN_EHELD, "on 'a'");
    tn_lease_end(l, "done", NULL);
}

/* A take that fails half-way must not lose the goal of a rollout that was left unfinished. */
static void test_unfinished_survives_a_failed_take(void **state)
{
    (void)state;
    two_hosts();
    json_t *goal = json_pack("{s:s}", "action", "deploy");
    struct tn_lease *l = take(alice, "r1");
    tn_lease_turn(l);
    tn_lease_end(l, "interrupted", goal);
    set_hosts_down("[\"b\"]");
    refused(bob, 0, TN_EUNREACHABLE, "lease on 'b'");
    set_hosts_down("[]");
    json_t *prior = take_prior(bob);
    assert_string_equal(json_string_value(json_object_get(prior, "action")), "deploy");
    assert_true(json_is_true(json_object_get(prior, "turned")));
    assert_string_equal(json_string_value(json_object_get(prior, "rollout")), "r1");
    json_decref(prior);
    json_decref(goal);
}

struct racer {
    struct tn_session *s;
    struct tn_lease *l;
};

static void *race(void *arg)
{
    struct racer *r = arg;
    json_t *prior = NULL;
    r->l = tn_lease_take(r->s, "race", NULL, 0, &prior, NULL);
    json_decref(prior);
    return NULL;
}

static void test_one_wins(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        struct racer r[2] = {{alice, NULL}, {bob, NULL}};
        pthread_t t[2];
        for (int k = 0; k < 2; k++)
            assert_int_equal(pthread_create(&t[k], NULL, race, &r[k]), 0);
        for (int k = 0; k < 2; k++)
            pthread_join(t[k], NULL);
        assert_true((r[0].l == NULL) != (r[1].l == NULL));
        for (int k = 0; k < 2; k++)
            if (r[k].l)
                tn_lease_end(r[k].l, "done", NULL);
    }
}

/* Another application, another environment: another lease. */
static void test_others_do_not_meet(void **state)
{
    (void)state;
    struct tn_lease *l = take(alice, "r1");
    struct tn_plan other = *plan;
    other.environment = (char *)(uintptr_t) "prod";
    struct tn_session *s = world_session(&other, "carol");
    struct tn_lease *c = take(s, "r9");
    assert_int_equal(epoch_of(s), 1);
    tn_lease_end(c, "done", NULL);
    world_session_end(s);
    tn_lease_end(l, "done", NULL);
}

static void add_hostile(json_t *world, void *arg)
{
    static const char *const rests[] = {"",
                                        "x",
                                        "00000001-beat-x",
                                        "00000001-what",
                                        "-5",
                                        "00000002-free",
                                        "00000001-beat-99999999999999999999"};
    (void)arg;
    json_t *docs = json_object_get(json_object_get(world, "docs"), "local"), *body;
    const char *name;
    char key[24] = "";
    json_object_foreach(docs, name, body)
    {
        snprintf(key, 20, "%s", name); /* lease-KEY- */
    }
    for (size_t i = 0; i < TN_COUNT(rests); i++) {
        tn_autofree char *made = tn_format("%s%s", key, rests[i]);
        json_object_set_new(docs, made, json_pack("{s:i,s:[]}", "holder", 5, "goal"));
    }
}

/* Names and bodies in the target can be written by anybody. */
static void test_hostile_documents(void **state)
{
    (void)state;
    struct tn_lease *l = take(alice, "r1");
    tn_lease_end(l, "done", NULL);
    world_edit(add_hostile, NULL);
    json_decref(tn_lease_look(bob, NULL));
    l = take(bob, "r2");
    assert_int_equal(tn_lease_check(l, NULL), TN_OK);
    tn_lease_end(l, "done", NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_take_and_end),
        TEST(test_held),
        TEST(test_wait_for_it),
        TEST(test_wait_cancelled),
        TEST(test_unfinished),
        TEST(test_turned),
        TEST(test_holder_dies_here),
        TEST(test_holder_dies_elsewhere),
        TEST(test_holder_lives_elsewhere),
        TEST(test_pid_given_again),
        TEST(test_break),
        TEST(test_abort_wish),
        TEST(test_engine_is_silent),
        TEST(test_all_or_none),
        TEST(test_unfinished_survives_a_failed_take),
        TEST(test_one_wins),
        TEST(test_others_do_not_meet),
        TEST(test_hostile_documents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
