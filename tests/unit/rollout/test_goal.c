/* Goals: recorded and read back, turned round, and what the plan asks the core for. */
#include "tests/unit/rollout/world_help.h"

#include <stdlib.h>
#include <string.h>

#include "lib/rollout/goal.h"
#include "lib/rollout/placement.h"
#include "turnout/mem.h"

static struct tn_plan *plan;
static struct tn_session *session;

static int begin(void **state)
{
    if (world_enter(state) != 0)
        return -1;
    plan = world_plan(SHOP("max_surge: 1"));
    session = world_session(plan, "alice");
    return 0;
}

static int end(void **state)
{
    world_session_end(session);
    tn_plan_free(plan);
    return world_leave(state);
}

static json_t *spec_of(const char *service)
{
    struct tn_error *err = NULL;
    json_t *spec = tn_service_spec(plan, tn_plan_service(plan, service), NULL, &err);
    if (!spec)
        fail_msg("%s", tn_error_message(err));
    return spec;
}

/* db: created; web: another revision. */
static struct tn_goals *make_goals(void)
{
    struct tn_goals *g = tn_goals_new("deploy");
    json_t *db = spec_of("db"), *web = spec_of("web"), *old = json_deep_copy(web);
    json_object_set_new(old, "env", json_pack("{s:s}", "VERSION", "v1"));
    struct tn_goal *one = tn_goals_add(g, "db", "c");
    one->plan_service = tn_plan_service(plan, "db");
    one->replicas = 1;
    assert_int_equal(tn_goal_set_spec(one, db, NULL), TN_OK);
    one = tn_goals_add(g, "web", "c");
    one->plan_service = tn_plan_service(plan, "web");
    one->replicas = 3;
    one->fresh = true;
    assert_int_equal(tn_goal_set_spec(one, web, NULL), TN_OK);
    one->from_spec = json_incref(old);
    tn_spec_revision(old, one->from_revision);
    one->from_count = 2;
    json_decref(db);
    json_decref(web);
    json_decref(old);
    return g;
}

static void test_add_and_find(void **state)
{
    (void)state;
    struct tn_goals *g = make_goals();
    assert_string_equal(g->action, "deploy");
    assert_int_equal(g->n, 2);
    const struct tn_goal *web = tn_goals_find(g, "web", "c");
    assert_string_equal(web->placement, "web@c");
    assert_int_equal(strlen(web->revision), 12);
    assert_string_not_equal(web->revision, web->from_revision);
    assert_non_null(web->typed);
    assert_null(tn_goals_find(g, "web", "d"));
    assert_null(tn_goals_find(g, "api", "c"));
    for (int i = 0; i < 50; i++) { /* goals move in memory */
        tn_autofree char *name = tn_format("s%d", i);
        tn_goals_add(g, name, "c");
    }
    assert_string_equal(tn_goals_find(g, "s49", "c")->placement, "s49@c");
    assert_non_null(tn_goals_find(g, "web", "c")->typed);
    tn_goals_free(g);
    tn_goals_free(NULL);
}

static void test_json_round_trip(void **state)
{
    (void)state;
    struct tn_goals *g = make_goals();
    json_t *j = tn_goals_json(g);
    tn_autofree char *text = json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(j);
    j = json_loads(text, 0, NULL); /* as it comes back from disk */
    struct tn_goals *back = tn_goals_from_json(session, j, NULL);
    assert_non_null(back);
    json_t *again = tn_goals_json(back);
    assert_true(json_equal(j, again));
    const struct tn_goal *web = tn_goals_find(back, "web", "c");
    assert_ptr_equal(web->plan_service, tn_plan_service(plan, "web"));
    assert_string_equal(web->revision, tn_goals_find(g, "web", "c")->revision);
    assert_true(web->fresh);
    assert_int_equal(web->replicas, 3);
    assert_int_equal(web->from_count, 2);
    assert_int_equal(web->typed->n_ports, 1);
    assert_string_equal(tn_goals_find(back, "db", "c")->from_revision, "");
    json_decref(again);
    json_decref(j);
    tn_goals_free(back);
    tn_goals_free(g);
}

static void test_removed_service(void **state)
{
    (void)state;
    struct tn_goals *g = tn_goals_new("destroy");
    struct tn_goal *one = tn_goals_add(g, "gone", "c");
    one->from_count = 2;
    json_t *j = tn_goals_json(g);
    struct tn_goals *back = tn_goals_from_json(session, j, NULL);
    assert_string_equal(back->action, "destroy");
    assert_null(back->v[0].spec);
    assert_null(back->v[0].plan_service);
    assert_string_equal(back->v[0].revision, "");
    json_decref(j);
    tn_goals_free(back);
    tn_goals_free(g);
}

/* What stands in a lease was written by somebody: types are checked. */
static void test_hostile_json(void **state)
{
    static const struct {
        const char *json;
        enum tn_code code;
    } rows[] = {
        {"{}", TN_OK},
        {"{'placements': 5}", TN_OK},
        {"{'action': 7, 'placements': []}", TN_OK},
        {"{'placements': [{'service': 'web', 'cluster': 'c'}]}", TN_OK},
        {"{'placements': [{'service': 'web', 'cluster': 'c', 'replicas': 'many', 'spec': 7, 'from_spec': "
         "[]}]}",
         TN_OK},
        {"{'placements': [5]}", TN_EPROTO},
        {"{'placements': [{'service': 'web'}]}", TN_EPROTO},
        {"{'placements': [{'cluster': 'c'}]}", TN_EPROTO},
        {"{'placements': [{'service': 5, 'cluster': 'c'}]}", TN_EPROTO},
        {"{'placements': [{'service': 'web', 'cluster': 'other'}]}", TN_ENOTFOUND},
    };
    (void)state;
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        tn_autofree char *text = tn_strdup(rows[i].json);
        for (char *p = text; *p; p++)
            if (*p == '\'')
                *p = '"';
        json_t *j = json_loads(text, 0, NULL);
        struct tn_error *err = NULL;
        struct tn_goals *g = tn_goals_from_json(session, j, &err);
        if ((g != NULL) != (rows[i].code == TN_OK) || (err && err->code != rows[i].code))
            fail_msg("%s: %s", rows[i].json, tn_error_message(err));
        tn_error_clear(&err);
        json_decref(j);
        tn_goals_free(g);
    }
}

/* A number from outside decides how many instances there are: it must be one that a plan could have asked for. */
static void test_hostile_numbers(void **state)
{
    (void)state;
    static const json_int_t bad[] = {-1, 1001, 4294967297, INT64_MIN};
    for (size_t i = 0; i < TN_COUNT(bad); i++) {
        json_t *j = json_pack("{s:[{s:s,s:s,s:I}]}", "placements", "service", "web", "cluster", "c",
                              "replicas", bad[i]);
        struct tn_error *err = NULL;
        struct tn_goals *g = tn_goals_from_json(session, j, &err);
        if (g && (g->v[0].replicas < 0 || g->v[0].replicas > 1000 || g->v[0].replicas == 1))
            fail_msg("%lld became %d replicas", (long long)bad[i], g->v[0].replicas);
        tn_error_clear(&err);
        json_decref(j);
        tn_goals_free(g);
    }
}

static void test_back(void **state)
{
    (void)state;
    struct tn_goals *g = make_goals(), *back = tn_goals_back(session, g, NULL);
    assert_string_equal(back->action, "rollback");
    assert_int_equal(back->n, 2);
    /* what came last goes first */
    assert_string_equal(back->v[0].service, "web");
    assert_string_equal(back->v[1].service, "db");
    const struct tn_goal *web = &back->v[0], *db = &back->v[1], *was = tn_goals_find(g, "web", "c");
    assert_string_equal(web->revision, was->from_revision);
    assert_string_equal(web->from_revision, was->revision);
    assert_true(json_equal(web->spec, was->from_spec));
    assert_true(json_equal(web->from_spec, was->spec));
    assert_int_equal(web->replicas, 2);
    assert_int_equal(web->from_count, 3);
    assert_ptr_equal(web->plan_service, was->plan_service);
    assert_false(web->fresh);
    /* there was nothing: it is to be removed */
    assert_null(db->spec);
    assert_string_equal(db->revision, "");
    assert_int_equal(db->replicas, 0);
    struct tn_goals *forth = tn_goals_back(session, back, NULL);
    assert_string_equal(forth->v[1].revision, was->revision);
    assert_int_equal(forth->v[1].replicas, 3);
    tn_goals_free(forth);
    tn_goals_free(back);
    tn_goals_free(g);
}

static struct tn_strategy_spec spec_for(const char *rollout, int replicas, enum tn_direction direction)
{
    tn_autofree char *text = tn_format(SHOP("%s"), rollout);
    struct tn_plan *p = world_plan(text);
    struct tn_goal g = {.plan_service = tn_plan_service(p, "web"), .replicas = replicas};
    struct tn_strategy_spec s = tn_strategy_spec_for(&g, direction);
    tn_plan_free(p);
    return s;
}

static void test_strategy_spec(void **state)
{
    static const struct {
        const char *rollout;
        int replicas, unavailable, surge;
    } rows[] = {
        {"max_unavailable: 2, max_surge: 1", 5, 2, 1},
        {"max_unavailable: 25%, max_surge: 25%", 10, 2, 3}, /* down, up */
        {"max_unavailable: 25%, max_surge: 25%", 3, 0, 1},
        {"max_unavailable: 34%, max_surge: 0", 2, 0, 1}, /* rounding must not stop everything */
        {"max_unavailable: 0, max_surge: 100%", 4, 0, 4},
        {"max_unavailable: 100%, max_surge: 0", 4, 4, 0},
        {"strategy: recreate", 4, 4, 0},
        {"max_unavailable: 50%, max_surge: 0", 0, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        struct tn_strategy_spec s = spec_for(rows[i].rollout, rows[i].replicas, TN_FORWARD);
        if (s.max_unavailable != rows[i].unavailable || s.max_surge != rows[i].surge ||
            s.replicas != rows[i].replicas)
            fail_msg("%s of %d: unavailable %d, surge %d", rows[i].rollout, rows[i].replicas,
                     s.max_unavailable, s.max_surge);
    }
}

static void test_strategy_times(void **state)
{
    (void)state;
    struct tn_strategy_spec s =
        spec_for("min_healthy_time: 3s, healthy_deadline: 20s, progress_deadline: 2m, delay: 5s, "
                 "max_failures: 2",
                 3, TN_BACK);
    assert_int_equal(s.kind, TN_ROLL);
    assert_int_equal(s.direction, TN_BACK);
    assert_true(s.has_balancer);
    assert_int_equal(s.drain_cap, 4000);
    assert_int_equal(s.min_healthy_time, 3000);
    assert_int_equal(s.healthy_deadline, 20000);
    assert_int_equal(s.progress_deadline, 120000);
    assert_int_equal(s.delay, 5000);
    assert_int_equal(s.max_failures, 2);
    assert_int_equal(spec_for("strategy: recreate", 3, TN_FORWARD).kind, TN_RECREATE);
    struct tn_goal gone = {.replicas = 0}; /* left the plan, no spec */
    s = tn_strategy_spec_for(&gone, TN_FORWARD);
    assert_false(s.has_balancer);
    assert_true(s.progress_deadline > 0);
}

/* ---- secrets ---- */

#define SEALED                                                                                               \
    "turnout: 1\n"                                                                                           \
    "name: shop\n"                                                                                           \
    "clusters: { c: { fake: { file: world.json } } }\n"                                                      \
    "secrets: { a: \"env://GOAL_A\", b: \"env://GOAL_B\" }\n"                                                \
    "services:\n"                                                                                            \
    "  web:\n"                                                                                               \
    "    command: [./server]\n"                                                                              \
    "    clusters: [c]\n"                                                                                    \
    "    secrets: { A: a, B: b }\n"

static struct tn_goals *sealed_goals(struct tn_session *s)
{
    struct tn_goals *g = tn_goals_new("deploy");
    json_t *spec = tn_service_spec(s->plan, tn_plan_service(s->plan, "web"), NULL, NULL);
    assert_int_equal(tn_goal_set_spec(tn_goals_add(g, "web", "c"), spec, NULL), TN_OK);
    json_decref(spec);
    return g;
}

/* The label that a deployment with these values makes, given what runs. Caller frees. */
static char *label_for(struct tn_session *s, const char *a, const char *b,
                       const struct tn_observation *running)
{
    setenv("GOAL_A", a, 1);
    setenv("GOAL_B", b, 1);
    struct tn_goals *g = sealed_goals(s);
    struct tn_error *err = NULL;
    if (tn_goal_secrets(s, &g->v[0], running, &err) < 0)
        fail_msg("%s", tn_error_message(err));
    assert_int_equal(g->v[0].n_secrets, 2);
    assert_true(g->v[0].secrets_known);
    assert_true(tn_goal_secrets_match(&g->v[0], g->v[0].secret_hashes));
    assert_int_equal(tn_goal_secrets(s, &g->v[0], running, &err),
                     TN_OK); /* known by now: asks nobody again */
    char *label = tn_strdup(g->v[0].secret_hashes);
    tn_goals_free(g);
    return label;
}

static void test_secrets(void **state)
{
    (void)state;
    struct tn_plan *p = world_plan(SEALED);
    struct tn_session *s = world_session(p, "sealed");
    tn_autofree char *first = label_for(s, "one", "two", NULL);
    assert_null(strstr(first, "one"));
    struct tn_instance there[] = {{.service = (char *)(uintptr_t) "api", .secrets = first},
                                  {.service = (char *)(uintptr_t) "web",
                                   .secrets = (char *)(uintptr_t) "no JSON"},
                                  {.service = (char *)(uintptr_t) "web"},
                                  {.service = (char *)(uintptr_t) "web", .secrets = first}};
    struct tn_observation running = {.v = there, .n = TN_COUNT(there)};
    tn_autofree char *same = label_for(s, "one", "two", &running);
    assert_string_equal(same, first); /* nothing changed: the label of what runs */
    tn_autofree char *changed = label_for(s, "one", "three", &running);
    assert_string_not_equal(changed, first);
    tn_autofree char *swapped = label_for(s, "two", "one", &running);
    assert_string_not_equal(swapped, first);
    running.n = 1; /* another service's label is none of ours */
    tn_autofree char *other = label_for(s, "one", "two", &running);
    assert_string_not_equal(other, first);
    world_session_end(s);
    tn_plan_free(p);
}

static void test_secret_labels_match(void **state)
{
    (void)state;
    struct tn_plan *p = world_plan(SEALED);
    struct tn_session *s = world_session(p, "sealed");
    tn_autofree char *label = label_for(s, "one", "two", NULL);
    setenv("GOAL_A", "one", 1);
    setenv("GOAL_B", "two", 1);
    struct tn_goals *g = sealed_goals(s);
    assert_int_equal(tn_goal_secrets(s, &g->v[0], NULL, NULL), TN_OK);
    assert_true(tn_goal_secrets_match(&g->v[0], label));
    json_t *j = json_loads(label, 0, NULL);
    json_object_del(j, "b");
    tn_autofree char *fewer = json_dumps(j, 0);
    assert_false(tn_goal_secrets_match(&g->v[0], fewer));
    json_object_set_new(j, "b", json_integer(5));
    tn_autofree char *hostile = json_dumps(j, 0);
    assert_false(tn_goal_secrets_match(&g->v[0], hostile));
    static const char *const bad[] = {"", "[]", "{}", "5", "{", "null"};
    for (size_t i = 0; i < TN_COUNT(bad); i++)
        assert_false(tn_goal_secrets_match(&g->v[0], bad[i]));
    assert_false(tn_goal_secrets_match(&g->v[0], NULL));
    json_decref(j);
    tn_goals_free(g);
    world_session_end(s);
    tn_plan_free(p);
}

static void test_secret_is_missing(void **state)
{
    (void)state;
    struct tn_plan *p = world_plan(SEALED);
    struct tn_session *s = world_session(p, "sealed");
    struct tn_error *err = NULL;
    setenv("GOAL_A", "one", 1);
    unsetenv("GOAL_B");
    struct tn_goals *g = sealed_goals(s);
    assert_true(tn_goal_secrets(s, &g->v[0], NULL, &err) < 0);
    assert_non_null(strstr(err->message, "service 'web': secret 'b'"));
    assert_null(strstr(err->message, "one"));
    tn_error_clear(&err);
    assert_false(g->v[0].secrets_known);
    tn_goals_free(g);
    world_session_end(s);
    tn_plan_free(p);
}

/* A tag becomes the digest that the registry has; the revision is named after it. */
static void test_resolve(void **state)
{
    (void)state;
    world_write("{'images': {'shop/web:1': 'sha256:aaaa'}}");
    struct tn_plan *p = world_plan("turnout: 1\nname: shop\nclusters: { c: { fake: { file: world.json } } }\n"
                                   "services:\n  web: { image: \"shop/web:1\", clusters: [c] }\n"
                                   "  api: { image: \"shop/api:1\", clusters: [c] }\n");
    struct tn_session *s = world_session(p, "sealed");
    struct tn_error *err = NULL;
    char *note = NULL;
    json_t *spec = tn_goal_resolve(s, tn_plan_service(p, "web"), tn_session_site(s, "c"), &note, &err);
    assert_string_equal(json_string_value(json_object_get(spec, "image")), "shop/web@sha256:aaaa");
    json_decref(spec);
    free(note);
    note = NULL;
    assert_null(tn_goal_resolve(s, tn_plan_service(p, "api"), tn_session_site(s, "c"), &note, &err));
    assert_int_equal(err->code, TN_ENOTFOUND);
    assert_non_null(strstr(err->message, "service 'api'"));
    tn_error_clear(&err);
    free(note);
    world_session_end(s);
    tn_plan_free(p);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_add_and_find), TEST(test_json_round_trip),     TEST(test_removed_service),
        TEST(test_hostile_json), TEST(test_hostile_numbers),     TEST(test_back),
        TEST(test_secrets),      TEST(test_secret_labels_match), TEST(test_secret_is_missing),
        TEST(test_resolve),      TEST(test_strategy_spec),       TEST(test_strategy_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
